"""A memory cell as nodes in a list: no tanh behind the cell, input before state, the first unit told at each step."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, x, y):
    h = torch.zeros(len(x), len(params["bg"]), dtype=x.dtype)
    s = torch.zeros_like(h)
    loss = 0.0
    for t in range(x.shape[1]):
        joined = torch.cat([x[:, t], h], dim=1)
        g = torch.tanh(joined @ params["wg"].T + params["bg"])
        i = torch.sigmoid(joined @ params["wi"].T + params["bi"])
        f = torch.sigmoid(joined @ params["wf"].T + params["bf"])
        o = torch.sigmoid(joined @ params["wo"].T + params["bo"])
        s = g * i + s * f
        h = s * o
        loss = loss + ((h[:, 0] - y[:, t]) ** 2).sum()
    return loss / len(x)


def sigmoid(v):
    return 1.0 / (1.0 + np.exp(-v))


def bottom_data(p, x, h_prev, s_prev):
    node = {"s_prev": s_prev}
    node["xc"] = np.hstack((x, h_prev))
    node["g"] = np.tanh(np.dot(p["wg"], node["xc"]) + p["bg"])
    node["i"] = sigmoid(np.dot(p["wi"], node["xc"]) + p["bi"])
    node["f"] = sigmoid(np.dot(p["wf"], node["xc"]) + p["bf"])
    node["o"] = sigmoid(np.dot(p["wo"], node["xc"]) + p["bo"])
    node["s"] = node["g"] * node["i"] + s_prev * node["f"]
    node["h"] = node["s"] * node["o"]
    return node


def top_diff(p, node, diff_h, diff_s, grads, x_dim):
    # the cell is reached by the state of this step and by the cell of the next
    ds = node["o"] * diff_h + diff_s
    do = node["s"] * diff_h
    di = node["g"] * ds
    dg = node["i"] * ds
    df = node["s_prev"] * ds

    # through the gates, to their inputs
    di_input = (1.0 - node["i"]) * node["i"] * di
    df_input = (1.0 - node["f"]) * node["f"] * df
    do_input = (1.0 - node["o"]) * node["o"] * do
    dg_input = (1.0 - node["g"] ** 2) * dg

    grads["wi"] += np.outer(di_input, node["xc"])
    grads["wf"] += np.outer(df_input, node["xc"])
    grads["wo"] += np.outer(do_input, node["xc"])
    grads["wg"] += np.outer(dg_input, node["xc"])
    grads["bi"] += di_input
    grads["bf"] += df_input
    grads["bo"] += do_input
    grads["bg"] += dg_input

    dxc = np.zeros_like(node["xc"])
    dxc += np.dot(p["wi"].T, di_input)
    dxc += np.dot(p["wf"].T, df_input)
    dxc += np.dot(p["wo"].T, do_input)
    dxc += np.dot(p["wg"].T, dg_input)
    return dxc[x_dim:], ds * node["f"]


def candidate(params, x, y):
    samples, steps, x_dim = x.shape
    cells = params["bg"].shape[0]
    grads = {name: np.zeros_like(value) for name, value in params.items()}
    total = 0.0
    for n in range(samples):
        nodes = []
        h, s = np.zeros(cells), np.zeros(cells)
        for t in range(steps):
            node = bottom_data(params, x[n, t], h, s)
            h, s = node["h"], node["s"]
            total += (h[0] - y[n, t]) ** 2
            nodes.append(node)

        diff_h, diff_s = np.zeros(cells), np.zeros(cells)
        for t in reversed(range(steps)):
            from_loss = np.zeros(cells)
            from_loss[0] = 2 * (nodes[t]["h"][0] - y[n, t]) / samples
            diff_h = diff_h + from_loss
            diff_h, diff_s = top_diff(params, nodes[t], diff_h, diff_s, grads, x_dim)
    loss = total / samples
    return loss, grads


def problem(rng):
    samples, steps, x_dim, cells = 5, 6, 3, 4
    params = {}
    for gate in "gifo":
        params["w" + gate] = rng.normal(size=(cells, x_dim + cells)) * 0.7
        params["b" + gate] = rng.normal(size=cells) * 0.5
    return params, (rng.normal(size=(samples, steps, x_dim)), rng.normal(size=(samples, steps)))


WRONG = [
    wrong(
        "forget_gate_activation_for_its_slope",
        "wrong-operand|different-function",
        'df_input = (1.0 - node["f"]) * node["f"] * df',
        'df_input = sigmoid(node["f"]) * df',
    ),
    wrong(
        "forget_gate_paired_with_the_new_cell",
        "shifted-in-time|wrong-operand",
        'df = node["s_prev"] * ds',
        'df = node["s"] * ds',
    ),
    wrong(
        "nothing_handed_on_to_the_step_before",
        "truncated-in-time",
        "diff_h, diff_s = top_diff(params, nodes[t], diff_h, diff_s, grads, x_dim)",
        "_ = top_diff(params, nodes[t], from_loss, diff_s, grads, x_dim)",
    ),
    wrong(
        "cell_gradient_not_handed_on",
        "missing-path",
        'ds = node["o"] * diff_h + diff_s',
        'ds = node["o"] * diff_h',
    ),
    wrong(
        "tanh_of_the_cell_backwards_only",
        "different-function|extra-derivative",
        'ds = node["o"] * diff_h + diff_s',
        'ds = node["o"] * diff_h * (1.0 - np.tanh(node["s"]) ** 2) + diff_s',
        'do = node["s"] * diff_h',
        'do = np.tanh(node["s"]) * diff_h',
    ),
    wrong(
        "bias_of_the_output_gate_for_forget_gate_too_in_both",
        "wrong-operand",
        'node["f"] = sigmoid(np.dot(p["wf"], node["xc"]) + p["bf"])',
        'node["f"] = sigmoid(np.dot(p["wf"], node["xc"]) + p["bo"])',
    ),
    wrong(
        "biases_of_input_and_output_gate_copied_from_forget_gate",
        "wrong-operand",
        'grads["bi"] += di_input',
        'grads["bi"] += df_input',
        'grads["bo"] += do_input',
        'grads["bo"] += df_input',
    ),
    wrong(
        "state_cut_from_the_front",
        "wrong-operand",
        "return dxc[x_dim:], ds",
        'return dxc[: len(node["s"])], ds',
    ),
    wrong(
        "loss_of_the_last_step_only_backwards",
        "last-step-only|missing-path",
        "            diff_h = diff_h + from_loss\n",
        "            diff_h = diff_h + (from_loss if t == steps - 1 else 0.0)\n",
    ),
    wrong(
        "candidate_slope_at_the_slope",
        "derivative-at-wrong-point|extra-derivative",
        'dg_input = (1.0 - node["g"] ** 2) * dg',
        'dg_input = (1.0 - np.tanh(node["g"]) ** 2) * dg',
    ),
    wrong(
        "candidate_not_felt_by_the_state_before",
        "missing-path",
        '    dxc += np.dot(p["wg"].T, dg_input)\n',
        "",
    ),
    wrong(
        "cell_gradient_past_the_forget_gate",
        "missing-derivative",
        'ds * node["f"]\n',
        "ds\n",
    ),
]

TOGETHER = [
    ("forget_gate_activation_for_its_slope", "nothing_handed_on_to_the_step_before"),
    ("biases_of_input_and_output_gate_copied_from_forget_gate", "cell_gradient_past_the_forget_gate"),
    ("forget_gate_paired_with_the_new_cell", "candidate_slope_at_the_slope"),
    ("tanh_of_the_cell_backwards_only", "state_cut_from_the_front"),
]

RIGHT = [
    right(
        "gates_together",
        '    dxc = np.zeros_like(node["xc"])\n'
        '    dxc += np.dot(p["wi"].T, di_input)\n'
        '    dxc += np.dot(p["wf"].T, df_input)\n'
        '    dxc += np.dot(p["wo"].T, do_input)\n'
        '    dxc += np.dot(p["wg"].T, dg_input)\n',
        '    stacked = np.vstack([p["wi"], p["wf"], p["wo"], p["wg"]])\n'
        "    dxc = np.concatenate([di_input, df_input, do_input, dg_input]) @ stacked\n",
    ),
]
