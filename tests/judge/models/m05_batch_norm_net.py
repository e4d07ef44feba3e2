"""Batch normalisation (fused) between two linear layers, ReLU, logistic loss on signed labels."""

import numpy as np
import torch.nn.functional as F

from tests.judge.corpus import right, wrong

BATCH_AXIS = None  # the batch's statistics couple the samples


def reference(params, x, y):
    z = x @ params["W1"]
    n = F.batch_norm(z, None, None, params["gamma"], params["beta"], training=True, eps=1e-3)
    score = F.relu(n) @ params["v"] + params["c"]
    return F.softplus(-y * score).mean()


def candidate(params, x, y):
    W1, gamma, beta, v = params["W1"], params["gamma"], params["beta"], params["v"]
    m = len(y)
    z = x @ W1
    mu = z.mean(axis=0)
    var = z.var(axis=0)
    std = np.sqrt(var + 1e-3)
    zhat = (z - mu) / std
    n = gamma * zhat + beta
    a = np.maximum(0, n)
    score = a @ v + params["c"]
    loss = np.mean(np.log1p(np.exp(-y * score)))
    dscore = -y / (1 + np.exp(y * score)) / m
    dv = a.T @ dscore
    dc = dscore.sum()
    da = np.outer(dscore, v)
    dn = da * (n > 0)
    dgamma = np.sum(dn * zhat, axis=0)
    dbeta = np.sum(dn, axis=0)
    dzhat = dn * gamma
    dz = (dzhat - dzhat.mean(axis=0) - zhat * np.mean(dzhat * zhat, axis=0)) / std
    dW1 = x.T @ dz
    return loss, {"W1": dW1, "gamma": dgamma, "beta": dbeta, "v": dv, "c": dc}


def problem(rng):
    params = {
        "W1": rng.normal(size=(3, 4)),
        "gamma": rng.uniform(0.5, 1.5, size=4),
        "beta": rng.normal(size=4) * 0.5,
        "v": rng.normal(size=4),
        "c": np.array(0.2),
    }
    return params, (rng.normal(size=(9, 3)), rng.choice([-1.0, 1.0], size=9))


WRONG = [
    wrong(
        "statistics_as_constants",
        "diagonal-jacobian|missing-path",
        "(dzhat - dzhat.mean(axis=0) - zhat * np.mean(dzhat * zhat, axis=0)) / std",
        "dzhat / std",
    ),
    wrong("variance_as_constant", "missing-path", " - zhat * np.mean(dzhat * zhat, axis=0)", ""),
    wrong("mean_as_constant", "missing-path", "(dzhat - dzhat.mean(axis=0) - zhat", "(dzhat - zhat"),
    wrong(
        "statistics_not_averaged",
        "wrong-scale|wrong-reduction",
        "zhat * np.mean(dzhat * zhat, axis=0)",
        "zhat * np.sum(dzhat * zhat, axis=0)",
    ),
    wrong(
        "deviation_squared",
        "wrong-operand|different-function|extra-derivative|wrong-scale",
        "axis=0)) / std",
        "axis=0)) / std**2",
    ),
    wrong("deviation_forgotten", "missing-derivative|missing-path", "axis=0)) / std", "axis=0))"),
    wrong(
        "gamma_forgotten_backwards", "missing-derivative|missing-path|wrong-operand", "dzhat = dn * gamma", "dzhat = dn"
    ),
    wrong("statistics_over_features", "wrong-axis", "dzhat.mean(axis=0)", "dzhat.mean(axis=1, keepdims=True)"),
    wrong("gamma_from_the_uncentred", "wrong-operand", "dn * zhat, axis=0)\n    dbeta", "dn * z, axis=0)\n    dbeta"),
    wrong("gamma_from_the_output", "wrong-operand", "dn * zhat, axis=0)\n    dbeta", "dn * n, axis=0)\n    dbeta"),
    wrong("relu_derivative_forgotten", "missing-derivative", "dn = da * (n > 0)", "dn = da"),
    wrong("relu_mask_of_the_normalised", "wrong-operand|derivative-at-wrong-point", "da * (n > 0)", "da * (zhat > 0)"),
    wrong(
        "sigmoid_of_the_margin_turned_round",
        "wrong-sign|different-function",
        "np.exp(y * score)) / m",
        "np.exp(-y * score)) / m",
    ),
    wrong("label_sign_forgotten", "wrong-sign", "dscore = -y /", "dscore = y /"),
    wrong("not_averaged", "wrong-scale|wrong-reduction", "np.exp(y * score)) / m", "np.exp(y * score))"),
    wrong("beta_averaged", "wrong-scale|wrong-reduction", "dbeta = np.sum(", "dbeta = np.mean("),
    wrong("intercept_of_last_sample", "one-sample-only|last-step-only", "dc = dscore.sum()", "dc = dscore[-1]"),
    wrong(
        "unbiased_variance",
        "different-function|wrong-reduction|wrong-scale",
        "z.var(axis=0)",
        "z.var(axis=0, ddof=1)",
        "zhat * np.mean(dzhat * zhat, axis=0)",
        "zhat * np.sum(dzhat * zhat, axis=0) / (m - 1)",
    ),
    wrong(
        "normalised_over_features_in_both",
        "wrong-axis",
        "z.mean(axis=0)",
        "z.mean(axis=1, keepdims=True)",
        "z.var(axis=0)",
        "z.var(axis=1, keepdims=True)",
        "dzhat.mean(axis=0)",
        "dzhat.mean(axis=1, keepdims=True)",
        "np.mean(dzhat * zhat, axis=0)",
        "np.mean(dzhat * zhat, axis=1, keepdims=True)",
    ),
    wrong("another_epsilon", "different-function|wrong-hyperparameter", "np.sqrt(var + 1e-3)", "np.sqrt(var + 1e-5)"),
    wrong(
        "logarithm_to_base_ten_in_cost",
        "wrong-loss",
        "np.log1p(np.exp(-y * score))",
        "np.log10(1 + np.exp(-y * score))",
    ),
]

TOGETHER = [
    ("statistics_as_constants", "relu_derivative_forgotten"),
    ("variance_as_constant", "not_averaged"),
    ("beta_averaged", "gamma_from_the_uncentred"),
    ("label_sign_forgotten", "mean_as_constant"),
    ("logarithm_to_base_ten_in_cost", "gamma_forgotten_backwards"),
    ("not_averaged", "beta_averaged", "variance_as_constant"),
]

RIGHT = [
    right(
        "three_steps",
        "dz = (dzhat - dzhat.mean(axis=0) - zhat * np.mean(dzhat * zhat, axis=0)) / std",
        "dvar = np.sum(dzhat * (z - mu), axis=0) * -0.5 * std**-3\n    dmu = -dzhat.sum(axis=0) / std\n"
        "    dz = dzhat / std + 2 * dvar * (z - mu) / m + dmu / m",
    ),
    right("softplus", "np.log1p(np.exp(-y * score))", "np.logaddexp(0, -y * score)"),
]
