"""Digits from scratch: two sigmoid layers, inverted dropout after the first, a softmax scored by the squared error."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, y, mask):
    A1 = torch.sigmoid(F.linear(x, params["W1"])) * mask / 0.6
    A2 = torch.sigmoid(F.linear(A1, params["W2"]))
    A3 = torch.softmax(F.linear(A2, params["W3"], params["b3"]), dim=1)
    return F.mse_loss(A3, F.one_hot(y, A3.shape[1]).to(A3.dtype))


def sigmoid(x, derivative=False):
    s = 1 / (1 + np.exp(-x))
    return s * (1 - s) if derivative else s


def softmax(x):
    exps = np.exp(x - x.max(axis=1, keepdims=True))
    return exps / np.sum(exps, axis=1, keepdims=True)


def softmax_back(error, A, Z):
    """The error at the scores: every score moves every probability of its row."""
    return A * (error - np.sum(error * A, axis=1, keepdims=True))


def candidate(params, x, y, mask, p=0.4):
    W1, W2, W3, b3 = params["W1"], params["W2"], params["W3"], params["b3"]
    n, classes = len(y), W3.shape[0]
    goal = np.eye(classes)[y]

    # forward
    Z1 = x @ W1.T
    A1 = sigmoid(Z1)
    D1 = A1 * mask / (1 - p)
    Z2 = D1 @ W2.T
    A2 = sigmoid(Z2)
    Z3 = A2 @ W3.T + b3
    A3 = softmax(Z3)
    loss = np.mean((A3 - goal) ** 2)

    # backward
    error = 2 * (A3 - goal) / (n * classes)
    error = softmax_back(error, A3, Z3)
    grads = {"W3": error.T @ A2, "b3": error.sum(axis=0)}
    error = error @ W3 * sigmoid(Z2, derivative=True)
    grads["W2"] = error.T @ D1
    error = error @ W2 * mask / (1 - p)
    error = error * sigmoid(Z1, derivative=True)
    grads["W1"] = error.T @ x
    return loss, grads


def problem(rng):
    params = {
        "W1": rng.normal(size=(5, 3)),
        "W2": rng.normal(size=(4, 5)),
        "W3": rng.normal(size=(6, 4)),
        "b3": rng.normal(size=6) * 0.5,
    }
    mask = (rng.random(size=(7, 5)) < 0.6).astype(float)
    return params, (rng.normal(size=(7, 3)), rng.integers(0, 6, size=7), mask)


WRONG = [
    wrong(
        "softmax_slope_elementwise",
        "diagonal-jacobian",
        "return A * (error - np.sum(error * A, axis=1, keepdims=True))",
        "return error * A * (1 - A)",
    ),
    wrong(
        "softmax_left_out_as_with_cross_entropy",
        "missing-derivative",
        "    error = softmax_back(error, A3, Z3)\n",
        "",
    ),
    wrong(
        "softmax_slope_with_its_input",
        "diagonal-jacobian|wrong-operand",
        "return A * (error - np.sum(error * A, axis=1, keepdims=True))",
        "return error * A * (1 - Z)",
    ),
    wrong(
        "softmax_jacobian_at_the_error",
        "wrong-operand",
        "error = softmax_back(error, A3, Z3)",
        "error = softmax_back(error, softmax(error), Z3)",
    ),
    wrong(
        "mask_not_applied_backwards",
        "missing-derivative|wrong-operand",
        "error = error @ W2 * mask / (1 - p)",
        "error = error @ W2 / (1 - p)",
    ),
    wrong(
        "keep_probability_forgotten_backwards",
        "wrong-scale",
        "error = error @ W2 * mask / (1 - p)",
        "error = error @ W2 * mask",
    ),
    wrong(
        "divided_by_the_drop_probability_in_both",
        "wrong-scale|different-function",
        "D1 = A1 * mask / (1 - p)",
        "D1 = A1 * mask / p",
        "error = error @ W2 * mask / (1 - p)",
        "error = error @ W2 * mask / p",
    ),
    wrong(
        "slope_from_the_dropped_activation",
        "wrong-operand|derivative-at-wrong-point",
        "error = error * sigmoid(Z1, derivative=True)",
        "error = error * D1 * (1 - D1)",
    ),
    wrong(
        "second_weights_see_what_was_dropped",
        "wrong-operand",
        'grads["W2"] = error.T @ D1',
        'grads["W2"] = error.T @ A1',
    ),
    wrong(
        "divided_by_the_classes_only",
        "wrong-scale|wrong-reduction",
        "/ (n * classes)",
        "/ classes",
    ),
    wrong(
        "sigmoid_slope_at_the_activation",
        "derivative-at-wrong-point",
        "sigmoid(Z2, derivative=True)",
        "sigmoid(A2, derivative=True)",
    ),
    wrong(
        "cost_summed_over_the_classes",
        "wrong-loss",
        "loss = np.mean((A3 - goal) ** 2)",
        "loss = np.sum((A3 - goal) ** 2) / n",
    ),
]

TOGETHER = [
    ("softmax_slope_elementwise", "divided_by_the_classes_only"),
    ("softmax_left_out_as_with_cross_entropy", "mask_not_applied_backwards"),
    ("divided_by_the_drop_probability_in_both", "sigmoid_slope_at_the_activation"),
    ("keep_probability_forgotten_backwards", "second_weights_see_what_was_dropped"),
]

RIGHT = [
    right(
        "a_jacobian_for_each_row",
        "    return A * (error - np.sum(error * A, axis=1, keepdims=True))\n",
        "    out = np.empty_like(error)\n"
        "    for k, s in enumerate(A):\n"
        "        out[k] = (np.diagflat(s) - np.outer(s, s)) @ error[k]\n"
        "    return out\n",
        "exps = np.exp(x - x.max(axis=1, keepdims=True))",
        "exps = np.exp(x - x.max())",
    ),
]
