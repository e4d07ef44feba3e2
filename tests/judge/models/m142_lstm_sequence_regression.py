"""An LSTM with its four gates in one matrix over sequences of several lengths: error of the last valid state."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, lengths, y):
    n, steps, _ = x.shape
    h = c = x.new_zeros(n, params["Wh"].shape[0])
    running = torch.arange(steps) < lengths[:, None]
    for t in range(steps):
        gates = F.linear(x[:, t], params["Wx"].T, params["b"]) + h @ params["Wh"]
        i, f, o, g = gates.chunk(4, dim=1)
        c_next = torch.sigmoid(f + 1.0) * c + torch.sigmoid(i) * torch.tanh(g)
        h_next = torch.sigmoid(o) * torch.tanh(c_next)
        h = torch.where(running[:, t, None], h_next, h)
        c = torch.where(running[:, t, None], c_next, c)
    prediction = F.linear(h, params["V"].T, params["k"])
    return {
        "error": F.mse_loss(prediction, y, reduction="sum") / n,
        "penalty": 0.06 * params["Wh"].pow(2).sum(),
    }


def logistic(a):
    return 1 / (1 + np.exp(-a))


def lstm_step(params, x_t, h_prev, c_prev, alive, forget_bias):
    """One step of every sequence; those that are over keep the state they had."""
    size = h_prev.shape[1]
    z = x_t @ params["Wx"] + h_prev @ params["Wh"] + params["b"]
    i = logistic(z[:, :size])
    f = logistic(z[:, size : 2 * size] + forget_bias)
    o = logistic(z[:, 2 * size : 3 * size])
    g = np.tanh(z[:, 3 * size :])
    c_new = f * c_prev + i * g
    h_new = o * np.tanh(c_new)
    h = alive * h_new + (1 - alive) * h_prev
    c = alive * c_new + (1 - alive) * c_prev
    return h, c, (x_t, h_prev, c_prev, alive, i, f, o, g, c_new, h_new)


def lstm_step_back(params, grads, cache, dh, dc):
    x_t, h_prev, c_prev, alive, i, f, o, g, c_new, h_new = cache
    tanh_c = np.tanh(c_new)
    dh_new = alive * dh
    dc_new = alive * dc + dh_new * o * (1 - tanh_c**2)
    di = dc_new * g * i * (1 - i)
    df = dc_new * c_prev * f * (1 - f)
    do = dh_new * tanh_c * o * (1 - o)
    dg = dc_new * i * (1 - g**2)
    dz = np.concatenate([di, df, do, dg], axis=1)
    grads["Wx"] += x_t.T @ dz
    grads["Wh"] += h_prev.T @ dz
    grads["b"] += dz.sum(axis=0)
    dh_prev = dz @ params["Wh"].T + (1 - alive) * dh
    dc_prev = dc_new * f + (1 - alive) * dc
    return dh_prev, dc_prev


def candidate(params, x, lengths, y, forget_bias=1.0, decay=0.06):
    Wh, V = params["Wh"], params["V"]
    n, steps, _ = x.shape
    h = np.zeros((n, len(Wh)))
    c = np.zeros((n, len(Wh)))
    caches = []
    for t in range(steps):
        alive = (t < lengths).astype(float)[:, None]
        h, c, cache = lstm_step(params, x[:, t], h, c, alive, forget_bias)
        caches.append(cache)
    error = h @ V + params["k"] - y
    loss = np.sum(error**2) / n + decay * np.sum(Wh**2)

    grads = {name: np.zeros_like(value) for name, value in params.items()}
    derror = 2 * error / n
    grads["V"] = h.T @ derror
    grads["k"] = derror.sum(axis=0)
    dh = derror @ V.T
    dc = np.zeros_like(dh)
    for t in range(steps - 1, -1, -1):
        dh, dc = lstm_step_back(params, grads, caches[t], dh, dc)
    grads["Wh"] += 2 * decay * Wh
    return loss, grads


def problem(rng):
    params = {
        "Wx": rng.normal(size=(3, 16)) * 0.8,
        "Wh": rng.normal(size=(4, 16)) * 0.6,
        "b": rng.normal(size=16) * 0.4,
        "V": rng.normal(size=(4, 2)),
        "k": rng.normal(size=2) * 0.3,
    }
    lengths = rng.permutation([5, 2, 4, 3, 5, 3])
    return params, (rng.normal(size=(6, 5, 3)), lengths, rng.normal(size=(6, 2)))


WRONG = [
    wrong(
        "cell_gradient_of_the_next_step_lost",
        "missing-path|truncated-in-time",
        "dc_new = alive * dc + dh_new * o * (1 - tanh_c**2)",
        "dc_new = dh_new * o * (1 - tanh_c**2)",
    ),
    wrong(
        "tanh_slope_at_the_cell_itself",
        "derivative-at-wrong-point",
        "dh_new * o * (1 - tanh_c**2)",
        "dh_new * o * (1 - c_new**2)",
    ),
    wrong(
        "candidate_slope_like_the_gates",
        "different-function",
        "dg = dc_new * i * (1 - g**2)",
        "dg = dc_new * i * g * (1 - g)",
    ),
    wrong(
        "forget_gate_sees_the_new_cell",
        "shifted-in-time|wrong-operand",
        "df = dc_new * c_prev * f",
        "df = dc_new * c_new * f",
    ),
    wrong(
        "hidden_gradient_stops_at_the_padding",
        "missing-path|truncated-in-time",
        'dh_prev = dz @ params["Wh"].T + (1 - alive) * dh',
        'dh_prev = dz @ params["Wh"].T',
    ),
    wrong(
        "padding_not_masked_for_the_hidden_gradient",
        "missing-derivative|wrong-operand|different-function",
        "dh_new = alive * dh",
        "dh_new = dh",
    ),
    wrong(
        "recurrent_weights_with_the_new_state",
        "shifted-in-time|wrong-operand",
        'grads["Wh"] += h_prev.T @ dz',
        'grads["Wh"] += h_new.T @ dz',
    ),
    wrong(
        "bias_assigned_at_every_step",
        "last-step-only|overwritten",
        'grads["b"] += dz.sum(axis=0)',
        'grads["b"] = dz.sum(axis=0)',
    ),
    wrong(
        "penalty_without_its_two",
        "wrong-term-weight|wrong-scale",
        'grads["Wh"] += 2 * decay * Wh',
        'grads["Wh"] += decay * Wh',
    ),
    wrong(
        "input_weights_decay_too",
        "wrong-part-penalised",
        'grads["Wh"] += 2 * decay * Wh\n',
        'grads["Wh"] += 2 * decay * Wh\n    grads["Wx"] += 2 * decay * params["Wx"]\n',
    ),
    wrong(
        "gates_joined_in_another_order",
        "wrong-operand",
        "np.concatenate([di, df, do, dg], axis=1)",
        "np.concatenate([di, do, df, dg], axis=1)",
    ),
    wrong(
        "cell_gradient_handed_on_without_the_gate",
        "missing-derivative|wrong-operand",
        "dc_prev = dc_new * f + (1 - alive) * dc",
        "dc_prev = dc_new + (1 - alive) * dc",
    ),
    wrong(
        "error_summed_over_the_batch",
        "wrong-term-weight|wrong-scale|wrong-reduction",
        "derror = 2 * error / n",
        "derror = 2 * error",
    ),
    wrong(
        "forget_bias_left_out_in_both",
        "different-function|wrong-operand",
        "f = logistic(z[:, size : 2 * size] + forget_bias)",
        "f = logistic(z[:, size : 2 * size])",
    ),
    wrong(
        "one_padded_step_too_many_in_both",
        "different-function|wrong-operand|shifted-in-time",
        "alive = (t < lengths)",
        "alive = (t <= lengths)",
    ),
    wrong("norm_not_squared_in_cost", "wrong-loss", "decay * np.sum(Wh**2)", "decay * np.linalg.norm(Wh)"),
]

TOGETHER = [
    ("recurrent_weights_with_the_new_state", "penalty_without_its_two"),
    ("tanh_slope_at_the_cell_itself", "forget_gate_sees_the_new_cell"),
    ("bias_assigned_at_every_step", "error_summed_over_the_batch"),
    ("candidate_slope_like_the_gates", "hidden_gradient_stops_at_the_padding"),
    ("gates_joined_in_another_order", "input_weights_decay_too"),
    ("one_padded_step_too_many_in_both", "cell_gradient_handed_on_without_the_gate"),
    ("cell_gradient_of_the_next_step_lost", "candidate_slope_like_the_gates", "bias_assigned_at_every_step"),
    ("forget_bias_left_out_in_both", "recurrent_weights_with_the_new_state", "error_summed_over_the_batch"),
]

RIGHT = [
    right(
        "weights_after_the_loop",
        '    grads["Wx"] += x_t.T @ dz\n    grads["Wh"] += h_prev.T @ dz\n    grads["b"] += dz.sum(axis=0)\n',
        "",
        "    return dh_prev, dc_prev\n",
        "    return dh_prev, dc_prev, dz\n",
        "    for t in range(steps - 1, -1, -1):\n"
        "        dh, dc = lstm_step_back(params, grads, caches[t], dh, dc)\n"
        '    grads["Wh"] += 2 * decay * Wh\n',
        '    all_dz = np.empty((n, steps, params["b"].size))\n'
        "    for t in reversed(range(steps)):\n"
        "        dh, dc, all_dz[:, t] = lstm_step_back(params, grads, caches[t], dh, dc)\n"
        "    before = np.stack([cache[1] for cache in caches], axis=1)\n"
        '    grads["Wx"] = np.tensordot(x, all_dz, axes=([0, 1], [0, 1]))\n'
        '    grads["Wh"] = np.tensordot(before, all_dz, axes=([0, 1], [0, 1])) + 2 * decay * Wh\n'
        '    grads["b"] = all_dz.sum(axis=(0, 1))\n',
    ),
    right(
        "only_the_running_sequences",
        "    h = alive * h_new + (1 - alive) * h_prev\n    c = alive * c_new + (1 - alive) * c_prev\n",
        "    over = alive[:, 0] == 0\n"
        "    h, c = h_new.copy(), c_new.copy()\n"
        "    h[over] = h_prev[over]\n"
        "    c[over] = c_prev[over]\n",
        '    dh_prev = dz @ params["Wh"].T + (1 - alive) * dh\n    dc_prev = dc_new * f + (1 - alive) * dc\n',
        '    dh_prev = np.where(alive > 0, dz @ params["Wh"].T, dh)\n'
        "    dc_prev = np.where(alive > 0, dc_new * f, dc)\n",
    ),
    right(
        "gates_in_one_array",
        "    dz = np.concatenate([di, df, do, dg], axis=1)\n",
        "    dz = np.empty((len(dh), 4, g.shape[1]))\n"
        "    dz[:, 0], dz[:, 1], dz[:, 2], dz[:, 3] = di, df, do, dg\n"
        "    dz = dz.reshape(len(dh), -1)\n",
        "    return 1 / (1 + np.exp(-a))\n",
        "    return 0.5 * np.tanh(0.5 * a) + 0.5\n",
        "dh_new * o * (1 - tanh_c**2)",
        "(dh_new * o - dh_new * tanh_c * h_new)",
    ),
]
