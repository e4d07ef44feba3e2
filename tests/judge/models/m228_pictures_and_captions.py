"""Pictures told from captions and back: two towers to unit vectors, a learned temperature, padded hard negatives."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, pictures, captions, decoys, present):
    p = params

    def of_captions(c):
        return F.normalize(F.linear(c, p["caption_W"], p["caption_b"]), dim=-1)

    hidden = F.gelu(F.linear(pictures, p["picture_W1"], p["picture_b1"]))
    images = F.normalize(F.linear(hidden, p["picture_W2"]), dim=-1)
    texts, false_texts = of_captions(captions), of_captions(decoys)
    scale = torch.exp(p["log_scale"])
    logits = scale * images @ texts.T
    hard = scale * torch.einsum("nd,nkd->nk", images, false_texts)
    hard = hard.masked_fill(present == 0, -torch.inf)
    target = torch.arange(len(pictures))
    forth = F.cross_entropy(torch.cat([logits, hard], dim=1), target)
    return (forth + F.cross_entropy(logits.T, target)) / 2


def phi(a):
    """The normal distribution function."""
    return 0.5 * (1 + np.array([math.erf(v / math.sqrt(2)) for v in a.ravel()]).reshape(a.shape))


def unit(v):
    length = np.sqrt((v**2).sum(axis=-1, keepdims=True))
    return v / length, length


def unit_backward(dn, n, length):
    return (dn - n * (dn * n).sum(axis=-1, keepdims=True)) / length


def softmax(a, axis):
    e = np.exp(a - a.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def forward(params, pictures, captions, decoys, present):
    c = {"pre": pictures @ params["picture_W1"].T + params["picture_b1"]}
    c["hidden"] = c["pre"] * phi(c["pre"])
    c["image"], c["image_len"] = unit(c["hidden"] @ params["picture_W2"].T)
    c["text"], c["text_len"] = unit(captions @ params["caption_W"].T + params["caption_b"])
    c["decoy"], c["decoy_len"] = unit(decoys @ params["caption_W"].T + params["caption_b"])
    c["scale"] = np.exp(params["log_scale"])
    c["cosines"] = c["image"] @ c["text"].T
    c["hard_cosines"] = np.einsum("nd,nkd->nk", c["image"], c["decoy"])
    c["logits"] = c["scale"] * c["cosines"]
    c["hard"] = np.where(present > 0, c["scale"] * c["hard_cosines"], -np.inf)
    return c


def candidate(params, pictures, captions, decoys, present):
    n = len(pictures)
    c = forward(params, pictures, captions, decoys, present)
    forth = softmax(np.hstack([c["logits"], c["hard"]]), axis=1)
    back = softmax(c["logits"], axis=0)
    own = np.arange(n)
    loss = -0.5 * (np.log(forth[own, own]).mean() + np.log(back[own, own]).mean())

    dforth, dback = forth / (2 * n), back / (2 * n)
    dforth[own, own] -= 1 / (2 * n)
    dback[own, own] -= 1 / (2 * n)
    dlogits = dforth[:, :n] + dback
    dhard = dforth[:, n:]
    dscale = (dlogits * c["cosines"]).sum() + (dhard * c["hard_cosines"]).sum()
    dcosines, dhard_cosines = dlogits * c["scale"], dhard * c["scale"]

    dimage = dcosines @ c["text"]
    dimage += np.einsum("nk,nkd->nd", dhard_cosines, c["decoy"])
    dtext = dcosines.T @ c["image"]
    ddecoy = dhard_cosines[:, :, None] * c["image"][:, None, :]

    dproj = unit_backward(dimage, c["image"], c["image_len"])
    dcap = unit_backward(dtext, c["text"], c["text_len"])
    dfalse = unit_backward(ddecoy, c["decoy"], c["decoy_len"])
    dhidden = dproj @ params["picture_W2"]
    density = np.exp(-(c["pre"] ** 2) / 2) / np.sqrt(2 * np.pi)
    dpre = dhidden * (phi(c["pre"]) + c["pre"] * density)
    grads = {
        "picture_W1": dpre.T @ pictures,
        "picture_b1": dpre.sum(axis=0),
        "picture_W2": dproj.T @ c["hidden"],
        "caption_W": dcap.T @ captions + np.einsum("nkd,nkf->df", dfalse, decoys),
        "caption_b": dcap.sum(axis=0) + dfalse.sum(axis=(0, 1)),
        "log_scale": dscale * c["scale"],
    }
    return loss, grads


def problem(rng):
    params = {
        "picture_W1": rng.normal(size=(6, 3)) * 0.8,
        "picture_b1": rng.normal(size=6) * 0.4,
        "picture_W2": rng.normal(size=(4, 6)) * 0.7,
        "caption_W": rng.normal(size=(4, 7)) * 0.6,
        "caption_b": rng.normal(size=4) * 0.4,
        "log_scale": 0.9 + 0.2 * rng.uniform(size=1),
    }
    present = np.array([[1, 1], [1, 0], [1, 1], [0, 1], [1, 1]])
    return params, (rng.normal(size=(5, 3)), rng.normal(size=(5, 7)), rng.normal(size=(5, 2, 7)), present)


WRONG = [
    wrong(
        "only_pictures_choose_in_the_gradient",
        "missing-path",
        "dlogits = dforth[:, :n] + dback",
        "dlogits = dforth[:, :n]",
    ),
    wrong(
        "captions_choose_along_the_wrong_axis_in_both",
        "wrong-axis",
        'back = softmax(c["logits"], axis=0)',
        'back = softmax(c["logits"], axis=1)',
    ),
    wrong(
        "captions_paired_without_transposing",
        "not-transposed",
        'dtext = dcosines.T @ c["image"]',
        'dtext = dcosines @ c["image"]',
    ),
    wrong(
        "length_held_fixed",
        "missing-path|diagonal-jacobian",
        "return (dn - n * (dn * n).sum(axis=-1, keepdims=True)) / length",
        "return dn / length",
    ),
    wrong(
        "length_not_divided_by",
        "missing-derivative",
        "return (dn - n * (dn * n).sum(axis=-1, keepdims=True)) / length",
        "return dn - n * (dn * n).sum(axis=-1, keepdims=True)",
    ),
    wrong(
        "temperature_returned_without_its_exponential",
        "missing-derivative|wrong-shape",
        '"log_scale": dscale * c["scale"]',
        '"log_scale": dscale',
    ),
    wrong(
        "temperature_not_on_the_way_to_the_towers",
        "wrong-scale|missing-derivative",
        'dcosines, dhard_cosines = dlogits * c["scale"], dhard * c["scale"]',
        "dcosines, dhard_cosines = dlogits, dhard",
    ),
    wrong(
        "temperature_paired_with_the_scaled_logits",
        "wrong-operand|extra-derivative",
        'dscale = (dlogits * c["cosines"]).sum()',
        'dscale = (dlogits * c["logits"]).sum()',
    ),
    wrong(
        "decoys_do_not_teach_the_caption_tower",
        "missing-path",
        ' + np.einsum("nkd,nkf->df", dfalse, decoys)',
        "",
        " + dfalse.sum(axis=(0, 1))",
        "",
    ),
    wrong(
        "decoys_do_not_push_pictures",
        "missing-path",
        '    dimage += np.einsum("nk,nkd->nd", dhard_cosines, c["decoy"])\n',
        "",
    ),
    wrong(
        "absent_decoys_count_in_both",
        "different-function|wrong-operand",
        'np.where(present > 0, c["scale"] * c["hard_cosines"], -np.inf)',
        'c["scale"] * c["hard_cosines"]',
    ),
    wrong(
        "second_half_of_the_mean_forgotten",
        "wrong-scale",
        "dforth, dback = forth / (2 * n), back / (2 * n)",
        "dforth, dback = forth / n, back / n",
        "    dforth[own, own] -= 1 / (2 * n)\n    dback[own, own] -= 1 / (2 * n)\n",
        "    dforth[own, own] -= 1 / n\n    dback[own, own] -= 1 / n\n",
    ),
]

TOGETHER = [
    ("only_pictures_choose_in_the_gradient", "temperature_returned_without_its_exponential"),
    ("length_held_fixed", "decoys_do_not_push_pictures"),
    ("captions_paired_without_transposing", "second_half_of_the_mean_forgotten"),
    ("absent_decoys_count_in_both", "decoys_do_not_teach_the_caption_tower"),
]

RIGHT = [
    right(
        "captions_and_decoys_in_one_stack",
        '    dcap = unit_backward(dtext, c["text"], c["text_len"])\n'
        '    dfalse = unit_backward(ddecoy, c["decoy"], c["decoy_len"])\n',
        "    push = np.concatenate([dtext[:, None], ddecoy], axis=1)\n"
        '    shown = np.concatenate([c["text"][:, None], c["decoy"]], axis=1)\n'
        '    lengths = np.concatenate([c["text_len"][:, None], c["decoy_len"]], axis=1)\n'
        "    dcap = unit_backward(push, shown, lengths)\n"
        "    given = np.concatenate([captions[:, None], decoys], axis=1)\n",
        'dcap.T @ captions + np.einsum("nkd,nkf->df", dfalse, decoys)',
        'np.einsum("nkd,nkf->df", dcap, given)',
        "dcap.sum(axis=0) + dfalse.sum(axis=(0, 1))",
        "dcap.sum(axis=(0, 1))",
    ),
]
