"""Both moments start from zero at every step, while the counter goes on.

Symptom: the first step is right; then the steps fall below and rise above lr, whatever the gradients do.
Why: `m = np.zeros_like(theta)` stands inside the loop over the steps, or the moments are local to the function. (1 -
    beta1) g is then corrected as if t gradients had come in, though only one has.
Fix: keep m and v from step to step, and make their zeros once, before the first
"""

import numpy as np

from numpy_impls.optimizers.adam import zeros_like

CODES = ("state-not-kept",)


def step(params, grads, state, *, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    if not state:
        state.update(t=0)
    t = state["t"] = state["t"] + 1
    new = {}
    for name, theta in params.items():
        g = grads[name]
        m, v = zeros_like(params)[name], zeros_like(params)[name]
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat = m / (1 - beta1**t)
        v_hat = v / (1 - beta2**t)
        new[name] = theta - lr * m_hat / (np.sqrt(v_hat) + eps)
    return new
