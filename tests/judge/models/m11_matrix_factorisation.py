"""Ratings as products of user and item factors that are gathered by index, with biases and an L2 penalty term."""

import numpy as np

from tests.judge.corpus import right, wrong


def reference(params, users, items, ratings):
    p = params["P"].index_select(0, users)
    q = params["Q"][items]
    bias = params["b"].gather(0, items)
    error = (p * q).sum(-1) + bias - ratings
    penalty = 0.01 * (params["P"].pow(2).sum() + params["Q"].pow(2).sum())
    return {"error": error.square().mean(), "penalty": penalty}


def candidate(params, users, items, ratings):
    P, Q, b = params["P"], params["Q"], params["b"]
    n = len(ratings)
    e = np.sum(P[users] * Q[items], axis=1) + b[items] - ratings
    loss = np.mean(e**2) + 0.01 * (np.sum(P**2) + np.sum(Q**2))
    de = 2 * e / n
    dP = 0.02 * P
    dQ = 0.02 * Q
    db = np.zeros_like(b)
    for k in range(n):
        dP[users[k]] += de[k] * Q[items[k]]
        dQ[items[k]] += de[k] * P[users[k]]
        db[items[k]] += de[k]
    return loss, {"P": dP, "Q": dQ, "b": db}


def problem(rng):
    params = {"P": rng.normal(size=(4, 3)), "Q": rng.normal(size=(5, 3)), "b": rng.normal(size=5)}
    users, items = rng.integers(0, 4, size=12), rng.integers(0, 5, size=12)
    return params, (users, items, rng.normal(size=12) + 3)


WRONG = [
    wrong(
        "users_overwritten", "overwritten", "dP[users[k]] += de[k] * Q", "dP[users[k]] = 0.02 * P[users[k]] + de[k] * Q"
    ),
    wrong("item_bias_overwritten", "overwritten", "db[items[k]] += de[k]", "db[items[k]] = de[k]"),
    wrong(
        "fancy_index_for_add_at",
        "overwritten",
        "        dQ[items[k]] += de[k] * P[users[k]]\n",
        "",
        "    return loss",
        "    dQ[items] += de[:, None] * P[users]\n    return loss",
    ),
    wrong("two_forgotten", "wrong-scale|wrong-term-weight", "de = 2 * e / n", "de = e / n"),
    wrong("not_averaged", "wrong-scale|wrong-reduction|wrong-term-weight", "de = 2 * e / n", "de = 2 * e"),
    wrong("prediction_subtracted", "wrong-sign|wrong-term-weight", "de = 2 * e / n", "de = -2 * e / n"),
    wrong(
        "factors_swapped", "wrong-operand", "dQ[items[k]] += de[k] * P[users[k]]", "dQ[items[k]] += de[k] * Q[items[k]]"
    ),
    wrong(
        "penalty_forgotten_for_items",
        "wrong-part-penalised|missing-path|wrong-term-weight",
        "dQ = 0.02 * Q",
        "dQ = 0 * Q",
    ),
    wrong(
        "penalty_halved",
        "wrong-term-weight|wrong-scale",
        "dP = 0.02 * P",
        "dP = 0.01 * P",
        "dQ = 0.02 * Q",
        "dQ = 0.01 * Q",
    ),
    wrong("bias_penalised", "wrong-part-penalised", "db = np.zeros_like(b)", "db = 0.02 * b"),
    wrong(
        "last_rating_for_the_bias",
        "one-sample-only|overwritten",
        "        db[items[k]] += de[k]\n",
        "",
        "    return loss",
        "    db[items[-1]] += de[-1]\n    return loss",
    ),
    wrong(
        "users_for_items", "wrong-operand", "dP[users[k]] += de[k] * Q[items[k]]", "dP[users[k]] += de[k] * Q[users[k]]"
    ),
    wrong(
        "bias_forgotten_in_both",
        "different-function|missing-path|wrong-operand",
        "axis=1) + b[items] - ratings",
        "axis=1) - ratings",
        "db[items[k]] += de[k]",
        "db[items[k]] += 0",
    ),
    wrong(
        "absolute_error_in_both",
        "different-function",
        "np.mean(e**2)",
        "np.mean(np.abs(e))",
        "de = 2 * e / n",
        "de = np.sign(e) / n",
    ),
    wrong("penalty_too_heavy_in_cost", "wrong-loss", "+ 0.01 * (np", "+ 0.02 * (np"),
    wrong(
        "users_moved_first",
        "wrong-operand|wrong-scale",
        "    dQ = 0.02 * Q\n",
        "    dQ = 0.02 * Q\n    after = P - 0.1 * dP\n",
        "de[k] * P[users[k]]",
        "de[k] * after[users[k]]",
    ),
]

TOGETHER = [
    ("item_bias_overwritten", "two_forgotten"),
    ("penalty_forgotten_for_items", "users_overwritten"),
    ("bias_penalised", "factors_swapped"),
    ("penalty_too_heavy_in_cost", "item_bias_overwritten"),
    ("penalty_too_heavy_in_cost", "bias_penalised", "factors_swapped"),
]

RIGHT = [
    right(
        "add_at",
        "        dQ[items[k]] += de[k] * P[users[k]]\n",
        "",
        "    return loss",
        "    np.add.at(dQ, items, de[:, None] * P[users])\n    return loss",
    ),
    right(
        "one_hot_products",
        "        db[items[k]] += de[k]\n",
        "",
        "    return loss",
        "    db += np.eye(len(b))[items].T @ de\n    return loss",
    ),
]
