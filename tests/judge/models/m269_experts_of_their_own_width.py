"""Linear experts under a softmax gate, each with a log-variance of its own: the likelihood of their mixture."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, x, y):
    log_gate = torch.log_softmax(x @ params["V"] + params["c"], dim=1)
    means = torch.einsum("nd,kdo->nko", x, params["W"]) + params["b"]
    logvar = params["logvar"]
    distance = ((y[:, None, :] - means) ** 2).sum(dim=2)
    D = y.shape[1]
    log_density = -0.5 * (distance * torch.exp(-logvar) + D * logvar + D * np.log(2 * np.pi))
    return -torch.logsumexp(log_gate + log_density, dim=1).mean()


def logsumexp(a):
    top = np.max(a, axis=1)
    return top + np.log(np.sum(np.exp(a - top[:, None]), axis=1))


def gate_forward(x, V, c):
    scores = x @ V + c
    return scores - logsumexp(scores)[:, None]


def expert_forward(x, y, W, b, logvar):
    """Log density of y under one expert, and what its backward pass needs."""
    D = y.shape[1]
    err = y - (x @ W + b)
    sq = np.sum(err * err, axis=1)
    logp = -0.5 * (sq * np.exp(-logvar) + D * logvar)
    logp -= 0.5 * D * np.log(2 * np.pi)
    return logp, (err, sq)


def expert_backward(x, dlogp, logvar, cache):
    err, sq = cache
    D = err.shape[1]
    precision = np.exp(-logvar)
    dmean = dlogp[:, None] * err * precision
    dlogvar = np.sum(dlogp * 0.5 * (sq * precision - D))
    return x.T @ dmean, dmean.sum(axis=0), dlogvar


def candidate(params, x, y):
    V, c, W, b, logvar = (params[key] for key in ("V", "c", "W", "b", "logvar"))
    n, K = len(x), len(W)

    log_gate = gate_forward(x, V, c)
    log_density = np.zeros((n, K))
    caches = []
    for k in range(K):
        log_density[:, k], cache = expert_forward(x, y, W[k], b[k], logvar[k])
        caches.append(cache)
    joint = log_gate + log_density
    log_likelihood = logsumexp(joint)
    loss = -np.mean(log_likelihood)

    # how much of each sample belongs to which expert
    resp = np.exp(joint - log_likelihood[:, None])
    gate = np.exp(log_gate)
    dscores = (gate - resp) / n
    dV = x.T @ dscores
    dc = dscores.sum(axis=0)
    dW, db, dlogvar = np.zeros_like(W), np.zeros_like(b), np.zeros_like(logvar)
    for k in range(K):
        dlogp = -resp[:, k] / n
        dWk, dbk, dlk = expert_backward(x, dlogp, logvar[k], caches[k])
        dW[k] += dWk
        db[k] += dbk
        dlogvar[k] += dlk
    return loss, {"V": dV, "c": dc, "W": dW, "b": db, "logvar": dlogvar}


def problem(rng):
    n, inputs, outputs, experts = 7, 4, 2, 3
    params = {
        "V": rng.normal(size=(inputs, experts)) * 0.8,
        "c": rng.normal(size=experts) * 0.4,
        "W": rng.normal(size=(experts, inputs, outputs)) * 0.7,
        "b": rng.normal(size=(experts, outputs)) * 0.4,
        "logvar": rng.normal(size=experts) * 0.5 + np.array([0.7, -0.6, 0.3]),
    }
    x = rng.normal(size=(n, inputs))
    teacher = rng.normal(size=(inputs, outputs)) * 0.5
    return params, (x, x @ teacher + rng.normal(size=(n, outputs)) * 0.7)


WRONG = [
    wrong(
        "gate_in_place_of_responsibility",
        "wrong-operand",
        "dlogp = -resp[:, k] / n",
        "dlogp = -gate[:, k] / n",
    ),
    wrong(
        "error_the_other_way_round",
        "wrong-sign",
        "dmean = dlogp[:, None] * err * precision",
        "dmean = -dlogp[:, None] * err * precision",
    ),
    wrong(
        "gate_not_normalised_backwards",
        "missing-path|missing-derivative",
        "dscores = (gate - resp) / n",
        "dscores = -resp / n",
    ),
    wrong(
        "widths_only_felt_by_the_error",
        "missing-path",
        "dlogvar = np.sum(dlogp * 0.5 * (sq * precision - D))",
        "dlogvar = np.sum(dlogp * 0.5 * sq * precision)",
    ),
    wrong(
        "widths_of_one_output",
        "wrong-scale|missing-derivative",
        "(sq * precision - D)",
        "(sq * precision - 1)",
    ),
    wrong(
        "widths_averaged_over_the_samples",
        "wrong-scale|wrong-reduction",
        "dlogvar = np.sum(dlogp * 0.5",
        "dlogvar = np.mean(dlogp * 0.5",
    ),
    wrong(
        "precision_forgotten_in_the_mean",
        "missing-derivative",
        "dmean = dlogp[:, None] * err * precision",
        "dmean = dlogp[:, None] * err",
    ),
    wrong(
        "width_for_its_inverse_backwards",
        "wrong-operand|different-function",
        "precision = np.exp(-logvar)",
        "precision = np.exp(logvar)",
    ),
    wrong(
        "density_not_divided_by_its_width_in_both",
        "different-function|missing-path",
        "sq * np.exp(-logvar) + D * logvar)",
        "sq * np.exp(-logvar))",
        "(sq * precision - D)",
        "sq * precision",
    ),
    wrong(
        "nearest_expert_only_in_both",
        "different-function",
        "log_likelihood = logsumexp(joint)",
        "log_likelihood = np.max(joint, axis=1)",
        "resp = np.exp(joint - log_likelihood[:, None])",
        "resp = (joint == log_likelihood[:, None]).astype(float)",
    ),
    wrong(
        "responsibility_without_the_gate",
        "missing-path|wrong-operand|different-function",
        "resp = np.exp(joint - log_likelihood[:, None])",
        "resp = np.exp(log_density - logsumexp(log_density)[:, None])",
    ),
    wrong(
        "softmax_slope_once_more",
        "extra-derivative",
        "dscores = (gate - resp) / n",
        "dscores = (gate - resp) * gate * (1 - gate) / n",
    ),
    wrong(
        "experts_corrected_by_the_first_error",
        "wrong-operand",
        "expert_backward(x, dlogp, logvar[k], caches[k])",
        "expert_backward(x, dlogp, logvar[k], caches[0])",
    ),
    wrong(
        "constant_of_one_output_in_cost",
        "wrong-loss",
        "logp -= 0.5 * D * np.log(2 * np.pi)",
        "logp -= 0.5 * np.log(2 * np.pi)",
    ),
]

TOGETHER = [
    ("gate_in_place_of_responsibility", "softmax_slope_once_more"),
    ("error_the_other_way_round", "gate_not_normalised_backwards"),
    ("widths_only_felt_by_the_error", "precision_forgotten_in_the_mean"),
    ("widths_averaged_over_the_samples", "constant_of_one_output_in_cost"),
    ("density_not_divided_by_its_width_in_both", "gate_not_normalised_backwards"),
    ("responsibility_without_the_gate", "error_the_other_way_round"),
    ("nearest_expert_only_in_both", "precision_forgotten_in_the_mean"),
    ("experts_corrected_by_the_first_error", "gate_not_normalised_backwards"),
    ("error_the_other_way_round", "widths_averaged_over_the_samples", "softmax_slope_once_more"),
    ("precision_forgotten_in_the_mean", "widths_of_one_output", "gate_not_normalised_backwards"),
]

RIGHT = [
    right(
        "sample_by_sample",
        "    dV = x.T @ dscores\n    dc = dscores.sum(axis=0)\n",
        "    dV, dc = np.zeros_like(V), np.zeros_like(c)\n"
        "    for i in range(n):\n"
        "        dV += x[i][:, None] * dscores[i]\n"
        "        dc += dscores[i]\n",
    ),
    right(
        "likelihoods_without_logarithms",
        "resp = np.exp(joint - log_likelihood[:, None])",
        "each = np.exp(log_gate) * np.exp(log_density)\n    resp = each / each.sum(axis=1)[:, None]",
    ),
]
