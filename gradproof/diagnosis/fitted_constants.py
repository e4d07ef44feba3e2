"""A constant of the forward pass, worked out from the loss: the one that gives the candidate's.

A slope, a temperature, a keeping probability may be any number. Where only one constant is another, the loss tells it:
the reference's loss, as a function of that constant, has to be the candidate's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch

from gradproof.case import Case
from gradproof.diagnosis.constants import named
from gradproof.diagnosis.elementary import FUNCTIONS, LOSSES
from gradproof.diagnosis.fault import Fault, Replacement, constants_of, replaced, with_constant
from gradproof.diagnosis.functions import in_place_of
from gradproof.diagnosis.places import ELEMENTARY, Place
from gradproof.diagnosis.regions import Region, every_region
from gradproof.diagnosis.survey import Survey
from gradproof.report import number
from gradproof.tape import Tensor

STEPS = 25  # of the search for a root
CLOSE = 1e-9  # how near a constant has to be to a short decimal for that to be meant


def faults(survey: Survey, case: Case, over: Callable[[], bool]) -> Iterator[Fault]:
    """For each constant that another number could stand for: the number that gives the candidate's loss.

    And for each activation: what is added to its input, or what that is multiplied with, where the reference does not;
    and for each elementwise function, another one, times the number that gives the loss. `over` says when the time is.
    """
    for place in survey.all_places:
        for which, value in constants_of(place) if not over() else ():
            for other in _solutions(survey, case, place, partial(with_constant, which), value):
                message = f"the constant of {place} is {number(other)} instead of {number(value)}"
                yield replaced("different-function", message, place, 1.45, with_constant(which, other))
    for place in survey.places:
        for words, change, neutral in CHANGES if place.name in ELEMENTARY and not over() else ():
            for other in _solutions(survey, case, place, change, neutral):
                if other == float(f"{other:.3g}"):  # a number that somebody would write
                    message = f"the input of {place} is {words.format(number(other))}"
                    yield replaced("different-function", message, place, 1.5, change(other))
    for place in survey.places:
        for regions in every_region(survey.tape, place):
            if over():
                return
            yield from _multiples(survey, case, place, regions)


def _multiples(survey: Survey, case: Case, place: Place, regions: tuple[Region, ...]) -> Iterator[Fault]:
    """Other functions times a constant: half a square for an absolute value, minus a hinge for a logarithm."""
    assert case.loss is not None

    def fault(words: str, function: Callable[[Tensor], Tensor]) -> Fault:
        return in_place_of(place, regions, function, f"{words} stands where the reference has {place}", 1.5)

    def loss(function: Callable[[Tensor], Tensor]) -> float:
        other = survey.tape.replay(fault("", function).forward)
        return np.nan if other is None else other.loss()

    without = loss(torch.zeros_like)
    for name, function in {**FUNCTIONS, **LOSSES}.items():
        once = loss(function)
        with np.errstate(all="ignore"):  # of a loss that is linear in what the function gives
            constant = float(np.divide(case.loss - without, once - without))
        constant = 1.0 if case.agrees("", case.loss, once) else float(f"{constant:.12g}")
        if np.isfinite(constant) and constant and named(constant, case.problem) is not None:
            words = "" if constant == 1 else "minus " if constant == -1 else f"{number(constant)} times "
            yield fault(f"{words}{name}", partial(_product, constant, function))


def _product(constant: float, function: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    return constant * function(z)


def _plus(constant: float) -> Replacement:
    return lambda node, inputs, values: node.run([inputs[0] + constant, *inputs[1:]])


def _times(constant: float) -> Replacement:
    return lambda node, inputs, values: node.run([inputs[0] * constant, *inputs[1:]])


CHANGES: tuple[tuple[str, Callable[[float], Replacement], float], ...] = (
    ("made larger by {}", _plus, 0.0),
    ("multiplied with {}", _times, 1.0),
)


def _solutions(
    survey: Survey, case: Case, place: Place, change: Callable[[float], Replacement], value: float
) -> list[float]:
    """The constants that give the candidate's loss, as far as the secant method leads to them from near and far."""
    assert case.loss is not None
    wanted = case.loss

    def missing(constant: float) -> float:
        replacement = change(constant)
        other = survey.tape.replay({node.index: replacement for node in place.nodes})
        return np.nan if other is None else other.loss() - wanted

    found: list[float] = []
    for start in dict.fromkeys((value, value / 4, 4 * value, 0.0, 1.0)):
        root = _root(missing, start, 1e-13 * abs(wanted))
        if root is not None:
            short = float(f"{root:.8g}")
            root = short if abs(short - root) <= CLOSE * abs(root) else root
            if not any(abs(root - one) <= CLOSE * max(abs(one), 1e-3) for one in [value, *found]):
                found.append(root)
    return found


def _root(function: Callable[[float], float], start: float, close: float) -> float | None:
    """A root near a start; None where the search leads nowhere."""
    one, other = start, 1.1 * start if start else 0.1
    low, high = function(one), function(other)
    for _ in range(STEPS):
        if not (np.isfinite(low) and np.isfinite(high)) or low == high:
            break
        one, other = other, other - high * (other - one) / (high - low)
        low, high = high, function(other)
        if high == 0.0:
            break
    return other if abs(high) <= close else None
