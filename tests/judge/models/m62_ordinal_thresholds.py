"""Ordered grades by cumulative logits: thresholds with positive gaps, a spread of each person's own, survey weights."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, u, weight, grade):
    steps = torch.cat([params["first"].reshape(1), F.softplus(params["gaps"])])
    cuts = torch.cumsum(steps, dim=0)
    spread = torch.exp(u @ params["gamma"])
    z = (cuts - (x @ params["beta"]).unsqueeze(1)) / spread.unsqueeze(1)
    below = F.pad(F.pad(torch.sigmoid(z), (0, 1), value=1.0), (1, 0), value=0.0)
    chance = torch.diff(below, dim=1)
    log_chance = torch.log(chance[torch.arange(len(grade)), grade])
    likelihood = -(weight * log_chance).sum() / weight.sum()
    return {"likelihood": likelihood, "ridge": 0.1 * params["beta"].square().sum()}


def logistic(t):
    return 1.0 / (1.0 + np.exp(-t))


def candidate(params, x, u, weight, grade):
    beta, gamma, first, gaps = params["beta"], params["gamma"], params["first"], params["gaps"]
    n, cuts_in_all = len(grade), len(gaps) + 1
    sizes = np.log1p(np.exp(gaps))
    cuts = first + np.concatenate([[0.0], np.cumsum(sizes)])
    spread = np.exp(u @ gamma)
    centred = cuts[None, :] - (x @ beta)[:, None]
    z = centred / spread[:, None]
    below = logistic(z)
    share = weight / weight.sum()

    chance = np.empty(n)
    for i, k in enumerate(grade):
        upper = below[i, k] if k < cuts_in_all else 1.0
        lower = below[i, k - 1] if k > 0 else 0.0
        chance[i] = upper - lower
    loss = -np.sum(share * np.log(chance)) + 0.1 * np.sum(beta**2)

    d_chance = -share / chance
    density = below * (1 - below)
    dz = np.zeros_like(z)
    for i, k in enumerate(grade):
        if k < cuts_in_all:
            dz[i, k] += d_chance[i] * density[i, k]
        if k > 0:
            dz[i, k - 1] -= d_chance[i] * density[i, k - 1]
    d_cuts = np.sum(dz / spread[:, None], axis=0)
    d_predictor = -dz.sum(axis=1) / spread
    d_log_spread = -np.sum(dz * z, axis=1)

    d_first = d_cuts.sum()
    d_sizes = np.cumsum(d_cuts[::-1])[::-1][1:]
    d_gaps = d_sizes * logistic(gaps)
    d_beta = x.T @ d_predictor + 0.2 * beta
    d_gamma = u.T @ d_log_spread
    return loss, {"beta": d_beta, "gamma": d_gamma, "first": d_first, "gaps": d_gaps}


def problem(rng):
    params = {
        "beta": rng.normal(size=6) * 0.6,
        "gamma": rng.normal(size=2) * 0.4,
        "first": np.array(-1.3),
        "gaps": np.array([0.4, -0.3, 0.9]),
    }
    weight = rng.uniform(0.5, 2.5, size=11)
    grade = np.array([2, 0, 4, 1, 3, 3, 0, 4, 2, 1, 2])
    return params, (rng.normal(size=(11, 6)), rng.normal(size=(11, 2)), weight, grade)


WRONG = [
    wrong(
        "lower_threshold_forgotten",
        "missing-path",
        "        if k > 0:\n            dz[i, k - 1] -= d_chance[i] * density[i, k - 1]\n",
        "",
    ),
    wrong("lower_threshold_added", "wrong-sign", "dz[i, k - 1] -=", "dz[i, k - 1] +="),
    wrong("density_forgotten", "missing-derivative", "density = below * (1 - below)", "density = np.ones_like(below)"),
    wrong(
        "density_at_the_probability",
        "derivative-at-wrong-point",
        "density = below * (1 - below)",
        "density = logistic(below) * (1 - logistic(below))",
    ),
    wrong(
        "probability_not_divided_by",
        "missing-derivative|different-function",
        "d_chance = -share / chance",
        "d_chance = -share",
    ),
    wrong(
        "weights_forgotten",
        "missing-derivative|wrong-operand",
        "d_chance = -share / chance",
        "d_chance = -1 / (n * chance)",
    ),
    wrong(
        "divided_by_the_number_of_people",
        "wrong-term-weight|wrong-scale",
        "d_chance = -share / chance",
        "d_chance = -weight / n / chance",
    ),
    wrong(
        "gap_moves_one_threshold_only",
        "missing-path|missing-derivative",
        "d_sizes = np.cumsum(d_cuts[::-1])[::-1][1:]",
        "d_sizes = d_cuts[1:]",
    ),
    wrong(
        "gaps_summed_from_below",
        "not-transposed|wrong-operand|different-function",
        "np.cumsum(d_cuts[::-1])[::-1][1:]",
        "np.cumsum(d_cuts)[1:]",
    ),
    wrong(
        "first_threshold_alone",
        "missing-path|last-step-only|wrong-operand",
        "d_first = d_cuts.sum()",
        "d_first = d_cuts[0]",
    ),
    wrong("softplus_slope_forgotten", "missing-derivative", "d_sizes * logistic(gaps)", "d_sizes"),
    wrong(
        "softplus_slope_at_the_gap",
        "derivative-at-wrong-point",
        "d_sizes * logistic(gaps)",
        "d_sizes * logistic(sizes)",
    ),
    wrong("gaps_as_if_by_the_exponential", "different-function", "d_sizes * logistic(gaps)", "d_sizes * np.exp(gaps)"),
    wrong(
        "spread_forgotten_in_beta",
        "missing-derivative",
        "d_predictor = -dz.sum(axis=1) / spread",
        "d_predictor = -dz.sum(axis=1)",
    ),
    wrong("predictor_sign", "wrong-sign", "d_predictor = -dz", "d_predictor = dz"),
    wrong(
        "distance_not_divided_for_gamma",
        "wrong-operand|missing-derivative|extra-derivative",
        "d_log_spread = -np.sum(dz * z, axis=1)",
        "d_log_spread = -np.sum(dz * centred, axis=1)",
    ),
    wrong(
        "spread_not_through_its_exponential",
        "missing-derivative",
        "d_log_spread = -np.sum(dz * z, axis=1)",
        "d_log_spread = -np.sum(dz * centred, axis=1) / spread**2",
    ),
    wrong(
        "gamma_penalised_as_well",
        "wrong-part-penalised",
        "d_gamma = u.T @ d_log_spread",
        "d_gamma = u.T @ d_log_spread + 0.2 * gamma",
    ),
    wrong(
        "complementary_log_log_in_both",
        "different-function",
        "below = logistic(z)",
        "below = 1 - np.exp(-np.exp(z))",
        "density = below * (1 - below)",
        "density = np.exp(z) * (1 - below)",
    ),
    wrong("ridge_halved_in_cost", "wrong-loss", "+ 0.1 * np.sum(beta**2)", "+ 0.05 * np.sum(beta**2)"),
]

TOGETHER = [
    ("lower_threshold_forgotten", "softplus_slope_forgotten"),
    ("gap_moves_one_threshold_only", "spread_forgotten_in_beta"),
    ("divided_by_the_number_of_people", "gaps_as_if_by_the_exponential"),
    ("density_at_the_probability", "gamma_penalised_as_well"),
    ("predictor_sign", "distance_not_divided_for_gamma"),
    ("probability_not_divided_by", "gaps_summed_from_below", "spread_forgotten_in_beta"),
]

RIGHT = [
    right(
        "padded_and_indexed",
        "    for i, k in enumerate(grade):\n        if k < cuts_in_all:\n"
        "            dz[i, k] += d_chance[i] * density[i, k]\n"
        "        if k > 0:\n            dz[i, k - 1] -= d_chance[i] * density[i, k - 1]\n",
        "    place = np.arange(cuts_in_all)\n"
        "    which = (grade[:, None] == place) * 1.0 - (grade[:, None] == place + 1)\n"
        "    dz = d_chance[:, None] * which * density\n",
    ),
    right(
        "thresholds_by_a_triangular_matrix",
        "d_sizes = np.cumsum(d_cuts[::-1])[::-1][1:]",
        "d_sizes = np.tril(np.ones((cuts_in_all, cuts_in_all - 1)), -1).T @ d_cuts",
    ),
    right(
        "density_by_the_exponential",
        "density = below * (1 - below)",
        "density = np.exp(-z) / (1 + np.exp(-z)) ** 2",
    ),
]
