"""A recurrent cell of our own: coupled gates, layer norm inside, a gated skip of the input, zoneout, a tied output."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, tokens, targets, zone, mask):
    E = params["E"]
    x = F.embedding(tokens, E)
    h = torch.zeros_like(x[:, 0])
    states = []
    for t in range(tokens.shape[1]):
        x_t = x[:, t]
        i = torch.sigmoid(x_t @ params["Wi"] + h @ params["Ui"] + params["bi"])
        pre = x_t @ params["Wc"] + h @ params["Uc"]
        candidate_state = torch.tanh(F.layer_norm(pre, pre.shape[1:], params["gain"], params["shift"], eps=1e-5))
        inner = torch.lerp(h, candidate_state, i)
        carry = torch.sigmoid(F.linear(x_t, params["Ws"].T, params["bs"]))
        outer = torch.lerp(x_t, inner, carry)
        h = zone[:, t] * h + (1 - zone[:, t]) * outer
        states.append(h)
    logits = torch.stack(states, dim=1) @ E.T + params["bo"]
    each = F.cross_entropy(logits.transpose(1, 2), targets, reduction="none", label_smoothing=0.15)
    return (each * mask).sum() / mask.sum()


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def normalise(a):
    mean = a.mean(axis=1, keepdims=True)
    rstd = 1 / np.sqrt(((a - mean) ** 2).mean(axis=1, keepdims=True) + 1e-5)
    return (a - mean) * rstd, rstd


def normalise_backward(dnormed, normed, rstd):
    centre = dnormed.mean(axis=1, keepdims=True)
    along = (dnormed * normed).mean(axis=1, keepdims=True)
    return rstd * (dnormed - centre - normed * along)


def cell(p, x, h, zone):
    i = sigmoid(x @ p["Wi"] + h @ p["Ui"] + p["bi"])
    normed, rstd = normalise(x @ p["Wc"] + h @ p["Uc"])
    u = p["gain"] * normed + p["shift"]
    c = np.tanh(u)
    inner = (1 - i) * h + i * c
    s = sigmoid(x @ p["Ws"] + p["bs"])
    outer = s * inner + (1 - s) * x
    h_new = zone * h + (1 - zone) * outer
    return h_new, (x, h, zone, i, normed, rstd, c, inner, s)


def cell_backward(p, dh_new, cache, grads):
    """Adds to the gradients of the cell's weights; returns those of the input and of the state before."""
    x, h, zone, i, normed, rstd, c, inner, s = cache
    # zoneout
    dh = dh_new * zone
    douter = dh_new * (1 - zone)
    # highway
    dinner = douter * s
    dx = douter * (1 - s)
    dzs = douter * (inner - x) * s * (1 - s)
    grads["Ws"] += x.T @ dzs
    grads["bs"] += dzs.sum(axis=0)
    dx = dx + dzs @ p["Ws"].T
    # coupled gates
    dh = dh + dinner * (1 - i)
    dc = dinner * i
    dzi = dinner * (c - h) * i * (1 - i)
    grads["Wi"] += x.T @ dzi
    grads["Ui"] += h.T @ dzi
    grads["bi"] += dzi.sum(axis=0)
    # candidate
    du = dc * (1 - c**2)
    grads["gain"] += (du * normed).sum(axis=0)
    grads["shift"] += du.sum(axis=0)
    da = normalise_backward(du * p["gain"], normed, rstd)
    grads["Wc"] += x.T @ da
    grads["Uc"] += h.T @ da
    dx = dx + dzi @ p["Wi"].T + da @ p["Wc"].T
    dh = dh + dzi @ p["Ui"].T + da @ p["Uc"].T
    return dx, dh


def candidate(params, tokens, targets, zone, mask, eps=0.15):
    E, bo = params["E"], params["bo"]
    n, steps = tokens.shape
    words, width = E.shape
    count = mask.sum()

    h = np.zeros((n, width))
    states, caches, chances = [], [], []
    total = 0.0
    smooth = (1 - eps) * np.eye(words) + eps / words
    for t in range(steps):
        h, cache = cell(params, E[tokens[:, t]], h, zone[:, t])
        logits = h @ E.T + bo
        logits = logits - logits.max(axis=1, keepdims=True)
        logp = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        total -= np.sum(mask[:, t, None] * smooth[targets[:, t]] * logp)
        states.append(h)
        caches.append(cache)
        chances.append(np.exp(logp))
    loss = total / count

    grads = {name: np.zeros_like(value) for name, value in params.items()}
    dh_next = np.zeros((n, width))
    for t in range(steps - 1, -1, -1):
        goal = smooth[targets[:, t]]
        dlogits = (chances[t] - goal) * mask[:, t, None] / count
        grads["E"] += dlogits.T @ states[t]
        grads["bo"] += dlogits.sum(axis=0)
        dh = dh_next + dlogits @ E
        dx, dh_next = cell_backward(params, dh, caches[t], grads)
        np.add.at(grads["E"], tokens[:, t], dx)
    return loss, grads


def problem(rng):
    width, words, n, steps = 4, 7, 5, 6
    params = {"E": rng.normal(size=(words, width)) * 0.9}
    for name in ("Wi", "Ui", "Wc", "Uc", "Ws"):
        params[name] = rng.normal(size=(width, width)) * 0.8
    for name, size in [("bi", width), ("bs", width), ("shift", width), ("bo", words)]:
        params[name] = rng.normal(size=size) * 0.4
    params["gain"] = 1 + rng.normal(size=width) * 0.3
    lengths = np.array([6, 4, 5, 3, 6])
    mask = (np.arange(steps) < lengths[:, None]).astype(float)
    zone = (rng.random(size=(n, steps, width)) < 0.3).astype(float)
    return params, (rng.integers(0, words, size=(n, steps)), rng.integers(0, words, size=(n, steps)), zone, mask)


WRONG = [
    wrong(
        "kept_units_pass_nothing_back",
        "missing-path",
        "    dh = dh_new * zone\n",
        "    dh = np.zeros_like(dh_new)\n",
    ),
    wrong(
        "zoneout_ignored_on_the_way_to_the_cell",
        "missing-derivative|missing-path|wrong-operand",
        "douter = dh_new * (1 - zone)",
        "douter = dh_new",
    ),
    wrong(
        "layer_norm_only_divided_by_its_deviation",
        "diagonal-jacobian|missing-path",
        "return rstd * (dnormed - centre - normed * along)",
        "return rstd * dnormed",
    ),
    wrong(
        "layer_norm_over_the_batch_in_both",
        "wrong-axis",
        "    mean = a.mean(axis=1, keepdims=True)\n"
        "    rstd = 1 / np.sqrt(((a - mean) ** 2).mean(axis=1, keepdims=True) + 1e-5)\n",
        "    mean = a.mean(axis=0, keepdims=True)\n"
        "    rstd = 1 / np.sqrt(((a - mean) ** 2).mean(axis=0, keepdims=True) + 1e-5)\n",
        "    centre = dnormed.mean(axis=1, keepdims=True)\n"
        "    along = (dnormed * normed).mean(axis=1, keepdims=True)\n",
        "    centre = dnormed.mean(axis=0, keepdims=True)\n"
        "    along = (dnormed * normed).mean(axis=0, keepdims=True)\n",
    ),
    wrong(
        "tied_weight_learns_as_input_only",
        "missing-path",
        '        grads["E"] += dlogits.T @ states[t]\n',
        "",
    ),
    wrong(
        "repeated_words_overwrite",
        "overwritten",
        'np.add.at(grads["E"], tokens[:, t], dx)',
        'grads["E"][tokens[:, t]] += dx',
    ),
    wrong(
        "input_gate_not_felt_by_the_old_state",
        "missing-path|wrong-operand",
        "dzi = dinner * (c - h) * i * (1 - i)",
        "dzi = dinner * c * i * (1 - i)",
    ),
    wrong(
        "skip_passes_nothing_to_the_embedding",
        "missing-path",
        'dx = dx + dzs @ p["Ws"].T',
        'dx = dzs @ p["Ws"].T',
    ),
    wrong(
        "skip_gate_the_other_way_round",
        "wrong-sign",
        "dzs = douter * (inner - x) * s",
        "dzs = douter * (x - inner) * s",
    ),
    wrong(
        "candidate_matrix_with_the_gated_state",
        "wrong-operand|shifted-in-time",
        'grads["Uc"] += h.T @ da',
        'grads["Uc"] += inner.T @ da',
    ),
    wrong(
        "output_paired_with_the_state_before",
        "shifted-in-time|wrong-operand",
        'grads["E"] += dlogits.T @ states[t]',
        'grads["E"] += dlogits.T @ caches[t][1]',
    ),
    wrong(
        "padded_steps_push_too",
        "missing-derivative|wrong-operand",
        "(chances[t] - goal) * mask[:, t, None] / count",
        "(chances[t] - goal) / count",
    ),
    wrong(
        "hard_targets_backwards",
        "wrong-operand|different-function",
        "goal = smooth[targets[:, t]]",
        "goal = np.eye(words)[targets[:, t]]",
    ),
    wrong(
        "candidate_route_to_the_state_not_transposed",
        "not-transposed",
        'da @ p["Uc"].T',
        'da @ p["Uc"]',
    ),
    wrong(
        "gate_bias_of_one_step",
        "overwritten|last-step-only",
        'grads["bi"] += dzi.sum(axis=0)',
        'grads["bi"] = dzi.sum(axis=0)',
    ),
    wrong(
        "padding_counted_in_cost",
        "wrong-loss",
        "loss = total / count",
        "loss = total / mask.size",
    ),
]

TOGETHER = [
    ("kept_units_pass_nothing_back", "repeated_words_overwrite"),
    ("layer_norm_only_divided_by_its_deviation", "hard_targets_backwards"),
    ("tied_weight_learns_as_input_only", "skip_gate_the_other_way_round"),
    ("input_gate_not_felt_by_the_old_state", "gate_bias_of_one_step"),
    ("candidate_matrix_with_the_gated_state", "zoneout_ignored_on_the_way_to_the_cell"),
    ("output_paired_with_the_state_before", "skip_passes_nothing_to_the_embedding"),
    ("padded_steps_push_too", "candidate_route_to_the_state_not_transposed", "gate_bias_of_one_step"),
    ("repeated_words_overwrite", "skip_gate_the_other_way_round", "layer_norm_only_divided_by_its_deviation"),
]

RIGHT = [
    right(
        "outputs_after_the_loop",
        '        grads["E"] += dlogits.T @ states[t]\n        grads["bo"] += dlogits.sum(axis=0)\n',
        "        pushes[:, t] = dlogits\n",
        "    dh_next = np.zeros((n, width))\n",
        "    dh_next = np.zeros((n, width))\n    pushes = np.empty((n, steps, words))\n",
        '        np.add.at(grads["E"], tokens[:, t], dx)\n',
        '        for sample, word in enumerate(tokens[:, t]):\n            grads["E"][word] += dx[sample]\n'
        '    grads["E"] += np.einsum("ntv,nth->vh", pushes, np.stack(states, axis=1))\n'
        '    grads["bo"] += pushes.sum(axis=(0, 1))\n',
    ),
    right(
        "matrices_of_gate_and_candidate_stacked",
        '    grads["Wi"] += x.T @ dzi\n    grads["Ui"] += h.T @ dzi\n',
        "",
        '    grads["Wc"] += x.T @ da\n'
        '    grads["Uc"] += h.T @ da\n'
        '    dx = dx + dzi @ p["Wi"].T + da @ p["Wc"].T\n'
        '    dh = dh + dzi @ p["Ui"].T + da @ p["Uc"].T\n',
        "    pre = np.hstack([dzi, da])\n"
        "    joint = np.hstack([x, h]).T @ pre\n"
        '    matrix = np.block([[p["Wi"], p["Wc"]], [p["Ui"], p["Uc"]]])\n'
        "    width = x.shape[1]\n"
        '    for name, block in zip(("Wi", "Ui"), np.split(joint[:, :width], 2), strict=True):\n'
        "        grads[name] += block\n"
        '    for name, block in zip(("Wc", "Uc"), np.split(joint[:, width:], 2), strict=True):\n'
        "        grads[name] += block\n"
        "    back = pre @ matrix.T\n"
        "    dx = dx + back[:, :width]\n"
        "    dh = dh + back[:, width:]\n",
    ),
    right(
        "zoned_units_chosen_by_where",
        "h_new = zone * h + (1 - zone) * outer",
        "h_new = np.where(zone > 0, h, outer)",
        "    dh = dh_new * zone\n    douter = dh_new * (1 - zone)\n",
        "    dh = np.where(zone > 0, dh_new, 0.0)\n    douter = dh_new - dh\n",
        "return rstd * (dnormed - centre - normed * along)",
        "return (dnormed - centre) * rstd - rstd * along * normed",
        "outer = s * inner + (1 - s) * x",
        "outer = x + s * (inner - x)",
    ),
]
