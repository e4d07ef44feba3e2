"""A transformer block of fused calls: layer norm, attention without a mask, GELU network, both with residuals."""

import math

import numpy as np
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, y):
    width = x.shape[-1]
    normed = F.layer_norm(x, (width,), params["g1"], params["s1"])
    q, k, v = (normed @ params["W_qkv"]).split(width, dim=-1)
    x = x + F.scaled_dot_product_attention(q, k, v) @ params["W_o"]
    normed = F.layer_norm(x, (width,), params["g2"])
    x = x + F.gelu(normed @ params["W_1"]) @ params["W_2"]
    return 0.5 * F.mse_loss(x, y)


def erf(z):
    return np.vectorize(math.erf)(z)


def gelu(z):
    return 0.5 * z * (1 + erf(z / np.sqrt(2)))


def d_gelu(z):
    return 0.5 * (1 + erf(z / np.sqrt(2))) + z * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)


def d_norm(dhat, xhat, std):
    return (dhat - dhat.mean(-1, keepdims=True) - xhat * np.mean(dhat * xhat, axis=-1, keepdims=True)) / std


def candidate(params, x, y):
    W_qkv, W_o, W_1, W_2 = params["W_qkv"], params["W_o"], params["W_1"], params["W_2"]
    d = x.shape[-1]
    std1 = np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)
    hat1 = (x - x.mean(axis=-1, keepdims=True)) / std1
    n1 = hat1 * params["g1"] + params["s1"]
    qkv = n1 @ W_qkv
    q, k, v = qkv[..., :d], qkv[..., d : 2 * d], qkv[..., 2 * d :]
    scores = q @ k.transpose(0, 2, 1) / np.sqrt(d)
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    w = e / e.sum(axis=-1, keepdims=True)
    c = w @ v
    x1 = x + c @ W_o
    std2 = np.sqrt(x1.var(axis=-1, keepdims=True) + 1e-5)
    hat2 = (x1 - x1.mean(axis=-1, keepdims=True)) / std2
    n2 = hat2 * params["g2"]
    u = n2 @ W_1
    a = gelu(u)
    out = x1 + a @ W_2
    loss = 0.5 * np.mean((out - y) ** 2)
    dout = (out - y) / out.size
    dW_2 = np.einsum("bti,btj->ij", a, dout)
    du = (dout @ W_2.T) * d_gelu(u)
    dW_1 = np.einsum("bti,btj->ij", n2, du)
    dn2 = du @ W_1.T
    dg2 = np.sum(dn2 * hat2, axis=(0, 1))
    dx1 = dout + d_norm(dn2 * params["g2"], hat2, std2)
    dW_o = np.einsum("bti,btj->ij", c, dx1)
    dc = dx1 @ W_o.T
    dv = w.transpose(0, 2, 1) @ dc
    dw = dc @ v.transpose(0, 2, 1)
    ds = w * (dw - np.sum(dw * w, axis=-1, keepdims=True))
    ds = ds / np.sqrt(d)
    dq = ds @ k
    dk = ds.transpose(0, 2, 1) @ q
    dqkv = np.concatenate([dq, dk, dv], axis=-1)
    dW_qkv = np.einsum("bti,btj->ij", n1, dqkv)
    dn1 = dqkv @ W_qkv.T
    dg1 = np.sum(dn1 * hat1, axis=(0, 1))
    ds1 = np.sum(dn1, axis=(0, 1))
    return loss, {"g1": dg1, "s1": ds1, "W_qkv": dW_qkv, "W_o": dW_o, "g2": dg2, "W_1": dW_1, "W_2": dW_2}


def problem(rng):
    d = 4
    params = {
        "g1": rng.uniform(0.5, 1.5, size=d),
        "s1": rng.normal(size=d) * 0.3,
        "W_qkv": rng.normal(size=(d, 3 * d)) * 0.7,
        "W_o": rng.normal(size=(d, d)) * 0.7,
        "g2": rng.uniform(0.5, 1.5, size=d),
        "W_1": rng.normal(size=(d, 6)) * 0.7,
        "W_2": rng.normal(size=(6, d)) * 0.7,
    }
    return params, (rng.normal(size=(3, 5, d)), rng.normal(size=(3, 5, d)))


WRONG = [
    wrong(
        "softmax_diagonal",
        "diagonal-jacobian",
        "ds = w * (dw - np.sum(dw * w, axis=-1, keepdims=True))",
        "ds = w * (1 - w) * dw",
    ),
    wrong(
        "softmax_forgotten", "missing-derivative", "ds = w * (dw - np.sum(dw * w, axis=-1, keepdims=True))", "ds = dw"
    ),
    wrong("scale_forgotten", "wrong-scale|missing-derivative", "    ds = ds / np.sqrt(d)\n", ""),
    wrong("scale_not_rooted", "wrong-scale", "ds = ds / np.sqrt(d)", "ds = ds / d"),
    wrong("gelu_derivative_forgotten", "missing-derivative", "(dout @ W_2.T) * d_gelu(u)", "dout @ W_2.T"),
    wrong("gelu_derivative_of_output", "derivative-at-wrong-point", "d_gelu(u)\n", "d_gelu(a)\n"),
    wrong("relu_slope_for_gelu", "different-function", "* d_gelu(u)", "* (u > 0)"),
    wrong("second_residual_forgotten", "missing-path", "dx1 = dout + d_norm", "dx1 = d_norm"),
    wrong(
        "network_branch_forgotten", "missing-path", 'dx1 = dout + d_norm(dn2 * params["g2"], hat2, std2)', "dx1 = dout"
    ),
    wrong(
        "norm_taken_as_diagonal",
        "diagonal-jacobian|missing-path",
        'd_norm(dn2 * params["g2"], hat2, std2)',
        'dn2 * params["g2"] / std2',
    ),
    wrong(
        "variance_of_the_norm_forgotten", "missing-path", " - xhat * np.mean(dhat * xhat, axis=-1, keepdims=True)", ""
    ),
    wrong("mean_of_the_norm_forgotten", "missing-path", "(dhat - dhat.mean(-1, keepdims=True) - xhat", "(dhat - xhat"),
    wrong("norm_ignored", "missing-derivative", 'd_norm(dn2 * params["g2"], hat2, std2)', 'dn2 * params["g2"]'),
    wrong(
        "gain_forgotten_backwards",
        "missing-derivative|missing-path|wrong-operand",
        'd_norm(dn2 * params["g2"], hat2, std2)',
        "d_norm(dn2, hat2, std2)",
    ),
    wrong("gain_from_the_unnormalised", "wrong-operand", "dg2 = np.sum(dn2 * hat2,", "dg2 = np.sum(dn2 * x1,"),
    wrong("attention_not_transposed", "not-transposed", "dv = w.transpose(0, 2, 1) @ dc", "dv = w @ dc"),
    wrong("W_o_not_transposed", "not-transposed", "dc = dx1 @ W_o.T", "dc = dx1 @ W_o"),
    wrong("keys_for_queries", "wrong-operand", "dk = ds.transpose(0, 2, 1) @ q", "dk = ds.transpose(0, 2, 1) @ k"),
    wrong(
        "q_and_k_joined_in_another_order",
        "wrong-operand",
        "np.concatenate([dq, dk, dv], axis=-1)",
        "np.concatenate([dk, dq, dv], axis=-1)",
    ),
    wrong(
        "values_only",
        "missing-path",
        "np.concatenate([dq, dk, dv], axis=-1)",
        "np.concatenate([0 * dq, 0 * dk, dv], axis=-1)",
    ),
    wrong("W_1_from_the_unnormalised", "wrong-operand", '"bti,btj->ij", n2, du', '"bti,btj->ij", x1, du'),
    wrong("last_position_only", "last-step-only", '"bti,btj->ij", n2, du', '"bi,bj->ij", n2[:, -1], du[:, -1]'),
    wrong(
        "shift_averaged",
        "wrong-scale|wrong-reduction",
        "ds1 = np.sum(dn1, axis=(0, 1))",
        "ds1 = np.mean(dn1, axis=1).sum(axis=0)",
    ),
    wrong("two_too_many", "wrong-scale", "dout = (out - y) / out.size", "dout = 2 * (out - y) / out.size"),
    wrong(
        "softmax_over_queries_in_both",
        "wrong-axis",
        "scores.max(axis=-1, keepdims=True)",
        "scores.max(axis=1, keepdims=True)",
        "e.sum(axis=-1, keepdims=True)",
        "e.sum(axis=1, keepdims=True)",
        "np.sum(dw * w, axis=-1, keepdims=True)",
        "np.sum(dw * w, axis=1, keepdims=True)",
    ),
    wrong("half_forgotten_in_cost", "wrong-loss", "loss = 0.5 * np", "loss = np"),
]

TOGETHER = [
    ("softmax_diagonal", "gelu_derivative_forgotten"),
    ("second_residual_forgotten", "attention_not_transposed"),
    ("scale_forgotten", "keys_for_queries"),
    ("half_forgotten_in_cost", "norm_taken_as_diagonal"),
    ("norm_taken_as_diagonal", "W_o_not_transposed"),
    ("gelu_derivative_forgotten", "variance_of_the_norm_forgotten"),
    ("gelu_derivative_forgotten", "W_o_not_transposed", "shift_averaged"),
]

RIGHT = [
    right(
        "norm_in_three_steps",
        "return (dhat - dhat.mean(-1, keepdims=True) - xhat * np.mean(dhat * xhat, axis=-1, keepdims=True)) / std",
        "k = dhat.shape[-1]\n    dvar = np.sum(dhat * xhat, axis=-1, keepdims=True) * -0.5 / std**2\n"
        "    dmean = -np.sum(dhat, axis=-1, keepdims=True) / std\n"
        "    return dhat / std + 2 * dvar * xhat * std / k + dmean / k",
    ),
    right("flat_products", 'np.einsum("bti,btj->ij", n1, dqkv)', "n1.reshape(-1, d).T @ dqkv.reshape(-1, 3 * d)"),
]
