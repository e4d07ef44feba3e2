"""A U-Net of one level on signals: pooled by means, upsampled linearly, joined to its skip, also told coarsely."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, y):
    skip = F.relu(F.conv1d(x, params["K1"], params["b1"], padding=1))
    low = F.elu(F.conv1d(F.avg_pool1d(skip, 2), params["K2"], params["b2"], padding=1))
    up = F.interpolate(low, scale_factor=2, mode="linear", align_corners=False)
    joined = torch.cat([up, skip], dim=1)
    high = F.leaky_relu(F.conv1d(joined, params["K3"], params["b3"], padding=1), 0.2)
    fine = F.conv1d(high, params["K4"], params["b4"])
    coarse = F.conv1d(low, params["K5"], params["b5"])
    return {"fine": F.mse_loss(fine, y), "coarse": 0.3 * F.mse_loss(coarse, F.avg_pool1d(y, 2))}


def windows_of(a, width):
    padded = np.pad(a, ((0, 0), (0, 0), (width // 2, width // 2)))
    return np.lib.stride_tricks.sliding_window_view(padded, width, axis=2)


def conv(a, K, b):
    return np.einsum("nctk,ock->not", windows_of(a, K.shape[2]), K) + b[:, None]


def conv_backward(dout, a, K):
    """The gradients of the input, the kernels and the bias."""
    width, length = K.shape[2], a.shape[2]
    pad = width // 2
    dK = np.einsum("not,nctk->ock", dout, windows_of(a, width))
    db = dout.sum(axis=(0, 2))
    dpadded = np.zeros((a.shape[0], a.shape[1], length + 2 * pad))
    for k in range(width):
        dpadded[:, :, k : k + length] += np.einsum("not,oc->nct", dout, K[:, :, k])
    return dpadded[:, :, pad : pad + length], dK, db


def pool(a):
    n, channels, length = a.shape
    return a.reshape(n, channels, length // 2, 2).mean(axis=3)


def pool_backward(dout):
    return np.repeat(dout, 2, axis=2) / 2


def upsample(a):
    left = np.concatenate([a[:, :, :1], a[:, :, :-1]], axis=2)
    right = np.concatenate([a[:, :, 1:], a[:, :, -1:]], axis=2)
    pairs = np.stack([0.75 * a + 0.25 * left, 0.75 * a + 0.25 * right], axis=3)
    return pairs.reshape(a.shape[0], a.shape[1], -1)


def upsample_backward(dout):
    even, odd = dout[:, :, 0::2], dout[:, :, 1::2]
    da = 0.75 * (even + odd)
    da[:, :, :-1] += 0.25 * even[:, :, 1:]
    da[:, :, 1:] += 0.25 * odd[:, :, :-1]
    # beyond the ends the outermost values stand in for their missing neighbours
    da[:, :, 0] += 0.25 * even[:, :, 0]
    da[:, :, -1] += 0.25 * odd[:, :, -1]
    return da


def candidate(params, x, y):
    K1, K2, K3, K4, K5 = (params[f"K{i}"] for i in range(1, 6))
    b1, b2, b3, b4, b5 = (params[f"b{i}"] for i in range(1, 6))

    z1 = conv(x, K1, b1)
    skip = np.maximum(z1, 0)
    pooled = pool(skip)
    z2 = conv(pooled, K2, b2)
    low = np.where(z2 > 0, z2, np.exp(np.minimum(z2, 0)) - 1)
    up = upsample(low)
    joined = np.concatenate([up, skip], axis=1)
    z3 = conv(joined, K3, b3)
    high = np.where(z3 > 0, z3, 0.2 * z3)
    fine = conv(high, K4, b4)
    coarse = conv(low, K5, b5)
    y_low = pool(y)
    loss = np.mean((fine - y) ** 2) + 0.3 * np.mean((coarse - y_low) ** 2)

    dfine = 2 * (fine - y) / y.size
    dcoarse = 0.3 * 2 * (coarse - y_low) / y_low.size
    dhigh, dK4, db4 = conv_backward(dfine, high, K4)
    dz3 = dhigh * np.where(z3 > 0, 1.0, 0.2)
    djoined, dK3, db3 = conv_backward(dz3, joined, K3)
    channels = low.shape[1]
    dup, dskip = djoined[:, :channels], djoined[:, channels:]
    dlow, dK5, db5 = conv_backward(dcoarse, low, K5)
    dlow = dlow + upsample_backward(dup)
    dz2 = dlow * np.where(z2 > 0, 1.0, low + 1)
    dpooled, dK2, db2 = conv_backward(dz2, pooled, K2)
    dskip = dskip + pool_backward(dpooled)
    dz1 = dskip * (z1 > 0)
    _, dK1, db1 = conv_backward(dz1, x, K1)
    kernels = {"K1": dK1, "K2": dK2, "K3": dK3, "K4": dK4, "K5": dK5}
    return loss, {**kernels, "b1": db1, "b2": db2, "b3": db3, "b4": db4, "b5": db5}


def problem(rng):
    params = {}
    for i, (outputs, inputs, width) in enumerate([(4, 2, 3), (4, 4, 3), (3, 8, 3), (2, 3, 1), (2, 4, 1)], start=1):
        params[f"K{i}"] = rng.normal(size=(outputs, inputs, width)) * 1.2 / np.sqrt(inputs * width)
        params[f"b{i}"] = rng.normal(size=outputs) * 0.4
    params["K5"] *= 0.4
    params["K4"] *= 1.5
    return params, (rng.normal(size=(5, 2, 10)), rng.normal(size=(5, 2, 10)) + 0.3)


WRONG = [
    wrong("skip_route_forgotten", "missing-path", "dskip = dskip + pool_backward", "dskip = pool_backward"),
    wrong(
        "pooling_not_halved_backwards",
        "wrong-scale|missing-derivative",
        "return np.repeat(dout, 2, axis=2) / 2",
        "return np.repeat(dout, 2, axis=2)",
    ),
    wrong(
        "pooled_gradient_tiled",
        "wrong-axis|wrong-operand|different-function",
        "return np.repeat(dout, 2, axis=2) / 2",
        "return np.tile(dout, 2) / 2",
    ),
    wrong(
        "halves_of_the_join_swapped",
        "wrong-operand",
        "dup, dskip = djoined[:, :channels], djoined[:, channels:]",
        "dskip, dup = djoined[:, :channels], djoined[:, channels:]",
    ),
    wrong(
        "upsampling_backwards_as_nearest",
        "different-function",
        "    da = 0.75 * (even + odd)\n"
        "    da[:, :, :-1] += 0.25 * even[:, :, 1:]\n"
        "    da[:, :, 1:] += 0.25 * odd[:, :, :-1]\n"
        "    # beyond the ends the outermost values stand in for their missing neighbours\n"
        "    da[:, :, 0] += 0.25 * even[:, :, 0]\n"
        "    da[:, :, -1] += 0.25 * odd[:, :, -1]\n"
        "    return da\n",
        "    return even + odd\n",
    ),
    wrong(
        "ends_of_the_upsampling_forgotten",
        "missing-path|different-function",
        "    da[:, :, 0] += 0.25 * even[:, :, 0]\n    da[:, :, -1] += 0.25 * odd[:, :, -1]\n",
        "",
    ),
    wrong(
        "windows_overwrite_each_other",
        "overwritten",
        "dpadded[:, :, k : k + length] += ",
        "dpadded[:, :, k : k + length] = ",
    ),
    wrong(
        "kernel_reversed_backwards",
        "flipped|wrong-operand",
        "dout, K[:, :, k])",
        "dout, K[:, :, width - 1 - k])",
    ),
    wrong(
        "biases_averaged_over_positions", "wrong-reduction|wrong-scale", "dout.sum(axis=(0, 2))", "dout.sum(0).mean(1)"
    ),
    wrong(
        "coarse_output_not_into_the_network",
        "missing-path",
        "dlow = dlow + upsample_backward(dup)",
        "dlow = upsample_backward(dup)",
    ),
    wrong(
        "coarse_weight_forgotten",
        "wrong-term-weight|wrong-scale",
        "dcoarse = 0.3 * 2 * (coarse - y_low)",
        "dcoarse = 2 * (coarse - y_low)",
    ),
    wrong(
        "fine_error_averaged_over_samples_only",
        "wrong-term-weight|wrong-scale|wrong-reduction",
        "dfine = 2 * (fine - y) / y.size",
        "dfine = 2 * (fine - y) / len(y)",
    ),
    wrong(
        "skip_strided_for_pooled",
        "wrong-operand|different-function",
        "conv_backward(dz2, pooled, K2)",
        "conv_backward(dz2, skip[:, :, ::2], K2)",
    ),
    wrong(
        "elu_slope_at_its_output",
        "derivative-at-wrong-point",
        "np.where(z2 > 0, 1.0, low + 1)",
        "np.where(z2 > 0, 1.0, np.exp(low))",
    ),
    wrong("plain_relu_slope_in_the_decoder", "different-function", "np.where(z3 > 0, 1.0, 0.2)", "(z3 > 0)"),
    wrong("encoder_slope_forgotten", "missing-derivative", "dz1 = dskip * (z1 > 0)", "dz1 = dskip"),
    wrong(
        "skip_taken_before_the_relu_in_both",
        "wrong-operand|different-function",
        "np.concatenate([up, skip], axis=1)",
        "np.concatenate([up, z1], axis=1)",
        "    dskip = dskip + pool_backward(dpooled)\n    dz1 = dskip * (z1 > 0)\n",
        "    dz1 = dskip + pool_backward(dpooled) * (z1 > 0)\n",
    ),
    wrong(
        "halves_pooled_for_neighbours_in_both",
        "wrong-axis|wrong-operand|different-function",
        "a.reshape(n, channels, length // 2, 2).mean(axis=3)",
        "a.reshape(n, channels, 2, length // 2).mean(axis=2)",
        "np.repeat(dout, 2, axis=2) / 2",
        "np.concatenate([dout, dout], axis=2) / 2",
    ),
    wrong(
        "coarse_target_not_pooled_in_both",
        "wrong-operand|different-function",
        "y_low = pool(y)",
        "y_low = y[:, :, ::2]",
    ),
    wrong("coarse_error_without_weight_in_cost", "wrong-loss", " + 0.3 * np.mean(", " + np.mean("),
]

TOGETHER = [
    ("skip_route_forgotten", "plain_relu_slope_in_the_decoder"),
    ("pooling_not_halved_backwards", "coarse_weight_forgotten"),
    ("halves_of_the_join_swapped", "biases_averaged_over_positions"),
    ("ends_of_the_upsampling_forgotten", "encoder_slope_forgotten"),
    ("skip_strided_for_pooled", "fine_error_averaged_over_samples_only"),
    ("windows_overwrite_each_other", "elu_slope_at_its_output", "coarse_output_not_into_the_network"),
    ("upsampling_backwards_as_nearest", "encoder_slope_forgotten", "kernel_reversed_backwards"),
]

RIGHT = [
    right(
        "convolution_of_the_padded_gradient",
        "    dpadded = np.zeros((a.shape[0], a.shape[1], length + 2 * pad))\n"
        "    for k in range(width):\n"
        '        dpadded[:, :, k : k + length] += np.einsum("not,oc->nct", dout, K[:, :, k])\n'
        "    return dpadded[:, :, pad : pad + length], dK, db\n",
        "    turned = K[:, :, ::-1].transpose(1, 0, 2)\n    return conv(dout, turned, np.zeros(len(turned))), dK, db\n",
        "    pad = width // 2\n",
        "",
        "width, length = K.shape[2], a.shape[2]",
        "width = K.shape[2]",
    ),
    right(
        "upsampling_as_a_matrix",
        "    da = 0.75 * (even + odd)\n"
        "    da[:, :, :-1] += 0.25 * even[:, :, 1:]\n"
        "    da[:, :, 1:] += 0.25 * odd[:, :, :-1]\n"
        "    # beyond the ends the outermost values stand in for their missing neighbours\n"
        "    da[:, :, 0] += 0.25 * even[:, :, 0]\n"
        "    da[:, :, -1] += 0.25 * odd[:, :, -1]\n"
        "    return da\n",
        "    return dout @ matrix.T\n",
        "    even, odd = dout[:, :, 0::2], dout[:, :, 1::2]\n",
        "    matrix = upsample(np.eye(dout.shape[2] // 2)[None])[0]\n",
    ),
    right(
        "joined_kernel_in_two_parts",
        "    djoined, dK3, db3 = conv_backward(dz3, joined, K3)\n"
        "    channels = low.shape[1]\n"
        "    dup, dskip = djoined[:, :channels], djoined[:, channels:]\n",
        "    channels = low.shape[1]\n"
        "    dup, dK3_up, db3 = conv_backward(dz3, up, K3[:, :channels])\n"
        "    dskip, dK3_skip, _ = conv_backward(dz3, skip, K3[:, channels:])\n"
        "    dK3 = np.concatenate([dK3_up, dK3_skip], axis=1)\n",
        "return np.repeat(dout, 2, axis=2) / 2",
        "return np.kron(dout, [0.5, 0.5])",
    ),
]
