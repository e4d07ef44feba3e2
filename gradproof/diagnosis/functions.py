"""Another function in one place: gradient and loss belong together, but not to what the reference computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F

from gradproof.diagnosis.elementwise import in_region
from gradproof.diagnosis.fault import Fault, Replacement
from gradproof.diagnosis.places import Place
from gradproof.diagnosis.regions import Region, elementwise_regions
from gradproof.diagnosis.survey import Survey
from gradproof.report import number
from gradproof.tape import Gradients, Node, NodeHook, Tape, Tensor, Totals, ValueHook, pulled_back

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda z: z.clone(),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "leaky_relu": lambda z: F.leaky_relu(z, 0.01),
    "elu": F.elu,
    "selu": F.selu,
    "softplus": F.softplus,
    "gelu": F.gelu,
    "gelu (tanh)": lambda z: F.gelu(z, approximate="tanh"),
    "silu": F.silu,
    "mish": F.mish,
    "hardtanh": F.hardtanh,
    "relu6": F.relu6,
    "softsign": F.softsign,
    "sin": torch.sin,
    "cos": torch.cos,
    "exp": torch.exp,
    "abs": torch.abs,
    "square": torch.square,
    "log": torch.log,
    "log2": torch.log2,
    "log10": torch.log10,
    "log1p": torch.log1p,
    "sqrt": torch.sqrt,
    "logsigmoid": F.logsigmoid,
}


def faults(survey: Survey) -> Iterator[Fault]:
    """For each place: another elementwise function, another axis, another reduction, another operator or constant."""
    tape, places, _problem = survey.tape, survey.places, survey.problem
    for place in places:
        for regions in elementwise_regions(tape, place):
            yield from _other_functions(place, regions)
        if place.name in ("_softmax", "_log_softmax", "cumsum", "logcumsumexp"):
            yield from _other_axes(tape, place)
        if place.name in ("sum", "mean", "amax", "logsumexp"):
            yield from _other_reductions(tape, place)
        if place.name in ("add", "sub", "mul", "div"):
            yield from _other_operators(tape, place)
    yield from _other_axis_everywhere(tape, places)
    yield from _swapped_order(tape, places)
    yield from _other_losses(tape, places)


def _fault(code: str, message: str, place: Place, rank: float, replacement: Replacement) -> Fault:
    return Fault(code, message, place.site, rank, forward={node.index: replacement for node in place.nodes})


def _other_functions(place: Place, regions: tuple[Region, ...]) -> Iterator[Fault]:
    for name, function in FUNCTIONS.items():
        if len(regions[0].nodes) == 1 and name == place.name:
            continue
        message = f"{name} stands where the reference has {place}"
        if name == "identity":
            message = f"{place} is left out"
        forward = {region.nodes[-1].index: _function_of(region.start, function) for region in regions}
        values = {region.start: _through(region, function) for region in regions}
        yield Fault("different-function", message, place.site, 1.3, values=values, forward=forward)


def _function_of(start: int, function: Callable[[Tensor], Tensor]) -> Replacement:
    return lambda node, inputs, values: [function(values[start])]


def _through(region: Region, function: Callable[[Tensor], Tensor]) -> ValueHook:
    """What flows back through a region that is another function."""

    def rule(tape: Tape, region: Region, grad: Tensor) -> Tensor:
        x = tape.values[region.start].detach().requires_grad_()
        with torch.enable_grad():
            y = function(x)
        (found,) = pulled_back([(y, grad)], [x])
        return torch.zeros_like(x) if found is None else found

    return in_region(region, rule)


def _other_axes(tape: Tape, place: Place) -> Iterator[Fault]:
    node = place.nodes[0]
    dims = tape.values[node.inputs[0]].dim()
    used = int(node.constants[0])
    for dim in range(dims):
        if dim != used % dims:
            message = f"{place} goes along axis {dim} instead of axis {used % dims}"
            yield _fault("wrong-axis", message, place, 1.3, _with_constant(0, dim))


def _with_constant(which: int, value: Any) -> Replacement:
    """The same operation with another constant argument."""

    def replacement(node: Node, inputs: list[Tensor], values: Sequence[Tensor]) -> Sequence[Tensor]:
        flat = list(node.flat)
        places = [i for i in range(len(flat)) if i not in node.positions]
        flat[places[which]] = value
        return replace(node, flat=flat).run(inputs)

    return replacement


def _other_reductions(tape: Tape, place: Place) -> Iterator[Fault]:
    node = place.nodes[0]
    given = tape.values[node.inputs[0]]
    result = tape.values[node.outputs[0]]
    count = given.numel() // max(result.numel(), 1)
    dims, keep = _reduced_axes(given, result)
    if place.name in ("sum", "mean") and count > 1:
        factor, words = (1 / count, "a mean") if place.name == "sum" else (float(count), "a sum")
        message = f"{words} over {count} entries stands where the reference takes {_ARTICLE[place.name]}"
        yield _fault("wrong-reduction", message, place, 1.1, _times(factor))
    if place.name == "mean" and count > 1:
        message = f"{place} divides by {count - 1} instead of {count} (one degree of freedom less)"
        yield _fault("different-function", message, place, 1.25, _times(count / (count - 1)))
    for axis in dims if len(dims) > 1 and place.name in ("sum", "mean") else ():
        length = given.shape[axis]
        factor = 1 / length if place.name == "sum" else float(length)
        if length > 1:
            words = "a mean" if place.name == "sum" else "a sum"
            message = f"along axis {axis} (length {length}) it takes {words}, the reference {_ARTICLE[place.name]}"
            yield _fault("wrong-reduction", message, place, 1.2, _times(factor))
    if len(dims) == 1 and given.dim() > 1:
        for dim in range(given.dim()):
            if dim != dims[0]:
                message = f"{place} goes along axis {dim} instead of axis {dims[0]}"
                yield _fault("wrong-axis", message, place, 1.3, _along(place.name, dim, keep))


def _other_axis_everywhere(tape: Tape, places: list[Place]) -> Iterator[Fault]:
    """A normalisation along another axis: all its sums and means at once."""
    groups: dict[tuple[int, int], list[Place]] = {}
    for place in places:
        node = place.nodes[0]
        if place.name in ("sum", "mean", "amax", "logsumexp"):
            dims, keep = _reduced_axes(tape.values[node.inputs[0]], tape.values[node.outputs[0]])
            if len(dims) == 1 and keep:
                groups.setdefault((tape.values[node.inputs[0]].dim(), dims[0]), []).append(place)
    for (dimensions, axis), group in groups.items():
        for dim in range(dimensions) if len(group) > 1 else ():
            if dim != axis:
                names = " and ".join(dict.fromkeys(str(place) for place in group))
                message = f"{names} go along axis {dim} instead of axis {axis}"
                forward = {node.index: _along(place.name, dim, True) for place in group for node in place.nodes}
                yield Fault("wrong-axis", message, group[0].site, 1.35, forward=forward)


def _swapped_order(tape: Tape, places: list[Place]) -> Iterator[Fault]:
    """A function of a mean taken for the mean of a function: a root in each sample instead of one root of all."""
    by_node = {node.index: place for place in places for node in place.nodes}
    for place in places:
        node = place.nodes[0]
        producer = tape.producer.get(node.inputs[0])
        if len(place.nodes) > 1 or producer not in by_node or not any(elementwise_regions(tape, place)):
            continue
        reduction = tape.nodes[producer]
        count = tape.values[reduction.inputs[0]].numel() // max(tape.values[reduction.outputs[0]].numel(), 1)
        if reduction.name not in ("sum", "mean") or count < 2:
            continue
        for inner in (1.0, 1 / count):
            message = f"{place} is taken of each of the {count} entries before `{reduction.name}`, not of its result"
            forward: dict[int, Replacement] = {
                reduction.index: _of_each(node, inner),
                node.index: lambda _, inputs, __: [inputs[0].clone()],
            }
            yield Fault("different-function", message, place.site, 1.3, forward=forward)


def _of_each(function: Node, inner: float) -> Replacement:
    def replacement(node: Node, inputs: list[Tensor], values: Sequence[Tensor]) -> Sequence[Tensor]:
        return node.run(function.run([inputs[0] * inner]))

    return replacement


_ARTICLE = {"sum": "a sum", "mean": "a mean"}


def _reduced_axes(given: Tensor, result: Tensor) -> tuple[list[int], bool]:
    """The axes that a reduction took, as far as the shapes tell; and whether it kept them as axes of length 1."""
    if result.dim() == given.dim():
        return [i for i in range(given.dim()) if result.shape[i] != given.shape[i]], True
    if result.dim() == 0:
        return list(range(given.dim())), False
    for axis in range(given.dim()):
        if result.dim() == given.dim() - 1:
            left = [*given.shape[:axis], *given.shape[axis + 1 :]]
            if list(result.shape) == left:
                return [axis], False
    return [], False


def _times(factor: float) -> Replacement:
    def replacement(node: Node, inputs: list[Tensor], values: Sequence[Tensor]) -> Sequence[Tensor]:
        return [one * factor for one in node.run(inputs)]

    return replacement


def _along(name: str, dim: int, keep: bool) -> Replacement:
    def replacement(node: Node, inputs: list[Tensor], values: Sequence[Tensor]) -> Sequence[Tensor]:
        x = inputs[0]
        if name == "mean":
            return [x.mean(dim, keep)]
        if name == "amax":
            return [x.amax(dim, keep)]
        return [x.logsumexp(dim, keep) if name == "logsumexp" else x.sum(dim, keep)]

    return replacement


def _other_operators(tape: Tape, place: Place) -> Iterator[Fault]:
    node = place.nodes[0]
    if len(node.inputs) == 2:
        names = [_operand(tape, value) for value in node.inputs]
        shape = tape.values[node.outputs[0]].shape
        for keep in (0, 1):
            if tape.values[node.inputs[keep]].shape == shape and node.inputs[keep] in tape.differentiable:
                message = f"{names[1 - keep]} is left out of {place}"
                yield _fault("different-function", message, place, 1.3, _only_input(keep))
        if place.name in ("add", "sub"):
            other = torch.sub if place.name == "add" else torch.add
            message = f"{place} has the other sign: `{'-' if place.name == 'add' else '+'}`"
            yield _fault("different-function", message, place, 1.3, lambda _, inputs, __: [other(*inputs)])
    elif node.constants and isinstance(node.constants[0], (int, float)) and not isinstance(node.constants[0], bool):
        constant = float(node.constants[0])
        message = f"the constant {number(constant)} is left out of {place}"
        yield _fault("different-function", message, place, 1.2, _only_input(0))
        for neighbour in (constant - 1, constant + 1):
            if constant == int(constant) and neighbour > 0:
                message = f"the constant of {place} is {number(neighbour)} instead of {number(constant)}"
                yield _fault("different-function", message, place, 1.4, _with_constant(0, neighbour))


def _operand(tape: Tape, value: int) -> str:
    name = tape.name_of(value)
    if name:
        return name
    producer = tape.producer.get(value)
    return "a constant" if producer is None else f"the result of `{tape.nodes[producer].name}`"


def _only_input(keep: int) -> Replacement:
    return lambda node, inputs, values: [inputs[keep].clone()]


def _other_losses(tape: Tape, places: list[Place]) -> Iterator[Fault]:
    """At each array of the shape of a data array: the difference of the two as what is propagated back.

    This is the gradient of squared error there, and of cross-entropy where the place feeds a sigmoid or softmax.
    """
    seen = set()
    for place in places:
        value = place.nodes[-1].outputs[0]
        tensor = tape.values[value]
        for name, number_ in tape.data.items():
            target = tape.values[number_]
            if target.shape == tensor.shape and target.dtype == tensor.dtype and value not in seen:
                seen.add(value)
                if _is_multiple(tape.clean.totals.get(value), tensor - target):
                    continue
                yield _difference(place, value, number_, name)
        if tensor.dim() == 2:
            for name, number_ in tape.data.items():
                labels = tape.values[number_]
                if labels.dtype == torch.int64 and labels.shape == tensor.shape[:1]:
                    if int(labels.min()) >= 0 and int(labels.max()) < tensor.shape[1]:
                        yield _softmax_difference(place, value, number_, name)


def _is_multiple(one: Tensor | None, other: Tensor) -> bool:
    """Whether two arrays differ by a constant factor only."""
    if one is None:
        return False
    size = float(one.norm() * other.norm())
    return size > 0 and abs(abs(float((one * other).sum())) / size - 1) < 1e-12


def _difference(place: Place, value: int, target: int, name: str, constant: float = 1.0) -> Fault:
    message = (
        f"what is propagated back from the result of {place} is its difference to {name}, times {number(constant)}: "
        "the gradient of another loss (squared error there, or cross-entropy where a sigmoid follows)"
    )
    hook = _replaced_cotangent(lambda tape: constant * (tape.values[value] - tape.values[target]))
    return Fault(
        "different-function",
        message,
        place.site,
        1.4,
        {place.nodes[-1].index: hook},
        scaled=lambda other: _difference(place, value, target, name, other),
    )


def _softmax_difference(place: Place, value: int, target: int, name: str, constant: float = 1.0) -> Fault:
    message = (
        f"what is propagated back from the result of {place} is softmax minus the one-hot {name}, "
        f"times {number(constant)}: the gradient of cross-entropy"
    )

    def made(tape: Tape) -> Tensor:
        z = tape.values[value]
        return constant * (torch.softmax(z, 1) - F.one_hot(tape.values[target], z.shape[1]).to(z.dtype))

    return Fault(
        "different-function",
        message,
        place.site,
        1.4,
        {place.nodes[-1].index: _replaced_cotangent(made)},
        scaled=lambda other: _softmax_difference(place, value, target, name, other),
    )


def _replaced_cotangent(make: Callable[[Tape], Tensor]) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        return tape.vjp(node, [make(tape), *([None] * (len(node.outputs) - 1))])

    return hook
