"""Adam: one step, by the number of parameters. torch takes its for-loop form, the default on a CPU."""

import contextlib

import numpy as np
import torch

from tests.benchmarking.in_jax import load_jax

SIZES = (10, 1_000, 100_000, 10_000_000)
UNIT = "parameters"
FORMS = ("loop", "vectorised", "tuned", "torch")


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
    ours = {"theta": theta.copy()}  # changed in place, as torch changes its own
    found = {
        "loop": stepping(lambda state: impl.step_per_element(params, {"theta": g}, state)),
        "vectorised": stepping(lambda state: impl.step(params, {"theta": g}, state)),
        "tuned": stepping(lambda state: impl.step_tuned(ours, {"theta": g}, state, out=ours)),
        "torch": by_torch(reference.optimizer, theta, g),
    }
    if size > 1_000:
        del found["loop"]
    return found


def by_jax(theta, g):
    """A function that makes a step of Adam in JAX, compiled, in place; its state starts at zero."""
    jax = load_jax(torch.get_num_threads())

    def step(theta, m, v, t, g):
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        m_hat, v_hat = m / (1 - 0.9**t), v / (1 - 0.999**t)
        return theta - 1e-3 * m_hat / (jax.numpy.sqrt(v_hat) + 1e-8), m, v, t + 1

    step = jax.jit(step, donate_argnums=(0, 1, 2))
    g = jax.numpy.asarray(g)
    kept = [jax.numpy.array(theta), jax.numpy.zeros_like(g), jax.numpy.zeros_like(g), jax.numpy.ones((), g.dtype)]

    def call():
        kept[:] = jax.block_until_ready(step(*kept, g))
        return {"theta": kept[0]}

    return call


def extra_contestants(impl, reference, size, dtype=np.float64):
    """torch's other forms: in several passes over lists of tensors (foreach), and in one (fused); and JAX."""
    theta, g = problem(size, dtype)
    found = {
        "torch foreach": by_torch(lambda tensors: torch.optim.Adam(tensors, foreach=True), theta, g),
        "torch fused": by_torch(lambda tensors: torch.optim.Adam(tensors, fused=True), theta, g),
    }
    with contextlib.suppress(ImportError):
        found["jax"] = by_jax(theta, g)
    return found


def test_speed(race):
    race(contestants)
