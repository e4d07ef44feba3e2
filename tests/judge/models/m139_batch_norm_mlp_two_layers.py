"""A perceptron with two batch-normalised hidden layers, leaky and plain ReLU, class weights and weight decay."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, y):
    h = F.linear(x, params["W1"].T)
    h = F.batch_norm(h, None, None, params["gamma1"], params["beta1"], training=True, eps=1e-5)
    h = F.leaky_relu(h, negative_slope=0.1)
    h = F.linear(h, params["W2"].T)
    h = F.batch_norm(h, None, None, params["gamma2"], params["beta2"], training=True, eps=1e-5)
    logits = F.linear(F.relu(h), params["W3"].T, params["b3"])
    weight = torch.tensor([0.5, 1.0, 2.5, 1.6], dtype=logits.dtype)
    penalty = sum((params[name] ** 2).sum() for name in ("W1", "W2", "W3"))
    return {"data": F.cross_entropy(logits, y, weight=weight), "penalty": 0.5 * 0.04 * penalty}


def batchnorm_forward(x, gamma, beta, eps=1e-5):
    mu = np.mean(x, axis=0)
    xmu = x - mu
    var = np.mean(xmu**2, axis=0)
    ivar = 1.0 / np.sqrt(var + eps)
    xhat = xmu * ivar
    return gamma * xhat + beta, (xhat, gamma, xmu, ivar)


def batchnorm_backward(dout, cache):
    xhat, gamma, xmu, ivar = cache
    m = dout.shape[0]
    dbeta = np.sum(dout, axis=0)
    dgamma = np.sum(dout * xhat, axis=0)
    dxhat = dout * gamma
    dvar = np.sum(dxhat * xmu, axis=0) * -0.5 * ivar**3
    dmu = -np.sum(dxhat, axis=0) * ivar
    dx = dxhat * ivar + dvar * 2 * xmu / m + dmu / m
    return dx, dgamma, dbeta


def candidate(params, x, y, slope=0.1, reg=0.04):
    W1, W2, W3, b3 = params["W1"], params["W2"], params["W3"], params["b3"]
    class_weight = np.array([0.5, 1.0, 2.5, 1.6])
    n = x.shape[0]

    # forward
    z1 = x.dot(W1)
    u1, cache1 = batchnorm_forward(z1, params["gamma1"], params["beta1"])
    a1 = np.where(u1 > 0, u1, slope * u1)
    z2 = a1.dot(W2)
    u2, cache2 = batchnorm_forward(z2, params["gamma2"], params["beta2"])
    a2 = np.maximum(0, u2)
    scores = a2.dot(W3) + b3
    scores = scores - np.max(scores, axis=1, keepdims=True)
    probs = np.exp(scores) / np.sum(np.exp(scores), axis=1, keepdims=True)
    w = class_weight[y]
    norm = np.sum(w)
    data_loss = -np.sum(w * np.log(probs[np.arange(n), y])) / norm
    reg_loss = 0.5 * reg * (np.sum(W1 * W1) + np.sum(W2 * W2) + np.sum(W3 * W3))
    loss = data_loss + reg_loss

    # backward
    grads = {}
    dscores = probs.copy()
    dscores[np.arange(n), y] -= 1
    dscores *= w[:, None]
    dscores /= norm
    grads["W3"] = a2.T.dot(dscores)
    grads["b3"] = np.sum(dscores, axis=0)
    da2 = dscores.dot(W3.T)
    du2 = da2 * (u2 > 0)
    dz2, grads["gamma2"], grads["beta2"] = batchnorm_backward(du2, cache2)
    grads["W2"] = a1.T.dot(dz2)
    da1 = dz2.dot(W2.T)
    du1 = da1 * np.where(u1 > 0, 1.0, slope)
    dz1, grads["gamma1"], grads["beta1"] = batchnorm_backward(du1, cache1)
    grads["W1"] = x.T.dot(dz1)
    # weight decay
    for name in grads:
        if name.startswith("W"):
            grads[name] += reg * params[name]
    return loss, grads


def problem(rng):
    samples, inputs, first, second, classes = 9, 5, 7, 6, 4
    params = {
        "W1": rng.normal(size=(inputs, first)) * 0.6,
        "gamma1": 1.0 + rng.normal(size=first) * 0.4,
        "beta1": rng.normal(size=first) * 0.4,
        "W2": rng.normal(size=(first, second)) * 0.6,
        "gamma2": 1.0 + rng.normal(size=second) * 0.4,
        "beta2": 0.4 + rng.normal(size=second) * 0.3,
        "W3": rng.normal(size=(second, classes)) * 0.7,
        "b3": rng.normal(size=classes) * 0.3,
    }
    y = rng.permutation(np.array([0, 1, 2, 3, 0, 1, 2, 3, 0]))
    return params, (rng.normal(size=(samples, inputs)) * 1.3 + 0.4, y)


WRONG = [
    wrong(
        "class_weights_in_the_cost_only",
        "missing-derivative|wrong-operand|different-function",
        "    dscores *= w[:, None]\n",
        "",
    ),
    wrong(
        "divided_by_the_number_of_samples",
        "wrong-scale|wrong-term-weight|wrong-reduction",
        "dscores /= norm",
        "dscores /= n",
    ),
    wrong(
        "statistics_held_constant",
        "missing-path|diagonal-jacobian",
        "dx = dxhat * ivar + dvar * 2 * xmu / m + dmu / m",
        "dx = dxhat * ivar",
    ),
    wrong(
        "variance_held_constant",
        "missing-path|diagonal-jacobian",
        "dx = dxhat * ivar + dvar * 2 * xmu / m + dmu / m",
        "dx = dxhat * ivar + dmu / m",
    ),
    wrong(
        "power_of_the_variance",
        "different-function|derivative-at-wrong-point|wrong-operand",
        "* -0.5 * ivar**3",
        "* -0.5 * ivar**1.5",
    ),
    wrong("gamma_left_out_on_the_way_back", "missing-derivative|missing-path", "dxhat = dout * gamma", "dxhat = dout"),
    wrong(
        "gamma_with_the_centred_input",
        "wrong-operand|missing-derivative",
        "dgamma = np.sum(dout * xhat, axis=0)",
        "dgamma = np.sum(dout * xmu, axis=0)",
    ),
    wrong(
        "gamma_and_beta_exchanged",
        "wrong-operand",
        'dz2, grads["gamma2"], grads["beta2"] = ',
        'dz2, grads["beta2"], grads["gamma2"] = ',
    ),
    wrong(
        "leaky_mask_before_the_norm",
        "wrong-operand|derivative-at-wrong-point",
        "du1 = da1 * np.where(u1 > 0, 1.0, slope)",
        "du1 = da1 * np.where(z1 > 0, 1.0, slope)",
    ),
    wrong(
        "plain_relu_in_the_first_layer",
        "different-function",
        "du1 = da1 * np.where(u1 > 0, 1.0, slope)",
        "du1 = da1 * (u1 > 0)",
    ),
    wrong("second_relu_forgotten", "missing-derivative", "du2 = da2 * (u2 > 0)", "du2 = da2"),
    wrong(
        "half_of_the_decay_forgotten",
        "wrong-term-weight|wrong-scale",
        "grads[name] += reg * params[name]",
        "grads[name] += 2 * reg * params[name]",
    ),
    wrong(
        "every_parameter_decayed",
        "wrong-part-penalised",
        '        if name.startswith("W"):\n            grads[name] +=',
        "        if name in params:\n            grads[name] +=",
    ),
    wrong(
        "weights_with_the_norm_for_the_activation",
        "wrong-operand|missing-derivative",
        'grads["W2"] = a1.T.dot(dz2)',
        'grads["W2"] = u1.T.dot(dz2)',
    ),
    wrong(
        "sample_variance_in_both",
        "different-function|wrong-scale",
        "var = np.mean(xmu**2, axis=0)",
        "var = np.sum(xmu**2, axis=0) / (len(x) - 1)",
        "dvar * 2 * xmu / m + dmu",
        "dvar * 2 * xmu / (m - 1) + dmu",
    ),
    wrong("penalty_not_halved_in_cost", "wrong-loss", "reg_loss = 0.5 * reg * (", "reg_loss = reg * ("),
]

TOGETHER = [
    ("divided_by_the_number_of_samples", "half_of_the_decay_forgotten"),
    ("class_weights_in_the_cost_only", "plain_relu_in_the_first_layer"),
    ("variance_held_constant", "gamma_with_the_centred_input"),
    ("gamma_and_beta_exchanged", "leaky_mask_before_the_norm"),
    ("second_relu_forgotten", "weights_with_the_norm_for_the_activation"),
    ("sample_variance_in_both", "every_parameter_decayed"),
    ("gamma_left_out_on_the_way_back", "divided_by_the_number_of_samples", "weights_with_the_norm_for_the_activation"),
    ("power_of_the_variance", "plain_relu_in_the_first_layer", "every_parameter_decayed"),
]

RIGHT = [
    right(
        "norm_in_one_line",
        "    dvar = np.sum(dxhat * xmu, axis=0) * -0.5 * ivar**3\n"
        "    dmu = -np.sum(dxhat, axis=0) * ivar\n"
        "    dx = dxhat * ivar + dvar * 2 * xmu / m + dmu / m\n",
        "    dx = gamma * ivar / m * (m * dout - dbeta - xhat * dgamma)\n",
        "    dxhat = dout * gamma\n",
        "",
        "xhat, gamma, xmu, ivar = cache",
        "xhat, gamma, _, ivar = cache",
    ),
    right(
        "sample_by_sample_in_the_last_layer",
        "    dscores = probs.copy()\n"
        "    dscores[np.arange(n), y] -= 1\n"
        "    dscores *= w[:, None]\n"
        "    dscores /= norm\n"
        '    grads["W3"] = a2.T.dot(dscores)\n'
        '    grads["b3"] = np.sum(dscores, axis=0)\n',
        "    dscores = np.zeros_like(probs)\n"
        '    grads["W3"], grads["b3"] = np.zeros_like(W3), np.zeros_like(b3)\n'
        "    for i in range(n):\n"
        "        target = np.zeros(len(b3))\n"
        "        target[y[i]] = 1.0\n"
        "        dscores[i] = class_weight[y[i]] / norm * (probs[i] - target)\n"
        '        grads["W3"] += np.outer(a2[i], dscores[i])\n'
        '        grads["b3"] += dscores[i]\n',
    ),
    right(
        "one_hot_targets_and_gradients_masked_in_place",
        "    data_loss = -np.sum(w * np.log(probs[np.arange(n), y])) / norm\n",
        "    one_hot = np.eye(len(class_weight))[y]\n"
        "    data_loss = -np.sum(one_hot @ class_weight * np.log(np.sum(one_hot * probs, axis=1))) / norm\n",
        "    dscores = probs.copy()\n"
        "    dscores[np.arange(n), y] -= 1\n"
        "    dscores *= w[:, None]\n"
        "    dscores /= norm\n",
        "    dscores = (probs - one_hot) * (w / norm)[:, None]\n",
        "    du2 = da2 * (u2 > 0)\n",
        "    da2[a2 <= 0] = 0\n    du2 = da2\n",
        "    du1 = da1 * np.where(u1 > 0, 1.0, slope)\n",
        "    da1[u1 <= 0] *= slope\n    du1 = da1\n",
    ),
]
