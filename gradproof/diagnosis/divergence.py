"""Where a candidate's forward pass leaves the reference: the first array of its own that is another one.

Of a candidate whose loss is wrong. Both forward passes are there as tapes, and most of their
arrays are the same up to order and sign. An array that the reference does not have is where the candidate goes wrong
if, with one of the reference's arrays in its place, the rest of its forward pass has the reference's loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gradproof.case import Case, Problem, recorded
from gradproof.diagnosis.fault import Fault, Model
from gradproof.diagnosis.places import Place, find_places
from gradproof.oracles import Arrays
from gradproof.tape import Node, Recording, Tape, Tensor
from gradproof.tolerances import relative_tolerance

MOST = 16  # operations between the arrays that both have and the one that differs
MOST_AT_LAST = 2  # the same for the loss
EQUAL = 1e-9  # of the largest entry
REDUCTIONS = frozenset("sum mean amax amin logsumexp prod var cumsum _softmax _log_softmax".split())


@dataclass(frozen=True)
class _Pass:
    """One of the two forward passes, and its operations whose results the other does not have."""

    tape: Tape
    new: frozenset[int]

    def new_places(self) -> list[Place]:
        """The places that make new arrays out of old ones in few operations, in the order in which they are done."""
        return [one for one in self._places if one.nodes[0].index in self.new]

    def arrays(self) -> list[Place | str]:
        """What could stand in the place of another array: a place's results, new ones first; parameters and data."""
        old = [one for one in self._places if one.nodes[0].index not in self.new]
        return [*self.new_places(), *old, *self.tape.parameters, *self.tape.data]

    @cached_property
    def _places(self) -> list[Place]:
        found = (one for one in find_places(self.tape, everywhere=True) if not one.everywhere)
        near = (one for one in found if self._made_in(one.nodes[0]) <= self._most(one))
        return sorted(near, key=lambda place: place.nodes[0].index)

    def _most(self, place: Place) -> int:
        """With another number for the loss itself, any forward pass has the right one."""
        return MOST_AT_LAST if place.results[-1] in self.tape.terms.values() else MOST

    def _made_in(self, node: Node) -> int:
        """In how many operations a result is made of arrays that both have."""
        seen, waiting = {node.index}, [node]
        while waiting:
            for value in waiting.pop().inputs:
                maker = self.tape.maker(value)
                if maker is not None and maker.index in self.new and maker.index not in seen:
                    seen.add(maker.index)
                    waiting.append(maker)
        return len(seen)


@dataclass(frozen=True)
class _Both:
    """The candidate's forward pass and the reference, to be recorded on any problem."""

    own: Callable[..., object]
    own_how: Recording
    reference: Callable[..., object]
    how: Recording

    def tapes(self, problem: Problem) -> tuple[Tape, Tape] | None:
        own = recorded(self.own, problem, how=self.own_how)
        theirs = recorded(self.reference, problem, how=self.how)
        return None if own is None or theirs is None else (own, theirs)


def faults(case: Case, over: Callable[[], bool]) -> Iterator[Fault]:
    """The first place of the candidate's forward pass that makes another array, as a fault that has its own numbers."""
    mine = case.of_own_function
    for theirs in (one.tape for one in (case, *case.otherwise) if one.own_forward is None):
        if mine is not None and mine.tape is not None and theirs is not None:
            assert mine.program is not None
            assert case.reference is not None
            both = _Both(mine.program, mine.tape.how, case.reference, theirs.how)
            yield from _first(both, mine.tape, theirs, over)


def parting(case: Case, fresh: Case | None, over: Callable[[], bool]) -> Fault | None:
    """The first place that holds on fresh inputs as well."""
    for fault in faults(case, over):
        assert fault.custom is not None
        tape = None if fresh is None else fresh.tape
        if fresh is None or fresh.program is None or tape is None:
            return fault
        if fault.custom(Model(fresh.program, fresh.problem, tape)) is not None:
            return fault
    return None


def _first(both: _Both, own: Tape, theirs: Tape, over: Callable[[], bool]) -> Iterator[Fault]:
    ours = _Pass(own, _not_in(own, theirs))
    counterparts = _Pass(theirs, _not_in(theirs, own)).arrays()
    for place in ours.new_places():
        for counterpart in counterparts:
            if over():
                return
            if _mends(own, place, theirs, counterpart):
                yield _fault(both, _code(own, place, theirs, counterpart), place, counterpart)
                return


def _not_in(tape: Tape, other: Tape) -> frozenset[int]:
    """The operations that make an array which is none of another tape's, in whatever order and with whatever signs.

    Nor the logarithm of one: probabilities are multiplied where their logarithms are added.
    """
    known: dict[tuple[int, str], list[np.ndarray]] = {}
    for tensor in other.values:
        for one in (tensor, *((tensor.exp(), tensor.abs().log()) if tensor.is_floating_point() else ())):
            known.setdefault(_kind(one), []).append(_entries(one))
    return frozenset(node.index for node in tape.nodes if not _is_among(tape.values[node.outputs[0]], known))


def _is_among(tensor: Tensor, known: dict[tuple[int, str], list[np.ndarray]]) -> bool:
    mine = _entries(tensor)
    size = EQUAL * float(np.max(mine, initial=0.0))
    return any(bool(np.all(np.abs(mine - one) <= size)) for one in known.get(_kind(tensor), ()))


def _kind(tensor: Tensor) -> tuple[int, str]:
    """What equal arrays have in common: how many entries, and their sum to some digits."""
    return tensor.numel(), f"{float(tensor.to(torch.float64).abs().sum()):.6e}"


def _entries(tensor: Tensor) -> np.ndarray:
    return np.sort(np.abs(tensor.detach().numpy().astype(np.float64).reshape(-1)))


def _mends(own: Tape, place: Place, theirs: Tape, counterpart: Place | str) -> bool:
    """Whether the candidate's forward pass has the reference's loss with the reference's arrays in one place."""
    arrays = _values(theirs, counterpart, len(place.nodes))
    shapes = [tuple(own.values[node.outputs[0]].shape) for node in place.nodes]
    right = theirs.loss()
    for arranged in (_as_it_is, _turned) if len(arrays) == len(shapes) else ():
        fitting = [arranged(array, shape) for array, shape in zip(arrays, shapes, strict=True)]
        pairs = zip(place.nodes, fitting, strict=True)
        put = {node.index: partial(_instead, one) for node, one in pairs if one is not None}
        mended = own.replay(put) if len(put) == len(shapes) else None
        if mended is not None and abs(mended.loss() - right) <= relative_tolerance("autograd", "float64") * abs(right):
            return True
    return False


def _values(tape: Tape, array: Place | str, count: int) -> list[Tensor]:
    """The array that each of so many passages would be given."""
    if isinstance(array, Place):
        return [tape.values[value] for value in array.results]
    return [tape.values[{**tape.parameters, **tape.data}[array]]] * count


def _instead(array: Tensor, node: Node, inputs: Sequence[Tensor], values: Sequence[Tensor]) -> list[Tensor]:
    return [array, *(values[one] for one in node.outputs[1:])]


def _as_it_is(array: Tensor, shape: tuple[int, ...]) -> Tensor | None:
    return array.reshape(shape) if array.numel() == int(np.prod(shape)) else None


def _turned(array: Tensor, shape: tuple[int, ...]) -> Tensor | None:
    return array.mT if array.dim() > 1 and tuple(array.mT.shape) == shape != tuple(array.shape) else None


def _fault(both: _Both, code: str, place: Place, counterpart: Place | str) -> Fault:
    """Another function of the same arrays, wherever it is that the two part."""

    def custom(model: Model) -> tuple[Arrays, float] | None:
        tapes = both.tapes(model.problem)
        if tapes is None:
            return None
        own, theirs = tapes
        here, there = _again(own, place), _again(theirs, counterpart)
        if here is None or there is None or not _mends(own, here, theirs, there):
            return None
        return own.clean.arrays(), own.loss()

    where = f"{Path(place.site.file).name}:{place.site.line}"
    instead = f"{counterpart} itself" if isinstance(counterpart, str) else f"what {counterpart} makes"
    message = (
        f"your forward pass parts with the reference at {place} ({where}). The reference has {instead} there:"
        " with that, the rest of your forward pass is right."
    )
    site = place.site if isinstance(counterpart, str) else counterpart.site
    return Fault(code, message, site, 2.0, custom=custom)


def _again(tape: Tape, place: Place | str) -> Any:
    """The same on a tape of other numbers; None where the operations are others."""
    if isinstance(place, str):
        return place
    if place.nodes[-1].index >= len(tape.nodes):
        return None
    nodes = tuple(tape.nodes[node.index] for node in place.nodes)
    alike = all(one.name == node.name and one.site == node.site for one, node in zip(nodes, place.nodes, strict=True))
    return replace(place, nodes=nodes) if alike else None


def _code(own: Tape, place: Place, theirs: Tape, counterpart: Place | str) -> str:
    if isinstance(counterpart, str):
        return "different-function"
    one, other = place.model, counterpart.model
    if one.name == other.name and one.name in REDUCTIONS and one.constants != other.constants:
        given, expected = own.values[one.inputs[0]], theirs.values[other.inputs[0]]
        same = _is_among(given, {_kind(expected): [_entries(expected)]})
        return "wrong-axis" if same else "different-function"
    if {one.name, other.name} == {"sum", "mean"}:
        return "wrong-reduction"
    made, expected = own.values[one.outputs[0]], theirs.values[other.outputs[0]]
    axes = _normalised(made), _normalised(expected)
    turned = made.shape != expected.shape  # rows of the one are columns of the other
    return "wrong-axis" if all(axes) and axes[0] != axes[1] and not turned else "different-function"


def _normalised(array: Tensor) -> set[int]:
    """The axes, counted from the last, along which the entries add up to 1."""
    axes = range(-array.dim(), 0) if array.is_floating_point() else ()
    return {axis for axis in axes if bool((array.sum(axis) - 1).abs().max() < EQUAL)}
