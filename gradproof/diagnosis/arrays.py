"""All arrays of one shape that somebody may multiply with: those of the reference, and what one or two of them make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from gradproof.diagnosis.pool import fitted
from gradproof.tape import Tape, Tensor

MOST_ARRAYS = 60  # of which others are made by twos
MOST_NUMBERS = 20_000_000  # that these may have together (160 MB)


@dataclass(frozen=True)
class Made:
    """An array made of values of the reference; `inverse` is in words what it is one over, where it is."""

    words: str
    values: tuple[int, ...]
    function: Callable[..., Tensor]
    inverse: str = ""

    def array(self, tape: Tape, shape: Sequence[int]) -> Tensor:
        """Its numbers. Raises ValueError where a value cannot be spread to the shape."""
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
    "abs({})": torch.abs,
    "sign({})": torch.sign,
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


@dataclass(frozen=True)
class Arrays:
    """All arrays of one shape, each set of numbers once."""

    tape: Tape
    shape: tuple[int, ...]

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
                words = named[value] if maker is None else f"the result of `{maker.name}` (line {maker.site.line})"
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

    def _table(self, made: list[Made]) -> tuple[list[Made], Tensor]:
        found: dict[bytes, tuple[Made, Tensor]] = {}
        for one in made:
            row = one.array(self.tape, self.shape).reshape(-1)
            if bool(torch.isfinite(row).all()):
                found.setdefault(_key(row), (one, row))
        rows = [row for _, row in found.values()]
        table = torch.stack(rows) if rows else torch.zeros(0, int(np.prod(self.shape, dtype=int)))
        return [one for one, _ in found.values()], table


def _key(array: Tensor) -> bytes:
    rounded: bytes = (array.contiguous().to(torch.float64).numpy() + 0.0).round(12).tobytes()
    return rounded
