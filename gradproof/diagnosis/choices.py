"""What is chosen: the larger or smaller of two arrays, one entry along an axis, the side of a comparison."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

from gradproof.diagnosis.edges import origin
from gradproof.diagnosis.fault import Fault, Replacement, replaced
from gradproof.diagnosis.places import Place
from gradproof.diagnosis.survey import Survey
from gradproof.tape import Gradients, Node, NodeHook, Tape, Tensor, Totals

EXTREMES = {"maximum": torch.maximum, "minimum": torch.minimum}
NAMES = {"maximum": "larger", "minimum": "smaller"}
# What may stand for one entry along an axis.
SUMMARIES: dict[str, Callable[[Tensor, int], Tensor]] = {
    "the mean": lambda x, axis: x.mean(axis),
    "the sum": lambda x, axis: x.sum(axis),
    "the largest": lambda x, axis: x.amax(axis),
}
COMPARISONS: dict[str, tuple[str, Callable[[Tensor, Tensor | float], Tensor]]] = {
    "gt": (">=", torch.ge), "ge": (">", torch.gt), "lt": ("<=", torch.le), "le": ("<", torch.lt),
}


def faults(survey: Survey) -> Iterator[Fault]:
    """For each choice between two arrays, each entry taken along an axis, and each comparison."""
    tape = survey.tape
    for place in survey.places:
        if place.name in EXTREMES:
            yield from _of_two(tape, place)
        elif place.name == "select":
            yield from _of_entry(tape, place)
    for place in survey.all_places:
        if place.name == "select" and len(place.nodes) > 1:
            yield from _of_entries_in_turn(tape, place)
        elif place.name in COMPARISONS:
            symbol, comparison = COMPARISONS[place.name]
            message = f"{place} is done with `{symbol}`: what is equal goes to the other side"
            yield replaced("different-function", message, place, 1.35, _compared(comparison))


def _of_two(tape: Tape, place: Place) -> Iterator[Fault]:
    names = [origin(tape, place.model, position) for position in (0, 1)]
    moving = [value in tape.differentiable for value in place.model.inputs]
    for chosen in (0, 1):
        if moving[chosen] or all(moving):
            message = f"on the way back through {place}, {names[chosen]} is taken for the {NAMES[place.name]}"
            message += " everywhere"
            hooks = {node.index: _sent_to_one(chosen) for node in place.nodes}
            yield Fault("different-function", message, place.site, 1.2, hooks)
    if all(moving):
        hooks = {node.index: _sent_to_both for node in place.nodes}
        message = f"what flows back through {place} goes to both arrays, not to the {NAMES[place.name]} alone"
        yield Fault("missing-derivative", message, place.site, 1.2, hooks)
    other = next(name for name in EXTREMES if name != place.name)
    message = f"what flows back through {place} goes to the {NAMES[other]} of the two"
    hooks = {node.index: _sent_as(EXTREMES[other]) for node in place.nodes}
    yield Fault("different-function", message, place.site, 1.2, hooks)
    message = f"{place} takes the {NAMES[other]} of the two, not the {NAMES[place.name]}"
    yield replaced("different-function", message, place, 1.25, lambda node, x, _: [EXTREMES[other](*x)])
    for keep in (0, 1):
        message = f"{place} is {names[keep]} everywhere"
        yield replaced("different-function", message, place, 1.3, _one_alone(keep))


def _of_entry(tape: Tape, place: Place) -> Iterator[Fault]:
    node = place.model
    axis, index = int(node.arguments[1]), int(node.arguments[2])
    length = tape.values[node.inputs[0]].shape[axis]
    if length < 2:
        return
    for words, summary in SUMMARIES.items():
        message = f"{words} of all {length} along axis {axis} stands for {place}"
        yield replaced("different-function", message, place, 1.35, _summarised(summary))
    for other in {0, length - 1, index - 1, index + 1} if len(place.nodes) == 1 else ():
        if other % length != index % length and other < length:
            message = f"{place} takes entry {other % length} along axis {axis}, not {index}"
            yield replaced("wrong-operand", message, place, 1.4, _selected(other % length))


def _of_entries_in_turn(tape: Tape, place: Place) -> Iterator[Fault]:
    """A loop that takes one entry after the other: each time the one after, or the one before."""
    indices = [int(node.arguments[2]) for node in place.nodes]
    if len({b - a for a, b in zip(indices, indices[1:], strict=False)} & {1, -1}) == 1:
        for step, words in ((1, "after"), (-1, "before")):
            message = f"each time, {place} takes the entry {words} its own"
            yield replaced("shifted-in-time", message, place, 1.4, _moved_on(step))


def _moved_on(step: int) -> Replacement:
    """The neighbouring entry, and at the end the last that there is; an index of -1 is the last one, as in Python."""

    def replacement(node: Node, inputs: list[Tensor], values: Sequence[Tensor]) -> Sequence[Tensor]:
        axis, index = int(node.arguments[1]), int(node.arguments[2])
        length = inputs[0].shape[axis]
        return [inputs[0].select(axis, min(index + step, length - 1)).clone()]

    return replacement


def _sent_to_one(chosen: int) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        return [_like(tape, node, grads[0], i) if i == chosen else None for i in (0, 1)]

    return hook


def _sent_to_both(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
    return [_like(tape, node, grads[0], i) for i in (0, 1)]


def _sent_as(function: Callable[[Tensor, Tensor], Tensor]) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        if grads[0] is None:
            return [None, None]
        first, second = (tape.values[value] for value in node.inputs)
        own = function(first, second) == first
        parts = (torch.where(own, grads[0], 0.0), torch.where(own, 0.0, grads[0]))
        return [_like(tape, node, part, i) for i, part in enumerate(parts)]

    return hook


def _like(tape: Tape, node: Node, grad: Tensor | None, position: int) -> Tensor | None:
    """What reaches an input, in its shape; None where none is wanted."""
    value = node.inputs[position]
    return None if grad is None or value not in tape.differentiable else grad.sum_to_size(tape.values[value].shape)


def _one_alone(keep: int) -> Replacement:
    return lambda node, inputs, values: [inputs[keep].expand_as(node.run(inputs)[0]).clone()]


def _summarised(summary: Callable[[Tensor, int], Tensor]) -> Replacement:
    return lambda node, inputs, values: [summary(inputs[0], int(node.arguments[1]))]


def _selected(index: int) -> Replacement:
    return lambda node, inputs, values: [inputs[0].select(int(node.arguments[1]), index).clone()]


def _compared(comparison: Callable[[Tensor, Tensor | float], Tensor]) -> Replacement:
    return lambda node, inputs, values: [comparison(inputs[0], inputs[1] if len(inputs) > 1 else node.constants[0])]
