"""Two clouds of points matched by a few Sinkhorn sweeps in the log domain: plan, transport cost and its entropy."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong

BATCH_AXIS = None


def reference(params, y, b):
    x, log_a = params["x"], torch.log_softmax(params["heights"], 0)
    eps, log_b = 0.7, torch.log(b)
    C = ((x[:, None] - y[None]) ** 2).sum(-1)
    f = torch.zeros_like(log_a)
    for _ in range(4):
        g = eps * (log_b - torch.logsumexp((f[:, None] - C) / eps, 0))
        f = eps * (log_a - torch.logsumexp((g[None] - C) / eps, 1))
    log_P = (f[:, None] + g[None] - C) / eps
    P = torch.exp(log_P)
    return {"transport": (P * C).sum(), "entropy": 0.3 * (P * (log_P - 1)).sum()}


def logsumexp(M, axis):
    top = M.max(axis=axis, keepdims=True)
    return np.log(np.exp(M - top).sum(axis=axis)) + top.squeeze(axis)


def sweeps(C, log_a, log_b, eps, n_iter):
    """The potentials after n_iter sweeps, and of every sweep the two matrices of softmax weights."""
    f = np.zeros(len(log_a))
    weights = []
    for _ in range(n_iter):
        M = (f[:, None] - C) / eps
        lse = logsumexp(M, axis=0)
        columns = np.exp(M - lse[None, :])
        g = eps * (log_b - lse)
        M = (g[None, :] - C) / eps
        lse = logsumexp(M, axis=1)
        rows = np.exp(M - lse[:, None])
        f = eps * (log_a - lse)
        weights.append((rows, columns))
    return f, g, weights


def candidate(params, y, b, eps=0.7, strength=0.3, n_iter=4):
    x, heights = params["x"], params["heights"]
    a = np.exp(heights - heights.max())
    a = a / a.sum()
    diff = x[:, None, :] - y[None, :, :]
    C = np.sum(diff**2, axis=2)
    f, g, weights = sweeps(C, np.log(a), np.log(b), eps, n_iter)
    log_P = (f[:, None] + g[None, :] - C) / eps
    P = np.exp(log_P)
    loss = np.sum(P * C) + strength * np.sum(P * (log_P - 1))

    # through the plan and directly
    dlog_P = P * (C + strength * log_P)
    dC = P - dlog_P / eps
    df = dlog_P.sum(axis=1) / eps
    dg = dlog_P.sum(axis=0) / eps
    dlog_a = np.zeros_like(a)
    for rows, columns in reversed(weights):
        # f = eps * (log_a - lse of the rows)
        dlog_a += eps * df
        back = rows * df[:, None]
        dC += back
        dg = dg - back.sum(axis=0)
        # g = eps * (log_b - lse of the columns)
        back = columns * dg[None, :]
        dC += back
        df = -back.sum(axis=1)
        dg = np.zeros_like(dg)
    dx = 2 * np.einsum("ij,ijk->ik", dC, diff)
    dheights = dlog_a - a * dlog_a.sum()
    return loss, {"x": dx, "heights": dheights}


def problem(rng):
    params = {"x": rng.normal(size=(5, 2)), "heights": rng.normal(size=5) * 0.6}
    b = rng.uniform(0.5, 1.5, size=7)
    return params, (rng.normal(size=(7, 2)) + 0.4, b / b.sum())


WRONG = [
    wrong(
        "plan_taken_as_fixed",
        "missing-path",
        "    dC = P - dlog_P / eps\n",
        "    dC = P\n    dlog_P = np.zeros_like(P)\n",
    ),
    wrong(
        "potentials_taken_as_fixed",
        "missing-path",
        "    df = dlog_P.sum(axis=1) / eps\n    dg = dlog_P.sum(axis=0) / eps\n",
        "    df = np.zeros_like(f)\n    dg = np.zeros_like(g)\n",
    ),
    wrong(
        "sweep_does_not_see_the_one_before",
        "truncated-in-time|missing-path",
        "df = -back.sum(axis=1)",
        "df = np.zeros_like(df)",
    ),
    wrong(
        "potentials_fall_with_the_cost",
        "wrong-sign",
        "        back = columns * dg[None, :]\n        dC += back\n",
        "        back = columns * dg[None, :]\n        dC -= back\n",
    ),
    wrong(
        "two_of_the_squared_distance_forgotten",
        "wrong-scale|missing-derivative",
        'dx = 2 * np.einsum("ij,ijk->ik", dC, diff)',
        'dx = np.einsum("ij,ijk->ik", dC, diff)',
    ),
    wrong(
        "softmax_of_the_heights_elementwise",
        "diagonal-jacobian",
        "dheights = dlog_a - a * dlog_a.sum()",
        "dheights = dlog_a * (1 - a)",
    ),
    wrong(
        "heights_stop_at_their_logarithm",
        "missing-path|missing-derivative|diagonal-jacobian",
        "dheights = dlog_a - a * dlog_a.sum()",
        "dheights = dlog_a",
    ),
    wrong(
        "weights_of_the_last_sweep_only",
        "overwritten|last-step-only",
        "dlog_a += eps * df",
        "dlog_a = eps * df",
    ),
    wrong(
        "temperature_of_the_plan_forgotten",
        "missing-derivative|wrong-scale",
        "dC = P - dlog_P / eps",
        "dC = P - dlog_P",
    ),
    wrong(
        "cost_felt_through_the_plan_only",
        "missing-path",
        "dC = P - dlog_P / eps",
        "dC = -dlog_P / eps",
    ),
    wrong(
        "entropy_of_the_plan_not_weighted",
        "wrong-term-weight",
        "dlog_P = P * (C + strength * log_P)",
        "dlog_P = P * (C + log_P)",
    ),
    wrong(
        "entropy_not_in_cost",
        "wrong-loss",
        "loss = np.sum(P * C) + strength * np.sum(P * (log_P - 1))",
        "loss = np.sum(P * C)",
    ),
]

TOGETHER = [
    ("sweep_does_not_see_the_one_before", "two_of_the_squared_distance_forgotten"),
    ("weights_of_the_last_sweep_only", "heights_stop_at_their_logarithm"),
    ("temperature_of_the_plan_forgotten", "softmax_of_the_heights_elementwise"),
    ("plan_taken_as_fixed", "two_of_the_squared_distance_forgotten"),
]

RIGHT = [
    right(
        "point_by_point",
        '    dx = 2 * np.einsum("ij,ijk->ik", dC, diff)\n',
        "    dx = np.zeros_like(x)\n"
        "    for i in range(len(x)):\n"
        "        for j in range(len(y)):\n"
        "            dx[i] += dC[i, j] * 2 * (x[i] - y[j])\n",
        "    dheights = dlog_a - a * dlog_a.sum()\n",
        "    da = dlog_a / a\n    dheights = (np.diag(a) - np.outer(a, a)) @ da\n",
    ),
]
