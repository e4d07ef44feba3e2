"""Weight-normalised maxout units under a cosine-like output layer; cross-entropy with smoothed labels."""

import numpy as np
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, y):
    weight = params["gain"] * params["V"] / params["V"].norm(dim=0)
    pieces = (x @ weight + params["b"]).unflatten(1, (5, 3))
    hidden = pieces.amax(dim=2)
    logits = 2.5 * hidden @ F.normalize(params["U"], dim=0)
    return F.cross_entropy(logits, y, label_smoothing=0.2)


def through_direction(d_unit, V):
    """From the gradient of V / |V|, column by column, to that of V."""
    norm = np.sqrt(np.sum(V * V, axis=0))
    unit = V / norm
    along = np.sum(d_unit * unit, axis=0)
    return (d_unit - along * unit) / norm


def candidate(params, x, y):
    V, U, gain = params["V"], params["U"], params["gain"]
    n, classes = len(x), U.shape[1]
    V_unit = V / np.linalg.norm(V, axis=0)
    U_unit = U / np.linalg.norm(U, axis=0)
    pieces = (x @ (gain * V_unit) + params["b"]).reshape(n, 5, 3)
    best = pieces.max(axis=2, keepdims=True)
    hidden = best[:, :, 0]
    logits = 2.5 * hidden @ U_unit
    top = logits.max(axis=1, keepdims=True)
    log_p = logits - top - np.log(np.sum(np.exp(logits - top), axis=1, keepdims=True))
    soft = np.full((n, classes), 0.2 / classes)
    soft[np.arange(n), y] += 0.8
    loss = -np.sum(soft * log_p) / n

    d_logits = 2.5 * (np.exp(log_p) - soft) / n
    d_hidden = d_logits @ U_unit.T
    d_U_unit = hidden.T @ d_logits
    d_U = through_direction(d_U_unit, U)
    d_pieces = d_hidden[:, :, None] * (pieces == best)
    d_a = d_pieces.reshape(n, 15)
    d_b = np.sum(d_a, axis=0)
    d_weight = x.T @ d_a
    d_gain = np.sum(d_weight * V_unit, axis=0)
    d_V = through_direction(d_weight * gain, V)
    return loss, {"V": d_V, "gain": d_gain, "b": d_b, "U": d_U}


def problem(rng):
    params = {
        "V": rng.normal(size=(4, 15)),
        "gain": rng.uniform(0.5, 1.6, size=15),
        "b": rng.normal(size=15) * 0.4,
        "U": rng.normal(size=(5, 6)),
    }
    return params, (rng.normal(size=(7, 4)), rng.integers(0, 6, size=7))


WRONG = [
    wrong("norm_as_constant", "missing-path|diagonal-jacobian", "(d_unit - along * unit) / norm", "d_unit / norm"),
    wrong(
        "norm_jacobian_diagonal", "diagonal-jacobian", "along = np.sum(d_unit * unit, axis=0)", "along = d_unit * unit"
    ),
    wrong(
        "division_by_norm_forgotten",
        "missing-derivative",
        "(d_unit - along * unit) / norm",
        "d_unit - along * unit",
    ),
    wrong("direction_not_of_unit_length", "wrong-operand", "along * unit) / norm", "along * V) / norm"),
    wrong(
        "normalised_by_rows_backwards",
        "wrong-axis",
        "along = np.sum(d_unit * unit, axis=0)",
        "along = np.sum(d_unit * unit, axis=1, keepdims=True)",
    ),
    wrong(
        "gain_forgotten",
        "missing-derivative",
        "through_direction(d_weight * gain, V)",
        "through_direction(d_weight, V)",
    ),
    wrong("gain_from_the_raw_directions", "wrong-operand", "np.sum(d_weight * V_unit", "np.sum(d_weight * V"),
    wrong(
        "gain_averaged",
        "wrong-scale|wrong-reduction",
        "d_gain = np.sum(d_weight * V_unit, axis=0)",
        "d_gain = np.mean(d_weight * V_unit, axis=0)",
    ),
    wrong("normalisation_skipped", "missing-derivative", "d_U = through_direction(d_U_unit, U)", "d_U = d_U_unit"),
    wrong("raw_output_weight", "wrong-operand", "d_hidden = d_logits @ U_unit.T", "d_hidden = d_logits @ U.T"),
    wrong("temperature_forgotten", "wrong-scale|missing-derivative", "d_logits = 2.5 * (np.exp", "d_logits = (np.exp"),
    wrong(
        "temperature_inverted",
        "wrong-scale|different-function",
        "d_logits = 2.5 * (np.exp",
        "d_logits = 1 / 2.5 * (np.exp",
    ),
    wrong(
        "hard_labels",
        "wrong-operand|different-function",
        "(np.exp(log_p) - soft) / n",
        "(np.exp(log_p) - np.eye(classes)[y]) / n",
    ),
    wrong("labels_not_subtracted", "missing-path", "(np.exp(log_p) - soft) / n", "np.exp(log_p) / n"),
    wrong(
        "all_pieces_win",
        "missing-derivative|different-function",
        "d_hidden[:, :, None] * (pieces == best)",
        "d_hidden[:, :, None] * np.ones_like(pieces)",
    ),
    wrong("positive_pieces_win", "different-function", "(pieces == best)", "(pieces > 0)"),
    wrong(
        "pieces_in_another_order",
        "wrong-operand|transposed|wrong-axis",
        "d_pieces.reshape(n, 15)",
        "d_pieces.transpose(0, 2, 1).reshape(n, 15)",
    ),
    wrong(
        "averaged_over_classes_too",
        "wrong-scale|wrong-reduction",
        "(np.exp(log_p) - soft) / n",
        "(np.exp(log_p) - soft) / (n * classes)",
    ),
    wrong(
        "mean_of_pieces_in_both",
        "different-function",
        "best = pieces.max(axis=2, keepdims=True)",
        "best = pieces.mean(axis=2, keepdims=True)",
        "(pieces == best)",
        "np.full_like(pieces, 1 / 3)",
    ),
    wrong(
        "hard_labels_in_both",
        "different-function|wrong-operand",
        "np.full((n, classes), 0.2 / classes)",
        "np.zeros((n, classes))",
        "soft[np.arange(n), y] += 0.8",
        "soft[np.arange(n), y] += 1",
    ),
    wrong("in_single_precision", "wrong-dtype", '"gain": d_gain,', '"gain": d_gain.astype(np.float32),'),
    wrong("as_a_list", "wrong-type", '"b": d_b,', '"b": d_b.tolist(),'),
]

TOGETHER = [
    ("norm_as_constant", "gain_forgotten"),
    ("normalisation_skipped", "all_pieces_win"),
    ("temperature_forgotten", "gain_from_the_raw_directions"),
    ("hard_labels", "gain_averaged"),
    ("raw_output_weight", "gain_from_the_raw_directions", "norm_jacobian_diagonal"),
]

RIGHT = [
    right(
        "projection_matrices",
        "    return (d_unit - along * unit) / norm\n",
        "    out = np.empty_like(V)\n    for j in range(V.shape[1]):\n"
        "        out[:, j] = (np.eye(len(V)) - np.outer(unit[:, j], unit[:, j])) @ d_unit[:, j] / norm[j]\n"
        "    return out\n",
        "    along = np.sum(d_unit * unit, axis=0)\n",
        "",
    ),
    right(
        "winners_by_index",
        "d_hidden[:, :, None] * (pieces == best)",
        "d_hidden[:, :, None] * np.eye(3)[pieces.argmax(axis=2)]",
    ),
    right(
        "labels_and_uniform_apart",
        "d_logits = 2.5 * (np.exp(log_p) - soft) / n",
        "p = np.exp(log_p)\n    d_logits = 2.5 / n * (0.8 * (p - np.eye(classes)[y]) + 0.2 * (p - 1 / classes))",
    ),
]
