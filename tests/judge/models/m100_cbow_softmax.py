"""Word vectors by CBOW: the mean of the words around a gap, padded at the ends of sentences, and a full softmax."""

import numpy as np
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, contexts, targets):
    vectors = F.embedding(contexts, params["V"])
    mask = (contexts != 0).to(vectors.dtype).unsqueeze(-1)
    hidden = (vectors * mask).sum(dim=1) / mask.sum(dim=1)
    return F.cross_entropy(F.linear(hidden, params["U"], params["b"]), targets)


def softmax(scores):
    exps = np.exp(scores - np.max(scores))
    return exps / np.sum(exps)


def candidate(params, contexts, targets):
    V, U, b = params["V"], params["U"], params["b"]
    batch = len(targets)
    cost = 0.0
    caches = []
    for window, target in zip(contexts, targets, strict=True):
        words = [w for w in window if w != 0]
        v_hat = V[words].mean(axis=0)
        y_hat = softmax(U @ v_hat + b)
        cost -= np.log(y_hat[target])
        caches.append((words, v_hat, y_hat))
    loss = cost / batch

    grad_V, grad_U, grad_b = np.zeros_like(V), np.zeros_like(U), np.zeros_like(b)
    for target, (words, v_hat, y_hat) in zip(targets, caches, strict=True):
        delta = y_hat.copy()
        delta[target] -= 1
        grad_U += np.outer(delta, v_hat)
        grad_b += delta
        grad_hat = U.T @ delta
        for w in words:
            grad_V[w] += grad_hat / len(words)
    return loss, {"V": grad_V / batch, "U": grad_U / batch, "b": grad_b / batch}


def problem(rng):
    params = {
        "V": rng.normal(size=(13, 5)),
        "U": rng.normal(size=(13, 5)) * 0.9,
        "b": rng.normal(size=13) * 0.5,
    }
    contexts = rng.integers(1, 13, size=(8, 6))
    contexts[::2, 1] = contexts[::2, 0]
    for row, words in enumerate([6, 4, 3, 6, 5, 2, 6, 4]):
        contexts[row, words:] = 0
    return params, (contexts, rng.integers(1, 13, size=8))


WRONG = [
    wrong(
        "context_mean_not_divided",
        "wrong-reduction|missing-derivative|wrong-scale",
        "grad_V[w] += grad_hat / len(words)",
        "grad_V[w] += grad_hat",
    ),
    wrong(
        "divided_by_all_slots",
        "wrong-operand|wrong-scale|wrong-reduction|different-function",
        "grad_V[w] += grad_hat / len(words)",
        "grad_V[w] += grad_hat / contexts.shape[1]",
    ),
    wrong(
        "word_twice_in_a_window_counts_once",
        "overwritten",
        "        for w in words:\n            grad_V[w] += grad_hat / len(words)\n",
        "        grad_V[words] += grad_hat / len(words)\n",
    ),
    wrong(
        "last_word_of_each_window_only",
        "last-step-only|missing-path|overwritten",
        "for w in words:",
        "for w in words[-1:]:",
    ),
    wrong(
        "one_hot_not_subtracted",
        "missing-path|wrong-operand|different-function",
        "        delta[target] -= 1\n",
        "",
    ),
    wrong("one_hot_of_a_context_word", "wrong-operand", "delta[target] -= 1", "delta[words[0]] -= 1"),
    wrong(
        "softmax_row_of_the_target_only",
        "diagonal-jacobian|missing-path",
        "        delta = y_hat.copy()\n        delta[target] -= 1\n",
        "        delta = np.zeros_like(y_hat)\n        delta[target] = y_hat[target] - 1\n",
    ),
    wrong("bias_summed_over_windows", "wrong-scale|wrong-reduction", '"b": grad_b / batch', '"b": grad_b'),
    wrong(
        "centre_word_vector_for_the_mean",
        "wrong-operand",
        "grad_U += np.outer(delta, v_hat)",
        "grad_U += np.outer(delta, V[target])",
    ),
    wrong(
        "expected_vector_forgotten",
        "missing-path|wrong-operand|different-function",
        "grad_hat = U.T @ delta",
        "grad_hat = -U[target]",
    ),
    wrong(
        "output_vectors_not_added_up",
        "overwritten|one-sample-only|last-step-only",
        "grad_U += np.outer(",
        "grad_U = np.outer(",
    ),
    wrong(
        "mean_left_over_from_the_last_window",
        "wrong-operand|one-sample-only|last-step-only",
        "for target, (words, v_hat, y_hat) in",
        "for target, (words, _, y_hat) in",
    ),
    wrong(
        "padding_averaged_too_in_both",
        "wrong-operand|different-function|wrong-reduction|missing-derivative",
        "words = [w for w in window if w != 0]",
        "words = list(window)",
    ),
    wrong(
        "context_summed_in_both",
        "wrong-reduction|different-function|wrong-scale|missing-derivative",
        "v_hat = V[words].mean(axis=0)",
        "v_hat = V[words].sum(axis=0)",
        "grad_V[w] += grad_hat / len(words)",
        "grad_V[w] += grad_hat",
    ),
    wrong(
        "output_vectors_looked_up_in_both",
        "wrong-operand",
        "v_hat = V[words].mean(axis=0)",
        "v_hat = U[words].mean(axis=0)",
    ),
    wrong("windows_not_averaged_in_cost", "wrong-loss", "loss = cost / batch", "loss = cost"),
]

TOGETHER = [
    ("context_mean_not_divided", "bias_summed_over_windows"),
    ("word_twice_in_a_window_counts_once", "centre_word_vector_for_the_mean"),
    ("expected_vector_forgotten", "last_word_of_each_window_only"),
    ("one_hot_not_subtracted", "divided_by_all_slots"),
    ("softmax_row_of_the_target_only", "output_vectors_not_added_up"),
    ("mean_left_over_from_the_last_window", "padding_averaged_too_in_both"),
    ("one_hot_of_a_context_word", "bias_summed_over_windows", "word_twice_in_a_window_counts_once"),
    ("centre_word_vector_for_the_mean", "expected_vector_forgotten", "divided_by_all_slots"),
]

RIGHT = [
    right(
        "context_as_a_bag_of_counts",
        "v_hat = V[words].mean(axis=0)",
        "v_hat = np.bincount(words, minlength=len(V)) @ V / len(words)",
        "        for w in words:\n            grad_V[w] += grad_hat / len(words)\n",
        "        bag = np.bincount(words, minlength=len(V)) / len(words)\n        grad_V += np.outer(bag, grad_hat)\n",
    ),
    right(
        "observed_and_expected_apart",
        "        delta[target] -= 1\n",
        "",
        "grad_U += np.outer(delta, v_hat)",
        "grad_U += np.outer(delta, v_hat)\n        grad_U[target] -= v_hat",
        "grad_b += delta",
        "grad_b += delta\n        grad_b[target] -= 1",
        "grad_hat = U.T @ delta",
        "grad_hat = delta @ U - U[target]",
    ),
    right(
        "all_windows_at_once",
        "    for target, (words, v_hat, y_hat) in zip(targets, caches, strict=True):\n"
        "        delta = y_hat.copy()\n"
        "        delta[target] -= 1\n"
        "        grad_U += np.outer(delta, v_hat)\n"
        "        grad_b += delta\n"
        "        grad_hat = U.T @ delta\n"
        "        for w in words:\n"
        "            grad_V[w] += grad_hat / len(words)\n",
        "    deltas = np.stack([y_hat for _, _, y_hat in caches]) - np.eye(len(V))[targets]\n"
        "    grad_U += deltas.T @ np.stack([v_hat for _, v_hat, _ in caches])\n"
        "    grad_b += deltas.sum(axis=0)\n"
        "    mask = (contexts != 0).astype(float)\n"
        "    shares = mask / mask.sum(axis=1, keepdims=True)\n"
        "    np.add.at(grad_V, contexts, shares[:, :, None] * (deltas @ U)[:, None, :])\n",
    ),
]
