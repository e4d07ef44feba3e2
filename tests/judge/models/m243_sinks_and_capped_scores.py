"""The newest positions attend to all before: RMS-normed heads, distance bias, capped scores, sinks; recomputed rows."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, targets):
    p = params
    n, keys_there, _ = x.shape
    late = targets.shape[1]
    q = F.linear(x[:, -late:], p["Wq"]).unflatten(2, (4, 6)).transpose(1, 2)
    k = F.linear(x, p["Wk"]).unflatten(2, (2, 6)).transpose(1, 2)
    v = F.linear(x, p["Wv"]).unflatten(2, (2, 6)).transpose(1, 2)
    q = F.rms_norm(q, (6,), p["gain_q"], eps=1e-5)
    k = F.rms_norm(k, (6,), p["gain_k"], eps=1e-5)
    k, v = k.repeat_interleave(2, dim=1), v.repeat_interleave(2, dim=1)
    place = torch.arange(keys_there, dtype=x.dtype)
    behind = place[-late:, None] - place
    slopes = 2.0 ** -torch.arange(1, 5, dtype=x.dtype)
    scores = q @ k.transpose(2, 3) / 6**0.5 - slopes[:, None, None] * behind
    scores = 1.5 * torch.tanh(scores / 1.5)
    scores = scores.masked_fill(behind < 0, -torch.inf)
    sinks = p["sink"].view(1, 4, 1, 1).expand(n, -1, late, 1)
    weights = torch.cat([scores, sinks], dim=3).softmax(dim=3)[..., :-1]
    mixed = (weights @ v).transpose(1, 2).flatten(2)
    made = F.linear(mixed, p["Wo"])
    return 0.5 * ((made - targets) ** 2).sum(dim=2).mean()


def rms_norm(x, gain, eps=1e-5):
    inv = 1 / np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps)
    return x * inv * gain, (x, inv, gain)


def rms_norm_backward(dy, saved):
    x, inv, gain = saved
    unit = x * inv
    dgain = (dy * unit).sum(axis=(0, 1, 2))
    dunit = dy * gain
    return inv * (dunit - unit * (dunit * unit).mean(axis=-1, keepdims=True)), dgain


def score_rows(q, k, slope, scale, cap):
    """The capped and masked scores of one head, and the hyperbolic tangent inside."""
    late, there = q.shape[1], k.shape[1]
    offset = there - late
    behind = np.arange(late)[:, None] + offset - np.arange(there)[None, :]
    raw = scale * np.einsum("nqd,nkd->nqk", q, k) - slope * behind
    tanh = np.tanh(raw / cap)
    return np.where(behind >= 0, cap * tanh, -np.inf), tanh


def attention_forward(q, k, v, sink, cap=1.5):
    """Returns the output and the log of each row's denominator, all that is kept for the way back."""
    n, late, heads, d = q.shape
    group = heads // k.shape[2]
    out = np.zeros_like(q)
    lse = np.zeros((n, heads, late))
    for h in range(heads):
        kv = h // group
        s, _ = score_rows(q[:, :, h], k[:, :, kv], 0.5 ** (h + 1), d**-0.5, cap)
        top = np.maximum(s.max(axis=2), sink[h])
        e = np.exp(s - top[:, :, None])
        denominator = e.sum(axis=2) + np.exp(sink[h] - top)
        lse[:, h] = top + np.log(denominator)
        out[:, :, h] = np.einsum("nqk,nkd->nqd", e, v[:, :, kv]) / denominator[:, :, None]
    return out, lse


def attention_backward(dout, q, k, v, sink, out, lse, cap=1.5):
    heads, d = q.shape[2:]
    group = heads // k.shape[2]
    scale = d**-0.5
    dq, dk, dv, dsink = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v), np.zeros_like(sink)
    for h in range(heads):
        kv = h // group
        s, tanh = score_rows(q[:, :, h], k[:, :, kv], 0.5 ** (h + 1), scale, cap)
        prob = np.exp(s - lse[:, h, :, None])
        do = dout[:, :, h]
        delta = (do * out[:, :, h]).sum(axis=2)
        dv[:, :, kv] += np.einsum("nqk,nqd->nkd", prob, do)
        dprob = np.einsum("nqd,nkd->nqk", do, v[:, :, kv])
        ds = prob * (dprob - delta[:, :, None])
        dsink[h] = -np.sum(np.exp(sink[h] - lse[:, h]) * delta)
        draw = ds * (1 - tanh**2)
        dq[:, :, h] = scale * np.einsum("nqk,nkd->nqd", draw, k[:, :, kv])
        dk[:, :, kv] += scale * np.einsum("nqk,nqd->nkd", draw, q[:, :, h])
    return dq, dk, dv, dsink


def candidate(params, x, targets):
    p = params
    n, there, width = x.shape
    late = targets.shape[1]
    recent = x[:, there - late :]
    # forward
    q, saved_q = rms_norm((recent @ p["Wq"].T).reshape(n, late, 4, 6), p["gain_q"])
    k, saved_k = rms_norm((x @ p["Wk"].T).reshape(n, there, 2, 6), p["gain_k"])
    v = (x @ p["Wv"].T).reshape(n, there, 2, 6)
    out, lse = attention_forward(q, k, v, p["sink"])
    mixed = out.reshape(n, late, 24)
    made = mixed @ p["Wo"].T
    error = made - targets
    loss = 0.5 * np.sum(error**2) / (n * late)
    # backward
    grads = {}
    dmade = error / (n * late)
    grads["Wo"] = np.einsum("nto,ntm->om", dmade, mixed)
    dout = (dmade @ p["Wo"]).reshape(out.shape)
    dq, dk, dv, grads["sink"] = attention_backward(dout, q, k, v, p["sink"], out, lse)
    dq, grads["gain_q"] = rms_norm_backward(dq, saved_q)
    dk, grads["gain_k"] = rms_norm_backward(dk, saved_k)
    grads["Wq"] = dq.reshape(-1, 24).T @ recent.reshape(-1, width)
    grads["Wk"] = dk.reshape(-1, 12).T @ x.reshape(-1, width)
    grads["Wv"] = dv.reshape(-1, 12).T @ x.reshape(-1, width)
    return loss, grads


def problem(rng):
    n, there, late, width, outputs = 5, 7, 3, 4, 2
    params = {
        "Wq": rng.normal(size=(24, width)) * 0.6,
        "Wk": rng.normal(size=(12, width)) * 0.6,
        "Wv": rng.normal(size=(12, width)) * 0.6,
        "gain_q": 1 + rng.normal(size=6) * 0.3,
        "gain_k": 1 + rng.normal(size=6) * 0.3,
        "sink": rng.normal(size=4) * 0.5 + 0.5,
        "Wo": rng.normal(size=(outputs, 24)) * 0.4,
    }
    return params, (rng.normal(size=(n, there, width)), rng.normal(size=(n, late, outputs)))


WRONG = [
    wrong(
        "keys_keep_the_last_head_of_their_group",
        "overwritten|last-step-only",
        "dk[:, :, kv] += scale",
        "dk[:, :, kv] = scale",
    ),
    wrong(
        "sink_pulled_the_wrong_way",
        "wrong-sign",
        "dsink[h] = -np.sum(",
        "dsink[h] = np.sum(",
    ),
    wrong(
        "sink_never_learns",
        "missing-path",
        "        dsink[h] = -np.sum(np.exp(sink[h] - lse[:, h]) * delta)\n",
        "",
    ),
    wrong(
        "rows_recomputed_without_the_sink",
        "different-function|wrong-operand",
        "prob = np.exp(s - lse[:, h, :, None])",
        "prob = np.exp(s - s.max(axis=2, keepdims=True))\n        prob = prob / prob.sum(axis=2, keepdims=True)",
    ),
    wrong(
        "cap_not_differentiated",
        "missing-derivative",
        "draw = ds * (1 - tanh**2)",
        "draw = ds",
    ),
    wrong(
        "slope_of_the_cap_at_the_capped_score",
        "derivative-at-wrong-point|wrong-operand",
        "draw = ds * (1 - tanh**2)",
        "draw = ds * (1 - (cap * tanh) ** 2)",
    ),
    wrong(
        "softmax_without_the_sum_over_its_row",
        "diagonal-jacobian|missing-path",
        "ds = prob * (dprob - delta[:, :, None])",
        "ds = prob * (1 - prob) * dprob",
    ),
    wrong(
        "scale_forgotten_for_the_keys",
        "wrong-scale",
        "dk[:, :, kv] += scale * np.einsum",
        "dk[:, :, kv] += np.einsum",
    ),
    wrong(
        "causal_mask_from_the_upper_left_backwards",
        "wrong-operand|different-function|shifted-in-time",
        "        prob = np.exp(s - lse[:, h, :, None])\n",
        "        prob = np.exp(s - lse[:, h, :, None])\n        prob = np.tril(prob)\n",
    ),
    wrong(
        "distance_counted_the_wrong_way_in_both",
        "wrong-sign|different-function",
        "q, k) - slope * behind",
        "q, k) + slope * behind",
    ),
    wrong(
        "heads_dealt_out_to_groups_in_turn_in_both",
        "wrong-operand|wrong-axis",
        "        kv = h // group\n        s, _ =",
        "        kv = h % k.shape[2]\n        s, _ =",
        "        kv = h // group\n        s, tanh =",
        "        kv = h % k.shape[2]\n        s, tanh =",
    ),
    wrong(
        "gain_learns_from_what_was_not_normalised",
        "wrong-operand|missing-derivative",
        "dgain = (dy * unit)",
        "dgain = (dy * x)",
    ),
]

TOGETHER = [
    ("keys_keep_the_last_head_of_their_group", "sink_pulled_the_wrong_way"),
    ("rows_recomputed_without_the_sink", "scale_forgotten_for_the_keys"),
    ("cap_not_differentiated", "sink_never_learns"),
    ("causal_mask_from_the_upper_left_backwards", "gain_learns_from_what_was_not_normalised"),
]

RIGHT = [
    right(
        "row_sums_from_the_weights",
        "delta = (do * out[:, :, h]).sum(axis=2)",
        'delta = np.einsum("nqk,nqd,nkd->nq", prob, do, v[:, :, kv])',
        "draw = ds * (1 - tanh**2)",
        "draw = ds - ds * tanh * tanh",
        "    unit = x * inv\n"
        "    dgain = (dy * unit).sum(axis=(0, 1, 2))\n"
        "    dunit = dy * gain\n"
        "    return inv * (dunit - unit * (dunit * unit).mean(axis=-1, keepdims=True)), dgain\n",
        '    dgain = np.einsum("nthd,nthd->d", dy, x * inv)\n'
        "    back = dy * gain\n"
        "    return inv * back - inv**3 * x * (back * x).mean(axis=-1, keepdims=True), dgain\n",
    ),
]
