"""An LSTM module in rows: gates o, f, u, c on [state, input], its last state through ReLU units to a few classes."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, labels):
    h = x.new_zeros(len(x), len(params["bo"]))
    c = torch.zeros_like(h)
    for x_t in x.unbind(2):
        joined = torch.cat([h, x_t], dim=1)
        o = torch.sigmoid(joined @ params["Wo"] + params["bo"])
        f = torch.sigmoid(joined @ params["Wf"] + params["bf"])
        u = torch.sigmoid(joined @ params["Wu"] + params["bu"])
        c = f * c + u * torch.tanh(joined @ params["Wc"] + params["bc"])
        h = o * torch.tanh(c)
    hidden = torch.relu(h @ params["W1"] + params["b1"])
    return F.cross_entropy(hidden @ params["W2"] + params["b2"], labels)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def step_forward(p, x_t, h_prev, c_prev):
    zt = np.hstack([h_prev, x_t])
    go = sigmoid(zt @ p["Wo"] + p["bo"])
    gf = sigmoid(zt @ p["Wf"] + p["bf"])
    gu = sigmoid(zt @ p["Wu"] + p["bu"])
    cc = np.tanh(zt @ p["Wc"] + p["bc"])
    c_t = gf * c_prev + gu * cc
    h_t = go * np.tanh(c_t)
    return h_t, c_t, {"zt": zt, "go": go, "gf": gf, "gu": gu, "cc": cc, "c_prev": c_prev, "c": c_t}


def step_backward(p, dh, dc_next, cache, grads):
    zt, go, gf, gu, cc = (cache[key] for key in ("zt", "go", "gf", "gu", "cc"))
    n_out = dh.shape[1]
    th = np.tanh(cache["c"])
    dc = dc_next + dh * go * (1 - th**2)
    dgo = dh * th * go * (1 - go)
    dgf = dc * cache["c_prev"] * gf * (1 - gf)
    dgu = dc * cc * gu * (1 - gu)
    dcc = dc * gu * (1 - cc**2)
    grads["Wo"] += zt.T @ dgo
    grads["Wf"] += zt.T @ dgf
    grads["Wu"] += zt.T @ dgu
    grads["Wc"] += zt.T @ dcc
    grads["bo"] += dgo.sum(axis=0)
    grads["bf"] += dgf.sum(axis=0)
    grads["bu"] += dgu.sum(axis=0)
    grads["bc"] += dcc.sum(axis=0)
    dz = dgo @ p["Wo"].T + dgf @ p["Wf"].T + dgu @ p["Wu"].T + dcc @ p["Wc"].T
    dh_prev = dz[:, :n_out]
    dc_prev = dc * gf
    return dh_prev, dc_prev


def candidate(params, x, labels):
    n, _, steps = x.shape
    h = np.zeros((n, len(params["bo"])))
    c = np.zeros_like(h)
    caches = []
    for t in range(steps):
        h, c, cache = step_forward(params, x[:, :, t], h, c)
        caches.append(cache)
    a1 = h @ params["W1"] + params["b1"]
    hidden = np.maximum(a1, 0)
    logits = hidden @ params["W2"] + params["b2"]
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    probs = e / e.sum(axis=1, keepdims=True)
    loss = -np.mean(np.log(probs[np.arange(n), labels]))

    grads = {name: np.zeros_like(value) for name, value in params.items()}
    dlogits = (probs - np.eye(probs.shape[1])[labels]) / n
    grads["W2"] = hidden.T @ dlogits
    grads["b2"] = dlogits.sum(axis=0)
    da1 = (dlogits @ params["W2"].T) * (a1 > 0)
    grads["W1"] = h.T @ da1
    grads["b1"] = da1.sum(axis=0)
    dh = da1 @ params["W1"].T
    dc = np.zeros_like(dh)
    for t in reversed(range(steps)):
        dh, dc = step_backward(params, dh, dc, caches[t], grads)
    return loss, grads


def problem(rng):
    n, inputs, units, hidden, classes, steps = 6, 2, 4, 7, 3, 5
    params = {}
    for gate in "ofuc":
        params["W" + gate] = rng.normal(size=(units + inputs, units)) * 0.6
        params["b" + gate] = rng.normal(size=units) * 0.5
    params["W1"] = rng.normal(size=(units, hidden)) * 0.8
    params["b1"] = rng.normal(size=hidden) * 0.4
    params["W2"] = rng.normal(size=(hidden, classes)) * 0.7
    params["b2"] = rng.normal(size=classes) * 0.3
    return params, (rng.normal(size=(n, inputs, steps)), rng.integers(0, classes, size=n))


WRONG = [
    wrong(
        "forget_gate_with_the_output_bias_in_both",
        "wrong-operand",
        'zt @ p["Wf"] + p["bf"]',
        'zt @ p["Wf"] + p["bo"]',
    ),
    wrong(
        "forget_gate_squashed_instead_of_derived",
        "different-function|missing-derivative",
        'dgf = dc * cache["c_prev"] * gf * (1 - gf)',
        'dgf = dc * cache["c_prev"] * sigmoid(gf)',
    ),
    wrong(
        "old_cell_gradient_dropped",
        "missing-path",
        "dc = dc_next + dh * go * (1 - th**2)",
        "dc = dh * go * (1 - th**2)",
    ),
    wrong(
        "cell_squashed_slope_forgotten",
        "missing-derivative",
        "dc = dc_next + dh * go * (1 - th**2)",
        "dc = dc_next + dh * go",
    ),
    wrong(
        "slope_of_the_cell_itself",
        "derivative-at-wrong-point",
        "dc = dc_next + dh * go * (1 - th**2)",
        'dc = dc_next + dh * go * (1 - cache["c"] ** 2)',
    ),
    wrong(
        "forget_gate_meets_the_new_cell",
        "shifted-in-time|wrong-operand",
        'dgf = dc * cache["c_prev"] * gf',
        'dgf = dc * cache["c"] * gf',
    ),
    wrong(
        "cell_state_not_carried_through_the_gate",
        "missing-derivative|wrong-operand",
        "dc_prev = dc * gf",
        "dc_prev = dc",
    ),
    wrong(
        "hidden_part_taken_from_the_other_end",
        "wrong-operand",
        "dh_prev = dz[:, :n_out]",
        "dh_prev = dz[:, -n_out:]",
    ),
    wrong(
        "update_gate_left_out_on_the_way_back",
        "missing-path",
        ' + dgu @ p["Wu"].T + ',
        " + ",
    ),
    wrong(
        "update_bias_copied_from_the_forget_gate",
        "wrong-operand",
        'grads["bu"] += dgu.sum(axis=0)',
        'grads["bu"] += dgf.sum(axis=0)',
    ),
    wrong(
        "candidate_goes_back_through_the_update_weights",
        "wrong-operand",
        'dcc @ p["Wc"].T',
        'dcc @ p["Wu"].T',
    ),
    wrong(
        "last_gradient_used_at_every_step",
        "wrong-operand|shifted-in-time",
        "        dh, dc = step_backward(params, dh, dc, caches[t], grads)",
        "        step_backward(params, dh, dc, caches[t], grads)",
    ),
]

TOGETHER = [
    ("forget_gate_squashed_instead_of_derived", "update_bias_copied_from_the_forget_gate"),
    ("old_cell_gradient_dropped", "hidden_part_taken_from_the_other_end"),
    ("cell_squashed_slope_forgotten", "cell_state_not_carried_through_the_gate"),
    ("forget_gate_with_the_output_bias_in_both", "candidate_goes_back_through_the_update_weights"),
]

RIGHT = [
    right(
        "gates_in_one_loop",
        '    dz = dgo @ p["Wo"].T + dgf @ p["Wf"].T + dgu @ p["Wu"].T + dcc @ p["Wc"].T\n',
        "    dz = np.zeros_like(zt)\n"
        '    for gate, push in zip("ofuc", (dgo, dgf, dgu, dcc), strict=True):\n'
        '        dz += push @ p["W" + gate].T\n',
        "np.maximum(a1, 0)",
        "a1 * (a1 > 0)",
    ),
]
