"""What can be done to a whole gradient at the very end: a constant factor, a sign, a transpose, a reversed axis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, permutations

import numpy as np

from gradproof.case import Case
from gradproof.diagnosis.constants import named
from gradproof.oracles import Array
from gradproof.report import along
from gradproof.tape import Tape
from gradproof.tolerances import largest

ZERO = "it is zero at "
OTHER = "the one of "
SUMMED = "summed over "
AVERAGED = "but for a mean over entries that should be a sum"
ADDED = ("add", "sub", "addmm", "convolution", "baddbmm")  # operations that add one number to several entries


@dataclass(frozen=True)
class Transform:
    """A rearrangement of the entries, and a factor. `words` names the factor, where it has a name."""

    arrangement: str  # "", "transposed", "flipped along axis 0" ...
    factor: float
    words: str | None
    count: int = 1  # of the entries that a sum is over

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
            of_a_sum = self.arrangement.startswith((SUMMED, AVERAGED))
            code = "wrong-reduction" if of_a_sum else self.arrangement.split()[0]
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


def averaged(case: Case, transforms: Mapping[str, Transform]) -> dict[str, Transform]:
    """Factors that differ, told as one mistake where each is one over the entries that the gradient is the sum over."""
    tape = case.tape if len({one.factor for one in transforms.values()}) > 1 else None
    if tape is None:
        return dict(transforms)
    made = {}
    for name, one in transforms.items():
        counts = _counts(tape, name, case.problem.samples or 1)
        if one.arrangement or not any(np.isclose(one.factor * count, 1.0, rtol=1e-9) for count in counts):
            return dict(transforms)
        made[name] = Transform(AVERAGED, 1.0, None, round(1 / one.factor))
    return made


def _counts(tape: Tape, name: str, samples: int) -> list[float]:
    """To how many entries each number of a parameter is added: in one operation, in all of them, and of a sample."""
    value = tape.parameters[name]
    nodes = [tape.nodes[index] for index in tape.consumers.get(value, ())]
    if not nodes or any(node.name not in ADDED for node in nodes):
        return []
    each = {tape.values[node.outputs[0]].numel() / tape.values[value].numel() for node in nodes}
    return [min(each) * share for share in (1, len(nodes), 1 / samples)] if len(each) == 1 else []


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
            kept = right.copy()
            kept[(slice(None),) * axis + (empty,)] = 0
            yield f"{ZERO}{along(axis, right.ndim, empty.tolist())}", kept
