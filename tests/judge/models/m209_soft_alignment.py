"""Sequences aligned softly to a learned template after a linear map: soft dynamic time warping, padded borders."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, x, lengths, gamma=0.7):
    z = x @ params["W"].T + params["b"]
    template = params["template"]
    total = 0.0
    for i in range(len(x)):
        steps, m = int(lengths[i]), len(template)
        cost = ((z[i, :steps, None] - template[None]) ** 2).sum(-1)
        R = {(0, 0): cost.new_zeros(())}
        for s in range(1, steps + 1):
            for k in range(1, m + 1):
                back = [R[c] for c in ((s - 1, k - 1), (s - 1, k), (s, k - 1)) if c in R]
                R[s, k] = cost[s - 1, k - 1] - gamma * torch.logsumexp(-torch.stack(back) / gamma, dim=0)
        total = total + R[steps, m] / steps
    return total / len(x)


def softmin(values, gamma):
    scaled = -np.array(values) / gamma
    top = scaled.max()
    return -gamma * (top + np.log(np.sum(np.exp(scaled - top))))


def soft_dtw(D, gamma):
    """The accumulated costs, with a border on either side for the recursions."""
    n, m = D.shape
    R = np.full((n + 2, m + 2), np.inf)
    R[0, 0] = 0.0
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            R[i, j] = D[i - 1, j - 1] + softmin((R[i - 1, j - 1], R[i - 1, j], R[i, j - 1]), gamma)
    return R


def soft_dtw_grad(D, R, gamma):
    """The share of every cell in the alignment, from the last corner to the first."""
    n, m = D.shape
    cost = np.zeros((n + 2, m + 2))
    cost[1 : n + 1, 1 : m + 1] = D
    R = R.copy()
    R[:, m + 1] = -np.inf
    R[n + 1, :] = -np.inf
    R[n + 1, m + 1] = R[n, m]
    E = np.zeros((n + 2, m + 2))
    E[n + 1, m + 1] = 1.0
    for j in range(m, 0, -1):
        for i in range(n, 0, -1):
            down = np.exp((R[i + 1, j] - R[i, j] - cost[i + 1, j]) / gamma)
            across = np.exp((R[i, j + 1] - R[i, j] - cost[i, j + 1]) / gamma)
            both = np.exp((R[i + 1, j + 1] - R[i, j] - cost[i + 1, j + 1]) / gamma)
            E[i, j] = E[i + 1, j] * down + E[i, j + 1] * across + E[i + 1, j + 1] * both
    return E[1 : n + 1, 1 : m + 1]


def candidate(params, x, lengths, gamma=0.7):
    W, b, template = params["W"], params["b"], params["template"]
    batch = x.shape[0]
    z = x @ W.T + b

    tables = []
    total = 0.0
    for i in range(batch):
        seq = z[i, : lengths[i]]
        D = np.sum((seq[:, None, :] - template[None, :, :]) ** 2, axis=2)
        R = soft_dtw(D, gamma)
        total += R[lengths[i], len(template)] / lengths[i]
        tables.append((D, R))
    loss = total / batch

    dz = np.zeros_like(z)
    dtemplate = np.zeros_like(template)
    for i in range(batch):
        seq = z[i, : lengths[i]]
        E = soft_dtw_grad(*tables[i], gamma) / (lengths[i] * batch)
        dz[i, : lengths[i]] = 2 * (E.sum(axis=1)[:, None] * seq - E @ template)
        dtemplate += 2 * (E.sum(axis=0)[:, None] * template - E.T @ seq)
    grads = {
        "W": np.einsum("ntd,ntf->df", dz, x),
        "b": dz.sum(axis=(0, 1)),
        "template": dtemplate,
    }
    return loss, grads


def problem(rng):
    params = {
        "W": rng.normal(size=(2, 3)) * 0.6,
        "b": rng.normal(size=2) * 0.4,
        "template": rng.normal(size=(5, 2)) * 0.8,
    }
    return params, (rng.normal(size=(4, 7, 3)), np.array([6, 4, 7, 3]))


WRONG = [
    wrong(
        "cost_of_the_cell_itself_in_the_weight",
        "wrong-operand|shifted-in-time",
        "down = np.exp((R[i + 1, j] - R[i, j] - cost[i + 1, j]) / gamma)",
        "down = np.exp((R[i + 1, j] - R[i, j] - cost[i, j]) / gamma)",
    ),
    wrong(
        "costs_shifted_by_the_border",
        "wrong-operand|shifted-in-time",
        "cost[1 : n + 1, 1 : m + 1] = D",
        "cost[:n, :m] = D",
    ),
    wrong(
        "diagonal_steps_pass_nothing_back",
        "missing-path",
        " + E[i, j + 1] * across + E[i + 1, j + 1] * both\n",
        " + E[i, j + 1] * across + (E[i + 1, j + 1] * both if i == n and j == m else 0)\n",
    ),
    wrong(
        "smoothing_forgotten_in_the_weights",
        "missing-derivative|different-function|wrong-operand|wrong-scale",
        "both = np.exp((R[i + 1, j + 1] - R[i, j] - cost[i + 1, j + 1]) / gamma)",
        "both = np.exp(R[i + 1, j + 1] - R[i, j] - cost[i + 1, j + 1])",
    ),
    wrong(
        "down_and_across_exchanged",
        "wrong-operand",
        "E[i, j] = E[i + 1, j] * down + E[i, j + 1] * across",
        "E[i, j] = E[i + 1, j] * across + E[i, j + 1] * down",
    ),
    wrong(
        "square_differentiated_without_two",
        "wrong-scale",
        "dtemplate += 2 * (E.sum(axis=0)",
        "dtemplate += (E.sum(axis=0)",
    ),
    wrong(
        "template_pulled_the_other_way",
        "wrong-sign",
        "dtemplate += 2 * (E.sum(axis=0)[:, None] * template - E.T @ seq)",
        "dtemplate += 2 * (E.T @ seq - E.sum(axis=0)[:, None] * template)",
    ),
    wrong(
        "template_of_the_last_sequence",
        "overwritten|one-sample-only",
        "dtemplate += 2",
        "dtemplate = 2",
    ),
    wrong(
        "own_share_of_a_step_taken_for_one",
        "wrong-operand|missing-derivative",
        "dz[i, : lengths[i]] = 2 * (E.sum(axis=1)[:, None] * seq - E @ template)",
        "dz[i, : lengths[i]] = 2 * (seq / (lengths[i] * batch) - E @ template)",
    ),
    wrong(
        "length_forgotten_in_the_average",
        "wrong-operand|missing-derivative",
        "E = soft_dtw_grad(*tables[i], gamma) / (lengths[i] * batch)",
        "E = soft_dtw_grad(*tables[i], gamma) / batch",
    ),
    wrong(
        "divided_by_the_padded_length",
        "wrong-operand",
        "E = soft_dtw_grad(*tables[i], gamma) / (lengths[i] * batch)",
        "E = soft_dtw_grad(*tables[i], gamma) / (z.shape[1] * batch)",
    ),
    wrong(
        "length_forgotten_in_the_loss",
        "wrong-loss",
        "total += R[lengths[i], len(template)] / lengths[i]",
        "total += R[lengths[i], len(template)]",
    ),
]

TOGETHER = [
    ("cost_of_the_cell_itself_in_the_weight", "square_differentiated_without_two"),
    ("diagonal_steps_pass_nothing_back", "length_forgotten_in_the_average"),
    ("down_and_across_exchanged", "template_of_the_last_sequence"),
    ("smoothing_forgotten_in_the_weights", "template_pulled_the_other_way"),
]

RIGHT = [
    right(
        "pairs_of_steps_by_differences",
        "        dz[i, : lengths[i]] = 2 * (E.sum(axis=1)[:, None] * seq - E @ template)\n"
        "        dtemplate += 2 * (E.sum(axis=0)[:, None] * template - E.T @ seq)\n",
        "        pulls = 2 * E[:, :, None] * (seq[:, None, :] - template[None, :, :])\n"
        "        dz[i, : lengths[i]] = pulls.sum(axis=1)\n"
        "        dtemplate -= pulls.sum(axis=0)\n",
    )
]
