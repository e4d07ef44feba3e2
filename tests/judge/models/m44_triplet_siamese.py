"""Three samples at a time through one encoder: the anchor closer to its like than to another, by a margin."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, anchor, like, other):
    def encode(x):
        h = F.elu(x @ params["W1"] + params["b1"])
        return torch.sigmoid(h @ params["W2"] + params["b2"])

    triplet = F.triplet_margin_loss(encode(anchor), encode(like), encode(other), margin=0.6)
    return {"triplet": triplet, "decay": 0.02 * ((params["W1"] ** 2).sum() + (params["W2"] ** 2).sum())}


def encode(params, x):
    z = x @ params["W1"] + params["b1"]
    h = np.where(z > 0, z, np.exp(np.minimum(z, 0)) - 1)
    e = 1 / (1 + np.exp(-(h @ params["W2"] + params["b2"])))
    return e, (x, z, h, e)


def add_encoder_gradients(params, grads, de, cache):
    x, z, h, e = cache
    da = de * e * (1 - e)
    grads["W2"] += h.T @ da
    grads["b2"] += da.sum(axis=0)
    dh = da @ params["W2"].T
    dz = dh * np.where(z > 0, 1.0, np.exp(np.minimum(z, 0)))
    grads["W1"] += x.T @ dz
    grads["b1"] += dz.sum(axis=0)


def candidate(params, anchor, like, other):
    (a, cache_a), (p, cache_p), (q, cache_q) = (encode(params, x) for x in (anchor, like, other))
    to_like, to_other = a - p + 1e-6, a - q + 1e-6
    near = np.sqrt((to_like**2).sum(axis=1))
    far = np.sqrt((to_other**2).sum(axis=1))
    violation = near - far + 0.6
    loss = np.maximum(violation, 0).mean() + 0.02 * (np.sum(params["W1"] ** 2) + np.sum(params["W2"] ** 2))
    grads = {name: np.zeros_like(value) for name, value in params.items()}
    dnear = (violation > 0) / len(anchor)
    dfar = -dnear
    pull = (dnear / near)[:, None] * to_like
    push = (dfar / far)[:, None] * to_other
    add_encoder_gradients(params, grads, pull + push, cache_a)
    add_encoder_gradients(params, grads, -pull, cache_p)
    add_encoder_gradients(params, grads, -push, cache_q)
    for name in ("W1", "W2"):
        grads[name] += 0.04 * params[name]
    return loss, grads


def problem(rng):
    params = {
        "W1": rng.normal(size=(3, 5)),
        "b1": rng.normal(size=5) * 0.5,
        "W2": rng.normal(size=(5, 4)),
        "b2": rng.normal(size=4) * 0.5,
    }
    anchor = rng.normal(size=(8, 3))
    return params, (anchor, anchor + 0.6 * rng.normal(size=(8, 3)), rng.normal(size=(8, 3)))


WRONG = [
    wrong(
        "anchor_forgotten",
        "missing-path",
        "    add_encoder_gradients(params, grads, pull + push, cache_a)\n",
        "",
    ),
    wrong(
        "other_forgotten",
        "missing-path",
        "    add_encoder_gradients(params, grads, -push, cache_q)\n",
        "",
    ),
    wrong("W2_assigned", "overwritten", 'grads["W2"] += h.T @ da', 'grads["W2"] = h.T @ da'),
    wrong("b1_assigned", "overwritten", 'grads["b1"] += dz', 'grads["b1"] = dz'),
    wrong("like_pushed_away", "wrong-sign", "grads, -pull, cache_p", "grads, pull, cache_p"),
    wrong("other_pulled", "wrong-sign", "dfar = -dnear", "dfar = dnear"),
    wrong(
        "distance_squared_backwards",
        "missing-derivative|different-function",
        "pull = (dnear / near)[:, None] * to_like",
        "pull = 2 * dnear[:, None] * to_like",
    ),
    wrong(
        "division_by_distance_forgotten",
        "missing-derivative|different-function",
        "push = (dfar / far)[:, None] * to_other",
        "push = dfar[:, None] * to_other",
    ),
    wrong("distances_swapped", "wrong-operand", "push = (dfar / far)[:, None]", "push = (dfar / near)[:, None]"),
    wrong(
        "all_triplets_counted",
        "missing-derivative",
        "dnear = (violation > 0) / len(anchor)",
        "dnear = np.full(len(anchor), 1 / len(anchor))",
    ),
    wrong(
        "not_averaged",
        "wrong-term-weight|wrong-scale|wrong-reduction",
        "(violation > 0) / len(anchor)",
        "(violation > 0) * 1.0",
    ),
    wrong(
        "elu_slope_at_the_output",
        "derivative-at-wrong-point",
        "dz = dh * np.where(z > 0, 1.0, np.exp(np.minimum(z, 0)))",
        "dz = dh * np.where(h > 0, 1.0, np.exp(np.minimum(h, 0)))",
    ),
    wrong(
        "relu_slope_for_elu",
        "different-function",
        "dz = dh * np.where(z > 0, 1.0, np.exp(np.minimum(z, 0)))",
        "dz = dh * np.where(z > 0, 1.0, 0.0)",
    ),
    wrong("sigmoid_slope_twice", "extra-derivative", "da = de * e * (1 - e)", "da = de * (e * (1 - e)) ** 2"),
    wrong("anchor_for_all", "wrong-operand", "grads, -pull, cache_p", "grads, -pull, cache_a"),
    wrong("biases_decayed", "wrong-part-penalised", 'for name in ("W1", "W2"):', "for name in params:"),
    wrong(
        "squared_distances_in_both",
        "different-function",
        "near = np.sqrt((to_like**2).sum(axis=1))\n    far = np.sqrt((to_other**2).sum(axis=1))",
        "near = (to_like**2).sum(axis=1)\n    far = (to_other**2).sum(axis=1)",
        "pull = (dnear / near)[:, None]",
        "pull = 2 * dnear[:, None]",
        "push = (dfar / far)[:, None]",
        "push = 2 * dfar[:, None]",
    ),
    wrong(
        "softplus_margin_in_both",
        "different-function",
        "loss = np.maximum(violation, 0).mean()",
        "loss = np.logaddexp(violation, 0).mean()",
        "(violation > 0) / len(anchor)",
        "1 / (1 + np.exp(-violation)) / len(anchor)",
    ),
]

TOGETHER = [
    ("anchor_forgotten", "elu_slope_at_the_output"),
    ("W2_assigned", "biases_decayed"),
    ("sigmoid_slope_twice", "b1_assigned"),
    ("like_pushed_away", "division_by_distance_forgotten"),
    ("other_forgotten", "relu_slope_for_elu", "biases_decayed"),
]

RIGHT = [
    right(
        "one_call_for_all_three",
        "    add_encoder_gradients(params, grads, pull + push, cache_a)\n"
        "    add_encoder_gradients(params, grads, -pull, cache_p)\n"
        "    add_encoder_gradients(params, grads, -push, cache_q)\n",
        "    caches = [np.concatenate(parts) for parts in zip(cache_a, cache_p, cache_q)]\n"
        "    add_encoder_gradients(params, grads, np.concatenate([pull + push, -pull, -push]), caches)\n",
    ),
    right("elu_slope_by_the_output", "np.where(z > 0, 1.0, np.exp(np.minimum(z, 0)))", "np.where(z > 0, 1.0, h + 1)"),
    right(
        "decay_before",
        '    for name in ("W1", "W2"):\n        grads[name] += 0.04 * params[name]\n',
        "",
        "np.zeros_like(value) for",
        "0.04 * value * (value.ndim == 2) for",
    ),
]
