"""One pre-norm attention block in einsum with RMS norm and a residual, masked mean pooling, a binary label."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, mask, labels):
    d = x.shape[2]
    normed = F.rms_norm(x, (d,), params["gamma"], eps=1e-3)
    q, k, v = (torch.einsum("btd,dhk->bhtk", normed, params[name]) for name in ("Wq", "Wk", "Wv"))
    att = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :] > 0)
    y = x + torch.einsum("bhtk,hkd->btd", att, params["Wo"])
    out = F.rms_norm(y, (d,), params["gamma2"], eps=1e-3)
    pooled = (out * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
    return F.binary_cross_entropy_with_logits(pooled @ params["w"] + params["b"], labels)


def rmsnorm(x, gamma, eps=1e-3):
    r = 1.0 / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + eps)
    return x * r * gamma, (x, r, gamma)


def rmsnorm_bwd(dout, cache):
    x, r, gamma = cache
    dgamma = np.einsum("btd,btd->d", dout, x * r)
    dxhat = dout * gamma
    dx = r * dxhat - x * r**3 * np.mean(dxhat * x, axis=-1, keepdims=True)
    return dx, dgamma


def candidate(params, x, mask, labels):
    Wq, Wk, Wv, Wo = params["Wq"], params["Wk"], params["Wv"], params["Wo"]
    w, b = params["w"], params["b"]
    B = x.shape[0]
    scale = Wq.shape[2] ** -0.5

    # ---- forward
    n1, cache1 = rmsnorm(x, params["gamma"])
    Q = np.einsum("btd,dhk->bhtk", n1, Wq)
    K = np.einsum("btd,dhk->bhtk", n1, Wk)
    V = np.einsum("btd,dhk->bhtk", n1, Wv)
    S = np.einsum("bhik,bhjk->bhij", Q, K) * scale
    S = S + (1 - mask[:, None, None, :]) * -1e9
    S = S - S.max(axis=-1, keepdims=True)
    P = np.exp(S)
    P /= P.sum(axis=-1, keepdims=True)
    Z = np.einsum("bhij,bhjk->bhik", P, V)
    y = x + np.einsum("bhtk,hkd->btd", Z, Wo)
    out, cache2 = rmsnorm(y, params["gamma2"])
    counts = mask.sum(axis=1, keepdims=True)
    pooled = np.einsum("btd,bt->bd", out, mask) / counts
    logit = pooled @ w + b
    loss = np.mean(np.maximum(logit, 0) - logit * labels + np.log1p(np.exp(-np.abs(logit))))

    # ---- backward
    dlogit = (1 / (1 + np.exp(-logit)) - labels) / B
    dw = pooled.T @ dlogit
    db = dlogit.sum()
    dpooled = dlogit[:, None] * w
    dout = np.einsum("bd,bt->btd", dpooled / counts, mask)
    dy, dgamma2 = rmsnorm_bwd(dout, cache2)
    dWo = np.einsum("btd,bhtk->hkd", dy, Z)
    dZ = np.einsum("btd,hkd->bhtk", dy, Wo)
    dV = np.einsum("bhij,bhik->bhjk", P, dZ)
    dP = np.einsum("bhik,bhjk->bhij", dZ, V)
    dS = P * (dP - np.sum(P * dP, axis=-1, keepdims=True))
    dS *= scale
    dQ = np.einsum("bhij,bhjk->bhik", dS, K)
    dK = np.einsum("bhij,bhik->bhjk", dS, Q)
    dWq = np.einsum("btd,bhtk->dhk", n1, dQ)
    dWk = np.einsum("btd,bhtk->dhk", n1, dK)
    dWv = np.einsum("btd,bhtk->dhk", n1, dV)
    dn1 = np.einsum("bhtk,dhk->btd", dQ, Wq)
    dn1 += np.einsum("bhtk,dhk->btd", dK, Wk)
    dn1 += np.einsum("bhtk,dhk->btd", dV, Wv)
    _, dgamma = rmsnorm_bwd(dn1, cache1)
    return loss, {
        "Wq": dWq,
        "Wk": dWk,
        "Wv": dWv,
        "Wo": dWo,
        "gamma": dgamma,
        "gamma2": dgamma2,
        "w": dw,
        "b": np.array(db),
    }


def problem(rng):
    n, steps, d, heads, width = 4, 5, 6, 2, 3
    params = {
        "gamma": 1 + 0.3 * rng.normal(size=d),
        "Wq": rng.normal(size=(d, heads, width)) * 0.6,
        "Wk": rng.normal(size=(d, heads, width)) * 0.6,
        "Wv": rng.normal(size=(d, heads, width)) * 0.6,
        "Wo": rng.normal(size=(heads, width, d)) * 0.6,
        "gamma2": 1 + 0.3 * rng.normal(size=d),
        "w": rng.normal(size=d),
        "b": np.array(0.3),
    }
    x = rng.normal(size=(n, steps, d)) * rng.uniform(0.5, 2, size=(n, steps, 1))
    mask = (np.arange(steps) < np.array([5, 3, 4, 2])[:, None]).astype(float)
    return params, (x, mask, rng.integers(0, 2, size=n).astype(float))


WRONG = [
    wrong(
        "batch_mean_forgotten",
        "wrong-reduction|wrong-scale",
        "np.exp(-logit)) - labels) / B",
        "np.exp(-logit)) - labels)",
    ),
    wrong(
        "attention_scale_forgotten_backwards",
        "wrong-scale|missing-derivative",
        "    dS *= scale\n",
        "",
    ),
    wrong(
        "scaled_by_width_and_not_its_root_backwards",
        "wrong-scale",
        "    dS *= scale\n",
        "    dS *= scale**2\n",
    ),
    wrong(
        "softmax_as_an_elementwise_sigmoid",
        "diagonal-jacobian",
        "dS = P * (dP - np.sum(P * dP, axis=-1, keepdims=True))",
        "dS = P * (1 - P) * dP",
    ),
    wrong(
        "softmax_sum_over_the_queries",
        "wrong-axis",
        "np.sum(P * dP, axis=-1, keepdims=True)",
        "np.sum(P * dP, axis=-2, keepdims=True)",
    ),
    wrong(
        "attention_matrix_not_transposed_for_the_values",
        "not-transposed",
        'dV = np.einsum("bhij,bhik->bhjk", P, dZ)',
        'dV = np.einsum("bhij,bhjk->bhik", P, dZ)',
    ),
    wrong(
        "scores_not_transposed_for_the_keys",
        "not-transposed",
        'dK = np.einsum("bhij,bhik->bhjk", dS, Q)',
        'dK = np.einsum("bhij,bhjk->bhik", dS, Q)',
    ),
    wrong(
        "key_gradient_from_the_keys",
        "wrong-operand",
        'np.einsum("bhij,bhik->bhjk", dS, Q)',
        'np.einsum("bhij,bhik->bhjk", dS, K)',
    ),
    wrong(
        "rms_held_constant",
        "diagonal-jacobian|missing-path",
        "dx = r * dxhat - x * r**3 * np.mean(dxhat * x, axis=-1, keepdims=True)",
        "dx = r * dxhat",
    ),
    wrong(
        "rms_correction_summed_over_features",
        "wrong-reduction|wrong-scale",
        "np.mean(dxhat * x, axis=-1, keepdims=True)",
        "np.sum(dxhat * x, axis=-1, keepdims=True)",
    ),
    wrong(
        "rms_correction_with_the_gradient_before_the_gain",
        "wrong-operand|missing-derivative",
        "np.mean(dxhat * x, axis=-1",
        "np.mean(dout * x, axis=-1",
    ),
    wrong(
        "gain_gradient_with_the_raw_input",
        "wrong-operand|missing-derivative",
        '"btd,btd->d", dout, x * r)',
        '"btd,btd->d", dout, x)',
    ),
    wrong(
        "projections_learn_from_the_raw_input",
        "wrong-operand",
        'dWv = np.einsum("btd,bhtk->dhk", n1, dV)',
        'dWv = np.einsum("btd,bhtk->dhk", x, dV)',
    ),
    wrong(
        "query_route_overwritten_by_the_key_route",
        "overwritten|missing-path",
        'dn1 += np.einsum("bhtk,dhk->btd", dK, Wk)',
        'dn1 = np.einsum("bhtk,dhk->btd", dK, Wk)',
    ),
    wrong(
        "padding_forgotten_in_the_pool_backwards",
        "missing-derivative|wrong-operand",
        'dout = np.einsum("bd,bt->btd", dpooled / counts, mask)',
        'dout = np.einsum("bd,bt->btd", dpooled / counts, np.ones_like(mask))',
    ),
    wrong(
        "mean_over_all_positions_backwards",
        "wrong-scale|wrong-operand",
        "dpooled / counts, mask)",
        "dpooled / x.shape[1], mask)",
    ),
]

TOGETHER = [
    ("attention_scale_forgotten_backwards", "gain_gradient_with_the_raw_input"),
    ("softmax_as_an_elementwise_sigmoid", "mean_over_all_positions_backwards"),
    ("rms_held_constant", "attention_matrix_not_transposed_for_the_values"),
    ("batch_mean_forgotten", "key_gradient_from_the_keys"),
    ("softmax_sum_over_the_queries", "projections_learn_from_the_raw_input"),
    ("rms_correction_summed_over_features", "query_route_overwritten_by_the_key_route"),
    (
        "scores_not_transposed_for_the_keys",
        "projections_learn_from_the_raw_input",
        "padding_forgotten_in_the_pool_backwards",
    ),
]

RIGHT = [
    right(
        "rms_from_the_normalised_values",
        "dx = r * dxhat - x * r**3 * np.mean(dxhat * x, axis=-1, keepdims=True)",
        "xhat = x * r\n    dx = (dxhat - xhat * (dxhat * xhat).mean(axis=-1, keepdims=True)) * r",
    ),
]
