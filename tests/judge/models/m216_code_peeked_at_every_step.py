"""Reading a row of digits and answering: a tanh encoder, a decoder that sees the code at each step and output."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import ANY, right, wrong


def reference(params, question, given, answer):
    p = params
    h = torch.zeros(len(question), len(p["enc_b"]), dtype=p["enc_b"].dtype)
    for t in range(question.shape[1]):
        h = torch.tanh(p["enc_E"][question[:, t]] @ p["enc_Wx"] + h @ p["enc_Wh"] + p["enc_b"])
    code = h
    scores = []
    for t in range(given.shape[1]):
        x = torch.cat([code, p["dec_E"][given[:, t]]], dim=1)
        h = torch.tanh(x @ p["dec_Wx"] + h @ p["dec_Wh"] + p["dec_b"])
        scores.append(torch.cat([code, h], dim=1) @ p["out_W"] + p["out_b"])
    return F.cross_entropy(torch.stack(scores, dim=1).transpose(1, 2), answer)


def rnn_step(x, h_prev, Wx, Wh, b):
    h_next = np.tanh(np.dot(h_prev, Wh) + np.dot(x, Wx) + b)
    return h_next, (x, h_prev, h_next)


def rnn_step_backward(dh_next, cache, Wx, Wh):
    x, h_prev, h_next = cache
    dt = dh_next * (1 - h_next**2)
    db = np.sum(dt, axis=0)
    dWh = np.dot(h_prev.T, dt)
    dh_prev = np.dot(dt, Wh.T)
    dWx = np.dot(x.T, dt)
    dx = np.dot(dt, Wx.T)
    return dx, dh_prev, dWx, dWh, db


def candidate(params, question, given, answer):
    N, T_in = question.shape
    T_out = given.shape[1]
    enc_Wx, enc_Wh, enc_b = params["enc_Wx"], params["enc_Wh"], params["enc_b"]
    dec_Wx, dec_Wh, dec_b = params["dec_Wx"], params["dec_Wh"], params["dec_b"]
    out_W, out_b = params["out_W"], params["out_b"]
    H = enc_b.shape[0]

    # encoder
    h = np.zeros((N, H))
    enc_caches = []
    for t in range(T_in):
        h, cache = rnn_step(params["enc_E"][question[:, t]], h, enc_Wx, enc_Wh, enc_b)
        enc_caches.append(cache)
    code = h

    # decoder
    dec_caches, joined, probs = [], [], []
    total = 0.0
    for t in range(T_out):
        x = np.concatenate((code, params["dec_E"][given[:, t]]), axis=1)
        h, cache = rnn_step(x, h, dec_Wx, dec_Wh, dec_b)
        dec_caches.append(cache)
        out = np.concatenate((code, h), axis=1)
        joined.append(out)
        score = np.dot(out, out_W) + out_b
        e = np.exp(score - score.max(axis=1, keepdims=True))
        ys = e / e.sum(axis=1, keepdims=True)
        probs.append(ys)
        total -= np.log(ys[np.arange(N), answer[:, t]]).sum()
    loss = total / (N * T_out)

    grads = {name: np.zeros_like(value) for name, value in params.items()}

    # decoder, backwards
    dhs = np.zeros((N, H))
    dh = np.zeros((N, H))
    for t in reversed(range(T_out)):
        dscore = probs[t].copy()
        dscore[np.arange(N), answer[:, t]] -= 1
        dscore /= N * T_out
        grads["out_W"] += np.dot(joined[t].T, dscore)
        grads["out_b"] += np.sum(dscore, axis=0)
        dout = np.dot(dscore, out_W.T)
        dhs += dout[:, :H]
        dh = dh + dout[:, H:]
        dx, dh, dWx, dWh, db = rnn_step_backward(dh, dec_caches[t], dec_Wx, dec_Wh)
        grads["dec_Wx"] += dWx
        grads["dec_Wh"] += dWh
        grads["dec_b"] += db
        dhs += dx[:, :H]
        np.add.at(grads["dec_E"], given[:, t], dx[:, H:])

    # the code was looked at in every step, and was the decoder's first state
    dh = dh + dhs

    # encoder, backwards
    for t in reversed(range(T_in)):
        dx, dh, dWx, dWh, db = rnn_step_backward(dh, enc_caches[t], enc_Wx, enc_Wh)
        grads["enc_Wx"] += dWx
        grads["enc_Wh"] += dWh
        grads["enc_b"] += db
        np.add.at(grads["enc_E"], question[:, t], dx)
    return loss, grads


def problem(rng):
    N, T_in, T_out, V, D, H = 5, 6, 3, 7, 2, 4
    params = {
        "enc_E": rng.normal(size=(V, D)),
        "enc_Wx": rng.normal(size=(D, H)) * 0.8,
        "enc_Wh": rng.normal(size=(H, H)) * 0.6,
        "enc_b": rng.normal(size=H) * 0.3,
        "dec_E": rng.normal(size=(V, D)),
        "dec_Wx": rng.normal(size=(H + D, H)) * 0.6,
        "dec_Wh": rng.normal(size=(H, H)) * 0.6,
        "dec_b": rng.normal(size=H) * 0.3,
        "out_W": rng.normal(size=(2 * H, V)) * 0.7,
        "out_b": rng.normal(size=V) * 0.3,
    }
    answer = rng.integers(0, V, size=(N, T_out))
    given = np.concatenate([np.zeros((N, 1), dtype=int), answer[:, :-1]], axis=1)
    return params, (rng.integers(0, V, size=(N, T_in)), given, answer)


WRONG = [
    wrong(
        "code_reached_by_the_first_state_only",
        "missing-path",
        "    dh = dh + dhs\n",
        "",
    ),
    wrong(
        "first_state_of_the_decoder_forgotten",
        "missing-path|truncated-in-time",
        "    dh = dh + dhs\n",
        "    dh = dhs\n",
    ),
    wrong(
        "look_at_the_output_forgotten",
        "missing-path",
        "        dhs += dout[:, :H]\n",
        "",
    ),
    wrong(
        "looks_of_the_last_visited_step_only",
        "overwritten|last-step-only",
        "dhs += dx[:, :H]",
        "dhs = dx[:, :H]",
    ),
    wrong(
        "parts_of_the_output_swapped",
        "wrong-operand",
        "dhs += dout[:, :H]",
        "dhs += dout[:, H:]",
        "dh = dh + dout[:, H:]",
        "dh = dh + dout[:, :H]",
    ),
    wrong(
        "later_steps_not_felt_by_the_decoder",
        "truncated-in-time|missing-path",
        "dh = dh + dout[:, H:]",
        "dh = dout[:, H:]",
    ),
    wrong(
        "two_names_for_one_array",
        ANY,
        "    dhs = np.zeros((N, H))\n    dh = np.zeros((N, H))\n",
        "    dhs = dh = np.zeros((N, H))\n",
        "dh = dh + dout[:, H:]",
        "dh += dout[:, H:]",
    ),
    wrong(
        "tanh_slope_at_the_state_before",
        "shifted-in-time|wrong-operand",
        "dt = dh_next * (1 - h_next**2)",
        "dt = dh_next * (1 - h_prev**2)",
    ),
    wrong(
        "new_state_with_the_recurrent_matrix",
        "shifted-in-time",
        "dWh = np.dot(h_prev.T, dt)",
        "dWh = np.dot(h_next.T, dt)",
    ),
    wrong(
        "same_digit_twice_in_a_batch_counts_once",
        "overwritten",
        'np.add.at(grads["enc_E"], question[:, t], dx)',
        'grads["enc_E"][question[:, t]] += dx',
    ),
    wrong(
        "encoder_passed_back_with_the_decoders_matrix",
        "wrong-operand",
        "rnn_step_backward(dh, enc_caches[t], enc_Wx, enc_Wh)",
        "rnn_step_backward(dh, enc_caches[t], enc_Wx, dec_Wh)",
    ),
    wrong(
        "answers_not_averaged_over_the_steps_backwards",
        "wrong-scale|wrong-reduction",
        "dscore /= N * T_out",
        "dscore /= N",
    ),
]

TOGETHER = [
    ("code_reached_by_the_first_state_only", "same_digit_twice_in_a_batch_counts_once"),
    ("look_at_the_output_forgotten", "answers_not_averaged_over_the_steps_backwards"),
    ("later_steps_not_felt_by_the_decoder", "new_state_with_the_recurrent_matrix"),
    ("looks_of_the_last_visited_step_only", "encoder_passed_back_with_the_decoders_matrix"),
]

RIGHT = [
    right(
        "embeddings_by_one_hot",
        '        np.add.at(grads["enc_E"], question[:, t], dx)\n',
        '        grads["enc_E"] += np.dot(np.eye(len(params["enc_E"]))[question[:, t]].T, dx)\n',
        "    dh = dh + dhs\n",
        "    dh = dhs + dh\n",
    ),
]
