"""The candidate's own code with small changes in it: what they are, what it says with them, what depends on what."""

from __future__ import annotations

import ast
import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from gradproof.case import Case, Problem
from gradproof.diagnosis.changes import LOSS, Answer, Slip, Trial, changed, what_is_wrong
from gradproof.diagnosis.confirmation import answered
from gradproof.own_code.edit import Edit
from gradproof.own_code.edits import edits
from gradproof.own_code.order import moves
from gradproof.own_code.running import NotOurs, OwnCode, OwnFunction, own_code
from gradproof.own_code.statements import Way, at, points, put
from gradproof.own_code.switches import Alternatives, Place, places, switched
from gradproof.own_code.vocabulary import Vocabulary

PROBE = 1.0625  # a factor, or what is added to zeros, to see what depends on a place
MOST_SUSPECT = 0.5  # of all lines; that it is one of more tells nobody where to look
SLOW, FEW_SAMPLES = 0.005, 2  # seconds of a call from which on changes are first tried with a few samples
MOST_CONSTANTS = 12  # of the reference, that a number of the code may be meant for
MOST_CUT_OFF = 0.5  # of the places that counted for a gradient

Ask = Callable[..., "Answer | None"]  # the candidate with some changes made, on a problem


@dataclass
class ChangedCode:
    """The small changes of one candidate, made one by one."""

    case: Case
    _telling: set[Slip] = field(default_factory=set)  # the probes that something depends on
    _words: dict[int, Vocabulary] = field(default_factory=dict)

    @cached_property
    def code(self) -> OwnCode | None:
        """What a call of the candidate runs; None where changes of it cannot be tried."""
        code = None if self.case.candidate is None else own_code(self.case.candidate, self.case.problem)
        if code is None:
            return None
        try:
            with code.exchanged([switched(one.tree, {}) for one in code.functions]):
                return code
        except NotOurs:
            return None

    def suspects(self) -> list[str]:
        """The lines on which something wrong depends and nothing right, by file; none where that is most of them."""
        lines: dict[str, list[int]] = {}
        for function, place in self.places:
            depending = self._of_place(place)
            if depending and depending <= self.wrong:
                lines.setdefault(Path(function.file).name, []).append(place.lineno)
        count = sum(len(set(found)) for found in lines.values())
        if not count or count > MOST_SUSPECT * len(self.places):
            return []
        return [f"{file}:{_ranges(sorted(set(found)))}" for file, found in lines.items()]

    @contextlib.contextmanager
    def compiled(self, slips: Sequence[Slip], noted: bool = False) -> Iterator[Ask]:
        """Within it, the candidate can be asked with any of these changes made; and notes what its lines make."""
        assert self.code is not None
        at_place: dict[int, list[Any]] = {}
        choices: dict[Slip, list[tuple[int, int]]] = {}
        for slip in slips:
            for place, made in zip(slip.places, (slip.edit.made, None), strict=False):
                made_there = at_place.setdefault(place, [])
                choices.setdefault(slip, []).append((place, len(made_there)))
                made_there.append(made)
        alternatives = {place: (place, made) for place, made in at_place.items()}
        code = self.code

        def ask(chosen: Sequence[Slip], problem: Problem) -> Answer | None:
            code.notes.clear()
            code.on.clear()
            code.on.update(one for slip in chosen for one in choices[slip])
            try:
                return code.answer(problem)
            finally:
                code.on.clear()

        with code.exchanged([_with_alternatives(one.tree, alternatives, noted) for one in code.functions]):
            yield ask

    @property
    def noted(self) -> list[int]:
        """The names of all arrays that the last call has noted."""
        assert self.code is not None
        return self.code.notes.names()

    def slips(self, wanted: Callable[[frozenset[str] | None], bool]) -> Iterator[Slip]:
        """The changes at places on which what is wanted depends."""
        for function, place in self.places:
            known = self._depending.get(id(place), {})
            if not any(wanted(one) for one in (_all_of(known.values()), *known.values())):
                continue
            for edit in edits(place, self.vocabulary(function)):
                depending = _of_edit(edit, known)
                if wanted(depending):
                    yield Slip(edit, function, place, LOSS in (depending or ()))
        yield from self._moves(wanted)

    def _moves(self, wanted: Callable[[frozenset[str] | None], bool]) -> Iterator[Slip]:
        """The lines that may belong beside another one, where what is wanted depends on either."""
        for function in [] if self.code is None else self.code.functions:
            for place, edit in moves(function.tree, self.vocabulary(function)):
                either = [self._of_place(one) for one in (edit.old, place)]
                if any(map(wanted, either)):
                    yield Slip(edit, function, place, any(LOSS in (one or ()) for one in either))

    def of(self, slip: Slip) -> frozenset[str] | None:
        """The names of what depends on what a change is made at; None where that is not known."""
        return _of_edit(slip.edit, self._depending.get(id(slip.place), {}))

    def _of_place(self, place: ast.AST) -> frozenset[str] | None:
        return _all_of(self._depending.get(id(place), {}).values())

    def vocabulary(self, function: OwnFunction) -> Vocabulary:
        """What a function of the candidate's speaks of."""
        if id(function) not in self._words:
            sizes = {length for one in self.case.problem.params.values() for length in one.shape}
            self._words[id(function)] = Vocabulary(function, sizes, self._constants)
        return self._words[id(function)]

    @cached_property
    def _constants(self) -> list[float]:
        """The numbers that stand in the reference's operations."""
        nodes = [] if self.case.tape is None else self.case.tape.nodes
        found = (one for node in nodes for one in node.constants if type(one) in (int, float) and np.isfinite(one))
        return list(dict.fromkeys(map(float, found)))[:MOST_CONSTANTS]

    @cached_property
    def places(self) -> list[tuple[OwnFunction, Place]]:
        """All statements of all its functions, each with its function."""
        functions = [] if self.code is None else self.code.functions
        return [(one, place) for one in functions for place in places(one.tree)]

    @cached_property
    def quick(self) -> Case:
        """The comparison of a few samples, where a call of the candidate takes long and the same is wrong with them.

        Of a gradient that is zero with them nobody could tell what it depends on.
        """
        samples = self.case.problem.samples
        if self.code is None or self.code.seconds < SLOW or samples is None or samples <= FEW_SAMPLES:
            return self.case
        other = answered(self.case, self.case.problem.take(slice(FEW_SAMPLES)))
        if other is None or what_is_wrong(other) != self.wrong:
            return self.case
        there = [name for name, ours in self.case.gradients.items() if np.any(ours)]
        return other if all(np.any(other.gradients[name]) for name in there) else self.case

    @cached_property
    def wrong(self) -> frozenset[str]:
        """The names of what is wrong without any change."""
        return what_is_wrong(self.case)

    @cached_property
    def _probes(self) -> list[Slip]:
        return [Slip(one, function, place) for function, place in self.places for one in _probes(place)]

    @cached_property
    def _depending(self) -> dict[int, dict[Way, frozenset[str] | None]]:
        """By place and path: the names of what depends on what an expression makes; None where that is not known.

        Of an expression that is told to be right, as a whole, the parts are not looked at.
        """
        found: dict[int, dict[Way, frozenset[str] | None]] = {}
        with self.compiled(self._probes) as ask:
            for probe in self._probes:
                known, path = found.setdefault(id(probe.place), {}), probe.edit.path
                if known.get(path):
                    continue  # a factor has told; a term is for what is divided by its own sum or length
                around = [one for outer, one in known.items() if outer != path and path[: len(outer)] == outer]
                if any(one is not None and self._is_right(one) for one in around):
                    continue
                answer = ask([probe], self.quick.problem)
                before = (self.quick.loss, self.quick.gradients)
                known[path] = known.get(path) if answer is None else changed(answer, before)
                self._telling.update([probe] if known[path] else [])
        return found

    def _is_right(self, depending: frozenset[str]) -> bool:
        """Whether nothing wrong depends on something, or a right loss does."""
        return not depending & self.wrong or (LOSS in depending and LOSS not in self.wrong)

    def cuts_off(self, trial: Trial) -> bool:
        """Whether a change has made something that counted count no more, or most of what did for one gradient.

        It would hide any mistake there.
        """
        taken = {place for one in trial.slips for place in one.places}
        probes = [one for one in self._probes if one in self._telling and id(one.place) not in taken]
        before, after = Counter[str](), Counter[str]()
        with self.compiled([*trial.slips, *probes]) as ask:
            for probe in probes:
                answer = ask([*trial.slips, probe], self.case.problem)
                if answer is None:
                    continue
                changes = changed(answer, trial.answer)
                if not changes:
                    return True
                before.update(self._depending[id(probe.place)][probe.edit.path] or ())
                after.update(changes)
        return any(after[name] < MOST_CUT_OFF * before[name] for name in self.wrong)

    def is_forward(self, place: Place, unknown: bool = True) -> bool:
        """Whether the loss depends on what a line makes."""
        depending = self._of_place(place)
        return unknown if depending is None else LOSS in depending


def _with_alternatives(tree: ast.FunctionDef, alternatives: Alternatives, noted: bool) -> ast.FunctionDef:
    """The tree with them; itself where it has none."""
    none = alternatives.keys().isdisjoint(map(id, places(tree)))
    return tree if none and not noted else switched(tree, alternatives, noted)


def _ranges(lines: Sequence[int]) -> str:
    """Sorted numbers in words: 3-5, 8."""
    groups: list[list[int]] = []
    for line in lines:
        if groups and line == groups[-1][-1] + 1:
            groups[-1].append(line)
        else:
            groups.append([line])
    return ", ".join(str(one[0]) if len(one) == 1 else f"{one[0]}-{one[-1]}" for one in groups)


def _probes(place: Place) -> Iterator[Edit]:
    """Changes of all that a statement says, by a factor and by a term; that a loop goes on, or does not."""
    for path, _ in points(place):
        node = at(place, path)
        is_zero = isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("zeros", "zeros_like")
        for op in (ast.Add(),) if is_zero else (ast.Mult(), ast.Add()):
            more = ast.BinOp(node, op, ast.Constant(PROBE))
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
