"""Regression with a learned variance: the negative logarithm of a normal density, two heads on one hidden layer."""

import numpy as np
import torch

from tests.judge.corpus import ANY, right, wrong


def reference(params, x, y):
    h = torch.sigmoid(x @ params["W"] + params["b"])
    mu = h @ params["w_mu"]
    s = h @ params["w_s"] + params["b_s"]
    error = (y - mu) ** 2
    nll = 0.5 * s + 0.5 * error * torch.exp(-s)
    return nll.sum() / len(y)


def candidate(params, x, y):
    W, w_mu, w_s = params["W"], params["w_mu"], params["w_s"]
    n = len(y)
    h = 1 / (1 + np.exp(-(x @ W + params["b"])))
    mu = h @ w_mu
    s = h @ w_s + params["b_s"]
    e = mu - y
    loss = np.mean(0.5 * s + 0.5 * e**2 * np.exp(-s))
    dmu = e * np.exp(-s) / n
    ds = (0.5 - 0.5 * e**2 * np.exp(-s)) / n
    dw_mu = h.T @ dmu
    dw_s = h.T @ ds
    db_s = ds.sum()
    dh = np.outer(dmu, w_mu) + np.outer(ds, w_s)
    da = dh * h * (1 - h)
    dW = x.T @ da
    db = da.sum(axis=0)
    return loss, {"W": dW, "b": db, "w_mu": dw_mu, "w_s": dw_s, "b_s": db_s}


def problem(rng):
    params = {
        "W": rng.normal(size=(3, 5)),
        "b": rng.normal(size=5),
        "w_mu": rng.normal(size=5),
        "w_s": rng.normal(size=5) * 0.5,
        "b_s": np.array(0.3),
    }
    return params, (rng.normal(size=(8, 3)), rng.normal(size=8))


WRONG = [
    wrong("variance_head_forgotten", "missing-path", "np.outer(dmu, w_mu) + np.outer(ds, w_s)", "np.outer(dmu, w_mu)"),
    wrong("mean_head_forgotten", "missing-path", "np.outer(dmu, w_mu) + np.outer(ds, w_s)", "np.outer(ds, w_s)"),
    wrong(
        "heads_swapped",
        "wrong-operand",
        "np.outer(dmu, w_mu) + np.outer(ds, w_s)",
        "np.outer(dmu, w_s) + np.outer(ds, w_mu)",
    ),
    wrong("sigmoid_derivative_forgotten", "missing-derivative", "da = dh * h * (1 - h)", "da = dh"),
    wrong(
        "sigmoid_derivative_at_activation",
        "derivative-at-wrong-point",
        "    da = dh * h * (1 - h)",
        "    q = 1 / (1 + np.exp(-h))\n    da = dh * q * (1 - q)",
    ),
    wrong("sigmoid_derivative_twice", "extra-derivative", "dh * h * (1 - h)", "dh * (h * (1 - h)) ** 2"),
    wrong("tanh_derivative_for_sigmoid", "different-function", "dh * h * (1 - h)", "dh * (1 - h**2)"),
    wrong("log_variance_term_forgotten", "missing-path", "(0.5 - 0.5 * e**2", "(-0.5 * e**2"),
    wrong("error_term_forgotten_in_s", "missing-path", "(0.5 - 0.5 * e**2 * np.exp(-s)) / n", "np.full(n, 0.5) / n"),
    wrong("exp_sign_forgotten", "wrong-sign", "(0.5 - 0.5 * e**2", "(0.5 + 0.5 * e**2"),
    wrong("not_weighted_by_precision", ANY, "dmu = e * np.exp(-s) / n", "dmu = e / n"),
    wrong("two_too_many", "wrong-scale", "dmu = e * np", "dmu = 2 * e * np"),
    wrong("error_the_other_way", "wrong-sign", "dmu = e * np", "dmu = -e * np"),
    wrong("bias_of_variance_averaged", "wrong-scale|wrong-reduction", "db_s = ds.sum()", "db_s = ds.mean()"),
    wrong(
        "deltas_not_averaged", "wrong-scale|wrong-reduction", "e * np.exp(-s) / n", "e * np.exp(-s)", "-s)) / n", "-s))"
    ),
    wrong("weights_swapped", "wrong-operand", '"w_mu": dw_mu, "w_s": dw_s', '"w_mu": dw_s, "w_s": dw_mu'),
    wrong(
        "targets_as_column_in_cost",
        "broadcast|wrong-loss",
        "np.mean(0.5 * s + 0.5 * e**2 * np.exp(-s))",
        "np.mean(0.5 * s + 0.5 * (mu - y.reshape(n, 1)) ** 2 * np.exp(-s))",
    ),
    wrong("log_variance_whole_in_cost", "wrong-loss", "np.mean(0.5 * s + 0.5", "np.mean(s + 0.5"),
    wrong("target_forgotten", "different-function|missing-path|wrong-operand", "    e = mu - y\n", "    e = mu\n"),
]

TOGETHER = [
    ("variance_head_forgotten", "sigmoid_derivative_forgotten"),
    ("two_too_many", "sigmoid_derivative_at_activation"),
    ("log_variance_whole_in_cost", "log_variance_term_forgotten"),
    ("error_the_other_way", "bias_of_variance_averaged"),
    ("two_too_many", "bias_of_variance_averaged", "sigmoid_derivative_forgotten"),
]

RIGHT = [
    right("precision_once", "dmu = e * np.exp(-s) / n", "precision = 1 / np.exp(s)\n    dmu = precision * e / n"),
    right("einsum", "dw_mu = h.T @ dmu", "dw_mu = np.einsum('nh,n->h', h, dmu)"),
    right("one_number_in_an_array", "db_s = ds.sum()", "db_s = np.array(ds.sum())"),
]
