"""Images registered by one affine map, sampled bilinearly up to their borders; robust error of matched intensities."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, moving, fixed, weight):
    n, rows, columns = moving.shape
    theta = params["theta"].expand(n, 2, 3)
    grid = F.affine_grid(theta, [n, 1, rows, columns], align_corners=False)
    warped = F.grid_sample(
        moving.unsqueeze(1), grid, mode="bilinear", padding_mode="border", align_corners=False
    ).squeeze(1)
    error = params["log_gain"].exp() * warped + params["offset"] - fixed
    match = (weight * torch.sqrt(error**2 + 0.04)).sum() / weight.sum()
    identity = torch.eye(2, 3, dtype=theta.dtype)
    return {"match": match, "rigidity": 0.4 * F.mse_loss(params["theta"], identity, reduction="sum")}


def candidate(params, moving, fixed, weight):
    theta, gain, offset = params["theta"], np.exp(params["log_gain"]), params["offset"]
    H, W = moving.shape[1:]

    # centres of the pixels, from -1 to 1 across the image
    v, u = np.meshgrid((2 * np.arange(H) + 1) / H - 1, (2 * np.arange(W) + 1) / W - 1, indexing="ij")
    base = np.stack([u, v, np.ones((H, W))], axis=-1)
    x, y = np.moveaxis(base @ theta.T, -1, 0)
    px = ((x + 1) * W - 1) / 2
    py = ((y + 1) * H - 1) / 2
    inside_x = (px > 0) & (px < W - 1)
    inside_y = (py > 0) & (py < H - 1)
    px, py = np.clip(px, 0, W - 1), np.clip(py, 0, H - 1)
    x0, y0 = np.floor(px).astype(int), np.floor(py).astype(int)
    x1, y1 = np.minimum(x0 + 1, W - 1), np.minimum(y0 + 1, H - 1)
    fx, fy = px - x0, py - y0

    nw, ne = moving[:, y0, x0], moving[:, y0, x1]
    sw, se = moving[:, y1, x0], moving[:, y1, x1]
    upper = (1 - fx) * nw + fx * ne
    lower = (1 - fx) * sw + fx * se
    warped = (1 - fy) * upper + fy * lower

    e = gain * warped + offset - fixed
    root = np.sqrt(e**2 + 0.04)
    drift = theta - np.eye(2, 3)
    loss = np.sum(weight * root) / weight.sum() + 0.4 * np.sum(drift**2)

    de = weight * e / root / weight.sum()
    doffset = de.sum()
    dgain = np.sum(de * warped)
    dwarped = gain * de
    slope_x = (1 - fy) * (ne - nw) + fy * (se - sw)
    slope_y = lower - upper
    dpx = np.sum(dwarped * slope_x, axis=0) * inside_x
    dpy = np.sum(dwarped * slope_y, axis=0) * inside_y
    dx, dy = dpx * W / 2, dpy * H / 2
    dtheta = np.array([[np.sum(d * base[..., k]) for k in range(3)] for d in (dx, dy)])
    dtheta = dtheta + 0.8 * drift
    return loss, {"theta": dtheta, "log_gain": dgain * gain, "offset": doffset}


def problem(rng):
    params = {
        "theta": np.array([[0.96, -0.21, -0.26], [0.17, 1.08, -0.23]]),
        "log_gain": np.array(0.35),
        "offset": np.array(-0.2),
    }
    moving = rng.normal(size=(4, 7, 8))
    fixed = moving + 0.5 * rng.normal(size=(4, 7, 8)) + 0.2
    return params, (moving, fixed, rng.uniform(0.2, 1.8, size=(4, 7, 8)))


WRONG = [
    wrong(
        "slopes_exchanged",
        "wrong-operand|wrong-axis",
        "np.sum(dwarped * slope_x, axis=0)",
        "np.sum(dwarped * slope_y, axis=0)",
        "np.sum(dwarped * slope_y, axis=0) * inside_y",
        "np.sum(dwarped * slope_x, axis=0) * inside_y",
    ),
    wrong("vertical_slope_sign", "wrong-sign", "slope_y = lower - upper", "slope_y = upper - lower"),
    wrong(
        "slope_of_the_upper_row_only",
        "missing-path",
        "slope_x = (1 - fy) * (ne - nw) + fy * (se - sw)",
        "slope_x = (1 - fy) * (ne - nw)",
    ),
    wrong(
        "slope_of_the_image_before_warping",
        "wrong-operand|derivative-at-wrong-point|different-function",
        "slope_y = lower - upper",
        "slope_y = np.gradient(moving, axis=1)",
    ),
    wrong(
        "central_differences_of_the_warped_image",
        "different-function|wrong-operand|derivative-at-wrong-point",
        "slope_y = lower - upper",
        "slope_y = np.gradient(warped, axis=1)",
    ),
    wrong("borders_move_as_well", "missing-derivative", "slope_x, axis=0) * inside_x", "slope_x, axis=0)"),
    wrong(
        "half_the_size_forgotten",
        "wrong-scale|missing-derivative",
        "dx, dy = dpx * W / 2, dpy * H / 2",
        "dx, dy = dpx, dpy",
    ),
    wrong(
        "corners_as_if_aligned",
        "wrong-scale|different-function|wrong-operand",
        "dx, dy = dpx * W / 2, dpy * H / 2",
        "dx, dy = dpx * (W - 1) / 2, dpy * (H - 1) / 2",
    ),
    wrong(
        "coordinates_after_the_map",
        "wrong-operand",
        "np.sum(d * base[..., k])",
        "np.sum(d * np.stack([x, y, np.ones((H, W))])[k])",
    ),
    wrong(
        "row_and_column_for_u_and_v",
        "wrong-operand|flipped",
        "np.sum(d * base[..., k])",
        "np.sum(d * base[..., (1, 0, 2)[k]])",
    ),
    wrong(
        "first_image_only",
        "one-sample-only",
        "dpy = np.sum(dwarped * slope_y, axis=0)",
        "dpy = (dwarped * slope_y)[0]",
    ),
    wrong(
        "averaged_over_images",
        "wrong-scale|wrong-reduction",
        "dpx = np.sum(dwarped * slope_x, axis=0)",
        "dpx = np.mean(dwarped * slope_x, axis=0)",
    ),
    wrong(
        "root_forgotten",
        "missing-derivative|different-function",
        "de = weight * e / root / weight.sum()",
        "de = weight * e / weight.sum()",
    ),
    wrong(
        "weights_forgotten",
        "missing-derivative|wrong-operand|different-function",
        "de = weight * e / root / weight.sum()",
        "de = e / root / e.size",
    ),
    wrong("gain_not_through_its_logarithm", "missing-derivative", '"log_gain": dgain * gain', '"log_gain": dgain'),
    wrong("gain_from_the_fixed_image", "wrong-operand", "np.sum(de * warped)", "np.sum(de * fixed)"),
    wrong("rigidity_not_doubled", "wrong-term-weight", "dtheta + 0.8 * drift", "dtheta + 0.4 * drift"),
    wrong(
        "translation_not_held_back",
        "wrong-part-penalised",
        "dtheta + 0.8 * drift",
        "dtheta + 0.8 * drift * np.array([1, 1, 0])",
    ),
    wrong(
        "squared_error_in_both",
        "different-function",
        "loss = np.sum(weight * root)",
        "loss = np.sum(weight * 0.5 * e**2)",
        "de = weight * e / root / weight.sum()",
        "de = weight * e / weight.sum()",
    ),
    wrong("cost_divided_by_the_size", "wrong-loss", "np.sum(weight * root) / weight.sum()", "np.mean(weight * root)"),
]

TOGETHER = [
    ("vertical_slope_sign", "gain_not_through_its_logarithm"),
    ("half_the_size_forgotten", "root_forgotten"),
    ("slope_of_the_upper_row_only", "gain_from_the_fixed_image"),
    ("averaged_over_images", "rigidity_not_doubled"),
    ("row_and_column_for_u_and_v", "weights_forgotten"),
    ("first_image_only", "root_forgotten", "translation_not_held_back"),
]

RIGHT = [
    right(
        "by_the_four_corners",
        "slope_y = lower - upper",
        "slope_y = (1 - fx) * (sw - nw) + fx * (se - ne)",
    ),
    right(
        "image_by_image",
        "    dpx = np.sum(dwarped * slope_x, axis=0) * inside_x\n",
        "    dpx = np.zeros((H, W))\n    for back, slope in zip(dwarped, slope_x):\n"
        "        dpx += np.where(inside_x, back * slope, 0)\n",
    ),
    right(
        "map_by_einsum",
        "dtheta = np.array([[np.sum(d * base[..., k]) for k in range(3)] for d in (dx, dy)])",
        'dtheta = np.einsum("chw,hwk->ck", np.stack([dx, dy]), base)',
    ),
    right(
        "error_scaled_first",
        "de = weight * e / root / weight.sum()",
        "de = (weight / weight.sum()) * np.sin(np.arctan2(e, 0.2))",
    ),
]
