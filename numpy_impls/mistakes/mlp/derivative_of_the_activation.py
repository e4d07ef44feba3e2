"""The hidden layers' derivative is taken at the activation a = s(z), by a function that expects z.

Symptom: the last layer's gradient is right, the others are off by 2 to 400 percent. On exclusive or, 3,000 steps at the
    rate 2 leave the cost at 0.69, where the right gradient reaches 0.35 from the same start.
Why: s'(z) is s(z) (1 - s(z)), which is a (1 - a) where a is at hand. `sigmoid_derivative(a)` applies the sigmoid a
    second time: its value is always between 0.196 and 0.25, so that a saturated unit learns as fast as any other.
Fix: dz = dz @ params[f"W{k}"].T * a[k - 1] * (1 - a[k - 1])
"""

from numpy_impls.models.mlp import cross_entropy, forward, n_layers, sigmoid

CODES = ("derivative-at-wrong-point",)


def sigmoid_derivative(z):
    return sigmoid(z) * (1 - sigmoid(z))


def loss_and_grads(params, x, y):
    z, a = forward(params, x)
    dz = (a[-1] - y) / len(x)
    grads = {}
    for k in range(n_layers(params), 0, -1):
        grads[f"W{k}"] = a[k - 1].T @ dz
        if f"b{k}" in params:
            grads[f"b{k}"] = dz.sum(axis=0)
        dz = dz @ params[f"W{k}"].T * sigmoid_derivative(a[k - 1])
    return cross_entropy(z, y), grads
