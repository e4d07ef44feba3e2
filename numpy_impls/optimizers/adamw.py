"""AdamW: Adam whose weight decay shrinks the parameter itself, and stays out of both moments.

    theta = theta - lr weight_decay theta         then, with the moments of the gradient alone,
    theta = theta - lr m_hat / (sqrt(v_hat) + eps)

In Adam the decay is part of the gradient and is divided by sqrt(v_hat) with it: parameters with large gradients hardly
decay. Here all of them shrink by the same factor. Conventions, torch's: the decay is multiplied by lr, and comes first.
Source: Loshchilov and Hutter 2019, "Decoupled weight decay regularization", algorithm 2 (arXiv:1711.05101), where lr is
written eta_t alpha and the decay is multiplied by eta_t only; torch.optim.AdamW.
"""

import numpy as np

from numpy_impls.optimizers import adam
from numpy_impls.optimizers._chunks import in_chunks, results


def step(params, grads, state, *, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=1e-2, amsgrad=False):
    """Return the parameters after one step; `params` and `grads` are left as they are.

    params, grads: dicts of arrays with the same keys and shapes. state: a dict, empty before the first step, kept by
    `adam.step`. A parameter without a gradient raises KeyError.
    """
    shrunk = {name: theta - lr * weight_decay * theta for name, theta in params.items()}
    return adam.step(shrunk, grads, state, lr=lr, beta1=beta1, beta2=beta2, eps=eps, amsgrad=amsgrad)


def step_per_element(
    params, grads, state, *, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=1e-2, amsgrad=False
):
    """The same by a loop over the elements, none of which knows of another; `state` can be shared with `step`."""
    shrunk = {name: np.array(theta) for name, theta in params.items()}
    for theta in shrunk.values():
        for i in np.ndindex(theta.shape):
            theta[i] = theta[i] - lr * weight_decay * theta[i]
    return adam.step_per_element(shrunk, grads, state, lr=lr, beta1=beta1, beta2=beta2, eps=eps, amsgrad=amsgrad)


def step_tuned(
    params, grads, state, *, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=1e-2, amsgrad=False, out=None
):
    """The same, faster as `adam.step_tuned` is, and with its `out`; the decay is one more pass over each chunk.

    `state` cannot be shared with `step`.
    """
    new = results(params, out)
    pieces = in_chunks(params, grads, new, state, kept=3)
    adam.step_of_chunks(pieces, state, lr, beta1, beta2, eps, amsgrad, shrink=1 - lr * weight_decay)
    return new
