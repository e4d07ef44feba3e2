"""Dense maps: a dilated depthwise convolution, batch norm, PReLU, a strided 1x1 convolution, bilinear resize, Huber."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tests.judge.corpus import right, wrong

net = nn.Sequential(
    nn.Conv2d(3, 6, 3, padding=2, dilation=2, groups=3, bias=False),
    nn.BatchNorm2d(6, track_running_stats=False),
    nn.PReLU(6),
    nn.Conv2d(6, 2, 1, stride=2),
)


def reference(params, images, depth):
    small = torch.func.functional_call(net, params, (images,))
    full = F.interpolate(small, size=depth.shape[2:], mode="bilinear", align_corners=False)
    return F.huber_loss(full, depth, delta=0.7)


def pad(images):
    return np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2)))


def depthwise(images, kernels, copies):
    height, width = images.shape[2:]
    lanes = np.repeat(pad(images), copies, axis=1)
    out = np.zeros((len(images), len(kernels), height, width))
    for u in range(3):
        for v in range(3):
            view = lanes[:, :, 2 * u : 2 * u + height, 2 * v : 2 * v + width]
            out += kernels[None, :, 0, u, v, None, None] * view
    return out, lanes


def depthwise_backward(dout, lanes, kernels):
    height, width = dout.shape[2:]
    dkernels = np.zeros_like(kernels)
    for u in range(3):
        for v in range(3):
            seen = lanes[:, :, 2 * u : 2 * u + height, 2 * v : 2 * v + width]
            dkernels[:, 0, u, v] = np.sum(dout * seen, axis=(0, 2, 3))
    return dkernels


def batch_norm(a, gamma, beta):
    mu = a.mean(axis=(0, 2, 3), keepdims=True)
    var = a.var(axis=(0, 2, 3), keepdims=True)
    istd = 1 / np.sqrt(var + 1e-5)
    hat = (a - mu) * istd
    return gamma[:, None, None] * hat + beta[:, None, None], hat, istd


def batch_norm_backward(dy, hat, istd, gamma):
    n, _, height, width = dy.shape
    m = n * height * width
    dgamma = np.sum(dy * hat, axis=(0, 2, 3))
    dbeta = np.sum(dy, axis=(0, 2, 3))
    dhat = dy * gamma[:, None, None]
    s1 = dhat.sum(axis=(0, 2, 3), keepdims=True)
    s2 = (dhat * hat).sum(axis=(0, 2, 3), keepdims=True)
    da = istd * (dhat - s1 / m - hat * s2 / m)
    return da, dgamma, dbeta


def resize_matrix(old, new):
    matrix = np.zeros((new, old))
    for i in range(new):
        place = max((i + 0.5) * old / new - 0.5, 0.0)
        low = int(place)
        high = min(low + 1, old - 1)
        matrix[i, low] += 1 - (place - low)
        matrix[i, high] += place - low
    return matrix


def candidate(params, images, depth):
    K, gamma, beta = params["0.weight"], params["1.weight"], params["1.bias"]
    slope, P, q = params["2.weight"], params["3.weight"][:, :, 0, 0], params["3.bias"]
    delta = 0.7
    # forward
    a, lanes = depthwise(images, K, 2)
    y, hat, istd = batch_norm(a, gamma, beta)
    act = np.where(y > 0, y, slope[:, None, None] * y)
    taken = act[:, :, ::2, ::2]
    small = np.einsum("oc,nchw->nohw", P, taken) + q[:, None, None]
    rows = resize_matrix(small.shape[2], depth.shape[2])
    columns = resize_matrix(small.shape[3], depth.shape[3])
    full = np.einsum("ih,nohw,jw->noij", rows, small, columns)
    r = full - depth
    close = np.abs(r) <= delta
    loss = np.mean(np.where(close, 0.5 * r**2, delta * (np.abs(r) - 0.5 * delta)))

    # backward
    grads = {}
    dfull = np.where(close, r, delta * np.sign(r)) / r.size
    dsmall = np.einsum("ih,noij,jw->nohw", rows, dfull, columns)
    grads["3.weight"] = np.einsum("nohw,nchw->oc", dsmall, taken)[:, :, None, None]
    grads["3.bias"] = dsmall.sum(axis=(0, 2, 3))
    dact = np.zeros_like(act)
    dact[:, :, ::2, ::2] = np.einsum("oc,nohw->nchw", P, dsmall)
    grads["2.weight"] = np.sum(dact * np.where(y > 0, 0.0, y), axis=(0, 2, 3))
    dy = dact * np.where(y > 0, 1.0, slope[:, None, None])
    da, grads["1.weight"], grads["1.bias"] = batch_norm_backward(dy, hat, istd, gamma)
    grads["0.weight"] = depthwise_backward(da, lanes, K)
    return loss, grads


def problem(rng):
    params = {
        "0.weight": rng.normal(size=(6, 1, 3, 3)) * 0.6,
        "1.weight": 1 + rng.normal(size=6) * 0.3,
        "1.bias": rng.normal(size=6) * 0.4,
        "2.weight": rng.uniform(0.1, 0.5, size=6),
        "3.weight": rng.normal(size=(2, 6, 1, 1)) * 0.7,
        "3.bias": rng.normal(size=2) * 0.3,
    }
    return params, (rng.normal(size=(4, 3, 5, 7)), rng.normal(size=(4, 2, 5, 7)))


WRONG = [
    wrong(
        "channels_tiled_over_the_groups_in_both",
        "wrong-operand|different-function",
        "lanes = np.repeat(pad(images), copies, axis=1)",
        "lanes = np.tile(pad(images), (1, copies, 1, 1))",
    ),
    wrong(
        "dilation_forgotten_in_the_kernel_gradient",
        "wrong-operand",
        "seen = lanes[:, :, 2 * u : 2 * u + height, 2 * v : 2 * v + width]",
        "seen = lanes[:, :, u : u + height, v : v + width]",
    ),
    wrong(
        "norm_sums_divided_by_the_batch_only",
        "wrong-scale|wrong-reduction",
        "m = n * height * width",
        "m = n",
    ),
    wrong(
        "norm_statistics_taken_as_constants",
        "missing-path|diagonal-jacobian",
        "da = istd * (dhat - s1 / m - hat * s2 / m)",
        "da = istd * dhat",
    ),
    wrong(
        "variance_with_one_less_in_both",
        "different-function",
        "var = a.var(axis=(0, 2, 3), keepdims=True)",
        "var = a.var(axis=(0, 2, 3), keepdims=True, ddof=1)",
    ),
    wrong(
        "slope_learns_from_positive_values_too",
        "different-function|missing-derivative",
        "np.sum(dact * np.where(y > 0, 0.0, y), axis=(0, 2, 3))",
        "np.sum(dact * y, axis=(0, 2, 3))",
    ),
    wrong(
        "slope_learns_from_the_value_after_it",
        "wrong-operand",
        "np.where(y > 0, 0.0, y)",
        "np.where(y > 0, 0.0, act)",
    ),
    wrong(
        "plain_relu_backwards",
        "different-function|missing-path",
        "dy = dact * np.where(y > 0, 1.0, slope[:, None, None])",
        "dy = dact * (y > 0)",
    ),
    wrong(
        "far_errors_keep_only_their_sign",
        "different-function|missing-derivative",
        "dfull = np.where(close, r, delta * np.sign(r)) / r.size",
        "dfull = np.where(close, r, np.sign(r)) / r.size",
    ),
    wrong(
        "resize_undone_by_taking_every_second_pixel",
        "missing-path|different-function",
        'dsmall = np.einsum("ih,noij,jw->nohw", rows, dfull, columns)',
        "dsmall = dfull[:, :, ::2, ::2]",
    ),
    wrong(
        "corners_aligned_in_both",
        "different-function",
        "place = max((i + 0.5) * old / new - 0.5, 0.0)",
        "place = i * (old - 1) / (new - 1)",
    ),
    wrong(
        "strided_gradient_put_back_side_by_side",
        "wrong-operand|different-function",
        "dact[:, :, ::2, ::2] =",
        "dact[:, :, : small.shape[2], : small.shape[3]] =",
    ),
]

TOGETHER = [
    ("norm_sums_divided_by_the_batch_only", "far_errors_keep_only_their_sign"),
    ("norm_statistics_taken_as_constants", "resize_undone_by_taking_every_second_pixel"),
    ("dilation_forgotten_in_the_kernel_gradient", "slope_learns_from_the_value_after_it"),
    ("channels_tiled_over_the_groups_in_both", "slope_learns_from_positive_values_too"),
]

RIGHT = [
    right(
        "norm_backwards_in_small_steps",
        "    da = istd * (dhat - s1 / m - hat * s2 / m)\n",
        "    centred = hat / istd\n"
        "    dvar = -0.5 * istd**3 * (dhat * centred).sum(axis=(0, 2, 3), keepdims=True)\n"
        "    dmu = -istd * s1\n"
        "    da = dhat * istd + dvar * 2 * centred / m + dmu / m\n",
        "    dfull = np.where(close, r, delta * np.sign(r)) / r.size\n",
        "    dfull = np.clip(r, -delta, delta) / r.size\n",
    ),
]
