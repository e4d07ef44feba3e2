"""A one-block GPT: token and position embeddings, pre-norm causal attention with one qkv matrix, GELU MLP, head."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, tokens, targets):
    n, T = tokens.shape
    d = params["wte"].shape[1]

    def heads(a):
        return a.view(n, T, 2, d // 2).transpose(1, 2)

    x = F.embedding(tokens, params["wte"]) + F.embedding(torch.arange(T), params["wpe"])
    normed = F.layer_norm(x, (d,), params["ln1_g"], params["ln1_b"])
    q, k, v = F.linear(normed, params["Wqkv"], params["bqkv"]).split(d, dim=2)
    y = F.scaled_dot_product_attention(heads(q), heads(k), heads(v), is_causal=True)
    x = x + F.linear(y.transpose(1, 2).reshape(n, T, d), params["Wo"], params["bo"])
    normed = F.layer_norm(x, (d,), params["ln2_g"], params["ln2_b"])
    inner = F.gelu(F.linear(normed, params["Wfc"], params["bfc"]), approximate="tanh")
    x = x + F.linear(inner, params["Wproj"], params["bproj"])
    logits = F.layer_norm(x, (d,), params["lnf_g"], params["lnf_b"]) @ params["head"].T
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1)


def layernorm(x, g, b, eps=1e-5):
    mean = x.mean(axis=-1, keepdims=True)
    rstd = 1 / np.sqrt(x.var(axis=-1, keepdims=True) + eps)
    norm = (x - mean) * rstd
    return norm * g + b, (norm, rstd, g)


def layernorm_backward(dout, cache):
    norm, rstd, g = cache
    dg = np.sum(dout * norm, axis=(0, 1))
    db = np.sum(dout, axis=(0, 1))
    dnorm = dout * g
    dnorm_mean = dnorm.mean(axis=-1, keepdims=True)
    dnorm_norm_mean = (dnorm * norm).mean(axis=-1, keepdims=True)
    dx = (dnorm - dnorm_mean - norm * dnorm_norm_mean) * rstd
    return dx, dg, db


def linear_backward(dout, given, weight):
    """The gradients of the input, the weight and the bias."""
    rows = dout.reshape(-1, dout.shape[-1])
    return dout @ weight, rows.T @ given.reshape(len(rows), -1), rows.sum(axis=0)


def gelu(u):
    return 0.5 * u * (1 + np.tanh(math.sqrt(2 / math.pi) * (u + 0.044715 * u**3)))


def gelu_backward(dout, u):
    s = math.sqrt(2 / math.pi)
    th = np.tanh(s * (u + 0.044715 * u**3))
    inner = s * (1 + 3 * 0.044715 * u**2)
    return dout * (0.5 * (1 + th) + 0.5 * u * (1 - th**2) * inner)


def to_heads(a, heads):
    n, T, d = a.shape
    return a.reshape(n, T, heads, d // heads).transpose(0, 2, 1, 3)


def from_heads(a):
    n, heads, T, size = a.shape
    return a.transpose(0, 2, 1, 3).reshape(n, T, heads * size)


def attention(qkv, heads):
    d = qkv.shape[2] // 3
    T = qkv.shape[1]
    q, k, v = (to_heads(part, heads) for part in np.split(qkv, 3, axis=2))
    scale = 1 / math.sqrt(d // heads)
    att = np.einsum("nhqc,nhkc->nhqk", q, k) * scale
    visible = np.tril(np.ones((T, T), dtype=bool))
    att = np.where(visible, att, -np.inf)
    att = np.exp(att - att.max(axis=-1, keepdims=True))
    att = att / att.sum(axis=-1, keepdims=True)
    return from_heads(att @ v), (q, k, v, att, scale)


def attention_backward(dout, cache):
    q, k, v, att, scale = cache
    dy = to_heads(dout, q.shape[1])
    dv = att.swapaxes(2, 3) @ dy
    datt = dy @ v.swapaxes(2, 3)
    dpre = att * (datt - np.sum(datt * att, axis=-1, keepdims=True))
    dq = dpre @ k * scale
    dk = dpre.swapaxes(2, 3) @ q * scale
    return np.concatenate([from_heads(dq), from_heads(dk), from_heads(dv)], axis=2)


def candidate(params, tokens, targets, heads=2):
    P, G = params, {}
    n, T = tokens.shape

    emb = P["wte"][tokens] + P["wpe"][:T]
    h1, ln1_cache = layernorm(emb, P["ln1_g"], P["ln1_b"])
    qkv = h1 @ P["Wqkv"].T + P["bqkv"]
    y, att_cache = attention(qkv, heads)
    x1 = emb + y @ P["Wo"].T + P["bo"]
    h2, ln2_cache = layernorm(x1, P["ln2_g"], P["ln2_b"])
    u = h2 @ P["Wfc"].T + P["bfc"]
    act = gelu(u)
    x2 = x1 + act @ P["Wproj"].T + P["bproj"]
    hf, lnf_cache = layernorm(x2, P["lnf_g"], P["lnf_b"])
    logits = hf @ P["head"].T
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probs = e / e.sum(axis=-1, keepdims=True)
    counted = targets != -1
    one_hot = np.eye(len(P["head"]))[targets]
    loss = -np.sum(counted * np.log(np.sum(probs * one_hot, axis=-1))) / counted.sum()

    dlogits = (probs - one_hot) * counted[:, :, None] / counted.sum()
    G["head"] = np.einsum("ntv,ntd->vd", dlogits, hf)
    dhf = dlogits @ P["head"]
    dx2, G["lnf_g"], G["lnf_b"] = layernorm_backward(dhf, lnf_cache)
    # feed-forward network
    dact, G["Wproj"], G["bproj"] = linear_backward(dx2, act, P["Wproj"])
    du = gelu_backward(dact, u)
    dh2, G["Wfc"], G["bfc"] = linear_backward(du, h2, P["Wfc"])
    dbranch, G["ln2_g"], G["ln2_b"] = layernorm_backward(dh2, ln2_cache)
    dx1 = dx2 + dbranch
    # attention
    dy, G["Wo"], G["bo"] = linear_backward(dx1, y, P["Wo"])
    dqkv = attention_backward(dy, att_cache)
    dh1, G["Wqkv"], G["bqkv"] = linear_backward(dqkv, h1, P["Wqkv"])
    dbranch, G["ln1_g"], G["ln1_b"] = layernorm_backward(dh1, ln1_cache)
    demb = dx1 + dbranch
    # embeddings
    G["wte"] = np.zeros_like(P["wte"])
    np.add.at(G["wte"], tokens, demb)
    G["wpe"] = np.zeros_like(P["wpe"])
    G["wpe"][:T] = demb.sum(axis=0)
    return loss, G


def problem(rng):
    vocabulary, block, d, hidden = 9, 7, 8, 10
    params = {
        "wte": rng.normal(size=(vocabulary, d)) * 0.8,
        "wpe": rng.normal(size=(block, d)) * 0.6,
        "Wqkv": rng.normal(size=(3 * d, d)) * 0.5,
        "bqkv": rng.normal(size=3 * d) * 0.4,
        "Wo": rng.normal(size=(d, d)) * 0.5,
        "bo": rng.normal(size=d) * 0.3,
        "Wfc": rng.normal(size=(hidden, d)) * 0.5,
        "bfc": rng.normal(size=hidden) * 0.4,
        "Wproj": rng.normal(size=(d, hidden)) * 0.5,
        "bproj": rng.normal(size=d) * 0.3,
        "head": rng.normal(size=(vocabulary, d)) * 0.6,
    }
    for name in ("ln1", "ln2", "lnf"):
        params[f"{name}_g"] = rng.uniform(0.5, 1.5, size=d)
        params[f"{name}_b"] = rng.normal(size=d) * 0.3
    text = rng.integers(0, vocabulary, size=(6, 6))
    targets = text[:, 1:].copy()
    targets[rng.permutation(6)[:4], -1] = -1
    targets[rng.permutation(6)[:2], 0] = -1
    targets[rng.integers(0, 6), 1:3] = -1
    return params, (text[:, :-1].copy(), targets)


WRONG = [
    wrong(
        "ignored_positions_in_the_gradient",
        "missing-derivative|wrong-operand|different-function",
        "(probs - one_hot) * counted[:, :, None] / counted.sum()",
        "(probs - one_hot) / counted.sum()",
    ),
    wrong(
        "head_told_the_stream_before_the_norm",
        "wrong-operand",
        '"ntv,ntd->vd", dlogits, hf)',
        '"ntv,ntd->vd", dlogits, x2)',
    ),
    wrong(
        "final_norm_passed_by",
        "missing-derivative|missing-path|diagonal-jacobian|wrong-operand",
        'dx2, G["lnf_g"], G["lnf_b"] = layernorm_backward(dhf, lnf_cache)\n',
        'dx2, G["lnf_g"], G["lnf_b"] = layernorm_backward(dhf, lnf_cache)\n    dx2 = dhf\n',
    ),
    wrong(
        "norm_means_along_the_tokens",
        "wrong-axis",
        "dnorm_mean = dnorm.mean(axis=-1, keepdims=True)",
        "dnorm_mean = dnorm.mean(axis=1, keepdims=True)",
    ),
    wrong(
        "gelu_without_the_product_rule",
        "missing-path|missing-derivative|different-function",
        "dout * (0.5 * (1 + th) + 0.5 * u * (1 - th**2) * inner)",
        "dout * (0.5 * (1 + th))",
    ),
    wrong("residual_around_the_mlp_forgotten", "missing-path", "dx1 = dx2 + dbranch", "dx1 = dbranch"),
    wrong(
        "attention_softmax_diagonal",
        "diagonal-jacobian",
        "dpre = att * (datt - np.sum(datt * att, axis=-1, keepdims=True))",
        "dpre = att * (1 - att) * datt",
    ),
    wrong(
        "scale_forgotten_for_the_keys",
        "wrong-scale|missing-derivative",
        "dk = dpre.swapaxes(2, 3) @ q * scale",
        "dk = dpre.swapaxes(2, 3) @ q",
    ),
    wrong(
        "values_by_attention_not_transposed",
        "not-transposed|transposed",
        "dv = att.swapaxes(2, 3) @ dy",
        "dv = att @ dy",
    ),
    wrong(
        "keys_and_values_swapped_in_the_join",
        "wrong-operand",
        "[from_heads(dq), from_heads(dk), from_heads(dv)]",
        "[from_heads(dq), from_heads(dv), from_heads(dk)]",
    ),
    wrong("repeated_tokens_overwrite", "overwritten", 'np.add.at(G["wte"], tokens, demb)', 'G["wte"][tokens] += demb'),
    wrong(
        "positions_averaged_over_the_batch",
        "wrong-reduction|wrong-scale",
        'G["wpe"][:T] = demb.sum(axis=0)',
        'G["wpe"][:T] = demb.mean(axis=0)',
    ),
    wrong(
        "future_visible_in_both",
        "different-function|wrong-operand",
        "    visible = np.tril(np.ones((T, T), dtype=bool))\n    att = np.where(visible, att, -np.inf)\n",
        "",
        "    T = qkv.shape[1]\n",
        "",
    ),
    wrong(
        "heads_merged_without_the_swap_in_both",
        "wrong-axis|wrong-operand|transposed|not-transposed|different-function",
        "return from_heads(att @ v), (",
        "return (att @ v).reshape(qkv.shape[0], T, d), (",
        "dy = to_heads(dout, q.shape[1])",
        "dy = dout.reshape(q.shape)",
    ),
    wrong(
        "scaled_by_the_whole_width_in_both",
        "different-function|wrong-scale",
        "scale = 1 / math.sqrt(d // heads)",
        "scale = 1 / math.sqrt(d)",
    ),
    wrong(
        "averaged_over_all_positions_in_cost",
        "wrong-loss",
        "loss = -np.sum(counted * np.log(np.sum(probs * one_hot, axis=-1))) / counted.sum()",
        "loss = -np.mean(counted * np.log(np.sum(probs * one_hot, axis=-1)))",
    ),
]

TOGETHER = [
    ("head_told_the_stream_before_the_norm", "residual_around_the_mlp_forgotten"),
    ("attention_softmax_diagonal", "repeated_tokens_overwrite"),
    ("scale_forgotten_for_the_keys", "values_by_attention_not_transposed"),
    ("future_visible_in_both", "norm_means_along_the_tokens"),
    ("gelu_without_the_product_rule", "positions_averaged_over_the_batch"),
    ("keys_and_values_swapped_in_the_join", "ignored_positions_in_the_gradient"),
    ("ignored_positions_in_the_gradient", "norm_means_along_the_tokens", "positions_averaged_over_the_batch"),
    ("final_norm_passed_by", "scale_forgotten_for_the_keys", "repeated_tokens_overwrite"),
]

RIGHT = [
    right(
        "attention_by_loops",
        "    dpre = att * (datt - np.sum(datt * att, axis=-1, keepdims=True))\n"
        "    dq = dpre @ k * scale\n"
        "    dk = dpre.swapaxes(2, 3) @ q * scale\n",
        "    dq, dk = np.zeros_like(q), np.zeros_like(k)\n"
        "    for s in range(len(q)):\n"
        "        for h in range(q.shape[1]):\n"
        "            for t in range(q.shape[2]):\n"
        "                row = att[s, h, t, : t + 1]\n"
        "                drow = (np.diag(row) - np.outer(row, row)) @ datt[s, h, t, : t + 1]\n"
        "                dq[s, h, t] = scale * drow @ k[s, h, : t + 1]\n"
        "                dk[s, h, : t + 1] += scale * np.outer(drow, q[s, h, t])\n",
    ),
    right(
        "only_the_counted_positions",
        "    dlogits = (probs - one_hot) * counted[:, :, None] / counted.sum()\n",
        "    dlogits = np.zeros_like(probs)\n"
        "    sample, step = np.nonzero(counted)\n"
        "    dlogits[sample, step] = probs[sample, step] / len(step)\n"
        "    dlogits[sample, step, targets[sample, step]] -= 1 / len(step)\n",
        '    np.add.at(G["wte"], tokens, demb)\n',
        '    for s in range(n):\n        for t in range(T):\n            G["wte"][tokens[s, t]] += demb[s, t]\n',
    ),
    right(
        "residual_stream_in_place",
        "    dx1 = dx2 + dbranch\n",
        "    dx1 = dx2\n    dx1 += dbranch\n",
        "    dx = (dnorm - dnorm_mean - norm * dnorm_norm_mean) * rstd\n",
        "    dx = dnorm - dnorm_mean\n    dx -= dnorm_norm_mean * norm\n    dx *= rstd\n",
        "    th = np.tanh(s * (u + 0.044715 * u**3))\n",
        "    th = 1 - 2 / (1 + np.exp(2 * s * u * (1 + 0.044715 * u * u)))\n",
        "    return dout * (0.5 * (1 + th) + 0.5 * u * (1 - th**2) * inner)\n",
        "    gate = 0.5 + 0.5 * th\n    return dout * (gate + 2 * u * gate * (1 - gate) * inner)\n",
    ),
]
