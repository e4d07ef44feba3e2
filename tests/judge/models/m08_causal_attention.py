"""One attention head with a causal mask over a sequence, scored by squared error at every position."""

import numpy as np
import torch
from torch import nn

from tests.judge.corpus import right, wrong


class Head(nn.Module):
    def __init__(self, params):
        super().__init__()
        self.params = params

    def forward(self, x):
        q = x @ self.params["W_q"]
        k = x @ self.params["W_k"]
        v = x @ self.params["W_v"]
        scores = q @ k.transpose(1, 2) / q.shape[-1] ** 0.5
        mask = torch.triu(torch.ones(x.shape[1], x.shape[1], dtype=torch.bool), diagonal=1)
        scores = scores.masked_fill(mask, float("-inf"))
        weights = torch.softmax(scores, dim=-1)
        return weights @ v @ self.params["W_o"]


def reference(params, x, y):
    return nn.functional.mse_loss(Head(params)(x), y)


def candidate(params, x, y):
    W_q, W_k, W_v, W_o = params["W_q"], params["W_k"], params["W_v"], params["W_o"]
    steps = x.shape[1]
    q, k, v = x @ W_q, x @ W_k, x @ W_v
    scale = 1 / np.sqrt(q.shape[-1])
    s = np.einsum("btd,bud->btu", q, k) * scale
    s[:, np.triu(np.ones((steps, steps), dtype=bool), 1)] = -np.inf
    e = np.exp(s - s.max(axis=2, keepdims=True))
    w = e / e.sum(axis=2, keepdims=True)
    c = w @ v
    out = c @ W_o
    loss = np.mean((out - y) ** 2)
    dout = 2 * (out - y) / out.size
    dW_o = np.einsum("btd,bto->do", c, dout)
    dc = dout @ W_o.T
    dv = w.transpose(0, 2, 1) @ dc
    dw = dc @ v.transpose(0, 2, 1)
    ds = w * (dw - np.sum(dw * w, axis=2, keepdims=True))
    ds = ds * scale
    dq = ds @ k
    dk = ds.transpose(0, 2, 1) @ q
    dW_q = np.einsum("bti,btd->id", x, dq)
    dW_k = np.einsum("bti,btd->id", x, dk)
    dW_v = np.einsum("bti,btd->id", x, dv)
    return loss, {"W_q": dW_q, "W_k": dW_k, "W_v": dW_v, "W_o": dW_o}


def problem(rng):
    params = {name: rng.normal(size=(4, 4)) for name in ("W_q", "W_k", "W_v")}
    params["W_o"] = rng.normal(size=(4, 3))
    return params, (rng.normal(size=(2, 5, 4)), rng.normal(size=(2, 5, 3)))


WRONG = [
    wrong(
        "softmax_diagonal", "diagonal-jacobian", "w * (dw - np.sum(dw * w, axis=2, keepdims=True))", "w * (1 - w) * dw"
    ),
    wrong(
        "softmax_sum_forgotten", "diagonal-jacobian|missing-path", "(dw - np.sum(dw * w, axis=2, keepdims=True))", "dw"
    ),
    wrong("softmax_forgotten", "missing-derivative", "w * (dw - np.sum(dw * w, axis=2, keepdims=True))", "dw"),
    wrong(
        "softmax_axis", "wrong-axis", "np.sum(dw * w, axis=2, keepdims=True)", "np.sum(dw * w, axis=1, keepdims=True)"
    ),
    wrong("scale_forgotten_backwards", "wrong-scale|missing-derivative", "    ds = ds * scale\n", ""),
    wrong("scale_twice", "wrong-scale", "dq = ds @ k", "dq = ds @ k * scale"),
    wrong("weights_not_transposed", "not-transposed", "dv = w.transpose(0, 2, 1) @ dc", "dv = w @ dc"),
    wrong("scores_not_transposed", "not-transposed", "dk = ds.transpose(0, 2, 1) @ q", "dk = ds @ q"),
    wrong("queries_for_keys", "wrong-operand", "dq = ds @ k", "dq = ds @ q"),
    wrong("keys_and_queries_swapped", "wrong-operand", '{"W_q": dW_q, "W_k": dW_k', '{"W_q": dW_k, "W_k": dW_q'),
    wrong(
        "values_for_context",
        "wrong-operand",
        'dW_o = np.einsum("btd,bto->do", c, dout)',
        'dW_o = np.einsum("btd,bto->do", v, dout)',
    ),
    wrong("two_forgotten", "wrong-scale", "dout = 2 * (out - y)", "dout = (out - y)"),
    wrong("averaged_over_batch_only", "wrong-scale|wrong-reduction", "/ out.size", "/ len(out)"),
    wrong("last_position_only", "last-step-only", '"bti,btd->id", x, dv', '"bi,bd->id", x[:, -1], dv[:, -1]'),
    wrong("first_sample_only", "one-sample-only", '"bti,btd->id", x, dq', '"ti,td->id", x[0], dq[0]'),
    wrong("delta_reversed_in_time", "flipped", '"W_v": dW_v', '"W_v": dW_v[::-1]'),
    wrong(
        "mask_forgotten_in_both",
        "different-function|missing-path",
        "    s[:, np.triu(np.ones((steps, steps), dtype=bool), 1)] = -np.inf\n",
        "",
    ),
    wrong(
        "mask_of_the_past_in_both",
        "different-function",
        "dtype=bool), 1)] =",
        "dtype=bool), 0).T & ~np.eye(steps, dtype=bool)] =",
    ),
    wrong(
        "softmax_over_queries_in_both",
        "wrong-axis",
        "s.max(axis=2, keepdims=True)",
        "s.max(axis=1, keepdims=True)",
        "e.sum(axis=2, keepdims=True)",
        "e.sum(axis=1, keepdims=True)",
        "np.sum(dw * w, axis=2, keepdims=True)",
        "np.sum(dw * w, axis=1, keepdims=True)",
    ),
    wrong(
        "scale_by_dimension_in_both", "different-function|wrong-scale", "1 / np.sqrt(q.shape[-1])", "1 / q.shape[-1]"
    ),
    wrong("value_gradient_transposed", "transposed", '"W_v": dW_v', '"W_v": dW_v.T'),
]

TOGETHER = [
    ("softmax_diagonal", "weights_not_transposed"),
    ("softmax_sum_forgotten", "scale_forgotten_backwards"),
    ("scores_not_transposed", "queries_for_keys"),
    ("two_forgotten", "softmax_sum_forgotten"),
    ("values_for_context", "scale_forgotten_backwards"),
    ("values_for_context", "softmax_sum_forgotten", "weights_not_transposed"),
]

RIGHT = [
    right(
        "whole_jacobian",
        "ds = w * (dw - np.sum(dw * w, axis=2, keepdims=True))",
        "jacobian = np.einsum('btu,uz->btuz', w, np.eye(steps)) - w[..., None] * w[:, :, None]\n"
        "    ds = np.einsum('btuz,btz->btu', jacobian, dw)",
    ),
    right(
        "by_position",
        'dW_v = np.einsum("bti,btd->id", x, dv)',
        "dW_v = sum(x[b, t][:, None] * dv[b, t] for t in range(steps) for b in range(len(x)))",
    ),
    right("minus_a_large_number", "= -np.inf", "= -1e30"),
]
