"""A recurrent cell with a normalised state that attends over all of its own past states, with a loss at each step."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, y, mask):
    n, steps, _ = x.shape
    size = params["h0"].shape[0]
    hidden = params["h0"].expand(n, size)
    states, logits = [hidden], []
    for t in range(steps):
        past = torch.stack(states, dim=1)
        query = hidden @ params["Wq"]
        scores = torch.einsum("nh,nsh->ns", query, past) / math.sqrt(size)
        context = (F.softmax(scores, dim=1).unsqueeze(-1) * past).sum(dim=1)
        pre = x[:, t] @ params["Wx"] + hidden @ params["Wh"] + context @ params["Wc"]
        hidden = torch.tanh(F.layer_norm(pre, (size,), params["gain"], params["shift"]))
        states.append(hidden)
        logits.append(F.linear(hidden, params["Wo"], params["bo"]))
    each = F.cross_entropy(torch.stack(logits, dim=2), y, reduction="none")
    stacked = torch.stack(states)
    jumps = stacked[1:] - stacked[:-1]
    return {"fit": (each * mask).sum() / mask.sum(), "jumps": 0.6 * jumps.pow(2).mean()}


def softmax(a):
    e = np.exp(a - a.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def softmax_backward(dp, p):
    return p * (dp - np.sum(dp * p, axis=1, keepdims=True))


def layer_norm(a, gain, shift, eps=1e-5):
    centred = a - a.mean(axis=1, keepdims=True)
    inverse = 1 / np.sqrt(np.mean(centred**2, axis=1, keepdims=True) + eps)
    unit = centred * inverse
    return gain * unit + shift, unit, inverse


def layer_norm_backward(dout, gain, unit, inverse):
    dunit = dout * gain
    along = np.mean(dunit * unit, axis=1, keepdims=True)
    da = inverse * (dunit - dunit.mean(axis=1, keepdims=True) - unit * along)
    return da, np.sum(dout * unit, axis=0), dout.sum(axis=0)


def candidate(params, x, y, mask):
    Wx, Wh, Wc, Wq, Wo = (params[name] for name in ("Wx", "Wh", "Wc", "Wq", "Wo"))
    n, steps, _ = x.shape
    size, classes = Wh.shape[0], Wo.shape[0]
    rows = np.arange(n)

    states = np.zeros((steps + 1, n, size))
    states[0] = params["h0"]
    cache, total = [], 0.0
    for t in range(steps):
        past = states[: t + 1]
        query = states[t] @ Wq
        weights = softmax(np.einsum("nh,snh->ns", query, past) / np.sqrt(size))
        context = np.einsum("ns,snh->nh", weights, past)
        pre = x[:, t] @ Wx + states[t] @ Wh + context @ Wc
        normed, unit, inverse = layer_norm(pre, params["gain"], params["shift"])
        states[t + 1] = np.tanh(normed)
        probs = softmax(states[t + 1] @ Wo.T + params["bo"])
        total -= np.sum(mask[:, t] * np.log(probs[rows, y[:, t]]))
        cache.append((query, weights, context, unit, inverse, probs))
    jumps = states[1:] - states[:-1]
    loss = total / mask.sum() + 0.6 * np.mean(jumps**2)

    grads = {name: np.zeros_like(value) for name, value in params.items()}
    djumps = 2 * 0.6 * jumps / jumps.size
    dstates = np.zeros_like(states)
    dstates[1:] += djumps
    dstates[:-1] -= djumps
    for t in reversed(range(steps)):
        past = states[: t + 1]
        query, weights, context, unit, inverse, probs = cache[t]
        dlogits = (probs - np.eye(classes)[y[:, t]]) * mask[:, t, None] / mask.sum()
        grads["Wo"] += dlogits.T @ states[t + 1]
        grads["bo"] += dlogits.sum(axis=0)
        dstates[t + 1] += dlogits @ Wo

        dnormed = dstates[t + 1] * (1 - states[t + 1] ** 2)
        dpre, dgain, dshift = layer_norm_backward(dnormed, params["gain"], unit, inverse)
        grads["gain"] += dgain
        grads["shift"] += dshift
        grads["Wx"] += x[:, t].T @ dpre
        grads["Wh"] += states[t].T @ dpre
        grads["Wc"] += context.T @ dpre

        dcontext = dpre @ Wc.T
        dweights = np.einsum("nh,snh->ns", dcontext, past)
        dscores = softmax_backward(dweights, weights) / np.sqrt(size)
        dquery = np.einsum("ns,snh->nh", dscores, past)
        grads["Wq"] += states[t].T @ dquery
        dstates[t] += dpre @ Wh.T
        dstates[t] += dquery @ Wq.T
        dstates[: t + 1] += np.einsum("ns,nh->snh", weights, dcontext)
        dstates[: t + 1] += np.einsum("ns,nh->snh", dscores, query)
    grads["h0"] = dstates[0].sum(axis=0)
    return loss, grads


def problem(rng):
    params = {
        "h0": rng.normal(size=5) * 0.8,
        "Wx": rng.normal(size=(3, 5)) * 0.7,
        "Wh": rng.normal(size=(5, 5)) * 0.6,
        "Wc": rng.normal(size=(5, 5)) * 0.8,
        "Wq": rng.normal(size=(5, 5)) * 1.2,
        "gain": rng.uniform(0.5, 1.3, size=5),
        "shift": rng.normal(size=5) * 0.4,
        "Wo": rng.normal(size=(3, 5)),
        "bo": rng.normal(size=3) * 0.3,
    }
    lengths = np.array([7, 5, 6, 4])
    mask = (np.arange(7) < lengths[:, None]).astype(float)
    return params, (rng.normal(size=(4, 7, 3)), rng.integers(0, 3, size=(4, 7)), mask)


WRONG = [
    wrong(
        "mean_and_variance_as_constants",
        "diagonal-jacobian|missing-path",
        "inverse * (dunit - dunit.mean(axis=1, keepdims=True) - unit * along)",
        "inverse * dunit",
    ),
    wrong(
        "route_by_the_variance_forgotten",
        "missing-path",
        "dunit.mean(axis=1, keepdims=True) - unit * along)",
        "dunit.mean(axis=1, keepdims=True))",
    ),
    wrong("gain_forgotten", "missing-derivative", "dunit = dout * gain", "dunit = dout"),
    wrong(
        "slope_at_the_state",
        "derivative-at-wrong-point",
        "(1 - states[t + 1] ** 2)",
        "(1 - np.tanh(states[t + 1]) ** 2)",
    ),
    wrong(
        "attention_softmax_diagonal",
        "diagonal-jacobian",
        "return p * (dp - np.sum(dp * p, axis=1, keepdims=True))",
        "return p * (1 - p) * dp",
    ),
    wrong(
        "root_of_the_size_forgotten",
        "missing-derivative|wrong-scale",
        "softmax_backward(dweights, weights) / np.sqrt(size)",
        "softmax_backward(dweights, weights)",
    ),
    wrong(
        "past_states_not_reached_by_the_scores",
        "missing-path",
        '        dstates[: t + 1] += np.einsum("ns,nh->snh", dscores, query)\n',
        "",
    ),
    wrong(
        "newest_state_not_reached_by_the_reading",
        "missing-path",
        'dstates[: t + 1] += np.einsum("ns,nh->snh", weights, dcontext)',
        'dstates[:t] += np.einsum("ns,nh->snh", weights, dcontext)[:t]',
    ),
    wrong(
        "recurrent_matrix_not_transposed",
        "not-transposed",
        "dstates[t] += dpre @ Wh.T",
        "dstates[t] += dpre @ Wh",
    ),
    wrong(
        "state_cut_off_from_the_step_before",
        "truncated-in-time|missing-path",
        "        dstates[t] += dpre @ Wh.T\n",
        "",
    ),
    wrong(
        "new_state_for_the_old_one",
        "shifted-in-time|wrong-operand",
        'grads["Wh"] += states[t].T @ dpre',
        'grads["Wh"] += states[t + 1].T @ dpre',
    ),
    wrong(
        "reading_assigned",
        "overwritten",
        'dstates[: t + 1] += np.einsum("ns,nh->snh", weights, dcontext)',
        'dstates[: t + 1] = np.einsum("ns,nh->snh", weights, dcontext)',
    ),
    wrong("jump_from_a_state_of_the_wrong_sign", "wrong-sign", "dstates[:-1] -= djumps", "dstates[:-1] += djumps"),
    wrong(
        "context_matrix_assigned",
        "overwritten|last-step-only",
        'grads["Wc"] += context.T @ dpre',
        'grads["Wc"] = context.T @ dpre',
    ),
    wrong(
        "padded_steps_counted",
        "wrong-term-weight|wrong-scale|wrong-reduction",
        "* mask[:, t, None] / mask.sum()",
        "* mask[:, t, None] / mask.size",
    ),
    wrong(
        "start_averaged_over_the_batch",
        "wrong-reduction|wrong-scale",
        "dstates[0].sum(axis=0)",
        "dstates[0].mean(axis=0)",
    ),
    wrong(
        "unbiased_variance_in_both",
        "different-function|wrong-reduction",
        "np.sqrt(np.mean(centred**2, axis=1, keepdims=True) + eps)",
        "np.sqrt(np.var(a, axis=1, keepdims=True, ddof=1) + eps)",
        "along = np.mean(dunit * unit, axis=1, keepdims=True)",
        "along = np.sum(dunit * unit, axis=1, keepdims=True) / (unit.shape[1] - 1)",
    ),
    wrong(
        "normalised_over_the_batch_in_both",
        "wrong-axis",
        "centred = a - a.mean(axis=1, keepdims=True)",
        "centred = a - a.mean(axis=0)",
        "np.sqrt(np.mean(centred**2, axis=1, keepdims=True) + eps)",
        "np.sqrt(np.mean(centred**2, axis=0) + eps)",
        "along = np.mean(dunit * unit, axis=1, keepdims=True)",
        "along = np.mean(dunit * unit, axis=0)",
        "dunit - dunit.mean(axis=1, keepdims=True)",
        "dunit - dunit.mean(axis=0)",
    ),
    wrong(
        "relu_for_tanh_in_both",
        "different-function",
        "states[t + 1] = np.tanh(normed)",
        "states[t + 1] = np.maximum(normed, 0)",
        "(1 - states[t + 1] ** 2)",
        "(states[t + 1] > 0)",
    ),
    wrong("jumps_summed_in_cost", "wrong-loss", "0.6 * np.mean(jumps**2)", "0.6 * np.sum(jumps**2)"),
]

TOGETHER = [
    ("route_by_the_variance_forgotten", "root_of_the_size_forgotten"),
    ("attention_softmax_diagonal", "padded_steps_counted"),
    ("new_state_for_the_old_one", "context_matrix_assigned"),
    ("recurrent_matrix_not_transposed", "start_averaged_over_the_batch"),
    ("gain_forgotten", "jump_from_a_state_of_the_wrong_sign"),
    ("slope_at_the_state", "newest_state_not_reached_by_the_reading", "context_matrix_assigned"),
    ("past_states_not_reached_by_the_scores", "new_state_for_the_old_one", "start_averaged_over_the_batch"),
]

RIGHT = [
    right(
        "normalisation_step_by_step",
        "    dunit = dout * gain\n"
        "    along = np.mean(dunit * unit, axis=1, keepdims=True)\n"
        "    da = inverse * (dunit - dunit.mean(axis=1, keepdims=True) - unit * along)\n",
        "    dunit = dout * gain\n"
        "    size = unit.shape[1]\n"
        "    centred = unit / inverse\n"
        "    dvariance = -0.5 * np.sum(dunit * centred, axis=1, keepdims=True) * inverse**3\n"
        "    dmean = -np.sum(dunit * inverse, axis=1, keepdims=True)\n"
        "    da = dunit * inverse + dvariance * 2 * centred / size + dmean / size\n",
    ),
    right(
        "weight_gradients_after_the_loop",
        '        grads["Wo"] += dlogits.T @ states[t + 1]\n        grads["bo"] += dlogits.sum(axis=0)\n',
        "",
        "    for t in reversed(range(steps)):\n",
        "    all_dpre, all_dquery = np.zeros((steps, n, size)), np.zeros((steps, n, size))\n"
        "    for t in reversed(range(steps)):\n",
        '        grads["Wx"] += x[:, t].T @ dpre\n'
        '        grads["Wh"] += states[t].T @ dpre\n'
        '        grads["Wc"] += context.T @ dpre\n',
        "        all_dpre[t] = dpre\n",
        '        grads["Wq"] += states[t].T @ dquery\n',
        "        all_dquery[t] = dquery\n",
        '    grads["h0"] = dstates[0].sum(axis=0)\n',
        "    contexts = np.stack([one[2] for one in cache])\n"
        "    all_probs = np.stack([one[5] for one in cache])\n"
        "    all_dlogits = (all_probs - np.eye(classes)[y.T]) * (mask.T / mask.sum())[:, :, None]\n"
        '    grads["Wo"] = np.tensordot(all_dlogits, states[1:], axes=([0, 1], [0, 1]))\n'
        '    grads["bo"] = all_dlogits.sum(axis=(0, 1))\n'
        '    grads["Wx"] = np.einsum("ntd,tnh->dh", x, all_dpre)\n'
        '    grads["Wh"] = np.einsum("tna,tnb->ab", states[:-1], all_dpre)\n'
        '    grads["Wc"] = np.einsum("tna,tnb->ab", contexts, all_dpre)\n'
        '    grads["Wq"] = np.einsum("tna,tnb->ab", states[:-1], all_dquery)\n'
        '    grads["h0"] = np.ones(n) @ dstates[0]\n',
    ),
    right(
        "attention_slot_by_slot",
        '        dweights = np.einsum("nh,snh->ns", dcontext, past)\n'
        "        dscores = softmax_backward(dweights, weights) / np.sqrt(size)\n"
        '        dquery = np.einsum("ns,snh->nh", dscores, past)\n'
        '        grads["Wq"] += states[t].T @ dquery\n'
        "        dstates[t] += dpre @ Wh.T\n"
        "        dstates[t] += dquery @ Wq.T\n"
        '        dstates[: t + 1] += np.einsum("ns,nh->snh", weights, dcontext)\n'
        '        dstates[: t + 1] += np.einsum("ns,nh->snh", dscores, query)\n',
        "        for i in range(n):\n"
        "            p = weights[i]\n"
        "            jacobian = (np.diag(p) - np.outer(p, p)) / math.sqrt(size)\n"
        "            dscore = jacobian @ (past[:, i] @ dcontext[i])\n"
        "            dquery = np.zeros(size)\n"
        "            for s in range(t + 1):\n"
        "                dquery += dscore[s] * past[s, i]\n"
        "                dstates[s, i] += p[s] * dcontext[i] + dscore[s] * query[i]\n"
        '            grads["Wq"] += np.outer(states[t, i], dquery)\n'
        "            dstates[t, i] += Wh @ dpre[i] + Wq @ dquery\n",
    ),
]
