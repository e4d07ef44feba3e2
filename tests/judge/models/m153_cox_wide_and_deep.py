"""Cox's partial likelihood (ties as Breslow) of a linear part plus a small network, as in DeepSurv."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, covariates, time, event):
    hidden1 = torch.tanh(covariates @ params["W1"] + params["b1"])
    hidden2 = F.softplus(hidden1 @ params["W2"] + params["b2"])
    score = (covariates @ params["beta"] + hidden2 @ params["w3"]).squeeze(1)
    outside = time[None, :] < time[:, None]
    log_risk = torch.logsumexp(score.expand(len(score), -1).masked_fill(outside, float("-inf")), dim=1)
    return -(event * (score - log_risk)).sum() / event.sum()


def forward(params, covariates):
    cache = {"x": covariates}
    cache["h1"] = np.tanh(cache["x"] @ params["W1"] + params["b1"])
    cache["z2"] = cache["h1"] @ params["W2"] + params["b2"]
    cache["h2"] = np.log(1 + np.exp(cache["z2"]))
    log_hazard = cache["x"] @ params["beta"] + cache["h2"] @ params["w3"]
    return log_hazard, cache


def negative_partial_log_likelihood(log_hazard, time, event):
    """The loss and its derivative by the log hazards, a column."""
    event = event.reshape(-1, 1)
    n_events = event.sum()
    shift = log_hazard.max()
    at_risk = (time[None, :] >= time[:, None]).astype(float)  # row i: who is at risk when i happens
    hazard = np.exp(log_hazard - shift)
    risk = at_risk @ hazard
    log_likelihood = event * (log_hazard - shift - np.log(risk))
    loss = -log_likelihood.sum() / n_events
    cumulative_baseline = at_risk.T @ (event / risk)
    martingale_residual = event - hazard * cumulative_baseline
    return loss, -martingale_residual / n_events


def backward(params, d_log_hazard, cache):
    grads = {}
    grads["beta"] = cache["x"].T @ d_log_hazard
    grads["w3"] = cache["h2"].T @ d_log_hazard
    d_h2 = d_log_hazard @ params["w3"].T
    d_z2 = d_h2 / (1 + np.exp(-cache["z2"]))
    grads["W2"] = cache["h1"].T @ d_z2
    grads["b2"] = d_z2.sum(axis=0)
    d_h1 = d_z2 @ params["W2"].T
    d_z1 = d_h1 * (1 - cache["h1"] ** 2)
    grads["W1"] = cache["x"].T @ d_z1
    grads["b1"] = d_z1.sum(axis=0)
    return grads


def candidate(params, covariates, time, event):
    log_hazard, cache = forward(params, covariates)
    loss, d_log_hazard = negative_partial_log_likelihood(log_hazard, time, event)
    grads = backward(params, d_log_hazard, cache)
    return loss, grads


def problem(rng):
    d, width1, width2 = 4, 5, 3
    params = {
        "beta": rng.normal(size=(d, 1)) * 0.5,
        "W1": rng.normal(size=(d, width1)) * 0.7,
        "b1": rng.normal(size=width1) * 0.4,
        "W2": rng.normal(size=(width1, width2)),
        "b2": rng.normal(size=width2) * 0.4,
        "w3": rng.normal(size=(width2, 1)),
    }
    time = rng.permutation(np.array([1.5, 2.0, 2.0, 3.5, 4.0, 5.5, 7.0]))
    event = np.array([1, 1, 0, 1, 1, 0, 1.0])
    return params, (rng.normal(size=(7, d)), time, event)


WRONG = [
    wrong(
        "risk_sets_not_turned_backwards",
        "not-transposed",
        "cumulative_baseline = at_risk.T @ (event / risk)",
        "cumulative_baseline = at_risk @ (event / risk)",
    ),
    wrong(
        "risk_sets_treated_as_constant",
        "missing-path",
        "martingale_residual = event - hazard * cumulative_baseline",
        "martingale_residual = event",
    ),
    wrong(
        "everyone_in_one_own_risk_set_only",
        "diagonal-jacobian",
        "martingale_residual = event - hazard * cumulative_baseline",
        "martingale_residual = event - event * hazard / risk",
    ),
    wrong(
        "censored_get_no_gradient",
        "missing-path|wrong-operand|extra-derivative",
        "martingale_residual = event - hazard * cumulative_baseline",
        "martingale_residual = event * (1 - hazard * cumulative_baseline)",
    ),
    wrong(
        "censored_times_counted_in_the_baseline",
        "missing-derivative|wrong-operand",
        "cumulative_baseline = at_risk.T @ (event / risk)",
        "cumulative_baseline = at_risk.T @ (1 / risk)",
    ),
    wrong(
        "sorted_the_other_way_in_both",
        "different-function|not-transposed|wrong-operand",
        "(time[None, :] >= time[:, None])",
        "(time[None, :] <= time[:, None])",
    ),
    wrong(
        "hazard_not_shifted_like_the_risk",
        "wrong-operand|wrong-scale",
        "martingale_residual = event - hazard * cumulative_baseline",
        "martingale_residual = event - np.exp(log_hazard) * cumulative_baseline",
    ),
    wrong(
        "averaged_over_everyone_backwards",
        "wrong-scale",
        "return loss, -martingale_residual / n_events",
        "return loss, -martingale_residual / len(event)",
    ),
    wrong(
        "gradient_of_the_likelihood",
        "wrong-sign",
        "return loss, -martingale_residual / n_events",
        "return loss, martingale_residual / n_events",
    ),
    wrong(
        "softplus_not_differentiated",
        "missing-derivative",
        'd_z2 = d_h2 / (1 + np.exp(-cache["z2"]))',
        "d_z2 = d_h2",
    ),
    wrong(
        "softplus_slope_at_its_output",
        "derivative-at-wrong-point",
        'd_z2 = d_h2 / (1 + np.exp(-cache["z2"]))',
        'd_z2 = d_h2 / (1 + np.exp(-cache["h2"]))',
    ),
    wrong("tanh_slope_without_the_square", "different-function", '(1 - cache["h1"] ** 2)', '(1 - cache["h1"])'),
    wrong(
        "linear_part_averaged_once_more",
        "wrong-scale|wrong-reduction",
        'grads["beta"] = cache["x"].T @ d_log_hazard',
        'grads["beta"] = cache["x"].T @ d_log_hazard / len(cache["x"])',
    ),
    wrong(
        "risk_weights_from_the_pre_activation",
        "wrong-operand",
        'grads["w3"] = cache["h2"].T @ d_log_hazard',
        'grads["w3"] = cache["z2"].T @ d_log_hazard',
    ),
    wrong(
        "first_layer_fed_past_the_softplus",
        "missing-derivative|wrong-operand",
        'd_h1 = d_z2 @ params["W2"].T',
        'd_h1 = d_h2 @ params["W2"].T',
    ),
    wrong(
        "events_in_a_row_times_hazards_in_a_column",
        "broadcast|wrong-loss",
        "log_likelihood = event * (log_hazard",
        "log_likelihood = event.ravel() * (log_hazard",
    ),
]

TOGETHER = [
    ("risk_sets_not_turned_backwards", "softplus_not_differentiated"),
    ("everyone_in_one_own_risk_set_only", "linear_part_averaged_once_more"),
    ("averaged_over_everyone_backwards", "tanh_slope_without_the_square"),
    ("censored_times_counted_in_the_baseline", "risk_weights_from_the_pre_activation"),
    ("gradient_of_the_likelihood", "softplus_slope_at_its_output"),
    ("risk_sets_treated_as_constant", "tanh_slope_without_the_square", "risk_weights_from_the_pre_activation"),
]

RIGHT = [
    right(
        "event_by_event",
        "    cumulative_baseline = at_risk.T @ (event / risk)\n"
        "    martingale_residual = event - hazard * cumulative_baseline\n",
        "    martingale_residual = np.zeros_like(hazard)\n"
        "    for i in np.flatnonzero(event):\n"
        "        still = time >= time[i]\n"
        "        martingale_residual[i] += 1\n"
        "        martingale_residual[still] -= hazard[still] / hazard[still].sum()\n",
    ),
]
