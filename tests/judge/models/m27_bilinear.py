"""A bilinear score of two vectors for each class, symmetric part penalised; softplus margins against signed targets."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, u, v, sign):
    left = u @ params["P"]
    score = F.bilinear(left, v, params["B"].permute(2, 0, 1)) + params["c"]
    gated = score[:, :3] * torch.sigmoid(score[:, 3:])
    margin = sign * gated
    data = F.softplus(1 - margin).sum(dim=1).mean()
    symmetric = params["B"] + params["B"].transpose(0, 1)
    return {"data": data, "penalty": 0.02 * symmetric.pow(2).sum()}


def candidate(params, u, v, sign):
    P, B, c = params["P"], params["B"], params["c"]
    n = len(u)
    left = u @ P
    score = np.einsum("ni,ijk,nj->nk", left, B, v) + c
    a, g = score[:, :3], 1 / (1 + np.exp(-score[:, 3:]))
    margin = sign * a * g
    symmetric = B + B.transpose(1, 0, 2)
    loss = np.sum(np.logaddexp(0, 1 - margin)) / n + 0.02 * np.sum(symmetric**2)
    dmargin = -1 / (1 + np.exp(margin - 1)) / n
    da = dmargin * sign * g
    dg = dmargin * sign * a
    dscore = np.hstack([da, dg * g * (1 - g)])
    dc = dscore.sum(axis=0)
    dB = np.einsum("ni,nj,nk->ijk", left, v, dscore)
    dB = dB + 0.08 * symmetric
    dleft = np.einsum("ijk,nj,nk->ni", B, v, dscore)
    dP = u.T @ dleft
    return loss, {"P": dP, "B": dB, "c": dc}


def problem(rng):
    params = {"P": rng.normal(size=(5, 4)) * 0.6, "B": rng.normal(size=(4, 4, 6)) * 0.5, "c": rng.normal(size=6) * 0.5}
    return params, (rng.normal(size=(7, 5)), rng.normal(size=(7, 4)), rng.choice([-1.0, 1.0], size=(7, 3)))


WRONG = [
    wrong("B_not_transposed", "not-transposed", '"ijk,nj,nk->ni", B, v', '"jik,nj,nk->ni", B, v'),
    wrong("B_gradient_transposed", "transposed", "dB = dB + 0.08", "dB = dB.transpose(1, 0, 2) + 0.08"),
    wrong(
        "softplus_derivative_forgotten",
        "missing-derivative",
        "dmargin = -1 / (1 + np.exp(margin - 1)) / n",
        "dmargin = -np.ones_like(margin) / n",
    ),
    wrong(
        "margin_the_other_way",
        "derivative-at-wrong-point|different-function|wrong-sign",
        "np.exp(margin - 1)",
        "np.exp(1 - margin)",
    ),
    wrong(
        "hinge_slope_for_softplus", "different-function", "-1 / (1 + np.exp(margin - 1)) / n", "-1.0 * (margin < 1) / n"
    ),
    wrong("margin_sign", "wrong-sign|wrong-term-weight", "dmargin = -1 /", "dmargin = 1 /"),
    wrong(
        "target_sign_forgotten_in_gate",
        "missing-derivative|missing-path|wrong-operand",
        "dg = dmargin * sign * a",
        "dg = dmargin * a",
    ),
    wrong("gate_derivative_forgotten", "missing-derivative", "dg * g * (1 - g)", "dg"),
    wrong("gate_derivative_twice", "extra-derivative", "dg * g * (1 - g)", "dg * (g * (1 - g)) ** 2"),
    wrong(
        "gate_forgotten_in_a",
        "missing-derivative|missing-path|wrong-operand",
        "da = dmargin * sign * g",
        "da = dmargin * sign",
    ),
    wrong("gate_as_constant", "missing-path", "[da, dg * g * (1 - g)]", "[da, 0 * dg]"),
    wrong("gate_and_value_swapped", "wrong-operand", "[da, dg * g * (1 - g)]", "[dg * g * (1 - g), da]"),
    wrong(
        "not_averaged",
        "wrong-scale|wrong-reduction|wrong-term-weight",
        "np.exp(margin - 1)) / n",
        "np.exp(margin - 1))",
    ),
    wrong(
        "averaged_over_classes",
        "wrong-scale|wrong-reduction|wrong-term-weight",
        "np.exp(margin - 1)) / n",
        "np.exp(margin - 1)) / margin.size",
    ),
    wrong(
        "penalty_of_one_half",
        "wrong-term-weight|wrong-scale|missing-path",
        "dB = dB + 0.08 * symmetric",
        "dB = dB + 0.04 * symmetric",
    ),
    wrong(
        "penalty_as_if_not_symmetric",
        "missing-path|wrong-operand|wrong-part-penalised|different-function|wrong-term-weight",
        "0.08 * symmetric",
        "0.08 * B",
    ),
    wrong("penalty_forgotten", "wrong-term-weight|missing-path", "    dB = dB + 0.08 * symmetric\n", ""),
    wrong(
        "constants_penalised", "wrong-part-penalised", "dc = dscore.sum(axis=0)", "dc = dscore.sum(axis=0) + 0.08 * c"
    ),
    wrong("u_for_left", "wrong-operand", '"ni,nj,nk->ijk", left, v', '"ni,nj,nk->ijk", u[:, :4], v'),
    wrong("v_twice", "wrong-operand", '"ni,nj,nk->ijk", left, v', '"ni,nj,nk->ijk", v, v'),
    wrong("constants_of_last_sample", "one-sample-only", "dc = dscore.sum(axis=0)", "dc = dscore[-1]"),
    wrong(
        "tanh_gate_in_both",
        "different-function",
        "1 / (1 + np.exp(-score[:, 3:]))",
        "np.tanh(score[:, 3:])",
        "dg * g * (1 - g)",
        "dg * (1 - g**2)",
    ),
    wrong("penalty_ten_times_in_cost", "wrong-loss", "+ 0.02 * np.sum", "+ 0.2 * np.sum"),
]

TOGETHER = [
    ("gate_derivative_forgotten", "B_not_transposed"),
    ("penalty_forgotten", "gate_derivative_twice"),
    ("penalty_ten_times_in_cost", "penalty_forgotten"),
    ("constants_penalised", "B_not_transposed"),
    ("not_averaged", "gate_derivative_forgotten"),
    ("margin_sign", "gate_as_constant"),
    ("gate_derivative_forgotten", "B_not_transposed", "penalty_forgotten"),
]

RIGHT = [
    right(
        "sample_by_sample",
        'dB = np.einsum("ni,nj,nk->ijk", left, v, dscore)',
        "dB = sum(np.multiply.outer(np.outer(left[k], v[k]), dscore[k]) for k in range(n))",
    ),
    right("stable_sigmoid", "-1 / (1 + np.exp(margin - 1)) / n", "-np.exp(-np.logaddexp(0, margin - 1)) / n"),
]
