"""A parameter's gradient made with another place's delta: the one before an activation, the neighbouring layer's."""

from __future__ import annotations

from collections.abc import Iterator

from gradproof.diagnosis.contributions import contribution, parameter_of, parameter_value
from gradproof.diagnosis.fault import Fault
from gradproof.diagnosis.places import Place, bare
from gradproof.diagnosis.pool import Pool, Row, fitted
from gradproof.diagnosis.regions import elementwise_regions
from gradproof.diagnosis.survey import Survey
from gradproof.tape import Tape, Tensor, Totals, ValueHook, joined


def faults(survey: Survey) -> Iterator[Fault]:
    """For each parameter at each place: what has arrived at another result of the same shape in place of its own."""
    tape, places = survey.tape, survey.places
    pool = survey.pool
    starts = {region.start for place in places for regions in elementwise_regions(tape, place) for region in regions}
    for place in places:
        for position, value in enumerate(place.nodes[0].inputs):
            name = parameter_of(tape, value)
            if name is not None:
                yield from _other_deltas(tape, place, pool, position, name, starts)


def _other_deltas(
    tape: Tape, place: Place, pool: Pool, position: int, name: str, starts: set[int]
) -> Iterator[Fault]:
    results = [node.outputs[0] for node in place.nodes]
    flowing = [i for i, value in enumerate(results) if value in tape.clean.totals]
    if not flowing:
        return
    last = flowing[-1]  # the last passage of a loop may lead nowhere
    own = tape.clean.totals[results[last]]
    ends = _ends(tape, results[last], starts)
    for row in pool.shifted(place, results):
        message = f"the gradient of {name} is made with the delta {row.words}"
        yield _made_with(tape, row.code, message, place, position, row)
    for row in pool.of_one_passage(results) if len(results) == 1 else ():
        message = f"the gradient of {name} is made with the wrong delta, that of {row.words}"
        code = "last-step-only" if _is_term_of(tape, results[0], row.values[0]) else "shifted-in-time"
        yield _made_with(tape, code, message, place, position, row, 1.55)
    for row in pool.fitting(place, results):
        there = row.values[last]
        delta = None if there is None else tape.clean.totals.get(there)
        if row.transposed or delta is None or _same(delta, own):
            continue
        skipped = there in ends
        code = "missing-derivative" if skipped else row.code
        message = f"the gradient of {name} is made with the wrong delta, that of {row.words}"
        message += ": the derivative between them is left out, in this gradient alone" if skipped else ""
        yield _made_with(tape, code, message, place, position, row)


def _is_term_of(tape: Tape, value: int, step: int | None) -> bool:
    """Whether the value of one step is made of another array itself, which all steps use: it gets one delta of many.

    The first state is used by the first step alone, through all that makes the next state of it.
    """
    maker = None if step is None else tape.maker(bare(tape, step))
    return maker is not None and value in {bare(tape, one) for one in maker.inputs}


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool((one == other).all())


def _made_with(tape: Tape, code: str, message: str, place: Place, position: int, row: Row, rank: float = 1.5) -> Fault:
    parameter = parameter_value(tape, place.nodes[0].inputs[position])
    hook = _with_deltas(place, position, row)
    return Fault(code, message, place.site, rank, values={parameter: hook})


def _ends(tape: Tape, value: int, starts: set[int]) -> set[int]:
    """The results of the functions that are taken of a value, or of what an added bias makes of it."""
    same = _same_delta(tape, value) & starts
    return {out for one in same for index in tape.consumers.get(one, ()) for out in tape.nodes[index].outputs}


def _same_delta(tape: Tape, value: int) -> set[int]:
    """The values further on at which the same delta arrives: an added bias does not change it."""
    own = tape.clean.totals.get(value)
    found = {value}
    for other, delta in tape.clean.totals.items():
        if own is not None and _same(delta, own):
            found.add(other)
    return found


def _with_deltas(place: Place, position: int, row: Row) -> ValueHook:
    """At the parameter, when all deltas are known: each passage's contribution is replaced by that of another delta."""

    def hook(tape: Tape, arriving: list[tuple[int, Tensor]], totals: Totals) -> Tensor | None:
        total = joined(arriving)
        for node, value in zip(place.nodes, row.values, strict=True):
            own = totals.get(node.outputs[0])
            other = None if value is None else totals.get(value)
            other = None if other is None else fitted(other, tuple(tape.values[node.outputs[0]].shape))
            for delta, sign in ((own, -1.0), (other, 1.0)):
                made = None if delta is None else contribution(tape, node, position, delta)
                if made is not None:
                    total = sign * made if total is None else total + sign * made
        return total

    return hook
