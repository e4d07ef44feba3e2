"""Shape from shading: a height map whose slopes are lit from several sides, matt and glossy; pictures with shadows."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, images, lights):
    z, albedo = params["z"], torch.sigmoid(params["albedo"])
    ambient, gloss = params["sky"][0], torch.exp(params["sky"][1])
    p = z[:-1, 1:] - z[:-1, :-1]
    q = z[1:, :-1] - z[:-1, :-1]
    normal = torch.stack([-p, -q, torch.ones_like(p)])
    normal = normal / normal.norm(dim=0)
    lights = lights / lights.norm(dim=1, keepdim=True)
    half = lights + torch.tensor([0.0, 0.0, 1.0], dtype=z.dtype)
    half = half / half.norm(dim=1, keepdim=True)
    matt = torch.relu(torch.einsum("lc,cij->lij", lights, normal))
    glossy = torch.relu(torch.einsum("lc,cij->lij", half, normal)) ** 6
    error = albedo * (ambient + matt) + gloss * glossy - images
    lap = z[1:-1, 2:] + z[1:-1, :-2] + z[2:, 1:-1] + z[:-2, 1:-1] - 4 * z[1:-1, 1:-1]
    edges = ((albedo[1:] - albedo[:-1]) ** 2).sum() + ((albedo[:, 1:] - albedo[:, :-1]) ** 2).sum()
    return {
        "pictures": torch.sqrt(error**2 + 0.3**2).mean(),
        "bending": 0.05 * (lap**2).mean(),
        "paint": 0.4 * edges,
    }


def candidate(params, images, lights):
    z = params["z"]
    ambient = params["sky"][0]
    gloss = np.exp(params["sky"][1])
    eps, shine, bend, paint = 0.3, 6, 0.05, 0.4
    L, H, W = images.shape

    alb = 1 / (1 + np.exp(-params["albedo"]))
    p = z[:H, 1:] - z[:H, :W]
    q = z[1:, :W] - z[:H, :W]
    length = np.sqrt(p**2 + q**2 + 1)
    nx, ny, nz = -p / length, -q / length, 1 / length

    total = 0.0
    kept = []
    for s in range(L):
        lx, ly, lz = lights[s] / np.linalg.norm(lights[s])
        h = np.array([lx, ly, lz + 1])
        hx, hy, hz = h / np.linalg.norm(h)
        dot = lx * nx + ly * ny + lz * nz
        hdot = hx * nx + hy * ny + hz * nz
        matt = np.maximum(dot, 0)
        spec = np.maximum(hdot, 0)
        err = alb * (ambient + matt) + gloss * spec**shine - images[s]
        root = np.sqrt(err**2 + eps**2)
        total += root.sum()
        kept.append((lx, ly, lz, hx, hy, hz, dot, matt, spec, err, root))
    lap = z[1:-1, 2:] + z[1:-1, :-2] + z[2:, 1:-1] + z[:-2, 1:-1] - 4 * z[1:-1, 1:-1]
    ax = alb[:, 1:] - alb[:, :-1]
    ay = alb[1:, :] - alb[:-1, :]
    loss = total / images.size + bend * np.mean(lap**2) + paint * (np.sum(ax**2) + np.sum(ay**2))

    d_alb = np.zeros_like(alb)
    d_nx, d_ny, d_nz = np.zeros_like(p), np.zeros_like(p), np.zeros_like(p)
    d_sky = np.zeros(2)
    for lx, ly, lz, hx, hy, hz, dot, matt, spec, err, root in kept:
        d = err / root / images.size
        d_alb += d * (ambient + matt)
        d_sky[0] += np.sum(d * alb)
        d_sky[1] += np.sum(d * spec**shine) * gloss
        d_dot = d * alb * (dot > 0)
        d_hdot = d * gloss * shine * spec ** (shine - 1)
        d_nx += d_dot * lx + d_hdot * hx
        d_ny += d_dot * ly + d_hdot * hy
        d_nz += d_dot * lz + d_hdot * hz
    inner = d_nx * nx + d_ny * ny + d_nz * nz
    d_p = -(d_nx - nx * inner) / length
    d_q = -(d_ny - ny * inner) / length

    d_z = np.zeros_like(z)
    d_z[:H, 1:] += d_p
    d_z[:H, :W] -= d_p
    d_z[1:, :W] += d_q
    d_z[:H, :W] -= d_q
    d_lap = 2 * bend * lap / lap.size
    d_z[1:-1, 2:] += d_lap
    d_z[1:-1, :-2] += d_lap
    d_z[2:, 1:-1] += d_lap
    d_z[:-2, 1:-1] += d_lap
    d_z[1:-1, 1:-1] -= 4 * d_lap

    d_alb[:, 1:] += 2 * paint * ax
    d_alb[:, :-1] -= 2 * paint * ax
    d_alb[1:, :] += 2 * paint * ay
    d_alb[:-1, :] -= 2 * paint * ay
    d_alb *= alb * (1 - alb)
    return loss, {"z": d_z, "albedo": d_alb, "sky": d_sky}


def problem(rng):
    pictures, rows, columns = 5, 4, 5
    params = {
        "z": rng.normal(size=(rows + 1, columns + 1)) * 0.5,
        "albedo": rng.normal(size=(rows, columns)),
        "sky": np.array([0.25, -0.6]),
    }
    lights = np.column_stack([rng.normal(size=(pictures, 2)), rng.uniform(0.4, 1.0, size=pictures)])
    return params, (rng.uniform(0.1, 1.1, size=(pictures, rows, columns)), lights)


WRONG = [
    wrong(
        "shadows_forgotten_backwards",
        "missing-derivative",
        "d_dot = d * alb * (dot > 0)",
        "d_dot = d * alb",
    ),
    wrong(
        "shine_keeps_its_power",
        "different-function|wrong-operand|derivative-at-wrong-point",
        "shine * spec ** (shine - 1)",
        "shine * spec**shine",
    ),
    wrong(
        "factor_of_the_power_forgotten",
        "wrong-scale|missing-derivative|different-function",
        "d_hdot = d * gloss * shine * spec ** (shine - 1)",
        "d_hdot = d * gloss * spec ** (shine - 1)",
    ),
    wrong(
        "errors_not_divided_by_their_root",
        "missing-derivative|different-function|wrong-operand",
        "d = err / root / images.size",
        "d = err / images.size",
    ),
    wrong(
        "normal_not_projected_off_itself",
        "missing-path",
        "    d_p = -(d_nx - nx * inner) / length\n    d_q = -(d_ny - ny * inner) / length\n",
        "    d_p = -d_nx / length\n    d_q = -d_ny / length\n",
    ),
    wrong(
        "upward_part_forgotten_in_the_projection",
        "missing-path",
        "inner = d_nx * nx + d_ny * ny + d_nz * nz",
        "inner = d_nx * nx + d_ny * ny",
    ),
    wrong(
        "left_neighbour_with_the_sign_of_the_right",
        "wrong-sign",
        "d_z[:H, :W] -= d_p",
        "d_z[:H, :W] += d_p",
    ),
    wrong(
        "lower_slope_overwrites_the_heights",
        "overwritten",
        "d_z[1:, :W] += d_q",
        "d_z[1:, :W] = d_q",
    ),
    wrong(
        "middle_of_the_laplacian_counted_once",
        "wrong-scale|different-function",
        "d_z[1:-1, 1:-1] -= 4 * d_lap",
        "d_z[1:-1, 1:-1] -= d_lap",
    ),
    wrong(
        "bending_averaged_over_the_whole_map",
        "wrong-reduction|wrong-scale|wrong-term-weight",
        "d_lap = 2 * bend * lap / lap.size",
        "d_lap = 2 * bend * lap / z.size",
    ),
    wrong(
        "paint_of_the_rows_not_felt_above",
        "missing-path",
        "    d_alb[:-1, :] -= 2 * paint * ay\n",
        "",
    ),
    wrong(
        "gloss_without_the_slope_of_exp",
        "missing-derivative",
        "d_sky[1] += np.sum(d * spec**shine) * gloss",
        "d_sky[1] += np.sum(d * spec**shine)",
    ),
    wrong(
        "matt_only_by_absolute_light_in_both",
        "different-function",
        "matt = np.maximum(dot, 0)",
        "matt = np.abs(dot)",
        "d_dot = d * alb * (dot > 0)",
        "d_dot = d * alb * np.sign(dot)",
    ),
    wrong(
        "phong_power_of_four_in_both",
        "different-function|wrong-hyperparameter",
        "eps, shine, bend, paint = 0.3, 6, 0.05, 0.4",
        "eps, shine, bend, paint = 0.3, 4, 0.05, 0.4",
    ),
]

TOGETHER = [
    ("shadows_forgotten_backwards", "gloss_without_the_slope_of_exp"),
    ("factor_of_the_power_forgotten", "paint_of_the_rows_not_felt_above"),
    ("errors_not_divided_by_their_root", "middle_of_the_laplacian_counted_once"),
    ("normal_not_projected_off_itself", "gloss_without_the_slope_of_exp"),
    ("upward_part_forgotten_in_the_projection", "bending_averaged_over_the_whole_map"),
    ("left_neighbour_with_the_sign_of_the_right", "paint_of_the_rows_not_felt_above"),
    ("matt_only_by_absolute_light_in_both", "factor_of_the_power_forgotten"),
    ("shine_keeps_its_power", "lower_slope_overwrites_the_heights"),
    ("shadows_forgotten_backwards", "paint_of_the_rows_not_felt_above", "gloss_without_the_slope_of_exp"),
    (
        "factor_of_the_power_forgotten",
        "middle_of_the_laplacian_counted_once",
        "upward_part_forgotten_in_the_projection",
    ),
]

RIGHT = [
    right(
        "slopes_without_a_unit_normal",
        "    d_p = -(d_nx - nx * inner) / length\n    d_q = -(d_ny - ny * inner) / length\n",
        "    d_p = -d_nx / length - p / length**2 * inner\n    d_q = -d_ny / length - q / length**2 * inner\n",
        "    d_lap = 2 * bend * lap / lap.size\n",
        "    d_lap = np.zeros_like(z)\n    d_lap[1:-1, 1:-1] = 2 * bend * lap / lap.size\n",
        "    d_z[1:-1, 2:] += d_lap\n"
        "    d_z[1:-1, :-2] += d_lap\n"
        "    d_z[2:, 1:-1] += d_lap\n"
        "    d_z[:-2, 1:-1] += d_lap\n"
        "    d_z[1:-1, 1:-1] -= 4 * d_lap\n",
        "    for axis in (0, 1):\n"
        "        d_z += np.roll(d_lap, 1, axis) + np.roll(d_lap, -1, axis) - 2 * d_lap\n",
    ),
    right(
        "divided_at_the_end",
        "d = err / root / images.size",
        "d = err / np.hypot(err, eps)",
        "    inner = d_nx * nx",
        "    d_alb /= images.size\n"
        "    d_sky /= images.size\n"
        "    for each in (d_nx, d_ny, d_nz):\n"
        "        each /= images.size\n"
        "    inner = d_nx * nx",
    ),
]
