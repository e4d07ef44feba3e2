"""Places in the reference: operations of one line that are done again and again are one place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from gradproof.tape import Node, Site, Tape

EACH = 8  # a place that is passed at most so often is also searched one passage at a time


@dataclass(frozen=True)
class Place:
    """One operation of one line, with all its passages (`nodes`, in the order in which they were done)."""

    site: Site
    name: str
    ordinal: int
    same_on_line: int
    nodes: tuple[Node, ...]

    @property
    def model(self) -> Node:
        """The passage to look at: the last, since the first of a loop may start from constants."""
        return self.nodes[-1]

    def __str__(self) -> str:
        """The operation in a reader's words: its own source where that is known, or which one of the line it is."""
        if self.site.expression and self.same_on_line == 1 and len(self.site.expression) <= 40:
            return f"`{self.site.expression}`"
        if self.same_on_line == 1:
            return f"`{self.name}`"
        return f"the {_ORDINALS[self.ordinal] if self.ordinal < len(_ORDINALS) else self.ordinal + 1} `{self.name}`"

    def subsets(self) -> Iterator[tuple[str, tuple[Node, ...]]]:
        """The passages that may be broken together, with the words for them: all, the last, all but the last, ..."""
        count = len(self.nodes)
        yield "" if count == 1 else f", each of the {count} times that it runs", self.nodes
        if count > 1:
            yield f", the last of the {count} times that it runs", self.nodes[-1:]
            yield f", the first of the {count} times that it runs", self.nodes[:1]
        if count > 2:
            yield f", all but the last of the {count} times that it runs", self.nodes[:-1]
            yield f", all but the first of the {count} times that it runs", self.nodes[1:]
        if 2 < count <= EACH:
            for k in range(1, count - 1):
                yield f", only number {k + 1} of the {count} times that it runs", self.nodes[k : k + 1]


_ORDINALS = ("first", "second", "third", "fourth", "fifth")


def find_places(tape: Tape) -> list[Place]:
    """All places whose operations pass a gradient on, the one nearest to the loss first."""
    lines: dict[Site, list[Node]] = {}
    for node in tape.nodes:
        lines.setdefault(node.site, []).append(node)
    places = []
    for site, nodes in lines.items():
        period = _period([node.name for node in nodes])
        kinds = Counter(node.name for node in nodes[:period])
        seen: Counter[str] = Counter()
        for offset in range(period):
            name = nodes[offset].name
            passages = tuple(node for node in nodes[offset::period] if tape.differentiable & set(node.inputs))
            if passages and any(value in tape.differentiable for node in passages for value in node.outputs):
                places.append(Place(site, name, seen[name], kinds[name], passages))
            seen[name] += 1
    return sorted(places, key=lambda place: -place.nodes[-1].index)


def _period(names: list[str]) -> int:
    """The length of the shortest sequence that `names` repeats."""
    for length in range(1, len(names) // 2 + 1):
        if len(names) % length == 0 and names == names[:length] * (len(names) // length):
            return length
    return len(names)
