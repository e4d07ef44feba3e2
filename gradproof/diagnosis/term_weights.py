"""Two named terms of a loss, each with the other one's weight: known by the weights that fit a gradient."""

from __future__ import annotations

import numpy as np

from gradproof.case import Case
from gradproof.diagnosis.confirmation import fresh_case
from gradproof.oracles import Array
from gradproof.report import Finding, number

ENTRIES = 2  # for each term, how many numbers there are at least: with fewer, some weights always fit
ROUNDING = 1e-8


def findings(case: Case) -> list[Finding]:
    """One finding where the wrong gradients have one term b / a times, and another one a / b times."""
    weights = _exchanged(case) if case.loss_is_right else None
    if weights is None:
        return []
    fresh = fresh_case(case)
    again = None if fresh is None else _exchanged(fresh)
    if fresh is not None and (again is None or again.keys() != weights.keys()):
        return []
    (one, often), (other, rarely) = weights.items()
    message = f"in the gradient of {', '.join(case.wrong)} the weights of {one!r} and {other!r} are exchanged:"
    message += f" it has {number(often)} times the one and {number(rarely)} times the other"
    return [Finding("wrong-term-weight", tuple(case.wrong), message)]


def _exchanged(case: Case) -> dict[str, float] | None:
    """The two terms whose weights are exchanged, and how often each counts instead of once."""
    weights = {name: one for name, one in _weights(case).items() if abs(one - 1) > ROUNDING}
    positive = len(weights) == 2 and min(weights.values()) > 0  # -1 for both is a sign
    return weights if positive and abs(float(np.prod([*weights.values()])) - 1) < ROUNDING else None


def _weights(case: Case) -> dict[str, float]:
    """How often each term counts in the gradients that are wrong; nothing where no weights give these."""
    terms = case.truth.term_gradients
    acting = [name for name in terms if any(np.any(terms[name][one]) for one in case.wrong)]
    if len(acting) < 2:
        return {}
    matrix = np.stack([_joined(case, terms[name]) for name in acting], axis=1)
    if not np.all(np.isfinite(matrix)) or len(matrix) < ENTRIES * len(acting):
        return {}
    found, _, rank, _ = np.linalg.lstsq(matrix, _joined(case, case.gradients), rcond=1e-9)
    weights = dict(zip(acting, found.tolist(), strict=True))
    fits = all(
        case.agrees(name, case.gradients[name], np.asarray(sum(weights[one] * terms[one][name] for one in acting)))
        for name in case.wrong
    )
    return weights if rank == len(acting) and fits else {}


def _joined(case: Case, gradients: dict[str, Array]) -> Array:
    return np.concatenate([np.ravel(gradients[name]) for name in case.wrong])
