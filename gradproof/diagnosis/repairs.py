"""Small changes of the candidate's own code that make its numbers right.

What no broken rule of the reference gives may still be a slip of writing: an index, a name, a bracket, a line too many.
Each small change of the candidate is tried for what it does. The one that mends all numbers, and again on other inputs,
is the mistake turned round (program repair by mutation: Debroy and Wong 2010).
"""

from __future__ import annotations

import ast
import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from gradproof.case import Case, Problem
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
from gradproof.diagnosis.confirmation import TIE, Confirmation, answered, holds
from gradproof.diagnosis.explanation import Explanation, evaluate
from gradproof.diagnosis.fault import Fault, Model
from gradproof.diagnosis.one_line import are_one
from gradproof.diagnosis.shorter import counterparts
from gradproof.oracles import Arrays
from gradproof.own_code.edit import Edit
from gradproof.own_code.edits import edits
from gradproof.own_code.order import moves
from gradproof.own_code.relations import instead_of, is_another_step
from gradproof.own_code.running import NotOurs, OwnCode, OwnFunction, own_code
from gradproof.own_code.statements import Way, at, points, put
from gradproof.own_code.switches import Place, places, switched
from gradproof.own_code.vocabulary import LIKELY, POSSIBLE, Vocabulary

PROBE = 1.0625  # a factor, or what is added to zeros, to see what depends on a place
AT_ONCE = 2000  # changes that are compiled together
DEEPEST = 3  # changes made together
FEW_ENTRIES = 6  # that have their parameters' signs by chance
MOST_SUSPECT = 0.5  # of all lines; that it is one of more tells nobody where to look
SLOW, FEW_SAMPLES = 0.005, 2  # seconds of a call from which on changes are first tried with a few samples
MOST_CUT_OFF = 0.5  # of the places that counted for a gradient
BEAM = 3  # states that are gone on from
MOST_OVER_FEWER = 12  # pairs of a change and a rule that are looked for in the whole
WRONG_ARRAYS = ("wrong-operand", "derivative-at-wrong-point")
MOST_PAIRS = 50  # of changes that add up to what is wanted
MOST_ALIKE = 40  # changes that come to the same over fewer steps, of which each is looked at in the whole

BELONGING = "Your loss and your gradient belong together, but to another function: mend both."

Ask = Callable[..., "Answer | None"]  # the candidate with some edits, on a problem


@dataclass
class Repairs:
    """The small changes of one candidate, and what they mend."""

    case: Case
    clock: Clock
    confirmed: Confirmation
    _words: dict[int, Vocabulary] = field(default_factory=dict)
    _cutting: set[Trial] = field(default_factory=set)  # those that cut off what counted

    @cached_property
    def code(self) -> OwnCode | None:
        """What a call of the candidate runs; None where changes of it cannot be tried."""
        code = None if self.case.candidate is None else own_code(self.case.candidate, self.case.problem)
        if code is None:
            return None
        try:
            with code.exchanged([one.tree for one in code.functions]):
                return code
        except NotOurs:
            return None

    def likely(self) -> list[Explanation]:
        """By one change, the likeliest that mend everything, where nothing right depends on what is changed."""
        return self._told(self._mends_of(self._alone)) if self._quick is self.case else self._that_mend(self._likely)

    def unlikely(self) -> list[Explanation]:
        """By one change that is more far-fetched, or on which right gradients depend as well."""
        more = list(self._slips(self._is_more))
        less_likely = [one for one in self._within if one.rank > POSSIBLE and self._is_what_is_wrong(self._of(one))]
        in_turn = [one for one in more if one.rank <= LIKELY], less_likely, [one for one in more if one.rank > LIKELY]
        return next((found for found in map(self._that_mend, in_turn) if found), [])

    def of_the_loss(self, note: str = "") -> list[Explanation]:
        """By one change that makes the loss right, whatever the gradient is then."""
        slips = self._slips(lambda depending: depending is None or LOSS in depending)
        return self._that_mend([one for one in slips if one.rank <= POSSIBLE], frozenset({LOSS}), note)

    def several(self) -> list[Explanation]:
        """By several changes."""
        return self._by_the_same_twice() or self._by_two_that_add_up() or self._on_top_of(self._small, self.case)

    def with_others(self, rules: Rules) -> list[Explanation]:
        """By a change and a broken rule of the reference, or by several changes."""
        found = self._by_the_same_twice() or self._with_a_rule(self._small, rules)
        found = found or self._by_two_that_add_up() or self._on_top_of(self._small, self.case)
        if found or self.clock.over():
            return found
        # What is right by a coincidence, as a sum over what was exchanged is, may depend on the first of the changes.
        further = [one for one in self._slips(self._is_more) if one.small and one.rank <= LIKELY]
        trials = list(self._trials((), further))
        return self._told(self._mends_of(trials)) or self._on_top_of(trials, self.case)

    def over_fewer_steps(self, case: Case, of_case: Rules | None, rules: Rules) -> list[Explanation]:
        """By changes that mend the same comparison over fewer steps, and then all of it; or by one and a broken rule.

        There each takes less time, and two in one loop act on different gradients.
        """
        trials = list(self._trials((), self._likely, case=case))
        small = [one for one in trials if one.slips[0].small]
        found = self._told(self._mends_of(trials))
        found = found or (self._with_a_rule_over_fewer(small, of_case, rules) if of_case else [])
        return found or self._on_top_of(small, case)

    def suspects(self) -> list[str]:
        """The lines on which something wrong depends and nothing right, by file; none where that is most of them."""
        lines: dict[str, list[int]] = {}
        for function, place in self._places:
            depending = _all_of(self._depending.get(id(place), {}).values())
            if depending and depending <= self._wrong:
                lines.setdefault(Path(function.file).name, []).append(place.lineno)
        count = sum(len(set(found)) for found in lines.values())
        if not count or count > MOST_SUSPECT * len(self._places):
            return []
        return [f"{file}:{_ranges(sorted(set(found)))}" for file, found in lines.items()]

    def _that_mend(
        self, slips: Iterable[Slip], aim: frozenset[str] | None = None, note: str = ""
    ) -> list[Explanation]:
        """By one of the likeliest changes that make right what is aimed at, or everything."""
        return self._told(self._mends_of(self._trials((), slips, aim, self._quick), aim), note=note)

    def _mends_of(self, trials: Iterable[Trial], aim: frozenset[str] | None = None) -> list[tuple[Slip, ...]]:
        """The changes that are the mend; the least that does as much in the place of another change of its line."""
        found = [one.slips for one in trials if one.mends]
        lines = {id(slips[0].line) for slips in found}
        least = [one for one in self._within if one.edit.least and id(one.line) in lines]
        others = self._trials((), least, aim, self._quick)
        instead = {id(one.slips[0].line): one.slips for one in others if one.mends}
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
    def _within(self) -> list[Slip]:
        """The changes of what nothing right depends on."""
        return list(self._slips(self._is_part_of_what_is_wrong))

    def _trials(
        self,
        before: tuple[Slip, ...],
        slips: Iterable[Slip],
        aim: frozenset[str] | None = None,
        case: Case | None = None,
    ) -> Iterator[Trial]:
        """What changes on top of others come to, the likeliest first; once one has the aim, none less likely.

        In the comparison itself, or in another one of the same two sides.
        """
        aim, case = aim or frozenset((LOSS, *self.case.gradients)), case or self.case
        limit = np.inf
        taken = {place for one in before for place in one.made}
        for some in _in_batches(one for one in slips if taken.isdisjoint(one.made)):
            trials = []
            with self._compiled([*before, *some]) as ask:
                for slip in some:
                    if self.clock.over() or slip.rank > limit:
                        break
                    made = (*before, slip)
                    answer = ask(made, case.problem)
                    if answer is None:
                        continue
                    wrong = changed(answer, (case.truth.loss, case.truth.gradients))
                    trials.append(Trial(made, answer, wrong, not wrong & aim and self._mends(ask, made, aim)))
                    if trials[-1].mends:
                        limit = min(limit, slip.rank + TIE)
            yield from trials

    def _with_a_rule(self, trials: Sequence[Trial], rules: Rules) -> list[Explanation]:
        """A change after which one broken rule gives the numbers."""
        for trial, fault in rules.giving(different([one for one in trials if not self._vanishes(one)])):
            if self.clock.over():
                break
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
        if trial in self._cutting or self._says_what_is_left_out(trial, fault):
            return False
        if not self._is_all(trial, fault, rules.model):
            return False
        if self._cuts_off(trial):
            self._cutting.add(trial)
            return False
        return not _is_one_line(trial, fault, rules)

    def _is_all(self, trial: Trial, fault: Fault, model: Model) -> bool:
        """Whether a rule gives what is wrong after some changes, and again on other inputs."""
        made = evaluate(self._after(self.case, trial.answer), model, (fault,))
        if made is None or not made.complete or made.transforms or not made.loss_matches:
            return False
        return self._holds_besides(made, trial.slips)

    def _holds_besides(self, one: Explanation, slips: tuple[Slip, ...]) -> bool:
        """Whether an explanation of the candidate with some changes made is one on other inputs, too."""
        fresh = self.confirmed.fresh
        if fresh is None:
            return True
        with self._compiled(slips) as ask:
            answer = ask(slips, fresh.problem)
        return answer is not None and holds(self._after(fresh, answer), one)

    def _says_what_is_left_out(self, trial: Trial, fault: Fault) -> bool:
        """Whether a change only leaves out what the rule then says is missing: one wrong line, told as two mistakes."""
        left_out = any(one.leaves_out for one in trial.slips) and fault.code.startswith("missing")
        without_a_line = any(one.edit.new is None and one.edit.code == "different-function" for one in trial.slips)
        return (left_out or without_a_line) and not trial.wrong < self._wrong

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
        return self._by_one_of(pairs)

    def _by_two_that_add_up(self) -> list[Explanation]:
        """By changes in two lines, each of which sees nothing of what the other one changes."""
        found = adding_up(different(self._small), self.case.gradients, self.case.truth.gradients)
        pairs = [(one.slips[0], other.slips[0]) for one, other in itertools.islice(found, MOST_PAIRS)]
        return self._by_one_of(sorted(pairs, key=lambda pair: pair[0].rank + pair[1].rank))

    def _by_one_of(self, pairs: Iterable[tuple[Slip, Slip]]) -> list[Explanation]:
        """By the first pair of changes in two lines that mend everything."""
        pairs = [(one, other) for one, other in pairs if one.made.keys().isdisjoint(other.made)]
        if not pairs:
            return []
        aim = frozenset((LOSS, *self.case.gradients))
        with self._compiled(list(dict.fromkeys(slip for pair in pairs for slip in pair))) as ask:
            for pair in pairs:
                if self.clock.over():
                    break
                if self._mends(ask, pair, aim):
                    return self._told([pair])
        return []

    def _on_top_of(self, trials: Sequence[Trial], case: Case) -> list[Explanation]:
        """Further changes on top of those that mend something and spoil nothing, until nothing is wrong."""
        useful = [one for one in trials if one.wrong < what_is_wrong(case)]
        for _ in range(DEEPEST - 1):
            states = different(sorted(useful, key=lambda one: one.order))[:BEAM]
            useful = []
            for state in states:
                left = [one for one in self._likely if one.small and state.wrong <= (self._of(one) or state.wrong)]
                for trial in self._trials(state.slips, left, case=case):
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
            right = frozenset(self.case.gradients)
            made.append(Explanation(self.case, faults, {}, right, frozenset(), self.case.gradients, True))
        self.confirmed.known.update({id(one): (one, True) for one in made})
        return made

    def _fault(self, slip: Slip) -> Fault:
        """What is wrong; where it adds a gradient in the direction of the parameters, a penalty on them."""
        fault = slip.fault
        if fault.code not in ("different-function", "missing-path", *WRONG_ARRAYS):
            return fault
        with self._compiled([slip]) as ask:
            answer = ask([slip], self.case.problem)
        ours = self.case.gradients
        added = {} if answer is None else {name: ours[name] - right for name, right in answer[1].items()}
        if self._is_penalty(added):
            return replace(fault, code="wrong-part-penalised")
        return replace(fault, code=self._relation(slip) or fault.code)

    def _relation(self, slip: Slip) -> str | None:
        """What a wrong operand on the way back is to the right one, where the lines there tell."""
        old, new = slip.edit.old, slip.edit.new
        if slip.of_loss or slip.edit.code not in WRONG_ARRAYS or not isinstance(old, ast.expr):
            return None
        if self.code is None or not isinstance(new, ast.expr):
            return None
        back = [place for function, place in self._places if function is slip.function and not self._is_forward(place)]
        words = self._vocabulary(slip.function)
        code = instead_of(old, new, back, words) if slip.edit.code == "wrong-operand" else None
        if code is None and isinstance(old, ast.Name) and isinstance(new, ast.Name):
            texts = words.text(old), words.text(new)
            steps = self.code.seen(slip.function, slip.place.lineno, texts, self.case.problem)
            code = "shifted-in-time" if is_another_step(steps) else None
        return code

    def _is_forward(self, place: Place) -> bool:
        """Whether the loss depends on what a line makes."""
        depending = _all_of(self._depending.get(id(place), {}).values())
        return depending is None or LOSS in depending

    def _is_penalty(self, added: Arrays) -> bool:
        """Whether something grows with the parameters, entry by entry, and has their signs."""
        pairs = [(self.case.problem.params[name].ravel(), one.ravel()) for name, one in added.items()]
        w, d = (np.concatenate(each) for each in zip(*pairs, strict=True)) if pairs else (np.zeros(0), np.zeros(0))
        there = np.abs(d) > LOOSE * np.max(np.abs(d), initial=0.0)
        w, d = w[there], d[there]
        if len(d) < FEW_ENTRIES or np.any(np.sign(w) != np.sign(d)):
            return False
        steps = np.diff(np.abs(d)[np.argsort(np.abs(w))])
        return bool(np.all(steps >= -LOOSE * np.max(np.abs(d))))

    def _mends(self, ask: Ask, slips: Sequence[Slip], aim: frozenset[str]) -> bool:
        """Whether changes mend what is aimed at, and again on other inputs."""
        cases = [self.case, *([] if self.confirmed.fresh is None else [self.confirmed.fresh])]
        return all(is_right(case, ask(slips, case.problem), aim) for case in cases)

    @contextlib.contextmanager
    def _compiled(self, slips: Sequence[Slip]) -> Iterator[Ask]:
        """Within it, the candidate can be asked with any of these changes made."""
        assert self.code is not None
        at_place: dict[int, list[Any]] = {}
        choices: dict[Slip, list[tuple[int, int]]] = {}
        for slip in slips:
            for place, made in slip.made.items():
                made_there = at_place.setdefault(place, [])
                choices.setdefault(slip, []).append((place, len(made_there)))
                made_there.append(made)
        alternatives = {place: (place, made) for place, made in at_place.items()}
        code = self.code

        def ask(chosen: Sequence[Slip], problem: Problem) -> Answer | None:
            code.on.clear()
            code.on.update(one for slip in chosen for one in choices[slip])
            try:
                return code.answer(problem)
            finally:
                code.on.clear()

        with code.exchanged([switched(one.tree, alternatives) for one in code.functions]):
            yield ask

    def _slips(self, wanted: Callable[[frozenset[str] | None], bool]) -> Iterator[Slip]:
        """The changes at places on which what is wanted depends."""
        for function, place in self._places:
            known = self._depending.get(id(place), {})
            if not any(wanted(one) for one in (_all_of(known.values()), *known.values())):
                continue
            for edit in edits(place, self._vocabulary(function)):
                depending = _of_edit(edit, known)
                if wanted(depending):
                    yield Slip(edit, function, place, LOSS in (depending or ()))
        yield from self._moves(wanted)

    def _moves(self, wanted: Callable[[frozenset[str] | None], bool]) -> Iterator[Slip]:
        """The lines that may belong beside another one, where what is wanted depends on either."""
        for function in [] if self.code is None else self.code.functions:
            for place, edit in moves(function.tree, self._vocabulary(function)):
                either = [_all_of(self._depending.get(id(one), {}).values()) for one in (edit.old, place)]
                if any(map(wanted, either)):
                    yield Slip(edit, function, place, any(LOSS in (one or ()) for one in either))

    def _of(self, slip: Slip) -> frozenset[str] | None:
        return _of_edit(slip.edit, self._depending.get(id(slip.place), {}))

    def _vocabulary(self, function: OwnFunction) -> Vocabulary:
        if id(function) not in self._words:
            sizes = {length for one in self.case.problem.params.values() for length in one.shape}
            self._words[id(function)] = Vocabulary(function, sizes)
        return self._words[id(function)]

    @cached_property
    def _places(self) -> list[tuple[OwnFunction, Place]]:
        functions = [] if self.code is None else self.code.functions
        return [(one, place) for one in functions for place in places(one.tree)]

    @cached_property
    def _quick(self) -> Case:
        """The comparison of a few samples, where a call of the candidate takes long and the same is wrong with them.

        Of a gradient that is zero with them nobody could tell what it depends on.
        """
        samples = self.case.problem.samples
        if self.code is None or self.code.seconds < SLOW or samples is None or samples <= FEW_SAMPLES:
            return self.case
        other = answered(self.case, self.case.problem.take(slice(FEW_SAMPLES)))
        if other is None or what_is_wrong(other) != self._wrong:
            return self.case
        there = [name for name, ours in self.case.gradients.items() if np.any(ours)]
        return other if all(np.any(other.gradients[name]) for name in there) else self.case

    @cached_property
    def _wrong(self) -> frozenset[str]:
        return what_is_wrong(self.case)

    def _is_what_is_wrong(self, depending: frozenset[str] | None) -> bool:
        return depending is None or depending == self._wrong

    def _is_part_of_what_is_wrong(self, depending: frozenset[str] | None) -> bool:
        return depending is None or (bool(depending) and depending <= self._wrong)

    def _is_more(self, depending: frozenset[str] | None) -> bool:
        """Whether right gradients depend on a place as well; a right loss does not."""
        return depending is not None and depending > self._wrong and (LOSS in self._wrong or LOSS not in depending)

    @cached_property
    def _probes(self) -> list[Slip]:
        return [Slip(one, function, place) for function, place in self._places for one in _probes(place)]

    @cached_property
    def _depending(self) -> dict[int, dict[Way, frozenset[str] | None]]:
        """By place and path: the names of what depends on what an expression makes; None where that is not known.

        Of an expression that is told to be right, as a whole, the parts are not looked at.
        """
        found: dict[int, dict[Way, frozenset[str] | None]] = {}
        with self._compiled(self._probes) as ask:
            for probe in self._probes:
                known = found.setdefault(id(probe.place), {})
                around = [one for path, one in known.items() if probe.edit.path[: len(path)] == path]
                if any(one is not None and self._is_right(one) for one in around):
                    continue
                answer = ask([probe], self._quick.problem)
                before = (self._quick.loss, self._quick.gradients)
                known[probe.edit.path] = None if answer is None else changed(answer, before)
        return found

    def _is_right(self, depending: frozenset[str]) -> bool:
        """Whether nothing wrong depends on something, or a right loss does."""
        return not depending & self._wrong or (LOSS in depending and LOSS not in self._wrong)

    def _cuts_off(self, trial: Trial) -> bool:
        """Whether a change has made something that counted count no more, or most of what did for one gradient.

        It would hide any mistake there.
        """
        taken = {place for one in trial.slips for place in one.made}
        looked_at = [one for one in self._probes if self._depending[id(one.place)].get(one.edit.path)]
        probes = [one for one in looked_at if id(one.place) not in taken]
        before, after = Counter[str](), Counter[str]()
        with self._compiled([*trial.slips, *probes]) as ask:
            for probe in probes:
                answer = ask([*trial.slips, probe], self.case.problem)
                if answer is None:
                    continue
                changes = changed(answer, trial.answer)
                if not changes:
                    return True
                before.update(self._depending[id(probe.place)][probe.edit.path] or ())
                after.update(changes)
        return any(after[name] < MOST_CUT_OFF * before[name] for name in self._wrong)


def _ranges(lines: Sequence[int]) -> str:
    """Sorted numbers in words: 3-5, 8."""
    groups: list[list[int]] = []
    for line in lines:
        if groups and line == groups[-1][-1] + 1:
            groups[-1].append(line)
        else:
            groups.append([line])
    return ", ".join(str(one[0]) if len(one) == 1 else f"{one[0]}-{one[-1]}" for one in groups)


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


def _probes(place: Place) -> Iterator[Edit]:
    """Changes of all that a statement says; that a loop goes on, or does not."""
    for path, _ in points(place):
        node = at(place, path)
        is_zero = isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("zeros", "zeros_like")
        more = ast.BinOp(node, ast.Add() if is_zero else ast.Mult(), ast.Constant(PROBE))
        yield Edit("", node, more, partial(put, place, path, more), path)
    if isinstance(place, (ast.Continue, ast.Break)):
        yield Edit("", place, None, ast.Pass, ())


def _of_edit(edit: Edit, known: dict[Way, frozenset[str] | None]) -> frozenset[str] | None:
    """The names of what depends on what is changed; None where that is not known."""
    inner = [path for path in known if edit.path[: len(path)] == path]
    return known[max(inner, key=len)] if inner else _all_of(known.values())


def _all_of(depending: Iterable[frozenset[str] | None]) -> frozenset[str] | None:
    every = list(depending)
    known = [one for one in every if one is not None]
    return frozenset().union(*known) if known and len(known) == len(every) else None


def _in_batches(slips: Iterable[Slip]) -> Iterator[list[Slip]]:
    """The likeliest first, as many as are compiled together."""
    ordered = sorted(slips, key=lambda one: one.rank)
    return (ordered[start : start + AT_ONCE] for start in range(0, len(ordered), AT_ONCE))
