"""A generator and a discriminator in one loss, each held fixed in the other's term, and mean features matched."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, real, noise):
    fixed = {name: value.detach() for name, value in params.items()}

    def discriminate(x, weights):
        features = F.leaky_relu(F.linear(x, weights["D1"], weights["d1"]), 0.2)
        return features, features @ weights["D2"] + weights["d2"]

    hidden = F.relu(F.linear(noise, params["G1"], params["g1"]))
    fake = torch.tanh(F.linear(hidden, params["G2"], params["g2"]))
    _, on_real = discriminate(real, params)
    _, on_fake = discriminate(fake.detach(), params)
    features_real, _ = discriminate(real, fixed)
    features_fake, verdict = discriminate(fake, fixed)
    bce = F.binary_cross_entropy_with_logits
    return {
        "discriminator": bce(on_real, torch.full_like(on_real, 0.9)) + bce(on_fake, torch.zeros_like(on_fake)),
        "generator": bce(verdict, torch.ones_like(verdict)),
        "matching": 4.0 * F.mse_loss(features_fake.mean(dim=0), features_real.mean(dim=0)),
    }


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def softplus(a):
    return np.maximum(a, 0) + np.log1p(np.exp(-np.abs(a)))


def generate(p, noise):
    pre = noise @ p["G1"].T + p["g1"]
    hid = np.maximum(pre, 0)
    out = hid @ p["G2"].T + p["g2"]
    return np.tanh(out), (pre, hid, out)


def discriminate(p, x):
    pre = x @ p["D1"].T + p["d1"]
    feat = np.where(pre > 0, pre, 0.2 * pre)
    return feat @ p["D2"] + p["d2"], (x, pre, feat)


def discriminate_backward(p, dscore, cache, dfeat=0.0):
    """The gradients of the weights, and that of the samples."""
    x, pre, feat = cache
    dfeat = dfeat + np.outer(dscore, p["D2"])
    dpre = dfeat * np.where(pre > 0, 1.0, 0.2)
    weights = {"D1": dpre.T @ x, "d1": dpre.sum(axis=0), "D2": feat.T @ dscore, "d2": dscore.sum()}
    return weights, dpre @ p["D1"]


def candidate(params, real, noise, smooth=0.9, match=4.0):
    n = len(real)
    fake, (gpre, ghid, gout) = generate(params, noise)
    score_real, cache_real = discriminate(params, real)
    score_fake, cache_fake = discriminate(params, fake)
    feat_real, feat_fake = cache_real[2], cache_fake[2]

    loss_real = np.mean(smooth * softplus(-score_real) + (1 - smooth) * softplus(score_real))
    loss_fake = np.mean(softplus(score_fake))
    loss_gen = np.mean(softplus(-score_fake))
    apart = feat_fake.mean(axis=0) - feat_real.mean(axis=0)
    loss = loss_real + loss_fake + loss_gen + match * np.mean(apart**2)

    # the discriminator's own step
    dreal = (sigmoid(score_real) - smooth) / n
    dfake = sigmoid(score_fake) / n
    by_real, _ = discriminate_backward(params, dreal, cache_real)
    by_fake, _ = discriminate_backward(params, dfake, cache_fake)
    grads = {name: by_real[name] + by_fake[name] for name in by_real}

    # the generator's, through the discriminator as it stands
    dverdict = (sigmoid(score_fake) - 1) / n
    dapart = match * 2 * apart / apart.size
    dfeat = np.tile(dapart / n, (n, 1))
    _, dsample = discriminate_backward(params, dverdict, cache_fake, dfeat)
    dout = dsample * (1 - fake**2)
    grads["G2"] = dout.T @ ghid
    grads["g2"] = dout.sum(axis=0)
    dhid = dout @ params["G2"]
    dgpre = dhid * (gpre > 0)
    grads["G1"] = dgpre.T @ noise
    grads["g1"] = dgpre.sum(axis=0)
    return loss, grads


def problem(rng):
    params = {
        "G1": rng.normal(size=(6, 3)) * 0.7,
        "g1": rng.normal(size=6) * 0.4,
        "G2": rng.normal(size=(5, 6)) * 0.5,
        "g2": rng.normal(size=5) * 0.4,
        "D1": rng.normal(size=(8, 5)) * 0.7,
        "d1": rng.normal(size=8) * 0.4,
        "D2": rng.normal(size=8) * 0.7,
        "d2": np.array(0.3),
    }
    return params, (np.tanh(rng.normal(size=(7, 5)) + 0.4), rng.normal(size=(7, 3)))


WRONG = [
    wrong(
        "discriminator_moved_by_the_generators_terms_too",
        "any",
        "    _, dsample = discriminate_backward(params, dverdict, cache_fake, dfeat)\n",
        "    by_gen, dsample = discriminate_backward(params, dverdict, cache_fake, dfeat)\n"
        "    grads = {name: grads[name] + by_gen[name] for name in by_gen}\n",
    ),
    wrong(
        "fake_samples_not_detached_from_the_discriminators_loss",
        "any",
        "by_fake, _ = discriminate_backward",
        "by_fake, leaked = discriminate_backward",
        "dout = dsample * (1 - fake**2)",
        "dout = (dsample + leaked) * (1 - fake**2)",
    ),
    wrong(
        "generator_climbs_its_loss",
        "wrong-sign|wrong-term-weight",
        "dverdict = (sigmoid(score_fake) - 1) / n",
        "dverdict = (1 - sigmoid(score_fake)) / n",
    ),
    wrong(
        "label_not_smoothed",
        "different-function|wrong-operand",
        "dreal = (sigmoid(score_real) - smooth) / n",
        "dreal = (sigmoid(score_real) - 1) / n",
    ),
    wrong(
        "discriminator_averaged_over_real_and_fake",
        "wrong-term-weight|wrong-scale|wrong-reduction",
        "{name: by_real[name] + by_fake[name] for name in by_real}",
        "{name: (by_real[name] + by_fake[name]) / 2 for name in by_real}",
    ),
    wrong(
        "sigmoid_slope_once_more",
        "extra-derivative|different-function",
        "dfake = sigmoid(score_fake) / n",
        "dfake = sigmoid(score_fake) * sigmoid(score_fake) * (1 - sigmoid(score_fake)) / n",
    ),
    wrong(
        "activations_of_the_real_samples_for_the_fake",
        "wrong-operand",
        "discriminate_backward(params, dfake, cache_fake)",
        "discriminate_backward(params, dfake, cache_real)",
    ),
    wrong(
        "fake_batch_overwrites_the_real_one",
        "overwritten|missing-path",
        "{name: by_real[name] + by_fake[name] for name in by_real}",
        "{name: by_fake[name] for name in by_real}",
    ),
    wrong(
        "matching_not_averaged_over_the_batch",
        "wrong-scale|wrong-reduction|wrong-term-weight|missing-derivative",
        "np.tile(dapart / n, (n, 1))",
        "np.tile(dapart, (n, 1))",
    ),
    wrong(
        "matching_pulls_away",
        "wrong-sign|wrong-term-weight",
        "dapart = match * 2 * apart / apart.size",
        "dapart = match * 2 * (feat_real.mean(axis=0) - feat_fake.mean(axis=0)) / apart.size",
    ),
    wrong(
        "discriminator_already_stepped",
        "wrong-operand",
        "discriminate_backward(params, dverdict, cache_fake, dfeat)",
        'discriminate_backward({**params, "D1": params["D1"] - 0.5 * grads["D1"]}, dverdict, cache_fake, dfeat)',
    ),
    wrong(
        "relu_slope_for_the_leaky_one",
        "different-function",
        "dpre = dfeat * np.where(pre > 0, 1.0, 0.2)",
        "dpre = dfeat * (pre > 0)",
    ),
    wrong(
        "tanh_slope_at_its_input",
        "derivative-at-wrong-point",
        "dout = dsample * (1 - fake**2)",
        "dout = dsample * (1 - gout**2)",
    ),
    wrong(
        "saturating_loss_of_the_generator_in_both",
        "different-function",
        "loss_gen = np.mean(softplus(-score_fake))",
        "loss_gen = -np.mean(softplus(score_fake))",
        "dverdict = (sigmoid(score_fake) - 1) / n",
        "dverdict = -sigmoid(score_fake) / n",
    ),
    wrong(
        "features_matched_sample_by_sample_in_both",
        "different-function|wrong-reduction|wrong-axis",
        "apart = feat_fake.mean(axis=0) - feat_real.mean(axis=0)",
        "apart = feat_fake - feat_real",
        "dfeat = np.tile(dapart / n, (n, 1))",
        "dfeat = dapart",
    ),
    wrong("generator_left_out_in_cost", "wrong-loss", "loss_real + loss_fake + loss_gen +", "loss_real + loss_fake +"),
]

TOGETHER = [
    ("label_not_smoothed", "tanh_slope_at_its_input"),
    ("generator_climbs_its_loss", "discriminator_averaged_over_real_and_fake"),
    ("sigmoid_slope_once_more", "matching_not_averaged_over_the_batch"),
    ("activations_of_the_real_samples_for_the_fake", "label_not_smoothed"),
    ("matching_pulls_away", "relu_slope_for_the_leaky_one"),
    ("saturating_loss_of_the_generator_in_both", "fake_batch_overwrites_the_real_one"),
    ("generator_climbs_its_loss", "matching_not_averaged_over_the_batch", "sigmoid_slope_once_more"),
    ("discriminator_averaged_over_real_and_fake", "matching_pulls_away", "tanh_slope_at_its_input"),
]

RIGHT = [
    right(
        "real_and_fake_in_one_batch",
        "    by_real, _ = discriminate_backward(params, dreal, cache_real)\n"
        "    by_fake, _ = discriminate_backward(params, dfake, cache_fake)\n"
        "    grads = {name: by_real[name] + by_fake[name] for name in by_real}\n",
        "    both = [np.concatenate(pair) for pair in zip(cache_real, cache_fake, strict=True)]\n"
        "    grads, _ = discriminate_backward(params, np.concatenate([dreal, dfake]), both)\n",
        "    dfeat = np.tile(dapart / n, (n, 1))\n",
        "    dfeat = dapart / n\n",
    ),
    right(
        "by_probabilities",
        "    loss_real = np.mean(smooth * softplus(-score_real) + (1 - smooth) * softplus(score_real))\n"
        "    loss_fake = np.mean(softplus(score_fake))\n"
        "    loss_gen = np.mean(softplus(-score_fake))\n",
        "    p_real, p_fake = sigmoid(score_real), sigmoid(score_fake)\n"
        "    loss_real = -np.mean(smooth * np.log(p_real) + (1 - smooth) * np.log(1 - p_real))\n"
        "    loss_fake = -np.mean(np.log(1 - p_fake))\n"
        "    loss_gen = -np.mean(np.log(p_fake))\n",
        "    dreal = (sigmoid(score_real) - smooth) / n\n    dfake = sigmoid(score_fake) / n\n",
        "    dreal = ((1 - smooth) / (1 - p_real) - smooth / p_real) * p_real * (1 - p_real) / n\n"
        "    dfake = 1 / (1 - p_fake) * p_fake * (1 - p_fake) / n\n",
        "dverdict = (sigmoid(score_fake) - 1) / n",
        "dverdict = -1 / p_fake * p_fake * (1 - p_fake) / n",
    ),
    right(
        "sample_by_sample",
        "    by_real, _ = discriminate_backward(params, dreal, cache_real)\n"
        "    by_fake, _ = discriminate_backward(params, dfake, cache_fake)\n"
        "    grads = {name: by_real[name] + by_fake[name] for name in by_real}\n",
        "    grads = {name: np.zeros_like(value) for name, value in params.items()}\n"
        "    for i in range(n):\n"
        "        for dscore, (x, pre, feat) in ((dreal[i], cache_real), (dfake[i], cache_fake)):\n"
        '            dhidden = dscore * params["D2"] * np.where(pre[i] > 0, 1.0, 0.2)\n'
        '            grads["D1"] += np.outer(dhidden, x[i])\n'
        '            grads["d1"] += dhidden\n'
        '            grads["D2"] += dscore * feat[i]\n'
        '            grads["d2"] += dscore\n',
        "    dout = dsample * (1 - fake**2)\n"
        '    grads["G2"] = dout.T @ ghid\n'
        '    grads["g2"] = dout.sum(axis=0)\n'
        '    dhid = dout @ params["G2"]\n'
        "    dgpre = dhid * (gpre > 0)\n"
        '    grads["G1"] = dgpre.T @ noise\n'
        '    grads["g1"] = dgpre.sum(axis=0)\n',
        "    for i in range(n):\n"
        "        dout = dsample[i] * (1 - fake[i]) * (1 + fake[i])\n"
        '        grads["G2"] += np.outer(dout, ghid[i])\n'
        '        grads["g2"] += dout\n'
        '        dgpre = np.where(gpre[i] > 0, dout @ params["G2"], 0.0)\n'
        '        grads["G1"] += np.outer(dgpre, noise[i])\n'
        '        grads["g1"] += dgpre\n',
    ),
]
