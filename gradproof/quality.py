"""What makes a passing comparison worth little: said as warnings, never as findings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gradproof.oracles import Arrays, Truth
from gradproof.tolerances import largest

if TYPE_CHECKING:
    from gradproof.case import Problem

NEARLY_ZERO = 1e-9  # of the largest gradient of any parameter


def of_inputs(problem: Problem) -> tuple[str, ...]:
    """Inputs under which whole families of mistakes go unseen."""
    found = []
    arrays = problem.params | problem.named_data
    if problem.samples == 1:
        found.append("the batch has one sample: sums, means and mixed-up samples all look alike")
    for name, value in arrays.items():
        if name not in problem.params and value.ndim >= 3 and 1 in value.shape[1:]:
            axis = value.shape.index(1, 1)
            found.append(f"axis {axis} of {name} has length 1: a sequence of one step hides what happens between steps")
        if value.size > 1 and np.all(value == value.flat[0]):
            found.append(f"all entries of {name} are {value.flat[0]:g}: mistakes that mix them up go unseen")
        elif value.ndim == 2 and value.shape[0] == value.shape[1] and np.array_equal(value, value.T):
            found.append(f"{name} is symmetric: a forgotten transpose goes unseen")
    if any(value.dtype == np.float32 for value in problem.params.values()):
        found.append("float32: only mistakes larger than about 1e-5 of the gradient are seen; run float64 as well")
    return tuple(found)


def of_gradients(truth: Truth) -> tuple[str, ...]:
    """Reference gradients that are zero, or nothing but rounding beside the others."""
    top = max((largest(value) for value in truth.gradients.values()), default=0.0)
    found = []
    for name, value in truth.gradients.items():
        size = largest(value)
        which = f"torch's gradient of {name}" if truth.oracle == "autograd" else f"the gradient of {name}"
        if size == 0.0:
            found.append(f"{which} is zero: any mistake that keeps it zero goes unseen")
        elif size < NEARLY_ZERO * top:
            found.append(f"{which} is nearly zero ({size:.1g} beside {top:.1g}): little is proved")
    return tuple(found)


def of_updates(params: Arrays, gradients: Sequence[Arrays]) -> tuple[str, ...]:
    """Steps under which an optimizer's state, or its epsilon, goes unseen."""
    found = []
    if len(gradients) < 3:
        count = "one step" if len(gradients) == 1 else f"{len(gradients)} steps"
        found.append(f"{count}: what is kept from step to step needs at least three to show")
    for name in params:
        if all(largest(grads[name]) == 0.0 for grads in gradients):
            found.append(f"all gradients of {name} are zero: any rule that keeps it where it is passes")
    if any(value.dtype == np.float32 for value in params.values()):
        found.append("float32: only mistakes larger than about 1e-5 of the movement are seen; run float64 as well")
    return tuple(found)
