"""The output's delta is y - a, the direction in which the cost falls, and the step then subtracts it.

Symptom: the cost rises at every step, and the gradient check |g - g_num| / (|g| + |g_num|) says exactly 1.
Why: the derivative of the loss by z is a - y. Its negative is the direction of descent, for `W + learning_rate * ...`;
    with `W - learning_rate * ...` the sign is there twice, and the step climbs.
Fix: dz = (a[-1] - y) / len(x)
"""

from numpy_impls.models.mlp import backward, cross_entropy, forward

CODES = ("wrong-sign",)


def loss_and_grads(params, x, y):
    z, a = forward(params, x)
    dz = -(a[-1] - y) / len(x)
    return cross_entropy(z, y), backward(params, a, dz)
