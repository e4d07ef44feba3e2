"""Beta regression of fractions: a probit link for the mean, a log link for the precision, a ridge on the slopes."""

import math

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, X, Z, y):
    mu = torch.special.ndtr(X @ params["beta"])
    phi = torch.exp(Z @ params["gamma"])
    each = torch.distributions.Beta(mu * phi, (1 - mu) * phi).log_prob(y)
    ridge = (params["beta"][1:] ** 2).sum() + (params["gamma"][1:] ** 2).sum()
    return {"likelihood": -each.mean(), "penalty": 0.15 * ridge}


def gammaln(a):
    return np.array([math.lgamma(v) for v in a])


def digamma(a):
    """By recurrence to large arguments, then by the asymptotic series."""
    total = np.zeros_like(a)
    a = a.copy()
    for _ in range(12):
        total -= 1 / a
        a += 1
    inv2 = 1 / a**2
    series = 1 / 12 - inv2 * (1 / 120 - inv2 * (1 / 252 - inv2 * (1 / 240 - inv2 * (1 / 132 - inv2 * 691 / 32760))))
    return total + np.log(a) - 0.5 / a - inv2 * series


def norm_cdf(z):
    return np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in z])


def norm_pdf(z):
    return np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)


def score_factors(y, mu, phi):
    """The derivatives of each log likelihood with respect to its mean and its precision."""
    a, b = mu * phi, (1 - mu) * phi
    star = np.log(y) - np.log1p(-y)
    by_mean = phi * (star - digamma(a) + digamma(b))
    by_precision = digamma(phi) - mu * digamma(a) - (1 - mu) * digamma(b) + mu * star + np.log1p(-y)
    return by_mean, by_precision


def candidate(params, X, Z, y, ridge=0.15):
    beta, gamma = params["beta"], params["gamma"]
    n = len(y)
    eta = X @ beta
    mu = norm_cdf(eta)
    phi = np.exp(Z @ gamma)
    a, b = mu * phi, (1 - mu) * phi
    each = gammaln(phi) - gammaln(a) - gammaln(b) + (a - 1) * np.log(y) + (b - 1) * np.log(1 - y)
    loss = -each.mean() + ridge * (np.sum(beta[1:] ** 2) + np.sum(gamma[1:] ** 2))

    by_mean, by_precision = score_factors(y, mu, phi)
    factor_mean = by_mean * norm_pdf(eta)
    factor_precision = by_precision * phi
    score_beta = factor_mean @ X
    score_gamma = factor_precision @ Z
    grad_beta = -score_beta / n
    grad_gamma = -score_gamma / n
    grad_beta[1:] += 2 * ridge * beta[1:]
    grad_gamma[1:] += 2 * ridge * gamma[1:]
    return loss, {"beta": grad_beta, "gamma": grad_gamma}


def problem(rng):
    n = 7
    X = np.hstack([np.ones((n, 1)), rng.normal(size=(n, 3))])
    Z = np.hstack([np.ones((n, 1)), rng.normal(size=(n, 2))])
    params = {"beta": rng.normal(size=4) * 0.5, "gamma": rng.normal(size=3) * 0.4 + np.array([1.2, 0, 0])}
    return params, (X, Z, rng.uniform(0.1, 0.9, size=n))


WRONG = [
    wrong(
        "link_slope_at_the_mean",
        "derivative-at-wrong-point",
        "factor_mean = by_mean * norm_pdf(eta)",
        "factor_mean = by_mean * norm_pdf(mu)",
    ),
    wrong(
        "link_slope_forgotten",
        "missing-derivative",
        "factor_mean = by_mean * norm_pdf(eta)",
        "factor_mean = by_mean",
    ),
    wrong(
        "slope_of_the_logit_link",
        "different-function",
        "factor_mean = by_mean * norm_pdf(eta)",
        "factor_mean = by_mean * mu * (1 - mu)",
    ),
    wrong(
        "precision_squared_for_its_exponential",
        "extra-derivative|different-function",
        "factor_precision = by_precision * phi",
        "factor_precision = by_precision * phi**2",
    ),
    wrong(
        "precision_left_on_its_own_scale",
        "missing-derivative",
        "factor_precision = by_precision * phi",
        "factor_precision = by_precision",
    ),
    wrong(
        "digammas_with_swapped_signs",
        "wrong-sign",
        "by_mean = phi * (star - digamma(a) + digamma(b))",
        "by_mean = phi * (star + digamma(a) - digamma(b))",
    ),
    wrong(
        "parentheses_around_the_precision_lost",
        "missing-derivative|wrong-operand",
        "by_mean = phi * (star - digamma(a) + digamma(b))",
        "by_mean = phi * star - digamma(a) + digamma(b)",
    ),
    wrong(
        "normaliser_without_the_precision",
        "missing-path",
        "by_precision = digamma(phi) - mu",
        "by_precision = -mu",
    ),
    wrong(
        "first_shape_for_both_digammas",
        "wrong-operand|derivative-at-wrong-point",
        "- (1 - mu) * digamma(b) + mu * star",
        "- (1 - mu) * digamma(a) + mu * star",
    ),
    wrong(
        "intercept_of_the_mean_shrunk",
        "wrong-part-penalised",
        "grad_beta[1:] += 2 * ridge * beta[1:]",
        "grad_beta += 2 * ridge * beta",
    ),
    wrong(
        "score_of_the_precision_summed",
        "wrong-reduction|wrong-scale",
        "grad_gamma = -score_gamma / n",
        "grad_gamma = -score_gamma",
    ),
    wrong(
        "gradient_of_the_likelihood_itself",
        "wrong-sign",
        "    grad_beta = -score_beta / n\n    grad_gamma = -score_gamma / n\n",
        "    grad_beta = score_beta / n\n    grad_gamma = score_gamma / n\n",
    ),
]

TOGETHER = [
    ("link_slope_at_the_mean", "precision_left_on_its_own_scale"),
    ("digammas_with_swapped_signs", "normaliser_without_the_precision"),
    ("slope_of_the_logit_link", "score_of_the_precision_summed"),
    ("intercept_of_the_mean_shrunk", "precision_squared_for_its_exponential"),
]

RIGHT = [
    right(
        "through_the_two_shapes",
        "    by_mean = phi * (star - digamma(a) + digamma(b))\n",
        "    by_a = np.log(y) - digamma(a) + digamma(phi)\n"
        "    by_b = np.log1p(-y) - digamma(b) + digamma(phi)\n"
        "    by_mean = phi * (by_a - by_b)\n",
        "    by_precision = digamma(phi) - mu * digamma(a) - (1 - mu) * digamma(b) + mu * star + np.log1p(-y)\n",
        "    by_precision = mu * by_a + (1 - mu) * by_b\n",
    ),
]
