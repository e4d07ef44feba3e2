"""Convolutions: filters that are not exchanged or turned round, and gradients made with other windows of the input."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
import torch.nn.functional as F

from gradproof.diagnosis.arrays import orders_after_the_first, read_in_order
from gradproof.diagnosis.fault import Fault, OneInput
from gradproof.diagnosis.places import Place
from gradproof.diagnosis.survey import Survey
from gradproof.tape import Gradients, Node, NodeHook, Tape, Tensor, Totals


def faults(survey: Survey) -> Iterator[Fault]:
    """For each convolution: the gradient of its filters with other windows, that of its input with other filters."""
    for place in survey.places:
        if place.name == "convolution":
            yield from _of_convolution(survey.tape, place)
            yield from _read_otherwise(survey.tape, place)
            yield from _border_cut_off(survey.tape, place)


def _of_convolution(tape: Tape, place: Place) -> Iterator[Fault]:
    """The filters' gradient made with other windows of the input, the input's with the channels exchanged."""
    stride, dilation, groups = place.model.arguments[3], place.model.arguments[5], place.model.arguments[8]
    filters = tape.values[place.model.inputs[1]]
    if filters.shape[0] == filters.shape[1] and groups == 1 and place.model.inputs[0] in tape.differentiable:
        message = f"on the way back through {place}, the filters' channels in and out are not exchanged"
        for turned, more in ((False, ""), (True, ", nor are the filters turned round")):
            change = partial(_channels_as_they_are, turned=turned)
            hooks = {node.index: _with_other_filters(change) for node in place.nodes}
            yield Fault("not-transposed", message + more, place.site, 1.15 + 0.15 * turned, hooks)
    if any(one != 1 for one in dilation):
        for positions, whose in (((1,), "of the filters"), ((0,), "of the input"), ((0, 1), "of both factors")):
            message = f"the gradient {whose} is made with neighbouring entries: the dilation of {place} is left out"
            for padded, more in ((True, ""), (False, ", and of its padding")):
                hooks = {node.index: _undilated(positions, padded) for node in place.nodes}
                yield Fault("wrong-operand", message + more, place.site, 1.3, hooks)
    strided, transposed = any(one != 1 for one in stride), place.model.arguments[6]
    if strided and not transposed and place.model.inputs[0] in tape.differentiable:
        yield _windows_side_by_side(place)
    if groups != 1 or any(one != 1 for one in dilation) or place.model.inputs[1] not in tape.differentiable:
        return
    if strided:
        message = "the gradient of the filters is made with windows one entry apart: the stride is left out"
        yield _other_windows(place, message, "wrong-operand", lambda one: [1] * len(one))
    message = "the gradient of the filters is made with the first window for all of them"
    yield _other_windows(place, message, "wrong-operand", lambda one: [0] * len(one))


def _read_otherwise(tape: Tape, place: Place) -> Iterator[Fault]:
    """Convolutions by hand are matrix products of reshaped arrays: one that is reshaped without moving its axes."""
    shape = tape.values[place.model.outputs[0]].shape
    for order in orders_after_the_first(len(shape)) if len(shape) <= 4 else []:
        for positions, whose in (((0, 1, 2), "every gradient"), ((1,), "that of the filters"), ((0,), "the input's")):
            message = f"in {whose} of {place}, what arrives is read as if its axes were in the order {order}"
            hooks = {node.index: _with_other_grad(positions, order) for node in place.nodes}
            yield Fault("wrong-operand", message, place.site, 1.45, hooks)
    message = f"in the gradient of the input of {place}, the filters are flattened to the transpose of the right shape"
    hooks = {node.index: _with_other_filters(_as_transposed) for node in place.nodes}
    yield Fault("not-transposed", message, place.site, 1.4, hooks)


def _as_transposed(filters: Tensor) -> Tensor:
    return filters.reshape(-1, len(filters)).T.reshape(filters.shape)


def _with_other_grad(positions: Sequence[int], order: tuple[int, ...]) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found, grad = list(tape.vjp(node, grads)), grads[0]
        if grad is not None:
            other = tape.vjp(node, [read_in_order(grad, order, grad.shape)])
            found = [new if i in positions else old for i, (old, new) in enumerate(zip(found, other, strict=True))]
        return found

    return OneInput(positions[0], hook) if len(positions) == 1 else hook


def _with_other_filters(change: Callable[[Tensor], Tensor]) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found = list(tape.vjp(node, grads))
        found[0] = tape.vjp(node, grads, at={1: change(tape.values[node.inputs[1]])})[0]
        return found

    return OneInput(0, hook)


def _border_cut_off(tape: Tape, place: Place) -> Iterator[Fault]:
    """The gradient of a padded input: its padding cut off at one end only."""
    padding, transposed = place.model.arguments[4], place.model.arguments[6]
    if place.model.inputs[0] not in tape.differentiable or transposed or not any(padding):
        return
    for at_end, where in ((False, "behind"), (True, "in front")):
        message = f"of the gradient of the padded input of {place}, all that is too much is cut off {where}; half of it"
        message += " belongs to each end"
        hooks = {node.index: _cut_at_one_end(at_end) for node in place.nodes}
        yield Fault("wrong-operand", message, place.site, 1.4, hooks)


def _cut_at_one_end(in_front: bool) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found, grad = list(tape.vjp(node, grads)), grads[0]
        if grad is None or found[0] is None:
            return found
        filters = tape.values[node.inputs[1]]
        stride, padding, *others = node.arguments[3:9]
        padded = _padded(tape, node).detach().requires_grad_()
        with torch.enable_grad():
            y = torch.convolution(padded, filters, None, stride, [0] * len(padding), *others)
        whole = torch.autograd.grad(y, padded, grad)[0]
        for axis, (pad, length) in enumerate(zip(padding, found[0].shape[2:], strict=True), 2):
            whole = whole.narrow(axis, 2 * pad if in_front else 0, length)
        found[0] = whole
        return found

    return OneInput(0, hook)


def _windows_side_by_side(place: Place) -> Fault:
    """The gradient of the input: what belongs to each window is added where it would lie without a stride."""

    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found, grad = list(tape.vjp(node, grads)), grads[0]
        if grad is None or found[0] is None:
            return found
        filters, padded = tape.values[node.inputs[1]], _padded(tape, node)
        _, padding, dilation, *others = node.arguments[3:9]
        near = padded
        for axis, (count, size, apart) in enumerate(zip(grad.shape[2:], filters.shape[2:], dilation, strict=True), 2):
            near = near.narrow(axis, 0, count + apart * (size - 1))
        near = near.detach().requires_grad_()
        with torch.enable_grad():
            y = torch.convolution(near, filters, None, [1] * len(padding), [0] * len(padding), dilation, *others)
        sent = torch.autograd.grad(y, near, grad)[0]
        whole = torch.zeros_like(padded)
        whole[tuple(slice(length) for length in near.shape)] = sent
        for axis, (pad, length) in enumerate(zip(padding, found[0].shape[2:], strict=True), 2):
            whole = whole.narrow(axis, pad, length)
        found[0] = whole
        return found

    message = "the gradient of the input is put together of windows one entry apart: the stride is left out"
    hooks = {node.index: OneInput(0, hook) for node in place.nodes}
    return Fault("wrong-operand", f"at {place}, {message}", place.site, 1.4, hooks)


def _channels_as_they_are(filters: Tensor, turned: bool) -> Tensor:
    filters = filters.transpose(0, 1)
    return filters.flip(*range(2, filters.dim())) if turned else filters


def _padded(tape: Tape, node: Node) -> Tensor:
    """A convolution's input with its padding."""
    return F.pad(tape.values[node.inputs[0]], [side for pad in reversed(node.arguments[4]) for side in (pad, pad)])


def _undilated(positions: Sequence[int], padded: bool) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found, grad = list(tape.vjp(node, grads)), grads[0]
        if grad is None:
            return found
        x, filters = (tape.values[value].detach().requires_grad_() for value in node.inputs[:2])
        stride, padding, dilation, *others = node.arguments[3:9]
        if not padded:
            padding = [one // apart for one, apart in zip(padding, dilation, strict=True)]
        with torch.enable_grad():
            y = torch.convolution(x, filters, None, stride, padding, [1] * len(dilation), *others)
            y = y[tuple(slice(length) for length in grad.shape)]
        for i in positions:
            if found[i] is not None:
                found[i] = torch.autograd.grad(y, (x, filters)[i], grad, retain_graph=True)[0]
        return found

    return OneInput(positions[0], hook) if len(positions) == 1 else hook


def _other_windows(place: Place, message: str, code: str, steps: Callable[[list[int]], list[int]]) -> Fault:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found, grad = list(tape.vjp(node, grads)), grads[0]
        if grad is not None:
            x, size = _padded(tape, node), list(tape.values[node.inputs[1]].shape[2:])
            found[1] = _filters_gradient(x, grad, size, steps(list(node.arguments[3])))
        return found

    hooks = {node.index: OneInput(1, hook) for node in place.nodes}
    return Fault(code, f"at {place}, {message}", place.site, 1.45, hooks)


def _filters_gradient(x: Tensor, grad: Tensor, size: list[int], steps: list[int]) -> Tensor:
    """The sum over all windows of what arrived times the window, the windows `steps` apart."""
    for axis, (length, step, count) in enumerate(zip(size, steps, grad.shape[2:], strict=True), start=2):
        windows = x.unfold(axis, length, max(step, 1))
        x = windows.narrow(axis, 0, count) if step else windows.narrow(axis, 0, 1).expand(
            [count if i == axis else -1 for i in range(windows.dim())]
        )
    return torch.einsum(_LETTERS[len(size)], grad, x)


_LETTERS = {1: "box,bixk->oik", 2: "boxy,bixykl->oikl", 3: "boxyz,bixyzklm->oiklm"}
