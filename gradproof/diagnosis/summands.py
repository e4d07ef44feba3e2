"""A parameter's gradient is a sum over samples, steps or pixels: some of the summands left out, or mixed up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from gradproof.case import Problem
from gradproof.diagnosis.contributions import contribution, parameter_of, parameter_value
from gradproof.diagnosis.fault import Fault
from gradproof.diagnosis.places import Place
from gradproof.diagnosis.survey import Survey
from gradproof.tape import VIEWS, Node, Tape, Tensor, Totals, ValueHook, joined

Change = Callable[[Tensor], Tensor]
MOST_AXES = 5


@dataclass(frozen=True)
class _Sum:
    """What a parameter gets at one place, and the views of its result whose axes the summands are counted along."""

    place: Place
    position: int
    name: str
    parameter: int
    paths: tuple[tuple[int, ...], ...]  # for each passage, the values from its result to where the axes are looked at
    shape: tuple[int, ...]


def faults(survey: Survey) -> Iterator[Fault]:
    """For each parameter at each place, and each axis of the result: one summand, all but one, in another order.

    Also one sample, or one step, for all parameters that have the axis.
    """
    sums = [one for place in survey.places if not place.everywhere for one in _sums(survey.tape, place)]
    for one in sums:
        for axis, length in enumerate(one.shape):
            for code, words, change, rank in _changes(axis, one.shape, survey.problem) if length > 1 else ():
                yield _fault(survey.tape, [one], code, words, change, rank)
    yield from _of_deltas(survey)
    for axis in range(max((len(one.shape) for one in sums), default=0)):
        having = [one for one in sums if len(one.shape) > axis and one.shape[axis] > 1]
        if len({one.parameter for one in having}) > 1 and len({one.shape[axis] for one in having}) == 1:
            for code, words, change, rank in _changes(axis, having[0].shape, survey.problem):
                yield _fault(survey.tape, having, code, words, change, rank)


def _of_deltas(survey: Survey) -> Iterator[Fault]:
    """Of what arrives at a result, the first or the last entry along an axis only."""
    tape = survey.tape
    for place in survey.places:
        value = place.nodes[0].outputs[0]
        if len(place.nodes) > 1 or place.name in VIEWS or value not in tape.clean.totals:
            continue
        shape, samples = tuple(tape.values[value].shape), survey.problem.samples
        for axis, length in enumerate(shape[:MOST_AXES]):
            for index, which in ((-1, "last"), (0, "first")) if length > 1 else ():
                of_samples = length == samples or (samples not in shape and place.name != "stack")
                along_samples = of_samples and axis == (survey.problem.batch_axis or 0)
                code = "one-sample-only" if along_samples else "last-step-only"
                message = f"of what arrives at {place}, only the {which} of {length} along axis {axis} is kept"
                values = {value: _changed_delta(_kept(axis, [index % length]))}
                yield Fault(code, message, place.site, 1.3, values=values)


def _changed_delta(change: Change) -> ValueHook:
    def hook(tape: Tape, arriving: list[tuple[int, Tensor]], totals: Totals) -> Tensor | None:
        total = joined(arriving)
        return None if total is None else change(total)

    return hook


def _sums(tape: Tape, place: Place) -> Iterator[_Sum]:
    """The ways to look at a place's result: as it is, and after the views that follow."""
    for position, value in enumerate(place.nodes[0].inputs):
        name = parameter_of(tape, value)
        if name is None or (place.name in VIEWS and place.name != "expand"):
            continue
        parameter, seen = parameter_value(tape, value), set()
        paths = [_looked_at(tape, node) for node in place.nodes]
        for views, result in enumerate(_looked_at(tape, place.model), start=1):
            shape = tuple(tape.values[result].shape)
            if shape and len(shape) <= MOST_AXES and shape not in seen:
                seen.add(shape)
                looked_at = tuple(tuple(path[:views]) if len(path) >= views else () for path in paths)
                yield _Sum(place, position, name, parameter, looked_at, shape)


def _looked_at(tape: Tape, node: Node) -> list[int]:
    """The result of an operation, what adding a bias makes of it, and views of that."""
    found = [node.outputs[0]]
    while True:
        users = [tape.nodes[i] for i in tape.consumers.get(found[-1], ())]
        if len(users) != 1 or not (_keeps_entries(users[0]) or _adds_a_parameter(tape, users[0], found[-1])):
            return found
        found.append(users[0].outputs[0])


def _keeps_entries(node: Node) -> bool:
    return node.name in VIEWS and node.name not in ("expand", "t", "to")


def _adds_a_parameter(tape: Tape, node: Node, value: int) -> bool:
    others = [one for one in node.inputs if one != value]
    same = tape.values[node.outputs[0]].shape == tape.values[value].shape
    return node.name == "add" and same and len(others) == 1 and parameter_of(tape, others[0]) is not None


def _changes(axis: int, shape: tuple[int, ...], problem: Problem) -> Iterator[tuple[str, str, Change, float]]:
    length = shape[axis]
    is_batch = axis == problem.batch_axis and (length == problem.samples or problem.samples not in shape)
    what = "sample" if is_batch else "step" if axis else "row"
    only = "one-sample-only" if is_batch else "last-step-only"
    what = what if is_batch else f"entry along axis {axis}"
    for index, which in ((-1, "last"), (0, "first")):
        message = f"is the contribution of the {which} {what} alone, not the sum over all {length}"
        yield only, message, _kept(axis, [index % length]), 1.1
    if length > 2:
        rest = [list(range(length - 1)), list(range(1, length))]
        for chosen, which in zip(rest, ("last", "first"), strict=True):
            yield "missing-path", f"lacks the contribution of the {which} {what}", _kept(axis, chosen), 1.3
    if length > 3:
        halves = [list(range(length // 2)), list(range(length // 2, length))]
        for chosen, which in zip(halves, ("first", "second"), strict=True):
            message = f"is the sum over the {which} half only ({len(chosen)} of {length}, axis {axis})"
            yield "missing-path", message, _kept(axis, chosen), 1.35
    order = f"is made with the deltas in reversed order along axis {axis}"
    yield "flipped", order, lambda one: one.flip(axis), 1.4
    for shift, neighbour in ((1, "before"), (-1, "after")):
        code = "wrong-operand" if is_batch else "shifted-in-time"
        message = f"is made with the delta of the {what} {neighbour} each one's own"
        yield code, message, _rolled(axis, shift, True), 1.45
        yield code, message, _rolled(axis, shift, False), 1.45


def _kept(axis: int, chosen: list[int]) -> Change:
    def change(delta: Tensor) -> Tensor:
        mask = torch.zeros(delta.shape[axis], dtype=delta.dtype)
        mask[chosen] = 1
        return delta * mask.reshape([-1 if i == axis else 1 for i in range(delta.dim())])

    return change


def _rolled(axis: int, shift: int, wrapped: bool) -> Change:
    def change(delta: Tensor) -> Tensor:
        length = delta.shape[axis]
        rolled = torch.roll(delta, shift, axis)
        edge = list(range(1, length)) if shift == 1 else list(range(length - 1))
        return rolled if wrapped else _kept(axis, edge)(rolled)

    return change


def _fault(tape: Tape, sums: list[_Sum], code: str, words: str, change: Change, rank: float) -> Fault:
    names = " and ".join(dict.fromkeys(one.name for one in sums))
    values = {parameter: _changed([one for one in sums if one.parameter == parameter], change) for parameter in
              dict.fromkeys(one.parameter for one in sums)}
    return Fault(code, f"the gradient of {names} {words}", sums[0].place.site, rank, values=values)


def _changed(sums: list[_Sum], change: Change) -> ValueHook:
    """At the parameter: what each passage contributes is made of the changed delta."""

    def hook(tape: Tape, arriving: list[tuple[int, Tensor]], totals: Totals) -> Tensor | None:
        total = joined(arriving)
        if not any(_keeps_something(path, change, totals) for one in sums for path in one.paths):
            raise ValueError("what is kept is zero: that nothing arrives there is another mistake")
        for one in sums:
            for node, path in zip(one.place.nodes, one.paths, strict=True):
                difference = _difference(tape, node, one.position, path, change, totals)
                if difference is not None and total is not None:
                    total = total + difference
        return total

    return hook


def _keeps_something(path: tuple[int, ...], change: Change, totals: Totals) -> bool:
    delta = totals.get(path[-1]) if path else None
    return delta is not None and bool(change(delta).any())


def _difference(
    tape: Tape, node: Node, position: int, path: tuple[int, ...], change: Change, totals: Totals
) -> Tensor | None:
    delta = totals.get(path[-1]) if path else None
    if delta is None:
        return None
    difference: Tensor | None = change(delta) - delta
    for result, before in zip(path[:0:-1], path[-2::-1], strict=True):
        view = tape.nodes[tape.producer[result]]
        own = 0 if view.inputs[0] == before else 1
        difference = None if difference is None else tape.vjp(view, [difference])[own]
    return None if difference is None else contribution(tape, node, position, difference)
