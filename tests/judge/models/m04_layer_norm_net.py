"""Layer normalisation written out between two linear layers, with gain and bias; half squared error summed."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong

EPS = 1e-5


def reference(params, x, y):
    z = x @ params["W1"] + params["b1"]
    mean = z.mean(dim=1, keepdim=True)
    var = ((z - mean) ** 2).mean(dim=1, keepdim=True)
    zhat = (z - mean) / torch.sqrt(var + EPS)
    n = zhat * params["gain"] + params["shift"]
    out = torch.tanh(n) @ params["W2"]
    return 0.5 * ((out - y) ** 2).sum()


def candidate(params, x, y):
    W1, W2, gain = params["W1"], params["W2"], params["gain"]
    z = x @ W1 + params["b1"]
    k = z.shape[1]
    mean = z.mean(axis=1, keepdims=True)
    zc = z - mean
    var = np.mean(zc**2, axis=1, keepdims=True)
    inv = 1 / np.sqrt(var + 1e-5)
    zhat = zc * inv
    n = zhat * gain + params["shift"]
    a = np.tanh(n)
    out = a @ W2
    loss = 0.5 * np.sum((out - y) ** 2)
    dout = out - y
    dW2 = a.T @ dout
    da = dout @ W2.T
    dn = da * (1 - a**2)
    dgain = np.sum(dn * zhat, axis=0)
    dshift = np.sum(dn, axis=0)
    dzhat = dn * gain
    dvar = np.sum(dzhat * zc, axis=1, keepdims=True) * -0.5 * inv**3
    dmean = -np.sum(dzhat * inv, axis=1, keepdims=True)
    dz = dzhat * inv + dvar * 2 * zc / k + dmean / k
    dW1 = x.T @ dz
    db1 = dz.sum(axis=0)
    return loss, {"W1": dW1, "b1": db1, "gain": dgain, "shift": dshift, "W2": dW2}


def problem(rng):
    params = {
        "W1": rng.normal(size=(3, 6)),
        "b1": rng.normal(size=6),
        "gain": rng.uniform(0.5, 1.5, size=6),
        "shift": rng.normal(size=6) * 0.5,
        "W2": rng.normal(size=(6, 2)),
    }
    return params, (rng.normal(size=(5, 3)), rng.normal(size=(5, 2)))


WRONG = [
    wrong("mean_and_variance_forgotten", "diagonal-jacobian|missing-path", " + dvar * 2 * zc / k + dmean / k", ""),
    wrong("variance_forgotten", "missing-path|diagonal-jacobian", " + dvar * 2 * zc / k + dmean / k", " + dmean / k"),
    wrong("mean_forgotten", "missing-path", " + dmean / k", ""),
    wrong(
        "gain_forgotten_backwards", "missing-derivative|missing-path|wrong-operand", "dzhat = dn * gain", "dzhat = dn"
    ),
    wrong("inverse_deviation_squared", "wrong-operand|different-function", "* -0.5 * inv**3", "* -0.5 * inv**2"),
    wrong("variance_half_forgotten", "wrong-scale", "* -0.5 * inv**3", "* -inv**3"),
    wrong("variance_sign", "wrong-sign", "* -0.5 * inv**3", "* 0.5 * inv**3"),
    wrong("mean_not_divided", "wrong-scale|wrong-reduction", " + dmean / k", " + dmean"),
    wrong("mean_added", "wrong-sign", "dmean = -np.sum", "dmean = np.sum"),
    wrong("uncentred_in_variance", "wrong-operand", "dvar * 2 * zc / k", "dvar * 2 * z / k"),
    wrong("gain_from_the_uncentred", "wrong-operand", "dn * zhat, axis=0", "dn * z, axis=0"),
    wrong("gain_from_the_centred", "wrong-operand", "dn * zhat, axis=0", "dn * zc, axis=0"),
    wrong("tanh_derivative_forgotten", "missing-derivative", "dn = da * (1 - a**2)", "dn = da"),
    wrong("gain_averaged", "wrong-scale|wrong-reduction", "dgain = np.sum(", "dgain = np.mean("),
    wrong(
        "shift_before_the_activation", "missing-derivative|wrong-operand", "dshift = np.sum(dn,", "dshift = np.sum(da,"
    ),
    wrong("half_forgotten_in_cost", "wrong-loss", "loss = 0.5 * np.sum", "loss = np.sum"),
    wrong(
        "unbiased_variance_in_both",
        "different-function|wrong-reduction|wrong-scale",
        "var = np.mean(zc**2, axis=1, keepdims=True)",
        "var = np.sum(zc**2, axis=1, keepdims=True) / (k - 1)",
        "dvar * 2 * zc / k",
        "dvar * 2 * zc / (k - 1)",
    ),
    wrong(
        "normalised_over_the_batch",
        "wrong-axis",
        "    k = z.shape[1]\n    mean = z.mean(axis=1,",
        "    k = z.shape[0]\n    mean = z.mean(axis=0,",
        "np.mean(zc**2, axis=1,",
        "np.mean(zc**2, axis=0,",
        "np.sum(dzhat * zc, axis=1,",
        "np.sum(dzhat * zc, axis=0,",
        "np.sum(dzhat * inv, axis=1,",
        "np.sum(dzhat * inv, axis=0,",
    ),
    wrong("epsilon_forgotten", "different-function|wrong-hyperparameter", "np.sqrt(var + 1e-5)", "np.sqrt(var)"),
]

TOGETHER = [
    ("mean_and_variance_forgotten", "tanh_derivative_forgotten"),
    ("variance_sign", "mean_not_divided"),
    ("gain_averaged", "variance_forgotten"),
    ("half_forgotten_in_cost", "gain_forgotten_backwards"),
    ("gain_from_the_centred", "mean_forgotten"),
    ("tanh_derivative_forgotten", "gain_forgotten_backwards", "gain_averaged"),
]

RIGHT = [
    right(
        "closed_form",
        "dz = dzhat * inv + dvar * 2 * zc / k + dmean / k",
        "dz = inv * (dzhat - dzhat.mean(1, keepdims=True) - zhat * np.mean(dzhat * zhat, axis=1, keepdims=True))",
    ),
    right(
        "variance_by_moments",
        "var = np.mean(zc**2, axis=1, keepdims=True)",
        "var = np.mean(z * z, axis=1, keepdims=True) - mean**2",
    ),
    right(
        "mean_of_squares_term_kept",
        "dmean = -np.sum(dzhat * inv, axis=1, keepdims=True)",
        "dmean = -np.sum(dzhat * inv, axis=1, keepdims=True) - 2 * dvar * np.mean(zc, axis=1, keepdims=True)",
    ),
]
