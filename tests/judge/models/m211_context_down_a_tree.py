"""Word vectors by summed contexts and a binary tree over the words: codes and inner nodes of a path, word by word."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong

BATCH_AXIS = None  # the tree belongs to the words, the windows to the batch


def reference(params, contexts, words, paths, codes, lengths):
    summed = params["syn0"][contexts].sum(dim=1)
    nodes = params["syn1"][paths[words]]
    signs = 1 - 2 * codes[words]
    scores = torch.einsum("nd,nkd->nk", summed, nodes)
    on_path = (torch.arange(paths.shape[1])[None, :] < lengths[words][:, None]).to(scores.dtype)
    return -(F.logsigmoid(signs * scores) * on_path).sum() / len(words) + 0.05 * (params["syn1"] ** 2).sum()


def sigmoid(a):
    return 1.0 / (1.0 + np.exp(-a))


def candidate(params, contexts, words, paths, codes, lengths, decay=0.05):
    syn0, syn1 = params["syn0"], params["syn1"]
    g0, g1 = np.zeros(syn0.shape), np.zeros(syn1.shape)
    total = 0.0
    for around, word in zip(contexts, words, strict=True):
        l1 = syn0[around].sum(axis=0)
        neu1e = np.zeros(l1.shape)
        length = lengths[word]
        for point, code in zip(paths[word][:length], codes[word][:length], strict=True):
            # a turn to the right has the code 1 and probability 1 - sigmoid
            fa = sigmoid(l1.dot(syn1[point]))
            total += -np.log(fa) if code == 0 else -np.log(1.0 - fa)
            ga = fa - (1 - code)
            neu1e += ga * syn1[point]
            g1[point] += ga * l1
        for one in around:
            g0[one] += neu1e
    loss = total / len(words) + decay * np.sum(syn1**2)
    g0 /= len(words)
    g1 = g1 / len(words) + 2 * decay * syn1
    return loss, {"syn0": g0, "syn1": g1}


def problem(rng):
    vocabulary, width, samples, window = 6, 3, 7, 4
    # inner nodes 0..4; the tree is deep on its right
    paths = np.array([[0, 1, 0, 0], [0, 1, 0, 0], [0, 2, 0, 0], [0, 2, 3, 0], [0, 2, 3, 4], [0, 2, 3, 4]])
    codes = np.array([[0, 0, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]])
    lengths = np.array([2, 2, 2, 3, 4, 4])
    params = {
        "syn0": rng.normal(size=(vocabulary, width)) * 0.7,
        "syn1": rng.normal(size=(vocabulary - 1, width)) * 0.8,
    }
    contexts = rng.integers(0, vocabulary, size=(samples, window))
    contexts[0] = [4, 1, 4, 2]
    words = np.concatenate([[5, 4, 3], rng.integers(0, vocabulary, size=samples - 3)])
    return params, (contexts, words, paths, codes, lengths)


WRONG = [
    wrong(
        "word_twice_in_the_window_counts_once",
        "overwritten",
        "        for one in around:\n            g0[one] += neu1e\n",
        "        g0[around] += neu1e\n",
    ),
    wrong(
        "error_shared_among_the_context_words",
        "wrong-scale",
        "g0[one] += neu1e\n",
        "g0[one] += neu1e / len(around)\n",
    ),
    wrong(
        "context_averaged_in_both",
        "wrong-reduction|different-function",
        "l1 = syn0[around].sum(axis=0)",
        "l1 = syn0[around].mean(axis=0)",
        "g0[one] += neu1e\n",
        "g0[one] += neu1e / len(around)\n",
    ),
    wrong(
        "codes_the_other_way_round_backwards",
        "wrong-operand|different-function",
        "ga = fa - (1 - code)",
        "ga = fa - code",
    ),
    wrong(
        "step_of_ascent_returned",
        "wrong-sign",
        "ga = fa - (1 - code)",
        "ga = 1 - code - fa",
    ),
    wrong(
        "path_ends_one_node_early_backwards",
        "missing-path",
        "            neu1e += ga * syn1[point]\n            g1[point] += ga * l1\n",
        "            if point == paths[word][length - 1]:\n"
        "                continue\n"
        "            neu1e += ga * syn1[point]\n"
        "            g1[point] += ga * l1\n",
    ),
    wrong(
        "error_of_the_last_node_only",
        "overwritten|last-step-only",
        "neu1e += ga * syn1[point]",
        "neu1e = ga * syn1[point]",
    ),
    wrong(
        "node_vectors_moved_before_their_use",
        "wrong-operand",
        "            neu1e += ga * syn1[point]\n            g1[point] += ga * l1\n",
        "            g1[point] += ga * l1\n            neu1e += ga * (syn1[point] - 0.1 * g1[point])\n",
    ),
    wrong(
        "padded_paths_walked_to_the_end_in_both",
        "wrong-operand|different-function|wrong-reduction",
        "length = lengths[word]",
        "length = paths.shape[1]",
    ),
    wrong(
        "node_gradient_assigned",
        "overwritten|one-sample-only",
        "g1[point] += ga * l1",
        "g1[point] = ga * l1",
    ),
    wrong(
        "word_vectors_decay_as_well",
        "wrong-part-penalised",
        "g0 /= len(words)",
        "g0 = g0 / len(words) + 2 * decay * syn0",
    ),
    wrong(
        "decay_divided_by_the_words_too",
        "wrong-term-weight|wrong-scale",
        "g1 = g1 / len(words) + 2 * decay * syn1",
        "g1 = (g1 + 2 * decay * syn1) / len(words)",
    ),
]

TOGETHER = [
    ("word_twice_in_the_window_counts_once", "decay_divided_by_the_words_too"),
    ("error_shared_among_the_context_words", "node_gradient_assigned"),
    ("error_of_the_last_node_only", "word_vectors_decay_as_well"),
    ("codes_the_other_way_round_backwards", "word_twice_in_the_window_counts_once"),
]

RIGHT = [
    right(
        "whole_path_at_once",
        "        for point, code in zip(paths[word][:length], codes[word][:length], strict=True):\n"
        "            # a turn to the right has the code 1 and probability 1 - sigmoid\n"
        "            fa = sigmoid(l1.dot(syn1[point]))\n"
        "            total += -np.log(fa) if code == 0 else -np.log(1.0 - fa)\n"
        "            ga = fa - (1 - code)\n"
        "            neu1e += ga * syn1[point]\n"
        "            g1[point] += ga * l1\n",
        "        points, turns = paths[word][:length], codes[word][:length]\n"
        "        fa = sigmoid(syn1[points] @ l1)\n"
        "        total -= np.sum(np.log(np.where(turns == 0, fa, 1 - fa)))\n"
        "        ga = fa - (1 - turns)\n"
        "        neu1e = neu1e + ga @ syn1[points]\n"
        "        g1[points] += np.outer(ga, l1)\n",
        "        for one in around:\n            g0[one] += neu1e\n",
        "        np.add.at(g0, around, neu1e)\n",
    ),
]
