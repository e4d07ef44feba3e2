"""A graph of facts: relations turn entities in the complex plane (RotatE); drawn tails weigh by their likelihood."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, heads, relations, tails, drawn):
    re, im, phase = params["re"], params["im"], params["phase"]
    c, s = torch.cos(phase[relations]), torch.sin(phase[relations])
    x = re[heads] * c - im[heads] * s
    y = re[heads] * s + im[heads] * c

    def score(x, y, other):
        return 2.0 - torch.sqrt((x - re[other]) ** 2 + (y - im[other]) ** 2 + 1e-3).sum(dim=-1)

    true, false = score(x, y, tails), score(x[:, None], y[:, None], drawn)
    weights = torch.softmax(0.7 * false, dim=1).detach()
    told = -F.logsigmoid(true) - (weights * F.logsigmoid(-false)).sum(dim=1)
    size = (re**2 + im**2) ** 1.5
    return {"facts": told.mean() / 2, "size": 0.02 * (size[heads] + size[tails]).sum(dim=1).mean()}


def log_sigmoid(v):
    return -np.log1p(np.exp(-v))


def candidate(params, heads, relations, tails, drawn):
    E_re, E_im, phases = params["re"], params["im"], params["phase"]
    margin, temperature, reg, tiny = 2.0, 0.7, 0.02, 1e-3
    n_facts, n_drawn = drawn.shape
    grads = {name: np.zeros(value.shape) for name, value in params.items()}

    def triple(h, r, t):
        """The score of one fact and a function that adds its gradients."""
        cos, sin = np.cos(phases[r]), np.sin(phases[r])
        turned_re = E_re[h] * cos - E_im[h] * sin
        turned_im = E_re[h] * sin + E_im[h] * cos
        diff_re, diff_im = turned_re - E_re[t], turned_im - E_im[t]
        dist = np.sqrt(diff_re**2 + diff_im**2 + tiny)

        def back(g):
            g_re = -g * diff_re / dist
            g_im = -g * diff_im / dist
            grads["re"][t] -= g_re
            grads["im"][t] -= g_im
            grads["re"][h] += g_re * cos + g_im * sin
            grads["im"][h] += g_im * cos - g_re * sin
            grads["phase"][r] += g_im * turned_re - g_re * turned_im

        return margin - dist.sum(), back

    def cube(e, weight):
        modulus = np.sqrt(E_re[e] ** 2 + E_im[e] ** 2)

        def back():
            grads["re"][e] += 3 * weight * modulus * E_re[e]
            grads["im"][e] += 3 * weight * modulus * E_im[e]

        return weight * np.sum(modulus**3), back

    told, size, todo = 0.0, 0.0, []
    for h, r, t, others in zip(heads, relations, tails, drawn, strict=True):
        score, back = triple(h, r, t)
        told -= log_sigmoid(score)
        todo.append((back, -1 / (1 + np.exp(score))))
        pairs = [triple(h, r, other) for other in others]
        scores = np.array([one for one, _ in pairs])
        p = np.exp(temperature * scores)
        p /= p.sum()
        told -= np.sum(p * log_sigmoid(-scores))
        for j in range(n_drawn):
            todo.append((pairs[j][1], p[j] / (1 + np.exp(-scores[j]))))
        for e in (h, t):
            value, back_cube = cube(e, reg / n_facts)
            size += value
            todo.append((back_cube, None))
    loss = told / (2 * n_facts) + size

    for back, g in todo:
        if g is None:
            back()
        else:
            back(g / (2 * n_facts))
    return loss, grads


def problem(rng):
    entities, kinds, width = 6, 3, 4
    params = {
        "re": rng.normal(size=(entities, width)) * 0.6,
        "im": rng.normal(size=(entities, width)) * 0.6,
        "phase": rng.uniform(-2.5, 2.5, size=(kinds, width)),
    }
    heads = np.array([0, 1, 2, 3, 4, 5, 0, 2])
    relations = np.array([0, 1, 2, 0, 1, 2, 1, 0])
    tails = np.array([1, 2, 3, 5, 0, 4, 3, 4])
    drawn = np.array([[2, 3, 4], [0, 4, 5], [5, 0, 1], [1, 2, 4], [3, 5, 2], [0, 1, 3], [4, 5, 2], [1, 3, 5]])
    return params, (heads, relations, tails, drawn)


WRONG = [
    wrong(
        "heads_turned_on_instead_of_back",
        "wrong-sign|not-transposed|transposed|flipped",
        'grads["re"][h] += g_re * cos + g_im * sin',
        'grads["re"][h] += g_re * cos - g_im * sin',
    ),
    wrong(
        "imaginary_head_told_by_its_own_part_only",
        "missing-path",
        'grads["im"][h] += g_im * cos - g_re * sin',
        'grads["im"][h] += g_im * cos',
    ),
    wrong(
        "phase_told_the_head_not_turned",
        "wrong-operand",
        'grads["phase"][r] += g_im * turned_re - g_re * turned_im',
        'grads["phase"][r] += g_im * E_re[h] - g_re * E_im[h]',
    ),
    wrong(
        "phase_overwritten_by_the_last_fact",
        "overwritten|last-step-only",
        'grads["phase"][r] += g_im * turned_re',
        'grads["phase"][r] = g_im * turned_re',
    ),
    wrong(
        "tails_pulled_with_the_sign_of_heads",
        "wrong-sign",
        'grads["re"][t] -= g_re',
        'grads["re"][t] += g_re',
    ),
    wrong(
        "tails_of_facts_do_not_move",
        "missing-path",
        '            grads["im"][t] -= g_im\n',
        "",
    ),
    wrong(
        "distance_squared_for_the_slope",
        "missing-derivative|different-function|wrong-operand",
        "            g_re = -g * diff_re / dist\n            g_im = -g * diff_im / dist\n",
        "            g_re = -g * diff_re\n            g_im = -g * diff_im\n",
    ),
    wrong(
        "distance_of_all_parts_at_once",
        "wrong-axis|different-function|wrong-operand|wrong-reduction",
        "            g_re = -g * diff_re / dist\n            g_im = -g * diff_im / dist\n",
        "            norm = np.sqrt(np.sum(dist**2))\n"
        "            g_re = -g * diff_re / norm\n            g_im = -g * diff_im / norm\n",
    ),
    wrong(
        "drawn_tails_weigh_the_same_backwards",
        "missing-derivative|wrong-operand|different-function",
        "p[j] / (1 + np.exp(-scores[j]))",
        "1 / n_drawn / (1 + np.exp(-scores[j]))",
    ),
    wrong(
        "sigmoid_of_the_true_score_not_turned",
        "wrong-sign|derivative-at-wrong-point",
        "todo.append((back, -1 / (1 + np.exp(score))))",
        "todo.append((back, -1 / (1 + np.exp(-score))))",
    ),
    wrong(
        "half_of_the_facts_forgotten_backwards",
        "wrong-scale|wrong-term-weight",
        "back(g / (2 * n_facts))",
        "back(g / n_facts)",
    ),
    wrong(
        "cube_with_the_slope_of_a_square",
        "different-function|wrong-operand|missing-derivative",
        'grads["re"][e] += 3 * weight * modulus * E_re[e]',
        'grads["re"][e] += 2 * weight * E_re[e]',
    ),
    wrong(
        "moduli_added_instead_of_a_length_in_both",
        "different-function",
        "dist = np.sqrt(diff_re**2 + diff_im**2 + tiny)",
        "dist = np.abs(diff_re) + np.abs(diff_im)",
        "            g_re = -g * diff_re / dist\n            g_im = -g * diff_im / dist\n",
        "            g_re = -g * np.sign(diff_re)\n            g_im = -g * np.sign(diff_im)\n",
    ),
    wrong(
        "margin_of_one_in_both",
        "different-function|wrong-hyperparameter",
        "margin, temperature, reg, tiny = 2.0, 0.7,",
        "margin, temperature, reg, tiny = 1.0, 0.7,",
    ),
]

TOGETHER = [
    ("heads_turned_on_instead_of_back", "phase_overwritten_by_the_last_fact"),
    ("imaginary_head_told_by_its_own_part_only", "half_of_the_facts_forgotten_backwards"),
    ("phase_told_the_head_not_turned", "tails_of_facts_do_not_move"),
    ("tails_pulled_with_the_sign_of_heads", "imaginary_head_told_by_its_own_part_only"),
    ("distance_squared_for_the_slope", "cube_with_the_slope_of_a_square"),
    ("drawn_tails_weigh_the_same_backwards", "phase_told_the_head_not_turned"),
    ("margin_of_one_in_both", "tails_pulled_with_the_sign_of_heads"),
    ("sigmoid_of_the_true_score_not_turned", "phase_overwritten_by_the_last_fact"),
    ("heads_turned_on_instead_of_back", "cube_with_the_slope_of_a_square", "phase_told_the_head_not_turned"),
    (
        "tails_of_facts_do_not_move",
        "phase_overwritten_by_the_last_fact",
        "sigmoid_of_the_true_score_not_turned",
    ),
]

RIGHT = [
    right(
        "complex_numbers",
        "            g_re = -g * diff_re / dist\n            g_im = -g * diff_im / dist\n",
        "            gc = -g * (diff_re + 1j * diff_im) / dist\n"
        "            g_re, g_im = gc.real, gc.imag\n"
        "            gh = gc * np.exp(-1j * phases[r])\n",
        'grads["re"][h] += g_re * cos + g_im * sin',
        'grads["re"][h] += gh.real',
        'grads["im"][h] += g_im * cos - g_re * sin',
        'grads["im"][h] += gh.imag',
    ),
    right(
        "scaled_at_the_end",
        "            back(g / (2 * n_facts))\n",
        "            back(g)\n",
        "cube(e, reg / n_facts)",
        "cube(e, 2 * reg)",
        "loss = told / (2 * n_facts) + size",
        "loss = (told + size) / (2 * n_facts)",
        "    return loss, grads\n",
        "    return loss, {name: grad / (2 * n_facts) for name, grad in grads.items()}\n",
    ),
]
