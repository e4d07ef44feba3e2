"""A course convnet by im2col: conv, ReLU, max pool, conv, ReLU, fully connected, softmax; L2 on the weights."""

import numpy as np
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, images, labels):
    h = F.relu(F.conv2d(images, params["W1"], params["b1"], padding=1))
    h = F.max_pool2d(h, 2)
    h = F.relu(F.conv2d(h, params["W2"], params["b2"], padding=1))
    scores = F.linear(h.flatten(1), params["W3"], params["b3"])
    penalty = sum(params[name].square().sum() for name in ("W1", "W2", "W3"))
    return {"data": F.cross_entropy(scores, labels), "penalty": 0.5 * 0.03 * penalty}


def im2col(x, size, pad):
    n, channels, height, width = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    cols = np.empty((n, height, width, channels, size, size))
    for i in range(size):
        for j in range(size):
            cols[..., i, j] = padded[:, :, i : i + height, j : j + width].transpose(0, 2, 3, 1)
    return cols.reshape(n * height * width, -1)


def col2im(cols, shape, size, pad):
    n, channels, height, width = shape
    cols = cols.reshape(n, height, width, channels, size, size)
    padded = np.zeros((n, channels, height + 2 * pad, width + 2 * pad))
    for i in range(size):
        for j in range(size):
            padded[:, :, i : i + height, j : j + width] += cols[..., i, j].transpose(0, 3, 1, 2)
    return padded[:, :, pad : pad + height, pad : pad + width]


def conv_forward(x, w, b):
    n, _, height, width = x.shape
    cols = im2col(x, w.shape[2], 1)
    out = cols @ w.reshape(len(w), -1).T + b
    return out.reshape(n, height, width, len(w)).transpose(0, 3, 1, 2), (cols, x.shape, w)


def conv_backward(dout, cache):
    cols, shape, w = cache
    dout2d = dout.transpose(0, 2, 3, 1).reshape(-1, len(w))
    dw = (dout2d.T @ cols).reshape(w.shape)
    db = dout2d.sum(axis=0)
    dcols = dout2d @ w.reshape(len(w), -1)
    return col2im(dcols, shape, w.shape[2], 1), dw, db


def pool_forward(x):
    n, channels, height, width = x.shape
    tiles = x.reshape(n, channels, height // 2, 2, width // 2, 2).swapaxes(3, 4)
    tiles = tiles.reshape(n, channels, height // 2, width // 2, 4)
    return tiles.max(axis=-1), (tiles.argmax(axis=-1), x.shape)


def pool_backward(dout, cache):
    winner, (n, channels, height, width) = cache
    share = (winner[..., None] == np.arange(4)).astype(float)
    dtiles = dout[..., None] * share
    dtiles = dtiles.reshape(n, channels, height // 2, width // 2, 2, 2).swapaxes(3, 4)
    return dtiles.reshape(n, channels, height, width)


def softmax_loss(scores, labels):
    n = len(labels)
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    probs = e / e.sum(axis=1, keepdims=True)
    loss = -np.log(probs[np.arange(n), labels]).mean()
    dscores = probs.copy()
    dscores[np.arange(n), labels] -= 1
    return loss, dscores / n


def candidate(params, images, labels, reg=0.03):
    W1, W2, W3 = params["W1"], params["W2"], params["W3"]

    z1, conv1_cache = conv_forward(images, W1, params["b1"])
    a1 = np.maximum(z1, 0)
    p1, pool_cache = pool_forward(a1)
    z2, conv2_cache = conv_forward(p1, W2, params["b2"])
    a2 = np.maximum(z2, 0)
    flat = a2.reshape(len(a2), -1)
    scores = flat @ W3.T + params["b3"]
    data_loss, dscores = softmax_loss(scores, labels)
    reg_loss = 0.5 * reg * (np.sum(W1**2) + np.sum(W2**2) + np.sum(W3**2))
    loss = data_loss + reg_loss

    grads = {}
    grads["W3"] = dscores.T @ flat
    grads["b3"] = dscores.sum(axis=0)
    da2 = (dscores @ W3).reshape(a2.shape)
    dz2 = da2 * (z2 > 0)
    dp1, grads["W2"], grads["b2"] = conv_backward(dz2, conv2_cache)
    da1 = pool_backward(dp1, pool_cache)
    dz1 = da1 * (z1 > 0)
    _, grads["W1"], grads["b1"] = conv_backward(dz1, conv1_cache)
    for name in ("W1", "W2", "W3"):
        grads[name] += reg * params[name]
    return loss, grads


def problem(rng):
    channels, first, second, classes = 2, 7, 4, 8
    params = {
        "W1": rng.normal(size=(first, channels, 3, 3)) * 0.4,
        "b1": rng.normal(size=first) * 0.4,
        "W2": rng.normal(size=(second, first, 3, 3)) * 0.25,
        "b2": rng.normal(size=second) * 0.4 + 0.2,
        "W3": rng.normal(size=(classes, second * 6)) * 0.35,
        "b3": rng.normal(size=classes) * 0.4,
    }
    return params, (rng.normal(size=(5, channels, 4, 6)), rng.integers(0, classes, size=5))


WRONG = [
    wrong(
        "windows_overwrite_each_other",
        "overwritten",
        "j : j + width] += cols",
        "j : j + width] = cols",
    ),
    wrong(
        "padding_not_cut_off_in_front",
        "wrong-operand|different-function",
        "return padded[:, :, pad : pad + height, pad : pad + width]",
        "return padded[:, :, :height, :width]",
    ),
    wrong(
        "channels_not_moved_to_the_end",
        "wrong-axis|wrong-operand|transposed|not-transposed",
        "dout.transpose(0, 2, 3, 1).reshape(-1, len(w))",
        "dout.reshape(-1, len(w))",
    ),
    wrong(
        "kernels_reshaped_for_transposed",
        "not-transposed|wrong-operand|transposed|wrong-axis",
        "dcols = dout2d @ w.reshape(len(w), -1)",
        "dcols = dout2d @ w.reshape(-1, len(w)).T",
    ),
    wrong(
        "kernels_turned_backwards",
        "flipped|wrong-operand",
        "dcols = dout2d @ w.reshape(len(w), -1)",
        "dcols = dout2d @ w[:, :, ::-1, ::-1].reshape(len(w), -1)",
    ),
    wrong(
        "conv_biases_averaged",
        "wrong-reduction|wrong-scale",
        "db = dout2d.sum(axis=0)",
        "db = dout2d.mean(axis=0)",
    ),
    wrong(
        "tiles_put_back_without_the_swap",
        "wrong-axis|wrong-operand|transposed|not-transposed",
        "dtiles = dtiles.reshape(n, channels, height // 2, width // 2, 2, 2).swapaxes(3, 4)\n",
        "dtiles = dtiles.reshape(n, channels, height // 2, width // 2, 2, 2)\n",
    ),
    wrong("first_relu_forgotten", "missing-derivative", "dz1 = da1 * (z1 > 0)", "dz1 = da1"),
    wrong(
        "second_relu_by_the_sign_of_the_gradient",
        "wrong-operand|derivative-at-wrong-point|different-function",
        "dz2 = da2 * (z2 > 0)",
        "dz2 = np.maximum(da2, 0)",
    ),
    wrong(
        "unflattened_with_the_channels_last",
        "wrong-axis|wrong-operand|transposed|not-transposed",
        "da2 = (dscores @ W3).reshape(a2.shape)",
        "da2 = (dscores @ W3).reshape(a2.transpose(0, 2, 3, 1).shape).transpose(0, 3, 1, 2)",
    ),
    wrong(
        "scores_not_averaged",
        "wrong-term-weight|wrong-scale|wrong-reduction",
        "return loss, dscores / n",
        "return loss, dscores",
    ),
    wrong(
        "biases_penalised",
        "wrong-part-penalised",
        'for name in ("W1", "W2", "W3"):',
        "for name in params:",
    ),
    wrong(
        "kernels_of_the_first_layer_not_penalised",
        "wrong-part-penalised|missing-path|wrong-term-weight",
        'for name in ("W1", "W2", "W3"):',
        'for name in ("W2", "W3"):',
    ),
    wrong(
        "mean_pool_in_both",
        "different-function",
        "return tiles.max(axis=-1), (",
        "return tiles.mean(axis=-1), (",
        "share = (winner[..., None] == np.arange(4)).astype(float)",
        "share = np.full(4, 0.25)",
    ),
    wrong(
        "true_convolution_in_both",
        "flipped|different-function|wrong-operand",
        "    n, _, height, width = x.shape\n",
        "    n, _, height, width = x.shape\n    w = w[:, :, ::-1, ::-1]\n",
        "dw = (dout2d.T @ cols).reshape(w.shape)",
        "dw = (dout2d.T @ cols).reshape(w.shape)[:, :, ::-1, ::-1]",
    ),
    wrong("penalty_not_halved_in_cost", "wrong-loss", "reg_loss = 0.5 * reg * ", "reg_loss = reg * "),
]

TOGETHER = [
    ("windows_overwrite_each_other", "scores_not_averaged"),
    ("first_relu_forgotten", "kernels_of_the_first_layer_not_penalised"),
    ("channels_not_moved_to_the_end", "conv_biases_averaged"),
    ("kernels_turned_backwards", "biases_penalised"),
    ("unflattened_with_the_channels_last", "padding_not_cut_off_in_front"),
    ("tiles_put_back_without_the_swap", "true_convolution_in_both"),
    ("second_relu_by_the_sign_of_the_gradient", "conv_biases_averaged", "kernels_of_the_first_layer_not_penalised"),
    ("scores_not_averaged", "kernels_reshaped_for_transposed", "first_relu_forgotten"),
]

RIGHT = [
    right(
        "pooled_by_comparing",
        "    return tiles.max(axis=-1), (tiles.argmax(axis=-1), x.shape)\n",
        "    best = tiles.max(axis=-1)\n    return best, (tiles == best[..., None], x.shape)\n",
        "    share = (winner[..., None] == np.arange(4)).astype(float)\n    dtiles = dout[..., None] * share\n",
        "    dtiles = np.where(winner, dout[..., None], 0.0)\n",
    ),
    right(
        "input_gradient_by_a_convolution",
        "    dcols = dout2d @ w.reshape(len(w), -1)\n    return col2im(dcols, shape, w.shape[2], 1), dw, db\n",
        "    turned = w[:, :, ::-1, ::-1].swapaxes(0, 1)\n"
        "    dx, _ = conv_forward(dout, turned, np.zeros(shape[1]))\n"
        "    return dx, dw, db\n",
    ),
    right(
        "kernel_gradients_by_loops",
        "    dw = (dout2d.T @ cols).reshape(w.shape)\n    db = dout2d.sum(axis=0)\n",
        "    dw, db = np.zeros(w.shape), np.zeros(len(w))\n"
        "    for k in range(len(w)):\n"
        "        for row in range(len(cols)):\n"
        "            dw[k] += dout2d[row, k] * cols[row].reshape(w.shape[1:])\n"
        "            db[k] += dout2d[row, k]\n",
        "    dscores = probs.copy()\n    dscores[np.arange(n), labels] -= 1\n",
        "    dscores = probs - (labels[:, None] == np.arange(scores.shape[1]))\n",
    ),
]
