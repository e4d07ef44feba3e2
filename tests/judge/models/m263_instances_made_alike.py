"""A small library's residual block: every channel of every sample normalised by itself, linear head, Huber loss."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, target):
    h = torch.tanh(torch.einsum("dc,ncl->ndl", params["Ws"], x) + params["bs"][:, None])
    z = torch.einsum("dc,ncl->ndl", params["Wm"], h)
    normed = F.instance_norm(z, weight=params["gamma"], bias=params["beta"], eps=1e-2)
    block = h + torch.relu(normed)
    out = block.flatten(1) @ params["Wh"] + params["bh"]
    return F.huber_loss(out, target, delta=0.6)


def mix_forward(W, x):
    return np.einsum("dc,ncl->ndl", W, x)


def mix_backward(W, x, dz):
    dW = np.einsum("ndl,ncl->dc", dz, x)
    dx = np.einsum("dc,ndl->ncl", W, dz)
    return dW, dx


def instance_norm_forward(z, gamma, beta, eps=1e-2):
    out = np.empty_like(z)
    cache = {}
    for n in range(z.shape[0]):
        for c in range(z.shape[1]):
            row = z[n, c]
            centred = row - row.mean()
            std = np.sqrt(np.mean(centred**2) + eps)
            hat = centred / std
            out[n, c] = gamma[c] * hat + beta[c]
            cache[n, c] = (hat, std)
    return out, cache


def instance_norm_backward(dout, gamma, cache):
    dz = np.empty_like(dout)
    dgamma = np.zeros_like(gamma)
    dbeta = np.zeros_like(gamma)
    for (n, c), (hat, std) in cache.items():
        d = dout[n, c]
        dgamma[c] += np.sum(d * hat)
        dbeta[c] += np.sum(d)
        dhat = d * gamma[c]
        dz[n, c] = (dhat - np.mean(dhat) - hat * np.mean(dhat * hat)) / std
    return dz, dgamma, dbeta


def huber(out, target, delta=0.6):
    error = out - target
    small = np.abs(error) <= delta
    losses = np.where(small, 0.5 * error**2, delta * (np.abs(error) - 0.5 * delta))
    slopes = np.where(small, error, delta * np.sign(error))
    return losses.mean(), slopes / error.size


def candidate(params, x, target):
    pre = mix_forward(params["Ws"], x) + params["bs"][:, None]
    h = np.tanh(pre)
    z = mix_forward(params["Wm"], h)
    normed, cache = instance_norm_forward(z, params["gamma"], params["beta"])
    block = h + np.maximum(normed, 0)
    flat = block.reshape(len(x), -1)
    out = flat @ params["Wh"] + params["bh"]
    loss, dout = huber(out, target)

    grads = {}
    grads["Wh"] = flat.T @ dout
    grads["bh"] = dout.sum(axis=0)
    dblock = (dout @ params["Wh"].T).reshape(block.shape)
    dnormed = dblock * (normed > 0)
    dz, grads["gamma"], grads["beta"] = instance_norm_backward(dnormed, params["gamma"], cache)
    grads["Wm"], dh = mix_backward(params["Wm"], h, dz)
    dh += dblock
    dpre = dh * (1 - h**2)
    grads["Ws"], _ = mix_backward(params["Ws"], x, dpre)
    grads["bs"] = dpre.sum(axis=(0, 2))
    return loss, grads


def problem(rng):
    samples, inputs, channels, length, outputs = 4, 2, 3, 6, 2
    params = {
        "Ws": rng.normal(size=(channels, inputs)) * 0.9,
        "bs": rng.normal(size=channels) * 0.4,
        "Wm": rng.normal(size=(channels, channels)),
        "gamma": rng.uniform(0.6, 1.6, size=channels),
        "beta": rng.normal(size=channels) * 0.5 + 0.2,
        "Wh": rng.normal(size=(channels * length, outputs)) * 0.3,
        "bh": rng.normal(size=outputs) * 0.3,
    }
    return params, (rng.normal(size=(samples, inputs, length)), rng.normal(size=(samples, outputs)))


WRONG = [
    wrong(
        "scale_gradient_of_the_last_sample",
        "overwritten|one-sample-only",
        "dgamma[c] += np.sum(d * hat)",
        "dgamma[c] = np.sum(d * hat)",
    ),
    wrong(
        "shift_gradient_averaged_over_the_length",
        "wrong-scale|wrong-reduction",
        "dbeta[c] += np.sum(d)",
        "dbeta[c] += np.mean(d)",
    ),
    wrong(
        "statistics_taken_for_constants",
        "diagonal-jacobian|missing-path",
        "(dhat - np.mean(dhat) - hat * np.mean(dhat * hat)) / std",
        "dhat / std",
    ),
    wrong(
        "spread_taken_for_constant",
        "missing-path|diagonal-jacobian",
        "(dhat - np.mean(dhat) - hat * np.mean(dhat * hat)) / std",
        "(dhat - np.mean(dhat)) / std",
    ),
    wrong(
        "scale_forgotten_on_the_way_down",
        "missing-derivative",
        "dhat = d * gamma[c]",
        "dhat = d",
    ),
    wrong(
        "divided_by_the_variance_backwards",
        "wrong-operand|different-function|extra-derivative",
        "hat * np.mean(dhat * hat)) / std",
        "hat * np.mean(dhat * hat)) / std**2",
    ),
    wrong("shortcut_gets_nothing_back", "missing-path", "    dh += dblock\n", ""),
    wrong(
        "relu_slope_after_the_shortcut",
        "wrong-operand|derivative-at-wrong-point",
        "dnormed = dblock * (normed > 0)",
        "dnormed = dblock * (block > 0)",
    ),
    wrong(
        "large_errors_not_clipped_backwards",
        "different-function|missing-derivative",
        "slopes = np.where(small, error, delta * np.sign(error))",
        "slopes = error",
    ),
    wrong(
        "large_errors_with_slope_one",
        "different-function|missing-derivative|wrong-scale",
        "delta * np.sign(error))",
        "np.sign(error))",
    ),
    wrong(
        "errors_averaged_over_samples_only",
        "wrong-scale|wrong-reduction",
        "slopes / error.size",
        "slopes / len(error)",
    ),
    wrong(
        "stem_slope_at_its_input",
        "derivative-at-wrong-point",
        "dpre = dh * (1 - h**2)",
        "dpre = dh * (1 - pre**2)",
    ),
    wrong(
        "mixing_not_transposed",
        "not-transposed",
        'dx = np.einsum("dc,ndl->ncl", W, dz)',
        'dx = np.einsum("dc,ncl->ndl", W, dz)',
        'grads["Ws"], _ = mix_backward(params["Ws"], x, dpre)',
        'grads["Ws"] = np.einsum("ndl,ncl->dc", dpre, x)',
    ),
    wrong(
        "half_of_the_threshold_forgotten_in_cost",
        "wrong-loss",
        "(np.abs(error) - 0.5 * delta)",
        "(np.abs(error) - delta)",
    ),
]

TOGETHER = [
    ("scale_gradient_of_the_last_sample", "shift_gradient_averaged_over_the_length"),
    ("statistics_taken_for_constants", "large_errors_not_clipped_backwards"),
    ("spread_taken_for_constant", "shortcut_gets_nothing_back"),
    ("scale_forgotten_on_the_way_down", "stem_slope_at_its_input"),
    ("divided_by_the_variance_backwards", "mixing_not_transposed"),
    ("relu_slope_after_the_shortcut", "errors_averaged_over_samples_only"),
    ("large_errors_with_slope_one", "scale_gradient_of_the_last_sample"),
    ("half_of_the_threshold_forgotten_in_cost", "spread_taken_for_constant"),
    ("mixing_not_transposed", "scale_forgotten_on_the_way_down", "shift_gradient_averaged_over_the_length"),
    ("shortcut_gets_nothing_back", "statistics_taken_for_constants", "errors_averaged_over_samples_only"),
]

RIGHT = [
    right(
        "mean_and_spread_one_after_the_other",
        "        dz[n, c] = (dhat - np.mean(dhat) - hat * np.mean(dhat * hat)) / std\n",
        "        dvar = -0.5 * np.sum(dhat * hat) / std**2\n"
        "        dcentred = dhat / std + 2 * dvar * hat * std / d.size\n"
        "        dz[n, c] = dcentred - dcentred.mean()\n",
        "slopes = np.where(small, error, delta * np.sign(error))",
        "slopes = np.clip(error, -delta, delta)",
    ),
    right(
        "mixing_by_matrix_products",
        '    dW = np.einsum("ndl,ncl->dc", dz, x)\n    dx = np.einsum("dc,ndl->ncl", W, dz)\n',
        "    dW = sum(dz[n] @ x[n].T for n in range(len(x)))\n    dx = W.T @ dz\n",
        "    dh += dblock\n    dpre = dh * (1 - h**2)\n",
        "    dpre = (dh + dblock) * (1 - np.square(h))\n",
    ),
]
