"""A GRU in the manner of CS231n's recurrent layers: gates in one stacked matrix, the last state is classified."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, y):
    Wx, Wh, b = params["Wx"], params["Wh"], params["b"]
    size = Wh.shape[0]
    h = x.new_zeros(len(x), size)
    for t in range(x.shape[1]):
        xz, xr, xc = (x[:, t] @ Wx + b).split(size, dim=1)
        hz, hr = (h @ Wh[:, : 2 * size]).split(size, dim=1)
        z = torch.sigmoid(xz + hz)
        r = torch.sigmoid(xr + hr)
        c = torch.tanh(xc + (r * h) @ Wh[:, 2 * size :])
        h = z * h + (1 - z) * c
    return F.cross_entropy(h @ params["W_out"] + params["b_out"], y)


def sigmoid(a):
    return np.where(a >= 0, 1 / (1 + np.exp(-np.abs(a))), np.exp(-np.abs(a)) / (1 + np.exp(-np.abs(a))))


def gru_step_forward(x, prev_h, Wx, Wh, b):
    H = prev_h.shape[1]
    ax = x @ Wx + b
    gates = sigmoid(ax[:, : 2 * H] + prev_h @ Wh[:, : 2 * H])
    z, r = gates[:, :H], gates[:, H:]
    rh = r * prev_h
    cand = np.tanh(ax[:, 2 * H :] + rh @ Wh[:, 2 * H :])
    next_h = z * prev_h + (1 - z) * cand
    cache = (x, prev_h, Wx, Wh, z, r, rh, cand)
    return next_h, cache


def gru_step_backward(dnext_h, cache):
    x, prev_h, Wx, Wh, z, r, rh, cand = cache
    H = prev_h.shape[1]
    # through the interpolation
    dprev_h = dnext_h * z
    dcand = dnext_h * (1 - z)
    dz = dnext_h * (prev_h - cand)
    # candidate
    dac = dcand * (1 - cand**2)
    drh = dac @ Wh[:, 2 * H :].T
    dr = drh * prev_h
    dprev_h += drh * r
    # gates
    daz = dz * z * (1 - z)
    dar = dr * r * (1 - r)
    dgates = np.concatenate([daz, dar], axis=1)
    dprev_h += dgates @ Wh[:, : 2 * H].T
    da = np.hstack((dgates, dac))
    dWx = x.T @ da
    dWh = np.hstack((prev_h.T @ dgates, rh.T @ dac))
    db = da.sum(axis=0)
    return dprev_h, dWx, dWh, db


def gru_forward(x, h0, Wx, Wh, b):
    h, caches = h0, []
    for t in range(x.shape[1]):
        h, cache = gru_step_forward(x[:, t], h, Wx, Wh, b)
        caches.append(cache)
    return h, caches


def gru_backward(dh, caches):
    _, _, Wx, Wh, *_ = caches[0]
    dWx, dWh, db = np.zeros_like(Wx), np.zeros_like(Wh), np.zeros(Wx.shape[1])
    dprev = dh
    for cache in caches[::-1]:
        dprev, dWx_t, dWh_t, db_t = gru_step_backward(dprev, cache)
        dWx += dWx_t
        dWh += dWh_t
        db += db_t
    return dWx, dWh, db


def softmax_loss(scores, y):
    N = scores.shape[0]
    shifted = scores - np.max(scores, axis=1, keepdims=True)
    Z = np.sum(np.exp(shifted), axis=1, keepdims=True)
    log_probs = shifted - np.log(Z)
    probs = np.exp(log_probs)
    loss = -np.sum(log_probs[np.arange(N), y]) / N
    dscores = probs.copy()
    dscores[np.arange(N), y] -= 1
    dscores /= N
    return loss, dscores


def candidate(params, x, y):
    h0 = np.zeros((x.shape[0], params["Wh"].shape[0]))
    h_last, caches = gru_forward(x, h0, params["Wx"], params["Wh"], params["b"])
    scores = h_last @ params["W_out"] + params["b_out"]
    loss, dscores = softmax_loss(scores, y)

    grads = {}
    grads["W_out"] = h_last.T @ dscores
    grads["b_out"] = dscores.sum(axis=0)
    dh_last = dscores @ params["W_out"].T
    grads["Wx"], grads["Wh"], grads["b"] = gru_backward(dh_last, caches)
    return loss, grads


def problem(rng):
    D, H, T, N, C = 2, 3, 4, 5, 6
    params = {
        "Wx": rng.normal(size=(D, 3 * H)),
        "Wh": rng.normal(size=(H, 3 * H)) * 0.9,
        "b": rng.normal(size=3 * H) * 0.4,
        "W_out": rng.normal(size=(H, C)),
        "b_out": rng.normal(size=C) * 0.3,
    }
    return params, (rng.normal(size=(N, T, D)), rng.integers(0, C, size=N))


WRONG = [
    wrong(
        "gates_stacked_in_the_other_order_backwards",
        "wrong-operand",
        "dgates = np.concatenate([daz, dar], axis=1)",
        "dgates = np.concatenate([dar, daz], axis=1)",
    ),
    wrong(
        "candidate_columns_with_the_state_not_reset",
        "wrong-operand|missing-derivative",
        "dWh = np.hstack((prev_h.T @ dgates, rh.T @ dac))",
        "dWh = prev_h.T @ da",
    ),
    wrong("no_way_back_through_the_reset_state", "missing-path", "    dprev_h += drh * r\n", ""),
    wrong("reset_gate_left_out_of_the_way_back", "missing-derivative", "dprev_h += drh * r", "dprev_h += drh"),
    wrong(
        "reset_route_assigned",
        "overwritten|missing-path",
        "dprev_h += drh * r",
        "dprev_h = drh * r",
    ),
    wrong(
        "update_gate_with_the_sign_of_the_paper",
        "wrong-sign",
        "dz = dnext_h * (prev_h - cand)",
        "dz = dnext_h * (cand - prev_h)",
    ),
    wrong(
        "update_gate_only_through_the_old_state",
        "missing-path|wrong-operand",
        "dz = dnext_h * (prev_h - cand)",
        "dz = dnext_h * prev_h",
    ),
    wrong("reset_sigmoid_not_differentiated", "missing-derivative", "dar = dr * r * (1 - r)", "dar = dr"),
    wrong(
        "candidate_slope_of_a_sigmoid",
        "different-function",
        "dac = dcand * (1 - cand**2)",
        "dac = dcand * cand * (1 - cand)",
    ),
    wrong(
        "sigmoid_slope_of_the_gate_value",
        "derivative-at-wrong-point",
        "daz = dz * z * (1 - z)",
        "daz = dz * sigmoid(z) * (1 - sigmoid(z))",
    ),
    wrong(
        "incoming_gradient_scaled_in_place",
        "wrong-operand|extra-derivative",
        "    dprev_h = dnext_h * z\n",
        "    dprev_h = dnext_h\n    dprev_h *= z\n",
    ),
    wrong("recurrent_matrix_of_one_step", "overwritten|last-step-only", "dWh += dWh_t", "dWh = dWh_t"),
    wrong(
        "gate_columns_of_the_recurrent_matrix_forgotten_on_the_way_back",
        "missing-path",
        "    dprev_h += dgates @ Wh[:, : 2 * H].T\n",
        "",
    ),
    wrong("gate_biases_averaged", "wrong-reduction|wrong-scale", "db = da.sum(axis=0)", "db = da.mean(axis=0)"),
    wrong(
        "reset_applied_after_the_product_in_both",
        "different-function|wrong-operand",
        "cand = np.tanh(ax[:, 2 * H :] + rh @ Wh[:, 2 * H :])",
        "cand = np.tanh(ax[:, 2 * H :] + r * (prev_h @ Wh[:, 2 * H :]))",
        "    drh = dac @ Wh[:, 2 * H :].T\n    dr = drh * prev_h\n    dprev_h += drh * r\n",
        "    dr = dac * (prev_h @ Wh[:, 2 * H :])\n    dprev_h += (dac * r) @ Wh[:, 2 * H :].T\n",
        "rh.T @ dac",
        "prev_h.T @ (dac * r)",
    ),
    wrong(
        "cost_not_averaged",
        "wrong-loss",
        "loss = -np.sum(log_probs[np.arange(N), y]) / N",
        "loss = -np.sum(log_probs[np.arange(N), y])",
    ),
]

TOGETHER = [
    ("gates_stacked_in_the_other_order_backwards", "recurrent_matrix_of_one_step"),
    ("candidate_columns_with_the_state_not_reset", "update_gate_with_the_sign_of_the_paper"),
    ("no_way_back_through_the_reset_state", "gate_biases_averaged"),
    ("reset_sigmoid_not_differentiated", "sigmoid_slope_of_the_gate_value"),
    ("reset_gate_left_out_of_the_way_back", "update_gate_only_through_the_old_state"),
    (
        "candidate_slope_of_a_sigmoid",
        "gate_columns_of_the_recurrent_matrix_forgotten_on_the_way_back",
        "gate_biases_averaged",
    ),
]

RIGHT = [
    right(
        "update_written_as_a_step",
        "next_h = z * prev_h + (1 - z) * cand",
        "next_h = cand + z * (prev_h - cand)",
        "    dprev_h += dgates @ Wh[:, : 2 * H].T\n",
        "    dprev_h += daz @ Wh[:, :H].T + dar @ Wh[:, H : 2 * H].T\n",
        "dac = dcand * (1 - cand**2)",
        "dac = dcand * (1 - cand) * (1 + cand)",
    ),
]
