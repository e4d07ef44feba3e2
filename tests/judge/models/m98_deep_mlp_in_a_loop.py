"""A deep network in a loop over its layers: standardised inputs, many labels with weighted positives, elastic net."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong

BATCH_AXIS = None  # the statistics and the weights of the labels have no samples


def reference(params, x, x_mean, x_std, labels, pos_weight):
    h = (x - x_mean) / x_std
    for layer, activation in enumerate(("tanh", "relu", "tanh"), start=1):
        h = getattr(torch, activation)(F.linear(h, params[f"W{layer}"], params[f"b{layer}"]))
    logits = F.linear(h, params["W4"], params["b4"])
    weights = [value for name, value in params.items() if name.startswith("W")]
    lasso = sum(weight.abs().sum() for weight in weights)
    ridge = sum(weight.pow(2).sum() for weight in weights)
    return {
        "data": F.binary_cross_entropy_with_logits(logits, labels, pos_weight=pos_weight),
        "penalty": 0.03 * (0.6 * lasso + 0.5 * 0.4 * ridge),
    }


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def activate(name, z):
    if name == "tanh":
        return np.tanh(z)
    if name == "relu":
        return np.maximum(z, 0)
    return z


def activation_slope(name, z, h):
    if name == "tanh":
        return 1 - h**2
    if name == "relu":
        return (z > 0).astype(float)
    return np.ones_like(z)


def elastic_net(weights, strength, ratio):
    total = 0.0
    for W in weights:
        total += ratio * np.abs(W).sum() + 0.5 * (1 - ratio) * np.sum(W**2)
    return strength * total


def elastic_net_slope(W, strength, ratio):
    return strength * (ratio * np.sign(W) + (1 - ratio) * W)


def candidate(params, x, x_mean, x_std, labels, pos_weight, strength=0.03, ratio=0.6):
    names = ["tanh", "relu", "tanh", "identity"]
    layers = len(names)
    n, outputs = labels.shape
    scaled = (x - x_mean) / x_std
    hs, zs = [scaled], []
    for i in range(layers):
        W, b = params[f"W{i + 1}"], params[f"b{i + 1}"]
        z = hs[-1] @ W.T + b
        zs.append(z)
        hs.append(activate(names[i], z))
    logits = hs[-1]
    log_yes, log_no = -np.logaddexp(0, -logits), -np.logaddexp(0, logits)
    likelihood = pos_weight * labels * log_yes + (1 - labels) * log_no
    weights = [params[f"W{i + 1}"] for i in range(layers)]
    penalty = elastic_net(weights, strength, ratio)
    loss = -np.sum(likelihood) / (n * outputs) + penalty

    p = sigmoid(logits)
    delta = (1 - labels) * p - pos_weight * labels * (1 - p)
    delta /= n * outputs
    grads = {}
    for i in reversed(range(layers)):
        W = params[f"W{i + 1}"]
        delta = delta * activation_slope(names[i], zs[i], hs[i + 1])
        grads[f"W{i + 1}"] = delta.T @ hs[i]
        grads[f"W{i + 1}"] += elastic_net_slope(W, strength, ratio)
        grads[f"b{i + 1}"] = delta.sum(axis=0)
        delta = delta @ W
    return loss, grads


def problem(rng):
    widths = [5, 7, 6, 4, 3]
    params = {}
    for i, (inputs, outputs) in enumerate(zip(widths[:-1], widths[1:], strict=True), start=1):
        params[f"W{i}"] = rng.normal(size=(outputs, inputs)) * 1.3 / np.sqrt(inputs)
        params[f"b{i}"] = rng.normal(size=outputs) * 0.4
    params["b2"] += 0.3
    x_mean, x_std = rng.normal(size=5), 0.6 + rng.random(5)
    x = x_mean + x_std * rng.normal(size=(8, 5))
    labels = (rng.random((8, 3)) < 0.4).astype(float)
    return params, (x, x_mean, x_std, labels, np.array([2.5, 0.6, 3.4]))


WRONG = [
    wrong(
        "positives_not_weighted_in_the_gradient",
        "different-function|missing-derivative|wrong-operand",
        "delta = (1 - labels) * p - pos_weight * labels * (1 - p)",
        "delta = p - labels",
    ),
    wrong(
        "whole_error_weighted",
        "different-function|extra-derivative|wrong-operand",
        "delta = (1 - labels) * p - pos_weight * labels * (1 - p)",
        "delta = pos_weight * (p - labels)",
    ),
    wrong(
        "averaged_over_the_samples_only",
        "wrong-term-weight|wrong-scale|wrong-reduction",
        "delta /= n * outputs",
        "delta /= n",
    ),
    wrong(
        "sigmoid_slope_at_the_logits_too",
        "extra-derivative",
        "delta /= n * outputs",
        "delta *= p * (1 - p) / (n * outputs)",
    ),
    wrong("tanh_slope_at_its_input", "derivative-at-wrong-point", "return 1 - h**2", "return 1 - z**2"),
    wrong(
        "slopes_of_the_layer_below",
        "different-function|wrong-operand",
        "activation_slope(names[i], zs[i], hs[i + 1])",
        "activation_slope(names[i - 1], zs[i], hs[i + 1])",
    ),
    wrong(
        "first_layer_without_its_slope",
        "missing-derivative",
        "        delta = delta * activation_slope(names[i], zs[i], hs[i + 1])\n",
        "        if i > 0:\n            delta = delta * activation_slope(names[i], zs[i], hs[i + 1])\n",
    ),
    wrong(
        "raw_inputs_at_the_first_weights",
        "wrong-operand",
        "= delta.T @ hs[i]\n",
        "= delta.T @ (hs[i] if i > 0 else x)\n",
    ),
    wrong(
        "ridge_without_its_half",
        "wrong-scale|wrong-term-weight",
        "np.sign(W) + (1 - ratio) * W",
        "np.sign(W) + 2 * (1 - ratio) * W",
    ),
    wrong(
        "lasso_pulls_one_way",
        "different-function|missing-derivative",
        "(ratio * np.sign(W) + (1 - ratio) * W)",
        "(ratio + (1 - ratio) * W)",
    ),
    wrong(
        "lasso_and_ridge_exchanged",
        "wrong-operand|wrong-scale|wrong-term-weight",
        "(ratio * np.sign(W) + (1 - ratio) * W)",
        "((1 - ratio) * np.sign(W) + ratio * W)",
    ),
    wrong(
        "biases_penalised_too",
        "wrong-part-penalised",
        '        grads[f"b{i + 1}"] = delta.sum(axis=0)\n',
        '        grads[f"b{i + 1}"] = delta.sum(axis=0) + elastic_net_slope(params[f"b{i + 1}"], strength, ratio)\n',
    ),
    wrong(
        "penalty_divided_by_the_samples",
        "wrong-term-weight|wrong-scale",
        "+= elastic_net_slope(W, strength, ratio)\n",
        "+= elastic_net_slope(W, strength, ratio) / n\n",
    ),
    wrong(
        "relu_on_the_logits_in_both",
        "different-function",
        '"tanh", "identity"]',
        '"tanh", "relu"]',
    ),
    wrong(
        "divided_by_the_variance_in_both",
        "different-function|wrong-operand",
        "scaled = (x - x_mean) / x_std\n",
        "scaled = (x - x_mean) / x_std**2\n",
    ),
    wrong(
        "positives_not_weighted_in_cost",
        "wrong-loss",
        "likelihood = pos_weight * labels * log_yes",
        "likelihood = labels * log_yes",
    ),
]

TOGETHER = [
    ("positives_not_weighted_in_the_gradient", "ridge_without_its_half"),
    ("first_layer_without_its_slope", "raw_inputs_at_the_first_weights"),
    ("averaged_over_the_samples_only", "lasso_pulls_one_way"),
    ("tanh_slope_at_its_input", "penalty_divided_by_the_samples"),
    ("slopes_of_the_layer_below", "biases_penalised_too"),
    ("sigmoid_slope_at_the_logits_too", "tanh_slope_at_its_input"),
    ("biases_penalised_too", "first_layer_without_its_slope", "averaged_over_the_samples_only"),
    ("raw_inputs_at_the_first_weights", "lasso_and_ridge_exchanged", "whole_error_weighted"),
]

RIGHT = [
    right(
        "slopes_before_the_weights",
        "    grads = {}\n    for i in reversed(range(layers)):\n",
        "    grads = {}\n    for i in (3, 2, 1, 0):\n",
        "        delta = delta * activation_slope(names[i], zs[i], hs[i + 1])\n",
        "",
        "        delta = delta @ W\n",
        "        if i == 0:\n            break\n"
        "        delta = np.einsum('no,oi,ni->ni', delta, W, activation_slope(names[i - 1], zs[i - 1], hs[i]))\n",
    ),
    right(
        "error_by_the_weight_of_each_entry",
        "    delta = (1 - labels) * p - pos_weight * labels * (1 - p)\n    delta /= n * outputs\n",
        "    weight = 1 + (pos_weight - 1) * labels\n    delta = weight * (p - labels) / (n * len(pos_weight))\n",
        "return strength * (ratio * np.sign(W) + (1 - ratio) * W)",
        "return strength * np.where(W > 0, ratio, -ratio) + strength * (W - ratio * W)",
    ),
    right(
        "biases_as_a_column",
        "        z = hs[-1] @ W.T + b\n",
        "        z = np.column_stack([hs[-1], np.ones(n)]) @ np.column_stack([W, b]).T\n",
        '        grads[f"W{i + 1}"] = delta.T @ hs[i]\n'
        '        grads[f"W{i + 1}"] += elastic_net_slope(W, strength, ratio)\n'
        '        grads[f"b{i + 1}"] = delta.sum(axis=0)\n',
        "        both = np.zeros((W.shape[0], W.shape[1] + 1))\n"
        "        for row, h in zip(delta, hs[i], strict=True):\n"
        "            both += np.outer(row, np.append(h, 1.0))\n"
        '        grads[f"b{i + 1}"] = both[:, -1]\n'
        '        grads[f"W{i + 1}"] = elastic_net_slope(W, strength, ratio) + both[:, :-1]\n',
    ),
]
