"""One layer of masked cross-attention on word embeddings, a residual, and a yes or no for every word."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, tokens, memory, mask, y):
    x = F.embedding(tokens, params["E"])
    query = (x @ params["Wq"] + params["bq"]).unsqueeze(1)
    key, value = (memory @ params[name] for name in ("Wk", "Wv"))
    allowed = (mask == 0).unsqueeze(1)
    context = F.scaled_dot_product_attention(query, key.unsqueeze(1), value.unsqueeze(1), attn_mask=allowed)
    logits = torch.tanh(x + context.squeeze(1)) @ params["w"] + params["c"]
    return F.binary_cross_entropy_with_logits(logits, y)


def attention_forward(query, key, value, mask):
    d_k = query.shape[-1]
    scores = np.matmul(query, key.transpose(0, 2, 1)) / np.sqrt(d_k)
    scores += mask * -1e9
    exp_scores = np.exp(scores - np.max(scores, axis=-1, keepdims=True))
    weights = exp_scores / np.sum(exp_scores, axis=-1, keepdims=True)
    return np.matmul(weights, value), (query, key, value, weights)


def attention_backward(grad_output, cache):
    query, key, value, weights = cache
    d_k = query.shape[-1]
    grad_weights = np.matmul(grad_output, value.transpose(0, 2, 1))
    grad_scores = weights * (grad_weights - np.sum(grad_weights * weights, axis=-1, keepdims=True))
    grad_query = np.matmul(grad_scores, key) / np.sqrt(d_k)
    grad_key = np.matmul(grad_scores.transpose(0, 2, 1), query) / np.sqrt(d_k)
    return grad_query, grad_key


def candidate(params, tokens, memory, mask, y):
    E, Wq, bq, Wk, Wv, w, c = (params[name] for name in ("E", "Wq", "bq", "Wk", "Wv", "w", "c"))
    x = E[tokens]
    context, cache = attention_forward(x @ Wq + bq, memory @ Wk, memory @ Wv, mask)
    h = np.tanh(x + context)
    p = 1 / (1 + np.exp(-(h @ w + c)))
    loss = -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))

    grads = {name: np.zeros_like(value) for name, value in params.items()}
    dlogit = (p - y) / y.size
    grads["w"] = np.tensordot(dlogit, h, axes=2)
    grads["c"] = np.array([dlogit.sum()])
    dz = dlogit[:, :, None] * w * (1 - h**2)
    grad_query, grad_key = attention_backward(dz, cache)
    grads["Wq"] = np.tensordot(x, grad_query, axes=([0, 1], [0, 1]))
    grads["bq"] = grad_query.sum(axis=(0, 1))
    grads["Wk"] = np.tensordot(memory, grad_key, axes=([0, 1], [0, 1]))
    dx = dz.copy()
    dx += np.matmul(grad_query, Wq.T)
    np.add.at(grads["E"], tokens, dx)
    grad_value = np.matmul(cache[3].transpose(0, 2, 1), dz)
    grads["Wv"] = np.tensordot(memory, grad_value, axes=([0, 1], [0, 1]))
    return loss, grads


def problem(rng):
    n, words, places, width, depth, inner = 4, 5, 6, 3, 7, 2
    params = {
        "E": rng.normal(size=(7, width)) * 0.8,
        "Wq": rng.normal(size=(width, inner)) * 1.2,
        "bq": rng.normal(size=inner) * 0.5,
        "Wk": rng.normal(size=(depth, inner)) * 0.6,
        "Wv": rng.normal(size=(depth, width)) * 0.5,
        "w": rng.normal(size=width) * 1.3,
        "c": rng.normal(size=1) * 0.4,
    }
    tokens = rng.integers(0, 7, size=(n, words))
    mask = (rng.random(size=(n, words, places)) < 0.3).astype(float)
    mask[:, :, 2] = 0
    y = rng.integers(0, 2, size=(n, words)).astype(float)
    return params, (tokens, rng.normal(size=(n, places, depth)), mask, y)


WRONG = [
    wrong(
        "softmax_slope_entry_by_entry",
        "diagonal-jacobian",
        "grad_scores = weights * (grad_weights - np.sum(grad_weights * weights, axis=-1, keepdims=True))",
        "grad_scores = grad_weights * (weights * (1 - weights))",
    ),
    wrong(
        "root_of_the_width_forgotten_backwards",
        "wrong-scale|missing-derivative",
        "grad_query = np.matmul(grad_scores, key) / np.sqrt(d_k)",
        "grad_query = np.matmul(grad_scores, key)",
        "grad_key = np.matmul(grad_scores.transpose(0, 2, 1), query) / np.sqrt(d_k)",
        "grad_key = np.matmul(grad_scores.transpose(0, 2, 1), query)",
    ),
    wrong(
        "softmax_normaliser_over_the_words_backwards",
        "wrong-axis",
        "np.sum(grad_weights * weights, axis=-1, keepdims=True)",
        "np.sum(grad_weights * weights, axis=1, keepdims=True)",
    ),
    wrong(
        "residual_forgotten_backwards",
        "missing-path",
        "dx = dz.copy()",
        "dx = np.zeros_like(dz)",
    ),
    wrong(
        "query_hands_nothing_to_the_words",
        "missing-path",
        "    dx += np.matmul(grad_query, Wq.T)\n",
        "",
    ),
    wrong(
        "residual_is_no_copy",
        "wrong-operand",
        "dx = dz.copy()",
        "dx = dz",
    ),
    wrong(
        "repeated_words_keep_one_gradient",
        "overwritten",
        'np.add.at(grads["E"], tokens, dx)',
        'grads["E"][tokens] += dx',
    ),
    wrong(
        "tanh_slope_at_its_value",
        "derivative-at-wrong-point",
        "dz = dlogit[:, :, None] * w * (1 - h**2)",
        "dz = dlogit[:, :, None] * w * (1 - np.tanh(h) ** 2)",
    ),
    wrong(
        "query_bias_averaged_over_the_words",
        "wrong-reduction|wrong-scale",
        "grad_query.sum(axis=(0, 1))",
        "grad_query.sum(axis=0).mean(axis=0)",
    ),
    wrong(
        "mask_left_out_in_both",
        "different-function",
        "    scores += mask * -1e9\n",
        "",
    ),
    wrong(
        "logistic_slope_once_more",
        "extra-derivative",
        "dlogit = (p - y) / y.size",
        "dlogit = (p - y) * p * (1 - p) / y.size",
    ),
    wrong(
        "negatives_missing_from_the_cost",
        "wrong-loss",
        "loss = -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))",
        "loss = -np.mean(y * np.log(p))",
    ),
]

TOGETHER = [
    ("softmax_slope_entry_by_entry", "root_of_the_width_forgotten_backwards"),
    ("logistic_slope_once_more", "repeated_words_keep_one_gradient"),
    ("query_hands_nothing_to_the_words", "query_bias_averaged_over_the_words"),
    ("tanh_slope_at_its_value", "residual_forgotten_backwards"),
]

RIGHT = [
    right(
        "jacobian_of_every_row",
        "    grad_scores = weights * (grad_weights - np.sum(grad_weights * weights, axis=-1, keepdims=True))\n",
        "    grad_scores = np.zeros_like(weights)\n"
        "    for i in range(len(weights)):\n"
        "        for j in range(weights.shape[1]):\n"
        "            s = weights[i, j]\n"
        "            grad_scores[i, j] = (np.diag(s) - np.outer(s, s)) @ grad_weights[i, j]\n",
        '    np.add.at(grads["E"], tokens, dx)\n',
        '    for word in range(len(E)):\n        grads["E"][word] = dx[tokens == word].sum(axis=0)\n',
    ),
]
