"""Normalisations by their compact formula: dx = (g - mean(g) - y * mean(g * y)) / std, with a slip in one of its means.

So they are written by hand (Ioffe & Szegedy 2015 for batches, Ba et al. 2016 for layers), while the reference takes the
route by the mean and the one by the variance apart: a slip in the formula is no broken rule of theirs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gradproof.diagnosis.contributions import parameter_of
from gradproof.diagnosis.fault import Fault
from gradproof.diagnosis.survey import Survey
from gradproof.tape import Node, Tape, Tensor, Totals, ValueHook, added, joined


@dataclass(frozen=True)
class _Normalisation:
    """Where y = (x - mean) / std was made: the operations of x that the formula stands for, and its axes."""

    x: int
    y: int
    std: int  # the value std, or 1 / std where y is a product
    product: bool
    users: tuple[int, ...]
    axes: tuple[int, ...]


def faults(survey: Survey) -> Iterator[Fault]:
    """For each place that ends a normalisation: all of it left out, its means along another axis."""
    tape = survey.tape
    for place in survey.places:
        found = [_ending_at(tape, node) for node in place.nodes] if place.name in ("mul", "div") else [None]
        known = [one for one in found if one is not None]
        if len(known) < len(found):
            continue
        ends = [_end(tape, one.y) for one in known]
        message = f"the derivative of the normalisation that {place} ends is left out: what arrives is passed on as it"
        message += " is"
        values = {one.x: _passed_by(one, end) for one, end in zip(known, ends, strict=True)}
        yield Fault("missing-derivative", message, place.site, 1.2, values=values)
        dims = tape.values[known[-1].x].dim()
        for which, words in (((0,), "mean(g)"), ((1,), "mean(g * y)"), ((0, 1), "both means")):
            message = f"in the derivative of {place}, (g - mean(g) - y * mean(g * y)) / std, {words}"
            for axis in range(dims):
                if (axis,) != known[-1].axes:
                    values = {one.x: _with_means(one, which, axis) for one in known}
                    told = f"{message} {'go' if len(which) > 1 else 'goes'} along axis {axis}"
                    yield Fault("wrong-axis", told, place.site, 1.24, values=values)


def _ending_at(tape: Tape, node: Node) -> _Normalisation | None:
    """The normalisation whose last operation this product or quotient is."""
    makers = [tape.maker(value) for value in node.inputs]
    product = node.name == "mul"
    for centred, scale in ((makers, makers[::-1]) if product else (makers,)) if len(makers) == 2 else ():
        if centred is None or scale is None or centred.name != "sub" or len(centred.inputs) != 2:
            continue
        x, mean = centred.inputs
        of_mean = tape.maker(mean)
        variance = _back(tape, scale, ("rsqrt" if product else "sqrt", "add", "mean"))
        square = None if variance is None else tape.maker(variance.inputs[0])
        if of_mean is None or of_mean.name != "mean" or of_mean.inputs[0] != x or square is None:
            continue
        axes = of_mean.arguments[1] if len(of_mean.arguments) > 1 else None
        if square.name == "pow" and square.inputs[0] == centred.outputs[0] and isinstance(axes, (list, tuple)):
            dims, users = tape.values[x].dim(), (centred.index, of_mean.index)
            axes = tuple(axis % dims for axis in axes)
            return _Normalisation(x, node.outputs[0], scale.outputs[0], product, users, axes)
    return None


def _back(tape: Tape, node: Node, names: Sequence[str]) -> Node | None:
    """The operation that one comes to by going back through operations of these names, the last of which it is."""
    found: Node | None = node
    for name in names:
        if found is None or found.name != name:
            return None
        if name != names[-1]:
            found = tape.maker(found.inputs[0])
    return found


def _end(tape: Tape, value: int) -> int:
    """The normalised array with its gain and shift, where the only use of it is to be given these."""
    for name in ("mul", "add"):
        users = [tape.nodes[index] for index in tape.consumers.get(value, ())]
        given = len(users) == 1 and users[0].name == name and len(users[0].inputs) == 2
        other = next((one for one in users[0].inputs if one != value), value) if given else value
        if not given or parameter_of(tape, other) is None:
            break
        value = users[0].outputs[0]
    return value


def _passed_by(one: _Normalisation, end: int) -> ValueHook:
    def hook(tape: Tape, arriving: list[tuple[int, Tensor]], totals: Totals) -> Tensor | None:
        others, g = joined(arriving, without=one.users), totals.get(end)
        return added(others, g)

    return hook


def _with_means(one: _Normalisation, which: Sequence[int], axis: int) -> ValueHook:
    def hook(tape: Tape, arriving: list[tuple[int, Tensor]], totals: Totals) -> Tensor | None:
        others, g = joined(arriving, without=one.users), totals.get(one.y)
        if g is None:
            return others
        y = tape.values[one.y]
        right = [g.mean(one.axes, keepdim=True), (g * y).mean(one.axes, keepdim=True)]
        wrong = [g.mean(axis, keepdim=True), (g * y).mean(axis, keepdim=True)]
        first, second = (wrong[i] if i in which else right[i] for i in (0, 1))
        through, std = g - first - y * second, tape.values[one.std]
        through = through * std if one.product else through / std
        return added(others, through)

    return hook
