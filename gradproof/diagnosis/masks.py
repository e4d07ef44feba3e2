"""A mask that is forgotten on the way back wherever it stands: what it leaves out counts all the same."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from gradproof.diagnosis.fault import Fault, OneInput, replaced
from gradproof.diagnosis.survey import Survey
from gradproof.local_rules import unbroadcast
from gradproof.tape import Gradients, Node, NodeHook, Tape, Tensor, Totals

MASKING = ("mul", "masked_fill", "where")
COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")


def faults(survey: Survey) -> Iterator[Fault]:
    """For each mask, all of whose uses a helper may have been meant to see to; and the labels that it hides."""
    tape = survey.tape
    yield from _never_hiding(survey)
    for uses in _masks(tape).values():
        last = tape.nodes[max(uses)]
        hooks: dict[int, NodeHook] = {index: _unmasked(position) for index, position in uses.items()}
        message = f"the mask of `{last.name}` (line {last.site.line}) is not applied on the way back: what it leaves"
        message += " out counts too"
        labels = {node.index: _at_hidden_labels for node in _look_ups_before(tape, uses)}
        if len(uses) > 1:
            yield Fault("missing-derivative", message, last.site, 1.2, hooks)
        if labels:
            words = f"{message}, with labels that are counted from the end where they are negative"
            yield Fault("missing-derivative", words, last.site, 1.25, {**hooks, **labels})


def _never_hiding(survey: Survey) -> Iterator[Fault]:
    """Masks that the reference works out: ones everywhere, in the loss as well."""
    for place in survey.all_places:
        if place.name in COMPARISONS and all(_pattern(survey.tape.values[one]) is not None for one in place.results):
            message = f"{place} is taken to be true everywhere: what it leaves out counts too"
            yield replaced("wrong-operand", message, place, 1.6, lambda node, x, _: [node.run(x)[0] * 0 == 0])


def _masks(tape: Tape) -> dict[bytes, dict[int, int]]:
    """For each pattern of zeros and ones, turned round or not: the operations that mask with it, and what they mask."""
    patterns = {value: _pattern(tape.values[value]) for value in range(len(tape.values))}
    found: dict[bytes, dict[int, int]] = {}
    for node in tape.nodes:
        moving = [i for i, value in enumerate(node.inputs) if value in tape.differentiable]
        if node.name in MASKING and len(moving) == 1:
            for value in node.inputs:
                pattern = patterns[value]
                if pattern is not None and value not in tape.differentiable:
                    found.setdefault(pattern, {})[node.index] = moving[0]
    return found


def _pattern(value: Tensor) -> bytes | None:
    """A mask's zeros and ones in order, the first of them taken to be one; None of anything else."""
    if value.numel() < 2 or value.is_complex():
        return None
    flat = value.reshape(-1)
    if not bool(((flat == 0) | (flat == 1)).all()) or bool((flat == flat[0]).all()):
        return None
    return bytes((flat == flat[0]).to(torch.uint8).numpy().tobytes())


def _unmasked(position: int) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found, grad = list(tape.vjp(node, grads)), grads[0]
        found[position] = None if grad is None else unbroadcast(grad, tape.values[node.inputs[position]])
        return found

    return OneInput(position, hook)


def _look_ups_before(tape: Tape, uses: dict[int, int]) -> list[Node]:
    """The look-ups of labels that are masked by these operations, where some labels are negative."""
    found = []
    for index, position in uses.items():
        value = tape.nodes[index].inputs[position]
        while (maker := tape.producer.get(value)) is not None:
            node = tape.nodes[maker]
            if node.name == "gather" and _hidden_labels(tape, node) is not None:
                found.append(node)
            if len(node.inputs) != 1:
                break
            value = node.inputs[0]
    return found


def _hidden_labels(tape: Tape, node: Node) -> Tensor | None:
    """The labels that a look-up was spared by putting another one in their place."""
    value = node.inputs[1]
    while (maker := tape.producer.get(value)) is not None:
        made = tape.nodes[maker]
        if made.name == "where":
            labels = [one for one in made.inputs if tape.values[one].dtype == torch.int64]
            given = tape.values[labels[0]] if labels else None
            return given if given is not None and bool((given < 0).any()) else None
        value = made.inputs[0]
    return None


def _at_hidden_labels(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
    labels = _hidden_labels(tape, node)
    if labels is None:
        raise ValueError("no labels are hidden")
    length = tape.values[node.inputs[0]].shape[int(node.arguments[1])]
    return tape.vjp(node, grads, at={1: (labels % length).reshape(tape.values[node.inputs[1]].shape)})
