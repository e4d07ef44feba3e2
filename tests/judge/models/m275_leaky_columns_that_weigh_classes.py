"""A blog's network from scratch, samples in columns: leaky ReLU, softsign, softmax, classes that weigh more, L2."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong

BATCH_AXIS = 1


def reference(params, X, Y):
    examples = X.shape[1]
    h = F.leaky_relu(params["W1"] @ X + params["b1"][:, None], 0.1)
    h = F.softsign(params["W2"] @ h + params["b2"][:, None])
    scores = params["W3"] @ h + params["b3"][:, None]
    weights = torch.tensor([1.0, 0.6, 1.7, 1.3], dtype=X.dtype) @ Y
    data = (weights * -(Y * F.log_softmax(scores, dim=0)).sum(dim=0)).mean()
    squares = sum((params[name] ** 2).sum() for name in ("W1", "W2", "W3"))
    return {"data": data, "penalty": 0.9 / 2 * squares / examples}


def candidate(model, X, Y):
    W1, b1, W2, b2, W3, b3 = model["W1"], model["b1"], model["W2"], model["b2"], model["W3"], model["b3"]
    reg_lambda = 0.9
    class_weights = np.array([1.0, 0.6, 1.7, 1.3])
    num_examples = X.shape[1]

    # Forward propagation
    z1 = W1.dot(X) + b1[:, None]
    a1 = np.where(z1 > 0, z1, 0.1 * z1)
    z2 = W2.dot(a1) + b2[:, None]
    a2 = z2 / (1 + np.abs(z2))
    z3 = W3.dot(a2) + b3[:, None]
    exp_scores = np.exp(z3)
    probs = exp_scores / np.sum(exp_scores, axis=0, keepdims=True)

    # Calculating the loss
    weights = class_weights.dot(Y)
    correct_logprobs = -np.sum(Y * np.log(probs), axis=0)
    data_loss = np.sum(weights * correct_logprobs)
    data_loss += reg_lambda / 2 * (np.sum(np.square(W1)) + np.sum(np.square(W2)) + np.sum(np.square(W3)))
    loss = 1.0 / num_examples * data_loss

    # Backpropagation
    delta4 = weights * (probs - Y) / num_examples
    dW3 = delta4.dot(a2.T)
    db3 = np.sum(delta4, axis=1)
    delta3 = W3.T.dot(delta4) * (1 - np.abs(a2)) ** 2
    dW2 = delta3.dot(a1.T)
    db2 = np.sum(delta3, axis=1)
    delta2 = W2.T.dot(delta3) * np.where(z1 > 0, 1, 0.1)
    dW1 = delta2.dot(X.T)
    db1 = np.sum(delta2, axis=1)

    # Add regularization terms (b1, b2 and b3 have none)
    decay = reg_lambda / num_examples
    dW3 += decay * W3
    dW2 += decay * W2
    dW1 += decay * W1
    return loss, {"W1": dW1, "b1": db1, "W2": dW2, "b2": db2, "W3": dW3, "b3": db3}


def problem(rng):
    inputs, first, second, classes, samples = 3, 6, 5, 4, 7
    params = {
        "W1": rng.normal(size=(first, inputs)) * 0.8,
        "b1": rng.normal(size=first) * 0.3,
        "W2": rng.normal(size=(second, first)) * 0.7,
        "b2": rng.normal(size=second) * 0.4,
        "W3": rng.normal(size=(classes, second)),
        "b3": rng.normal(size=classes) * 0.5,
    }
    labels = rng.permutation([0, 1, 2, 3, 2, 0, 1])
    return params, (rng.normal(size=(inputs, samples)), np.eye(classes)[:, labels])


WRONG = [
    wrong(
        "class_weights_left_out_of_the_delta",
        "missing-derivative|different-function|wrong-operand",
        "delta4 = weights * (probs - Y) / num_examples",
        "delta4 = (probs - Y) / num_examples",
    ),
    wrong(
        "class_weights_on_the_labels_only",
        "missing-derivative|different-function|wrong-operand|missing-path",
        "delta4 = weights * (probs - Y) / num_examples",
        "delta4 = (probs - weights * Y) / num_examples",
    ),
    wrong(
        "softmax_slope_once_more",
        "extra-derivative|different-function",
        "delta4 = weights * (probs - Y) / num_examples",
        "delta4 = weights * (probs - Y) * probs * (1 - probs) / num_examples",
    ),
    wrong(
        "softmax_over_the_samples_in_both",
        "wrong-axis",
        "np.sum(exp_scores, axis=0, keepdims=True)",
        "np.sum(exp_scores, axis=1, keepdims=True)",
    ),
    wrong(
        "decay_not_divided_by_the_examples",
        "wrong-term-weight|wrong-scale",
        "decay = reg_lambda / num_examples",
        "decay = reg_lambda",
    ),
    wrong(
        "decay_of_the_middle_layer_forgotten",
        "wrong-part-penalised|missing-path|wrong-term-weight",
        "    dW2 += decay * W2\n",
        "",
    ),
    wrong(
        "biases_of_the_middle_layer_decay",
        "wrong-part-penalised",
        "    dW2 += decay * W2\n",
        "    dW2 += decay * W2\n    db2 += decay * b2\n",
    ),
    wrong(
        "half_of_the_penalty_forgotten_in_cost",
        "wrong-loss|wrong-term-weight",
        "reg_lambda / 2 * (np.sum",
        "reg_lambda * (np.sum",
    ),
    wrong(
        "softsign_with_the_slope_of_tanh",
        "different-function",
        "(1 - np.abs(a2)) ** 2",
        "(1 - np.power(a2, 2))",
    ),
    wrong(
        "softsign_slope_at_its_output",
        "derivative-at-wrong-point",
        "* (1 - np.abs(a2)) ** 2",
        "/ (1 + np.abs(a2)) ** 2",
    ),
    wrong(
        "leak_without_a_slope",
        "different-function|missing-path",
        "np.where(z1 > 0, 1, 0.1)",
        "np.where(z1 > 0, 1, 0)",
    ),
    wrong(
        "first_layer_without_a_slope",
        "missing-derivative",
        "delta2 = W2.T.dot(delta3) * np.where(z1 > 0, 1, 0.1)",
        "delta2 = W2.T.dot(delta3)",
    ),
    wrong(
        "output_bias_averaged",
        "wrong-scale|wrong-reduction",
        "db3 = np.sum(delta4, axis=1)",
        "db3 = np.mean(delta4, axis=1)",
    ),
    wrong(
        "middle_weights_told_the_first_sums",
        "wrong-operand",
        "dW2 = delta3.dot(a1.T)",
        "dW2 = delta3.dot(z1.T)",
    ),
]

TOGETHER = [
    ("class_weights_left_out_of_the_delta", "output_bias_averaged"),
    ("softsign_with_the_slope_of_tanh", "middle_weights_told_the_first_sums"),
    ("decay_not_divided_by_the_examples", "leak_without_a_slope"),
    ("decay_of_the_middle_layer_forgotten", "middle_weights_told_the_first_sums"),
    ("biases_of_the_middle_layer_decay", "first_layer_without_a_slope"),
    ("softmax_slope_once_more", "leak_without_a_slope"),
    ("half_of_the_penalty_forgotten_in_cost", "softsign_slope_at_its_output"),
    ("softmax_over_the_samples_in_both", "first_layer_without_a_slope"),
    ("output_bias_averaged", "softsign_slope_at_its_output", "first_layer_without_a_slope"),
    ("class_weights_on_the_labels_only", "decay_of_the_middle_layer_forgotten", "leak_without_a_slope"),
]

RIGHT = [
    right(
        "stable_softmax_and_sums_divided_at_the_end",
        "exp_scores = np.exp(z3)",
        "exp_scores = np.exp(z3 - np.max(z3, axis=0, keepdims=True))",
        "delta4 = weights * (probs - Y) / num_examples",
        "delta4 = weights * (probs - Y)",
        "    decay = reg_lambda / num_examples\n",
        "    decay = reg_lambda\n",
        '    return loss, {"W1": dW1, "b1": db1, "W2": dW2, "b2": db2, "W3": dW3, "b3": db3}\n',
        '    grads = {"W1": dW1, "b1": db1, "W2": dW2, "b2": db2, "W3": dW3, "b3": db3}\n'
        "    return loss, {name: grad / num_examples for name, grad in grads.items()}\n",
    ),
    right(
        "slopes_as_masks",
        "a1 = np.where(z1 > 0, z1, 0.1 * z1)",
        "a1 = np.maximum(z1, 0.1 * z1)",
        "    delta2 = W2.T.dot(delta3) * np.where(z1 > 0, 1, 0.1)\n",
        "    delta2 = W2.T.dot(delta3)\n    delta2[z1 <= 0] *= 0.1\n",
        "W3.T.dot(delta4) * (1 - np.abs(a2)) ** 2",
        "W3.T.dot(delta4) / np.square(1 + np.abs(z2))",
        "-np.sum(Y * np.log(probs), axis=0)",
        "-np.log(probs.T[Y.T > 0])",
    ),
]
