"""A small image autoencoder: a strided convolution, a linear code, a transposed convolution, binary cross-entropy."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x):
    h = F.elu(F.conv2d(x, params["enc_K"], params["enc_b"], stride=2, padding=1))
    code = F.linear(h.flatten(1), params["enc_W"], params["enc_c"])
    maps = F.linear(code, params["dec_W"], params["dec_c"]).unflatten(1, (3, 2, 3))
    pixels = torch.sigmoid(F.conv_transpose2d(maps, params["dec_K"], params["dec_b"], stride=2, padding=1))
    return F.binary_cross_entropy(pixels, x, reduction="sum") / len(x)


def conv(x, K, b, stride=2, pad=1):
    n, _, height, width = x.shape
    filters, _, kh, kw = K.shape
    rows, columns = (height + 2 * pad - kh) // stride + 1, (width + 2 * pad - kw) // stride + 1
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    out = np.zeros((n, filters, rows, columns))
    for i in range(rows):
        for j in range(columns):
            region = padded[:, :, i * stride : i * stride + kh, j * stride : j * stride + kw]
            out[:, :, i, j] = np.tensordot(region, K, axes=([1, 2, 3], [1, 2, 3])) + b
    return out, padded


def conv_backward(dout, padded, K, stride=2):
    kh, kw = K.shape[2:]
    dK = np.zeros_like(K)
    for i in range(dout.shape[2]):
        for j in range(dout.shape[3]):
            top, left = i * stride, j * stride
            patch = padded[:, :, top : top + kh, left : left + kw]
            dK += np.tensordot(dout[:, :, i, j], patch, axes=(0, 0))
    return dK, dout.sum(axis=(0, 2, 3))


def im2col(images, size, stride, pad):
    n, channels, height, width = images.shape
    rows, columns = (height + 2 * pad - size) // stride + 1, (width + 2 * pad - size) // stride + 1
    padded = np.pad(images, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    cols = np.zeros((n, channels, size, size, rows, columns))
    for u in range(size):
        for v in range(size):
            cols[:, :, u, v] = padded[:, :, u : u + stride * rows : stride, v : v + stride * columns : stride]
    return cols.transpose(0, 4, 5, 1, 2, 3).reshape(n * rows * columns, -1)


def col2im(cols, n, channels, rows, columns, size, stride, pad):
    cols = cols.reshape(n, rows, columns, channels, size, size).transpose(0, 3, 4, 5, 1, 2)
    canvas = np.zeros((n, channels, (rows - 1) * stride + size, (columns - 1) * stride + size))
    for u in range(size):
        for v in range(size):
            canvas[:, :, u : u + stride * rows : stride, v : v + stride * columns : stride] += cols[:, :, u, v]
    return canvas[:, :, pad:-pad, pad:-pad]


def candidate(params, x):
    K1, b1, W2, b2, W3, b3, K4, b4 = (
        params[name] for name in ("enc_K", "enc_b", "enc_W", "enc_c", "dec_W", "dec_c", "dec_K", "dec_b")
    )
    n, channels = x.shape[:2]
    depth, size = K4.shape[0], K4.shape[2]
    # encoder
    a1, x_padded = conv(x, K1, b1)
    h1 = np.where(a1 > 0, a1, np.exp(np.minimum(a1, 0)) - 1)
    flat = h1.reshape(n, -1)
    code = flat @ W2.T + b2
    # decoder
    z3 = code @ W3.T + b3
    maps = z3.reshape(n, depth, 2, 3)
    spots = maps.transpose(0, 2, 3, 1).reshape(-1, depth)
    logits = col2im(spots @ K4.reshape(depth, -1), n, channels, 2, 3, size, 2, 1) + b4[:, None, None]
    p = 1 / (1 + np.exp(-logits))
    loss = -np.sum(x * np.log(p) + (1 - x) * np.log(1 - p)) / n

    grads = {}
    dlogits = (p - x) / n
    grads["dec_b"] = dlogits.sum(axis=(0, 2, 3))
    dcols = im2col(dlogits, size, 2, 1)
    grads["dec_K"] = (spots.T @ dcols).reshape(K4.shape)
    dspots = dcols @ K4.reshape(depth, -1).T
    dmaps = dspots.reshape(n, 2, 3, depth).transpose(0, 3, 1, 2)
    dz3 = dmaps.reshape(n, -1)
    grads["dec_W"] = dz3.T @ code
    grads["dec_c"] = dz3.sum(axis=0)
    dcode = dz3 @ W3
    grads["enc_W"] = dcode.T @ flat
    grads["enc_c"] = dcode.sum(axis=0)
    dh1 = (dcode @ W2).reshape(h1.shape)
    da1 = dh1 * np.where(a1 > 0, 1.0, h1 + 1)
    grads["enc_K"], grads["enc_b"] = conv_backward(da1, x_padded, K1)
    return loss, grads


def problem(rng):
    params = {
        "enc_K": rng.normal(size=(4, 2, 3, 3)) * 0.6,
        "enc_b": rng.normal(size=4) * 0.4,
        "enc_W": rng.normal(size=(7, 24)) * 0.2,
        "enc_c": rng.normal(size=7) * 0.4,
        "dec_W": rng.normal(size=(18, 7)) * 0.4,
        "dec_c": rng.normal(size=18) * 0.4,
        "dec_K": rng.normal(size=(3, 2, 4, 4)) * 0.3,
        "dec_b": rng.normal(size=2) * 0.5,
    }
    return params, (rng.uniform(0.02, 0.98, size=(5, 2, 4, 6)),)


WRONG = [
    wrong(
        "error_averaged_over_pixels_too",
        "wrong-scale|wrong-reduction",
        "dlogits = (p - x) / n",
        "dlogits = (p - x) / x.size",
    ),
    wrong(
        "sigmoid_slope_once_more",
        "extra-derivative",
        "dlogits = (p - x) / n",
        "dlogits = (p - x) / n * p * (1 - p)",
    ),
    wrong(
        "dark_pixels_forgotten",
        "missing-path|different-function",
        "dlogits = (p - x) / n",
        "dlogits = -x * (1 - p) / n",
    ),
    wrong(
        "decoder_bias_averaged_over_positions",
        "wrong-reduction|wrong-scale",
        "dlogits.sum(axis=(0, 2, 3))",
        "dlogits.sum(axis=0).mean(axis=(1, 2))",
    ),
    wrong(
        "maps_unfolded_without_moving_channels",
        "wrong-axis|wrong-operand",
        "(spots.T @ dcols).reshape(K4.shape)",
        "(maps.reshape(-1, depth).T @ dcols).reshape(K4.shape)",
    ),
    wrong(
        "kernel_turned_round_backwards",
        "flipped|wrong-operand",
        "dcols @ K4.reshape(depth, -1).T",
        "dcols @ K4[:, :, ::-1, ::-1].reshape(depth, -1).T",
    ),
    wrong(
        "flattened_before_the_elu",
        "wrong-operand|different-function",
        'grads["enc_W"] = dcode.T @ flat',
        'grads["enc_W"] = dcode.T @ a1.reshape(n, -1)',
    ),
    wrong(
        "unflattened_channels_last",
        "wrong-axis|wrong-operand",
        "dh1 = (dcode @ W2).reshape(h1.shape)",
        "dh1 = (dcode @ W2).reshape(n, 2, 3, -1).transpose(0, 3, 1, 2)",
    ),
    wrong(
        "elu_slope_at_its_output",
        "derivative-at-wrong-point",
        "np.where(a1 > 0, 1.0, h1 + 1)",
        "np.where(a1 > 0, 1.0, np.exp(np.minimum(h1, 0)))",
    ),
    wrong("elu_slope_forgotten", "missing-derivative", "da1 = dh1 * np.where(a1 > 0, 1.0, h1 + 1)", "da1 = dh1"),
    wrong(
        "stride_forgotten_backwards",
        "wrong-operand|different-function",
        "top, left = i * stride, j * stride",
        "top, left = i, j",
    ),
    wrong(
        "kernel_of_the_last_patch",
        "overwritten|last-step-only",
        "dK += np.tensordot(",
        "dK = np.tensordot(",
    ),
    wrong(
        "windows_overwrite_each_other_in_both",
        "overwritten|different-function",
        "v : v + stride * columns : stride] += cols",
        "v : v + stride * columns : stride] = cols",
    ),
    wrong(
        "input_padded_at_one_side_in_both",
        "different-function|wrong-operand",
        "padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))",
        "padded = np.pad(x, ((0, 0), (0, 0), (0, 2 * pad), (0, 2 * pad)))",
    ),
    wrong(
        "squared_error_in_both",
        "different-function",
        "loss = -np.sum(x * np.log(p) + (1 - x) * np.log(1 - p)) / n",
        "loss = np.sum((p - x) ** 2) / n",
        "dlogits = (p - x) / n",
        "dlogits = 2 * (p - x) * p * (1 - p) / n",
    ),
    wrong(
        "averaged_over_pixels_in_cost",
        "wrong-loss",
        "loss = -np.sum(x * np.log(p) + (1 - x) * np.log(1 - p)) / n",
        "loss = -np.mean(x * np.log(p) + (1 - x) * np.log(1 - p))",
    ),
]

TOGETHER = [
    ("error_averaged_over_pixels_too", "elu_slope_at_its_output"),
    ("kernel_turned_round_backwards", "stride_forgotten_backwards"),
    ("decoder_bias_averaged_over_positions", "flattened_before_the_elu"),
    ("maps_unfolded_without_moving_channels", "input_padded_at_one_side_in_both"),
    ("dark_pixels_forgotten", "unflattened_channels_last"),
    ("elu_slope_forgotten", "kernel_of_the_last_patch"),
    ("sigmoid_slope_once_more", "flattened_before_the_elu", "stride_forgotten_backwards"),
    ("kernel_turned_round_backwards", "decoder_bias_averaged_over_positions", "elu_slope_forgotten"),
]

RIGHT = [
    right(
        "kernel_gradient_by_offsets",
        "    for i in range(dout.shape[2]):\n"
        "        for j in range(dout.shape[3]):\n"
        "            top, left = i * stride, j * stride\n"
        "            patch = padded[:, :, top : top + kh, left : left + kw]\n"
        "            dK += np.tensordot(dout[:, :, i, j], patch, axes=(0, 0))\n",
        "    rows, columns = dout.shape[2:]\n"
        "    for u in range(kh):\n"
        "        for v in range(kw):\n"
        "            seen = padded[:, :, u : u + stride * rows : stride, v : v + stride * columns : stride]\n"
        '            dK[:, :, u, v] = np.einsum("nfij,ncij->fc", dout, seen)\n',
    ),
    right(
        "stamps_on_a_canvas",
        "    for u in range(size):\n"
        "        for v in range(size):\n"
        "            canvas[:, :, u : u + stride * rows : stride, v : v + stride * columns : stride]"
        " += cols[:, :, u, v]\n",
        "    for i in range(rows):\n"
        "        for j in range(columns):\n"
        "            stamp = cols[:, :, :, :, i, j]\n"
        "            canvas[:, :, i * stride : i * stride + size, j * stride : j * stride + size] += stamp\n",
        "    p = 1 / (1 + np.exp(-logits))\n    loss = -np.sum(x * np.log(p) + (1 - x) * np.log(1 - p)) / n\n",
        "    p = 0.5 * (1 + np.tanh(0.5 * logits))\n    loss = np.sum(np.logaddexp(0, logits) - x * logits) / n\n",
    ),
    right(
        "decoder_gradient_as_a_convolution",
        "    dspots = dcols @ K4.reshape(depth, -1).T\n"
        "    dmaps = dspots.reshape(n, 2, 3, depth).transpose(0, 3, 1, 2)\n",
        "    dmaps, _ = conv(dlogits, K4, 0.0)\n",
        "(spots.T @ dcols).reshape(K4.shape)",
        'np.einsum("sd,sk->dk", spots, dcols).reshape(K4.shape)',
        "da1 = dh1 * np.where(a1 > 0, 1.0, h1 + 1)",
        "da1 = dh1 * np.exp(np.minimum(a1, 0))",
    ),
]
