"""All arrays of one shape that somebody may multiply with: those of the reference, and what one or two of them make."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import permutations
from typing import Protocol

import torch

from gradproof.diagnosis.edges import result_of
from gradproof.diagnosis.pool import fitted
from gradproof.tape import Tape, Tensor

MOST_ARRAYS = 100  # of which others are made, also by twos
MOST_NUMBERS = 2_000_000  # of what is arranged in other ways (16 MB)


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
class _StepLate:
    """What is made of the arrays of all steps, stacked along an axis: one put before them, the last left out."""

    shape: tuple[int, ...]
    axis: int

    def __call__(self, whole: Tensor, first: Tensor) -> Tensor:
        earlier = whole.narrow(self.axis, 0, whole.shape[self.axis] - 1)
        return torch.cat([first.unsqueeze(self.axis), earlier], self.axis).reshape(self.shape).to(torch.float64)


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
        if isinstance(self.function, (_Whole, _StepLate)):
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
SLOPES = (ALONE["1 - {} ** 2"], ALONE["{0} * (1 - {0})"])  # of tanh and the sigmoid, in terms of what they give
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


def orders_after_the_first(dims: int) -> list[tuple[int, ...]]:
    """The other orders of axes that leave the first where it is: it counts samples."""
    return [(0, *rest) for rest in permutations(range(1, dims))][1:]


def read_in_order(x: Tensor, order: Sequence[int], shape: Sequence[int]) -> Tensor:
    """An array given a shape as if the axes of that had been in another order when it was flattened."""
    back = [order.index(axis) for axis in range(len(order))]
    return x.reshape([shape[axis] for axis in order]).permute(back)


def _without(x: Tensor, axis: int, index: int) -> Tensor:
    """An array with zeros at one index of an axis."""
    found = x.clone()
    found.select(axis, index).zero_()
    return found


Sources = tuple[list[Made], Tensor]  # arrays, and their numbers, a row for each


class Table(Protocol):
    """Many arrays, and what numbers that are linear in their entries come to for each."""

    def gained(self, weights: Tensor) -> Tensor:
        """The sum of each array's entries with these weights: (arrays,)."""
        ...

    def made(self, index: int) -> Made: ...

    def row(self, index: int) -> Tensor: ...


@dataclass(frozen=True)
class Listed:
    """Arrays whose numbers are there."""

    every: list[Made]
    numbers: Tensor

    def gained(self, weights: Tensor) -> Tensor:
        return self.numbers @ weights

    def made(self, index: int) -> Made:
        return self.every[index]

    def row(self, index: int) -> Tensor:
        return self.numbers[index]


@dataclass(frozen=True)
class ByTwos:
    """What each two arrays make: told without their numbers, since a sum of products is a product of matrices."""

    every: list[Made]
    numbers: Tensor

    @cached_property
    def _inverse(self) -> Tensor:
        return torch.where(self.numbers == 0, torch.nan, 1 / self.numbers)

    @cached_property
    def _kept(self) -> Tensor:
        """Of each pattern and pair, whether it is one: not of an array with itself, nor the other way round again."""
        count = len(self.every)
        upper, other = torch.ones(count, count).triu(1).bool(), ~torch.eye(count).bool()
        return torch.stack([upper if pattern in COMMUTE else other for pattern in TOGETHER]).reshape(-1)

    def gained(self, weights: Tensor) -> Tensor:
        plain, inverse, single = self.numbers, self._inverse, self.numbers @ weights
        products = {
            "{} * {}": (plain * weights) @ plain.T,
            "{} / {}": (plain * weights) @ inverse.T,
            "1 / ({} * {})": (inverse * weights) @ inverse.T,
            "({} - {})": single[:, None] - single[None],
            "({} + {})": single[:, None] + single[None],
        }
        found = torch.stack([products[pattern] for pattern in TOGETHER]).reshape(-1)
        return torch.where(self._kept, found, torch.nan)

    def _parts(self, index: int) -> tuple[str, int, int]:
        count = len(self.every)
        which, rest = divmod(index, count * count)
        return list(TOGETHER)[which], rest // count, rest % count

    def made(self, index: int) -> Made:
        pattern, i, j = self._parts(index)
        one, other = self.every[i], self.every[j]
        inverse = f"{one.words} * {other.words}" if pattern.startswith("1 /") else ""
        words = pattern.format(one.words, other.words)
        return Made(words, (*one.values, *other.values), TOGETHER[pattern], inverse)

    def row(self, index: int) -> Tensor:
        pattern, i, j = self._parts(index)
        return TOGETHER[pattern](self.numbers[i], self.numbers[j])


def of_one(sources: Sources) -> Listed:
    """What is made of one array, of the first few; first the number 1."""
    plain, numbers = sources[0][:MOST_ARRAYS], sources[1][:MOST_ARRAYS]
    made = [Made("1", (), lambda: torch.ones((), dtype=torch.float64))]
    rows = [torch.ones(1, numbers.shape[1], dtype=torch.float64)]
    for pattern, function in ALONE.items():
        made += [
            Made(pattern.format(one.words), one.values, function, one.words if pattern == "1 / {}" else "")
            for one in plain
        ]
        rows.append(function(numbers))
    table = torch.cat(rows)
    kept = torch.isfinite(table).all(1)
    return Listed([one for one, keep in zip(made, kept.tolist(), strict=True) if keep], table[kept])


def of_two(sources: Sources) -> ByTwos:
    """What is made of two arrays, of the first few."""
    plain, numbers = sources
    return ByTwos(plain[:MOST_ARRAYS], numbers[:MOST_ARRAYS])


@dataclass(frozen=True)
class Arrays:
    """All arrays of one shape, each set of numbers once."""

    tape: Tape
    shape: tuple[int, ...]
    batch_axis: int | None

    @cached_property
    def plain(self) -> Sources:
        """The values that can be spread to the shape."""
        found: dict[bytes, tuple[Made, Tensor]] = {}
        for value, tensor in enumerate(self.tape.values):
            if value not in self._names and value not in self.tape.producer:
                continue
            if tensor.dtype.is_floating_point or tensor.dtype == torch.bool:
                try:
                    array = spread(tensor, self.shape).reshape(-1)
                except ValueError:
                    continue
                if bool(torch.isfinite(array).all()) and bool(array.any()):
                    found.setdefault(_key(array), (Made(result_of(self.tape, value), (value,), ALONE["{}"]), array))
        return self._sources(list(found.values()))

    @cached_property
    def _names(self) -> dict[int, str]:
        return {number: name for names in (self.tape.data, self.tape.parameters) for name, number in names.items()}

    def _sources(self, found: list[tuple[Made, Tensor]]) -> Sources:
        rows = [row for _, row in found]
        table = torch.stack(rows) if rows else torch.zeros(0, math.prod(self.shape), dtype=torch.float64)
        return [made for made, _ in found], table

    @property
    def size(self) -> int:
        """How many numbers its tables may hold."""
        return (len(ALONE) + 1) * len(self.plain[0][:MOST_ARRAYS]) * self.plain[1].shape[1] + MOST_NUMBERS

    @cached_property
    def alone(self) -> Listed:
        """What is made of one array."""
        return of_one(self.plain)

    @cached_property
    def together(self) -> ByTwos:
        """What is made of two arrays."""
        return of_two(self.plain)

    @cached_property
    def arranged(self) -> Listed:
        """The values with their entries in other places, rows of one looked up in another, parts of larger ones."""
        entries = math.prod(self.shape)
        made = [*self._looked_up(), *self._parts_of_larger(), *self._reduced(), *self._one_step_back()]
        own = [one for one in self.plain[0] if self.tape.values[one.values[0]].numel() == entries]
        for one in own[:MOST_ARRANGED]:
            for shape in self._shapes_of(one.values[0]):
                for axis, length in enumerate(shape):
                    for pattern, arrange in ALONG.items() if length > 1 else ():
                        function = self._arranged(arrange, axis, shape)
                        code = _code(pattern, in_time=axis != self.batch_axis)
                        made.append(Made(pattern.format(one.words, axis), one.values, function, code=code))
                made += self._in_other_orders(one, shape)
        made = made[: MOST_NUMBERS // max(entries, 1)]
        rows = [(one, one.array(self.tape, self.shape).reshape(-1)) for one in made]
        found, table = self._sources(rows)
        return Listed(found, table)

    def _arranged(self, arrange: Arrangement, axis: int, shape: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
        return lambda x: arrange(x.reshape(shape), axis).reshape(self.shape)

    def _in_other_orders(self, one: Made, shape: tuple[int, ...]) -> Iterator[Made]:
        """An array of three or four axes that was given another shape without moving its axes first, or the reverse."""
        if not 3 <= len(shape) <= 4:
            return
        for order in orders_after_the_first(len(shape)):
            moved, read = self._with_axes_moved(order, shape), self._read_in_order(order, shape)
            yield Made(f"{one.words}, with its axes moved to the order {order},", one.values, moved)
            yield Made(f"{one.words}, as if its axes were in the order {order},", one.values, read)

    def _with_axes_moved(self, order: tuple[int, ...], shape: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
        return lambda x: x.reshape(shape).permute(order).reshape(self.shape)

    def _read_in_order(self, order: tuple[int, ...], shape: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
        return lambda x: read_in_order(x, order, shape).reshape(self.shape)

    def _shapes_of(self, value: int) -> list[tuple[int, ...]]:
        """The shapes that an array had before it was given this one, and this one."""
        found = [self.shape, tuple(self.tape.values[value].shape)]
        while (maker := self.tape.producer.get(value)) is not None and self.tape.nodes[maker].name in RESHAPED:
            value = self.tape.nodes[maker].inputs[0]
            found.append(tuple(self.tape.values[value].shape))
        return list(dict.fromkeys(found))

    def _looked_up(self) -> Iterator[Made]:
        """The rows of each table at each array of whole numbers."""
        entries = math.prod(self.shape)
        whole = [(v, one) for v, one in enumerate(self.tape.values) if one.dtype == torch.int64 and 0 < one.dim() <= 2]
        last = {v: int(rows.max()) for v, rows in whole[:MOST_ARRANGED] if rows.numel() and int(rows.min()) >= 0}
        sizes = {v: self.tape.values[v].numel() for v in last}
        for value, table in enumerate(self.tape.values):
            for index in last if table.dtype.is_floating_point and table.dim() else ():
                if last[index] < len(table) and sizes[index] * table.numel() == entries * len(table):
                    rows_of = self._names.get(index, "that were looked up")
                    words = f"{self._names.get(value, 'another array')} at the rows {rows_of}"
                    yield Made(words, (value, index), _Whole(self.shape))

    def _parts_of_larger(self) -> Iterator[Made]:
        """The first and the last entries of longer arrays, and transposed ones."""
        for value, one in enumerate(self.tape.values):
            if not one.dtype.is_floating_point or one.dim() != len(self.shape) or one.dim() < 2:
                continue
            words = result_of(self.tape, value)
            if tuple(one.mT.shape) == self.shape:
                yield Made(f"the transpose of {words}", (value,), _Whole(self.shape, transposed=True))
            if tuple(one.shape) != self.shape and all(a >= b for a, b in zip(one.shape, self.shape, strict=True)):
                yield Made(f"the first entries of {words}", (value,), _Whole(self.shape))
                yield Made(f"the last entries of {words}", (value,), _Whole(self.shape, last=True))
                if all(a % b == 0 for a, b in zip(one.shape, self.shape, strict=True)):
                    yield Made(f"every so many entries of {words}", (value,), _Whole(self.shape, strided=True))

    def _reduced(self) -> Iterator[Made]:
        """What is left of arrays with one axis more: their mean, sum, largest, first or last along it."""
        for value, one in enumerate(self.tape.values):
            shape = tuple(one.shape)
            if not one.dtype.is_floating_point or len(shape) != len(self.shape) + 1:
                continue
            for axis in range(len(shape)):
                if shape[:axis] + shape[axis + 1 :] == self.shape and shape[axis] > 1:
                    for words, reduce in REDUCED.items():
                        told = f"{words} of {result_of(self.tape, value)} along axis {axis}"
                        yield Made(told, (value,), _Whole(self.shape, reduced=partial(reduce, axis=axis)))


    def _one_step_back(self) -> Iterator[Made]:
        """The arrays of all steps that are put together, each a step late: before the first stands what led to it."""
        entries = math.prod(self.shape)
        for node in self.tape.nodes:
            whole = self.tape.values[node.outputs[0]]
            shapes = {tuple(self.tape.values[value].shape) for value in node.inputs}
            if node.name != "stack" or whole.numel() != entries or len(node.inputs) < 2 or len(shapes) > 1:
                continue
            axis = int(node.constants[0]) if node.constants else 0
            for value in self._before(node.inputs[0])[:MOST_ARRANGED]:
                first = result_of(self.tape, value)
                words = f"what `stack` (line {node.site.line}) joins, each a step late, {first} the first,"
                code = "shifted-in-time" if axis != self.batch_axis else "wrong-operand"
                yield Made(words, (node.outputs[0], value), _StepLate(self.shape, axis), code=code)

    def _before(self, value: int) -> list[int]:
        """The values of a value's shape that it is made of."""
        shape, above = self.tape.values[value].shape, self.tape.ancestors.get(value, 0)
        every = (one for one, tensor in enumerate(self.tape.values) if tensor.shape == shape and one != value)
        makers = ((one, self.tape.producer.get(one)) for one in every if self.tape.values[one].is_floating_point())
        return [one for one, maker in makers if one in self._names or (maker is not None and above >> maker & 1)]


def _code(pattern: str, in_time: bool) -> str:
    """The code of an arrangement along an axis that is, or is not, one of steps."""
    if "one further" in pattern or "one back" in pattern:
        return "shifted-in-time" if in_time else "wrong-operand"
    return "flipped" if "reversed" in pattern else "missing-path" if "without" in pattern else "wrong-operand"


def _key(array: Tensor) -> bytes:
    rounded: bytes = (array.contiguous().to(torch.float64).numpy() + 0.0).round(12).tobytes()
    return rounded
