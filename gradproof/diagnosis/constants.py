"""Constants in a reader's words: a factor of 5 is the batch size, one of 0.1 is one over the number of classes."""

from __future__ import annotations

import weakref
from bisect import bisect_left, bisect_right
from fractions import Fraction

import numpy as np

from gradproof.case import Problem
from gradproof.report import number


def sizes(problem: Problem) -> dict[int, str]:
    """The sizes of a problem, by value: the first name of each is the one that is told."""
    found: dict[int, str] = {}
    if problem.samples:
        found[problem.samples] = f"the batch size {problem.samples}"
    for name, value in [*problem.named_data.items(), *problem.params.items()]:
        shape = getattr(value, "shape", ())
        for axis, length in enumerate(shape):
            found.setdefault(length, f"{length}, the length of axis {axis} of {name}")
        if len(shape) > 1:
            count = int(np.prod(shape))
            found.setdefault(count, f"{count}, the number of entries of {name}")
    for name, value in problem.named_data.items():  # of a sequence of numbers, the next of which is to be told
        if value.dtype.kind in "iu" and value.ndim == 2:
            steps = value.shape[1] - 1
            found.setdefault(steps, f"{steps}, one less than the length of axis 1 of {name}")
    return {length: name for length, name in found.items() if length > 1}


def named(factor: float, problem: Problem, rtol: float = 1e-9) -> str | None:
    """A factor in words; None where it is no constant that code could have got wrong."""
    if not np.isfinite(factor):
        return None
    if factor < 0:
        positive = named(-factor, problem, rtol)
        return f"minus {positive}" if positive else None
    values, ranks, names = _table(problem)
    near = slice(bisect_left(values, factor / (1 + rtol)), bisect_right(values, factor / (1 - rtol)))
    if ranks[near]:
        return names[min(ranks[near])]
    fraction = Fraction(factor).limit_denominator(64)
    if fraction and abs(float(fraction) - factor) <= rtol * factor and fraction.numerator <= 64:
        return str(fraction) if fraction.denominator > 1 else f"{fraction.numerator}"
    decimal = float(f"{factor:.2g}")
    if abs(decimal - factor) <= rtol * factor and 1e-4 <= factor <= 1e4:
        return number(factor)
    return None


Table = tuple[list[float], list[int], list[str]]
_TABLES: weakref.WeakKeyDictionary[Problem, Table] = weakref.WeakKeyDictionary()


def _table(problem: Problem) -> Table:
    """The constants that a problem's sizes make, in order; the rank of each, and by rank the names; made once."""
    if problem not in _TABLES:
        known = _combined(sizes(problem))
        ordered = sorted((value, rank) for rank, (value, _) in enumerate(known))
        _TABLES[problem] = [value for value, _ in ordered], [rank for _, rank in ordered], [name for _, name in known]
    return _TABLES[problem]


def _combined(known: dict[int, str]) -> list[tuple[float, str]]:
    found = [(1.0, "1"), (2.0, "2"), (0.5, "1/2")]
    for size, name in known.items():
        found += [(size, name), (1 / size, f"1/{size} (one over {name})")]
    for size, name in known.items():
        found += [(2 * size, f"2 times {name}"), (size / 2, f"half of {name}"), (2 / size, f"2/{size} ({name})")]
        found += [(1 / (2 * size), f"1/(2*{size}) ({name})"), (size**2, f"the square of {name}")]
        found += [(1 / size**2, f"one over the square of {name}"), (size**0.5, f"the square root of {name}")]
        found += [(size**-0.5, f"one over the square root of {name}")]
    for size, name in known.items():
        found += [(size / other, _quotient(size, other, known)) for other in known]
        found += [(size * other, f"{name}, times {more}") for other, more in known.items()]
        found += [(size / (size - 1), f"{size}/{size - 1} (perhaps {name})")]
        found += [((size - 1) / size, f"{size - 1}/{size} (perhaps {name})")]
    return found


def _quotient(size: int, other: int, known: dict[int, str]) -> str:
    """One size over another; as a plain number where it is one, since there are many ways to make it."""
    fraction = Fraction(size, other)
    if 1 in (fraction.numerator, fraction.denominator):
        return str(fraction)
    return f"{size}/{other} (perhaps {known[size]}, over {known[other]})"
