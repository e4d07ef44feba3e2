"""A small image classifier as learners write it: two padded convolutions by loops over the kernel, pooled, averaged."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, images, labels):
    h = F.relu(F.conv2d(images, params["K1"], params["b1"], padding=1))
    h = F.max_pool2d(h, kernel_size=2)
    h = F.relu(F.conv2d(h, params["K2"], params["b2"], padding="same"))
    features = F.adaptive_avg_pool2d(h, output_size=1).flatten(1)
    return F.cross_entropy(torch.addmm(params["c"], features, params["W"]), labels)


def conv_forward(x, kernel, bias):
    n, _, height, width = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    out = np.zeros((n, kernel.shape[0], height, width))
    for i in range(3):
        for j in range(3):
            patch = padded[:, :, i : i + height, j : j + width]
            out += np.einsum("nchw,fc->nfhw", patch, kernel[:, :, i, j])
    return out + bias.reshape(1, -1, 1, 1), padded


def conv_backward(dout, padded, kernel):
    height, width = dout.shape[2:]
    dpadded = np.zeros(padded.shape)
    dkernel = np.zeros(kernel.shape)
    for i in range(3):
        for j in range(3):
            patch = padded[:, :, i : i + height, j : j + width]
            dkernel[:, :, i, j] = np.einsum("nfhw,nchw->fc", dout, patch)
            dpadded[:, :, i : i + height, j : j + width] += np.einsum("nfhw,fc->nchw", dout, kernel[:, :, i, j])
    dbias = dout.sum(axis=(0, 2, 3))
    return dpadded[:, :, 1:-1, 1:-1], dkernel, dbias


def maxpool_forward(x):
    n, c, h, w = x.shape
    blocks = x.reshape(n, c, h // 2, 2, w // 2, 2)
    out = blocks.max(axis=(3, 5))
    return out, (blocks, out)


def maxpool_backward(dout, cache):
    blocks, out = cache
    n, c, h, _, w, _ = blocks.shape
    winners = blocks == out[:, :, :, None, :, None]
    dblocks = winners * dout[:, :, :, None, :, None]
    return dblocks.reshape(n, c, 2 * h, 2 * w)


def softmax(scores):
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def candidate(params, images, labels):
    K1, b1, K2, b2, W, c = (params[k] for k in ("K1", "b1", "K2", "b2", "W", "c"))
    n = images.shape[0]
    # forward
    conv1, padded1 = conv_forward(images, K1, b1)
    act1 = np.maximum(conv1, 0)
    pool1, pool_cache = maxpool_forward(act1)
    conv2, padded2 = conv_forward(pool1, K2, b2)
    act2 = np.maximum(conv2, 0)
    features = act2.mean(axis=(2, 3))
    probs = softmax(features @ W + c)
    loss = -np.mean(np.log(probs[np.arange(n), labels]))
    # backward
    dscores = probs.copy()
    dscores[np.arange(n), labels] -= 1
    dscores /= n
    dW = features.T @ dscores
    dc = dscores.sum(axis=0)
    dfeatures = dscores @ W.T
    h2, w2 = act2.shape[2:]
    dact2 = np.ones(act2.shape) * dfeatures[:, :, None, None] / (h2 * w2)
    dconv2 = dact2 * (conv2 > 0)
    dpool1, dK2, db2 = conv_backward(dconv2, padded2, K2)
    dact1 = maxpool_backward(dpool1, pool_cache)
    dconv1 = dact1 * (conv1 > 0)
    _, dK1, db1 = conv_backward(dconv1, padded1, K1)
    return loss, {"K1": dK1, "b1": db1, "K2": dK2, "b2": db2, "W": dW, "c": dc}


def problem(rng):
    params = {
        "K1": rng.normal(size=(7, 2, 3, 3)) * 0.4,
        "b1": rng.normal(size=7) * 0.3,
        "K2": rng.normal(size=(4, 7, 3, 3)) * 0.25,
        "b2": rng.normal(size=4) * 0.3 + 0.2,
        "W": rng.normal(size=(4, 3)) * 1.1,
        "c": rng.normal(size=3) * 0.4,
    }
    return params, (rng.normal(size=(5, 2, 4, 6)), rng.integers(3, size=5))


WRONG = [
    wrong(
        "only_the_true_class_pushed",
        "diagonal-jacobian|missing-path",
        "    dscores = probs.copy()\n    dscores[np.arange(n), labels] -= 1\n",
        "    dscores = np.zeros(probs.shape)\n    dscores[np.arange(n), labels] = probs[np.arange(n), labels] - 1\n",
    ),
    wrong("not_averaged_over_the_images", "wrong-scale|wrong-reduction", "    dscores /= n\n", ""),
    wrong(
        "averages_taken_before_the_relu",
        "wrong-operand",
        "dW = features.T @ dscores",
        "dW = conv2.mean(axis=(2, 3)).T @ dscores",
    ),
    wrong(
        "average_spread_without_dividing",
        "wrong-scale|wrong-reduction|missing-derivative",
        "dfeatures[:, :, None, None] / (h2 * w2)",
        "dfeatures[:, :, None, None]",
    ),
    wrong(
        "average_over_one_side_only",
        "wrong-scale|wrong-reduction",
        "/ (h2 * w2)",
        "/ h2",
    ),
    wrong("second_relu_left_out", "missing-derivative", "dconv2 = dact2 * (conv2 > 0)", "dconv2 = dact2"),
    wrong("first_relu_left_out", "missing-derivative", "dconv1 = dact1 * (conv1 > 0)", "dconv1 = dact1"),
    wrong(
        "padding_cut_from_one_end",
        "wrong-operand",
        "return dpadded[:, :, 1:-1, 1:-1], dkernel",
        "return dpadded[:, :, :-2, :-2], dkernel",
    ),
    wrong(
        "kernel_turned_backwards",
        "flipped|wrong-operand",
        "dout, kernel[:, :, i, j])\n    dbias",
        "dout, kernel[:, :, 2 - i, 2 - j])\n    dbias",
    ),
    wrong(
        "patches_overwrite_each_other",
        "overwritten",
        "dpadded[:, :, i : i + height, j : j + width] += ",
        "dpadded[:, :, i : i + height, j : j + width] = ",
    ),
    wrong(
        "kernel_indices_swapped",
        "transposed",
        "dkernel[:, :, i, j] = ",
        "dkernel[:, :, j, i] = ",
    ),
    wrong(
        "biases_averaged_over_the_pixels",
        "wrong-reduction|wrong-scale",
        "dbias = dout.sum(axis=(0, 2, 3))",
        "dbias = dout.mean(axis=(2, 3)).sum(axis=0)",
    ),
    wrong(
        "pool_gradient_shared_by_the_block",
        "different-function",
        "dblocks = winners * dout[:, :, :, None, :, None]",
        "dblocks = np.ones(winners.shape) * dout[:, :, :, None, :, None] / 4",
    ),
    wrong(
        "blocks_cut_the_wrong_way_in_both",
        "wrong-axis|wrong-operand|different-function",
        "    blocks = x.reshape(n, c, h // 2, 2, w // 2, 2)\n    out = blocks.max(axis=(3, 5))\n",
        "    blocks = x.reshape(n, c, 2, h // 2, 2, w // 2)\n    out = blocks.max(axis=(2, 4))\n",
        "n, c, h, _, w, _ = blocks.shape",
        "n, c, _, h, _, w = blocks.shape",
        "winners = blocks == out[:, :, :, None, :, None]",
        "winners = blocks == out[:, :, None, :, None, :]",
        "dblocks = winners * dout[:, :, :, None, :, None]",
        "dblocks = winners * dout[:, :, None, :, None, :]",
    ),
    wrong(
        "no_relu_before_the_averages_in_both",
        "different-function|wrong-operand",
        "act2 = np.maximum(conv2, 0)",
        "act2 = conv2",
        "dconv2 = dact2 * (conv2 > 0)",
        "dconv2 = dact2",
    ),
    wrong(
        "summed_over_the_images_in_cost",
        "wrong-loss",
        "loss = -np.mean(np.log(",
        "loss = -np.sum(np.log(",
    ),
]

TOGETHER = [
    ("average_spread_without_dividing", "first_relu_left_out"),
    ("kernel_indices_swapped", "biases_averaged_over_the_pixels"),
    ("padding_cut_from_one_end", "averages_taken_before_the_relu"),
    ("second_relu_left_out", "kernel_indices_swapped"),
    ("only_the_true_class_pushed", "kernel_turned_backwards"),
    ("not_averaged_over_the_images", "pool_gradient_shared_by_the_block"),
    ("average_over_one_side_only", "patches_overwrite_each_other", "averages_taken_before_the_relu"),
    ("first_relu_left_out", "biases_averaged_over_the_pixels", "kernel_turned_backwards"),
]

RIGHT = [
    right(
        "gradient_convolved_with_the_turned_kernel",
        "            dpadded[:, :, i : i + height, j : j + width] += "
        'np.einsum("nfhw,fc->nchw", dout, kernel[:, :, i, j])\n',
        "",
        "    dpadded = np.zeros(padded.shape)\n",
        "",
        "    return dpadded[:, :, 1:-1, 1:-1], dkernel, dbias\n",
        "    turned = kernel[:, :, ::-1, ::-1].swapaxes(0, 1)\n"
        "    dx, _ = conv_forward(dout, turned, np.zeros(kernel.shape[1]))\n"
        "    return dx, dkernel, dbias\n",
    ),
    right(
        "pooling_by_loops",
        "    winners = blocks == out[:, :, :, None, :, None]\n"
        "    dblocks = winners * dout[:, :, :, None, :, None]\n"
        "    return dblocks.reshape(n, c, 2 * h, 2 * w)\n",
        "    dx = np.zeros((n, c, 2 * h, 2 * w))\n"
        "    for s, f, row, col in np.ndindex(*out.shape):\n"
        "        k = blocks[s, f, row, :, col, :].argmax()\n"
        "        dx[s, f, 2 * row + k // 2, 2 * col + k % 2] = dout[s, f, row, col]\n"
        "    return dx\n",
    ),
    right(
        "images_one_by_one_and_masks_in_place",
        "    dconv2 = dact2 * (conv2 > 0)\n",
        "    dconv2 = dact2\n    dconv2[conv2 <= 0] = 0\n",
        "    dW = features.T @ dscores\n    dc = dscores.sum(axis=0)\n",
        "    dW, dc = np.zeros(W.shape), np.zeros(c.shape)\n"
        "    for k in range(n):\n"
        "        dW += features[k][:, None] * dscores[k]\n"
        "        dc += dscores[k]\n",
        "    dconv1 = dact1 * (conv1 > 0)\n",
        "    dconv1 = np.where(conv1 > 0, dact1, 0)\n",
    ),
]
