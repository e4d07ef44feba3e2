"""A decoder layer: residual then RMS norm, rotated queries and keys, shared key heads, a causal mask, squared error."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, x, skip, target):
    n, steps, _ = x.shape
    stream = skip + x @ params["Wi"]
    normed = stream * torch.rsqrt((stream**2).mean(-1, keepdim=True) + 1e-5) * params["scale"]
    q = (normed @ params["Wq"]).unflatten(2, (6, 2)).transpose(1, 2)
    k = (normed @ params["Wk"]).unflatten(2, (2, 2)).transpose(1, 2)
    v = (normed @ params["Wv"]).unflatten(2, (2, 3)).transpose(1, 2)
    angle = torch.arange(steps, dtype=x.dtype) * 0.7
    turn = torch.stack(
        [torch.stack([angle.cos(), -angle.sin()], -1), torch.stack([angle.sin(), angle.cos()], -1)], dim=-2
    )
    q, k = (torch.einsum("tij,nhtj->nhti", turn, a) for a in (q, k))
    k, v = k.repeat_interleave(3, dim=1), v.repeat_interleave(3, dim=1)
    out = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    y = stream + out.transpose(1, 2).flatten(2) @ params["Wo"]
    return ((y - target) ** 2).sum() / (n * steps)


def rms_norm(a, scale, eps=1e-5):
    rstd = 1.0 / np.sqrt((a * a).mean(axis=-1, keepdims=True) + eps)
    return a * rstd * scale, rstd


def rms_norm_backward(dout, a, rstd, scale):
    x_hat = a * rstd
    dscale = (dout * x_hat).sum(axis=(0, 1))
    wdy = dout * scale
    c1 = (wdy * x_hat).mean(axis=-1, keepdims=True)
    return rstd * (wdy - x_hat * c1), dscale


def rotate(a, cos, sin):
    first, second = a[..., 0], a[..., 1]
    return np.stack([first * cos - second * sin, first * sin + second * cos], axis=-1)


def rotate_backward(d, cos, sin):
    d_first, d_second = d[..., 0], d[..., 1]
    return np.stack([d_first * cos + d_second * sin, d_second * cos - d_first * sin], axis=-1)


def heads(a, count):
    n, steps, width = a.shape
    return a.reshape(n, steps, count, width // count).transpose(0, 2, 1, 3)


def unheads(a):
    n, count, steps, width = a.shape
    return a.transpose(0, 2, 1, 3).reshape(n, steps, count * width)


def candidate(params, x, skip, target):
    Wi, Wq, Wk, Wv, Wo, scale = (params[name] for name in ("Wi", "Wq", "Wk", "Wv", "Wo", "scale"))
    n, steps, _ = x.shape
    kv_heads, group = 2, 3
    angle = np.arange(steps) * 0.7
    cos, sin = np.cos(angle), np.sin(angle)

    stream = skip + x @ Wi
    normed, rstd = rms_norm(stream, scale)
    q = rotate(heads(normed @ Wq, kv_heads * group), cos, sin)
    k = rotate(heads(normed @ Wk, kv_heads), cos, sin)
    v = heads(normed @ Wv, kv_heads)
    k_all, v_all = np.repeat(k, group, axis=1), np.repeat(v, group, axis=1)
    factor = 1.0 / np.sqrt(q.shape[-1])
    scores = q @ k_all.swapaxes(2, 3) * factor
    future = np.triu(np.ones((steps, steps), dtype=bool), 1)
    scores = np.where(future, -1e30, scores)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights = weights / weights.sum(axis=-1, keepdims=True)
    mixed = unheads(weights @ v_all)
    y = stream + mixed @ Wo
    loss = ((y - target) ** 2).sum() / (n * steps)

    grads = {}
    dy = 2 * (y - target) / (n * steps)
    grads["Wo"] = np.tensordot(mixed, dy, axes=([0, 1], [0, 1]))
    dmixed = heads(dy @ Wo.T, kv_heads * group)
    dv_all = weights.swapaxes(2, 3) @ dmixed
    dweights = dmixed @ v_all.swapaxes(2, 3)
    delta = (dweights * weights).sum(axis=-1, keepdims=True)
    dscores = weights * (dweights - delta) * factor
    dq = dscores @ k_all
    dk_all = dscores.swapaxes(2, 3) @ q
    dk = dk_all.reshape(n, kv_heads, group, steps, -1).sum(axis=2)
    dv = dv_all.reshape(n, kv_heads, group, steps, -1).sum(axis=2)
    dq = unheads(rotate_backward(dq, cos, sin))
    dk = unheads(rotate_backward(dk, cos, sin))
    dv = unheads(dv)
    grads["Wq"] = np.tensordot(normed, dq, axes=([0, 1], [0, 1]))
    grads["Wk"] = np.tensordot(normed, dk, axes=([0, 1], [0, 1]))
    grads["Wv"] = np.tensordot(normed, dv, axes=([0, 1], [0, 1]))
    dnormed = dq @ Wq.T + dk @ Wk.T + dv @ Wv.T
    dstream, grads["scale"] = rms_norm_backward(dnormed, stream, rstd, scale)
    dstream = dstream + dy
    grads["Wi"] = np.tensordot(x, dstream, axes=([0, 1], [0, 1]))
    return loss, grads


def problem(rng):
    n, steps, width = 4, 7, 5
    params = {
        "Wi": rng.normal(size=(3, width)) * 0.7,
        "scale": 1 + 0.4 * rng.normal(size=width),
        "Wq": rng.normal(size=(width, 12)) * 0.8,
        "Wk": rng.normal(size=(width, 4)) * 0.8,
        "Wv": rng.normal(size=(width, 6)) * 0.6,
        "Wo": rng.normal(size=(18, width)) * 0.4,
    }
    data = (rng.normal(size=(n, steps, 3)), rng.normal(size=(n, steps, width)), rng.normal(size=(n, steps, width)))
    return params, data


WRONG = [
    wrong("norm_scale_forgotten_backwards", "missing-derivative|missing-path", "wdy = dout * scale", "wdy = dout"),
    wrong(
        "residual_added_before_the_norm_backwards",
        "missing-path|wrong-operand",
        "rms_norm_backward(dnormed, stream, rstd, scale)\n    dstream = dstream + dy\n",
        "rms_norm_backward(dnormed + dy, stream, rstd, scale)\n",
    ),
    wrong(
        "root_mean_square_held_constant", "missing-path|diagonal-jacobian", "rstd * (wdy - x_hat * c1)", "rstd * wdy"
    ),
    wrong(
        "rotated_forwards_again",
        "wrong-sign|not-transposed",
        "[d_first * cos + d_second * sin, d_second * cos - d_first * sin]",
        "[d_first * cos - d_second * sin, d_second * cos + d_first * sin]",
    ),
    wrong(
        "keys_not_turned_back",
        "missing-derivative|missing-path",
        "dk = unheads(rotate_backward(dk, cos, sin))",
        "dk = unheads(dk)",
    ),
    wrong(
        "values_averaged_over_the_group",
        "wrong-reduction|wrong-scale",
        "dv = dv_all.reshape(n, kv_heads, group, steps, -1).sum(axis=2)",
        "dv = dv_all.reshape(n, kv_heads, group, steps, -1).mean(axis=2)",
    ),
    wrong(
        "keys_of_the_last_head_of_a_group",
        "overwritten|missing-path",
        "dk = dk_all.reshape(n, kv_heads, group, steps, -1).sum(axis=2)",
        "dk = dk_all[:, group - 1 :: group]",
    ),
    wrong(
        "groups_interleaved_when_summed",
        "wrong-axis|wrong-operand",
        "dk = dk_all.reshape(n, kv_heads, group, steps, -1).sum(axis=2)",
        "dk = dk_all.reshape(n, group, kv_heads, steps, -1).sum(axis=1)",
    ),
    wrong(
        "factor_forgotten_in_the_scores_gradient",
        "missing-derivative|wrong-scale",
        "dscores = weights * (dweights - delta) * factor",
        "dscores = weights * (dweights - delta)",
    ),
    wrong(
        "softmax_taken_entry_by_entry",
        "diagonal-jacobian",
        "dscores = weights * (dweights - delta) * factor",
        "dscores = weights * (1 - weights) * dweights * factor",
    ),
    wrong(
        "scale_gradient_with_the_unnormalised_stream",
        "wrong-operand|missing-derivative",
        "dscale = (dout * x_hat).sum(axis=(0, 1))",
        "dscale = (dout * a).sum(axis=(0, 1))",
    ),
    wrong(
        "query_route_only_to_the_norm",
        "missing-path",
        "dnormed = dq @ Wq.T + dk @ Wk.T + dv @ Wv.T",
        "dnormed = dq @ Wq.T + dv @ Wv.T",
    ),
]

TOGETHER = [
    ("norm_scale_forgotten_backwards", "rotated_forwards_again"),
    ("root_mean_square_held_constant", "values_averaged_over_the_group"),
    ("residual_added_before_the_norm_backwards", "factor_forgotten_in_the_scores_gradient"),
    ("keys_of_the_last_head_of_a_group", "scale_gradient_with_the_unnormalised_stream"),
]

RIGHT = [
    right(
        "rotation_as_a_complex_product",
        "    d_first, d_second = d[..., 0], d[..., 1]\n"
        "    return np.stack([d_first * cos + d_second * sin, d_second * cos - d_first * sin], axis=-1)\n",
        "    back = (d[..., 0] + 1j * d[..., 1]) * (cos - 1j * sin)\n"
        "    return np.stack([back.real, back.imag], axis=-1)\n",
        "dk = dk_all.reshape(n, kv_heads, group, steps, -1).sum(axis=2)",
        "dk = np.add.reduceat(dk_all, np.arange(0, kv_heads * group, group), axis=1)",
    ),
]
