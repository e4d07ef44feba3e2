"""A network on sets: members encoded one by one, the largest of each feature kept, three quantiles of the target."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, members, y):
    h = F.leaky_relu(members @ params["A"] + params["a"], 0.2)
    code = torch.tanh(h @ params["B"])
    largest = code.max(dim=1).values
    rho = torch.log1p(torch.exp(largest @ params["C"] + params["c"]))
    quantiles = rho @ params["D"]
    level = torch.tensor([0.1, 0.5, 0.9], dtype=y.dtype)
    short = y.unsqueeze(1) - quantiles
    return torch.maximum(level * short, (level - 1) * short).sum(dim=1).mean()


def candidate(params, members, y):
    A, B, C, D = params["A"], params["B"], params["C"], params["D"]
    n, size, features = members.shape
    rows = members.reshape(n * size, features)
    s = rows @ A + params["a"]
    h = s * np.where(s < 0, 0.2, 1.0)
    code = np.tanh(h @ B).reshape(n, size, B.shape[1])
    winner = code.argmax(axis=1)
    largest = np.take_along_axis(code, winner[:, None], axis=1)[:, 0]
    q = largest @ C + params["c"]
    rho = np.log(1 + np.exp(q))
    level = np.array([0.1, 0.5, 0.9])
    short = y[:, None] - rho @ D
    loss = np.maximum(level * short, (level - 1) * short).sum() / n

    dshort = np.where(short > 0, level, level - 1) / n
    dD = -rho.T @ dshort
    drho = -dshort @ D.T
    dq = drho / (1 + np.exp(-q))
    dC = largest.T @ dq
    dc = dq.sum(axis=0)
    dlargest = dq @ C.T
    dcode = np.zeros(code.shape)
    np.put_along_axis(dcode, winner[:, None], dlargest[:, None], axis=1)
    dt = (dcode * (1 - code**2)).reshape(n * size, -1)
    dB = h.T @ dt
    dh = dt @ B.T
    ds = dh * np.where(s < 0, 0.2, 1.0)
    dA = rows.T @ ds
    da = ds.sum(axis=0)
    return loss, {"A": dA, "a": da, "B": dB, "C": dC, "c": dc, "D": dD}


def problem(rng):
    params = {
        "A": rng.normal(size=(2, 5)) * 0.8,
        "a": rng.normal(size=5) * 0.5,
        "B": rng.normal(size=(5, 5)) * 0.5,
        "C": rng.normal(size=(5, 4)),
        "c": rng.normal(size=4) * 0.5,
        "D": rng.normal(size=(4, 3)) * 0.7,
    }
    return params, (rng.normal(size=(8, 6, 2)), rng.normal(size=8))


WRONG = [
    wrong(
        "every_member_wins",
        "missing-derivative|different-function",
        "np.put_along_axis(dcode, winner[:, None], dlargest[:, None], axis=1)",
        "dcode += dlargest[:, None]",
    ),
    wrong(
        "shared_among_all_members",
        "different-function",
        "np.put_along_axis(dcode, winner[:, None], dlargest[:, None], axis=1)",
        "dcode += dlargest[:, None] / size",
    ),
    wrong(
        "winner_of_the_first_feature",
        "wrong-operand",
        "dcode, winner[:, None],",
        "dcode, winner[:, None, :1] + 0 * winner[:, None],",
    ),
    wrong(
        "winner_smallest_backwards",
        "different-function|wrong-operand",
        "np.put_along_axis(dcode, winner[:, None]",
        "np.put_along_axis(dcode, code.argmin(axis=1)[:, None]",
    ),
    wrong(
        "levels_exchanged",
        "different-function|wrong-operand",
        "np.where(short > 0, level, level - 1) / n",
        "np.where(short > 0, 1 - level, -level) / n",
    ),
    wrong(
        "minus_of_the_level_forgotten",
        "wrong-sign|different-function",
        "np.where(short > 0, level, level - 1) / n",
        "np.where(short > 0, level, 1 - level) / n",
    ),
    wrong("shortfall_sign", "wrong-sign", "dshort = np.where", "dshort = -np.where"),
    wrong("softplus_slope_forgotten", "missing-derivative", "dq = drho / (1 + np.exp(-q))", "dq = drho"),
    wrong(
        "softplus_slope_at_the_output",
        "derivative-at-wrong-point",
        "drho / (1 + np.exp(-q))",
        "drho / (1 + np.exp(-rho))",
    ),
    wrong(
        "sigmoid_slope_for_softplus",
        "different-function|extra-derivative",
        "drho / (1 + np.exp(-q))",
        "drho / (2 + np.exp(-q) + np.exp(q))",
    ),
    wrong(
        "leaky_slope_squared",
        "extra-derivative",
        "ds = dh * np.where(s < 0, 0.2, 1.0)",
        "ds = dh * np.where(s < 0, 0.04, 1.0)",
    ),
    wrong("leaky_slope_forgotten", "missing-derivative", "ds = dh * np.where(s < 0, 0.2, 1.0)", "ds = dh"),
    wrong("B_not_transposed", "not-transposed", "dh = dt @ B.T", "dh = dt @ B"),
    wrong("D_from_the_softplus_input", "wrong-operand", "dD = -rho.T @ dshort", "dD = -q.T @ dshort"),
    wrong("averaged_over_levels", "wrong-scale|wrong-reduction", "level - 1) / n\n", "level - 1) / (3 * n)\n"),
    wrong(
        "bias_averaged_over_members",
        "wrong-scale|wrong-reduction",
        "da = ds.sum(axis=0)",
        "da = ds.reshape(n, size, -1).mean(axis=1).sum(axis=0)",
    ),
    wrong(
        "mean_of_members_in_both",
        "different-function",
        "largest = np.take_along_axis(code, winner[:, None], axis=1)[:, 0]",
        "largest = code.mean(axis=1)",
        "np.put_along_axis(dcode, winner[:, None], dlargest[:, None], axis=1)",
        "dcode += dlargest[:, None] / size",
    ),
    wrong(
        "absolute_error_in_both",
        "different-function",
        "loss = np.maximum(level * short, (level - 1) * short).sum() / n",
        "loss = np.abs(short).sum() / n",
        "np.where(short > 0, level, level - 1) / n",
        "np.sign(short) / n",
    ),
    wrong(
        "params_scaled_in_place",
        "input-modified",
        "    dA = rows.T @ ds\n",
        "    dA = rows.T @ ds\n    D -= 0.01 * dD\n",
    ),
    wrong("key_of_another_case", "unexpected-gradient", '"D": dD}', '"D": dD, "d": dc}'),
]

TOGETHER = [
    ("every_member_wins", "softplus_slope_forgotten"),
    ("leaky_slope_forgotten", "averaged_over_levels"),
    ("B_not_transposed", "softplus_slope_at_the_output"),
    ("shortfall_sign", "D_from_the_softplus_input"),
    ("leaky_slope_squared", "B_not_transposed", "bias_averaged_over_members"),
]

RIGHT = [
    right(
        "winners_in_a_loop",
        "    np.put_along_axis(dcode, winner[:, None], dlargest[:, None], axis=1)\n",
        "    for k, row in enumerate(winner):\n        for j, m in enumerate(row):\n"
        "            dcode[k, m, j] = dlargest[k, j]\n",
    ),
    right(
        "winners_by_comparison",
        "np.put_along_axis(dcode, winner[:, None], dlargest[:, None], axis=1)",
        "dcode[:] = (code == largest[:, None]) * dlargest[:, None]",
    ),
    right(
        "slope_of_the_loss_by_sign",
        "np.where(short > 0, level, level - 1) / n",
        "(level - 0.5 + 0.5 * np.sign(short)) / n",
    ),
]
