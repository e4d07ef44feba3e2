"""Three heads on a normalised trunk with dropout: targets, classes and counts, weighted by learned uncertainties."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, keep, targets, measured, labels, counts, counted):
    z = F.linear(x, params["W"], params["b"])
    h = F.silu(F.layer_norm(z, (8,), params["gain"], params["shift"])) * keep / 0.75
    squares = F.mse_loss(F.linear(h, params["W_reg"], params["b_reg"]), targets, reduction="none").sum(dim=1)
    logits = F.linear(h, params["W_cls"], params["b_cls"])
    entropy = F.cross_entropy(logits, labels, ignore_index=-100, reduction="sum")
    log_rate = F.linear(h, params["W_cnt"], params["b_cnt"])
    poisson = F.poisson_nll_loss(log_rate, counts, log_input=True, reduction="none")
    precision = torch.exp(-params["s"])
    return {
        "regression": precision[0] * (squares * measured).sum() / measured.sum().clamp(min=1),
        "classification": precision[1] * entropy / (labels != -100).sum().clamp(min=1),
        "counts": precision[2] * (poisson * counted).sum() / counted.sum().clamp(min=1),
        "uncertainty": 0.5 * params["s"].sum(),
    }


def layer_norm(z, gain, shift, eps=1e-5):
    inv = 1 / np.sqrt(z.var(axis=1, keepdims=True) + eps)
    zhat = (z - z.mean(axis=1, keepdims=True)) * inv
    return gain * zhat + shift, zhat, inv


def layer_norm_backward(dout, gain, zhat, inv):
    dzhat = dout * gain
    mean = dzhat.mean(axis=1, keepdims=True)
    along = (dzhat * zhat).mean(axis=1, keepdims=True)
    return inv * (dzhat - mean - zhat * along)


def log_softmax(logits):
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))


def candidate(params, x, keep, targets, measured, labels, counts, counted, p=0.25):
    W_reg, W_cls, W_cnt, s = (params[name] for name in ("W_reg", "W_cls", "W_cnt", "s"))
    rows = np.arange(len(x))

    # trunk
    z = x @ params["W"].T + params["b"]
    u, zhat, inv = layer_norm(z, params["gain"], params["shift"])
    gate = 1 / (1 + np.exp(-u))
    act = u * gate
    h = act * keep / (1 - p)

    # heads
    error = h @ W_reg.T + params["b_reg"] - targets
    n_reg = max(measured.sum(), 1)
    loss_reg = np.sum(measured[:, None] * error**2) / n_reg
    logp = log_softmax(h @ W_cls.T + params["b_cls"])
    valid = labels >= 0
    n_cls = max(valid.sum(), 1)
    chosen = np.where(valid, labels, 0)
    loss_cls = -np.sum(valid * logp[rows, chosen]) / n_cls
    log_rate = h @ W_cnt.T + params["b_cnt"]
    rate = np.exp(log_rate)
    n_cnt = max(counted.sum(), 1)
    loss_cnt = np.sum(counted * (rate - counts * log_rate)) / n_cnt

    losses = np.array([loss_reg, loss_cls, loss_cnt])
    precision = np.exp(-s)
    loss = np.sum(precision * losses) + 0.5 * np.sum(s)

    grads = {"s": -precision * losses + 0.5}
    derr = precision[0] * measured[:, None] * 2 * error / n_reg
    dlogits = np.exp(logp)
    dlogits[rows, chosen] -= 1
    dlogits *= precision[1] * valid[:, None] / n_cls
    dlog_rate = precision[2] * counted * (rate - counts) / n_cnt
    for task, dhead in (("reg", derr), ("cls", dlogits), ("cnt", dlog_rate)):
        grads["W_" + task] = dhead.T @ h
        grads["b_" + task] = dhead.sum(axis=0)
    dh = derr @ W_reg
    dh += dlogits @ W_cls
    dh += dlog_rate @ W_cnt

    dact = dh * keep / (1 - p)
    du = dact * (gate + u * gate * (1 - gate))
    grads["gain"] = np.sum(du * zhat, axis=0)
    grads["shift"] = np.sum(du, axis=0)
    dz = layer_norm_backward(du, params["gain"], zhat, inv)
    grads["W"] = dz.T @ x
    grads["b"] = dz.sum(axis=0)
    return loss, grads


def problem(rng):
    params = {
        "W": rng.normal(size=(8, 5)) * 0.7,
        "b": rng.normal(size=8) * 0.4,
        "gain": 1 + rng.normal(size=8) * 0.3,
        "shift": rng.normal(size=8) * 0.4,
        "W_reg": rng.normal(size=(2, 8)) * 0.5,
        "b_reg": rng.normal(size=2) * 0.3,
        "W_cls": rng.normal(size=(4, 8)) * 0.6,
        "b_cls": rng.normal(size=4) * 0.3,
        "W_cnt": rng.normal(size=(6, 8)) * 0.4,
        "b_cnt": rng.normal(size=6) * 0.3,
        "s": np.array([0.6, -0.4, 0.3]) + rng.normal(size=3) * 0.1,
    }
    keep = (rng.random((9, 8)) < 0.75).astype(float)
    measured = np.array([1.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0])
    labels = np.array([2, -100, 0, 3, 1, 0, -100, 2, 1])
    counted = (rng.random((9, 6)) < 0.7).astype(float)
    x, targets = rng.normal(size=(9, 5)), rng.normal(size=(9, 2))
    return params, (x, keep, targets, measured, labels, rng.poisson(2.0, size=(9, 6)), counted)


WRONG = [
    wrong(
        "spread_of_the_uncertainties_forgotten",
        "missing-path|wrong-term-weight",
        "-precision * losses + 0.5}",
        "-precision * losses}",
    ),
    wrong(
        "counts_not_weighted",
        "wrong-term-weight|wrong-scale|missing-derivative",
        "dlog_rate = precision[2] * counted",
        "dlog_rate = counted",
    ),
    wrong(
        "targets_averaged_over_all_rows",
        "wrong-term-weight|wrong-scale|wrong-reduction",
        "* 2 * error / n_reg",
        "* 2 * error / len(x)",
    ),
    wrong(
        "unlabelled_rows_not_masked",
        "missing-derivative|different-function|wrong-operand",
        "precision[1] * valid[:, None] / n_cls",
        "precision[1] / n_cls",
    ),
    wrong(
        "log_rate_for_the_rate",
        "different-function|missing-derivative|derivative-at-wrong-point|wrong-operand",
        "counted * (rate - counts) / n_cnt",
        "counted * (log_rate - counts) / n_cnt",
    ),
    wrong("dropout_forgotten_backwards", "missing-derivative", "dact = dh * keep / (1 - p)", "dact = dh"),
    wrong(
        "kept_units_not_scaled",
        "wrong-scale|missing-derivative|different-function",
        "dact = dh * keep / (1 - p)",
        "dact = dh * keep",
    ),
    wrong(
        "heads_fed_before_dropout",
        "wrong-operand|missing-derivative",
        "= dhead.T @ h",
        "= dhead.T @ act",
    ),
    wrong("counts_replace_the_other_heads", "overwritten|missing-path", "dh += dlog_rate", "dh = dlog_rate"),
    wrong(
        "product_rule_forgotten",
        "missing-path|different-function|missing-derivative",
        "(gate + u * gate * (1 - gate))",
        "(gate * (1 - gate))",
    ),
    wrong(
        "variance_taken_as_constant",
        "missing-path|diagonal-jacobian",
        "inv * (dzhat - mean - zhat * along)",
        "inv * (dzhat - mean)",
    ),
    wrong(
        "centred_over_the_batch",
        "wrong-axis",
        "mean = dzhat.mean(axis=1, keepdims=True)",
        "mean = dzhat.mean(axis=0, keepdims=True)",
    ),
    wrong(
        "weighted_by_the_variance_in_both",
        "different-function|wrong-sign",
        "precision = np.exp(-s)",
        "precision = np.exp(s)",
        "-precision * losses + 0.5}",
        "precision * losses + 0.5}",
    ),
    wrong(
        "first_class_taken_for_missing_in_both",
        "different-function|wrong-operand|missing-path",
        "valid = labels >= 0",
        "valid = labels > 0",
    ),
    wrong(
        "factorials_counted_in_both",
        "different-function",
        "counted * (rate - counts * log_rate)",
        "counted * (rate - counts * log_rate + np.vectorize(math.lgamma)(counts + 1.0))",
    ),
    wrong("spread_not_halved_in_cost", "wrong-loss", " + 0.5 * np.sum(s)", " + np.sum(s)"),
]

TOGETHER = [
    ("spread_of_the_uncertainties_forgotten", "kept_units_not_scaled"),
    ("counts_not_weighted", "log_rate_for_the_rate"),
    ("targets_averaged_over_all_rows", "unlabelled_rows_not_masked"),
    ("heads_fed_before_dropout", "variance_taken_as_constant"),
    ("first_class_taken_for_missing_in_both", "product_rule_forgotten"),
    ("weighted_by_the_variance_in_both", "centred_over_the_batch"),
    ("spread_of_the_uncertainties_forgotten", "unlabelled_rows_not_masked", "variance_taken_as_constant"),
    ("counts_replace_the_other_heads", "targets_averaged_over_all_rows", "dropout_forgotten_backwards"),
]

RIGHT = [
    right(
        "labelled_rows_picked_out",
        "    dlogits = np.exp(logp)\n"
        "    dlogits[rows, chosen] -= 1\n"
        "    dlogits *= precision[1] * valid[:, None] / n_cls\n",
        "    dlogits = np.zeros_like(logp)\n"
        "    for i in np.flatnonzero(valid):\n"
        "        dlogits[i] = np.exp(logp[i])\n"
        "        dlogits[i, labels[i]] -= 1\n"
        "    dlogits = dlogits * precision[1] / n_cls\n",
        "-np.sum(valid * logp[rows, chosen]) / n_cls",
        "-np.sum(logp[valid, labels[valid]]) / n_cls",
    ),
    right(
        "normalisation_row_by_row",
        "    mean = dzhat.mean(axis=1, keepdims=True)\n"
        "    along = (dzhat * zhat).mean(axis=1, keepdims=True)\n"
        "    return inv * (dzhat - mean - zhat * along)\n",
        "    size = dzhat.shape[1]\n"
        "    dz = np.empty_like(dzhat)\n"
        "    for i, row in enumerate(zhat):\n"
        "        jacobian = inv[i] * (np.eye(size) - (1 + np.outer(row, row)) / size)\n"
        "        dz[i] = jacobian @ dzhat[i]\n"
        "    return dz\n",
        "(gate + u * gate * (1 - gate))",
        "(act + gate * (1 - act))",
    ),
    right(
        "one_matrix_of_heads",
        "    dh = derr @ W_reg\n    dh += dlogits @ W_cls\n    dh += dlog_rate @ W_cnt\n",
        "    dh = np.hstack([derr, dlogits, dlog_rate]) @ np.vstack([W_reg, W_cls, W_cnt])\n",
        "dlog_rate = precision[2] * counted * (rate - counts) / n_cnt",
        "dlog_rate = np.where(counted > 0, np.exp(log_rate - s[2]) - counts * np.exp(-s[2]), 0) / n_cnt",
        "loss = np.sum(precision * losses) + 0.5 * np.sum(s)",
        "loss = float(losses @ precision) + s.sum() / 2",
    ),
]
