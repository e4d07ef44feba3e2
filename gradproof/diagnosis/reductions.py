"""Sums, means and normalised functions: a mean for a sum, a Jacobian taken to be diagonal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations

import torch

from gradproof.diagnosis.edges import origin, scale_route
from gradproof.diagnosis.elementwise import RegionHook
from gradproof.diagnosis.fault import Fault, Replacement, replaced, value_hooks
from gradproof.diagnosis.places import Place, result_of_node
from gradproof.diagnosis.regions import Region, row_regions
from gradproof.diagnosis.survey import Survey
from gradproof.tape import VIEWS, Gradients, Node, NodeHook, Tape, Tensor, Totals, ValueHook, joined


def faults(survey: Survey) -> Iterator[Fault]:
    """For each sum or mean, the other one's gradient; for each softmax or normalisation, a diagonal Jacobian."""
    tape, places = survey.tape, survey.places
    for place in places:
        if place.name in ("sum", "mean"):
            yield from _other_reduction(tape, place)
            yield from _along_another_axis(tape, place)
        if place.name == "mean":
            yield from _other_divisors(tape, place)
        for regions in row_regions(tape, place):
            what = _named(place, regions)
            names = {node.name for node in regions[0].nodes}
            if names <= LAYOUT and not names <= MASKS:
                yield from _not_put_back(place, regions, what)
                continue
            if place.name in VIEWS:  # the same as of what it is a view of
                continue
            message = f"the Jacobian of {what} is taken to be diagonal: entries of a row act on each other"
            values = {region.start: RegionHook(region, _diagonal) for region in regions}
            yield Fault("diagonal-jacobian", message, place.site, 1.1, values=values)
            if any(node.name in GATHERING for node in regions[0].nodes):
                message = f"the Jacobian of {what} is taken to be diagonal: entries of a group act on each other"
                values = {region.start: RegionHook(region, _each_entry) for region in regions}
                yield Fault("diagonal-jacobian", message, place.site, 1.1, values=values)
            message = f"the derivative of {what} is left out of the chain rule"
            values = {region.start: RegionHook(region, _as_it_is) for region in regions}
            yield Fault("missing-derivative", message, place.site, 1.15, values=values)
        if place.name in ("_softmax", "_log_softmax"):
            message = f"the derivative of {place} is left out of the chain rule"
            yield Fault("missing-derivative", message, place.site, 1.1, {node.index: _skip for node in place.nodes})
        if place.name == "_log_softmax":
            message = "the weights of the rows (a mask, a class weight) are left out of the probabilities in the"
            message += f" gradient of {place}: only what is subtracted from them has its weight"
            hooks = {node.index: _probabilities_unweighted for node in place.nodes}
            yield Fault("missing-derivative", message, place.site, 1.2, hooks)
        binary = place.name in ("add", "sub", "mul", "div") and all(len(node.inputs) == 2 for node in place.nodes)
        for position in (0, 1) if binary else ():
            yield from _not_summed(tape, place, position)
    yield from _normalisations(tape, places)
    yield from _all_means_of_a_line(tape, places)


GATHERING = ("index_add", "scatter_add", "index_put", "segment_reduce")  # operations that add up by group
MASKS = {"tril", "triu"}
LAYOUT = {*VIEWS, *MASKS, "index", "index_select", "select", "slice", "gather", "flip", "roll", "constant_pad_nd"}


def _not_put_back(place: Place, regions: tuple[Region, ...], what: str) -> Iterator[Fault]:
    """Entries that were taken to other places, a transpose: what flows back stays where it is."""
    turned = any(node.name in ("t", "transpose", "permute") for node in regions[0].nodes)
    message = f"what flows back through {what} stays in its places: it is not taken back to where the entries came from"
    values = {region.start: RegionHook(region, _as_it_is) for region in regions}
    yield Fault("transposed" if turned else "wrong-operand", message, place.site, 1.15, values=values)
    if turned:
        message = f"of what flows back through {what}, only the entries on the diagonal are kept"
        values = {region.start: RegionHook(region, _diagonal) for region in regions}
        yield Fault("missing-path", message, place.site, 1.15, values=values)


def _not_summed(tape: Tape, place: Place, position: int) -> Iterator[Fault]:
    """What rows or columns were made one number of (a norm, a mean): the sum on the way back to it is left out."""
    chains = [_back_to_the_whole(tape, node, position) for node in place.nodes]
    if not all(chains) or any(chain[-1].inputs[0] not in tape.differentiable for chain in chains):
        return
    reduction = next(node for node in chains[-1] if node.name in _REDUCTIONS)
    message = f"on the way back through {place} to {result_of_node(reduction)}, the"
    message += " sum is left out: each entry is taken to act on itself alone"
    pairs = zip(place.nodes, chains, strict=True)
    values = value_hooks((chain[-1].inputs[0], _each_for_itself(node, position, chain)) for node, chain in pairs)
    about = tuple(node.index for node in place.nodes)
    yield Fault("diagonal-jacobian", message, place.site, 1.25, values=values, about=about)


_REDUCTIONS = ("sum", "mean")


def _back_to_the_whole(tape: Tape, node: Node, position: int) -> list[Node]:
    """The operations, last first, that made one input of another array that has the shape of the result."""
    shape, value = tape.values[node.outputs[0]].shape, node.inputs[position]
    chain: list[Node] = []
    while len(chain) < 8 and value in tape.producer:
        maker = tape.nodes[tape.producer[value]]
        if len(maker.inputs) != 1 or len(maker.outputs) != 1:
            return []
        chain.append(maker)
        value = maker.inputs[0]
        reduced = any(one.name in _REDUCTIONS for one in chain)
        makes_more = tape.producer.get(value) is not None and tape.nodes[tape.producer[value]].name == "pow"
        if reduced and tape.values[value].shape == shape and not makes_more:
            return chain
    return []


def _each_for_itself(node: Node, position: int, chain: list[Node]) -> ValueHook:
    def hook(tape: Tape, arriving: list[tuple[int, Tensor]], totals: Totals) -> Tensor | None:
        others, grad = joined(arriving, without=[chain[-1].index]), totals.get(node.outputs[0])
        if grad is None:
            return others
        spread = tape.values[node.inputs[position]].expand(grad.shape)
        each = tape.vjp(node, [grad], at={position: spread})[position]
        slope: Tensor | None = torch.ones_like(tape.values[chain[0].outputs[0]])
        for one in chain:
            if one.name == "expand":  # which is what makes each entry's own number of the one for all
                slope = torch.ones_like(tape.values[one.inputs[0]])
            else:
                slope = None if slope is None else tape.vjp(one, [slope])[0]
        if each is None or slope is None:
            return others
        return each * slope if others is None else others + each * slope

    return hook


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


def _other_divisors(tape: Tape, place: Place) -> Iterator[Fault]:
    """A mean over several axes: divided by the length of some of them alone; one of weighted entries: by their sum."""
    node = place.model
    before, after = tape.values[node.inputs[0]].shape, tape.values[node.outputs[0]].shape
    axes = node.arguments[1] if len(node.arguments) > 1 and node.arguments[1] else range(len(before))
    lengths = [before[axis] for axis in axes]
    count = before.numel() // max(after.numel(), 1)
    for few in range(1, len(lengths)):
        for chosen in dict.fromkeys(combinations(lengths, few)):
            divisor = math.prod(chosen)
            words = " x ".join(str(one) for one in chosen)
            message = f"in the gradient of {place}, the sum is divided by {words}, where it is a mean over all {count}"
            hooks = {one.index: scale_route(0, count / divisor) for one in place.nodes}
            if 1 < divisor < count:
                yield Fault("wrong-reduction", message, place.site, 1.22, hooks)
    weights = _weights(tape, node.inputs[0]) if after.numel() == 1 else None
    if weights is not None and len(place.nodes) == 1:
        name = origin(tape, tape.nodes[tape.producer[node.inputs[0]]], _position(tape, node.inputs[0], weights))
        message = f"{place} is divided by the sum of {name}, where it is divided by their number"
        back = f"{message}; but only on the way back"
        yield Fault("wrong-reduction", back, place.site, 1.22, {node.index: _by_the_sum(weights)})
        yield replaced("wrong-reduction", message, place, 1.3, _divided_by_the_sum(weights))


def _all_means_of_a_line(tape: Tape, places: Sequence[Place]) -> Iterator[Fault]:
    """The means of one line along the same axes, as a normalisation has: all divided by too little."""
    alike: dict[tuple[object, ...], list[Place]] = {}
    for place in places:
        if place.name == "mean" and not place.everywhere and not place.passage and len(place.model.arguments) > 1:
            before = tuple(tape.values[place.model.inputs[0]].shape)
            key = (*place.line, before, repr(place.model.arguments[1]))
            alike.setdefault(key, []).append(place)
    for found in alike.values():
        node = found[0].model
        before, after = tape.values[node.inputs[0]].shape, tape.values[node.outputs[0]].shape
        count = before.numel() // max(after.numel(), 1)
        for length in dict.fromkeys(before[axis] for axis in node.arguments[1]) if len(found) > 1 else ():
            if 1 < length < count:
                message = f"in the gradient of each mean of this line, the sum is divided by {length}, where it is one"
                message += f" over all {count}"
                hooks = {one.index: scale_route(0, count / length) for place in found for one in place.nodes}
                yield Fault("wrong-reduction", message, found[0].site, 1.2, hooks)


def _by_the_sum(weights: int) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        factor = _times(tape.values[weights], tape.values[node.inputs[0]])
        return [None if one is None else factor * one for one in tape.vjp(node, grads)]

    return hook


def _divided_by_the_sum(weights: int) -> Replacement:
    return lambda node, x, values: [_times(values[weights], x[0]) * node.run(x)[0]]


def _times(weights: Tensor, like: Tensor) -> Tensor:
    """How many times as large a mean is that is divided by the sum of its weights."""
    return like.numel() / weights.expand(like.shape).sum()


def _weights(tape: Tape, value: int) -> int | None:
    """The data that entries are weighted with, where there are such: none of them negative."""
    node = tape.maker(value)
    if node is None or node.name != "mul" or len(node.inputs) != 2:
        return None
    fixed = [one for one in node.inputs if one not in tape.differentiable and tape.values[one].numel() > 1]
    return fixed[0] if len(fixed) == 1 and bool((tape.values[fixed[0]] >= 0).all()) else None


def _position(tape: Tape, value: int, factor: int) -> int:
    return tape.nodes[tape.producer[value]].inputs.index(factor)


def _along_another_axis(tape: Tape, place: Place) -> Iterator[Fault]:
    """A mean that is used on all that it was taken of: on the way back, the mean of what arrives along another axis."""
    if not all(_spreads(tape, node) for node in place.nodes):
        return
    own = {axis_of(tape, node) for node in place.nodes}
    for axis in range(tape.values[place.model.inputs[0]].dim()):
        if axis not in own:
            message = f"on the way back to {place}, what arrives is summed along axis {axis}, not along axis"
            message += f" {axis_of(tape, place.model)}"
            values = {node.inputs[0]: _summed_along(node, axis) for node in place.nodes}
            yield Fault("wrong-axis", message, place.site, 1.3, values=values)


def axis_of(tape: Tape, node: Node) -> int | None:
    """The one axis that a sum or mean is taken along; None where there are several."""
    given = node.arguments[1] if len(node.arguments) > 1 else None
    axes = list(given) if isinstance(given, (list, tuple)) else [given]
    return int(axes[0]) % tape.values[node.inputs[0]].dim() if len(axes) == 1 and axes[0] is not None else None


def _spreads(tape: Tape, node: Node) -> bool:
    """Whether a mean is used on arrays of the shape that it was taken of, entry by entry, and nowhere else."""
    users = [tape.nodes[index] for index in tape.consumers.get(node.outputs[0], ())]
    shape = tape.values[node.inputs[0]].shape
    like = all(one.pointwise and tape.values[one.outputs[0]].shape == shape for one in users)
    return bool(users) and like and axis_of(tape, node) is not None and _keeps_axes(tape, node)


def _summed_along(node: Node, axis: int) -> ValueHook:
    def hook(tape: Tape, arriving: list[tuple[int, Tensor]], totals: Totals) -> Tensor | None:
        found, like = joined(arriving, without=[node.index]), tape.values[node.inputs[0]]
        value = node.outputs[0]
        for index in tape.consumers[value]:
            user = tape.nodes[index]
            grad, position = totals.get(user.outputs[0]), user.inputs.index(value)
            each = None
            if grad is not None:
                spread = tape.values[value].expand(like.shape).contiguous()
                each = tape.vjp(user, [grad], at={position: spread})[position]
            if each is not None:
                other = each.sum(axis, keepdim=True) / (like.shape[axis] if node.name == "mean" else 1)
                found = other.expand(like.shape) if found is None else found + other
        return found

    return hook


def _diagonal(tape: Tape, region: Region, grad: Tensor) -> Tensor:
    return grad * region.jacobian_diagonal(tape)


def _each_entry(tape: Tape, region: Region, grad: Tensor) -> Tensor:
    return grad * region.entry_by_entry(tape)


def _as_it_is(tape: Tape, region: Region, grad: Tensor) -> Tensor:
    return grad


def _named(place: Place, regions: tuple[Region, ...]) -> str:
    first, last = regions[0].nodes[0].site.line, place.site.line
    return str(place) if first == last else f"the function on lines {first} to {last}"


def _skip(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
    return [grads[0]]


def _probabilities_unweighted(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
    grad, y = grads[0], tape.values[node.outputs[0]]
    if grad is None:
        return [None]
    rows = grad.sum(node.constants[0], keepdim=True)
    return [grad - torch.exp(y) * rows.flatten()[rows.abs().argmax()]]


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
