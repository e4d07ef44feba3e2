"""A hidden state that flows along a learned field, by midpoint steps; Tukey's biweight error and a kinetic energy."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, x, y):
    def field(h, time):
        return torch.tanh(h @ params["A"] + params["a"] + time * params["c"])

    dt, h, energy = 0.4, x @ params["E"], 0.0
    for k in range(5):
        half = field(h, k * dt)
        slope = field(h + 0.5 * dt * half, (k + 0.5) * dt)
        h = h + dt * slope
        energy = energy + dt * slope.pow(2).sum(dim=1).mean()
    e = h @ params["R"] - y
    inside = 1 - (1 - (e / 4) ** 2).clamp(min=0) ** 3
    return {"fit": (16 / 6 * inside).mean(), "energy": 0.05 * energy}


def field(params, h, time):
    return np.tanh(h @ params["A"] + params["a"] + time * params["c"])


def pull_back(params, grads, dslope, slope, h, time):
    """Add the field's gradients to `grads`, and return that of its state."""
    dz = dslope * (1 - slope**2)
    grads["A"] += h.T @ dz
    grads["a"] += dz.sum(axis=0)
    grads["c"] += time * dz.sum(axis=0)
    return dz @ params["A"].T


def candidate(params, x, y):
    dt, steps, n = 0.4, 5, len(x)
    h = [x @ params["E"]]
    first, middle, second = [], [], []
    for t in range(steps):
        first.append(field(params, h[t], t * dt))
        middle.append(h[t] + 0.5 * dt * first[t])
        second.append(field(params, middle[t], (t + 0.5) * dt))
        h.append(h[t] + dt * second[t])
    e = h[-1] @ params["R"] - y
    core = np.clip(1 - (e / 4) ** 2, 0, None)
    energy = sum(dt * np.sum(s * s) / n for s in second)
    loss = np.mean(16 / 6 * (1 - core**3)) + 0.05 * energy

    grads = {name: 0 * value for name, value in params.items()}
    de = e * core**2 / e.size
    grads["R"] += h[-1].T @ de
    dh = de @ params["R"].T
    for t in range(steps - 1, -1, -1):
        dsecond = dt * dh
        dsecond = dsecond + 0.1 * dt * second[t] / n
        dmiddle = pull_back(params, grads, dsecond, second[t], middle[t], (t + 0.5) * dt)
        dfirst = 0.5 * dt * dmiddle
        dh = dh + dmiddle
        dh = dh + pull_back(params, grads, dfirst, first[t], h[t], t * dt)
    grads["E"] += x.T @ dh
    return loss, grads


def problem(rng):
    params = {
        "E": rng.normal(size=(3, 4)),
        "A": rng.normal(size=(4, 4)) * 0.8,
        "a": rng.normal(size=4) * 0.5,
        "c": rng.normal(size=4) * 0.7,
        "R": rng.normal(size=(4, 2)) * 0.8,
    }
    return params, (rng.normal(size=(6, 3)), rng.normal(size=(6, 2)))


WRONG = [
    wrong("identity_forgotten", "missing-path", "        dh = dh + dmiddle\n", "        dh = dmiddle\n"),
    wrong("midpoint_forgotten", "missing-path", "        dh = dh + dmiddle\n", ""),
    wrong(
        "first_half_forgotten",
        "missing-path",
        "        dh = dh + pull_back(params, grads, dfirst, first[t], h[t], t * dt)\n",
        "",
    ),
    wrong(
        "state_for_the_midpoint",
        "wrong-operand",
        "dsecond, second[t], middle[t]",
        "dsecond, second[t], h[t]",
    ),
    wrong(
        "state_of_the_next_step",
        "shifted-in-time",
        "dfirst, first[t], h[t], t * dt",
        "dfirst, first[t], h[t + 1], t * dt",
    ),
    wrong(
        "time_of_the_next_step",
        "shifted-in-time|wrong-operand",
        "first[t], h[t], t * dt",
        "first[t], h[t], (t + 1) * dt",
    ),
    wrong(
        "time_not_halfway",
        "wrong-operand|shifted-in-time",
        "second[t], middle[t], (t + 0.5) * dt",
        "second[t], middle[t], t * dt",
    ),
    wrong("half_step_forgotten", "wrong-scale", "dfirst = 0.5 * dt * dmiddle", "dfirst = dt * dmiddle"),
    wrong("step_size_forgotten", "wrong-scale|missing-derivative", "dsecond = dt * dh", "dsecond = dh"),
    wrong("tanh_slope_forgotten", "missing-derivative", "dz = dslope * (1 - slope**2)", "dz = dslope"),
    wrong(
        "tanh_slope_of_the_slope",
        "derivative-at-wrong-point",
        "dz = dslope * (1 - slope**2)",
        "dz = dslope * (1 - np.tanh(slope) ** 2)",
    ),
    wrong("A_not_transposed", "not-transposed", 'return dz @ params["A"].T', 'return dz @ params["A"]'),
    wrong("A_assigned", "overwritten|last-step-only", 'grads["A"] += ', 'grads["A"] = '),
    wrong("time_forgotten", "missing-derivative", 'grads["c"] += time * dz', 'grads["c"] += dz'),
    wrong(
        "energy_forgotten",
        "wrong-term-weight|missing-path",
        "        dsecond = dsecond + 0.1 * dt * second[t] / n\n",
        "",
    ),
    wrong("energy_not_doubled", "wrong-term-weight|wrong-scale", "0.1 * dt * second[t]", "0.05 * dt * second[t]"),
    wrong(
        "energy_not_averaged",
        "wrong-term-weight|wrong-scale|wrong-reduction",
        "0.1 * dt * second[t] / n",
        "0.1 * dt * second[t]",
    ),
    wrong(
        "three_steps_only",
        "truncated-in-time",
        "dh = dh + pull_back(params, grads, dfirst, first[t], h[t], t * dt)",
        "dh = (dh + pull_back(params, grads, dfirst, first[t], h[t], t * dt)) * (t != 2)",
    ),
    wrong("biweight_not_squared", "different-function", "de = e * core**2", "de = e * core"),
    wrong(
        "biweight_forgotten", "different-function|missing-derivative", "de = e * core**2 / e.size", "de = e / e.size"
    ),
    wrong(
        "cut_off_forgotten",
        "different-function",
        "de = e * core**2",
        "de = e * (1 - (e / 4) ** 2) ** 2",
    ),
    wrong(
        "euler_steps_in_both",
        "different-function|wrong-operand",
        "middle.append(h[t] + 0.5 * dt * first[t])",
        "middle.append(h[t])",
        "dfirst = 0.5 * dt * dmiddle",
        "dfirst = 0 * dmiddle",
    ),
    wrong(
        "half_squared_error_in_both",
        "different-function",
        "np.mean(16 / 6 * (1 - core**3))",
        "np.mean(0.5 * e**2)",
        "de = e * core**2 / e.size",
        "de = e / e.size",
    ),
    wrong("energy_of_the_first_slopes_in_cost", "wrong-loss", "for s in second)", "for s in first)"),
]

TOGETHER = [
    ("identity_forgotten", "tanh_slope_of_the_slope"),
    ("half_step_forgotten", "A_not_transposed"),
    ("energy_not_doubled", "time_forgotten"),
    ("first_half_forgotten", "biweight_forgotten"),
    ("tanh_slope_forgotten", "state_for_the_midpoint", "energy_forgotten"),
]

RIGHT = [
    right(
        "energy_beforehand",
        "        dsecond = dt * dh\n        dsecond = dsecond + 0.1 * dt * second[t] / n\n",
        "        dsecond = dt * (dh + 0.1 / n * second[t])\n",
    ),
    right(
        "biases_apart",
        '    grads["a"] += dz.sum(axis=0)\n    grads["c"] += time * dz.sum(axis=0)\n',
        '    for row in dz:\n        grads["a"] = grads["a"] + row\n        grads["c"] = grads["c"] + row * time\n',
    ),
]
