"""A fault: one rule of the reference broken, as hooks that its tape can be run with."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from gradproof import oracles
from gradproof.case import Problem, recorded
from gradproof.diagnosis.places import Place
from gradproof.lanes import UNRUNNABLE
from gradproof.oracles import Arrays
from gradproof.tape import Backward, Gradients, Node, NodeHook, Site, Tape, Tensor, Totals, ValueHook, joined

Replacement = Callable[[Node, list[Tensor], Sequence[Tensor]], Sequence[Tensor]]  # its inputs; all values


@dataclass(frozen=True)
class OneInput:
    """A hook that changes what flows back to one input of an operation, and nothing else."""

    position: int
    hook: NodeHook

    def __call__(self, tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        return self.hook(tape, node, grads, totals)


@dataclass(frozen=True, eq=False)
class Fault:
    """What is broken (`code`, `message`), where (`site`), and how to run the reference like that.

    `rank` says how far-fetched it is: of explanations that fit equally well, the one of the lowest rank is told first.
    """

    code: str
    message: str
    site: Site | None = None
    rank: float = 1.0
    nodes: Mapping[int, NodeHook] = field(default_factory=dict)
    values: Mapping[int, ValueHook] = field(default_factory=dict)
    forward: Mapping[int, Replacement] = field(default_factory=dict)
    rewired: Mapping[int, Mapping[int, int]] = field(default_factory=dict)  # other values for some inputs, by position
    inputs: Callable[[Problem], Problem | None] | None = None
    forward_only: bool = False  # whether the way back is still the reference's, at the values of another forward pass
    in_both: bool = False  # whether other inputs are those of the loss as well as of the gradient
    custom: Callable[[Model], tuple[Arrays, float] | None] | None = None  # a run of its own, with no other fault
    besides: tuple[str, str] | None = None  # the code and the message of a second mistake that comes with it
    scaled: Callable[[float], Fault | None] | None = None  # the same fault with a constant, where it has one
    other_loss: Callable[[Tape], float | None] | None = None  # the loss of a candidate that has it in its cost as well
    about: tuple[int, ...] = ()  # the operations whose rule was mistaken, where it is broken elsewhere
    constant: float | None = None
    term: str | None = None  # the loss's term whose weight it changes
    mend: str = ""  # the right line, where it is known from the candidate's own code or from a compact formula
    change: object = None  # the change of that code which makes it right
    touches: frozenset[str] | None = None  # the parameters of which that line changes the gradient

    @property
    def consistent(self) -> bool:
        """Whether it is another forward pass, to which the gradient belongs."""
        return bool(self.forward or self.rewired or self.in_both)

    @property
    def local(self) -> bool:
        """Whether it is made of broken rules of the backward pass alone."""
        return not self.consistent and self.inputs is None and self.custom is None

    @cached_property
    def one_way(self) -> Fault | None:
        """The same other forward pass, gone back through by the reference's own rules; None where it has none."""
        if not self.forward and not self.rewired:
            return None
        return replace(self, forward_only=True, rank=self.rank + 0.1, nodes={}, values={})

    @cached_property
    def ends(self) -> tuple[Fault, Fault] | None:
        """The same fault with the constants 0 and 1, where it has one."""
        found = None if self.scaled is None else (self.scaled(0.0), self.scaled(1.0))
        return None if found is None or found[0] is None or found[1] is None else (found[0], found[1])


def not_from(users: Collection[int]) -> ValueHook:
    """A hook that drops what some operations send back to a value."""
    return lambda tape, arriving, totals: joined(arriving, without=users)


def replaced(code: str, message: str, place: Place, rank: float, replacement: Replacement) -> Fault:
    """The fault of another operation at every passage of a place, on the way forward."""
    return Fault(code, message, place.site, rank, forward={node.index: replacement for node in place.nodes})


def with_constant(which: int, value: Any) -> Replacement:
    """The same operation with another constant argument."""
    return lambda node, inputs, values: other_constant(node, which, value).run(inputs)


def other_constant(node: Node, which: int, value: Any) -> Node:
    """An operation with another number as its constant argument."""
    flat = list(node.flat)
    places = [i for i in range(len(flat)) if i not in node.positions]
    flat[places[which]] = value
    return replace(node, flat=flat)


def rule_with_constant(which: int, value: Any) -> NodeHook:
    """The operation's rule as it is with another constant argument."""

    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        return tape.vjp(other_constant(node, which, value), grads, at={})

    return hook


def constants_of(place: Place) -> Iterator[tuple[int, float]]:
    """The constants of an operation that are numbers to compute with, and no axes, sizes or choices."""
    for which, value in enumerate(place.model.constants[:2]):
        if place.name in ARITHMETIC and isinstance(value, (int, float)) and not isinstance(value, bool):
            yield which, float(value)


LARGEST_CONSTANT = 1e100  # beyond are infinity, what stands for it, and what is no number
ARITHMETIC = frozenset(
    "add sub rsub mul div pow clamp clamp_min clamp_max leaky_relu elu threshold softplus masked_fill hardtanh".split()
)


def neighbours(value: float) -> list[float]:
    """What else a constant may be remembered as: a half of it, its root, its inverse, one more, the other sign ..."""
    if not abs(value) < LARGEST_CONSTANT:
        return [0.0]
    found = [0.0, 0.5, 1.0, 2.0, value / 2, 2 * value, value - 1, value + 1, value**2, value / 10, 10 * value, -value]
    found += [1 / value] if value else []
    found += [math.sqrt(value)] if value > 0 else []
    found += [10.0**-k for k in range(2, 13)] if 0 < value < 0.05 else []
    return [one for one in dict.fromkeys(found) if one != value]


@dataclass
class Model:
    """The reference on one problem, ready to be run with faults."""

    reference: Callable[..., Any]
    problem: Problem
    tape: Tape
    _others: dict[int, Tape | None] = field(default_factory=dict)

    def tape_for(self, faults: Sequence[Fault]) -> Tape | None:
        """The tape, on other inputs where a fault is one of the inputs (a sample left out, another shape)."""
        changing = [fault for fault in faults if fault.inputs is not None]
        if not changing:
            return self.tape
        assert changing[0].inputs is not None
        key = id(changing[0].inputs)
        if key not in self._others:
            self._others[key] = self._record(changing[0].inputs(self.problem))
        return self._others[key] if len(changing) == 1 else None

    def at(self, params: Arrays) -> Tape | None:
        """The tape at other parameters."""
        return self._record(replace(self.problem, params=_with_axes(params)))

    def gradients(self, params: Arrays, samples: list[int] | None = None) -> Arrays | None:
        """Autograd's gradients at other parameters, and with only some of the samples; None where it has none."""
        problem = replace(self.problem, params=_with_axes(params))
        found = self.answer(problem if samples is None else problem.take(samples))
        return None if found is None else found.gradients

    def answer(self, problem: Problem) -> oracles.Truth | None:
        """Autograd's answer on another problem; None where the reference does not take it."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch warns of means of nothing, and of shapes that broadcast
                return oracles.autograd(self.reference, problem.params, problem.data)
        except Exception:
            return None

    @cached_property
    def each_sample(self) -> list[oracles.Truth] | None:
        """What the reference says of each sample by itself; None where it cannot be asked."""
        found = []
        for index in range(self.problem.samples or 0):
            one = self.answer(self.problem.take([index]))
            if one is None:
                return None
            found.append(one)
        return found

    def function(self, forward: Fault, problem: Problem) -> Tape | None:
        """The reference with another forward pass, on some inputs; None where it cannot run like that."""
        tape = self._record(problem if forward.inputs is None else forward.inputs(problem))
        if tape is None or not (forward.forward or forward.rewired):
            return tape
        try:
            return tape.replay(forward.forward, forward.rewired)
        except UNRUNNABLE:
            return None

    def _record(self, problem: Problem | None) -> Tape | None:
        if problem is None:
            return None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch warns of shapes that broadcast
                return recorded(self.reference, problem, how=self.tape.how)
        except Exception:
            return None  # the reference does not take such inputs


def _with_axes(params: Arrays) -> Arrays:
    """Parameters as arrays: a sum of arrays without axes is none."""
    return {name: np.asarray(value) for name, value in params.items()}


def run(model: Model, faults: Sequence[Fault]) -> tuple[Arrays, float] | None:
    """The gradients and the loss of the reference with these rules broken; None where it cannot run like that."""
    special = [fault for fault in faults if fault.custom is not None]
    if special:
        return special[0].custom(model) if len(faults) == 1 and special[0].custom is not None else None
    back = gone_back(model, faults)
    if back is None:
        return None
    try:
        made = back.arrays(), back.tape.loss()
    except UNRUNNABLE:
        return None
    if any(fault.forward or fault.rewired for fault in faults):
        back.tape.forget()
    return made


def gone_back(model: Model, faults: Sequence[Fault]) -> Backward | None:
    """The reference's way back with these rules broken; None where it cannot run like that."""
    tape = model.tape_for(faults)
    if tape is None:
        return None
    forward: dict[int, Replacement] = {}
    rewired: dict[int, Mapping[int, int]] = {}
    nodes, values = hooks_of(faults)
    for fault in faults:
        forward.update(fault.forward)
        rewired.update(fault.rewired)
    try:
        kept = {i for one in faults if one.forward_only for i in (*one.forward, *one.rewired)}
        replayed = tape.replay(forward, rewired, kept) if forward or rewired else tape
        return None if replayed is None else replayed.backward(nodes, values)
    except UNRUNNABLE:
        return None


def hooks_of(faults: Sequence[Fault]) -> tuple[dict[int, NodeHook], dict[int, ValueHook]]:
    """What a backward pass with all these rules broken is to be run with."""
    nodes: dict[int, NodeHook] = {}
    for fault in faults:
        for index, hook in fault.nodes.items():
            nodes[index] = _after(nodes[index], hook) if index in nodes else hook
    return nodes, value_hooks((value, hook) for fault in faults for value, hook in fault.values.items())


def _after(first: NodeHook, second: NodeHook) -> NodeHook:
    """Two broken rules at one operation: what the first changes of the gradients, the second does not undo."""

    def both(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> list[Tensor | None]:
        clean = tape.vjp(node, grads)
        one, other = first(tape, node, grads, totals), second(tape, node, grads, totals)
        return [
            b if a is c or (a is not None and c is not None and a.shape == c.shape and bool((a == c).all())) else a
            for a, b, c in zip(one, other, clean, strict=True)
        ]

    return both


def value_hooks(pairs: Iterable[tuple[int, ValueHook]]) -> dict[int, ValueHook]:
    """Hooks by value; several at one value do what all of them do."""
    found: dict[int, ValueHook] = {}
    for value, hook in pairs:
        found[value] = _together(found[value], hook) if value in found else hook
    return found


def _together(first: ValueHook, second: ValueHook) -> ValueHook:
    """Two broken rules at one value: what each changes of what arrives there."""

    def both(tape: Tape, arriving: list[tuple[int, Tensor]], totals: Totals) -> Tensor | None:
        one, other = first(tape, arriving, totals), second(tape, arriving, totals)
        right = joined(arriving)
        return None if one is None or other is None or right is None else one + other - right

    return both
