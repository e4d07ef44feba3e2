"""What the benchmarks of the update rules share: the arrays that all forms start from, and a step of each kind."""

from functools import partial

import numpy as np
import torch

LOOP_UP_TO = 1_000  # parameters: it takes about a microsecond for each


def problem(size, dtype):
    """The parameter and its gradient, with which all forms start."""
    rng = np.random.default_rng(0)
    return tuple(np.resize(rng.normal(size=997), size).astype(dtype) for _ in range(2))


def by_hand(step, theta, g, *, in_place=False):
    """A function that makes a step each time, with a state of its own: always from theta, or in place as torch does."""
    params, grads, state = {"theta": theta.copy()}, {"theta": g}, {}
    if in_place:
        step = partial(step, out=params)
    return lambda: step(params, grads, state)


def by_torch(make, theta, g):
    """A function that makes a step of the optimizer that `make` puts over a copy of theta."""
    tensor = torch.tensor(theta)
    tensor.grad = torch.tensor(g)
    optimizer = make([tensor])

    def step():
        optimizer.step()
        return {"theta": tensor}

    return step


def all_forms(impl, reference, size, dtype, **hyper):
    """The loop up to its size, the vectorised and the tuned form, and torch in its for-loop form."""
    theta, g = problem(size, dtype)
    found = {
        "loop": by_hand(partial(impl.step_per_element, **hyper), theta, g),
        "vectorised": by_hand(partial(impl.step, **hyper), theta, g),
        "tuned": by_hand(partial(impl.step_tuned, **hyper), theta, g, in_place=True),
        "torch": by_torch(partial(reference.optimizer, **hyper), theta, g),
    }
    if size > LOOP_UP_TO:
        del found["loop"]
    return found


def others_of_torch(optimizer, size, dtype, forms=("foreach", "fused"), **hyper):
    """torch's other forms: in several passes over lists of tensors (foreach), and in one (fused)."""
    theta, g = problem(size, dtype)
    return {f"torch {form}": by_torch(partial(optimizer, **{form: True}, **hyper), theta, g) for form in forms}
