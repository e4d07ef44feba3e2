"""Faces told by angles: unit features and class vectors, an angular margin for the true class, plus learned centres."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, labels):
    margin = 1.0
    hidden = F.leaky_relu(F.linear(x, params["W1"], params["b1"]), 0.25)
    features = F.linear(hidden, params["W2"], params["b2"])
    cosine = F.linear(F.normalize(features), F.normalize(params["classes"]))
    sine = torch.sqrt(1 - cosine**2)
    moved = cosine * math.cos(margin) - sine * math.sin(margin)
    moved = torch.where(cosine > -math.cos(margin), moved, cosine - margin * math.sin(margin))
    chosen = F.one_hot(labels, len(params["classes"])) > 0
    return {
        "angles": F.cross_entropy(6.0 * torch.where(chosen, moved, cosine), labels),
        "centres": 0.3 * ((features - params["centres"][labels]) ** 2).sum() / 2 / len(x),
    }


def normalised(rows):
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / norms, norms


def normalised_diff(top_diff, unit, norms):
    along = np.sum(top_diff * unit, axis=1, keepdims=True)
    return (top_diff - along * unit) / norms


def margin_forward(cos_t, labels, m):
    top, easy = cos_t.copy(), np.zeros(len(labels), dtype=bool)
    for i, gt in enumerate(labels):
        c = cos_t[i, gt]
        if c > math.cos(math.pi - m):
            top[i, gt] = c * math.cos(m) - math.sqrt(1 - c * c) * math.sin(m)
        else:
            easy[i] = True
            top[i, gt] = c - m * math.sin(math.pi - m)
    return top, easy


def margin_backward(top_diff, cos_t, labels, m, easy):
    bottom_diff = top_diff.copy()
    for i, gt in enumerate(labels):
        if easy[i]:
            continue
        c = cos_t[i, gt]
        sin_t = math.sqrt(1 - c * c)
        bottom_diff[i, gt] *= math.cos(m) + math.sin(m) * c / sin_t
    return bottom_diff


def softmax_loss(logits, labels):
    shifted = logits - logits.max(axis=1, keepdims=True)
    logp = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    diff = np.exp(logp)
    for i, gt in enumerate(labels):
        diff[i, gt] -= 1
    return -logp[np.arange(len(labels)), labels].mean(), diff / len(labels)


def centre_loss(features, labels, centres):
    diff = features - centres[labels]
    dcentres = np.zeros_like(centres)
    for i, gt in enumerate(labels):
        dcentres[gt] -= diff[i]
    return np.sum(diff**2) / 2 / len(labels), diff / len(labels), dcentres / len(labels)


def candidate(params, x, labels):
    scale, margin, weight = 6.0, 1.0, 0.3
    z1 = x @ params["W1"].T + params["b1"]
    h1 = np.maximum(z1, 0.25 * z1)
    features = h1 @ params["W2"].T + params["b2"]
    unit_f, norm_f = normalised(features)
    unit_c, norm_c = normalised(params["classes"])
    cos_t = unit_f @ unit_c.T
    top, easy = margin_forward(cos_t, labels, margin)
    angle_loss, dlogits = softmax_loss(scale * top, labels)
    spread, dfeat_centre, dcentres = centre_loss(features, labels, params["centres"])
    loss = angle_loss + weight * spread

    dtop = scale * dlogits
    dcos = margin_backward(dtop, cos_t, labels, margin, easy)
    dfeatures = normalised_diff(dcos @ unit_c, unit_f, norm_f)
    dclasses = normalised_diff(dcos.T @ unit_f, unit_c, norm_c)
    dfeatures = dfeatures + weight * dfeat_centre
    dh1 = dfeatures @ params["W2"]
    dz1 = dh1 * np.where(z1 > 0, 1.0, 0.25)
    return loss, {
        "W1": dz1.T @ x,
        "b1": dz1.sum(axis=0),
        "W2": dfeatures.T @ h1,
        "b2": dfeatures.sum(axis=0),
        "classes": dclasses,
        "centres": weight * dcentres,
    }


def problem(rng):
    params = {
        "W1": rng.normal(size=(6, 3)) * 0.8,
        "b1": rng.normal(size=6) * 0.4,
        "W2": rng.normal(size=(4, 6)) * 0.6,
        "b2": rng.normal(size=4) * 0.5,
        "classes": rng.normal(size=(5, 4)),
        "centres": rng.normal(size=(5, 4)),
    }
    return params, (rng.normal(size=(7, 3)), np.array([2, 0, 4, 2, 1, 4, 2]))


WRONG = [
    wrong(
        "margin_differentiated_by_the_angle",
        "missing-derivative",
        "math.cos(m) + math.sin(m) * c / sin_t",
        "-math.sin(math.acos(c) + m)",
    ),
    wrong(
        "margin_factor_in_place_of_the_incoming_gradient",
        "missing-derivative|wrong-operand|overwritten",
        "bottom_diff[i, gt] *= math.cos(m)",
        "bottom_diff[i, gt] = math.cos(m)",
    ),
    wrong(
        "sign_of_the_sine_term",
        "wrong-sign",
        "math.cos(m) + math.sin(m) * c / sin_t",
        "math.cos(m) - math.sin(m) * c / sin_t",
    ),
    wrong(
        "sine_held_fixed",
        "missing-path",
        "math.cos(m) + math.sin(m) * c / sin_t",
        "math.cos(m)",
    ),
    wrong(
        "margin_not_differentiated",
        "missing-derivative",
        "dcos = margin_backward(dtop, cos_t, labels, margin, easy)",
        "dcos = dtop",
    ),
    wrong(
        "scale_only_forwards",
        "wrong-scale|missing-derivative|wrong-term-weight",
        "dtop = scale * dlogits",
        "dtop = dlogits",
    ),
    wrong(
        "lengths_held_fixed",
        "missing-path|diagonal-jacobian",
        "return (top_diff - along * unit) / norms",
        "return top_diff / norms",
    ),
    wrong(
        "centres_averaged_within_their_class",
        "wrong-reduction|different-function",
        "dcentres / len(labels)",
        "dcentres / (1 + np.bincount(labels, minlength=len(centres)))[:, None] / len(labels)",
    ),
    wrong(
        "centres_not_averaged_over_the_batch",
        "wrong-scale|wrong-reduction",
        "dcentres / len(labels)",
        "dcentres",
    ),
    wrong(
        "centre_of_a_repeated_class_overwritten",
        "overwritten",
        "dcentres[gt] -= diff[i]",
        "dcentres[gt] = -diff[i]",
    ),
    wrong(
        "centres_pushed_away",
        "wrong-sign",
        "dcentres[gt] -= diff[i]",
        "dcentres[gt] += diff[i]",
    ),
    wrong(
        "weight_of_the_centres_forgotten_at_the_features",
        "wrong-term-weight|wrong-scale",
        "dfeatures = dfeatures + weight * dfeat_centre",
        "dfeatures = dfeatures + dfeat_centre",
    ),
]

TOGETHER = [
    ("margin_differentiated_by_the_angle", "centres_averaged_within_their_class"),
    ("lengths_held_fixed", "centre_of_a_repeated_class_overwritten"),
    ("scale_only_forwards", "centres_not_averaged_over_the_batch"),
    ("margin_not_differentiated", "weight_of_the_centres_forgotten_at_the_features"),
]

RIGHT = [
    right(
        "margin_by_angles",
        "        sin_t = math.sqrt(1 - c * c)\n        bottom_diff[i, gt] *= math.cos(m) + math.sin(m) * c / sin_t\n",
        "        theta = math.acos(c)\n        bottom_diff[i, gt] *= math.sin(theta + m) / math.sin(theta)\n",
        "    for i, gt in enumerate(labels):\n        dcentres[gt] -= diff[i]\n",
        "    np.subtract.at(dcentres, labels, diff)\n",
    ),
]
