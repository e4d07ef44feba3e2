"""Layers in a loop, samples in columns, tuples as caches: tanh, ReLU, a softmax by its Jacobian; weighted samples."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong

BATCH_AXIS = 1


def reference(params, X, Y, weights):
    A = torch.tanh(params["W1"] @ X + params["b1"])
    A = torch.relu(params["W2"] @ A + params["b2"])
    logp = torch.log_softmax(params["W3"] @ A + params["b3"], dim=0)
    penalty = sum((params[name] ** 2).sum() for name in ("W1", "W2", "W3"))
    return -(weights * Y * logp).sum() / X.shape[1] + 0.15 * penalty


def softmax(Z):
    e = np.exp(Z - Z.max(axis=0, keepdims=True))
    return e / e.sum(axis=0, keepdims=True)


def relu(Z):
    return np.maximum(0, Z)


def tanh_backward(dA, Z):
    return dA * (1 - np.tanh(Z) ** 2)


def relu_backward(dA, Z):
    dZ = dA.copy()
    dZ[Z <= 0] = 0
    return dZ


def softmax_backward(dA, Z):
    S = softmax(Z)
    dZ = np.zeros(Z.shape)
    for k in range(Z.shape[1]):
        s = S[:, k].reshape(-1, 1)
        jacobian = np.diagflat(s) - np.dot(s, s.T)
        dZ[:, k] = np.dot(jacobian, dA[:, k])
    return dZ


def linear_backward(dZ, linear_cache, m):
    A_prev, W = linear_cache
    dW = np.dot(dZ, A_prev.T) / m
    db = np.sum(dZ, axis=1, keepdims=True) / m
    dA_prev = np.dot(W.T, dZ)
    return dA_prev, dW, db


def candidate(params, X, Y, weights, lambd=0.3):
    L = len(params) // 2
    m = X.shape[1]
    forwards = {1: np.tanh, 2: relu, 3: softmax}
    backwards = {1: tanh_backward, 2: relu_backward, 3: softmax_backward}

    A, caches = X, []
    for layer in range(1, L + 1):
        W, b = params["W" + str(layer)], params["b" + str(layer)]
        Z = np.dot(W, A) + b
        caches.append(((A, W), Z))
        A = forwards[layer](Z)
    AL = A

    data_cost = -np.sum(weights * Y * np.log(AL)) / m
    weight_cost = lambd / 2 * sum(np.sum(np.square(params["W" + str(layer)])) for layer in range(1, L + 1))
    loss = data_cost + weight_cost

    grads = {}
    dA = -weights * Y / AL
    for layer in reversed(range(1, L + 1)):
        linear_cache, Z = caches[layer - 1]
        dZ = backwards[layer](dA, Z)
        dA, dW, db = linear_backward(dZ, linear_cache, m)
        grads["W" + str(layer)] = dW + lambd * params["W" + str(layer)]
        grads["b" + str(layer)] = db
    return loss, grads


def problem(rng):
    sizes, m = (3, 6, 5, 4), 7
    params = {}
    for layer in (1, 2, 3):
        params[f"W{layer}"] = rng.normal(size=(sizes[layer], sizes[layer - 1])) * 0.7
        params[f"b{layer}"] = rng.normal(size=(sizes[layer], 1)) * 0.4
    wanted = rng.random(size=(sizes[-1], m)) + 0.05
    weights = rng.uniform(0.3, 2.0, size=(1, m))
    return params, (rng.normal(size=(sizes[0], m)), wanted / wanted.sum(axis=0), weights)


WRONG = [
    wrong(
        "softmax_jacobian_without_its_other_entries",
        "diagonal-jacobian",
        "np.diagflat(s) - np.dot(s, s.T)",
        "np.diagflat(s * (1 - s))",
    ),
    wrong(
        "jacobian_of_the_gradient_that_came_in",
        "wrong-operand|derivative-at-wrong-point",
        "    S = softmax(Z)\n    dZ",
        "    S = softmax(dA)\n    dZ",
    ),
    wrong(
        "softmax_of_the_softmax_backwards",
        "derivative-at-wrong-point|extra-derivative",
        "    S = softmax(Z)\n    dZ",
        "    S = softmax(softmax(Z))\n    dZ",
    ),
    wrong(
        "shortcut_handed_to_the_jacobian",
        "extra-derivative|different-function",
        "dA = -weights * Y / AL",
        "dA = weights * (AL - Y)",
    ),
    wrong(
        "derivative_of_binary_cross_entropy",
        "different-function",
        "dA = -weights * Y / AL",
        "dA = -weights * (Y / AL - (1 - Y) / (1 - AL))",
    ),
    wrong(
        "sample_weights_forgotten_backwards",
        "missing-derivative|different-function|wrong-operand",
        "dA = -weights * Y / AL",
        "dA = -Y / AL",
    ),
    wrong(
        "averaged_again_at_every_layer",
        "wrong-scale",
        "dA_prev = np.dot(W.T, dZ)",
        "dA_prev = np.dot(W.T, dZ) / m",
    ),
    wrong(
        "relu_mask_from_the_gradient",
        "wrong-operand|derivative-at-wrong-point",
        "dZ[Z <= 0] = 0",
        "dZ[dA <= 0] = 0",
    ),
    wrong(
        "tanh_slope_of_what_is_no_activation",
        "derivative-at-wrong-point|different-function",
        "return dA * (1 - np.tanh(Z) ** 2)",
        "return dA * (1 - Z**2)",
    ),
    wrong(
        "decay_averaged_over_the_batch_backwards",
        "wrong-term-weight|wrong-scale",
        'dW + lambd * params["W" + str(layer)]',
        'dW + lambd / m * params["W" + str(layer)]',
    ),
    wrong(
        "bias_one_number_for_the_layer",
        "wrong-reduction|wrong-axis",
        "db = np.sum(dZ, axis=1, keepdims=True) / m",
        "db = np.full((len(dZ), 1), np.sum(dZ)) / m",
    ),
    wrong(
        "cost_of_the_decay_forgotten",
        "wrong-loss",
        "loss = data_cost + weight_cost",
        "loss = data_cost",
    ),
]

TOGETHER = [
    ("softmax_jacobian_without_its_other_entries", "averaged_again_at_every_layer"),
    ("shortcut_handed_to_the_jacobian", "decay_averaged_over_the_batch_backwards"),
    ("sample_weights_forgotten_backwards", "tanh_slope_of_what_is_no_activation"),
    ("derivative_of_binary_cross_entropy", "bias_one_number_for_the_layer"),
]

RIGHT = [
    right(
        "jacobian_never_built",
        "    dZ = np.zeros(Z.shape)\n"
        "    for k in range(Z.shape[1]):\n"
        "        s = S[:, k].reshape(-1, 1)\n"
        "        jacobian = np.diagflat(s) - np.dot(s, s.T)\n"
        "        dZ[:, k] = np.dot(jacobian, dA[:, k])\n"
        "    return dZ\n",
        "    return S * (dA - (S * dA).sum(axis=0))\n",
        "    dZ = dA.copy()\n    dZ[Z <= 0] = 0\n    return dZ\n",
        "    return dA * (Z > 0)\n",
    ),
]
