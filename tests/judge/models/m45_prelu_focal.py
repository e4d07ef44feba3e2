"""A rare class found by the focal loss: PReLU units with learned slopes, one logit, hard samples weighted up."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, y):
    h = F.prelu(x @ params["W"] + params["b"], params["slope"])
    logit = (h @ params["w"]).squeeze(1) + params["c"]
    log_p = -F.binary_cross_entropy_with_logits(logit, y, reduction="none")
    weight = torch.where(y == 1, 0.75, 0.25).to(logit.dtype)
    return -(weight * (1 - log_p.exp()) ** 2 * log_p).mean()


def candidate(params, x, y):
    W, slope, w = params["W"], params["slope"], params["w"]
    z = x.dot(W) + params["b"]
    h = np.where(z > 0, z, slope * z)
    logit = h.dot(w)[:, 0] + params["c"]
    side = 2 * y - 1
    p = 1 / (1 + np.exp(-side * logit))
    weight = 0.25 + 0.5 * y
    loss = -np.mean(weight * (1 - p) ** 2 * np.log(p))

    dp = -weight * ((1 - p) ** 2 / p - 2 * (1 - p) * np.log(p))
    dlogit = dp * p * (1 - p) * side / len(y)
    dw = h.T.dot(dlogit[:, None])
    dc = dlogit.sum()
    dh = np.outer(dlogit, w)
    dslope = np.sum(dh * np.minimum(z, 0), axis=0)
    dz = np.where(z > 0, dh, slope * dh)
    dW = x.T.dot(dz)
    db = dz.sum(axis=0)
    return loss, {"W": dW, "b": db, "slope": dslope, "w": dw, "c": dc}


def problem(rng):
    params = {
        "W": rng.normal(size=(3, 5)),
        "b": rng.normal(size=5) * 0.5,
        "slope": rng.uniform(0.1, 0.7, size=5),
        "w": rng.normal(size=(5, 1)),
        "c": np.array(0.4),
    }
    return params, (rng.normal(size=(8, 3)), np.array([0.0, 1, 0, 0, 1, 1, 0, 1]))


WRONG = [
    wrong(
        "focus_as_constant",
        "missing-path",
        "((1 - p) ** 2 / p - 2 * (1 - p) * np.log(p))",
        "((1 - p) ** 2 / p)",
    ),
    wrong(
        "logarithm_as_constant",
        "missing-path",
        "((1 - p) ** 2 / p - 2 * (1 - p) * np.log(p))",
        "(-2 * (1 - p) * np.log(p))",
    ),
    wrong(
        "exponent_forgotten",
        "wrong-scale|missing-derivative",
        "- 2 * (1 - p) * np.log(p))",
        "- (1 - p) * np.log(p))",
    ),
    wrong("focus_sign", "wrong-sign", "/ p - 2 * (1 - p)", "/ p + 2 * (1 - p)"),
    wrong("sigmoid_slope_forgotten", "missing-derivative", "dp * p * (1 - p) * side", "dp * side"),
    wrong("side_forgotten", "missing-derivative", "p * (1 - p) * side / len", "p * (1 - p) / len"),
    wrong("class_weights_forgotten_backwards", "missing-derivative", "dp = -weight * (", "dp = -1.0 * ("),
    wrong(
        "class_weights_exchanged_backwards",
        "wrong-operand",
        "dp = -weight * (",
        "dp = -(1 - weight) * (",
    ),
    wrong(
        "plain_cross_entropy_backwards",
        "different-function",
        "dp = -weight * ((1 - p) ** 2 / p - 2 * (1 - p) * np.log(p))",
        "dp = -weight / p",
    ),
    wrong("slopes_from_the_output", "wrong-operand", "dh * np.minimum(z, 0)", "dh * np.minimum(h, 0)"),
    wrong(
        "slopes_everywhere",
        "missing-derivative|different-function|wrong-operand",
        "dh * np.minimum(z, 0)",
        "dh * z",
    ),
    wrong(
        "slopes_of_last_sample",
        "one-sample-only",
        "np.sum(dh * np.minimum(z, 0), axis=0)",
        "(dh * np.minimum(z, 0))[-1]",
    ),
    wrong("relu_slope_for_prelu", "different-function", "np.where(z > 0, dh, slope * dh)", "np.where(z > 0, dh, 0)"),
    wrong("prelu_slope_forgotten", "missing-derivative", "dz = np.where(z > 0, dh, slope * dh)", "dz = dh"),
    wrong(
        "prelu_slope_twice", "extra-derivative", "np.where(z > 0, dh, slope * dh)", "np.where(z > 0, dh, slope**2 * dh)"
    ),
    wrong("slope_as_scalar", "wrong-shape", "np.sum(dh * np.minimum(z, 0), axis=0)", "np.sum(dh * np.minimum(z, 0))"),
    wrong(
        "column_meets_row",
        "broadcast",
        'h.dot(w)[:, 0] + params["c"]',
        'h.dot(w) + params["c"]',
        "dlogit = dp * p * (1 - p) * side / len(y)",
        "dlogit = np.mean(dp * p * (1 - p) * side, axis=1) / len(y)",
    ),
    wrong(
        "exponential_units_in_both",
        "different-function",
        "h = np.where(z > 0, z, slope * z)",
        "h = np.where(z > 0, z, slope * np.expm1(np.minimum(z, 0)))",
        "dh * np.minimum(z, 0)",
        "dh * np.expm1(np.minimum(z, 0))",
        "np.where(z > 0, dh, slope * dh)",
        "np.where(z > 0, dh, slope * np.exp(np.minimum(z, 0)) * dh)",
    ),
    wrong(
        "linear_focus_in_both",
        "different-function",
        "(1 - p) ** 2 * np.log(p))",
        "(1 - p) * np.log(p))",
        "((1 - p) ** 2 / p - 2 * (1 - p) * np.log(p))",
        "((1 - p) / p - np.log(p))",
    ),
    wrong(
        "focus_forgotten_in_cost",
        "wrong-loss",
        "-np.mean(weight * (1 - p) ** 2 * np.log(p))",
        "-np.mean(weight * np.log(p))",
    ),
]

TOGETHER = [
    ("focus_as_constant", "prelu_slope_forgotten"),
    ("class_weights_forgotten_backwards", "slopes_from_the_output"),
    ("exponent_forgotten", "slopes_of_last_sample"),
    ("sigmoid_slope_forgotten", "prelu_slope_twice"),
    ("focus_sign", "relu_slope_for_prelu", "slopes_of_last_sample"),
]

RIGHT = [
    right(
        "straight_to_the_logit",
        "dp = -weight * ((1 - p) ** 2 / p - 2 * (1 - p) * np.log(p))",
        "q = 1 - p",
        "dlogit = dp * p * (1 - p) * side / len(y)",
        "dlogit = weight * side * q**2 * (2 * p * np.log(p) - q) / len(y)",
    ),
    right(
        "sample_by_sample",
        "    dslope = np.sum(dh * np.minimum(z, 0), axis=0)\n",
        "    dslope = 0\n    for dh_i, z_i in zip(dh, z):\n        dslope = dslope + dh_i * z_i * (z_i <= 0)\n",
    ),
]
