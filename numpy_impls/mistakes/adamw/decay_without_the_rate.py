"""The weight decay is not multiplied by the learning rate.

Symptom: the weights vanish within a few hundred steps at a decay that was taken from somebody else's settings.
Why: the paper multiplies the decay by its schedule eta_t and not by the rate alpha; torch's lr is the product of
    both. A decay of 0.01 in torch at lr = 0.001 is 0.00001 in the paper's terms.
Fix: theta - lr * weight_decay * theta
"""

from numpy_impls.optimizers import adam

CODES = ("wrong-hyperparameter",)


def step(params, grads, state, *, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=1e-2, amsgrad=False):
    shrunk = {name: theta - weight_decay * theta for name, theta in params.items()}
    return adam.step(shrunk, grads, state, lr=lr, beta1=beta1, beta2=beta2, eps=eps, amsgrad=amsgrad)
