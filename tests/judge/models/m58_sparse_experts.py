"""A mixture of experts: each sample goes to the two likeliest of four networks, and a term balances their load."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, y):
    probs = torch.softmax(x @ params["router"], dim=-1)
    top, chosen = probs.topk(2, dim=-1)
    routed = torch.zeros_like(probs).scatter(1, chosen, 1.0)
    gate = torch.zeros_like(probs).scatter(1, chosen, top / top.sum(dim=-1, keepdim=True))
    hidden = F.relu(torch.einsum("nd,edh->neh", x, params["W1"]) + params["b1"])
    outputs = torch.einsum("neh,eho->neo", hidden, params["W2"]) + params["b2"]
    mixed = (gate.unsqueeze(-1) * outputs).sum(dim=1)
    share = routed.mean(dim=0) / 2
    balance = probs.shape[1] * (share * probs.mean(dim=0)).sum()
    return {"fit": F.mse_loss(mixed, y), "balance": 0.8 * balance}


def softmax(a):
    e = np.exp(a - a.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def softmax_backward(dp, p):
    return p * (dp - np.sum(dp * p, axis=1, keepdims=True))


def candidate(params, x, y):
    W1, b1, W2, b2 = (params[name] for name in ("W1", "b1", "W2", "b2"))
    n, experts = len(x), len(W1)
    probs = softmax(x @ params["router"])
    best = np.argsort(-probs, axis=1)[:, :2]
    chosen = np.zeros_like(probs)
    np.put_along_axis(chosen, best, 1.0, axis=1)
    kept = probs * chosen
    total = kept.sum(axis=1, keepdims=True)
    gate = kept / total

    hiddens, outputs = [], []
    mixed = np.zeros_like(y)
    for e in range(experts):
        hidden = np.maximum(x @ W1[e] + b1[e], 0)
        output = hidden @ W2[e] + b2[e]
        mixed += gate[:, e, None] * output
        hiddens.append(hidden)
        outputs.append(output)

    share = chosen.mean(axis=0) / 2
    balance = experts * np.sum(share * probs.mean(axis=0))
    loss = np.mean((mixed - y) ** 2) + 0.8 * balance

    dW1, db1, dW2, db2 = np.empty_like(W1), np.empty_like(b1), np.empty_like(W2), np.empty_like(b2)
    dmixed = 2 * (mixed - y) / y.size
    dgate = np.empty_like(gate)
    for e in range(experts):
        dgate[:, e] = np.sum(dmixed * outputs[e], axis=1)
        doutput = dmixed * gate[:, e, None]
        dW2[e] = hiddens[e].T @ doutput
        db2[e] = doutput.sum(axis=0)
        dhidden = (doutput @ W2[e].T) * (hiddens[e] > 0)
        dW1[e] = x.T @ dhidden
        db1[e] = dhidden.sum(axis=0)
    dkept = (dgate - np.sum(dgate * gate, axis=1, keepdims=True)) / total
    dprobs = dkept * chosen
    dprobs += 0.8 * experts * share / n
    drouter = x.T @ softmax_backward(dprobs, probs)
    return loss, {"router": drouter, "W1": dW1, "b1": db1, "W2": dW2, "b2": db2}


def problem(rng):
    params = {
        "router": rng.normal(size=(3, 4)),
        "W1": rng.normal(size=(4, 3, 5)) * 0.8,
        "b1": rng.normal(size=(4, 5)) * 0.5,
        "W2": rng.normal(size=(4, 5, 2)) * 0.7,
        "b2": rng.normal(size=(4, 2)) * 0.5,
    }
    return params, (rng.normal(size=(11, 3)) + 0.5, rng.normal(size=(11, 2)))


WRONG = [
    wrong(
        "softmax_diagonal",
        "diagonal-jacobian",
        "return p * (dp - np.sum(dp * p, axis=1, keepdims=True))",
        "return p * (1 - p) * dp",
    ),
    wrong(
        "share_of_the_two_as_constant",
        "missing-path|diagonal-jacobian",
        "dkept = (dgate - np.sum(dgate * gate, axis=1, keepdims=True)) / total",
        "dkept = dgate / total",
    ),
    wrong(
        "division_by_the_two_forgotten",
        "missing-derivative|wrong-scale",
        "axis=1, keepdims=True)) / total",
        "axis=1, keepdims=True))",
    ),
    wrong(
        "unchosen_experts_not_masked",
        "missing-derivative|different-function",
        "dprobs = dkept * chosen",
        "dprobs = dkept",
    ),
    wrong(
        "balance_not_in_the_gradient",
        "missing-path|wrong-term-weight",
        "    dprobs += 0.8 * experts * share / n\n",
        "",
    ),
    wrong(
        "number_of_experts_forgotten",
        "wrong-term-weight|wrong-scale",
        "dprobs += 0.8 * experts * share / n",
        "dprobs += 0.8 * share / n",
    ),
    wrong(
        "balance_not_averaged",
        "wrong-term-weight|wrong-scale|wrong-reduction",
        "dprobs += 0.8 * experts * share / n",
        "dprobs += 0.8 * experts * share",
    ),
    wrong(
        "router_to_the_fit_forgotten",
        "missing-path",
        "dprobs = dkept * chosen",
        "dprobs = np.zeros_like(probs)",
    ),
    wrong(
        "experts_not_gated_backwards", "missing-derivative", "doutput = dmixed * gate[:, e, None]", "doutput = dmixed"
    ),
    wrong(
        "probability_for_the_gate",
        "wrong-operand",
        "doutput = dmixed * gate[:, e, None]",
        "doutput = dmixed * probs[:, e, None]",
    ),
    wrong(
        "gated_output_for_the_output",
        "wrong-operand|extra-derivative",
        "np.sum(dmixed * outputs[e], axis=1)",
        "np.sum(dmixed * gate[:, e, None] * outputs[e], axis=1)",
    ),
    wrong("hidden_layer_of_the_last_expert", "wrong-operand", "dW2[e] = hiddens[e].T", "dW2[e] = hidden.T"),
    wrong("relu_slope_forgotten", "missing-derivative", "(doutput @ W2[e].T) * (hiddens[e] > 0)", "doutput @ W2[e].T"),
    wrong(
        "b2_not_gated",
        "missing-derivative|wrong-operand",
        "db2[e] = doutput.sum(axis=0)",
        "db2[e] = dmixed.sum(axis=0)",
    ),
    wrong(
        "averaged_over_samples_only",
        "wrong-term-weight|wrong-scale|wrong-reduction",
        "dmixed = 2 * (mixed - y) / y.size",
        "dmixed = 2 * (mixed - y) / n",
    ),
    wrong(
        "gate_gradient_averaged",
        "wrong-reduction|wrong-scale",
        "dgate[:, e] = np.sum(",
        "dgate[:, e] = np.mean(",
    ),
    wrong(
        "softmax_over_the_batch_in_both",
        "wrong-axis",
        "np.exp(a - a.max(axis=1, keepdims=True))\n    return e / e.sum(axis=1, keepdims=True)",
        "np.exp(a - a.max(axis=0))\n    return e / e.sum(axis=0)",
        "np.sum(dp * p, axis=1, keepdims=True)",
        "np.sum(dp * p, axis=0)",
    ),
    wrong(
        "gates_not_normalised_in_both",
        "different-function|wrong-operand",
        "gate = kept / total",
        "gate = kept",
        "dkept = (dgate - np.sum(dgate * gate, axis=1, keepdims=True)) / total",
        "dkept = dgate",
    ),
    wrong(
        "tanh_experts_in_both",
        "different-function",
        "hidden = np.maximum(x @ W1[e] + b1[e], 0)",
        "hidden = np.tanh(x @ W1[e] + b1[e])",
        "* (hiddens[e] > 0)",
        "* (1 - hiddens[e] ** 2)",
    ),
    wrong("balance_not_weighted_in_cost", "wrong-loss", " + 0.8 * balance", " + balance"),
]

TOGETHER = [
    ("softmax_diagonal", "relu_slope_forgotten"),
    ("share_of_the_two_as_constant", "b2_not_gated"),
    ("balance_not_in_the_gradient", "experts_not_gated_backwards"),
    ("gated_output_for_the_output", "balance_not_averaged"),
    ("hidden_layer_of_the_last_expert", "division_by_the_two_forgotten"),
    ("relu_slope_forgotten", "number_of_experts_forgotten", "hidden_layer_of_the_last_expert"),
]

RIGHT = [
    right(
        "only_the_rows_of_an_expert",
        "        doutput = dmixed * gate[:, e, None]\n"
        "        dW2[e] = hiddens[e].T @ doutput\n"
        "        db2[e] = doutput.sum(axis=0)\n"
        "        dhidden = (doutput @ W2[e].T) * (hiddens[e] > 0)\n"
        "        dW1[e] = x.T @ dhidden\n",
        "        mine = chosen[:, e] > 0\n"
        "        doutput = dmixed[mine] * gate[mine, e, None]\n"
        "        dW2[e] = hiddens[e][mine].T @ doutput\n"
        "        db2[e] = doutput.sum(axis=0)\n"
        "        dhidden = (doutput @ W2[e].T) * (hiddens[e][mine] > 0)\n"
        "        dW1[e] = x[mine].T @ dhidden\n",
    ),
    right(
        "gate_as_softmax_of_the_two",
        "    dprobs = dkept * chosen\n    dprobs += 0.8 * experts * share / n\n"
        "    drouter = x.T @ softmax_backward(dprobs, probs)\n",
        "    dlogits = softmax_backward(dgate, gate)\n"
        "    dlogits += softmax_backward(np.tile(0.8 * experts * share / n, (n, 1)), probs)\n"
        "    drouter = x.T @ dlogits\n",
        "    dkept = (dgate - np.sum(dgate * gate, axis=1, keepdims=True)) / total\n",
        "",
    ),
    right(
        "experts_at_once",
        "        dW1[e] = x.T @ dhidden\n        db1[e] = dhidden.sum(axis=0)\n",
        "        dhiddens[:, e] = dhidden\n",
        "    dgate = np.empty_like(gate)\n",
        "    dgate = np.empty_like(gate)\n    dhiddens = np.zeros((n, *b1.shape))\n",
        "    dkept = (dgate",
        '    dW1 = np.einsum("nd,neh->edh", x, dhiddens)\n    db1 = dhiddens.sum(axis=0)\n    dkept = (dgate',
    ),
]
