"""A variational autoencoder on pictures in columns: tanh layers, logits, a divergence that weighs beta."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong

BATCH_AXIS = 1


def reference(params, x, noise):
    h = torch.tanh(params["We"] @ x + params["be"])
    mu = params["Wm"] @ h + params["bm"]
    logvar = params["Wv"] @ h + params["bv"]
    z = mu + torch.exp(0.5 * logvar) * noise
    d = torch.tanh(params["Wd"] @ z + params["bd"])
    logits = params["Wo"] @ d + params["bo"]
    n = x.shape[1]
    divergence = -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum() / n
    return {
        "pixels": F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / n,
        "divergence": 0.4 * divergence,
    }


def dense(params, name, a):
    return params["W" + name].dot(a) + params["b" + name]


def dense_back(params, grads, name, a, dout):
    grads["W" + name] = dout.dot(a.T)
    grads["b" + name] = dout.sum(axis=1, keepdims=True)
    return params["W" + name].T.dot(dout)


def encode(params, x, noise):
    a = dense(params, "e", x)
    h = np.tanh(a)
    mu = dense(params, "m", h)
    logvar = dense(params, "v", h)
    std = np.exp(0.5 * logvar)
    z = mu + std * noise
    return {"a": a, "h": h, "mu": mu, "logvar": logvar, "std": std, "z": z}


def decode(params, z):
    d = np.tanh(dense(params, "d", z))
    logits = dense(params, "o", d)
    return d, logits


def candidate(params, x, noise, beta=0.4):
    n = x.shape[1]
    enc = encode(params, x, noise)
    d, logits = decode(params, enc["z"])
    # log(1 + exp(l)) - x * l, without overflow
    pixels = np.maximum(logits, 0) - logits * x + np.log(1 + np.exp(-np.abs(logits)))
    kl = -0.5 * np.sum(1 + enc["logvar"] - enc["mu"] ** 2 - np.exp(enc["logvar"]))
    loss = (np.sum(pixels) + beta * kl) / n

    grads = {}
    # decoder
    prob = 1 / (1 + np.exp(-logits))
    dlogits = (prob - x) / n
    dd = dense_back(params, grads, "o", d, dlogits)
    dd = dd * (1 - d**2)
    dz = dense_back(params, grads, "d", enc["z"], dd)
    # code
    dmu = dz.copy()
    dlogvar = dz * noise * 0.5 * enc["std"]
    # divergence
    dmu += beta * enc["mu"] / n
    dlogvar += beta * 0.5 * (np.exp(enc["logvar"]) - 1) / n
    # encoder
    dh = dense_back(params, grads, "m", enc["h"], dmu)
    dh += dense_back(params, grads, "v", enc["h"], dlogvar)
    da = dh * (1 - enc["h"] ** 2)
    dense_back(params, grads, "e", x, da)
    return loss, grads


def problem(rng):
    pixels, hidden, code, n = 8, 5, 3, 6
    params = {
        "We": rng.normal(size=(hidden, pixels)) * 0.6,
        "be": rng.normal(size=(hidden, 1)) * 0.4,
        "Wm": rng.normal(size=(code, hidden)),
        "bm": rng.normal(size=(code, 1)) * 0.4,
        "Wv": rng.normal(size=(code, hidden)) * 0.6,
        "bv": rng.normal(size=(code, 1)) * 0.4 - 0.3,
        "Wd": rng.normal(size=(hidden, code)) * 0.8,
        "bd": rng.normal(size=(hidden, 1)) * 0.4,
        "Wo": rng.normal(size=(pixels, hidden)),
        "bo": rng.normal(size=(pixels, 1)) * 0.4,
    }
    x = (rng.random(size=(pixels, n)) < 0.5).astype(float)
    return params, (x, rng.normal(size=(code, n)))


WRONG = [
    wrong(
        "beta_forgotten_backwards",
        "wrong-term-weight",
        'dmu += beta * enc["mu"] / n',
        'dmu += enc["mu"] / n',
        'dlogvar += beta * 0.5 * (np.exp(enc["logvar"]) - 1) / n',
        'dlogvar += 0.5 * (np.exp(enc["logvar"]) - 1) / n',
    ),
    wrong(
        "divergence_not_led_to_the_mean",
        "missing-path|wrong-term-weight",
        '    dmu += beta * enc["mu"] / n\n',
        "",
    ),
    wrong(
        "half_of_the_deviation_forgotten",
        "wrong-scale|missing-derivative",
        'dlogvar = dz * noise * 0.5 * enc["std"]',
        'dlogvar = dz * noise * enc["std"]',
    ),
    wrong(
        "noise_forgotten_on_the_way_back",
        "missing-derivative",
        'dlogvar = dz * noise * 0.5 * enc["std"]',
        'dlogvar = dz * 0.5 * enc["std"]',
    ),
    wrong(
        "variance_for_the_deviation_in_both",
        "different-function|wrong-operand|wrong-scale",
        "std = np.exp(0.5 * logvar)",
        "std = np.exp(logvar)",
        'dlogvar = dz * noise * 0.5 * enc["std"]',
        'dlogvar = dz * noise * enc["std"]',
    ),
    wrong(
        "sigmoid_slope_on_top_of_the_difference",
        "extra-derivative",
        "dlogits = (prob - x) / n",
        "dlogits = (prob - x) * prob * (1 - prob) / n",
    ),
    wrong("decoder_slope_forgotten", "missing-derivative", "    dd = dd * (1 - d**2)\n", ""),
    wrong(
        "encoder_slope_at_its_input",
        "derivative-at-wrong-point",
        'da = dh * (1 - enc["h"] ** 2)',
        'da = dh * (1 - enc["a"] ** 2)',
    ),
    wrong(
        "encoder_hears_the_last_head_only",
        "overwritten|missing-path",
        '    dh += dense_back(params, grads, "v", enc["h"], dlogvar)',
        '    dh = dense_back(params, grads, "v", enc["h"], dlogvar)',
    ),
    wrong(
        "pixels_averaged_backwards",
        "wrong-scale|wrong-term-weight|wrong-reduction",
        "dlogits = (prob - x) / n",
        "dlogits = (prob - x) / x.size",
    ),
    wrong(
        "decoder_weights_with_the_mean_code",
        "wrong-operand",
        'dz = dense_back(params, grads, "d", enc["z"], dd)',
        'dz = dense_back(params, grads, "d", enc["mu"], dd)',
    ),
    wrong(
        "variance_pushed_the_other_way",
        "wrong-sign|wrong-term-weight",
        'dlogvar += beta * 0.5 * (np.exp(enc["logvar"]) - 1) / n',
        'dlogvar += beta * 0.5 * (1 - np.exp(enc["logvar"])) / n',
    ),
    wrong(
        "biases_averaged",
        "wrong-scale|wrong-reduction",
        'grads["b" + name] = dout.sum(axis=1, keepdims=True)',
        'grads["b" + name] = dout.mean(axis=1, keepdims=True)',
    ),
    wrong(
        "divergence_not_over_the_batch_in_cost",
        "wrong-loss",
        "loss = (np.sum(pixels) + beta * kl) / n",
        "loss = np.sum(pixels) / n + beta * kl",
    ),
]

TOGETHER = [
    ("beta_forgotten_backwards", "decoder_slope_forgotten"),
    ("divergence_not_led_to_the_mean", "noise_forgotten_on_the_way_back"),
    ("half_of_the_deviation_forgotten", "encoder_slope_at_its_input"),
    ("variance_for_the_deviation_in_both", "decoder_weights_with_the_mean_code"),
    ("sigmoid_slope_on_top_of_the_difference", "encoder_hears_the_last_head_only"),
    ("variance_pushed_the_other_way", "biases_averaged"),
    ("pixels_averaged_backwards", "encoder_slope_at_its_input"),
    ("decoder_slope_forgotten", "divergence_not_over_the_batch_in_cost"),
    ("half_of_the_deviation_forgotten", "decoder_weights_with_the_mean_code", "encoder_slope_at_its_input"),
    ("sigmoid_slope_on_top_of_the_difference", "divergence_not_led_to_the_mean", "biases_averaged"),
]

RIGHT = [
    right(
        "picture_by_picture",
        '    grads["W" + name] = dout.dot(a.T)\n',
        '    grads["W" + name] = np.zeros_like(params["W" + name])\n'
        "    for i in range(a.shape[1]):\n"
        '        grads["W" + name] += np.outer(dout[:, i], a[:, i])\n',
    ),
    right(
        "cost_from_the_probabilities",
        "pixels = np.maximum(logits, 0) - logits * x + np.log(1 + np.exp(-np.abs(logits)))",
        "pixels = -(x * np.log(1 / (1 + np.exp(-logits))) + (1 - x) * np.log(1 / (1 + np.exp(logits))))",
        "dlogits = (prob - x) / n",
        "dlogits = (-x / prob + (1 - x) / (1 - prob)) * prob * (1 - prob) / n",
    ),
]
