"""Sequences classed by the mean of an LSTM's projected states: one sequence after the other, tuples as caches."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, X, y):
    cells = params["Wp"].shape[1]
    r = X.new_zeros(len(X), len(params["Wp"]))
    c = X.new_zeros(len(X), cells)
    states = []
    for x in X.unbind(1):
        i, f, o, g = (torch.cat([r, x], dim=1) @ params["W"].T + params["b"]).chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        r = (torch.sigmoid(o) * torch.tanh(c)) @ params["Wp"].T
        states.append(r)
    mean = torch.stack(states).mean(dim=0)
    return F.cross_entropy(mean @ params["Wy"].T + params["by"], y)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def softmax(a):
    e = np.exp(a - np.max(a))
    return e / np.sum(e)


def lstm_forward(xs, params):
    P, H = params["Wp"].shape
    r = np.zeros(P)
    c = np.zeros(H)
    states, caches = [], []
    for x in xs:
        z = np.concatenate((r, x))
        a = np.dot(params["W"], z) + params["b"]
        i = sigmoid(a[:H])
        f = sigmoid(a[H : 2 * H])
        o = sigmoid(a[2 * H : 3 * H])
        g = np.tanh(a[3 * H :])
        c_old = c
        c = f * c_old + i * g
        tc = np.tanh(c)
        m = o * tc
        r = np.dot(params["Wp"], m)
        states.append(r)
        caches.append((z, i, f, o, g, c_old, c, tc, m))
    return states, caches


def lstm_backward(dstates, caches, params, grads):
    P, H = params["Wp"].shape
    dr_next = np.zeros(P)
    dc_next = np.zeros(H)
    for t in reversed(range(len(caches))):
        z, i, f, o, g, c_old, c, tc, m = caches[t]
        dr = dstates[t] + dr_next
        grads["Wp"] += np.outer(dr, m)
        dm = np.dot(params["Wp"].T, dr)
        do = dm * tc
        dc = dm * o * (1 - tc**2) + dc_next
        di = dc * g
        df = dc * c_old
        dg = dc * i
        da_i = di * i * (1 - i)
        da_f = df * f * (1 - f)
        da_o = do * o * (1 - o)
        da_g = dg * (1 - g**2)
        da = np.concatenate((da_i, da_f, da_o, da_g))
        grads["W"] += np.outer(da, z)
        grads["b"] += da
        dz = np.dot(params["W"].T, da)
        dr_next = dz[:P]
        dc_next = dc * f


def candidate(params, X, y):
    N, T, _ = X.shape
    grads = {}
    for name in params:
        grads[name] = np.zeros_like(params[name])
    total = 0.0
    for n in range(N):
        states, caches = lstm_forward(X[n], params)
        mean = sum(states) / T
        prob = softmax(np.dot(params["Wy"], mean) + params["by"])
        total += -np.log(prob[y[n]])

        dscore = prob.copy()
        dscore[y[n]] -= 1
        dscore /= N
        grads["Wy"] += np.outer(dscore, mean)
        grads["by"] += dscore
        dmean = np.dot(params["Wy"].T, dscore)
        dstates = [dmean / T for t in range(T)]
        lstm_backward(dstates, caches, params, grads)
    loss = total / N
    return loss, grads


def problem(rng):
    N, T, inputs, cells, projected, classes = 6, 4, 3, 5, 3, 4
    params = {
        "W": rng.normal(size=(4 * cells, projected + inputs)) * 0.8,
        "b": rng.normal(size=4 * cells) * 0.5,
        "Wp": rng.normal(size=(projected, cells)) * 0.9,
        "Wy": rng.normal(size=(classes, projected)) * 1.5,
        "by": rng.normal(size=classes) * 0.4,
    }
    return params, (rng.normal(size=(N, T, inputs)) * 1.3, rng.integers(0, classes, size=N))


WRONG = [
    wrong(
        "last_state_for_the_mean_in_both",
        "different-function|last-step-only|wrong-operand",
        "mean = sum(states) / T",
        "mean = states[-1]",
        "dstates = [dmean / T for t in range(T)]",
        "dstates = [0 * dmean] * (T - 1) + [dmean]",
    ),
    wrong(
        "mean_over_time_not_divided_backwards",
        "wrong-scale|wrong-reduction|missing-derivative",
        "dstates = [dmean / T for t in range(T)]",
        "dstates = [dmean for t in range(T)]",
    ),
    wrong(
        "state_does_not_carry_its_gradient",
        "missing-path|truncated-in-time",
        "dr = dstates[t] + dr_next",
        "dr = dstates[t]",
    ),
    wrong(
        "cell_does_not_carry_its_gradient",
        "missing-path|truncated-in-time",
        "(1 - tc**2) + dc_next",
        "(1 - tc**2)",
    ),
    wrong(
        "gate_weights_assigned",
        "overwritten|last-step-only|one-sample-only",
        'grads["W"] += np.outer(da, z)',
        'grads["W"] = np.outer(da, z)',
    ),
    wrong(
        "projection_told_the_ungated_cell",
        "wrong-operand",
        "np.outer(dr, m)",
        "np.outer(dr, tc)",
    ),
    wrong(
        "projection_hears_only_the_mean",
        "missing-path|truncated-in-time|wrong-operand",
        "np.outer(dr, m)",
        "np.outer(dstates[t], m)",
    ),
    wrong(
        "cell_slope_of_the_squashed_cell_again",
        "derivative-at-wrong-point",
        "dc = dm * o * (1 - tc**2)",
        "dc = dm * o * (1 - np.tanh(tc) ** 2)",
    ),
    wrong(
        "forget_gate_told_the_new_cell",
        "shifted-in-time|wrong-operand",
        "df = dc * c_old",
        "df = dc * c",
    ),
    wrong(
        "forget_and_input_gate_exchanged_backwards",
        "wrong-operand",
        "np.concatenate((da_i, da_f, da_o, da_g))",
        "np.concatenate((da_f, da_i, da_o, da_g))",
    ),
    wrong(
        "memory_with_a_sigmoid_slope",
        "different-function|derivative-at-wrong-point",
        "da_g = dg * (1 - g**2)",
        "da_g = dg * g * (1 - g)",
    ),
    wrong(
        "cell_gradient_not_gated_on_its_way_back",
        "missing-derivative|wrong-operand",
        "dc_next = dc * f",
        "dc_next = dc",
    ),
    wrong(
        "first_step_left_out",
        "truncated-in-time",
        "reversed(range(len(caches)))",
        "reversed(range(1, len(caches)))",
    ),
    wrong("sequences_summed_in_cost", "wrong-loss", "loss = total / N", "loss = total"),
]

TOGETHER = [
    ("mean_over_time_not_divided_backwards", "forget_gate_told_the_new_cell"),
    ("state_does_not_carry_its_gradient", "memory_with_a_sigmoid_slope"),
    ("cell_does_not_carry_its_gradient", "projection_told_the_ungated_cell"),
    ("gate_weights_assigned", "cell_slope_of_the_squashed_cell_again"),
    ("forget_and_input_gate_exchanged_backwards", "projection_hears_only_the_mean"),
    ("last_state_for_the_mean_in_both", "forget_gate_told_the_new_cell"),
    ("first_step_left_out", "projection_told_the_ungated_cell"),
    ("sequences_summed_in_cost", "cell_gradient_not_gated_on_its_way_back"),
    ("projection_told_the_ungated_cell", "forget_gate_told_the_new_cell", "memory_with_a_sigmoid_slope"),
    ("state_does_not_carry_its_gradient", "gate_weights_assigned", "mean_over_time_not_divided_backwards"),
]

RIGHT = [
    right(
        "gates_in_one_piece_and_lists_joined_at_the_end",
        '        grads["W"] += np.outer(da, z)\n        grads["b"] += da\n',
        "        das.append(da)\n        zs.append(z)\n",
        "    dc_next = np.zeros(H)\n    for t in reversed",
        "    dc_next = np.zeros(H)\n    das, zs = [], []\n    for t in reversed",
        "        dc_next = dc * f\n",
        "        dc_next = dc * f\n"
        '    grads["W"] += np.array(das).T @ np.array(zs)\n'
        '    grads["b"] += np.sum(das, axis=0)\n',
        "        dstates = [dmean / T for t in range(T)]\n",
        "        dstates = np.tile(dmean / T, (T, 1))\n",
    ),
    right(
        "projection_after_the_loop_over_time",
        '        grads["Wp"] += np.outer(dr, m)\n',
        '        grads["Wp"] += dr[:, None] * m[None, :]\n',
        "        do = dm * tc\n",
        "        do = dm * np.tanh(c)\n",
        "        dc = dm * o * (1 - tc**2) + dc_next\n",
        "        dc = dc_next.copy()\n        dc += dm * o / np.cosh(c) ** 2\n",
    ),
]
