"""A critic with spectrally normalised weights: strided convolution, dense layer, projected classes, hinge on both."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, real, fake, real_class, fake_class):
    p = params

    def bounded(W):
        return W / torch.linalg.matrix_norm(W.flatten(1), ord=2)

    def critic(x, y):
        h = F.leaky_relu(F.conv1d(x, bounded(p["K"]), p["k_bias"], stride=2, padding=1), 0.2)
        h = F.leaky_relu(F.linear(h.flatten(1), bounded(p["W"]), p["w_bias"]), 0.2)
        return h @ p["out"] + (h * p["classes"][y]).sum(1)

    return F.relu(1 - critic(real, real_class)).mean() + F.relu(1 + critic(fake, fake_class)).mean()


def spectral_norm(W, turns=400):
    matrix = W.reshape(len(W), -1)
    u = np.ones(len(matrix)) / np.sqrt(len(matrix))
    for _ in range(turns):
        v = matrix.T @ u
        v = v / np.sqrt(v @ v)
        u = matrix @ v
        u = u / np.sqrt(u @ u)
    sigma = u @ matrix @ v
    return W / sigma, {"u": u, "v": v, "sigma": sigma}


def spectral_norm_backward(dbar, bar, state):
    direction = np.outer(state["u"], state["v"]).reshape(bar.shape)
    return (dbar - np.sum(dbar * bar) * direction) / state["sigma"]


def strided_conv(x, K, bias, stride=2, pad=1):
    n, _, length = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad)))
    width = K.shape[2]
    positions = (length + 2 * pad - width) // stride + 1
    out = np.zeros((n, len(K), positions))
    for i in range(positions):
        patch = padded[:, :, i * stride : i * stride + width]
        out[:, :, i] = np.tensordot(patch, K, axes=([1, 2], [1, 2])) + bias
    return out, padded


def strided_conv_backward(dout, padded, K, stride=2):
    dK = np.zeros_like(K)
    for i in range(dout.shape[2]):
        start = i * stride
        dK += np.tensordot(dout[:, :, i], padded[:, :, start : start + K.shape[2]], axes=(0, 0))
    return dK, dout.sum(axis=(0, 2))


def leaky(a):
    return np.where(a > 0, a, 0.2 * a)


def leaky_slope(a):
    return np.where(a > 0, 1.0, 0.2)


def score(p, bars, x, y):
    a1, padded = strided_conv(x, bars["K"], p["k_bias"])
    h1 = leaky(a1)
    flat = h1.reshape(len(x), -1)
    a2 = flat @ bars["W"].T + p["w_bias"]
    h2 = leaky(a2)
    logits = h2 @ p["out"] + np.sum(h2 * p["classes"][y], axis=1)
    return logits, (padded, a1, flat, a2, h2)


def score_backward(dlogits, p, bars, y, tape, grads):
    padded, a1, flat, a2, h2 = tape
    grads["out"] += h2.T @ dlogits
    np.add.at(grads["classes"], y, dlogits[:, None] * h2)
    dh2 = dlogits[:, None] * (p["out"] + p["classes"][y])
    da2 = dh2 * leaky_slope(a2)
    grads["W"] += da2.T @ flat
    grads["w_bias"] += da2.sum(axis=0)
    da1 = (da2 @ bars["W"]).reshape(a1.shape) * leaky_slope(a1)
    dK, dbias = strided_conv_backward(da1, padded, bars["K"])
    grads["K"] += dK
    grads["k_bias"] += dbias


def candidate(params, real, fake, real_class, fake_class):
    p = params
    bars, states = {}, {}
    for name in ("K", "W"):
        bars[name], states[name] = spectral_norm(p[name])
    on_real, real_tape = score(p, bars, real, real_class)
    on_fake, fake_tape = score(p, bars, fake, fake_class)
    loss = np.maximum(0, 1 - on_real).mean() + np.maximum(0, 1 + on_fake).mean()

    grads = {name: np.zeros_like(value) for name, value in p.items()}
    dreal = -(on_real < 1).astype(float) / len(real)
    dfake = (on_fake > -1).astype(float) / len(fake)
    score_backward(dreal, p, bars, real_class, real_tape, grads)
    score_backward(dfake, p, bars, fake_class, fake_tape, grads)
    for name in bars:
        grads[name] = spectral_norm_backward(grads[name], bars[name], states[name])
    return loss, grads


def problem(rng):
    params = {
        "K": rng.normal(size=(5, 2, 3)) * 0.7,
        "k_bias": rng.normal(size=5) * 0.3,
        "W": rng.normal(size=(3, 20)) * 0.6,
        "w_bias": rng.normal(size=3) * 0.3,
        "out": np.array([2.4, -2.7, 0.8]) + rng.normal(size=3) * 0.3,
        "classes": rng.normal(size=(4, 3)) * 0.9,
    }
    real, fake = 2 * rng.normal(size=(6, 2, 7)), 2 * rng.normal(size=(6, 2, 7))
    return params, (real, fake, np.array([1, 3, 0, 3, 1, 3]), np.array([2, 1, 1, 0, 2, 3]))


WRONG = [
    wrong(
        "spectral_norm_held_fixed",
        "missing-path",
        'return (dbar - np.sum(dbar * bar) * direction) / state["sigma"]',
        'return dbar / state["sigma"]',
    ),
    wrong(
        "gradient_of_the_normalised_weight_handed_out",
        "missing-derivative",
        "        grads[name] = spectral_norm_backward(grads[name], bars[name], states[name])\n",
        "        grads[name] = grads[name].copy()\n",
    ),
    wrong(
        "not_divided_by_the_spectral_norm",
        "missing-derivative",
        'return (dbar - np.sum(dbar * bar) * direction) / state["sigma"]',
        "return dbar - np.sum(dbar * bar) * direction",
    ),
    wrong(
        "projection_along_the_weight_itself",
        "wrong-operand",
        'return (dbar - np.sum(dbar * bar) * direction) / state["sigma"]',
        'return (dbar - np.sum(dbar * bar) * bar) / state["sigma"]',
    ),
    wrong(
        "error_sent_through_the_plain_weight",
        "wrong-operand|missing-derivative",
        'da1 = (da2 @ bars["W"])',
        'da1 = (da2 @ p["W"])',
    ),
    wrong(
        "fakes_overwrite_the_kernel_of_the_reals",
        "overwritten|missing-path",
        'grads["K"] += dK',
        'grads["K"] = dK',
    ),
    wrong(
        "hinge_of_the_reals_never_off",
        "missing-derivative",
        "dreal = -(on_real < 1).astype(float) / len(real)",
        "dreal = -np.ones(len(real)) / len(real)",
    ),
    wrong(
        "hinge_of_the_fakes_at_the_wrong_place",
        "different-function|wrong-operand",
        "dfake = (on_fake > -1).astype(float) / len(fake)",
        "dfake = (on_fake > 1).astype(float) / len(fake)",
    ),
    wrong(
        "fakes_pushed_up",
        "wrong-sign",
        "dfake = (on_fake > -1).astype(float) / len(fake)",
        "dfake = -(on_fake > -1).astype(float) / len(fake)",
    ),
    wrong(
        "class_projection_sends_nothing_back",
        "missing-path",
        'dh2 = dlogits[:, None] * (p["out"] + p["classes"][y])',
        'dh2 = dlogits[:, None] * p["out"]',
    ),
    wrong(
        "repeated_classes_overwrite",
        "overwritten",
        'np.add.at(grads["classes"], y, dlogits[:, None] * h2)',
        'grads["classes"][y] += dlogits[:, None] * h2',
    ),
    wrong(
        "stride_forgotten_backwards",
        "wrong-operand|different-function",
        "start = i * stride",
        "start = i",
    ),
]

TOGETHER = [
    ("spectral_norm_held_fixed", "repeated_classes_overwrite"),
    ("hinge_of_the_reals_never_off", "not_divided_by_the_spectral_norm"),
    ("class_projection_sends_nothing_back", "stride_forgotten_backwards"),
    ("fakes_pushed_up", "projection_along_the_weight_itself"),
]

RIGHT = [
    right(
        "norm_by_singular_values",
        "    u = np.ones(len(matrix)) / np.sqrt(len(matrix))\n"
        "    for _ in range(turns):\n"
        "        v = matrix.T @ u\n"
        "        v = v / np.sqrt(v @ v)\n"
        "        u = matrix @ v\n"
        "        u = u / np.sqrt(u @ u)\n"
        "    sigma = u @ matrix @ v\n",
        "    left, sizes, turned = np.linalg.svd(matrix, full_matrices=False)\n"
        "    u, sigma, v = left[:, 0], sizes[0], turned[0]\n",
        "def spectral_norm(W, turns=400):",
        "def spectral_norm(W):",
        'return (dbar - np.sum(dbar * bar) * direction) / state["sigma"]',
        'return dbar / state["sigma"] - np.vdot(dbar, bar) / state["sigma"] * direction',
    ),
]
