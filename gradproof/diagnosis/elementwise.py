"""Local derivatives of elementwise functions: left out, applied twice, taken at the wrong point, another's."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from gradproof.diagnosis.fault import Fault
from gradproof.diagnosis.places import Place
from gradproof.tape import Gradients, Node, NodeHook, Tape, Tensor

# f' written in terms of y = f(z), as it is often remembered: what becomes of it when z is put in y's place.
_BY_OUTPUT: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": lambda y: y * (1 - y),
    "tanh": lambda y: 1 - y * y,
    "exp": lambda y: y,
    "sqrt": lambda y: 0.5 / y,
    "rsqrt": lambda y: -0.5 * y**3,
    "reciprocal": lambda y: -y * y,
    "softplus": lambda y: 1 - torch.exp(-y),
}

# Functions whose derivative is put in another's place.
DERIVATIVES: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": lambda z: torch.sigmoid(z) * (1 - torch.sigmoid(z)),
    "tanh": lambda z: 1 - torch.tanh(z) ** 2,
    "relu": lambda z: (z > 0).to(z.dtype),
}


def is_elementwise(tape: Tape, node: Node) -> bool:
    """Whether an operation is a non-linear function of one array, entry by entry."""
    moving = [value for value in node.inputs if value in tape.differentiable]
    if len(moving) != 1 or len(node.outputs) != 1 or torch.Tag.pointwise not in node.func.tags:
        return False
    same = tape.values[node.outputs[0]].shape == tape.values[moving[0]].shape
    return same and node.name not in ("neg", "mul", "div", "add", "sub", "to", "_to_copy", "clone", "alias")


def faults(tape: Tape, places: list[Place]) -> Iterator[Fault]:
    """For each elementwise function: its derivative skipped, doubled, at the wrong point, of another function."""
    for place in places:
        if not is_elementwise(tape, place.nodes[0]):
            continue
        for words, nodes in place.subsets():
            rank = 1.0 if nodes == place.nodes else 1.1 if "but" in words else 1.3
            for code, message, hook, more in _rules(place):
                hooks = {node.index: hook for node in nodes}
                yield Fault(code, message + words, place.site, rank + more, hooks)


def extra_faults(tape: Tape, places: list[Place]) -> Iterator[Fault]:
    """At each array that is not an activation's result: the derivative of an activation that the loss has cancelled."""
    for place in places:
        shape = tape.values[place.nodes[0].outputs[0]].shape
        if place.name not in ("mm", "bmm", "mv", "add", "sub", "mul", "convolution") or not shape:
            continue
        extra = {name: _extra_factor(derivative) for name, derivative in DERIVATIVES.items()}
        if len(shape) >= 2:
            extra |= {"softmax (its diagonal)": _extra_factor(_softmax_diagonal), "softmax": _softmax_jacobian}
        for words, nodes in place.subsets():
            for name, hook in extra.items():
                where = f"the derivative of {name} is applied at {place}{words}"
                message = f"{where}, where the reference has none (a loss may have cancelled it: dz = a - y)"
                rank = 1.3 if nodes == place.nodes else 1.35
                yield Fault("extra-derivative", message, place.site, rank, {node.index: hook for node in nodes})


def _softmax_diagonal(z: Tensor) -> Tensor:
    y = torch.softmax(z, -1)
    return y * (1 - y)


def _extra_factor(derivative: Callable[[Tensor], Tensor]) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None]) -> Gradients:
        grad = grads[0]
        return tape.vjp(node, [None if grad is None else grad * derivative(tape.values[node.outputs[0]])])

    return hook


def _softmax_jacobian(tape: Tape, node: Node, grads: list[Tensor | None]) -> Gradients:
    y, grad = torch.softmax(tape.values[node.outputs[0]], -1), grads[0]
    return tape.vjp(node, [None if grad is None else y * (grad - (grad * y).sum(-1, keepdim=True))])


def _rules(place: Place) -> Iterator[tuple[str, str, NodeHook, float]]:
    name = place.name
    yield "missing-derivative", f"the derivative of {place} is left out of the chain rule", _skip, 0.0
    yield "extra-derivative", f"the derivative of {place} is applied twice", _twice, 0.0
    at_output = f"the derivative of {place} is taken at its output instead of its input"
    yield "derivative-at-wrong-point", at_output, _at_output, 0.0
    if name in _BY_OUTPUT:
        at_input = f"the derivative of {place}, written in terms of its output, is given its input"
        yield "derivative-at-wrong-point", at_input, _formula_at_input, 0.0
    for other, derivative in DERIVATIVES.items():
        if other != name:
            message = f"the derivative of {place} is that of another function, `{other}`"
            yield "different-function", message, _other_derivative(derivative), 0.5


def _position(tape: Tape, node: Node) -> int:
    return next(i for i, value in enumerate(node.inputs) if value in tape.differentiable)


def _only(node: Node, position: int, grad: Tensor | None) -> Gradients:
    return [grad if i == position else None for i in range(len(node.inputs))]


def _skip(tape: Tape, node: Node, grads: list[Tensor | None]) -> Gradients:
    return _only(node, _position(tape, node), grads[0])


def _twice(tape: Tape, node: Node, grads: list[Tensor | None]) -> Gradients:
    return tape.vjp(node, [tape.vjp(node, grads)[_position(tape, node)]])


def _at_output(tape: Tape, node: Node, grads: list[Tensor | None]) -> Gradients:
    position = _position(tape, node)
    return tape.vjp(node, grads, at={position: tape.values[node.outputs[0]]})


def _formula_at_input(tape: Tape, node: Node, grads: list[Tensor | None]) -> Gradients:
    position, grad = _position(tape, node), grads[0]
    z = tape.values[node.inputs[position]]
    return _only(node, position, None if grad is None else grad * _BY_OUTPUT[node.name](z))


def _other_derivative(derivative: Callable[[Tensor], Tensor]) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None]) -> Gradients:
        position, grad = _position(tape, node), grads[0]
        z = tape.values[node.inputs[position]]
        return _only(node, position, None if grad is None else grad * derivative(z))

    return hook
