"""Arrays that may stand in another's place: for each passage of a place, one value of the reference."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gradproof.diagnosis.contributions import of_parameters_alone
from gradproof.diagnosis.places import EACH, Place, bare, ordinal, result_of_node
from gradproof.tape import VIEWS, Tape, Tensor

NEARBY = 3  # operations from an array to others that may stand for it


@dataclass(frozen=True)
class Row:
    """One value for each passage. `words` say what it is; `shift` is 1 for that of the passage after, -1 before."""

    words: str
    values: tuple[int | None, ...]
    shift: int = 0
    transposed: bool = False

    @property
    def code(self) -> str:
        """The finding code of a row that stands in another's place."""
        return "shifted-in-time" if self.shift else "wrong-operand"


def fitted(array: Tensor, shape: tuple[int, ...]) -> Tensor | None:
    """An array in another shape, where a product would take it so: rows of all samples and steps, or one for all."""
    own = tuple(array.shape)
    if own == shape:
        return array
    squeezed = [[length for length in one if length != 1] for one in (own, shape)]
    if squeezed[0] == squeezed[1]:
        return array.reshape(shape)
    if len(own) > len(shape) > 1 and own[-1] == shape[-1] and array.numel() == math.prod(shape):
        return array.reshape(shape)
    if len(own) != len(shape) and min(len(own), len(shape)) > 1 and own[0] == shape[0]:
        if array.numel() == math.prod(shape):
            return array.reshape(shape)
    if 1 < len(own) < len(shape) and own == shape[len(shape) - len(own) :]:
        return array.expand(shape)
    if len(own) == len(shape) > 2 and own[0] == shape[0] and all(a in (1, b) for a, b in zip(own, shape, strict=True)):
        return array.expand(shape)
    return None


Passages = tuple[int, ...]  # some of those of a place, by number


def _served_alike(values: Sequence[int]) -> tuple[Passages, ...]:
    """The passages at which the same value stands, for each value."""
    found: dict[int, list[int]] = {}
    for i, value in enumerate(values):
        found.setdefault(value, []).append(i)
    return tuple(map(tuple, found.values()))


def _parts(values: Sequence[int], groups: Sequence[Sequence[int]]) -> list[list[int]]:
    """The values of each group of passages."""
    return [[values[i] for i in group] for group in groups]


class Pool:
    """All rows of values, to be asked for those that would fit in a place."""

    def __init__(self, tape: Tape, places: Sequence[Place]) -> None:
        self.tape = tape
        self.constants = {**tape.parameters, **tape.data}
        self.rows: dict[int, dict[tuple[int, ...], str]] = {}
        self._known: dict[int, tuple[Passages, ...]] = {}
        places = [place for place in places if place.copies == 1]
        for place in places:
            known = self.rows.setdefault(len(place.nodes), {})
            outputs = tuple(node.outputs[0] for node in place.nodes)
            if place.name not in VIEWS:
                known.setdefault(outputs, result_of_node(place.model))
        for place in places:
            known = self.rows[len(place.nodes)]
            for position in range(min(len(node.inputs) for node in place.nodes)):
                inputs = tuple(node.inputs[position] for node in place.nodes)
                known.setdefault(inputs, f"what goes into `{place.name}` (line {place.site.line})")

    def fitting(self, place: Place, own: Sequence[int], needed: Sequence[bool] | None = None) -> Iterator[Row]:
        """The rows, other than its own, whose values have the shape and the kind of those in a place.

        Also its own row and others one passage earlier and later, and square ones transposed. Of passages that are not
        `needed` any value will do.
        """
        shapes = [
            self.tape.values[value].shape if needed is None or needed[i] else None for i, value in enumerate(own)
        ]  # those of layers in a loop differ
        turned = [None if shape is None else shape[:-2] + shape[-2:][::-1] for shape in shapes]
        count = len(place.nodes)
        for name, number in self.constants.items():
            if self._fit((number,) * count, shapes) and any(number != one for one in own):
                yield Row(name, (number,) * count)
        rows = self.rows.get(count // place.copies, {})
        for row, words in rows.items():
            values = row * place.copies
            if values != tuple(own) and self._fit(values, shapes):
                yield Row(words, values, self._shift(values, tuple(own)))
            if len(self.tape.values[own[-1]].shape) >= 2 and self._fit(values, turned):
                yield Row(f"the transpose of {words}", values, transposed=True)
        for row, words in self._nearby(own).items():
            if row not in rows and self._fit(row, shapes):
                yield Row(words, row)

    def _nearby(self, own: Sequence[int]) -> dict[tuple[int, ...], str]:
        """In a loop of which not every passage does the same: some operations before or after the own."""
        found: dict[tuple[int, ...], str] = {}
        if len(set(own)) < 2:
            return found
        for words, where, steps, values in self._around(own):
            many = f"{steps} operations" if steps > 1 else "one operation"
            if values != tuple(own):
                found.setdefault(values, f"{words}, {many} {where},")
        return found

    def _around(self, own: Sequence[int]) -> Iterator[tuple[str, str, int, tuple[int, ...]]]:
        """What lies a few operations before and after some values: in words, which way, how many, and the values."""
        ways = (("what it is made of", "back", self._before), ("what becomes of it", "on", self._after))
        for words, where, move in ways:
            values = tuple(own)
            for steps in range(1, NEARBY + 1):
                values = tuple(move(value) for value in values)
                yield words, where, steps, values

    def _before(self, value: int) -> int:
        maker = self.tape.producer.get(value)
        node = None if maker is None else self.tape.nodes[maker]
        same = node is not None and node.pointwise and self._fits(node.inputs[0], self.tape.values[value].shape)
        return node.inputs[0] if node is not None and same else value

    def _after(self, value: int) -> int:
        shape = self.tape.values[value].shape
        for index in self.tape.consumers.get(value, ()):
            node = self.tape.nodes[index]
            if node.pointwise and len(node.outputs) == 1 and self.tape.values[node.outputs[0]].shape == shape:
                return node.outputs[0]
        return value

    def _shift(self, values: tuple[int, ...], own: tuple[int, ...]) -> int:
        """1 where a row is the own one a step later, -1 where it is that of a step before, in each recurrence."""
        groups = self._recurrences(len(own))
        if not groups or any(len(set(part)) < 2 for part in _parts(own, groups)):
            return 0
        there, here = (_parts([bare(self.tape, value) for value in row], groups) for row in (values, own))
        pairs = list(zip(there, here, strict=True))
        later = all(other[:-1] == one[1:] for other, one in pairs)
        return 1 if later else -1 if all(other[1:] == one[:-1] for other, one in pairs) else 0

    def is_part(self, values: Sequence[int | None], own: Sequence[int]) -> bool:
        """Whether each value is the first term of the sum that its own value is: the rest of it is left out."""
        makers = [self.tape.maker(value) for value in own]
        return all(
            maker is not None and maker.name in ("add", "sub") and len(maker.inputs) == 2 and maker.inputs[0] == value
            for maker, value in zip(makers, values, strict=True)
        )

    def in_time(self, count: int) -> bool:
        """Whether places that are passed so often are steps of a recurrence: the same weights serve all of them."""
        return len(self._recurrences(count)) == 1

    def _recurrences(self, count: int) -> tuple[Passages, ...]:
        """The recurrences whose steps the passages of such places are: of several layers, or in both directions.

        Each has weights of its own, which serve all of its steps. None where the passages are no steps.
        """
        if count not in self._known:
            rows = self.rows.get(count, {})
            serving = (values for values in rows if all(of_parameters_alone(self.tape, one) for one in values))
            served = sorted(dict.fromkeys(map(_served_alike, serving)), key=len)
            found = (groups for groups in served if any(self._recurs(values, groups) for values in rows))
            self._known[count] = next(found, ())
        return self._known[count]

    def _recurs(self, values: Sequence[int], groups: Sequence[Passages]) -> bool:
        """Whether each value is made of the one before it, in each group."""
        if any(len(group) < 2 for group in groups):
            return False
        pairs = [pair for part in _parts(values, groups) for pair in itertools.pairwise(part)]
        makers = [self.tape.producer.get(earlier) for earlier, _ in pairs]
        return all(
            maker is not None and self.tape.depends(later, self.tape.nodes[maker])
            for maker, (_, later) in zip(makers, pairs, strict=True)
        )

    def shifted(self, place: Place, own: Sequence[int]) -> Iterator[Row]:
        """The own row one passage on or back, where it changes from passage to passage."""
        if len(set(own)) < 2 or place.copies > 1:
            return
        groups = self._recurrences(len(own))
        what = "step" if groups else "passage"
        groups = groups or (tuple(range(len(own))),)
        parts = _parts(own, groups)
        for shift, neighbour in ((1, "after"), (-1, "before")):
            edges = [self._beyond(part, shift) for part in parts]
            for edge in dict.fromkeys(zip(*edges, strict=True)):
                values: list[int | None] = [None] * len(own)
                for group, part, one in zip(groups, parts, edge, strict=True):
                    moved = [*part[1:], one] if shift == 1 else [one, *part[:-1]]
                    for i, value in zip(group, moved, strict=True):
                        values[i] = value
                yield Row(f"of the {what} {neighbour} its own", tuple(values), shift if what == "step" else 0)
        for which, words in ((own[-1], "last"), (own[0], "first")):  # a name left over from another loop
            if self._fit((which,) * len(own), [self.tape.values[value].shape for value in own]):
                yield Row(f"of the {words} {what}, at every one", (which,) * len(own))

    def of_one_passage(self, own: Sequence[int]) -> Iterator[Row]:
        """For a place that is passed once: the values of single passages of places that are passed several times."""
        like = self.tape.values[own[-1]].shape
        seen = set(own)
        for count, rows in self.rows.items():
            for values, words in rows.items() if 1 < count <= EACH else ():
                for k, value in enumerate(values):
                    if value not in seen and self._fits(value, like):
                        seen.add(value)
                        yield Row(f"{words}, at the {ordinal(k)} of the {count} times that it runs", (value,))

    def near(self, value: int) -> Iterator[Row]:
        """For a single passage: the data, and what is a few operations before or after its own value."""
        shape = self.tape.values[value].shape
        seen = {value}
        for name, number in self.tape.data.items():
            if number not in seen and self._fits(number, shape):
                seen.add(number)
                yield Row(name, (number,))
        for words, _, steps, (other,) in self._around([value]):
            if other not in seen:
                seen.add(other)
                yield Row(f"{words}, {steps} operation{'s' * (steps > 1)} away,", (other,))

    def _fit(self, values: Sequence[int], shapes: Sequence[Sequence[int] | None]) -> bool:
        pairs = zip(values, shapes, strict=True)
        return all(shape is None or self._fits(value, shape) for value, shape in pairs)

    def _fits(self, value: int, shape: Sequence[int]) -> bool:
        one = self.tape.values[value]
        return one.dtype.is_floating_point and fitted(one, tuple(shape)) is not None

    def _beyond(self, own: Sequence[int], shift: int) -> list[int | None]:
        """What may stand where a row that is moved by one passage has no value: its end, none, one more; its last."""
        return [self._following(own), own[-1], None] if shift == 1 else [own[0], None, own[-1]]  # [-1] is the last

    def _following(self, own: Sequence[int]) -> int | None:
        """What the row would hold in one passage more: the value made of the last passage as the others were made."""
        producers = [self.tape.producer.get(value) for value in own[-2:]]
        if None in producers:
            return None
        earlier, last = (one for one in producers if one is not None)
        part = self.tape.nodes[last].outputs.index(own[-1])
        following = last + (last - earlier)
        if following < len(self.tape.nodes) and self.tape.nodes[following].name == self.tape.nodes[last].name:
            return self.tape.nodes[following].outputs[part]
        site, name = self.tape.nodes[last].site, self.tape.nodes[last].name
        later = (node for node in self.tape.nodes[last + 1 :] if node.site == site and node.name == name)
        return next((node.outputs[part] for node in later), None)
