"""The digit network of a first course: a column of ones in front of each layer, backprop example by example, L2."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, X, y):
    theta1, theta2 = params["theta1"], params["theta2"]
    a2 = torch.sigmoid(F.linear(X, theta1[:, 1:], theta1[:, 0]))
    logits = F.linear(a2, theta2[:, 1:], theta2[:, 0])
    targets = F.one_hot(y - 1, len(theta2)).to(X.dtype)
    cost = F.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / len(X)
    penalty = 1.5 / (2 * len(X)) * ((theta1[:, 1:] ** 2).sum() + (theta2[:, 1:] ** 2).sum())
    return {"cost": cost, "penalty": penalty}


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def sigmoid_gradient(z):
    g = sigmoid(z)
    return g * (1 - g)


def candidate(params, X, y, lam=1.5):
    theta1, theta2 = params["theta1"], params["theta2"]
    m = X.shape[0]
    labels = theta2.shape[0]

    # part 1: feedforward and cost
    X1 = np.c_[np.ones(m), X]
    Z2 = X1 @ theta1.T
    A2 = np.c_[np.ones(m), sigmoid(Z2)]
    H = sigmoid(A2 @ theta2.T)
    # labels count from one
    Y = np.eye(labels)[y - 1]
    J = np.sum(-Y * np.log(H) - (1 - Y) * np.log(1 - H)) / m
    J += lam / (2 * m) * (np.sum(theta1[:, 1:] ** 2) + np.sum(theta2[:, 1:] ** 2))
    loss = J

    # part 2: backpropagation
    Delta1, Delta2 = np.zeros(theta1.shape), np.zeros(theta2.shape)
    for t in range(m):
        a1, z2, a2 = X1[t], Z2[t], A2[t]
        delta3 = H[t] - Y[t]
        delta2 = (theta2.T @ delta3) * np.r_[1.0, sigmoid_gradient(z2)]
        Delta2 += np.outer(delta3, a2)
        Delta1 += np.outer(delta2[1:], a1)

    # part 3: regularization, not of the bias
    grad1, grad2 = Delta1 / m, Delta2 / m
    shrunk1 = np.c_[np.zeros(theta1.shape[0]), theta1[:, 1:]]
    shrunk2 = np.c_[np.zeros(theta2.shape[0]), theta2[:, 1:]]
    grad1 += lam / m * shrunk1
    grad2 += lam / m * shrunk2
    return loss, {"theta1": grad1, "theta2": grad2}


def problem(rng):
    m, inputs, hidden, labels = 5, 6, 4, 3
    params = {
        "theta1": rng.normal(size=(hidden, inputs + 1)) * 0.8,
        "theta2": rng.normal(size=(labels, hidden + 1)) * 0.9,
    }
    return params, (rng.normal(size=(m, inputs)), np.array([1, 3, 2, 2, 1]))


WRONG = [
    wrong(
        "ones_where_the_bias_has_no_penalty",
        "wrong-part-penalised",
        "shrunk1 = np.c_[np.zeros(theta1.shape[0]), theta1[:, 1:]]",
        "shrunk1 = np.c_[np.ones(theta1.shape[0]), theta1[:, 1:]]",
    ),
    wrong(
        "second_bias_penalised_in_gradient",
        "wrong-part-penalised",
        "grad2 += lam / m * shrunk2",
        "grad2 += lam / m * theta2",
    ),
    wrong(
        "second_column_spared_for_the_first",
        "wrong-part-penalised",
        "shrunk1 = np.c_[np.zeros(theta1.shape[0]), theta1[:, 1:]]",
        "shrunk1 = np.c_[theta1[:, 0], np.zeros(theta1.shape[0]), theta1[:, 2:]]",
    ),
    wrong(
        "penalty_not_divided_by_the_examples",
        "wrong-term-weight",
        "grad1 += lam / m * shrunk1\n    grad2 += lam / m * shrunk2",
        "grad1 += lam * shrunk1\n    grad2 += lam * shrunk2",
    ),
    wrong(
        "slope_of_the_output_unit_too",
        "extra-derivative|different-function",
        "delta3 = H[t] - Y[t]",
        "delta3 = (H[t] - Y[t]) * H[t] * (1 - H[t])",
    ),
    wrong(
        "slope_at_the_activation",
        "derivative-at-wrong-point",
        "np.r_[1.0, sigmoid_gradient(z2)]",
        "sigmoid_gradient(a2)",
    ),
    wrong(
        "hidden_slope_forgotten",
        "missing-derivative",
        "(theta2.T @ delta3) * np.r_[1.0, sigmoid_gradient(z2)]",
        "theta2.T @ delta3",
    ),
    wrong(
        "last_unit_dropped_for_the_bias_unit",
        "wrong-operand",
        "np.outer(delta2[1:], a1)",
        "np.outer(delta2[:-1], a1)",
    ),
    wrong(
        "only_the_last_example_kept",
        "one-sample-only|overwritten",
        "Delta1 += np.outer(delta2[1:], a1)",
        "Delta1 = np.outer(delta2[1:], a1)",
    ),
    wrong(
        "second_layer_not_averaged",
        "wrong-scale|wrong-reduction",
        "grad1, grad2 = Delta1 / m, Delta2 / m",
        "grad1, grad2 = Delta1 / m, Delta2",
    ),
    wrong(
        "classes_counted_from_zero_in_both",
        "wrong-operand",
        "Y = np.eye(labels)[y - 1]",
        "Y = np.eye(labels)[y % labels]",
    ),
    wrong(
        "bias_penalised_in_cost",
        "wrong-loss",
        "np.sum(theta1[:, 1:] ** 2) + np.sum(theta2[:, 1:] ** 2)",
        "np.sum(theta1**2) + np.sum(theta2**2)",
    ),
]

TOGETHER = [
    ("slope_of_the_output_unit_too", "second_bias_penalised_in_gradient"),
    ("ones_where_the_bias_has_no_penalty", "slope_at_the_activation"),
    ("only_the_last_example_kept", "penalty_not_divided_by_the_examples"),
    ("hidden_slope_forgotten", "second_layer_not_averaged"),
]

RIGHT = [
    right(
        "all_examples_at_once",
        "    for t in range(m):\n"
        "        a1, z2, a2 = X1[t], Z2[t], A2[t]\n"
        "        delta3 = H[t] - Y[t]\n"
        "        delta2 = (theta2.T @ delta3) * np.r_[1.0, sigmoid_gradient(z2)]\n"
        "        Delta2 += np.outer(delta3, a2)\n"
        "        Delta1 += np.outer(delta2[1:], a1)\n",
        "    D3 = H - Y\n"
        "    D2 = (D3 @ theta2[:, 1:]) * sigmoid_gradient(Z2)\n"
        "    Delta2 += D3.T @ A2\n"
        "    Delta1 += D2.T @ X1\n",
    ),
]
