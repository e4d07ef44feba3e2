"""Multi-head self-attention by einsum, heads merged by a matrix, the mean over positions classified."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, y):
    q = torch.einsum("btd,dhk->bhtk", x, params["Q"])
    k = torch.einsum("btd,dhk->bhtk", x, params["K"])
    v = torch.einsum("btd,dhk->bhtk", x, params["V"])
    weights = torch.softmax(torch.einsum("bhtk,bhsk->bhts", q, k) / q.shape[-1] ** 0.5, dim=-1)
    heads = torch.einsum("bhts,bhsk->bhtk", weights, v)
    merged = torch.einsum("bhtk,hkd->btd", heads, params["M"]) + params["o"]
    pooled = torch.tanh(merged).mean(dim=1)
    return F.cross_entropy(pooled @ params["C"], y)


def softmax(s):
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def candidate(params, x, y):
    Q, K, V, M, C = (params[name] for name in "QKVMC")
    root = np.sqrt(Q.shape[-1])
    batch, length, _ = x.shape
    q, k, v = (np.einsum("btd,dhk->bhtk", x, W) for W in (Q, K, V))
    att = softmax(np.einsum("bhtk,bhsk->bhts", q, k) / root)
    heads = np.einsum("bhts,bhsk->bhtk", att, v)
    u = np.tanh(np.einsum("bhtk,hkd->btd", heads, M) + params["o"])
    pooled = u.mean(axis=1)
    p = softmax(pooled @ C)
    loss = -np.log(p[np.arange(batch), y]).mean()

    one_hot = np.eye(C.shape[1])[y]
    d_scores = (p - one_hot) / batch
    dC = np.einsum("bd,bc->dc", pooled, d_scores)
    d_pooled = np.einsum("bc,dc->bd", d_scores, C)
    d_u = np.repeat(d_pooled[:, None, :], length, axis=1) / length
    d_merged = d_u * (1 - u * u)
    do = np.einsum("btd->d", d_merged)
    dM = np.einsum("bhtk,btd->hkd", heads, d_merged)
    d_heads = np.einsum("btd,hkd->bhtk", d_merged, M)
    d_att = np.einsum("bhtk,bhsk->bhts", d_heads, v)
    d_v = np.einsum("bhts,bhtk->bhsk", att, d_heads)
    inner = np.einsum("bhts,bhts->bht", d_att, att)
    d_logit = att * (d_att - inner[..., None]) / root
    d_q = np.einsum("bhts,bhsk->bhtk", d_logit, k)
    d_k = np.einsum("bhts,bhtk->bhsk", d_logit, q)
    dQ, dK, dV = (np.einsum("btd,bhtk->dhk", x, d) for d in (d_q, d_k, d_v))
    return loss, {"Q": dQ, "K": dK, "V": dV, "M": dM, "o": do, "C": dC}


def problem(rng):
    params = {name: rng.normal(size=(6, 2, 3)) * 0.7 for name in "QKV"}
    params["M"] = rng.normal(size=(2, 3, 6)) * 0.6
    params["o"] = rng.normal(size=6) * 0.3
    params["C"] = rng.normal(size=(6, 4))
    return params, (rng.normal(size=(7, 5, 6)), rng.integers(0, 4, size=7))


WRONG = [
    wrong(
        "root_forgotten_backwards", "wrong-scale|missing-derivative", "inner[..., None]) / root", "inner[..., None])"
    ),
    wrong("softmax_diagonal", "diagonal-jacobian", "att * (d_att - inner[..., None])", "att * (1 - att) * d_att"),
    wrong(
        "softmax_without_its_sum",
        "diagonal-jacobian|missing-path",
        "att * (d_att - inner[..., None])",
        "att * d_att",
    ),
    wrong(
        "softmax_factor_forgotten",
        "missing-derivative",
        "att * (d_att - inner[..., None])",
        "(d_att - inner[..., None])",
    ),
    wrong(
        "values_by_the_wrong_index",
        "not-transposed",
        'np.einsum("bhts,bhtk->bhsk", att, d_heads)',
        'np.einsum("bhst,bhtk->bhsk", att, d_heads)',
    ),
    wrong(
        "keys_by_the_wrong_index",
        "not-transposed",
        'np.einsum("bhts,bhtk->bhsk", d_logit, q)',
        'np.einsum("bhst,bhtk->bhsk", d_logit, q)',
    ),
    wrong("queries_for_keys", "wrong-operand", '"bhts,bhsk->bhtk", d_logit, k)', '"bhts,bhsk->bhtk", d_logit, q)'),
    wrong("query_gradient_of_the_keys", "wrong-operand", "in (d_q, d_k, d_v)", "in (d_k, d_q, d_v)"),
    wrong("length_forgotten", "wrong-scale|wrong-reduction", "length, axis=1) / length", "length, axis=1)"),
    wrong("tanh_slope_forgotten", "missing-derivative", "d_merged = d_u * (1 - u * u)", "d_merged = d_u"),
    wrong("bias_before_the_tanh", "missing-derivative|wrong-operand", '"btd->d", d_merged', '"btd->d", d_u'),
    wrong(
        "last_position_only",
        "last-step-only",
        'np.einsum("bhtk,btd->hkd", heads, d_merged)',
        'np.einsum("bhk,bd->hkd", heads[:, :, -1], d_merged[:, -1])',
    ),
    wrong("batch_average_forgotten", "wrong-scale|wrong-reduction", "(p - one_hot) / batch", "(p - one_hot)"),
    wrong(
        "sum_pooling_in_both",
        "wrong-reduction",
        "pooled = u.mean(axis=1)",
        "pooled = u.sum(axis=1)",
        "length, axis=1) / length",
        "length, axis=1)",
    ),
    wrong(
        "unscaled_in_both",
        "different-function|wrong-scale",
        "root = np.sqrt(Q.shape[-1])",
        "root = 1.0",
    ),
    wrong("heads_exchanged", "flipped", '"M": dM', '"M": dM[::-1]'),
]

TOGETHER = [
    ("root_forgotten_backwards", "tanh_slope_forgotten"),
    ("softmax_without_its_sum", "values_by_the_wrong_index"),
    ("batch_average_forgotten", "softmax_diagonal"),
    ("bias_before_the_tanh", "heads_exchanged"),
    ("length_forgotten", "queries_for_keys", "bias_before_the_tanh"),
]

RIGHT = [
    right(
        "heads_in_a_loop",
        '    dM = np.einsum("bhtk,btd->hkd", heads, d_merged)\n',
        "    dM = np.empty_like(M)\n    for h in range(len(M)):\n"
        "        rows = heads[:, h].reshape(-1, M.shape[1])\n"
        "        dM[h] = rows.T @ d_merged.reshape(len(rows), -1)\n",
    ),
    right(
        "pooling_by_a_matrix",
        "np.repeat(d_pooled[:, None, :], length, axis=1) / length",
        "np.full((length, 1), 1 / length) @ d_pooled[:, None, :]",
    ),
    right(
        "softmax_by_its_jacobian",
        "att * (d_att - inner[..., None]) / root",
        "np.einsum('bhts,bhtsr->bhtr', d_att, att[..., :, None] * (np.eye(length) - att[..., None, :])) / root",
    ),
]
