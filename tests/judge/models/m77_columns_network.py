"""A first-course network: samples in columns, three layers (tanh, leaky ReLU, softplus), two outputs, L2 penalty."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong

BATCH_AXIS = 1


def reference(params, x, y):
    a1 = torch.tanh(params["W1"] @ x + params["b1"])
    a2 = F.leaky_relu(params["W2"] @ a1 + params["b2"], negative_slope=0.2)
    prediction = F.softplus(params["W3"] @ a2 + params["b3"])
    squares = sum(params[name].pow(2).sum() for name in ("W1", "W2", "W3"))
    return {"fit": F.mse_loss(prediction, y), "penalty": 0.5 / (2 * x.shape[1]) * squares}


def leaky_relu(z):
    return np.where(z > 0, z, 0.2 * z)


def d_leaky_relu(z):
    return np.where(z > 0, 1.0, 0.2)


def softplus(z):
    return np.log(1 + np.exp(z))


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def candidate(params, x, y):
    W1, b1 = params["W1"], params["b1"]
    W2, b2 = params["W2"], params["b2"]
    W3, b3 = params["W3"], params["b3"]
    lam = 0.5
    m = x.shape[1]

    # forward
    Z1 = W1 @ x + b1
    A1 = np.tanh(Z1)
    Z2 = W2 @ A1 + b2
    A2 = leaky_relu(Z2)
    Z3 = W3 @ A2 + b3
    A3 = softplus(Z3)
    squares = np.sum(W1**2) + np.sum(W2**2) + np.sum(W3**2)
    loss = np.sum((A3 - y) ** 2) / (2 * m) + lam / (2 * m) * squares

    # backward
    dA3 = (A3 - y) / m
    dZ3 = dA3 * sigmoid(Z3)
    dW3 = dZ3 @ A2.T + lam / m * W3
    db3 = np.sum(dZ3, axis=1, keepdims=True)
    dA2 = W3.T @ dZ3
    dZ2 = dA2 * d_leaky_relu(Z2)
    dW2 = dZ2 @ A1.T + lam / m * W2
    db2 = np.sum(dZ2, axis=1, keepdims=True)
    dA1 = W2.T @ dZ2
    dZ1 = dA1 * (1 - A1**2)
    dW1 = dZ1 @ x.T + lam / m * W1
    db1 = np.sum(dZ1, axis=1, keepdims=True)
    return loss, {"W1": dW1, "b1": db1, "W2": dW2, "b2": db2, "W3": dW3, "b3": db3}


def problem(rng):
    params = {
        "W1": rng.normal(size=(5, 4)) * 0.6,
        "b1": rng.normal(size=(5, 1)) * 0.5,
        "W2": rng.normal(size=(5, 5)) * 0.8,
        "b2": rng.normal(size=(5, 1)) * 0.5,
        "W3": rng.normal(size=(2, 5)) * 0.9,
        "b3": rng.normal(size=(2, 1)) * 0.5,
    }
    return params, (rng.normal(size=(4, 9)), rng.exponential(1.5, size=(2, 9)))


WRONG = [
    wrong(
        "tanh_slope_of_the_sum",
        "derivative-at-wrong-point|wrong-operand",
        "dZ1 = dA1 * (1 - A1**2)",
        "dZ1 = dA1 * (1 - Z1**2)",
    ),
    wrong("square_in_the_tanh_slope_forgotten", "different-function", "(1 - A1**2)", "(1 - A1)"),
    wrong(
        "relu_slope_for_leaky_relu",
        "different-function",
        "return np.where(z > 0, 1.0, 0.2)",
        "return (z > 0).astype(float)",
    ),
    wrong(
        "leaky_slope_at_the_layer_before",
        "derivative-at-wrong-point|wrong-operand",
        "dZ2 = dA2 * d_leaky_relu(Z2)",
        "dZ2 = dA2 * d_leaky_relu(A1)",
    ),
    wrong(
        "softplus_slope_at_the_prediction",
        "derivative-at-wrong-point",
        "dZ3 = dA3 * sigmoid(Z3)",
        "dZ3 = dA3 * sigmoid(A3)",
    ),
    wrong("output_taken_as_linear", "missing-derivative", "dZ3 = dA3 * sigmoid(Z3)", "dZ3 = dA3"),
    wrong(
        "two_left_from_the_square",
        "wrong-term-weight|wrong-scale",
        "dA3 = (A3 - y) / m",
        "dA3 = 2 * (A3 - y) / m",
    ),
    wrong("error_the_other_way_round", "wrong-sign|wrong-term-weight", "dA3 = (A3 - y) / m", "dA3 = (y - A3) / m"),
    wrong("W2_not_transposed", "not-transposed", "dA1 = W2.T @ dZ2", "dA1 = W2 @ dZ2"),
    wrong("dW2_transposed", "transposed", "dW2 = dZ2 @ A1.T", "dW2 = A1 @ dZ2.T"),
    wrong("W2_updated_before_its_use", "wrong-operand", "dA1 = W2.T @ dZ2", "dA1 = (W2 - 0.5 * dW2).T @ dZ2"),
    wrong("sum_for_the_activation_in_W3", "wrong-operand", "dW3 = dZ3 @ A2.T", "dW3 = dZ3 @ Z2.T"),
    wrong(
        "penalty_forgotten_in_W1",
        "wrong-part-penalised|missing-path|wrong-term-weight",
        "dW1 = dZ1 @ x.T + lam / m * W1",
        "dW1 = dZ1 @ x.T",
    ),
    wrong(
        "penalty_not_over_the_batch",
        "wrong-term-weight|wrong-scale|wrong-reduction",
        "+ lam / m * W3",
        "+ lam * W3",
        "+ lam / m * W2",
        "+ lam * W2",
        "+ lam / m * W1",
        "+ lam * W1",
    ),
    wrong("b1_averaged", "wrong-reduction|wrong-scale", "db1 = np.sum(dZ1", "db1 = np.mean(dZ1"),
    wrong("b2_without_its_second_axis", "wrong-shape", "np.sum(dZ2, axis=1, keepdims=True)", "np.sum(dZ2, axis=1)"),
    wrong(
        "sigmoid_for_tanh_in_both",
        "different-function",
        "A1 = np.tanh(Z1)",
        "A1 = sigmoid(Z1)",
        "dA1 * (1 - A1**2)",
        "dA1 * A1 * (1 - A1)",
    ),
    wrong(
        "usual_leaky_slope_in_both",
        "different-function",
        "return np.where(z > 0, z, 0.2 * z)",
        "return np.where(z > 0, z, 0.01 * z)",
        "return np.where(z > 0, 1.0, 0.2)",
        "return np.where(z > 0, 1.0, 0.01)",
    ),
    wrong(
        "biases_penalised_in_both",
        "wrong-part-penalised",
        "np.sum(W3**2)\n",
        "np.sum(W3**2) + np.sum(b1**2) + np.sum(b2**2) + np.sum(b3**2)\n",
        "db3 = np.sum(dZ3, axis=1, keepdims=True)",
        "db3 = np.sum(dZ3, axis=1, keepdims=True) + lam / m * b3",
        "db2 = np.sum(dZ2, axis=1, keepdims=True)",
        "db2 = np.sum(dZ2, axis=1, keepdims=True) + lam / m * b2",
        "db1 = np.sum(dZ1, axis=1, keepdims=True)",
        "db1 = np.sum(dZ1, axis=1, keepdims=True) + lam / m * b1",
    ),
    wrong("half_of_the_penalty_forgotten_in_cost", "wrong-loss", "+ lam / (2 * m) * squares", "+ lam / m * squares"),
]

TOGETHER = [
    ("tanh_slope_of_the_sum", "penalty_forgotten_in_W1"),
    ("relu_slope_for_leaky_relu", "b1_averaged"),
    ("softplus_slope_at_the_prediction", "W2_not_transposed"),
    ("dW2_transposed", "output_taken_as_linear"),
    ("sum_for_the_activation_in_W3", "error_the_other_way_round"),
    ("two_left_from_the_square", "penalty_not_over_the_batch", "square_in_the_tanh_slope_forgotten"),
    ("leaky_slope_at_the_layer_before", "penalty_forgotten_in_W1", "sum_for_the_activation_in_W3"),
]

RIGHT = [
    right(
        "one_sample_after_another",
        "    dA3 = (A3 - y) / m\n"
        "    dZ3 = dA3 * sigmoid(Z3)\n"
        "    dW3 = dZ3 @ A2.T + lam / m * W3\n"
        "    db3 = np.sum(dZ3, axis=1, keepdims=True)\n"
        "    dA2 = W3.T @ dZ3\n"
        "    dZ2 = dA2 * d_leaky_relu(Z2)\n"
        "    dW2 = dZ2 @ A1.T + lam / m * W2\n"
        "    db2 = np.sum(dZ2, axis=1, keepdims=True)\n"
        "    dA1 = W2.T @ dZ2\n"
        "    dZ1 = dA1 * (1 - A1**2)\n"
        "    dW1 = dZ1 @ x.T + lam / m * W1\n"
        "    db1 = np.sum(dZ1, axis=1, keepdims=True)\n",
        "    dW1, dW2, dW3 = lam / m * W1, lam / m * W2, lam / m * W3\n"
        "    db1, db2, db3 = np.zeros_like(b1), np.zeros_like(b2), np.zeros_like(b3)\n"
        "    for i in range(m):\n"
        "        delta3 = (A3[:, i] - y[:, i]) / m * sigmoid(Z3[:, i])\n"
        "        delta2 = (delta3 @ W3) * d_leaky_relu(Z2[:, i])\n"
        "        delta1 = (delta2 @ W2) / np.cosh(Z1[:, i]) ** 2\n"
        "        dW3 += np.outer(delta3, A2[:, i])\n"
        "        dW2 += np.outer(delta2, A1[:, i])\n"
        "        dW1 += np.outer(delta1, x[:, i])\n"
        "        db3[:, 0] += delta3\n"
        "        db2[:, 0] += delta2\n"
        "        db1[:, 0] += delta1\n",
    ),
    right(
        "bias_as_a_column_of_the_weights",
        "    dW3 = dZ3 @ A2.T + lam / m * W3\n    db3 = np.sum(dZ3, axis=1, keepdims=True)\n",
        "    ones = np.ones((1, m))\n"
        "    both = dZ3 @ np.vstack([A2, ones]).T\n"
        "    dW3, db3 = both[:, :-1] + lam / m * W3, both[:, -1:]\n",
        "    dW2 = dZ2 @ A1.T + lam / m * W2\n    db2 = np.sum(dZ2, axis=1, keepdims=True)\n",
        "    both = dZ2 @ np.vstack([A1, ones]).T\n    dW2, db2 = both[:, :-1] + lam / m * W2, both[:, -1:]\n",
        "    dW1 = dZ1 @ x.T + lam / m * W1\n    db1 = np.sum(dZ1, axis=1, keepdims=True)\n",
        "    both = dZ1 @ np.vstack([x, ones]).T\n    dW1, db1 = both[:, :-1] + lam / m * W1, both[:, -1:]\n",
    ),
    right(
        "layers_in_a_loop",
        "    dA3 = (A3 - y) / m\n"
        "    dZ3 = dA3 * sigmoid(Z3)\n"
        "    dW3 = dZ3 @ A2.T + lam / m * W3\n"
        "    db3 = np.sum(dZ3, axis=1, keepdims=True)\n"
        "    dA2 = W3.T @ dZ3\n"
        "    dZ2 = dA2 * d_leaky_relu(Z2)\n"
        "    dW2 = dZ2 @ A1.T + lam / m * W2\n"
        "    db2 = np.sum(dZ2, axis=1, keepdims=True)\n"
        "    dA1 = W2.T @ dZ2\n"
        "    dZ1 = dA1 * (1 - A1**2)\n"
        "    dW1 = dZ1 @ x.T + lam / m * W1\n"
        "    db1 = np.sum(dZ1, axis=1, keepdims=True)\n"
        '    return loss, {"W1": dW1, "b1": db1, "W2": dW2, "b2": db2, "W3": dW3, "b3": db3}',
        "    slopes = [1 - A1**2, np.where(Z2 < 0, 0.2, 1), 1 - np.exp(-A3)]\n"
        "    grads = {}\n"
        "    back = (A3 - y) / m\n"
        "    for layer, W, before in ((3, W3, A2), (2, W2, A1), (1, W1, x)):\n"
        "        delta = back * slopes[layer - 1]\n"
        '        grads[f"W{layer}"] = delta.dot(before.T) + W * (lam / m)\n'
        '        grads[f"b{layer}"] = delta.dot(np.ones((m, 1)))\n'
        "        back = W.T.dot(delta)\n"
        "    return loss, grads",
    ),
]
