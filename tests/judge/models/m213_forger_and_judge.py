"""A small GAN's value: a leaky forger with tanh outputs against a leaky judge, mean log D plus mean log(1 - D(G))."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x_real, z):
    def judge(x):
        hidden = F.leaky_relu(x @ params["D_W0"] + params["D_b0"], 0.2)
        return (hidden @ params["D_W1"] + params["D_b1"])[:, 0]

    hidden = F.leaky_relu(z @ params["G_W0"] + params["G_b0"], 0.1)
    fake = torch.tanh(hidden @ params["G_W1"] + params["G_b1"])
    return F.logsigmoid(judge(x_real)).mean() + F.logsigmoid(-judge(fake)).mean()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lrelu(x, alpha):
    return np.maximum(x, alpha * x)


def dlrelu(x, alpha):
    dx = np.ones_like(x)
    dx[x < 0] = alpha
    return dx


def forward_g(p, z):
    g_z0 = z @ p["G_W0"] + p["G_b0"]
    g_a0 = lrelu(g_z0, 0.1)
    g_z1 = g_a0 @ p["G_W1"] + p["G_b1"]
    g_a1 = np.tanh(g_z1)
    return g_a1, (g_z0, g_a0)


def forward_d(p, x):
    d_z0 = x @ p["D_W0"] + p["D_b0"]
    d_a0 = lrelu(d_z0, 0.2)
    d_z1 = d_a0 @ p["D_W1"] + p["D_b1"]
    return sigmoid(d_z1), (x, d_z0, d_a0)


def backward_d(p, da1, d_a1, cache):
    """The gradients of one pass through the judge, and that of what it looked at."""
    x, d_z0, d_a0 = cache
    dz1 = da1 * d_a1 * (1 - d_a1)
    dW1 = d_a0.T @ dz1
    db1 = np.sum(dz1, axis=0, keepdims=True)
    dz0 = dz1 @ p["D_W1"].T * dlrelu(d_z0, 0.2)
    dW0 = x.T @ dz0
    db0 = np.sum(dz0, axis=0, keepdims=True)
    return (dW0, db0, dW1, db1), dz0 @ p["D_W0"].T


def candidate(params, x_real, z):
    p = params
    m = len(x_real)
    x_fake, (g_z0, g_a0) = forward_g(p, z)
    d_real, cache_real = forward_d(p, x_real)
    d_fake, cache_fake = forward_d(p, x_fake)
    loss = np.mean(np.log(d_real)) + np.mean(np.log(1 - d_fake))

    # judge
    from_real, _ = backward_d(p, 1 / d_real / m, d_real, cache_real)
    from_fake, dx_fake = backward_d(p, -1 / (1 - d_fake) / m, d_fake, cache_fake)
    names = ("D_W0", "D_b0", "D_W1", "D_b1")
    grads = {name: one + two for name, one, two in zip(names, from_real, from_fake, strict=True)}

    # forger
    dg_z1 = dx_fake * (1 - x_fake**2)
    grads["G_W1"] = g_a0.T @ dg_z1
    grads["G_b1"] = np.sum(dg_z1, axis=0, keepdims=True)
    dg_z0 = dg_z1 @ p["G_W1"].T * dlrelu(g_z0, 0.1)
    grads["G_W0"] = z.T @ dg_z0
    grads["G_b0"] = np.sum(dg_z0, axis=0, keepdims=True)
    return loss, grads


def problem(rng):
    noise, g_hidden, pixels, d_hidden, m = 3, 5, 4, 6, 7
    params = {
        "G_W0": rng.normal(size=(noise, g_hidden)) * 0.8,
        "G_b0": rng.normal(size=(1, g_hidden)) * 0.4,
        "G_W1": rng.normal(size=(g_hidden, pixels)) * 0.6,
        "G_b1": rng.normal(size=(1, pixels)) * 0.4,
        "D_W0": rng.normal(size=(pixels, d_hidden)) * 0.8,
        "D_b0": rng.normal(size=(1, d_hidden)) * 0.4,
        "D_W1": rng.normal(size=(d_hidden, 1)) * 0.9,
        "D_b1": rng.normal(size=(1, 1)) * 0.4,
    }
    return params, (rng.uniform(-1, 1, size=(m, pixels)), rng.normal(size=(m, noise)))


WRONG = [
    wrong(
        "forger_follows_the_other_loss",
        "different-function|wrong-operand",
        "    dg_z1 = dx_fake * (1 - x_fake**2)\n",
        "    _, dx_fake = backward_d(p, -1 / d_fake / m, d_fake, cache_fake)\n    dg_z1 = dx_fake * (1 - x_fake**2)\n",
    ),
    wrong(
        "forger_moves_against_the_judge",
        "wrong-sign",
        "dg_z1 = dx_fake * (1 - x_fake**2)",
        "dg_z1 = -dx_fake * (1 - x_fake**2)",
    ),
    wrong(
        "judge_learns_from_the_real_ones_only",
        "missing-path|overwritten",
        "{name: one + two for name, one, two in",
        "{name: one for name, one, _ in",
    ),
    wrong(
        "fakes_pass_back_with_the_cache_of_the_real_ones",
        "wrong-operand",
        "-1 / (1 - d_fake) / m, d_fake, cache_fake)",
        "-1 / (1 - d_fake) / m, d_fake, cache_real)",
    ),
    wrong(
        "minus_lost_in_the_fake_half",
        "wrong-sign",
        "backward_d(p, -1 / (1 - d_fake) / m,",
        "backward_d(p, 1 / (1 - d_fake) / m,",
    ),
    wrong(
        "leaky_slope_of_the_other_player",
        "different-function|wrong-operand",
        "* dlrelu(g_z0, 0.1)",
        "* dlrelu(g_z0, 0.2)",
    ),
    wrong(
        "tanh_slope_forgotten_in_the_forger",
        "missing-derivative",
        "dg_z1 = dx_fake * (1 - x_fake**2)",
        "dg_z1 = dx_fake",
    ),
    wrong(
        "tanh_slope_at_its_output",
        "derivative-at-wrong-point",
        "dg_z1 = dx_fake * (1 - x_fake**2)",
        "dg_z1 = dx_fake * (1 - np.tanh(x_fake) ** 2)",
    ),
    wrong(
        "leaky_slope_multiplied_by_its_input",
        "different-function|extra-derivative",
        "    dx = np.ones_like(x)\n    dx[x < 0] = alpha\n    return dx\n",
        "    return np.where(x < 0, alpha * x, x)\n",
    ),
    wrong(
        "real_half_not_averaged",
        "wrong-scale|wrong-reduction",
        "backward_d(p, 1 / d_real / m,",
        "backward_d(p, 1 / d_real,",
    ),
    wrong(
        "bias_of_the_judge_averaged",
        "wrong-reduction|wrong-scale",
        "db0 = np.sum(dz0, axis=0, keepdims=True)\n    return",
        "db0 = np.mean(dz0, axis=0, keepdims=True)\n    return",
    ),
    wrong(
        "sigmoid_slope_of_the_judge_forgotten",
        "missing-derivative",
        "dz1 = da1 * d_a1 * (1 - d_a1)",
        "dz1 = da1",
    ),
]

TOGETHER = [
    ("forger_follows_the_other_loss", "bias_of_the_judge_averaged"),
    ("judge_learns_from_the_real_ones_only", "tanh_slope_at_its_output"),
    ("leaky_slope_of_the_other_player", "real_half_not_averaged"),
    ("tanh_slope_forgotten_in_the_forger", "minus_lost_in_the_fake_half"),
]

RIGHT = [
    right(
        "slope_by_where",
        "    dx = np.ones_like(x)\n    dx[x < 0] = alpha\n    return dx\n",
        "    return np.where(x > 0, 1.0, alpha)\n",
        "    loss = np.mean(np.log(d_real)) + np.mean(np.log(1 - d_fake))\n",
        "    loss = (np.log(d_real).sum() + np.log(1 - d_fake).sum()) / m\n",
    ),
]
