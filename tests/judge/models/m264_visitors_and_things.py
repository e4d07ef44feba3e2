"""Two towers for a recommender: rows looked up more than once, a bias a thing, weighed clicks, decay of rows in use."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, users, items, clicked, weight):
    eu, ei = params["U"][users], params["V"][items]
    p = torch.tanh(eu @ params["Wu"] + params["bu"])
    q = torch.tanh(ei @ params["Wi"] + params["bi"])
    score = (p * q).sum(dim=1) + params["c"][items]
    each = F.binary_cross_entropy_with_logits(score, clicked, reduction="none")
    return {
        "data": (weight * each).sum() / weight.sum(),
        "penalty": 0.5 * 0.4 / len(users) * ((eu**2).sum() + (ei**2).sum()),
    }


def tower(ids, table, W, b):
    e = table[ids]
    h = np.tanh(e.dot(W) + b)
    return h, (e, h)


def tower_grad(dh, cache, W):
    e, h = cache
    dz = dh * (1 - h**2)
    dW = e.T.dot(dz)
    db = dz.sum(axis=0)
    de = dz.dot(W.T)
    return de, dW, db


def candidate(params, users, items, clicked, weight):
    lam = 0.4
    n = len(users)
    p, user_cache = tower(users, params["U"], params["Wu"], params["bu"])
    q, item_cache = tower(items, params["V"], params["Wi"], params["bi"])
    score = np.sum(p * q, axis=1) + params["c"][items]
    prob = 1.0 / (1.0 + np.exp(-score))
    total = weight.sum()
    log_loss = -np.sum(weight * (clicked * np.log(prob) + (1 - clicked) * np.log(1 - prob))) / total
    eu, ei = user_cache[0], item_cache[0]
    decay = 0.5 * lam * (np.sum(eu**2) + np.sum(ei**2)) / n
    loss = log_loss + decay

    dscore = weight * (prob - clicked) / total
    dc = np.zeros_like(params["c"])
    np.add.at(dc, items, dscore)
    deu, dWu, dbu = tower_grad(dscore[:, None] * q, user_cache, params["Wu"])
    dei, dWi, dbi = tower_grad(dscore[:, None] * p, item_cache, params["Wi"])
    # only the rows of this batch decay
    deu += lam / n * eu
    dei += lam / n * ei
    dU = np.zeros_like(params["U"])
    dV = np.zeros_like(params["V"])
    np.add.at(dU, users, deu)
    np.add.at(dV, items, dei)
    return loss, {"U": dU, "V": dV, "c": dc, "Wu": dWu, "bu": dbu, "Wi": dWi, "bi": dbi}


def problem(rng):
    n_users, n_items, width = 5, 6, 4
    params = {
        "U": rng.normal(size=(n_users, width)),
        "V": rng.normal(size=(n_items, width)),
        "c": rng.normal(size=n_items) * 0.7,
        "Wu": rng.normal(size=(width, width)) * 0.7,
        "bu": rng.normal(size=width) * 0.4,
        "Wi": rng.normal(size=(width, width)) * 0.7,
        "bi": rng.normal(size=width) * 0.4,
    }
    users = rng.permutation([0, 0, 1, 1, 1, 2, 4, 4])
    items = rng.permutation([0, 1, 1, 3, 3, 3, 4, 5])
    clicked = rng.permutation([1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    return params, (users, items, clicked, rng.uniform(0.3, 3.0, size=8))


WRONG = [
    wrong(
        "users_seen_twice_overwritten",
        "overwritten",
        "    np.add.at(dU, users, deu)\n",
        "    dU[users] += deu\n",
    ),
    wrong(
        "bias_of_a_repeated_item_overwritten",
        "overwritten",
        "    np.add.at(dc, items, dscore)\n",
        "    dc[items] += dscore\n",
    ),
    wrong(
        "click_weights_forgotten_backwards",
        "missing-derivative|wrong-operand",
        "dscore = weight * (prob - clicked) / total",
        "dscore = (prob - clicked) / total",
    ),
    wrong(
        "divided_by_the_count_not_the_weights",
        "wrong-scale|wrong-reduction|wrong-term-weight",
        "dscore = weight * (prob - clicked) / total",
        "dscore = weight * (prob - clicked) / n",
    ),
    wrong(
        "whole_table_of_users_decays",
        "wrong-part-penalised|wrong-term-weight",
        "    deu += lam / n * eu\n",
        "",
        '    dU = np.zeros_like(params["U"])\n',
        '    dU = lam / n * params["U"]\n',
    ),
    wrong(
        "things_do_not_decay",
        "wrong-part-penalised|wrong-term-weight|missing-path",
        "    dei += lam / n * ei\n",
        "",
    ),
    wrong(
        "each_tower_hears_itself",
        "wrong-operand",
        "tower_grad(dscore[:, None] * q, user_cache",
        "tower_grad(dscore[:, None] * p, user_cache",
        "tower_grad(dscore[:, None] * p, item_cache",
        "tower_grad(dscore[:, None] * q, item_cache",
    ),
    wrong(
        "sigmoid_slope_not_cancelled",
        "extra-derivative",
        "dscore = weight * (prob - clicked) / total",
        "dscore = weight * (prob - clicked) * prob * (1 - prob) / total",
    ),
    wrong(
        "tanh_slope_not_squared",
        "different-function",
        "dz = dh * (1 - h**2)",
        "dz = dh * (1 - h)",
    ),
    wrong("tower_not_transposed", "not-transposed", "de = dz.dot(W.T)", "de = dz.dot(W)"),
    wrong(
        "tower_weights_see_the_output",
        "wrong-operand",
        "dW = e.T.dot(dz)",
        "dW = h.T.dot(dz)",
    ),
    wrong(
        "bias_looked_up_by_the_user_backwards",
        "wrong-operand",
        "np.add.at(dc, items, dscore)",
        "np.add.at(dc, users, dscore)",
    ),
    wrong(
        "label_less_probability",
        "wrong-sign",
        "dscore = weight * (prob - clicked) / total",
        "dscore = weight * (clicked - prob) / total",
    ),
    wrong(
        "clicks_averaged_over_their_count_in_cost",
        "wrong-loss",
        "np.log(1 - prob))) / total",
        "np.log(1 - prob))) / n",
    ),
]

TOGETHER = [
    ("users_seen_twice_overwritten", "bias_of_a_repeated_item_overwritten"),
    ("click_weights_forgotten_backwards", "tower_not_transposed"),
    ("divided_by_the_count_not_the_weights", "things_do_not_decay"),
    ("whole_table_of_users_decays", "tanh_slope_not_squared"),
    ("each_tower_hears_itself", "bias_of_a_repeated_item_overwritten"),
    ("sigmoid_slope_not_cancelled", "tower_weights_see_the_output"),
    ("label_less_probability", "users_seen_twice_overwritten"),
    ("clicks_averaged_over_their_count_in_cost", "bias_looked_up_by_the_user_backwards"),
    ("click_weights_forgotten_backwards", "users_seen_twice_overwritten", "things_do_not_decay"),
    ("tanh_slope_not_squared", "tower_weights_see_the_output", "bias_looked_up_by_the_user_backwards"),
]

RIGHT = [
    right(
        "tables_summed_sample_by_sample",
        "    np.add.at(dU, users, deu)\n    np.add.at(dV, items, dei)\n",
        "    for k in range(n):\n        dU[users[k]] += deu[k]\n        dV[items[k]] += dei[k]\n",
        '    dc = np.zeros_like(params["c"])\n    np.add.at(dc, items, dscore)\n',
        '    dc = np.bincount(items, weights=dscore, minlength=len(params["c"]))\n',
    ),
    right(
        "decay_by_counting_the_rows_in_use",
        "    deu += lam / n * eu\n    dei += lam / n * ei\n",
        "",
        '    dU = np.zeros_like(params["U"])\n    dV = np.zeros_like(params["V"])\n',
        '    dU = lam / n * np.bincount(users, minlength=len(params["U"]))[:, None] * params["U"]\n'
        '    dV = lam / n * np.bincount(items, minlength=len(params["V"]))[:, None] * params["V"]\n',
    ),
]
