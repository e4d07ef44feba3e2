"""No layer's delta is multiplied by the sigmoid's derivative, which is right at the output and wrong before it.

Symptom: the last layer's gradient passes the check, that of every layer before it fails: in a 2-2-1 network it is from
    a fifth to eighteen times as large as it should be.
Why: only at the output does the cross-entropy cancel s'(z). A hidden layer's activation goes into the next layer's
    product, which has no such factor, so that s'(z) = a (1 - a) <= 1/4 stays.
Fix: dz = dz @ params[f"W{k}"].T * a[k - 1] * (1 - a[k - 1])
"""

from numpy_impls.models.mlp import cross_entropy, forward, n_layers

CODES = ("missing-derivative",)


def loss_and_grads(params, x, y):
    z, a = forward(params, x)
    dz = (a[-1] - y) / len(x)
    grads = {}
    for k in range(n_layers(params), 0, -1):
        grads[f"W{k}"] = a[k - 1].T @ dz
        if f"b{k}" in params:
            grads[f"b{k}"] = dz.sum(axis=0)
        dz = dz @ params[f"W{k}"].T
    return cross_entropy(z, y), grads
