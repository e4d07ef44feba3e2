"""Arrays that are filled piece by piece: what is read from one is what was written, and the whole is all pieces joined.

A loop that keeps its states in one array (`h[t] = ...`, and `h[t - 1]` in the next step) computes what one with a list
of states does. Recorded as it runs, each step takes the whole array and makes another one; here the states are told
apart again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch.utils._pytree import tree_flatten

from gradproof.local_rules import CONSTANT

if TYPE_CHECKING:
    from gradproof.tape import Node

_WRITES = ("select_scatter", "slice_scatter")
_READS = ("select", "slice")
_COPIES = ("to", "_to_copy", "clone")


def read_through(
    nodes: Sequence[Node], values: list[torch.Tensor], given: Collection[int], wanted: Sequence[int]
) -> tuple[list[Node], list[int]]:
    """The same program without its buffers, as far as that can be told, and where its results are now.

    `values` are all tensors of the program, by number, and get more: the entries that a buffer was made with. `given`
    are the numbers of the parameters and data, `wanted` those of the results.
    """
    if not any(_writes(node) for node in nodes):
        return list(nodes), list(wanted)
    reading = _Reading(values, given)
    kept = [node for node in map(reading.of, nodes) if node is not None]
    results = [reading.stands.get(value, value) for value in wanted]
    kept = _used(reading.joined(_used(kept, results)), results)
    return [replace(node, index=index) for index, node in enumerate(kept)], results


def _writes(node: Node) -> bool:
    """Whether an operation writes into a part of an array; under no_grad, autograd would not see it."""
    return node.name in _WRITES and not node.cut and not node.keywords


def _used(nodes: Sequence[Node], results: Iterable[int]) -> list[Node]:
    """The operations without those that read or write pieces for nobody."""
    needed, kept = set(results), []
    for node in reversed(nodes):
        if node.name not in (*_READS, *_WRITES) or not needed.isdisjoint(node.outputs):
            needed.update(node.inputs)
            kept.append(node)
    return kept[::-1]


def _apart(one: range, other: range) -> bool:
    """Whether two pieces have no position in common."""
    if not one or not other or max(one) < min(other) or max(other) < min(one):
        return True
    return one.step * other.step != 1 and set(one).isdisjoint(other)


class _Reading:
    """What each value is, operation by operation."""

    def __init__(self, values: list[torch.Tensor], given: Collection[int]) -> None:
        self.values, self.given = values, given
        self.stands: dict[int, int] = {}  # for a value that is another one again, which
        self.makers: dict[int, Node] = {}

    def of(self, node: Node) -> Node | None:
        """An operation on what its inputs are; None for one that makes nothing new."""
        node = replace(node, inputs=[self.stands.get(value, value) for value in node.inputs])
        same = None if node.cut or node.keywords else self._same(node)
        if same is not None and self._serves_for(same, node.outputs[0]):
            self.stands[node.outputs[0]] = same
            return None
        self.makers.update((value, node) for value in node.outputs)
        return node

    def _serves_for(self, one: int, other: int) -> bool:
        """Whether a value can stand in another's place: also where a view is taken of that."""
        a, b = self.values[one], self.values[other]
        return a.shape == b.shape and a.dtype == b.dtype and (a.is_contiguous() or not b.is_contiguous())

    def _same(self, node: Node) -> int | None:
        """What an operation makes again, but for its shape; one that reads is led to the latest array that matters."""
        if node.name in _READS:
            return self._read(node)
        if node.name == "slice_scatter":  # the whole of it may be written over
            return node.inputs[1]
        return node.inputs[0] if node.name in _COPIES else None

    def _read(self, node: Node) -> int | None:
        """What was written where an operation reads; writings elsewhere do not matter to it."""
        asked = self._piece(node)
        buffer = node.inputs[0]
        while (maker := self.makers.get(buffer)) is not None and _writes(maker):
            written = self._piece(maker)
            if written == asked:
                return maker.inputs[1]
            if written[0] != asked[0] or not _apart(written[1], asked[1]):
                break
            buffer = maker.inputs[0]
        node.inputs[0] = buffer
        return None

    def _piece(self, node: Node) -> tuple[int, range]:
        """The axis along which an operation takes or writes a piece, and the positions there."""
        whole = self.values[node.inputs[0]]
        said = node.arguments[len(node.inputs) :]
        axis = int(said[0] if said else 0) % whole.dim()
        everywhere = range(whole.shape[axis])
        if node.name.startswith("select"):
            return axis, everywhere[said[1] :][:1]
        return axis, everywhere[slice(*(said[1:] or [None]))]

    def joined(self, nodes: Sequence[Node]) -> list[Node]:
        """The program with each buffer that was filled entry by entry stacked at once."""
        users = Counter(value for node in nodes for value in node.inputs)
        continued = {node.inputs[0] for node in nodes if _writes(node) and users[node.inputs[0]] == 1}
        return [self._together(one, users) if continued.isdisjoint(one.outputs) else one for one in nodes]

    def _together(self, last: Node, users: Counter[int]) -> Node:
        """The last writing into a buffer as an operation that stacks all its entries; itself where it has been more."""
        if last.name != "select_scatter" or not _writes(last):
            return last
        axis = self._piece(last)[0]
        written: dict[int, int] = {}
        maker: Node | None = last
        while maker is not None and maker.name == last.name and _writes(maker) and self._piece(maker)[0] == axis:
            if maker is not last and users[maker.outputs[0]] > 1:
                return last
            written.setdefault(self._piece(maker)[1][0], maker.inputs[1])
            buffer = maker.inputs[0]
            maker = self.makers.get(buffer)
        if buffer in self.given or (maker is not None and maker.name not in CONSTANT):
            return last
        count = self.values[buffer].shape[axis]
        if 2 * len(written) < count:
            return last
        for position in set(range(count)) - written.keys():  # as they were from the beginning
            written[position] = len(self.values)
            self.values.append(self.values[buffer].select(axis, position))
        parts = [written[position] for position in range(count)]
        flat, spec = tree_flatten((([None] * count, axis), {}))
        func, positions = torch.ops.aten.stack.default, list(range(count))
        return replace(last, func=func, flat=flat, spec=spec, positions=positions, inputs=parts)
