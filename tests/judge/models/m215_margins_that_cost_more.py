"""A linear multi-class machine by two loops: squared margins of their own width, the bias as the last row, L2."""

import numpy as np
import torch.nn.functional as F

from tests.judge.corpus import ANY, right, wrong


def reference(params, X, y, costs):
    W = params["W"]
    scores = X @ W[:-1] + W[-1]
    correct = scores.gather(1, y[:, None])
    margins = F.relu(scores - correct + costs)
    others = 1 - F.one_hot(y, scores.shape[1])
    return {"margins": (others * margins**2).sum() / len(X), "penalty": 0.5 * 0.2 * (W[:-1] ** 2).sum()}


def candidate(params, X, y, costs, reg=0.2):
    W = params["W"]
    num_train, num_classes = X.shape[0], W.shape[1]
    X = np.hstack([X, np.ones((num_train, 1))])
    dW = np.zeros_like(W)
    total = 0.0
    for i in range(num_train):
        scores = X[i].dot(W)
        correct_class_score = scores[y[i]]
        for j in range(num_classes):
            if j == y[i]:
                continue
            margin = scores[j] - correct_class_score + costs[i, j]
            if margin > 0:
                total += margin**2
                dW[:, j] += 2 * margin * X[i]
                dW[:, y[i]] -= 2 * margin * X[i]
    reg_loss = 0.5 * reg * np.sum(W[:-1] * W[:-1])
    loss = total / num_train + reg_loss
    dW /= num_train
    dW[:-1] += reg * W[:-1]
    return loss, {"W": dW}


def problem(rng):
    num_train, dim, num_classes = 7, 3, 5
    params = {"W": rng.normal(size=(dim + 1, num_classes)) * 0.6}
    costs = rng.uniform(0.5, 1.5, size=(num_train, num_classes))
    return params, (rng.normal(size=(num_train, dim)), rng.integers(0, num_classes, size=num_train), costs)


WRONG = [
    wrong(
        "penalty_itself_added_to_the_gradient",
        "wrong-operand|different-function",
        "dW[:-1] += reg * W[:-1]",
        "dW[:-1] += reg_loss",
    ),
    wrong(
        "penalty_without_its_half_backwards",
        "wrong-term-weight|wrong-scale",
        "dW[:-1] += reg * W[:-1]",
        "dW[:-1] += 2 * reg * W[:-1]",
    ),
    wrong(
        "bias_row_shrinks_too",
        "wrong-part-penalised",
        "dW[:-1] += reg * W[:-1]",
        "dW += reg * W",
    ),
    wrong(
        "right_score_never_below_zero_in_both",
        "wrong-operand|different-function",
        "correct_class_score = scores[y[i]]",
        "correct_class_score = max(scores[y[i]], 0.0)",
    ),
    wrong(
        "right_class_counted_with_the_others_in_both",
        "wrong-loss",
        "            if j == y[i]:\n                continue\n",
        "",
    ),
    wrong(
        "right_class_never_pushed_up",
        "missing-path",
        "                dW[:, y[i]] -= 2 * margin * X[i]\n",
        "",
    ),
    wrong(
        "right_class_pushed_down",
        "wrong-sign",
        "dW[:, y[i]] -= 2 * margin * X[i]",
        "dW[:, y[i]] += 2 * margin * X[i]",
    ),
    wrong(
        "slope_of_the_plain_hinge",
        "different-function|missing-derivative",
        "dW[:, j] += 2 * margin * X[i]",
        "dW[:, j] += X[i]",
        "dW[:, y[i]] -= 2 * margin * X[i]",
        "dW[:, y[i]] -= X[i]",
    ),
    wrong(
        "wrong_class_assigned",
        "overwritten|one-sample-only",
        "dW[:, j] += 2 * margin * X[i]",
        "dW[:, j] = 2 * margin * X[i]",
    ),
    wrong(
        "left_the_loop_at_the_right_class_in_both",
        "different-function|missing-path",
        "                continue\n",
        "                break\n",
    ),
    wrong(
        "divided_inside_the_loop",
        ANY,
        "    reg_loss = 0.5",
        "        dW /= num_train\n    reg_loss = 0.5",
        "    dW /= num_train\n    dW[:-1]",
        "    dW[:-1]",
    ),
    wrong(
        "margin_of_one_for_all_in_both",
        "different-function|wrong-operand",
        "correct_class_score + costs[i, j]",
        "correct_class_score + 1.0",
    ),
]

TOGETHER = [
    ("penalty_itself_added_to_the_gradient", "right_class_never_pushed_up"),
    ("bias_row_shrinks_too", "slope_of_the_plain_hinge"),
    ("penalty_without_its_half_backwards", "wrong_class_assigned"),
    ("margin_of_one_for_all_in_both", "right_class_pushed_down"),
]

RIGHT = [
    right(
        "margins_in_one_matrix",
        "    dW = np.zeros_like(W)\n"
        "    total = 0.0\n"
        "    for i in range(num_train):\n"
        "        scores = X[i].dot(W)\n"
        "        correct_class_score = scores[y[i]]\n"
        "        for j in range(num_classes):\n"
        "            if j == y[i]:\n"
        "                continue\n"
        "            margin = scores[j] - correct_class_score + costs[i, j]\n"
        "            if margin > 0:\n"
        "                total += margin**2\n"
        "                dW[:, j] += 2 * margin * X[i]\n"
        "                dW[:, y[i]] -= 2 * margin * X[i]\n",
        "    rows = np.arange(num_train)\n"
        "    scores = X.dot(W)\n"
        "    margins = np.maximum(0, scores - scores[rows, y][:, None] + costs)\n"
        "    margins[rows, y] = 0\n"
        "    total = np.sum(margins**2)\n"
        "    pushes = 2 * margins\n"
        "    pushes[rows, y] = -pushes.sum(axis=1)\n"
        "    dW = X.T.dot(pushes)\n",
    ),
]
