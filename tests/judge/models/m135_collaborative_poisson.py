"""A Poisson matrix factorisation: positive factors by softplus, the users' context, popular items."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong

BATCH_AXIS = None


def reference(params, who, what, counts, context):
    theta = F.softplus(params["U"] + context @ params["M"])
    beta = F.softplus(params["V"])
    affinity = torch.einsum("pk,pk->p", theta[who], F.embedding(what, beta))
    log_rate = torch.log(affinity) + params["offset"][what]
    return {
        "counts": F.poisson_nll_loss(log_rate, counts, log_input=True, full=False),
        # the density of a gamma distribution of shape 1.6 and rate 0.9, but for its constant
        "users": 0.5 * (0.9 * theta - 0.6 * theta.log()).mean(),
        "items": 0.2 * beta.square().mean(),
    }


def softplus(v):
    return np.maximum(v, 0) + np.log1p(np.exp(-np.abs(v)))


def logistic(v):
    return 1 / (1 + np.exp(-v))


def gamma_cost(theta, shape, tilt):
    return tilt * theta - (shape - 1) * np.log(theta)


def gamma_slope(theta, shape, tilt):
    return tilt - (shape - 1) / theta


def candidate(params, who, what, counts, context, shape=1.6, tilt=0.9, lam_users=0.5, lam_items=0.2):
    U, V, M, popularity = params["U"], params["V"], params["M"], params["offset"]
    pre = U + context @ M
    theta = softplus(pre)
    beta = softplus(V)
    match = np.sum(theta[who] * beta[what], axis=1)
    rate = np.exp(popularity[what]) * match
    likelihood = np.mean(counts * np.log(rate) - rate)
    loss = -likelihood + lam_users * np.mean(gamma_cost(theta, shape, tilt)) + lam_items * np.mean(beta**2)

    # each observed pair pulls at its user, its item and the item's popularity
    pairs = len(counts)
    miss = (rate - counts) / pairs
    doffset = np.zeros_like(popularity)
    np.add.at(doffset, what, miss)
    pull = (miss / match)[:, None]
    dtheta = lam_users * gamma_slope(theta, shape, tilt) / theta.size
    np.add.at(dtheta, who, pull * beta[what])
    dbeta = lam_items * 2 * beta / beta.size
    np.add.at(dbeta, what, pull * theta[who])
    # back through the softplus
    dU = dtheta * logistic(pre)
    dM = context.T @ dU
    dV = dbeta * logistic(V)
    return loss, {"U": dU, "V": dV, "M": dM, "offset": doffset}


def problem(rng):
    params = {
        "U": rng.normal(size=(5, 3)) * 0.8,
        "V": rng.normal(size=(6, 3)) * 0.8,
        "M": rng.normal(size=(4, 3)) * 0.5,
        "offset": rng.normal(size=6) * 0.5,
    }
    who = np.array([0, 1, 1, 2, 2, 3, 4, 4, 4])
    what = np.array([1, 3, 0, 1, 4, 2, 5, 3, 1])
    counts = rng.poisson(2.5, size=9).astype(float)
    return params, (who, what, counts, rng.normal(size=(5, 4)))


WRONG = [
    wrong(
        "users_met_twice_count_once",
        "overwritten",
        "np.add.at(dtheta, who, pull * beta[what])",
        "dtheta[who] += pull * beta[what]",
    ),
    wrong(
        "popularity_of_the_last_pair",
        "overwritten",
        "np.add.at(doffset, what, miss)",
        "doffset[what] = miss",
    ),
    wrong(
        "users_softplus_slope_forgotten",
        "missing-derivative",
        "dU = dtheta * logistic(pre)",
        "dU = dtheta",
    ),
    wrong(
        "users_softplus_slope_at_its_output",
        "derivative-at-wrong-point",
        "dU = dtheta * logistic(pre)",
        "dU = dtheta * logistic(theta)",
    ),
    wrong(
        "sigmoid_slope_for_the_items_softplus",
        "different-function|extra-derivative",
        "dV = dbeta * logistic(V)",
        "dV = dbeta * logistic(V) * (1 - logistic(V))",
    ),
    wrong(
        "factors_pulled_by_the_plain_miss",
        "missing-derivative|different-function",
        "pull = (miss / match)[:, None]",
        "pull = miss[:, None]",
    ),
    wrong(
        "slope_by_the_rate_for_the_log_rate",
        "missing-derivative|different-function",
        "miss = (rate - counts) / pairs",
        "miss = (1 - counts / rate) / pairs",
    ),
    wrong(
        "logarithm_of_the_prior_forgotten",
        "missing-path|different-function",
        "return tilt - (shape - 1) / theta",
        "return np.full_like(theta, tilt)",
    ),
    wrong(
        "prior_of_the_users_at_every_pair",
        "wrong-term-weight|wrong-part-penalised|wrong-reduction|different-function",
        "dtheta = lam_users * gamma_slope(theta, shape, tilt) / theta.size\n"
        "    np.add.at(dtheta, who, pull * beta[what])",
        "dtheta = np.zeros_like(theta)\n"
        "    prior = lam_users * gamma_slope(theta, shape, tilt) / theta.size\n"
        "    np.add.at(dtheta, who, pull * beta[what] + prior[who])",
    ),
    wrong(
        "items_shrunk_as_strongly_as_users",
        "wrong-term-weight|wrong-operand|wrong-scale",
        "dbeta = lam_items * 2 * beta",
        "dbeta = lam_users * 2 * beta",
    ),
    wrong(
        "raw_items_shrunk_in_both",
        "wrong-operand|different-function|wrong-part-penalised",
        "lam_items * np.mean(beta**2)",
        "lam_items * np.mean(V**2)",
        "dbeta = lam_items * 2 * beta / beta.size",
        "dbeta = np.zeros_like(beta)",
        "dV = dbeta * logistic(V)",
        "dV = dbeta * logistic(V) + lam_items * 2 * V / V.size",
    ),
    wrong(
        "context_before_the_softplus_slope",
        "missing-derivative",
        "dM = context.T @ dU",
        "dM = context.T @ dtheta",
    ),
    wrong(
        "context_moved_by_the_pairs_only",
        "missing-path|wrong-term-weight|wrong-part-penalised",
        "dM = context.T @ dU",
        "dM = context[who].T @ (pull * beta[what] * logistic(pre)[who])",
    ),
    wrong(
        "items_pulled_along_themselves",
        "wrong-operand",
        "np.add.at(dbeta, what, pull * theta[who])",
        "np.add.at(dbeta, what, pull * beta[what])",
    ),
    wrong(
        "popularity_looked_up_by_user_in_both",
        "wrong-operand|different-function",
        "np.exp(popularity[what])",
        "np.exp(popularity[who])",
        "np.add.at(doffset, what, miss)",
        "np.add.at(doffset, who, miss)",
    ),
    wrong(
        "logarithm_without_popularity_in_cost",
        "wrong-loss",
        "counts * np.log(rate) - rate",
        "counts * np.log(match) - rate",
    ),
]

TOGETHER = [
    ("users_met_twice_count_once", "sigmoid_slope_for_the_items_softplus"),
    ("popularity_of_the_last_pair", "users_softplus_slope_at_its_output"),
    ("items_shrunk_as_strongly_as_users", "items_pulled_along_themselves"),
    ("users_met_twice_count_once", "context_before_the_softplus_slope"),
    ("logarithm_of_the_prior_forgotten", "items_shrunk_as_strongly_as_users"),
    ("raw_items_shrunk_in_both", "popularity_of_the_last_pair"),
    ("factors_pulled_by_the_plain_miss", "context_before_the_softplus_slope", "popularity_of_the_last_pair"),
    ("users_met_twice_count_once", "logarithm_of_the_prior_forgotten", "sigmoid_slope_for_the_items_softplus"),
]

RIGHT = [
    right(
        "pair_by_pair",
        "    np.add.at(doffset, what, miss)\n    pull = (miss / match)[:, None]\n",
        "",
        "    np.add.at(dtheta, who, pull * beta[what])\n",
        "",
        "    np.add.at(dbeta, what, pull * theta[who])\n",
        "    for p in range(pairs):\n        u, i = who[p], what[p]\n        doffset[i] += miss[p]\n"
        "        dtheta[u] += miss[p] / match[p] * beta[i]\n"
        "        dbeta[i] += miss[p] / match[p] * theta[u]\n",
    ),
    right(
        "as_a_dense_matrix",
        "    miss = (rate - counts) / pairs\n    doffset = np.zeros_like(popularity)\n"
        "    np.add.at(doffset, what, miss)\n    pull = (miss / match)[:, None]\n",
        "    seen, total = np.zeros((2, len(U), len(V)))\n"
        "    np.add.at(seen, (who, what), 1.0)\n    np.add.at(total, (who, what), counts)\n"
        "    every = theta @ beta.T\n"
        "    dlog = (seen * every * np.exp(popularity) - total) / pairs\n"
        "    doffset = dlog.sum(axis=0)\n",
        "    np.add.at(dtheta, who, pull * beta[what])\n",
        "    dtheta += dlog / every @ beta\n",
        "    np.add.at(dbeta, what, pull * theta[who])\n",
        "    dbeta += (dlog / every).T @ theta\n",
    ),
    right(
        "slopes_from_the_factors_and_one_hot_rows",
        "    np.add.at(doffset, what, miss)\n",
        "    doffset += np.bincount(what, weights=miss, minlength=len(V))\n",
        "    np.add.at(dtheta, who, pull * beta[what])\n",
        "    dtheta += np.eye(len(U))[who].T @ (pull * beta[what])\n",
        "    dU = dtheta * logistic(pre)\n",
        "    dU = dtheta * (1 - np.exp(-theta))\n",
        "    dV = dbeta * logistic(V)\n",
        "    dV = dbeta - dbeta * np.exp(-beta)\n",
        "np.log(rate) - rate)",
        "(popularity[what] + np.log(match)) - rate)",
    ),
]
