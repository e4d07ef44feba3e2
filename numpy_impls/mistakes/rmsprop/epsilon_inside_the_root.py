"""eps is added under the root.

Symptom: the figures of a paper that used TensorFlow come out, but torch's do not.
Why: sqrt(v + eps) and sqrt(v) + eps are the same for large v only; where v vanishes they are 1e-4 and 1e-8. Graves
    and TensorFlow have it inside, torch outside.
Fix: d = g / (np.sqrt(v) + eps), the root first
"""

import numpy as np

from numpy_impls.optimizers.rmsprop import zeros_like

CODES = ("epsilon-misplaced",)


def step(params, grads, state, *, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False):
    if not state:
        state.update(v=zeros_like(params), m=zeros_like(params), buf=zeros_like(params))
    new = {}
    for name, theta in params.items():
        g = grads[name] + weight_decay * theta
        v = state["v"][name] = alpha * state["v"][name] + (1 - alpha) * g**2
        if centered:
            m = state["m"][name] = alpha * state["m"][name] + (1 - alpha) * g
            v = v - m**2
        d = g / np.sqrt(v + eps)
        buf = state["buf"][name] = momentum * state["buf"][name] + d
        new[name] = theta - lr * buf
    return new
