"""A highway network: two layers whose gate decides how much of the input is carried over; squared error."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


class Highway(torch.nn.Module):
    def __init__(self, H, T, b):
        super().__init__()
        self.H, self.T, self.b = H, T, b

    def forward(self, h):
        gate = torch.sigmoid(F.linear(h, self.T.t(), self.b))
        return gate * torch.tanh(h @ self.H) + (1 - gate) * h


def reference(params, x, y):
    first = Highway(params["H1"], params["T1"], params["b1"])
    second = Highway(params["H2"], params["T2"], params["b2"])
    prediction = second(first(x)) @ params["w"]
    return ((prediction - y) ** 2).sum() / (2 * len(y))


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def candidate(params, x, y):
    H1, T1, H2, T2, w = params["H1"], params["T1"], params["H2"], params["T2"], params["w"]
    n = len(y)
    g1, c1 = sigmoid(x @ T1 + params["b1"]), np.tanh(x @ H1)
    h1 = g1 * c1 + (1 - g1) * x
    g2, c2 = sigmoid(h1 @ T2 + params["b2"]), np.tanh(h1 @ H2)
    h2 = g2 * c2 + (1 - g2) * h1
    e = h2 @ w - y
    loss = np.sum(e**2) / (2 * n)
    dout = e / n
    dw = h2.T @ dout
    dh2 = np.outer(dout, w)
    dg2 = dh2 * (c2 - h1)
    dc2 = dh2 * g2
    dzg2 = dg2 * g2 * (1 - g2)
    dzc2 = dc2 * (1 - c2**2)
    dT2, dH2, db2 = h1.T @ dzg2, h1.T @ dzc2, dzg2.sum(axis=0)
    dh1 = dh2 * (1 - g2) + dzg2 @ T2.T + dzc2 @ H2.T
    dg1 = dh1 * (c1 - x)
    dc1 = dh1 * g1
    dzg1 = dg1 * g1 * (1 - g1)
    dzc1 = dc1 * (1 - c1**2)
    dT1, dH1, db1 = x.T @ dzg1, x.T @ dzc1, dzg1.sum(axis=0)
    return loss, {"H1": dH1, "T1": dT1, "b1": db1, "H2": dH2, "T2": dT2, "b2": db2, "w": dw}


def problem(rng):
    params = {}
    for layer in "12":
        params["H" + layer] = rng.normal(size=(4, 4))
        params["T" + layer] = rng.normal(size=(4, 4))
        params["b" + layer] = rng.normal(size=4) - 0.5
    params["w"] = rng.normal(size=4)
    return params, (rng.normal(size=(7, 4)), rng.normal(size=7))


WRONG = [
    wrong("carried_input_forgotten", "missing-path", "dh1 = dh2 * (1 - g2) + dzg2", "dh1 = dzg2"),
    wrong("gate_route_forgotten", "missing-path", " + dzg2 @ T2.T", ""),
    wrong("transform_route_forgotten", "missing-path", " + dzc2 @ H2.T", ""),
    wrong("carry_not_in_the_gate", "missing-path", "dg2 = dh2 * (c2 - h1)", "dg2 = dh2 * c2"),
    wrong("gate_derivative_forgotten", "missing-derivative", "dzg2 = dg2 * g2 * (1 - g2)", "dzg2 = dg2"),
    wrong("first_gate_derivative_forgotten", "missing-derivative", "dzg1 = dg1 * g1 * (1 - g1)", "dzg1 = dg1"),
    wrong("tanh_derivative_forgotten", "missing-derivative", "dzc2 = dc2 * (1 - c2**2)", "dzc2 = dc2"),
    wrong("tanh_slope_for_the_gate", "different-function", "dg1 * g1 * (1 - g1)", "dg1 * (1 - g1**2)"),
    wrong("tanh_slope_at_activation", "derivative-at-wrong-point", "dc1 * (1 - c1**2)", "dc1 * (1 - np.tanh(c1) ** 2)"),
    wrong(
        "carry_and_transform_swapped_backwards",
        "wrong-operand|missing-path|different-function",
        "dc2 = dh2 * g2",
        "dc2 = dh2 * (1 - g2)",
    ),
    wrong("H2_not_transposed", "not-transposed", "dzc2 @ H2.T", "dzc2 @ H2"),
    wrong("T2_not_transposed", "not-transposed", "dzg2 @ T2.T", "dzg2 @ T2"),
    wrong("other_layers_weight", "wrong-operand", "dzg2 @ T2.T", "dzg2 @ T1.T"),
    wrong(
        "input_for_the_hidden",
        "wrong-operand",
        "dT2, dH2, db2 = h1.T @ dzg2, h1.T @ dzc2",
        "dT2, dH2, db2 = x.T @ dzg2, h1.T @ dzc2",
    ),
    wrong(
        "output_for_the_hidden",
        "wrong-operand",
        "dT2, dH2, db2 = h1.T @ dzg2, h1.T @ dzc2",
        "dT2, dH2, db2 = h1.T @ dzg2, h2.T @ dzc2",
    ),
    wrong("not_averaged", "wrong-scale|wrong-reduction", "dout = e / n", "dout = e"),
    wrong("two_too_many", "wrong-scale", "dout = e / n", "dout = 2 * e / n"),
    wrong("gate_sign", "wrong-sign", "dg1 = dh1 * (c1 - x)", "dg1 = dh1 * (x - c1)"),
    wrong("cost_not_halved", "wrong-loss", "/ (2 * n)", "/ n"),
    wrong(
        "carry_by_the_gate_in_both",
        "different-function|wrong-operand",
        "+ (1 - g2) * h1",
        "+ g2 * h1",
        "dg2 = dh2 * (c2 - h1)",
        "dg2 = dh2 * (c2 + h1)",
        "dh2 * (1 - g2) +",
        "dh2 * g2 +",
    ),
    wrong(
        "relu_transform_in_both",
        "different-function",
        "np.tanh(h1 @ H2)",
        "np.maximum(h1 @ H2, 0)",
        "dc2 * (1 - c2**2)",
        "dc2 * (c2 > 0)",
    ),
]

TOGETHER = [
    ("gate_derivative_forgotten", "tanh_slope_at_activation"),
    ("carried_input_forgotten", "gate_sign"),
    ("H2_not_transposed", "T2_not_transposed"),
    ("not_averaged", "transform_route_forgotten"),
    ("cost_not_halved", "gate_route_forgotten"),
    ("tanh_derivative_forgotten", "first_gate_derivative_forgotten"),
    ("two_too_many", "tanh_derivative_forgotten", "tanh_slope_at_activation"),
]

RIGHT = [
    right("gate_slope_by_exponentials", "dg2 * g2 * (1 - g2)", "dg2 * g2**2 * np.exp(-(h1 @ T2 + params['b2']))"),
    right("joined_weights", "dzg2 @ T2.T + dzc2 @ H2.T", "np.hstack([dzg2, dzc2]) @ np.hstack([T2, H2]).T"),
]
