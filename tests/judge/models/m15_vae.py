"""A variational autoencoder with given noise: reconstruction and Kullback-Leibler terms, reparameterised."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, x, noise):
    h = torch.tanh(x @ params["W_e"] + params["b_e"])
    mu, logvar = h @ params["W_mu"], h @ params["W_s"]
    z = mu + torch.exp(0.5 * logvar) * noise
    recon = torch.sigmoid(z @ params["W_d"] + params["b_d"])
    likelihood = (x * recon.log() + (1 - x) * (1 - recon).log()).sum(dim=1).mean()
    kl = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp(), dim=1).mean()
    return {"reconstruction": -likelihood, "kl": kl}


def candidate(params, x, noise):
    W_mu, W_s, W_d = params["W_mu"], params["W_s"], params["W_d"]
    n = len(x)
    h = np.tanh(x @ params["W_e"] + params["b_e"])
    mu = h @ W_mu
    s = h @ W_s
    z = mu + np.exp(s / 2) * noise
    r = 1 / (1 + np.exp(-(z @ W_d + params["b_d"])))
    data = -np.sum(x * np.log(r) + (1 - x) * np.log(1 - r)) / n
    kl = -np.sum(1 + s - mu**2 - np.exp(s)) / (2 * n)
    loss = data + kl
    do = (r - x) / n
    dW_d = z.T @ do
    db_d = do.sum(axis=0)
    dz = do @ W_d.T
    dmu = dz + mu / n
    ds = dz * noise * np.exp(s / 2) / 2 + (np.exp(s) - 1) / (2 * n)
    dW_mu = h.T @ dmu
    dW_s = h.T @ ds
    dh = dmu @ W_mu.T + ds @ W_s.T
    da = dh * (1 - h**2)
    dW_e = x.T @ da
    db_e = da.sum(axis=0)
    return loss, {"W_e": dW_e, "b_e": db_e, "W_mu": dW_mu, "W_s": dW_s, "W_d": dW_d, "b_d": db_d}


def problem(rng):
    params = {
        "W_e": rng.normal(size=(6, 4)) * 0.7,
        "b_e": rng.normal(size=4) * 0.5,
        "W_mu": rng.normal(size=(4, 3)) * 0.7,
        "W_s": rng.normal(size=(4, 3)) * 0.7,
        "W_d": rng.normal(size=(3, 6)),
        "b_d": rng.normal(size=6) * 0.5,
    }
    return params, (rng.uniform(0.1, 0.9, size=(5, 6)), rng.normal(size=(5, 3)))


WRONG = [
    wrong("kl_forgotten_in_mu", "missing-path|wrong-term-weight", "dmu = dz + mu / n", "dmu = dz"),
    wrong("kl_forgotten_in_variance", "missing-path|wrong-term-weight", " + (np.exp(s) - 1) / (2 * n)", ""),
    wrong("kl_forgotten", "wrong-term-weight", "dmu = dz + mu / n", "dmu = dz", " + (np.exp(s) - 1) / (2 * n)", ""),
    wrong(
        "kl_not_averaged",
        "wrong-term-weight",
        "dmu = dz + mu / n",
        "dmu = dz + mu",
        "(np.exp(s) - 1) / (2 * n)",
        "(np.exp(s) - 1) / 2",
    ),
    wrong(
        "kl_twice_in_gradient",
        "wrong-term-weight",
        "dmu = dz + mu / n",
        "dmu = dz + 2 * mu / n",
        "(np.exp(s) - 1) / (2 * n)",
        "(np.exp(s) - 1) / n",
    ),
    wrong(
        "half_of_the_deviation_forgotten",
        "wrong-scale|missing-derivative",
        "np.exp(s / 2) / 2 + (",
        "np.exp(s / 2) + (",
    ),
    wrong("noise_forgotten", "missing-derivative|missing-path|wrong-operand", "dz * noise * np.exp", "dz * np.exp"),
    wrong("deviation_forgotten", "missing-derivative", "dz * noise * np.exp(s / 2) / 2", "dz * noise / 2"),
    wrong(
        "variance_for_deviation",
        "different-function|derivative-at-wrong-point|wrong-operand|wrong-scale",
        "dz * noise * np.exp(s / 2) / 2",
        "dz * noise * np.exp(s) / 2",
    ),
    wrong("sampling_not_differentiated", "missing-path", "dz * noise * np.exp(s / 2) / 2 + (np", "(np"),
    wrong("variance_head_forgotten", "missing-path", "dmu @ W_mu.T + ds @ W_s.T", "dmu @ W_mu.T"),
    wrong("mean_head_forgotten", "missing-path", "dmu @ W_mu.T + ds @ W_s.T", "ds @ W_s.T"),
    wrong("heads_exchanged", "wrong-operand", "dmu @ W_mu.T + ds @ W_s.T", "dmu @ W_s.T + ds @ W_mu.T"),
    wrong("tanh_derivative_forgotten", "missing-derivative", "da = dh * (1 - h**2)", "da = dh"),
    wrong("output_derivative_not_cancelled", "extra-derivative", "do = (r - x) / n", "do = (r - x) * r * (1 - r) / n"),
    wrong("mean_for_the_sample_in_decoder", "wrong-operand", "dW_d = z.T @ do", "dW_d = mu.T @ do"),
    wrong(
        "averaged_over_pixels",
        "wrong-scale|wrong-reduction|wrong-term-weight",
        "do = (r - x) / n",
        "do = (r - x) / x.size",
    ),
    wrong("one_forgotten_in_kl", "missing-path", "(np.exp(s) - 1) / (2 * n)", "np.exp(s) / (2 * n)"),
    wrong("kl_halved_in_cost", "wrong-loss", "/ (2 * n)\n    loss", "/ (4 * n)\n    loss"),
    wrong(
        "kl_sign",
        "wrong-sign|wrong-term-weight",
        "dmu = dz + mu / n",
        "dmu = dz - mu / n",
        "+ (np.exp(s) - 1) /",
        "- (np.exp(s) - 1) /",
    ),
    wrong(
        "log_variance_taken_for_log_deviation_in_both",
        "different-function|wrong-scale|missing-path",
        "mu + np.exp(s / 2) * noise",
        "mu + np.exp(s) * noise",
        "dz * noise * np.exp(s / 2) / 2",
        "dz * noise * np.exp(s)",
    ),
]

TOGETHER = [
    ("kl_forgotten", "tanh_derivative_forgotten"),
    ("sampling_not_differentiated", "output_derivative_not_cancelled"),
    ("mean_for_the_sample_in_decoder", "half_of_the_deviation_forgotten"),
    ("kl_halved_in_cost", "kl_forgotten"),
    ("mean_for_the_sample_in_decoder", "variance_head_forgotten", "tanh_derivative_forgotten"),
]

RIGHT = [
    right("per_sample", "dW_mu = h.T @ dmu", "dW_mu = sum(np.outer(one, d) for one, d in zip(h, dmu))"),
    right("deviation_from_sample", "dz * noise * np.exp(s / 2) / 2", "dz * (z - mu) / 2"),
]
