"""CBOW with a full softmax: the mean of the context's embeddings, and a bonus for words of the window itself."""

import numpy as np
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, context, centre):
    hidden = F.embedding_bag(context, params["E"], mode="mean")
    bag = F.one_hot(context, len(params["E"])).to(hidden.dtype).mean(dim=1)
    logits = F.linear(hidden, params["U"], params["b"]) + bag * params["bonus"]
    return F.cross_entropy(logits, centre)


def bag_of_words(context, vocabulary):
    bag = np.zeros((len(context), vocabulary))
    for i, window in enumerate(context):
        for word in window:
            bag[i, word] += 1
    return bag / context.shape[1]


def softmax(scores):
    shifted = np.exp(scores - np.max(scores, axis=1, keepdims=True))
    return shifted / np.sum(shifted, axis=1, keepdims=True)


def forward(params, context):
    window = context.shape[1]
    hidden = np.zeros((len(context), params["E"].shape[1]))
    for position in range(window):
        hidden += params["E"][context[:, position]]
    hidden /= window
    bag = bag_of_words(context, len(params["E"]))
    scores = hidden @ params["U"].T + params["b"] + bag * params["bonus"]
    return hidden, bag, softmax(scores)


def candidate(params, context, centre):
    E, U = params["E"], params["U"]
    batch, window = context.shape
    hidden, bag, probs = forward(params, context)
    loss = -np.sum(np.log(probs[np.arange(batch), centre])) / batch

    target = np.zeros_like(probs)
    target[np.arange(batch), centre] = 1
    delta = (probs - target) / batch
    dU = delta.T @ hidden
    db = delta.sum(axis=0)
    dbonus = np.sum(delta * bag, axis=0)
    dhidden = delta @ U
    dE = np.zeros_like(E)
    for i in range(batch):
        for j in range(window):
            dE[context[i, j]] += dhidden[i] / window
    return loss, {"E": dE, "U": dU, "b": db, "bonus": dbonus}


def problem(rng):
    vocabulary, width, window, batch = 11, 4, 6, 8
    params = {
        "E": rng.normal(size=(vocabulary, width)),
        "U": rng.normal(size=(vocabulary, width)) * 0.8,
        "b": rng.normal(size=vocabulary) * 0.4,
        "bonus": rng.normal(size=vocabulary) * 1.5,
    }
    return params, (rng.integers(0, vocabulary, size=(batch, window)), rng.integers(0, vocabulary, size=batch))


WRONG = [
    wrong(
        "mean_of_the_context_not_divided",
        "wrong-scale|wrong-reduction|missing-derivative",
        "dE[context[i, j]] += dhidden[i] / window",
        "dE[context[i, j]] += dhidden[i]",
    ),
    wrong(
        "embedding_rows_assigned",
        "overwritten",
        "dE[context[i, j]] += dhidden[i] / window",
        "dE[context[i, j]] = dhidden[i] / window",
    ),
    wrong(
        "repeats_in_a_window_counted_once",
        "overwritten",
        "        for j in range(window):\n            dE[context[i, j]] += dhidden[i] / window\n",
        "        dE[context[i]] += dhidden[i] / window\n",
    ),
    wrong(
        "centre_word_gets_the_gradient",
        "wrong-operand",
        "        for j in range(window):\n            dE[context[i, j]] += dhidden[i] / window\n",
        "        dE[centre[i]] += dhidden[i]\n",
    ),
    wrong(
        "last_word_of_the_window_skipped",
        "missing-path|truncated-in-time",
        "for j in range(window):",
        "for j in range(window - 1):",
    ),
    wrong(
        "gradient_reset_for_each_window",
        "one-sample-only|overwritten",
        "    dE = np.zeros_like(E)\n    for i in range(batch):\n",
        "    for i in range(batch):\n        dE = np.zeros_like(E)\n",
    ),
    wrong(
        "input_vectors_for_output_vectors",
        "wrong-operand",
        "dhidden = delta @ U",
        "dhidden = delta @ E",
    ),
    wrong(
        "centre_vector_for_the_hidden_layer",
        "wrong-operand",
        "dU = delta.T @ hidden",
        "dU = delta.T @ E[centre]",
    ),
    wrong(
        "only_predictions_divided_by_the_batch",
        "wrong-scale|wrong-reduction|wrong-operand|wrong-term-weight",
        "delta = (probs - target) / batch",
        "delta = probs / batch - target",
    ),
    wrong(
        "error_as_target_minus_prediction",
        "wrong-sign|wrong-term-weight",
        "delta = (probs - target) / batch",
        "delta = (target - probs) / batch",
    ),
    wrong(
        "squared_error_through_the_softmax",
        "extra-derivative|different-function",
        "delta = (probs - target) / batch",
        "delta = (probs - target) * probs * (1 - probs) / batch",
    ),
    wrong(
        "bias_averaged_again",
        "wrong-scale|wrong-reduction",
        "db = delta.sum(axis=0)",
        "db = delta.mean(axis=0)",
    ),
    wrong(
        "bonus_as_a_plain_bias",
        "missing-derivative|wrong-operand|missing-path",
        "dbonus = np.sum(delta * bag, axis=0)",
        "dbonus = np.sum(delta, axis=0)",
    ),
    wrong(
        "bag_of_presence_in_both",
        "overwritten|different-function|wrong-operand",
        "bag[i, word] += 1",
        "bag[i, word] = 1",
    ),
    wrong(
        "context_summed_in_both",
        "wrong-reduction|different-function|wrong-scale",
        "    hidden /= window\n",
        "",
        "+= dhidden[i] / window",
        "+= dhidden[i]",
    ),
    wrong(
        "bits_in_cost",
        "wrong-loss",
        "np.sum(np.log(probs[",
        "np.sum(np.log2(probs[",
    ),
]

TOGETHER = [
    ("repeats_in_a_window_counted_once", "input_vectors_for_output_vectors"),
    ("mean_of_the_context_not_divided", "bonus_as_a_plain_bias"),
    ("error_as_target_minus_prediction", "embedding_rows_assigned"),
    ("bag_of_presence_in_both", "bias_averaged_again"),
    ("squared_error_through_the_softmax", "centre_vector_for_the_hidden_layer"),
    ("last_word_of_the_window_skipped", "gradient_reset_for_each_window"),
    ("only_predictions_divided_by_the_batch", "bias_averaged_again", "centre_word_gets_the_gradient"),
    ("input_vectors_for_output_vectors", "centre_vector_for_the_hidden_layer", "mean_of_the_context_not_divided"),
]

RIGHT = [
    right(
        "embeddings_through_the_bag",
        "    dE = np.zeros_like(E)\n"
        "    for i in range(batch):\n"
        "        for j in range(window):\n"
        "            dE[context[i, j]] += dhidden[i] / window\n",
        "    dE = bag.T @ dhidden\n",
        "    for position in range(window):\n"
        '        hidden += params["E"][context[:, position]]\n'
        "    hidden /= window\n"
        '    bag = bag_of_words(context, len(params["E"]))\n',
        '    bag = bag_of_words(context, len(params["E"]))\n    hidden += bag @ params["E"]\n',
        "    window = context.shape[1]\n    hidden",
        "    hidden",
    ),
    right(
        "scattered_at_once",
        "    dE = np.zeros_like(E)\n"
        "    for i in range(batch):\n"
        "        for j in range(window):\n"
        "            dE[context[i, j]] += dhidden[i] / window\n",
        "    dE = np.zeros_like(E)\n"
        "    np.add.at(dE, context.ravel(), np.repeat(dhidden, window, axis=0))\n"
        "    dE /= window\n",
        "    target = np.zeros_like(probs)\n"
        "    target[np.arange(batch), centre] = 1\n"
        "    delta = (probs - target) / batch\n",
        "    delta = probs\n    delta[np.arange(batch), centre] -= 1\n    delta /= batch\n",
    ),
    right(
        "one_window_after_another",
        "    target = np.zeros_like(probs)\n"
        "    target[np.arange(batch), centre] = 1\n"
        "    delta = (probs - target) / batch\n"
        "    dU = delta.T @ hidden\n"
        "    db = delta.sum(axis=0)\n"
        "    dbonus = np.sum(delta * bag, axis=0)\n"
        "    dhidden = delta @ U\n"
        "    dE = np.zeros_like(E)\n"
        "    for i in range(batch):\n"
        "        for j in range(window):\n"
        "            dE[context[i, j]] += dhidden[i] / window\n",
        '    dE, dU, db, dbonus = (np.zeros_like(params[name]) for name in ("E", "U", "b", "bonus"))\n'
        "    for i, (words, middle) in enumerate(zip(context, centre)):\n"
        "        delta = probs[i].copy()\n"
        "        delta[middle] -= 1\n"
        "        dU += np.outer(delta, hidden[i]) / batch\n"
        "        db += delta / batch\n"
        "        dbonus += delta * bag[i] / batch\n"
        "        for word in words:\n"
        "            dE[word] += U.T @ delta / (batch * window)\n",
    ),
]
