"""alpha weighs the new square, and 1 - alpha what has been kept.

Symptom: every step is about lr long, whatever the gradient: the mean square forgets within one step.
Why: alpha = 0.99 is the share of the old mean that stays. On the new square it leaves a hundredth of the past: the
    result is the rule with alpha = 0.01.
Fix: alpha * v + (1 - alpha) * g**2
"""

import numpy as np

from numpy_impls.optimizers.rmsprop import zeros_like

CODES = ("wrong-hyperparameter",)


def step(params, grads, state, *, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False):
    if not state:
        state.update(v=zeros_like(params), m=zeros_like(params), buf=zeros_like(params))
    new = {}
    for name, theta in params.items():
        g = grads[name] + weight_decay * theta
        v = state["v"][name] = (1 - alpha) * state["v"][name] + alpha * g**2
        if centered:
            m = state["m"][name] = (1 - alpha) * state["m"][name] + alpha * g
            v = v - m**2
        d = g / (np.sqrt(v) + eps)
        buf = state["buf"][name] = momentum * state["buf"][name] + d
        new[name] = theta - lr * buf
    return new
