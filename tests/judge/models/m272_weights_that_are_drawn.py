"""Bayes by backprop: two layers whose weights are drawn (mean and softplus spread), with a prior of two Gaussians."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, X, Y, eps1, eps2):
    complexity = 0
    a = X
    for layer, eps in (("1", eps1), ("2", eps2)):
        mu, sigma = params["mu" + layer], F.softplus(params["rho" + layer])
        w = mu + sigma * eps
        a = a @ w + params["b" + layer]
        if layer == "1":
            a = torch.tanh(a)
        log_q = -0.5 * ((w - mu) / sigma) ** 2 - torch.log(sigma) - 0.5 * math.log(2 * math.pi)
        wide = torch.exp(-0.5 * (w / 1.2) ** 2) / (1.2 * math.sqrt(2 * math.pi))
        narrow = torch.exp(-0.5 * (w / 0.3) ** 2) / (0.3 * math.sqrt(2 * math.pi))
        complexity = complexity + (log_q - torch.log(0.6 * wide + 0.4 * narrow)).sum()
    return 0.5 * ((a - Y) ** 2).sum() / X.shape[0] + 0.05 * complexity


def softplus(r):
    return np.log1p(np.exp(r))


def sigmoid(r):
    return 1 / (1 + np.exp(-r))


def normal_pdf(w, mean, std):
    return np.exp(-0.5 * ((w - mean) / std) ** 2) / (std * np.sqrt(2 * np.pi))


def make_layer(mu, rho, bias, pi=0.6, s1=1.2, s2=0.3):
    class BayesianLinear:
        def forward(self, x, eps):
            self.x, self.eps = x, eps
            self.sigma = softplus(rho)
            self.w = mu + self.sigma * eps
            return self.x @ self.w + bias

        def kl(self):
            log_q = np.log(normal_pdf(self.w, mu, self.sigma)).sum()
            prior = pi * normal_pdf(self.w, 0, s1) + (1 - pi) * normal_pdf(self.w, 0, s2)
            return log_q - np.log(prior).sum()

        def dlog_prior(self):
            p1 = pi * normal_pdf(self.w, 0, s1)
            p2 = (1 - pi) * normal_pdf(self.w, 0, s2)
            r1 = p1 / (p1 + p2)
            r2 = p2 / (p1 + p2)
            return -self.w * (r1 / s1**2 + r2 / s2**2)

        def backward(self, dout, beta):
            diff = self.w - mu
            # through the sampled weights
            dw = self.x.T @ dout
            dw += beta * (-diff / self.sigma**2 - self.dlog_prior())
            # directly, in log q(w | mu, sigma)
            direct_mu = beta * diff / self.sigma**2
            direct_sigma = beta * (diff**2 / self.sigma**3 - 1 / self.sigma)
            self.dmu = dw + direct_mu
            dsigma = dw * self.eps + direct_sigma
            self.drho = dsigma * sigmoid(rho)
            self.db = dout.sum(axis=0)
            return dout @ self.w.T

    return BayesianLinear()


def candidate(params, X, Y, eps1, eps2):
    n = X.shape[0]
    beta = 0.05
    layer1 = make_layer(params["mu1"], params["rho1"], params["b1"])
    layer2 = make_layer(params["mu2"], params["rho2"], params["b2"])

    z = layer1.forward(X, eps1)
    h = np.tanh(z)
    out = layer2.forward(h, eps2)
    nll = 0.5 * np.sum((out - Y) ** 2) / n
    loss = nll + beta * (layer1.kl() + layer2.kl())

    dout = (out - Y) / n
    dh = layer2.backward(dout, beta)
    dz = dh * (1 - h**2)
    layer1.backward(dz, beta)
    grads = {
        "mu1": layer1.dmu,
        "rho1": layer1.drho,
        "b1": layer1.db,
        "mu2": layer2.dmu,
        "rho2": layer2.drho,
        "b2": layer2.db,
    }
    return loss, grads


def problem(rng):
    n, inputs, hidden, outputs = 7, 3, 4, 2
    params = {
        "mu1": rng.normal(size=(inputs, hidden)) * 0.6,
        "rho1": rng.normal(size=(inputs, hidden)) * 0.5 - 0.7,
        "b1": rng.normal(size=hidden) * 0.3,
        "mu2": rng.normal(size=(hidden, outputs)) * 0.6,
        "rho2": rng.normal(size=(hidden, outputs)) * 0.5 - 0.7,
        "b2": rng.normal(size=outputs) * 0.3,
    }
    noise = rng.normal(size=(inputs, hidden)), rng.normal(size=(hidden, outputs))
    return params, (rng.normal(size=(n, inputs)), rng.normal(size=(n, outputs)), *noise)


WRONG = [
    wrong(
        "softplus_slope_forgotten",
        "missing-derivative",
        "self.drho = dsigma * sigmoid(rho)",
        "self.drho = dsigma",
    ),
    wrong(
        "softplus_slope_at_the_spread",
        "derivative-at-wrong-point",
        "self.drho = dsigma * sigmoid(rho)",
        "self.drho = dsigma * sigmoid(self.sigma)",
    ),
    wrong(
        "noise_forgotten_before_the_spread",
        "missing-derivative|wrong-operand",
        "dsigma = dw * self.eps + direct_sigma",
        "dsigma = dw + direct_sigma",
    ),
    wrong(
        "means_only_through_the_weights",
        "missing-path",
        "self.dmu = dw + direct_mu",
        "self.dmu = dw",
    ),
    wrong(
        "spread_in_the_exponent_forgotten",
        "missing-path",
        "beta * (diff**2 / self.sigma**3 - 1 / self.sigma)",
        "-beta / self.sigma",
    ),
    wrong(
        "means_for_the_drawn_weights_backwards",
        "wrong-operand",
        "return dout @ self.w.T",
        "return dout @ mu.T",
    ),
    wrong("tanh_slope_at_its_input", "derivative-at-wrong-point", "dz = dh * (1 - h**2)", "dz = dh * (1 - z**2)"),
    wrong(
        "spread_is_an_exponential_in_both",
        "different-function",
        "return np.log1p(np.exp(r))",
        "return np.exp(r)",
        "self.drho = dsigma * sigmoid(rho)",
        "self.drho = dsigma * np.exp(rho)",
    ),
    wrong(
        "prior_mixed_by_its_fixed_shares",
        "wrong-operand|different-function|missing-derivative|missing-path",
        "-self.w * (r1 / s1**2 + r2 / s2**2)",
        "-self.w * (pi / s1**2 + (1 - pi) / s2**2)",
    ),
    wrong(
        "complexity_in_full_in_the_gradient",
        "wrong-term-weight|wrong-scale",
        "dh = layer2.backward(dout, beta)",
        "dh = layer2.backward(dout, 1.0)",
        "layer1.backward(dz, beta)",
        "layer1.backward(dz, 1.0)",
    ),
    wrong(
        "prior_pushes_outwards",
        "wrong-sign|wrong-term-weight",
        "self.sigma**2 - self.dlog_prior())",
        "self.sigma**2 + self.dlog_prior())",
    ),
    wrong(
        "errors_summed_in_the_gradient",
        "wrong-term-weight|wrong-reduction|wrong-scale",
        "dout = (out - Y) / n",
        "dout = out - Y",
    ),
    wrong(
        "complexity_in_full_in_the_cost",
        "wrong-loss|wrong-term-weight",
        "loss = nll + beta * (",
        "loss = nll + (",
    ),
    wrong(
        "biases_averaged",
        "wrong-scale|wrong-reduction",
        "self.db = dout.sum(axis=0)",
        "self.db = dout.mean(axis=0)",
    ),
]

TOGETHER = [
    ("softplus_slope_forgotten", "tanh_slope_at_its_input"),
    ("noise_forgotten_before_the_spread", "biases_averaged"),
    ("means_only_through_the_weights", "softplus_slope_at_the_spread"),
    ("spread_in_the_exponent_forgotten", "means_for_the_drawn_weights_backwards"),
    ("prior_pushes_outwards", "tanh_slope_at_its_input"),
    ("errors_summed_in_the_gradient", "softplus_slope_forgotten"),
    ("complexity_in_full_in_the_cost", "means_for_the_drawn_weights_backwards"),
    ("spread_is_an_exponential_in_both", "biases_averaged"),
    ("softplus_slope_forgotten", "means_only_through_the_weights", "biases_averaged"),
    ("tanh_slope_at_its_input", "noise_forgotten_before_the_spread", "means_for_the_drawn_weights_backwards"),
]

RIGHT = [
    right(
        "what_cancels_is_left_out",
        "dw += beta * (-diff / self.sigma**2 - self.dlog_prior())",
        "dw -= beta * self.dlog_prior()",
        "direct_mu = beta * diff / self.sigma**2",
        "direct_mu = 0.0",
        "beta * (diff**2 / self.sigma**3 - 1 / self.sigma)",
        "-beta / self.sigma",
    ),
    right(
        "softplus_slope_from_the_spread",
        "self.drho = dsigma * sigmoid(rho)",
        "self.drho = dsigma * (1 - np.exp(-self.sigma))",
        "dz = dh * (1 - h**2)",
        "dz = dh / np.cosh(z) ** 2",
    ),
]
