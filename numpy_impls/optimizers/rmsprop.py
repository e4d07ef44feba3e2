"""RMSprop: gradient descent whose step is the gradient over the root of its fading mean square.

With the gradient g (everything elementwise):

    v = alpha v + (1 - alpha) g^2                     mean of the squares, fading; from zero, and not corrected for it
    d = g / (sqrt(v) + eps)
    centered: m = alpha m + (1 - alpha) g,  d = g / (sqrt(v - m^2) + eps)      the variance in place of the mean square
    theta = theta - lr d
    with momentum mu: buf = mu buf + d,  theta = theta - lr buf

Conventions, all of them torch's: eps stands outside the root; the momentum gathers scaled gradients, so that lr acts at
once; weight decay is added to the gradient.
Source: Hinton, Srivastava and Swersky 2012, "Neural networks for machine learning", lecture 6e; centered: Graves 2013,
"Generating sequences with recurrent neural networks", equations 38 to 45 (arXiv:1308.0850); torch.optim.RMSprop.
"""

import numpy as np

from numpy_impls.optimizers._chunks import in_chunks, results


def step(params, grads, state, *, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False):
    """Return the parameters after one step; `params` and `grads` are left as they are.

    params, grads: dicts of arrays with the same keys and shapes. state: a dict, empty before the first step; it keeps
    "v", "m" and "buf" (one array for each parameter). A parameter without a gradient raises KeyError.
    """
    if not state:
        state.update(v=zeros_like(params), m=zeros_like(params), buf=zeros_like(params))
    new = {}
    for name, theta in params.items():
        g = grads[name]
        if weight_decay:
            g = g + weight_decay * theta
        v = state["v"][name] = alpha * state["v"][name] + (1 - alpha) * g**2
        if centered:
            m = state["m"][name] = alpha * state["m"][name] + (1 - alpha) * g
            v = v - m**2
        d = g / (np.sqrt(v) + eps)
        if momentum:
            d = state["buf"][name] = momentum * state["buf"][name] + d
        new[name] = theta - lr * d
    return new


def step_per_element(
    params, grads, state, *, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False
):
    """The same by a loop over the elements, none of which knows of another; `state` can be shared with `step`."""
    if not state:
        state.update(v=zeros_like(params), m=zeros_like(params), buf=zeros_like(params))
    new = zeros_like(params)
    for name, theta in params.items():
        v, m, buf = (np.array(state[kept][name]) for kept in ("v", "m", "buf"))
        for i in np.ndindex(theta.shape):
            g = grads[name][i] + weight_decay * theta[i]
            v[i] = alpha * v[i] + (1 - alpha) * g**2
            m[i] = alpha * m[i] + (1 - alpha) * g
            scale = np.sqrt(v[i] - m[i] ** 2 if centered else v[i]) + eps
            buf[i] = momentum * buf[i] + g / scale
            new[name][i] = theta[i] - lr * buf[i]
        state["v"][name], state["m"][name], state["buf"][name] = v, m, buf
    return new


def step_tuned(
    params, grads, state, *, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False, out=None
):
    """The same, one chunk after the other, each pass into an array that is there already.

    Faster since a chunk stays in the cache from pass to pass, nothing is allocated but the result, and sums are kept in
    place of means (V = v / (1 - alpha), M = m / (1 - alpha)), their factors put into `rate` and `small`. `state` cannot
    be shared with `step`. out: arrays to write the result to, which must be C-contiguous; `params` itself makes a step
    in place, as torch does.
    """
    new = results(params, out)
    root = (1 - alpha) ** 0.5  # sqrt(v) = root sqrt(V)
    rate, small = lr / root, eps / root
    for theta, g, result, work, V, M, buf in in_chunks(params, grads, new, state, kept=3, weight_decay=weight_decay):
        V *= alpha
        V += np.multiply(g, g, out=work)
        if centered:
            M *= alpha
            M += g
            np.multiply(M, M, out=work)
            work *= alpha - 1
            np.sqrt(np.add(V, work, out=work), out=work)
        else:
            np.sqrt(V, out=work)
        work += small
        d = np.divide(g, work, out=work)  # root times what is d in `step`
        if momentum:
            buf *= momentum
            buf += d
            d = buf
        np.multiply(d, rate, out=work)
        np.subtract(theta, work, out=result)
    return new


def zeros_like(params):
    """An array of zeros for each parameter, of its shape and dtype."""
    return {name: np.zeros_like(theta) for name, theta in params.items()}
