"""One pre-norm transformer block: learned positions, causal multi-head attention, GELU, padding out of the loss."""

import numpy as np
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, tokens, targets):
    batch, steps = tokens.shape
    width = params["tok"].shape[1]
    x = F.embedding(tokens, params["tok"]) + params["pos"]
    normed = F.layer_norm(x, (width,), params["ln1_g"], params["ln1_b"])
    q, k, v = (
        F.linear(normed, params[name].T).view(batch, steps, 2, -1).transpose(1, 2) for name in ("Wq", "Wk", "Wv")
    )
    mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    x = x + F.linear(mixed.transpose(1, 2).flatten(2), params["Wo"].T)
    normed = F.layer_norm(x, (width,), params["ln2_g"], params["ln2_b"])
    hidden = F.gelu(F.linear(normed, params["W1"].T, params["c1"]), approximate="tanh")
    x = x + F.linear(hidden, params["W2"].T, params["c2"])
    logits = F.linear(x, params["Wu"].T)
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1)


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def layernorm(x, g, b):
    mean = x.mean(axis=-1, keepdims=True)
    rstd = 1 / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)
    norm = (x - mean) * rstd
    return norm * g + b, (norm, rstd, g)


def layernorm_backward(dout, saved):
    norm, rstd, g = saved
    dg = (dout * norm).sum(axis=(0, 1))
    db = dout.sum(axis=(0, 1))
    dnorm = dout * g
    dx = dnorm - dnorm.mean(axis=-1, keepdims=True) - norm * (dnorm * norm).mean(axis=-1, keepdims=True)
    return dx * rstd, dg, db


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def gelu_grad(x):
    t = np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))
    inner = np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x**2)
    return 0.5 * (1 + t) + 0.5 * x * (1 - t**2) * inner


def split_heads(x, n_head):
    B, T, C = x.shape
    return x.reshape(B, T, n_head, C // n_head).transpose(0, 2, 1, 3)


def merge_heads(x):
    B, H, T, hs = x.shape
    return x.transpose(0, 2, 1, 3).reshape(B, T, H * hs)


def weight_grad(inp, dout):
    return np.einsum("bti,bto->io", inp, dout)


def candidate(params, tokens, targets, n_head=2):
    p = params
    B, T = tokens.shape
    C = p["tok"].shape[1]
    scale = 1 / np.sqrt(C // n_head)

    # embeddings
    x0 = p["tok"][tokens] + p["pos"][:T]
    # attention
    n1, saved1 = layernorm(x0, p["ln1_g"], p["ln1_b"])
    q = split_heads(n1 @ p["Wq"], n_head)
    k = split_heads(n1 @ p["Wk"], n_head)
    v = split_heads(n1 @ p["Wv"], n_head)
    scores = q @ k.transpose(0, 1, 3, 2) * scale
    future = np.triu(np.ones((T, T), dtype=bool), k=1)
    scores = np.where(future, -np.inf, scores)
    att = softmax(scores)
    y = merge_heads(att @ v)
    x1 = x0 + y @ p["Wo"]
    # feed-forward
    n2, saved2 = layernorm(x1, p["ln2_g"], p["ln2_b"])
    pre = n2 @ p["W1"] + p["c1"]
    act = gelu(pre)
    x2 = x1 + act @ p["W2"] + p["c2"]
    logits = x2 @ p["Wu"]

    # cross-entropy, tokens marked -1 do not count
    probs = softmax(logits)
    valid = targets != -1
    count = valid.sum()
    safe = np.where(valid, targets, 0)
    rows, cols = np.indices(targets.shape)
    nll = -np.log(probs[rows, cols, safe])
    loss = (nll * valid).sum() / count

    g = {}
    dlogits = probs.copy()
    dlogits[rows, cols, safe] -= 1
    dlogits *= valid[..., None]
    dlogits /= count
    g["Wu"] = weight_grad(x2, dlogits)
    dx2 = dlogits @ p["Wu"].T
    # feed-forward
    g["W2"] = weight_grad(act, dx2)
    g["c2"] = dx2.sum(axis=(0, 1))
    dact = dx2 @ p["W2"].T
    dpre = dact * gelu_grad(pre)
    g["W1"] = weight_grad(n2, dpre)
    g["c1"] = dpre.sum(axis=(0, 1))
    dn2 = dpre @ p["W1"].T
    dln2, g["ln2_g"], g["ln2_b"] = layernorm_backward(dn2, saved2)
    dx1 = dx2 + dln2
    # attention
    g["Wo"] = weight_grad(y, dx1)
    dy = split_heads(dx1 @ p["Wo"].T, n_head)
    datt = dy @ v.transpose(0, 1, 3, 2)
    dv = att.transpose(0, 1, 3, 2) @ dy
    dscores = att * (datt - (datt * att).sum(axis=-1, keepdims=True))
    dscores = dscores * scale
    dq = merge_heads(dscores @ k)
    dk = merge_heads(dscores.transpose(0, 1, 3, 2) @ q)
    dv = merge_heads(dv)
    g["Wq"] = weight_grad(n1, dq)
    g["Wk"] = weight_grad(n1, dk)
    g["Wv"] = weight_grad(n1, dv)
    dn1 = dq @ p["Wq"].T + dk @ p["Wk"].T + dv @ p["Wv"].T
    dln1, g["ln1_g"], g["ln1_b"] = layernorm_backward(dn1, saved1)
    dx0 = dx1 + dln1
    # embeddings
    g["pos"] = dx0.sum(axis=0)
    g["tok"] = np.zeros_like(p["tok"])
    np.add.at(g["tok"], tokens, dx0)
    return loss, g


def problem(rng):
    vocabulary, width, hidden, batch, steps = 9, 6, 11, 5, 7
    shapes = {"Wq": (width, width), "Wk": (width, width), "Wv": (width, width), "Wo": (width, width)}
    shapes |= {"W1": (width, hidden), "W2": (hidden, width), "Wu": (width, vocabulary)}
    params = {
        "tok": rng.normal(size=(vocabulary, width)) * 0.9,
        "pos": rng.normal(size=(steps, width)) * 0.6,
        **{name: rng.normal(size=shape) * 1.3 / np.sqrt(shape[0]) for name, shape in shapes.items()},
        "c1": rng.normal(size=hidden) * 0.4,
        "c2": rng.normal(size=width) * 0.3,
    }
    for norm in ("ln1", "ln2"):
        params[norm + "_g"] = 1 + 0.4 * rng.normal(size=width)
        params[norm + "_b"] = 0.3 * rng.normal(size=width)
    text = rng.integers(0, vocabulary, size=(batch, steps + 1))
    tokens, targets = text[:, :-1].copy(), text[:, 1:].copy()
    for row, length in enumerate((7, 4, 6, 7, 5)):
        targets[row, length:] = -1
    return params, (tokens, targets)


WRONG = [
    wrong(
        "padding_counted_in_the_mean",
        "wrong-scale|wrong-reduction",
        "dlogits /= count",
        "dlogits /= targets.size",
    ),
    wrong(
        "padding_not_masked_on_the_way_back",
        "missing-derivative|missing-path|wrong-operand|different-function",
        "    dlogits *= valid[..., None]\n",
        "",
    ),
    wrong(
        "softmax_entry_by_entry",
        "diagonal-jacobian",
        "dscores = att * (datt - (datt * att).sum(axis=-1, keepdims=True))",
        "dscores = att * (1 - att) * datt",
    ),
    wrong(
        "softmax_summed_over_the_queries",
        "wrong-axis",
        "(datt * att).sum(axis=-1, keepdims=True)",
        "(datt * att).sum(axis=-2, keepdims=True)",
    ),
    wrong(
        "root_of_the_head_size_forgotten",
        "wrong-scale|missing-derivative",
        "    dscores = dscores * scale\n",
        "",
    ),
    wrong(
        "keys_without_the_transpose",
        "not-transposed",
        "merge_heads(dscores.transpose(0, 1, 3, 2) @ q)",
        "merge_heads(dscores @ q)",
    ),
    wrong(
        "values_only_into_the_norm",
        "missing-path",
        'dn1 = dq @ p["Wq"].T + dk @ p["Wk"].T + dv @ p["Wv"].T',
        'dn1 = dv @ p["Wv"].T',
    ),
    wrong(
        "residual_around_the_attention_forgotten",
        "missing-path",
        "dx0 = dx1 + dln1",
        "dx0 = dln1",
    ),
    wrong(
        "query_weights_with_the_embedding",
        "wrong-operand",
        'g["Wq"] = weight_grad(n1, dq)',
        'g["Wq"] = weight_grad(x0, dq)',
    ),
    wrong(
        "output_projection_with_the_gradient_of_the_block",
        "missing-path|wrong-operand",
        'g["Wo"] = weight_grad(y, dx1)',
        'g["Wo"] = weight_grad(y, dx2)',
    ),
    wrong(
        "norm_without_its_means",
        "diagonal-jacobian|missing-path",
        "    dx = dnorm - dnorm.mean(axis=-1, keepdims=True) - norm * (dnorm * norm).mean(axis=-1, keepdims=True)\n",
        "    dx = dnorm\n",
    ),
    wrong(
        "gelu_slope_without_the_product_rule",
        "missing-path|different-function",
        "return 0.5 * (1 + t) + 0.5 * x * (1 - t**2) * inner",
        "return 0.5 * (1 + t)",
    ),
    wrong(
        "tokens_seen_twice_overwritten",
        "overwritten",
        'np.add.at(g["tok"], tokens, dx0)',
        'g["tok"][tokens] += dx0',
    ),
    wrong(
        "heads_joined_without_moving_them_back_in_both",
        "wrong-axis|different-function|wrong-operand",
        "y = merge_heads(att @ v)",
        "y = (att @ v).reshape(B, T, C)",
        'dy = split_heads(dx1 @ p["Wo"].T, n_head)',
        'dy = (dx1 @ p["Wo"].T).reshape(v.shape)',
    ),
    wrong(
        "future_not_masked_in_both",
        "different-function|wrong-operand|missing-path",
        "    scores = np.where(future, -np.inf, scores)\n",
        "",
    ),
    wrong("mean_over_padding_in_cost", "wrong-loss", "(nll * valid).sum() / count", "(nll * valid).mean()"),
]

TOGETHER = [
    ("padding_counted_in_the_mean", "keys_without_the_transpose"),
    ("softmax_entry_by_entry", "query_weights_with_the_embedding"),
    ("root_of_the_head_size_forgotten", "tokens_seen_twice_overwritten"),
    ("residual_around_the_attention_forgotten", "gelu_slope_without_the_product_rule"),
    ("padding_not_masked_on_the_way_back", "output_projection_with_the_gradient_of_the_block"),
    ("norm_without_its_means", "heads_joined_without_moving_them_back_in_both"),
    ("values_only_into_the_norm", "query_weights_with_the_embedding", "tokens_seen_twice_overwritten"),
    (
        "softmax_summed_over_the_queries",
        "gelu_slope_without_the_product_rule",
        "output_projection_with_the_gradient_of_the_block",
    ),
]

RIGHT = [
    right(
        "weights_by_flattened_tokens",
        'return np.einsum("bti,bto->io", inp, dout)',
        "return inp.reshape(-1, inp.shape[-1]).T @ dout.reshape(-1, dout.shape[-1])",
        'np.add.at(g["tok"], tokens, dx0)',
        "for i in range(B):\n        for j in range(T):\n            g['tok'][tokens[i, j]] += dx0[i, j]",
    ),
    right(
        "softmax_by_its_full_jacobian_row_by_row",
        "    dscores = att * (datt - (datt * att).sum(axis=-1, keepdims=True))\n",
        "    dscores = np.zeros_like(att)\n"
        "    for i, h, t in np.ndindex(B, n_head, T):\n"
        "        row = att[i, h, t]\n"
        "        dscores[i, h, t] = (np.diag(row) - np.outer(row, row)) @ datt[i, h, t]\n",
        "    dscores = dscores * scale\n",
        "    dscores /= np.sqrt(C // n_head)\n",
    ),
    right(
        "norm_by_mean_and_variance",
        "    dx = dnorm - dnorm.mean(axis=-1, keepdims=True) - norm * (dnorm * norm).mean(axis=-1, keepdims=True)\n"
        "    return dx * rstd, dg, db\n",
        "    width = norm.shape[-1]\n"
        "    centred = norm / rstd\n"
        "    dvar = (dnorm * centred).sum(axis=-1, keepdims=True) * -0.5 * rstd**3\n"
        "    dmean = -(dnorm * rstd).sum(axis=-1, keepdims=True)\n"
        "    return dnorm * rstd + dvar * 2 * centred / width + dmean / width, dg, db\n",
        "    dx1 = dx2 + dln2\n",
        "    dx1 = dx2\n    dx1 += dln2\n",
    ),
]
