"""Huber regression: a hidden SiLU layer, dropout with a given mask, errors beyond delta counted linearly."""

import numpy as np
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, y, mask):
    z = F.linear(x, params["W1"].t(), params["b1"])
    h = F.silu(z) * mask / 0.75
    out = (h @ params["w2"]).squeeze(-1)
    return F.huber_loss(out, y, delta=0.8)


def candidate(params, x, y, mask):
    W1, w2 = params["W1"], params["w2"]
    n = len(y)
    z = x @ W1 + params["b1"]
    s = 1 / (1 + np.exp(-z))
    a = z * s
    h = a * mask / 0.75
    e = (h @ w2)[:, 0] - y
    small = np.abs(e) <= 0.8
    loss = np.mean(np.where(small, 0.5 * e**2, 0.8 * (np.abs(e) - 0.4)))
    de = np.where(small, e, 0.8 * np.sign(e)) / n
    dw2 = h.T @ de[:, None]
    dh = np.outer(de, w2[:, 0])
    da = dh * mask / 0.75
    dz = da * (s + z * s * (1 - s))
    dW1 = x.T @ dz
    db1 = dz.sum(axis=0)
    return loss, {"W1": dW1, "b1": db1, "w2": dw2}


def problem(rng):
    params = {"W1": rng.normal(size=(3, 6)), "b1": rng.normal(size=6), "w2": rng.normal(size=(6, 1))}
    return params, (rng.normal(size=(9, 3)), rng.normal(size=9), (rng.uniform(size=(9, 6)) < 0.75).astype(float))


WRONG = [
    wrong(
        "mask_forgotten_backwards",
        "missing-path|missing-derivative|wrong-operand",
        "da = dh * mask / 0.75",
        "da = dh / 0.75",
    ),
    wrong(
        "mask_scale_forgotten_backwards", "wrong-scale|missing-derivative", "da = dh * mask / 0.75", "da = dh * mask"
    ),
    wrong(
        "dropout_forgotten_backwards",
        "missing-derivative|missing-path|different-function|wrong-scale",
        "da = dh * mask / 0.75",
        "da = dh",
    ),
    wrong("kept_units_in_the_weights", "wrong-operand", "dw2 = h.T @ de[:, None]", "dw2 = a.T @ de[:, None]"),
    wrong(
        "unscaled_units_in_the_weights",
        "wrong-operand|wrong-scale",
        "dw2 = h.T @ de[:, None]",
        "dw2 = (a * mask).T @ de[:, None]",
    ),
    wrong("silu_derivative_forgotten", "missing-derivative", "dz = da * (s + z * s * (1 - s))", "dz = da"),
    wrong(
        "sigmoid_for_silu_slope",
        "different-function|missing-path|missing-derivative",
        "da * (s + z * s * (1 - s))",
        "da * s * (1 - s)",
    ),
    wrong("gate_as_constant", "missing-path|different-function", "da * (s + z * s * (1 - s))", "da * s"),
    wrong("relu_slope_for_silu", "different-function", "da * (s + z * s * (1 - s))", "da * (z > 0)"),
    wrong(
        "silu_derivative_at_activation",
        "derivative-at-wrong-point",
        "dz = da * (s + z * s * (1 - s))",
        "q = 1 / (1 + np.exp(-a))\n    dz = da * (q + a * q * (1 - q))",
    ),
    wrong(
        "squared_error_in_gradient",
        "different-function|missing-derivative",
        "np.where(small, e, 0.8 * np.sign(e)) / n",
        "e / n",
    ),
    wrong(
        "delta_forgotten_in_gradient",
        "different-function|wrong-scale|missing-path",
        "0.8 * np.sign(e)) / n",
        "np.sign(e)) / n",
    ),
    wrong("two_too_many", "wrong-scale", "0.8 * np.sign(e)) / n", "0.8 * np.sign(e)) / n * 2"),
    wrong("not_averaged", "wrong-scale|wrong-reduction", "0.8 * np.sign(e)) / n", "0.8 * np.sign(e))"),
    wrong("target_less_prediction", "wrong-sign", "de = np.where", "de = -np.where"),
    wrong(
        "targets_as_column_in_cost",
        "broadcast|wrong-loss",
        "np.mean(np.where(small, 0.5 * e**2, 0.8 * (np.abs(e) - 0.4)))",
        "(lambda d: np.mean(np.where(np.abs(d) <= 0.8, 0.5 * d**2, 0.8 * (np.abs(d) - 0.4))))(h @ w2 - y)",
    ),
    wrong(
        "another_delta_in_both",
        "different-function|wrong-hyperparameter",
        "np.abs(e) <= 0.8",
        "np.abs(e) <= 1",
        "0.8 * (np.abs(e) - 0.4)",
        "np.abs(e) - 0.5",
        "0.8 * np.sign(e)",
        "np.sign(e)",
    ),
    wrong("squared_error_in_both", "different-function", "small = np.abs(e) <= 0.8", "small = np.abs(e) >= 0"),
    wrong(
        "dropout_unscaled_in_both",
        "different-function|wrong-scale",
        "h = a * mask / 0.75",
        "h = a * mask",
        "da = dh * mask / 0.75",
        "da = dh * mask",
    ),
    wrong(
        "elu_for_silu_in_both",
        "different-function",
        "a = z * s",
        "a = np.where(z > 0, z, np.exp(z) - 1)",
        "da * (s + z * s * (1 - s))",
        "da * np.where(z > 0, 1, np.exp(z))",
    ),
    wrong("linear_part_in_cost_too_high", "wrong-loss", "0.8 * (np.abs(e) - 0.4)", "0.8 * np.abs(e)"),
]

TOGETHER = [
    ("kept_units_in_the_weights", "silu_derivative_forgotten"),
    ("two_too_many", "mask_forgotten_backwards"),
    ("linear_part_in_cost_too_high", "silu_derivative_forgotten"),
    ("mask_scale_forgotten_backwards", "silu_derivative_at_activation"),
    ("target_less_prediction", "kept_units_in_the_weights"),
    ("two_too_many", "kept_units_in_the_weights", "silu_derivative_forgotten"),
]

RIGHT = [
    right("clip", "np.where(small, e, 0.8 * np.sign(e)) / n", "np.clip(e, -0.8, 0.8) / n"),
    right("silu_slope_other_form", "da * (s + z * s * (1 - s))", "da * s * (1 + z * (1 - s))"),
]
