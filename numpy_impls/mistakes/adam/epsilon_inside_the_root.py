"""eps is added under the root.

Symptom: entries with gradients below 1e-4 hardly move, where Adam would move them as far as all others.
Why: sqrt(v + eps) is sqrt(eps) = 1e-4 where v vanishes, ten thousand times what eps itself is: the same number in
    another place is another threshold.
Fix: theta - lr * m_hat / (np.sqrt(v_hat) + eps), the root first
"""

import numpy as np

from numpy_impls.optimizers.adam import zeros_like

CODES = ("epsilon-misplaced",)


def step(params, grads, state, *, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    if not state:
        state.update(t=0, m=zeros_like(params), v=zeros_like(params))
    t = state["t"] = state["t"] + 1
    new = {}
    for name, theta in params.items():
        g = grads[name]
        m = state["m"][name] = beta1 * state["m"][name] + (1 - beta1) * g
        v = state["v"][name] = beta2 * state["v"][name] + (1 - beta2) * g**2
        m_hat = m / (1 - beta1**t)
        v_hat = v / (1 - beta2**t)
        new[name] = theta - lr * m_hat / np.sqrt(v_hat + eps)
    return new
