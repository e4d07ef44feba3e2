"""eps is added under the root.

Symptom: entries whose gradients are below 1e-5 hardly move at the default eps of 1e-10.
Why: sqrt(G + eps) is sqrt(eps) = 1e-5 where G vanishes. The paper has its constant outside the root, and so has
    torch.
Fix: theta - lr_t * g / (np.sqrt(G) + eps), the root first
"""

import numpy as np

from numpy_impls.optimizers.adagrad import full_like

CODES = ("epsilon-misplaced",)


def step(params, grads, state, *, lr=1e-2, lr_decay=0.0, weight_decay=0.0, initial_accumulator_value=0.0, eps=1e-10):
    if not state:
        state.update(t=0, G=full_like(params, initial_accumulator_value))
    t = state["t"] = state["t"] + 1
    lr_t = lr / (1 + (t - 1) * lr_decay)
    new = {}
    for name, theta in params.items():
        g = grads[name] + weight_decay * theta
        G = state["G"][name] = state["G"][name] + g**2
        new[name] = theta - lr_t * g / np.sqrt(G + eps)
    return new
