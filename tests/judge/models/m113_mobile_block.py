"""An inverted residual block as in MobileNetV2: stem, expansion, depthwise 3x3, projection, skip, pooled softmax."""

import numpy as np
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, images, labels):
    x = F.conv2d(images, params["stem"][:, :, None, None], params["stem_b"])
    h = F.conv2d(x, params["expand"][:, :, None, None])
    h = F.relu6(F.batch_norm(h, None, None, params["g1"], params["b1"], training=True))
    h = F.conv2d(h, params["depth"][:, None], padding=1, groups=h.shape[1])
    h = F.relu6(F.batch_norm(h, None, None, params["g2"], params["b2"], training=True))
    h = F.conv2d(h, params["project"][:, :, None, None])
    h = F.batch_norm(h, None, None, params["g3"], params["b3"], training=True)
    pooled = F.adaptive_avg_pool2d(x + h, 1).flatten(1)
    return F.cross_entropy(F.linear(pooled, params["head"], params["head_b"]), labels)


def pointwise(a, W):
    return np.einsum("oc,nchw->nohw", W, a)


def pointwise_back(dout, a, W):
    return np.einsum("oc,nohw->nchw", W, dout), np.einsum("nohw,nchw->oc", dout, a)


def norm(a, gamma, beta, eps=1e-5):
    mean = a.mean(axis=(0, 2, 3), keepdims=True)
    var = a.var(axis=(0, 2, 3), keepdims=True)
    inv = 1 / np.sqrt(var + eps)
    hat = (a - mean) * inv
    return gamma[:, None, None] * hat + beta[:, None, None], (hat, inv, gamma)


def norm_back(dout, cache):
    hat, inv, gamma = cache
    m = dout.size // dout.shape[1]
    dgamma = np.sum(dout * hat, axis=(0, 2, 3))
    dbeta = np.sum(dout, axis=(0, 2, 3))
    dhat = dout * gamma[:, None, None]
    sum_d = dhat.sum(axis=(0, 2, 3), keepdims=True)
    sum_dh = np.sum(dhat * hat, axis=(0, 2, 3), keepdims=True)
    da = inv * (dhat - sum_d / m - hat * sum_dh / m)
    return da, dgamma, dbeta


def relu6(a):
    return np.clip(a, 0, 6)


def relu6_slope(a):
    return (a > 0) & (a < 6)


def depthwise(a, K):
    height, width = a.shape[2:]
    padded = np.pad(a, ((0, 0), (0, 0), (1, 1), (1, 1)))
    out = np.zeros_like(a)
    for i in range(3):
        for j in range(3):
            out += K[:, i, j][:, None, None] * padded[:, :, i : i + height, j : j + width]
    return out


def depthwise_back(dout, a, K):
    height, width = a.shape[2:]
    padded = np.pad(a, ((0, 0), (0, 0), (1, 1), (1, 1)))
    dpadded = np.zeros_like(padded)
    dK = np.zeros_like(K)
    for i in range(3):
        for j in range(3):
            patch = padded[:, :, i : i + height, j : j + width]
            dK[:, i, j] = np.sum(dout * patch, axis=(0, 2, 3))
            dpadded[:, :, i : i + height, j : j + width] += dout * K[:, i, j][:, None, None]
    return dpadded[:, :, 1:-1, 1:-1], dK


def candidate(params, images, labels):
    n = len(images)
    # forward
    x = pointwise(images, params["stem"]) + params["stem_b"][:, None, None]
    u1, cache1 = norm(pointwise(x, params["expand"]), params["g1"], params["b1"])
    a1 = relu6(u1)
    u2, cache2 = norm(depthwise(a1, params["depth"]), params["g2"], params["b2"])
    a2 = relu6(u2)
    u3, cache3 = norm(pointwise(a2, params["project"]), params["g3"], params["b3"])
    out = x + u3
    area = out.shape[2] * out.shape[3]
    pooled = out.sum(axis=(2, 3)) / area
    scores = pooled @ params["head"].T + params["head_b"]
    scores = scores - scores.max(axis=1, keepdims=True)
    probs = np.exp(scores)
    probs /= probs.sum(axis=1, keepdims=True)
    loss = -np.mean(np.log(probs[np.arange(n), labels]))

    # backward
    grads = {}
    dscores = probs.copy()
    dscores[np.arange(n), labels] -= 1
    dscores /= n
    grads["head"] = dscores.T @ pooled
    grads["head_b"] = dscores.sum(axis=0)
    dpooled = dscores @ params["head"]
    dout = np.ones_like(out) * dpooled[:, :, None, None] / area
    dh3, grads["g3"], grads["b3"] = norm_back(dout, cache3)
    da2, grads["project"] = pointwise_back(dh3, a2, params["project"])
    du2 = da2 * relu6_slope(u2)
    dh2, grads["g2"], grads["b2"] = norm_back(du2, cache2)
    da1, grads["depth"] = depthwise_back(dh2, a1, params["depth"])
    du1 = da1 * relu6_slope(u1)
    dh1, grads["g1"], grads["b1"] = norm_back(du1, cache1)
    dx, grads["expand"] = pointwise_back(dh1, x, params["expand"])
    dx = dx + dout
    _, grads["stem"] = pointwise_back(dx, images, params["stem"])
    grads["stem_b"] = dx.sum(axis=(0, 2, 3))
    return loss, grads


def problem(rng):
    params = {
        "stem": rng.normal(size=(7, 2)),
        "stem_b": rng.normal(size=7) * 0.5,
        "expand": rng.normal(size=(14, 7)) * 0.5,
        "g1": 2.5 + rng.normal(size=14) * 0.5,
        "b1": 2.5 + rng.normal(size=14),
        "depth": rng.normal(size=(14, 3, 3)) * 0.5,
        "g2": 2.5 + rng.normal(size=14) * 0.5,
        "b2": 2.0 + rng.normal(size=14),
        "project": rng.normal(size=(7, 14)) * 0.4,
        "g3": 1.5 + rng.normal(size=7) * 0.4,
        "b3": rng.normal(size=7) * 0.5,
        "head": rng.normal(size=(8, 7)) * 0.5,
        "head_b": rng.normal(size=8) * 0.3,
    }
    images = rng.normal(size=(5, 2, 4, 6)) + 0.5 * rng.normal(size=(5, 2))[:, :, None, None]
    return params, (images, rng.integers(8, size=5))


WRONG = [
    wrong("skip_forgotten", "missing-path", "    dx = dx + dout\n", ""),
    wrong(
        "statistics_taken_for_constants",
        "diagonal-jacobian|missing-path",
        "da = inv * (dhat - sum_d / m - hat * sum_dh / m)",
        "da = inv * dhat",
    ),
    wrong(
        "route_through_the_variance_forgotten",
        "missing-path|diagonal-jacobian",
        " - hat * sum_dh / m)",
        ")",
    ),
    wrong(
        "statistics_counted_over_samples_only",
        "wrong-scale|wrong-reduction",
        "m = dout.size // dout.shape[1]",
        "m = len(dout)",
    ),
    wrong("gamma_forgotten", "missing-derivative|wrong-operand", "dhat = dout * gamma[:, None, None]", "dhat = dout"),
    wrong("slope_without_the_ceiling", "different-function", "return (a > 0) & (a < 6)", "return a > 0"),
    wrong(
        "slopes_of_the_depthwise_layer_again",
        "wrong-operand|derivative-at-wrong-point",
        "du1 = da1 * relu6_slope(u1)",
        "du1 = da1 * relu6_slope(u2)",
    ),
    wrong("expansion_slope_forgotten", "missing-derivative", "du1 = da1 * relu6_slope(u1)", "du1 = da1"),
    wrong(
        "pooling_not_averaged_backwards",
        "wrong-scale|wrong-reduction|missing-derivative",
        "dout = np.ones_like(out) * dpooled[:, :, None, None] / area",
        "dout = np.ones_like(out) * dpooled[:, :, None, None]",
    ),
    wrong(
        "depthwise_kernel_turned_backwards",
        "flipped|wrong-operand",
        "+= dout * K[:, i, j][:, None, None]",
        "+= dout * K[:, 2 - i, 2 - j][:, None, None]",
    ),
    wrong(
        "windows_overwrite",
        "overwritten",
        "dpadded[:, :, i : i + height, j : j + width] += dout",
        "dpadded[:, :, i : i + height, j : j + width] = dout",
    ),
    wrong(
        "kernel_averaged_over_samples",
        "wrong-scale|wrong-reduction",
        "np.sum(dout * patch, axis=(0, 2, 3))",
        "np.sum(dout * patch, axis=(2, 3)).mean(axis=0)",
    ),
    wrong(
        "projection_fed_before_its_relu6",
        "wrong-operand|different-function",
        "pointwise_back(dh3, a2,",
        "pointwise_back(dh3, u2,",
    ),
    wrong(
        "plain_relu_in_both",
        "different-function",
        "return np.clip(a, 0, 6)",
        "return np.maximum(a, 0)",
        "return (a > 0) & (a < 6)",
        "return a > 0",
    ),
    wrong(
        "relu6_after_the_projection_too_in_both",
        "different-function",
        "out = x + u3",
        "out = x + relu6(u3)",
        "norm_back(dout, cache3)",
        "norm_back(dout * relu6_slope(u3), cache3)",
    ),
    wrong(
        "averaged_over_the_classes_in_cost",
        "wrong-loss",
        "loss = -np.mean(np.log(probs[np.arange(n), labels]))",
        "loss = -np.mean(np.eye(probs.shape[1])[labels] * np.log(probs))",
    ),
]

TOGETHER = [
    ("skip_forgotten", "slope_without_the_ceiling"),
    ("pooling_not_averaged_backwards", "kernel_averaged_over_samples"),
    ("depthwise_kernel_turned_backwards", "projection_fed_before_its_relu6"),
    ("expansion_slope_forgotten", "route_through_the_variance_forgotten"),
    ("plain_relu_in_both", "slopes_of_the_depthwise_layer_again"),
    ("gamma_forgotten", "windows_overwrite"),
    ("statistics_taken_for_constants", "projection_fed_before_its_relu6", "skip_forgotten"),
    ("relu6_after_the_projection_too_in_both", "kernel_averaged_over_samples", "expansion_slope_forgotten"),
]

RIGHT = [
    right(
        "mean_and_variance_apart",
        "    da = inv * (dhat - sum_d / m - hat * sum_dh / m)\n",
        "    dvar = -0.5 * inv**2 * sum_dh\n"
        "    dmean = -inv * sum_d\n"
        "    da = dhat * inv + dvar * 2 * (hat / inv) / m + dmean / m\n",
        "da2 * relu6_slope(u2)",
        "np.where(a2 == u2, da2, 0.0)",
    ),
    right(
        "depthwise_back_as_a_convolution",
        "    dpadded = np.zeros_like(padded)\n",
        "",
        "            dpadded[:, :, i : i + height, j : j + width] += dout * K[:, i, j][:, None, None]\n"
        "    return dpadded[:, :, 1:-1, 1:-1], dK\n",
        "    return depthwise(dout, K[:, ::-1, ::-1]), dK\n",
        "dK[:, i, j] = np.sum(dout * patch, axis=(0, 2, 3))",
        'dK[:, i, j] = np.einsum("nchw,nchw->c", dout, patch)',
    ),
    right(
        "masks_as_floats_in_place",
        "    du2 = da2 * relu6_slope(u2)\n",
        "    du2 = da2\n    du2[(u2 <= 0) | (u2 >= 6)] = 0.0\n",
        "    du1 = da1 * relu6_slope(u1)\n",
        "    du1 = da1 * relu6_slope(u1).astype(float)\n",
        "    dx = dx + dout\n",
        "    dx += dout\n",
        "    dscores = probs.copy()\n    dscores[np.arange(n), labels] -= 1\n    dscores /= n\n",
        "    dscores = (probs - np.eye(probs.shape[1])[labels]) / n\n",
        "dout = np.ones_like(out) * dpooled[:, :, None, None] / area",
        "dout = np.broadcast_to(dpooled[:, :, None, None] / area, out.shape)",
    ),
]
