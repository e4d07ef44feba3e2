"""A character language model: embedding, LSTM on [h, x] with one gate matrix, softmax at every step, padded ends."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, text, lengths, h0, c0):
    emb = F.embedding(text[:, :-1], params["embed"])
    h, c = h0, c0
    outputs = []
    for x in emb.unbind(dim=1):
        gates = F.linear(torch.cat([h, x], dim=1), params["W"], params["b"])
        i, f, g, o = gates.chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        outputs.append(F.linear(h, params["Wy"], params["by"]))
    logits = torch.stack(outputs, dim=1)
    steps = torch.arange(logits.shape[1])
    target = text[:, 1:].masked_fill(steps >= lengths.unsqueeze(1), -100)
    return F.cross_entropy(logits.flatten(0, 1), target.flatten())


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softmax(z):
    e = np.exp(z - np.max(z, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True)


def lstm_step(x, h_prev, c_prev, W, b):
    H = h_prev.shape[1]
    concat = np.hstack([h_prev, x])
    pre = concat @ W.T + b
    i, f = sigmoid(pre[:, :H]), sigmoid(pre[:, H : 2 * H])
    g, o = np.tanh(pre[:, 2 * H : 3 * H]), sigmoid(pre[:, 3 * H :])
    c = f * c_prev + i * g
    h = o * np.tanh(c)
    return h, c, (concat, c_prev, c, i, f, g, o)


def lstm_step_backward(dh, dc_next, cache, W):
    concat, c_prev, c, i, f, g, o = cache
    H = dh.shape[1]
    do = dh * np.tanh(c)
    dc = dc_next + dh * o * (1 - np.tanh(c) ** 2)
    di = dc * g
    df = dc * c_prev
    dg = dc * i
    di_pre = di * i * (1 - i)
    df_pre = df * f * (1 - f)
    dg_pre = dg * (1 - g**2)
    do_pre = do * o * (1 - o)
    dpre = np.hstack([di_pre, df_pre, dg_pre, do_pre])
    dW = dpre.T @ concat
    db = dpre.sum(axis=0)
    dconcat = dpre @ W
    dh_prev, dx = dconcat[:, :H], dconcat[:, H:]
    dc_prev = dc * f
    return dx, dh_prev, dc_prev, dW, db


def candidate(params, text, lengths, h0, c0):
    embed, W, b, Wy, by = (params[name] for name in ("embed", "W", "b", "Wy", "by"))
    inputs, targets = text[:, :-1], text[:, 1:]
    n, T = inputs.shape
    mask = (np.arange(T) < lengths[:, None]).astype(float)
    weight = mask / mask.sum()
    rows = np.arange(n)

    h, c = h0, c0
    hs, caches, probs = [h0], [], []
    total = 0.0
    for t in range(T):
        h, c, cache = lstm_step(embed[inputs[:, t]], h, c, W, b)
        p = softmax(h @ Wy.T + by)
        total += np.sum(-np.log(p[rows, targets[:, t]]) * weight[:, t])
        hs.append(h)
        caches.append(cache)
        probs.append(p)
    loss = total

    grads = {name: np.zeros_like(value) for name, value in params.items()}
    dh_next, dc_next = np.zeros_like(h0), np.zeros_like(c0)
    for t in reversed(range(T)):
        dy = probs[t].copy()
        dy[rows, targets[:, t]] -= 1
        dy *= weight[:, t : t + 1]
        grads["Wy"] += dy.T @ hs[t + 1]
        grads["by"] += dy.sum(axis=0)
        dh = dy @ Wy + dh_next
        dx, dh_next, dc_next, dW, db = lstm_step_backward(dh, dc_next, caches[t], W)
        grads["W"] += dW
        grads["b"] += db
        np.add.at(grads["embed"], inputs[:, t], dx)
    return loss, grads


def problem(rng):
    V, D, H = 9, 3, 4
    params = {
        "embed": rng.normal(size=(V, D)),
        "W": rng.normal(size=(4 * H, H + D)) * 0.8,
        "b": rng.normal(size=4 * H) * 0.5,
        "Wy": rng.normal(size=(V, H)) * 1.2,
        "by": rng.normal(size=V) * 0.4,
    }
    lengths = rng.permutation(np.array([5, 3, 4, 2, 5, 4, 3, 5]))
    text = rng.integers(1, V, size=(8, 6))
    text[np.arange(6) > lengths[:, None]] = 0
    return params, (text, lengths, rng.normal(size=(8, H)) * 0.7, rng.normal(size=(8, H)))


WRONG = [
    wrong(
        "cell_does_not_carry_its_gradient",
        "missing-path|truncated-in-time",
        "dc = dc_next + dh * o * (1 - np.tanh(c) ** 2)",
        "dc = dh * o * (1 - np.tanh(c) ** 2)",
    ),
    wrong(
        "hidden_state_does_not_carry_its_gradient",
        "missing-path|truncated-in-time",
        "dh = dy @ Wy + dh_next",
        "dh = dy @ Wy",
    ),
    wrong(
        "cell_slope_at_the_cell",
        "derivative-at-wrong-point",
        "dh * o * (1 - np.tanh(c) ** 2)",
        "dh * o * (1 - c**2)",
    ),
    wrong("forget_gate_told_the_new_cell", "shifted-in-time|wrong-operand", "df = dc * c_prev", "df = dc * c"),
    wrong(
        "cell_carried_past_the_forget_gate",
        "missing-derivative|different-function|wrong-operand",
        "dc_prev = dc * f",
        "dc_prev = dc",
    ),
    wrong(
        "sigmoid_slope_for_the_new_memory",
        "different-function|derivative-at-wrong-point|wrong-operand",
        "dg_pre = dg * (1 - g**2)",
        "dg_pre = dg * g * (1 - g)",
    ),
    wrong(
        "gates_stacked_in_another_order",
        "wrong-operand",
        "np.hstack([di_pre, df_pre, dg_pre, do_pre])",
        "np.hstack([di_pre, df_pre, do_pre, dg_pre])",
    ),
    wrong(
        "join_taken_apart_the_other_way_round",
        "wrong-operand",
        "dh_prev, dx = dconcat[:, :H], dconcat[:, H:]",
        "dh_prev, dx = dconcat[:, -H:], dconcat[:, :-H]",
    ),
    wrong("gate_matrix_assigned", "last-step-only|overwritten", 'grads["W"] += dW', 'grads["W"] = dW'),
    wrong(
        "repeated_characters_overwrite",
        "overwritten",
        'np.add.at(grads["embed"], inputs[:, t], dx)',
        'grads["embed"][inputs[:, t]] += dx',
    ),
    wrong(
        "head_told_the_state_before",
        "shifted-in-time|wrong-operand",
        "dy.T @ hs[t + 1]",
        "dy.T @ hs[t]",
    ),
    wrong(
        "padding_in_the_gradient",
        "missing-derivative|wrong-operand|different-function",
        "dy *= weight[:, t : t + 1]",
        "dy /= mask.sum()",
    ),
    wrong(
        "gradient_per_sequence",
        "wrong-scale|wrong-reduction",
        "dy *= weight[:, t : t + 1]",
        "dy *= mask[:, t : t + 1] / n",
    ),
    wrong(
        "sequences_averaged_first_in_both",
        "wrong-reduction|wrong-axis|different-function|wrong-operand",
        "weight = mask / mask.sum()",
        "weight = mask / mask.sum(axis=1, keepdims=True) / n",
    ),
    wrong(
        "cell_not_squashed_in_both",
        "different-function|missing-derivative",
        "h = o * np.tanh(c)",
        "h = o * c",
        "do = dh * np.tanh(c)",
        "do = dh * c",
        "dc = dc_next + dh * o * (1 - np.tanh(c) ** 2)",
        "dc = dc_next + dh * o",
    ),
    wrong("summed_over_steps_in_cost", "wrong-loss", "loss = total\n", "loss = total * mask.sum() / n\n"),
]

TOGETHER = [
    ("cell_slope_at_the_cell", "gates_stacked_in_another_order"),
    ("forget_gate_told_the_new_cell", "gate_matrix_assigned"),
    ("hidden_state_does_not_carry_its_gradient", "sigmoid_slope_for_the_new_memory"),
    ("head_told_the_state_before", "join_taken_apart_the_other_way_round"),
    ("gradient_per_sequence", "cell_does_not_carry_its_gradient"),
    ("cell_not_squashed_in_both", "repeated_characters_overwrite"),
    ("head_told_the_state_before", "cell_slope_at_the_cell", "repeated_characters_overwrite"),
    ("padding_in_the_gradient", "cell_carried_past_the_forget_gate", "sigmoid_slope_for_the_new_memory"),
]

RIGHT = [
    right(
        "two_parts_of_the_gate_matrix",
        "    concat = np.hstack([h_prev, x])\n    pre = concat @ W.T + b\n",
        "    concat = np.hstack([h_prev, x])\n    pre = h_prev @ W[:, :H].T + x @ W[:, H:].T + b\n",
        "    dW = dpre.T @ concat\n",
        "    dW = np.hstack([dpre.T @ concat[:, :H], dpre.T @ concat[:, H:]])\n",
        "    dconcat = dpre @ W\n    dh_prev, dx = dconcat[:, :H], dconcat[:, H:]\n",
        "    dh_prev, dx = dpre @ W[:, :H], dpre @ W[:, H:]\n",
    ),
    right(
        "head_after_the_loop",
        '        grads["Wy"] += dy.T @ hs[t + 1]\n        grads["by"] += dy.sum(axis=0)\n',
        "        dys[t] = dy\n",
        "    for t in reversed(range(T)):\n",
        "    dys = np.empty((T, n, len(by)))\n    for t in reversed(range(T)):\n",
        "    return loss, grads\n",
        '    grads["Wy"] = np.tensordot(dys, np.stack(hs[1:]), axes=((0, 1), (0, 1)))\n'
        '    grads["by"] = np.einsum("tnv->v", dys)\n'
        "    return loss, grads\n",
    ),
    right(
        "one_hot_characters",
        '        np.add.at(grads["embed"], inputs[:, t], dx)\n',
        '        grads["embed"] += np.eye(len(embed))[inputs[:, t]].T @ dx\n',
        "        dy = probs[t].copy()\n        dy[rows, targets[:, t]] -= 1\n",
        "        dy = probs[t] - (targets[:, t, None] == np.arange(len(by)))\n",
        "    return 1 / (1 + np.exp(-z))\n",
        "    return 0.5 * (1 + np.tanh(0.5 * z))\n",
        "    di_pre = di * i * (1 - i)\n",
        "    di_pre = di * (i - i**2)\n",
    ),
]
