"""The centred form's mean gradient starts from zero at every step.

Symptom: `centered=True` changes hardly anything.
Why: the variance is the mean square less the square of the mean. A mean of one gradient, weighted with 1 - alpha, is
    a hundredth of it, and its square is nothing beside v.
Fix: m = alpha * m + (1 - alpha) * g, kept from step to step
"""

import numpy as np

from numpy_impls.optimizers.rmsprop import zeros_like

CODES = ("state-not-kept",)


def step(params, grads, state, *, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False):
    if not state:
        state.update(v=zeros_like(params), m=zeros_like(params), buf=zeros_like(params))
    new = {}
    for name, theta in params.items():
        g = grads[name] + weight_decay * theta
        v = state["v"][name] = alpha * state["v"][name] + (1 - alpha) * g**2
        if centered:
            m = (1 - alpha) * g
            v = v - m**2
        d = g / (np.sqrt(v) + eps)
        buf = state["buf"][name] = momentum * state["buf"][name] + d
        new[name] = theta - lr * buf
    return new
