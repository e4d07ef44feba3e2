"""The character-level recurrent net of a course: one-hot characters, tanh states, a loss a step, mean over texts."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, inputs, targets):
    batch, steps = inputs.shape
    x = F.one_hot(inputs, params["Wxh"].shape[1]).to(params["Wxh"].dtype)
    h = params["h0"].expand(batch, -1)
    loss = 0.0
    for t in range(steps):
        h = torch.tanh(F.linear(x[:, t], params["Wxh"]) + F.linear(h, params["Whh"], params["bh"]))
        logits = F.linear(h, params["Why"], params["by"])
        loss = loss + F.cross_entropy(logits, targets[:, t])
    return loss


def loss_fun(inputs, targets, hprev, params):
    """Loss and gradients of one text, as lists of integers; hprev is the state before its first character."""
    Wxh, Whh, Why, bh, by = (params[k] for k in ("Wxh", "Whh", "Why", "bh", "by"))
    vocab_size = len(by)
    xs, hs, ys, ps = {}, {}, {}, {}
    hs[-1] = np.copy(hprev)
    cost = 0.0
    # forward pass
    for t in range(len(inputs)):
        xs[t] = np.zeros(vocab_size)
        xs[t][inputs[t]] = 1
        hs[t] = np.tanh(np.dot(Wxh, xs[t]) + np.dot(Whh, hs[t - 1]) + bh)
        ys[t] = np.dot(Why, hs[t]) + by
        ps[t] = np.exp(ys[t]) / np.sum(np.exp(ys[t]))
        cost += -np.log(ps[t][targets[t]])
    # backward pass: gradients going backwards
    dWxh, dWhh, dWhy = np.zeros_like(Wxh), np.zeros_like(Whh), np.zeros_like(Why)
    dbh, dby = np.zeros_like(bh), np.zeros_like(by)
    dhnext = np.zeros_like(hprev)
    for t in reversed(range(len(inputs))):
        dy = np.copy(ps[t])
        dy[targets[t]] -= 1
        dWhy += np.outer(dy, hs[t])
        dby += dy
        dh = np.dot(Why.T, dy) + dhnext
        dhraw = (1 - hs[t] * hs[t]) * dh
        dbh += dhraw
        dWxh += np.outer(dhraw, xs[t])
        dWhh += np.outer(dhraw, hs[t - 1])
        dhnext = np.dot(Whh.T, dhraw)
    return cost, {"Wxh": dWxh, "Whh": dWhh, "Why": dWhy, "bh": dbh, "by": dby, "h0": dhnext}


def candidate(params, inputs, targets):
    n_texts = len(inputs)
    total = 0.0
    grads = {k: np.zeros_like(v) for k, v in params.items()}
    results = [loss_fun(list(inputs[i]), list(targets[i]), params["h0"], params) for i in range(n_texts)]
    for cost, _ in results:
        total += cost
    loss = total / n_texts
    for _, text_grads in results:
        for k in grads:
            grads[k] += text_grads[k]
    for k in grads:
        grads[k] /= n_texts
    return loss, grads


def problem(rng):
    vocabulary, hidden, texts, steps = 7, 8, 5, 6
    params = {
        "Wxh": rng.normal(size=(hidden, vocabulary)) * 0.8,
        "Whh": rng.normal(size=(hidden, hidden)) * 0.4,
        "Why": rng.normal(size=(vocabulary, hidden)) * 0.7,
        "bh": rng.normal(size=hidden) * 0.3,
        "by": rng.normal(size=vocabulary) * 0.3,
        "h0": rng.normal(size=hidden) * 0.6,
    }
    characters = rng.integers(0, vocabulary, size=(texts, steps + 1))
    return params, (characters[:, :-1].copy(), characters[:, 1:].copy())


WRONG = [
    wrong(
        "gradient_from_the_next_step_left_out",
        "missing-path|truncated-in-time",
        "dh = np.dot(Why.T, dy) + dhnext",
        "dh = np.dot(Why.T, dy)",
    ),
    wrong(
        "recurrent_weights_with_the_same_steps_state",
        "shifted-in-time|wrong-operand",
        "dWhh += np.outer(dhraw, hs[t - 1])",
        "dWhh += np.outer(dhraw, hs[t])",
    ),
    wrong(
        "recurrent_weights_not_transposed",
        "not-transposed",
        "dhnext = np.dot(Whh.T, dhraw)",
        "dhnext = np.dot(Whh, dhraw)",
    ),
    wrong(
        "next_gradient_from_before_the_tanh",
        "missing-derivative|wrong-operand",
        "dhnext = np.dot(Whh.T, dhraw)",
        "dhnext = np.dot(Whh.T, dh)",
    ),
    wrong(
        "sigmoid_slope",
        "different-function",
        "dhraw = (1 - hs[t] * hs[t]) * dh",
        "dhraw = hs[t] * (1 - hs[t]) * dh",
    ),
    wrong(
        "tanh_taken_of_the_state_once_more",
        "derivative-at-wrong-point",
        "dhraw = (1 - hs[t] * hs[t]) * dh",
        "dhraw = (1 - np.tanh(hs[t]) ** 2) * dh",
    ),
    wrong("output_bias_assigned", "overwritten|last-step-only", "dby += dy", "dby = dy"),
    wrong(
        "target_not_subtracted",
        "missing-path|different-function|wrong-operand",
        "        dy[targets[t]] -= 1\n",
        "",
    ),
    wrong(
        "character_read_subtracted_for_the_one_to_come",
        "wrong-operand|shifted-in-time",
        "dy[targets[t]] -= 1",
        "dy[inputs[t]] -= 1",
    ),
    wrong(
        "first_state_gets_the_gradient_of_the_state_after_it",
        "shifted-in-time|wrong-operand|missing-path",
        '"by": dby, "h0": dhnext}',
        '"by": dby, "h0": dh}',
    ),
    wrong(
        "output_weights_with_the_state_before",
        "shifted-in-time|wrong-operand",
        "dWhy += np.outer(dy, hs[t])",
        "dWhy += np.outer(dy, hs[t - 1])",
    ),
    wrong(
        "hidden_bias_before_the_tanh",
        "missing-derivative|wrong-operand",
        "dbh += dhraw",
        "dbh += dh",
    ),
    wrong(
        "loop_back_ends_before_the_first_character",
        "truncated-in-time|missing-path",
        "for t in reversed(range(len(inputs))):",
        "for t in range(len(inputs) - 1, 0, -1):",
    ),
    wrong(
        "last_text_only",
        "overwritten|one-sample-only",
        "            grads[k] += text_grads[k]\n",
        "            grads[k] = text_grads[k]\n",
    ),
    wrong(
        "mean_per_character_in_both",
        "wrong-reduction|wrong-scale",
        "loss = total / n_texts",
        "loss = total / inputs.size",
        "grads[k] /= n_texts",
        "grads[k] /= inputs.size",
    ),
    wrong("bits_in_cost", "wrong-loss", "cost += -np.log(ps", "cost += -np.log2(ps"),
]

TOGETHER = [
    ("recurrent_weights_with_the_same_steps_state", "output_bias_assigned"),
    ("recurrent_weights_not_transposed", "hidden_bias_before_the_tanh"),
    ("character_read_subtracted_for_the_one_to_come", "next_gradient_from_before_the_tanh"),
    ("first_state_gets_the_gradient_of_the_state_after_it", "sigmoid_slope"),
    ("output_weights_with_the_state_before", "mean_per_character_in_both"),
    ("gradient_from_the_next_step_left_out", "recurrent_weights_with_the_same_steps_state"),
    ("output_weights_with_the_state_before", "tanh_taken_of_the_state_once_more", "output_bias_assigned"),
    (
        "recurrent_weights_with_the_same_steps_state",
        "hidden_bias_before_the_tanh",
        "first_state_gets_the_gradient_of_the_state_after_it",
    ),
]

RIGHT = [
    right(
        "raw_gradients_kept_and_multiplied_at_the_end",
        "        dWhy += np.outer(dy, hs[t])\n        dby += dy\n",
        "        dys[t] = dy\n",
        "        dbh += dhraw\n        dWxh += np.outer(dhraw, xs[t])\n        dWhh += np.outer(dhraw, hs[t - 1])\n",
        "        draws[t] = dhraw\n",
        "    dWxh, dWhh, dWhy = np.zeros_like(Wxh), np.zeros_like(Whh), np.zeros_like(Why)\n"
        "    dbh, dby = np.zeros_like(bh), np.zeros_like(by)\n",
        "    steps = range(len(inputs))\n    dys, draws = {}, {}\n",
        "        dhnext = np.dot(Whh.T, dhraw)\n",
        "        dhnext = np.dot(Whh.T, dhraw)\n"
        "    D = np.array([draws[t] for t in steps])\n"
        "    Y = np.array([dys[t] for t in steps])\n"
        "    dWxh = D.T @ np.array([xs[t] for t in steps])\n"
        "    dWhh = D.T @ np.array([hs[t - 1] for t in steps])\n"
        "    dWhy = Y.T @ np.array([hs[t] for t in steps])\n"
        "    dbh, dby = D.sum(axis=0), Y.sum(axis=0)\n",
    ),
    right(
        "columns_looked_up_by_index",
        "        xs[t] = np.zeros(vocab_size)\n        xs[t][inputs[t]] = 1\n",
        "",
        "np.dot(Wxh, xs[t])",
        "Wxh[:, inputs[t]]",
        "dWxh += np.outer(dhraw, xs[t])",
        "dWxh[:, inputs[t]] += dhraw",
        "    vocab_size = len(by)\n    xs, hs, ys, ps = {}, {}, {}, {}\n",
        "    hs, ys, ps = {}, {}, {}\n",
    ),
    right(
        "steady_softmax_and_divided_on_the_way",
        "ps[t] = np.exp(ys[t]) / np.sum(np.exp(ys[t]))",
        "shifted = ys[t] - np.max(ys[t])\n"
        "        log_p = shifted - np.log(np.sum(np.exp(shifted)))\n"
        "        ps[t] = np.exp(log_p)",
        "cost += -np.log(ps[t][targets[t]])",
        "cost -= log_p[targets[t]]",
        "            grads[k] += text_grads[k]\n    for k in grads:\n        grads[k] /= n_texts\n",
        "            grads[k] += text_grads[k] / n_texts\n",
    ),
]
