"""Clouds of points sorted into cells: peak and mean of every cell's points, the two best cells kept, a head on them."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, points, cells, target):
    n, count, _ = points.shape
    f = torch.tanh(points @ params["W1"] + params["b1"])
    where = cells[:, :, None].expand(-1, -1, f.shape[2])
    empty = f.new_zeros(n, 6, f.shape[2])
    peak = empty.scatter_reduce(1, where, f, reduce="amax", include_self=False)
    rows = torch.arange(n)[:, None].expand(-1, count)
    total = torch.zeros_like(empty).index_put((rows, cells), f, accumulate=True)
    members = f.new_zeros(n, 6).index_put((rows, cells), f.new_ones(n, count), accumulate=True)
    grid = peak + params["mix"] * total / members.clamp(min=1)[:, :, None]
    scores = grid @ params["p"] / torch.linalg.vector_norm(params["p"])
    best, kept = torch.topk(scores, 2, dim=1)
    chosen = torch.take_along_dim(grid, kept[:, :, None], dim=1) * torch.sigmoid(best)[:, :, None]
    return F.smooth_l1_loss(chosen.flatten(1) @ params["W2"] + params["b2"], target)


def sort_into_cells(f, cells, n_cells=6):
    n, count, width = f.shape
    peak = np.zeros((n, n_cells, width))
    winner = np.full((n, n_cells, width), -1)
    total = np.zeros((n, n_cells, width))
    members = np.zeros((n, n_cells))
    for b in range(n):
        for i in range(count):
            cell = cells[b, i]
            members[b, cell] += 1
            total[b, cell] += f[b, i]
            for c in range(width):
                if winner[b, cell, c] < 0 or f[b, i, c] > peak[b, cell, c]:
                    peak[b, cell, c] = f[b, i, c]
                    winner[b, cell, c] = i
    members = np.maximum(members, 1)
    return peak, winner, total / members[:, :, None], members


def sort_into_cells_backward(dpeak, dmean, winner, members, cells):
    n, count = cells.shape
    n_cells, width = dpeak.shape[1:]
    df = np.zeros((n, count, width))
    for b in range(n):
        for cell in range(n_cells):
            for c in range(width):
                if winner[b, cell, c] >= 0:
                    df[b, winner[b, cell, c], c] += dpeak[b, cell, c]
        for i in range(count):
            df[b, i] += dmean[b, cells[b, i]] / members[b, cells[b, i]]
    return df


def candidate(params, points, cells, target):
    W1, b1, mix, p, W2, b2 = (params[name] for name in ("W1", "b1", "mix", "p", "W2", "b2"))
    n = points.shape[0]
    row = np.arange(n)[:, None]

    f = np.tanh(points @ W1 + b1)
    peak, winner, mean, members = sort_into_cells(f, cells)
    grid = peak + mix * mean
    length = np.sqrt(np.sum(p**2))
    scores = grid @ p / length
    kept = np.argsort(-scores, axis=1)[:, :2]
    best = scores[row, kept]
    gate = 1 / (1 + np.exp(-best))
    taken = grid[row, kept]
    flat = (taken * gate[:, :, None]).reshape(n, -1)
    out = flat @ W2 + b2
    error = out - target
    small = np.abs(error) < 1
    loss = np.mean(np.where(small, 0.5 * error**2, np.abs(error) - 0.5))

    dout = np.where(small, error, np.sign(error)) / error.size
    dW2 = flat.T @ dout
    db2 = dout.sum(axis=0)
    dchosen = (dout @ W2.T).reshape(taken.shape)
    dbest = np.sum(dchosen * taken, axis=2) * gate * (1 - gate)
    dgrid = np.zeros_like(grid)
    dgrid[row, kept] = dchosen * gate[:, :, None]
    dscores = np.zeros_like(scores)
    dscores[row, kept] = dbest
    dgrid += dscores[:, :, None] * p / length
    dp = np.tensordot(dscores, grid, axes=2) / length
    dp -= np.sum(dscores * scores) * p / length**2
    dmix = np.sum(dgrid * mean, axis=(0, 1))
    df = sort_into_cells_backward(dgrid, dgrid * mix, winner, members, cells)
    da = df * (1 - f**2)
    dW1 = np.einsum("bif,bic->fc", points, da)
    db1 = da.sum(axis=(0, 1))
    return loss, {"W1": dW1, "b1": db1, "mix": dmix, "p": dp, "W2": dW2, "b2": db2}


def problem(rng):
    n, count, inputs, width, n_cells, outputs = 4, 7, 3, 5, 6, 2
    params = {
        "W1": rng.normal(size=(inputs, width)) * 0.8,
        "b1": rng.normal(size=width) * 0.4,
        "mix": rng.normal(size=width) * 0.5 + 0.7,
        "p": rng.normal(size=width),
        "W2": rng.normal(size=(2 * width, outputs)) * 0.7,
        "b2": rng.normal(size=outputs) * 0.4,
    }
    cells = np.stack([rng.permutation([0, 0, 0, 2, 2, 5, 5]) for _ in range(n)])
    return params, (rng.normal(size=(n, count, inputs)), cells % n_cells, rng.normal(size=(n, outputs)) * 1.5)


WRONG = [
    wrong(
        "peak_gradient_to_every_point_of_the_cell",
        "different-function|missing-derivative",
        "                if winner[b, cell, c] >= 0:\n"
        "                    df[b, winner[b, cell, c], c] += dpeak[b, cell, c]\n",
        "                df[b, cells[b] == cell, c] += dpeak[b, cell, c]\n",
    ),
    wrong(
        "mean_route_overwrites_the_peaks",
        "overwritten|missing-path",
        "df[b, i] += dmean[b, cells[b, i]]",
        "df[b, i] = dmean[b, cells[b, i]]",
    ),
    wrong(
        "mean_not_divided_by_its_members",
        "wrong-reduction|wrong-scale|missing-derivative",
        "dmean[b, cells[b, i]] / members[b, cells[b, i]]",
        "dmean[b, cells[b, i]]",
    ),
    wrong(
        "mean_spread_over_all_the_points",
        "wrong-scale|wrong-operand",
        "dmean[b, cells[b, i]] / members[b, cells[b, i]]",
        "dmean[b, cells[b, i]] / count",
    ),
    wrong(
        "gate_taken_for_constant",
        "missing-path",
        "    dscores[row, kept] = dbest\n",
        "",
    ),
    wrong(
        "slope_of_the_gate_forgotten",
        "missing-derivative",
        "np.sum(dchosen * taken, axis=2) * gate * (1 - gate)",
        "np.sum(dchosen * taken, axis=2)",
    ),
    wrong(
        "length_of_the_direction_taken_for_constant",
        "missing-path",
        "    dp -= np.sum(dscores * scores) * p / length**2\n",
        "",
    ),
    wrong(
        "scores_move_the_direction_only",
        "missing-path",
        "    dgrid += dscores[:, :, None] * p / length\n",
        "",
    ),
    wrong(
        "kept_cells_put_back_in_front",
        "wrong-operand|different-function",
        "dgrid[row, kept] = dchosen",
        "dgrid[:, :2] = dchosen",
    ),
    wrong(
        "large_errors_squared_backwards",
        "different-function|missing-derivative",
        "dout = np.where(small, error, np.sign(error)) / error.size",
        "dout = error / error.size",
    ),
    wrong(
        "mix_of_the_whole_cell",
        "wrong-operand",
        "dmix = np.sum(dgrid * mean, axis=(0, 1))",
        "dmix = np.sum(dgrid * grid, axis=(0, 1))",
    ),
    wrong(
        "worst_cells_kept_in_both",
        "different-function",
        "kept = np.argsort(-scores, axis=1)[:, :2]",
        "kept = np.argsort(scores, axis=1)[:, :2]",
    ),
]

TOGETHER = [
    ("peak_gradient_to_every_point_of_the_cell", "slope_of_the_gate_forgotten"),
    ("mean_not_divided_by_its_members", "length_of_the_direction_taken_for_constant"),
    ("large_errors_squared_backwards", "mean_route_overwrites_the_peaks"),
    ("gate_taken_for_constant", "mix_of_the_whole_cell"),
]

RIGHT = [
    right(
        "all_points_at_once",
        "    for b in range(n):\n"
        "        for cell in range(n_cells):\n"
        "            for c in range(width):\n"
        "                if winner[b, cell, c] >= 0:\n"
        "                    df[b, winner[b, cell, c], c] += dpeak[b, cell, c]\n"
        "        for i in range(count):\n"
        "            df[b, i] += dmean[b, cells[b, i]] / members[b, cells[b, i]]\n",
        "    b, cell, c = np.nonzero(winner >= 0)\n"
        "    np.add.at(df, (b, winner[b, cell, c], c), dpeak[b, cell, c])\n"
        "    each = np.arange(n)[:, None]\n"
        "    df += dmean[each, cells] / members[each, cells][:, :, None]\n",
    )
]
