"""t-SNE of a small network's outputs: Student kernels with two degrees of freedom, KL from given affinities."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong

BATCH_AXIS = None  # the affinities are between all points


def reference(params, x, P):
    h = torch.tanh(x @ params["W1"] + params["b1"])
    y = h @ params["W2"] + params["b2"]
    squares = ((y[:, None] - y[None]) ** 2).sum(dim=2)
    others = 1 - torch.eye(len(y), dtype=y.dtype)
    kernel = others * (1 + squares / 2) ** -1.5
    q = kernel / kernel.sum()
    divergence = (torch.special.xlogy(P, P) - torch.special.xlogy(P, q + torch.eye(len(y), dtype=y.dtype))).sum()
    return {"divergence": divergence, "spread": 0.1 * (y**2).sum(dim=1).mean()}


def squared_distances(y):
    norms = np.sum(y**2, axis=1)
    return norms[:, None] + norms[None, :] - 2 * y @ y.T


def embedding_gradient(y, P, Q, weights, dofs):
    n = y.shape[0]
    factor = 2 * (dofs + 1) / dofs
    PQ = P - Q
    dy = np.zeros_like(y)
    for i in range(n):
        force = PQ[i] * weights[i]
        dy[i] = factor * np.sum(force[:, None] * (y[i] - y), axis=0)
    return dy


def candidate(params, x, P):
    dofs = 2.0
    # the map
    h = np.tanh(x @ params["W1"] + params["b1"])
    y = h @ params["W2"] + params["b2"]
    # affinities of the mapped points
    d2 = squared_distances(y)
    weights = 1 / (1 + d2 / dofs)
    num = weights ** ((dofs + 1) / 2)
    np.fill_diagonal(num, 0)
    Q = num / num.sum()
    pairs = ~np.eye(len(y), dtype=bool)
    kl = np.sum(P[pairs] * np.log(P[pairs] / Q[pairs]))
    # keeps the map near the origin
    spread = 0.1 * np.sum(y**2) / len(y)
    loss = kl + spread

    dy = embedding_gradient(y, P, Q, weights, dofs)
    dy += 0.2 * y / len(y)
    dh = dy @ params["W2"].T
    dz = dh * (1 - h**2)
    grads = {"W2": h.T @ dy, "b2": dy.sum(axis=0), "W1": x.T @ dz, "b1": dz.sum(axis=0)}
    return loss, grads


def problem(rng):
    n, inputs, hidden, outputs = 6, 4, 5, 2
    params = {
        "W1": rng.normal(size=(inputs, hidden)) * 0.6,
        "b1": rng.normal(size=hidden) * 0.4,
        "W2": rng.normal(size=(hidden, outputs)) * 0.9,
        "b2": rng.normal(size=outputs) * 0.3,
    }
    x = rng.normal(size=(n, inputs))
    P = np.exp(-((x[:, None] - x[None]) ** 2).sum(axis=2) / 6)
    np.fill_diagonal(P, 0)
    P = P / P.sum(axis=1, keepdims=True)
    return params, (x, (P + P.T) / (2 * n))


WRONG = [
    wrong(
        "factor_four_of_one_degree_of_freedom",
        "wrong-term-weight|wrong-scale",
        "factor = 2 * (dofs + 1) / dofs",
        "factor = 4",
    ),
    wrong(
        "factor_left_out",
        "wrong-term-weight|wrong-scale",
        "dy[i] = factor * np.sum(",
        "dy[i] = np.sum(",
    ),
    wrong(
        "mapped_affinities_minus_given_ones",
        "wrong-sign",
        "PQ = P - Q",
        "PQ = Q - P",
    ),
    wrong(
        "force_weighted_by_the_whole_kernel",
        "wrong-operand",
        "dy = embedding_gradient(y, P, Q, weights, dofs)",
        "dy = embedding_gradient(y, P, Q, num, dofs)",
    ),
    wrong(
        "kernel_slope_forgotten",
        "missing-derivative",
        "force = PQ[i] * weights[i]",
        "force = PQ[i]",
    ),
    wrong(
        "distance_itself_for_its_square_in_both",
        "different-function",
        "d2 = squared_distances(y)",
        "d2 = np.sqrt(np.maximum(squared_distances(y), 0))",
    ),
    wrong(
        "points_counted_as_their_own_neighbours_in_both",
        "different-function",
        "    np.fill_diagonal(num, 0)\n    Q =",
        "    Q =",
    ),
    wrong(
        "affinities_normalised_by_row_in_both",
        "wrong-axis|different-function",
        "Q = num / num.sum()",
        "Q = num / num.sum(axis=1, keepdims=True)",
    ),
    wrong(
        "kernel_of_one_degree_of_freedom_in_both",
        "different-function",
        "num = weights ** ((dofs + 1) / 2)",
        "num = weights.copy()",
    ),
    wrong(
        "tanh_slope_at_its_output",
        "derivative-at-wrong-point",
        "dz = dh * (1 - h**2)",
        "dz = dh * (1 - np.tanh(h) ** 2)",
    ),
    wrong(
        "spread_without_its_two",
        "wrong-term-weight|wrong-scale",
        "dy += 0.2 * y / len(y)",
        "dy += 0.1 * y / len(y)",
    ),
    wrong(
        "cross_entropy_reported_for_divergence",
        "wrong-loss",
        "np.log(P[pairs] / Q[pairs])",
        "-np.log(Q[pairs])",
    ),
]

TOGETHER = [
    ("factor_left_out", "points_counted_as_their_own_neighbours_in_both"),
    ("distance_itself_for_its_square_in_both", "spread_without_its_two"),
    ("kernel_slope_forgotten", "tanh_slope_at_its_output"),
    ("force_weighted_by_the_whole_kernel", "mapped_affinities_minus_given_ones"),
]

RIGHT = [
    right(
        "forces_by_a_laplacian",
        "    PQ = P - Q\n"
        "    dy = np.zeros_like(y)\n"
        "    for i in range(n):\n"
        "        force = PQ[i] * weights[i]\n"
        "        dy[i] = factor * np.sum(force[:, None] * (y[i] - y), axis=0)\n"
        "    return dy",
        "    forces = (P - Q) * weights\n    return factor * (np.diag(forces @ np.ones(n)) - forces) @ y",
    ),
]
