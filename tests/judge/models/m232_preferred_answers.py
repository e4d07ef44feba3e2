"""Preferred answers: a language model of two words taught to like one of two answers better, against a frozen one."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, chosen, rejected, chosen_mask, rejected_mask, frozen):
    def token_logps(tokens):
        now = F.embedding(tokens[:, :-1], params["words"])
        before = F.pad(now[:, :-1], (0, 0, 1, 0))
        hidden = torch.tanh(torch.cat([now, before], dim=-1) @ params["W"] + params["b"])
        logps = F.log_softmax(hidden @ params["U"] + params["c"], dim=-1)
        return torch.gather(logps, 2, tokens[:, 1:, None]).squeeze(2)

    liked = token_logps(chosen) * chosen_mask[:, 1:]
    other = token_logps(rejected) * rejected_mask[:, 1:]
    margin = (liked.sum(1) - other.sum(1)) - (frozen[:, 0] - frozen[:, 1])
    preference = -0.9 * F.logsigmoid(0.4 * margin) - 0.1 * F.logsigmoid(-0.4 * margin)
    return {"preference": preference.mean(), "likelihood": -0.2 * liked.sum() / chosen_mask[:, 1:].sum()}


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def policy(params, tokens):
    now = params["words"][tokens[:, :-1]]
    before = np.zeros_like(now)
    before[:, 1:] = now[:, :-1]
    joined = np.concatenate([now, before], axis=2)
    pre = joined @ params["W"] + params["b"]
    hidden = np.tanh(pre)
    scores = hidden @ params["U"] + params["c"]
    scores = scores - scores.max(axis=2, keepdims=True)
    logps = scores - np.log(np.exp(scores).sum(axis=2, keepdims=True))
    return logps, (joined, pre, hidden)


def policy_backward(dlogps, logps, params, tokens, cache):
    joined, pre, hidden = cache
    wide, width = joined.shape[2], params["words"].shape[1]
    picked = np.eye(logps.shape[2])[tokens[:, 1:]]
    dscores = dlogps[:, :, None] * (picked - np.exp(logps))
    dhidden = dscores @ params["U"].T
    dpre = dhidden * (1 - hidden**2)
    djoined = dpre @ params["W"].T
    dnow, dbefore = djoined[:, :, :width], djoined[:, :, width:]
    dwords = np.zeros_like(params["words"])
    np.add.at(dwords, tokens[:, :-1], dnow)
    np.add.at(dwords, tokens[:, :-2], dbefore[:, 1:])
    return {
        "words": dwords,
        "W": joined.reshape(-1, wide).T @ dpre.reshape(-1, dpre.shape[2]),
        "b": dpre.sum(axis=(0, 1)),
        "U": np.einsum("nth,ntv->hv", hidden, dscores),
        "c": dscores.sum(axis=(0, 1)),
    }


def candidate(params, chosen, rejected, chosen_mask, rejected_mask, frozen):
    beta, smoothing, alpha = 0.4, 0.1, 0.2
    pairs = len(chosen)
    tokens = np.concatenate([chosen, rejected], axis=0)
    mask = np.concatenate([chosen_mask, rejected_mask], axis=0)[:, 1:].astype(float)

    logps, cache = policy(params, tokens)
    of_words = np.take_along_axis(logps, tokens[:, 1:, None], axis=2)[:, :, 0]
    answers = (of_words * mask).sum(axis=1)
    liked, other = answers[:pairs], answers[pairs:]
    margin = (liked - other) - (frozen[:, 0] - frozen[:, 1])
    losses = (1 - smoothing) * np.logaddexp(0, -beta * margin) + smoothing * np.logaddexp(0, beta * margin)
    spoken = mask[:pairs].sum()
    loss = losses.mean() - alpha * liked.sum() / spoken

    sure = sigmoid(beta * margin)
    dmargin = beta * (sure - (1 - smoothing)) / pairs
    danswers = np.concatenate([dmargin, -dmargin])
    danswers[:pairs] -= alpha / spoken
    dlogps = danswers[:, None] * mask
    return loss, policy_backward(dlogps, logps, params, tokens, cache)


def problem(rng):
    vocabulary, width, hidden = 7, 3, 4
    params = {
        "words": rng.normal(size=(vocabulary, width)),
        "W": rng.normal(size=(2 * width, hidden)) * 0.7,
        "b": rng.normal(size=hidden) * 0.4,
        "U": rng.normal(size=(hidden, vocabulary)),
        "c": rng.normal(size=vocabulary) * 0.4,
    }
    chosen = rng.integers(0, vocabulary, size=(4, 6))
    rejected = rng.integers(0, vocabulary, size=(4, 6))
    rejected[:, :2] = chosen[:, :2]
    ends = np.arange(6)
    chosen_mask = ((ends >= 2) & (ends < np.array([6, 4, 5, 3])[:, None])).astype(int)
    rejected_mask = ((ends >= 2) & (ends < np.array([5, 6, 4, 6])[:, None])).astype(int)
    frozen = -2.0 * np.stack([chosen_mask.sum(axis=1), rejected_mask.sum(axis=1)], axis=1)
    frozen = frozen + rng.normal(size=(4, 2)) * 0.5
    return params, (chosen, rejected, chosen_mask, rejected_mask, frozen)


WRONG = [
    wrong(
        "weighted_by_how_right_it_already_is",
        "different-function|wrong-operand",
        "dmargin = beta * (sure - (1 - smoothing)) / pairs",
        "dmargin = -beta * (sure - smoothing) / pairs",
    ),
    wrong(
        "both_answers_pushed_up",
        "wrong-sign",
        "danswers = np.concatenate([dmargin, -dmargin])",
        "danswers = np.concatenate([dmargin, dmargin])",
    ),
    wrong(
        "rejected_answer_left_out",
        "missing-path",
        "danswers = np.concatenate([dmargin, -dmargin])",
        "danswers = np.concatenate([dmargin, np.zeros(pairs)])",
    ),
    wrong(
        "answers_averaged_over_their_words_in_both",
        "different-function|wrong-reduction",
        "answers = (of_words * mask).sum(axis=1)",
        "answers = (of_words * mask).sum(axis=1) / mask.sum(axis=1)",
        "dlogps = danswers[:, None] * mask",
        "dlogps = danswers[:, None] * mask / mask.sum(axis=1, keepdims=True)",
    ),
    wrong(
        "prompt_and_padding_learn_too",
        "wrong-operand|missing-derivative",
        "dlogps = danswers[:, None] * mask",
        "dlogps = danswers[:, None] * np.ones_like(mask)",
    ),
    wrong(
        "frozen_model_forgotten_in_the_weight",
        "wrong-operand",
        "sure = sigmoid(beta * margin)",
        "sure = sigmoid(beta * (liked - other))",
    ),
    wrong(
        "beta_forgotten_outside",
        "wrong-scale|missing-derivative|wrong-term-weight",
        "dmargin = beta * (sure - (1 - smoothing)) / pairs",
        "dmargin = (sure - (1 - smoothing)) / pairs",
    ),
    wrong(
        "smoothing_only_in_the_loss",
        "different-function",
        "dmargin = beta * (sure - (1 - smoothing)) / pairs",
        "dmargin = beta * (sure - 1) / pairs",
    ),
    wrong(
        "averaged_over_both_halves",
        "wrong-scale|wrong-term-weight",
        "dmargin = beta * (sure - (1 - smoothing)) / pairs",
        "dmargin = beta * (sure - (1 - smoothing)) / len(tokens)",
    ),
    wrong(
        "likelihood_term_not_differentiated",
        "missing-path|wrong-term-weight",
        "    danswers[:pairs] -= alpha / spoken\n",
        "",
    ),
    wrong(
        "word_before_taken_for_the_word_now",
        "shifted-in-time|wrong-operand",
        "np.add.at(dwords, tokens[:, :-2], dbefore[:, 1:])",
        "np.add.at(dwords, tokens[:, 1:-1], dbefore[:, 1:])",
    ),
    wrong(
        "repeated_words_overwrite",
        "overwritten",
        "    np.add.at(dwords, tokens[:, :-1], dnow)\n",
        "    dwords[tokens[:, :-1]] += dnow\n",
    ),
]

TOGETHER = [
    ("weighted_by_how_right_it_already_is", "repeated_words_overwrite"),
    ("both_answers_pushed_up", "word_before_taken_for_the_word_now"),
    ("beta_forgotten_outside", "likelihood_term_not_differentiated"),
    ("frozen_model_forgotten_in_the_weight", "prompt_and_padding_learn_too"),
]

RIGHT = [
    right(
        "weights_of_both_labels",
        "dmargin = beta * (sure - (1 - smoothing)) / pairs",
        "dmargin = (smoothing * beta * sure - (1 - smoothing) * beta * (1 - sure)) / pairs",
        "    dscores = dlogps[:, :, None] * (picked - np.exp(logps))\n",
        "    dscores = -dlogps[:, :, None] * np.exp(logps)\n"
        "    rows = np.arange(len(tokens))[:, None]\n"
        "    dscores[rows, np.arange(logps.shape[1]), tokens[:, 1:]] += dlogps\n",
        "    picked = np.eye(logps.shape[2])[tokens[:, 1:]]\n",
        "",
    ),
]
