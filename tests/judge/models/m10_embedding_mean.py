"""Words looked up in an embedding, their mean classified: words occur several times in a sentence and in the batch."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, words, y):
    v = F.embedding(words, params["E"])
    h = torch.tanh(v.mean(dim=1) @ params["W"] + params["b"])
    logits = h @ params["V"]
    return F.nll_loss(F.log_softmax(logits, dim=1), y)


def candidate(params, words, y):
    E, W, b, V = params["E"], params["W"], params["b"], params["V"]
    n, length = words.shape
    v = E[words]
    m = v.mean(axis=1)
    h = np.tanh(m @ W + b)
    logits = h @ V
    logp = logits - logits.max(axis=1, keepdims=True)
    logp = logp - np.log(np.exp(logp).sum(axis=1, keepdims=True))
    loss = -logp[np.arange(n), y].mean()
    dlogits = np.exp(logp)
    dlogits[np.arange(n), y] -= 1
    dlogits /= n
    dV = h.T @ dlogits
    da = (dlogits @ V.T) * (1 - h**2)
    dW = m.T @ da
    db = da.sum(axis=0)
    dm = da @ W.T
    dE = np.zeros_like(E)
    for i in range(n):
        for j in range(length):
            dE[words[i, j]] += dm[i] / length
    return loss, {"E": dE, "W": dW, "b": db, "V": dV}


def problem(rng):
    params = {
        "E": rng.normal(size=(8, 4)),
        "W": rng.normal(size=(4, 4)),
        "b": rng.normal(size=4),
        "V": rng.normal(size=(4, 3)),
    }
    words = rng.integers(0, 7, size=(5, 6))
    words[0, :3] = 2
    return params, (words, rng.integers(0, 3, size=5))


LOOP = """    for i in range(n):
        for j in range(length):
            dE[words[i, j]] += dm[i] / length
"""

WRONG = [
    wrong("repeated_words_overwritten", "overwritten", LOOP, "    dE[words] += dm[:, None] / length\n"),
    wrong("words_assigned", "overwritten", "dE[words[i, j]] += dm", "dE[words[i, j]] = dm"),
    wrong("length_forgotten", "wrong-scale|wrong-reduction", "dm[i] / length", "dm[i]"),
    wrong("divided_by_batch_instead", "wrong-scale", "dm[i] / length", "dm[i] / n"),
    wrong(
        "first_word_only", "overwritten|missing-path|last-step-only", "for j in range(length):", "for j in range(1):"
    ),
    wrong("last_sentence_only", "one-sample-only|overwritten", "for i in range(n):", "for i in range(n - 1, n):"),
    wrong("tanh_derivative_forgotten", "missing-derivative", " * (1 - h**2)", ""),
    wrong("tanh_derivative_at_activation", "derivative-at-wrong-point", "(1 - h**2)", "(1 - np.tanh(h) ** 2)"),
    wrong("tanh_derivative_twice", "extra-derivative", "dW = m.T @ da", "da = da * (1 - h**2)\n    dW = m.T @ da"),
    wrong("W_not_transposed", "not-transposed", "dm = da @ W.T", "dm = da @ W"),
    wrong("not_averaged", "wrong-scale|wrong-reduction", "    dlogits /= n\n", ""),
    wrong("softmax_alone", "missing-path", "    dlogits[np.arange(n), y] -= 1\n", ""),
    wrong("V_from_the_mean_word", "wrong-operand", "dV = h.T @ dlogits", "dV = m.T @ dlogits"),
    wrong(
        "embedding_of_zero_is_padding",
        "missing-path|overwritten",
        "    return loss, {",
        "    dE[2] = 0\n    return loss, {",
    ),
    wrong(
        "sum_of_words_in_both", "wrong-reduction", "m = v.mean(axis=1)", "m = v.sum(axis=1)", "dm[i] / length", "dm[i]"
    ),
    wrong(
        "relu_in_both",
        "different-function",
        "h = np.tanh(m @ W + b)",
        "h = np.maximum(m @ W + b, 0)",
        "(1 - h**2)",
        "(h > 0)",
    ),
    wrong(
        "probability_as_loss",
        "wrong-loss",
        "loss = -logp[np.arange(n), y].mean()",
        "loss = -np.exp(logp)[np.arange(n), y].mean()",
    ),
    wrong(
        "divided_by_zero",
        "not-finite",
        "db = da.sum(axis=0)",
        "with np.errstate(all='ignore'):\n        db = da.sum(axis=0) / np.zeros(4)",
    ),
]

TOGETHER = [
    ("repeated_words_overwritten", "tanh_derivative_forgotten"),
    ("length_forgotten", "W_not_transposed"),
    ("softmax_alone", "tanh_derivative_at_activation"),
    ("probability_as_loss", "W_not_transposed"),
    ("tanh_derivative_forgotten", "W_not_transposed", "length_forgotten"),
]

RIGHT = [
    right("add_at", LOOP, "    np.add.at(dE, words, np.repeat(dm[:, None] / length, length, axis=1))\n"),
    right(
        "counts",
        LOOP,
        "    counts = np.zeros((n, len(E)))\n    for i in range(n):\n"
        "        counts[i] = np.bincount(words[i], minlength=len(E))\n"
        "    dE = counts.T @ dm / length\n",
    ),
]
