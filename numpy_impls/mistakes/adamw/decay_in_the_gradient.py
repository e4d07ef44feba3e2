"""The weight decay is added to the gradient, as in Adam.

Symptom: `weight_decay` does much less than it should for weights with large gradients, and more for the others.
Why: in the gradient the decay is divided by sqrt(v_hat) with it, and so is measured in units of the gradient's size.
    That was the reason for AdamW: all weights are to shrink by the same factor.
Fix: theta - lr * weight_decay * theta, then Adam's step without any decay
"""

from numpy_impls.optimizers import adam

CODES = ("decay-misplaced",)


def step(params, grads, state, *, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=1e-2, amsgrad=False):
    return adam.step(
        params,
        grads,
        state,
        lr=lr,
        beta1=beta1,
        beta2=beta2,
        eps=eps,
        weight_decay=weight_decay,
        amsgrad=amsgrad,
    )
