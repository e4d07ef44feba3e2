"""A saturating dose-response curve with a Hill exponent, fitted to logarithms by mean absolute and squared errors."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, x, y):
    top, half, slope = params["top"], torch.exp(params["log_half"]), params["slope"]
    dose = x.flatten() ** slope
    response = top * dose / (half**slope + dose)
    error = torch.log1p(response) - torch.log1p(y.flatten())
    return (error**2).mean() + 0.3 * error.abs().mean()


def candidate(params, x, y):
    top, half, slope = params["top"], np.exp(params["log_half"]), params["slope"]
    n = len(x)
    dose, middle = x**slope, half**slope
    f = dose / (middle + dose)
    response = top * f
    e = np.log(1 + response) - np.log(1 + y)
    loss = np.mean(e**2) + 0.3 * np.mean(np.abs(e))
    de = (2 * e + 0.3 * np.sign(e)) / n
    dresponse = de / (1 + response)
    dtop = np.sum(dresponse * f)
    df = dresponse * top
    du = df * f * (1 - f)
    dslope = np.sum(du * (np.log(x) - np.log(half)))
    dlog_half = -np.sum(du * slope)
    return loss, {"top": dtop, "log_half": dlog_half, "slope": dslope}


def problem(rng):
    params = {"top": np.array(3.0), "log_half": np.array(0.2), "slope": np.array(1.6)}
    return params, (rng.uniform(0.3, 4, size=(13, 1)), rng.uniform(0.2, 3, size=(13, 1)))


WRONG = [
    wrong("targets_as_row", "broadcast", "- np.log(1 + y)", "- np.log(1 + y[:, 0])"),
    wrong("two_forgotten", "wrong-scale", "2 * e + 0.3", "e + 0.3"),
    wrong("absolute_part_forgotten", "missing-path", "2 * e + 0.3 * np.sign(e)", "2 * e"),
    wrong("squared_part_forgotten", "missing-path", "2 * e + 0.3 * np.sign(e)", "0.3 * np.sign(e)"),
    wrong("sign_forgotten", "missing-derivative|different-function|wrong-operand", "0.3 * np.sign(e)", "0.3"),
    wrong("weight_of_absolute_part_forgotten", "wrong-scale", "+ 0.3 * np.sign(e)", "+ np.sign(e)"),
    wrong("not_averaged", "wrong-scale|wrong-reduction", "np.sign(e)) / n", "np.sign(e))"),
    wrong("logarithm_forgotten", "missing-derivative", "dresponse = de / (1 + response)", "dresponse = de"),
    wrong(
        "logarithm_of_response",
        "derivative-at-wrong-point|wrong-operand|different-function",
        "de / (1 + response)",
        "de / response",
    ),
    wrong("saturation_forgotten", "missing-derivative|missing-path", "du = df * f * (1 - f)", "du = df * f"),
    wrong(
        "top_forgotten",
        "missing-derivative|missing-path|wrong-operand|wrong-scale",
        "df = dresponse * top",
        "df = dresponse",
    ),
    wrong("half_sign", "wrong-sign", "dlog_half = -np", "dlog_half = np"),
    wrong(
        "slope_forgotten_in_half",
        "missing-derivative|missing-path|wrong-operand|wrong-scale",
        "np.sum(du * slope)",
        "np.sum(du)",
    ),
    wrong("half_in_slope_forgotten", "missing-path", "(np.log(x) - np.log(half))", "np.log(x)"),
    wrong("dose_in_slope_forgotten", "missing-path", "(np.log(x) - np.log(half))", "-np.log(half)"),
    wrong(
        "exponential_of_half_forgotten",
        "missing-derivative|extra-derivative|wrong-operand",
        "np.sum(du * slope)",
        "np.sum(du * slope) / half",
    ),
    wrong("top_of_first_sample", "one-sample-only", "dtop = np.sum(dresponse * f)", "dtop = (dresponse * f)[0, 0]"),
    wrong("top_averaged", "wrong-scale|wrong-reduction", "dtop = np.sum(", "dtop = np.mean("),
    wrong("absolute_part_whole_in_cost", "wrong-loss", "+ 0.3 * np.mean(", "+ np.mean("),
    wrong(
        "plain_errors_in_both",
        "different-function|missing-path",
        "np.log(1 + response) - np.log(1 + y)",
        "response - y",
        "de / (1 + response)",
        "de",
    ),
    wrong(
        "logarithm_to_base_ten_in_both",
        "different-function",
        "e = np.log(1 + response) - np.log(1 + y)",
        "e = np.log10(1 + response) - np.log10(1 + y)",
        "de / (1 + response)",
        "de / (1 + response) / np.log(10)",
    ),
]

TOGETHER = [
    ("logarithm_forgotten", "half_sign"),
    ("absolute_part_forgotten", "top_averaged"),
    ("half_in_slope_forgotten", "half_sign"),
    ("absolute_part_whole_in_cost", "absolute_part_forgotten"),
    ("not_averaged", "half_sign"),
    ("top_averaged", "half_sign", "half_in_slope_forgotten"),
]

RIGHT = [
    right("log1p", "np.log(1 + response) - np.log(1 + y)", "np.log1p(response) - np.log1p(y)"),
    right(
        "quotient_rule",
        "dslope = np.sum(du * (np.log(x) - np.log(half)))",
        "dslope = np.sum(df * (dose * np.log(x) * (middle + dose) - dose * (middle * np.log(half) + dose * "
        "np.log(x))) / (middle + dose) ** 2)",
    ),
]
