"""A curve fitted by least squares, y = a exp(-b x) + c sin(d x), its inputs and targets kept as columns."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, x, y):
    a, b, c, d = params["a"], params["b"], params["c"], params["d"]
    curve = a * torch.exp(-b * x) + c * torch.sin(d * x)
    return {"fit": torch.mean((curve - y) ** 2), "prior": 0.1 * (b - 1) ** 2}


def candidate(params, x, y):
    a, b, c, d = params["a"], params["b"], params["c"], params["d"]
    decay, wave = np.exp(-b * x), np.sin(d * x)
    e = a * decay + c * wave - y
    loss = np.mean(e**2) + 0.1 * (b - 1) ** 2
    dcurve = 2 * e / e.size
    da = np.sum(dcurve * decay)
    db = np.sum(dcurve * a * decay * -x)
    dc = np.sum(dcurve * wave)
    dd = np.sum(dcurve * c * np.cos(d * x) * x)
    db = db + 0.2 * (b - 1)
    return loss, {"a": da, "b": db, "c": dc, "d": dd}


def problem(rng):
    params = {"a": np.array(2.0), "b": np.array(0.7), "c": np.array(-0.4), "d": np.array(1.9)}
    return params, (rng.uniform(0, 3, size=(12, 1)), rng.normal(size=(12, 1)))


WRONG = [
    wrong("targets_as_row", "broadcast", "+ c * wave - y", "+ c * wave - y[:, 0]"),
    wrong("two_forgotten", "wrong-scale|wrong-term-weight", "dcurve = 2 * e", "dcurve = e"),
    wrong("not_averaged", "wrong-scale|wrong-reduction|wrong-term-weight", "dcurve = 2 * e / e.size", "dcurve = 2 * e"),
    wrong("target_less_prediction", "wrong-sign|wrong-term-weight", "dcurve = 2 * e", "dcurve = -2 * e"),
    wrong(
        "inner_derivative_forgotten",
        "missing-derivative|missing-path|wrong-operand",
        "np.cos(d * x) * x)",
        "np.cos(d * x))",
    ),
    wrong("sine_for_cosine", "different-function|wrong-operand", "c * np.cos(d * x) * x", "c * wave * x"),
    wrong("cosine_forgotten", "missing-derivative", "c * np.cos(d * x) * x", "c * x"),
    wrong("minus_of_the_exponent_forgotten", "wrong-sign", "decay * -x", "decay * x"),
    wrong(
        "amplitude_forgotten",
        "missing-derivative|missing-path|wrong-operand|wrong-scale",
        "dcurve * a * decay * -x",
        "dcurve * decay * -x",
    ),
    wrong("exponential_forgotten", "missing-derivative", "dcurve * a * decay * -x", "dcurve * a * -x"),
    wrong("cosine_of_x", "derivative-at-wrong-point|wrong-operand", "np.cos(d * x)", "np.cos(x)"),
    wrong("cosine_of_the_sine", "derivative-at-wrong-point", "np.cos(d * x)", "np.cos(wave)"),
    wrong("one_sample", "one-sample-only", "dc = np.sum(dcurve * wave)", "dc = (dcurve * wave)[-1, 0]"),
    wrong("c_averaged_twice", "wrong-scale|wrong-reduction", "dc = np.sum(", "dc = np.mean("),
    wrong("prior_forgotten", "wrong-term-weight|missing-path", "    db = db + 0.2 * (b - 1)\n", ""),
    wrong("prior_of_zero", "missing-path|different-function|wrong-operand", "0.2 * (b - 1)", "0.2 * b"),
    wrong("prior_not_halved_in_cost", "wrong-loss", "0.1 * (b - 1) ** 2", "0.2 * (b - 1) ** 2"),
    wrong(
        "cosine_in_both",
        "different-function",
        "np.sin(d * x)",
        "np.cos(d * x)",
        "c * np.cos(d * x) * x",
        "c * -np.sin(d * x) * x",
    ),
    wrong(
        "growth_in_both", "different-function|wrong-sign", "np.exp(-b * x)", "np.exp(b * x)", "decay * -x", "decay * x"
    ),
    wrong(
        "power_of_two_in_both",
        "different-function",
        "np.exp(-b * x)",
        "2 ** (-b * x)",
        "decay * -x",
        "decay * -x * np.log(2)",
    ),
]

TOGETHER = [
    ("minus_of_the_exponent_forgotten", "inner_derivative_forgotten"),
    ("cosine_forgotten", "c_averaged_twice"),
    ("two_forgotten", "prior_forgotten"),
    ("prior_not_halved_in_cost", "sine_for_cosine"),
    ("minus_of_the_exponent_forgotten", "cosine_forgotten", "one_sample"),
]

RIGHT = [
    right(
        "sample_by_sample",
        "dd = np.sum(dcurve * c * np.cos(d * x) * x)",
        "dd = 0.0\n    for k in range(len(x)):\n        dd += dcurve[k, 0] * c * np.cos(d * x[k, 0]) * x[k, 0]",
    ),
    right("by_differences_of_exponents", "dcurve * a * decay * -x", "-(dcurve * a * np.exp(np.log(x) - b * x))"),
]
