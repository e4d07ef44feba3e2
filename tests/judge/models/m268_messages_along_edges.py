"""Two numbers for each node: messages along a list of edges, weighed by their receiver, a skip, an L1 penalty."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong

BATCH_AXIS = None  # the nodes of one graph


def reference(params, x, edges, length, y):
    source, target = edges[0], edges[1]
    h = torch.tanh(x @ params["W1"] + params["b1"])
    message = h[source] @ params["Wm"] + length[:, None] * params["wl"]
    score = (h[target] * message).sum(dim=1) / h.shape[1] ** 0.5
    e = torch.exp(score)
    alpha = e / torch.zeros(len(x), dtype=h.dtype).index_add(0, target, e)[target]
    gathered = torch.zeros_like(h).index_add(0, target, alpha[:, None] * message)
    u = h + torch.relu(gathered @ params["Wu"] + params["bu"])
    out = u @ params["Wo"] + params["bo"]
    penalty = params["Wm"].abs().sum() + params["Wu"].abs().sum() + params["Wo"].abs().sum()
    return {"fit": F.mse_loss(out, y), "penalty": 0.1 * penalty}


def edges_into(node, target):
    return np.where(target == node)[0]


def softmax_per_node(score, target, n):
    alpha = np.zeros(len(score))
    for i in range(n):
        k = edges_into(i, target)
        if len(k) > 0:
            e = np.exp(score[k] - np.max(score[k]))
            alpha[k] = e / np.sum(e)
    return alpha


def softmax_per_node_grad(dalpha, alpha, target, n):
    dscore = np.zeros(len(alpha))
    for i in range(n):
        k = edges_into(i, target)
        mean = np.sum(alpha[k] * dalpha[k])
        dscore[k] = alpha[k] * (dalpha[k] - mean)
    return dscore


def candidate(params, x, edges, length, y):
    W1, b1, Wm, wl = params["W1"], params["b1"], params["Wm"], params["wl"]
    Wu, bu, Wo, bo = params["Wu"], params["bu"], params["Wo"], params["bo"]
    lam = 0.1
    src, dst = edges
    n = x.shape[0]

    h = np.tanh(x @ W1 + b1)
    m = h[src] @ Wm + np.outer(length, wl)
    scale = 1 / np.sqrt(h.shape[1])
    score = np.sum(h[dst] * m, axis=1) * scale
    alpha = softmax_per_node(score, dst, n)
    agg = np.zeros_like(h)
    np.add.at(agg, dst, alpha[:, None] * m)
    pre = agg @ Wu + bu
    u = h + np.maximum(pre, 0)
    out = u @ Wo + bo
    diff = out - y
    l1 = np.abs(Wm).sum() + np.abs(Wu).sum() + np.abs(Wo).sum()
    loss = np.mean(diff**2) + lam * l1

    dout = 2 * diff / diff.size
    dWo = u.T @ dout
    dbo = dout.sum(axis=0)
    du = dout @ Wo.T
    dh = du.copy()
    dpre = du * (pre > 0)
    dWu = agg.T @ dpre
    dbu = dpre.sum(axis=0)
    dagg = dpre @ Wu.T

    # every edge takes the gradient of the node that it ends in
    dm = alpha[:, None] * dagg[dst]
    dalpha = np.sum(dagg[dst] * m, axis=1)
    dscore = softmax_per_node_grad(dalpha, alpha, dst, n) * scale
    dm += dscore[:, None] * h[dst]
    np.add.at(dh, dst, dscore[:, None] * m)
    dWm = h[src].T @ dm
    dwl = length @ dm
    np.add.at(dh, src, dm @ Wm.T)

    da = dh * (1 - h**2)
    dW1 = x.T @ da
    db1 = da.sum(axis=0)
    dWm += lam * np.sign(Wm)
    dWu += lam * np.sign(Wu)
    dWo += lam * np.sign(Wo)
    return loss, {"W1": dW1, "b1": db1, "Wm": dWm, "wl": dwl, "Wu": dWu, "bu": dbu, "Wo": dWo, "bo": dbo}


def problem(rng):
    inputs, hidden, outputs = 3, 4, 2
    params = {
        "W1": rng.normal(size=(inputs, hidden)),
        "b1": rng.normal(size=hidden) * 0.4,
        "Wm": rng.normal(size=(hidden, hidden)) * 0.8,
        "wl": rng.normal(size=hidden) * 0.6,
        "Wu": rng.normal(size=(hidden, hidden)),
        "bu": rng.normal(size=hidden) * 0.4 + 0.3,
        "Wo": rng.normal(size=(hidden, outputs)) * 0.6,
        "bo": rng.normal(size=outputs) * 0.4,
    }
    name = rng.permutation(5)
    edges = name[np.array([[0, 1, 2, 0, 3, 4, 1, 0], [1, 2, 1, 2, 1, 3, 3, 4]])]
    return params, (rng.normal(size=(5, inputs)), edges, rng.random(size=8) * 2, rng.normal(size=(5, outputs)))


WRONG = [
    wrong(
        "sources_of_several_edges_overwritten",
        "overwritten",
        "np.add.at(dh, src, dm @ Wm.T)",
        "dh[src] += dm @ Wm.T",
    ),
    wrong(
        "attention_slope_edge_by_edge",
        "diagonal-jacobian",
        "dscore[k] = alpha[k] * (dalpha[k] - mean)",
        "dscore[k] = alpha[k] * (1 - alpha[k]) * dalpha[k]",
    ),
    wrong(
        "softmax_over_all_the_edges_in_both",
        "wrong-axis|different-function",
        "return np.where(target == node)[0]",
        "return np.arange(len(target))",
    ),
    wrong(
        "receivers_not_moved_by_their_scores",
        "missing-path",
        "    np.add.at(dh, dst, dscore[:, None] * m)\n",
        "",
    ),
    wrong(
        "messages_not_moved_by_their_scores",
        "missing-path",
        "    dm += dscore[:, None] * h[dst]\n",
        "",
    ),
    wrong(
        "messages_sent_back_to_their_receivers",
        "wrong-operand",
        "np.add.at(dh, src, dm @ Wm.T)",
        "np.add.at(dh, dst, dm @ Wm.T)",
    ),
    wrong(
        "scores_not_scaled_backwards",
        "wrong-scale|missing-derivative",
        "softmax_per_node_grad(dalpha, alpha, dst, n) * scale",
        "softmax_per_node_grad(dalpha, alpha, dst, n)",
    ),
    wrong("skip_forgotten_backwards", "missing-path", "dh = du.copy()", "dh = np.zeros_like(h)"),
    wrong(
        "squares_penalised_backwards",
        "different-function|wrong-operand",
        "    dWm += lam * np.sign(Wm)\n    dWu += lam * np.sign(Wu)\n    dWo += lam * np.sign(Wo)\n",
        "    dWm += lam * 2 * Wm\n    dWu += lam * 2 * Wu\n    dWo += lam * 2 * Wo\n",
    ),
    wrong(
        "message_weights_not_transposed",
        "not-transposed",
        "np.add.at(dh, src, dm @ Wm.T)",
        "np.add.at(dh, src, dm @ Wm)",
    ),
    wrong(
        "weight_of_the_edge_forgotten",
        "missing-derivative",
        "dm = alpha[:, None] * dagg[dst]",
        "dm = dagg[dst]",
    ),
    wrong(
        "output_bias_penalised_too",
        "wrong-part-penalised",
        "dWo += lam * np.sign(Wo)",
        "dWo += lam * np.sign(Wo)\n    dbo += lam * np.sign(bo)",
    ),
    wrong("relu_slope_forgotten", "missing-derivative", "dpre = du * (pre > 0)", "dpre = du.copy()"),
    wrong(
        "outputs_summed_in_cost",
        "wrong-loss",
        "loss = np.mean(diff**2) + lam * l1",
        "loss = np.sum(diff**2) / n + lam * l1",
    ),
]

TOGETHER = [
    ("sources_of_several_edges_overwritten", "attention_slope_edge_by_edge"),
    ("receivers_not_moved_by_their_scores", "relu_slope_forgotten"),
    ("softmax_over_all_the_edges_in_both", "skip_forgotten_backwards"),
    ("messages_not_moved_by_their_scores", "output_bias_penalised_too"),
    ("messages_sent_back_to_their_receivers", "squares_penalised_backwards"),
    ("scores_not_scaled_backwards", "message_weights_not_transposed"),
    ("weight_of_the_edge_forgotten", "receivers_not_moved_by_their_scores"),
    ("attention_slope_edge_by_edge", "outputs_summed_in_cost"),
    ("skip_forgotten_backwards", "relu_slope_forgotten", "output_bias_penalised_too"),
    ("message_weights_not_transposed", "messages_not_moved_by_their_scores", "squares_penalised_backwards"),
]

RIGHT = [
    right(
        "edges_as_a_matrix_of_ones",
        "    np.add.at(dh, src, dm @ Wm.T)\n",
        "    leaves = (np.arange(n)[:, None] == src).astype(float)\n    dh += leaves @ (dm @ Wm.T)\n",
        "    np.add.at(dh, dst, dscore[:, None] * m)\n",
        "    arrives = (np.arange(n)[:, None] == dst).astype(float)\n    dh += arrives @ (dscore[:, None] * m)\n",
    ),
    right(
        "sums_of_all_nodes_at_once",
        "    dscore = np.zeros(len(alpha))\n"
        "    for i in range(n):\n"
        "        k = edges_into(i, target)\n"
        "        mean = np.sum(alpha[k] * dalpha[k])\n"
        "        dscore[k] = alpha[k] * (dalpha[k] - mean)\n"
        "    return dscore",
        "    mean = np.bincount(target, weights=alpha * dalpha, minlength=n)\n"
        "    return alpha * (dalpha - mean[target])",
    ),
]
