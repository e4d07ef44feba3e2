"""A sparse autoencoder with one matrix for both ways: squared error, KL of the units' mean activity, weight decay."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, x):
    W = params["W"]
    hidden = torch.sigmoid(x @ W + params["b"])
    output = torch.sigmoid(hidden @ W.T + params["c"])
    rate = hidden.mean(dim=0)
    divergence = 0.2 * torch.log(0.2 / rate) + 0.8 * torch.log(0.8 / (1 - rate))
    return {
        "error": 0.5 * ((output - x) ** 2).sum(dim=1).mean(),
        "sparsity": 0.7 * divergence.sum(),
        "decay": 0.05 * (W**2).sum(),
    }


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def kl(rho, rate):
    return np.sum(rho * np.log(rho / rate) + (1 - rho) * np.log((1 - rho) / (1 - rate)))


def candidate(params, x, rho=0.2, beta=0.7, lam=0.1):
    W, b, c = params["W"], params["b"], params["c"]
    n = x.shape[0]
    # encode and decode
    hidden = sigmoid(x @ W + b)
    output = sigmoid(hidden @ W.T + c)
    diff = output - x
    rate = hidden.mean(axis=0)
    loss = 0.5 * np.sum(diff**2) / n + beta * kl(rho, rate) + 0.5 * lam * np.sum(W**2)

    grad_rate = beta * ((1 - rho) / (1 - rate) - rho / rate)
    delta3 = diff * output * (1 - output) / n
    grad_W = delta3.T @ hidden
    grad_c = delta3.sum(axis=0)
    grad_hidden = delta3 @ W + grad_rate / n
    delta2 = grad_hidden * hidden * (1 - hidden)
    grad_W += x.T @ delta2
    grad_b = delta2.sum(axis=0)
    grad_W += lam * W
    return loss, {"W": grad_W, "b": grad_b, "c": grad_c}


def problem(rng):
    params = {
        "W": rng.normal(size=(6, 4)) * 0.7,
        "b": rng.normal(size=4) * 0.5 - 0.5,
        "c": rng.normal(size=6) * 0.5,
    }
    return params, (rng.uniform(0.05, 0.95, size=(5, 6)),)


WRONG = [
    wrong(
        "matrix_as_decoder_only",
        "missing-path",
        "    grad_W += x.T @ delta2\n",
        "",
    ),
    wrong(
        "encoder_overwrites_the_decoder",
        "overwritten|missing-path",
        "grad_W += x.T @ delta2",
        "grad_W = x.T @ delta2",
    ),
    wrong(
        "sparsity_not_shared_among_the_samples",
        "wrong-term-weight|wrong-scale|wrong-reduction",
        "delta3 @ W + grad_rate / n",
        "delta3 @ W + grad_rate",
    ),
    wrong(
        "sparsity_in_the_cost_only",
        "missing-path|wrong-term-weight",
        "grad_hidden = delta3 @ W + grad_rate / n",
        "grad_hidden = delta3 @ W",
    ),
    wrong(
        "sparsity_pushes_the_other_way",
        "wrong-sign|wrong-term-weight",
        "grad_rate = beta * ((1 - rho) / (1 - rate) - rho / rate)",
        "grad_rate = beta * (rho / rate - (1 - rho) / (1 - rate))",
    ),
    wrong(
        "sparsity_added_after_the_slope",
        "missing-derivative",
        "grad_hidden = delta3 @ W + grad_rate / n",
        "grad_hidden = delta3 @ W",
        "delta2 = grad_hidden * hidden * (1 - hidden)",
        "delta2 = grad_hidden * hidden * (1 - hidden) + grad_rate / n",
    ),
    wrong(
        "output_slope_forgotten",
        "missing-derivative",
        "delta3 = diff * output * (1 - output) / n",
        "delta3 = diff / n",
    ),
    wrong(
        "hidden_slope_of_the_sigmoid_again",
        "derivative-at-wrong-point",
        "delta2 = grad_hidden * hidden * (1 - hidden)",
        "delta2 = grad_hidden * sigmoid(hidden) * (1 - sigmoid(hidden))",
    ),
    wrong(
        "hidden_slope_with_the_mean_activity",
        "wrong-operand",
        "delta2 = grad_hidden * hidden * (1 - hidden)",
        "delta2 = grad_hidden * hidden * (1 - rate)",
    ),
    wrong(
        "decay_once_for_each_use",
        "wrong-term-weight|wrong-scale",
        "grad_W += lam * W",
        "grad_W += 2 * lam * W",
    ),
    wrong(
        "one_rate_for_all_units_in_both",
        "wrong-axis|wrong-reduction",
        "rate = hidden.mean(axis=0)",
        "rate = np.full(hidden.shape[1], hidden.mean())",
    ),
    wrong(
        "output_bias_averaged_again",
        "wrong-scale|wrong-reduction",
        "grad_c = delta3.sum(axis=0)",
        "grad_c = delta3.mean(axis=0)",
    ),
]

TOGETHER = [
    ("matrix_as_decoder_only", "output_bias_averaged_again"),
    ("sparsity_not_shared_among_the_samples", "decay_once_for_each_use"),
    ("output_slope_forgotten", "sparsity_pushes_the_other_way"),
    ("encoder_overwrites_the_decoder", "hidden_slope_of_the_sigmoid_again"),
]

RIGHT = [
    right(
        "a_matrix_for_each_way_then_added",
        "    grad_W = delta3.T @ hidden\n",
        "    dec = hidden.T @ delta3\n",
        "    grad_W += x.T @ delta2\n",
        "    enc = np.einsum('nv,nh->vh', x, delta2)\n",
        "    grad_W += lam * W\n",
        "    grad_W = enc + dec.T + lam * W\n",
    ),
]
