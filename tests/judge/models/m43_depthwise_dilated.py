"""A small image network: dilated depthwise and pointwise convolution, ReLU, average pooling, several yes-no labels."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, images, labels):
    z = F.conv2d(images, params["depth"], dilation=2, groups=images.shape[1])
    z = F.conv2d(z, params["point"], params["bias"])
    pooled = F.avg_pool2d(torch.relu(z), 2)
    logits = F.linear(pooled.flatten(1), params["head"], params["head_bias"])
    return F.binary_cross_entropy_with_logits(logits, labels)


def pool(maps):
    return (maps[..., ::2, ::2] + maps[..., 1::2, ::2] + maps[..., ::2, 1::2] + maps[..., 1::2, 1::2]) / 4


def spread(grad):
    return np.kron(grad, np.ones((2, 2))) / 4


def candidate(params, images, labels):
    depth, point, head = params["depth"], params["point"], params["head"]
    samples, channels, height, width = images.shape
    tall, wide = depth.shape[2:]
    rows, columns = height - 2 * (tall - 1), width - 2 * (wide - 1)
    filtered = np.zeros((samples, channels, rows, columns))
    for r in range(tall):
        for c in range(wide):
            window = images[:, :, 2 * r : 2 * r + rows, 2 * c : 2 * c + columns]
            filtered += window * depth[None, :, 0, r, c, None, None]
    mix = point[:, :, 0, 0]
    z = np.einsum("oc,nchw->nohw", mix, filtered) + params["bias"][:, None, None]
    active = np.where(z > 0, z, 0.0)
    features = pool(active).reshape(samples, -1)
    logits = features @ head.T + params["head_bias"]
    loss = np.mean(np.maximum(logits, 0) - logits * labels + np.log1p(np.exp(-np.abs(logits))))

    delta = (1 / (1 + np.exp(-logits)) - labels) / labels.size
    d_head, d_head_bias = delta.T @ features, delta.sum(axis=0)
    d_pooled = (delta @ head).reshape(samples, len(mix), rows // 2, columns // 2)
    d_z = spread(d_pooled) * (z > 0)
    d_bias = d_z.sum(axis=(0, 2, 3))
    d_point = np.einsum("nohw,nchw->oc", d_z, filtered)
    d_filtered = np.einsum("oc,nohw->nchw", mix, d_z)
    d_depth = np.zeros_like(depth)
    for r in range(tall):
        for c in range(wide):
            window = images[:, :, 2 * r : 2 * r + rows, 2 * c : 2 * c + columns]
            d_depth[:, 0, r, c] = (d_filtered * window).sum(axis=(0, 2, 3))
    return loss, {
        "depth": d_depth,
        "point": d_point[:, :, None, None],
        "bias": d_bias,
        "head": d_head,
        "head_bias": d_head_bias,
    }


def problem(rng):
    params = {
        "depth": rng.normal(size=(4, 1, 2, 3)),
        "point": rng.normal(size=(4, 4, 1, 1)),
        "bias": rng.normal(size=4) * 0.5,
        "head": rng.normal(size=(3, 24)) * 0.6,
        "head_bias": rng.normal(size=3),
    }
    return params, (rng.normal(size=(5, 4, 8, 8)), rng.integers(0, 2, size=(5, 3)).astype(float))


WRONG = [
    wrong("pooling_not_divided", "wrong-scale|wrong-reduction", "np.ones((2, 2))) / 4", "np.ones((2, 2)))"),
    wrong("pooled_gradient_halved_only", "wrong-scale", "np.ones((2, 2))) / 4", "np.ones((2, 2))) / 2"),
    wrong("relu_slope_forgotten", "missing-derivative", "spread(d_pooled) * (z > 0)", "spread(d_pooled)"),
    wrong(
        "bias_before_the_relu",
        "missing-derivative|wrong-operand",
        "d_bias = d_z.sum",
        "d_bias = spread(d_pooled).sum",
    ),
    wrong("mixing_not_transposed", "not-transposed", '"oc,nohw->nchw", mix', '"co,nohw->nchw", mix'),
    wrong("mixing_gradient_transposed", "transposed", "d_point[:, :, None, None]", "d_point.T[:, :, None, None]"),
    wrong(
        "dilation_forgotten_backwards",
        "wrong-operand|different-function",
        "images[:, :, 2 * r : 2 * r + rows, 2 * c : 2 * c + columns]\n            d_depth",
        "images[:, :, r : r + rows, c : c + columns]\n            d_depth",
    ),
    wrong("filters_turned_round", "flipped", '"depth": d_depth', '"depth": d_depth[:, :, ::-1, ::-1]'),
    wrong(
        "one_image_only",
        "one-sample-only",
        "(d_filtered * window).sum(axis=(0, 2, 3))",
        "(d_filtered * window)[-1].sum(axis=(1, 2))",
    ),
    wrong(
        "averaged_over_images_only",
        "wrong-scale|wrong-reduction",
        "- labels) / labels.size",
        "- labels) / samples",
    ),
    wrong(
        "sigmoid_not_cancelled",
        "extra-derivative",
        "- labels) / labels.size",
        "- labels) / labels.size / (2 + np.exp(logits) + np.exp(-logits))",
    ),
    wrong("labels_forgotten", "missing-path", "(1 / (1 + np.exp(-logits)) - labels)", "(1 / (1 + np.exp(-logits)))"),
    wrong(
        "point_of_the_activation",
        "wrong-operand",
        '"nohw,nchw->oc", d_z, filtered',
        '"nohw,nchw->oc", d_z, active',
    ),
    wrong("head_bias_absent", "missing-gradient", '        "head_bias": d_head_bias,\n', ""),
    wrong(
        "leaky_relu_in_both",
        "different-function",
        "np.where(z > 0, z, 0.0)",
        "np.where(z > 0, z, 0.2 * z)",
        "spread(d_pooled) * (z > 0)",
        "spread(d_pooled) * np.where(z > 0, 1, 0.2)",
    ),
    wrong(
        "sum_pooling_in_both",
        "wrong-reduction",
        "maps[..., 1::2, 1::2]) / 4",
        "maps[..., 1::2, 1::2])",
        "np.ones((2, 2))) / 4",
        "np.ones((2, 2)))",
    ),
]

TOGETHER = [
    ("pooling_not_divided", "mixing_gradient_transposed"),
    ("relu_slope_forgotten", "mixing_not_transposed"),
    ("labels_forgotten", "filters_turned_round"),
    ("averaged_over_images_only", "one_image_only"),
    ("sigmoid_not_cancelled", "relu_slope_forgotten", "mixing_gradient_transposed"),
]

RIGHT = [
    right(
        "windows_as_a_view",
        "            window = images[:, :, 2 * r : 2 * r + rows, 2 * c : 2 * c + columns]\n"
        "            d_depth[:, 0, r, c] = (d_filtered * window).sum(axis=(0, 2, 3))",
        "            window = images[:, :, 2 * r :, 2 * c :][:, :, :rows, :columns]\n"
        '            d_depth[:, 0, r, c] = np.einsum("nchw,nchw->c", d_filtered, window)',
    ),
    right(
        "spread_by_repeating", "np.kron(grad, np.ones((2, 2))) / 4", "0.25 * grad.repeat(2, axis=-1).repeat(2, axis=-2)"
    ),
]
