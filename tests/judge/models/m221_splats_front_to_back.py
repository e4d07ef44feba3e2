"""Flat Gaussian splats over a background: turned covariances, blended front to back pixel by pixel, L1 and coverage."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, pixels, colours, covered):
    c, s = torch.cos(params["angle"]), torch.sin(params["angle"])
    R = torch.stack([torch.stack([c, -s], -1), torch.stack([s, c], -1)], 1)
    M = R * torch.exp(params["log_scale"])[:, None, :]
    cov = M @ M.transpose(1, 2) + 0.1 * torch.eye(2, dtype=M.dtype)
    delta = pixels[:, None, :] - params["centre"][None]
    power = -0.5 * torch.einsum("nki,kij,nkj->nk", delta, torch.linalg.inv(cov), delta)
    alpha = torch.sigmoid(params["logit"]) * torch.exp(power)
    through = torch.cumprod(1 - alpha, 1)
    before = torch.cat([torch.ones_like(through[:, :1]), through[:, :-1]], 1)
    image = (alpha * before) @ params["colour"] + through[:, -1:] * params["background"]
    return {
        "colour": (image - colours).abs().sum() / len(pixels),
        "coverage": 0.5 * ((1 - through[:, -1] - covered) ** 2).sum() / len(pixels),
    }


def covariances(log_scale, angle):
    """The spread of every splat, blurred a little, with what it was made of."""
    turns = np.array([[[np.cos(t), -np.sin(t)], [np.sin(t), np.cos(t)]] for t in angle])
    scales = np.exp(log_scale)
    M = turns * scales[:, None, :]
    cov = M @ M.transpose(0, 2, 1) + 0.1 * np.eye(2)
    return np.linalg.inv(cov), (turns, scales, M)


def render(pixel, centre, conic, opacity, colour, background):
    T, out, hits = 1.0, np.zeros(3), []
    for k in range(len(centre)):
        d = pixel - centre[k]
        gauss = np.exp(-0.5 * d @ conic[k] @ d)
        alpha = opacity[k] * gauss
        out = out + alpha * T * colour[k]
        hits.append((d, gauss, alpha))
        T = T * (1 - alpha)
    return out + T * background, T, hits


def candidate(params, pixels, colours, covered):
    centre, colour, background = params["centre"], params["colour"], params["background"]
    opacity = 1 / (1 + np.exp(-params["logit"]))
    conic, (turns, scales, M) = covariances(params["log_scale"], params["angle"])
    n = len(pixels)
    rendered = [render(pixel, centre, conic, opacity, colour, background) for pixel in pixels]
    l1 = sum(np.abs(rendered[i][0] - colours[i]).sum() for i in range(n))
    l2 = sum((1 - rendered[i][1] - covered[i]) ** 2 for i in range(n))
    loss = (l1 + 0.5 * l2) / n

    g = {name: np.zeros_like(value) for name, value in params.items()}
    dopacity = np.zeros_like(opacity)
    dconic = np.zeros_like(conic)
    for i in range(n):
        out, T_final, hits = rendered[i]
        dout = np.sign(out - colours[i]) / n
        dcover = (1 - T_final - covered[i]) / n
        g["background"] += T_final * dout
        # back to front: what lies behind, as seen from just in front of it
        T = T_final
        behind = np.zeros(3)
        for k in reversed(range(len(centre))):
            d, gauss, alpha = hits[k]
            T = T / (1 - alpha)
            g["colour"][k] += alpha * T * dout
            dalpha = T * ((colour[k] - behind) @ dout)
            dalpha -= T_final / (1 - alpha) * (background @ dout)
            dalpha += T_final / (1 - alpha) * dcover
            behind = alpha * colour[k] + (1 - alpha) * behind
            dopacity[k] += gauss * dalpha
            dpower = alpha * dalpha
            g["centre"][k] += dpower * conic[k] @ d
            dconic[k] += -0.5 * dpower * np.outer(d, d)
    g["logit"] = dopacity * opacity * (1 - opacity)
    for k in range(len(centre)):
        dcov = -conic[k] @ dconic[k] @ conic[k]
        dM = 2 * dcov @ M[k]
        g["log_scale"][k] = np.sum(dM * turns[k], axis=0) * scales[k]
        c, s = np.cos(params["angle"][k]), np.sin(params["angle"][k])
        g["angle"][k] = np.sum(dM * scales[k] * np.array([[-s, -c], [c, -s]]))
    return loss, g


def problem(rng):
    params = {
        "centre": rng.normal(size=(4, 2)) * 0.6,
        "log_scale": rng.normal(size=(4, 2)) * 0.5 - 0.3,
        "angle": rng.normal(size=4),
        "logit": rng.normal(size=4) * 0.6 + 0.4,
        "colour": rng.uniform(0.1, 0.9, size=(4, 3)),
        "background": rng.uniform(0.2, 0.8, size=3),
    }
    pixels = rng.uniform(-1, 1, size=(6, 2))
    return params, (pixels, rng.uniform(0, 1, size=(6, 3)), rng.uniform(0.2, 0.9, size=6))


WRONG = [
    wrong(
        "background_not_dimmed_by_the_splats",
        "missing-path",
        "            dalpha -= T_final / (1 - alpha) * (background @ dout)\n",
        "",
    ),
    wrong(
        "background_counted_twice",
        "wrong-scale",
        "        behind = np.zeros(3)\n",
        "        behind = background.copy()\n",
    ),
    wrong(
        "coverage_without_the_own_transparency",
        "missing-derivative|different-function",
        "dalpha += T_final / (1 - alpha) * dcover",
        "dalpha += T_final * dcover",
    ),
    wrong(
        "splats_behind_forgotten",
        "missing-path",
        "dalpha = T * ((colour[k] - behind) @ dout)",
        "dalpha = T * (colour[k] @ dout)",
    ),
    wrong(
        "light_behind_the_splat_itself",
        "wrong-operand|shifted-in-time",
        '            T = T / (1 - alpha)\n            g["colour"][k] += alpha * T * dout\n',
        '            g["colour"][k] += alpha * T * dout\n            T = T / (1 - alpha)\n',
    ),
    wrong(
        "centre_moves_the_other_way",
        "wrong-sign",
        'g["centre"][k] += dpower * conic[k] @ d',
        'g["centre"][k] -= dpower * conic[k] @ d',
    ),
    wrong(
        "inverse_taken_for_a_plain_sign",
        "missing-derivative|different-function",
        "dcov = -conic[k] @ dconic[k] @ conic[k]",
        "dcov = -dconic[k]",
    ),
    wrong(
        "only_one_of_the_two_factors_of_the_covariance",
        "wrong-scale|missing-path",
        "dM = 2 * dcov @ M[k]",
        "dM = dcov @ M[k]",
    ),
    wrong(
        "scale_of_the_logarithm_forgotten",
        "missing-derivative",
        "np.sum(dM * turns[k], axis=0) * scales[k]",
        "np.sum(dM * turns[k], axis=0)",
    ),
    wrong(
        "rotation_derived_as_its_transpose",
        "transposed|not-transposed|wrong-sign",
        "np.array([[-s, -c], [c, -s]])",
        "np.array([[-s, c], [-c, -s]])",
    ),
    wrong(
        "sigmoid_slope_of_the_opacity_forgotten",
        "missing-derivative",
        'g["logit"] = dopacity * opacity * (1 - opacity)',
        'g["logit"] = dopacity',
    ),
    wrong(
        "squared_error_of_the_colours_backwards",
        "different-function",
        "dout = np.sign(out - colours[i]) / n",
        "dout = 2 * (out - colours[i]) / n",
    ),
]

TOGETHER = [
    ("background_not_dimmed_by_the_splats", "scale_of_the_logarithm_forgotten"),
    ("splats_behind_forgotten", "sigmoid_slope_of_the_opacity_forgotten"),
    ("background_counted_twice", "only_one_of_the_two_factors_of_the_covariance"),
    ("centre_moves_the_other_way", "rotation_derived_as_its_transpose"),
]

RIGHT = [
    right(
        "background_as_the_last_splat",
        "        behind = np.zeros(3)\n",
        "        behind = background.copy()\n",
        "            dalpha -= T_final / (1 - alpha) * (background @ dout)\n",
        "",
        "dcov = -conic[k] @ dconic[k] @ conic[k]",
        'dcov = -np.einsum("ai,ij,jb->ab", conic[k], dconic[k], conic[k])',
    ),
]
