"""A loss that is wrong: a constant factor, terms weighted otherwise, a penalty on too much."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradproof.case import Case
from gradproof.diagnosis import divergence, penalties
from gradproof.diagnosis.clock import Clock
from gradproof.diagnosis.confirmation import fresh_case
from gradproof.diagnosis.constants import named
from gradproof.report import Finding, number

PARTING_SECONDS = 1.5  # for the place where a wrong loss parts with the right one


def finding(case: Case, searching: bool) -> Finding:
    """The finding on a wrong loss, with the reading of its number that holds again on fresh inputs."""
    beside = "The gradient is right" if not case.wrong else "Apart from the gradient"
    message = f"{beside}, the loss is not: yours {number(case.loss or 0.0)}, torch's {number(case.truth.loss)}."
    if searching and case.reference is not None:
        reading = _reading(case)
        asked = not reading and not case.wrong  # where the gradient is wrong as well, the search has asked
        parting = divergence.parting(case, fresh_case(case), Clock(PARTING_SECONDS).over) if asked else None
        if reading:
            message += f" It is {reading[1]}."
        elif parting is not None:
            message += f" {parting.message[0].upper()}{parting.message[1:]}"
    message += "\nA gradient check by differences would compare your gradient with the wrong function."
    return Finding("wrong-loss", ("loss",), message)


def of_own_function(case: Case) -> Finding:
    """The finding on a wrong loss to which the gradient belongs, but for the mistakes that were found in it."""
    message = f"The loss is another function's: yours {number(case.loss or 0.0)}, torch's {number(case.truth.loss)}."
    reading = _reading(case)
    if reading is None:
        message += " Where your forward pass parts with the reference was not found."
        return Finding("unexplained", ("loss",), message)
    return Finding(reading[0], ("loss",), f"{message} It is {reading[1]}.")


def _reading(case: Case) -> tuple[str, str] | None:
    """What the loss is, as a finding code and in words."""
    fresh = fresh_case(case)
    if fresh is None or fresh.loss is None:
        return None
    again = {words: value for _, words, value in _readings(fresh)}
    for code, words, value in _readings(case):
        other = again.get(words)
        if other is not None and case.agrees("", case.loss, value) and fresh.agrees("", fresh.loss, other):
            return code, words
    return None


def _readings(case: Case) -> Iterator[tuple[str, str, float]]:
    """Numbers that the loss could be, with a finding code and in words."""
    assert case.loss is not None
    terms, total = case.truth.terms, case.truth.loss
    if total:
        words = named(case.loss / total, case.problem)
        if words:
            yield "wrong-scale", f"the right loss times {words}", case.loss
    for name, value in terms.items() if len(terms) > 1 else ():
        if value:
            weight = (case.loss - (total - value)) / value
            words = named(weight, case.problem, 1e-7)
            if abs(weight) < 1e-9:
                yield "wrong-term-weight", f"the loss without its term {name!r}", total - value
            elif words:
                weighted = f"the loss with its term {name!r} weighted by {words}"
                yield "wrong-term-weight", weighted, total + (weight - 1) * value
    yield from _penalties(case)


def _penalties(case: Case) -> Iterator[tuple[str, str, float]]:
    """The penalty over all entries, also those that the reference leaves alone; likewise with another weight."""
    strength = penalties.coefficient(case)
    if strength is None:
        return
    name, gradients = next(
        (name, one)
        for name, one in case.truth.term_gradients.items()
        if penalties.is_penalty(one, case.problem.params, strength)
    )
    free = {key: value * (gradients[key] == 0) for key, value in case.problem.params.items()}
    extra = sum(0.5 * strength * float(np.sum(value**2)) for value in free.values())
    others = case.truth.loss - case.truth.terms[name]
    everything = case.truth.terms[name] + extra
    where = ", ".join(f"{key} ({penalties.part_in_words(one != 0)})" for key, one in free.items() if np.any(one))
    if everything and extra:
        weight = (case.loss - others) / everything if case.loss is not None else 0.0
        words = named(weight, case.problem, 1e-7)
        if words:
            times = "" if words == "1" else f", weighted by {words}"
            also = f"the loss with {name!r} also on {where}{times}"
            yield "wrong-part-penalised", also, others + weight * everything
