"""Boxes found by the cells of a grid, after YOLO: leaky 3x3 convolution, five terms by loops, roots of the sizes."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, images, present, boxes, labels):
    n, _, S, _ = images.shape
    hidden = F.leaky_relu(F.conv2d(images, params["K"], params["b"], padding=1), 0.1)
    raw = hidden.permute(0, 2, 3, 1) @ params["W"] + params["c"]
    conf, centre = torch.sigmoid(raw[..., 0]), torch.sigmoid(raw[..., 1:3])
    size, scores = torch.exp(raw[..., 3:5]), raw[..., 5:]
    xy = ((centre - boxes[..., :2]) ** 2).sum(dim=3)
    wh = ((torch.sqrt(size) - torch.sqrt(boxes[..., 2:])) ** 2).sum(dim=3)
    kinds = F.cross_entropy(scores.permute(0, 3, 1, 2), labels, reduction="none")
    return {
        "coordinates": 5.0 * (present * (xy + wh)).sum() / n,
        "object": (present * (conf - 1) ** 2).sum() / n,
        "nothing": 0.5 * ((1 - present) * conf**2).sum() / n,
        "class": (present * kinds).sum() / n,
    }


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def conv_forward(X, K, b):
    N, C, H, W = X.shape
    X_pad = np.pad(X, ((0, 0), (0, 0), (1, 1), (1, 1)))
    Z = np.zeros((N, K.shape[0], H, W))
    for i in range(H):
        for j in range(W):
            window = X_pad[:, :, i : i + 3, j : j + 3]
            Z[:, :, i, j] = np.tensordot(window, K, axes=([1, 2, 3], [1, 2, 3])) + b
    return Z, X_pad


def conv_backward(dZ, X_pad, K):
    dK = np.zeros_like(K)
    db = np.zeros(K.shape[0])
    for i in range(dZ.shape[2]):
        for j in range(dZ.shape[3]):
            window = X_pad[:, :, i : i + 3, j : j + 3]
            dK += np.tensordot(dZ[:, :, i, j], window, axes=([0], [0]))
            db += dZ[:, :, i, j].sum(axis=0)
    return dK, db


def cell_loss(raw, obj, box, label, l_coord, l_noobj):
    conf = sigmoid(raw[0])
    if not obj:
        return l_noobj * conf**2
    xy = sigmoid(raw[1:3])
    wh = np.exp(raw[3:5])
    coord = np.sum((xy - box[:2]) ** 2) + np.sum((np.sqrt(wh) - np.sqrt(box[2:])) ** 2)
    scores = raw[5:] - np.max(raw[5:])
    log_probs = scores - np.log(np.sum(np.exp(scores)))
    return l_coord * coord + (conf - 1) ** 2 - log_probs[label]


def cell_gradient(raw, obj, box, label, l_coord, l_noobj):
    d = np.zeros_like(raw)
    conf = sigmoid(raw[0])
    if not obj:
        d[0] = 2 * l_noobj * conf * conf * (1 - conf)
        return d
    d[0] = 2 * (conf - 1) * conf * (1 - conf)
    # x and y inside the cell
    xy = sigmoid(raw[1:3])
    d[1:3] = 2 * l_coord * (xy - box[:2]) * xy * (1 - xy)
    # roots of width and height
    wh = np.exp(raw[3:5])
    root = np.sqrt(wh)
    droot = 2 * l_coord * (root - np.sqrt(box[2:]))
    dwh = droot / (2 * root)
    d[3:5] = dwh * wh
    # class
    probs = np.exp(raw[5:] - np.max(raw[5:]))
    probs /= np.sum(probs)
    d[5:] = probs
    d[5 + label] -= 1
    return d


def candidate(params, images, present, boxes, labels):
    N, _, S, _ = images.shape
    W, c = params["W"], params["c"]
    l_coord, l_noobj = 5.0, 0.5
    slope = 0.1

    Z, X_pad = conv_forward(images, params["K"], params["b"])
    A = np.where(Z > 0, Z, slope * Z)
    total = 0
    raw = np.zeros((N, S, S, len(c)))
    for n in range(N):
        for row in range(S):
            for col in range(S):
                raw[n, row, col] = np.dot(A[n, :, row, col], W) + c
                obj, box, label = present[n, row, col], boxes[n, row, col], labels[n, row, col]
                total += cell_loss(raw[n, row, col], obj, box, label, l_coord, l_noobj)
    loss = total / N

    dW, dc = np.zeros_like(W), np.zeros_like(c)
    dA = np.zeros_like(A)
    for n in range(N):
        for row in range(S):
            for col in range(S):
                obj, box, label = present[n, row, col], boxes[n, row, col], labels[n, row, col]
                d = cell_gradient(raw[n, row, col], obj, box, label, l_coord, l_noobj) / N
                dW += np.outer(A[n, :, row, col], d)
                dc += d
                dA[n, :, row, col] = np.dot(W, d)
    dZ = np.where(Z > 0, dA, slope * dA)
    dK, db = conv_backward(dZ, X_pad, params["K"])
    return loss, {"K": dK, "b": db, "W": dW, "c": dc}


def problem(rng):
    n, channels, S, filters, classes = 4, 2, 4, 5, 3
    params = {
        "K": rng.normal(size=(filters, channels, 3, 3)) * 0.4,
        "b": rng.normal(size=filters) * 0.3,
        "W": rng.normal(size=(filters, 5 + classes)) * 0.5,
        "c": rng.normal(size=5 + classes) * 0.3,
    }
    present = (rng.uniform(size=(n, S, S)) < 0.4) * 1.0
    boxes = rng.uniform(0.1, 0.9, size=(n, S, S, 4)) * np.array([1.0, 1.0, 3.0, 3.0])
    labels = rng.integers(classes, size=(n, S, S))
    return params, (rng.normal(size=(n, channels, S, S)), present, boxes, labels)


WRONG = [
    wrong("root_forgotten_on_the_way_back", "missing-derivative", "dwh = droot / (2 * root)", "dwh = droot"),
    wrong(
        "root_slope_of_the_size_itself",
        "derivative-at-wrong-point|wrong-operand",
        "dwh = droot / (2 * root)",
        "dwh = droot / (2 * wh)",
    ),
    wrong("exponential_forgotten", "missing-derivative", "d[3:5] = dwh * wh", "d[3:5] = dwh"),
    wrong(
        "sizes_compared_without_roots",
        "wrong-operand|missing-derivative|different-function",
        "droot = 2 * l_coord * (root - np.sqrt(box[2:]))",
        "droot = 2 * l_coord * (wh - box[2:])",
    ),
    wrong(
        "centre_sigmoid_forgotten",
        "missing-derivative",
        "(xy - box[:2]) * xy * (1 - xy)",
        "(xy - box[:2])",
    ),
    wrong(
        "centre_weighs_as_everything_else",
        "wrong-term-weight|wrong-scale",
        "d[1:3] = 2 * l_coord * (xy",
        "d[1:3] = 2 * (xy",
    ),
    wrong(
        "empty_cells_weigh_as_full_ones",
        "wrong-term-weight|wrong-scale",
        "d[0] = 2 * l_noobj * conf * conf * (1 - conf)",
        "d[0] = 2 * conf * conf * (1 - conf)",
    ),
    wrong(
        "one_conf_too_few_in_empty_cells",
        "missing-derivative|wrong-operand|derivative-at-wrong-point",
        "d[0] = 2 * l_noobj * conf * conf * (1 - conf)",
        "d[0] = 2 * l_noobj * conf * (1 - conf)",
    ),
    wrong(
        "confidence_error_turned_round",
        "wrong-sign|wrong-term-weight",
        "d[0] = 2 * (conf - 1) * conf",
        "d[0] = 2 * (1 - conf) * conf",
    ),
    wrong("leak_forgotten", "different-function|missing-path|missing-derivative", "slope * dA)", "0 * dA)"),
    wrong(
        "rows_and_columns_swapped",
        "wrong-operand|transposed|not-transposed",
        "dA[n, :, row, col] = np.dot(W, d)",
        "dA[n, :, col, row] = np.dot(W, d)",
    ),
    wrong(
        "kernel_of_the_last_position",
        "overwritten|last-step-only|one-sample-only",
        "dK += np.tensordot",
        "dK = np.tensordot",
    ),
    wrong(
        "leak_of_a_hundredth_in_both",
        "different-function|wrong-hyperparameter",
        "slope = 0.1",
        "slope = 0.01",
    ),
    wrong(
        "sizes_without_roots_in_both",
        "different-function",
        "(np.sqrt(wh) - np.sqrt(box[2:])) ** 2",
        "(wh - box[2:]) ** 2",
        "droot = 2 * l_coord * (root - np.sqrt(box[2:]))",
        "dwh = 2 * l_coord * (wh - box[2:])",
        "    dwh = droot / (2 * root)\n",
        "",
    ),
    wrong(
        "averaged_over_the_cells_too",
        "wrong-loss|wrong-reduction|wrong-scale",
        "loss = total / N",
        "loss = total / (N * S * S)",
    ),
]

TOGETHER = [
    ("root_forgotten_on_the_way_back", "centre_sigmoid_forgotten"),
    ("exponential_forgotten", "empty_cells_weigh_as_full_ones"),
    ("sizes_compared_without_roots", "confidence_error_turned_round"),
    ("centre_weighs_as_everything_else", "leak_forgotten"),
    ("one_conf_too_few_in_empty_cells", "rows_and_columns_swapped"),
    ("leak_of_a_hundredth_in_both", "exponential_forgotten"),
    ("averaged_over_the_cells_too", "root_slope_of_the_size_itself"),
    ("centre_sigmoid_forgotten", "kernel_of_the_last_position"),
    ("root_forgotten_on_the_way_back", "confidence_error_turned_round", "leak_forgotten"),
    ("centre_weighs_as_everything_else", "empty_cells_weigh_as_full_ones", "exponential_forgotten"),
]

RIGHT = [
    right(
        "sizes_in_one_go",
        "    dwh = droot / (2 * root)\n    d[3:5] = dwh * wh\n",
        "    d[3:5] = 0.5 * droot * root\n",
        "dA[n, :, row, col] = np.dot(W, d)",
        "dA[n, :, row, col] += np.dot(d, W.T)",
    ),
    right(
        "convolution_sample_by_sample",
        "            dK += np.tensordot(dZ[:, :, i, j], window, axes=([0], [0]))\n",
        "            for n in range(len(dZ)):\n"
        "                for f in range(len(K)):\n"
        "                    dK[f] += dZ[n, f, i, j] * window[n]\n",
        "    dZ = np.where(Z > 0, dA, slope * dA)\n",
        "    dZ = dA.copy()\n    dZ[Z <= 0] *= slope\n",
    ),
]
