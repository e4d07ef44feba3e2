"""A way past some operations that is sent through them: a skip connection's gradient that is added too early.

In y = x + f(x), what arrives at y goes to x as it is. Whoever adds it to what f's first operations get back, and not
behind them, sends it through these as well.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradproof.diagnosis.edges import result_of
from gradproof.diagnosis.fault import Fault, not_from
from gradproof.diagnosis.places import Place
from gradproof.diagnosis.survey import Survey
from gradproof.tape import VIEWS, Node, Tape, Tensor, Totals, ValueHook, added, joined, reached

MOST = 6  # results on the way, the nearest to its start, at which the other way may be joined
LONGEST = 400  # operations that are passed


def faults(survey: Survey) -> Iterator[Fault]:
    """For each sum of a value and of what is made of it: the value's own way, through some of the other."""
    for place in survey.places:
        if place.name == "add" and len(place.model.inputs) == 2:
            for position in (0, 1):
                yield from _of_way(survey.tape, place, position)


def _of_way(tape: Tape, place: Place, position: int) -> Iterator[Fault]:
    source = place.model.inputs[position]
    for passed in _passed(tape, place.model, position):
        earlier = place.model.index - passed.index
        values: dict[int, ValueHook] = {}
        for node in place.nodes:
            other = tape.nodes[node.index - earlier] if node.index >= earlier else None
            if other is not None and other.name == passed.name:
                values[node.inputs[position]] = not_from([node.index])
                values[other.outputs[0]] = _with(node, position)
        message = f"what {place} sends back to {result_of(tape, source)} goes through {_shown(tape, passed)} first:"
        message += " it is added before the way back through that, and belongs behind it"
        about = (place.model.index,)
        yield Fault("missing-path", message, place.site, 1.35, values=values, about=about)


def _shown(tape: Tape, node: Node) -> str:
    """An operation in words: the call of which it is the last, where there is one."""
    ends = all(tape.nodes[index].site != node.site for index in tape.consumers.get(node.outputs[0], ()))
    if ends and node.site.expression:
        return f"`{node.site.expression}`"
    return result_of(tape, node.outputs[0]).removeprefix("the result of ")


def _passed(tape: Tape, node: Node, position: int) -> list[Node]:
    """The operations on the way from one term of a sum to the other whose result has that term's shape."""
    source, end = node.inputs[position], node.inputs[1 - position]
    start = tape.producer.get(source, -1)
    if source not in tape.differentiable or node.index - start > LONGEST:
        return []
    between = tape.nodes[start + 1 : node.index]
    on_the_way = reached(between, [source])
    if end not in on_the_way or end == source:
        return []
    shape = tape.values[source].shape
    found = [
        one
        for one in between
        if one.outputs[0] in on_the_way
        and one.name not in VIEWS
        and tape.values[one.outputs[0]].shape == shape
        and tape.depends(end, one)
    ]
    return found[:MOST]


def _with(node: Node, position: int) -> ValueHook:
    """What arrives at a value, and what a sum sends elsewhere."""

    def hook(tape: Tape, arriving: list[tuple[int, Tensor]], totals: Totals) -> Tensor | None:
        sent = tape.vjp(node, [totals.get(node.outputs[0])])[position]
        return added(joined(arriving), sent)

    return hook
