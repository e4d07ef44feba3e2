"""Competing risks in discrete time: a shared SELU layer, a softmax over causes in each interval, smooth weights."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, last, cause):
    h = F.selu(F.linear(x, params["W1"], params["b1"]))
    logits = torch.einsum("nh,jkh->njk", h, params["W"]) + params["B"]
    # class 0 is "nothing happened"; intervals after the last one seen are ignored
    interval = torch.arange(logits.shape[1])
    targets = torch.where(interval < last[:, None], 0, torch.where(interval == last[:, None], cause[:, None], -100))
    nll = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100, reduction="sum")
    return {"likelihood": nll / len(x), "smoothness": 0.06 * torch.diff(params["W"], dim=0).square().sum()}


def selu(z, alpha=1.6732632423543772, scale=1.0507009873554805):
    return scale * np.where(z > 0, z, alpha * (np.exp(np.minimum(z, 0)) - 1))


def selu_slope(z, alpha=1.6732632423543772, scale=1.0507009873554805):
    return scale * np.where(z > 0, 1.0, alpha * np.exp(np.minimum(z, 0)))


def softmax(v):
    e = np.exp(v - v.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def hazards(h, W, B):
    """The probabilities of no event and of each cause: sample, interval, class."""
    return np.stack([softmax(h @ W[j].T + B[j]) for j in range(len(W))], axis=1)


def log_likelihood(p, last, cause):
    total = 0.0
    for i in range(len(p)):
        survival = np.prod(p[i, : last[i], 0])
        final = p[i, last[i], cause[i]]
        total += np.log(survival * final)
    return total


def candidate(params, x, last, cause, lam=0.06):
    W1, b1, W, B = (params[name] for name in ("W1", "b1", "W", "B"))
    n = len(x)
    z = x @ W1.T + b1
    h = selu(z)
    p = hazards(h, W, B)
    jumps = W[1:] - W[:-1]
    penalty = np.sum(jumps**2)
    loss = -log_likelihood(p, last, cause) / n + lam * penalty

    dlogits = np.zeros_like(p)
    for i in range(n):
        seen = last[i] + 1
        dlogits[i, :seen] = p[i, :seen]
        dlogits[i, : last[i], 0] -= 1
        dlogits[i, last[i], cause[i]] -= 1
    dlogits = dlogits / n

    dW = np.zeros_like(W)
    dB = np.zeros_like(B)
    dh = np.zeros_like(h)
    for j in range(len(W)):
        dW[j] = dlogits[:, j].T @ h
        dB[j] = dlogits[:, j].sum(axis=0)
        dh += dlogits[:, j] @ W[j]
    # an interval is drawn to both its neighbours
    dW[1:] += 2 * lam * jumps
    dW[:-1] -= 2 * lam * jumps
    dz = dh * selu_slope(z)
    dW1 = dz.T @ x
    db1 = dz.sum(axis=0)
    return loss, {"W1": dW1, "b1": db1, "W": dW, "B": dB}


def problem(rng):
    params = {
        "W1": rng.normal(size=(6, 5)) * 0.6,
        "b1": rng.normal(size=6) * 0.4,
        "W": rng.normal(size=(4, 3, 6)) * 0.5,
        "B": rng.normal(size=(4, 3)) * 0.5,
    }
    last = np.array([1, 3, 0, 2, 3, 1, 2, 0, 2])
    cause = np.array([1, 0, 2, 0, 2, 0, 1, 1, 2])
    return params, (rng.normal(size=(9, 5)), last, cause)


WRONG = [
    wrong(
        "intervals_after_the_end_learn_too",
        "missing-derivative|different-function|wrong-operand",
        "dlogits[i, :seen] = p[i, :seen]",
        "dlogits[i] = p[i]",
    ),
    wrong(
        "last_interval_not_seen",
        "different-function|missing-path|wrong-operand",
        "seen = last[i] + 1",
        "seen = last[i]",
    ),
    wrong(
        "censored_interval_left_out_in_both",
        "different-function|missing-path|wrong-operand",
        "        final = p[i, last[i], cause[i]]\n",
        "        final = p[i, last[i], cause[i]] if cause[i] > 0 else 1.0\n",
        "        dlogits[i, last[i], cause[i]] -= 1\n",
        "        dlogits[i, last[i], cause[i]] -= 1\n"
        "        if cause[i] == 0:\n            dlogits[i, last[i]] = 0.0\n",
    ),
    wrong(
        "event_interval_survived_as_well_in_both",
        "different-function|wrong-operand|shifted-in-time",
        "survival = np.prod(p[i, : last[i], 0])",
        "survival = np.prod(p[i, : last[i] + 1, 0])",
        "dlogits[i, : last[i], 0] -= 1",
        "dlogits[i, last[i]] += p[i, last[i]]\n        dlogits[i, :seen, 0] -= 1",
    ),
    wrong(
        "causes_counted_from_zero",
        "wrong-operand|different-function",
        "dlogits[i, last[i], cause[i]] -= 1",
        "dlogits[i, last[i], cause[i] - 1] -= 1",
    ),
    wrong(
        "survived_intervals_not_pulled_up",
        "missing-path|different-function|wrong-operand",
        "        dlogits[i, : last[i], 0] -= 1\n",
        "",
    ),
    wrong(
        "two_of_the_square_forgotten",
        "wrong-term-weight|wrong-scale",
        "dW[1:] += 2 * lam * jumps\n    dW[:-1] -= 2 * lam * jumps",
        "dW[1:] += lam * jumps\n    dW[:-1] -= lam * jumps",
    ),
    wrong(
        "drawn_to_the_interval_before_only",
        "missing-path",
        "    dW[:-1] -= 2 * lam * jumps\n",
        "",
    ),
    wrong(
        "neighbouring_classes_smoothed_in_both",
        "wrong-axis|different-function|wrong-operand",
        "jumps = W[1:] - W[:-1]",
        "jumps = W[:, 1:] - W[:, :-1]",
        "dW[1:] += ",
        "dW[:, 1:] += ",
        "dW[:-1] -= ",
        "dW[:, :-1] -= ",
    ),
    wrong(
        "offsets_smoothed_too_in_both",
        "wrong-part-penalised",
        "penalty = np.sum(jumps**2)",
        "steps = B[1:] - B[:-1]\n    penalty = np.sum(jumps**2) + np.sum(steps**2)",
        "    dz = dh * selu_slope(z)\n",
        "    dB[1:] += 2 * lam * steps\n    dB[:-1] -= 2 * lam * steps\n    dz = dh * selu_slope(z)\n",
    ),
    wrong(
        "averaged_over_the_events_in_both",
        "wrong-scale|wrong-reduction|wrong-term-weight",
        "n = len(x)",
        "n = np.sum(cause > 0)",
        "    for i in range(n):\n        seen",
        "    for i in range(len(x)):\n        seen",
    ),
    wrong(
        "selu_slope_from_its_output_without_the_scale",
        "different-function|derivative-at-wrong-point",
        "dz = dh * selu_slope(z)",
        "dz = dh * np.where(z > 0, 1.0507009873554805, h + 1.6732632423543772)",
    ),
    wrong(
        "shared_layer_moved_by_the_last_interval",
        "overwritten|last-step-only",
        "dh += dlogits[:, j] @ W[j]",
        "dh = dlogits[:, j] @ W[j]",
    ),
    wrong("shared_bias_before_the_slope", "missing-derivative", "db1 = dz.sum(axis=0)", "db1 = dh.sum(axis=0)"),
    wrong("heads_fed_before_the_selu", "wrong-operand", "dlogits[:, j].T @ h", "dlogits[:, j].T @ z"),
    wrong("penalty_averaged_in_cost", "wrong-loss", "penalty = np.sum(jumps**2)", "penalty = np.mean(jumps**2)"),
]

TOGETHER = [
    ("intervals_after_the_end_learn_too", "shared_bias_before_the_slope"),
    ("two_of_the_square_forgotten", "heads_fed_before_the_selu"),
    ("causes_counted_from_zero", "drawn_to_the_interval_before_only"),
    ("averaged_over_the_events_in_both", "selu_slope_from_its_output_without_the_scale"),
    ("survived_intervals_not_pulled_up", "shared_layer_moved_by_the_last_interval"),
    ("censored_interval_left_out_in_both", "drawn_to_the_interval_before_only"),
    ("last_interval_not_seen", "heads_fed_before_the_selu", "shared_bias_before_the_slope"),
    ("offsets_smoothed_too_in_both", "shared_layer_moved_by_the_last_interval", "heads_fed_before_the_selu"),
]

RIGHT = [
    right(
        "masks_for_the_loop",
        "    dlogits = np.zeros_like(p)\n    for i in range(n):\n        seen = last[i] + 1\n"
        "        dlogits[i, :seen] = p[i, :seen]\n        dlogits[i, : last[i], 0] -= 1\n"
        "        dlogits[i, last[i], cause[i]] -= 1\n    dlogits = dlogits / n\n",
        "    interval = np.arange(len(W))\n    seen = (interval <= last[:, None]).astype(float)\n"
        "    happened = np.zeros_like(p)\n    happened[:, :, 0] = interval < last[:, None]\n"
        "    happened[np.arange(n), last, cause] = 1.0\n"
        "    dlogits = (p - happened) * seen[:, :, None] / n\n",
        "        total += np.log(survival * final)\n",
        "        total += np.log(survival) + np.log(final)\n",
    ),
    right(
        "all_intervals_by_einsum",
        "    dW = np.zeros_like(W)\n    dB = np.zeros_like(B)\n    dh = np.zeros_like(h)\n"
        "    for j in range(len(W)):\n        dW[j] = dlogits[:, j].T @ h\n"
        "        dB[j] = dlogits[:, j].sum(axis=0)\n        dh += dlogits[:, j] @ W[j]\n",
        '    dW = np.einsum("njk,nh->jkh", dlogits, h)\n    dB = dlogits.sum(axis=0)\n'
        '    dh = np.einsum("njk,jkh->nh", dlogits, W)\n',
        "    dz = dh * selu_slope(z)\n",
        "    scale, alpha = 1.0507009873554805, 1.6732632423543772\n"
        "    dz = dh * np.where(z > 0, scale, h + scale * alpha)\n",
    ),
    right(
        "smoothness_as_a_matrix_and_sample_by_sample",
        "    dW[1:] += 2 * lam * jumps\n    dW[:-1] -= 2 * lam * jumps\n",
        "    difference = np.diff(np.eye(len(W)), axis=0)\n"
        "    laplacian = difference.T @ difference\n"
        "    dW += 2 * lam * np.tensordot(laplacian, W, axes=1)\n",
        "    dW1 = dz.T @ x\n    db1 = dz.sum(axis=0)\n",
        "    dW1, db1 = np.zeros_like(W1), np.zeros_like(b1)\n    for row, push in zip(x, dz):\n"
        "        dW1 += np.outer(push, row)\n        db1 += push\n",
    ),
]
