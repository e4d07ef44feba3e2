"""The network of Nielsen's book: sigmoid layers of column vectors, backprop sample by sample, quadratic cost, decay."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, labels):
    a = x
    for layer in (1, 2, 3):
        a = torch.sigmoid(F.linear(a, params[f"W{layer}"], params[f"b{layer}"].flatten()))
    target = F.one_hot(labels, 3).to(a.dtype)
    squares = sum(params[f"W{layer}"].square().sum() for layer in (1, 2, 3))
    return {
        "quadratic": 0.5 * F.mse_loss(a, target, reduction="sum") / len(x),
        "decay": 0.5 * 0.05 / len(x) * squares,
    }


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def sigmoid_prime(z):
    return sigmoid(z) * (1 - sigmoid(z))


def quadratic(a, y):
    return 0.5 * np.linalg.norm(a - y) ** 2


def quadratic_delta(z, a, y):
    return (a - y) * sigmoid_prime(z)


def cross_entropy(a, y):
    return np.sum(-y * np.log(a) - (1 - y) * np.log(1 - a))


def cross_entropy_delta(z, a, y):
    return a - y


def cost_functions(name):
    if name == "quadratic":
        return quadratic, quadratic_delta
    return cross_entropy, cross_entropy_delta


def vectorized_result(j, size):
    e = np.zeros((size, 1))
    e[j] = 1.0
    return e


def feedforward(weights, biases, a):
    for w, b in zip(weights, biases, strict=True):
        a = sigmoid(np.dot(w, a) + b)
    return a


def total_cost(weights, biases, pairs, fn, lmbda):
    cost = 0.0
    for x, y in pairs:
        cost += fn(feedforward(weights, biases, x), y) / len(pairs)
    cost += 0.5 * (lmbda / len(pairs)) * sum(np.linalg.norm(w) ** 2 for w in weights)
    return cost


def backprop(weights, biases, x, y, delta_of):
    nabla_w = [np.zeros(w.shape) for w in weights]
    nabla_b = [np.zeros(b.shape) for b in biases]
    activation = x
    activations = [x]
    zs = []
    for w, b in zip(weights, biases, strict=True):
        z = np.dot(w, activation) + b
        zs.append(z)
        activation = sigmoid(z)
        activations.append(activation)
    delta = delta_of(zs[-1], activations[-1], y)
    nabla_b[-1] = delta
    nabla_w[-1] = np.dot(delta, activations[-2].T)
    for back in range(2, len(weights) + 1):
        sp = sigmoid_prime(zs[-back])
        delta = np.dot(weights[-back + 1].T, delta) * sp
        nabla_b[-back] = delta
        nabla_w[-back] = np.dot(delta, activations[-back - 1].T)
    return nabla_w, nabla_b


def candidate(params, x, labels, cost="quadratic", lmbda=0.05):
    layers = (1, 2, 3)
    weights = [params[f"W{i}"] for i in layers]
    biases = [params[f"b{i}"] for i in layers]
    fn, delta_of = cost_functions(cost)
    pairs = [(row.reshape(-1, 1), vectorized_result(j, len(biases[-1]))) for row, j in zip(x, labels, strict=True)]
    n = len(pairs)
    loss = total_cost(weights, biases, pairs, fn, lmbda)

    nabla_w = [np.zeros(w.shape) for w in weights]
    nabla_b = [np.zeros(b.shape) for b in biases]
    for sample, y in pairs:
        delta_nabla_w, delta_nabla_b = backprop(weights, biases, sample, y, delta_of)
        nabla_w = [nw + dnw for nw, dnw in zip(nabla_w, delta_nabla_w, strict=True)]
        nabla_b = [nb + dnb for nb, dnb in zip(nabla_b, delta_nabla_b, strict=True)]
    grads = {}
    for i, w, nw, nb in zip(layers, weights, nabla_w, nabla_b, strict=True):
        grads[f"W{i}"] = nw / n + (lmbda / n) * w
        grads[f"b{i}"] = nb / n
    return loss, grads


def problem(rng):
    sizes = [6, 5, 4, 3]
    params = {}
    for i, (inputs, outputs) in enumerate(zip(sizes[:-1], sizes[1:], strict=True), start=1):
        params[f"W{i}"] = rng.normal(size=(outputs, inputs)) * 1.8 / np.sqrt(inputs)
        params[f"b{i}"] = rng.normal(size=(outputs, 1)) * 0.6
    return params, (rng.normal(size=(8, 6)), np.array([1, 0, 2, 2, 1, 0, 1, 2]))


WRONG = [
    wrong(
        "slope_at_the_activation",
        "derivative-at-wrong-point",
        "sp = sigmoid_prime(zs[-back])",
        "sp = sigmoid_prime(activations[-back])",
    ),
    wrong(
        "output_slope_forgotten",
        "missing-derivative|different-function",
        "return (a - y) * sigmoid_prime(z)",
        "return a - y",
    ),
    wrong(
        "hidden_slope_forgotten",
        "missing-derivative",
        "weights[-back + 1].T, delta) * sp",
        "weights[-back + 1].T, delta)",
    ),
    wrong(
        "slope_written_for_an_activation",
        "derivative-at-wrong-point",
        "return sigmoid(z) * (1 - sigmoid(z))",
        "return z * (1 - z)",
    ),
    wrong("biases_sloped_again", "extra-derivative", "nabla_b[-back] = delta", "nabla_b[-back] = delta * sp"),
    wrong(
        "weights_of_the_last_sample",
        "overwritten|one-sample-only",
        "nabla_w = [nw + dnw for nw, dnw in zip(nabla_w, delta_nabla_w, strict=True)]",
        "nabla_w = delta_nabla_w",
    ),
    wrong("biases_summed", "wrong-reduction|wrong-scale|wrong-term-weight", "= nb / n", "= nb"),
    wrong(
        "decay_not_divided_by_samples", "wrong-term-weight|wrong-scale|wrong-reduction", "(lmbda / n) * w", "lmbda * w"
    ),
    wrong("decay_subtracted", "wrong-sign|wrong-term-weight", "nw / n + (lmbda / n) * w", "nw / n - (lmbda / n) * w"),
    wrong("biases_decayed", "wrong-part-penalised", "= nb / n", '= nb / n + (lmbda / n) * params[f"b{i}"]'),
    wrong("target_less_output", "wrong-sign|wrong-term-weight", "return (a - y) * sigm", "return (y - a) * sigm"),
    wrong(
        "last_weights_from_weighted_inputs",
        "wrong-operand|derivative-at-wrong-point|different-function",
        "np.dot(delta, activations[-2].T)",
        "np.dot(delta, zs[-2].T)",
    ),
    wrong("digits_counted_from_one_in_both", "wrong-operand|different-function", "e[j] = 1.0", "e[j - 1] = 1.0"),
    wrong(
        "averaged_over_outputs_in_both",
        "wrong-term-weight|wrong-scale|wrong-reduction",
        "return 0.5 * np.linalg.norm(a - y) ** 2",
        "return 0.5 * np.mean((a - y) ** 2)",
        "return (a - y) * sigm",
        "return (a - y) / len(y) * sigm",
    ),
    wrong("norms_not_squared_in_cost", "wrong-loss", "np.linalg.norm(w) ** 2", "np.linalg.norm(w)"),
    wrong(
        "first_layer_not_reached",
        "missing-path|wrong-scale|missing-gradient",
        "range(2, len(weights) + 1)",
        "range(2, len(weights))",
    ),
]

TOGETHER = [
    ("slope_at_the_activation", "output_slope_forgotten"),
    ("biases_summed", "decay_not_divided_by_samples"),
    ("last_weights_from_weighted_inputs", "biases_sloped_again"),
    ("averaged_over_outputs_in_both", "hidden_slope_forgotten"),
    ("weights_of_the_last_sample", "biases_decayed"),
    ("digits_counted_from_one_in_both", "decay_subtracted"),
    ("target_less_output", "last_weights_from_weighted_inputs", "biases_sloped_again"),
    ("slope_at_the_activation", "decay_not_divided_by_samples", "last_weights_from_weighted_inputs"),
]

RIGHT = [
    right(
        "whole_batch_as_columns",
        "for sample, y in pairs:",
        "for sample, y in [tuple(np.hstack(side) for side in zip(*pairs, strict=True))]:",
        "nabla_b[-1] = delta\n",
        "nabla_b[-1] = delta.sum(axis=1, keepdims=True)\n",
        "nabla_b[-back] = delta\n",
        "nabla_b[-back] = np.dot(delta, np.ones((delta.shape[1], 1)))\n",
    ),
    right(
        "slopes_from_the_exponential",
        "return sigmoid(z) * (1 - sigmoid(z))",
        "return np.exp(-z) / (1.0 + np.exp(-z)) ** 2",
        "return 1.0 / (1.0 + np.exp(-z))",
        "return 0.5 * (1.0 + np.tanh(0.5 * z))",
        "return 0.5 * np.linalg.norm(a - y) ** 2",
        "return float(np.vdot(a - y, a - y)) / 2",
    ),
    right(
        "added_up_in_place",
        "        nabla_w = [nw + dnw for nw, dnw in zip(nabla_w, delta_nabla_w, strict=True)]\n"
        "        nabla_b = [nb + dnb for nb, dnb in zip(nabla_b, delta_nabla_b, strict=True)]\n",
        "        for total, part in zip(nabla_w + nabla_b, delta_nabla_w + delta_nabla_b, strict=True):\n"
        "            total += part / n\n",
        "nw / n + (lmbda / n) * w",
        "nw + (lmbda / n) * w",
        "= nb / n",
        "= nb",
        "for back in range(2, len(weights) + 1):",
        "for back in range(2, len(activations)):",
    ),
]
