"""Phrases from a context: a GRU whose reset gate acts after the product, fed with the true word before, one by one."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, context, words, mask):
    h = torch.tanh(context @ params["W0"].T + params["b0"])
    losses = []
    for t in range(words.shape[1] - 1):
        x = params["E"][words[:, t]]
        ir, iz, ic = (x @ params["Wi"].T + params["bi"]).chunk(3, dim=1)
        hr, hz, hc = (h @ params["Wh"].T + params["bh"]).chunk(3, dim=1)
        r = torch.sigmoid(ir + hr)
        z = torch.sigmoid(iz + hz)
        c = torch.tanh(ic + r * hc)
        h = (1 - z) * c + z * h
        logits = h @ params["Wy"].T + params["by"]
        losses.append(F.cross_entropy(logits, words[:, t + 1], reduction="none"))
    return (torch.stack(losses, dim=1) * mask).sum() / mask.sum()


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def decode(p, context, words):
    """Runs over one phrase. hs[t] is the state before word t is read."""
    H = p["b0"].size
    hs = [np.tanh(np.dot(p["W0"], context) + p["b0"])]
    steps = []
    for t in range(len(words) - 1):
        x = p["E"][words[t]]
        gi = np.dot(p["Wi"], x) + p["bi"]
        gh = np.dot(p["Wh"], hs[t]) + p["bh"]
        r = sigmoid(gi[:H] + gh[:H])
        z = sigmoid(gi[H : 2 * H] + gh[H : 2 * H])
        hc = gh[2 * H :]
        c = np.tanh(gi[2 * H :] + r * hc)
        hs.append((1 - z) * c + z * hs[t])
        logits = np.dot(p["Wy"], hs[t + 1]) + p["by"]
        e = np.exp(logits - np.max(logits))
        steps.append((x, r, z, c, hc, e / e.sum()))
    return hs, steps


def backprop(p, g, context, words, mask, count, hs, steps):
    dh = np.zeros_like(p["b0"])
    for t in reversed(range(len(steps))):
        x, r, z, c, hc, prob = steps[t]
        dy = prob.copy()
        dy[words[t + 1]] -= 1
        dy *= mask[t] / count
        g["Wy"] += np.outer(dy, hs[t + 1])
        g["by"] += dy
        dh += np.dot(p["Wy"].T, dy)

        dz = dh * (hs[t] - c) * z * (1 - z)
        dc = dh * (1 - z) * (1 - c**2)
        dr = dc * hc * r * (1 - r)
        dgi = np.concatenate([dr, dz, dc])
        dgh = np.concatenate([dr, dz, dc * r])
        g["Wi"] += np.outer(dgi, x)
        g["bi"] += dgi
        g["Wh"] += np.outer(dgh, hs[t])
        g["bh"] += dgh
        g["E"][words[t]] += np.dot(p["Wi"].T, dgi)
        dh = dh * z + np.dot(p["Wh"].T, dgh)

    da = dh * (1 - hs[0] ** 2)
    g["W0"] += np.outer(da, context)
    g["b0"] += da


def candidate(params, context, words, mask):
    grads = {name: np.zeros_like(value) for name, value in params.items()}
    count = np.sum(mask)
    total = 0.0
    for i in range(len(words)):
        hs, steps = decode(params, context[i], words[i])
        for t in range(len(steps)):
            total -= mask[i, t] * np.log(steps[t][-1][words[i, t + 1]])
        backprop(params, grads, context[i], words[i], mask[i], count, hs, steps)
    loss = total / count
    return loss, grads


def problem(rng):
    n, T, vocabulary, width, hidden, inputs = 4, 4, 7, 3, 5, 3
    params = {
        "W0": rng.normal(size=(hidden, inputs)),
        "b0": rng.normal(size=hidden) * 0.4,
        "E": rng.normal(size=(vocabulary, width)),
        "Wi": rng.normal(size=(3 * hidden, width)) * 0.8,
        "bi": rng.normal(size=3 * hidden) * 0.4,
        "Wh": rng.normal(size=(3 * hidden, hidden)) * 0.8,
        "bh": rng.normal(size=3 * hidden) * 0.4,
        "Wy": rng.normal(size=(vocabulary, hidden)),
        "by": rng.normal(size=vocabulary) * 0.3,
    }
    lengths = rng.permutation([2, 3, 4, 4])
    mask = (np.arange(T) < lengths[:, None]).astype(float)
    words = rng.integers(1, vocabulary, size=(n, T + 1))
    words[:, 0] = 0
    words[:, 2] = words[:, 1]  # some words are read twice in one phrase
    return params, (rng.normal(size=(n, inputs)), words, mask)


WRONG = [
    wrong(
        "later_steps_not_added",
        "overwritten|truncated-in-time|missing-path",
        'dh += np.dot(p["Wy"].T, dy)',
        'dh = np.dot(p["Wy"].T, dy)',
    ),
    wrong(
        "reset_gate_forgotten_before_the_product",
        "missing-derivative|wrong-operand",
        "dgh = np.concatenate([dr, dz, dc * r])",
        "dgh = np.concatenate([dr, dz, dc])",
    ),
    wrong(
        "reset_gate_slope_with_the_bare_state",
        "wrong-operand",
        "dr = dc * hc * r * (1 - r)",
        "dr = dc * hs[t] * r * (1 - r)",
    ),
    wrong(
        "recurrent_weights_with_the_state_after",
        "shifted-in-time",
        'g["Wh"] += np.outer(dgh, hs[t])',
        'g["Wh"] += np.outer(dgh, hs[t + 1])',
    ),
    wrong("update_gate_the_other_way_round", "wrong-sign", "dz = dh * (hs[t] - c)", "dz = dh * (c - hs[t])"),
    wrong(
        "kept_state_not_followed",
        "missing-path",
        'dh = dh * z + np.dot(p["Wh"].T, dgh)',
        'dh = np.dot(p["Wh"].T, dgh)',
    ),
    wrong(
        "proposal_slope_like_a_gates",
        "different-function",
        "dc = dh * (1 - z) * (1 - c**2)",
        "dc = dh * (1 - z) * c * (1 - c)",
    ),
    wrong(
        "word_read_again_overwrites",
        "overwritten",
        '        g["E"][words[t]] += np.dot(',
        '        g["E"][words[t]] = np.dot(',
    ),
    wrong(
        "mask_forgotten_backwards",
        "missing-derivative|wrong-operand",
        "dy *= mask[t] / count",
        "dy *= 1 / count",
    ),
    wrong(
        "gate_keeps_the_proposal_in_both",
        "different-function|wrong-operand",
        "hs.append((1 - z) * c + z * hs[t])",
        "hs.append(z * c + (1 - z) * hs[t])",
        "dz = dh * (hs[t] - c) * z",
        "dz = dh * (c - hs[t]) * z",
        "dc = dh * (1 - z) * (",
        "dc = dh * z * (",
        "dh = dh * z + ",
        "dh = dh * (1 - z) + ",
    ),
    wrong(
        "word_read_is_the_word_asked_in_both",
        "shifted-in-time|wrong-operand|different-function",
        "dy[words[t + 1]] -= 1",
        "dy[words[t]] -= 1",
        "steps[t][-1][words[i, t + 1]]",
        "steps[t][-1][words[i, t]]",
    ),
    wrong(
        "padding_counted_in_both",
        "wrong-scale|wrong-reduction|different-function",
        "count = np.sum(mask)",
        "count = mask.size",
    ),
    wrong("first_state_without_its_slope", "missing-derivative", "da = dh * (1 - hs[0] ** 2)", "da = dh"),
    wrong(
        "summed_over_the_steps_in_cost",
        "wrong-loss",
        "loss = total / count",
        "loss = total / len(words)",
    ),
]

TOGETHER = [
    ("later_steps_not_added", "reset_gate_forgotten_before_the_product"),
    ("reset_gate_slope_with_the_bare_state", "first_state_without_its_slope"),
    ("recurrent_weights_with_the_state_after", "update_gate_the_other_way_round"),
    ("kept_state_not_followed", "word_read_again_overwrites"),
    ("proposal_slope_like_a_gates", "mask_forgotten_backwards"),
    ("gate_keeps_the_proposal_in_both", "first_state_without_its_slope"),
    ("padding_counted_in_both", "recurrent_weights_with_the_state_after"),
    ("reset_gate_forgotten_before_the_product", "summed_over_the_steps_in_cost"),
    ("word_read_again_overwrites", "recurrent_weights_with_the_state_after", "first_state_without_its_slope"),
    ("reset_gate_slope_with_the_bare_state", "kept_state_not_followed", "summed_over_the_steps_in_cost"),
]

RIGHT = [
    right(
        "gate_by_gate",
        '        g["Wi"] += np.outer(dgi, x)\n'
        '        g["bi"] += dgi\n'
        '        g["Wh"] += np.outer(dgh, hs[t])\n'
        '        g["bh"] += dgh\n',
        "        for k in range(3):\n"
        "            rows = slice(k * len(r), (k + 1) * len(r))\n"
        '            g["Wi"][rows] += dgi[rows, None] * x[None, :]\n'
        '            g["bi"][rows] += dgi[rows]\n'
        '            g["Wh"][rows] += dgh[rows, None] * hs[t][None, :]\n'
        '            g["bh"][rows] += dgh[rows]\n',
    ),
    right(
        "steps_that_do_not_count_left_out",
        'dh = np.zeros_like(p["b0"])\n    for t in reversed(range(len(steps))):\n',
        'dh = np.zeros_like(p["b0"])\n    for t in range(int(mask.sum()) - 1, -1, -1):\n',
        "dy *= mask[t] / count",
        "dy /= count",
    ),
]
