"""The reference on other inputs: one sample of the batch, each by itself, an array that is one axis short."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from gradproof.case import Problem
from gradproof.diagnosis.fault import Fault, Model
from gradproof.diagnosis.survey import Survey
from gradproof.oracles import Arrays

MOST_ALONE = 64  # samples that are run one by one


def faults(survey: Survey) -> Iterator[Fault]:
    """For the batch: its first and its last sample alone. For each data array: an axis of length 1 more, or less."""
    _tape, _places, problem = survey.tape, survey.places, survey.problem
    count = problem.samples
    if count is not None and count > 1:
        for index, which in ((-1, "last"), (0, "first")):
            chosen = [index % count]
            message = f"the gradient is that of the {which} sample alone, not of all {count}"
            yield _of_samples("one-sample-only", message, chosen, problem, 1.0)
    if count is not None and 1 < count <= MOST_ALONE:
        yield from (_contribution(index, which, count) for index, which in ((-1, "last"), (0, "first")))
        yield _each_alone("averaged", count, 1 / count)
        yield _each_alone("added up", count, 1.0)
    for position, name in enumerate(problem.named_data):
        yield from _broadcast(position, name, problem)


def _contribution(index: int, which: str, count: int) -> Fault:
    """One sample's part of a mean over the samples; nothing where the loss is none."""

    def custom(model: Model) -> tuple[Arrays, float] | None:
        each = model.each_sample
        if each is None or not np.isclose(sum(one.loss for one in each) / count, model.tape.loss()):
            return None
        return {name: one / count for name, one in each[index].gradients.items()}, each[index].loss / count

    message = f"the gradient is the contribution of the {which} sample alone, not the sum over all {count}"
    return Fault("one-sample-only", message, None, 1.3, custom=custom)


def _each_alone(how: str, count: int, weight: float) -> Fault:
    """Not the same where the samples share a denominator: the number of unmasked steps, the sum of weights."""
    message = f"the loss of each of the {count} samples is worked out by itself, and these are {how}; the reference"
    message += " divides by what they have in common"

    def custom(model: Model) -> tuple[Arrays, float] | None:
        each = model.each_sample
        if each is None:
            return None
        totals = {name: weight * np.sum([one.gradients[name] for one in each], axis=0) for name in each[0].gradients}
        return totals, sum(one.loss for one in each) * weight

    return Fault("wrong-reduction", message, None, 1.6, custom=custom)


def _of_samples(code: str, message: str, chosen: list[int], problem: Problem, rank: float) -> Fault:
    def inputs(other: Problem) -> Problem:
        return other.take(chosen)

    return Fault(code, message, None, rank, inputs=inputs)


def _broadcast(position: int, name: str, problem: Problem) -> Iterator[Fault]:
    array = problem.named_data[name]
    if array.dtype.kind not in "fiu" or len(array.shape) not in (1, 2):
        return
    n = array.shape[0]
    if array.ndim == 1 and n > 1:
        words = f"{name} of shape ({n},) met an array of shape ({n}, 1)"
        yield _reshaped(position, name, (n, 1), f"{words} and became ({n}, {n}): every sample against every other")
    elif array.ndim == 2 and array.shape[1] == 1 and n > 1:
        words = f"an array of shape ({n},) met {name} of shape ({n}, 1)"
        yield _reshaped(position, name, (n,), f"{words} and became ({n}, {n}): every sample against every other")


def _reshaped(position: int, name: str, shape: tuple[int, ...], message: str) -> Fault:
    def inputs(other: Problem) -> Problem:
        data = list(other.data)
        where = next(i for i, one in enumerate(data) if one is other.named_data[name])
        data[where] = data[where].reshape(shape)
        return replace(other, data=tuple(data))

    return Fault("broadcast", message, None, 0.9, inputs=inputs)
