"""A stem, one residual block of two convolutions, global average pooling, softmax; CS231n's indices for im2col."""

import numpy as np
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, images, labels):
    a = F.relu(F.conv2d(images, params["K0"], params["b0"], padding=1))
    branch = F.relu(F.conv2d(a, params["K1"], params["b1"], padding=1))
    branch = F.conv2d(branch, params["K2"], params["b2"], padding=1)
    pooled = F.relu(a + branch).mean(dim=(2, 3))
    return F.cross_entropy(pooled @ params["W"] + params["c"], labels)


def get_im2col_indices(C, H, W, field=3):
    i0 = np.tile(np.repeat(np.arange(field), field), C)
    i1 = np.repeat(np.arange(H), W)
    j0 = np.tile(np.arange(field), field * C)
    j1 = np.tile(np.arange(W), H)
    i = i0.reshape(-1, 1) + i1.reshape(1, -1)
    j = j0.reshape(-1, 1) + j1.reshape(1, -1)
    k = np.repeat(np.arange(C), field * field).reshape(-1, 1)
    return k, i, j


def im2col_indices(x, padding=1):
    N, C, H, W = x.shape
    x_padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), mode="constant")
    k, i, j = get_im2col_indices(C, H, W)
    cols = x_padded[:, k, i, j]
    return cols.transpose(1, 2, 0).reshape(k.shape[0], -1)


def col2im_indices(cols, x_shape, padding=1):
    N, C, H, W = x_shape
    x_padded = np.zeros((N, C, H + 2 * padding, W + 2 * padding))
    k, i, j = get_im2col_indices(C, H, W)
    cols_reshaped = cols.reshape(k.shape[0], -1, N).transpose(2, 0, 1)
    np.add.at(x_padded, (slice(None), k, i, j), cols_reshaped)
    return x_padded[:, :, padding:-padding, padding:-padding]


def conv_forward(x, w, b):
    N, _, H, W = x.shape
    x_cols = im2col_indices(x)
    res = w.reshape(w.shape[0], -1) @ x_cols + b.reshape(-1, 1)
    out = res.reshape(w.shape[0], H, W, N).transpose(3, 0, 1, 2)
    return out, (x.shape, w, x_cols)


def conv_backward(dout, cache):
    x_shape, w, x_cols = cache
    num_filters = w.shape[0]
    db = np.sum(dout, axis=(0, 2, 3))
    dout_reshaped = dout.transpose(1, 2, 3, 0).reshape(num_filters, -1)
    dw = (dout_reshaped @ x_cols.T).reshape(w.shape)
    dx_cols = w.reshape(num_filters, -1).T @ dout_reshaped
    return col2im_indices(dx_cols, x_shape), dw, db


def candidate(params, images, labels):
    N = images.shape[0]
    # stem
    z0, cache0 = conv_forward(images, params["K0"], params["b0"])
    a0 = np.maximum(0, z0)
    # residual block
    z1, cache1 = conv_forward(a0, params["K1"], params["b1"])
    a1 = np.maximum(0, z1)
    z2, cache2 = conv_forward(a1, params["K2"], params["b2"])
    total = a0 + z2
    out = np.maximum(0, total)
    # head
    pooled = out.mean(axis=(2, 3))
    scores = pooled.dot(params["W"]) + params["c"]
    scores -= scores.max(axis=1, keepdims=True)
    probs = np.exp(scores)
    probs /= probs.sum(axis=1, keepdims=True)
    loss = np.sum(-np.log(probs[np.arange(N), labels])) / N

    dscores = probs
    dscores[np.arange(N), labels] -= 1
    dscores /= N
    dW = pooled.T.dot(dscores)
    dc = dscores.sum(axis=0)
    dpooled = dscores.dot(params["W"].T)
    area = out.shape[2] * out.shape[3]
    dout = np.ones_like(out) * dpooled[:, :, None, None] / area
    dtotal = dout * (total > 0)
    da1, dK2, db2 = conv_backward(dtotal, cache2)
    dz1 = da1 * (z1 > 0)
    da0, dK1, db1 = conv_backward(dz1, cache1)
    da0 = da0 + dtotal  # shortcut
    dz0 = da0 * (z0 > 0)
    _, dK0, db0 = conv_backward(dz0, cache0)
    return loss, {"K0": dK0, "b0": db0, "K1": dK1, "b1": db1, "K2": dK2, "b2": db2, "W": dW, "c": dc}


def problem(rng):
    params = {
        "K0": rng.normal(size=(3, 2, 3, 3)) * 0.4,
        "b0": rng.normal(size=3) * 0.3,
        "K1": rng.normal(size=(4, 3, 3, 3)) * 0.3,
        "b1": rng.normal(size=4) * 0.3,
        "K2": rng.normal(size=(3, 4, 3, 3)) * 0.3,
        "b2": rng.normal(size=3) * 0.3,
        "W": rng.normal(size=(3, 5)),
        "c": rng.normal(size=5) * 0.3,
    }
    return params, (rng.normal(size=(7, 2, 4, 6)), rng.integers(0, 5, size=7))


WRONG = [
    wrong("shortcut_forgotten_backwards", "missing-path", "    da0 = da0 + dtotal  # shortcut\n", ""),
    wrong(
        "shortcut_gradient_before_the_last_relu",
        "missing-derivative|wrong-operand",
        "da0 = da0 + dtotal",
        "da0 = da0 + dout",
    ),
    wrong(
        "shortcut_joins_below_the_stem_relu",
        "missing-derivative|wrong-operand",
        "    da0 = da0 + dtotal  # shortcut\n    dz0 = da0 * (z0 > 0)\n",
        "    dz0 = da0 * (z0 > 0)\n    dz0 += dtotal\n",
    ),
    wrong(
        "overlapping_windows_not_added",
        "overwritten",
        "np.add.at(x_padded, (slice(None), k, i, j), cols_reshaped)",
        "x_padded[:, k, i, j] += cols_reshaped",
    ),
    wrong(
        "gradient_flattened_samples_first",
        "wrong-axis|wrong-operand",
        "dout.transpose(1, 2, 3, 0).reshape(num_filters, -1)",
        "dout.transpose(1, 0, 2, 3).reshape(num_filters, -1)",
    ),
    wrong(
        "columns_times_gradient_then_reshaped",
        "transposed|wrong-axis",
        "dw = (dout_reshaped @ x_cols.T).reshape(w.shape)",
        "dw = (x_cols @ dout_reshaped.T).reshape(w.shape)",
    ),
    wrong(
        "pooling_does_not_divide",
        "wrong-scale|wrong-reduction",
        "dpooled[:, :, None, None] / area",
        "dpooled[:, :, None, None]",
    ),
    wrong("last_relu_forgotten", "missing-derivative", "dtotal = dout * (total > 0)", "dtotal = dout"),
    wrong(
        "last_relu_masked_by_the_branch_only",
        "wrong-operand|derivative-at-wrong-point",
        "dtotal = dout * (total > 0)",
        "dtotal = dout * (z2 > 0)",
    ),
    wrong(
        "relu_multiplied_instead_of_masked",
        "wrong-operand|different-function",
        "dz1 = da1 * (z1 > 0)",
        "dz1 = da1 * a1",
    ),
    wrong(
        "filter_biases_averaged_over_the_batch",
        "wrong-reduction|wrong-scale",
        "db = np.sum(dout, axis=(0, 2, 3))",
        "db = np.sum(np.mean(dout, axis=0), axis=(1, 2))",
    ),
    wrong(
        "border_cut_off_at_one_side",
        "any",
        "return x_padded[:, :, padding:-padding, padding:-padding]",
        "return x_padded[:, :, : -2 * padding, : -2 * padding]",
    ),
    wrong("scores_gradient_not_averaged", "wrong-scale|wrong-reduction", "    dscores /= N\n", ""),
    wrong(
        "largest_value_pooled_in_both",
        "different-function|wrong-reduction",
        "pooled = out.mean(axis=(2, 3))",
        "pooled = out.max(axis=(2, 3))",
        "np.ones_like(out) * dpooled[:, :, None, None] / area",
        "(out == pooled[:, :, None, None]) * dpooled[:, :, None, None]",
    ),
    wrong(
        "head_weights_from_the_block_sum",
        "wrong-operand|missing-derivative",
        "dW = pooled.T.dot(dscores)",
        "dW = total.mean(axis=(2, 3)).T.dot(dscores)",
    ),
    wrong(
        "cost_in_bits",
        "wrong-loss",
        "loss = np.sum(-np.log(",
        "loss = np.sum(-np.log2(",
    ),
]

TOGETHER = [
    ("shortcut_forgotten_backwards", "overlapping_windows_not_added"),
    ("gradient_flattened_samples_first", "pooling_does_not_divide"),
    ("last_relu_masked_by_the_branch_only", "filter_biases_averaged_over_the_batch"),
    ("scores_gradient_not_averaged", "columns_times_gradient_then_reshaped"),
    ("shortcut_gradient_before_the_last_relu", "head_weights_from_the_block_sum"),
    ("last_relu_forgotten", "shortcut_forgotten_backwards", "filter_biases_averaged_over_the_batch"),
]

RIGHT = [
    right(
        "input_gradient_by_turned_kernels",
        "    dx_cols = w.reshape(num_filters, -1).T @ dout_reshaped\n"
        "    return col2im_indices(dx_cols, x_shape), dw, db\n",
        "    turned = w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)\n"
        "    dx, _ = conv_forward(dout, turned, np.zeros(x_shape[1]))\n"
        "    return dx, dw, db\n",
    ),
]
