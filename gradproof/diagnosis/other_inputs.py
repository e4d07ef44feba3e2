"""The right computation on other inputs: a mask turned round or forgotten, steps reversed, two arrays exchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np

from gradproof.case import Problem
from gradproof.diagnosis.fault import Fault, Model
from gradproof.diagnosis.survey import Survey
from gradproof.oracles import Array, Arrays

RANK = 1.55
Change = Callable[[Array], Array]


def faults(survey: Survey) -> Iterator[Fault]:
    """For each data array, and each two: what else they may be taken for. The same for parameters."""
    problem = survey.problem
    arrays = {i: one for i, one in enumerate(problem.data) if isinstance(one, np.ndarray)}
    for i, array in arrays.items():
        name = problem.data_name(i)
        for code, message, change in (*_of_mask(name, array), *_ignored(name, array), *_of_steps(name, array, problem)):
            yield _changed(code, message, _only(i, change))
    for (i, one), (j, other) in combinations(arrays.items(), 2):
        if one.shape == other.shape and one.dtype == other.dtype and not np.array_equal(one, other):
            message = f"{problem.data_name(i)} and {problem.data_name(j)} are exchanged"
            yield _changed("wrong-operand", message, _exchanged(i, j))
    yield from _of_parameters(problem.params)


def _of_mask(name: str, array: Array) -> Iterator[tuple[str, str, Change]]:
    if array.size > 1 and np.all((array == 0) | (array == 1)) and np.any(array != array.flat[0]):
        yield "wrong-operand", f"{name} is taken the other way round: 1 for 0, and 0 for 1", _turned_round
        if array.dtype.kind != "f":
            yield "wrong-operand", f"{name} is not looked at: it is taken to be 1 everywhere", np.ones_like
    elif array.dtype.kind == "i" and array.ndim == 1 and array.size > 1 and array.min() > 0:
        message = f"each entry of {name} is taken to be the largest, {array.max()}: what lies beyond an end counts too"
        yield "wrong-operand", message, lambda x: np.full_like(x, x.max())


def _ignored(name: str, array: Array) -> Iterator[tuple[str, str, Change]]:
    """A first state that is left at zero, weights that are left at one."""
    if array.size > 1 and array.dtype.kind == "f":
        for number, change in ((0, np.zeros_like), (1, np.ones_like)):
            if np.any(array != number):
                yield "wrong-operand", f"{name} is not looked at: it is taken to be {number} everywhere", change


def _turned_round(array: Array) -> Array:
    return np.asarray(~array if array.dtype == bool else 1 - array, dtype=array.dtype)


def _of_steps(name: str, array: Array, problem: Problem) -> Iterator[tuple[str, str, Change]]:
    """Along each axis that does not count samples: in reversed order, or moved by one."""
    for axis, length in enumerate(array.shape):
        if axis == problem.batch_axis or length < 2:
            continue
        yield "flipped", f"{name} is taken in reversed order along axis {axis}", _reversed(axis)
        for words, by in (("before", 1), ("after", -1)):
            for end, empty in (("the other end's at the end", False), ("zeros at the end", True)):
                message = f"each entry of {name} along axis {axis} is the one {words} it, {end}"
                yield "shifted-in-time", message, _moved(axis, by, empty)


def _reversed(axis: int) -> Change:
    return lambda array: np.flip(array, axis)


def _moved(axis: int, by: int, empty: bool) -> Change:
    def moved(array: Array) -> Array:
        found = np.roll(array, by, axis)
        if empty:
            np.moveaxis(found, axis, 0)[0 if by > 0 else -1] = 0
        return found

    return moved


def _only(i: int, change: Change) -> Callable[[list[Any]], None]:
    def of_all(data: list[Any]) -> None:
        data[i] = np.ascontiguousarray(change(data[i]))

    return of_all


def _exchanged(i: int, j: int) -> Callable[[list[Any]], None]:
    def of_all(data: list[Any]) -> None:
        data[i], data[j] = data[j], data[i]

    return of_all


def _changed(code: str, message: str, change: Callable[[list[Any]], None]) -> Fault:
    def inputs(problem: Problem) -> Problem:
        data = list(problem.data)
        change(data)
        return replace(problem, data=tuple(data))

    return Fault(code, message, None, RANK, inputs=inputs, in_both=True)


def _of_parameters(params: Arrays) -> Iterator[Fault]:
    """A square parameter that is used transposed everywhere; two of one shape, each in the other's place."""
    for name, value in params.items():
        if value.ndim == 2 and value.shape[0] == value.shape[1] > 1:
            yield _at_others("not-transposed", f"{name} is used transposed wherever it stands", _transposed(name))
    for one, other in combinations(params, 2):
        if params[one].shape == params[other].shape and params[one].size > 1:
            message = f"{one} and {other} are exchanged wherever they stand"
            yield _at_others("wrong-operand", message, _in_place_of_each_other(one, other))


def _transposed(name: str) -> Callable[[Arrays], Arrays]:
    return lambda arrays: {**arrays, name: arrays[name].T}


def _in_place_of_each_other(one: str, other: str) -> Callable[[Arrays], Arrays]:
    return lambda arrays: {**arrays, one: arrays[other], other: arrays[one]}


def _at_others(code: str, message: str, exchange: Callable[[Arrays], Arrays]) -> Fault:
    """The reference at rearranged parameters; its gradients, rearranged back."""

    def custom(model: Model) -> tuple[Arrays, float] | None:
        found = model.answer(replace(model.problem, params=exchange(model.problem.params)))
        return None if found is None else (exchange(found.gradients), found.loss)

    return Fault(code, message, None, RANK, custom=custom, in_both=True)
