"""A variational bottleneck: softplus deviations, given noise, Bernoulli likelihood from logits, free bits."""

import numpy as np
import torch
import torch.nn.functional as F
from torch.distributions import Normal, kl_divergence

from tests.judge.corpus import right, wrong


def reference(params, x, noise):
    h = torch.tanh(F.linear(x, params["W1"].T, params["b1"]))
    posterior = Normal(
        F.linear(h, params["Wm"].T, params["bm"]),
        F.softplus(F.linear(h, params["Ws"].T, params["bs"])),
        validate_args=False,
    )
    z = posterior.loc + posterior.scale * noise
    logits = F.linear(F.relu(F.linear(z, params["D1"].T, params["c1"])), params["D2"].T, params["c2"])
    prior = Normal(torch.zeros_like(z), torch.ones_like(z), validate_args=False)
    divergence = kl_divergence(posterior, prior).clamp(min=0.2)
    return {
        "reconstruction": F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x),
        "divergence": 0.6 * divergence.sum(dim=1).mean(),
    }


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def softplus(a):
    return np.maximum(a, 0) + np.log1p(np.exp(-np.abs(a)))


def divergence_from_prior(mu, sigma):
    """KL(N(mu, sigma^2) || N(0, 1)) of every sample and dimension."""
    return 0.5 * (mu**2 + sigma**2 - 1) - np.log(sigma)


def encode(params, x):
    h = np.tanh(x @ params["W1"] + params["b1"])
    mu = h @ params["Wm"] + params["bm"]
    rho = h @ params["Ws"] + params["bs"]
    return h, mu, rho


def decode(params, z):
    pre = z @ params["D1"] + params["c1"]
    hidden = np.maximum(pre, 0)
    return hidden, hidden @ params["D2"] + params["c2"]


def candidate(params, x, noise, beta=0.6, free=0.2):
    n = x.shape[0]
    h, mu, rho = encode(params, x)
    sigma = softplus(rho)
    z = mu + sigma * noise
    hidden, logits = decode(params, z)
    nll = np.sum(softplus(logits) - x * logits) / n
    kl = divergence_from_prior(mu, sigma)
    loss = nll + beta * np.sum(np.maximum(kl, free)) / n

    grads = {}
    # decoder
    dlogits = (sigmoid(logits) - x) / n
    grads["D2"] = hidden.T @ dlogits
    grads["c2"] = dlogits.sum(axis=0)
    dhidden = (dlogits @ params["D2"].T) * (hidden > 0)
    grads["D1"] = z.T @ dhidden
    grads["c1"] = dhidden.sum(axis=0)
    dz = dhidden @ params["D1"].T
    # bottleneck: through the sample, and through the divergence where it is above the free bits
    paid = kl > free
    dmu_kl = beta * paid * mu / n
    dsigma_kl = beta * paid * (sigma - 1 / sigma) / n
    dmu = dz + dmu_kl
    dsigma = dz * noise + dsigma_kl
    drho = dsigma * sigmoid(rho)
    # encoder
    grads["Wm"] = h.T @ dmu
    grads["bm"] = dmu.sum(axis=0)
    grads["Ws"] = h.T @ drho
    grads["bs"] = drho.sum(axis=0)
    dh = dmu @ params["Wm"].T + drho @ params["Ws"].T
    da = dh * (1 - h**2)
    grads["W1"] = x.T @ da
    grads["b1"] = da.sum(axis=0)
    return loss, grads


def problem(rng):
    params = {
        "W1": rng.normal(size=(9, 6)) * 0.7,
        "b1": rng.normal(size=6) * 0.4,
        "Wm": rng.normal(size=(6, 4)) * np.array([0.9, 0.6, 0.1, 0.3]),
        "bm": rng.normal(size=4) * np.array([0.9, 0.7, 0.1, 0.3]),
        "Ws": rng.normal(size=(6, 4)) * np.array([0.5, 0.8, 0.15, 0.5]),
        "bs": np.array([-0.6, 0.1, 0.5, 0.2]) + rng.normal(size=4) * 0.1,
        "D1": rng.normal(size=(4, 5)),
        "c1": rng.normal(size=5) * 0.4 + 0.3,
        "D2": rng.normal(size=(5, 9)) * 0.7,
        "c2": rng.normal(size=9) * 0.5,
    }
    return params, ((rng.random(size=(7, 9)) > 0.5).astype(float), rng.normal(size=(7, 4)))


WRONG = [
    wrong("softplus_slope_forgotten", "missing-derivative", "drho = dsigma * sigmoid(rho)", "drho = dsigma"),
    wrong(
        "softplus_slope_at_the_deviation",
        "derivative-at-wrong-point",
        "drho = dsigma * sigmoid(rho)",
        "drho = dsigma * sigmoid(sigma)",
    ),
    wrong(
        "divergence_slope_as_for_a_log_variance",
        "different-function",
        "beta * paid * (sigma - 1 / sigma) / n",
        "beta * paid * 0.5 * (sigma**2 - 1) / n",
    ),
    wrong(
        "noise_forgotten_backwards",
        "missing-derivative|wrong-operand",
        "dsigma = dz * noise + dsigma_kl",
        "dsigma = dz + dsigma_kl",
    ),
    wrong(
        "free_bits_paid_backwards",
        "missing-derivative|different-function",
        "paid = kl > free",
        "paid = np.ones_like(kl)",
    ),
    wrong(
        "divergence_not_averaged",
        "wrong-term-weight|wrong-scale|wrong-reduction",
        "    dmu_kl = beta * paid * mu / n\n    dsigma_kl = beta * paid * (sigma - 1 / sigma) / n\n",
        "    dmu_kl = beta * paid * mu\n    dsigma_kl = beta * paid * (sigma - 1 / sigma)\n",
    ),
    wrong(
        "deviation_not_taught_by_the_reconstruction",
        "missing-path",
        "dsigma = dz * noise + dsigma_kl",
        "dsigma = dsigma_kl",
    ),
    wrong(
        "encoder_taught_by_the_means_only",
        "missing-path",
        'dh = dmu @ params["Wm"].T + drho @ params["Ws"].T',
        'dh = dmu @ params["Wm"].T',
    ),
    wrong(
        "slope_of_the_sigmoid_once_more",
        "extra-derivative|different-function",
        "dlogits = (sigmoid(logits) - x) / n",
        "dlogits = (sigmoid(logits) - x) * sigmoid(logits) * (1 - sigmoid(logits)) / n",
    ),
    wrong(
        "likelihood_averaged_over_the_pixels_too",
        "wrong-term-weight|wrong-scale|wrong-reduction",
        "dlogits = (sigmoid(logits) - x) / n",
        "dlogits = (sigmoid(logits) - x) / x.size",
    ),
    wrong(
        "mean_decoded_for_the_sample",
        "wrong-operand",
        'grads["D1"] = z.T @ dhidden',
        'grads["D1"] = mu.T @ dhidden',
    ),
    wrong(
        "bias_copied_from_the_means",
        "wrong-operand",
        'grads["bs"] = drho.sum(axis=0)',
        'grads["bs"] = dmu.sum(axis=0)',
    ),
    wrong(
        "encoder_slope_of_a_sigmoid",
        "different-function",
        "da = dh * (1 - h**2)",
        "da = dh * h * (1 - h)",
    ),
    wrong(
        "deviation_taken_for_the_variance_in_both",
        "different-function|wrong-operand",
        "return 0.5 * (mu**2 + sigma**2 - 1) - np.log(sigma)",
        "return 0.5 * (mu**2 + sigma - 1 - np.log(sigma))",
        "beta * paid * (sigma - 1 / sigma) / n",
        "beta * paid * 0.5 * (1 - 1 / sigma) / n",
    ),
    wrong(
        "free_bits_of_the_batch_average_in_both",
        "wrong-axis|wrong-reduction|different-function|wrong-operand",
        "beta * np.sum(np.maximum(kl, free)) / n",
        "beta * np.sum(np.maximum(kl.mean(axis=0), free))",
        "paid = kl > free",
        "paid = kl.mean(axis=0) > free",
    ),
    wrong(
        "divergence_without_weight_in_cost",
        "wrong-loss",
        "loss = nll + beta * np.sum(",
        "loss = nll + np.sum(",
    ),
]

TOGETHER = [
    ("softplus_slope_at_the_deviation", "bias_copied_from_the_means"),
    ("noise_forgotten_backwards", "encoder_slope_of_a_sigmoid"),
    ("free_bits_paid_backwards", "divergence_slope_as_for_a_log_variance"),
    ("mean_decoded_for_the_sample", "encoder_taught_by_the_means_only"),
    ("likelihood_averaged_over_the_pixels_too", "softplus_slope_forgotten"),
    ("deviation_taken_for_the_variance_in_both", "deviation_not_taught_by_the_reconstruction"),
    ("divergence_not_averaged", "mean_decoded_for_the_sample", "encoder_slope_of_a_sigmoid"),
    ("slope_of_the_sigmoid_once_more", "free_bits_paid_backwards", "bias_copied_from_the_means"),
]

RIGHT = [
    right(
        "one_sample_after_the_other",
        '    grads["Wm"] = h.T @ dmu\n',
        '    grads["Wm"] = np.zeros_like(params["Wm"])\n'
        "    for sample in range(n):\n"
        '        grads["Wm"] += np.outer(h[sample], dmu[sample])\n',
        '    grads["W1"] = x.T @ da\n',
        '    grads["W1"] = sum(np.outer(x[sample], da[sample]) for sample in range(n))\n',
        "drho = dsigma * sigmoid(rho)",
        "drho = dsigma * (1 - np.exp(-sigma))",
    ),
    right(
        "both_heads_as_one",
        '    grads["Wm"] = h.T @ dmu\n'
        '    grads["bm"] = dmu.sum(axis=0)\n'
        '    grads["Ws"] = h.T @ drho\n'
        '    grads["bs"] = drho.sum(axis=0)\n'
        '    dh = dmu @ params["Wm"].T + drho @ params["Ws"].T\n',
        "    dheads = np.hstack([dmu, drho])\n"
        '    grads["Wm"], grads["Ws"] = np.split(h.T @ dheads, 2, axis=1)\n'
        '    grads["bm"], grads["bs"] = np.split(dheads.sum(axis=0), 2)\n'
        '    dh = dheads @ np.hstack([params["Wm"], params["Ws"]]).T\n',
        "nll = np.sum(softplus(logits) - x * logits) / n",
        "nll = np.mean(np.sum(x * softplus(-logits) + (1 - x) * softplus(logits), axis=1))",
    ),
    right(
        "divided_by_the_batch_at_the_end",
        "dlogits = (sigmoid(logits) - x) / n",
        "dlogits = sigmoid(logits) - x",
        "dmu_kl = beta * paid * mu / n",
        "dmu_kl = np.where(paid, beta * mu, 0.0)",
        "beta * paid * (sigma - 1 / sigma) / n",
        "np.where(paid, beta * (sigma**2 - 1) / sigma, 0.0)",
        '    grads["b1"] = da.sum(axis=0)\n    return loss, grads\n',
        '    grads["b1"] = da.sum(axis=0)\n'
        "    for grad in grads.values():\n        grad /= n\n    return loss, grads\n",
    ),
]
