"""Logistic regression with an L1 and an L2 penalty as named terms; the intercept is not penalised."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, y):
    theta = params["theta"]
    logits = x @ theta[1:] + theta[0]
    data = F.binary_cross_entropy(torch.sigmoid(logits), y)
    lasso = 0.03 * theta[1:].abs().sum()
    ridge = 0.2 / 2 * (theta[1:] ** 2).sum()
    return {"data": data, "lasso": lasso, "ridge": ridge}


def candidate(params, x, y):
    theta = params["theta"]
    n = len(y)
    z = x @ theta[1:] + theta[0]
    a = 1 / (1 + np.exp(-z))
    data = -np.mean(y * np.log(a) + (1 - y) * np.log(1 - a))
    loss = data + 0.03 * np.sum(np.abs(theta[1:])) + 0.1 * np.sum(theta[1:] ** 2)
    dz = (a - y) / n
    dtheta = np.zeros_like(theta)
    dtheta[0] = dz.sum()
    dtheta[1:] = x.T @ dz
    dtheta[1:] += 0.03 * np.sign(theta[1:])
    dtheta[1:] += 0.2 * theta[1:]
    return loss, {"theta": dtheta}


def problem(rng):
    return {"theta": rng.normal(size=6)}, (rng.normal(size=(11, 5)), rng.integers(0, 2, size=11).astype(float))


WRONG = [
    wrong("ridge_on_the_intercept", "wrong-part-penalised", "dtheta[1:] += 0.2 * theta[1:]", "dtheta += 0.2 * theta"),
    wrong(
        "lasso_on_the_intercept",
        "wrong-part-penalised",
        "dtheta[1:] += 0.03 * np.sign(theta[1:])",
        "dtheta += 0.03 * np.sign(theta)",
    ),
    wrong("ridge_halved", "wrong-term-weight|wrong-scale", "dtheta[1:] += 0.2 *", "dtheta[1:] += 0.1 *"),
    wrong("ridge_forgotten", "wrong-term-weight|missing-path", "    dtheta[1:] += 0.2 * theta[1:]\n", ""),
    wrong("lasso_forgotten", "wrong-term-weight|missing-path", "    dtheta[1:] += 0.03 * np.sign(theta[1:])\n", ""),
    wrong(
        "lasso_without_sign", "missing-derivative|different-function|wrong-operand", "0.03 * np.sign(theta[1:])", "0.03"
    ),
    wrong(
        "lasso_of_the_weights",
        "missing-derivative|different-function|wrong-operand",
        "0.03 * np.sign(theta[1:])",
        "0.03 * np.abs(theta[1:])",
    ),
    wrong("penalties_averaged", "wrong-term-weight", "dtheta[1:] += 0.2 *", "dtheta[1:] += 0.2 / n *"),
    wrong("data_not_averaged", "wrong-term-weight|wrong-scale|wrong-reduction", "dz = (a - y) / n", "dz = a - y"),
    wrong("sigmoid_derivative_not_cancelled", "extra-derivative", "dz = (a - y) / n", "dz = (a - y) * a * (1 - a) / n"),
    wrong("target_less_prediction", "wrong-sign|wrong-term-weight", "dz = (a - y) / n", "dz = (y - a) / n"),
    wrong("ridge_in_cost_not_halved", "wrong-loss", "+ 0.1 * np.sum(theta[1:] ** 2)", "+ 0.2 * np.sum(theta[1:] ** 2)"),
    wrong(
        "intercept_penalised_in_both",
        "wrong-part-penalised",
        "0.1 * np.sum(theta[1:] ** 2)",
        "0.1 * np.sum(theta**2)",
        "dtheta[1:] += 0.2 * theta[1:]",
        "dtheta += 0.2 * theta",
    ),
    wrong("intercept_averaged", "wrong-scale|wrong-reduction", "dtheta[0] = dz.sum()", "dtheta[0] = dz.mean()"),
    wrong("first_feature_for_all", "wrong-operand", "dtheta[1:] = x.T @ dz", "dtheta[1:] = x[:, 0] @ dz"),
    wrong("weights_reversed", "flipped", "dtheta[1:] = x.T @ dz", "dtheta[1:] = (x.T @ dz)[::-1]"),
    wrong(
        "targets_as_column_in_cost",
        "broadcast|wrong-loss",
        "data = -np.mean(y * np.log(a) + (1 - y) * np.log(1 - a))",
        "t = y.reshape(n, 1)\n    data = -np.mean(t * np.log(a) + (1 - t) * np.log(1 - a))",
    ),
    wrong("last_sample", "one-sample-only", "dz = (a - y) / n", "dz = (a - y) / n\n    dz[:-1] = 0"),
]

TOGETHER = [
    ("ridge_on_the_intercept", "lasso_forgotten"),
    ("ridge_in_cost_not_halved", "lasso_on_the_intercept"),
    ("sigmoid_derivative_not_cancelled", "ridge_halved"),
    ("data_not_averaged", "ridge_forgotten"),
    ("ridge_in_cost_not_halved", "data_not_averaged", "lasso_forgotten"),
]

RIGHT = [
    right("loop", "dtheta[1:] = x.T @ dz", "for i in range(n):\n        dtheta[1:] += x[i] * dz[i]"),
    right("long_way_round", "dz = (a - y) / n", "da = -(y / a - (1 - y) / (1 - a)) / n\n    dz = da * a * (1 - a)"),
    right(
        "masked_penalty",
        "dtheta[1:] += 0.2 * theta[1:]",
        "mask = np.ones(6)\n    mask[0] = 0\n    dtheta += 0.2 * mask * theta",
    ),
]
