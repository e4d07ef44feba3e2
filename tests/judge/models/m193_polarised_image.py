"""A polarised image from a few visibilities: log brightness, a bounded fraction, an angle, total variation."""

import math

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, uv, seen, sigma):
    light = torch.exp(params["log_light"])
    polarised = light * (0.5 + torch.atan(params["fraction"]) / math.pi)
    Q, U = polarised * torch.cos(2 * params["angle"]), polarised * torch.sin(2 * params["angle"])
    rows, columns = light.shape
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    phase = 2 * math.pi * (uv[:, :1] * x.flatten() + uv[:, 1:] * y.flatten())
    cos, sin = torch.cos(phase), torch.sin(phase)
    light, flat_Q, flat_U = light.flatten(), Q.flatten(), U.flatten()
    total = torch.stack([cos @ light, -(sin @ light)], dim=1)
    linear = torch.stack([cos @ flat_Q + sin @ flat_U, cos @ flat_U - sin @ flat_Q], dim=1)
    weight = 1 / (2 * len(uv) * sigma[:, None] ** 2)
    wide_Q, wide_U = (torch.nn.functional.pad(a, (0, 1, 0, 1)) for a in (Q, U))
    steps = 1e-2
    for wide, a in ((wide_Q, Q), (wide_U, U)):
        steps = steps + (wide[1:, :-1] - a) ** 2 + (wide[:-1, 1:] - a) ** 2
    return {
        "total": (weight * (total - seen[:, :2]) ** 2).sum(),
        "linear": (weight * (linear - seen[:, 2:]) ** 2).sum(),
        "variation": 0.4 * torch.sqrt(steps).sum(),
    }


def fourier(uv, rows, columns):
    y, x = np.mgrid[:rows, :columns]
    return np.exp(-2j * np.pi * (np.outer(uv[:, 0], x.ravel()) + np.outer(uv[:, 1], y.ravel())))


def chi_square(A, image, vis, sigma):
    return np.sum(np.abs((A @ image.ravel() - vis) / sigma) ** 2) / (2 * len(vis))


def chi_square_grad(A, image, vis, sigma):
    """The complex g with d(chi square) = Re(conj(g) d(image))."""
    residual = (A @ image.ravel() - vis) / sigma**2
    return (A.conj().T @ residual / len(vis)).reshape(image.shape)


def variation(P, eps=1e-2):
    wide = np.pad(P, ((0, 1), (0, 1)))
    below, beside = wide[1:, :-1], wide[:-1, 1:]
    return np.sum(np.sqrt(np.abs(below - P) ** 2 + np.abs(beside - P) ** 2 + eps))


def variation_grad(P, eps=1e-2):
    wide = np.pad(P, 1)
    down, up = wide[2:, 1:-1], wide[:-2, 1:-1]
    right_, left = wide[1:-1, 2:], wide[1:-1, :-2]
    up_right = wide[:-2, 2:]
    left_down = wide[2:, :-2]
    here = np.sqrt(np.abs(down - P) ** 2 + np.abs(right_ - P) ** 2 + eps)
    from_up = np.sqrt(np.abs(P - up) ** 2 + np.abs(up_right - up) ** 2 + eps)
    from_left = np.sqrt(np.abs(P - left) ** 2 + np.abs(left_down - left) ** 2 + eps)
    not_first_row = (np.arange(P.shape[0]) > 0)[:, None]
    not_first_column = (np.arange(P.shape[1]) > 0)[None, :]
    g = (2 * P - down - right_) / here
    g = g + not_first_row * (P - up) / from_up
    g = g + not_first_column * (P - left) / from_left
    return g


def candidate(params, uv, seen, sigma):
    log_light, fraction, angle = params["log_light"], params["fraction"], params["angle"]
    strength = 0.4
    light = np.exp(log_light)
    m = 0.5 + np.arctan(fraction) / np.pi
    turn = np.exp(2j * angle)
    P = light * m * turn
    A = fourier(uv, *light.shape)
    vis_total, vis_linear = seen[:, 0] + 1j * seen[:, 1], seen[:, 2] + 1j * seen[:, 3]
    misfit = chi_square(A, light, vis_total, sigma) + chi_square(A, P, vis_linear, sigma)
    loss = misfit + strength * variation(P)

    dlight = np.real(chi_square_grad(A, light, vis_total, sigma))
    g = np.conj(chi_square_grad(A, P, vis_linear, sigma) + strength * variation_grad(P))
    dlight += np.real(g * m * turn)
    dm = np.real(g * light * turn)
    dangle = np.real(g * 2j * P)
    dlog_light = dlight * light
    dfraction = dm / (np.pi * (1 + fraction**2))
    return loss, {"log_light": dlog_light, "fraction": dfraction, "angle": dangle}


def problem(rng):
    rows, columns, baselines = 4, 5, 7
    params = {
        "log_light": rng.normal(size=(rows, columns)) * 0.6,
        "fraction": rng.normal(size=(rows, columns)),
        "angle": rng.uniform(-1.5, 1.5, size=(rows, columns)),
    }
    uv = rng.uniform(-0.45, 0.45, size=(baselines, 2))
    return params, (uv, rng.normal(size=(baselines, 4)) * 3, rng.uniform(0.5, 2.0, size=baselines))


WRONG = [
    wrong(
        "angle_taken_for_the_phase",
        "wrong-scale|missing-derivative",
        "dangle = np.real(g * 2j * P)",
        "dangle = np.real(g * 1j * P)",
    ),
    wrong(
        "neighbours_before_the_first_row_and_column",
        "different-function|wrong-operand",
        "    not_first_row = (np.arange(P.shape[0]) > 0)[:, None]\n"
        "    not_first_column = (np.arange(P.shape[1]) > 0)[None, :]\n",
        "    not_first_row = not_first_column = 1.0\n",
    ),
    wrong(
        "diagonal_neighbour_copied_and_not_changed",
        "wrong-operand",
        "left_down = wide[2:, :-2]",
        "left_down = wide[:-2, 2:]",
    ),
    wrong(
        "neighbours_roots_forgotten",
        "missing-path",
        "    g = g + not_first_row * (P - up) / from_up\n    g = g + not_first_column * (P - left) / from_left\n",
        "",
    ),
    wrong(
        "polarised_share_replaces_that_of_the_total",
        "overwritten|missing-path|wrong-term-weight",
        "dlight += np.real(g * m * turn)",
        "dlight = np.real(g * m * turn)",
    ),
    wrong(
        "polarised_light_does_not_reach_the_brightness",
        "missing-path",
        "    dlight += np.real(g * m * turn)\n",
        "",
    ),
    wrong(
        "logarithm_forgotten",
        "missing-derivative",
        "dlog_light = dlight * light",
        "dlog_light = dlight",
    ),
    wrong(
        "bound_of_the_fraction_forgotten",
        "missing-derivative",
        "dfraction = dm / (np.pi * (1 + fraction**2))",
        "dfraction = dm",
    ),
    wrong(
        "transposed_but_not_conjugated",
        "wrong-operand|wrong-sign",
        "A.conj().T @ residual",
        "A.T @ residual",
    ),
    wrong(
        "errors_weighted_once_only",
        "missing-derivative|wrong-operand",
        "vis) / sigma**2",
        "vis) / sigma",
    ),
    wrong(
        "half_kept_in_the_chi_square",
        "wrong-scale|wrong-term-weight",
        "residual / len(vis)",
        "residual / (2 * len(vis))",
    ),
    wrong(
        "variation_of_the_other_sign",
        "wrong-sign|wrong-term-weight",
        "+ strength * variation_grad(P))",
        "- strength * variation_grad(P))",
    ),
]

TOGETHER = [
    ("angle_taken_for_the_phase", "diagonal_neighbour_copied_and_not_changed"),
    ("polarised_share_replaces_that_of_the_total", "neighbours_before_the_first_row_and_column"),
    ("logarithm_forgotten", "half_kept_in_the_chi_square"),
    ("bound_of_the_fraction_forgotten", "neighbours_roots_forgotten"),
]

RIGHT = [
    right(
        "variation_scattered_from_every_root",
        "    g = (2 * P - down - right_) / here\n"
        "    g = g + not_first_row * (P - up) / from_up\n"
        "    g = g + not_first_column * (P - left) / from_left\n",
        "    g = (2 * P - down - right_) / here\n"
        "    g[1:] += ((down - P) / here)[:-1]\n"
        "    g[:, 1:] += ((right_ - P) / here)[:, :-1]\n",
        "dangle = np.real(g * 2j * P)",
        "dangle = -2 * np.imag(g * P)",
    ),
]
