"""A convolutional net step by step: channels last, four nested loops, a padded strided convolution, two poolings."""

import numpy as np
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, images, labels):
    x = images.permute(0, 3, 1, 2)
    z = F.conv2d(x, params["W"].permute(3, 2, 0, 1), params["b"].flatten(), stride=2, padding=1)
    a = F.leaky_relu(z, 0.2)
    peaks = F.max_pool2d(a, 2, stride=1)
    means = F.avg_pool2d(peaks, (2, 2), stride=1)
    flat = means.permute(0, 2, 3, 1).flatten(1)
    return F.cross_entropy(flat @ params["V"] + params["c"], labels)


def zero_pad(x, pad):
    return np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))


def conv_forward(a_prev, w, b, stride, pad):
    m, high, wide, _ = a_prev.shape
    f, _, _, filters = w.shape
    n_h, n_w = (high - f + 2 * pad) // stride + 1, (wide - f + 2 * pad) // stride + 1
    z = np.zeros((m, n_h, n_w, filters))
    padded = zero_pad(a_prev, pad)
    for i in range(m):
        for h in range(n_h):
            for v in range(n_w):
                for c in range(filters):
                    piece = padded[i, h * stride : h * stride + f, v * stride : v * stride + f, :]
                    z[i, h, v, c] = np.sum(piece * w[:, :, :, c]) + b[0, 0, 0, c]
    return z, (a_prev, w, stride, pad)


def conv_backward(dz, cache):
    a_prev, w, stride, pad = cache
    f = w.shape[0]
    m, n_h, n_w, filters = dz.shape
    dw, db = np.zeros(w.shape), np.zeros((1, 1, 1, filters))
    padded = zero_pad(a_prev, pad)
    for i in range(m):
        picture = padded[i]
        for h in range(n_h):
            for v in range(n_w):
                for c in range(filters):
                    top, left = h * stride, v * stride
                    piece = picture[top : top + f, left : left + f, :]
                    dw[:, :, :, c] += piece * dz[i, h, v, c]
                    db[:, :, :, c] += dz[i, h, v, c]
    return dw, db


def pool_forward(a_prev, f, stride, mode):
    m, high, wide, channels = a_prev.shape
    n_h, n_w = (high - f) // stride + 1, (wide - f) // stride + 1
    out = np.zeros((m, n_h, n_w, channels))
    for i in range(m):
        for h in range(n_h):
            for v in range(n_w):
                for c in range(channels):
                    window = a_prev[i, h * stride : h * stride + f, v * stride : v * stride + f, c]
                    out[i, h, v, c] = window.max() if mode == "max" else window.mean()
    return out, (a_prev, f, stride)


def spread(value, shape):
    return np.full(shape, value / (shape[0] * shape[1]))


def pool_backward(da, cache, mode):
    a_prev, f, stride = cache
    m, n_h, n_w, channels = da.shape
    da_prev = np.zeros(a_prev.shape)
    for i in range(m):
        for h in range(n_h):
            for v in range(n_w):
                for c in range(channels):
                    rows = slice(h * stride, h * stride + f)
                    columns = slice(v * stride, v * stride + f)
                    if mode == "max":
                        window = a_prev[i, rows, columns, c]
                        mask = window == np.max(window)
                        da_prev[i, rows, columns, c] += mask * da[i, h, v, c]
                    else:
                        da_prev[i, rows, columns, c] += spread(da[i, h, v, c], (f, f))
    return da_prev


def candidate(params, images, labels):
    m = len(labels)
    z, conv_cache = conv_forward(images, params["W"], params["b"], stride=2, pad=1)
    a = np.where(z > 0, z, 0.2 * z)
    peaks, max_cache = pool_forward(a, 2, 1, "max")
    means, mean_cache = pool_forward(peaks, 2, 1, "average")
    flat = means.reshape(m, -1)
    scores = flat @ params["V"] + params["c"]
    scores = scores - scores.max(axis=1, keepdims=True)
    probs = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    loss = -np.log(probs[np.arange(m), labels]).sum() / m

    grads = {}
    dscores = probs.copy()
    dscores[np.arange(m), labels] -= 1
    dscores /= m
    grads["V"] = flat.T @ dscores
    grads["c"] = dscores.sum(axis=0)
    dmeans = (dscores @ params["V"].T).reshape(means.shape)
    dpeaks = pool_backward(dmeans, mean_cache, "average")
    da = pool_backward(dpeaks, max_cache, "max")
    dz = da * np.where(z > 0, 1.0, 0.2)
    grads["W"], grads["b"] = conv_backward(dz, conv_cache)
    return loss, grads


def problem(rng):
    params = {
        "W": rng.normal(size=(3, 3, 2, 4)) * 0.4,
        "b": rng.normal(size=(1, 1, 1, 4)) * 0.3,
        "V": rng.normal(size=(2 * 3 * 4, 5)) * 0.2,
        "c": rng.normal(size=5) * 0.3,
    }
    return params, (rng.normal(size=(6, 7, 9, 2)), rng.integers(0, 5, size=6))


WRONG = [
    wrong(
        "peaks_of_overlapping_windows_assigned",
        "overwritten",
        "da_prev[i, rows, columns, c] += mask * da[i, h, v, c]",
        "da_prev[i, rows, columns, c] = mask * da[i, h, v, c]",
    ),
    wrong(
        "shares_of_overlapping_windows_assigned",
        "overwritten",
        "da_prev[i, rows, columns, c] += spread(",
        "da_prev[i, rows, columns, c] = spread(",
    ),
    wrong(
        "share_not_divided_by_the_window",
        "wrong-scale|wrong-reduction",
        "np.full(shape, value / (shape[0] * shape[1]))",
        "np.full(shape, value)",
    ),
    wrong(
        "pooling_returns_after_the_first_picture",
        "one-sample-only",
        "da_prev[i, rows, columns, c] += spread(da[i, h, v, c], (f, f))\n    return da_prev",
        "da_prev[i, rows, columns, c] += spread(da[i, h, v, c], (f, f))\n        return da_prev",
    ),
    wrong(
        "max_taken_for_mean_backwards",
        "different-function",
        'dpeaks = pool_backward(dmeans, mean_cache, "average")',
        'dpeaks = pool_backward(dmeans, mean_cache, "max")',
    ),
    wrong(
        "stride_forgotten_in_kernel_gradient",
        "wrong-operand|different-function",
        "top, left = h * stride, v * stride",
        "top, left = h, v",
    ),
    wrong(
        "first_picture_for_all",
        "wrong-operand",
        "picture = padded[i]",
        "picture = padded[0]",
    ),
    wrong(
        "kernel_of_the_last_window",
        "overwritten",
        "dw[:, :, :, c] += piece * dz[i, h, v, c]",
        "dw[:, :, :, c] = piece * dz[i, h, v, c]",
    ),
    wrong(
        "conv_bias_of_the_last_window",
        "overwritten",
        "db[:, :, :, c] += dz[i, h, v, c]",
        "db[:, :, :, c] = dz[i, h, v, c]",
    ),
    wrong(
        "slope_of_a_plain_relu",
        "different-function",
        "np.where(z > 0, 1.0, 0.2)",
        "np.where(z > 0, 1.0, 0.0)",
    ),
    wrong(
        "slope_asked_of_the_gradient",
        "wrong-operand|derivative-at-wrong-point",
        "dz = da * np.where(z > 0, 1.0, 0.2)",
        "dz = da * np.where(da > 0, 1.0, 0.2)",
    ),
    wrong(
        "unflattened_channels_first",
        "wrong-axis|wrong-operand|not-transposed",
        'dmeans = (dscores @ params["V"].T).reshape(means.shape)',
        'dmeans = (dscores @ params["V"].T).reshape(m, 4, 2, 3).transpose(0, 2, 3, 1)',
    ),
]

TOGETHER = [
    ("peaks_of_overlapping_windows_assigned", "conv_bias_of_the_last_window"),
    ("share_not_divided_by_the_window", "slope_of_a_plain_relu"),
    ("stride_forgotten_in_kernel_gradient", "unflattened_channels_first"),
    ("first_picture_for_all", "shares_of_overlapping_windows_assigned"),
]

RIGHT = [
    right(
        "bias_by_sum_and_peaks_by_argmax",
        "                    db[:, :, :, c] += dz[i, h, v, c]\n",
        "",
        "    return dw, db",
        "    db += dz.sum(axis=(0, 1, 2))\n    return dw, db",
        "mask = window == np.max(window)",
        "mask = (np.arange(f * f) == window.argmax()).reshape(f, f)",
    ),
]
