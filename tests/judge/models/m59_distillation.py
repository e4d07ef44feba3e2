"""A student taught by a larger network: softened outputs, one layer of features, and labels (weighted and smoothed)."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, teacher, features, labels, keep):
    temperature = 2.5
    hidden = F.mish(F.linear(x, params["W1"], params["b1"])) * keep / 0.75
    logits = F.linear(hidden, params["W2"], params["b2"])
    soft = F.kl_div(
        F.log_softmax(logits / temperature, dim=1), F.softmax(teacher / temperature, dim=1), reduction="batchmean"
    )
    class_weights = torch.tensor([0.6, 1.7, 1.0, 2.2], dtype=logits.dtype)
    hard = F.cross_entropy(logits, labels, weight=class_weights, label_smoothing=0.1)
    hint = F.mse_loss(hidden @ params["R"], features)
    return {"soft": 0.6 * temperature**2 * soft, "hard": 0.4 * hard, "hint": 0.2 * hint}


def log_softmax(a):
    a = a - np.amax(a, axis=1, keepdims=True)
    return a - np.log(np.sum(np.exp(a), axis=1, keepdims=True))


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def mish(z):
    return z * np.tanh(np.logaddexp(0, z))


def mish_prime(z):
    t = np.tanh(np.logaddexp(0, z))
    return t + z * (1 - t**2) * sigmoid(z)


def candidate(params, x, teacher, features, labels, keep):
    N, C = teacher.shape
    T, smooth = 2.5, 0.1
    class_weights = np.array([0.6, 1.7, 1.0, 2.2])

    z = x @ params["W1"].T + params["b1"]
    act = mish(z)
    hidden = act * keep / 0.75
    logits = hidden @ params["W2"].T + params["b2"]
    guess = hidden @ params["R"]

    log_q = log_softmax(teacher / T)
    log_p_soft = log_softmax(logits / T)
    q, p_soft = np.exp(log_q), np.exp(log_p_soft)
    soft = T**2 * np.sum(q * (log_q - log_p_soft)) / N

    log_p = log_softmax(logits)
    p = np.exp(log_p)
    onehot = np.eye(C)[labels]
    goal = (1 - smooth) * onehot + smooth / C
    weighted = goal * class_weights
    norm = np.sum(class_weights[labels])
    hard = -np.sum(weighted * log_p) / norm

    miss = guess - features
    hint = np.mean(miss**2)
    loss = 0.6 * soft + 0.4 * hard + 0.2 * hint

    dlogits_soft = T * (p_soft - q) / N
    dlogits_hard = (p * weighted.sum(axis=1, keepdims=True) - weighted) / norm
    dlogits = 0.6 * dlogits_soft + 0.4 * dlogits_hard
    dguess = 0.2 * 2 * miss / miss.size
    dhidden = dlogits @ params["W2"] + dguess @ params["R"].T
    dact = dhidden * keep / 0.75
    dz = dact * mish_prime(z)
    return loss, {
        "W1": dz.T @ x,
        "b1": dz.sum(axis=0),
        "W2": dlogits.T @ hidden,
        "b2": dlogits.sum(axis=0),
        "R": hidden.T @ dguess,
    }


def problem(rng):
    params = {
        "W1": rng.normal(size=(5, 3)),
        "b1": rng.normal(size=5) * 0.5,
        "W2": rng.normal(size=(4, 5)) * 0.9,
        "b2": rng.normal(size=4) * 0.5,
        "R": rng.normal(size=(5, 6)) * 0.7,
    }
    teacher = rng.normal(size=(8, 4)) * 2
    labels = np.array([0, 3, 1, 2, 3, 0, 1, 3])
    keep = (rng.random(size=(8, 5)) < 0.75).astype(float)
    return params, (rng.normal(size=(8, 3)), teacher, rng.normal(size=(8, 6)), labels, keep)


WRONG = [
    wrong(
        "square_of_the_temperature_forgotten",
        "wrong-term-weight|wrong-scale",
        "dlogits_soft = T * (p_soft - q) / N",
        "dlogits_soft = (p_soft - q) / (N * T)",
    ),
    wrong(
        "slope_of_the_temperature_forgotten",
        "missing-derivative|wrong-term-weight|wrong-scale",
        "dlogits_soft = T * (p_soft - q) / N",
        "dlogits_soft = T**2 * (p_soft - q) / N",
    ),
    wrong(
        "student_not_softened_backwards",
        "wrong-operand|different-function|derivative-at-wrong-point",
        "dlogits_soft = T * (p_soft - q)",
        "dlogits_soft = T * (p - q)",
    ),
    wrong(
        "teacher_not_softened_in_both",
        "wrong-operand|different-function",
        "log_q = log_softmax(teacher / T)",
        "log_q = log_softmax(teacher)",
    ),
    wrong(
        "divergence_the_other_way_in_both",
        "wrong-operand|different-function",
        "soft = T**2 * np.sum(q * (log_q - log_p_soft)) / N",
        "apart = log_p_soft - log_q\n    soft = T**2 * np.sum(p_soft * apart) / N",
        "dlogits_soft = T * (p_soft - q) / N",
        "dlogits_soft = T * p_soft * (apart - np.sum(p_soft * apart, axis=1, keepdims=True)) / N",
    ),
    wrong(
        "divergence_averaged_over_classes_in_both",
        "wrong-reduction|wrong-scale|wrong-term-weight",
        "soft = T**2 * np.sum(q * (log_q - log_p_soft)) / N",
        "soft = T**2 * np.mean(q * (log_q - log_p_soft))",
        "dlogits_soft = T * (p_soft - q) / N",
        "dlogits_soft = T * (p_soft - q) / q.size",
    ),
    wrong(
        "labels_not_smoothed_backwards",
        "wrong-operand|different-function",
        "(p * weighted.sum(axis=1, keepdims=True) - weighted) / norm",
        "class_weights[labels][:, None] * (p - onehot) / norm",
    ),
    wrong(
        "classes_not_weighted_backwards",
        "missing-derivative|wrong-operand|different-function",
        "(p * weighted.sum(axis=1, keepdims=True) - weighted) / norm",
        "(p - goal) / norm",
    ),
    wrong(
        "probabilities_not_weighted",
        "missing-derivative|wrong-operand|different-function",
        "(p * weighted.sum(axis=1, keepdims=True) - weighted)",
        "(p - weighted)",
    ),
    wrong(
        "divided_by_samples_for_weights_in_both",
        "wrong-scale|wrong-reduction|wrong-term-weight",
        "norm = np.sum(class_weights[labels])",
        "norm = N",
    ),
    wrong("dropout_mask_forgotten", "missing-derivative", "dact = dhidden * keep / 0.75", "dact = dhidden / 0.75"),
    wrong(
        "dropout_scale_forgotten",
        "missing-derivative|wrong-scale",
        "dact = dhidden * keep / 0.75",
        "dact = dhidden * keep",
    ),
    wrong("mish_slope_forgotten", "missing-derivative", "dz = dact * mish_prime(z)", "dz = dact"),
    wrong(
        "mish_slope_of_the_output",
        "derivative-at-wrong-point",
        "mish_prime(z)\n    return",
        "mish_prime(act)\n    return",
    ),
    wrong(
        "swish_slope_for_mish",
        "different-function",
        "return t + z * (1 - t**2) * sigmoid(z)",
        "return sigmoid(z) + z * sigmoid(z) * (1 - sigmoid(z))",
    ),
    wrong(
        "softplus_slope_forgotten_in_mish",
        "missing-derivative|different-function",
        "return t + z * (1 - t**2) * sigmoid(z)",
        "return t + z * (1 - t**2)",
    ),
    wrong(
        "hint_not_into_the_hidden_layer",
        "missing-path",
        'dhidden = dlogits @ params["W2"] + dguess @ params["R"].T',
        'dhidden = dlogits @ params["W2"]',
    ),
    wrong("R_of_the_layer_before_dropout", "wrong-operand", '"R": hidden.T @ dguess', '"R": act.T @ dguess'),
    wrong(
        "hint_averaged_over_samples_only",
        "wrong-term-weight|wrong-scale|wrong-reduction",
        "dguess = 0.2 * 2 * miss / miss.size",
        "dguess = 0.2 * 2 * miss / N",
    ),
    wrong(
        "entropy_of_the_teacher_left_out_in_cost",
        "wrong-loss",
        "np.sum(q * (log_q - log_p_soft)) / N",
        "np.sum(-q * log_p_soft) / N",
    ),
]

TOGETHER = [
    ("square_of_the_temperature_forgotten", "mish_slope_forgotten"),
    ("probabilities_not_weighted", "hint_averaged_over_samples_only"),
    ("dropout_mask_forgotten", "R_of_the_layer_before_dropout"),
    ("student_not_softened_backwards", "mish_slope_of_the_output"),
    ("hint_not_into_the_hidden_layer", "labels_not_smoothed_backwards"),
    ("slope_of_the_temperature_forgotten", "dropout_mask_forgotten", "hint_averaged_over_samples_only"),
    ("swish_slope_for_mish", "hint_not_into_the_hidden_layer", "R_of_the_layer_before_dropout"),
]

RIGHT = [
    right(
        "hidden_gradient_by_terms",
        'dhidden = dlogits @ params["W2"] + dguess @ params["R"].T',
        'dhidden = np.hstack([dlogits, dguess]) @ np.vstack([params["W2"], params["R"].T])',
    ),
    right(
        "smoothed_label_by_label",
        "    goal = (1 - smooth) * onehot + smooth / C\n    weighted = goal * class_weights\n",
        "    weighted = np.tile(class_weights * smooth / C, (N, 1))\n"
        "    weighted[np.arange(N), labels] += class_weights[labels] * (1 - smooth)\n",
    ),
    right(
        "mish_by_exponentials",
        "    t = np.tanh(np.logaddexp(0, z))\n    return t + z * (1 - t**2) * sigmoid(z)\n",
        "    e = np.exp(z)\n"
        "    omega = 4 * (z + 1) + 4 * e**2 + e**3 + e * (4 * z + 6)\n"
        "    return e * omega / (2 * e + e**2 + 2) ** 2\n",
    ),
]
