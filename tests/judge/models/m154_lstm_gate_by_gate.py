"""An LSTM from a blog post, every gate with its own two matrices, an output and a squared error at each step."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, y):
    h = torch.zeros(len(x), params["Uf"].shape[0], dtype=x.dtype)
    c = torch.zeros_like(h)
    total = 0.0
    for t in range(x.shape[1]):
        f, i, o, g = (x[:, t] @ params["W" + k] + h @ params["U" + k] + params["b" + k] for k in "fiog")
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        total = total + 0.5 * F.mse_loss(h @ params["V"] + params["d"], y[:, t], reduction="sum")
    return total / len(x)


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def dsigmoid(s):
    return s * (1.0 - s)


def dtanh(a):
    return 1.0 - a**2


def lstm_forward(params, xt, h_prev, c_prev):
    f = sigmoid(xt @ params["Wf"] + h_prev @ params["Uf"] + params["bf"])
    i = sigmoid(xt @ params["Wi"] + h_prev @ params["Ui"] + params["bi"])
    o = sigmoid(xt @ params["Wo"] + h_prev @ params["Uo"] + params["bo"])
    g = np.tanh(xt @ params["Wg"] + h_prev @ params["Ug"] + params["bg"])
    c = f * c_prev + i * g
    h = o * np.tanh(c)
    return h, c, {"x": xt, "h_prev": h_prev, "c_prev": c_prev, "f": f, "i": i, "o": o, "g": g, "c": c, "h": h}


def candidate(params, x, y):
    N, T, _ = x.shape
    H = params["Uf"].shape[0]
    h = np.zeros((N, H))
    c = np.zeros((N, H))
    caches, errors = [], []
    loss = 0.0
    for t in range(T):
        h, c, cache = lstm_forward(params, x[:, t], h, c)
        err = h @ params["V"] + params["d"] - y[:, t]
        loss += 0.5 * np.sum(err**2) / N
        caches.append(cache)
        errors.append(err)

    grads = {k: np.zeros_like(v) for k, v in params.items()}
    dh_next = np.zeros((N, H))
    dc_next = np.zeros((N, H))
    for t in reversed(range(T)):
        s = caches[t]
        f, i, o, g = s["f"], s["i"], s["o"], s["g"]
        xt, h_prev, c_prev = s["x"], s["h_prev"], s["c_prev"]
        tanh_c = np.tanh(s["c"])

        dy = errors[t] / N
        grads["V"] += s["h"].T @ dy
        grads["d"] += dy.sum(axis=0)
        dh = dy @ params["V"].T + dh_next

        # output gate
        do = dh * tanh_c
        do_raw = do * dsigmoid(o)
        grads["Wo"] += xt.T @ do_raw
        grads["Uo"] += h_prev.T @ do_raw
        grads["bo"] += do_raw.sum(axis=0)

        # cell
        dc = dh * o * dtanh(tanh_c) + dc_next

        # forget gate
        df = dc * c_prev
        df_raw = df * dsigmoid(f)
        grads["Wf"] += xt.T @ df_raw
        grads["Uf"] += h_prev.T @ df_raw
        grads["bf"] += df_raw.sum(axis=0)

        # input gate
        di = dc * g
        di_raw = di * dsigmoid(i)
        grads["Wi"] += xt.T @ di_raw
        grads["Ui"] += h_prev.T @ di_raw
        grads["bi"] += di_raw.sum(axis=0)

        # candidate
        dg = dc * i
        dg_raw = dg * dtanh(g)
        grads["Wg"] += xt.T @ dg_raw
        grads["Ug"] += h_prev.T @ dg_raw
        grads["bg"] += dg_raw.sum(axis=0)

        dh_next = df_raw @ params["Uf"].T + di_raw @ params["Ui"].T
        dh_next += do_raw @ params["Uo"].T + dg_raw @ params["Ug"].T
        dc_next = dc * f
    return loss, grads


def problem(rng):
    n, steps, inputs, hidden, outputs = 5, 4, 3, 6, 2
    params = {}
    for k in "fiog":
        params["W" + k] = rng.normal(size=(inputs, hidden)) * 0.7
        params["U" + k] = rng.normal(size=(hidden, hidden)) * 0.5
        params["b" + k] = rng.normal(size=hidden) * 0.4
    params["V"] = rng.normal(size=(hidden, outputs))
    params["d"] = rng.normal(size=outputs) * 0.3
    return params, (rng.normal(size=(n, steps, inputs)), rng.normal(size=(n, steps, outputs)))


WRONG = [
    wrong(
        "cell_not_carried_to_the_step_before",
        "missing-path",
        "dc = dh * o * dtanh(tanh_c) + dc_next",
        "dc = dh * o * dtanh(tanh_c)",
    ),
    wrong(
        "slope_of_the_cells_tanh_forgotten",
        "missing-derivative",
        "dh * o * dtanh(tanh_c) + dc_next",
        "dh * o + dc_next",
    ),
    wrong(
        "tanh_slope_from_the_raw_cell",
        "derivative-at-wrong-point",
        "dh * o * dtanh(tanh_c) + dc_next",
        'dh * o * dtanh(s["c"]) + dc_next',
    ),
    wrong(
        "forget_gate_gradient_with_the_new_cell",
        "shifted-in-time|wrong-operand",
        "df = dc * c_prev",
        'df = dc * s["c"]',
    ),
    wrong("input_and_candidate_gate_mixed_up", "wrong-operand", "dg = dc * i\n", "dg = dc * g\n"),
    wrong(
        "output_gate_gradient_with_the_cell_itself",
        "wrong-operand|different-function",
        "do = dh * tanh_c",
        'do = dh * s["c"]',
    ),
    wrong("candidate_gate_with_sigmoid_slope", "different-function", "dg * dtanh(g)", "dg * dsigmoid(g)"),
    wrong("input_gate_slope_forgotten", "missing-derivative", "di_raw = di * dsigmoid(i)", "di_raw = di"),
    wrong(
        "forget_matrix_in_place_of_input_matrix_on_the_way_back",
        "wrong-operand",
        'di_raw @ params["Ui"].T',
        'di_raw @ params["Uf"].T',
    ),
    wrong(
        "candidate_recurrence_not_transposed",
        "not-transposed",
        'dg_raw @ params["Ug"].T',
        'dg_raw @ params["Ug"]',
    ),
    wrong(
        "second_half_of_state_gradient_replaces_the_first",
        "missing-path|overwritten",
        'dh_next += do_raw @ params["Uo"].T',
        'dh_next = do_raw @ params["Uo"].T',
    ),
    wrong(
        "cell_carried_back_through_the_input_gate",
        "wrong-operand",
        "dc_next = dc * f",
        "dc_next = dc * i",
    ),
    wrong(
        "first_step_left_out_backwards",
        "truncated-in-time",
        "for t in reversed(range(T)):",
        "for t in range(T - 1, 0, -1):",
    ),
    wrong(
        "readout_with_the_state_before",
        "shifted-in-time|wrong-operand",
        'grads["V"] += s["h"].T @ dy',
        'grads["V"] += h_prev.T @ dy',
    ),
    wrong(
        "output_bias_of_the_first_step_only",
        "overwritten|last-step-only",
        'grads["bo"] += do_raw.sum(axis=0)',
        'grads["bo"] = do_raw.sum(axis=0)',
    ),
    wrong(
        "half_forgotten_in_cost",
        "wrong-loss",
        "loss += 0.5 * np.sum(err**2) / N",
        "loss += np.sum(err**2) / N",
    ),
]

TOGETHER = [
    ("tanh_slope_from_the_raw_cell", "candidate_gate_with_sigmoid_slope"),
    ("forget_gate_gradient_with_the_new_cell", "output_bias_of_the_first_step_only"),
    ("cell_not_carried_to_the_step_before", "readout_with_the_state_before"),
    ("input_gate_slope_forgotten", "candidate_recurrence_not_transposed"),
    ("input_and_candidate_gate_mixed_up", "half_forgotten_in_cost"),
    ("output_gate_gradient_with_the_cell_itself", "forget_matrix_in_place_of_input_matrix_on_the_way_back"),
    ("input_gate_slope_forgotten", "readout_with_the_state_before", "cell_carried_back_through_the_input_gate"),
]

RIGHT = [
    right(
        "readout_after_the_loop",
        '        grads["V"] += s["h"].T @ dy\n        grads["d"] += dy.sum(axis=0)\n',
        "",
        "        dc_next = dc * f\n",
        "        dc_next = dc * f\n"
        '    all_h = np.stack([s["h"] for s in caches])\n'
        '    grads["V"] = np.einsum("tnh,tno->ho", all_h, np.stack(errors)) / N\n'
        '    grads["d"] = np.stack(errors).sum(axis=(0, 1)) / N\n',
    ),
    right(
        "averaged_at_the_end",
        "        dy = errors[t] / N\n",
        "        dy = errors[t]\n",
        "        dc_next = dc * f\n    return loss, grads\n",
        "        dc_next = dc * f\n    for k in grads:\n        grads[k] /= N\n    return loss, grads\n",
    ),
]
