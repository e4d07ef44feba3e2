"""Whether an explanation holds again on fresh inputs: numbers that agree by a coincidence do not."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from gradproof import oracles
from gradproof.case import Case, Problem
from gradproof.diagnosis.explanation import Explanation, evaluate
from gradproof.diagnosis.fault import Model

MOST_CONFIRMED = 40  # explanations that are tried on fresh inputs
TIE = 0.15  # explanations whose ranks are so close are told together


@dataclass
class Confirmation:
    """Whether an explanation holds again on fresh inputs: numbers that agree by a coincidence do not."""

    case: Case
    known: dict[int, tuple[Explanation, bool]] = field(default_factory=dict)  # what was asked before, by identity

    @cached_property
    def fresh(self) -> Case | None:
        return fresh_case(self.case)

    def holds(self, one: Explanation) -> bool:
        if id(one) not in self.known:
            self.known[id(one)] = (one, self.fresh is None or holds(self.fresh, one))
        return self.known[id(one)][1]

    def best(self, found: list[Explanation]) -> list[Explanation]:
        """Of explanations in the order of their ranks: the first that holds, and those that are as good."""
        kept: list[Explanation] = []
        for one in found[:MOST_CONFIRMED]:
            if kept and one.rank > kept[0].rank + TIE:
                break
            if self.holds(one):
                kept.append(one)
        return kept


def fresh_case(case: Case) -> Case | None:
    """The same comparison with other parameters and data; None where the candidate does not answer there.

    Where only the data cannot be other ones (the candidate or the reference does not take them), the parameters are.
    """
    if case.program is None:
        return None
    rng = np.random.default_rng(7)
    params = {name: _redrawn(value, rng) for name, value in case.problem.params.items()}
    data = tuple(_redrawn_data(one, rng) for one in case.problem.data)
    for other in (replace(case.problem, params=params, data=data), replace(case.problem, params=params)):
        found = answered(case, other)
        if found is not None:
            return found
    return None


def answered(case: Case, problem: Problem) -> Case | None:
    """The comparison on another problem; None where one of the two sides does not take it."""
    answer = case.ask(problem)
    if answer is None:
        return None
    loss, gradients = answer
    try:
        truth = case.truth_of(problem)
    except Exception:
        return None
    finite = all(np.all(np.isfinite(value)) for value in truth.gradients.values())
    if not finite or set(gradients) != set(case.gradients):
        return None
    return replace(case, problem=problem, truth=truth, loss=loss, gradients=gradients)


def _redrawn(value: oracles.Array, rng: np.random.Generator) -> oracles.Array:
    """Other numbers of the same kind: the signs stay, so that what must be positive is; zeros become small numbers."""
    other = value * rng.uniform(0.6, 1.4, value.shape)
    return np.asarray(np.where(value == 0, 0.05 * rng.standard_normal(value.shape), other), dtype=value.dtype)


def _redrawn_data(value: Any, rng: np.random.Generator) -> Any:
    """Other data of the same kind; as they are where they may be labels, masks, probabilities, a graph or sorted."""
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f" or value.size < 2:
        return value
    whole = np.array_equal(value, np.round(value))
    flat = value.reshape(-1)
    sorted_ = bool(np.all(np.diff(flat) >= 0) or np.all(np.diff(flat) <= 0))
    square = value.ndim > 1 and value.shape[-1] == value.shape[-2]
    normalised = value.ndim > 0 and np.allclose(value.sum(axis=-1), 1)
    if whole or sorted_ or square or normalised:
        return value
    return np.asarray(value * rng.uniform(0.75, 1.0, value.shape), dtype=value.dtype)


def holds(fresh: Case, one: Explanation) -> bool:
    """Whether the same broken rules give the candidate's numbers on fresh inputs."""
    if not one.faults:
        again = evaluate(fresh, None, ())
    else:
        tape = fresh.tape
        if tape is None or fresh.program is None:
            return True
        again = evaluate(fresh, Model(fresh.program, fresh.problem, tape), one.faults)
    if again is None or not again.complete:
        return False
    for name, transform in one.transforms.items():
        other = again.transforms.get(name)
        if other is None or other.arrangement != transform.arrangement:
            return False
        if not np.isclose(other.factor, transform.factor, rtol=1e-6):
            return False
    return set(again.transforms) <= set(one.transforms)
