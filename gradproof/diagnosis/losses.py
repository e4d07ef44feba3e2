"""A loss that is wrong: a constant factor, terms weighted otherwise, a penalty on too much."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from gradproof.case import Case
from gradproof.diagnosis import divergence, penalties
from gradproof.diagnosis.clock import Clock
from gradproof.diagnosis.confirmation import Confirmation
from gradproof.diagnosis.constants import named
from gradproof.diagnosis.families import OF_THE_FORWARD_PASS
from gradproof.diagnosis.fault import Fault
from gradproof.diagnosis.repairs import Repairs
from gradproof.diagnosis.survey import Survey
from gradproof.report import Finding

SECONDS = 4.5  # for what makes a wrong loss beside a right gradient, a third of it each for
SECONDS_BESIDE = 1.5  # the same beside a wrong gradient
SHARE = 1 / 3  # changes of the reference, changes of the code, and the place where the two part


def finding(case: Case, searching: bool) -> Finding:
    """The finding on a wrong loss, or a layer's wrong output, with the reading of it that holds again on fresh inputs.

    Where the gradient is wrong as well, the search for its mistake has asked what the candidate's code makes of it.
    """
    whole = len(case.gradients) == len(case.truth.gradients)  # else some gradient has no numbers to be compared
    beside = "The gradient is right" if whole and not case.wrong else "Apart from the gradient"
    what = f"{beside}, the {case.value} is not"
    message = f"{what}." if case.of_layer else f"{what}: {_beside(case)}."
    found: Finding | None = None
    if searching and case.reference is not None:
        confirmed = Confirmation(case)
        reading = None if case.of_layer else _reading(case, confirmed.fresh)
        if reading is not None:
            message += f" It is {reading[1]}."
        else:
            found = _of_forward(case, confirmed)
    if found is not None:
        message = f"{message[:-1]}: {found.message}"
    if not case.of_layer:
        message += "\nA gradient check by differences would compare your gradient with the wrong function."
    found = found or Finding("unexplained", (), "")
    code = found.code if case.of_layer or (found.code == "broadcast" and not whole) else "wrong-loss"
    return Finding(code, (case.value,), message, found.site, found.exact and code != "unexplained", found.mend)


def _beside(case: Case) -> str:
    """The candidate's loss and torch's, to as many digits as it takes to tell them apart."""
    ours, right = case.loss or 0.0, case.truth.loss
    shown = next(
        (pair for digits in range(4, 17) if (pair := (f"{ours:.{digits}g}", f"{right:.{digits}g}"))[0] != pair[1]),
        (f"{ours!r}", f"{right!r}"),
    )
    return f"yours {shown[0]}, torch's {shown[1]}"


def _of_forward(case: Case, confirmed: Confirmation) -> Finding | None:
    """What gives the wrong value: a change of the reference's forward pass, or where the two part.

    Beside a right gradient, by a change of the code first; beside a wrong one, the time was spent on that.
    """
    clock = Clock(SECONDS if not case.wrong else SECONDS_BESIDE)
    with clock.part(SHARE):
        fault = _of_reference(case, confirmed.fresh, clock)
    if not case.wrong and (fault is None or fault.code != "broadcast"):
        with clock.part(SHARE):
            changes = Repairs(case, clock, confirmed).likely()
        fault = changes[0].faults[0] if changes else fault
    with clock.part(SHARE):
        fault = fault or divergence.parting(case, confirmed.fresh, clock.over)
    if fault is None:
        return None
    return Finding(fault.code, (), fault.message, None if fault.site is None else str(fault.site), mend=fault.mend)


def _of_reference(case: Case, fresh: Case | None, clock: Clock) -> Fault | None:
    """The likeliest change of the reference's forward pass that has the candidate's value, on fresh inputs as well."""
    if case.tape is None or fresh is None or fresh.tape is None:
        return None
    survey = Survey(case.tape, case.problem)
    proposed = (fault for family in OF_THE_FORWARD_PASS for fault in family(survey) if fault.forward or fault.rewired)
    faults = list(itertools.takewhile(lambda _: not clock.over(), proposed))
    for fault in sorted(faults, key=lambda one: one.rank):
        if clock.over():
            break
        if all(_has_the_value(one, fault) for one in (case, fresh)):
            return fault
    return None


def _has_the_value(case: Case, fault: Fault) -> bool:
    other = None if case.tape is None else case.tape.replay(fault.forward, fault.rewired)
    return other is not None and case.loss is not None and case.agrees("", case.loss, other.loss())


def of_own_function(case: Case, searching: bool) -> Finding:
    """The finding on a wrong loss to which the gradient belongs, but for the mistakes that were found in it."""
    message = f"The {case.value} is another function's"
    message += "." if case.of_layer else f": {_beside(case)}."
    confirmed = Confirmation(case)
    reading = None if case.of_layer else _reading(case, confirmed.fresh)
    if reading is not None:
        return Finding(reading[0], (case.value,), f"{message} It is {reading[1]}.")
    found = _of_forward(case, confirmed) if searching and case.reference is not None else None
    if found is not None:
        return replace(found, parameters=(case.value,), message=f"{message[:-1]}: {found.message}")
    message += " Where your forward pass parts with the reference was not found."
    return Finding("unexplained", (case.value,), message)


def _reading(case: Case, fresh: Case | None) -> tuple[str, str] | None:
    """What the loss is, as a finding code and in words."""
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
