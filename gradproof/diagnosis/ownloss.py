"""Whether a candidate's gradient is the derivative of the candidate's own loss."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gradproof.case import Case

STEP = 1e-4


def belongs_to_own_loss(case: Case) -> bool | None:
    """Whether it is so along one random direction; None where that cannot be asked."""
    if case.loss is None or case.reference is None:
        return None
    rng = np.random.default_rng(3)
    directions = {name: rng.standard_normal(value.shape) for name, value in case.problem.params.items()}
    length = float(np.sqrt(sum(np.sum(one**2) for one in directions.values())))  # a long step would meet a bend
    directions = {name: one / max(length, 1.0) for name, one in directions.items()}
    if set(case.gradients) != set(directions):
        return None
    losses = []
    for step in (-STEP, STEP):
        moved = {
            name: np.asarray(value + step * directions[name], dtype=value.dtype)
            for name, value in case.problem.params.items()
        }
        answer = case.ask(replace(case.problem, params=moved))
        if answer is None or answer[0] is None:
            return None
        losses.append(answer[0])
    measured = (losses[1] - losses[0]) / (2 * STEP)
    claimed = sum(float(np.vdot(case.gradients[name], directions[name])) for name in directions)
    return bool(abs(measured - claimed) <= 1e-5 * max(abs(measured), abs(claimed)))
