"""Inverse control: dynamics and weights of a finite-horizon regulator, so that its Riccati gains act as an expert."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, x0, actions):
    A, B = params["A"], params["B"]
    Q, R = torch.diag(torch.exp(params["q"])), torch.diag(torch.exp(params["r"]))
    P, gains = Q, []
    for _ in range(actions.shape[1]):
        K = torch.linalg.solve(R + B.T @ P @ B, B.T @ P @ A)
        P = Q + A.T @ P @ (A - B @ K)
        gains.insert(0, K)
    x, cost = x0, 0
    for t, K in enumerate(gains):
        u = -x @ K.T
        cost = cost + ((u - actions[:, t]) ** 2).sum(dim=1)
        x = x @ A.T + u @ B.T
    return {"imitation": (0.5 * cost).mean(), "rest": 0.2 * (x**2).sum(dim=1).mean()}


def candidate(params, x0, actions):
    A, B, q, r = (params[k] for k in ("A", "B", "q", "r"))
    N, T, _ = actions.shape
    mu = 0.2
    Q, R = np.diag(np.exp(q)), np.diag(np.exp(r))

    # Riccati, from the end of the horizon to its start
    P = [None] * (T + 1)
    K = [None] * T
    S = [None] * T
    P[T] = Q
    for t in reversed(range(T)):
        S[t] = R + B.T @ P[t + 1] @ B
        K[t] = np.linalg.solve(S[t], B.T @ P[t + 1] @ A)
        P[t] = Q + A.T @ P[t + 1] @ (A - B @ K[t])

    # closed loop
    x = [x0]
    u = []
    for t in range(T):
        u.append(-x[t] @ K[t].T)
        x.append(x[t] @ A.T + u[t] @ B.T)
    loss = 0.5 / N * sum(np.sum((u[t] - actions[:, t]) ** 2) for t in range(T)) + mu / N * np.sum(x[T] ** 2)

    gA, gB, gQ, gR = np.zeros_like(A), np.zeros_like(B), np.zeros_like(Q), np.zeros_like(R)
    gK = [None] * T
    lam = 2 * mu / N * x[T]
    for t in reversed(range(T)):
        gu = (u[t] - actions[:, t]) / N + lam @ B
        gA += lam.T @ x[t]
        gB += lam.T @ u[t]
        gK[t] = -gu.T @ x[t]
        lam = lam @ A - gu @ K[t]

    gP = np.zeros_like(Q)
    for t in range(T):
        Pn = P[t + 1]
        F = A - B @ K[t]
        gQ += gP
        gF = Pn @ A @ gP
        gA += Pn @ F @ gP.T + gF
        gB -= gF @ K[t].T
        gKt = gK[t] - B.T @ gF
        gM = np.linalg.solve(S[t], gKt)
        gS = -gM @ K[t].T
        gR += gS
        gA += Pn @ B @ gM
        gB += Pn @ A @ gM.T + Pn @ B @ (gS + gS.T)
        gP = A @ gP @ F.T + B @ gM @ A.T + B @ gS @ B.T
    gQ += gP
    gq = np.diag(gQ) * np.exp(q)
    gr = np.diag(gR) * np.exp(r)
    return loss, {"A": gA, "B": gB, "q": gq, "r": gr}


def problem(rng):
    states, inputs, samples, steps = 4, 2, 6, 5
    params = {
        "A": np.eye(states) * 0.9 + rng.normal(size=(states, states)) * 0.25,
        "B": rng.normal(size=(states, inputs)) * 0.6,
        "q": rng.normal(size=states) * 0.5,
        "r": rng.normal(size=inputs) * 0.5 - 0.3,
    }
    return params, (rng.normal(size=(samples, states)), rng.normal(size=(samples, steps, inputs)) * 0.7)


WRONG = [
    wrong(
        "state_cost_not_felt_at_the_end_of_the_horizon",
        "missing-path|truncated-in-time",
        "    gQ += gP\n    gq",
        "    gq",
    ),
    wrong(
        "state_cost_felt_only_at_the_end",
        "missing-path|last-step-only|truncated-in-time",
        "        gQ += gP\n        gF",
        "        gF",
    ),
    wrong(
        "gain_not_felt_by_the_cost_to_go",
        "missing-path",
        "gKt = gK[t] - B.T @ gF",
        "gKt = gK[t]",
    ),
    wrong(
        "closed_loop_matrix_at_both_sides",
        "wrong-operand",
        "gP = A @ gP @ F.T + B @ gM @ A.T",
        "gP = F @ gP @ F.T + B @ gM @ A.T",
    ),
    wrong(
        "inputs_squared_felt_once",
        "missing-path|wrong-scale",
        "Pn @ B @ (gS + gS.T)",
        "Pn @ B @ gS",
    ),
    wrong(
        "solve_without_its_sign",
        "wrong-sign",
        "gS = -gM @ K[t].T",
        "gS = gM @ K[t].T",
    ),
    wrong(
        "gradient_of_the_gain_multiplied_not_solved",
        "wrong-operand|different-function",
        "gM = np.linalg.solve(S[t], gKt)",
        "gM = S[t] @ gKt",
    ),
    wrong(
        "riccati_told_the_present_cost_to_go",
        "shifted-in-time|wrong-operand",
        "Pn = P[t + 1]",
        "Pn = P[t]",
    ),
    wrong(
        "costate_through_the_open_loop_only",
        "missing-path",
        "lam = lam @ A - gu @ K[t]",
        "lam = lam @ A",
    ),
    wrong(
        "actions_do_not_move_the_state",
        "missing-path",
        "gu = (u[t] - actions[:, t]) / N + lam @ B",
        "gu = (u[t] - actions[:, t]) / N",
    ),
    wrong(
        "dynamics_told_the_next_state",
        "shifted-in-time|wrong-operand",
        "gA += lam.T @ x[t]\n",
        "gA += lam.T @ x[t + 1]\n",
    ),
    wrong(
        "exponential_of_the_input_cost_forgotten",
        "missing-derivative",
        "gr = np.diag(gR) * np.exp(r)",
        "gr = np.diag(gR)",
    ),
    wrong(
        "gain_without_the_input_cost_in_both",
        "different-function|missing-path",
        "S[t] = R + B.T @ P[t + 1] @ B",
        "S[t] = np.eye(len(r)) + B.T @ P[t + 1] @ B",
        "        gR += gS\n",
        "",
    ),
    wrong(
        "horizon_ends_at_no_cost_in_both",
        "different-function|missing-path",
        "P[T] = Q\n",
        "P[T] = np.eye(len(q))\n",
        "    gQ += gP\n    gq",
        "    gq",
    ),
]

TOGETHER = [
    ("state_cost_not_felt_at_the_end_of_the_horizon", "exponential_of_the_input_cost_forgotten"),
    ("gain_not_felt_by_the_cost_to_go", "actions_do_not_move_the_state"),
    ("closed_loop_matrix_at_both_sides", "dynamics_told_the_next_state"),
    ("inputs_squared_felt_once", "costate_through_the_open_loop_only"),
    ("solve_without_its_sign", "state_cost_felt_only_at_the_end"),
    ("exponential_of_the_input_cost_forgotten", "actions_do_not_move_the_state"),
    ("riccati_told_the_present_cost_to_go", "exponential_of_the_input_cost_forgotten"),
    ("gain_without_the_input_cost_in_both", "dynamics_told_the_next_state"),
    ("inputs_squared_felt_once", "exponential_of_the_input_cost_forgotten", "dynamics_told_the_next_state"),
    (
        "state_cost_not_felt_at_the_end_of_the_horizon",
        "inputs_squared_felt_once",
        "costate_through_the_open_loop_only",
    ),
]

RIGHT = [
    right(
        "joseph_form_without_the_gain",
        "        F = A - B @ K[t]\n",
        "        PA, PB = Pn @ A, Pn @ B\n        F = A - B @ K[t]\n",
        "        gF = Pn @ A @ gP\n",
        "        gF = PA @ gP\n",
        "        gB += Pn @ A @ gM.T + Pn @ B @ (gS + gS.T)\n",
        "        gB += PA @ gM.T\n        gB += PB @ gS\n        gB += PB @ gS.T\n",
        "gM = np.linalg.solve(S[t], gKt)",
        "gM = np.linalg.inv(S[t]).T @ gKt",
    ),
    right(
        "sample_by_sample_outer_products",
        "        gA += lam.T @ x[t]\n        gB += lam.T @ u[t]\n",
        "        for n in range(N):\n"
        "            gA += np.outer(lam[n], x[t][n])\n"
        "            gB += np.outer(lam[n], u[t][n])\n",
        "gq = np.diag(gQ) * np.exp(q)",
        "gq = np.sum(gQ * Q, axis=1)",
    ),
]
