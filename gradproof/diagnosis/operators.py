"""Another operation in one place of the forward pass: the other sign, another constant, another operand."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import combinations

import numpy as np
import torch

from gradproof.diagnosis.constants import sizes
from gradproof.diagnosis.edges import origin
from gradproof.diagnosis.fault import Fault, Replacement, constants_of, neighbours, replaced, with_constant
from gradproof.diagnosis.places import Place
from gradproof.diagnosis.survey import Survey
from gradproof.report import number
from gradproof.tape import PARTS, VIEWS, Node, Tape, Tensor, ValueHook

OTHERS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"+": torch.add, "-": torch.sub, "*": torch.mul, "/": torch.div}
SYMBOLS = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
PRODUCTS = ("mm", "bmm", "mv", "convolution")
SWAPPED = ("sub", "div")
MOST_PARTS = 8  # of a split, of which each two are exchanged


def faults(survey: Survey) -> Iterator[Fault]:
    """For each sum, product, power and constant: an operand left out, exchanged or another, another operator."""
    known = sizes(survey.problem)
    for place in survey.all_places:
        if any(value in survey.tape.differentiable for value in place.model.outputs):
            yield from _of_place(survey, place, known)
        elif place.name in (*SYMBOLS, "pow"):  # of the data alone
            yield from _other_operators(survey.tape, place)
            yield from _other_constants(place, known)
        elif place.name == "select":
            yield from _of_other_data(survey.tape, place)
        elif place.name in ("triu", "tril"):
            message = f"{place} keeps the other triangle"
            yield replaced("different-function", message, place, 1.35, _other_triangle)
    yield from _same_constants_left_out(survey)


def _same_constants_left_out(survey: Survey) -> Iterator[Fault]:
    """A constant that a line adds in several places, as a smoothed fraction does, left out of all of them."""
    groups: dict[tuple[str, int, float], list[Place]] = {}
    for place in survey.places:
        for _, value in constants_of(place) if place.name in ("add", "sub") else ():
            groups.setdefault((place.site.file, place.site.line, value), []).append(place)
    for (_, _, value), places in groups.items():
        if len(places) > 1:
            forward = {node.index: _only_input(0) for place in places for node in place.nodes}
            message = f"the constant {number(value)} is left out in all {len(places)} places of a line that adds it"
            yield Fault("different-function", message, places[-1].site, 1.25, forward=forward)


def _of_place(survey: Survey, place: Place, known: Collection[int]) -> Iterator[Fault]:
    tape = survey.tape
    if place.name in SYMBOLS:
        yield from _other_operators(tape, place)
    yield from _other_constants(place, known)
    yield from _divisor_left_out(survey, place)
    if place.name in ("mm", "bmm"):
        yield from _transposed(tape, place)
    if place.name in PARTS:
        shapes = [tape.values[value].shape for value in place.model.outputs]
        for i, j in combinations(range(min(len(shapes), MOST_PARTS)), 2):
            if shapes[i] == shapes[j]:
                message = f"parts {i + 1} and {j + 1} of {place} are exchanged"
                yield replaced("wrong-operand", message, place, 1.3, _exchanged(i, j))
    if place.name in ("transpose", "permute"):
        of_weight = len(tape.values[place.model.inputs[0]].shape) == 2
        code = "not-transposed" if of_weight else "wrong-axis"
        yield replaced(code, f"{place} is left out", place, 1.35, lambda node, x, _: [x[0].clone()])
    if place.name == "convolution":
        message = f"{place} goes with the filters turned round"
        yield replaced("flipped", message, place, 1.3, _filters_turned)
    if place.name in (*SYMBOLS, *PRODUCTS, "cat", "stack"):
        yield from _other_operands(survey, place)
    for position, value in enumerate(place.model.inputs):
        name = tape.name_of(value)
        if name is not None and value in tape.differentiable and place.name in (*SYMBOLS, *VIEWS, *PRODUCTS):
            yield replaced("different-function", f"{name} is taken to be zero in {place}", place, 1.4, _zero(position))


def _other_operators(tape: Tape, place: Place) -> Iterator[Fault]:
    node = place.model
    if len(node.inputs) != 2:
        return
    names = [origin(tape, node, position) for position in (0, 1)]
    shape = tape.values[node.outputs[0]].shape
    for keep in (0, 1):
        kept = tape.values[node.inputs[keep]]
        if kept.shape == shape or kept.numel() > 1:
            message = f"{names[1 - keep]} is left out of {place}"
            yield replaced("different-function", message, place, 1.3, _only_input(keep))
    for position in (0, 1) if place.name in ("mul", "div") else ():
        for words, power in (("the square", 2.0), ("the root", 0.5)):
            message = f"{words} of {names[position]} stands for it in {place}"
            yield replaced("different-function", message, place, 1.52, _with_power(position, power))
    for symbol, operator in OTHERS.items():
        if symbol != SYMBOLS[place.name]:
            signs = {symbol, SYMBOLS[place.name]} == {"+", "-"}
            message = f"{place} has the other sign: `{symbol}`" if signs else f"{place} is done with `{symbol}`"
            yield replaced("different-function", message, place, 1.3 if signs else 1.35, _operator(operator))
    if _outer(tape, node) is not None:
        n = len(tape.values[node.inputs[0]])
        for turned in (0, 1):
            message = f"in {place}, an array of shape ({n},) met one of shape ({n}, 1) and became ({n}, {n})"
            message += ": every sample against every other"
            fault = replaced("broadcast", message, place, 1.25, _every_pair(turned))
            yield fault
            summed = f"{message}, and what should be a mean over all pairs is divided by {n} alone"
            terms = {value: _times(float(n)) for value in tape.terms.values()}
            yield Fault("broadcast", summed, place.site, 1.3, forward=fault.forward, values=terms)
    if place.name in SWAPPED:
        message = f"{place} is done the other way round, with its operands exchanged"
        yield replaced("different-function", message, place, 1.3, lambda node, x, _: node.run(x[::-1]))


def _other_constants(place: Place, names: Collection[int]) -> Iterator[Fault]:
    for which, value in constants_of(place):
        if place.name == "mul":
            message = f"{place} is {number(value)} alone: what is multiplied by it is left out"
            yield replaced("different-function", message, place, 1.35, lambda node, x, _: node.run([x[0] * 0 + 1]))
        if place.name in ("mul", "div", "add", "sub", "pow"):
            message = f"the constant {number(value)} is left out of {place}"
            yield replaced("different-function", message, place, 1.2, _only_input(0))
        powers = (-0.25,) if place.everywhere else (0.5, -0.5)  # a root each, where two arrays are scaled alike
        by_size = [float(size) ** power for size in names for power in powers] if place.name in ("mul", "div") else []
        for other in dict.fromkeys((*neighbours(value), *by_size)):
            message = f"the constant of {place} is {number(other)} instead of {number(value)}"
            yield replaced("different-function", message, place, 1.4, with_constant(which, other))


def _divisor_left_out(survey: Survey, place: Place) -> Iterator[Fault]:
    """A division by a size of the problem is a mean; by a number that the line spells out, none."""
    names = sizes(survey.problem)
    for _, value in constants_of(place):
        size = value if place.name == "div" else 1 / value if place.name == "mul" and value else 0.0
        if size in names and not re.search(rf"(?<![\w.]){value:g}(?![\w.])", place.site.expression):
            message = f"a sum stands where {place} makes it a mean: the division by {names[int(size)]} is left out"
            yield replaced("wrong-reduction", message, place, 1.15, _only_input(0))


def _transposed(tape: Tape, place: Place) -> Iterator[Fault]:
    for position in (0, 1):
        name = origin(tape, place.model, position)
        message = f"{place} is done with {name} transposed"

        def replacement(node: Node, x: list[Tensor], _: Sequence[Tensor], position: int = position) -> Sequence[Tensor]:
            return node.run([one.mT if i == position else one for i, one in enumerate(x)])

        yield replaced("not-transposed", message, place, 1.35, replacement)


def _other_operands(survey: Survey, place: Place) -> Iterator[Fault]:
    tape = survey.tape
    for position in range(min([2, *(len(node.inputs) for node in place.nodes)])):
        own = [node.inputs[position] for node in place.nodes]
        name = origin(tape, place.model, position)
        for row in [*survey.pool.shifted(place, own), *survey.pool.fitting(place, own)]:
            pairs = list(zip(place.nodes, row.values, strict=True))
            if row.transposed or not all(_is_there(tape, node, v, tape.values[own[-1]].shape) for node, v in pairs):
                continue
            words = f"{name} {row.words}" if row.words.startswith("of the") else f"{row.words} in place of {name}"
            rewired = {node.index: {position: value} for node, value in pairs if value is not None}
            yield Fault(row.code, f"{place} is done with {words}", place.site, 1.5, rewired=rewired)


def _of_other_data(tape: Tape, place: Place) -> Iterator[Fault]:
    """An entry of the data: that of another array."""
    own = place.model.inputs[0]
    for name, value in tape.data.items():
        if value != own and tape.values[value].dtype == tape.values[own].dtype:
            rewired = {node.index: {0: value} for node in place.nodes}
            yield Fault("wrong-operand", f"{place} is taken of {name}", place.site, 1.45, rewired=rewired)


def _is_there(tape: Tape, node: Node, value: int | None, shape: torch.Size) -> bool:
    """Whether a value of this shape has been computed before an operation."""
    return value is not None and tape.values[value].shape == shape and tape.producer.get(value, -1) < node.index


def _outer(tape: Tape, node: Node) -> int | None:
    """The common length of two columns, or of two arrays of one axis."""
    one, other = (tuple(tape.values[value].shape) for value in node.inputs)
    return one[0] if one == other and len(one) in (1, 2) and one[0] > 1 and one[1:] in ((), (1,)) else None


def _times(factor: float) -> ValueHook:
    return lambda tape, arriving, totals: factor * arriving[0][1] if arriving else None


def _every_pair(turned: int) -> Replacement:
    def replacement(node: Node, inputs: list[Tensor], values: Sequence[Tensor]) -> Sequence[Tensor]:
        return node.run([one.reshape(1, -1) if i == turned else one.reshape(-1, 1) for i, one in enumerate(inputs)])

    return replacement


def _with_power(position: int, power: float) -> Replacement:
    def replacement(node: Node, inputs: list[Tensor], values: Sequence[Tensor]) -> Sequence[Tensor]:
        return node.run([one**power if i == position else one for i, one in enumerate(inputs)])

    return replacement


def _operator(function: Callable[[Tensor, Tensor], Tensor]) -> Replacement:
    return lambda node, inputs, values: [function(inputs[0], inputs[1])]


def _exchanged(i: int, j: int) -> Replacement:
    def replacement(node: Node, inputs: list[Tensor], values: Sequence[Tensor]) -> Sequence[Tensor]:
        made = list(node.run(inputs))
        made[i], made[j] = made[j].clone(), made[i].clone()
        return made

    return replacement


def _only_input(keep: int) -> Replacement:
    """One operand alone, in the shape that both have together."""
    return lambda _, inputs, __: [inputs[keep].expand(np.broadcast_shapes(*(one.shape for one in inputs))).clone()]


def _zero(position: int) -> Replacement:
    def replacement(node: Node, inputs: list[Tensor], values: Sequence[Tensor]) -> Sequence[Tensor]:
        return node.run([one * 0 if i == position else one for i, one in enumerate(inputs)])

    return replacement


def _filters_turned(node: Node, inputs: list[Tensor], values: Sequence[Tensor]) -> Sequence[Tensor]:
    weight = inputs[1].flip(*range(2, inputs[1].dim()))
    return node.run([inputs[0], weight, *inputs[2:]])


def _other_triangle(node: Node, inputs: list[Tensor], values: Sequence[Tensor]) -> Sequence[Tensor]:
    other = torch.tril if node.name == "triu" else torch.triu
    diagonal = next((one for one in node.constants if isinstance(one, int)), 0)
    return [other(inputs[0], -diagonal)]
