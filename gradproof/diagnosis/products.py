"""Products: a factor used without its transpose, or another array of the same shape in its place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from gradproof.diagnosis.edges import origin
from gradproof.diagnosis.fault import Fault, OneInput, replaced
from gradproof.diagnosis.places import EACH, Place, bare, constant_factor, views_before
from gradproof.diagnosis.pool import Pool, Row, fitted
from gradproof.diagnosis.survey import Survey
from gradproof.local_rules import unbroadcast
from gradproof.report import number
from gradproof.tape import Gradients, Node, NodeHook, Tape, Tensor, Totals

_MATRIX = ("mm", "bmm", "mv", "dot")
_PRODUCTS = (*_MATRIX, "mul", "div", "convolution")


def faults(survey: Survey) -> Iterator[Fault]:
    """For each product, and each factor of it: the other factor's transpose forgotten, another array in its place."""
    tape, places = survey.tape, survey.places
    for place in places:
        if place.name in _PRODUCTS and len(place.model.inputs) >= 2:
            moving = [position for position in (0, 1) if place.model.inputs[position] in tape.differentiable]
            for position in moving:
                yield from _of_factor(survey, place, position)
            if place.name == "mul" and len(moving) == 2:
                yield from _own_factors(tape, place)


def _of_factor(survey: Survey, place: Place, position: int) -> Iterator[Fault]:
    tape, pool = survey.tape, survey.pool
    other = 1 - position
    target = origin(tape, place.nodes[-1], position)
    factor = origin(tape, place.nodes[-1], other)
    if place.name in _MATRIX[:2]:
        for words, nodes in survey.subsets(place):
            message = f"in the gradient of {target}, {factor} is used as it stands where its transpose belongs{words}"
            hooks = {node.index: untransposed(position) for node in nodes}
            yield Fault("not-transposed", message, place.site, 1.1 if nodes == place.nodes else 1.3, hooks)
        message = f"what flows back through {place} to {target} is transposed"
        hooks = {node.index: _turned(position) for node in place.nodes}
        yield Fault("transposed", message, place.site, 1.2, hooks)
        if tape.values[place.model.inputs[other]].shape[-2 + other] == 1:
            message = f"in the gradient of {target}, the weighting by {factor} is left out"
            hooks = {node.index: _unweighted(position) for node in place.nodes}
            yield Fault("missing-derivative", message, place.site, 1.2, hooks)
    if place.name == "convolution" and position == 0:
        message = f"in the gradient of {target}, the filters lie the other way round: flipped too often, or not at all"
        yield Fault("flipped", message, place.site, 1.1, {node.index: _flipped_filters for node in place.nodes})
    if place.name in ("mul", "div"):
        verb = "multiplication by" if place.name == "mul" else "division by"
        message = f"in the gradient of {target}, the {verb} {factor} is left out"
        if position == 0 or place.name == "mul":
            hooks = {node.index: _without_factor(position, 1.0) for node in place.nodes}
            yield Fault("missing-derivative", message, place.site, 1.2, hooks)
            if _is_negative(tape, place.model.inputs[other]):
                hooks = {node.index: _without_factor(position, -1.0) for node in place.nodes}
                yield Fault("missing-derivative", f"{message}, but for its sign", place.site, 1.25, hooks)
    if place.name == "div" and position == 0:
        yield from _by_the_number(tape, place)
    if place.name == "div":
        for power, words in ((1, "one division by it too few"), (-1, "one division by it too many")):
            below = factor if position == 0 else target
            message = f"in the gradient of {target}, the power of {below} is wrong: {words}"
            hooks = {node.index: _other_power(position, power) for node in place.nodes}
            yield Fault("wrong-operand", message, place.site, 1.4, hooks)
            constant = constant_factor(tape.maker(place.model.inputs[1]))
            if constant is not None and constant != 1.0:
                message += f", without its factor {number(constant)}"
                hooks = {node.index: _other_power(position, power, constant) for node in place.nodes}
                yield Fault("wrong-operand", message, place.site, 1.42, hooks)
    yield from _other_operands(tape, place, pool, position, target, factor)


def _own_factors(tape: Tape, place: Place) -> Iterator[Fault]:
    """A product of two arrays: each is given itself as its derivative, where it is the other one."""
    first, second = place.model.inputs[:2]
    if first != second and tape.values[first].shape == tape.values[second].shape:
        names = [origin(tape, place.model, position) for position in (0, 1)]
        message = f"on the way back through {place}, {names[0]} and {names[1]} are exchanged: each factor is"
        message += " multiplied by itself, not by the other one"
        hooks = {node.index: _times_itself for node in place.nodes}
        yield Fault("wrong-operand", message, place.site, 1.25, hooks)


def _times_itself(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
    found, grad = list(tape.vjp(node, grads)), grads[0]
    for position in (0, 1):
        if grad is not None and found[position] is not None:
            found[position] = grad * tape.values[node.inputs[position]]
    return found


def _by_the_number(tape: Tape, place: Place) -> Iterator[Fault]:
    """A division by the sum of an array (of weights, of a mask): by the number of its entries instead."""
    producer = tape.producer.get(place.model.inputs[1])
    if producer is None or tape.nodes[producer].name != "sum" or tape.values[place.model.inputs[1]].numel() > 1:
        return
    count = tape.values[tape.nodes[producer].inputs[0]].numel()
    message = f"in the gradient, {place} divides by {count}, the number of entries, where it divides by their sum"
    yield Fault("wrong-scale", message, place.site, 1.2, {node.index: _divided_by(count) for node in place.nodes})
    message = f"{place} divides by {count}, the number of entries, where it divides by their sum"
    yield replaced("wrong-reduction", message, place, 1.3, lambda node, x, _: [x[0] / count])


def _divided_by(count: int) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        scale = tape.values[node.inputs[1]] / count
        return [None if one is None else one * scale for one in tape.vjp(node, grads)]

    return hook


def _is_negative(tape: Tape, value: int) -> bool:
    """Whether a value is minus something: whoever forgets the factor may remember the sign."""
    producer = tape.producer.get(value)
    return producer is not None and tape.nodes[producer].name == "neg"


def _without_factor(position: int, sign: float) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found, grad = list(tape.vjp(node, grads)), grads[0]
        found[position] = None if grad is None else unbroadcast(sign * grad, tape.values[node.inputs[position]])
        return found

    return OneInput(position, hook)


def _other_power(position: int, power: int, constant: float = 1.0) -> NodeHook:
    """The gradient of one side of a quotient, with one factor of the denominator more (power 1) or less (power -1)."""

    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found, grad = list(tape.vjp(node, grads)), grads[0]
        scaled = None if grad is None else grad * (tape.values[node.inputs[1]] / constant) ** power
        found[position] = tape.vjp(node, [scaled])[position]
        return found

    return OneInput(position, hook)


def untransposed(position: int) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found, grad = list(tape.vjp(node, grads)), grads[0]
        factor = tape.values[node.inputs[1 - position]]
        if grad is not None:
            made = torch.matmul(grad, factor) if position == 0 else torch.matmul(factor, grad)
            if made.shape != tape.values[node.inputs[position]].shape:
                raise ValueError("the shapes do not fit")
            found[position] = made
        return found

    return OneInput(position, hook)


def _unweighted(position: int) -> NodeHook:
    """The gradient of one factor, as if the other one, a row or a column, were all ones."""

    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found, other = list(tape.vjp(node, grads)), 1 - position
        ones = torch.ones_like(tape.values[node.inputs[other]])
        found[position] = tape.vjp(node, grads, at={other: ones})[position]
        return found

    return OneInput(position, hook)


def _turned(position: int) -> NodeHook:
    """The gradient of one factor, transposed: `x @ dy.T` for `dy @ x.T`. Raises ValueError where it is not square."""

    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found = list(tape.vjp(node, grads))
        own = found[position]
        if own is not None:
            if own.dim() < 2 or own.shape[-1] != own.shape[-2]:
                raise ValueError("it is not square")
            found[position] = own.mT
        return found

    return OneInput(position, hook)


def _flipped_filters(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
    weight = tape.values[node.inputs[1]]
    flipped = weight.flip(*range(2, weight.dim()))
    found = list(tape.vjp(node, grads))
    found[0] = tape.vjp(node, grads, at={1: flipped})[0]
    return found


def _other_operands(tape: Tape, place: Place, pool: Pool, position: int, target: str, factor: str) -> Iterator[Fault]:
    """The rule for one factor, with another array of the same shape as the other factor."""
    own = [node.inputs[1 - position] for node in place.nodes]
    for row in pool.shifted(place, own):
        message = f"in the gradient of {target}, each passage uses {factor} {row.words}"
        name = tape.name_of(row.values[0]) if len(set(row.values)) == 1 and row.values[0] is not None else None
        if name is not None:
            message = f"in the gradient of {target}, {name} stands for {factor} wherever it is another array"
        yield _substituted(place, position, row, message, 1.4)
    needed = [node.inputs[position] in tape.differentiable for node in place.nodes]
    for row in pool.fitting(place, own, needed):
        message = f"in the gradient of {target}, {_stands_for(row.words, factor)}"
        if row.shift:
            which = "after" if row.shift == 1 else "before"
            message = f"in the gradient of {target}, each step takes {factor} of the step {which} its own"
        fault = _substituted(place, position, row, message, 1.6 + 0.05 * row.transposed, needed)
        if pool.is_part(row.values, own):
            # Of h + z * (c - h), z gets a path less; in a product of matrices, it is another activation.
            code = "missing-path" if place.name == "mul" else fault.code
            fault = replace(fault, code=code, message=f"{message}, of which it is a part")
        yield fault
    yield from _behind_views(tape, place, pool, position, (target, factor))
    if 1 < len(place.nodes) <= EACH and not place.everywhere and len({tape.values[value].shape for value in own}) > 1:
        yield from _in_one_layer(tape, place, pool, position, needed)


def _stands_for(words: str, factor: str) -> str:
    """That one array stands for another one, in words that tell them apart."""
    if words == factor:
        return f"{words} stands for what the same line makes at another time, or for another caller"
    return f"{words} stands for {factor}"


def _behind_views(tape: Tape, place: Place, pool: Pool, position: int, names: tuple[str, str]) -> Iterator[Fault]:
    """Where the axes of the other factor were moved first, as an einsum does: another array with its axes moved so."""
    target, factor = names
    views = {node.index: views_before(tape, node.inputs[1 - position]) for node in place.nodes}
    if not any(view.name in ("permute", "transpose") for view in views[place.model.index]):
        return
    whole = [bare(tape, node.inputs[1 - position]) for node in place.nodes]
    for row in [*pool.shifted(place, whole), *pool.fitting(place, whole)]:
        if not row.transposed:
            ending = f", each passage uses {factor} {row.words}"
            if not row.words.startswith("of the"):
                ending = f", {_stands_for(row.words, factor)}"
            pairs = zip(place.nodes, row.values, strict=True)
            hooks = {node.index: with_operand(position, value, False, views[node.index]) for node, value in pairs}
            yield Fault(row.code, f"in the gradient of {target}{ending}", place.site, 1.6, hooks)


def _in_one_layer(
    tape: Tape, place: Place, pool: Pool, position: int, needed: Sequence[bool]
) -> Iterator[Fault]:
    """In a loop over layers, another array in one of them: the raw inputs in the first, say."""
    for k, node in enumerate(place.nodes):
        value = node.inputs[1 - position]
        for row in pool.near(value) if needed[k] else ():
            target, factor = origin(tape, node, position), origin(tape, node, 1 - position)
            message = f"in the gradient of {target}, {_stands_for(row.words, factor)}"
            message += f", only number {k + 1} of the {len(place.nodes)} times that it runs"
            hooks = {node.index: with_operand(position, row.values[0], transposed=False)}
            yield Fault("wrong-operand", message, place.site, 1.65, hooks)


def _substituted(
    place: Place, position: int, row: Row, message: str, rank: float, needed: Sequence[bool] | None = None
) -> Fault:
    pairs = zip(place.nodes, row.values, needed or [True] * len(place.nodes), strict=True)
    hooks = {node.index: with_operand(position, value, row.transposed) for node, value, here in pairs if here}
    return Fault(row.code, message, place.site, rank, hooks)


def with_operand(position: int, value: int | None, transposed: bool, views: Sequence[Node] = ()) -> NodeHook:
    """A hook that takes the rule for one factor at another value of the other; none of it where `value` is None.

    With `views`, at what they make of that value.
    """

    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found = list(tape.vjp(node, grads))
        if value is None:
            found[position] = None
        else:
            like = tuple(tape.values[views[0].inputs[0] if views else node.inputs[1 - position]].shape)
            operand = tape.values[value].mT if transposed else fitted(tape.values[value], like)
            if operand is None or tuple(operand.shape) != like:
                raise ValueError("the shapes do not fit")
            for view in views:
                operand = view.run([operand])[0]
            found[position] = tape.vjp(node, grads, at={1 - position: operand})[position]
        return found

    return OneInput(position, hook)
