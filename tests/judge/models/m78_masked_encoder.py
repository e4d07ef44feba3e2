"""A pre-norm encoder layer with two heads on padded sequences, pooled over what is there; smoothed labels."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, lengths, labels):
    n, steps, width = x.shape
    valid = torch.arange(steps) < lengths.unsqueeze(1)

    def heads(a):
        return a.view(n, steps, 2, width // 2).transpose(1, 2)

    x = x + params["place"]
    normed = F.layer_norm(x, (width,), params["g1"], params["s1"])
    q = heads(F.linear(normed, params["Wq"], params["bq"]))
    k = heads(F.linear(normed, params["Wk"]))
    v = heads(F.linear(normed, params["Wv"], params["bv"]))
    context = F.scaled_dot_product_attention(q, k, v, attn_mask=valid[:, None, None, :])
    x = x + F.linear(context.transpose(1, 2).reshape(n, steps, width), params["Wo"], params["bo"])
    normed = F.layer_norm(x, (width,), params["g2"], params["s2"])
    x = x + F.linear(F.gelu(F.linear(normed, params["W1"], params["b1"])), params["W2"], params["b2"])
    pooled = x.masked_fill(~valid.unsqueeze(-1), 0.0).sum(dim=1) / lengths.unsqueeze(1)
    return F.cross_entropy(F.linear(pooled, params["Wc"], params["bc"]), labels, label_smoothing=0.2)


def norm_forward(x, gain, shift):
    std = np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)
    hat = (x - x.mean(axis=-1, keepdims=True)) / std
    return hat * gain + shift, hat, std


def norm_backward(dout, gain, hat, std):
    """The gradients of the input, the gain and the shift."""
    dhat = dout * gain
    along = np.mean(dhat * hat, axis=-1, keepdims=True)
    dx = (dhat - np.mean(dhat, axis=-1, keepdims=True) - hat * along) / std
    return dx, np.sum(dout * hat, axis=(0, 1)), np.sum(dout, axis=(0, 1))


def normal_cdf(u):
    return 0.5 * (1 + np.vectorize(math.erf)(u / math.sqrt(2)))


def gelu(u):
    return u * normal_cdf(u)


def d_gelu(u):
    return normal_cdf(u) + u * np.exp(-0.5 * u**2) / math.sqrt(2 * math.pi)


def split_heads(a, heads):
    n, steps, width = a.shape
    return a.reshape(n, steps, heads, width // heads).transpose(0, 2, 1, 3)


def merge_heads(a):
    n, heads, steps, size = a.shape
    return a.transpose(0, 2, 1, 3).reshape(n, steps, heads * size)


def weight_gradient(dout, given):
    return np.einsum("nti,ntj->ij", dout, given)


def candidate(params, x, lengths, labels):
    Wq, Wk, Wv, Wo = params["Wq"], params["Wk"], params["Wv"], params["Wo"]
    W1, W2, Wc = params["W1"], params["W2"], params["Wc"]
    n, steps, width = x.shape
    classes = len(Wc)
    valid = np.arange(steps) < lengths[:, None]

    # attention
    root = np.sqrt(width // 2)
    x0 = x + params["place"]
    h1, hat1, std1 = norm_forward(x0, params["g1"], params["s1"])
    q = split_heads(h1 @ Wq.T + params["bq"], 2)
    k = split_heads(h1 @ Wk.T, 2)
    v = split_heads(h1 @ Wv.T + params["bv"], 2)
    scores = q @ k.transpose(0, 1, 3, 2) / root
    scores = np.where(valid[:, None, None, :], scores, -np.inf)
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    att = e / e.sum(axis=-1, keepdims=True)
    context = merge_heads(att @ v)
    x1 = x0 + context @ Wo.T + params["bo"]

    # feed-forward network
    h2, hat2, std2 = norm_forward(x1, params["g2"], params["s2"])
    u = h2 @ W1.T + params["b1"]
    a = gelu(u)
    x2 = x1 + a @ W2.T + params["b2"]

    # classifier
    pooled = np.sum(x2 * valid[:, :, None], axis=1) / lengths[:, None]
    logits = pooled @ Wc.T + params["bc"]
    logits = logits - logits.max(axis=1, keepdims=True)
    log_p = logits - np.log(np.sum(np.exp(logits), axis=1, keepdims=True))
    one_hot = np.eye(classes)[labels]
    target = 0.8 * one_hot + 0.2 / classes
    loss = -np.sum(target * log_p) / n

    grads = {}
    dlogits = (np.exp(log_p) - target) / n
    grads["Wc"] = dlogits.T @ pooled
    grads["bc"] = dlogits.sum(axis=0)
    dpooled = dlogits @ Wc
    dx2 = np.repeat((dpooled / lengths[:, None])[:, None, :], steps, axis=1)
    dx2 = dx2 * valid[:, :, None]

    grads["W2"] = weight_gradient(dx2, a)
    grads["b2"] = dx2.sum(axis=(0, 1))
    du = (dx2 @ W2) * d_gelu(u)
    grads["W1"] = weight_gradient(du, h2)
    grads["b1"] = du.sum(axis=(0, 1))
    dnormed, grads["g2"], grads["s2"] = norm_backward(du @ W1, params["g2"], hat2, std2)
    dx1 = dx2 + dnormed

    grads["Wo"] = weight_gradient(dx1, context)
    grads["bo"] = dx1.sum(axis=(0, 1))
    dcontext = split_heads(dx1 @ Wo, 2)
    datt = dcontext @ v.transpose(0, 1, 3, 2)
    dv = merge_heads(att.transpose(0, 1, 3, 2) @ dcontext)
    dscores = att * (datt - np.sum(datt * att, axis=-1, keepdims=True))
    dscores = dscores / root
    dq = merge_heads(dscores @ k)
    dk = merge_heads(dscores.transpose(0, 1, 3, 2) @ q)
    grads["Wq"] = weight_gradient(dq, h1)
    grads["bq"] = dq.sum(axis=(0, 1))
    grads["Wk"] = weight_gradient(dk, h1)
    grads["Wv"] = weight_gradient(dv, h1)
    grads["bv"] = dv.sum(axis=(0, 1))
    dh1 = dq @ Wq
    dh1 += dk @ Wk
    dh1 += dv @ Wv
    dnormed, grads["g1"], grads["s1"] = norm_backward(dh1, params["g1"], hat1, std1)
    dx0 = dx1 + dnormed
    grads["place"] = dx0.sum(axis=0)
    return loss, grads


def problem(rng):
    width, hidden = 6, 8
    params = {"place": rng.normal(size=(5, width)) * 0.5}
    for k in "12":
        params["g" + k] = rng.uniform(0.5, 1.6, size=width)
        params["s" + k] = rng.normal(size=width) * 0.4
    for k in "qkvo":
        params["W" + k] = rng.normal(size=(width, width)) * 0.6
    for k in "qvo":
        params["b" + k] = rng.normal(size=width) * 0.4
    params["W1"] = rng.normal(size=(hidden, width)) * 0.6
    params["b1"] = rng.normal(size=hidden) * 0.4
    params["W2"] = rng.normal(size=(width, hidden)) * 0.6
    params["b2"] = rng.normal(size=width) * 0.4
    params["Wc"] = rng.normal(size=(3, width)) * 0.7
    params["bc"] = rng.normal(size=3) * 0.4
    lengths = np.array([5, 2, 4, 3, 5, 1, 3])
    return params, (rng.normal(size=(7, 5, width)), rng.permutation(lengths), rng.integers(0, 3, size=7))


WRONG = [
    wrong(
        "attention_softmax_diagonal",
        "diagonal-jacobian",
        "dscores = att * (datt - np.sum(datt * att, axis=-1, keepdims=True))",
        "dscores = att * (1 - att) * datt",
    ),
    wrong("root_forgotten_backwards", "missing-derivative|wrong-scale", "    dscores = dscores / root\n", ""),
    wrong("residual_of_the_network_forgotten", "missing-path", "dx1 = dx2 + dnormed", "dx1 = dnormed"),
    wrong("queries_and_keys_overwritten", "overwritten|missing-path", "dh1 += dv @ Wv", "dh1 = dv @ Wv"),
    wrong("variance_taken_as_constant", "missing-path|diagonal-jacobian", " - hat * along) / std", ") / std"),
    wrong(
        "gain_also_in_its_own_gradient",
        "extra-derivative|wrong-operand",
        "return dx, np.sum(dout * hat,",
        "return dx, np.sum(dhat * hat,",
    ),
    wrong(
        "density_forgotten_in_the_gelu_slope",
        "missing-path|missing-derivative|different-function",
        "return normal_cdf(u) + u * np.exp(-0.5 * u**2) / math.sqrt(2 * math.pi)",
        "return normal_cdf(u)",
    ),
    wrong("gelu_slope_at_the_activation", "derivative-at-wrong-point", "* d_gelu(u)\n", "* d_gelu(a)\n"),
    wrong(
        "pooled_gradient_over_all_steps",
        "wrong-operand|wrong-reduction|wrong-scale",
        "(dpooled / lengths[:, None])[:, None, :]",
        "(dpooled / steps)[:, None, :]",
    ),
    wrong(
        "gradient_into_the_padding",
        "missing-derivative|different-function",
        "    dx2 = dx2 * valid[:, :, None]\n",
        "",
    ),
    wrong(
        "labels_not_smoothed_backwards",
        "different-function|wrong-operand",
        "(np.exp(log_p) - target) / n",
        "(np.exp(log_p) - one_hot) / n",
    ),
    wrong("Wo_transposed_backwards", "not-transposed", "split_heads(dx1 @ Wo, 2)", "split_heads(dx1 @ Wo.T, 2)"),
    wrong("dWv_transposed", "transposed", "weight_gradient(dv, h1)", "weight_gradient(h1, dv)"),
    wrong("input_before_the_norm_in_Wq", "wrong-operand", "weight_gradient(dq, h1)", "weight_gradient(dq, x0)"),
    wrong(
        "scores_not_transposed_for_the_keys",
        "not-transposed",
        "merge_heads(dscores.transpose(0, 1, 3, 2) @ q)",
        "merge_heads(dscores @ q)",
    ),
    wrong(
        "places_averaged_over_the_batch",
        "wrong-reduction|wrong-scale",
        'grads["place"] = dx0.sum(axis=0)',
        'grads["place"] = dx0.mean(axis=0)',
    ),
    wrong(
        "scaled_by_the_whole_width_in_both",
        "wrong-scale|different-function",
        "root = np.sqrt(width // 2)",
        "root = np.sqrt(width)",
    ),
    wrong(
        "padded_keys_not_masked_in_both",
        "different-function",
        "    scores = np.where(valid[:, None, None, :], scores, -np.inf)\n",
        "",
    ),
    wrong(
        "heads_merged_without_transposing_in_both",
        "not-transposed|transposed|wrong-axis|different-function",
        "context = merge_heads(att @ v)",
        "context = (att @ v).reshape(n, steps, width)",
        "dcontext = split_heads(dx1 @ Wo, 2)",
        "dcontext = (dx1 @ Wo).reshape(v.shape)",
    ),
    wrong("labels_not_smoothed_in_cost", "wrong-loss", "-np.sum(target * log_p)", "-np.sum(one_hot * log_p)"),
]

TOGETHER = [
    ("attention_softmax_diagonal", "pooled_gradient_over_all_steps"),
    ("residual_of_the_network_forgotten", "dWv_transposed"),
    ("variance_taken_as_constant", "labels_not_smoothed_backwards"),
    ("gelu_slope_at_the_activation", "root_forgotten_backwards"),
    ("scores_not_transposed_for_the_keys", "gain_also_in_its_own_gradient"),
    ("density_forgotten_in_the_gelu_slope", "input_before_the_norm_in_Wq", "places_averaged_over_the_batch"),
    ("gradient_into_the_padding", "Wo_transposed_backwards", "queries_and_keys_overwritten"),
]

RIGHT = [
    right(
        "padding_cut_off_sample_by_sample",
        "    dcontext = split_heads(dx1 @ Wo, 2)\n"
        "    datt = dcontext @ v.transpose(0, 1, 3, 2)\n"
        "    dv = merge_heads(att.transpose(0, 1, 3, 2) @ dcontext)\n"
        "    dscores = att * (datt - np.sum(datt * att, axis=-1, keepdims=True))\n"
        "    dscores = dscores / root\n"
        "    dq = merge_heads(dscores @ k)\n"
        "    dk = merge_heads(dscores.transpose(0, 1, 3, 2) @ q)\n",
        "    dcontext = dx1 @ Wo\n"
        "    dq, dk, dv = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)\n"
        "    size = width // 2\n"
        "    for i in range(n):\n"
        "        m = lengths[i]\n"
        "        for head in range(2):\n"
        "            columns = slice(head * size, (head + 1) * size)\n"
        "            p, dhead = att[i, head, :m, :m], dcontext[i, :m, columns]\n"
        "            dv[i, :m, columns] = p.T @ dhead\n"
        "            dp = dhead @ v[i, head, :m].T\n"
        "            ds = np.zeros((m, m))\n"
        "            for t in range(m):\n"
        "                ds[t] = (np.diag(p[t]) - np.outer(p[t], p[t])) @ dp[t] / root\n"
        "            dq[i, :m, columns] = ds @ k[i, head, :m]\n"
        "            dk[i, :m, columns] = ds.T @ q[i, head, :m]\n",
    ),
    right(
        "all_positions_as_rows",
        'return np.einsum("nti,ntj->ij", dout, given)',
        "return dout.reshape(-1, dout.shape[-1]).T @ given.reshape(-1, given.shape[-1])",
        '    grads["Wq"] = weight_gradient(dq, h1)\n'
        '    grads["bq"] = dq.sum(axis=(0, 1))\n'
        '    grads["Wk"] = weight_gradient(dk, h1)\n'
        '    grads["Wv"] = weight_gradient(dv, h1)\n'
        '    grads["bv"] = dv.sum(axis=(0, 1))\n'
        "    dh1 = dq @ Wq\n"
        "    dh1 += dk @ Wk\n"
        "    dh1 += dv @ Wv\n",
        "    fused = np.concatenate([dq, dk, dv], axis=-1)\n"
        '    grads["Wq"], grads["Wk"], grads["Wv"] = np.split(weight_gradient(fused, h1), 3)\n'
        '    grads["bq"], _, grads["bv"] = np.split(fused.sum(axis=(0, 1)), 3)\n'
        "    dh1 = fused @ np.concatenate([Wq, Wk, Wv])\n",
    ),
    right(
        "einsum_and_the_centred_input",
        "    dhat = dout * gain\n"
        "    along = np.mean(dhat * hat, axis=-1, keepdims=True)\n"
        "    dx = (dhat - np.mean(dhat, axis=-1, keepdims=True) - hat * along) / std\n"
        "    return dx, np.sum(dout * hat, axis=(0, 1)), np.sum(dout, axis=(0, 1))\n",
        "    width = len(gain)\n"
        "    centred = hat * std\n"
        "    dhat = dout * gain\n"
        "    dvar = -0.5 * np.sum(dhat * centred, axis=-1, keepdims=True) / std**3\n"
        "    dcentred = dhat / std + 2 * dvar * centred / width\n"
        "    dx = dcentred - dcentred.sum(axis=-1, keepdims=True) / width\n"
        '    return dx, np.einsum("ntd,ntd->d", dout, hat), np.einsum("ntd->d", dout)\n',
        "    dpooled = dlogits @ Wc\n"
        "    dx2 = np.repeat((dpooled / lengths[:, None])[:, None, :], steps, axis=1)\n"
        "    dx2 = dx2 * valid[:, :, None]\n",
        '    dx2 = np.einsum("nt,nc,cd->ntd", valid / lengths[:, None], dlogits, Wc)\n',
        "    datt = dcontext @ v.transpose(0, 1, 3, 2)\n"
        "    dv = merge_heads(att.transpose(0, 1, 3, 2) @ dcontext)\n"
        "    dscores = att * (datt - np.sum(datt * att, axis=-1, keepdims=True))\n"
        "    dscores = dscores / root\n"
        "    dq = merge_heads(dscores @ k)\n"
        "    dk = merge_heads(dscores.transpose(0, 1, 3, 2) @ q)\n",
        '    datt = np.einsum("nhtk,nhsk->nhts", dcontext, v)\n'
        '    dv = merge_heads(np.einsum("nhts,nhtk->nhsk", att, dcontext))\n'
        '    dscores = att * (datt - np.einsum("nhts,nhts->nht", datt, att)[..., None]) / root\n'
        '    dq = merge_heads(np.einsum("nhts,nhsk->nhtk", dscores, k))\n'
        '    dk = merge_heads(np.einsum("nhts,nhtk->nhsk", dscores, q))\n',
    ),
]
