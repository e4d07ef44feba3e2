"""A classifier on a home-made tape of operations: tanh units, a gate of their own values, RMS norm, log-softmax."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, labels):
    h = torch.tanh(x @ params["W"] + params["b"])
    gated = h * torch.sigmoid(h @ params["U"] + params["u"])
    normed = F.rms_norm(gated, gated.shape[1:], eps=1e-3)
    return F.cross_entropy(normed @ params["V"] + params["c"], labels)


def node(tape, value, parents=(), back=None):
    tape.append((value, parents, back))
    return len(tape) - 1


def fit_shape(g, shape):
    """The gradient of something that was broadcast."""
    while g.ndim > len(shape):
        g = g.sum(axis=0)
    for axis, size in enumerate(shape):
        if size == 1 and g.shape[axis] != 1:
            g = g.sum(axis=axis, keepdims=True)
    return g


def add(tape, i, j):
    return node(tape, tape[i][0] + tape[j][0], (i, j), lambda g: (g, g))


def negative(tape, i):
    return node(tape, -tape[i][0], (i,), lambda g: (-g,))


def multiply(tape, i, j):
    a, b = tape[i][0], tape[j][0]
    return node(tape, a * b, (i, j), lambda g: (g * b, g * a))


def matmul(tape, i, j):
    a, b = tape[i][0], tape[j][0]
    return node(tape, a @ b, (i, j), lambda g: (g @ b.T, a.T @ g))


def power(tape, i, exponent):
    a = tape[i][0]
    return node(tape, a**exponent, (i,), lambda g: (g * exponent * a ** (exponent - 1),))


def exp(tape, i):
    out = np.exp(tape[i][0])
    return node(tape, out, (i,), lambda g: (g * out,))


def log(tape, i):
    a = tape[i][0]
    return node(tape, np.log(a), (i,), lambda g: (g / a,))


def tanh(tape, i):
    t = np.tanh(tape[i][0])
    return node(tape, t, (i,), lambda g: (g * (1 - t**2),))


def row_sum(tape, i):
    a = tape[i][0]
    return node(tape, a.sum(axis=1, keepdims=True), (i,), lambda g: (g * np.ones_like(a),))


def row_mean(tape, i):
    a = tape[i][0]
    return node(tape, a.mean(axis=1, keepdims=True), (i,), lambda g: (g * np.ones_like(a) / a.shape[1],))


def total(tape, i):
    a = tape[i][0]
    return node(tape, a.sum(), (i,), lambda g: (g * np.ones_like(a),))


def run_backward(tape, last):
    grads = [np.zeros_like(value) for value, _, _ in tape]
    grads[last] = np.array(1.0)
    for i in reversed(range(last + 1)):
        _, parents, back = tape[i]
        if back is None:
            continue
        for parent, g in zip(parents, back(grads[i]), strict=True):
            grads[parent] = grads[parent] + fit_shape(g, tape[parent][0].shape)
    return grads


def candidate(params, x, labels):
    tape = []
    leaf = {name: node(tape, value) for name, value in params.items()}
    n = len(labels)
    one = node(tape, np.ones((1, 1)))
    eps = node(tape, np.full((1, 1), 1e-3))

    h = tanh(tape, add(tape, matmul(tape, node(tape, x), leaf["W"]), leaf["b"]))
    a = add(tape, matmul(tape, h, leaf["U"]), leaf["u"])
    gate = power(tape, add(tape, one, exp(tape, negative(tape, a))), -1.0)
    gated = multiply(tape, h, gate)
    scale = power(tape, add(tape, row_mean(tape, power(tape, gated, 2.0)), eps), -0.5)
    normed = multiply(tape, gated, scale)
    scores = add(tape, matmul(tape, normed, leaf["V"]), leaf["c"])
    logs = add(tape, scores, negative(tape, log(tape, row_sum(tape, exp(tape, scores)))))
    chosen = node(tape, -np.eye(len(params["c"]))[labels] / n)
    last = total(tape, multiply(tape, logs, chosen))
    loss = tape[last][0]

    grads = run_backward(tape, last)
    return loss, {name: grads[i] for name, i in leaf.items()}


def problem(rng):
    n, inputs, units, classes = 6, 3, 5, 4
    params = {
        "W": rng.normal(size=(inputs, units)) * 0.8,
        "b": rng.normal(size=units) * 0.4,
        "U": rng.normal(size=(units, units)) * 0.7,
        "u": rng.normal(size=units) * 0.4,
        "V": rng.normal(size=(units, classes)) * 0.6,
        "c": rng.normal(size=classes) * 0.3,
    }
    return params, (rng.normal(size=(n, inputs)), rng.integers(0, classes, size=n))


WRONG = [
    wrong(
        "second_use_replaces_the_first",
        "overwritten",
        "grads[parent] = grads[parent] + fit_shape(",
        "grads[parent] = fit_shape(",
    ),
    wrong(
        "broadcast_rows_averaged",
        "wrong-reduction|wrong-scale",
        "        g = g.sum(axis=0)\n",
        "        g = g.mean(axis=0)\n",
    ),
    wrong(
        "broadcast_rows_cut_to_the_first",
        "one-sample-only",
        "        g = g.sum(axis=0)\n",
        "        g = g[0]\n",
    ),
    wrong(
        "broadcast_columns_averaged",
        "wrong-reduction|wrong-scale",
        "g = g.sum(axis=axis, keepdims=True)",
        "g = g.mean(axis=axis, keepdims=True)",
    ),
    wrong(
        "exponential_times_its_input",
        "derivative-at-wrong-point|wrong-operand",
        "(i,), lambda g: (g * out,))",
        "(i,), lambda g: (g * tape[i][0],))",
    ),
    wrong(
        "power_not_lowered_by_one",
        "different-function",
        "g * exponent * a ** (exponent - 1)",
        "g * exponent * a**exponent",
    ),
    wrong(
        "factors_get_their_own_values",
        "wrong-operand",
        "lambda g: (g * b, g * a)",
        "lambda g: (g * a, g * b)",
    ),
    wrong(
        "mean_not_divided_backwards",
        "wrong-scale|wrong-reduction",
        "g * np.ones_like(a) / a.shape[1]",
        "g * np.ones_like(a)",
    ),
    wrong(
        "mean_divided_by_the_rows_backwards",
        "wrong-scale",
        "g * np.ones_like(a) / a.shape[1]",
        "g * np.ones_like(a) / a.shape[0]",
    ),
    wrong(
        "product_sent_back_for_its_gradient",
        "wrong-operand",
        "lambda g: (g @ b.T, a.T @ g)",
        "lambda g: (a @ b @ b.T, a.T @ g)",
    ),
    wrong(
        "minus_forgotten_backwards",
        "wrong-sign",
        "(i,), lambda g: (-g,))",
        "(i,), lambda g: (g,))",
    ),
    wrong(
        "tanh_slope_at_its_output",
        "derivative-at-wrong-point",
        "g * (1 - t**2)",
        "g * (1 - np.tanh(t) ** 2)",
    ),
]

TOGETHER = [
    ("second_use_replaces_the_first", "tanh_slope_at_its_output"),
    ("broadcast_rows_averaged", "minus_forgotten_backwards"),
    ("mean_not_divided_backwards", "broadcast_rows_cut_to_the_first"),
    ("exponential_times_its_input", "mean_divided_by_the_rows_backwards"),
]

RIGHT = [
    right(
        "power_and_logarithm_by_other_rules",
        "g * exponent * a ** (exponent - 1)",
        "exponent * g * a**exponent / a",
        "lambda g: (g / a,)",
        "lambda g: (g * a**-1.0,)",
        "g * np.ones_like(a) / a.shape[1]",
        "np.broadcast_to(g / a.shape[1], a.shape)",
    ),
]
