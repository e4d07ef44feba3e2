"""The velocity is an average of the gradients, weighted with momentum and 1 - momentum.

Symptom: with a momentum of 0.9 it needs ten times the rate.
Why: momentum adds the gradients up, buf = mu buf + g, and in the long run moves 1 / (1 - mu) times as far as one
    gradient. The average, which Adam takes, moves as far as one: all of its steps are those of the rate times 1 - mu.
Fix: buf = momentum * buf + g
"""

from numpy_impls.optimizers import sgd

CODES = ("wrong-hyperparameter",)


def step(params, grads, state, *, lr=1e-3, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False):
    if not momentum or nesterov:
        return sgd.step(params, grads, state, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov)
    new = {}
    for name, theta in params.items():
        g = grads[name] + weight_decay * theta
        buf = state[name] = momentum * state.get(name, 0) + (1 - momentum) * g
        new[name] = theta - lr * buf
    return new
