"""Which broken rules give exactly the candidate's numbers? Outward from the loss, the fewest rules first."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import combinations, islice
from typing import TypeVar

import numpy as np
import torch

from gradproof.case import Case
from gradproof.diagnosis import divergence, fitted_constants, shorter
from gradproof.diagnosis.changes import Rules, Slip
from gradproof.diagnosis.clock import Clock
from gradproof.diagnosis.confirmation import TIE, Confirmation
from gradproof.diagnosis.constants import named
from gradproof.diagnosis.explanation import Explanation, evaluate
from gradproof.diagnosis.factors import Factors
from gradproof.diagnosis.fault import Fault, Model, run
from gradproof.diagnosis.own_lines import own_lines
from gradproof.diagnosis.pairs import Pairs
from gradproof.diagnosis.proposals import Proposals
from gradproof.diagnosis.repairs import Repairs
from gradproof.diagnosis.shadows import Shadows, cast
from gradproof.diagnosis.survey import Survey

T = TypeVar("T")

SEARCH_SECONDS = float(os.environ.get("GRADPROOF_SEARCH_SECONDS", "10"))  # how long one diagnosis may search
DEEPEST = 3  # rules broken at once
MANY = ("different-function", "wrong-operand", "wrong-scale")  # codes of which two need not be of one kind
LIKELY_PAIRED, FEW_PAIRED, MOST_PAIRED = 300, 1000, 4000  # rules of which all pairs are looked at, first the likeliest
LIKELIEST = 1.12  # the rank up to which rules are tried where each try is a full run
REPEATED = 1.25  # the same for single rules
LIKELY = 1.36  # the rank up to which rules are tried where that takes long
PLAUSIBLE = 1.7  # the rank up to which the same mistake may have been made at each parameter
FIRST, MOST = 16, 256  # rules that are looked at together: few where one of the first may be the one
PLAIN = 22.1  # the rank of an explanation by two rules up to which no other array is looked for
FAR_FETCHED = 11.78  # the rank of one by another array from which on it is no better than two rules
MOST_FITTING = 40  # other arrays that are tried in full
FEWER_SHARE = 0.15  # of the time, for the same over fewer steps
OTHERWISE_SHARE = 0.12  # for other programs of the same function
FITTED_SHARE = 0.25  # for constants and functions that the loss tells
NEAR_SHARE = 0.4  # of the time, for single rules, before anything else is looked at
REPAIR_SHARE = 0.4  # for changes of the candidate's own code
SIMPLER_SHARE = 0.15  # for one change of it, where several rules are known to do
FULL_SHARE = 0.06  # for rules on top of what has no shadows, each of which is run in full
LINES_SHARE = 0.05  # for the line of the candidate's own code that holds what a rule tells
OWN_SHARE = 0.35  # for the way back of another forward pass
PASS_SHARE, MOST_PASSES = 0.25, 2  # for the way back through another forward pass, and how many of these are looked at
SINGLE_SHARE = 0.35  # of the time, for single rules each of which takes a full run
BEAM = 6  # partial explanations that are followed up


@dataclass(frozen=True)
class Found:
    """What a search came to: explanations that agree equally well, the simplest first; and what it covered."""

    explanations: tuple[Explanation, ...]
    tried: int
    cut: bool
    broken_off: str = ""  # the error that ended it, which is a defect of this package
    suspects: tuple[str, ...] = ()  # the lines of the candidate's code on which nothing right depends
    lines: Mapping[int, Slip] = field(default_factory=dict)  # where a mistake is in that code, by its position


def search(case: Case) -> Found:
    """The simplest explanations of a candidate's gradients, confirmed on fresh inputs."""
    clock = Clock(SEARCH_SECONDS)
    tried = 0
    suspects: tuple[str, ...] = ()
    search = None
    with _one_thread(), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # of torch, about what the reader has not written; nor is a reference heard
        case = case.searchable or case
        confirmed = Confirmation(case)
        nothing = _nothing(case)
        found = [nothing] if nothing.complete and nothing.transforms and confirmed.holds(nothing) else []
        if found and found[0].cost <= 1 and found[0].named and not found[0].exchanged:
            return Found(tuple(found), 0, False, lines=_lines(Repairs(case, clock, confirmed), found[0], clock))
        if case.tape is not None:
            search = _Search.of(case, clock, confirmed)
            found += search.found()
            tried = search.proposals.count
            suspects = () if found else search.suspects()
        elif case.reference is not None:
            by_code, suspects = _by_code_alone(case, clock, confirmed)
            found += by_code
        found.sort(key=lambda one: one.rank)
        best = confirmed.best(found)
        repairs = Repairs(case, clock, confirmed) if search is None else search.repairs
        lines = _lines(repairs, best[0], clock) if best else {}
        return Found(tuple(best), tried, clock.cut, clock.broken_off, suspects, lines)


def _lines(repairs: Repairs, best: Explanation, clock: Clock) -> dict[int, Slip]:
    """Where in the candidate's own code the mistakes are."""
    with clock.part(LINES_SHARE):
        try:
            return {} if clock.over() else own_lines(repairs, best)
        except Exception as error:  # of code that nobody has thought of
            clock.break_off(error)
            return {}


def _by_code_alone(case: Case, clock: Clock, confirmed: Confirmation) -> tuple[list[Explanation], tuple[str, ...]]:
    """By changes of the candidate's code, where the reference cannot be taken apart, as an `autograd.Function` cannot.

    And the suspects, where there are none.
    """
    repairs = Repairs(case, clock, confirmed)
    try:
        for stage in (repairs.likely, repairs.unlikely, repairs.several):
            found = stage()
            if found or clock.over():
                return found, ()
        return [], tuple(repairs.own.suspects())
    except Exception as error:  # of code that nobody has thought of
        clock.break_off(error)
        return [], ()


def _nothing(case: Case) -> Explanation:
    """What no broken rule explains: whole gradients times a constant, or rearranged."""
    nothing = evaluate(case, None, ())
    assert nothing is not None
    return nothing


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Small operations are faster on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass
class _Search:
    """One search among the broken rules of a reference."""

    case: Case
    model: Model
    clock: Clock
    confirmed: Confirmation
    nothing: Explanation
    whole: bool = True  # whether it may look at fewer steps
    _losses: dict[Fault, float | None] = field(default_factory=dict)  # of other forward passes
    _by_several_over_fewer: list[Explanation] = field(default_factory=list)  # what several rules do over fewer steps
    _by_several_behind: list[Explanation] = field(default_factory=list)  # what several do behind another forward pass
    _of_steps: list[Explanation] = field(default_factory=list)  # what explains the same over fewer steps
    _partial: list[Explanation] = field(default_factory=list)  # what single rules make right
    _far_fetched_found: bool = False  # whether those that were left out at first make anything right
    _stuck: list[Explanation] = field(default_factory=list)  # what explains some parameters, and no more was found to
    _but_for_the_loss: list[Explanation] = field(default_factory=list)  # what explains the gradient of a wrong loss

    @classmethod
    def of(cls, case: Case, clock: Clock, confirmed: Confirmation, whole: bool = True) -> _Search:
        assert case.tape is not None
        assert case.program is not None
        return cls(case, Model(case.program, case.problem, case.tape), clock, confirmed, _nothing(case), whole)

    def found(self) -> list[Explanation]:
        """The simplest explanations; of a wrong loss as well, where one mistake makes both."""
        complete = self._found()
        if not complete or any(one.loss_matches for one in complete):
            return complete
        return self._fitted_constants() or self._repaired_both() or complete

    def _found(self) -> list[Explanation]:
        """Explanations by one rule; if there is none, by more of them, or by changes of the candidate's code."""
        complete = self._by_one_likely_rule()
        if complete and min(one.cost for one in complete) < 2:
            return self._of_the_zeros() or complete
        complete += self._again_and_again() or self._fitted_constants() or self._outwards(REPEATED)
        return self._or_simpler(complete) if complete else self._by_one_stage_after_the_other()

    def _by_one_likely_rule(self) -> list[Explanation]:
        """By one rule before wrong parameters, or before right ones that it happens not to change."""
        with self.clock.part(NEAR_SHARE if self.whole else 1.0):
            self._partial, complete = self._by_one_rule(self.proposals.near)
        return complete or self._elsewhere(0.0, REPEATED)

    @cached_property
    def _repaired(self) -> list[Explanation]:
        """By one small change of the candidate's own code."""
        return self._by_changes(self.repairs.likely) if self.whole else []

    def _of_the_zeros(self) -> list[Explanation]:
        """By one change, where nothing comes through: any broken rule by which nothing does gives these numbers."""
        if not self.case.loss_is_right or not all(map(self._is_nothing, self.case.wrong)):
            return []
        with self.clock.part(SIMPLER_SHARE):
            return self._repaired

    def _is_nothing(self, name: str) -> bool:
        """Whether a gradient is zero, or that of a penalty on the parameter and no more."""
        ours = self.case.gradients[name]
        penalties = [one[name].numpy() for one in self.survey.penalties.values() if name in one]
        return not np.any(ours) or any(self.case.agrees(name, ours, one) for one in penalties)

    def _repaired_both(self) -> list[Explanation]:
        """By one change that makes a wrong loss right as well, where one broken rule tells the gradient alone."""
        with self.clock.part(SIMPLER_SHARE):
            return self._repaired or self._repaired_otherwise

    def _repaired_over_fewer_steps(self) -> list[Explanation]:
        rules = self.rules if self._shorter else None
        if rules is None:
            return []
        inner = self._shorter[-1]  # with a single step, what acts on the state before is hidden: it is often zero
        return self._by_changes(lambda: self.repairs.over_fewer_steps(inner.case, inner.rules, rules))

    @cached_property
    def _repaired_otherwise(self) -> list[Explanation]:
        """By one that is more far-fetched."""
        return self._by_changes(self.repairs.unlikely) if self.whole else []

    def _of_another_loss(self) -> list[Explanation]:
        """Of a candidate whose gradient belongs to its own wrong loss: a change that makes the loss right."""
        if not self.whole or not self.proposals.of_another_loss:
            return []
        return self._by_changes(lambda: self.repairs.of_the_loss(belonging=True))

    def _in_part_or_otherwise(self) -> list[Explanation]:
        """By such a change and another mistake, unless there is one rule that does: that takes longer.

        Where one gradient alone is wrong, two mistakes are less likely than one that is far-fetched, and come later.
        """
        in_part = [] if self._one_is_wrong else self._repaired_in_part
        if any(one.cost < 2 for one in in_part):
            return in_part
        otherwise = [] if self.clock.over() else self._by_one_rule_otherwise()
        return in_part if in_part and all(one.cost >= 2 for one in otherwise) else otherwise

    @property
    def _one_is_wrong(self) -> bool:
        return len(self.case.wrong) == 1 and self.case.loss_is_right

    @cached_property
    def _repaired_in_part(self) -> list[Explanation]:
        """By such a change and another mistake."""
        rules = self.rules if self.whole else None
        return [] if rules is None else self._by_changes(lambda: self.repairs.with_others(rules))

    def _repaired_beside_rules(self) -> list[Explanation]:
        """By such a change and several rules, each of which acts on parameters of its own."""
        return self._by_changes(lambda: self.repairs.beside(self._stuck, self.model)) if self.whole else []

    @cached_property
    def rules(self) -> Rules | None:
        """The numbers of single broken rules; None where they cannot be had."""
        return None if self.shadows is None else Rules(self.model, self.shadows, self.proposals.near, self.clock.over)

    def suspects(self) -> tuple[str, ...]:
        """The lines of the candidate's code that are to be looked at where no explanation was found."""
        return tuple(self._by_changes(self.repairs.own.suspects))

    def _by_changes(self, of_code: Callable[[], list[T]]) -> list[T]:
        """Code that nobody has thought of does not stop the rest of the search."""
        try:
            with self.clock.part(REPAIR_SHARE):
                return of_code()
        except Exception as error:
            self.clock.break_off(error)
            return []

    @cached_property
    def repairs(self) -> Repairs:
        return Repairs(self.case, self.clock, self.confirmed)

    def _by_one_rule_of_own_function(self) -> list[Explanation]:
        """The same by one rule of the candidate's own function, where no one mistake that is more far-fetched does.

        Where the reference holds something constant, so may the candidate, and torch would tell it as left out.
        """
        if self.model.tape.holds_something:
            return []
        return self._unless_one_does([one for one in self._of_own_function(at_length=False) if one.cost < 3])

    def _of_own_function(self, at_length: bool = True) -> list[Explanation]:
        """Of a candidate whose gradient is not even that of its own, wrong loss: what is wrong on the way back.

        With the place where its forward pass parts with the reference; what lacks that is only noted.
        """
        if not self.whole or self.case.loss_is_right or self.proposals.belongs:
            return []
        inner = self._beside_own_function
        if inner is None:
            return []
        look = inner.found if at_length else inner._by_one_likely_rule
        with self.clock.part(OWN_SHARE if at_length else PASS_SHARE):
            complete = look() if inner.case.wrong else [inner.nothing]
        found = [one for one in sorted(complete, key=lambda one: one.rank) if inner.confirmed.holds(one)]
        parting = self._parting if found else None
        forward = () if parting is None else (parting,)
        held = forward and self.model.tape.holds_something  # which the candidate may hold as well
        rules = [tuple(rule for rule in one.faults if not held or rule.code != "missing-path") for one in found]
        both = [
            replace(one, faults=(*of_one, *forward), loss_matches=parting is not None)
            for one, of_one in zip(found, rules, strict=True)
        ]
        both = [one for one in both if one.faults and (not forward or self.repairs.mended_by(one.faults))]
        self.confirmed.known.update({id(one): (one, True) for one in both})
        if forward:
            return both
        self._but_for_the_loss = both
        return []

    @cached_property
    def _beside_own_function(self) -> _Search | None:
        """The search beside the derivative of the candidate's own loss, if that can be had."""
        own = self.case.of_own_function
        return None if own is None else _Search.of(own, self.clock, Confirmation(own, self.confirmed.known))

    @cached_property
    def _parting(self) -> Fault | None:
        """Where a candidate's forward pass parts with the reference."""
        parting = divergence.parting(self.case, self.confirmed.fresh, self.clock.over)
        if parting is not None:
            return parting
        changes = self._by_changes(self.repairs.of_the_loss)
        return changes[0].faults[0] if changes else None

    def _by_one_rule(self, faults: Sequence[Fault]) -> tuple[list[Explanation], list[Explanation]]:
        """What single rules make right, and what explains all of it: unlikely rules only where nothing else does."""
        singles = self._singles([one for one in faults if one.rank <= REPEATED or not one.local])
        complete = self._that_hold(singles)
        limit = min((one.faults[0].rank + TIE for one in complete if one.cost < 2), default=np.inf)
        further = self._singles([one for one in faults if one.local and REPEATED < one.rank <= limit])
        return singles + further, complete + self._that_hold(further)

    def _or_simpler(self, complete: list[Explanation]) -> list[Explanation]:
        """Explanations by several mistakes, or what tells the same by fewer."""
        changes_code = any(fault.change is not None for one in complete for fault in one.faults)
        with self.clock.part(SIMPLER_SHARE):
            plain = not changes_code and any(one.rank < PLAIN and not one.transforms for one in complete)
            one_change = self._repaired if not plain or all(one.cost >= 2 for one in complete) else []
            complete = one_change or ([] if plain else self._by_a_likely_array()) or complete
        if not plain and all(one.cost >= 2 for one in complete):
            with self.clock.part(SIMPLER_SHARE):  # one far-fetched slip is likelier than one and another mistake
                complete = self._repaired_otherwise or complete
        if all(one.cost >= 3 for one in complete):  # three mistakes are told where no two will do
            complete = complete + (self._behind_another_forward_pass or self._in_pairs(FEW_PAIRED))
        if all(one.cost >= 3 for one in complete):
            with self.clock.part(SIMPLER_SHARE):
                complete = complete + self._repaired_in_part
        return complete

    def _by_one_stage_after_the_other(self) -> list[Explanation]:
        """Until there is an explanation or no more time; at last, what fewer steps told."""
        stages: tuple[Callable[[], list[Explanation]], ...] = (
            self._over_fewer_steps,
            self._between_steps,
            self._of_another_loss,
            self._repaired_over_fewer_steps,
            lambda: self._repaired,
            lambda: self._behind_another_forward_pass,
            self._by_one_rule_of_own_function,
            self._far_fetched,
            lambda: self._another_forward_pass(0.0, REPEATED),
            lambda: self._outwards(REPEATED) if self._far_fetched_found else [],
            lambda: [] if self._one_is_wrong else self._in_likely_pairs(),
            self._in_pairs_over_fewer_steps,
            self._in_pairs_elsewhere,
            self._behind_a_fitted_constant,
            self._in_part_or_otherwise,
            lambda: self._by_another_array,
            lambda: self._repaired_otherwise,
            lambda: self._in_likely_pairs() if self._one_is_wrong else [],
            lambda: self._repaired_in_part if self._one_is_wrong else [],
            self._of_own_function,
            lambda: self._by_several_over_fewer,
            lambda: self._outwards(np.inf),
            self._by_several_rules_otherwise,
            self._other_factors_on_top,
            self._both_in_a_loop,
            lambda: self._elsewhere(REPEATED, np.inf),
            lambda: self._in_pairs(FEW_PAIRED),
            lambda: self._in_pairs(MOST_PAIRED),
            self._repaired_beside_rules,
            self._in_threes,
            self._other_factors_behind,
            lambda: self._another_forward_pass(REPEATED, np.inf),
        )
        for stage in stages:
            complete = stage()
            if complete:
                return self._or_simpler(complete) if all(one.cost >= 2 for one in complete) else complete
            if self.clock.over():
                break
        return self._but_for_the_loss or self._by_several_over_fewer or self._by_several_behind

    def _that_hold(self, found: Iterable[Explanation]) -> list[Explanation]:
        """Those that explain all parameters, on fresh inputs as well."""
        return [one for one in found if one.complete and self._are_different(one) and self.confirmed.holds(one)]

    def _are_different(self, one: Explanation) -> bool:
        """Whether no two of the broken rules do the same: one mistake that is made twice over is none of anybody's."""
        if len(one.faults) < 2:
            return True
        alone = [run(self.model, (fault,)) for fault in one.faults]
        known = [found[0] for found in alone if found is not None]
        return not any(
            all(np.allclose(a[name], b[name], rtol=1e-9, atol=0.0) for name in a) for a, b in combinations(known, 2)
        )

    def _singles(self, faults: Sequence[Fault]) -> list[Explanation]:
        return list(self._on_top_of((), faults, self.order, self.shadows, hasty=True))

    @cached_property
    def shadows(self) -> Shadows | None:
        return cast(self.case, self.model.tape)

    @cached_property
    def survey(self) -> Survey:
        return Survey(self.model.tape, self.model.problem)

    @cached_property
    def proposals(self) -> Proposals:
        return Proposals(self.case, self.survey, self.clock, self.shadows)

    @cached_property
    def factors(self) -> Factors:
        return Factors(self.survey)

    @cached_property
    def order(self) -> list[str]:
        """The wrong parameters, the one that is used nearest to the loss first."""
        tape = self.model.tape
        last = {name: max(tape.consumers.get(value, [-1])) for name, value in tape.parameters.items()}
        return sorted(self.case.wrong, key=lambda name: -last[name])

    def _takes_long(self, fault: Fault) -> bool:
        """Whether a rule is none of the likeliest, and what it does is told by a full run only."""
        shadows = self.shadows
        return shadows is not None and fault.rank > REPEATED and fault.local and shadows.of_none(fault)

    def _over_fewer_steps(self) -> list[Explanation]:
        """What the same comparison over fewer steps comes to."""
        for inner in self._shorter:
            states = self._as_over_fewer(inner)
            complete = self._that_hold(states)
            if complete:
                self._by_several_over_fewer = complete
                return [one for one in complete if one.cost < 2]
            self._of_steps += states
        return []

    @cached_property
    def _shorter(self) -> list[_Search]:
        """The searches in the same comparison over fewer steps."""
        cases = shorter.cases(self.case, self.clock.over) if self.whole else ()
        return [_Search.of(case, self.clock, Confirmation(case), whole=False) for case in cases]

    def _between_steps(self) -> list[Explanation]:
        """On top of what fewer steps came to, one rule more, which acts between the steps."""
        with self.clock.part(FEWER_SHARE):
            for state in self._of_steps:
                above = None if self.shadows is None else self.shadows.after(state.faults)
                if self.clock.over() or above is None:
                    break
                left = [name for name in self.order if name not in state.matched]
                found = self._on_top_of(state.faults, self.proposals.likely, left, above, hasty=True)
                complete = self._that_hold(found)
                if complete:
                    return complete
        return []

    def _as_over_fewer(self, inner: _Search) -> list[Explanation]:
        """What explains the comparison over fewer steps, with the same rules broken in the whole of it."""
        with self.clock.part(FEWER_SHARE):
            found = sorted(inner.found(), key=lambda one: one.rank)
        states = []
        for one in found[:BEAM]:
            for faults in shorter.counterparts(one.faults, self.proposals.likely):
                made = evaluate(self.case, self.model, faults)
                states += [made] if made is not None else []
        return sorted(states, key=lambda one: (not one.complete, -len(one.matched), one.rank))[:BEAM]

    @cached_property
    def _otherwise(self) -> list[_Search]:
        """The searches in which other programs stand for the same function. All remember which explanations hold."""
        cases = self.case.otherwise if self.whole else ()
        return [_Search.of(case, self.clock, Confirmation(case, self.confirmed.known), False) for case in cases]

    def _by_one_rule_otherwise(self) -> list[Explanation]:
        """By a rule that the reference may not have: within a fused loss, or of the candidate's own forward pass."""
        for inner in self._otherwise:
            with self.clock.part(OTHERWISE_SHARE):
                likely = [one for one in inner.proposals.further if one.rank <= PLAUSIBLE]
                complete = inner._by_one_rule(likely)[1]
            if complete:
                return complete
        return []

    def _by_several_rules_otherwise(self) -> list[Explanation]:
        """By such a rule and others."""
        for inner in self._otherwise:
            with self.clock.part(OTHERWISE_SHARE):
                inner._partial = inner._singles(inner.proposals.further)
                complete = inner._outwards(REPEATED) or inner._in_pairs(FEW_PAIRED)
            if complete:
                return complete
        return []

    def _elsewhere(self, above: float, limit: float) -> list[Explanation]:
        """By a single rule of some rank that lies before right parameters as well, and happens not to change them."""
        partial, complete = self._by_one_rule([one for one in self.proposals.far if above < one.rank <= limit])
        self._partial += partial
        return complete

    def _far_fetched(self) -> list[Explanation]:
        """The single rules that were left out at first: each takes a full run, and is unlikely."""
        faults = [one for one in self.proposals.near if self._takes_long(one)]
        with self.clock.part(SINGLE_SHARE):
            found = list(self._on_top_of((), faults, self.order, self.shadows))
        self._partial += found
        self._far_fetched_found = bool(found)
        return self._that_hold(found)

    def _fitted_constants(self) -> list[Explanation]:
        """Of a candidate whose gradient belongs to its own wrong loss: another constant, whatever it is."""
        if not self.proposals.of_another_loss:
            return []
        with self.clock.part(FITTED_SHARE):
            faults = list(fitted_constants.faults(self.survey, self.case, self.clock.over))
        found = self._that_hold(self._on_top_of((), faults, self.order, None))
        if found or not self.whole:
            return found
        with self.clock.part(FITTED_SHARE):
            faults = list(divergence.faults(self.case, self.clock.over))
        return self._that_hold(self._on_top_of((), faults, self.order, None))

    def _another_forward_pass(self, above: float, limit: float) -> list[Explanation]:
        """Of a candidate whose loss is right: that only its gradient is another function's."""
        if not self.case.forward_is_right:
            return []
        faults = [one for one in self.proposals.of_another_forward_pass if above < one.rank <= limit]
        return self._that_hold(self._on_top_of((), faults, self.order, self.shadows))

    @cached_property
    def _behind_another_forward_pass(self) -> list[Explanation]:
        """Of a candidate whose gradient is not even its own wrong loss's: a forward pass with that loss, and the rest.

        The rest is what is wrong on the way back through that other forward pass.
        """
        others = (one for one in self.proposals.near if not one.local and self._gives_the_loss(one))
        return self._behind_the_first_of(others) if self._has_neither_loss else []

    def _behind_a_fitted_constant(self) -> list[Explanation]:
        """The same with a forward pass that has another constant, or another function times one: the loss tells it."""
        if not self._has_neither_loss:
            return []
        with self.clock.part(FITTED_SHARE):
            fitted = fitted_constants.faults(self.survey, self.case, self.clock.over)
            others = list(islice(filter(self._has_the_loss, fitted), MOST_PASSES))
        return self._behind_the_first_of(others)

    @property
    def _has_neither_loss(self) -> bool:
        """Whether the gradient is neither the reference's loss's nor its own."""
        return self.whole and not (self.case.forward_is_right or self.case.loss is None or self.proposals.belongs)

    def _behind_the_first_of(self, others: Iterable[Fault]) -> list[Explanation]:
        """What is wrong on the way back through the first forward passes that have the candidate's loss."""
        for forward in islice(filter(self._has_the_loss, others), MOST_PASSES):
            hooked = bool(forward.nodes or forward.values)
            with self.clock.part(PASS_SHARE):
                both = self._behind_with_its_own_rules(forward) if hooked else self._behind(forward)
            two = [one for one in both if one.cost < 3]
            if two:
                return self._unless_one_does(two)
            self._by_several_behind += both
        return []

    def _behind(self, forward: Fault) -> list[Explanation]:
        """A forward pass, and what is found beside its function as beside a reference."""
        case = self.case.of_another(partial(self.model.function, forward))
        if case is None or not case.wrong:
            return []
        inner = _Search.of(case, self.clock, Confirmation(case, self.confirmed.known))
        complete = [one for one in inner.found() if one.loss_matches and inner.confirmed.holds(one)]
        both = [replace(one, case=self.case, faults=(forward, *one.faults)) for one in complete]
        self.confirmed.known.update({id(one): (one, True) for one in both})
        return both

    def _behind_with_its_own_rules(self, forward: Fault) -> list[Explanation]:
        """A forward pass that says itself how it is gone back through, and one of the likeliest rules."""
        likely = [one for one in self.proposals.near if one.local and one.rank <= REPEATED]
        return self._that_hold(self._on_top_of((forward,), likely, self.order, None))

    def _has_the_loss(self, forward: Fault) -> bool:
        """Whether a forward pass that can be gone back through has the candidate's loss, on fresh inputs as well."""
        if forward.custom is not None or forward.forward_only:
            return False
        cases = [self.case, *([] if self.confirmed.fresh is None else [self.confirmed.fresh])]
        tapes = [(case, self.model.function(forward, case.problem)) for case in cases]
        return all(tape is not None and case.agrees("", case.loss, tape.loss()) for case, tape in tapes)

    def _on_top_of(
        self,
        before: tuple[Fault, ...],
        faults: Sequence[Fault],
        order: Sequence[str],
        shadows: Shadows | None,
        hasty: bool = False,
    ) -> Iterator[Explanation]:
        """Each fault on top of those before, where it is promising; with a constant, also the one that fits.

        In haste, what takes long and is unlikely is left for later.
        """
        simplest = np.inf
        ahead, size = 0, FIRST
        for i, fault in enumerate(faults):
            if self.clock.over() or fault.rank > simplest + TIE:
                return
            if i == ahead and shadows is not None:
                ahead, size = ahead + size, min(2 * size, MOST)
                shadows.run([one for one in faults[i:ahead] if not (hasty and self._takes_long(one))])
            if fault in before or (hasty and self._takes_long(fault)) or not self._gives_the_loss(fault):
                continue
            made = []
            if shadows is None or shadows.promising(fault):
                made.append(evaluate(self.case, self.model, (*before, fault)))
                if fault.one_way is not None and not self.case.loss_is_right and not _explains(made[0]):
                    made.append(evaluate(self.case, self.model, (*before, fault.one_way)))
            if fault.ends is not None and _may_fit(fault, shadows):
                made.append(_fit(self.case, self.model, fault, before, order))
            for one in made:
                if one is not None:
                    yield one
                    if one.complete and one.cost < len(before) + 2 and self.confirmed.holds(one):
                        simplest = min(simplest, fault.rank)

    def _gives_the_loss(self, fault: Fault) -> bool:
        """Whether another forward pass gives the candidate's loss, where that is wrong; up to a known factor."""
        case = self.case
        if not fault.consistent or case.loss is None or case.loss_is_right:
            return True
        if fault not in self._losses:
            self._losses[fault] = self._loss_with(fault)
        loss = self._losses[fault]
        if loss is None:
            return False
        return case.agrees("", case.loss, loss) or bool(loss and named(case.loss / loss, case.problem) is not None)

    def _loss_with(self, fault: Fault) -> float | None:
        """The loss of another forward pass, or of the same on other inputs; None where it cannot be had."""
        if fault.custom is not None:
            found = fault.custom(self.model)
            return None if found is None else found[1]
        if fault.inputs is not None:
            problem = fault.inputs(self.case.problem)
            answer = None if problem is None else self.model.answer(problem)
            return None if answer is None else answer.loss
        other = self.model.tape.replay(fault.forward, fault.rewired)
        return None if other is None else other.loss()

    def _outwards(self, limit: float) -> list[Explanation]:
        """Explain what is nearest to the loss, keep what explains it, and go on from there with rules up to a rank."""
        changes = {one.faults[0]: one.changed for one in self._partial if len(one.faults) == 1}
        complete: list[Explanation] = []
        frontier, states = [self.nothing], self._partial
        for _ in range(DEEPEST - 1):
            frontier = _progress(states, frontier)
            self._stuck = frontier or self._stuck
            states = []
            for state in frontier:
                left = [name for name in self.order if name not in state.matched]
                likely = [fault for fault in self.proposals.sparing(state.matched) if fault.rank <= limit]
                useful = [fault for fault in likely if fault not in changes or set(left) & changes[fault]]
                above = None if self.shadows is None else self.shadows.after(state.faults)
                if above is None:  # each has to be run in full
                    useful = [fault for fault in useful if fault.rank <= LIKELY]
                with self.clock.part(FULL_SHARE if above is None else 1.0):
                    found = list(self._on_top_of(state.faults, useful, left, above, hasty=True))
                states += found
                complete += self._that_hold(found)
                if any(fault.rank <= REPEATED for one in complete for fault in one.faults[-1:]):
                    break  # what explains less by itself leads to nothing simpler
            if complete or self.clock.over():
                break
        return complete

    def _other_factors(self, below: Explanation) -> list[Explanation]:
        """Another array where a derivative belongs, on top of others."""
        left = [name for name in self.order if name not in below.matched]
        base = None if self.shadows is None else self.shadows.after(below.faults)
        if base is None or self.clock.over():
            return []
        fitting = sorted(self.factors.fitting(base, left), key=lambda fault: fault.rank)
        found = self._on_top_of(below.faults, fitting[:MOST_FITTING], left, base)
        return [one for one in found if not one.complete or self.confirmed.holds(one)]

    @cached_property
    def _by_another_array(self) -> list[Explanation]:
        """Another array where a derivative belongs."""
        others = self._other_factors(self.nothing)
        self._partial += others
        complete = [one for one in others if one.complete]
        return [one for one in complete if one.rank < FAR_FETCHED] or complete

    def _by_a_likely_array(self) -> list[Explanation]:
        return [one for one in self._by_another_array if one.rank < FAR_FETCHED]

    def _other_factors_on_top(self) -> list[Explanation]:
        found = [one for below in self._stuck[:2] for one in self._other_factors(below)]
        return [one for one in found if one.complete]

    def _other_factors_behind(self) -> list[Explanation]:
        """Another array where a derivative belongs, behind one of the likeliest rules: both change a parameter."""
        for fault in self.proposals.near:
            if self.clock.over() or fault.rank > LIKELIEST or self.shadows is None:
                break
            touched = self.shadows.changes(fault) if fault.local else set()
            below = evaluate(self.case, self.model, (fault,)) if self.order and self.order[0] in touched else None
            complete = [] if below is None else [one for one in self._other_factors(below) if one.complete]
            if complete:
                return complete
        return []

    def _again_and_again(self) -> list[Explanation]:
        """One kind of mistake made at each wrong parameter: all weights of an LSTM assigned where they add up."""
        by_code: dict[str, dict[str, Explanation]] = {}
        for one in self._partial:
            likely = len(one.faults) == 1 and one.faults[0].rank <= PLAUSIBLE and one.faults[0].code not in MANY
            if likely and len(one.changed) == 1 and one.changed <= one.matched:
                best = by_code.setdefault(one.faults[0].code, {})
                best.setdefault(min(one.changed), one)
        complete = []
        for best in by_code.values():
            if best.keys() == set(self.case.wrong):
                together = evaluate(self.case, self.model, [one.faults[0] for one in best.values()])
                if together is not None and together.complete and self.confirmed.holds(together):
                    complete.append(together)
        return complete

    def _in_likely_pairs(self) -> list[Explanation]:
        """Two of the likeliest rules, where no one mistake that is more far-fetched does."""
        if not self.whole:
            return []
        pairs = self._pairs(self.nothing, (), LIKELY_PAIRED)
        return self._unless_one_does([one for one in pairs if one.complete and one.cost < 3])

    def _in_pairs_over_fewer_steps(self) -> list[Explanation]:
        """Two rules that fewer steps told, where no one mistake that is more far-fetched does."""
        return self._unless_one_does([one for one in self._by_several_over_fewer if one.cost < 3])

    def _in_pairs_elsewhere(self) -> list[Explanation]:
        """On top of what explains some parameters, a rule that lies before right ones and happens not to change them.

        Of a transformer whose loss sees one token, say, a residual branch changes no other token's way.
        """
        found: list[Explanation] = []
        with self.clock.part(SINGLE_SHARE):
            for state in self._stuck[:2]:
                above = None if self.shadows is None else self.shadows.after(state.faults)
                if above is not None and not self.clock.over():
                    left = [name for name in self.order if name not in state.matched]
                    likely = [one for one in self.proposals.elsewhere(state.matched) if one.rank <= REPEATED]
                    found += self._that_hold(self._on_top_of(state.faults, likely, left, above, hasty=True))
        return self._unless_one_does([one for one in found if one.cost < 3])

    def _unless_one_does(self, complete: list[Explanation]) -> list[Explanation]:
        """Explanations by two mistakes, or what is more far-fetched and tells the same by one."""
        if not complete:
            return []
        with self.clock.part(SIMPLER_SHARE):
            simpler = self._by_one_rule_otherwise()
        with self.clock.part(SIMPLER_SHARE):
            return simpler or self._repaired_otherwise or complete

    def _in_pairs(self, most: int) -> list[Explanation]:
        """Two rules at once, wherever they are: alone, and on top of a rule that explains some parameter by itself."""
        for below in (self.nothing, *self._stuck[:2]):
            if len(below.faults) + 2 > DEEPEST:
                continue
            complete = [one for one in self._pairs(below, (), most) if one.complete]
            if complete or self.clock.over():
                return complete
        return []

    def _in_threes(self) -> list[Explanation]:
        """Two rules that both change the parameter nearest to the loss, and one more for the rest."""
        if len(self.order) < 2:
            return []
        states = [one for one in self._pairs(self.nothing, self.order[:1], FEW_PAIRED) if self.order[0] in one.matched]
        states.sort(key=lambda one: (-len(one.matched), one.rank))
        complete: list[Explanation] = []
        for state in states[:BEAM]:
            left = [name for name in self.order if name not in state.matched]
            above = None if self.shadows is None else self.shadows.after(state.faults)
            if above is None or complete or self.clock.over():
                break
            likely = [one for one in self.proposals.sparing(state.matched) if one.rank <= LIKELY]
            complete += self._that_hold(self._on_top_of(state.faults, likely, left, above, hasty=True))
        return complete

    def _pairs(self, below: Explanation, names: Sequence[str], most: int) -> list[Explanation]:
        """The pairs on top of others that give the numbers of some parameters, or of all."""
        base = None if self.shadows is None else self.shadows.after(below.faults)
        if base is None:
            return []
        left = [name for name in self.order if name not in below.matched]
        faults = [one for one in self.proposals.sparing(below.matched) if one.local and one not in below.faults][:most]
        fitting = Pairs(base, self.case.problem, self.clock.over, names).found(faults)
        found: list[Explanation] = []
        for pair in fitting[:MOST_FITTING]:
            before = (*below.faults, pair.one)
            if pair.fitted:
                both = _fit(self.case, self.model, pair.other, before, left)
            else:
                both = evaluate(self.case, self.model, (*before, pair.other))
            if both is not None and (not both.complete or self._that_hold([both])):
                found.append(both)
        return found

    def _both_in_a_loop(self) -> list[Explanation]:
        """Two rules that each step of a recurrence breaks, and whose effect is therefore told by a full run only."""
        if self.shadows is None:
            return []
        repeated = [one for one in self.proposals.near if one.local and one.rank <= LIKELIEST and self._repeats(one)]
        for i, first in enumerate(repeated):
            above = self.shadows.after((first,))
            if self.clock.over() or self.clock.past(0.6):
                break
            if above is None:
                continue
            above.run(repeated[i + 1 :])
            for second in repeated[i + 1 :]:
                both = evaluate(self.case, self.model, (first, second)) if above.promising(second) else None
                if both is not None and both.complete and self.confirmed.holds(both):
                    return [both]
        return []

    def _repeats(self, fault: Fault) -> bool:
        return len(fault.nodes) + len(fault.values) > 1


def _explains(one: Explanation | None) -> bool:
    """Whether an explanation is complete, with nothing done to whole gradients besides."""
    return one is not None and one.complete and not one.transforms


def _may_fit(fault: Fault, shadows: Shadows | None) -> bool:
    return fault.ends is not None and (shadows is None or shadows.fits_a_constant(*fault.ends))


def _fit(case: Case, model: Model, fault: Fault, before: tuple[Fault, ...], order: Sequence[str]) -> Explanation | None:
    """The fault with the constant that the nearest wrong parameter asks for."""
    assert fault.scaled is not None
    assert fault.ends is not None
    results = [run(model, (*before, end)) for end in fault.ends]
    if results[0] is None or results[1] is None:
        return None
    (zero, _), (one, _) = results[0], results[1]
    for name in order:
        slope = one[name] - zero[name]
        size = float(np.max(np.abs(slope), initial=0.0))
        if size == 0.0 or not np.all(np.isfinite(slope)):
            continue
        scaled = slope / size
        constant = float(np.vdot(scaled, case.gradients[name] - zero[name]) / np.vdot(scaled, scaled)) / size
        if not np.isfinite(constant) or min(abs(constant - c) for c in (0.0, 1.0, -1.0)) < 1e-9:
            return None
        words = named(constant, case.problem, 1e-7)
        if not case.agrees(name, case.gradients[name], zero[name] + constant * slope):
            return None
        if words is None and np.count_nonzero(slope) < 4:
            return None
        exact = fault.scaled(constant)
        if exact is not None and constant < 0:  # a constant and a sign are two mistakes
            exact = replace(exact, besides=("wrong-sign", "and its sign is wrong"))
        return None if exact is None else evaluate(case, model, (*before, exact))
    return None


def _progress(states: list[Explanation], before: list[Explanation]) -> list[Explanation]:
    """The partial explanations that make more right than what they were built on, and nothing wrong that was right."""
    known = {state.faults: state for state in before}
    better, seen = [], set()
    for state in states:
        base = known.get(state.faults[:-1])
        if base is None or state.complete or not state.matched > base.matched:
            continue
        signature = () if state.outcome is None else state.outcome.signature
        if signature not in seen:
            seen.add(signature)
            better.append(state)
    better.sort(key=lambda state: (-len(state.matched), state.rank))
    return better[:BEAM]
