"""A minimal gated cell that reads from and writes to memory slots found by softmax; a label told at every step."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, labels):
    n, steps, _ = x.shape
    h = params["h0"].expand(n, -1)
    memory = params["M0"].expand(n, -1, -1)
    logits, entropy = [], 0.0
    for t in range(steps):
        query = h @ params["Q"]
        score = torch.bmm(memory, query.unsqueeze(2)).squeeze(2) / math.sqrt(query.shape[1])
        log_w = F.log_softmax(score, dim=1)
        w = log_w.exp()
        read = torch.bmm(w.unsqueeze(1), memory).squeeze(1)
        f = torch.sigmoid(x[:, t] @ params["Wf"] + h @ params["Uf"] + params["bf"])
        c = torch.tanh(x[:, t] @ params["Wc"] + (f * h) @ params["Uc"] + read @ params["R"] + params["bc"])
        h = (1 - f) * h + f * c
        written = torch.tanh(h @ params["A"])
        memory = memory + w.unsqueeze(2) * (written.unsqueeze(1) - memory)
        logits.append(h @ params["V"] + params["bv"])
        entropy = entropy - (w * log_w).sum(dim=1).mean() / steps
    told = F.cross_entropy(torch.stack(logits, dim=1).flatten(0, 1), labels.flatten())
    return {"labels": told, "addressing": 0.6 * entropy}


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def softmax(a):
    e = np.exp(a - a.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def address(score):
    """How much each slot counts."""
    e = np.exp(score - score.max(axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True)


def address_backward(dw, w):
    return w * (dw - np.sum(w * dw, axis=1, keepdims=True))


def candidate(params, x, labels):
    Q, R, A, V = (params[name] for name in ("Q", "R", "A", "V"))
    Wf, Uf, bf, Wc, Uc, bc = (params[name] for name in ("Wf", "Uf", "bf", "Wc", "Uc", "bc"))
    n, steps, _ = x.shape
    width = len(Q)
    rows = np.arange(n)

    h = [np.tile(params["h0"], (n, 1))]
    memory = [np.tile(params["M0"], (n, 1, 1))]
    query, w, read, f, c, written, probs = [], [], [], [], [], [], []
    nll = entropy = 0.0
    for t in range(steps):
        query.append(h[t] @ Q)
        w.append(address(np.einsum("nd,nsd->ns", query[t], memory[t]) / math.sqrt(width)))
        read.append(np.einsum("ns,nsd->nd", w[t], memory[t]))
        f.append(sigmoid(x[:, t] @ Wf + h[t] @ Uf + bf))
        c.append(np.tanh(x[:, t] @ Wc + (f[t] * h[t]) @ Uc + read[t] @ R + bc))
        h.append((1 - f[t]) * h[t] + f[t] * c[t])
        written.append(np.tanh(h[t + 1] @ A))
        memory.append((1 - w[t][:, :, None]) * memory[t] + w[t][:, :, None] * written[t][:, None, :])
        probs.append(softmax(h[t + 1] @ V + params["bv"]))
        nll -= np.log(probs[t][rows, labels[:, t]]).sum()
        entropy -= np.sum(w[t] * np.log(w[t]))
    loss = nll / (n * steps) + 0.6 * entropy / (n * steps)

    grads = {name: np.zeros_like(value) for name, value in params.items()}
    dh = np.zeros_like(h[0])
    dmemory = np.zeros_like(memory[0])
    for t in reversed(range(steps)):
        dlogits = probs[t].copy()
        dlogits[rows, labels[:, t]] -= 1
        dlogits /= n * steps
        grads["V"] += h[t + 1].T @ dlogits
        grads["bv"] += dlogits.sum(axis=0)
        dh = dh + dlogits @ V.T

        # writing
        dwritten = np.einsum("nsd,ns->nd", dmemory, w[t])
        dw = np.sum(dmemory * (written[t][:, None, :] - memory[t]), axis=2)
        dmemory = dmemory * (1 - w[t][:, :, None])
        dwrite_act = dwritten * (1 - written[t] ** 2)
        grads["A"] += h[t + 1].T @ dwrite_act
        dh = dh + dwrite_act @ A.T

        # the cell
        df = dh * (c[t] - h[t])
        dc = dh * f[t]
        dprev = dh * (1 - f[t])
        dc_act = dc * (1 - c[t] ** 2)
        grads["Wc"] += x[:, t].T @ dc_act
        grads["Uc"] += (f[t] * h[t]).T @ dc_act
        grads["R"] += read[t].T @ dc_act
        grads["bc"] += dc_act.sum(axis=0)
        dreset = dc_act @ Uc.T
        df += dreset * h[t]
        dprev += dreset * f[t]
        df_act = df * f[t] * (1 - f[t])
        grads["Wf"] += x[:, t].T @ df_act
        grads["Uf"] += h[t].T @ df_act
        grads["bf"] += df_act.sum(axis=0)
        dprev += df_act @ Uf.T

        # reading
        dread = dc_act @ R.T
        dw += np.einsum("nd,nsd->ns", dread, memory[t])
        dw -= 0.6 * (np.log(w[t]) + 1) / (n * steps)
        dmemory += w[t][:, :, None] * dread[:, None, :]
        dscore = address_backward(dw, w[t]) / math.sqrt(width)
        dquery = np.einsum("ns,nsd->nd", dscore, memory[t])
        dmemory += dscore[:, :, None] * query[t][:, None, :]
        grads["Q"] += h[t].T @ dquery
        dprev += dquery @ Q.T
        dh = dprev
    grads["h0"] = dh.sum(axis=0)
    grads["M0"] = dmemory.sum(axis=0)
    return loss, grads


def problem(rng):
    params = {"h0": rng.normal(size=4) * 0.8, "M0": rng.normal(size=(3, 4)) * 1.2}
    for name in ("Q", "Uf", "Uc", "R", "A"):
        params[name] = rng.normal(size=(4, 4)) * 0.8
    params |= {"Wf": rng.normal(size=(3, 4)) * 0.6, "bf": rng.normal(size=4) * 0.3}
    params |= {"Wc": rng.normal(size=(3, 4)) * 0.6, "bc": rng.normal(size=4) * 0.3}
    params |= {"V": rng.normal(size=(4, 3)), "bv": rng.normal(size=3) * 0.3}
    return params, (rng.normal(size=(5, 6, 3)), rng.integers(0, 3, size=(5, 6)))


WRONG = [
    wrong(
        "addressing_diagonal",
        "diagonal-jacobian",
        "return w * (dw - np.sum(w * dw, axis=1, keepdims=True))",
        "return w * (1 - w) * dw",
    ),
    wrong(
        "root_of_the_width_forgotten",
        "wrong-scale|missing-derivative",
        "address_backward(dw, w[t]) / math.sqrt(width)",
        "address_backward(dw, w[t])",
    ),
    wrong(
        "memory_not_carried_back",
        "truncated-in-time|missing-path",
        "dmemory = dmemory * (1 - w[t][:, :, None])",
        "dmemory = np.zeros_like(dmemory)",
    ),
    wrong(
        "erasing_forgotten_in_the_address",
        "missing-path|wrong-operand",
        "dmemory * (written[t][:, None, :] - memory[t])",
        "dmemory * written[t][:, None, :]",
    ),
    wrong("gate_before_the_candidate_forgotten", "missing-path", "        df += dreset * h[t]\n", ""),
    wrong(
        "reset_state_not_gated_backwards",
        "missing-derivative",
        "dprev += dreset * f[t]",
        "dprev += dreset",
    ),
    wrong("read_matrix_not_transposed", "not-transposed", "dread = dc_act @ R.T", "dread = dc_act @ R"),
    wrong(
        "new_state_at_the_gate",
        "shifted-in-time|wrong-operand",
        'grads["Uf"] += h[t].T @ df_act',
        'grads["Uf"] += h[t + 1].T @ df_act',
    ),
    wrong(
        "candidate_slope_of_the_slope",
        "derivative-at-wrong-point",
        "dc_act = dc * (1 - c[t] ** 2)",
        "dc_act = dc * (1 - np.tanh(c[t]) ** 2)",
    ),
    wrong(
        "writing_weights_assigned",
        "overwritten|last-step-only",
        'grads["A"] += h[t + 1].T @ dwrite_act',
        'grads["A"] = h[t + 1].T @ dwrite_act',
    ),
    wrong(
        "gate_slope_without_the_gate",
        "missing-derivative|different-function",
        "df_act = df * f[t] * (1 - f[t])",
        "df_act = df * (1 - f[t])",
    ),
    wrong(
        "gate_the_wrong_way_round",
        "wrong-sign",
        "df = dh * (c[t] - h[t])",
        "df = dh * (h[t] - c[t])",
    ),
    wrong(
        "memory_after_writing_for_the_query",
        "shifted-in-time|wrong-operand",
        'dquery = np.einsum("ns,nsd->nd", dscore, memory[t])',
        'dquery = np.einsum("ns,nsd->nd", dscore, memory[t + 1])',
    ),
    wrong(
        "addressing_term_of_the_wrong_sign",
        "wrong-sign|wrong-term-weight",
        "dw -= 0.6 * (np.log(w[t]) + 1)",
        "dw += 0.6 * (np.log(w[t]) + 1)",
    ),
    wrong(
        "first_memory_averaged_over_the_batch",
        "wrong-reduction|wrong-scale",
        "dmemory.sum(axis=0)",
        "dmemory.mean(axis=0)",
    ),
    wrong("first_state_of_one_sample", "one-sample-only", 'grads["h0"] = dh.sum(axis=0)', 'grads["h0"] = dh[0]'),
    wrong(
        "addressing_over_the_batch_in_both",
        "wrong-axis",
        "    e = np.exp(score - score.max(axis=1, keepdims=True))\n    return e / np.sum(e, axis=1, keepdims=True)\n",
        "    e = np.exp(score - score.max(axis=0, keepdims=True))\n    return e / np.sum(e, axis=0, keepdims=True)\n",
        "np.sum(w * dw, axis=1, keepdims=True)",
        "np.sum(w * dw, axis=0, keepdims=True)",
    ),
    wrong(
        "old_and_new_swapped_in_both",
        "different-function|wrong-operand",
        "h.append((1 - f[t]) * h[t] + f[t] * c[t])",
        "h.append(f[t] * h[t] + (1 - f[t]) * c[t])",
        "df = dh * (c[t] - h[t])\n        dc = dh * f[t]\n        dprev = dh * (1 - f[t])\n",
        "df = dh * (h[t] - c[t])\n        dc = dh * (1 - f[t])\n        dprev = dh * f[t]\n",
    ),
    wrong(
        "written_without_erasing_in_both",
        "different-function|missing-path",
        "memory.append((1 - w[t][:, :, None]) * memory[t] + ",
        "memory.append(memory[t] + ",
        "dmemory * (written[t][:, None, :] - memory[t])",
        "dmemory * written[t][:, None, :]",
        "        dmemory = dmemory * (1 - w[t][:, :, None])\n",
        "",
    ),
    wrong(
        "entropy_of_the_batch_summed_in_cost",
        "wrong-loss",
        "0.6 * entropy / (n * steps)",
        "0.6 * entropy / steps",
    ),
]

TOGETHER = [
    ("addressing_diagonal", "gate_slope_without_the_gate"),
    ("root_of_the_width_forgotten", "reset_state_not_gated_backwards"),
    ("memory_not_carried_back", "new_state_at_the_gate"),
    ("erasing_forgotten_in_the_address", "candidate_slope_of_the_slope"),
    ("writing_weights_assigned", "addressing_term_of_the_wrong_sign"),
    ("gate_before_the_candidate_forgotten", "first_state_of_one_sample", "memory_after_writing_for_the_query"),
    ("read_matrix_not_transposed", "first_memory_averaged_over_the_batch", "gate_the_wrong_way_round"),
]

RIGHT = [
    right(
        "gradients_kept_and_summed_at_the_end",
        '        grads["Wc"] += x[:, t].T @ dc_act\n'
        '        grads["Uc"] += (f[t] * h[t]).T @ dc_act\n'
        '        grads["R"] += read[t].T @ dc_act\n'
        '        grads["bc"] += dc_act.sum(axis=0)\n',
        "        dcs[t] = dc_act\n",
        "    dmemory = np.zeros_like(memory[0])\n",
        "    dmemory = np.zeros_like(memory[0])\n    dcs = np.zeros((steps, n, width))\n",
        '    grads["h0"] = dh.sum(axis=0)\n',
        '    grads["h0"] = dh.sum(axis=0)\n'
        '    grads["Wc"] = np.einsum("nti,tno->io", x, dcs)\n'
        '    grads["Uc"] = np.einsum("tni,tno->io", np.array(f) * np.array(h[:-1]), dcs)\n'
        '    grads["R"] = np.einsum("tni,tno->io", np.array(read), dcs)\n'
        '    grads["bc"] = dcs.sum(axis=(0, 1))\n',
    ),
    right(
        "slots_one_by_one",
        "        dmemory += w[t][:, :, None] * dread[:, None, :]\n"
        "        dscore = address_backward(dw, w[t]) / math.sqrt(width)\n"
        '        dquery = np.einsum("ns,nsd->nd", dscore, memory[t])\n'
        "        dmemory += dscore[:, :, None] * query[t][:, None, :]\n",
        "        dscore = address_backward(dw, w[t]) / math.sqrt(width)\n"
        "        dquery = np.zeros_like(query[t])\n"
        "        for s in range(dmemory.shape[1]):\n"
        "            dquery += dscore[:, s, None] * memory[t][:, s]\n"
        "            dmemory[:, s] += w[t][:, s, None] * dread + dscore[:, s, None] * query[t]\n",
    ),
    right(
        "jacobian_of_the_addressing",
        "return w * (dw - np.sum(w * dw, axis=1, keepdims=True))",
        "jacobian = np.stack([np.diag(one) - np.outer(one, one) for one in w])\n"
        '    return np.einsum("nab,nb->na", jacobian, dw)',
        "        dw -= 0.6 * (np.log(w[t]) + 1) / (n * steps)\n",
        "        dw -= 0.6 * np.log(w[t]) / (n * steps)\n",
    ),
]
