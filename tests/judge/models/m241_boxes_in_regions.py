"""Objects in given regions: convolution, local response norm, maxima of regions, classes and smooth-L1 boxes."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, images, regions, labels, boxes):
    p = params
    maps = F.relu(F.conv2d(images, p["K"], p["k0"], padding=1))
    maps = F.local_response_norm(maps, size=3, alpha=0.9, beta=0.75, k=1.0)
    pooled = []
    for i in range(regions.shape[0]):
        for x1, y1, x2, y2 in regions[i].tolist():
            pooled.append(F.adaptive_max_pool2d(maps[i, :, y1 : y2 + 1, x1 : x2 + 1], (2, 3)).flatten())
    hidden = F.relu(F.linear(torch.stack(pooled), p["W"], p["b"]))
    scores = F.linear(hidden, p["W_class"], p["b_class"])
    moves = F.linear(hidden, p["W_box"], p["b_box"]).unflatten(1, (-1, 4))
    wanted = labels.flatten()
    own = moves[torch.arange(len(wanted)), wanted]
    inside = torch.tensor([1.5, 1.5, 0.7, 0.7], dtype=images.dtype)
    error = F.smooth_l1_loss(inside * own, inside * boxes.flatten(0, 1), beta=0.25, reduction="none").sum(dim=1)
    return {
        "classes": F.cross_entropy(scores, wanted),
        "boxes": (error * (wanted > 0)).sum() / len(wanted),
    }


def conv_forward(x, K, k0):
    n, _, height, width = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    out = np.zeros((n, K.shape[0], height, width))
    for u in range(3):
        for v in range(3):
            out += np.einsum("nchw,fc->nfhw", padded[:, :, u : u + height, v : v + width], K[:, :, u, v])
    return out + k0[None, :, None, None], padded


def conv_backward(dout, padded, K):
    height, width = dout.shape[2:]
    dK = np.zeros_like(K)
    for u in range(3):
        for v in range(3):
            dK[:, :, u, v] = np.einsum("nfhw,nchw->fc", dout, padded[:, :, u : u + height, v : v + width])
    return dK, dout.sum(axis=(0, 2, 3))


def over_neighbours(a):
    """The sum over each channel and the two beside it."""
    total = a.copy()
    total[:, 1:] += a[:, :-1]
    total[:, :-1] += a[:, 1:]
    return total


def lrn_forward(x, alpha=0.9, beta=0.75, k=1.0):
    scale = k + alpha / 3 * over_neighbours(x**2)
    return x * scale**-beta, (x, scale, alpha, beta)


def lrn_backward(dout, cache):
    x, scale, alpha, beta = cache
    out = x * scale**-beta
    ratio = dout * out / scale
    return dout * scale**-beta - 2 * alpha * beta / 3 * x * over_neighbours(ratio)


def roi_pool_forward(maps, regions, rows=2, columns=3):
    n, channels = maps.shape[:2]
    out = np.zeros((n, regions.shape[1], channels, rows, columns))
    argmax = np.zeros((n, regions.shape[1], channels, rows, columns, 2), dtype=int)
    for i in range(n):
        for r, (x1, y1, x2, y2) in enumerate(regions[i]):
            high, wide = y2 - y1 + 1, x2 - x1 + 1
            for a in range(rows):
                for b in range(columns):
                    top, bottom = y1 + a * high // rows, y1 - (-(a + 1) * high // rows)
                    left, end = x1 + b * wide // columns, x1 - (-(b + 1) * wide // columns)
                    for c in range(channels):
                        window = maps[i, c, top:bottom, left:end]
                        y, x = np.unravel_index(window.argmax(), window.shape)
                        out[i, r, c, a, b] = window[y, x]
                        argmax[i, r, c, a, b] = top + y, left + x
    return out, argmax


def roi_pool_backward(dout, argmax, shape):
    dmaps = np.zeros(shape)
    for i, r, c, a, b in np.ndindex(*dout.shape):
        y, x = argmax[i, r, c, a, b]
        dmaps[i, c, y, x] += dout[i, r, c, a, b]
    return dmaps


def smooth_l1(diff, sigma2=4.0):
    """Each element's error and its derivative."""
    near = np.abs(diff) < 1 / sigma2
    error = np.where(near, 0.5 * sigma2 * diff**2, np.abs(diff) - 0.5 / sigma2)
    slope = np.where(near, sigma2 * diff, np.sign(diff))
    return error, slope


def candidate(params, images, regions, labels, boxes):
    p = params
    inside = np.array([1.5, 1.5, 0.7, 0.7])
    z, padded = conv_forward(images, p["K"], p["k0"])
    maps = np.maximum(z, 0)
    normed, lrn_cache = lrn_forward(maps)
    pooled, argmax = roi_pool_forward(normed, regions)
    flat = pooled.reshape(labels.size, -1)
    a = flat @ p["W"].T + p["b"]
    hidden = np.maximum(a, 0)
    scores = hidden @ p["W_class"].T + p["b_class"]
    moves = hidden @ p["W_box"].T + p["b_box"]

    wanted = labels.reshape(-1)
    count = len(wanted)
    every = np.arange(count)
    shifted = scores - scores.max(axis=1, keepdims=True)
    probs = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    loss_class = -np.log(probs[every, wanted]).sum() / count
    blocks = moves.reshape(count, -1, 4)
    diff = inside * (blocks[every, wanted] - boxes.reshape(-1, 4))
    error, slope = smooth_l1(diff)
    object_there = (wanted > 0)[:, None]
    loss_box = (error * object_there).sum() / count
    loss = loss_class + loss_box

    grads = {}
    dscores = probs.copy()
    dscores[every, wanted] -= 1
    dscores /= count
    dblocks = np.zeros_like(blocks)
    dblocks[every, wanted] = slope * inside * object_there / count
    dmoves = dblocks.reshape(count, -1)
    grads["W_class"] = dscores.T @ hidden
    grads["b_class"] = dscores.sum(axis=0)
    grads["W_box"] = dmoves.T @ hidden
    grads["b_box"] = dmoves.sum(axis=0)
    dhidden = dscores @ p["W_class"] + dmoves @ p["W_box"]
    da = dhidden * (a > 0)
    grads["W"] = da.T @ flat
    grads["b"] = da.sum(axis=0)
    dpooled = (da @ p["W"]).reshape(pooled.shape)
    dnormed = roi_pool_backward(dpooled, argmax, normed.shape)
    dmaps = lrn_backward(dnormed, lrn_cache)
    dz = dmaps * (z > 0)
    grads["K"], grads["k0"] = conv_backward(dz, padded, p["K"])
    return loss, grads


def problem(rng):
    n, channels, filters, height, width, inner, classes = 5, 2, 4, 6, 7, 7, 3
    params = {
        "K": rng.normal(size=(filters, channels, 3, 3)) * 0.6,
        "k0": rng.normal(size=filters) * 0.3 + 0.4,
        "W": rng.normal(size=(inner, filters * 6)) * 0.4,
        "b": rng.normal(size=inner) * 0.3 + 0.2,
        "W_class": rng.normal(size=(classes, inner)) * 0.6,
        "b_class": rng.normal(size=classes) * 0.3,
        "W_box": rng.normal(size=(classes * 4, inner)) * 0.4,
        "b_box": rng.normal(size=classes * 4) * 0.3,
    }
    images = rng.normal(size=(n, channels, height, width))
    corners = [
        [[0, 0, 4, 3], [1, 1, 6, 5]],
        [[2, 1, 6, 4], [0, 0, 4, 4]],
        [[1, 0, 5, 5], [0, 2, 3, 5]],
        [[3, 1, 6, 5], [0, 1, 5, 3]],
        [[0, 0, 6, 5], [1, 2, 5, 4]],
    ]
    labels = np.array([[1, 0], [2, 1], [0, 2], [1, 2], [2, 0]])
    boxes = rng.normal(size=(n, 2, 4)) * 0.5
    return params, (images, np.array(corners), labels, boxes)


WRONG = [
    wrong(
        "overlapping_regions_overwrite_each_other",
        "overwritten",
        "dmaps[i, c, y, x] += dout[i, r, c, a, b]",
        "dmaps[i, c, y, x] = dout[i, r, c, a, b]",
    ),
    wrong(
        "error_weights_only_forwards",
        "missing-derivative|wrong-operand",
        "slope * inside * object_there / count",
        "slope * object_there / count",
    ),
    wrong(
        "near_branch_chosen_without_the_absolute_value_backwards",
        "different-function",
        "slope = np.where(near, sigma2 * diff, np.sign(diff))",
        "slope = np.where(diff < 1 / sigma2, sigma2 * diff, np.sign(diff))",
    ),
    wrong(
        "near_branch_up_to_one_in_both",
        "different-function",
        "near = np.abs(diff) < 1 / sigma2",
        "near = np.abs(diff) < 1",
    ),
    wrong(
        "slope_near_zero_with_sigma_unsquared",
        "wrong-scale|different-function",
        "slope = np.where(near, sigma2 * diff, np.sign(diff))",
        "slope = np.where(near, np.sqrt(sigma2) * diff, np.sign(diff))",
    ),
    wrong(
        "boxes_of_the_background_learn_too",
        "wrong-operand|different-function|missing-derivative",
        "slope * inside * object_there / count",
        "slope * inside / count",
    ),
    wrong(
        "response_normalised_by_a_constant_backwards",
        "missing-path|diagonal-jacobian",
        "return dout * scale**-beta - 2 * alpha * beta / 3 * x * over_neighbours(ratio)",
        "return dout * scale**-beta",
    ),
    wrong(
        "error_of_the_neighbours_not_under_the_sum",
        "wrong-operand|diagonal-jacobian",
        "    ratio = dout * out / scale\n"
        "    return dout * scale**-beta - 2 * alpha * beta / 3 * x * over_neighbours(ratio)\n",
        "    ratio = out / scale\n"
        "    return dout * scale**-beta - 2 * alpha * beta / 3 * x * dout * over_neighbours(ratio)\n",
    ),
    wrong(
        "power_of_the_scale_missing_in_the_sum",
        "wrong-operand|different-function",
        "ratio = dout * out / scale",
        "ratio = dout * x / scale",
    ),
    wrong(
        "response_strength_per_channel_not_per_window_in_both",
        "different-function|wrong-scale|wrong-reduction",
        "scale = k + alpha / 3 * over_neighbours(x**2)",
        "scale = k + alpha * over_neighbours(x**2)",
        "2 * alpha * beta / 3 * x",
        "2 * alpha * beta * x",
    ),
    wrong(
        "place_of_the_maximum_counted_within_the_region",
        "wrong-operand",
        "argmax[i, r, c, a, b] = top + y, left + x",
        "argmax[i, r, c, a, b] = top - y1 + y, left - x1 + x",
    ),
    wrong(
        "hidden_layer_hears_only_the_classes",
        "missing-path",
        'dhidden = dscores @ p["W_class"] + dmoves @ p["W_box"]',
        'dhidden = dscores @ p["W_class"]',
    ),
]

TOGETHER = [
    ("overlapping_regions_overwrite_each_other", "error_weights_only_forwards"),
    ("near_branch_chosen_without_the_absolute_value_backwards", "response_normalised_by_a_constant_backwards"),
    ("boxes_of_the_background_learn_too", "place_of_the_maximum_counted_within_the_region"),
    ("error_of_the_neighbours_not_under_the_sum", "hidden_layer_hears_only_the_classes"),
]

RIGHT = [
    right(
        "maxima_added_at_once_and_slopes_clipped",
        "    for i, r, c, a, b in np.ndindex(*dout.shape):\n"
        "        y, x = argmax[i, r, c, a, b]\n"
        "        dmaps[i, c, y, x] += dout[i, r, c, a, b]\n",
        "    picture, _, channel = np.indices(dout.shape)[:3]\n"
        "    np.add.at(dmaps, (picture, channel, argmax[..., 0], argmax[..., 1]), dout)\n",
        "slope = np.where(near, sigma2 * diff, np.sign(diff))",
        "slope = np.clip(sigma2 * diff, -1, 1)",
    ),
]
