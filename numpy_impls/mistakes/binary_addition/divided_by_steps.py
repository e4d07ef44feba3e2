"""The gradient is divided by the number of steps, the loss is not.

Symptom: every gradient is too small by the same factor, the number of steps T; the gradient check
    |g - g_num| / (|g| + |g_num|) says (T - 1) / (T + 1), 0.8 for nine steps. Adam's steps do not depend on the
    gradients' size, so that training shows nothing; gradient descent would be nine times slower.
Why: the loss is a mean over samples and a sum over steps, and its gradient is as well: either both are divided by the
    number of steps or neither is.
Fix: return loss, grads, neither of them divided
"""

from numpy_impls.models import binary_addition

CODES = ("wrong-scale",)


def loss_and_grads(params, a, b, n_bits=8):
    loss, grads = binary_addition.loss_and_grads(params, a, b, n_bits)
    return loss, {name: value / (n_bits + 1) for name, value in grads.items()}
