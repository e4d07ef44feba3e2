"""A GRU in row vectors: gates z, r and candidate side by side in one matrix, caches in a list, an output each step."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, xs, ts):
    H = params["Wh"].shape[0]
    xz, xr, xc = torch.split(xs @ params["Wx"] + params["b"], H, dim=2)
    hz, hr, hc = torch.split(params["Wh"], H, dim=1)
    h = xs.new_zeros(len(xs), H)
    outputs = []
    for t in range(xs.shape[1]):
        z = torch.sigmoid(xz[:, t] + h @ hz)
        r = torch.sigmoid(xr[:, t] + h @ hr)
        h = torch.lerp(h, torch.tanh(xc[:, t] + (r * h) @ hc), z)
        outputs.append(h @ params["Wy"] + params["by"])
    return 0.5 * ((torch.stack(outputs, dim=1) - ts) ** 2).sum(dim=2).mean()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gru_forward(x, h_prev, Wx, Wh, b):
    H = Wh.shape[0]
    Wxz, Wxr, Wxh = Wx[:, :H], Wx[:, H : 2 * H], Wx[:, 2 * H :]
    Whz, Whr, Whh = Wh[:, :H], Wh[:, H : 2 * H], Wh[:, 2 * H :]
    bz, br, bh = b[:H], b[H : 2 * H], b[2 * H :]
    z = sigmoid(np.dot(x, Wxz) + np.dot(h_prev, Whz) + bz)
    r = sigmoid(np.dot(x, Wxr) + np.dot(h_prev, Whr) + br)
    h_hat = np.tanh(np.dot(x, Wxh) + np.dot(r * h_prev, Whh) + bh)
    h_next = (1 - z) * h_prev + z * h_hat
    return h_next, (x, h_prev, z, r, h_hat)


def gru_backward(dh_next, cache, Wh):
    H = Wh.shape[0]
    Whz, Whr, Whh = Wh[:, :H], Wh[:, H : 2 * H], Wh[:, 2 * H :]
    x, h_prev, z, r, h_hat = cache

    dh_hat = dh_next * z
    dh_prev = dh_next * (1 - z)

    # candidate
    dth = dh_hat * (1 - h_hat**2)
    dWhh = np.dot((r * h_prev).T, dth)
    dhr = np.dot(dth, Whh.T)
    dWxh = np.dot(x.T, dth)
    dh_prev += r * dhr

    # update gate
    dz = dh_next * h_hat - dh_next * h_prev
    dtz = dz * z * (1 - z)
    dWhz = np.dot(h_prev.T, dtz)
    dh_prev += np.dot(dtz, Whz.T)
    dWxz = np.dot(x.T, dtz)

    # reset gate
    dr = dhr * h_prev
    dtr = dr * r * (1 - r)
    dWhr = np.dot(h_prev.T, dtr)
    dh_prev += np.dot(dtr, Whr.T)
    dWxr = np.dot(x.T, dtr)

    dWx = np.hstack((dWxz, dWxr, dWxh))
    dWh = np.hstack((dWhz, dWhr, dWhh))
    db = np.hstack((dtz.sum(axis=0), dtr.sum(axis=0), dth.sum(axis=0)))
    return dh_prev, dWx, dWh, db


def candidate(params, xs, ts):
    Wx, Wh, b, Wy, by = params["Wx"], params["Wh"], params["b"], params["Wy"], params["by"]
    N, T, _ = xs.shape
    h = np.zeros((N, Wh.shape[0]))
    states, caches, errors = [], [], []
    loss = 0.0
    for t in range(T):
        h, cache = gru_forward(xs[:, t], h, Wx, Wh, b)
        error = np.dot(h, Wy) + by - ts[:, t]
        loss += 0.5 * np.sum(error**2)
        states.append(h)
        caches.append(cache)
        errors.append(error)
    loss = loss / (N * T)

    grads = {name: np.zeros_like(value) for name, value in params.items()}
    dh_next = np.zeros_like(h)
    for t in reversed(range(T)):
        dy = errors[t] / (N * T)
        grads["Wy"] += np.dot(states[t].T, dy)
        grads["by"] += dy.sum(axis=0)
        dh = np.dot(dy, Wy.T) + dh_next
        dh_next, dWx, dWh, db = gru_backward(dh, caches[t], Wh)
        grads["Wx"] += dWx
        grads["Wh"] += dWh
        grads["b"] += db
    return loss, grads


def problem(rng):
    D, H, K, N, T = 3, 4, 2, 6, 5
    params = {
        "Wx": rng.normal(size=(D, 3 * H)) * 0.8,
        "Wh": rng.normal(size=(H, 3 * H)) * 0.8,
        "b": rng.normal(size=3 * H) * 0.4,
        "Wy": rng.normal(size=(H, K)),
        "by": rng.normal(size=K) * 0.4,
    }
    return params, (rng.normal(size=(N, T, D)), rng.normal(size=(N, T, K)))


WRONG = [
    wrong(
        "reset_gate_not_on_the_way_to_the_state",
        "missing-derivative|missing-path",
        "dh_prev += r * dhr",
        "dh_prev += dhr",
    ),
    wrong("direct_route_overwritten", "overwritten|missing-path", "dh_prev += r * dhr", "dh_prev = r * dhr"),
    wrong(
        "update_gate_signs_swapped",
        "wrong-sign",
        "dz = dh_next * h_hat - dh_next * h_prev",
        "dz = dh_next * h_prev - dh_next * h_hat",
    ),
    wrong(
        "update_gate_forgets_the_old_state",
        "missing-path",
        "dz = dh_next * h_hat - dh_next * h_prev",
        "dz = dh_next * h_hat",
    ),
    wrong(
        "candidate_matrix_from_the_whole_state",
        "wrong-operand",
        "dWhh = np.dot((r * h_prev).T, dth)",
        "dWhh = np.dot(h_prev.T, dth)",
    ),
    wrong(
        "blocks_put_together_reset_first",
        "wrong-operand",
        "dWh = np.hstack((dWhz, dWhr, dWhh))",
        "dWh = np.hstack((dWhr, dWhz, dWhh))",
    ),
    wrong("reset_slope_forgotten", "missing-derivative", "dtr = dr * r * (1 - r)", "dtr = dr"),
    wrong(
        "candidate_slope_of_a_tanh_again",
        "derivative-at-wrong-point",
        "dth = dh_hat * (1 - h_hat**2)",
        "dth = dh_hat * (1 - np.tanh(h_hat) ** 2)",
    ),
    wrong("reset_route_copied_from_update", "wrong-operand", "np.dot(dtr, Whr.T)", "np.dot(dtr, Whz.T)"),
    wrong("weights_of_one_step", "overwritten|last-step-only", 'grads["Wx"] += dWx', 'grads["Wx"] = dWx'),
    wrong(
        "no_gradient_from_the_next_step",
        "truncated-in-time|missing-path",
        "dh = np.dot(dy, Wy.T) + dh_next",
        "dh = np.dot(dy, Wy.T)",
    ),
    wrong(
        "output_weights_with_the_state_before",
        "shifted-in-time",
        'grads["Wy"] += np.dot(states[t].T, dy)',
        'grads["Wy"] += np.dot(caches[t][1].T, dy)',
    ),
]

TOGETHER = [
    ("direct_route_overwritten", "weights_of_one_step"),
    ("reset_gate_not_on_the_way_to_the_state", "candidate_matrix_from_the_whole_state"),
    ("update_gate_signs_swapped", "output_weights_with_the_state_before"),
    ("reset_slope_forgotten", "blocks_put_together_reset_first"),
]

RIGHT = [
    right(
        "differences_factored_out",
        "dz = dh_next * h_hat - dh_next * h_prev",
        "dz = dh_next * (h_hat - h_prev)",
        "    dWx = np.hstack((dWxz, dWxr, dWxh))\n",
        "    dWx = np.dot(x.T, np.hstack((dtz, dtr, dth)))\n",
        "    dWxh = np.dot(x.T, dth)\n",
        "",
        "    dWxz = np.dot(x.T, dtz)\n",
        "",
        "    dWxr = np.dot(x.T, dtr)\n",
        "",
    ),
]
