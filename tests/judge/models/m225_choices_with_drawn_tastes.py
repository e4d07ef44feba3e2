"""A mixed logit of repeated choices: correlated tastes from given draws, a log-normal price, gaps in the panel."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, X, chosen, seen, draws):
    b = params["mean"] + draws @ torch.tril(params["chol"]).T
    taste = torch.cat([-torch.exp(b[..., :1]), b[..., 1:]], -1)
    constants = torch.cat([torch.zeros(1, dtype=X.dtype), params["asc"]])
    V = torch.einsum("ntjk,nrk->nrtj", X, taste) + constants
    logp = torch.log_softmax(V, -1)
    index = chosen[:, None, :, None].expand(-1, V.shape[1], -1, 1)
    path = (torch.gather(logp, -1, index)[..., 0] * seen[:, None]).sum(-1)
    return -(torch.logsumexp(path, 1) - np.log(draws.shape[1])).mean()


def tastes(mean, chol, draws):
    """One vector of tastes for every person and draw; the first is the price's, always negative."""
    b = mean + np.einsum("kl,nrl->nrk", np.tril(chol), draws)
    taste = b.copy()
    taste[:, :, 0] = -np.exp(b[:, :, 0])
    return taste


def probabilities(V):
    e = np.exp(V - V.max(axis=3, keepdims=True))
    return e / e.sum(axis=3, keepdims=True)


def candidate(params, X, chosen, seen, draws):
    persons, R = draws.shape[:2]
    n_alt = X.shape[2]
    taste = tastes(params["mean"], params["chol"], draws)
    V = np.einsum("ntjk,nrk->nrtj", X, taste)
    V[..., 1:] += params["asc"]
    P = probabilities(V)
    hit = np.eye(n_alt)[chosen]
    each = np.einsum("nrtj,ntj->nrt", P, hit)
    each = np.where(seen[:, None, :] > 0, each, 1.0)
    panel = each.prod(axis=2)
    simulated = panel.mean(axis=1)
    loss = -np.mean(np.log(simulated))

    # how much every draw counts for its person
    weight = panel / (R * simulated[:, None])
    dV = (P - hit[:, None]) * seen[:, None, :, None]
    dV = dV * weight[:, :, None, None] / persons
    dasc = dV[..., 1:].sum(axis=(0, 1, 2))
    dtaste = np.einsum("nrtj,ntjk->nrk", dV, X)
    db = dtaste.copy()
    db[:, :, 0] *= taste[:, :, 0]
    dmean = db.sum(axis=(0, 1))
    dchol = np.tril(np.einsum("nrk,nrl->kl", db, draws))
    return loss, {"mean": dmean, "chol": dchol, "asc": dasc}


def problem(rng):
    params = {
        "mean": rng.normal(size=2) * 0.5,
        "chol": rng.normal(size=(2, 2)) * 0.6,
        "asc": rng.normal(size=3) * 0.5,
    }
    persons, situations, alternatives, R = 5, 7, 4, 6
    X = rng.normal(size=(persons, situations, alternatives, 2))
    X[..., 0] = rng.uniform(0.2, 1.5, size=X.shape[:3])
    chosen = rng.integers(0, alternatives, size=(persons, situations))
    seen = (np.arange(situations) < np.array([7, 4, 5, 6, 3])[:, None]).astype(float)
    return params, (X, chosen, seen, rng.normal(size=(persons, R, 2)))


WRONG = [
    wrong(
        "draws_weighted_alike",
        "different-function|missing-derivative",
        "weight = panel / (R * simulated[:, None])",
        "weight = np.ones_like(panel) / R",
    ),
    wrong(
        "likelihood_of_the_draw_not_over_the_simulated",
        "missing-derivative|different-function",
        "weight = panel / (R * simulated[:, None])",
        "weight = panel / R",
    ),
    wrong(
        "derivative_of_the_log_normal_forgotten",
        "missing-derivative",
        "    db[:, :, 0] *= taste[:, :, 0]\n",
        "",
    ),
    wrong(
        "minus_of_the_price_forgotten",
        "wrong-sign",
        "db[:, :, 0] *= taste[:, :, 0]",
        "db[:, :, 0] *= -taste[:, :, 0]",
    ),
    wrong(
        "whole_square_of_the_factor_filled",
        "missing-derivative",
        'dchol = np.tril(np.einsum("nrk,nrl->kl", db, draws))',
        'dchol = np.einsum("nrk,nrl->kl", db, draws)',
    ),
    wrong(
        "factor_of_the_draws_transposed",
        "transposed",
        'dchol = np.tril(np.einsum("nrk,nrl->kl", db, draws))',
        'dchol = np.tril(np.einsum("nrk,nrl->lk", db, draws))',
    ),
    wrong(
        "spreads_taken_as_uncorrelated",
        "missing-path",
        'dchol = np.tril(np.einsum("nrk,nrl->kl", db, draws))',
        'dchol = np.diag(np.einsum("nrk,nrk->k", db, draws))',
    ),
    wrong(
        "unseen_situations_push_too",
        "missing-derivative|wrong-operand",
        "dV = (P - hit[:, None]) * seen[:, None, :, None]",
        "dV = P - hit[:, None]",
    ),
    wrong(
        "average_of_the_logarithms_in_both",
        "different-function",
        "loss = -np.mean(np.log(simulated))",
        "loss = -np.mean(np.log(panel))",
        "weight = panel / (R * simulated[:, None])",
        "weight = np.ones_like(panel) / R",
    ),
    wrong(
        "situations_weighted_one_by_one",
        "different-function|wrong-axis",
        "dV = dV * weight[:, :, None, None] / persons",
        "dV = dV * (each / each.sum(axis=1, keepdims=True))[..., None] / persons",
    ),
    wrong(
        "constants_averaged_over_the_draws",
        "wrong-reduction|wrong-scale",
        "dasc = dV[..., 1:].sum(axis=(0, 1, 2))",
        "dasc = dV[..., 1:].mean(axis=1).sum(axis=(0, 1))",
    ),
    wrong(
        "constants_of_the_first_alternatives",
        "wrong-operand",
        "dasc = dV[..., 1:].sum(axis=(0, 1, 2))",
        "dasc = dV[..., :-1].sum(axis=(0, 1, 2))",
    ),
]

TOGETHER = [
    ("draws_weighted_alike", "derivative_of_the_log_normal_forgotten"),
    ("unseen_situations_push_too", "spreads_taken_as_uncorrelated"),
    ("minus_of_the_price_forgotten", "constants_averaged_over_the_draws"),
    ("likelihood_of_the_draw_not_over_the_simulated", "constants_of_the_first_alternatives"),
]

RIGHT = [
    right(
        "person_by_person",
        '    dtaste = np.einsum("nrtj,ntjk->nrk", dV, X)\n',
        "    dtaste = np.zeros_like(taste)\n"
        "    for i in range(persons):\n"
        "        for r in range(R):\n"
        "            for t in np.flatnonzero(seen[i]):\n"
        "                dtaste[i, r] += X[i, t].T @ dV[i, r, t]\n",
        "    weight = panel / (R * simulated[:, None])\n",
        "    weight = panel / panel.sum(axis=1, keepdims=True)\n",
    ),
]
