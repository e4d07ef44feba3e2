"""A normalising flow: affine couplings in turn, the first one used again at the end, then a scaling of its own."""

import math

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, x):
    def couple(k, kept, moved):
        u = torch.tanh(kept @ params[f"W{k}"] + params[f"c{k}"])
        s = params[f"r{k}"] * torch.tanh(u @ params[f"S{k}"])
        return moved * s.exp() + u @ params[f"M{k}"], s.sum(dim=1)

    a, b = x[:, :2], x[:, 2:]
    volume = params["g"].sum()
    b, log_det = couple(1, a, b)
    volume = volume + log_det
    a, log_det = couple(2, b, a)
    volume = volume + log_det
    b, log_det = couple(1, a, b)
    volume = volume + log_det
    z = torch.cat([a, b], dim=1) * params["g"].exp() + params["o"]
    normal = torch.distributions.Normal(0.0, 1.0)
    return {"prior": -normal.log_prob(z).sum(dim=1).mean(), "volume": -volume.mean()}


def forward(params, k, kept, moved):
    u = np.tanh(kept @ params["W" + k] + params["c" + k])
    bend = np.tanh(u @ params["S" + k])
    s = params["r" + k] * bend
    new = moved * np.exp(s) + u @ params["M" + k]
    return new, s, (kept, moved, u, bend, s, new)


def backward(params, grads, k, dnew, dvolume, cache):
    """Add to `grads`; the gradients of the half that is kept and of the half that is moved."""
    kept, moved, u, bend, s, new = cache
    dmoved = dnew * np.exp(s)
    ds = dnew * moved * np.exp(s) + dvolume
    grads["r" + k] += np.sum(ds * bend, axis=0)
    dbent = ds * params["r" + k] * (1 - bend**2)
    grads["S" + k] += u.T @ dbent
    grads["M" + k] += u.T @ dnew
    du = dbent @ params["S" + k].T + dnew @ params["M" + k].T
    dact = du * (1 - u**2)
    grads["W" + k] += kept.T @ dact
    grads["c" + k] += dact.sum(axis=0)
    dkept = dact @ params["W" + k].T
    return dkept, dmoved


def candidate(params, x):
    n, dims = x.shape
    a0, b0 = x[:, :2], x[:, 2:]
    b1, s1, cache1 = forward(params, "1", a0, b0)
    a1, s2, cache2 = forward(params, "2", b1, a0)
    b2, s3, cache3 = forward(params, "1", a1, b1)
    y = np.concatenate([a1, b2], axis=1)
    scale = np.exp(params["g"])
    z = y * scale + params["o"]
    prior = 0.5 * np.sum(z**2) / n + 0.5 * dims * math.log(2 * math.pi)
    volume = (s1.sum() + s2.sum() + s3.sum()) / n + params["g"].sum()
    loss = prior - volume

    grads = {name: np.zeros_like(value) for name, value in params.items()}
    dz = z / n
    grads["o"] += dz.sum(axis=0)
    grads["g"] += np.sum(dz * y * scale, axis=0)
    grads["g"] -= 1
    dy = dz * scale
    da1, db2 = dy[:, :2], dy[:, 2:]
    dkept, db1 = backward(params, grads, "1", db2, -1 / n, cache3)
    da1 = da1 + dkept
    dkept, da0 = backward(params, grads, "2", da1, -1 / n, cache2)
    db1 = db1 + dkept
    backward(params, grads, "1", db1, -1 / n, cache1)
    return loss, grads


def problem(rng):
    params = {}
    for k, kept, hidden, moved in (("1", 2, 4, 3), ("2", 3, 6, 2)):
        params["W" + k] = rng.normal(size=(kept, hidden)) * 0.8
        params["c" + k] = rng.normal(size=hidden) * 0.5
        params["S" + k] = rng.normal(size=(hidden, moved)) * 0.7
        params["M" + k] = rng.normal(size=(hidden, moved)) * 0.7
        params["r" + k] = rng.uniform(0.4, 1.2, size=moved)
    params |= {"g": rng.normal(size=5) * 0.3, "o": rng.normal(size=5) * 0.5}
    return params, (rng.normal(size=(7, 5)),)


WRONG = [
    wrong("volume_not_in_the_couplings", "missing-path", "np.exp(s) + dvolume", "np.exp(s)"),
    wrong("volume_of_the_wrong_sign", "wrong-sign", "np.exp(s) + dvolume", "np.exp(s) - dvolume"),
    wrong(
        "volume_not_averaged",
        "wrong-scale|wrong-reduction",
        'backward(params, grads, "1", db2, -1 / n, cache3)',
        'backward(params, grads, "1", db2, -1, cache3)',
        'backward(params, grads, "2", da1, -1 / n, cache2)',
        'backward(params, grads, "2", da1, -1, cache2)',
        'backward(params, grads, "1", db1, -1 / n, cache1)',
        'backward(params, grads, "1", db1, -1, cache1)',
    ),
    wrong("volume_of_the_last_scaling_forgotten", "missing-path", '    grads["g"] -= 1\n', ""),
    wrong(
        "exponential_slope_forgotten",
        "missing-derivative",
        "ds = dnew * moved * np.exp(s) + dvolume",
        "ds = dnew * moved + dvolume",
    ),
    wrong("scale_of_the_moved_forgotten", "missing-derivative", "dmoved = dnew * np.exp(s)", "dmoved = dnew"),
    wrong(
        "output_for_the_scaled_input",
        "wrong-operand",
        "ds = dnew * moved * np.exp(s) + dvolume",
        "ds = dnew * new + dvolume",
    ),
    wrong("tanh_slope_of_the_scale_forgotten", "missing-derivative", " * (1 - bend**2)", ""),
    wrong("tanh_slope_at_the_scale", "derivative-at-wrong-point|wrong-operand", "* (1 - bend**2)", "* (1 - s**2)"),
    wrong(
        "range_of_the_scale_forgotten",
        "missing-derivative",
        'dbent = ds * params["r" + k] * (1',
        "dbent = ds * (1",
    ),
    wrong(
        "shift_not_into_the_hidden_layer",
        "missing-path",
        'du = dbent @ params["S" + k].T + dnew @ params["M" + k].T',
        'du = dbent @ params["S" + k].T',
    ),
    wrong(
        "scale_not_into_the_hidden_layer",
        "missing-path",
        'du = dbent @ params["S" + k].T + dnew @ params["M" + k].T',
        'du = dnew @ params["M" + k].T',
    ),
    wrong("kept_half_of_the_last_coupling_forgotten", "missing-path", "    da1 = da1 + dkept\n", ""),
    wrong("moved_half_forgotten", "missing-path", "db1 = db1 + dkept", "db1 = dkept"),
    wrong("W_assigned", "overwritten", 'grads["W" + k] += ', 'grads["W" + k] = '),
    wrong("last_scaling_forgotten_backwards", "missing-derivative", "dy = dz * scale", "dy = dz"),
    wrong(
        "tanh_slope_of_the_hidden_units",
        "derivative-at-wrong-point",
        "dact = du * (1 - u**2)",
        "dact = du * (1 - np.tanh(u) ** 2)",
    ),
    wrong("half_forgotten", "wrong-term-weight|wrong-scale", "dz = z / n", "dz = 2 * z / n"),
    wrong(
        "logistic_prior_in_both",
        "different-function",
        "0.5 * np.sum(z**2) / n + 0.5 * dims * math.log(2 * math.pi)",
        "np.sum(z + 2 * np.logaddexp(0, -z)) / n",
        "dz = z / n",
        "dz = np.tanh(z / 2) / n",
    ),
    wrong("second_coupling_not_in_the_volume_in_cost", "wrong-loss", "s1.sum() + s2.sum() + s3", "s1.sum() + s3"),
]

TOGETHER = [
    ("volume_not_in_the_couplings", "tanh_slope_of_the_hidden_units"),
    ("scale_of_the_moved_forgotten", "volume_of_the_last_scaling_forgotten"),
    ("output_for_the_scaled_input", "W_assigned"),
    ("kept_half_of_the_last_coupling_forgotten", "exponential_slope_forgotten"),
    ("shift_not_into_the_hidden_layer", "tanh_slope_at_the_scale"),
    ("half_forgotten", "moved_half_forgotten"),
    ("range_of_the_scale_forgotten", "W_assigned", "last_scaling_forgotten_backwards"),
]

RIGHT = [
    right(
        "scaled_half_by_subtraction",
        "ds = dnew * moved * np.exp(s) + dvolume",
        'ds = dnew * (new - u @ params["M" + k]) + dvolume',
    ),
    right(
        "volume_per_sample_in_the_prior",
        '    grads["g"] -= 1\n',
        "",
        "np.sum(dz * y * scale, axis=0)",
        "np.sum(dz * (z - params['o']) - 1 / n, axis=0)",
    ),
    right(
        "both_heads_in_one_matrix",
        '    grads["S" + k] += u.T @ dbent\n    grads["M" + k] += u.T @ dnew\n'
        '    du = dbent @ params["S" + k].T + dnew @ params["M" + k].T\n',
        "    heads = np.hstack([dbent, dnew])\n"
        "    to_scale, to_shift = np.split(u.T @ heads, 2, axis=1)\n"
        '    grads["S" + k] += to_scale\n    grads["M" + k] += to_shift\n'
        '    du = heads @ np.hstack([params["S" + k], params["M" + k]]).T\n',
    ),
]
