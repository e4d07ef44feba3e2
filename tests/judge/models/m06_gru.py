"""A GRU, the last state classified by a softmax (fused cross-entropy)."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, y):
    h = torch.zeros(x.shape[0], params["U_r"].shape[0], dtype=x.dtype)
    for t in range(x.shape[1]):
        z = torch.sigmoid(x[:, t] @ params["W_z"] + h @ params["U_z"] + params["b_z"])
        r = torch.sigmoid(x[:, t] @ params["W_r"] + h @ params["U_r"])
        g = torch.tanh(x[:, t] @ params["W_g"] + (r * h) @ params["U_g"])
        h = (1 - z) * g + z * h
    return F.cross_entropy(h @ params["V"], y)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def candidate(params, x, y):
    U_z, U_r, U_g, V = params["U_z"], params["U_r"], params["U_g"], params["V"]
    n, steps = x.shape[0], x.shape[1]
    h = [np.zeros((n, U_r.shape[0]))]
    z, r, g = [], [], []
    for t in range(steps):
        z.append(sigmoid(x[:, t] @ params["W_z"] + h[t] @ U_z + params["b_z"]))
        r.append(sigmoid(x[:, t] @ params["W_r"] + h[t] @ U_r))
        g.append(np.tanh(x[:, t] @ params["W_g"] + (r[t] * h[t]) @ U_g))
        h.append((1 - z[t]) * g[t] + z[t] * h[t])
    logits = h[steps] @ V
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = p / p.sum(axis=1, keepdims=True)
    loss = -np.mean(np.log(p[np.arange(n), y]))
    d = {name: np.zeros_like(value) for name, value in params.items()}
    dlogits = p.copy()
    dlogits[np.arange(n), y] -= 1
    dlogits = dlogits / n
    d["V"] = h[steps].T @ dlogits
    dh = dlogits @ V.T
    for t in reversed(range(steps)):
        dg = dh * (1 - z[t])
        dz = dh * (h[t] - g[t])
        dh_next = dh * z[t]
        dag = dg * (1 - g[t] ** 2)
        d["W_g"] += x[:, t].T @ dag
        d["U_g"] += (r[t] * h[t]).T @ dag
        drh = dag @ U_g.T
        dar = drh * h[t] * r[t] * (1 - r[t])
        dh_next += drh * r[t]
        d["W_r"] += x[:, t].T @ dar
        d["U_r"] += h[t].T @ dar
        dh_next += dar @ U_r.T
        daz = dz * z[t] * (1 - z[t])
        d["W_z"] += x[:, t].T @ daz
        d["U_z"] += h[t].T @ daz
        d["b_z"] += daz.sum(axis=0)
        dh_next += daz @ U_z.T
        dh = dh_next
    return loss, d


def problem(rng):
    params = {}
    for gate in "zrg":
        params["W_" + gate] = rng.normal(size=(3, 4))
        params["U_" + gate] = rng.normal(size=(4, 4)) * 0.7
    params["b_z"] = rng.normal(size=4)
    params["V"] = rng.normal(size=(4, 2))
    return params, (rng.normal(size=(6, 5, 3)), rng.integers(0, 2, size=6))


WRONG = [
    wrong("candidate_derivative_forgotten", "missing-derivative", "dag = dg * (1 - g[t] ** 2)", "dag = dg"),
    wrong("update_gate_derivative_forgotten", "missing-derivative", "daz = dz * z[t] * (1 - z[t])", "daz = dz"),
    wrong("reset_gate_derivative_forgotten", "missing-derivative", "drh * h[t] * r[t] * (1 - r[t])", "drh * h[t]"),
    wrong(
        "candidate_derivative_of_the_activation_function",
        "derivative-at-wrong-point",
        "dg * (1 - g[t] ** 2)",
        "dg * (1 - np.tanh(g[t]) ** 2)",
    ),
    wrong("sigmoid_slope_for_the_candidate", "different-function", "dg * (1 - g[t] ** 2)", "dg * g[t] * (1 - g[t])"),
    wrong("tanh_slope_for_the_reset_gate", "different-function", "h[t] * r[t] * (1 - r[t])", "h[t] * (1 - r[t] ** 2)"),
    wrong("route_through_the_reset_product_forgotten", "missing-path", "        dh_next += drh * r[t]\n", ""),
    wrong("route_through_the_reset_gate_forgotten", "missing-path", "        dh_next += dar @ U_r.T\n", ""),
    wrong("route_through_the_update_gate_forgotten", "missing-path", "        dh_next += daz @ U_z.T\n", ""),
    wrong("kept_state_forgotten", "missing-path", "dh_next = dh * z[t]", "dh_next = np.zeros_like(dh)"),
    wrong("new_state_in_the_reset_gate", "shifted-in-time", 'U_r"] += h[t].T', 'U_r"] += h[t + 1].T'),
    wrong(
        "new_state_in_the_update_gate",
        "shifted-in-time|extra-derivative",
        "dh * (h[t] - g[t])",
        "dh * (h[t + 1] - g[t])",
    ),
    wrong("U_g_not_transposed", "not-transposed", "dag @ U_g.T", "dag @ U_g"),
    wrong("U_z_not_transposed", "not-transposed", "daz @ U_z.T", "daz @ U_z"),
    wrong("W_z_assigned", "overwritten|last-step-only", 'd["W_z"] += ', 'd["W_z"] = '),
    wrong("U_g_without_the_reset_gate", "wrong-operand|missing-path", "(r[t] * h[t]).T @ dag", "h[t].T @ dag"),
    wrong("update_gate_the_other_way", "wrong-sign", "dz = dh * (h[t] - g[t])", "dz = dh * (g[t] - h[t])"),
    wrong(
        "last_step_only",
        "last-step-only|truncated-in-time",
        "        dh = dh_next\n",
        "        dh = np.zeros_like(dh)\n",
    ),
    wrong("two_steps_only", "truncated-in-time", "in reversed(range(steps)):", "in reversed(range(steps - 2, steps)):"),
    wrong("bias_averaged", "wrong-scale|wrong-reduction", "daz.sum(axis=0)", "daz.mean(axis=0)"),
    wrong(
        "gates_swapped_in_both",
        "different-function|wrong-operand",
        "h.append((1 - z[t]) * g[t] + z[t] * h[t])",
        "h.append(z[t] * g[t] + (1 - z[t]) * h[t])",
        "dg = dh * (1 - z[t])",
        "dg = dh * z[t]",
        "dz = dh * (h[t] - g[t])",
        "dz = dh * (g[t] - h[t])",
        "dh_next = dh * z[t]",
        "dh_next = dh * (1 - z[t])",
    ),
]

TOGETHER = [
    ("candidate_derivative_forgotten", "route_through_the_reset_gate_forgotten"),
    ("U_g_not_transposed", "U_z_not_transposed"),
    ("kept_state_forgotten", "update_gate_derivative_forgotten"),
    ("reset_gate_derivative_forgotten", "W_z_assigned"),
    ("bias_averaged", "route_through_the_update_gate_forgotten"),
    ("bias_averaged", "candidate_derivative_forgotten", "reset_gate_derivative_forgotten"),
]

RIGHT = [
    right(
        "weights_after_the_loop",
        '        d["U_r"] += h[t].T @ dar\n',
        "        late.append((t, dar))\n",
        "    dh = dlogits @ V.T\n",
        "    dh = dlogits @ V.T\n    late = []\n",
        "    return loss, d",
        '    for t, dar in late:\n        d["U_r"] += np.einsum("ni,nj->ij", h[t], dar)\n    return loss, d',
    ),
    right("sigmoid_by_tanh", "1 / (1 + np.exp(-a))", "0.5 * (1 + np.tanh(a / 2))"),
]
