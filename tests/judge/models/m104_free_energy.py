"""A restricted Boltzmann machine over inputs and labels: free energies of data and reconstructions, decay, sparsity."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, v, label, v_model, y_model):
    W, U = params["W"], params["U"]

    def pre_activation(visible, target):
        return F.linear(visible, W, params["c"]) + F.linear(target, U)

    def energy(visible, target):
        hidden = F.softplus(pre_activation(visible, target)).sum(dim=1)
        return -(visible @ params["a"]) - target @ params["d"] - hidden

    y = F.one_hot(label, 3).to(v.dtype)
    active = torch.sigmoid(pre_activation(v, y)).mean(dim=0)
    return {
        "contrast": energy(v, y).mean() - energy(v_model, y_model).mean(),
        "sparsity": 0.6 * F.binary_cross_entropy(active, torch.full_like(active, 0.15), reduction="sum"),
        "decay": 0.05 * (W.square().sum() + U.square().sum()),
    }


def logistic(t):
    return 1 / (1 + np.exp(-t))


def softplus(t):
    return np.maximum(t, 0) + np.log1p(np.exp(-np.abs(t)))


def hidden_input(params, v, t):
    return v @ params["W"].T + t @ params["U"].T + params["c"]


def free_energy(params, v, t):
    return -v @ params["a"] - t @ params["d"] - softplus(hidden_input(params, v, t)).sum(axis=1)


def candidate(params, v0, label, vk, tk, cost=0.1, strength=0.6, rho=0.15):
    W, U = params["W"], params["U"]
    n = v0.shape[0]
    t0 = np.zeros_like(tk)
    t0[np.arange(n), label] = 1.0
    h0 = logistic(hidden_input(params, v0, t0))
    hk = logistic(hidden_input(params, vk, tk))
    q = h0.mean(axis=0)
    contrast = np.mean(free_energy(params, v0, t0) - free_energy(params, vk, tk))
    sparsity = -np.sum(rho * np.log(q) + (1 - rho) * np.log(1 - q))
    decay = 0.5 * cost * (np.sum(W**2) + np.sum(U**2))
    loss = contrast + strength * sparsity + decay

    # what the reconstructions would have minus what the data have
    dW = (hk.T @ vk - h0.T @ v0) / n
    dU = hk.T @ tk / n
    for i in range(n):
        dU[:, label[i]] -= h0[i] / n
    da = np.mean(vk - v0, axis=0)
    dc = np.mean(hk - h0, axis=0)
    dd = np.mean(tk, axis=0) - np.bincount(label, minlength=tk.shape[1]) / n
    # sparsity of the hidden units over the data
    dq = strength * ((1 - rho) / (1 - q) - rho / q)
    pull = dq * h0 * (1 - h0) / n
    dW += pull.T @ v0
    dU += pull.T @ t0
    dc += pull.sum(axis=0)
    # weight decay
    dW += cost * W
    dU += cost * U
    return loss, {"W": dW, "U": dU, "a": da, "c": dc, "d": dd}


def problem(rng):
    params = {
        "W": rng.normal(size=(5, 7)) * 0.7,
        "U": rng.normal(size=(5, 3)) * 0.7,
        "a": rng.normal(size=7) * 0.5,
        "c": rng.normal(size=5) * 0.5,
        "d": rng.normal(size=3) * 0.5,
    }
    v = (rng.random((8, 7)) < 0.6).astype(float)
    label = rng.permutation(np.array([0, 0, 0, 1, 1, 2, 2, 2]))
    y_model = rng.dirichlet(np.ones(3), size=8)
    return params, (v, label, rng.uniform(0.05, 0.95, size=(8, 7)), y_model)


WRONG = [
    wrong(
        "phases_swapped_for_the_weights",
        "wrong-sign|wrong-term-weight",
        "dW = (hk.T @ vk - h0.T @ v0) / n",
        "dW = (h0.T @ v0 - hk.T @ vk) / n",
    ),
    wrong(
        "hidden_units_of_the_data_in_the_negative_phase",
        "wrong-operand",
        "dW = (hk.T @ vk - ",
        "dW = (h0.T @ vk - ",
    ),
    wrong(
        "hidden_states_for_probabilities",
        "different-function|wrong-operand",
        "dc = np.mean(hk - h0, axis=0)",
        "dc = np.mean(hk - (h0 > 0.5), axis=0)",
    ),
    wrong(
        "negative_phase_of_the_labels_by_the_data",
        "wrong-operand",
        "dU = hk.T @ tk / n",
        "dU = hk.T @ t0 / n",
    ),
    wrong(
        "labels_used_twice_overwrite",
        "overwritten",
        "    for i in range(n):\n        dU[:, label[i]] -= h0[i] / n\n",
        "    dU[:, label] -= h0.T / n\n",
    ),
    wrong(
        "visible_bias_summed_over_the_batch",
        "wrong-reduction|wrong-scale",
        "da = np.mean(vk - v0, axis=0)",
        "da = np.sum(vk - v0, axis=0)",
    ),
    wrong(
        "label_bias_without_the_positive_phase",
        "missing-path|overwritten",
        "dd = np.mean(tk, axis=0) - np.bincount(label, minlength=tk.shape[1]) / n",
        "dd = np.mean(tk, axis=0)",
    ),
    wrong(
        "sigmoid_slope_forgotten_in_the_sparsity",
        "missing-derivative",
        "pull = dq * h0 * (1 - h0) / n",
        "pull = np.tile(dq, (n, 1)) / n",
    ),
    wrong(
        "sparsity_by_the_activity_minus_its_target",
        "derivative-at-wrong-point|different-function|wrong-operand",
        "pull = dq * h0 * (1 - h0) / n",
        "pull = np.tile(strength * (q - rho), (n, 1)) / n",
    ),
    wrong(
        "sparsity_not_divided_by_the_batch",
        "wrong-term-weight|wrong-scale|wrong-reduction",
        "pull = dq * h0 * (1 - h0) / n",
        "pull = dq * h0 * (1 - h0)",
    ),
    wrong(
        "sparsity_on_the_bias_and_labels_only",
        "missing-path|wrong-term-weight",
        "    dW += pull.T @ v0\n",
        "",
    ),
    wrong(
        "sparsity_against_the_reconstructed_labels",
        "wrong-operand",
        "dU += pull.T @ t0",
        "dU += pull.T @ tk",
    ),
    wrong(
        "hidden_bias_decays_too",
        "wrong-part-penalised",
        "    dU += cost * U\n",
        '    dU += cost * U\n    dc += cost * params["c"]\n',
    ),
    wrong(
        "decay_without_the_half",
        "wrong-term-weight|wrong-scale",
        "dW += cost * W",
        "dW += 2 * cost * W",
    ),
    wrong(
        "activity_averaged_over_the_units_in_both",
        "wrong-axis",
        "q = h0.mean(axis=0)",
        "q = h0.mean(axis=1, keepdims=True)",
        "* (1 - h0) / n",
        "* (1 - h0) / h0.shape[1]",
    ),
    wrong(
        "reconstruction_error_in_cost",
        "wrong-loss",
        "contrast = np.mean(free_energy(params, v0, t0) - free_energy(params, vk, tk))",
        "contrast = np.mean((v0 - vk) ** 2)",
    ),
]

TOGETHER = [
    ("phases_swapped_for_the_weights", "sigmoid_slope_forgotten_in_the_sparsity"),
    ("hidden_units_of_the_data_in_the_negative_phase", "decay_without_the_half"),
    ("labels_used_twice_overwrite", "visible_bias_summed_over_the_batch"),
    ("hidden_states_for_probabilities", "sparsity_against_the_reconstructed_labels"),
    ("negative_phase_of_the_labels_by_the_data", "sparsity_on_the_bias_and_labels_only"),
    ("label_bias_without_the_positive_phase", "sparsity_not_divided_by_the_batch"),
    (
        "hidden_units_of_the_data_in_the_negative_phase",
        "labels_used_twice_overwrite",
        "sparsity_not_divided_by_the_batch",
    ),
    (
        "visible_bias_summed_over_the_batch",
        "hidden_bias_decays_too",
        "sparsity_by_the_activity_minus_its_target",
    ),
]

RIGHT = [
    right(
        "one_sample_after_the_other",
        "    dW = (hk.T @ vk - h0.T @ v0) / n\n    dU = hk.T @ tk / n\n",
        "    dW, dU, dc = np.zeros_like(W), np.zeros_like(U), np.zeros(len(W))\n",
        "        dU[:, label[i]] -= h0[i] / n\n",
        "        dW += np.outer(hk[i], vk[i]) / n - np.outer(h0[i], v0[i]) / n\n"
        "        dU += np.outer(hk[i], tk[i]) / n - np.outer(h0[i], t0[i]) / n\n"
        "        dc += (hk[i] - h0[i]) / n\n",
        "    dc = np.mean(hk - h0, axis=0)\n",
        "",
    ),
    right(
        "gradient_at_the_hidden_inputs_first",
        "    dW = (hk.T @ vk - h0.T @ v0) / n\n"
        "    dU = hk.T @ tk / n\n"
        "    for i in range(n):\n"
        "        dU[:, label[i]] -= h0[i] / n\n",
        "",
        "    dc = np.mean(hk - h0, axis=0)\n",
        "",
        "    dq = strength * ((1 - rho) / (1 - q) - rho / q)\n    pull = dq * h0 * (1 - h0) / n\n"
        "    dW += pull.T @ v0\n    dU += pull.T @ t0\n    dc += pull.sum(axis=0)\n",
        "    both = np.vstack([h0, hk])\n"
        "    both[:n] *= strength * (q - rho) / (q * (1 - q)) * (1 - h0) - 1\n"
        "    both /= n\n"
        "    dW = both.T @ np.vstack([v0, vk])\n"
        "    dU = both.T @ np.vstack([t0, tk])\n"
        "    dc = both.sum(axis=0)\n",
    ),
    right(
        "weights_side_by_side",
        "    return 1 / (1 + np.exp(-t))\n",
        "    return 0.5 + 0.5 * np.tanh(0.5 * t)\n",
        '    return v @ params["W"].T + t @ params["U"].T + params["c"]\n',
        '    joined = np.hstack([params["W"], params["U"], params["c"][:, None]])\n'
        "    return np.column_stack([v, t, np.ones(len(v))]) @ joined.T\n",
        "    return np.maximum(t, 0) + np.log1p(np.exp(-np.abs(t)))\n",
        "    return np.logaddexp(0, t)\n",
        "np.mean(tk, axis=0) - np.bincount(label, minlength=tk.shape[1]) / n",
        "(tk - t0).sum(axis=0) / n",
    ),
]
