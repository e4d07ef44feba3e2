"""A linear system driven by inputs, in implicit Euler steps; its misfit to observations by an adjoint run backwards."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, start, drive, observed):
    dt, steps = 0.25, observed.shape[1]
    A, B, b, C = params["A"], params["B"], params["b"], params["C"]
    left = torch.eye(len(A), dtype=A.dtype) - dt * A
    x, misfit = start, 0.0
    for k in range(steps):
        x = torch.linalg.solve(left, (x + dt * (drive[:, k] @ B.T + b)).T).T
        weight = 0.5 if k == steps - 1 else 1.0
        misfit = misfit + weight * dt * (x @ C.T - observed[:, k]).square().sum(dim=1).mean()
    return {"misfit": misfit, "ridge": 0.05 * A.square().sum()}


def run(params, start, drive, dt):
    """All states, one more than steps; a column is a sample."""
    A, B, b = params["A"], params["B"], params["b"]
    M = np.eye(len(A)) - dt * A
    x = [start.T]
    for k in range(drive.shape[1]):
        x.append(np.linalg.solve(M, x[k] + dt * (B @ drive[:, k].T + b[:, None])))
    return x


def candidate(params, start, drive, observed, dt=0.25, ridge=0.05):
    A, B, b, C = params["A"], params["B"], params["b"], params["C"]
    n, steps = observed.shape[:2]
    x = run(params, start, drive, dt)
    weights = np.ones(steps + 1)
    weights[-1] = 0.5
    errors = [None] + [C @ x[k] - observed[:, k - 1].T for k in range(1, steps + 1)]
    misfit = sum(weights[k] * dt * np.sum(errors[k] ** 2) / n for k in range(1, steps + 1))
    loss = misfit + ridge * np.sum(A**2)

    M = np.eye(len(A)) - dt * A
    dA, dB, db, dC = 2 * ridge * A, np.zeros_like(B), np.zeros_like(b), np.zeros_like(C)
    lam = np.zeros_like(x[0])
    for k in range(steps, 0, -1):
        source = 2 * weights[k] * dt * errors[k] / n
        dC += source @ x[k].T
        lam = np.linalg.solve(M.T, lam + C.T @ source)
        dA += dt * lam @ x[k].T
        dB += dt * lam @ drive[:, k - 1]
        db += dt * lam.sum(axis=1)
    return loss, {"A": dA, "B": dB, "b": db, "C": dC}


def problem(rng):
    n, steps = 5, 6
    params = {
        "A": rng.normal(size=(3, 3)) * 0.7 - np.eye(3),
        "B": rng.normal(size=(3, 2)) * 0.8,
        "b": rng.normal(size=3) * 0.6,
        "C": rng.normal(size=(4, 3)) * 0.7,
    }
    start = rng.normal(size=(n, 3))
    return params, (start, rng.normal(size=(n, steps, 2)), rng.normal(size=(n, steps, 4)))


WRONG = [
    wrong(
        "adjoint_with_the_matrix_as_it_stands",
        "not-transposed",
        "np.linalg.solve(M.T, lam + C.T @ source)",
        "np.linalg.solve(M, lam + C.T @ source)",
    ),
    wrong(
        "adjoint_grows_where_the_state_decays",
        "wrong-sign|different-function",
        "np.linalg.solve(M.T, lam + C.T @ source)",
        "np.linalg.solve(np.eye(len(A)) + dt * A.T, lam + C.T @ source)",
    ),
    wrong(
        "constraint_slope_with_the_sign_of_the_residual",
        "wrong-sign",
        "db += dt * lam.sum(axis=1)",
        "db -= dt * lam.sum(axis=1)",
    ),
    wrong(
        "adjoint_only_driven_by_the_last_error",
        "missing-path|last-step-only",
        "lam + C.T @ source)",
        "lam + C.T @ source * (k == steps))",
    ),
    wrong(
        "adjoint_not_carried_backwards",
        "truncated-in-time|missing-path",
        "lam + C.T @ source)",
        "C.T @ source)",
    ),
    wrong(
        "state_before_the_step_as_if_explicit",
        "shifted-in-time",
        "dA += dt * lam @ x[k].T",
        "dA += dt * lam @ x[k - 1].T",
    ),
    wrong(
        "explicit_step_for_the_adjoint",
        "different-function",
        "lam = np.linalg.solve(M.T, lam + C.T @ source)",
        "lam = (np.eye(len(A)) + dt * A.T) @ (lam + C.T @ source)",
    ),
    wrong(
        "drive_of_the_step_after",
        "shifted-in-time",
        "dB += dt * lam @ drive[:, k - 1]",
        "dB += dt * lam @ drive[:, min(k, steps - 1)]",
    ),
    wrong(
        "step_length_forgotten_for_the_offset",
        "wrong-scale",
        "db += dt * lam.sum(axis=1)",
        "db += lam.sum(axis=1)",
    ),
    wrong(
        "last_step_with_full_weight_in_the_source",
        "wrong-operand|missing-derivative|wrong-scale",
        "source = 2 * weights[k] * dt * errors[k] / n",
        "source = 2 * dt * errors[k] / n",
    ),
    wrong(
        "ridge_left_out_of_the_gradient",
        "wrong-term-weight|missing-path",
        "dA, dB, db, dC = 2 * ridge * A, np",
        "dA, dB, db, dC = np.zeros_like(A), np",
    ),
    wrong(
        "drive_gradient_overwritten_at_each_step",
        "overwritten|last-step-only",
        "dB += dt * lam @ drive[:, k - 1]",
        "dB = dt * lam @ drive[:, k - 1]",
    ),
]

TOGETHER = [
    ("adjoint_with_the_matrix_as_it_stands", "step_length_forgotten_for_the_offset"),
    ("adjoint_grows_where_the_state_decays", "constraint_slope_with_the_sign_of_the_residual"),
    ("state_before_the_step_as_if_explicit", "last_step_with_full_weight_in_the_source"),
    ("ridge_left_out_of_the_gradient", "drive_of_the_step_after"),
]

RIGHT = [
    right(
        "multiplier_before_the_solve",
        "    M = np.eye(len(A)) - dt * A\n    dA, dB",
        "    back = np.linalg.inv(np.eye(len(A)) - dt * A)\n    dA, dB",
        "lam = np.linalg.solve(M.T, lam + C.T @ source)",
        "lam = ((lam + C.T @ source).T @ back).T",
        "dB += dt * lam @ drive[:, k - 1]",
        'dB += dt * np.einsum("in,nj->ij", lam, drive[:, k - 1])',
    ),
]
