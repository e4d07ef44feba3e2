"""Layers in lists, a one behind every signal: LeCun's scaled tanh, dropped units, half squared error, decay on all."""

import numpy as np
import torch

from tests.judge.corpus import ANY, right, wrong


def reference(params, inputs, targets, kept):
    signal = inputs
    for i in (0, 1, 2):
        matrix = params[f"w{i}"]
        signal = 1.7159 * torch.tanh((signal @ matrix[:-1] + matrix[-1]) * 2 / 3)
        if i == 0:
            signal = signal * kept
    penalty = sum((params[name] ** 2).sum() for name in ("w0", "w1", "w2"))
    return ((targets - signal) ** 2).sum() / (2 * len(inputs)) + 0.01 * penalty


def vector_tanh(x):
    return 1.7159 * np.tanh(2 * x / 3)


def tanh_derivative(s):
    """In terms of the signal s that comes out."""
    return 1.7159 * (2 / 3) * (1 - (s / 1.7159) ** 2)


def with_bias(signal):
    return np.append(signal, [[1.0]], axis=1)


def backprop_deltas(weights, inputs, target, kept):
    signals, biased = [inputs], []
    for i, w in enumerate(weights):
        biased.append(with_bias(signals[-1]))
        out = vector_tanh(np.dot(biased[-1], w))
        signals.append(out * kept if i == 0 else out)
    cost = 0.5 * np.sum((target - signals[-1]) ** 2)

    errors = [tanh_derivative(signals[-1]) * (signals[-1] - target)]
    for i in range(len(weights) - 1, 0, -1):
        # the last row has no signal behind it
        error = np.dot(errors[-1], weights[i][:-1].T)
        slope = tanh_derivative(signals[i])
        if i == 1:
            slope = slope * kept
        errors.append(error * slope)
    errors.reverse()

    deltas = []
    for b, e in zip(biased, errors, strict=True):
        deltas.append(np.dot(b.T, e))
    return deltas, cost


def sum_deltas(deltas):
    total = [np.zeros(x.shape) for x in deltas[0]]
    for one in deltas:
        for y in range(len(one)):
            total[y] += one[y]
    return total


def candidate(params, inputs, targets, kept, decay_rate=0.02):
    names = ["w0", "w1", "w2"]
    weights = [params[name] for name in names]
    sample_size = len(inputs)
    deltas, costs = [], []
    for n in range(sample_size):
        delta, cost = backprop_deltas(weights, inputs[n : n + 1], targets[n : n + 1], kept[n : n + 1])
        deltas.append(delta)
        costs.append(cost)
    loss = sum(costs) / sample_size + decay_rate / 2 * sum(np.sum(w**2) for w in weights)

    grads = {}
    for name, w, delta in zip(names, weights, sum_deltas(deltas), strict=True):
        grads[name] = delta / sample_size + decay_rate * w
    return loss, grads


def problem(rng):
    sizes = [5, 4, 6, 3]
    params = {}
    for i in range(3):
        params[f"w{i}"] = rng.normal(size=(sizes[i] + 1, sizes[i + 1])) * 0.6
    inputs = rng.normal(size=(7, 5))
    targets = -np.ones((7, 3))
    targets[np.arange(7), rng.integers(0, 3, size=7)] = 1.0
    kept = (rng.random(size=(7, 4)) < 0.7).astype(float)
    return params, (inputs, targets, kept)


WRONG = [
    wrong(
        "errors_summed_instead_of_weighted",
        "missing-derivative|wrong-operand",
        "error = np.dot(errors[-1], weights[i][:-1].T)",
        "error = errors[-1].sum()",
    ),
    wrong(
        "slope_of_the_plain_tanh",
        "different-function",
        "return 1.7159 * (2 / 3) * (1 - (s / 1.7159) ** 2)",
        "return 1 - s**2",
    ),
    wrong(
        "inner_factor_of_the_slope_forgotten",
        "wrong-scale|missing-derivative",
        "return 1.7159 * (2 / 3) * (1",
        "return 1.7159 * (1",
    ),
    wrong(
        "signal_taken_for_the_input_of_the_slope",
        "derivative-at-wrong-point",
        "(1 - (s / 1.7159) ** 2)",
        "(1 - np.tanh(2 * s / 3) ** 2)",
    ),
    wrong(
        "slope_written_with_rounded_constants",
        ANY,
        "return 1.7159 * (2 / 3) * (1 - (s / 1.7159) ** 2)",
        "return 1.1439 * (1 - s**2 / 2.9443)",
    ),
    wrong(
        "dropped_units_learn_too",
        "missing-derivative",
        "            slope = slope * kept\n",
        "            pass\n",
    ),
    wrong(
        "step_taken_for_the_gradient",
        "wrong-sign",
        "(signals[-1] - target)]",
        "(target - signals[-1])]",
    ),
    wrong(
        "output_slope_left_out",
        "missing-derivative",
        "errors = [tanh_derivative(signals[-1]) * (signals[-1] - target)]",
        "errors = [signals[-1] - target]",
    ),
    wrong(
        "bias_row_thought_to_be_the_first",
        "wrong-operand",
        "weights[i][:-1].T",
        "weights[i][1:].T",
    ),
    wrong(
        "deltas_of_the_last_sample",
        "one-sample-only|overwritten",
        "total[y] += one[y]",
        "total[y] = one[y]",
    ),
    wrong(
        "bias_row_not_decayed",
        "wrong-part-penalised",
        "grads[name] = delta / sample_size + decay_rate * w",
        "grads[name] = delta / sample_size + decay_rate * np.vstack([w[:-1], 0 * w[-1:]])",
    ),
    wrong(
        "decay_against_the_gradient",
        "wrong-sign|wrong-term-weight",
        "delta / sample_size + decay_rate * w",
        "delta / sample_size - decay_rate * w",
    ),
]

TOGETHER = [
    ("inner_factor_of_the_slope_forgotten", "bias_row_not_decayed"),
    ("step_taken_for_the_gradient", "dropped_units_learn_too"),
    ("errors_summed_instead_of_weighted", "slope_of_the_plain_tanh"),
    ("output_slope_left_out", "bias_row_thought_to_be_the_first"),
]

RIGHT = [
    right(
        "slope_by_the_hyperbolic_cosine",
        "            slope = slope * kept\n",
        "            slope = kept * 1.7159 * 2 / 3 / np.cosh(2 * np.dot(biased[0], weights[0]) / 3) ** 2\n",
        "        for y in range(len(one)):\n            total[y] += one[y]\n",
        "        total = [t + d for t, d in zip(total, one, strict=True)]\n",
    ),
]
