"""A parameter's gradient made with another place's delta: the one before an activation, the neighbouring layer's."""

from __future__ import annotations

from collections.abc import Iterator

from gradproof.diagnosis.accumulation import parameter_of
from gradproof.diagnosis.fault import Fault
from gradproof.diagnosis.places import Place
from gradproof.diagnosis.regions import elementwise_regions
from gradproof.tape import Gradients, Node, NodeHook, Tape, Tensor, Totals


def faults(tape: Tape, places: list[Place]) -> Iterator[Fault]:
    """For each parameter at each place: what has arrived at another result of the same shape in place of its own."""
    for place in places:
        for position, value in enumerate(place.nodes[0].inputs):
            name = parameter_of(tape, value)
            if name is not None:
                yield from _other_deltas(tape, place, places, position, name)


def _other_deltas(tape: Tape, place: Place, places: list[Place], position: int, name: str) -> Iterator[Fault]:
    shape = tape.values[place.nodes[0].outputs[0]].shape
    own = tape.clean.totals.get(place.nodes[0].outputs[0])
    for other in places:
        count = len(other.nodes)
        value = other.nodes[0].outputs[0]
        delta = tape.clean.totals.get(value)
        if count != len(place.nodes) or other is place or own is None or delta is None:
            continue
        later = other.nodes[0].index > place.nodes[0].index
        if tape.values[value].shape != shape or not later or bool((delta == own).all()):
            continue
        starts = {region.start for regions in elementwise_regions(tape, other) for region in regions[:1]}
        skipped = bool(starts & _same_delta(tape, place.nodes[0].outputs[0]))
        code = "missing-derivative" if skipped else "wrong-operand"
        what = f"the derivative of {other} is left out, in this gradient alone" if skipped else f"it is that of {other}"
        message = f"the gradient of {name} is made with the wrong delta: {what}"
        pairs = zip(place.nodes, other.nodes, strict=True)
        hooks = {node.index: _with_delta(position, there.outputs[0]) for node, there in pairs}
        yield Fault(code, message, place.site, 1.5, hooks)


def _same_delta(tape: Tape, value: int) -> set[int]:
    """The values further on at which the same delta arrives: an added bias does not change it."""
    own = tape.clean.totals.get(value)
    found = {value}
    for other, delta in tape.clean.totals.items():
        if own is not None and delta.shape == own.shape and bool((delta == own).all()):
            found.add(other)
    return found


def _with_delta(position: int, value: int) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found = list(tape.vjp(node, grads))
        if value in totals:
            found[position] = tape.vjp(node, [totals[value]])[position]
        return found

    return hook
