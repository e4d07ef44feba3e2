"""Samples that were mixed up: one row of a result used for all of them, or the neighbour's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

from gradproof.diagnosis.fault import Fault, Replacement
from gradproof.diagnosis.survey import Survey
from gradproof.tape import Node, Tensor


def faults(survey: Survey) -> Iterator[Fault]:
    """For each result with a row for every sample: its last or first row for all, or each sample's neighbour's."""
    tape, places, problem = survey.tape, survey.places, survey.problem
    count = problem.samples
    if count is None or count < 2 or problem.batch_axis != 0:
        return
    for place in places:
        if tuple(tape.values[place.nodes[0].outputs[0]].shape)[:1] != (count,):
            continue
        for words, replacement in (
            (f"{place} of the last sample is used for all of them", one_row_for_all(-1)),
            (f"{place} of the first sample is used for all of them", one_row_for_all(0)),
            (f"each sample has {place} of the sample before it", _rolled(1)),
            (f"each sample has {place} of the sample after it", _rolled(-1)),
        ):
            forward = {node.index: replacement for node in place.nodes}
            yield Fault("wrong-operand", words, place.site, 1.6, forward=forward)


def one_row_for_all(index: int) -> Replacement:
    """The value changes, and what flows back goes its usual way: the candidate's author knows of no mix-up."""
    return _straight_through(lambda out: out[index].expand_as(out))


def _rolled(shift: int) -> Replacement:
    return _straight_through(lambda out: torch.roll(out, shift, 0))


def _straight_through(change: Callable[[Tensor], Tensor]) -> Replacement:
    def replacement(node: Node, inputs: list[Tensor], values: Sequence[Tensor]) -> Sequence[Tensor]:
        return [out + (change(out) - out).detach() for out in node.run(inputs)]

    return replacement
