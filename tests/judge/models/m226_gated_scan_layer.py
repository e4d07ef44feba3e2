"""A selective state-space layer: a causal depthwise convolution, input-dependent steps, a scan, a gate, a skip."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, y):
    p = params
    steps, rank, states = x.shape[1], p["W_dt"].shape[1], p["A_log"].shape[1]
    u, z = (x @ p["W_in"].T).chunk(2, dim=-1)
    u = F.pad(u.transpose(1, 2), (p["taps"].shape[1] - 1, 0))
    u = F.silu(F.conv1d(u, p["taps"][:, None, :], p["tap_bias"], groups=len(p["taps"]))).transpose(1, 2)
    low, B, C = torch.split(u @ p["W_x"].T, [rank, states, states], dim=-1)
    delta = F.softplus(low @ p["W_dt"].T + p["dt_bias"])
    A = -torch.exp(p["A_log"])
    h = torch.zeros(x.shape[0], *A.shape, dtype=x.dtype)
    outputs = []
    for t in range(steps):
        decay = torch.exp(delta[:, t, :, None] * A)
        h = decay * h + (delta[:, t] * u[:, t])[:, :, None] * B[:, t, None, :]
        outputs.append((h * C[:, t, None, :]).sum(-1) + p["D"] * u[:, t])
    gated = torch.stack(outputs, dim=1) * F.silu(z)
    return ((gated @ p["W_out"].T - y) ** 2).mean()


def logistic(a):
    return 1 / (1 + np.exp(-a))


def silu(a):
    return a * logistic(a)


def silu_grad(a):
    s = logistic(a)
    return s * (1 + a * (1 - s))


def causal_conv(u, taps, bias):
    length, width = u.shape[1], taps.shape[1]
    padded = np.concatenate([np.zeros((len(u), width - 1, u.shape[2])), u], axis=1)
    out = np.zeros_like(u) + bias
    for k in range(width):
        out += padded[:, k : k + length] * taps[:, k]
    return out, padded


def causal_conv_backward(dout, padded, taps):
    length, width = dout.shape[1], taps.shape[1]
    dpadded = np.zeros_like(padded)
    dtaps = np.zeros_like(taps)
    for k in range(width):
        dtaps[:, k] = (dout * padded[:, k : k + length]).sum(axis=(0, 1))
        dpadded[:, k : k + length] += dout * taps[:, k]
    return dpadded[:, width - 1 :], dtaps, dout.sum(axis=(0, 1))


def scan(u, delta, A, B, C, D):
    n, length, channels = u.shape
    hs = np.zeros((length + 1, n, channels, A.shape[1]))
    ys = np.zeros_like(u)
    for t in range(length):
        decay = np.exp(delta[:, t, :, None] * A)
        hs[t + 1] = decay * hs[t] + (delta[:, t] * u[:, t])[:, :, None] * B[:, t, None, :]
        ys[:, t] = np.einsum("ncs,ns->nc", hs[t + 1], C[:, t]) + D * u[:, t]
    return ys, hs


def scan_backward(dys, u, delta, A, B, C, D, hs):
    du, ddelta = dys * D, np.zeros_like(delta)
    dA, dB, dC = np.zeros_like(A), np.zeros_like(B), np.zeros_like(C)
    dh = np.zeros_like(hs[0])
    for t in range(u.shape[1] - 1, -1, -1):
        dh = dh + dys[:, t, :, None] * C[:, t, None, :]
        dC[:, t] = np.einsum("nc,ncs->ns", dys[:, t], hs[t + 1])
        decay = np.exp(delta[:, t, :, None] * A)
        dexponent = dh * hs[t] * decay
        dA += np.einsum("ncs,nc->cs", dexponent, delta[:, t])
        along_B = np.einsum("ncs,ns->nc", dh, B[:, t])
        ddelta[:, t] += (dexponent * A).sum(axis=-1)
        ddelta[:, t] += along_B * u[:, t]
        du[:, t] += along_B * delta[:, t]
        dB[:, t] = np.einsum("ncs,nc->ns", dh, delta[:, t] * u[:, t])
        dh = dh * decay
    return du, ddelta, dA, dB, dC, (dys * u).sum(axis=(0, 1))


def candidate(params, x, y):
    p = params
    width, rank = p["taps"].shape[0], p["W_dt"].shape[1]
    states = p["A_log"].shape[1]

    both = x @ p["W_in"].T
    pre, z = both[..., :width], both[..., width:]
    mixed, padded = causal_conv(pre, p["taps"], p["tap_bias"])
    u = silu(mixed)
    proj = u @ p["W_x"].T
    low, B, C = proj[..., :rank], proj[..., rank : rank + states], proj[..., rank + states :]
    raw = low @ p["W_dt"].T + p["dt_bias"]
    delta = np.log1p(np.exp(raw))
    A = -np.exp(p["A_log"])
    ys, hs = scan(u, delta, A, B, C, p["D"])
    gated = ys * silu(z)
    error = gated @ p["W_out"].T - y
    loss = np.mean(error**2)

    g = {}
    dout = 2 * error / error.size
    g["W_out"] = np.einsum("nto,ntc->oc", dout, gated)
    dgated = dout @ p["W_out"]
    dz = dgated * ys * silu_grad(z)
    dys = dgated * silu(z)
    du, ddelta, dA, dB, dC, g["D"] = scan_backward(dys, u, delta, A, B, C, p["D"], hs)
    g["A_log"] = dA * A
    draw = ddelta * logistic(raw)
    g["dt_bias"] = draw.sum(axis=(0, 1))
    g["W_dt"] = np.einsum("ntc,ntr->cr", draw, low)
    dproj = np.concatenate([draw @ p["W_dt"], dB, dC], axis=-1)
    g["W_x"] = np.einsum("ntk,ntc->kc", dproj, u)
    du = du + dproj @ p["W_x"]
    dmixed = du * silu_grad(mixed)
    dpre, g["taps"], g["tap_bias"] = causal_conv_backward(dmixed, padded, p["taps"])
    dboth = np.concatenate([dpre, dz], axis=-1)
    g["W_in"] = np.einsum("ntk,ntd->kd", dboth, x)
    return loss, g


def problem(rng):
    features, width, states, rank, kernel = 3, 5, 4, 2, 3
    params = {
        "W_in": rng.normal(size=(2 * width, features)) * 0.5,
        "taps": rng.normal(size=(width, kernel)) * 0.6,
        "tap_bias": rng.normal(size=width) * 0.3,
        "W_x": rng.normal(size=(rank + 2 * states, width)) * 0.5,
        "W_dt": rng.normal(size=(width, rank)) * 0.8,
        "dt_bias": rng.normal(size=width) * 0.5,
        "A_log": rng.normal(size=(width, states)) * 0.5,
        "D": rng.normal(size=width),
        "W_out": rng.normal(size=(features, width)) * 0.5,
    }
    return params, (rng.normal(size=(6, 7, features)), rng.normal(size=(6, 7, features)))


WRONG = [
    wrong(
        "gate_gets_no_gradient",
        "missing-path",
        "dboth = np.concatenate([dpre, dz], axis=-1)",
        "dboth = np.concatenate([dpre, np.zeros_like(dz)], axis=-1)",
    ),
    wrong(
        "carry_decayed_before_the_push_of_its_own_step",
        "shifted-in-time|wrong-operand",
        "        dh = dh * decay\n    return",
        "    return",
        "        dexponent = dh * hs[t] * decay\n",
        "        dh = dh * decay\n        dexponent = dh * hs[t] * decay\n",
    ),
    wrong(
        "exponent_paired_with_the_state_after",
        "shifted-in-time|wrong-operand",
        "dexponent = dh * hs[t] * decay",
        "dexponent = dh * hs[t + 1] * decay",
    ),
    wrong(
        "derivative_of_exponential_left_out",
        "missing-derivative",
        "dexponent = dh * hs[t] * decay",
        "dexponent = dh * hs[t]",
    ),
    wrong(
        "step_only_felt_through_the_input",
        "missing-path",
        "        ddelta[:, t] += (dexponent * A).sum(axis=-1)\n",
        "",
    ),
    wrong("rate_returned_instead_of_its_logarithm", "missing-derivative", 'g["A_log"] = dA * A', 'g["A_log"] = dA'),
    wrong(
        "sign_of_the_rate_forgotten",
        "wrong-sign",
        'g["A_log"] = dA * A',
        'g["A_log"] = dA * np.exp(p["A_log"])',
    ),
    wrong(
        "softplus_slope_taken_at_the_step",
        "derivative-at-wrong-point",
        "draw = ddelta * logistic(raw)",
        "draw = ddelta * logistic(delta)",
    ),
    wrong(
        "skip_sends_nothing_to_the_input",
        "missing-path",
        "du, ddelta = dys * D, np.zeros_like(delta)",
        "du, ddelta = np.zeros_like(u), np.zeros_like(delta)",
    ),
    wrong(
        "projected_input_forgotten_as_a_route",
        "missing-path",
        '    du = du + dproj @ p["W_x"]\n',
        "",
    ),
    wrong(
        "input_gradient_cut_off_at_the_wrong_end",
        "shifted-in-time|wrong-operand",
        "return dpadded[:, width - 1 :], dtaps",
        "return dpadded[:, :length], dtaps",
    ),
    wrong(
        "output_weight_sees_the_ungated_scan",
        "wrong-operand",
        'g["W_out"] = np.einsum("nto,ntc->oc", dout, gated)',
        'g["W_out"] = np.einsum("nto,ntc->oc", dout, ys)',
    ),
]

TOGETHER = [
    ("gate_gets_no_gradient", "softplus_slope_taken_at_the_step"),
    ("exponent_paired_with_the_state_after", "output_weight_sees_the_ungated_scan"),
    ("rate_returned_instead_of_its_logarithm", "skip_sends_nothing_to_the_input"),
    ("step_only_felt_through_the_input", "input_gradient_cut_off_at_the_wrong_end"),
]

RIGHT = [
    right(
        "slopes_through_outputs",
        "draw = ddelta * logistic(raw)",
        "draw = ddelta * (1 - np.exp(-delta))",
        "    return s * (1 + a * (1 - s))\n",
        "    return s + a * s * (1 - s)\n",
    ),
]
