"""Parts of an array that are put together again in another order: gates, heads, the halves of a product."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import torch

from gradproof.diagnosis.edges import origin
from gradproof.diagnosis.fault import Fault, constants_of, rule_with_constant, with_constant
from gradproof.diagnosis.places import Place
from gradproof.diagnosis.products import with_operand
from gradproof.diagnosis.survey import Survey
from gradproof.tape import Gradients, Node, NodeHook, Tape, Tensor, Totals

PRODUCTS = ("mul", "mm", "bmm", "mv")
SLICES = ("slice", "select", "narrow")
MOST = 8  # parts of which each two are tried


def faults(survey: Survey) -> Iterator[Fault]:
    """For each array that is split, and each two of its parts: the gradients of the two exchanged."""
    for place in survey.places:
        if place.name in ("split", "unsafe_split", "split_with_sizes", "unbind", "chunk"):
            yield from _of_split(survey.tape, place)
        elif place.name in ("cat", "stack"):
            yield from _of_joined(survey.tape, place)
    yield from _of_weights(survey.tape, survey.places)
    yield from _of_slices(survey.tape, [place for place in survey.places if place.name in SLICES])
    yield from _of_gates(survey.tape, [place for place in survey.places if place.name == "mul"])
    yield from _of_products(survey.tape, [place for place in survey.places if place.name in PRODUCTS])


def _of_weights(tape: Tape, places: list[Place]) -> Iterator[Fault]:
    """Two single numbers that are weighted with a constant: each has the other one's weight."""
    weighted = []
    for place in places:
        constants = list(constants_of(place)) if place.name == "mul" and not place.everywhere else []
        if len(constants) == 1 and tape.values[place.model.outputs[0]].numel() == 1:
            weighted.append((place, *constants[0]))
    for (one, i, a), (other, j, b) in combinations(weighted[:MOST], 2):
        if a != b:
            message = f"the weights of {one} and {other} are exchanged"
            hooks = {node.index: rule_with_constant(i, b) for node in one.nodes}
            hooks |= {node.index: rule_with_constant(j, a) for node in other.nodes}
            yield Fault("wrong-term-weight", message, one.site, 1.3, hooks)
            forward = {node.index: with_constant(i, b) for node in one.nodes}
            forward |= {node.index: with_constant(j, a) for node in other.nodes}
            yield Fault("wrong-term-weight", message, one.site, 1.32, forward=forward)


def _of_gates(tape: Tape, places: list[Place]) -> Iterator[Fault]:
    """Two products of one line: each has the other one's factor, in the loss as well: old and new share it wrongly."""
    for one, other in combinations(places, 2):
        if one.line != other.line or len(one.nodes) != len(other.nodes) or one.everywhere or other.everywhere:
            continue
        pairs = list(zip(one.nodes, other.nodes, strict=True))
        if any(len(node.inputs) != 2 for pair in pairs for node in pair):
            continue
        for position, there in ((0, 0), (0, 1)):
            factors = [(a.inputs[position], b.inputs[there]) for a, b in pairs]
            first = min(min(a.index, b.index) for a, b in pairs[:1])
            alike = all(tape.values[a].shape == tape.values[b].shape and a != b for a, b in factors)
            if alike and all(tape.producer.get(value, -1) < first for value in factors[0]):
                rewired = {a.index: {position: y} for (a, _), (_, y) in zip(pairs, factors, strict=True)}
                rewired |= {b.index: {there: x} for (_, b), (x, _) in zip(pairs, factors, strict=True)}
                names = origin(tape, one.model, position), origin(tape, other.model, there)
                message = f"{names[0]} and {names[1]} are exchanged between {one} and {other}"
                yield Fault("wrong-operand", message, one.site, 1.4, rewired=rewired)


def _of_products(tape: Tape, places: list[Place]) -> Iterator[Fault]:
    """Two products that share a factor: on the way back to it each takes the other one's second factor."""
    for one, other in combinations(places, 2):
        if one.name != other.name or len(one.nodes) != len(other.nodes) or one.everywhere or other.everywhere:
            continue
        for position in (0, 1):
            pairs = list(zip(one.nodes, other.nodes, strict=True))
            binary = all(len(a.inputs) == len(b.inputs) == 2 for a, b in pairs)
            if not binary or any(a.inputs[position] != b.inputs[position] for a, b in pairs):
                continue
            if one.model.inputs[position] not in tape.differentiable:
                continue
            factors = [(a.inputs[1 - position], b.inputs[1 - position]) for a, b in pairs]
            if all(tape.values[a].shape == tape.values[b].shape and a != b for a, b in factors):
                names = [origin(tape, place.model, 1 - position) for place in (one, other)]
                message = f"on the way back to {origin(tape, one.model, position)}, {names[0]} and {names[1]} are"
                message += f" exchanged between {one} and {other}"
                hooks = {}
                for (a, b), (first, second) in zip(pairs, factors, strict=True):
                    hooks[a.index] = with_operand(position, second, transposed=False)
                    hooks[b.index] = with_operand(position, first, transposed=False)
                yield Fault("wrong-operand", message, one.site, 1.22, hooks)


def _of_split(tape: Tape, place: Place) -> Iterator[Fault]:
    shapes = [tape.values[value].shape for value in place.model.outputs]
    for i, j in combinations(range(min(len(shapes), MOST)), 2):
        if shapes[i] == shapes[j]:
            message = f"the gradients of parts {i + 1} and {j + 1} of {place} are exchanged"
            hooks = {node.index: _exchanged(i, j) for node in place.nodes}
            yield Fault("wrong-operand", message, place.site, 1.4, hooks)


def _exchanged(i: int, j: int) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        moved = list(grads)
        moved[i], moved[j] = grads[j], grads[i]
        return tape.vjp(node, moved)

    return hook


def _of_joined(tape: Tape, place: Place) -> Iterator[Fault]:
    count = min(len(node.inputs) for node in place.nodes)
    node, every = place.model, range(min(count, MOST))
    for i, j in combinations(every, 2):
        if tape.values[node.inputs[i]].shape == tape.values[node.inputs[j]].shape:
            message = f"the gradients of the arrays {i + 1} and {j + 1} that {place} joins are exchanged"
            hooks = {node.index: _sent_crosswise(i, j) for node in place.nodes}
            yield Fault("wrong-operand", message, place.site, 1.4, hooks)
        elif place.name == "cat":
            message = f"what flows back through {place} is cut up as if the arrays {i + 1} and {j + 1} that it joins"
            message += " stood in each other's place"
            yield Fault("wrong-operand", message, place.site, 1.4, {one.index: _cut_up(i, j) for one in place.nodes})
    for i in every if place.name == "cat" else ():
        source = origin(tape, node, i)
        for last, words in ((False, "first"), (True, "last")):
            if i != (len(node.inputs) - 1 if last else 0):
                message = f"{source} is sent the {words} entries of what flows back through {place}, not its own"
                hooks = {one.index: _end_for_own(i, last) for one in place.nodes}
                yield Fault("wrong-operand", message, place.site, 1.42, hooks)


def _sent_crosswise(i: int, j: int) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found = list(tape.vjp(node, grads))
        found[i], found[j] = found[j], found[i]
        return found

    return hook


def _axis_of_joined(tape: Tape, node: Node) -> tuple[int, list[int]]:
    """The axis along which arrays are joined, and their lengths along it."""
    axis = next((int(one) for one in node.constants if isinstance(one, int)), 0)
    return axis, [tape.values[value].shape[axis] for value in node.inputs]


def _cut_up(i: int, j: int) -> NodeHook:
    """Each array is sent the entries that would be its own if two of them were joined in the other order."""

    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found = list(tape.vjp(node, grads))
        if grads[0] is None:
            return found
        axis, lengths = _axis_of_joined(tape, node)
        order = list(range(len(lengths)))
        order[i], order[j] = j, i
        parts = torch.split(grads[0], [lengths[one] for one in order], axis)
        for one, part in zip(order, parts, strict=True):
            found[one] = None if found[one] is None else part
        return found

    return hook


def _end_for_own(i: int, last: bool) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found = list(tape.vjp(node, grads))
        if grads[0] is not None and found[i] is not None:
            axis, lengths = _axis_of_joined(tape, node)
            start = sum(lengths) - lengths[i] if last else 0
            found[i] = grads[0].narrow(axis, start, lengths[i])
        return found

    return hook


def _of_slices(tape: Tape, places: list[Place]) -> Iterator[Fault]:
    for one, other in combinations(places, 2):
        pairs = list(zip(one.nodes, other.nodes, strict=False))
        same = len(one.nodes) == len(other.nodes) and all(a.inputs[0] == b.inputs[0] for a, b in pairs)
        shapes = {tape.values[node.outputs[0]].shape for pair in pairs for node in pair}
        if same and len(shapes) == 1:
            message = f"the gradients of {one} and {other} are exchanged"
            hooks = {a.index: _with_total_of(b.outputs[0]) for a, b in pairs}
            hooks |= {b.index: _with_total_of(a.outputs[0]) for a, b in pairs}
            yield Fault("wrong-operand", message, one.site, 1.22, hooks)


def _with_total_of(value: int) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        return tape.vjp(node, [totals.get(value)])

    return hook
