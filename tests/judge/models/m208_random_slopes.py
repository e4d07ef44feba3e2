"""A linear mixed model: random intercepts and slopes by a Cholesky factor, restricted likelihood, group by group."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong

BATCH_AXIS = None


def reference(params, X, Z, y, group):
    diagonal = torch.diag(torch.exp(params["log_diag"]))
    corner = torch.zeros_like(diagonal)
    corner = torch.stack([corner[0], torch.stack([params["lower"], corner[1, 1]])])
    L = diagonal + corner
    same = (group[:, None] == group[None]).to(X.dtype)
    V = same * (Z @ L @ L.T @ Z.T) + torch.exp(params["log_noise"]) * torch.eye(len(y), dtype=X.dtype)
    resid = y - X @ params["beta"]
    solved = torch.linalg.solve(V, torch.column_stack([resid[:, None], X]))
    fit = torch.logdet(V) + resid @ solved[:, 0]
    return 0.5 * (fit + torch.logdet(X.T @ solved[:, 1:]))


def random_effects(params):
    """The factor of the random effects' covariance, and that covariance."""
    d = np.exp(params["log_diag"])
    L = np.array([[d[0], 0.0], [params["lower"], d[1]]])
    return L, L @ L.T


def split(group, *arrays):
    """What belongs to each group, in the order of the labels."""
    return [tuple(a[group == label] for a in arrays) for label in np.unique(group)]


def candidate(params, X, Z, y, group):
    beta, noise = params["beta"], np.exp(params["log_noise"])
    L, cov_re = random_effects(params)
    parts = split(group, X, Z, y)

    loglike = 0.0
    xvx = np.zeros((X.shape[1], X.shape[1]))
    cache = []
    for ex, ez, endog in parts:
        V = ez @ cov_re @ ez.T + noise * np.eye(len(endog))
        vinv = np.linalg.inv(V)
        resid = endog - ex @ beta
        loglike -= 0.5 * np.linalg.slogdet(V)[1]
        loglike -= 0.5 * resid @ vinv @ resid
        xvx += ex.T @ vinv @ ex
        cache.append((vinv, resid))
    loglike -= 0.5 * np.linalg.slogdet(xvx)[1]
    loss = -loglike

    xvx_inv = np.linalg.inv(xvx)
    score_fe = np.zeros_like(beta)
    score_cov = np.zeros_like(cov_re)
    score_noise = 0.0
    for (ex, ez, _), (vinv, resid) in zip(parts, cache, strict=True):
        vir = vinv @ resid
        vix = vinv @ ex
        score_fe += ex.T @ vir
        # by the entries of V: determinant, quadratic form, REML
        dV = -0.5 * vinv + 0.5 * np.outer(vir, vir)
        dV += 0.5 * vix @ xvx_inv @ vix.T
        score_cov += ez.T @ dV @ ez
        score_noise += np.trace(dV)
    score_L = 2 * score_cov @ L
    grads = {
        "beta": -score_fe,
        "log_diag": -np.diag(score_L) * np.diag(L),
        "lower": np.array(-score_L[1, 0]),
        "log_noise": np.array(-score_noise * noise),
    }
    return loss, grads


def problem(rng):
    n = 7
    params = {
        "beta": rng.normal(size=3),
        "log_diag": rng.normal(size=2) * 0.3 - 0.2,
        "lower": np.array(rng.normal() * 0.4 + 0.3),
        "log_noise": np.array(rng.normal() * 0.2 - 0.6),
    }
    X = np.column_stack([np.ones(n), rng.normal(size=(n, 2))])
    Z = np.column_stack([np.ones(n), rng.uniform(-1, 2, size=n)])
    return params, (X, Z, rng.normal(size=n) * 2, np.array([0, 1, 1, 0, 2, 1, 2]))


WRONG = [
    wrong(
        "restricted_part_left_out_of_the_score",
        "missing-path",
        "        dV += 0.5 * vix @ xvx_inv @ vix.T\n",
        "",
    ),
    wrong(
        "restricted_part_with_the_sign_of_the_determinant",
        "wrong-sign",
        "dV += 0.5 * vix",
        "dV -= 0.5 * vix",
    ),
    wrong(
        "quadratic_form_held_constant",
        "missing-path",
        "dV = -0.5 * vinv + 0.5 * np.outer(vir, vir)",
        "dV = -0.5 * vinv",
    ),
    wrong(
        "quadratic_form_without_its_half",
        "wrong-scale",
        "dV = -0.5 * vinv + 0.5 * np.outer(vir, vir)",
        "dV = -0.5 * vinv + np.outer(vir, vir)",
    ),
    wrong(
        "plain_residuals_in_the_quadratic_form",
        "wrong-operand",
        "dV = -0.5 * vinv + 0.5 * np.outer(vir, vir)",
        "dV = -0.5 * vinv + 0.5 * np.outer(resid, resid)",
    ),
    wrong(
        "fixed_effects_unweighted",
        "wrong-operand|missing-derivative|different-function",
        "score_fe += ex.T @ vir",
        "score_fe += ex.T @ resid",
    ),
    wrong(
        "factor_counted_on_one_side",
        "wrong-scale",
        "score_L = 2 * score_cov @ L",
        "score_L = score_cov @ L",
    ),
    wrong(
        "factor_not_as_it_stands",
        "not-transposed",
        "score_L = 2 * score_cov @ L",
        "score_L = 2 * score_cov @ L.T",
    ),
    wrong(
        "diagonal_not_taken_through_its_exponential",
        "missing-derivative",
        "-np.diag(score_L) * np.diag(L)",
        "-np.diag(score_L)",
    ),
    wrong(
        "noise_variance_instead_of_its_logarithm",
        "missing-derivative|wrong-scale",
        "np.array(-score_noise * noise)",
        "np.array(-score_noise)",
    ),
    wrong(
        "covariance_of_the_last_group",
        "overwritten",
        "score_cov += ez.T",
        "score_cov = ez.T",
    ),
    wrong(
        "restricted_part_forgotten_in_the_loss",
        "wrong-loss",
        "    loglike -= 0.5 * np.linalg.slogdet(xvx)[1]\n",
        "",
    ),
]

TOGETHER = [
    ("restricted_part_left_out_of_the_score", "factor_counted_on_one_side"),
    ("fixed_effects_unweighted", "diagonal_not_taken_through_its_exponential"),
    ("quadratic_form_without_its_half", "noise_variance_instead_of_its_logarithm"),
    ("covariance_of_the_last_group", "restricted_part_with_the_sign_of_the_determinant"),
]

RIGHT = [
    right(
        "parts_of_the_score_one_by_one",
        "        score_cov += ez.T @ dV @ ez\n",
        "        viz = vinv @ ez\n"
        "        half = ez.T @ vix\n"
        "        score_cov += 0.5 * (np.outer(ez.T @ vir, ez.T @ vir) - ez.T @ viz + half @ xvx_inv @ half.T)\n",
    )
]
