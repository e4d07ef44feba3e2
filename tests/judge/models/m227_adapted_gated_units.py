"""A gated feed-forward layer with low-rank adapters between two RMS norms; smoothed labels, a penalty on log sums."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, tokens, targets):
    p = params

    def norm(a, w):
        return a * torch.rsqrt(a.pow(2).mean(-1, keepdim=True) + 1e-6) * (1 + w)

    def adapted(a, name):
        return F.linear(a, p["W_" + name]) + 1.5 * F.linear(F.linear(a, p["A_" + name]), p["B_" + name])

    stream = F.embedding(tokens, p["table"])
    a = norm(stream, p["w_mid"])
    stream = stream + F.linear(F.silu(adapted(a, "gate")) * adapted(a, "up"), p["W_down"])
    logits = F.linear(norm(stream, p["w_end"]), p["head"])
    counted = targets != -100
    log_sum = torch.logsumexp(logits, dim=-1)
    return {
        "words": F.cross_entropy(logits.flatten(0, 1), targets.flatten(), label_smoothing=0.2, ignore_index=-100),
        "log_sum": 0.05 * (log_sum[counted] ** 2).mean(),
    }


def norm_forward(x, w, eps=1e-6):
    rstd = 1 / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps)
    return x * rstd * (1 + w), (x, w, rstd)


def norm_backward(dy, saved):
    x, w, rstd = saved
    unit = x * rstd
    dunit = dy * (1 + w)
    dx = rstd * (dunit - unit * (dunit * unit).mean(axis=-1, keepdims=True))
    dw = (dy * unit).reshape(-1, x.shape[-1]).sum(axis=0)
    return dx, dw


def adapter_forward(x, W, A, B, scaling):
    low = x @ A.T
    return x @ W.T + scaling * (low @ B.T), (x, W, A, B, low, scaling)


def adapter_backward(dy, saved):
    x, W, A, B, low, scaling = saved
    rows, dys = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    dW = dys.T @ rows
    dB = scaling * dys.T @ low.reshape(-1, low.shape[-1])
    dlow = scaling * dys @ B
    dA = dlow.T @ rows
    dx = dys @ W + dlow @ A
    return dx.reshape(x.shape), dW, dA, dB


def swiglu_forward(e, g):
    sig = 1 / (1 + np.exp(-e))
    return e * sig * g, (e, g, sig)


def swiglu_backward(dh, saved):
    e, g, sig = saved
    f = e * sig
    de = dh * g * sig * (1 + e * (1 - sig))
    dg = dh * f
    return de, dg


def smoothed_loss(logits, targets, smoothing, z_weight):
    n_words = logits.shape[-1]
    flat, labels = logits.reshape(-1, n_words), targets.reshape(-1)
    kept = labels != -100
    count = kept.sum()
    top = flat.max(axis=1, keepdims=True)
    lse = top[:, 0] + np.log(np.exp(flat - top).sum(axis=1))
    probs = np.exp(flat - lse[:, None])
    safe = np.where(kept, labels, 0)
    goal = np.full_like(flat, smoothing / n_words)
    goal[np.arange(len(safe)), safe] += 1 - smoothing
    each = lse - (goal * flat).sum(axis=1)
    words = (each * kept).sum() / count
    penalty = z_weight * (lse**2 * kept).sum() / count
    dflat = probs - goal
    dflat = dflat + 2 * z_weight * lse[:, None] * probs
    dflat = dflat * kept[:, None] / count
    return words + penalty, dflat.reshape(logits.shape)


def candidate(params, tokens, targets):
    p = params
    stream = p["table"][tokens]
    a, saved_mid = norm_forward(stream, p["w_mid"])
    e, saved_gate = adapter_forward(a, p["W_gate"], p["A_gate"], p["B_gate"], 1.5)
    u, saved_up = adapter_forward(a, p["W_up"], p["A_up"], p["B_up"], 1.5)
    h, saved_glu = swiglu_forward(e, u)
    stream = stream + h @ p["W_down"].T
    last, saved_end = norm_forward(stream, p["w_end"])
    logits = last @ p["head"].T
    loss, dlogits = smoothed_loss(logits, targets, 0.2, 0.05)

    grads = {"head": np.einsum("ntv,ntd->vd", dlogits, last)}
    dlast = dlogits @ p["head"]
    dstream, grads["w_end"] = norm_backward(dlast, saved_end)
    grads["W_down"] = np.einsum("ntd,ntf->df", dstream, h)
    de, du = swiglu_backward(dstream @ p["W_down"], saved_glu)
    da_gate, grads["W_gate"], grads["A_gate"], grads["B_gate"] = adapter_backward(de, saved_gate)
    da_up, grads["W_up"], grads["A_up"], grads["B_up"] = adapter_backward(du, saved_up)
    da = da_gate + da_up
    dx, grads["w_mid"] = norm_backward(da, saved_mid)
    dstream = dstream + dx
    grads["table"] = np.zeros_like(p["table"])
    np.add.at(grads["table"], tokens, dstream)
    return loss, grads


def problem(rng):
    words, width, inner, rank = 7, 6, 5, 2
    params = {
        "table": rng.normal(size=(words, width)),
        "w_mid": rng.normal(size=width) * 0.4,
        "W_gate": rng.normal(size=(inner, width)) * 0.5,
        "A_gate": rng.normal(size=(rank, width)) * 0.5,
        "B_gate": rng.normal(size=(inner, rank)) * 0.5,
        "W_up": rng.normal(size=(inner, width)) * 0.5,
        "A_up": rng.normal(size=(rank, width)) * 0.5,
        "B_up": rng.normal(size=(inner, rank)) * 0.5,
        "W_down": rng.normal(size=(width, inner)) * 0.6,
        "w_end": rng.normal(size=width) * 0.4,
        "head": rng.normal(size=(words, width)) * 0.6,
    }
    tokens = rng.integers(0, words, size=(4, 3))
    targets = rng.integers(0, words, size=(4, 3))
    targets[1, 2] = targets[3, 0] = targets[3, 1] = -100
    return params, (tokens, targets)


WRONG = [
    wrong(
        "stream_added_before_the_norm_goes_back",
        "extra-derivative|wrong-operand",
        '    dx, grads["w_mid"] = norm_backward(da, saved_mid)\n    dstream = dstream + dx\n',
        '    _, grads["w_mid"] = norm_backward(da, saved_mid)\n'
        "    dstream, _ = norm_backward(dstream + da, saved_mid)\n",
    ),
    wrong(
        "gain_forgotten_on_the_way_through_the_norm",
        "missing-derivative|wrong-operand",
        "dunit = dy * (1 + w)",
        "dunit = dy",
    ),
    wrong(
        "gain_without_its_one_on_the_way_back",
        "wrong-operand|different-function",
        "dunit = dy * (1 + w)",
        "dunit = dy * w",
    ),
    wrong(
        "gain_learns_from_the_overwritten_gradient",
        "wrong-operand",
        "dw = (dy * unit)",
        "dw = (dx * unit)",
    ),
    wrong(
        "root_mean_square_held_fixed",
        "missing-path|diagonal-jacobian",
        "dx = rstd * (dunit - unit * (dunit * unit).mean(axis=-1, keepdims=True))",
        "dx = rstd * dunit",
    ),
    wrong(
        "gate_and_value_stored_the_other_way_round",
        "wrong-operand",
        "    return de, dg\n",
        "    return dg, de\n",
    ),
    wrong(
        "value_branch_times_the_bare_gate",
        "wrong-operand|different-function",
        "dg = dh * f",
        "dg = dh * e",
    ),
    wrong(
        "adapter_scaling_missing_at_its_outer_matrix",
        "wrong-scale",
        "dB = scaling * dys.T @ low",
        "dB = dys.T @ low",
    ),
    wrong(
        "adapter_sends_nothing_to_its_input",
        "missing-path",
        "dx = dys @ W + dlow @ A",
        "dx = dys @ W",
    ),
    wrong(
        "smoothing_only_in_the_loss",
        "wrong-operand|different-function",
        "dflat = probs - goal",
        "dflat = probs - np.eye(n_words)[safe]",
    ),
    wrong(
        "penalty_of_the_log_sum_not_differentiated",
        "wrong-term-weight|missing-path",
        "    dflat = dflat + 2 * z_weight * lse[:, None] * probs\n",
        "",
    ),
    wrong(
        "gradient_divided_by_ignored_words_too",
        "wrong-scale",
        "dflat = dflat * kept[:, None] / count",
        "dflat = dflat * kept[:, None] / len(labels)",
    ),
]

TOGETHER = [
    ("stream_added_before_the_norm_goes_back", "adapter_scaling_missing_at_its_outer_matrix"),
    ("gain_forgotten_on_the_way_through_the_norm", "penalty_of_the_log_sum_not_differentiated"),
    ("gate_and_value_stored_the_other_way_round", "gradient_divided_by_ignored_words_too"),
    ("gain_learns_from_the_overwritten_gradient", "adapter_sends_nothing_to_its_input"),
]

RIGHT = [
    right(
        "matrix_and_adapter_merged",
        "    return x @ W.T + scaling * (low @ B.T), (x, W",
        "    return x @ (W + scaling * B @ A).T, (x, W",
        "dx = dys @ W + dlow @ A",
        "dx = dys @ (W + scaling * B @ A)",
        "    dx = rstd * (dunit - unit * (dunit * unit).mean(axis=-1, keepdims=True))\n",
        "    along = (dunit * x).sum(axis=-1, keepdims=True)\n"
        "    dx = rstd * dunit - rstd**3 * x * along / x.shape[-1]\n",
    ),
]
