"""A recurrent net whose state is itself a softmax: the last state names the sequence; Jacobians written out."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, X, y):
    classes = params["V"].shape[0]
    h = torch.full((len(X), classes), 1 / classes, dtype=X.dtype)
    for t in range(X.shape[1]):
        u = torch.tanh(F.linear(X[:, t], params["W"], params["b"]) + F.linear(h, params["U"]))
        scores = F.linear(u, params["V"], params["c"])
        h = torch.softmax(scores, dim=1)
    return F.nll_loss(torch.log(h), y)


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def forward(p, X):
    k = len(p["c"])
    hs, us = [np.full((X.shape[0], k), 1.0 / k)], []
    for t in range(X.shape[1]):
        us.append(np.tanh(X[:, t] @ p["W"].T + hs[-1] @ p["U"].T + p["b"]))
        hs.append(softmax(us[-1] @ p["V"].T + p["c"]))
    return us, hs


def candidate(params, X, y):
    p, (n, T) = params, X.shape[:2]
    us, hs = forward(p, X)
    loss = -np.mean(np.log(hs[-1][np.arange(n), y]))

    g = {name: np.zeros_like(v) for name, v in p.items()}
    dh = np.zeros_like(hs[-1])
    dh[np.arange(n), y] = -1 / hs[-1][np.arange(n), y] / n
    for t in range(T - 1, -1, -1):
        s = hs[t + 1]
        J = np.einsum("ni,ij->nij", s, np.eye(s.shape[1])) - np.einsum("ni,nj->nij", s, s)
        dz = np.einsum("nij,ni->nj", J, dh)
        g["V"] += np.einsum("nk,nm->km", dz, us[t])
        g["c"] += dz.sum(axis=0)
        da = (dz @ p["V"]) * (1 - us[t] ** 2)
        g["U"] += np.einsum("nm,nk->mk", da, hs[t])
        g["W"] += np.einsum("nm,nd->md", da, X[:, t])
        g["b"] += da.sum(axis=0)
        dh = da @ p["U"]
    return loss, g


def problem(rng):
    n, T, d, m, k = 7, 5, 2, 6, 4
    params = {
        "W": rng.normal(size=(m, d)),
        "U": rng.normal(size=(m, k)) * 2.0,
        "b": rng.normal(size=m) * 0.3,
        "V": rng.normal(size=(k, m)) * 1.2,
        "c": rng.normal(size=k) * 0.4,
    }
    return params, (rng.normal(size=(n, T, d)), rng.integers(0, k, size=n))


WRONG = [
    wrong(
        "states_taken_to_be_separate_logistic_units",
        "diagonal-jacobian",
        'dz = np.einsum("nij,ni->nj", J, dh)',
        "dz = s * (1 - s) * dh",
    ),
    wrong(
        "jacobian_with_the_scores_for_the_second_factor",
        "wrong-operand|derivative-at-wrong-point",
        'np.einsum("ni,nj->nij", s, s)',
        'np.einsum("ni,nj->nij", s, us[t] @ p["V"].T + p["c"])',
    ),
    wrong(
        "jacobian_of_the_state_before",
        "shifted-in-time",
        "        s = hs[t + 1]\n",
        "        s = hs[t]\n",
    ),
    wrong(
        "error_of_the_scores_sent_through_the_softmax_again",
        "extra-derivative",
        "dh[np.arange(n), y] = -1 / hs[-1][np.arange(n), y] / n",
        "dh = (hs[-1] - np.eye(hs[-1].shape[1])[y]) / n",
    ),
    wrong(
        "nothing_goes_back_through_the_state",
        "truncated-in-time",
        '        dh = da @ p["U"]\n',
        "        dh = np.zeros_like(dh)\n",
    ),
    wrong(
        "tanh_slope_of_the_tanh",
        "derivative-at-wrong-point",
        "(1 - us[t] ** 2)",
        "(1 - np.tanh(us[t]) ** 2)",
    ),
    wrong(
        "tanh_slope_left_out",
        "missing-derivative",
        'da = (dz @ p["V"]) * (1 - us[t] ** 2)',
        'da = dz @ p["V"]',
    ),
    wrong(
        "recurrent_weight_paired_with_the_new_state",
        "shifted-in-time",
        'np.einsum("nm,nk->mk", da, hs[t])',
        'np.einsum("nm,nk->mk", da, hs[t + 1])',
    ),
    wrong(
        "score_weight_of_one_step",
        "overwritten|last-step-only",
        'g["V"] += np.einsum',
        'g["V"] = np.einsum',
    ),
    wrong(
        "first_step_left_out",
        "truncated-in-time|missing-path",
        "for t in range(T - 1, -1, -1):",
        "for t in range(T - 1, 0, -1):",
    ),
    wrong(
        "softmax_over_the_batch_in_both",
        "wrong-axis",
        "    e = np.exp(z - z.max(axis=1, keepdims=True))\n    return e / e.sum(axis=1, keepdims=True)\n",
        "    e = np.exp(z - z.max(axis=0, keepdims=True))\n    return e / e.sum(axis=0, keepdims=True)\n",
        '        J = np.einsum("ni,ij->nij", s, np.eye(s.shape[1])) - np.einsum("ni,nj->nij", s, s)\n'
        '        dz = np.einsum("nij,ni->nj", J, dh)\n',
        "        dz = s * (dh - (dh * s).sum(axis=0))\n",
    ),
    wrong(
        "error_divided_by_the_steps_too",
        "wrong-scale",
        "y] / n\n",
        "y] / n / T\n",
    ),
]

TOGETHER = [
    ("states_taken_to_be_separate_logistic_units", "recurrent_weight_paired_with_the_new_state"),
    ("tanh_slope_of_the_tanh", "score_weight_of_one_step"),
    ("error_divided_by_the_steps_too", "tanh_slope_left_out"),
    ("error_of_the_scores_sent_through_the_softmax_again", "first_step_left_out"),
]

RIGHT = [
    right(
        "jacobian_never_built",
        '        J = np.einsum("ni,ij->nij", s, np.eye(s.shape[1])) - np.einsum("ni,nj->nij", s, s)\n'
        '        dz = np.einsum("nij,ni->nj", J, dh)\n',
        "        dz = s * (dh - (dh * s).sum(axis=1, keepdims=True))\n",
        'g["V"] += np.einsum("nk,nm->km", dz, us[t])',
        'g["V"] += dz.T @ us[t]',
    ),
]
