"""Robust regression: a Student-t likelihood with a mean and a scale from two heads and learnt degrees of freedom."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, y):
    h = F.silu(x @ params["W1"] + params["b1"])
    mean = h @ params["Wm"] + params["bm"]
    scale = F.softplus(h @ params["Ws"] + params["bs"]) + 0.05
    nu = 1.0 + F.softplus(params["raw_df"])
    z = (y - mean) / scale
    normaliser = torch.lgamma(nu / 2) - torch.lgamma((nu + 1) / 2) + 0.5 * torch.log(math.pi * nu)
    nll = normaliser + torch.log(scale) + 0.5 * (nu + 1) * torch.log1p(z**2 / nu)
    return {
        "likelihood": nll.sum(dim=1).mean(),
        "prior": 0.2 * (0.3 * nu - torch.log(nu)).sum(),
    }


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def softplus(a):
    return np.log1p(np.exp(a))


def log_gamma(values):
    return np.array([math.lgamma(v) for v in values])


def digamma(values):
    """Raised beyond 10 by psi(v) = psi(v + 1) - 1 / v, then the asymptotic series."""
    result = np.zeros(len(values))
    for i, v in enumerate(values):
        total = 0.0
        while v < 10:
            total -= 1 / v
            v = v + 1
        w = 1 / v**2
        series = w * (1 / 12 - w * (1 / 120 - w * (1 / 252 - w * (1 / 240 - w / 132))))
        result[i] = total + math.log(v) - 1 / (2 * v) - series
    return result


def candidate(params, x, y, floor=0.05, strength=0.2, rate=0.3):
    n = len(x)
    a = x @ params["W1"] + params["b1"]
    gate = sigmoid(a)
    h = a * gate
    mean = h @ params["Wm"] + params["bm"]
    raw_scale = h @ params["Ws"] + params["bs"]
    scale = softplus(raw_scale) + floor
    nu = 1.0 + softplus(params["raw_df"])
    z = (y - mean) / scale
    q = z**2 / nu
    constant = log_gamma(nu / 2) - log_gamma((nu + 1) / 2) + 0.5 * np.log(np.pi * nu)
    nll = constant + np.log(scale) + (nu + 1) / 2 * np.log1p(q)
    prior = np.sum(rate * nu - np.log(nu))
    loss = np.sum(nll) / n + strength * prior

    # every error counts the less the farther out it lies
    weight = (nu + 1) / (nu + z**2)
    dmean = -weight * z / scale / n
    dscale = (1 / scale - weight * z**2 / scale) / n
    draw_scale = dscale * sigmoid(raw_scale)
    # degrees of freedom
    dconstant = 0.5 * digamma(nu / 2) - 0.5 * digamma((nu + 1) / 2) + 0.5 / nu
    dtail = 0.5 * np.log1p(q) - (nu + 1) / 2 * q / (nu * (1 + q))
    dnu = dconstant + dtail.sum(axis=0) / n
    dnu = dnu + strength * (rate - 1 / nu)
    draw_df = dnu * sigmoid(params["raw_df"])
    # heads
    dWm, dbm = h.T @ dmean, dmean.sum(axis=0)
    dWs, dbs = h.T @ draw_scale, draw_scale.sum(axis=0)
    dh = dmean @ params["Wm"].T
    dh = dh + draw_scale @ params["Ws"].T
    # hidden layer
    da = dh * gate * (1 + a * (1 - gate))
    dW1, db1 = x.T @ da, da.sum(axis=0)
    return loss, {"W1": dW1, "b1": db1, "Wm": dWm, "bm": dbm, "Ws": dWs, "bs": dbs, "raw_df": draw_df}


def problem(rng):
    params = {
        "W1": rng.normal(size=(5, 6)) * 0.6,
        "b1": rng.normal(size=6) * 0.4,
        "Wm": rng.normal(size=(6, 3)) * 0.6,
        "bm": rng.normal(size=3) * 0.3,
        "Ws": rng.normal(size=(6, 3)) * 0.5,
        "bs": rng.normal(size=3) * 0.3,
        "raw_df": np.array([0.4, 1.8, 3.1]) + rng.normal(size=3) * 0.2,
    }
    y = rng.normal(size=(8, 3)) * 0.9
    y[2, 0] += 4.0
    y[5, 2] -= 3.5
    return params, (rng.normal(size=(8, 5)), y)


WRONG = [
    wrong(
        "halves_of_the_digammas_forgotten",
        "missing-derivative|wrong-scale",
        "0.5 * digamma(nu / 2) - 0.5 * digamma((nu + 1) / 2)",
        "digamma(nu / 2) - digamma((nu + 1) / 2)",
    ),
    wrong(
        "digamma_as_a_logarithm",
        "different-function",
        "        while v < 10:\n            total -= 1 / v\n            v = v + 1\n",
        "",
        "- 1 / (2 * v) - series",
        "",
        "        w = 1 / v**2\n"
        "        series = w * (1 / 12 - w * (1 / 120 - w * (1 / 252 - w * (1 / 240 - w / 132))))\n",
        "",
    ),
    wrong(
        "degrees_inside_the_logarithm_forgotten",
        "missing-path",
        "0.5 * np.log1p(q) - (nu + 1) / 2 * q / (nu * (1 + q))",
        "0.5 * np.log1p(q)",
    ),
    wrong(
        "errors_not_weighted_for_the_mean",
        "different-function|missing-derivative",
        "dmean = -weight * z / scale / n",
        "dmean = -z / scale / n",
    ),
    wrong(
        "logarithm_of_the_scale_forgotten",
        "missing-path",
        "dscale = (1 / scale - weight * z**2 / scale) / n",
        "dscale = -weight * z**2 / scale / n",
    ),
    wrong(
        "softplus_slope_of_the_scale_at_its_output",
        "derivative-at-wrong-point",
        "draw_scale = dscale * sigmoid(raw_scale)",
        "draw_scale = dscale * sigmoid(scale)",
    ),
    wrong("softplus_slope_of_the_degrees_forgotten", "missing-derivative", 'dnu * sigmoid(params["raw_df"])', "dnu"),
    wrong(
        "scale_head_not_into_the_hidden_layer",
        "missing-path",
        '    dh = dh + draw_scale @ params["Ws"].T\n',
        "",
    ),
    wrong(
        "gate_held_fixed",
        "missing-path|different-function",
        "da = dh * gate * (1 + a * (1 - gate))",
        "da = dh * gate",
    ),
    wrong(
        "constant_averaged_once_more",
        "wrong-scale|one-sample-only|wrong-reduction",
        "dnu = dconstant + dtail.sum(axis=0) / n",
        "dnu = (dconstant + dtail.sum(axis=0)) / n",
    ),
    wrong(
        "prior_of_the_degrees_forgotten",
        "missing-path|wrong-term-weight",
        "    dnu = dnu + strength * (rate - 1 / nu)\n",
        "",
    ),
    wrong(
        "scale_for_the_variance_in_both",
        "different-function|missing-derivative|wrong-operand",
        "z = (y - mean) / scale",
        "z = (y - mean) / np.sqrt(scale)",
        "dmean = -weight * z / scale / n",
        "dmean = -weight * z / np.sqrt(scale) / n",
        "dscale = (1 / scale - weight * z**2 / scale) / n",
        "dscale = (1 / scale - 0.5 * weight * z**2 / scale) / n",
    ),
    wrong(
        "exponential_scale_in_both",
        "different-function",
        "scale = softplus(raw_scale) + floor",
        "scale = np.exp(raw_scale) + floor",
        "draw_scale = dscale * sigmoid(raw_scale)",
        "draw_scale = dscale * np.exp(raw_scale)",
    ),
    wrong(
        "mean_head_averaged_over_outputs_too",
        "wrong-scale|wrong-reduction",
        "dmean = -weight * z / scale / n",
        "dmean = -weight * z / scale / y.size",
    ),
    wrong(
        "scale_head_before_the_activation",
        "wrong-operand",
        "dWs, dbs = h.T @ draw_scale",
        "dWs, dbs = a.T @ draw_scale",
    ),
    wrong("pi_forgotten_in_cost", "wrong-loss", "0.5 * np.log(np.pi * nu)", "0.5 * np.log(nu)"),
]

TOGETHER = [
    ("halves_of_the_digammas_forgotten", "scale_head_not_into_the_hidden_layer"),
    ("errors_not_weighted_for_the_mean", "softplus_slope_of_the_degrees_forgotten"),
    ("degrees_inside_the_logarithm_forgotten", "prior_of_the_degrees_forgotten"),
    ("logarithm_of_the_scale_forgotten", "softplus_slope_of_the_scale_at_its_output"),
    ("mean_head_averaged_over_outputs_too", "gate_held_fixed"),
    ("constant_averaged_once_more", "exponential_scale_in_both"),
    ("digamma_as_a_logarithm", "scale_head_before_the_activation", "gate_held_fixed"),
    (
        "scale_for_the_variance_in_both",
        "softplus_slope_of_the_degrees_forgotten",
        "scale_head_not_into_the_hidden_layer",
    ),
]

RIGHT = [
    right(
        "weights_of_the_scale_mixture",
        "weight = (nu + 1) / (nu + z**2)",
        "weight = (1 + 1 / nu) / (1 + q)",
        "dscale = (1 / scale - weight * z**2 / scale) / n",
        "dscale = nu * (1 - z**2) / (nu + z**2) / scale / n",
        "dtail = 0.5 * np.log1p(q) - (nu + 1) / 2 * q / (nu * (1 + q))",
        "dtail = 0.5 * (np.log1p(q) - weight * q)",
    ),
    right(
        "sample_by_sample",
        "    dWm, dbm = h.T @ dmean, dmean.sum(axis=0)\n"
        "    dWs, dbs = h.T @ draw_scale, draw_scale.sum(axis=0)\n"
        '    dh = dmean @ params["Wm"].T\n'
        '    dh = dh + draw_scale @ params["Ws"].T\n',
        '    dWm, dbm, dWs, dbs = (np.zeros_like(params[name]) for name in ("Wm", "bm", "Ws", "bs"))\n'
        "    dh = np.zeros_like(h)\n"
        "    for i in range(n):\n"
        "        dWm += np.outer(h[i], dmean[i])\n"
        "        dbm += dmean[i]\n"
        "        dWs += np.outer(h[i], draw_scale[i])\n"
        "        dbs += draw_scale[i]\n"
        '        dh[i] = params["Wm"] @ dmean[i] + params["Ws"] @ draw_scale[i]\n',
    ),
    right(
        "digamma_by_whole_arrays",
        "    result = np.zeros(len(values))\n"
        "    for i, v in enumerate(values):\n"
        "        total = 0.0\n"
        "        while v < 10:\n"
        "            total -= 1 / v\n"
        "            v = v + 1\n"
        "        w = 1 / v**2\n"
        "        series = w * (1 / 12 - w * (1 / 120 - w * (1 / 252 - w * (1 / 240 - w / 132))))\n"
        "        result[i] = total + math.log(v) - 1 / (2 * v) - series\n"
        "    return result\n",
        "    raised = np.arange(12)\n"
        "    v = values + 12\n"
        "    series = 1 / (12 * v**2) - 1 / (120 * v**4) + 1 / (252 * v**6) - 1 / (240 * v**8)\n"
        "    return np.log(v) - 0.5 / v - series - np.sum(1 / (values[:, None] + raised), axis=1)\n",
        "da = dh * gate * (1 + a * (1 - gate))",
        "da = dh * (h + gate * (1 - h))",
    ),
]
