"""A flow over frames of padded series: actnorm, an invertible mixing of channels, a convolutional coupling, twice."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, series, lengths):
    p = params
    n, channels, steps = series.shape
    mask = (torch.arange(steps) < lengths[:, None]).to(series.dtype)[:, None]
    lengths = lengths.to(series.dtype)
    x = series * mask
    volume = torch.zeros(n, dtype=series.dtype)
    for block in ("1", "2"):
        log_scale = p["logs" + block]
        x = (x + p["shift" + block][:, None]) * torch.exp(log_scale)[:, None] * mask
        volume = volume + log_scale.sum() * lengths
        W = p["mix" + block]
        x = F.conv1d(x, W[:, :, None])
        volume = volume + torch.linalg.slogdet(W)[1] * lengths
        kept, moved = x[:, :3], x[:, 3:]
        h = torch.tanh(F.conv1d(kept, p["K" + block], p["k" + block], padding=1)) * mask
        raw = F.conv1d(h, p["V" + block][:, :, None], p["v" + block])
        scale = torch.sigmoid(raw[:, 2:] + 2)
        moved = (moved + raw[:, :2]) * scale * mask
        volume = volume + (torch.log(scale) * mask).sum(dim=(1, 2))
        x = torch.cat([kept, moved], dim=1)
    normal = 0.5 * (x**2).sum(dim=(1, 2)) + 0.5 * math.log(2 * math.pi) * channels * lengths
    return (normal - volume).sum() / (channels * lengths.sum())


def actnorm(x, shift, logs, mask):
    out = (x + shift[:, None]) * np.exp(logs)[:, None] * mask
    return out, logs.sum() * mask.sum(axis=(1, 2)), (x, shift, logs, mask)


def actnorm_backward(dout, dvolume, cache):
    x, shift, logs, mask = cache
    dmoved = dout * mask * np.exp(logs)[:, None]
    dshift = dmoved.sum(axis=(0, 2))
    dlogs = (dmoved * (x + shift[:, None])).sum(axis=(0, 2)) + dvolume * mask.sum()
    return dmoved, dshift, dlogs


def mixing(x, W, mask):
    out = np.einsum("oc,nct->not", W, x)
    return out, np.log(np.abs(np.linalg.det(W))) * mask.sum(axis=(1, 2)), (x, W, mask)


def mixing_backward(dout, dvolume, cache):
    x, W, mask = cache
    dW = np.einsum("not,nct->oc", dout, x) + dvolume * mask.sum() * np.linalg.inv(W).T
    return np.einsum("oc,not->nct", W, dout), dW


def coupling(x, K, k, V, v, mask):
    kept, moved = x[:, :3], x[:, 3:]
    steps = x.shape[2]
    padded = np.pad(kept, ((0, 0), (0, 0), (1, 1)))
    a = sum(np.einsum("hc,nct->nht", K[:, :, u], padded[:, :, u : u + steps]) for u in range(3)) + k[:, None]
    h = np.tanh(a) * mask
    raw = np.einsum("oh,nht->not", V, h) + v[:, None]
    shift, scale = raw[:, :2], 1 / (1 + np.exp(-(raw[:, 2:] + 2)))
    out = np.concatenate([kept, (moved + shift) * scale * mask], axis=1)
    volume = (np.log(scale) * mask).sum(axis=(1, 2))
    return out, volume, (padded, moved, h, shift, scale, K, V, mask)


def coupling_backward(dout, dvolume, cache):
    padded, moved, h, shift, scale, K, V, mask = cache
    steps = dout.shape[2]
    dkept, dnew = dout[:, :3].copy(), dout[:, 3:] * mask
    dmoved = dnew * scale
    dshift = dnew * scale
    dlog_scale = dnew * (moved + shift) * scale + dvolume * mask
    draw = np.concatenate([dshift, dlog_scale * (1 - scale)], axis=1)
    dV = np.einsum("not,nht->oh", draw, h)
    dv = draw.sum(axis=(0, 2))
    dh = np.einsum("oh,not->nht", V, draw)
    da = dh * mask * (1 - h**2)
    dK = np.zeros_like(K)
    dpadded = np.zeros_like(padded)
    for u in range(3):
        dK[:, :, u] = np.einsum("nht,nct->hc", da, padded[:, :, u : u + steps])
        dpadded[:, :, u : u + steps] += np.einsum("hc,nht->nct", K[:, :, u], da)
    dkept += dpadded[:, :, 1:-1]
    return np.concatenate([dkept, dmoved], axis=1), dK, da.sum(axis=(0, 2)), dV, dv


def candidate(params, series, lengths):
    p = params
    n, channels, steps = series.shape
    mask = (np.arange(steps)[None, :] < lengths[:, None]).astype(series.dtype)[:, None, :]
    x = series * mask
    volume, caches = np.zeros(n), {}
    for b in ("1", "2"):
        x, gained, caches["norm" + b] = actnorm(x, p["shift" + b], p["logs" + b], mask)
        volume = volume + gained
        x, gained, caches["mix" + b] = mixing(x, p["mix" + b], mask)
        volume = volume + gained
        x, gained, caches["couple" + b] = coupling(x, p["K" + b], p["k" + b], p["V" + b], p["v" + b], mask)
        volume = volume + gained
    count = channels * lengths.sum()
    normal = 0.5 * (x**2).sum(axis=(1, 2)) + 0.5 * np.log(2 * np.pi) * channels * lengths
    loss = (normal - volume).sum() / count

    g = {}
    dx = x / count
    dvolume = -1.0 / count
    for b in ("2", "1"):
        dx, g["K" + b], g["k" + b], g["V" + b], g["v" + b] = coupling_backward(dx, dvolume, caches["couple" + b])
        dx, g["mix" + b] = mixing_backward(dx, dvolume, caches["mix" + b])
        dx, g["shift" + b], g["logs" + b] = actnorm_backward(dx, dvolume, caches["norm" + b])
    return loss, g


def problem(rng):
    n, channels, steps, hidden = 6, 5, 7, 4
    params = {}
    for b in ("1", "2"):
        params["shift" + b] = rng.normal(size=channels) * 0.4
        params["logs" + b] = rng.normal(size=channels) * 0.3
        params["mix" + b] = np.linalg.qr(rng.normal(size=(5, 5)))[0] + rng.normal(size=(5, 5)) * 0.15
        params["K" + b] = rng.normal(size=(hidden, 3, 3)) * 0.4
        params["k" + b] = rng.normal(size=hidden) * 0.3
        params["V" + b] = rng.normal(size=(4, hidden)) * 0.5
        params["v" + b] = rng.normal(size=4) * 0.3
    return params, (rng.normal(size=(n, channels, steps)) * 1.2, np.array([7, 4, 6, 3, 7, 5]))


WRONG = [
    wrong(
        "volume_of_the_mixing_counted_once_a_series_in_both",
        "different-function|wrong-scale|wrong-reduction",
        "np.log(np.abs(np.linalg.det(W))) * mask.sum(axis=(1, 2)), (x",
        "np.log(np.abs(np.linalg.det(W))) * np.ones(len(x)), (x",
        "dvolume * mask.sum() * np.linalg.inv(W).T",
        "dvolume * len(x) * np.linalg.inv(W).T",
    ),
    wrong(
        "inverse_of_the_mixing_not_transposed",
        "transposed|not-transposed",
        "np.linalg.inv(W).T",
        "np.linalg.inv(W)",
    ),
    wrong(
        "mixing_ignores_its_volume_backwards",
        "missing-path",
        " + dvolume * mask.sum() * np.linalg.inv(W).T",
        "",
    ),
    wrong(
        "padding_counted_in_the_volume_of_the_mixing_backwards",
        "wrong-scale|wrong-operand",
        "dvolume * mask.sum() * np.linalg.inv(W).T",
        "dvolume * mask.size * np.linalg.inv(W).T",
    ),
    wrong(
        "volume_of_the_actnorm_with_the_wrong_sign",
        "wrong-sign",
        ".sum(axis=(0, 2)) + dvolume * mask.sum()",
        ".sum(axis=(0, 2)) - dvolume * mask.sum()",
    ),
    wrong(
        "actnorm_scales_before_it_shifts_in_both",
        "different-function|wrong-operand",
        "out = (x + shift[:, None]) * np.exp(logs)[:, None] * mask",
        "out = (x * np.exp(logs)[:, None] + shift[:, None]) * mask",
        "dshift = dmoved.sum(axis=(0, 2))",
        "dshift = (dout * mask).sum(axis=(0, 2))",
        "(dmoved * (x + shift[:, None]))",
        "(dmoved * x)",
    ),
    wrong(
        "log_scale_forgets_the_shift_inside",
        "wrong-operand|missing-path",
        "dlog_scale = dnew * (moved + shift) * scale",
        "dlog_scale = dnew * moved * scale",
    ),
    wrong(
        "coupling_ignores_its_volume_backwards",
        "missing-path",
        " * scale + dvolume * mask\n",
        " * scale\n",
    ),
    wrong(
        "sigmoid_slope_twice_for_the_log_scale",
        "extra-derivative|wrong-operand",
        "dlog_scale * (1 - scale)",
        "dlog_scale * scale * (1 - scale)",
    ),
    wrong(
        "kept_half_only_passed_along",
        "missing-path",
        "    dkept += dpadded[:, :, 1:-1]\n",
        "",
    ),
    wrong(
        "padding_takes_part_in_the_volume_of_the_coupling_in_both",
        "different-function|wrong-operand",
        "volume = (np.log(scale) * mask).sum(axis=(1, 2))",
        "volume = np.log(scale).sum(axis=(1, 2))",
        " * scale + dvolume * mask\n",
        " * scale + dvolume\n",
    ),
    wrong(
        "kernel_not_turned_on_the_way_back",
        "flipped|wrong-operand",
        'np.einsum("hc,nht->nct", K[:, :, u], da)',
        'np.einsum("hc,nht->nct", K[:, :, 2 - u], da)',
    ),
]

TOGETHER = [
    ("inverse_of_the_mixing_not_transposed", "log_scale_forgets_the_shift_inside"),
    ("mixing_ignores_its_volume_backwards", "kept_half_only_passed_along"),
    ("volume_of_the_actnorm_with_the_wrong_sign", "kernel_not_turned_on_the_way_back"),
    ("padding_counted_in_the_volume_of_the_mixing_backwards", "sigmoid_slope_twice_for_the_log_scale"),
]

RIGHT = [
    right(
        "volumes_by_the_frames_told",
        "np.log(np.abs(np.linalg.det(W))) * mask.sum(axis=(1, 2)), (x",
        "np.linalg.slogdet(W)[1] * mask.sum(axis=(1, 2)), (x",
        "mask.sum() * np.linalg.inv(W).T",
        "mask.sum() * np.linalg.solve(W.T, np.eye(len(W)))",
        "    dlog_scale = dnew * (moved + shift) * scale + dvolume * mask\n"
        "    draw = np.concatenate([dshift, dlog_scale * (1 - scale)], axis=1)\n",
        "    dscale = dnew * (moved + shift) + dvolume * mask / scale\n"
        "    draw = np.concatenate([dshift, dscale * scale * (1 - scale)], axis=1)\n",
    ),
]
