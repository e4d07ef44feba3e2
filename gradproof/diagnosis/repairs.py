"""Small changes of the candidate's own code that make its numbers right.

What no broken rule of the reference gives may still be a slip of writing: an index, a name, a bracket, a line too many.
Each small change of the candidate is tried for what it does. The one that mends all numbers, and again on other inputs,
is the mistake turned round (program repair by mutation: Debroy and Wong 2010).
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from gradproof.case import Case
from gradproof.diagnosis import penalties
from gradproof.diagnosis.changed_code import Ask, ChangedCode
from gradproof.diagnosis.changes import (
    LOOSE,
    LOSS,
    Answer,
    Rules,
    Slip,
    Trial,
    adding_up,
    alike,
    changed,
    different,
    is_right,
    what_is_wrong,
)
from gradproof.diagnosis.clock import Clock
from gradproof.diagnosis.confirmation import TIE, Confirmation, holds
from gradproof.diagnosis.explanation import Explanation, evaluate
from gradproof.diagnosis.fault import Fault, Model
from gradproof.diagnosis.midway import right_arrays
from gradproof.diagnosis.one_line import are_one
from gradproof.diagnosis.shorter import counterparts
from gradproof.own_code.edits import edits
from gradproof.own_code.relations import instead_of, is_another_step, moved_by_one, moved_in
from gradproof.own_code.running import OwnFunction
from gradproof.own_code.switches import Place
from gradproof.own_code.vocabulary import LIKELY, POSSIBLE

AT_ONCE = 2000  # changes that are compiled together
DEEPEST = 3  # changes made together
BEAM = 3  # states that are gone on from
MOST_OVER_FEWER = 12  # pairs of a change and a rule that are looked for in the whole
WRONG_ARRAYS = ("wrong-operand", "derivative-at-wrong-point")
WAY_SHARE = 0.15  # of the time, for what is right on the way
TWICE_SHARE = 0.1  # of the time, for the same change in two lines
MOST_PAIRS = 50  # of changes that add up to what is wanted
FEW_ALIKE = 3  # changes that come to the same, of which each is looked at
MOST_ALIKE = 40  # changes that come to the same over fewer steps, of which each is looked at in the whole

BELONGING = "Your {} and your gradient belong together, but to another function{}."


@dataclass
class Repairs:
    """The small changes of one candidate, and what they mend."""

    case: Case
    clock: Clock
    confirmed: Confirmation
    _cutting: set[Trial] = field(default_factory=set)  # those that cut off what counted

    @cached_property
    def own(self) -> ChangedCode:
        return ChangedCode(self.case)

    def likely(self) -> list[Explanation]:
        """By one change, the likeliest that mend everything, where nothing right depends on what is changed."""
        return self._told(self._mends_of(self._alone)) if self.own.quick is self.case else self._that_mend(self._likely)

    def unlikely(self) -> list[Explanation]:
        """By one change that is more far-fetched, or on which right gradients depend as well."""
        more = list(self.own.slips(self._is_more))
        less_likely = [one for one in self._within if one.rank > POSSIBLE and self._is_what_is_wrong(self.own.of(one))]
        in_turn = [one for one in more if one.rank <= LIKELY], less_likely, [one for one in more if one.rank > LIKELY]
        return next((found for found in map(self._that_mend, in_turn) if found), [])

    def of_the_loss(self, belonging: bool = False) -> list[Explanation]:
        """By one change that makes the loss right, whatever the gradient is then; or belonged to the loss before."""
        slips = self.own.slips(lambda depending: depending is None or LOSS in depending)
        likely = [one for one in slips if one.rank <= POSSIBLE]
        aim = frozenset({LOSS})
        found = self._mends_of(self._trials((), likely, aim, self.own.quick), aim)
        return self._told(found, note=self._belonging(found) if belonging and found else "")

    def _belonging(self, found: Sequence[tuple[Slip, ...]]) -> str:
        """That loss and gradient belong together; and that both are to be mended, where one line does not do."""
        everything = frozenset((LOSS, *self.case.gradients))
        both = self.mend(found[0], everything)
        return BELONGING.format(self.case.value, "" if both else ": mend both")

    def several(self) -> list[Explanation]:
        """By several changes, at last by some that are more far-fetched."""
        found = self._by_the_same_twice() or self._by_two_that_add_up() or self._on_top_of(self._small, self.case)
        if found or self.clock.over():
            return found
        further = [one for one in self._within if one.small]
        return self._on_top_of(list(self._trials((), further)), self.case, further)

    def with_others(self, rules: Rules) -> list[Explanation]:
        """By a change and a broken rule of the reference, or by several changes."""
        found = self._by_the_same_twice() or self._with_a_rule(self._small, rules)
        found = found or self._by_two_that_add_up() or self._on_top_of(self._small, self.case)
        if not found:
            with self.clock.part(WAY_SHARE):
                found = self._on_the_way(self._small, rules)
        if found or self.clock.over():
            return found
        # What is right by a coincidence, as a sum over what was exchanged is, may depend on the first of the changes.
        further = [one for one in self.own.slips(self._is_more) if one.small and one.rank <= LIKELY]
        trials = list(self._trials((), further))
        return self._told(self._mends_of(trials)) or self._on_top_of(trials, self.case)

    def beside(self, states: Sequence[Explanation], model: Model) -> list[Explanation]:
        """By a change that makes right what some rules leave wrong, and does nothing to what they explain."""
        for state in states:
            explained = state.matched.intersection(self.own.wrong)
            for trial in self._small if explained else ():
                untouched = explained.isdisjoint(changed(trial.answer, (self.case.loss, self.case.gradients)))
                if trial.wrong == explained and untouched and self.leaves(trial, state.faults, model):
                    return self._told([trial.slips], state.faults)
        return []

    def over_fewer_steps(self, case: Case, of_case: Rules | None, rules: Rules) -> list[Explanation]:
        """By changes that mend the same comparison over fewer steps, and then all of it; or by one and a broken rule.

        There each takes less time, and two in one loop act on different gradients.
        """
        trials = list(self._trials((), self._likely, case=case))
        small = [one for one in trials if one.slips[0].small]
        found = self._told(self._mends_of(trials))
        found = found or (self._with_a_rule_over_fewer(small, of_case, rules) if of_case else [])
        return found or self._on_top_of(small, case)

    def mended_by(self, faults: Sequence[Fault], case: Case | None = None) -> bool:
        """Whether the changes that some faults are make everything right together; true where one is none.

        Also in another comparison of the same two sides.
        """
        slips = [one.change for one in faults if isinstance(one.change, Slip)]
        if len(slips) < len(faults):
            return True
        aim = frozenset((LOSS, *self.case.gradients))
        with self.own.compiled(slips) as ask:
            if case is not None and not is_right(case, ask(slips, case.problem), aim):
                return False
            return self._mends(ask, slips, aim)

    def tried_at(self, function: OwnFunction, place: Place, before: tuple[Slip, ...], likely: bool) -> list[Trial]:
        """What the changes of one statement that are likely come to, or those that are not, on top of others."""
        known = edits(place, self.own.vocabulary(function))
        slips = [Slip(edit, function, place) for edit in known if (edit.rank <= POSSIBLE) == likely]
        return list(self._trials(before, slips, None, self.own.quick))

    def mend(self, slips: Sequence[Slip], aim: frozenset[str]) -> bool:
        """Whether changes mend what is aimed at, and again on other inputs."""
        with self.own.compiled(slips) as ask:
            return self._mends(ask, slips, aim)

    def leaves(self, trial: Trial, faults: tuple[Fault, ...], model: Model) -> bool:
        """Whether rules give all that is wrong after some changes, and again on other inputs."""
        made = evaluate(self._after(self.case, trial.answer), model, faults)
        if made is None or not made.complete or made.transforms or not made.loss_matches:
            return False
        return self._holds_besides(made, trial.slips)

    def _that_mend(self, slips: Iterable[Slip]) -> list[Explanation]:
        """By one of the likeliest changes that make everything right."""
        return self._told(self._mends_of(self._trials((), slips, None, self.own.quick)))

    def _mends_of(self, trials: Iterable[Trial], aim: frozenset[str] | None = None) -> list[tuple[Slip, ...]]:
        """The changes that are the mend; the least that does as much in the place of another change of its line."""
        found = [one.slips for one in trials if one.mends]
        lines = {id(slips[0].line) for slips in found}
        least = [one for one in self._within if one.edit.least and id(one.line) in lines]
        others = self._trials((), least, aim, self.own.quick)
        instead = {id(slips[0].line): slips for slips in found if slips[0].edit.least}
        instead |= {id(one.slips[0].line): one.slips for one in others if one.mends}
        return [instead.get(id(slips[0].line), slips) for slips in found]

    @cached_property
    def _alone(self) -> list[Trial]:
        """What each of the likely changes comes to, but for what comes to the same as the least change of its line."""
        found = list(self._trials((), self._likely))
        least = {id(one.slips[0].line): one.answer for one in found if one.slips[0].edit.least}
        return [one for one in found if one.slips[0].edit.least or not _is_same(one, least)]

    @property
    def _small(self) -> list[Trial]:
        """Those of them that leave out no more than one operation."""
        return [one for one in self._alone if one.slips[0].small]

    @cached_property
    def _likely(self) -> list[Slip]:
        return [one for one in self._within if one.rank <= POSSIBLE]

    @cached_property
    def _likely_and_small(self) -> list[Slip]:
        return [one for one in self._likely if one.small]

    def _acting_on(self, names: frozenset[str], slips: Sequence[Slip]) -> list[Slip]:
        """Those changes on which all of some quantities may depend."""
        return [one for one in slips if names <= (self.own.of(one) or names)]

    @cached_property
    def _within(self) -> list[Slip]:
        """The changes of what nothing right depends on."""
        return list(self.own.slips(self._is_part_of_what_is_wrong))

    def _trials(
        self,
        before: tuple[Slip, ...],
        slips: Iterable[Slip],
        aim: frozenset[str] | None = None,
        case: Case | None = None,
        noted: bool = False,
    ) -> Iterator[Trial]:
        """What changes on top of others come to, the likeliest first; once one has the aim, none less likely.

        In the comparison itself, or in another one of the same two sides. If wanted, with what is right on the way.
        """
        aim, case = aim or frozenset((LOSS, *self.case.gradients)), case or self.case
        limit = np.inf
        taken = {place for one in before for place in one.places}
        for some in _in_batches(one for one in slips if taken.isdisjoint(one.places)):
            trials = []
            with self.own.compiled([*before, *some], noted) as ask:
                for slip in some:
                    if self.clock.over() or slip.rank > limit:
                        break
                    made = (*before, slip)
                    answer = ask(made, case.problem)
                    if answer is None:
                        continue
                    midway = self._noted_as_right() if noted else frozenset()
                    wrong = changed(answer, (case.truth.loss, case.truth.gradients))
                    mends = not wrong & aim and self._mends(ask, made, aim)
                    trials.append(Trial(made, answer, wrong, mends, midway))
                    if trials[-1].mends:
                        limit = min(limit, slip.rank + TIE)
            yield from trials

    def _noted_as_right(self) -> frozenset[int]:
        """What of all that the candidate has made in its last call is right."""
        return self._right_arrays.intersection(self.own.noted)

    @cached_property
    def _right_arrays(self) -> frozenset[int]:
        return right_arrays(self.case)

    def _on_the_way(self, trials: Sequence[Trial], rules: Rules) -> list[Explanation]:
        """A change after which more of what is made on the way is right, and another mistake or two."""
        if not trials:
            return []
        with self.own.compiled([], noted=True) as ask:
            ask([], self.case.problem)
            before = self._noted_as_right()
        slips = [slip for trial in different(trials) for slip in trial.slips if trial.wrong <= self.own.wrong]
        for some in ([one for one in slips if one.rank <= LIKELY], [one for one in slips if one.rank > LIKELY]):
            nearer = [one for one in self._trials((), some, noted=True) if _is_nearer(one, before, self.own.wrong)]
            found = self._nearer_and_nearer(nearer, rules)
            if found or self.clock.over():
                return found
        return []

    def _nearer_and_nearer(self, nearer: Sequence[Trial], rules: Rules) -> list[Explanation]:
        """Changes on top of those after which more is right on the way, until nothing is wrong."""
        for _ in range(DEEPEST - 1):
            states = different(sorted(nearer, key=lambda one: (-len(one.midway), one.order)))[:BEAM]
            found = self._with_a_rule(states, rules) or self._with_one_more(states)
            if found or self.clock.over():
                return found
            nearer = []
            for state in states:
                more = self._trials(state.slips, self._likely_and_small, noted=True)
                nearer += [one for one in more if _is_nearer(one, state.midway, state.wrong)]
        return []

    def _with_one_more(self, states: Sequence[Trial]) -> list[Explanation]:
        """Changes, and another one after which nothing is wrong."""
        for state in states:
            left = self._acting_on(state.wrong, self._likely_and_small)
            found = [one.slips for one in self._trials(state.slips, left) if one.mends]
            if found or self.clock.over():
                return self._told(found[:1])
        return []

    def _with_a_rule(self, trials: Sequence[Trial], rules: Rules) -> list[Explanation]:
        """A change after which one broken rule gives the numbers."""
        groups = {group[0]: group for group in alike([one for one in trials if not self._vanishes(one)])}
        for first, fault in rules.giving(list(groups)):
            if self.clock.over():
                break
            for trial in groups[first][:FEW_ALIKE]:  # one of them may do the same by cutting something off
                if self._is_in_its_place(trial, fault, rules.model):
                    return self._told([()], (_in_place_of(trial.slips[0], fault),))
                if self._are_two(trial, fault, rules):
                    return self._told([trial.slips], (fault,))
        return []

    def _with_a_rule_over_fewer(self, trials: Sequence[Trial], of_case: Rules, rules: Rules) -> list[Explanation]:
        """A change after which a broken rule gives the numbers over fewer steps, and then in the whole.

        Changes that come to the same over fewer steps may do so because what they act on is zero there.
        """
        groups = {group[0]: group for group in alike(trials)}
        for trial, over_fewer in of_case.giving(list(groups))[:MOST_OVER_FEWER]:
            several = [slip for one in groups[trial][:MOST_ALIKE] for slip in one.slips]
            faults = [one for (one,) in counterparts((over_fewer,), rules.faults)]
            in_the_whole = [one for one in self._trials((), several) if not self._vanishes(one)]
            for whole, fault in itertools.product(different(in_the_whole), faults):
                if self.clock.over():
                    return []
                if self._are_two(whole, fault, rules):
                    return self._told([whole.slips], (fault,))
        return []

    def _are_two(self, trial: Trial, fault: Fault, rules: Rules) -> bool:
        """Whether a rule gives what is wrong after a change, and is another mistake than what is changed."""
        if trial in self._cutting or not self.leaves(trial, (fault,), rules.model):
            return False
        if self._says_what_is_left_out(trial, fault) and not self._tells_by_itself(fault, rules.model):
            return False
        return not self._cuts_off(trial) and not _is_one_line(trial, fault, rules)

    def _cuts_off(self, trial: Trial) -> bool:
        """Whether a change cuts off what counted."""
        if trial not in self._cutting and self.own.cuts_off(trial):
            self._cutting.add(trial)
        return trial in self._cutting

    def _holds_besides(self, one: Explanation, slips: tuple[Slip, ...]) -> bool:
        """Whether an explanation of the candidate with some changes made is one on other inputs, too."""
        fresh = self.confirmed.fresh
        if fresh is None:
            return True
        with self.own.compiled(slips) as ask:
            answer = ask(slips, fresh.problem)
        return answer is not None and holds(self._after(fresh, answer), one)

    def _is_in_its_place(self, trial: Trial, fault: Fault, model: Model) -> bool:
        """Whether a change leaves out a term, and the rule says that another one is missing: one wrong term."""
        dropped = fault.scaled(0.0) if fault.scaled is not None else None
        is_dropped = dropped is not None and dropped.message == fault.message  # as a penalty that is missing
        missing = fault.code in ("missing-path", "overwritten") or is_dropped
        of_a_term = len(trial.slips) == 1 and trial.slips[0].term is not None
        return missing and of_a_term and self.leaves(trial, (fault,), model) and not self._cuts_off(trial)

    def _says_what_is_left_out(self, trial: Trial, fault: Fault) -> bool:
        """Whether a change only leaves out what the rule then says is missing: one wrong line, told as two mistakes."""
        left_out = any(one.leaves_out for one in trial.slips) and fault.code.startswith("missing")
        without_a_line = any(one.edit.new is None and one.edit.code == "different-function" for one in trial.slips)
        return (left_out or without_a_line) and not trial.wrong < self.own.wrong

    def _tells_by_itself(self, fault: Fault, model: Model) -> bool:
        """Whether a rule gives some of the wrong gradients without any change of the code."""
        alone = evaluate(self.case, model, (fault,))
        return alone is not None and not alone.matched.isdisjoint(self.case.wrong)

    def _vanishes(self, trial: Trial) -> bool:
        """Whether a change leaves nothing of a gradient that there was."""
        pairs = ((trial.answer[1][name], ours) for name, ours in self.case.gradients.items())
        return not trial.wrong or any(np.linalg.norm(one) < LOOSE * np.linalg.norm(ours) for one, ours in pairs)

    @staticmethod
    def _after(case: Case, answer: Answer) -> Case:
        """The comparison of a candidate that is mended in part."""
        return replace(case, loss=answer[0], gradients=answer[1])

    def _by_the_same_twice(self) -> list[Explanation]:
        """By the same change in two lines, of which neither alone makes anything right."""
        alike: dict[tuple[str, ...], list[Slip]] = {}
        for one in self._likely:
            if one.small and one.edit.new is not None:
                alike.setdefault(one.wording, []).append(one)
        pairs = [pair for group in alike.values() for pair in itertools.combinations(group, 2)]
        with self.clock.part(TWICE_SHARE):
            return self._by_one_of(pairs)

    def _by_two_that_add_up(self) -> list[Explanation]:
        """By changes in two lines, each of which sees nothing of what the other one changes."""
        found = adding_up(different(self._small), self.case.gradients, self.case.truth.gradients)
        pairs = [(one.slips[0], other.slips[0]) for one, other in itertools.islice(found, MOST_PAIRS)]
        return self._by_one_of(sorted(pairs, key=lambda pair: pair[0].rank + pair[1].rank))

    def _by_one_of(self, pairs: Iterable[tuple[Slip, Slip]]) -> list[Explanation]:
        """By the first pair of changes in two lines that mend everything."""
        pairs = [(one, other) for one, other in pairs if set(one.places).isdisjoint(other.places)]
        if not pairs:
            return []
        aim = frozenset((LOSS, *self.case.gradients))
        with self.own.compiled(list(dict.fromkeys(slip for pair in pairs for slip in pair))) as ask:
            for pair in pairs:
                if self.clock.over():
                    break
                if self._mends(ask, pair, aim):
                    return self._told([pair])
        return []

    def _on_top_of(
        self, trials: Sequence[Trial], case: Case, slips: Sequence[Slip] | None = None
    ) -> list[Explanation]:
        """Further changes on top of those that mend something and spoil nothing, until nothing is wrong."""
        slips = self._likely_and_small if slips is None else slips
        useful = [one for one in trials if one.wrong < what_is_wrong(case)]
        for _ in range(DEEPEST - 1):
            states = different(sorted(useful, key=lambda one: one.order))[:BEAM]
            useful = []
            for state in states:
                for trial in self._trials(state.slips, self._acting_on(state.wrong, slips), case=case):
                    if trial.wrong < state.wrong and trial.wrong:
                        useful.append(trial)
                    elif trial.mends:
                        return self._told([trial.slips])
                if self.clock.over():
                    return []
        return []

    def _told(
        self, found: Sequence[Sequence[Slip]], rules: tuple[Fault, ...] = (), note: str = ""
    ) -> list[Explanation]:
        """As explanations, each new line of code once."""
        told = {tuple(f"{one.fault.site} {one.fault.mend}" for one in slips): slips for slips in reversed(found)}
        made = []
        for slips in reversed(told.values()):
            faults = (*(_with_note(self._fault(one), note) for one in slips), *rules)
            if len(faults) > 1:
                faults = (*map(self._touching, slips, faults), *rules)
            right = frozenset(self.case.gradients)
            made.append(Explanation(self.case, faults, {}, right, frozenset(), True))
        self.confirmed.known.update({id(one): (one, True) for one in made})
        return made

    def _touching(self, slip: Slip, fault: Fault) -> Fault:
        """A fault with the parameters of which it alone changes the gradient."""
        with self.own.compiled([slip]) as ask:
            answer = ask([slip], self.case.problem)
        known = None if answer is None else changed(answer, (self.case.loss, self.case.gradients))
        return replace(fault, touches=known)

    def _fault(self, slip: Slip) -> Fault:
        """What is wrong; where it is a penalty's share of a gradient alone, what is wrong with that."""
        fault = slip.fault
        if fault.code not in ("different-function", "missing-path", "wrong-scale", *WRONG_ARRAYS):
            return fault
        with self.own.compiled([slip]) as ask:
            answer = ask([slip], self.case.problem)
        ours = self.case.gradients
        added = {} if answer is None else {name: ours[name] - right for name, right in answer[1].items()}
        code = penalties.of_what_was_added(self.case, added) or self._relation(slip) or fault.code
        if code == "missing-path" and not slip.of_loss and self.own.is_forward(slip.place, unknown=False):
            code = "wrong-operand"  # what the forward pass hands on to the way back is no gradient
        return replace(fault, code=code)

    def _relation(self, slip: Slip) -> str | None:
        """What a wrong operand on the way back is to the right one, where the lines there tell."""
        old, new = slip.edit.old, slip.edit.new
        if slip.adds_what_was_there:
            return "overwritten"
        if slip.of_loss or self.own.code is None or not isinstance(old, ast.expr) or not isinstance(new, ast.expr):
            return None
        if slip.edit.code == "different-function":
            return moved_by_one(slip.edit, slip.place, self.own.vocabulary(slip.function))
        if slip.edit.code not in WRONG_ARRAYS:
            return None
        of_function = [place for function, place in self.own.places if function is slip.function]
        back = [place for place in of_function if not self.own.is_forward(place)]
        words = self.own.vocabulary(slip.function)
        code = instead_of(old, new, back, words) if slip.edit.code == "wrong-operand" else None
        names = isinstance(old, ast.Name) and isinstance(new, ast.Name)
        if code is None and (names or moved_in(old, new, words) == "shifted-in-time"):
            texts = words.text(old), words.text(new)
            steps = self.own.code.seen(slip.function, slip.place.lineno, texts, self.case.problem)
            code = "shifted-in-time" if is_another_step(steps) else None
        return code

    def _mends(self, ask: Ask, slips: Sequence[Slip], aim: frozenset[str]) -> bool:
        """Whether changes mend what is aimed at, and again on other inputs."""
        cases = [self.case, *([] if self.confirmed.fresh is None else [self.confirmed.fresh])]
        return all(is_right(case, ask(slips, case.problem), aim) for case in cases)

    def _is_what_is_wrong(self, depending: frozenset[str] | None) -> bool:
        return depending is None or depending == self.own.wrong

    def _is_part_of_what_is_wrong(self, depending: frozenset[str] | None) -> bool:
        return depending is None or (bool(depending) and depending <= self.own.wrong)

    def _is_more(self, depending: frozenset[str] | None) -> bool:
        """Whether right gradients depend on a place as well; a right loss does not."""
        wrong = self.own.wrong
        return depending is not None and depending > wrong and (LOSS in wrong or LOSS not in depending)


def _is_nearer(trial: Trial, before: frozenset[int], wrong: frozenset[str]) -> bool:
    """Whether more is right on the way than before; some of what was may have been right for something else."""
    gained, lost = trial.midway - before, before - trial.midway
    return trial.wrong <= wrong and len(gained) > 2 * len(lost)


def _in_place_of(slip: Slip, fault: Fault) -> Fault:
    """That something is missing, and what the code has in its place."""
    term = f"`{ast.unparse(slip.term)}` (line {slip.line.lineno})" if slip.term else ""
    return replace(fault, message=f"{fault.message}\nIn its place, your code has {term}.")


def _with_note(fault: Fault, note: str) -> Fault:
    return replace(fault, message=f"{fault.message}\n{note}") if note else fault


def _is_one_line(trial: Trial, fault: Fault, rules: Rules) -> bool:
    """Whether what is changed goes back through what the rule is about: one wrong line, told as two mistakes."""
    after = rules.shadows.after((fault,))
    return after is not None and any(are_one(slip, fault, after.base) for slip in trial.slips)


def _is_same(trial: Trial, least: Mapping[int, Answer]) -> bool:
    """Whether a change of a line comes to the same as the least that is known."""
    other = least.get(id(trial.slips[0].line))
    return other is not None and not changed(trial.answer, other)


def _in_batches(slips: Iterable[Slip]) -> Iterator[list[Slip]]:
    """The likeliest first, as many as are compiled together."""
    ordered = sorted(slips, key=lambda one: one.rank)
    return (ordered[start : start + AT_ONCE] for start in range(0, len(ordered), AT_ONCE))
