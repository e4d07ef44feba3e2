"""Pooling and upsampling: entries that are taken back to, or made of, others than those of their own window."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch

from gradproof.diagnosis.fault import Fault, Replacement, replaced
from gradproof.diagnosis.places import Place
from gradproof.diagnosis.survey import Survey
from gradproof.tape import Gradients, Node, NodeHook, Tape, Tensor, Totals

Resample = Callable[[Tensor, tuple[int, ...]], Tensor]  # an array, and its new shape


def _enlarged(how: str) -> Resample:
    """To a shape that is several times as long: each entry repeated, the whole repeated, or zeros after each."""

    def enlarge(x: Tensor, shape: tuple[int, ...]) -> Tensor:
        for axis, times in enumerate(_times(shape, tuple(x.shape))):
            if times == 1:
                continue
            if how == "each":
                x = x.repeat_interleave(times, axis)
            elif how == "whole":
                x = torch.cat([x] * times, axis)
            else:
                rest = torch.zeros_like(x)
                x = torch.stack([x, *[rest] * (times - 1)], axis + 1).flatten(axis, axis + 1)
        return x

    return enlarge


def _reduced(how: str) -> Resample:
    """To a shape so many times shorter: sums of neighbours, sums of entries a part of the length apart, the first."""

    def reduce(x: Tensor, shape: tuple[int, ...]) -> Tensor:
        for axis, times in enumerate(_times(tuple(x.shape), shape)):
            if times == 1:
                continue
            length = x.shape[axis] // times
            split = (times, length) if how == "whole" else (length, times)
            parts = x.reshape(*x.shape[:axis], *split, *x.shape[axis + 1 :])
            across = axis if how == "whole" else axis + 1
            x = parts.select(across, 0) if how == "first" else parts.sum(across)
        return x

    return reduce


BACK_TO_MORE = {
    "each": "given to every entry of its window",
    "whole": "put side by side with all others, again and again",
    "first": "taken to the first entry of its window alone",
}
BACK_TO_FEWER = {
    "each": "the sum over the entries that are nearest",
    "whole": "the sum over entries a part of the length apart",
    "first": "that of the first entry alone",
}
FORWARD_TO_FEWER = {
    "each": "takes the mean of each window",
    "whole": "takes the mean of entries a part of the length apart",
    "first": "takes the first entry of each window",
}
FORWARD_TO_MORE = {
    "each": "repeats each entry",
    "whole": "repeats the whole array",
    "first": "puts zeros after each entry",
}


def faults(survey: Survey) -> Iterator[Fault]:
    """For each pooling and upsampling by a whole number: another one on the way back, or in both passes."""
    for place in survey.all_places:
        if "pool" in place.name or "upsample" in place.name:
            yield from _of_place(survey.tape, place)


def _of_place(tape: Tape, place: Place) -> Iterator[Fault]:
    given, made = (tuple(tape.values[one].shape) for one in (place.model.inputs[0], place.model.outputs[0]))
    try:
        pools = math.prod(_times(given, made)) > 1
        count = math.prod(_times(given, made) if pools else _times(made, given))
    except ValueError:
        return
    for how, words in (BACK_TO_MORE if pools else BACK_TO_FEWER).items():
        resample = _enlarged(how) if pools else _reduced(how)
        for constant, more in ((1.0, ", undivided" * pools), (1 / count, f", divided by {count}")):
            message = f"on the way back through {place}, what arrives is {words}{more}"
            hooks = {node.index: _back(resample, constant) for node in place.nodes}
            code = "overwritten" if how == "first" and not pools and constant == 1.0 else "different-function"
            if how == "each" and ("avg" in place.name or "nearest" in place.name):
                code = "wrong-reduction"  # the right entries, of a sum for a mean or the other way round
            yield Fault(code, message, place.site, 1.3, hooks)
    for how, words in (FORWARD_TO_FEWER if pools else FORWARD_TO_MORE).items():
        resample = _reduced(how) if pools else _enlarged(how)
        constant = 1 / count if pools and how != "first" else 1.0
        yield replaced("different-function", f"{place} {words}", place, 1.35, _forward(resample, constant))


def _times(longer: tuple[int, ...], shorter: tuple[int, ...]) -> list[int]:
    """How many times as long each axis is. Raises ValueError where it is not a whole number of times."""
    if len(longer) != len(shorter) or any(b == 0 or a % b for a, b in zip(longer, shorter, strict=True)):
        if len(longer) == len(shorter) and all(b % a == 0 for a, b in zip(longer, shorter, strict=True) if a):
            return [1] * len(longer)
        raise ValueError("no whole number of times")
    return [a // b for a, b in zip(longer, shorter, strict=True)]


def _back(resample: Resample, constant: float) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found, grad = list(tape.vjp(node, grads)), grads[0]
        found[0] = None if grad is None else constant * resample(grad, tuple(tape.values[node.inputs[0]].shape))
        return found

    return hook


def _forward(resample: Resample, constant: float) -> Replacement:
    def replacement(node: Node, inputs: list[Tensor], values: Sequence[Tensor]) -> Sequence[Tensor]:
        made = constant * resample(inputs[0], tuple(values[node.outputs[0]].shape))
        return [made, *(values[one] for one in node.outputs[1:])]

    return replacement
