"""Neural collaborative filtering: a product of embeddings beside an MLP on others, with sampled negative items."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, users, positives, negatives):
    items = torch.cat([positives.unsqueeze(1), negatives], dim=1)
    people = users.unsqueeze(1).expand_as(items)
    product = F.embedding(people, params["P_gmf"]) * F.embedding(items, params["Q_gmf"])
    x = torch.cat([F.embedding(people, params["P_mlp"]), F.embedding(items, params["Q_mlp"])], dim=-1)
    deep = F.relu(F.linear(F.relu(F.linear(x, params["W1"], params["b1"])), params["W2"], params["b2"]))
    score = torch.cat([product, deep], dim=-1) @ params["h"] + params["item_bias"][items]
    return {
        "observed": -F.logsigmoid(score[:, 0]).mean(),
        "sampled": -F.logsigmoid(-score[:, 1:]).sum(dim=1).mean(),
    }


def sigmoid(s):
    return 1 / (1 + np.exp(-s))


def predict(params, u, i):
    p, q = params["P_gmf"][u], params["Q_gmf"][i]
    product = p * q
    x = np.concatenate([params["P_mlp"][u], params["Q_mlp"][i]], axis=1)
    a1 = x @ params["W1"].T + params["b1"]
    h1 = np.maximum(a1, 0)
    a2 = h1 @ params["W2"].T + params["b2"]
    h2 = np.maximum(a2, 0)
    joined = np.concatenate([product, h2], axis=1)
    score = joined @ params["h"] + params["item_bias"][i]
    return score, (u, i, p, q, x, a1, h1, a2, joined)


def predict_backward(dscore, cache, params, grads):
    u, i, p, q, x, a1, h1, a2, joined = cache
    np.add.at(grads["item_bias"], i, dscore)
    grads["h"] += joined.T @ dscore
    djoined = np.outer(dscore, params["h"])
    factors = p.shape[1]
    # product branch
    dproduct = djoined[:, :factors]
    np.add.at(grads["P_gmf"], u, dproduct * q)
    np.add.at(grads["Q_gmf"], i, dproduct * p)
    # deep branch
    da2 = djoined[:, factors:] * (a2 > 0)
    grads["W2"] += da2.T @ h1
    grads["b2"] += da2.sum(axis=0)
    dh1 = da2 @ params["W2"]
    da1 = dh1 * (a1 > 0)
    grads["W1"] += da1.T @ x
    grads["b1"] += da1.sum(axis=0)
    dx = da1 @ params["W1"]
    half = dx.shape[1] // 2
    np.add.at(grads["P_mlp"], u, dx[:, :half])
    np.add.at(grads["Q_mlp"], i, dx[:, half:])


def candidate(params, users, positives, negatives):
    n = len(users)
    pos_score, pos_cache = predict(params, users, positives)
    negs = [predict(params, users, column) for column in negatives.T]
    pos_loss = -np.log(sigmoid(pos_score)).sum()
    neg_loss = sum(-np.log(sigmoid(-score)).sum() for score, _ in negs)
    loss = (pos_loss + neg_loss) / n

    grads = {name: np.zeros_like(value) for name, value in params.items()}
    dpos = -sigmoid(-pos_score) / n
    predict_backward(dpos, pos_cache, params, grads)
    for j in range(len(negs)):
        neg_score, neg_cache = negs[j]
        dneg = sigmoid(neg_score) / n
        predict_backward(dneg, neg_cache, params, grads)
    return loss, grads


def problem(rng):
    params = {
        "P_gmf": rng.normal(size=(11, 4)),
        "Q_gmf": rng.normal(size=(9, 4)),
        "P_mlp": rng.normal(size=(11, 5)),
        "Q_mlp": rng.normal(size=(9, 5)),
        "W1": rng.normal(size=(8, 10)) * 0.5,
        "b1": rng.normal(size=8) * 0.4,
        "W2": rng.normal(size=(12, 8)) * 0.5,
        "b2": rng.normal(size=12) * 0.4,
        "h": rng.normal(size=16) * 0.7,
        "item_bias": rng.normal(size=9) * 0.5,
    }
    users = rng.integers(0, 11, size=7)
    users[[3, 5]] = users[[0, 1]]
    return params, (users, rng.integers(0, 9, size=7), rng.integers(0, 9, size=(7, 2)))


WRONG = [
    wrong(
        "own_factor_for_the_other",
        "wrong-operand",
        'np.add.at(grads["P_gmf"], u, dproduct * q)',
        'np.add.at(grads["P_gmf"], u, dproduct * p)',
    ),
    wrong(
        "user_twice_in_a_batch_counts_once",
        "overwritten",
        'np.add.at(grads["P_gmf"], u, dproduct * q)',
        'grads["P_gmf"][u] += dproduct * q',
    ),
    wrong(
        "product_takes_the_last_weights",
        "wrong-operand",
        "dproduct = djoined[:, :factors]",
        "dproduct = djoined[:, -factors:]",
    ),
    wrong(
        "halves_of_the_input_swapped",
        "wrong-operand",
        "u, dx[:, :half])",
        "u, dx[:, half:])",
        "i, dx[:, half:])",
        "i, dx[:, :half])",
    ),
    wrong(
        "deep_user_vectors_in_the_rows_of_the_items",
        "wrong-operand",
        'np.add.at(grads["P_mlp"], u, ',
        'np.add.at(grads["P_mlp"], i, ',
    ),
    wrong(
        "item_bias_as_one_for_all",
        "wrong-reduction|broadcast|wrong-axis|wrong-operand|different-function",
        'np.add.at(grads["item_bias"], i, dscore)',
        'grads["item_bias"] += dscore.sum()',
    ),
    wrong("first_relu_slope_forgotten", "missing-derivative", "da1 = dh1 * (a1 > 0)", "da1 = dh1"),
    wrong(
        "second_matrix_meets_the_sums",
        "wrong-operand|missing-derivative",
        'grads["W2"] += da2.T @ h1',
        'grads["W2"] += da2.T @ a1',
    ),
    wrong(
        "second_bias_of_the_last_item",
        "overwritten|last-step-only|one-sample-only",
        'grads["b2"] += da2.sum(axis=0)',
        'grads["b2"] = da2.sum(axis=0)',
    ),
    wrong(
        "sigmoid_slope_once_more_for_observed",
        "extra-derivative",
        "dpos = -sigmoid(-pos_score) / n",
        "dpos = -sigmoid(-pos_score) * sigmoid(pos_score) * (1 - sigmoid(pos_score)) / n",
    ),
    wrong(
        "observed_pulled_by_its_own_probability",
        "wrong-operand|wrong-sign|different-function|derivative-at-wrong-point",
        "dpos = -sigmoid(-pos_score) / n",
        "dpos = -sigmoid(pos_score) / n",
    ),
    wrong(
        "averaged_over_the_negatives_too",
        "wrong-term-weight|wrong-scale|wrong-reduction",
        "dneg = sigmoid(neg_score) / n",
        "dneg = sigmoid(neg_score) / negatives.size",
    ),
    wrong(
        "last_negative_left_out",
        "missing-path|one-sample-only|last-step-only|truncated-in-time",
        "for j in range(len(negs)):",
        "for j in range(len(negs) - 1):",
    ),
    wrong(
        "last_relu_left_off_in_both",
        "different-function|missing-derivative",
        "h2 = np.maximum(a2, 0)",
        "h2 = a2",
        "da2 = djoined[:, factors:] * (a2 > 0)",
        "da2 = djoined[:, factors:]",
    ),
    wrong(
        "items_before_users_in_both",
        "wrong-operand|different-function",
        'np.concatenate([params["P_mlp"][u], params["Q_mlp"][i]], axis=1)',
        'np.concatenate([params["Q_mlp"][i], params["P_mlp"][u]], axis=1)',
        "u, dx[:, :half])",
        "u, dx[:, half:])",
        "i, dx[:, half:])",
        "i, dx[:, :half])",
    ),
    wrong(
        "all_pairs_averaged_in_cost",
        "wrong-loss",
        "loss = (pos_loss + neg_loss) / n",
        "loss = (pos_loss + neg_loss) / (n + negatives.size)",
    ),
]

TOGETHER = [
    ("own_factor_for_the_other", "first_relu_slope_forgotten"),
    ("user_twice_in_a_batch_counts_once", "product_takes_the_last_weights"),
    ("averaged_over_the_negatives_too", "second_matrix_meets_the_sums"),
    ("halves_of_the_input_swapped", "item_bias_as_one_for_all"),
    ("sigmoid_slope_once_more_for_observed", "second_bias_of_the_last_item"),
    ("deep_user_vectors_in_the_rows_of_the_items", "last_relu_left_off_in_both"),
    ("observed_pulled_by_its_own_probability", "user_twice_in_a_batch_counts_once", "second_bias_of_the_last_item"),
    ("item_bias_as_one_for_all", "own_factor_for_the_other", "second_matrix_meets_the_sums"),
]

RIGHT = [
    right(
        "all_pairs_in_one_call",
        "    dpos = -sigmoid(-pos_score) / n\n"
        "    predict_backward(dpos, pos_cache, params, grads)\n"
        "    for j in range(len(negs)):\n"
        "        neg_score, neg_cache = negs[j]\n"
        "        dneg = sigmoid(neg_score) / n\n"
        "        predict_backward(dneg, neg_cache, params, grads)\n",
        "    items = np.concatenate([positives, negatives.T.ravel()])\n"
        "    people = np.tile(users, len(negs) + 1)\n"
        "    score, cache = predict(params, people, items)\n"
        "    labels = np.arange(len(items)) < n\n"
        "    predict_backward((sigmoid(score) - labels) / n, cache, params, grads)\n",
    ),
    right(
        "matrix_of_users_and_items",
        '    np.add.at(grads["P_gmf"], u, dproduct * q)\n    np.add.at(grads["Q_gmf"], i, dproduct * p)\n',
        '    who, what = np.eye(len(grads["P_gmf"]))[u], np.eye(len(grads["Q_gmf"]))[i]\n'
        '    grads["P_gmf"] += who.T @ (q * dproduct)\n'
        '    grads["Q_gmf"] += what.T @ (p * dproduct)\n',
        '    np.add.at(grads["P_mlp"], u, dx[:, :half])\n    np.add.at(grads["Q_mlp"], i, dx[:, half:])\n',
        '    grads["P_mlp"] += who.T @ dx[:, :half]\n    grads["Q_mlp"] += what.T @ dx[:, half:]\n',
        'np.add.at(grads["item_bias"], i, dscore)',
        'grads["item_bias"] += np.bincount(i, weights=dscore, minlength=len(grads["item_bias"]))',
    ),
    right(
        "scaled_at_the_end",
        "neg_loss = sum(-np.log(sigmoid(-score)).sum() for score, _ in negs)",
        "neg_loss = sum(np.logaddexp(0, score).sum() for score, _ in negs)",
        "dpos = -sigmoid(-pos_score) / n",
        "dpos = sigmoid(pos_score) - 1",
        "dneg = sigmoid(neg_score) / n",
        "dneg = sigmoid(neg_score)",
        "    return loss, grads\n",
        "    for value in grads.values():\n        value /= n\n    return loss, grads\n",
        "da1 = dh1 * (a1 > 0)",
        "da1 = np.where(a1 > 0, dh1, 0)",
        "    djoined = np.outer(dscore, params[",
        "    djoined = dscore[:, None] * np.asarray(params[",
    ),
]
