"""An LSTM whose gates look at the cell (peepholes), time first; its states read out at every step, squared errors."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong

BATCH_AXIS = 1


def reference(params, x, y):
    h = c = x.new_zeros(x.shape[1], params["p_i"].shape[0])
    states = []
    for step in x:
        xh = torch.cat([step, h], dim=1)
        i = torch.sigmoid(F.linear(xh, params["W_i"], params["b_i"]) + params["p_i"] * c)
        f = torch.sigmoid(F.linear(xh, params["W_f"], params["b_f"]) + params["p_f"] * c)
        c = f * c + i * torch.tanh(F.linear(xh, params["W_g"], params["b_g"]))
        o = torch.sigmoid(F.linear(xh, params["W_o"], params["b_o"]) + params["p_o"] * c)
        h = o * torch.tanh(c)
        states.append(h)
    read = torch.stack(states) @ params["R"]
    return (read - y).square().sum(dim=(0, 2)).mean()


def sigmoid(a):
    return np.reciprocal(1 + np.exp(-a))


def cell(params, x_t, h, c):
    xh = np.concatenate([x_t, h], axis=1)
    s = dict(xh=xh, c_old=c)
    s["i"] = sigmoid(xh @ params["W_i"].T + params["b_i"] + params["p_i"] * c)
    s["f"] = sigmoid(xh @ params["W_f"].T + params["b_f"] + params["p_f"] * c)
    s["g"] = np.tanh(xh @ params["W_g"].T + params["b_g"])
    s["c"] = s["f"] * c + s["i"] * s["g"]
    s["o"] = sigmoid(xh @ params["W_o"].T + params["b_o"] + params["p_o"] * s["c"])
    s["tanh_c"] = np.tanh(s["c"])
    s["h"] = s["o"] * s["tanh_c"]
    return s


def candidate(params, x, y):
    steps, n, width = x.shape
    size = len(params["p_i"])
    h, c = np.zeros((n, size)), np.zeros((n, size))
    tape = []
    for t in range(steps):
        tape.append(cell(params, x[t], h, c))
        h, c = tape[t]["h"], tape[t]["c"]
    miss = [tape[t]["h"] @ params["R"] - y[t] for t in range(steps)]
    loss = sum(np.sum(e**2) for e in miss) / n

    grads = {name: np.zeros_like(value) for name, value in params.items()}
    dh_next, dc_next = np.zeros((n, size)), np.zeros((n, size))
    for t in range(steps)[::-1]:
        s = tape[t]
        de = 2 * miss[t] / n
        grads["R"] += s["h"].T @ de
        dh = de @ params["R"].T + dh_next
        do = dh * s["tanh_c"] * s["o"] * (1 - s["o"])
        dc = dc_next + dh * s["o"] * (1 - s["tanh_c"] ** 2)
        dc = dc + do * params["p_o"]
        grads["p_o"] += np.sum(do * s["c"], axis=0)
        di = dc * s["g"] * s["i"] * (1 - s["i"])
        df = dc * s["c_old"] * s["f"] * (1 - s["f"])
        dg = dc * s["i"] * (1 - s["g"] ** 2)
        grads["p_i"] += np.sum(di * s["c_old"], axis=0)
        grads["p_f"] += np.sum(df * s["c_old"], axis=0)
        dxh = np.zeros_like(s["xh"])
        for gate, delta in zip("ifgo", (di, df, dg, do), strict=True):
            grads["W_" + gate] += delta.T @ s["xh"]
            grads["b_" + gate] += delta.sum(axis=0)
            dxh += delta @ params["W_" + gate]
        dh_next = dxh[:, width:]
        dc_next = dc * s["f"] + di * params["p_i"] + df * params["p_f"]
    return loss, grads


def problem(rng):
    params = {"W_" + gate: rng.normal(size=(4, 7)) * 0.6 for gate in "ifgo"}
    params |= {"b_" + gate: rng.normal(size=4) * 0.4 for gate in "ifgo"}
    params |= {"p_" + gate: rng.normal(size=4) for gate in "ifo"}
    params["R"] = rng.normal(size=(4, 2))
    return params, (rng.normal(size=(5, 6, 3)), rng.normal(size=(5, 6, 2)))


WRONG = [
    wrong("peephole_of_the_output_gate_cut", "missing-path", '        dc = dc + do * params["p_o"]\n', ""),
    wrong("peephole_of_the_forget_gate_cut", "missing-path", ' + df * params["p_f"]', ""),
    wrong(
        "peepholes_exchanged_backwards",
        "wrong-operand",
        'di * params["p_i"] + df * params["p_f"]',
        'di * params["p_f"] + df * params["p_i"]',
    ),
    wrong("output_peephole_of_the_old_cell", "shifted-in-time", 'do * s["c"]', 'do * s["c_old"]'),
    wrong("input_peephole_of_the_new_cell", "shifted-in-time", 'di * s["c_old"]', 'di * s["c"]'),
    wrong("forget_gate_of_the_new_cell", "shifted-in-time", 'dc * s["c_old"] *', 'dc * s["c"] *'),
    wrong(
        "cell_not_carried",
        "truncated-in-time|missing-path",
        'dc = dc_next + dh * s["o"]',
        'dc = dh * s["o"]',
    ),
    wrong(
        "state_not_carried",
        "truncated-in-time|missing-path",
        'dh = de @ params["R"].T + dh_next',
        'dh = de @ params["R"].T',
    ),
    wrong(
        "forget_gate_forgotten_in_the_carry",
        "missing-derivative",
        'dc_next = dc * s["f"] +',
        "dc_next = dc +",
    ),
    wrong("cell_slope_forgotten", "missing-derivative", 'dh * s["o"] * (1 - s["tanh_c"] ** 2)', 'dh * s["o"]'),
    wrong(
        "cell_slope_at_the_cell",
        "derivative-at-wrong-point",
        '(1 - s["tanh_c"] ** 2)',
        '(1 - s["c"] ** 2)',
    ),
    wrong("input_gate_slope_forgotten", "missing-derivative", 'dc * s["g"] * s["i"] * (1 - s["i"])', 'dc * s["g"]'),
    wrong("output_gate_slope_twice", "extra-derivative", 's["o"] * (1 - s["o"])', '(s["o"] * (1 - s["o"])) ** 2'),
    wrong(
        "read_out_of_last_step",
        "overwritten|last-step-only",
        'grads["R"] += ',
        'if t == steps - 1:\n            grads["R"] += ',
    ),
    wrong(
        "weights_assigned",
        "overwritten|last-step-only",
        'grads["W_" + gate] += ',
        'grads["W_" + gate] = ',
    ),
    wrong(
        "two_steps_only",
        "truncated-in-time",
        "        dh_next = dxh[:, width:]\n",
        "        dh_next = dxh[:, width:] * (t != steps - 2)\n",
        'dc * s["f"] + di * params["p_i"] + df * params["p_f"]',
        '(dc * s["f"] + di * params["p_i"] + df * params["p_f"]) * (t != steps - 2)',
    ),
    wrong(
        "averaged_over_steps", "wrong-scale|wrong-reduction", "de = 2 * miss[t] / n", "de = 2 * miss[t] / (n * steps)"
    ),
    wrong(
        "no_tanh_of_the_cell_in_both",
        "different-function",
        's["tanh_c"] = np.tanh(s["c"])',
        's["tanh_c"] = s["c"]',
        ' * (1 - s["tanh_c"] ** 2)',
        "",
    ),
    wrong(
        "output_gate_sees_the_old_cell_in_both",
        "shifted-in-time|wrong-operand",
        'params["p_o"] * s["c"])',
        'params["p_o"] * c)',
        '        dc = dc + do * params["p_o"]\n',
        "",
        'do * s["c"]',
        'do * s["c_old"]',
        '+ df * params["p_f"]',
        '+ df * params["p_f"] + do * params["p_o"]',
    ),
]

TOGETHER = [
    ("peephole_of_the_output_gate_cut", "input_gate_slope_forgotten"),
    ("forget_gate_of_the_new_cell", "read_out_of_last_step"),
    ("averaged_over_steps", "output_peephole_of_the_old_cell"),
    ("cell_slope_forgotten", "peephole_of_the_forget_gate_cut"),
    ("state_not_carried", "output_gate_slope_twice", "input_peephole_of_the_new_cell"),
]

RIGHT = [
    right(
        "read_out_after_the_loop",
        '        grads["R"] += s["h"].T @ de\n',
        "",
        "    return loss, grads",
        '    grads["R"] = 2 / n * np.einsum("tni,tno->io", np.array([s["h"] for s in tape]), np.array(miss))\n'
        "    return loss, grads",
    ),
    right(
        "all_gates_at_once",
        '            dxh += delta @ params["W_" + gate]\n',
        "",
        "        dh_next = dxh[:, width:]\n",
        '        every = np.vstack([params["W_" + gate] for gate in "ifgo"])\n'
        "        dh_next = (np.hstack([di, df, dg, do]) @ every)[:, width:]\n",
    ),
]
