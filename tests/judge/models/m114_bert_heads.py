"""A small BERT: three embeddings, a post-norm attention layer, a next-sentence pooler and tied masked-token scores."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, tokens, segments, positions, targets, follows):
    d = params["table"].shape[1]
    e = F.embedding(tokens, params["table"]) + F.embedding(segments, params["segment"])
    e = e + params["place"][: tokens.shape[1]]
    x = F.layer_norm(e, (d,), params["g0"], params["s0"])
    q, k, v = (F.linear(x, params[name]).unflatten(2, (2, -1)).transpose(1, 2) for name in ("Wq", "Wk", "Wv"))
    mask = (tokens != 0)[:, None, None, :]
    heads = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
    h = F.layer_norm(x + F.linear(heads, params["Wo"], params["bo"]), (d,), params["g1"], params["s1"])
    pooled = torch.tanh(F.linear(h[:, 0], params["Wp"], params["bp"]))
    picked = torch.gather(h, 1, positions[:, :, None].expand(-1, -1, d))
    t = F.gelu(F.linear(picked, params["Wt"], params["bt"]), approximate="tanh")
    scores = F.linear(t, params["table"], params["bv"])
    return {
        "next_sentence": F.binary_cross_entropy_with_logits(pooled @ params["wn"], follows),
        "masked_tokens": F.cross_entropy(scores.flatten(0, 1), targets.flatten(), ignore_index=-100),
    }


def layer_norm(a, gain, shift, eps=1e-5):
    mu = a.mean(axis=-1, keepdims=True)
    std = np.sqrt(((a - mu) ** 2).mean(axis=-1, keepdims=True) + eps)
    normed = (a - mu) / std
    return gain * normed + shift, (normed, std, gain)


def layer_norm_backward(dy, cache):
    normed, std, gain = cache
    dgain = (dy * normed).sum(axis=(0, 1))
    dshift = dy.sum(axis=(0, 1))
    dn = dy * gain
    centred = dn - dn.mean(axis=-1, keepdims=True)
    da = (centred - normed * (dn * normed).mean(axis=-1, keepdims=True)) / std
    return da, dgain, dshift


def softmax(a, axis):
    e = np.exp(a - a.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def gelu(a):
    inner = np.sqrt(2 / np.pi) * (a + 0.044715 * a**3)
    return 0.5 * a * (1 + np.tanh(inner))


def gelu_prime(a):
    inner = np.sqrt(2 / np.pi) * (a + 0.044715 * a**3)
    th = np.tanh(inner)
    return 0.5 * (1 + th) + 0.5 * a * (1 - th**2) * np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * a**2)


def split(a, n_heads=2):
    n, steps, d = a.shape
    return a.reshape(n, steps, n_heads, d // n_heads).transpose(0, 2, 1, 3)


def merge(a):
    n, n_heads, steps, width = a.shape
    return a.transpose(0, 2, 1, 3).reshape(n, steps, n_heads * width)


def candidate(params, tokens, segments, positions, targets, follows):
    p = params
    n, steps = tokens.shape
    rows = np.arange(n)[:, None]

    # embeddings
    e = p["table"][tokens] + p["segment"][segments] + p["place"][:steps]
    x, norm0 = layer_norm(e, p["g0"], p["s0"])
    # self-attention, nobody looks at the padding
    q, k, v = split(x @ p["Wq"].T), split(x @ p["Wk"].T), split(x @ p["Wv"].T)
    scale = 1 / np.sqrt(q.shape[-1])
    logits = scale * q @ k.transpose(0, 1, 3, 2)
    logits = np.where((tokens == 0)[:, None, None, :], -np.inf, logits)
    att = softmax(logits, axis=3)
    heads = merge(att @ v)
    h, norm1 = layer_norm(x + heads @ p["Wo"].T + p["bo"], p["g1"], p["s1"])
    # next sentence
    first = h[:, 0]
    pooled = np.tanh(first @ p["Wp"].T + p["bp"])
    s = pooled @ p["wn"]
    prob = 1 / (1 + np.exp(-s))
    nsp = -np.mean(follows * np.log(prob) + (1 - follows) * np.log(1 - prob))
    # masked tokens
    used = targets >= 0
    wanted = np.where(used, targets, 0)
    picked = h[rows, positions]
    pre = picked @ p["Wt"].T + p["bt"]
    t = gelu(pre)
    word_probs = softmax(t @ p["table"].T + p["bv"], axis=2)
    chosen = np.take_along_axis(word_probs, wanted[:, :, None], axis=2)[:, :, 0]
    mlm = -np.sum(used * np.log(chosen)) / used.sum()
    loss = nsp + mlm

    g = {name: np.zeros_like(value) for name, value in params.items()}
    dh = np.zeros_like(h)
    dscores = word_probs.copy()
    dscores[rows, np.arange(targets.shape[1]), wanted] -= 1
    dscores *= used[:, :, None]
    dscores /= used.sum()
    g["bv"] = dscores.sum(axis=(0, 1))
    g["table"] += np.einsum("nmv,nmd->vd", dscores, t)
    dpre = (dscores @ p["table"]) * gelu_prime(pre)
    g["Wt"] = np.einsum("nmi,nmj->ij", dpre, picked)
    g["bt"] = dpre.sum(axis=(0, 1))
    dh[rows, positions] += dpre @ p["Wt"]

    ds = (prob - follows) / n
    g["wn"] = pooled.T @ ds
    dpool = np.outer(ds, p["wn"]) * (1 - pooled**2)
    g["Wp"] = dpool.T @ first
    g["bp"] = dpool.sum(axis=0)
    dh[:, 0] += dpool @ p["Wp"]

    dsum, g["g1"], g["s1"] = layer_norm_backward(dh, norm1)
    g["Wo"] = np.einsum("nti,ntj->ij", dsum, heads)
    g["bo"] = dsum.sum(axis=(0, 1))
    dheads = split(dsum @ p["Wo"])
    datt = dheads @ v.transpose(0, 1, 3, 2)
    dlogits = att * (datt - (datt * att).sum(axis=3, keepdims=True))
    dq = merge(scale * dlogits @ k)
    dk = merge(scale * dlogits.transpose(0, 1, 3, 2) @ q)
    dv = merge(att.transpose(0, 1, 3, 2) @ dheads)
    dx = dsum.copy()
    for name, dout in (("Wq", dq), ("Wk", dk), ("Wv", dv)):
        g[name] = np.einsum("nti,ntj->ij", dout, x)
        dx += dout @ p[name]
    de, g["g0"], g["s0"] = layer_norm_backward(dx, norm0)
    np.add.at(g["table"], tokens, de)
    for kind in range(len(p["segment"])):
        g["segment"][kind] = de[segments == kind].sum(axis=0)
    g["place"][:steps] = de.sum(axis=0)
    return loss, g


def problem(rng):
    d = 8
    params = {
        "table": rng.normal(size=(11, d)) * 0.8,
        "segment": rng.normal(size=(2, d)) * 0.5,
        "place": rng.normal(size=(9, d)) * 0.5,
        "wn": rng.normal(size=d) * 0.7,
        "bo": rng.normal(size=d) * 0.3,
        "bp": rng.normal(size=d) * 0.3,
        "bt": rng.normal(size=d) * 0.3,
        "bv": rng.normal(size=11) * 0.3,
    }
    for name in ("Wq", "Wk", "Wv", "Wo", "Wp", "Wt"):
        params[name] = rng.normal(size=(d, d)) * 0.45
    for i in range(2):
        params[f"g{i}"] = 1 + rng.normal(size=d) * 0.3
        params[f"s{i}"] = rng.normal(size=d) * 0.3
    lengths = np.array([7, 5, 6, 7, 4, 6])
    tokens = rng.integers(1, 11, size=(6, 7)) * (np.arange(7) < lengths[:, None])
    segments = (np.arange(7) >= np.array([3, 2, 4, 5, 2, 3])[:, None]).astype(int)
    positions = np.array([[1, 4, 6], [2, 3, 0], [1, 2, 5], [3, 5, 0], [1, 3, 0], [2, 4, 5]])
    targets = np.where(positions > 0, rng.integers(1, 11, size=(6, 3)), -100)
    follows = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    return params, (tokens, segments, positions, targets, follows)


WRONG = [
    wrong(
        "tied_table_from_the_inputs_only",
        "missing-path|overwritten",
        '    g["table"] += np.einsum("nmv,nmd->vd", dscores, t)\n',
        "",
    ),
    wrong(
        "repeated_tokens_count_once",
        "overwritten",
        'np.add.at(g["table"], tokens, de)',
        'g["table"][tokens] += de',
    ),
    wrong(
        "places_averaged_over_the_batch",
        "wrong-scale|wrong-reduction",
        'g["place"][:steps] = de.sum(axis=0)',
        'g["place"][:steps] = de.mean(axis=0)',
    ),
    wrong("residual_forgotten", "missing-path|overwritten", "dx = dsum.copy()", "dx = np.zeros_like(x)"),
    wrong(
        "norm_without_its_variance",
        "missing-path|diagonal-jacobian",
        "da = (centred - normed * (dn * normed).mean(axis=-1, keepdims=True)) / std",
        "da = centred / std",
    ),
    wrong(
        "pooler_slope_of_the_tanh_again",
        "derivative-at-wrong-point",
        "(1 - pooled**2)",
        "(1 - np.tanh(pooled) ** 2)",
    ),
    wrong(
        "pooler_gradient_to_the_last_token",
        "wrong-operand|shifted-in-time|last-step-only",
        'dh[:, 0] += dpool @ p["Wp"]',
        'dh[:, -1] += dpool @ p["Wp"]',
    ),
    wrong(
        "unused_slots_counted_in_the_mean",
        "wrong-term-weight|wrong-scale|wrong-reduction",
        "dscores /= used.sum()",
        "dscores /= used.size",
    ),
    wrong(
        "unused_slots_not_silenced",
        "different-function|missing-derivative|wrong-operand",
        "    dscores *= used[:, :, None]\n",
        "",
    ),
    wrong(
        "attention_softmax_elementwise",
        "diagonal-jacobian",
        "dlogits = att * (datt - (datt * att).sum(axis=3, keepdims=True))",
        "dlogits = att * (1 - att) * datt",
    ),
    wrong(
        "keys_gradient_not_turned",
        "not-transposed|transposed",
        "scale * dlogits.transpose(0, 1, 3, 2) @ q",
        "scale * dlogits @ q",
    ),
    wrong(
        "transform_weight_not_turned",
        "not-transposed",
        'dh[rows, positions] += dpre @ p["Wt"]',
        'dh[rows, positions] += dpre @ p["Wt"].T',
    ),
    wrong(
        "scaled_by_the_model_width_in_both",
        "wrong-scale|different-function|wrong-operand",
        "scale = 1 / np.sqrt(q.shape[-1])",
        "scale = 1 / np.sqrt(x.shape[-1])",
    ),
    wrong(
        "padding_seen_in_both",
        "different-function|wrong-operand",
        "    logits = np.where((tokens == 0)[:, None, None, :], -np.inf, logits)\n",
        "",
    ),
    wrong(
        "heads_joined_without_moving_axes_in_both",
        "wrong-axis|wrong-operand|different-function",
        "heads = merge(att @ v)",
        "heads = (att @ v).reshape(x.shape)",
        'dheads = split(dsum @ p["Wo"])',
        'dheads = (dsum @ p["Wo"]).reshape(v.shape)',
    ),
    wrong("next_sentence_summed_in_cost", "wrong-loss", "nsp = -np.mean(", "nsp = -np.sum("),
]

TOGETHER = [
    ("tied_table_from_the_inputs_only", "residual_forgotten"),
    ("pooler_slope_of_the_tanh_again", "places_averaged_over_the_batch"),
    ("attention_softmax_elementwise", "transform_weight_not_turned"),
    ("unused_slots_counted_in_the_mean", "repeated_tokens_count_once"),
    ("pooler_gradient_to_the_last_token", "keys_gradient_not_turned"),
    ("padding_seen_in_both", "norm_without_its_variance"),
    ("unused_slots_not_silenced", "attention_softmax_elementwise", "places_averaged_over_the_batch"),
    ("heads_joined_without_moving_axes_in_both", "pooler_slope_of_the_tanh_again", "repeated_tokens_count_once"),
]

RIGHT = [
    right(
        "embeddings_by_matrices",
        '    np.add.at(g["table"], tokens, de)\n',
        '    g["table"] += np.tensordot(np.eye(len(p["table"]))[tokens], de, axes=((0, 1), (0, 1)))\n',
        '    for kind in range(len(p["segment"])):\n'
        '        g["segment"][kind] = de[segments == kind].sum(axis=0)\n'
        '    g["place"][:steps] = de.sum(axis=0)\n',
        "    second = segments[:, :, None].astype(float)\n"
        '    g["segment"] = np.stack([((1 - second) * de).sum(axis=(0, 1)), (second * de).sum(axis=(0, 1))])\n'
        "    for i in range(steps):\n"
        '        g["place"][i] += de[:, i].sum(axis=0)\n',
    ),
    right(
        "masked_positions_one_by_one",
        '    dh[rows, positions] += dpre @ p["Wt"]\n',
        "    for i in range(n):\n"
        "        for slot, position in enumerate(positions[i]):\n"
        '            dh[i, position] += dpre[i, slot] @ p["Wt"]\n',
        "    dscores = word_probs.copy()\n"
        "    dscores[rows, np.arange(targets.shape[1]), wanted] -= 1\n"
        "    dscores *= used[:, :, None]\n"
        "    dscores /= used.sum()\n",
        '    dscores = (word_probs - np.eye(len(p["table"]))[wanted]) / used.sum()\n    dscores[~used] = 0.0\n',
        "np.log(prob) + (1 - follows) * np.log(1 - prob))",
        "s - np.logaddexp(0, s))",
    ),
    right(
        "jacobians_written_out",
        "    dlogits = att * (datt - (datt * att).sum(axis=3, keepdims=True))\n",
        "    jacobian = att[..., :, None] * np.eye(steps) - att[..., :, None] * att[..., None, :]\n"
        '    dlogits = np.einsum("nhtij,nhtj->nhti", jacobian, datt)\n',
        "    centred = dn - dn.mean(axis=-1, keepdims=True)\n"
        "    da = (centred - normed * (dn * normed).mean(axis=-1, keepdims=True)) / std\n",
        "    d = dy.shape[-1]\n"
        "    spread = np.eye(d) - 1 / d - normed[..., :, None] * normed[..., None, :] / d\n"
        '    da = np.einsum("ntij,ntj->nti", spread, dn) / std\n',
    ),
]
