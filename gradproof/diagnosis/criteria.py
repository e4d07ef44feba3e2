"""Another loss function: what is propagated back from a prediction is the gradient of a criterion it was not given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from gradproof.diagnosis.fault import Fault, Replacement, replaced
from gradproof.diagnosis.places import Place
from gradproof.diagnosis.survey import Survey
from gradproof.report import number
from gradproof.tape import Gradients, Node, NodeHook, Tape, Tensor, Totals

Criterion = Callable[[Tensor, Tensor], Tensor]  # of a prediction and a target: a sum over all entries


def _huber(z: Tensor, y: Tensor) -> Tensor:
    return F.smooth_l1_loss(z, y, reduction="sum")


def _binary(p: Tensor, y: Tensor) -> Tensor:
    return -(y * p.log() + (1 - y) * (1 - p).log()).sum()


# Between a prediction and a target of its shape; in words that say what z is.
OF_TARGETS: dict[str, Criterion] = {
    "squared error (or cross-entropy where a sigmoid or softmax follows)": lambda z, y: 0.5 * ((z - y) ** 2).sum(),
    "absolute error": lambda z, y: (z - y).abs().sum(),
    "Huber's loss": _huber,
    "cross-entropy of a sigmoid of it": lambda z, y: (F.softplus(z) - y * z).sum(),
    "squared error of a sigmoid of it": lambda z, y: 0.5 * ((torch.sigmoid(z) - y) ** 2).sum(),
    "squared error of a tanh of it": lambda z, y: 0.5 * ((torch.tanh(z) - y) ** 2).sum(),
    "squared error of its exponential": lambda z, y: 0.5 * ((torch.exp(z) - y) ** 2).sum(),
    "cross-entropy of it as a probability": _binary,
    "the hinge loss": lambda z, y: (1 - y * z).clamp(min=0).sum(),
    "the logistic loss": lambda z, y: F.softplus(-y * z).sum(),
    "log cosh of the error": lambda z, y: torch.log(torch.cosh(z - y)).sum(),
}
# Between scores (batch, classes) and labels, as one-hot rows.
OF_LABELS: dict[str, Criterion] = {
    "cross-entropy of a softmax of it": lambda z, y: -(y * F.log_softmax(z, 1)).sum(),
    "squared error of a softmax of it": lambda z, y: 0.5 * ((torch.softmax(z, 1) - y) ** 2).sum(),
    "squared error": lambda z, y: 0.5 * ((z - y) ** 2).sum(),
    "cross-entropy of a sigmoid of it": lambda z, y: (F.softplus(z) - y * z).sum(),
    "the negative log of it as a probability": lambda z, y: -(y * z.clamp_min(1e-300).log()).sum(),
}


@dataclass(frozen=True)
class _Target:
    """A data array that a prediction may be compared with, and the criteria that there are for the two."""

    name: str
    value: int
    classes: int  # 0, or how many columns its one-hot rows have
    criteria: dict[str, Criterion]

    def tensor(self, tape: Tape, like: Tensor) -> Tensor:
        target = tape.values[self.value]
        return F.one_hot(target, self.classes).to(like.dtype) if self.classes else target.reshape(like.shape)


def faults(survey: Survey) -> Iterator[Fault]:
    """At each array that has the shape of a data array, or scores for its labels: the gradient of another criterion."""
    tape, seen = survey.tape, set()
    yield from _other_divergences(tape, survey.places)
    for place in survey.places:
        value = place.nodes[-1].outputs[0]
        if value in seen:
            continue
        seen.add(value)
        for target in _targets(tape, value) if value in tape.clean.totals else ():
            for words, criterion in target.criteria.items():
                yield _instead(tape, place, value, target, words, criterion, 1.0)


def _other_divergences(tape: Tape, places: Sequence[Place]) -> Iterator[Fault]:
    """The divergence of two distributions, `sum(p * (log(p) - x))`: from the other one to the first."""
    for place in places:
        makers = [maker for maker in map(tape.maker, place.model.inputs) if maker is not None]
        if place.name == "sub" and [one.name for one in makers] == ["xlogy", "mul"]:
            known, other = makers[0].inputs
            if known == other and known in makers[1].inputs and known not in tape.differentiable:
                message = f"{place.site.expression or place} is the divergence the other way round, with the two"
                message += " distributions exchanged"
                yield replaced("different-function", message, place, 1.3, _turned_round(known))


def _turned_round(known: int) -> Replacement:
    """In place of `xlogy(p, p) - p * x`, where x is log(q): `q * (x - log(p))`."""

    def replacement(node: Node, inputs: list[Tensor], values: Sequence[Tensor]) -> Sequence[Tensor]:
        p = values[known]
        x = inputs[1] / p
        return [torch.exp(x) * (x - torch.log(p))]

    return replacement


def _targets(tape: Tape, value: int) -> Iterator[_Target]:
    z = tape.values[value]
    for name, number_ in tape.data.items():
        target = tape.values[number_]
        if target.dtype == z.dtype and target.numel() == z.numel() and _same_but_ones(target, z):
            yield _Target(name, number_, 0, OF_TARGETS)
        elif target.dtype == torch.int64 and z.dim() == 2 and target.shape == z.shape[:1] and target.numel():
            if int(target.min()) >= 0 and int(target.max()) < z.shape[1]:
                yield _Target(name, number_, z.shape[1], OF_LABELS)


def _same_but_ones(one: Tensor, other: Tensor) -> bool:
    return [n for n in one.shape if n != 1] == [n for n in other.shape if n != 1]


def _slope(tape: Tape, value: int, target: _Target, criterion: Criterion) -> Tensor:
    """The criterion's gradient. Raises ValueError where it would be no sign of another loss."""
    z = tape.values[value].detach().requires_grad_()
    goal = target.tensor(tape, z.detach())
    with torch.enable_grad():
        loss = criterion(z, goal)
    (slope,) = torch.autograd.grad(loss, [z])
    known = (tape.clean.totals[value], goal, torch.ones_like(slope))
    if not bool(torch.isfinite(slope).all()) or any(_is_multiple(one, slope) for one in known):
        # a hinge that is active everywhere, errors of one sign: no reason to speak of another loss
        raise ValueError("no other criterion")
    return slope


def _is_multiple(one: Tensor, other: Tensor) -> bool:
    """Whether two arrays differ by a constant factor only."""
    size = float(one.norm() * other.norm())
    return size > 0 and abs(abs(float((one * other).sum())) / size - 1) < 1e-12


def _instead(
    tape: Tape, place: Place, value: int, target: _Target, words: str, criterion: Criterion, constant: float
) -> Fault:
    times = "" if constant == 1.0 else f" times {number(constant)}"
    message = (
        f"what is propagated back from the result of {place} is the gradient of another loss: {words}, "
        f"against {target.name}{times}"
    )

    def made(tape: Tape) -> Tensor:
        key = (criterion, value, target.value, target.classes)
        return constant * tape.remembered(key, lambda: _slope(tape, value, target, criterion))

    return Fault(
        "different-function",
        message,
        place.site,
        1.52,
        {place.nodes[-1].index: replaced_cotangent(made)},
        scaled=lambda other: _instead(tape, place, value, target, words, criterion, other) if other >= 0 else None,
        other_loss=lambda tape: _total(tape, value, target, criterion, constant),
    )


def _total(tape: Tape, value: int, target: _Target, criterion: Criterion, constant: float) -> float | None:
    """The whole loss with this criterion in place of the term that the prediction goes into."""
    maker = tape.producer.get(value)
    terms = [name for name, one in tape.terms.items() if maker is not None and tape.depends(one, tape.nodes[maker])]
    if len(terms) != 1:
        return None
    z = tape.values[value]
    mine = constant * float(criterion(z, target.tensor(tape, z)))
    return tape.loss() - float(tape.values[tape.terms[terms[0]]]) + mine


def replaced_cotangent(make: Callable[[Tape], Tensor]) -> NodeHook:
    """A hook that sends back something else than what has arrived."""

    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        return tape.vjp(node, [make(tape), *([None] * (len(node.outputs) - 1))])

    return hook
