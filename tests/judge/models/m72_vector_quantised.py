"""A vector-quantised autoencoder: windows of a signal as codewords, passed straight through, with a commitment term."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x):
    windows = x.unflatten(1, (3, 4))
    h = F.leaky_relu(F.linear(windows, params["W1"], params["b1"]), 0.1)
    z = F.linear(h, params["W2"], params["b2"])
    nearest = torch.cdist(z.flatten(0, 1), params["codebook"]).argmin(dim=1)
    code = F.embedding(nearest, params["codebook"]).view_as(z)
    straight = z + (code - z).detach()
    g = torch.tanh(straight.flatten(1) @ params["D1"] + params["c1"])
    decoded = g @ params["D2"] + params["c2"]
    return {
        "reconstruction": F.mse_loss(decoded, x),
        "codebook": 1.5 * F.mse_loss(code, z.detach()),
        "commitment": 0.6 * F.mse_loss(z, code.detach()),
    }


def nearest_codeword(z, codebook):
    distance = np.sum((z[..., None, :] - codebook) ** 2, axis=-1)
    return np.argmin(distance, axis=-1)


def encode(params, window):
    a = window @ params["W1"].T + params["b1"]
    h = np.where(a > 0, a, 0.1 * a)
    return a, h, h @ params["W2"].T + params["b2"]


def candidate(params, x, alpha=1.5, beta=0.6):
    codebook, W2, D1, D2 = (params[name] for name in ("codebook", "W2", "D1", "D2"))
    n, parts = len(x), 3
    windows = np.split(x, parts, axis=1)
    cache = [encode(params, window) for window in windows]
    z = np.stack([latent for _, _, latent in cache], axis=1)
    nearest = nearest_codeword(z, codebook)
    code = codebook[nearest]
    flat = code.reshape(n, -1)
    pre = flat @ D1 + params["c1"]
    g = np.tanh(pre)
    decoded = g @ D2 + params["c2"]
    error = decoded - x
    gap = code - z
    apart = np.mean(gap**2)
    loss = np.mean(error**2) + alpha * apart + beta * apart

    grads = {name: np.zeros_like(value) for name, value in params.items()}
    # decoder
    ddecoded = 2 * error / error.size
    grads["D2"] += g.T @ ddecoded
    grads["c2"] += ddecoded.sum(axis=0)
    dg = ddecoded @ D2.T
    dpre = dg * (1 - g**2)
    grads["D1"] += flat.T @ dpre
    grads["c1"] += dpre.sum(axis=0)
    dflat = dpre @ D1.T
    # the codebook moves to the latents only, the latents to the codewords and along the decoder's gradient
    dcode = alpha * 2 * gap / gap.size
    np.add.at(grads["codebook"], nearest, dcode)
    dz = dflat.reshape(z.shape) - beta * 2 * gap / gap.size
    # encoder
    for part in range(parts):
        a, h, _ = cache[part]
        grads["W2"] += dz[:, part].T @ h
        grads["b2"] += dz[:, part].sum(axis=0)
        dh = dz[:, part] @ W2
        da = dh * np.where(a > 0, 1.0, 0.1)
        grads["W1"] += da.T @ windows[part]
        grads["b1"] += da.sum(axis=0)
    return loss, grads


def problem(rng):
    params = {
        "W1": rng.normal(size=(7, 4)) * 0.7,
        "b1": rng.normal(size=7) * 0.4,
        "W2": rng.normal(size=(3, 7)) * 0.6,
        "b2": rng.normal(size=3) * 0.3,
        "codebook": rng.normal(size=(5, 3)),
        "D1": rng.normal(size=(9, 9)) * 0.5,
        "c1": rng.normal(size=9) * 0.4,
        "D2": rng.normal(size=(9, 12)) * 0.5,
        "c2": rng.normal(size=12) * 0.4,
    }
    return params, (rng.normal(size=(8, 12)),)


WRONG = [
    wrong(
        "nothing_straight_through",
        "missing-path",
        "dz = dflat.reshape(z.shape) - beta * 2 * gap / gap.size",
        "dz = -beta * 2 * gap / gap.size",
    ),
    wrong(
        "codebook_learns_the_reconstruction_too",
        "any",
        "np.add.at(grads[",
        "dcode = dcode + dflat.reshape(z.shape)\n    np.add.at(grads[",
    ),
    wrong(
        "codebook_term_not_held_back_from_the_encoder",
        "wrong-term-weight|wrong-scale",
        "- beta * 2 * gap / gap.size",
        "- (alpha + beta) * 2 * gap / gap.size",
    ),
    wrong(
        "commitment_forgotten",
        "missing-path|wrong-term-weight",
        "dz = dflat.reshape(z.shape) - beta * 2 * gap / gap.size",
        "dz = dflat.reshape(z.shape)",
    ),
    wrong(
        "commitment_sign",
        "wrong-sign|wrong-term-weight",
        "dflat.reshape(z.shape) - beta",
        "dflat.reshape(z.shape) + beta",
    ),
    wrong(
        "codebook_sign",
        "wrong-sign|wrong-term-weight",
        "dcode = alpha * 2 * gap / gap.size",
        "dcode = alpha * 2 * (z - code) / gap.size",
    ),
    wrong(
        "codewords_used_twice_overwrite",
        "overwritten",
        'np.add.at(grads["codebook"], nearest, dcode)',
        'grads["codebook"][nearest] += dcode',
    ),
    wrong(
        "codebook_averaged_over_the_latents_only",
        "wrong-term-weight|wrong-scale|wrong-reduction",
        "dcode = alpha * 2 * gap / gap.size",
        "dcode = alpha * 2 * gap / nearest.size",
    ),
    wrong(
        "relu_slope_for_the_leaky_one",
        "different-function",
        "np.where(a > 0, 1.0, 0.1)",
        "(a > 0)",
    ),
    wrong("leaky_slope_forgotten", "missing-derivative", "da = dh * np.where(a > 0, 1.0, 0.1)", "da = dh"),
    wrong(
        "tanh_slope_at_its_input",
        "derivative-at-wrong-point",
        "dpre = dg * (1 - g**2)",
        "dpre = dg * (1 - pre**2)",
    ),
    wrong(
        "latents_for_the_codewords",
        "wrong-operand",
        'grads["D1"] += flat.T @ dpre',
        'grads["D1"] += z.reshape(n, -1).T @ dpre',
    ),
    wrong("first_decoder_matrix_not_transposed", "not-transposed", "dflat = dpre @ D1.T", "dflat = dpre @ D1"),
    wrong(
        "error_averaged_over_the_batch_only",
        "wrong-term-weight|wrong-scale|wrong-reduction",
        "ddecoded = 2 * error / error.size",
        "ddecoded = 2 * error / n",
    ),
    wrong(
        "bias_of_the_last_window",
        "last-step-only|overwritten",
        'grads["b2"] += dz[:, part].sum(axis=0)',
        'grads["b2"] = dz[:, part].sum(axis=0)',
    ),
    wrong(
        "first_window_each_time",
        "wrong-operand|shifted-in-time",
        'grads["W1"] += da.T @ windows[part]',
        'grads["W1"] += da.T @ windows[0]',
    ),
    wrong(
        "likeliest_by_inner_product_in_both",
        "different-function|wrong-operand",
        "    distance = np.sum((z[..., None, :] - codebook) ** 2, axis=-1)\n    return np.argmin(distance, axis=-1)\n",
        "    return np.argmax(z @ codebook.T, axis=-1)\n",
    ),
    wrong(
        "latents_decoded_in_both",
        "wrong-operand|different-function",
        "flat = code.reshape(n, -1)",
        "flat = z.reshape(n, -1)",
    ),
    wrong(
        "absolute_error_in_both",
        "different-function",
        "np.mean(error**2) + alpha",
        "np.mean(np.abs(error)) + alpha",
        "ddecoded = 2 * error / error.size",
        "ddecoded = np.sign(error) / error.size",
    ),
    wrong("commitment_not_weighted_in_cost", "wrong-loss", "+ beta * apart", "+ apart"),
]

TOGETHER = [
    ("commitment_sign", "tanh_slope_at_its_input"),
    ("codewords_used_twice_overwrite", "relu_slope_for_the_leaky_one"),
    ("codebook_sign", "first_decoder_matrix_not_transposed"),
    ("latents_for_the_codewords", "codebook_averaged_over_the_latents_only"),
    ("bias_of_the_last_window", "error_averaged_over_the_batch_only"),
    ("first_window_each_time", "codewords_used_twice_overwrite", "latents_for_the_codewords"),
]

RIGHT = [
    right(
        "assignment_as_a_matrix",
        '    np.add.at(grads["codebook"], nearest, dcode)\n',
        "    member = (nearest.reshape(-1, 1) == np.arange(len(codebook))).astype(float)\n"
        '    grads["codebook"] = member.T @ dcode.reshape(len(member), -1)\n',
        "    distance = np.sum((z[..., None, :] - codebook) ** 2, axis=-1)\n",
        "    distance = np.sum(codebook**2, axis=1) - 2 * z @ codebook.T\n",
    ),
    right(
        "codewords_by_their_members",
        '    dcode = alpha * 2 * gap / gap.size\n    np.add.at(grads["codebook"], nearest, dcode)\n',
        "    for word in range(len(codebook)):\n"
        "        members = z[nearest == word]\n"
        "        pull = len(members) * codebook[word] - members.sum(axis=0)\n"
        '        grads["codebook"][word] = 2 * alpha * pull / z.size\n',
    ),
    right(
        "all_windows_at_once",
        "    for part in range(parts):\n        a, h, _ = cache[part]\n"
        '        grads["W2"] += dz[:, part].T @ h\n        grads["b2"] += dz[:, part].sum(axis=0)\n'
        "        dh = dz[:, part] @ W2\n        da = dh * np.where(a > 0, 1.0, 0.1)\n"
        '        grads["W1"] += da.T @ windows[part]\n        grads["b1"] += da.sum(axis=0)\n',
        "    a, h = (np.stack([kept[i] for kept in cache], axis=1).reshape(n * parts, -1) for i in (0, 1))\n"
        "    dz = dz.reshape(n * parts, -1)\n"
        '    grads["W2"], grads["b2"] = dz.T @ h, dz.sum(axis=0)\n'
        "    da = (dz @ W2) * (0.1 + 0.9 * np.heaviside(a, 0.0))\n"
        '    grads["W1"], grads["b1"] = da.T @ x.reshape(n * parts, -1), da.sum(axis=0)\n',
    ),
]
