"""The whole gradient is divided by one number, its standard deviation, and nothing is kept from step to step.

Symptom: the picture comes out, slowly, and is taken for Adam's.
Why: it is the tutorial's step, `image -= grad * step / (std(grad) + 1e-8)`: gradient descent at a rate that fits the
    gradient's size. Entries with small gradients move little; Adam divides each by its own size, and takes the mean
    of the last gradients for the direction.
Fix: Adam's two moments for each entry, and their corrections
"""

import numpy as np

CODES = ("different-function",)


def step(params, grads, state, *, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    return {name: theta - lr * grads[name] / (np.std(grads[name]) + eps) for name, theta in params.items()}
