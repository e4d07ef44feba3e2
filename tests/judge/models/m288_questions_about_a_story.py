"""An end-to-end memory network: three hops over sentences of a story, adjacent tables, places, gaps; story by story."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, stories, there, questions, answers):
    E = params["E"]
    hops = E.shape[0] - 1
    u = questions @ E[0]
    for h in range(hops):
        m = stories @ E[h] + params["TA"]
        c = stories @ E[h + 1] + params["TC"]
        score = torch.einsum("nsd,nd->ns", m, u).masked_fill(there == 0, -torch.inf)
        o = torch.einsum("ns,nsd->nd", torch.softmax(score, dim=1), c)
        u = u @ params["H"] + o
        if h < hops - 1:
            u = torch.relu(u)
    return F.cross_entropy(u @ E[-1].T, answers)


def softmax(x):
    x = np.exp(x - np.max(x))
    return x / x.sum()


def attend(u, m, c, mask):
    score = np.dot(m, u)
    score[mask == 0] = -1e9
    p = softmax(score)
    o = np.dot(p, c)
    return o, p


def candidate(params, stories, there, questions, answers):
    E, H, TA, TC = params["E"], params["H"], params["TA"], params["TC"]
    n_hops = len(E) - 1
    n_stories = len(stories)

    caches = []
    loss = 0.0
    for k in range(n_stories):
        story = stories[k]
        u = {0: np.dot(questions[k], E[0])}
        m, c, p, o, z = {}, {}, {}, {}, {}
        for h in range(n_hops):
            m[h] = np.dot(story, E[h]) + TA
            c[h] = np.dot(story, E[h + 1]) + TC
            o[h], p[h] = attend(u[h], m[h], c[h], there[k])
            z[h] = np.dot(u[h], H) + o[h]
            u[h + 1] = np.maximum(z[h], 0) if h < n_hops - 1 else z[h]
        a_hat = softmax(np.dot(E[n_hops], u[n_hops]))
        loss += -np.log(a_hat[answers[k]]) / n_stories
        caches.append((u, m, c, p, z, a_hat))

    dE = np.zeros_like(E)
    dH = np.zeros_like(H)
    dTA = np.zeros_like(TA)
    dTC = np.zeros_like(TC)
    for k in range(n_stories):
        u, m, c, p, z, a_hat = caches[k]
        story = stories[k]
        # answer
        dlogits = a_hat.copy()
        dlogits[answers[k]] -= 1
        dlogits = dlogits / n_stories
        dE[n_hops] += np.outer(dlogits, u[n_hops])
        du = np.dot(E[n_hops].T, dlogits)
        # hops, last one first
        for h in range(n_hops - 1, -1, -1):
            if h < n_hops - 1:
                du = du * (z[h] > 0)
            do = du
            dH += np.outer(u[h], du)
            # output memory
            dc = np.outer(p[h], do)
            dE[h + 1] += np.dot(story.T, dc)
            dTC += dc
            # softmax over the sentences
            dp = np.dot(c[h], do)
            dscore = p[h] * (dp - np.dot(p[h], dp))
            # input memory
            dm = np.outer(dscore, u[h])
            dE[h] += np.dot(story.T, dm)
            dTA += dm
            du = np.dot(H, du) + np.dot(dscore, m[h])
        dE[0] += np.outer(questions[k], du)
    return loss, {"E": dE, "H": dH, "TA": dTA, "TC": dTC}


def problem(rng):
    n, S, V, d, hops = 5, 4, 6, 4, 3
    params = {
        "E": rng.normal(size=(hops + 1, V, d)) * 0.6,
        "H": rng.normal(size=(d, d)) * 0.7,
        "TA": rng.normal(size=(S, d)) * 0.4,
        "TC": rng.normal(size=(S, d)) * 0.4,
    }
    there = np.ones((n, S))
    there[1, 3:], there[3, 2:] = 0, 0
    stories = rng.poisson(0.7, size=(n, S, V)) * there[:, :, None]
    return params, (stories, there, rng.poisson(0.8, size=(n, V)) * 1.0, rng.integers(V, size=n))


WRONG = [
    wrong(
        "softmax_as_if_each_by_itself",
        "diagonal-jacobian|missing-path",
        "dscore = p[h] * (dp - np.dot(p[h], dp))",
        "dscore = p[h] * (1 - p[h]) * dp",
    ),
    wrong(
        "softmax_forgotten", "missing-derivative", "dscore = p[h] * (dp - np.dot(p[h], dp))", "dscore = dp * there[k]"
    ),
    wrong(
        "H_not_transposed",
        "not-transposed",
        "du = np.dot(H, du) +",
        "du = np.dot(H.T, du) +",
    ),
    wrong("H_gradient_transposed", "transposed", "dH += np.outer(u[h], du)", "dH += np.outer(du, u[h])"),
    wrong(
        "question_not_carried_past_the_memory",
        "missing-path|truncated-in-time",
        "du = np.dot(H, du) + np.dot(dscore, m[h])",
        "du = np.dot(dscore, m[h])",
    ),
    wrong(
        "scores_do_not_reach_the_question",
        "missing-path|truncated-in-time",
        "du = np.dot(H, du) + np.dot(dscore, m[h])",
        "du = np.dot(H, du)",
    ),
    wrong(
        "output_memory_for_input_memory",
        "wrong-operand",
        "+ np.dot(dscore, m[h])",
        "+ np.dot(dscore, c[h])",
    ),
    wrong(
        "input_memory_into_the_next_table",
        "wrong-operand|shifted-in-time",
        "dE[h] += np.dot(story.T, dm)",
        "dE[h + 1] += np.dot(story.T, dm)",
    ),
    wrong(
        "table_of_the_answers_overwritten",
        "overwritten|missing-path",
        "dE[h + 1] += np.dot(story.T, dc)",
        "dE[h + 1] = np.dot(story.T, dc)",
    ),
    wrong(
        "question_after_the_hop",
        "shifted-in-time|wrong-operand",
        "dm = np.outer(dscore, u[h])",
        "dm = np.outer(dscore, u[h + 1])",
    ),
    wrong("relu_forgotten", "missing-derivative", "du = du * (z[h] > 0)", "du = du * 1"),
    wrong(
        "places_of_the_last_hop_only", "overwritten|last-step-only", "            dTC += dc\n", "            dTC = dc\n"
    ),
    wrong("question_table_forgotten", "missing-path", "        dE[0] += np.outer(questions[k], du)\n", ""),
    wrong(
        "relu_after_the_last_hop_too",
        "different-function",
        "np.maximum(z[h], 0) if h < n_hops - 1 else z[h]",
        "np.maximum(z[h], 0)",
        "            if h < n_hops - 1:\n                du = du * (z[h] > 0)\n",
        "            du = du * (z[h] > 0)\n",
    ),
    wrong(
        "gaps_take_part_in_both",
        "different-function",
        "    score[mask == 0] = -1e9\n",
        "",
    ),
]

TOGETHER = [
    ("softmax_as_if_each_by_itself", "H_not_transposed"),
    ("softmax_forgotten", "relu_forgotten"),
    ("H_gradient_transposed", "output_memory_for_input_memory"),
    ("scores_do_not_reach_the_question", "question_after_the_hop"),
    ("question_not_carried_past_the_memory", "places_of_the_last_hop_only"),
    ("input_memory_into_the_next_table", "question_table_forgotten"),
    ("gaps_take_part_in_both", "relu_forgotten"),
    ("H_not_transposed", "question_table_forgotten"),
    ("softmax_as_if_each_by_itself", "relu_forgotten", "H_gradient_transposed"),
    ("H_not_transposed", "output_memory_for_input_memory", "places_of_the_last_hop_only"),
]

RIGHT = [
    right(
        "jacobian_of_the_softmax",
        "dscore = p[h] * (dp - np.dot(p[h], dp))",
        "dscore = np.dot(np.diag(p[h]) - np.outer(p[h], p[h]), dp)",
        "dE[n_hops] += np.outer(dlogits, u[n_hops])",
        "dE[-1] += np.dot(dlogits.reshape(-1, 1), u[n_hops].reshape(1, -1))",
    ),
    right(
        "contributions_by_loops_over_sentences",
        "            dE[h] += np.dot(story.T, dm)\n            dTA += dm\n",
        "            for s in range(len(story)):\n"
        "                dE[h] += np.outer(story[s], dm[s])\n"
        "                dTA[s] += dm[s]\n",
        "du = np.dot(H, du) + np.dot(dscore, m[h])",
        "du = sum(dscore[s] * m[h][s] for s in range(len(story))) + np.dot(du, H.T)",
    ),
]
