"""Logistic matrix factorisation for implicit feedback: plays one by one, biases, an L2 penalty on the factors."""

import numpy as np
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, users, items, played):
    P, Q = params["P"], params["Q"]
    x = (P[users] * Q[items]).sum(1) + params["bu"][users] + params["bi"][items] + params["mu"]
    confidence = 3.0 * played
    return {
        "data": ((1 + confidence) * F.softplus(x) - confidence * x).mean(),
        "penalty": 0.5 * 0.2 * (P.square().sum() + Q.square().sum()),
    }


def candidate(params, users, items, played):
    P, Q = params["P"], params["Q"]
    bu, bi, mu = params["bu"], params["bi"], params["mu"]
    alpha, lam = 3.0, 0.2
    n = len(played)
    dP, dQ = np.zeros(P.shape), np.zeros(Q.shape)
    dbu, dbi, dmu = np.zeros(bu.shape), np.zeros(bi.shape), np.zeros(1)

    cost = 0.0
    errors = np.zeros(n)
    for s, (u, i, r) in enumerate(zip(users, items, played, strict=True)):
        x = mu[0] + bu[u] + bi[i] + P[u].dot(Q[i])
        prob = 1 / (1 + np.exp(-x))
        cost += (1 + alpha * r) * np.log(1 + np.exp(x)) - alpha * r * x
        errors[s] = (1 + alpha * r) * prob - alpha * r
    loss = cost / n + lam / 2 * (np.sum(P**2) + np.sum(Q**2))

    for u, i, e in zip(users, items, errors, strict=True):
        e = e / n
        dP[u] += e * Q[i]
        dQ[i] += e * P[u]
        dbu[u] += e
        dbi[i] += e
        dmu += e
    dP += lam * P
    dQ += lam * Q
    return loss, {"P": dP, "Q": dQ, "bu": dbu, "bi": dbi, "mu": dmu}


def problem(rng):
    n_users, n_items, k, n = 4, 5, 3, 7
    params = {
        "P": rng.normal(size=(n_users, k)),
        "Q": rng.normal(size=(n_items, k)),
        "bu": rng.normal(size=n_users) * 0.5,
        "bi": rng.normal(size=n_items) * 0.5,
        "mu": rng.normal(size=1) * 0.5,
    }
    users, items = rng.integers(0, n_users, size=n), rng.integers(0, n_items, size=n)
    played = np.array([1, 0, 1, 1, 0, 1, 0.0])
    return params, (users, items, played)


WRONG = [
    wrong("penalty_replaces_the_user_gradient", "overwritten|missing-path", "dP += lam * P", "dP = lam * P"),
    wrong("items_seen_twice_keep_the_last", "overwritten", "dQ[i] += e * P[u]", "dQ[i] = e * P[u]"),
    wrong(
        "user_already_updated_when_the_item_is",
        "wrong-operand",
        "        dP[u] += e * Q[i]\n        dQ[i] += e * P[u]\n",
        "        dP[u] += e * Q[i]\n        P = P.copy()\n        P[u] -= 0.1 * (e * Q[i] + lam * P[u])\n"
        "        dQ[i] += e * P[u]\n",
        "dP += lam * P",
        'dP += lam * params["P"]',
    ),
    wrong(
        "penalty_without_its_half_backwards",
        "wrong-term-weight|wrong-scale",
        "    dP += lam * P\n    dQ += lam * Q\n",
        "    dP += 2 * lam * P\n    dQ += 2 * lam * Q\n",
    ),
    wrong(
        "penalty_divided_by_the_plays",
        "wrong-term-weight|wrong-scale",
        "    dP += lam * P\n    dQ += lam * Q\n",
        "    dP += lam / n * P\n    dQ += lam / n * Q\n",
    ),
    wrong(
        "user_biases_shrunk_too",
        "wrong-part-penalised",
        "    dQ += lam * Q\n",
        "    dQ += lam * Q\n    dbu += lam * bu\n",
    ),
    wrong("items_not_shrunk", "missing-path|wrong-part-penalised", "    dQ += lam * Q\n", ""),
    wrong(
        "shrunk_at_every_play",
        "any",
        "dP[u] += e * Q[i]",
        "dP[u] += e * Q[i] + lam * P[u]",
        "    dP += lam * P\n",
        "",
    ),
    wrong(
        "confidence_multiplies_the_error",
        "different-function|wrong-operand|wrong-scale",
        "errors[s] = (1 + alpha * r) * prob - alpha * r",
        "errors[s] = (1 + alpha * r) * (prob - r)",
    ),
    wrong(
        "confidence_forgotten_backwards",
        "different-function|wrong-operand",
        "errors[s] = (1 + alpha * r) * prob - alpha * r",
        "errors[s] = prob - r",
    ),
    wrong(
        "gradient_of_the_likelihood_not_of_the_loss",
        "wrong-sign",
        "errors[s] = (1 + alpha * r) * prob - alpha * r",
        "errors[s] = alpha * r - (1 + alpha * r) * prob",
    ),
    wrong(
        "logistic_slope_applied_again",
        "extra-derivative",
        "errors[s] = (1 + alpha * r) * prob - alpha * r",
        "errors[s] = ((1 + alpha * r) * prob - alpha * r) * prob * (1 - prob)",
    ),
    wrong("items_own_factors_in_their_gradient", "wrong-operand", "dQ[i] += e * P[u]", "dQ[i] += e * Q[i]"),
    wrong("item_bias_at_the_users_place", "wrong-operand", "dbi[i] += e", "dbi[u] += e"),
    wrong("offset_averaged_twice", "wrong-scale", "dmu += e", "dmu += e / n"),
    wrong(
        "penalty_without_its_half_in_cost",
        "wrong-loss",
        "loss = cost / n + lam / 2 * (",
        "loss = cost / n + lam * (",
    ),
]

TOGETHER = [
    ("items_seen_twice_keep_the_last", "penalty_without_its_half_backwards"),
    ("user_already_updated_when_the_item_is", "offset_averaged_twice"),
    ("user_biases_shrunk_too", "logistic_slope_applied_again"),
    ("items_not_shrunk", "item_bias_at_the_users_place"),
    ("confidence_forgotten_backwards", "penalty_divided_by_the_plays"),
    ("gradient_of_the_likelihood_not_of_the_loss", "items_own_factors_in_their_gradient", "user_biases_shrunk_too"),
]

RIGHT = [
    right(
        "scattered_by_add_at",
        "    for u, i, e in zip(users, items, errors, strict=True):\n"
        "        e = e / n\n"
        "        dP[u] += e * Q[i]\n"
        "        dQ[i] += e * P[u]\n"
        "        dbu[u] += e\n"
        "        dbi[i] += e\n"
        "        dmu += e\n",
        "    errors /= n\n"
        "    np.add.at(dP, users, errors[:, None] * Q[items])\n"
        "    np.add.at(dQ, items, errors[:, None] * P[users])\n"
        "    dbu += np.bincount(users, weights=errors, minlength=len(bu))\n"
        "    dbi += np.bincount(items, weights=errors, minlength=len(bi))\n"
        "    dmu[0] = errors.sum()\n",
    ),
]
