"""A two-layer graph convolution: features averaged over neighbours by an adjacency matrix, some nodes labelled."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong

BATCH_AXIS = None  # the nodes of one graph


class GraphConvolution(torch.nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def forward(self, x, adjacency):
        return torch.mm(adjacency, torch.mm(x, self.weight))


def reference(params, x, adjacency, labels, labelled):
    averaging = adjacency / adjacency.sum(dim=1, keepdim=True)
    hidden = F.selu(GraphConvolution(params["W1"])(x, averaging))
    hidden = hidden + GraphConvolution(params["R"])(hidden, averaging)
    logits = GraphConvolution(params["W2"])(hidden, averaging)
    return F.nll_loss(F.log_softmax(logits[labelled], dim=1), labels[labelled])


def selu(z):
    return 1.0507009873554804934193349852946 * np.where(z > 0, z, 1.6732632423543772848170429916717 * (np.exp(z) - 1))


def d_selu(z):
    return 1.0507009873554804934193349852946 * np.where(z > 0, 1, 1.6732632423543772848170429916717 * np.exp(z))


def candidate(params, x, adjacency, labels, labelled):
    W1, R, W2 = params["W1"], params["R"], params["W2"]
    m = len(labelled)
    P = adjacency / adjacency.sum(axis=1, keepdims=True)
    z = P @ x @ W1
    h = selu(z)
    k = h + P @ h @ R
    logits = P @ k @ W2
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    loss = -np.mean(np.log(p[labelled, labels[labelled]]))
    dlogits = np.zeros_like(p)
    for i in labelled:
        dlogits[i] = p[i] / m
        dlogits[i, labels[i]] -= 1 / m
    dW2 = (P @ k).T @ dlogits
    dk = P.T @ dlogits @ W2.T
    dR = (P @ h).T @ dk
    dh = dk + P.T @ dk @ R.T
    dz = dh * d_selu(z)
    dW1 = (P @ x).T @ dz
    return loss, {"W1": dW1, "R": dR, "W2": dW2}


def problem(rng):
    params = {"W1": rng.normal(size=(4, 5)), "R": rng.normal(size=(5, 5)) * 0.6, "W2": rng.normal(size=(5, 3))}
    adjacency = np.eye(8) + (rng.uniform(size=(8, 8)) < 0.35)
    return params, (rng.normal(size=(8, 4)), adjacency, rng.integers(0, 3, size=8), np.array([0, 2, 3, 5, 7]))


WRONG = [
    wrong("graph_not_transposed_in_second_layer", "not-transposed", "dk = P.T @ dlogits", "dk = P @ dlogits"),
    wrong("graph_not_transposed_in_residual", "not-transposed", "P.T @ dk @ R.T", "P @ dk @ R.T"),
    wrong("R_not_transposed", "not-transposed", "P.T @ dk @ R.T", "P.T @ dk @ R"),
    wrong("graph_forgotten_backwards", "missing-derivative|missing-path", "dk = P.T @ dlogits", "dk = dlogits"),
    wrong("graph_forgotten_in_W1", "wrong-operand", "dW1 = (P @ x).T", "dW1 = x.T"),
    wrong("graph_forgotten_in_R", "wrong-operand", "dR = (P @ h).T", "dR = h.T"),
    wrong("residual_forgotten", "missing-path", "dh = dk + P.T", "dh = P.T"),
    wrong("branch_forgotten", "missing-path", "dh = dk + P.T @ dk @ R.T", "dh = dk"),
    wrong("selu_derivative_forgotten", "missing-derivative", "dz = dh * d_selu(z)", "dz = dh"),
    wrong("selu_derivative_of_output", "derivative-at-wrong-point", "d_selu(z)\n", "d_selu(h)\n"),
    wrong("relu_slope_for_selu", "different-function", "dh * d_selu(z)", "dh * (z > 0)"),
    wrong(
        "elu_slope_for_selu", "different-function|wrong-scale", "dh * d_selu(z)", "dh * np.where(z > 0, 1, np.exp(z))"
    ),
    wrong(
        "averaged_over_all_nodes",
        "wrong-scale",
        "dlogits[i] = p[i] / m",
        "dlogits[i] = p[i] / len(x)",
        "-= 1 / m",
        "-= 1 / len(x)",
    ),
    wrong(
        "not_averaged", "wrong-scale|wrong-reduction", "dlogits[i] = p[i] / m", "dlogits[i] = p[i]", "-= 1 / m", "-= 1"
    ),
    wrong(
        "unlabelled_nodes_counted", "different-function|wrong-operand", "for i in labelled:", "for i in range(len(x)):"
    ),
    wrong("label_forgotten", "missing-path", "        dlogits[i, labels[i]] -= 1 / m\n", ""),
    wrong("one_node_only", "one-sample-only", "for i in labelled:", "for i in labelled[:1]:"),
    wrong("hidden_before_residual_in_W2", "wrong-operand|missing-path", "dW2 = (P @ k).T", "dW2 = (P @ h).T"),
    wrong("R_gradient_transposed", "transposed", '"R": dR', '"R": dR.T'),
    wrong(
        "columns_normalised_in_both",
        "wrong-axis",
        "adjacency.sum(axis=1, keepdims=True)",
        "adjacency.sum(axis=0, keepdims=True)",
    ),
    wrong(
        "sum_of_neighbours_in_both",
        "wrong-reduction|different-function|missing-path",
        "P = adjacency / adjacency.sum(axis=1, keepdims=True)",
        "P = adjacency",
    ),
    wrong("tanh_in_both", "different-function", "h = selu(z)", "h = np.tanh(z)", "dh * d_selu(z)", "dh * (1 - h**2)"),
    wrong(
        "cost_of_all_nodes",
        "wrong-loss",
        "np.log(p[labelled, labels[labelled]])",
        "np.log(p[np.arange(len(x)), labels])",
    ),
]

TOGETHER = [
    ("residual_forgotten", "selu_derivative_forgotten"),
    ("R_not_transposed", "selu_derivative_of_output"),
    ("not_averaged", "graph_forgotten_in_R"),
    ("cost_of_all_nodes", "selu_derivative_forgotten"),
    ("hidden_before_residual_in_W2", "R_not_transposed"),
    ("hidden_before_residual_in_W2", "R_not_transposed", "selu_derivative_forgotten"),
]

RIGHT = [
    right(
        "neighbour_by_neighbour",
        "dR = (P @ h).T @ dk",
        "dR = np.zeros_like(R)\n    for i in range(len(x)):\n        for j in range(len(x)):\n"
        "            dR += P[i, j] * np.outer(h[j], dk[i])",
    ),
    right("products_in_another_order", "P.T @ dk @ R.T", "P.T @ (dk @ R.T)"),
]
