"""Several labels at once: ReLU layers and a sigmoid end, samples in columns, numbered dictionaries, decay over 2m."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, X, Y):
    A = X
    for layer in (1, 2, 3):
        Z = params[f"W{layer}"] @ A + params[f"b{layer}"]
        A = torch.relu(Z)
    m = X.shape[1]
    return {
        "data": F.binary_cross_entropy_with_logits(Z, Y, reduction="sum") / m,
        "penalty": 0.7 / (2 * m) * sum((params[f"W{layer}"] ** 2).sum() for layer in (1, 2, 3)),
    }


def sigmoid(Z):
    return 1.0 / (1.0 + np.exp(-Z))


def sigmoid_back(dA, Z):
    s = sigmoid(Z)
    return dA * s * (1 - s)


def relu_back(dA, Z):
    dZ = np.array(dA)
    dZ[Z <= 0] = 0
    return dZ


def linear_back(dZ, A_prev, W, lambd):
    m = A_prev.shape[1]
    dW = np.dot(dZ, A_prev.T) / m + lambd / m * W
    db = np.sum(dZ, axis=1, keepdims=True) / m
    dA_prev = np.dot(W.T, dZ)
    return dA_prev, dW, db


def forward_propagate(X, params, L):
    caches = {"A0": X}
    for layer in range(1, L + 1):
        Z = np.dot(params["W" + str(layer)], caches["A" + str(layer - 1)]) + params["b" + str(layer)]
        caches["Z" + str(layer)] = Z
        caches["A" + str(layer)] = sigmoid(Z) if layer == L else np.maximum(0, Z)
    return caches


def candidate(params, X, Y, lambd=0.7):
    L = len(params) // 2
    m = X.shape[1]
    caches = forward_propagate(X, params, L)
    AL = caches["A" + str(L)]
    cost = -np.sum(Y * np.log(AL) + (1 - Y) * np.log(1 - AL)) / m
    squares = sum(np.sum(np.square(params["W" + str(layer)])) for layer in range(1, L + 1))
    loss = cost + lambd / (2 * m) * squares

    grads = {}
    dA = -(np.divide(Y, AL) - np.divide(1 - Y, 1 - AL))
    for layer in range(L, 0, -1):
        Z = caches["Z" + str(layer)]
        if layer == L:
            dZ = sigmoid_back(dA, Z)
        else:
            dZ = relu_back(dA, Z)
        dA, dW, db = linear_back(dZ, caches["A" + str(layer - 1)], params["W" + str(layer)], lambd)
        grads["W" + str(layer)] = dW
        grads["b" + str(layer)] = db
    return loss, grads


BATCH_AXIS = 1


def problem(rng):
    sizes = [3, 5, 4, 2]
    params = {}
    for layer in (1, 2, 3):
        params[f"W{layer}"] = rng.normal(size=(sizes[layer], sizes[layer - 1])) * 0.7
        params[f"b{layer}"] = rng.normal(size=(sizes[layer], 1)) * 0.4 + 0.2
    return params, (rng.normal(size=(3, 6)), (rng.random(size=(2, 6)) < 0.5).astype(float))


WRONG = [
    wrong(
        "cost_slope_without_its_minus",
        "wrong-sign",
        "dA = -(np.divide(Y, AL) - np.divide(1 - Y, 1 - AL))",
        "dA = np.divide(Y, AL) - np.divide(1 - Y, 1 - AL)",
    ),
    wrong(
        "only_present_labels_in_the_slope",
        "missing-path|different-function",
        "dA = -(np.divide(Y, AL) - np.divide(1 - Y, 1 - AL))",
        "dA = -np.divide(Y, AL)",
    ),
    wrong(
        "difference_and_then_the_sigmoid_slope",
        "extra-derivative",
        "dA = -(np.divide(Y, AL) - np.divide(1 - Y, 1 - AL))",
        "dA = AL - Y",
    ),
    wrong(
        "samples_not_averaged_in_weights",
        "wrong-scale|wrong-reduction",
        "A_prev.T) / m + lambd",
        "A_prev.T) + lambd",
    ),
    wrong(
        "divided_by_m_at_every_layer",
        "wrong-scale",
        "dA_prev = np.dot(W.T, dZ)",
        "dA_prev = np.dot(W.T, dZ) / m",
    ),
    wrong(
        "bias_gradient_loses_its_column",
        "wrong-shape",
        "db = np.sum(dZ, axis=1, keepdims=True) / m",
        "db = np.sum(dZ, axis=1) / m",
    ),
    wrong("relu_slope_forgotten", "missing-derivative", "    dZ[Z <= 0] = 0\n", ""),
    wrong(
        "sigmoid_slope_at_its_output",
        "derivative-at-wrong-point",
        "dZ = sigmoid_back(dA, Z)",
        "dZ = sigmoid_back(dA, AL)",
    ),
    wrong("decay_not_over_m", "wrong-term-weight|wrong-scale", "lambd / m * W", "lambd * W"),
    wrong(
        "biases_decay_too",
        "wrong-part-penalised",
        'grads["b" + str(layer)] = db',
        'grads["b" + str(layer)] = db + lambd / m * params["b" + str(layer)]',
    ),
    wrong(
        "weights_from_preactivations",
        "wrong-operand",
        'linear_back(dZ, caches["A" + str(layer - 1)],',
        'linear_back(dZ, caches["Z" + str(layer - 1)] if layer > 1 else X,',
    ),
    wrong("cost_summed_over_samples", "wrong-loss", "np.log(1 - AL)) / m", "np.log(1 - AL))"),
]

TOGETHER = [
    ("difference_and_then_the_sigmoid_slope", "decay_not_over_m"),
    ("relu_slope_forgotten", "samples_not_averaged_in_weights"),
    ("divided_by_m_at_every_layer", "biases_decay_too"),
    ("sigmoid_slope_at_its_output", "weights_from_preactivations"),
]

RIGHT = [
    right(
        "sigmoid_and_cost_in_one",
        "dZ = sigmoid_back(dA, Z)",
        "dZ = AL - Y",
        "    dZ = np.array(dA)\n    dZ[Z <= 0] = 0\n    return dZ",
        "    return np.where(Z > 0, dA, 0.0)",
    ),
]
