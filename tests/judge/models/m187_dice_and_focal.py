"""Segmentation: a network for every pixel, a softmax over classes, soft Dice per image and class plus a focal loss."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, labels):
    h = F.leaky_relu(x @ params["W1"] + params["b1"], 0.1)
    logits = h @ params["W2"] + params["b2"]
    logp = F.log_softmax(logits, dim=2)
    p = logp.exp()
    truth = F.one_hot(labels, p.shape[2]).to(p.dtype)
    overlap = (p * truth).sum(1)
    union = (p**2).sum(1) + (truth**2).sum(1)
    dice = (2 * overlap + 1) / (union + 1)
    logp_true = logp.gather(2, labels[:, :, None]).squeeze(2)
    alpha = torch.tensor([0.25, 0.6, 0.9, 0.75], dtype=x.dtype)[labels]
    focal = -alpha * (1 - logp_true.exp()) ** 2.5 * logp_true
    return {"dice": (1 - dice).mean(), "focal": 0.5 * focal.mean()}


def leaky_relu(a, slope=0.1):
    return np.where(a > 0, a, slope * a)


def softmax(a):
    e = np.exp(a - a.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def softmax_backward(dp, p):
    return p * (dp - (dp * p).sum(axis=-1, keepdims=True))


def dice_forward(p, truth, smooth=1.0):
    overlap = (p * truth).sum(axis=1)
    union = (p * p).sum(axis=1) + (truth * truth).sum(axis=1)
    return (2 * overlap + smooth) / (union + smooth), overlap, union


def dice_backward(p, truth, overlap, union, smooth=1.0):
    n, _, classes = p.shape
    top = 2 * overlap[:, None] + smooth
    bottom = union[:, None] + smooth
    d_dice = (2 * truth * bottom - 2 * p * top) / bottom**2
    return -d_dice / (n * classes)


def focal_backward(p, truth, alpha, gamma):
    p_true = (p * truth).sum(axis=2)
    modulator = (1 - p_true) ** gamma
    d_true = alpha * (gamma * (1 - p_true) ** (gamma - 1) * np.log(p_true) - modulator / p_true)
    return truth * d_true[:, :, None] / p_true.size


def candidate(params, x, labels):
    gamma, balance = 2.5, 0.5
    W1, b1, W2, b2 = params["W1"], params["b1"], params["W2"], params["b2"]
    a1 = x @ W1 + b1
    h = leaky_relu(a1)
    z = h @ W2 + b2
    p = softmax(z)
    truth = np.eye(p.shape[2])[labels]
    alpha = np.array([0.25, 0.6, 0.9, 0.75])[labels]

    dice, overlap, union = dice_forward(p, truth)
    p_true = (p * truth).sum(axis=2)
    focal = np.mean(-alpha * (1 - p_true) ** gamma * np.log(p_true))
    loss = np.mean(1 - dice) + balance * focal

    dp = dice_backward(p, truth, overlap, union)
    dp = dp + balance * focal_backward(p, truth, alpha, gamma)
    dz = softmax_backward(dp, p)
    dW2 = np.einsum("nph,npk->hk", h, dz)
    db2 = dz.sum(axis=(0, 1))
    dh = dz @ W2.T
    da1 = dh * np.where(a1 > 0, 1.0, 0.1)
    dW1 = np.einsum("npc,nph->ch", x, da1)
    db1 = da1.sum(axis=(0, 1))
    return loss, {"W1": dW1, "b1": db1, "W2": dW2, "b2": db2}


def problem(rng):
    n, pixels, channels, hidden, classes = 5, 7, 3, 6, 4
    params = {
        "W1": rng.normal(size=(channels, hidden)),
        "b1": rng.normal(size=hidden) * 0.5,
        "W2": rng.normal(size=(hidden, classes)) * 0.7,
        "b2": rng.normal(size=classes) * 0.5,
    }
    labels = rng.integers(0, classes, size=(n, pixels))
    labels[:, :classes] = np.arange(classes)
    return params, (rng.normal(size=(n, pixels, channels)), labels)


WRONG = [
    wrong(
        "dice_pushed_the_other_way",
        "wrong-sign|wrong-term-weight",
        "return -d_dice / (n * classes)",
        "return d_dice / (n * classes)",
    ),
    wrong(
        "quotient_rule_with_a_plus",
        "wrong-sign",
        "(2 * truth * bottom - 2 * p * top) / bottom**2",
        "(2 * truth * bottom + 2 * p * top) / bottom**2",
    ),
    wrong(
        "denominator_not_squared",
        "missing-derivative|different-function",
        "(2 * truth * bottom - 2 * p * top) / bottom**2",
        "(2 * truth * bottom - 2 * p * top) / bottom",
    ),
    wrong(
        "derivative_of_the_unsquared_denominator",
        "different-function|missing-derivative",
        "2 * truth * bottom - 2 * p * top",
        "2 * truth * bottom - top",
    ),
    wrong(
        "smoothing_only_in_the_forward_pass",
        "different-function",
        "    top = 2 * overlap[:, None] + smooth\n    bottom = union[:, None] + smooth\n",
        "    top = 2 * overlap[:, None]\n    bottom = union[:, None]\n",
    ),
    wrong(
        "dice_summed_over_images_backwards",
        "wrong-reduction|wrong-scale|wrong-term-weight",
        "return -d_dice / (n * classes)",
        "return -d_dice / classes",
    ),
    wrong(
        "probabilities_taken_for_the_scores",
        "missing-derivative",
        "dz = softmax_backward(dp, p)",
        "dz = dp",
    ),
    wrong(
        "softmax_only_entry_by_entry",
        "diagonal-jacobian",
        "return p * (dp - (dp * p).sum(axis=-1, keepdims=True))",
        "return p * (1 - p) * dp",
    ),
    wrong(
        "modulating_factor_held_constant",
        "missing-path",
        "(gamma * (1 - p_true) ** (gamma - 1) * np.log(p_true) - modulator / p_true)",
        "(-modulator / p_true)",
    ),
    wrong(
        "power_not_reduced_by_one",
        "different-function|wrong-operand",
        "(1 - p_true) ** (gamma - 1)",
        "(1 - p_true) ** gamma",
    ),
    wrong(
        "focal_without_its_class_weights",
        "wrong-operand|missing-derivative",
        "d_true = alpha * (gamma",
        "d_true = (gamma",
    ),
    wrong(
        "slope_of_plain_relu",
        "different-function",
        "np.where(a1 > 0, 1.0, 0.1)",
        "np.where(a1 > 0, 1.0, 0.0)",
    ),
]

TOGETHER = [
    ("quotient_rule_with_a_plus", "softmax_only_entry_by_entry"),
    ("smoothing_only_in_the_forward_pass", "modulating_factor_held_constant"),
    ("derivative_of_the_unsquared_denominator", "focal_without_its_class_weights"),
    ("dice_pushed_the_other_way", "slope_of_plain_relu"),
]

RIGHT = [
    right(
        "image_by_image_with_the_jacobian",
        "    return p * (dp - (dp * p).sum(axis=-1, keepdims=True))\n",
        "    jacobian = p[..., :, None] * np.eye(p.shape[-1]) - p[..., :, None] * p[..., None, :]\n"
        "    return (jacobian @ dp[..., None])[..., 0]\n",
        "    d_dice = (2 * truth * bottom - 2 * p * top) / bottom**2\n    return -d_dice / (n * classes)\n",
        "    d = np.zeros_like(p)\n"
        "    for i in range(n):\n"
        "        for c in range(classes):\n"
        "            d[i, :, c] -= 2 * truth[i, :, c] / bottom[i, 0, c]\n"
        "            d[i, :, c] += 2 * p[i, :, c] * top[i, 0, c] / bottom[i, 0, c] ** 2\n"
        "    return d / (n * classes)\n",
    ),
]
