"""A selective state space layer: steps, inputs and read-outs made from the data, a diagonal scan, a gated output."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, y):
    u = F.silu(F.linear(x, params["W_in"]))
    gate = F.silu(F.linear(x, params["W_gate"]))
    delta = F.softplus(F.linear(u, params["W_delta"], params["b_delta"]))
    B = F.linear(u, params["W_B"])
    C = F.linear(u, params["W_C"])
    A = -params["A_log"].exp()
    decay = torch.exp(delta.unsqueeze(-1) * A)
    fed = torch.einsum("nld,nls,nld->nlds", delta, B, u)
    state = torch.zeros_like(fed[:, 0])
    read = []
    for t in range(x.shape[1]):
        state = decay[:, t] * state + fed[:, t]
        read.append(torch.einsum("nds,ns->nd", state, C[:, t]))
    scanned = torch.stack(read, dim=1) + params["D"] * u
    return F.mse_loss(F.linear(scanned * gate, params["W_out"]), y)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def silu(a):
    return a * sigmoid(a)


def silu_prime(a):
    s = sigmoid(a)
    return s + a * s * (1 - s)


def outer_sum(d, a):
    """The gradient of a weight (outputs, inputs) that every sample and every step uses."""
    return np.einsum("nto,nti->oi", d, a)


def candidate(params, x, y):
    W_in, W_gate, W_delta = params["W_in"], params["W_gate"], params["W_delta"]
    W_B, W_C, W_out, D = params["W_B"], params["W_C"], params["W_out"], params["D"]
    n, L, _ = x.shape
    A = -np.exp(params["A_log"])
    channels, size = A.shape
    p = x @ W_in.T
    u = silu(p)
    z = x @ W_gate.T
    gate = silu(z)
    q = u @ W_delta.T + params["b_delta"]
    delta = np.log1p(np.exp(q))
    B = u @ W_B.T
    C = u @ W_C.T

    h = np.zeros((L + 1, n, channels, size))
    A_bar = np.zeros((L, n, channels, size))
    s = np.zeros_like(u)
    for t in range(L):
        A_bar[t] = np.exp(delta[:, t, :, None] * A)
        drive = (delta[:, t] * u[:, t])[:, :, None] * B[:, t, None, :]
        h[t + 1] = A_bar[t] * h[t] + drive
        s[:, t] = np.sum(h[t + 1] * C[:, t, None, :], axis=2) + D * u[:, t]
    out = (s * gate) @ W_out.T
    error = out - y
    loss = np.mean(error**2)

    dout = 2 * error / error.size
    dmixed = dout @ W_out
    ds = dmixed * gate
    dz = dmixed * s * silu_prime(z)
    du = ds * D
    dB, dC, ddelta = np.zeros_like(B), np.zeros_like(C), np.zeros_like(delta)
    dA = np.zeros_like(A)
    dh = np.zeros((n, channels, size))
    for t in reversed(range(L)):
        dC[:, t] = np.einsum("nd,nds->ns", ds[:, t], h[t + 1])
        dh += ds[:, t, :, None] * C[:, t, None, :]
        dexponent = dh * h[t] * A_bar[t]
        ddelta[:, t] = np.sum(dexponent * A, axis=2)
        dA += np.sum(dexponent * delta[:, t, :, None], axis=0)
        ddrive = np.sum(dh * B[:, t, None, :], axis=2)
        ddelta[:, t] += ddrive * u[:, t]
        du[:, t] += ddrive * delta[:, t]
        dB[:, t] = np.einsum("nds,nd->ns", dh, delta[:, t] * u[:, t])
        dh = dh * A_bar[t]
    dq = ddelta * sigmoid(q)
    du = du + dq @ W_delta
    du = du + dB @ W_B + dC @ W_C
    dp = du * silu_prime(p)
    grads = {
        "W_out": outer_sum(dout, s * gate),
        "D": np.sum(ds * u, axis=(0, 1)),
        "A_log": dA * A,
        "W_B": outer_sum(dB, u),
        "W_C": outer_sum(dC, u),
        "W_delta": outer_sum(dq, u),
        "b_delta": dq.sum(axis=(0, 1)),
        "W_gate": outer_sum(dz, x),
        "W_in": outer_sum(dp, x),
    }
    return loss, grads


def problem(rng):
    params = {
        "W_in": rng.normal(size=(4, 3)) * 0.6,
        "W_gate": rng.normal(size=(4, 3)) * 0.9,
        "W_delta": rng.normal(size=(4, 4)) * 0.5,
        "b_delta": rng.normal(size=4) * 0.4 - 0.2,
        "W_B": rng.normal(size=(7, 4)) * 0.45,
        "W_C": rng.normal(size=(7, 4)) * 0.45,
        "A_log": rng.normal(size=(4, 7)) * 0.5 - 0.9,
        "D": rng.normal(size=4) * 0.4 + 0.9,
        "W_out": rng.normal(size=(2, 4)) * 0.7,
    }
    return params, (rng.normal(size=(6, 5, 3)), rng.normal(size=(6, 5, 2)))


WRONG = [
    wrong(
        "state_gradient_not_decayed",
        "missing-derivative|wrong-operand",
        "        dh = dh * A_bar[t]\n",
        "",
    ),
    wrong(
        "state_gradient_not_carried",
        "truncated-in-time|missing-path|overwritten",
        "dh += ds[:, t, :, None] * C[:, t, None, :]",
        "dh = ds[:, t, :, None] * C[:, t, None, :]",
    ),
    wrong(
        "new_state_for_the_old_in_the_decay",
        "shifted-in-time|wrong-operand",
        "dexponent = dh * h[t] * A_bar[t]",
        "dexponent = dh * h[t + 1] * A_bar[t]",
    ),
    wrong(
        "old_state_for_the_new_in_the_read_out",
        "shifted-in-time|wrong-operand",
        "ds[:, t], h[t + 1])",
        "ds[:, t], h[t])",
    ),
    wrong(
        "decay_slope_forgotten",
        "missing-derivative|different-function",
        "dexponent = dh * h[t] * A_bar[t]",
        "dexponent = dh * h[t]",
    ),
    wrong(
        "step_size_of_the_input_overwrites",
        "overwritten|missing-path",
        "ddelta[:, t] += ddrive * u[:, t]",
        "ddelta[:, t] = ddrive * u[:, t]",
    ),
    wrong("sign_of_the_decay_rate", "wrong-sign", '"A_log": dA * A,', '"A_log": dA * -A,'),
    wrong(
        "softplus_slope_at_its_output",
        "derivative-at-wrong-point|wrong-operand",
        "dq = ddelta * sigmoid(q)",
        "dq = ddelta * sigmoid(delta)",
    ),
    wrong(
        "gate_slope_without_its_second_term",
        "different-function|missing-path|missing-derivative",
        "dz = dmixed * s * silu_prime(z)",
        "dz = dmixed * s * sigmoid(z)",
    ),
    wrong(
        "step_weights_transposed_backwards",
        "not-transposed",
        "du = du + dq @ W_delta\n",
        "du = du + dq @ W_delta.T\n",
    ),
    wrong(
        "selection_not_followed_to_the_input",
        "missing-path",
        "    du = du + dB @ W_B + dC @ W_C\n",
        "",
    ),
    wrong("feedthrough_forgotten", "missing-path", "du = ds * D\n", "du = np.zeros_like(u)\n"),
    wrong(
        "feedthrough_ungated",
        "missing-derivative|wrong-operand|missing-path",
        '"D": np.sum(ds * u, axis=(0, 1)),',
        '"D": np.sum(dmixed * u, axis=(0, 1)),',
    ),
    wrong(
        "decay_by_an_euler_step_in_both",
        "different-function",
        "A_bar[t] = np.exp(delta[:, t, :, None] * A)",
        "A_bar[t] = 1 + delta[:, t, :, None] * A",
        "dexponent = dh * h[t] * A_bar[t]",
        "dexponent = dh * h[t]",
    ),
    wrong(
        "inputs_not_discretised_in_both",
        "different-function|wrong-operand|missing-derivative|missing-path",
        "drive = (delta[:, t] * u[:, t])[:, :, None]",
        "drive = u[:, t][:, :, None]",
        "        ddelta[:, t] += ddrive * u[:, t]\n        du[:, t] += ddrive * delta[:, t]\n",
        "        du[:, t] += ddrive\n",
        "dh, delta[:, t] * u[:, t])",
        "dh, u[:, t])",
    ),
    wrong(
        "errors_summed_over_the_outputs_in_cost",
        "wrong-loss",
        "loss = np.mean(error**2)",
        "loss = np.sum(error**2) / (n * L)",
    ),
]

TOGETHER = [
    ("state_gradient_not_carried", "sign_of_the_decay_rate"),
    ("new_state_for_the_old_in_the_decay", "gate_slope_without_its_second_term"),
    ("decay_slope_forgotten", "step_weights_transposed_backwards"),
    ("old_state_for_the_new_in_the_read_out", "feedthrough_forgotten"),
    ("decay_by_an_euler_step_in_both", "feedthrough_ungated"),
    ("state_gradient_not_decayed", "softplus_slope_at_its_output"),
    ("step_size_of_the_input_overwrites", "selection_not_followed_to_the_input", "sign_of_the_decay_rate"),
    ("inputs_not_discretised_in_both", "gate_slope_without_its_second_term", "old_state_for_the_new_in_the_read_out"),
]

RIGHT = [
    right(
        "all_state_gradients_then_sums",
        '        dC[:, t] = np.einsum("nd,nds->ns", ds[:, t], h[t + 1])\n',
        "",
        "        dexponent = dh * h[t] * A_bar[t]\n"
        "        ddelta[:, t] = np.sum(dexponent * A, axis=2)\n"
        "        dA += np.sum(dexponent * delta[:, t, :, None], axis=0)\n"
        "        ddrive = np.sum(dh * B[:, t, None, :], axis=2)\n"
        "        ddelta[:, t] += ddrive * u[:, t]\n"
        "        du[:, t] += ddrive * delta[:, t]\n"
        '        dB[:, t] = np.einsum("nds,nd->ns", dh, delta[:, t] * u[:, t])\n'
        "        dh = dh * A_bar[t]\n",
        "        kept[:, t] = dh\n"
        "        dh = dh * A_bar[t]\n"
        "    past, now = h[:-1].swapaxes(0, 1), h[1:].swapaxes(0, 1)\n"
        '    dC = np.einsum("ntd,ntds->nts", ds, now)\n'
        '    dB = np.einsum("ntds,ntd,ntd->nts", kept, delta, u)\n'
        '    ddrive = np.einsum("ntds,nts->ntd", kept, B)\n'
        "    du = du + ddrive * delta\n"
        "    decayed = kept * past * A_bar.swapaxes(0, 1)\n"
        '    ddelta = np.einsum("ntds,ds->ntd", decayed, A) + ddrive * u\n'
        '    dA = np.einsum("ntds,ntd->ds", decayed, delta)\n',
        "    dB, dC, ddelta = np.zeros_like(B), np.zeros_like(C), np.zeros_like(delta)\n    dA = np.zeros_like(A)\n",
        "    kept = np.zeros((n, L, channels, size))\n",
    ),
    right(
        "discounts_summed_instead_of_scanned",
        "        h[t + 1] = A_bar[t] * h[t] + drive\n",
        "        drives.append(drive)\n"
        "        clock = np.cumsum(delta[:, : t + 1], axis=1)\n"
        "        for k in range(t + 1):\n"
        "            h[t + 1] += np.exp((clock[:, t] - clock[:, k])[:, :, None] * A) * drives[k]\n",
        "    s = np.zeros_like(u)\n",
        "    s = np.zeros_like(u)\n    drives = []\n",
    ),
    right(
        "one_matrix_for_all_projections",
        "    du = du + dq @ W_delta\n    du = du + dB @ W_B + dC @ W_C\n",
        "    heads = np.concatenate([dq, dB, dC], axis=2)\n"
        "    du += heads @ np.concatenate([W_delta, W_B, W_C])\n"
        "    dW_delta, dW_B, dW_C = np.split(outer_sum(heads, u), [channels, channels + size])\n",
        "outer_sum(dB, u)",
        "dW_B",
        "outer_sum(dC, u)",
        "dW_C",
        "outer_sum(dq, u)",
        "dW_delta",
        "    return s + a * s * (1 - s)\n",
        "    return s * (1 + a - a * s)\n",
    ),
]
