"""Channels weighted by a gate computed from their means (squeeze and excitation), with a skip connection; L2 error."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, images, y):
    maps = torch.einsum("nchw,cd->ndhw", images, params["M"]).relu()
    squeezed = maps.mean(dim=(2, 3))
    hidden = torch.relu(squeezed @ params["W1"] + params["b1"])
    gate = torch.sigmoid(hidden @ params["W2"])
    scaled = maps * gate[:, :, None, None] + maps
    features = scaled.flatten(2).sum(dim=2)
    out = features @ params["V"]
    return torch.linalg.vector_norm(out - y, dim=1).mean()


def candidate(params, images, y):
    M, W1, W2, V = params["M"], params["W1"], params["W2"], params["V"]
    n, area = len(images), images.shape[2] * images.shape[3]
    z = np.einsum("nchw,cd->ndhw", images, M)
    maps = np.maximum(z, 0)
    q = maps.mean(axis=(2, 3))
    u = q @ W1 + params["b1"]
    hidden = np.maximum(u, 0)
    gate = 1 / (1 + np.exp(-(hidden @ W2)))
    total = maps.sum(axis=(2, 3))
    features = total * gate + total
    error = features @ V - y
    norm = np.sqrt(np.sum(error**2, axis=1, keepdims=True))
    loss = norm.mean()
    dout = error / norm / n
    dV = features.T @ dout
    dfeatures = dout @ V.T
    dgate = dfeatures * total
    dg = dgate * gate * (1 - gate)
    dW2 = hidden.T @ dg
    du = (dg @ W2.T) * (u > 0)
    dW1 = q.T @ du
    db1 = du.sum(axis=0)
    dq = du @ W1.T
    dtotal = dfeatures * gate + dfeatures
    dmaps = np.ones_like(maps) * (dtotal + dq / area)[:, :, None, None]
    dz = dmaps * (z > 0)
    dM = np.einsum("nchw,ndhw->cd", images, dz)
    return loss, {"M": dM, "W1": dW1, "b1": db1, "W2": dW2, "V": dV}


def problem(rng):
    params = {
        "M": rng.normal(size=(3, 4)) * 0.6,
        "W1": rng.normal(size=(4, 5)),
        "b1": rng.normal(size=5) * 0.5 + 0.3,
        "W2": rng.normal(size=(5, 4)),
        "V": rng.normal(size=(4, 2)),
    }
    return params, (rng.normal(size=(6, 3, 2, 5)), rng.normal(size=(6, 2)))


WRONG = [
    wrong("gate_as_constant", "missing-path", "(dtotal + dq / area)", "dtotal"),
    wrong(
        "skip_connection_forgotten",
        "missing-path",
        "dtotal = dfeatures * gate + dfeatures",
        "dtotal = dfeatures * gate",
    ),
    wrong("scaled_branch_forgotten", "missing-path", "dtotal = dfeatures * gate + dfeatures", "dtotal = dfeatures"),
    wrong("squeeze_not_divided", "wrong-scale|wrong-reduction|missing-derivative", "dq / area", "dq"),
    wrong("sigmoid_derivative_forgotten", "missing-derivative", "dg = dgate * gate * (1 - gate)", "dg = dgate"),
    wrong(
        "sigmoid_derivative_at_activation",
        "derivative-at-wrong-point",
        "dg = dgate * gate * (1 - gate)",
        "s = 1 / (1 + np.exp(-gate))\n    dg = dgate * s * (1 - s)",
    ),
    wrong("hidden_derivative_forgotten", "missing-derivative", "(dg @ W2.T) * (u > 0)", "dg @ W2.T"),
    wrong("maps_derivative_forgotten", "missing-derivative", "dz = dmaps * (z > 0)", "dz = dmaps"),
    wrong(
        "norm_forgotten",
        "missing-derivative|missing-path|different-function|wrong-operand",
        "dout = error / norm / n",
        "dout = error / n",
    ),
    wrong(
        "squared_error_in_gradient",
        "different-function|missing-derivative",
        "dout = error / norm / n",
        "dout = 2 * error / n",
    ),
    wrong("not_averaged", "wrong-scale|wrong-reduction", "error / norm / n", "error / norm"),
    wrong("norm_halved", "wrong-scale", "error / norm / n", "0.5 * error / norm / n"),
    wrong("mean_for_total_in_gate", "wrong-operand|wrong-scale", "dgate = dfeatures * total", "dgate = dfeatures * q"),
    wrong("gated_for_total_in_gate", "wrong-operand", "dgate = dfeatures * total", "dgate = dfeatures * features"),
    wrong(
        "first_row_of_pixels",
        "missing-path|last-step-only",
        '"nchw,ndhw->cd", images, dz',
        '"ncw,ndw->cd", images[:, :, 0], dz[:, :, 0]',
    ),
    wrong("first_image_only", "one-sample-only", '"nchw,ndhw->cd", images, dz', '"chw,dhw->cd", images[0], dz[0]'),
    wrong(
        "pixels_reversed",
        "flipped|wrong-operand",
        '"nchw,ndhw->cd", images, dz',
        '"nchw,ndhw->cd", images, dz[:, :, :, ::-1]',
    ),
    wrong("V_from_the_ungated", "wrong-operand|missing-path", "dV = features.T @ dout", "dV = total.T @ dout"),
    wrong("bias_averaged", "wrong-scale|wrong-reduction", "db1 = du.sum(axis=0)", "db1 = du.mean(axis=0)"),
    wrong("norm_not_averaged_in_cost", "wrong-loss", "loss = norm.mean()", "loss = norm.sum()"),
    wrong(
        "tanh_gate_in_both",
        "different-function",
        "gate = 1 / (1 + np.exp(-(hidden @ W2)))",
        "gate = np.tanh(hidden @ W2)",
        "dgate * gate * (1 - gate)",
        "dgate * (1 - gate**2)",
    ),
    wrong(
        "skip_connection_forgotten_in_both",
        "missing-path|different-function",
        "features = total * gate + total",
        "features = total * gate",
        "dtotal = dfeatures * gate + dfeatures",
        "dtotal = dfeatures * gate",
    ),
    wrong(
        "squeeze_by_sum_in_both",
        "wrong-reduction|different-function",
        "q = maps.mean(axis=(2, 3))",
        "q = maps.sum(axis=(2, 3))",
        "dq / area",
        "dq",
    ),
]

TOGETHER = [
    ("gate_as_constant", "hidden_derivative_forgotten"),
    ("sigmoid_derivative_forgotten", "hidden_derivative_forgotten"),
    ("V_from_the_ungated", "skip_connection_forgotten"),
    ("norm_not_averaged_in_cost", "squeeze_not_divided"),
    ("squeeze_not_divided", "maps_derivative_forgotten"),
    ("norm_halved", "bias_averaged"),
    ("V_from_the_ungated", "hidden_derivative_forgotten", "maps_derivative_forgotten"),
]

RIGHT = [
    right(
        "broadcast_view",
        "np.ones_like(maps) * (dtotal + dq / area)[:, :, None, None]",
        "np.broadcast_to((dtotal + dq / area)[:, :, None, None], maps.shape)",
    ),
    right(
        "moved_axes",
        'np.einsum("nchw,ndhw->cd", images, dz)',
        "np.moveaxis(images, 1, -1).reshape(-1, 3).T @ np.moveaxis(dz, 1, -1).reshape(-1, 4)",
    ),
]
