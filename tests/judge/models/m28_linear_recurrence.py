"""A linear state corrected by each observation with a learned gain, as in a filter; the squared innovations summed."""

import numpy as np

from tests.judge.corpus import right, wrong


def reference(params, observed):
    A, C, G = params["A"], params["C"], params["G"]
    state = params["s0"].expand(observed.shape[0], -1)
    total = 0.0
    for t in range(observed.shape[1]):
        innovation = observed[:, t] - state @ C
        total = total + 0.5 * (innovation**2).sum()
        state = state @ A + innovation @ G
    return total / observed.shape[0]


def candidate(params, observed):
    A, C, G = params["A"], params["C"], params["G"]
    n, steps = observed.shape[0], observed.shape[1]
    s = [np.tile(params["s0"], (n, 1))]
    v = []
    for t in range(steps):
        v.append(observed[:, t] - s[t] @ C)
        s.append(s[t] @ A + v[t] @ G)
    loss = sum(0.5 * np.sum(one**2) for one in v) / n
    dA, dC, dG = np.zeros_like(A), np.zeros_like(C), np.zeros_like(G)
    ds = np.zeros_like(s[0])
    for t in range(steps - 1, -1, -1):
        dv = v[t] / n + ds @ G.T
        dA += s[t].T @ ds
        dG += v[t].T @ ds
        dC -= s[t].T @ dv
        ds = ds @ A.T - dv @ C.T
    ds0 = ds.sum(axis=0)
    return loss, {"A": dA, "C": dC, "G": dG, "s0": ds0}


def problem(rng):
    params = {
        "A": np.eye(3) * 0.8 + rng.normal(size=(3, 3)) * 0.2,
        "C": rng.normal(size=(3, 2)) * 0.7,
        "G": rng.normal(size=(2, 3)) * 0.4,
        "s0": rng.normal(size=3),
    }
    return params, (rng.normal(size=(4, 6, 2)),)


WRONG = [
    wrong("gain_route_forgotten", "missing-path|truncated-in-time", "dv = v[t] / n + ds @ G.T", "dv = v[t] / n"),
    wrong("observation_route_forgotten", "missing-path|truncated-in-time", "ds = ds @ A.T - dv @ C.T", "ds = ds @ A.T"),
    wrong("transition_route_forgotten", "missing-path|truncated-in-time", "ds = ds @ A.T - dv @ C.T", "ds = -dv @ C.T"),
    wrong("prediction_sign_forgotten", "wrong-sign", "ds = ds @ A.T - dv @ C.T", "ds = ds @ A.T + dv @ C.T"),
    wrong("C_sign_forgotten", "wrong-sign", "dC -= s[t].T @ dv", "dC += s[t].T @ dv"),
    wrong("A_not_transposed", "not-transposed", "ds = ds @ A.T", "ds = ds @ A"),
    wrong("new_state_in_A", "shifted-in-time", "dA += s[t].T @ ds", "dA += s[t + 1].T @ ds"),
    wrong("new_state_in_C", "shifted-in-time", "dC -= s[t].T @ dv", "dC -= s[t + 1].T @ dv"),
    wrong(
        "delta_after_the_step_in_A",
        "shifted-in-time|wrong-operand",
        "        dA += s[t].T @ ds\n",
        "",
        "        ds = ds @ A.T - dv @ C.T\n",
        "        ds = ds @ A.T - dv @ C.T\n        dA += s[t].T @ ds\n",
    ),
    wrong("A_assigned", "overwritten|last-step-only|missing-path|truncated-in-time", "dA += ", "dA = "),
    wrong("G_assigned", "overwritten|last-step-only|missing-path|truncated-in-time", "dG += ", "dG = "),
    wrong("observation_for_innovation", "wrong-operand", "dG += v[t].T @ ds", "dG += observed[:, t].T @ ds"),
    wrong("not_averaged", "wrong-scale|wrong-reduction", "dv = v[t] / n", "dv = v[t]"),
    wrong("two_too_many", "wrong-scale", "dv = v[t] / n", "dv = 2 * v[t] / n"),
    wrong("averaged_over_steps", "wrong-scale", "dv = v[t] / n", "dv = v[t] / n / steps"),
    wrong(
        "last_innovation_only", "last-step-only|wrong-term-weight", "dv = v[t] / n", "dv = v[t] / n * (t == steps - 1)"
    ),
    wrong("first_state_of_last_sample", "one-sample-only", "ds0 = ds.sum(axis=0)", "ds0 = ds[-1]"),
    wrong("first_state_averaged", "wrong-scale|wrong-reduction", "ds0 = ds.sum(axis=0)", "ds0 = ds.mean(axis=0)"),
    wrong(
        "first_state_one_step_late",
        "shifted-in-time|truncated-in-time|missing-path|wrong-operand",
        "        ds = ds @ A.T",
        "        late = ds\n        ds = ds @ A.T",
        "ds0 = ds.sum",
        "ds0 = late.sum",
    ),
    wrong("first_two_steps_forgotten", "truncated-in-time", "range(steps - 1, -1, -1)", "range(steps - 1, 1, -1)"),
    wrong("A_transposed_gradient", "transposed", '"A": dA', '"A": dA.T'),
    wrong(
        "innovation_turned_round_in_both",
        "wrong-sign|different-function",
        "v.append(observed[:, t] - s[t] @ C)",
        "v.append(s[t] @ C - observed[:, t])",
        "dC -= s[t].T @ dv",
        "dC += s[t].T @ dv",
        "- dv @ C.T",
        "+ dv @ C.T",
    ),
    wrong("half_forgotten_in_cost", "wrong-loss", "sum(0.5 * np.sum(one**2)", "sum(np.sum(one**2)"),
    wrong(
        "first_state_zero_in_both",
        "different-function|missing-path|wrong-operand",
        'np.tile(params["s0"], (n, 1))',
        "np.zeros((n, 3))",
        "ds0 = ds.sum(axis=0)",
        "ds0 = np.zeros(3)",
    ),
]

TOGETHER = [
    ("A_not_transposed", "first_state_averaged"),
    ("gain_route_forgotten", "A_not_transposed"),
    ("new_state_in_A", "observation_for_innovation"),
    ("half_forgotten_in_cost", "prediction_sign_forgotten"),
    ("A_assigned", "G_assigned"),
    ("two_too_many", "first_state_averaged"),
    ("new_state_in_A", "observation_for_innovation", "first_state_averaged"),
]

RIGHT = [
    right("deltas_kept", "        dA += s[t].T @ ds\n", "        dA += np.einsum('ni,nj->ij', s[t], ds)\n"),
    right("closed_loop_matrix", "ds = ds @ A.T - dv @ C.T", "ds = ds @ (A - C @ G).T - v[t] @ C.T / n"),
]
