"""Two streams over small images, fine and strided, joined by a gate; pooled by mean and maximum; weighted classes."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, images, y, drop):
    fine = F.leaky_relu(F.conv2d(images, params["K1"], params["b1"], padding=1), 0.15)
    coarse = F.conv2d(images, params["K2"], params["b2"], stride=2)
    mixed = fine + torch.sigmoid(params["gate"]) * F.interpolate(coarse, scale_factor=2, mode="nearest")
    average = F.adaptive_avg_pool2d(mixed, 1).flatten(1)
    peak = F.adaptive_max_pool2d(mixed, 1).flatten(1)
    logits = F.linear(torch.cat([average, peak], dim=1) * drop, params["D"], params["c"])
    weight = torch.tensor([0.6, 1.7, 1.1], dtype=logits.dtype)
    return F.cross_entropy(logits / 1.6, y, weight=weight)


def pad(images):
    return np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))


def conv_same(images, K, b):
    padded = pad(images)
    n, _, height, width = images.shape
    out = np.zeros((n, len(K), height, width))
    for i in range(height):
        for j in range(width):
            patch = padded[:, :, i : i + 3, j : j + 3]
            out[:, :, i, j] = np.tensordot(patch, K, axes=((1, 2, 3), (1, 2, 3))) + b
    return out


def conv_same_backward(dout, images, K):
    padded = pad(images)
    dK = np.zeros_like(K)
    for i in range(dout.shape[2]):
        for j in range(dout.shape[3]):
            patch = padded[:, :, i : i + 3, j : j + 3]
            dK += np.tensordot(dout[:, :, i, j], patch, axes=(0, 0))
    return dK, dout.sum(axis=(0, 2, 3))


def blocks(images):
    """Neighbouring two-by-two blocks, their pixels on the last two axes."""
    n, channels, height, width = images.shape
    return images.reshape(n, channels, height // 2, 2, width // 2, 2).transpose(0, 1, 2, 4, 3, 5)


def enlarge(a):
    return a.repeat(2, axis=2).repeat(2, axis=3)


def enlarge_backward(dout):
    return blocks(dout).sum(axis=(4, 5))


def candidate(params, images, y, drop, slope=0.15, temperature=1.6):
    K1, K2, D = params["K1"], params["K2"], params["D"]
    class_weight = np.array([0.6, 1.7, 1.1])
    n = len(images)
    # streams
    z = conv_same(images, K1, params["b1"])
    fine = np.where(z > 0, z, slope * z)
    coarse = np.einsum("ncijuv,ocuv->noij", blocks(images), K2) + params["b2"][:, None, None]
    large = enlarge(coarse)
    g = 1 / (1 + np.exp(-params["gate"]))
    mixed = fine + g * large
    # pooling and head
    filters, area = mixed.shape[1], mixed.shape[2] * mixed.shape[3]
    flat = mixed.reshape(n, filters, area)
    best = flat.argmax(axis=2)
    pooled = np.concatenate([flat.mean(axis=2), flat.max(axis=2)], axis=1)
    kept = pooled * drop
    logits = (kept @ D.T + params["c"]) / temperature
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    w = class_weight[y]
    loss = -np.sum(w * np.log(p[np.arange(n), y])) / w.sum()

    dlogits = p.copy()
    dlogits[np.arange(n), y] -= 1
    dlogits *= w[:, None] / w.sum()
    dscores = dlogits / temperature
    dD = dscores.T @ kept
    dc = dscores.sum(axis=0)
    dpooled = (dscores @ D) * drop
    daverage, dpeak = dpooled[:, :filters], dpooled[:, filters:]
    dflat = np.repeat(daverage[:, :, None], area, axis=2) / area
    for k in range(n):
        for o in range(filters):
            dflat[k, o, best[k, o]] += dpeak[k, o]
    dmixed = dflat.reshape(mixed.shape)
    # gate and streams
    dg = np.sum(dmixed * large)
    dgate = dg * g * (1 - g)
    dcoarse = enlarge_backward(dmixed * g)
    dK2 = np.einsum("noij,ncijuv->ocuv", dcoarse, blocks(images))
    db2 = dcoarse.sum(axis=(0, 2, 3))
    dz = dmixed * np.where(z > 0, 1.0, slope)
    dK1, db1 = conv_same_backward(dz, images, K1)
    return loss, {"K1": dK1, "b1": db1, "K2": dK2, "b2": db2, "gate": dgate, "D": dD, "c": dc}


def problem(rng):
    params = {
        "K1": rng.normal(size=(7, 2, 3, 3)) * 0.4,
        "b1": rng.normal(size=7) * 0.4,
        "K2": rng.normal(size=(7, 2, 2, 2)) * 0.6,
        "b2": rng.normal(size=7) * 0.4,
        "gate": np.array(0.3 + rng.normal() * 0.2),
        "D": rng.normal(size=(3, 14)) * 0.5,
        "c": rng.normal(size=3) * 0.4,
    }
    drop = (rng.random(size=(5, 14)) < 0.75) / 0.75
    return params, (rng.normal(size=(5, 2, 4, 6)), rng.permutation(np.array([0, 1, 2, 1, 0])), drop)


WRONG = [
    wrong(
        "patches_turned_backwards",
        "flipped",
        "dK += np.tensordot(dout[:, :, i, j], patch, axes=(0, 0))",
        "dK += np.tensordot(dout[:, :, i, j], patch[:, :, ::-1, ::-1], axes=(0, 0))",
    ),
    wrong(
        "kernel_gradient_of_the_last_position",
        "overwritten|last-step-only",
        "dK += np.tensordot(",
        "dK = np.tensordot(",
    ),
    wrong(
        "biases_of_the_fine_stream_averaged_over_pixels",
        "wrong-reduction|wrong-scale",
        "return dK, dout.sum(axis=(0, 2, 3))",
        "return dK, dout.mean(axis=(2, 3)).sum(axis=0)",
    ),
    wrong(
        "repeated_pixels_averaged_backwards",
        "wrong-reduction|wrong-scale",
        "return blocks(dout).sum(axis=(4, 5))",
        "return blocks(dout).mean(axis=(4, 5))",
    ),
    wrong(
        "first_of_the_repeated_pixels_only",
        "missing-path|overwritten|wrong-operand",
        "return blocks(dout).sum(axis=(4, 5))",
        "return dout[:, :, ::2, ::2]",
    ),
    wrong(
        "relu_slope_in_the_leaky_stream",
        "different-function",
        "dz = dmixed * np.where(z > 0, 1.0, slope)",
        "dz = dmixed * (z > 0)",
    ),
    wrong(
        "leaky_slope_where_the_mixture_is_negative",
        "wrong-operand|derivative-at-wrong-point",
        "dz = dmixed * np.where(z > 0, 1.0, slope)",
        "dz = dmixed * np.where(mixed > 0, 1.0, slope)",
    ),
    wrong(
        "gate_slope_forgotten",
        "missing-derivative|wrong-scale",
        "dgate = dg * g * (1 - g)",
        "dgate = dg",
    ),
    wrong(
        "coarse_stream_not_gated_backwards",
        "missing-derivative|wrong-scale|missing-path",
        "dcoarse = enlarge_backward(dmixed * g)",
        "dcoarse = enlarge_backward(dmixed)",
    ),
    wrong(
        "average_not_divided_by_the_area",
        "wrong-reduction|wrong-scale",
        "np.repeat(daverage[:, :, None], area, axis=2) / area",
        "np.repeat(daverage[:, :, None], area, axis=2)",
    ),
    wrong(
        "peak_overwrites_the_average",
        "overwritten|missing-path",
        "dflat[k, o, best[k, o]] += dpeak[k, o]",
        "dflat[k, o, best[k, o]] = dpeak[k, o]",
    ),
    wrong(
        "halves_of_the_pooling_swapped",
        "wrong-operand",
        "daverage, dpeak = dpooled[:, :filters], dpooled[:, filters:]",
        "dpeak, daverage = dpooled[:, :filters], dpooled[:, filters:]",
    ),
    wrong(
        "dense_layer_sees_the_undropped_features",
        "wrong-operand|missing-derivative",
        "dD = dscores.T @ kept",
        "dD = dscores.T @ pooled",
    ),
    wrong(
        "class_weights_on_the_columns",
        "wrong-axis|wrong-operand",
        "dlogits *= w[:, None] / w.sum()",
        "dlogits *= class_weight / w.sum()",
    ),
    wrong(
        "tiled_instead_of_repeated_in_both",
        "different-function|wrong-operand|wrong-axis",
        "return a.repeat(2, axis=2).repeat(2, axis=3)",
        "return np.tile(a, (1, 1, 2, 2))",
        "return blocks(dout).sum(axis=(4, 5))",
        "n, o, height, width = dout.shape\n"
        "    return dout.reshape(n, o, 2, height // 2, 2, width // 2).sum(axis=(2, 4))",
    ),
    wrong(
        "weighted_sum_over_the_batch_size_in_cost",
        "wrong-loss",
        "np.log(p[np.arange(n), y])) / w.sum()",
        "np.log(p[np.arange(n), y])) / n",
    ),
]

TOGETHER = [
    ("patches_turned_backwards", "dense_layer_sees_the_undropped_features"),
    ("repeated_pixels_averaged_backwards", "gate_slope_forgotten"),
    ("halves_of_the_pooling_swapped", "biases_of_the_fine_stream_averaged_over_pixels"),
    ("average_not_divided_by_the_area", "relu_slope_in_the_leaky_stream"),
    ("class_weights_on_the_columns", "coarse_stream_not_gated_backwards"),
    ("peak_overwrites_the_average", "first_of_the_repeated_pixels_only"),
    (
        "kernel_gradient_of_the_last_position",
        "gate_slope_forgotten",
        "dense_layer_sees_the_undropped_features",
    ),
    (
        "leaky_slope_where_the_mixture_is_negative",
        "average_not_divided_by_the_area",
        "repeated_pixels_averaged_backwards",
    ),
]

RIGHT = [
    right(
        "fine_stream_by_kernel_offsets",
        "    for i in range(dout.shape[2]):\n"
        "        for j in range(dout.shape[3]):\n"
        "            patch = padded[:, :, i : i + 3, j : j + 3]\n"
        "            dK += np.tensordot(dout[:, :, i, j], patch, axes=(0, 0))\n",
        "    height, width = dout.shape[2:]\n"
        "    for u in range(3):\n"
        "        for v in range(3):\n"
        '            dK[:, :, u, v] = np.einsum("nohw,nchw->oc", dout, padded[:, :, u : u + height, v : v + width])\n',
    ),
    right(
        "peaks_by_a_mask",
        "    for k in range(n):\n"
        "        for o in range(filters):\n"
        "            dflat[k, o, best[k, o]] += dpeak[k, o]\n",
        "    dflat += np.where(np.arange(area) == best[:, :, None], dpeak[:, :, None], 0.0)\n",
        "    dlogits = p.copy()\n"
        "    dlogits[np.arange(n), y] -= 1\n"
        "    dlogits *= w[:, None] / w.sum()\n"
        "    dscores = dlogits / temperature\n",
        "    share = w / (w.sum() * temperature)\n    dscores = np.diag(share) @ (p - np.eye(len(class_weight))[y])\n",
    ),
    right(
        "gate_applied_after_shrinking",
        "    dg = np.sum(dmixed * large)\n",
        "    shrunk = enlarge_backward(dmixed)\n    dg = np.vdot(shrunk, coarse)\n",
        "dcoarse = enlarge_backward(dmixed * g)",
        "dcoarse = g * shrunk",
        "return blocks(dout).sum(axis=(4, 5))",
        "halves = dout[:, :, 0::2] + dout[:, :, 1::2]\n    return halves[..., 0::2] + halves[..., 1::2]",
    ),
]
