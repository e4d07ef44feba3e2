"""Tags from torch's LSTM module, two layers and both directions, every output used; weighted classes, some ignored."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tests.judge.corpus import right, wrong


class BothWays(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 3, num_layers=2, batch_first=True, bidirectional=True)
        self.out = nn.Linear(6, 2)

    def forward(self, x):
        states, _ = self.lstm(x)
        return self.out(states)


def reference(params, x, tags):
    scores = torch.func.functional_call(BothWays(), params, (x,))
    rarity = torch.tensor([0.5, 1.75], dtype=x.dtype)
    return F.cross_entropy(scores.flatten(0, 1), tags.flatten(), weight=rarity, ignore_index=-1)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def lstm_forward(x, w_ih, w_hh, b_ih, b_hh):
    n, steps, _ = x.shape
    size = w_hh.shape[1]
    h, c = np.zeros((n, size)), np.zeros((n, size))
    out, memory = np.zeros((n, steps, size)), []
    for t in range(steps):
        z = x[:, t] @ w_ih.T + b_ih + h @ w_hh.T + b_hh
        i, f, o = sigmoid(z[:, :size]), sigmoid(z[:, size : 2 * size]), sigmoid(z[:, 3 * size :])
        g = np.tanh(z[:, 2 * size : 3 * size])
        h_prev, c_prev = h, c
        c = f * c_prev + i * g
        h = o * np.tanh(c)
        out[:, t] = h
        memory.append((i, f, g, o, h_prev, c_prev, c, h))
    return out, (x, w_ih, w_hh, memory)


def lstm_backward(dout, cache):
    x, w_ih, w_hh, memory = cache
    n, steps, size = dout.shape
    dx, dw_ih, dw_hh = np.zeros_like(x), np.zeros_like(w_ih), np.zeros_like(w_hh)
    db = np.zeros(4 * size)
    dh_next, dc_next = np.zeros((n, size)), np.zeros((n, size))
    for t in reversed(range(steps)):
        i, f, g, o, h_prev, c_prev, c, h = memory[t]
        dh = dout[:, t] + dh_next
        tanh_c = np.tanh(c)
        dc = dh * o * (1 - tanh_c**2) + dc_next
        do = dh * tanh_c * o * (1 - o)
        df = dc * c_prev * f * (1 - f)
        di = dc * g * i * (1 - i)
        dg = dc * i * (1 - g**2)
        dz = np.hstack([di, df, dg, do])
        dw_ih += dz.T @ x[:, t]
        dw_hh += dz.T @ h_prev
        db += dz.sum(axis=0)
        dx[:, t] = dz @ w_ih
        dh_next = dz @ w_hh
        dc_next = dc * f
    return dx, dw_ih, dw_hh, db


def candidate(params, x, tags):
    def weights(suffix):
        return [params["lstm." + kind + suffix] for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]

    rarity = np.array([0.5, 1.75])
    layer_input, caches = x, []
    for layer in ("_l0", "_l1"):
        ahead, cache_a = lstm_forward(layer_input, *weights(layer))
        back, cache_b = lstm_forward(layer_input[:, ::-1], *weights(layer + "_reverse"))
        layer_input = np.concatenate([ahead, back[:, ::-1]], axis=2)
        caches.append((cache_a, cache_b))
    scores = layer_input @ params["out.weight"].T + params["out.bias"]
    p = np.exp(scores - scores.max(axis=2, keepdims=True))
    p /= p.sum(axis=2, keepdims=True)
    used = tags >= 0
    y = np.where(used, tags, 0)
    importance = rarity[y] * used
    total = importance.sum()
    picked = np.take_along_axis(p, y[:, :, None], axis=2)[:, :, 0]
    loss = -np.sum(importance * np.log(picked)) / total

    grads = {}
    dscores = (p - np.eye(2)[y]) * importance[:, :, None] / total
    grads["out.weight"] = np.einsum("ntc,nth->ch", dscores, layer_input)
    grads["out.bias"] = dscores.sum(axis=(0, 1))
    dstates = dscores @ params["out.weight"]
    for layer, (cache_a, cache_b) in zip(("_l1", "_l0"), reversed(caches), strict=True):
        size = dstates.shape[2] // 2
        dx, dw_ih, dw_hh, db = lstm_backward(dstates[:, :, :size], cache_a)
        grads["lstm.weight_ih" + layer], grads["lstm.weight_hh" + layer] = dw_ih, dw_hh
        grads["lstm.bias_ih" + layer], grads["lstm.bias_hh" + layer] = db, db.copy()
        dx_r, dw_ih, dw_hh, db = lstm_backward(dstates[:, ::-1, size:], cache_b)
        layer = layer + "_reverse"
        grads["lstm.weight_ih" + layer], grads["lstm.weight_hh" + layer] = dw_ih, dw_hh
        grads["lstm.bias_ih" + layer], grads["lstm.bias_hh" + layer] = db, db.copy()
        dstates = dx + dx_r[:, ::-1]
    return loss, grads


def problem(rng):
    params = {}
    for layer, width in (("_l0", 4), ("_l1", 6)):
        for way in ("", "_reverse"):
            params["lstm.weight_ih" + layer + way] = rng.normal(size=(12, width)) * 0.7
            params["lstm.weight_hh" + layer + way] = rng.normal(size=(12, 3)) * 0.7
            params["lstm.bias_ih" + layer + way] = rng.normal(size=12) * 0.4
            params["lstm.bias_hh" + layer + way] = rng.normal(size=12) * 0.4
    params["out.weight"] = rng.normal(size=(2, 6))
    params["out.bias"] = rng.normal(size=2) * 0.3
    tags = rng.integers(0, 2, size=(5, 7))
    tags[rng.random(size=tags.shape) < 0.2] = -1
    tags[0, :3] = [0, 1, -1]
    return params, (rng.normal(size=(5, 7, 4)), tags)


WRONG = [
    wrong(
        "forget_gate_itself_for_its_slope",
        "different-function|missing-derivative",
        "df = dc * c_prev * f * (1 - f)",
        "df = dc * c_prev * f",
    ),
    wrong("cell_gradient_not_handed_back", "missing-path|truncated-in-time", "        dc_next = dc * f\n", ""),
    wrong("state_gradient_not_handed_back", "truncated-in-time|missing-path", "        dh_next = dz @ w_hh\n", ""),
    wrong(
        "cell_gradient_handed_back_ungated",
        "missing-derivative",
        "        dc_next = dc * f\n",
        "        dc_next = dc\n",
    ),
    wrong(
        "bias_of_the_output_gate_from_the_forget_gate",
        "wrong-operand",
        "db += dz.sum(axis=0)",
        "db += np.hstack([di, df, dg, df]).sum(axis=0)",
    ),
    wrong(
        "outputs_of_the_way_back_left_in_reading_order_in_both",
        "flipped|different-function",
        "layer_input = np.concatenate([ahead, back[:, ::-1]], axis=2)",
        "layer_input = np.concatenate([ahead, back], axis=2)",
        "lstm_backward(dstates[:, ::-1, size:], cache_b)",
        "lstm_backward(dstates[:, :, size:], cache_b)",
    ),
    wrong(
        "gradient_of_the_way_back_not_turned_round",
        "flipped",
        "lstm_backward(dstates[:, ::-1, size:], cache_b)",
        "lstm_backward(dstates[:, :, size:], cache_b)",
    ),
    wrong(
        "input_gradient_of_the_way_back_dropped",
        "missing-path|overwritten",
        "dstates = dx + dx_r[:, ::-1]",
        "dstates = dx",
    ),
    wrong(
        "cell_tanh_slope_at_the_cell",
        "derivative-at-wrong-point",
        "dc = dh * o * (1 - tanh_c**2) + dc_next",
        "dc = dh * o * (1 - c**2) + dc_next",
    ),
    wrong(
        "class_weights_only_in_the_cost",
        "missing-derivative|wrong-operand",
        "* importance[:, :, None] / total",
        "* used[:, :, None] / total",
    ),
    wrong(
        "mean_over_tags_not_over_weights",
        "wrong-scale",
        "importance[:, :, None] / total",
        "importance[:, :, None] / used.sum()",
    ),
    wrong("recurrent_weights_meet_the_new_state", "shifted-in-time", "dw_hh += dz.T @ h_prev", "dw_hh += dz.T @ h"),
]

TOGETHER = [
    ("forget_gate_itself_for_its_slope", "mean_over_tags_not_over_weights"),
    ("state_gradient_not_handed_back", "gradient_of_the_way_back_not_turned_round"),
    ("cell_tanh_slope_at_the_cell", "bias_of_the_output_gate_from_the_forget_gate"),
    ("input_gradient_of_the_way_back_dropped", "class_weights_only_in_the_cost"),
]

RIGHT = [
    right(
        "gates_gathered_before_one_product",
        "        dw_ih += dz.T @ x[:, t]\n        dw_hh += dz.T @ h_prev\n        db += dz.sum(axis=0)\n",
        "        joint = dz.T @ np.hstack([x[:, t], h_prev, np.ones((n, 1))])\n"
        "        dw_ih += joint[:, : x.shape[2]]\n"
        "        dw_hh += joint[:, x.shape[2] : -1]\n"
        "        db += joint[:, -1]\n",
        "    dscores = (p - np.eye(2)[y]) * importance[:, :, None] / total\n",
        "    dscores = p * importance[:, :, None]\n"
        "    for a in range(tags.shape[0]):\n"
        "        for b in range(tags.shape[1]):\n"
        "            dscores[a, b, y[a, b]] -= importance[a, b]\n"
        "    dscores /= total\n",
    ),
]
