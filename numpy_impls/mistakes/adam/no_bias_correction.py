"""The moments are used as they are, without the correction for their start at zero.

Symptom: the first steps are three times as long as they should be, and the loss may jump before it falls.
Why: after one step m is a tenth of the gradient and v a thousandth of its square (beta1 = 0.9, beta2 = 0.999): the
    ratio m / sqrt(v) is 0.1 / sqrt(0.001) = 3.2 in place of 1. It takes some thousand steps until v has caught up.
Fix: m_hat = m / (1 - beta1**t), v_hat = v / (1 - beta2**t)
"""

import numpy as np

from numpy_impls.optimizers.adam import zeros_like

CODES = ("missing-bias-correction",)


def step(params, grads, state, *, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    if not state:
        state.update(m=zeros_like(params), v=zeros_like(params))
    new = {}
    for name, theta in params.items():
        g = grads[name]
        m = state["m"][name] = beta1 * state["m"][name] + (1 - beta1) * g
        v = state["v"][name] = beta2 * state["v"][name] + (1 - beta2) * g**2
        new[name] = theta - lr * m / (np.sqrt(v) + eps)
    return new
