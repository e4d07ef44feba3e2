"""What the lines of a function make on their way: arrays told by a few sums that no layout and no order changes."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradproof.own_code.statements import with_fields

NOTE = "_gradproof_note"  # the name under which the functions find where to note what they make
MOST_NOTES = 4000  # of one call
MOST_WHOLE = 50  # times that a whole array is looked at after an entry of it was written
EXACT = 1e-7  # how near two arrays are told to be the same, by sums of powers of their entries over their size
SIZES = 1e-9  # how near to a whole number a count of entries is that all have one size
NO_SIZE = -1e3  # the logarithm of a size that nothing has
MIX = np.random.default_rng(7).integers(1, 2**40, 4) * 2 + 1  # tells any two lists of whole numbers apart
Sums = np.ndarray  # for each of several arrays, the sums of its entries, of their squares, cubes and fourth powers


@dataclass
class Notes:
    """What was made at each place, each time."""

    made: dict[tuple[int, bool], list[np.ndarray]] = field(default_factory=dict)
    in_turn: list[tuple[int, np.ndarray]] = field(default_factory=list)  # the places, and what each has made, as it was

    def __call__(self, place: int, value: Any, around: bool = False) -> None:
        """Note an array or a number, or several in a list or a tuple; or the array around an entry."""
        known = self.made.setdefault((place, around), [])
        too_much = len(known) >= MOST_WHOLE or not isinstance(value, np.ndarray)
        if len(self.in_turn) >= MOST_NOTES or (around and too_much):
            return
        for one in value if isinstance(value, (tuple, list)) else (value,):
            array = np.array(one).ravel()
            if array.dtype.kind == "f" and array.size:
                known.append(array)
                self.in_turn.append((place, array))

    def clear(self) -> None:
        """Forget it all, before another call."""
        self.made.clear()
        self.in_turn.clear()

    def names(self) -> list[int]:
        """A number for each array that was made: each time, and at each place in all."""
        each = [sums(known) for known in self.made.values() if known]
        return names(np.concatenate([*each, *(one.sum(axis=0, keepdims=True) for one in each)])) if each else []


def sums(arrays: Sequence[np.ndarray]) -> Sums:
    """For each of several arrays without a layout, the sums of its entries, of their squares, cubes, fourth powers."""
    starts = np.cumsum([0, *(len(one) for one in arrays[:-1])])
    entries = np.concatenate(arrays)
    squares = entries * entries
    powers = np.stack([entries, squares, entries * squares, squares * squares])
    return np.add.reduceat(powers, starts, axis=1).T


def names(of: Sums) -> list[int]:
    """Numbers that are the same where arrays are, in any layout: with their size and sign, and but for a factor.

    None of an array whose entries are all of one size: such are masks, and constants; many things are.
    """
    of = of[telling(of)]
    size = np.sqrt(of[:, 1])
    form = np.stack([of[:, 0] / size, of[:, 2] / size**3, of[:, 3] / size**4], axis=1)
    turned = form.copy()
    turned[np.where(np.abs(form[:, 1]) > EXACT, form[:, 1], form[:, 0]) < 0, :2] *= -1
    exactly = np.column_stack([form, np.log(size)])
    but_for_a_factor = np.column_stack([turned, np.full(len(of), NO_SIZE)])
    found: list[int] = (np.round(np.concatenate([exactly, but_for_a_factor]) / EXACT).astype(np.int64) @ MIX).tolist()
    return found


def telling(of: Sums) -> np.ndarray:
    """Which of some arrays have a name."""
    with np.errstate(all="ignore"):
        count = of[:, 1] ** 2 / of[:, 3]
        of_several_sizes = np.abs(count - np.round(count)) > SIZES * count
    return np.asarray(np.isfinite(of).all(axis=1) & (of[:, 3] > 0) & of_several_sizes)


def noting(statement: ast.stmt) -> list[ast.stmt]:
    """What notes the values that a statement gives to names and entries: nothing where it gives none."""
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    given = [one for target in targets if target is not None for one in _given(target)]
    around = [one.value for one in given if isinstance(one, ast.Subscript)]
    calls = [_call(statement, one, False) for one in given] + [_call(statement, one, True) for one in around]
    nothing = ast.ExceptHandler(ast.Name("Exception", ast.Load()), None, [ast.Pass()])
    return [ast.Try([ast.Expr(one)], [nothing], [], []) for one in calls]


def _given(target: ast.expr) -> Iterator[ast.expr]:
    """The names and entries that a target writes to, to be read."""
    if isinstance(target, ast.Starred):
        yield from _given(target.value)
    elif isinstance(target, (ast.Tuple, ast.List)):
        yield from (found for one in target.elts for found in _given(one))
    else:
        yield with_fields(target, ctx=ast.Load())


def _call(statement: ast.stmt, value: ast.expr, around: bool) -> ast.Call:
    return ast.Call(ast.Name(NOTE, ast.Load()), [ast.Constant(id(statement)), value, ast.Constant(around)], [])
