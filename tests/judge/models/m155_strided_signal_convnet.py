"""A signal classifier from scratch: a strided 1-D convolution, ReLU, max pooling, inverted dropout, softmax."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, mask, labels):
    z = F.conv1d(x, params["K"], params["kb"], stride=2, padding=1)
    pooled = F.max_pool1d(torch.relu(z), 2)
    h = torch.relu(F.linear(pooled.flatten(1), params["W1"].T, params["b1"])) * mask / 0.8
    data = F.cross_entropy(F.linear(h, params["W2"].T, params["b2"]), labels)
    penalty = 0.05 * (params["K"].square().sum() + params["W1"].square().sum() + params["W2"].square().sum())
    return {"data": data, "penalty": penalty}


def conv_forward_naive(x, w, b, stride, pad):
    N, C, L = x.shape
    F, _, K = w.shape
    x_pad = np.pad(x, ((0, 0), (0, 0), (pad, pad)), mode="constant")
    L_out = 1 + (L + 2 * pad - K) // stride
    out = np.zeros((N, F, L_out))
    for n in range(N):
        for f in range(F):
            for j in range(L_out):
                out[n, f, j] = np.sum(x_pad[n, :, j * stride : j * stride + K] * w[f]) + b[f]
    return out, (x_pad, w, stride)


def conv_backward_naive(dout, cache):
    x_pad, w, stride = cache
    N, F, L_out = dout.shape
    K = w.shape[2]
    dw = np.zeros(w.shape)
    db = np.zeros(F)
    for n in range(N):
        for f in range(F):
            for j in range(L_out):
                window = x_pad[n, :, j * stride : j * stride + K]
                dw[f] += dout[n, f, j] * window
                db[f] += dout[n, f, j]
    return dw, db


def max_pool_forward_naive(x, size):
    N, C, L = x.shape
    out = np.zeros((N, C, L // size))
    for j in range(L // size):
        out[:, :, j] = x[:, :, j * size : (j + 1) * size].max(axis=2)
    return out, (x, size)


def max_pool_backward_naive(dout, cache):
    x, size = cache
    N, C, L_out = dout.shape
    dx = np.zeros(x.shape)
    for n in range(N):
        for c in range(C):
            for j in range(L_out):
                win = x[n, c, j * size : (j + 1) * size]
                k = np.argmax(win)
                dx[n, c, j * size + k] += dout[n, c, j]
    return dx


def affine_forward(x, w, b):
    return x.reshape(x.shape[0], -1) @ w + b, (x, w)


def affine_backward(dout, cache):
    x, w = cache
    dx = (dout @ w.T).reshape(x.shape)
    dw = x.reshape(x.shape[0], -1).T @ dout
    db = np.sum(dout, axis=0)
    return dx, dw, db


def softmax_loss(scores, y):
    N = scores.shape[0]
    shifted = scores - scores.max(axis=1, keepdims=True)
    log_probs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    loss = -log_probs[np.arange(N), y].sum() / N
    dscores = np.exp(log_probs)
    dscores[np.arange(N), y] -= 1
    dscores /= N
    return loss, dscores


def candidate(params, x, mask, labels):
    reg, keep = 0.1, 0.8
    K, W1, W2 = params["K"], params["W1"], params["W2"]

    conv_out, conv_cache = conv_forward_naive(x, K, params["kb"], 2, 1)
    relu_out = np.maximum(conv_out, 0)
    pool_out, pool_cache = max_pool_forward_naive(relu_out, 2)
    a1, fc1_cache = affine_forward(pool_out, W1, params["b1"])
    h1 = np.maximum(a1, 0)
    drop = h1 * mask / keep
    scores, fc2_cache = affine_forward(drop, W2, params["b2"])

    data_loss, dscores = softmax_loss(scores, labels)
    loss = data_loss + 0.5 * reg * sum(np.sum(w * w) for w in (K, W1, W2))

    grads = {}
    ddrop, grads["W2"], grads["b2"] = affine_backward(dscores, fc2_cache)
    dh1 = ddrop * mask / keep
    da1 = dh1 * (a1 > 0)
    dpool, grads["W1"], grads["b1"] = affine_backward(da1, fc1_cache)
    drelu = max_pool_backward_naive(dpool, pool_cache)
    dconv = drelu * (conv_out > 0)
    grads["K"], grads["kb"] = conv_backward_naive(dconv, conv_cache)

    grads["W2"] += reg * W2
    grads["W1"] += reg * W1
    grads["K"] += reg * K
    return loss, grads


def problem(rng):
    n, channels, length, filters, hidden, classes = 7, 2, 12, 4, 6, 3
    params = {
        "K": rng.normal(size=(filters, channels, 3)) * 0.7,
        "kb": rng.normal(size=filters) * 0.4,
        "W1": rng.normal(size=(filters * 3, hidden)) * 0.5,
        "b1": 0.2 + rng.normal(size=hidden) * 0.4,
        "W2": rng.normal(size=(hidden, classes)) * 0.8,
        "b2": rng.normal(size=classes) * 0.4,
    }
    mask = (rng.random(size=(n, hidden)) < 0.8).astype(float)
    return params, (rng.normal(size=(n, channels, length)), mask, rng.integers(0, classes, size=n))


WRONG = [
    wrong(
        "dropout_mask_forgotten_backwards",
        "missing-derivative",
        "dh1 = ddrop * mask / keep",
        "dh1 = ddrop",
    ),
    wrong(
        "dropped_units_not_scaled_up_backwards",
        "wrong-scale",
        "dh1 = ddrop * mask / keep",
        "dh1 = ddrop * mask",
    ),
    wrong(
        "dropout_scaled_by_the_drop_rate_in_both",
        "different-function|wrong-scale",
        "drop = h1 * mask / keep",
        "drop = h1 * mask / (1 - keep)",
        "dh1 = ddrop * mask / keep",
        "dh1 = ddrop * mask / (1 - keep)",
    ),
    wrong("relu_after_convolution_forgotten", "missing-derivative", "dconv = drelu * (conv_out > 0)", "dconv = drelu"),
    wrong(
        "hidden_relu_mask_from_its_gradient",
        "wrong-operand|derivative-at-wrong-point",
        "da1 = dh1 * (a1 > 0)",
        "da1 = dh1 * (dh1 > 0)",
    ),
    wrong(
        "windows_one_apart_backwards",
        "wrong-operand|different-function",
        "window = x_pad[n, :, j * stride : j * stride + K]",
        "window = x_pad[n, :, j : j + K]",
    ),
    wrong(
        "kernel_gradient_of_the_last_window",
        "overwritten",
        "dw[f] += dout[n, f, j] * window",
        "dw[f] = dout[n, f, j] * window",
    ),
    wrong(
        "kernel_bias_averaged_over_positions",
        "wrong-scale|wrong-reduction",
        "db[f] += dout[n, f, j]",
        "db[f] += dout[n, f, j] / L_out",
    ),
    wrong(
        "pooled_gradient_to_the_whole_window",
        "different-function|missing-derivative",
        "dx[n, c, j * size + k] += dout[n, c, j]",
        "dx[n, c, j * size : (j + 1) * size] += dout[n, c, j]",
    ),
    wrong(
        "pooled_gradient_to_the_smallest_in_window",
        "different-function|wrong-operand",
        "k = np.argmax(win)",
        "k = np.argmin(win)",
    ),
    wrong(
        "batch_mean_forgotten_in_softmax_gradient",
        "wrong-reduction|wrong-scale|wrong-term-weight",
        "    dscores /= N\n",
        "",
    ),
    wrong(
        "hidden_weights_penalised_twice_as_hard",
        "wrong-term-weight",
        'grads["W1"] += reg * W1',
        'grads["W1"] += 2 * reg * W1',
    ),
    wrong(
        "kernel_penalty_forgotten",
        "wrong-part-penalised|wrong-term-weight",
        '    grads["K"] += reg * K\n',
        "",
    ),
    wrong(
        "output_layer_fed_before_dropout_backwards",
        "wrong-operand",
        "    ddrop, grads",
        "    fc2_cache = (h1, W2)\n    ddrop, grads",
    ),
    wrong(
        "padded_only_at_the_end_in_both",
        "different-function|wrong-operand",
        "x_pad = np.pad(x, ((0, 0), (0, 0), (pad, pad)), mode",
        "x_pad = np.pad(x, ((0, 0), (0, 0), (0, 2 * pad)), mode",
    ),
    wrong(
        "penalty_without_its_half_in_cost",
        "wrong-loss",
        "loss = data_loss + 0.5 * reg",
        "loss = data_loss + reg",
    ),
]

TOGETHER = [
    ("dropped_units_not_scaled_up_backwards", "windows_one_apart_backwards"),
    ("relu_after_convolution_forgotten", "hidden_weights_penalised_twice_as_hard"),
    ("pooled_gradient_to_the_whole_window", "output_layer_fed_before_dropout_backwards"),
    ("kernel_bias_averaged_over_positions", "kernel_penalty_forgotten"),
    ("batch_mean_forgotten_in_softmax_gradient", "dropout_mask_forgotten_backwards"),
    (
        "dropped_units_not_scaled_up_backwards",
        "kernel_bias_averaged_over_positions",
        "penalty_without_its_half_in_cost",
    ),
]

RIGHT = [
    right(
        "vectorised_over_samples_and_filters",
        "    for n in range(N):\n"
        "        for f in range(F):\n"
        "            for j in range(L_out):\n"
        "                window = x_pad[n, :, j * stride : j * stride + K]\n"
        "                dw[f] += dout[n, f, j] * window\n"
        "                db[f] += dout[n, f, j]\n",
        "    for k in range(K):\n"
        "        seen = x_pad[:, :, k : k + stride * L_out : stride]\n"
        "        dw[:, :, k] = np.tensordot(dout, seen, axes=([0, 2], [0, 2]))\n"
        "    db += dout.sum(axis=(0, 2))\n",
    ),
]
