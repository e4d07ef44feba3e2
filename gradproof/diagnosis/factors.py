"""Another array where a derivative belongs, whatever it is made of.

By hand, what flows back along elementwise operations is one product: of what arrives at their end, and of an array that
they make up. Any array may stand there by mistake, one of the reference or one made of two of them; far too many to try
one by one. But what they do to the gradients is linear in them, so that all are looked at in one matrix product, and
only those are proposed that give the candidate's numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

import numpy as np
import torch

from gradproof.case import Problem
from gradproof.diagnosis.arrays import ALONE, SLOPES, Arrays, Listed, Made, Sources, Table, of_one, of_two
from gradproof.diagnosis.constants import named
from gradproof.diagnosis.fault import Fault, value_hooks
from gradproof.diagnosis.places import Place
from gradproof.diagnosis.routes import Operand, Route, of_parameter, operands_of, product, routes_to, shown
from gradproof.diagnosis.shadows import LARGEST, LOOSE, Shadows
from gradproof.diagnosis.survey import Survey
from gradproof.report import number
from gradproof.tape import NodeHook, Tape, Tensor, ValueHook, reached

MOST_ENTRIES = 4000  # of an array
Spot = Route | Operand


@dataclass
class Factors:
    """The search for other arrays along the routes of a reference."""

    survey: Survey
    _arrays: dict[tuple[int, ...], Arrays] = field(default_factory=dict)

    @cached_property
    def spots(self) -> list[tuple[Place, tuple[Spot, ...]]]:
        """Where other arrays may stand, by place, one for each of its passages; the nearest to the loss first."""
        found: list[tuple[Place, tuple[Spot, ...]]] = []
        for place in self.survey.places:
            found += [(place, spots) for spots in routes_to(self.survey.tape, place)]
            found += [(place, spots) for spots in operands_of(self.survey.tape, place)]
        return found

    @cached_property
    def _of_data(self) -> frozenset[int]:
        """The values in which the data have a part."""
        return reached(self.survey.tape.nodes, self.survey.tape.data.values())

    def fitting(self, shadows: Shadows, order: Sequence[str]) -> Iterator[Fault]:
        """The faults that bring the first wrong parameter they touch to the candidate's numbers, on top of others."""
        tape = self.survey.tape
        for place, spots in self.spots:
            if spots[-1].place >= shadows.lowest:
                continue
            try:
                shape = tuple(spots[-1].derivatives(tape)[0].shape)
                if int(np.prod(shape, dtype=int)) <= MOST_ENTRIES:
                    problem = self.survey.problem
                    trial = _Trial(place, spots, tape, shadows, order, problem, self._of_data)
                    yield from trial.fitting(self._arrays_of(shape))
            except (RuntimeError, ValueError, IndexError, TypeError, NotImplementedError, KeyError):
                continue  # an operation without a rule for these arrays

    def _arrays_of(self, shape: tuple[int, ...]) -> Arrays:
        """All arrays of a shape; those of others are kept as long as there is memory for them."""
        if shape not in self._arrays:
            if sum(one.size for one in self._arrays.values()) > LARGEST:
                self._arrays.clear()
            self._arrays[shape] = Arrays(self.survey.tape, shape, self.survey.problem.batch_axis)
        return self._arrays[shape]


@dataclass(frozen=True)
class _Trial:
    """All arrays at one spot, or at those of all passages of a place."""

    place: Place
    spots: tuple[Spot, ...]
    tape: Tape
    shadows: Shadows
    order: Sequence[str]
    problem: Problem
    of_data: frozenset[int]  # the values in which the data have a part

    @property
    def spot(self) -> Spot:
        return self.spots[-1]

    @property
    def _alike(self) -> bool:
        """Whether all passages do the same with the same arrays."""
        return self.place.copies > 1 or len(self.spots) == 1

    @cached_property
    def _apart(self) -> bool:
        """Whether no passage sees what another one has changed."""
        return len(self.spots) > 1 and all(of_parameter(self.tape, one) for one in self.spots)

    @cached_property
    def weights(self) -> Tensor | None:
        """What each number of the shadows gains for each entry of the arrays."""
        each = [one.weights(self.tape, self.shadows) for one in self._looked_at]
        found = [one for one in each if one is not None]
        if len(found) < len(each):
            return None
        return torch.cat(found, 1) if self._apart else sum(found[1:], found[0])

    @property
    def _looked_at(self) -> tuple[Spot, ...]:
        return self.spots if self._alike or self._apart else self.spots[-1:]

    @cached_property
    def derivatives(self) -> list[Tensor]:
        """The spot's own arrays, flat; those of all passages where they are told together."""
        each = [one.derivatives(self.tape) for one in (self.spots if self._apart else self.spots[-1:])]
        return [torch.cat([one.reshape(-1) for one in parts]) for parts in zip(*each, strict=True)]

    def _tables(self, arrays: Arrays) -> tuple[Table, Table, Table]:
        """The arrays that are made of one, of two, and in another order; those of all passages one after the other."""
        if not self._apart:
            return arrays.alone, arrays.together, arrays.arranged
        sources = self._of_all_passages(arrays.plain[0])
        return of_one(sources), of_two(sources), Listed(*self._of_all_passages(arrays.arranged.every))

    def _of_all_passages(self, every: list[Made]) -> Sources:
        found, rows = [], []
        shapes = [one.derivatives(self.tape)[0].shape for one in self.spots]
        for made in every:
            moved = [made.moved(self.tape, one.place - self.spot.place) for one in self.spots]
            if None not in moved:
                pairs = zip(moved, shapes, strict=True)
                rows.append(torch.cat([one.array(self.tape, shape).reshape(-1) for one, shape in pairs if one]))
                found.append(made)
        empty = torch.zeros(0, self.derivatives[0].numel(), dtype=torch.float64)
        return found, torch.stack(rows) if rows else empty

    def fitting(self, arrays: Arrays) -> Iterator[Fault]:
        rows = self._rows()
        if rows is None or self.weights is None:
            return
        flat, constants = self.derivatives, self.spot.constants(self.tape)
        wanted = (self.shadows.ours - self.shadows.known).reshape(-1) + (self.weights @ product(flat)).numpy()
        matters = [i for i, one in enumerate(flat) if not bool((one.abs() == 1).all())]
        every = range(matters[0], matters[-1] + 1) if matters else range(0)
        alone, together, arranged = self._tables(arrays)
        for part in dict.fromkeys((*_parts(matters), every)):
            tables = (alone, together, arranged) if part == every else (alone, together) if not part else (alone,)
            for table in tables:
                yield from self._in_place_of(part, table, flat, constants, wanted, rows)

    def _in_place_of(
        self,
        part: range,
        table: Table,
        flat: list[Tensor],
        constants: list[float],
        wanted: np.ndarray,
        rows: tuple[list[int], list[int]],
    ) -> Iterator[Fault]:
        """The arrays of a table that fit in place of some derivatives, and the rest kept."""
        kept = [one for i, one in enumerate(flat) if i not in part]
        own = float(np.prod([constants[i] for i in part]))
        for made, constant in self._found(table, product(kept) if kept else None, wanted, rows, own):
            if not part:
                yield from self._further(made, constant)
            else:
                yield from self._other(part, made, constant)

    def _rows(self) -> tuple[list[int], list[int]] | None:
        """The rows of the first wrong parameter that the route touches, and those of the right ones; None without."""
        if self.weights is None:
            return None
        names, count, is_wrong = self.shadows.names, self.shadows.ours.shape[1], self.shadows.wrong.tolist()
        touched = [bool(rows.any()) for rows in self.weights.reshape(-1, count, self.weights.shape[1])]
        wrong = [name for name in self.order if touched[names.index(name)] and is_wrong[names.index(name)]]
        if not wrong:
            return None
        first = names.index(wrong[0])
        others = [] if self._alike or self._apart else [one.weights(self.tape, self.shadows) for one in self.spots[:-1]]
        if any(one is not None and bool(one[first * count : (first + 1) * count].any()) for one in others):
            return None  # other passages touch it as well: what they do together is not linear
        right = [i for i, _ in enumerate(names) if touched[i] and not is_wrong[i]]
        return _span([first], count), _span(right, count)

    def _found(
        self,
        table: Table,
        rest: Tensor | None,
        wanted: np.ndarray,
        rows: tuple[list[int], list[int]],
        own: float,
    ) -> Iterator[tuple[Made, float]]:
        """The arrays that fit, each with a constant: 1, or the one that the operations multiply with."""
        assert self.weights is not None
        first, right = rows
        asked = first + right
        off = LOOSE * np.repeat(self.shadows.sizes[:, 0], self.shadows.ours.shape[1])
        weights = self.weights if rest is None else self.weights * rest
        gained = table.gained(weights[first[0]]).numpy()  # one number tells nearly all of them apart
        for constant in dict.fromkeys((1.0, own, -1.0, -own)):
            near = np.abs(constant * gained - wanted[first[0]]) <= off[first[0]]
            for i in np.flatnonzero(near).tolist():
                all_of_them = constant * (weights[asked] @ table.row(i)).numpy()
                if np.all(np.abs(all_of_them - wanted[asked]) <= off[asked]):
                    yield table.made(i), constant
        if isinstance(table, Listed) and not right:
            operand = isinstance(self.spot, Operand)
            few = table if operand else Listed(table.every[:1], table.numbers[:1])  # of the number 1: any constant
            yield from self._multiples(few, (few.numbers @ weights[first].T).numpy(), wanted[first], off[first])

    def _multiples(
        self, table: Listed, gained: np.ndarray, wanted: np.ndarray, off: np.ndarray
    ) -> Iterator[tuple[Made, float]]:
        """Plain arrays of which a multiple fits: a sum where the reference divides, a mean where it does not."""
        factors = gained @ wanted / np.maximum(np.sum(gained**2, axis=1), 1e-300)
        near = np.all(np.abs(factors[:, None] * gained - wanted) <= off, axis=1)
        for i in np.flatnonzero(near).tolist():
            made, factor = table.made(i), float(factors[i])
            plain = made.function is ALONE["{}"] or not made.values
            words = named(factor, self.problem, 1e-5) if plain else None
            if words is not None and min(abs(factor - one) for one in (0.0, 1.0, -1.0)) > 1e-5:
                yield made, self._exactly(factor, words)

    def _exactly(self, factor: float, words: str) -> float:
        """The constant that is meant by one that is known up to rounding: the nearest of the same words."""
        fraction = float(Fraction(factor).limit_denominator(100_000))
        return fraction if named(fraction, self.problem) == words else factor

    @property
    def _words(self) -> str:
        """Where it is, in words."""
        many = f", each of the {len(self.spots)} times" if not self._alike else ""
        return self.spot.words(self.tape) + many

    def _turned(self, constant: float, part: range) -> bool:
        """Whether an array stands there with another sign than the operations that it stands for have themselves."""
        own = float(np.prod([self.spot.constants(self.tape)[i] for i in part]))
        return constant in (-1.0, -own) and constant not in (1.0, own)

    def _other(self, part: range, made: Made, constant: float) -> Iterator[Fault]:
        """The fault of another array for the derivatives of some neighbouring operations."""
        nodes = [self.tape.nodes[self.spot.pointwise(self.tape)[i]] for i in part]
        whose = " and of ".join(shown(node) for node in nodes)
        where = f"in {self._words}"
        turned = self._turned(constant, part)
        minus = "minus " if turned else ""
        if isinstance(self.spot, Operand):
            neighbour = self._neighbour(made)
            times = minus if abs(constant) == 1 else f"{number(constant)} times "
            message = f"{times}{made.words} stands for {self._words}"
            if neighbour:
                message = f"each step takes {self._words}, of the step {neighbour} its own"
            code = "shifted-in-time" if neighbour else made.code or "wrong-operand"
            rank = 1.62 + 0.15 * (len(made.values) - 1)
        elif not made.values:
            message = f"the derivative of {whose} is left out {where}" + ", and the sign is wrong" * turned
            code, rank = "missing-derivative", 1.45
            if abs(constant) not in (1.0, abs(float(np.prod(self.spot.constants(self.tape))))):
                message = f"{number(constant)} stands for the derivative of {whose} {where}"
                own = product([self.derivatives[i] for i in part])
                by_data = all(node.name in ("mul", "div") for node in nodes)
                code = "wrong-operand" if by_data else "missing-derivative"
                code, rank = "wrong-scale" if bool((own == own[0]).all()) else code, 1.65
        else:
            message = f"{minus}{made.words} stands for the derivative of {whose} {where}"
            inside = {value for node in nodes for value in (*node.inputs, *node.outputs)} & self.tape.differentiable
            code = made.code or ("different-function" if set(made.values) <= inside else "wrong-operand")
            rank = 1.65 + 0.15 * (len(made.values) - 1)
            if code != "different-function" and self._is_nothing(made):
                code, message = "missing-path", f"nothing of the gradient comes through {whose} {where}"
        if self._penalises_more(made, constant, part):
            code, message = "wrong-part-penalised", f"{message}: the penalty takes in what the reference leaves out"
        yield from self._fault(code, message, rank + 0.04 * (len(part) - 1) + 0.1 * turned, made, constant, part)

    def _is_nothing(self, made: Made) -> bool:
        """Whether an array is zero everywhere, such as `y > 0` of numbers that are not."""
        return not bool(self._array(made).any())

    def _array(self, made: Made) -> Tensor:
        """The numbers of an array in the shape of what it stands for."""
        return made.array(self.tape, self.spot.derivatives(self.tape)[0].shape)

    def _penalises_more(self, made: Made, constant: float, part: range) -> bool:
        """Whether the data have no part in it, and an array is the right one but where that is zero."""
        if isinstance(self.spot, Operand) or self.spot.end in self.of_data or not made.values:
            return False
        own = product([self.derivatives[i] for i in part])
        other = constant * self._array(made).reshape(-1)
        return any(torch.allclose(sign * other * (own != 0), own, rtol=1e-9, atol=0.0) for sign in (1, -1))

    def _neighbour(self, made: Made) -> str:
        """Which neighbour's own array it is that stands at each step, before or after; empty where it is none."""
        moved = [made.moved(self.tape, one.place - self.spot.place) for one in self.spots]
        values = [one.values[0] for one in moved if one is not None and one.values]
        own = [one.factor(self.tape) for one in self.spots if isinstance(one, Operand)]
        if len(own) < 2 or len(values) < len(own) or made.function is not ALONE["{}"]:
            return ""
        return "after" if values[:-1] == own[1:] else "before" if values[1:] == own[:-1] else ""

    def _further(self, made: Made, constant: float) -> Iterator[Fault]:
        """The fault of one factor more, or of one less."""
        where = self._words
        turned = self._turned(constant, range(0))
        rank = 1.6 + 0.15 * (len(made.values) - 1) + 0.1 * turned
        if not made.values or self._is_nothing(made):
            return
        if made.inverse:
            code, message = "missing-derivative", f"{where} lacks the factor {made.inverse}"
        elif self._divides_by(made):
            code, message = "missing-derivative", f"{where} lacks the factor 1 / {made.words}"
        elif "/" in made.words:
            code, message, rank = "wrong-operand", f"{where} is {made.words} times the right", rank + 0.1
        else:
            code, message = "extra-derivative", f"{where} has a factor too many: {made.words}"
            rank += -0.15 if made.function in SLOPES else 0.1
        if isinstance(self.spot, Operand):
            code, rank = "wrong-operand", rank + 0.1
        yield from self._fault(code, message + ", and the sign is wrong" * turned, rank, made, constant, range(0))

    def _divides_by(self, made: Made) -> bool:
        """Whether the operations divide by what an array goes into: one factor more of it is a division less."""
        if isinstance(self.spot, Operand) or made.function is not ALONE["{}"] or len(made.values) != 1:
            return False
        nodes = [self.tape.nodes[index] for index in self.spot.pointwise(self.tape)]
        divisors = [node.inputs[1] for node in nodes if node.name == "div" and len(node.inputs) == 2]
        maker = self.tape.producer.get(made.values[0])
        return any(
            one == made.values[0] or (maker is not None and self.tape.depends(one, self.tape.nodes[maker]))
            for one in divisors
        )

    def _fault(
        self, code: str, message: str, rank: float, made: Made, constant: float, part: range
    ) -> Iterator[Fault]:
        nodes: dict[int, NodeHook] = {}
        values: list[tuple[int, ValueHook]] = []
        for spot in self.spots:
            moved = made.moved(self.tape, 0 if self._alike else spot.place - self.spot.place)
            if moved is None:
                return
            at_node, at_value = spot.with_array(moved, constant, part)
            nodes |= at_node
            values += at_value.items()
        rank += 0.02 * len(self.derivatives) + 0.1 * (self.spot.source is not None)
        about = tuple(self.spot.pointwise(self.tape))
        yield Fault(code, message, self.place.site, rank, nodes, value_hooks(values), about=about)


def _parts(matters: Sequence[int]) -> Iterator[range]:
    """Up to three neighbours among the derivatives that are no mere signs; first none."""
    yield range(0)
    for length in range(1, 4):
        for one, other in zip(matters, matters[length - 1 :], strict=False):
            yield range(one, other + 1)


def _span(parameters: list[int], count: int) -> list[int]:
    return [count * one + k for one in parameters for k in range(count)]
