"""Speech without alignments: a tanh layer on every frame, a softmax, a sum over all paths forwards and backwards."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, frames, labels, lengths):
    h = torch.tanh(x @ params["W1"] + params["b1"])
    logp = F.log_softmax(h @ params["W2"] + params["b2"], dim=2)
    total = 0.0
    for i in range(len(x)):
        path = [0]
        for label in labels[i, : int(lengths[i])].tolist():
            path += [label, 0]
        p = logp[i][:, path].exp()
        alpha = torch.zeros_like(p[0])
        alpha = torch.cat([p[0, :2], alpha[2:]])
        skip = torch.tensor([float(s > 1 and path[s] != 0 and path[s] != path[s - 2]) for s in range(len(path))])
        for t in range(1, int(frames[i])):
            before = alpha + F.pad(alpha[:-1], (1, 0)) + skip.to(p.dtype) * F.pad(alpha[:-2], (2, 0))
            alpha = before * p[t]
        total = total - torch.log(alpha[-1] + alpha[-2]) / lengths[i]
    return total / len(x)


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def with_blanks(labels, blank=0):
    path = np.full(2 * len(labels) + 1, blank)
    path[1::2] = labels
    return path


def forward_sums(y, path, blank=0):
    steps, width = y.shape[0], len(path)
    alpha = np.zeros((steps, width))
    alpha[0, 0] = y[0, path[0]]
    alpha[0, 1] = y[0, path[1]]
    for t in range(1, steps):
        for s in range(width):
            total = alpha[t - 1, s]
            if s > 0:
                total += alpha[t - 1, s - 1]
            if s > 1 and path[s] != blank and path[s] != path[s - 2]:
                total += alpha[t - 1, s - 2]
            alpha[t, s] = total * y[t, path[s]]
    return alpha


def backward_sums(y, path, blank=0):
    steps, width = y.shape[0], len(path)
    beta = np.zeros((steps, width))
    beta[-1, -1] = y[-1, path[-1]]
    beta[-1, -2] = y[-1, path[-2]]
    for t in range(steps - 2, -1, -1):
        for s in range(width - 1, -1, -1):
            total = beta[t + 1, s]
            if s < width - 1:
                total += beta[t + 1, s + 1]
            if s < width - 2 and path[s] != blank and path[s] != path[s + 2]:
                total += beta[t + 1, s + 2]
            beta[t, s] = total * y[t, path[s]]
    return beta


def occupancy(y, path, alpha):
    """How likely each class is at each frame, given the labels."""
    beta = backward_sums(y, path)
    chance = alpha[-1, -1] + alpha[-1, -2]
    taken = np.zeros_like(y)
    for t in range(len(y)):
        for s, symbol in enumerate(path):
            taken[t, symbol] += alpha[t, s] * beta[t, s] / (chance * y[t, symbol])
    return taken


def candidate(params, x, frames, labels, lengths):
    W1, b1, W2, b2 = params["W1"], params["b1"], params["W2"], params["b2"]
    n = len(x)
    a1 = x @ W1 + b1
    h = np.tanh(a1)
    probs = softmax(h @ W2 + b2)

    paths, alphas, costs = [], [], np.zeros(n)
    for i in range(n):
        path = with_blanks(labels[i, : lengths[i]])
        alpha = forward_sums(probs[i, : frames[i]], path)
        costs[i] = -np.log(alpha[-1, -1] + alpha[-1, -2]) / lengths[i]
        paths.append(path)
        alphas.append(alpha)
    loss = costs.mean()

    dlogits = np.zeros_like(probs)
    for i in range(n):
        y = probs[i, : frames[i]]
        taken = occupancy(y, paths[i], alphas[i])
        dlogits[i, : frames[i]] = (y - taken) / (n * lengths[i])
    dW2 = np.tensordot(h, dlogits, axes=([0, 1], [0, 1]))
    db2 = dlogits.sum(axis=(0, 1))
    da1 = (dlogits @ W2.T) * (1 - h**2)
    dW1 = np.tensordot(x, da1, axes=([0, 1], [0, 1]))
    db1 = da1.sum(axis=(0, 1))
    return loss, {"W1": dW1, "b1": db1, "W2": dW2, "b2": db2}


def problem(rng):
    n, steps, features, hidden, classes = 4, 7, 3, 5, 6
    params = {
        "W1": rng.normal(size=(features, hidden)),
        "b1": rng.normal(size=hidden) * 0.5,
        "W2": rng.normal(size=(hidden, classes)),
        "b2": rng.normal(size=classes) * 0.5,
    }
    labels = np.array([[2, 2, 5], [4, 1, 0], [3, 1, 3], [5, 5, 0]])
    lengths = np.array([3, 2, 3, 2])
    frames = np.array([7, 5, 6, 7])
    return params, (rng.normal(size=(n, steps, features)), frames, labels, lengths)


WRONG = [
    wrong(
        "repeated_labels_may_skip_the_blank_in_both",
        "different-function",
        "if s > 1 and path[s] != blank and path[s] != path[s - 2]:",
        "if s > 1 and path[s] != blank:",
        "if s < width - 2 and path[s] != blank and path[s] != path[s + 2]:",
        "if s < width - 2 and path[s] != blank:",
    ),
    wrong(
        "repeated_labels_may_skip_backwards_only",
        "different-function|wrong-operand",
        "if s < width - 2 and path[s] != blank and path[s] != path[s + 2]:",
        "if s < width - 2 and path[s] != blank:",
    ),
    wrong(
        "backward_sums_start_from_one",
        "wrong-operand|different-function",
        "    beta[-1, -1] = y[-1, path[-1]]\n    beta[-1, -2] = y[-1, path[-2]]\n",
        "    beta[-1, -1] = 1.0\n    beta[-1, -2] = 1.0\n",
    ),
    wrong(
        "repeated_symbols_overwrite",
        "overwritten",
        "taken[t, symbol] += alpha[t, s]",
        "taken[t, symbol] = alpha[t, s]",
    ),
    wrong(
        "last_symbol_counted_twice",
        "extra-derivative|wrong-operand|missing-derivative",
        "alpha[t, s] * beta[t, s] / (chance * y[t, symbol])",
        "alpha[t, s] * beta[t, s] / chance",
    ),
    wrong(
        "only_paths_that_end_in_a_blank_backwards",
        "missing-path",
        "    chance = alpha[-1, -1] + alpha[-1, -2]\n",
        "    chance = alpha[-1, -1]\n",
    ),
    wrong(
        "only_paths_that_end_in_a_blank_in_cost",
        "wrong-loss",
        "costs[i] = -np.log(alpha[-1, -1] + alpha[-1, -2]) / lengths[i]",
        "costs[i] = -np.log(alpha[-1, -1]) / lengths[i]",
    ),
    wrong(
        "softmax_not_differentiated",
        "missing-derivative",
        "= (y - taken) / (n * lengths[i])",
        "= -taken / y / (n * lengths[i])",
    ),
    wrong(
        "frames_after_the_end_pushed_too",
        "wrong-operand|different-function",
        "    dlogits = np.zeros_like(probs)\n",
        "    dlogits = probs / n\n",
    ),
    wrong(
        "length_of_the_label_not_divided_by",
        "missing-derivative|wrong-reduction",
        "(y - taken) / (n * lengths[i])",
        "(y - taken) / n",
    ),
    wrong(
        "upstream_mean_ignored",
        "wrong-scale|wrong-reduction",
        "(y - taken) / (n * lengths[i])",
        "(y - taken) / lengths[i]",
    ),
    wrong(
        "tanh_slope_at_its_input",
        "derivative-at-wrong-point",
        "(1 - h**2)",
        "(1 - a1**2)",
    ),
]

TOGETHER = [
    ("repeated_symbols_overwrite", "upstream_mean_ignored"),
    ("backward_sums_start_from_one", "tanh_slope_at_its_input"),
    ("repeated_labels_may_skip_the_blank_in_both", "length_of_the_label_not_divided_by"),
]

RIGHT = [
    right(
        "backward_sums_as_forward_sums_of_the_reversed",
        "    beta = backward_sums(y, path)\n",
        "    beta = forward_sums(y[::-1], path[::-1])[::-1, ::-1]\n",
        "    taken = np.zeros_like(y)\n"
        "    for t in range(len(y)):\n"
        "        for s, symbol in enumerate(path):\n"
        "            taken[t, symbol] += alpha[t, s] * beta[t, s] / (chance * y[t, symbol])\n"
        "    return taken\n",
        "    joint = alpha * beta / y[:, path]\n    return joint @ np.eye(y.shape[1])[path] / chance\n",
    ),
]
