"""What a broken rule does to every gradient, told from one number each: a search need not run what cannot fit.

For a random direction r of a parameter p, the number <r, dp> is linear in what flows back anywhere: a change delta of
what arrives at a value v changes it by <T, delta>, where T is how v moves when p moves along r. All these T come from
one forward pass each. A rule broken at one operation is judged by its local change alone, without going back further.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from gradproof.case import Case
from gradproof.diagnosis.fault import Fault
from gradproof.tape import Backward, Node, NodeHook, Tape, Tensor

DIRECTIONS = 2  # two numbers tell a constant factor from any other difference
STEP = 1e-5
LOOSE = 1e-6  # what passes here is run in full, and judged at the strict tolerance


Numbers = dict[str, np.ndarray]  # for each parameter, one number for each direction
_UNRUNNABLE = (RuntimeError, IndexError, ValueError, TypeError, NotImplementedError)


@dataclass(frozen=True)
class Shadows:
    """For each parameter: how every value moves along its directions, and the numbers of both sides.

    `base` is the backward pass that further rules are broken on top of; `lowest` the first operation that it has
    broken. Only what lies before that operation can be told from here.
    """

    tape: Tape
    tangents: dict[str, list[dict[int, Tensor]]]
    directions: dict[str, list[np.ndarray]]
    ours: Numbers
    sizes: dict[str, float]
    base: Backward
    lowest: float = float("inf")

    @cached_property
    def known(self) -> Numbers:
        """The numbers of the base."""
        return {name: _numbers(one, self.base.gradients[name].numpy()) for name, one in self.directions.items()}

    def after(self, faults: Sequence[Fault]) -> Shadows | None:
        """The shadows on top of these faults; None where their effect is more than local rules."""
        if not faults:
            return self
        if any(fault.forward or fault.inputs or fault.custom for fault in faults):
            return None
        nodes = {index: hook for fault in faults for index, hook in fault.nodes.items()}
        values = {value: hook for fault in faults for value, hook in fault.values.items()}
        if sum(len(fault.nodes) + len(fault.values) for fault in faults) != len(nodes) + len(values):
            return None
        try:
            base = self.tape.backward(nodes, values)
        except _UNRUNNABLE:
            return None
        lowest = min([*nodes, *(self._index(value) for value in values)])
        return replace(self, base=base, lowest=lowest)

    def _index(self, value: int) -> float:
        """Where in the order of operations what arrives at a value is joined."""
        return self.tape.producer.get(value, -1) + 0.5

    def of(self, fault: Fault) -> Numbers | None:
        """The numbers with one more rule broken; None where that cannot be told locally."""
        deltas = self._deltas(fault)
        if deltas is None:
            return None
        found = {}
        for name, moves in self.tangents.items():
            changes = [
                sum(float((one[value] * delta).sum()) for value, delta in deltas.items() if value in one)
                for one in moves
            ]
            found[name] = self.known[name] + np.asarray(changes)
        return found

    def _deltas(self, fault: Fault) -> dict[int, Tensor] | None:
        """How what arrives at each value changes, where the fault touches one operation or one value."""
        if fault.forward or fault.inputs or fault.custom or len(fault.nodes) + len(fault.values) != 1:
            return None
        deltas: dict[int, Tensor] = {}
        for index, hook in fault.nodes.items():
            if index >= self.lowest:
                return None
            deltas |= self._at_operation(self.tape.nodes[index], hook)
        for value, join in fault.values.items():
            if self._index(value) >= self.lowest:
                return None
            new = join(self.tape, self.base.arriving.get(value, []), self.base.totals)
            old = self.base.totals.get(value)
            if new is not None or old is not None:
                deltas[value] = _difference(new, old)
        return deltas

    def _at_operation(self, node: Node, hook: NodeHook) -> dict[int, Tensor]:
        grads = [self.base.totals.get(value) for value in node.outputs]
        if all(grad is None for grad in grads):
            return {}
        deltas: dict[int, Tensor] = {}
        broken = hook(self.tape, node, grads, self.base.totals)
        for value, new, old in zip(node.inputs, broken, self.base.local[node.index], strict=True):
            if value in self.tape.differentiable and (new is not None or old is not None):
                change = _difference(new, old)
                deltas[value] = deltas[value] + change if value in deltas else change
        return deltas

    def of_none(self, fault: Fault) -> bool:
        """Whether what a fault does on top of the base cannot be told locally."""
        try:
            return self.of(fault) is None
        except _UNRUNNABLE:
            return True

    def promising(self, fault: Fault) -> bool:
        """Whether a fault may bring some wrong parameter to the candidate's numbers, or to a multiple of them."""
        try:
            numbers = self.of(fault)
        except _UNRUNNABLE:
            return False
        return numbers is None or any(
            not self._equal(name, self.known[name], 0.0) and self._equal(name, value, None)
            for name, value in numbers.items()
        )

    def fits_a_constant(self, zero: Fault, one: Fault) -> bool:
        """Whether a fault with a constant may fit some wrong parameter, from its numbers at the constants 0 and 1."""
        try:
            low, high = self.of(zero), self.of(one)
        except _UNRUNNABLE:
            return False
        if low is None or high is None:
            return True
        for name, start in low.items():
            slope, wanted = high[name] - start, self.ours[name] - start
            if np.any(np.abs(slope) > LOOSE * self.sizes[name]) and _parallel(slope, wanted, self.sizes[name]):
                return True
        return False

    def changes(self, fault: Fault) -> set[str]:
        """The parameters whose gradient a fault may change."""
        try:
            numbers = self.of(fault)
        except _UNRUNNABLE:
            return set()
        if numbers is None:
            return set(self.known)
        known, sizes = self.known, self.sizes
        return {name for name, one in numbers.items() if np.any(np.abs(one - known[name]) > 1e-13 * sizes[name])}

    def _equal(self, name: str, value: np.ndarray, factor: float | None) -> bool:
        """Whether numbers are the candidate's; with `factor` None, up to a constant."""
        ours, size = self.ours[name], self.sizes[name]
        if np.all(np.abs(value - ours) <= LOOSE * size):
            return True
        return factor is None and bool(np.any(value)) and _parallel(value, ours, size)


def _parallel(one: np.ndarray, other: np.ndarray, size: float) -> bool:
    cross = abs(one[0] * other[1] - one[1] * other[0])
    lengths = float(np.linalg.norm(one)) * float(np.linalg.norm(other))
    return bool(cross <= LOOSE * max(lengths, 1e-6 * size * size))


def _numbers(directions: list[np.ndarray], gradient: np.ndarray) -> np.ndarray:
    return np.asarray([float(np.vdot(direction, gradient)) for direction in directions])


def _difference(new: Tensor | None, old: Tensor | None) -> Tensor:
    if old is None:
        assert new is not None
        return new
    return -old if new is None else new - old


def cast(case: Case, tape: Tape) -> Shadows | None:
    """The shadows of a comparison; None in single precision, in which differences tell too little."""
    if any(value.dtype != np.float64 for value in case.problem.params.values()):
        return None
    rng = np.random.default_rng(11)
    tangents: dict[str, list[dict[int, Tensor]]] = {}
    directions, sizes = {}, {}
    for name, ours in case.gradients.items():
        right = case.truth.gradients[name]
        directions[name] = [np.asarray(rng.standard_normal(right.shape)) for _ in range(DIRECTIONS)]
        tangents[name] = [_pushed(tape, name, torch.from_numpy(one)) for one in directions[name]]
        sizes[name] = max(float(np.linalg.norm(right)), float(np.linalg.norm(ours)))
    numbers = {name: _numbers(directions[name], ours) for name, ours in case.gradients.items()}
    return Shadows(tape, tangents, directions, numbers, sizes, tape.clean)


def _pushed(tape: Tape, name: str, direction: Tensor) -> dict[int, Tensor]:
    """How every value moves when a parameter moves along a direction: central differences are near enough here."""
    step = STEP * max(1.0, float(tape.values[tape.parameters[name]].abs().max()))
    above, below = (_moved(tape, name, sign * step * direction) for sign in (1, -1))
    return {value: (above[value] - below[value]) / (2 * step) for value in above if value in tape.differentiable}


def _moved(tape: Tape, name: str, change: Tensor) -> dict[int, Tensor]:
    """The values that change with a parameter, as they are after the change."""
    start = tape.parameters[name]
    moved = {start: tape.values[start] + change}
    with torch.no_grad():
        for node in tape.nodes:
            if any(value in moved for value in node.inputs):
                outputs = node.run([moved.get(value, tape.values[value]) for value in node.inputs])
                moved.update(zip(node.outputs, outputs, strict=True))
    return moved
