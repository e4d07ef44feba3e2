"""A small image network: convolution, ReLU, 2 x 2 max-pooling, a linear layer, softmax cross-entropy."""

import numpy as np
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, images, labels):
    maps = F.relu(F.conv2d(images, params["K"], params["c"]))
    pooled = F.max_pool2d(maps, 2)
    logits = F.linear(pooled.flatten(1), params["W"].T, params["b"])
    return F.cross_entropy(logits, labels)


def candidate(params, images, labels):
    K, c, W, b = params["K"], params["c"], params["W"], params["b"]
    n = len(images)
    filters, size = K.shape[0], K.shape[2]
    rows, columns = images.shape[2] - size + 1, images.shape[3] - size + 1
    z = np.zeros((n, filters, rows, columns))
    for i in range(size):
        for j in range(size):
            z += np.einsum("ncrs,fc->nfrs", images[:, :, i : i + rows, j : j + columns], K[:, :, i, j])
    z += c[None, :, None, None]
    a = np.maximum(z, 0)
    blocks = a.reshape(n, filters, rows // 2, 2, columns // 2, 2)
    pooled = blocks.max(axis=(3, 5))
    flat = pooled.reshape(n, -1)
    logits = flat @ W + b
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = p / p.sum(axis=1, keepdims=True)
    hot = np.eye(p.shape[1])[labels]
    loss = -np.sum(hot * np.log(p)) / n
    dlogits = (p - hot) / n
    dW = flat.T @ dlogits
    db = dlogits.sum(axis=0)
    dpooled = (dlogits @ W.T).reshape(pooled.shape)
    largest = blocks == pooled[:, :, :, None, :, None]
    dblocks = largest * dpooled[:, :, :, None, :, None]
    first = np.cumsum(np.cumsum(largest, axis=3), axis=5) * largest == 1
    da = (dblocks * first).reshape(a.shape)
    dz = da * (z > 0)
    dK = np.zeros_like(K)
    for i in range(size):
        for j in range(size):
            dK[:, :, i, j] += np.einsum("nfrs,ncrs->fc", dz, images[:, :, i : i + rows, j : j + columns])
    dc = dz.sum(axis=(0, 2, 3))
    return loss, {"K": dK, "c": dc, "W": dW, "b": db}


def problem(rng):
    params = {
        "K": rng.normal(size=(4, 2, 3, 3)) * 0.5,
        "c": rng.normal(size=4) * 0.3 + 0.4,
        "W": rng.normal(size=(4 * 2 * 3, 3)) * 0.5,
        "b": rng.normal(size=3),
    }
    return params, (rng.normal(size=(5, 2, 6, 8)), rng.integers(0, 3, size=5))


WRONG = [
    wrong("relu_derivative_forgotten", "missing-derivative", "dz = da * (z > 0)", "dz = da"),
    wrong(
        "relu_derivative_of_wrong_sign",
        "different-function|wrong-operand|derivative-at-wrong-point",
        "da * (z > 0)",
        "da * (z < 0)",
    ),
    wrong(
        "pooling_spread_as_average",
        "different-function",
        "dblocks = largest * dpooled",
        "first = 0.25\n    dblocks = np.ones_like(blocks) * dpooled",
        "    first = np.cumsum(np.cumsum(largest, axis=3), axis=5) * largest == 1\n",
        "",
    ),
    wrong(
        "pooling_spread_to_all",
        "different-function|missing-derivative|overwritten|wrong-operand",
        "dblocks = largest * dpooled",
        "first = 1\n    dblocks = np.ones_like(blocks) * dpooled",
        "    first = np.cumsum(np.cumsum(largest, axis=3), axis=5) * largest == 1\n",
        "",
    ),
    wrong("kernel_gradient_turned_round", "flipped", '"K": dK', '"K": dK[:, :, ::-1, ::-1]'),
    wrong("kernel_gradient_turned_in_rows", "flipped", '"K": dK', '"K": dK[:, :, ::-1]'),
    wrong(
        "bias_of_the_filters_averaged",
        "wrong-scale|wrong-reduction",
        "dc = dz.sum(axis=(0, 2, 3))",
        "dc = dz.mean(axis=(0, 2, 3))",
    ),
    wrong(
        "bias_averaged_over_rows",
        "wrong-scale|wrong-reduction",
        "dc = dz.sum(axis=(0, 2, 3))",
        "dc = dz.mean(axis=2).sum(axis=(0, 2))",
    ),
    wrong(
        "one_image_only",
        "one-sample-only",
        '"nfrs,ncrs->fc", dz, images[:, :,',
        '"nfrs,ncrs->fc", dz[-1:], images[-1:, :,',
    ),
    wrong("not_averaged", "wrong-scale|wrong-reduction", "dlogits = (p - hot) / n", "dlogits = p - hot"),
    wrong("target_less_prediction", "wrong-sign", "(p - hot) / n", "(hot - p) / n"),
    wrong("filter_transposed", "transposed", '"K": dK', '"K": dK.transpose(0, 1, 3, 2)'),
    wrong(
        "kernel_overwritten",
        "overwritten|one-sample-only",
        'dK[:, :, i, j] += np.einsum("nfrs,ncrs->fc", dz, images[:, :, i : i + rows, j : j + columns])',
        "for one in range(n):\n"
        '                dK[:, :, i, j] = np.einsum("frs,crs->fc", dz[one], images[one, :, i : i + rows, j : j + '
        "columns])",
    ),
    wrong("bias_before_the_relu", "missing-derivative|wrong-operand", "dc = dz.sum", "dc = da.sum"),
    wrong(
        "average_pooling_in_both",
        "different-function",
        "pooled = blocks.max(axis=(3, 5))",
        "pooled = blocks.mean(axis=(3, 5))",
        "dblocks = largest * dpooled",
        "first = 0.25\n    dblocks = np.ones_like(blocks) * dpooled",
        "    first = np.cumsum(np.cumsum(largest, axis=3), axis=5) * largest == 1\n",
        "",
    ),
    wrong(
        "filters_swapped_for_convolution_in_both",
        "flipped|different-function",
        "K[:, :, i, j])\n    z += c",
        "K[:, :, size - 1 - i, size - 1 - j])\n    z += c",
        "dK[:, :, i, j] +=",
        "dK[:, :, size - 1 - i, size - 1 - j] +=",
    ),
    wrong("logits_bias_forgotten", "missing-gradient", '"W": dW, "b": db', '"W": dW'),
    wrong(
        "reshaped_in_another_order",
        "wrong-operand|transposed|wrong-axis",
        "dW = flat.T @ dlogits",
        "dW = pooled.transpose(0, 2, 3, 1).reshape(n, -1).T @ dlogits",
    ),
]

TOGETHER = [
    ("relu_derivative_forgotten", "not_averaged"),
    ("relu_derivative_forgotten", "bias_of_the_filters_averaged"),
    ("kernel_gradient_turned_round", "target_less_prediction"),
    ("pooling_spread_as_average", "relu_derivative_forgotten"),
    ("bias_averaged_over_rows", "kernel_gradient_turned_round"),
    ("not_averaged", "relu_derivative_forgotten", "kernel_gradient_turned_round"),
]

RIGHT = [
    right("mask_of_the_output", "(z > 0)", "(a > 0)"),
    right(
        "by_sample",
        'dK[:, :, i, j] += np.einsum("nfrs,ncrs->fc", dz, images[:, :, i : i + rows, j : j + columns])',
        "for m in range(n):\n                for f in range(filters):\n"
        "                    window = images[m, :, i : i + rows, j : j + columns]\n"
        "                    dK[f, :, i, j] += (window * dz[m, f]).sum(axis=(1, 2))",
    ),
]
