"""The same comparison over fewer steps: with one step of a recurrence left, nothing in it sees what it changed itself.

In a loop a broken rule acts on all steps before, and two of them on each other: what they do is told by full runs only,
and there are too many pairs to run. Cut to its first step or two, the same loop is a straight line, in which single
rules and pairs are told at once; what is found there is then looked for in the whole.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gradproof.case import Case, Problem
from gradproof.diagnosis.confirmation import answered
from gradproof.diagnosis.fault import Fault

KEPT = (1, 2)  # steps
SHORTER = 0.8  # the share of the operations that may be left: a loop has most of them
MOST_LIKE = 4  # faults of the whole that may be the same as one of the shorter
WHICH = "each|all but|the last|the first|only number|as line|where line"
PASSAGES = re.compile(rf",? ?(?:{WHICH}) [^,;]*?(?:it runs|calls it)|(?<=over all) \d+")  # as a message tells of them


def cases(case: Case, over: Callable[[], bool]) -> Iterator[Case]:
    """The comparison with its data cut to the first steps, where both sides take them and something is wrong.

    `over` says that there is no time for more.
    """
    whole = case.tape
    for kept in KEPT:
        found = []
        for axis, lengths in _axes(case.problem):
            other = None if over() else answered(case, _cut(case.problem, axis, lengths, kept))
            tape = None if other is None or not other.wrong else other.tape
            if other is not None and tape is not None and whole is not None:
                if len(tape.nodes) < SHORTER * len(whole.nodes):
                    found.append((len(tape.nodes), other))
        if found:
            yield min(found, key=lambda one: one[0])[1]


def _axes(problem: Problem) -> Iterator[tuple[int, frozenset[int]]]:
    """The axes that may be one of steps, with the lengths to be cut: each alone, and all of an axis together."""
    arrays = [one for one in problem.data if isinstance(one, np.ndarray)]
    for axis in range(max((one.ndim for one in arrays), default=0)):
        if axis != problem.batch_axis:
            lengths = {one.shape[axis] for one in arrays if one.ndim > axis and one.shape[axis] > min(KEPT)}
            yield from ((axis, frozenset([length])) for length in sorted(lengths))
            if len(lengths) > 1:
                yield axis, frozenset(lengths)


def _cut(problem: Problem, axis: int, lengths: frozenset[int], kept: int) -> Problem:
    return replace(problem, data=tuple(_shortened(one, axis, lengths, kept) for one in problem.data))


def _shortened(value: Any, axis: int, lengths: frozenset[int], kept: int) -> Any:
    if not isinstance(value, np.ndarray) or value.ndim <= axis or value.shape[axis] not in lengths:
        return value
    return np.take(value, range(min(kept, value.shape[axis])), axis=axis)


def counterparts(found: Sequence[Fault], faults: Sequence[Fault]) -> Iterator[tuple[Fault, ...]]:
    """The same broken rules among those of the whole: at the same operations, at whichever of their passages."""
    wanted = [_signature(one) for one in found]
    alike: dict[tuple[object, ...], list[Fault]] = {one: [] for one in wanted}
    for fault in faults:
        signature = _signature(fault)
        if signature in alike:
            alike[signature].append(fault)
    yield from itertools.product(*(alike[one][:MOST_LIKE] for one in wanted))


def _signature(fault: Fault) -> tuple[object, ...]:
    return fault.code, fault.site, PASSAGES.sub("", fault.message)
