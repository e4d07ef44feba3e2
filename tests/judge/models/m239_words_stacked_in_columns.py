"""A neural language model in columns: stacked word vectors, logistic units, a direct route to the scores, decay."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, words, targets):
    stacked = F.embedding(words, params["word_embedding"]).flatten(1)
    hidden = torch.sigmoid(stacked @ params["embed_to_hid"] + params["hid_bias"][:, 0])
    scores = hidden @ params["hid_to_out"] + stacked @ params["direct"] + params["out_bias"][:, 0]
    decayed = ("embed_to_hid", "hid_to_out", "direct")
    return F.cross_entropy(scores, targets) + 0.01 * sum((params[name] ** 2).sum() for name in decayed)


def fprop(p, batch):
    numwords, batchsize = batch.shape
    # one column a sample, the word vectors of its context on top of each other
    embed_state = p["word_embedding"][batch.T.reshape(-1)].reshape(batchsize, -1).T
    hidden_state = np.dot(p["embed_to_hid"].T, embed_state) + p["hid_bias"]
    hidden_state = 1.0 / (1.0 + np.exp(-hidden_state))
    scores = np.dot(p["hid_to_out"].T, hidden_state)
    scores += np.dot(p["direct"].T, embed_state)
    scores += p["out_bias"]
    scores -= scores.max(axis=0)
    output_state = np.exp(scores)
    output_state /= output_state.sum(axis=0)
    return embed_state, hidden_state, output_state


def candidate(params, words, targets, decay=0.01):
    p = params
    batch = words.T
    numwords, batchsize = batch.shape
    vocab, d = p["word_embedding"].shape
    embed_state, hidden_state, output_state = fprop(p, batch)
    expanded = np.eye(vocab)[:, targets]
    loss = -np.sum(expanded * np.log(output_state)) / batchsize
    for name in ("embed_to_hid", "hid_to_out", "direct"):
        loss += decay * np.sum(p[name] ** 2)

    grads = {}
    error = output_state
    error -= expanded
    error /= batchsize

    # hidden layer
    back_hid = np.dot(p["hid_to_out"], error)
    back_hid *= hidden_state
    back_hid *= 1 - hidden_state

    # output layer
    grads["hid_to_out"] = np.dot(hidden_state, error.T)
    grads["direct"] = np.dot(embed_state, error.T)
    grads["out_bias"] = error.sum(axis=1, keepdims=True)

    grads["embed_to_hid"] = np.dot(embed_state, back_hid.T)
    grads["hid_bias"] = back_hid.sum(axis=1, keepdims=True)

    # embedding layer
    back_embed = np.dot(p["embed_to_hid"], back_hid)
    back_embed += np.dot(p["direct"], error)
    grads["word_embedding"] = np.zeros((vocab, d))
    for w in range(numwords):
        expansion = np.eye(vocab)[:, batch[w]]
        grads["word_embedding"] += np.dot(expansion, back_embed[w * d : (w + 1) * d].T)

    for name in ("embed_to_hid", "hid_to_out", "direct"):
        grads[name] += 2 * decay * p[name]
    return loss, grads


def problem(rng):
    vocab, d, numwords, hidden = 7, 2, 3, 5
    params = {
        "word_embedding": rng.normal(size=(vocab, d)),
        "embed_to_hid": rng.normal(size=(numwords * d, hidden)),
        "hid_bias": rng.normal(size=(hidden, 1)) * 0.5,
        "hid_to_out": rng.normal(size=(hidden, vocab)),
        "direct": rng.normal(size=(numwords * d, vocab)) * 0.5,
        "out_bias": rng.normal(size=(vocab, 1)) * 0.5,
    }
    words = np.array([[0, 3, 5], [3, 3, 1], [6, 2, 4], [1, 0, 3]])
    return params, (words, np.array([2, 5, 0, 5]))


WRONG = [
    wrong(
        "hidden_state_spoilt_by_its_slope",
        "wrong-operand",
        "    back_hid *= hidden_state\n    back_hid *= 1 - hidden_state\n",
        "    slope = hidden_state\n    slope *= 1 - hidden_state\n    back_hid *= slope\n",
    ),
    wrong(
        "only_half_of_the_logistic_slope",
        "missing-derivative|different-function",
        "    back_hid *= 1 - hidden_state\n",
        "",
    ),
    wrong(
        "embeddings_of_the_last_word_only",
        "overwritten|last-step-only",
        'grads["word_embedding"] += np.dot(expansion',
        'grads["word_embedding"] = np.dot(expansion',
    ),
    wrong(
        "words_that_come_twice_count_once",
        "overwritten",
        'grads["word_embedding"] += np.dot(expansion, back_embed[w * d : (w + 1) * d].T)',
        'grads["word_embedding"][batch[w]] += back_embed[w * d : (w + 1) * d].T',
    ),
    wrong(
        "direct_route_not_felt_by_the_words",
        "missing-path",
        '    back_embed += np.dot(p["direct"], error)\n',
        "",
    ),
    wrong(
        "word_vectors_cut_out_interleaved",
        "wrong-axis|wrong-operand",
        "back_embed[w * d : (w + 1) * d].T",
        "back_embed[w::numwords].T",
    ),
    wrong(
        "every_word_gets_the_first_slice",
        "wrong-operand",
        "back_embed[w * d : (w + 1) * d].T",
        "back_embed[:d].T",
    ),
    wrong(
        "output_bias_averaged_once_more",
        "wrong-scale|wrong-reduction",
        'grads["out_bias"] = error.sum(axis=1, keepdims=True)',
        'grads["out_bias"] = error.mean(axis=1, keepdims=True)',
    ),
    wrong(
        "targets_less_outputs",
        "wrong-sign",
        "    error -= expanded\n",
        "    error = expanded - error\n",
    ),
    wrong(
        "output_weights_updated_before_use",
        "wrong-operand",
        'back_hid = np.dot(p["hid_to_out"], error)',
        'back_hid = np.dot(p["hid_to_out"] - 0.1 * np.dot(hidden_state, error.T), error)',
    ),
    wrong(
        "factor_two_of_the_decay_forgotten",
        "wrong-term-weight|wrong-scale",
        "grads[name] += 2 * decay * p[name]",
        "grads[name] += decay * p[name]",
    ),
    wrong(
        "everything_decayed",
        "wrong-part-penalised",
        '    for name in ("embed_to_hid", "hid_to_out", "direct"):\n        grads[name]',
        "    for name in grads:\n        grads[name]",
    ),
]

TOGETHER = [
    ("hidden_state_spoilt_by_its_slope", "words_that_come_twice_count_once"),
    ("direct_route_not_felt_by_the_words", "factor_two_of_the_decay_forgotten"),
    ("only_half_of_the_logistic_slope", "every_word_gets_the_first_slice"),
    ("output_bias_averaged_once_more", "output_weights_updated_before_use"),
]

RIGHT = [
    right(
        "added_at_the_words",
        "        expansion = np.eye(vocab)[:, batch[w]]\n",
        "",
        'grads["word_embedding"] += np.dot(expansion, back_embed[w * d : (w + 1) * d].T)',
        'np.add.at(grads["word_embedding"], batch[w], back_embed[w * d : (w + 1) * d].T)',
        "    error = output_state\n    error -= expanded\n",
        "    error = output_state - expanded\n",
    ),
]
