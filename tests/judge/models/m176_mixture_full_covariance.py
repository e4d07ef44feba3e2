"""A mixture of Gaussians with full covariances from factors, fitted by gradients component by component."""

import math

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, x):
    L, d = params["factor"], x.shape[1]
    cov = L @ L.mT + 0.3 * torch.eye(d, dtype=x.dtype)
    chol = torch.linalg.cholesky(cov)
    gap = (x.unsqueeze(1) - params["mu"]).unsqueeze(3)
    white = torch.linalg.solve_triangular(chol, gap, upper=False).squeeze(3)
    log_det = 2 * chol.diagonal(dim1=1, dim2=2).log().sum(dim=1)
    log_normal = -0.5 * (white.square().sum(dim=2) + log_det + d * math.log(2 * math.pi))
    return -torch.logsumexp(torch.log_softmax(params["weight"], dim=0) + log_normal, dim=1).mean()


def density(x, mu, cov):
    """The densities of all rows, with their distances to the mean and the inverse covariance."""
    diff = x - mu
    inv = np.linalg.inv(cov)
    quad = np.sum(diff @ inv * diff, axis=1)
    norm = np.sqrt((2 * np.pi) ** x.shape[1] * np.linalg.det(cov))
    return np.exp(-0.5 * quad) / norm, diff, inv


def candidate(params, x):
    weight, mu, factor = params["weight"], params["mu"], params["factor"]
    n, d = x.shape
    groups = len(mu)
    rho = np.exp(weight - weight.max())
    rho = rho / rho.sum()
    G = np.zeros((n, groups))
    diffs, invs = [], []
    for k in range(groups):
        cov = factor[k] @ factor[k].T + 0.3 * np.eye(d)
        value, diff, inv = density(x, mu[k], cov)
        G[:, k] = rho[k] * value
        diffs.append(diff)
        invs.append(inv)
    M = G.sum(axis=1)
    loss = -np.log(M).mean()

    share = G / M[:, None]
    dweight = rho - share.mean(axis=0)
    dmu, dfactor = np.zeros_like(mu), np.zeros_like(factor)
    for k in range(groups):
        dsigma = np.zeros((d, d))
        for i in range(n):
            diff = diffs[k][i]
            dmu[k] -= share[i, k] * invs[k] @ diff / n
            outer = np.outer(diff, diff)
            dsigma -= share[i, k] * 0.5 * (invs[k] @ outer @ invs[k] - invs[k]) / n
        dfactor[k] = (dsigma + dsigma.T) @ factor[k]
    return loss, {"weight": dweight, "mu": dmu, "factor": dfactor}


def problem(rng):
    n, groups, d = 7, 4, 3
    params = {
        "weight": rng.normal(size=groups) * 0.6,
        "mu": rng.normal(size=(groups, d)),
        "factor": rng.normal(size=(groups, d, d)) * 0.5 + 0.4 * np.eye(d),
    }
    return params, (rng.normal(size=(n, d)) * 1.3,)


WRONG = [
    wrong(
        "product_of_the_distance_with_itself_a_number",
        "different-function|wrong-operand",
        "outer = np.outer(diff, diff)",
        "outer = diff.dot(diff.transpose()) * np.eye(d)",
    ),
    wrong(
        "inverse_on_one_side_only",
        "missing-derivative",
        "(invs[k] @ outer @ invs[k] - invs[k])",
        "(invs[k] @ outer - invs[k])",
    ),
    wrong(
        "products_of_entries_instead_of_matrices",
        "different-function",
        "(invs[k] @ outer @ invs[k] - invs[k])",
        "(invs[k] * outer * invs[k] - invs[k])",
    ),
    wrong(
        "determinant_has_no_slope",
        "missing-path",
        "(invs[k] @ outer @ invs[k] - invs[k])",
        "(invs[k] @ outer @ invs[k])",
    ),
    wrong(
        "every_component_answers_for_every_point",
        "missing-derivative|wrong-operand",
        "dmu[k] -= share[i, k] * invs[k] @ diff / n",
        "dmu[k] -= invs[k] @ diff / n",
    ),
    wrong(
        "density_in_place_of_the_responsibility",
        "missing-derivative|wrong-operand",
        "share = G / M[:, None]",
        "share = G",
    ),
    wrong(
        "responsibilities_normalised_over_the_points",
        "wrong-axis",
        "share = G / M[:, None]",
        "share = G / G.sum(axis=0)",
    ),
    wrong(
        "distance_the_other_way_round",
        "wrong-sign",
        "dmu[k] -= share[i, k]",
        "dmu[k] += share[i, k]",
    ),
    wrong(
        "mixing_weights_as_if_free",
        "missing-derivative|different-function",
        "dweight = rho - share.mean(axis=0)",
        "dweight = -(share / rho).mean(axis=0)",
    ),
    wrong(
        "factor_slope_of_one_side_only",
        "missing-path|wrong-scale",
        "dfactor[k] = (dsigma + dsigma.T) @ factor[k]",
        "dfactor[k] = dsigma @ factor[k]",
    ),
    wrong(
        "factor_transposed_in_its_slope",
        "not-transposed",
        "dfactor[k] = (dsigma + dsigma.T) @ factor[k]",
        "dfactor[k] = (dsigma + dsigma.T) @ factor[k].T",
    ),
    wrong(
        "covariance_of_the_last_point_only",
        "overwritten|one-sample-only",
        "dsigma -= share[i, k] * 0.5 * (",
        "dsigma = -share[i, k] * 0.5 * (",
    ),
]

TOGETHER = [
    ("inverse_on_one_side_only", "factor_slope_of_one_side_only"),
    ("every_component_answers_for_every_point", "mixing_weights_as_if_free"),
    ("product_of_the_distance_with_itself_a_number", "distance_the_other_way_round"),
    ("determinant_has_no_slope", "factor_transposed_in_its_slope"),
]

RIGHT = [
    right(
        "all_points_at_once",
        "        dsigma = np.zeros((d, d))\n"
        "        for i in range(n):\n"
        "            diff = diffs[k][i]\n"
        "            dmu[k] -= share[i, k] * invs[k] @ diff / n\n"
        "            outer = np.outer(diff, diff)\n"
        "            dsigma -= share[i, k] * 0.5 * (invs[k] @ outer @ invs[k] - invs[k]) / n\n",
        "        pulled = diffs[k] @ invs[k]\n"
        "        dmu[k] = -share[:, k] @ pulled / n\n"
        "        dsigma = 0.5 * (share[:, k].sum() * invs[k] - (share[:, [k]] * pulled).T @ pulled) / n\n",
        "    dweight = rho - share.mean(axis=0)\n",
        "    dweight = (np.diag(rho) - np.outer(rho, rho)) @ -(share / rho).mean(axis=0)\n",
    ),
]
