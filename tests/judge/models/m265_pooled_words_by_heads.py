"""Sentences to classes: attention head by head past the padding, a residual, its norm, the mean of the real words."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, tokens, mask, labels):
    x = params["E"][tokens] + params["P"]
    q = torch.einsum("ntd,hdk->nhtk", x, params["Wq"])
    k = torch.einsum("ntd,hdk->nhtk", x, params["Wk"])
    v = torch.einsum("ntd,hdk->nhtk", x, params["Wv"])
    scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
    scores = scores.masked_fill(~mask[:, None, None, :], -torch.inf)
    heads = torch.softmax(scores, dim=-1) @ v
    joined = heads.transpose(1, 2).flatten(2)
    z = F.layer_norm(x + joined @ params["Wo"] + params["bo"], (x.shape[-1],), params["gamma"], params["beta"])
    real = mask.to(z.dtype)[:, :, None]
    pooled = (z * real).sum(dim=1) / real.sum(dim=1)
    return F.cross_entropy(pooled @ params["Wc"] + params["bc"], labels)


def softmax(z):
    e = np.exp(z - np.max(z, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def attention_head(X, mask, Wq, Wk, Wv):
    Q, K, V = X @ Wq, X @ Wk, X @ Wv
    scores = Q @ K.transpose(0, 2, 1) / np.sqrt(Wq.shape[1])
    scores = np.where(mask[:, None, :], scores, -1e9)
    A = softmax(scores)
    return A @ V, {"Q": Q, "K": K, "V": V, "A": A}


def attention_head_backward(dO, X, cache, Wq, Wk, Wv):
    Q, K, V, A = cache["Q"], cache["K"], cache["V"], cache["A"]
    dV = A.transpose(0, 2, 1) @ dO
    dA = dO @ V.transpose(0, 2, 1)
    dS = A * (dA - np.sum(dA * A, axis=-1, keepdims=True))
    dS /= np.sqrt(Wq.shape[1])
    dQ = dS @ K
    dK = dS.transpose(0, 2, 1) @ Q
    dWq = np.tensordot(X, dQ, axes=([0, 1], [0, 1]))
    dWk = np.tensordot(X, dK, axes=([0, 1], [0, 1]))
    dWv = np.tensordot(X, dV, axes=([0, 1], [0, 1]))
    dX = dQ @ Wq.T + dK @ Wk.T + dV @ Wv.T
    return dX, dWq, dWk, dWv


def layer_norm(R, gamma, beta, eps=1e-5):
    mu = R.mean(axis=-1, keepdims=True)
    inv = 1.0 / np.sqrt(R.var(axis=-1, keepdims=True) + eps)
    xhat = (R - mu) * inv
    return gamma * xhat + beta, (xhat, inv)


def layer_norm_backward(dZ, gamma, cache):
    xhat, inv = cache
    dgamma = np.sum(dZ * xhat, axis=(0, 1))
    dbeta = np.sum(dZ, axis=(0, 1))
    dxhat = dZ * gamma
    m1 = dxhat.mean(axis=-1, keepdims=True)
    m2 = np.mean(dxhat * xhat, axis=-1, keepdims=True)
    dR = inv * (dxhat - m1 - xhat * m2)
    return dR, dgamma, dbeta


def candidate(params, tokens, mask, labels):
    n, T = tokens.shape
    H = params["Wq"].shape[0]

    # ---- forward
    X = params["E"][tokens] + params["P"]
    outs, caches = [], []
    for h in range(H):
        out, cache = attention_head(X, mask, params["Wq"][h], params["Wk"][h], params["Wv"][h])
        outs.append(out)
        caches.append(cache)
    concat = np.concatenate(outs, axis=-1)
    R = X + concat @ params["Wo"] + params["bo"]
    Z, norm_cache = layer_norm(R, params["gamma"], params["beta"])
    real = mask[:, :, None].astype(float)
    count = real.sum(axis=1)
    pooled = np.sum(Z * real, axis=1) / count
    probs = softmax(pooled @ params["Wc"] + params["bc"])
    loss = -np.mean(np.log(probs[np.arange(n), labels]))

    # ---- backward
    grads = {key: np.zeros_like(val) for key, val in params.items()}
    dlogits = probs.copy()
    dlogits[np.arange(n), labels] -= 1
    dlogits /= n
    grads["Wc"] = pooled.T @ dlogits
    grads["bc"] = dlogits.sum(axis=0)
    dpooled = dlogits @ params["Wc"].T
    dZ = (dpooled / count)[:, None, :] * real
    dR, grads["gamma"], grads["beta"] = layer_norm_backward(dZ, params["gamma"], norm_cache)
    grads["Wo"] = np.tensordot(concat, dR, axes=([0, 1], [0, 1]))
    grads["bo"] = dR.sum(axis=(0, 1))
    dconcat = dR @ params["Wo"].T
    douts = np.split(dconcat, H, axis=-1)
    dX = dR.copy()
    for h in range(H):
        dXh, dWq, dWk, dWv = attention_head_backward(
            douts[h], X, caches[h], params["Wq"][h], params["Wk"][h], params["Wv"][h]
        )
        dX += dXh
        grads["Wq"][h] = dWq
        grads["Wk"][h] = dWk
        grads["Wv"][h] = dWv
    grads["P"] = dX.sum(axis=0)
    np.add.at(grads["E"], tokens, dX)
    return loss, grads


def problem(rng):
    n, T, words, d, heads, k, classes = 4, 5, 7, 6, 2, 3, 4
    params = {
        "E": rng.normal(size=(words, d)),
        "P": rng.normal(size=(T, d)) * 0.5,
        "Wq": rng.normal(size=(heads, d, k)) * 0.6,
        "Wk": rng.normal(size=(heads, d, k)) * 0.6,
        "Wv": rng.normal(size=(heads, d, k)) * 0.6,
        "Wo": rng.normal(size=(heads * k, d)) * 0.6,
        "bo": rng.normal(size=d) * 0.3,
        "gamma": 1 + rng.normal(size=d) * 0.4,
        "beta": rng.normal(size=d) * 0.3,
        "Wc": rng.normal(size=(d, classes)),
        "bc": rng.normal(size=classes) * 0.3,
    }
    lengths = rng.permutation([2, 3, 4, 5])
    mask = np.arange(T) < lengths[:, None]
    tokens = np.where(mask, rng.integers(1, words, size=(n, T)), 0)
    return params, (tokens, mask, rng.integers(0, classes, size=n))


WRONG = [
    wrong(
        "scores_not_scaled_backwards",
        "wrong-scale|missing-derivative",
        "    dS /= np.sqrt(Wq.shape[1])\n",
        "",
    ),
    wrong(
        "attention_slope_entry_by_entry",
        "diagonal-jacobian",
        "dS = A * (dA - np.sum(dA * A, axis=-1, keepdims=True))",
        "dS = A * (1 - A) * dA",
    ),
    wrong(
        "padding_attended_to_in_both",
        "different-function|wrong-operand",
        "    scores = np.where(mask[:, None, :], scores, -1e9)\n",
        "",
    ),
    wrong(
        "mean_over_the_padded_length_in_both",
        "different-function|wrong-operand|wrong-reduction",
        "count = real.sum(axis=1)",
        "count = T * np.ones((n, 1))",
    ),
    wrong("residual_forgotten_backwards", "missing-path", "dX = dR.copy()", "dX = np.zeros_like(dR)"),
    wrong("heads_overwrite_each_other", "overwritten|missing-path", "        dX += dXh\n", "        dX = dR + dXh\n"),
    wrong("keys_from_unturned_scores", "not-transposed", "dK = dS.transpose(0, 2, 1) @ Q", "dK = dS @ Q"),
    wrong(
        "values_lead_back_to_no_word",
        "missing-path",
        "dX = dQ @ Wq.T + dK @ Wk.T + dV @ Wv.T",
        "dX = dQ @ Wq.T + dK @ Wk.T",
    ),
    wrong(
        "output_weights_not_transposed",
        "not-transposed",
        'dconcat = dR @ params["Wo"].T',
        'dconcat = dR @ params["Wo"]',
    ),
    wrong(
        "variance_of_the_norm_held_constant",
        "missing-path",
        "dR = inv * (dxhat - m1 - xhat * m2)",
        "dR = inv * (dxhat - m1)",
    ),
    wrong("gain_forgotten_below_the_norm", "missing-derivative", "dxhat = dZ * gamma", "dxhat = dZ"),
    wrong(
        "repeated_words_overwritten",
        "overwritten",
        'np.add.at(grads["E"], tokens, dX)',
        'grads["E"][tokens] += dX',
    ),
    wrong(
        "pooling_mask_forgotten_backwards",
        "missing-derivative|wrong-operand",
        "dZ = (dpooled / count)[:, None, :] * real",
        "dZ = (dpooled / count)[:, None, :] * np.ones_like(real)",
    ),
    wrong(
        "sentences_summed_in_cost",
        "wrong-loss",
        "loss = -np.mean(np.log(",
        "loss = -np.sum(np.log(",
    ),
]

TOGETHER = [
    ("scores_not_scaled_backwards", "residual_forgotten_backwards"),
    ("attention_slope_entry_by_entry", "gain_forgotten_below_the_norm"),
    ("padding_attended_to_in_both", "output_weights_not_transposed"),
    ("mean_over_the_padded_length_in_both", "keys_from_unturned_scores"),
    ("heads_overwrite_each_other", "variance_of_the_norm_held_constant"),
    ("values_lead_back_to_no_word", "pooling_mask_forgotten_backwards"),
    ("repeated_words_overwritten", "sentences_summed_in_cost"),
    ("output_weights_not_transposed", "repeated_words_overwritten"),
    ("attention_slope_entry_by_entry", "residual_forgotten_backwards", "sentences_summed_in_cost"),
    ("variance_of_the_norm_held_constant", "keys_from_unturned_scores", "repeated_words_overwritten"),
]

RIGHT = [
    right(
        "softmax_row_by_row_with_its_whole_jacobian",
        "    dS = A * (dA - np.sum(dA * A, axis=-1, keepdims=True))\n",
        "    dS = np.zeros_like(A)\n"
        "    for i in range(A.shape[0]):\n"
        "        for t in range(A.shape[1]):\n"
        "            a = A[i, t]\n"
        "            dS[i, t] = (np.diag(a) - np.outer(a, a)) @ dA[i, t]\n",
    ),
    right(
        "each_sentence_pooled_without_its_padding",
        "pooled = np.sum(Z * real, axis=1) / count",
        "pooled = np.array([Z[i, mask[i]].mean(axis=0) for i in range(n)])",
        "    dZ = (dpooled / count)[:, None, :] * real\n",
        "    dZ = np.zeros_like(Z)\n    for i in range(n):\n        dZ[i, mask[i]] = dpooled[i] / mask[i].sum()\n",
    ),
]
