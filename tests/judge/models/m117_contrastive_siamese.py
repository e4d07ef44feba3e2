"""A siamese network: two inputs through the same two layers, Euclidean distance, contrastive loss with a margin."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, first, second, same):
    def embed(x):
        hidden = F.relu(F.linear(x, params["W1"], params["b1"]))
        return torch.tanh(F.linear(hidden, params["W2"], params["b2"]))

    distance = torch.sqrt((embed(first) - embed(second)).square().sum(dim=1) + 0.03)
    y = same.to(distance.dtype)
    pairs = y * distance.square() + (1 - y) * F.relu(1.3 - distance).square()
    return {
        "contrastive": 0.5 * pairs.mean(),
        "l2": 0.5 * 0.01 * (params["W1"].square().sum() + params["W2"].square().sum()),
    }


def tower(params, x):
    pre = x @ params["W1"].T + params["b1"]
    hidden = np.maximum(pre, 0)
    embedding = np.tanh(hidden @ params["W2"].T + params["b2"])
    return embedding, (x, pre, hidden, embedding)


def tower_backward(params, grads, dembedding, cache):
    x, pre, hidden, embedding = cache
    dout = dembedding * (1 - embedding**2)
    grads["W2"] += dout.T @ hidden
    grads["b2"] += dout.sum(axis=0)
    dhidden = dout @ params["W2"]
    dpre = dhidden * (pre > 0)
    grads["W1"] += dpre.T @ x
    grads["b1"] += dpre.sum(axis=0)


def candidate(params, first, second, same, margin=1.3, eps=0.03, decay=0.01):
    n = len(same)
    different = 1 - same
    e1, cache1 = tower(params, first)
    e2, cache2 = tower(params, second)
    diff = e1 - e2
    dist = np.sqrt(np.sum(diff**2, axis=1) + eps)
    gap = np.maximum(margin - dist, 0)
    contrastive = np.sum(same * dist**2 + different * gap**2) / (2 * n)
    loss = contrastive + 0.5 * decay * (np.sum(params["W1"] ** 2) + np.sum(params["W2"] ** 2))

    ddist = (same * dist - different * gap) / n
    ddiff = (ddist / dist)[:, None] * diff
    grads = {name: np.zeros_like(value) for name, value in params.items()}
    tower_backward(params, grads, ddiff, cache1)
    tower_backward(params, grads, -ddiff, cache2)
    for name in ("W1", "W2"):
        grads[name] += decay * params[name]
    return loss, grads


def problem(rng):
    params = {
        "W1": rng.normal(size=(7, 5)) * 0.6,
        "b1": rng.normal(size=7) * 0.3,
        "W2": rng.normal(size=(3, 7)) * 0.35,
        "b2": rng.normal(size=3) * 0.4,
    }
    first = rng.normal(size=(9, 5))
    same = np.array([1, 0, 0, 1, 0, 1, 0, 0, 1])
    second = first * 0.4 + rng.normal(size=(9, 5)) * 0.9
    return params, (first, second, same)


WRONG = [
    wrong("second_tower_not_negated", "wrong-sign", "grads, -ddiff, cache2)", "grads, ddiff, cache2)"),
    wrong("one_tower_only", "missing-path|overwritten", "    tower_backward(params, grads, -ddiff, cache2)\n", ""),
    wrong(
        "towers_overwrite_each_other",
        "overwritten|missing-path",
        'grads["W2"] += dout.T @ hidden',
        'grads["W2"] = dout.T @ hidden',
    ),
    wrong(
        "root_not_differentiated",
        "missing-derivative",
        "ddiff = (ddist / dist)[:, None] * diff",
        "ddiff = ddist[:, None] * diff",
    ),
    wrong(
        "margin_not_clipped",
        "missing-derivative|different-function",
        "ddist = (same * dist - different * gap) / n",
        "ddist = (same * dist - different * (margin - dist)) / n",
    ),
    wrong(
        "negatives_pulled_together",
        "wrong-sign",
        "ddist = (same * dist - different * gap) / n",
        "ddist = (same * dist + different * gap) / n",
    ),
    wrong(
        "pairs_summed",
        "wrong-term-weight|wrong-scale|wrong-reduction",
        "ddist = (same * dist - different * gap) / n",
        "ddist = same * dist - different * gap",
    ),
    wrong(
        "tanh_slope_of_its_output",
        "derivative-at-wrong-point",
        "dout = dembedding * (1 - embedding**2)",
        "dout = dembedding * (1 - np.tanh(embedding) ** 2)",
    ),
    wrong("relu_not_differentiated", "missing-derivative", "dpre = dhidden * (pre > 0)", "dpre = dhidden"),
    wrong(
        "first_bias_averaged",
        "wrong-reduction|wrong-scale",
        'grads["b1"] += dpre.sum(axis=0)',
        'grads["b1"] += dpre.mean(axis=0)',
    ),
    wrong(
        "decay_for_each_tower",
        "wrong-term-weight|wrong-scale",
        "grads[name] += decay * params[name]",
        "grads[name] += 2 * decay * params[name]",
    ),
    wrong(
        "labels_meant_the_other_way_in_both",
        "wrong-operand|different-function",
        "    different = 1 - same\n",
        "    different, same = same, 1 - same\n",
    ),
    wrong(
        "margin_of_squared_distance_in_both",
        "different-function",
        "gap = np.maximum(margin - dist, 0)",
        "gap = np.maximum(margin - dist**2, 0)",
        "ddist = (same * dist - different * gap) / n",
        "ddist = (same * dist - different * gap * 2 * dist) / n",
    ),
    wrong(
        "epsilon_outside_the_root_in_both",
        "different-function",
        "np.sqrt(np.sum(diff**2, axis=1) + eps)",
        "np.sqrt(np.sum(diff**2, axis=1)) + eps",
        "(ddist / dist)[:, None]",
        "(ddist / (dist - eps))[:, None]",
    ),
    wrong("half_forgotten_in_cost", "wrong-loss", "different * gap**2) / (2 * n)", "different * gap**2) / n"),
    wrong(
        "cache_of_the_later_call",
        "wrong-operand",
        "tower_backward(params, grads, ddiff, cache1)",
        "tower_backward(params, grads, ddiff, cache2)",
    ),
]

TOGETHER = [
    ("second_tower_not_negated", "tanh_slope_of_its_output"),
    ("towers_overwrite_each_other", "decay_for_each_tower"),
    ("root_not_differentiated", "negatives_pulled_together"),
    ("one_tower_only", "pairs_summed"),
    ("labels_meant_the_other_way_in_both", "relu_not_differentiated"),
    ("epsilon_outside_the_root_in_both", "first_bias_averaged"),
    ("one_tower_only", "margin_not_clipped", "first_bias_averaged"),
    ("margin_of_squared_distance_in_both", "towers_overwrite_each_other", "relu_not_differentiated"),
]

RIGHT = [
    right(
        "both_towers_in_one_batch",
        "    e1, cache1 = tower(params, first)\n    e2, cache2 = tower(params, second)\n",
        "    stacked, cache = tower(params, np.vstack([first, second]))\n    e1, e2 = stacked[:n], stacked[n:]\n",
        "    tower_backward(params, grads, ddiff, cache1)\n    tower_backward(params, grads, -ddiff, cache2)\n",
        "    tower_backward(params, grads, np.vstack([ddiff, -ddiff]), cache)\n",
    ),
    right(
        "pair_by_pair",
        "    ddist = (same * dist - different * gap) / n\n    ddiff = (ddist / dist)[:, None] * diff\n",
        "    ddiff = np.zeros_like(diff)\n"
        "    for i in range(n):\n"
        "        if same[i] == 1:\n"
        "            ddiff[i] = diff[i] / n\n"
        "        elif dist[i] < margin:\n"
        "            ddiff[i] = -(margin / dist[i] - 1) * diff[i] / n\n",
        "contrastive = np.sum(same * dist**2 + different * gap**2) / (2 * n)",
        "contrastive = np.mean(np.where(same == 1, dist**2, gap**2)) / 2",
    ),
    right(
        "decay_first_and_slopes_in_place",
        "    grads = {name: np.zeros_like(value) for name, value in params.items()}\n",
        "    grads = {name: value * (decay if value.ndim == 2 else 0.0) for name, value in params.items()}\n",
        '    for name in ("W1", "W2"):\n        grads[name] += decay * params[name]\n',
        "",
        "    dpre = dhidden * (pre > 0)\n",
        "    dhidden[pre <= 0] = 0\n    dpre = dhidden\n",
        "dembedding * (1 - embedding**2)",
        "dembedding * (1 + embedding) * (1 - embedding)",
    ),
]
