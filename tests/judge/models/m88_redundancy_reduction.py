"""Two views through a shared encoder and projector, their standardised columns correlated only with themselves."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, first, second):
    def embed(view):
        hidden = F.relu(F.linear(view, params["W1"], params["b1"]))
        representation = torch.tanh(F.linear(hidden, params["W2"], params["b2"]))
        return F.linear(representation, params["P"])

    z_a = F.batch_norm(embed(first), None, None, training=True, eps=1e-4)
    z_b = F.batch_norm(embed(second), None, None, training=True, eps=1e-4)
    c = torch.einsum("ni,nj->ij", z_a, z_b) / first.shape[0]
    size = c.shape[0]
    off_diagonal = c.flatten()[:-1].view(size - 1, size + 1)[:, 1:].flatten()
    on_diagonal = torch.diagonal(c)
    return {
        "invariance": (on_diagonal - 1).pow(2).sum(),
        "redundancy": 0.3 * off_diagonal.pow(2).sum(),
    }


def encoder_forward(params, view):
    pre1 = view @ params["W1"].T + params["b1"]
    act1 = np.maximum(pre1, 0)
    pre2 = act1 @ params["W2"].T + params["b2"]
    rep = np.tanh(pre2)
    emb = rep @ params["P"].T
    return emb, (view, pre1, act1, pre2, rep)


def encoder_backward(params, demb, saved, grads):
    view, pre1, act1, pre2, rep = saved
    grads["P"] += demb.T @ rep
    drep = demb @ params["P"]
    dpre2 = drep * (1 - rep**2)
    grads["W2"] += dpre2.T @ act1
    grads["b2"] += dpre2.sum(axis=0)
    dact1 = dpre2 @ params["W2"]
    dpre1 = dact1 * (pre1 > 0)
    grads["W1"] += dpre1.T @ view
    grads["b1"] += dpre1.sum(axis=0)


def standardise(emb, eps=1e-4):
    centred = emb - emb.mean(axis=0)
    std = np.sqrt(np.mean(centred**2, axis=0) + eps)
    return centred / std, std


def standardise_backward(dunit, unit, std):
    from_mean = dunit.mean(axis=0)
    from_std = unit * np.mean(dunit * unit, axis=0)
    return (dunit - from_mean - from_std) / std


def candidate(params, first, second, lam=0.3):
    n = first.shape[0]
    emb_a, saved_a = encoder_forward(params, first)
    emb_b, saved_b = encoder_forward(params, second)
    unit_a, std_a = standardise(emb_a)
    unit_b, std_b = standardise(emb_b)
    corr = unit_a.T @ unit_b / n
    eye = np.eye(len(corr))
    gap = corr - eye
    weight = np.where(eye == 1, 1.0, lam)
    loss = np.sum(weight * gap**2)

    grads = {name: np.zeros_like(value) for name, value in params.items()}
    dcorr = 2 * weight * gap
    dunit_a = unit_b @ dcorr.T / n
    dunit_b = unit_a @ dcorr / n
    demb_a = standardise_backward(dunit_a, unit_a, std_a)
    demb_b = standardise_backward(dunit_b, unit_b, std_b)
    encoder_backward(params, demb_a, saved_a, grads)
    encoder_backward(params, demb_b, saved_b, grads)
    return loss, grads


def problem(rng):
    params = {
        "W1": rng.normal(size=(7, 5)) * 0.6,
        "b1": rng.normal(size=7) * 0.4,
        "W2": rng.normal(size=(6, 7)) * 0.5,
        "b2": rng.normal(size=6) * 0.4,
        "P": rng.normal(size=(4, 6)) * 0.7,
    }
    picture = rng.normal(size=(9, 5)) + 0.2
    return params, (picture + 0.5 * rng.normal(size=(9, 5)), picture + 0.5 * rng.normal(size=(9, 5)))


WRONG = [
    wrong(
        "second_view_taken_as_a_constant",
        "missing-path",
        "    encoder_backward(params, demb_b, saved_b, grads)\n",
        "",
    ),
    wrong(
        "correlation_gradient_not_transposed",
        "not-transposed|transposed",
        "dunit_a = unit_b @ dcorr.T / n",
        "dunit_a = unit_b @ dcorr / n",
    ),
    wrong(
        "views_swapped_at_the_correlation",
        "wrong-operand",
        "dunit_b = unit_a @ dcorr / n",
        "dunit_b = unit_b @ dcorr / n",
    ),
    wrong(
        "weight_of_the_off_diagonal_forgotten",
        "wrong-term-weight|wrong-scale",
        "dcorr = 2 * weight * gap",
        "dcorr = 2 * gap",
    ),
    wrong(
        "off_diagonal_left_out",
        "missing-path|wrong-term-weight",
        "dcorr = 2 * weight * gap",
        "dcorr = 2 * eye * gap",
    ),
    wrong(
        "batch_size_forgotten_in_one_view",
        "wrong-scale|wrong-reduction|missing-derivative",
        "dunit_b = unit_a @ dcorr / n",
        "dunit_b = unit_a @ dcorr",
    ),
    wrong(
        "spread_taken_as_a_constant",
        "missing-path|diagonal-jacobian",
        "return (dunit - from_mean - from_std) / std",
        "return (dunit - from_mean) / std",
    ),
    wrong(
        "spread_summed_over_the_batch",
        "wrong-reduction|wrong-scale",
        "from_std = unit * np.mean(dunit * unit, axis=0)",
        "from_std = unit * np.sum(dunit * unit, axis=0)",
    ),
    wrong(
        "spread_of_the_other_view",
        "wrong-operand",
        "standardise_backward(dunit_a, unit_a, std_a)",
        "standardise_backward(dunit_a, unit_a, std_b)",
    ),
    wrong(
        "second_view_overwrites_the_first",
        "overwritten|missing-path",
        'grads["W1"] += dpre1.T @ view',
        'grads["W1"] = dpre1.T @ view',
    ),
    wrong(
        "hidden_layer_before_its_relu",
        "wrong-operand",
        'grads["W2"] += dpre2.T @ act1',
        'grads["W2"] += dpre2.T @ pre1',
    ),
    wrong(
        "tanh_slope_at_its_input",
        "derivative-at-wrong-point",
        "dpre2 = drep * (1 - rep**2)",
        "dpre2 = drep * (1 - pre2**2)",
    ),
    wrong(
        "first_bias_averaged",
        "wrong-reduction|wrong-scale",
        'grads["b1"] += dpre1.sum(axis=0)',
        'grads["b1"] += dpre1.mean(axis=0)',
    ),
    wrong(
        "samples_standardised_for_columns_in_both",
        "wrong-axis",
        "centred = emb - emb.mean(axis=0)",
        "centred = emb - emb.mean(axis=1, keepdims=True)",
        "std = np.sqrt(np.mean(centred**2, axis=0) + eps)",
        "std = np.sqrt(np.mean(centred**2, axis=1, keepdims=True) + eps)",
        "from_mean = dunit.mean(axis=0)",
        "from_mean = dunit.mean(axis=1, keepdims=True)",
        "from_std = unit * np.mean(dunit * unit, axis=0)",
        "from_std = unit * np.mean(dunit * unit, axis=1, keepdims=True)",
    ),
    wrong(
        "weight_squared_with_the_gap_in_both",
        "wrong-term-weight|wrong-scale|different-function",
        "loss = np.sum(weight * gap**2)",
        "loss = np.sum((weight * gap) ** 2)",
        "dcorr = 2 * weight * gap",
        "dcorr = 2 * weight**2 * gap",
    ),
    wrong(
        "gaps_averaged_in_cost",
        "wrong-loss",
        "loss = np.sum(weight * gap**2)",
        "loss = np.mean(weight * gap**2)",
    ),
]

TOGETHER = [
    ("correlation_gradient_not_transposed", "spread_taken_as_a_constant"),
    ("weight_of_the_off_diagonal_forgotten", "tanh_slope_at_its_input"),
    ("second_view_taken_as_a_constant", "first_bias_averaged"),
    ("batch_size_forgotten_in_one_view", "hidden_layer_before_its_relu"),
    ("spread_of_the_other_view", "second_view_overwrites_the_first"),
    ("views_swapped_at_the_correlation", "weight_squared_with_the_gap_in_both"),
    ("off_diagonal_left_out", "hidden_layer_before_its_relu", "first_bias_averaged"),
    ("spread_summed_over_the_batch", "tanh_slope_at_its_input", "second_view_overwrites_the_first"),
]

RIGHT = [
    right(
        "mean_route_left_out_as_the_other_columns_are_centred",
        "    from_mean = dunit.mean(axis=0)\n",
        "",
        "return (dunit - from_mean - from_std) / std",
        "return (dunit - from_std) / std",
    ),
    right(
        "both_views_in_one_batch",
        "    encoder_backward(params, demb_a, saved_a, grads)\n    encoder_backward(params, demb_b, saved_b, grads)\n",
        "    saved = [np.vstack(pair) for pair in zip(saved_a, saved_b, strict=True)]\n"
        "    encoder_backward(params, np.vstack([demb_a, demb_b]), saved, grads)\n",
        "    corr = unit_a.T @ unit_b / n\n",
        '    corr = np.einsum("ni,nj->ij", unit_a, unit_b) / n\n',
        "    dcorr = 2 * weight * gap\n",
        "    dcorr = 2 * lam * corr\n    np.fill_diagonal(dcorr, 2 * (np.diag(corr) - 1))\n",
    ),
    right(
        "entry_by_entry_of_the_correlation",
        "    loss = np.sum(weight * gap**2)\n",
        "    loss = np.sum((np.diag(corr) - 1) ** 2) + lam * (np.sum(corr**2) - np.sum(np.diag(corr) ** 2))\n",
        "    dcorr = 2 * weight * gap\n    dunit_a = unit_b @ dcorr.T / n\n    dunit_b = unit_a @ dcorr / n\n",
        "    dunit_a, dunit_b = np.zeros_like(unit_a), np.zeros_like(unit_b)\n"
        "    for i in range(len(corr)):\n"
        "        for j in range(len(corr)):\n"
        "            slope = 2 * (corr[i, j] - 1) if i == j else 2 * lam * corr[i, j]\n"
        "            dunit_a[:, i] += slope * unit_b[:, j] / n\n"
        "            dunit_b[:, j] += slope * unit_a[:, i] / n\n",
        "    from_mean = dunit.mean(axis=0)\n"
        "    from_std = unit * np.mean(dunit * unit, axis=0)\n"
        "    return (dunit - from_mean - from_std) / std\n",
        "    n = len(unit)\n"
        "    out = np.empty_like(dunit)\n"
        "    for j in range(unit.shape[1]):\n"
        "        u = unit[:, j]\n"
        "        jacobian = (np.eye(n) - 1 / n - np.outer(u, u) / n) / std[j]\n"
        "        out[:, j] = jacobian @ dunit[:, j]\n"
        "    return out\n",
    ),
]
