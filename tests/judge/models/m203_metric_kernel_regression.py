"""A metric learned for kernel regression: distances under A, every target told from all others by a Gaussian kernel."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, X, Y):
    Z = X @ params["A"].T
    dist = ((Z[:, None] - Z[None]) ** 2).sum(-1)
    K = torch.exp(-dist * torch.exp(params["log_prec"]))
    K = K * (1 - torch.eye(len(X), dtype=X.dtype))
    guess = K @ Y / K.sum(1, keepdim=True) + params["shift"]
    return ((guess - Y) ** 2).sum()


def candidate(params, X, Y):
    A, shift = params["A"], params["shift"]
    n = X.shape[0]
    prec = np.exp(params["log_prec"])
    # pairwise differences before and after the map
    dX = X[:, None, :] - X[None, :, :]
    dZ = dX @ A.T
    dist = np.sum(dZ**2, axis=2)
    # leave-one-out kernel smoother
    K = np.exp(-prec * dist)
    K[np.arange(n), np.arange(n)] = 0
    denom = K.sum(axis=1)
    smooth = K @ Y / denom[:, None]
    ydiff = smooth + shift - Y
    loss = np.sum(ydiff**2)

    W = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            W[i, j] = 2 * np.dot(ydiff[i], Y[j] - smooth[i]) / denom[i]
    dD = W * K * (-prec)
    M = np.zeros((X.shape[1], X.shape[1]))
    for i in range(n):
        for j in range(n):
            M += dD[i, j] * np.outer(dX[i, j], dX[i, j])
    grads = {
        "A": 2 * A @ M,
        "log_prec": np.array(np.sum(-W * K * dist) * prec),
        "shift": 2 * ydiff.sum(axis=0),
    }
    return loss, grads


def problem(rng):
    params = {
        "A": rng.normal(size=(2, 4)) * 0.5,
        "log_prec": np.array(rng.normal() * 0.2 - 0.5),
        "shift": rng.normal(size=3) * 0.3,
    }
    return params, (rng.normal(size=(6, 4)), rng.normal(size=(6, 3)))


WRONG = [
    wrong(
        "sample_votes_for_itself_in_both",
        "different-function|wrong-operand",
        "    K[np.arange(n), np.arange(n)] = 0\n",
        "    K[np.arange(n), np.arange(n)] = 1\n",
    ),
    wrong(
        "normaliser_held_constant",
        "missing-path|diagonal-jacobian",
        "np.dot(ydiff[i], Y[j] - smooth[i])",
        "np.dot(ydiff[i], Y[j])",
    ),
    wrong(
        "differs_from_the_own_target_instead_of_the_guess",
        "wrong-operand",
        "np.dot(ydiff[i], Y[j] - smooth[i])",
        "np.dot(ydiff[i], Y[j] - Y[i])",
    ),
    wrong(
        "shifted_guess_in_the_smoother_derivative",
        "wrong-operand",
        "np.dot(ydiff[i], Y[j] - smooth[i])",
        "np.dot(ydiff[i], Y[j] - smooth[i] - shift)",
    ),
    wrong(
        "normaliser_of_the_neighbour",
        "wrong-operand|wrong-axis",
        "Y[j] - smooth[i]) / denom[i]",
        "Y[j] - smooth[i]) / denom[j]",
    ),
    wrong(
        "precision_forgotten_in_the_metric",
        "missing-derivative|wrong-scale",
        "dD = W * K * (-prec)",
        "dD = -W * K",
    ),
    wrong(
        "square_of_the_map_differentiated_once",
        "wrong-scale",
        '"A": 2 * A @ M,',
        '"A": A @ M,',
    ),
    wrong(
        "kernel_forgotten_in_its_own_derivative",
        "missing-derivative",
        "dD = W * K * (-prec)",
        "dD = W * (-prec)",
    ),
    wrong(
        "outer_products_overwrite",
        "overwritten",
        "            M += dD[i, j]",
        "            M = dD[i, j]",
    ),
    wrong(
        "each_pair_counted_once",
        "wrong-operand|missing-path",
        "    M = np.zeros((X.shape[1], X.shape[1]))\n    for i in range(n):\n        for j in range(n):\n",
        "    M = np.zeros((X.shape[1], X.shape[1]))\n    for i in range(n):\n        for j in range(i):\n",
    ),
    wrong(
        "precision_instead_of_its_logarithm",
        "missing-derivative|wrong-scale",
        "np.array(np.sum(-W * K * dist) * prec)",
        "np.array(np.sum(-W * K * dist))",
    ),
    wrong(
        "distances_not_squared_in_both",
        "different-function",
        "dist = np.sum(dZ**2, axis=2)",
        "dist = np.sqrt(np.sum(dZ**2, axis=2))",
        "dD = W * K * (-prec)",
        "dD = W * K * (-prec) / (2 * dist + np.eye(n))",
    ),
]

TOGETHER = [
    ("sample_votes_for_itself_in_both", "square_of_the_map_differentiated_once"),
    ("normaliser_held_constant", "precision_instead_of_its_logarithm"),
    ("precision_forgotten_in_the_metric", "normaliser_of_the_neighbour"),
    ("each_pair_counted_once", "differs_from_the_own_target_instead_of_the_guess"),
]

RIGHT = [
    right(
        "pairs_by_einsum",
        "    W = np.zeros((n, n))\n"
        "    for i in range(n):\n"
        "        for j in range(n):\n"
        "            W[i, j] = 2 * np.dot(ydiff[i], Y[j] - smooth[i]) / denom[i]\n",
        "    W = 2 * (ydiff @ Y.T - np.sum(ydiff * smooth, axis=1, keepdims=True)) / denom[:, None]\n",
        "    M = np.zeros((X.shape[1], X.shape[1]))\n"
        "    for i in range(n):\n"
        "        for j in range(n):\n"
        "            M += dD[i, j] * np.outer(dX[i, j], dX[i, j])\n",
        '    M = np.einsum("ij,ija,ijb->ab", dD, dX, dX)\n',
    )
]
