"""Counts with too many zeros: a zero-inflated negative binomial with three heads on a softsign layer, and exposures."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, y, exposure):
    h = F.softsign(F.linear(x, params["W"], params["b"]))
    log_mean = h @ params["v_mean"] + params["c_mean"] + exposure.log()
    size = F.softplus(h @ params["v_size"] + params["c_size"])
    zero = h @ params["v_zero"] + params["c_zero"]
    counts = torch.distributions.NegativeBinomial(total_count=size, logits=log_mean - size.log())
    log_nb = counts.log_prob(y.to(h.dtype))
    at_zero = torch.logaddexp(F.logsigmoid(zero), F.logsigmoid(-zero) + log_nb)
    log_likelihood = torch.where(y == 0, at_zero, F.logsigmoid(-zero) + log_nb)
    ridge = sum(params[f"v_{head}"].square().sum() for head in ("mean", "size", "zero"))
    return {"likelihood": -log_likelihood.mean(), "ridge": 0.12 * ridge}


def log_gamma(values):
    return np.array([math.lgamma(v) for v in values])


def digamma(values):
    """By the recurrence up to ten, and the asymptotic series from there."""
    values = np.array(values, dtype=float)
    total = np.zeros_like(values)
    for _ in range(10):
        total -= 1 / values
        values += 1
    s = 1 / values**2
    series = s * (1 / 12 - s * (1 / 120 - s * (1 / 252 - s * (1 / 240 - s / 132))))
    return total + np.log(values) - 0.5 / values - series


def negative_binomial(y, mu, r):
    """The logarithm of the probability of the counts."""
    choices = log_gamma(y + r) - log_gamma(r) - log_gamma(y + 1)
    return choices + r * np.log(r / (r + mu)) + y * np.log(mu / (r + mu))


def candidate(params, x, y, exposure, ridge=0.12):
    W, b = params["W"], params["b"]
    v_mean, v_size, v_zero = params["v_mean"], params["v_size"], params["v_zero"]
    n = len(x)
    a = x @ W.T + b
    h = a / (1 + np.abs(a))
    eta = h @ v_mean + params["c_mean"] + np.log(exposure)
    mu = np.exp(eta)
    s = h @ v_size + params["c_size"]
    r = np.log1p(np.exp(s))
    z = h @ v_zero + params["c_zero"]
    pi = 1 / (1 + np.exp(-z))
    none = y == 0
    p0 = (r / (r + mu)) ** r
    chance0 = pi + (1 - pi) * p0
    logs = np.where(none, np.log(chance0), np.log(1 - pi) + negative_binomial(y, mu, r))
    loss = -np.mean(logs) + ridge * (v_mean @ v_mean + v_size @ v_size + v_zero @ v_zero)

    # how much of each observation the counting part answers for
    share = np.where(none, (1 - pi) * p0 / chance0, 1.0)
    dmu = y / mu - (y + r) / (r + mu)
    dr = digamma(y + r) - digamma(r) + np.log(r / (r + mu)) + 1 - (y + r) / (r + mu)
    deta = -share * dmu * mu / n
    ds = -share * dr / (1 + np.exp(-s)) / n
    dz = np.where(none, pi - pi / chance0, pi) / n

    dv_mean = h.T @ deta + 2 * ridge * v_mean
    dv_size = h.T @ ds + 2 * ridge * v_size
    dv_zero = h.T @ dz + 2 * ridge * v_zero
    dc_mean, dc_size, dc_zero = deta.sum(), ds.sum(), dz.sum()
    dh = np.outer(deta, v_mean) + np.outer(ds, v_size) + np.outer(dz, v_zero)
    da = dh / (1 + np.abs(a)) ** 2
    dW = da.T @ x
    db = da.sum(axis=0)
    heads = {"v_mean": dv_mean, "v_size": dv_size, "v_zero": dv_zero}
    return loss, {"W": dW, "b": db, **heads, "c_mean": dc_mean, "c_size": dc_size, "c_zero": dc_zero}


def problem(rng):
    params = {
        "W": rng.normal(size=(4, 5)) * 0.8,
        "b": rng.normal(size=4) * 0.5,
        "v_mean": rng.normal(size=4) * 0.9,
        "v_size": rng.normal(size=4) * 0.9,
        "v_zero": rng.normal(size=4) * 0.9,
        "c_mean": np.array(0.4),
        "c_size": np.array(0.6),
        "c_zero": np.array(-0.5),
    }
    y = rng.permutation(np.array([0, 0, 0, 0, 1, 2, 3, 5, 9]))
    return params, (rng.normal(size=(9, 5)), y, rng.uniform(0.5, 3.0, size=9))


WRONG = [
    wrong(
        "zeros_all_answered_by_the_counts",
        "wrong-operand|missing-derivative",
        "share = np.where(none, (1 - pi) * p0 / chance0, 1.0)",
        "share = np.ones(n)",
    ),
    wrong(
        "zeros_leave_the_counts_alone",
        "missing-path|wrong-operand",
        "share = np.where(none, (1 - pi) * p0 / chance0, 1.0)",
        "share = np.where(none, 0.0, 1.0)",
    ),
    wrong(
        "share_of_the_zeros_not_normalised",
        "missing-derivative|wrong-operand",
        "(1 - pi) * p0 / chance0, 1.0)",
        "(1 - pi) * p0, 1.0)",
    ),
    wrong(
        "derivative_by_the_mean_for_its_logarithm",
        "missing-derivative",
        "deta = -share * dmu * mu / n",
        "deta = -share * dmu / n",
    ),
    wrong(
        "poisson_score_for_the_mean",
        "different-function|missing-derivative|wrong-operand|missing-path",
        "dmu = y / mu - (y + r) / (r + mu)",
        "dmu = y / mu - 1",
    ),
    wrong(
        "digamma_of_the_size_forgotten",
        "missing-path",
        "dr = digamma(y + r) - digamma(r) + np.log",
        "dr = digamma(y + r) + np.log",
    ),
    wrong(
        "only_the_logarithm_of_the_power_differentiated",
        "missing-path",
        "np.log(r / (r + mu)) + 1 - (y + r) / (r + mu)\n    deta",
        "np.log(r / (r + mu))\n    deta",
    ),
    wrong(
        "softplus_slope_of_the_size_forgotten",
        "missing-derivative",
        "ds = -share * dr / (1 + np.exp(-s)) / n",
        "ds = -share * dr / n",
    ),
    wrong(
        "zero_head_treated_as_if_nothing_were_zero",
        "missing-path|wrong-operand|different-function",
        "dz = np.where(none, pi - pi / chance0, pi) / n",
        "dz = pi / n",
    ),
    wrong(
        "zero_head_as_logistic_regression_on_zeros",
        "different-function|wrong-operand",
        "dz = np.where(none, pi - pi / chance0, pi) / n",
        "dz = (pi - none) / n",
    ),
    wrong(
        "ridge_gradient_without_its_two",
        "wrong-term-weight|wrong-scale",
        "    dv_mean = h.T @ deta + 2 * ridge * v_mean\n"
        "    dv_size = h.T @ ds + 2 * ridge * v_size\n"
        "    dv_zero = h.T @ dz + 2 * ridge * v_zero\n",
        "    dv_mean = h.T @ deta + ridge * v_mean\n"
        "    dv_size = h.T @ ds + ridge * v_size\n"
        "    dv_zero = h.T @ dz + ridge * v_zero\n",
    ),
    wrong(
        "size_head_not_into_the_layer",
        "missing-path",
        "dh = np.outer(deta, v_mean) + np.outer(ds, v_size) + np.outer(dz, v_zero)",
        "dh = np.outer(deta, v_mean) + np.outer(dz, v_zero)",
    ),
    wrong(
        "softsign_slope_at_its_output",
        "derivative-at-wrong-point",
        "da = dh / (1 + np.abs(a)) ** 2",
        "da = dh / (1 + np.abs(h)) ** 2",
    ),
    wrong(
        "size_taken_for_its_inverse_in_both",
        "different-function",
        "r = np.log1p(np.exp(s))",
        "r = 1 / np.log1p(np.exp(s))",
        "ds = -share * dr / (1 + np.exp(-s)) / n",
        "ds = share * dr * r**2 / (1 + np.exp(-s)) / n",
    ),
    wrong(
        "exposure_not_logged_in_both",
        "missing-derivative|different-function|wrong-operand",
        '+ params["c_mean"] + np.log(exposure)',
        '+ params["c_mean"] + exposure',
    ),
    wrong(
        "factorial_dropped_in_cost",
        "wrong-loss",
        "log_gamma(y + r) - log_gamma(r) - log_gamma(y + 1)",
        "log_gamma(y + r) - log_gamma(r)",
    ),
]

TOGETHER = [
    ("zeros_all_answered_by_the_counts", "softplus_slope_of_the_size_forgotten"),
    ("derivative_by_the_mean_for_its_logarithm", "zero_head_as_logistic_regression_on_zeros"),
    ("digamma_of_the_size_forgotten", "softsign_slope_at_its_output"),
    ("zeros_leave_the_counts_alone", "ridge_gradient_without_its_two"),
    ("poisson_score_for_the_mean", "size_head_not_into_the_layer"),
    ("only_the_logarithm_of_the_power_differentiated", "zero_head_treated_as_if_nothing_were_zero"),
    (
        "share_of_the_zeros_not_normalised",
        "softplus_slope_of_the_size_forgotten",
        "softsign_slope_at_its_output",
    ),
    (
        "derivative_by_the_mean_for_its_logarithm",
        "digamma_of_the_size_forgotten",
        "zero_head_as_logistic_regression_on_zeros",
    ),
]

RIGHT = [
    right(
        "observation_by_observation",
        "    share = np.where(none, (1 - pi) * p0 / chance0, 1.0)\n"
        "    dmu = y / mu - (y + r) / (r + mu)\n"
        "    dr = digamma(y + r) - digamma(r) + np.log(r / (r + mu)) + 1 - (y + r) / (r + mu)\n"
        "    deta = -share * dmu * mu / n\n"
        "    ds = -share * dr / (1 + np.exp(-s)) / n\n"
        "    dz = np.where(none, pi - pi / chance0, pi) / n\n",
        "    deta, ds, dz = np.zeros(n), np.zeros(n), np.zeros(n)\n"
        "    slope = -np.expm1(-r) / n\n"
        "    for i in range(n):\n"
        "        both = r[i] + mu[i]\n"
        "        if none[i]:\n"
        "            counted = (1 - pi[i]) * p0[i] / chance0[i]\n"
        "            deta[i] = counted * r[i] * mu[i] / both / n\n"
        "            ds[i] = -counted * slope[i] * (np.log(r[i] / both) + mu[i] / both)\n"
        "            dz[i] = -pi[i] * (1 - pi[i]) * (1 - p0[i]) / chance0[i] / n\n"
        "        else:\n"
        "            sums = np.sum(1 / (r[i] + np.arange(y[i])))\n"
        "            deta[i] = -r[i] * (y[i] - mu[i]) / both / n\n"
        "            ds[i] = -slope[i] * (sums + np.log(r[i] / both) + (mu[i] - y[i]) / both)\n"
        "            dz[i] = pi[i] / n\n",
    ),
    right(
        "heads_as_one_matrix",
        "    dh = np.outer(deta, v_mean) + np.outer(ds, v_size) + np.outer(dz, v_zero)\n",
        "    dh = np.stack([deta, ds, dz], axis=1) @ np.stack([v_mean, v_size, v_zero])\n",
        "da = dh / (1 + np.abs(a)) ** 2",
        "da = dh * (1 - np.abs(h)) ** 2",
    ),
    right(
        "heads_in_turn_into_the_layer",
        "    dh = np.outer(deta, v_mean) + np.outer(ds, v_size) + np.outer(dz, v_zero)\n"
        "    da = dh / (1 + np.abs(a)) ** 2\n"
        "    dW = da.T @ x\n"
        "    db = da.sum(axis=0)\n",
        "    dW, db = np.zeros_like(W), np.zeros_like(b)\n"
        "    slopes = (1 + np.abs(a)) ** -2.0\n"
        "    for push, v in ((deta, v_mean), (ds, v_size), (dz, v_zero)):\n"
        "        for unit in range(len(b)):\n"
        "            back = push * v[unit] * slopes[:, unit]\n"
        "            dW[unit] += back @ x\n"
        "            db[unit] += back.sum()\n",
        "dmu = y / mu - (y + r) / (r + mu)",
        "dmu = r * (y - mu) / (mu * (r + mu))",
    ),
]
