"""Nesterov's step takes the velocity as it was before the gradient pushed it.

Symptom: `nesterov=True` changes nothing: to the last digit it is the momentum without it.
Why: g + mu buf is the new velocity when buf is the old one, and the new velocity is what heavy-ball momentum moves
    by. To look one step ahead mu has to multiply the new velocity.
Fix: buf = momentum * buf + g first, then g + momentum * buf
"""

from numpy_impls.optimizers import sgd

CODES = ("wrong-hyperparameter",)


def step(params, grads, state, *, lr=1e-3, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False):
    if not nesterov:
        return sgd.step(params, grads, state, lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay)
    new = {}
    for name, theta in params.items():
        g = grads[name] + weight_decay * theta
        before = state.get(name, 0)
        state[name] = momentum * before + g
        new[name] = theta - lr * (g + momentum * before)
    return new
