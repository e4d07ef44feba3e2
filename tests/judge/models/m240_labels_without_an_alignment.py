"""A transducer: frames and previous labels meet in a tanh joiner, a lattice of blanks and labels summed over paths."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, labels, frames, counts):
    p = params
    heard = F.linear(x, p["W_enc"], p["b_enc"])
    before = F.pad(labels, (1, 0))
    said = F.linear(F.embedding(before, p["E"]), p["W_pred"])
    joint = torch.tanh(heard[:, :, None] + said[:, None])
    logp = F.log_softmax(F.linear(joint, p["W_out"], p["b_out"]), dim=-1)
    total = 0.0
    for i in range(len(x)):
        T, U = int(frames[i]), int(counts[i])
        reached = {(0, 0): torch.zeros((), dtype=x.dtype)}
        for t in range(T):
            for u in range(U + 1):
                ways = []
                if t > 0:
                    ways.append(reached[t - 1, u] + logp[i, t - 1, u, 0])
                if u > 0:
                    ways.append(reached[t, u - 1] + logp[i, t, u - 1, labels[i, u - 1]])
                if ways:
                    reached[t, u] = torch.logsumexp(torch.stack(ways), dim=0)
        total = total - reached[T - 1, U] - logp[i, T - 1, U, 0]
    return total / len(x)


def log_softmax(z):
    z = z - z.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def compute_alphas(logp, y):
    T, U = logp.shape[0], len(y)
    alphas = np.zeros((T, U + 1))
    for t in range(1, T):
        alphas[t, 0] = alphas[t - 1, 0] + logp[t - 1, 0, 0]
    for u in range(1, U + 1):
        alphas[0, u] = alphas[0, u - 1] + logp[0, u - 1, y[u - 1]]
    for t in range(1, T):
        for u in range(1, U + 1):
            no_emit = alphas[t - 1, u] + logp[t - 1, u, 0]
            emit = alphas[t, u - 1] + logp[t, u - 1, y[u - 1]]
            alphas[t, u] = np.logaddexp(no_emit, emit)
    return alphas


def compute_betas(logp, y):
    T, U = logp.shape[0], len(y)
    betas = np.zeros((T, U + 1))
    betas[T - 1, U] = logp[T - 1, U, 0]
    for t in range(T - 2, -1, -1):
        betas[t, U] = betas[t + 1, U] + logp[t, U, 0]
    for u in range(U - 1, -1, -1):
        betas[T - 1, u] = betas[T - 1, u + 1] + logp[T - 1, u, y[u]]
    for t in range(T - 2, -1, -1):
        for u in range(U - 1, -1, -1):
            no_emit = betas[t + 1, u] + logp[t, u, 0]
            emit = betas[t, u + 1] + logp[t, u, y[u]]
            betas[t, u] = np.logaddexp(no_emit, emit)
    return betas


def transduce(logits, y):
    """The cost of one utterance, and its gradient with respect to the logits of its lattice."""
    logp = log_softmax(logits)
    T, U = logp.shape[0], len(y)
    alphas = compute_alphas(logp, y)
    betas = compute_betas(logp, y)
    log_like = alphas[T - 1, U] + logp[T - 1, U, 0]
    dlogp = np.zeros_like(logp)
    dlogp[T - 1, U, 0] = -np.exp(alphas[T - 1, U] + logp[T - 1, U, 0] - log_like)
    for t in range(T):
        for u in range(U + 1):
            if t < T - 1:
                through = alphas[t, u] + betas[t + 1, u]
                dlogp[t, u, 0] = -np.exp(through + logp[t, u, 0] - log_like)
            if u < U:
                through = alphas[t, u] + betas[t, u + 1]
                dlogp[t, u, y[u]] = -np.exp(through + logp[t, u, y[u]] - log_like)
    dlogits = dlogp - np.exp(logp) * dlogp.sum(axis=-1, keepdims=True)
    return -log_like, dlogits


def candidate(params, x, labels, frames, counts):
    n = len(x)
    W_enc, E, W_pred, W_out = params["W_enc"], params["E"], params["W_pred"], params["W_out"]
    grads = {name: np.zeros_like(value) for name, value in params.items()}
    costs = []
    for i in range(n):
        T, U = frames[i], counts[i]
        y = labels[i, :U]
        previous = np.concatenate([[0], y])
        # forward
        frame = x[i, :T]
        f = frame @ W_enc.T + params["b_enc"]
        e = E[previous]
        g = e @ W_pred.T
        h = np.tanh(f[:, None, :] + g[None, :, :])
        logits = h @ W_out.T + params["b_out"]
        cost, dlogits = transduce(logits, y)
        costs.append(cost)
        # backward
        dlogits = dlogits / n
        grads["W_out"] += np.einsum("tuv,tuj->vj", dlogits, h)
        grads["b_out"] += dlogits.sum(axis=(0, 1))
        da = (dlogits @ W_out) * (1 - h**2)
        df = da.sum(axis=1)
        dg = da.sum(axis=0)
        grads["W_enc"] += df.T @ frame
        grads["b_enc"] += df.sum(axis=0)
        grads["W_pred"] += dg.T @ e
        de = dg @ W_pred
        np.add.at(grads["E"], previous, de)
    loss = np.mean(costs)
    return loss, grads


def problem(rng):
    n, steps, features, width, joint, symbols = 5, 6, 3, 2, 7, 4
    params = {
        "W_enc": rng.normal(size=(joint, features)) * 0.6,
        "b_enc": rng.normal(size=joint) * 0.4,
        "E": rng.normal(size=(symbols, width)),
        "W_pred": rng.normal(size=(joint, width)) * 0.6,
        "W_out": rng.normal(size=(symbols, joint)) * 0.7,
        "b_out": rng.normal(size=symbols) * 0.4,
    }
    x = rng.normal(size=(n, steps, features))
    labels = np.array([[1, 3, 1], [2, 2, 0], [3, 2, 1], [1, 1, 0], [2, 3, 3]])
    frames = np.array([6, 5, 6, 4, 5])
    counts = np.array([3, 2, 3, 2, 3])
    return params, (x, labels, frames, counts)


WRONG = [
    wrong(
        "chance_of_the_blank_left_out_of_its_occupancy",
        "missing-derivative|wrong-operand",
        "-np.exp(through + logp[t, u, 0] - log_like)",
        "-np.exp(through - log_like)",
    ),
    wrong(
        "last_blank_has_no_gradient",
        "missing-path",
        "    dlogp[T - 1, U, 0] = -np.exp(alphas[T - 1, U] + logp[T - 1, U, 0] - log_like)\n",
        "",
    ),
    wrong(
        "gradient_of_log_chances_taken_for_that_of_logits",
        "missing-derivative|missing-path",
        "dlogits = dlogp - np.exp(logp) * dlogp.sum(axis=-1, keepdims=True)",
        "dlogits = dlogp",
    ),
    wrong(
        "softmax_counts_the_blank_only",
        "missing-path|wrong-operand|diagonal-jacobian",
        "dlogp.sum(axis=-1, keepdims=True)",
        "dlogp[:, :, :1]",
    ),
    wrong(
        "label_goes_on_from_the_next_frame",
        "shifted-in-time|wrong-operand",
        "through = alphas[t, u] + betas[t, u + 1]",
        "through = alphas[t, u] + betas[min(t + 1, T - 1), u + 1]",
    ),
    wrong(
        "blank_weighs_the_wrong_end_of_its_step",
        "wrong-operand|shifted-in-time",
        "through = alphas[t, u] + betas[t + 1, u]",
        "through = alphas[t, u] + betas[t, u]",
    ),
    wrong(
        "labels_hastened_only_in_the_gradient",
        "wrong-scale|different-function",
        "dlogp[t, u, y[u]] = -np.exp(",
        "dlogp[t, u, y[u]] = -(1 + 0.1) * np.exp(",
    ),
    wrong(
        "predictor_sees_the_label_to_come_in_both",
        "shifted-in-time|wrong-operand|different-function",
        "previous = np.concatenate([[0], y])",
        "previous = np.concatenate([y, [0]])",
    ),
    wrong(
        "padding_frames_in_the_lattice_in_both",
        "different-function|wrong-operand",
        "T, U = frames[i], counts[i]",
        "T, U = x.shape[1], counts[i]",
    ),
    wrong(
        "repeated_label_keeps_its_last_gradient",
        "overwritten",
        'np.add.at(grads["E"], previous, de)',
        'grads["E"][previous] += de',
    ),
    wrong(
        "tanh_slope_forgotten_in_the_joiner",
        "missing-derivative",
        "da = (dlogits @ W_out) * (1 - h**2)",
        "da = dlogits @ W_out",
    ),
    wrong(
        "gradient_summed_over_utterances",
        "wrong-scale|wrong-reduction",
        "        dlogits = dlogits / n\n",
        "",
    ),
]

TOGETHER = [
    ("chance_of_the_blank_left_out_of_its_occupancy", "repeated_label_keeps_its_last_gradient"),
    ("last_blank_has_no_gradient", "gradient_summed_over_utterances"),
    ("gradient_of_log_chances_taken_for_that_of_logits", "tanh_slope_forgotten_in_the_joiner"),
    ("labels_hastened_only_in_the_gradient", "predictor_sees_the_label_to_come_in_both"),
]

RIGHT = [
    right(
        "softmax_and_occupancy_at_once",
        "    log_like = alphas[T - 1, U] + logp[T - 1, U, 0]\n",
        "    log_like = betas[0, 0]\n",
        "    dlogits = dlogp - np.exp(logp) * dlogp.sum(axis=-1, keepdims=True)\n",
        "    visited = np.exp(alphas + betas - log_like)\n    dlogits = np.exp(logp) * visited[:, :, None] + dlogp\n",
    ),
]
