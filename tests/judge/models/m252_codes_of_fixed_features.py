"""A variational autoencoder behind a frozen feature layer: a learned prior, a decoder of means and variances."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import distributions, nn

from tests.judge.corpus import right, wrong


def feature_weights():
    k = np.arange(35.0).reshape(7, 5)
    return 0.9 * np.sin(2.1 * k + 0.4), 0.3 * np.cos(np.arange(7.0))


class Coder(nn.Module):
    def __init__(self):
        super().__init__()
        weight, bias = feature_weights()
        self.frozen = nn.Linear(5, 7).double()
        self.frozen.weight = nn.Parameter(torch.tensor(weight), requires_grad=False)
        self.frozen.bias = nn.Parameter(torch.tensor(bias), requires_grad=False)
        self.mu = nn.Linear(7, 2)
        self.logvar = nn.Linear(7, 2)
        self.decoder = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 10))
        self.prior_mean = nn.Parameter(torch.zeros(2))
        self.prior_logstd = nn.Parameter(torch.zeros(2))

    def forward(self, x, noise):
        features = torch.tanh(F.linear(x, self.frozen.weight.to(x.dtype), self.frozen.bias.to(x.dtype)))
        q = distributions.Normal(self.mu(features), torch.exp(0.5 * self.logvar(features)))
        prior = distributions.Normal(self.prior_mean, self.prior_logstd.exp())
        mean, raw = self.decoder(q.mean + q.stddev * noise).chunk(2, dim=1)
        return mean, F.softplus(raw), distributions.kl_divergence(q, prior)


def reference(params, x, noise):
    mean, variance, kl = torch.func.functional_call(Coder(), params, (x, noise))
    return {
        "reconstruction": F.gaussian_nll_loss(mean, x, variance, reduction="sum") / len(x),
        "kl": 0.4 * kl.sum(dim=1).mean(),
    }


def candidate(params, x, noise):
    Wm, bm, Wv, bv = params["mu.weight"], params["mu.bias"], params["logvar.weight"], params["logvar.bias"]
    W1, b1 = params["decoder.0.weight"], params["decoder.0.bias"]
    W2, b2 = params["decoder.2.weight"], params["decoder.2.bias"]
    m0, ls0 = params["prior_mean"], params["prior_logstd"]
    n, width = x.shape
    beta = 0.4
    # encoder
    F0, f0 = feature_weights()
    phi = np.tanh(x @ F0.T + f0)
    mu = phi @ Wm.T + bm
    logvar = phi @ Wv.T + bv
    sigma = np.exp(0.5 * logvar)
    z = mu + sigma * noise
    # decoder
    h = np.tanh(z @ W1.T + b1)
    out = h @ W2.T + b2
    mean, raw = out[:, :width], out[:, width:]
    var = np.log1p(np.exp(raw))
    err = mean - x
    nll = 0.5 * np.sum(np.log(var) + err**2 / var) / n
    prior_var = np.exp(2 * ls0)
    kl = np.sum(ls0 - 0.5 * logvar + (sigma**2 + (mu - m0) ** 2) / (2 * prior_var) - 0.5) / n
    loss = nll + beta * kl

    grads = {}
    dmean = err / var / n
    dvar = 0.5 * (1 / var - err**2 / var**2) / n
    draw = dvar / (1 + np.exp(-raw))
    dout = np.hstack([dmean, draw])
    grads["decoder.2.weight"] = dout.T @ h
    grads["decoder.2.bias"] = dout.sum(axis=0)
    dpre = dout @ W2 * (1 - h**2)
    grads["decoder.0.weight"] = dpre.T @ z
    grads["decoder.0.bias"] = dpre.sum(axis=0)
    dz = dpre @ W1
    # the code and its prior
    dmu_kl = (mu - m0) / prior_var / n
    dlogvar_kl = 0.5 * (sigma**2 / prior_var - 1) / n
    dmu = dz + beta * dmu_kl
    dlogvar = dz * noise * 0.5 * sigma + beta * dlogvar_kl
    grads["mu.weight"] = dmu.T @ phi
    grads["mu.bias"] = dmu.sum(axis=0)
    grads["logvar.weight"] = dlogvar.T @ phi
    grads["logvar.bias"] = dlogvar.sum(axis=0)
    grads["prior_mean"] = -beta * dmu_kl.sum(axis=0)
    grads["prior_logstd"] = beta * np.sum(1 - (sigma**2 + (mu - m0) ** 2) / prior_var, axis=0) / n
    return loss, grads


def problem(rng):
    params = {
        "mu.weight": rng.normal(size=(2, 7)) * 0.5,
        "mu.bias": rng.normal(size=2) * 0.3,
        "logvar.weight": rng.normal(size=(2, 7)) * 0.4,
        "logvar.bias": rng.normal(size=2) * 0.3,
        "decoder.0.weight": rng.normal(size=(4, 2)) * 0.7,
        "decoder.0.bias": rng.normal(size=4) * 0.3,
        "decoder.2.weight": rng.normal(size=(10, 4)) * 0.5,
        "decoder.2.bias": rng.normal(size=10) * 0.4,
        "prior_mean": rng.normal(size=2) * 0.5,
        "prior_logstd": rng.normal(size=2) * 0.3,
    }
    return params, (rng.normal(size=(6, 5)), rng.normal(size=(6, 2)))


WRONG = [
    wrong(
        "log_variance_read_as_log_deviation_when_sampling_in_both",
        "different-function|wrong-operand",
        "z = mu + sigma * noise",
        "z = mu + np.exp(logvar) * noise",
        "dlogvar = dz * noise * 0.5 * sigma",
        "dlogvar = dz * noise * np.exp(logvar)",
    ),
    wrong(
        "half_of_the_log_variance_forgotten",
        "wrong-scale|missing-derivative",
        "dlogvar = dz * noise * 0.5 * sigma",
        "dlogvar = dz * noise * sigma",
    ),
    wrong(
        "noise_forgotten_backwards",
        "missing-derivative|wrong-operand",
        "dlogvar = dz * noise * 0.5 * sigma",
        "dlogvar = dz * 0.5 * sigma",
    ),
    wrong(
        "encoder_learns_from_the_divergence_only",
        "missing-path",
        "dmu = dz + beta * dmu_kl",
        "dmu = beta * dmu_kl",
        "dlogvar = dz * noise * 0.5 * sigma + beta * dlogvar_kl",
        "dlogvar = beta * dlogvar_kl",
    ),
    wrong(
        "divergence_of_the_log_variance_reversed",
        "wrong-sign",
        "dlogvar_kl = 0.5 * (sigma**2 / prior_var - 1) / n",
        "dlogvar_kl = 0.5 * (1 - sigma**2 / prior_var) / n",
    ),
    wrong(
        "standard_prior_in_the_gradient_of_the_mean",
        "missing-derivative|wrong-operand",
        "dmu_kl = (mu - m0) / prior_var / n",
        "dmu_kl = (mu - m0) / n",
    ),
    wrong(
        "half_per_code_forgotten_in_the_cost",
        "wrong-loss",
        "(sigma**2 + (mu - m0) ** 2) / (2 * prior_var) - 0.5) / n",
        "(sigma**2 + (mu - m0) ** 2) / (2 * prior_var)) / n",
    ),
    wrong(
        "log_of_the_variance_forgotten_backwards",
        "missing-path",
        "dvar = 0.5 * (1 / var - err**2 / var**2) / n",
        "dvar = -0.5 * err**2 / var**2 / n",
    ),
    wrong(
        "softplus_slope_at_its_output",
        "derivative-at-wrong-point",
        "draw = dvar / (1 + np.exp(-raw))",
        "draw = dvar / (1 + np.exp(-var))",
    ),
    wrong("softplus_slope_forgotten", "missing-derivative", "draw = dvar / (1 + np.exp(-raw))", "draw = dvar"),
    wrong(
        "errors_of_the_mean_not_weighted",
        "missing-derivative|wrong-operand",
        "dmean = err / var / n",
        "dmean = err / n",
    ),
    wrong(
        "prior_spread_does_not_feel_the_distance",
        "missing-path",
        "np.sum(1 - (sigma**2 + (mu - m0) ** 2) / prior_var, axis=0)",
        "np.sum(1 - sigma**2 / prior_var, axis=0)",
    ),
]

TOGETHER = [
    ("half_of_the_log_variance_forgotten", "softplus_slope_forgotten"),
    ("divergence_of_the_log_variance_reversed", "log_of_the_variance_forgotten_backwards"),
    ("noise_forgotten_backwards", "errors_of_the_mean_not_weighted"),
    ("encoder_learns_from_the_divergence_only", "softplus_slope_at_its_output"),
]

RIGHT = [
    right(
        "through_the_deviations",
        "    dlogvar = dz * noise * 0.5 * sigma + beta * dlogvar_kl\n",
        "    dsigma = dz * noise + beta * (sigma / prior_var - 1 / sigma) / n\n    dlogvar = dsigma * sigma / 2\n",
        "    dpre = dout @ W2 * (1 - h**2)\n",
        "    dpre = (dmean @ W2[:width] + draw @ W2[width:]) * (1 - h) * (1 + h)\n",
    ),
]
