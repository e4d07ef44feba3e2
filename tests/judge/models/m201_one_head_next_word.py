"""The next word from one causal attention head: words plus places, a residual, logits at all places; dict cache, @."""

import numpy as np
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, words, following):
    x = F.embedding(words, params["E"]) + params["P"]
    q, k, v = x @ params["Wq"], x @ params["Wk"], x @ params["Wv"]
    out = x + F.scaled_dot_product_attention(q, k, v, is_causal=True) @ params["Wo"]
    logits = out @ params["Wu"] + params["bu"]
    return F.cross_entropy(logits.flatten(0, 1), following.flatten())


def softmax(s):
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def attention_forward(x, Wq, Wk, Wv, Wo):
    c = {"x": x, "Q": x @ Wq, "K": x @ Wk, "V": x @ Wv}
    T = x.shape[1]
    c["scale"] = np.sqrt(Wk.shape[1])
    S = c["Q"] @ c["K"].transpose(0, 2, 1) / c["scale"]
    S = np.where(np.tril(np.ones((T, T))) == 0, -1e9, S)
    c["A"] = softmax(S)
    c["O"] = c["A"] @ c["V"]
    return c["O"] @ Wo, c


def over_batch(a, b):
    """The sum of a[n].T @ b[n]."""
    return (a.transpose(0, 2, 1) @ b).sum(axis=0)


def attention_backward(dout, c, Wq, Wk, Wv, Wo):
    x, Q, K, V, A = c["x"], c["Q"], c["K"], c["V"], c["A"]
    dWo = over_batch(c["O"], dout)
    dO = dout @ Wo.T
    dV = A.transpose(0, 2, 1) @ dO
    dA = dO @ V.transpose(0, 2, 1)
    dS = A * (dA - (dA * A).sum(axis=-1, keepdims=True))
    dS = dS / c["scale"]
    dQ = dS @ K
    dK = dS.transpose(0, 2, 1) @ Q
    dWq = over_batch(x, dQ)
    dWk = over_batch(x, dK)
    dWv = over_batch(x, dV)
    dx = dQ @ Wq.T + dK @ Wk.T + dV @ Wv.T
    return dx, dWq, dWk, dWv, dWo


def candidate(params, words, following):
    matrices = [params[name] for name in ("Wq", "Wk", "Wv", "Wo")]
    N, T = words.shape
    x = params["E"][words] + params["P"]
    attended, cache = attention_forward(x, *matrices)
    out = x + attended
    probs = softmax(out @ params["Wu"] + params["bu"])
    rows, places = np.arange(N)[:, None], np.arange(T)[None, :]
    loss = -np.log(probs[rows, places, following]).mean()

    grads = {}
    dlogits = probs.copy()
    dlogits[rows, places, following] -= 1
    dlogits /= N * T
    grads["Wu"] = over_batch(out, dlogits)
    grads["bu"] = dlogits.sum(axis=(0, 1))
    dout = dlogits @ params["Wu"].T
    dx, grads["Wq"], grads["Wk"], grads["Wv"], grads["Wo"] = attention_backward(dout, cache, *matrices)
    dx = dx + dout
    grads["P"] = dx.sum(axis=0)
    grads["E"] = np.zeros_like(params["E"])
    np.add.at(grads["E"], words, dx)
    return loss, grads


def problem(rng):
    V, D, T, N, H, U = 7, 4, 5, 6, 3, 2
    params = {
        "E": rng.normal(size=(V, D)),
        "P": rng.normal(size=(T, D)) * 0.5,
        "Wq": rng.normal(size=(D, H)),
        "Wk": rng.normal(size=(D, H)),
        "Wv": rng.normal(size=(D, U)),
        "Wo": rng.normal(size=(U, D)),
        "Wu": rng.normal(size=(D, V)) * 0.7,
        "bu": rng.normal(size=V) * 0.4,
    }
    return params, (rng.integers(0, V, size=(N, T)), rng.integers(0, V, size=(N, T)))


WRONG = [
    wrong(
        "softmax_entry_by_entry",
        "diagonal-jacobian",
        "dS = A * (dA - (dA * A).sum(axis=-1, keepdims=True))",
        "dS = dA * A * (1 - A)",
    ),
    wrong(
        "softmax_sum_over_the_queries",
        "wrong-axis",
        "(dA * A).sum(axis=-1, keepdims=True)",
        "(dA * A).sum(axis=1, keepdims=True)",
    ),
    wrong("scale_forgotten_backwards", "wrong-scale|missing-derivative", '    dS = dS / c["scale"]\n', ""),
    wrong("keys_scores_not_turned", "not-transposed", "dK = dS.transpose(0, 2, 1) @ Q", "dK = dS @ Q"),
    wrong("values_weights_not_turned", "not-transposed", "dV = A.transpose(0, 2, 1) @ dO", "dV = A @ dO"),
    wrong("query_matrix_for_the_keys", "wrong-operand", "dK @ Wk.T", "dK @ Wq.T"),
    wrong(
        "value_route_to_the_words_dropped",
        "missing-path",
        "dx = dQ @ Wq.T + dK @ Wk.T + dV @ Wv.T",
        "dx = dQ @ Wq.T + dK @ Wk.T",
    ),
    wrong("residual_forgotten_backwards", "missing-path", "    dx = dx + dout\n", ""),
    wrong(
        "repeated_words_overwrite",
        "overwritten",
        'np.add.at(grads["E"], words, dx)',
        'grads["E"][words] += dx',
    ),
    wrong("places_not_divided", "wrong-scale|wrong-reduction", "dlogits /= N * T", "dlogits /= N"),
    wrong(
        "output_matrix_without_the_residual",
        "wrong-operand",
        'grads["Wu"] = over_batch(out, dlogits)',
        'grads["Wu"] = over_batch(attended, dlogits)',
    ),
    wrong(
        "future_words_seen_in_both",
        "different-function|wrong-operand",
        "    S = np.where(np.tril(np.ones((T, T))) == 0, -1e9, S)\n",
        "",
    ),
]

TOGETHER = [
    ("softmax_entry_by_entry", "repeated_words_overwrite"),
    ("scale_forgotten_backwards", "residual_forgotten_backwards"),
    ("keys_scores_not_turned", "places_not_divided"),
    ("values_weights_not_turned", "output_matrix_without_the_residual"),
]

RIGHT = [
    right(
        "sums_in_einsum",
        "return (a.transpose(0, 2, 1) @ b).sum(axis=0)",
        'return np.einsum("nti,ntj->ij", a, b)',
        "    dS = A * (dA - (dA * A).sum(axis=-1, keepdims=True))\n",
        '    dS = A * dA - A * np.einsum("nij,nij->ni", dA, A)[:, :, None]\n',
        '    np.add.at(grads["E"], words, dx)\n',
        '    for word in range(len(grads["E"])):\n        grads["E"][word] = dx[words == word].sum(axis=0)\n',
    ),
]
