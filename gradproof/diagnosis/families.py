"""All families of faults: each says what may have gone wrong, and at which places of a reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gradproof.diagnosis import (
    accumulation,
    caches,
    convolutions,
    criteria,
    deltas,
    edges,
    elementwise,
    exchanges,
    functions,
    inputs,
    layout,
    look_ups,
    loops,
    masks,
    normalisations,
    operands,
    operators,
    other_inputs,
    products,
    reductions,
    resampling,
    samples,
    scalings,
    sequences,
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
    weight_decay.faults,
    slips.faults,
    accumulation.faults,
    summands.faults,
    loops.faults,
    reductions.faults,
    products.faults,
    operands.faults,
    deltas.faults,
    exchanges.faults,
    windows.faults,
    convolutions.faults,
    resampling.faults,
    layout.faults,
    look_ups.faults,
    masks.faults,
    caches.faults,
    normalisations.faults,
    scalings.faults,
    inputs.faults,
    other_inputs.faults,
    samples.faults,
    sequences.faults,
    functions.faults,
    operators.faults,
    criteria.faults,
)
