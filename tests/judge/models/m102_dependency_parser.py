"""A transition parser: embedded words and tags of several slots, a cube as activation, a softmax over transitions."""

import numpy as np
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, words, tags, y):
    x_words = F.embedding(words, params["Ew"]).flatten(1)
    x_tags = F.embedding(tags, params["Et"]).flatten(1)
    hidden = (F.linear(x_words, params["Ww"]) + F.linear(x_tags, params["Wt"], params["b1"])).pow(3)
    logits = F.linear(hidden, params["W2"], params["b2"])
    squares = sum(params[name].square().sum() for name in ("Ew", "Et", "Ww", "Wt", "W2"))
    return {"transitions": F.cross_entropy(logits, y), "penalty": 0.5 * 0.1 * squares}


def slots_forward(ids, E, W):
    """What the embeddings of every slot, each with its own block of W, add to the hidden layer."""
    slots, d = ids.shape[1], E.shape[1]
    out = np.zeros((len(ids), len(W)))
    for s in range(slots):
        out += E[ids[:, s]] @ W[:, s * d : (s + 1) * d].T
    return out


def slots_backward(dout, ids, E, W):
    slots, d = ids.shape[1], E.shape[1]
    dE, dW = np.zeros_like(E), np.zeros_like(W)
    for s in range(slots):
        block = slice(s * d, (s + 1) * d)
        dW[:, block] += dout.T @ E[ids[:, s]]
        np.add.at(dE, ids[:, s], dout @ W[:, block])
    return dE, dW


def softmax_rows(a):
    e = np.exp(a - a.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def candidate(params, words, tags, y, lam=0.1):
    Ew, Et, Ww, Wt, W2 = (params[name] for name in ("Ew", "Et", "Ww", "Wt", "W2"))
    b1, b2 = params["b1"], params["b2"]
    n = len(y)
    z = slots_forward(words, Ew, Ww) + slots_forward(tags, Et, Wt) + b1
    h = z**3
    p = softmax_rows(h @ W2.T + b2)
    nll = -np.mean(np.log(p[np.arange(n), y]))
    squares = [np.sum(w**2) for w in (Ew, Et, Ww, Wt, W2)]
    loss = nll + lam / 2 * sum(squares)

    delta = p.copy()
    delta[np.arange(n), y] -= 1
    delta /= n
    dW2 = delta.T @ h
    db2 = delta.sum(axis=0)
    dh = delta @ W2
    dz = dh * 3 * z**2
    db1 = dz.sum(axis=0)
    dEw, dWw = slots_backward(dz, words, Ew, Ww)
    dEt, dWt = slots_backward(dz, tags, Et, Wt)
    grads = {"Ew": dEw, "Et": dEt, "Ww": dWw, "Wt": dWt, "b1": db1, "W2": dW2, "b2": db2}
    for name in ["Ew", "Et", "Ww", "Wt", "W2"]:
        grads[name] += lam * params[name]
    return loss, grads


def problem(rng):
    params = {
        "Ew": rng.normal(size=(12, 5)) * 0.6,
        "Et": rng.normal(size=(10, 2)) * 0.6,
        "Ww": rng.normal(size=(8, 20)) * 0.25,
        "Wt": rng.normal(size=(8, 6)) * 0.35,
        "b1": rng.normal(size=8) * 0.4,
        "W2": rng.normal(size=(7, 8)) * 0.35,
        "b2": rng.normal(size=7) * 0.4,
    }
    words, tags = rng.integers(0, 12, size=(9, 4)), rng.integers(0, 10, size=(9, 3))
    return params, (words, tags, rng.integers(0, 7, size=9))


WRONG = [
    wrong(
        "cube_slope_at_the_hidden_layer",
        "derivative-at-wrong-point|wrong-operand",
        "dz = dh * 3 * z**2",
        "dz = dh * 3 * h**2",
    ),
    wrong("three_of_the_cube_forgotten", "wrong-scale|different-function", "dz = dh * 3 * z**2", "dz = dh * z**2"),
    wrong(
        "cube_slope_not_for_the_bias",
        "missing-derivative|wrong-operand",
        "db1 = dz.sum(axis=0)",
        "db1 = dh.sum(axis=0)",
    ),
    wrong(
        "cube_slope_not_for_the_tags",
        "missing-derivative|wrong-operand",
        "slots_backward(dz, tags, Et, Wt)",
        "slots_backward(dh, tags, Et, Wt)",
    ),
    wrong("sums_meet_the_output_weights", "wrong-operand|different-function", "dW2 = delta.T @ h", "dW2 = delta.T @ z"),
    wrong(
        "examples_not_averaged",
        "wrong-term-weight|wrong-scale|wrong-reduction",
        "    delta /= n\n",
        "",
    ),
    wrong(
        "one_taken_from_every_row",
        "wrong-operand|broadcast|different-function",
        "delta[np.arange(n), y] -= 1",
        "delta[:, y] -= 1",
    ),
    wrong(
        "half_of_the_penalty_forgotten",
        "wrong-term-weight|wrong-scale",
        "grads[name] += lam * params[name]",
        "grads[name] += 2 * lam * params[name]",
    ),
    wrong(
        "embeddings_without_decay",
        "wrong-part-penalised|missing-path|wrong-term-weight",
        'for name in ["Ew", "Et", "Ww", "Wt", "W2"]:',
        'for name in ["Ww", "Wt", "W2"]:',
    ),
    wrong(
        "word_twice_in_a_slot_counts_once",
        "overwritten",
        "np.add.at(dE, ids[:, s], dout @ W[:, block])",
        "dE[ids[:, s]] += dout @ W[:, block]",
    ),
    wrong(
        "embeddings_start_anew_in_each_slot",
        "last-step-only|overwritten|missing-path",
        "        block = slice(s * d, (s + 1) * d)\n",
        "        block = slice(s * d, (s + 1) * d)\n        dE = np.zeros_like(E)\n",
    ),
    wrong(
        "tags_held_fixed",
        "missing-path",
        '"Et": dEt',
        '"Et": np.zeros_like(Et)',
    ),
    wrong(
        "slots_interleaved_in_both",
        "wrong-axis|wrong-operand|different-function|transposed",
        "W[:, s * d : (s + 1) * d].T",
        "W[:, s::slots].T",
        "block = slice(s * d, (s + 1) * d)",
        "block = slice(s, None, slots)",
    ),
    wrong(
        "relu_for_the_cube_in_both",
        "different-function",
        "h = z**3",
        "h = np.maximum(z, 0)",
        "dz = dh * 3 * z**2",
        "dz = dh * (z > 0)",
    ),
    wrong(
        "biases_decay_too_in_both",
        "wrong-part-penalised",
        "for w in (Ew, Et, Ww, Wt, W2)]",
        "for w in params.values()]",
        'for name in ["Ew", "Et", "Ww", "Wt", "W2"]:',
        "for name in params:",
    ),
    wrong("penalty_not_halved_in_cost", "wrong-loss", "lam / 2 * sum(squares)", "lam * sum(squares)"),
]

TOGETHER = [
    ("three_of_the_cube_forgotten", "half_of_the_penalty_forgotten"),
    ("sums_meet_the_output_weights", "embeddings_without_decay"),
    ("cube_slope_not_for_the_bias", "word_twice_in_a_slot_counts_once"),
    ("tags_held_fixed", "cube_slope_at_the_hidden_layer"),
    ("examples_not_averaged", "cube_slope_not_for_the_tags"),
    ("embeddings_start_anew_in_each_slot", "biases_decay_too_in_both"),
    ("one_taken_from_every_row", "cube_slope_not_for_the_bias", "tags_held_fixed"),
    ("half_of_the_penalty_forgotten", "sums_meet_the_output_weights", "word_twice_in_a_slot_counts_once"),
]

RIGHT = [
    right(
        "slots_joined_into_one_row",
        "    out = np.zeros((len(ids), len(W)))\n"
        "    for s in range(slots):\n"
        "        out += E[ids[:, s]] @ W[:, s * d : (s + 1) * d].T\n"
        "    return out\n",
        "    return E[ids].reshape(-1, slots * d) @ W.T\n",
        "    dE, dW = np.zeros_like(E), np.zeros_like(W)\n"
        "    for s in range(slots):\n"
        "        block = slice(s * d, (s + 1) * d)\n"
        "        dW[:, block] += dout.T @ E[ids[:, s]]\n"
        "        np.add.at(dE, ids[:, s], dout @ W[:, block])\n"
        "    return dE, dW\n",
        "    joined = E[ids].reshape(-1, slots * d)\n"
        "    chosen = np.eye(len(E))[ids].reshape(-1, len(E))\n"
        "    return chosen.T @ (dout @ W).reshape(-1, d), dout.T @ joined\n",
    ),
    right(
        "decay_where_each_gradient_is_made",
        "    delta[np.arange(n), y] -= 1\n    delta /= n\n",
        "    delta = (delta - np.eye(len(b2))[y]) / n\n",
        "dW2 = delta.T @ h",
        "dW2 = np.einsum('nk,nh->kh', delta, h) + lam * W2",
        "dE, dW = np.zeros_like(E), np.zeros_like(W)",
        "dE, dW = 0.1 * E, 0.1 * W",
        '    for name in ["Ew", "Et", "Ww", "Wt", "W2"]:\n        grads[name] += lam * params[name]\n',
        "",
    ),
    right(
        "examples_one_by_one",
        "    dEw, dWw = slots_backward(dz, words, Ew, Ww)\n    dEt, dWt = slots_backward(dz, tags, Et, Wt)\n",
        "    dEw, dWw, dEt, dWt = (np.zeros_like(w) for w in (Ew, Ww, Et, Wt))\n"
        "    for i in range(n):\n"
        "        dWw += np.outer(dz[i], np.concatenate(list(Ew[words[i]])))\n"
        "        dWt += np.outer(dz[i], np.concatenate(list(Et[tags[i]])))\n"
        "        for word, row in zip(words[i], np.split(Ww.T @ dz[i], words.shape[1]), strict=True):\n"
        "            dEw[word] += row\n"
        "        for tag, row in zip(tags[i], np.split(Wt.T @ dz[i], tags.shape[1]), strict=True):\n"
        "            dEt[tag] += row\n",
        "dz = dh * 3 * z**2",
        "dz = 3 * np.square(z) * dh",
    ),
]
