"""Contrastive learning: two views embedded by one weight matrix, every other sample of the batch a negative."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong

BATCH_AXIS = None  # the samples of a batch are not independent


def reference(params, left, right):
    a = torch.tanh(left @ params["W"])
    b = torch.tanh(right @ params["W"])
    similarity = a @ b.T / torch.exp(params["log_t"])
    target = torch.arange(len(left))
    return F.cross_entropy(similarity, target)


def candidate(params, left, right):
    W, t = params["W"], np.exp(params["log_t"])
    n = len(left)
    a, b = np.tanh(left @ W), np.tanh(right @ W)
    s = a @ b.T / t
    e = np.exp(s - s.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    loss = -np.mean(np.log(np.diag(p)))
    ds = (p - np.eye(n)) / n
    dlog_t = -np.sum(ds * s)
    da = ds @ b / t
    db = ds.T @ a / t
    dza = da * (1 - a**2)
    dzb = db * (1 - b**2)
    dW = left.T @ dza + right.T @ dzb
    return loss, {"W": dW, "log_t": dlog_t}


def problem(rng):
    params = {"W": rng.normal(size=(4, 3)) * 0.7, "log_t": np.array(-0.4)}
    return params, (rng.normal(size=(6, 4)), rng.normal(size=(6, 4)))


WRONG = [
    wrong("second_view_forgotten", "missing-path", "left.T @ dza + right.T @ dzb", "left.T @ dza"),
    wrong("second_view_overwrites", "missing-path|overwritten", "left.T @ dza + right.T @ dzb", "right.T @ dzb"),
    wrong("scores_not_transposed", "not-transposed", "db = ds.T @ a / t", "db = ds @ a / t"),
    wrong(
        "temperature_forgotten_backwards",
        "wrong-scale|missing-derivative|missing-path",
        "da = ds @ b / t",
        "da = ds @ b",
    ),
    wrong("temperature_sign", "wrong-sign", "dlog_t = -np.sum", "dlog_t = np.sum"),
    wrong(
        "logarithm_of_temperature_forgotten",
        "missing-derivative",
        "dlog_t = -np.sum(ds * s)",
        "dlog_t = -np.sum(ds * s) / t",
    ),
    wrong("tanh_derivative_forgotten_once", "missing-derivative", "dza = da * (1 - a**2)", "dza = da"),
    wrong(
        "tanh_derivative_of_the_other_view",
        "wrong-operand|derivative-at-wrong-point",
        "dzb = db * (1 - b**2)",
        "dzb = db * (1 - a**2)",
    ),
    wrong("views_swapped", "wrong-operand", "da = ds @ b / t", "da = ds @ a / t"),
    wrong("not_averaged", "wrong-scale|wrong-reduction", "ds = (p - np.eye(n)) / n", "ds = p - np.eye(n)"),
    wrong("positives_forgotten", "missing-path", "ds = (p - np.eye(n)) / n", "ds = p / n"),
    wrong("negatives_forgotten", "missing-path|missing-derivative", "ds = (p - np.eye(n)) / n", "ds = -np.eye(n) / n"),
    wrong("data_of_the_views_swapped", "wrong-operand", "left.T @ dza + right.T @ dzb", "right.T @ dza + left.T @ dzb"),
    wrong(
        "softmax_over_columns",
        "wrong-axis",
        "s.max(axis=1, keepdims=True)",
        "s.max(axis=0, keepdims=True)",
        "e.sum(axis=1, keepdims=True)",
        "e.sum(axis=0, keepdims=True)",
    ),
    wrong(
        "temperature_multiplied_in_both",
        "different-function",
        "s = a @ b.T / t",
        "s = a @ b.T * t",
        "dlog_t = -np.sum",
        "dlog_t = np.sum",
        "da = ds @ b / t",
        "da = ds @ b * t",
        "db = ds.T @ a / t",
        "db = ds.T @ a * t",
    ),
    wrong("negative_mean_forgotten", "wrong-sign|wrong-loss", "loss = -np.mean", "loss = np.mean"),
    wrong(
        "without_activation_in_both",
        "different-function",
        "np.tanh(left @ W), np.tanh(right @ W)",
        "left @ W, right @ W",
        "da * (1 - a**2)",
        "da",
        "db * (1 - b**2)",
        "db",
    ),
]

TOGETHER = [
    ("second_view_forgotten", "temperature_sign"),
    ("tanh_derivative_forgotten_once", "scores_not_transposed"),
    ("not_averaged", "second_view_forgotten"),
    ("positives_forgotten", "tanh_derivative_forgotten_once"),
    ("negative_mean_forgotten", "temperature_sign"),
    ("temperature_sign", "scores_not_transposed", "tanh_derivative_forgotten_once"),
]

RIGHT = [
    right(
        "stacked_views", "dW = left.T @ dza + right.T @ dzb", "dW = np.vstack([left, right]).T @ np.vstack([dza, dzb])"
    ),
    right(
        "temperature_by_division",
        "dlog_t = -np.sum(ds * s)",
        "dt = -np.sum(ds * (a @ b.T)) / t**2\n    dlog_t = dt * t",
    ),
]
