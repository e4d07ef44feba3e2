"""After min-char-rnn: a vanilla recurrent language model of two layers, in columns, with learned initial states."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, inputs, targets):
    n, steps = inputs.shape
    h = params["h0"].T.expand(n, -1)
    g = params["g0"].T.expand(n, -1)
    tops = []
    for t in range(steps):
        x = F.one_hot(inputs[:, t], params["Wxh"].shape[1]).to(h.dtype)
        h = torch.tanh(x @ params["Wxh"].T + h @ params["Whh"].T + params["bh"].T)
        g = torch.tanh(h @ params["Whg"].T + g @ params["Wgg"].T + params["bg"].T)
        tops.append(g)
    y = torch.stack(tops, dim=1) @ params["Wgy"].T + params["by"].T
    return F.cross_entropy(y.flatten(0, 1), targets.flatten(), reduction="sum") / n


def candidate(params, inputs, targets):
    Wxh, Whh, bh, h0 = params["Wxh"], params["Whh"], params["bh"], params["h0"]
    Whg, Wgg, bg, g0 = params["Whg"], params["Wgg"], params["bg"], params["g0"]
    Wgy, by = params["Wgy"], params["by"]
    N, T = inputs.shape
    V = Wxh.shape[1]
    xs, hs, gs, ps = {}, {}, {}, {}
    hs[-1] = np.tile(h0, (1, N))
    gs[-1] = np.tile(g0, (1, N))
    loss = 0
    # forward pass
    for t in range(T):
        xs[t] = np.zeros((V, N))  # encode in 1-of-k representation
        xs[t][inputs[:, t], np.arange(N)] = 1
        hs[t] = np.tanh(Wxh @ xs[t] + Whh @ hs[t - 1] + bh)  # hidden state
        gs[t] = np.tanh(Whg @ hs[t] + Wgg @ gs[t - 1] + bg)  # second hidden state
        y = Wgy @ gs[t] + by  # unnormalized log probabilities for next chars
        ps[t] = np.exp(y) / np.sum(np.exp(y), axis=0)
        loss += -np.log(ps[t][targets[:, t], np.arange(N)]).sum() / N
    # backward pass: compute gradients going backwards
    dWxh, dWhh, dbh = np.zeros_like(Wxh), np.zeros_like(Whh), np.zeros_like(bh)
    dWhg, dWgg, dbg = np.zeros_like(Whg), np.zeros_like(Wgg), np.zeros_like(bg)
    dWgy, dby = np.zeros_like(Wgy), np.zeros_like(by)
    dhnext, dgnext = np.zeros_like(hs[0]), np.zeros_like(gs[0])
    for t in reversed(range(T)):
        dy = np.copy(ps[t])
        dy[targets[:, t], np.arange(N)] -= 1  # backprop into y
        dy /= N
        dWgy += np.dot(dy, gs[t].T)
        dby += dy.sum(axis=1, keepdims=True)
        dg = np.dot(Wgy.T, dy) + dgnext  # backprop into g
        dgraw = (1 - gs[t] * gs[t]) * dg  # backprop through tanh nonlinearity
        dbg += dgraw.sum(axis=1, keepdims=True)
        dWhg += np.dot(dgraw, hs[t].T)
        dWgg += np.dot(dgraw, gs[t - 1].T)
        dgnext = np.dot(Wgg.T, dgraw)
        dh = np.dot(Whg.T, dgraw) + dhnext  # backprop into h
        dhraw = (1 - hs[t] * hs[t]) * dh
        dbh += dhraw.sum(axis=1, keepdims=True)
        dWxh += np.dot(dhraw, xs[t].T)
        dWhh += np.dot(dhraw, hs[t - 1].T)
        dhnext = np.dot(Whh.T, dhraw)
    dh0 = dhnext.sum(axis=1, keepdims=True)
    dg0 = dgnext.sum(axis=1, keepdims=True)
    return loss, dict(
        Wxh=dWxh, Whh=dWhh, Whg=dWhg, Wgg=dWgg, Wgy=dWgy, bh=dbh, bg=dbg, by=dby, h0=dh0, g0=dg0
    )


def problem(rng):
    V, H, G, N, T = 6, 3, 4, 5, 7
    params = {
        "h0": rng.normal(size=(H, 1)) * 0.7,
        "g0": rng.normal(size=(G, 1)) * 0.7,
        "Wxh": rng.normal(size=(H, V)) * 0.8,
        "Whh": rng.normal(size=(H, H)) * 0.8,
        "bh": rng.normal(size=(H, 1)) * 0.3,
        "Whg": rng.normal(size=(G, H)) * 0.8,
        "Wgg": rng.normal(size=(G, G)) * 0.6,
        "bg": rng.normal(size=(G, 1)) * 0.3,
        "Wgy": rng.normal(size=(V, G)) * 0.8,
        "by": rng.normal(size=(V, 1)) * 0.3,
    }
    return params, (rng.integers(0, V, size=(N, T)), rng.integers(0, V, size=(N, T)))


WRONG = [
    wrong(
        "lower_layer_forgets_the_future",
        "truncated-in-time|missing-path",
        "dh = np.dot(Whg.T, dgraw) + dhnext",
        "dh = np.dot(Whg.T, dgraw)",
    ),
    wrong(
        "Wgg_against_the_present_state",
        "shifted-in-time|wrong-operand",
        "dWgg += np.dot(dgraw, gs[t - 1].T)",
        "dWgg += np.dot(dgraw, gs[t].T)",
    ),
    wrong(
        "Whg_against_the_state_before",
        "shifted-in-time|wrong-operand",
        "dWhg += np.dot(dgraw, hs[t].T)",
        "dWhg += np.dot(dgraw, hs[t - 1].T)",
    ),
    wrong(
        "recurrent_matrix_not_transposed",
        "not-transposed",
        "dhnext = np.dot(Whh.T, dhraw)",
        "dhnext = np.dot(Whh, dhraw)",
    ),
    wrong(
        "future_passed_on_before_the_tanh",
        "missing-derivative|wrong-operand",
        "dgnext = np.dot(Wgg.T, dgraw)",
        "dgnext = np.dot(Wgg.T, dg)",
    ),
    wrong(
        "lower_layer_fed_before_the_tanh",
        "missing-derivative|wrong-operand",
        "dh = np.dot(Whg.T, dgraw)",
        "dh = np.dot(Whg.T, dg)",
    ),
    wrong(
        "slope_of_the_step_before",
        "shifted-in-time|derivative-at-wrong-point|wrong-operand",
        "dhraw = (1 - hs[t] * hs[t]) * dh",
        "dhraw = (1 - hs[t - 1] * hs[t - 1]) * dh",
    ),
    wrong(
        "output_bias_not_accumulated",
        "overwritten|last-step-only",
        "dby += dy.sum(axis=1, keepdims=True)",
        "dby = dy.sum(axis=1, keepdims=True)",
    ),
    wrong("time_walked_forwards", "any", "for t in reversed(range(T)):", "for t in range(T):"),
    wrong(
        "initial_state_averaged",
        "wrong-reduction|wrong-scale",
        "dh0 = dhnext.sum(axis=1, keepdims=True)",
        "dh0 = dhnext.mean(axis=1, keepdims=True)",
    ),
    wrong(
        "initial_state_without_its_matrix",
        "missing-derivative|wrong-operand",
        "dg0 = dgnext.sum(axis=1, keepdims=True)",
        "dg0 = dgraw.sum(axis=1, keepdims=True)",
    ),
    wrong(
        "initial_state_of_the_first_sequence",
        "one-sample-only",
        "dg0 = dgnext.sum(axis=1, keepdims=True)",
        "dg0 = dgnext[:, :1]",
    ),
    wrong(
        "inputs_subtracted_instead_of_targets",
        "wrong-operand",
        "dy[targets[:, t], np.arange(N)] -= 1",
        "dy[inputs[:, t], np.arange(N)] -= 1",
    ),
    wrong("batch_average_not_in_the_gradient", "wrong-scale|wrong-reduction", "        dy /= N\n", ""),
    wrong(
        "cost_of_the_last_character",
        "wrong-loss",
        "loss += -np.log(",
        "loss = -np.log(",
    ),
]

TOGETHER = [
    ("lower_layer_forgets_the_future", "Wgg_against_the_present_state"),
    ("recurrent_matrix_not_transposed", "output_bias_not_accumulated"),
    ("future_passed_on_before_the_tanh", "initial_state_averaged"),
    ("slope_of_the_step_before", "initial_state_of_the_first_sequence"),
    ("batch_average_not_in_the_gradient", "Whg_against_the_state_before"),
    ("inputs_subtracted_instead_of_targets", "lower_layer_fed_before_the_tanh", "initial_state_averaged"),
]

RIGHT = [
    right(
        "raw_gradients_kept_and_stacked",
        "        dWxh += np.dot(dhraw, xs[t].T)\n        dWhh += np.dot(dhraw, hs[t - 1].T)\n",
        "        raws.insert(0, dhraw)\n",
        "    dhnext, dgnext = np.zeros_like(hs[0]), np.zeros_like(gs[0])\n",
        "    dhnext, dgnext, raws = np.zeros_like(hs[0]), np.zeros_like(gs[0]), []\n",
        "    dh0 = dhnext.sum(axis=1, keepdims=True)\n",
        "    dh0 = dhnext @ np.ones((N, 1))\n"
        '    dWxh += np.einsum("thn,tvn->hv", np.array(raws), np.array([xs[t] for t in range(T)]))\n'
        '    dWhh += np.einsum("thn,tkn->hk", np.array(raws), np.array([hs[t - 1] for t in range(T)]))\n',
    ),
]
