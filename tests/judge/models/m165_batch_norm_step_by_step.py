"""A classifier with batch normalisation before its ReLU, taken back one node of the graph at a time."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, X, y):
    a = X @ params["W1"]
    normed = F.batch_norm(a, None, None, params["gamma"], params["beta"], training=True, eps=1e-3)
    return F.cross_entropy(torch.relu(normed) @ params["W2"] + params["b2"], y)


def batchnorm_forward(x, gamma, beta, eps):
    n = x.shape[0]
    mu = np.sum(x, axis=0) / n
    xmu = x - mu
    var = np.sum(xmu**2, axis=0) / n
    std = np.sqrt(var + eps)
    istd = 1 / std
    xhat = xmu * istd
    return gamma * xhat + beta, (xhat, xmu, istd, std, var, gamma)


def batchnorm_backward(dout, cache):
    xhat, xmu, istd, std, var, gamma = cache
    n = dout.shape[0]
    # scale and shift
    dbeta = np.sum(dout, axis=0)
    dgamma = np.sum(dout * xhat, axis=0)
    dxhat = dout * gamma
    # division by the deviation
    distd = np.sum(dxhat * xmu, axis=0)
    dxmu1 = dxhat * istd
    dstd = -distd / std**2
    dvar = 0.5 * dstd / std
    # variance
    dsq = np.ones_like(dout) * dvar / n
    dxmu2 = 2 * xmu * dsq
    # mean
    dx1 = dxmu1 + dxmu2
    dmu = -np.sum(dxmu1 + dxmu2, axis=0)
    dx2 = np.ones_like(dout) * dmu / n
    return dx1 + dx2, dgamma, dbeta


def log_softmax(scores):
    shifted = scores - np.max(scores, axis=1, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))


def candidate(params, X, y):
    W1, gamma, beta, W2, b2 = (params[name] for name in ("W1", "gamma", "beta", "W2", "b2"))
    a = X.dot(W1)
    normed, cache = batchnorm_forward(a, gamma, beta, eps=1e-3)
    h = np.maximum(0, normed)
    logp = log_softmax(h.dot(W2) + b2)
    rows = np.arange(len(y))
    loss = -np.mean(logp[rows, y])

    grads = {}
    dscores = np.exp(logp)
    dscores[rows, y] -= 1
    dscores /= len(y)
    grads["W2"] = h.T.dot(dscores)
    grads["b2"] = np.sum(dscores, axis=0)
    dnormed = dscores.dot(W2.T) * (normed > 0)
    da, grads["gamma"], grads["beta"] = batchnorm_backward(dnormed, cache)
    grads["W1"] = X.T.dot(da)
    return loss, grads


def problem(rng):
    params = {
        "W1": rng.normal(size=(5, 4)) * 0.4,
        "gamma": rng.uniform(0.5, 1.8, size=4),
        "beta": rng.normal(size=4) * 0.5 + 0.3,
        "W2": rng.normal(size=(4, 3)),
        "b2": rng.normal(size=3) * 0.4,
    }
    return params, (rng.normal(size=(7, 5)), rng.integers(0, 3, size=7))


WRONG = [
    wrong(
        "scale_forgotten_on_the_way_to_the_input",
        "missing-derivative|wrong-operand",
        "dxhat = dout * gamma",
        "dxhat = dout",
    ),
    wrong(
        "gradient_scaled_in_place_before_the_sums",
        "extra-derivative|wrong-operand",
        "    dbeta = np.sum(dout, axis=0)\n    dgamma = np.sum(dout * xhat, axis=0)\n    dxhat = dout * gamma\n",
        "    dxhat = dout\n"
        "    dxhat *= gamma\n"
        "    dbeta = np.sum(dout, axis=0)\n"
        "    dgamma = np.sum(dout * xhat, axis=0)\n",
    ),
    wrong(
        "epsilon_left_out_of_the_square",
        "different-function|wrong-operand",
        "dstd = -distd / std**2",
        "dstd = -distd / var",
    ),
    wrong("half_of_the_root_forgotten", "wrong-scale", "dvar = 0.5 * dstd / std", "dvar = dstd / std"),
    wrong("mean_taken_as_a_constant", "missing-path", "return dx1 + dx2, dgamma", "return dx1, dgamma"),
    wrong("variance_taken_as_a_constant", "missing-path", "    dx1 = dxmu1 + dxmu2\n", "    dx1 = dxmu1\n"),
    wrong(
        "gradients_of_scale_and_shift_swapped",
        "wrong-operand",
        "return dx1 + dx2, dgamma, dbeta",
        "return dx1 + dx2, dbeta, dgamma",
    ),
    wrong(
        "scale_with_the_centred_input",
        "wrong-operand|missing-derivative",
        "np.sum(dout * xhat, axis=0)",
        "np.sum(dout * xmu, axis=0)",
    ),
    wrong(
        "relu_looked_at_the_layer_before_its_norm",
        "wrong-operand|derivative-at-wrong-point",
        "(normed > 0)",
        "(a > 0)",
    ),
    wrong(
        "variance_of_a_sample_in_both",
        "different-function|wrong-scale",
        "var = np.sum(xmu**2, axis=0) / n",
        "var = np.sum(xmu**2, axis=0) / (n - 1)",
        "dsq = np.ones_like(dout) * dvar / n",
        "dsq = np.ones_like(dout) * dvar / (n - 1)",
    ),
    wrong("other_epsilon_in_both", "different-function", "beta, eps=1e-3)", "beta, eps=1e-5)"),
    wrong(
        "norm_skipped_on_the_way_back",
        "missing-derivative|missing-path",
        'grads["W1"] = X.T.dot(da)',
        'grads["W1"] = X.T.dot(dnormed)',
    ),
]

TOGETHER = [
    ("scale_forgotten_on_the_way_to_the_input", "half_of_the_root_forgotten"),
    ("mean_taken_as_a_constant", "scale_with_the_centred_input"),
    ("gradients_of_scale_and_shift_swapped", "variance_taken_as_a_constant"),
    ("other_epsilon_in_both", "relu_looked_at_the_layer_before_its_norm"),
]

RIGHT = [
    right(
        "mean_without_the_route_of_the_variance",  # which is zero: deviations add up to nothing
        "dmu = -np.sum(dxmu1 + dxmu2, axis=0)",
        "dmu = -np.sum(dxmu1, axis=0)",
        "dstd = -distd / std**2",
        "dstd = -distd * istd**2",
    ),
]
