"""A word-level LSTM language model, the next word told at every step by weights that are the embedding table itself."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, words, first_h, first_c):
    table = params["E"]
    h, c = first_h, first_c
    logits = []
    for word in words[:, :-1].unbind(dim=1):
        gates = F.linear(F.embedding(word, table), params["W"], params["b"]) + F.linear(h, params["U"])
        i, f, o, g = gates.chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        logits.append(F.linear(h @ params["P"], table, params["d"]))
    return F.cross_entropy(torch.stack(logits, dim=1).flatten(0, 1), words[:, 1:].flatten())


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def softmax(a):
    e = np.exp(a - a.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def cell(params, x, h, c):
    z = x @ params["W"].T + h @ params["U"].T + params["b"]
    i, f, o, g = np.split(z, 4, axis=1)
    i, f, o, g = sigmoid(i), sigmoid(f), sigmoid(o), np.tanh(g)
    new_c = f * c + i * g
    new_h = o * np.tanh(new_c)
    return new_h, new_c, (i, f, o, g)


def candidate(params, words, first_h, first_c):
    E, U, P = params["E"], params["U"], params["P"]
    inputs, targets = words[:, :-1], words[:, 1:]
    n, T = inputs.shape
    batch = np.arange(n)
    hs, cs, gates, probs, nll = [first_h], [first_c], [], [], 0.0
    for t in range(T):
        h, c, gate = cell(params, E[inputs[:, t]], hs[t], cs[t])
        hs.append(h)
        cs.append(c)
        gates.append(gate)
        probs.append(softmax(h @ P @ E.T + params["d"]))
        nll -= np.log(probs[t][batch, targets[:, t]]).sum()
    loss = nll / (n * T)

    grads = {name: np.zeros_like(value) for name, value in params.items()}
    dh_next, dc_next = np.zeros_like(first_h), np.zeros_like(first_c)
    for t in reversed(range(T)):
        i, f, o, g = gates[t]
        dlogits = probs[t].copy()
        dlogits[batch, targets[:, t]] -= 1
        dlogits /= n * T
        grads["d"] += dlogits.sum(axis=0)
        grads["E"] += dlogits.T @ (hs[t + 1] @ P)
        dprojected = dlogits @ E
        grads["P"] += hs[t + 1].T @ dprojected
        dh = dprojected @ P.T + dh_next
        tanh_c = np.tanh(cs[t + 1])
        do = dh * tanh_c
        dc = dh * o * (1 - tanh_c**2) + dc_next
        df = dc * cs[t]
        di = dc * g
        dg = dc * i
        dz = np.hstack([di * i * (1 - i), df * f * (1 - f), do * o * (1 - o), dg * (1 - g**2)])
        grads["W"] += dz.T @ E[inputs[:, t]]
        grads["U"] += dz.T @ hs[t]
        grads["b"] += dz.sum(axis=0)
        np.add.at(grads["E"], inputs[:, t], dz @ params["W"])
        dh_next = dz @ U
        dc_next = dc * f
    return loss, grads


def problem(rng):
    params = {
        "E": rng.normal(size=(9, 3)),
        "W": rng.normal(size=(20, 3)) * 0.7,
        "U": rng.normal(size=(20, 5)) * 0.6,
        "b": rng.normal(size=20) * 0.5,
        "P": rng.normal(size=(5, 3)) * 0.9,
        "d": rng.normal(size=9) * 0.4,
    }
    return params, (rng.integers(0, 9, size=(6, 8)), rng.normal(size=(6, 5)) * 0.6, rng.normal(size=(6, 5)))


WRONG = [
    wrong(
        "repeated_words_overwritten",
        "overwritten",
        'np.add.at(grads["E"], inputs[:, t], dz @ params["W"])',
        'grads["E"][inputs[:, t]] += dz @ params["W"]',
    ),
    wrong(
        "table_as_input_forgotten",
        "missing-path",
        '        np.add.at(grads["E"], inputs[:, t], dz @ params["W"])\n',
        "",
    ),
    wrong("table_as_output_forgotten", "missing-path", '        grads["E"] += dlogits.T @ (hs[t + 1] @ P)\n', ""),
    wrong(
        "cell_not_carried_back",
        "missing-path|truncated-in-time",
        "* (1 - tanh_c**2) + dc_next",
        "* (1 - tanh_c**2)",
    ),
    wrong(
        "state_not_carried_back",
        "missing-path|truncated-in-time",
        "dh = dprojected @ P.T + dh_next",
        "dh = dprojected @ P.T",
    ),
    wrong("forget_gate_not_on_the_carry", "missing-derivative", "dc_next = dc * f", "dc_next = dc"),
    wrong("new_cell_for_the_forget_gate", "shifted-in-time", "df = dc * cs[t]", "df = dc * cs[t + 1]"),
    wrong("new_state_in_U", "shifted-in-time", 'grads["U"] += dz.T @ hs[t]', 'grads["U"] += dz.T @ hs[t + 1]'),
    wrong("old_state_in_P", "shifted-in-time", 'grads["P"] += hs[t + 1].T', 'grads["P"] += hs[t].T'),
    wrong(
        "tanh_slope_of_the_cell",
        "derivative-at-wrong-point",
        "dc = dh * o * (1 - tanh_c**2)",
        "dc = dh * o * (1 - cs[t + 1] ** 2)",
    ),
    wrong(
        "output_gate_forgotten",
        "missing-derivative",
        "dc = dh * o * (1 - tanh_c**2)",
        "dc = dh * (1 - tanh_c**2)",
    ),
    wrong("forget_gate_slope_forgotten", "missing-derivative", "df * f * (1 - f)", "df"),
    wrong(
        "candidate_slope_at_the_output",
        "derivative-at-wrong-point",
        "dg * (1 - g**2)",
        "dg * (1 - np.tanh(g) ** 2)",
    ),
    wrong(
        "factors_of_the_input_swapped",
        "wrong-operand",
        "di = dc * g\n        dg = dc * i",
        "di = dc * i\n        dg = dc * g",
    ),
    wrong(
        "input_and_forget_gates_exchanged",
        "wrong-operand",
        "[di * i * (1 - i), df * f * (1 - f), do",
        "[df * f * (1 - f), di * i * (1 - i), do",
    ),
    wrong("averaged_over_sentences_only", "wrong-scale|wrong-reduction", "dlogits /= n * T", "dlogits /= n"),
    wrong("U_assigned", "overwritten|last-step-only", 'grads["U"] += dz', 'grads["U"] = dz'),
    wrong(
        "same_word_predicted_in_both",
        "shifted-in-time|wrong-operand",
        "targets = words[:, :-1], words[:, 1:]",
        "targets = words[:, :-1], words[:, :-1]",
    ),
    wrong(
        "state_without_tanh_in_both",
        "different-function",
        "new_h = o * np.tanh(new_c)",
        "new_h = o * new_c",
        "tanh_c = np.tanh(cs[t + 1])",
        "tanh_c = cs[t + 1]",
        "dc = dh * o * (1 - tanh_c**2)",
        "dc = dh * o",
    ),
    wrong(
        "cut_in_the_middle",
        "truncated-in-time",
        "        dh_next = dz @ U\n        dc_next = dc * f\n",
        "        dh_next = dz @ U * (t != 4)\n        dc_next = dc * f * (t != 4)\n",
    ),
]

TOGETHER = [
    ("table_as_output_forgotten", "cell_not_carried_back"),
    ("repeated_words_overwritten", "new_state_in_U"),
    ("averaged_over_sentences_only", "forget_gate_slope_forgotten"),
    ("output_gate_forgotten", "old_state_in_P"),
    ("U_assigned", "candidate_slope_at_the_output"),
    ("table_as_input_forgotten", "forget_gate_not_on_the_carry", "averaged_over_sentences_only"),
    ("new_cell_for_the_forget_gate", "U_assigned", "old_state_in_P"),
]

RIGHT = [
    right(
        "words_one_hot",
        'np.add.at(grads["E"], inputs[:, t], dz @ params["W"])',
        'grads["E"] += np.eye(len(E))[inputs[:, t]].T @ dz @ params["W"]',
    ),
    right(
        "output_layer_at_once",
        "        dlogits = probs[t].copy()\n"
        "        dlogits[batch, targets[:, t]] -= 1\n"
        "        dlogits /= n * T\n"
        '        grads["d"] += dlogits.sum(axis=0)\n'
        '        grads["E"] += dlogits.T @ (hs[t + 1] @ P)\n'
        "        dprojected = dlogits @ E\n"
        '        grads["P"] += hs[t + 1].T @ dprojected\n'
        "        dh = dprojected @ P.T + dh_next\n",
        "        dh = all_dh[t] + dh_next\n",
        "    for t in reversed(range(T)):\n",
        "    all_dlogits = (np.array(probs) - np.eye(len(E))[targets.T]) / targets.size\n"
        "    projected = np.array(hs[1:]) @ P\n"
        '    grads["d"] = all_dlogits.sum(axis=(0, 1))\n'
        '    grads["E"] = np.einsum("tnv,tne->ve", all_dlogits, projected)\n'
        '    grads["P"] = np.einsum("tnh,tnv,ve->he", np.array(hs[1:]), all_dlogits, E)\n'
        "    all_dh = all_dlogits @ E @ P.T\n"
        "    for t in reversed(range(T)):\n",
    ),
    right(
        "gates_in_one_array",
        "dz = np.hstack([di * i * (1 - i), df * f * (1 - f), do * o * (1 - o), dg * (1 - g**2)])",
        "s = np.hstack([i, f, o])\n"
        "        dz = np.hstack([np.hstack([di, df, do]) * s * (1 - s), dg * (1 - g) * (1 + g)])",
    ),
]
