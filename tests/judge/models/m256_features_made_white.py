"""Hidden features whitened over the batch: the inverse square root of their covariance by its eigenvectors."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, labels):
    h = torch.tanh(F.linear(x, params["W1"].T, params["b1"]))
    centred = h - h.mean(dim=0)
    cov = centred.T @ centred / len(x) + 0.05 * torch.eye(h.shape[1], dtype=h.dtype)
    lam, V = torch.linalg.eigh(cov)
    whiten = V @ torch.diag(lam.rsqrt()) @ V.T
    y = centred @ whiten * params["gamma"] + params["beta"]
    return F.cross_entropy(F.linear(y, params["W2"].T, params["b2"]), labels)


def softmax(a):
    e = np.exp(a - np.max(a, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True)


def whiten_forward(h, eps=0.05):
    m, d = h.shape
    mu = np.mean(h, axis=0)
    centred = h - mu
    sigma = centred.T @ centred / m + eps * np.eye(d)
    lam, V = np.linalg.eigh(sigma)
    D = np.diag(lam**-0.5)
    A = V @ D @ V.T
    return centred @ A, (centred, lam, V, D, A)


def whiten_backward(dz, cache):
    centred, lam, V, D, A = cache
    m, d = centred.shape
    dA = centred.T @ dz
    # A = V D V^T, with V on both sides
    dV = dA @ V @ D + dA.T @ V @ D
    dD = np.diag(V.T @ dA @ V)
    dlam = -0.5 * lam**-1.5 * dD
    # eigenvectors turn the faster, the closer their eigenvalues are
    K = np.zeros((d, d))
    for i in range(d):
        for j in range(d):
            if i != j:
                K[i, j] = 1.0 / (lam[j] - lam[i])
    inner = K * (V.T @ dV) + np.diag(dlam)
    dsigma = V @ inner @ V.T
    dcentred = dz @ A.T + centred @ (dsigma + dsigma.T) / m
    return dcentred - np.mean(dcentred, axis=0)


def candidate(params, x, labels):
    m = x.shape[0]
    h = np.tanh(x @ params["W1"] + params["b1"])
    z, cache = whiten_forward(h)
    y = z * params["gamma"] + params["beta"]
    p = softmax(y @ params["W2"] + params["b2"])
    loss = -np.sum(np.log(p[np.arange(m), labels])) / m

    grads = {}
    dscores = p.copy()
    dscores[np.arange(m), labels] -= 1.0
    dscores /= m
    grads["W2"] = y.T @ dscores
    grads["b2"] = np.sum(dscores, axis=0)
    dy = dscores @ params["W2"].T
    grads["gamma"] = np.sum(dy * z, axis=0)
    grads["beta"] = np.sum(dy, axis=0)
    dh = whiten_backward(dy * params["gamma"], cache)
    da = dh * (1.0 - h**2)
    grads["W1"] = x.T @ da
    grads["b1"] = np.sum(da, axis=0)
    return loss, grads


def problem(rng):
    n, inputs, d, classes = 7, 5, 4, 3
    params = {
        "W1": rng.normal(size=(inputs, d)) * 0.6,
        "b1": rng.normal(size=d) * 0.3,
        "gamma": 1 + rng.normal(size=d) * 0.3,
        "beta": rng.normal(size=d) * 0.4,
        "W2": rng.normal(size=(d, classes)) * 0.8,
        "b2": rng.normal(size=classes) * 0.3,
    }
    return params, (rng.normal(size=(n, inputs)), rng.integers(0, classes, size=n))


WRONG = [
    wrong(
        "gaps_between_eigenvalues_the_other_way",
        "wrong-sign",
        "K[i, j] = 1.0 / (lam[j] - lam[i])",
        "K[i, j] = 1.0 / (lam[i] - lam[j])",
    ),
    wrong(
        "eigenvectors_taken_for_constant",
        "missing-path",
        "inner = K * (V.T @ dV) + np.diag(dlam)",
        "inner = np.diag(dlam)",
    ),
    wrong(
        "eigenvalues_taken_for_constant",
        "missing-path",
        "inner = K * (V.T @ dV) + np.diag(dlam)",
        "inner = K * (V.T @ dV)",
    ),
    wrong(
        "whitening_matrix_taken_for_constant",
        "missing-path",
        "dcentred = dz @ A.T + centred @ (dsigma + dsigma.T) / m",
        "dcentred = dz @ A.T",
    ),
    wrong(
        "second_eigenvector_factor_forgotten",
        "missing-path",
        "dV = dA @ V @ D + dA.T @ V @ D",
        "dV = dA @ V @ D",
    ),
    wrong(
        "covariance_felt_by_one_of_its_factors",
        "missing-path|wrong-scale",
        "centred @ (dsigma + dsigma.T) / m",
        "centred @ dsigma / m",
    ),
    wrong(
        "root_differentiated_without_lowering_its_power",
        "different-function|derivative-at-wrong-point|missing-derivative",
        "dlam = -0.5 * lam**-1.5 * dD",
        "dlam = -0.5 * lam**-0.5 * dD",
    ),
    wrong(
        "covariance_divided_by_one_less_backwards",
        "wrong-scale",
        "centred @ (dsigma + dsigma.T) / m",
        "centred @ (dsigma + dsigma.T) / (m - 1)",
    ),
    wrong(
        "batch_mean_forgotten_backwards",
        "missing-path",
        "return dcentred - np.mean(dcentred, axis=0)",
        "return dcentred",
    ),
    wrong(
        "gain_with_the_centred_features",
        "wrong-operand",
        'grads["gamma"] = np.sum(dy * z, axis=0)',
        'grads["gamma"] = np.sum(dy * cache[0], axis=0)',
    ),
    wrong(
        "slope_of_the_tanh_at_the_white_features",
        "derivative-at-wrong-point|wrong-operand",
        "da = dh * (1.0 - h**2)",
        "da = dh * (1.0 - z**2)",
    ),
    wrong(
        "ridge_left_out_in_both",
        "different-function",
        "sigma = centred.T @ centred / m + eps * np.eye(d)",
        "sigma = centred.T @ centred / m",
    ),
]

TOGETHER = [
    ("gaps_between_eigenvalues_the_other_way", "batch_mean_forgotten_backwards"),
    ("eigenvectors_taken_for_constant", "covariance_divided_by_one_less_backwards"),
    ("root_differentiated_without_lowering_its_power", "gain_with_the_centred_features"),
    ("whitening_matrix_taken_for_constant", "slope_of_the_tanh_at_the_white_features"),
]

RIGHT = [
    right(
        "divided_differences_of_the_root",
        "    dV = dA @ V @ D + dA.T @ V @ D\n",
        "    both = V.T @ (dA + dA.T) @ V / 2\n    root = np.diag(D)\n",
        "                K[i, j] = 1.0 / (lam[j] - lam[i])\n",
        "                K[i, j] = (root[j] - root[i]) / (lam[j] - lam[i])\n",
        "inner = K * (V.T @ dV) + np.diag(dlam)",
        "inner = K * both + np.diag(dlam)",
    )
]
