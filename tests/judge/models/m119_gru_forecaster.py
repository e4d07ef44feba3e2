"""A GRU that forecasts quantiles: observed values first, then its own medians fed back; pinball loss at the horizon."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, series, exog):
    q = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9], dtype=series.dtype)
    weights = [params[name] for name in ("W_ih", "W_hh", "b_ih", "b_hh")]
    h = params["h0"].expand(len(series), -1)
    forecasts = []
    for t in range(7):
        value = series[:, t] if t < 4 else forecasts[-1][:, 2]
        h = torch.gru_cell(torch.cat([value[:, None], exog[:, t]], dim=1), h, *weights)
        if t >= 3:
            forecasts.append(F.linear(h, params["V"], params["c"]))
    error = series[:, 4:, None] - torch.stack(forecasts, dim=1)
    return torch.maximum(q * error, (q - 1) * error).mean()


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def gru_step(params, x, h):
    gi = x @ params["W_ih"].T + params["b_ih"]
    gh = h @ params["W_hh"].T + params["b_hh"]
    i_r, i_z, i_n = np.split(gi, 3, axis=1)
    h_r, h_z, h_n = np.split(gh, 3, axis=1)
    r = sigmoid(i_r + h_r)
    z = sigmoid(i_z + h_z)
    n = np.tanh(i_n + r * h_n)
    return (1 - z) * n + z * h, (x, h, r, z, n, h_n)


def gru_step_backward(params, grads, dnew, cache):
    """Adds to the gradients of the weights; returns those of the input and of the previous state."""
    x, h, r, z, n, h_n = cache
    dn = dnew * (1 - z) * (1 - n**2)
    dz = dnew * (h - n) * z * (1 - z)
    dr = dn * h_n * r * (1 - r)
    dgi = np.hstack([dr, dz, dn])
    dgh = np.hstack([dr, dz, dn * r])
    grads["W_ih"] += dgi.T @ x
    grads["b_ih"] += dgi.sum(axis=0)
    grads["W_hh"] += dgh.T @ h
    grads["b_hh"] += dgh.sum(axis=0)
    return dgi @ params["W_ih"], dgh @ params["W_hh"] + dnew * z


def candidate(params, series, exog, known=4, median=2):
    quantiles = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    V, c = params["V"], params["c"]
    batch, steps = exog.shape[:2]
    first = known - 1  # the first step that forecasts

    states = [np.tile(params["h0"], (batch, 1))]
    caches = []
    forecast = np.zeros((batch, steps - first, len(quantiles)))
    for t in range(steps):
        value = series[:, t] if t < known else forecast[:, t - known, median]
        x = np.column_stack([value, exog[:, t]])
        h, cache = gru_step(params, x, states[t])
        states.append(h)
        caches.append(cache)
        if t >= first:
            forecast[:, t - first] = h @ V.T + c
    error = series[:, known:, None] - forecast
    loss = np.mean(np.maximum(quantiles * error, (quantiles - 1) * error))

    dforecast = np.where(error > 0, -quantiles, 1 - quantiles) / error.size
    grads = {name: np.zeros_like(value) for name, value in params.items()}
    dh = np.zeros_like(h)
    for t in reversed(range(steps)):
        if t >= first:
            dout = dforecast[:, t - first]
            grads["V"] += dout.T @ states[t + 1]
            grads["c"] += dout.sum(axis=0)
            dh = dh + dout @ V
        dx, dh = gru_step_backward(params, grads, dh, caches[t])
        if t >= known:
            # what this step was given is the median of the step before
            dforecast[:, t - known, median] += dx[:, 0]
    grads["h0"] = dh.sum(axis=0)
    return loss, grads


def problem(rng):
    params = {
        "W_ih": rng.normal(size=(18, 3)) * 0.7,
        "b_ih": rng.normal(size=18) * 0.3,
        "W_hh": rng.normal(size=(18, 6)) * 0.5,
        "b_hh": rng.normal(size=18) * 0.3,
        "h0": rng.normal(size=6) * 0.6,
        "V": rng.normal(size=(5, 6)) * 0.6,
        "c": np.array([-0.8, -0.3, 0.1, 0.4, 0.9]) + rng.normal(size=5) * 0.1,
    }
    return params, (rng.normal(size=(9, 8)), rng.normal(size=(9, 7, 2)))


WRONG = [
    wrong(
        "fed_back_medians_held_constant",
        "missing-path|truncated-in-time",
        "        if t >= known:\n"
        "            # what this step was given is the median of the step before\n"
        "            dforecast[:, t - known, median] += dx[:, 0]\n",
        "",
    ),
    wrong(
        "fed_back_gradient_replaces_the_loss",
        "overwritten|missing-path",
        "dforecast[:, t - known, median] += dx[:, 0]",
        "dforecast[:, t - known, median] = dx[:, 0]",
    ),
    wrong("initial_state_averaged", "wrong-scale|wrong-reduction", "= dh.sum(axis=0)", "= dh.mean(axis=0)"),
    wrong(
        "input_weights_not_added_up",
        "overwritten|last-step-only",
        'grads["W_ih"] += dgi.T @ x',
        'grads["W_ih"] = dgi.T @ x',
    ),
    wrong("kept_state_forgotten", "missing-path", '@ params["W_hh"] + dnew * z', '@ params["W_hh"]'),
    wrong(
        "reset_gate_left_out",
        "missing-derivative|wrong-operand",
        "np.hstack([dr, dz, dn * r])",
        "np.hstack([dr, dz, dn])",
    ),
    wrong(
        "both_biases_alike",
        "missing-derivative|wrong-operand",
        'grads["b_hh"] += dgh.sum(axis=0)',
        'grads["b_hh"] += dgi.sum(axis=0)',
    ),
    wrong("update_gate_sign", "wrong-sign", "dz = dnew * (h - n)", "dz = dnew * (n - h)"),
    wrong("reset_slope_forgotten", "missing-derivative", "dr = dn * h_n * r * (1 - r)", "dr = dn * h_n"),
    wrong(
        "head_with_the_state_before",
        "shifted-in-time|wrong-operand",
        "dout.T @ states[t + 1]",
        "dout.T @ states[t]",
    ),
    wrong(
        "stopped_at_the_first_forecast",
        "truncated-in-time|missing-path",
        "for t in reversed(range(steps)):",
        "for t in reversed(range(first, steps)):",
    ),
    wrong(
        "quantiles_summed",
        "wrong-scale|wrong-term-weight|wrong-reduction",
        "1 - quantiles) / error.size",
        "1 - quantiles) / error[..., 0].size",
    ),
    wrong(
        "forecast_less_observed_in_both",
        "wrong-operand|different-function|wrong-sign",
        "error = series[:, known:, None] - forecast",
        "error = forecast - series[:, known:, None]",
        "np.where(error > 0, -quantiles, 1 - quantiles)",
        "np.where(error > 0, quantiles, quantiles - 1)",
    ),
    wrong(
        "observed_values_to_the_end_in_both",
        "wrong-operand|different-function|missing-path",
        "value = series[:, t] if t < known else forecast[:, t - known, median]",
        "value = series[:, t]",
        "        if t >= known:\n"
        "            # what this step was given is the median of the step before\n"
        "            dforecast[:, t - known, median] += dx[:, 0]\n",
        "",
    ),
    wrong(
        "gates_in_another_order_in_both",
        "wrong-operand|different-function",
        "i_r, i_z, i_n = np.split",
        "i_z, i_r, i_n = np.split",
        "h_r, h_z, h_n = np.split",
        "h_z, h_r, h_n = np.split",
        "np.hstack([dr, dz, dn])",
        "np.hstack([dz, dr, dn])",
        "np.hstack([dr, dz, dn * r])",
        "np.hstack([dz, dr, dn * r])",
    ),
    wrong(
        "quantiles_summed_in_cost",
        "wrong-loss",
        "np.mean(np.maximum(quantiles * error, (quantiles - 1) * error))",
        "np.mean(np.sum(np.maximum(quantiles * error, (quantiles - 1) * error), axis=2))",
    ),
]

TOGETHER = [
    ("fed_back_medians_held_constant", "head_with_the_state_before"),
    ("initial_state_averaged", "kept_state_forgotten"),
    ("input_weights_not_added_up", "both_biases_alike"),
    ("quantiles_summed", "update_gate_sign"),
    ("forecast_less_observed_in_both", "reset_slope_forgotten"),
    ("observed_values_to_the_end_in_both", "initial_state_averaged"),
    ("fed_back_gradient_replaces_the_loss", "reset_gate_left_out", "initial_state_averaged"),
    ("stopped_at_the_first_forecast", "both_biases_alike", "head_with_the_state_before"),
]

RIGHT = [
    right(
        "gates_written_into_place",
        "    dgi = np.hstack([dr, dz, dn])\n    dgh = np.hstack([dr, dz, dn * r])\n",
        "    width = h.shape[1]\n"
        "    dgi = np.empty((len(h), 3 * width))\n"
        "    dgi[:, :width], dgi[:, width : 2 * width], dgi[:, 2 * width :] = dr, dz, dn\n"
        "    dgh = dgi.copy()\n"
        "    dgh[:, 2 * width :] *= r\n",
        "return (1 - z) * n + z * h,",
        "return n + z * (h - n),",
    ),
    right(
        "pinball_by_its_indicator",
        "np.where(error > 0, -quantiles, 1 - quantiles) / error.size",
        "((error <= 0) - quantiles) / error.size",
        "np.mean(np.maximum(quantiles * error, (quantiles - 1) * error))",
        "np.mean(quantiles * error + np.maximum(-error, 0))",
        "return 1 / (1 + np.exp(-a))",
        "return 0.5 * (1 + np.tanh(a / 2))",
    ),
    right(
        "head_after_the_loop",
        '            grads["V"] += dout.T @ states[t + 1]\n            grads["c"] += dout.sum(axis=0)\n',
        "",
        '    grads["h0"] = dh.sum(axis=0)\n',
        '    grads["V"] = np.einsum("ntq,tnh->qh", dforecast, np.array(states[known:]))\n'
        '    grads["c"] = np.einsum("ntq->q", dforecast)\n'
        '    grads["h0"] = np.ones(batch) @ dh\n',
    ),
]
