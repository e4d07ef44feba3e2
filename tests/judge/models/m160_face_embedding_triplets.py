"""Face embeddings in the manner of FaceNet: one network on anchor, positive and negative, unit norm, triplet hinge."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, anchors, positives, negatives):
    def embed(x):
        h = torch.sigmoid(F.linear(x, params["U"], params["p"]))
        return F.normalize(F.linear(h, params["V"], params["q"]), dim=1)

    a, p, n = embed(anchors), embed(positives), embed(negatives)
    gap = (a - p).square().sum(dim=1) - (a - n).square().sum(dim=1)
    return {"triplet": torch.relu(gap + 0.6).mean(), "pull": 0.1 * (1 - (a * p).sum(dim=1)).mean()}


def embed(x, U, p, V, q):
    h = 1 / (1 + np.exp(-(np.dot(U, x) + p)))
    e = np.dot(V, h) + q
    r = np.sqrt(np.dot(e, e))
    return e / r, h, r


def candidate(params, anchors, positives, negatives):
    U, p, V, q = params["U"], params["p"], params["V"], params["q"]
    m = anchors.shape[0]
    alpha, beta = 0.6, 0.1
    dU = np.zeros(U.shape)
    dp = np.zeros(p.shape)
    dV = np.zeros(V.shape)
    dq = np.zeros(q.shape)
    loss = 0.0
    hinge = np.zeros(m)
    pull = np.zeros(m)
    saved = []

    for i in range(m):
        fa, ha, ra = embed(anchors[i], U, p, V, q)
        fp, hp, rp = embed(positives[i], U, p, V, q)
        fn, hn, rn = embed(negatives[i], U, p, V, q)
        pos_dist = np.sum((fa - fp) ** 2)
        neg_dist = np.sum((fa - fn) ** 2)
        hinge[i] = pos_dist - neg_dist + alpha
        pull[i] = 1 - np.dot(fa, fp)
        saved.append([(fa, ha, ra), (fp, hp, rp), (fn, hn, rn)])
    loss = np.mean(np.maximum(hinge, 0)) + beta * np.mean(pull)

    for i in range(m):
        (fa, ha, ra), (fp, hp, rp), (fn, hn, rn) = saved[i]
        active = 1.0 if hinge[i] > 0 else 0.0

        # d/da of |a-p|^2 - |a-n|^2 is 2(n - p), and so on
        dfa = active * 2 * (fn - fp)
        dfp = active * 2 * (fp - fa)
        dfn = active * 2 * (fa - fn)

        # cosine
        dfa -= beta * fp
        dfp -= beta * fa

        # through e / |e|
        dea = (dfa - fa * np.dot(fa, dfa)) / ra
        dep = (dfp - fp * np.dot(fp, dfp)) / rp
        den = (dfn - fn * np.dot(fn, dfn)) / rn

        dV += np.outer(dea, ha)
        dV += np.outer(dep, hp)
        dV += np.outer(den, hn)
        dq += dea + dep + den

        dza = np.dot(V.T, dea) * ha * (1 - ha)
        dzp = np.dot(V.T, dep) * hp * (1 - hp)
        dzn = np.dot(V.T, den) * hn * (1 - hn)

        dU += np.outer(dza, anchors[i])
        dU += np.outer(dzp, positives[i])
        dU += np.outer(dzn, negatives[i])
        dp += dza + dzp + dzn

    return loss, {"V": dV / m, "q": dq / m, "U": dU / m, "p": dp / m}


def problem(rng):
    n, inputs, hidden, size = 6, 7, 5, 4
    params = {
        "U": rng.normal(size=(hidden, inputs)) * 0.8,
        "p": rng.normal(size=hidden) * 0.4,
        "V": rng.normal(size=(size, hidden)),
    }
    params["q"] = 0.2 * rng.normal(size=size) - 0.5 * params["V"].sum(axis=1)
    anchors = rng.normal(size=(n, inputs))
    positives = anchors + np.array([[0.8, 1.0, 0.9, 1.1, 0.2, 0.3]]).T * rng.normal(size=(n, inputs))
    negatives = np.concatenate([anchors[:4] + 1.2 * rng.normal(size=(4, inputs)), -1.5 * anchors[4:]])
    return params, (anchors, positives, negatives)


WRONG = [
    wrong(
        "anchor_norm_held_constant",
        "missing-path|diagonal-jacobian",
        "dea = (dfa - fa * np.dot(fa, dfa)) / ra",
        "dea = dfa / ra",
    ),
    wrong(
        "embedding_taken_as_unnormalised_for_negatives",
        "missing-derivative",
        "den = (dfn - fn * np.dot(fn, dfn)) / rn",
        "den = dfn",
    ),
    wrong(
        "projection_without_the_length",
        "missing-derivative",
        "dep = (dfp - fp * np.dot(fp, dfp)) / rp",
        "dep = dfp - fp * np.dot(fp, dfp)",
    ),
    wrong(
        "projected_elementwise",
        "diagonal-jacobian",
        "dea = (dfa - fa * np.dot(fa, dfa)) / ra",
        "dea = dfa * (1 - fa**2) / ra",
    ),
    wrong(
        "projected_on_the_wrong_embedding",
        "wrong-operand",
        "dep = (dfp - fp * np.dot(fp, dfp)) / rp",
        "dep = (dfp - fa * np.dot(fa, dfp)) / rp",
    ),
    wrong(
        "easy_triplets_push_too",
        "missing-derivative|different-function",
        "active = 1.0 if hinge[i] > 0 else 0.0",
        "active = 1.0",
    ),
    wrong(
        "margin_forgotten_in_the_active_test",
        "different-function|wrong-operand|derivative-at-wrong-point",
        "active = 1.0 if hinge[i] > 0 else 0.0",
        "active = 1.0 if hinge[i] > alpha else 0.0",
    ),
    wrong(
        "factor_two_of_the_anchor_forgotten",
        "wrong-scale",
        "dfa = active * 2 * (fn - fp)",
        "dfa = active * (fn - fp)",
    ),
    wrong(
        "anchor_pulled_only_to_the_positive",
        "missing-path",
        "dfa = active * 2 * (fn - fp)",
        "dfa = active * 2 * (fa - fp)",
    ),
    wrong(
        "negative_pulled_instead_of_pushed",
        "wrong-sign",
        "dfn = active * 2 * (fa - fn)",
        "dfn = active * 2 * (fn - fa)",
    ),
    wrong(
        "cosine_term_only_for_the_anchor",
        "missing-path",
        "        dfp -= beta * fa\n",
        "",
    ),
    wrong(
        "cosine_term_replaces_the_hinge_for_the_anchor",
        "overwritten|missing-path",
        "        dfa -= beta * fp\n",
        "        dfa = -beta * fp\n",
    ),
    wrong(
        "positive_branch_assigned_over_the_anchors",
        "overwritten",
        "dV += np.outer(dep, hp)",
        "dV = np.outer(dep, hp)",
    ),
    wrong(
        "hidden_layer_of_the_anchor_for_the_negative",
        "wrong-operand",
        "dV += np.outer(den, hn)",
        "dV += np.outer(den, ha)",
    ),
    wrong(
        "negative_branch_forgotten_in_first_layer",
        "missing-path",
        "        dU += np.outer(dzn, negatives[i])\n",
        "",
    ),
    wrong(
        "margin_forgotten_in_cost",
        "wrong-loss",
        "loss = np.mean(np.maximum(hinge, 0))",
        "loss = np.mean(np.maximum(hinge - alpha, 0))",
    ),
]

TOGETHER = [
    ("anchor_norm_held_constant", "hidden_layer_of_the_anchor_for_the_negative"),
    ("easy_triplets_push_too", "cosine_term_only_for_the_anchor"),
    ("factor_two_of_the_anchor_forgotten", "projection_without_the_length"),
    ("negative_pulled_instead_of_pushed", "negative_branch_forgotten_in_first_layer"),
    ("projected_elementwise", "margin_forgotten_in_the_active_test"),
    ("projected_on_the_wrong_embedding", "cosine_term_replaces_the_hinge_for_the_anchor"),
    (
        "embedding_taken_as_unnormalised_for_negatives",
        "anchor_pulled_only_to_the_positive",
        "negative_branch_forgotten_in_first_layer",
    ),
]

RIGHT = [
    right(
        "jacobian_of_the_norm_written_out",
        "dea = (dfa - fa * np.dot(fa, dfa)) / ra",
        "dea = np.dot(np.eye(len(fa)) - np.outer(fa, fa), dfa) / ra",
        "        dV += np.outer(dea, ha)\n        dV += np.outer(dep, hp)\n        dV += np.outer(den, hn)\n",
        "        dV += np.stack([dea, dep, den]).T @ np.stack([ha, hp, hn])\n",
    ),
]
