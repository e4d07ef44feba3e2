"""A layer-normalised, dropped-out ReLU classifier; the norm goes back node by node, tuples as caches, L2 at half."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, X, y, drop):
    a = F.layer_norm(X @ params["W1"] + params["b1"], (5,), params["gamma"], params["beta"], eps=1e-3)
    scores = (torch.relu(a) * drop / 0.6) @ params["W2"] + params["b2"]
    return {
        "data": F.cross_entropy(scores, y),
        "penalty": 0.5 * 0.3 * ((params["W1"] ** 2).sum() + (params["W2"] ** 2).sum()),
    }


def layernorm_forward(x, gamma, beta, eps=1e-3):
    D = x.shape[1]
    # mean of each sample
    mu = 1.0 / D * np.sum(x, axis=1, keepdims=True)
    xmu = x - mu
    # variance of each sample
    sq = xmu**2
    var = 1.0 / D * np.sum(sq, axis=1, keepdims=True)
    sqrtvar = np.sqrt(var + eps)
    ivar = 1.0 / sqrtvar
    # normalise, scale, shift
    xhat = xmu * ivar
    out = gamma * xhat + beta
    return out, (xhat, gamma, xmu, ivar, sqrtvar, var, eps)


def layernorm_backward(dout, cache):
    xhat, gamma, xmu, ivar, sqrtvar, var, eps = cache
    N, D = dout.shape
    # scale and shift
    dbeta = np.sum(dout, axis=0)
    dgamma = np.sum(dout * xhat, axis=0)
    dxhat = dout * gamma
    # product of the centred input and the inverse deviation
    divar = np.sum(dxhat * xmu, axis=1, keepdims=True)
    dxmu1 = dxhat * ivar
    # inverse, root, mean of squares
    dsqrtvar = -1.0 / (sqrtvar**2) * divar
    dvar = 0.5 / np.sqrt(var + eps) * dsqrtvar
    dsq = 1.0 / D * np.ones((N, D)) * dvar
    dxmu2 = 2 * xmu * dsq
    # centring
    dx1 = dxmu1 + dxmu2
    dmu = -1 * np.sum(dxmu1 + dxmu2, axis=1, keepdims=True)
    dx2 = 1.0 / D * np.ones((N, D)) * dmu
    dx = dx1 + dx2
    return dx, dgamma, dbeta


def candidate(params, X, y, drop):
    W1, b1, W2, b2 = params["W1"], params["b1"], params["W2"], params["b2"]
    reg, keep_prob = 0.3, 0.6
    N = X.shape[0]

    hidden = X.dot(W1) + b1
    normed, cache = layernorm_forward(hidden, params["gamma"], params["beta"])
    relu = np.maximum(0, normed)
    mask = drop / keep_prob
    dropped = relu * mask
    scores = dropped.dot(W2) + b2

    scores = scores - np.max(scores, axis=1, keepdims=True)
    probs = np.exp(scores)
    probs /= np.sum(probs, axis=1, keepdims=True)
    data_loss = -np.sum(np.log(probs[range(N), y])) / N
    loss = data_loss + 0.5 * reg * (np.sum(W1 * W1) + np.sum(W2 * W2))

    dscores = probs.copy()
    dscores[range(N), y] -= 1
    dscores /= N
    dW2 = dropped.T.dot(dscores)
    db2 = dscores.sum(axis=0)
    ddropped = dscores.dot(W2.T)
    drelu = ddropped * mask
    dnormed = drelu * (normed > 0)
    dhidden, dgamma, dbeta = layernorm_backward(dnormed, cache)
    dW1 = X.T.dot(dhidden)
    db1 = dhidden.sum(axis=0)
    dW1 += reg * W1
    dW2 += reg * W2
    return loss, {"W1": dW1, "b1": db1, "gamma": dgamma, "beta": dbeta, "W2": dW2, "b2": db2}


def problem(rng):
    params = {
        "W1": rng.normal(size=(3, 5)),
        "b1": rng.normal(size=5) * 0.5,
        "gamma": 1 + rng.normal(size=5) * 0.3,
        "beta": rng.normal(size=5) * 0.3 + 0.2,
        "W2": rng.normal(size=(5, 4)),
        "b2": rng.normal(size=4) * 0.5,
    }
    return params, (rng.normal(size=(7, 3)), rng.integers(0, 4, size=7), (rng.random(size=(7, 5)) < 0.6).astype(float))


WRONG = [
    wrong("mean_held_constant", "missing-path", "dx = dx1 + dx2", "dx = dx1"),
    wrong(
        "variance_held_constant",
        "missing-path",
        "dx1 = dxmu1 + dxmu2",
        "dx1 = dxmu1",
        "np.sum(dxmu1 + dxmu2, ",
        "np.sum(dxmu1, ",
    ),
    wrong(
        "inverse_without_its_minus",
        "wrong-sign",
        "dsqrtvar = -1.0 / (sqrtvar**2) * divar",
        "dsqrtvar = 1.0 / (sqrtvar**2) * divar",
    ),
    wrong("half_of_the_root_forgotten", "wrong-scale", "dvar = 0.5 / np.sqrt", "dvar = 1.0 / np.sqrt"),
    wrong(
        "batch_size_left_from_batch_norm",
        "wrong-scale|wrong-reduction",
        "dsq = 1.0 / D * np.ones((N, D)) * dvar",
        "dsq = 1.0 / N * np.ones((N, D)) * dvar",
        "dx2 = 1.0 / D * np.ones((N, D)) * dmu",
        "dx2 = 1.0 / N * np.ones((N, D)) * dmu",
    ),
    wrong(
        "deviation_gradient_summed_over_the_batch",
        "wrong-axis",
        "divar = np.sum(dxhat * xmu, axis=1, keepdims=True)",
        "divar = np.sum(dxhat * xmu, axis=0, keepdims=True)",
    ),
    wrong(
        "scale_gradient_with_the_centred_input",
        "wrong-operand",
        "dgamma = np.sum(dout * xhat, axis=0)",
        "dgamma = np.sum(dout * xmu, axis=0)",
    ),
    wrong("scale_forgotten_on_the_way_down", "missing-derivative", "dxhat = dout * gamma", "dxhat = dout"),
    wrong("dropout_forgotten_backwards", "missing-derivative", "drelu = ddropped * mask", "drelu = ddropped"),
    wrong(
        "kept_units_not_scaled_backwards",
        "wrong-scale|wrong-operand",
        "drelu = ddropped * mask",
        "drelu = ddropped * drop",
    ),
    wrong(
        "relu_slope_by_the_input_of_the_norm",
        "derivative-at-wrong-point|wrong-operand",
        "dnormed = drelu * (normed > 0)",
        "dnormed = drelu * (hidden > 0)",
    ),
    wrong(
        "penalty_with_the_two_of_the_square",
        "wrong-term-weight|wrong-scale",
        "    dW1 += reg * W1\n    dW2 += reg * W2\n",
        "    dW1 += 2 * reg * W1\n    dW2 += 2 * reg * W2\n",
    ),
]

TOGETHER = [
    ("mean_held_constant", "dropout_forgotten_backwards"),
    ("inverse_without_its_minus", "penalty_with_the_two_of_the_square"),
    ("batch_size_left_from_batch_norm", "scale_gradient_with_the_centred_input"),
    ("half_of_the_root_forgotten", "kept_units_not_scaled_backwards"),
]

RIGHT = [
    right(
        "norm_backwards_in_one_formula",
        "    dx = dx1 + dx2\n",
        "    along = np.sum(dxhat * xhat, axis=1, keepdims=True)\n"
        "    dx = ivar / D * (D * dxhat - np.sum(dxhat, axis=1, keepdims=True) - xhat * along)\n",
    ),
]
