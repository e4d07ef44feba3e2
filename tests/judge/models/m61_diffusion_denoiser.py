"""A diffusion model's denoiser of signals: convolutions, group norm steered by the step, the noise to be told."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, clean, noise, step):
    kept = torch.cos(0.5 * math.pi * (step.to(clean.dtype) + 1) / 12).square()
    noisy = kept.sqrt().view(-1, 1, 1) * clean + (1 - kept).sqrt().view(-1, 1, 1) * noise
    time = F.silu(F.embedding(step, params["T"])) @ params["A"]
    scale, shift = time.unsqueeze(-1).chunk(2, dim=1)
    h = F.conv1d(noisy, params["K1"], params["k1"], padding=1)
    h = F.group_norm(h, 2, eps=1e-3)
    h = F.silu(h * (1 + scale) + shift)
    out = F.conv1d(h, params["K2"], params["k2"], padding=1) + F.conv1d(noisy, params["R"].unsqueeze(-1))
    weight = (kept / (1 - kept)).clamp(max=3.0)
    return (weight * (out - noise).pow(2).mean(dim=(1, 2))).mean()


def silu(a):
    return a / (1 + np.exp(-a))


def silu_slope(a):
    s = 1 / (1 + np.exp(-a))
    return s * (1 + a * (1 - s))


def conv(x, K):
    length = x.shape[2]
    wide = np.pad(x, ((0, 0), (0, 0), (1, 1)))
    return sum(np.einsum("ncl,fc->nfl", wide[:, :, j : j + length], K[:, :, j]) for j in range(K.shape[2]))


def conv_backward(dout, x, K):
    length = x.shape[2]
    wide = np.pad(x, ((0, 0), (0, 0), (1, 1)))
    dwide, dK = np.zeros_like(wide), np.zeros_like(K)
    for j in range(K.shape[2]):
        dK[:, :, j] = np.einsum("nfl,ncl->fc", dout, wide[:, :, j : j + length])
        dwide[:, :, j : j + length] += np.einsum("nfl,fc->ncl", dout, K[:, :, j])
    return dwide[:, :, 1:-1], dK


def group_norm(h, groups):
    rows = h.reshape(len(h), groups, -1)
    centred = rows - rows.mean(axis=2, keepdims=True)
    inverse = 1 / np.sqrt(np.mean(centred**2, axis=2, keepdims=True) + 1e-3)
    return (centred * inverse).reshape(h.shape), inverse


def group_norm_backward(dnormed, normed, inverse, groups):
    dn, unit = dnormed.reshape(len(dnormed), groups, -1), normed.reshape(len(normed), groups, -1)
    level = dn.mean(axis=2, keepdims=True)
    spread = np.mean(dn * unit, axis=2, keepdims=True)
    return (inverse * (dn - level - unit * spread)).reshape(normed.shape)


def candidate(params, clean, noise, step):
    groups = 2
    kept = np.cos(0.5 * math.pi * (step + 1) / 12) ** 2
    signal, rest = np.sqrt(kept)[:, None, None], np.sqrt(1 - kept)[:, None, None]
    noisy = signal * clean + rest * noise
    looked_up = params["T"][step]
    time_in = silu(looked_up)
    time = time_in @ params["A"]
    half = time.shape[1] // 2
    scale, shift = time[:, :half, None], time[:, half:, None]
    h = conv(noisy, params["K1"]) + params["k1"][:, None]
    normed, inverse = group_norm(h, groups)
    steered = normed * (1 + scale) + shift
    act = silu(steered)
    out = conv(act, params["K2"]) + params["k2"][:, None] + np.einsum("ncl,fc->nfl", noisy, params["R"])
    miss = out - noise
    weight = np.minimum(kept / (1 - kept), 3.0)[:, None, None]
    loss = np.mean(weight * miss**2)

    g = {}
    dout = 2 * weight * miss / miss.size
    g["k2"] = dout.sum(axis=(0, 2))
    g["R"] = np.einsum("nfl,ncl->fc", dout, noisy)
    dact, g["K2"] = conv_backward(dout, act, params["K2"])
    dsteered = dact * silu_slope(steered)
    dscale = np.sum(dsteered * normed, axis=2)
    dshift = np.sum(dsteered, axis=2)
    dtime = np.concatenate([dscale, dshift], axis=1)
    g["A"] = time_in.T @ dtime
    dlooked_up = (dtime @ params["A"].T) * silu_slope(looked_up)
    g["T"] = np.zeros_like(params["T"])
    np.add.at(g["T"], step, dlooked_up)
    dnormed = dsteered * (1 + scale)
    dh = group_norm_backward(dnormed, normed, inverse, groups)
    g["k1"] = dh.sum(axis=(0, 2))
    g["K1"] = conv_backward(dh, noisy, params["K1"])[1]
    return loss, g


def problem(rng):
    params = {
        "T": rng.normal(size=(10, 4)),
        "A": rng.normal(size=(4, 12)) * 0.6,
        "K1": rng.normal(size=(6, 2, 3)) * 0.6,
        "k1": rng.normal(size=6) * 0.5,
        "K2": rng.normal(size=(2, 6, 3)) * 0.5,
        "k2": rng.normal(size=2) * 0.5,
        "R": rng.normal(size=(2, 2)) * 0.6,
    }
    clean, noise = rng.normal(size=(5, 2, 7)), rng.normal(size=(5, 2, 7))
    return params, (clean, noise, np.array([3, 7, 1, 3, 5]))


WRONG = [
    wrong(
        "overlapping_windows_overwritten",
        "overwritten",
        "dwide[:, :, j : j + length] += ",
        "dwide[:, :, j : j + length] = ",
    ),
    wrong(
        "kernel_not_turned_round_backwards",
        "flipped|wrong-operand|different-function",
        'np.einsum("nfl,fc->ncl", dout, K[:, :, j])',
        'np.einsum("nfl,fc->ncl", dout, K[:, :, -1 - j])',
    ),
    wrong(
        "norm_as_constant",
        "missing-path|diagonal-jacobian",
        "(inverse * (dn - level - unit * spread))",
        "(inverse * dn)",
    ),
    wrong("spread_as_constant", "missing-path", "(dn - level - unit * spread)", "(dn - level)"),
    wrong("level_as_constant", "missing-path", "(dn - level - unit * spread)", "(dn - unit * spread)"),
    wrong("one_group_in_both", "wrong-axis|different-function", "groups = 2", "groups = 1"),
    wrong(
        "identity_of_the_steering_forgotten",
        "missing-path|wrong-operand",
        "dnormed = dsteered * (1 + scale)",
        "dnormed = dsteered * scale",
    ),
    wrong(
        "steering_forgotten_backwards",
        "missing-derivative|missing-path",
        "dnormed = dsteered * (1 + scale)",
        "dnormed = dsteered",
    ),
    wrong(
        "scale_of_the_layer_before_the_norm",
        "wrong-operand",
        "dscale = np.sum(dsteered * normed, axis=2)",
        "dscale = np.sum(dsteered * h, axis=2)",
    ),
    wrong(
        "scale_and_shift_exchanged",
        "wrong-operand",
        "np.concatenate([dscale, dshift]",
        "np.concatenate([dshift, dscale]",
    ),
    wrong(
        "shift_averaged_over_positions",
        "wrong-reduction|wrong-scale",
        "dshift = np.sum(dsteered, axis=2)",
        "dshift = np.mean(dsteered, axis=2)",
    ),
    wrong("silu_slope_of_the_output", "derivative-at-wrong-point", "silu_slope(steered)", "silu_slope(act)"),
    wrong("time_slope_forgotten", "missing-derivative", " * silu_slope(looked_up)", ""),
    wrong(
        "repeated_steps_overwritten",
        "overwritten",
        'np.add.at(g["T"], step, dlooked_up)',
        'g["T"][step] += dlooked_up',
    ),
    wrong(
        "clean_signal_for_the_noise_in_both",
        "wrong-operand|different-function",
        "miss = out - noise",
        "miss = out - clean",
    ),
    wrong("step_not_weighted_backwards", "missing-derivative", "dout = 2 * weight * miss", "dout = 2 * miss"),
    wrong("averaged_over_signals_only", "wrong-scale|wrong-reduction", "miss / miss.size", "miss / len(miss)"),
    wrong(
        "noise_level_not_rooted_in_both",
        "wrong-operand|different-function|missing-derivative",
        "rest = np.sqrt(kept)[:, None, None], np.sqrt(1 - kept)[:, None, None]",
        "rest = kept[:, None, None], (1 - kept)[:, None, None]",
    ),
    wrong(
        "step_off_by_one_in_both",
        "shifted-in-time|wrong-operand|different-function",
        "math.pi * (step + 1) / 12",
        "math.pi * step / 12",
    ),
    wrong("skip_of_the_clean_signal", "wrong-operand", '"nfl,ncl->fc", dout, noisy)', '"nfl,ncl->fc", dout, clean)'),
]

TOGETHER = [
    ("norm_as_constant", "silu_slope_of_the_output"),
    ("overlapping_windows_overwritten", "scale_and_shift_exchanged"),
    ("identity_of_the_steering_forgotten", "repeated_steps_overwritten"),
    ("averaged_over_signals_only", "time_slope_forgotten"),
    ("scale_of_the_layer_before_the_norm", "kernel_not_turned_round_backwards"),
    ("skip_of_the_clean_signal", "spread_as_constant"),
    ("step_not_weighted_backwards", "shift_averaged_over_positions", "level_as_constant"),
]

RIGHT = [
    right(
        "transposed_convolution",
        '        dwide[:, :, j : j + length] += np.einsum("nfl,fc->ncl", dout, K[:, :, j])\n'
        "    return dwide[:, :, 1:-1], dK\n",
        "    return conv(dout, K.transpose(1, 0, 2)[:, :, ::-1]), dK\n",
        "dwide, dK = np.zeros_like(wide), np.zeros_like(K)",
        "dK = np.zeros_like(K)",
    ),
    right(
        "norm_group_by_group",
        "    dn, unit = dnormed.reshape(len(dnormed), groups, -1), normed.reshape(len(normed), groups, -1)\n"
        "    level = dn.mean(axis=2, keepdims=True)\n"
        "    spread = np.mean(dn * unit, axis=2, keepdims=True)\n"
        "    return (inverse * (dn - level - unit * spread)).reshape(normed.shape)\n",
        "    dh = np.zeros_like(normed)\n"
        "    size = normed.shape[1] // groups\n"
        "    for k in range(groups):\n"
        "        part = slice(k * size, (k + 1) * size)\n"
        "        dn, unit = dnormed[:, part], normed[:, part]\n"
        "        dvar = -0.5 * np.sum(dn * unit, axis=(1, 2), keepdims=True) * inverse[:, [k]] ** 2\n"
        "        dmean = -np.sum(dn, axis=(1, 2), keepdims=True) * inverse[:, [k]]\n"
        "        count = dn[0].size\n"
        "        dh[:, part] = dn * inverse[:, [k]] + 2 * unit / inverse[:, [k]] * dvar / count + dmean / count\n"
        "    return dh\n",
    ),
    right(
        "steps_one_by_one",
        '    np.add.at(g["T"], step, dlooked_up)\n',
        '    for row, k in zip(dlooked_up, step):\n        g["T"][k] += row\n',
    ),
]
