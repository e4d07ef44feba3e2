"""Adam: one step, by the number of parameters. torch takes its for-loop form, the default on a CPU."""

import contextlib

import numpy as np
import torch

from tests.benchmarking.in_jax import load_jax
from tests.optimizers.racing import all_forms, others_of_torch, problem

SIZES = (10, 1_000, 100_000, 10_000_000)
UNIT = "parameters"
FORMS = ("loop", "vectorised", "tuned", "torch")


def contestants(impl, reference, size, dtype=np.float64):
    return all_forms(impl, reference, size, dtype)


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
    found = others_of_torch(torch.optim.Adam, size, dtype)
    with contextlib.suppress(ImportError):
        found["jax"] = by_jax(*problem(size, dtype))
    return found


def test_speed(race):
    race(contestants)
