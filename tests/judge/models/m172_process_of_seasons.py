"""A Gaussian process: a periodic kernel of time, a weighted dot-product kernel of features, noise and a linear mean."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong

BATCH_AXIS = None  # the covariance couples all observations


def reference(params, t, X, y):
    amp, gamma, period, sigma, noise = (params["log_" + name].exp() for name in NAMES)
    r = t.unsqueeze(1) - t.unsqueeze(0)
    K = amp.square() * torch.exp(-gamma * torch.sin(torch.pi * r / period).square())
    scaled = X * params["log_weight"].exp()
    K = K + sigma.square() + scaled @ scaled.T + noise.square() * torch.eye(len(y), dtype=y.dtype)
    normal = torch.distributions.MultivariateNormal(X @ params["mean"], covariance_matrix=K)
    return -normal.log_prob(y)


NAMES = ("amp", "gamma", "period", "sigma", "noise")


def periodic(r, amp, gamma, period):
    return amp**2 * np.exp(-gamma * np.sin(np.pi * r / period) ** 2)


def kernel_slopes(r, amp, gamma, period):
    """The periodic kernel's slopes in its own parameters, not in their logarithms."""
    K = periodic(r, amp, gamma, period)
    s, c = np.sin(np.pi * r / period), np.cos(np.pi * r / period)
    dK_damp = 2 * K / amp
    dK_dgamma = -(s**2) * K
    dK_dperiod = 2 * gamma * K * s * c * np.pi * r / period**2
    return dK_damp, dK_dgamma, dK_dperiod


def candidate(params, t, X, y):
    amp, gamma, period, sigma, noise = (
        np.exp(params["log_" + name]) for name in ("amp", "gamma", "period", "sigma", "noise")
    )
    weight = np.exp(params["log_weight"])
    n = len(y)
    r = np.subtract.outer(t, t)
    K = periodic(r, amp, gamma, period) + (sigma**2 + (X * weight**2) @ X.T) + noise**2 * np.eye(n)
    L = np.linalg.cholesky(K)
    residual = y - X @ params["mean"]
    alpha = np.linalg.solve(L.T, np.linalg.solve(L, residual))
    loss = 0.5 * residual @ alpha + np.sum(np.log(np.diag(L))) + 0.5 * n * np.log(2 * np.pi)

    K_inv = np.linalg.inv(K)
    inner = np.outer(alpha, alpha) - K_inv
    dK_damp, dK_dgamma, dK_dperiod = kernel_slopes(r, amp, gamma, period)
    dK_dsigma = 2 * sigma * np.ones((n, n))
    dK_dnoise = 2 * noise * np.eye(n)
    dweight = np.zeros_like(weight)
    for j in range(len(weight)):
        dK_dweight = 2 * weight[j] * np.outer(X[:, j], X[:, j])
        dweight[j] = -0.5 * np.trace(inner @ dK_dweight)
    grads = {
        "log_amp": -0.5 * np.trace(inner @ dK_damp) * amp,
        "log_gamma": -0.5 * np.trace(inner @ dK_dgamma) * gamma,
        "log_period": -0.5 * np.trace(inner @ dK_dperiod) * period,
        "log_sigma": -0.5 * np.trace(inner @ dK_dsigma) * sigma,
        "log_noise": -0.5 * np.trace(inner @ dK_dnoise) * noise,
        "log_weight": dweight * weight,
        "mean": -X.T @ alpha,
    }
    return loss, {name: np.asarray(value) for name, value in grads.items()}


def problem(rng):
    n = 7
    params = {
        "log_amp": np.array(0.2) + 0.2 * rng.normal(),
        "log_gamma": np.array(0.5) + 0.2 * rng.normal(),
        "log_period": np.array(0.8) + 0.1 * rng.normal(),
        "log_sigma": np.array(-0.4) + 0.2 * rng.normal(),
        "log_noise": np.array(-0.3) + 0.2 * rng.normal(),
        "log_weight": rng.normal(size=3) * 0.3 - 0.2,
        "mean": rng.normal(size=3) * 0.6,
    }
    t = np.sort(rng.uniform(0, 5, size=n))
    X = rng.normal(size=(n, 3)) * 0.8
    y = 1.5 * np.sin(2.9 * t) + X @ np.array([0.5, -0.8, 0.3]) + rng.normal(size=n) * 0.5
    return {name: np.array(value) for name, value in params.items()}, (t, X, y)


WRONG = [
    wrong(
        "slope_in_the_weight_not_in_its_logarithm",
        "missing-derivative",
        '"log_weight": dweight * weight',
        '"log_weight": dweight',
    ),
    wrong(
        "dot_product_slope_already_in_the_logarithm",
        "extra-derivative|wrong-scale",
        "dK_dsigma = 2 * sigma * np.ones((n, n))",
        "dK_dsigma = 2 * sigma**2 * np.ones((n, n))",
    ),
    wrong(
        "mean_pulled_the_other_way",
        "wrong-sign",
        '"mean": -X.T @ alpha',
        '"mean": X.T @ alpha',
    ),
    wrong(
        "determinant_left_out",
        "missing-path",
        "inner = np.outer(alpha, alpha) - K_inv",
        "inner = np.outer(alpha, alpha)",
    ),
    wrong(
        "data_fit_with_the_sign_of_the_determinant",
        "wrong-sign",
        "inner = np.outer(alpha, alpha) - K_inv",
        "inner = -np.outer(alpha, alpha) - K_inv",
    ),
    wrong(
        "period_slope_without_the_cosine",
        "missing-derivative",
        "dK_dperiod = 2 * gamma * K * s * c * np.pi * r / period**2",
        "dK_dperiod = 2 * gamma * K * s * np.pi * r / period**2",
    ),
    wrong(
        "sum_of_products_not_the_trace",
        "wrong-reduction|different-function",
        "np.trace(inner @ dK_dperiod)",
        "np.sum(inner @ dK_dperiod)",
    ),
    wrong(
        "noise_taken_for_a_variance_in_the_slope",
        "wrong-scale|missing-derivative",
        "dK_dnoise = 2 * noise * np.eye(n)",
        "dK_dnoise = np.eye(n)",
    ),
    wrong(
        "features_correlated_with_what_is_left_of_the_data",
        "wrong-operand|different-function",
        '"mean": -X.T @ alpha',
        '"mean": -X.T @ residual',
    ),
    wrong(
        "weight_of_the_first_feature_in_every_slope",
        "wrong-operand",
        "dK_dweight = 2 * weight[j] * np",
        "dK_dweight = 2 * weight[0] * np",
    ),
    wrong(
        "half_forgotten_for_the_amplitude",
        "wrong-scale",
        '"log_amp": -0.5 * np.trace',
        '"log_amp": -np.trace',
    ),
    wrong(
        "determinant_from_the_diagonal_of_the_kernel_in_cost",
        "wrong-loss",
        "loss = 0.5 * residual @ alpha + np.sum(np.log(np.diag(L)))",
        "loss = 0.5 * residual @ alpha + np.sum(np.log(np.diag(K)))",
    ),
]

TOGETHER = [
    ("slope_in_the_weight_not_in_its_logarithm", "mean_pulled_the_other_way"),
    ("period_slope_without_the_cosine", "noise_taken_for_a_variance_in_the_slope"),
    ("dot_product_slope_already_in_the_logarithm", "half_forgotten_for_the_amplitude"),
    ("mean_pulled_the_other_way", "determinant_left_out"),
]

RIGHT = [
    right(
        "traces_as_sums_of_products",
        "np.trace(inner @ dK_damp)",
        "np.sum(inner * dK_damp)",
        "np.trace(inner @ dK_dgamma)",
        "np.sum(inner * dK_dgamma)",
        "np.trace(inner @ dK_dnoise) * noise",
        "np.trace(inner) * 2 * noise**2",
        "    K_inv = np.linalg.inv(K)\n",
        "    half = np.linalg.inv(L)\n    K_inv = half.T @ half\n",
        "dK_dperiod = 2 * gamma * K * s * c * np.pi * r / period**2",
        "dK_dperiod = gamma * K * np.sin(2 * np.pi * r / period) * np.pi * r / period**2",
    ),
]
