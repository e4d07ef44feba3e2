"""The small image network of a course: strided convolution by loops, max pooling, dropout, two dense layers."""

import numpy as np
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, y, kept):
    h = F.relu(F.conv2d(x, params["K"], params["b"], stride=2, padding=2))
    h = F.max_pool2d(h, kernel_size=2, stride=1).flatten(1)
    h = F.relu(F.linear(h, params["W1"].T, params["b1"]))
    logits = F.linear(h * kept / 0.7, params["W2"].T, params["b2"])
    return F.cross_entropy(logits, y)


def conv_forward(x, K, b, stride, pad):
    N, _, H, W = x.shape
    filters, _, kh, kw = K.shape
    xp = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    oh = (H + 2 * pad - kh) // stride + 1
    ow = (W + 2 * pad - kw) // stride + 1
    out = np.zeros((N, filters, oh, ow))
    for i in range(oh):
        for j in range(ow):
            window = xp[:, :, i * stride : i * stride + kh, j * stride : j * stride + kw]
            for f in range(filters):
                out[:, f, i, j] = np.sum(window * K[f], axis=(1, 2, 3)) + b[f]
    return out, (xp, K.shape, stride)


def conv_backward(dout, cache):
    xp, (filters, _, kh, kw), stride = cache
    _, _, oh, ow = dout.shape
    dK = np.zeros((filters, xp.shape[1], kh, kw))
    for i in range(oh):
        for j in range(ow):
            top, left = i * stride, j * stride
            patch = xp[:, :, top : top + kh, left : left + kw]
            for f in range(filters):
                dK[f] += np.sum(patch * dout[:, f, i, j][:, None, None, None], axis=0)
    db = dout.sum(axis=(0, 2, 3))
    return dK, db


def max_pool_forward(x, size, stride):
    N, C, H, W = x.shape
    oh, ow = (H - size) // stride + 1, (W - size) // stride + 1
    out = np.zeros((N, C, oh, ow))
    for i in range(oh):
        for j in range(ow):
            out[:, :, i, j] = x[:, :, i * stride : i * stride + size, j * stride : j * stride + size].max(axis=(2, 3))
    return out


def max_pool_backward(dout, x, size, stride):
    dx = np.zeros_like(x)
    N, C, oh, ow = dout.shape
    for n in range(N):
        for c in range(C):
            for i in range(oh):
                for j in range(ow):
                    r, s = i * stride, j * stride
                    region = x[n, c, r : r + size, s : s + size]
                    a, b = np.unravel_index(np.argmax(region), region.shape)
                    dx[n, c, r + a, s + b] += dout[n, c, i, j]
    return dx


def candidate(params, x, y, kept, keep_prob=0.7):
    W1, b1, W2, b2 = params["W1"], params["b1"], params["W2"], params["b2"]
    N = x.shape[0]

    conv, conv_cache = conv_forward(x, params["K"], params["b"], stride=2, pad=2)
    relu = np.maximum(0, conv)
    pooled = max_pool_forward(relu, 2, 1)
    flat = pooled.reshape(N, -1)
    z1 = flat @ W1 + b1
    h1 = np.maximum(0, z1)
    mask = kept / keep_prob
    dropped = h1 * mask
    z2 = dropped @ W2 + b2
    e = np.exp(z2 - z2.max(axis=1, keepdims=True))
    probs = e / e.sum(axis=1, keepdims=True)
    loss = -np.mean(np.log(probs[range(N), y]))

    dz2 = probs.copy()
    dz2[range(N), y] -= 1
    dz2 /= N
    dW2 = dropped.T @ dz2
    db2 = dz2.sum(axis=0)
    ddropped = dz2 @ W2.T
    dh1 = ddropped * mask
    dz1 = dh1 * (z1 > 0)
    dW1 = flat.T @ dz1
    db1 = dz1.sum(axis=0)
    dpooled = (dz1 @ W1.T).reshape(pooled.shape)
    drelu = max_pool_backward(dpooled, relu, 2, 1)
    dconv = drelu * (conv > 0)
    dK, db = conv_backward(dconv, conv_cache)
    return loss, {"K": dK, "b": db, "W1": dW1, "b1": db1, "W2": dW2, "b2": db2}


def problem(rng):
    samples, channels, height, width, filters, hidden, classes = 6, 2, 5, 4, 4, 9, 7
    params = {
        "K": rng.normal(size=(filters, channels, 3, 3)) * 0.4,
        "b": rng.normal(size=filters) * 0.3 + 0.2,
        "W1": rng.normal(size=(filters * 6, hidden)) * 0.4,
        "b1": rng.normal(size=hidden) * 0.3 + 0.3,
        "W2": rng.normal(size=(hidden, classes)) * 0.6,
        "b2": rng.normal(size=classes) * 0.3,
    }
    kept = (rng.random(size=(samples, hidden)) < 0.7).astype(float)
    return params, (rng.normal(size=(samples, channels, height, width)), rng.integers(0, classes, size=samples), kept)


WRONG = [
    wrong(
        "pooling_windows_that_overlap_assigned",
        "overwritten",
        "dx[n, c, r + a, s + b] += dout[n, c, i, j]",
        "dx[n, c, r + a, s + b] = dout[n, c, i, j]",
    ),
    wrong(
        "kernel_assigned_at_each_position",
        "overwritten|last-step-only",
        "dK[f] += np.sum(patch",
        "dK[f] = np.sum(patch",
    ),
    wrong(
        "stride_forgotten_on_the_way_back",
        "wrong-operand|different-function",
        "top, left = i * stride, j * stride",
        "top, left = i, j",
    ),
    wrong(
        "pooling_spread_over_the_window",
        "different-function",
        "dx[n, c, r + a, s + b] += dout[n, c, i, j]",
        "dx[n, c, r : r + size, s : s + size] += dout[n, c, i, j] / size**2",
    ),
    wrong(
        "row_and_column_of_the_largest_exchanged",
        "wrong-operand|wrong-axis|transposed",
        "a, b = np.unravel_index(",
        "b, a = np.unravel_index(",
    ),
    wrong(
        "relu_after_the_convolution_forgotten",
        "missing-derivative",
        "dconv = drelu * (conv > 0)",
        "dconv = drelu",
    ),
    wrong(
        "kernel_gradient_turned_round",
        "flipped",
        "return dK, db",
        "return dK[:, :, ::-1, ::-1], db",
    ),
    wrong(
        "filter_bias_averaged_over_the_image",
        "wrong-reduction|wrong-scale",
        "db = dout.sum(axis=(0, 2, 3))",
        "db = dout.mean(axis=(2, 3)).sum(axis=0)",
    ),
    wrong(
        "dropout_not_applied_to_the_gradient",
        "missing-derivative",
        "dh1 = ddropped * mask",
        "dh1 = ddropped",
    ),
    wrong(
        "gradient_masked_but_not_scaled",
        "wrong-scale|missing-derivative|wrong-operand",
        "dh1 = ddropped * mask",
        "dh1 = ddropped * kept",
    ),
    wrong(
        "second_weights_with_the_layer_before_dropout",
        "wrong-operand",
        "dW2 = dropped.T @ dz2",
        "dW2 = h1.T @ dz2",
    ),
    wrong(
        "gradient_unflattened_channels_last",
        "wrong-axis|wrong-operand|transposed",
        "dpooled = (dz1 @ W1.T).reshape(pooled.shape)",
        "dpooled = (dz1 @ W1.T).reshape(N, *pooled.shape[2:], -1).transpose(0, 3, 1, 2)",
    ),
    wrong(
        "first_dense_weights_not_divided_by_the_batch",
        "wrong-scale|wrong-reduction",
        "dW1 = flat.T @ dz1",
        "dW1 = flat.T @ dz1 * N",
    ),
    wrong(
        "dropout_without_scaling_in_both",
        "wrong-scale|different-function|wrong-operand",
        "mask = kept / keep_prob",
        "mask = kept",
    ),
    wrong(
        "average_pooling_in_both",
        "different-function",
        "j * stride : j * stride + size].max(axis=(2, 3))",
        "j * stride : j * stride + size].mean(axis=(2, 3))",
        "                    region = x[n, c, r : r + size, s : s + size]\n"
        "                    a, b = np.unravel_index(np.argmax(region), region.shape)\n"
        "                    dx[n, c, r + a, s + b] += dout[n, c, i, j]\n",
        "                    dx[n, c, r : r + size, s : s + size] += dout[n, c, i, j] / size**2\n",
    ),
    wrong("summed_over_the_batch_in_cost", "wrong-loss", "loss = -np.mean(np.log(", "loss = -np.sum(np.log("),
]

TOGETHER = [
    ("pooling_windows_that_overlap_assigned", "dropout_not_applied_to_the_gradient"),
    ("stride_forgotten_on_the_way_back", "filter_bias_averaged_over_the_image"),
    ("relu_after_the_convolution_forgotten", "second_weights_with_the_layer_before_dropout"),
    ("gradient_unflattened_channels_last", "gradient_masked_but_not_scaled"),
    ("kernel_gradient_turned_round", "pooling_spread_over_the_window"),
    ("dropout_without_scaling_in_both", "row_and_column_of_the_largest_exchanged"),
    (
        "relu_after_the_convolution_forgotten",
        "filter_bias_averaged_over_the_image",
        "first_dense_weights_not_divided_by_the_batch",
    ),
    (
        "kernel_assigned_at_each_position",
        "gradient_masked_but_not_scaled",
        "second_weights_with_the_layer_before_dropout",
    ),
]

RIGHT = [
    right(
        "convolution_back_by_columns",
        "    for i in range(oh):\n"
        "        for j in range(ow):\n"
        "            top, left = i * stride, j * stride\n"
        "            patch = xp[:, :, top : top + kh, left : left + kw]\n"
        "            for f in range(filters):\n"
        "                dK[f] += np.sum(patch * dout[:, f, i, j][:, None, None, None], axis=0)\n",
        "    columns = np.lib.stride_tricks.sliding_window_view(xp, (kh, kw), axis=(2, 3))[:, :, ::stride, ::stride]\n"
        "    columns = columns[:, :, :oh, :ow].transpose(1, 4, 5, 0, 2, 3).reshape(dK[0].size, -1)\n"
        "    dK += (dout.transpose(1, 0, 2, 3).reshape(filters, -1) @ columns.T).reshape(dK.shape)\n",
    ),
    right(
        "pooling_back_by_the_mask_of_the_largest",
        "    for n in range(N):\n"
        "        for c in range(C):\n"
        "            for i in range(oh):\n"
        "                for j in range(ow):\n"
        "                    r, s = i * stride, j * stride\n"
        "                    region = x[n, c, r : r + size, s : s + size]\n"
        "                    a, b = np.unravel_index(np.argmax(region), region.shape)\n"
        "                    dx[n, c, r + a, s + b] += dout[n, c, i, j]\n",
        "    for i in range(oh):\n"
        "        for j in range(ow):\n"
        "            rows, cols = slice(i * stride, i * stride + size), slice(j * stride, j * stride + size)\n"
        "            region = x[:, :, rows, cols]\n"
        "            largest = region == region.max(axis=(2, 3), keepdims=True)\n"
        "            dx[:, :, rows, cols] += largest * dout[:, :, i, j][:, :, None, None]\n",
        "N, C, oh, ow = dout.shape",
        "_, _, oh, ow = dout.shape",
    ),
    right(
        "one_hot_targets_and_gradients_masked_in_place",
        "    dz2 = probs.copy()\n    dz2[range(N), y] -= 1\n    dz2 /= N\n",
        "    dz2 = (probs - np.eye(len(b2))[y]) / N\n",
        "    dz1 = dh1 * (z1 > 0)\n",
        "    dz1 = dh1\n    dz1[dropped <= 0] = 0\n",
        "    dconv = drelu * (conv > 0)\n",
        "    drelu[conv <= 0] = 0\n    dconv = drelu\n",
        "    db1 = dz1.sum(axis=0)\n",
        "    db1 = np.ones(N) @ dz1\n",
    ),
]
