"""Nodes that look at their neighbours for ever: attention along the edges, and the state it settles at by a solve."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, edges, labels):
    keep = torch.sigmoid(params["restart"])

    def settle(features, adjacency):
        h = torch.tanh(features @ params["W1"] + params["b1"])
        q, k = h @ params["Wq"], h @ params["Wk"]
        scores = (q @ k.T) / q.shape[1] ** 0.5
        P = torch.softmax(torch.where(adjacency > 0, scores, -torch.inf), dim=1)
        system = torch.eye(len(h), dtype=h.dtype) - (1 - keep) * P
        z = torch.linalg.solve(system, keep * h)
        return z @ params["Wo"] + params["bo"]

    logits = torch.vmap(settle)(x, edges)
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


def row_softmax(a):
    e = np.exp(a - a.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def settle(params, x, edges, keep):
    h = np.tanh(x @ params["W1"] + params["b1"])
    q = h @ params["Wq"]
    k = h @ params["Wk"]
    scores = q @ k.T / np.sqrt(q.shape[1])
    scores[edges == 0] = -np.inf
    P = row_softmax(scores)
    A = np.eye(len(h)) - (1 - keep) * P
    z = np.linalg.solve(A, keep * h)
    return z, (h, q, k, P, A)


def settle_backward(params, x, dz, z, cache, keep, grads):
    h, q, k, P, A = cache
    # A z = b
    db = np.linalg.solve(A.T, dz)
    dA = -db @ z.T
    dh = keep * db
    dkeep = np.sum(db * h)
    dkeep += np.sum(dA * P)
    dP = -(1 - keep) * dA
    dscores = P * (dP - np.sum(dP * P, axis=1, keepdims=True))
    dscores /= np.sqrt(q.shape[1])
    dq = dscores @ k
    dk = dscores.T @ q
    grads["Wq"] += h.T @ dq
    grads["Wk"] += h.T @ dk
    dh += dq @ params["Wq"].T
    dh += dk @ params["Wk"].T
    dpre = dh * (1 - h**2)
    grads["W1"] += x.T @ dpre
    grads["b1"] += dpre.sum(axis=0)
    grads["restart"] += dkeep * keep * (1 - keep)


def candidate(params, x, edges, labels):
    graphs, nodes, _ = x.shape
    keep = 1 / (1 + np.exp(-params["restart"][0]))
    grads = {name: np.zeros_like(value) for name, value in params.items()}
    total = 0.0
    for g in range(graphs):
        z, cache = settle(params, x[g], edges[g], keep)
        prob = row_softmax(z @ params["Wo"] + params["bo"])
        each = np.arange(nodes)
        total -= np.sum(np.log(prob[each, labels[g]]))
        dlogits = prob
        dlogits[each, labels[g]] -= 1
        dlogits /= graphs * nodes
        grads["Wo"] += z.T @ dlogits
        grads["bo"] += dlogits.sum(axis=0)
        dz = dlogits @ params["Wo"].T
        settle_backward(params, x[g], dz, z, cache, keep, grads)
    loss = total / (graphs * nodes)
    return loss, grads


def problem(rng):
    graphs, nodes, inputs, hidden, keys, classes = 4, 5, 3, 6, 2, 7
    params = {
        "W1": rng.normal(size=(inputs, hidden)) * 0.8,
        "b1": rng.normal(size=hidden) * 0.3,
        "Wq": rng.normal(size=(hidden, keys)),
        "Wk": rng.normal(size=(hidden, keys)),
        "restart": rng.normal(size=1) * 0.3 - 0.8,
        "Wo": rng.normal(size=(hidden, classes)) * 0.8,
        "bo": rng.normal(size=classes) * 0.3,
    }
    edges = (rng.random(size=(graphs, nodes, nodes)) < 0.5) | np.eye(nodes, dtype=bool)
    labels = rng.integers(0, classes, size=(graphs, nodes))
    return params, (rng.normal(size=(graphs, nodes, inputs)), edges.astype(int), labels)


WRONG = [
    wrong(
        "backward_system_not_transposed",
        "not-transposed",
        "db = np.linalg.solve(A.T, dz)",
        "db = np.linalg.solve(A, dz)",
    ),
    wrong("sign_of_the_inverse_forgotten", "wrong-sign", "dA = -db @ z.T", "dA = db @ z.T"),
    wrong("outer_product_the_wrong_way_round", "transposed|not-transposed", "dA = -db @ z.T", "dA = -z @ db.T"),
    wrong(
        "matrix_gradient_from_the_unsolved_side",
        "wrong-operand|missing-derivative",
        "dA = -db @ z.T",
        "dA = -dz @ z.T",
    ),
    wrong(
        "right_hand_side_in_place_of_the_solution",
        "wrong-operand|missing-derivative",
        "dA = -db @ z.T",
        "dA = -db @ (keep * h).T",
    ),
    wrong(
        "system_taken_for_constant",
        "missing-path",
        "dA = -db @ z.T",
        "dA = np.zeros_like(A)",
    ),
    wrong(
        "restart_felt_by_the_right_hand_side_only",
        "missing-path",
        "    dkeep += np.sum(dA * P)\n",
        "",
    ),
    wrong(
        "restart_without_the_slope_of_its_sigmoid",
        "missing-derivative",
        'grads["restart"] += dkeep * keep * (1 - keep)',
        'grads["restart"] += dkeep',
    ),
    wrong(
        "restart_of_the_last_graph",
        "overwritten|one-sample-only",
        'grads["restart"] += dkeep',
        'grads["restart"] = np.ones(1) * dkeep',
    ),
    wrong(
        "attention_softmax_entry_by_entry",
        "diagonal-jacobian",
        "dscores = P * (dP - np.sum(dP * P, axis=1, keepdims=True))",
        "dscores = P * (1 - P) * dP",
    ),
    wrong("keys_with_unturned_scores", "not-transposed", "dk = dscores.T @ q", "dk = dscores @ q"),
    wrong(
        "keys_give_nothing_back_to_the_nodes",
        "missing-path",
        '    dh += dk @ params["Wk"].T\n',
        "",
    ),
]

TOGETHER = [
    ("backward_system_not_transposed", "restart_without_the_slope_of_its_sigmoid"),
    ("sign_of_the_inverse_forgotten", "keys_give_nothing_back_to_the_nodes"),
    ("outer_product_the_wrong_way_round", "attention_softmax_entry_by_entry"),
    ("restart_felt_by_the_right_hand_side_only", "keys_with_unturned_scores"),
]

RIGHT = [
    right(
        "by_the_inverse",
        "    db = np.linalg.solve(A.T, dz)\n    dA = -db @ z.T\n",
        "    inverse = np.linalg.inv(A)\n"
        "    dinverse = dz @ (keep * h).T\n"
        "    db = inverse.T @ dz\n"
        "    dA = -inverse.T @ dinverse @ inverse.T\n",
    )
]
