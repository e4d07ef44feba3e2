"""A contractive autoencoder: sigmoid both ways, squared error, the squared norm of the encoder's Jacobian."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, x):
    h = torch.sigmoid(x @ params["W"] + params["b"])
    back = torch.sigmoid(h @ params["V"] + params["c"])
    jacobian = (h * (1 - h))[:, :, None] * params["W"].T
    return {
        "reconstruction": ((back - x) ** 2).sum(dim=1).mean(),
        "contraction": 0.3 * (jacobian**2).sum(dim=(1, 2)).mean(),
    }


def sigmoid(a):
    return 1.0 / (1.0 + np.exp(-a))


def encode(params, x):
    return sigmoid(np.dot(x, params["W"]) + params["b"])


def decode(params, h):
    return sigmoid(np.dot(h, params["V"]) + params["c"])


def contraction(h, W):
    # the Jacobian of a unit is its slope times its column of weights
    slope = h * (1 - h)
    norms = np.sum(W**2, axis=0)
    return slope, norms, np.sum(slope**2 * norms, axis=1)


def candidate(params, x, lam=0.3):
    n = x.shape[0]
    W, V = params["W"], params["V"]
    h = encode(params, x)
    x_hat = decode(params, h)
    slope, norms, penalty = contraction(h, W)
    reconstruction = np.sum((x_hat - x) ** 2) / n
    loss = reconstruction + lam * np.mean(penalty)

    grads = {}
    # decoder
    d_out = 2 * (x_hat - x) / n
    d_out = d_out * x_hat * (1 - x_hat)
    grads["V"] = np.dot(h.T, d_out)
    grads["c"] = d_out.sum(axis=0)
    d_h = np.dot(d_out, V.T)
    # the penalty reaches the encoder by its slopes and by its weights
    d_slope = lam / n * 2 * slope * norms
    d_h += d_slope * (1 - 2 * h)
    d_a = d_h * slope
    grads["W"] = np.dot(x.T, d_a)
    grads["b"] = d_a.sum(axis=0)
    grads["W"] += lam / n * 2 * W * np.sum(slope**2, axis=0)
    return loss, grads


def problem(rng):
    n, inputs, units = 6, 5, 3
    params = {
        "W": rng.normal(size=(inputs, units)) * 0.9,
        "b": rng.normal(size=units) * 0.6,
        "V": rng.normal(size=(units, inputs)) * 0.8,
        "c": rng.normal(size=inputs) * 0.4,
    }
    return params, (rng.uniform(0.05, 0.95, size=(n, inputs)),)


WRONG = [
    wrong(
        "penalty_reaches_the_slopes_only",
        "missing-path",
        '    grads["W"] += lam / n * 2 * W * np.sum(slope**2, axis=0)\n',
        "",
    ),
    wrong(
        "penalty_reaches_the_weights_only",
        "missing-path",
        "    d_h += d_slope * (1 - 2 * h)\n",
        "",
    ),
    wrong(
        "slope_of_the_slope_forgotten",
        "missing-derivative",
        "d_h += d_slope * (1 - 2 * h)",
        "d_h += d_slope",
    ),
    wrong(
        "slope_of_the_slope_turned_round",
        "wrong-sign",
        "d_h += d_slope * (1 - 2 * h)",
        "d_h += d_slope * (2 * h - 1)",
    ),
    wrong(
        "slope_derived_with_itself_again",
        "wrong-operand|different-function",
        "d_h += d_slope * (1 - 2 * h)",
        "d_h += d_slope * slope",
    ),
    wrong(
        "penalty_joined_behind_the_slope",
        "missing-derivative",
        "    d_h += d_slope * (1 - 2 * h)\n    d_a = d_h * slope\n",
        "    d_a = d_h * slope\n    d_a += d_slope * (1 - 2 * h)\n",
    ),
    wrong(
        "weights_summed_and_then_squared_in_both",
        "different-function",
        "norms = np.sum(W**2, axis=0)",
        "norms = np.sum(W, axis=0) ** 2",
        "lam / n * 2 * W * np.sum(slope**2, axis=0)",
        "lam / n * 2 * W.sum(axis=0) * np.sum(slope**2, axis=0)",
    ),
    wrong(
        "penalty_of_the_weights_not_averaged",
        "wrong-scale|wrong-reduction",
        "lam / n * 2 * W * np.sum(slope**2, axis=0)",
        "lam * 2 * W * np.sum(slope**2, axis=0)",
    ),
    wrong(
        "output_slope_forgotten",
        "missing-derivative",
        "    d_out = d_out * x_hat * (1 - x_hat)\n",
        "",
    ),
    wrong(
        "two_from_the_squared_error_forgotten",
        "wrong-term-weight|wrong-scale",
        "d_out = 2 * (x_hat - x) / n",
        "d_out = (x_hat - x) / n",
    ),
    wrong(
        "contraction_weight_forgotten_on_one_route",
        "wrong-scale",
        "d_slope = lam / n * 2 * slope * norms",
        "d_slope = 1 / n * 2 * slope * norms",
    ),
    wrong(
        "error_averaged_over_pixels_in_cost",
        "wrong-loss",
        "reconstruction = np.sum((x_hat - x) ** 2) / n",
        "reconstruction = np.mean((x_hat - x) ** 2)",
    ),
]

TOGETHER = [
    ("penalty_reaches_the_slopes_only", "output_slope_forgotten"),
    ("slope_of_the_slope_forgotten", "two_from_the_squared_error_forgotten"),
    ("slope_of_the_slope_turned_round", "penalty_of_the_weights_not_averaged"),
    ("weights_summed_and_then_squared_in_both", "contraction_weight_forgotten_on_one_route"),
]

RIGHT = [
    right(
        "jacobians_written_out",
        "    return slope, norms, np.sum(slope**2 * norms, axis=1)",
        "    jacobian = slope[:, :, None] * W.T\n    return slope, norms, np.sum(jacobian**2, axis=(1, 2))",
        "lam / n * 2 * W * np.sum(slope**2, axis=0)",
        'lam / n * 2 * np.einsum("nu,iu->iu", slope**2, W)',
    ),
]
