"""A recurrent word model without biases: each step's error walks back through all steps before it, in two loops."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, words, following):
    U, V, W = params["U"], params["V"], params["W"]
    state = words.new_zeros((len(words), len(W))).to(U.dtype)
    scores = []
    for t in range(words.shape[1]):
        state = torch.tanh(U.T[words[:, t]] + state @ W.T)
        scores.append(state @ V.T)
    return F.cross_entropy(torch.stack(scores, dim=1).flatten(0, 1), following.flatten())


def softmax(scores):
    e = np.exp(scores - np.max(scores))
    return e / e.sum()


def forward_propagation(params, sentence):
    steps = len(sentence)
    # one row more than there are steps: the last one, index -1, is the state before the first word
    s = np.zeros((steps + 1, params["W"].shape[0]))
    o = np.zeros((steps, params["V"].shape[0]))
    for t in range(steps):
        s[t] = np.tanh(params["U"][:, sentence[t]] + params["W"].dot(s[t - 1]))
        o[t] = softmax(params["V"].dot(s[t]))
    return o, s


def bptt(params, sentence, labels):
    U, V, W = params["U"], params["V"], params["W"]
    steps = len(labels)
    o, s = forward_propagation(params, sentence)
    cost = -np.sum(np.log(o[np.arange(steps), labels]))
    dLdU, dLdV, dLdW = np.zeros(U.shape), np.zeros(V.shape), np.zeros(W.shape)
    delta_o = o.copy()
    delta_o[np.arange(steps), labels] -= 1.0
    for t in reversed(range(steps)):
        dLdV += np.outer(delta_o[t], s[t])
        delta_t = V.T.dot(delta_o[t]) * (1 - s[t] ** 2)
        for step in range(t, -1, -1):
            dLdW += np.outer(delta_t, s[step - 1])
            dLdU[:, sentence[step]] += delta_t
            delta_t = W.T.dot(delta_t) * (1 - s[step - 1] ** 2)
    return cost, dLdU, dLdV, dLdW


def candidate(params, words, following):
    results = [bptt(params, sentence, labels) for sentence, labels in zip(words, following, strict=True)]
    count = following.size
    loss = sum(one[0] for one in results) / count
    dU, dV, dW = (sum(one[k] for one in results) / count for k in (1, 2, 3))
    return loss, {"U": dU, "V": dV, "W": dW}


def problem(rng):
    vocabulary, hidden, sentences, steps = 7, 4, 5, 6
    params = {
        "U": rng.normal(size=(hidden, vocabulary)) * 0.8,
        "V": rng.normal(size=(vocabulary, hidden)) * 0.8,
        "W": rng.normal(size=(hidden, hidden)) * 0.6,
    }
    text = rng.integers(0, vocabulary, size=(sentences, steps + 1))
    return params, (text[:, :-1].copy(), text[:, 1:].copy())


WRONG = [
    wrong(
        "stopped_after_two_steps",
        "truncated-in-time",
        "for step in range(t, -1, -1):",
        "for step in range(t, max(-1, t - 2), -1):",
    ),
    wrong(
        "first_word_left_out_of_the_walk",
        "truncated-in-time|missing-path",
        "for step in range(t, -1, -1):",
        "for step in range(t, 0, -1):",
    ),
    wrong(
        "word_of_the_outer_step",
        "wrong-operand|shifted-in-time",
        "dLdU[:, sentence[step]] += delta_t",
        "dLdU[:, sentence[t]] += delta_t",
    ),
    wrong(
        "recurrent_matrix_with_the_state_of_its_own_step",
        "shifted-in-time",
        "dLdW += np.outer(delta_t, s[step - 1])",
        "dLdW += np.outer(delta_t, s[step])",
    ),
    wrong(
        "slope_of_the_step_left",
        "shifted-in-time",
        "delta_t = W.T.dot(delta_t) * (1 - s[step - 1] ** 2)",
        "delta_t = W.T.dot(delta_t) * (1 - s[step] ** 2)",
    ),
    wrong(
        "first_slope_forgotten",
        "missing-derivative",
        "delta_t = V.T.dot(delta_o[t]) * (1 - s[t] ** 2)",
        "delta_t = V.T.dot(delta_o[t])",
    ),
    wrong(
        "reciprocal_slope_on_the_way_back",
        "different-function",
        "delta_t = W.T.dot(delta_t) * (1 - s[step - 1] ** 2)",
        "delta_t = W.T.dot(delta_t) / (1 - s[step - 1] ** 2)",
    ),
    wrong(
        "recurrent_matrix_not_turned",
        "not-transposed",
        "W.T.dot(delta_t)",
        "W.dot(delta_t)",
    ),
    wrong(
        "word_column_assigned",
        "overwritten",
        "dLdU[:, sentence[step]] += delta_t",
        "dLdU[:, sentence[step]] = delta_t",
    ),
    wrong(
        "every_sentence_divided_by_the_number_of_sentences",
        "wrong-scale|wrong-reduction",
        "(sum(one[k] for one in results) / count for",
        "(sum(one[k] for one in results) / len(words) for",
    ),
    wrong(
        "probabilities_without_the_label",
        "missing-path|different-function",
        "    delta_o[np.arange(steps), labels] -= 1.0\n",
        "",
    ),
    wrong(
        "words_told_for_the_words_read",
        "wrong-operand",
        "delta_o[np.arange(steps), labels] -= 1.0",
        "delta_o[np.arange(steps), sentence] -= 1.0",
    ),
]

TOGETHER = [
    ("stopped_after_two_steps", "first_slope_forgotten"),
    ("word_of_the_outer_step", "slope_of_the_step_left"),
    ("recurrent_matrix_with_the_state_of_its_own_step", "every_sentence_divided_by_the_number_of_sentences"),
    ("word_column_assigned", "recurrent_matrix_not_turned"),
]

RIGHT = [
    right(
        "one_walk_for_all_errors",
        "    for t in reversed(range(steps)):\n"
        "        dLdV += np.outer(delta_o[t], s[t])\n"
        "        delta_t = V.T.dot(delta_o[t]) * (1 - s[t] ** 2)\n"
        "        for step in range(t, -1, -1):\n"
        "            dLdW += np.outer(delta_t, s[step - 1])\n"
        "            dLdU[:, sentence[step]] += delta_t\n"
        "            delta_t = W.T.dot(delta_t) * (1 - s[step - 1] ** 2)\n",
        "    dLdV = delta_o.T @ s[:steps]\n"
        "    dh = np.zeros(W.shape[0])\n"
        "    for t in reversed(range(steps)):\n"
        "        delta_t = (V.T.dot(delta_o[t]) + dh) * (1 - s[t] ** 2)\n"
        "        dLdW += np.outer(delta_t, s[t - 1])\n"
        "        dLdU[:, sentence[t]] += delta_t\n"
        "        dh = W.T.dot(delta_t)\n",
    ),
]
