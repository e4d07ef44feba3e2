"""A physics-informed network: two populations over time, fitted to their differential equation, start and sightings."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong

BATCH_AXIS = None  # the times inside and the sightings are of different numbers


def reference(params, t_inside, t_seen, u_seen, u_start):
    horizon = 3.0

    def network(t):
        a1 = torch.outer(t / horizon, params["w1"]) + params["b1"]
        h2 = torch.tanh(torch.sin(a1) @ params["W2"] + params["b2"])
        tangent = (1 - h2**2) * ((torch.cos(a1) * params["w1"] / horizon) @ params["W2"])
        return h2 @ params["W3"] + params["b3"], tangent @ params["W3"]

    grow, eaten, born, die = torch.exp(params["log_rates"])
    u, du = network(t_inside)
    prey, hunters = u.unbind(dim=1)
    field = torch.stack([prey * (grow - eaten * hunters), hunters * (born * prey - die)], dim=1)
    start, _ = network(torch.zeros_like(t_inside[:1]))
    seen, _ = network(t_seen)
    return {
        "equation": F.mse_loss(du, field),
        "start": 2.0 * F.mse_loss(start.squeeze(0), u_start),
        "sightings": 0.5 * F.mse_loss(seen, u_seen),
    }


def network(params, t, horizon):
    s = t / horizon
    a1 = s[:, None] * params["w1"] + params["b1"]
    h1 = np.sin(a1)
    h2 = np.tanh(h1 @ params["W2"] + params["b2"])
    return h2 @ params["W3"] + params["b3"], (s, a1, h1, h2)


def time_derivative(params, cache, horizon):
    """du/dt by the chain rule, layer by layer."""
    _, a1, _, h2 = cache
    h1_t = np.cos(a1) * params["w1"] / horizon
    a2_t = h1_t @ params["W2"]
    h2_t = (1 - h2**2) * a2_t
    return h2_t @ params["W3"], (h1_t, a2_t, h2_t)


def back(params, grads, cache, du):
    """Adds the gradients of a loss of the values u."""
    h2 = cache[3]
    grads["W3"] += h2.T @ du
    grads["b3"] += du.sum(axis=0)
    back_hidden(params, grads, cache, du @ params["W3"].T, 0.0)


def back_hidden(params, grads, cache, dh2, da1_more):
    s, a1, h1, h2 = cache
    da2 = dh2 * (1 - h2**2)
    grads["W2"] += h1.T @ da2
    grads["b2"] += da2.sum(axis=0)
    dh1 = da2 @ params["W2"].T
    da1 = dh1 * np.cos(a1) + da1_more
    grads["w1"] += s @ da1
    grads["b1"] += da1.sum(axis=0)


def back_derivative(params, grads, cache, slopes, du_t, horizon):
    """Adds the gradients of a loss of du/dt."""
    _, a1, _, h2 = cache
    h1_t, a2_t, h2_t = slopes
    grads["W3"] += h2_t.T @ du_t
    dh2_t = du_t @ params["W3"].T
    dh2 = -2 * h2 * a2_t * dh2_t
    da2_t = (1 - h2**2) * dh2_t
    grads["W2"] += h1_t.T @ da2_t
    dh1_t = da2_t @ params["W2"].T
    grads["w1"] += np.sum(dh1_t * np.cos(a1) / horizon, axis=0)
    da1 = -dh1_t * np.sin(a1) * params["w1"] / horizon
    back_hidden(params, grads, cache, dh2, da1)


def candidate(params, t_inside, t_seen, u_seen, u_start, horizon=3.0, w_start=2.0, w_seen=0.5):
    rates = np.exp(params["log_rates"])
    grow, eaten, born, die = rates
    u, cache = network(params, t_inside, horizon)
    u_t, slopes = time_derivative(params, cache, horizon)
    prey, hunters = u[:, 0], u[:, 1]
    meet = prey * hunters
    field = np.column_stack([grow * prey - eaten * meet, born * meet - die * hunters])
    residual = u_t - field
    t_start = np.zeros(1)
    u0, cache0 = network(params, t_start, horizon)
    miss0 = u0[0] - u_start
    us, cache_s = network(params, t_seen, horizon)
    miss = us - u_seen
    loss = np.mean(residual**2) + w_start * np.mean(miss0**2) + w_seen * np.mean(miss**2)

    grads = {name: np.zeros_like(value) for name, value in params.items()}
    # equation
    dr = 2 * residual / residual.size
    back_derivative(params, grads, cache, slopes, dr, horizon)
    df1, df2 = -dr[:, 0], -dr[:, 1]
    dprey = df1 * (grow - eaten * hunters) + df2 * born * hunters
    dhunters = -df1 * eaten * prey + df2 * (born * prey - die)
    back(params, grads, cache, np.column_stack([dprey, dhunters]))
    drates = np.array([df1 @ prey, -(df1 @ meet), df2 @ meet, -(df2 @ hunters)])
    grads["log_rates"] += drates * rates
    # start
    back(params, grads, cache0, w_start * 2 * miss0[None] / miss0.size)
    # sightings
    back(params, grads, cache_s, w_seen * 2 * miss / miss.size)
    return loss, grads


def problem(rng):
    params = {
        "w1": rng.normal(size=6) * 1.5,
        "b1": rng.normal(size=6) * 0.8,
        "W2": rng.normal(size=(6, 5)) * 0.6,
        "b2": rng.normal(size=5) * 0.3,
        "W3": rng.normal(size=(5, 2)) * 0.7,
        "b3": rng.normal(size=2) * 0.2 + 1.0,
        "log_rates": np.log([1.1, 0.6, 0.5, 0.8]) + rng.normal(size=4) * 0.1,
    }
    t_inside = np.sort(rng.uniform(0.2, 3.0, size=9))
    t_seen = np.sort(rng.uniform(0.1, 2.9, size=7))
    u_seen = 1.0 + rng.normal(size=(7, 2)) * 0.6
    return params, (t_inside, t_seen, u_seen, np.array([1.6, 0.5]))


WRONG = [
    wrong(
        "right_hand_side_held_fixed",
        "missing-path",
        "    back(params, grads, cache, np.column_stack([dprey, dhunters]))\n",
        "",
    ),
    wrong(
        "activation_slope_of_the_second_layer_held_fixed",
        "missing-path",
        "dh2 = -2 * h2 * a2_t * dh2_t",
        "dh2 = np.zeros_like(h2)",
    ),
    wrong(
        "activation_slope_of_the_first_layer_held_fixed",
        "missing-path",
        "back_hidden(params, grads, cache, dh2, da1)",
        "back_hidden(params, grads, cache, dh2, 0.0)",
    ),
    wrong(
        "curvature_of_the_sine_positive",
        "wrong-sign",
        "da1 = -dh1_t * np.sin(a1)",
        "da1 = dh1_t * np.sin(a1)",
    ),
    wrong(
        "curvature_of_the_tanh_without_its_two",
        "wrong-scale|missing-derivative",
        "dh2 = -2 * h2 * a2_t * dh2_t",
        "dh2 = -h2 * a2_t * dh2_t",
    ),
    wrong(
        "first_weights_as_a_factor_of_the_slope_forgotten",
        "missing-path",
        '    grads["w1"] += np.sum(dh1_t * np.cos(a1) / horizon, axis=0)\n',
        "",
    ),
    wrong(
        "sine_slope_at_its_output",
        "derivative-at-wrong-point",
        "da1 = dh1 * np.cos(a1) + da1_more",
        "da1 = dh1 * np.cos(h1) + da1_more",
    ),
    wrong("rates_for_their_logarithms", "missing-derivative", "drates * rates", "drates"),
    wrong(
        "middle_matrix_assigned_anew",
        "overwritten|missing-path",
        'grads["W2"] += h1.T @ da2',
        'grads["W2"] = h1.T @ da2',
    ),
    wrong(
        "jacobian_of_the_field_not_transposed",
        "not-transposed|wrong-operand",
        "+ df2 * born * hunters",
        "- df2 * eaten * prey",
        "dhunters = -df1 * eaten * prey",
        "dhunters = df1 * born * hunters",
    ),
    wrong(
        "hunters_held_fixed_for_the_prey",
        "missing-path",
        "dprey = df1 * (grow - eaten * hunters) + df2 * born * hunters",
        "dprey = df1 * (grow - eaten * hunters)",
    ),
    wrong(
        "start_not_weighted",
        "wrong-term-weight|wrong-scale",
        "w_start * 2 * miss0[None]",
        "2 * miss0[None]",
    ),
    wrong(
        "sightings_averaged_over_their_times_only",
        "wrong-term-weight|wrong-scale|wrong-reduction",
        "w_seen * 2 * miss / miss.size",
        "w_seen * 2 * miss / len(miss)",
    ),
    wrong(
        "slope_in_scaled_time_in_both",
        "different-function|wrong-scale|missing-derivative",
        'h1_t = np.cos(a1) * params["w1"] / horizon',
        'h1_t = np.cos(a1) * params["w1"]',
        "np.sum(dh1_t * np.cos(a1) / horizon, axis=0)",
        "np.sum(dh1_t * np.cos(a1), axis=0)",
        'np.sin(a1) * params["w1"] / horizon',
        'np.sin(a1) * params["w1"]',
    ),
    wrong(
        "start_at_the_first_time_inside_in_both",
        "wrong-operand|shifted-in-time",
        "t_start = np.zeros(1)",
        "t_start = t_inside[:1]",
    ),
    wrong("equation_summed_in_cost", "wrong-loss", "loss = np.mean(residual**2)", "loss = np.sum(residual**2)"),
]

TOGETHER = [
    ("right_hand_side_held_fixed", "sightings_averaged_over_their_times_only"),
    ("curvature_of_the_sine_positive", "rates_for_their_logarithms"),
    ("activation_slope_of_the_second_layer_held_fixed", "start_not_weighted"),
    ("first_weights_as_a_factor_of_the_slope_forgotten", "curvature_of_the_tanh_without_its_two"),
    ("hunters_held_fixed_for_the_prey", "sine_slope_at_its_output"),
    ("middle_matrix_assigned_anew", "start_at_the_first_time_inside_in_both"),
    ("curvature_of_the_tanh_without_its_two", "curvature_of_the_sine_positive", "start_not_weighted"),
    (
        "jacobian_of_the_field_not_transposed",
        "activation_slope_of_the_first_layer_held_fixed",
        "rates_for_their_logarithms",
    ),
]

RIGHT = [
    right(
        "start_and_sightings_in_one",
        "    # start\n"
        "    back(params, grads, cache0, w_start * 2 * miss0[None] / miss0.size)\n"
        "    # sightings\n"
        "    back(params, grads, cache_s, w_seen * 2 * miss / miss.size)\n",
        "    known = tuple(np.concatenate(pair) for pair in zip(cache0, cache_s))\n"
        "    dknown = np.vstack([w_start * miss0 / miss0.size, w_seen * miss / miss.size])\n"
        "    back(params, grads, known, 2 * dknown)\n",
    ),
    right(
        "jacobian_at_every_time",
        "    dprey = df1 * (grow - eaten * hunters) + df2 * born * hunters\n"
        "    dhunters = -df1 * eaten * prey + df2 * (born * prey - die)\n"
        "    back(params, grads, cache, np.column_stack([dprey, dhunters]))\n",
        "    du = np.zeros_like(u)\n"
        "    for i, (x, y) in enumerate(u):\n"
        "        jacobian = np.array([[grow - eaten * y, -eaten * x], [born * y, born * x - die]])\n"
        "        du[i] = -jacobian.T @ dr[i]\n"
        "    back(params, grads, cache, du)\n",
    ),
    right(
        "path_by_path_through_the_units",
        '    da2_t = (1 - h2**2) * dh2_t\n    grads["W2"] += h1_t.T @ da2_t\n    dh1_t = da2_t @ params["W2"].T\n',
        "    dh1_t = np.zeros_like(h1_t)\n"
        '    for unit, weights in enumerate(params["W2"].T):\n'
        "        slope = dh2_t[:, unit] / np.cosh(np.arctanh(h2[:, unit])) ** 2\n"
        '        grads["W2"][:, unit] += slope @ h1_t\n'
        "        dh1_t += np.outer(slope, weights)\n",
        "back_hidden(params, grads, cache, dh2, da1)\n",
        "back_hidden(params, grads, cache, dh2, 0.0)\n"
        '    grads["b1"] += da1.sum(axis=0)\n'
        '    grads["w1"] += np.einsum("i,ij->j", cache[0], da1)\n',
    ),
]
