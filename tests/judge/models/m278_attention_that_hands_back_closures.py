"""Every operation hands back its own way back: attention with a bias for each lag, post-norm, SiLU, many labels."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, y):
    steps, size = params["P"].shape
    h = x @ params["We"] + params["P"]
    q, k, v = h @ params["Wq"], h @ params["Wk"], h @ params["Wv"]
    lags = torch.arange(steps)[:, None] - torch.arange(steps)
    scores = q @ k.transpose(1, 2) / q.shape[2] ** 0.5 + params["rel"][lags.clamp(min=0)]
    attended = torch.softmax(scores.masked_fill(lags < 0, -torch.inf), dim=2) @ v
    h = F.layer_norm(h + attended @ params["Wo"], (size,), params["g1"], params["o1"])
    h = h + F.silu(h @ params["W1"] + params["c1"]) @ params["W2"]
    h = F.layer_norm(h, (size,), params["g2"], params["o2"])
    logits = h @ params["Wl"] + params["bl"]
    return F.binary_cross_entropy_with_logits(logits, y, reduction="none").sum(dim=2).mean()


def linear(x, W):
    return x @ W, lambda dy: (dy @ W.T, np.einsum("nti,nto->io", x, dy))


def layer_norm(x, g, o):
    xc = x - x.mean(-1, keepdims=True)
    std = np.sqrt((xc**2).mean(-1, keepdims=True) + 1e-5)
    xh = xc / std

    def back(dy):
        dxh = dy * g
        dx = (dxh - dxh.mean(-1, keepdims=True) - xh * (dxh * xh).mean(-1, keepdims=True)) / std
        return dx, (dy * xh).sum((0, 1)), dy.sum((0, 1))

    return xh * g + o, back


def silu(z):
    s = 1 / (1 + np.exp(-z))
    return z * s, lambda dy: dy * (s + z * s * (1 - s))


def attend(q, k, v, rel):
    T, K = q.shape[1:]
    i, j = np.tril_indices(T)
    S = np.full((len(q), T, T), -np.inf)
    S[:, i, j] = (q @ k.swapaxes(1, 2) / np.sqrt(K))[:, i, j] + rel[i - j]
    A = np.exp(S - S.max(-1, keepdims=True))
    A /= A.sum(-1, keepdims=True)

    def back(do):
        dA = do @ v.swapaxes(1, 2)
        dS = A * (dA - (dA * A).sum(-1, keepdims=True))
        drel = np.zeros_like(rel)
        for a, b in zip(i, j, strict=True):
            drel[a - b] += dS[:, a, b].sum()
        dq = dS @ k / np.sqrt(K)
        dk = dS.swapaxes(1, 2) @ q / np.sqrt(K)
        dv = A.swapaxes(1, 2) @ do
        return dq, dk, dv, drel

    return A @ v, back


def candidate(p, x, y):
    e, back_e = linear(x, p["We"])
    h0 = e + p["P"]
    q, back_q = linear(h0, p["Wq"])
    k, back_k = linear(h0, p["Wk"])
    v, back_v = linear(h0, p["Wv"])
    a, back_a = attend(q, k, v, p["rel"])
    o, back_o = linear(a, p["Wo"])
    h1, back_n1 = layer_norm(h0 + o, p["g1"], p["o1"])
    u, back_1 = linear(h1, p["W1"])
    m, back_silu = silu(u + p["c1"])
    f, back_2 = linear(m, p["W2"])
    h2, back_n2 = layer_norm(h1 + f, p["g2"], p["o2"])
    s, back_l = linear(h2, p["Wl"])
    logits = s + p["bl"]
    prob = 1 / (1 + np.exp(-logits))
    N, T, _ = y.shape
    loss = -np.sum(y * np.log(prob) + (1 - y) * np.log(1 - prob)) / (N * T)

    G = {}
    ds = (prob - y) / (N * T)
    G["bl"] = ds.sum((0, 1))
    dh2, G["Wl"] = back_l(ds)
    dsum, G["g2"], G["o2"] = back_n2(dh2)
    dm, G["W2"] = back_2(dsum)
    du = back_silu(dm)
    G["c1"] = du.sum((0, 1))
    dh1, G["W1"] = back_1(du)
    dh1 = dh1 + dsum
    dh0, G["g1"], G["o1"] = back_n1(dh1)
    da, G["Wo"] = back_o(dh0)
    dq, dk, dv, G["rel"] = back_a(da)
    dhq, G["Wq"] = back_q(dq)
    dhk, G["Wk"] = back_k(dk)
    dhv, G["Wv"] = back_v(dv)
    dh0 = dh0 + dhq + dhk + dhv
    G["P"] = dh0.sum(0)
    _, G["We"] = back_e(dh0)
    return loss, G


def problem(rng):
    samples, steps, inputs, size, head, wide, labels = 6, 4, 8, 5, 3, 7, 2
    params = {
        "We": rng.normal(size=(inputs, size)) * 0.5,
        "P": rng.normal(size=(steps, size)) * 0.7,
        "Wq": rng.normal(size=(size, head)) * 0.9,
        "Wk": rng.normal(size=(size, head)) * 0.9,
        "Wv": rng.normal(size=(size, head)) * 0.9,
        "rel": rng.normal(size=steps) * 0.8,
        "Wo": rng.normal(size=(head, size)) * 0.8,
        "g1": rng.uniform(0.6, 1.5, size=size),
        "o1": rng.normal(size=size) * 0.4,
        "W1": rng.normal(size=(size, wide)) * 0.7,
        "c1": rng.normal(size=wide) * 0.4,
        "W2": rng.normal(size=(wide, size)) * 0.7,
        "g2": rng.uniform(0.6, 1.5, size=size),
        "o2": rng.normal(size=size) * 0.4,
        "Wl": rng.normal(size=(size, labels)),
        "bl": rng.normal(size=labels) * 0.4,
    }
    x = rng.normal(size=(samples, steps, inputs))
    return params, (x, rng.integers(0, 2, size=(samples, steps, labels)) * 1.0)


WRONG = [
    wrong(
        "keys_not_divided_by_the_root",
        "wrong-scale|missing-derivative",
        "dk = dS.swapaxes(1, 2) @ q / np.sqrt(K)",
        "dk = dS.swapaxes(1, 2) @ q",
    ),
    wrong(
        "attention_as_if_a_sigmoid",
        "diagonal-jacobian|different-function",
        "dS = A * (dA - (dA * A).sum(-1, keepdims=True))",
        "dS = A * (1 - A) * dA",
    ),
    wrong(
        "attention_summed_over_the_queries_backwards",
        "wrong-axis",
        "(dA * A).sum(-1, keepdims=True)",
        "(dA * A).sum(-2, keepdims=True)",
    ),
    wrong(
        "lags_assigned_not_added",
        "overwritten|last-step-only",
        "drel[a - b] += dS",
        "drel[a - b] = dS",
    ),
    wrong(
        "keys_from_scores_not_turned",
        "not-transposed|transposed",
        "dk = dS.swapaxes(1, 2) @ q",
        "dk = dS @ q",
    ),
    wrong(
        "values_pass_nothing_down",
        "missing-path",
        "dh0 = dh0 + dhq + dhk + dhv",
        "dh0 = dh0 + dhq + dhk",
    ),
    wrong(
        "shortcut_around_attention_forgotten",
        "missing-path",
        "dh0 = dh0 + dhq + dhk + dhv",
        "dh0 = dhq + dhk + dhv",
    ),
    wrong(
        "mean_of_the_norm_taken_for_constant",
        "missing-path|diagonal-jacobian",
        "(dxh - dxh.mean(-1, keepdims=True) - xh",
        "(dxh - xh",
    ),
    wrong(
        "gain_forgotten_on_the_way_down",
        "missing-derivative",
        "dxh = dy * g",
        "dxh = dy",
    ),
    wrong(
        "gain_told_the_centred_input",
        "wrong-operand|missing-derivative",
        "(dy * xh).sum((0, 1))",
        "(dy * xc).sum((0, 1))",
    ),
    wrong(
        "silu_slope_of_its_gate_only",
        "missing-path|different-function|missing-derivative",
        "dy * (s + z * s * (1 - s))",
        "dy * s",
    ),
    wrong(
        "quick_gelu_for_silu_in_both",
        "different-function|wrong-scale",
        "s = 1 / (1 + np.exp(-z))",
        "s = 1 / (1 + np.exp(-1.702 * z))",
        "(s + z * s * (1 - s))",
        "(s + 1.702 * z * s * (1 - s))",
    ),
    wrong(
        "positions_averaged_over_the_batch",
        "wrong-scale|wrong-reduction",
        'G["P"] = dh0.sum(0)',
        'G["P"] = dh0.mean(0)',
    ),
    wrong(
        "slope_of_the_labels_sigmoid_once_more",
        "extra-derivative|different-function",
        "ds = (prob - y) / (N * T)",
        "ds = (prob - y) * prob * (1 - prob) / (N * T)",
    ),
]

TOGETHER = [
    ("keys_not_divided_by_the_root", "lags_assigned_not_added"),
    ("mean_of_the_norm_taken_for_constant", "gain_told_the_centred_input"),
    ("attention_as_if_a_sigmoid", "positions_averaged_over_the_batch"),
    ("attention_summed_over_the_queries_backwards", "silu_slope_of_its_gate_only"),
    ("keys_from_scores_not_turned", "gain_told_the_centred_input"),
    ("values_pass_nothing_down", "slope_of_the_labels_sigmoid_once_more"),
    ("shortcut_around_attention_forgotten", "keys_not_divided_by_the_root"),
    ("quick_gelu_for_silu_in_both", "lags_assigned_not_added"),
    ("gain_forgotten_on_the_way_down", "silu_slope_of_its_gate_only", "positions_averaged_over_the_batch"),
    ("values_pass_nothing_down", "keys_from_scores_not_turned", "gain_told_the_centred_input"),
]

RIGHT = [
    right(
        "lags_along_the_diagonals",
        "        for a, b in zip(i, j, strict=True):\n            drel[a - b] += dS[:, a, b].sum()\n",
        "        for lag in range(T):\n            drel[lag] = np.trace(dS.sum(0), offset=-lag)\n",
        "        dk = dS.swapaxes(1, 2) @ q / np.sqrt(K)\n",
        '        dk = np.einsum("nij,nik->njk", dS, q) / np.sqrt(K)\n',
        "dy * (s + z * s * (1 - s))",
        "dy * s * (1 + z * (1 - s))",
    ),
    right(
        "norm_in_steps_and_stable_labels",
        "        dx = (dxh - dxh.mean(-1, keepdims=True) - xh * (dxh * xh).mean(-1, keepdims=True)) / std\n",
        "        dvar = (dxh * xc).sum(-1, keepdims=True) * -0.5 / std**3\n"
        "        dxc = dxh / std + 2 * xc * dvar / x.shape[-1]\n"
        "        dx = dxc - dxc.sum(-1, keepdims=True) / x.shape[-1]\n",
        "loss = -np.sum(y * np.log(prob) + (1 - y) * np.log(1 - prob)) / (N * T)",
        "loss = np.sum(np.logaddexp(0, logits) - y * logits) / (N * T)",
    ),
]
