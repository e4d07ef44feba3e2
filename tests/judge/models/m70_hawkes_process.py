"""A self-exciting (Hawkes) process of several kinds of events with magnitudes, by its log-likelihood in a window."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong

BATCH_AXIS = None  # every event depends on all that came before


def reference(params, times, kind, magnitude, edges):
    mu = params["log_mu"].exp()
    alpha = F.softplus(params["excitation"])  # from the kind in the row to the kind in the column
    beta = params["log_decay"].exp()[kind]
    weight = (params["growth"] * magnitude).exp()
    season = torch.searchsorted(edges, times, right=True) - 1

    gap = (times.unsqueeze(1) - times).clamp(min=0)
    kernel = torch.tril(weight * beta * torch.exp(-beta * gap), diagonal=-1)
    intensity = mu[season, kind] + (alpha[kind][:, kind].T * kernel).sum(dim=1)
    background = (mu * edges.diff().unsqueeze(1)).sum()
    offspring = (alpha[kind].sum(dim=1) * weight * -torch.expm1(-beta * (edges[-1] - times))).sum()
    across = alpha - torch.diag(alpha.diagonal())
    return {
        "likelihood": (background + offspring - intensity.log().sum()) / len(times),
        "across": 0.4 * across.square().sum(),
    }


def candidate(params, times, kind, magnitude, edges):
    mu = np.exp(params["log_mu"])
    alpha = np.log(1 + np.exp(params["excitation"]))
    beta = np.exp(params["log_decay"])
    weight = np.exp(params["growth"] * magnitude)
    n, kinds = len(times), len(beta)
    season = np.searchsorted(edges, times, side="right") - 1
    lengths = np.diff(edges)

    # what is left of all earlier events of each kind: just before an event, and just after it
    before = np.zeros((n, kinds))
    after = np.zeros((n, kinds))
    intensity = np.zeros(n)
    for i in range(n):
        if i > 0:
            before[i] = np.exp(-beta * (times[i] - times[i - 1])) * after[i - 1]
        after[i] = before[i]
        after[i, kind[i]] += weight[i]
        intensity[i] = mu[season[i], kind[i]] + np.sum(alpha[:, kind[i]] * beta * before[i])
    left = edges[-1] - times
    done = 1 - np.exp(-beta[kind] * left)
    offspring = np.sum(weight * done * alpha[kind].sum(axis=1))
    across = alpha * (1 - np.eye(kinds))
    loss = (np.sum(mu * lengths[:, None]) + offspring - np.sum(np.log(intensity))) / n + 0.4 * np.sum(across**2)

    dmu = np.zeros_like(mu)
    dalpha = np.zeros_like(alpha)
    dbeta = np.zeros_like(beta)
    dgrowth = np.zeros_like(params["growth"])
    # derivatives of `before`: of each kind by its decay, and by the growth
    by_decay, by_growth = np.zeros(kinds), np.zeros(kinds)
    for i in range(n):
        k = kind[i]
        if i > 0:
            gap = times[i] - times[i - 1]
            fade = np.exp(-beta * gap)
            by_growth[kind[i - 1]] += weight[i - 1] * magnitude[i - 1]
            by_growth = fade * by_growth
            by_decay = fade * (by_decay - gap * after[i - 1])
        share = -1 / intensity[i]
        dmu[season[i], k] += share
        dalpha[:, k] += share * beta * before[i]
        dbeta += share * alpha[:, k] * (before[i] + beta * by_decay)
        dgrowth += share * np.sum(alpha[:, k] * beta * by_growth)

    children = alpha.sum(axis=1)
    dmu += lengths[:, None]
    for i in range(n):
        k = kind[i]
        dalpha[k] += weight[i] * done[i]
        dbeta[k] += children[k] * weight[i] * left[i] * np.exp(-beta[k] * left[i])
        dgrowth += children[k] * weight[i] * magnitude[i] * done[i]
    dalpha = dalpha / n + 2 * 0.4 * across
    return loss, {
        "log_mu": dmu * mu / n,
        "excitation": dalpha * (1 - np.exp(-alpha)),
        "log_decay": dbeta * beta / n,
        "growth": dgrowth / n,
    }


def problem(rng):
    n, edges = 26, np.array([0.0, 3.5, 9.0])
    params = {
        "log_mu": rng.normal(size=(2, 3)) * 0.4 - 0.6,
        "excitation": rng.normal(size=(3, 3)) * 0.8 - 1.0,
        "log_decay": np.array([0.3, -0.4, 0.8]) + rng.normal(size=3) * 0.1,
        "growth": np.array([0.7]),
    }
    times = np.sort(rng.uniform(0.1, 8.8, size=n))
    return params, (times, rng.integers(0, 3, size=n), rng.exponential(0.8, size=n), edges)


WRONG = [
    wrong(
        "decay_through_the_exponent_only",
        "missing-path",
        "alpha[:, k] * (before[i] + beta * by_decay)",
        "alpha[:, k] * beta * by_decay",
    ),
    wrong(
        "fading_of_the_wrong_sign",
        "wrong-sign",
        "by_decay = fade * (by_decay - gap * after[i - 1])",
        "by_decay = fade * (by_decay + gap * after[i - 1])",
    ),
    wrong(
        "fading_over_the_last_gap_only",
        "truncated-in-time|missing-path",
        "by_decay = fade * (by_decay - gap * after[i - 1])",
        "by_decay = -fade * gap * after[i - 1]",
    ),
    wrong(
        "what_was_left_before_the_last_event",
        "wrong-operand|shifted-in-time|missing-path",
        "- gap * after[i - 1])",
        "- gap * before[i - 1])",
    ),
    wrong(
        "growth_not_faded",
        "missing-derivative",
        "            by_growth = fade * by_growth\n",
        "",
    ),
    wrong(
        "weight_forgotten_in_the_growth",
        "missing-derivative|wrong-operand",
        "+= weight[i - 1] * magnitude[i - 1]",
        "+= magnitude[i - 1]",
    ),
    wrong(
        "excitation_in_the_row",
        "transposed|wrong-axis|wrong-operand",
        "dalpha[:, k] += share",
        "dalpha[k] += share",
    ),
    wrong(
        "decay_of_the_excited_kind",
        "wrong-operand",
        "dalpha[:, k] += share * beta * before[i]",
        "dalpha[:, k] += share * beta[k] * before[i]",
    ),
    wrong("background_assigned", "overwritten", "dmu[season[i], k] += share", "dmu[season[i], k] = share"),
    wrong(
        "lengths_of_the_seasons_forgotten",
        "missing-derivative|wrong-operand",
        "    dmu += lengths[:, None]\n",
        "    dmu += 1\n",
    ),
    wrong(
        "logarithm_at_the_background",
        "derivative-at-wrong-point|wrong-operand",
        "share = -1 / intensity[i]",
        "share = -1 / mu[season[i], k]",
    ),
    wrong(
        "offspring_not_in_the_decay",
        "missing-path",
        "        dbeta[k] += children[k] * weight[i] * left[i] * np.exp(-beta[k] * left[i])\n",
        "",
    ),
    wrong(
        "softplus_slope_at_the_excitation",
        "derivative-at-wrong-point",
        "dalpha * (1 - np.exp(-alpha))",
        "dalpha / (1 + np.exp(-alpha))",
    ),
    wrong("decay_not_through_its_logarithm", "missing-derivative", "dbeta * beta / n", "dbeta / n"),
    wrong(
        "excitation_of_itself_penalised",
        "wrong-part-penalised",
        "dalpha / n + 2 * 0.4 * across",
        "dalpha / n + 2 * 0.4 * alpha",
    ),
    wrong(
        "two_of_the_penalty_forgotten",
        "wrong-scale|wrong-term-weight",
        "dalpha / n + 2 * 0.4 * across",
        "dalpha / n + 0.4 * across",
    ),
    wrong(
        "excited_and_exciting_swapped_in_both",
        "transposed|not-transposed|wrong-axis|wrong-operand",
        "np.sum(alpha[:, kind[i]] * beta * before[i])",
        "np.sum(alpha[kind[i]] * beta * before[i])",
        "dalpha[:, k] += share",
        "dalpha[k] += share",
        "dbeta += share * alpha[:, k]",
        "dbeta += share * alpha[k]",
        "np.sum(alpha[:, k] * beta * by_growth)",
        "np.sum(alpha[k] * beta * by_growth)",
    ),
    wrong(
        "window_ends_at_the_last_event_in_both",
        "wrong-operand|different-function",
        "left = edges[-1] - times",
        "left = times[-1] - times",
    ),
    wrong(
        "kernel_not_normalised_in_both",
        "different-function|missing-path|wrong-operand",
        "np.sum(alpha[:, kind[i]] * beta * before[i])",
        "np.sum(alpha[:, kind[i]] * before[i])",
        "dalpha[:, k] += share * beta * before[i]",
        "dalpha[:, k] += share * before[i]",
        "alpha[:, k] * (before[i] + beta * by_decay)",
        "alpha[:, k] * by_decay",
        "np.sum(alpha[:, k] * beta * by_growth)",
        "np.sum(alpha[:, k] * by_growth)",
    ),
    wrong(
        "likelihood_not_averaged_in_cost",
        "wrong-loss",
        "- np.sum(np.log(intensity))) / n + 0.4",
        "- np.sum(np.log(intensity))) + 0.4",
    ),
]

TOGETHER = [
    ("decay_through_the_exponent_only", "excitation_of_itself_penalised"),
    ("fading_of_the_wrong_sign", "growth_not_faded"),
    ("excitation_in_the_row", "weight_forgotten_in_the_growth"),
    ("background_assigned", "offspring_not_in_the_decay"),
    ("logarithm_at_the_background", "two_of_the_penalty_forgotten"),
    ("weight_forgotten_in_the_growth", "softplus_slope_at_the_excitation", "lengths_of_the_seasons_forgotten"),
    ("what_was_left_before_the_last_event", "decay_of_the_excited_kind", "background_assigned"),
]

RIGHT = [
    right(
        "offspring_by_add_at",
        "    for i in range(n):\n"
        "        k = kind[i]\n"
        "        dalpha[k] += weight[i] * done[i]\n"
        "        dbeta[k] += children[k] * weight[i] * left[i] * np.exp(-beta[k] * left[i])\n"
        "        dgrowth += children[k] * weight[i] * magnitude[i] * done[i]\n",
        "    dalpha += np.bincount(kind, weights=weight * done, minlength=kinds)[:, None]\n"
        "    np.add.at(dbeta, kind, children[kind] * weight * left * (1 - done))\n"
        "    dgrowth += (children[kind] * magnitude) @ (weight * done)\n",
    ),
    right(
        "all_pairs_of_events",
        "    # derivatives of `before`: of each kind by its decay, and by the growth\n"
        "    by_decay, by_growth = np.zeros(kinds), np.zeros(kinds)\n"
        "    for i in range(n):\n"
        "        k = kind[i]\n"
        "        if i > 0:\n"
        "            gap = times[i] - times[i - 1]\n"
        "            fade = np.exp(-beta * gap)\n"
        "            by_growth[kind[i - 1]] += weight[i - 1] * magnitude[i - 1]\n"
        "            by_growth = fade * by_growth\n"
        "            by_decay = fade * (by_decay - gap * after[i - 1])\n"
        "        share = -1 / intensity[i]\n"
        "        dmu[season[i], k] += share\n"
        "        dalpha[:, k] += share * beta * before[i]\n"
        "        dbeta += share * alpha[:, k] * (before[i] + beta * by_decay)\n"
        "        dgrowth += share * np.sum(alpha[:, k] * beta * by_growth)\n",
        "    for i in range(n):\n"
        "        dmu[season[i], kind[i]] -= 1 / intensity[i]\n"
        "        for j in range(i):\n"
        "            source, gap = kind[j], times[i] - times[j]\n"
        "            kernel = beta[source] * np.exp(-beta[source] * gap) * weight[j] / intensity[i]\n"
        "            dalpha[source, kind[i]] -= kernel\n"
        "            kernel = alpha[source, kind[i]] * kernel\n"
        "            dbeta[source] -= kernel * (1 / beta[source] - gap)\n"
        "            dgrowth -= kernel * magnitude[j]\n",
    ),
    right(
        "backwards_through_the_recursion",
        "    # derivatives of `before`: of each kind by its decay, and by the growth\n"
        "    by_decay, by_growth = np.zeros(kinds), np.zeros(kinds)\n"
        "    for i in range(n):\n"
        "        k = kind[i]\n"
        "        if i > 0:\n"
        "            gap = times[i] - times[i - 1]\n"
        "            fade = np.exp(-beta * gap)\n"
        "            by_growth[kind[i - 1]] += weight[i - 1] * magnitude[i - 1]\n"
        "            by_growth = fade * by_growth\n"
        "            by_decay = fade * (by_decay - gap * after[i - 1])\n"
        "        share = -1 / intensity[i]\n"
        "        dmu[season[i], k] += share\n"
        "        dalpha[:, k] += share * beta * before[i]\n"
        "        dbeta += share * alpha[:, k] * (before[i] + beta * by_decay)\n"
        "        dgrowth += share * np.sum(alpha[:, k] * beta * by_growth)\n",
        "    dafter = np.zeros(kinds)\n"
        "    for i in reversed(range(n)):\n"
        "        k = kind[i]\n"
        "        dgrowth += dafter[k] * weight[i] * magnitude[i]\n"
        "        share = -1 / intensity[i]\n"
        "        dmu[season[i], k] += share\n"
        "        dalpha[:, k] += share * beta * before[i]\n"
        "        dbeta += share * alpha[:, k] * before[i]\n"
        "        dbefore = dafter + share * alpha[:, k] * beta\n"
        "        if i > 0:\n"
        "            gap = times[i] - times[i - 1]\n"
        "            dbeta -= gap * dbefore * before[i]\n"
        "            dafter = dbefore * np.exp(-beta * gap)\n",
    ),
]
