"""A plain RNN with tanh states and a first state of its own; regression at every step, weighted by step."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, x, y):
    h = params["h0"].repeat(x.shape[0], 1)
    outputs = []
    for t in range(x.shape[1]):
        h = torch.tanh(x[:, t] @ params["W_x"] + torch.matmul(h, params["W_h"]) + params["b"])
        outputs.append(h @ params["W_o"] + params["c"])
    error = torch.stack(outputs, dim=1) - y
    weight = torch.arange(1, x.shape[1] + 1, dtype=x.dtype)
    return (weight[:, None] * error**2).sum(dim=(1, 2)).mean()


def candidate(params, x, y):
    W_x, W_h, W_o = params["W_x"], params["W_h"], params["W_o"]
    n, steps = x.shape[:2]
    h = [np.tile(params["h0"], (n, 1))]
    loss = 0.0
    errors = []
    for t in range(steps):
        h.append(np.tanh(x[:, t] @ W_x + h[t] @ W_h + params["b"]))
        errors.append(h[t + 1] @ W_o + params["c"] - y[:, t])
        loss = loss + (t + 1) * np.sum(errors[t] ** 2) / n
    g = {name: np.zeros_like(value) for name, value in params.items()}
    dh_next = np.zeros_like(h[0])
    for t in reversed(range(steps)):
        do = 2 * (t + 1) * errors[t] / n
        g["W_o"] += h[t + 1].T @ do
        g["c"] += do.sum(axis=0)
        dh = do @ W_o.T + dh_next
        da = dh * (1 - h[t + 1] ** 2)
        g["W_x"] += x[:, t].T @ da
        g["W_h"] += h[t].T @ da
        g["b"] += da.sum(axis=0)
        dh_next = da @ W_h.T
    g["h0"] = dh_next.sum(axis=0)
    return loss, g


def problem(rng):
    params = {
        "W_x": rng.normal(size=(3, 4)) * 0.7,
        "W_h": rng.normal(size=(4, 4)) * 0.6,
        "b": rng.normal(size=4) * 0.4,
        "h0": rng.normal(size=4) * 0.5,
        "W_o": rng.normal(size=(4, 2)),
        "c": rng.normal(size=2),
    }
    return params, (rng.normal(size=(5, 6, 3)), rng.normal(size=(5, 6, 2)))


WRONG = [
    wrong("carry_dropped", "truncated-in-time|missing-path", "dh = do @ W_o.T + dh_next", "dh = do @ W_o.T"),
    wrong(
        "output_route_dropped",
        "missing-path|last-step-only|truncated-in-time",
        "dh = do @ W_o.T + dh_next",
        "dh = dh_next if t < steps - 1 else do @ W_o.T",
    ),
    wrong("tanh_derivative_forgotten", "missing-derivative", "da = dh * (1 - h[t + 1] ** 2)", "da = dh"),
    wrong("tanh_derivative_twice", "extra-derivative", "(1 - h[t + 1] ** 2)", "(1 - h[t + 1] ** 2) ** 2"),
    wrong("tanh_derivative_of_the_old_state", "shifted-in-time", "(1 - h[t + 1] ** 2)", "(1 - h[t] ** 2)"),
    wrong(
        "tanh_derivative_at_activation",
        "derivative-at-wrong-point",
        "(1 - h[t + 1] ** 2)",
        "(1 - np.tanh(h[t + 1]) ** 2)",
    ),
    wrong("sigmoid_slope", "different-function", "dh * (1 - h[t + 1] ** 2)", "dh * h[t + 1] * (1 - h[t + 1])"),
    wrong("new_state_in_W_h", "shifted-in-time", 'g["W_h"] += h[t].T', 'g["W_h"] += h[t + 1].T'),
    wrong("old_state_in_W_o", "shifted-in-time", 'g["W_o"] += h[t + 1].T', 'g["W_o"] += h[t].T'),
    wrong("input_of_the_step_before", "shifted-in-time|wrong-operand", "x[:, t].T @ da", "x[:, t - 1].T @ da"),
    wrong("W_h_not_transposed", "not-transposed", "da @ W_h.T", "da @ W_h"),
    wrong("W_x_assigned", "overwritten|last-step-only|truncated-in-time|missing-path", 'g["W_x"] +=', 'g["W_x"] ='),
    wrong("c_assigned", "overwritten|last-step-only|truncated-in-time|missing-path", 'g["c"] +=', 'g["c"] ='),
    wrong(
        "weights_of_steps_forgotten",
        "missing-derivative|wrong-term-weight|missing-path|different-function|wrong-operand",
        "do = 2 * (t + 1) * errors",
        "do = 2 * errors",
    ),
    wrong(
        "weights_from_zero",
        "wrong-operand|shifted-in-time|different-function",
        "do = 2 * (t + 1) * errors",
        "do = 2 * t * errors",
    ),
    wrong(
        "last_error_only",
        "last-step-only",
        "        dh = do @",
        "        do = do * (t == steps - 1)\n        dh = do @",
        'g["W_o"] += h[t + 1].T @ do',
        'g["W_o"] += h[t + 1].T @ (do * (t == steps - 1))',
        'g["c"] += do.sum(axis=0)',
        'g["c"] += do.sum(axis=0) * (t == steps - 1)',
    ),
    wrong(
        "three_steps_back", "truncated-in-time", "dh_next = da @ W_h.T", "dh_next = da @ W_h.T if t != 3 else 0 * da"
    ),
    wrong("first_state_averaged", "wrong-scale|wrong-reduction", "dh_next.sum(axis=0)", "dh_next.mean(axis=0)"),
    wrong("first_state_of_first_sample", "one-sample-only", "dh_next.sum(axis=0)", "dh_next[0]"),
    wrong(
        "first_state_before_the_weight",
        "missing-path|wrong-operand|shifted-in-time|missing-derivative",
        'g["h0"] = dh_next.sum(axis=0)',
        'g["h0"] = da.sum(axis=0)',
    ),
    wrong(
        "divided_by_steps",
        "wrong-scale|wrong-reduction",
        "errors[t] / n\n        g",
        "errors[t] / n / steps\n        g",
    ),
    wrong("not_averaged", "wrong-scale|wrong-reduction", "errors[t] / n\n        g", "errors[t]\n        g"),
    wrong("cost_without_weights", "wrong-loss", "loss = loss + (t + 1) * np", "loss = loss + np"),
    wrong(
        "first_state_zero_in_both",
        "missing-path|different-function|wrong-operand",
        'np.tile(params["h0"], (n, 1))',
        "np.zeros((n, 4))",
        'g["h0"] = dh_next.sum(axis=0)',
        'g["h0"] = np.zeros(4)',
    ),
    wrong(
        "sigmoid_in_both",
        "different-function",
        'np.tanh(x[:, t] @ W_x + h[t] @ W_h + params["b"])',
        '1 / (1 + np.exp(-(x[:, t] @ W_x + h[t] @ W_h + params["b"])))',
        "dh * (1 - h[t + 1] ** 2)",
        "dh * h[t + 1] * (1 - h[t + 1])",
    ),
]

TOGETHER = [
    ("tanh_derivative_forgotten", "W_h_not_transposed"),
    ("tanh_derivative_twice", "first_state_of_first_sample"),
    ("old_state_in_W_o", "new_state_in_W_h"),
    ("cost_without_weights", "carry_dropped"),
    ("c_assigned", "tanh_derivative_at_activation"),
    ("divided_by_steps", "W_x_assigned"),
    ("old_state_in_W_o", "c_assigned", "W_h_not_transposed"),
]

RIGHT = [
    right("forward_in_time", 'g["W_x"] += x[:, t].T @ da', "g[\"W_x\"] += np.einsum('ni,nj->ij', x[:, t], da)"),
    right("first_state_by_sample", "dh_next.sum(axis=0)", "np.ones(n) @ dh_next"),
]
