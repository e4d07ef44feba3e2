"""Sentiment of parse trees: a tensor joins two children at every node, a softmax at each, recursion over dicts."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, words, children, labels):
    L, V, W, b = params["L"], params["V"], params["W"], params["b"]
    leaves = words.shape[1]
    loss = 0.0
    for i in range(len(words)):
        vectors = [L[:, word] for word in words[i]]
        for pair in children[i]:
            both = torch.cat([vectors[pair[0]], vectors[pair[1]]])
            vectors.append(torch.tanh(W @ both + b + torch.einsum("kij,i,j->k", V, both, both)))
        assert len(vectors) == 2 * leaves - 1
        scores = torch.stack(vectors) @ params["Ws"].T + params["bs"]
        loss = loss + F.cross_entropy(scores, labels[i], reduction="sum")
    penalty = sum((params[name] ** 2).sum() for name in ("V", "W", "Ws"))
    return loss / len(words) + 0.05 * penalty


def build_tree(words, children, labels):
    nodes = [{"word": word, "leaf": True} for word in words]
    for first, second in children:
        nodes.append({"left": nodes[first], "right": nodes[second], "leaf": False})
    for node, label in zip(nodes, labels, strict=True):
        node["label"] = label
    return nodes[-1]


def forward_prop(p, node):
    """Cost of the subtree; leaves activations and probabilities in its nodes."""
    cost = 0.0
    if node["leaf"]:
        node["h"] = p["L"][:, node["word"]]
    else:
        cost += forward_prop(p, node["left"])
        cost += forward_prop(p, node["right"])
        lr = np.hstack([node["left"]["h"], node["right"]["h"]])
        z = np.dot(p["W"], lr) + p["b"]
        z += np.tensordot(p["V"], np.outer(lr, lr), axes=([1, 2], [0, 1]))
        node["lr"] = lr
        node["h"] = np.tanh(z)
    scores = np.dot(p["Ws"], node["h"]) + p["bs"]
    scores -= np.max(scores)
    node["probs"] = np.exp(scores) / np.sum(np.exp(scores))
    return cost - np.log(node["probs"][node["label"]])


def back_prop(p, node, grads, error=None):
    # softmax
    deltas = node["probs"].copy()
    deltas[node["label"]] -= 1.0
    grads["Ws"] += np.outer(deltas, node["h"])
    grads["bs"] += deltas
    deltas = np.dot(p["Ws"].T, deltas)
    if error is not None:
        deltas += error

    if node["leaf"]:
        grads["L"][:, node["word"]] += deltas
        return

    # hidden
    inner = deltas * (1 - node["h"] ** 2)
    lr = node["lr"]
    grads["b"] += inner
    grads["W"] += np.outer(inner, lr)
    grads["V"] += inner[:, None, None] * np.outer(lr, lr)
    down = np.dot(p["W"].T, inner)
    for k in range(len(inner)):
        down += inner[k] * np.dot(p["V"][k] + p["V"][k].T, lr)

    # children
    d = len(inner)
    back_prop(p, node["left"], grads, down[:d])
    back_prop(p, node["right"], grads, down[d:])


def candidate(params, words, children, labels, rho=0.1):
    grads = {name: np.zeros_like(value) for name, value in params.items()}
    n = len(words)
    cost = 0.0
    for i in range(n):
        tree = build_tree(words[i], children[i], labels[i])
        cost += forward_prop(params, tree)
        back_prop(params, tree, grads)
    loss = cost / n
    for name in ("V", "W", "Ws"):
        loss += rho / 2 * np.sum(params[name] ** 2)

    for name in grads:
        grads[name] /= n
    grads["V"] += rho * params["V"]
    grads["W"] += rho * params["W"]
    grads["Ws"] += rho * params["Ws"]
    return loss, grads


def problem(rng):
    d, vocabulary, classes = 3, 7, 5
    params = {
        "L": rng.normal(size=(d, vocabulary)) * 0.8,
        "V": rng.normal(size=(d, 2 * d, 2 * d)) * 0.25,
        "W": rng.normal(size=(d, 2 * d)) * 0.5,
        "b": rng.normal(size=d) * 0.4,
        "Ws": rng.normal(size=(classes, d)),
        "bs": rng.normal(size=classes) * 0.5,
    }
    words = np.array([[0, 3, 3, 5], [2, 1, 6, 4], [4, 4, 0, 2], [6, 5, 1, 4], [5, 2, 0, 3]])
    # nodes 0 to 3 are the words, 4 to 6 join two of those before
    shapes = [
        [[0, 1], [2, 3], [4, 5]],
        [[2, 3], [1, 4], [0, 5]],
        [[0, 1], [4, 2], [5, 3]],
        [[1, 2], [0, 4], [5, 3]],
        [[1, 2], [4, 3], [0, 5]],
    ]
    return params, (words, np.array(shapes), rng.integers(0, classes, size=(5, 7)))


WRONG = [
    wrong(
        "tanh_slope_of_the_tanh",
        "derivative-at-wrong-point",
        'inner = deltas * (1 - node["h"] ** 2)',
        'inner = deltas * (1 - np.tanh(node["h"]) ** 2)',
    ),
    wrong(
        "tensor_felt_from_one_side_only",
        "missing-path",
        'np.dot(p["V"][k] + p["V"][k].T, lr)',
        'np.dot(p["V"][k].T, lr)',
    ),
    wrong(
        "tensor_passes_nothing_down",
        "missing-path",
        '    for k in range(len(inner)):\n        down += inner[k] * np.dot(p["V"][k] + p["V"][k].T, lr)\n',
        "",
    ),
    wrong(
        "error_from_above_not_added",
        "missing-path",
        "    if error is not None:\n        deltas += error\n",
        "",
    ),
    wrong(
        "own_error_replaced_by_that_from_above",
        "overwritten|missing-path",
        "        deltas += error\n",
        "        deltas = error\n",
    ),
    wrong(
        "children_errors_exchanged",
        "wrong-operand",
        'back_prop(p, node["left"], grads, down[:d])',
        'back_prop(p, node["left"], grads, down[d:])',
        'back_prop(p, node["right"], grads, down[d:])',
        'back_prop(p, node["right"], grads, down[:d])',
    ),
    wrong(
        "tanh_slope_at_the_words_too",
        "extra-derivative",
        'grads["L"][:, node["word"]] += deltas',
        'grads["L"][:, node["word"]] += deltas * (1 - node["h"] ** 2)',
    ),
    wrong(
        "repeated_words_overwrite",
        "overwritten",
        'grads["L"][:, node["word"]] += deltas',
        'grads["L"][:, node["word"]] = deltas',
    ),
    wrong(
        "tanh_slope_forgotten_on_the_way_down",
        "missing-derivative",
        'down = np.dot(p["W"].T, inner)',
        'down = np.dot(p["W"].T, deltas)',
        "down += inner[k] * np.dot",
        "down += deltas[k] * np.dot",
    ),
    wrong(
        "bias_taken_before_the_slope",
        "missing-derivative",
        'grads["b"] += inner',
        'grads["b"] += deltas',
    ),
    wrong(
        "tensor_not_decayed",
        "wrong-part-penalised|missing-path",
        '    grads["V"] += rho * params["V"]\n',
        "",
    ),
    wrong(
        "decay_divided_by_the_batch",
        "wrong-term-weight|wrong-scale",
        "    for name in grads:\n"
        "        grads[name] /= n\n"
        '    grads["V"] += rho * params["V"]\n'
        '    grads["W"] += rho * params["W"]\n'
        '    grads["Ws"] += rho * params["Ws"]\n',
        '    grads["V"] += rho * params["V"]\n'
        '    grads["W"] += rho * params["W"]\n'
        '    grads["Ws"] += rho * params["Ws"]\n'
        "    for name in grads:\n"
        "        grads[name] /= n\n",
    ),
]

TOGETHER = [
    ("tanh_slope_of_the_tanh", "tensor_felt_from_one_side_only"),
    ("tanh_slope_at_the_words_too", "tensor_not_decayed"),
    ("children_errors_exchanged", "repeated_words_overwrite"),
    ("bias_taken_before_the_slope", "decay_divided_by_the_batch"),
]

RIGHT = [
    right(
        "tensor_in_einsum",
        '    for k in range(len(inner)):\n        down += inner[k] * np.dot(p["V"][k] + p["V"][k].T, lr)\n',
        '    down += np.einsum("k,kij,j->i", inner, p["V"], lr) + np.einsum("k,kij,i->j", inner, p["V"], lr)\n',
        'grads["V"] += inner[:, None, None] * np.outer(lr, lr)',
        'grads["V"] += np.einsum("k,i,j->kij", inner, lr, lr)',
    ),
]
