"""Sums, means and normalised functions: a mean for a sum, a Jacobian taken to be diagonal."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gradproof.diagnosis.edges import origin, scale_route
from gradproof.diagnosis.elementwise import in_region
from gradproof.diagnosis.fault import Fault
from gradproof.diagnosis.places import Place
from gradproof.diagnosis.regions import Region, row_regions
from gradproof.diagnosis.survey import Survey
from gradproof.tape import Gradients, Node, Tape, Tensor, Totals


def faults(survey: Survey) -> Iterator[Fault]:
    """For each sum or mean, the other one's gradient; for each softmax or normalisation, a diagonal Jacobian."""
    tape, places = survey.tape, survey.places
    for place in places:
        if place.name in ("sum", "mean"):
            yield from _other_reduction(tape, place)
        for regions in row_regions(tape, place):
            what = _named(place, regions)
            message = f"the Jacobian of {what} is taken to be diagonal: entries of a row act on each other"
            values = {region.start: in_region(region, _diagonal) for region in regions}
            yield Fault("diagonal-jacobian", message, place.site, 1.1, values=values)
            message = f"the derivative of {what} is left out of the chain rule"
            values = {region.start: in_region(region, _as_it_is) for region in regions}
            yield Fault("missing-derivative", message, place.site, 1.15, values=values)
        if place.name in ("_softmax", "_log_softmax"):
            message = f"the derivative of {place} is left out of the chain rule"
            yield Fault("missing-derivative", message, place.site, 1.1, {node.index: _skip for node in place.nodes})
    yield from _normalisations(tape, places)


def _other_reduction(tape: Tape, place: Place) -> Iterator[Fault]:
    node = place.nodes[0]
    size_in, size_out = tape.values[node.inputs[0]].numel(), tape.values[node.outputs[0]].numel()
    count = size_in // max(size_out, 1)
    if count < 2:
        return
    source = origin(tape, node, 0)
    if place.name == "mean":
        message, factor = f"the gradient of a sum over {count} entries of {source}, where there is a mean", float(count)
    else:
        message, factor = f"the gradient of a mean over {count} entries of {source}, where there is a sum", 1 / count
    yield Fault(
        "wrong-reduction", message, place.site, 1.2, {one.index: scale_route(0, factor) for one in place.nodes}
    )


def _diagonal(tape: Tape, region: Region, grad: Tensor) -> Tensor:
    return grad * region.jacobian_diagonal(tape)


def _as_it_is(tape: Tape, region: Region, grad: Tensor) -> Tensor:
    return grad


def _named(place: Place, regions: tuple[Region, ...]) -> str:
    first, last = regions[0].nodes[0].site.line, place.site.line
    return str(place) if first == last else f"the function on lines {first} to {last}"


def _skip(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
    return [grads[0]]


def _normalisations(tape: Tape, places: list[Place]) -> Iterator[Fault]:
    """Where means of an array are taken and used on the same array: all the routes through the means dropped."""
    by_line: dict[object, list[Place]] = {}
    for place in places:
        if place.name in ("mean", "sum", "amax", "logsumexp") and _keeps_axes(tape, place.nodes[0]):
            by_line.setdefault(place.site, []).append(place)
    groups = [list(group) for group in by_line.values()]
    together = [place for group in groups for place in group]
    if len(groups) > 1:
        groups.append(together)
    for group in groups:
        hooks = {node.index: scale_route(0, 0.0) for place in group for node in place.nodes}
        means = " and ".join(f"`{place.name}`" for place in group)
        message = (
            f"the normalisation is differentiated as if its {means} were constants: "
            "each entry is taken to depend on itself alone"
        )
        yield Fault("diagonal-jacobian", message, group[-1].site, 1.2, hooks)


def _keeps_axes(tape: Tape, node: Node) -> bool:
    """Whether a reduction's result has the axes of what it reduces (length 1), or is broadcast against it later."""
    shape_in, shape_out = tape.values[node.inputs[0]].shape, tape.values[node.outputs[0]].shape
    return len(shape_in) == len(shape_out) and math.prod(shape_out) > 0 and shape_in != shape_out
