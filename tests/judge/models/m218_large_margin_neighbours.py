"""Large margin nearest neighbours: a linear metric pulls its targets in, pushes impostors out; a margin per class."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong

BATCH_AXIS = None  # the samples are each other's neighbours


def reference(params, X, labels, targets):
    Z = X @ params["L"].T
    D = ((Z[:, None] - Z[None]) ** 2).sum(-1)
    near = torch.gather(D, 1, targets)
    margin = torch.exp(params["log_margin"])[labels]
    slack = margin[:, None, None] + near[:, :, None] - D[:, None, :]
    other = (labels[:, None] != labels[None])[:, None, :]
    push = torch.where(other, torch.relu(slack), torch.zeros_like(slack)).sum()
    return {"pull": 0.6 * near.sum() / len(X), "push": 0.4 * push / len(X)}


def squared_distances(Z):
    D = np.zeros((len(Z), len(Z)))
    for i in range(len(Z)):
        D[i] = np.sum((Z - Z[i]) ** 2, axis=1)
    return D


def sum_of_outer_products(X, first, second, weights=None):
    diff = X[first] - X[second]
    if weights is None:
        return diff.T @ diff
    return (diff * weights[:, None]).T @ diff


def find_active(D, margin, labels, targets):
    """All (i, j, m) whose impostor m comes nearer to i than its target j and the margin, with their slacks."""
    triplets, slacks = [], []
    for i in range(len(D)):
        impostors = np.flatnonzero(labels != labels[i])
        for j in targets[i]:
            for m in impostors:
                slack = margin[i] + D[i, j] - D[i, m]
                if slack > 0:
                    triplets.append((i, j, m))
                    slacks.append(slack)
    return np.array(triplets, dtype=int).reshape(-1, 3), np.array(slacks)


def candidate(params, X, labels, targets, reg=0.4):
    L = params["L"]
    margin = np.exp(params["log_margin"])[labels]
    n, k = targets.shape

    D = squared_distances(X @ L.T)
    own = np.repeat(np.arange(n), k)
    friends = targets.ravel()
    triplets, slacks = find_active(D, margin, labels, targets)
    pull = D[own, friends].sum()
    push = slacks.sum()
    loss = ((1 - reg) * pull + reg * push) / n

    # the pull of the targets does not depend on who is active
    G = (1 - reg) * sum_of_outer_products(X, own, friends)
    i, j, m = triplets.T
    G += reg * sum_of_outer_products(X, i, j)
    G -= reg * sum_of_outer_products(X, i, m)
    dL = 2 * L @ G / n

    dmargin = np.zeros(n)
    np.add.at(dmargin, i, reg / n)
    dlog = np.zeros_like(params["log_margin"])
    np.add.at(dlog, labels, dmargin * margin)
    return loss, {"L": dL, "log_margin": dlog}


def problem(rng):
    labels = np.array([0, 1, 1, 0, 1, 0, 1])
    targets = np.array([[3, 5], [2, 4], [6, 1], [0, 5], [1, 6], [0, 3], [4, 2]])
    X = rng.normal(size=(7, 5)) + 0.5 * labels[:, None]
    params = {"L": rng.normal(size=(3, 5)) * 0.5, "log_margin": rng.normal(size=2) * 0.4 + 0.3}
    return params, (X, labels, targets)


WRONG = [
    wrong(
        "factor_two_of_the_square_forgotten",
        "wrong-scale",
        "dL = 2 * L @ G / n",
        "dL = L @ G / n",
    ),
    wrong(
        "impostors_pulled_in_as_well",
        "wrong-sign",
        "G -= reg * sum_of_outer_products(X, i, m)",
        "G += reg * sum_of_outer_products(X, i, m)",
    ),
    wrong(
        "active_targets_not_in_the_push",
        "missing-path",
        "    G += reg * sum_of_outer_products(X, i, j)\n",
        "",
    ),
    wrong(
        "each_point_counted_as_active_once",
        "overwritten",
        "np.add.at(dmargin, i, reg / n)",
        "dmargin[i] += reg / n",
    ),
    wrong(
        "margin_of_the_last_point_of_each_class",
        "overwritten",
        "np.add.at(dlog, labels, dmargin * margin)",
        "dlog[labels] += dmargin * margin",
    ),
    wrong(
        "derivative_of_the_exponential_forgotten",
        "missing-derivative",
        "np.add.at(dlog, labels, dmargin * margin)",
        "np.add.at(dlog, labels, dmargin)",
    ),
    wrong(
        "active_ones_counted_in_cost",
        "wrong-loss",
        "push = slacks.sum()",
        "push = np.sum(slacks > 0)",
    ),
    wrong(
        "impostor_seen_from_the_target",
        "wrong-operand",
        "G -= reg * sum_of_outer_products(X, i, m)",
        "G -= reg * sum_of_outer_products(X, j, m)",
    ),
    wrong(
        "weights_of_pull_and_push_swapped",
        "wrong-term-weight",
        "G = (1 - reg) * sum_of_outer_products(X, own, friends)",
        "G = reg * sum_of_outer_products(X, own, friends)",
        "G += reg * sum_of_outer_products(X, i, j)",
        "G += (1 - reg) * sum_of_outer_products(X, i, j)",
        "G -= reg * sum_of_outer_products(X, i, m)",
        "G -= (1 - reg) * sum_of_outer_products(X, i, m)",
    ),
    wrong(
        "squared_hinge_backwards",
        "different-function",
        "G += reg * sum_of_outer_products(X, i, j)",
        "G += 2 * reg * sum_of_outer_products(X, i, j, slacks)",
        "G -= reg * sum_of_outer_products(X, i, m)",
        "G -= 2 * reg * sum_of_outer_products(X, i, m, slacks)",
    ),
    wrong(
        "not_divided_by_the_points",
        "wrong-scale|wrong-reduction",
        "dL = 2 * L @ G / n",
        "dL = 2 * L @ G",
    ),
    wrong(
        "unit_margin_in_both",
        "different-function|wrong-operand",
        "slack = margin[i] + D[i, j] - D[i, m]",
        "slack = 1 + D[i, j] - D[i, m]",
    ),
]

TOGETHER = [
    ("factor_two_of_the_square_forgotten", "derivative_of_the_exponential_forgotten"),
    ("active_ones_counted_in_cost", "active_targets_not_in_the_push"),
    ("impostor_seen_from_the_target", "margin_of_the_last_point_of_each_class"),
    ("not_divided_by_the_points", "each_point_counted_as_active_once"),
]

RIGHT = [
    right(
        "differences_transformed_first",
        "    i, j, m = triplets.T\n"
        "    G += reg * sum_of_outer_products(X, i, j)\n"
        "    G -= reg * sum_of_outer_products(X, i, m)\n"
        "    dL = 2 * L @ G / n\n",
        "    i, j, m = triplets.T\n"
        "    dL = 2 * L @ G / n\n"
        "    for a, b, c in triplets:\n"
        "        towards, away = X[a] - X[b], X[a] - X[c]\n"
        "        dL += 2 * reg / n * (np.outer(L @ towards, towards) - np.outer(L @ away, away))\n",
    ),
]
