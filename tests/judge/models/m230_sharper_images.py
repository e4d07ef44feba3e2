"""Images made twice as large: convolution, group norm, SiLU, convolution, pixel shuffle, added to repeated pixels."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, small, large):
    p = params
    h = F.conv2d(small, p["conv1"], p["bias1"], padding=1)
    h = F.silu(F.group_norm(h, 2, p["gamma"], p["beta"], eps=1e-4))
    fine = F.pixel_shuffle(F.conv2d(h, p["conv2"], p["bias2"], padding=1), 2)
    made = fine + p["mix"][:, None, None] * F.interpolate(small, scale_factor=2, mode="nearest")
    return torch.sqrt((made - large) ** 2 + 0.3**2).sum(dim=(1, 2, 3)).mean()


def windows(x, size=3):
    pad = size // 2
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    return np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(2, 3))


def conv(x, kernels, bias):
    seen = windows(x)
    return np.einsum("nchwij,fcij->nfhw", seen, kernels) + bias[:, None, None], seen


def conv_backward(dout, kernels, seen):
    dkernels = np.einsum("nfhw,nchwij->fcij", dout, seen)
    turned = kernels[:, :, ::-1, ::-1]
    dx = np.einsum("nfhwij,fcij->nchw", windows(dout), turned)
    return dx, dkernels, dout.sum(axis=(0, 2, 3))


def group_norm(x, gamma, beta, groups, eps):
    n, channels = x.shape[:2]
    flat = x.reshape(n, groups, -1)
    mean = flat.mean(axis=2, keepdims=True)
    var = ((flat - mean) ** 2).mean(axis=2, keepdims=True)
    inv = 1 / np.sqrt(var + eps)
    xhat = ((flat - mean) * inv).reshape(x.shape)
    return gamma[:, None, None] * xhat + beta[:, None, None], {"xhat": xhat, "inv": inv, "gamma": gamma}


def group_norm_backward(dy, cache):
    xhat, inv, gamma = cache["xhat"], cache["inv"], cache["gamma"]
    n, groups = inv.shape[:2]
    dgamma = np.sum(dy * xhat, axis=(0, 2, 3))
    dbeta = np.sum(dy, axis=(0, 2, 3))
    dxhat = (dy * gamma[:, None, None]).reshape(n, groups, -1)
    unit = xhat.reshape(n, groups, -1)
    m = unit.shape[2]
    s1 = dxhat.sum(axis=2, keepdims=True)
    s2 = (dxhat * unit).sum(axis=2, keepdims=True)
    dx = inv / m * (m * dxhat - s1 - unit * s2)
    return dx.reshape(dy.shape), dgamma, dbeta


def shuffle(x, r):
    n, channels, height, width = x.shape
    x = x.reshape(n, channels // r**2, r, r, height, width)
    return x.transpose(0, 1, 4, 2, 5, 3).reshape(n, -1, height * r, width * r)


def unshuffle(x, r):
    n, channels, height, width = x.shape
    x = x.reshape(n, channels, height // r, r, width // r, r)
    return x.transpose(0, 1, 3, 5, 2, 4).reshape(n, channels * r * r, height // r, width // r)


def candidate(params, small, large):
    p = params
    n = len(small)
    a1, seen1 = conv(small, p["conv1"], p["bias1"])
    normed, cache = group_norm(a1, p["gamma"], p["beta"], 2, 1e-4)
    sig = 1 / (1 + np.exp(-normed))
    h = normed * sig
    a2, seen2 = conv(h, p["conv2"], p["bias2"])
    repeated = small.repeat(2, axis=2).repeat(2, axis=3)
    made = shuffle(a2, 2) + p["mix"][:, None, None] * repeated
    gap = made - large
    root = np.sqrt(gap**2 + 0.3**2)
    loss = root.sum() / n

    grads = {}
    dmade = gap / root / n
    grads["mix"] = (dmade * repeated).sum(axis=(0, 2, 3))
    da2 = unshuffle(dmade, 2)
    dh, grads["conv2"], grads["bias2"] = conv_backward(da2, p["conv2"], seen2)
    dnormed = dh * (sig + normed * sig * (1 - sig))
    da1, grads["gamma"], grads["beta"] = group_norm_backward(dnormed, cache)
    _, grads["conv1"], grads["bias1"] = conv_backward(da1, p["conv1"], seen1)
    return loss, grads


def problem(rng):
    params = {
        "conv1": rng.normal(size=(6, 2, 3, 3)) * 0.4,
        "bias1": rng.normal(size=6) * 0.4,
        "gamma": rng.uniform(0.5, 1.6, size=6),
        "beta": rng.normal(size=6) * 0.4,
        "conv2": rng.normal(size=(8, 6, 3, 3)) * 0.2,
        "bias2": rng.normal(size=8) * 0.3,
        "mix": rng.normal(size=2) * 0.5,
    }
    return params, (rng.normal(size=(4, 2, 5, 7)), rng.normal(size=(4, 2, 10, 14)))


WRONG = [
    wrong(
        "kernel_not_turned_on_the_way_back",
        "flipped|wrong-operand",
        "turned = kernels[:, :, ::-1, ::-1]",
        "turned = kernels",
    ),
    wrong(
        "sub_pixels_collected_column_first",
        "wrong-axis|wrong-operand|transposed",
        "return x.transpose(0, 1, 3, 5, 2, 4).reshape",
        "return x.transpose(0, 1, 5, 3, 2, 4).reshape",
    ),
    wrong(
        "sub_pixels_before_channels",
        "wrong-axis|wrong-operand",
        "return x.transpose(0, 1, 3, 5, 2, 4).reshape",
        "return x.transpose(0, 3, 5, 1, 2, 4).reshape",
    ),
    wrong(
        "group_counted_as_one_row_of_pixels",
        "wrong-scale|wrong-reduction",
        "m = unit.shape[2]",
        "m = dy.shape[3] * dy.shape[1] // groups",
    ),
    wrong(
        "gain_forgotten_before_the_group_sums",
        "missing-derivative|wrong-operand",
        "dxhat = (dy * gamma[:, None, None]).reshape(n, groups, -1)",
        "dxhat = dy.reshape(n, groups, -1)",
    ),
    wrong(
        "gain_multiplied_after_the_group_sums",
        "wrong-operand|different-function",
        "dxhat = (dy * gamma[:, None, None]).reshape(n, groups, -1)",
        "dxhat = dy.reshape(n, groups, -1)",
        "return dx.reshape(dy.shape), dgamma, dbeta",
        "return dx.reshape(dy.shape) * gamma[:, None, None], dgamma, dbeta",
    ),
    wrong(
        "variance_of_the_group_held_fixed",
        "missing-path",
        "(m * dxhat - s1 - unit * s2)",
        "(m * dxhat - s1)",
    ),
    wrong(
        "sums_over_the_batch_too",
        "wrong-axis|wrong-reduction",
        "s1 = dxhat.sum(axis=2, keepdims=True)\n    s2 = (dxhat * unit).sum(axis=2, keepdims=True)",
        "s1 = dxhat.sum(axis=(0, 2), keepdims=True) / n\n    s2 = (dxhat * unit).sum(axis=(0, 2), keepdims=True) / n",
    ),
    wrong(
        "silu_slope_at_the_output",
        "derivative-at-wrong-point",
        "dnormed = dh * (sig + normed * sig * (1 - sig))",
        "s = 1 / (1 + np.exp(-h))\n    dnormed = dh * (s + h * s * (1 - s))",
    ),
    wrong(
        "silu_slope_only_its_sigmoid",
        "missing-path|different-function",
        "dnormed = dh * (sig + normed * sig * (1 - sig))",
        "dnormed = dh * sig",
    ),
    wrong(
        "plain_absolute_error_backwards",
        "different-function",
        "dmade = gap / root / n",
        "dmade = np.sign(gap) / n",
    ),
    wrong(
        "channels_interleaved_in_groups_in_both",
        "wrong-axis|different-function",
        "flat = x.reshape(n, groups, -1)",
        "flat = x.reshape(n, channels // groups, groups, -1).swapaxes(1, 2).reshape(n, groups, -1)",
        "xhat = ((flat - mean) * inv).reshape(x.shape)",
        "xhat = ((flat - mean) * inv).reshape(n, groups, channels // groups, -1).swapaxes(1, 2).reshape(x.shape)",
        "dxhat = (dy * gamma[:, None, None]).reshape(n, groups, -1)",
        "sides = (n, dy.shape[1] // groups, groups, -1)\n"
        "    dxhat = (dy * gamma[:, None, None]).reshape(sides).swapaxes(1, 2).reshape(n, groups, -1)",
        "unit = xhat.reshape(n, groups, -1)",
        "unit = xhat.reshape(sides).swapaxes(1, 2).reshape(n, groups, -1)",
        "return dx.reshape(dy.shape), dgamma, dbeta",
        "return dx.reshape(n, groups, sides[1], -1).swapaxes(1, 2).reshape(dy.shape), dgamma, dbeta",
    ),
]

TOGETHER = [
    ("kernel_not_turned_on_the_way_back", "variance_of_the_group_held_fixed"),
    ("sub_pixels_collected_column_first", "gain_forgotten_before_the_group_sums"),
    ("silu_slope_at_the_output", "group_counted_as_one_row_of_pixels"),
    ("plain_absolute_error_backwards", "sums_over_the_batch_too"),
]

RIGHT = [
    right(
        "sub_pixels_by_slices",
        "    x = x.reshape(n, channels, height // r, r, width // r, r)\n"
        "    return x.transpose(0, 1, 3, 5, 2, 4).reshape(n, channels * r * r, height // r, width // r)\n",
        "    out = np.empty((n, channels * r * r, height // r, width // r))\n"
        "    for i in range(r):\n"
        "        for j in range(r):\n"
        "            out[:, i * r + j :: r * r] = x[:, :, i::r, j::r]\n"
        "    return out\n",
        "    dx = inv / m * (m * dxhat - s1 - unit * s2)\n",
        "    dx = inv * (dxhat - s1 / m) - inv * unit * (s2 / m)\n",
    ),
]
