"""The LSTM of the deep-learning course: features first, a matrix per gate on [a_prev; x_t], a softmax at every step."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong

BATCH_AXIS = 1


def reference(params, x, y, a0):
    W = torch.cat([params["Wf"], params["Wi"], params["Wc"], params["Wo"]])
    b = torch.cat([params["bf"], params["bi"], params["bc"], params["bo"]])
    a, c = a0, torch.zeros_like(a0)
    logits = []
    for x_t in x.unbind(dim=2):
        forget, update, new, out = (W @ torch.cat([a, x_t]) + b).chunk(4)
        c = torch.sigmoid(forget) * c + torch.sigmoid(update) * torch.tanh(new)
        a = torch.sigmoid(out) * torch.tanh(c)
        logits.append(params["Wy"] @ a + params["by"])
    scores = torch.stack(logits, dim=2).transpose(0, 1)
    return F.cross_entropy(scores, y.transpose(0, 1), reduction="sum") / x.shape[1]


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softmax(z):
    e = np.exp(z - np.max(z))
    return e / e.sum(axis=0)


def lstm_cell_forward(xt, a_prev, c_prev, parameters):
    Wf, Wi, Wc, Wo, Wy = (parameters[k] for k in ("Wf", "Wi", "Wc", "Wo", "Wy"))
    bf, bi, bc, bo, by = (parameters[k] for k in ("bf", "bi", "bc", "bo", "by"))
    n_a = a_prev.shape[0]
    concat = np.zeros((n_a + xt.shape[0], xt.shape[1]))
    concat[:n_a, :] = a_prev
    concat[n_a:, :] = xt

    ft = sigmoid(np.dot(Wf, concat) + bf)
    it = sigmoid(np.dot(Wi, concat) + bi)
    cct = np.tanh(np.dot(Wc, concat) + bc)
    c_next = ft * c_prev + it * cct
    ot = sigmoid(np.dot(Wo, concat) + bo)
    a_next = ot * np.tanh(c_next)

    yt_pred = softmax(np.dot(Wy, a_next) + by)
    return a_next, c_next, yt_pred, (a_next, c_next, a_prev, c_prev, ft, it, cct, ot, xt)


def lstm_cell_backward(da_next, dc_next, cache, parameters):
    a_next, c_next, a_prev, c_prev, ft, it, cct, ot, xt = cache
    Wf, Wi, Wc, Wo = (parameters[k] for k in ("Wf", "Wi", "Wc", "Wo"))
    n_a = a_next.shape[0]

    dot = da_next * np.tanh(c_next) * ot * (1 - ot)
    through_tanh = da_next * ot * (1 - np.tanh(c_next) ** 2)
    dcct = (dc_next * it + through_tanh * it) * (1 - cct**2)
    dit = (dc_next * cct + through_tanh * cct) * it * (1 - it)
    dft = (dc_next * c_prev + through_tanh * c_prev) * ft * (1 - ft)

    stacked = np.concatenate((a_prev, xt), axis=0)
    grads = {}
    grads["Wf"] = np.dot(dft, stacked.T)
    grads["Wi"] = np.dot(dit, stacked.T)
    grads["Wc"] = np.dot(dcct, stacked.T)
    grads["Wo"] = np.dot(dot, stacked.T)
    grads["bf"] = np.sum(dft, axis=1, keepdims=True)
    grads["bi"] = np.sum(dit, axis=1, keepdims=True)
    grads["bc"] = np.sum(dcct, axis=1, keepdims=True)
    grads["bo"] = np.sum(dot, axis=1, keepdims=True)

    da_prev = np.dot(Wf[:, :n_a].T, dft) + np.dot(Wi[:, :n_a].T, dit)
    da_prev += np.dot(Wc[:, :n_a].T, dcct) + np.dot(Wo[:, :n_a].T, dot)
    dc_prev = dc_next * ft + through_tanh * ft
    return da_prev, dc_prev, grads


def candidate(params, x, y, a0):
    n_x, m, T_x = x.shape
    caches = []
    y_pred = np.zeros(y.shape)
    a_next = a0
    c_next = np.zeros(a0.shape)
    for t in range(T_x):
        a_next, c_next, yt, cache = lstm_cell_forward(x[:, :, t], a_next, c_next, params)
        y_pred[:, :, t] = yt
        caches.append(cache)
    loss = -np.sum(y * np.log(y_pred)) / m

    gradients = {key: np.zeros(value.shape) for key, value in params.items()}
    da_prevt = np.zeros(a0.shape)
    dc_prevt = np.zeros(a0.shape)
    for t in reversed(range(T_x)):
        at = caches[t][0]
        dzt = (y_pred[:, :, t] - y[:, :, t]) / m
        gradients["Wy"] += np.dot(dzt, at.T)
        gradients["by"] += np.sum(dzt, axis=1, keepdims=True)
        dat = np.dot(params["Wy"].T, dzt)
        da_prevt, dc_prevt, step = lstm_cell_backward(dat + da_prevt, dc_prevt, caches[t], params)
        for key in step:
            gradients[key] += step[key]
    return loss, gradients


def problem(rng):
    n_x, m, T_x, n_a, n_y = 3, 6, 7, 5, 4
    params = {}
    for gate in "fico":
        params["W" + gate] = rng.normal(size=(n_a, n_a + n_x)) * 0.6
        params["b" + gate] = rng.normal(size=(n_a, 1)) * 0.5
    params["Wy"] = rng.normal(size=(n_y, n_a)) * 1.2
    params["by"] = rng.normal(size=(n_y, 1)) * 0.4
    x = rng.normal(size=(n_x, m, T_x))
    y = np.eye(n_y)[rng.integers(n_y, size=(m, T_x))].transpose(2, 0, 1).copy()
    return params, (x, y, rng.normal(size=(n_a, m)) * 0.8)


WRONG = [
    wrong(
        "bracket_of_the_candidate_closed_late",
        "missing-derivative",
        "dcct = (dc_next * it + through_tanh * it) * (1 - cct**2)",
        "dcct = dc_next * it + through_tanh * it * (1 - cct**2)",
    ),
    wrong(
        "candidate_put_through_tanh_again",
        "derivative-at-wrong-point",
        "* (1 - cct**2)",
        "* (1 - np.tanh(cct) ** 2)",
    ),
    wrong(
        "only_the_prediction_reaches_the_state",
        "missing-path|truncated-in-time",
        "lstm_cell_backward(dat + da_prevt, dc_prevt,",
        "lstm_cell_backward(dat, dc_prevt,",
    ),
    wrong(
        "cell_gradient_zero_at_every_step",
        "missing-path|truncated-in-time",
        "lstm_cell_backward(dat + da_prevt, dc_prevt,",
        "lstm_cell_backward(dat + da_prevt, np.zeros(a0.shape),",
    ),
    wrong(
        "cell_handed_back_through_the_update_gate",
        "wrong-operand",
        "dc_prev = dc_next * ft + through_tanh * ft",
        "dc_prev = dc_next * it + through_tanh * it",
    ),
    wrong(
        "forget_gate_with_the_new_cell",
        "shifted-in-time|wrong-operand",
        "dft = (dc_next * c_prev + through_tanh * c_prev)",
        "dft = (dc_next * c_next + through_tanh * c_next)",
    ),
    wrong(
        "output_gate_without_its_slope",
        "missing-derivative",
        "dot = da_next * np.tanh(c_next) * ot * (1 - ot)",
        "dot = da_next * np.tanh(c_next)",
    ),
    wrong(
        "output_gate_times_the_bare_cell",
        "wrong-operand|different-function",
        "dot = da_next * np.tanh(c_next) *",
        "dot = da_next * c_next *",
    ),
    wrong(
        "prediction_matrix_of_the_first_step_kept",
        "overwritten|last-step-only",
        'gradients["Wy"] += np.dot(dzt, at.T)',
        'gradients["Wy"] = np.dot(dzt, at.T)',
    ),
    wrong(
        "state_and_input_stacked_the_other_way",
        "wrong-operand|wrong-axis",
        "stacked = np.concatenate((a_prev, xt), axis=0)",
        "stacked = np.concatenate((xt, a_prev), axis=0)",
    ),
    wrong(
        "update_matrix_copied_for_the_candidate",
        "wrong-operand",
        "da_prev += np.dot(Wc[:, :n_a].T, dcct)",
        "da_prev += np.dot(Wi[:, :n_a].T, dcct)",
    ),
    wrong(
        "update_bias_summed_over_everything",
        "wrong-reduction|wrong-axis|broadcast",
        'grads["bi"] = np.sum(dit, axis=1, keepdims=True)',
        'grads["bi"] = np.sum(dit)',
    ),
    wrong(
        "prediction_from_the_state_before",
        "shifted-in-time|wrong-operand",
        "at = caches[t][0]",
        "at = caches[t][2]",
    ),
    wrong(
        "first_state_of_zeros_in_both",
        "wrong-operand|different-function",
        "a_next = a0\n",
        "a_next = np.zeros(a0.shape)\n",
    ),
    wrong(
        "softmax_over_the_whole_array_in_both",
        "wrong-axis|wrong-reduction|different-function",
        "return e / e.sum(axis=0)",
        "return e / e.sum()",
    ),
    wrong(
        "averaged_over_the_steps_in_cost",
        "wrong-loss",
        "np.log(y_pred)) / m",
        "np.log(y_pred)) / (m * T_x)",
    ),
]

TOGETHER = [
    ("bracket_of_the_candidate_closed_late", "prediction_from_the_state_before"),
    ("forget_gate_with_the_new_cell", "output_gate_without_its_slope"),
    ("cell_handed_back_through_the_update_gate", "update_bias_summed_over_everything"),
    ("only_the_prediction_reaches_the_state", "output_gate_times_the_bare_cell"),
    ("first_state_of_zeros_in_both", "prediction_matrix_of_the_first_step_kept"),
    ("state_and_input_stacked_the_other_way", "update_matrix_copied_for_the_candidate"),
    ("candidate_put_through_tanh_again", "update_matrix_copied_for_the_candidate", "prediction_from_the_state_before"),
    ("cell_gradient_zero_at_every_step", "update_bias_summed_over_everything", "output_gate_without_its_slope"),
]

RIGHT = [
    right(
        "cell_gradient_gathered_first",
        "    through_tanh = da_next * ot * (1 - np.tanh(c_next) ** 2)\n",
        "    dc = dc_next + da_next * (ot - a_next * np.tanh(c_next))\n",
        "dcct = (dc_next * it + through_tanh * it) * (1 - cct**2)",
        "dcct = dc * it * (1 - cct**2)",
        "dit = (dc_next * cct + through_tanh * cct) * it * (1 - it)",
        "dit = dc * cct * it * (1 - it)",
        "dft = (dc_next * c_prev + through_tanh * c_prev) * ft * (1 - ft)",
        "dft = dc * c_prev * (ft - ft**2)",
        "dc_prev = dc_next * ft + through_tanh * ft",
        "dc_prev = dc * ft",
    ),
    right(
        "all_predictions_after_the_loop",
        '        gradients["Wy"] += np.dot(dzt, at.T)\n'
        '        gradients["by"] += np.sum(dzt, axis=1, keepdims=True)\n'
        '        dat = np.dot(params["Wy"].T, dzt)\n',
        "        dat = dall[:, :, t]\n",
        "        at = caches[t][0]\n        dzt = (y_pred[:, :, t] - y[:, :, t]) / m\n",
        "",
        "    da_prevt = np.zeros(a0.shape)\n",
        "    dz = (y_pred - y) / m\n"
        "    states = np.stack([cache[0] for cache in caches], axis=2)\n"
        '    gradients["Wy"] = np.einsum("ymt,amt->ya", dz, states)\n'
        '    gradients["by"] = dz.sum(axis=(1, 2))[:, None]\n'
        '    dall = np.tensordot(params["Wy"], dz, axes=(0, 0))\n'
        "    da_prevt = np.zeros(a0.shape)\n",
    ),
    right(
        "gates_by_a_loop_over_their_letters",
        "    da_prev = np.dot(Wf[:, :n_a].T, dft) + np.dot(Wi[:, :n_a].T, dit)\n"
        "    da_prev += np.dot(Wc[:, :n_a].T, dcct) + np.dot(Wo[:, :n_a].T, dot)\n",
        "    dconcat = 0\n"
        '    for letter, dgate in zip("ocif", (dot, dcct, dit, dft)):\n'
        '        dconcat = dconcat + parameters["W" + letter].T @ dgate\n'
        '        grads["W" + letter] = np.array([dgate @ row for row in stacked]).T\n'
        "    da_prev = dconcat[:n_a]\n",
        '    grads["Wf"] = np.dot(dft, stacked.T)\n'
        '    grads["Wi"] = np.dot(dit, stacked.T)\n'
        '    grads["Wc"] = np.dot(dcct, stacked.T)\n'
        '    grads["Wo"] = np.dot(dot, stacked.T)\n',
        "",
        '    Wf, Wi, Wc, Wo = (parameters[k] for k in ("Wf", "Wi", "Wc", "Wo"))\n',
        "",
    ),
]
