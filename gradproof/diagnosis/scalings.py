"""What arrives at an array, with a factor of the reference once too often or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gradproof.diagnosis.fault import Fault
from gradproof.diagnosis.places import Place, bare, result_of_node
from gradproof.diagnosis.survey import Survey
from gradproof.tape import VIEWS, Tape, Tensor, Totals, ValueHook, joined


def faults(survey: Survey) -> Iterator[Fault]:
    """At each result, and for each array that some product or quotient is made with: one factor of it too few or many.

    A formula in closed form, such as a norm's, has such factors where the reference has several operations.
    """
    tape = survey.tape
    factors = _factors(tape, survey.places)
    for place in survey.places:
        results = [node.outputs[0] for node in place.nodes]
        if place.name in VIEWS or place.everywhere or not tape.values[results[-1]].dim():
            continue
        for values, (words, power) in factors.items():
            if len(values) == len(results) and _spread(tape.values[values[-1]], tape.values[results[-1]]) is not None:
                yield _scaled(place, results, values, f"the factor {words}", -power, "missing-derivative", "lacks")
                yield _scaled(place, results, values, f"the factor {words}", power, "extra-derivative", "has twice")


    for name, value in tape.parameters.items():
        for values, (words, power) in factors.items():
            if len(values) == 1 and _spread(tape.values[values[0]], tape.values[value]) is not None:
                for code, sign in (("missing-derivative", -power), ("extra-derivative", power)):
                    message = f"the gradient of {name} {_VERBS[code]} the factor {words}"
                    yield Fault(code, message, rank=1.5, values={value: _times(values[0], sign)})


_VERBS = {"missing-derivative": "lacks", "extra-derivative": "has twice"}


def _factors(tape: Tape, places: Sequence[Place]) -> dict[tuple[int, ...], tuple[str, int]]:
    """What products and quotients are made with, for each passage, in words, and 1, or -1 for what divides."""
    found: dict[tuple[int, ...], tuple[str, int]] = {}
    for place in places:
        if place.name in ("mul", "div") and len(place.model.inputs) == 2 and not place.everywhere:
            for position in (0, 1):
                values = tuple(node.inputs[position] for node in place.nodes if len(node.inputs) == 2)
                divides = _divides(tape, values[-1])
                words = f"{'1 / ' * divides}{_made_by(tape, values[-1])}"
                found.setdefault(values, (words, -1 if divides else 1))
        elif place.name == "rsqrt" and not place.everywhere:
            found[tuple(node.outputs[0] for node in place.nodes)] = (f"`{place.name}` (line {place.site.line})", 1)
    return found


def _divides(tape: Tape, value: int) -> bool:
    """Whether a value ends below a fraction line: as it is, or in a product."""
    for index in tape.consumers.get(value, ()):
        node = tape.nodes[index]
        if node.name == "div" and node.inputs[-1] == value:
            return True
        if node.name == "mul" and any(
            tape.nodes[i].name == "div" and tape.nodes[i].inputs[-1] == node.outputs[0]
            for i in tape.consumers.get(node.outputs[0], ())
        ):
            return True
    return False


def _made_by(tape: Tape, value: int) -> str:
    value = bare(tape, value)
    name, maker = tape.name_of(value), tape.maker(value)
    if name is not None or maker is None:
        return f"`{name}`" if name else "a constant"
    if maker.inner or not maker.site.expression:
        return result_of_node(maker)
    return f"`{maker.site.expression}`"


def _spread(factor: Tensor, like: Tensor) -> Tensor | None:
    """A factor in a shape in which it multiplies an array: a number for each row stands in a column."""
    if factor.numel() < 2 or not factor.dtype.is_floating_point:
        return None
    column = factor.reshape(*factor.shape, *[1] * (like.dim() - factor.dim())) if factor.dim() < like.dim() else factor
    for one in (factor, column):
        try:
            if np.broadcast_shapes(one.shape, like.shape) == tuple(like.shape):  # torch's own loads a computer algebra
                return one
        except ValueError:
            continue
    return None


def _scaled(
    place: Place, results: list[int], values: tuple[int, ...], words: str, power: int, code: str, verb: str
) -> Fault:
    hooks = {result: _times(value, power) for result, value in zip(results, values, strict=True)}
    return Fault(code, f"what arrives at the result of {place} {verb} {words}", place.site, 1.55, values=hooks)


def _times(value: int, power: int) -> ValueHook:
    def hook(tape: Tape, arriving: list[tuple[int, Tensor]], totals: Totals) -> Tensor | None:
        total = joined(arriving)
        if total is None:
            return None
        factor = _spread(tape.values[value], total)
        if factor is None:
            raise ValueError("the shapes do not fit")
        return total * factor if power > 0 else total / factor

    return hook
