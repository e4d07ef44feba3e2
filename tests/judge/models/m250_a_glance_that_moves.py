"""A learned affine glance at an image, read by frozen filters, pooled, and told apart by a multi-class margin."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tests.judge.corpus import right, wrong


def fixed_filters():
    return 0.6 * np.cos(1.3 * np.arange(40.0)).reshape(5, 2, 2, 2)


class Glance(nn.Module):
    def __init__(self):
        super().__init__()
        self.where = nn.Sequential(nn.Flatten(), nn.Linear(60, 3), nn.Tanh(), nn.Linear(3, 6))
        self.filters = nn.Parameter(torch.from_numpy(fixed_filters()))
        self.classes = nn.Linear(5, 4)

    def forward(self, x):
        theta = self.where(x).view(-1, 2, 3)
        grid = F.affine_grid(theta, [len(x), 2, 4, 3], align_corners=False)
        seen = F.grid_sample(x, grid, align_corners=False)
        features = F.relu(F.conv2d(seen, self.filters.to(x.dtype)))
        return self.classes(features.mean(dim=(2, 3)))


def reference(params, x, y):
    return F.multi_margin_loss(torch.func.functional_call(Glance(), params, (x,)), y)


def base_grid(rows, columns):
    bx = (2 * np.arange(columns) + 1) / columns - 1
    by = (2 * np.arange(rows) + 1) / rows - 1
    gx, gy = np.meshgrid(bx, by)
    return np.stack([gx, gy, np.ones_like(gx)], axis=2)


def look_up(x, row, column):
    """Pixels of all channels at integer places, zero beyond the border."""
    height, width = x.shape[2:]
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    r, c = np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)
    picked = x[np.arange(len(x))[:, None, None], :, r, c]
    return picked.transpose(0, 3, 1, 2) * inside[:, None]


def sample(x, grid):
    height, width = x.shape[2:]
    px = ((grid[..., 0] + 1) * width - 1) / 2
    py = ((grid[..., 1] + 1) * height - 1) / 2
    x0, y0 = np.floor(px).astype(int), np.floor(py).astype(int)
    wx, wy = (px - x0)[:, None], (py - y0)[:, None]
    nw, ne = look_up(x, y0, x0), look_up(x, y0, x0 + 1)
    sw, se = look_up(x, y0 + 1, x0), look_up(x, y0 + 1, x0 + 1)
    seen = nw * (1 - wx) * (1 - wy) + ne * wx * (1 - wy) + sw * (1 - wx) * wy + se * wx * wy
    return seen, (wx, wy, nw, ne, sw, se, height, width)


def sample_backward(dseen, cache):
    wx, wy, nw, ne, sw, se, height, width = cache
    dpx = np.sum(dseen * ((ne - nw) * (1 - wy) + (se - sw) * wy), axis=1)
    dpy = np.sum(dseen * ((sw - nw) * (1 - wx) + (se - ne) * wx), axis=1)
    return np.stack([dpx * width / 2, dpy * height / 2], axis=3)


def candidate(params, x, y):
    W1, b1 = params["where.1.weight"], params["where.1.bias"]
    W2, b2 = params["where.3.weight"], params["where.3.bias"]
    V, c = params["classes.weight"], params["classes.bias"]
    filters = fixed_filters()
    n = len(x)
    flat = x.reshape(n, -1)
    h = np.tanh(flat @ W1.T + b1)
    theta = (h @ W2.T + b2).reshape(n, 2, 3)
    base = base_grid(4, 3)
    grid = np.einsum("nkl,ijl->nijk", theta, base)
    seen, cache = sample(x, grid)
    maps = np.zeros((n, 5, 3, 2))
    for u in range(2):
        for v in range(2):
            maps += np.einsum("fc,ncij->nfij", filters[:, :, u, v], seen[:, :, u : u + 3, v : v + 2])
    on = maps > 0
    pooled = (maps * on).mean(axis=(2, 3))
    scores = pooled @ V.T + c
    true = scores[np.arange(n), y]
    margins = np.maximum(0, 1 - true[:, None] + scores)
    margins[np.arange(n), y] = 0
    classes = scores.shape[1]
    loss = margins.sum() / classes / n

    grads = {}
    dscores = (margins > 0).astype(scores.dtype)
    dscores[np.arange(n), y] = -dscores.sum(axis=1)
    dscores /= classes * n
    grads["classes.weight"] = dscores.T @ pooled
    grads["classes.bias"] = dscores.sum(axis=0)
    dpooled = dscores @ V
    dmaps = dpooled[:, :, None, None] * on / (maps.shape[2] * maps.shape[3])
    dseen = np.zeros_like(seen)
    for u in range(2):
        for v in range(2):
            dseen[:, :, u : u + 3, v : v + 2] += np.einsum("fc,nfij->ncij", filters[:, :, u, v], dmaps)
    dgrid = sample_backward(dseen, cache)
    dtheta = np.einsum("nijk,ijl->nkl", dgrid, base).reshape(n, 6)
    grads["where.3.weight"] = dtheta.T @ h
    grads["where.3.bias"] = dtheta.sum(axis=0)
    dh = dtheta @ W2 * (1 - h**2)
    grads["where.1.weight"] = dh.T @ flat
    grads["where.1.bias"] = dh.sum(axis=0)
    return loss, grads


def problem(rng):
    params = {
        "where.1.weight": rng.normal(size=(3, 60)) * 0.12,
        "where.1.bias": rng.normal(size=3) * 0.3,
        "where.3.weight": rng.normal(size=(6, 3)) * 0.2,
        "where.3.bias": np.array([0.8, 0.15, 0.1, -0.1, 0.9, -0.05]),
        "classes.weight": rng.normal(size=(4, 5)) * 0.8,
        "classes.bias": rng.normal(size=4) * 0.2,
    }
    return params, (rng.normal(size=(7, 2, 5, 6)), rng.integers(0, 4, size=7))


WRONG = [
    wrong(
        "pixels_per_unit_of_the_grid_forgotten",
        "missing-derivative|wrong-scale",
        "np.stack([dpx * width / 2, dpy * height / 2], axis=3)",
        "np.stack([dpx, dpy], axis=3)",
    ),
    wrong(
        "height_and_width_exchanged_backwards",
        "wrong-scale|wrong-operand",
        "np.stack([dpx * width / 2, dpy * height / 2], axis=3)",
        "np.stack([dpx * height / 2, dpy * width / 2], axis=3)",
    ),
    wrong(
        "grid_reaches_from_corner_to_corner_in_both",
        "different-function",
        "px = ((grid[..., 0] + 1) * width - 1) / 2",
        "px = (grid[..., 0] + 1) * (width - 1) / 2",
        "py = ((grid[..., 1] + 1) * height - 1) / 2",
        "py = (grid[..., 1] + 1) * (height - 1) / 2",
        "np.stack([dpx * width / 2, dpy * height / 2], axis=3)",
        "np.stack([dpx * (width - 1) / 2, dpy * (height - 1) / 2], axis=3)",
    ),
    wrong(
        "vertical_slope_weighted_by_the_height",
        "wrong-operand",
        "(sw - nw) * (1 - wx) + (se - ne) * wx",
        "(sw - nw) * (1 - wy) + (se - ne) * wy",
    ),
    wrong(
        "upper_minus_lower_pixels",
        "wrong-sign",
        "(sw - nw) * (1 - wx) + (se - ne) * wx",
        "(nw - sw) * (1 - wx) + (ne - se) * wx",
    ),
    wrong(
        "border_repeated_beyond_the_image_in_both",
        "different-function|missing-derivative",
        "picked.transpose(0, 3, 1, 2) * inside[:, None]",
        "picked.transpose(0, 3, 1, 2)",
    ),
    wrong(
        "pool_backwards_without_its_size",
        "wrong-scale|wrong-reduction",
        "dmaps = dpooled[:, :, None, None] * on / (maps.shape[2] * maps.shape[3])",
        "dmaps = dpooled[:, :, None, None] * on",
    ),
    wrong(
        "silent_filters_pass_gradient",
        "missing-derivative",
        "dmaps = dpooled[:, :, None, None] * on /",
        "dmaps = dpooled[:, :, None, None] * np.ones_like(maps) /",
    ),
    wrong(
        "overlapping_windows_overwrite",
        "overwritten",
        "dseen[:, :, u : u + 3, v : v + 2] +=",
        "dseen[:, :, u : u + 3, v : v + 2] =",
    ),
    wrong(
        "true_class_pushed_once_however_many_violate",
        "missing-path|different-function",
        "dscores[np.arange(n), y] = -dscores.sum(axis=1)",
        "dscores[np.arange(n), y] = -(margins > 0).any(axis=1).astype(float)",
    ),
    wrong(
        "margins_divided_by_classes_in_the_cost_only",
        "wrong-scale",
        "dscores /= classes * n",
        "dscores /= n",
    ),
    wrong("tanh_slope_forgotten", "missing-derivative", "dh = dtheta @ W2 * (1 - h**2)", "dh = dtheta @ W2"),
]

TOGETHER = [
    ("pixels_per_unit_of_the_grid_forgotten", "margins_divided_by_classes_in_the_cost_only"),
    ("upper_minus_lower_pixels", "overlapping_windows_overwrite"),
    ("true_class_pushed_once_however_many_violate", "tanh_slope_forgotten"),
    ("border_repeated_beyond_the_image_in_both", "pool_backwards_without_its_size"),
]

RIGHT = [
    right(
        "six_numbers_one_by_one",
        '    dtheta = np.einsum("nijk,ijl->nkl", dgrid, base).reshape(n, 6)\n',
        "    dtheta = np.zeros((n, 6))\n"
        "    for k in range(2):\n"
        "        for j in range(3):\n"
        "            dtheta[:, 3 * k + j] = np.sum(dgrid[..., k] * base[..., j], axis=(1, 2))\n",
        "    dpx = np.sum(dseen * ((ne - nw) * (1 - wy) + (se - sw) * wy), axis=1)\n",
        "    top, bottom = ne - nw, se - sw\n    dpx = np.sum(dseen * (top + wy * (bottom - top)), axis=1)\n",
    ),
]
