"""The lines of the candidate's own code that hold the mistakes which broken rules of the reference tell."""

from __future__ import annotations

from collections.abc import Sequence

from gradproof.diagnosis.changes import LOSS, Slip, changed
from gradproof.diagnosis.explanation import Explanation
from gradproof.diagnosis.fault import Fault, Model, run
from gradproof.diagnosis.repairs import Repairs


def own_lines(repairs: Repairs, told: Explanation) -> dict[int, Slip]:
    """For each mistake, by its position, the small change of the code that undoes it and nothing else.

    None where no small change does that, as where a slip takes several lines.
    """
    if told.case.own_forward is not repairs.case.own_forward:
        return {}
    if told.transforms:
        alone = not told.faults and len(told.codes) == 1
        return _likeliest(0, _that_mend(repairs, told), told.codes) if alone else {}
    found: dict[int, Slip] = {}
    for i, fault in enumerate(told.faults):
        if fault.change is None and fault.besides is None:
            others = [one for one in told.faults if one is not fault]
            slips = _that_undo(repairs, others) if others else _that_mend(repairs, told)
            found |= _likeliest(i, slips, {fault.code})
    return found


def _that_mend(repairs: Repairs, told: Explanation) -> list[Slip]:
    """The changes after which nothing of what is told is wrong."""
    aim = frozenset((*repairs.case.gradients, *((LOSS,) if told.loss_matches else ())))
    for trials in repairs.tried():
        right = [one for one in trials if not one.wrong & aim]
        found = [one.slips[-1] for one in right if one.mends or repairs.mend(one.slips, aim)]
        if found:
            return found
    return []


def _that_undo(repairs: Repairs, others: Sequence[Fault]) -> list[Slip]:
    """The changes after which some other mistakes are all that is wrong."""
    case = repairs.case
    if case.program is None or case.tape is None or repairs.own.quick is not case:
        return []
    model = Model(case.program, case.problem, case.tape)
    before = tuple(one.change for one in others if isinstance(one.change, Slip))
    rules = tuple(one for one in others if one.change is None)
    left = run(model, rules) if rules else (case.truth.gradients, case.truth.loss)
    if left is None:
        return []
    names = changed((None, case.gradients), (None, left[0]))
    there = (one for one in repairs.tried_after(before, names) if not changed((None, one.answer[1]), (None, left[0])))
    return [one.slips[-1] for one in there if repairs.leaves(one, rules, model)]


def _likeliest(position: int, slips: Sequence[Slip], codes: set[str]) -> dict[int, Slip]:
    """The change that says the same of a mistake, if one does; of several lines of a chain, the last."""
    found = sorted(slips, key=lambda one: (one.edit.code not in codes, -one.line.lineno))
    return {position: found[0]} if found else {}
