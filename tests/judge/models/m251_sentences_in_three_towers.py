"""Sentences as bags of words: one tower three times, a triplet margin, and a cosine loss that ties anchor to other."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tests.judge.corpus import right, wrong


class Tower(nn.Module):
    def __init__(self):
        super().__init__()
        self.bag = nn.EmbeddingBag(7, 4, mode="mean", padding_idx=0)
        self.norm = nn.LayerNorm(4)
        self.fc = nn.Linear(4, 3)

    def forward(self, words):
        return torch.tanh(self.fc(self.norm(self.bag(words))))


def reference(params, anchors, positives, negatives, same):
    tower = Tower()
    a, p, q = (torch.func.functional_call(tower, params, (words,)) for words in (anchors, positives, negatives))
    return {
        "triplet": F.triplet_margin_loss(a, p, q, margin=0.8),
        "cosine": 0.5 * F.cosine_embedding_loss(a, q, same, margin=-0.4),
    }


def tower_forward(params, words):
    E = params["bag.weight"]
    real = words != 0
    length = real.sum(axis=1, keepdims=True)
    mean_word = (E[words] * real[:, :, None]).sum(axis=1) / length
    mu = mean_word.mean(axis=1, keepdims=True)
    std = np.sqrt(mean_word.var(axis=1, keepdims=True) + 1e-5)
    hat = (mean_word - mu) / std
    scaled = hat * params["norm.weight"] + params["norm.bias"]
    f = np.tanh(scaled @ params["fc.weight"].T + params["fc.bias"])
    return f, (words, real, length, hat, std, scaled, f)


def tower_backward(params, df, cache, grads):
    words, real, length, hat, std, scaled, f = cache
    dz = df * (1 - f**2)
    grads["fc.weight"] += dz.T @ scaled
    grads["fc.bias"] += dz.sum(axis=0)
    dscaled = dz @ params["fc.weight"]
    grads["norm.weight"] += (dscaled * hat).sum(axis=0)
    grads["norm.bias"] += dscaled.sum(axis=0)
    dhat = dscaled * params["norm.weight"]
    dmean = dhat - dhat.mean(axis=1, keepdims=True) - hat * (dhat * hat).mean(axis=1, keepdims=True)
    dmean = dmean / std
    each = dmean[:, None, :] * real[:, :, None] / length[:, :, None]
    np.add.at(grads["bag.weight"], words, each)


def candidate(params, anchors, positives, negatives, same):
    n = len(anchors)
    margin, floor = 0.8, -0.4
    a, cache_a = tower_forward(params, anchors)
    p, cache_p = tower_forward(params, positives)
    q, cache_q = tower_forward(params, negatives)
    # triplets
    to_p, to_q = a - p + 1e-6, a - q + 1e-6
    dist_p = np.sqrt((to_p**2).sum(axis=1, keepdims=True))
    dist_q = np.sqrt((to_q**2).sum(axis=1, keepdims=True))
    gap = dist_p - dist_q + margin
    # cosines
    aa = (a * a).sum(axis=1, keepdims=True) + 1e-12
    qq = (q * q).sum(axis=1, keepdims=True) + 1e-12
    cos = (a * q).sum(axis=1, keepdims=True) / np.sqrt(aa * qq)
    alike = same[:, None] == 1
    each = np.where(alike, 1 - cos, np.maximum(0, cos - floor))
    loss = np.maximum(0, gap).mean() + 0.5 * each.mean()

    active = (gap > 0) / n
    da = active * (to_p / dist_p - to_q / dist_q)
    dp = -active * to_p / dist_p
    dq = active * to_q / dist_q
    dcos = 0.5 * np.where(alike, -1.0, cos > floor) / n
    da += dcos * (q / np.sqrt(aa * qq) - cos * a / aa)
    dq += dcos * (a / np.sqrt(aa * qq) - cos * q / qq)
    grads = {name: np.zeros_like(value) for name, value in params.items()}
    tower_backward(params, da, cache_a, grads)
    tower_backward(params, dp, cache_p, grads)
    tower_backward(params, dq, cache_q, grads)
    return loss, grads


def problem(rng):
    params = {
        "bag.weight": rng.normal(size=(7, 4)),
        "norm.weight": 1 + rng.normal(size=4) * 0.3,
        "norm.bias": rng.normal(size=4) * 0.3,
        "fc.weight": rng.normal(size=(3, 4)) * 0.6,
        "fc.bias": rng.normal(size=3) * 0.3,
    }

    def sentences():
        words = rng.integers(1, 7, size=(6, 5))
        words[np.arange(5)[None, :] >= rng.permutation([2, 3, 3, 4, 5, 5])[:, None]] = 0
        return words

    same = np.array([1, -1, -1, 1, -1, -1])
    return params, (sentences(), sentences(), sentences(), same)


WRONG = [
    wrong(
        "negative_pulled_instead_of_pushed",
        "wrong-sign",
        "dq = active * to_q / dist_q",
        "dq = -active * to_q / dist_q",
    ),
    wrong(
        "satisfied_triplets_push_too", "missing-derivative", "active = (gap > 0) / n", "active = np.ones_like(gap) / n"
    ),
    wrong(
        "distances_squared_in_the_gradient",
        "different-function|missing-derivative",
        "da = active * (to_p / dist_p - to_q / dist_q)",
        "da = 2 * active * (to_p - to_q)",
        "dp = -active * to_p / dist_p",
        "dp = -2 * active * to_p",
        "dq = active * to_q / dist_q",
        "dq = 2 * active * to_q",
    ),
    wrong(
        "anchor_moved_by_the_positive_only",
        "missing-path",
        "da = active * (to_p / dist_p - to_q / dist_q)",
        "da = active * to_p / dist_p",
    ),
    wrong(
        "output_weight_of_the_last_tower_only",
        "overwritten",
        'grads["fc.weight"] += dz.T @ scaled',
        'grads["fc.weight"] = dz.T @ scaled',
    ),
    wrong(
        "averaged_over_active_triplets_only",
        "wrong-scale|wrong-term-weight",
        "active = (gap > 0) / n",
        "active = (gap > 0) / (gap > 0).sum()",
    ),
    wrong(
        "bag_gradient_shared_among_pads_as_well",
        "wrong-operand",
        "each = dmean[:, None, :] * real[:, :, None] / length[:, :, None]",
        "each = dmean[:, None, :] * real[:, :, None] / words.shape[1]",
    ),
    wrong(
        "padding_vector_learns",
        "missing-derivative|wrong-operand",
        "each = dmean[:, None, :] * real[:, :, None] / length[:, :, None]",
        "each = dmean[:, None, :] / length[:, :, None]",
    ),
    wrong(
        "repeated_words_of_a_bag_counted_once",
        "overwritten",
        'np.add.at(grads["bag.weight"], words, each)',
        'grads["bag.weight"][words] += each',
    ),
    wrong(
        "norm_backwards_without_its_variance",
        "missing-path",
        " - hat * (dhat * hat).mean(axis=1, keepdims=True)\n",
        "\n",
    ),
    wrong(
        "cosine_without_the_length_of_the_anchor",
        "missing-path",
        "da += dcos * (q / np.sqrt(aa * qq) - cos * a / aa)",
        "da += dcos * q / np.sqrt(aa * qq)",
    ),
    wrong(
        "cosine_at_full_weight_backwards",
        "wrong-term-weight",
        "dcos = 0.5 * np.where(",
        "dcos = np.where(",
    ),
]

TOGETHER = [
    ("satisfied_triplets_push_too", "repeated_words_of_a_bag_counted_once"),
    ("distances_squared_in_the_gradient", "norm_backwards_without_its_variance"),
    ("anchor_moved_by_the_positive_only", "cosine_at_full_weight_backwards"),
    ("negative_pulled_instead_of_pushed", "bag_gradient_shared_among_pads_as_well"),
]

RIGHT = [
    right(
        "bags_as_counts_of_words",
        "    mean_word = (E[words] * real[:, :, None]).sum(axis=1) / length\n",
        "    counts = np.stack([(words == w).sum(axis=1) for w in range(len(E))], axis=1) * (np.arange(len(E)) > 0)\n"
        "    mean_word = counts @ E / length\n",
        '    np.add.at(grads["bag.weight"], words, each)\n',
        "    for i in range(len(words)):\n"
        "        for j in range(words.shape[1]):\n"
        '            grads["bag.weight"][words[i, j]] += each[i, j]\n',
    ),
]
