"""A first convolutional net after the old one: averages with a gain, maps joined by a table, learned prototypes."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, images, labels):
    table = ((0, 1), (1, 2), (0, 2), (0, 1, 2))
    x = images.permute(0, 3, 1, 2)
    a1 = torch.tanh(F.conv2d(x, params["C1_w"].permute(3, 2, 0, 1), params["C1_b"]))
    pooled = F.avg_pool2d(a1, 2).permute(0, 2, 3, 1)
    s2 = torch.tanh(pooled * params["S2_w"] + params["S2_b"]).permute(0, 3, 1, 2)
    maps = []
    for i, used in enumerate(table):
        kernel = params[f"C3_w{i}"].permute(2, 0, 1)[None]
        maps.append(F.conv2d(s2[:, list(used)], kernel) + params["C3_b"][i])
    a3 = torch.tanh(torch.cat(maps, dim=1)).permute(0, 2, 3, 1).flatten(1)
    f6 = torch.tanh(a3 @ params["F6_w"] + params["F6_b"])
    distances = 0.5 * ((f6[:, None] - params["prototypes"]) ** 2).sum(dim=2)
    # a constant in the normaliser keeps the prototypes of other classes from running away
    penalty = torch.logsumexp(F.pad(-distances, (0, 1), value=-2.0), dim=1)
    return (distances.gather(1, labels[:, None])[:, 0] + penalty).mean()


def tanh(x):
    return np.tanh(x)


def d_tanh(x):
    return 1 / np.power(np.cosh(x), 2)


def conv_forward(A_prev, W, b):
    f_h, f_w = W.shape[:2]
    n_H, n_W = A_prev.shape[1] - f_h + 1, A_prev.shape[2] - f_w + 1
    Z = np.zeros((A_prev.shape[0], n_H, n_W, W.shape[3]))
    for h in range(n_H):
        for w in range(n_W):
            A_slice = A_prev[:, h : h + f_h, w : w + f_w, :]
            Z[:, h, w, :] = np.tensordot(A_slice, W, axes=([1, 2, 3], [0, 1, 2])) + b
    return Z, (A_prev, W)


def conv_backward(dZ, cache):
    A_prev, W = cache
    f_h, f_w = W.shape[:2]
    dA_prev, dW = np.zeros(A_prev.shape), np.zeros(W.shape)
    for h in range(dZ.shape[1]):
        for w in range(dZ.shape[2]):
            A_slice = A_prev[:, h : h + f_h, w : w + f_w, :]
            dA_prev[:, h : h + f_h, w : w + f_w, :] += np.tensordot(dZ[:, h, w, :], W, axes=([1], [3]))
            dW += np.tensordot(A_slice, dZ[:, h, w, :], axes=([0], [0]))
    db = np.sum(dZ, axis=(0, 1, 2))
    return dA_prev, dW, db


def subsampling_forward(A_prev, weight, b, f=2):
    n, H, W, C = A_prev.shape
    A_ = np.zeros((n, H // f, W // f, C))
    for h in range(H // f):
        for w in range(W // f):
            A_[:, h, w, :] = np.average(A_prev[:, h * f : h * f + f, w * f : w * f + f, :], axis=(1, 2))
    return A_ * weight + b, (A_, weight)


def subsampling_backward(dA, cache, f=2):
    A_, weight = cache
    db = np.sum(dA, axis=(0, 1, 2))
    dW = np.sum(dA * A_, axis=(0, 1, 2))
    dA_ = dA * weight
    dA_prev = np.repeat(np.repeat(dA_, f, axis=1), f, axis=2) / f / f
    return dA_prev, dW, db


def mapped_conv_forward(A_prev, kernels, b, table):
    Z, caches = [], []
    for i, used in enumerate(table):
        z, cache = conv_forward(A_prev[:, :, :, used], kernels[i][:, :, :, None], b[i])
        Z.append(z)
        caches.append(cache)
    return np.concatenate(Z, axis=3), caches


def mapped_conv_backward(dZ, shape, caches, table):
    dA_prevs = np.zeros(shape)
    d_kernels, db = [], np.zeros(len(table))
    for i, used in enumerate(table):
        dA_prev, dW, db[i : i + 1] = conv_backward(dZ[:, :, :, i : i + 1], caches[i])
        d_kernels.append(dW[:, :, :, 0])
        dA_prevs[:, :, :, used] += dA_prev
    return dA_prevs, d_kernels, db


def candidate(params, images, labels, j=2.0):
    table = [[0, 1], [1, 2], [0, 2], [0, 1, 2]]
    n = len(images)
    kernels = [params[f"C3_w{i}"] for i in range(len(table))]

    # forward
    z1, cache1 = conv_forward(images, params["C1_w"], params["C1_b"])
    a1 = tanh(z1)
    z2, cache2 = subsampling_forward(a1, params["S2_w"], params["S2_b"])
    a2 = tanh(z2)
    z3, caches3 = mapped_conv_forward(a2, kernels, params["C3_b"], table)
    a3 = tanh(z3)
    flat = a3.reshape(n, -1)
    z4 = np.matmul(flat, params["F6_w"]) + params["F6_b"]
    a4 = tanh(z4)
    apart = a4[:, np.newaxis, :] - params["prototypes"]
    y = 0.5 * np.sum(np.power(apart, 2), axis=2)
    total = np.exp(-j) + np.sum(np.exp(-y), axis=1, keepdims=True)
    loss = np.sum(y[np.arange(n), labels] + np.log(total[:, 0])) / n

    # backward
    grads = {}
    dy = -np.exp(-y) / total
    dy[np.arange(n), labels] += 1
    dy /= n
    da4 = np.sum(dy[:, :, np.newaxis] * apart, axis=1)
    grads["prototypes"] = -np.sum(dy[:, :, np.newaxis] * apart, axis=0)

    dz4 = da4 * d_tanh(z4)
    grads["F6_w"] = np.matmul(flat.T, dz4)
    grads["F6_b"] = np.sum(dz4.T, axis=1)
    da3 = np.matmul(dz4, params["F6_w"].T).reshape(a3.shape)

    dz3 = da3 * d_tanh(z3)
    da2, d_kernels, grads["C3_b"] = mapped_conv_backward(dz3, a2.shape, caches3, table)
    for i in range(len(table)):
        grads[f"C3_w{i}"] = d_kernels[i]

    dz2 = da2 * d_tanh(z2)
    da1, grads["S2_w"], grads["S2_b"] = subsampling_backward(dz2, cache2)
    dz1 = da1 * d_tanh(z1)
    _, grads["C1_w"], grads["C1_b"] = conv_backward(dz1, cache1)
    return loss, grads


def problem(rng):
    params = {
        "C1_w": rng.normal(size=(3, 5, 2, 3)) * 0.25,
        "C1_b": rng.normal(size=3) * 0.3,
        "S2_w": 1.5 + rng.normal(size=3) * 0.5,
        "S2_b": rng.normal(size=3) * 0.3,
        "C3_b": rng.normal(size=4) * 0.3,
        "F6_w": rng.normal(size=(16, 6)) * 0.4,
        "F6_b": rng.normal(size=6) * 0.3,
        "prototypes": rng.normal(size=(7, 6)) * 0.8,
    }
    for i, used in enumerate((2, 2, 2, 3)):
        params[f"C3_w{i}"] = rng.normal(size=(2, 3, used)) * 0.5
    return params, (rng.normal(size=(5, 8, 12, 2)), np.array([3, 0, 6, 1, 3]))


WRONG = [
    wrong(
        "gain_gradient_summed_over_the_maps_too",
        "wrong-axis|wrong-reduction",
        "dW = np.sum(dA * A_, axis=(0, 1, 2))",
        "dW = np.sum(dA * A_) * np.ones_like(weight)",
    ),
    wrong(
        "averages_handed_back_undivided",
        "wrong-scale|missing-derivative",
        "np.repeat(np.repeat(dA_, f, axis=1), f, axis=2) / f / f",
        "np.repeat(np.repeat(dA_, f, axis=1), f, axis=2)",
    ),
    wrong(
        "gain_forgotten_on_the_way_back",
        "missing-derivative",
        "dA_ = dA * weight",
        "dA_ = dA",
    ),
    wrong(
        "offset_gradient_after_the_gain",
        "extra-derivative|wrong-operand",
        "db = np.sum(dA, axis=(0, 1, 2))\n    dW = np.sum(dA * A_",
        "db = np.sum(dA * weight, axis=(0, 1, 2))\n    dW = np.sum(dA * A_",
    ),
    wrong(
        "prototypes_pushed_the_other_way",
        "wrong-sign",
        'grads["prototypes"] = -np.sum(',
        'grads["prototypes"] = np.sum(',
    ),
    wrong(
        "other_classes_do_not_push",
        "missing-path|different-function",
        "dy = -np.exp(-y) / total",
        "dy = np.zeros_like(y)",
    ),
    wrong(
        "constant_left_out_of_the_normaliser_backwards",
        "different-function|missing-path",
        "dy = -np.exp(-y) / total",
        "dy = -np.exp(-y) / np.sum(np.exp(-y), axis=1, keepdims=True)",
    ),
    wrong(
        "maps_used_twice_overwritten",
        "overwritten",
        "dA_prevs[:, :, :, used] += dA_prev",
        "dA_prevs[:, :, :, used] = dA_prev",
    ),
    wrong(
        "slope_of_third_layer_at_its_output",
        "derivative-at-wrong-point",
        "dz3 = da3 * d_tanh(z3)",
        "dz3 = da3 * d_tanh(a3)",
    ),
    wrong(
        "no_slope_behind_the_averages",
        "missing-derivative",
        "subsampling_backward(dz2, cache2)",
        "subsampling_backward(da2, cache2)",
    ),
    wrong(
        "windows_overwrite_on_the_way_back",
        "overwritten",
        "w : w + f_w, :] += np.tensordot(",
        "w : w + f_w, :] = np.tensordot(",
    ),
    wrong(
        "kernel_turned_on_the_way_back",
        "flipped|wrong-operand",
        "np.tensordot(dZ[:, h, w, :], W, axes=([1], [3]))",
        "np.tensordot(dZ[:, h, w, :], W[::-1, ::-1], axes=([1], [3]))",
    ),
]

TOGETHER = [
    ("gain_gradient_summed_over_the_maps_too", "maps_used_twice_overwritten"),
    ("prototypes_pushed_the_other_way", "slope_of_third_layer_at_its_output"),
    ("other_classes_do_not_push", "averages_handed_back_undivided"),
    ("gain_forgotten_on_the_way_back", "kernel_turned_on_the_way_back"),
]

RIGHT = [
    right(
        "offsets_instead_of_windows",
        "    return 1 / np.power(np.cosh(x), 2)\n",
        "    return 1 - np.tanh(x) ** 2\n",
        "    for h in range(dZ.shape[1]):\n"
        "        for w in range(dZ.shape[2]):\n"
        "            A_slice = A_prev[:, h : h + f_h, w : w + f_w, :]\n"
        "            dA_prev[:, h : h + f_h, w : w + f_w, :] += np.tensordot(dZ[:, h, w, :], W, axes=([1], [3]))\n"
        "            dW += np.tensordot(A_slice, dZ[:, h, w, :], axes=([0], [0]))\n",
        "    n_H, n_W = dZ.shape[1:3]\n"
        "    for u in range(f_h):\n"
        "        for v in range(f_w):\n"
        "            dA_prev[:, u : u + n_H, v : v + n_W, :] += dZ @ W[u, v].T\n"
        '            dW[u, v] = np.einsum("nhwc,nhwk->ck", A_prev[:, u : u + n_H, v : v + n_W, :], dZ)\n',
    ),
]
