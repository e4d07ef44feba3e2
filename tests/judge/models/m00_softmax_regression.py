"""Softmax regression with an L2 penalty on the weights, the softmax written out."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, x, y):
    W, b = params["W"], params["b"]
    logits = x @ W + b
    e = torch.exp(logits - logits.max(dim=1, keepdim=True).values)
    p = e / e.sum(dim=1, keepdim=True)
    chosen = p[torch.arange(len(y)), y]
    return {"data": -torch.log(chosen).mean(), "penalty": 0.05 * (W**2).sum()}


def candidate(params, x, y):
    W, b = params["W"], params["b"]
    n = len(x)
    z = x @ W + b
    z = z - z.max(axis=1, keepdims=True)
    e = np.exp(z)
    p = e / e.sum(axis=1, keepdims=True)
    data = -np.log(p[np.arange(n), y]).mean()
    penalty = 0.05 * np.sum(W**2)
    loss = data + penalty
    dz = p.copy()
    dz[np.arange(n), y] -= 1
    dz = dz / n
    dW = x.T @ dz + 0.1 * W
    db = dz.sum(axis=0)
    return loss, {"W": dW, "b": db}


def problem(rng):
    params = {"W": rng.normal(size=(4, 3)), "b": rng.normal(size=3)}
    return params, (rng.normal(size=(7, 4)), rng.integers(0, 3, size=7))


WRONG = [
    wrong("not_averaged", "wrong-scale|wrong-reduction|wrong-term-weight", "    dz = dz / n\n", ""),
    wrong("averaged_over_classes", "wrong-scale|wrong-term-weight", "dz = dz / n", "dz = dz / dz.shape[1]"),
    wrong("penalty_gradient_halved", "wrong-term-weight|wrong-scale", "+ 0.1 * W", "+ 0.05 * W"),
    wrong("penalty_gradient_forgotten", "wrong-term-weight|missing-path", "x.T @ dz + 0.1 * W", "x.T @ dz"),
    wrong("penalty_averaged_too", "wrong-term-weight", "+ 0.1 * W", "+ 0.1 * W / n"),
    wrong("bias_penalised_in_gradient", "wrong-part-penalised", "db = dz.sum(axis=0)", "db = dz.sum(axis=0) + 0.1 * b"),
    wrong("penalty_subtracted", "wrong-sign|wrong-term-weight", "+ 0.1 * W", "- 0.1 * W"),
    wrong(
        "jacobian_diagonal",
        "diagonal-jacobian",
        "dz = p.copy()\n    dz[np.arange(n), y] -= 1\n",
        "dp = np.zeros_like(p)\n    dp[np.arange(n), y] = -1 / p[np.arange(n), y]\n    dz = dp * p * (1 - p)\n",
    ),
    wrong("penalty_halved_in_cost", "wrong-loss", "0.05 * np.sum(W**2)", "0.025 * np.sum(W**2)"),
    wrong(
        "cost_is_a_sum",
        "wrong-loss",
        "data = -np.log(p[np.arange(n), y]).mean()",
        "data = -np.log(p[np.arange(n), y]).sum()",
    ),
    wrong("bias_penalised_in_cost", "wrong-loss", "0.05 * np.sum(W**2)", "0.05 * (np.sum(W**2) + np.sum(b**2))"),
    wrong("descent_direction", "wrong-sign", '"W": dW, "b": db', '"W": -dW, "b": -db'),
    wrong("bias_gradient_averaged_twice", "wrong-scale|wrong-reduction", "db = dz.sum(axis=0)", "db = dz.mean(axis=0)"),
    wrong("last_sample_for_bias", "one-sample-only", "db = dz.sum(axis=0)", "db = dz[-1]"),
    wrong(
        "logarithm_to_base_two",
        "different-function",
        "data = -np.log(",
        "data = -np.log2(",
        "dz = dz / n",
        "dz = dz / n / np.log(2)",
    ),
    wrong("bias_absent", "missing-gradient", '"W": dW, "b": db', '"W": dW'),
    wrong("bias_as_row", "wrong-shape", "db = dz.sum(axis=0)", "db = dz.sum(axis=0, keepdims=True)"),
    wrong("step_taken_in_place", "input-modified", "    return loss, {", "    W -= 0.1 * dW\n    return loss, {"),
]

TOGETHER = [
    ("not_averaged", "penalty_gradient_forgotten"),
    ("penalty_halved_in_cost", "penalty_gradient_forgotten"),
    ("penalty_gradient_halved", "bias_gradient_averaged_twice"),
    ("cost_is_a_sum", "bias_penalised_in_gradient"),
    ("jacobian_diagonal", "penalty_gradient_halved"),
    ("jacobian_diagonal", "bias_penalised_in_gradient", "penalty_halved_in_cost"),
]

RIGHT = [
    right(
        "per_sample",
        "dz = dz / n\n    dW = x.T @ dz + 0.1 * W\n    db = dz.sum(axis=0)",
        "dW, db = 0.1 * W, np.zeros_like(b)\n    for i in range(n):\n        dW = dW + np.outer(x[i], dz[i]) / n\n"
        "        db += dz[i] / n",
    ),
    right(
        "one_hot_and_whole_jacobian",
        "dz = p.copy()\n    dz[np.arange(n), y] -= 1\n",
        "hot = np.eye(p.shape[1])[y]\n"
        "    jacobian = np.einsum('ni,ij->nij', p, np.eye(p.shape[1])) - p[:, :, None] * p[:, None]\n"
        "    dz = np.einsum('nij,nj->ni', jacobian, -hot / p)\n",
    ),
    right(
        "logsumexp", "data = -np.log(p[np.arange(n), y]).mean()", "data = np.mean(np.log(e.sum(1)) - z[range(n), y])"
    ),
    right("not_shifted", "    z = z - z.max(axis=1, keepdims=True)\n", ""),
]
