"""What flows back through a whole line of the reference to an array that it uses several times: dropped, or its sign.

Whoever goes back through `h = (1 - f) * h + f * c` writes one formula for each of f, h and c, however many operations
the line has: what is forgotten or has the wrong sign is all that the line sends back to one of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from gradproof.diagnosis.edges import origin
from gradproof.diagnosis.fault import Fault
from gradproof.diagnosis.places import Place
from gradproof.diagnosis.survey import Survey
from gradproof.report import number
from gradproof.tape import Tape, Tensor, Totals, ValueHook, added, joined

MOST_OPERATIONS = 30  # of one line
MOST_ARRAYS = 6  # that come into a line of which each two are exchanged

Uses = tuple[tuple[int, frozenset[int]], ...]  # for each passage: an array, and the operations of the line that take it


def faults(survey: Survey) -> Iterator[Fault]:
    """For each line, and each array that several of its operations take from elsewhere."""
    for places in _by_line(survey.all_places):
        yield from _exchanged(survey.tape, places)
    for places in _by_line(survey.places):
        if 1 < len(places):
            for place, position, uses in _used_again(survey.tape, places):
                words = origin(survey.tape, place.model, position)
                elsewhere = set(survey.tape.consumers[uses[-1][0]]) - uses[-1][1]
                yield from _of_uses(survey, place, words, uses, bool(elsewhere))


def _by_line(places: Sequence[Place]) -> Iterator[list[Place]]:
    """The operations of each line that are done equally often."""
    lines: dict[tuple[object, ...], list[Place]] = {}
    for place in places:
        if not place.everywhere and not place.whole and place.copies == 1 and not place.passage:
            lines.setdefault((*place.line, len(place.nodes)), []).append(place)
    yield from (found for found in lines.values() if len(found) <= MOST_OPERATIONS)


def _used_again(tape: Tape, places: Sequence[Place]) -> Iterator[tuple[Place, int, Uses]]:
    """The arrays that come into a line and that it uses more than once: where it first does, and all uses."""
    last = {place.model.index: place for place in places}
    made = {value for place in places for value in place.model.outputs}
    taken: dict[int, list[tuple[Place, int]]] = {}
    for index in sorted(last):
        for position, value in enumerate(last[index].model.inputs):
            if value in tape.differentiable and value not in made:
                taken.setdefault(value, []).append((last[index], position))
    for uses in taken.values():
        if len({place.model.index for place, _ in uses}) > 1:
            place, position = uses[0]
            found = []
            for k in range(len(place.nodes)):
                values = {one.nodes[k].inputs[at] for one, at in uses if at < len(one.nodes[k].inputs)}
                if len(values) == 1 and values <= tape.differentiable:
                    found.append((values.pop(), frozenset(one.nodes[k].index for one, _ in uses)))
            yield place, position, tuple(found)


def _of_uses(survey: Survey, place: Place, words: str, uses: Uses, elsewhere: bool) -> Iterator[Fault]:
    in_time = survey.pool.in_time(len(place.nodes))
    where = f"line {place.site.line}" + (f" (as line {place.caller} calls it)" if place.caller else "")

    def scaled(constant: float) -> Fault:
        told = f"what flows back through {where} to {words}"
        if constant == 0.0:
            code, message = "missing-path", f"nothing of the gradient flows back through {where} to {words}"
            if in_time and all(_from_before(survey.tape, one, users) for one, users in uses[1:]):
                code = "truncated-in-time" if not elsewhere else code
        elif constant == -1.0:
            code, message = "wrong-sign", f"{told} has the wrong sign"
        else:
            code, message = "wrong-scale", f"{told} is {number(constant)} times the right"
        message += f", each of the {len(place.nodes)} times that it runs" if len(place.nodes) > 1 else ""
        hooks = {value: _scaled(constant, users) for value, users in uses}
        return Fault(code, message, place.site, 1.02, values=hooks, scaled=scaled if constant == 0.0 else None)

    if elsewhere:  # otherwise it is all that the array gets
        yield scaled(0.0)
    yield scaled(-1.0)


def _from_before(tape: Tape, value: int, users: frozenset[int]) -> bool:
    """Whether an array was made in the passage before."""
    return tape.producer.get(value, -1) < min(users) and value in tape.producer


def _exchanged(tape: Tape, places: Sequence[Place]) -> Iterator[Fault]:
    """Two arrays that a line takes from elsewhere, each in the other one's place: a divergence the wrong way round."""
    made = {value for place in places for node in place.nodes for value in node.outputs}
    first = min(node.index for place in places for node in place.nodes[:1])
    taken = {value: (place, i) for place in places for i, value in enumerate(place.model.inputs) if value not in made}
    arrays = [value for value in taken if tape.values[value].numel() > 1 and tape.producer.get(value, -1) < first]
    for one, other in combinations(arrays, 2) if len(places[0].nodes) == 1 and len(arrays) <= MOST_ARRAYS else ():
        if tape.values[one].shape == tape.values[other].shape and tape.values[one].dtype == tape.values[other].dtype:
            swap = {one: other, other: one}
            rewired = {place.model.index: _moved(place, swap) for place in places}
            names = [origin(tape, place.model, position) for place, position in (taken[one], taken[other])]
            message = f"{names[0]} and {names[1]} stand in each other's place"
            rewired = {index: moved for index, moved in rewired.items() if moved}
            if len(rewired) > 1:
                yield Fault("wrong-operand", message, places[0].site, 1.4, rewired=rewired)


def _moved(place: Place, swap: dict[int, int]) -> dict[int, int]:
    return {position: swap[value] for position, value in enumerate(place.model.inputs) if value in swap}


def _scaled(constant: float, users: frozenset[int]) -> ValueHook:
    def hook(tape: Tape, arriving: list[tuple[int, Tensor]], totals: Totals) -> Tensor | None:
        rest = joined(arriving, without=users)
        line = joined(arriving, without=[index for index, _ in arriving if index not in users])
        return added(rest, None if line is None or constant == 0.0 else constant * line)

    return hook
