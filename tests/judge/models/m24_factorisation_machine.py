"""A factorisation machine: all pairs of features weighted by products of factors, in linear time; logistic loss."""

import numpy as np
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, y):
    w0, w, V = params["w0"], params["w"], params["V"]
    square_of_sum = (x @ V) ** 2
    sum_of_squares = (x**2) @ (V**2)
    pairs = 0.5 * (square_of_sum - sum_of_squares).sum(dim=1)
    logits = w0 + x @ w + pairs
    return F.binary_cross_entropy_with_logits(logits, y)


def candidate(params, x, y):
    w0, w, V = params["w0"], params["w"], params["V"]
    n = len(y)
    s = x @ V
    pairs = 0.5 * np.sum(s**2 - (x**2) @ (V**2), axis=1)
    z = w0 + x @ w + pairs
    p = 1 / (1 + np.exp(-z))
    loss = np.mean(np.logaddexp(0, z) - y * z)
    dz = (p - y) / n
    dw0 = np.sum(dz)
    dw = x.T @ dz
    dV = x.T @ (dz[:, None] * s) - ((x**2).T @ dz)[:, None] * V
    return loss, {"w0": dw0, "w": dw, "V": dV}


def problem(rng):
    params = {"w0": np.array(0.3), "w": rng.normal(size=6), "V": rng.normal(size=(6, 3)) * 0.5}
    return params, (rng.normal(size=(10, 6)), rng.integers(0, 2, size=10).astype(float))


WRONG = [
    wrong("squares_forgotten", "missing-path", " - ((x**2).T @ dz)[:, None] * V", ""),
    wrong("squares_added", "wrong-sign", " - ((x**2).T @ dz)[:, None] * V", " + ((x**2).T @ dz)[:, None] * V"),
    wrong("square_of_sum_forgotten", "missing-path", "x.T @ (dz[:, None] * s) - ((x**2)", "-((x**2)"),
    wrong(
        "half_not_cancelled",
        "wrong-scale",
        "dV = x.T @ (dz[:, None] * s) - ((x**2).T @ dz)[:, None] * V",
        "dV = 0.5 * (x.T @ (dz[:, None] * s) - ((x**2).T @ dz)[:, None] * V)",
    ),
    wrong("x_not_squared", "missing-derivative|wrong-operand|different-function", "((x**2).T @ dz)", "(x.T @ dz)"),
    wrong(
        "factors_squared",
        "wrong-operand|missing-derivative|different-function|derivative-at-wrong-point",
        "[:, None] * V\n    return",
        "[:, None] * V**2\n    return",
    ),
    wrong("sigmoid_derivative_not_cancelled", "extra-derivative", "dz = (p - y) / n", "dz = (p - y) * p * (1 - p) / n"),
    wrong("not_averaged", "wrong-scale|wrong-reduction", "dz = (p - y) / n", "dz = p - y"),
    wrong("target_less_prediction", "wrong-sign", "dz = (p - y) / n", "dz = (y - p) / n"),
    wrong("intercept_of_last_sample", "one-sample-only", "dw0 = np.sum(dz)", "dw0 = dz[-1]"),
    wrong("intercept_averaged", "wrong-scale|wrong-reduction", "dw0 = np.sum(dz)", "dw0 = np.mean(dz)"),
    wrong("weights_of_first_half", "one-sample-only|missing-path", "dw = x.T @ dz", "dw = x[:5].T @ dz[:5]"),
    wrong(
        "pairs_with_themselves_in_both",
        "missing-path|different-function",
        "np.sum(s**2 - (x**2) @ (V**2), axis=1)",
        "np.sum(s**2, axis=1)",
        " - ((x**2).T @ dz)[:, None] * V",
        "",
    ),
    wrong(
        "half_forgotten_in_both",
        "different-function|wrong-scale",
        "pairs = 0.5 * np",
        "pairs = np",
        "dV = x.T @ (dz[:, None] * s) - ((x**2).T @ dz)[:, None] * V",
        "dV = 2 * (x.T @ (dz[:, None] * s) - ((x**2).T @ dz)[:, None] * V)",
    ),
    wrong(
        "pairs_forgotten_in_cost",
        "wrong-loss",
        "loss = np.mean(np.logaddexp(0, z) - y * z)",
        "loss = np.mean(np.logaddexp(0, z - pairs) - y * (z - pairs))",
    ),
    wrong(
        "targets_as_column_in_cost",
        "broadcast|wrong-loss",
        "np.mean(np.logaddexp(0, z) - y * z)",
        "np.mean(np.logaddexp(0, z) - y[:, None] * z)",
    ),
]

TOGETHER = [
    ("squares_forgotten", "intercept_averaged"),
    ("sigmoid_derivative_not_cancelled", "squares_added"),
    ("pairs_forgotten_in_cost", "squares_forgotten"),
    ("half_not_cancelled", "weights_of_first_half"),
    ("not_averaged", "intercept_of_last_sample"),
    ("pairs_forgotten_in_cost", "squares_forgotten", "intercept_averaged"),
]

RIGHT = [
    right(
        "all_pairs",
        "pairs = 0.5 * np.sum(s**2 - (x**2) @ (V**2), axis=1)",
        "pairs = np.array([sum(V[i] @ V[j] * one[i] * one[j] for i in range(6) for j in range(i)) for one in x])",
    ),
    right(
        "per_sample",
        "dV = x.T @ (dz[:, None] * s) - ((x**2).T @ dz)[:, None] * V",
        "dV = sum(dz[k] * (np.outer(x[k], s[k]) - x[k][:, None] ** 2 * V) for k in range(n))",
    ),
]
