"""Routes of the gradient: one that was dropped, has the wrong sign, or carries a constant too much or too little."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import torch

from gradproof.diagnosis.contributions import parameter_of, penalised_by
from gradproof.diagnosis.fault import Fault, OneInput
from gradproof.diagnosis.loops import carried, loops, pass_starts
from gradproof.diagnosis.places import Place, result_of_node
from gradproof.diagnosis.survey import Survey
from gradproof.report import number
from gradproof.tape import VIEWS, Backward, Gradients, Node, NodeHook, Tape, Tensor, Totals, ValueHook, joined

CONSTANTS = (0.0, -1.0)  # a route dropped, a sign; other constants are fitted


def faults(survey: Survey) -> Iterator[Fault]:
    """For each term of the loss, and each route into an operation that has several, or out of a value that has."""
    tape, places = survey.tape, survey.places
    yield _nothing_at_all(tape)
    if len(tape.terms) > 1:
        for name, value in tape.terms.items():
            yield from _of_term(name, value)
            yield from _of_term_at_each(tape, name)
    if len(tape.terms) > 2:
        for name in tape.terms:
            yield _single_term(tape, name)
    scalars, starts = _scalar_factors(tape, places), pass_starts(loops(tape, places))
    for place in places:
        if _branches(tape, place.model.outputs[0]) and not place.everywhere:
            yield _nothing_arrives(place)
        counts = {len(node.inputs) for node in place.nodes}
        last = [-1] if len(counts) > 1 else []  # what is newest in a list that grows
        for position in [*range(min(counts)), *last]:
            if _is_junction(tape, place.model, position):
                in_time = _is_in_time(survey, place) and carried(tape, starts, place.model, position)
                yield from _of_route(survey, place, position, in_time)
                yield from _by_scalars(tape, place, position, scalars)


def _is_in_time(survey: Survey, place: Place) -> bool:
    """Whether its passages are steps of a recurrence; a sum that begins at zero has one less."""
    count, total = len(place.nodes), survey.tape.values[place.model.outputs[0]]
    return survey.pool.in_time(count) or (total.numel() == 1 and survey.pool.in_time(count + 1))


def _branches(tape: Tape, value: int) -> bool:
    """Whether a value is used several times, or taken apart."""
    users = tape.consumers.get(value, ())
    return len(users) > 1 or any(len(tape.nodes[index].outputs) > 1 for index in users)


def _nothing_arrives(place: Place) -> Fault:
    message = f"nothing of the gradient flows back to the result of {place}, where it is used several times"
    message += f" (as line {place.caller} calls it)" if place.caller else ""
    values = {node.outputs[0]: _nothing for node in place.nodes}
    return Fault("missing-path", message, place.site, 1.05, values=values)


def _nothing_at_all(tape: Tape) -> Fault:
    message = "every gradient is zero: nothing has been added to them, or nothing comes from the loss"
    values: dict[int, ValueHook] = {value: _nothing for value in tape.terms.values()}
    return Fault("missing-path", message, None, 0.79, values=values)


def _of_term(name: str, value: int) -> Iterator[Fault]:
    def scaled(constant: float) -> Fault:
        words = f"your gradient has {number(constant)} times {name!r}, and once is right"
        if constant == 0.0:
            words = f"your gradient has nothing of the loss's term {name!r} (weight 0, expected 1)"
        return Fault(
            "wrong-sign" if constant == -1.0 else "wrong-term-weight",
            words,
            rank=0.8,
            values={value: lambda _, arriving, __: constant * arriving[0][1]},
            scaled=scaled if constant == 0.0 else None,
            constant=constant,
            term=name,
        )

    for constant in CONSTANTS:
        yield scaled(constant)


def _of_term_at_each(tape: Tape, term: str) -> Iterator[Fault]:
    """For each parameter that a term and others act on: nothing of the term in its gradient, or with the wrong sign."""
    alone, rest = _alone(tape, term), tape.backward({}, {tape.terms[term]: _nothing})
    for name, value in tape.parameters.items():
        sent = tape.remembered((term, name), partial(alone.gradients.__getitem__, name))
        whole = tape.clean.totals.get(value)
        if whole is None or not bool(sent.any()) or torch.equal(sent, whole):
            continue
        rank = 1.04 if len(rest.arriving(value)) == 1 else 0.95  # with one more source, `=` for `+=` is likelier
        for constant in CONSTANTS:
            code, words = "wrong-term-weight", f"nothing of the loss's term {term!r}"
            if constant == -1.0:
                code, words = "wrong-sign", f"the term {term!r} with the wrong sign"
            hooks = {value: _term_times(constant, term, name)}
            yield Fault(code, f"the gradient of {name} has {words}", rank=rank, values=hooks)


def _alone(tape: Tape, term: str) -> Backward:
    """What comes back from one term of the loss."""
    return tape.backward({}, _without_the_others(tape, term))


def _without_the_others(tape: Tape, term: str) -> dict[int, ValueHook]:
    return {value: _nothing for other, value in tape.terms.items() if other != term}


def _term_times(constant: float, term: str, name: str) -> ValueHook:
    def hook(tape: Tape, arriving: list[tuple[int, Tensor]], totals: Totals) -> Tensor | None:
        total, sent = joined(arriving), tape.remembered((term, name), lambda: _alone(tape, term).gradients[name])
        return None if total is None else total + (constant - 1) * sent

    return hook


def _single_term(tape: Tape, name: str) -> Fault:
    message = f"the gradient is that of {name!r} alone, not of the sum over all {len(tape.terms)}"
    return Fault("last-step-only", message, None, 0.9, values=_without_the_others(tape, name))


def _nothing(tape: Tape, arriving: list[tuple[int, Tensor]], totals: Totals) -> Tensor | None:
    return None


def _scalar_factors(tape: Tape, places: list[Place]) -> dict[int, int]:
    """The single numbers that products and quotients are made with: 1 for what is multiplied with, -1 for a divisor."""
    found = {}
    for place in places:
        node = place.model
        if place.name in ("mul", "div") and len(node.inputs) == 2 and len(place.nodes) == 1:
            for position, value in enumerate(node.inputs):
                other = tape.values[node.inputs[1 - position]]
                if tape.values[value].numel() == 1 < other.numel() and (place.name == "mul" or position == 1):
                    found[value] = 1 if place.name == "mul" else -1
    return found


def _by_scalars(tape: Tape, place: Place, position: int, scalars: dict[int, int]) -> Iterator[Fault]:
    """On one route alone, a factor left out that stands further on, or one too many of it."""
    target = origin(tape, place.model, position)
    for value, power in scalars.items():
        if value in place.model.inputs:
            continue
        name = result_of(tape, value)
        for sign, words in ((-power, "lacks the factor"), (power, "has twice the factor")):
            message = f"what flows back through {place} to {target} {words} {'1 / ' * (power < 0)}{name}"
            hooks = {node.index: _scaled_by(position, value, sign) for node in place.nodes}
            yield Fault("missing-derivative" if sign != power else "extra-derivative", message, place.site, 1.4, hooks)


def _scaled_by(position: int, value: int, power: int) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found = list(tape.vjp(node, grads))
        grad, factor = found[position], tape.values[value].reshape(())
        found[position] = None if grad is None else grad * factor if power > 0 else grad / factor
        return found

    return OneInput(position, hook)


def _is_junction(tape: Tape, node: Node, position: int) -> bool:
    value = node.inputs[position]
    if value not in tape.differentiable:
        return False
    joins = sum(one in tape.differentiable for one in node.inputs) > 1
    forks = len(tape.consumers.get(value, ())) > 1
    return joins or forks


@dataclass(frozen=True)
class _Route:
    """One input of a place, along which the gradient flows back."""

    survey: Survey
    place: Place
    position: int
    source: str  # where it leads, in words
    in_time: bool
    of_losses: bool  # a sum of losses that grows from step to step
    of_parameter: bool

    @cached_property
    def _penalised(self) -> dict[int, list[str]]:
        """The same for each passage: a loop has many, and each is asked for again and again."""
        return {node.index: penalised_by(self.survey.tape, node, self.position) for node in self.place.nodes}

    def penalised(self, nodes: Sequence[Node]) -> list[str]:
        """The parameters on which its value is a penalty; none where it is no penalty in each passage."""
        names = [self._penalised[node.index] for node in nodes]
        return list(dict.fromkeys(name for some in names for name in some)) if all(names) else []


def _of_route(survey: Survey, place: Place, position: int, from_before: bool) -> Iterator[Fault]:
    tape = survey.tape
    in_time = from_before and is_recurrent(tape, place, position) and _only_recurrent_route(tape, place, position)
    shared = len(place.nodes) > 1 == len({node.inputs[position] for node in place.nodes})  # by the steps of a loop
    value = place.model.inputs[position]
    route = _Route(
        survey,
        place,
        position,
        source=origin(tape, place.nodes[-1], position),
        in_time=in_time,
        of_losses=in_time and tape.values[value].numel() == 1,
        of_parameter=shared or parameter_of(tape, value) is not None,
    )
    for words, nodes in _passages(place, in_time):
        for constant in CONSTANTS:
            yield _scaled_route(route, nodes, words, constant)


def _passages(place: Place, in_time: bool) -> Iterator[tuple[str, tuple[Node, ...]]]:
    yield from place.subsets()
    if in_time:
        count = len(place.nodes)
        for k in range(1, count):
            yield f", between steps {k} and {k + 1} of {count}", place.nodes[k : k + 1]


def _scaled_route(route: _Route, nodes: tuple[Node, ...], words: str, constant: float) -> Fault:
    place = route.place
    hooks = {node.index: scale_route(route.position, constant) for node in nodes}
    code, message = _told(route, nodes, words, constant)
    rank = _rank(words) - 0.01 * (constant == 0.0)  # told before a derivative whose loss comes to the same
    rank += 0.03 * (route.of_parameter and words.startswith(", each"))  # after one step's contribution, if that is zero
    rank += 0.15 * (constant == -1.0 and place.among > 1)  # within one function, after another function's derivative
    rank -= 0.02 * (code == "overwritten")  # before the same of one call's own place

    def scaled(other: float) -> Fault:
        return _scaled_route(route, nodes, words, other)

    return Fault(code, message, place.site, rank, hooks, scaled=scaled if constant == 0.0 else None)


def _told(route: _Route, nodes: tuple[Node, ...], words: str, constant: float) -> tuple[str, str]:
    """The code and the message of a route with a factor."""
    place, source = route.place, route.source
    if constant == -1.0:
        return "wrong-sign", f"what flows back through {place} to {source} has the wrong sign{words}"
    if penalised := route.penalised(nodes):
        return _of_penalty(route, penalised, "" if penalised != route.penalised(place.nodes) else words, constant)
    if constant != 0.0:
        message = f"what flows back through {place} to {source} is {number(constant)} times the right{words}"
        return "wrong-scale", message
    code = "truncated-in-time" if route.in_time else "missing-path"
    if route.of_parameter and len(place.nodes) - len(nodes) == 1:  # one contribution is left
        code = "overwritten"
    if route.of_losses:  # the sum so far is cut off: only what is added after it counts
        code = "last-step-only" if place.nodes[-1] is nodes[-1] or "all but the last" in words else "missing-path"
    told = "the gradient does not flow back through" if route.in_time else "nothing of the gradient flows back through"
    return code, f"{told} {place} to {source}{words}"


def _of_penalty(route: _Route, names: list[str], words: str, constant: float) -> tuple[str, str]:
    penalty = f"the penalty on {' and '.join(names)}"
    if constant:
        return "wrong-term-weight", f"{penalty} has {number(constant)} times its weight{words}"
    if not words and route.survey.penalised <= set(names):
        return "wrong-term-weight", f"your gradient has nothing of {penalty} (weight 0, expected 1)"
    return "wrong-part-penalised", f"the penalty is missing on {' and '.join(names)}{words}"


def _rank(words: str) -> float:
    if not words:
        return 1.0
    return 1.0 if words.startswith(", each") else 1.3


def scale_route(position: int, constant: float) -> NodeHook:
    """A hook that multiplies what flows back to one of an operation's inputs."""

    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found = list(tape.vjp(node, grads))
        grad = found[position]
        found[position] = None if constant == 0.0 or grad is None else constant * grad
        return found

    return OneInput(position, hook)


def is_recurrent(tape: Tape, place: Place, position: int) -> bool:
    """Whether an input of a place comes, at each passage, from the passage before."""
    pairs = list(zip(place.nodes, place.nodes[1:], strict=False))
    return bool(pairs) and all(tape.depends(later.inputs[position], earlier) for earlier, later in pairs)


def _only_recurrent_route(tape: Tape, place: Place, position: int) -> bool:
    """Whether a state acts on the next one through this input alone: a gated cell has other routes besides."""
    before, after = (node.inputs[position] for node in place.nodes[-2:])
    return sum(tape.depends(after, tape.nodes[user]) for user in tape.consumers.get(before, ())) <= 1


def result_of(tape: Tape, value: int) -> str:
    """A value in words: a parameter's or a data array's name, or the operation that made it."""
    name, producer = tape.name_of(value), tape.producer.get(value)
    return name or ("a constant" if producer is None else result_of_node(tape.nodes[producer]))


def origin(tape: Tape, node: Node, position: int) -> str:
    """What an input is, in words: a parameter's name, or the operation that made it."""
    value = node.inputs[position]
    while True:  # a transpose or a view on the way does not change whose values they are
        name = tape.name_of(value)
        if name is not None:
            return name
        producer = tape.producer.get(value)
        if producer is None:
            return "a constant"
        made_by = tape.nodes[producer]
        if made_by.name not in VIEWS:
            return result_of_node(made_by)
        value = made_by.inputs[0]
