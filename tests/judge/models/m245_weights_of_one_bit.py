"""One-bit weights and activations: centred rows with a scale each, batch norm before the signs, squared hinge."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, signs):
    p = params

    def sign(a):
        passed = torch.clamp(a, -1, 1)
        return passed + (torch.sign(a) - passed).detach()

    def binary(W):
        centred = W - W.mean(dim=1, keepdim=True)
        return centred.abs().mean(dim=1, keepdim=True) * sign(centred)

    h = F.batch_norm(F.linear(x, p["W1"]), None, None, p["gamma"], p["beta"], training=True, eps=1e-4)
    for layer in ("2", "3"):
        h = F.linear(sign(h), binary(p["W" + layer]), p["b" + layer])
    scores = F.linear(F.relu(h), p["W4"], p["b4"])
    return {
        "margins": (F.relu(1 - signs * scores) ** 2).sum(dim=1).mean(),
        "decay": 0.01 * ((p["W1"] ** 2).sum() + (p["W4"] ** 2).sum()),
    }


def binarise(weights):
    """The one-bit form of each matrix of a dictionary; the full ones stay as they are."""
    ones, centred = {}, {}
    for name, W in weights.items():
        centred[name] = W - W.mean(axis=1, keepdims=True)
        alpha = np.abs(centred[name]).mean(axis=1, keepdims=True)
        ones[name] = alpha * np.sign(centred[name])
    return ones, centred


def unbinarise(dbinary, centred):
    """From the gradients of the one-bit matrices to those of the full ones."""
    full = {}
    for name, g in dbinary.items():
        C = centred[name]
        inputs = C.shape[1]
        bits = np.sign(C)
        alpha = np.abs(C).sum(axis=1, keepdims=True) / inputs
        through_bits = alpha * g * (np.abs(C) <= 1)
        through_alpha = bits * (g * bits).sum(axis=1, keepdims=True) / inputs
        dC = through_bits + through_alpha
        full[name] = dC - dC.mean(axis=1, keepdims=True)
    return full


def norm_forward(a, gamma, beta, eps=1e-4):
    mean = a.mean(axis=0)
    centred = a - mean
    std = np.sqrt((centred**2).mean(axis=0) + eps)
    unit = centred / std
    return gamma * unit + beta, (unit, std, gamma)


def norm_backward(dout, cache):
    unit, std, gamma = cache
    n = len(dout)
    dgamma = (dout * unit).sum(axis=0)
    dbeta = dout.sum(axis=0)
    dunit = dout * gamma
    da = (n * dunit - dunit.sum(axis=0) - unit * (dunit * unit).sum(axis=0)) / (n * std)
    return da, dgamma, dbeta


def sign_forward(a):
    return np.sign(a), a


def sign_backward(dout, a):
    da = dout.copy()
    da[np.abs(a) > 1] = 0
    return da


def candidate(params, x, signs):
    p, n = params, len(x)
    ones, centred = binarise({"W2": p["W2"], "W3": p["W3"]})
    # forward
    z1 = x @ p["W1"].T
    a1, norm_cache = norm_forward(z1, p["gamma"], p["beta"])
    s1, saved1 = sign_forward(a1)
    a2 = s1 @ ones["W2"].T + p["b2"]
    s2, saved2 = sign_forward(a2)
    a3 = s2 @ ones["W3"].T + p["b3"]
    h3 = np.maximum(a3, 0)
    scores = h3 @ p["W4"].T + p["b4"]
    short = np.maximum(1 - signs * scores, 0)
    loss = np.sum(short**2) / n + 0.01 * (np.sum(p["W1"] ** 2) + np.sum(p["W4"] ** 2))
    # backward
    grads, dbinary = {}, {}
    dscores = -2 * signs * short / n
    grads["W4"] = dscores.T @ h3 + 0.02 * p["W4"]
    grads["b4"] = dscores.sum(axis=0)
    da3 = (dscores @ p["W4"]) * (a3 > 0)
    dbinary["W3"] = da3.T @ s2
    grads["b3"] = da3.sum(axis=0)
    ds2 = da3 @ ones["W3"]
    da2 = sign_backward(ds2, saved2)
    dbinary["W2"] = da2.T @ s1
    grads["b2"] = da2.sum(axis=0)
    ds1 = da2 @ ones["W2"]
    da1 = sign_backward(ds1, saved1)
    dz1, grads["gamma"], grads["beta"] = norm_backward(da1, norm_cache)
    grads["W1"] = dz1.T @ x + 0.02 * p["W1"]
    grads.update(unbinarise(dbinary, centred))
    return loss, grads


def problem(rng):
    n, features, first, second, third, classes = 7, 4, 6, 5, 4, 3
    params = {
        "W1": rng.normal(size=(first, features)) * 0.6,
        "gamma": 1 + rng.normal(size=first) * 0.3,
        "beta": rng.normal(size=first) * 0.3,
        "W2": rng.normal(size=(second, first)) * 0.7,
        "b2": rng.normal(size=second) * 0.4,
        "W3": rng.normal(size=(third, second)) * 0.7,
        "b3": rng.normal(size=third) * 0.4,
        "W4": rng.normal(size=(classes, third)) * 0.5,
        "b4": rng.normal(size=classes) * 0.3,
    }
    labels = rng.integers(0, classes, size=n)
    return params, (rng.normal(size=(n, features)), 2.0 * np.eye(classes)[labels] - 1)


WRONG = [
    wrong(
        "scale_of_a_row_hears_only_its_own_weight",
        "diagonal-jacobian|missing-path",
        "through_alpha = bits * (g * bits).sum(axis=1, keepdims=True) / inputs",
        "through_alpha = g / inputs",
    ),
    wrong(
        "scale_of_a_row_held_fixed",
        "missing-path",
        "dC = through_bits + through_alpha",
        "dC = through_bits",
    ),
    wrong(
        "gradient_of_one_bit_weights_not_scaled",
        "missing-derivative|wrong-operand",
        "through_bits = alpha * g * (np.abs(C) <= 1)",
        "through_bits = g * (np.abs(C) <= 1)",
    ),
    wrong(
        "large_weights_still_pass_the_gradient",
        "missing-derivative",
        "through_bits = alpha * g * (np.abs(C) <= 1)",
        "through_bits = alpha * g",
    ),
    wrong(
        "one_bit_gradient_times_the_number_of_inputs",
        "wrong-scale",
        "full[name] = dC - dC.mean(axis=1, keepdims=True)",
        "full[name] = (dC - dC.mean(axis=1, keepdims=True)) * (1 - 1 / inputs) * inputs",
    ),
    wrong(
        "centring_not_differentiated",
        "missing-path",
        "full[name] = dC - dC.mean(axis=1, keepdims=True)",
        "full[name] = dC",
    ),
    wrong(
        "sign_passes_everything_backwards",
        "missing-derivative",
        "    da[np.abs(a) > 1] = 0\n",
        "",
    ),
    wrong(
        "full_weights_restored_before_the_way_back",
        "wrong-operand",
        'ds2 = da3 @ ones["W3"]',
        'ds2 = da3 @ p["W3"]',
        'ds1 = da2 @ ones["W2"]',
        'ds1 = da2 @ p["W2"]',
    ),
    wrong(
        "weights_meet_what_came_before_the_sign",
        "wrong-operand|derivative-at-wrong-point",
        'dbinary["W3"] = da3.T @ s2',
        'dbinary["W3"] = da3.T @ a2',
    ),
    wrong(
        "spread_of_the_batch_held_fixed",
        "missing-path|diagonal-jacobian",
        "(n * dunit - dunit.sum(axis=0) - unit * (dunit * unit).sum(axis=0))",
        "(n * dunit - dunit.sum(axis=0))",
    ),
    wrong(
        "one_scale_for_the_whole_matrix_in_both",
        "wrong-axis|different-function",
        "alpha = np.abs(centred[name]).mean(axis=1, keepdims=True)",
        "alpha = np.abs(centred[name]).mean()",
        "alpha = np.abs(C).sum(axis=1, keepdims=True) / inputs",
        "alpha = np.abs(C).mean()",
        "bits * (g * bits).sum(axis=1, keepdims=True) / inputs",
        "bits * (g * bits).sum() / C.size",
    ),
    wrong(
        "plain_hinge_backwards",
        "different-function|missing-derivative",
        "dscores = -2 * signs * short / n",
        "dscores = -signs * (short > 0) / n",
    ),
]

TOGETHER = [
    ("scale_of_a_row_hears_only_its_own_weight", "sign_passes_everything_backwards"),
    ("scale_of_a_row_held_fixed", "full_weights_restored_before_the_way_back"),
    ("one_bit_gradient_times_the_number_of_inputs", "spread_of_the_batch_held_fixed"),
    ("centring_not_differentiated", "plain_hinge_backwards"),
]

RIGHT = [
    right(
        "bits_kept_and_means_by_matrices",
        "        dC = through_bits + through_alpha\n        full[name] = dC - dC.mean(axis=1, keepdims=True)\n",
        "        dC = through_bits + through_alpha\n        full[name] = dC @ (np.eye(inputs) - 1 / inputs)\n",
        "    da = dout.copy()\n    da[np.abs(a) > 1] = 0\n    return da\n",
        "    return np.where(np.abs(a) <= 1, dout, 0.0)\n",
    ),
]
