"""The item response model of three parameters: abilities, discriminations, difficulties, guesses; some unanswered."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, U, M):
    a = torch.exp(params["la"])
    c = torch.sigmoid(params["g"])
    P = c + (1 - c) * torch.sigmoid(1.7 * a * (params["t"][:, None] - params["b"]))
    answers = U * torch.log(P) + (1 - U) * torch.log(1 - P)
    prior = 0.25 * (params["t"] ** 2).mean() + 0.2 * (params["la"] ** 2).sum()
    return -(M * answers).sum() / M.sum() + prior


def sig(x):
    return 1 / (1 + np.exp(-x))


def candidate(params, U, M):
    t, la, b, g = (params[k] for k in ("t", "la", "b", "g"))
    D, lam, tau, n = 1.7, 0.5, 0.4, M.sum()
    a, c = np.exp(la), sig(g)
    x = D * a * (t[:, None] - b)
    s = sig(x)
    P = c + (1 - c) * s
    loss = -(M * (U * np.log(P) + (1 - U) * np.log(1 - P))).sum() / n + lam / 2 * (t**2).mean() + tau / 2 * la @ la

    dP = M * ((1 - U) / (1 - P) - U / P) / n
    dx = dP * (1 - c) * s * (1 - s)
    dt = (dx * D * a).sum(1) + lam * t / t.size
    db = -(dx * D * a).sum(0)
    da = (dx * D * (t[:, None] - b)).sum(0)
    dla = da * a + tau * la
    dc = (dP * (1 - s)).sum(0)
    dg = dc * c * (1 - c)
    return loss, dict(t=dt, la=dla, b=db, g=dg)


def problem(rng):
    students, items = 9, 6
    params = {
        "t": rng.normal(size=students),
        "la": rng.normal(size=items) * 0.4,
        "b": rng.normal(size=items) * 0.8,
        "g": rng.normal(size=items) * 0.6 - 1.0,
    }
    U = (rng.random((students, items)) < 0.6).astype(float)
    M = (rng.random((students, items)) < 0.8).astype(float)
    return params, (U, M)


WRONG = [
    wrong(
        "room_above_the_guess_forgotten",
        "missing-derivative",
        "dx = dP * (1 - c) * s * (1 - s)",
        "dx = dP * s * (1 - s)",
    ),
    wrong(
        "logistic_slope_at_the_whole_probability",
        "derivative-at-wrong-point|wrong-operand|different-function",
        "dx = dP * (1 - c) * s * (1 - s)",
        "dx = dP * (1 - c) * P * (1 - P)",
    ),
    wrong(
        "residual_of_the_model_without_guessing",
        "different-function|missing-derivative|wrong-operand",
        "dx = dP * (1 - c) * s * (1 - s)",
        "dx = M * (P - U) / n",
    ),
    wrong(
        "difficulties_without_the_constant",
        "wrong-scale|missing-derivative",
        "db = -(dx * D * a).sum(0)",
        "db = -(dx * a).sum(0)",
    ),
    wrong("difficulties_without_their_minus", "wrong-sign", "db = -(dx * D * a).sum(0)", "db = (dx * D * a).sum(0)"),
    wrong(
        "discrimination_instead_of_its_logarithm",
        "missing-derivative",
        "dla = da * a + tau * la",
        "dla = da + tau * la",
    ),
    wrong(
        "guess_only_lifts_the_floor",
        "missing-path|missing-derivative",
        "dc = (dP * (1 - s)).sum(0)",
        "dc = dP.sum(0)",
    ),
    wrong("slope_of_the_guess_forgotten", "missing-derivative", "dg = dc * c * (1 - c)", "dg = dc"),
    wrong(
        "unanswered_counted_in_the_gradient",
        "missing-derivative|different-function|wrong-operand",
        "dP = M * ((1 - U) / (1 - P) - U / P) / n",
        "dP = ((1 - U) / (1 - P) - U / P) / n",
    ),
    wrong(
        "averaged_over_all_cells",
        "wrong-term-weight|wrong-scale|wrong-reduction",
        "- U / P) / n",
        "- U / P) / U.size",
    ),
    wrong(
        "prior_of_the_abilities_not_averaged",
        "wrong-term-weight|wrong-reduction|wrong-scale",
        "+ lam * t / t.size",
        "+ lam * t",
    ),
    wrong("no_constant_in_both", "different-function|wrong-scale", "D, lam, tau, n = 1.7,", "D, lam, tau, n = 1.0,"),
    wrong(
        "prior_on_the_discrimination_itself",
        "wrong-operand|different-function|derivative-at-wrong-point",
        "dla = da * a + tau * la",
        "dla = da * a + tau * a",
    ),
    wrong(
        "prior_of_the_abilities_summed_in_cost",
        "wrong-loss|wrong-term-weight|wrong-reduction",
        "lam / 2 * (t**2).mean()",
        "lam / 2 * (t**2).sum()",
    ),
]

TOGETHER = [
    ("room_above_the_guess_forgotten", "slope_of_the_guess_forgotten"),
    ("logistic_slope_at_the_whole_probability", "discrimination_instead_of_its_logarithm"),
    ("difficulties_without_their_minus", "prior_of_the_abilities_not_averaged"),
    ("guess_only_lifts_the_floor", "slope_of_the_guess_forgotten"),
    ("unanswered_counted_in_the_gradient", "difficulties_without_the_constant"),
    ("averaged_over_all_cells", "guess_only_lifts_the_floor"),
    ("no_constant_in_both", "slope_of_the_guess_forgotten"),
    ("prior_of_the_abilities_summed_in_cost", "room_above_the_guess_forgotten"),
    ("room_above_the_guess_forgotten", "difficulties_without_their_minus", "prior_on_the_discrimination_itself"),
    ("slope_of_the_guess_forgotten", "discrimination_instead_of_its_logarithm", "prior_of_the_abilities_not_averaged"),
]

RIGHT = [
    right(
        "weights_of_the_textbook",
        "dP = M * ((1 - U) / (1 - P) - U / P) / n",
        "dP = M / n * (P - U) / (P * (1 - P))",
        "dx = dP * (1 - c) * s * (1 - s)",
        "dx = dP * (P - c) * (1 - P) / (1 - c)",
        "dla = da * a + tau * la",
        "dla = (dx * x).sum(0) + tau * la",
    ),
    right(
        "einsum_and_one_minus_twice",
        "dt = (dx * D * a).sum(1)",
        "dt = D * np.einsum('ij,j->i', dx, a)",
        "dc = (dP * (1 - s)).sum(0)",
        "dc = ((dP * (1 - P)) / (1 - c)).sum(0)",
    ),
]
