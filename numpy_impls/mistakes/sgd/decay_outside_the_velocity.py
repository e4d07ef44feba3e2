"""The weight decay shrinks the parameter and does not push its velocity.

Symptom: without momentum nothing; with a momentum of 0.9 the weights decay ten times too slowly.
Why: torch's weight decay is the gradient of weight_decay / 2 theta^2 and is treated as every other part of the
    gradient: what the velocity adds up of it moves the parameter at later steps too. (Decay outside the moments is
    what AdamW does.)
Fix: g = g + weight_decay * theta, before the velocity
"""

from numpy_impls.optimizers import sgd

CODES = ("decay-misplaced",)


def step(params, grads, state, *, lr=1e-3, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False):
    new = sgd.step(params, grads, state, lr=lr, momentum=momentum, dampening=dampening, nesterov=nesterov)
    return {name: new[name] - lr * weight_decay * theta for name, theta in params.items()}
