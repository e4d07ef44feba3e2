"""The L-layer model of a course, samples in rows: leaky ReLU, softmax with smoothed labels, weight decay over m."""

import numpy as np
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, X, Y):
    depth = len(params) // 2
    a = X
    for n in range(1, depth + 1):
        z = F.linear(a, params[f"W{n}"], params[f"b{n}"])
        a = F.leaky_relu(z, 0.1) if n < depth else z
    decay = sum(params[f"W{n}"].square().sum() for n in range(1, depth + 1))
    return {"data": F.cross_entropy(a, Y, label_smoothing=0.2), "decay": 0.3 / (2 * len(X)) * decay}


def leaky_relu(Z):
    return np.maximum(0.1 * Z, Z)


def leaky_relu_backward(dA, Z):
    dZ = np.array(dA, copy=True)
    dZ[Z <= 0] *= 0.1
    return dZ


def softmax(Z):
    e = np.exp(Z - np.max(Z, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True)


def smooth_one_hot(Y, C, eps=0.2):
    T = np.full((len(Y), C), eps / C)
    T[np.arange(len(Y)), Y] += 1 - eps
    return T


def L_model_forward(X, parameters):
    caches = []
    A = X
    L = len(parameters) // 2
    for l_ in range(1, L):
        A_prev = A
        Z = A_prev @ parameters["W" + str(l_)].T + parameters["b" + str(l_)]
        A = leaky_relu(Z)
        caches.append((A_prev, Z, A))
    ZL = A @ parameters["W" + str(L)].T + parameters["b" + str(L)]
    AL = softmax(ZL)
    caches.append((A, ZL, AL))
    return AL, caches


def compute_cost(AL, T, parameters, lambd):
    m = len(T)
    L = len(parameters) // 2
    cross_entropy_cost = -np.sum(T * np.log(AL)) / m
    L2_cost = sum(np.sum(np.square(parameters["W" + str(n)])) for n in range(1, L + 1)) * lambd / (2 * m)
    return cross_entropy_cost + L2_cost


def linear_backward(dZ, A_prev, W, lambd):
    m = A_prev.shape[0]
    dW = dZ.T @ A_prev / m + lambd / m * W
    db = np.sum(dZ, axis=0) / m
    dA_prev = dZ @ W
    return dA_prev, dW, db


def L_model_backward(AL, T, caches, parameters, lambd):
    grads = {}
    L = len(caches)
    dZ = AL - T
    A_prev, _, _ = caches[L - 1]
    dA, grads["W" + str(L)], grads["b" + str(L)] = linear_backward(dZ, A_prev, parameters["W" + str(L)], lambd)
    for n in reversed(range(1, L)):
        A_prev, Z, A = caches[n - 1]
        dZ = leaky_relu_backward(dA, Z)
        dA, grads["W" + str(n)], grads["b" + str(n)] = linear_backward(dZ, A_prev, parameters["W" + str(n)], lambd)
    return grads


def candidate(params, X, Y):
    lambd = 0.3
    T = smooth_one_hot(Y, params["b" + str(len(params) // 2)].size)
    AL, caches = L_model_forward(X, params)
    loss = compute_cost(AL, T, params, lambd)
    grads = L_model_backward(AL, T, caches, params, lambd)
    return loss, grads


def problem(rng):
    sizes = [4, 6, 5, 2, 3]
    params = {}
    for n in range(1, len(sizes)):
        params[f"W{n}"] = rng.normal(size=(sizes[n], sizes[n - 1])) * np.sqrt(2 / sizes[n - 1])
        params[f"b{n}"] = rng.normal(size=sizes[n]) * 0.4
    return params, (rng.normal(size=(7, sizes[0])), rng.integers(0, sizes[-1], size=7))


WRONG = [
    wrong(
        "decay_not_divided_by_the_batch",
        "wrong-term-weight|wrong-reduction",
        "dW = dZ.T @ A_prev / m + lambd / m * W",
        "dW = dZ.T @ A_prev / m + lambd * W",
    ),
    wrong(
        "decay_halved_as_in_cost",
        "wrong-term-weight",
        "+ lambd / m * W",
        "+ lambd / (2 * m) * W",
    ),
    wrong("decay_subtracted", "wrong-sign|wrong-term-weight", "+ lambd / m * W", "- lambd / m * W"),
    wrong(
        "output_layer_without_decay",
        "wrong-part-penalised|wrong-term-weight",
        'linear_backward(dZ, A_prev, parameters["W" + str(L)], lambd)',
        'linear_backward(dZ, A_prev, parameters["W" + str(L)], 0)',
    ),
    wrong(
        "weights_divided_by_the_batch_twice",
        "wrong-scale|wrong-reduction",
        "dW = dZ.T @ A_prev / m + lambd / m * W",
        "dW = (dZ.T @ A_prev / m + lambd / m * W) / m",
    ),
    wrong(
        "bias_not_averaged",
        "wrong-reduction|wrong-scale",
        "db = np.sum(dZ, axis=0) / m",
        "db = np.sum(dZ, axis=0)",
    ),
    wrong(
        "bias_decays_too",
        "wrong-part-penalised",
        "    return grads\n",
        "    for n in range(1, L + 1):\n"
        '        grads["b" + str(n)] += lambd / len(T) * parameters["b" + str(n)]\n'
        "    return grads\n",
    ),
    wrong(
        "hard_labels_backwards",
        "wrong-operand|different-function",
        "    dZ = AL - T\n",
        "    dZ = AL - (T > 0.5)\n",
    ),
    wrong(
        "cross_entropy_gradient_taken_as_binary",
        "different-function|missing-path|diagonal-jacobian",
        "    dZ = AL - T\n",
        "    dZ = -T / AL * AL * (1 - AL)\n",
    ),
    wrong(
        "softmax_slope_once_more",
        "extra-derivative",
        "    dZ = AL - T\n",
        "    dZ = (AL - T) * AL * (1 - AL)\n",
    ),
    wrong(
        "plain_relu_backwards",
        "different-function",
        "dZ[Z <= 0] *= 0.1",
        "dZ[Z <= 0] = 0",
    ),
    wrong(
        "leaky_slope_where_the_gradient_is_negative",
        "wrong-operand|derivative-at-wrong-point",
        "dZ[Z <= 0] *= 0.1",
        "dZ[dA <= 0] *= 0.1",
    ),
    wrong(
        "slope_of_leaky_part_assigned",
        "different-function|missing-path|overwritten",
        "dZ[Z <= 0] *= 0.1",
        "dZ[Z <= 0] = 0.1",
    ),
    wrong(
        "weights_updated_before_the_error_goes_through",
        "wrong-operand",
        "dA_prev = dZ @ W\n",
        "W = W - 0.5 * dW\n    dA_prev = dZ @ W\n",
    ),
    wrong(
        "smoothing_spread_over_the_other_classes_in_both",
        "different-function|wrong-operand",
        "T = np.full((len(Y), C), eps / C)",
        "T = np.full((len(Y), C), eps / (C - 1))",
        "T[np.arange(len(Y)), Y] += 1 - eps",
        "T[np.arange(len(Y)), Y] = 1 - eps",
    ),
    wrong(
        "cost_with_hard_labels",
        "wrong-loss",
        "-np.sum(T * np.log(AL)) / m",
        "-np.sum(np.log(AL[T > 0.5])) / m",
    ),
]

TOGETHER = [
    ("decay_not_divided_by_the_batch", "plain_relu_backwards"),
    ("bias_not_averaged", "hard_labels_backwards"),
    ("output_layer_without_decay", "leaky_slope_where_the_gradient_is_negative"),
    ("cross_entropy_gradient_taken_as_binary", "decay_halved_as_in_cost"),
    ("softmax_slope_once_more", "weights_updated_before_the_error_goes_through"),
    ("plain_relu_backwards", "decay_subtracted", "smoothing_spread_over_the_other_classes_in_both"),
]

RIGHT = [
    right(
        "divided_by_m_once_at_the_top",
        "    dZ = AL - T\n",
        "    dZ = (AL - T) / len(T)\n",
        "dW = dZ.T @ A_prev / m + lambd / m * W",
        "dW = dZ.T @ A_prev + lambd / m * W",
        "db = np.sum(dZ, axis=0) / m",
        "db = np.sum(dZ, axis=0)",
    ),
]
