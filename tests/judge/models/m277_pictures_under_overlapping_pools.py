"""A course's convolutional layers with caches: two convolutions, ELU, overlapping max pools, squared hinge, L2."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, y):
    h = F.elu(F.conv2d(x, params["w1"], params["b1"], stride=2), alpha=0.7)
    h = F.conv2d(h, params["w2"], params["b2"], padding=1)
    features = F.max_pool2d(h, 2, stride=1).mean(dim=(2, 3))
    scores = features @ params["W3"] + params["b3"]
    margins = torch.relu(scores - scores.gather(1, y[:, None]) + 1)
    others = 1 - F.one_hot(y, scores.shape[1]).to(scores.dtype)
    data = (others * margins**2).sum() / len(x)
    penalty = 0.5 * 0.3 * sum((params[name] ** 2).sum() for name in ("w1", "w2", "W3"))
    return {"data": data, "penalty": penalty}


def conv_forward(x, w, b, conv_param):
    stride, pad = conv_param["stride"], conv_param["pad"]
    N, C, H, W = x.shape
    K, _, HH, WW = w.shape
    xp = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    Ho = 1 + (H + 2 * pad - HH) // stride
    Wo = 1 + (W + 2 * pad - WW) // stride
    out = np.zeros((N, K, Ho, Wo), dtype=x.dtype)
    for n in range(N):
        for i in range(Ho):
            for j in range(Wo):
                window = xp[n, :, i * stride : i * stride + HH, j * stride : j * stride + WW]
                out[n, :, i, j] = np.sum(w * window, axis=(1, 2, 3)) + b
    return out, (x, xp, w, conv_param)


def conv_backward(dout, cache):
    x, xp, w, conv_param = cache
    stride, pad = conv_param["stride"], conv_param["pad"]
    N, C, H, W = x.shape
    K, _, HH, WW = w.shape
    dxp = np.zeros_like(xp)
    dw = np.zeros_like(w)
    db = np.sum(dout, axis=(0, 2, 3))
    for n in range(N):
        for i in range(dout.shape[2]):
            for j in range(dout.shape[3]):
                top, left = i * stride, j * stride
                d = dout[n, :, i, j][:, None, None, None]
                dw += d * xp[n, :, top : top + HH, left : left + WW]
                dxp[n, :, i * stride : i * stride + HH, j * stride : j * stride + WW] += np.sum(d * w, axis=0)
    dx = dxp[:, :, pad : pad + H, pad : pad + W]
    return dx, dw, db


def elu_forward(z, alpha=0.7):
    return np.where(z > 0, z, alpha * (np.exp(z) - 1)), z


def elu_backward(dout, cache, alpha=0.7):
    z = cache
    return dout * np.where(z > 0, 1, alpha * np.exp(z))


def pool_forward(x, size):
    N, C, H, W = x.shape
    out = np.zeros((N, C, H - size + 1, W - size + 1), dtype=x.dtype)
    for n in range(N):
        for i in range(H - size + 1):
            for j in range(W - size + 1):
                out[n, :, i, j] = x[n, :, i : i + size, j : j + size].max(axis=(1, 2))
    return out, (x, size)


def pool_backward(dout, cache):
    x, size = cache
    dx = np.zeros_like(x)
    for n in range(dout.shape[0]):
        for i in range(dout.shape[2]):
            for j in range(dout.shape[3]):
                window = x[n, :, i : i + size, j : j + size]
                mask = window == window.max(axis=(1, 2), keepdims=True)
                dx[n, :, i : i + size, j : j + size] += mask * dout[n, :, i, j][:, None, None]
    return dx


def svm_loss(scores, y):
    N = scores.shape[0]
    correct = scores[np.arange(N), y]
    margins = np.maximum(0, scores - correct[:, None] + 1)
    margins[np.arange(N), y] = 0
    loss = np.sum(margins**2) / N
    dscores = 2 * margins / N
    dscores[np.arange(N), y] -= np.sum(dscores, axis=1)
    return loss, dscores


def candidate(params, x, y):
    reg = 0.3
    c1, cache1 = conv_forward(x, params["w1"], params["b1"], {"stride": 2, "pad": 0})
    r1, cache_elu = elu_forward(c1)
    c2, cache2 = conv_forward(r1, params["w2"], params["b2"], {"stride": 1, "pad": 1})
    pooled, cache_pool = pool_forward(c2, 2)
    features = pooled.mean(axis=(2, 3))
    scores = features.dot(params["W3"]) + params["b3"]
    loss, dscores = svm_loss(scores, y)
    loss += 0.5 * reg * (np.sum(params["w1"] ** 2) + np.sum(params["w2"] ** 2) + np.sum(params["W3"] ** 2))

    grads = {}
    grads["W3"] = features.T.dot(dscores)
    grads["b3"] = dscores.sum(axis=0)
    dfeatures = dscores.dot(params["W3"].T)
    area = pooled.shape[2] * pooled.shape[3]
    dpooled = np.ones_like(pooled) * dfeatures[:, :, None, None] / area
    dc2 = pool_backward(dpooled, cache_pool)
    dr1, grads["w2"], grads["b2"] = conv_backward(dc2, cache2)
    dc1 = elu_backward(dr1, cache_elu)
    _, grads["w1"], grads["b1"] = conv_backward(dc1, cache1)
    for name in ("w1", "w2", "W3"):
        grads[name] += reg * params[name]
    return loss, grads


def problem(rng):
    samples, channels, first, second, classes = 3, 2, 4, 5, 6
    params = {
        "w1": rng.normal(size=(first, channels, 4, 3)) * 0.4,
        "b1": rng.normal(size=first) * 0.3,
        "w2": rng.normal(size=(second, first, 2, 2)) * 0.5,
        "b2": rng.normal(size=second) * 0.3,
        "W3": rng.normal(size=(second, classes)) * 0.5,
        "b3": rng.normal(size=classes) * 0.3,
    }
    return params, (rng.normal(size=(samples, channels, 8, 9)), np.array([4, 1, 0]))


WRONG = [
    wrong(
        "two_of_the_square_forgotten",
        "wrong-scale|wrong-term-weight",
        "dscores = 2 * margins / N",
        "dscores = margins / N",
    ),
    wrong(
        "hinge_not_squared_backwards",
        "different-function|missing-derivative",
        "dscores = 2 * margins / N",
        "dscores = (margins > 0) / N",
    ),
    wrong(
        "true_class_gets_no_gradient",
        "missing-path",
        "    dscores[np.arange(N), y] -= np.sum(dscores, axis=1)\n",
        "",
    ),
    wrong(
        "margin_of_the_true_class_counted",
        "wrong-loss",
        "    margins[np.arange(N), y] = 0\n",
        "",
    ),
    wrong(
        "mean_over_the_map_not_divided_backwards",
        "wrong-scale|wrong-reduction|missing-derivative",
        "dfeatures[:, :, None, None] / area",
        "dfeatures[:, :, None, None]",
    ),
    wrong(
        "overlapping_pools_assigned",
        "overwritten",
        "+= mask * dout[n, :, i, j][:, None, None]",
        "= mask * dout[n, :, i, j][:, None, None]",
    ),
    wrong(
        "stride_forgotten_for_the_weights",
        "wrong-operand",
        "top, left = i * stride, j * stride",
        "top, left = i, j",
    ),
    wrong(
        "elu_with_the_usual_alpha_backwards",
        "different-function|wrong-scale",
        "np.where(z > 0, 1, alpha * np.exp(z))",
        "np.where(z > 0, 1, np.exp(z))",
    ),
    wrong(
        "elu_slope_at_its_output",
        "derivative-at-wrong-point",
        "(np.exp(z) - 1)), z",
        "(np.exp(z) - 1)), np.where(z > 0, z, alpha * np.expm1(z))",
    ),
    wrong(
        "padding_cut_off_at_one_end_only",
        "wrong-operand|shifted-in-time",
        "dxp[:, :, pad : pad + H, pad : pad + W]",
        "dxp[:, :, :H, :W]",
    ),
    wrong(
        "kernel_turned_on_the_way_back",
        "flipped|wrong-operand|not-transposed",
        "+= np.sum(d * w, axis=0)",
        "+= np.sum(d * w[:, :, ::-1, ::-1], axis=0)",
    ),
    wrong(
        "kernel_gradient_of_the_last_window",
        "overwritten|one-sample-only|last-step-only",
        "dw += d * xp",
        "dw = d * xp",
    ),
    wrong(
        "penalty_twice_as_strong_backwards",
        "wrong-term-weight|wrong-scale",
        "grads[name] += reg * params[name]",
        "grads[name] += 2 * reg * params[name]",
    ),
    wrong(
        "average_pools_in_both",
        "different-function",
        "x[n, :, i : i + size, j : j + size].max(axis=(1, 2))",
        "x[n, :, i : i + size, j : j + size].mean(axis=(1, 2))",
        "mask = window == window.max(axis=(1, 2), keepdims=True)",
        "mask = np.ones_like(window) / size**2",
    ),
]

TOGETHER = [
    ("two_of_the_square_forgotten", "overlapping_pools_assigned"),
    ("hinge_not_squared_backwards", "penalty_twice_as_strong_backwards"),
    ("true_class_gets_no_gradient", "elu_with_the_usual_alpha_backwards"),
    ("margin_of_the_true_class_counted", "stride_forgotten_for_the_weights"),
    ("mean_over_the_map_not_divided_backwards", "kernel_turned_on_the_way_back"),
    ("padding_cut_off_at_one_end_only", "kernel_gradient_of_the_last_window"),
    ("stride_forgotten_for_the_weights", "kernel_turned_on_the_way_back"),
    ("elu_slope_at_its_output", "average_pools_in_both"),
    ("overlapping_pools_assigned", "elu_with_the_usual_alpha_backwards", "penalty_twice_as_strong_backwards"),
    ("true_class_gets_no_gradient", "mean_over_the_map_not_divided_backwards", "stride_forgotten_for_the_weights"),
]

RIGHT = [
    right(
        "largest_found_by_index",
        "                mask = window == window.max(axis=(1, 2), keepdims=True)\n"
        "                dx[n, :, i : i + size, j : j + size] += mask * dout[n, :, i, j][:, None, None]\n",
        "                for c in range(x.shape[1]):\n"
        "                    a, b = np.unravel_index(np.argmax(window[c]), window[c].shape)\n"
        "                    dx[n, c, i + a, j + b] += dout[n, c, i, j]\n",
        "np.where(z > 0, 1, alpha * np.exp(z))",
        "np.where(z > 0, 1, np.where(z > 0, z, alpha * (np.exp(z) - 1)) + alpha)",
    ),
    right(
        "windows_as_matrix_products",
        "                dw += d * xp[n, :, top : top + HH, left : left + WW]\n",
        "                dw += np.outer(d, xp[n, :, top : top + HH, left : left + WW]).reshape(w.shape)\n",
        "+= np.sum(d * w, axis=0)",
        "+= np.tensordot(dout[n, :, i, j], w, axes=1)",
        "    dscores = 2 * margins / N\n    dscores[np.arange(N), y] -= np.sum(dscores, axis=1)\n",
        "    dscores = margins.copy()\n    dscores[np.arange(N), y] = -margins.sum(axis=1)\n    dscores *= 2 / N\n",
    ),
]
