"""One hidden layer with bias units, ten yes-or-no outputs, cross-entropy, and a penalty without the bias, in torch.

Row 0 of theta1 (1 + inputs, hidden) and theta2 (1 + hidden, classes) is the bias.
"""

import torch
import torch.nn.functional as F


def logits(params, X):
    """The last layer's input Z (m, classes), for X (m, inputs)."""
    theta1, theta2 = params["theta1"], params["theta2"]
    H = torch.sigmoid(X @ theta1[1:] + theta1[0])  # (m, hidden)
    return H @ theta2[1:] + theta2[0]


def loss(params, X, Y, *, lam):
    """The two terms of J: the cross-entropy (mean over samples, sum over classes) and the penalty."""
    m = len(X)
    return {
        "data": F.binary_cross_entropy_with_logits(logits(params, X), Y, reduction="sum") / m,
        "penalty": lam / (2 * m) * ((params["theta1"][1:] ** 2).sum() + (params["theta2"][1:] ** 2).sum()),
    }


def train(params, X, Y, *, lam, learning_rate, steps):
    """Gradient descent by autograd: the parameters after `steps` steps, and the list of J before each step."""
    costs = []
    for _ in range(steps):
        params = {name: theta.detach().requires_grad_() for name, theta in params.items()}
        J = sum(loss(params, X, Y, lam=lam).values())
        costs.append(J.item())
        grads = torch.autograd.grad(J, list(params.values()))
        params = {
            name: theta.detach() - learning_rate * dtheta
            for (name, theta), dtheta in zip(params.items(), grads, strict=True)
        }
    return params, costs
