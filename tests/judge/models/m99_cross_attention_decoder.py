"""One layer of a translating decoder: masked self attention, attention to a memory, GELU, words tied to the output."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, target, memory, memory_lengths):
    n, steps = target.shape
    width = params["words"].shape[1]

    def heads(a):
        return a.unflatten(-1, (2, width // 2)).transpose(1, 2)

    def attention(side, x, source, **mask):
        q, k, v = F.linear(x, params[f"{side}_q"]), F.linear(source, params[f"{side}_k"]), source
        v = F.linear(v, params[f"{side}_v"])
        out = F.scaled_dot_product_attention(heads(q), heads(k), heads(v), **mask)
        return F.linear(out.transpose(1, 2).flatten(2), params[f"{side}_o"], params[f"{side}_b"])

    def norm(x, i):
        return F.layer_norm(x, (width,), params[f"gain{i}"], params[f"shift{i}"])

    begun = torch.cat([torch.ones_like(target[:, :1]), target[:, :-1]], dim=1)
    x = F.embedding(begun, params["words"]) * width**0.5 + params["positions"]
    x = norm(x + attention("self", x, x, is_causal=True), 1)
    there = torch.arange(memory.shape[1]) < memory_lengths.unsqueeze(1)
    x = norm(x + attention("cross", x, memory, attn_mask=there[:, None, None, :]), 2)
    inner = F.gelu(F.linear(x, params["F1"], params["f1"]), approximate="tanh")
    x = norm(x + F.linear(inner, params["F2"], params["f2"]), 3)
    logits = F.linear(x, params["words"], params["out_b"])
    return F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=0, label_smoothing=0.2)


def softmax(scores):
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def split_heads(a, heads=2):
    n, steps, width = a.shape
    return a.reshape(n, steps, heads, width // heads).transpose(0, 2, 1, 3)


def join_heads(a):
    n, heads, steps, width = a.shape
    return a.transpose(0, 2, 1, 3).reshape(n, steps, heads * width)


def weight_gradient(dout, inputs):
    return np.tensordot(dout, inputs, axes=([0, 1], [0, 1]))


def layer_norm(x, gain, shift, eps=1e-5):
    mu = x.mean(axis=-1, keepdims=True)
    inv = 1 / np.sqrt(x.var(axis=-1, keepdims=True) + eps)
    xhat = (x - mu) * inv
    return gain * xhat + shift, (xhat, inv)


def layer_norm_backward(dout, gain, cache):
    xhat, inv = cache
    dxhat = dout * gain
    dx = dxhat - dxhat.mean(axis=-1, keepdims=True)
    dx -= xhat * np.mean(dxhat * xhat, axis=-1, keepdims=True)
    return dx * inv, np.sum(dout * xhat, axis=(0, 1)), dout.sum(axis=(0, 1))


def attend(params, side, x, source, allowed):
    q = split_heads(x @ params[side + "_q"].T)
    k = split_heads(source @ params[side + "_k"].T)
    v = split_heads(source @ params[side + "_v"].T)
    scale = 1 / np.sqrt(q.shape[-1])
    scores = np.where(allowed, scale * q @ k.swapaxes(2, 3), -np.inf)
    weights = softmax(scores)
    mixed = join_heads(weights @ v)
    return mixed @ params[side + "_o"].T + params[side + "_b"], (x, source, q, k, v, scale, weights, mixed)


def attend_backward(params, grads, side, dout, cache):
    """Adds the gradients of the block's matrices; returns those of what asks and of what is asked."""
    x, source, q, k, v, scale, weights, mixed = cache
    grads[side + "_o"] = weight_gradient(dout, mixed)
    grads[side + "_b"] = dout.sum(axis=(0, 1))
    dmixed = split_heads(dout @ params[side + "_o"])
    dweights = dmixed @ v.swapaxes(2, 3)
    dscores = weights * (dweights - np.sum(dweights * weights, axis=-1, keepdims=True))
    dq = join_heads(scale * dscores @ k)
    dk = join_heads(scale * dscores.swapaxes(2, 3) @ q)
    dv = join_heads(weights.swapaxes(2, 3) @ dmixed)
    grads[side + "_q"] = weight_gradient(dq, x)
    grads[side + "_k"] = weight_gradient(dk, source)
    grads[side + "_v"] = weight_gradient(dv, source)
    dx = dq @ params[side + "_q"]
    dsource = dk @ params[side + "_k"] + dv @ params[side + "_v"]
    return dx, dsource


def gelu(a):
    t = np.tanh(np.sqrt(2 / np.pi) * (a + 0.044715 * a**3))
    return 0.5 * a * (1 + t), t


def gelu_slope(a, t):
    inner = np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * a**2)
    return 0.5 * (1 + t) + 0.5 * a * (1 - t**2) * inner


def candidate(params, target, memory, memory_lengths, smoothing=0.2):
    E = params["words"]
    vocabulary, width = E.shape
    n, steps = target.shape
    # masks
    causal = np.tril(np.ones((steps, steps), dtype=bool))
    there = np.arange(memory.shape[1]) < memory_lengths[:, None]
    counted = (target != 0).astype(float)
    total = counted.sum()
    # forward
    given = np.ones_like(target)
    given[:, 1:] = target[:, :-1]
    x0 = np.sqrt(width) * E[given] + params["positions"]
    own, self_cache = attend(params, "self", x0, x0, causal)
    x1, norm1 = layer_norm(x0 + own, params["gain1"], params["shift1"])
    read, cross_cache = attend(params, "cross", x1, memory, there[:, None, None, :])
    x2, norm2 = layer_norm(x1 + read, params["gain2"], params["shift2"])
    a = x2 @ params["F1"].T + params["f1"]
    u, t = gelu(a)
    x3, norm3 = layer_norm(x2 + u @ params["F2"].T + params["f2"], params["gain3"], params["shift3"])
    logits = x3 @ E.T + params["out_b"]
    p = softmax(logits)
    goal = (1 - smoothing) * np.eye(vocabulary)[target] + smoothing / vocabulary
    entropy = -np.sum(goal * np.log(p), axis=2)
    loss = np.sum(counted * entropy) / total

    grads = {}
    # output words
    dlogits = (p - goal) * counted[:, :, None] / total
    dE = weight_gradient(dlogits, x3)
    grads["out_b"] = dlogits.sum(axis=(0, 1))
    dx3 = dlogits @ E
    # feed forward
    dsum3, grads["gain3"], grads["shift3"] = layer_norm_backward(dx3, params["gain3"], norm3)
    grads["F2"] = weight_gradient(dsum3, u)
    grads["f2"] = dsum3.sum(axis=(0, 1))
    da = (dsum3 @ params["F2"]) * gelu_slope(a, t)
    grads["F1"] = weight_gradient(da, x2)
    grads["f1"] = da.sum(axis=(0, 1))
    dx2 = dsum3 + da @ params["F1"]
    # attention to the memory, which is given
    dsum2, grads["gain2"], grads["shift2"] = layer_norm_backward(dx2, params["gain2"], norm2)
    dasking, _ = attend_backward(params, grads, "cross", dsum2, cross_cache)
    dx1 = dsum2 + dasking
    # self attention
    dsum1, grads["gain1"], grads["shift1"] = layer_norm_backward(dx1, params["gain1"], norm1)
    dasking, dasked = attend_backward(params, grads, "self", dsum1, self_cache)
    dx0 = dsum1 + dasking + dasked
    # input words
    grads["positions"] = dx0.sum(axis=0)
    np.add.at(dE, given, np.sqrt(width) * dx0)
    grads["words"] = dE
    return loss, grads


def problem(rng):
    width, inner, vocabulary, steps = 6, 8, 9, 4
    params = {
        "words": rng.normal(size=(vocabulary, width)) * 0.5,
        "positions": rng.normal(size=(steps, width)) * 0.5,
        "F1": rng.normal(size=(inner, width)) * 0.5,
        "f1": rng.normal(size=inner) * 0.3,
        "F2": rng.normal(size=(width, inner)) * 0.5,
        "f2": rng.normal(size=width) * 0.3,
        "out_b": rng.normal(size=vocabulary) * 0.4,
    }
    for side in ("self", "cross"):
        for matrix in "qkvo":
            params[f"{side}_{matrix}"] = rng.normal(size=(width, width)) * 0.6
        params[f"{side}_b"] = rng.normal(size=width) * 0.3
    for i in (1, 2, 3):
        params[f"gain{i}"] = 1 + rng.normal(size=width) * 0.3
        params[f"shift{i}"] = rng.normal(size=width) * 0.3
    lengths = np.array([4, 2, 4, 3, 4])
    target = rng.integers(2, vocabulary, size=(5, steps)) * (np.arange(steps) < lengths[:, None])
    return params, (target, rng.normal(size=(5, 7, width)), np.array([7, 4, 6, 3, 5]))


WRONG = [
    wrong(
        "self_attention_asks_only",
        "missing-path",
        "dx0 = dsum1 + dasking + dasked",
        "dx0 = dsum1 + dasking",
    ),
    wrong("skip_around_the_memory_forgotten", "missing-path", "dx1 = dsum2 + dasking", "dx1 = dasking"),
    wrong(
        "softmax_diagonal",
        "diagonal-jacobian",
        "dscores = weights * (dweights - np.sum(dweights * weights, axis=-1, keepdims=True))",
        "dscores = dweights * weights * (1 - weights)",
    ),
    wrong(
        "keys_not_scaled_backwards",
        "wrong-scale|missing-derivative",
        "dk = join_heads(scale * dscores.swapaxes(2, 3) @ q)",
        "dk = join_heads(dscores.swapaxes(2, 3) @ q)",
    ),
    wrong(
        "output_matrix_not_transposed",
        "not-transposed",
        'dmixed = split_heads(dout @ params[side + "_o"])',
        'dmixed = split_heads(dout @ params[side + "_o"].T)',
    ),
    wrong(
        "keys_gradient_for_the_values",
        "wrong-operand",
        'grads[side + "_v"] = weight_gradient(dv, source)',
        'grads[side + "_v"] = weight_gradient(dk, source)',
    ),
    wrong(
        "output_words_untied",
        "missing-path|overwritten",
        "dE = weight_gradient(dlogits, x3)",
        "dE = np.zeros_like(E)",
    ),
    wrong(
        "words_given_twice_overwrite",
        "overwritten",
        "np.add.at(dE, given, np.sqrt(width) * dx0)",
        "dE[given] += np.sqrt(width) * dx0",
    ),
    wrong(
        "words_not_scaled_backwards",
        "wrong-scale|missing-derivative",
        "np.add.at(dE, given, np.sqrt(width) * dx0)",
        "np.add.at(dE, given, dx0)",
    ),
    wrong(
        "padding_counted_in_the_gradient",
        "missing-derivative|wrong-operand|different-function",
        "dlogits = (p - goal) * counted[:, :, None] / total",
        "dlogits = (p - goal) / total",
    ),
    wrong(
        "smoothing_not_in_the_gradient",
        "different-function|missing-path|wrong-operand",
        "dlogits = (p - goal) * counted",
        "dlogits = (p - np.eye(vocabulary)[target]) * counted",
    ),
    wrong(
        "normalised_inputs_of_another_layer",
        "wrong-operand",
        'layer_norm_backward(dx2, params["gain2"], norm2)',
        'layer_norm_backward(dx2, params["gain2"], norm1)',
    ),
    wrong(
        "gelu_gate_held_constant",
        "missing-path|different-function",
        "return 0.5 * (1 + t) + 0.5 * a * (1 - t**2) * inner",
        "return 0.5 * (1 + t)",
    ),
    wrong(
        "memory_padding_read_in_both",
        "different-function|wrong-operand",
        "there = np.arange(memory.shape[1]) < memory_lengths[:, None]",
        "there = np.arange(memory.shape[1]) < np.full((n, 1), memory.shape[1])",
    ),
    wrong(
        "future_seen_in_both",
        "different-function|wrong-operand",
        "causal = np.tril(np.ones((steps, steps), dtype=bool))",
        "causal = np.ones((steps, steps), dtype=bool)",
    ),
    wrong(
        "averaged_over_the_padding_in_cost",
        "wrong-loss",
        "loss = np.sum(counted * entropy) / total",
        "loss = np.mean(counted * entropy)",
    ),
]

TOGETHER = [
    ("self_attention_asks_only", "words_not_scaled_backwards"),
    ("skip_around_the_memory_forgotten", "smoothing_not_in_the_gradient"),
    ("softmax_diagonal", "gelu_gate_held_constant"),
    ("output_matrix_not_transposed", "keys_gradient_for_the_values"),
    ("words_given_twice_overwrite", "padding_counted_in_the_gradient"),
    ("normalised_inputs_of_another_layer", "output_words_untied"),
    ("keys_not_scaled_backwards", "normalised_inputs_of_another_layer", "self_attention_asks_only"),
    ("smoothing_not_in_the_gradient", "keys_gradient_for_the_values", "words_not_scaled_backwards"),
]

RIGHT = [
    right(
        "softmax_row_by_row",
        "    dscores = weights * (dweights - np.sum(dweights * weights, axis=-1, keepdims=True))\n",
        "    dscores = np.empty_like(dweights)\n"
        "    for place in np.ndindex(weights.shape[:3]):\n"
        "        row = weights[place]\n"
        "        dscores[place] = (np.diag(row) - np.outer(row, row)) @ dweights[place]\n",
        "np.add.at(dE, given, np.sqrt(width) * dx0)",
        "dE += np.sqrt(width) * np.einsum('ntv,ntd->vd', np.eye(vocabulary)[given], dx0)",
    ),
    right(
        "counted_positions_only",
        "    dlogits = (p - goal) * counted[:, :, None] / total\n",
        "    dlogits = np.zeros_like(p)\n    rows = np.nonzero(target)\n"
        "    dlogits[rows] = p[rows] - smoothing / vocabulary\n"
        "    dlogits[(*rows, target[rows])] -= 1 - smoothing\n"
        "    dlogits /= len(rows[0])\n",
        "entropy = -np.sum(goal * np.log(p), axis=2)",
        "entropy = np.log(np.exp(logits).sum(axis=2)) - np.sum(goal * logits, axis=2)",
    ),
    right(
        "heads_in_a_loop",
        "    dweights = dmixed @ v.swapaxes(2, 3)\n"
        "    dscores = weights * (dweights - np.sum(dweights * weights, axis=-1, keepdims=True))\n"
        "    dq = join_heads(scale * dscores @ k)\n"
        "    dk = join_heads(scale * dscores.swapaxes(2, 3) @ q)\n"
        "    dv = join_heads(weights.swapaxes(2, 3) @ dmixed)\n",
        "    parts = []\n"
        "    for head in range(q.shape[1]):\n"
        "        w, dm = weights[:, head], dmixed[:, head]\n"
        "        ds = w * np.einsum('ntd,nsd->nts', dm, v[:, head])\n"
        "        ds -= w * ds.sum(axis=2, keepdims=True)\n"
        "        dq = scale * np.einsum('nts,nsd->ntd', ds, k[:, head])\n"
        "        dk = scale * np.einsum('nts,ntd->nsd', ds, q[:, head])\n"
        "        parts.append((dq, dk, np.einsum('nts,ntd->nsd', w, dm)))\n"
        "    dq, dk, dv = (np.concatenate(part, axis=2) for part in zip(*parts, strict=True))\n",
    ),
]
