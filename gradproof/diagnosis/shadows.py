"""What a broken rule does to every gradient, told from one number each: a search need not run what cannot fit.

For a random direction r of a parameter p, the number <r, dp> is linear in what flows back anywhere: a change delta of
what arrives at a value v changes it by <T, delta>, where T is how v moves when p moves along r. All these T come from
one forward pass each. A rule broken at one operation is judged by its local change alone, without going back further.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch

from gradproof.case import Case, Problem
from gradproof.diagnosis.constants import named
from gradproof.diagnosis.fault import Fault, OneInput, hooks_of
from gradproof.lanes import UNRUNNABLE, Lanes
from gradproof.tape import Backward, Node, NodeHook, Tape, Tensor, flat

LANES = 64  # rules that are run at once
DIRECTIONS = 2  # two numbers tell a constant factor from any other difference
MANY = 4  # entries of a parameter, which no constant fits by chance
STEP = 1e-5
LOOSE = 1e-6  # what passes here is run in full, and judged at the strict tolerance

LARGEST = 30_000_000  # numbers that the movements may take together (240 MB)


Row = Sequence[float]  # the numbers of one parameter


@dataclass(frozen=True)
class _OfOne:
    """What is known of one parameter: the candidate's numbers and the base's, and whether these are others."""

    ours: Row
    known: Row
    size: float
    wrong: bool
    rearranged: Sequence[Row]  # the candidate's numbers, were its gradients transposed or turned round


@dataclass(frozen=True)
class Shadows:
    """For each parameter: how every value moves along its directions, and the numbers of both sides.

    All numbers are arrays (parameters, directions), in the order of `names`; `moves` holds, for each value, its
    movement for each of them, flattened. `base` is the backward pass that further rules are broken on top of; `lowest`
    the first operation that it has broken. Only what lies before that operation can be told from here, and not at the
    parameters (`leaves`) where it has broken how their gradients are joined.
    """

    tape: Tape
    problem: Problem
    names: list[str]
    moves: dict[int, Tensor]
    directions: list[list[np.ndarray]]
    ours: np.ndarray
    sizes: np.ndarray
    rearranged: tuple[np.ndarray, ...]  # the candidate's numbers, were its gradients transposed or turned round
    base: Backward
    lowest: float = math.inf
    leaves: frozenset[int] = frozenset()
    faults: tuple[Fault, ...] = ()  # those of the base
    _told: dict[Fault, np.ndarray | None] = field(default_factory=dict)
    _unrunnable: set[Fault] = field(default_factory=set)

    @cached_property
    def known(self) -> np.ndarray:
        """The numbers of the base."""
        return self.numbers({name: self.base.gradients[name].numpy() for name in self.names})

    def numbers(self, gradients: Mapping[str, np.ndarray]) -> np.ndarray:
        """The numbers of some gradients."""
        return _numbers(self.directions, [gradients[name] for name in self.names])

    def moving(self, value: int, otherwise: frozenset[str]) -> frozenset[str]:
        """The parameters along which a value moves; `otherwise` where that is not known."""
        if value not in self.moves:
            return otherwise
        rows = self.moves[value].ne(0).any(dim=1).reshape(len(self.names), DIRECTIONS).any(dim=1)
        return frozenset(name for name, moves in zip(self.names, rows.tolist(), strict=True) if moves)

    @cached_property
    def wrong(self) -> np.ndarray:
        """For each parameter, whether the base's numbers are not the candidate's."""
        return np.asarray(np.any(np.abs(self.known - self.ours) > LOOSE * self.sizes, axis=1))

    def after(self, faults: Sequence[Fault]) -> Shadows | None:
        """The shadows on top of these faults; None where their effect is more than local rules."""
        if not faults:
            return self
        if not all(fault.local for fault in faults):
            return None
        nodes, values = hooks_of(faults)
        try:
            base = self.tape.backward(nodes, values)
        except UNRUNNABLE:
            return None
        leaves = frozenset(values) - self.tape.producer.keys()
        lowest = min([*nodes, *(self._index(value) for value in values if value not in leaves)], default=np.inf)
        faults = tuple(faults)
        return replace(self, base=base, lowest=lowest, leaves=leaves, faults=faults, _told={}, _unrunnable=set())

    def run(self, faults: Sequence[Fault]) -> None:
        """Find out by one pass what those faults do that cannot be told locally."""
        every = [one for fault in faults for one in (fault, *(fault.ends or ()))]
        untold = [fault for fault in every if fault.local and self.of_none(fault) and fault not in self._unrunnable]
        for start in range(0, len(untold), self.at_once):
            self._run(untold[start : start + self.at_once])

    @cached_property
    def at_once(self) -> int:
        """How many rules are run at once: fewer where each has many numbers."""
        entries = sum(self.tape.values[value].numel() for value in self.tape.differentiable)
        return max(4, min(LANES, LARGEST // (4 * entries)))

    def _run(self, faults: Sequence[Fault]) -> None:
        lanes = self.lanes(faults)
        if lanes is None:
            return  # each is run by itself
        for lane, (fault, numbers) in enumerate(zip(faults, self.numbers_of(lanes), strict=True)):
            if lane not in lanes.failed:
                self._told[fault] = numbers

    def lanes(self, faults: Sequence[Fault]) -> Lanes | None:
        """A pass with each of these faults broken on top of the base; None for an operation that takes no lanes."""
        usual = (self.base.node_hooks, self.base.value_hooks)
        hooks = []
        for fault in faults:
            nodes, values = hooks_of((*self.faults, fault))
            hooks.append((
                {i: hook if i in fault.nodes else usual[0][i] for i, hook in nodes.items()},
                {v: hook if v in fault.values else usual[1][v] for v, hook in values.items()},
            ))
        try:
            return Lanes(self.tape, self.base, hooks)
        except UNRUNNABLE:
            return None

    def numbers_of(self, lanes: Lanes) -> np.ndarray:
        """The numbers of each lane: (lanes, parameters, directions)."""
        numbers = np.repeat(self.known[None], lanes.count, axis=0)
        for i, (name, along) in enumerate(zip(self.names, self.directions, strict=True)):
            if name in lanes.gradients:
                gradients = lanes.gradients[name].reshape(lanes.count, -1).numpy()
                numbers[:, i] = gradients @ np.stack([one.ravel() for one in along], axis=1)
        return numbers

    def _index(self, value: int) -> float:
        """Where in the order of operations what arrives at a value is joined."""
        return self.tape.producer.get(value, -1) + 0.5

    def of(self, fault: Fault) -> np.ndarray | None:
        """The numbers with one more rule broken; None where that cannot be told locally."""
        if fault in self._unrunnable:
            raise ValueError("it cannot be run here")
        if fault not in self._told:
            try:
                self._told[fault] = self.locally(fault)
            except UNRUNNABLE:
                self._unrunnable.add(fault)
                raise
        return self._told[fault]

    def locally(self, fault: Fault) -> np.ndarray | None:
        """The numbers with one more rule broken, told by its local change; None where its places see each other."""
        deltas = self.deltas(fault)
        if deltas is None:
            return None
        found = self.known.copy()
        for value, delta in deltas.items():
            if value in self.moves:
                found += (self.moves[value] @ flat(delta)).numpy().reshape(found.shape)
        return found

    def deltas(self, fault: Fault) -> dict[int, Tensor] | None:
        """How what arrives at each value changes, where no part of the fault sees what another part has changed."""
        places = [*fault.nodes, *(self._index(value) for value in fault.values)]
        if not fault.local or max(places, default=0) >= self.lowest or self.leaves & fault.values.keys():
            return None
        if len(places) > 1 and not self._separate(fault, self._may_change(fault)):
            return None
        changes = [self._at_operation(self.tape.nodes[index], hook) for index, hook in fault.nodes.items()]
        for value, join in fault.values.items():
            new, old = join(self.tape, self.base.arriving(value), self.base.seen), self.base.totals.get(value)
            changes.append({value: difference(new, old)} if new is not None or old is not None else {})
        deltas: dict[int, Tensor] = {}
        for one in changes:
            for value, change in one.items():
                deltas[value] = deltas[value] + change if value in deltas else change
        return deltas

    def _may_change(self, fault: Fault) -> set[int]:
        """The values to which something else may be sent."""
        found = set(fault.values)
        for index, hook in fault.nodes.items():
            inputs = self.tape.nodes[index].inputs
            found.update([inputs[hook.position]] if isinstance(hook, OneInput) else inputs)
        return found & self.tape.differentiable

    def _separate(self, fault: Fault, changed: set[int]) -> bool:
        """Whether no place of a fault comes to see what the fault has changed at another one."""
        makers = {*fault.nodes, *(self.tape.producer.get(value, -1) for value in fault.values)} - {-1}
        mask = sum(1 << index for index in makers)
        if fault.values:
            makers_of = {value: self.tape.producer.get(value, -1) for value in fault.values}
            return not any(
                self.tape.ancestors.get(value, 0) & mask & ~(1 << maker if maker >= 0 else 0)
                for value, maker in makers_of.items()
            ) and not any(self.tape.ancestors.get(value, 0) & mask for value in changed - set(fault.values))
        return not any(self.tape.ancestors.get(value, 0) & mask for value in changed)

    def _parts(self, fault: Fault) -> list[Fault]:
        """Each place of a fault as one of its own, at most a few of them."""
        nodes = [replace(fault, nodes={index: hook}, values={}) for index, hook in fault.nodes.items()]
        values = [replace(fault, nodes={}, values={value: hook}) for value, hook in fault.values.items()]
        parts = [*nodes, *values]
        return parts if len(parts) <= PARTS else [*parts[: PARTS // 2], *parts[-PARTS // 2 :]]

    def _spoils(self, fault: Fault) -> bool:
        """Whether some place of a fault alone would change a right parameter, or all of them together no wrong one.

        What several places do to a parameter cancels by a coincidence only.
        """
        any_wrong = False
        for part in self._parts(fault):
            numbers = self.of(part)
            if numbers is None:
                return False
            moved = np.any(np.abs(numbers - self.known) > LOOSE * self.sizes, axis=1)
            if np.any(moved & ~self.wrong):
                return True
            any_wrong = any_wrong or bool(np.any(moved))
        return not any_wrong

    def _at_operation(self, node: Node, hook: NodeHook) -> dict[int, Tensor]:
        grads = [self.base.totals.get(value) for value in node.outputs]
        deltas: dict[int, Tensor] = {}
        broken = hook(self.tape, node, grads, self.base.seen)
        clean = self.base.local.get(node.index, [None] * len(node.inputs))
        for value, new, old in zip(node.inputs, broken, clean, strict=True):
            if value in self.tape.differentiable and new is not old:
                change = difference(new, old)
                deltas[value] = deltas[value] + change if value in deltas else change
        return deltas

    def of_none(self, fault: Fault) -> bool:
        """Whether what a fault does on top of the base cannot be told locally."""
        try:
            return self.of(fault) is None
        except UNRUNNABLE:
            return True

    def promising(self, fault: Fault) -> bool:
        """Whether a fault may bring some wrong parameter to the candidate's numbers, or to a multiple of them.

        One that takes a right parameter away from them is none of a candidate's mistakes.
        """
        try:
            numbers = self.of(fault)
            if numbers is None:
                return not fault.local or not self._spoils(fault)
        except UNRUNNABLE:
            return False
        rows = [(numbers[i].tolist(), self._each[i]) for i in np.flatnonzero((numbers != self.known).any(axis=1))]
        off = [(row, one) for row, one in rows if not _are_near(row, one.ours, one.size)]
        if not all(one.wrong for _, one in off):
            return False
        if len(off) < sum(one.wrong for _, one in rows):
            return True
        changed = [(row, one) for row, one in off if not _are_near(row, one.known, one.size)]
        return any(self._are_turned(row, one) for row, one in changed)

    @cached_property
    def _each(self) -> list[_OfOne]:
        """What is known of each parameter, as plain numbers: of so few, these are quicker than arrays."""
        every = (self.ours.tolist(), self.known.tolist(), self.sizes[:, 0].tolist(), self.wrong.tolist())
        turned = np.stack(self.rearranged, axis=1).tolist()
        return [_OfOne(*one) for one in zip(*every, turned, strict=True)]

    def _are_turned(self, numbers: Row, one: _OfOne) -> bool:
        """Whether numbers are the candidate's in another layout, or but for a constant."""
        if any(_are_near(numbers, other, one.size) for other in one.rearranged):
            return True
        return any(numbers) and _are_parallel(numbers, one.ours, one.size) and self._is_named(one.ours, numbers)

    def _is_named(self, ours: Row, numbers: Row) -> bool:
        """Whether some numbers are others times a constant that code could have got wrong."""
        square = sum(one * one for one in numbers)
        factor = sum(map(operator.mul, ours, numbers)) / square if square else math.inf
        return named(factor, self.problem, LOOSE) is not None

    def fits_a_constant(self, zero: Fault, one: Fault) -> bool:
        """Whether a fault with a constant may fit some wrong parameter, from its numbers at the constants 0 and 1."""
        try:
            low, high = self.of(zero), self.of(one)
            if low is None or high is None:
                return not zero.local or not self._spoils(zero)
        except UNRUNNABLE:
            return False
        rows = zip((high - low).tolist(), (self.ours - low).tolist(), self._each, self._many, strict=True)
        moved = [row for row in rows if any(abs(number) > LOOSE * row[2].size for number in row[0])]
        return all(one.wrong for _, _, one, _ in moved) and any(
            _are_parallel(slope, wanted, one.size) and (many or self._is_named(wanted, slope))
            for slope, wanted, one, many in moved
        )

    @cached_property
    def _many(self) -> list[bool]:
        """For each parameter, whether its numbers are more than any constant fits."""
        return [along[0].size >= MANY for along in self.directions]

    def changes(self, fault: Fault) -> set[str]:
        """The parameters whose gradient a fault may change."""
        try:
            numbers = self.of(fault)
        except UNRUNNABLE:
            return set()
        if numbers is None:
            return set(self.names)
        changed = np.any(np.abs(numbers - self.known) > 1e-13 * self.sizes, axis=1)
        return {name for name, one in zip(self.names, changed, strict=True) if one}


PARTS = 6  # places of one fault that are looked at one by one


def _are_near(one: Row, other: Row, size: float) -> bool:
    off = LOOSE * size
    return abs(one[0] - other[0]) <= off and abs(one[1] - other[1]) <= off


def _are_parallel(one: Row, other: Row, size: float) -> bool:
    """Whether the second numbers are a multiple of the first; zeros are a multiple of nothing."""
    length = math.hypot(*other)
    cross = abs(one[0] * other[1] - one[1] * other[0])
    return length > 1e-3 * LOOSE * size and cross <= LOOSE * max(length * math.hypot(*one), 1e-6 * size**2)


def _numbers(directions: list[list[np.ndarray]], gradients: list[np.ndarray]) -> np.ndarray:
    pairs = zip(directions, gradients, strict=True)
    return np.asarray([[float(np.vdot(one, gradient)) for one in along] for along, gradient in pairs])


def difference(new: Tensor | None, old: Tensor | None) -> Tensor:
    """How much more arrives. Raises ValueError where nothing does, before or after."""
    if old is None:
        if new is None:
            raise ValueError("nothing arrives there")
        return new
    return -old if new is None else new - old


def cast(case: Case, tape: Tape) -> Shadows | None:
    """The shadows of a comparison; None in single precision, in which differences tell too little."""
    if any(value.dtype != np.float64 for value in case.problem.params.values()):
        return None
    names = list(case.gradients)
    entries = sum(tape.values[value].numel() for value in tape.differentiable)
    if entries * len(names) * DIRECTIONS > LARGEST:
        return None
    rng = np.random.default_rng(11)
    truth = [case.truth.gradients[name] for name in names]
    ours = [case.gradients[name] for name in names]
    directions = [[np.asarray(rng.standard_normal(right.shape)) for _ in range(DIRECTIONS)] for right in truth]
    pushed = [
        _pushed(tape, name, torch.from_numpy(one))
        for name, along in zip(names, directions, strict=True)
        for one in along
    ]
    moves = {
        value: torch.stack([one[value] if value in one else _none(tape, value) for one in pushed])
        for value in set().union(*pushed)
    }
    sizes = [max(float(np.linalg.norm(a)), float(np.linalg.norm(b))) for a, b in zip(truth, ours, strict=True)]
    numbers = _numbers(directions, ours)
    rearranged = tuple(
        _numbers(directions, [arrange(one) if _keeps_shape(arrange, one) else one for one in ours])
        for arrange in REARRANGEMENTS
    )
    size = np.asarray(sizes)[:, None]
    return Shadows(tape, case.problem, names, moves, directions, numbers, size, rearranged, tape.clean)


REARRANGEMENTS: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
    lambda one: one.swapaxes(-1, -2),
    lambda one: np.flip(one, (-1, -2)),
    lambda one: np.flip(one, -1),
)


def _keeps_shape(arrange: Callable[[np.ndarray], np.ndarray], one: np.ndarray) -> bool:
    return one.ndim > 1 and arrange(one).shape == one.shape


def _none(tape: Tape, value: int) -> Tensor:
    return torch.zeros_like(flat(tape.values[value]))


def _pushed(tape: Tape, name: str, direction: Tensor) -> dict[int, Tensor]:
    """How every value moves, flattened, when a parameter moves along a direction.

    Central differences are near enough here.
    """
    step = STEP * max(1.0, float(tape.values[tape.parameters[name]].abs().max()))
    above, below = (_moved(tape, name, sign * step * direction) for sign in (1, -1))
    moved = {value: flat(above[value] - below[value]) for value in above if value in tape.differentiable}
    return {value: torch.nan_to_num(one / (2 * step), 0.0, 0.0, 0.0) for value, one in moved.items()}  # masked: -inf


def _moved(tape: Tape, name: str, change: Tensor) -> dict[int, Tensor]:
    """The values that change with a parameter, as they are after the change; what is detached stays."""
    start = tape.parameters[name]
    moved = {start: tape.values[start] + change}
    with torch.no_grad():
        for node in tape.nodes:
            if any(value in moved for value in node.inputs):
                outputs = node.run([moved.get(value, tape.values[value]) for value in node.inputs])
                made = zip(node.outputs, outputs, strict=True)
                moved.update((value, one) for value, one in made if value in tape.differentiable)
    return moved
