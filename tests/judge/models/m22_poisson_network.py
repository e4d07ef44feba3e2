"""Poisson regression of counts with an offset: two hidden layers (tanh, sigmoid), exponential link, fused loss."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, exposure, counts):
    h1 = torch.tanh(x @ params["W1"] + params["b1"])
    h2 = torch.sigmoid(h1 @ params["W2"])
    log_rate = h2 @ params["w3"] + torch.log(exposure)
    return F.poisson_nll_loss(log_rate, counts, log_input=True, full=False)


def candidate(params, x, exposure, counts):
    W1, W2, w3 = params["W1"], params["W2"], params["w3"]
    n = len(counts)
    h1 = np.tanh(x @ W1 + params["b1"])
    h2 = 1 / (1 + np.exp(-(h1 @ W2)))
    eta = h2 @ w3 + np.log(exposure)
    rate = np.exp(eta)
    loss = np.mean(rate - counts * eta)
    deta = (rate - counts) / n
    dw3 = h2.T @ deta
    dh2 = np.outer(deta, w3)
    dz2 = dh2 * h2 * (1 - h2)
    dW2 = h1.T @ dz2
    dh1 = dz2 @ W2.T
    dz1 = dh1 * (1 - h1**2)
    dW1 = x.T @ dz1
    db1 = np.sum(dz1, axis=0)
    return loss, {"W1": dW1, "b1": db1, "W2": dW2, "w3": dw3}


def problem(rng):
    params = {
        "W1": rng.normal(size=(3, 4)),
        "b1": rng.normal(size=4) * 0.5,
        "W2": rng.normal(size=(4, 4)),
        "w3": rng.normal(size=4),
    }
    return params, (rng.normal(size=(9, 3)), rng.uniform(0.5, 2, size=9), rng.poisson(2, size=9).astype(float))


WRONG = [
    wrong("link_applied_twice", "extra-derivative", "deta = (rate - counts) / n", "deta = (rate - counts) * rate / n"),
    wrong("rate_forgotten_in_gradient", "missing-path", "deta = (rate - counts) / n", "deta = -counts / n"),
    wrong("counts_forgotten_in_gradient", "missing-path", "deta = (rate - counts) / n", "deta = rate / n"),
    wrong(
        "logarithm_for_the_rate",
        "missing-derivative|wrong-operand|different-function|derivative-at-wrong-point",
        "deta = (rate - counts) / n",
        "deta = (eta - counts) / n",
    ),
    wrong("counts_less_rate", "wrong-sign", "deta = (rate - counts) / n", "deta = (counts - rate) / n"),
    wrong("not_averaged", "wrong-scale|wrong-reduction", "deta = (rate - counts) / n", "deta = rate - counts"),
    wrong("sigmoid_derivative_forgotten", "missing-derivative", "dz2 = dh2 * h2 * (1 - h2)", "dz2 = dh2"),
    wrong("sigmoid_derivative_twice", "extra-derivative", "dh2 * h2 * (1 - h2)", "dh2 * (h2 * (1 - h2)) ** 2"),
    wrong(
        "sigmoid_derivative_at_activation",
        "derivative-at-wrong-point",
        "dz2 = dh2 * h2 * (1 - h2)",
        "q = 1 / (1 + np.exp(-h2))\n    dz2 = dh2 * q * (1 - q)",
    ),
    wrong("tanh_slope_for_sigmoid", "different-function", "dh2 * h2 * (1 - h2)", "dh2 * (1 - h2**2)"),
    wrong(
        "half_of_the_sigmoid_slope",
        "missing-derivative|different-function|missing-path",
        "dh2 * h2 * (1 - h2)",
        "dh2 * (1 - h2)",
    ),
    wrong("tanh_derivative_forgotten", "missing-derivative", "dz1 = dh1 * (1 - h1**2)", "dz1 = dh1"),
    wrong("tanh_derivative_not_squared", "different-function|derivative-at-wrong-point", "(1 - h1**2)", "(1 - h1)"),
    wrong("sigmoid_slope_for_tanh", "different-function", "dh1 * (1 - h1**2)", "dh1 * h1 * (1 - h1)"),
    wrong("W2_not_transposed", "not-transposed", "dh1 = dz2 @ W2.T", "dh1 = dz2 @ W2"),
    wrong("W2_gradient_transposed", "transposed", '"W2": dW2', '"W2": dW2.T'),
    wrong("W2_from_its_own_output", "wrong-operand", "dW2 = h1.T @ dz2", "dW2 = h2.T @ dz2"),
    wrong("W2_moved_first", "wrong-operand", "dh1 = dz2 @ W2.T", "dh1 = dz2 @ (W2 - 0.05 * dW2).T"),
    wrong("w3_moved_first", "wrong-operand", "dh2 = np.outer(deta, w3)", "dh2 = np.outer(deta, w3 - 0.1 * dw3)"),
    wrong("w3_from_the_first_layer", "wrong-operand", "dw3 = h2.T @ deta", "dw3 = h1.T @ deta"),
    wrong("bias_of_first_sample", "one-sample-only", "db1 = np.sum(dz1, axis=0)", "db1 = dz1[0]"),
    wrong(
        "offset_forgotten_in_both",
        "different-function|missing-path|wrong-operand",
        "h2 @ w3 + np.log(exposure)",
        "h2 @ w3",
    ),
    wrong("offset_without_logarithm_in_both", "different-function", "h2 @ w3 + np.log(exposure)", "h2 @ w3 + exposure"),
    wrong(
        "squared_error_in_both",
        "different-function",
        "np.mean(rate - counts * eta)",
        "np.mean((rate - counts) ** 2)",
        "(rate - counts) / n",
        "2 * (rate - counts) * rate / n",
    ),
    wrong(
        "relu_in_both",
        "different-function",
        'np.tanh(x @ W1 + params["b1"])',
        'np.maximum(x @ W1 + params["b1"], 0)',
        "(1 - h1**2)",
        "(h1 > 0)",
    ),
    wrong(
        "bias_forgotten_in_both",
        "missing-path|different-function",
        'h1 = np.tanh(x @ W1 + params["b1"])',
        "h1 = np.tanh(x @ W1)",
        "np.sum(dz1, axis=0)",
        "0 * np.sum(dz1, axis=0)",
    ),
    wrong("cost_counts_forgotten", "wrong-loss", "np.mean(rate - counts * eta)", "np.mean(rate - eta)"),
]

TOGETHER = [
    ("link_applied_twice", "W2_not_transposed"),
    ("sigmoid_derivative_forgotten", "tanh_derivative_forgotten"),
    ("sigmoid_derivative_twice", "tanh_derivative_forgotten"),
    ("tanh_slope_for_sigmoid", "W2_not_transposed"),
    ("cost_counts_forgotten", "sigmoid_derivative_at_activation"),
    ("W2_from_its_own_output", "bias_of_first_sample"),
    ("counts_less_rate", "tanh_derivative_forgotten"),
    ("w3_from_the_first_layer", "sigmoid_derivative_forgotten", "tanh_derivative_forgotten"),
    ("link_applied_twice", "sigmoid_derivative_forgotten", "W2_not_transposed"),
]

RIGHT = [
    right("rate_by_division", "deta = (rate - counts) / n", "deta = rate * (1 - counts / rate) / n"),
    right("reversed_order_of_samples", "db1 = np.sum(dz1, axis=0)", "db1 = np.sum(dz1[::-1], axis=0)"),
    right("float_copies", "dz1 = dh1 * (1 - h1**2)", "dz1 = (dh1.copy() - dh1 * h1 * h1) + 0.0"),
]
