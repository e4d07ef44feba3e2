"""SVD++ by loops over ratings: factors of what a user has seen, a drift in time, scores squeezed between 1 and 5."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, users, items, ratings, days, seen):
    P, Q, Y = params["P"], params["Q"], params["Y"]
    dev = torch.sign(days) * torch.abs(days) ** 0.4
    implicit = seen @ Y / torch.sqrt(seen.sum(dim=1, keepdim=True))
    taste = P + implicit
    raw = (taste[users] * Q[items]).sum(dim=1)
    raw = raw + params["bu"][users] + params["bi"][items] + params["alpha"][users] * dev
    squared = (ratings - (1 + 4 * torch.sigmoid(raw))) ** 2
    factors = (P**2).sum() + (Q**2).sum() + (Y**2).sum()
    biases = (params["bu"] ** 2).sum() + (params["bi"] ** 2).sum()
    return {"error": squared.mean() / 2, "factors": 0.02 * factors, "biases": 0.05 * biases}


def dev(t):
    return np.sign(t) * np.abs(t) ** 0.4


def squash(x):
    return 1 / (1 + np.exp(-x))


def candidate(params, users, items, ratings, days, seen):
    bu, bi, alpha = params["bu"], params["bi"], params["alpha"]
    P, Q, Y = params["P"], params["Q"], params["Y"]
    lam, lam_b = 0.04, 0.1
    N = len(ratings)
    history = [np.where(seen[u] > 0)[0] for u in range(len(P))]

    sse = 0
    implicit = []
    outputs = []
    for n in range(N):
        u, i = users[n], items[n]
        y_sum = np.zeros(P.shape[1])
        for j in history[u]:
            y_sum = y_sum + Y[j]
        y_sum = y_sum / np.sqrt(len(history[u]))
        x = bu[u] + bi[i] + alpha[u] * dev(days[n]) + np.dot(Q[i], P[u] + y_sum)
        s = squash(x)
        pred = 1 + 4 * s
        sse += (ratings[n] - pred) ** 2
        implicit.append(y_sum)
        outputs.append(s)
    loss = sse / (2 * N)
    loss = loss + lam / 2 * (np.sum(P**2) + np.sum(Q**2) + np.sum(Y**2))
    loss = loss + lam_b / 2 * (np.sum(bu**2) + np.sum(bi**2))

    # gradients start with the regularisation
    dbu = lam_b * bu
    dbi = lam_b * bi
    dalpha = np.zeros_like(alpha)
    dP = lam * P
    dQ = lam * Q
    dY = lam * Y
    while outputs:
        n = len(outputs) - 1
        s = outputs.pop()
        y_sum = implicit.pop()
        u, i = users[n], items[n]
        err = ratings[n] - (1 + 4 * s)
        dx = -err * 4 * s * (1 - s) / N
        dbu[u] += dx
        dbi[i] += dx
        dalpha[u] += dx * dev(days[n])
        dP[u] += dx * Q[i]
        dQ[i] += dx * (P[u] + y_sum)
        for j in history[u]:
            dY[j] += dx * Q[i] / np.sqrt(len(history[u]))
    return loss, {"bu": dbu, "bi": dbi, "alpha": dalpha, "P": dP, "Q": dQ, "Y": dY}


def problem(rng):
    U, M, k, N = 5, 6, 3, 14
    seen = (rng.uniform(size=(U, M)) < 0.5) * 1.0
    seen[:, 0], seen[1, 1:4] = 1.0, 1.0
    params = {
        "bu": rng.normal(size=U) * 0.5,
        "bi": rng.normal(size=M) * 0.5,
        "alpha": rng.normal(size=U) * 0.4,
        "P": rng.normal(size=(U, k)) * 0.6,
        "Q": rng.normal(size=(M, k)) * 0.6,
        "Y": rng.normal(size=(M, k)) * 0.6,
    }
    users = np.concatenate([np.arange(U), rng.integers(U, size=N - U)])
    items = np.concatenate([rng.permutation(M), rng.integers(M, size=N - M)])
    return params, (users, items, rng.integers(1, 6, size=N) * 1.0, rng.normal(size=N) * 3, seen)


WRONG = [
    wrong(
        "root_of_the_history_forgotten",
        "missing-derivative|wrong-scale",
        "dY[j] += dx * Q[i] / np.sqrt(len(history[u]))",
        "dY[j] += dx * Q[i]",
    ),
    wrong(
        "divided_by_the_history_not_its_root",
        "wrong-scale|extra-derivative|wrong-operand|missing-derivative",
        "dY[j] += dx * Q[i] / np.sqrt(len(history[u]))",
        "dY[j] += dx * Q[i] / len(history[u])",
    ),
    wrong(
        "items_without_what_was_seen",
        "missing-path|wrong-operand",
        "dQ[i] += dx * (P[u] + y_sum)",
        "dQ[i] += dx * P[u]",
    ),
    wrong("squash_slope_forgotten", "missing-derivative", "dx = -err * 4 * s * (1 - s) / N", "dx = -err * 4 / N"),
    wrong(
        "width_of_the_scale_forgotten",
        "wrong-scale|missing-derivative|wrong-term-weight",
        "dx = -err * 4 * s * (1 - s) / N",
        "dx = -err * s * (1 - s) / N",
    ),
    wrong("error_the_other_way_round", "wrong-sign|wrong-term-weight", "dx = -err * 4", "dx = err * 4"),
    wrong(
        "slope_of_the_prediction",
        "derivative-at-wrong-point|wrong-operand",
        "dx = -err * 4 * s * (1 - s) / N",
        "dx = -err * 4 * (1 + 4 * s) * (1 - (1 + 4 * s)) / N",
    ),
    wrong("drift_without_its_time", "missing-derivative", "dalpha[u] += dx * dev(days[n])", "dalpha[u] += dx"),
    wrong(
        "drift_with_the_raw_day",
        "wrong-operand|missing-derivative|different-function",
        "dalpha[u] += dx * dev(days[n])",
        "dalpha[u] += dx * days[n]",
    ),
    wrong(
        "users_updated_by_the_users",
        "wrong-operand",
        "dP[u] += dx * Q[i]",
        "dP[u] += dx * P[u]",
    ),
    wrong(
        "drift_penalised_too",
        "wrong-part-penalised",
        "dalpha = np.zeros_like(alpha)",
        "dalpha = lam_b * alpha",
    ),
    wrong(
        "seen_factors_not_penalised",
        "missing-path|wrong-term-weight|wrong-part-penalised",
        "dY = lam * Y",
        "dY = np.zeros_like(Y)",
    ),
    wrong(
        "last_rating_of_a_user_only",
        "overwritten|one-sample-only",
        "        dP[u] += dx * Q[i]\n",
        "        dP[u] = dx * Q[i] + lam * P[u]\n",
    ),
    wrong(
        "scale_up_to_six_in_both",
        "different-function|wrong-scale",
        "pred = 1 + 4 * s",
        "pred = 1 + 5 * s",
        "err = ratings[n] - (1 + 4 * s)",
        "err = ratings[n] - (1 + 5 * s)",
        "dx = -err * 4 *",
        "dx = -err * 5 *",
    ),
    wrong(
        "history_averaged_in_both",
        "different-function|wrong-reduction|wrong-scale",
        "y_sum = y_sum / np.sqrt(len(history[u]))",
        "y_sum = y_sum / len(history[u])",
        "dY[j] += dx * Q[i] / np.sqrt(len(history[u]))",
        "dY[j] += dx * Q[i] / len(history[u])",
    ),
]

TOGETHER = [
    ("root_of_the_history_forgotten", "items_without_what_was_seen"),
    ("squash_slope_forgotten", "drift_penalised_too"),
    ("width_of_the_scale_forgotten", "seen_factors_not_penalised"),
    ("error_the_other_way_round", "drift_without_its_time"),
    ("users_updated_by_the_users", "divided_by_the_history_not_its_root"),
    ("last_rating_of_a_user_only", "items_without_what_was_seen"),
    ("scale_up_to_six_in_both", "drift_without_its_time"),
    ("history_averaged_in_both", "squash_slope_forgotten"),
    ("root_of_the_history_forgotten", "squash_slope_forgotten", "drift_penalised_too"),
    ("users_updated_by_the_users", "items_without_what_was_seen", "drift_with_the_raw_day"),
]

RIGHT = [
    right(
        "matrix_of_what_was_seen",
        "        for j in history[u]:\n            dY[j] += dx * Q[i] / np.sqrt(len(history[u]))\n",
        "        dY += np.outer(seen[u], dx * Q[i]) / np.sqrt(seen[u].sum())\n",
        "        for j in history[u]:\n            y_sum = y_sum + Y[j]\n",
        "        y_sum = seen[u].dot(Y)\n",
    ),
    right(
        "penalty_last",
        "    dP = lam * P\n    dQ = lam * Q\n    dY = lam * Y\n",
        "    dP, dQ, dY = np.zeros_like(P), np.zeros_like(Q), np.zeros_like(Y)\n",
        '    return loss, {"bu": dbu',
        '    dP, dQ, dY = dP + lam * P, dQ + lam * Q, dY + lam * Y\n    return loss, {"bu": dbu',
    ),
]
