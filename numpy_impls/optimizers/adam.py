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

from numpy_impls.optimizers._chunks import in_chunks, results


def step(params, grads, state, *, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, amsgrad=False):
    """Return the parameters after one step; `params` and `grads` are left as they are.

    params, grads: dicts of arrays with the same keys and shapes. state: a dict, empty before the first step; it keeps
    "t" (steps made), "m", "v" and "v_max" (one array for each parameter). A parameter without a gradient raises
    KeyError.
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


def step_per_element(
    params, grads, state, *, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, amsgrad=False
):
    """The same by a loop over the elements, none of which knows of another; `state` can be shared with `step`."""
    if not state:
        state.update(t=0, m=zeros_like(params), v=zeros_like(params), v_max=zeros_like(params))
    t = state["t"] = state["t"] + 1
    new = zeros_like(params)
    for name, theta in params.items():
        m, v, v_max = (np.array(state[kept][name]) for kept in ("m", "v", "v_max"))
        for i in np.ndindex(theta.shape):
            g = grads[name][i] + weight_decay * theta[i]
            m[i] = beta1 * m[i] + (1 - beta1) * g
            v[i] = beta2 * v[i] + (1 - beta2) * g**2
            v_max[i] = max(v_max[i], v[i])
            m_hat = m[i] / (1 - beta1**t)
            v_hat = (v_max[i] if amsgrad else v[i]) / (1 - beta2**t)
            new[name][i] = theta[i] - lr * m_hat / (np.sqrt(v_hat) + eps)
        state["m"][name], state["v"][name], state["v_max"][name] = m, v, v_max
    return new


def step_tuned(
    params, grads, state, *, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, amsgrad=False, out=None
):
    """The same, in ten passes over one chunk after the other, each pass into an array that is there already.

    What makes it faster: a chunk stays in the cache from pass to pass; nothing is allocated but the result; sums are
    kept in place of means (M = m / (1 - beta1), V = v / (1 - beta2)), which saves two passes; and all factors are put
    together into `rate` and `small` before any array is touched. `state` cannot be shared with `step`.
    out: arrays to write the result to; `params` itself makes a step in place, as torch does, which saves the
    allocation. They must be C-contiguous, or ValueError is raised.
    """
    new = results(params, out)
    pieces = in_chunks(params, grads, new, state, kept=3, weight_decay=weight_decay)
    step_of_chunks(pieces, state, lr, beta1, beta2, eps, amsgrad)
    return new


def step_of_chunks(pieces, state, lr, beta1, beta2, eps, amsgrad, shrink=1.0):
    """Write the new parameters into the pieces' results; each theta is multiplied by `shrink` first (for `adamw`)."""
    t = state["t"] = state.get("t", 0) + 1
    root = ((1 - beta2) / (1 - beta2**t)) ** 0.5  # sqrt(v_hat) = root sqrt(V)
    rate = lr * (1 - beta1) / (1 - beta1**t) / root
    small = eps / root
    for theta, g, result, work, M, V, V_max in pieces:
        M *= beta1
        M += g
        V *= beta2
        V += np.multiply(g, g, out=work)
        if amsgrad:
            V = np.maximum(V, V_max, out=V_max)
        np.sqrt(V, out=work)
        work += small
        np.divide(M, work, out=work)
        work *= rate
        if shrink != 1:
            theta = np.multiply(theta, shrink, out=result)
        np.subtract(theta, work, out=result)
