"""A course net: affine, batch norm, leaky ReLU and inverted dropout, twice; affine; softmax with smoothed labels."""

import numpy as np
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, labels, keep1, keep2):
    h = x
    for layer, keep in (("1", keep1), ("2", keep2)):
        h = F.linear(h, params["W" + layer])
        h = F.batch_norm(h, None, None, params["gamma" + layer], params["beta" + layer], training=True, eps=0.04)
        h = F.leaky_relu(h, 0.2) * keep / 0.7
    return F.cross_entropy(F.linear(h, params["W3"], params["b3"]), labels, label_smoothing=0.15)


def batchnorm_forward(z, gamma, beta, eps=0.04):
    mu = z.mean(axis=0)
    centered = z - mu
    var = (centered**2).mean(axis=0)
    std = np.sqrt(var + eps)
    zhat = centered / std
    return gamma * zhat + beta, (z, zhat, centered, var, std, gamma, eps)


def batchnorm_backward(dout, cache):
    z, zhat, centered, var, std, gamma, eps = cache
    n = len(dout)
    dgamma = np.sum(dout * zhat, axis=0)
    dbeta = np.sum(dout, axis=0)
    dzhat = dout * gamma
    dvar = np.sum(dzhat * centered, axis=0) * -0.5 * (var + eps) ** -1.5
    dmu = -np.sum(dzhat, axis=0) / std
    dz = dzhat / std + dvar * 2 * centered / n + dmu / n
    return dz, dgamma, dbeta


def leaky_forward(u, slope=0.2):
    return np.where(u > 0, u, slope * u)


def leaky_backward(dout, u, slope=0.2):
    return np.where(u > 0, dout, slope * dout)


def dropout_forward(a, mask, p):
    return a * mask / p


def dropout_backward(dout, mask, p):
    return dout * mask / p


def smooth_labels(labels, classes, smoothing):
    target = np.full((len(labels), classes), smoothing / classes)
    target[np.arange(len(labels)), labels] += 1 - smoothing
    return target


def softmax_loss(scores, labels, smoothing=0.15):
    """The loss and the gradient of the scores."""
    n, classes = scores.shape
    shifted = scores - scores.max(axis=1, keepdims=True)
    log_probs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    target = smooth_labels(labels, classes, smoothing)
    loss = -np.sum(target * log_probs) / n
    dscores = (np.exp(log_probs) - target) / n
    return loss, dscores


def candidate(params, x, labels, keep1, keep2, p=0.7):
    masks = {1: keep1, 2: keep2}
    caches = {}
    out = x
    for layer in (1, 2):
        given = out
        z = given @ params[f"W{layer}"].T
        u, norm_cache = batchnorm_forward(z, params[f"gamma{layer}"], params[f"beta{layer}"])
        a = leaky_forward(u)
        out = dropout_forward(a, masks[layer], p)
        caches[layer] = (given, z, norm_cache, u, a)
    scores = out @ params["W3"].T + params["b3"]
    loss, dscores = softmax_loss(scores, labels)

    grads = {}
    grads["W3"] = dscores.T @ out
    grads["b3"] = dscores.sum(axis=0)
    dout = dscores @ params["W3"]
    for layer in (2, 1):
        given, z, norm_cache, u, a = caches[layer]
        da = dropout_backward(dout, masks[layer], p)
        du = leaky_backward(da, u)
        dz, grads[f"gamma{layer}"], grads[f"beta{layer}"] = batchnorm_backward(du, norm_cache)
        grads[f"W{layer}"] = dz.T @ given
        dout = dz @ params[f"W{layer}"]
    return loss, grads


def problem(rng):
    n, sizes, classes = 9, (5, 7, 6), 4
    params = {}
    for layer in (1, 2):
        params[f"W{layer}"] = rng.normal(size=(sizes[layer], sizes[layer - 1])) * 0.5
        params[f"gamma{layer}"] = rng.uniform(0.6, 1.8, size=sizes[layer])
        params[f"beta{layer}"] = rng.normal(size=sizes[layer]) * 0.4
    params["W3"] = rng.normal(size=(classes, sizes[2])) * 0.8
    params["b3"] = rng.normal(size=classes) * 0.4
    keep1 = (rng.random((n, sizes[1])) < 0.7).astype(float)
    keep2 = (rng.random((n, sizes[2])) < 0.7).astype(float)
    return params, (rng.normal(size=(n, sizes[0])) + 0.5, rng.integers(0, classes, size=n), keep1, keep2)


WRONG = [
    wrong(
        "mean_and_variance_as_constants",
        "diagonal-jacobian|missing-path",
        "dz = dzhat / std + dvar * 2 * centered / n + dmu / n",
        "dz = dzhat / std",
    ),
    wrong(
        "route_by_the_variance_forgotten",
        "missing-path|diagonal-jacobian",
        "dzhat / std + dvar * 2 * centered / n + dmu / n",
        "dzhat / std + dmu / n",
    ),
    wrong(
        "mean_not_divided_by_the_batch",
        "wrong-scale|wrong-reduction",
        "centered / n + dmu / n",
        "centered / n + dmu",
    ),
    wrong(
        "square_without_its_two",
        "wrong-scale|missing-derivative",
        "dvar * 2 * centered / n",
        "dvar * centered / n",
    ),
    wrong(
        "eps_forgotten_in_the_variance",
        "different-function|wrong-operand|derivative-at-wrong-point",
        "-0.5 * (var + eps) ** -1.5",
        "-0.5 * var**-1.5",
    ),
    wrong(
        "gain_not_passed_through",
        "missing-derivative|wrong-operand",
        "dzhat = dout * gamma",
        "dzhat = dout",
    ),
    wrong(
        "gain_told_the_unscaled_activations",
        "wrong-operand|missing-derivative",
        "dgamma = np.sum(dout * zhat, axis=0)",
        "dgamma = np.sum(dout * centered, axis=0)",
    ),
    wrong(
        "dropout_not_scaled_backwards",
        "wrong-scale|missing-derivative",
        "return dout * mask / p",
        "return dout * mask",
    ),
    wrong(
        "dropped_units_learn_too",
        "missing-derivative|missing-path|different-function|wrong-operand",
        "da = dropout_backward(dout, masks[layer], p)",
        "da = dout / p",
    ),
    wrong(
        "leaky_slope_before_the_norm",
        "wrong-operand|derivative-at-wrong-point",
        "du = leaky_backward(da, u)",
        "du = leaky_backward(da, z)",
    ),
    wrong(
        "plain_relu_backwards",
        "different-function",
        "np.where(u > 0, dout, slope * dout)",
        "np.where(u > 0, dout, 0)",
    ),
    wrong(
        "last_matrix_told_the_undropped",
        "wrong-operand|missing-derivative",
        'grads["W3"] = dscores.T @ out',
        'grads["W3"] = dscores.T @ a',
    ),
    wrong(
        "gradient_of_the_hard_labels",
        "different-function|wrong-operand",
        "dscores = (np.exp(log_probs) - target) / n",
        "dscores = (np.exp(log_probs) - np.eye(classes)[labels]) / n",
    ),
    wrong(
        "smoothing_spared_the_label_in_both",
        "different-function|wrong-operand",
        "smoothing / classes)",
        "smoothing / (classes - 1))",
        "labels] += 1 - smoothing",
        "labels] = 1 - smoothing",
    ),
    wrong(
        "dropout_not_inverted_in_both",
        "wrong-scale|different-function",
        "return a * mask / p",
        "return a * mask",
        "return dout * mask / p",
        "return dout * mask",
    ),
    wrong(
        "hard_labels_in_cost",
        "wrong-loss",
        "loss = -np.sum(target * log_probs) / n",
        "loss = -np.mean(log_probs[np.arange(n), labels])",
    ),
]

TOGETHER = [
    ("square_without_its_two", "plain_relu_backwards"),
    ("gradient_of_the_hard_labels", "route_by_the_variance_forgotten"),
    ("gain_told_the_unscaled_activations", "dropped_units_learn_too"),
    ("last_matrix_told_the_undropped", "dropout_not_scaled_backwards"),
    ("mean_not_divided_by_the_batch", "leaky_slope_before_the_norm"),
    ("smoothing_spared_the_label_in_both", "gain_not_passed_through"),
    ("last_matrix_told_the_undropped", "mean_and_variance_as_constants", "gain_told_the_unscaled_activations"),
    ("gradient_of_the_hard_labels", "leaky_slope_before_the_norm", "eps_forgotten_in_the_variance"),
]

RIGHT = [
    right(
        "batch_norm_in_one_formula",
        "    dvar = np.sum(dzhat * centered, axis=0) * -0.5 * (var + eps) ** -1.5\n"
        "    dmu = -np.sum(dzhat, axis=0) / std\n"
        "    dz = dzhat / std + dvar * 2 * centered / n + dmu / n\n",
        "    dz = gamma / (n * std) * (n * dout - dbeta - zhat * dgamma)\n",
        "    dzhat = dout * gamma\n",
        "",
    ),
    right(
        "batch_norm_as_a_matrix_per_unit",
        "    dvar = np.sum(dzhat * centered, axis=0) * -0.5 * (var + eps) ** -1.5\n"
        "    dmu = -np.sum(dzhat, axis=0) / std\n"
        "    dz = dzhat / std + dvar * 2 * centered / n + dmu / n\n",
        "    dz = np.empty_like(z)\n"
        "    for unit in range(z.shape[1]):\n"
        "        jacobian = np.eye(n) - 1 / n - np.outer(zhat[:, unit], zhat[:, unit]) / n\n"
        "        dz[:, unit] = jacobian @ dzhat[:, unit] / std[unit]\n",
    ),
    right(
        "one_slope_for_both_and_scores_in_place",
        "        da = dropout_backward(dout, masks[layer], p)\n        du = leaky_backward(da, u)\n",
        "        gate = np.divide(leaky_forward(u), u) * masks[layer]\n        du = dout * gate * (1 / p)\n",
        "    dscores = (np.exp(log_probs) - target) / n\n",
        "    dscores = np.exp(log_probs)\n"
        "    dscores -= smoothing / classes\n"
        "    dscores[np.arange(n), labels] -= 1 - smoothing\n"
        "    dscores /= n\n",
        "    var = (centered**2).mean(axis=0)\n",
        "    var = np.mean(z**2, axis=0) - mu**2\n",
    ),
]
