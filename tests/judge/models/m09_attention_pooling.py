"""A sequence pooled by softmax weights that a learned query gives, then linear regression with the absolute error."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, x, y):
    keys = torch.tanh(torch.einsum("nti,ik->ntk", x, params["W"]))
    score = torch.einsum("ntk,k->nt", keys, params["q"])
    weight = score.softmax(dim=1)
    pooled = (weight.unsqueeze(-1) * x).sum(dim=1)
    prediction = pooled.mv(params["u"]) + params["b"]
    return (prediction - y).abs().mean()


def candidate(params, x, y):
    W, q, u = params["W"], params["q"], params["u"]
    n, steps = x.shape[:2]
    k = np.tanh(x @ W)
    s = k @ q
    e = np.exp(s - s.max(axis=1, keepdims=True))
    w = e / e.sum(axis=1, keepdims=True)
    pooled = np.sum(w[:, :, None] * x, axis=1)
    error = pooled @ u + params["b"] - y
    loss = np.mean(np.abs(error))
    dout = np.sign(error) / n
    du = pooled.T @ dout
    db = np.sum(dout)
    dpooled = np.outer(dout, u)
    dw = np.einsum("ni,nti->nt", dpooled, x)
    ds = w * (dw - np.sum(w * dw, axis=1, keepdims=True))
    dq = np.einsum("nt,ntk->k", ds, k)
    dk = ds[:, :, None] * q
    dz = dk * (1 - k**2)
    dW = np.einsum("nti,ntk->ik", x, dz)
    return loss, {"W": dW, "q": dq, "u": du, "b": np.array(db)}


def problem(rng):
    params = {"W": rng.normal(size=(4, 3)), "q": rng.normal(size=3), "u": rng.normal(size=4), "b": np.array(0.1)}
    return params, (rng.normal(size=(6, 5, 4)), rng.normal(size=6))


WRONG = [
    wrong(
        "softmax_diagonal", "diagonal-jacobian", "w * (dw - np.sum(w * dw, axis=1, keepdims=True))", "w * (1 - w) * dw"
    ),
    wrong(
        "softmax_sum_forgotten", "diagonal-jacobian|missing-path", "(dw - np.sum(w * dw, axis=1, keepdims=True))", "dw"
    ),
    wrong(
        "softmax_mean_for_sum",
        "wrong-reduction|wrong-scale",
        "np.sum(w * dw, axis=1, keepdims=True)",
        "np.mean(w * dw, axis=1, keepdims=True)",
    ),
    wrong(
        "softmax_over_the_batch_backwards",
        "wrong-axis",
        "np.sum(w * dw, axis=1, keepdims=True)",
        "np.sum(w * dw, axis=0, keepdims=True)",
    ),
    wrong(
        "sign_forgotten",
        "missing-derivative|wrong-operand|different-function",
        "dout = np.sign(error) / n",
        "dout = np.ones(n) / n",
    ),
    wrong(
        "squared_error_in_gradient",
        "different-function|wrong-operand",
        "dout = np.sign(error) / n",
        "dout = 2 * error / n",
    ),
    wrong("tanh_derivative_forgotten", "missing-derivative", "dz = dk * (1 - k**2)", "dz = dk"),
    wrong("tanh_derivative_twice", "extra-derivative", "dk * (1 - k**2)", "dk * (1 - k**2) ** 2"),
    wrong(
        "tanh_derivative_at_activation", "derivative-at-wrong-point", "dk * (1 - k**2)", "dk * (1 - np.tanh(k) ** 2)"
    ),
    wrong("sigmoid_slope_for_tanh", "different-function", "dk * (1 - k**2)", "dk * k * (1 - k)"),
    wrong(
        "pooled_mean_for_weighted",
        "wrong-operand|different-function",
        "du = pooled.T @ dout",
        "du = x.mean(axis=1).T @ dout",
    ),
    wrong("last_step_only_in_q", "last-step-only", 'np.einsum("nt,ntk->k", ds, k)', "ds[:, -1] @ k[:, -1]"),
    wrong(
        "first_step_only_in_W", "last-step-only|missing-path", 'np.einsum("nti,ntk->ik", x, dz)', "x[:, 0].T @ dz[:, 0]"
    ),
    wrong("intercept_averaged", "wrong-scale|wrong-reduction", "db = np.sum(dout)", "db = np.mean(dout)"),
    wrong("not_averaged", "wrong-scale|wrong-reduction", "np.sign(error) / n", "np.sign(error)"),
    wrong("averaged_over_steps", "wrong-scale|wrong-reduction", "np.sign(error) / n", "np.sign(error) / n / steps"),
    wrong(
        "steps_reversed_in_weights",
        "flipped|wrong-operand",
        "du = pooled.T @ dout",
        "du = np.sum(w[:, ::-1, None] * x, axis=1).T @ dout",
    ),
    wrong(
        "mean_pooling_in_both",
        "different-function|missing-path|wrong-operand",
        "w = e / e.sum(axis=1, keepdims=True)",
        "w = np.ones_like(e) / steps",
        "ds = w * (dw - np.sum(w * dw, axis=1, keepdims=True))",
        "ds = np.zeros_like(w)",
    ),
    wrong(
        "squared_error_in_both",
        "different-function",
        "np.mean(np.abs(error))",
        "np.mean(error**2)",
        "np.sign(error) / n",
        "2 * error / n",
    ),
    wrong(
        "targets_as_column_in_cost",
        "broadcast|wrong-loss",
        "np.mean(np.abs(error))",
        "np.mean(np.abs(pooled @ u + params['b'] - y[:, None]))",
    ),
]

TOGETHER = [
    ("softmax_diagonal", "tanh_derivative_forgotten"),
    ("softmax_sum_forgotten", "intercept_averaged"),
    ("squared_error_in_gradient", "tanh_derivative_forgotten"),
    ("intercept_averaged", "last_step_only_in_q"),
    ("averaged_over_steps", "softmax_sum_forgotten"),
    ("targets_as_column_in_cost", "tanh_derivative_at_activation"),
    ("not_averaged", "softmax_diagonal", "tanh_derivative_forgotten"),
]

RIGHT = [
    right(
        "one_sample_at_a_time",
        "ds = w * (dw - np.sum(w * dw, axis=1, keepdims=True))",
        "ds = np.array([(np.diag(one) - np.outer(one, one)) @ d for one, d in zip(w, dw)])",
    ),
    right("where_for_sign", "np.sign(error) / n", "np.where(error > 0, 1.0, -1.0) / n"),
]
