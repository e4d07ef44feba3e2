"""A recommender ranked pairwise: user and item embeddings, item biases, a tower of item features, norms of the rows."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong

BATCH_AXIS = None


def reference(params, features, users, liked, other):
    tower = F.linear(torch.tanh(F.linear(features, params["A"].T, params["a"])), params["B"].T)
    user = F.embedding(users, params["P"])
    good, bad = F.embedding(liked, params["Q"]), F.embedding(other, params["Q"])
    score_good = torch.einsum("nk,nk->n", user, good + tower[liked]) + params["bias"][liked]
    score_bad = torch.einsum("nk,nk->n", user, bad + tower[other]) + params["bias"][other]
    return {
        "ranking": -F.logsigmoid(score_good - score_bad).mean(),
        "users": 0.07 * user.pow(2).sum(dim=1).mean(),
        "items": 0.09 * (good.pow(2).sum(dim=1) + bad.pow(2).sum(dim=1)).mean(),
    }


def sigmoid(a):
    return 1.0 / (1.0 + np.exp(-a))


def spread(rows, values, table):
    """The values added up in the rows of a table that they were looked up from."""
    total = np.zeros_like(table)
    np.add.at(total, rows, values)
    return total


def candidate(params, features, users, liked, other, user_decay=0.07, item_decay=0.09):
    P, Q, bias, A, B = (params[name] for name in ("P", "Q", "bias", "A", "B"))
    n = len(users)
    pre = features @ A + params["a"]
    hidden = np.tanh(pre)
    items = Q + hidden @ B
    pu, qi, qj = P[users], items[liked], items[other]
    margin = np.sum(pu * (qi - qj), axis=1) + bias[liked] - bias[other]
    rows = np.concatenate([liked, other])
    user_norms = np.sum(pu**2)
    item_norms = np.sum(Q[rows] ** 2)
    ranking = -np.mean(np.log(sigmoid(margin)))
    loss = ranking + user_decay * user_norms / n + item_decay * item_norms / n

    pull = -(1 - sigmoid(margin)) / n
    # users
    dP = spread(users, pull[:, None] * (qi - qj), P)
    dP += spread(users, 2 * user_decay * pu / n, P)
    # items
    dbias = np.zeros_like(bias)
    np.add.at(dbias, liked, pull)
    np.add.at(dbias, other, -pull)
    dqi = pull[:, None] * pu
    ditems = spread(liked, dqi, Q)
    ditems -= spread(other, dqi, Q)
    dQ = ditems + spread(rows, 2 * item_decay * Q[rows] / n, Q)
    # the tower
    dtower = ditems
    dB = hidden.T @ dtower
    dpre = (dtower @ B.T) * (1 - hidden**2)
    return loss, {"P": dP, "Q": dQ, "bias": dbias, "A": features.T @ dpre, "a": dpre.sum(axis=0), "B": dB}


def problem(rng):
    params = {
        "P": rng.normal(size=(7, 4)),
        "Q": rng.normal(size=(9, 4)) * 0.7,
        "bias": rng.normal(size=9) * 0.6,
        "A": rng.normal(size=(5, 6)) * 0.5,
        "a": rng.normal(size=6) * 0.4,
        "B": rng.normal(size=(6, 4)) * 0.6,
    }
    users = rng.permutation([0, 1, 1, 3, 3, 3, 5, 6])
    liked = rng.permutation([0, 0, 2, 2, 4, 4, 7, 8])
    other = (liked + rng.integers(1, 9, size=8)) % 9
    return params, (rng.normal(size=(9, 5)), users, liked, other)


WRONG = [
    wrong(
        "users_with_several_triples_overwrite",
        "overwritten",
        "dP = spread(users, pull[:, None] * (qi - qj), P)",
        "dP = np.zeros_like(P)\n    dP[users] += pull[:, None] * (qi - qj)",
    ),
    wrong(
        "bias_of_an_item_liked_twice_overwrites",
        "overwritten",
        "np.add.at(dbias, liked, pull)",
        "dbias[liked] += pull",
    ),
    wrong(
        "bias_of_the_other_item_pulled_along",
        "wrong-sign",
        "np.add.at(dbias, other, -pull)",
        "np.add.at(dbias, other, pull)",
    ),
    wrong(
        "other_item_moved_like_the_liked_one",
        "wrong-sign",
        "ditems -= spread(other, dqi, Q)",
        "ditems += spread(other, dqi, Q)",
    ),
    wrong(
        "sigmoid_of_the_margin_for_its_complement",
        "different-function|derivative-at-wrong-point|wrong-operand|wrong-sign",
        "pull = -(1 - sigmoid(margin)) / n",
        "pull = -sigmoid(margin) / n",
    ),
    wrong(
        "slope_of_the_sigmoid_without_the_logarithm",
        "extra-derivative|different-function",
        "pull = -(1 - sigmoid(margin)) / n",
        "pull = -sigmoid(margin) * (1 - sigmoid(margin)) / n",
    ),
    wrong(
        "direction_of_ascent",
        "wrong-sign|wrong-term-weight",
        "pull = -(1 - sigmoid(margin)) / n",
        "pull = (1 - sigmoid(margin)) / n",
    ),
    wrong(
        "item_penalty_without_its_two",
        "wrong-term-weight|wrong-scale",
        "spread(rows, 2 * item_decay * Q[rows] / n, Q)",
        "spread(rows, item_decay * Q[rows] / n, Q)",
    ),
    wrong(
        "liked_items_penalised_only",
        "wrong-part-penalised|missing-path|wrong-operand",
        "spread(rows, 2 * item_decay * Q[rows] / n, Q)",
        "spread(liked, 2 * item_decay * Q[liked] / n, Q)",
    ),
    wrong(
        "whole_table_of_users_penalised",
        "wrong-part-penalised|different-function|wrong-operand",
        "dP += spread(users, 2 * user_decay * pu / n, P)",
        "dP += 2 * user_decay * P / n",
    ),
    wrong(
        "users_see_the_embeddings_without_the_tower",
        "wrong-operand|missing-path",
        "pull[:, None] * (qi - qj), P)",
        "pull[:, None] * (Q[liked] - Q[other]), P)",
    ),
    wrong(
        "tower_taught_by_the_liked_items_only",
        "missing-path",
        "dtower = ditems",
        "dtower = spread(liked, dqi, Q)",
    ),
    wrong(
        "tower_slope_at_its_input",
        "derivative-at-wrong-point",
        "(dtower @ B.T) * (1 - hidden**2)",
        "(dtower @ B.T) * (1 - pre**2)",
    ),
    wrong(
        "tower_bias_averaged_over_the_items",
        "wrong-reduction|wrong-scale",
        "dpre.sum(axis=0)",
        "dpre.mean(axis=0)",
    ),
    wrong(
        "every_user_penalised_once_in_both",
        "overwritten|wrong-part-penalised|different-function",
        "user_norms = np.sum(pu**2)",
        "user_norms = np.sum(P[np.unique(users)] ** 2)",
        "dP += spread(users, 2 * user_decay * pu / n, P)",
        "dP[np.unique(users)] += 2 * user_decay * P[np.unique(users)] / n",
    ),
    wrong(
        "logarithm_forgotten_in_cost",
        "wrong-loss",
        "ranking = -np.mean(np.log(sigmoid(margin)))",
        "ranking = -np.mean(sigmoid(margin))",
    ),
]

TOGETHER = [
    ("users_with_several_triples_overwrite", "whole_table_of_users_penalised"),
    ("bias_of_an_item_liked_twice_overwrites", "bias_of_the_other_item_pulled_along"),
    ("slope_of_the_sigmoid_without_the_logarithm", "tower_slope_at_its_input"),
    ("other_item_moved_like_the_liked_one", "item_penalty_without_its_two"),
    ("users_see_the_embeddings_without_the_tower", "tower_taught_by_the_liked_items_only"),
    ("every_user_penalised_once_in_both", "tower_bias_averaged_over_the_items"),
    ("direction_of_ascent", "liked_items_penalised_only", "bias_of_an_item_liked_twice_overwrites"),
    ("sigmoid_of_the_margin_for_its_complement", "tower_slope_at_its_input", "whole_table_of_users_penalised"),
]

RIGHT = [
    right(
        "one_triple_after_the_other",
        "    np.add.at(dbias, liked, pull)\n"
        "    np.add.at(dbias, other, -pull)\n"
        "    dqi = pull[:, None] * pu\n"
        "    ditems = spread(liked, dqi, Q)\n"
        "    ditems -= spread(other, dqi, Q)\n",
        "    ditems = np.zeros_like(Q)\n"
        "    for u, i, j, amount in zip(users, liked, other, pull):\n"
        "        dbias[i] += amount\n"
        "        dbias[j] -= amount\n"
        "        ditems[i] += amount * P[u]\n"
        "        ditems[j] -= amount * P[u]\n",
    ),
    right(
        "tables_of_ones_and_zeros",
        "    total = np.zeros_like(table)\n    np.add.at(total, rows, values)\n    return total\n",
        "    return np.eye(len(table))[rows].T @ values\n",
        "    np.add.at(dbias, liked, pull)\n    np.add.at(dbias, other, -pull)\n",
        "    dbias += np.bincount(liked, weights=pull, minlength=len(bias))\n"
        "    dbias -= np.bincount(other, weights=pull, minlength=len(bias))\n",
    ),
    right(
        "tower_of_the_looked_up_items",
        "    dB = hidden.T @ dtower\n    dpre = (dtower @ B.T) * (1 - hidden**2)\n",
        "    both = np.concatenate([dqi, -dqi])\n"
        "    dB = hidden[rows].T @ both\n"
        "    dpre = (both @ B.T) * (1 - hidden[rows] ** 2)\n",
        "    dtower = ditems\n",
        "",
        "features.T @ dpre",
        "features[rows].T @ dpre",
        "ranking = -np.mean(np.log(sigmoid(margin)))",
        "ranking = np.mean(np.logaddexp(0, -margin))",
        "pull = -(1 - sigmoid(margin)) / n",
        "pull = -1 / (1 + np.exp(margin)) / n",
    ),
]
