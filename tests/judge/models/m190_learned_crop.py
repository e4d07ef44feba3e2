"""A learned crop: an affine grid from a small network, bilinear sampling, a learned template with total variation."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x):
    n = len(x)
    features = torch.einsum("oc,nchw->nohw", params["mix"], x)
    h = F.relu(x.flatten(1) @ params["W1"] + params["b1"])
    theta = (h @ params["W2"] + params["b2"]).unflatten(1, (2, 3))
    template = params["template"]
    grid = F.affine_grid(theta, (n, 2, *template.shape[1:]), align_corners=True)
    crop = F.grid_sample(features, grid, align_corners=True)
    down = template[:, 1:, :-1] - template[:, :-1, :-1]
    across = template[:, :-1, 1:] - template[:, :-1, :-1]
    return {
        "misfit": 0.5 * ((crop - template) ** 2).sum() / n,
        "variation": 0.3 * torch.sqrt(down**2 + across**2 + 1e-3).sum(),
    }


def base_grid(rows, columns):
    yy, xx = np.meshgrid(np.linspace(-1, 1, rows), np.linspace(-1, 1, columns), indexing="ij")
    return np.stack([xx.ravel(), yy.ravel(), np.ones(rows * columns)])


def look(image, row, column):
    """The pixels at these places of every image, zero outside: (n, channels, points)."""
    n, _, height, width = image.shape
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    r, c = np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)
    values = image[np.arange(n)[:, None], :, r, c].transpose(0, 2, 1)
    return values * inside[:, None, :]


def put(dimage, row, column, values):
    n, _, height, width = dimage.shape
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    r, c = np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)
    values = (values * inside[:, None, :]).transpose(0, 2, 1)
    np.add.at(dimage, (np.arange(n)[:, None], slice(None), r, c), values)


def sample(image, xs, ys):
    height, width = image.shape[2:]
    ix = (xs + 1) * (width - 1) / 2
    iy = (ys + 1) * (height - 1) / 2
    x0, y0 = np.floor(ix).astype(int), np.floor(iy).astype(int)
    x1, y1 = x0 + 1, y0 + 1
    corners = look(image, y0, x0), look(image, y0, x1), look(image, y1, x0), look(image, y1, x1)
    u, v = (ix - x0)[:, None], (iy - y0)[:, None]
    a, b, c, d = corners
    out = (1 - v) * ((1 - u) * a + u * b) + v * ((1 - u) * c + u * d)
    return out, (x0, x1, y0, y1, u, v, corners)


def sample_backward(dout, image, cache):
    height, width = image.shape[2:]
    x0, x1, y0, y1, u, v, (a, b, c, d) = cache
    dimage = np.zeros_like(image)
    put(dimage, y0, x0, dout * (1 - v) * (1 - u))
    put(dimage, y0, x1, dout * (1 - v) * u)
    put(dimage, y1, x0, dout * v * (1 - u))
    put(dimage, y1, x1, dout * v * u)
    dix = (dout * ((1 - v) * (b - a) + v * (d - c))).sum(axis=1)
    diy = (dout * ((1 - u) * (c - a) + u * (d - b))).sum(axis=1)
    return dimage, dix * (width - 1) / 2, diy * (height - 1) / 2


def variation(image, eps=1e-3):
    here = image[:, :-1, :-1]
    down, across = image[:, 1:, :-1] - here, image[:, :-1, 1:] - here
    size = np.sqrt(down**2 + across**2 + eps)
    grad = np.zeros_like(image)
    grad[:, :-1, :-1] -= (down + across) / size
    grad[:, 1:, :-1] += down / size
    grad[:, :-1, 1:] += across / size
    return size.sum(), grad


def candidate(params, x):
    mix, W1, b1, W2, b2, template = (params[name] for name in ("mix", "W1", "b1", "W2", "b2", "template"))
    n = len(x)
    weight = 0.3
    channels, rows, columns = template.shape
    features = np.einsum("oc,nchw->nohw", mix, x)
    flat = x.reshape(n, -1)
    a1 = flat @ W1 + b1
    h = np.maximum(a1, 0)
    theta = (h @ W2 + b2).reshape(n, 2, 3)
    base = base_grid(rows, columns)
    places = theta @ base
    sampled, cache = sample(features, places[:, 0], places[:, 1])
    diff = sampled - template.reshape(channels, -1)
    tv, dtv = variation(template)
    loss = 0.5 * np.sum(diff**2) / n + weight * tv

    dsampled = diff / n
    dtemplate = -dsampled.sum(axis=0).reshape(template.shape) + weight * dtv
    dfeatures, dxs, dys = sample_backward(dsampled, features, cache)
    dmix = np.einsum("nohw,nchw->oc", dfeatures, x)
    dplaces = np.stack([dxs, dys], axis=1)
    dtheta = (dplaces @ base.T).reshape(n, 6)
    dW2 = h.T @ dtheta
    db2 = dtheta.sum(axis=0)
    da1 = (dtheta @ W2.T) * (a1 > 0)
    dW1 = flat.T @ da1
    db1 = da1.sum(axis=0)
    return loss, {"mix": dmix, "W1": dW1, "b1": db1, "W2": dW2, "b2": db2, "template": dtemplate}


def problem(rng):
    n, colours, height, width, hidden = 4, 3, 5, 6, 7
    params = {
        "mix": rng.normal(size=(2, colours)),
        "W1": rng.normal(size=(colours * height * width, hidden)) * 0.15,
        "b1": rng.normal(size=hidden) * 0.5,
        "W2": rng.normal(size=(hidden, 6)) * 0.15,
        "b2": np.array([0.8, 0.05, 0.02, -0.07, 0.9, 0.03]) + rng.normal(size=6) * 0.05,
        "template": rng.normal(size=(2, 4, 7)),
    }
    return params, (rng.normal(size=(n, colours, height, width)),)


WRONG = [
    wrong(
        "pixels_of_the_grid_not_scaled_back",
        "missing-derivative|wrong-scale",
        "return dimage, dix * (width - 1) / 2, diy * (height - 1) / 2",
        "return dimage, dix, diy",
    ),
    wrong(
        "height_and_width_swapped_backwards",
        "wrong-scale|wrong-operand",
        "return dimage, dix * (width - 1) / 2, diy * (height - 1) / 2",
        "return dimage, dix * (height - 1) / 2, diy * (width - 1) / 2",
    ),
    wrong(
        "rows_of_theta_swapped",
        "wrong-operand|flipped",
        "dplaces = np.stack([dxs, dys], axis=1)",
        "dplaces = np.stack([dys, dxs], axis=1)",
    ),
    wrong(
        "pixels_read_twice_overwrite",
        "overwritten",
        "np.add.at(dimage, (np.arange(n)[:, None], slice(None), r, c), values)",
        "dimage[np.arange(n)[:, None], :, r, c] += values",
    ),
    wrong(
        "only_the_nearest_corner_gets_a_gradient",
        "missing-path",
        "    put(dimage, y0, x1, dout * (1 - v) * u)\n"
        "    put(dimage, y1, x0, dout * v * (1 - u))\n"
        "    put(dimage, y1, x1, dout * v * u)\n",
        "",
    ),
    wrong(
        "corner_copied_and_not_changed",
        "wrong-operand",
        "put(dimage, y1, x0, dout * v * (1 - u))",
        "put(dimage, y0, x1, dout * v * (1 - u))",
    ),
    wrong(
        "horizontal_slope_without_the_lower_pair",
        "missing-path",
        "dix = (dout * ((1 - v) * (b - a) + v * (d - c))).sum(axis=1)",
        "dix = (dout * (1 - v) * (b - a)).sum(axis=1)",
    ),
    wrong(
        "weights_of_the_other_direction",
        "wrong-operand",
        "diy = (dout * ((1 - u) * (c - a) + u * (d - b))).sum(axis=1)",
        "diy = (dout * ((1 - v) * (c - a) + v * (d - b))).sum(axis=1)",
    ),
    wrong(
        "slopes_of_the_template_without_its_neighbours",
        "missing-path",
        "    grad[:, 1:, :-1] += down / size\n    grad[:, :-1, 1:] += across / size\n",
        "",
    ),
    wrong(
        "gradient_of_the_squared_variation",
        "missing-derivative|different-function",
        "    grad[:, :-1, :-1] -= (down + across) / size\n"
        "    grad[:, 1:, :-1] += down / size\n"
        "    grad[:, :-1, 1:] += across / size\n",
        "    grad[:, :-1, :-1] -= down + across\n    grad[:, 1:, :-1] += down\n    grad[:, :-1, 1:] += across\n",
    ),
    wrong(
        "template_pulled_away_from_the_crops",
        "wrong-sign",
        "dtemplate = -dsampled.sum(axis=0)",
        "dtemplate = dsampled.sum(axis=0)",
    ),
    wrong(
        "corners_not_aligned_in_both",
        "different-function",
        "    ix = (xs + 1) * (width - 1) / 2\n    iy = (ys + 1) * (height - 1) / 2\n",
        "    ix = ((xs + 1) * width - 1) / 2\n    iy = ((ys + 1) * height - 1) / 2\n",
        "return dimage, dix * (width - 1) / 2, diy * (height - 1) / 2",
        "return dimage, dix * width / 2, diy * height / 2",
    ),
]

TOGETHER = [
    ("pixels_of_the_grid_not_scaled_back", "slopes_of_the_template_without_its_neighbours"),
    ("rows_of_theta_swapped", "pixels_read_twice_overwrite"),
    ("corner_copied_and_not_changed", "gradient_of_the_squared_variation"),
    ("horizontal_slope_without_the_lower_pair", "template_pulled_away_from_the_crops"),
]

RIGHT = [
    right(
        "point_by_point_into_the_image",
        "    values = (values * inside[:, None, :]).transpose(0, 2, 1)\n"
        "    np.add.at(dimage, (np.arange(n)[:, None], slice(None), r, c), values)\n",
        "    for i in range(n):\n"
        "        for k in range(row.shape[1]):\n"
        "            if inside[i, k]:\n"
        "                dimage[i, :, r[i, k], c[i, k]] += values[i, :, k]\n",
        "dix = (dout * ((1 - v) * (b - a) + v * (d - c))).sum(axis=1)",
        "dix = np.sum(dout * (b - a + v * (a - b - c + d)), axis=1)",
    ),
]
