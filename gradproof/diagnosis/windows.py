"""Pooling and extremes: what flows back spread otherwise, another kind of pooling, padding at the other end."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F

from gradproof.diagnosis.fault import Fault, Replacement, replaced
from gradproof.diagnosis.places import Place
from gradproof.diagnosis.pool import fitted
from gradproof.diagnosis.survey import Survey
from gradproof.tape import Gradients, Node, NodeHook, Tape, Tensor, Totals

POOLS = ("max_pool2d_with_indices", "avg_pool2d", "max_pool3d_with_indices", "avg_pool3d")
EXTREMES = ("amax", "amin", "max", "min")


def faults(survey: Survey) -> Iterator[Fault]:
    """For each pooling, maximum and padding."""
    tape = survey.tape
    for place in survey.places:
        if place.name in POOLS:
            yield from _of_pooling(tape, place)
        elif place.name in EXTREMES:
            yield from _of_maximum(tape, place)
        if place.name in EXTREMES or place.name.startswith("max_pool"):
            yield from _where_others_are_largest(survey, place)
    for place in survey.all_places:
        if place.name == "constant_pad_nd":
            yield replaced("different-function", f"{place} pads at the other end", place, 1.3, _padded_elsewhere)
            message = f"what leaves {place} at one end comes in again at the other, where zeros belong"
            yield replaced("different-function", message, place, 1.3, _wrapped_around)
        elif place.name.startswith(("reflection_pad", "replication_pad")):
            message = f"what flows back from the border of {place} is dropped: only what comes from inside it is kept"
            yield Fault("missing-path", message, place.site, 1.1, {node.index: _from_inside for node in place.nodes})
        elif place.name == "convolution" and any(any(node.arguments[4]) for node in place.nodes):
            for start, where in ((True, "start"), (False, "end")):
                message = f"{place} has all its padding at the {where}, where the reference has half of it at each"
                yield replaced("different-function", message, place, 1.35, _padded_on_one_side(start))


def window(node: Node, dims: int) -> tuple[list[int], list[int], list[int]]:
    """Size, stride and padding of a pooling's window."""
    args = node.arguments
    size = _each(args[1], dims)
    stride = _each(args[2], dims) if len(args) > 2 and args[2] else size
    return size, stride, _each(args[3], dims) if len(args) > 3 else [0] * dims


def _each(value: Sequence[int], dims: int) -> list[int]:
    return list(value) * dims if len(value) == 1 else list(value)


def _average(node: Node, x: Tensor) -> Tensor:
    dims = 3 if "3d" in node.name else 2
    size, stride, padding = window(node, dims)
    return (F.avg_pool3d if dims == 3 else F.avg_pool2d)(x, size, stride, padding)


def _maximum(node: Node, x: Tensor) -> Tensor:
    dims = 3 if "3d" in node.name else 2
    size, stride, padding = window(node, dims)
    return (F.max_pool3d if dims == 3 else F.max_pool2d)(x, size, stride, padding)


def _of_pooling(tape: Tape, place: Place) -> Iterator[Fault]:
    count = math.prod(window(place.model, 3 if "3d" in place.name else 2)[0])
    largest = place.name.startswith("max")
    if largest:
        for factor, words in ((1.0, "as if it were an average"), (float(count), "to every entry of it, undivided")):
            message = f"what flows back through {place} is spread over each window {words}; its largest entry gets all"
            yield _spread(place, message, factor)
    other: Callable[[Node, Tensor], Tensor] = _average if largest else _maximum
    message = f"{place} takes the {'average' if largest else 'maximum'} of each window"

    def replacement(node: Node, inputs: list[Tensor], values: Sequence[Tensor]) -> Sequence[Tensor]:
        return [other(node, inputs[0]), *(values[one] for one in node.outputs[1:])]

    yield replaced("different-function", message, place, 1.3, replacement)
    message = f"{place} takes the sum of each window, which is not divided by the {count} entries of it"

    def summed(node: Node, inputs: list[Tensor], values: Sequence[Tensor]) -> Sequence[Tensor]:
        return [_average(node, inputs[0]) * count, *(values[one] for one in node.outputs[1:])]

    yield replaced("different-function" if largest else "wrong-reduction", message, place, 1.2, summed)


def _spread(place: Place, message: str, factor: float) -> Fault:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        if grads[0] is None:
            return [None] * len(node.inputs)
        x = tape.values[node.inputs[0]].detach().requires_grad_()
        with torch.enable_grad():
            total = (_average(node, x) * grads[0] * factor).sum()
        return [*torch.autograd.grad(total, [x])]

    return Fault("different-function", message, place.site, 1.3, {node.index: hook for node in place.nodes})


def _of_maximum(tape: Tape, place: Place) -> Iterator[Fault]:
    node = place.model
    count = tape.values[node.inputs[0]].numel() // max(tape.values[node.outputs[0]].numel(), 1)
    dims = _dims(node)
    if dims is None:
        return
    for factor, words in ((1.0, "to every entry, undivided"), (1 / count, "evenly over all entries")):
        message = f"what flows back through {place} is sent {words}, not to the extreme one"
        hooks = {one.index: _evenly(dims, factor) for one in place.nodes}
        yield Fault("different-function", message, place.site, 1.3, hooks)
    for words, chosen in (
        ("the opposite extreme", lambda x: x == (x.amin(dims, True) if "max" in node.name else x.amax(dims, True))),
        ("every entry above zero", lambda x: x > 0),
        ("every entry below zero", lambda x: x < 0),
        ("the first entry", lambda x: _first(x, dims)),
    ):
        message = f"what flows back through {place} is sent to {words}, not to the extreme one"
        hooks = {one.index: _sent_to(dims, chosen) for one in place.nodes}
        yield Fault("different-function", message, place.site, 1.35, hooks)
    for factor, words in ((1.0, "sum"), (1 / count, "mean")):
        message = f"the {words} over {count} entries stands where {place} takes the extreme one"
        yield replaced("different-function", message, place, 1.3, _summed(dims, factor))


def _where_others_are_largest(survey: Survey, place: Place) -> Iterator[Fault]:
    for row in survey.pool.fitting(place, [node.inputs[0] for node in place.nodes]):
        if None not in row.values and not row.transposed:
            message = f"what flows back through {place} is sent to where another array is extreme: {row.words}"
            pairs = zip(place.nodes, row.values, strict=True)
            hooks = {node.index: _extreme_of(value) for node, value in pairs if value is not None}
            yield Fault("wrong-operand", message, place.site, 1.4, hooks)


def _extreme_of(value: int) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        like = tape.values[node.inputs[0]]
        other = fitted(tape.values[value], tuple(like.shape))
        if other is None:
            raise ValueError("the shapes do not fit")
        return tape.vjp(node, grads, at={0: other})

    return hook


def _summed(dims: list[int], factor: float) -> Replacement:
    def replacement(node: Node, inputs: list[Tensor], values: Sequence[Tensor]) -> Sequence[Tensor]:
        result = values[node.outputs[0]]
        total = inputs[0].sum(dims or None, result.dim() == inputs[0].dim() > 0) * factor
        return [total, *(values[one] for one in node.outputs[1:])]

    return replacement


def _first(x: Tensor, dims: list[int]) -> Tensor:
    chosen = torch.ones_like(x)
    for dim in dims or range(x.dim()):
        chosen = chosen * (torch.arange(x.shape[dim]).reshape([-1, *[1] * (x.dim() - 1 - dim % x.dim())]) == 0)
    return chosen


def _sent_to(dims: list[int], chosen: Callable[[Tensor], Tensor]) -> NodeHook:
    evenly = _evenly(dims, 1.0)

    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        x = tape.values[node.inputs[0]]
        spread = evenly(tape, node, grads, totals)[0]
        return [None if spread is None else spread * chosen(x)]

    return hook


def _dims(node: Node) -> list[int] | None:
    args = node.arguments
    if len(args) < 2:
        return []
    return [args[1]] if isinstance(args[1], int) else list(args[1]) if isinstance(args[1], (list, tuple)) else None


def _evenly(dims: list[int], factor: float) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        grad, x = grads[0], tape.values[node.inputs[0]]
        if grad is None:
            return [None]
        for dim in sorted(one % x.dim() for one in dims) if grad.dim() < x.dim() else ():
            grad = grad.unsqueeze(dim)
        return [grad.expand(x.shape) * factor]

    return hook


def _wrapped_around(node: Node, inputs: list[Tensor], values: Sequence[Tensor]) -> Sequence[Tensor]:
    """Raises ValueError where more than one axis is padded, or something is cut off."""
    widths = list(node.arguments[1])
    if len(widths) != 2 or min(widths) < 0 or inputs[0].dim() < 2:
        raise ValueError("not one axis that is padded")
    x = inputs[0].reshape(1, -1, inputs[0].shape[-1])
    padded = F.pad(x, widths, mode="circular")
    return [padded.reshape(*inputs[0].shape[:-1], padded.shape[-1])]


def _padded_elsewhere(node: Node, inputs: list[Tensor], values: Sequence[Tensor]) -> Sequence[Tensor]:
    pad = list(node.arguments[1])
    swapped = [pad[i ^ 1] for i in range(len(pad))]
    return [F.pad(inputs[0], swapped, value=float(node.arguments[2]) if len(node.arguments) > 2 else 0.0)]


def _from_inside(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
    grad, pad = grads[0], node.arguments[1]
    if grad is not None:
        for k in range(0, len(pad), 2):
            axis = grad.dim() - 1 - k // 2
            grad = grad.narrow(axis, pad[k], grad.shape[axis] - pad[k] - pad[k + 1])
    return [grad]


def _padded_on_one_side(start: bool) -> Replacement:
    def replacement(node: Node, inputs: list[Tensor], values: Sequence[Tensor]) -> Sequence[Tensor]:
        stride, padding, *others = node.arguments[3:9]
        sides = [side for pad in reversed(padding) for side in ((2 * pad, 0) if start else (0, 2 * pad))]
        bias = inputs[2] if len(inputs) > 2 else None
        x = F.pad(inputs[0], sides)
        return [torch.convolution(x, inputs[1], bias, stride, [0] * len(padding), *others)]

    return replacement


def extreme(name: str) -> Replacement:
    """The maximum where a reduction takes a sum or a mean."""

    def replacement(node: Node, inputs: list[Tensor], values: Sequence[Tensor]) -> Sequence[Tensor]:
        dims = _dims(node) or list(range(inputs[0].dim()))
        keep = values[node.outputs[0]].dim() == inputs[0].dim()
        return [getattr(torch, name)(inputs[0], dims, keep)]

    return replacement
