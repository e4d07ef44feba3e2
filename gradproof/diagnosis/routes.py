"""Routes on which the gradient flows back entry by entry: from each entry of their end to those that it is made of.

On such a route it is multiplied by one array, the derivative of what is done on the way. Sums, views and selections may
lie on it, since an entry that goes into a sum is one of a single entry of the result.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import torch

from gradproof.diagnosis.arrays import Made
from gradproof.diagnosis.contributions import parameter_of
from gradproof.diagnosis.edges import origin
from gradproof.diagnosis.places import Place, quoted
from gradproof.diagnosis.regions import Region, elementwise_regions
from gradproof.diagnosis.shadows import Shadows
from gradproof.lanes import spread_back
from gradproof.local_rules import unbroadcast
from gradproof.tape import Gradients, Node, NodeHook, Tape, Tensor, Totals, ValueHook, joined

LONGEST = 12  # operations on one route
ROUTES = 24  # to one operand
SPREADING = (
    *("sum", "mean", "view", "_unsafe_view", "unsqueeze", "squeeze", "reshape", "transpose", "t", "permute"),
    *("select", "slice", "flatten", "clone"),
)

REDUCING = ("logsumexp", "amax", "amin")  # as a sum does, and with derivatives of their own

Step = tuple[int, int]  # an operation, and which of its inputs


@dataclass(frozen=True)
class Route:
    """From the value `end`, where the gradient comes in, to the value `start`: by single steps, or through a region.

    `steps` are its operations, the one nearest to the loss first. With a `source`, only what this operation sends to
    the end is followed.
    """

    end: int
    start: int
    steps: tuple[Step, ...] = ()
    source: int | None = None
    region: Region | None = None
    place: int = 0  # the operation that tells a passage from another

    @property
    def bottom(self) -> Step | None:
        return self.steps[-1] if self.steps else None

    def pointwise(self, tape: Tape) -> list[int]:
        """The operations that have derivatives: one for each of `derivatives`."""
        if self.region is not None:
            return [self.region.nodes[-1].index]
        return [index for index, _ in self.steps if tape.nodes[index].name not in SPREADING]

    def arriving(self, tape: Tape, totals: Totals) -> Tensor | None:
        """What comes in at its end."""
        if self.source is None:
            return totals.get(self.end)
        return joined([(index, one) for index, one in totals.arriving(self.end) if index == self.source])

    def spread(self, tape: Tape, grad: Tensor) -> Tensor:
        """What has come in, in the place of the entries of the start (or of what the start is broadcast to)."""
        for index, _ in self.steps:
            grad = _spread(tape, tape.nodes[index], grad)
        return grad

    def derivatives(self, tape: Tape) -> list[Tensor]:
        """The derivatives of its operations, each in the place of the start's entries.

        Raises ValueError where no gradient goes on there.
        """
        if self.region is not None:
            return [self.region.backward(tape, torch.ones_like(tape.values[self.end]))]
        found: list[Tensor] = []
        for index, position in self.steps:
            node = tape.nodes[index]
            found = [_spread(tape, node, one) for one in found]
            if node.name not in SPREADING:
                found.append(_derivative(tape, node, position))
        return found or [torch.ones_like(tape.values[self.start])]

    def constants(self, tape: Tape) -> list[float]:
        """The numbers that its operations multiply with: they stay where an array is mistaken."""
        if self.region is not None:
            return [1.0]
        return [_constant(tape.nodes[i], at) for i, at in self.steps if tape.nodes[i].name not in SPREADING] or [1.0]

    def weights(self, tape: Tape, shadows: Shadows) -> Tensor | None:
        """What each number of the shadows gains for each entry of an array that stands on the route; None for none."""
        arriving = self.arriving(tape, shadows.base.seen)
        if self.start not in shadows.moves or arriving is None:
            return None
        spread, shape = self.spread(tape, arriving), tape.values[self.start].shape
        moves = shadows.moves[self.start].reshape(-1, *(1,) * (spread.dim() - len(shape)), *shape)
        return (moves * spread).reshape(len(moves), -1)

    def with_array(self, made: Made, constant: float, part: range) -> tuple[dict[int, NodeHook], dict[int, ValueHook]]:
        """Hooks that put another array in place of some of its derivatives."""

        def hook(tape: Tape, arriving: list[tuple[int, Tensor]], totals: Totals) -> Tensor | None:
            total = joined(arriving)
            given = total if self.start == self.end else self.arriving(tape, totals)
            if given is None or total is None:
                return total
            derivatives = self.derivatives(tape)
            kept = [one for i, one in enumerate(derivatives) if i not in part]
            other = constant * product([made.array(tape, derivatives[0].shape), *kept])
            change = self.spread(tape, given) * (other - product(derivatives))
            return total + unbroadcast(change, tape.values[self.start])

        return {}, {self.start: hook}

    def words(self, tape: Tape) -> str:
        """What flows back on it, in words."""
        if self.bottom is not None:
            target = origin(tape, tape.nodes[self.bottom[0]], self.bottom[1])
        else:
            target = tape.name_of(self.start) or shown(tape.nodes[tape.producer[self.start]])
        end = tape.producer.get(self.end)
        source = "" if end is None or self.start == self.end else f"from {shown(tape.nodes[end])} "
        only = ""
        if self.source is not None:
            user = tape.nodes[self.source]
            only = f"; but only for what comes from `{user.name}` (line {user.site.line})"
        return f"what flows back {source}to {target}{only}"


@dataclass(frozen=True)
class Operand:
    """One factor of a product, as it is used in the gradient of the other one."""

    place: int  # the operation
    position: int  # of the factor whose gradient it is

    source = None

    def _values(self, tape: Tape) -> tuple[int, int]:
        inputs = tape.nodes[self.place].inputs
        return inputs[self.position], inputs[1 - self.position]

    def pointwise(self, tape: Tape) -> list[int]:
        return [self.place]

    def factor(self, tape: Tape) -> int:
        """The value of the factor."""
        return self._values(tape)[1]

    def derivatives(self, tape: Tape) -> list[Tensor]:
        """The factor itself, in whose place another array may stand."""
        return [tape.values[self.factor(tape)]]

    def constants(self, tape: Tape) -> list[float]:
        return [1.0]

    def weights(self, tape: Tape, shadows: Shadows) -> Tensor | None:
        """What each number of the shadows gains for each entry of the factor: the product is linear in it."""
        node, (value, other) = tape.nodes[self.place], self._values(tape)
        arriving = shadows.base.seen.get(node.outputs[0])
        if value not in shadows.moves or arriving is None:
            return None
        moves = shadows.moves[value]
        found = torch.zeros(len(moves), tape.values[other].numel(), dtype=moves.dtype)
        for i, row in enumerate(moves):
            if bool(row.any()):
                found[i] = self._pulled(tape, node, arriving, row.reshape(tape.values[value].shape)).reshape(-1)
        return found

    def _pulled(self, tape: Tape, node: Node, arriving: Tensor, direction: Tensor) -> Tensor:
        inputs = [tape.values[value] for value in node.inputs]
        inputs[self.position] = direction
        inputs[1 - self.position] = inputs[1 - self.position].detach().clone().requires_grad_()
        with torch.enable_grad():
            made = (node.run(inputs)[0] * arriving).sum()
        return torch.autograd.grad(made, inputs[1 - self.position])[0]

    def with_array(self, made: Made, constant: float, part: range) -> tuple[dict[int, NodeHook], dict[int, ValueHook]]:
        """Hooks that take the rule for the one factor at another array in place of the other."""

        def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
            found, (own,) = list(tape.vjp(node, grads)), self.derivatives(tape)
            other = constant * made.array(tape, own.shape)
            found[self.position] = tape.vjp(node, grads, at={1 - self.position: other if part else other * own})[
                self.position
            ]
            return found

        return {self.place: hook}, {}

    def words(self, tape: Tape) -> str:
        node = tape.nodes[self.place]
        return f"{origin(tape, node, 1 - self.position)} in the gradient of {origin(tape, node, self.position)}"


def product(factors: Sequence[Tensor]) -> Tensor:
    """The product of some arrays."""
    return reduce(lambda one, other: one * other, factors)


def shown(node: Node) -> str:
    """An operation in words."""
    written = "" if node.inner else quoted(node.site)
    return f"`{written}`" if written else f"`{node.name}` (line {node.site.line})"


def _spread(tape: Tape, node: Node, grad: Tensor) -> Tensor:
    """The gradient in the place of what an operation takes, before it is multiplied."""
    if node.name in REDUCING:
        return spread_back(tape.values[node.inputs[0]], grad.unsqueeze(0), node.arguments)[0]
    if node.name not in SPREADING:
        return grad
    made = tape.vjp(node, [grad])[0]
    if made is None:
        raise ValueError("no gradient goes on there")
    if node.name == "mean":
        made = made * (tape.values[node.inputs[0]].numel() / tape.values[node.outputs[0]].numel())
    return made


def _derivative(tape: Tape, node: Node, position: int) -> Tensor:
    like = torch.ones_like(tape.values[node.outputs[0]])
    if node.name in REDUCING:
        (whole,) = tape.vjp(node, [like])
        if whole is None:
            raise ValueError("no gradient goes on there")
        return whole
    operand = tape.values[node.inputs[position]].expand(like.shape).contiguous()
    made = tape.vjp(node, [like], at={position: operand})[position]
    if made is None or made.shape != like.shape:
        raise ValueError("no gradient goes on there")
    return made


def _constant(node: Node, position: int) -> float:
    numbers = [one for one in node.constants if isinstance(one, (int, float)) and not isinstance(one, bool)]
    if node.name in ("neg", "rsub") or (node.name in ("sub", "div") and position == 1):
        return -1.0
    if len(numbers) == 1 and node.name in ("mul", "div", "pow") and numbers[0]:
        return 1 / numbers[0] if node.name == "div" else float(numbers[0])
    return 1.0


def routes_to(tape: Tape, place: Place) -> Iterator[tuple[Route, ...]]:
    """The routes that end at a place's operands, and the one that is its result alone; for each of its passages."""
    if place.everywhere and place.copies == 1:
        return
    node = place.model
    if node.outputs[0] in tape.differentiable and place.copies == 1:
        yield tuple(Route(one.outputs[0], one.outputs[0], place=one.index) for one in place.nodes)
    if _is_pointwise(node):
        for position, value in enumerate(node.inputs):
            if value in tape.differentiable:
                for route in itertools.islice(_upwards(tape, ((node.index, position),)), ROUTES):
                    every = [_shifted(tape, route, one.index - node.index) for one in place.nodes]
                    found = tuple(one for one in every if one is not None)
                    if len(found) == len(every):
                        yield found
        for regions in elementwise_regions(tape, place) if place.copies == 1 else ():
            if len(regions[0].nodes) > 1:
                yield tuple(
                    Route(one.end, one.start, region=one, place=node.index)
                    for one, node in zip(regions, place.nodes, strict=True)
                )


def operands_of(tape: Tape, place: Place) -> Iterator[tuple[Operand, ...]]:
    """The factors of a product that stand in the gradient of the other one, for each of the place's passages."""
    if place.everywhere or place.name not in ("mm", "bmm", "mv", "dot", "convolution"):
        return
    for position in (0, 1):
        if place.model.inputs[position] in tape.differentiable:
            yield tuple(Operand(node.index, position) for node in place.nodes)


def of_parameter(tape: Tape, spot: Route | Operand) -> bool:
    """Whether it is a parameter's own gradient, which nothing else is made of."""
    return isinstance(spot, Operand) and parameter_of(tape, tape.nodes[spot.place].inputs[spot.position]) is not None


def _is_pointwise(node: Node) -> bool:
    return node.pointwise and len(node.outputs) == 1 and node.name not in SPREADING


def _upwards(tape: Tape, steps: tuple[Step, ...]) -> Iterator[Route]:
    """The routes that end with these steps."""
    end = tape.nodes[steps[0][0]].outputs[0]
    last, position = steps[-1]
    start = tape.nodes[last].inputs[position]
    if tape.nodes[steps[0][0]].name not in SPREADING:
        yield Route(end, start, steps, place=last)
    users = [tape.nodes[index] for index in tape.consumers.get(end, ())]
    for user in users:
        same = _is_pointwise(user) and tape.values[user.outputs[0]].shape == tape.values[end].shape
        if (same or user.name in (*SPREADING, *REDUCING)) and len(user.outputs) == 1:
            for at, one in enumerate(user.inputs):
                if one == end and len(steps) < LONGEST:
                    yield from _upwards(tape, ((user.index, at), *steps))
        elif len(users) > 1:
            yield Route(end, start, steps, user.index, place=last)


def _shifted(tape: Tape, route: Route, shift: int) -> Route | None:
    """The same route so many operations on; None where there is none."""
    if shift == 0:
        return route
    steps = tuple((index + shift, position) for index, position in route.steps)
    for (index, position), (other, _) in zip(route.steps, steps, strict=True):
        if not 0 <= other < len(tape.nodes):
            return None
        here, there = tape.nodes[index], tape.nodes[other]
        if here.name != there.name or position >= len(there.inputs):
            return None
    source = None if route.source is None else route.source + shift
    if source is not None and not 0 <= source < len(tape.nodes):
        return None
    last, position = steps[-1]
    end, start = tape.nodes[steps[0][0]].outputs[0], tape.nodes[last].inputs[position]
    return replace(route, end=end, start=start, steps=steps, source=source, place=last)
