"""Two padded convolutions of stride two on patches gathered in loops, leaky ReLU, overlapping averages, map means."""

import numpy as np
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, images, labels):
    a = F.leaky_relu(F.conv2d(images, params["W1"], params["b1"], stride=2, padding=1), 0.2)
    a = F.avg_pool2d(a, 2, stride=1)
    a = F.leaky_relu(F.conv2d(a, params["W2"], params["b2"], stride=2, padding=1), 0.2)
    return F.cross_entropy(a.mean(dim=(2, 3)) @ params["W3"] + params["b3"], labels)


def im2col(x, k, stride, pad):
    N, C, H, W = x.shape
    out_h = (H + 2 * pad - k) // stride + 1
    out_w = (W + 2 * pad - k) // stride + 1
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)), mode="constant")
    cols = np.zeros((C * k * k, out_h * out_w * N))
    column = 0
    for i in range(out_h):
        for j in range(out_w):
            for n in range(N):
                patch = padded[n, :, i * stride : i * stride + k, j * stride : j * stride + k]
                cols[:, column] = patch.ravel()
                column += 1
    return cols, out_h, out_w


def col2im(dcols, shape, k, stride, pad, out_h, out_w):
    N, C, H, W = shape
    dpadded = np.zeros((N, C, H + 2 * pad, W + 2 * pad))
    column = 0
    for i in range(out_h):
        for j in range(out_w):
            top, left = i * stride, j * stride
            for n in range(N):
                dpadded[n, :, top : top + k, left : left + k] += dcols[:, column].reshape(C, k, k)
                column += 1
    return dpadded[:, :, pad : pad + H, pad : pad + W]


def conv_forward(x, W, b, stride=2, pad=1):
    F_, C, k, _ = W.shape
    cols, out_h, out_w = im2col(x, k, stride, pad)
    out = W.reshape(F_, -1) @ cols + b.reshape(-1, 1)
    out = out.reshape(F_, out_h, out_w, x.shape[0]).transpose(3, 0, 1, 2)
    return out, (x.shape, W, cols, stride, pad)


def conv_backward(dout, cache):
    shape, W, cols, stride, pad = cache
    F_, C, k, _ = W.shape
    out_h, out_w = dout.shape[2:]
    db = np.sum(dout, axis=(0, 2, 3))
    flat = dout.transpose(1, 2, 3, 0).reshape(F_, -1)
    dW = (flat @ cols.T).reshape(W.shape)
    dcols = W.reshape(F_, -1).T @ flat
    return col2im(dcols, shape, k, stride, pad, out_h, out_w), dW, db


def leaky_relu(z, slope=0.2):
    return np.where(z > 0, z, slope * z)


def leaky_relu_backward(da, z, leak=0.2):
    return np.where(z > 0, da, leak * da)


def avg_pool(a, size=2):
    N, C, H, W = a.shape
    out = np.zeros((N, C, H - size + 1, W - size + 1))
    for i in range(out.shape[2]):
        for j in range(out.shape[3]):
            out[:, :, i, j] = a[:, :, i : i + size, j : j + size].mean(axis=(2, 3))
    return out


def avg_pool_backward(dout, shape, size=2):
    da = np.zeros(shape)
    for i in range(dout.shape[2]):
        for j in range(dout.shape[3]):
            share = dout[:, :, i, j] / (size * size)
            da[:, :, i : i + size, j : j + size] += share[:, :, None, None]
    return da


def candidate(params, images, labels):
    N = images.shape[0]
    z1, conv1 = conv_forward(images, params["W1"], params["b1"])
    a1 = leaky_relu(z1)
    pooled = avg_pool(a1)
    z2, conv2 = conv_forward(pooled, params["W2"], params["b2"])
    a2 = leaky_relu(z2)
    features = a2.mean(axis=(2, 3))
    scores = features @ params["W3"] + params["b3"]
    scores -= scores.max(axis=1, keepdims=True)
    probs = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    loss = -np.log(probs[np.arange(N), labels]).sum() / N

    dscores = probs
    dscores[np.arange(N), labels] -= 1
    dscores /= N
    dW3 = features.T @ dscores
    db3 = dscores.sum(axis=0)
    dfeatures = dscores @ params["W3"].T
    area = a2.shape[2] * a2.shape[3]
    da2 = np.ones(a2.shape) * dfeatures[:, :, None, None] / area
    dz2 = leaky_relu_backward(da2, z2)
    dpooled, dW2, db2 = conv_backward(dz2, conv2)
    da1 = avg_pool_backward(dpooled, a1.shape)
    dz1 = leaky_relu_backward(da1, z1)
    dimages, dW1, db1 = conv_backward(dz1, conv1)
    return loss, {"W1": dW1, "b1": db1, "W2": dW2, "b2": db2, "W3": dW3, "b3": db3}


def problem(rng):
    N, channels, maps, features, classes = 5, 2, 3, 4, 4
    params = {
        "W1": rng.normal(size=(maps, channels, 3, 3)) * 0.5,
        "b1": rng.normal(size=maps) * 0.3,
        "W2": rng.normal(size=(features, maps, 3, 3)) * 0.5,
        "b2": rng.normal(size=features) * 0.3,
        "W3": rng.normal(size=(features, classes)),
        "b3": rng.normal(size=classes) * 0.3,
    }
    return params, (rng.normal(size=(N, channels, 7, 7)), rng.integers(0, classes, size=N))


WRONG = [
    wrong(
        "nothing_leaks_backwards",
        "different-function",
        "return np.where(z > 0, da, leak * da)",
        "return np.where(z > 0, da, 0.0)",
    ),
    wrong(
        "slope_of_the_second_relu_forgotten",
        "missing-derivative",
        "dz2 = leaky_relu_backward(da2, z2)",
        "dz2 = da2",
    ),
    wrong(
        "leak_where_the_gradient_is_negative",
        "wrong-operand|derivative-at-wrong-point",
        "return np.where(z > 0, da, leak * da)",
        "return np.where(da > 0, da, leak * da)",
    ),
    wrong(
        "leak_of_a_hundredth_in_both",
        "different-function",
        "def leaky_relu(z, slope=0.2):",
        "def leaky_relu(z, slope=0.01):",
        "def leaky_relu_backward(da, z, leak=0.2):",
        "def leaky_relu_backward(da, z, leak=0.01):",
    ),
    wrong(
        "window_average_not_divided_backwards",
        "wrong-scale|wrong-reduction|missing-derivative",
        "share = dout[:, :, i, j] / (size * size)",
        "share = dout[:, :, i, j]",
    ),
    wrong(
        "overlapping_averages_overwrite",
        "overwritten",
        "da[:, :, i : i + size, j : j + size] += share",
        "da[:, :, i : i + size, j : j + size] = share",
    ),
    wrong(
        "overlapping_patches_overwrite",
        "overwritten",
        "left : left + k] += dcols[:, column]",
        "left : left + k] = dcols[:, column]",
    ),
    wrong(
        "mean_of_a_map_not_divided_backwards",
        "wrong-scale|wrong-reduction|missing-derivative",
        "dfeatures[:, :, None, None] / area",
        "dfeatures[:, :, None, None]",
    ),
    wrong(
        "patches_put_back_without_stride",
        "wrong-operand|different-function",
        "top, left = i * stride, j * stride",
        "top, left = i, j",
    ),
    wrong(
        "padding_cut_off_at_one_side_only",
        "wrong-operand|different-function",
        "return dpadded[:, :, pad : pad + H, pad : pad + W]",
        "return dpadded[:, :, :H, :W]",
    ),
    wrong(
        "gradient_flattened_images_first",
        "wrong-axis|wrong-operand|transposed|not-transposed",
        "flat = dout.transpose(1, 2, 3, 0).reshape(F_, -1)",
        "flat = dout.transpose(1, 0, 2, 3).reshape(F_, -1)",
    ),
    wrong(
        "filter_bias_averaged",
        "wrong-scale|wrong-reduction",
        "db = np.sum(dout, axis=(0, 2, 3))",
        "db = np.mean(dout, axis=(0, 2, 3))",
    ),
    wrong(
        "score_weights_not_transposed",
        "not-transposed",
        'dfeatures = dscores @ params["W3"].T',
        'dfeatures = dscores @ params["W3"]',
    ),
    wrong(
        "bits_in_cost",
        "wrong-loss",
        "loss = -np.log(probs",
        "loss = -np.log2(probs",
    ),
]

TOGETHER = [
    ("nothing_leaks_backwards", "window_average_not_divided_backwards"),
    ("slope_of_the_second_relu_forgotten", "overlapping_averages_overwrite"),
    ("overlapping_patches_overwrite", "filter_bias_averaged"),
    ("mean_of_a_map_not_divided_backwards", "score_weights_not_transposed"),
    ("patches_put_back_without_stride", "slope_of_the_second_relu_forgotten"),
    ("leak_of_a_hundredth_in_both", "overlapping_patches_overwrite"),
    ("padding_cut_off_at_one_side_only", "bits_in_cost"),
    ("gradient_flattened_images_first", "filter_bias_averaged"),
    ("score_weights_not_transposed", "slope_of_the_second_relu_forgotten", "overlapping_averages_overwrite"),
    ("nothing_leaks_backwards", "filter_bias_averaged", "mean_of_a_map_not_divided_backwards"),
]

RIGHT = [
    right(
        "slopes_as_masks_changed_in_place",
        "    return np.where(z > 0, da, leak * da)\n",
        "    dz = da.copy()\n    dz[z <= 0] *= leak\n    return dz\n",
        "np.ones(a2.shape) * dfeatures[:, :, None, None] / area",
        "np.broadcast_to((dfeatures / area)[:, :, None, None], a2.shape)",
    ),
    right(
        "averages_by_slices_of_the_window",
        "    for i in range(dout.shape[2]):\n"
        "        for j in range(dout.shape[3]):\n"
        "            share = dout[:, :, i, j] / (size * size)\n"
        "            da[:, :, i : i + size, j : j + size] += share[:, :, None, None]\n",
        "    for y in range(size):\n"
        "        for x in range(size):\n"
        "            da[:, :, y : y + dout.shape[2], x : x + dout.shape[3]] += 0.25 * dout\n",
    ),
]
