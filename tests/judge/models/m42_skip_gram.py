"""Skip-gram with negative sampling: two tables of word vectors, one true context and several drawn ones per pair."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, centre, context, negative):
    v = params["inner"][centre]
    true = (v * params["outer"][context]).sum(1) + params["offset"][context]
    drawn = torch.bmm(params["outer"][negative], v.unsqueeze(2)).squeeze(2) + params["offset"][negative]
    skip_gram = -(F.logsigmoid(true) + F.logsigmoid(-drawn).sum(1)).mean()
    return {"skip_gram": skip_gram, "length": 0.05 * v.pow(2).sum(1).mean()}


def sigmoid(t):
    return 1 / (1 + np.exp(-t))


def candidate(params, centre, context, negative):
    inner, outer, offset = params["inner"], params["outer"], params["offset"]
    pairs = len(centre)
    v = inner[centre]
    true = np.einsum("pk,pk->p", v, outer[context]) + offset[context]
    drawn = np.einsum("pjk,pk->pj", outer[negative], v) + offset[negative]
    cost = np.logaddexp(0, -true) + np.logaddexp(0, drawn).sum(axis=1)
    loss = np.mean(cost + 0.05 * np.sum(v**2, axis=1))

    g_true = (sigmoid(true) - 1) / pairs
    g_drawn = sigmoid(drawn) / pairs
    g_v = 0.1 * v / pairs
    g_v = g_v + g_true[:, None] * outer[context]
    g_v = g_v + np.einsum("pj,pjk->pk", g_drawn, outer[negative])

    g_inner, g_outer, g_offset = np.zeros_like(inner), np.zeros_like(outer), np.zeros_like(offset)
    np.add.at(g_inner, centre, g_v)
    np.add.at(g_outer, context, g_true[:, None] * v)
    np.add.at(g_outer, negative, g_drawn[:, :, None] * v[:, None, :])
    np.add.at(g_offset, context, g_true)
    np.add.at(g_offset, negative, g_drawn)
    return loss, {"inner": g_inner, "outer": g_outer, "offset": g_offset}


def problem(rng):
    params = {
        "inner": rng.normal(size=(9, 4)) * 0.8,
        "outer": rng.normal(size=(9, 4)) * 0.8,
        "offset": rng.normal(size=9) * 0.5,
    }
    centre = np.array([2, 5, 2, 0, 7, 5, 8, 2])
    context = np.array([1, 3, 3, 6, 1, 0, 4, 3])
    return params, (centre, context, rng.integers(0, 9, size=(8, 5)))


WRONG = [
    wrong("centre_words_assigned", "overwritten", "np.add.at(g_inner, centre, g_v)", "g_inner[centre] = g_v"),
    wrong(
        "offsets_by_fancy_index", "overwritten", "np.add.at(g_offset, context, g_true)", "g_offset[context] += g_true"
    ),
    wrong(
        "drawn_words_by_fancy_index",
        "overwritten",
        "np.add.at(g_outer, negative, g_drawn[:, :, None] * v[:, None, :])",
        "g_outer[negative] += g_drawn[:, :, None] * v[:, None, :]",
    ),
    wrong(
        "drawn_words_as_if_fixed",
        "missing-path",
        "    np.add.at(g_outer, negative, g_drawn[:, :, None] * v[:, None, :])\n",
        "",
    ),
    wrong(
        "drawn_words_not_in_the_centre",
        "missing-path",
        '    g_v = g_v + np.einsum("pj,pjk->pk", g_drawn, outer[negative])\n',
        "",
    ),
    wrong(
        "centre_gradient_replaced",
        "overwritten|missing-path|wrong-term-weight",
        "g_v = g_v + g_true[:, None] * outer[context]",
        "g_v = g_true[:, None] * outer[context]",
    ),
    wrong("drawn_sign", "wrong-sign", "g_drawn = sigmoid(drawn) / pairs", "g_drawn = -sigmoid(drawn) / pairs"),
    wrong(
        "drawn_words_as_true_ones",
        "different-function",
        "g_drawn = sigmoid(drawn) / pairs",
        "g_drawn = (sigmoid(drawn) - 1) / pairs",
    ),
    wrong(
        "one_of_the_target_forgotten",
        "different-function|missing-path",
        "(sigmoid(true) - 1) / pairs",
        "sigmoid(true) / pairs",
    ),
    wrong(
        "logarithm_not_cancelled",
        "extra-derivative",
        "g_drawn = sigmoid(drawn) / pairs",
        "g_drawn = sigmoid(drawn) * sigmoid(drawn) * (1 - sigmoid(drawn)) / pairs",
    ),
    wrong("penalty_doubled", "wrong-term-weight", "g_v = 0.1 * v / pairs", "g_v = 0.2 * v / pairs"),
    wrong("penalty_not_averaged", "wrong-term-weight", "g_v = 0.1 * v / pairs", "g_v = 0.1 * v"),
    wrong(
        "contexts_penalised_too",
        "wrong-part-penalised",
        "np.add.at(g_outer, context, g_true[:, None] * v)",
        "np.add.at(g_outer, context, g_true[:, None] * v + 0.1 * outer[context] / pairs)",
    ),
    wrong("table_exchanged", "wrong-operand", "g_true[:, None] * outer[context]", "g_true[:, None] * inner[context]"),
    wrong(
        "drawn_words_averaged_in_both",
        "wrong-reduction",
        "np.logaddexp(0, drawn).sum(axis=1)",
        "np.logaddexp(0, drawn).mean(axis=1)",
        "g_drawn = sigmoid(drawn) / pairs",
        "g_drawn = sigmoid(drawn) / drawn.size",
    ),
    wrong(
        "hinge_in_both",
        "different-function",
        "np.logaddexp(0, -true) +",
        "np.maximum(0, 1 - true) +",
        "(sigmoid(true) - 1) / pairs",
        "-1.0 * (true < 1) / pairs",
    ),
    wrong("sign_of_the_cost_of_drawn", "wrong-loss", "np.logaddexp(0, drawn)", "np.logaddexp(0, -drawn)"),
]

TOGETHER = [
    ("centre_words_assigned", "penalty_doubled"),
    ("drawn_words_not_in_the_centre", "drawn_words_by_fancy_index"),
    ("one_of_the_target_forgotten", "centre_words_assigned"),
    ("drawn_sign", "table_exchanged"),
    ("table_exchanged", "drawn_words_by_fancy_index", "penalty_doubled"),
]

RIGHT = [
    right(
        "one_hot_matrices",
        "    np.add.at(g_inner, centre, g_v)\n",
        "    g_inner = (centre[:, None] == np.arange(len(inner))).astype(float).T @ g_v\n",
    ),
    right(
        "pair_by_pair",
        "    np.add.at(g_outer, negative, g_drawn[:, :, None] * v[:, None, :])\n",
        "    for p in range(pairs):\n        for j, word in enumerate(negative[p]):\n"
        "            g_outer[word] += g_drawn[p, j] * v[p]\n",
    ),
    right("by_the_other_sigmoid", "(sigmoid(true) - 1) / pairs", "-sigmoid(-true) / pairs"),
]
