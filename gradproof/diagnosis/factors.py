"""Another array where a derivative belongs, whatever it is made of.

By hand, what flows back along elementwise operations is one product: of what arrives at their end, and of an array that
they make up. Any array may stand there by mistake, one of the reference or one made of two of them; far too many to try
one by one. But what they do to the gradients is linear in them, so that all are looked at in one matrix product, and
only those are proposed that give the candidate's numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce

import numpy as np
import torch

from gradproof.diagnosis.arrays import Arrays, Made
from gradproof.diagnosis.edges import origin
from gradproof.diagnosis.fault import Fault, value_hooks
from gradproof.diagnosis.places import Place
from gradproof.diagnosis.routes import Route, routes_to
from gradproof.diagnosis.shadows import LOOSE, Shadows
from gradproof.diagnosis.survey import Survey
from gradproof.tape import Node, Tape, Tensor, Totals, ValueHook, joined

MOST_ENTRIES = 4000  # of an array
Table = tuple[list[Made], Tensor]


@dataclass
class Factors:
    """The search for other arrays along the routes of a reference."""

    survey: Survey
    _arrays: dict[tuple[int, ...], Arrays] = field(default_factory=dict)

    @cached_property
    def routes(self) -> list[tuple[Place, tuple[Route, ...]]]:
        """All routes, by the place where they end, one for each of its passages; the nearest to the loss first."""
        return [(place, routes) for place in self.survey.places for routes in routes_to(self.survey.tape, place)]

    def fitting(self, shadows: Shadows, order: Sequence[str]) -> Iterator[Fault]:
        """The faults that bring the first wrong parameter they touch to the candidate's numbers, on top of others."""
        tape = self.survey.tape
        for place, routes in self.routes:
            if tape.producer.get(routes[-1].start, -1) >= shadows.lowest - 1:
                continue
            try:
                derivatives = routes[-1].derivatives(tape)
                shape = tuple(derivatives[0].shape)
                if int(np.prod(shape, dtype=int)) <= MOST_ENTRIES:
                    arrays = self._arrays.setdefault(shape, Arrays(tape, shape))
                    yield from _Trial(place, routes, tape, shadows, derivatives, order).fitting(arrays)
            except (RuntimeError, ValueError, IndexError, TypeError, NotImplementedError, KeyError):
                continue  # an operation without a rule for these arrays


@dataclass(frozen=True)
class _Trial:
    """All arrays on one route, or on those of all passages of a place."""

    place: Place
    routes: tuple[Route, ...]
    tape: Tape
    shadows: Shadows
    derivatives: list[Tensor]
    order: Sequence[str]

    @cached_property
    def route(self) -> Route:
        return self.routes[-1]

    @cached_property
    def weights(self) -> Tensor | None:
        """What each number of the shadows gains for each entry of an array that stands on the route."""
        each = [_weights(one, self.tape, self.shadows) for one in (self.routes if self._alike else self.routes[-1:])]
        found = [one for one in each if one is not None]
        return sum(found[1:], found[0]) if len(found) == len(each) else None

    @property
    def _alike(self) -> bool:
        """Whether all passages do the same with the same arrays."""
        return self.place.copies > 1 or len(self.routes) == 1

    def fitting(self, arrays: Arrays) -> Iterator[Fault]:
        rows = self._rows()
        if rows is None or self.weights is None:
            return
        flat, constants = [one.reshape(-1) for one in self.derivatives], self.route.constants(self.tape)
        wanted = (self.shadows.ours - self.shadows.known).reshape(-1) + (self.weights @ _product(flat)).numpy()
        matters = [i for i, one in enumerate(flat) if not bool((one.abs() == 1).all())]
        every = range(matters[0], matters[-1] + 1) if matters else range(0)
        for part in dict.fromkeys((*_parts(matters), every)):
            for table in (arrays.alone, arrays.together) if part in (range(0), every) else (arrays.alone,):
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
        for made, constant in self._found(table, _product(kept) if kept else None, wanted, rows, own):
            if not part:
                yield from self._further(made, constant)
            else:
                yield from self._other(part, made, constant)

    def _rows(self) -> tuple[list[int], list[int]] | None:
        """The rows of the first wrong parameter that the route touches, and those of the right ones; None without."""
        if self.weights is None:
            return None
        names, count = self.shadows.names, self.shadows.ours.shape[1]
        touched = (self.weights.abs().amax(1) > 0).numpy().reshape(-1, count).any(axis=1)
        wrong = [name for name in self.order if touched[names.index(name)] and self.shadows.wrong[names.index(name)]]
        if not wrong:
            return None
        first = names.index(wrong[0])
        others = [] if self._alike else [self.shadows.moves.get(one.start) for one in self.routes[:-1]]
        if any(one is not None and bool(one[first * count : (first + 1) * count].any()) for one in others):
            return None  # other passages touch it as well: what they do together is not linear
        right = [i for i, _ in enumerate(names) if touched[i] and not self.shadows.wrong[i]]
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
        made, numbers = table
        sizes = np.repeat(self.shadows.sizes[:, 0], self.shadows.ours.shape[1])
        weights = self.weights if rest is None else self.weights * rest
        gained = (numbers @ weights[first].T).numpy()
        for constant in dict.fromkeys((1.0, own, -1.0, -own)):
            near = np.all(np.abs(constant * gained - wanted[first]) <= LOOSE * sizes[first], axis=1)
            for i in np.flatnonzero(near):
                others = constant * (weights[right] @ numbers[i]).numpy()
                if np.all(np.abs(others - wanted[right]) <= LOOSE * sizes[right]):
                    yield made[i], constant

    @cached_property
    def _words(self) -> str:
        """Where it is, in words."""
        target = _value(self.tape, self.route.start)
        if self.route.bottom is not None:
            index, position = self.route.bottom
            target = origin(self.tape, self.tape.nodes[index], position)
        end = self.tape.producer.get(self.route.end)
        source = "" if end is None or self.route.start == self.route.end else f"from {_shown(self.tape.nodes[end])} "
        only = ""
        if self.route.source is not None:
            user = self.tape.nodes[self.route.source]
            only = f"; but only for what comes from `{user.name}` (line {user.site.line})"
        many = f", each of the {len(self.routes)} times" if not self._alike else ""
        return f"{source}to {target}{many}{only}"

    def _other(self, part: range, made: Made, constant: float) -> Iterator[Fault]:
        """The fault of another array for the derivatives of some neighbouring operations."""
        nodes = [self.tape.nodes[self.route.pointwise(self.tape)[i]] for i in part]
        whose = " and of ".join(_shown(node) for node in nodes)
        where = f"in what flows back {self._words}"
        if not made.values:
            message = f"the derivative of {whose} is left out {where}"
            code, rank = "missing-derivative", 1.45
        else:
            message = f"{made.words} stands for the derivative of {whose} {where}"
            inside = {value for node in nodes for value in (*node.inputs, *node.outputs)}
            code = "different-function" if set(made.values) <= inside else "wrong-operand"
            rank = 1.65 + 0.15 * (len(made.values) - 1)
        yield from self._fault(code, message, rank + 0.04 * (len(part) - 1), made, constant, part)

    def _further(self, made: Made, constant: float) -> Iterator[Fault]:
        """The fault of one factor more, or of one less."""
        where = f"what flows back {self._words}"
        rank = 1.6 + 0.15 * (len(made.values) - 1)
        if not made.values:
            return
        if made.inverse:
            code, message = "missing-derivative", f"{where} lacks the factor {made.inverse}"
        elif "/" in made.words:
            code, message, rank = "wrong-operand", f"{where} is {made.words} times the right", rank + 0.1
        else:
            code, message, rank = "extra-derivative", f"{where} has a factor too many: {made.words}", rank + 0.1
        yield from self._fault(code, message, rank, made, constant, range(0))

    def _fault(
        self, code: str, message: str, rank: float, made: Made, constant: float, part: range
    ) -> Iterator[Fault]:
        hooks = []
        for route in self.routes:
            moved = made.moved(self.tape, 0 if self._alike else route.place - self.route.place)
            if moved is None:
                return
            hooks.append((route.start, _multiplied(route, moved, constant, part)))
        rank += 0.02 * len(self.derivatives) + 0.1 * (self.route.source is not None)
        about = tuple(self.route.pointwise(self.tape))
        yield Fault(code, message, self.place.site, rank, values=value_hooks(hooks), about=about)


def _weights(route: Route, tape: Tape, shadows: Shadows) -> Tensor | None:
    arriving = route.arriving(tape, shadows.base.seen)
    if route.start not in shadows.moves or arriving is None:
        return None
    spread, shape = route.spread(tape, arriving), tape.values[route.start].shape
    moves = shadows.moves[route.start].reshape(-1, *(1,) * (spread.dim() - len(shape)), *shape)
    return (moves * spread).reshape(len(moves), -1)


def _multiplied(route: Route, made: Made, constant: float, part: range) -> ValueHook:
    """A hook where a route ends: another array in place of some of its derivatives."""

    def hook(tape: Tape, arriving: list[tuple[int, Tensor]], totals: Totals) -> Tensor | None:
        total = joined(arriving)
        given = total if route.start == route.end else route.arriving(tape, totals)
        if given is None or total is None:
            return total
        derivatives = route.derivatives(tape)
        kept = [one for i, one in enumerate(derivatives) if i not in part]
        other = constant * _product([made.array(tape, derivatives[0].shape), *kept])
        return total + route.gathered(tape, route.spread(tape, given) * (other - _product(derivatives)))

    return hook


def _parts(matters: Sequence[int]) -> Iterator[range]:
    """Up to three neighbours among the derivatives that are no mere signs; first none."""
    yield range(0)
    for length in range(1, 4):
        for one, other in zip(matters, matters[length - 1 :], strict=False):
            yield range(one, other + 1)


def _span(parameters: list[int], count: int) -> list[int]:
    return [count * one + k for one in parameters for k in range(count)]


def _product(factors: Sequence[Tensor]) -> Tensor:
    return reduce(lambda one, other: one * other, factors)


def _value(tape: Tape, value: int) -> str:
    producer = tape.producer.get(value)
    return tape.name_of(value) or ("a constant" if producer is None else _shown(tape.nodes[producer]))


def _shown(node: Node) -> str:
    if node.site.expression and len(node.site.expression) <= 40:
        return f"`{node.site.expression}`"
    return f"`{node.name}` (line {node.site.line})"


