"""All families of faults: each says what may have gone wrong, and at which places of a reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gradproof.diagnosis import (
    accumulation,
    blends,
    caches,
    choices,
    convolutions,
    criteria,
    deltas,
    edges,
    elementwise,
    exchanges,
    functions,
    held_constant,
    inputs,
    layout,
    lines,
    look_ups,
    loops,
    masks,
    normalisations,
    operands,
    operators,
    other_inputs,
    products,
    quotients,
    reductions,
    resampling,
    samples,
    scalings,
    sequences,
    shared_factors,
    slips,
    summands,
    weight_decay,
    windows,
)
from gradproof.diagnosis.fault import Fault
from gradproof.diagnosis.survey import Survey

Family = Callable[[Survey], Iterator[Fault]]
FAMILIES: tuple[Family, ...] = (
    elementwise.faults,
    elementwise.extra_faults,
    elementwise.scaling_faults,
    elementwise.elsewhere_faults,
    edges.faults,
    lines.faults,
    weight_decay.faults,
    slips.faults,
    accumulation.faults,
    summands.faults,
    loops.faults,
    reductions.faults,
    products.faults,
    shared_factors.faults,
    operands.faults,
    deltas.faults,
    exchanges.faults,
    windows.faults,
    choices.faults,
    convolutions.faults,
    resampling.faults,
    layout.faults,
    look_ups.faults,
    masks.faults,
    held_constant.faults,
    caches.faults,
    normalisations.faults,
    quotients.faults,
    blends.faults,
    scalings.faults,
    inputs.faults,
    sequences.faults,
    criteria.faults,
)
# Those of which every fault is another forward pass: whoever has the loss right has made none of them.
OF_THE_FORWARD_PASS: tuple[Family, ...] = (
    functions.faults,
    operators.faults,
    other_inputs.faults,
    samples.faults,
)
