"""A conjugate that is forgotten: through z = w x of complex numbers, dx is conj(w) dz.

The gradient of a complex number is dL/dRe + i dL/dIm, as torch has it: what an operation sends back is its Jacobian's
conjugate transpose times what arrives. Source: Kreutz-Delgado (2009), "The complex gradient operator and the
CR-calculus".
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from gradproof.diagnosis.edges import origin
from gradproof.diagnosis.fault import Fault, OneInput, replaced
from gradproof.diagnosis.survey import Survey
from gradproof.tape import Gradients, Node, NodeHook, Tape, Tensor, Totals

FOURIER = "_fft_c2c"


def faults(survey: Survey) -> Iterator[Fault]:
    """For each operation on complex numbers: its Jacobian's transpose as it stands, where the conjugate belongs."""
    for place in survey.places:
        moving = _sent_otherwise(survey.tape, place.model)
        for subset, nodes in survey.subsets(place) if moving else ():
            code, message = "wrong-operand", f"what {place} sends back lacks a conjugate"
            if place.name == FOURIER:  # its matrix is its own transpose
                code, message = "different-function", f"{place} is done once more on the way back, not the other way"
            hooks: dict[int, NodeHook] = {node.index: unconjugated for node in nodes}
            yield Fault(code, message + subset, place.site, 1.1, hooks)
            for position in moving if len(moving) > 1 else ():
                message = f"what {place} sends back to {origin(survey.tape, place.model, position)} lacks a conjugate"
                hooks = {node.index: OneInput(position, _to_one(position)) for node in nodes}
                yield Fault(code, message + subset, place.site, 1.1, hooks)


def conjugated_forward(survey: Survey) -> Iterator[Fault]:
    """The conjugate of an operation's result, in the loss as well."""
    for place in survey.all_places:
        if survey.tape.values[place.model.outputs[0]].is_complex():
            message = f"the conjugate of {place} is taken"
            yield replaced("different-function", message, place, 1.4, lambda node, x, _: [node.run(x)[0].conj()])


def _sent_otherwise(tape: Tape, node: Node) -> list[int]:
    """The inputs to which an operation sends something else where no conjugate is taken."""
    right = tape.clean.local.get(node.index)
    if node.index not in tape.of_complex or right is None:
        return []
    arrived = [tape.clean.totals.get(value) for value in node.outputs]
    pairs = enumerate(zip(right, unconjugated(tape, node, arrived, tape.clean.seen), strict=True))
    return [i for i, (one, other) in pairs if one is not None and other is not None and not torch.allclose(one, other)]


def unconjugated(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
    """The rule of an operation, with its Jacobian's transpose for its conjugate transpose."""
    return [_conjugate(one) for one in tape.vjp(node, [_conjugate(one) for one in grads])]


def _conjugate(one: Tensor | None) -> Tensor | None:
    return None if one is None else one.conj().resolve_conj()


def _to_one(position: int) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found = list(tape.vjp(node, grads))
        found[position] = unconjugated(tape, node, grads, totals)[position]
        return found

    return hook
