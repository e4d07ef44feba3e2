"""A sequence classifier: gated convolutions with residual connections and dropout, and the largest value over time."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, y, kept):
    class_weight = torch.tensor([1.0, 2.5, 0.6], dtype=x.dtype)
    h = F.conv1d(x, params["W_in"].unsqueeze(-1), params["b_in"])
    for k in (1, 2):
        fed = h * kept[:, k - 1] / 0.75
        both = F.conv1d(fed, params[f"W{k}"], params[f"b{k}"], padding=k, dilation=k)
        h = (h + F.glu(both, dim=1)) * math.sqrt(0.5)
    logits = F.linear(h.amax(dim=2), params["V"], params["c"])
    decay = params["W1"].pow(2).sum() + params["W2"].pow(2).sum()
    return {"fit": F.cross_entropy(logits, y, weight=class_weight), "decay": 0.02 * decay}


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def padded_in_time(h, by):
    return np.pad(h, ((0, 0), (0, 0), (by, by)))


def conv(h, W, b, dilation):
    steps = h.shape[2]
    padded = padded_in_time(h, dilation)
    out = np.zeros((len(h), len(W), steps)) + b[:, None]
    for j in range(W.shape[2]):
        window = padded[:, :, j * dilation : j * dilation + steps]
        out += np.einsum("oc,nct->not", W[:, :, j], window)
    return out


def conv_backward(dout, h, W, dilation):
    steps = h.shape[2]
    padded = padded_in_time(h, dilation)
    dpadded, dW = np.zeros_like(padded), np.zeros_like(W)
    for j in range(W.shape[2]):
        at = slice(j * dilation, j * dilation + steps)
        dW[:, :, j] = np.einsum("not,nct->oc", dout, padded[:, :, at])
        dpadded[:, :, at] += np.einsum("oc,not->nct", W[:, :, j], dout)
    dh = dpadded[:, :, dilation : dilation + steps]
    return dh, dW, dout.sum(axis=(0, 2))


def candidate(params, x, y, kept):
    class_weight = np.array([1.0, 2.5, 0.6])
    V = params["V"]
    h = np.einsum("oc,nct->not", params["W_in"], x) + params["b_in"][:, None]
    cache = []
    for k in (1, 2):
        keep = kept[:, k - 1] / 0.75
        fed = h * keep
        both = conv(fed, params[f"W{k}"], params[f"b{k}"], dilation=k)
        value, gate = np.split(both, 2, axis=1)
        gate = sigmoid(gate)
        cache.append((keep, fed, value, gate))
        h = (h + value * gate) * np.sqrt(0.5)
    best = h.argmax(axis=2)[:, :, None]
    pooled = np.take_along_axis(h, best, axis=2)[:, :, 0]
    logits = pooled @ V.T + params["c"]
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    probs = e / e.sum(axis=1, keepdims=True)
    weight = class_weight[y]
    fit = -np.sum(weight * np.log(probs[np.arange(len(y)), y])) / weight.sum()
    decay = np.sum(params["W1"] ** 2) + np.sum(params["W2"] ** 2)
    loss = fit + 0.02 * decay

    grads = {}
    dlogits = (probs - np.eye(len(V))[y]) * weight[:, None] / weight.sum()
    grads["V"] = dlogits.T @ pooled
    grads["c"] = dlogits.sum(axis=0)
    dpooled = dlogits @ V
    dh = np.zeros_like(h)
    np.put_along_axis(dh, best, dpooled[:, :, None], axis=2)
    for k in (2, 1):
        keep, fed, value, gate = cache[k - 1]
        dh = dh * np.sqrt(0.5)
        dvalue = dh * gate
        dgate = dh * value * gate * (1 - gate)
        dboth = np.concatenate([dvalue, dgate], axis=1)
        dfed, dW, db = conv_backward(dboth, fed, params[f"W{k}"], dilation=k)
        grads[f"W{k}"] = dW + 2 * 0.02 * params[f"W{k}"]
        grads[f"b{k}"] = db
        dh = dh + dfed * keep
    grads["W_in"] = np.einsum("not,nct->oc", dh, x)
    grads["b_in"] = dh.sum(axis=(0, 2))
    return loss, grads


def problem(rng):
    params = {
        "W_in": rng.normal(size=(4, 4)) * 0.7,
        "b_in": rng.normal(size=4) * 0.3,
        "W1": rng.normal(size=(8, 4, 3)) * 0.5,
        "b1": rng.normal(size=8) * 0.4,
        "W2": rng.normal(size=(8, 4, 3)) * 0.5,
        "b2": rng.normal(size=8) * 0.4,
        "V": rng.normal(size=(3, 4)) * 0.9,
        "c": rng.normal(size=3) * 0.3,
    }
    y = rng.permutation([0, 0, 1, 1, 2, 2])
    kept = (rng.uniform(size=(6, 2, 4, 9)) < 0.75).astype(float)
    return params, (rng.normal(size=(6, 4, 9)), y, kept)


WRONG = [
    wrong("residual_route_forgotten", "missing-path", "dh = dh + dfed * keep", "dh = dfed * keep"),
    wrong(
        "root_of_a_half_forgotten",
        "missing-derivative|wrong-scale",
        "        dh = dh * np.sqrt(0.5)\n",
        "",
    ),
    wrong(
        "slope_of_the_gate_forgotten",
        "missing-derivative",
        "dgate = dh * value * gate * (1 - gate)",
        "dgate = dh * value",
    ),
    wrong(
        "slope_at_the_open_gate",
        "derivative-at-wrong-point",
        "dgate = dh * value * gate * (1 - gate)",
        "dgate = dh * value * sigmoid(gate) * (1 - sigmoid(gate))",
    ),
    wrong("dropout_forgotten_backwards", "missing-derivative", "dh = dh + dfed * keep", "dh = dh + dfed"),
    wrong(
        "dropout_of_the_other_block",
        "wrong-operand",
        "dh = dh + dfed * keep",
        "dh = dh + dfed * kept[:, 2 - k] / 0.75",
    ),
    wrong(
        "input_before_the_dropout",
        "wrong-operand",
        "cache.append((keep, fed, value, gate))",
        "cache.append((keep, h, value, gate))",
    ),
    wrong(
        "kernel_flipped",
        "flipped|wrong-operand",
        'np.einsum("oc,not->nct", W[:, :, j], dout)',
        'np.einsum("oc,not->nct", W[:, :, -1 - j], dout)',
    ),
    wrong("overlapping_windows_assigned", "overwritten", "dpadded[:, :, at] += np", "dpadded[:, :, at] = np"),
    wrong(
        "dilation_forgotten_backwards",
        "wrong-operand|shifted-in-time|different-function",
        'conv_backward(dboth, fed, params[f"W{k}"], dilation=k)',
        'conv_backward(dboth, fed, params[f"W{k}"], dilation=1)',
    ),
    wrong(
        "class_weights_forgotten",
        "missing-derivative|wrong-operand|different-function",
        "* weight[:, None] / weight.sum()",
        "/ len(y)",
    ),
    wrong(
        "divided_by_the_number_of_samples",
        "wrong-term-weight|wrong-scale|wrong-reduction",
        "* weight[:, None] / weight.sum()",
        "* weight[:, None] / len(y)",
    ),
    wrong(
        "largest_value_as_a_mean",
        "different-function",
        "    dh = np.zeros_like(h)\n    np.put_along_axis(dh, best, dpooled[:, :, None], axis=2)\n",
        "    dh = np.repeat(dpooled[:, :, None], h.shape[2], axis=2) / h.shape[2]\n",
    ),
    wrong(
        "biases_decay_too",
        "wrong-part-penalised",
        'grads[f"b{k}"] = db',
        'grads[f"b{k}"] = db + 2 * 0.02 * params[f"b{k}"]',
    ),
    wrong("input_bias_of_one_sample", "one-sample-only", "dh.sum(axis=(0, 2))", "dh[0].sum(axis=1)"),
    wrong(
        "input_matrix_transposed",
        "transposed",
        'np.einsum("not,nct->oc", dh, x)',
        'np.einsum("not,nct->co", dh, x)',
    ),
    wrong(
        "gate_from_the_first_half_in_both",
        "wrong-operand|different-function",
        "value, gate = np.split(both, 2, axis=1)",
        "gate, value = np.split(both, 2, axis=1)",
        "np.concatenate([dvalue, dgate], axis=1)",
        "np.concatenate([dgate, dvalue], axis=1)",
    ),
    wrong(
        "padded_at_the_start_only_in_both",
        "shifted-in-time|different-function",
        "((0, 0), (0, 0), (by, by))",
        "((0, 0), (0, 0), (2 * by, 0))",
        "dpadded[:, :, dilation : dilation + steps]",
        "dpadded[:, :, 2 * dilation :]",
    ),
    wrong(
        "tanh_of_the_value_in_both",
        "different-function",
        "gate = sigmoid(gate)",
        "value, gate = np.tanh(value), sigmoid(gate)",
        "dvalue = dh * gate",
        "dvalue = dh * gate * (1 - value**2)",
    ),
    wrong("half_the_decay_in_cost", "wrong-loss", "fit + 0.02 * decay", "fit + 0.5 * 0.02 * decay"),
]

TOGETHER = [
    ("slope_of_the_gate_forgotten", "dropout_of_the_other_block"),
    ("residual_route_forgotten", "input_matrix_transposed"),
    ("kernel_flipped", "divided_by_the_number_of_samples"),
    ("slope_at_the_open_gate", "input_bias_of_one_sample"),
    ("input_before_the_dropout", "biases_decay_too"),
    ("root_of_a_half_forgotten", "kernel_flipped", "input_bias_of_one_sample"),
    ("dropout_forgotten_backwards", "class_weights_forgotten", "biases_decay_too"),
]

TAPS = """\
    dpadded, dW = np.zeros_like(padded), np.zeros_like(W)
    for j in range(W.shape[2]):
        at = slice(j * dilation, j * dilation + steps)
        dW[:, :, j] = np.einsum("not,nct->oc", dout, padded[:, :, at])
        dpadded[:, :, at] += np.einsum("oc,not->nct", W[:, :, j], dout)
    dh = dpadded[:, :, dilation : dilation + steps]
    return dh, dW, dout.sum(axis=(0, 2))
"""

# one matrix of all windows, as in im2col
COLUMNS = """\
    n, channels = h.shape[:2]
    rows = np.arange(3)[:, None] * dilation + np.arange(steps)
    columns = padded[:, :, rows].transpose(0, 3, 1, 2).reshape(n * steps, channels * 3)
    flat = dout.transpose(0, 2, 1).reshape(n * steps, len(W))
    dW = (flat.T @ columns).reshape(W.shape)
    dcolumns = (flat @ W.reshape(len(W), -1)).reshape(n, steps, channels, 3).transpose(0, 2, 3, 1)
    dpadded = np.zeros_like(padded)
    np.add.at(dpadded, (slice(None), slice(None), rows), dcolumns)
    return dpadded[:, :, dilation:-dilation], dW, flat.sum(axis=0)
"""

# the gradient of the input as a convolution with the kernel turned round, in and out exchanged
TURNED = """\
    turned = W[:, :, ::-1].transpose(1, 0, 2)
    dh = conv(dout, turned, np.zeros(len(turned)), dilation)
    windows = np.stack([padded[:, :, j : j + steps] for j in (0, dilation, 2 * dilation)])
    return dh, np.einsum("not,jnct->ocj", dout, windows), np.einsum("not->o", dout)
"""

RIGHT = [
    right(
        "windows_as_a_matrix",
        TAPS,
        COLUMNS,
        "    dlogits = (probs - np.eye(len(V))[y]) * weight[:, None] / weight.sum()\n",
        "    dlogits = probs.copy()\n"
        "    dlogits[np.arange(len(y)), y] -= 1\n"
        "    dlogits *= (weight / weight.sum())[:, None]\n",
    ),
    right(
        "kernel_turned_round",
        TAPS,
        TURNED,
        "    dh = np.zeros_like(h)\n    np.put_along_axis(dh, best, dpooled[:, :, None], axis=2)\n",
        "    dh = np.where(h == h.max(axis=2, keepdims=True), dpooled[:, :, None], 0.0)\n",
    ),
    right(
        "sample_by_sample_and_step_by_step",
        TAPS,
        "    dh, dW, db = np.zeros_like(h), np.zeros_like(W), np.zeros(len(W))\n"
        "    for i in range(len(h)):\n"
        "        for t in range(steps):\n"
        "            db += dout[i, :, t]\n"
        "            for j in range(3):\n"
        "                source = t + (j - 1) * dilation\n"
        "                if 0 <= source < steps:\n"
        "                    dW[:, :, j] += np.outer(dout[i, :, t], h[i, :, source])\n"
        "                    dh[i, :, source] += W[:, :, j].T @ dout[i, :, t]\n"
        "    return dh, dW, db\n",
        "        dvalue = dh * gate\n"
        "        dgate = dh * value * gate * (1 - gate)\n"
        "        dboth = np.concatenate([dvalue, dgate], axis=1)\n",
        "        dboth = np.tile(dh, (1, 2, 1))\n"
        "        dboth[:, : value.shape[1]] *= gate\n"
        "        dboth[:, value.shape[1] :] *= value * (gate - gate**2)\n",
    ),
]
