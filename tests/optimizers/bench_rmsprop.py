"""RMSprop: one step, by the number of parameters. torch takes its for-loop form, the default on a CPU."""

import numpy as np
import torch

SIZES = (10, 1_000, 100_000, 1_000_000)
UNIT = "parameters"
FORMS = ("loop", "vectorised", "torch")


def problem(size, dtype):
    """The parameter and its gradient, with which all forms start."""
    rng = np.random.default_rng(0)
    return tuple(np.resize(rng.normal(size=997), size).astype(dtype) for _ in range(2))


def stepping(step):
    """A function that makes a step each time, with a state of its own."""
    state = {}
    return lambda: step(state)


def by_torch(make, theta, g):
    """A function that makes a step of the optimizer that `make` puts over a copy of theta."""
    tensor = torch.tensor(theta)
    tensor.grad = torch.tensor(g)
    optimizer = make([tensor])

    def step():
        optimizer.step()
        return {"theta": tensor}

    return step


def contestants(impl, reference, size, dtype=np.float64):
    theta, g = problem(size, dtype)
    params = {"theta": theta}
    found = {
        "loop": stepping(lambda state: impl.step_per_element(params, {"theta": g}, state)),
        "vectorised": stepping(lambda state: impl.step(params, {"theta": g}, state)),
        "torch": by_torch(reference.optimizer, theta, g),
    }
    if size > 1_000:
        del found["loop"]
    return found


def extra_contestants(impl, reference, size, dtype=np.float64):
    """torch's other form: in several passes over lists of tensors (foreach)."""
    theta, g = problem(size, dtype)
    return {
        "torch foreach": by_torch(lambda tensors: torch.optim.RMSprop(tensors, foreach=True), theta, g),
    }


def test_speed(race):
    race(contestants)
