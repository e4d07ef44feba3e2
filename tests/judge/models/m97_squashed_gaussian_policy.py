"""A soft actor: tanh of a Gaussian sample, its log-probability, a fixed critic, and a value head with Huber's loss."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch.distributions import Normal

from tests.judge.corpus import right, wrong

BATCH_AXIS = None  # the critic's arrays have no samples


def reference(params, states, noise, goal, curvature, critic_U, critic_u):
    h = torch.tanh(F.linear(states, params["W1"], params["b1"]))
    h = F.relu(F.linear(h, params["W2"], params["b2"]))
    mean = F.linear(h, params["mean_W"], params["mean_b"])
    log_std = F.linear(h, params["std_W"], params["std_b"]).clamp(-1.2, 0.3)
    value = F.linear(h, params["value_W"], params["value_b"]).squeeze(-1)

    policy = Normal(mean, log_std.exp())
    sample = mean + log_std.exp() * noise
    action = torch.tanh(sample)
    log_prob = policy.log_prob(sample).sum(dim=-1)
    log_prob = log_prob - (2 * (math.log(2) - sample - F.softplus(-2 * sample))).sum(dim=-1)

    miss = action - states @ goal
    quality = torch.tanh(torch.cat([states, action], dim=-1) @ critic_U) @ critic_u
    quality = quality - torch.einsum("ni,ij,nj->n", miss, curvature, miss)
    target = (quality - 0.4 * log_prob).detach()
    return {
        "policy": (0.4 * log_prob - quality).mean(),
        "value": 0.7 * F.huber_loss(value, target, delta=0.8),
    }


def network(params, states):
    a1 = states @ params["W1"].T + params["b1"]
    h1 = np.tanh(a1)
    a2 = h1 @ params["W2"].T + params["b2"]
    h2 = np.maximum(a2, 0)
    mu = h2 @ params["mean_W"].T + params["mean_b"]
    raw = h2 @ params["std_W"].T + params["std_b"]
    value = h2 @ params["value_W"][0] + params["value_b"]
    return mu, raw, value, (a1, h1, a2, h2)


def critic(states, action, goal, curvature, U, u):
    """The critic's values, and their derivatives in the actions."""
    miss = action - states @ goal
    hidden = np.tanh(np.concatenate([states, action], axis=1) @ U)
    q = hidden @ u - np.sum((miss @ curvature) * miss, axis=1)
    dq = -(miss @ curvature + miss @ curvature.T)
    dhidden = (1 - hidden**2) * u
    dq += dhidden @ U[states.shape[1] :].T
    return q, dq


def huber(error, delta):
    small = np.abs(error) <= delta
    return np.where(small, 0.5 * error**2, delta * (np.abs(error) - 0.5 * delta))


def huber_slope(error, delta):
    return np.clip(error, -delta, delta)


def candidate(params, states, noise, goal, curvature, critic_U, critic_u):
    alpha, value_weight, delta = 0.4, 0.7, 0.8
    low, high = -1.2, 0.3
    n = len(states)

    mu, raw, value, (a1, h1, a2, h2) = network(params, states)
    log_std = np.clip(raw, low, high)
    std = np.exp(log_std)
    z = mu + std * noise
    action = np.tanh(z)
    gaussian = -0.5 * noise**2 - log_std - 0.5 * np.log(2 * np.pi)
    correction = 2 * (np.log(2) - z - np.logaddexp(0, -2 * z))
    logp = np.sum(gaussian - correction, axis=1)
    q, dq = critic(states, action, goal, curvature, critic_U, critic_u)
    error = value - (q - alpha * logp)
    policy_loss = np.mean(alpha * logp - q)
    value_loss = np.mean(huber(error, delta))
    loss = policy_loss + value_weight * value_loss

    # from the objective back to the sample
    dlogp = alpha / n
    daction = -dq / n
    dz = daction * (1 - action**2)
    dz += dlogp * 2 * action
    # the two heads of the policy: in terms of the noise, the Gaussian density depends on log_std only
    dmu = dz
    dlog_std = dz * std * noise - dlogp
    inside = (raw > low) & (raw < high)
    draw = dlog_std * inside
    dvalue = value_weight * huber_slope(error, delta) / n

    grads = {
        "mean_W": dmu.T @ h2,
        "mean_b": dmu.sum(axis=0),
        "std_W": draw.T @ h2,
        "std_b": draw.sum(axis=0),
        "value_W": (dvalue @ h2)[None, :],
        "value_b": np.array([dvalue.sum()]),
    }
    # common layers
    dh2 = dmu @ params["mean_W"]
    dh2 += draw @ params["std_W"]
    dh2 += dvalue[:, None] * params["value_W"]
    da2 = dh2 * (a2 > 0)
    grads["W2"] = da2.T @ h1
    grads["b2"] = da2.sum(axis=0)
    da1 = (da2 @ params["W2"]) * (1 - h1**2)
    grads["W1"] = da1.T @ states
    grads["b1"] = da1.sum(axis=0)
    return loss, grads


def problem(rng):
    params = {
        "W1": rng.normal(size=(7, 5)) * 0.6,
        "b1": rng.normal(size=7) * 0.4,
        "W2": rng.normal(size=(6, 7)) * 0.6,
        "b2": rng.normal(size=6) * 0.3 + 0.3,
        "mean_W": rng.normal(size=(3, 6)) * 0.4,
        "mean_b": rng.normal(size=3) * 0.3,
        "std_W": rng.normal(size=(3, 6)) * 0.5,
        "std_b": rng.normal(size=3) * 0.3 - 0.3,
        "value_W": rng.normal(size=(1, 6)) * 0.6,
        "value_b": rng.normal(size=1) * 0.4,
    }
    root = rng.normal(size=(3, 3)) * 0.5
    curvature = root @ root.T + rng.normal(size=(3, 3)) * 0.3
    critic_arrays = (rng.normal(size=(5, 3)) * 0.4, curvature, rng.normal(size=(8, 4)) * 0.6, rng.normal(size=4))
    return params, (rng.normal(size=(9, 5)), rng.normal(size=(9, 3)), *critic_arrays)


WRONG = [
    wrong("tanh_correction_not_in_the_gradient", "missing-path", "    dz += dlogp * 2 * action\n", ""),
    wrong("tanh_correction_sign", "wrong-sign", "dz += dlogp * 2 * action", "dz -= dlogp * 2 * action"),
    wrong("squashing_slope_forgotten", "missing-derivative", "dz = daction * (1 - action**2)", "dz = daction.copy()"),
    wrong("clamp_lets_everything_through", "missing-derivative", "draw = dlog_std * inside", "draw = dlog_std"),
    wrong(
        "exponential_slope_forgotten",
        "missing-derivative",
        "dlog_std = dz * std * noise - dlogp",
        "dlog_std = dz * noise - dlogp",
    ),
    wrong(
        "density_does_not_reach_the_deviation",
        "missing-path",
        "dlog_std = dz * std * noise - dlogp",
        "dlog_std = dz * std * noise",
    ),
    wrong(
        "density_of_a_fixed_sample",
        "missing-path",
        "dmu = dz\n",
        "dmu = dz + dlogp * noise / std\n",
        "dlog_std = dz * std * noise - dlogp",
        "dlog_std = dz * std * noise + dlogp * (noise**2 - 1)",
    ),
    wrong(
        "critic_network_not_differentiated",
        "missing-path",
        "    dhidden = (1 - hidden**2) * u\n    dq += dhidden @ U[states.shape[1] :].T\n",
        "",
    ),
    wrong(
        "curvature_taken_as_symmetric",
        "not-transposed|wrong-operand|different-function",
        "dq = -(miss @ curvature + miss @ curvature.T)",
        "dq = -2 * miss @ curvature",
    ),
    wrong(
        "value_target_not_held_back",
        "any",
        "dlogp = alpha / n\n    daction = -dq / n\n",
        "held = value_weight * huber_slope(error, delta)[:, None]\n"
        "    dlogp = alpha * (1 + held) / n\n    daction = -dq * (1 + held) / n\n",
    ),
    wrong(
        "value_error_not_clipped",
        "different-function|missing-derivative",
        "    return np.clip(error, -delta, delta)",
        "    return error",
    ),
    wrong(
        "value_head_not_into_the_common_layers", "missing-path", '    dh2 += dvalue[:, None] * params["value_W"]\n', ""
    ),
    wrong(
        "deviation_head_overwrites_the_mean_head",
        "overwritten|missing-path",
        'dh2 += draw @ params["std_W"]',
        'dh2 = draw @ params["std_W"]',
    ),
    wrong(
        "log_probability_averaged_over_the_actions_in_both",
        "wrong-reduction|wrong-scale",
        "np.sum(gaussian - correction, axis=1)",
        "np.mean(gaussian - correction, axis=1)",
        "dlogp = alpha / n",
        "dlogp = alpha / noise.size",
    ),
    wrong(
        "correction_forgotten_in_both",
        "different-function|missing-path",
        "np.sum(gaussian - correction, axis=1)",
        "np.sum(gaussian, axis=1)",
        "    dz += dlogp * 2 * action\n",
        "",
    ),
    wrong(
        "entropy_sign_in_cost",
        "wrong-loss",
        "policy_loss = np.mean(alpha * logp - q)",
        "policy_loss = -np.mean(alpha * logp + q)",
    ),
]

TOGETHER = [
    ("tanh_correction_sign", "density_does_not_reach_the_deviation"),
    ("squashing_slope_forgotten", "critic_network_not_differentiated"),
    ("clamp_lets_everything_through", "exponential_slope_forgotten"),
    ("deviation_head_overwrites_the_mean_head", "tanh_correction_not_in_the_gradient"),
    ("value_head_not_into_the_common_layers", "curvature_taken_as_symmetric"),
    ("density_of_a_fixed_sample", "value_error_not_clipped"),
    ("deviation_head_overwrites_the_mean_head", "value_error_not_clipped", "squashing_slope_forgotten"),
    ("clamp_lets_everything_through", "curvature_taken_as_symmetric", "tanh_correction_sign"),
]

RIGHT = [
    right(
        "density_differentiated_at_the_sample",
        "    dz += dlogp * 2 * action\n",
        "    score = (z - mu) / std\n    dz += dlogp * (2 * action - score / std)\n",
        "    dmu = dz\n    dlog_std = dz * std * noise - dlogp\n",
        "    dmu = dz + dlogp * score / std\n    dlog_std = dz * std * noise + dlogp * (score**2 - 1)\n",
        "gaussian = -0.5 * noise**2",
        "gaussian = -0.5 * ((z - mu) / std) ** 2",
        "correction = 2 * (np.log(2) - z - np.logaddexp(0, -2 * z))",
        "correction = np.log(1 - action**2)",
    ),
    right(
        "heads_joined",
        '    dh2 = dmu @ params["mean_W"]\n    dh2 += draw @ params["std_W"]\n'
        '    dh2 += dvalue[:, None] * params["value_W"]\n',
        "    douts = np.column_stack([dvalue, dmu, draw])\n"
        '    dh2 = douts @ np.concatenate([params["value_W"], params["mean_W"], params["std_W"]])\n',
        "    return np.clip(error, -delta, delta)",
        "    return error * np.minimum(1, delta / np.maximum(np.abs(error), delta))",
    ),
    right(
        "sample_by_sample",
        '    da2 = dh2 * (a2 > 0)\n    grads["W2"] = da2.T @ h1\n    grads["b2"] = da2.sum(axis=0)\n'
        '    da1 = (da2 @ params["W2"]) * (1 - h1**2)\n'
        '    grads["W1"] = da1.T @ states\n    grads["b1"] = da1.sum(axis=0)\n',
        '    for name in ("W1", "b1", "W2", "b2"):\n        grads[name] = np.zeros_like(params[name])\n'
        "    for i in range(n):\n"
        "        da2 = np.where(a2[i] > 0, dh2[i], 0.0)\n"
        '        da1 = params["W2"].T @ da2 / np.cosh(a1[i]) ** 2\n'
        '        for name, d, source in (("2", da2, h1[i]), ("1", da1, states[i])):\n'
        '            grads["W" + name] += np.outer(d, source)\n'
        '            grads["b" + name] += d\n',
    ),
]
