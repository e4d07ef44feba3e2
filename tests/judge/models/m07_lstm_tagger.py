"""An LSTM that labels every step: the gates in one matrix, in the order i, f, g, o; loss averaged over all steps."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, y):
    batch, steps, _ = x.shape
    h = x.new_zeros(batch, params["U"].shape[0])
    c = torch.zeros_like(h)
    losses = []
    for t in range(steps):
        i, f, g, o = (x[:, t] @ params["W"] + h @ params["U"] + params["b"]).chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        losses.append(F.cross_entropy(h @ params["V"], y[:, t]))
    return torch.stack(losses).mean()


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def candidate(params, x, y):
    W, U, V = params["W"], params["U"], params["V"]
    n, steps, units = x.shape[0], x.shape[1], U.shape[0]
    h, c = [np.zeros((n, units))], [np.zeros((n, units))]
    gates, probabilities, loss = [], [], 0.0
    for t in range(steps):
        z = x[:, t] @ W + h[t] @ U + params["b"]
        i, f, o = sigmoid(z[:, :units]), sigmoid(z[:, units : 2 * units]), sigmoid(z[:, 3 * units :])
        g = np.tanh(z[:, 2 * units : 3 * units])
        c.append(f * c[t] + i * g)
        h.append(o * np.tanh(c[t + 1]))
        gates.append((i, f, g, o))
        e = np.exp(h[t + 1] @ V)
        p = e / e.sum(axis=1, keepdims=True)
        probabilities.append(p)
        loss = loss - np.log(p[np.arange(n), y[:, t]]).sum() / (n * steps)
    dW, dU, dV, db = np.zeros_like(W), np.zeros_like(U), np.zeros_like(V), np.zeros_like(params["b"])
    dh_next, dc_next = np.zeros((n, units)), np.zeros((n, units))
    for t in range(steps - 1, -1, -1):
        i, f, g, o = gates[t]
        ds = probabilities[t].copy()
        ds[np.arange(n), y[:, t]] -= 1
        ds /= n * steps
        dV += h[t + 1].T @ ds
        dh = ds @ V.T + dh_next
        q = np.tanh(c[t + 1])
        do = dh * q * o * (1 - o)
        dc = dh * o * (1 - q**2) + dc_next
        di = dc * g * i * (1 - i)
        df = dc * c[t] * f * (1 - f)
        dg = dc * i * (1 - g**2)
        dc_next = dc * f
        dz = np.hstack([di, df, dg, do])
        dW += x[:, t].T @ dz
        dU += h[t].T @ dz
        db += dz.sum(axis=0)
        dh_next = dz @ U.T
    return loss, {"W": dW, "U": dU, "b": db, "V": dV}


def problem(rng):
    params = {
        "W": rng.normal(size=(2, 12)),
        "U": rng.normal(size=(3, 12)) * 0.8,
        "b": rng.normal(size=12) * 0.5,
        "V": rng.normal(size=(3, 4)),
    }
    return params, (rng.normal(size=(6, 5, 2)), rng.integers(0, 4, size=(6, 5)))


WRONG = [
    wrong("cell_state_not_carried_back", "truncated-in-time|missing-path", "(1 - q**2) + dc_next", "(1 - q**2)"),
    wrong("state_not_carried_back", "truncated-in-time|missing-path", "dh = ds @ V.T + dh_next", "dh = ds @ V.T"),
    wrong(
        "forget_gate_not_in_the_carry",
        "missing-derivative|missing-path|wrong-operand",
        "dc_next = dc * f",
        "dc_next = dc",
    ),
    wrong("forget_gate_derivative_forgotten", "missing-derivative", "df = dc * c[t] * f * (1 - f)", "df = dc * c[t]"),
    wrong("candidate_derivative_forgotten", "missing-derivative", "dg = dc * i * (1 - g**2)", "dg = dc * i"),
    wrong(
        "cell_tanh_derivative_forgotten",
        "missing-derivative",
        "dc = dh * o * (1 - q**2) + dc_next",
        "dc = dh * o + dc_next",
    ),
    wrong(
        "cell_tanh_forgotten_in_output_gate",
        "wrong-operand",
        "do = dh * q * o * (1 - o)",
        "do = dh * c[t + 1] * o * (1 - o)",
    ),
    wrong("new_cell_in_the_forget_gate", "shifted-in-time", "df = dc * c[t] *", "df = dc * c[t + 1] *"),
    wrong("new_state_in_U", "shifted-in-time", "dU += h[t].T @ dz", "dU += h[t + 1].T @ dz"),
    wrong("old_state_in_V", "shifted-in-time", "dV += h[t + 1].T @ ds", "dV += h[t].T @ ds"),
    wrong("U_assigned", "overwritten|last-step-only|truncated-in-time", "dU += h[t].T @ dz", "dU = h[t].T @ dz"),
    wrong("V_assigned", "overwritten|last-step-only", "dV += h[t + 1].T @ ds", "dV = h[t + 1].T @ ds"),
    wrong("not_divided_by_steps", "wrong-scale|wrong-reduction", "ds /= n * steps", "ds /= n"),
    wrong(
        "last_label_only",
        "last-step-only",
        "        ds /= n * steps\n",
        "        ds /= n * steps\n        ds *= t == steps - 1\n",
    ),
    wrong("input_and_candidate_swapped", "wrong-operand", "di = dc * g * i * (1 - i)\n", "di = dc * i * i * (1 - i)\n"),
    wrong(
        "sigmoid_slope_for_the_candidate", "different-function", "dg = dc * i * (1 - g**2)", "dg = dc * i * g * (1 - g)"
    ),
    wrong(
        "gates_in_another_order",
        "wrong-operand|transposed|flipped",
        "np.hstack([di, df, dg, do])",
        "np.hstack([df, di, dg, do])",
    ),
    wrong(
        "three_steps_back_only",
        "truncated-in-time",
        "dh_next = dz @ U.T",
        "dh_next = dz @ U.T * (t > 2)",
        "dc_next = dc * f",
        "dc_next = dc * f * (t > 2)",
    ),
    wrong("bias_averaged", "wrong-scale|wrong-reduction", "db += dz.sum(axis=0)", "db += dz.mean(axis=0)"),
    wrong("cost_summed_over_steps", "wrong-loss", ".sum() / (n * steps)", ".sum() / n"),
]

TOGETHER = [
    ("cell_state_not_carried_back", "candidate_derivative_forgotten"),
    ("not_divided_by_steps", "U_assigned"),
    ("forget_gate_derivative_forgotten", "old_state_in_V"),
    ("cell_tanh_derivative_forgotten", "forget_gate_derivative_forgotten"),
    ("cost_summed_over_steps", "state_not_carried_back"),
    ("bias_averaged", "old_state_in_V", "candidate_derivative_forgotten"),
]

RIGHT = [
    right("bias_inside_the_weights", "db += dz.sum(axis=0)", "db += np.ones(n) @ dz"),
    right(
        "gradients_after_the_loop",
        "        dU += h[t].T @ dz\n",
        "        saved.append((h[t], dz))\n",
        "    for t in range(steps - 1, -1, -1):\n",
        "    saved = []\n    for t in range(steps - 1, -1, -1):\n",
        '    return loss, {"W"',
        "    dU = np.tensordot(np.array([s for s, _ in saved]), np.array([d for _, d in saved]), ([0, 1], [0, 1]))\n"
        '    return loss, {"W"',
    ),
]
