"""What is divided by its own sum or length, by its compact formula, with a slip in that.

With y = x / sum(x): dx = (g - sum(g * y)) / sum(x); for a softmax, where x = exp(z): dz = y * (g - sum(g * y)); with
y = x / |x|: dx = (g - y * sum(g * y)) / |x|. So they are written by hand, while the reference takes the route by the
numerator and the one by the denominator apart: a slip in the formula is no broken rule of theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch

from gradproof.diagnosis.fault import Fault
from gradproof.diagnosis.reductions import axis_of
from gradproof.diagnosis.survey import Survey
from gradproof.tape import VIEWS, Node, Tape, Tensor, Totals, ValueHook, added, joined

FORMULAS = {
    "sum": "(g - sum(g * y)) / sum(x)",
    "softmax": "y * (g - sum(g * y))",
    "length": "(g - y * sum(g * y)) / |x|",
}
MENDS = {
    "sum": "dx = (dy - (dy * y).sum({axis})) / x.sum({axis})\nwhere y = x / x.sum({axis})",
    "softmax": "dz = y * (dy - (dy * y).sum({axis}))\nwhere y = np.exp(z) / np.exp(z).sum({axis})",
    "length": "dx = (dy - y * (dy * y).sum({axis})) / n\nwhere n = np.sqrt((x**2).sum({axis})), y = x / n",
}
Formula = Callable[[Tensor, Tensor, Tensor, Tensor, int], Tensor]  # of what arrives, x, y, the denominator, the axis


@dataclass(frozen=True)
class _Quotient:
    """Where y = x / (sum or length of x) was made: by what operations from the value `start`, along which axis.

    What was made may be a multiple of it: y * `factor`.
    """

    kind: str
    start: int
    users: tuple[int, ...]
    x: int
    made: int
    denominator: int
    axis: int
    factor: int | None = None


def faults(survey: Survey) -> Iterator[Fault]:
    """For each place that divides an array by its own sum or length: one slip in the formula of its derivative."""
    tape = survey.tape
    for place in survey.places:
        found = [_ending_at(tape, node) for node in place.nodes] if place.name == "div" else []
        known = [one for one in found if one is not None]
        if not known or len(known) < len(place.nodes) or not _is_its_formula(tape, known[-1]):
            continue
        formula = FORMULAS[known[-1].kind]
        mend = MENDS[known[-1].kind].format(axis=f"axis={known[-1].axis}, keepdims=True")
        for code, words, slip in _slips(known[-1].kind, tape.values[known[-1].x].dim(), known[-1].axis):
            message = f"in the derivative of the quotient that {place} ends, {formula}, {words}"
            values = {one.start: _with(one, slip) for one in known}
            yield Fault(code, message, place.site, 1.22, values=values, mend=mend)


def _right(kind: str) -> Formula:
    def formula(g: Tensor, x: Tensor, y: Tensor, s: Tensor, axis: int) -> Tensor:
        return _put_together(kind, g, y, s, (g * y).sum(axis, keepdim=True))

    return formula


def _put_together(kind: str, g: Tensor, y: Tensor, s: Tensor, total: Tensor) -> Tensor:
    if kind == "softmax":
        return y * (g - total)
    return (g - total) / s if kind == "sum" else (g - y * total) / s


def _slips(kind: str, dims: int, axis: int) -> Iterator[tuple[str, str, Formula]]:
    """The ways to mistype the formula: the code, what is wrong in words, and the formula."""
    for other in range(dims):
        if other != axis:
            words = f"sum(g * y) goes along axis {other}, not along axis {axis}"
            yield "wrong-axis", words, _with_total(kind, partial(_summed, other))
    words = "sum(g) stands for sum(g * y)"
    yield "missing-derivative", words, _with_total(kind, lambda g, y, k: g.sum(k, keepdim=True))
    words = "sum(g * y) is a mean"
    yield "wrong-reduction", words, _with_total(kind, lambda g, y, k: (g * y).mean(k, keepdim=True))
    words = "the sum is left out of sum(g * y): each entry is taken to act on itself alone"
    yield "diagonal-jacobian", words, _with_total(kind, lambda g, y, k: g * y)
    words = "there is a plus for the minus"
    yield "wrong-sign", words, _with_total(kind, lambda g, y, k: -(g * y).sum(k, keepdim=True))
    if kind != "softmax":
        words = "the division is left out"
        yield "missing-derivative", words, lambda g, x, y, s, k: _right(kind)(g, x, y, torch.ones_like(s), k)
    if kind == "length":
        words = "the factor y of sum(g * y) is left out"
        yield "missing-derivative", words, lambda g, x, y, s, k: (g - (g * y).sum(k, keepdim=True)) / s
        words = "x stands for y"
        yield "wrong-operand", words, lambda g, x, y, s, k: (g - x * (g * x).sum(k, keepdim=True)) / s


def _summed(along: int, g: Tensor, y: Tensor, axis: int) -> Tensor:
    return (g * y).sum(along, keepdim=True)


def _with_total(kind: str, total: Callable[[Tensor, Tensor, int], Tensor]) -> Formula:
    return lambda g, x, y, s, axis: _put_together(kind, g, y, s, total(g, y, axis))


def _with(one: _Quotient, formula: Formula) -> ValueHook:
    def hook(tape: Tape, arriving: list[tuple[int, Tensor]], totals: Totals) -> Tensor | None:
        others, g = joined(arriving, without=one.users), totals.get(one.made)
        if g is None:
            return others
        g = g if one.factor is None else g * tape.values[one.factor]
        x, denominator = tape.values[one.x], tape.values[one.denominator]
        through = formula(g, x, x / denominator, denominator, one.axis)
        return added(others, through)

    return hook


def _is_its_formula(tape: Tape, one: _Quotient) -> bool:
    """Whether the formula gives what the reference sends back: it does not where a small number is added."""
    if one.made not in tape.clean.totals:
        return False
    parts = [part for part in tape.clean.arriving(one.start) if part[0] in one.users]
    own, made = joined(parts), _with(one, _right(one.kind))(tape, parts, tape.clean.seen)
    if own is None or made is None or made.shape != own.shape:
        return False
    return bool(torch.allclose(made, own, rtol=1e-6, atol=1e-12))


def _ending_at(tape: Tape, node: Node) -> _Quotient | None:
    """The quotient that a division makes, if it is one by the numerator's own sum or length."""
    if len(node.inputs) != 2:
        return None
    x, below = node.inputs
    makers = list(_back(tape, below))
    total = next((maker for maker in makers if maker.name == "sum"), None)
    axis = None if total is None else axis_of(tape, total)
    if total is None or axis is None:
        return None
    rooted = any(maker.name == "sqrt" for maker in makers)
    squared = tape.maker(total.inputs[0])
    if not rooted and total.inputs[0] == x:
        start, users = _before_exponential(tape, x)
        if start is not None:
            return _Quotient("softmax", start, users, x, node.outputs[0], below, axis)
        return _Quotient("sum", x, (node.index, total.index), x, node.outputs[0], below, axis)
    if rooted and squared is not None and squared.name in ("pow", "mul") and len(set(squared.inputs)) == 1:
        own = squared.inputs[0]
        if own == x:
            return _Quotient("length", x, (node.index, squared.index), x, node.outputs[0], below, axis)
        product = tape.maker(x)
        if product is not None and product.name == "mul" and own in product.inputs and len(product.inputs) == 2:
            factor = next((one for one in product.inputs if one != own), own)
            users = (product.index, squared.index)
            return _Quotient("length", own, users, own, node.outputs[0], below, axis, factor)
    return None


def _back(tape: Tape, value: int) -> Iterator[Node]:
    """The operations of one array by which a denominator was made, the last first, up to a sum."""
    while (maker := tape.maker(value)) is not None:
        yield maker
        if maker.name not in (*VIEWS, "sqrt", "clamp_min", "clamp"):
            return
        value = maker.inputs[0]


def _before_exponential(tape: Tape, x: int) -> tuple[int | None, tuple[int, ...]]:
    """The scores of which x is the exponential, with the operations that take them: their largest may be taken off."""
    maker = tape.maker(x)
    if maker is None or maker.name != "exp" or len(tape.consumers.get(x, ())) != 2:
        return None, ()
    scores = maker.inputs[0]
    less = tape.maker(scores)
    if less is not None and less.name == "sub" and len(less.inputs) == 2:
        largest = tape.maker(less.inputs[1])
        if largest is not None and largest.name in ("amax", "max", "detach") and len(tape.consumers[scores]) == 1:
            users = [index for index in tape.consumers[less.inputs[0]] if tape.nodes[index].name in ("amax", "max")]
            return less.inputs[0], (less.index, *users)
    return scores, (maker.index,)
