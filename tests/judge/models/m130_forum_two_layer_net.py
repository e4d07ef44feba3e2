"""The two-layer net of the image course: affine, batch normalisation step by step, ReLU, dropout, softmax, L2."""

import numpy as np
import torch.nn.functional as F

from tests.judge.corpus import right, wrong

BATCH_AXIS = None  # the batch's statistics couple the samples


def reference(params, X, y, mask):
    hidden = X @ params["W1"]
    hidden = F.batch_norm(hidden, None, None, params["gamma"], params["beta"], training=True, eps=1e-5)
    scores = (F.relu(hidden) * mask) @ params["W2"] + params["b2"]
    penalty = 0.5 * 0.3 * (params["W1"].square().sum() + params["W2"].square().sum())
    return {"data": F.cross_entropy(scores, y), "penalty": penalty}


def affine_forward(x, w, b):
    out = x.dot(w) + b
    return out, (x, w, b)


def affine_backward(dout, cache):
    x, w, b = cache
    dx = dout.dot(w.T)
    dw = x.T.dot(dout)
    db = np.sum(dout, axis=0)
    return dx, dw, db


def batchnorm_forward(x, gamma, beta, eps=1e-5):
    N, D = x.shape
    # step 1: mean
    mu = 1.0 / N * np.sum(x, axis=0)
    # step 2: subtract it from every row
    xmu = x - mu
    # step 3: the square
    sq = xmu**2
    # step 4: variance
    var = 1.0 / N * np.sum(sq, axis=0)
    # step 5: add eps, then the root
    sqrtvar = np.sqrt(var + eps)
    # step 6: invert
    ivar = 1.0 / sqrtvar
    # step 7: normalise
    xhat = xmu * ivar
    # step 8 and 9: scale and shift
    out = gamma * xhat + beta
    return out, (xhat, gamma, xmu, ivar, sqrtvar, var, eps)


def batchnorm_backward(dout, bn_cache):
    xhat, gamma, xmu, ivar, sqrtvar, var, eps = bn_cache
    N, D = dout.shape
    # step 9
    dbeta = np.sum(dout, axis=0)
    # step 8
    dgamma = np.sum(dout * xhat, axis=0)
    dxhat = dout * gamma
    # step 7
    divar = np.sum(dxhat * xmu, axis=0)
    dxmu1 = dxhat * ivar
    # step 6
    dsqrtvar = -1.0 / (sqrtvar**2) * divar
    # step 5
    dvar = 0.5 * 1.0 / np.sqrt(var + eps) * dsqrtvar
    # step 4
    dsq = 1.0 / N * np.ones((N, D)) * dvar
    # step 3
    dxmu2 = 2 * xmu * dsq
    # step 2
    dx1 = dxmu1 + dxmu2
    dmu = -1 * np.sum(dxmu1 + dxmu2, axis=0)
    # step 1
    dx2 = 1.0 / N * np.ones((N, D)) * dmu
    # step 0
    dx = dx1 + dx2
    return dx, dgamma, dbeta


def relu_forward(x):
    return np.maximum(0, x), x


def relu_backward(dout, cache):
    dx = dout.copy()
    dx[cache <= 0] = 0
    return dx


def dropout_forward(x, mask):
    return x * mask, mask


def dropout_backward(dout, cache):
    return dout * cache


def softmax_loss(x, y):
    N = x.shape[0]
    shifted = x - np.max(x, axis=1, keepdims=True)
    probs = np.exp(shifted) / np.sum(np.exp(shifted), axis=1, keepdims=True)
    data_loss = -np.sum(np.log(probs[np.arange(N), y])) / N
    dx = probs.copy()
    dx[np.arange(N), y] -= 1
    dx /= N
    return data_loss, dx


def candidate(params, X, y, mask, reg=0.3):
    W1, W2, b2 = params["W1"], params["W2"], params["b2"]
    a1 = X.dot(W1)
    bn_out, bn_cache = batchnorm_forward(a1, params["gamma"], params["beta"])
    relu_out, relu_cache = relu_forward(bn_out)
    drop_out, drop_cache = dropout_forward(relu_out, mask)
    scores, fc_cache = affine_forward(drop_out, W2, b2)
    data_loss, dscores = softmax_loss(scores, y)
    loss = data_loss + 0.5 * reg * (np.sum(W1 * W1) + np.sum(W2 * W2))

    grads = {}
    dhidden, grads["W2"], grads["b2"] = affine_backward(dscores, fc_cache)
    dhidden = dropout_backward(dhidden, drop_cache)
    dhidden = relu_backward(dhidden, relu_cache)
    da1, grads["gamma"], grads["beta"] = batchnorm_backward(dhidden, bn_cache)
    grads["W1"] = X.T.dot(da1)
    # add the regularization gradient contribution
    grads["W2"] += reg * W2
    grads["W1"] += reg * W1
    return loss, grads


def problem(rng):
    params = {
        "W1": rng.normal(size=(5, 6)) * 0.5,
        "gamma": 1.0 + rng.normal(size=6) * 0.3,
        "beta": 0.3 + rng.normal(size=6) * 0.4,
        "W2": rng.normal(size=(6, 4)) * 0.7,
        "b2": rng.normal(size=4) * 0.4,
    }
    keep = 0.7
    X = rng.normal(size=(8, 5)) + 0.3
    return params, (X, rng.integers(0, 4, size=8), (rng.random(size=(8, 6)) < keep) / keep)


WRONG = [
    wrong(
        "mean_route_forgotten",
        "missing-path",
        "dx = dx1 + dx2",
        "dx = dx1",
    ),
    wrong(
        "variance_route_forgotten",
        "missing-path|diagonal-jacobian",
        "    dx1 = dxmu1 + dxmu2\n    dmu = -1 * np.sum(dxmu1 + dxmu2, axis=0)\n",
        "    dx1 = dxmu1\n    dmu = -1 * np.sum(dxmu1, axis=0)\n",
    ),
    wrong(
        "statistics_taken_as_constants",
        "missing-path|diagonal-jacobian",
        "    return dx, dgamma, dbeta\n",
        "    return dxmu1, dgamma, dbeta\n",
    ),
    wrong(
        "variance_gradient_not_divided_by_the_batch",
        "wrong-scale|wrong-reduction",
        "dsq = 1.0 / N * np.ones((N, D)) * dvar",
        "dsq = np.ones((N, D)) * dvar",
    ),
    wrong(
        "root_taken_twice",
        "derivative-at-wrong-point|wrong-operand|different-function",
        "-1.0 / (sqrtvar**2) * divar",
        "-1.0 / sqrtvar * divar",
    ),
    wrong(
        "inverse_without_its_minus",
        "wrong-sign",
        "dsqrtvar = -1.0 / (sqrtvar**2)",
        "dsqrtvar = 1.0 / (sqrtvar**2)",
    ),
    wrong(
        "gamma_left_out_backwards",
        "missing-derivative|missing-path|wrong-operand",
        "dxhat = dout * gamma",
        "dxhat = dout",
    ),
    wrong(
        "dgamma_from_the_centred_inputs",
        "wrong-operand|missing-derivative",
        "dgamma = np.sum(dout * xhat, axis=0)",
        "dgamma = np.sum(dout * xmu, axis=0)",
    ),
    wrong(
        "bias_gradient_averaged_once_more",
        "wrong-reduction|wrong-scale",
        "    db = np.sum(dout, axis=0)\n",
        "    db = np.mean(dout, axis=0)\n",
    ),
    wrong(
        "dropout_backwards_without_the_scaling",
        "wrong-scale|missing-derivative|wrong-operand",
        "return dout * cache",
        "return dout * (cache > 0)",
    ),
    wrong(
        "dropped_units_pass_backwards",
        "missing-derivative|missing-path",
        "return dout * cache",
        "return dout",
    ),
    wrong(
        "relu_gate_from_the_layer_before",
        "wrong-operand|derivative-at-wrong-point",
        "dhidden = relu_backward(dhidden, relu_cache)",
        "dhidden = relu_backward(dhidden, a1)",
    ),
    wrong(
        "softmax_gradient_not_averaged",
        "wrong-term-weight|wrong-scale|wrong-reduction",
        "    dx /= N\n",
        "",
    ),
    wrong(
        "penalty_gradient_doubled",
        "wrong-term-weight|wrong-scale",
        '    grads["W2"] += reg * W2\n    grads["W1"] += reg * W1\n',
        '    grads["W2"] += 2 * reg * W2\n    grads["W1"] += 2 * reg * W1\n',
    ),
    wrong(
        "first_layer_not_regularised",
        "missing-path|wrong-part-penalised",
        '    grads["W1"] += reg * W1\n',
        "",
    ),
    wrong(
        "variance_of_a_sample_in_both",
        "different-function|wrong-scale|wrong-reduction",
        "var = 1.0 / N * np.sum(sq, axis=0)",
        "var = 1.0 / (N - 1) * np.sum(sq, axis=0)",
        "dsq = 1.0 / N * np.ones((N, D)) * dvar",
        "dsq = 1.0 / (N - 1) * np.ones((N, D)) * dvar",
    ),
]

TOGETHER = [
    ("mean_route_forgotten", "bias_gradient_averaged_once_more"),
    ("gamma_left_out_backwards", "dropout_backwards_without_the_scaling"),
    ("variance_gradient_not_divided_by_the_batch", "first_layer_not_regularised"),
    ("dgamma_from_the_centred_inputs", "inverse_without_its_minus"),
    ("softmax_gradient_not_averaged", "relu_gate_from_the_layer_before"),
    ("statistics_taken_as_constants", "penalty_gradient_doubled"),
    ("variance_route_forgotten", "bias_gradient_averaged_once_more", "dropped_units_pass_backwards"),
    ("root_taken_twice", "penalty_gradient_doubled", "dgamma_from_the_centred_inputs"),
]

RIGHT = [
    right(
        "normalisation_in_one_line",
        "    # step 7\n"
        "    divar = np.sum(dxhat * xmu, axis=0)\n"
        "    dxmu1 = dxhat * ivar\n"
        "    # step 6\n"
        "    dsqrtvar = -1.0 / (sqrtvar**2) * divar\n"
        "    # step 5\n"
        "    dvar = 0.5 * 1.0 / np.sqrt(var + eps) * dsqrtvar\n"
        "    # step 4\n"
        "    dsq = 1.0 / N * np.ones((N, D)) * dvar\n"
        "    # step 3\n"
        "    dxmu2 = 2 * xmu * dsq\n"
        "    # step 2\n"
        "    dx1 = dxmu1 + dxmu2\n"
        "    dmu = -1 * np.sum(dxmu1 + dxmu2, axis=0)\n"
        "    # step 1\n"
        "    dx2 = 1.0 / N * np.ones((N, D)) * dmu\n"
        "    # step 0\n"
        "    dx = dx1 + dx2\n",
        "    dx = (1.0 / N) * ivar * (N * dxhat - dxhat.sum(axis=0) - xhat * np.sum(dxhat * xhat, axis=0))\n",
    ),
    right(
        "loops_over_the_samples",
        "    shifted = x - np.max(x, axis=1, keepdims=True)\n"
        "    probs = np.exp(shifted) / np.sum(np.exp(shifted), axis=1, keepdims=True)\n"
        "    data_loss = -np.sum(np.log(probs[np.arange(N), y])) / N\n"
        "    dx = probs.copy()\n"
        "    dx[np.arange(N), y] -= 1\n"
        "    dx /= N\n",
        "    data_loss, dx = 0.0, np.zeros_like(x)\n"
        "    for i in range(N):\n"
        "        scores = x[i] - np.max(x[i])\n"
        "        total = np.sum(np.exp(scores))\n"
        "        data_loss += (-scores[y[i]] + np.log(total)) / N\n"
        "        for j in range(x.shape[1]):\n"
        "            dx[i, j] = (np.exp(scores[j]) / total - (j == y[i])) / N\n",
    ),
    right(
        "gates_joined_and_in_place",
        "    dhidden = dropout_backward(dhidden, drop_cache)\n    dhidden = relu_backward(dhidden, relu_cache)\n",
        "    dhidden *= np.where(drop_out > 0, drop_cache, 0.0)\n",
        "    dx = dx1 + dx2\n",
        "    dx1 += dx2\n    dx = dx1\n",
        "x.T.dot(dout)",
        "np.einsum('nd,nc->dc', x, dout)",
    ),
]
