"""A classifier in lists of layers, a sample a column: sigmoid layers, a softmax at the end, cross-entropy."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, labels):
    a = x.T
    for i in (1, 2):
        a = torch.sigmoid(params[f"w{i}"] @ a + params[f"b{i}"])
    return F.cross_entropy((params["w3"] @ a + params["b3"]).T, labels)


def sig(x):
    return 1.0 / (1.0 + np.exp(-x))


def sig_deriv(s):
    return s * (1.0 - s)


def softmax(z):
    e = np.exp(z)
    return e / e.sum(axis=0)


def forward_prop(x, w, b):
    z, a = {}, {0: x.T}
    last = len(w)
    for i in range(1, last + 1):
        z[i] = w[i - 1].dot(a[i - 1]) + b[i - 1]
        a[i] = softmax(z[i]) if i == last else sig(z[i])
    return z, a


def back_prop(y, z, a, w, m):
    d_w, d_b = {}, {}
    last = len(w)
    d = {last: a[last] - y}
    for i in range(last - 1, -1, -1):
        d_w[i] = d[i + 1].dot(a[i].T) / m
        d_b[i] = np.sum(d[i + 1], axis=1, keepdims=True) / m
        if i > 0:
            d[i] = w[i].T.dot(d[i + 1]) * sig_deriv(a[i])
    return d_w, d_b


def candidate(params, x, labels):
    w = [params["w1"], params["w2"], params["w3"]]
    b = [params["b1"], params["b2"], params["b3"]]
    m = len(labels)
    y = np.eye(w[-1].shape[0])[labels].T
    z, a = forward_prop(x, w, b)
    p = a[len(w)]
    loss = -np.sum(y * np.log(p)) / m

    d_w, d_b = back_prop(y, z, a, w, m)
    grads = {}
    for i in range(len(w)):
        grads[f"w{i + 1}"] = d_w[i]
        grads[f"b{i + 1}"] = d_b[i]
    return loss, grads


def problem(rng):
    params = {}
    for i, (fan_in, fan_out) in enumerate([(5, 4), (4, 3), (3, 6)], start=1):
        params[f"w{i}"] = rng.normal(size=(fan_out, fan_in))
        params[f"b{i}"] = rng.normal(size=(fan_out, 1)) * 0.5
    return params, (rng.normal(size=(7, 5)), np.array([0, 4, 2, 5, 1, 2, 3]))


WRONG = [
    wrong(
        "softmax_shared_by_the_batch",
        "wrong-axis|different-function",
        "return e / e.sum(axis=0)",
        "return e / e.sum()",
    ),
    wrong(
        "no_slope_below_the_output",
        "missing-derivative",
        "d[i] = w[i].T.dot(d[i + 1]) * sig_deriv(a[i])",
        "d[i] = w[i].T.dot(d[i + 1]) * (1 if i == last - 1 else sig_deriv(a[i]))",
    ),
    wrong(
        "no_slope_anywhere",
        "missing-derivative",
        "d[i] = w[i].T.dot(d[i + 1]) * sig_deriv(a[i])",
        "d[i] = w[i].T.dot(d[i + 1])",
    ),
    wrong(
        "slope_of_the_sigmoid_of_the_output",
        "derivative-at-wrong-point",
        "* sig_deriv(a[i])",
        "* sig_deriv(sig(a[i]))",
    ),
    wrong(
        "slope_formula_fed_the_sums",
        "wrong-operand|derivative-at-wrong-point",
        "* sig_deriv(a[i])",
        "* sig_deriv(z[i])",
    ),
    wrong(
        "softmax_slope_on_top_of_the_shortcut",
        "extra-derivative",
        "d = {last: a[last] - y}",
        "d = {last: (a[last] - y) * sig_deriv(a[last])}",
    ),
    wrong(
        "weights_stepped_inside_the_loop",
        "wrong-operand",
        "        if i > 0:\n",
        "        w[i] = w[i] - 0.3 * d_w[i]\n        if i > 0:\n",
    ),
    wrong(
        "weights_not_averaged",
        "wrong-scale|wrong-reduction",
        "d_w[i] = d[i + 1].dot(a[i].T) / m",
        "d_w[i] = d[i + 1].dot(a[i].T)",
    ),
    wrong(
        "bias_mean_divided_again",
        "wrong-scale|wrong-reduction",
        "np.sum(d[i + 1], axis=1, keepdims=True) / m",
        "np.mean(d[i + 1], axis=1, keepdims=True) / m",
    ),
    wrong(
        "bias_gradient_summed_over_units_too",
        "wrong-axis|wrong-reduction",
        "np.sum(d[i + 1], axis=1, keepdims=True) / m",
        "np.sum(d[i + 1]) * np.ones((d[i + 1].shape[0], 1)) / m",
    ),
    wrong("label_minus_probability", "wrong-sign", "a[last] - y", "y - a[last]"),
    wrong(
        "cost_summed_over_the_batch", "wrong-loss", "loss = -np.sum(y * np.log(p)) / m", "loss = -np.sum(y * np.log(p))"
    ),
]

TOGETHER = [
    ("softmax_shared_by_the_batch", "no_slope_below_the_output"),
    ("slope_of_the_sigmoid_of_the_output", "weights_not_averaged"),
    ("weights_stepped_inside_the_loop", "bias_gradient_summed_over_units_too"),
    ("label_minus_probability", "slope_formula_fed_the_sums"),
]

RIGHT = [
    right(
        "stable_and_transposed",
        "e = np.exp(z)\n",
        "e = np.exp(z - z.max())\n",
        "d_w[i] = d[i + 1].dot(a[i].T) / m",
        "d_w[i] = a[i].dot(d[i + 1].T).T / m",
    ),
]
