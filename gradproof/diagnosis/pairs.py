"""Two rules broken at once, of which one sees what the other has changed: all pairs of them in a few matrix products.

What a broken rule does is linear in what arrives at it. So its effect on top of another one is the effect that it has
alone, and that of what the other one has changed there: the other one is run once, and the rule is known by the weight
with which each number that arrives at it counts. Of a constant that a rule multiplies with, the effect is linear too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from gradproof.case import Problem
from gradproof.diagnosis.constants import named
from gradproof.diagnosis.fault import Fault
from gradproof.diagnosis.shadows import LARGEST, LOOSE, Shadows, difference
from gradproof.lanes import UNRUNNABLE, Lanes
from gradproof.tape import Backward, Tape, Tensor, Totals, ValueHook, flat, joined

LIKELY = 1.25  # the rank of rules in loops of which pairs with others are looked at
ONE_LOOP_IN = 16  # of so many rules, one in a loop is looked at: each takes a backward pass
SUMS = 3  # of a pair's numbers: one more than a constant and a sign take
Leaf = tuple[int, int, int]  # what arrives at a value, (value, -1, -1), or what an operation sends to an input of it


@dataclass
class _Probe(Totals):
    """What arrives anywhere, as leaves of a graph: how much each counts is then told by autograd."""

    base: Backward

    def __post_init__(self) -> None:
        self.leaves: dict[Leaf, Tensor] = {}

    def _leaf(self, place: Leaf, tensor: Tensor) -> Tensor:
        if place not in self.leaves:
            self.leaves[place] = tensor.detach().clone().requires_grad_()
        return self.leaves[place]

    def __getitem__(self, value: int) -> Tensor:
        return self._leaf((value, -1, -1), self.base.totals[value])

    def __iter__(self) -> Iterator[int]:
        return iter(self.base.totals)

    def __len__(self) -> int:
        return len(self.base.totals)

    def arriving(self, value: int) -> list[tuple[int, Tensor]]:
        seen: dict[int, int] = {}
        found = []
        for index, one in self.base.arriving(value):
            seen[index] = seen.get(index, -1) + 1
            found.append((index, self._leaf((value, index, seen[index]), one)))
        return found


@dataclass(frozen=True)
class Pair:
    """Two rules that give the candidate's sums; with `fitted`, the other one has a constant that is to be fitted."""

    one: Fault
    other: Fault
    fitted: bool = False


@dataclass(frozen=True)
class _Rule:
    """A rule that may be broken on top of another: its effect alone, and how much what arrives at it counts."""

    fault: Fault
    effect: np.ndarray  # (SUMS,)
    counts: dict[Leaf, Tensor]  # (SUMS, entries) for each
    scaled: bool  # whether it is a route cut off that may have any factor instead


@dataclass
class Pairs:
    """All pairs of some rules on top of a base, and the sums of their numbers that the candidate has.

    With `names`, only the numbers of these parameters have to agree, and those that are right already.
    """

    shadows: Shadows
    problem: Problem
    over: Callable[[], bool]
    names: Sequence[str] = ()

    def __post_init__(self) -> None:
        shadows, count = self.shadows, self.shadows.ours.shape[1]
        chosen = [
            not wrong or not self.names or name in self.names
            for name, wrong in zip(shadows.names, shadows.wrong.tolist(), strict=True)
        ]
        rows = np.repeat(np.asarray(chosen), count) / np.repeat(shadows.sizes[:, 0], count)
        self._cuts: dict[Fault, bool] = {}
        self._sums = np.random.default_rng(3).standard_normal((SUMS, len(rows))) * rows
        self._moves: dict[int, Tensor] = {}
        self._wanted = self._summed(shadows.ours) - self._summed(shadows.known)
        self._margin = 3 * LOOSE * np.sqrt(len(rows))

    def _summed(self, numbers: np.ndarray) -> np.ndarray:
        return np.asarray(self._sums @ numbers.reshape(-1))

    def found(self, faults: Sequence[Fault]) -> list[Pair]:
        """The pairs that fit, the likeliest first."""
        rules = list(self._rules(faults))
        users: dict[Leaf, list[int]] = {}
        for i, rule in enumerate(rules):
            for place in rule.counts:
                users.setdefault(place, []).append(i)
        by_place = {place: (own, torch.stack([rules[i].counts[place] for i in own])) for place, own in users.items()}
        firsts = [fault for fault in faults if fault.local]
        found: list[Pair] = []
        for start in range(0, len(firsts), self.shadows.at_once):
            if self.over():
                break
            found += self._with(firsts[start : start + self.shadows.at_once], rules, by_place)
        local = {rule.fault for rule in rules}
        loops = [fault for fault in firsts if fault not in local and fault.rank <= LIKELY][: len(faults) // ONE_LOOP_IN]
        deltas = {rule.fault: self.shadows.deltas(rule.fault) or {} for rule in rules} if loops else {}
        for fault in loops:
            if self.over():
                break
            found += self._in_front_of(fault, rules, deltas)
        unique = {
            (pair.fitted, frozenset((id(pair.one), id(pair.other)))): pair
            for pair in found
            if pair.one is not pair.other
        }
        return sorted(unique.values(), key=lambda pair: (pair.one.rank + pair.other.rank, pair.fitted))

    def _with(
        self, firsts: Sequence[Fault], rules: list[_Rule], by_place: dict[Leaf, tuple[list[int], Tensor]]
    ) -> Iterator[Pair]:
        """The pairs of some rules with all others."""
        lanes = self.shadows.lanes(firsts)
        if lanes is None or not rules:
            return
        numbers = self.shadows.numbers_of(lanes)
        own = np.stack([self._summed(one) for one in numbers]) - self._summed(self.shadows.known)  # (firsts, SUMS)
        crossed = torch.zeros(len(rules), SUMS, len(firsts), dtype=torch.float64)
        for place, (users, counts) in by_place.items():
            change = _change(lanes, self.shadows.base, place)
            if change is not None:
                crossed[users] += counts @ flat(change, lanes=True).T
        alone = np.stack([rule.effect for rule in rules])  # (rules, SUMS)
        behind = alone[:, :, None] + crossed.numpy()  # (rules, SUMS, firsts)
        failed = lanes.failed
        left = self._wanted[None, :, None] - own.T[None]  # what the first leaves
        fits = np.all(np.abs(behind - left) <= self._margin, axis=1)
        for i, lane in np.argwhere(fits):
            if int(lane) not in failed:
                yield Pair(firsts[lane], rules[i].fault)
        for i, lane, factor in _multiples(behind, np.broadcast_to(left, behind.shape), self._margin):
            if rules[i].scaled and lane not in failed:
                yield from self._with_constant(firsts[lane], rules[i].fault, 1 - factor)
        together = own.T[None] + crossed.numpy()  # of a first one with any factor
        rest = np.broadcast_to((self._wanted[None] - alone)[:, :, None], behind.shape)
        for i, lane, factor in _multiples(together, rest, self._margin):
            if self._is_cut(firsts[lane]) and lane not in failed:
                yield from self._with_constant(rules[i].fault, firsts[lane], 1 - factor)

    def _with_constant(self, one: Fault, cut: Fault, constant: float) -> Iterator[Pair]:
        if min(abs(constant), abs(constant - 1)) > 1e-5 and named(constant, self.problem, 1e-5) is not None:
            yield Pair(one, cut, fitted=True)

    def _in_front_of(
        self, loop: Fault, rules: list[_Rule], deltas: dict[Fault, dict[int, Tensor]]
    ) -> Iterator[Pair]:
        """The pairs of a rule that every step of a loop breaks with rules nearer to the loss."""
        after = self.shadows.after((*self.shadows.faults, loop))
        if after is None:
            return
        seen = [rule for rule in rules if not any(value in after.base.changed for value, _, _ in rule.counts)]
        values = sorted({value for rule in seen for value in deltas[rule.fault]})
        try:
            counts = self._counts_behind(after.base, values)
        except UNRUNNABLE:
            return
        own = self._summed(after.known) - self._summed(self.shadows.known)
        effects = torch.zeros(len(seen), SUMS, dtype=torch.float64)
        for value, weights in counts.items():
            users = [i for i, rule in enumerate(seen) if value in deltas[rule.fault]]
            if users:
                each = torch.stack([flat(deltas[seen[i].fault][value]) for i in users])
                effects[users] += each @ weights.T
        behind = effects.numpy()[:, :, None]
        left = np.broadcast_to((self._wanted - own)[None, :, None], behind.shape)
        for i, _ in np.argwhere(np.all(np.abs(behind - left) <= self._margin, axis=1)):
            yield Pair(loop, seen[i].fault)
        for i, _, factor in _multiples(behind, left, self._margin):
            if seen[i].scaled:
                yield from self._with_constant(loop, seen[i].fault, 1 - factor)

    def _counts_behind(self, base: Backward, values: Sequence[int]) -> dict[int, Tensor]:
        """How much more of what arrives at values counts in the sums, where a base's rules are broken: (SUMS, entries).

        Its backward pass is run with zeros added there, and differentiated by them.
        """
        tape = base.tape
        zeros = {value: torch.zeros_like(tape.values[value]).requires_grad_() for value in values}

        def with_zeros(value: int) -> ValueHook:
            usual = base.value_hooks.get(value)

            def hook(tape: Tape, arriving: list[tuple[int, Tensor]], totals: Totals) -> Tensor | None:
                total = joined(arriving) if usual is None else usual(tape, arriving, totals)
                return zeros[value] if total is None else total + zeros[value]

            return hook

        hooks = {**base.value_hooks, **{value: with_zeros(value) for value in values}}
        made = tape.backward(base.node_hooks, hooks).gradients
        pairs = zip(self.shadows.names, self.shadows.directions, strict=True)
        numbers = [(torch.from_numpy(one) * made[name]).sum() for name, along in pairs for one in along]
        sums = torch.from_numpy(self._sums) @ torch.stack(numbers)
        if not sums.requires_grad:
            return {}
        leaves = list(zeros.values())
        each = [torch.autograd.grad(one, leaves, retain_graph=True, allow_unused=True) for one in sums]
        rows = {value: [one[i] for one in each] for i, value in enumerate(zeros)}
        return {
            value: torch.stack([flat(one) for one in found if one is not None])
            for value, found in rows.items()
            if all(one is not None for one in found)
        }

    def _is_cut(self, fault: Fault) -> bool:
        """Whether a fault is a route that is cut off, and that may have any factor instead."""
        if fault.ends is None:
            return False
        if fault not in self._cuts:
            try:
                whole = self.shadows.of(fault.ends[1])
            except UNRUNNABLE:
                whole = None
            self._cuts[fault] = whole is not None and np.allclose(whole, self.shadows.known, rtol=0, atol=1e-12)
        return self._cuts[fault]

    def _rules(self, faults: Sequence[Fault]) -> Iterator[_Rule]:
        """The rules that may be broken on top of others, as many as there is memory and time for."""
        left = LARGEST
        for fault in faults:
            rule = None if self.over() else self._rule(fault)
            left -= 0 if rule is None else sum(one.numel() for one in rule.counts.values())
            if left < 0:
                return
            if rule is not None:
                yield rule

    def _rule(self, fault: Fault) -> _Rule | None:
        """A rule's effect and counts; None where it is no matter of what arrives at one place at a time."""
        if not fault.local:
            return None
        try:
            numbers = self.shadows.locally(fault)
            if numbers is None:
                return None
            effect = self._summed(numbers) - self._summed(self.shadows.known)
            return _Rule(fault, effect, self._counts(fault), self._is_cut(fault))
        except UNRUNNABLE:
            return None

    def _counts(self, fault: Fault) -> dict[Leaf, Tensor]:
        tape, probe = self.shadows.tape, _Probe(self.shadows.base)
        changes: list[tuple[int, Tensor]] = []
        for index, hook in fault.nodes.items():
            node = tape.nodes[index]
            grads = [probe.get(value) for value in node.outputs]
            pairs = zip(node.inputs, hook(tape, node, grads, probe), tape.vjp(node, grads), strict=True)
            for value, new, old in pairs:
                if value in self.shadows.moves and new is not old:
                    changes.append((value, difference(new, old)))
        for value, join in fault.values.items():
            arriving = probe.arriving(value)
            if value in self.shadows.moves:
                changes.append((value, difference(join(tape, arriving, probe), joined(arriving))))
        sums = [torch.zeros((), dtype=torch.float64) for _ in range(SUMS)]
        for value, change in changes:
            for k, row in enumerate(self._moves_of(value)):
                sums[k] = sums[k] + row @ flat(change)
        leaves = {place: leaf for place, leaf in probe.leaves.items()}
        if not leaves or not sums[0].requires_grad:
            return {}
        each = [
            torch.autograd.grad(one, list(leaves.values()), retain_graph=True, allow_unused=True) for one in sums
        ]
        found = {}
        for i, (place, leaf) in enumerate(leaves.items()):
            rows = [torch.zeros_like(leaf) if one[i] is None else one[i] for one in each]
            counts = torch.stack([flat(row) for row in rows])
            if bool(counts.any()):
                found[place] = counts.detach()
        return found

    def _moves_of(self, value: int) -> Tensor:
        """The sums that each entry of what arrives at a value counts in: (SUMS, entries)."""
        if value not in self._moves:
            self._moves[value] = torch.from_numpy(self._sums) @ self.shadows.moves[value]
        return self._moves[value]


def _change(lanes: Lanes, base: Backward, place: Leaf) -> Tensor | None:
    """How what arrives at a place differs, in each lane, from the base; None where it does not."""
    value, index, which = place
    if index == -1 and which == -1:
        if not lanes.differs(value):
            return None
        total = lanes.total(value)
        own = base.totals.get(value)
        return None if total is None else total if own is None else total - own
    sent = [one for one in lanes.arriving(value) if one[0] == index]
    usual = [one for other, one in base.arriving(value) if other == index]
    if which >= len(sent) or not sent[which][2]:
        return None
    return sent[which][1] - usual[which] if which < len(usual) else sent[which][1]


def _multiples(one: np.ndarray, other: np.ndarray, margin: float) -> Iterator[tuple[int, int, float]]:
    """Where, along the second axis, `other` is a multiple of `one`: the indices, and the factor."""
    size = np.einsum("isl,isl->il", one, one)
    factor = np.einsum("isl,isl->il", one, other) / np.where(size > 0, size, 1.0)
    near = np.all(np.abs(other - factor[:, None] * one) <= margin, axis=1) & (size > (100 * margin) ** 2)
    for i, lane in np.argwhere(near):
        yield int(i), int(lane), float(factor[i, lane])
