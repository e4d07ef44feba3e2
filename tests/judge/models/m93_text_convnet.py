"""A convolutional network for sentences: two widths over words, maximum over time, dropout, softmax."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, tokens, labels, drop):
    real = tokens != 0
    words = F.embedding(tokens, params["E"]) * real.unsqueeze(2)
    pooled = []
    for width in (2, 3):
        h = F.relu(F.conv1d(words.transpose(1, 2), params[f"K{width}"], params[f"b{width}"]))
        h = h.masked_fill(~real[:, None, : h.size(2)], 0.0)
        pooled.append(F.max_pool1d(h, h.size(2)).squeeze(2))
    features = torch.cat(pooled, dim=1) * drop / 0.6
    return F.cross_entropy(F.linear(features, params["W"], params["c"]), labels)


def branch(words, real, K, b):
    filters, _, width = K.shape
    positions = words.shape[1] - width + 1
    windows = np.concatenate([words[:, k : k + positions] for k in range(width)], axis=2)
    a = windows @ K.transpose(2, 1, 0).reshape(-1, filters) + b
    # windows that begin in the padding do not count
    h = np.maximum(a, 0) * real[:, :positions, None]
    return h.max(axis=1), (windows, a, h)


def branch_backward(dpooled, cache, K):
    windows, a, h = cache
    filters, size, width = K.shape
    n, positions = h.shape[:2]
    best = np.argmax(h, axis=1)
    dh = np.zeros_like(h)
    dh[np.arange(n)[:, None], best, np.arange(filters)] = dpooled
    da = dh * (a > 0)
    dflat = windows.reshape(n * positions, -1).T @ da.reshape(n * positions, -1)
    dK = dflat.reshape(width, size, filters).transpose(2, 1, 0)
    db = da.sum(axis=(0, 1))
    dwords = np.zeros((n, positions + width - 1, size))
    for k in range(width):
        dwords[:, k : k + positions] += da @ K[:, :, k]
    return dwords, dK, db


def candidate(params, tokens, labels, drop, keep=0.6):
    E, W, c = params["E"], params["W"], params["c"]
    n = len(tokens)
    real = (tokens != 0).astype(float)
    words = E[tokens] * real[:, :, None]
    narrow, cache2 = branch(words, real, params["K2"], params["b2"])
    wide, cache3 = branch(words, real, params["K3"], params["b3"])
    features = np.concatenate([narrow, wide], axis=1)
    kept = features * drop / keep
    scores = kept @ W.T + c
    exps = np.exp(scores - scores.max(axis=1, keepdims=True))
    probs = exps / exps.sum(axis=1, keepdims=True)
    loss = -np.mean(np.log(probs[np.arange(n), labels]))

    dscores = probs.copy()
    dscores[np.arange(n), labels] -= 1
    dscores /= n
    dW = dscores.T @ kept
    dc = dscores.sum(axis=0)
    dkept = dscores @ W
    dfeatures = dkept * drop / keep
    split = narrow.shape[1]
    dwords, dK2, db2 = branch_backward(dfeatures[:, :split], cache2, params["K2"])
    more, dK3, db3 = branch_backward(dfeatures[:, split:], cache3, params["K3"])
    dwords += more
    dE = np.zeros_like(E)
    np.add.at(dE, tokens, dwords * real[:, :, None])
    return loss, {"E": dE, "K2": dK2, "b2": db2, "K3": dK3, "b3": db3, "W": dW, "c": dc}


def problem(rng):
    params = {
        "E": rng.normal(size=(11, 5)),
        "K2": rng.normal(size=(4, 5, 2)) * 0.5,
        "b2": rng.permutation([-1.2, -0.5, 0.6, 1.1]) + rng.normal(size=4) * 0.1,
        "K3": rng.normal(size=(6, 5, 3)) * 0.4,
        "b3": rng.permutation([-1.3, -0.9, -0.4, 0.5, 0.8, 1.2]) + rng.normal(size=6) * 0.1,
        "W": rng.normal(size=(8, 10)) * 0.25,
        "c": rng.normal(size=8) * 0.4,
    }
    tokens = rng.integers(1, 11, size=(9, 7))
    lengths = rng.permutation([2, 3, 3, 4, 4, 5, 6, 7, 7])
    tokens[np.arange(7) >= lengths[:, None]] = 0
    drop = (rng.uniform(size=(9, 10)) < 0.6).astype(float)
    return params, (tokens, rng.integers(0, 8, size=9), drop)


WRONG = [
    wrong(
        "label_columns_for_every_sentence",
        "broadcast|wrong-operand|different-function",
        "dscores[np.arange(n), labels] -= 1",
        "dscores[:, labels] -= 1",
    ),
    wrong(
        "features_before_dropout",
        "wrong-operand|different-function",
        "dW = dscores.T @ kept",
        "dW = dscores.T @ features",
    ),
    wrong(
        "dropout_not_applied_backwards",
        "missing-derivative|missing-path",
        "dfeatures = dkept * drop / keep",
        "dfeatures = dkept",
    ),
    wrong(
        "dropout_not_scaled_backwards",
        "wrong-scale|missing-derivative",
        "dfeatures = dkept * drop / keep",
        "dfeatures = dkept * drop",
    ),
    wrong(
        "maximum_reaches_every_position",
        "missing-derivative|different-function|broadcast",
        "dh[np.arange(n)[:, None], best, np.arange(filters)] = dpooled",
        "dh += dpooled[:, None]",
    ),
    wrong(
        "best_position_of_the_unmasked_windows",
        "wrong-operand|different-function",
        "best = np.argmax(h, axis=1)",
        "best = np.argmax(a, axis=1)",
    ),
    wrong("relu_slope_forgotten", "missing-derivative", "da = dh * (a > 0)", "da = dh"),
    wrong(
        "kernel_unfolded_in_the_other_order",
        "wrong-axis|wrong-operand|transposed",
        "dflat.reshape(width, size, filters).transpose(2, 1, 0)",
        "dflat.reshape(size, width, filters).transpose(2, 0, 1)",
    ),
    wrong(
        "kernel_reversed_backwards",
        "flipped|wrong-operand",
        "da @ K[:, :, k]",
        "da @ K[:, :, width - 1 - k]",
    ),
    wrong(
        "windows_overwrite_each_other",
        "overwritten",
        "dwords[:, k : k + positions] += ",
        "dwords[:, k : k + positions] = ",
    ),
    wrong("narrow_branch_replaced", "overwritten|missing-path", "    dwords += more\n", "    dwords = more\n"),
    wrong(
        "words_used_twice_overwrite",
        "overwritten",
        "np.add.at(dE, tokens, dwords * real[:, :, None])",
        "dE[tokens] += dwords * real[:, :, None]",
    ),
    wrong(
        "padding_word_learns",
        "missing-derivative|different-function|wrong-operand",
        "np.add.at(dE, tokens, dwords * real[:, :, None])",
        "np.add.at(dE, tokens, dwords)",
    ),
    wrong(
        "windows_in_the_padding_count_in_both",
        "different-function|wrong-operand",
        "h = np.maximum(a, 0) * real[:, :positions, None]",
        "h = np.maximum(a, 0)",
    ),
    wrong(
        "padding_embedded_in_both",
        "different-function|wrong-operand",
        "words = E[tokens] * real[:, :, None]",
        "words = E[tokens]",
        "np.add.at(dE, tokens, dwords * real[:, :, None])",
        "np.add.at(dE, tokens, dwords)",
    ),
    wrong(
        "summed_over_the_batch_in_cost",
        "wrong-loss",
        "loss = -np.mean(np.log(",
        "loss = -np.sum(np.log(",
    ),
]

TOGETHER = [
    ("label_columns_for_every_sentence", "words_used_twice_overwrite"),
    ("features_before_dropout", "dropout_not_scaled_backwards"),
    ("relu_slope_forgotten", "kernel_unfolded_in_the_other_order"),
    ("padding_embedded_in_both", "kernel_reversed_backwards"),
    ("best_position_of_the_unmasked_windows", "narrow_branch_replaced"),
    ("dropout_not_applied_backwards", "windows_overwrite_each_other"),
    ("features_before_dropout", "maximum_reaches_every_position", "padding_word_learns"),
    ("dropout_not_scaled_backwards", "kernel_unfolded_in_the_other_order", "words_used_twice_overwrite"),
]

RIGHT = [
    right(
        "sentence_by_sentence",
        "    dflat = windows.reshape(n * positions, -1).T @ da.reshape(n * positions, -1)\n",
        "    dflat = np.zeros((width * size, filters))\n"
        "    for s in range(n):\n"
        "        for f in range(filters):\n"
        "            at = best[s, f]\n"
        "            dflat[:, f] += da[s, at, f] * windows[s, at]\n",
        "    np.add.at(dE, tokens, dwords * real[:, :, None])\n",
        "    for s, sentence in enumerate(tokens):\n"
        "        for t, token in enumerate(sentence):\n"
        "            if token:\n"
        "                dE[token] += dwords[s, t]\n",
    ),
    right(
        "one_hot_words",
        "    dE = np.zeros_like(E)\n    np.add.at(dE, tokens, dwords * real[:, :, None])\n",
        "    hot = (tokens[:, :, None] == np.arange(len(E))) * real[:, :, None]\n"
        '    dE = np.einsum("ntv,ntd->vd", hot, dwords)\n',
        "    dscores = probs.copy()\n    dscores[np.arange(n), labels] -= 1\n    dscores /= n\n",
        "    dscores = (probs - np.eye(len(c))[labels]) / n\n",
    ),
    right(
        "maximum_as_a_mask",
        "    best = np.argmax(h, axis=1)\n"
        "    dh = np.zeros_like(h)\n"
        "    dh[np.arange(n)[:, None], best, np.arange(filters)] = dpooled\n"
        "    da = dh * (a > 0)\n",
        "    top = (h == h.max(axis=1, keepdims=True)) & (h > 0)\n"
        "    da = dpooled[:, None] * top / np.maximum(top.sum(axis=1, keepdims=True), 1)\n",
        "        dwords[:, k : k + positions] += da @ K[:, :, k]\n",
        '        dwords[:, k : k + positions] += np.einsum("npf,fd->npd", da, K[..., k])\n',
        "    loss = -np.mean(np.log(probs[np.arange(n), labels]))\n",
        "    shifted = scores - scores.max(axis=1, keepdims=True)\n"
        "    loss = np.mean(np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(n), labels])\n",
    ),
]
