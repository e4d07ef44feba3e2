"""Grouped-query attention with rotary positions and a sliding causal window, normalised before and gated after."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, y):
    heads, shared, size, window, base = 4, 2, 6, 3, 50.0
    steps = x.shape[1]
    stream = F.linear(x, params["We"])
    u = F.rms_norm(stream, (stream.shape[-1],), params["gain"], eps=1e-5)
    q = F.linear(u, params["Wq"]).unflatten(-1, (heads, size)).transpose(1, 2)
    k = F.linear(u, params["Wk"]).unflatten(-1, (shared, size)).transpose(1, 2)
    v = F.linear(u, params["Wv"]).unflatten(-1, (shared, size)).transpose(1, 2)

    position = torch.arange(steps, dtype=x.dtype)
    inverse = base ** (-torch.arange(0, size, 2, dtype=x.dtype) / size)
    angle = torch.outer(position, inverse).repeat(1, 2)

    def rotary(a):
        left, right = a.chunk(2, dim=-1)
        return a * angle.cos() + torch.cat([-right, left], dim=-1) * angle.sin()

    k = rotary(k).repeat_interleave(heads // shared, dim=1)
    v = v.repeat_interleave(heads // shared, dim=1)
    back = position[:, None] - position[None, :]
    scores = torch.einsum("bhid,bhjd->bhij", rotary(q), k) / math.sqrt(size)
    scores = scores.masked_fill((back < 0) | (back >= window), float("-inf"))
    mixed = (F.softmax(scores, dim=-1) @ v).transpose(1, 2).flatten(2)
    gate = torch.sigmoid(F.linear(u, params["Wg"], params["bg"]))
    stream = stream + gate * F.linear(mixed, params["Wo"])
    return F.mse_loss(F.linear(stream.mean(dim=1), params["Wr"], params["br"]), y)


def rms_normalise(h, eps=1e-5):
    inv = 1 / np.sqrt(np.mean(h**2, axis=-1, keepdims=True) + eps)
    return h * inv, inv


def rms_backward(dunit, unit, inv):
    along = np.mean(dunit * unit, axis=-1, keepdims=True)
    return inv * (dunit - unit * along)


def angles(steps, size, base=50.0):
    freq = 1 / base ** (np.arange(0, size, 2) / size)
    angle = np.arange(steps)[:, None] * freq
    return np.cos(angle), np.sin(angle)


def rotate(a, cos, sin):
    """Turns the pairs (i, i + half) of the last axis; `a` is batch, step, size."""
    half = a.shape[-1] // 2
    a1, a2 = a[..., :half], a[..., half:]
    return np.concatenate([a1 * cos - a2 * sin, a2 * cos + a1 * sin], axis=-1)


def softmax(a):
    e = np.exp(a - a.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def flat_outer(da, b):
    """The gradient of a weight (out, in) that was applied at every step."""
    return da.reshape(-1, da.shape[-1]).T @ b.reshape(-1, b.shape[-1])


def candidate(params, x, y, heads=4, kv_heads=2, window=3):
    We, Wq, Wk, Wv, Wo, Wg, Wr = (params[name] for name in ("We", "Wq", "Wk", "Wv", "Wo", "Wg", "Wr"))
    gain = params["gain"]
    batch, steps, _ = x.shape
    size = len(Wk) // kv_heads
    group = heads // kv_heads
    scale = 1 / np.sqrt(size)
    cos, sin = angles(steps, size)
    i, j = np.indices((steps, steps))
    allowed = (j <= i) & (i - j < window)

    h = x @ We.T
    unit, inv = rms_normalise(h)
    u = unit * gain
    q = (u @ Wq.T).reshape(batch, steps, heads, size)
    k = (u @ Wk.T).reshape(batch, steps, kv_heads, size)
    v = (u @ Wv.T).reshape(batch, steps, kv_heads, size)
    turned_q = np.stack([rotate(q[:, :, head], cos, sin) for head in range(heads)], axis=2)
    turned_k = np.stack([rotate(k[:, :, kv], cos, sin) for kv in range(kv_heads)], axis=2)
    mixed = np.zeros((batch, steps, heads, size))
    probs = []
    for head in range(heads):
        kv = head // group
        scores = turned_q[:, :, head] @ turned_k[:, :, kv].transpose(0, 2, 1) * scale
        p = softmax(np.where(allowed, scores, -np.inf))
        mixed[:, :, head] = p @ v[:, :, kv]
        probs.append(p)
    joined = mixed.reshape(batch, steps, -1)
    value = joined @ Wo.T
    gate = 1 / (1 + np.exp(-(u @ Wg.T + params["bg"])))
    gated = gate * value
    out = h + gated
    pooled = out.mean(axis=1)
    error = pooled @ Wr.T + params["br"] - y
    loss = np.mean(error**2)

    dpred = 2 * error / error.size
    dWr = dpred.T @ pooled
    dbr = dpred.sum(axis=0)
    dpooled = dpred @ Wr
    dout = np.repeat(dpooled[:, None, :], steps, axis=1) / steps
    dgate = dout * value
    dvalue = dout * gate
    dlogit = dgate * gate * (1 - gate)
    dWg = flat_outer(dlogit, u)
    dbg = dlogit.sum(axis=(0, 1))
    dWo = flat_outer(dvalue, joined)
    dmixed = (dvalue @ Wo).reshape(mixed.shape)

    dq, dk, dv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    for head in range(heads):
        kv, p = head // group, probs[head]
        dv[:, :, kv] += p.transpose(0, 2, 1) @ dmixed[:, :, head]
        dp = dmixed[:, :, head] @ v[:, :, kv].transpose(0, 2, 1)
        ds = p * (dp - np.sum(dp * p, axis=-1, keepdims=True))
        ds *= scale
        # turned back by the same angles
        dq[:, :, head] = rotate(ds @ turned_k[:, :, kv], cos, -sin)
        dk[:, :, kv] += rotate(ds.transpose(0, 2, 1) @ turned_q[:, :, head], cos, -sin)
    dq, dk, dv = (d.reshape(batch, steps, -1) for d in (dq, dk, dv))
    dWq, dWk, dWv = flat_outer(dq, u), flat_outer(dk, u), flat_outer(dv, u)

    du = dlogit @ Wg
    du += dq @ Wq
    du += dk @ Wk
    du += dv @ Wv
    dgain = np.sum(du * unit, axis=(0, 1))
    dh = dout + rms_backward(du * gain, unit, inv)
    dWe = flat_outer(dh, x)
    grads = {"We": dWe, "gain": dgain, "Wq": dWq, "Wk": dWk, "Wv": dWv, "Wg": dWg, "bg": dbg, "Wo": dWo}
    return loss, {**grads, "Wr": dWr, "br": dbr}


def problem(rng):
    params = {
        "We": rng.normal(size=(8, 3)) * 0.8,
        "gain": rng.uniform(0.6, 1.5, size=8),
        "Wq": rng.normal(size=(24, 8)) * 0.6,
        "Wk": rng.normal(size=(12, 8)) * 0.6,
        "Wv": rng.normal(size=(12, 8)) * 0.6,
        "Wg": rng.normal(size=(8, 8)) * 0.5,
        "bg": rng.normal(size=8) * 0.4,
        "Wo": rng.normal(size=(8, 24)) * 0.5,
        "Wr": rng.normal(size=(9, 8)) * 0.6,
        "br": rng.normal(size=9) * 0.4,
    }
    return params, (rng.normal(size=(7, 5, 3)), rng.normal(size=(7, 9)))


WRONG = [
    wrong(
        "keys_turned_on_instead_of_back",
        "wrong-sign|not-transposed|different-function",
        "@ turned_q[:, :, head], cos, -sin)",
        "@ turned_q[:, :, head], cos, sin)",
    ),
    wrong(
        "queries_not_turned_back",
        "missing-derivative",
        "dq[:, :, head] = rotate(ds @ turned_k[:, :, kv], cos, -sin)",
        "dq[:, :, head] = ds @ turned_k[:, :, kv]",
    ),
    wrong(
        "unturned_keys_for_the_queries",
        "wrong-operand",
        "rotate(ds @ turned_k[:, :, kv], cos, -sin)",
        "rotate(ds @ k[:, :, kv], cos, -sin)",
    ),
    wrong(
        "heads_of_a_group_overwrite_their_value",
        "overwritten",
        "dv[:, :, kv] += p.transpose",
        "dv[:, :, kv] = p.transpose",
    ),
    wrong(
        "softmax_row_sum_forgotten",
        "diagonal-jacobian|missing-path",
        "ds = p * (dp - np.sum(dp * p, axis=-1, keepdims=True))",
        "ds = p * dp",
    ),
    wrong(
        "score_scale_forgotten",
        "missing-derivative|wrong-scale",
        "        ds *= scale\n",
        "",
    ),
    wrong(
        "gated_output_for_the_ungated",
        "wrong-operand",
        "dgate = dout * value",
        "dgate = dout * gated",
    ),
    wrong("gate_not_reached_from_its_input", "missing-path", "du = dlogit @ Wg\n", "du = np.zeros_like(u)\n"),
    wrong(
        "root_mean_square_taken_as_a_constant",
        "diagonal-jacobian|missing-path",
        "return inv * (dunit - unit * along)",
        "return inv * dunit",
    ),
    wrong(
        "residual_forgotten",
        "missing-path",
        "dh = dout + rms_backward",
        "dh = rms_backward",
    ),
    wrong(
        "stream_for_the_normalised_input",
        "wrong-operand",
        "flat_outer(dk, u), flat_outer(dv, u)",
        "flat_outer(dk, u), flat_outer(dv, h)",
    ),
    wrong(
        "pooling_not_divided_by_the_steps",
        "wrong-scale|wrong-reduction|missing-derivative",
        "steps, axis=1) / steps",
        "steps, axis=1)",
    ),
    wrong(
        "heads_dealt_out_in_turn_in_both",
        "wrong-operand|different-function|wrong-axis",
        "        kv = head // group\n",
        "        kv = head % kv_heads\n",
        "kv, p = head // group, probs[head]",
        "kv, p = head % kv_heads, probs[head]",
    ),
    wrong(
        "window_one_step_too_wide_in_both",
        "different-function|wrong-operand",
        "(i - j < window)",
        "(i - j <= window)",
    ),
    wrong(
        "neighbours_paired_for_halves_in_both",
        "different-function|wrong-axis|wrong-operand",
        "a1, a2 = a[..., :half], a[..., half:]",
        "a1, a2 = a[..., 0::2], a[..., 1::2]",
        "np.concatenate([a1 * cos - a2 * sin, a2 * cos + a1 * sin], axis=-1)",
        "np.stack([a1 * cos - a2 * sin, a2 * cos + a1 * sin], axis=-1).reshape(*a.shape[:-1], 2 * half)",
    ),
    wrong("half_of_the_error_in_cost", "wrong-loss", "loss = np.mean(error**2)", "loss = 0.5 * np.mean(error**2)"),
]

TOGETHER = [
    ("keys_turned_on_instead_of_back", "gated_output_for_the_ungated"),
    ("unturned_keys_for_the_queries", "root_mean_square_taken_as_a_constant"),
    ("heads_of_a_group_overwrite_their_value", "score_scale_forgotten"),
    ("softmax_row_sum_forgotten", "stream_for_the_normalised_input"),
    ("residual_forgotten", "gate_not_reached_from_its_input"),
    ("window_one_step_too_wide_in_both", "queries_not_turned_back"),
    ("gated_output_for_the_ungated", "score_scale_forgotten", "residual_forgotten"),
    ("pooling_not_divided_by_the_steps", "keys_turned_on_instead_of_back", "stream_for_the_normalised_input"),
]

LOOP_OVER_HEADS = """\
    for head in range(heads):
        kv, p = head // group, probs[head]
        dv[:, :, kv] += p.transpose(0, 2, 1) @ dmixed[:, :, head]
        dp = dmixed[:, :, head] @ v[:, :, kv].transpose(0, 2, 1)
        ds = p * (dp - np.sum(dp * p, axis=-1, keepdims=True))
        ds *= scale
        # turned back by the same angles
        dq[:, :, head] = rotate(ds @ turned_k[:, :, kv], cos, -sin)
        dk[:, :, kv] += rotate(ds.transpose(0, 2, 1) @ turned_q[:, :, head], cos, -sin)
"""

ALL_HEADS_AT_ONCE = """\
    p = np.stack(probs, axis=1)
    every_k, every_v = np.repeat(turned_k, group, axis=2), np.repeat(v, group, axis=2)
    dp = np.einsum("bihd,bjhd->bhij", dmixed, every_v)
    ds = scale * p * (dp - np.einsum("bhij,bhij->bhi", dp, p)[..., None])
    dq = np.einsum("bhij,bjhd->bihd", ds, every_k)
    dk = np.einsum("bhij,bihd->bjhd", ds, turned_q).reshape(batch, steps, kv_heads, group, size).sum(axis=3)
    dv = np.einsum("bhij,bihd->bjhd", p, dmixed).reshape(batch, steps, kv_heads, group, size).sum(axis=3)
    dq = np.stack([rotate(dq[:, :, head], cos, -sin) for head in range(heads)], axis=2)
    dk = np.stack([rotate(dk[:, :, kv], cos, -sin) for kv in range(kv_heads)], axis=2)
"""

STEP_BY_STEP = """\
    for b in range(batch):
        for head in range(heads):
            kv = head // group
            for at in range(steps):
                seen = range(max(0, at - window + 1), at + 1)
                p = probs[head][b, at]
                dp = {t: dmixed[b, at, head] @ v[b, t, kv] for t in seen}
                mean_dp = sum(p[t] * dp[t] for t in seen)
                for t in seen:
                    dv[b, t, kv] += p[t] * dmixed[b, at, head]
                    ds = p[t] * (dp[t] - mean_dp) * scale
                    # only the distance of the two steps matters
                    dq[b, at, head] += ds * rotate(k[b, t, kv], cos[at - t], -sin[at - t])
                    dk[b, t, kv] += ds * rotate(q[b, at, head], cos[at - t], sin[at - t])
"""

RIGHT = [
    right("all_heads_at_once", LOOP_OVER_HEADS, ALL_HEADS_AT_ONCE),
    right("step_by_step_with_relative_turns", LOOP_OVER_HEADS, STEP_BY_STEP),
    right(
        "positions_counted_from_one_and_turned_as_complex_numbers",
        "angle = np.arange(steps)[:, None] * freq",
        "angle = np.arange(1, steps + 1)[:, None] * freq",
        "    a1, a2 = a[..., :half], a[..., half:]\n"
        "    return np.concatenate([a1 * cos - a2 * sin, a2 * cos + a1 * sin], axis=-1)\n",
        "    turned = (a[..., :half] + 1j * a[..., half:]) * (cos + 1j * sin)\n"
        "    return np.concatenate([turned.real, turned.imag], axis=-1)\n",
    ),
]
