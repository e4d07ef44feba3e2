"""Causal linear attention with the feature map elu + 1 and its normaliser, two heads, a norm, a number per step."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, y):
    h = F.linear(x, params["Win"], params["bin"])
    q, k, v = (F.linear(h, params[name]).unflatten(2, (2, -1)) for name in ("Wq", "Wk", "Wv"))
    q, k = F.elu(q) + 1, F.elu(k) + 1
    memory = torch.einsum("nthk,nthv->nthkv", k, v).cumsum(dim=1)
    total = torch.einsum("nthk,nthk->nth", q, k.cumsum(dim=1)) + 1e-6
    read = torch.einsum("nthk,nthkv->nthv", q, memory) / total[..., None]
    out = h + F.linear(read.flatten(2), params["Wo"], params["bo"])
    normed = F.layer_norm(out, (8,), params["gain"], params["shift"])
    return F.mse_loss(normed @ params["w"], y)


def feature_map(u):
    return np.where(u > 0, u + 1, np.exp(np.minimum(u, 0)))


def feature_slope(u):
    return np.where(u > 0, 1.0, np.exp(np.minimum(u, 0)))


def attend(q, k, v, eps=1e-6):
    """One head: queries and keys (n, steps, dk), values (n, steps, dv); the states of every step are kept."""
    n, steps, dk = q.shape
    S = np.zeros((n, dk, v.shape[2]))
    z = np.zeros((n, dk))
    read = np.zeros_like(v)
    history = []
    for t in range(steps):
        S += k[:, t, :, None] * v[:, t, None, :]
        z += k[:, t]
        den = np.sum(q[:, t] * z, axis=1, keepdims=True) + eps
        read[:, t] = np.einsum("nk,nkv->nv", q[:, t], S) / den
        history.append((S.copy(), z.copy(), den))
    return read, history


def attend_backward(dread, q, k, v, read, history):
    dq, dk, dv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    dS = np.zeros_like(history[0][0])
    dz = np.zeros_like(history[0][1])
    for t in reversed(range(q.shape[1])):
        S, z, den = history[t]
        dnum = dread[:, t] / den
        dden = -np.sum(dread[:, t] * read[:, t], axis=1, keepdims=True) / den
        dq[:, t] = np.einsum("nv,nkv->nk", dnum, S) + dden * z
        dS += q[:, t, :, None] * dnum[:, None, :]
        dz += q[:, t] * dden
        dk[:, t] = np.einsum("nkv,nv->nk", dS, v[:, t]) + dz
        dv[:, t] = np.einsum("nkv,nk->nv", dS, k[:, t])
    return dq, dk, dv


def candidate(params, x, y, n_heads=2):
    Wq, Wk, Wv, Wo = params["Wq"], params["Wk"], params["Wv"], params["Wo"]
    h = x @ params["Win"].T + params["bin"]
    uq, uk, v = h @ Wq.T, h @ Wk.T, h @ Wv.T
    q, k = feature_map(uq), feature_map(uk)
    read = np.zeros_like(v)
    spans, kept = [], []
    dk, dv = len(Wq) // n_heads, len(Wv) // n_heads
    for head in range(n_heads):
        a, b = slice(head * dk, (head + 1) * dk), slice(head * dv, (head + 1) * dv)
        read[..., b], history = attend(q[..., a], k[..., a], v[..., b])
        spans.append((a, b))
        kept.append(history)
    out = h + read @ Wo.T + params["bo"]
    centred = out - out.mean(axis=2, keepdims=True)
    std = np.sqrt(np.mean(centred**2, axis=2, keepdims=True) + 1e-5)
    hat = centred / std
    normed = params["gain"] * hat + params["shift"]
    error = normed @ params["w"] - y
    loss = np.sum(error**2) / error.size

    grads = {}
    derror = 2 * error / error.size
    grads["w"] = np.einsum("nt,ntd->d", derror, normed)
    dnormed = derror[:, :, None] * params["w"]
    grads["gain"] = (dnormed * hat).sum(axis=(0, 1))
    grads["shift"] = dnormed.sum(axis=(0, 1))
    dhat = dnormed * params["gain"]
    dout = dhat - dhat.mean(axis=2, keepdims=True) - hat * np.mean(dhat * hat, axis=2, keepdims=True)
    dout = dout / std
    grads["Wo"] = np.einsum("ntd,nte->de", dout, read)
    grads["bo"] = dout.sum(axis=(0, 1))
    dread = dout @ Wo
    dq, dk, dv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    for (a, b), history in zip(spans, kept, strict=True):
        dq[..., a], dk[..., a], dv[..., b] = attend_backward(
            dread[..., b], q[..., a], k[..., a], v[..., b], read[..., b], history
        )
    duq = dq * feature_slope(uq)
    duk = dk * feature_slope(uk)
    grads["Wq"] = np.einsum("ntk,ntd->kd", duq, h)
    grads["Wk"] = np.einsum("ntk,ntd->kd", duk, h)
    grads["Wv"] = np.einsum("ntk,ntd->kd", dv, h)
    dh = dout + duq @ Wq + duk @ Wk + dv @ Wv
    grads["Win"] = np.einsum("ntd,nti->di", dh, x)
    grads["bin"] = dh.sum(axis=(0, 1))
    return loss, grads


def problem(rng):
    params = {
        "Win": rng.normal(size=(8, 3)) * 0.7,
        "bin": rng.normal(size=8) * 0.4,
        "Wq": rng.normal(size=(12, 8)) * 0.5,
        "Wk": rng.normal(size=(12, 8)) * 0.5,
        "Wv": rng.normal(size=(8, 8)) * 0.6,
        "Wo": rng.normal(size=(8, 8)) * 0.6,
        "bo": rng.normal(size=8) * 0.4,
        "gain": 1 + rng.normal(size=8) * 0.3,
        "shift": rng.normal(size=8) * 0.4,
        "w": rng.normal(size=8) * 0.6,
    }
    return params, (rng.normal(size=(5, 7, 3)) + 0.2, rng.normal(size=(5, 7)))


WRONG = [
    wrong(
        "states_kept_without_a_copy",
        "last-step-only|shifted-in-time|wrong-operand",
        "history.append((S.copy(), z.copy(), den))",
        "history.append((S, z, den))",
    ),
    wrong(
        "memory_gradient_of_its_own_step_only",
        "truncated-in-time|overwritten|missing-path",
        "dS += q[:, t, :, None] * dnum[:, None, :]",
        "dS = q[:, t, :, None] * dnum[:, None, :]",
    ),
    wrong(
        "memory_gradient_added_after_its_use",
        "shifted-in-time|missing-path",
        "        dS += q[:, t, :, None] * dnum[:, None, :]\n",
        "",
        '        dv[:, t] = np.einsum("nkv,nk->nv", dS, k[:, t])\n',
        '        dv[:, t] = np.einsum("nkv,nk->nv", dS, k[:, t])\n        dS += q[:, t, :, None] * dnum[:, None, :]\n',
    ),
    wrong(
        "keys_not_through_the_normaliser",
        "missing-path",
        'np.einsum("nkv,nv->nk", dS, v[:, t]) + dz',
        'np.einsum("nkv,nv->nk", dS, v[:, t])',
    ),
    wrong(
        "normaliser_gradient_sign",
        "wrong-sign",
        "dden = -np.sum(",
        "dden = np.sum(",
    ),
    wrong(
        "normaliser_not_squared",
        "missing-derivative|wrong-operand|different-function",
        "dden = -np.sum(dread[:, t] * read[:, t], axis=1, keepdims=True) / den",
        "dden = -np.sum(dread[:, t] * read[:, t], axis=1, keepdims=True)",
    ),
    wrong(
        "slope_plus_one_as_well",
        "different-function|derivative-at-wrong-point",
        "return np.where(u > 0, 1.0, np.exp(np.minimum(u, 0)))",
        "return np.where(u > 0, 1.0, np.exp(np.minimum(u, 0)) + 1)",
    ),
    wrong(
        "slope_at_the_features",
        "derivative-at-wrong-point|missing-derivative",
        "duk = dk * feature_slope(uk)",
        "duk = dk * feature_slope(k)",
    ),
    wrong(
        "residual_forgotten",
        "missing-path",
        "dh = dout + duq @ Wq",
        "dh = duq @ Wq",
    ),
    wrong("values_route_forgotten", "missing-path", " + duk @ Wk + dv @ Wv", " + duk @ Wk"),
    wrong("output_matrix_not_turned", "not-transposed", "dread = dout @ Wo\n", "dread = dout @ Wo.T\n"),
    wrong(
        "values_for_what_was_read",
        "wrong-operand",
        'grads["Wo"] = np.einsum("ntd,nte->de", dout, read)',
        'grads["Wo"] = np.einsum("ntd,nte->de", dout, v)',
    ),
    wrong(
        "spread_forgotten_in_the_norm",
        "missing-derivative|wrong-operand|wrong-scale",
        "    dout = dout / std\n",
        "",
    ),
    wrong(
        "queries_scaled_in_both",
        "different-function|wrong-scale|wrong-operand",
        "uq, uk, v = h @ Wq.T, h",
        "Wq = Wq / np.sqrt(len(Wq) // n_heads)\n    uq, uk, v = h @ Wq.T, h",
        'grads["Wq"] = np.einsum("ntk,ntd->kd", duq, h)',
        'grads["Wq"] = np.einsum("ntk,ntd->kd", duq, h) / np.sqrt(len(Wq) // n_heads)',
    ),
    wrong(
        "divided_by_the_steps_so_far_in_both",
        "different-function|wrong-operand|missing-path",
        "den = np.sum(q[:, t] * z, axis=1, keepdims=True) + eps",
        "den = np.full((n, 1), t + 1.0)",
        "        dden = -np.sum(dread[:, t] * read[:, t], axis=1, keepdims=True) / den\n",
        "        dden = np.zeros_like(den)\n",
    ),
    wrong(
        "half_the_squares_in_cost",
        "wrong-loss",
        "loss = np.sum(error**2) / error.size",
        "loss = 0.5 * np.sum(error**2) / error.size",
    ),
]

TOGETHER = [
    ("states_kept_without_a_copy", "residual_forgotten"),
    ("keys_not_through_the_normaliser", "output_matrix_not_turned"),
    ("normaliser_gradient_sign", "values_for_what_was_read"),
    ("memory_gradient_of_its_own_step_only", "slope_at_the_features"),
    ("slope_plus_one_as_well", "values_route_forgotten"),
    ("divided_by_the_steps_so_far_in_both", "spread_forgotten_in_the_norm"),
    ("normaliser_not_squared", "values_route_forgotten", "values_for_what_was_read"),
    ("queries_scaled_in_both", "keys_not_through_the_normaliser", "residual_forgotten"),
]

RIGHT = [
    right(
        "attention_matrix_after_all",
        "    dS = np.zeros_like(history[0][0])\n"
        "    dz = np.zeros_like(history[0][1])\n"
        "    for t in reversed(range(q.shape[1])):\n"
        "        S, z, den = history[t]\n"
        "        dnum = dread[:, t] / den\n"
        "        dden = -np.sum(dread[:, t] * read[:, t], axis=1, keepdims=True) / den\n"
        '        dq[:, t] = np.einsum("nv,nkv->nk", dnum, S) + dden * z\n'
        "        dS += q[:, t, :, None] * dnum[:, None, :]\n"
        "        dz += q[:, t] * dden\n"
        '        dk[:, t] = np.einsum("nkv,nv->nk", dS, v[:, t]) + dz\n'
        '        dv[:, t] = np.einsum("nkv,nk->nv", dS, k[:, t])\n'
        "    return dq, dk, dv\n",
        "    raw = np.tril(q @ k.transpose(0, 2, 1))\n"
        "    den = np.stack([kept[2] for kept in history], axis=1)\n"
        "    dweights = dread @ v.transpose(0, 2, 1)\n"
        "    draw = np.tril(dweights - np.sum(dread * read, axis=2, keepdims=True)) / den\n"
        "    return draw @ k, draw.transpose(0, 2, 1) @ q, (raw / den).transpose(0, 2, 1) @ dread\n",
        "    dq, dk, dv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)\n    raw",
        "    raw",
    ),
    right(
        "cumulative_sums",
        "    S = np.zeros((n, dk, v.shape[2]))\n"
        "    z = np.zeros((n, dk))\n"
        "    read = np.zeros_like(v)\n"
        "    history = []\n"
        "    for t in range(steps):\n"
        "        S += k[:, t, :, None] * v[:, t, None, :]\n"
        "        z += k[:, t]\n"
        "        den = np.sum(q[:, t] * z, axis=1, keepdims=True) + eps\n"
        '        read[:, t] = np.einsum("nk,nkv->nv", q[:, t], S) / den\n'
        "        history.append((S.copy(), z.copy(), den))\n",
        "    S = np.cumsum(k[..., :, None] * v[..., None, :], axis=1)\n"
        "    z = np.cumsum(k, axis=1)\n"
        "    den = np.sum(q * z, axis=2, keepdims=True) + eps\n"
        "    read = (q[:, :, None, :] @ S)[:, :, 0] / den\n"
        "    history = [(S[:, t], z[:, t], den[:, t]) for t in range(steps)]\n",
        "return np.where(u > 0, 1.0, np.exp(np.minimum(u, 0)))",
        "return np.minimum(feature_map(u), 1.0)",
    ),
    right(
        "projections_joined",
        "    dh = dout + duq @ Wq + duk @ Wk + dv @ Wv\n",
        "    dh = dout.copy()\n"
        "    dh += np.concatenate([duq, duk, dv], axis=2) @ np.concatenate([Wq, Wk, Wv], axis=0)\n",
        "    duq = dq * feature_slope(uq)\n    duk = dk * feature_slope(uk)\n",
        "    duq = np.where(uq > 0, dq, dq * q)\n    duk = np.where(uk > 0, dk, dk * k)\n",
        "    dout = dout / std\n",
        "    dout /= std\n",
        "dden = -np.sum(dread[:, t] * read[:, t], axis=1, keepdims=True) / den",
        "dden = -np.sum(dnum * read[:, t], axis=1, keepdims=True)",
    ),
]
