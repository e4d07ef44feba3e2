"""A mixture of Gaussians: Cholesky factors with exponentiated diagonals, softmax weights, two priors."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x):
    log_weights = F.log_softmax(params["logits"], dim=0)
    log_diagonal = params["C"].diagonal(dim1=-2, dim2=-1)
    scale = params["C"].tril(-1) + torch.diag_embed(log_diagonal.exp())
    apart = (x - params["mu"].unsqueeze(1)).mT
    standard = torch.linalg.solve_triangular(scale, apart, upper=False)
    log_density = -0.5 * (standard.square().sum(dim=1) + x.shape[1] * math.log(2 * math.pi))
    log_density = log_density - log_diagonal.sum(dim=1, keepdim=True)
    return {
        "likelihood": -torch.logsumexp(log_weights.unsqueeze(1) + log_density, dim=0).mean(),
        "weights": -0.4 * log_weights.sum(),
        "spread": 0.08 * scale.square().sum() - 0.3 * log_diagonal.sum(),
    }


def logsumexp(a):
    top = a.max(axis=-1, keepdims=True)
    return np.log(np.sum(np.exp(a - top), axis=-1, keepdims=True)) + top


def cholesky_factor(raw):
    L = np.tril(raw, -1)
    np.fill_diagonal(L, np.exp(np.diag(raw)))
    return L


def candidate(params, x, alpha=1.4, gamma=0.4, m=0.3):
    logits, mu, C = params["logits"], params["mu"], params["C"]
    n, dim = x.shape
    K = len(logits)
    log_pi = logits - logsumexp(logits)
    factors, whitened = [], []
    joint = np.zeros((n, K))
    for k in range(K):
        L = cholesky_factor(C[k])
        z = np.linalg.solve(L, (x - mu[k]).T).T
        half_log_det = np.sum(np.diag(C[k]))
        constant = 0.5 * dim * np.log(2 * np.pi)
        joint[:, k] = log_pi[k] - constant - half_log_det - 0.5 * np.sum(z**2, axis=1)
        factors.append(L)
        whitened.append(z)
    evidence = logsumexp(joint)
    size = sum(np.sum(L**2) for L in factors)
    spread = 0.5 * gamma**2 * size - m * np.trace(C, axis1=1, axis2=2).sum()
    loss = -np.mean(evidence) - (alpha - 1) * np.sum(log_pi) + spread

    r = np.exp(joint - evidence)
    pi = np.exp(log_pi)
    dlogits = pi - r.mean(axis=0)
    dlogits -= (alpha - 1) * (1 - K * pi)
    dmu = np.zeros_like(mu)
    dC = np.zeros_like(C)
    for k in range(K):
        L, z = factors[k], whitened[k]
        dz = r[:, k : k + 1] * z / n
        back = np.linalg.solve(L.T, dz.T).T
        dmu[k] = -back.sum(axis=0)
        dL = gamma**2 * L - back.T @ z
        dC[k] = np.tril(dL)
        # the diagonal is stored as its logarithm, and stands in the determinant and the prior
        ddiag = np.diag(dL) * np.diag(L)
        ddiag = ddiag + r[:, k].mean() - m
        np.fill_diagonal(dC[k], ddiag)
    return loss, {"logits": dlogits, "mu": dmu, "C": dC}


def problem(rng):
    params = {
        "logits": rng.normal(size=3) * 0.6,
        "mu": rng.normal(size=(3, 4)) * 0.8,
        "C": rng.normal(size=(3, 4, 4)) * 0.35,
    }
    return params, (rng.normal(size=(9, 4)) * 1.2,)


WRONG = [
    wrong(
        "determinant_forgotten",
        "missing-path",
        "ddiag = ddiag + r[:, k].mean() - m",
        "ddiag = ddiag - m",
    ),
    wrong(
        "slope_of_the_exponential_forgotten",
        "missing-derivative",
        "ddiag = np.diag(dL) * np.diag(L)",
        "ddiag = np.diag(dL)",
    ),
    wrong(
        "upper_triangle_learns_too",
        "missing-derivative|different-function",
        "dC[k] = np.tril(dL)",
        "dC[k] = dL",
    ),
    wrong(
        "factor_not_transposed",
        "not-transposed",
        "back = np.linalg.solve(L.T, dz.T).T",
        "back = np.linalg.solve(L, dz.T).T",
    ),
    wrong(
        "normaliser_of_the_weights_forgotten",
        "missing-path|diagonal-jacobian",
        "dlogits = pi - r.mean(axis=0)",
        "dlogits = -r.mean(axis=0)",
    ),
    wrong(
        "responsibilities_without_the_weights",
        "wrong-operand|missing-path",
        "r = np.exp(joint - evidence)",
        "r = np.exp(joint - log_pi - logsumexp(joint - log_pi))",
    ),
    wrong(
        "responsibilities_normalised_over_the_samples",
        "wrong-axis",
        "r = np.exp(joint - evidence)",
        "r = np.exp(joint - logsumexp(joint.T).T)",
    ),
    wrong(
        "root_of_two_pi_for_one_dimension_in_cost",
        "wrong-loss",
        "constant = 0.5 * dim * np.log(2 * np.pi)",
        "constant = 0.5 * np.log(2 * np.pi)",
    ),
    wrong(
        "half_of_the_factors_determinant_in_both",
        "wrong-scale|different-function",
        "constant - half_log_det",
        "constant - 0.5 * half_log_det",
        "ddiag + r[:, k].mean()",
        "ddiag + 0.5 * r[:, k].mean()",
    ),
    wrong(
        "means_by_the_whitened_differences",
        "missing-derivative|wrong-operand",
        "dmu[k] = -back.sum(axis=0)",
        "dmu[k] = -dz.sum(axis=0)",
    ),
    wrong(
        "outer_product_the_other_way_round",
        "transposed|wrong-operand",
        "back.T @ z",
        "z.T @ back",
    ),
    wrong(
        "softmax_of_the_prior_unit_by_unit",
        "diagonal-jacobian|missing-path",
        "(1 - K * pi)",
        "(1 - pi)",
    ),
    wrong(
        "spread_of_the_stored_numbers",
        "wrong-operand|derivative-at-wrong-point",
        "dL = gamma**2 * L - ",
        "dL = gamma**2 * C[k] - ",
    ),
    wrong(
        "nearest_component_takes_all_in_both",
        "different-function",
        "evidence = logsumexp(joint)",
        "evidence = joint.max(axis=1, keepdims=True)",
        "r = np.exp(joint - evidence)",
        "r = (joint == evidence).astype(float)",
    ),
    wrong(
        "diagonal_added_to_its_exponential_in_both",
        "different-function|wrong-operand",
        "    L = np.tril(raw, -1)\n    np.fill_diagonal(L, np.exp(np.diag(raw)))\n",
        "    L = np.tril(raw) + np.diag(np.exp(np.diag(raw)))\n",
        "ddiag = np.diag(dL) * np.diag(L)",
        "ddiag = np.diag(dL) * (1 + np.exp(np.diag(C[k])))",
    ),
    wrong(
        "whitened_samples_left_from_the_first_loop",
        "wrong-operand|last-step-only|shifted-in-time",
        "L, z = factors[k], whitened[k]",
        "L = factors[k]",
    ),
]

TOGETHER = [
    ("determinant_forgotten", "factor_not_transposed"),
    ("slope_of_the_exponential_forgotten", "normaliser_of_the_weights_forgotten"),
    ("means_by_the_whitened_differences", "spread_of_the_stored_numbers"),
    ("responsibilities_without_the_weights", "slope_of_the_exponential_forgotten"),
    ("upper_triangle_learns_too", "softmax_of_the_prior_unit_by_unit"),
    ("responsibilities_normalised_over_the_samples", "determinant_forgotten"),
    (
        "factor_not_transposed",
        "softmax_of_the_prior_unit_by_unit",
        "determinant_forgotten",
    ),
    (
        "outer_product_the_other_way_round",
        "means_by_the_whitened_differences",
        "normaliser_of_the_weights_forgotten",
    ),
]

RIGHT = [
    right(
        "by_precision_and_scatter",
        "        dz = r[:, k : k + 1] * z / n\n"
        "        back = np.linalg.solve(L.T, dz.T).T\n"
        "        dmu[k] = -back.sum(axis=0)\n"
        "        dL = gamma**2 * L - back.T @ z\n",
        "        inverse = np.linalg.inv(L)\n"
        "        precision = inverse.T @ inverse\n"
        "        centred = x - mu[k]\n"
        "        dmu[k] = -precision @ (r[:, k] @ centred) / n\n"
        "        scatter = (centred * r[:, k, None]).T @ centred / n\n"
        "        dL = gamma**2 * L - precision @ scatter @ inverse.T\n",
        "L, z = factors[k], whitened[k]",
        "L = factors[k]",
    ),
    right(
        "one_sample_after_the_other",
        "        dz = r[:, k : k + 1] * z / n\n"
        "        back = np.linalg.solve(L.T, dz.T).T\n"
        "        dmu[k] = -back.sum(axis=0)\n"
        "        dL = gamma**2 * L - back.T @ z\n",
        "        dL = gamma**2 * L\n"
        "        for i in range(n):\n"
        "            g = r[i, k] / n * np.linalg.solve(L.T, z[i])\n"
        "            dmu[k] -= g\n"
        "            dL -= np.outer(g, z[i])\n",
    ),
    right(
        "all_components_at_once",
        "    for k in range(K):\n"
        "        L, z = factors[k], whitened[k]\n"
        "        dz = r[:, k : k + 1] * z / n\n"
        "        back = np.linalg.solve(L.T, dz.T).T\n"
        "        dmu[k] = -back.sum(axis=0)\n"
        "        dL = gamma**2 * L - back.T @ z\n"
        "        dC[k] = np.tril(dL)\n"
        "        # the diagonal is stored as its logarithm, and stands in the determinant and the prior\n"
        "        ddiag = np.diag(dL) * np.diag(L)\n"
        "        ddiag = ddiag + r[:, k].mean() - m\n"
        "        np.fill_diagonal(dC[k], ddiag)\n",
        "    L, z = np.stack(factors), np.stack(whitened)\n"
        "    back = np.linalg.solve(L.swapaxes(1, 2), (r.T[:, :, None] * z / n).swapaxes(1, 2))\n"
        "    dmu -= back.sum(axis=2)\n"
        "    dC += gamma**2 * L - back @ z\n"
        "    dC *= np.tri(dim)\n"
        "    # the diagonal is stored as its logarithm\n"
        "    diagonal = np.einsum('kdd->kd', dC)\n"
        "    diagonal *= np.einsum('kdd->kd', L)\n"
        "    diagonal += r.mean(axis=0)[:, None] - m\n",
    ),
]
