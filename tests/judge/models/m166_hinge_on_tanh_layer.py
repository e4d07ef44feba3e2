"""A tanh layer under a multiclass support vector machine: summed margins of the wrong classes, L2 on both matrices."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, X, y):
    W1, b1, W2, b2 = params["W1"], params["b1"], params["W2"], params["b2"]
    scores = torch.tanh(X @ W1 + b1) @ W2 + b2
    own = scores.gather(1, y[:, None])
    margins = torch.relu(scores - own + 1).scatter(1, y[:, None], 0)
    return {"hinge": margins.sum(dim=1).mean(), "penalty": 0.04 * ((W1**2).sum() + (W2**2).sum())}


def tanh_d(a):
    return 1 - np.tanh(a) ** 2


def hinge(scores, y, delta=1.0):
    """The mean over the samples, and its slope at the scores."""
    m = len(y)
    rows = np.arange(m)
    label_score = scores[rows, y][:, None]
    margin = scores - label_score + delta
    margin[rows, y] = 0
    cost = np.sum(np.maximum(margin, 0)) / m
    dS = (margin > 0).astype(float)
    dS[rows, y] = -np.sum(dS, axis=1)
    return cost, dS / m


def candidate(params, X, y, reg=0.08):
    W1, b1, W2, b2 = params["W1"], params["b1"], params["W2"], params["b2"]
    a = np.dot(X, W1) + b1
    h = np.tanh(a)
    S = np.dot(h, W2) + b2
    hinge_loss, dS = hinge(S, y)
    loss = hinge_loss + 0.5 * reg * (np.sum(W1 * W1) + np.sum(W2 * W2))

    dW2 = np.dot(h.T, dS) + reg * W2
    db2 = np.sum(dS, axis=0)
    dh = np.dot(dS, W2.T)
    da = dh * tanh_d(a)
    dW1 = np.dot(X.T, da) + reg * W1
    db1 = np.sum(da, axis=0)
    return loss, {"W1": dW1, "b1": db1, "W2": dW2, "b2": db2}


def problem(rng):
    params = {
        "W1": rng.normal(size=(5, 3)) * 0.6,
        "b1": rng.normal(size=3) * 0.4,
        "W2": rng.normal(size=(3, 4)) * 0.9,
        "b2": rng.normal(size=4) * 0.4,
    }
    return params, (rng.normal(size=(6, 5)), np.array([2, 0, 3, 1, 3, 0]))


WRONG = [
    wrong(
        "own_class_pushed_once_not_per_margin",
        "overwritten|missing-path",
        "dS[rows, y] = -np.sum(dS, axis=1)",
        "dS[rows, y] = -1",
    ),
    wrong(
        "own_class_not_pushed",
        "missing-path",
        "    dS[rows, y] = -np.sum(dS, axis=1)\n",
        "",
    ),
    wrong(
        "own_score_as_the_largest_of_a_masked_row",
        "different-function|wrong-operand",
        "label_score = scores[rows, y][:, None]",
        "label_score = np.max(scores * np.eye(scores.shape[1])[y], axis=1)[:, None]",
    ),
    wrong(
        "margins_for_their_indicator",
        "different-function|wrong-operand",
        "dS = (margin > 0).astype(float)",
        "dS = np.maximum(margin, 0)",
    ),
    wrong(
        "indicator_without_the_delta",
        "wrong-operand|different-function",
        "dS = (margin > 0).astype(float)",
        "dS = (scores > label_score).astype(float)",
    ),
    wrong(
        "penalty_subtracted",
        "wrong-sign|wrong-term-weight",
        "np.dot(h.T, dS) + reg * W2",
        "np.dot(h.T, dS) - reg * W2",
        "np.dot(X.T, da) + reg * W1",
        "np.dot(X.T, da) - reg * W1",
    ),
    wrong(
        "penalty_twice",
        "wrong-term-weight|wrong-scale",
        "np.dot(h.T, dS) + reg * W2",
        "np.dot(h.T, dS) + 2 * reg * W2",
        "np.dot(X.T, da) + reg * W1",
        "np.dot(X.T, da) + 2 * reg * W1",
    ),
    wrong(
        "biases_penalised_too",
        "wrong-part-penalised",
        "db2 = np.sum(dS, axis=0)",
        "db2 = np.sum(dS, axis=0) + reg * b2",
        "db1 = np.sum(da, axis=0)",
        "db1 = np.sum(da, axis=0) + reg * b1",
    ),
    wrong(
        "first_matrix_not_penalised",
        "wrong-part-penalised|missing-path",
        "np.dot(X.T, da) + reg * W1",
        "np.dot(X.T, da)",
    ),
    wrong(
        "tanh_in_exponentials_for_its_slope",
        "different-function|wrong-operand",
        "return 1 - np.tanh(a) ** 2",
        "e = np.exp(2 * a)\n    return (e - 1) / (e + 1)",
    ),
    wrong(
        "tanh_slope_of_the_tanh_again",
        "derivative-at-wrong-point",
        "dh * tanh_d(a)",
        "dh * tanh_d(h)",
    ),
    wrong(
        "own_margin_left_in_the_cost",
        "wrong-loss",
        "    margin[rows, y] = 0\n    cost = np.sum(np.maximum(margin, 0)) / m\n",
        "    cost = np.sum(np.maximum(margin, 0)) / m\n    margin[rows, y] = 0\n",
    ),
]

TOGETHER = [
    ("own_class_pushed_once_not_per_margin", "penalty_subtracted"),
    ("margins_for_their_indicator", "biases_penalised_too"),
    ("tanh_in_exponentials_for_its_slope", "penalty_twice"),
    ("own_class_not_pushed", "tanh_slope_of_the_tanh_again"),
]

RIGHT = [
    right(
        "sample_by_sample",
        "    dS = (margin > 0).astype(float)\n    dS[rows, y] = -np.sum(dS, axis=1)\n",
        "    dS = np.zeros_like(scores)\n"
        "    for i in range(m):\n"
        "        for j in range(scores.shape[1]):\n"
        "            if j != y[i] and margin[i, j] > 0:\n"
        "                dS[i, j] += 1\n"
        "                dS[i, y[i]] -= 1\n",
    ),
]
