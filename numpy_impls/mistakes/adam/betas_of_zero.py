"""beta1 and beta2 are the integer 0, whatever the caller asks for.

Symptom: every entry moves by exactly lr at every step, up or down, and at the end the picture flickers.
Why: both means have forgotten everything but the last gradient, so that m / sqrt(v) is g / |g|: its sign. Adam's step
    becomes small where gradients change their sign; this one never does.
Fix: beta1, beta2 = 0.9, 0.999
"""

import numpy as np

from numpy_impls.optimizers.adam import zeros_like

CODES = ("state-not-kept",)  # with both betas 0 nothing is kept: the same numbers, and one mistake instead of two


def step(params, grads, state, *, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    beta1 = beta2 = 0
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
        new[name] = theta - lr * m_hat / (np.sqrt(v_hat) + eps)
    return new
