"""An autoencoder of ratings with gaps: SELU and sigmoid layers, masked squares, its dense answer fed in once more."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, ratings):
    def encode_decode(x):
        hidden = F.selu(x @ params["V"].T + params["mu"])
        code = torch.sigmoid(hidden @ params["U"].T + params["nu"])
        return code @ params["W"].T + params["b"]

    seen = (ratings > 0).to(ratings.dtype)
    means = ratings.sum(dim=1, keepdim=True) / seen.sum(dim=1, keepdim=True)
    first = encode_decode(seen * (ratings - means))
    second = encode_decode(first)
    data = (seen * (first + means - ratings) ** 2).sum() / seen.sum()
    penalty = sum((params[name] ** 2).sum() for name in ("V", "U", "W"))
    return {"seen": data, "again": 0.4 * F.mse_loss(second, first), "penalty": 0.01 * penalty}


def selu(z, scale=1.0507009873554805, alpha=1.6732632423543772):
    return scale * np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0)))


def selu_prime(z, scale=1.0507009873554805, alpha=1.6732632423543772):
    return scale * np.where(z > 0, 1.0, alpha * np.exp(np.minimum(z, 0)))


def run(p, x):
    z = np.einsum("ni,hi->nh", x, p["V"]) + p["mu"]
    hid = selu(z)
    c = 1 / (1 + np.exp(-(np.einsum("nh,kh->nk", hid, p["U"]) + p["nu"])))
    return np.einsum("nk,ik->ni", c, p["W"]) + p["b"], dict(x=x, z=z, hid=hid, c=c)


def run_back(p, dy, m, g):
    g["W"] += np.einsum("ni,nk->ik", dy, m["c"])
    g["b"] += dy.sum(0)
    da = np.einsum("ni,ik->nk", dy, p["W"]) * m["c"] * (1 - m["c"])
    g["U"] += np.einsum("nk,nh->kh", da, m["hid"])
    g["nu"] += da.sum(0)
    dz = np.einsum("nk,kh->nh", da, p["U"]) * selu_prime(m["z"])
    g["V"] += np.einsum("nh,ni->hi", dz, m["x"])
    g["mu"] += dz.sum(0)
    return np.einsum("nh,hi->ni", dz, p["V"])


def candidate(params, ratings, again=0.4, lam=0.01):
    p = params
    seen = ratings > 0
    means = ratings.sum(1, keepdims=True) / seen.sum(1, keepdims=True)
    y1, m1 = run(p, np.where(seen, ratings - means, 0.0))
    y2, m2 = run(p, y1)
    err, gap = seen * (y1 + means - ratings), y2 - y1
    squares = sum(np.sum(p[k] ** 2) for k in "VUW")
    loss = np.sum(err**2) / seen.sum() + again * np.mean(gap**2) + lam * squares

    g = {k: np.zeros(v.shape) for k, v in p.items()}
    dgap = 2 * again * gap / gap.size
    dy1 = 2 * err / seen.sum() - dgap + run_back(p, dgap, m2, g)
    run_back(p, dy1, m1, g)
    for k in "VUW":
        g[k] += 2 * lam * p[k]
    return loss, g


def problem(rng):
    users, items, hidden, code = 5, 7, 4, 3
    params = {
        "V": rng.normal(size=(hidden, items)) * 0.5,
        "mu": rng.normal(size=hidden) * 0.4,
        "U": rng.normal(size=(code, hidden)) * 0.8,
        "nu": rng.normal(size=code) * 0.4,
        "W": rng.normal(size=(items, code)) * 0.8,
        "b": rng.normal(size=items) * 0.3,
    }
    stars = rng.integers(1, 6, size=(users, items)).astype(float)
    unseen = rng.random(size=(users, items)) < 0.35
    unseen[np.arange(users), np.arange(users)] = False
    unseen[0, 6] = True
    return params, (np.where(unseen, 0.0, stars),)


WRONG = [
    wrong(
        "gaps_pulled_towards_zero_backwards",
        "wrong-operand|missing-derivative",
        "dy1 = 2 * err / seen.sum()",
        "dy1 = 2 * (y1 + means - ratings) / seen.sum()",
    ),
    wrong(
        "averaged_over_the_gaps_too",
        "wrong-scale|wrong-term-weight",
        "dy1 = 2 * err / seen.sum()",
        "dy1 = 2 * err / seen.size",
    ),
    wrong(
        "second_answer_held_against_a_constant",
        "missing-path",
        "/ seen.sum() - dgap + run_back(p, dgap, m2, g)",
        "/ seen.sum() + run_back(p, dgap, m2, g)",
    ),
    wrong(
        "second_input_held_constant",
        "missing-path|truncated-in-time",
        "    dy1 = 2 * err / seen.sum() - dgap + run_back(p, dgap, m2, g)\n",
        "    run_back(p, dgap, m2, g)\n    dy1 = 2 * err / seen.sum() - dgap\n",
    ),
    wrong(
        "second_pass_through_the_cache_of_the_first",
        "wrong-operand",
        "run_back(p, dgap, m2, g)",
        "run_back(p, dgap, m1, g)",
    ),
    wrong(
        "decoder_gradient_of_the_first_pass_only",
        "overwritten",
        'g["W"] += np.einsum("ni,nk->ik", dy, m["c"])',
        'g["W"] = np.einsum("ni,nk->ik", dy, m["c"])',
    ),
    wrong(
        "selu_slope_at_its_output",
        "derivative-at-wrong-point",
        'selu_prime(m["z"])',
        'selu_prime(m["hid"])',
    ),
    wrong(
        "scale_of_the_selu_left_out_of_its_slope",
        "different-function|wrong-scale",
        "return scale * np.where(z > 0, 1.0,",
        "return np.where(z > 0, 1.0,",
    ),
    wrong(
        "sigmoid_slope_forgotten",
        "missing-derivative",
        '* m["c"] * (1 - m["c"])',
        "",
    ),
    wrong(
        "two_of_the_decay_forgotten",
        "wrong-scale|wrong-term-weight",
        "g[k] += 2 * lam * p[k]",
        "g[k] += lam * p[k]",
    ),
    wrong(
        "decay_on_every_parameter_backwards",
        "wrong-part-penalised",
        '    for k in "VUW":\n        g[k] +=',
        "    for k in p:\n        g[k] +=",
    ),
    wrong(
        "means_counted_over_all_items_in_both",
        "different-function|wrong-reduction|wrong-operand",
        "means = ratings.sum(1, keepdims=True) / seen.sum(1, keepdims=True)",
        "means = ratings.mean(1, keepdims=True)",
    ),
]

TOGETHER = [
    ("gaps_pulled_towards_zero_backwards", "two_of_the_decay_forgotten"),
    ("second_input_held_constant", "selu_slope_at_its_output"),
    ("averaged_over_the_gaps_too", "decay_on_every_parameter_backwards"),
    ("second_answer_held_against_a_constant", "decoder_gradient_of_the_first_pass_only"),
]

RIGHT = [
    right(
        "products_by_matmul",
        'np.einsum("ni,nk->ik", dy, m["c"])',
        'dy.T @ m["c"]',
        'np.einsum("nk,nh->kh", da, m["hid"])',
        'da.T @ m["hid"]',
        'np.einsum("nh,ni->hi", dz, m["x"])',
        'dz.T @ m["x"]',
        'return np.einsum("nh,hi->ni", dz, p["V"])',
        'return dz @ p["V"]',
    ),
]
