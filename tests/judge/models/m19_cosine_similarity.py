"""Two linear encoders compared by their cosine: one less the cosine for pairs that match, squared hinge for others."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, left, right, match):
    a = left @ params["W_a"]
    b = F.leaky_relu(right @ params["W_b"], 0.2)
    cosine = (a * b).sum(dim=1) / (a.norm(dim=1) * b.norm(dim=1))
    return torch.where(match == 1, 1 - cosine, torch.clamp(cosine + 0.3, min=0) ** 2).mean()


def candidate(params, left, right, match):
    W_a, W_b = params["W_a"], params["W_b"]
    n = len(match)
    a = left @ W_a
    z = right @ W_b
    b = np.where(z > 0, z, 0.2 * z)
    na = np.sqrt(np.sum(a**2, axis=1, keepdims=True))
    nb = np.sqrt(np.sum(b**2, axis=1, keepdims=True))
    ua, ub = a / na, b / nb
    c = np.sum(ua * ub, axis=1)
    hinge = np.maximum(c + 0.3, 0)
    loss = np.mean(np.where(match == 1, 1 - c, hinge**2))
    dc = np.where(match == 1, -1, 2 * hinge)[:, None] / n
    da = dc * (ub - c[:, None] * ua) / na
    db = dc * (ua - c[:, None] * ub) / nb
    dz = db * np.where(z > 0, 1, 0.2)
    dW_a = left.T @ da
    dW_b = right.T @ dz
    return loss, {"W_a": dW_a, "W_b": dW_b}


def problem(rng):
    params = {"W_a": rng.normal(size=(4, 3)), "W_b": rng.normal(size=(5, 3))}
    return params, (rng.normal(size=(8, 4)), rng.normal(size=(8, 5)), rng.integers(0, 2, size=8))


WRONG = [
    wrong(
        "norm_of_a_as_constant", "missing-path|diagonal-jacobian", "dc * (ub - c[:, None] * ua) / na", "dc * ub / na"
    ),
    wrong(
        "norm_of_b_as_constant", "missing-path|diagonal-jacobian", "dc * (ua - c[:, None] * ub) / nb", "dc * ua / nb"
    ),
    wrong("not_divided_by_the_norm", "missing-derivative|missing-path", "c[:, None] * ua) / na", "c[:, None] * ua)"),
    wrong("projection_added", "wrong-sign", "(ub - c[:, None] * ua)", "(ub + c[:, None] * ua)"),
    wrong("other_norm", "wrong-operand", "c[:, None] * ua) / na", "c[:, None] * ua) / nb"),
    wrong("leaky_derivative_forgotten", "missing-derivative", "dz = db * np.where(z > 0, 1, 0.2)", "dz = db"),
    wrong("relu_for_leaky_relu", "different-function", "db * np.where(z > 0, 1, 0.2)", "db * (z > 0)"),
    wrong(
        "default_slope",
        "different-function|wrong-hyperparameter",
        "db * np.where(z > 0, 1, 0.2)",
        "db * np.where(z > 0, 1, 0.01)",
    ),
    wrong(
        "hinge_not_squared_in_gradient",
        "wrong-operand|missing-derivative|different-function",
        "2 * hinge)[:, None]",
        "1.0 * (hinge > 0))[:, None]",
    ),
    wrong("hinge_factor_forgotten", "wrong-scale", "2 * hinge)[:, None]", "hinge)[:, None]"),
    wrong(
        "match_sign_forgotten",
        "wrong-sign",
        "np.where(match == 1, -1, 2 * hinge)",
        "np.where(match == 1, 1, 2 * hinge)",
    ),
    wrong(
        "branches_exchanged",
        "wrong-operand|different-function",
        "dc = np.where(match == 1, -1, 2 * hinge)",
        "dc = np.where(match == 0, -1, 2 * hinge)",
    ),
    wrong(
        "pairs_that_do_not_match_forgotten",
        "missing-path|wrong-term-weight",
        "np.where(match == 1, -1, 2 * hinge)",
        "np.where(match == 1, -1, 0)",
    ),
    wrong("not_averaged", "wrong-scale|wrong-reduction", "2 * hinge)[:, None] / n", "2 * hinge)[:, None]"),
    wrong("last_pair", "one-sample-only", "dW_a = left.T @ da", "dW_a = np.outer(left[-1], da[-1])"),
    wrong("encoders_data_exchanged", "wrong-operand", "dW_a = left.T @ da", "dW_a = right[:, :4].T @ da"),
    wrong(
        "dot_product_in_both",
        "different-function|missing-path",
        "ua, ub = a / na, b / nb",
        "ua, ub = a, b",
        "dc * (ub - c[:, None] * ua) / na",
        "dc * ub",
        "dc * (ua - c[:, None] * ub) / nb",
        "dc * ua",
    ),
    wrong(
        "norm_not_squared_root_in_both",
        "different-function",
        "np.sqrt(np.sum(a**2, axis=1, keepdims=True))",
        "np.sum(np.abs(a), axis=1, keepdims=True)",
        "dc * (ub - c[:, None] * ua) / na",
        "dc * (ub - c[:, None] * np.sign(a)) / na",
    ),
    wrong(
        "margin_forgotten_in_cost",
        "wrong-loss|different-function",
        "np.where(match == 1, 1 - c, hinge**2)",
        "np.where(match == 1, 1 - c, np.maximum(c, 0) ** 2)",
    ),
]

TOGETHER = [
    ("norm_of_a_as_constant", "leaky_derivative_forgotten"),
    ("norm_of_b_as_constant", "leaky_derivative_forgotten"),
    ("hinge_factor_forgotten", "projection_added"),
    ("margin_forgotten_in_cost", "norm_of_a_as_constant"),
    ("not_averaged", "relu_for_leaky_relu"),
    ("not_averaged", "norm_of_a_as_constant", "relu_for_leaky_relu"),
]

RIGHT = [
    right(
        "quotient_rule",
        "da = dc * (ub - c[:, None] * ua) / na",
        "dot = np.sum(a * b, axis=1, keepdims=True)\n    da = dc * (b / (na * nb) - dot * a / (na**3 * nb))",
    ),
    right(
        "projector",
        "da = dc * (ub - c[:, None] * ua) / na",
        "da = dc * np.einsum('nij,nj->ni', np.eye(3) - ua[:, :, None] * ua[:, None], ub) / na",
    ),
]
