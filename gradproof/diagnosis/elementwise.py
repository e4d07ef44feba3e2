"""Local derivatives of elementwise functions: left out, applied twice, taken at the wrong point, another's."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from gradproof.diagnosis.edges import result_of
from gradproof.diagnosis.elementary import BY_OUTPUT, COMMON, FUNCTIONS, KINKED, ROBUST, derivative
from gradproof.diagnosis.fault import Fault, value_hooks
from gradproof.diagnosis.places import Place, plain
from gradproof.diagnosis.pool import fitted
from gradproof.diagnosis.regions import Region, elementwise_regions, scalings
from gradproof.diagnosis.survey import Survey
from gradproof.source_names import called_at
from gradproof.tape import Gradients, Node, NodeHook, Tape, Tensor, Totals, added, joined

RegionRule = Callable[[Tape, Region, Tensor], Tensor]  # what flows back to the start, from what arrived at the end


def faults(survey: Survey) -> Iterator[Fault]:
    """For each elementwise function: its derivative skipped, doubled, at the wrong point, of another function.

    A function may be one operation or several (`x * torch.sigmoid(x)`): what counts is that it is one of each entry.
    """
    tape, places = survey.tape, survey.places
    for place in places:
        for regions in elementwise_regions(tape, place):
            single = len(regions[0].nodes) == 1
            name = str(place) if single or _is_whole(place, regions) else _span(regions, place)
            name = _fused(tape, regions[0]) or _one_call(place, regions) or name
            starts = [region.start for region in regions]
            scales = not single and _only_scales(tape, regions)
            within = () if single else {node.name for node in regions[0].nodes}
            further = {node.name for node in regions[0].nodes if starts[0] not in node.inputs}
            for words, chosen in _subsets(survey, place, regions):
                rank = 1.0 if len(chosen) == len(regions) else 1.2 if "but" in words else 1.3
                called = place.name if single else ""
                if single and place.name == "rsub":
                    rules = _rules_of_difference(name)
                else:
                    all_of_them = len(chosen) == len(regions)
                    at = "" if single else result_of(tape, starts[-1])
                    has_constants = bool(place.model.constants)
                    rules = _rules(name, called, has_constants, starts, all_of_them, within, further, at)
                for code, message, rule, more in rules:
                    more += 0.15 if scales and rule in (_skip, _twice) else 0.0
                    more += 0.4 if code == "different-function" and _takes_arrays(tape, regions[0]) else 0.0
                    values = value_hooks((region.start, RegionHook(region, rule)) for region in chosen)
                    yield Fault(code, message + words, place.site, rank + more - (not single) * 0.05, values=values)


def scaling_faults(survey: Survey) -> Iterator[Fault]:
    """For each expression that multiplies and divides more than once, as dropout does: all of it left out."""
    for place in survey.places:
        for regions in scalings(survey.tape, place):
            for words, chosen in _subsets(survey, place, regions):
                values = value_hooks((region.start, RegionHook(region, _skip)) for region in chosen)
                message = f"all factors of {place} are left out on the way back{words}"
                yield Fault("missing-derivative", message, place.site, 0.94, values=values)


def elsewhere_faults(survey: Survey) -> Iterator[Fault]:
    """For each elementwise function: its derivative taken at another array of the same shape."""
    tape, places = survey.tape, survey.places
    pool = survey.pool
    for place in places:
        for regions in elementwise_regions(tape, place):
            starts, ends = [one.start for one in regions], tuple(one.end for one in regions)
            for row in pool.fitting(place, starts):
                if row.values == ends or row.transposed:
                    continue
                message = f"the derivative of {place} is taken at another array: {row.words}"
                if len(regions[0].nodes) > 1:
                    message += f" in place of {result_of(tape, starts[-1])}"
                pairs = [(one, value) for one, value in zip(regions, row.values, strict=True) if value is not None]
                hooks = value_hooks((one.start, RegionHook(one, _at(value))) for one, value in pairs)
                yield Fault(row.code, message, place.site, 1.5, values=hooks)
            for row in pool.shifted(place, starts):
                message = f"each step takes the derivative of {place} at the value {row.words}"
                hooks = {
                    one.start: RegionHook(one, _at(value) if value is not None else _without)
                    for one, value in zip(regions, row.values, strict=True)
                }
                yield Fault(row.code, message, place.site, 1.5, values=hooks)


def _without(tape: Tape, region: Region, grad: Tensor) -> Tensor:
    return torch.zeros_like(grad)


def _at(value: int) -> RegionRule:
    return lambda tape, region, grad: region.backward(tape, grad, at=_like(tape, value, tape.values[region.start]))


def _like(tape: Tape, value: int, like: Tensor) -> Tensor:
    """A value in the shape of another. Raises ValueError where it has not so many entries."""
    found = fitted(tape.values[value], tuple(like.shape))
    if found is None:
        raise ValueError("the shapes do not fit")
    return found


def _takes_arrays(tape: Tape, region: Region) -> bool:
    """Whether a function has arrays in it besides its own, as a masked one has: then it is no formula of a number."""
    start = tape.maker(region.start)
    first = -1 if start is None else start.index
    inside = {region.start, *(value for node in region.nodes for value in node.outputs)}
    others = {value for node in region.nodes for value in node.inputs if value not in inside}
    outer = (value for value in others if tape.producer.get(value, -1) <= first)  # the rest is made of the start
    return any(tape.values[value].numel() > 1 for value in outer)


def _only_scales(tape: Tape, regions: tuple[Region, ...]) -> bool:
    """Whether a function multiplies by one number, where its result is moved by it: that is told as a scale.

    A ReLU, whose slope is 1 where it is not 0, does not.
    """
    slopes = [region.backward(tape, torch.ones_like(tape.values[region.end])) for region in regions]
    values = torch.cat([one[one != 0].reshape(-1) for one in slopes])
    return values.numel() > 0 and bool((values == values[0]).all() and values[0] != 1)


def _is_whole(place: Place, regions: tuple[Region, ...]) -> bool:
    """Whether the place's own source text is the whole function: all its operations stand on its line."""
    return all(node.site.line == place.site.line for node in regions[0].nodes)


def _fused(tape: Tape, region: Region) -> str:
    """The fused operation that a region is all of, as its caller knows it; empty where it is none."""
    parts = {node.part[0] for node in region.nodes if node.part is not None}
    if len(region.nodes) < 2 or len(parts) != 1 or None in [node.part for node in region.nodes]:
        return ""
    around = [tape.maker(region.start), *(tape.nodes[index] for index in tape.consumers.get(region.end, ()))]
    begun = any(one is not None and one.part is not None and one.part[0] in parts for one in around)
    return "" if begun else f"`{plain(parts.pop())}`"


def _one_call(place: Place, regions: tuple[Region, ...]) -> str:
    """The function that the source calls for all of it, where torch does it in several operations: a softsign."""
    alone = place.same_on_line == 1 and place.model.part is None and len(regions[0].nodes) == place.among > 1
    called = called_at(place.site) if alone else ""
    return f"`{called}`" if called else ""


def _span(regions: tuple[Region, ...], place: Place) -> str:
    return f"the function on lines {regions[0].nodes[0].site.line} to {place.site.line}"


def _subsets(survey: Survey, place: Place, regions: tuple[Region, ...]) -> Iterator[tuple[str, tuple[Region, ...]]]:
    by_end = {region.end: region for region in regions}
    for words, nodes in survey.subsets(place):
        yield words, tuple(by_end[node.outputs[0]] for node in nodes)


@dataclass(frozen=True, eq=False)
class RegionHook:
    """A hook at a region's start: what comes through the region follows the broken rule, the rest its usual way."""

    region: Region
    rule: RegionRule

    @cached_property
    def _inside(self) -> frozenset[int]:
        return frozenset(node.index for node in self.region.nodes)

    def __call__(self, tape: Tape, arriving: list[tuple[int, Tensor]], totals: Totals) -> Tensor | None:
        others, grad = joined(arriving, without=self._inside), totals.get(self.region.end)
        return others if grad is None else added(others, self.rule(tape, self.region, grad))


def _rules(
    name: str,
    called: str,
    has_constants: bool,
    starts: Sequence[int],
    others: bool,
    within: Collection[str],
    further: Collection[str],
    at: str,
) -> Iterator[tuple[str, str, RegionRule, float]]:
    """Of a function that is spelled out, `at` says what it is taken of; `within` are its operations, and `further`
    those of them that are done on what another one has made. `called` is the one operation that it is, if it is one.
    """
    operation = "" if has_constants else called
    spelled_out = bool(at)
    yield "missing-derivative", f"the derivative of {name} is left out of the chain rule", _skip, 0.0
    yield "extra-derivative", f"the derivative of {name} is applied twice", _twice, 0.0
    at_output = f"the derivative of {name} is taken at its output instead of its input"
    yield "derivative-at-wrong-point", at_output, _at_output, 0.0
    at_gradient = f"the derivative of {name} is taken at what flows back, not at its input"
    yield "derivative-at-wrong-point", at_gradient, _at_gradient, 0.2
    alone = f"only the derivative of {name} flows back: it is not multiplied by what arrives from the loss"
    yield "wrong-operand", alone, _slope_alone, 0.2
    if operation in BY_OUTPUT:
        at_input = f"the derivative of {name}, written in terms of its output, is given its input"
        yield "derivative-at-wrong-point", at_input, _formula_at_input, 0.0
    for other, function in FUNCTIONS.items() if others else ():
        if other not in (operation, "identity") and not (spelled_out and other == "square"):
            message = f"the derivative of {name} is that of another function, `{other}`"
            if other == called:
                message = f"the derivative of {name} is that of `{other}` with its usual constant"
            rank = 0.02 if spelled_out and other in KINKED else 0.15 if other in COMMON else 0.25
            code = "different-function"
            if spelled_out and other in further:
                code = "derivative-at-wrong-point"
                message = f"the derivative of the `{other}` in {name} is taken at {at}"
            yield code, message, _other_derivative(function, starts), rank
    for other, function in ROBUST.items() if others and spelled_out else ():
        message = f"the derivative of {name} is that of another loss, {other}"
        yield "different-function", message, _other_derivative(function, starts), 0.25
    for other in ("sigmoid", "tanh") if others and operation not in BY_OUTPUT else ():
        message = f"the derivative of {name} is that of another function, `{other}` as it is in terms of its output"
        yield "different-function", message, _formula_of_input(BY_OUTPUT[other]), 0.16
    for other, formula in BY_OUTPUT.items():
        if other in within and other in ("sigmoid", "tanh"):
            given = f"the derivative of the `{other}` in {name}, written in terms of its output,"
            given += " is given the output of the whole"
            yield "derivative-at-wrong-point", given, _given_the_whole(other, formula), 0.0
        elif other != operation and others:
            message = f"the derivative of {name} is that of another function, `{other}`, in terms of its own output"
            message = f"{name} itself stands where its derivative belongs" if other == "exp" else message
            yield "different-function", message, _other_by_output(formula), 0.15


def _rules_of_difference(name: str) -> Iterator[tuple[str, str, RegionRule, float]]:
    """Of `1 - x`, whose derivative is -1 everywhere."""
    yield "wrong-sign", f"the minus of {name} is left out of the chain rule", _skip, 0.0


def _skip(tape: Tape, region: Region, grad: Tensor) -> Tensor:
    return grad


def _twice(tape: Tape, region: Region, grad: Tensor) -> Tensor:
    return region.backward(tape, region.backward(tape, grad))


def _at_output(tape: Tape, region: Region, grad: Tensor) -> Tensor:
    return region.backward(tape, grad, at=tape.values[region.end])


def _at_gradient(tape: Tape, region: Region, grad: Tensor) -> Tensor:
    return region.backward(tape, grad, at=grad)


def _slope_alone(tape: Tape, region: Region, grad: Tensor) -> Tensor:
    return region.backward(tape, torch.ones_like(grad))


def _formula_at_input(tape: Tape, region: Region, grad: Tensor) -> Tensor:
    return grad * BY_OUTPUT[region.nodes[-1].name](tape.values[region.start])


def _formula_of_input(formula: Callable[[Tensor], Tensor]) -> RegionRule:
    return lambda tape, region, grad: grad * formula(tape.values[region.start])


def _other_by_output(formula: Callable[[Tensor], Tensor]) -> RegionRule:
    return lambda tape, region, grad: grad * formula(tape.values[region.end])


def _given_the_whole(operation: str, formula: Callable[[Tensor], Tensor]) -> RegionRule:
    """The slope of a function that takes the result of the whole for the result of one of its operations."""

    def rule(tape: Tape, region: Region, grad: Tensor) -> Tensor:
        made = next(node.outputs[0] for node in region.nodes if node.name == operation)
        return region.backward(tape, grad) * formula(tape.values[region.end]) / formula(tape.values[made])

    return rule


def _other_derivative(function: Callable[[Tensor], Tensor], starts: Sequence[int]) -> RegionRule:
    def rule(tape: Tape, region: Region, grad: Tensor) -> Tensor:
        if all(_is_constant(derivative(tape, function, value)) for value in starts):
            raise ValueError("a constant there, and no sign of this function")
        return grad * derivative(tape, function, region.start)

    return rule


def _is_constant(slope: Tensor) -> bool:
    return slope.numel() > 1 and bool((slope == slope.reshape(-1)[0]).all())


def extra_faults(survey: Survey) -> Iterator[Fault]:
    """At each array that is not an activation's result: the derivative of an activation that the loss has cancelled."""
    tape, places = survey.tape, survey.places
    for place in places:
        shape = tape.values[place.nodes[0].outputs[0]].shape
        if place.name not in ("mm", "bmm", "mv", "add", "sub", "mul", "convolution") or not shape:
            continue
        extra = {name: _extra_factor(FUNCTIONS[name]) for name in ("sigmoid", "tanh", "relu", "exp")}
        if len(shape) >= 2 and shape[-1] > 1:
            extra |= {"softmax (its diagonal)": _softmax_diagonal(-1), "softmax": _softmax_jacobian(-1)}
        if len(shape) == 2 and shape[0] > 1 and _is_turned(tape, place.nodes[-1].outputs[0]):
            columns = "softmax of each column"
            extra |= {f"{columns} (its diagonal)": _softmax_diagonal(0), columns: _softmax_jacobian(0)}
        for words, nodes in survey.subsets(place):
            if nodes != place.nodes and nodes != place.nodes[-1:]:
                continue  # a loop's last layer may be none like the others
            for name, hook in extra.items():
                where = f"the derivative of {name} is applied to what arrives at {place}{words}"
                of_output = name == "sigmoid" or name.startswith("softmax")
                message = f"{where}. The reference has none there{': the loss has cancelled it' if of_output else ''}"
                rank = 1.3 if nodes == place.nodes else 1.35
                yield Fault("extra-derivative", message, place.site, rank, {node.index: hook for node in nodes})


def _extra_factor(function: Callable[[Tensor], Tensor]) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        grad = grads[0]
        slope = derivative(tape, function, node.outputs[0])
        return tape.vjp(node, [None if grad is None else grad * slope])

    return hook


def _is_turned(tape: Tape, value: int) -> bool:
    """Whether a matrix is transposed somewhere: its samples may be its columns."""
    return any(tape.nodes[index].name in ("t", "transpose", "permute") for index in tape.consumers.get(value, ()))


def _softmax_diagonal(axis: int) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        y, grad = torch.softmax(tape.values[node.outputs[0]], axis), grads[0]
        return tape.vjp(node, [None if grad is None else grad * y * (1 - y)])

    return hook


def _softmax_jacobian(axis: int) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        y, grad = torch.softmax(tape.values[node.outputs[0]], axis), grads[0]
        return tape.vjp(node, [None if grad is None else y * (grad - (grad * y).sum(axis, keepdim=True))])

    return hook
