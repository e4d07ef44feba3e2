"""A small MLP-mixer: patches of an image, one MLP across tokens, one across channels, smoothed labels."""

import numpy as np
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, images, labels):
    patches = F.unfold(images[:, None], kernel_size=2, stride=2).mT
    x = F.linear(patches, params["E"], params["e"])
    y = F.layer_norm(x, x.shape[-1:], params["g1"], params["s1"]).mT
    y = F.linear(F.gelu(F.linear(y, params["T1"], params["t1"]), approximate="tanh"), params["T2"], params["t2"])
    x = x + y.mT
    y = F.layer_norm(x, x.shape[-1:], params["g2"], params["s2"])
    y = F.linear(F.gelu(F.linear(y, params["C1"], params["c1"]), approximate="tanh"), params["C2"], params["c2"])
    x = x + y
    logits = F.linear(x.mean(dim=1), params["H"], params["h"])
    return F.cross_entropy(logits, labels, label_smoothing=0.15)


def cut(images, size=2):
    n, height, width = images.shape
    grid = images.reshape(n, height // size, size, width // size, size)
    return grid.transpose(0, 1, 3, 2, 4).reshape(n, -1, size * size)


def gelu(v):
    return 0.5 * v * (1 + np.tanh(np.sqrt(2 / np.pi) * (v + 0.044715 * v**3)))


def gelu_slope(v):
    c = np.sqrt(2 / np.pi)
    th = np.tanh(c * (v + 0.044715 * v**3))
    inner = c * (1 + 3 * 0.044715 * v**2)
    return 0.5 * (1 + th) + 0.5 * v * (1 - th**2) * inner


def norm(x, gain, shift, eps=1e-5):
    centred = x - x.mean(axis=-1, keepdims=True)
    deviation = np.sqrt(np.mean(centred**2, axis=-1, keepdims=True) + eps)
    unit = centred / deviation
    return gain * unit + shift, (unit, deviation, gain)


def norm_back(dy, cache):
    """The gradients of the input, the gain and the shift."""
    unit, deviation, gain = cache
    dgain = np.sum(dy * unit, axis=(0, 1))
    dshift = np.sum(dy, axis=(0, 1))
    dunit = dy * gain
    along = np.mean(dunit * unit, axis=-1, keepdims=True)
    dx = (dunit - dunit.mean(axis=-1, keepdims=True) - unit * along) / deviation
    return dx, dgain, dshift


def mlp(x, A, a, B, b):
    pre = x @ A.T + a
    act = gelu(pre)
    return act @ B.T + b, (x, pre, act, A, B)


def mlp_back(dy, cache):
    """The gradients of the input, and of both layers' weights and biases."""
    x, pre, act, A, B = cache
    dB = np.einsum("nro,nrh->oh", dy, act)
    db = dy.sum(axis=(0, 1))
    dact = dy @ B
    dpre = dact * gelu_slope(pre)
    dA = np.einsum("nrh,nri->hi", dpre, x)
    da = dpre.sum(axis=(0, 1))
    return dpre @ A, dA, da, dB, db


def candidate(params, images, labels, eps=0.15):
    p = params
    n, classes = len(images), len(p["h"])
    patches = cut(images)
    x0 = patches @ p["E"].T + p["e"]
    y1, norm1 = norm(x0, p["g1"], p["s1"])
    tokens, mlp1 = mlp(y1.transpose(0, 2, 1), p["T1"], p["t1"], p["T2"], p["t2"])
    x1 = x0 + tokens.transpose(0, 2, 1)
    y2, norm2 = norm(x1, p["g2"], p["s2"])
    channels, mlp2 = mlp(y2, p["C1"], p["c1"], p["C2"], p["c2"])
    x2 = x1 + channels
    pooled = x2.mean(axis=1)
    scores = pooled @ p["H"].T + p["h"]
    scores = scores - scores.max(axis=1, keepdims=True)
    logp = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    hard = np.eye(classes)[labels]
    soft = (1 - eps) * hard + eps / classes
    loss = -np.sum(soft * logp) / n

    g = {}
    dscores = (np.exp(logp) - soft) / n
    g["H"] = dscores.T @ pooled
    g["h"] = dscores.sum(axis=0)
    dpooled = dscores @ p["H"]
    # every patch has its share in the mean
    dx2 = np.repeat(dpooled[:, None], x2.shape[1], axis=1) / x2.shape[1]
    # channel mixing
    dy2, g["C1"], g["c1"], g["C2"], g["c2"] = mlp_back(dx2, mlp2)
    dx1, g["g2"], g["s2"] = norm_back(dy2, norm2)
    dx1 = dx1 + dx2
    # token mixing
    dtokens = dx1.transpose(0, 2, 1)
    dmixed, g["T1"], g["t1"], g["T2"], g["t2"] = mlp_back(dtokens, mlp1)
    dy1 = dmixed.transpose(0, 2, 1)
    dx0, g["g1"], g["s1"] = norm_back(dy1, norm1)
    dx0 = dx0 + dx1
    # embedding
    g["E"] = np.einsum("nsc,nsp->cp", dx0, patches)
    g["e"] = np.sum(dx0, axis=(0, 1))
    return loss, g


def problem(rng):
    params = {
        "E": rng.normal(size=(7, 4)) * 0.7,
        "e": rng.normal(size=7) * 0.4,
        "g1": 1 + 0.4 * rng.normal(size=7),
        "s1": rng.normal(size=7) * 0.4,
        "T1": rng.normal(size=(9, 6)) * 0.6,
        "t1": rng.normal(size=9) * 0.4,
        "T2": rng.normal(size=(6, 9)) * 0.5,
        "t2": rng.normal(size=6) * 0.4,
        "g2": 1 + 0.4 * rng.normal(size=7),
        "s2": rng.normal(size=7) * 0.4,
        "C1": rng.normal(size=(8, 7)) * 0.6,
        "c1": rng.normal(size=8) * 0.4,
        "C2": rng.normal(size=(7, 8)) * 0.5,
        "c2": rng.normal(size=7) * 0.4,
        "H": rng.normal(size=(3, 7)) * 0.7,
        "h": rng.normal(size=3) * 0.4,
    }
    return params, (rng.normal(size=(5, 6, 4)), np.array([2, 0, 1, 1, 2]))


WRONG = [
    wrong("embedding_skip_not_led_back", "missing-path", "    dx0 = dx0 + dx1\n", ""),
    wrong("channel_mixing_not_led_back", "missing-path", "    dx1 = dx1 + dx2\n", "    dx1 = dx2\n"),
    wrong(
        "norm_only_divides_backwards",
        "missing-path|diagonal-jacobian",
        "dx = (dunit - dunit.mean(axis=-1, keepdims=True) - unit * along) / deviation",
        "dx = dunit / deviation",
    ),
    wrong("gain_not_in_the_way_back", "missing-derivative", "dunit = dy * gain", "dunit = dy"),
    wrong(
        "unbiased_variance_in_both",
        "different-function|wrong-scale",
        "np.mean(centred**2, axis=-1, keepdims=True) + eps",
        "np.var(x, axis=-1, ddof=1, keepdims=True) + eps",
        "along = np.mean(dunit * unit, axis=-1, keepdims=True)",
        "along = np.sum(dunit * unit, axis=-1, keepdims=True) / (unit.shape[-1] - 1)",
    ),
    wrong(
        "patches_reshaped_without_transposing_in_both",
        "wrong-axis|wrong-operand|different-function|transposed",
        "grid.transpose(0, 1, 3, 2, 4).reshape(n, -1, size * size)",
        "grid.reshape(n, -1, size * size)",
    ),
    wrong(
        "tokens_reshaped_back",
        "not-transposed|transposed|wrong-axis|wrong-operand",
        "dy1 = dmixed.transpose(0, 2, 1)",
        "dy1 = dmixed.reshape(y1.shape)",
    ),
    wrong(
        "gelu_slope_without_its_second_part",
        "missing-path|missing-derivative|different-function",
        "return 0.5 * (1 + th) + 0.5 * v * (1 - th**2) * inner",
        "return 0.5 * (1 + th)",
    ),
    wrong(
        "gelu_slope_at_its_output",
        "derivative-at-wrong-point",
        "dpre = dact * gelu_slope(pre)",
        "dpre = dact * gelu_slope(act)",
    ),
    wrong(
        "second_weights_before_the_gelu",
        "wrong-operand",
        'np.einsum("nro,nrh->oh", dy, act)',
        'np.einsum("nro,nrh->oh", dy, pre)',
    ),
    wrong(
        "pooled_gradient_not_shared_out",
        "wrong-scale|wrong-reduction|missing-derivative",
        "np.repeat(dpooled[:, None], x2.shape[1], axis=1) / x2.shape[1]",
        "np.repeat(dpooled[:, None], x2.shape[1], axis=1)",
    ),
    wrong(
        "hard_labels_in_the_gradient",
        "wrong-operand|different-function|wrong-term-weight",
        "dscores = (np.exp(logp) - soft) / n",
        "dscores = (np.exp(logp) - hard) / n",
    ),
    wrong(
        "smoothing_spread_over_the_other_classes_in_both",
        "different-function|wrong-operand",
        "soft = (1 - eps) * hard + eps / classes",
        "soft = (1 - eps) * hard + eps / (classes - 1) * (1 - hard)",
    ),
    wrong(
        "embedding_bias_averaged_over_the_patches",
        "wrong-reduction|wrong-scale",
        'g["e"] = np.sum(dx0, axis=(0, 1))',
        'g["e"] = dx0.mean(axis=1).sum(axis=0)',
    ),
    wrong(
        "first_norm_used_again_in_both",
        "wrong-operand",
        'y2, norm2 = norm(x1, p["g2"], p["s2"])',
        'y2, norm2 = norm(x1, p["g1"], p["s1"])',
    ),
    wrong("likelihood_of_the_hard_labels_in_cost", "wrong-loss", "-np.sum(soft * logp)", "-np.sum(hard * logp)"),
]

TOGETHER = [
    ("embedding_skip_not_led_back", "gelu_slope_at_its_output"),
    ("gain_not_in_the_way_back", "embedding_bias_averaged_over_the_patches"),
    ("hard_labels_in_the_gradient", "tokens_reshaped_back"),
    ("pooled_gradient_not_shared_out", "second_weights_before_the_gelu"),
    ("patches_reshaped_without_transposing_in_both", "norm_only_divides_backwards"),
    ("gelu_slope_without_its_second_part", "second_weights_before_the_gelu"),
    ("channel_mixing_not_led_back", "tokens_reshaped_back", "embedding_bias_averaged_over_the_patches"),
    ("smoothing_spread_over_the_other_classes_in_both", "gelu_slope_at_its_output", "embedding_skip_not_led_back"),
]

RIGHT = [
    right(
        "patches_in_loops",
        "    grid = images.reshape(n, height // size, size, width // size, size)\n"
        "    return grid.transpose(0, 1, 3, 2, 4).reshape(n, -1, size * size)\n",
        "    patches = []\n    for i in range(0, height, size):\n        for j in range(0, width, size):\n"
        "            patches.append(images[:, i : i + size, j : j + size].reshape(n, -1))\n"
        "    return np.stack(patches, axis=1)\n",
        '    g["E"] = np.einsum("nsc,nsp->cp", dx0, patches)\n',
        '    g["E"] = np.zeros_like(p["E"])\n    for i in range(n):\n        g["E"] += dx0[i].T @ patches[i]\n',
        "    dscores = (np.exp(logp) - soft) / n\n",
        "    dscores = np.exp(logp) / n\n    dscores[np.arange(n), labels] -= (1 - eps) / n\n"
        "    dscores -= eps / classes / n\n",
    ),
    right(
        "norm_by_mean_and_variance",
        "    along = np.mean(dunit * unit, axis=-1, keepdims=True)\n"
        "    dx = (dunit - dunit.mean(axis=-1, keepdims=True) - unit * along) / deviation\n",
        "    width = unit.shape[-1]\n    centred = unit * deviation\n"
        "    dvariance = np.sum(dunit * centred, axis=-1, keepdims=True) * -0.5 * deviation**-3\n"
        "    dmean = -np.sum(dunit / deviation, axis=-1, keepdims=True)\n"
        "    dx = dunit / deviation + dvariance * 2 * centred / width + dmean / width\n",
        "    th = np.tanh(c * (v + 0.044715 * v**3))\n",
        "    th = 2 / (1 + np.exp(-2 * c * (v + 0.044715 * v**3))) - 1\n",
    ),
    right(
        "rows_flattened_and_in_place",
        '    dB = np.einsum("nro,nrh->oh", dy, act)\n',
        "    dB = dy.reshape(-1, dy.shape[2]).T @ act.reshape(-1, act.shape[2])\n",
        "    dpre = dact * gelu_slope(pre)\n",
        "    dpre = dact\n    dpre *= gelu_slope(pre)\n",
        "    dx1 = dx1 + dx2\n",
        "    dx1 += dx2\n",
        "    dx2 = np.repeat(dpooled[:, None], x2.shape[1], axis=1) / x2.shape[1]\n",
        "    dx2 = np.zeros_like(x2)\n    dx2 += dpooled[:, None, :]\n    dx2 /= x2.shape[1]\n",
        "    dtokens = dx1.transpose(0, 2, 1)\n",
        "    dtokens = np.swapaxes(dx1, 1, 2).copy()\n",
    ),
]
