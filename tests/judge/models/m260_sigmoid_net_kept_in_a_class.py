"""A student's class with a cache: sigmoid layer, softmax end, samples in columns, smoothed labels, decay over 2m."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, X, Y):
    m = X.shape[1]
    hidden = torch.sigmoid(params["W1"] @ X + params["b1"])
    scores = params["W2"] @ hidden + params["b2"]
    return {
        "data": F.cross_entropy(scores.T, Y.T, label_smoothing=0.3),
        "penalty": 0.8 / (2 * m) * ((params["W1"] ** 2).sum() + (params["W2"] ** 2).sum()),
    }


def sigmoid(Z):
    return 1.0 / (1.0 + np.exp(-Z))


def softmax(Z):
    E = np.exp(Z - np.max(Z))
    return E / np.sum(E, axis=0, keepdims=True)


def build_network(params, lambd, smoothing):
    class TwoLayerNet:
        def __init__(self):
            self.W1, self.b1 = params["W1"], params["b1"]
            self.W2, self.b2 = params["W2"], params["b2"]
            self.cache = {}
            self.grads = {}

        def smooth(self, Y):
            K = Y.shape[0]
            return (1 - smoothing) * Y + smoothing / K

        def forward(self, X):
            Z1 = np.dot(self.W1, X) + self.b1
            A1 = sigmoid(Z1)
            Z2 = np.dot(self.W2, A1) + self.b2
            A2 = softmax(Z2)
            self.cache = {"X": X, "Z1": Z1, "A1": A1, "Z2": Z2, "A2": A2}
            return A2

        def compute_cost(self, A2, Y):
            m = Y.shape[1]
            cross_entropy = -np.sum(self.smooth(Y) * np.log(A2)) / m
            squares = np.sum(np.square(self.W1)) + np.sum(np.square(self.W2))
            return cross_entropy + lambd / (2 * m) * squares

        def backward(self, Y):
            X, Z1, A1, A2 = (self.cache[name] for name in ("X", "Z1", "A1", "A2"))
            m = Y.shape[1]
            # output layer
            dZ2 = A2 - self.smooth(Y)
            self.grads["W2"] = np.dot(dZ2, A1.T) / m + lambd / m * self.W2
            self.grads["b2"] = np.sum(dZ2, axis=1, keepdims=True) / m
            # hidden layer
            dA1 = np.dot(self.W2.T, dZ2)
            dZ1 = dA1 * A1 * (1 - A1)
            self.grads["W1"] = np.dot(dZ1, X.T) / m + lambd / m * self.W1
            self.grads["b1"] = np.sum(dZ1, axis=1, keepdims=True) / m
            return self.grads

    return TwoLayerNet()


def candidate(params, X, Y):
    net = build_network(params, lambd=0.8, smoothing=0.3)
    A2 = net.forward(X)
    loss = net.compute_cost(A2, Y)
    grads = net.backward(Y)
    return loss, grads


BATCH_AXIS = 1


def problem(rng):
    inputs, hidden, classes, m = 3, 5, 5, 7
    params = {
        "W1": rng.normal(size=(hidden, inputs)),
        "b1": rng.normal(size=(hidden, 1)) * 0.4,
        "W2": rng.normal(size=(classes, hidden)),
        "b2": rng.normal(size=(classes, 1)) * 0.4,
    }
    labels = rng.integers(0, classes, size=m)
    return params, (rng.normal(size=(inputs, m)), np.eye(classes)[:, labels])


WRONG = [
    wrong(
        "labels_smoothed_in_the_cost_only",
        "different-function|wrong-operand",
        "dZ2 = A2 - self.smooth(Y)",
        "dZ2 = A2 - Y",
    ),
    wrong("sigmoid_slope_forgotten", "missing-derivative", "dZ1 = dA1 * A1 * (1 - A1)", "dZ1 = dA1"),
    wrong(
        "sigmoid_slope_at_its_input",
        "derivative-at-wrong-point",
        "dZ1 = dA1 * A1 * (1 - A1)",
        "dZ1 = dA1 * Z1 * (1 - Z1)",
    ),
    wrong(
        "tanh_slope_for_the_sigmoid",
        "different-function",
        "dZ1 = dA1 * A1 * (1 - A1)",
        "dZ1 = dA1 * (1 - A1**2)",
    ),
    wrong(
        "softmax_over_the_samples",
        "wrong-axis",
        "np.sum(E, axis=0, keepdims=True)",
        "np.sum(E, axis=1, keepdims=True)",
    ),
    wrong(
        "softmax_slope_once_more",
        "extra-derivative",
        "dZ2 = A2 - self.smooth(Y)",
        "dZ2 = (A2 - self.smooth(Y)) * A2 * (1 - A2)",
    ),
    wrong("W2_not_transposed", "not-transposed", "np.dot(self.W2.T, dZ2)", "np.dot(self.W2, dZ2)"),
    wrong(
        "output_weights_see_the_sums",
        "wrong-operand",
        "np.dot(dZ2, A1.T)",
        "np.dot(dZ2, Z1.T)",
    ),
    wrong(
        "decay_of_the_hidden_weights_not_over_m",
        "wrong-term-weight|wrong-scale",
        "lambd / m * self.W1",
        "lambd * self.W1",
    ),
    wrong(
        "hidden_weights_do_not_decay",
        "wrong-part-penalised|wrong-term-weight|missing-path",
        " / m + lambd / m * self.W1",
        " / m",
    ),
    wrong(
        "decay_subtracted_in_the_output_weights",
        "wrong-sign|wrong-term-weight",
        "/ m + lambd / m * self.W2",
        "/ m - lambd / m * self.W2",
    ),
    wrong(
        "smoothing_spread_over_the_other_classes_in_both",
        "different-function",
        "(1 - smoothing) * Y + smoothing / K",
        "(1 - smoothing) * Y + smoothing / (K - 1) * (1 - Y)",
    ),
    wrong(
        "averaged_twice",
        "wrong-scale|wrong-term-weight",
        "dZ2 = A2 - self.smooth(Y)",
        "dZ2 = (A2 - self.smooth(Y)) / m",
    ),
    wrong("smoothing_forgotten_in_cost", "wrong-loss", "np.sum(self.smooth(Y) * np.log(A2))", "np.sum(Y * np.log(A2))"),
]

TOGETHER = [
    ("labels_smoothed_in_the_cost_only", "sigmoid_slope_forgotten"),
    ("sigmoid_slope_at_its_input", "decay_of_the_hidden_weights_not_over_m"),
    ("softmax_slope_once_more", "hidden_weights_do_not_decay"),
    ("W2_not_transposed", "output_weights_see_the_sums"),
    ("tanh_slope_for_the_sigmoid", "decay_subtracted_in_the_output_weights"),
    ("smoothing_spread_over_the_other_classes_in_both", "W2_not_transposed"),
    ("averaged_twice", "output_weights_see_the_sums"),
    ("smoothing_forgotten_in_cost", "sigmoid_slope_at_its_input"),
    ("labels_smoothed_in_the_cost_only", "W2_not_transposed", "decay_of_the_hidden_weights_not_over_m"),
    ("output_weights_see_the_sums", "sigmoid_slope_forgotten", "decay_subtracted_in_the_output_weights"),
]

RIGHT = [
    right(
        "slope_as_a_helper_and_decay_added_in_place",
        "dZ1 = dA1 * A1 * (1 - A1)",
        "dZ1 = np.multiply(dA1, sigmoid(Z1) * sigmoid(-Z1))",
        "            return self.grads\n",
        "            for name in ('W1', 'W2'):\n"
        "                self.grads[name] += (lambd / m) * params[name]\n"
        "            return self.grads\n",
        " / m + lambd / m * self.W1",
        " / m",
        " / m + lambd / m * self.W2",
        " / m",
    ),
    right(
        "mean_taken_first",
        "dZ2 = A2 - self.smooth(Y)",
        "dZ2 = (A2 - self.smooth(Y)) / m",
        "np.dot(dZ2, A1.T) / m",
        "np.dot(dZ2, A1.T)",
        "np.sum(dZ2, axis=1, keepdims=True) / m",
        "np.sum(dZ2, axis=1, keepdims=True)",
        "np.dot(dZ1, X.T) / m",
        "np.dot(dZ1, X.T)",
        "np.sum(dZ1, axis=1, keepdims=True) / m",
        "dZ1 @ np.ones((m, 1))",
    ),
]
