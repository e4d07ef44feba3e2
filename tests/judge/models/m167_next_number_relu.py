"""The next number of a series from the three before it: ReLU units under a ReLU output, half the mean squared error."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, x, y):
    y1 = torch.relu(params["w1"] @ x.T + params["b1"])
    y2 = torch.relu(params["w2"] @ y1 + params["b2"])
    return 0.5 * ((y2 - y) ** 2).mean()


def ReLU(s):
    return np.maximum(0, s)


def slope(s):
    return np.where(s > 0, 1.0, 0.0)


def candidate(params, x, y):
    w1, b1, w2, b2 = params["w1"], params["b1"], params["w2"], params["b2"]
    n = len(y)
    s1 = np.dot(w1, x.T) + b1
    y1 = ReLU(s1)
    s2 = np.dot(w2, y1) + b2
    y2 = ReLU(s2)
    loss = np.sum((y2 - y) ** 2) / (2 * n)

    error = (y2 - y) / n
    delta2 = error * slope(s2)
    dw2 = np.dot(y1, delta2)
    db2 = np.sum(delta2, keepdims=True)
    delta1 = np.dot(w2.reshape(-1, 1), delta2.reshape(1, -1)) * slope(s1)
    dw1 = np.dot(delta1, x)
    db1 = np.sum(delta1, axis=1, keepdims=True)
    return loss, {"w1": dw1, "b1": db1, "w2": dw2, "b2": db2}


def problem(rng):
    series = np.where(np.arange(9) % 2, rng.uniform(2, 6, size=9), rng.uniform(-2, 1.5, size=9))
    params = {
        "w1": rng.uniform(-0.6, 1, size=(4, 3)),
        "b1": rng.normal(size=(4, 1)) * 0.4,
        "w2": np.array([0.9, -1.1, 0.7, -0.4]) * rng.uniform(0.7, 1.3, size=4),
        "b2": rng.normal(size=1) * 0.2 + 0.3,
    }
    x = np.lib.stride_tricks.sliding_window_view(series[:-1], 3).copy()
    return params, (x, series[3:].copy())


WRONG = [
    wrong(
        "output_slope_forgotten",
        "missing-derivative",
        "delta2 = error * slope(s2)",
        "delta2 = error",
    ),
    wrong(
        "hidden_slope_forgotten",
        "missing-derivative",
        "np.dot(w2.reshape(-1, 1), delta2.reshape(1, -1)) * slope(s1)",
        "np.dot(w2.reshape(-1, 1), delta2.reshape(1, -1))",
    ),
    wrong("mean_in_the_cost_only", "wrong-scale|wrong-reduction", "error = (y2 - y) / n", "error = y2 - y"),
    wrong("twice_the_error", "wrong-scale", "error = (y2 - y) / n", "error = 2 * (y2 - y) / n"),
    wrong(
        "targets_as_a_column",
        "broadcast",
        "error = (y2 - y) / n",
        "error = np.sum(y2 - y[:, np.newaxis], axis=0) / n",
    ),
    wrong(
        "hidden_error_through_the_stepped_weights",
        "wrong-operand",
        "    delta1 = np.dot(w2",
        "    w2 = w2 - 0.05 * dw2\n    delta1 = np.dot(w2",
    ),
    wrong("relu_for_its_slope", "different-function|wrong-operand", "np.where(s > 0, 1.0, 0.0)", "np.maximum(s, 0.0)"),
    wrong(
        "slope_assigned_over_the_hidden_error",
        "wrong-operand|missing-path",
        "np.dot(w2.reshape(-1, 1), delta2.reshape(1, -1)) * slope(s1)",
        "slope(s1)",
    ),
    wrong(
        "one_bias_gradient_for_all_units",
        "wrong-axis|wrong-reduction",
        "db1 = np.sum(delta1, axis=1, keepdims=True)",
        "db1 = np.full_like(b1, np.sum(delta1))",
    ),
    wrong(
        "hidden_error_with_the_raw_difference",
        "missing-derivative|wrong-operand",
        "delta2.reshape(1, -1)) * slope(s1)",
        "error.reshape(1, -1)) * slope(s1)",
    ),
    wrong(
        "weights_see_the_sums_not_the_outputs",
        "wrong-operand|different-function",
        "dw2 = np.dot(y1, delta2)",
        "dw2 = np.dot(s1, delta2)",
    ),
    wrong("half_forgotten_in_cost", "wrong-loss", "np.sum((y2 - y) ** 2) / (2 * n)", "np.sum((y2 - y) ** 2) / n"),
]

TOGETHER = [
    ("output_slope_forgotten", "hidden_slope_forgotten"),
    ("mean_in_the_cost_only", "hidden_slope_forgotten"),
    ("twice_the_error", "one_bias_gradient_for_all_units"),
    ("hidden_error_through_the_stepped_weights", "output_slope_forgotten"),
]

RIGHT = [
    right(
        "slopes_from_the_outputs",
        "delta2 = error * slope(s2)",
        "delta2 = error * (y2 > 0)",
        "np.dot(w2.reshape(-1, 1), delta2.reshape(1, -1)) * slope(s1)",
        "np.outer(w2, delta2) * (y1 > 0)",
    ),
]
