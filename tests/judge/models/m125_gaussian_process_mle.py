"""The negative log marginal likelihood of a Gaussian process: an RBF kernel with a lengthscale each, a linear mean."""

import math

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, X, y):
    Z = X / params["log_length"].exp()
    sq = (Z.unsqueeze(1) - Z.unsqueeze(0)).pow(2).sum(-1)
    K = params["log_signal"].exp() * torch.exp(-0.5 * sq)
    K = K + params["log_noise"].exp() * torch.eye(len(X), dtype=X.dtype)
    resid = (y - X @ params["w"] - params["c"]).unsqueeze(-1)
    chol = torch.linalg.cholesky(K)
    fit = 0.5 * (resid * torch.cholesky_solve(resid, chol)).sum()
    complexity = chol.diagonal().log().sum() + 0.5 * len(X) * math.log(2 * math.pi)
    return {"fit": fit, "complexity": complexity}


def rbf(X, ell, variance):
    Z = X / ell
    sq = np.sum(Z**2, axis=1)[:, None] + np.sum(Z**2, axis=1)[None, :] - 2 * Z @ Z.T
    return variance * np.exp(-0.5 * sq)


def candidate(params, X, y):
    n, dims = X.shape
    ell = np.exp(params["log_length"])
    sf2 = np.exp(params["log_signal"])
    sn2 = np.exp(params["log_noise"])

    Kf = rbf(X, ell, sf2)
    Ky = Kf + sn2 * np.eye(n)
    L = np.linalg.cholesky(Ky)
    r = y - (X @ params["w"] + params["c"])
    alpha = np.linalg.solve(L.T, np.linalg.solve(L, r))
    half_logdet = np.sum(np.log(np.diag(L)))
    loss = 0.5 * r @ alpha + half_logdet + 0.5 * n * np.log(2 * np.pi)

    Linv = np.linalg.inv(L)
    Kinv = Linv.T @ Linv
    inner = Kinv - np.outer(alpha, alpha)
    dK = 0.5 * inner
    dlength = np.zeros(dims)
    for j in range(dims):
        diff = X[:, j][:, None] - X[:, j][None, :]
        dKdlog = Kf * diff**2 / ell[j] ** 2
        dlength[j] = np.sum(dK * dKdlog)
    dsignal = np.sum(dK * Kf)
    dnoise = sn2 * np.trace(dK)
    dw = -X.T @ alpha
    dc = -np.sum(alpha)
    return loss, {
        "log_length": dlength,
        "log_signal": np.asarray(dsignal),
        "log_noise": np.asarray(dnoise),
        "w": dw,
        "c": np.asarray(dc),
    }


def problem(rng):
    n, dims = 8, 3
    X = rng.normal(size=(n, dims))
    y = X @ np.array([0.8, -0.5, 0.3]) + np.sin(2 * X[:, 0]) + rng.normal(size=n) * 0.5 + 0.4
    params = {
        "log_length": np.array([0.5, 0.3, 0.7]) + rng.normal(size=dims) * 0.15,
        "log_signal": np.array(0.35 + rng.normal() * 0.1),
        "log_noise": np.array(-0.9 + rng.normal() * 0.1),
        "w": rng.normal(size=dims) * 0.6,
        "c": np.array(rng.normal() * 0.3 - 0.5),
    }
    return params, (X, y)


WRONG = [
    wrong(
        "lengthscale_not_in_logarithms",
        "missing-derivative|wrong-operand",
        "diff**2 / ell[j] ** 2",
        "diff**2 / ell[j] ** 3",
    ),
    wrong(
        "exponent_half_kept_in_its_derivative",
        "wrong-scale|different-function",
        "dKdlog = Kf * diff**2 / ell[j] ** 2",
        "dKdlog = 0.5 * Kf * diff**2 / ell[j] ** 2",
    ),
    wrong(
        "same_distance_for_every_dimension",
        "wrong-operand|wrong-reduction|wrong-axis|different-function",
        "dKdlog = Kf * diff**2 / ell[j] ** 2",
        "dKdlog = Kf * -2 * np.log(Kf / sf2)",
    ),
    wrong(
        "correlation_for_the_covariance",
        "wrong-operand|wrong-scale|missing-derivative",
        "dKdlog = Kf * diff**2",
        "dKdlog = Kf / sf2 * diff**2",
    ),
    wrong(
        "noise_counted_with_the_signal",
        "wrong-operand|different-function",
        "dsignal = np.sum(dK * Kf)",
        "dsignal = np.sum(dK * Ky)",
    ),
    wrong(
        "trace_of_the_elementwise_product",
        "diagonal-jacobian|missing-path|different-function|wrong-operand|wrong-axis|wrong-reduction",
        "dsignal = np.sum(dK * Kf)",
        "dsignal = np.trace(dK * Kf)",
    ),
    wrong(
        "signal_as_a_deviation",
        "wrong-scale|different-function",
        "dsignal = np.sum(dK * Kf)",
        "dsignal = np.sum(dK * 2 * Kf)",
    ),
    wrong(
        "noise_not_in_logarithms",
        "missing-derivative|wrong-scale",
        "dnoise = sn2 * np.trace(dK)",
        "dnoise = np.trace(dK)",
    ),
    wrong("half_forgotten_for_the_kernel", "wrong-scale", "dK = 0.5 * inner", "dK = inner"),
    wrong(
        "determinant_forgotten",
        "missing-path|wrong-term-weight",
        "inner = Kinv - np.outer(alpha, alpha)",
        "inner = -np.outer(alpha, alpha)",
    ),
    wrong(
        "gradient_of_the_kernel_ascends",
        "wrong-sign",
        "inner = Kinv - np.outer(alpha, alpha)",
        "inner = np.outer(alpha, alpha) - Kinv",
    ),
    wrong(
        "quadratic_term_of_the_raw_targets",
        "wrong-operand",
        "np.outer(alpha, alpha)",
        "np.outer(Kinv @ y, Kinv @ y)",
    ),
    wrong(
        "inverse_from_the_factors_in_the_wrong_order",
        "not-transposed|wrong-operand|transposed",
        "Kinv = Linv.T @ Linv",
        "Kinv = Linv @ Linv.T",
    ),
    wrong(
        "mean_weights_from_the_plain_residual",
        "wrong-operand|missing-path|different-function|missing-derivative",
        "dw = -X.T @ alpha",
        "dw = -X.T @ r",
    ),
    wrong("offset_ascends", "wrong-sign", "dc = -np.sum(alpha)", "dc = np.sum(alpha)"),
    wrong(
        "noise_as_a_deviation_in_both",
        "different-function|wrong-operand",
        'sn2 = np.exp(params["log_noise"])',
        'sn2 = np.exp(2 * params["log_noise"])',
        "dnoise = sn2 * np.trace(dK)",
        "dnoise = 2 * sn2 * np.trace(dK)",
    ),
]

TOGETHER = [
    ("lengthscale_not_in_logarithms", "noise_not_in_logarithms"),
    ("half_forgotten_for_the_kernel", "offset_ascends"),
    ("determinant_forgotten", "mean_weights_from_the_plain_residual"),
    ("signal_as_a_deviation", "noise_as_a_deviation_in_both"),
    ("exponent_half_kept_in_its_derivative", "quadratic_term_of_the_raw_targets"),
    ("same_distance_for_every_dimension", "noise_counted_with_the_signal"),
    ("inverse_from_the_factors_in_the_wrong_order", "offset_ascends", "correlation_for_the_covariance"),
    ("gradient_of_the_kernel_ascends", "mean_weights_from_the_plain_residual", "trace_of_the_elementwise_product"),
]

RIGHT = [
    right(
        "plain_inverse_and_determinant",
        "    L = np.linalg.cholesky(Ky)\n",
        "    Kinv = np.linalg.inv(Ky)\n",
        "alpha = np.linalg.solve(L.T, np.linalg.solve(L, r))",
        "alpha = Kinv @ r",
        "half_logdet = np.sum(np.log(np.diag(L)))",
        "half_logdet = 0.5 * np.linalg.slogdet(Ky)[1]",
        "    Linv = np.linalg.inv(L)\n    Kinv = Linv.T @ Linv\n",
        "",
    ),
    right(
        "pairs_of_samples_in_loops",
        "        diff = X[:, j][:, None] - X[:, j][None, :]\n"
        "        dKdlog = Kf * diff**2 / ell[j] ** 2\n"
        "        dlength[j] = np.sum(dK * dKdlog)\n",
        "        for i in range(n):\n"
        "            for k in range(i):\n"
        "                dlength[j] += inner[i, k] * Kf[i, k] * ((X[i, j] - X[k, j]) / ell[j]) ** 2\n",
    ),
    right(
        "traces_by_the_solution_of_systems",
        "        dlength[j] = np.sum(dK * dKdlog)\n",
        "        dlength[j] = 0.5 * (np.trace(np.linalg.solve(Ky, dKdlog)) - alpha @ dKdlog @ alpha)\n",
        "    dsignal = np.sum(dK * Kf)\n    dnoise = sn2 * np.trace(dK)\n",
        "    dsignal = 0.5 * (np.trace(np.linalg.solve(Ky, Kf)) - alpha @ (Kf @ alpha))\n"
        "    dnoise = 0.5 * (n - r @ alpha) - dsignal\n",
    ),
]
