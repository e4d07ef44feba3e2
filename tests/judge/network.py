"""A network that the judge's tests hand in, well or badly written: one hidden layer, one scalar parameter."""

import numpy as np
import torch


def problem(dtype=np.float64):
    """Parameters (W1, b1, W2 and the scalar s), inputs x (7, 3) and targets y (7, 2), at random."""
    rng = np.random.default_rng(0)
    params = {"W1": rng.normal(size=(3, 4)), "b1": rng.normal(size=4), "W2": rng.normal(size=(4, 2)), "s": 0.7}
    x, y = rng.normal(size=(7, 3)), rng.normal(size=(7, 2))
    return {name: np.array(value, dtype=dtype) for name, value in params.items()}, x.astype(dtype), y.astype(dtype)


def reference(params, x, y):
    h = torch.tanh(x @ params["W1"] + params["b1"])
    return ((params["s"] * (h @ params["W2"]) - y) ** 2).mean()


def candidate(params, x, y):
    """The same by hand, and right."""
    h = np.tanh(x @ params["W1"] + params["b1"])  # (n, hidden)
    out = h @ params["W2"]  # (n, outputs)
    e = params["s"] * out - y
    d_out = 2 * e / e.size * params["s"]
    dz = d_out @ params["W2"].T * (1 - h**2)
    grads = {"W1": x.T @ dz, "b1": dz.sum(axis=0), "W2": h.T @ d_out, "s": (2 * e / e.size * out).sum()}
    return (e**2).mean(), grads


def returning(change):
    """The right candidate, whose loss and gradients `change(loss, grads)` has replaced on the way out."""

    def changed(params, x, y):
        return change(*candidate(params, x, y))

    return changed


def with_gradient(name, change):
    """The right candidate with one gradient replaced by `change(gradient)`."""
    return returning(lambda loss, grads: (loss, {**grads, name: change(grads[name])}))
