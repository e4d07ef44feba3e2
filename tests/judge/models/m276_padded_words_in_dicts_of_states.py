"""A character model of words: a GRU, its states in dicts by time, padded targets, and a first state that is learned."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, words):
    h = params["h0"].expand(len(words), -1)
    total = 0
    lengths = (words[:, 1:] != 0).sum(dim=1)
    for t in range(words.shape[1] - 1):
        x = params["E"][words[:, t]]
        hx = torch.cat([h, x], dim=1)
        z = torch.sigmoid(hx @ params["Wz"].T + params["bz"])
        r = torch.sigmoid(hx @ params["Wr"].T + params["br"])
        c = torch.tanh(torch.cat([r * h, x], dim=1) @ params["Wc"].T + params["bc"])
        h = z * h + (1 - z) * c
        scores = h @ params["Wy"].T + params["by"]
        losses = F.cross_entropy(scores, words[:, t + 1], reduction="none")
        total = total + torch.where(words[:, t + 1] != 0, losses / lengths, torch.zeros_like(losses))
    return total.mean()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lossFun(inputs, targets, hprev, p):
    """
    inputs, targets are both lists of integers, 0 is padding.
    returns the loss and the gradients on the model parameters
    """
    H = len(hprev)
    hs, zs, rs, cs, ps, hxs, rhxs = {}, {}, {}, {}, {}, {}, {}
    hs[-1] = np.copy(hprev)
    length = np.count_nonzero(targets)
    loss = 0
    # forward pass
    for t in range(len(inputs)):
        x = p["E"][inputs[t]]
        hxs[t] = np.concatenate((hs[t - 1], x))
        zs[t] = sigmoid(np.dot(p["Wz"], hxs[t]) + p["bz"])
        rs[t] = sigmoid(np.dot(p["Wr"], hxs[t]) + p["br"])
        rhxs[t] = np.concatenate((rs[t] * hs[t - 1], x))
        cs[t] = np.tanh(np.dot(p["Wc"], rhxs[t]) + p["bc"])
        hs[t] = zs[t] * hs[t - 1] + (1 - zs[t]) * cs[t]
        ys = np.dot(p["Wy"], hs[t]) + p["by"]
        ps[t] = np.exp(ys) / np.sum(np.exp(ys))
        if targets[t] != 0:
            loss += -np.log(ps[t][targets[t]]) / length
    # backward pass: compute gradients going backwards
    d = {k: np.zeros_like(v) for k, v in p.items()}
    dhnext = np.zeros_like(hs[0])
    for t in reversed(range(len(inputs))):
        dy = np.copy(ps[t])
        dy[targets[t]] -= 1
        dy /= length
        if targets[t] == 0:
            dy[:] = 0
        d["Wy"] += np.outer(dy, hs[t])
        d["by"] += dy
        dh = np.dot(p["Wy"].T, dy) + dhnext
        dz = dh * (hs[t - 1] - cs[t])
        dc = dh * (1 - zs[t])
        dcraw = dc * (1 - cs[t] * cs[t])
        d["Wc"] += np.outer(dcraw, rhxs[t])
        d["bc"] += dcraw
        drhx = np.dot(p["Wc"].T, dcraw)
        dr = drhx[:H] * hs[t - 1]
        drraw = dr * rs[t] * (1 - rs[t])
        d["Wr"] += np.outer(drraw, hxs[t])
        d["br"] += drraw
        dzraw = dz * zs[t] * (1 - zs[t])
        d["Wz"] += np.outer(dzraw, hxs[t])
        d["bz"] += dzraw
        dhx = np.dot(p["Wz"].T, dzraw) + np.dot(p["Wr"].T, drraw)
        d["E"][inputs[t]] += dhx[H:] + drhx[H:]
        dhnext = dh * zs[t] + drhx[:H] * rs[t] + dhx[:H]
    d["h0"] = dhnext
    return loss, d


def candidate(params, words):
    N = len(words)
    loss = 0
    grads = {k: np.zeros_like(v) for k, v in params.items()}
    for word in words:
        one, d = lossFun(word[:-1], word[1:], params["h0"], params)
        loss += one / N
        for k in grads:
            grads[k] += d[k] / N
    return loss, grads


def problem(rng):
    vocabulary, embedded, hidden, steps = 8, 3, 4, 6
    params = {
        "E": rng.normal(size=(vocabulary, embedded)),
        "h0": rng.normal(size=hidden) * 0.7,
        "Wz": rng.normal(size=(hidden, hidden + embedded)) * 0.7,
        "bz": rng.normal(size=hidden) * 0.4,
        "Wr": rng.normal(size=(hidden, hidden + embedded)) * 0.7,
        "br": rng.normal(size=hidden) * 0.4,
        "Wc": rng.normal(size=(hidden, hidden + embedded)) * 0.8,
        "bc": rng.normal(size=hidden) * 0.4,
        "Wy": rng.normal(size=(vocabulary, hidden)),
        "by": rng.normal(size=vocabulary) * 0.3,
    }
    words = rng.integers(1, vocabulary, size=(5, steps + 1))
    for word, end in zip(words, (7, 5, 6, 4, 7), strict=True):
        word[end:] = 0
    return params, (words,)


WRONG = [
    wrong(
        "padding_blamed_backwards",
        "missing-derivative|different-function|wrong-operand|missing-path",
        "        if targets[t] == 0:\n            dy[:] = 0\n",
        "",
    ),
    wrong(
        "divided_by_all_the_steps_backwards",
        "wrong-operand|wrong-scale|wrong-reduction",
        "dy /= length",
        "dy /= len(inputs)",
    ),
    wrong(
        "embedding_assigned_at_each_step",
        "overwritten",
        'd["E"][inputs[t]] += dhx[H:] + drhx[H:]',
        'd["E"][inputs[t]] = dhx[H:] + drhx[H:]',
    ),
    wrong(
        "embedding_hears_the_gates_only",
        "missing-path",
        'd["E"][inputs[t]] += dhx[H:] + drhx[H:]',
        'd["E"][inputs[t]] += dhx[H:]',
    ),
    wrong(
        "kept_state_passes_nothing_back",
        "missing-path",
        "dhnext = dh * zs[t] + drhx[:H] * rs[t] + dhx[:H]",
        "dhnext = drhx[:H] * rs[t] + dhx[:H]",
    ),
    wrong(
        "reset_forgotten_on_the_way_back",
        "missing-derivative",
        "drhx[:H] * rs[t] + dhx[:H]",
        "drhx[:H] + dhx[:H]",
    ),
    wrong(
        "update_gate_the_other_way_round",
        "wrong-sign",
        "dz = dh * (hs[t - 1] - cs[t])",
        "dz = dh * (cs[t] - hs[t - 1])",
    ),
    wrong(
        "reset_gate_told_the_new_state",
        "shifted-in-time|wrong-operand",
        "dr = drhx[:H] * hs[t - 1]",
        "dr = drhx[:H] * hs[t]",
    ),
    wrong(
        "proposal_weights_told_the_state_before_reset",
        "wrong-operand|missing-derivative",
        'd["Wc"] += np.outer(dcraw, rhxs[t])',
        'd["Wc"] += np.outer(dcraw, hxs[t])',
    ),
    wrong(
        "proposal_without_its_slope",
        "missing-derivative",
        "dcraw = dc * (1 - cs[t] * cs[t])",
        "dcraw = dc",
    ),
    wrong(
        "reset_slope_of_the_update_gate",
        "wrong-operand|derivative-at-wrong-point",
        "drraw = dr * rs[t] * (1 - rs[t])",
        "drraw = dr * zs[t] * (1 - zs[t])",
    ),
    wrong(
        "first_state_told_the_second_one",
        "shifted-in-time|wrong-operand|truncated-in-time",
        'd["h0"] = dhnext',
        'd["h0"] = dh',
    ),
    wrong(
        "words_assigned_not_added",
        "overwritten|one-sample-only",
        "grads[k] += d[k] / N",
        "grads[k] = d[k] / N",
    ),
    wrong(
        "update_gate_lets_in_the_new_in_both",
        "wrong-operand|different-function|wrong-sign",
        "hs[t] = zs[t] * hs[t - 1] + (1 - zs[t]) * cs[t]",
        "hs[t] = (1 - zs[t]) * hs[t - 1] + zs[t] * cs[t]",
        "dz = dh * (hs[t - 1] - cs[t])",
        "dz = dh * (cs[t] - hs[t - 1])",
        "dc = dh * (1 - zs[t])",
        "dc = dh * zs[t]",
        "dhnext = dh * zs[t] +",
        "dhnext = dh * (1 - zs[t]) +",
    ),
]

TOGETHER = [
    ("padding_blamed_backwards", "embedding_hears_the_gates_only"),
    ("divided_by_all_the_steps_backwards", "proposal_without_its_slope"),
    ("embedding_assigned_at_each_step", "update_gate_the_other_way_round"),
    ("reset_gate_told_the_new_state", "reset_slope_of_the_update_gate"),
    ("proposal_weights_told_the_state_before_reset", "proposal_without_its_slope"),
    ("kept_state_passes_nothing_back", "reset_gate_told_the_new_state"),
    ("words_assigned_not_added", "update_gate_the_other_way_round"),
    ("first_state_told_the_second_one", "embedding_hears_the_gates_only"),
    ("embedding_assigned_at_each_step", "reset_forgotten_on_the_way_back", "update_gate_the_other_way_round"),
    ("padding_blamed_backwards", "proposal_weights_told_the_state_before_reset", "first_state_told_the_second_one"),
]

RIGHT = [
    right(
        "padding_skipped_and_gates_together",
        "        if targets[t] == 0:\n            dy[:] = 0\n",
        "        dy *= targets[t] != 0\n",
        '        dhx = np.dot(p["Wz"].T, dzraw) + np.dot(p["Wr"].T, drraw)\n',
        '        gates = np.concatenate((p["Wz"], p["Wr"]))\n'
        "        dhx = np.dot(gates.T, np.concatenate((dzraw, drraw)))\n",
        '        d["E"][inputs[t]] += dhx[H:] + drhx[H:]\n',
        '        np.add.at(d["E"], inputs[t], (dhx + drhx)[H:])\n',
    ),
    right(
        "state_gradient_added_up_piece_by_piece",
        "        dhnext = dh * zs[t] + drhx[:H] * rs[t] + dhx[:H]\n",
        "        dhnext = dhx[:H].copy()\n        dhnext += rs[t] * drhx[:H]\n        dhnext += dh - dc\n",
        "        dz = dh * (hs[t - 1] - cs[t])\n",
        "        dz = dh * hs[t - 1] - dh * cs[t]\n",
        "        loss += one / N\n",
        "        loss = loss + one / len(words)\n",
    ),
]
