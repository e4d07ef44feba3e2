"""Image captions: features set a vanilla RNN's first state, words are embedded, and the padding is masked out."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, features, captions):
    before, after = captions[:, :-1], captions[:, 1:]
    h = torch.addmm(params["b_proj"], features, params["W_proj"])
    states = []
    for x in F.embedding(before, params["W_embed"]).unbind(dim=1):
        h = torch.tanh(x @ params["Wx"] + h @ params["Wh"] + params["b"])
        states.append(h)
    scores = torch.stack(states, dim=1) @ params["W_vocab"] + params["b_vocab"]
    summed = F.cross_entropy(scores.flatten(0, 1), after.flatten(), ignore_index=0, reduction="sum")
    return summed / len(features)


def rnn_step_forward(x, prev_h, Wx, Wh, b):
    next_h = np.tanh(x @ Wx + prev_h @ Wh + b)
    return next_h, (x, prev_h, next_h, Wx, Wh)


def rnn_step_backward(dnext_h, cache):
    x, prev_h, next_h, Wx, Wh = cache
    da = dnext_h * (1 - next_h**2)
    dx = da @ Wx.T
    dprev_h = da @ Wh.T
    dWx = x.T @ da
    dWh = prev_h.T @ da
    db = da.sum(axis=0)
    return dx, dprev_h, dWx, dWh, db


def candidate(params, features, captions):
    W_embed, Wx, Wh, b = params["W_embed"], params["Wx"], params["Wh"], params["b"]
    captions_in, captions_out = captions[:, :-1], captions[:, 1:]
    mask = captions_out != 0
    N, T = captions_out.shape

    h0 = features @ params["W_proj"] + params["b_proj"]
    words = W_embed[captions_in]
    prev_h, caches = h0, []
    h = np.zeros((N, T, h0.shape[1]))
    for t in range(T):
        prev_h, cache = rnn_step_forward(words[:, t], prev_h, Wx, Wh, b)
        h[:, t] = prev_h
        caches.append(cache)
    scores = h @ params["W_vocab"] + params["b_vocab"]
    exps = np.exp(scores - scores.max(axis=2, keepdims=True))
    probs = exps / np.sum(exps, axis=2, keepdims=True)
    rows, steps = np.arange(N)[:, None], np.arange(T)
    log_likelihood = mask * np.log(probs[rows, steps, captions_out])
    loss = -np.sum(log_likelihood) / N

    dscores = probs.copy()
    dscores[rows, steps, captions_out] -= 1
    dscores *= mask[:, :, None]
    dscores /= N
    dW_vocab = h.reshape(N * T, -1).T @ dscores.reshape(N * T, -1)
    db_vocab = dscores.sum(axis=(0, 1))
    dh = dscores @ params["W_vocab"].T
    dWx, dWh, db = np.zeros_like(Wx), np.zeros_like(Wh), np.zeros_like(b)
    dwords = np.zeros_like(words)
    dprev_h = np.zeros_like(h0)
    for t in reversed(range(T)):
        dwords[:, t], dprev_h, dWx_t, dWh_t, db_t = rnn_step_backward(dh[:, t] + dprev_h, caches[t])
        dWx += dWx_t
        dWh += dWh_t
        db += db_t
    dW_embed = np.zeros_like(W_embed)
    np.add.at(dW_embed, captions_in, dwords)
    dW_proj = features.T @ dprev_h
    db_proj = dprev_h.sum(axis=0)
    return loss, {
        "W_proj": dW_proj,
        "b_proj": db_proj,
        "W_embed": dW_embed,
        "Wx": dWx,
        "Wh": dWh,
        "b": db,
        "W_vocab": dW_vocab,
        "b_vocab": db_vocab,
    }


def problem(rng):
    params = {
        "W_proj": rng.normal(size=(8, 4)) * 0.3,
        "b_proj": rng.normal(size=4) * 0.3,
        "W_embed": rng.normal(size=(11, 3)),
        "Wx": rng.normal(size=(3, 4)) * 0.5,
        "Wh": rng.normal(size=(4, 4)) * 0.5,
        "b": rng.normal(size=4) * 0.3,
        "W_vocab": rng.normal(size=(4, 11)),
        "b_vocab": rng.normal(size=11) * 0.4,
    }
    # 0 is the padding, 1 opens a caption and 2 ends it
    captions = np.zeros((7, 6), dtype=np.int64)
    captions[:, 0] = 1
    for row, length in enumerate([4, 2, 3, 4, 1, 3, 2]):
        captions[row, 1 : length + 1] = rng.integers(3, 11, size=length)
        captions[row, length + 1] = 2
    return params, (rng.normal(size=(7, 8)), captions)


WRONG = [
    wrong(
        "padding_not_masked_backwards",
        "missing-derivative|wrong-operand|different-function",
        "    dscores *= mask[:, :, None]\n",
        "",
    ),
    wrong(
        "mask_of_the_input_words_in_both",
        "wrong-operand|shifted-in-time|different-function",
        "mask = captions_out != 0",
        "mask = captions_in != 0",
    ),
    wrong(
        "one_hot_of_the_input_words",
        "wrong-operand|shifted-in-time",
        "dscores[rows, steps, captions_out] -= 1",
        "dscores[rows, steps, captions_in] -= 1",
    ),
    wrong(
        "averaged_over_words_too",
        "wrong-scale|wrong-reduction",
        "dscores /= N\n",
        "dscores /= mask.sum()\n",
    ),
    wrong(
        "next_state_not_into_the_step",
        "truncated-in-time|missing-path",
        "rnn_step_backward(dh[:, t] + dprev_h, caches[t])",
        "rnn_step_backward(dh[:, t], caches[t])",
    ),
    wrong(
        "new_state_for_the_previous_one",
        "shifted-in-time|wrong-operand",
        "dWh = prev_h.T @ da",
        "dWh = next_h.T @ da",
    ),
    wrong(
        "recurrent_matrix_not_transposed",
        "not-transposed",
        "dprev_h = da @ Wh.T",
        "dprev_h = da @ Wh",
    ),
    wrong(
        "tanh_slope_of_the_state",
        "derivative-at-wrong-point",
        "da = dnext_h * (1 - next_h**2)",
        "da = dnext_h * (1 - np.tanh(next_h) ** 2)",
    ),
    wrong(
        "step_bias_averaged_over_samples",
        "wrong-reduction|wrong-scale",
        "db = da.sum(axis=0)",
        "db = da.mean(axis=0)",
    ),
    wrong(
        "input_matrix_of_the_first_step_only",
        "last-step-only|overwritten",
        "dWx += dWx_t",
        "dWx = dWx_t",
    ),
    wrong(
        "repeated_words_overwrite",
        "overwritten",
        "np.add.at(dW_embed, captions_in, dwords)",
        "dW_embed[captions_in] += dwords",
    ),
    wrong(
        "projection_takes_the_first_step_from_above",
        "wrong-operand|missing-path|shifted-in-time|missing-derivative",
        "dW_proj = features.T @ dprev_h",
        "dW_proj = features.T @ dh[:, 0]",
    ),
    wrong(
        "softmax_over_the_steps_in_both",
        "wrong-axis",
        "np.sum(exps, axis=2, keepdims=True)",
        "np.sum(exps, axis=1, keepdims=True)",
    ),
    wrong(
        "fed_with_the_words_to_come_in_both",
        "wrong-operand|shifted-in-time",
        "words = W_embed[captions_in]",
        "words = W_embed[captions_out]",
        "np.add.at(dW_embed, captions_in, dwords)",
        "np.add.at(dW_embed, captions_out, dwords)",
    ),
    wrong(
        "relu_for_tanh_in_both",
        "different-function",
        "next_h = np.tanh(x @ Wx + prev_h @ Wh + b)",
        "next_h = np.maximum(x @ Wx + prev_h @ Wh + b, 0)",
        "da = dnext_h * (1 - next_h**2)",
        "da = dnext_h * (next_h > 0)",
    ),
    wrong(
        "padding_counted_in_cost",
        "wrong-loss",
        "log_likelihood = mask * np.log(",
        "log_likelihood = np.log(",
    ),
]

TOGETHER = [
    ("padding_not_masked_backwards", "repeated_words_overwrite"),
    ("new_state_for_the_previous_one", "recurrent_matrix_not_transposed"),
    ("next_state_not_into_the_step", "averaged_over_words_too"),
    ("tanh_slope_of_the_state", "projection_takes_the_first_step_from_above"),
    ("input_matrix_of_the_first_step_only", "step_bias_averaged_over_samples"),
    ("one_hot_of_the_input_words", "mask_of_the_input_words_in_both"),
    ("averaged_over_words_too", "new_state_for_the_previous_one", "repeated_words_overwrite"),
    ("recurrent_matrix_not_transposed", "input_matrix_of_the_first_step_only", "padding_not_masked_backwards"),
]

RIGHT = [
    right(
        "weights_after_the_loop",
        "        dWx += dWx_t\n        dWh += dWh_t\n        db += db_t\n",
        "        das[:, t] = (dh[:, t] + later) * (1 - h[:, t] ** 2)\n"
        "        later = das[:, t] @ Wh.T\n"
        "    before = np.concatenate([h0[:, None], h[:, :-1]], axis=1)\n"
        "    dWx += np.tensordot(words, das, axes=([0, 1], [0, 1]))\n"
        "    dWh += np.tensordot(before, das, axes=([0, 1], [0, 1]))\n"
        "    db += das.sum(axis=(0, 1))\n",
        "    dprev_h = np.zeros_like(h0)\n",
        "    dprev_h = np.zeros_like(h0)\n    das, later = np.zeros_like(h), np.zeros_like(h0)\n",
        "dwords[:, t], dprev_h, dWx_t, dWh_t, db_t =",
        "dwords[:, t], dprev_h, *_ =",
    ),
    right(
        "only_the_words_that_count",
        "    dscores *= mask[:, :, None]\n    dscores /= N\n",
        "    dscores[~mask] = 0\n    dscores = dscores / N\n",
        "dW_vocab = h.reshape(N * T, -1).T @ dscores.reshape(N * T, -1)",
        "dW_vocab = h[mask].T @ dscores[mask]",
        "db_vocab = dscores.sum(axis=(0, 1))",
        "db_vocab = dscores[mask].sum(axis=0)",
        "np.add.at(dW_embed, captions_in, dwords)",
        "for t in range(T):\n        np.add.at(dW_embed, captions_in[:, t], dwords[:, t])",
    ),
    right(
        "log_sum_exp_and_one_hot_words",
        "    log_likelihood = mask * np.log(probs[rows, steps, captions_out])\n",
        "    top = scores.max(axis=2)\n"
        "    log_sum = top + np.log(np.sum(np.exp(scores - top[:, :, None]), axis=2))\n"
        "    log_likelihood = np.where(mask, scores[rows, steps, captions_out] - log_sum, 0.0)\n",
        "    dW_embed = np.zeros_like(W_embed)\n    np.add.at(dW_embed, captions_in, dwords)\n",
        '    dW_embed = np.einsum("ntv,ntd->vd", np.eye(len(W_embed))[captions_in], dwords)\n',
        "da = dnext_h * (1 - next_h**2)",
        "da = dnext_h * (1 - next_h) * (1 + next_h)",
    ),
]
