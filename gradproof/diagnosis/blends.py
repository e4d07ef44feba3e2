"""Sums of two weighted terms, as smoothed labels are: one of them alone with the whole weight, or other weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gradproof.diagnosis.edges import origin
from gradproof.diagnosis.fault import Fault, Replacement, replaced
from gradproof.diagnosis.places import Place, bare, constant_factor
from gradproof.diagnosis.survey import Survey
from gradproof.tape import Gradients, Node, NodeHook, Tape, Tensor, Totals

Weights = tuple[float, float]


def faults(survey: Survey) -> Iterator[Fault]:
    """For each sum of two terms with a constant weight each: on the way back alone, and on both ways."""
    tape = survey.tape
    for place in survey.places:
        if place.name == "add" and len(place.model.inputs) == 2:
            own = [constant_factor(tape.maker(bare(tape, value))) for value in place.model.inputs]
            if own[0] is not None and own[1] is not None:
                yield from _of_sum(tape, place, (own[0], own[1]))


def _of_sum(tape: Tape, place: Place, own: Weights) -> Iterator[Fault]:
    names = [origin(tape, place.model, position) for position in (0, 1)]
    for words, other in _others(names, own):
        factors = (other[0] / own[0], other[1] / own[1])
        message = f"of the sum `{place.site.expression or place.name}`, {words}"
        hooks = {node.index: _scaled(factors) for node in place.nodes}
        yield Fault("different-function", f"{message}; but only on the way back", place.site, 1.15, hooks)
        yield replaced("different-function", message, place, 1.2, _summed(factors))


def _others(names: Sequence[str], own: Weights) -> Iterator[tuple[str, Weights]]:
    """Other weights, and in words what they are."""
    for keep in (0, 1):
        if own[keep] not in (0.0, 1.0):
            told = f"only {names[keep]} counts, and with the weight 1 instead of {own[keep]:g}"
            told += ": as if labels were not smoothed" if keep == 0 and _classes(own) else ""
            yield told, (1.0, 0.0) if keep == 0 else (0.0, 1.0)
    classes, share = _classes(own), 1.0 - own[0]
    if classes is not None and classes > 1:
        each = share / (classes - 1)
        told = f"the share {share:g} goes to the {classes - 1} other classes alone, not to all {classes}"
        yield told, (1.0 - share - each, each)


def _classes(own: Weights) -> int | None:
    """Among how many classes the second term shares out what the first one's weight leaves of 1."""
    count = (1.0 - own[0]) / own[1] if own[1] else 0.0
    return round(count) if count > 1.5 and abs(count - round(count)) < 1e-9 else None


def _scaled(factors: Weights) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found = tape.vjp(node, grads)
        return [None if one is None or not factor else factor * one for one, factor in zip(found, factors, strict=True)]

    return hook


def _summed(factors: Weights) -> Replacement:
    return lambda node, inputs, values: node.run([factor * one for factor, one in zip(factors, inputs, strict=True)])
