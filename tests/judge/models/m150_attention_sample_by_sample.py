"""A text classifier with one head of self-attention, sample by sample: padding masked, post-norm, mean over words."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, tokens, mask, y):
    x = F.embedding(tokens, params["E"]) + params["P"]
    q, k, v = x @ params["Wq"], x @ params["Wk"], x @ params["Wv"]
    scores = torch.einsum("nid,njd->nij", q, k) / q.shape[-1] ** 0.5
    A = torch.softmax(scores.masked_fill(mask[:, None, :] == 0, float("-inf")), dim=2)
    r = x + (A @ v) @ params["Wo"]
    h = F.layer_norm(r, r.shape[2:], params["gamma"], params["beta"], eps=1e-5)
    pooled = (h * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
    return F.cross_entropy(pooled @ params["Wc"] + params["bc"], y)


def ln(x, gamma, beta):
    mu = x.mean(1, keepdims=True)
    xc = x - mu
    var = (xc**2).mean(1, keepdims=True)
    inv = 1 / np.sqrt(var + 1e-5)
    xhat = xc * inv
    return gamma * xhat + beta, dict(xc=xc, inv=inv, xhat=xhat, gamma=gamma)


def ln_back(dy, c):
    D = dy.shape[1]
    dgamma = (dy * c["xhat"]).sum(0)
    dbeta = dy.sum(0)
    dxhat = dy * c["gamma"]
    dvar = (dxhat * c["xc"]).sum(1, keepdims=True) * -0.5 * c["inv"] ** 3
    dxc = dxhat * c["inv"] + 2 * c["xc"] * dvar / D
    dx = dxc - dxc.mean(1, keepdims=True)
    return dx, dgamma, dbeta


def candidate(params, tokens, mask, y):
    E, P, Wq, Wk, Wv, Wo, Wc, bc = (params[k] for k in ["E", "P", "Wq", "Wk", "Wv", "Wo", "Wc", "bc"])
    n, T = tokens.shape
    d = Wq.shape[1]
    g = {k: np.zeros_like(v) for k, v in params.items()}
    loss = 0.0
    for i in range(n):
        m = mask[i]
        L = m.sum()
        # forward
        x = E[tokens[i]] + P
        Q = x @ Wq
        K = x @ Wk
        V = x @ Wv
        S = Q @ K.T / np.sqrt(d)
        S[:, m == 0] = -1e9
        A = np.exp(S - S.max(1, keepdims=True))
        A /= A.sum(1, keepdims=True)
        ctx = A @ V
        o = ctx @ Wo
        h, cache = ln(x + o, params["gamma"], params["beta"])
        u = m @ h / L
        s = u @ Wc + bc
        p = np.exp(s - s.max())
        p /= p.sum()
        loss -= np.log(p[y[i]]) / n
        # backward
        ds = p.copy()
        ds[y[i]] -= 1
        ds /= n
        g["Wc"] += np.outer(u, ds)
        g["bc"] += ds
        du = Wc @ ds
        dh = np.outer(m, du) / L
        dr, dgamma, dbeta = ln_back(dh, cache)
        g["gamma"] += dgamma
        g["beta"] += dbeta
        dx = dr.copy()
        do = dr
        g["Wo"] += ctx.T @ do
        dctx = do @ Wo.T
        dA = dctx @ V.T
        dV = A.T @ dctx
        dS = A * (dA - (dA * A).sum(1, keepdims=True))
        dS = dS / np.sqrt(d)
        dQ = dS @ K
        dK = dS.T @ Q
        g["Wq"] += x.T @ dQ
        g["Wk"] += x.T @ dK
        g["Wv"] += x.T @ dV
        dx += dQ @ Wq.T
        dx += dK @ Wk.T
        dx += dV @ Wv.T
        g["P"] += dx
        np.add.at(g["E"], tokens[i], dx)
    return loss, g


def problem(rng):
    n, T, D, d, V, C = 6, 5, 4, 3, 7, 2
    lengths = np.array([5, 3, 4, 5, 2, 4])
    mask = (np.arange(T) < lengths[:, None]).astype(float)
    tokens = np.where(mask > 0, rng.integers(1, V, size=(n, T)), 0)
    params = {
        "E": rng.normal(size=(V, D)),
        "P": rng.normal(size=(T, D)) * 0.5,
        "Wq": rng.normal(size=(D, d)) * 0.8,
        "Wk": rng.normal(size=(D, d)) * 0.8,
        "Wv": rng.normal(size=(D, d)) * 0.8,
        "Wo": rng.normal(size=(d, D)) * 0.8,
        "gamma": 1 + rng.normal(size=D) * 0.3,
        "beta": rng.normal(size=D) * 0.3,
        "Wc": rng.normal(size=(D, C)),
        "bc": rng.normal(size=C) * 0.3,
    }
    return params, (tokens, mask, rng.integers(0, C, size=n))


WRONG = [
    wrong(
        "softmax_differentiated_entry_by_entry",
        "diagonal-jacobian",
        "dS = A * (dA - (dA * A).sum(1, keepdims=True))",
        "dS = A * (1 - A) * dA",
    ),
    wrong(
        "softmax_backward_summed_over_queries",
        "wrong-axis",
        "(dA * A).sum(1, keepdims=True)",
        "(dA * A).sum(0, keepdims=True)",
    ),
    wrong(
        "temperature_forgotten_backwards",
        "wrong-scale",
        "        dS = dS / np.sqrt(d)\n",
        "",
    ),
    wrong("keys_with_untransposed_scores", "not-transposed", "dK = dS.T @ Q", "dK = dS @ Q"),
    wrong("values_with_untransposed_attention", "not-transposed", "dV = A.T @ dctx", "dV = A @ dctx"),
    wrong("key_weights_from_the_queries_gradient", "wrong-operand", "x.T @ dK", "x.T @ dQ"),
    wrong("nothing_back_through_the_values", "missing-path", "        dx += dV @ Wv.T\n", ""),
    wrong("keys_route_assigned", "overwritten|missing-path", "dx += dK @ Wk.T", "dx = dK @ Wk.T"),
    wrong("residual_left_out", "missing-path", "dx = dr.copy()", "dx = np.zeros_like(x)"),
    wrong(
        "padding_gets_a_share_of_the_mean",
        "missing-derivative|wrong-operand",
        "dh = np.outer(m, du) / L",
        "dh = np.outer(np.ones(T), du) / L",
    ),
    wrong(
        "mean_divided_by_all_positions",
        "wrong-scale|wrong-operand",
        "dh = np.outer(m, du) / L",
        "dh = np.outer(m, du) / T",
    ),
    wrong(
        "variance_held_constant",
        "missing-path|diagonal-jacobian",
        "dxc = dxhat * c[\"inv\"] + 2 * c[\"xc\"] * dvar / D",
        "dxc = dxhat * c[\"inv\"]",
    ),
    wrong(
        "sample_deviation_in_both",
        "different-function|wrong-scale",
        "var = (xc**2).mean(1, keepdims=True)",
        "var = (xc**2).sum(1, keepdims=True) / (x.shape[1] - 1)",
        "dvar / D",
        "dvar / (D - 1)",
    ),
    wrong(
        "padding_attended_in_both",
        "different-function|wrong-operand",
        "        S[:, m == 0] = -1e9\n",
        "",
    ),
    wrong(
        "repeated_words_counted_once",
        "overwritten",
        'np.add.at(g["E"], tokens[i], dx)',
        'g["E"][tokens[i]] += dx',
    ),
    wrong(
        "output_weights_from_the_values",
        "wrong-operand",
        'g["Wo"] += ctx.T @ do',
        'g["Wo"] += V.T @ do',
    ),
]

TOGETHER = [
    ("softmax_differentiated_entry_by_entry", "keys_with_untransposed_scores"),
    ("temperature_forgotten_backwards", "padding_gets_a_share_of_the_mean"),
    ("key_weights_from_the_queries_gradient", "variance_held_constant"),
    ("residual_left_out", "repeated_words_counted_once"),
    ("softmax_backward_summed_over_queries", "output_weights_from_the_values"),
    ("values_with_untransposed_attention", "mean_divided_by_all_positions", "nothing_back_through_the_values"),
]

RIGHT = [
    right(
        "jacobian_row_by_row",
        "        dS = A * (dA - (dA * A).sum(1, keepdims=True))\n",
        "        dS = np.zeros_like(A)\n"
        "        for t in range(T):\n"
        "            J = np.diag(A[t]) - np.outer(A[t], A[t])\n"
        "            dS[t] = J @ dA[t]\n",
        "        dx += dQ @ Wq.T\n        dx += dK @ Wk.T\n        dx += dV @ Wv.T\n",
        "        dx += np.concatenate([dQ, dK, dV], axis=1) @ np.concatenate([Wq, Wk, Wv], axis=1).T\n",
    ),
]
