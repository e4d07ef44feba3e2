"""All arrays of one shape that somebody may multiply with: those of the reference, and what one or two of them make."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Protocol

import numpy as np
import torch

from gradproof.diagnosis.pool import fitted
from gradproof.tape import Tape, Tensor

MOST_ARRAYS = 60  # of which others are made by twos
MOST_NUMBERS = 20_000_000  # that these may have together (160 MB)


@dataclass(frozen=True)
class _Whole:
    """What is made of values as they are, in a shape: rows looked up, a transpose, the first or last entries."""

    shape: tuple[int, ...]
    transposed: bool = False
    last: bool = False
    strided: bool = False
    reduced: Callable[[Tensor], Tensor] | None = None

    def __call__(self, value: Tensor, rows: Tensor | None = None) -> Tensor:
        if rows is not None:
            value = value[rows].reshape(self.shape)
        elif self.reduced is not None:
            value = self.reduced(value)
        elif self.transposed:
            value = value.mT
        elif self.strided:
            value = value[tuple(slice(None, None, a // b) for a, b in zip(value.shape, self.shape, strict=True))]
        else:
            for axis, length in enumerate(self.shape):
                value = value.narrow(axis, value.shape[axis] - length if self.last else 0, length)
        return value.to(torch.float64)


@dataclass(frozen=True)
class Made:
    """An array made of values of the reference.

    `inverse` is in words what it is one over, where it is; `code` that of the mistake, where that is told by it alone.
    """

    words: str
    values: tuple[int, ...]
    function: Callable[..., Tensor]
    inverse: str = ""
    code: str = ""

    def array(self, tape: Tape, shape: Sequence[int]) -> Tensor:
        """Its numbers. Raises ValueError where a value cannot be spread to the shape."""
        if isinstance(self.function, _Whole):
            return self.function(*(tape.values[value] for value in self.values))
        return self.function(*(spread(tape.values[value], shape) for value in self.values)).expand(tuple(shape))

    def moved(self, tape: Tape, shift: int) -> Made | None:
        """The same of another passage, so many operations later; None where there is no such one."""
        values = []
        for value in self.values:
            maker = tape.producer.get(value)
            if maker is None or shift == 0:
                values.append(value)
                continue
            other = maker + shift
            if not 0 <= other < len(tape.nodes) or tape.nodes[other].name != tape.nodes[maker].name:
                return None
            values.append(tape.nodes[other].outputs[tape.nodes[maker].outputs.index(value)])
        return replace(self, values=tuple(values))


def spread(value: Tensor, shape: Sequence[int]) -> Tensor:
    """An array in another shape, by the rules of broadcasting, or with one number for each row. Raises ValueError."""
    shape = tuple(shape)
    found = fitted(value, shape)
    if found is None and tuple(value.shape) == shape[: value.dim()]:
        found = value.reshape(*value.shape, *(1,) * (len(shape) - value.dim())).expand(shape)
    if found is None:
        try:
            found = value.expand(shape)
        except RuntimeError:
            raise ValueError("the shapes do not fit") from None
    return found.to(torch.float64)


ALONE: dict[str, Callable[[Tensor], Tensor]] = {
    "{}": lambda x: x,
    "1 / {}": lambda x: 1 / x,
    "1 - {}": lambda x: 1 - x,
    "1 + {}": lambda x: 1 + x,
    "{} ** 2": lambda x: x * x,
    "1 / {} ** 2": lambda x: 1 / (x * x),
    "1 - {} ** 2": lambda x: 1 - x * x,
    "{0} * (1 - {0})": lambda x: x * (1 - x),
    "(1 - {0}) / {0}": lambda x: (1 - x) / x,
    "sqrt({})": torch.sqrt,
    "1 / sqrt({})": torch.rsqrt,
    "exp({})": torch.exp,
    "exp(-{})": lambda x: torch.exp(-x),
    "log({})": torch.log,
    "({} > 0)": lambda x: (x > 0).to(x.dtype),
}
TOGETHER: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "{} * {}": lambda x, y: x * y,
    "{} / {}": lambda x, y: x / y,
    "1 / ({} * {})": lambda x, y: 1 / (x * y),
    "({} - {})": lambda x, y: x - y,
    "({} + {})": lambda x, y: x + y,
}
COMMUTE = ("{} * {}", "1 / ({} * {})", "({} - {})", "({} + {})")  # a sign is looked for anyway


class Arrangement(Protocol):
    def __call__(self, x: Tensor, axis: int) -> Tensor: ...


# Of an array along an axis: the words, and what becomes of it.
ALONG: dict[str, Arrangement] = {
    "the first of {} along axis {} for all": lambda x, axis: x.narrow(axis, 0, 1).expand(x.shape),
    "the last of {} along axis {} for all": lambda x, axis: x.narrow(axis, -1, 1).expand(x.shape),
    "{}, one further along axis {}": lambda x, axis: _without(x.roll(-1, axis), axis, -1),
    "{}, one back along axis {}": lambda x, axis: _without(x.roll(1, axis), axis, 0),
    "{}, one further along axis {}, the first after the last": lambda x, axis: x.roll(-1, axis),
    "{}, one back along axis {}, the last before the first": lambda x, axis: x.roll(1, axis),
    "{} in reversed order along axis {}": lambda x, axis: x.flip(axis),
    "{} without the first along axis {}": lambda x, axis: _without(x, axis, 0),
    "{} without the last along axis {}": lambda x, axis: _without(x, axis, -1),
    "{} less its mean along axis {}": lambda x, axis: x - x.mean(axis, keepdim=True),
    "the mean of {} along axis {}": lambda x, axis: x.mean(axis, keepdim=True).expand(x.shape),
    "the running sum of {} along axis {}": lambda x, axis: x.cumsum(axis),
}
# What is left of an array along an axis.
REDUCED: dict[str, Arrangement] = {
    "the mean": lambda x, axis: x.mean(axis),
    "the sum": lambda x, axis: x.sum(axis),
    "the largest": lambda x, axis: x.amax(axis),
    "the first": lambda x, axis: x.select(axis, 0),
    "the last": lambda x, axis: x.select(axis, -1),
}
RESHAPED = ("view", "_unsafe_view", "reshape", "flatten", "squeeze", "unsqueeze")
MOST_ARRANGED = 30  # arrays that are arranged in other ways


def _without(x: Tensor, axis: int, index: int) -> Tensor:
    """An array with zeros at one index of an axis."""
    found = x.clone()
    found.select(axis, index).zero_()
    return found


@dataclass(frozen=True)
class Arrays:
    """All arrays of one shape, each set of numbers once."""

    tape: Tape
    shape: tuple[int, ...]
    batch_axis: int | None

    @cached_property
    def plain(self) -> list[Made]:
        """The values that can be spread to the shape."""
        found: dict[bytes, Made] = {}
        named = {number: name for names in (self.tape.data, self.tape.parameters) for name, number in names.items()}
        for value, tensor in enumerate(self.tape.values):
            maker = self.tape.nodes[self.tape.producer[value]] if value in self.tape.producer else None
            if maker is None and value not in named:
                continue
            if tensor.dtype.is_floating_point or tensor.dtype == torch.bool:
                try:
                    array = spread(tensor, self.shape)
                except ValueError:
                    continue
                words = named[value] if maker is None else shown_value(self.tape, value)
                found.setdefault(_key(array), Made(words, (value,), ALONE["{}"]))
        return list(found.values())

    @cached_property
    def alone(self) -> tuple[list[Made], Tensor]:
        """What is made of one array, with its numbers, a row for each; first the number 1."""
        made = [Made("1", (), lambda: torch.ones((), dtype=torch.float64))]
        for pattern, function in ALONE.items():
            for one in self.plain:
                inverse = one.words if pattern == "1 / {}" else ""
                made.append(Made(pattern.format(one.words), one.values, function, inverse))
        return self._table(made)

    @cached_property
    def together(self) -> tuple[list[Made], Tensor]:
        """What is made of two arrays."""
        plain = self.plain[:MOST_ARRAYS]
        made = []
        for pattern, function in TOGETHER.items():
            for i, one in enumerate(plain):
                for j, other in enumerate(plain):
                    if i < j or (i != j and pattern not in COMMUTE):
                        inverse = f"{one.words} * {other.words}" if pattern.startswith("1 /") else ""
                        words = pattern.format(one.words, other.words)
                        made.append(Made(words, (*one.values, *other.values), function, inverse))
        entries = int(np.prod(self.shape, dtype=int))
        return self._table(made if len(made) * entries <= MOST_NUMBERS else [])

    @cached_property
    def arranged(self) -> tuple[list[Made], Tensor]:
        """The values with their entries in other places, rows of one looked up in another, parts of larger ones."""
        entries = int(np.prod(self.shape, dtype=int))
        made = [*self._looked_up(), *self._parts_of_larger(), *self._reduced()]
        for one in [one for one in self.plain if self.tape.values[one.values[0]].numel() == entries][:MOST_ARRANGED]:
            for shape in self._shapes_of(one.values[0]):
                for axis, length in enumerate(shape):
                    for pattern, arrange in ALONG.items() if length > 1 else ():
                        function = self._arranged(arrange, axis, shape)
                        code = _code(pattern, in_time=axis != self.batch_axis)
                        made.append(Made(pattern.format(one.words, axis), one.values, function, code=code))
        return self._table(made if len(made) * entries <= MOST_NUMBERS else [])

    def _arranged(self, arrange: Arrangement, axis: int, shape: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
        return lambda x: arrange(x.reshape(shape), axis).reshape(self.shape)

    def _shapes_of(self, value: int) -> list[tuple[int, ...]]:
        """The shapes that an array had before it was given this one, and this one."""
        found = [self.shape, tuple(self.tape.values[value].shape)]
        while (maker := self.tape.producer.get(value)) is not None and self.tape.nodes[maker].name in RESHAPED:
            value = self.tape.nodes[maker].inputs[0]
            found.append(tuple(self.tape.values[value].shape))
        return list(dict.fromkeys(found))

    def _looked_up(self) -> Iterator[Made]:
        """The rows of each table at each array of whole numbers."""
        whole = [(v, one) for v, one in enumerate(self.tape.values) if one.dtype == torch.int64 and 0 < one.dim() <= 2]
        names = {number: name for names in (self.tape.data, self.tape.parameters) for name, number in names.items()}
        for value, table in enumerate(self.tape.values):
            for index, rows in whole[:MOST_ARRANGED] if table.dtype.is_floating_point and table.dim() else ():
                shape = (*rows.shape, *table.shape[1:])
                if int(np.prod(shape)) == int(np.prod(self.shape)) and bool(((rows >= 0) & (rows < len(table))).all()):
                    words = f"{names.get(value, 'another array')} at the rows {names.get(index, 'that were looked up')}"
                    yield Made(words, (value, index), _Whole(self.shape))

    def _parts_of_larger(self) -> Iterator[Made]:
        """The first and the last entries of longer arrays, and transposed ones."""
        names = {number: name for names in (self.tape.data, self.tape.parameters) for name, number in names.items()}
        for value, one in enumerate(self.tape.values):
            if not one.dtype.is_floating_point or one.dim() != len(self.shape) or one.dim() < 2:
                continue
            words = names.get(value) or shown_value(self.tape, value)
            if tuple(one.mT.shape) == self.shape:
                yield Made(f"the transpose of {words}", (value,), _Whole(self.shape, transposed=True))
            if tuple(one.shape) != self.shape and all(a >= b for a, b in zip(one.shape, self.shape, strict=True)):
                yield Made(f"the first entries of {words}", (value,), _Whole(self.shape))
                yield Made(f"the last entries of {words}", (value,), _Whole(self.shape, last=True))
                if all(a % b == 0 for a, b in zip(one.shape, self.shape, strict=True)):
                    yield Made(f"every so many entries of {words}", (value,), _Whole(self.shape, strided=True))

    def _reduced(self) -> Iterator[Made]:
        """What is left of arrays with one axis more: their mean, sum, largest, first or last along it."""
        names = {number: name for names in (self.tape.data, self.tape.parameters) for name, number in names.items()}
        for value, one in enumerate(self.tape.values):
            shape = tuple(one.shape)
            if not one.dtype.is_floating_point or len(shape) != len(self.shape) + 1:
                continue
            for axis in range(len(shape)):
                if shape[:axis] + shape[axis + 1 :] == self.shape and shape[axis] > 1:
                    for words, reduce in REDUCED.items():
                        told = f"{words} of {names.get(value) or shown_value(self.tape, value)} along axis {axis}"
                        yield Made(told, (value,), _Whole(self.shape, reduced=partial(reduce, axis=axis)))

    def _table(self, made: list[Made]) -> tuple[list[Made], Tensor]:
        found: dict[bytes, tuple[Made, Tensor]] = {}
        for one in made:
            row = one.array(self.tape, self.shape).reshape(-1)
            if bool(torch.isfinite(row).all()):
                found.setdefault(_key(row), (one, row))
        rows = [row for _, row in found.values()]
        table = torch.stack(rows) if rows else torch.zeros(0, int(np.prod(self.shape, dtype=int)))
        return [one for one, _ in found.values()], table


def _code(pattern: str, in_time: bool) -> str:
    """The code of an arrangement along an axis that is, or is not, one of steps."""
    if "one further" in pattern or "one back" in pattern:
        return "shifted-in-time" if in_time else "wrong-operand"
    return "flipped" if "reversed" in pattern else "missing-path" if "without" in pattern else "wrong-operand"


def shown_value(tape: Tape, value: int) -> str:
    """A value that was computed, in words."""
    maker = tape.producer.get(value)
    if maker is None:
        return "a constant"
    return f"the result of `{tape.nodes[maker].name}` (line {tape.nodes[maker].site.line})"


def _key(array: Tensor) -> bytes:
    rounded: bytes = (array.contiguous().to(torch.float64).numpy() + 0.0).round(12).tobytes()
    return rounded
