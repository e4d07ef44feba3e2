"""The first step has the number 2.

Symptom: nothing that the eye sees: it trains, with steps that are about 0.74 of the right ones at first.
Why: the counter starts at 1 and is counted up before it is used. 1 - beta^2 says that two gradients' weight has come
    in where it was one's, so that m_hat is 1.9 times and v_hat 2 times too small. After many steps both powers
    vanish, and the mistake with them.
Fix: start at 0 and count up before the step, or start at 1 and count up after it
"""

import numpy as np

from numpy_impls.optimizers.adam import zeros_like

CODES = ("step-off-by-one",)


def step(params, grads, state, *, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    if not state:
        state.update(t=1, m=zeros_like(params), v=zeros_like(params))
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
