"""Deep and cross network for clicks: two embedded fields, two cross layers, a deep tower, weighted log loss."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, ids, numeric, clicked, weight):
    tables = (params["E_user"], params["E_item"])
    embedded = [F.embedding(ids[:, k], table) for k, table in enumerate(tables)]
    x0 = torch.cat([*embedded, numeric], dim=1)
    x = x0
    for w, b in zip(params["cross_w"], params["cross_b"], strict=True):
        x = x0 * (x @ w).unsqueeze(1) + b + x
    deep = x0
    for k in range(2):
        deep = F.relu(F.linear(deep, params[f"W{k}"], params[f"c{k}"]))
    logit = torch.cat([x, deep], dim=1) @ params["head"]
    return {
        "data": F.binary_cross_entropy_with_logits(logit, clicked, weight=weight),
        "penalty": 0.04 * sum(table[ids[:, k].unique()].square().sum() for k, table in enumerate(tables)),
    }


def cross_forward(x0, w, b):
    xs, dots = [x0], []
    for layer in range(len(w)):
        dot = xs[layer] @ w[layer]
        dots.append(dot)
        xs.append(x0 * dot[:, None] + b[layer] + xs[layer])
    return xs, dots


def cross_backward(dout, xs, dots, w):
    dw, db = np.zeros_like(w), np.zeros_like(w)
    x0 = xs[0]
    dx0 = np.zeros_like(x0)
    dx = dout
    for layer in range(len(w) - 1, -1, -1):
        ddot = np.sum(dx * x0, axis=1)
        dw[layer] = xs[layer].T @ ddot
        db[layer] = dx.sum(axis=0)
        dx0 += dx * dots[layer][:, None]
        dx = dx + np.outer(ddot, w[layer])
    return dx0 + dx, dw, db


def candidate(params, ids, numeric, clicked, weight, lam=0.04):
    E1, E2 = params["E_user"], params["E_item"]
    tower = [(params["W0"], params["c0"]), (params["W1"], params["c1"])]
    head = params["head"]
    n = len(clicked)
    users, items = ids[:, 0], ids[:, 1]
    x0 = np.hstack([E1[users], E2[items], numeric])
    xs, dots = cross_forward(x0, params["cross_w"], params["cross_b"])
    acts, pres = [x0], []
    for W, c in tower:
        pres.append(acts[-1] @ W.T + c)
        acts.append(np.maximum(pres[-1], 0))
    joined = np.hstack([xs[-1], acts[-1]])
    logit = joined @ head
    p = 1 / (1 + np.exp(-logit))
    seen_users, seen_items = np.unique(users), np.unique(items)
    penalty = lam * (np.sum(E1[seen_users] ** 2) + np.sum(E2[seen_items] ** 2))
    losses = -(clicked * np.log(p) + (1 - clicked) * np.log(1 - p))
    loss = np.mean(weight * losses) + penalty

    grads = {}
    dlogit = weight * (p - clicked) / n
    grads["head"] = joined.T @ dlogit
    djoined = np.outer(dlogit, head)
    width = x0.shape[1]
    dcross, dact = djoined[:, :width], djoined[:, width:]
    dx0, grads["cross_w"], grads["cross_b"] = cross_backward(dcross, xs, dots, params["cross_w"])
    for k in (1, 0):
        dpre = dact * (pres[k] > 0)
        grads[f"W{k}"] = dpre.T @ acts[k]
        grads[f"c{k}"] = dpre.sum(axis=0)
        dact = dpre @ tower[k][0]
    dx0 = dx0 + dact
    s1, s2 = E1.shape[1], E2.shape[1]
    dE1, dE2 = np.zeros_like(E1), np.zeros_like(E2)
    np.add.at(dE1, users, dx0[:, :s1])
    np.add.at(dE2, items, dx0[:, s1 : s1 + s2])
    dE1[seen_users] += 2 * lam * E1[seen_users]
    dE2[seen_items] += 2 * lam * E2[seen_items]
    grads["E_user"], grads["E_item"] = dE1, dE2
    return loss, grads


def problem(rng):
    params = {
        "E_user": rng.normal(size=(7, 3)) * 0.8,
        "E_item": rng.normal(size=(10, 2)) * 0.8,
        "cross_w": rng.normal(size=(2, 11)) * 0.3,
        "cross_b": rng.normal(size=(2, 11)) * 0.3,
        "W0": rng.normal(size=(5, 11)) * 0.5,
        "c0": rng.normal(size=5) * 0.4,
        "W1": rng.normal(size=(4, 5)) * 0.7,
        "c1": rng.normal(size=4) * 0.4 + 0.3,
        "head": rng.normal(size=15) * 0.5,
    }
    ids = np.stack([rng.permutation([0, 1, 1, 2, 4, 4, 4, 5, 5]), rng.permutation([0, 2, 2, 3, 3, 6, 7, 9, 9])], axis=1)
    clicked = rng.permutation([0, 0, 0, 0, 0, 1, 1, 1, 1]).astype(float)
    return params, (ids, rng.normal(size=(9, 6)), clicked, rng.uniform(0.3, 2.5, size=9))


WRONG = [
    wrong(
        "sample_weights_forgotten",
        "missing-derivative|different-function|wrong-operand|wrong-term-weight",
        "dlogit = weight * (p - clicked) / n",
        "dlogit = (p - clicked) / n",
    ),
    wrong(
        "divided_by_the_sum_of_the_weights",
        "wrong-term-weight|wrong-scale|wrong-reduction",
        "dlogit = weight * (p - clicked) / n",
        "dlogit = weight * (p - clicked) / weight.sum()",
    ),
    wrong(
        "previous_layer_forgotten_in_the_cross",
        "missing-path",
        "dx = dx + np.outer(ddot, w[layer])",
        "dx = np.outer(ddot, w[layer])",
    ),
    wrong(
        "first_input_of_one_cross_layer",
        "overwritten|missing-path",
        "dx0 += dx * dots[layer][:, None]",
        "dx0 = dx * dots[layer][:, None]",
    ),
    wrong(
        "cross_input_for_the_layers_own",
        "wrong-operand",
        "dw[layer] = xs[layer].T @ ddot",
        "dw[layer] = x0.T @ ddot",
    ),
    wrong(
        "layers_own_input_for_the_first",
        "wrong-operand",
        "ddot = np.sum(dx * x0, axis=1)",
        "ddot = np.sum(dx * xs[layer], axis=1)",
    ),
    wrong(
        "inner_product_taken_entry_by_entry",
        "diagonal-jacobian|different-function",
        "dx = dx + np.outer(ddot, w[layer])",
        "dx = dx + dx * x0 * w[layer]",
    ),
    wrong("relu_slope_forgotten", "missing-derivative", "dpre = dact * (pres[k] > 0)", "dpre = dact"),
    wrong("tower_does_not_reach_the_embeddings", "missing-path", "    dx0 = dx0 + dact\n", ""),
    wrong(
        "items_taken_from_the_end",
        "wrong-operand",
        "np.add.at(dE2, items, dx0[:, s1 : s1 + s2])",
        "np.add.at(dE2, items, dx0[:, -s2:])",
    ),
    wrong(
        "users_seen_twice_overwrite",
        "overwritten",
        "np.add.at(dE1, users, dx0[:, :s1])",
        "dE1[users] += dx0[:, :s1]",
    ),
    wrong(
        "every_user_penalised",
        "wrong-part-penalised",
        "dE1[seen_users] += 2 * lam * E1[seen_users]",
        "dE1 += 2 * lam * E1",
    ),
    wrong(
        "items_penalised_as_often_as_seen",
        "wrong-part-penalised|wrong-term-weight|different-function|wrong-reduction",
        "dE2[seen_items] += 2 * lam * E2[seen_items]",
        "np.add.at(dE2, items, 2 * lam * E2[items])",
    ),
    wrong(
        "cross_bias_inside_the_product_in_both",
        "different-function",
        "xs.append(x0 * dot[:, None] + b[layer] + xs[layer])",
        "xs.append(x0 * (dot[:, None] + b[layer]) + xs[layer])",
        "db[layer] = dx.sum(axis=0)",
        "db[layer] = (dx * x0).sum(axis=0)",
        "dx0 += dx * dots[layer][:, None]",
        "dx0 += dx * (dots[layer][:, None] + b[layer])",
        "def cross_backward(dout, xs, dots, w):",
        "def cross_backward(dout, xs, dots, w, b):",
        'cross_backward(dcross, xs, dots, params["cross_w"])',
        'cross_backward(dcross, xs, dots, params["cross_w"], params["cross_b"])',
    ),
    wrong(
        "cross_without_the_previous_layer_in_both",
        "missing-path|different-function",
        "xs.append(x0 * dot[:, None] + b[layer] + xs[layer])",
        "xs.append(x0 * dot[:, None] + b[layer])",
        "dx = dx + np.outer(ddot, w[layer])",
        "dx = np.outer(ddot, w[layer])",
    ),
    wrong(
        "unweighted_in_cost",
        "wrong-loss",
        "loss = np.mean(weight * losses) + penalty",
        "loss = np.mean(losses) + penalty",
    ),
]

TOGETHER = [
    ("sample_weights_forgotten", "items_taken_from_the_end"),
    ("previous_layer_forgotten_in_the_cross", "tower_does_not_reach_the_embeddings"),
    ("cross_input_for_the_layers_own", "users_seen_twice_overwrite"),
    ("relu_slope_forgotten", "items_penalised_as_often_as_seen"),
    ("layers_own_input_for_the_first", "every_user_penalised"),
    ("cross_without_the_previous_layer_in_both", "relu_slope_forgotten"),
    ("divided_by_the_sum_of_the_weights", "cross_input_for_the_layers_own", "every_user_penalised"),
    ("inner_product_taken_entry_by_entry", "relu_slope_forgotten", "users_seen_twice_overwrite"),
]

RIGHT = [
    right(
        "one_hot_fields",
        "    np.add.at(dE1, users, dx0[:, :s1])\n    np.add.at(dE2, items, dx0[:, s1 : s1 + s2])\n",
        "    dE1 += (users == np.arange(len(E1))[:, None]) @ dx0[:, :s1]\n"
        "    dE2 += (items == np.arange(len(E2))[:, None]) @ dx0[:, s1:-numeric.shape[1]]\n",
        "    losses = -(clicked * np.log(p) + (1 - clicked) * np.log(1 - p))\n",
        "    losses = np.maximum(logit, 0) - clicked * logit + np.log1p(np.exp(-np.abs(logit)))\n",
    ),
    right(
        "sample_by_sample",
        "        ddot = np.sum(dx * x0, axis=1)\n"
        "        dw[layer] = xs[layer].T @ ddot\n"
        "        db[layer] = dx.sum(axis=0)\n"
        "        dx0 += dx * dots[layer][:, None]\n"
        "        dx = dx + np.outer(ddot, w[layer])\n",
        "        below = np.empty_like(dx)\n"
        "        for s in range(len(dx)):\n"
        "            ddot = dx[s] @ x0[s]\n"
        "            dw[layer] += ddot * xs[layer][s]\n"
        "            db[layer] += dx[s]\n"
        "            dx0[s] += dots[layer][s] * dx[s]\n"
        "            below[s] = dx[s] + ddot * w[layer]\n"
        "        dx = below\n",
    ),
    right(
        "head_in_two_parts",
        "    joined = np.hstack([xs[-1], acts[-1]])\n    logit = joined @ head\n",
        "    width = x0.shape[1]\n    logit = xs[-1] @ head[:width] + acts[-1] @ head[width:]\n",
        '    grads["head"] = joined.T @ dlogit\n'
        "    djoined = np.outer(dlogit, head)\n"
        "    width = x0.shape[1]\n"
        "    dcross, dact = djoined[:, :width], djoined[:, width:]\n",
        '    grads["head"] = np.concatenate([dlogit @ xs[-1], dlogit @ acts[-1]])\n'
        "    dcross, dact = dlogit[:, None] * head[:width], dlogit[:, None] * head[width:]\n",
        "        dpre = dact * (pres[k] > 0)\n",
        "        dpre = np.where(acts[k + 1] > 0, dact, 0.0)\n",
    ),
]
