"""A second-order recursive filter kept stable by its parametrisation, then a tanh drive; error-to-signal ratio."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, signal, target):
    b0, b1, b2 = params["b"]
    a1 = 2 * torch.tanh(params["pole"][0])
    a2 = ((2 - a1.abs()) * torch.tanh(params["pole"][1]) + a1.abs()) / 2
    x1 = x2 = y1 = y2 = torch.zeros_like(signal[:, 0])
    filtered = []
    for t in range(signal.shape[1]):
        x0 = signal[:, t]
        y0 = b0 * x0 + b1 * x1 + b2 * x2 - a1 * y1 - a2 * y2
        x1, x2, y1, y2 = x0, x1, y0, y1
        filtered.append(y0)
    error = torch.tanh(params["drive"] * torch.stack(filtered, dim=1)) - target
    ratio = error.pow(2).sum(dim=1) / target.pow(2).sum(dim=1)
    return {"ratio": ratio.mean(), "offset": 0.6 * error.mean(dim=1).pow(2).mean()}


def candidate(params, signal, target):
    b, pole, drive = params["b"], params["pole"], params["drive"]
    n, T = signal.shape
    th1, th2 = np.tanh(pole)
    a1 = 2 * th1
    a2 = 0.5 * ((2 - abs(a1)) * th2 + abs(a1))

    # two samples of silence in front
    x = np.hstack([np.zeros((n, 2)), signal])
    y = np.zeros((n, T + 2))
    for t in range(2, T + 2):
        y[:, t] = b[0] * x[:, t] + b[1] * x[:, t - 1] + b[2] * x[:, t - 2]
        y[:, t] += -a1 * y[:, t - 1] - a2 * y[:, t - 2]
    out = np.tanh(drive * y[:, 2:])
    err = out - target
    power = (target**2).sum(axis=1, keepdims=True)
    dc = err.mean(axis=1, keepdims=True)
    loss = np.mean((err**2).sum(axis=1, keepdims=True) / power) + 0.6 * np.mean(dc**2)

    dout = 2 * err / power / n
    dout = dout + 2 * 0.6 * dc / (T * n)
    dpre = dout * (1 - out**2)
    ddrive = np.sum(dpre * y[:, 2:])
    dy = np.hstack([drive * dpre, np.zeros((n, 2))])
    for t in range(T - 1, -1, -1):
        dy[:, t] -= a1 * dy[:, t + 1] + a2 * dy[:, t + 2]
    dy = dy[:, :T]
    db = np.array([np.sum(dy * x[:, 2 - lag : 2 - lag + T]) for lag in range(3)])
    da1 = -np.sum(dy * y[:, 1 : T + 1])
    da2 = -np.sum(dy * y[:, :T])
    da1 = da1 + da2 * 0.5 * np.sign(a1) * (1 - th2)
    dth1 = 2 * da1
    dth2 = da2 * 0.5 * (2 - abs(a1))
    dpole = np.array([dth1 * (1 - th1**2), dth2 * (1 - th2**2)])
    return loss, {"b": db, "pole": dpole, "drive": ddrive}


def problem(rng):
    params = {"b": np.array([0.9, -0.5, 0.7]), "pole": np.array([-0.7, 0.4]), "drive": np.array(0.8)}
    signal = rng.normal(size=(5, 8))
    return params, (signal, 0.6 * np.tanh(signal) + 0.4 * rng.normal(size=(5, 8)) + 0.1)


WRONG = [
    wrong(
        "recursion_forgotten",
        "missing-path|truncated-in-time",
        "    for t in range(T - 1, -1, -1):\n        dy[:, t] -= a1 * dy[:, t + 1] + a2 * dy[:, t + 2]\n",
        "",
    ),
    wrong(
        "second_delay_forgotten",
        "missing-path",
        "dy[:, t] -= a1 * dy[:, t + 1] + a2 * dy[:, t + 2]",
        "dy[:, t] -= a1 * dy[:, t + 1]",
    ),
    wrong(
        "feedback_sign",
        "wrong-sign",
        "dy[:, t] -= a1 * dy[:, t + 1] + a2 * dy[:, t + 2]",
        "dy[:, t] += a1 * dy[:, t + 1] + a2 * dy[:, t + 2]",
    ),
    wrong(
        "recursion_stops_after_four_samples",
        "truncated-in-time",
        "for t in range(T - 1, -1, -1):",
        "for t in range(T - 1, T - 5, -1):",
    ),
    wrong(
        "loop_stops_before_the_first_sample",
        "truncated-in-time|missing-path",
        "for t in range(T - 1, -1, -1):",
        "for t in range(T - 1, 0, -1):",
    ),
    wrong(
        "output_not_delayed",
        "shifted-in-time|wrong-operand",
        "da1 = -np.sum(dy * y[:, 1 : T + 1])",
        "da1 = -np.sum(dy * y[:, 2 : T + 2])",
    ),
    wrong(
        "second_delay_of_the_output_too_short",
        "shifted-in-time|wrong-operand",
        "da2 = -np.sum(dy * y[:, :T])",
        "da2 = -np.sum(dy * y[:, 1 : T + 1])",
    ),
    wrong(
        "input_delays_the_other_way",
        "flipped|shifted-in-time|wrong-operand",
        "x[:, 2 - lag : 2 - lag + T]",
        "x[:, lag : lag + T]",
    ),
    wrong("feedback_gradient_sign", "wrong-sign", "da2 = -np.sum(dy * y", "da2 = np.sum(dy * y"),
    wrong(
        "second_coefficient_as_if_independent",
        "missing-path",
        "    da1 = da1 + da2 * 0.5 * np.sign(a1) * (1 - th2)\n",
        "",
    ),
    wrong(
        "sign_of_the_absolute_value_forgotten",
        "missing-derivative|wrong-sign",
        "da2 * 0.5 * np.sign(a1) * (1 - th2)",
        "da2 * 0.5 * (1 - th2)",
    ),
    wrong("range_of_the_first_pole_forgotten", "wrong-scale", "dth1 = 2 * da1", "dth1 = da1"),
    wrong(
        "pole_tanh_slopes_forgotten",
        "missing-derivative",
        "[dth1 * (1 - th1**2), dth2 * (1 - th2**2)]",
        "[dth1, dth2]",
    ),
    wrong(
        "saturation_slope_of_the_tanh",
        "derivative-at-wrong-point",
        "dpre = dout * (1 - out**2)",
        "dpre = dout * (1 - np.tanh(out) ** 2)",
    ),
    wrong("drive_from_the_output", "wrong-operand", "ddrive = np.sum(dpre * y[:, 2:])", "ddrive = np.sum(dpre * out)"),
    wrong("drive_not_passed_back", "missing-derivative", "[drive * dpre, np", "[dpre, np"),
    wrong(
        "offset_forgotten",
        "wrong-term-weight|missing-path",
        "    dout = dout + 2 * 0.6 * dc / (T * n)\n",
        "",
    ),
    wrong(
        "offset_not_divided_by_its_length",
        "wrong-term-weight|wrong-scale|wrong-reduction",
        "0.6 * dc / (T * n)",
        "0.6 * dc / n",
    ),
    wrong(
        "plain_squared_error_in_both",
        "different-function|wrong-operand|missing-derivative|wrong-reduction",
        "power = (target**2).sum(axis=1, keepdims=True)",
        "power = np.full((n, 1), T)",
    ),
    wrong("offset_counted_twice_in_cost", "wrong-loss", "+ 0.6 * np.mean(dc**2)", "+ 1.2 * np.mean(dc**2)"),
]

TOGETHER = [
    ("second_delay_forgotten", "pole_tanh_slopes_forgotten"),
    ("recursion_forgotten", "drive_from_the_output"),
    ("input_delays_the_other_way", "saturation_slope_of_the_tanh"),
    ("second_coefficient_as_if_independent", "offset_forgotten"),
    ("output_not_delayed", "drive_not_passed_back"),
    ("feedback_sign", "range_of_the_first_pole_forgotten", "offset_not_divided_by_its_length"),
]

RIGHT = [
    right(
        "sensitivities_forward",
        "    da1 = -np.sum(dy * y[:, 1 : T + 1])\n    da2 = -np.sum(dy * y[:, :T])\n",
        "    s1, s2 = np.zeros((n, T + 2)), np.zeros((n, T + 2))\n"
        "    for t in range(2, T + 2):\n"
        "        s1[:, t] = -y[:, t - 1] - a1 * s1[:, t - 1] - a2 * s1[:, t - 2]\n"
        "        s2[:, t] = -y[:, t - 2] - a1 * s2[:, t - 1] - a2 * s2[:, t - 2]\n"
        "    da1 = np.sum(drive * dpre * s1[:, 2:])\n    da2 = np.sum(drive * dpre * s2[:, 2:])\n",
    ),
    right(
        "transposed_form",
        "        y[:, t] = b[0] * x[:, t] + b[1] * x[:, t - 1] + b[2] * x[:, t - 2]\n"
        "        y[:, t] += -a1 * y[:, t - 1] - a2 * y[:, t - 2]\n",
        "        y[:, t] = b[0] * x[:, t] + (0 if t == 2 else held)\n"
        "        held = b[1] * x[:, t] + (0 if t == 2 else older) - a1 * y[:, t]\n"
        "        older = b[2] * x[:, t] - a2 * y[:, t]\n",
    ),
    right(
        "as_one_inverse_matrix",
        "    for t in range(T - 1, -1, -1):\n        dy[:, t] -= a1 * dy[:, t + 1] + a2 * dy[:, t + 2]\n",
        "    feedback = np.eye(T) + a1 * np.eye(T, k=-1) + a2 * np.eye(T, k=-2)\n"
        "    dy = dy[:, :T] @ np.linalg.inv(feedback)\n",
    ),
]
