"""Two layers of LSTM with dropout between them, regression at the last step that counts for each sequence."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, lengths, first_h, first_c, drop, y):
    sequence = x.unbind(1)
    for layer in range(2):
        Wx, Wh, b = (params[f"{name}{layer}"] for name in ("Wx", "Wh", "b"))
        h, c = first_h[:, layer], first_c[:, layer]
        outputs = []
        for x_t in sequence:
            i, f, g, o = (F.linear(x_t, Wx, b) + F.linear(h, Wh)).chunk(4, dim=1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            outputs.append(h)
        sequence = [h * m / 0.7 for h, m in zip(outputs, drop.unbind(1), strict=True)] if layer == 0 else outputs
    last = torch.stack(sequence, dim=1)[torch.arange(len(x)), lengths - 1]
    return F.mse_loss(F.linear(last, params["V"], params["d"]), y)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def step(x_t, h, c, Wx, Wh, b):
    a_i, a_f, a_g, a_o = np.split(x_t @ Wx.T + h @ Wh.T + b, 4, axis=1)
    i, f, g, o = sigmoid(a_i), sigmoid(a_f), np.tanh(a_g), sigmoid(a_o)
    c_new = f * c + i * g
    return o * np.tanh(c_new), c_new, (i, f, g, o)


def step_backward(dh, dc_next, c, c_prev, gates):
    i, f, g, o = gates
    squashed = np.tanh(c)
    do = dh * squashed
    dc = dc_next + dh * o * (1 - squashed**2)
    di, df, dg = dc * g, dc * c_prev, dc * i
    da = np.hstack([di * i * (1 - i), df * f * (1 - f), dg * (1 - g**2), do * o * (1 - o)])
    return da, dc * f


def candidate(params, x, lengths, first_h, first_c, drop, y, keep=0.7):
    n, steps, _ = x.shape
    units = params["Wh0"].shape[1]
    layers = 2
    inputs, hidden, cells, gates = [x], [], [], []
    for layer in range(layers):
        weights = [params[name + str(layer)] for name in ("Wx", "Wh", "b")]
        hs, cs, gs = [first_h[:, layer]], [first_c[:, layer]], []
        for t in range(steps):
            h, c, gate = step(inputs[layer][:, t], hs[-1], cs[-1], *weights)
            hs.append(h)
            cs.append(c)
            gs.append(gate)
        hidden.append(hs)
        cells.append(cs)
        gates.append(gs)
        outputs = np.stack(hs[1:], axis=1)
        if layer < layers - 1:
            inputs.append(outputs * drop / keep)
    every = np.arange(n)
    last = outputs[every, lengths - 1]
    predicted = last @ params["V"].T + params["d"]
    error = predicted - y
    loss = np.mean(error**2)

    grads = {name: np.zeros_like(value) for name, value in params.items()}
    dpredicted = 2 * error / error.size
    grads["V"] = dpredicted.T @ last
    grads["d"] = dpredicted.sum(axis=0)
    doutputs = np.zeros((n, steps, units))
    doutputs[every, lengths - 1] = dpredicted @ params["V"]
    for layer in reversed(range(layers)):
        Wx, Wh = params[f"Wx{layer}"], params[f"Wh{layer}"]
        dinputs = np.zeros_like(inputs[layer])
        dh_next = np.zeros((n, units))
        dc_next = np.zeros((n, units))
        for t in reversed(range(steps)):
            dh = doutputs[:, t] + dh_next
            now, before = cells[layer][t + 1], cells[layer][t]
            da, dc_next = step_backward(dh, dc_next, now, before, gates[layer][t])
            grads[f"Wx{layer}"] += da.T @ inputs[layer][:, t]
            grads[f"Wh{layer}"] += da.T @ hidden[layer][t]
            grads[f"b{layer}"] += da.sum(axis=0)
            dh_next = da @ Wh
            if layer > 0:
                dinputs[:, t] = da @ Wx
        if layer > 0:
            doutputs = dinputs * drop / keep
    return loss, grads


def problem(rng):
    n, steps, features, units, targets = 7, 6, 3, 4, 5
    params = {}
    for layer, size in enumerate((features, units)):
        params[f"Wx{layer}"] = rng.normal(size=(4 * units, size)) * 0.7
        params[f"Wh{layer}"] = rng.normal(size=(4 * units, units)) * 0.5
        params[f"b{layer}"] = rng.normal(size=4 * units) * 0.4
    params["V"] = rng.normal(size=(targets, units)) * 0.8
    params["d"] = rng.normal(size=targets) * 0.4
    lengths = rng.permutation([2, 3, 4, 4, 5, 6, 6])
    first_h = np.tanh(rng.normal(size=(n, 2, units)))
    first_c = rng.normal(size=(n, 2, units)) * 0.8
    drop = (rng.uniform(size=(n, steps, units)) < 0.7).astype(float)
    x = rng.normal(size=(n, steps, features))
    return params, (x, lengths, first_h, first_c, drop, rng.normal(size=(n, targets)))


WRONG = [
    wrong(
        "gradient_enters_at_the_final_step",
        "shifted-in-time|wrong-operand|different-function",
        'doutputs[every, lengths - 1] = dpredicted @ params["V"]',
        'doutputs[:, -1] = dpredicted @ params["V"]',
    ),
    wrong(
        "recurrent_route_forgotten",
        "missing-path|truncated-in-time",
        "dh = doutputs[:, t] + dh_next",
        "dh = doutputs[:, t]",
    ),
    wrong(
        "cell_route_forgotten",
        "missing-path|truncated-in-time",
        "dc = dc_next + dh * o",
        "dc = dh * o",
    ),
    wrong("cell_passed_on_without_forgetting", "missing-derivative", "return da, dc * f", "return da, dc"),
    wrong(
        "new_cell_for_the_old_at_the_forget_gate",
        "shifted-in-time|wrong-operand",
        "di, df, dg = dc * g, dc * c_prev, dc * i",
        "di, df, dg = dc * g, dc * c, dc * i",
    ),
    wrong(
        "cell_slope_at_its_input",
        "derivative-at-wrong-point",
        "dh * o * (1 - squashed**2)",
        "dh * o * (1 - c**2)",
    ),
    wrong(
        "new_state_for_the_old_at_the_weights",
        "shifted-in-time|wrong-operand",
        "da.T @ hidden[layer][t]",
        "da.T @ hidden[layer][t + 1]",
    ),
    wrong(
        "recurrent_weights_to_the_layer_below",
        "wrong-operand",
        "dinputs[:, t] = da @ Wx",
        "dinputs[:, t] = da @ Wh",
    ),
    wrong(
        "dropout_not_applied_backwards",
        "missing-derivative|missing-path",
        "doutputs = dinputs * drop / keep",
        "doutputs = dinputs",
    ),
    wrong(
        "undropped_outputs_at_the_upper_weights",
        "wrong-operand|different-function",
        'grads[f"Wx{layer}"] += da.T @ inputs[layer][:, t]',
        'grads[f"Wx{layer}"] += da.T @ (hidden[layer - 1][t + 1] if layer else x[:, t])',
    ),
    wrong(
        "recurrent_gradient_kept_for_the_layer_below",
        "any",
        "        dh_next = np.zeros((n, units))\n        dc_next = np.zeros((n, units))\n",
        "",
        "    for layer in reversed(range(layers)):\n",
        "    dh_next, dc_next = np.zeros((n, units)), np.zeros((n, units))\n"
        "    for layer in reversed(range(layers)):\n",
    ),
    wrong(
        "first_state_of_the_lower_layer_in_both",
        "wrong-operand|different-function",
        "hs, cs, gs = [first_h[:, layer]], [first_c[:, layer]], []",
        "hs, cs, gs = [first_h[:, 0]], [first_c[:, 0]], []",
    ),
    wrong(
        "gates_in_another_order_in_both",
        "wrong-operand|different-function",
        "a_i, a_f, a_g, a_o = np.split(",
        "a_i, a_f, a_o, a_g = np.split(",
        "dg * (1 - g**2), do * o * (1 - o)])",
        "do * o * (1 - o), dg * (1 - g**2)])",
    ),
    wrong(
        "forget_gate_opened_by_one_in_both",
        "different-function|wrong-operand",
        "sigmoid(a_f)",
        "sigmoid(a_f + 1)",
    ),
    wrong(
        "final_step_for_the_last_that_counts_in_both",
        "shifted-in-time|wrong-operand|different-function",
        "last = outputs[every, lengths - 1]",
        "last = outputs[:, -1]",
        "doutputs[every, lengths - 1] = dpredicted",
        "doutputs[:, -1] = dpredicted",
    ),
    wrong("halved_in_cost", "wrong-loss", "loss = np.mean(error**2)", "loss = 0.5 * np.mean(error**2)"),
]

TOGETHER = [
    ("gradient_enters_at_the_final_step", "new_cell_for_the_old_at_the_forget_gate"),
    ("cell_passed_on_without_forgetting", "dropout_not_applied_backwards"),
    ("cell_slope_at_its_input", "new_state_for_the_old_at_the_weights"),
    ("undropped_outputs_at_the_upper_weights", "recurrent_weights_to_the_layer_below"),
    ("recurrent_route_forgotten", "undropped_outputs_at_the_upper_weights"),
    ("forget_gate_opened_by_one_in_both", "recurrent_weights_to_the_layer_below"),
    ("cell_route_forgotten", "new_state_for_the_old_at_the_weights", "recurrent_weights_to_the_layer_below"),
    ("cell_slope_at_its_input", "undropped_outputs_at_the_upper_weights", "dropout_not_applied_backwards"),
]

RIGHT = [
    right(
        "weights_after_the_loop",
        '            grads[f"Wx{layer}"] += da.T @ inputs[layer][:, t]\n'
        '            grads[f"Wh{layer}"] += da.T @ hidden[layer][t]\n'
        '            grads[f"b{layer}"] += da.sum(axis=0)\n'
        "            dh_next = da @ Wh\n"
        "            if layer > 0:\n"
        "                dinputs[:, t] = da @ Wx\n"
        "        if layer > 0:\n"
        "            doutputs = dinputs * drop / keep\n",
        "            das[:, t] = da\n"
        "            dh_next = da @ Wh\n"
        '        grads[f"Wx{layer}"] = np.einsum("ntg,ntk->gk", das, inputs[layer])\n'
        '        grads[f"Wh{layer}"] = np.einsum("ntg,tnk->gk", das, np.array(hidden[layer][:-1]))\n'
        '        grads[f"b{layer}"] = das.sum(axis=(0, 1))\n'
        "        if layer > 0:\n"
        "            doutputs = (das @ Wx) * (drop / keep)\n",
        "        dinputs = np.zeros_like(inputs[layer])\n",
        "        das = np.zeros((n, steps, 4 * units))\n",
    ),
    right(
        "outputs_picked_by_a_mask",
        '    doutputs = np.zeros((n, steps, units))\n    doutputs[every, lengths - 1] = dpredicted @ params["V"]\n',
        "    ends = (np.arange(steps) == lengths[:, None] - 1).astype(float)\n"
        '    doutputs = ends[:, :, None] * (dpredicted @ params["V"])[:, None]\n',
        "    return 1 / (1 + np.exp(-a))\n",
        "    return 0.5 * (1 + np.tanh(0.5 * a))\n",
    ),
    right(
        "gates_in_one_array",
        "    di, df, dg = dc * g, dc * c_prev, dc * i\n"
        "    da = np.hstack([di * i * (1 - i), df * f * (1 - f), dg * (1 - g**2), do * o * (1 - o)])\n"
        "    return da, dc * f\n",
        "    units = c.shape[1]\n"
        "    da = np.empty((len(c), 4 * units))\n"
        "    da[:, :units] = dc * g\n"
        "    da[:, units : 2 * units] = dc * c_prev\n"
        "    da[:, 2 * units : 3 * units] = dc * i * (1 + g) * (1 - g)\n"
        "    da[:, 3 * units :] = do\n"
        "    for part, gate in ((0, i), (1, f), (3, o)):\n"
        "        da[:, part * units : (part + 1) * units] *= gate - gate**2\n"
        "    return da, f * dc\n",
        "            dh = doutputs[:, t] + dh_next\n",
        "            dh_next += doutputs[:, t]\n            dh = dh_next\n",
    ),
]
