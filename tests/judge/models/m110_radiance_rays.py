"""Rays through a radiance field of the plane: encoded points, densities and colours, composited before a white wall."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, origin, direction, edges, target):
    middle = 0.5 * (edges[:, 1:] + edges[:, :-1])
    points = origin[:, None] + middle[..., None] * direction[:, None]
    angles = (points[..., None] * (torch.pi * 2.0 ** torch.arange(4).to(points))).flatten(2)
    encoded = torch.cat([angles.sin(), angles.cos()], dim=-1)
    h = F.relu(F.linear(encoded, params["W1"], params["b1"]))
    density = F.softplus(h @ params["w_density"])
    view = F.normalize(direction, dim=1)[:, None].expand(-1, h.shape[1], -1)
    g = F.relu(F.linear(torch.cat([h, view], dim=-1), params["W2"], params["b2"]))
    rgb = torch.sigmoid(F.linear(g, params["W3"], params["b3"]))
    step = edges.diff(dim=1) * direction.norm(dim=1, keepdim=True)
    alpha = 1 - torch.exp(-density * step)
    through = torch.cumprod(F.pad(1 - alpha, (1, 0), value=1.0), dim=1)
    weight = alpha * through[:, :-1]
    colour = torch.einsum("ns,nsc->nc", weight, rgb) + (1 - weight.sum(dim=1, keepdim=True))
    return F.mse_loss(colour, target)


def encode(points):
    frequencies = np.pi * 2.0 ** np.arange(4)
    angles = (points[..., None] * frequencies).reshape(*points.shape[:-1], -1)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=-1)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def field(params, points, view):
    """Density and colour at one point of every ray, and what the way back needs."""
    code = encode(points)
    z1 = code @ params["W1"].T + params["b1"]
    h = np.maximum(z1, 0)
    raw = h @ params["w_density"]
    joined = np.concatenate([h, view], axis=1)
    z2 = joined @ params["W2"].T + params["b2"]
    g = np.maximum(z2, 0)
    rgb = sigmoid(g @ params["W3"].T + params["b3"])
    return np.log1p(np.exp(raw)), rgb, (code, z1, h, raw, joined, z2, g)


def candidate(params, origin, direction, edges, target):
    rays, samples = len(edges), edges.shape[1] - 1
    hidden = len(params["w_density"])
    length = np.linalg.norm(direction, axis=1, keepdims=True)
    view = direction / length
    depth = (edges[:, 1:] + edges[:, :-1]) / 2
    delta = np.diff(edges, axis=1) * length
    sigma = np.zeros((rays, samples))
    rgb = np.zeros((rays, samples, 3))
    caches = []
    for i in range(samples):
        sigma[:, i], rgb[:, i], cache = field(params, origin + depth[:, [i]] * direction, view)
        caches.append(cache)
    alpha = 1 - np.exp(-sigma * delta)
    T = np.ones((rays, samples))
    for i in range(1, samples):
        T[:, i] = T[:, i - 1] * (1 - alpha[:, i - 1])
    weights = T * alpha
    white = 1 - weights.sum(axis=1)
    colour = np.sum(weights[..., None] * rgb, axis=1) + white[:, None]
    difference = colour - target
    loss = np.mean(difference**2)

    grads = {name: np.zeros_like(value) for name, value in params.items()}
    dcolour = 2 * difference / difference.size
    drgb = weights[..., None] * dcolour[:, None]
    dweights = np.sum(dcolour[:, None] * (rgb - 1), axis=2)
    behind = np.zeros(rays)
    for i in range(samples - 1, -1, -1):
        code, z1, h, raw, joined, z2, g = caches[i]
        # density
        clear = 1 - alpha[:, i]
        dalpha = dweights[:, i] * T[:, i] - behind / clear
        behind = behind + dweights[:, i] * weights[:, i]
        dsigma = dalpha * clear * delta[:, i]
        draw = dsigma * sigmoid(raw)
        grads["w_density"] += draw @ h
        # colour
        dz3 = drgb[:, i] * rgb[:, i] * (1 - rgb[:, i])
        grads["W3"] += dz3.T @ g
        grads["b3"] += dz3.sum(axis=0)
        dz2 = (dz3 @ params["W3"]) * (z2 > 0)
        grads["W2"] += dz2.T @ joined
        grads["b2"] += dz2.sum(axis=0)
        # trunk
        dh = (dz2 @ params["W2"])[:, :hidden]
        dh += np.outer(draw, params["w_density"])
        dz1 = dh * (z1 > 0)
        grads["W1"] += dz1.T @ code
        grads["b1"] += dz1.sum(axis=0)
    return loss, grads


def problem(rng):
    params = {
        "W1": rng.normal(size=(10, 16)) * 0.35,
        "b1": rng.normal(size=10) * 0.3 + 0.2,
        "w_density": rng.normal(size=10) * 0.5,
        "W2": rng.normal(size=(7, 12)) * 0.5,
        "b2": rng.normal(size=7) * 0.3 + 0.2,
        "W3": rng.normal(size=(3, 7)) * 0.7,
        "b3": rng.normal(size=3) * 0.4,
    }
    edges = 0.2 + np.cumsum(rng.uniform(0.2, 0.7, size=(8, 6)), axis=1)
    return params, (rng.normal(size=(8, 2)) * 0.5, rng.normal(size=(8, 2)) + 0.6, edges, rng.uniform(size=(8, 3)))


WRONG = [
    wrong(
        "transmittance_not_followed",
        "missing-path",
        "dweights[:, i] * T[:, i] - behind / clear",
        "dweights[:, i] * T[:, i]",
    ),
    wrong(
        "transmittance_through_the_own_sample_in_both",
        "shifted-in-time|wrong-operand|different-function",
        "weights = T * alpha",
        "T = T * (1 - alpha)\n    weights = T * alpha",
        "        dalpha = dweights[:, i] * T[:, i] - behind / clear\n"
        "        behind = behind + dweights[:, i] * weights[:, i]\n",
        "        behind = behind + dweights[:, i] * weights[:, i]\n"
        "        dalpha = dweights[:, i] * T[:, i] - behind / clear\n",
    ),
    wrong("those_behind_with_the_wrong_sign", "wrong-sign", "T[:, i] - behind / clear", "T[:, i] + behind / clear"),
    wrong(
        "only_the_next_sample_behind",
        "truncated-in-time|overwritten|last-step-only|missing-path|diagonal-jacobian",
        "behind = behind + dweights[:, i]",
        "behind = dweights[:, i]",
    ),
    wrong(
        "white_wall_forgotten_backwards",
        "missing-path",
        "dcolour[:, None] * (rgb - 1)",
        "dcolour[:, None] * rgb",
    ),
    wrong(
        "black_wall_in_both",
        "different-function|missing-path",
        "np.sum(weights[..., None] * rgb, axis=1) + white[:, None]",
        "np.sum(weights[..., None] * rgb, axis=1)",
        "dcolour[:, None] * (rgb - 1)",
        "dcolour[:, None] * rgb",
    ),
    wrong(
        "step_length_forgotten",
        "missing-derivative|wrong-operand",
        "dsigma = dalpha * clear * delta[:, i]",
        "dsigma = dalpha * clear",
    ),
    wrong(
        "steps_not_scaled_by_the_direction_in_both",
        "wrong-operand|different-function|missing-derivative",
        "np.diff(edges, axis=1) * length",
        "np.diff(edges, axis=1)",
    ),
    wrong(
        "relu_slope_for_the_density",
        "different-function|derivative-at-wrong-point",
        "draw = dsigma * sigmoid(raw)",
        "draw = dsigma * (raw > 0)",
    ),
    wrong(
        "colour_slope_forgotten",
        "missing-derivative",
        "dz3 = drgb[:, i] * rgb[:, i] * (1 - rgb[:, i])",
        "dz3 = drgb[:, i]",
    ),
    wrong(
        "density_not_into_the_trunk",
        "missing-path",
        '        dh += np.outer(draw, params["w_density"])\n',
        "",
    ),
    wrong(
        "view_taken_from_the_front_of_the_join",
        "wrong-operand|shifted-in-time",
        '(dz2 @ params["W2"])[:, :hidden]',
        '(dz2 @ params["W2"])[:, -hidden:]',
    ),
    wrong(
        "frequencies_without_pi_in_both",
        "different-function|wrong-operand|wrong-scale",
        "frequencies = np.pi * 2.0 ** np.arange(4)",
        "frequencies = 2.0 ** np.arange(4)",
    ),
    wrong(
        "trunk_gradient_of_the_first_sample",
        "last-step-only|overwritten",
        'grads["W1"] += dz1.T @ code',
        'grads["W1"] = dz1.T @ code',
    ),
    wrong(
        "error_averaged_over_rays_only",
        "wrong-scale|wrong-reduction",
        "dcolour = 2 * difference / difference.size",
        "dcolour = 2 * difference / rays",
    ),
    wrong(
        "error_summed_over_the_channels_in_cost",
        "wrong-loss",
        "loss = np.mean(difference**2)",
        "loss = np.mean(np.sum(difference**2, axis=1))",
    ),
]

TOGETHER = [
    ("transmittance_not_followed", "step_length_forgotten"),
    ("white_wall_forgotten_backwards", "view_taken_from_the_front_of_the_join"),
    ("only_the_next_sample_behind", "relu_slope_for_the_density"),
    ("colour_slope_forgotten", "density_not_into_the_trunk"),
    ("steps_not_scaled_by_the_direction_in_both", "trunk_gradient_of_the_first_sample"),
    ("error_averaged_over_rays_only", "those_behind_with_the_wrong_sign"),
    ("transmittance_through_the_own_sample_in_both", "density_not_into_the_trunk", "colour_slope_forgotten"),
    ("black_wall_in_both", "step_length_forgotten", "view_taken_from_the_front_of_the_join"),
]

RIGHT = [
    right(
        "optical_depth_summed",
        "    T = np.ones((rays, samples))\n"
        "    for i in range(1, samples):\n"
        "        T[:, i] = T[:, i - 1] * (1 - alpha[:, i - 1])\n",
        "    optical = np.cumsum(sigma * delta, axis=1)\n    T = np.exp(sigma * delta - optical)\n",
        "    behind = np.zeros(rays)\n",
        "    share = dweights * weights\n"
        "    behind = np.cumsum(share[:, ::-1], axis=1)[:, ::-1] - share\n"
        "    ddepth = dweights * np.exp(-optical) - behind\n",
        "        clear = 1 - alpha[:, i]\n"
        "        dalpha = dweights[:, i] * T[:, i] - behind / clear\n"
        "        behind = behind + dweights[:, i] * weights[:, i]\n"
        "        dsigma = dalpha * clear * delta[:, i]\n",
        "        dsigma = ddepth[:, i] * delta[:, i]\n",
    ),
    right(
        "transmittance_with_a_gradient_of_its_own",
        "    behind = np.zeros(rays)\n",
        "    dT_next = np.zeros(rays)\n",
        "        dalpha = dweights[:, i] * T[:, i] - behind / clear\n"
        "        behind = behind + dweights[:, i] * weights[:, i]\n",
        "        dalpha = (dweights[:, i] - dT_next) * T[:, i]\n"
        "        dT_next = dweights[:, i] * alpha[:, i] + dT_next * clear\n",
        "T[:, i] = T[:, i - 1] * (1 - alpha[:, i - 1])",
        "T[:, i:] *= 1 - alpha[:, [i - 1]]",
    ),
    right(
        "composited_from_back_to_front",
        "    white = 1 - weights.sum(axis=1)\n    colour = np.sum(weights[..., None] * rgb, axis=1) + white[:, None]\n",
        "    colour = np.ones((rays, 3))\n"
        "    for i in reversed(range(samples)):\n"
        "        colour = alpha[:, [i]] * rgb[:, i] + (1 - alpha[:, [i]]) * colour\n",
        '        dh = (dz2 @ params["W2"])[:, :hidden]\n        dh += np.outer(draw, params["w_density"])\n',
        '        dh = dz2 @ params["W2"][:, :hidden] + draw[:, None] * params["w_density"]\n',
        "dz3 = drgb[:, i] * rgb[:, i] * (1 - rgb[:, i])",
        "dz3 = drgb[:, i] * (rgb[:, i] - rgb[:, i] ** 2)",
    ),
]
