"""An image network: padded convolution, batch norm over images and positions, ReLU, average pooling, cross-entropy."""

import numpy as np
import torch.nn.functional as F

from tests.judge.corpus import ANY, right, wrong


def reference(params, images, labels):
    maps = F.conv2d(images, params["K"], padding=1)
    maps = F.batch_norm(maps, None, None, params["gain"], params["shift"], training=True, eps=1e-3)
    pooled = F.avg_pool2d(F.relu(maps), kernel_size=2)
    logits = F.linear(pooled.flatten(start_dim=1), params["W"], params["b"])
    return F.cross_entropy(logits, labels)


def neighbourhoods(images, size):
    """One row for each pixel of each image: the channels of the square around it, with zeros beyond the edge."""
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(2, 3))
    return windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, images.shape[1] * size * size)


def candidate(params, images, labels):
    K, gain, shift = params["K"], params["gain"], params["shift"]
    n, _, rows, columns = images.shape
    filters = len(K)
    over = (0, 2, 3)
    m = n * rows * columns

    # forward
    seen = neighbourhoods(images, K.shape[-1])
    z = (seen @ K.reshape(filters, -1).T).reshape(n, rows, columns, filters).transpose(0, 3, 1, 2)
    centred = z - z.mean(axis=over, keepdims=True)
    var = np.sum(centred**2, axis=over, keepdims=True) / m
    inv = 1 / np.sqrt(var + 1e-3)
    xhat = centred * inv
    y = gain[None, :, None, None] * xhat + shift[None, :, None, None]
    a = np.maximum(y, 0)
    pooled = a.reshape(n, filters, rows // 2, 2, columns // 2, 2).mean(axis=(3, 5))
    flat = pooled.reshape(n, -1)
    logits = flat @ params["W"].T + params["b"]
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    loss = -np.log(p[np.arange(n), labels]).sum() / n

    # backward
    hot = np.zeros_like(p)
    hot[np.arange(n), labels] = 1
    dlogits = (p - hot) / n
    dW = dlogits.T @ flat
    db = dlogits.sum(axis=0)
    dpooled = (dlogits @ params["W"]).reshape(pooled.shape)
    da = dpooled.repeat(2, axis=2).repeat(2, axis=3) / 4
    dy = da * (y > 0)
    dgain = np.sum(dy * xhat, axis=(0, 2, 3))
    dshift = dy.sum(axis=(0, 2, 3))
    dxhat = dy * gain[None, :, None, None]
    dvar = np.sum(dxhat * centred, axis=over, keepdims=True) * -0.5 * (var + 1e-3) ** -1.5
    dmean = -np.sum(dxhat * inv, axis=over, keepdims=True)
    dz = dxhat * inv
    dz = dz + 2 * centred * dvar / m
    dz = dz + dmean / m
    dK = (dz.transpose(1, 0, 2, 3).reshape(filters, -1) @ seen).reshape(K.shape)
    return loss, {"K": dK, "gain": dgain, "shift": dshift, "W": dW, "b": db}


def problem(rng):
    params = {
        "K": rng.normal(size=(7, 2, 3, 3)) * 0.4,
        "gain": rng.uniform(0.5, 1.6, size=7),
        "shift": rng.normal(size=7) * 0.5,
        "W": rng.normal(size=(8, 42)) * 0.5,
        "b": rng.normal(size=8) * 0.5,
    }
    return params, (rng.normal(size=(5, 2, 4, 6)) + 0.3, rng.integers(0, 8, size=5))


WRONG = [
    wrong("relu_slope_forgotten", "missing-derivative", "dy = da * (y > 0)", "dy = da"),
    wrong(
        "relu_mask_before_the_norm",
        "derivative-at-wrong-point|wrong-operand",
        "dy = da * (y > 0)",
        "dy = da * (z > 0)",
    ),
    wrong(
        "pooling_not_divided",
        "wrong-scale|wrong-reduction|missing-derivative",
        ".repeat(2, axis=3) / 4",
        ".repeat(2, axis=3)",
    ),
    wrong(
        "pooled_gradient_tiled",
        ANY,
        "dpooled.repeat(2, axis=2).repeat(2, axis=3) / 4",
        "np.tile(dpooled, (1, 1, 2, 2)) / 4",
    ),
    wrong("variance_as_constant", "missing-path", "    dz = dz + 2 * centred * dvar / m\n", ""),
    wrong("mean_as_constant", "missing-path", "    dz = dz + dmean / m\n", ""),
    wrong(
        "statistics_as_constants",
        "missing-path|diagonal-jacobian",
        "    dz = dz + 2 * centred * dvar / m\n    dz = dz + dmean / m\n",
        "",
    ),
    wrong(
        "statistics_averaged_over_images_only",
        "wrong-scale|wrong-reduction",
        "dz = dz + 2 * centred * dvar / m\n    dz = dz + dmean / m",
        "dz = dz + 2 * centred * dvar / n\n    dz = dz + dmean / n",
    ),
    wrong("gain_forgotten_backwards", "missing-derivative", "dxhat = dy * gain[None, :, None, None]", "dxhat = dy"),
    wrong("gain_of_the_convolution", "wrong-operand", "dgain = np.sum(dy * xhat", "dgain = np.sum(dy * z"),
    wrong("gain_of_the_output", "wrong-operand", "dgain = np.sum(dy * xhat", "dgain = np.sum(dy * y"),
    wrong(
        "shift_averaged_over_positions",
        "wrong-reduction|wrong-scale",
        "dshift = dy.sum(axis=(0, 2, 3))",
        "dshift = dy.mean(axis=(2, 3)).sum(axis=0)",
    ),
    wrong(
        "power_of_the_variance",
        "different-function|wrong-operand|missing-derivative",
        "* -0.5 * (var + 1e-3) ** -1.5",
        "* -0.5 * (var + 1e-3) ** -0.5",
    ),
    wrong(
        "variance_path_of_the_wrong_sign",
        "wrong-sign",
        "* -0.5 * (var + 1e-3) ** -1.5",
        "* 0.5 * (var + 1e-3) ** -1.5",
    ),
    wrong(
        "deviation_not_rooted_in_both",
        "different-function",
        "inv = 1 / np.sqrt(var + 1e-3)",
        "inv = 1 / (var + 1e-3)",
        "* -0.5 * (var + 1e-3) ** -1.5",
        "* -((var + 1e-3) ** -2)",
    ),
    wrong(
        "each_image_normalised_in_both",
        "wrong-axis|different-function",
        "over = (0, 2, 3)",
        "over = (2, 3)",
        "m = n * rows * columns",
        "m = rows * columns",
    ),
    wrong(
        "kernel_turned_round_in_both",
        "flipped|different-function",
        "seen @ K.reshape(filters, -1).T",
        "seen @ K[:, :, ::-1, ::-1].reshape(filters, -1).T",
        "@ seen).reshape(K.shape)",
        "@ seen).reshape(K.shape)[:, :, ::-1, ::-1]",
    ),
    wrong(
        "kernel_gradient_turned_round",
        "flipped",
        "@ seen).reshape(K.shape)",
        "@ seen).reshape(K.shape)[:, :, ::-1, ::-1]",
    ),
    wrong("not_averaged_over_images", "wrong-scale|wrong-reduction", "dlogits = (p - hot) / n", "dlogits = p - hot"),
    wrong(
        "softmax_slope_on_top",
        "extra-derivative",
        "dlogits = (p - hot) / n",
        "dlogits = (p - hot) * p * (1 - p) / n",
    ),
]

TOGETHER = [
    ("relu_slope_forgotten", "variance_as_constant"),
    ("pooling_not_divided", "gain_of_the_convolution"),
    ("relu_mask_before_the_norm", "shift_averaged_over_positions"),
    ("gain_forgotten_backwards", "kernel_gradient_turned_round"),
    ("statistics_as_constants", "softmax_slope_on_top"),
    ("mean_as_constant", "gain_of_the_output", "not_averaged_over_images"),
]

RIGHT = [
    right(
        "norm_by_its_projection",
        "    dz = dxhat * inv\n    dz = dz + 2 * centred * dvar / m\n    dz = dz + dmean / m\n",
        "    along = np.mean(dxhat * xhat, axis=over, keepdims=True)\n"
        "    dz = inv * (dxhat - dxhat.mean(axis=over, keepdims=True) - xhat * along)\n",
    ),
    right(
        "norm_by_gain_and_shift",
        "    dz = dxhat * inv\n    dz = dz + 2 * centred * dvar / m\n    dz = dz + dmean / m\n",
        "    dz = m * dy - dshift[:, None, None] - xhat * dgain[:, None, None]\n"
        "    dz = gain[:, None, None] * inv * dz / m\n",
    ),
    right(
        "pooled_gradient_by_kron",
        "dpooled.repeat(2, axis=2).repeat(2, axis=3) / 4",
        "np.kron(dpooled, [[0.25] * 2] * 2)",
    ),
    right(
        "kernel_by_its_offsets",
        "    dK = (dz.transpose(1, 0, 2, 3).reshape(filters, -1) @ seen).reshape(K.shape)\n",
        "    dK = np.empty_like(K)\n"
        "    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))\n"
        "    for i, j in np.ndindex(K.shape[2:]):\n"
        "        dK[:, :, i, j] = np.einsum('nfrs,ncrs->fc', dz, padded[:, :, i : i + rows, j : j + columns])\n",
    ),
]
