"""A small WaveNet: mu-law codes, dilated causal convolutions with gates, summed skips, the next code by softmax."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, wave):
    mu = 4
    companded = torch.sign(wave) * torch.log1p(mu * wave.abs()) / math.log1p(mu)
    codes = ((companded + 1) / 2 * mu + 0.5).long()
    h = F.embedding(codes[:, :-1], params["embed"]).transpose(1, 2)
    skips = []
    for i, dilation in enumerate((1, 2, 4)):
        padded = F.pad(h, (dilation, 0))
        pre = F.conv1d(padded, params[f"W{i}"], params[f"b{i}"], dilation=dilation)
        signal, gate = pre.chunk(2, dim=1)
        z = torch.tanh(signal) * torch.sigmoid(gate)
        skips.append(torch.einsum("sg,ngt->nst", params[f"S{i}"], z))
        if i < 2:
            h = h + torch.einsum("rg,ngt->nrt", params[f"R{i}"], z)
    out = F.relu(sum(skips) + params["c0"][:, None])
    out = F.relu(F.conv1d(out, params["H1"][:, :, None], params["c1"]))
    logits = F.conv1d(out, params["H2"][:, :, None], params["c2"])
    return F.cross_entropy(logits, codes[:, 1:])


def mu_law(wave, classes):
    mu = classes - 1
    squeezed = np.sign(wave) * np.log(1 + mu * np.abs(wave)) / np.log(1 + mu)
    return np.floor((squeezed + 1) / 2 * mu + 0.5).astype(int)


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def delayed(a, d):
    """The signal d steps ago, and nothing before the first step."""
    past = np.zeros_like(a)
    past[:, d:] = a[:, :-d]
    return past


def weight_grad(dout, a):
    return np.einsum("nto,nti->oi", dout, a)


def candidate(params, wave, classes=5):
    dilations = [2**i for i in range(3)]
    last = len(dilations) - 1
    codes = mu_law(wave, classes)
    inputs, targets = codes[:, :-1], codes[:, 1:]
    n, steps = inputs.shape
    embed, H1, H2 = params["embed"], params["H1"], params["H2"]

    x = embed[inputs]
    total = params["c0"]
    kept = []
    for i, d in enumerate(dilations):
        W = params[f"W{i}"]
        past = delayed(x, d)
        pre = past @ W[:, :, 0].T + x @ W[:, :, 1].T + params[f"b{i}"]
        half = pre.shape[2] // 2
        f, s = np.tanh(pre[..., :half]), sigmoid(pre[..., half:])
        z = f * s
        kept.append((x, past, f, s, z))
        total = total + z @ params[f"S{i}"].T
        if i < last:
            x = x + z @ params[f"R{i}"].T
    r1 = np.maximum(total, 0)
    a2 = r1 @ H1.T + params["c1"]
    r2 = np.maximum(a2, 0)
    logits = r2 @ H2.T + params["c2"]
    logits = logits - logits.max(axis=2, keepdims=True)
    logp = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
    onehot = np.eye(classes)[targets]
    loss = -np.sum(onehot * logp) / (n * steps)

    grads = {}
    dlogits = (np.exp(logp) - onehot) / (n * steps)
    grads["H2"] = weight_grad(dlogits, r2)
    grads["c2"] = dlogits.sum(axis=(0, 1))
    da2 = (dlogits @ H2) * (a2 > 0)
    grads["H1"] = weight_grad(da2, r1)
    grads["c1"] = da2.sum(axis=(0, 1))
    dtotal = (da2 @ H1) * (total > 0)
    grads["c0"] = dtotal.sum(axis=(0, 1))
    dx = np.zeros_like(x)
    for i in reversed(range(len(dilations))):
        d, W = dilations[i], params[f"W{i}"]
        x_in, past, f, s, z = kept[i]
        grads[f"S{i}"] = weight_grad(dtotal, z)
        dz = dtotal @ params[f"S{i}"]
        if i < last:
            grads[f"R{i}"] = weight_grad(dx, z)
            dz += dx @ params[f"R{i}"]
        df = dz * s * (1 - f**2)
        ds = dz * f * s * (1 - s)
        dpre = np.concatenate([df, ds], axis=2)
        grads[f"W{i}"] = np.stack([weight_grad(dpre, past), weight_grad(dpre, x_in)], axis=2)
        grads[f"b{i}"] = dpre.sum(axis=1).sum(axis=0)
        dpast = dpre @ W[:, :, 0]
        dx = dx + dpre @ W[:, :, 1]
        dx[:, :-d] += dpast[:, d:]
    grads["embed"] = np.zeros_like(embed)
    np.add.at(grads["embed"], inputs, dx)
    return loss, grads


def problem(rng):
    params = {"embed": rng.normal(size=(5, 3))}
    for i in range(3):
        params[f"W{i}"] = rng.normal(size=(8, 3, 2)) * 0.7
        params[f"b{i}"] = rng.normal(size=8) * 0.4
        params[f"S{i}"] = rng.normal(size=(10, 4)) * 0.8
        if i < 2:
            params[f"R{i}"] = rng.normal(size=(3, 4)) * 0.8
    params["c0"] = rng.normal(size=10) * 0.3
    params["H1"] = rng.normal(size=(11, 10)) * 0.5
    params["c1"] = rng.normal(size=11) * 0.3
    params["H2"] = rng.normal(size=(5, 11)) * 0.5
    params["c2"] = rng.normal(size=5) * 0.3
    return params, (np.tanh(rng.normal(size=(9, 7)) * 0.5),)


WRONG = [
    wrong("residual_route_forgotten", "missing-path", "dx = dx + dpre @ W[:, :, 1]", "dx = dpre @ W[:, :, 1]"),
    wrong(
        "skips_forgotten_where_there_is_a_residual",
        "missing-path|overwritten",
        'dz += dx @ params[f"R{i}"]',
        'dz = dx @ params[f"R{i}"]',
    ),
    wrong(
        "delayed_tap_not_moved_back",
        "shifted-in-time|wrong-operand|different-function",
        "dx[:, :-d] += dpast[:, d:]",
        "dx += dpast",
    ),
    wrong(
        "delayed_tap_forgotten",
        "missing-path|truncated-in-time|overwritten",
        "        dx[:, :-d] += dpast[:, d:]\n",
        "",
    ),
    wrong(
        "taps_in_the_other_order",
        "flipped|wrong-operand",
        "[weight_grad(dpre, past), weight_grad(dpre, x_in)]",
        "[weight_grad(dpre, x_in), weight_grad(dpre, past)]",
    ),
    wrong(
        "back_tap_one_step_ago_in_every_layer",
        "shifted-in-time|wrong-operand|different-function",
        "weight_grad(dpre, past), weight",
        "weight_grad(dpre, delayed(x_in, 1)), weight",
    ),
    wrong(
        "tanh_slope_at_the_gated_output",
        "derivative-at-wrong-point|wrong-operand",
        "df = dz * s * (1 - f**2)",
        "df = dz * s * (1 - z**2)",
    ),
    wrong(
        "gate_forgotten_in_the_product_rule",
        "missing-derivative|missing-path|different-function",
        "df = dz * s * (1 - f**2)",
        "df = dz * (1 - f**2)",
    ),
    wrong(
        "sigmoid_slope_of_the_slope",
        "derivative-at-wrong-point",
        "ds = dz * f * s * (1 - s)",
        "ds = dz * f * sigmoid(s) * (1 - sigmoid(s))",
    ),
    wrong(
        "gate_and_signal_swapped",
        "wrong-operand|flipped",
        "dpre = np.concatenate([df, ds], axis=2)",
        "dpre = np.concatenate([ds, df], axis=2)",
    ),
    wrong(
        "codes_used_twice_count_once",
        "overwritten",
        'np.add.at(grads["embed"], inputs, dx)',
        'grads["embed"][inputs] += dx',
    ),
    wrong("relu_on_the_skips_forgotten", "missing-derivative", "(da2 @ H1) * (total > 0)", "da2 @ H1"),
    wrong(
        "averaged_over_the_sequences_only",
        "wrong-scale|wrong-reduction",
        "dlogits = (np.exp(logp) - onehot) / (n * steps)",
        "dlogits = (np.exp(logp) - onehot) / n",
    ),
    wrong(
        "wraps_around_in_both",
        "different-function|shifted-in-time|wrong-operand",
        "    past = np.zeros_like(a)\n    past[:, d:] = a[:, :-d]\n    return past\n",
        "    return np.roll(a, d, axis=1)\n",
        "        dx[:, :-d] += dpast[:, d:]\n",
        "        dx += np.roll(dpast, -d, axis=1)\n",
    ),
    wrong(
        "linear_codes_in_both",
        "different-function|wrong-operand",
        "squeezed = np.sign(wave) * np.log(1 + mu * np.abs(wave)) / np.log(1 + mu)",
        "squeezed = wave",
    ),
    wrong(
        "bits_per_step_in_cost",
        "wrong-loss",
        "loss = -np.sum(onehot * logp) / (n * steps)",
        "loss = -np.sum(onehot * logp) / np.log(2) / (n * steps)",
    ),
]

TOGETHER = [
    ("residual_route_forgotten", "relu_on_the_skips_forgotten"),
    ("gate_forgotten_in_the_product_rule", "sigmoid_slope_of_the_slope"),
    ("taps_in_the_other_order", "codes_used_twice_count_once"),
    ("delayed_tap_not_moved_back", "tanh_slope_at_the_gated_output"),
    ("wraps_around_in_both", "back_tap_one_step_ago_in_every_layer"),
    ("skips_forgotten_where_there_is_a_residual", "averaged_over_the_sequences_only"),
    ("delayed_tap_forgotten", "gate_and_signal_swapped", "codes_used_twice_count_once"),
    ("linear_codes_in_both", "relu_on_the_skips_forgotten", "sigmoid_slope_of_the_slope"),
]

RIGHT = [
    right(
        "codes_as_a_matrix",
        '    grads["embed"] = np.zeros_like(embed)\n    np.add.at(grads["embed"], inputs, dx)\n',
        '    grads["embed"] = np.tensordot(np.eye(classes)[inputs], dx, axes=((0, 1), (0, 1)))\n',
        "    past = np.zeros_like(a)\n    past[:, d:] = a[:, :-d]\n    return past\n",
        "    return np.pad(a, ((0, 0), (d, 0), (0, 0)))[:, : a.shape[1]]\n",
        'np.einsum("nto,nti->oi", dout, a)',
        "dout.reshape(-1, dout.shape[2]).T @ a.reshape(-1, a.shape[2])",
    ),
    right(
        "steps_one_by_one",
        "        dx = dx + dpre @ W[:, :, 1]\n        dx[:, :-d] += dpast[:, d:]\n",
        "        dx_in = dx.copy()\n"
        "        for t in range(steps):\n"
        "            dx_in[:, t] += dpre[:, t] @ W[:, :, 1]\n"
        "            if t >= d:\n"
        "                dx_in[:, t - d] += dpast[:, t]\n"
        "        dx = dx_in\n",
        '    np.add.at(grads["embed"], inputs, dx)\n',
        "    for sample in range(n):\n"
        "        for t in range(steps):\n"
        '            grads["embed"][inputs[sample, t]] += dx[sample, t]\n',
    ),
    right(
        "gates_through_hyperbolic_tangents",
        "return 1 / (1 + np.exp(-v))",
        "return (1 + np.tanh(v / 2)) / 2",
        "df = dz * s * (1 - f**2)",
        "df = dz * (s - z * f)",
        "ds = dz * f * s * (1 - s)",
        "ds = dz * (z - z * s)",
        "dlogits = (np.exp(logp) - onehot) / (n * steps)",
        "dlogits = np.exp(logp)\n"
        "    dlogits[np.arange(n)[:, None], np.arange(steps), targets] -= 1\n"
        "    dlogits /= targets.size",
    ),
]
