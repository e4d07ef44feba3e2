"""A decoder with additive attention over given encoder states, fed the true words; padded targets do not count."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, source, previous, target):
    s = torch.tanh(source.mean(dim=1) @ params["W_0"])
    keys = source @ params["W_k"]
    total = 0.0
    for t in range(previous.shape[1]):
        energy = torch.tanh((s @ params["W_q"]).unsqueeze(1) + keys) @ params["v"]
        focus = F.softmax(energy, dim=1)
        context = (focus.unsqueeze(2) * source).sum(dim=1)
        fed = torch.cat([F.embedding(previous[:, t], params["words"]), context], dim=1)
        s = torch.tanh(fed @ params["W_s"] + s @ params["U"])
        logits = F.linear(torch.cat([s, context], dim=1), params["O"], params["o"])
        total = total + F.cross_entropy(logits, target[:, t], ignore_index=0, reduction="sum")
    return total / len(source)


def softmax(a):
    exp = np.exp(a - np.max(a, axis=1)[:, None])
    return exp / np.sum(exp, axis=1)[:, None]


def candidate(params, source, previous, target):
    W_q, W_s, U, v, out = params["W_q"], params["W_s"], params["U"], params["v"], params["O"]
    n, length = previous.shape
    size, wide = len(U), params["words"].shape[1]
    average = source.mean(axis=1)
    keys = source @ params["W_k"]
    states = [np.tanh(average @ params["W_0"])]
    memory, cost = [], 0.0
    for t in range(length):
        mix = np.tanh((states[t] @ W_q)[:, None] + keys)
        focus = softmax(mix @ v)
        context = np.einsum("ni,nid->nd", focus, source)
        fed = np.hstack([params["words"][previous[:, t]], context])
        states.append(np.tanh(fed @ W_s + states[t] @ U))
        shown = np.hstack([states[t + 1], context])
        p = softmax(shown @ out.T + params["o"])
        counts = (target[:, t] != 0).astype(float)
        cost -= np.sum(counts * np.log(p[np.arange(n), target[:, t]]))
        memory.append((mix, focus, fed, shown, p, counts))
    loss = cost / n

    d = {key: np.zeros_like(value) for key, value in params.items()}
    d_keys = np.zeros_like(keys)
    carried = np.zeros((n, size))
    for t in range(length - 1, -1, -1):
        mix, focus, fed, shown, p, counts = memory[t]
        d_logits = p * counts[:, None] / n
        d_logits[np.arange(n), target[:, t]] -= counts / n
        d["O"] += d_logits.T @ shown
        d["o"] += d_logits.sum(axis=0)
        d_shown = d_logits @ out
        d_state = d_shown[:, :size] + carried
        d_pre = d_state * (1 - states[t + 1] ** 2)
        d["W_s"] += fed.T @ d_pre
        d["U"] += states[t].T @ d_pre
        d_fed = d_pre @ W_s.T
        np.add.at(d["words"], previous[:, t], d_fed[:, :wide])
        d_context = d_shown[:, size:] + d_fed[:, wide:]
        d_focus = np.einsum("nd,nid->ni", d_context, source)
        d_energy = focus * (d_focus - np.sum(d_focus * focus, axis=1)[:, None])
        d["v"] += np.einsum("ni,nik->k", d_energy, mix)
        d_mix = d_energy[:, :, None] * v * (1 - mix**2)
        d_keys += d_mix
        d_query = d_mix.sum(axis=1)
        d["W_q"] += states[t].T @ d_query
        carried = d_pre @ U.T + d_query @ W_q.T
    d["W_k"] = np.einsum("nid,nik->dk", source, d_keys)
    d["W_0"] = average.T @ (carried * (1 - states[0] ** 2))
    return loss, d


def problem(rng):
    params = {
        "W_0": rng.normal(size=(3, 4)),
        "W_k": rng.normal(size=(3, 4)),
        "W_q": rng.normal(size=(4, 4)) * 0.8,
        "v": rng.normal(size=4) * 1.5,
        "words": rng.normal(size=(7, 2)),
        "W_s": rng.normal(size=(5, 4)) * 0.7,
        "U": rng.normal(size=(4, 4)) * 0.6,
        "O": rng.normal(size=(7, 7)) * 0.8,
        "o": rng.normal(size=7) * 0.4,
    }
    target = rng.integers(1, 7, size=(5, 4))
    target[1, 3] = target[3, 2] = target[3, 3] = 0
    previous = np.column_stack([np.full(5, 1), target[:, :-1]])
    return params, (rng.normal(size=(5, 6, 3)) * 1.3, previous, target)


WRONG = [
    wrong(
        "softmax_diagonal",
        "diagonal-jacobian",
        "focus * (d_focus - np.sum(d_focus * focus, axis=1)[:, None])",
        "focus * (1 - focus) * d_focus",
    ),
    wrong(
        "softmax_without_its_sum",
        "diagonal-jacobian|missing-path",
        "focus * (d_focus - np.sum(d_focus * focus, axis=1)[:, None])",
        "focus * d_focus",
    ),
    wrong(
        "context_in_the_read_out_forgotten",
        "missing-path",
        "d_context = d_shown[:, size:] + d_fed[:, wide:]",
        "d_context = d_fed[:, wide:]",
    ),
    wrong(
        "context_in_the_state_forgotten",
        "missing-path",
        "d_context = d_shown[:, size:] + d_fed[:, wide:]",
        "d_context = d_shown[:, size:]",
    ),
    wrong("query_not_carried", "missing-path", "carried = d_pre @ U.T + d_query @ W_q.T", "carried = d_pre @ U.T"),
    wrong(
        "state_not_carried_through_U",
        "missing-path|truncated-in-time",
        "carried = d_pre @ U.T + d_query @ W_q.T",
        "carried = d_query @ W_q.T",
    ),
    wrong(
        "nothing_carried",
        "truncated-in-time|missing-path",
        "d_state = d_shown[:, :size] + carried",
        "d_state = d_shown[:, :size]",
    ),
    wrong(
        "padding_counted",
        "missing-derivative|different-function",
        "        d_logits = p * counts[:, None] / n\n        d_logits[np.arange(n), target[:, t]] -= counts / n\n",
        "        d_logits = p / n\n        d_logits[np.arange(n), target[:, t]] -= 1 / n\n",
    ),
    wrong(
        "probabilities_of_padding_counted",
        "missing-derivative|different-function",
        "d_logits = p * counts[:, None] / n",
        "d_logits = p / n",
    ),
    wrong("new_state_in_the_query", "shifted-in-time", 'd["W_q"] += states[t].T', 'd["W_q"] += states[t + 1].T'),
    wrong("new_state_in_U", "shifted-in-time", 'd["U"] += states[t].T', 'd["U"] += states[t + 1].T'),
    wrong(
        "previous_word_of_the_next_step",
        "shifted-in-time|wrong-operand",
        'd["words"], previous[:, t]',
        'd["words"], target[:, t]',
    ),
    wrong(
        "words_assigned",
        "overwritten",
        'np.add.at(d["words"], previous[:, t], d_fed[:, :wide])',
        'd["words"][previous[:, t]] = d_fed[:, :wide]',
    ),
    wrong(
        "repeated_words_lost",
        "overwritten",
        'np.add.at(d["words"], previous[:, t], d_fed[:, :wide])',
        'd["words"][previous[:, t]] += d_fed[:, :wide]',
    ),
    wrong("keys_of_one_step", "overwritten|last-step-only", "d_keys += d_mix", "d_keys = d_mix"),
    wrong("tanh_of_the_energy_forgotten", "missing-derivative", "v * (1 - mix**2)", "v"),
    wrong("v_forgotten", "missing-derivative", "d_energy[:, :, None] * v *", "d_energy[:, :, None] *"),
    wrong("W_q_not_transposed", "not-transposed", "+ d_query @ W_q.T", "+ d_query @ W_q"),
    wrong(
        "first_state_slope_forgotten",
        "missing-derivative",
        "average.T @ (carried * (1 - states[0] ** 2))",
        "average.T @ carried",
    ),
    wrong(
        "averaged_over_words",
        "wrong-scale|wrong-reduction",
        "d_logits = p * counts[:, None] / n\n        d_logits[np.arange(n), target[:, t]] -= counts / n",
        "d_logits = p * counts[:, None] / (n * length)\n"
        "        d_logits[np.arange(n), target[:, t]] -= counts / (n * length)",
    ),
    wrong(
        "query_averaged", "wrong-scale|wrong-reduction", "d_query = d_mix.sum(axis=1)", "d_query = d_mix.mean(axis=1)"
    ),
    wrong(
        "attention_sees_the_first_state_only_in_both",
        "wrong-operand|different-function",
        "mix = np.tanh((states[t] @ W_q)[:, None] + keys)",
        "mix = np.tanh((states[0] @ W_q)[:, None] + keys)",
        'd["W_q"] += states[t].T @ d_query',
        'd["W_q"] += states[0].T @ d_query\n        early = early + d_query @ W_q.T',
        "carried = d_pre @ U.T + d_query @ W_q.T",
        "carried = d_pre @ U.T",
        "carried = np.zeros((n, size))",
        "carried = early = np.zeros((n, size))",
        "average.T @ (carried *",
        "average.T @ ((carried + early) *",
    ),
    wrong(
        "softmax_over_the_batch",
        "wrong-axis",
        "np.sum(d_focus * focus, axis=1)[:, None]",
        "np.sum(d_focus * focus, axis=0)",
    ),
]

TOGETHER = [
    ("softmax_without_its_sum", "first_state_slope_forgotten"),
    ("repeated_words_lost", "query_not_carried"),
    ("padding_counted", "tanh_of_the_energy_forgotten"),
    ("keys_of_one_step", "new_state_in_U"),
    ("context_in_the_read_out_forgotten", "repeated_words_lost", "W_q_not_transposed"),
]

RIGHT = [
    right(
        "read_out_after_the_loop",
        '        d["O"] += d_logits.T @ shown\n',
        "        kept.append((d_logits, shown))\n",
        "    d_keys = np.zeros_like(keys)\n",
        "    d_keys, kept = np.zeros_like(keys), []\n",
        "    return loss, d\n",
        '    d["O"] = np.vstack([a for a, _ in kept]).T @ np.vstack([b for _, b in kept])\n    return loss, d\n',
    ),
    right(
        "only_counted_words",
        "        d_logits = p * counts[:, None] / n\n        d_logits[np.arange(n), target[:, t]] -= counts / n\n",
        "        d_logits = np.zeros_like(p)\n        for k in np.flatnonzero(target[:, t]):\n"
        "            d_logits[k] = (p[k] - np.eye(p.shape[1])[target[k, t]]) / n\n",
    ),
]
