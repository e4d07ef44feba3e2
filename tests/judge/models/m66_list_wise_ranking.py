"""Documents ranked for queries by two towers: the Plackett-Luce likelihood of the first places, discounted by place."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, query, document, grade):
    q = query @ params["A"]
    d = torch.tanh(torch.einsum("nlf,fk->nlk", document, params["B"]) + params["c"])
    score = torch.einsum("nk,nlk->nl", q, d) / torch.exp(params["log_temperature"])
    order = torch.argsort(grade, dim=1, descending=True)
    ranked = torch.gather(score, 1, order)
    remaining = torch.logcumsumexp(ranked.flip(1), dim=1).flip(1)
    place = torch.arange(4, dtype=score.dtype)
    discount = 1 / torch.log2(place + 2)
    likelihood = (discount * (remaining - ranked)[:, :4]).sum(dim=1).mean()
    return {"ranking": likelihood, "centring": 0.3 * score.mean(dim=1).square().mean()}


def towers(params, query, document):
    q = query @ params["A"]
    d = np.tanh(document @ params["B"] + params["c"])
    heat = np.exp(params["log_temperature"])
    score = np.matmul(d, q[:, :, None])[:, :, 0] / heat
    return q, d, heat, score


def candidate(params, query, document, grade):
    q, d, heat, score = towers(params, query, document)
    queries, documents = score.shape
    top = 4
    discount = [1 / np.log2(place + 2) for place in range(top)]
    ranking = [np.argsort(-row) for row in grade]

    nll = 0.0
    for i in range(queries):
        ranked = score[i, ranking[i]]
        for place in range(top):
            nll += discount[place] * (np.log(np.exp(ranked[place:]).sum()) - ranked[place])
    average = score.mean(axis=1)
    loss = nll / queries + 0.3 * np.mean(average**2)

    d_score = np.zeros_like(score)
    for i in range(queries):
        for place in range(top):
            rest = ranking[i][place:]
            chance = np.exp(score[i, rest])
            chance = chance / chance.sum()
            d_score[i, rest] += discount[place] * chance
            d_score[i, rest[0]] -= discount[place]
    d_score = d_score / queries
    d_score = d_score + (0.6 / documents / queries) * average[:, None]

    d_heat = -np.sum(d_score * score) / heat
    d_dot = d_score / heat
    d_q = np.sum(d_dot[:, :, None] * d, axis=1)
    d_d = d_dot[:, :, None] * q[:, None, :]
    d_pre = d_d * (1 - d * d)
    return loss, {
        "A": query.T @ d_q,
        "B": np.tensordot(document, d_pre, axes=([0, 1], [0, 1])),
        "c": d_pre.sum(axis=(0, 1)),
        "log_temperature": d_heat * heat,
    }


def problem(rng):
    params = {
        "A": rng.normal(size=(6, 2)) * 0.7,
        "B": rng.normal(size=(3, 2)),
        "c": rng.normal(size=2) * 0.5,
        "log_temperature": np.array(-0.4),
    }
    grade = np.stack([rng.permutation(7) for _ in range(5)])
    return params, (rng.normal(size=(5, 6)), rng.normal(size=(5, 7, 3)), grade)


WRONG = [
    wrong("chosen_document_forgotten", "missing-path", "            d_score[i, rest[0]] -= discount[place]\n", ""),
    wrong(
        "remaining_documents_forgotten",
        "missing-path",
        "            d_score[i, rest] += discount[place] * chance\n",
        "",
    ),
    wrong(
        "places_overwrite",
        "overwritten|last-step-only",
        "d_score[i, rest] += discount[place] * chance",
        "d_score[i, rest] = discount[place] * chance",
    ),
    wrong(
        "all_documents_at_every_place",
        "wrong-operand|different-function",
        "            rest = ranking[i][place:]\n",
        "            rest = np.roll(ranking[i], -place)\n",
    ),
    wrong(
        "first_place_only",
        "truncated-in-time|missing-path|last-step-only",
        "            rest = ranking[i][place:]\n",
        "            if place > 0:\n                break\n            rest = ranking[i][place:]\n",
    ),
    wrong(
        "remaining_without_the_chosen",
        "shifted-in-time|wrong-operand|missing-path",
        "            chance = np.exp(score[i, rest])\n",
        "            chance = np.exp(score[i, rest]) * (rest != rest[0])\n",
    ),
    wrong(
        "scores_not_reordered",
        "wrong-operand",
        "chance = np.exp(score[i, rest])",
        "chance = np.exp(score[i, place:])",
    ),
    wrong(
        "worst_documents_first_in_both",
        "flipped|wrong-operand|different-function",
        "ranking = [np.argsort(-row) for row in grade]",
        "ranking = [np.argsort(row) for row in grade]",
    ),
    wrong(
        "discounts_forgotten",
        "missing-derivative|wrong-operand|different-function",
        "d_score[i, rest] += discount[place] * chance\n            d_score[i, rest[0]] -= discount[place]",
        "d_score[i, rest] += chance\n            d_score[i, rest[0]] -= 1",
    ),
    wrong(
        "not_normalised",
        "missing-derivative|different-function",
        "            chance = chance / chance.sum()\n",
        "",
    ),
    wrong(
        "not_averaged_over_queries",
        "wrong-term-weight|wrong-scale|wrong-reduction",
        "    d_score = d_score / queries\n",
        "",
    ),
    wrong(
        "centring_not_divided_by_documents",
        "wrong-term-weight|wrong-scale|wrong-reduction",
        "(0.6 / documents / queries)",
        "(0.6 / queries)",
    ),
    wrong("temperature_forgotten", "missing-derivative", "d_dot = d_score / heat", "d_dot = d_score"),
    wrong("temperature_sign", "wrong-sign", "d_heat = -np.sum", "d_heat = np.sum"),
    wrong(
        "temperature_not_through_its_logarithm",
        "missing-derivative",
        '"log_temperature": d_heat * heat',
        '"log_temperature": d_heat',
    ),
    wrong(
        "tanh_slope_of_the_tanh",
        "derivative-at-wrong-point",
        "d_pre = d_d * (1 - d * d)",
        "d_pre = d_d * (1 - np.tanh(d) ** 2)",
    ),
    wrong(
        "query_averaged_over_documents",
        "wrong-scale|wrong-reduction",
        "np.sum(d_dot[:, :, None] * d, axis=1)",
        "np.mean(d_dot[:, :, None] * d, axis=1)",
    ),
    wrong(
        "pairwise_logistic_in_both",
        "different-function",
        "(np.log(np.exp(ranked[place:]).sum()) - ranked[place])",
        "np.sum(np.logaddexp(0, ranked[place + 1 :] - ranked[place]))",
        "            chance = np.exp(score[i, rest])\n            chance = chance / chance.sum()\n",
        "            chance = 1 / (1 + np.exp(score[i, rest[0]] - score[i, rest]))\n"
        "            chance[0] = 1 - chance[1:].sum()\n",
    ),
    wrong(
        "natural_logarithm_in_the_discount_in_both",
        "different-function|wrong-term-weight|wrong-scale",
        "[1 / np.log2(place + 2) for",
        "[1 / np.log(place + 2) for",
    ),
    wrong(
        "cost_of_the_scores_in_their_first_order", "wrong-loss", "ranked = score[i, ranking[i]]", "ranked = score[i]"
    ),
]

TOGETHER = [
    ("chosen_document_forgotten", "temperature_not_through_its_logarithm"),
    ("places_overwrite", "temperature_sign"),
    ("discounts_forgotten", "query_averaged_over_documents"),
    ("scores_not_reordered", "tanh_slope_of_the_tanh"),
    ("not_normalised", "centring_not_divided_by_documents"),
    ("remaining_documents_forgotten", "temperature_forgotten", "tanh_slope_of_the_tanh"),
]

RIGHT = [
    right(
        "cumulative_sums",
        "            rest = ranking[i][place:]\n            chance = np.exp(score[i, rest])\n"
        "            chance = chance / chance.sum()\n"
        "            d_score[i, rest] += discount[place] * chance\n"
        "            d_score[i, rest[0]] -= discount[place]\n",
        "            d_score[i, ranking[i][place]] -= discount[place]\n"
        "        raised = np.exp(score[i, ranking[i]])\n"
        "        remaining = np.cumsum(raised[::-1])[::-1][:top]\n"
        "        reached = np.cumsum(np.append(discount / remaining, np.zeros(documents - top)))\n"
        "        d_score[i, ranking[i]] += raised * reached\n",
    ),
    right(
        "chosen_within_the_softmax",
        "            d_score[i, rest] += discount[place] * chance\n"
        "            d_score[i, rest[0]] -= discount[place]\n",
        "            chance[0] -= 1\n            d_score[i, rest] += discount[place] * chance\n",
    ),
    right(
        "query_by_query",
        '        "B": np.tensordot(document, d_pre, axes=([0, 1], [0, 1])),\n',
        '        "B": sum(one.T @ back for one, back in zip(document, d_pre)),\n',
    ),
]
