"""A densely connected classifier in the style of an assignment: every layer adds ELU features to all former ones."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, X, y):
    h = X
    for layer in ("1", "2"):
        h = torch.cat([h, F.elu(h @ params["W" + layer] + params["b" + layer], alpha=0.6)], dim=1)
    scores = h @ params["W3"] + params["b3"]
    penalty = sum((params["W" + layer] ** 2).sum() for layer in "123")
    return F.cross_entropy(scores, y) + 0.5 * 0.3 * penalty


def affine_forward(x, w, b):
    out = x.dot(w) + b
    cache = (x, w, b)
    return out, cache


def affine_backward(dout, cache):
    x, w, b = cache
    dx = dout.dot(w.T)
    dw = x.T.dot(dout)
    db = np.sum(dout, axis=0)
    return dx, dw, db


def elu_forward(x, alpha=0.6):
    out = np.where(x > 0, x, alpha * (np.exp(x) - 1))
    cache = (x, out, alpha)
    return out, cache


def elu_backward(dout, cache):
    x, out, alpha = cache
    slope = np.where(x > 0, 1.0, alpha * np.exp(x))
    return dout * slope


def dense_forward(x, w, b):
    """Convenience layer: affine - elu, concatenated to its own input."""
    a, fc_cache = affine_forward(x, w, b)
    new, elu_cache = elu_forward(a)
    out = np.concatenate((x, new), axis=1)
    return out, (fc_cache, elu_cache)


def dense_backward(dout, cache):
    fc_cache, elu_cache = cache
    D = fc_cache[0].shape[1]
    dskip, dnew = dout[:, :D], dout[:, D:]
    da = elu_backward(dnew, elu_cache)
    dx, dw, db = affine_backward(da, fc_cache)
    dx = dx + dskip
    return dx, dw, db


def softmax_loss(x, y):
    N = x.shape[0]
    shifted = x - np.max(x, axis=1, keepdims=True)
    probs = np.exp(shifted) / np.sum(np.exp(shifted), axis=1, keepdims=True)
    loss = -np.sum(np.log(probs[np.arange(N), y])) / N
    dx = probs.copy()
    dx[np.arange(N), y] -= 1
    dx /= N
    return loss, dx


def candidate(params, X, y):
    reg = 0.3
    W1, W2, W3 = params["W1"], params["W2"], params["W3"]
    h1, cache1 = dense_forward(X, W1, params["b1"])
    h2, cache2 = dense_forward(h1, W2, params["b2"])
    scores, cache3 = affine_forward(h2, W3, params["b3"])

    grads = {}
    data_loss, dscores = softmax_loss(scores, y)
    loss = data_loss + 0.5 * reg * (np.sum(W1 * W1) + np.sum(W2 * W2) + np.sum(W3 * W3))

    dh2, grads["W3"], grads["b3"] = affine_backward(dscores, cache3)
    dh1, grads["W2"], grads["b2"] = dense_backward(dh2, cache2)
    dX, grads["W1"], grads["b1"] = dense_backward(dh1, cache1)
    grads["W1"] += reg * W1
    grads["W2"] += reg * W2
    grads["W3"] += reg * W3
    return loss, grads


def problem(rng):
    N, D, H1, H2, C = 6, 4, 5, 3, 7
    params = {
        "W1": rng.normal(size=(D, H1)) * 0.7,
        "b1": rng.normal(size=H1) * 0.3,
        "W2": rng.normal(size=(D + H1, H2)) * 0.5,
        "b2": rng.normal(size=H2) * 0.3,
        "W3": rng.normal(size=(D + H1 + H2, C)) * 0.5,
        "b3": rng.normal(size=C) * 0.3,
    }
    return params, (rng.normal(size=(N, D)), rng.integers(0, C, size=N))


WRONG = [
    wrong("way_past_the_layer_forgotten", "missing-path", "    dx = dx + dskip\n", ""),
    wrong(
        "split_in_the_other_order",
        "wrong-operand",
        "dskip, dnew = dout[:, :D], dout[:, D:]",
        "H = dout.shape[1] - D\n    dnew, dskip = dout[:, :H], dout[:, H:]",
    ),
    wrong("elu_slope_forgotten", "missing-derivative", "da = elu_backward(dnew, elu_cache)", "da = dnew"),
    wrong(
        "slope_of_a_plain_relu",
        "different-function",
        "slope = np.where(x > 0, 1.0, alpha * np.exp(x))",
        "slope = np.where(x > 0, 1.0, 0.0)",
    ),
    wrong(
        "elu_slope_at_its_output",
        "derivative-at-wrong-point",
        "slope = np.where(x > 0, 1.0, alpha * np.exp(x))",
        "slope = np.where(x > 0, 1.0, alpha * np.exp(out))",
    ),
    wrong(
        "alpha_forgotten_in_the_slope",
        "different-function|wrong-scale|missing-derivative",
        "slope = np.where(x > 0, 1.0, alpha * np.exp(x))",
        "slope = np.where(x > 0, 1.0, np.exp(x))",
    ),
    wrong(
        "alpha_of_one_in_both",
        "different-function|wrong-scale",
        "def elu_forward(x, alpha=0.6):",
        "def elu_forward(x, alpha=1.0):",
    ),
    wrong(
        "scores_not_averaged",
        "wrong-term-weight|wrong-reduction|wrong-scale",
        "    dx /= N\n",
        "",
    ),
    wrong(
        "softmax_over_the_samples",
        "wrong-axis",
        "np.sum(np.exp(shifted), axis=1, keepdims=True)",
        "np.sum(np.exp(shifted), axis=0, keepdims=True)",
    ),
    wrong(
        "right_class_not_subtracted",
        "missing-path|different-function|wrong-operand",
        "    dx[np.arange(N), y] -= 1\n",
        "",
    ),
    wrong(
        "penalty_of_the_first_layer_doubled",
        "wrong-term-weight|wrong-scale",
        'grads["W1"] += reg * W1',
        'grads["W1"] += 2 * reg * W1',
    ),
    wrong(
        "last_layer_not_penalised",
        "wrong-part-penalised|wrong-term-weight|missing-path",
        '    grads["W3"] += reg * W3\n',
        "",
    ),
    wrong(
        "penalty_without_its_half_in_cost",
        "wrong-loss|wrong-term-weight",
        "loss = data_loss + 0.5 * reg",
        "loss = data_loss + reg",
    ),
    wrong(
        "biases_averaged",
        "wrong-scale|wrong-reduction",
        "db = np.sum(dout, axis=0)",
        "db = np.mean(dout, axis=0)",
    ),
]

TOGETHER = [
    ("way_past_the_layer_forgotten", "elu_slope_forgotten"),
    ("split_in_the_other_order", "penalty_of_the_first_layer_doubled"),
    ("slope_of_a_plain_relu", "way_past_the_layer_forgotten"),
    ("elu_slope_at_its_output", "last_layer_not_penalised"),
    ("alpha_forgotten_in_the_slope", "right_class_not_subtracted"),
    ("alpha_of_one_in_both", "biases_averaged"),
    ("scores_not_averaged", "elu_slope_forgotten"),
    ("penalty_without_its_half_in_cost", "split_in_the_other_order"),
    ("way_past_the_layer_forgotten", "biases_averaged", "last_layer_not_penalised"),
    ("elu_slope_forgotten", "right_class_not_subtracted", "penalty_of_the_first_layer_doubled"),
]

RIGHT = [
    right(
        "slope_from_the_output_and_split_by_numpy",
        "slope = np.where(x > 0, 1.0, alpha * np.exp(x))",
        "slope = np.where(x > 0, 1.0, out + alpha)",
        "dskip, dnew = dout[:, :D], dout[:, D:]",
        "dskip, dnew = np.split(dout, [D], axis=1)",
    ),
    right(
        "one_hot_and_penalty_at_once",
        "    dx = probs.copy()\n    dx[np.arange(N), y] -= 1\n    dx /= N\n",
        "    dx = (probs - np.eye(x.shape[1])[y]) / N\n",
        '    grads["W1"] += reg * W1\n    grads["W2"] += reg * W2\n    grads["W3"] += reg * W3\n',
        '    for W in ("W1", "W2", "W3"):\n        grads[W] = grads[W] + reg * params[W]\n',
    ),
]
