"""A memory matrix corrected by the delta rule under a forget gate: unit keys, a gated RMS norm of what is read."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, y):
    p = params
    q = x @ p["Wq"] / p["Wq"].shape[1] ** 0.5
    k = F.normalize(x @ p["Wk"], dim=-1)
    v = x @ p["Wv"]
    beta = torch.sigmoid(x @ p["wb"])
    keep = torch.exp(-torch.exp(p["log_rate"]) * F.softplus(x @ p["wa"] + p["ba"]))
    memory = torch.zeros(len(x), k.shape[-1], v.shape[-1], dtype=x.dtype)
    reads = []
    for t in range(x.shape[1]):
        memory = keep[:, t, None, None] * memory
        gap = v[:, t] - torch.einsum("nk,nkv->nv", k[:, t], memory)
        memory = memory + torch.einsum("nk,nv->nkv", k[:, t], beta[:, t, None] * gap)
        reads.append(torch.einsum("nk,nkv->nv", q[:, t], memory))
    o = torch.stack(reads, dim=1)
    o = o * torch.rsqrt((o**2).mean(-1, keepdim=True) + 1e-3) * p["gain"] * F.silu(x @ p["Wz"])
    return 0.5 * ((o @ p["Wo"] - y) ** 2).sum(-1).mean()


def sigmoid(a):
    return 1.0 / (1.0 + np.exp(-a))


def delta_rule(q, k, v, beta, keep):
    n, steps, width = v.shape
    memory = np.zeros((n, k.shape[2], width))
    reads, tape = np.empty_like(v), []
    for t in range(steps):
        old = memory
        faded = keep[:, t, None, None] * old
        gap = v[:, t] - np.einsum("nk,nkv->nv", k[:, t], faded)
        written = beta[:, t, None] * gap
        memory = faded + k[:, t, :, None] * written[:, None, :]
        reads[:, t] = np.einsum("nk,nkv->nv", q[:, t], memory)
        tape.append((old, faded, gap, written, memory))
    return reads, tape


def delta_rule_backward(dreads, q, k, v, beta, keep, tape):
    dq, dk, dv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    dbeta, dkeep = np.zeros_like(beta), np.zeros_like(keep)
    dmem = np.zeros_like(tape[0][0])
    for t in reversed(range(len(tape))):
        old, faded, gap, written, memory = tape[t]
        dq[:, t] = np.einsum("nkv,nv->nk", memory, dreads[:, t])
        dmem = dmem + q[:, t, :, None] * dreads[:, t, None, :]
        dk[:, t] = np.einsum("nkv,nv->nk", dmem, written)
        dwritten = np.einsum("nk,nkv->nv", k[:, t], dmem)
        dbeta[:, t] = (dwritten * gap).sum(axis=1)
        dgap = dwritten * beta[:, t, None]
        dv[:, t] = dgap
        dk[:, t] -= np.einsum("nkv,nv->nk", faded, dgap)
        dfaded = dmem - k[:, t, :, None] * dgap[:, None, :]
        dkeep[:, t] = (dfaded * old).sum(axis=(1, 2))
        dmem = keep[:, t, None, None] * dfaded
    return dq, dk, dv, dbeta, dkeep


def candidate(params, x, y):
    p = params
    n, steps, d = x.shape
    scale = p["Wq"].shape[1] ** -0.5
    # projections
    q = scale * (x @ p["Wq"])
    raw_k = x @ p["Wk"]
    norm_k = np.linalg.norm(raw_k, axis=-1, keepdims=True)
    k = raw_k / norm_k
    v = x @ p["Wv"]
    beta = sigmoid(x @ p["wb"])
    a = x @ p["wa"] + p["ba"]
    soft = np.logaddexp(0, a)
    rate = np.exp(p["log_rate"])
    keep = np.exp(-rate * soft)
    # memory
    o, tape = delta_rule(q, k, v, beta, keep)
    # gated norm and output
    rstd = 1 / np.sqrt((o**2).mean(axis=-1, keepdims=True) + 1e-3)
    unit = o * rstd
    z = x @ p["Wz"]
    gate = z * sigmoid(z)
    gated = unit * p["gain"] * gate
    error = gated @ p["Wo"] - y
    loss = 0.5 * np.sum(error**2) / (n * steps)

    rows = x.reshape(n * steps, d)
    derror = error / (n * steps)
    g = {"Wo": np.einsum("ntv,nto->vo", gated, derror)}
    dgated = derror @ p["Wo"].T
    dgate = dgated * unit * p["gain"]
    dz = dgate * (sigmoid(z) + gate * (1 - sigmoid(z)))
    g["Wz"] = rows.T @ dz.reshape(n * steps, -1)
    g["gain"] = (dgated * gate * unit).sum(axis=(0, 1))
    dunit = dgated * gate * p["gain"]
    do = rstd * (dunit - unit * (unit * dunit).mean(axis=-1, keepdims=True))

    dq, dk, dv, dbeta, dkeep = delta_rule_backward(do, q, k, v, beta, keep, tape)
    g["Wq"] = scale * rows.T @ dq.reshape(n * steps, -1)
    draw_k = (dk - k * (k * dk).sum(axis=-1, keepdims=True)) / norm_k
    g["Wk"] = rows.T @ draw_k.reshape(n * steps, -1)
    g["Wv"] = rows.T @ dv.reshape(n * steps, -1)
    g["wb"] = rows.T @ (dbeta * beta * (1 - beta)).ravel()
    dlog_keep = dkeep * keep
    g["log_rate"] = np.array([-(dlog_keep * soft).sum() * rate[0]])
    da = -dlog_keep * rate * sigmoid(a)
    g["wa"] = rows.T @ da.ravel()
    g["ba"] = np.array([da.sum()])
    return loss, g


def problem(rng):
    d, keys, values, outputs = 5, 3, 4, 2
    params = {
        "Wq": rng.normal(size=(d, keys)),
        "Wk": rng.normal(size=(d, keys)),
        "Wv": rng.normal(size=(d, values)) * 0.8,
        "wb": rng.normal(size=d) * 0.6,
        "wa": rng.normal(size=d) * 0.5,
        "ba": rng.normal(size=1) * 0.5,
        "log_rate": rng.normal(size=1) * 0.3 - 0.8,
        "Wz": rng.normal(size=(d, values)) * 0.6,
        "gain": rng.uniform(0.6, 1.5, size=values),
        "Wo": rng.normal(size=(values, outputs)) * 0.7,
    }
    return params, (rng.normal(size=(7, 6, d)), rng.normal(size=(7, 6, outputs)))


WRONG = [
    wrong(
        "erased_part_still_passes_on",
        "missing-path",
        "dfaded = dmem - k[:, t, :, None] * dgap[:, None, :]",
        "dfaded = dmem",
    ),
    wrong(
        "key_learns_from_writing_only",
        "missing-path",
        '        dk[:, t] -= np.einsum("nkv,nv->nk", faded, dgap)\n',
        "",
    ),
    wrong(
        "sign_of_the_key_as_a_reader",
        "wrong-sign",
        'dk[:, t] -= np.einsum("nkv,nv->nk", faded, dgap)',
        'dk[:, t] += np.einsum("nkv,nv->nk", faded, dgap)',
    ),
    wrong(
        "key_read_from_the_memory_before_fading",
        "wrong-operand",
        'dk[:, t] -= np.einsum("nkv,nv->nk", faded, dgap)',
        'dk[:, t] -= np.einsum("nkv,nv->nk", old, dgap)',
    ),
    wrong(
        "query_paired_with_the_memory_before_the_write",
        "shifted-in-time|wrong-operand",
        'dq[:, t] = np.einsum("nkv,nv->nk", memory, dreads[:, t])',
        'dq[:, t] = np.einsum("nkv,nv->nk", faded, dreads[:, t])',
    ),
    wrong(
        "gate_paired_with_the_faded_memory",
        "wrong-operand|extra-derivative",
        "dkeep[:, t] = (dfaded * old)",
        "dkeep[:, t] = (dfaded * faded)",
    ),
    wrong(
        "fading_forgotten_on_the_way_back",
        "missing-derivative",
        "dmem = keep[:, t, None, None] * dfaded",
        "dmem = dfaded",
    ),
    wrong(
        "key_length_held_fixed",
        "missing-path|diagonal-jacobian",
        "draw_k = (dk - k * (k * dk).sum(axis=-1, keepdims=True)) / norm_k",
        "draw_k = dk / norm_k",
    ),
    wrong(
        "output_matrix_with_the_ungated_norm",
        "wrong-operand",
        'np.einsum("ntv,nto->vo", gated, derror)',
        'np.einsum("ntv,nto->vo", unit * p["gain"], derror)',
    ),
    wrong(
        "minus_of_the_rate_forgotten",
        "wrong-sign",
        "np.array([-(dlog_keep * soft).sum() * rate[0]])",
        "np.array([(dlog_keep * soft).sum() * rate[0]])",
    ),
    wrong(
        "query_scale_only_forwards",
        "wrong-scale",
        'g["Wq"] = scale * rows.T @ dq',
        'g["Wq"] = rows.T @ dq',
    ),
    wrong(
        "slope_of_the_writing_strength_forgotten",
        "missing-derivative",
        "(dbeta * beta * (1 - beta)).ravel()",
        "dbeta.ravel()",
    ),
]

TOGETHER = [
    ("erased_part_still_passes_on", "key_length_held_fixed"),
    ("key_learns_from_writing_only", "minus_of_the_rate_forgotten"),
    ("fading_forgotten_on_the_way_back", "output_matrix_with_the_ungated_norm"),
    ("query_paired_with_the_memory_before_the_write", "slope_of_the_writing_strength_forgotten"),
]

RIGHT = [
    right(
        "memory_change_by_one_matrix",
        "        dfaded = dmem - k[:, t, :, None] * dgap[:, None, :]\n",
        "        erase = np.eye(k.shape[2]) - beta[:, t, None, None] * k[:, t, :, None] * k[:, t, None, :]\n"
        '        dfaded = np.einsum("nij,njv->niv", erase, dmem)\n',
        "(dbeta * beta * (1 - beta)).ravel()",
        "(dbeta * (beta - beta**2)).ravel()",
    ),
]
