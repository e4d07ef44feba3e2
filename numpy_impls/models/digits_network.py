"""One hidden layer with bias units, ten yes-or-no outputs, cross-entropy, and a penalty that leaves the bias alone.

A column of ones put before each layer's input makes row 0 of theta1 and theta2 the bias. With m samples, s the sigmoid:

    H = s([1 X] theta1),  Z = [1 H] theta2,  the prediction is s(Z)
    J = -1/m sum(Y log s(Z) + (1 - Y) log(1 - s(Z))) + lam / (2 m) (sum theta1[1:]^2 + sum theta2[1:]^2)

    dZ2 = (s(Z) - Y) / m,              dtheta2 = [1 H]' dZ2, and lam / m theta2[1:] on its rows from 1
    dZ1 = dZ2 theta2[1:]' * H (1 - H), dtheta1 = [1 X]' dZ1, and lam / m theta1[1:] on its rows from 1

Conventions: theta has shape (1 + in, out); m counts samples (rows of X and Y), whatever the number of classes.
A column of ones multiplied out is row 0 added to every sample, and a sum over samples on the way back.
Source: Bishop 2006, "Pattern recognition and machine learning", equations 5.23 (cross-entropy of several yes-or-no
outputs), 5.56 (backpropagation) and 5.112 (penalty); the bias is left out of it as in section 5.5.1.
"""

import numpy as np

from numpy_impls.models import mlp
from numpy_impls.models.mlp import cross_entropy, sigmoid

BLOCK = 500  # samples that `loss_and_grads_tuned` takes at a time: 1.6 MB of the digits, about a second-level cache


def forward(params, X):
    """Return (Z, H): the last layer's input (m, classes) and the hidden activations (m, hidden), for X (m, inputs)."""
    theta1, theta2 = params["theta1"], params["theta2"]
    H = sigmoid(X @ theta1[1:] + theta1[0])  # (m, hidden)
    return H @ theta2[1:] + theta2[0], H


def predict(params, X):
    """The most probable class of each sample, (m,) integers."""
    return forward(params, X)[0].argmax(axis=1)


def penalty(params, m, lam):
    """lam / (2 m) times the sum of all squared weights, the bias rows left out."""
    return lam / (2 * m) * sum(np.sum(theta[1:] ** 2) for theta in params.values())


def backward(params, X, Y, Z, H):
    """Return the gradients of the cross-entropy alone, from what `forward` returned."""
    dZ2 = (sigmoid(Z) - Y) / len(X)  # (m, classes)
    dZ1 = dZ2 @ params["theta2"][1:].T * H * (1 - H)  # (m, hidden)
    return {
        "theta1": np.vstack([dZ1.sum(axis=0), X.T @ dZ1]),  # (1 + inputs, hidden)
        "theta2": np.vstack([dZ2.sum(axis=0), H.T @ dZ2]),  # (1 + hidden, classes)
    }


def loss_and_grads(params, X, Y, *, lam):
    """Return J and the gradients of theta1 and theta2, for X (m, inputs) and Y (m, classes), entries of Y in [0, 1].

    `lam` is the weight of the penalty. Raises ValueError where shapes do not fit.
    """
    Z, H = forward(params, X)
    J = cross_entropy(Z, Y) + penalty(params, len(X), lam)
    grads = backward(params, X, Y, Z, H)
    for name, theta in params.items():
        grads[name][1:] += lam / len(X) * theta[1:]
    return J, grads


def loss_and_grads_per_sample(params, X, Y, *, lam):
    """The same, one sample after the other, with a one put before each layer's input as in the formulas."""
    theta1, theta2 = params["theta1"], params["theta2"]
    m, J = len(X), penalty(params, len(X), lam)
    grads = {name: lam / m * theta for name, theta in params.items()}
    for name in grads:
        grads[name][0] = 0
    for x, y in zip(X, Y, strict=True):
        x_1 = np.append(np.ones_like(x[:1]), x)  # (1 + inputs,)
        h_1 = np.append(np.ones_like(x[:1]), sigmoid(x_1 @ theta1))  # (1 + hidden,)
        z = h_1 @ theta2  # (classes,)
        J = J + cross_entropy(z[None], y[None]) / m
        dz2 = (sigmoid(z) - y) / m
        dz1 = (theta2 @ dz2 * h_1 * (1 - h_1))[1:]  # (hidden,): the unit that is always one has no input to pass it to
        grads["theta1"] += np.outer(x_1, dz1)
        grads["theta2"] += np.outer(h_1, dz2)
    return J, grads


def loss_and_grads_tuned(params, X, Y, *, lam):
    """The same, a block of samples after the other, each by `mlp`'s tuned form.

    Faster since X, by far the largest array, is read from memory once: a block is still in the cache when the backward
    pass needs it again.
    """
    m, J = len(X), penalty(params, len(X), lam)
    grads = {name: lam / m * theta for name, theta in params.items()}
    layers = {}
    for k in (1, 2):
        grads[f"theta{k}"][0] = 0
        layers[f"b{k}"], layers[f"W{k}"] = params[f"theta{k}"][0], params[f"theta{k}"][1:]
    for start in range(0, m, BLOCK):
        x, y = X[start : start + BLOCK], Y[start : start + BLOCK]
        loss, block = mlp.loss_and_grads_tuned(layers, x, y)
        share = len(x) / m  # `loss` and `block` are means over this block
        J += share * loss
        for k in (1, 2):
            grads[f"theta{k}"][0] += share * block[f"b{k}"]
            grads[f"theta{k}"][1:] += share * block[f"W{k}"]
    return J, grads


def train(params, X, Y, *, lam, learning_rate, steps, loss_and_grads=loss_and_grads):
    """Gradient descent on all samples: return the parameters after `steps` steps, and the list of J before each step.

    `params` is left as it is. Each J belongs to the parameters that its step starts from; J after the last step is not
    in the list. `loss_and_grads` is what is descended.
    """
    costs = []
    for _ in range(steps):
        J, grads = loss_and_grads(params, X, Y, lam=lam)
        costs.append(J)
        params = {name: theta - learning_rate * grads[name] for name, theta in params.items()}
    return params, costs
