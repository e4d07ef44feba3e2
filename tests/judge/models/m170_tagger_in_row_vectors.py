"""A tagger of words: a plain recurrent network in row vectors, a learned first state, cross-entropy at every word."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, tags):
    h = params["hStart"].expand(len(x), -1)
    states = []
    for t in range(x.shape[1]):
        h = torch.tanh(x[:, t] @ params["Wxh"] + h @ params["Whh"] + params["Bh"])
        states.append(h)
    scores = torch.stack(states, dim=1) @ params["Why"] + params["By"]
    return F.cross_entropy(scores.flatten(0, 1), tags.flatten(), reduction="sum") / len(x)


def forward_rnn(params, words, tags):
    Wxh, Whh, Bh, Why, By = (params[name] for name in ("Wxh", "Whh", "Bh", "Why", "By"))
    h, p, cost = {-1: params["hStart"][None, :]}, {}, 0.0
    for t in range(len(words)):
        h[t] = np.tanh(words[t] @ Wxh + h[t - 1] @ Whh + Bh)
        score = h[t] @ Why + By
        exps = np.exp(score - score.max())
        p[t] = exps / exps.sum()
        cost += -np.log(p[t][0, tags[t]])
    return h, p, cost


def backward_rnn(params, words, tags, h, p):
    Whh, Why = params["Whh"], params["Why"]
    dWxh, dWhh, dWhy = (np.zeros_like(params[name]) for name in ("Wxh", "Whh", "Why"))
    dBh, dBy = np.zeros_like(params["Bh"]), np.zeros_like(params["By"])
    dhnext = np.zeros_like(h[0])
    for t in reversed(range(len(words))):
        dy = p[t].copy()
        dy[0, tags[t]] -= 1
        dWhy += h[t].T @ dy
        dBy += dy[0]
        dh = dy @ Why.T + dhnext
        dhraw = (1 - h[t] * h[t]) * dh
        dBh += dhraw[0]
        dWxh += np.outer(words[t], dhraw)
        dWhh += h[t - 1].T @ dhraw
        dhnext = dhraw @ Whh.T
    return {"Wxh": dWxh, "Whh": dWhh, "Bh": dBh, "Why": dWhy, "By": dBy, "hStart": dhnext[0]}


def candidate(params, x, tags):
    n = len(x)
    total = {name: np.zeros_like(value) for name, value in params.items()}
    cost_sum = 0.0
    for sentence, its_tags in zip(x, tags, strict=True):
        h, p, cost = forward_rnn(params, sentence, its_tags)
        cost_sum += cost
        grads = backward_rnn(params, sentence, its_tags, h, p)
        for name, part in grads.items():
            total[name] += part
    loss = cost_sum / n
    return loss, {name: value / n for name, value in total.items()}


def problem(rng):
    n, steps, width, hidden, kinds = 5, 6, 3, 4, 7
    params = {
        "Wxh": rng.normal(size=(width, hidden)) * 0.7,
        "Whh": rng.normal(size=(hidden, hidden)) * 0.6,
        "Bh": rng.normal(size=hidden) * 0.4,
        "Why": rng.normal(size=(hidden, kinds)) * 0.8,
        "By": rng.normal(size=kinds) * 0.4,
        "hStart": rng.normal(size=hidden) * 0.5,
    }
    return params, (rng.normal(size=(n, steps, width)), rng.integers(0, kinds, size=(n, steps)))


WRONG = [
    wrong(
        "recurrent_weight_as_it_stands_on_the_way_back",
        "not-transposed",
        "dhnext = dhraw @ Whh.T",
        "dhnext = dhraw @ Whh",
    ),
    wrong(
        "recurrent_weight_paired_with_this_step",
        "shifted-in-time",
        "dWhh += h[t - 1].T @ dhraw",
        "dWhh += h[t].T @ dhraw",
    ),
    wrong(
        "first_state_skipped_in_the_recurrent_weight",
        "truncated-in-time|missing-path",
        "        dWhh += h[t - 1].T @ dhraw\n",
        "        if t > 0:\n            dWhh += h[t - 1].T @ dhraw\n",
    ),
    wrong(
        "state_gradient_handed_on_before_the_tanh",
        "missing-derivative",
        "dhnext = dhraw @ Whh.T",
        "dhnext = dh @ Whh.T",
    ),
    wrong(
        "nothing_comes_from_the_next_word",
        "missing-path|truncated-in-time",
        "dh = dy @ Why.T + dhnext",
        "dh = dy @ Why.T",
    ),
    wrong(
        "tanh_slope_of_the_state_before",
        "shifted-in-time|wrong-operand",
        "dhraw = (1 - h[t] * h[t]) * dh",
        "dhraw = (1 - h[t - 1] * h[t - 1]) * dh",
    ),
    wrong(
        "slope_of_the_logistic_instead",
        "different-function",
        "dhraw = (1 - h[t] * h[t]) * dh",
        "dhraw = h[t] * (1 - h[t]) * dh",
    ),
    wrong(
        "hidden_bias_before_the_slope",
        "missing-derivative",
        "dBh += dhraw[0]",
        "dBh += dh[0]",
    ),
    wrong(
        "output_weight_of_the_first_word_only",
        "overwritten|last-step-only",
        "dWhy += h[t].T @ dy",
        "dWhy = h[t].T @ dy",
    ),
    wrong(
        "gradients_started_anew_for_each_sentence",
        "one-sample-only|overwritten",
        "total[name] += part",
        "total[name] = part",
    ),
    wrong(
        "cost_shared_out_over_words_in_the_gradient",
        "wrong-scale|wrong-reduction",
        "{name: value / n for name, value in total.items()}",
        "{name: value / tags.size for name, value in total.items()}",
    ),
    wrong(
        "cost_of_all_sentences_together",
        "wrong-loss",
        "loss = cost_sum / n",
        "loss = cost_sum",
    ),
]

TOGETHER = [
    ("recurrent_weight_as_it_stands_on_the_way_back", "first_state_skipped_in_the_recurrent_weight"),
    ("recurrent_weight_paired_with_this_step", "hidden_bias_before_the_slope"),
    ("nothing_comes_from_the_next_word", "cost_shared_out_over_words_in_the_gradient"),
    ("recurrent_weight_as_it_stands_on_the_way_back", "output_weight_of_the_first_word_only"),
]

RIGHT = [
    right(
        "carried_from_step_to_step",
        "    dhnext = np.zeros_like(h[0])\n",
        "    onward = np.zeros_like(dBh)\n",
        "dh = dy @ Why.T + dhnext",
        "dh = (Why @ dy[0] + onward)[None, :]",
        "dhraw = (1 - h[t] * h[t]) * dh",
        "dhraw = dh - h[t] ** 2 * dh",
        "dhnext = dhraw @ Whh.T",
        "onward = Whh @ dhraw[0]",
        '"hStart": dhnext[0]}',
        '"hStart": onward}',
    ),
]
