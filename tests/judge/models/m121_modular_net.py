"""A modular network of the computer-vision course: affine, batch norm, relu and inverted dropout, softmax, L2."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong

BATCH_AXIS = None  # the batch's statistics couple the samples


def reference(params, x, y, drop1, drop2):
    h = x.flatten(1)
    for i, mask in enumerate((drop1, drop2), start=1):
        h = F.linear(h, params[f"W{i}"].T)
        h = F.batch_norm(h, None, None, params[f"gamma{i}"], params[f"beta{i}"], training=True, eps=1e-5)
        h = F.relu(h) * mask / 0.6
    scores = torch.addmm(params["b3"], h, params["W3"])
    penalty = sum(params[f"W{i}"].square().sum() for i in (1, 2, 3))
    return {"data": F.cross_entropy(scores, y), "penalty": 0.5 * 0.15 * penalty}


def affine_forward(x, w, b):
    out = x.reshape(x.shape[0], -1).dot(w) + b
    return out, (x, w)


def affine_backward(dout, cache):
    x, w = cache
    dx = dout.dot(w.T).reshape(x.shape)
    dw = x.reshape(x.shape[0], -1).T.dot(dout)
    db = dout.sum(axis=0)
    return dx, dw, db


def relu_forward(x):
    return np.maximum(0, x), x


def relu_backward(dout, cache):
    x = cache
    return dout * (x > 0)


def batchnorm_forward(x, gamma, beta, eps=1e-5):
    mu = x.mean(axis=0)
    xmu = x - mu
    var = np.mean(xmu**2, axis=0)
    ivar = 1.0 / np.sqrt(var + eps)
    xhat = xmu * ivar
    return gamma * xhat + beta, (xhat, xmu, ivar, gamma)


def batchnorm_backward(dout, cache):
    xhat, xmu, ivar, gamma = cache
    N = dout.shape[0]
    dbeta = np.sum(dout, axis=0)
    dgamma = np.sum(dout * xhat, axis=0)
    dxhat = dout * gamma
    dvar = np.sum(dxhat * xmu, axis=0) * -0.5 * ivar**3
    dmu = -np.sum(dxhat * ivar, axis=0)
    dx = dxhat * ivar + dvar * 2 * xmu / N + dmu / N
    return dx, dgamma, dbeta


def dropout_forward(x, mask, p):
    return x * mask / p, (mask, p)


def dropout_backward(dout, cache):
    mask, p = cache
    return dout * mask / p


def softmax_loss(scores, y):
    N = scores.shape[0]
    shifted = scores - scores.max(axis=1, keepdims=True)
    log_probs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    data_loss = -log_probs[np.arange(N), y].mean()
    dscores = np.exp(log_probs)
    dscores[np.arange(N), y] -= 1
    dscores /= N
    return data_loss, dscores


def candidate(params, x, y, drop1, drop2, reg=0.15, p=0.6):
    masks = [drop1, drop2]
    layers = len(masks)
    caches = []
    out = x
    for i in range(1, layers + 1):
        out, fc_cache = affine_forward(out, params[f"W{i}"], 0)
        out, bn_cache = batchnorm_forward(out, params[f"gamma{i}"], params[f"beta{i}"])
        out, relu_cache = relu_forward(out)
        out, do_cache = dropout_forward(out, masks[i - 1], p)
        caches.append((fc_cache, bn_cache, relu_cache, do_cache))
    last = layers + 1
    scores, cache = affine_forward(out, params[f"W{last}"], params[f"b{last}"])

    data_loss, dscores = softmax_loss(scores, y)
    reg_loss = sum(0.5 * reg * np.sum(params[f"W{i}"] ** 2) for i in range(1, last + 1))
    loss = data_loss + reg_loss

    grads = {}
    dout, grads[f"W{last}"], grads[f"b{last}"] = affine_backward(dscores, cache)
    grads[f"W{last}"] += reg * params[f"W{last}"]
    for i in range(layers, 0, -1):
        fc_cache, bn_cache, relu_cache, do_cache = caches[i - 1]
        dout = dropout_backward(dout, do_cache)
        dout = relu_backward(dout, relu_cache)
        dout, grads[f"gamma{i}"], grads[f"beta{i}"] = batchnorm_backward(dout, bn_cache)
        dout, grads[f"W{i}"], _ = affine_backward(dout, fc_cache)
        grads[f"W{i}"] += reg * params[f"W{i}"]
    return loss, grads


def problem(rng):
    N, H1, H2, C = 9, 7, 5, 4
    params = {"W1": rng.normal(size=(6, H1)) * 0.6}
    params["gamma1"] = 1 + 0.4 * rng.normal(size=H1)
    params["beta1"] = 0.3 + 0.4 * rng.normal(size=H1)
    params["W2"] = rng.normal(size=(H1, H2)) * 0.5
    params["gamma2"] = 1.2 + 0.4 * rng.normal(size=H2)
    params["beta2"] = 0.4 + 0.4 * rng.normal(size=H2)
    params["W3"] = rng.normal(size=(H2, C)) * 0.6
    params["b3"] = rng.normal(size=C) * 0.5
    masks = [(rng.random(size=(N, H)) < 0.6).astype(float) for H in (H1, H2)]
    return params, (rng.normal(size=(N, 3, 2)) + 0.3, rng.integers(C, size=N), *masks)


WRONG = [
    wrong(
        "mean_of_the_batch_held_fixed",
        "missing-path",
        " + dvar * 2 * xmu / N + dmu / N",
        " + dvar * 2 * xmu / N",
    ),
    wrong(
        "batch_norm_as_a_fixed_scaling",
        "diagonal-jacobian|missing-path",
        "dx = dxhat * ivar + dvar * 2 * xmu / N + dmu / N",
        "dx = dxhat * ivar",
    ),
    wrong(
        "mean_path_not_divided",
        "wrong-reduction|wrong-scale",
        "xmu / N + dmu / N",
        "xmu / N + dmu",
    ),
    wrong(
        "power_of_the_variance",
        "different-function|missing-derivative|derivative-at-wrong-point|wrong-operand",
        "* -0.5 * ivar**3",
        "* -0.5 * ivar",
    ),
    wrong(
        "scale_not_applied_backwards",
        "missing-derivative|wrong-operand|different-function|wrong-scale",
        "dxhat = dout * gamma",
        "dxhat = dout",
    ),
    wrong(
        "gamma_with_the_centred_input",
        "wrong-operand|missing-derivative",
        "dgamma = np.sum(dout * xhat, axis=0)",
        "dgamma = np.sum(dout * xmu, axis=0)",
    ),
    wrong(
        "kept_units_not_scaled_backwards",
        "wrong-scale|missing-derivative",
        "return dout * mask / p",
        "return dout * mask",
    ),
    wrong(
        "dropped_units_learn",
        "missing-derivative|missing-path|wrong-operand",
        "return dout * mask / p",
        "return dout / p",
    ),
    wrong(
        "relu_by_the_sign_of_the_gradient",
        "wrong-operand|derivative-at-wrong-point|different-function",
        "return dout * (x > 0)",
        "return dout * (dout > 0)",
    ),
    wrong(
        "column_slice_for_pairs_of_indices",
        "broadcast|wrong-operand|different-function|wrong-axis",
        "dscores[np.arange(N), y] -= 1",
        "dscores[:, y] -= 1",
    ),
    wrong(
        "scores_gradient_not_averaged",
        "wrong-term-weight|wrong-scale|wrong-reduction",
        "    dscores /= N\n",
        "",
    ),
    wrong(
        "penalty_of_the_output_matrix_forgotten",
        "wrong-part-penalised|missing-path|wrong-term-weight",
        '    grads[f"W{last}"] += reg * params[f"W{last}"]\n',
        "",
    ),
    wrong(
        "hidden_penalty_doubled",
        "wrong-part-penalised|wrong-term-weight|wrong-scale",
        'grads[f"W{i}"] += reg * params[f"W{i}"]',
        'grads[f"W{i}"] += 2 * reg * params[f"W{i}"]',
    ),
    wrong(
        "dropout_not_inverted_in_both",
        "different-function|wrong-scale",
        "return x * mask / p, (mask, p)",
        "return x * mask, (mask, p)",
        "return dout * mask / p",
        "return dout * mask",
    ),
    wrong(
        "norm_after_the_relu_in_both",
        "different-function|wrong-operand",
        '        out, bn_cache = batchnorm_forward(out, params[f"gamma{i}"], params[f"beta{i}"])\n'
        "        out, relu_cache = relu_forward(out)\n",
        "        out, relu_cache = relu_forward(out)\n"
        '        out, bn_cache = batchnorm_forward(out, params[f"gamma{i}"], params[f"beta{i}"])\n',
        "        dout = relu_backward(dout, relu_cache)\n"
        '        dout, grads[f"gamma{i}"], grads[f"beta{i}"] = batchnorm_backward(dout, bn_cache)\n',
        '        dout, grads[f"gamma{i}"], grads[f"beta{i}"] = batchnorm_backward(dout, bn_cache)\n'
        "        dout = relu_backward(dout, relu_cache)\n",
    ),
    wrong(
        "half_of_the_penalty_forgotten_in_cost",
        "wrong-loss",
        "sum(0.5 * reg * np.sum(",
        "sum(reg * np.sum(",
    ),
]

TOGETHER = [
    ("mean_of_the_batch_held_fixed", "gamma_with_the_centred_input"),
    ("scale_not_applied_backwards", "kept_units_not_scaled_backwards"),
    ("power_of_the_variance", "penalty_of_the_output_matrix_forgotten"),
    ("scores_gradient_not_averaged", "hidden_penalty_doubled"),
    ("relu_by_the_sign_of_the_gradient", "column_slice_for_pairs_of_indices"),
    ("dropout_not_inverted_in_both", "gamma_with_the_centred_input"),
    ("batch_norm_as_a_fixed_scaling", "dropped_units_learn", "hidden_penalty_doubled"),
    ("mean_path_not_divided", "scale_not_applied_backwards", "penalty_of_the_output_matrix_forgotten"),
]

RIGHT = [
    right(
        "batch_norm_in_one_line",
        "    dxhat = dout * gamma\n"
        "    dvar = np.sum(dxhat * xmu, axis=0) * -0.5 * ivar**3\n"
        "    dmu = -np.sum(dxhat * ivar, axis=0)\n"
        "    dx = dxhat * ivar + dvar * 2 * xmu / N + dmu / N\n",
        "    dx = gamma * ivar / N * (N * dout - dbeta - xhat * dgamma)\n",
    ),
    right(
        "samples_one_at_a_time",
        "    dw = x.reshape(x.shape[0], -1).T.dot(dout)\n    db = dout.sum(axis=0)\n",
        "    dw = np.zeros(w.shape)\n"
        "    db = np.zeros(w.shape[1])\n"
        "    for row, drow in zip(x, dout):\n"
        "        dw += np.outer(row, drow)\n"
        "        db += drow\n",
        "    dscores = np.exp(log_probs)\n    dscores[np.arange(N), y] -= 1\n    dscores /= N\n",
        "    dscores = (np.exp(log_probs) - np.eye(scores.shape[1])[y]) / N\n",
    ),
    right(
        "in_place_with_the_mask_scaled_first",
        "return x * mask / p, (mask, p)",
        "scaled = mask / p\n    x *= scaled\n    return x, scaled",
        "    mask, p = cache\n    return dout * mask / p\n",
        "    dout *= cache\n    return dout\n",
        "    x = cache\n    return dout * (x > 0)\n",
        "    dout[cache <= 0] = 0\n    return dout\n",
        "reg_loss = sum(0.5 * reg * np.sum(params",
        "reg_loss = 0.5 * reg * sum(np.sum(params",
    ),
]
