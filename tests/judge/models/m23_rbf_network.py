"""A radial basis function network: distances to learned centres, widths of their own, root mean square error."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, x, y):
    difference = x[:, None, :] - params["centres"]
    distance = torch.pow(difference, 2).sum(dim=2)
    phi = torch.exp(-params["beta"] * distance)
    normalised = phi / phi.sum(dim=1, keepdim=True)
    prediction = normalised @ params["w"]
    return torch.sqrt(torch.mean((prediction - y) ** 2))


def candidate(params, x, y):
    centres, beta, w = params["centres"], params["beta"], params["w"]
    n = len(y)
    diff = x[:, None, :] - centres
    dist = np.sum(diff**2, axis=2)
    phi = np.exp(-beta * dist)
    total = phi.sum(axis=1, keepdims=True)
    p = phi / total
    e = p @ w - y
    loss = np.sqrt(np.mean(e**2))
    dpred = e / (n * loss)
    dw = p.T @ dpred
    dp = np.outer(dpred, w)
    dphi = (dp - np.sum(dp * p, axis=1, keepdims=True)) / total
    da = dphi * phi
    dbeta = -np.sum(da * dist, axis=0)
    ddist = -da * beta
    dcentres = -2 * np.sum(ddist[:, :, None] * diff, axis=0)
    return loss, {"centres": dcentres, "beta": dbeta, "w": dw}


def problem(rng):
    params = {"centres": rng.normal(size=(5, 2)), "beta": rng.uniform(0.3, 1.2, size=5), "w": rng.normal(size=5) * 2}
    return params, (rng.normal(size=(11, 2)), rng.normal(size=11))


WRONG = [
    wrong("exponential_forgotten", "missing-derivative", "da = dphi * phi", "da = dphi"),
    wrong("exponential_twice", "extra-derivative", "da = dphi * phi", "da = dphi * phi * phi"),
    wrong(
        "normaliser_as_constant",
        "diagonal-jacobian|missing-path",
        "(dp - np.sum(dp * p, axis=1, keepdims=True)) / total",
        "dp / total",
    ),
    wrong("not_divided_by_total", "missing-derivative|missing-path", "keepdims=True)) / total", "keepdims=True))"),
    wrong(
        "normaliser_over_samples",
        "wrong-axis",
        "np.sum(dp * p, axis=1, keepdims=True)",
        "np.sum(dp * p, axis=0, keepdims=True)",
    ),
    wrong("two_forgotten_in_centres", "wrong-scale|missing-derivative", "dcentres = -2 *", "dcentres = -"),
    wrong("centres_sign", "wrong-sign", "dcentres = -2 *", "dcentres = 2 *"),
    wrong("beta_sign", "wrong-sign", "dbeta = -np", "dbeta = np"),
    wrong(
        "beta_forgotten_in_centres",
        "missing-derivative|missing-path|wrong-operand",
        "ddist = -da * beta",
        "ddist = -da",
    ),
    wrong("root_forgotten", "missing-derivative|wrong-scale", "dpred = e / (n * loss)", "dpred = 2 * e / n"),
    wrong("root_half_forgotten", "wrong-scale", "dpred = e / (n * loss)", "dpred = 2 * e / (n * loss)"),
    wrong("root_not_averaged", "wrong-scale|wrong-reduction", "e / (n * loss)", "e / loss"),
    wrong("each_sample_its_own_root", "different-function", "e / (n * loss)", "np.sign(e) / n"),
    wrong("w_from_the_unnormalised", "wrong-operand", "dw = p.T @ dpred", "dw = phi.T @ dpred"),
    wrong(
        "centres_from_inputs",
        "missing-path|wrong-operand",
        "np.sum(ddist[:, :, None] * diff, axis=0)",
        "np.sum(ddist[:, :, None] * x[:, None], axis=0)",
    ),
    wrong("widths_of_first_sample", "one-sample-only", "dbeta = -np.sum(da * dist, axis=0)", "dbeta = -(da * dist)[0]"),
    wrong("widths_averaged", "wrong-scale|wrong-reduction", "dbeta = -np.sum(", "dbeta = -np.mean("),
    wrong(
        "mean_square_in_cost",
        "wrong-loss|different-function",
        "    loss = np.sqrt(np.mean(e**2))\n    dpred = e / (n * loss)",
        "    loss = np.mean(e**2)\n    dpred = e / (n * np.sqrt(loss))",
    ),
    wrong(
        "mean_square_in_both",
        "different-function|missing-path",
        "loss = np.sqrt(np.mean(e**2))",
        "loss = np.mean(e**2)",
        "e / (n * loss)",
        "2 * e / n",
    ),
    wrong(
        "normaliser_forgotten_in_both",
        "different-function|missing-path|wrong-operand",
        "p = phi / total",
        "p = phi",
        "dphi = (dp - np.sum(dp * p, axis=1, keepdims=True)) / total",
        "dphi = dp",
    ),
    wrong(
        "distance_not_squared_in_both",
        "different-function",
        "dist = np.sum(diff**2, axis=2)",
        "dist = np.sum(np.abs(diff), axis=2)",
        "-2 * np.sum(ddist[:, :, None] * diff, axis=0)",
        "-np.sum(ddist[:, :, None] * np.sign(diff), axis=0)",
    ),
]

TOGETHER = [
    ("normaliser_as_constant", "beta_sign"),
    ("exponential_forgotten", "root_half_forgotten"),
    ("two_forgotten_in_centres", "widths_averaged"),
    ("w_from_the_unnormalised", "exponential_twice"),
    ("w_from_the_unnormalised", "normaliser_as_constant", "widths_averaged"),
]

RIGHT = [
    right(
        "distances_by_products",
        "dist = np.sum(diff**2, axis=2)",
        "dist = np.sum(x**2, 1)[:, None] - 2 * x @ centres.T + np.sum(centres**2, 1)",
    ),
    right(
        "centre_by_centre",
        "dcentres = -2 * np.sum(ddist[:, :, None] * diff, axis=0)",
        "dcentres = np.array([-2 * ddist[:, j] @ diff[:, j] for j in range(len(centres))])",
    ),
]
