"""Three sigmoid layers without biases, weights in a list, one column vector after another, half the squared error."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, inputs, targets):
    a = inputs
    for name in ("W0", "W1", "W2"):
        a = torch.sigmoid(a @ params[name].T)
    return 0.5 * ((a - targets) ** 2).sum(dim=1).mean()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def sigmoid_prime(s):
    # s is already a sigmoid
    return s * (1 - s)


def candidate(params, inputs, targets):
    weights = [params["W0"], params["W1"], params["W2"]]
    nabla = [np.zeros(W.shape) for W in weights]
    total = 0.0
    for input_vector, target_vector in zip(inputs, targets, strict=True):
        a = np.array(input_vector, ndmin=2).T
        y = np.array(target_vector, ndmin=2).T
        # forward
        A = [a]
        for k in range(3):
            a = sigmoid(np.dot(weights[k], a))
            A.append(a)
        total += 0.5 * np.sum((a - y) ** 2)
        # back-propagation
        delta = a - y
        for k in [2, 1, 0]:
            tmp = delta * sigmoid_prime(A[k + 1])
            delta = np.dot(weights[k].T, tmp)
            nabla[k] += np.dot(tmp, A[k].T)
    n = len(inputs)
    loss = total / n
    return loss, {"W" + str(k): nabla[k] / n for k in range(3)}


def problem(rng):
    params = {
        "W0": rng.normal(size=(3, 4)),
        "W1": rng.normal(size=(5, 3)),
        "W2": rng.normal(size=(2, 5)),
    }
    return params, (rng.normal(size=(6, 4)), rng.uniform(0.05, 0.95, size=(6, 2)))


WRONG = [
    wrong(
        "error_carried_back_without_the_slope",
        "missing-derivative",
        "delta = np.dot(weights[k].T, tmp)",
        "delta = np.dot(weights[k].T, delta)",
    ),
    wrong(
        "slope_takes_the_sigmoid_again",
        "derivative-at-wrong-point",
        "return s * (1 - s)",
        "return sigmoid(s) * (1 - sigmoid(s))",
    ),
    wrong(
        "slope_of_a_tanh",
        "different-function",
        "return s * (1 - s)",
        "return 1 - s**2",
    ),
    wrong(
        "error_through_the_updated_weights",
        "wrong-operand",
        "delta = np.dot(weights[k].T, tmp)",
        "delta = np.dot((weights[k] - 0.3 * np.dot(tmp, A[k].T)).T, tmp)",
    ),
    wrong(
        "last_sample_only",
        "overwritten|one-sample-only",
        "nabla[k] += np.dot(tmp, A[k].T)",
        "nabla[k] = np.dot(tmp, A[k].T)",
    ),
    wrong("target_minus_output", "wrong-sign", "delta = a - y", "delta = y - a"),
    wrong(
        "output_slope_as_for_cross_entropy",
        "missing-derivative",
        "tmp = delta * sigmoid_prime(A[k + 1])",
        "tmp = delta if k == 2 else delta * sigmoid_prime(A[k + 1])",
    ),
    wrong(
        "output_slope_before_and_in_the_loop",
        "extra-derivative",
        "delta = a - y",
        "delta = (a - y) * sigmoid_prime(a)",
    ),
    wrong("two_from_the_square", "wrong-scale", "delta = a - y", "delta = 2 * (a - y)"),
    wrong(
        "samples_not_averaged",
        "wrong-scale|wrong-reduction",
        "nabla[k] / n for",
        "nabla[k] for",
    ),
    wrong(
        "first_layer_slope_forgotten",
        "missing-derivative",
        "tmp = delta * sigmoid_prime(A[k + 1])",
        "tmp = delta * sigmoid_prime(A[k + 1]) if k > 0 else delta",
    ),
    wrong("half_forgotten_in_cost", "wrong-loss", "total += 0.5 * np.sum", "total += np.sum"),
]

TOGETHER = [
    ("error_carried_back_without_the_slope", "samples_not_averaged"),
    ("error_through_the_updated_weights", "target_minus_output"),
    ("output_slope_as_for_cross_entropy", "last_sample_only"),
    ("output_slope_before_and_in_the_loop", "samples_not_averaged"),
]

RIGHT = [
    right(
        "outer_products",
        "nabla[k] += np.dot(tmp, A[k].T)",
        "nabla[k] += np.outer(tmp, A[k])",
        "return s * (1 - s)",
        "return s - s**2",
    ),
]
