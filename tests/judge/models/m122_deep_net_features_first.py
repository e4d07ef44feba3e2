"""The L-layer network of the deep-learning course: columns are samples, relu layers in a loop, sigmoid, L2 over 2m."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong

BATCH_AXIS = 1


def reference(params, X, Y):
    h = X.T
    for i in (1, 2, 3):
        h = F.relu(F.linear(h, params[f"W{i}"], params[f"b{i}"].squeeze(1)))
    logits = F.linear(h, params["W4"], params["b4"].squeeze(1))
    entropy = F.binary_cross_entropy_with_logits(logits, Y.T, reduction="none").sum(dim=1).mean()
    squares = sum(torch.sum(params[f"W{i}"] ** 2) for i in (1, 2, 3, 4))
    return {"cross_entropy": entropy, "l2": 0.9 / (2 * X.shape[1]) * squares}


def sigmoid(Z):
    return 1 / (1 + np.exp(-Z))


def linear_activation_forward(A_prev, W, b, activation):
    Z = np.dot(W, A_prev) + b
    A = sigmoid(Z) if activation == "sigmoid" else np.maximum(0, Z)
    return A, (A_prev, W, Z)


def L_model_forward(X, parameters, L):
    caches = []
    A = X
    for l in range(1, L):  # noqa: E741
        A, cache = linear_activation_forward(A, parameters["W" + str(l)], parameters["b" + str(l)], "relu")
        caches.append(cache)
    AL, cache = linear_activation_forward(A, parameters["W" + str(L)], parameters["b" + str(L)], "sigmoid")
    caches.append(cache)
    return AL, caches


def compute_cost(AL, Y, parameters, L, lambd):
    m = Y.shape[1]
    cross_entropy = -np.sum(Y * np.log(AL) + (1 - Y) * np.log(1 - AL)) / m
    squares = 0
    for l in range(1, L + 1):  # noqa: E741
        squares += np.sum(np.square(parameters["W" + str(l)]))
    return cross_entropy + lambd / (2 * m) * squares


def relu_backward(dA, Z):
    dZ = np.array(dA, copy=True)
    dZ[Z <= 0] = 0
    return dZ


def sigmoid_backward(dA, Z):
    s = sigmoid(Z)
    return dA * s * (1 - s)


def linear_backward(dZ, A_prev, W, lambd):
    m = A_prev.shape[1]
    dW = np.dot(dZ, A_prev.T) / m + lambd / m * W
    db = np.sum(dZ, axis=1, keepdims=True) / m
    dA_prev = np.dot(W.T, dZ)
    return dA_prev, dW, db


def candidate(params, X, Y, lambd=0.9):
    L = len(params) // 2
    AL, caches = L_model_forward(X, params, L)
    loss = compute_cost(AL, Y, params, L, lambd)

    grads = {}
    dAL = -(np.divide(Y, AL) - np.divide(1 - Y, 1 - AL))
    A_prev, W, Z = caches[L - 1]
    dZ = sigmoid_backward(dAL, Z)
    dA, grads["W" + str(L)], grads["b" + str(L)] = linear_backward(dZ, A_prev, W, lambd)
    for l in reversed(range(L - 1)):  # noqa: E741
        A_prev, W, Z = caches[l]
        dZ = relu_backward(dA, Z)
        dA, dW, db = linear_backward(dZ, A_prev, W, lambd)
        grads["W" + str(l + 1)] = dW
        grads["b" + str(l + 1)] = db
    return loss, grads


def problem(rng):
    sizes, m = [4, 7, 5, 6, 3], 9
    params = {}
    for i, (before, after) in enumerate(zip(sizes[:-1], sizes[1:], strict=True), start=1):
        params[f"W{i}"] = rng.normal(size=(after, before)) * np.sqrt(1.6 / before)
        params[f"b{i}"] = rng.normal(size=(after, 1)) * 0.3 + 0.2
    X = rng.normal(size=(sizes[0], m))
    return params, (X, (rng.random(size=(sizes[-1], m)) < 0.5).astype(float))


WRONG = [
    wrong(
        "minus_before_the_first_fraction_only",
        "wrong-sign",
        "dAL = -(np.divide(Y, AL) - np.divide(1 - Y, 1 - AL))",
        "dAL = -np.divide(Y, AL) - np.divide(1 - Y, 1 - AL)",
    ),
    wrong(
        "difference_for_the_derivative_of_the_cost",
        "extra-derivative|different-function",
        "dAL = -(np.divide(Y, AL) - np.divide(1 - Y, 1 - AL))",
        "dAL = AL - Y",
    ),
    wrong(
        "sigmoid_of_the_sigmoid",
        "derivative-at-wrong-point",
        "    s = sigmoid(Z)\n",
        "    s = sigmoid(sigmoid(Z))\n",
    ),
    wrong(
        "half_of_the_sigmoid_slope",
        "missing-derivative|different-function",
        "return dA * s * (1 - s)",
        "return dA * (1 - s)",
    ),
    wrong(
        "relu_times_its_value",
        "derivative-at-wrong-point|different-function|wrong-operand",
        "dZ[Z <= 0] = 0",
        "dZ *= np.maximum(0, Z)",
    ),
    wrong(
        "relu_cut_by_the_gradient",
        "wrong-operand|derivative-at-wrong-point|different-function",
        "dZ[Z <= 0] = 0",
        "dZ[dZ <= 0] = 0",
    ),
    wrong("relu_left_out_backwards", "missing-derivative", "    dZ[Z <= 0] = 0\n", ""),
    wrong(
        "weights_not_averaged",
        "wrong-scale|wrong-reduction|wrong-term-weight",
        "dW = np.dot(dZ, A_prev.T) / m + lambd",
        "dW = np.dot(dZ, A_prev.T) + lambd",
    ),
    wrong(
        "features_counted_for_samples",
        "wrong-scale|wrong-reduction|wrong-axis|wrong-operand",
        "m = A_prev.shape[1]",
        "m = A_prev.shape[0]",
    ),
    wrong(
        "averaged_again_in_every_layer",
        "wrong-scale|wrong-reduction",
        "dA_prev = np.dot(W.T, dZ)",
        "dA_prev = np.dot(W.T, dZ) / m",
    ),
    wrong(
        "bias_without_its_second_axis",
        "wrong-shape",
        "db = np.sum(dZ, axis=1, keepdims=True) / m",
        "db = np.sum(dZ, axis=1) / m",
    ),
    wrong(
        "penalty_not_over_m",
        "wrong-term-weight|wrong-scale",
        "/ m + lambd / m * W",
        "/ m + lambd * W",
    ),
    wrong(
        "no_penalty_in_the_output_layer",
        "wrong-part-penalised|missing-path|wrong-term-weight",
        "= linear_backward(dZ, A_prev, W, lambd)\n    for",
        "= linear_backward(dZ, A_prev, W, 0)\n    for",
    ),
    wrong(
        "output_through_relu_first_in_both",
        "different-function",
        'A = sigmoid(Z) if activation == "sigmoid" else np.maximum(0, Z)\n    return A, (A_prev, W, Z)',
        'A = np.maximum(0, Z)\n    if activation == "sigmoid":\n        A = sigmoid(A)\n    return A, (A_prev, W, Z)',
        "    s = sigmoid(Z)\n    return dA * s * (1 - s)",
        "    s = sigmoid(Z)\n    return dA * s * (1 - s) * (Z > 0)",
    ),
    wrong(
        "output_layer_not_in_the_penalty_in_cost",
        "wrong-loss",
        "    for l in range(1, L + 1):  # noqa: E741\n        squares",
        "    for l in range(1, L):  # noqa: E741\n        squares",
    ),
    wrong(
        "zeros_of_the_labels_forgotten_in_cost",
        "wrong-loss",
        "-np.sum(Y * np.log(AL) + (1 - Y) * np.log(1 - AL)) / m",
        "-np.sum(Y * np.log(AL)) / m",
    ),
]

TOGETHER = [
    ("sigmoid_of_the_sigmoid", "penalty_not_over_m"),
    ("minus_before_the_first_fraction_only", "relu_left_out_backwards"),
    ("difference_for_the_derivative_of_the_cost", "averaged_again_in_every_layer"),
    ("weights_not_averaged", "relu_cut_by_the_gradient"),
    ("half_of_the_sigmoid_slope", "no_penalty_in_the_output_layer"),
    ("averaged_again_in_every_layer", "no_penalty_in_the_output_layer"),
    ("relu_left_out_backwards", "penalty_not_over_m", "half_of_the_sigmoid_slope"),
    ("minus_before_the_first_fraction_only", "weights_not_averaged", "relu_times_its_value"),
]

RIGHT = [
    right(
        "output_error_in_one_step",
        "    dAL = -(np.divide(Y, AL) - np.divide(1 - Y, 1 - AL))\n",
        "",
        "A_prev, W, Z = caches[L - 1]",
        "A_prev, W, _ = caches[L - 1]",
        "dZ = sigmoid_backward(dAL, Z)",
        "dZ = AL - Y",
    ),
    right(
        "sample_by_sample",
        "    dW = np.dot(dZ, A_prev.T) / m + lambd / m * W\n    db = np.sum(dZ, axis=1, keepdims=True) / m\n",
        "    dW = lambd * W\n"
        "    db = np.zeros((W.shape[0], 1))\n"
        "    for j in range(m):\n"
        "        dW += np.outer(dZ[:, j], A_prev[:, j])\n"
        "        db[:, 0] += dZ[:, j]\n"
        "    dW /= m\n"
        "    db /= m\n",
    ),
    right(
        "divided_by_m_at_the_output_and_penalty_afterwards",
        "dW = np.dot(dZ, A_prev.T) / m + lambd / m * W",
        "dW = np.einsum('ij,kj->ik', dZ, A_prev)",
        "    m = A_prev.shape[1]\n",
        "",
        "db = np.sum(dZ, axis=1, keepdims=True) / m",
        "db = np.dot(dZ, np.ones((dZ.shape[1], 1)))",
        "dAL = -(np.divide(Y, AL) - np.divide(1 - Y, 1 - AL))",
        "m = X.shape[1]\n    dAL = (AL - Y) / (AL * (1 - AL)) / m",
        '        grads["b" + str(l + 1)] = db\n',
        '        grads["b" + str(l + 1)] = db\n'
        "    for l in range(1, L + 1):\n"
        '        grads["W" + str(l)] += params["W" + str(l)] * lambd / m\n',
    ),
]
