"""eps is added to the root of v before that is corrected.

Symptom: with eps = 1e-8 nothing; with eps = 0.1 the first steps are too short.
Why: dividing by sqrt(1 - beta2^t) afterwards divides eps too, which at the first step makes it 32 times as large. It
    is the paper's own shortcut (end of its section 2, where it is called epsilon hat), and TensorFlow's form; torch's
    is that of algorithm 1.
Fix: np.sqrt(v / (1 - beta2**t)) + eps
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
        new[name] = theta - lr * m_hat / ((np.sqrt(v) + eps) / np.sqrt(1 - beta2**t))
    return new
