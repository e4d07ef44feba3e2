"""The lines of the candidate's own code that hold the mistakes which broken rules of the reference tell.

A slip makes the first array that the reference makes with the rule broken, and not with the rule as it is. The small
changes of that line, and of those around it, are tried: one may undo the mistake, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from gradproof.diagnosis.changes import LOSS, Slip, Trial, changed
from gradproof.diagnosis.explanation import Explanation
from gradproof.diagnosis.fault import Fault, Model, gone_back
from gradproof.diagnosis.midway import arrays_of
from gradproof.diagnosis.repairs import Repairs
from gradproof.oracles import Arrays
from gradproof.own_code.notes import names, sums, telling
from gradproof.own_code.running import OwnFunction
from gradproof.own_code.switches import Place
from gradproof.tape import Backward

BEFORE, AFTER = 6, 3  # lines around the first wrong one that are looked at
FEWER = 4  # of them, at which less likely changes are as well


def own_lines(repairs: Repairs, told: Explanation) -> dict[int, Slip]:
    """For each mistake, by its position, the small change of the code that undoes it and nothing else.

    None where no small change does that, as where a slip takes several lines.
    """
    case = repairs.case
    alone = not told.faults and len(told.codes) == 1
    if told.case.own_forward is not case.own_forward or (told.transforms and not alone) or repairs.own.code is None:
        return {}
    if told.case.tape is None or told.case.program is None:
        return {}
    model = Model(told.case.program, told.case.problem, told.case.tape)
    found: dict[int, Slip] = {}
    for i, fault in enumerate(told.faults or [None]):
        if fault is None or (fault.change is None and fault.besides is None):
            others = [one for one in told.faults if one is not fault]
            slip = _Line(repairs, model, told, others, told.codes if fault is None else {fault.code}).found()
            found |= {} if slip is None else {i: slip}
    return found


class _Line:
    """The search for the line of one mistake beside others."""

    def __init__(
        self, repairs: Repairs, model: Model, told: Explanation, others: Sequence[Fault], codes: set[str]
    ) -> None:
        self.repairs, self.model, self.told, self.codes = repairs, model, told, codes
        self.before = tuple(one.change for one in others if isinstance(one.change, Slip))
        self.rules = tuple(one for one in others if one.change is None)
        self.aim = frozenset((*repairs.case.gradients, *((LOSS,) if told.loss_matches else ())))

    def found(self) -> Slip | None:
        """The change of the likeliest line that does it; of several, one that says the same of the mistake."""
        left = gone_back(self.model, self.rules)
        if left is None or (self.rules and self.repairs.own.quick is not self.repairs.case):
            return None
        likeliest = list(self._in_turn(left))
        gradients = left.arrays() if self.rules else None
        for (function, place), likely in [*product(likeliest, [True]), *product(likeliest[:FEWER], [False])]:
            trials = self.repairs.tried_at(function, place, self.before, likely)
            found = [one.slips[-1] for one in trials if self._is_it(one, gradients)]
            if found:
                return min(found, key=lambda one: (one.edit.code not in self.codes, one.rank))
            if self.repairs.clock.over():
                break
        return None

    def _is_it(self, trial: Trial, left: Arrays | None) -> bool:
        """Whether a change leaves nothing wrong, or what the others come to and no more."""
        if left is None:
            return not trial.wrong & self.aim and (trial.mends or self.repairs.mend(trial.slips, self.aim))
        alike = not changed((None, trial.answer[1]), (None, left))
        return alike and self.repairs.leaves(trial, self.rules, self.model)

    def _in_turn(self, left: Backward) -> Iterator[tuple[OwnFunction, Place]]:
        """The statements at which the mistake may be, the likeliest first."""
        places = self.repairs.own.places
        positions = {id(place): i for i, (_, place) in enumerate(places)}
        making = (positions[place] for place in self._making(self._wrong(left)) if place in positions)
        first = next(making, len(places) - 1)
        around = [first, *range(first - 1, first - 1 - BEFORE, -1), *range(first + 1, first + 1 + AFTER)]
        return (places[i] for i in around if 0 <= i < len(places))

    def _wrong(self, left: Backward) -> frozenset[int]:
        """By name: what the reference makes with all mistakes, and not with the others alone."""
        broken = gone_back(self.model, self.told.faults)
        return frozenset() if broken is None else arrays_of(broken) - arrays_of(left)

    def _making(self, wrong: frozenset[int]) -> Iterator[int]:
        """The statements that make one of some arrays, in turn."""
        own = self.repairs.own
        assert own.code is not None
        with own.compiled(self.before, noted=True) as ask:
            ask(self.before, self.repairs.case.problem)
        if not own.code.notes.in_turn:
            return
        places, arrays = zip(*own.code.notes.in_turn, strict=True)
        of = sums(arrays)
        told = names(of)
        which = np.flatnonzero(telling(of))
        yield from (places[which[i]] for i in range(len(which)) if {told[i], told[len(which) + i]} & wrong)
