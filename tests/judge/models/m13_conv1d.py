"""A causal 1-D convolution with stride and padding, ELU, global average pooling, linear read-out; squared error."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, signal, y):
    padded = F.pad(signal, (2, 0))
    maps = F.elu(F.conv1d(padded, params["K"], params["c"], stride=2))
    pooled = maps.mean(dim=2)
    out = torch.matmul(pooled, params["W"])
    return F.mse_loss(out, y, reduction="sum") / y.shape[0]


def d_elu(z):
    return np.where(z > 0, 1, np.exp(np.minimum(z, 0)))


def candidate(params, signal, y):
    K, c, W = params["K"], params["c"], params["W"]
    n, _, length = signal.shape
    size = K.shape[2]
    x = np.pad(signal, ((0, 0), (0, 0), (2, 0)))
    steps = (x.shape[2] - size) // 2 + 1
    z = np.zeros((n, K.shape[0], steps))
    for t in range(steps):
        z[:, :, t] = np.einsum("ncs,fcs->nf", x[:, :, 2 * t : 2 * t + size], K) + c
    a = np.where(z > 0, z, np.exp(np.minimum(z, 0)) - 1)
    pooled = a.mean(axis=2)
    out = pooled @ W
    loss = np.sum((out - y) ** 2) / n
    dout = 2 * (out - y) / n
    dW = pooled.T @ dout
    dpooled = dout @ W.T
    da = np.repeat(dpooled[:, :, None] / steps, steps, axis=2)
    dz = da * d_elu(z)
    dc = dz.sum(axis=(0, 2))
    dK = np.zeros_like(K)
    for t in range(steps):
        dK += np.einsum("nf,ncs->fcs", dz[:, :, t], x[:, :, 2 * t : 2 * t + size])
    return loss, {"K": dK, "c": dc, "W": dW}


def problem(rng):
    params = {"K": rng.normal(size=(4, 2, 3)), "c": rng.normal(size=4) * 0.5, "W": rng.normal(size=(4, 5))}
    return params, (rng.normal(size=(6, 2, 9)), rng.normal(size=(6, 5)))


WRONG = [
    wrong("elu_derivative_forgotten", "missing-derivative", "dz = da * d_elu(z)", "dz = da"),
    wrong("elu_derivative_of_the_output", "derivative-at-wrong-point", "d_elu(z)\n    dc", "d_elu(a)\n    dc"),
    wrong("relu_slope_for_elu", "different-function", "da * d_elu(z)", "da * (z > 0)"),
    wrong("elu_derivative_twice", "extra-derivative", "da * d_elu(z)", "da * d_elu(z) ** 2"),
    wrong(
        "pooling_not_divided",
        "wrong-scale|wrong-reduction|missing-derivative",
        "dpooled[:, :, None] / steps",
        "dpooled[:, :, None]",
    ),
    wrong("pooling_divided_by_length", "wrong-scale", "dpooled[:, :, None] / steps", "dpooled[:, :, None] / length"),
    wrong("last_window_only", "last-step-only|overwritten", "dK += np", "dK = np"),
    wrong(
        "first_window_for_all",
        "wrong-operand",
        "dz[:, :, t], x[:, :, 2 * t : 2 * t + size])",
        "dz[:, :, t], x[:, :, :size])",
    ),
    wrong(
        "stride_forgotten_backwards",
        "wrong-operand|shifted-in-time|different-function",
        "dz[:, :, t], x[:, :, 2 * t : 2 * t + size])",
        "dz[:, :, t], x[:, :, t : t + size])",
    ),
    wrong("kernel_turned_round", "flipped", '"K": dK', '"K": dK[:, :, ::-1]'),
    wrong(
        "bias_averaged_over_steps",
        "wrong-scale|wrong-reduction",
        "dc = dz.sum(axis=(0, 2))",
        "dc = dz.mean(axis=2).sum(axis=0)",
    ),
    wrong("bias_of_last_step", "last-step-only", "dc = dz.sum(axis=(0, 2))", "dc = dz[:, :, -1].sum(axis=0)"),
    wrong("bias_of_last_sample", "one-sample-only", "dc = dz.sum(axis=(0, 2))", "dc = dz[-1].sum(axis=1)"),
    wrong("two_forgotten", "wrong-scale", "dout = 2 * (out - y) / n", "dout = (out - y) / n"),
    wrong("target_less_prediction", "wrong-sign", "dout = 2 * (out - y) / n", "dout = 2 * (y - out) / n"),
    wrong(
        "averaged_over_outputs_in_gradient",
        "wrong-scale|wrong-reduction",
        "dout = 2 * (out - y) / n",
        "dout = 2 * (out - y) / y.size",
    ),
    wrong("padding_at_the_end_in_both", "different-function", "(0, 0), (2, 0)))", "(0, 0), (0, 2)))"),
    wrong(
        "max_pooling_in_both",
        "different-function|wrong-reduction",
        "pooled = a.mean(axis=2)",
        "pooled = a.max(axis=2)",
        "da = np.repeat(dpooled[:, :, None] / steps, steps, axis=2)",
        "da = dpooled[:, :, None] * (a == a.max(axis=2, keepdims=True))",
    ),
    wrong(
        "softplus_in_both",
        "different-function",
        "a = np.where(z > 0, z, np.exp(np.minimum(z, 0)) - 1)",
        "a = np.logaddexp(0, z)",
        "da * d_elu(z)",
        "da / (1 + np.exp(-z))",
    ),
    wrong(
        "cost_averaged_over_outputs",
        "wrong-loss",
        "loss = np.sum((out - y) ** 2) / n",
        "loss = np.mean((out - y) ** 2)",
    ),
]

TOGETHER = [
    ("elu_derivative_forgotten", "two_forgotten"),
    ("elu_derivative_of_the_output", "bias_averaged_over_steps"),
    ("pooling_not_divided", "kernel_turned_round"),
    ("cost_averaged_over_outputs", "relu_slope_for_elu"),
    ("bias_of_last_step", "last_window_only"),
    ("two_forgotten", "elu_derivative_forgotten", "kernel_turned_round"),
]

RIGHT = [
    right("slope_of_the_output", "da * d_elu(z)", "da * np.where(a > 0, 1, a + 1)"),
    right(
        "windows_stacked",
        '        dK += np.einsum("nf,ncs->fcs", dz[:, :, t], x[:, :, 2 * t : 2 * t + size])\n',
        "        stack[t] = x[:, :, 2 * t : 2 * t + size]\n",
        "    dK = np.zeros_like(K)\n",
        "    stack = np.empty((steps, n, K.shape[1], size))\n",
        "    return loss, {",
        '    dK = np.einsum("nft,tncs->fcs", dz, stack)\n    return loss, {',
    ),
]
