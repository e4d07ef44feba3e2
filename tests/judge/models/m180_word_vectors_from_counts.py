"""Word vectors from co-occurrence counts: weighted squares pair by pair, words and contexts stacked in one matrix."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, words, contexts, counts):
    half = len(params["W"]) // 2
    main, context = params["W"][:half], params["W"][half:]
    fit = (main[words] * context[contexts]).sum(dim=1) + params["b"][:half][words] + params["b"][half:][contexts]
    weight = torch.clamp(counts / 20, max=1) ** 0.75
    return 0.5 * (weight * (fit - torch.log(counts)) ** 2).sum()


def weight_of(count, x_max=20.0, alpha=0.75):
    return (count / x_max) ** alpha if count < x_max else 1.0


def candidate(params, words, contexts, counts):
    W, b = params["W"], params["b"]
    n_words = W.shape[0] // 2

    cost = 0.0
    rows = []
    for i_main, i_context, x in zip(words, contexts, counts, strict=True):
        # the second half of the matrix holds the vectors of the contexts
        k = i_context + n_words
        weight = weight_of(x)
        inner = W[i_main] @ W[k] + b[i_main] + b[k] - np.log(x)
        cost += 0.5 * weight * inner**2
        rows.append((i_main, k, weight, inner))
    loss = cost

    gW, gb = np.zeros_like(W), np.zeros_like(b)
    for i_main, k, weight, inner in rows:
        v_main, v_context = W[i_main], W[k]
        push = weight * inner
        gW[i_main] += push * v_context
        gW[k] += push * v_main
        gb[i_main] += push
        gb[k] += push
    return loss, {"W": gW, "b": gb}


def problem(rng):
    n_words, size, pairs = 5, 3, 7
    params = {"W": rng.normal(size=(2 * n_words, size)) * 0.8, "b": rng.normal(size=2 * n_words) * 0.5}
    counts = np.array([2.0, 45.0, 7.0, 1.5, 31.0, 12.0, 4.0]) * rng.uniform(0.9, 1.1, size=pairs)
    return params, (rng.integers(0, n_words, size=pairs), rng.integers(0, n_words, size=pairs), counts)


WRONG = [
    wrong(
        "vector_of_the_last_pair_only",
        "overwritten",
        "gW[i_main] += push * v_context",
        "gW[i_main] = push * v_context",
    ),
    wrong(
        "context_bias_of_the_last_pair_only",
        "overwritten",
        "gb[k] += push",
        "gb[k] = push",
    ),
    wrong(
        "weight_forgotten_in_gradient",
        "missing-derivative|wrong-operand",
        "push = weight * inner",
        "push = inner",
    ),
    wrong(
        "weight_taken_twice",
        "extra-derivative|wrong-operand",
        "push = weight * inner",
        "push = weight * weight * inner",
    ),
    wrong(
        "two_from_the_square_beside_a_half",
        "wrong-scale",
        "push = weight * inner",
        "push = 2 * weight * inner",
    ),
    wrong(
        "log_count_minus_fit",
        "wrong-sign",
        "push = weight * inner",
        "push = weight * -inner",
    ),
    wrong(
        "words_learn_from_themselves",
        "wrong-operand",
        "gW[i_main] += push * v_context",
        "gW[i_main] += push * v_main",
    ),
    wrong(
        "context_learns_from_the_updated_word",
        "wrong-operand",
        "        gW[k] += push * v_main\n",
        "        v_main = v_main - 0.05 * push * v_context\n        gW[k] += push * v_main\n",
    ),
    wrong(
        "context_bias_never_learns",
        "missing-path",
        "        gb[k] += push\n",
        "",
    ),
    wrong(
        "frequent_pairs_not_capped_in_both",
        "different-function",
        "(count / x_max) ** alpha if count < x_max else 1.0",
        "(count / x_max) ** alpha",
    ),
    wrong(
        "one_more_than_the_count_in_both",
        "different-function",
        "b[i_main] + b[k] - np.log(x)",
        "b[i_main] + b[k] - np.log(1 + x)",
    ),
    wrong(
        "cost_reported_without_the_weights",
        "wrong-loss",
        "cost += 0.5 * weight * inner**2",
        "cost += 0.5 * inner**2",
    ),
]

TOGETHER = [
    ("vector_of_the_last_pair_only", "two_from_the_square_beside_a_half"),
    ("weight_forgotten_in_gradient", "context_learns_from_the_updated_word"),
    ("one_more_than_the_count_in_both", "context_bias_never_learns"),
    ("frequent_pairs_not_capped_in_both", "words_learn_from_themselves"),
]

RIGHT = [
    right(
        "pairs_added_at_once",
        "    for i_main, k, weight, inner in rows:\n"
        "        v_main, v_context = W[i_main], W[k]\n"
        "        push = weight * inner\n"
        "        gW[i_main] += push * v_context\n"
        "        gW[k] += push * v_main\n"
        "        gb[i_main] += push\n"
        "        gb[k] += push\n",
        "    push = np.array([weight * inner for _, _, weight, inner in rows])\n"
        "    np.add.at(gW, words, push[:, None] * W[contexts + n_words])\n"
        "    np.add.at(gW, contexts + n_words, push[:, None] * W[words])\n"
        "    np.add.at(gb, words, push)\n"
        "    np.add.at(gb, contexts + n_words, push)\n",
    ),
]
