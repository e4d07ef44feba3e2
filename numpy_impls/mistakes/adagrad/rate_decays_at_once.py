"""The learning rate has decayed before the first step.

Symptom: a trajectory that is slightly too short from its first step on; without lr_decay none.
Why: the rate is lr / (1 + (t - 1) lr_decay): the first step has the rate that was asked for, and decay comes with the
    second.
Fix: lr / (1 + (t - 1) * lr_decay), for t from 1
"""

import numpy as np

from numpy_impls.optimizers.adagrad import full_like

CODES = ("step-off-by-one",)


def step(params, grads, state, *, lr=1e-2, lr_decay=0.0, weight_decay=0.0, initial_accumulator_value=0.0, eps=1e-10):
    if not state:
        state.update(t=0, G=full_like(params, initial_accumulator_value))
    t = state["t"] = state["t"] + 1
    lr_t = lr / (1 + t * lr_decay)
    new = {}
    for name, theta in params.items():
        g = grads[name] + weight_decay * theta
        G = state["G"][name] = state["G"][name] + g**2
        new[name] = theta - lr_t * g / (np.sqrt(G) + eps)
    return new
