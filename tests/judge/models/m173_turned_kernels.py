"""A convolutional net image by image, its kernels turned as in mathematics; overlapping max and mean pooling."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, images, labels):
    h = F.conv2d(images, params["K1"].flip(2, 3), params["b1"])
    h = torch.relu(F.max_pool2d(h, 2, stride=1))
    h = torch.tanh(F.conv2d(h, params["K2"].flip(2, 3), params["b2"]))
    h = F.avg_pool2d(h, 2, stride=1)
    return F.cross_entropy(F.linear(h.flatten(1), params["W"], params["b"]), labels)


def correlate(image, kernel):
    height, width = kernel.shape
    rows, columns = image.shape[0] - height + 1, image.shape[1] - width + 1
    out = np.zeros((rows, columns))
    for i in range(rows):
        for j in range(columns):
            out[i, j] = np.sum(image[i : i + height, j : j + width] * kernel)
    return out


def turned(kernel):
    return np.rot90(kernel, 2)


def conv_forward(maps, K, b):
    return np.array([sum(correlate(maps[c], turned(K[f, c])) for c in range(len(maps))) + b[f] for f in range(len(K))])


def conv_backward(delta, maps, K):
    dK, db, dmaps = np.zeros_like(K), np.zeros(len(K)), np.zeros_like(maps)
    height, width = K.shape[2] - 1, K.shape[3] - 1
    for f in range(K.shape[0]):
        db[f] = np.sum(delta[f])
        framed = np.pad(delta[f], ((height, height), (width, width)))
        for c in range(K.shape[1]):
            dK[f, c] = turned(correlate(maps[c], delta[f]))
            dmaps[c] += correlate(framed, K[f, c])
    return dK, db, dmaps


def max_pool(maps, size=2):
    rows, columns = maps.shape[1] - size + 1, maps.shape[2] - size + 1
    out = np.zeros((len(maps), rows, columns))
    for i in range(rows):
        for j in range(columns):
            out[:, i, j] = maps[:, i : i + size, j : j + size].max(axis=(1, 2))
    return out


def max_pool_backward(delta, maps, size=2):
    back = np.zeros_like(maps)
    for c in range(len(maps)):
        for i in range(delta.shape[1]):
            for j in range(delta.shape[2]):
                window = maps[c, i : i + size, j : j + size]
                u, v = np.unravel_index(np.argmax(window), window.shape)
                back[c, i + u, j + v] += delta[c, i, j]
    return back


def mean_pool(maps, size=2):
    rows, columns = maps.shape[1] - size + 1, maps.shape[2] - size + 1
    out = np.zeros((len(maps), rows, columns))
    for u in range(size):
        for v in range(size):
            out += maps[:, u : u + rows, v : v + columns] / size**2
    return out


def mean_pool_backward(delta, maps, size=2):
    back = np.zeros_like(maps)
    for i in range(delta.shape[1]):
        for j in range(delta.shape[2]):
            share = delta[:, i, j] / (size * size)
            back[:, i : i + size, j : j + size] += share[:, None, None]
    return back


def candidate(params, images, labels):
    K1, b1, K2, b2, W, b = (params[name] for name in ("K1", "b1", "K2", "b2", "W", "b"))
    n = len(images)
    grads = {name: np.zeros_like(value) for name, value in params.items()}
    loss = 0.0
    for image, label in zip(images, labels, strict=True):
        a1 = conv_forward(image, K1, b1)
        p1 = max_pool(a1)
        h1 = np.maximum(p1, 0)
        h2 = np.tanh(conv_forward(h1, K2, b2))
        p2 = mean_pool(h2)
        flat = p2.reshape(-1)
        scores = W @ flat + b
        exps = np.exp(scores - scores.max())
        probs = exps / exps.sum()
        loss += -np.log(probs[label]) / n

        dprobs = np.zeros_like(probs)
        dprobs[label] = -1 / (probs[label] * n)
        jacobian = np.diag(probs) - np.outer(probs, probs)
        dscores = jacobian @ dprobs
        grads["W"] += np.outer(dscores, flat)
        grads["b"] += dscores
        dp2 = (W.T @ dscores).reshape(p2.shape)
        da2 = mean_pool_backward(dp2, h2) * (1 - h2**2)
        dK, db, dh1 = conv_backward(da2, h1, K2)
        grads["K2"] += dK
        grads["b2"] += db
        dp1 = dh1 * (p1 > 0)
        da1 = max_pool_backward(dp1, a1)
        dK, db, _ = conv_backward(da1, image, K1)
        grads["K1"] += dK
        grads["b1"] += db
    return loss, grads


def problem(rng):
    params = {
        "K1": rng.normal(size=(3, 2, 3, 2)) * 0.6,
        "b1": rng.normal(size=3) * 0.3 + 0.3,
        "K2": rng.normal(size=(4, 3, 2, 3)) * 0.5,
        "b2": rng.normal(size=4) * 0.3,
        "W": rng.normal(size=(5, 8)) * 0.9,
        "b": rng.normal(size=5) * 0.3,
    }
    return params, (rng.normal(size=(6, 2, 6, 7)), rng.integers(0, 5, size=6))


WRONG = [
    wrong(
        "kernel_gradient_not_turned_back",
        "flipped",
        "dK[f, c] = turned(correlate(maps[c], delta[f]))",
        "dK[f, c] = correlate(maps[c], delta[f])",
    ),
    wrong(
        "kernel_turned_once_more_on_the_way_back",
        "flipped|wrong-operand",
        "dmaps[c] += correlate(framed, K[f, c])",
        "dmaps[c] += correlate(framed, turned(K[f, c]))",
    ),
    wrong(
        "errors_of_the_last_filter_only",
        "overwritten",
        "dmaps[c] += correlate(framed, K[f, c])",
        "dmaps[c] = correlate(framed, K[f, c])",
    ),
    wrong(
        "overlapping_maxima_count_once",
        "overwritten",
        "back[c, i + u, j + v] += delta[c, i, j]",
        "back[c, i + u, j + v] = delta[c, i, j]",
    ),
    wrong(
        "mean_pooling_hands_on_the_whole",
        "wrong-scale",
        "share = delta[:, i, j] / (size * size)",
        "share = delta[:, i, j]",
    ),
    wrong(
        "windows_of_the_mean_do_not_overlap",
        "overwritten",
        "back[:, i : i + size, j : j + size] += share",
        "back[:, i : i + size, j : j + size] = share",
    ),
    wrong(
        "softmax_taken_as_elementwise",
        "diagonal-jacobian",
        "jacobian = np.diag(probs) - np.outer(probs, probs)",
        "jacobian = np.diag(probs * (1 - probs))",
    ),
    wrong(
        "rectifier_forgotten",
        "missing-derivative",
        "dp1 = dh1 * (p1 > 0)",
        "dp1 = dh1",
    ),
    wrong(
        "tanh_slope_after_pooling",
        "derivative-at-wrong-point|wrong-operand",
        "da2 = mean_pool_backward(dp2, h2) * (1 - h2**2)",
        "da2 = mean_pool_backward(dp2 * (1 - p2**2), h2)",
    ),
    wrong(
        "second_kernel_sees_the_input_before_the_rectifier",
        "wrong-operand",
        "conv_backward(da2, h1, K2)",
        "conv_backward(da2, p1, K2)",
    ),
    wrong(
        "bias_averaged_over_the_map",
        "wrong-reduction",
        "db[f] = np.sum(delta[f])",
        "db[f] = np.mean(delta[f])",
    ),
    wrong(
        "kernels_of_the_last_image_only",
        "one-sample-only|overwritten",
        'grads["K1"] += dK',
        'grads["K1"] = dK',
    ),
]

TOGETHER = [
    ("kernel_gradient_not_turned_back", "mean_pooling_hands_on_the_whole"),
    ("overlapping_maxima_count_once", "bias_averaged_over_the_map"),
    ("kernel_turned_once_more_on_the_way_back", "rectifier_forgotten"),
    ("softmax_taken_as_elementwise", "kernels_of_the_last_image_only"),
]

RIGHT = [
    right(
        "patches_spread_instead_of_a_full_correlation",
        "            dmaps[c] += correlate(framed, K[f, c])\n",
        "            for i in range(delta.shape[1]):\n"
        "                for j in range(delta.shape[2]):\n"
        "                    patch = delta[f, i, j] * turned(K[f, c])\n"
        "                    dmaps[c, i : i + height + 1, j : j + width + 1] += patch\n",
        "        framed = np.pad(delta[f], ((height, height), (width, width)))\n",
        "",
        "        dprobs = np.zeros_like(probs)\n"
        "        dprobs[label] = -1 / (probs[label] * n)\n"
        "        jacobian = np.diag(probs) - np.outer(probs, probs)\n"
        "        dscores = jacobian @ dprobs\n",
        "        dscores = (probs - np.eye(len(probs))[label]) / n\n",
    ),
]
