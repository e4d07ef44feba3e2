"""Skip-gram as an assignment has it: both tables in one matrix, unit centres, windows and negatives in nested loops."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, centers, outside, negatives):
    V = params["bias"].shape[0]
    v = F.normalize(params["vectors"][:V], dim=1)[centers]
    U = params["vectors"][V:]
    positive = torch.einsum("nd,ncd->nc", v, U[outside]) + params["bias"][outside]
    negative = torch.einsum("nd,nckd->nck", v, U[negatives]) + params["bias"][negatives]
    return -(F.logsigmoid(positive).sum() + F.logsigmoid(-negative).sum()) / len(centers)


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def length(v):
    return np.sqrt(np.sum(v**2))


def neg_sampling_loss(vc, o, negs, U, b):
    u_o = U[o]
    u_k = U[negs]
    good = sigmoid(np.dot(u_o, vc) + b[o])
    bad = sigmoid(-(np.dot(u_k, vc) + b[negs]))
    cost = -np.log(good) - np.sum(np.log(bad))
    return cost, good, bad


def neg_sampling_gradient(vc, o, negs, U, good, bad):
    gradU = np.zeros(U.shape)
    gradb = np.zeros(len(U))
    # the true word
    gradv = (good - 1) * U[o]
    gradU[o] += (good - 1) * vc
    gradb[o] += good - 1
    # the negative samples, which may contain a word twice
    gradv += np.dot(1 - bad, U[negs])
    np.add.at(gradU, negs, np.outer(1 - bad, vc))
    np.add.at(gradb, negs, 1 - bad)
    return gradv, gradU, gradb


def candidate(params, centers, outside, negatives):
    vectors = params["vectors"]
    b = params["bias"]
    V = len(b)
    center_vectors, U = vectors[:V], vectors[V:]
    batch_size = len(centers)

    probabilities = {}
    cost = 0.0
    for i in range(batch_size):
        w = center_vectors[centers[i]]
        vc = w / length(w)
        for j in range(outside.shape[1]):
            c, good, bad = neg_sampling_loss(vc, outside[i, j], negatives[i, j], U, b)
            probabilities[i, j] = (good, bad)
            cost += c
    loss = cost / batch_size

    grad = np.zeros(vectors.shape)
    db = np.zeros(V)
    for i in range(batch_size):
        w = center_vectors[centers[i]]
        vc = w / length(w)
        dvc = np.zeros_like(vc)
        for j in range(outside.shape[1]):
            good, bad = probabilities[i, j]
            gv, gU, gb = neg_sampling_gradient(vc, outside[i, j], negatives[i, j], U, good, bad)
            dvc += gv
            grad[V:] += gU / batch_size
            db += gb / batch_size
        dw = (dvc - vc * np.dot(vc, dvc)) / length(w)
        grad[centers[i]] += dw / batch_size
    return loss, {"vectors": grad, "bias": db}


def problem(rng):
    V, d, n, C, K = 7, 4, 6, 3, 4
    params = {"vectors": rng.normal(size=(2 * V, d)) * 1.3, "bias": rng.normal(size=V) * 0.5}
    centers = np.array([2, 5, 2, 0, 6, 5])
    outside = rng.integers(V, size=(n, C))
    negatives = rng.integers(V, size=(n, C, K))
    negatives[::2, :, 1] = negatives[::2, :, 3]
    return params, (centers, outside, negatives)


WRONG = [
    wrong(
        "repeated_negatives_counted_once",
        "overwritten",
        "np.add.at(gradU, negs, np.outer(1 - bad, vc))",
        "gradU[negs] += np.outer(1 - bad, vc)",
    ),
    wrong(
        "bad_for_one_less_bad",
        "wrong-operand|derivative-at-wrong-point|different-function",
        "np.add.at(gradU, negs, np.outer(1 - bad, vc))",
        "np.add.at(gradU, negs, np.outer(bad, vc))",
    ),
    wrong("true_word_pushed_away", "wrong-sign", "gradU[o] += (good - 1) * vc", "gradU[o] -= (good - 1) * vc"),
    wrong(
        "length_of_the_center_taken_as_constant",
        "missing-path|diagonal-jacobian",
        "dw = (dvc - vc * np.dot(vc, dvc)) / length(w)",
        "dw = dvc / length(w)",
    ),
    wrong(
        "not_divided_by_the_length",
        "missing-derivative",
        "dw = (dvc - vc * np.dot(vc, dvc)) / length(w)",
        "dw = dvc - vc * np.dot(vc, dvc)",
    ),
    wrong(
        "projected_along_the_raw_vector",
        "wrong-operand",
        "dw = (dvc - vc * np.dot(vc, dvc)) / length(w)",
        "dw = (dvc - w * np.dot(vc, dvc)) / length(w)",
    ),
    wrong("biases_of_the_negatives_forgotten", "missing-path", "    np.add.at(gradb, negs, 1 - bad)\n", ""),
    wrong("center_not_moved_by_negatives", "missing-path", "    gradv += np.dot(1 - bad, U[negs])\n", ""),
    wrong(
        "center_written_into_the_other_half",
        "wrong-operand",
        "grad[centers[i]] += dw / batch_size",
        "grad[V + centers[i]] += dw / batch_size",
    ),
    wrong(
        "last_window_of_a_center_only",
        "overwritten|one-sample-only",
        "grad[centers[i]] += dw / batch_size",
        "grad[centers[i]] = dw / batch_size",
    ),
    wrong(
        "last_context_word_only",
        "overwritten|last-step-only",
        "            dvc += gv\n",
        "            dvc = gv\n",
    ),
    wrong(
        "negatives_of_the_first_context_word",
        "wrong-operand",
        "neg_sampling_gradient(vc, outside[i, j], negatives[i, j], U, good, bad)",
        "neg_sampling_gradient(vc, outside[i, j], negatives[i, 0], U, good, bad)",
    ),
    wrong(
        "centers_not_normalised_in_both",
        "different-function",
        "        vc = w / length(w)\n        for j",
        "        vc = w\n        for j",
        "        vc = w / length(w)\n        dvc",
        "        vc = w\n        dvc",
        "dw = (dvc - vc * np.dot(vc, dvc)) / length(w)",
        "dw = dvc",
    ),
    wrong(
        "negatives_averaged_in_both",
        "different-function|wrong-reduction|wrong-term-weight",
        "np.sum(np.log(bad))",
        "np.mean(np.log(bad))",
        "gradv += np.dot(1 - bad, U[negs])",
        "gradv += np.dot(1 - bad, U[negs]) / len(negs)",
        "np.outer(1 - bad, vc))",
        "np.outer(1 - bad, vc) / len(negs))",
        "np.add.at(gradb, negs, 1 - bad)",
        "np.add.at(gradb, negs, (1 - bad) / len(negs))",
    ),
]

TOGETHER = [
    ("repeated_negatives_counted_once", "length_of_the_center_taken_as_constant"),
    ("bad_for_one_less_bad", "not_divided_by_the_length"),
    ("true_word_pushed_away", "biases_of_the_negatives_forgotten"),
    ("length_of_the_center_taken_as_constant", "last_window_of_a_center_only"),
    ("center_not_moved_by_negatives", "repeated_negatives_counted_once"),
    ("biases_of_the_negatives_forgotten", "projected_along_the_raw_vector"),
    ("centers_not_normalised_in_both", "true_word_pushed_away"),
    ("last_context_word_only", "not_divided_by_the_length"),
    ("true_word_pushed_away", "biases_of_the_negatives_forgotten", "not_divided_by_the_length"),
    ("repeated_negatives_counted_once", "center_not_moved_by_negatives", "length_of_the_center_taken_as_constant"),
]

RIGHT = [
    right(
        "negatives_one_by_one",
        "    np.add.at(gradU, negs, np.outer(1 - bad, vc))\n    np.add.at(gradb, negs, 1 - bad)\n",
        "    for q, k in enumerate(negs):\n"
        "        gradU[k] += (1 - bad[q]) * vc\n"
        "        gradb[k] = gradb[k] + (1 - bad[q])\n",
    ),
    right(
        "projection_as_a_matrix_and_division_last",
        "dw = (dvc - vc * np.dot(vc, dvc)) / length(w)",
        "dw = (np.eye(len(w)) / length(w) - np.outer(w, w) / length(w) ** 3).dot(dvc)",
        "grad[V:] += gU / batch_size",
        "grad[V:] += gU",
        "db += gb / batch_size",
        "db += gb",
        "grad[centers[i]] += dw / batch_size",
        "grad[centers[i]] += dw",
        '{"vectors": grad, "bias": db}',
        '{"vectors": grad / batch_size, "bias": db / batch_size}',
    ),
]
