"""A linear multi-class support vector machine: margins by broadcasting, the right class left out, an L2 penalty."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, x, y):
    scores = x @ params["W"] + params["b"]
    rows = torch.arange(x.shape[0])
    correct = scores[rows, y]
    margins = (scores - correct[:, None] + 1.0).clamp(min=0)
    keep = torch.ones_like(margins)
    keep[rows, y] = 0
    hinge = (margins * keep).sum() / x.shape[0]
    return {"hinge": hinge, "penalty": 0.5 * params["W"].square().sum()}


def candidate(params, x, y):
    W, b = params["W"], params["b"]
    n = len(y)
    scores = x @ W + b
    correct = scores[np.arange(n), y]
    margins = np.maximum(scores - correct[:, None] + 1, 0)
    margins[np.arange(n), y] = 0
    loss = margins.sum() / n + 0.5 * np.sum(W * W)
    ds = (margins > 0).astype(float)
    ds[np.arange(n), y] = -ds.sum(axis=1)
    ds = ds / n
    dW = x.T @ ds + W
    db = ds.sum(axis=0)
    return loss, {"W": dW, "b": db}


def problem(rng):
    return {"W": rng.normal(size=(3, 5)), "b": rng.normal(size=5)}, (
        rng.normal(size=(8, 3)),
        rng.integers(0, 5, size=8),
    )


WRONG = [
    wrong("right_class_forgotten", "missing-path", "    ds[np.arange(n), y] = -ds.sum(axis=1)\n", ""),
    wrong("right_class_once", "overwritten|missing-path|wrong-reduction|wrong-scale", "= -ds.sum(axis=1)", "= -1.0"),
    wrong("right_class_averaged", "wrong-reduction|wrong-scale", "= -ds.sum(axis=1)", "= -ds.mean(axis=1)"),
    wrong("right_class_sign", "wrong-sign", "= -ds.sum(axis=1)", "= ds.sum(axis=1)"),
    wrong("not_averaged", "wrong-scale|wrong-reduction|wrong-term-weight", "    ds = ds / n\n", ""),
    wrong("averaged_over_classes", "wrong-scale|wrong-term-weight", "ds = ds / n", "ds = ds / 5"),
    wrong("penalty_forgotten", "wrong-term-weight|missing-path", "dW = x.T @ ds + W", "dW = x.T @ ds"),
    wrong("penalty_doubled", "wrong-term-weight|wrong-scale", "dW = x.T @ ds + W", "dW = x.T @ ds + 2 * W"),
    wrong("bias_penalised", "wrong-part-penalised", "db = ds.sum(axis=0)", "db = ds.sum(axis=0) + b"),
    wrong(
        "margin_derivative_forgotten",
        "missing-derivative",
        "(margins > 0).astype(float)",
        "np.ones_like(margins)\n    ds[np.arange(n), y] = 0",
    ),
    wrong(
        "margins_for_their_signs",
        "missing-derivative|different-function|wrong-operand",
        "(margins > 0).astype(float)",
        "margins.copy()",
    ),
    wrong("bias_of_last_sample", "one-sample-only", "db = ds.sum(axis=0)", "db = ds[-1]"),
    wrong("bias_averaged", "wrong-scale|wrong-reduction", "db = ds.sum(axis=0)", "db = ds.mean(axis=0)"),
    wrong("penalty_not_halved_in_cost", "wrong-loss", "0.5 * np.sum(W * W)", "np.sum(W * W)"),
    wrong("right_class_counted_in_cost", "wrong-loss", "margins.sum() / n", "(margins.sum() + n) / n"),
    wrong(
        "squared_hinge_in_both",
        "different-function",
        "loss = margins.sum() / n",
        "loss = np.sum(margins**2) / n",
        "ds = (margins > 0).astype(float)",
        "ds = 2 * margins",
    ),
    wrong(
        "worst_class_only_in_both",
        "different-function|wrong-reduction",
        "    loss = margins.sum()",
        "    margins *= margins == margins.max(axis=1, keepdims=True)\n    loss = margins.sum()",
    ),
    wrong(
        "sum_in_both",
        "wrong-reduction|wrong-term-weight|wrong-scale",
        "margins.sum() / n",
        "margins.sum()",
        "    ds = ds / n\n",
        "",
    ),
    wrong("margin_of_a_half_in_both", "different-function", "correct[:, None] + 1, 0)", "correct[:, None] + 0.5, 0)"),
]

TOGETHER = [
    ("penalty_forgotten", "bias_averaged"),
    ("penalty_not_halved_in_cost", "bias_penalised"),
    ("right_class_sign", "penalty_doubled"),
    ("margin_derivative_forgotten", "penalty_forgotten"),
    ("penalty_not_halved_in_cost", "penalty_forgotten", "bias_averaged"),
]

RIGHT = [
    right(
        "two_loops",
        "dW = x.T @ ds + W",
        "dW = W.copy()\n    for i in range(n):\n        for j in range(5):\n"
        "            if j != y[i] and margins[i, j] > 0:\n"
        "                dW[:, j] += x[i] / n\n                dW[:, y[i]] -= x[i] / n",
    ),
    right("einsum", "x.T @ ds", 'np.einsum("ni,nj->ij", x, ds)'),
]
