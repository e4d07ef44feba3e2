"""What a set of broken rules explains of a candidate's numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gradproof.case import Case
from gradproof.diagnosis.fault import Fault, Model, run
from gradproof.diagnosis.transforms import OTHER, Transform, averaged, find_transform
from gradproof.oracles import Arrays
from gradproof.tape import Tape

KEPT = 10_000  # numbers of one explanation: a search makes thousands


class Outcome:
    """What a run of broken rules came to; of large gradients only what is asked of them is kept."""

    def __init__(self, tape: Tape, gradients: Arrays) -> None:
        self._tape, self._gradients = tape, gradients
        if sum(one.size for one in gradients.values()) > KEPT:
            _ = self.changed, self.signature
            self._gradients = {}

    @cached_property
    def changed(self) -> frozenset[str]:
        """The parameters whose gradient is another than the tape's own, which is autograd's up to rounding."""
        clean = self._tape.clean.arrays()
        return frozenset(name for name, one in clean.items() if not np.array_equal(self._gradients[name], one))

    @cached_property
    def signature(self) -> tuple[float, ...]:
        """What tells these gradients from others."""
        sums = {name: float(np.sum(one * 1.2345)) for name, one in self._gradients.items()}
        return tuple(round(sums[name], 10) for name in sorted(sums))


@dataclass(frozen=True)
class Explanation:
    """Broken rules, and what was then done to whole gradients; what of the candidate they reproduce.

    `case` is the comparison with the reference recorded as the rules are rules of.
    """

    case: Case
    faults: tuple[Fault, ...]
    transforms: dict[str, Transform]
    matched: frozenset[str]
    unmatched: frozenset[str]
    loss_matches: bool
    outcome: Outcome | None = None

    @property
    def changed(self) -> frozenset[str]:
        """The parameters whose gradient is another than the reference's."""
        return frozenset() if self.outcome is None else self.outcome.changed

    @property
    def complete(self) -> bool:
        return not self.unmatched

    @property
    def _groups(self) -> dict[tuple[str, str], int]:
        """What was done to whole gradients: the same to several parameters is one mistake."""
        return {(one.kind, f"{one.factor:.8g}"): one.cost for one in self.transforms.values()}

    @property
    def named(self) -> bool:
        """Whether each factor of a whole gradient is one that code could have got wrong."""
        return all(one.words is not None for one in self.transforms.values())

    @property
    def codes(self) -> set[str]:
        """The names of the mistakes."""
        of_whole = {code for one in self.transforms.values() for code, _ in one.mistakes()}
        return {*(fault.code for fault in self.faults), *of_whole}

    @property
    def cost(self) -> float:
        """How many mistakes it takes; a loss that it leaves unexplained counts as one more."""
        groups = self._groups
        second = sum(fault.besides is not None for fault in self.faults)
        return len(self.faults) + second + sum(groups.values()) + (0 if self.loss_matches else 0.6)

    @property
    def rank(self) -> float:
        exchanged = 2.0 * self.exchanged
        groups = 0.9 * len(self._groups)
        return self.cost * 10 + sum(fault.rank for fault in self.faults) + groups + (not self.named) + exchanged

    @property
    def exchanged(self) -> bool:
        """Whether some gradient is another parameter's, which a rule broken on the way may tell better."""
        return any(one.kind == OTHER for one in self.transforms.values())


def evaluate(case: Case, model: Model | None, faults: Sequence[Fault]) -> Explanation | None:
    """What these faults reproduce of the candidate; None where the reference cannot run with them."""
    if not faults:
        gradients, loss = case.truth.gradients, case.truth.loss
    else:
        result = run(model, faults) if model is not None else None
        if result is None:
            return None
        gradients, loss = result
    matched, transforms = [], {}
    for name, ours in case.gradients.items():
        predicted = gradients[name]
        if case.agrees(name, ours, predicted):
            matched.append(name)
        elif np.all(np.isfinite(predicted)):
            if faults and not case.agrees(name, predicted, case.truth.gradients[name]):
                transform = find_transform(case, name, ours, predicted, only_named=True)
            else:  # no rule acts on it
                transform = _of_the_right_one(case, name)
            if transform is not None:
                transforms[name] = transform
    transforms = averaged(case, transforms)
    unmatched = set(case.gradients) - set(matched) - set(transforms)
    changes_loss = any(not fault.local for fault in faults)
    expected = loss if changes_loss else case.truth.loss
    fits = case.loss is None or case.agrees("", case.loss, expected)
    if not fits and transforms and not matched:
        factors = [one.factor for one in transforms.values()]
        fits = np.allclose(factors, factors[0], rtol=1e-9) and case.agrees("", case.loss, expected * factors[0])
    fits = fits or (not changes_loss and _weighted_loss(case, faults))
    fits = fits or (model is not None and any(_other_loss(case, model.tape, fault) for fault in faults))
    outcome = None if model is None or not faults else Outcome(model.tape, gradients)
    return Explanation(case, tuple(faults), transforms, frozenset(matched), frozenset(unmatched), fits, outcome)


def _of_the_right_one(case: Case, name: str) -> Transform | None:
    """What was done to the right gradient of a parameter; told once for all rules."""
    if name not in case.known:
        case.known[name] = find_transform(case, name, case.gradients[name], case.truth.gradients[name])
    found: Transform | None = case.known[name]
    return found


def _other_loss(case: Case, tape: Tape, fault: Fault) -> bool:
    """Whether the loss is that of the criterion whose gradient the fault propagates back."""
    loss = None if fault.other_loss is None else fault.other_loss(tape)
    return loss is not None and case.agrees("", case.loss, loss)


def _weighted_loss(case: Case, faults: Sequence[Fault]) -> bool:
    """Whether the loss has the same term weights as the gradient."""
    weights = {fault.term: fault.constant or 0.0 for fault in faults if fault.term is not None}
    if not weights:
        return False
    total = sum(value * weights.get(name, 1.0) for name, value in case.truth.terms.items())
    return case.agrees("", case.loss, total)
