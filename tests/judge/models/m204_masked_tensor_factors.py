"""A three-way tensor with gaps as a sum of weighted rank-one parts, by Khatri-Rao products and unfoldings; ridges."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong

BATCH_AXIS = None


def reference(params, tensor, mask):
    full = torch.einsum("r,ir,jr,kr->ijk", params["w"], params["A"], params["B"], params["C"])
    error = mask * (full - tensor)
    ridge = sum((params[name] ** 2).sum() for name in ("A", "B", "C"))
    return {"misfit": 0.5 * (error**2).sum() / mask.sum(), "ridge": 0.03 * ridge}


def khatri_rao(left, right):
    return np.einsum("ir,jr->ijr", left, right).reshape(-1, left.shape[1])


def unfold(tensor, mode):
    return np.moveaxis(tensor, mode, 0).reshape(tensor.shape[mode], -1)


def candidate(params, tensor, mask, ridge=0.03):
    w, A, B, C = params["w"], params["A"], params["B"], params["C"]
    observed = mask.sum()
    full = ((A * w) @ khatri_rao(B, C).T).reshape(tensor.shape)
    error = mask * (full - tensor)
    penalty = np.sum(A**2) + np.sum(B**2) + np.sum(C**2)
    loss = 0.5 * np.sum(error**2) / observed + ridge * penalty

    error = error / observed
    dA = unfold(error, 0) @ khatri_rao(B, C) * w
    dB = unfold(error, 1) @ khatri_rao(A, C) * w
    dC = unfold(error, 2) @ khatri_rao(A, B) * w
    dw = np.sum(A * (unfold(error, 0) @ khatri_rao(B, C)), axis=0)
    grads = {
        "w": dw,
        "A": dA + 2 * ridge * A,
        "B": dB + 2 * ridge * B,
        "C": dC + 2 * ridge * C,
    }
    return loss, grads


def problem(rng):
    rank = 3
    params = {
        "w": rng.uniform(0.5, 1.8, size=rank),
        "A": rng.normal(size=(6, rank)),
        "B": rng.normal(size=(4, rank)),
        "C": rng.normal(size=(5, rank)),
    }
    mask = (rng.random(size=(6, 4, 5)) < 0.7).astype(float)
    return params, (rng.normal(size=(6, 4, 5)) * 1.5, mask)


WRONG = [
    wrong(
        "weights_left_out_of_one_factor",
        "missing-derivative|wrong-operand",
        "dB = unfold(error, 1) @ khatri_rao(A, C) * w",
        "dB = unfold(error, 1) @ khatri_rao(A, C)",
    ),
    wrong(
        "weights_put_into_their_own_gradient",
        "extra-derivative|wrong-operand",
        "dw = np.sum(A * (unfold(error, 0) @ khatri_rao(B, C)), axis=0)",
        "dw = np.sum(A * dA, axis=0)",
    ),
    wrong(
        "khatri_rao_in_the_reverse_order",
        "wrong-operand|wrong-axis",
        "dA = unfold(error, 0) @ khatri_rao(B, C) * w",
        "dA = unfold(error, 0) @ khatri_rao(C, B) * w",
    ),
    wrong(
        "last_factor_in_the_reverse_order",
        "wrong-operand|wrong-axis",
        "khatri_rao(A, B) * w",
        "khatri_rao(B, A) * w",
    ),
    wrong(
        "unfolded_by_reshape_only",
        "wrong-axis|wrong-operand",
        "dB = unfold(error, 1) @",
        "dB = error.reshape(B.shape[0], -1) @",
    ),
    wrong(
        "gaps_pull_too",
        "wrong-operand|missing-derivative",
        "    error = error / observed\n",
        "    error = (full - tensor) / observed\n",
    ),
    wrong(
        "gaps_counted_as_zeros_in_both",
        "different-function|wrong-operand",
        "error = mask * (full - tensor)",
        "error = full - mask * tensor",
    ),
    wrong(
        "averaged_over_all_entries",
        "wrong-term-weight|wrong-scale",
        "    error = error / observed\n",
        "    error = error / error.size\n",
    ),
    wrong(
        "half_of_the_square_forgotten",
        "wrong-term-weight|wrong-scale",
        "    error = error / observed\n",
        "    error = 2 * error / observed\n",
    ),
    wrong(
        "ridge_slope_without_two",
        "wrong-term-weight|wrong-scale",
        '"C": dC + 2 * ridge * C,',
        '"C": dC + ridge * C,',
    ),
    wrong(
        "weights_shrunk_as_well",
        "wrong-part-penalised",
        '"w": dw,',
        '"w": dw + 2 * ridge * w,',
    ),
    wrong(
        "ridge_of_another_factor_forgotten",
        "wrong-part-penalised|missing-path|wrong-term-weight",
        '"B": dB + 2 * ridge * B,',
        '"B": dB,',
    ),
]

TOGETHER = [
    ("weights_left_out_of_one_factor", "ridge_slope_without_two"),
    ("khatri_rao_in_the_reverse_order", "weights_shrunk_as_well"),
    ("averaged_over_all_entries", "last_factor_in_the_reverse_order"),
    ("unfolded_by_reshape_only", "weights_put_into_their_own_gradient"),
]

RIGHT = [
    right(
        "factors_by_einsum",
        "dA = unfold(error, 0) @ khatri_rao(B, C) * w",
        'dA = np.einsum("ijk,r,jr,kr->ir", error, w, B, C)',
        "dB = unfold(error, 1) @ khatri_rao(A, C) * w",
        'dB = np.einsum("ijk,r,ir,kr->jr", error, w, A, C)',
        "dC = unfold(error, 2) @ khatri_rao(A, B) * w",
        'dC = np.einsum("ijk,r,ir,jr->kr", error, w, A, B)',
    )
]
