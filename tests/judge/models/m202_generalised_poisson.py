"""Generalised Poisson counts of order p: a log link with exposure, the dispersion as a logarithm, a ridge on slopes."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, X, exposure, y):
    mu = exposure * torch.exp(params["b0"] + X @ params["beta"])
    y = y.to(mu.dtype)
    spread = torch.exp(params["lnalpha"]) * mu**0.5
    a1 = 1 + spread
    a2 = mu + spread * y
    ll = torch.log(mu) + (y - 1) * torch.log(a2) - y * torch.log(a1) - torch.lgamma(y + 1) - a2 / a1
    return {"nll": -ll.mean(), "ridge": 0.15 * (params["beta"] ** 2).sum()}


def log_factorial(y):
    return np.array([np.log(np.arange(1, k + 1)).sum() for k in y])


def predict(params, X, exposure):
    return exposure * np.exp(params["b0"] + np.dot(X, params["beta"]))


def loglike_obs(mu, alpha, y, q):
    a1 = 1 + alpha * mu**q
    a2 = mu + alpha * mu**q * y
    return np.log(mu) + (y - 1) * np.log(a2) - y * np.log(a1) - log_factorial(y) - a2 / a1


def score_obs(mu, alpha, y, q):
    """The derivatives of every log-likelihood by the mean and by alpha."""
    mu_q = mu**q
    a1 = 1 + alpha * mu_q
    a2 = mu + alpha * mu_q * y
    a3 = alpha * q * mu ** (q - 1)
    a4 = a3 * y
    dmu = 1 / mu + (y - 1) * (1 + a4) / a2 - y * a3 / a1
    dmu = dmu - (1 + a4) / a1 + a2 * a3 / a1**2
    dalpha = mu_q * (y * (y - 1) / a2 - y / a1 - y / a1 + a2 / a1**2)
    return dmu, dalpha


def candidate(params, X, exposure, y, q=0.5, ridge=0.15):
    alpha = np.exp(params["lnalpha"])
    mu = predict(params, X, exposure)
    loss = -loglike_obs(mu, alpha, y, q).mean() + ridge * np.sum(params["beta"] ** 2)

    n = len(y)
    dmu, dalpha = score_obs(mu, alpha, y, q)
    deta = dmu * mu
    score = {
        "b0": deta.sum(),
        "beta": X.T @ deta,
        "lnalpha": dalpha.sum() * alpha,
    }
    grads = {name: np.asarray(-value / n) for name, value in score.items()}
    grads["beta"] = grads["beta"] + 2 * ridge * params["beta"]
    return loss, grads


def problem(rng):
    params = {
        "b0": np.array(rng.normal() * 0.2 + 0.4),
        "beta": rng.normal(size=3) * 0.5,
        "lnalpha": np.array(rng.normal() * 0.3 - 0.7),
    }
    X = rng.normal(size=(7, 3))
    exposure = rng.uniform(0.5, 2.5, size=7)
    y = np.array([0, 3, 1, 6, 2, 4, 1])
    rng.shuffle(y)
    return params, (X, exposure, y)


WRONG = [
    wrong(
        "dispersion_not_taken_through_its_exponential",
        "missing-derivative",
        '"lnalpha": dalpha.sum() * alpha,',
        '"lnalpha": dalpha.sum(),',
    ),
    wrong(
        "dispersion_chain_rule_squared",
        "extra-derivative|wrong-operand",
        '"lnalpha": dalpha.sum() * alpha,',
        '"lnalpha": dalpha.sum() * alpha**2,',
    ),
    wrong("log_link_forgotten", "missing-derivative", "deta = dmu * mu", "deta = dmu"),
    wrong(
        "link_slope_without_exposure",
        "wrong-operand|missing-derivative",
        "deta = dmu * mu",
        "deta = dmu * mu / exposure",
    ),
    wrong(
        "log_of_the_mean_has_no_slope",
        "missing-path",
        "dmu = 1 / mu + (y - 1) * (1 + a4) / a2 - y * a3 / a1",
        "dmu = (y - 1) * (1 + a4) / a2 - y * a3 / a1",
    ),
    wrong(
        "quotient_differentiated_in_its_numerator_only",
        "missing-path",
        "dmu = dmu - (1 + a4) / a1 + a2 * a3 / a1**2",
        "dmu = dmu - (1 + a4) / a1",
    ),
    wrong(
        "quotient_denominator_not_squared",
        "different-function|wrong-operand",
        "dmu = dmu - (1 + a4) / a1 + a2 * a3 / a1**2",
        "dmu = dmu - (1 + a4) / a1 + a2 * a3 / a1",
    ),
    wrong(
        "power_rule_keeps_the_exponent",
        "different-function|wrong-operand",
        "a3 = alpha * q * mu ** (q - 1)",
        "a3 = alpha * q * mu**q",
    ),
    wrong(
        "dispersion_misses_the_second_y_over_a1",
        "missing-path|wrong-scale",
        "dalpha = mu_q * (y * (y - 1) / a2 - y / a1 - y / a1 + a2 / a1**2)",
        "dalpha = mu_q * (y * (y - 1) / a2 - y / a1 + a2 / a1**2)",
    ),
    wrong(
        "log_likelihood_ascended",
        "wrong-sign",
        "np.asarray(-value / n)",
        "np.asarray(value / n)",
    ),
    wrong(
        "intercept_averaged_twice",
        "wrong-scale|wrong-reduction",
        '"b0": deta.sum(),',
        '"b0": deta.mean(),',
    ),
    wrong(
        "factorial_left_out_of_the_loss",
        "wrong-loss",
        " - log_factorial(y) - a2 / a1",
        " - a2 / a1",
    ),
]

TOGETHER = [
    ("dispersion_not_taken_through_its_exponential", "log_link_forgotten"),
    ("quotient_differentiated_in_its_numerator_only", "dispersion_chain_rule_squared"),
    ("link_slope_without_exposure", "dispersion_misses_the_second_y_over_a1"),
    ("log_of_the_mean_has_no_slope", "intercept_averaged_twice"),
]

RIGHT = [
    right(
        "mean_terms_factored",
        "    dmu = 1 / mu + (y - 1) * (1 + a4) / a2 - y * a3 / a1\n    dmu = dmu - (1 + a4) / a1 + a2 * a3 / a1**2\n",
        "    dmu = 1 / mu + (1 + a4) * ((y - 1) / a2 - 1 / a1) + a3 * (a2 / a1**2 - y / a1)\n",
        '"beta": X.T @ deta,',
        '"beta": (deta[:, None] * X).sum(axis=0),',
    )
]
