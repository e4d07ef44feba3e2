"""What can be done to a whole gradient at the very end: a constant factor, a sign, a transpose, a reversed axis."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, permutations

import numpy as np

from gradproof.case import Case
from gradproof.diagnosis.constants import named
from gradproof.oracles import Array
from gradproof.tolerances import largest

ZERO = "it is zero at "
OTHER = "the one of "
SUMMED = "summed over "


@dataclass(frozen=True)
class Transform:
    """A rearrangement of the entries, and a factor. `words` names the factor, where it has a name."""

    arrangement: str  # "", "transposed", "flipped along axis 0" ...
    factor: float
    words: str | None

    @property
    def kind(self) -> str:
        """What was done to the entries: gradients exchanged among parameters are one mistake."""
        return OTHER if self.arrangement.startswith(OTHER) else self.arrangement

    @property
    def cost(self) -> int:
        return bool(self.arrangement) + (self.factor < 0) + (not np.isclose(abs(self.factor), 1.0, rtol=1e-9))

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """The finding code and the message of each part."""
        if self.arrangement.startswith(ZERO):
            yield "missing-path", f"your gradient is the right one, but {self.arrangement}"
        elif self.arrangement.startswith(OTHER):
            yield "wrong-operand", f"your gradient is {self.arrangement}"
        elif self.arrangement:
            code = "wrong-reduction" if self.arrangement.startswith(SUMMED) else self.arrangement.split()[0]
            yield code, f"your gradient is the right one, {self.arrangement}"
        if self.factor < 0:
            yield "wrong-sign", "your gradient is minus the right one"
        size = abs(self.factor)
        if not np.isclose(size, 1.0, rtol=1e-9):
            words = self.words.removeprefix("minus ") if self.words else f"{size:.6g}, a constant without a known name"
            yield "wrong-scale", f"your gradient is the right one times {words}, in every entry"


def find_transform(case: Case, name: str, ours: Array, right: Array, only_named: bool = False) -> Transform | None:
    """The simplest transform that makes `ours` of `right`; None where there is none."""
    found = []
    arrangements = [*_arrangements(right)]
    if not only_named:
        arrangements += [*_of_others(case, name), *_zeroed(ours, right), *_reread(right), *_summed(right)]
    for arrangement, array in arrangements:
        if array.shape != ours.shape:
            continue
        factor = _factor(ours, array)
        if factor is None or not case.agrees(name, ours, factor * array):
            continue
        words = "1" if factor == 1 else named(factor, case.problem)
        few = np.count_nonzero(right) < 3  # one or two numbers are always a multiple, or nearly so
        if words is None and (only_named or few or arrangement):
            continue
        found.append(Transform(arrangement, factor, words))
    return min(found, key=lambda one: (one.cost, len(one.arrangement)), default=None)


def _factor(ours: Array, right: Array) -> float | None:
    size = largest(right)
    if size == 0.0:
        return None
    scaled = right / size  # so that the squares of a tiny gradient do not underflow
    factor = float(np.vdot(scaled, ours) / np.vdot(scaled, scaled)) / size
    if factor == 0.0 or not np.isfinite(factor):
        return None
    nearest = round(factor)
    return float(nearest) if nearest and abs(factor - nearest) < 1e-9 * abs(nearest) else factor


def _arrangements(array: Array) -> Iterator[tuple[str, Array]]:
    yield "", array
    if array.ndim >= 2:
        yield "transposed", array.swapaxes(-1, -2)
    if array.ndim > 2:
        yield "transposed (all axes reversed)", array.T
        for one, other in combinations(range(array.ndim), 2):
            yield f"transposed in axes {one} and {other}", array.swapaxes(one, other)
    axes = [axis for axis in range(array.ndim) if array.shape[axis] > 1]
    for count in range(1, min(len(axes), 3) + 1):
        for chosen in combinations(axes, count):
            words = "axis " + str(chosen[0]) if count == 1 else "axes " + " and ".join(map(str, chosen))
            yield f"flipped along {words}", np.flip(array, chosen)


def _reread(array: Array) -> Iterator[tuple[str, Array]]:
    """The entries of an array of three or four axes, read with its axes in another order."""
    for order in list(permutations(range(array.ndim)))[1:] if 3 <= array.ndim <= 4 else ():
        words = f"transposed in how its entries are read: those of the axes in the order {order}"
        yield words, array.transpose(order).reshape(array.shape)


def _of_others(case: Case, name: str) -> Iterator[tuple[str, Array]]:
    """The gradients of the other parameters, where they have the same shape."""
    for other, value in case.truth.gradients.items():
        if other != name:
            yield f"{OTHER}{other}", value


def _summed(right: Array) -> Iterator[tuple[str, Array]]:
    """The sums over further axes of the gradient, in the place of each of their entries."""
    axes = [axis for axis in range(right.ndim) if right.shape[axis] > 1]
    for count in range(1, len(axes) + 1):
        for chosen in combinations(axes, count):
            sums = right.sum(axis=chosen, keepdims=True)
            if largest(sums) > 1e-6 * largest(right):  # those behind a softmax cancel
                words = f"axis {chosen[0]}" if count == 1 else f"the axes {' and '.join(map(str, chosen))}"
                yield f"{SUMMED}{words} as well", np.broadcast_to(sums, right.shape)


def _zeroed(ours: Array, right: Array) -> Iterator[tuple[str, Array]]:
    """The right gradient with zeros in whole rows, columns or slices, where the candidate's has them."""
    for axis in range(right.ndim):
        rest = tuple(i for i in range(right.ndim) if i != axis)
        empty = np.flatnonzero(np.all(ours == 0, axis=rest) & np.any(right != 0, axis=rest))
        if 0 < len(empty) < right.shape[axis]:
            what = ("row" if axis == 0 else "column") if right.ndim == 2 else f"index along axis {axis}:"
            kept = right.copy()
            kept[(slice(None),) * axis + (empty,)] = 0
            yield f"{ZERO}{what} {', '.join(map(str, empty[:8]))}", kept
