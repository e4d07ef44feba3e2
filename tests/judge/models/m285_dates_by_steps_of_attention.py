"""Dates rewritten, as in a course: a dense encoder, energies through tanh and ReLU, a post-attention LSTM in dicts."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, X, Y):
    m, ns = X.shape[0], params["bf"].shape[0]
    a = torch.tanh(X @ params["We"] + params["be"])
    s, c = X.new_zeros(m, ns), X.new_zeros(m, ns)
    loss = 0.0
    for t in range(Y.shape[1]):
        joined = torch.cat([a, s[:, None, :].expand(-1, a.shape[1], -1)], dim=2)
        e = torch.tanh(joined @ params["W1"] + params["b1"])
        alphas = torch.softmax(torch.relu(e @ params["W2"] + params["b2"]), dim=1)
        z = torch.cat([s, (alphas * a).sum(dim=1)], dim=1)
        f = torch.sigmoid(z @ params["Wf"] + params["bf"])
        i = torch.sigmoid(z @ params["Wi"] + params["bi"])
        g = torch.tanh(z @ params["Wc"] + params["bc"])
        o = torch.sigmoid(z @ params["Wo"] + params["bo"])
        c = f * c + i * g
        s = o * torch.tanh(c)
        loss = loss + F.cross_entropy(s @ params["Wy"] + params["by"], Y[:, t])
    return loss


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x, axis):
    ex = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return ex / np.sum(ex, axis=axis, keepdims=True)


def one_step_attention(a, s_prev, P):
    Tx = a.shape[1]
    # repeat s_prev so that it can be concatenated with all hidden states "a"
    s_rep = np.repeat(s_prev[:, np.newaxis, :], Tx, axis=1)
    concat = np.concatenate([a, s_rep], axis=2)
    e = np.tanh(np.dot(concat, P["W1"]) + P["b1"])
    energies = np.dot(e, P["W2"]) + P["b2"]
    alphas = softmax(np.maximum(0, energies), axis=1)
    context = np.sum(alphas * a, axis=1)
    return context, (concat, e, energies, alphas)


def one_step_attention_backward(dcontext, a, cache, P, grads):
    concat, e, energies, alphas = cache
    na = a.shape[2]
    dalphas = np.sum(dcontext[:, np.newaxis, :] * a, axis=2, keepdims=True)
    da = alphas * dcontext[:, np.newaxis, :]
    dscores = alphas * (dalphas - np.sum(alphas * dalphas, axis=1, keepdims=True))
    denergies = dscores * (energies > 0)
    grads["W2"] += np.tensordot(e, denergies, axes=([0, 1], [0, 1]))
    grads["b2"] += np.sum(denergies, axis=(0, 1))
    de = denergies * P["W2"].T
    dpre = de * (1 - e**2)
    grads["W1"] += np.tensordot(concat, dpre, axes=([0, 1], [0, 1]))
    grads["b1"] += np.sum(dpre, axis=(0, 1))
    dconcat = np.dot(dpre, P["W1"].T)
    da += dconcat[:, :, :na]
    ds_prev = np.sum(dconcat[:, :, na:], axis=1)
    return da, ds_prev


def candidate(params, X, Y):
    m, Ty = Y.shape
    ns = params["bf"].shape[0]
    caches, z, f, i, g, o, y_hat = {}, {}, {}, {}, {}, {}, {}
    s = {-1: np.zeros((m, ns))}
    c = {-1: np.zeros((m, ns))}

    # ---- forward ----
    a = np.tanh(np.dot(X, params["We"]) + params["be"])
    loss = 0
    for t in range(Ty):
        context, caches[t] = one_step_attention(a, s[t - 1], params)
        z[t] = np.concatenate([s[t - 1], context], axis=1)
        f[t] = sigmoid(np.dot(z[t], params["Wf"]) + params["bf"])
        i[t] = sigmoid(np.dot(z[t], params["Wi"]) + params["bi"])
        g[t] = np.tanh(np.dot(z[t], params["Wc"]) + params["bc"])
        o[t] = sigmoid(np.dot(z[t], params["Wo"]) + params["bo"])
        c[t] = f[t] * c[t - 1] + i[t] * g[t]
        s[t] = o[t] * np.tanh(c[t])
        y_hat[t] = softmax(np.dot(s[t], params["Wy"]) + params["by"], axis=1)
        loss = loss - np.sum(np.log(y_hat[t][np.arange(m), Y[:, t]])) / m

    # ---- backward ----
    grads = {name: np.zeros_like(value) for name, value in params.items()}
    da = np.zeros_like(a)
    ds_next = np.zeros((m, ns))
    dc_next = np.zeros((m, ns))
    for t in reversed(range(Ty)):
        dy = y_hat[t].copy()
        dy[np.arange(m), Y[:, t]] -= 1
        dy /= m
        grads["Wy"] += np.dot(s[t].T, dy)
        grads["by"] += np.sum(dy, axis=0)
        ds = np.dot(dy, params["Wy"].T) + ds_next
        dc = dc_next + ds * o[t] * (1 - np.tanh(c[t]) ** 2)
        do = ds * np.tanh(c[t]) * o[t] * (1 - o[t])
        df = dc * c[t - 1] * f[t] * (1 - f[t])
        di = dc * g[t] * i[t] * (1 - i[t])
        dg = dc * i[t] * (1 - g[t] ** 2)
        dc_next = dc * f[t]
        dz = 0
        for name, dgate in (("f", df), ("i", di), ("c", dg), ("o", do)):
            grads["W" + name] += np.dot(z[t].T, dgate)
            grads["b" + name] += np.sum(dgate, axis=0)
            dz = dz + np.dot(dgate, params["W" + name].T)
        da_t, ds_att = one_step_attention_backward(dz[:, ns:], a, caches[t], params, grads)
        da += da_t
        ds_next = dz[:, :ns] + ds_att
    dZ = da * (1 - a**2)
    grads["We"] = np.tensordot(X, dZ, axes=([0, 1], [0, 1]))
    grads["be"] = np.sum(dZ, axis=(0, 1))
    return loss, grads


def problem(rng):
    m, Tx, Ty, nx, na, ns, k, out = 5, 6, 4, 5, 4, 4, 3, 6
    params = {
        "We": rng.normal(size=(nx, na)) * 0.7,
        "be": rng.normal(size=na) * 0.3,
        "W1": rng.normal(size=(na + ns, k)) * 0.8,
        "b1": rng.normal(size=k) * 0.3,
        "W2": rng.normal(size=(k, 1)) * 1.5,
        "b2": rng.normal(size=1) * 0.2 + 0.3,
        "Wy": rng.normal(size=(ns, out)),
        "by": rng.normal(size=out) * 0.3,
    }
    for name in "fico":
        params["W" + name] = rng.normal(size=(ns + na, ns)) * 0.7
        params["b" + name] = rng.normal(size=ns) * 0.3
    return params, (rng.normal(size=(m, Tx, nx)), rng.integers(out, size=(m, Ty)))


WRONG = [
    wrong("relu_of_the_energies_forgotten", "missing-derivative", "dscores * (energies > 0)", "dscores"),
    wrong(
        "every_alpha_by_itself",
        "diagonal-jacobian|missing-path",
        "alphas * (dalphas - np.sum(alphas * dalphas, axis=1, keepdims=True))",
        "alphas * (1 - alphas) * dalphas",
    ),
    wrong(
        "alphas_summed_over_the_samples",
        "wrong-axis",
        "np.sum(alphas * dalphas, axis=1, keepdims=True)",
        "np.sum(alphas * dalphas, axis=0, keepdims=True)",
    ),
    wrong("tanh_of_the_energies_forgotten", "missing-derivative", "dpre = de * (1 - e**2)", "dpre = de"),
    wrong(
        "state_not_reached_by_attention",
        "missing-path|truncated-in-time",
        "ds_next = dz[:, :ns] + ds_att",
        "ds_next = dz[:, :ns]",
    ),
    wrong("encoder_reached_by_contexts_only", "missing-path", "    da += dconcat[:, :, :na]\n", ""),
    wrong(
        "attention_weights_of_one_step",
        "overwritten|last-step-only|truncated-in-time",
        'grads["W1"] += np.tensordot',
        'grads["W1"] = np.tensordot',
    ),
    wrong("cell_carried_by_the_input_gate", "wrong-operand", "dc_next = dc * f[t]", "dc_next = dc * i[t]"),
    wrong(
        "cell_of_the_next_step_forgotten",
        "truncated-in-time|missing-path",
        "dc = dc_next + ds * o[t]",
        "dc = ds * o[t]",
    ),
    wrong(
        "forget_gate_sees_the_new_cell",
        "shifted-in-time|wrong-operand",
        "df = dc * c[t - 1]",
        "df = dc * c[t]",
    ),
    wrong(
        "cost_divided_by_steps_too",
        "wrong-loss|wrong-reduction",
        "Y[:, t]])) / m\n",
        "Y[:, t]])) / (m * Ty)\n",
    ),
    wrong(
        "sigmoid_for_the_new_memory",
        "different-function",
        'g[t] = np.tanh(np.dot(z[t], params["Wc"]) + params["bc"])',
        'g[t] = sigmoid(np.dot(z[t], params["Wc"]) + params["bc"])',
        "(1 - g[t] ** 2)",
        "g[t] * (1 - g[t])",
    ),
    wrong(
        "energies_without_relu",
        "different-function",
        "softmax(np.maximum(0, energies), axis=1)",
        "softmax(energies, axis=1)",
        "dscores * (energies > 0)",
        "dscores",
    ),
    wrong(
        "halves_of_the_concatenation_mixed_up",
        "wrong-operand",
        "ds_prev = np.sum(dconcat[:, :, na:], axis=1)",
        "ds_prev = np.sum(dconcat[:, :, :na], axis=1)",
    ),
]

TOGETHER = [
    ("relu_of_the_energies_forgotten", "cell_carried_by_the_input_gate"),
    ("every_alpha_by_itself", "forget_gate_sees_the_new_cell"),
    ("tanh_of_the_energies_forgotten", "cost_divided_by_steps_too"),
    ("state_not_reached_by_attention", "cell_of_the_next_step_forgotten"),
    ("encoder_reached_by_contexts_only", "attention_weights_of_one_step"),
    ("sigmoid_for_the_new_memory", "relu_of_the_energies_forgotten"),
    ("alphas_summed_over_the_samples", "cell_of_the_next_step_forgotten"),
    ("energies_without_relu", "encoder_reached_by_contexts_only"),
    ("relu_of_the_energies_forgotten", "encoder_reached_by_contexts_only", "forget_gate_sees_the_new_cell"),
    ("every_alpha_by_itself", "state_not_reached_by_attention", "cell_carried_by_the_input_gate"),
]

RIGHT = [
    right(
        "softmax_sample_by_sample_by_its_jacobian",
        "    dscores = alphas * (dalphas - np.sum(alphas * dalphas, axis=1, keepdims=True))\n",
        "    dscores = np.zeros_like(alphas)\n"
        "    for n in range(len(a)):\n"
        "        p = alphas[n, :, 0]\n"
        "        dscores[n, :, 0] = (np.diag(p) - np.outer(p, p)).dot(dalphas[n, :, 0])\n",
        "    denergies = dscores * (energies > 0)\n",
        "    denergies = dscores\n    denergies[energies <= 0] = 0\n",
    ),
    right(
        "weights_collected_at_the_end",
        '        grads["Wy"] += np.dot(s[t].T, dy)\n        grads["by"] += np.sum(dy, axis=0)\n',
        "        y_hat[t] = dy\n",
        "    dZ = da * (1 - a**2)\n",
        '    grads["Wy"] = sum(s[t].T @ y_hat[t] for t in range(Ty))\n'
        '    grads["by"] = sum(y_hat[t].sum(0) for t in range(Ty))\n'
        "    dZ = da - da * a * a\n",
    ),
]
