"""A spectrum of pseudo-Voigt peaks over a cubic baseline: chi squared and its Jacobian on one packed vector."""

import math

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, x, y, sigma):
    width = torch.exp(params["lw"])
    z = (x[:, None] - params["x0"]) / width
    eta = torch.sigmoid(params["m"])
    peaks = params["A"] * (eta / (1 + z**2) + (1 - eta) * torch.exp(-math.log(2) * z**2))
    powers = torch.stack([x**0, x, x**2, x**3], dim=1)
    residual = (peaks.sum(dim=1) + powers @ params["poly"] - y) / sigma
    prior = (((params["lw"] + 0.5) / 0.4) ** 2).sum()
    return 0.5 * (residual**2).sum() + 0.5 * prior


def pack(params):
    return np.concatenate([params[name] for name in ("A", "x0", "lw", "m", "poly")])


def unpack(theta, npeaks):
    A, x0, lw, m = theta[: 4 * npeaks].reshape(4, npeaks)
    return A, x0, lw, m, theta[4 * npeaks :]


def lorentzian(z):
    return 1.0 / (1.0 + z**2)


def gaussian(z):
    return np.exp(-np.log(2.0) * z**2)


def spectrum(theta, x, npeaks):
    A, x0, lw, m, poly = unpack(theta, npeaks)
    z = (x[:, np.newaxis] - x0) / np.exp(lw)
    eta = 1.0 / (1.0 + np.exp(-m))
    profile = eta * lorentzian(z) + (1.0 - eta) * gaussian(z)
    return profile @ A + np.polyval(poly[::-1], x)


def jacobian(theta, x, npeaks):
    A, x0, lw, m, poly = unpack(theta, npeaks)
    hwhm = np.exp(lw)
    z = (x[:, np.newaxis] - x0) / hwhm
    eta = 1.0 / (1.0 + np.exp(-m))
    L, G = lorentzian(z), gaussian(z)
    dL = -2.0 * z * L**2
    dG = -2.0 * np.log(2.0) * z * G
    df_dA = eta * L + (1.0 - eta) * G
    df_dz = A * (eta * dL + (1.0 - eta) * dG)
    df_dx0 = df_dz * (-1.0 / hwhm)
    df_dlw = df_dz * (-z)
    df_dm = A * (L - G) * eta * (1.0 - eta)
    df_dpoly = np.vander(x, len(poly), increasing=True)
    return np.hstack([df_dA, df_dx0, df_dlw, df_dm, df_dpoly])


def candidate(params, x, y, sigma):
    theta = pack(params)
    npeaks = len(params["A"])
    lw = params["lw"]
    mean_lw, std_lw = -0.5, 0.4

    res = (spectrum(theta, x, npeaks) - y) / sigma
    chi2 = np.sum(res**2)
    loss = 0.5 * chi2 + 0.5 * np.sum((lw - mean_lw) ** 2 / std_lw**2)

    grad = jacobian(theta, x, npeaks).T @ (res / sigma)
    gA, gx0, glw, gm, gpoly = unpack(grad, npeaks)
    glw = glw + (lw - mean_lw) / std_lw**2
    return loss, {"A": gA, "x0": gx0, "lw": glw, "m": gm, "poly": gpoly}


def problem(rng):
    n, npeaks, powers = 23, 3, 4
    params = {
        "A": rng.uniform(0.8, 2.5, size=npeaks),
        "x0": np.array([-1.1, 0.2, 1.3]) + 0.1 * rng.normal(size=npeaks),
        "lw": -0.6 + 0.3 * rng.normal(size=npeaks),
        "m": rng.normal(size=npeaks),
        "poly": 0.4 * rng.normal(size=powers),
    }
    x = np.sort(rng.uniform(-2, 2, size=n))
    return params, (x, 1.0 + rng.normal(size=n), rng.uniform(0.5, 1.6, size=n))


WRONG = [
    wrong(
        "residual_not_divided_by_sigma_again",
        "missing-derivative|wrong-operand",
        ".T @ (res / sigma)",
        ".T @ res",
    ),
    wrong(
        "width_instead_of_its_logarithm",
        "missing-derivative",
        "df_dlw = df_dz * (-z)",
        "df_dlw = df_dz * (-z / hwhm)",
    ),
    wrong(
        "slope_of_the_mixing_forgotten",
        "missing-derivative",
        "df_dm = A * (L - G) * eta * (1.0 - eta)",
        "df_dm = A * (L - G)",
    ),
    wrong("centres_without_their_minus", "wrong-sign", "df_dz * (-1.0 / hwhm)", "df_dz / hwhm"),
    wrong(
        "ln2_forgotten_in_the_slope",
        "wrong-scale|different-function|missing-derivative",
        "dG = -2.0 * np.log(2.0) * z * G",
        "dG = -2.0 * z * G",
    ),
    wrong(
        "ln2_forgotten_in_both",
        "different-function|wrong-scale",
        "return np.exp(-np.log(2.0) * z**2)",
        "return np.exp(-(z**2))",
        "dG = -2.0 * np.log(2.0) * z * G",
        "dG = -2.0 * z * G",
    ),
    wrong(
        "lorentzian_not_squared_in_its_slope",
        "missing-derivative|different-function|wrong-operand",
        "dL = -2.0 * z * L**2",
        "dL = -2.0 * z * L",
    ),
    wrong(
        "full_width_taken_for_the_half_in_both",
        "different-function|wrong-scale",
        "z = (x[:, np.newaxis] - x0) / np.exp(lw)",
        "z = 2.0 * (x[:, np.newaxis] - x0) / np.exp(lw)",
        "z = (x[:, np.newaxis] - x0) / hwhm",
        "z = 2.0 * (x[:, np.newaxis] - x0) / hwhm",
        "df_dz * (-1.0 / hwhm)",
        "df_dz * (-2.0 / hwhm)",
    ),
    wrong(
        "prior_of_the_widths_in_cost_only",
        "missing-path|wrong-term-weight|wrong-part-penalised",
        "    glw = glw + (lw - mean_lw) / std_lw**2\n",
        "",
    ),
    wrong(
        "prior_over_its_deviation_once",
        "wrong-term-weight|wrong-scale",
        "glw + (lw - mean_lw) / std_lw**2",
        "glw + (lw - mean_lw) / std_lw",
    ),
    wrong("chi_squared_not_halved_in_cost", "wrong-loss|wrong-term-weight", "loss = 0.5 * chi2", "loss = chi2"),
    wrong(
        "data_minus_model",
        "wrong-sign|wrong-term-weight",
        "res = (spectrum(theta, x, npeaks) - y) / sigma",
        "res = (y - spectrum(theta, x, npeaks)) / sigma",
    ),
    wrong(
        "heights_forgotten_in_the_slope",
        "missing-derivative|wrong-operand",
        "df_dz = A * (eta * dL + (1.0 - eta) * dG)",
        "df_dz = eta * dL + (1.0 - eta) * dG",
    ),
    wrong(
        "powers_from_the_highest_down",
        "flipped|wrong-operand",
        "np.vander(x, len(poly), increasing=True)",
        "np.vander(x, len(poly))",
    ),
]

TOGETHER = [
    ("residual_not_divided_by_sigma_again", "slope_of_the_mixing_forgotten"),
    ("width_instead_of_its_logarithm", "slope_of_the_mixing_forgotten"),
    ("centres_without_their_minus", "powers_from_the_highest_down"),
    ("ln2_forgotten_in_the_slope", "lorentzian_not_squared_in_its_slope"),
    ("ln2_forgotten_in_both", "prior_over_its_deviation_once"),
    ("full_width_taken_for_the_half_in_both", "slope_of_the_mixing_forgotten"),
    ("data_minus_model", "powers_from_the_highest_down"),
    ("chi_squared_not_halved_in_cost", "heights_forgotten_in_the_slope"),
    ("slope_of_the_mixing_forgotten", "powers_from_the_highest_down", "prior_of_the_widths_in_cost_only"),
    ("heights_forgotten_in_the_slope", "centres_without_their_minus", "prior_over_its_deviation_once"),
]

RIGHT = [
    right(
        "rows_of_the_jacobian_divided_by_sigma",
        "    grad = jacobian(theta, x, npeaks).T @ (res / sigma)\n",
        "    J = jacobian(theta, x, npeaks) / sigma[:, None]\n    grad = np.dot(res, J)\n",
        "loss = 0.5 * chi2",
        "loss = 0.5 * np.dot(res, res)",
    ),
    right(
        "slopes_by_the_logarithm_of_the_profile",
        "    df_dlw = df_dz * (-z)\n",
        "    df_dlw = df_dx0 * (x[:, None] - x0)\n",
        "np.vander(x, len(poly), increasing=True)",
        "x[:, None] ** np.arange(len(poly))",
        "A * (L - G) * eta * (1.0 - eta)",
        "A * (L - G) * np.exp(-m) / (1.0 + np.exp(-m)) ** 2",
    ),
]
