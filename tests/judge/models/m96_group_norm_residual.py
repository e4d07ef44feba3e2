"""A residual convolutional network: two blocks with group normalisation and SiLU, pooled, with weighted classes."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, signals, labels):
    h = signals
    for block in (1, 2):
        out = F.conv1d(h, params[f"conv{block}a"], padding=1)
        out = F.silu(F.group_norm(out, 2, params[f"gain{block}"], params[f"shift{block}"]))
        h = h + F.conv1d(out, params[f"conv{block}b"], params[f"bias{block}"], padding="same")
    pooled = F.adaptive_avg_pool1d(h, 1).flatten(1)
    logits = F.linear(pooled, params["fc_W"], params["fc_b"])
    weight = torch.tensor([0.4, 1.7, 0.9, 2.6, 1.2], dtype=logits.dtype)
    return F.cross_entropy(logits, labels, weight=weight)


def im2col(x, width):
    n, channels, length = x.shape
    pad = width // 2
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad)))
    cols = np.zeros((n, length, channels, width))
    for k in range(width):
        cols[..., k] = padded[:, :, k : k + length].transpose(0, 2, 1)
    return cols.reshape(n * length, channels * width)


def col2im(dcols, shape, width):
    n, channels, length = shape
    pad = width // 2
    dcols = dcols.reshape(n, length, channels, width)
    dpadded = np.zeros((n, channels, length + 2 * pad))
    for k in range(width):
        dpadded[:, :, k : k + length] += dcols[..., k].transpose(0, 2, 1)
    return dpadded[:, :, pad:-pad]


def conv_forward(x, kernel):
    n, _, length = x.shape
    filters, _, width = kernel.shape
    cols = im2col(x, width)
    out = cols @ kernel.reshape(filters, -1).T
    return out.reshape(n, length, filters).transpose(0, 2, 1), (x.shape, cols)


def conv_backward(dout, kernel, cache):
    shape, cols = cache
    filters, _, width = kernel.shape
    dflat = dout.transpose(0, 2, 1).reshape(-1, filters)
    dkernel = (dflat.T @ cols).reshape(kernel.shape)
    dcols = dflat @ kernel.reshape(filters, -1)
    return col2im(dcols, shape, width), dkernel


def group_norm_forward(x, gain, shift, groups, eps=1e-5):
    grouped = x.reshape(len(x), groups, -1)
    mean = grouped.mean(axis=2, keepdims=True)
    var = grouped.var(axis=2, keepdims=True)
    inv_std = 1 / np.sqrt(var + eps)
    normed = ((grouped - mean) * inv_std).reshape(x.shape)
    return gain[:, None] * normed + shift[:, None], (normed, inv_std, gain, groups)


def group_norm_backward(dout, cache):
    normed, inv_std, gain, groups = cache
    dnormed = dout * gain[:, None]
    dgain = np.sum(dout * normed, axis=(0, 2))
    dshift = np.sum(dout, axis=(0, 2))
    # within each group of channels
    dy = dnormed.reshape(len(dout), groups, -1)
    y = normed.reshape(dy.shape)
    size = y.shape[2]
    through_mean = dy.sum(axis=2, keepdims=True) / size
    through_var = y * np.sum(dy * y, axis=2, keepdims=True) / size
    dx = inv_std * (dy - through_mean - through_var)
    return dx.reshape(dout.shape), dgain, dshift


def softmax(scores):
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def candidate(params, signals, labels, blocks=2, groups=2):
    class_weights = np.array([0.4, 1.7, 0.9, 2.6, 1.2])
    n, _, length = signals.shape
    # forward
    h = signals
    tape = []
    for i in range(1, blocks + 1):
        a, first = conv_forward(h, params[f"conv{i}a"])
        g, norm = group_norm_forward(a, params[f"gain{i}"], params[f"shift{i}"], groups)
        gate = 1 / (1 + np.exp(-g))
        s = g * gate
        branch, second = conv_forward(s, params[f"conv{i}b"])
        tape.append({"first": first, "norm": norm, "g": g, "gate": gate, "s": s, "second": second})
        h = h + branch + params[f"bias{i}"][:, None]
    features = h.mean(axis=2)
    p = softmax(features @ params["fc_W"].T + params["fc_b"])
    w = class_weights[labels]
    nll = -np.log(p[np.arange(n), labels])
    loss = np.sum(w * nll) / w.sum()

    # head
    grads = {}
    dlogits = p.copy()
    dlogits[np.arange(n), labels] -= 1
    dlogits *= w[:, None] / w.sum()
    grads["fc_W"] = dlogits.T @ features
    grads["fc_b"] = dlogits.sum(axis=0)
    dfeatures = dlogits @ params["fc_W"]
    dh = np.repeat(dfeatures[:, :, None], length, axis=2) / length
    # blocks, the last one first
    for i in range(blocks, 0, -1):
        c = tape[i - 1]
        grads[f"bias{i}"] = dh.sum(axis=(0, 2))
        ds, grads[f"conv{i}b"] = conv_backward(dh, params[f"conv{i}b"], c["second"])
        dg = ds * c["gate"] * (1 + c["g"] * (1 - c["gate"]))
        da, grads[f"gain{i}"], grads[f"shift{i}"] = group_norm_backward(dg, c["norm"])
        dx, grads[f"conv{i}a"] = conv_backward(da, params[f"conv{i}a"], c["first"])
        dh = dh + dx
    return loss, grads


def problem(rng):
    params = {}
    for i in (1, 2):
        params[f"conv{i}a"] = rng.normal(size=(6, 4, 3)) * 0.5
        params[f"gain{i}"] = 1 + rng.normal(size=6) * 0.4
        params[f"shift{i}"] = rng.normal(size=6) * 0.5
        params[f"conv{i}b"] = rng.normal(size=(4, 6, 3)) * 0.4
        params[f"bias{i}"] = rng.normal(size=4) * 0.4
    params["fc_W"] = rng.normal(size=(5, 4)) * 0.9
    params["fc_b"] = rng.normal(size=5) * 0.4
    return params, (rng.normal(size=(7, 4, 8)), rng.permutation([0, 1, 2, 3, 4, 3, 0]))


WRONG = [
    wrong("skip_route_forgotten", "missing-path", "dh = dh + dx", "dh = dx"),
    wrong(
        "gate_held_constant",
        "missing-path|different-function",
        'dg = ds * c["gate"] * (1 + c["g"] * (1 - c["gate"]))',
        'dg = ds * c["gate"]',
    ),
    wrong(
        "silu_slope_with_its_output",
        "derivative-at-wrong-point|wrong-operand",
        '(1 + c["g"] * (1 - c["gate"]))',
        '(1 + c["s"] * (1 - c["gate"]))',
    ),
    wrong(
        "gate_left_over_from_the_last_block",
        "wrong-operand|shifted-in-time",
        'dg = ds * c["gate"] * (1 + c["g"] * (1 - c["gate"]))',
        'dg = ds * gate * (1 + c["g"] * (1 - gate))',
    ),
    wrong(
        "statistics_held_constant",
        "missing-path|diagonal-jacobian",
        "dx = inv_std * (dy - through_mean - through_var)",
        "dx = inv_std * dy",
    ),
    wrong("mean_of_the_group_held_constant", "missing-path", "(dy - through_mean - through_var)", "(dy - through_var)"),
    wrong(
        "gain_not_in_the_norm_backwards",
        "missing-derivative|missing-path|wrong-operand|different-function",
        "dnormed = dout * gain[:, None]",
        "dnormed = dout",
    ),
    wrong(
        "shift_gets_the_gain_too",
        "extra-derivative|wrong-operand|wrong-scale",
        "dshift = np.sum(dout, axis=(0, 2))",
        "dshift = np.sum(dnormed, axis=(0, 2))",
    ),
    wrong(
        "gain_averaged_over_the_positions",
        "wrong-reduction|wrong-scale",
        "dgain = np.sum(dout * normed, axis=(0, 2))",
        "dgain = np.sum(dout * normed, axis=0).mean(axis=1)",
    ),
    wrong(
        "windows_overwrite_each_other",
        "overwritten",
        "dpadded[:, :, k : k + length] += dcols",
        "dpadded[:, :, k : k + length] = dcols",
    ),
    wrong(
        "pooling_spread_without_its_length",
        "wrong-scale|wrong-reduction|missing-derivative",
        "dh = np.repeat(dfeatures[:, :, None], length, axis=2) / length",
        "dh = np.repeat(dfeatures[:, :, None], length, axis=2)",
    ),
    wrong(
        "weighted_errors_averaged_over_the_samples",
        "wrong-scale|wrong-reduction",
        "dlogits *= w[:, None] / w.sum()",
        "dlogits *= w[:, None] / n",
    ),
    wrong(
        "class_weights_not_in_the_gradient",
        "different-function|missing-derivative|missing-path|wrong-operand",
        "dlogits *= w[:, None] / w.sum()",
        "dlogits /= n",
    ),
    wrong(
        "channels_a_group_for_groups_in_both",
        "different-function|wrong-axis|wrong-operand",
        "blocks=2, groups=2",
        "blocks=2, groups=3",
    ),
    wrong(
        "features_summed_in_both",
        "wrong-reduction|wrong-scale|different-function",
        "features = h.mean(axis=2)",
        "features = h.sum(axis=2)",
        "length, axis=2) / length",
        "length, axis=2)",
    ),
    wrong(
        "weighted_mean_over_the_samples_in_cost",
        "wrong-loss",
        "loss = np.sum(w * nll) / w.sum()",
        "loss = np.mean(w * nll)",
    ),
]

TOGETHER = [
    ("skip_route_forgotten", "gate_held_constant"),
    ("gain_averaged_over_the_positions", "weighted_errors_averaged_over_the_samples"),
    ("shift_gets_the_gain_too", "pooling_spread_without_its_length"),
    ("windows_overwrite_each_other", "mean_of_the_group_held_constant"),
    ("class_weights_not_in_the_gradient", "silu_slope_with_its_output"),
    ("statistics_held_constant", "gate_left_over_from_the_last_block"),
    ("skip_route_forgotten", "gain_averaged_over_the_positions", "class_weights_not_in_the_gradient"),
    ("weighted_errors_averaged_over_the_samples", "gain_not_in_the_norm_backwards", "windows_overwrite_each_other"),
]

RIGHT = [
    right(
        "group_by_group",
        "    dy = dnormed.reshape(len(dout), groups, -1)\n    y = normed.reshape(dy.shape)\n    size = y.shape[2]\n"
        "    through_mean = dy.sum(axis=2, keepdims=True) / size\n"
        "    through_var = y * np.sum(dy * y, axis=2, keepdims=True) / size\n"
        "    dx = inv_std * (dy - through_mean - through_var)\n"
        "    return dx.reshape(dout.shape), dgain, dshift\n",
        "    dx = np.empty_like(dout)\n"
        "    members = dout.shape[1] // groups\n"
        "    for sample in range(len(dout)):\n"
        "        for group in range(groups):\n"
        "            own = slice(group * members, (group + 1) * members)\n"
        "            dy, y = dnormed[sample, own], normed[sample, own]\n"
        "            centred = dy - dy.mean()\n"
        "            dx[sample, own] = inv_std[sample, group] * (centred - y * np.mean(centred * y))\n"
        "    return dx, dgain, dshift\n",
    ),
    right(
        "convolution_tap_by_tap",
        "    dflat = dout.transpose(0, 2, 1).reshape(-1, filters)\n"
        "    dkernel = (dflat.T @ cols).reshape(kernel.shape)\n"
        "    dcols = dflat @ kernel.reshape(filters, -1)\n"
        "    return col2im(dcols, shape, width), dkernel\n",
        "    n, channels, length = shape\n"
        "    x = cols.reshape(n, length, channels, width)\n"
        "    padded_out = np.pad(dout, ((0, 0), (0, 0), (width // 2, width // 2)))\n"
        "    dkernel = np.stack([np.einsum('nfl,nlc->fc', dout, x[..., k]) for k in range(width)], axis=2)\n"
        "    dx = sum(\n"
        "        np.einsum('nfl,fc->ncl', padded_out[:, :, k : k + length], kernel[:, :, width - 1 - k])\n"
        "        for k in range(width)\n"
        "    )\n"
        "    return dx, dkernel\n",
    ),
    right(
        "classes_by_one_hot_and_silu_by_its_output",
        "    dlogits = p.copy()\n    dlogits[np.arange(n), labels] -= 1\n    dlogits *= w[:, None] / w.sum()\n",
        "    onehot = (labels[:, None] == np.arange(len(class_weights))).astype(float)\n"
        "    share = onehot @ class_weights / np.sum(onehot * class_weights)\n"
        "    dlogits = np.einsum('n,nk->nk', share, p - onehot)\n",
        'dg = ds * c["gate"] * (1 + c["g"] * (1 - c["gate"]))',
        'dg = c["s"] * ds\n        dg -= c["gate"] * dg\n        dg += c["gate"] * ds',
    ),
]
