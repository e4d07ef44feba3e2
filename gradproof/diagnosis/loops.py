"""Loops of the reference that are gone back through only in part: stopped early, or begun late."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator

from gradproof.diagnosis.contributions import of_parameters_alone, parameter_of
from gradproof.diagnosis.fault import Fault, not_from
from gradproof.diagnosis.places import EACH, Place
from gradproof.diagnosis.survey import Survey
from gradproof.tape import VIEWS, Gradients, Node, Tape, Tensor, Totals, ValueHook, added, joined


def faults(survey: Survey) -> Iterator[Fault]:
    """For each loop: only its last k passages gone back through, or all but the last ones."""
    for loop in loops(survey.tape, survey.places):
        count = len(loop[0].nodes)
        kept = range(1, count) if count <= 2 * EACH else (1, 2, 3, 5, 10, count // 2, count - 1)
        for k in kept:
            yield from _stopped(survey.tape, loop, k)
        for k in range(1, min(count, 4)):
            first = [node for place in loop for node in place.nodes[count - k :]]
            words = "the last step is" if k == 1 else f"the last {k} steps are"
            message = f"of the {count} steps, {words} left out on the way back"
            yield Fault("truncated-in-time", message, loop[0].site, 1.3, {node.index: _nothing for node in first})
        yield from _carries_cut(survey, loop)


def _carries_cut(survey: Survey, loop: list[Place]) -> Iterator[Fault]:
    """What steps hand back to those before them, by whatever route, cut at every step, or from some step on."""
    count = len(loop[0].nodes)
    crossing = _crossing(survey.tape, loop)
    if not any(crossing):
        return
    taken_by = [user for taken in crossing for users in taken.values() for user in users]
    site = survey.tape.nodes[min(taken_by)].site  # where a step takes what the one before it has made
    cuts = {", at every step": set(range(1, count))}
    for k in range(2, count) if count <= 2 * EACH else (count // 2, count - 1):
        cuts[f" beyond step {k}: steps 1 to {k} get nothing from those after them"] = set(range(1, k + 1))
    for width in range(2, min(5, count)):
        cuts[f" between windows of {width} steps"] = {k for k in range(1, count) if k % width == 0}
        cuts[f" between windows of {width} steps, counted from the last"] = {
            k for k in range(1, count) if (count - k) % width == 0
        }
    for words, chosen in cuts.items():
        values = {value: not_from(users) for k in chosen for value, users in crossing[k - 1].items()}
        if values:
            message = f"the gradient that a step hands back to the one before it is dropped{words}"
            yield Fault("truncated-in-time", message, site, 1.2, values=values)
    if any(len(taken) > 1 for taken in crossing):
        yield from _one_carry_cut(survey.places, crossing)
    for place in loop:
        yield from _handed_on_as_it_is(place, crossing)


def _handed_on_as_it_is(place: Place, crossing: list[dict[int, set[int]]]) -> Iterator[Fault]:
    """What arrives at a state stays what it is from step to step: it is never taken back through one."""
    states = [node.outputs[0] for node in place.nodes]
    values = {
        state: _instead_of(taken[state], after)
        for state, after, taken in zip(states, states[1:], crossing, strict=False)
        if state in taken
    }
    if values:
        message = f"what arrives at {place} is handed to the step before as it is, not taken back through the step"
        yield Fault("missing-derivative", message, place.site, 1.25, values=values)


def _instead_of(users: Collection[int], after: int) -> ValueHook:
    """What arrives at the state after it, in place of what those operations send."""

    def hook(tape: Tape, arriving: list[tuple[int, Tensor]], totals: Totals) -> Tensor | None:
        return added(joined(arriving, without=users), totals.get(after))

    return hook


def _one_carry_cut(places: list[Place], crossing: list[dict[int, set[int]]]) -> Iterator[Fault]:
    """Of a loop that carries several states (the h and the c of an LSTM): one of them, by whatever route."""
    for place in places:
        if place.everywhere:
            continue
        values = {one: not_from(taken[one]) for taken in crossing for one in place.results if one in taken}
        if values:
            message = f"the gradient that a step hands back to {place} of the one before it is dropped, at every step"
            yield Fault("truncated-in-time", message, place.site, 1.1, values=values)


def pass_starts(found: list[list[Place]]) -> dict[int, int]:
    """For each operation of a loop, the first operation of its pass."""
    starts: dict[int, int] = {}
    for loop in found:
        firsts = _starts(loop)
        for place in loop:
            for node, first in zip(place.nodes, firsts, strict=True):
                starts.setdefault(node.index, first)
    return starts


def carried(tape: Tape, starts: dict[int, int], node: Node, position: int) -> bool:
    """Whether an input of an operation in a loop is made in passes before its own, or only joined with such in it."""
    return node.index not in starts or _from_before(tape, node.inputs[position], starts[node.index])


def _from_before(tape: Tape, value: int, start: int) -> bool:
    producer = tape.producer.get(value, -1)
    if producer < start:
        return True
    node = tape.nodes[producer]
    moving = [one for one in node.inputs if one in tape.differentiable]
    joins = node.name in (*VIEWS, "cat", "stack", "slice", "select", "split", "unbind")
    return joins and all(_from_before(tape, one, start) for one in moving)


def _starts(loop: list[Place]) -> list[int]:
    return [min(place.nodes[k].index for place in loop) for k in range(len(loop[0].nodes))]


def _crossing(tape: Tape, loop: list[Place]) -> list[dict[int, set[int]]]:
    """For each pass but the last: the arrays of its own that later ones take, with the operations that take them.

    Single numbers are left out: they are sums of losses.
    """
    starts = _starts(loop)
    inside = {node.index for place in loop for node in place.nodes}
    found: list[dict[int, set[int]]] = [{} for _ in starts[1:]]
    for value in tape.differentiable:
        made_in = bisect_right(starts, tape.producer.get(value, -1)) - 1
        for user in inside.intersection(tape.consumers.get(value, ())) if tape.values[value].numel() > 1 else ():
            used_in = bisect_right(starts, user) - 1
            if 0 <= made_in < used_in:
                found[made_in].setdefault(value, set()).add(user)
    return found


def loops(tape: Tape, places: list[Place]) -> list[list[Place]]:
    """The places of each recurrence: passed equally often, each time all of them, and made of the time before."""
    found: list[list[Place]] = []
    for place in places:
        if len(place.nodes) < 2 or place.everywhere:
            continue
        for loop in found:
            if _in_step(loop[0], place):
                loop.append(place)
                break
        else:
            found.append([place])
    return [
        loop
        for loop in found
        if len(loop) > 1
        and any(_recurs(tape, place) for place in loop)
        and any(_serves_all(tape, place) for place in loop)
    ]


def _serves_all(tape: Tape, place: Place) -> bool:
    """Whether one parameter, or what is made of some, serves all passages: stacked layers have each its own."""
    for position in range(min(len(node.inputs) for node in place.nodes)):
        values = {node.inputs[position] for node in place.nodes}
        if len(values) == 1 and of_parameters_alone(tape, min(values)):
            return True
        names = {parameter_of(tape, value) for value in values}
        if len(names) == 1 and None not in names:
            return True
    return False


def _recurs(tape: Tape, place: Place) -> bool:
    return all(tape.depends(b.outputs[0], a) for a, b in zip(place.nodes, place.nodes[1:], strict=False))


def _in_step(one: Place, other: Place) -> bool:
    if len(one.nodes) != len(other.nodes):
        return False
    last, first = max(one.nodes[0].index, other.nodes[0].index), min(one.nodes[1].index, other.nodes[1].index)
    return last < first and all(
        max(a.index, b.index) < min(c.index, d.index)
        for a, b, c, d in zip(one.nodes, other.nodes, one.nodes[1:], other.nodes[1:], strict=False)
    )


def _stopped(tape: Tape, loop: list[Place], kept: int) -> Iterator[Fault]:
    """Only the last `kept` passages are gone back through; what has come so far may then pass for the first state's."""
    count = len(loop[0].nodes)
    left_out = [node for place in loop for node in place.nodes[: count - kept]]
    hooks = {node.index: _nothing for node in left_out}
    code = "last-step-only" if kept == 1 else "truncated-in-time"
    which = "the last step" if kept == 1 else f"the last {kept} steps"
    message = f"the gradient goes back through {which} only, of {count}"
    yield Fault(code, message, loop[0].site, 1.15, hooks)
    for state, first in _states(tape, loop, count - kept):
        values = {first: _taken_from(state)}
        yield Fault(code, f"{message}, and what has come so far is taken for the first state's", loop[0].site, 1.2,
                    hooks, values)


def _states(tape: Tape, loop: list[Place], k: int) -> Iterator[tuple[int, int]]:
    """The values that passage k takes from the one before, each with the first state in whose place it stands."""
    made = {node.outputs[0] for place in loop for node in place.nodes[k - 1 : k]}
    for place in loop:
        for position, value in enumerate(place.nodes[k].inputs):
            first = place.nodes[0].inputs[position] if position < len(place.nodes[0].inputs) else None
            if value in made and first is not None and first in tape.differentiable:
                if tape.values[first].shape == tape.values[value].shape:
                    yield value, first
                    return


def _taken_from(state: int) -> ValueHook:
    def hook(tape: Tape, arriving: list[tuple[int, Tensor]], totals: Totals) -> Tensor | None:
        return totals.get(state)

    return hook


def _nothing(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
    return [None] * len(node.inputs)
