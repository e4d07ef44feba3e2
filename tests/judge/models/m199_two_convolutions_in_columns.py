"""Two convolutions on unrolled columns with ReLU, one dense layer, softmax cross-entropy; function pairs."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, t):
    a = torch.relu(F.conv2d(x, params["W1"], params["b1"]))
    a = torch.relu(F.conv2d(a, params["W2"], params["b2"]))
    return F.cross_entropy(a.flatten(1) @ params["W3"] + params["b3"], t)


def im2col(images, FH, FW):
    N, C, H, W = images.shape
    OH, OW = H - FH + 1, W - FW + 1
    col = np.zeros((N, C, FH, FW, OH, OW))
    for y in range(FH):
        for x in range(FW):
            col[:, :, y, x] = images[:, :, y : y + OH, x : x + OW]
    return col.transpose(0, 4, 5, 1, 2, 3).reshape(N * OH * OW, -1)


def col2im(col, shape, FH, FW):
    N, C, H, W = shape
    OH, OW = H - FH + 1, W - FW + 1
    col = col.reshape(N, OH, OW, C, FH, FW).transpose(0, 3, 4, 5, 1, 2)
    img = np.zeros(shape)
    for y in range(FH):
        for x in range(FW):
            img[:, :, y : y + OH, x : x + OW] += col[:, :, y, x]
    return img


def conv_forward(x, W, b):
    FN, C, FH, FW = W.shape
    N, C, H, Wd = x.shape
    col = im2col(x, FH, FW)
    col_W = W.reshape(FN, -1).T
    out = np.dot(col, col_W) + b
    out = out.reshape(N, H - FH + 1, Wd - FW + 1, FN).transpose(0, 3, 1, 2)
    return out, (x.shape, W.shape, col, col_W)


def conv_backward(dout, cache):
    x_shape, W_shape, col, col_W = cache
    FN, C, FH, FW = W_shape
    dout = dout.transpose(0, 2, 3, 1).reshape(-1, FN)
    db = np.sum(dout, axis=0)
    dW = np.dot(col.T, dout)
    dW = dW.transpose(1, 0).reshape(FN, C, FH, FW)
    dcol = np.dot(dout, col_W.T)
    dx = col2im(dcol, x_shape, FH, FW)
    return dx, dW, db


def softmax(a):
    a = a - np.max(a, axis=1, keepdims=True)
    return np.exp(a) / np.sum(np.exp(a), axis=1, keepdims=True)


def candidate(params, x, t):
    batch_size = x.shape[0]
    z1, conv1 = conv_forward(x, params["W1"], params["b1"])
    mask1 = z1 <= 0
    a1 = z1.copy()
    a1[mask1] = 0
    z2, conv2 = conv_forward(a1, params["W2"], params["b2"])
    mask2 = z2 <= 0
    a2 = z2.copy()
    a2[mask2] = 0
    flat = a2.reshape(batch_size, -1)
    y = softmax(np.dot(flat, params["W3"]) + params["b3"])
    loss = -np.sum(np.log(y[np.arange(batch_size), t])) / batch_size

    grads = {}
    dy = y.copy()
    dy[np.arange(batch_size), t] -= 1
    dy = dy / batch_size
    grads["W3"] = np.dot(flat.T, dy)
    grads["b3"] = np.sum(dy, axis=0)
    dout = np.dot(dy, params["W3"].T).reshape(a2.shape)
    dout[mask2] = 0
    dout, grads["W2"], grads["b2"] = conv_backward(dout, conv2)
    dout[mask1] = 0
    _, grads["W1"], grads["b1"] = conv_backward(dout, conv1)
    return loss, grads


def problem(rng):
    params = {
        "W1": rng.normal(size=(4, 2, 3, 2)) * 0.5,
        "b1": rng.normal(size=4) * 0.3,
        "W2": rng.normal(size=(3, 4, 2, 3)) * 0.4,
        "b2": rng.normal(size=3) * 0.3,
        "W3": rng.normal(size=(36, 6)) * 0.4,
        "b3": rng.normal(size=6) * 0.3,
    }
    return params, (rng.normal(size=(5, 2, 6, 7)), rng.integers(0, 6, size=5))


WRONG = [
    wrong(
        "channels_not_moved_last",
        "wrong-axis|wrong-operand",
        "dout = dout.transpose(0, 2, 3, 1).reshape(-1, FN)",
        "dout = dout.reshape(-1, FN)",
    ),
    wrong(
        "kernel_gradient_folded_without_turning",
        "transposed|wrong-axis",
        "dW = dW.transpose(1, 0).reshape(FN, C, FH, FW)",
        "dW = dW.reshape(FN, C, FH, FW)",
    ),
    wrong(
        "overlapping_windows_overwrite",
        "overwritten",
        "img[:, :, y : y + OH, x : x + OW] += col",
        "img[:, :, y : y + OH, x : x + OW] = col",
    ),
    wrong(
        "kernel_turned_backwards",
        "flipped|wrong-operand",
        "dcol = np.dot(dout, col_W.T)",
        "dcol = np.dot(dout, col_W.T.reshape(W_shape)[:, :, ::-1, ::-1].reshape(FN, -1))",
    ),
    wrong("second_relu_forgotten", "missing-derivative", "    dout[mask2] = 0\n", ""),
    wrong("first_relu_forgotten", "missing-derivative", "    dout[mask1] = 0\n", ""),
    wrong(
        "mask_the_other_way_round",
        "different-function|derivative-at-wrong-point",
        "dout[mask1] = 0",
        "dout[~mask1] = 0",
    ),
    wrong("batch_not_averaged", "wrong-scale|wrong-reduction", "    dy = dy / batch_size\n", ""),
    wrong(
        "softmax_slope_on_top",
        "extra-derivative|diagonal-jacobian",
        "    dy = dy / batch_size\n",
        "    dy = dy * y * (1 - y) / batch_size\n",
    ),
    wrong("bias_averaged_over_places", "wrong-scale|wrong-reduction", "db = np.sum(dout", "db = np.mean(dout"),
    wrong(
        "dense_layer_before_the_relu",
        "wrong-operand",
        'grads["W3"] = np.dot(flat.T, dy)',
        'grads["W3"] = np.dot(z2.reshape(batch_size, -1).T, dy)',
    ),
    wrong(
        "softmax_over_the_batch",
        "wrong-axis",
        "a = a - np.max(a, axis=1, keepdims=True)",
        "a = a - np.max(a, axis=0, keepdims=True)",
        "np.exp(a) / np.sum(np.exp(a), axis=1, keepdims=True)",
        "np.exp(a) / np.sum(np.exp(a), axis=0, keepdims=True)",
    ),
]

TOGETHER = [
    ("overlapping_windows_overwrite", "second_relu_forgotten"),
    ("kernel_gradient_folded_without_turning", "first_relu_forgotten"),
    ("channels_not_moved_last", "batch_not_averaged"),
    ("softmax_slope_on_top", "bias_averaged_over_places"),
]

RIGHT = [
    right(
        "kernel_gradient_row_by_row",
        "    dW = np.dot(col.T, dout)\n    dW = dW.transpose(1, 0).reshape(FN, C, FH, FW)\n",
        "    dW = np.dot(dout.T, col).reshape(W_shape)\n",
        "    dy = y.copy()\n    dy[np.arange(batch_size), t] -= 1\n    dy = dy / batch_size\n",
        "    dy = (y - np.eye(y.shape[1])[t]) / batch_size\n",
    ),
]
