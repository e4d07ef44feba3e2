"""Tags for the words of padded sentences: torch's own encoder layer, norm first, exact GELU, a norm and scores."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tests.judge.corpus import right, wrong


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(
            6, 2, 7, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.norm = nn.LayerNorm(6)
        self.head = nn.Linear(6, 3)

    def forward(self, x, padding):
        return self.head(self.norm(self.layer(x, src_key_padding_mask=padding)))


def reference(params, x, lengths, tags):
    padding = torch.arange(x.shape[1])[None, :] >= lengths[:, None]
    scores = torch.func.functional_call(Tagger(), params, (x, padding))
    return F.cross_entropy(scores.transpose(1, 2), tags, ignore_index=-100)


def norm_forward(a, weight, bias):
    centred = a - a.mean(axis=-1, keepdims=True)
    std = np.sqrt(np.mean(centred**2, axis=-1, keepdims=True) + 1e-5)
    hat = centred / std
    return hat * weight + bias, (hat, std, weight)


def norm_backward(dout, cache):
    hat, std, weight = cache
    dweight = np.sum(dout * hat, axis=(0, 1))
    dbias = np.sum(dout, axis=(0, 1))
    dhat = dout * weight
    m1 = dhat.mean(axis=-1, keepdims=True)
    m2 = (dhat * hat).mean(axis=-1, keepdims=True)
    return (dhat - m1 - hat * m2) / std, dweight, dbias


def split_heads(a, heads=2):
    n, steps, width = a.shape
    return a.reshape(n, steps, heads, width // heads).transpose(0, 2, 1, 3)


def join_heads(a):
    n, heads, steps, size = a.shape
    return a.transpose(0, 2, 1, 3).reshape(n, steps, heads * size)


def normal_cdf(a):
    return 0.5 * (1 + np.vectorize(math.erf)(a / math.sqrt(2)))


def candidate(params, x, lengths, tags):
    w_in, b_in = params["layer.self_attn.in_proj_weight"], params["layer.self_attn.in_proj_bias"]
    w_out, b_out = params["layer.self_attn.out_proj.weight"], params["layer.self_attn.out_proj.bias"]
    w1, b1 = params["layer.linear1.weight"], params["layer.linear1.bias"]
    w2, b2 = params["layer.linear2.weight"], params["layer.linear2.bias"]
    w_tag, b_tag = params["head.weight"], params["head.bias"]
    n, steps, width = x.shape
    hidden = np.arange(steps)[None, :] >= lengths[:, None]

    # attention block
    u, cache1 = norm_forward(x, params["layer.norm1.weight"], params["layer.norm1.bias"])
    q, k, v = (split_heads(part) for part in np.split(u @ w_in.T + b_in, 3, axis=2))
    scale = 1 / np.sqrt(q.shape[-1])
    s = q @ k.transpose(0, 1, 3, 2) * scale
    s = np.where(hidden[:, None, None, :], -1e30, s)
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    att = e / e.sum(axis=-1, keepdims=True)
    context = join_heads(att @ v)
    y = x + context @ w_out.T + b_out
    # feed-forward block
    r, cache2 = norm_forward(y, params["layer.norm2.weight"], params["layer.norm2.bias"])
    a = r @ w1.T + b1
    cdf = normal_cdf(a)
    f = a * cdf
    z = y + f @ w2.T + b2
    # tags
    top, cache3 = norm_forward(z, params["norm.weight"], params["norm.bias"])
    logits = top @ w_tag.T + b_tag
    logits = logits - logits.max(axis=-1, keepdims=True)
    logp = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    known = tags != -100
    onehot = np.eye(3)[np.where(known, tags, 0)] * known[:, :, None]
    count = known.sum()
    loss = -np.sum(onehot * logp) / count

    grads = {}
    dlogits = (np.exp(logp) * known[:, :, None] - onehot) / count
    grads["head.weight"] = np.einsum("ntc,ntd->cd", dlogits, top)
    grads["head.bias"] = dlogits.sum(axis=(0, 1))
    dz, grads["norm.weight"], grads["norm.bias"] = norm_backward(dlogits @ w_tag, cache3)
    # feed-forward block
    grads["layer.linear2.weight"] = np.einsum("ntd,ntf->df", dz, f)
    grads["layer.linear2.bias"] = dz.sum(axis=(0, 1))
    df = dz @ w2
    da = df * (cdf + a * np.exp(-(a**2) / 2) / np.sqrt(2 * np.pi))
    grads["layer.linear1.weight"] = np.einsum("ntf,ntd->fd", da, r)
    grads["layer.linear1.bias"] = da.sum(axis=(0, 1))
    dr = da @ w1
    dy, grads["layer.norm2.weight"], grads["layer.norm2.bias"] = norm_backward(dr, cache2)
    dy = dy + dz
    # attention block
    grads["layer.self_attn.out_proj.weight"] = np.einsum("nti,ntj->ij", dy, context)
    grads["layer.self_attn.out_proj.bias"] = dy.sum(axis=(0, 1))
    dheads = split_heads(dy @ w_out)
    datt = dheads @ v.transpose(0, 1, 3, 2)
    dv = att.transpose(0, 1, 3, 2) @ dheads
    ds = att * (datt - np.sum(datt * att, axis=-1, keepdims=True)) * scale
    dq = ds @ k
    dk = ds.transpose(0, 1, 3, 2) @ q
    dqkv = np.concatenate([join_heads(dq), join_heads(dk), join_heads(dv)], axis=2)
    grads["layer.self_attn.in_proj_weight"] = np.einsum("nti,ntj->ij", dqkv, u)
    grads["layer.self_attn.in_proj_bias"] = dqkv.sum(axis=(0, 1))
    du = dqkv @ w_in
    _, grads["layer.norm1.weight"], grads["layer.norm1.bias"] = norm_backward(du, cache1)
    return loss, grads


def problem(rng):
    params = {
        "layer.self_attn.in_proj_weight": rng.normal(size=(18, 6)) * 0.6,
        "layer.self_attn.in_proj_bias": rng.normal(size=18) * 0.5,
        "layer.self_attn.out_proj.weight": rng.normal(size=(6, 6)) * 0.6,
        "layer.self_attn.out_proj.bias": rng.normal(size=6) * 0.3,
        "layer.linear1.weight": rng.normal(size=(7, 6)) * 0.5,
        "layer.linear1.bias": rng.normal(size=7) * 0.4,
        "layer.linear2.weight": rng.normal(size=(6, 7)) * 0.5,
        "layer.linear2.bias": rng.normal(size=6) * 0.3,
        "head.weight": rng.normal(size=(3, 6)) * 0.7,
        "head.bias": rng.normal(size=3) * 0.3,
    }
    for name in ("layer.norm1", "layer.norm2", "norm"):
        params[name + ".weight"] = 1 + rng.normal(size=6) * 0.3
        params[name + ".bias"] = rng.normal(size=6) * 0.3
    lengths = np.array([5, 3, 4, 5])
    tags = rng.integers(0, 3, size=(4, 5))
    tags[np.arange(5)[None, :] >= lengths[:, None]] = -100
    tags[0, 2] = -100
    return params, (rng.normal(size=(4, 5, 6)), lengths, tags)


WRONG = [
    wrong("residual_round_the_feed_forward_forgotten", "missing-path", "    dy = dy + dz\n", ""),
    wrong(
        "residual_sent_through_the_norm",
        "wrong-operand|missing-path",
        "= norm_backward(dr, cache2)\n    dy = dy + dz\n",
        "= norm_backward(dr + dz, cache2)\n",
    ),
    wrong(
        "norm_taken_over_the_sentence_backwards",
        "wrong-axis",
        "    m1 = dhat.mean(axis=-1, keepdims=True)\n    m2 = (dhat * hat).mean(axis=-1, keepdims=True)\n",
        "    m1 = dhat.mean(axis=(1, 2), keepdims=True)\n    m2 = (dhat * hat).mean(axis=(1, 2), keepdims=True)\n",
    ),
    wrong("norm_gain_not_applied_backwards", "missing-derivative", "dhat = dout * weight", "dhat = dout"),
    wrong(
        "attention_softmax_by_its_diagonal",
        "diagonal-jacobian",
        "ds = att * (datt - np.sum(datt * att, axis=-1, keepdims=True)) * scale",
        "ds = att * (1 - att) * datt * scale",
    ),
    wrong(
        "scores_divided_by_the_whole_width_in_both",
        "different-function|wrong-scale",
        "scale = 1 / np.sqrt(q.shape[-1])",
        "scale = 1 / np.sqrt(width)",
    ),
    wrong(
        "score_scale_forgotten_backwards",
        "wrong-scale|missing-derivative",
        "keepdims=True)) * scale",
        "keepdims=True))",
    ),
    wrong(
        "heads_cut_without_moving_axes_backwards",
        "wrong-axis|wrong-operand",
        "dheads = split_heads(dy @ w_out)",
        "dheads = (dy @ w_out).reshape(v.shape)",
    ),
    wrong(
        "keys_before_queries_in_the_packed_gradient",
        "wrong-operand",
        "[join_heads(dq), join_heads(dk), join_heads(dv)]",
        "[join_heads(dk), join_heads(dq), join_heads(dv)]",
    ),
    wrong(
        "attention_not_turned_for_the_values",
        "not-transposed",
        "dv = att.transpose(0, 1, 3, 2) @ dheads",
        "dv = att @ dheads",
    ),
    wrong(
        "gelu_slope_without_its_density",
        "missing-path|missing-derivative|different-function",
        "da = df * (cdf + a * np.exp(-(a**2) / 2) / np.sqrt(2 * np.pi))",
        "da = df * cdf",
    ),
    wrong(
        "padded_words_in_the_mean_of_the_gradient",
        "wrong-scale",
        "known[:, :, None] - onehot) / count",
        "known[:, :, None] - onehot) / known.size",
    ),
]

TOGETHER = [
    ("residual_round_the_feed_forward_forgotten", "attention_softmax_by_its_diagonal"),
    ("norm_gain_not_applied_backwards", "score_scale_forgotten_backwards"),
    ("heads_cut_without_moving_axes_backwards", "padded_words_in_the_mean_of_the_gradient"),
    ("gelu_slope_without_its_density", "keys_before_queries_in_the_packed_gradient"),
]

RIGHT = [
    right(
        "queries_keys_and_values_one_by_one",
        '    grads["layer.self_attn.in_proj_weight"] = np.einsum("nti,ntj->ij", dqkv, u)\n',
        "    rows = u.reshape(-1, width)\n"
        '    grads["layer.self_attn.in_proj_weight"] = np.vstack(\n'
        "        [join_heads(part).reshape(-1, width).T @ rows for part in (dq, dk, dv)]\n"
        "    )\n",
        "    return (dhat - m1 - hat * m2) / std, dweight, dbias\n",
        "    size = hat.shape[-1]\n"
        "    dcentred = dhat / std\n"
        "    dvar = -0.5 * (dhat * hat).sum(axis=-1, keepdims=True) / std**2\n"
        "    dcentred = dcentred + 2 * hat * std * dvar / size\n"
        "    return dcentred - dcentred.mean(axis=-1, keepdims=True), dweight, dbias\n",
    ),
]
