"""Message passing on graphs: an edge network, means at the receivers, a gated update twice, sums per graph, logits."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong

BATCH_AXIS = None


def reference(params, x, senders, receivers, graph, y):
    h = torch.tanh(F.linear(x, params["W0"].T, params["b0"]))
    degree = torch.bincount(receivers, minlength=len(x)).clamp(min=1)
    for _ in range(2):
        edges = torch.cat([h.index_select(0, senders), h.index_select(0, receivers)], dim=1)
        messages = F.linear(F.relu(F.linear(edges, params["E1"].T, params["e1"])), params["E2"].T, params["e2"])
        mean = messages.new_zeros(len(x), messages.shape[1]).index_add(0, receivers, messages) / degree[:, None]
        joined = torch.cat([h, mean], dim=1)
        keep = torch.sigmoid(F.linear(joined, params["G"].T, params["g"]))
        h = torch.lerp(torch.tanh(F.linear(joined, params["C"].T, params["c"])), h, keep)
    pooled = h.new_zeros(len(y), h.shape[1]).index_add(0, graph, h)
    return F.binary_cross_entropy_with_logits(F.linear(pooled, params["O"].T, params["o"]), y)


def logistic(a):
    return 1 / (1 + np.exp(-a))


def message_round(params, h, src, dst, degree):
    ends = np.concatenate([h[src], h[dst]], axis=1)
    act = np.maximum(ends @ params["E1"] + params["e1"], 0)
    messages = act @ params["E2"] + params["e2"]
    inbox = np.zeros((len(h), messages.shape[1]))
    np.add.at(inbox, dst, messages)
    inbox /= degree[:, None]
    state = np.concatenate([h, inbox], axis=1)
    gate = logistic(state @ params["G"] + params["g"])
    proposal = np.tanh(state @ params["C"] + params["c"])
    h_new = gate * h + (1 - gate) * proposal
    return h_new, {"h": h, "ends": ends, "act": act, "state": state, "gate": gate, "proposal": proposal}


def message_round_back(params, grads, cache, dh_new, src, dst, degree):
    h, gate, proposal = cache["h"], cache["gate"], cache["proposal"]
    size = h.shape[1]
    # update
    dgate = dh_new * (h - proposal)
    da_gate = dgate * gate * (1 - gate)
    da_prop = dh_new * (1 - gate) * (1 - proposal**2)
    grads["G"] += cache["state"].T @ da_gate
    grads["g"] += da_gate.sum(axis=0)
    grads["C"] += cache["state"].T @ da_prop
    grads["c"] += da_prop.sum(axis=0)
    dstate = da_gate @ params["G"].T + da_prop @ params["C"].T
    dh = dh_new * gate
    dh += dstate[:, :size]
    # aggregation
    dinbox = dstate[:, size:] / degree[:, None]
    dmessages = dinbox[dst]
    # edge network
    grads["E2"] += cache["act"].T @ dmessages
    grads["e2"] += dmessages.sum(axis=0)
    da_edge = (dmessages @ params["E2"].T) * (cache["act"] > 0)
    grads["E1"] += cache["ends"].T @ da_edge
    grads["e1"] += da_edge.sum(axis=0)
    dends = da_edge @ params["E1"].T
    np.add.at(dh, src, dends[:, :size])
    np.add.at(dh, dst, dends[:, size:])
    return dh


def candidate(params, x, senders, receivers, graph, y, rounds=2):
    degree = np.maximum(np.bincount(receivers, minlength=len(x)), 1)
    h0 = np.tanh(x @ params["W0"] + params["b0"])
    h, caches = h0, []
    for _ in range(rounds):
        h, cache = message_round(params, h, senders, receivers, degree)
        caches.append(cache)
    pooled = np.zeros((len(y), h.shape[1]))
    np.add.at(pooled, graph, h)
    logits = pooled @ params["O"] + params["o"]
    each = np.maximum(logits, 0) - y * logits + np.log1p(np.exp(-np.abs(logits)))
    loss = each.mean()

    grads = {name: np.zeros_like(value) for name, value in params.items()}
    dlogits = (logistic(logits) - y) / y.size
    grads["O"] += pooled.T @ dlogits
    grads["o"] += dlogits.sum(axis=0)
    dh = (dlogits @ params["O"].T)[graph]
    for cache in reversed(caches):
        dh = message_round_back(params, grads, cache, dh, senders, receivers, degree)
    da0 = dh * (1 - h0**2)
    grads["W0"] += x.T @ da0
    grads["b0"] += da0.sum(axis=0)
    return loss, grads


def problem(rng):
    params = {
        "W0": rng.normal(size=(3, 4)) * 0.8,
        "b0": rng.normal(size=4) * 0.4,
        "E1": rng.normal(size=(8, 7)) * 0.6,
        "e1": rng.normal(size=7) * 0.3 + 0.2,
        "E2": rng.normal(size=(7, 6)) * 0.6,
        "e2": rng.normal(size=6) * 0.4,
        "G": rng.normal(size=(10, 4)) * 0.5,
        "g": rng.normal(size=4) * 0.4,
        "C": rng.normal(size=(10, 4)) * 0.4,
        "c": rng.normal(size=4) * 0.3,
        "O": rng.normal(size=(4, 2)) * 0.7,
        "o": rng.normal(size=2) * 0.4,
    }
    graph = np.repeat([0, 1, 2, 3, 4], [3, 4, 2, 4, 3])
    pairs = np.argwhere((graph[:, None] == graph) & ~np.eye(16, dtype=bool))
    senders, receivers = pairs[rng.permutation(len(pairs))[:17]].T
    y = (rng.random(size=(5, 2)) > 0.5).astype(float)
    return params, (rng.normal(size=(16, 3)), senders.copy(), receivers.copy(), graph, y)


WRONG = [
    wrong(
        "degree_forgotten_backwards",
        "missing-derivative|wrong-reduction|wrong-scale",
        "dinbox = dstate[:, size:] / degree[:, None]",
        "dinbox = dstate[:, size:]",
    ),
    wrong(
        "messages_take_the_gradient_of_their_senders",
        "wrong-operand",
        "dmessages = dinbox[dst]",
        "dmessages = dinbox[src]",
    ),
    wrong(
        "sender_of_several_edges_overwritten",
        "overwritten",
        "np.add.at(dh, src, dends[:, :size])",
        "dh[src] += dends[:, :size]",
    ),
    wrong(
        "endpoints_swapped_backwards",
        "wrong-operand",
        "    np.add.at(dh, src, dends[:, :size])\n    np.add.at(dh, dst, dends[:, size:])\n",
        "    np.add.at(dh, dst, dends[:, :size])\n    np.add.at(dh, src, dends[:, size:])\n",
    ),
    wrong(
        "receiving_end_of_the_edge_forgotten",
        "missing-path",
        "    np.add.at(dh, dst, dends[:, size:])\n",
        "",
    ),
    wrong("kept_state_forgotten", "missing-path", "dh = dh_new * gate\n", "dh = np.zeros_like(h)\n"),
    wrong(
        "gate_opens_the_wrong_way",
        "wrong-sign",
        "dgate = dh_new * (h - proposal)",
        "dgate = dh_new * (proposal - h)",
    ),
    wrong(
        "edge_weights_of_one_round",
        "last-step-only|overwritten",
        'grads["E1"] += cache["ends"].T @ da_edge',
        'grads["E1"] = cache["ends"].T @ da_edge',
    ),
    wrong(
        "last_round_remembered_twice",
        "shifted-in-time|wrong-operand",
        "    for cache in reversed(caches):\n",
        "    for _ in range(rounds):\n",
    ),
    wrong(
        "slope_of_the_sigmoid_once_more",
        "extra-derivative|different-function",
        "dlogits = (logistic(logits) - y) / y.size",
        "dlogits = (logistic(logits) - y) * logistic(logits) * (1 - logistic(logits)) / y.size",
    ),
    wrong(
        "averaged_over_the_graphs_only",
        "wrong-scale|wrong-reduction|wrong-term-weight",
        "dlogits = (logistic(logits) - y) / y.size",
        "dlogits = (logistic(logits) - y) / len(y)",
    ),
    wrong(
        "degree_of_the_senders_in_both",
        "wrong-operand|different-function|wrong-axis",
        "np.bincount(receivers, minlength=len(x))",
        "np.bincount(senders, minlength=len(x))",
    ),
    wrong(
        "graphs_averaged_in_both",
        "wrong-reduction|different-function|wrong-scale",
        "    np.add.at(pooled, graph, h)\n",
        "    np.add.at(pooled, graph, h)\n    pooled /= np.bincount(graph)[:, None]\n",
        'dh = (dlogits @ params["O"].T)[graph]',
        'dh = (dlogits @ params["O"].T / np.bincount(graph)[:, None])[graph]',
    ),
    wrong(
        "one_message_a_receiver_in_both",
        "overwritten|different-function",
        "np.add.at(inbox, dst, messages)",
        "inbox[dst] += messages",
    ),
    wrong(
        "gate_for_its_complement_in_both",
        "different-function|wrong-operand|wrong-sign",
        "h_new = gate * h + (1 - gate) * proposal",
        "h_new = (1 - gate) * h + gate * proposal",
        "dgate = dh_new * (h - proposal)",
        "dgate = dh_new * (proposal - h)",
        "da_prop = dh_new * (1 - gate) * ",
        "da_prop = dh_new * gate * ",
        "dh = dh_new * gate\n",
        "dh = dh_new * (1 - gate)\n",
    ),
    wrong("outputs_summed_in_cost", "wrong-loss", "loss = each.mean()", "loss = each.sum(axis=1).mean()"),
]

TOGETHER = [
    ("degree_forgotten_backwards", "kept_state_forgotten"),
    ("gate_opens_the_wrong_way", "edge_weights_of_one_round"),
    ("sender_of_several_edges_overwritten", "averaged_over_the_graphs_only"),
    ("messages_take_the_gradient_of_their_senders", "receiving_end_of_the_edge_forgotten"),
    ("graphs_averaged_in_both", "degree_forgotten_backwards"),
    ("degree_of_the_senders_in_both", "endpoints_swapped_backwards"),
    ("slope_of_the_sigmoid_once_more", "messages_take_the_gradient_of_their_senders", "edge_weights_of_one_round"),
    ("kept_state_forgotten", "edge_weights_of_one_round", "averaged_over_the_graphs_only"),
]

RIGHT = [
    right(
        "one_edge_after_the_other",
        "    np.add.at(dh, src, dends[:, :size])\n    np.add.at(dh, dst, dends[:, size:])\n",
        "    for edge, (s, r) in enumerate(zip(src, dst)):\n"
        "        dh[s] += dends[edge, :size]\n"
        "        dh[r] += dends[edge, size:]\n",
        "    np.add.at(inbox, dst, messages)\n",
        "    for edge, r in enumerate(dst):\n        inbox[r] += messages[edge]\n",
        "    np.add.at(pooled, graph, h)\n",
        "    for number in range(len(y)):\n        pooled[number] = h[graph == number].sum(axis=0)\n",
    ),
    right(
        "incidence_matrices",
        "    inbox = np.zeros((len(h), messages.shape[1]))\n"
        "    np.add.at(inbox, dst, messages)\n"
        "    inbox /= degree[:, None]\n",
        "    inbox = (np.eye(len(h))[:, dst] / degree[:, None]) @ messages\n",
        "    dinbox = dstate[:, size:] / degree[:, None]\n    dmessages = dinbox[dst]\n",
        "    dmessages = (np.eye(len(h))[:, dst] / degree[:, None]).T @ dstate[:, size:]\n",
        "    np.add.at(dh, src, dends[:, :size])\n    np.add.at(dh, dst, dends[:, size:])\n    return dh\n",
        "    unit = np.eye(len(h))\n    return dh + unit[:, src] @ dends[:, :size] + unit[:, dst] @ dends[:, size:]\n",
    ),
    right(
        "gate_and_proposal_as_one",
        '    grads["G"] += cache["state"].T @ da_gate\n'
        '    grads["g"] += da_gate.sum(axis=0)\n'
        '    grads["C"] += cache["state"].T @ da_prop\n'
        '    grads["c"] += da_prop.sum(axis=0)\n'
        '    dstate = da_gate @ params["G"].T + da_prop @ params["C"].T\n',
        "    da = np.hstack([da_gate, da_prop])\n"
        '    weights = np.einsum("ns,na->sa", cache["state"], da)\n'
        '    grads["G"] += weights[:, :size]\n'
        '    grads["C"] += weights[:, size:]\n'
        '    grads["g"] += da[:, :size].sum(axis=0)\n'
        '    grads["c"] += da[:, size:].sum(axis=0)\n'
        '    dstate = da @ np.hstack([params["G"], params["C"]]).T\n',
        "h_new = gate * h + (1 - gate) * proposal",
        "h_new = proposal + gate * (h - proposal)",
        "    dh = dh_new * gate\n    dh += dstate[:, :size]\n",
        "    dh = dstate[:, :size] + gate * dh_new\n",
    ),
]
