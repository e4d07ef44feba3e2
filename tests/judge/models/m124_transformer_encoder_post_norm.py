"""A post-norm transformer encoder block on padded token sequences: sinusoidal positions, masked mean, a classifier."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, tokens, y):
    n, steps = tokens.shape
    d, heads = params["E"].shape[1], 2
    position = torch.arange(steps).unsqueeze(1)
    rate = torch.exp(torch.arange(0, d, 2, dtype=params["E"].dtype) * (-math.log(10000.0) / d))
    pe = torch.zeros(steps, d, dtype=params["E"].dtype)
    pe[:, 0::2] = torch.sin(position * rate)
    pe[:, 1::2] = torch.cos(position * rate)
    x = F.embedding(tokens, params["E"]) * math.sqrt(d) + pe
    padding = tokens == 0
    q, k, v = (x @ params["Wqkv"] + params["bqkv"]).chunk(3, dim=-1)
    q, k, v = (part.view(n, steps, heads, d // heads).transpose(1, 2) for part in (q, k, v))
    scores = q @ k.transpose(-2, -1) / math.sqrt(d // heads)
    scores = scores.masked_fill(padding[:, None, None, :], -1e9)
    context = (F.softmax(scores, dim=-1) @ v).transpose(1, 2).contiguous().view(n, steps, d)
    x = F.layer_norm(x + context @ params["Wo"] + params["bo"], (d,), params["g1"], params["s1"])
    ff = F.relu(x @ params["W1"] + params["b1"]) @ params["W2"] + params["b2"]
    x = F.layer_norm(x + ff, (d,), params["g2"], params["s2"])
    keep = (~padding).unsqueeze(-1).to(x.dtype)
    pooled = (x * keep).sum(1) / keep.sum(1)
    return F.cross_entropy(pooled @ params["Wc"] + params["bc"], y)


def sinusoids(steps, d):
    column = np.arange(d)
    angle = np.arange(steps)[:, None] / 10000.0 ** (2 * (column // 2) / d)
    return np.where(column % 2 == 0, np.sin(angle), np.cos(angle))


def split_heads(a, heads):
    n, steps, d = a.shape
    return a.reshape(n, steps, heads, d // heads).transpose(0, 2, 1, 3)


def merge_heads(a):
    n, heads, steps, width = a.shape
    return a.transpose(0, 2, 1, 3).reshape(n, steps, heads * width)


def softmax(z):
    with np.errstate(under="ignore"):
        e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def norm_forward(r, gain, shift):
    centred = r - r.mean(axis=-1, keepdims=True)
    variance = np.sum(centred**2, axis=-1, keepdims=True) / r.shape[-1]
    inv = 1 / np.sqrt(variance + 1e-5)
    hat = centred * inv
    return gain * hat + shift, (hat, inv, gain)


def norm_backward(dout, cache):
    hat, inv, gain = cache
    dgain = np.sum(dout * hat, axis=(0, 1))
    dshift = np.sum(dout, axis=(0, 1))
    dhat = dout * gain
    along = np.sum(dhat * hat, axis=-1, keepdims=True) / hat.shape[-1]
    dr = inv * (dhat - dhat.mean(axis=-1, keepdims=True) - hat * along)
    return dr, dgain, dshift


def linear_backward(dout, a, W):
    dW = np.tensordot(a, dout, axes=((0, 1), (0, 1)))
    db = dout.sum(axis=(0, 1))
    return dout @ W.T, dW, db


def candidate(params, tokens, y, heads=2):
    E, Wqkv, Wo, W1, W2, Wc = (params[name] for name in ("E", "Wqkv", "Wo", "W1", "W2", "Wc"))
    n, steps = tokens.shape
    d = E.shape[1]
    mask = (tokens != 0).astype(E.dtype)
    scale = 1 / math.sqrt(d // heads)
    # attention
    x = E[tokens] * math.sqrt(d) + sinusoids(steps, d)
    qkv = x @ Wqkv + params["bqkv"]
    q, k, v = (split_heads(part, heads) for part in np.split(qkv, 3, axis=-1))
    scores = q @ k.transpose(0, 1, 3, 2) * scale
    A = softmax(scores + (1 - mask)[:, None, None, :] * -1e9)
    context = merge_heads(A @ v)
    r1 = x + context @ Wo + params["bo"]
    h1, cache1 = norm_forward(r1, params["g1"], params["s1"])
    # feed-forward
    a = h1 @ W1 + params["b1"]
    f = np.maximum(a, 0)
    r2 = h1 + f @ W2 + params["b2"]
    h2, cache2 = norm_forward(r2, params["g2"], params["s2"])
    # classifier
    counts = mask.sum(axis=1)
    pooled = np.sum(h2 * mask[:, :, None], axis=1) / counts[:, None]
    probs = softmax(pooled @ Wc + params["bc"])
    loss = -np.mean(np.log(probs[np.arange(n), y]))

    grads = {}
    dlogits = probs.copy()
    dlogits[np.arange(n), y] -= 1
    dlogits /= n
    grads["Wc"] = pooled.T @ dlogits
    grads["bc"] = dlogits.sum(axis=0)
    dpooled = dlogits @ Wc.T
    dh2 = dpooled[:, None, :] * mask[:, :, None] / counts[:, None, None]
    dr2, grads["g2"], grads["s2"] = norm_backward(dh2, cache2)
    df, grads["W2"], grads["b2"] = linear_backward(dr2, f, W2)
    da = df * (a > 0)
    dh1, grads["W1"], grads["b1"] = linear_backward(da, h1, W1)
    dh1 = dh1 + dr2
    dr1, grads["g1"], grads["s1"] = norm_backward(dh1, cache1)
    dcontext, grads["Wo"], grads["bo"] = linear_backward(dr1, context, Wo)
    dheads = split_heads(dcontext, heads)
    dA = dheads @ v.transpose(0, 1, 3, 2)
    dv = A.transpose(0, 1, 3, 2) @ dheads
    dscores = A * (dA - np.sum(dA * A, axis=-1, keepdims=True)) * scale
    dq = dscores @ k
    dk = dscores.transpose(0, 1, 3, 2) @ q
    dqkv = np.concatenate([merge_heads(dq), merge_heads(dk), merge_heads(dv)], axis=-1)
    dx, grads["Wqkv"], grads["bqkv"] = linear_backward(dqkv, x, Wqkv)
    dx = dx + dr1
    grads["E"] = np.zeros_like(E)
    np.add.at(grads["E"], tokens, dx * math.sqrt(d))
    return loss, grads


def problem(rng):
    vocabulary, d, hidden, classes, n, steps = 11, 6, 9, 4, 7, 5
    shapes = {"Wqkv": (d, 3 * d), "Wo": (d, d), "W1": (d, hidden), "W2": (hidden, d), "Wc": (d, classes)}
    params = {"E": rng.normal(size=(vocabulary, d)) * 0.4}
    for name, shape in shapes.items():
        params[name] = rng.normal(size=shape) * 1.2 / np.sqrt(shape[0])
        params["b" + name[1:].lower()] = rng.normal(size=shape[1]) * 0.4
    for i in (1, 2):
        params[f"g{i}"] = 1 + rng.normal(size=d) * 0.3
        params[f"s{i}"] = rng.normal(size=d) * 0.4
    tokens = rng.integers(1, vocabulary, size=(n, steps))
    lengths = np.array([5, 3, 4, 2, 5, 3, 4])
    tokens[np.arange(steps) >= lengths[:, None]] = 0
    return params, (tokens, rng.integers(0, classes, size=n))


WRONG = [
    wrong(
        "loss_gradient_summed_over_the_batch",
        "wrong-scale|wrong-reduction|wrong-term-weight",
        "    dlogits /= n\n",
        "",
    ),
    wrong(
        "padding_gets_pooled_gradient",
        "missing-derivative|wrong-operand|different-function",
        "dh2 = dpooled[:, None, :] * mask[:, :, None] / counts[:, None, None]",
        "dh2 = np.repeat(dpooled[:, None, :], steps, axis=1) / counts[:, None, None]",
    ),
    wrong(
        "pooled_gradient_over_the_padded_length",
        "wrong-operand|wrong-reduction|wrong-scale|different-function",
        "mask[:, :, None] / counts[:, None, None]",
        "mask[:, :, None] / steps",
    ),
    wrong(
        "mean_route_of_the_norm_forgotten",
        "missing-path",
        "dr = inv * (dhat - dhat.mean(axis=-1, keepdims=True) - hat * along)",
        "dr = inv * (dhat - hat * along)",
    ),
    wrong(
        "variance_with_one_less_in_both",
        "different-function|wrong-scale",
        "np.sum(centred**2, axis=-1, keepdims=True) / r.shape[-1]",
        "np.sum(centred**2, axis=-1, keepdims=True) / (r.shape[-1] - 1)",
        "np.sum(dhat * hat, axis=-1, keepdims=True) / hat.shape[-1]",
        "np.sum(dhat * hat, axis=-1, keepdims=True) / (hat.shape[-1] - 1)",
    ),
    wrong(
        "second_residual_around_the_norm_too",
        "wrong-operand|missing-derivative|missing-path|different-function",
        "dh1 = dh1 + dr2",
        "dh1 = dh1 + dh2",
    ),
    wrong("first_residual_forgotten", "missing-path", "    dx = dx + dr1\n", ""),
    wrong(
        "feed_forward_on_the_unnormalised_sum",
        "wrong-operand|derivative-at-wrong-point",
        "linear_backward(da, h1, W1)",
        "linear_backward(da, r1, W1)",
    ),
    wrong(
        "heads_reshaped_without_transpose",
        "not-transposed|wrong-axis|wrong-operand|different-function",
        "dheads = split_heads(dcontext, heads)",
        "dheads = dcontext.reshape(n, heads, steps, d // heads)",
    ),
    wrong(
        "attention_softmax_elementwise",
        "diagonal-jacobian",
        "dscores = A * (dA - np.sum(dA * A, axis=-1, keepdims=True)) * scale",
        "dscores = dA * A * (1 - A) * scale",
    ),
    wrong(
        "attention_softmax_sum_over_queries",
        "wrong-axis",
        "np.sum(dA * A, axis=-1, keepdims=True)",
        "np.sum(dA * A, axis=-2, keepdims=True)",
    ),
    wrong(
        "score_scale_forgotten",
        "wrong-scale|missing-derivative",
        "dscores = A * (dA - np.sum(dA * A, axis=-1, keepdims=True)) * scale",
        "dscores = A * (dA - np.sum(dA * A, axis=-1, keepdims=True))",
    ),
    wrong(
        "keys_take_the_scores_untransposed",
        "not-transposed|transposed|wrong-operand|wrong-axis",
        "dk = dscores.transpose(0, 1, 3, 2) @ q",
        "dk = dscores @ q",
    ),
    wrong(
        "mask_on_the_queries_in_both",
        "wrong-axis|wrong-operand|different-function",
        "(1 - mask)[:, None, None, :] * -1e9",
        "(1 - mask)[:, None, :, None] * -1e9",
    ),
    wrong(
        "repeated_tokens_overwrite",
        "overwritten",
        'np.add.at(grads["E"], tokens, dx * math.sqrt(d))',
        'grads["E"][tokens] += dx * math.sqrt(d)',
    ),
    wrong(
        "embedding_scale_forgotten",
        "wrong-scale|missing-derivative",
        "tokens, dx * math.sqrt(d))",
        "tokens, dx)",
    ),
]

TOGETHER = [
    ("score_scale_forgotten", "embedding_scale_forgotten"),
    ("mean_route_of_the_norm_forgotten", "keys_take_the_scores_untransposed"),
    ("loss_gradient_summed_over_the_batch", "feed_forward_on_the_unnormalised_sum"),
    ("heads_reshaped_without_transpose", "repeated_tokens_overwrite"),
    ("pooled_gradient_over_the_padded_length", "first_residual_forgotten"),
    ("attention_softmax_elementwise", "mask_on_the_queries_in_both"),
    ("second_residual_around_the_norm_too", "attention_softmax_sum_over_queries", "embedding_scale_forgotten"),
    ("padding_gets_pooled_gradient", "feed_forward_on_the_unnormalised_sum", "score_scale_forgotten"),
]

RIGHT = [
    right(
        "attention_backward_head_by_head",
        "    dA = dheads @ v.transpose(0, 1, 3, 2)\n"
        "    dv = A.transpose(0, 1, 3, 2) @ dheads\n"
        "    dscores = A * (dA - np.sum(dA * A, axis=-1, keepdims=True)) * scale\n"
        "    dq = dscores @ k\n"
        "    dk = dscores.transpose(0, 1, 3, 2) @ q\n",
        "    dq, dk, dv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)\n"
        "    for i in range(n):\n"
        "        for head in range(heads):\n"
        "            weights = A[i, head]\n"
        "            dv[i, head] = weights.T @ dheads[i, head]\n"
        "            for t in range(steps):\n"
        "                jacobian = np.diag(weights[t]) - np.outer(weights[t], weights[t])\n"
        "                ds = jacobian @ (v[i, head] @ dheads[i, head, t]) * scale\n"
        "                dq[i, head, t] = ds @ k[i, head]\n"
        "                dk[i, head] += np.outer(ds, q[i, head, t])\n",
    ),
    right(
        "norm_by_its_variance_and_mean",
        "    along = np.sum(dhat * hat, axis=-1, keepdims=True) / hat.shape[-1]\n"
        "    dr = inv * (dhat - dhat.mean(axis=-1, keepdims=True) - hat * along)\n",
        "    centred = hat / inv\n"
        "    dvariance = np.sum(dhat * centred * -0.5 * inv**3, axis=-1, keepdims=True)\n"
        "    dr = dhat * inv + dvariance * 2 * centred / hat.shape[-1]\n"
        "    dr -= np.sum(dr, axis=-1, keepdims=True) / hat.shape[-1]\n",
    ),
    right(
        "indicators_for_indices_in_place",
        "    dlogits = probs.copy()\n    dlogits[np.arange(n), y] -= 1\n    dlogits /= n\n",
        "    dlogits = (probs - np.eye(Wc.shape[1])[y]) / n\n",
        '    grads["E"] = np.zeros_like(E)\n    np.add.at(grads["E"], tokens, dx * math.sqrt(d))\n',
        "    dx *= math.sqrt(d)\n"
        "    found = np.eye(len(E))[tokens.ravel()]\n"
        '    grads["E"] = found.T @ dx.reshape(-1, d)\n',
        "    dx = dx + dr1\n",
        "    dx += dr1\n",
    ),
]
