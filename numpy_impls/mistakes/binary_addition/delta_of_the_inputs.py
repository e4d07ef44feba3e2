"""The delta that is kept for the step before is taken through W_xh, and has the inputs' shape.

Symptom: the question's own: W_hh is 16 x 16, the delta 1 x 2, and their product raises.
Why: a step passes two gradients back, dz W_xh' to its inputs and dz W_hh' to the state before it. The inputs are data,
    so the first goes nowhere; the second is the one that the step before needs. What is kept has to be dz itself, one
    entry for each hidden unit.
Fix: delta = dz, which delta @ W_hh.T then takes back to the state
"""

import numpy as np

from numpy_impls.models.binary_addition import OPTIONS, examples
from numpy_impls.recurrent.elman_rnn import cross_entropy, forward

CODES = ("raised",)


def loss_and_grads(params, a, b, n_bits=8):
    x, target = examples(a, b, n_bits, params["W_hh"].dtype)
    h = forward(params, x, OPTIONS["activation"])
    loss, grads = 0, {name: np.zeros_like(value) for name, value in params.items()}
    delta = np.zeros_like(h[0])
    for t in reversed(range(n_bits + 1)):
        loss_t, do = cross_entropy(h[t + 1] @ params["W_hy"] + params["b_y"], target[:, t])
        loss, do = loss + loss_t / len(a), do / len(a)
        grads["W_hy"] += h[t + 1].T @ do
        grads["b_y"] += do.sum(axis=0)
        dz = (do @ params["W_hy"].T + delta @ params["W_hh"].T) * (1 - h[t + 1] ** 2)
        grads["W_xh"] += x[:, t].T @ dz
        grads["W_hh"] += h[t].T @ dz
        grads["b_h"] += dz.sum(axis=0)
        delta = dz @ params["W_xh"].T  # (n, 2): this is the gradient of x_t, which goes nowhere
    return loss, grads | {"h_0": (delta @ params["W_hh"].T).sum(axis=0)}
