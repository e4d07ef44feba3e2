"""A denoising autoencoder in one-liners: tied sigmoid layers, a square linear layer on top, the cost by a trace."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, x, keep):
    h1 = torch.sigmoid((x * keep) @ params["w"] + params["b1"])
    h2 = torch.sigmoid(h1 @ params["w"].T + params["b2"])
    x_hat = h2 @ params["w3"] + params["b3"]
    return ((x - x_hat) ** 2).sum() / (2 * len(x))


def g(z):
    return 1.0 / (1.0 + np.exp(-z))


def dg(z):
    return g(z) * (1 - g(z))


def cost(x, xhat):
    return (1.0 / (2 * len(x))) * np.trace(np.dot(x - xhat, (x - xhat).T))


def candidate(params, x, keep):
    w, b1, b2, w3, b3 = (params[name] for name in ("w", "b1", "b2", "w3", "b3"))
    m, n = x.shape
    noisy = x * keep
    z1 = noisy @ w + b1
    h1 = g(z1)
    z2 = h1 @ w.T + b2
    h2 = g(z2)
    xhat = h2 @ w3 + b3
    loss = cost(x, xhat)

    d3 = (xhat - x) / m
    d2 = (d3 @ w3.T) * dg(z2)
    d1 = (d2 @ w) * dg(z1)
    dw = noisy.T @ d1 + d2.T @ h1
    return loss, {"w": dw, "b1": d1.sum(0), "b2": d2.sum(0), "w3": h2.T @ d3, "b3": d3.sum(0)}


def problem(rng):
    n, k, m = 6, 4, 5
    params = {
        "w": rng.normal(size=(n, k)),
        "b1": rng.normal(size=k) * 0.5,
        "b2": rng.normal(size=n) * 0.5,
        "w3": rng.normal(size=(n, n)) * 0.7,
        "b3": rng.normal(size=n) * 0.5,
    }
    return params, (rng.normal(size=(m, n)), (rng.random(size=(m, n)) < 0.7).astype(float))


WRONG = [
    wrong(
        "encoder_share_only",
        "missing-path",
        "dw = noisy.T @ d1 + d2.T @ h1",
        "dw = noisy.T @ d1",
    ),
    wrong(
        "decoder_share_only",
        "missing-path",
        "dw = noisy.T @ d1 + d2.T @ h1",
        "dw = d2.T @ h1",
    ),
    wrong(
        "shares_averaged",
        "wrong-scale",
        "dw = noisy.T @ d1 + d2.T @ h1",
        "dw = (noisy.T @ d1 + d2.T @ h1) / 2",
    ),
    wrong("clean_input_at_the_encoder", "wrong-operand", "dw = noisy.T @ d1", "dw = x.T @ d1"),
    wrong("decoder_before_its_activation", "wrong-operand", "+ d2.T @ h1", "+ d2.T @ z1"),
    wrong("top_layer_not_turned", "not-transposed", "(d3 @ w3.T)", "(d3 @ w3)"),
    wrong("top_gradient_turned", "transposed", '"w3": h2.T @ d3', '"w3": d3.T @ h2'),
    wrong("second_slope_forgotten", "missing-derivative", "d2 = (d3 @ w3.T) * dg(z2)", "d2 = d3 @ w3.T"),
    wrong("first_slope_at_the_activation", "derivative-at-wrong-point", "dg(z1)", "dg(h1)"),
    wrong(
        "linear_output_given_a_slope",
        "extra-derivative|different-function",
        "d3 = (xhat - x) / m",
        "d3 = (xhat - x) * dg(xhat) / m",
    ),
    wrong("input_minus_output", "wrong-sign", "d3 = (xhat - x) / m", "d3 = (x - xhat) / m"),
    wrong("cost_over_all_entries", "wrong-loss", "(1.0 / (2 * len(x)))", "(1.0 / (2 * x.size))"),
]

TOGETHER = [
    ("encoder_share_only", "top_layer_not_turned"),
    ("top_gradient_turned", "second_slope_forgotten"),
    ("clean_input_at_the_encoder", "first_slope_at_the_activation"),
    ("decoder_share_only", "linear_output_given_a_slope"),
]

RIGHT = [
    right(
        "mean_at_the_end",
        "d3 = (xhat - x) / m",
        "d3 = xhat - x",
        "dw = noisy.T @ d1 + d2.T @ h1",
        "dw = (noisy.T @ d1 + d2.T @ h1) / m",
        '"b1": d1.sum(0), "b2": d2.sum(0), "w3": h2.T @ d3, "b3": d3.sum(0)',
        '"b1": d1.mean(0), "b2": d2.mean(0), "w3": h2.T @ d3 / m, "b3": d3.mean(0)',
        "* dg(z2)",
        "* h2 * (1 - h2)",
    ),
]
