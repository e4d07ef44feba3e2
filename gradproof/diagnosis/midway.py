"""What is right midway: the arrays that a candidate makes on its way, among those that the reference makes on its own.

A candidate with two mistakes has no right gradient behind the second, whatever is done about the first. But what it
makes between the two comes right: that tells each of them by itself.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from gradproof.case import Case
from gradproof.own_code.notes import names, sums
from gradproof.tape import Backward

MOST_PARTS = 200  # of an array along one axis, that are looked at one by one
AXES = 2  # along which somebody may go step by step, or sample by sample


def right_arrays(case: Case) -> frozenset[int]:
    """By name: all gradients on the reference's way back, in all and one by one; and the values of a wrong loss."""
    assert case.tape is not None  # the search goes by it
    return arrays_of(case.tape.clean, values=not case.loss_is_right)


def arrays_of(back: Backward, values: bool = True) -> frozenset[int]:
    """By name: all gradients on a way back, in all and one by one; and the values, if they are asked for."""
    arrays = list(map(_entries, [*_gradients(back), *(back.tape.values if values else [])]))
    parts = [np.moveaxis(one, axis, 0) for one in arrays for axis in range(min(AXES, one.ndim - 1))]
    rows = [row for one in parts if len(one) <= MOST_PARTS for row in one]
    every = [one.ravel() for one in (*arrays, *rows, *_of_passages(back)) if one.size]
    with np.errstate(all="ignore"):
        return frozenset(names(sums(every)))


def _entries(one: Tensor) -> np.ndarray:
    """A tensor's numbers; none of one that has no real ones."""
    return one.detach().numpy() if one.is_floating_point() else np.zeros(0)


def _gradients(back: Backward) -> Iterator[Tensor]:
    """What arrives at each value in all, and what each operation sends there."""
    yield from back.totals.values()
    for sent in back.local.values():
        yield from (one for one in sent if one is not None)


def _of_passages(back: Backward) -> Iterator[np.ndarray]:
    """What all passages of a loop make together."""
    totals, together = back.totals, dict[tuple[object, ...], list[np.ndarray]]()
    for node in back.tape.nodes:
        where = (node.site.file, node.site.line, node.name)
        sides = {
            "sent": back.local.get(node.index, []),
            "arriving": [totals.get(value) for value in node.outputs],
            "arriving before": [totals.get(value) for value in node.inputs],
        }
        for side, given in sides.items():
            for position, one in enumerate(given):
                if one is not None:
                    together.setdefault((*where, side, position), []).append(_entries(one).ravel())
    return (np.concatenate(each) for each in together.values() if len(each) > 1)
