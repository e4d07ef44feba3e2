"""A mixture density network: weights, means and deviations of normal densities, the negative logarithm of their sum."""

import math

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, x, y):
    h = torch.tanh(x @ params["W"])
    log_pi = torch.log_softmax(h @ params["A"], dim=1)
    mu = h @ params["M"]
    log_sigma = h @ params["S"] + params["s"]
    u = (y.unsqueeze(1) - mu) * torch.exp(-log_sigma)
    log_density = -0.5 * u**2 - log_sigma - 0.5 * math.log(2 * math.pi)
    return -torch.logsumexp(log_pi + log_density, dim=1).mean()


def candidate(params, x, y):
    A, M, S = params["A"], params["M"], params["S"]
    n = len(y)
    h = np.tanh(x @ params["W"])
    logits = h @ A
    pi = np.exp(logits - logits.max(axis=1, keepdims=True))
    pi = pi / pi.sum(axis=1, keepdims=True)
    mu = h @ M
    sigma = np.exp(h @ S + params["s"])
    u = (y[:, None] - mu) / sigma
    joint = pi * np.exp(-(u**2) / 2) / (np.sqrt(2 * np.pi) * sigma)
    total = joint.sum(axis=1, keepdims=True)
    loss = -np.mean(np.log(total))
    r = joint / total
    dlogits = (pi - r) / n
    dmu = -r * u / sigma / n
    dlog_sigma = r * (1 - u**2) / n
    dA = h.T @ dlogits
    dM = h.T @ dmu
    dS = h.T @ dlog_sigma
    ds = dlog_sigma.sum(axis=0)
    dh = dlogits @ A.T + dmu @ M.T + dlog_sigma @ S.T
    dW = x.T @ (dh * (1 - h**2))
    return loss, {"W": dW, "A": dA, "M": dM, "S": dS, "s": ds}


def problem(rng):
    params = {name: rng.normal(size=(5, 4)) * 0.6 for name in "AMS"}
    params["W"] = rng.normal(size=(3, 5))
    params["s"] = rng.normal(size=4) * 0.3
    return params, (rng.normal(size=(7, 3)), rng.normal(size=7))


WRONG = [
    wrong(
        "responsibilities_forgotten",
        "missing-derivative|wrong-operand|missing-path",
        "dmu = -r * u / sigma / n",
        "dmu = -u / sigma / n",
    ),
    wrong("prior_for_responsibility", "wrong-operand", "dmu = -r * u / sigma / n", "dmu = -pi * u / sigma / n"),
    wrong(
        "deviation_forgotten_in_mu", "missing-derivative|missing-path|wrong-operand", "-r * u / sigma / n", "-r * u / n"
    ),
    wrong("mu_sign", "wrong-sign", "dmu = -r", "dmu = r"),
    wrong("log_sigma_term_forgotten", "missing-path", "r * (1 - u**2) / n", "r * -(u**2) / n"),
    wrong("error_term_forgotten", "missing-path", "r * (1 - u**2) / n", "r / n"),
    wrong("softmax_half", "missing-path", "dlogits = (pi - r) / n", "dlogits = -r / n"),
    wrong("softmax_sign", "wrong-sign", "dlogits = (pi - r) / n", "dlogits = (r - pi) / n"),
    wrong("weights_head_forgotten", "missing-path", "dh = dlogits @ A.T + dmu", "dh = dmu"),
    wrong("deviation_head_forgotten", "missing-path", " + dlog_sigma @ S.T", ""),
    wrong("heads_exchanged", "wrong-operand", "dmu @ M.T + dlog_sigma @ S.T", "dmu @ S.T + dlog_sigma @ M.T"),
    wrong("tanh_derivative_forgotten", "missing-derivative", "(dh * (1 - h**2))", "dh"),
    wrong("tanh_derivative_at_activation", "derivative-at-wrong-point", "(1 - h**2)", "(1 - np.tanh(h) ** 2)"),
    wrong(
        "bias_averaged", "wrong-scale|wrong-reduction", "ds = dlog_sigma.sum(axis=0)", "ds = dlog_sigma.mean(axis=0)"
    ),
    wrong(
        "not_averaged",
        "wrong-scale|wrong-reduction",
        "-r * u / sigma / n",
        "-r * u / sigma",
        "(1 - u**2) / n",
        "(1 - u**2)",
        "(pi - r) / n",
        "(pi - r)",
    ),
    wrong("constant_forgotten_in_cost", "wrong-loss", "(np.sqrt(2 * np.pi) * sigma)", "sigma"),
    wrong(
        "halves_forgotten_in_both",
        "different-function|wrong-scale",
        "np.exp(-(u**2) / 2)",
        "np.exp(-(u**2))",
        "-r * u / sigma / n",
        "-2 * r * u / sigma / n",
        "(1 - u**2) / n",
        "(1 - 2 * u**2) / n",
    ),
    wrong(
        "deviations_normaliser_forgotten_in_both",
        "different-function|missing-path",
        "(np.sqrt(2 * np.pi) * sigma)",
        "np.sqrt(2 * np.pi)",
        "r * (1 - u**2) / n",
        "-r * u**2 / n",
    ),
    wrong("responsibilities_over_the_batch", "wrong-axis", "r = joint / total", "r = joint / joint.sum(axis=0)"),
]

TOGETHER = [
    ("mu_sign", "tanh_derivative_forgotten"),
    ("bias_averaged", "error_term_forgotten"),
    ("weights_head_forgotten", "tanh_derivative_at_activation"),
    ("constant_forgotten_in_cost", "tanh_derivative_forgotten"),
    ("prior_for_responsibility", "bias_averaged"),
    ("mu_sign", "bias_averaged", "tanh_derivative_forgotten"),
]

RIGHT = [
    right(
        "logsumexp",
        "r = joint / total",
        "l = np.log(joint)\n    top = l.max(axis=1, keepdims=True)\n    r = np.exp(l - top)\n"
        "    r = r / r.sum(axis=1, keepdims=True)",
    ),
    right(
        "heads_joined",
        "dh = dlogits @ A.T + dmu @ M.T + dlog_sigma @ S.T",
        "dh = np.hstack([dlogits, dmu, dlog_sigma]) @ np.vstack([A.T, M.T, S.T])",
    ),
]
