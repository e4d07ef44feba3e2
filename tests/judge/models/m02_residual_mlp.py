"""A deep network with GELU, leaky ReLU and ReLU, a residual connection around each square layer; squared error."""

import math

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, x, y):
    h = x @ params["W_in"] + params["b_in"]
    u1 = h @ params["W1"]
    a1 = 0.5 * u1 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (u1 + 0.044715 * u1**3)))
    h1 = h + a1
    u2 = h1 @ params["W2"]
    h2 = h1 + torch.where(u2 > 0, u2, 0.1 * u2)
    out = torch.relu(h2) @ params["W_out"] + params["b_out"]
    return ((out - y) ** 2).mean()


def gelu(u):
    return 0.5 * u * (1 + np.tanh(np.sqrt(2 / np.pi) * (u + 0.044715 * u**3)))


def d_gelu(u):
    t = np.tanh(np.sqrt(2 / np.pi) * (u + 0.044715 * u**3))
    return 0.5 * (1 + t) + 0.5 * u * (1 - t**2) * np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * u**2)


def candidate(params, x, y):
    W1, W2, W_out = params["W1"], params["W2"], params["W_out"]
    h = x @ params["W_in"] + params["b_in"]
    u1 = h @ W1
    h1 = h + gelu(u1)
    u2 = h1 @ W2
    h2 = h1 + np.where(u2 > 0, u2, 0.1 * u2)
    r = np.maximum(h2, 0)
    out = r @ W_out + params["b_out"]
    loss = np.mean((out - y) ** 2)
    dout = 2 * (out - y) / out.size
    dW_out = r.T @ dout
    db_out = dout.sum(axis=0)
    dh2 = (dout @ W_out.T) * (h2 > 0)
    du2 = dh2 * np.where(u2 > 0, 1, 0.1)
    dW2 = h1.T @ du2
    dh1 = dh2 + du2 @ W2.T
    du1 = dh1 * d_gelu(u1)
    dW1 = h.T @ du1
    dh = dh1 + du1 @ W1.T
    dW_in = x.T @ dh
    db_in = dh.sum(axis=0)
    return loss, {"W_in": dW_in, "b_in": db_in, "W1": dW1, "W2": dW2, "W_out": dW_out, "b_out": db_out}


def problem(rng):
    params = {
        "W_in": rng.normal(size=(3, 5)) * 0.7,
        "b_in": rng.normal(size=5) * 0.3,
        "W1": rng.normal(size=(5, 5)) * 0.6,
        "W2": rng.normal(size=(5, 5)) * 0.6,
        "W_out": rng.normal(size=(5, 2)),
        "b_out": rng.normal(size=2),
    }
    return params, (rng.normal(size=(6, 3)), rng.normal(size=(6, 2)))


WRONG = [
    wrong("residual_forgotten_backwards", "missing-path", "dh1 = dh2 + du2 @ W2.T", "dh1 = du2 @ W2.T"),
    wrong("branch_forgotten_backwards", "missing-path", "dh = dh1 + du1 @ W1.T", "dh = dh1"),
    wrong("relu_derivative_forgotten", "missing-derivative", "(dout @ W_out.T) * (h2 > 0)", "dout @ W_out.T"),
    wrong("gelu_derivative_forgotten", "missing-derivative", "du1 = dh1 * d_gelu(u1)", "du1 = dh1"),
    wrong("leaky_derivative_twice", "extra-derivative", "0.1)\n    dW2", "0.1) ** 2\n    dW2"),
    wrong("gelu_derivative_of_output", "derivative-at-wrong-point", "d_gelu(u1)", "d_gelu(gelu(u1))"),
    wrong("W2_not_transposed", "not-transposed", "du2 @ W2.T", "du2 @ W2"),
    wrong("W1_not_transposed", "not-transposed", "du1 @ W1.T", "du1 @ W1"),
    wrong("relu_for_leaky_in_gradient", "different-function", "np.where(u2 > 0, 1, 0.1)", "(u2 > 0)"),
    wrong("tanh_derivative_for_gelu", "different-function", "d_gelu(u1)", "(1 - np.tanh(u1) ** 2)"),
    wrong("two_forgotten", "wrong-scale", "dout = 2 * (out - y)", "dout = (out - y)"),
    wrong("mean_over_samples_only", "wrong-scale|wrong-reduction", "/ out.size", "/ len(x)"),
    wrong("target_less_prediction", "wrong-sign", "2 * (out - y)", "2 * (y - out)"),
    wrong("relu_mask_of_leaky_input", "wrong-operand|derivative-at-wrong-point", "* (h2 > 0)", "* (u2 > 0)"),
    wrong("W2_from_the_layers_output", "wrong-operand", "dW2 = h1.T @ du2", "dW2 = h2.T @ du2"),
    wrong(
        "W_out_before_the_relu",
        "wrong-operand|derivative-at-wrong-point",
        "dW_out = r.T @ dout",
        "dW_out = h2.T @ dout",
    ),
    wrong("W1_delta_before_the_activation", "missing-derivative|wrong-operand", "dW1 = h.T @ du1", "dW1 = h.T @ dh1"),
    wrong("bias_averaged", "wrong-scale|wrong-reduction", "db_in = dh.sum(axis=0)", "db_in = dh.mean(axis=0)"),
    wrong("W1_gradient_transposed", "transposed", '"W1": dW1', '"W1": dW1.T'),
    wrong(
        "second_half_of_the_gelu_slope_forgotten",
        "missing-path|missing-derivative|different-function",
        " + 0.5 * u * (1 - t**2) * np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * u**2)",
        "",
    ),
    wrong("leak_forgotten_in_both", "different-function", "u2, 0.1 * u2)", "u2, 0 * u2)", "1, 0.1)", "1, 0.0)"),
]

TOGETHER = [
    ("relu_derivative_forgotten", "gelu_derivative_forgotten"),
    ("two_forgotten", "W2_not_transposed"),
    ("residual_forgotten_backwards", "W1_not_transposed"),
    ("leaky_derivative_twice", "gelu_derivative_forgotten"),
    ("leaky_derivative_twice", "W2_not_transposed"),
    ("W2_not_transposed", "W1_not_transposed"),
    ("relu_derivative_forgotten", "residual_forgotten_backwards"),
    ("relu_derivative_forgotten", "leaky_derivative_twice", "gelu_derivative_forgotten"),
    ("target_less_prediction", "W2_not_transposed", "branch_forgotten_backwards"),
]

RIGHT = [
    right("fortran_order", 'return loss, {"W_in": dW_in', 'return loss, {"W_in": np.asfortranarray(dW_in)'),
    right("mask_by_sign", "(h2 > 0)", "(np.sign(h2) + 1) / 2"),
    right("mask_of_the_output", "(h2 > 0)", "(r > 0)"),
    right("in_place", "du2 = dh2 * np.where", "du2 = dh2.copy()\n    du2 *= np.where"),
]
