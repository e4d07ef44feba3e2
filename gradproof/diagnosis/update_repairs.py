"""Small changes of an optimizer's own code that make its steps right, for what no switch of a known rule gives.

The steps are compared as one array for each parameter: how far it has moved after each step, summed with weights of
their own, so that no step makes up for another.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradproof import updates
from gradproof.case import Case, Problem
from gradproof.codes import NUMBERS, OPTIMIZERS
from gradproof.diagnosis.clock import Clock
from gradproof.diagnosis.confirmation import Confirmation
from gradproof.diagnosis.fault import Fault
from gradproof.diagnosis.repairs import Repairs
from gradproof.oracles import Array, Arrays, Truth
from gradproof.report import Finding

SECONDS = 4.0
ROUNDING = 1e-13  # of the parameters, that their sums may have gathered
OF_UPDATES = (*NUMBERS, *OPTIMIZERS, "wrong-operand", "wrong-axis", "wrong-reduction", "shifted-in-time")


@dataclass
class _Steps(Case):
    """A step function beside torch's optimizer, as a comparison of how far the parameters have moved."""

    make: Callable[[Any], Any] = list

    @property
    def program(self) -> Callable[..., Any] | None:
        return self.make

    @property
    def searchable(self) -> Case | None:
        return None

    def truth_of(self, problem: Problem) -> Truth:
        steps = updates.run_reference(self.make, problem.params, _gradients(problem.params, problem.data))
        return Truth(0.0, {}, _moved(problem.params, steps), {}, "optimizer")


def findings(
    step: Callable[..., Any],
    make: Callable[[Any], Any],
    params: Arrays,
    gradients: Sequence[Arrays],
    few: int,
    rtol: float,
    alone: bool,
) -> list[Finding]:
    """The changes of a step function after which its steps are torch's; none where no small one does that.

    `make` makes torch's optimizer of a list of tensors; `rtol` is relative to the distance that a parameter moves. The
    changes are looked for in the first `few` steps, and have to hold for all. With `alone`, only one change is told.
    """
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # the candidate has been heard
        case, whole = _case(step, make, params, gradients[:few], rtol), _case(step, make, params, gradients, rtol)
        if case is None or whole is None:
            return []
        return [_told(fault, case) for fault in _mended(case, whole, alone)]


def _case(
    step: Callable[..., Any], make: Callable[[Any], Any], params: Arrays, gradients: Sequence[Arrays], rtol: float
) -> Case | None:
    data = tuple(np.stack([grads[name] for grads in gradients]) for name in params)
    problem = Problem(params, data, None)

    def candidate(start: Arrays, *stacked: Array) -> tuple[None, Arrays]:
        state: dict[Any, Any] = {}
        steps, current = [], {name: value.copy() for name, value in start.items()}
        for grads in _gradients(start, stacked):
            current = step(current, grads, state)
            steps.append({name: np.array(current[name]) for name in start})
        return None, _moved(start, steps)

    def ask(other: Problem) -> tuple[None, Arrays] | None:
        try:
            return candidate(other.params, *other.data)
        except Exception:
            return None

    answer = ask(problem)
    if answer is None:
        return None
    nothing = Truth(0.0, {}, {}, {}, "optimizer")
    rounding = ROUNDING * max(float(np.max(np.abs(one), initial=0.0)) for one in params.values())
    case = _Steps(problem, None, ask, nothing, None, answer[1], rtol, rounding, candidate=candidate, make=make)
    try:
        case.truth = case.truth_of(problem)
    except Exception:  # it has made one optimizer for the comparison, and makes no other
        return None
    return case


def _mended(case: Case, whole: Case, alone: bool) -> tuple[Fault, ...]:
    """The changes that make right all of the steps, found in the few of them that make up the case."""
    repairs = Repairs(case, Clock(SECONDS), Confirmation(case))
    try:
        found = repairs.likely() or repairs.unlikely() or ([] if alone else repairs.several())
        return next((one.faults for one in found if repairs.mended_by(one.faults, whole)), ())
    except Exception as error:  # of code that nobody has thought of
        repairs.clock.break_off(error)
        return ()


def _told(fault: Fault, case: Case) -> Finding:
    scales = fault.code in ("missing-derivative", "extra-derivative")  # which no step has
    code = fault.code if fault.code in OF_UPDATES else "wrong-scale" if scales else "different-function"
    return Finding(code, case.wrong, fault.message, str(fault.site) if fault.site else None, mend=fault.mend)


def _gradients(params: Arrays, stacked: Sequence[Array]) -> list[Arrays]:
    """The gradients of each step, from those of all steps by parameter."""
    return [dict(zip(params, map(np.array, each), strict=True)) for each in zip(*stacked, strict=True)]


def _moved(start: Arrays, steps: Sequence[Arrays]) -> Arrays:
    """How far each parameter has moved after each step, summed with weights."""
    weights = np.random.default_rng(3).uniform(0.5, 1.5, len(steps))
    return {
        name: np.asarray(sum(w * (one[name] - value) for w, one in zip(weights, steps, strict=True)), value.dtype)
        for name, value in start.items()
    }
