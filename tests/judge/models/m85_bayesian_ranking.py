"""Bayesian personalised ranking: factors and traits of items, triples of a user, a liked and another item."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong

BATCH_AXIS = None  # the traits belong to the items, the triples to the batch


def reference(params, users, liked, others, traits):
    def embed(items):
        own = F.embedding(items, params["Q"])
        return own, own + F.embedding(items, traits) @ params["E"], params["item_bias"][items]

    p, c = F.embedding(users, params["P"]), params["user_bias"][users]
    own_i, q_i, b_i = embed(liked)
    own_j, q_j, b_j = embed(others)
    better = torch.einsum("bk,bk->b", p, q_i) + b_i + c
    worse = torch.einsum("bk,bk->b", p, q_j) + b_j + c
    rows = p.square().sum() + own_i.square().sum() + own_j.square().sum()
    biases = c.square().sum() + b_i.square().sum() + b_j.square().sum()
    return {
        "ranking": -F.logsigmoid(better - worse).mean(),
        "rows": 0.15 * rows / len(users),
        "biases": 0.1 * biases / len(users),
        "traits": 0.04 * params["E"].square().sum(),
    }


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def item_vectors(params, items, traits):
    f = traits[items]
    own = params["Q"][items]
    return f, own, own + f @ params["E"]


def score(params, users, items, vectors):
    dot = np.sum(params["P"][users] * vectors, axis=1)
    return dot + params["item_bias"][items] + params["user_bias"][users]


def squares(a):
    return np.sum(a**2)


def candidate(params, users, liked, others, traits, lam=0.3, lam_bias=0.2, lam_traits=0.08):
    n = len(users)
    pu, bu = params["P"][users], params["user_bias"][users]
    bi, bj = params["item_bias"][liked], params["item_bias"][others]
    fi, own_i, qi = item_vectors(params, liked, traits)
    fj, own_j, qj = item_vectors(params, others, traits)
    x = score(params, users, liked, qi) - score(params, users, others, qj)
    ranking = np.mean(np.log1p(np.exp(-x)))
    penalty = lam * (squares(pu) + squares(own_i) + squares(own_j)) / n
    penalty_bias = lam_bias * (squares(bu) + squares(bi) + squares(bj)) / n
    loss = ranking + (penalty + penalty_bias + lam_traits * squares(params["E"])) / 2

    grads = {name: np.zeros_like(value) for name, value in params.items()}
    dx = -sigmoid(-x) / n
    dpu = dx[:, None] * (qi - qj)
    dqi = dx[:, None] * pu
    dqj = -dx[:, None] * pu
    # users
    np.add.at(grads["P"], users, dpu + lam * pu / n)
    np.add.at(grads["user_bias"], users, lam_bias * bu / n)
    # items
    np.add.at(grads["Q"], liked, dqi + lam * own_i / n)
    np.add.at(grads["Q"], others, dqj + lam * own_j / n)
    np.add.at(grads["item_bias"], liked, dx + lam_bias * bi / n)
    np.add.at(grads["item_bias"], others, -dx + lam_bias * bj / n)
    # traits
    grads["E"] += fi.T @ dqi + fj.T @ dqj
    grads["E"] += lam_traits * params["E"]
    return loss, grads


def problem(rng):
    params = {
        "P": rng.normal(size=(6, 4)) * 0.7,
        "user_bias": rng.normal(size=6) * 0.5,
        "Q": rng.normal(size=(7, 4)) * 0.7,
        "item_bias": rng.normal(size=7) * 0.5,
        "E": rng.normal(size=(3, 4)) * 0.5,
    }
    users = np.array([0, 2, 2, 5, 3, 0, 2, 5])
    liked = np.array([1, 4, 0, 4, 6, 3, 1, 0])
    others = np.array([5, 3, 5, 1, 4, 0, 6, 5])
    return params, (users, liked, others, rng.normal(size=(7, 3)))


WRONG = [
    wrong(
        "users_met_twice_overwrite",
        "overwritten",
        'np.add.at(grads["P"], users, dpu + lam * pu / n)',
        'grads["P"][users] += dpu + lam * pu / n',
    ),
    wrong(
        "sigmoid_of_the_margin_itself",
        "different-function|wrong-sign|wrong-operand",
        "dx = -sigmoid(-x) / n",
        "dx = -sigmoid(x) / n",
    ),
    wrong(
        "sigmoid_slope_without_the_logarithm",
        "extra-derivative|different-function",
        "dx = -sigmoid(-x) / n",
        "dx = -sigmoid(x) * (1 - sigmoid(x)) / n",
    ),
    wrong(
        "users_learn_from_the_liked_item_only",
        "missing-path",
        "dpu = dx[:, None] * (qi - qj)",
        "dpu = dx[:, None] * qi",
    ),
    wrong("other_item_drawn_near", "wrong-sign", "dqj = -dx[:, None] * pu", "dqj = dx[:, None] * pu"),
    wrong(
        "others_bias_forgotten",
        "missing-path",
        'np.add.at(grads["item_bias"], others, -dx + lam_bias * bj / n)',
        'np.add.at(grads["item_bias"], others, lam_bias * bj / n)',
    ),
    wrong(
        "user_bias_of_the_liked_score_only",
        "missing-path",
        'np.add.at(grads["user_bias"], users, lam_bias * bu / n)',
        'np.add.at(grads["user_bias"], users, dx + lam_bias * bu / n)',
    ),
    wrong(
        "all_users_decay",
        "wrong-part-penalised|different-function",
        'np.add.at(grads["P"], users, dpu + lam * pu / n)',
        'grads["P"] += lam * params["P"] / n\n    np.add.at(grads["P"], users, dpu)',
    ),
    wrong(
        "other_items_decay_once_each",
        "wrong-part-penalised|overwritten",
        'np.add.at(grads["Q"], others, dqj + lam * own_j / n)',
        'np.add.at(grads["Q"], others, dqj)\n    grads["Q"][others] += lam * own_j / n',
    ),
    wrong(
        "user_decay_not_averaged",
        "wrong-term-weight|wrong-scale|wrong-reduction",
        "dpu + lam * pu / n",
        "dpu + lam * pu",
    ),
    wrong(
        "joined_vectors_decay",
        "wrong-operand",
        "dqi + lam * own_i / n",
        "dqi + lam * qi / n",
    ),
    wrong(
        "traits_of_the_liked_only",
        "missing-path",
        'grads["E"] += fi.T @ dqi + fj.T @ dqj',
        'grads["E"] += fi.T @ dqi',
    ),
    wrong(
        "traits_against_each_others_vectors",
        "wrong-operand|wrong-sign",
        "fi.T @ dqi + fj.T @ dqj",
        "fi.T @ dqj + fj.T @ dqi",
    ),
    wrong(
        "other_item_preferred_in_both",
        "wrong-sign|different-function",
        "np.log1p(np.exp(-x))",
        "np.log1p(np.exp(x))",
        "dx = -sigmoid(-x) / n",
        "dx = sigmoid(x) / n",
    ),
    wrong(
        "others_with_the_traits_of_the_liked_in_both",
        "wrong-operand|missing-path",
        "fj, own_j, qj = item_vectors(params, others, traits)",
        'fj, own_j = fi, params["Q"][others]\n    qj = own_j + fj @ params["E"]',
    ),
    wrong("ranking_summed_in_cost", "wrong-loss", "ranking = np.mean(", "ranking = np.sum("),
]

TOGETHER = [
    ("users_met_twice_overwrite", "traits_of_the_liked_only"),
    ("sigmoid_of_the_margin_itself", "user_decay_not_averaged"),
    ("users_learn_from_the_liked_item_only", "all_users_decay"),
    ("other_item_drawn_near", "user_bias_of_the_liked_score_only"),
    ("joined_vectors_decay", "other_items_decay_once_each"),
    ("others_bias_forgotten", "others_with_the_traits_of_the_liked_in_both"),
    ("sigmoid_slope_without_the_logarithm", "user_bias_of_the_liked_score_only", "joined_vectors_decay"),
    ("traits_against_each_others_vectors", "users_learn_from_the_liked_item_only", "others_bias_forgotten"),
]

RIGHT = [
    right(
        "triple_by_triple",
        '    np.add.at(grads["Q"], liked, dqi + lam * own_i / n)\n'
        '    np.add.at(grads["Q"], others, dqj + lam * own_j / n)\n'
        '    np.add.at(grads["item_bias"], liked, dx + lam_bias * bi / n)\n'
        '    np.add.at(grads["item_bias"], others, -dx + lam_bias * bj / n)\n',
        "    for t in range(n):\n"
        "        i, j = liked[t], others[t]\n"
        '        grads["Q"][i] += dqi[t] + lam * own_i[t] / n\n'
        '        grads["Q"][j] += dqj[t] + lam * own_j[t] / n\n'
        '        grads["item_bias"][i] += dx[t] + lam_bias * bi[t] / n\n'
        '        grads["item_bias"][j] -= dx[t] - lam_bias * bj[t] / n\n',
    ),
    right(
        "decay_by_counts",
        'np.add.at(grads["P"], users, dpu + lam * pu / n)',
        'np.add.at(grads["P"], users, dpu)\n'
        '    met = np.bincount(users, minlength=len(params["P"])) / n\n'
        '    grads["P"] += lam * met[:, None] * params["P"]',
        'np.add.at(grads["user_bias"], users, lam_bias * bu / n)',
        'grads["user_bias"] += lam_bias * met * params["user_bias"]',
        'grads["E"] += fi.T @ dqi + fj.T @ dqj',
        'grads["E"] += (fi - fj).T @ dqi',
    ),
    right(
        "indicator_matrices",
        '    np.add.at(grads["Q"], liked, dqi + lam * own_i / n)\n'
        '    np.add.at(grads["Q"], others, dqj + lam * own_j / n)\n',
        "    one_hot = np.eye(len(traits))\n"
        "    is_liked, is_other = one_hot[liked], one_hot[others]\n"
        '    grads["Q"] = (is_liked - is_other).T @ dqi\n'
        '    grads["Q"] += (is_liked.sum(axis=0) + is_other.sum(axis=0))[:, None] * lam * params["Q"] / n\n',
        "np.log1p(np.exp(-x))",
        "np.logaddexp(0, -x)",
        "dx = -sigmoid(-x) / n",
        "dx = (sigmoid(x) - 1) / n",
    ),
]
