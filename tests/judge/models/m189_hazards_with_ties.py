"""Proportional hazards of a small softplus network: Efron's partial likelihood for tied deaths, a ridge on weights."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, times, died):
    f = F.softplus(x @ params["W"] + params["b"]) @ params["v"]
    hazard = f.exp()
    total = 0.0
    for t in torch.unique(times[died > 0]):
        at_risk = (times >= t).to(x.dtype)
        tied = ((times == t) & (died > 0)).to(x.dtype)
        count = int(tied.sum())
        fractions = torch.arange(count, dtype=x.dtype) / count
        sums = (hazard * at_risk).sum() - fractions * (hazard * tied).sum()
        total = total + sums.log().sum() - (f * tied).sum()
    return {
        "partial": total / died.sum(),
        "ridge": 0.05 * ((params["W"] ** 2).sum() + (params["v"] ** 2).sum()),
    }


def softplus(a):
    return np.log1p(np.exp(-np.abs(a))) + np.maximum(a, 0)


def logistic(a):
    return 1.0 / (1.0 + np.exp(-a))


def efron_cost(f, times, died):
    hazard = np.exp(f)
    total = 0.0
    for t in np.unique(times[died == 1]):
        at_risk = times >= t
        tied = (times == t) & (died == 1)
        count = tied.sum()
        risk_sum, tie_sum = hazard[at_risk].sum(), hazard[tied].sum()
        total -= f[tied].sum()
        for k in range(count):
            total += np.log(risk_sum - k / count * tie_sum)
    return total


def efron_gradient(f, times, died):
    hazard = np.exp(f)
    df = np.zeros_like(f)
    for t in np.unique(times[died == 1]):
        in_set = times >= t
        dead = (times == t) & (died == 1)
        d = dead.sum()
        risk, ties = hazard[in_set].sum(), hazard[dead].sum()
        df[dead] -= 1.0
        for j in range(d):
            c = j / d
            denominator = risk - c * ties
            df[in_set] += hazard[in_set] / denominator
            df[dead] -= c * hazard[dead] / denominator
    return df


def candidate(params, x, times, died):
    W, b, v = params["W"], params["b"], params["v"]
    ridge = 0.05
    events = died.sum()
    a = x @ W + b
    s = softplus(a)
    f = s @ v
    loss = efron_cost(f, times, died) / events + ridge * (np.sum(W**2) + np.sum(v**2))

    df = efron_gradient(f, times, died) / events
    dv = s.T @ df + 2 * ridge * v
    ds = np.outer(df, v)
    da = ds * logistic(a)
    dW = x.T @ da + 2 * ridge * W
    db = da.sum(axis=0)
    return loss, {"W": dW, "b": db, "v": dv}


def problem(rng):
    n, features, hidden = 7, 3, 5
    params = {
        "W": rng.normal(size=(features, hidden)),
        "b": rng.normal(size=hidden) * 0.6,
        "v": rng.normal(size=hidden),
    }
    order = rng.permutation(n)
    times = np.array([2, 2, 2, 3, 5, 5, 8])[order]
    died = np.array([1, 1, 0, 1, 1, 1, 0])[order]
    return params, (rng.normal(size=(n, features)), times, died)


WRONG = [
    wrong(
        "ties_after_breslow_in_both",
        "different-function",
        "total += np.log(risk_sum - k / count * tie_sum)",
        "total += np.log(risk_sum)",
        "            denominator = risk - c * ties\n"
        "            df[in_set] += hazard[in_set] / denominator\n"
        "            df[dead] -= c * hazard[dead] / denominator\n",
        "            denominator = risk\n            df[in_set] += hazard[in_set] / denominator\n",
    ),
    wrong(
        "share_of_the_dead_forgotten",
        "missing-path",
        "            df[dead] -= c * hazard[dead] / denominator\n",
        "",
    ),
    wrong(
        "fractions_start_at_one",
        "different-function|wrong-operand",
        "c = j / d",
        "c = (j + 1) / d",
    ),
    wrong(
        "censored_at_that_time_not_at_risk_backwards",
        "missing-path|different-function",
        "        in_set = times >= t\n",
        "        in_set = (times > t) | ((times == t) & died.astype(bool))\n",
    ),
    wrong(
        "only_the_dead_feel_their_own_risk_set",
        "missing-path|diagonal-jacobian",
        "df[in_set] += hazard[in_set] / denominator",
        "df[dead] += hazard[dead] / denominator / d",
    ),
    wrong(
        "risk_set_the_wrong_way_in_both",
        "different-function",
        "at_risk = times >= t",
        "at_risk = times <= t",
        "in_set = times >= t",
        "in_set = times <= t",
    ),
    wrong(
        "hazard_missing_above_the_line",
        "missing-derivative",
        "df[in_set] += hazard[in_set] / denominator",
        "df[in_set] += 1.0 / denominator",
    ),
    wrong(
        "gradient_of_the_likelihood_itself",
        "wrong-sign",
        "df = efron_gradient(f, times, died) / events",
        "df = -efron_gradient(f, times, died) / events",
    ),
    wrong(
        "censored_counted_among_the_events",
        "wrong-scale|wrong-term-weight",
        "df = efron_gradient(f, times, died) / events",
        "df = efron_gradient(f, times, died) / len(times)",
    ),
    wrong(
        "everyone_at_that_time_taken_for_dead",
        "different-function|wrong-operand",
        "        df[dead] -= 1.0\n",
        "        df[times == t] -= 1.0\n",
    ),
    wrong(
        "logistic_of_the_softplus",
        "derivative-at-wrong-point",
        "da = ds * logistic(a)",
        "da = ds * logistic(s)",
    ),
    wrong(
        "two_of_the_ridge_forgotten",
        "wrong-scale|wrong-term-weight",
        "dW = x.T @ da + 2 * ridge * W",
        "dW = x.T @ da + ridge * W",
    ),
]

TOGETHER = [
    ("share_of_the_dead_forgotten", "logistic_of_the_softplus"),
    ("only_the_dead_feel_their_own_risk_set", "two_of_the_ridge_forgotten"),
    ("risk_set_the_wrong_way_in_both", "censored_counted_among_the_events"),
    ("gradient_of_the_likelihood_itself", "fractions_start_at_one"),
]

RIGHT = [
    right(
        "martingale_residuals",
        "        for j in range(d):\n"
        "            c = j / d\n"
        "            denominator = risk - c * ties\n"
        "            df[in_set] += hazard[in_set] / denominator\n"
        "            df[dead] -= c * hazard[dead] / denominator\n",
        "        c = np.arange(d) / d\n"
        "        rates = 1.0 / (risk - c * ties)\n"
        "        df += hazard * (in_set * rates.sum() - dead * (c * rates).sum())\n",
        "    ds = np.outer(df, v)\n    da = ds * logistic(a)\n",
        "    da = df[:, None] * v * (1.0 - np.exp(-s))\n",
    ),
]
