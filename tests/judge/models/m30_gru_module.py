"""torch's own GRU module, one layer, its last state into a linear layer; squared error. The gates are in one matrix."""

import numpy as np
import torch
from torch import nn

from tests.judge.corpus import right, wrong


def reference(params, x, y):
    gru = nn.GRU(x.shape[2], params["U"].shape[0], batch_first=True).to(x.dtype)
    weights = {
        "weight_ih_l0": params["W"].t(),
        "weight_hh_l0": params["U"].t(),
        "bias_ih_l0": params["b"],
        "bias_hh_l0": params["c"],
    }
    states, last = torch.func.functional_call(gru, weights, (x,))
    return (last[0] @ params["v"] - y).pow(2).mean()


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def candidate(params, x, y):
    W, U, c, v = params["W"], params["U"], params["c"], params["v"]
    n, steps, k = x.shape[0], x.shape[1], U.shape[0]
    h, saved = [np.zeros((n, k))], []
    for t in range(steps):
        i = x[:, t] @ W + params["b"]
        s = h[t] @ U + c
        r = sigmoid(i[:, :k] + s[:, :k])
        z = sigmoid(i[:, k : 2 * k] + s[:, k : 2 * k])
        m = s[:, 2 * k :]
        g = np.tanh(i[:, 2 * k :] + r * m)
        h.append((1 - z) * g + z * h[t])
        saved.append((r, z, m, g))
    e = h[steps] @ v - y
    loss = np.mean(e**2)
    de = 2 * e / n
    dv = h[steps].T @ de
    dh = np.outer(de, v)
    dW, dU, db, dc = np.zeros_like(W), np.zeros_like(U), np.zeros_like(c), np.zeros_like(c)
    for t in reversed(range(steps)):
        r, z, m, g = saved[t]
        dg = dh * (1 - z) * (1 - g**2)
        dz = dh * (h[t] - g) * z * (1 - z)
        dr = dg * m * r * (1 - r)
        di = np.hstack([dr, dz, dg])
        ds = np.hstack([dr, dz, dg * r])
        dW += x[:, t].T @ di
        db += di.sum(axis=0)
        dU += h[t].T @ ds
        dc += ds.sum(axis=0)
        dh = dh * z + ds @ U.T
    return loss, {"W": dW, "U": dU, "b": db, "c": dc, "v": dv}


def problem(rng):
    params = {
        "W": rng.normal(size=(2, 9)),
        "U": rng.normal(size=(3, 9)) * 0.7,
        "b": rng.normal(size=9) * 0.4,
        "c": rng.normal(size=9) * 0.4,
        "v": rng.normal(size=3),
    }
    return params, (rng.normal(size=(5, 4, 2)), rng.normal(size=5))


WRONG = [
    wrong(
        "candidate_derivative_forgotten", "missing-derivative", "dg = dh * (1 - z) * (1 - g**2)", "dg = dh * (1 - z)"
    ),
    wrong(
        "update_derivative_forgotten",
        "missing-derivative",
        "dz = dh * (h[t] - g) * z * (1 - z)",
        "dz = dh * (h[t] - g)",
    ),
    wrong("reset_derivative_forgotten", "missing-derivative", "dr = dg * m * r * (1 - r)", "dr = dg * m"),
    wrong(
        "reset_gate_not_in_the_recurrent_bias",
        "missing-path|wrong-operand|missing-derivative",
        "dc += ds.sum(axis=0)",
        "dc += di.sum(axis=0)",
    ),
    wrong(
        "reset_gate_not_in_the_recurrent_route",
        "missing-path|wrong-operand|missing-derivative",
        "ds = np.hstack([dr, dz, dg * r])",
        "ds = np.hstack([dr, dz, dg])",
    ),
    wrong("kept_state_forgotten", "missing-path", "dh = dh * z + ds @ U.T", "dh = ds @ U.T"),
    wrong("gates_forgotten_in_the_carry", "missing-path|truncated-in-time", "dh = dh * z + ds @ U.T", "dh = dh * z"),
    wrong("new_state_in_U", "shifted-in-time", "dU += h[t].T @ ds", "dU += h[t + 1].T @ ds"),
    wrong("W_assigned", "overwritten|last-step-only|missing-path|truncated-in-time", "dW += ", "dW = "),
    wrong("update_gate_the_other_way", "wrong-sign", "dh * (h[t] - g) * z", "dh * (g - h[t]) * z"),
    wrong("gates_in_another_order", "wrong-operand", "di = np.hstack([dr, dz, dg])", "di = np.hstack([dz, dr, dg])"),
    wrong("bias_averaged", "wrong-scale|wrong-reduction", "db += di.sum(axis=0)", "db += di.mean(axis=0)"),
    wrong("two_forgotten", "wrong-scale", "de = 2 * e / n", "de = e / n"),
    wrong("last_step_only", "last-step-only|truncated-in-time", "in reversed(range(steps)):", "in [steps - 1]:"),
    wrong("cost_summed", "wrong-loss", "loss = np.mean(e**2)", "loss = np.sum(e**2)"),
    wrong("one_bias_for_both", "wrong-operand|missing-path", '"c": dc', '"c": db'),
]

TOGETHER = [
    ("candidate_derivative_forgotten", "bias_averaged"),
    ("two_forgotten", "new_state_in_U"),
    ("cost_summed", "kept_state_forgotten"),
    ("bias_averaged", "new_state_in_U", "update_derivative_forgotten"),
]

RIGHT = [
    right(
        "biases_shared_work",
        "db += di.sum(axis=0)",
        "db[: 2 * k] += ds[:, : 2 * k].sum(axis=0)\n        db[2 * k :] += dg.sum(axis=0)",
    ),
]
