"""Returns of several series: AR(1) means with factors, GARCH(1,1) variances from their long-run level, per sector."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, returns, factors, sector):
    mu = params["mu"][sector].unsqueeze(1)
    phi = torch.tanh(params["phi"])[sector].unsqueeze(1)
    omega = params["omega"].exp()[sector]
    alpha = F.softplus(params["alpha"])[sector]
    beta = F.softplus(params["beta"])[sector]
    mean = mu + phi * (returns[:, :-1] - mu) + factors[:, 1:] @ params["loading"]
    shock = returns[:, 1:] - mean
    variance = [omega / (1 - alpha - beta)]
    for past in shock.unbind(dim=1)[:-1]:
        variance.append(omega + alpha * past.square() + beta * variance[-1])
    return F.gaussian_nll_loss(mean, returns[:, 1:], torch.stack(variance, dim=1), full=True)


def softplus(a):
    return np.log1p(np.exp(a))


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def per_sector(values, sector, like):
    out = np.zeros_like(like)
    np.add.at(out, sector, values)
    return out


def candidate(params, returns, factors, sector):
    w, a, b = params["omega"][sector], params["alpha"][sector], params["beta"][sector]
    mu, phi = params["mu"][sector], np.tanh(params["phi"][sector])
    omega, alpha, beta = np.exp(w), softplus(a), softplus(b)
    n, T = returns.shape
    eps = np.zeros((n, T - 1))
    h = np.zeros((n, T - 1))
    room = 1 - alpha - beta
    for t in range(T - 1):
        forecast = mu + phi * (returns[:, t] - mu) + factors[:, t + 1] @ params["loading"]
        eps[:, t] = returns[:, t + 1] - forecast
        if t == 0:
            h[:, t] = omega / room
        else:
            h[:, t] = omega + alpha * eps[:, t - 1] ** 2 + beta * h[:, t - 1]
    loss = 0.5 * np.mean(np.log(2 * np.pi) + np.log(h) + eps**2 / h)

    count = h.size
    deps = eps / h / count
    dh = 0.5 * (1 / h - eps**2 / h**2) / count
    domega, dalpha, dbeta = np.zeros(n), np.zeros(n), np.zeros(n)
    for t in range(T - 2, 0, -1):
        domega += dh[:, t]
        dalpha += dh[:, t] * eps[:, t - 1] ** 2
        dbeta += dh[:, t] * h[:, t - 1]
        deps[:, t - 1] += dh[:, t] * alpha * 2 * eps[:, t - 1]
        dh[:, t - 1] += dh[:, t] * beta
    # the variance starts at its long-run level
    domega += dh[:, 0] / room
    dalpha += dh[:, 0] * omega / room**2
    dbeta += dh[:, 0] * omega / room**2
    dmean = -deps
    dmu = np.sum(dmean, axis=1) * (1 - phi)
    dphi = np.sum(dmean * (returns[:, :-1] - mu[:, None]), axis=1)
    dloading = np.einsum("nt,ntk->k", dmean, factors[:, 1:])
    grads = {
        "mu": per_sector(dmu, sector, params["mu"]),
        "phi": per_sector(dphi * (1 - phi**2), sector, params["phi"]),
        "omega": per_sector(domega * omega, sector, params["omega"]),
        "alpha": per_sector(dalpha * sigmoid(a), sector, params["alpha"]),
        "beta": per_sector(dbeta * sigmoid(b), sector, params["beta"]),
        "loading": dloading,
    }
    return loss, grads


def problem(rng):
    params = {
        "mu": rng.normal(size=3) * 0.4 + 0.3,
        "phi": rng.normal(size=3) * 0.3 + 0.4,
        "omega": rng.normal(size=3) * 0.2 - 1.0,
        "alpha": rng.normal(size=3) * 0.15 - 1.1,
        "beta": rng.normal(size=3) * 0.1 - 0.5,
        "loading": rng.normal(size=2) * 0.4,
    }
    sector = np.array([2, 0, 1, 1, 0, 2, 2, 1])
    return params, (rng.normal(size=(8, 6)) * 1.4 + 0.2, rng.normal(size=(8, 6, 2)), sector)


WRONG = [
    wrong(
        "starting_variance_taken_as_constant",
        "missing-path",
        "    domega += dh[:, 0] / room\n"
        "    dalpha += dh[:, 0] * omega / room**2\n"
        "    dbeta += dh[:, 0] * omega / room**2\n",
        "",
    ),
    wrong(
        "start_at_the_sample_variance_in_both",
        "different-function|wrong-operand",
        "h[:, t] = omega / room",
        "h[:, t] = returns.var(axis=1)",
        "    domega += dh[:, 0] / room\n"
        "    dalpha += dh[:, 0] * omega / room**2\n"
        "    dbeta += dh[:, 0] * omega / room**2\n",
        "",
    ),
    wrong(
        "variance_recursion_not_unrolled",
        "truncated-in-time|missing-path",
        "        dh[:, t - 1] += dh[:, t] * beta\n",
        "",
    ),
    wrong(
        "shocks_in_the_variance_held_constant",
        "missing-path|truncated-in-time",
        "        deps[:, t - 1] += dh[:, t] * alpha * 2 * eps[:, t - 1]\n",
        "",
    ),
    wrong(
        "variance_of_the_same_day",
        "shifted-in-time|wrong-operand",
        "dbeta += dh[:, t] * h[:, t - 1]",
        "dbeta += dh[:, t] * h[:, t]",
    ),
    wrong(
        "news_of_the_same_day_in_both",
        "shifted-in-time|wrong-operand|different-function",
        "omega + alpha * eps[:, t - 1] ** 2",
        "omega + alpha * eps[:, t] ** 2",
        "dalpha += dh[:, t] * eps[:, t - 1] ** 2",
        "dalpha += dh[:, t] * eps[:, t] ** 2",
        "deps[:, t - 1] += dh[:, t] * alpha * 2 * eps[:, t - 1]",
        "deps[:, t] += dh[:, t] * alpha * 2 * eps[:, t]",
    ),
    wrong(
        "log_variance_forgotten",
        "missing-path",
        "0.5 * (1 / h - eps**2 / h**2) / count",
        "0.5 * (-(eps**2) / h**2) / count",
    ),
    wrong(
        "half_only_before_the_shocks",
        "wrong-scale|missing-derivative",
        "dh = 0.5 * (1 / h - eps**2 / h**2) / count",
        "dh = (1 / h - eps**2 / h**2) / count",
    ),
    wrong(
        "softplus_slope_taken_for_an_exponential",
        "different-function|derivative-at-wrong-point|wrong-operand",
        "per_sector(dalpha * sigmoid(a), ",
        "per_sector(dalpha * alpha, ",
    ),
    wrong("exponential_slope_forgotten", "missing-derivative", "per_sector(domega * omega, ", "per_sector(domega, "),
    wrong(
        "mean_inside_the_lag_forgotten",
        "missing-path|missing-derivative",
        "dmu = np.sum(dmean, axis=1) * (1 - phi)",
        "dmu = np.sum(dmean, axis=1)",
    ),
    wrong(
        "intercept_for_the_mean_in_both",
        "different-function|wrong-operand|missing-path",
        "phi * (returns[:, t] - mu)",
        "phi * returns[:, t]",
        "dmu = np.sum(dmean, axis=1) * (1 - phi)",
        "dmu = np.sum(dmean, axis=1)",
        "dmean * (returns[:, :-1] - mu[:, None])",
        "dmean * returns[:, :-1]",
    ),
    wrong(
        "lag_not_centred",
        "wrong-operand|missing-path|different-function",
        "dmean * (returns[:, :-1] - mu[:, None])",
        "dmean * returns[:, :-1]",
    ),
    wrong(
        "factors_of_the_day_before",
        "shifted-in-time|wrong-operand",
        "dmean, factors[:, 1:])",
        "dmean, factors[:, :-1])",
    ),
    wrong("series_of_a_sector_overwrite", "overwritten", "np.add.at(out, sector, values)", "out[sector] += values"),
    wrong(
        "two_pi_left_out_in_cost",
        "wrong-loss",
        "np.mean(np.log(2 * np.pi) + np.log(h) + eps**2 / h)",
        "np.mean(np.log(h) + eps**2 / h)",
    ),
]

TOGETHER = [
    ("starting_variance_taken_as_constant", "exponential_slope_forgotten"),
    ("variance_recursion_not_unrolled", "lag_not_centred"),
    ("shocks_in_the_variance_held_constant", "softplus_slope_taken_for_an_exponential"),
    ("variance_of_the_same_day", "log_variance_forgotten"),
    ("factors_of_the_day_before", "mean_inside_the_lag_forgotten"),
    ("intercept_for_the_mean_in_both", "half_only_before_the_shocks"),
    ("series_of_a_sector_overwrite", "variance_of_the_same_day", "factors_of_the_day_before"),
    ("start_at_the_sample_variance_in_both", "exponential_slope_forgotten", "lag_not_centred"),
]

RIGHT = [
    right(
        "sensitivities_carried_forward",
        "    for t in range(T - 2, 0, -1):\n"
        "        domega += dh[:, t]\n"
        "        dalpha += dh[:, t] * eps[:, t - 1] ** 2\n"
        "        dbeta += dh[:, t] * h[:, t - 1]\n"
        "        deps[:, t - 1] += dh[:, t] * alpha * 2 * eps[:, t - 1]\n"
        "        dh[:, t - 1] += dh[:, t] * beta\n"
        "    # the variance starts at its long-run level\n"
        "    domega += dh[:, 0] / room\n"
        "    dalpha += dh[:, 0] * omega / room**2\n"
        "    dbeta += dh[:, 0] * omega / room**2\n",
        "    h_omega, h_alpha, h_beta = 1 / room, omega / room**2, omega / room**2\n"
        "    for t in range(T - 1):\n"
        "        if t > 0:\n"
        "            h_omega = 1 + beta * h_omega\n"
        "            h_alpha = eps[:, t - 1] ** 2 + beta * h_alpha\n"
        "            h_beta = h[:, t - 1] + beta * h_beta\n"
        "        domega += dh[:, t] * h_omega\n"
        "        dalpha += dh[:, t] * h_alpha\n"
        "        dbeta += dh[:, t] * h_beta\n"
        "        for past in range(t):\n"
        "            deps[:, past] += dh[:, t] * 2 * alpha * beta ** (t - 1 - past) * eps[:, past]\n",
    ),
    right(
        "standardised_shocks",
        "    deps = eps / h / count\n    dh = 0.5 * (1 / h - eps**2 / h**2) / count\n",
        "    sd = np.sqrt(h)\n"
        "    z = eps / sd\n"
        "    deps = z / sd / count\n"
        "    dh = (1 - z) * (1 + z) / (2 * count * h)\n",
        "np.log(2 * np.pi) + np.log(h) + eps**2 / h",
        "np.log(2 * np.pi * h) + eps**2 / h",
        "    out = np.zeros_like(like)\n    np.add.at(out, sector, values)\n    return out\n",
        "    return np.bincount(sector, weights=values, minlength=len(like))\n",
    ),
    right(
        "sums_after_the_loop",
        "        domega += dh[:, t]\n"
        "        dalpha += dh[:, t] * eps[:, t - 1] ** 2\n"
        "        dbeta += dh[:, t] * h[:, t - 1]\n",
        "",
        "    # the variance starts at its long-run level\n",
        "    domega += dh[:, 1:].sum(axis=1)\n"
        "    dalpha += np.sum(dh[:, 1:] * np.square(eps[:, :-1]), axis=1)\n"
        "    dbeta += np.sum(dh[:, 1:] * h[:, :-1], axis=1)\n",
    ),
]
