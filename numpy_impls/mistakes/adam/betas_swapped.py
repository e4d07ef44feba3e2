"""The mean fades with beta2 and the mean square with beta1.

Symptom: it trains, but is slow to turn: the step points where the gradients of the last thousand steps pointed.
Why: beta1 = 0.9 keeps about ten gradients for the direction, beta2 = 0.999 about a thousand for the size. Swapped,
    the direction is stale and the size is noisy. `betas=(0.9, 0.999)` unpacked in the wrong order does it.
Fix: beta1 with m, beta2 with v, in the means and in their corrections
"""

import numpy as np

from numpy_impls.optimizers.adam import zeros_like

CODES = ("moments-mixed-up",)


def step(params, grads, state, *, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    if not state:
        state.update(t=0, m=zeros_like(params), v=zeros_like(params))
    t = state["t"] = state["t"] + 1
    new = {}
    for name, theta in params.items():
        g = grads[name]
        m = state["m"][name] = beta2 * state["m"][name] + (1 - beta2) * g
        v = state["v"][name] = beta1 * state["v"][name] + (1 - beta1) * g**2
        m_hat = m / (1 - beta2**t)
        v_hat = v / (1 - beta1**t)
        new[name] = theta - lr * m_hat / (np.sqrt(v_hat) + eps)
    return new
