"""A real signal's half spectrum: all frequencies but the first, and the last of an even length, stand for two.

The Fourier transform of a real signal keeps half of its frequencies. On the way back those that stand for two count
twice (behind `irfft`), or half (behind `rfft`). Source: torch's documentation of `torch.fft.rfft` and `irfft`.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from gradproof.diagnosis.fault import Fault
from gradproof.diagnosis.survey import Survey
from gradproof.tape import Gradients, Node, NodeHook, Tape, Tensor, Totals

TO_HALF, FROM_HALF = "_fft_r2c", "_fft_c2r"


def faults(survey: Survey) -> Iterator[Fault]:
    """For each transform to half a spectrum or from one: frequencies that count otherwise on the way back."""
    for place in survey.places:
        if place.name in (TO_HALF, FROM_HALF) and _doubled(survey.tape, place.model) is not None:
            counted, otherwise = ("once", "twice") if place.name == FROM_HALF else ("in full", "by half")
            for message, factor in (
                (f"the frequencies that stand for two are counted {counted}", 1.0),
                (f"all frequencies are counted {otherwise}, those too that stand for one", 2.0),
            ):
                for subset, nodes in survey.subsets(place):
                    hooks: dict[int, NodeHook] = {node.index: _counted(factor) for node in nodes}
                    words = f"on the way back through {place}, {message}{subset}"
                    yield Fault("wrong-scale", words, place.site, 1.2, hooks)


def _doubled(tape: Tape, node: Node) -> Tensor | None:
    """2 for the frequencies that stand for two, else 1, to be multiplied with; None where all frequencies are kept."""
    half = tape.values[node.outputs[0] if node.name == TO_HALF else node.inputs[0]]
    whole = tape.values[node.inputs[0] if node.name == TO_HALF else node.outputs[0]]
    axis = int(node.arguments[1][-1])
    kept, length = half.shape[axis], whole.shape[axis]
    if kept == length:
        return None
    count = torch.full((kept,), 2.0, dtype=whole.dtype)
    count[0] = 1.0
    if length % 2 == 0:
        count[-1] = 1.0
    return count.reshape([-1 if i == axis % half.dim() else 1 for i in range(half.dim())])


def _counted(factor: float) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        doubled = _doubled(tape, node)
        assert doubled is not None
        if node.name == TO_HALF:
            return tape.vjp(node, [None if one is None else one * doubled / factor for one in grads])
        return [None if one is None else one / doubled * factor for one in tape.vjp(node, grads)]

    return hook
