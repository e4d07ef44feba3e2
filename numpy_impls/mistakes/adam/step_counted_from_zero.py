"""The first step has the number 0, and the corrections divide by zero.

Symptom: every entry is NaN from the first step on, with a warning about an invalid value; the formulas are the
    paper's.
Why: m and v are corrected by 1 - beta^t, the share of the weights that has come in so far. With t from
    `range(num_iterations)` that is 1 - beta^0 = 0: m_hat and v_hat are infinite, and infinity over its root is NaN.
Fix: t = 1 at the first step: count up before the step, or take `i + 1`
"""

import numpy as np

from numpy_impls.optimizers.adam import zeros_like

CODES = ("not-finite",)


def step(params, grads, state, *, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    if not state:
        state.update(t=0, m=zeros_like(params), v=zeros_like(params))
    t = state["t"]
    state["t"] = t + 1
    new = {}
    for name, theta in params.items():
        g = grads[name]
        m = state["m"][name] = beta1 * state["m"][name] + (1 - beta1) * g
        v = state["v"][name] = beta2 * state["v"][name] + (1 - beta2) * g**2
        with np.errstate(divide="ignore", invalid="ignore"):  # its author saw the warnings, and went on
            m_hat = m / (1 - beta1**t)
            v_hat = v / (1 - beta2**t)
            new[name] = theta - lr * m_hat / (np.sqrt(v_hat) + eps)
    return new
