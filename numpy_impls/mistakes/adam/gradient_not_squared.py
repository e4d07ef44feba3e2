"""v is the fading mean of |g| and not of its square; the root is taken all the same.

Symptom: entries with large gradients move far, those with small ones stay: as in plain gradient descent, but less so.
Why: g / sqrt(|g|) is the root of the gradient: it still has its size. Only the root of a square cancels the size, and
    makes the step independent of how the loss is scaled.
Fix: (1 - beta2) * g**2
"""

import numpy as np

from numpy_impls.optimizers.adam import zeros_like

CODES = ("gradient-not-squared",)


def step(params, grads, state, *, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    if not state:
        state.update(t=0, m=zeros_like(params), v=zeros_like(params))
    t = state["t"] = state["t"] + 1
    new = {}
    for name, theta in params.items():
        g = grads[name]
        m = state["m"][name] = beta1 * state["m"][name] + (1 - beta1) * g
        v = state["v"][name] = beta2 * state["v"][name] + (1 - beta2) * np.abs(g)
        m_hat = m / (1 - beta1**t)
        v_hat = v / (1 - beta2**t)
        new[name] = theta - lr * m_hat / (np.sqrt(v_hat) + eps)
    return new
