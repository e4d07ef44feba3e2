"""A continuous bag of words: the mean of the context's one-hot columns, a ReLU layer, a softmax over the vocabulary."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, contexts, targets):
    x = F.one_hot(contexts, params["W1"].shape[1]).to(params["W1"].dtype).mean(dim=1).T
    h = torch.relu(params["W1"] @ x + params["b1"])
    scores = params["W2"] @ h + params["b2"]
    return F.cross_entropy(scores.T, targets)


def average_one_hot(contexts, V):
    m, C = contexts.shape
    x = np.zeros((V, m))
    for k in range(m):
        for word in contexts[k]:
            x[word, k] += 1 / C
    return x


def softmax(z):
    e = np.exp(z - np.max(z))
    return e / np.sum(e, axis=0, keepdims=True)


def forward_prop(x, W1, W2, b1, b2):
    z1 = np.dot(W1, x) + b1
    h = np.maximum(0, z1)
    z = np.dot(W2, h) + b2
    return z, h, z1


def back_prop(x, yhat, y, h, z1, W2, batch_size):
    error = yhat - y
    l1 = np.dot(W2.T, error)
    # nothing flows through a unit that is off
    l1[z1 < 0] = 0
    grad_W1 = np.dot(l1, x.T) / batch_size
    grad_W2 = np.dot(error, h.T) / batch_size
    grad_b1 = np.sum(l1, axis=1, keepdims=True) / batch_size
    grad_b2 = np.sum(error, axis=1, keepdims=True) / batch_size
    return grad_W1, grad_W2, grad_b1, grad_b2


def candidate(params, contexts, targets):
    W1, W2, b1, b2 = params["W1"], params["W2"], params["b1"], params["b2"]
    V = W2.shape[0]
    batch_size = len(targets)
    x = average_one_hot(contexts, V)
    y = np.eye(V)[:, targets]
    z, h, z1 = forward_prop(x, W1, W2, b1, b2)
    yhat = softmax(z)
    loss = -np.sum(y * np.log(yhat)) / batch_size

    grad_W1, grad_W2, grad_b1, grad_b2 = back_prop(x, yhat, y, h, z1, W2, batch_size)
    return loss, {"W1": grad_W1, "W2": grad_W2, "b1": grad_b1, "b2": grad_b2}


def problem(rng):
    params = {
        "W1": rng.normal(size=(3, 7)),
        "W2": rng.normal(size=(7, 3)),
        "b1": rng.normal(size=(3, 1)) * 0.3,
        "b2": rng.normal(size=(7, 1)) * 0.3,
    }
    contexts = np.array([[0, 1, 2, 1], [3, 5, 4, 6], [2, 2, 6, 0], [5, 3, 1, 4], [6, 0, 5, 5]])
    return params, (contexts, np.array([3, 0, 5, 2, 6]))


WRONG = [
    wrong(
        "relu_of_the_gradient",
        "wrong-operand|different-function|derivative-at-wrong-point",
        "    l1[z1 < 0] = 0\n",
        "    l1 = np.maximum(0, l1)\n",
    ),
    wrong("relu_slope_asked_of_its_output", "missing-derivative", "l1[z1 < 0] = 0", "l1[h < 0] = 0"),
    wrong(
        "hidden_bias_before_the_mask",
        "missing-derivative",
        "    grad_b1 = np.sum(l1, axis=1, keepdims=True) / batch_size\n",
        "    grad_b1 = np.sum(np.dot(W2.T, error), axis=1, keepdims=True) / batch_size\n",
    ),
    wrong(
        "bias_as_the_row_sum_of_the_weight_gradient",
        "wrong-operand|wrong-reduction",
        "grad_b2 = np.sum(error, axis=1, keepdims=True) / batch_size",
        "grad_b2 = np.sum(np.dot(error, h.T), axis=1, keepdims=True) / batch_size",
    ),
    wrong(
        "output_weights_not_averaged",
        "wrong-scale|wrong-reduction",
        "grad_W2 = np.dot(error, h.T) / batch_size",
        "grad_W2 = np.dot(error, h.T)",
    ),
    wrong(
        "repeated_context_word_counts_once_in_both",
        "overwritten|different-function",
        "x[word, k] += 1 / C",
        "x[word, k] = 1 / C",
    ),
    wrong(
        "context_summed_in_both",
        "wrong-reduction|wrong-scale",
        "x[word, k] += 1 / C",
        "x[word, k] += 1",
    ),
    wrong(
        "output_weights_with_the_layer_before_its_relu",
        "wrong-operand|different-function",
        "np.dot(error, h.T)",
        "np.dot(error, z1.T)",
    ),
    wrong("target_minus_prediction", "wrong-sign", "error = yhat - y", "error = y - yhat"),
    wrong(
        "first_weights_divided_by_the_window_again",
        "wrong-scale|wrong-reduction",
        "grad_W1 = np.dot(l1, x.T) / batch_size",
        "grad_W1 = np.dot(l1, x.T) / (4 * batch_size)",
    ),
    wrong(
        "softmax_over_the_whole_matrix",
        "wrong-axis|different-function",
        "np.sum(e, axis=0, keepdims=True)",
        "np.sum(e)",
    ),
    wrong(
        "cost_averaged_over_the_vocabulary",
        "wrong-loss",
        "loss = -np.sum(y * np.log(yhat)) / batch_size",
        "loss = -np.mean(y * np.log(yhat))",
    ),
]

TOGETHER = [
    ("relu_of_the_gradient", "bias_as_the_row_sum_of_the_weight_gradient"),
    ("relu_slope_asked_of_its_output", "output_weights_not_averaged"),
    ("target_minus_prediction", "repeated_context_word_counts_once_in_both"),
    ("hidden_bias_before_the_mask", "output_weights_with_the_layer_before_its_relu"),
]

RIGHT = [
    right(
        "biases_by_products",  # every column of x adds up to 1
        "grad_b1 = np.sum(l1, axis=1, keepdims=True) / batch_size",
        "grad_b1 = np.sum((1 / batch_size) * np.dot(l1, x.T), axis=1, keepdims=True)",
        "grad_b2 = np.sum(error, axis=1, keepdims=True) / batch_size",
        "grad_b2 = np.dot(error, np.ones((batch_size, 1))) / batch_size",
    ),
]
