"""Regions of the reference that are one function of one array, however many operations it is written in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from gradproof.diagnosis.places import Place
from gradproof.tape import Node, Tape, Tensor, pulled_back

MOST_ENTRIES = 256  # of which each is differentiated by itself
LONGEST = 16  # operations in one region
SCALING = {"mul", "div"}
LINEAR = ("neg", "mul", "div", "add", "sub", "to", "_to_copy", "clone", "alias", "t", "view", "_unsafe_view", "expand")


@dataclass(frozen=True)
class Region:
    """A part of a tape that makes the value `end` of the value `start` alone."""

    start: int
    end: int
    nodes: tuple[Node, ...]
    _slopes: list[tuple[Tape, Tensor]] = field(default_factory=list, compare=False)  # of the tape it was last asked on
    _diagonals: list[tuple[Tape, int, Tensor]] = field(default_factory=list, compare=False)

    def function(self, tape: Tape) -> Any:
        """The region as a function of its start."""

        def run(x: Tensor) -> Tensor:
            values = {self.start: x}
            for index in (node.index for node in self.nodes):
                node = tape.nodes[index]
                outputs = node.run([values.get(value, tape.values[value]) for value in node.inputs])
                values.update(zip(node.outputs, outputs, strict=True))
            return values[self.end]

        return run

    def backward(self, tape: Tape, grad: Tensor, at: Tensor | None = None) -> Tensor:
        """What flows back from the end to the start; with `at`, as it would at another start."""
        if at is None and all(node.pointwise for node in self.nodes):
            return grad * self._slope(tape)
        return self._pulled_back(tape, grad, at)

    def _slope(self, tape: Tape) -> Tensor:
        """The derivative of each entry of the end, where none depends on any but its own entry of the start."""
        if not self._slopes or self._slopes[0][0] is not tape:
            self._slopes[:] = [(tape, self._pulled_back(tape, torch.ones_like(tape.values[self.end]), None))]
        return self._slopes[0][1]

    def _pulled_back(self, tape: Tape, grad: Tensor, at: Tensor | None) -> Tensor:
        x = (tape.values[self.start] if at is None else at).detach().requires_grad_()
        with torch.enable_grad():
            y = self.function(tape)(x)
        return _only(pulled_back([(y, grad)], [x]))

    def jacobian_diagonal(self, tape: Tape) -> Tensor:
        """The derivative of each entry of the end by the entry of the start in the same place (last axis coupled)."""
        return self._diagonal(tape, tape.values[self.start].shape[-1])

    def entry_by_entry(self, tape: Tape) -> Tensor:
        """The same where entries of different rows act on each other. Raises ValueError where there are too many."""
        count = tape.values[self.start].numel()
        if count > MOST_ENTRIES:
            raise ValueError("too many entries to be gone through one by one")
        return self._diagonal(tape, count)

    def _diagonal(self, tape: Tape, width: int) -> Tensor:
        """The diagonal of the Jacobian, of which every `width` entries in turn act on each other."""
        for known, its_width, found in self._diagonals:
            if known is tape and its_width == width:
                return found
        x = tape.values[self.start].detach().requires_grad_()
        with torch.enable_grad():
            y = self.function(tape)(x)
        diagonal = torch.zeros_like(y)
        for k in range(width):
            direction = torch.zeros_like(y)
            direction.view(-1, width)[:, k] = 1
            diagonal.view(-1, width)[:, k] = _only(pulled_back([(y, direction)], [x])).reshape(-1, width)[:, k]
        self._diagonals[:] = [(tape, width, diagonal)]
        return diagonal


def _only(found: tuple[Tensor | None, ...]) -> Tensor:
    """The one gradient. Raises ValueError where the result does not depend on the start."""
    if found[0] is None:
        raise ValueError("the end does not depend on the start")
    return found[0]


def elementwise_regions(tape: Tape, place: Place) -> Iterator[tuple[Region, ...]]:
    """The regions that end at a place and are a non-linear function entry by entry: one for each of its passages.

    The operation itself; and, where an expression ends here, all of its line, all that is elementwise before it, and
    all from an error on.
    """
    roots = _roots(tape, place.model)
    alone = [start for start, nodes in roots.items() if len(nodes) == 1]
    longer = [start for start, nodes in roots.items() if len(nodes) > 1]
    chosen = alone[:1]
    if longer and _ends_an_expression(tape, place):
        on_line = [start for start in longer if all(tape.nodes[i].site.line == place.site.line for i in roots[start])]
        chosen += [min(on_line)] if on_line else []
        chosen += [min(longer)] if min(longer) not in chosen else []
        chosen += [start for start in longer if start not in chosen and _is_an_error(tape, start)][:1]
    yield from _not_linear(tape, place, {start: roots[start] for start in chosen})


def _is_an_error(tape: Tape, value: int) -> bool:
    """Whether a value is a difference of arrays, of which a loss is a function."""
    maker = tape.maker(value)
    return maker is not None and maker.name == "sub" and len(maker.inputs) == 2


def every_region(tape: Tape, place: Place) -> Iterator[tuple[Region, ...]]:
    """All of them, wherever they start, on as many lines as it may be."""
    yield from _not_linear(tape, place, _roots(tape, place.model))


def _not_linear(tape: Tape, place: Place, roots: dict[int, frozenset[int]]) -> Iterator[tuple[Region, ...]]:
    for start, nodes in roots.items():
        regions = _all_passages(tape, place, start, nodes)
        if regions and any(node.name not in LINEAR for node in regions[0].nodes):
            yield regions


def scalings(tape: Tape, place: Place) -> Iterator[tuple[Region, ...]]:
    """The expressions that end at a place and only multiply and divide, in several operations of one line."""
    roots = _roots(tape, place.model)
    for start, nodes in roots.items():
        names = {tape.nodes[i].name for i in nodes}
        one_line = all(tape.nodes[i].site.line == place.site.line for i in nodes)
        if len(nodes) > 1 and one_line and names <= SCALING and not _is_scaled_on(tape, place):
            regions = _all_passages(tape, place, start, nodes)
            if regions:
                yield regions


def _is_scaled_on(tape: Tape, place: Place) -> bool:
    """Whether the same line multiplies or divides a result again."""
    users = (tape.nodes[index] for index in tape.consumers.get(place.model.outputs[0], ()))
    return any(user.site.line == place.site.line and user.name in SCALING for user in users)


def _ends_an_expression(tape: Tape, place: Place) -> bool:
    """Whether what a place makes is used by anything else than the rest of its own line's elementwise expression."""
    node = place.model
    users = [tape.nodes[index] for index in tape.consumers.get(node.outputs[0], ())]
    return not users or any(
        user.site.line != node.site.line or not _is_pointwise(tape, user) or len(_moving(tape, user)) > 1
        for user in users
    )


def _moving(tape: Tape, node: Node) -> set[int]:
    return {value for value in node.inputs if value in tape.differentiable}


Roots = dict[int, frozenset[int]]


def _roots(tape: Tape, node: Node, known: dict[int, Roots] | None = None) -> Roots:
    """The values that a node's result is an elementwise function of, each with the operations on the way.

    `known` has those of the operations before it: where routes part and meet again, each is come to on all of them.
    """
    known = {} if known is None else known
    if node.index not in known:
        known[node.index] = _roots_of(tape, node, known) if _is_pointwise(tape, node) else {}
    return known[node.index]


def _roots_of(tape: Tape, node: Node, known: dict[int, Roots]) -> Roots:
    moving = [value for value in dict.fromkeys(node.inputs) if value in tape.differentiable]
    found: dict[int, frozenset[int]] = {}
    each = []
    for value in moving:
        own = {value: frozenset([node.index])}
        producer = tape.producer.get(value)
        if producer is not None and node.index - producer <= 2 * LONGEST:
            for root, nodes in _roots(tape, tape.nodes[producer], known).items():
                if len(nodes) < LONGEST:
                    own[root] = nodes | {node.index}
        each.append(own)
    for root in set.intersection(*(set(own) for own in each)) if each else ():
        found[root] = frozenset().union(*(own[root] for own in each))
    return found


def _is_pointwise(tape: Tape, node: Node) -> bool:
    if len(node.outputs) != 1 or not node.pointwise:
        return False
    shape = tape.values[node.outputs[0]].shape
    return all(tape.values[value].shape == shape for value in node.inputs if value in tape.differentiable)


def _all_passages(tape: Tape, place: Place, start: int, nodes: frozenset[int]) -> tuple[Region, ...]:
    """The region of one passage, found again in all others; empty where it is not."""
    order = sorted(nodes)
    names = [tape.nodes[index].name for index in order]
    uses = [(index, i) for index in order for i, value in enumerate(tape.nodes[index].inputs) if value == start]
    regions = []
    for node in place.nodes:
        shift = node.index - place.model.index
        if order[0] + shift < 0 or order[-1] + shift >= len(tape.nodes):
            return ()
        there = tuple(tape.nodes[index + shift] for index in order)
        if [one.name for one in there] != names:
            return ()
        inputs = [tape.nodes[index + shift].inputs for index, _ in uses]
        begins = {one[i] if i < len(one) else None for one, (_, i) in zip(inputs, uses, strict=True)}
        begin = begins.pop()
        if begins or begin is None or tape.values[begin].shape != tape.values[node.outputs[0]].shape:
            return ()
        regions.append(Region(begin, node.outputs[0], there))
    return tuple(regions)


def row_regions(tape: Tape, place: Place) -> Iterator[tuple[Region, ...]]:
    """The regions that end at a place, of the shape they start with, with a sum or a maximum over a row on the way."""
    first = place.model
    end = first.outputs[0]
    shape = tape.values[end].shape
    if not shape or not 1 < shape[-1] <= 256:
        return
    for start in _dominators(tape, first):
        if tape.values[start].shape != shape:
            continue
        nodes = frozenset(_between(tape, start, first))
        coupled = any(not tape.nodes[i].pointwise for i in nodes)
        mixing = any(tape.nodes[i].name in ("mm", "bmm", "mv", "convolution") for i in nodes)
        if coupled and not mixing and len(nodes) <= LONGEST:
            regions = _all_passages(tape, place, start, nodes)
            if regions:
                yield regions


def _dominators(tape: Tape, node: Node) -> list[int]:
    """The values that everything that reaches a node passes through, the nearest first (a few)."""
    found = []
    frontier = {value for value in node.inputs if value in tape.differentiable}
    for _ in range(2 * LONGEST):
        if len(frontier) == 1:
            found.append(next(iter(frontier)))
        latest = max(frontier, key=lambda value: tape.producer.get(value, -1), default=None)
        if latest is None or latest not in tape.producer:
            break
        frontier.discard(latest)
        made_by = tape.nodes[tape.producer[latest]]
        frontier |= {value for value in made_by.inputs if value in tape.differentiable}
    return found


def _between(tape: Tape, start: int, node: Node) -> set[int]:
    """The operations from a value to a node."""
    found: set[int] = set()
    frontier = [node.index]
    while frontier:
        index = frontier.pop()
        if index in found or len(found) > 2 * LONGEST:
            continue
        found.add(index)
        for value in tape.nodes[index].inputs:
            if value != start and value in tape.differentiable and value in tape.producer:
                frontier.append(tape.producer[value])
    return found
