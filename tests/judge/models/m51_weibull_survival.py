"""Times to failure, some of them censored: Weibull regression with a network for the scale and one global shape."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, time, event):
    h = F.softsign(x @ params["W"] + params["b"])
    log_scale = (h @ params["beta"]).squeeze(1) + params["beta0"]
    shape = torch.exp(params["log_shape"])
    u = torch.log(time) - log_scale
    log_hazard = params["log_shape"] - torch.log(time) + shape * u
    cumulative = torch.exp(shape * u)
    penalty = 0.05 * params["beta"].pow(2).sum() + 0.05 * params["log_shape"] ** 2
    return {"likelihood": (cumulative - event * log_hazard).mean(), "penalty": penalty}


def candidate(params, x, time, event):
    W, b, beta, beta0, log_shape = (params[key] for key in ("W", "b", "beta", "beta0", "log_shape"))
    N = time.size
    z = x @ W + b
    h = z / (1 + np.abs(z))
    eta = (h @ beta).ravel() + beta0
    k = np.exp(log_shape)
    u = np.log(time) - eta
    H = (time / np.exp(eta)) ** k
    nll = H - event * (log_shape - np.log(time) + k * u)
    penalty = 0.05 * np.sum(beta**2) + 0.05 * log_shape**2
    loss = nll.sum() / N + penalty

    dku = (H - event) / N
    dk = np.sum(dku * u)
    dlog_shape = dk * k - event.mean() + 0.1 * log_shape
    deta = -k * dku
    dbeta0 = deta.sum()
    dbeta = h.T @ deta.reshape(-1, 1) + 0.1 * beta
    dh = deta.reshape(-1, 1) @ beta.T
    dz = dh / (1 + np.abs(z)) ** 2
    return loss, {"W": x.T @ dz, "b": dz.sum(axis=0), "beta": dbeta, "beta0": dbeta0, "log_shape": dlog_shape}


def problem(rng):
    params = {
        "W": rng.normal(size=(3, 4)),
        "b": rng.normal(size=4) * 0.5,
        "beta": rng.normal(size=(4, 1)),
        "beta0": np.array(0.5),
        "log_shape": np.array(0.4),
    }
    return params, (rng.normal(size=(8, 3)), rng.uniform(0.4, 3.0, size=8), np.array([1.0, 0, 1, 1, 0, 1, 0, 1]))


WRONG = [
    wrong(
        "events_as_if_all_observed", "different-function|wrong-operand", "dku = (H - event) / N", "dku = (H - 1) / N"
    ),
    wrong("hazard_forgotten", "missing-path", "dku = (H - event) / N", "dku = H / N"),
    wrong("survival_forgotten", "missing-path", "dku = (H - event) / N", "dku = -event / N"),
    wrong(
        "shape_in_the_hazard_forgotten",
        "missing-path",
        "dlog_shape = dk * k - event.mean() +",
        "dlog_shape = dk * k +",
    ),
    wrong("shape_not_through_its_logarithm", "missing-derivative", "dlog_shape = dk * k -", "dlog_shape = dk -"),
    wrong(
        "shape_twice_through_its_logarithm", "extra-derivative", "dlog_shape = dk * k -", "dlog_shape = dk * k * k -"
    ),
    wrong("events_summed", "wrong-scale|wrong-reduction", "- event.mean() +", "- event.sum() +"),
    wrong(
        "time_for_its_logarithm",
        "wrong-operand|different-function",
        "dk = np.sum(dku * u)",
        "dk = np.sum(dku * (time - eta))",
    ),
    wrong("shape_forgotten_in_the_scale", "missing-derivative", "deta = -k * dku", "deta = -dku"),
    wrong("scale_sign", "wrong-sign", "deta = -k * dku", "deta = k * dku"),
    wrong(
        "logarithm_of_the_shape_for_the_shape",
        "wrong-operand",
        "deta = -k * dku",
        "deta = -log_shape * dku",
    ),
    wrong("softsign_slope_forgotten", "missing-derivative", "dz = dh / (1 + np.abs(z)) ** 2", "dz = dh"),
    wrong("softsign_slope_not_squared", "missing-path|different-function", "(1 + np.abs(z)) ** 2", "(1 + np.abs(z))"),
    wrong(
        "softsign_slope_at_the_output",
        "derivative-at-wrong-point",
        "dh / (1 + np.abs(z)) ** 2",
        "dh / (1 + np.abs(h)) ** 2",
    ),
    wrong("tanh_slope_for_softsign", "different-function", "dh / (1 + np.abs(z)) ** 2", "dh * (1 - h**2)"),
    wrong("intercept_penalised", "wrong-part-penalised", "dbeta0 = deta.sum()", "dbeta0 = deta.sum() + 0.1 * beta0"),
    wrong("shape_not_penalised", "wrong-part-penalised|missing-path", " + 0.1 * log_shape", ""),
    wrong("intercept_of_the_first_patient", "one-sample-only", "dbeta0 = deta.sum()", "dbeta0 = deta[0]"),
    wrong(
        "times_as_column",
        "broadcast",
        "u = np.log(time) - eta",
        "u = np.log(time) - eta[:, None]",
        "H = (time / np.exp(eta)) ** k",
        "H = (time / np.exp(eta[:, None])) ** k",
        "loss = nll.sum() / N",
        "loss = nll.sum() / N / N",
        "dku = (H - event) / N",
        "dku = (H - event) / N / N",
        "deta = -k * dku",
        "deta = -k * dku.sum(axis=1)",
    ),
    wrong(
        "exponential_model_in_both",
        "different-function",
        "k = np.exp(log_shape)",
        "k = 1.0",
        "nll = H - event * (log_shape - np.log(time) + k * u)",
        "nll = H - event * (-np.log(time) + k * u)",
        "dlog_shape = dk * k - event.mean() + 0.1",
        "dlog_shape = 0.1",
    ),
    wrong(
        "jacobian_of_time_forgotten_in_cost", "wrong-loss", "(log_shape - np.log(time) + k * u)", "(log_shape + k * u)"
    ),
    wrong(
        "beta_updated_before_its_use",
        "wrong-operand",
        "dh = deta.reshape(-1, 1) @ beta.T",
        "dh = deta.reshape(-1, 1) @ (beta - 0.5 * dbeta).T",
    ),
]

TOGETHER = [
    ("hazard_forgotten", "softsign_slope_forgotten"),
    ("shape_not_through_its_logarithm", "intercept_penalised"),
    ("scale_sign", "shape_in_the_hazard_forgotten"),
    ("events_summed", "softsign_slope_at_the_output"),
    ("shape_not_penalised", "tanh_slope_for_softsign", "intercept_of_the_first_patient"),
]

RIGHT = [
    right("power_by_the_exponential", "(time / np.exp(eta)) ** k", "np.exp(k * u)"),
    right(
        "patient_by_patient",
        "    dk = np.sum(dku * u)\n",
        "    dk = 0.0\n    for part, distance in zip(dku, u):\n        dk += part * distance\n",
    ),
    right("softsign_slope_by_its_output", "dh / (1 + np.abs(z)) ** 2", "dh * (1 - np.abs(h)) ** 2"),
]
