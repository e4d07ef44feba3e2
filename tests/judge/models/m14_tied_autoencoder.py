"""An autoencoder whose decoder is the encoder's transpose; softplus units, binary cross-entropy on the inputs."""

import numpy as np
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x):
    W = params["W"]
    h = F.softplus(x @ W + params["b"])
    logits = h @ W.T + params["c"]
    return F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / x.shape[0]


def softplus(z):
    return np.logaddexp(0, z)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def candidate(params, x):
    W, b, c = params["W"], params["b"], params["c"]
    n = len(x)
    z = x @ W + b
    h = softplus(z)
    o = h @ W.T + c
    p = sigmoid(o)
    loss = -np.sum(x * np.log(p) + (1 - x) * np.log(1 - p)) / n
    do = (p - x) / n
    dc = do.sum(axis=0)
    dW_decoder = do.T @ h
    dh = do @ W
    dz = dh * sigmoid(z)
    dW_encoder = x.T @ dz
    db = dz.sum(axis=0)
    return loss, {"W": dW_encoder + dW_decoder, "b": db, "c": dc}


def problem(rng):
    params = {"W": rng.normal(size=(5, 3)), "b": rng.normal(size=3), "c": rng.normal(size=5)}
    return params, (rng.uniform(0.05, 0.95, size=(7, 5)),)


WRONG = [
    wrong("decoder_forgotten", "missing-path", "dW_encoder + dW_decoder", "dW_encoder"),
    wrong("encoder_forgotten", "missing-path", "dW_encoder + dW_decoder", "dW_decoder"),
    wrong("decoder_subtracted", "wrong-sign", "dW_encoder + dW_decoder", "dW_encoder - dW_decoder"),
    wrong(
        "mean_of_both_uses", "wrong-scale|wrong-reduction", "dW_encoder + dW_decoder", "(dW_encoder + dW_decoder) / 2"
    ),
    wrong("softplus_derivative_forgotten", "missing-derivative", "dz = dh * sigmoid(z)", "dz = dh"),
    wrong("softplus_derivative_of_output", "derivative-at-wrong-point", "dh * sigmoid(z)", "dh * sigmoid(h)"),
    wrong(
        "sigmoid_slope_for_softplus",
        "different-function|extra-derivative",
        "dh * sigmoid(z)",
        "dh * sigmoid(z) * (1 - sigmoid(z))",
    ),
    wrong("relu_slope_for_softplus", "different-function", "dh * sigmoid(z)", "dh * (z > 0)"),
    wrong("output_derivative_once_more", "extra-derivative", "do = (p - x) / n", "do = (p - x) * p * (1 - p) / n"),
    wrong("averaged_over_pixels_too", "wrong-scale|wrong-reduction", "do = (p - x) / n", "do = (p - x) / x.size"),
    wrong("decoder_from_the_inputs", "wrong-operand", "dW_decoder = do.T @ h", "dW_decoder = do.T @ z"),
    wrong("encoder_from_the_reconstruction", "wrong-operand", "dW_encoder = x.T @ dz", "dW_encoder = p.T @ dz"),
    wrong("hidden_bias_averaged", "wrong-scale|wrong-reduction", "db = dz.sum(axis=0)", "db = dz.mean(axis=0)"),
    wrong(
        "squared_error_in_gradient",
        "extra-derivative|different-function",
        "do = (p - x) / n",
        "do = 2 * (p - x) * p * (1 - p) / n",
    ),
    wrong("negatives_forgotten_in_cost", "wrong-loss", "(x * np.log(p) + (1 - x) * np.log(1 - p))", "(x * np.log(p))"),
    wrong(
        "relu_in_both",
        "different-function",
        "h = softplus(z)",
        "h = np.maximum(z, 0)",
        "dh * sigmoid(z)",
        "dh * (z > 0)",
    ),
    wrong(
        "sum_in_both",
        "wrong-reduction|wrong-scale",
        "np.log(1 - p)) / n",
        "np.log(1 - p))",
        "do = (p - x) / n",
        "do = p - x",
    ),
    wrong(
        "squared_error_in_both",
        "different-function",
        "-np.sum(x * np.log(p) + (1 - x) * np.log(1 - p)) / n",
        "np.sum((p - x) ** 2) / n",
        "do = (p - x) / n",
        "do = 2 * (p - x) * p * (1 - p) / n",
    ),
]

TOGETHER = [
    ("decoder_forgotten", "softplus_derivative_forgotten"),
    ("output_derivative_once_more", "softplus_derivative_of_output"),
    ("hidden_bias_averaged", "decoder_from_the_inputs"),
    ("negatives_forgotten_in_cost", "encoder_forgotten"),
    ("averaged_over_pixels_too", "decoder_forgotten"),
    ("averaged_over_pixels_too", "softplus_derivative_of_output", "decoder_forgotten"),
]

RIGHT = [
    right(
        "loss_by_logits",
        "-np.sum(x * np.log(p) + (1 - x) * np.log(1 - p)) / n",
        "np.sum(np.logaddexp(0, o) - x * o) / n",
    ),
    right(
        "added_in_place",
        "dW_encoder = x.T @ dz",
        "dW_encoder = dW_decoder.copy()\n    dW_encoder += x.T @ dz",
        "dW_encoder + dW_decoder",
        "dW_encoder",
    ),
    right("softplus_slope_by_output", "dh * sigmoid(z)", "dh * (1 - np.exp(-h))"),
]
