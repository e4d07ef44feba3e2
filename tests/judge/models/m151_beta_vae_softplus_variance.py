"""A beta-VAE whose encoder gives a variance by softplus and whose decoder is Bernoulli; averaged at the very end."""

import numpy as np
import torch
import torch.nn.functional as F
from torch.distributions import Normal, kl_divergence

from tests.judge.corpus import right, wrong


def reference(params, images, noise):
    hidden = torch.tanh(F.linear(images, params["W_enc"], params["b_enc"]))
    mean = F.linear(hidden, params["W_mean"], params["b_mean"])
    variance = F.softplus(F.linear(hidden, params["W_var"], params["b_var"]))
    latent = mean + torch.sqrt(variance) * noise
    features = F.leaky_relu(F.linear(latent, params["W_dec"], params["b_dec"]), 0.1)
    logits = F.linear(features, params["W_out"], params["b_out"])
    divergence = kl_divergence(Normal(mean, variance.sqrt()), Normal(0.0, 1.0))
    return {
        "reconstruction": F.binary_cross_entropy_with_logits(logits, images, reduction="sum") / len(images),
        "kl": 4.0 * divergence.sum() / len(images),
    }


def dense(inputs, weight, bias):
    return inputs @ weight.T + bias


def dense_backward(grad_output, inputs, weight):
    return grad_output.T @ inputs, grad_output.sum(axis=0), grad_output @ weight


def softplus(a):
    return np.maximum(a, 0) + np.log1p(np.exp(-np.abs(a)))


def sigmoid(a):
    return 1.0 / (1.0 + np.exp(-a))


def leaky_relu(a, slope=0.1):
    return np.where(a > 0, a, slope * a)


def leaky_relu_backward(grad_output, a, slope=0.1):
    return np.where(a > 0, grad_output, slope * grad_output)


def encode(params, images):
    hidden = np.tanh(dense(images, params["W_enc"], params["b_enc"]))
    mean = dense(hidden, params["W_mean"], params["b_mean"])
    raw_variance = dense(hidden, params["W_var"], params["b_var"])
    return hidden, mean, raw_variance


def decode(params, latent):
    pre_features = dense(latent, params["W_dec"], params["b_dec"])
    features = leaky_relu(pre_features)
    probabilities = sigmoid(dense(features, params["W_out"], params["b_out"]))
    return pre_features, features, probabilities


def candidate(params, images, noise, beta=4.0):
    batch_size = images.shape[0]
    hidden, mean, raw_variance = encode(params, images)
    variance = softplus(raw_variance)
    std = np.sqrt(variance)
    latent = mean + std * noise
    pre_features, features, probabilities = decode(params, latent)

    reconstruction = -np.sum(images * np.log(probabilities) + (1 - images) * np.log(1 - probabilities))
    kl = 0.5 * np.sum(mean**2 + variance - np.log(variance) - 1)
    loss = (reconstruction + beta * kl) / batch_size

    grads = {}
    # decoder
    grad_logits = probabilities - images
    grads["W_out"], grads["b_out"], grad_features = dense_backward(grad_logits, features, params["W_out"])
    grad_pre_features = leaky_relu_backward(grad_features, pre_features)
    grads["W_dec"], grads["b_dec"], grad_latent = dense_backward(grad_pre_features, latent, params["W_dec"])
    # reparametrization and Kullback-Leibler divergence
    grad_mean = grad_latent.copy()
    grad_mean += beta * mean
    grad_variance = grad_latent * noise * 0.5 / std
    grad_variance += beta * 0.5 * (1 - 1 / variance)
    grad_raw_variance = grad_variance * sigmoid(raw_variance)
    # encoder
    grads["W_mean"], grads["b_mean"], grad_hidden_mean = dense_backward(grad_mean, hidden, params["W_mean"])
    grads["W_var"], grads["b_var"], grad_hidden_var = dense_backward(grad_raw_variance, hidden, params["W_var"])
    grad_hidden = grad_hidden_mean + grad_hidden_var
    grad_pre_hidden = grad_hidden * (1 - hidden**2)
    grads["W_enc"], grads["b_enc"], _ = dense_backward(grad_pre_hidden, images, params["W_enc"])
    for name in grads:
        grads[name] /= batch_size
    return loss, grads


def problem(rng):
    pixels, hidden, latent, features, n = 7, 5, 2, 3, 6
    sizes = {
        "enc": (hidden, pixels),
        "mean": (latent, hidden),
        "var": (latent, hidden),
        "dec": (features, latent),
        "out": (pixels, features),
    }
    params = {f"W_{name}": rng.normal(size=size) * 0.7 for name, size in sizes.items()}
    params |= {f"b_{name}": rng.normal(size=size[0]) * 0.4 for name, size in sizes.items()}
    return params, ((rng.random(size=(n, pixels)) < 0.5).astype(float), rng.normal(size=(n, latent)))


WRONG = [
    wrong(
        "beta_forgotten_for_the_variance",
        "wrong-term-weight|wrong-scale",
        "grad_variance += beta * 0.5 * (1 - 1 / variance)",
        "grad_variance += 0.5 * (1 - 1 / variance)",
    ),
    wrong(
        "beta_forgotten_backwards",
        "wrong-term-weight",
        "grad_mean += beta * mean",
        "grad_mean += mean",
        "grad_variance += beta * 0.5 * (1 - 1 / variance)",
        "grad_variance += 0.5 * (1 - 1 / variance)",
    ),
    wrong(
        "square_root_of_the_variance_not_differentiated",
        "missing-derivative",
        "grad_variance = grad_latent * noise * 0.5 / std",
        "grad_variance = grad_latent * noise",
    ),
    wrong(
        "half_of_the_square_root_lost",
        "wrong-scale",
        "grad_variance = grad_latent * noise * 0.5 / std",
        "grad_variance = grad_latent * noise / std",
    ),
    wrong(
        "softplus_not_differentiated",
        "missing-derivative",
        "grad_raw_variance = grad_variance * sigmoid(raw_variance)",
        "grad_raw_variance = grad_variance",
    ),
    wrong(
        "softplus_slope_at_its_output",
        "derivative-at-wrong-point",
        "grad_raw_variance = grad_variance * sigmoid(raw_variance)",
        "grad_raw_variance = grad_variance * sigmoid(variance)",
    ),
    wrong("divergence_does_not_pull_the_mean", "missing-path", "    grad_mean += beta * mean\n", ""),
    wrong(
        "divergence_replaces_the_sample_route",
        "overwritten|missing-path",
        "grad_variance += beta * 0.5",
        "grad_variance = beta * 0.5",
    ),
    wrong(
        "encoder_trained_through_the_mean_only",
        "missing-path",
        "grad_hidden = grad_hidden_mean + grad_hidden_var",
        "grad_hidden = grad_hidden_mean",
    ),
    wrong(
        "divergence_as_for_a_log_variance",
        "different-function|wrong-operand|extra-derivative",
        "(1 - 1 / variance)",
        "(variance - 1)",
    ),
    wrong(
        "sign_of_the_log_variance",
        "wrong-sign",
        "(1 - 1 / variance)",
        "(1 + 1 / variance)",
    ),
    wrong(
        "sigmoid_slope_on_top_of_cross_entropy",
        "extra-derivative",
        "grad_logits = probabilities - images",
        "grad_logits = (probabilities - images) * probabilities * (1 - probabilities)",
    ),
    wrong(
        "biases_not_averaged",
        "wrong-scale|wrong-reduction",
        "        grads[name] /= batch_size\n",
        "        if grads[name].ndim == 2:\n            grads[name] /= batch_size\n",
    ),
    wrong(
        "default_leak_backwards",
        "different-function",
        "def leaky_relu_backward(grad_output, a, slope=0.1):",
        "def leaky_relu_backward(grad_output, a, slope=0.01):",
    ),
    wrong(
        "decoder_weights_from_the_mean",
        "wrong-operand",
        "dense_backward(grad_pre_features, latent,",
        "dense_backward(grad_pre_features, mean,",
    ),
    wrong(
        "divergence_of_a_standard_deviation_in_cost",
        "wrong-loss",
        "variance - np.log(variance) - 1)",
        "variance - np.log(std) - 1)",
    ),
]

TOGETHER = [
    ("beta_forgotten_for_the_variance", "softplus_not_differentiated"),
    ("square_root_of_the_variance_not_differentiated", "decoder_weights_from_the_mean"),
    ("half_of_the_square_root_lost", "divergence_does_not_pull_the_mean"),
    ("encoder_trained_through_the_mean_only", "biases_not_averaged"),
    ("divergence_replaces_the_sample_route", "default_leak_backwards"),
    ("softplus_slope_at_its_output", "divergence_as_for_a_log_variance"),
    ("sigmoid_slope_on_top_of_cross_entropy", "sign_of_the_log_variance", "encoder_trained_through_the_mean_only"),
]

RIGHT = [
    right(
        "averaged_early_with_the_derivative_of_the_standard_deviation",
        "grad_logits = probabilities - images",
        "grad_logits = (probabilities - images) / batch_size",
        "    grad_mean += beta * mean\n",
        "    grad_mean += beta * mean / batch_size\n",
        "    grad_variance = grad_latent * noise * 0.5 / std\n"
        "    grad_variance += beta * 0.5 * (1 - 1 / variance)\n"
        "    grad_raw_variance = grad_variance * sigmoid(raw_variance)\n",
        "    grad_std = grad_latent * noise + beta * (std - 1 / std) / batch_size\n"
        "    grad_raw_variance = grad_std / (2 * std) * (1 - np.exp(-variance))\n",
        "    for name in grads:\n        grads[name] /= batch_size\n",
        "",
    ),
]
