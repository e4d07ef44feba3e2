"""Products: a factor used without its transpose, or another array of the same shape in its place."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from gradproof.diagnosis.edges import VIEWS, origin
from gradproof.diagnosis.fault import Fault
from gradproof.diagnosis.places import Place
from gradproof.local_rules import unbroadcast
from gradproof.tape import Gradients, Node, NodeHook, Tape, Tensor, Totals

_MATRIX = ("mm", "bmm", "mv", "dot")
_PRODUCTS = (*_MATRIX, "mul", "div", "convolution")


def faults(tape: Tape, places: list[Place]) -> Iterator[Fault]:
    """For each product, and each factor of it: the other factor's transpose forgotten, another array in its place."""
    for place in places:
        if place.name in _PRODUCTS and len(place.model.inputs) >= 2:
            for position in (0, 1):
                if place.model.inputs[position] in tape.differentiable:
                    yield from _of_factor(tape, place, places, position)


def _of_factor(tape: Tape, place: Place, places: list[Place], position: int) -> Iterator[Fault]:
    other = 1 - position
    target = origin(tape, place.nodes[-1], position)
    factor = origin(tape, place.nodes[-1], other)
    if place.name in _MATRIX[:2]:
        for words, nodes in place.subsets():
            message = f"in the gradient of {target}, {factor} is used as it stands where its transpose belongs{words}"
            hooks = {node.index: _untransposed(position) for node in nodes}
            yield Fault("not-transposed", message, place.site, 1.1, hooks)
    if place.name == "convolution" and position == 0:
        message = f"in the gradient of {target}, the filters are not flipped"
        yield Fault("flipped", message, place.site, 1.1, {node.index: _flipped_filters for node in place.nodes})
    if place.name in ("mul", "div"):
        verb = "multiplication by" if place.name == "mul" else "division by"
        message = f"in the gradient of {target}, the {verb} {factor} is left out"
        if position == 0 or place.name == "mul":
            hooks = {node.index: _without_factor(position) for node in place.nodes}
            yield Fault("missing-derivative", message, place.site, 1.2, hooks)
    if place.name == "div":
        for power, words in ((1, "one division by it too few"), (-1, "one division by it too many")):
            below = factor if position == 0 else target
            message = f"in the gradient of {target}, the power of {below} is wrong: {words}"
            hooks = {node.index: _other_power(position, power) for node in place.nodes}
            yield Fault("wrong-operand", message, place.site, 1.4, hooks)
    yield from _other_operands(tape, place, places, position, target, factor)


def _without_factor(position: int) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found, grad = list(tape.vjp(node, grads)), grads[0]
        found[position] = None if grad is None else unbroadcast(grad, tape.values[node.inputs[position]])
        return found

    return hook


def _other_power(position: int, power: int) -> NodeHook:
    """The gradient of one side of a quotient, with one factor of the denominator more (power 1) or less (power -1)."""

    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found, grad = list(tape.vjp(node, grads)), grads[0]
        scaled = None if grad is None else grad * tape.values[node.inputs[1]] ** power
        found[position] = tape.vjp(node, [scaled])[position]
        return found

    return hook


def _untransposed(position: int) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found, grad = list(tape.vjp(node, grads)), grads[0]
        factor = tape.values[node.inputs[1 - position]]
        if grad is not None:
            made = torch.matmul(grad, factor) if position == 0 else torch.matmul(factor, grad)
            if made.shape != tape.values[node.inputs[position]].shape:
                raise ValueError("the shapes do not fit")
            found[position] = made
        return found

    return hook


def _flipped_filters(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
    weight = tape.values[node.inputs[1]]
    flipped = weight.flip(*range(2, weight.dim()))
    found = list(tape.vjp(node, grads))
    found[0] = tape.vjp(node, grads, at={1: flipped})[0]
    return found


def _other_operands(
    tape: Tape, place: Place, places: list[Place], position: int, target: str, factor: str
) -> Iterator[Fault]:
    """The rule for one factor, with another array of the same shape as the other factor."""
    other = 1 - position
    first = place.model
    shape, kind = tape.values[first.inputs[other]].shape, tape.values[first.inputs[other]].dtype
    if len(place.nodes) > 1:
        yield from _shifted(tape, place, position, target, factor)
    for name, number in {**tape.parameters, **tape.data}.items():
        if tape.values[number].shape == shape and tape.values[number].dtype == kind:
            alternatives = {node.index: number for node in place.nodes if node.inputs[other] != number}
            if alternatives:
                yield _substituted(place, position, alternatives, f"{name} stands for {factor}", target, 1.6)
    for candidate in places:
        if len(candidate.nodes) != len(place.nodes) or candidate.name in VIEWS:
            continue
        values = [node.outputs[0] for node in candidate.nodes]
        pairs = list(zip(place.nodes, values, strict=True))
        if all(tape.values[v].shape == shape and v != node.inputs[other] for node, v in pairs):
            alternatives = {node.index: value for node, value in pairs}
            words = f"the result of `{candidate.name}` (line {candidate.site.line}) stands for {factor}"
            yield _substituted(place, position, alternatives, words, target, 1.6)


def _shifted(tape: Tape, place: Place, position: int, target: str, factor: str) -> Iterator[Fault]:
    """The factor that belongs to a neighbouring passage."""
    other = 1 - position
    values = [node.inputs[other] for node in place.nodes]
    if len(set(values)) < 2:
        return
    for shift, neighbour in ((1, "after"), (-1, "before")):
        for edge in ("kept", "dropped"):
            alternatives = {}
            for k, node in enumerate(place.nodes):
                inside = 0 <= k + shift < len(values)
                alternatives[node.index] = values[k + shift] if inside else (values[k] if edge == "kept" else None)
            if shift == 1 and edge == "kept":
                alternatives[place.nodes[-1].index] = _next_state(tape, place, other)
            message = f"in the gradient of {target}, each step uses {factor} of the step {neighbour} its own"
            hooks = {index: _with_operand(position, value) for index, value in alternatives.items()}
            yield Fault("shifted-in-time", message, place.site, 1.4, hooks)


def _next_state(tape: Tape, place: Place, other: int) -> int:
    """What the factor would be in one passage more: the value made of the last passage as the others were made."""
    nodes = place.nodes
    producer = tape.producer.get(nodes[-1].inputs[other])
    earlier = tape.producer.get(nodes[-2].inputs[other]) if len(nodes) > 1 else None
    if producer is not None and earlier is not None:
        following = producer + (producer - earlier)
        if following < len(tape.nodes) and tape.nodes[following].name == tape.nodes[producer].name:
            return tape.nodes[following].outputs[0]
    if producer is not None:
        same = [node for node in tape.nodes if node.site == tape.nodes[producer].site and node.index > producer]
        same = [node for node in same if node.name == tape.nodes[producer].name]
        if same:
            return same[0].outputs[0]
    return nodes[-1].inputs[other]


def _substituted(
    place: Place, position: int, alternatives: dict[int, int], words: str, target: str, rank: float
) -> Fault:
    hooks = {index: _with_operand(position, value) for index, value in alternatives.items()}
    return Fault("wrong-operand", f"in the gradient of {target}, {words}", place.site, rank, hooks)


def _with_operand(position: int, value: int | None) -> NodeHook:
    """A hook that takes the rule for one factor at another value of the other; none of it where `value` is None."""

    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found = list(tape.vjp(node, grads))
        if value is None:
            found[position] = None
        else:
            operand = tape.values[value]
            if operand.shape != tape.values[node.inputs[1 - position]].shape:
                raise ValueError("the shapes do not fit")
            found[position] = tape.vjp(node, grads, at={1 - position: operand})[position]
        return found

    return hook
