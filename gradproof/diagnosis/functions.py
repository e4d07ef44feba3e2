"""Another function in one place: gradient and loss belong together, but not to what the reference computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

import torch

from gradproof.diagnosis.elementary import COMMON, FUNCTIONS, MORE
from gradproof.diagnosis.elementwise import RegionHook
from gradproof.diagnosis.fault import Fault, Replacement, replaced, with_constant
from gradproof.diagnosis.places import Place
from gradproof.diagnosis.regions import Region, elementwise_regions
from gradproof.diagnosis.survey import Survey
from gradproof.diagnosis.windows import extreme
from gradproof.tape import PARTS, VIEWS, Node, Tape, Tensor, ValueHook, pulled_back


def faults(survey: Survey) -> Iterator[Fault]:
    """For each place: another elementwise function, another axis, another reduction, another operator or constant."""
    tape, places = survey.tape, survey.places
    for place in places:
        for regions in elementwise_regions(tape, place):
            yield from _other_functions(place, regions)
        yield from _one_more_function(tape, place)
        if place.name in ("_softmax", "_log_softmax", "cumsum", "logcumsumexp"):
            yield from _other_axes(tape, place)
        if place.name in ("sum", "mean", "amax", "logsumexp"):
            yield from _other_reductions(tape, place)
    for place in survey.all_places:
        of_data = not any(value in tape.differentiable for value in place.model.outputs)
        if of_data or place.everywhere:
            yield from _of_data(tape, place)
        yield from _other_order(place)
        if of_data and place.name in ("sum", "mean", "amax"):
            yield from _other_reductions(tape, place)
    yield from _other_reduction_everywhere(tape, places)
    yield from _other_axis_everywhere(tape, places)
    yield from _swapped_order(tape, places)


def _other_functions(place: Place, regions: tuple[Region, ...]) -> Iterator[Fault]:
    for name, function in FUNCTIONS.items():
        if len(regions[0].nodes) == 1 and name == place.name:
            continue
        message = f"{name} stands where the reference has {place}"
        if name == "identity":
            message = f"{place} is left out"
        yield in_place_of(place, regions, function, message, 1.3)


def in_place_of(
    place: Place, regions: tuple[Region, ...], function: Callable[[Tensor], Tensor], message: str, rank: float
) -> Fault:
    """The fault of another function of what regions start with."""
    forward = {region.nodes[-1].index: _function_of(region.start, function) for region in regions}
    values = {region.start: _through(region, function) for region in regions}
    return Fault("different-function", message, place.site, rank, values=values, forward=forward)


def _one_more_function(tape: Tape, place: Place) -> Iterator[Fault]:
    """A function that the reference has not, taken of a result: a square, a root, a logarithm ..."""
    if place.name in VIEWS or not tape.values[place.model.outputs[0]].dtype.is_floating_point:
        return
    for name, function in {**FUNCTIONS, **MORE}.items():
        if name != "identity":
            message = f"{name} is taken of {place}, which the reference takes as it is"
            yield replaced("different-function", message, place, 1.45, _then(function))
        for part in range(len(place.model.outputs)) if place.name in PARTS and name in COMMON else ():
            message = f"{name} is taken of part {part + 1} of {place}, which the reference takes as it is"
            yield replaced("different-function", message, place, 1.45, _then(function, part))


def _then(function: Callable[[Tensor], Tensor], part: int | None = None) -> Replacement:
    return lambda node, inputs, values: [
        function(one) if part in (None, i) else one.clone() for i, one in enumerate(node.run(inputs))
    ]


def _of_data(tape: Tape, place: Place) -> Iterator[Fault]:
    """A function of the data alone, through which no gradient passes: left out, or another one."""
    node = place.model
    if len(node.inputs) != 1 or tape.values[node.inputs[0]].shape != tape.values[node.outputs[0]].shape:
        return
    if not tape.values[node.inputs[0]].dtype.is_floating_point or place.name in VIEWS:
        return
    for name, function in FUNCTIONS.items():
        if name != place.name:
            message = f"{place} is left out" if name == "identity" else f"{name} stands where the reference has {place}"
            yield replaced("different-function", message, place, 1.3, _instead(function))


def _instead(function: Callable[[Tensor], Tensor]) -> Replacement:
    return lambda node, inputs, values: [function(inputs[0])]


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

    return RegionHook(region, rule)


def _other_axes(tape: Tape, place: Place) -> Iterator[Fault]:
    node = place.nodes[0]
    dims = tape.values[node.inputs[0]].dim()
    used = int(node.constants[0])
    for dim in range(dims):
        if dim != used % dims:
            message = f"{place} goes along axis {dim} instead of axis {used % dims}"
            yield replaced("wrong-axis", message, place, 1.3, with_constant(0, dim))


def _other_reductions(tape: Tape, place: Place) -> Iterator[Fault]:
    node = place.nodes[0]
    given = tape.values[node.inputs[0]]
    result = tape.values[node.outputs[0]]
    count = given.numel() // max(result.numel(), 1)
    dims, keep = _reduced_axes(given, result)
    if place.name in ("sum", "mean") and count > 1:
        factor, words = (1 / count, "a mean") if place.name == "sum" else (float(count), "a sum")
        message = f"{words} over {count} entries stands where the reference takes {_ARTICLE[place.name]}"
        yield replaced("wrong-reduction", message, place, 1.1, _times(factor))
    if place.name in ("sum", "mean") and count > 1:
        for name, words in (("amax", "largest"), ("amin", "smallest")):
            message = f"the {words} of {count} entries stands where the reference takes {_ARTICLE[place.name]}"
            yield replaced("different-function", message, place, 1.35, extreme(name))
    if place.name == "mean" and count > 1:
        message = f"{place} divides by {count - 1} instead of {count} (one degree of freedom less)"
        yield replaced("different-function", message, place, 1.25, _times(count / (count - 1)))
    for axis in dims if len(dims) > 1 and place.name in ("sum", "mean") else ():
        length = given.shape[axis]
        factor = 1 / length if place.name == "sum" else float(length)
        if length > 1:
            words = "a mean" if place.name == "sum" else "a sum"
            message = f"along axis {axis} (length {length}) it takes {words}, the reference {_ARTICLE[place.name]}"
            yield replaced("wrong-reduction", message, place, 1.2, _times(factor))
    if len(dims) == 1 and given.dim() > 1:
        for dim in range(given.dim()):
            if dim != dims[0]:
                message = f"{place} goes along axis {dim} instead of axis {dims[0]}"
                yield replaced("wrong-axis", message, place, 1.3, _along(place.name, dim, keep))


def _other_reduction_everywhere(tape: Tape, places: list[Place]) -> Iterator[Fault]:
    """The sums of several terms along one axis, all of them means, or the reverse."""
    groups: dict[tuple[str, torch.Size, torch.Size], list[Place]] = {}
    for place in places:
        if place.name in _ARTICLE:
            given, result = (tape.values[one[0]].shape for one in (place.model.inputs, place.model.outputs))
            groups.setdefault((place.name, given, result), []).append(place)
    for (name, given, result), group in groups.items():
        count = given.numel() // max(result.numel(), 1)
        if len(group) > 1 and count > 1:
            words = "means" if name == "sum" else "sums"
            message = f"{words} over {count} entries stand wherever the reference takes {_ARTICLE[name]} of so many"
            forward = {node.index: _times(1 / count if name == "sum" else count) for one in group for node in one.nodes}
            yield Fault("wrong-reduction", message, group[0].site, 1.3, forward=forward)


def _other_axis_everywhere(tape: Tape, places: list[Place]) -> Iterator[Fault]:
    """A normalisation along other axes: all its sums and means at once."""
    groups: dict[tuple[int, tuple[int, ...]], list[Place]] = {}
    for place in places:
        node = place.nodes[0]
        if place.name in ("sum", "mean", "amax", "logsumexp"):
            given = tape.values[node.inputs[0]]
            dims, keep = _reduced_axes(given, tape.values[node.outputs[0]])
            if dims and keep:
                groups.setdefault((given.dim(), tuple(dims)), []).append(place)
    for (dimensions, axes), group in groups.items():
        counts = range(1, dimensions + 1) if len(axes) > 1 else (1,)
        others = [one for count in counts for one in combinations(range(dimensions), count) if one != axes]
        for other in others if len(group) > 1 and dimensions <= MOST_AXES else ():
            names = " and ".join(dict.fromkeys(str(place) for place in group))
            message = f"{names} go along {_axes(other)} instead of {_axes(axes)}"
            forward = {node.index: _along(place.name, other, True) for place in group for node in place.nodes}
            yield Fault("wrong-axis", message, group[0].site, 1.35, forward=forward)


MOST_AXES = 4


def _axes(axes: tuple[int, ...]) -> str:
    return f"axis {axes[0]}" if len(axes) == 1 else f"the axes {', '.join(map(str, axes))}"


def _other_order(place: Place) -> Iterator[Fault]:
    """Entries that are ranked: the smallest first where the reference has the largest, and the other way round."""
    flags = [i for i, one in enumerate(place.model.constants) if isinstance(one, bool)]
    if place.name in ("sort", "argsort", "topk"):
        which = (flags[0] if place.name == "topk" else flags[-1]) if flags else None
        largest = place.name == "topk" if which is None else bool(place.model.constants[which])
        message = f"{place} has the {'smallest' if largest else 'largest'} first"
        turned = _in_other_order(place.name) if which is None else with_constant(which, not largest)
        yield replaced("different-function", message, place, 1.3, turned)
    if place.name in ("argmax", "argmin"):
        other = torch.argmin if place.name == "argmax" else torch.argmax
        message = f"{'the smallest' if place.name == 'argmax' else 'the largest'} is looked for by {place}"
        yield replaced("different-function", message, place, 1.3, lambda node, x, _: [other(x[0], *node.constants)])


def _in_other_order(name: str) -> Replacement:
    """The same operation with the order that is not torch's own."""
    flag = {"largest": False} if name == "topk" else {"descending": True}

    def replacement(node: Node, inputs: list[Tensor], values: Sequence[Tensor]) -> Sequence[Tensor]:
        found = getattr(torch, name)(inputs[0], *node.constants, **flag)
        return [found] if isinstance(found, Tensor) else list(found)

    return replacement


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


def _along(name: str, dim: int | tuple[int, ...], keep: bool) -> Replacement:
    def replacement(node: Node, inputs: list[Tensor], values: Sequence[Tensor]) -> Sequence[Tensor]:
        x = inputs[0]
        if name == "mean":
            return [x.mean(dim, keep)]
        if name == "amax":
            return [x.amax(dim, keep)]
        return [x.logsumexp(dim, keep) if name == "logsumexp" else x.sum(dim, keep)]

    return replacement
