"""Adam: gradient descent whose step is the mean of the gradients over the root of their mean square.

With the gradient g at step t = 1, 2, ... (everything elementwise):

    m = beta1 m + (1 - beta1) g            mean of the gradients, fading
    v = beta2 v + (1 - beta2) g^2          mean of their squares, fading
    m_hat = m / (1 - beta1^t)              m and v start at zero and are too small at first:
    v_hat = v / (1 - beta2^t)              these undo it exactly
    theta = theta - lr m_hat / (sqrt(v_hat) + eps)

Conventions, all of them torch's: t counts from 1, eps stands outside the root, weight decay is added to the gradient
(`adamw` subtracts it from the parameter instead), and amsgrad takes the largest v so far, before its correction.
Source: Kingma and Ba 2015, "Adam: a method for stochastic optimization", algorithm 1 (arXiv:1412.6980); amsgrad: Reddi,
Kale and Kumar 2018, "On the convergence of Adam and beyond", algorithm 2 (arXiv:1904.09237); torch.optim.Adam.
"""

import numpy as np


def step(params, grads, state, *, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, amsgrad=False):
    """Return the parameters after one step; `params` and `grads` are left as they are.

    params, grads: dicts of arrays with the same keys and shapes. state: a dict, empty before the first step; it
    keeps "t" (steps made), "m", "v" and "v_max" (one array for each parameter). A parameter without a gradient
    raises KeyError.
    """
    if not state:
        state.update(t=0, m=zeros_like(params), v=zeros_like(params), v_max=zeros_like(params))
    t = state["t"] = state["t"] + 1
    new = {}
    for name, theta in params.items():
        g = grads[name]
        if weight_decay:
            g = g + weight_decay * theta
        m = state["m"][name] = beta1 * state["m"][name] + (1 - beta1) * g
        v = state["v"][name] = beta2 * state["v"][name] + (1 - beta2) * g**2
        if amsgrad:
            v = state["v_max"][name] = np.maximum(state["v_max"][name], v)
        m_hat = m / (1 - beta1**t)
        v_hat = v / (1 - beta2**t)
        new[name] = theta - lr * m_hat / (np.sqrt(v_hat) + eps)
    return new


def zeros_like(params):
    """An array of zeros for each parameter, of its shape and dtype."""
    return {name: np.zeros_like(theta) for name, theta in params.items()}
