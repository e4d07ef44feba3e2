"""Weights that were updated too early: the gradient of a layer taken at another layer's next weights."""

from __future__ import annotations

from collections.abc import Iterator

from gradproof.diagnosis.edges import origin
from gradproof.diagnosis.fault import Fault, OneInput
from gradproof.diagnosis.places import Place
from gradproof.diagnosis.survey import Survey
from gradproof.report import number
from gradproof.tape import Gradients, Node, NodeHook, Tape, Tensor, Totals


def faults(survey: Survey) -> Iterator[Fault]:
    """For each product with a parameter: what flows back through it, at the parameter after a step of descent."""
    tape, places = survey.tape, survey.places
    parameters = {value: name for name, value in tape.parameters.items()}
    for place in places:
        node = place.nodes[0]
        if place.name not in ("mm", "bmm", "mv", "mul", "convolution") or len(node.inputs) < 2:
            continue
        for position in (0, 1):
            name = parameters.get(node.inputs[1 - position])
            if name is not None and node.inputs[position] in tape.differentiable:
                yield _updated(place, position, name, origin(tape, node, position), 0.0)


def _updated(place: Place, position: int, name: str, target: str, rate: float) -> Fault:
    when = f"after its update (learning rate {number(rate)}), not before"
    message = f"what flows back to {target} goes through {name} {when}"
    hooks = {node.index: _at_updated(position, name, rate) for node in place.nodes}
    return Fault(
        "wrong-operand",
        message,
        place.site,
        1.5,
        hooks,
        scaled=lambda other: _updated(place, position, name, target, other),
    )


def _at_updated(position: int, name: str, rate: float) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        weight = tape.values[tape.parameters[name]] - rate * tape.clean.gradients[name]
        found = list(tape.vjp(node, grads))
        found[position] = tape.vjp(node, grads, at={1 - position: weight})[position]
        return found

    return OneInput(position, hook)
