"""A linear-chain conditional random field over a small network: log-partition by the forward algorithm, mean cost."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, x, tags):
    emit = torch.tanh(x @ params["W"]) @ params["V"] + params["b"]
    trans, first = params["trans"], params["first"]
    alpha = first + emit[:, 0]
    gold = first[tags[:, 0]] + emit[:, 0].gather(1, tags[:, :1]).squeeze(1)
    for t in range(1, x.shape[1]):
        alpha = torch.logsumexp(alpha.unsqueeze(2) + trans, dim=1) + emit[:, t]
        gold = gold + trans[tags[:, t - 1], tags[:, t]] + emit[:, t].gather(1, tags[:, t : t + 1]).squeeze(1)
    return (torch.logsumexp(alpha, dim=1) - gold).mean()


def log_sum_exp(a, axis):
    top = np.max(a, axis=axis, keepdims=True)
    return np.squeeze(top, axis) + np.log(np.sum(np.exp(a - top), axis=axis))


def forward(first, trans, emit):
    alpha = np.zeros_like(emit)
    alpha[0] = first + emit[0]
    for t in range(1, len(emit)):
        alpha[t] = log_sum_exp(alpha[t - 1][:, None] + trans, axis=0) + emit[t]
    return alpha, log_sum_exp(alpha[-1], axis=0)


def gold_score(first, trans, emit, tags):
    score = first[tags[0]] + emit[0, tags[0]]
    for t in range(1, len(tags)):
        score += trans[tags[t - 1], tags[t]] + emit[t, tags[t]]
    return score


def backward(trans, emit):
    beta = np.zeros_like(emit)
    for t in range(len(emit) - 2, -1, -1):
        beta[t] = log_sum_exp(trans + emit[t + 1] + beta[t + 1], axis=1)
    return beta


def candidate(params, x, tags):
    W, V, b, trans, first = (params[name] for name in ("W", "V", "b", "trans", "first"))
    count, steps = tags.shape
    hidden = np.tanh(x @ W)
    emit = hidden @ V + b
    lattice = [forward(first, trans, one) for one in emit]
    scores = [gold_score(first, trans, emit[s], tags[s]) for s in range(count)]
    loss = np.mean([log_z for _, log_z in lattice]) - np.mean(scores)

    d_emit, d_trans, d_first = np.zeros_like(emit), np.zeros_like(trans), np.zeros_like(first)
    for s in range(count):
        alpha, log_z = lattice[s]
        beta = backward(trans, emit[s])
        single = np.exp(alpha + beta - log_z)
        for t in range(steps):
            d_emit[s, t] = single[t]
            d_emit[s, t, tags[s, t]] -= 1
        d_first += single[0]
        d_first[tags[s, 0]] -= 1
        for t in range(1, steps):
            after = emit[s, t] + beta[t]
            d_trans += np.exp(alpha[t - 1][:, None] + trans + after - log_z)
            d_trans[tags[s, t - 1], tags[s, t]] -= 1
    d_emit, d_trans, d_first = d_emit / count, d_trans / count, d_first / count
    d_hidden = d_emit @ V.T
    d_pre = d_hidden * (1 - hidden**2)
    dV = np.tensordot(hidden, d_emit, axes=((0, 1), (0, 1)))
    dW = np.tensordot(x, d_pre, axes=((0, 1), (0, 1)))
    db = d_emit.sum(axis=(0, 1))
    return loss, {"W": dW, "V": dV, "b": db, "trans": d_trans, "first": d_first}


def problem(rng):
    params = {
        "W": rng.normal(size=(3, 4)),
        "V": rng.normal(size=(4, 4)),
        "b": rng.normal(size=4) * 0.5,
        "trans": rng.normal(size=(4, 4)),
        "first": rng.normal(size=4),
    }
    return params, (rng.normal(size=(6, 5, 3)), rng.integers(0, 4, size=(6, 5)))


WRONG = [
    wrong(
        "emission_of_the_same_step_in_beta",
        "shifted-in-time",
        "trans + emit[t + 1] + beta[t + 1]",
        "trans + emit[t] + beta[t + 1]",
    ),
    wrong("first_from_the_second_step", "shifted-in-time", "d_first += single[0]", "d_first += single[1]"),
    wrong(
        "beta_over_the_wrong_tag",
        "not-transposed",
        "log_sum_exp(trans + emit[t + 1] + beta[t + 1], axis=1)",
        "log_sum_exp(trans.T + emit[t + 1] + beta[t + 1], axis=1)",
    ),
    wrong("transition_gradient_transposed", "transposed", '"trans": d_trans', '"trans": d_trans.T'),
    wrong(
        "observed_emissions_forgotten",
        "missing-path",
        "            d_emit[s, t, tags[s, t]] -= 1\n",
        "",
    ),
    wrong(
        "observed_transitions_forgotten",
        "missing-path",
        "            d_trans[tags[s, t - 1], tags[s, t]] -= 1\n",
        "",
    ),
    wrong(
        "partition_forgotten_in_transitions",
        "missing-path",
        "            d_trans += np.exp(alpha[t - 1][:, None] + trans + after - log_z)\n",
        "",
    ),
    wrong("observed_first_added", "wrong-sign", "d_first[tags[s, 0]] -= 1", "d_first[tags[s, 0]] += 1"),
    wrong(
        "first_of_the_last_sentence",
        "overwritten|one-sample-only",
        "d_first += single[0]\n",
        "d_first[:] = single[0]\n",
    ),
    wrong(
        "sum_over_sentences",
        "wrong-scale|wrong-reduction",
        "d_trans / count, d_first / count",
        "d_trans / count, d_first",
    ),
    wrong(
        "emissions_averaged_over_steps_too",
        "wrong-scale|wrong-reduction",
        "= d_emit / count,",
        "= d_emit / (count * steps),",
    ),
    wrong("tanh_slope_forgotten", "missing-derivative", "d_hidden * (1 - hidden**2)", "d_hidden"),
    wrong(
        "tanh_slope_at_the_input",
        "derivative-at-wrong-point",
        "d_hidden * (1 - hidden**2)",
        "d_hidden * (1 - (x @ W) ** 2)",
    ),
    wrong("V_not_transposed", "not-transposed", "d_emit @ V.T", "d_emit @ V"),
    wrong("bias_of_the_last_step", "last-step-only", "d_emit.sum(axis=(0, 1))", "d_emit[:, -1].sum(axis=0)"),
    wrong(
        "first_step_not_reached",
        "missing-path|truncated-in-time",
        "        for t in range(steps):\n            d_emit",
        "        for t in range(1, steps):\n            d_emit",
    ),
    wrong(
        "transitions_the_other_way_in_both",
        "not-transposed|different-function",
        "alpha[t - 1][:, None] + trans, axis=0)",
        "alpha[t - 1][:, None] + trans.T, axis=0)",
        "score += trans[tags[t - 1], tags[t]]",
        "score += trans[tags[t], tags[t - 1]]",
        "log_sum_exp(trans + emit[t + 1]",
        "log_sum_exp(trans.T + emit[t + 1]",
        "alpha[t - 1][:, None] + trans + after",
        "alpha[t - 1][:, None] + trans.T + after",
        '"trans": d_trans',
        '"trans": d_trans.T',
    ),
    wrong("first_scores_forgotten_in_cost", "wrong-loss", "score = first[tags[0]] + emit", "score = emit"),
]

TOGETHER = [
    ("observed_first_added", "V_not_transposed"),
    ("transition_gradient_transposed", "tanh_slope_forgotten"),
    ("observed_transitions_forgotten", "bias_of_the_last_step"),
    ("first_of_the_last_sentence", "tanh_slope_at_the_input"),
    ("partition_forgotten_in_transitions", "V_not_transposed", "first_from_the_second_step"),
]

RIGHT = [
    right(
        "back_through_the_recursion",
        "        beta = backward(trans, emit[s])\n        single = np.exp(alpha + beta - log_z)\n",
        "        flow = np.exp(alpha[-1] - log_z)\n        flows = [flow]\n"
        "        for t in range(steps - 1, 0, -1):\n"
        "            pair = alpha[t - 1][:, None] + trans\n"
        "            flow = np.exp(pair - log_sum_exp(pair, axis=0)) @ flow\n            flows.insert(0, flow)\n"
        "        single = np.array(flows)\n        beta = np.log(single) - alpha + log_z\n",
    ),
    right(
        "observed_by_counting",
        "            d_trans[tags[s, t - 1], tags[s, t]] -= 1\n",
        "",
        "    d_emit, d_trans, d_first = d_emit / count",
        "    np.subtract.at(d_trans, (tags[:, :-1], tags[:, 1:]), 1)\n    d_emit, d_trans, d_first = d_emit / count",
    ),
]
