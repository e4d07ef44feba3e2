"""The squares of the gradients are assigned, not added up.

Symptom: the steps never get shorter, and the parameters jump about the minimum by lr.
Why: with G = g^2 the step is lr g / |g|, the gradient's sign. It is the sum over all steps that makes it settle.
Fix: G = G + g**2
"""

import numpy as np

from numpy_impls.optimizers.adagrad import full_like

CODES = ("state-not-kept",)


def step(params, grads, state, *, lr=1e-2, lr_decay=0.0, weight_decay=0.0, initial_accumulator_value=0.0, eps=1e-10):
    if not state:
        state.update(t=0, G=full_like(params, initial_accumulator_value))
    t = state["t"] = state["t"] + 1
    lr_t = lr / (1 + (t - 1) * lr_decay)
    new = {}
    for name, theta in params.items():
        g = grads[name] + weight_decay * theta
        G = state["G"][name] = g**2
        new[name] = theta - lr_t * g / (np.sqrt(G) + eps)
    return new
