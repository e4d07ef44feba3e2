"""Heckman's selection model: wages seen only of those who work, a probit beside, one packed vector, survey weights."""

import math

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, X, Z, y, works, weight):
    theta = params["theta"]
    k, m = X.shape[1], Z.shape[1]
    beta, gamma = theta[:k], theta[k : k + m]
    log_sigma, rho = theta[k + m], torch.tanh(theta[k + m + 1])
    index = Z @ gamma
    e = (y - X @ beta) / torch.exp(log_sigma)
    normal = -0.5 * e**2 - 0.5 * math.log(2 * math.pi) - log_sigma
    seen = normal + torch.special.log_ndtr((index + rho * e) / torch.sqrt(1 - rho**2))
    unseen = torch.special.log_ndtr(-index)
    likelihood = -(weight * torch.where(works > 0, seen, unseen)).sum() / weight.sum()
    slopes = torch.cat([beta[1:], gamma[1:]])
    return {"likelihood": likelihood, "ridge": 0.08 * (slopes**2).sum()}


def pdf(v):
    return np.exp(-0.5 * v * v) / math.sqrt(2 * math.pi)


def cdf(v):
    return 0.5 * (1 + np.array([math.erf(one / math.sqrt(2)) for one in v]))


def imr(v):
    """Inverse Mills ratio: the derivative of log cdf."""
    return pdf(v) / cdf(v)


def unpack(theta, k, m):
    beta = theta[:k]
    gamma = theta[k : k + m]
    sigma = math.exp(theta[k + m])
    rho = math.tanh(theta[k + m + 1])
    return beta, gamma, sigma, rho


def candidate(params, X, Z, y, works, weight):
    theta = params["theta"]
    k, m = X.shape[1], Z.shape[1]
    beta, gamma, sigma, rho = unpack(theta, k, m)
    alpha = 0.08
    s1 = works > 0
    s0 = ~s1
    w = weight / weight.sum()
    root = math.sqrt(1 - rho**2)

    zg = Z @ gamma
    e = (y[s1] - X[s1] @ beta) / sigma
    v = (zg[s1] + rho * e) / root
    ll1 = np.log(cdf(v)) - 0.5 * e**2 - math.log(sigma) - 0.5 * math.log(2 * math.pi)
    ll0 = np.log(cdf(-zg[s0]))
    loss = -w[s1] @ ll1 - w[s0] @ ll0 + alpha * (beta[1:] @ beta[1:] + gamma[1:] @ gamma[1:])

    lam1 = imr(v)
    lam0 = imr(-zg[s0])
    score_e = lam1 * rho / root - e
    score_zg = np.zeros(len(y))
    score_zg[s1] = lam1 / root
    score_zg[s0] = -lam0
    score_rho = lam1 * (e + rho * zg[s1]) / root**3

    grad = np.zeros(len(theta))
    grad[:k] = X[s1].T @ (w[s1] * score_e) / sigma
    grad[k : k + m] = -Z.T @ (w * score_zg)
    grad[k + m] = w[s1] @ (score_e * e + 1)
    grad[k + m + 1] = -(w[s1] @ score_rho) * (1 - rho**2)
    grad[1:k] += 2 * alpha * beta[1:]
    grad[k + 1 : k + m] += 2 * alpha * gamma[1:]
    return loss, {"theta": grad}


def problem(rng):
    people = 14
    X = np.column_stack([np.ones(people), rng.normal(size=(people, 2))])
    Z = np.column_stack([np.ones(people), X[:, 1], rng.normal(size=(people, 2))])
    works = np.array([1, 0, 1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 0, 1]) * 1.0
    y = (1.0 + 0.6 * X[:, 1] + rng.normal(size=people)) * works
    weight = rng.uniform(0.4, 2.0, size=people)
    theta = np.concatenate([rng.normal(size=3) * 0.6, rng.normal(size=4) * 0.5, [0.3, 0.6]])
    return {"theta": theta}, (X, Z, y, works, weight)


WRONG = [
    wrong(
        "correlation_without_the_slope_of_tanh",
        "missing-derivative",
        "-(w[s1] @ score_rho) * (1 - rho**2)",
        "-(w[s1] @ score_rho)",
    ),
    wrong(
        "slope_of_tanh_at_the_correlation",
        "derivative-at-wrong-point",
        "-(w[s1] @ score_rho) * (1 - rho**2)",
        "-(w[s1] @ score_rho) * (1 - math.tanh(rho) ** 2)",
    ),
    wrong(
        "root_held_constant_for_the_correlation",
        "missing-path|different-function",
        "score_rho = lam1 * (e + rho * zg[s1]) / root**3",
        "score_rho = lam1 * e / root",
    ),
    wrong(
        "sigma_for_the_logarithm_of_sigma",
        "missing-derivative|extra-derivative|wrong-scale",
        "w[s1] @ (score_e * e + 1)",
        "w[s1] @ (score_e * e + 1) / sigma",
    ),
    wrong(
        "logarithm_of_sigma_not_felt",
        "missing-path",
        "w[s1] @ (score_e * e + 1)",
        "w[s1] @ (score_e * e)",
    ),
    wrong(
        "wages_not_divided_by_sigma_backwards",
        "missing-derivative|wrong-scale",
        "X[s1].T @ (w[s1] * score_e) / sigma",
        "X[s1].T @ (w[s1] * score_e)",
    ),
    wrong(
        "wages_do_not_tell_of_selection",
        "missing-path",
        "score_e = lam1 * rho / root - e",
        "score_e = -e",
    ),
    wrong(
        "those_who_stay_at_home_with_the_sign_of_workers",
        "wrong-sign",
        "score_zg[s0] = -lam0",
        "score_zg[s0] = lam0",
    ),
    wrong(
        "mills_ratio_of_the_plain_index",
        "wrong-operand|derivative-at-wrong-point",
        "lam1 = imr(v)",
        "lam1 = imr(zg[s1])",
    ),
    wrong(
        "mills_ratio_at_home_with_the_index_not_turned",
        "derivative-at-wrong-point|wrong-sign|wrong-operand",
        "lam0 = imr(-zg[s0])",
        "lam0 = imr(zg[s0])",
    ),
    wrong(
        "weights_forgotten_for_the_probit",
        "missing-derivative|wrong-operand|wrong-scale|wrong-reduction",
        "-Z.T @ (w * score_zg)",
        "-Z.T @ score_zg / len(y)",
    ),
    wrong(
        "intercept_of_the_wages_shrinks",
        "wrong-part-penalised",
        "grad[1:k] += 2 * alpha * beta[1:]",
        "grad[:k] += 2 * alpha * beta",
    ),
    wrong(
        "logistic_for_the_probit_at_home_in_both",
        "different-function",
        "ll0 = np.log(cdf(-zg[s0]))",
        "ll0 = -np.log1p(np.exp(zg[s0]))",
        "lam0 = imr(-zg[s0])",
        "lam0 = 1 / (1 + np.exp(-zg[s0]))",
    ),
    wrong(
        "weights_not_normalised_in_both",
        "wrong-reduction|wrong-scale|different-function|wrong-term-weight",
        "w = weight / weight.sum()",
        "w = weight / len(weight)",
    ),
]

TOGETHER = [
    ("correlation_without_the_slope_of_tanh", "sigma_for_the_logarithm_of_sigma"),
    ("slope_of_tanh_at_the_correlation", "wages_not_divided_by_sigma_backwards"),
    ("root_held_constant_for_the_correlation", "those_who_stay_at_home_with_the_sign_of_workers"),
    ("logarithm_of_sigma_not_felt", "intercept_of_the_wages_shrinks"),
    ("mills_ratio_at_home_with_the_index_not_turned", "wages_not_divided_by_sigma_backwards"),
    ("logistic_for_the_probit_at_home_in_both", "correlation_without_the_slope_of_tanh"),
    ("weights_forgotten_for_the_probit", "logarithm_of_sigma_not_felt"),
    ("wages_do_not_tell_of_selection", "mills_ratio_at_home_with_the_index_not_turned"),
    (
        "correlation_without_the_slope_of_tanh",
        "wages_not_divided_by_sigma_backwards",
        "those_who_stay_at_home_with_the_sign_of_workers",
    ),
    ("intercept_of_the_wages_shrinks", "sigma_for_the_logarithm_of_sigma", "root_held_constant_for_the_correlation"),
]

RIGHT = [
    right(
        "person_by_person",
        "    grad[k : k + m] = -Z.T @ (w * score_zg)\n",
        "    for i in range(len(y)):\n        grad[k : k + m] -= w[i] * score_zg[i] * Z[i]\n",
        "score_rho = lam1 * (e + rho * zg[s1]) / root**3",
        "score_rho = lam1 * (e / root + v * rho / root**2)",
        "-(w[s1] @ score_rho) * (1 - rho**2)",
        "-(w[s1] @ score_rho) / math.cosh(theta[k + m + 1]) ** 2",
    ),
    right(
        "weights_at_the_end",
        "w = weight / weight.sum()",
        "w = weight",
        "loss = -w[s1] @ ll1 - w[s0] @ ll0 +",
        "loss = -(w[s1] @ ll1 + w[s0] @ ll0) / w.sum() +",
        "    grad[1:k] += 2 * alpha * beta[1:]\n",
        "    grad /= w.sum()\n    grad[1:k] += 2 * alpha * beta[1:]\n",
    ),
]
