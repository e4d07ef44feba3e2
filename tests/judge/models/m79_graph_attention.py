"""Two graph attention layers on a list of edges, heads side by side and then averaged; some nodes labelled, L2."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong

BATCH_AXIS = None  # the nodes of one graph


def reference(params, x, edges, labels, labelled):
    source, target = edges

    def attend(x, k):
        z = torch.einsum("nd,hdf->nhf", x, params[f"W{k}"])
        from_source = (z * params[f"from{k}"]).sum(dim=-1)
        to_target = (z * params[f"to{k}"]).sum(dim=-1)
        score = F.leaky_relu(from_source[source] + to_target[target], 0.2).exp()
        total = torch.zeros_like(from_source).index_add(0, target, score)
        alpha = score / total[target]
        return torch.zeros_like(z).index_add(0, target, alpha.unsqueeze(-1) * z[source])

    hidden = F.elu(attend(x, 1).flatten(1) + params["b1"])
    logits = attend(hidden, 2).mean(dim=1) + params["b2"]
    penalty = params["W1"].square().sum() + params["W2"].square().sum()
    return {"classes": F.cross_entropy(logits[labelled], labels[labelled]), "penalty": 0.02 * penalty}


def attention_forward(x, W, a_from, a_to, source, target):
    z = np.einsum("nd,hdf->nhf", x, W)
    score = np.sum(z * a_from, axis=2)[source] + np.sum(z * a_to, axis=2)[target]
    e = np.exp(np.where(score > 0, score, 0.2 * score))
    total = np.zeros(z.shape[:2])
    np.add.at(total, target, e)
    alpha = e / total[target]
    out = np.zeros_like(z)
    np.add.at(out, target, alpha[:, :, None] * z[source])
    return out, (x, z, score, alpha)


def attention_backward(dout, cache, W, a_from, a_to, source, target):
    """The gradients of the nodes that came in, of the weights and of the two attention vectors."""
    x, z, score, alpha = cache
    dmessage = dout[target]
    dz = np.zeros_like(z)
    np.add.at(dz, source, alpha[:, :, None] * dmessage)
    dalpha = np.sum(dmessage * z[source], axis=2)

    # softmax over the edges that end in the same node
    inner = np.zeros(z.shape[:2])
    np.add.at(inner, target, alpha * dalpha)
    dactive = alpha * (dalpha - inner[target])
    dscore = dactive * np.where(score > 0, 1.0, 0.2)

    dfrom = np.zeros(z.shape[:2])
    dto = np.zeros(z.shape[:2])
    np.add.at(dfrom, source, dscore)
    np.add.at(dto, target, dscore)
    da_from = np.sum(dfrom[:, :, None] * z, axis=0)
    da_to = np.sum(dto[:, :, None] * z, axis=0)
    dz += dfrom[:, :, None] * a_from
    dz += dto[:, :, None] * a_to
    dW = np.einsum("nd,nhf->hdf", x, dz)
    dx = np.einsum("nhf,hdf->nd", dz, W)
    return dx, dW, da_from, da_to


def candidate(params, x, edges, labels, labelled):
    source, target = edges[0], edges[1]
    layer1 = params["W1"], params["from1"], params["to1"], source, target
    layer2 = params["W2"], params["from2"], params["to2"], source, target
    nodes, m, heads = len(x), len(labelled), len(params["W2"])

    out1, cache1 = attention_forward(x, *layer1)
    u = out1.reshape(nodes, -1) + params["b1"]
    hidden = np.where(u > 0, u, np.exp(u) - 1)
    out2, cache2 = attention_forward(hidden, *layer2)
    logits = out2.mean(axis=1) + params["b2"]
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    penalty = np.sum(params["W1"] ** 2) + np.sum(params["W2"] ** 2)
    loss = -np.sum(np.log(p[labelled, labels[labelled]])) / m + 0.02 * penalty

    dlogits = np.zeros_like(p)
    dlogits[labelled] = p[labelled] / m
    dlogits[labelled, labels[labelled]] -= 1 / m
    db2 = dlogits.sum(axis=0)
    dout2 = np.repeat(dlogits[:, None, :], heads, axis=1) / heads
    dhidden, dW2, dfrom2, dto2 = attention_backward(dout2, cache2, *layer2)
    du = dhidden * np.where(u > 0, 1, np.exp(u))
    db1 = du.sum(axis=0)
    dout1 = du.reshape(out1.shape)
    _, dW1, dfrom1, dto1 = attention_backward(dout1, cache1, *layer1)
    dW1 += 2 * 0.02 * params["W1"]
    dW2 += 2 * 0.02 * params["W2"]
    return loss, {
        "W1": dW1,
        "from1": dfrom1,
        "to1": dto1,
        "b1": db1,
        "W2": dW2,
        "from2": dfrom2,
        "to2": dto2,
        "b2": db2,
    }


def problem(rng):
    params = {}
    for k, given, heads, made in (("1", 3, 2, 4), ("2", 8, 2, 3)):
        params["W" + k] = rng.normal(size=(heads, given, made))
        params["from" + k] = rng.normal(size=(heads, made)) * 0.8
        params["to" + k] = rng.normal(size=(heads, made)) * 0.8
    params |= {"b1": rng.normal(size=8) * 0.4, "b2": rng.normal(size=3) * 0.4}
    nodes = 9
    loops = np.stack([np.arange(nodes), np.arange(nodes)])
    ring = np.stack([np.arange(nodes), (np.arange(nodes) + 1) % nodes])
    others = np.array([[0, 0, 0, 0, 3, 3, 5, 7, 8, 2], [2, 4, 5, 7, 0, 1, 2, 2, 4, 6]])
    edges = rng.permutation(np.concatenate([loops, ring, others], axis=1), axis=1)
    return params, (rng.normal(size=(nodes, 3)), edges, rng.integers(0, 3, size=nodes), np.array([1, 2, 4, 6, 7]))


WRONG = [
    wrong(
        "edge_softmax_diagonal",
        "diagonal-jacobian",
        "dactive = alpha * (dalpha - inner[target])",
        "dactive = alpha * (1 - alpha) * dalpha",
    ),
    wrong(
        "inner_product_of_the_wrong_sign",
        "wrong-sign",
        "(dalpha - inner[target])",
        "(dalpha + inner[target])",
    ),
    wrong(
        "inner_product_of_the_source",
        "wrong-operand",
        "(dalpha - inner[target])",
        "(dalpha - inner[source])",
    ),
    wrong(
        "relu_slope_of_the_scores",
        "different-function",
        "dscore = dactive * np.where(score > 0, 1.0, 0.2)",
        "dscore = dactive * (score > 0)",
    ),
    wrong(
        "repeated_sources_overwritten",
        "overwritten",
        "np.add.at(dz, source, alpha[:, :, None] * dmessage)",
        "dz[source] += alpha[:, :, None] * dmessage",
    ),
    wrong(
        "messages_given_to_the_target",
        "not-transposed|wrong-operand",
        "np.add.at(dz, source, alpha[:, :, None] * dmessage)",
        "np.add.at(dz, target, alpha[:, :, None] * dmessage)",
    ),
    wrong(
        "attention_forgotten_in_the_messages",
        "missing-derivative",
        "np.add.at(dz, source, alpha[:, :, None] * dmessage)",
        "np.add.at(dz, source, dmessage)",
    ),
    wrong(
        "target_for_the_source",
        "wrong-operand|missing-path",
        "np.sum(dmessage * z[source]",
        "np.sum(dmessage * z[target]",
    ),
    wrong("score_of_the_target_forgotten", "missing-path", "    dz += dto[:, :, None] * a_to\n", ""),
    wrong(
        "attention_vectors_mixed_up",
        "wrong-operand",
        "dz += dfrom[:, :, None] * a_from",
        "dz += dfrom[:, :, None] * a_to",
    ),
    wrong("one_sum_for_both_vectors", "wrong-operand", "np.sum(dto[:, :, None] * z", "np.sum(dfrom[:, :, None] * z"),
    wrong(
        "mean_over_heads_forgotten",
        "missing-derivative|wrong-scale|wrong-reduction",
        "heads, axis=1) / heads",
        "heads, axis=1)",
    ),
    wrong(
        "elu_slope_at_the_hidden_units",
        "derivative-at-wrong-point",
        "np.where(u > 0, 1, np.exp(u))",
        "np.where(hidden > 0, 1, np.exp(hidden))",
    ),
    wrong(
        "b1_before_the_slope",
        "missing-derivative|wrong-operand",
        "db1 = du.sum(axis=0)",
        "db1 = dhidden.sum(axis=0)",
    ),
    wrong(
        "heads_taken_apart_the_other_way",
        "transposed|not-transposed|wrong-axis",
        "dout1 = du.reshape(out1.shape)",
        "dout1 = du.reshape(nodes, -1, out1.shape[1]).transpose(0, 2, 1)",
    ),
    wrong(
        "labels_of_the_first_nodes",
        "wrong-operand",
        "dlogits[labelled, labels[labelled]] -= 1 / m",
        "dlogits[labelled, labels[:m]] -= 1 / m",
    ),
    wrong(
        "two_of_the_penalty_forgotten",
        "wrong-term-weight|wrong-scale",
        "dW1 += 2 * 0.02 *",
        "dW1 += 0.02 *",
        "dW2 += 2 * 0.02 *",
        "dW2 += 0.02 *",
    ),
    wrong(
        "softmax_over_all_edges_in_both",
        "wrong-axis|different-function",
        "alpha = e / total[target]",
        "alpha = e / e.sum(axis=0)",
        "dactive = alpha * (dalpha - inner[target])",
        "dactive = alpha * (dalpha - inner.sum(axis=0))",
    ),
    wrong(
        "edges_read_backwards_in_both",
        "transposed|not-transposed|wrong-operand|flipped",
        "source, target = edges[0], edges[1]",
        "source, target = edges[1], edges[0]",
    ),
    wrong(
        "averaged_over_all_nodes_in_cost", "wrong-loss", "labels[labelled]])) / m +", "labels[labelled]])) / nodes +"
    ),
]

TOGETHER = [
    ("edge_softmax_diagonal", "repeated_sources_overwritten"),
    ("relu_slope_of_the_scores", "elu_slope_at_the_hidden_units"),
    ("target_for_the_source", "mean_over_heads_forgotten"),
    ("one_sum_for_both_vectors", "two_of_the_penalty_forgotten"),
    ("messages_given_to_the_target", "b1_before_the_slope"),
    ("attention_vectors_mixed_up", "heads_taken_apart_the_other_way", "inner_product_of_the_source"),
    ("attention_forgotten_in_the_messages", "score_of_the_target_forgotten", "labels_of_the_first_nodes"),
]

RIGHT = [
    right(
        "incidence_matrices",
        "    dz = np.zeros_like(z)\n    np.add.at(dz, source, alpha[:, :, None] * dmessage)\n",
        "    starts, ends = np.eye(len(x))[source], np.eye(len(x))[target]\n"
        "    dz = np.tensordot(starts.T, alpha[:, :, None] * dmessage, axes=1)\n",
        "    inner = np.zeros(z.shape[:2])\n"
        "    np.add.at(inner, target, alpha * dalpha)\n"
        "    dactive = alpha * (dalpha - inner[target])\n",
        "    dactive = alpha * (dalpha - ends @ (ends.T @ (alpha * dalpha)))\n",
        "    dfrom = np.zeros(z.shape[:2])\n"
        "    dto = np.zeros(z.shape[:2])\n"
        "    np.add.at(dfrom, source, dscore)\n"
        "    np.add.at(dto, target, dscore)\n"
        "    da_from = np.sum(dfrom[:, :, None] * z, axis=0)\n"
        "    da_to = np.sum(dto[:, :, None] * z, axis=0)\n",
        "    dfrom, dto = starts.T @ dscore, ends.T @ dscore\n"
        '    da_from = np.einsum("eh,en,nhf->hf", dscore, starts, z)\n'
        '    da_to = np.einsum("nh,nhf->hf", dto, z)\n',
    ),
    right(
        "node_after_node",
        "    dmessage = dout[target]\n"
        "    dz = np.zeros_like(z)\n"
        "    np.add.at(dz, source, alpha[:, :, None] * dmessage)\n"
        "    dalpha = np.sum(dmessage * z[source], axis=2)\n",
        "    dz = np.zeros_like(z)\n    da_from, da_to = np.zeros_like(a_from), np.zeros_like(a_to)\n",
        "    inner = np.zeros(z.shape[:2])\n"
        "    np.add.at(inner, target, alpha * dalpha)\n"
        "    dactive = alpha * (dalpha - inner[target])\n"
        "    dscore = dactive * np.where(score > 0, 1.0, 0.2)\n",
        "    for node in range(len(x)):\n"
        "        mine = np.flatnonzero(target == node)\n"
        "        for h in range(len(W)):\n"
        "            w = alpha[mine, h]\n"
        "            dw = z[source[mine], h] @ dout[node, h]\n"
        "            ds = (np.diag(w) - np.outer(w, w)) @ dw\n"
        "            ds[score[mine, h] < 0] *= 0.2\n"
        "            for j, edge in enumerate(mine):\n"
        "                dz[source[edge], h] += w[j] * dout[node, h] + ds[j] * a_from[h]\n"
        "                da_from[h] += ds[j] * z[source[edge], h]\n"
        "            dz[node, h] += ds.sum() * a_to[h]\n"
        "            da_to[h] += ds.sum() * z[node, h]\n",
        "    dfrom = np.zeros(z.shape[:2])\n"
        "    dto = np.zeros(z.shape[:2])\n"
        "    np.add.at(dfrom, source, dscore)\n"
        "    np.add.at(dto, target, dscore)\n"
        "    da_from = np.sum(dfrom[:, :, None] * z, axis=0)\n"
        "    da_to = np.sum(dto[:, :, None] * z, axis=0)\n"
        "    dz += dfrom[:, :, None] * a_from\n"
        "    dz += dto[:, :, None] * a_to\n",
        "",
    ),
    right(
        "inner_product_with_the_output",
        "    inner = np.zeros(z.shape[:2])\n    np.add.at(inner, target, alpha * dalpha)\n",
        "    out = np.zeros_like(z)\n"
        "    for edge, (start, end) in enumerate(zip(source, target, strict=True)):\n"
        "        out[end] += alpha[edge, :, None] * z[start]\n"
        "    inner = np.sum(out * dout, axis=2)\n",
        "    da_from = np.sum(dfrom[:, :, None] * z, axis=0)\n    da_to = np.sum(dto[:, :, None] * z, axis=0)\n",
        '    da_from = np.einsum("eh,ehf->hf", dscore, z[source])\n'
        '    da_to = np.einsum("eh,ehf->hf", dscore, z[target])\n',
        '    dW = np.einsum("nd,nhf->hdf", x, dz)\n    dx = np.einsum("nhf,hdf->nd", dz, W)\n',
        "    dW = np.stack([x.T @ dz[:, h] for h in range(len(W))])\n"
        "    dx = sum(dz[:, h] @ W[h].T for h in range(len(W)))\n",
        "    dlogits = np.zeros_like(p)\n"
        "    dlogits[labelled] = p[labelled] / m\n"
        "    dlogits[labelled, labels[labelled]] -= 1 / m\n",
        "    weight = np.bincount(labelled, minlength=nodes) / m\n"
        "    dlogits = weight[:, None] * (p - np.eye(p.shape[1])[labels])\n",
    ),
]
