"""Pooling and convolution: what a window sends back spread otherwise, another kind of pooling, other windows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, permutations

import torch
import torch.nn.functional as F

from gradproof.diagnosis.branches import restricted
from gradproof.diagnosis.fault import Fault, Replacement, replaced
from gradproof.diagnosis.places import VIEWS, Place
from gradproof.diagnosis.survey import Survey
from gradproof.tape import Gradients, Node, NodeHook, Tape, Tensor, Totals

POOLS = ("max_pool2d_with_indices", "avg_pool2d", "max_pool3d_with_indices", "avg_pool3d")
EXTREMES = ("amax", "amin", "max", "min")


def faults(survey: Survey) -> Iterator[Fault]:
    """For each pooling, maximum, padding and convolution, and each array that was flattened."""
    tape = survey.tape
    for place in survey.places:
        if place.name in POOLS:
            yield from _of_pooling(tape, place)
        elif place.name in EXTREMES:
            yield from _of_maximum(tape, place)
        elif place.name == "convolution":
            yield from _of_convolution(tape, place)
        elif place.name == "mm":
            yield from _of_flattened(tape, place)
        if place.name == "cumsum":
            for fault in _of_running_sum(place):
                yield fault
                yield from restricted(survey, place, 0, dict(fault.nodes), fault)
        if place.name == "select":
            yield from _of_selection(tape, place)
        if place.name in ("view", "_unsafe_view", "reshape"):
            yield from _of_view(tape, place)
    for place in survey.all_places:
        if place.name == "constant_pad_nd":
            yield replaced("different-function", f"{place} pads at the other end", place, 1.3, _padded_elsewhere)


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


def _padded_elsewhere(node: Node, inputs: list[Tensor], values: Sequence[Tensor]) -> Sequence[Tensor]:
    pad = list(node.arguments[1])
    swapped = [pad[i ^ 1] for i in range(len(pad))]
    return [F.pad(inputs[0], swapped, value=float(node.arguments[2]) if len(node.arguments) > 2 else 0.0)]


def _of_convolution(tape: Tape, place: Place) -> Iterator[Fault]:
    """The filters' gradient made with other windows of the input, the input's with the channels exchanged."""
    stride, dilation, groups = place.model.arguments[3], place.model.arguments[5], place.model.arguments[8]
    filters = tape.values[place.model.inputs[1]]
    if filters.shape[0] == filters.shape[1] and groups == 1 and place.model.inputs[0] in tape.differentiable:
        message = f"on the way back through {place}, the filters' channels in and out are not exchanged"
        for turned, more in ((False, ""), (True, ", nor are the filters turned round")):
            hooks = {node.index: _channels_as_they_are(turned) for node in place.nodes}
            yield Fault("not-transposed", message + more, place.site, 1.15 + 0.15 * turned, hooks)
    if any(one != 1 for one in dilation):
        for positions, whose in (((1,), "of the filters"), ((0,), "of the input"), ((0, 1), "of both factors")):
            message = f"the gradient {whose} is made with neighbouring entries: the dilation of {place} is left out"
            hooks = {node.index: _undilated(positions) for node in place.nodes}
            yield Fault("wrong-operand", message, place.site, 1.3, hooks)
    if groups != 1 or any(one != 1 for one in dilation) or place.model.inputs[1] not in tape.differentiable:
        return
    if any(one != 1 for one in stride):
        message = "the gradient of the filters is made with windows one entry apart: the stride is left out"
        yield _other_windows(place, message, "wrong-operand", lambda one: [1] * len(one))
    message = "the gradient of the filters is made with the first window for all of them"
    yield _other_windows(place, message, "wrong-operand", lambda one: [0] * len(one))


def _channels_as_they_are(turned: bool) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        filters = tape.values[node.inputs[1]].transpose(0, 1)
        filters = filters.flip(*range(2, filters.dim())) if turned else filters
        found = list(tape.vjp(node, grads))
        found[0] = tape.vjp(node, grads, at={1: filters})[0]
        return found

    return hook


def _undilated(positions: Sequence[int]) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found, grad = list(tape.vjp(node, grads)), grads[0]
        if grad is None:
            return found
        x, filters = (tape.values[value].detach().requires_grad_() for value in node.inputs[:2])
        stride, padding, dilation, *others = node.arguments[3:9]
        with torch.enable_grad():
            y = torch.convolution(x, filters, None, stride, padding, [1] * len(dilation), *others)
            y = y[tuple(slice(length) for length in grad.shape)]
        for i in positions:
            if found[i] is not None:
                found[i] = torch.autograd.grad(y, (x, filters)[i], grad, retain_graph=True)[0]
        return found

    return hook


def _other_windows(place: Place, message: str, code: str, steps: Callable[[list[int]], list[int]]) -> Fault:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found, grad = list(tape.vjp(node, grads)), grads[0]
        if grad is not None:
            stride, padding = node.arguments[3], node.arguments[4]
            x = F.pad(tape.values[node.inputs[0]], [side for pad in reversed(padding) for side in (pad, pad)])
            found[1] = _filters_gradient(x, grad, list(tape.values[node.inputs[1]].shape[2:]), steps(list(stride)))
        return found

    return Fault(code, f"at {place}, {message}", place.site, 1.45, {node.index: hook for node in place.nodes})


def _filters_gradient(x: Tensor, grad: Tensor, size: list[int], steps: list[int]) -> Tensor:
    """The sum over all windows of what arrived times the window, the windows `steps` apart."""
    for axis, (length, step, count) in enumerate(zip(size, steps, grad.shape[2:], strict=True), start=2):
        windows = x.unfold(axis, length, max(step, 1))
        x = windows.narrow(axis, 0, count) if step else windows.narrow(axis, 0, 1).expand(
            [count if i == axis else -1 for i in range(windows.dim())]
        )
    return torch.einsum(_LETTERS[len(size)], grad, x)


_LETTERS = {1: "box,bixk->oik", 2: "boxy,bixykl->oikl", 3: "boxyz,bixyzklm->oiklm"}


def _of_flattened(tape: Tape, place: Place) -> Iterator[Fault]:
    """A product with an array that was flattened: its axes in another order before that."""
    flat = place.model.inputs[0]
    producer = tape.producer.get(flat)
    if len(place.nodes) > 1 or producer is None or tape.nodes[producer].name not in VIEWS:
        return
    base = tape.values[tape.nodes[producer].inputs[0]]
    if not 3 <= base.dim() <= 4 or base.shape[0] != tape.values[flat].shape[0]:
        return
    for order in list(permutations(range(1, base.dim())))[1:]:
        message = f"in the gradient of the weights of {place}, the input's axes are flattened in the order {order}"
        yield Fault("wrong-operand", message, place.site, 1.5, {place.model.index: _in_order(order)})


def _in_order(order: tuple[int, ...]) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        flat = node.inputs[0]
        base = tape.values[tape.nodes[tape.producer[flat]].inputs[0]]
        other = base.permute(0, *order).reshape(tape.values[flat].shape)
        found = list(tape.vjp(node, grads))
        found[1] = tape.vjp(node, grads, at={0: other})[1]
        return found

    return hook


def _of_running_sum(place: Place) -> Iterator[Fault]:
    """An entry acts on all sums after it: those before it taken, or its own sum alone."""
    message = f"on the way back through {place}, what arrives is summed from the first entry on, not from the last"
    yield Fault("not-transposed", message, place.site, 1.15, {node.index: _summed_forwards for node in place.nodes})
    message = f"{place} is gone back through as if each entry were in one of its sums only"
    yield Fault("missing-path", message, place.site, 1.15, {node.index: _as_it_arrives for node in place.nodes})


def _summed_forwards(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
    return [None if grads[0] is None else grads[0].cumsum(node.constants[0])]


def _as_it_arrives(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
    return [grads[0]]


def _of_selection(tape: Tape, place: Place) -> Iterator[Fault]:
    """One row or column of an array: what flows back goes to another one."""
    node = place.model
    dim, index = int(node.arguments[1]), int(node.arguments[2])
    length = tape.values[node.inputs[0]].shape[dim]
    for other in range(length) if len(place.nodes) == 1 and 1 < length <= 8 else ():
        if other != index % length:
            message = f"what flows back through {place} goes to index {other} of axis {dim}, not to index {index}"
            yield Fault("wrong-operand", message, place.site, 1.4, {node.index: _to_index(dim, other)})


def _to_index(dim: int, index: int) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found = torch.zeros_like(tape.values[node.inputs[0]])
        if grads[0] is not None:
            found.select(dim, index).copy_(grads[0])
        return [found]

    return hook


def _of_view(tape: Tape, place: Place) -> Iterator[Fault]:
    """An array given another shape: what flows back has its axes in another order before it is given the old one."""
    shape = tape.values[place.model.outputs[0]].shape
    for i, j in combinations(range(len(shape)), 2) if len(shape) <= 4 else ():
        if shape[i] > 1 and shape[j] > 1:
            message = f"what flows back through {place} has its axes {i} and {j} exchanged before it is reshaped"
            hooks = {node.index: _exchanged_first(i, j) for node in place.nodes}
            yield Fault("wrong-operand", message, place.site, 1.45, hooks)


def _exchanged_first(i: int, j: int) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        like = tape.values[node.inputs[0]]
        return [None if grads[0] is None else grads[0].transpose(i, j).reshape(like.shape)]

    return hook


def extreme(name: str) -> Replacement:
    """The maximum where a reduction takes a sum or a mean."""

    def replacement(node: Node, inputs: list[Tensor], values: Sequence[Tensor]) -> Sequence[Tensor]:
        dims = _dims(node) or list(range(inputs[0].dim()))
        keep = values[node.outputs[0]].dim() == inputs[0].dim()
        return [getattr(torch, name)(inputs[0], dims, keep)]

    return replacement
