"""An LSTM over one-hot characters in column vectors, with a weight for each gate, mean cross-entropy."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, tokens, targets):
    size, vocabulary = params["W_f"].shape[0], params["W_v"].shape[0]
    W = torch.cat([params[name] for name in ("W_f", "W_i", "W_g", "W_o")])
    b = torch.cat([params[name] for name in ("b_f", "b_i", "b_g", "b_o")]).squeeze(1)
    x = F.one_hot(tokens, vocabulary).to(W.dtype)
    h = x.new_zeros(len(x), size)
    c = x.new_zeros(len(x), size)
    logits = []
    for t in range(x.shape[1]):
        f, i, g, o = F.linear(torch.cat([h, x[:, t]], dim=1), W, b).chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        logits.append(F.linear(h, params["W_v"], params["b_v"].squeeze(1)))
    return F.cross_entropy(torch.stack(logits, dim=2), targets)


def sigmoid(x, derivative=False):
    """The function; or its slope, given its value."""
    return x * (1 - x) if derivative else 1 / (1 + np.exp(-x))


def tanh(x, derivative=False):
    return 1 - x**2 if derivative else np.tanh(x)


def forward(inputs, params):
    hidden = params["b_f"].shape[0]
    h, C = np.zeros((hidden, 1)), np.zeros((hidden, 1))
    steps = []
    for x in inputs:
        C_prev = C
        z = np.vstack((h, x))
        f = sigmoid(params["W_f"] @ z + params["b_f"])
        i = sigmoid(params["W_i"] @ z + params["b_i"])
        g = tanh(params["W_g"] @ z + params["b_g"])
        o = sigmoid(params["W_o"] @ z + params["b_o"])
        C = f * C_prev + i * g
        h = o * tanh(C)
        v = params["W_v"] @ h + params["b_v"]
        e = np.exp(v - np.max(v))
        steps.append((z, f, i, g, C_prev, C, o, h, e / np.sum(e)))
    return steps


def backward(steps, targets, params, d):
    """Adds a sequence's gradients to `d`; returns its loss."""
    hidden = params["b_f"].shape[0]
    dh_next, dC_next = np.zeros((hidden, 1)), np.zeros((hidden, 1))
    loss = 0.0
    for t in reversed(range(len(steps))):
        z, f, i, g, C_prev, C, o, h, y = steps[t]
        loss += -np.log(y[targets[t], 0])
        dv = np.copy(y)
        dv[targets[t]] -= 1
        d["W_v"] += dv @ h.T
        d["b_v"] += dv
        dh = params["W_v"].T @ dv
        dh += dh_next
        do = dh * tanh(C)
        do = sigmoid(o, derivative=True) * do
        d["W_o"] += do @ z.T
        d["b_o"] += do
        dC = np.copy(dC_next)
        dC += dh * o * tanh(tanh(C), derivative=True)
        dg = dC * i
        dg = tanh(g, derivative=True) * dg
        d["W_g"] += dg @ z.T
        d["b_g"] += dg
        di = dC * g
        di = sigmoid(i, derivative=True) * di
        d["W_i"] += di @ z.T
        d["b_i"] += di
        df = dC * C_prev
        df = sigmoid(f, derivative=True) * df
        d["W_f"] += df @ z.T
        d["b_f"] += df
        dz = params["W_f"].T @ df + params["W_i"].T @ di + params["W_g"].T @ dg + params["W_o"].T @ do
        dh_next = dz[:hidden]
        dC_next = f * dC
    return loss


def candidate(params, tokens, targets):
    d = {name: np.zeros_like(value) for name, value in params.items()}
    vocabulary = params["W_v"].shape[0]
    total = 0.0
    for sequence, wanted in zip(tokens, targets, strict=True):
        inputs = [np.eye(vocabulary)[:, [k]] for k in sequence]
        total += backward(forward(inputs, params), wanted, params, d)
    count = tokens.size
    loss = total / count
    return loss, {name: value / count for name, value in d.items()}


def problem(rng):
    n, steps, hidden, vocabulary = 4, 7, 3, 5
    params = {}
    for gate in "figo":
        params["W_" + gate] = rng.normal(size=(hidden, hidden + vocabulary)) * 0.9
        params["b_" + gate] = rng.normal(size=(hidden, 1)) * 0.5
    params["W_v"] = rng.normal(size=(vocabulary, hidden)) * 1.2
    params["b_v"] = rng.normal(size=(vocabulary, 1)) * 0.4
    return params, (rng.integers(0, vocabulary, size=(n, steps)), rng.integers(0, vocabulary, size=(n, steps)))


WRONG = [
    wrong(
        "slope_asked_for_without_the_flag",
        "different-function",
        "df = sigmoid(f, derivative=True) * df",
        "df = sigmoid(f) * df",
    ),
    wrong(
        "state_gradients_never_carried_over",
        "truncated-in-time|missing-path",
        "        dh_next = dz[:hidden]\n        dC_next = f * dC\n",
        "        dh_prev, dC_prev = dz[:hidden], f * dC\n",
    ),
    wrong(
        "cell_passes_nothing_to_the_cell_before",
        "missing-path",
        "dC = np.copy(dC_next)",
        "dC = np.zeros_like(dC_next)",
    ),
    wrong(
        "forget_gate_paired_with_the_new_cell",
        "shifted-in-time",
        "df = dC * C_prev",
        "df = dC * C",
    ),
    wrong(
        "cell_slope_at_the_cell_itself",
        "derivative-at-wrong-point",
        "dC += dh * o * tanh(tanh(C), derivative=True)",
        "dC += dh * o * tanh(C, derivative=True)",
    ),
    wrong(
        "output_gate_sees_the_bare_cell",
        "wrong-operand|different-function",
        "do = dh * tanh(C)",
        "do = dh * C",
    ),
    wrong(
        "input_bias_copied_from_the_forget_gate",
        "wrong-operand",
        'd["b_i"] += di',
        'd["b_i"] += sigmoid(f, derivative=True) * dC * C_prev',
    ),
    wrong(
        "output_gate_forgotten_in_the_route_to_the_state",
        "missing-path",
        ' + params["W_o"].T @ do\n',
        "\n",
    ),
    wrong(
        "candidate_slope_taken_of_its_value",
        "derivative-at-wrong-point",
        "dg = tanh(g, derivative=True) * dg",
        "dg = tanh(tanh(g), derivative=True) * dg",
    ),
    wrong(
        "cost_divided_by_the_steps_only",
        "wrong-loss",
        "loss = total / count",
        "loss = total / tokens.shape[1]",
    ),
    wrong(
        "forget_gate_reads_the_output_bias_going_forward",
        "wrong-operand|different-function",
        'f = sigmoid(params["W_f"] @ z + params["b_f"])',
        'f = sigmoid(params["W_f"] @ z + params["b_o"])',
    ),
    wrong(
        "summed_over_the_characters_in_the_gradient",
        "wrong-scale|wrong-reduction",
        "{name: value / count for name, value in d.items()}",
        "{name: value / len(tokens) for name, value in d.items()}",
    ),
]

TOGETHER = [
    ("slope_asked_for_without_the_flag", "state_gradients_never_carried_over"),
    ("cell_slope_at_the_cell_itself", "forget_gate_paired_with_the_new_cell"),
    ("input_bias_copied_from_the_forget_gate", "summed_over_the_characters_in_the_gradient"),
    ("output_gate_forgotten_in_the_route_to_the_state", "output_gate_sees_the_bare_cell"),
]

RIGHT = [
    right(
        "gates_back_through_one_matrix",
        '        dz = params["W_f"].T @ df + params["W_i"].T @ di + params["W_g"].T @ dg + params["W_o"].T @ do\n'
        "        dh_next = dz[:hidden]\n",
        '        stacked = np.vstack([params[name][:, :hidden] for name in ("W_f", "W_i", "W_g", "W_o")])\n'
        "        dh_next = stacked.T @ np.vstack([df, di, dg, do])\n",
        "dC += dh * o * tanh(tanh(C), derivative=True)",
        "dC += dh * o / np.cosh(C) ** 2",
    ),
]
