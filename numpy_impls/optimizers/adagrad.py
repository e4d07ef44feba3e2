"""Adagrad: gradient descent in which every entry has a rate of its own, smaller the more that entry has moved.

With the gradient g at step t = 1, 2, ... (everything elementwise):

    G = G + g^2                                       from initial_accumulator_value; G never falls
    theta = theta - lr_t g / (sqrt(G) + eps)          lr_t = lr / (1 + (t - 1) lr_decay)

Entries whose gradients are rare keep a large rate; the others' rates fall as 1 / sqrt(t). Conventions, all of them
torch's: eps stands outside the root, the first step has the full rate, weight decay is added to the gradient.
Source: Duchi, Hazan and Singer 2011, "Adaptive subgradient methods for online learning and stochastic optimization"
(JMLR 12), figure 1 with the diagonal matrix; torch.optim.Adagrad.
"""

import numpy as np

from numpy_impls.optimizers._chunks import in_chunks, results


def step(params, grads, state, *, lr=1e-2, lr_decay=0.0, weight_decay=0.0, initial_accumulator_value=0.0, eps=1e-10):
    """Return the parameters after one step; `params` and `grads` are left as they are.

    params, grads: dicts of arrays with the same keys and shapes. state: a dict, empty before the first step; it keeps
    "t" (steps made) and "G" (an array for each parameter). A parameter without a gradient raises KeyError.
    """
    if not state:
        state.update(t=0, G=full_like(params, initial_accumulator_value))
    t = state["t"] = state["t"] + 1
    lr_t = lr / (1 + (t - 1) * lr_decay)
    new = {}
    for name, theta in params.items():
        g = grads[name]
        if weight_decay:
            g = g + weight_decay * theta
        G = state["G"][name] = state["G"][name] + g**2
        new[name] = theta - lr_t * g / (np.sqrt(G) + eps)
    return new


def step_per_element(
    params, grads, state, *, lr=1e-2, lr_decay=0.0, weight_decay=0.0, initial_accumulator_value=0.0, eps=1e-10
):
    """The same by a loop over the elements, none of which knows of another; `state` can be shared with `step`."""
    if not state:
        state.update(t=0, G=full_like(params, initial_accumulator_value))
    t = state["t"] = state["t"] + 1
    lr_t = lr / (1 + (t - 1) * lr_decay)
    new = {}
    for name, theta in params.items():
        new[name] = np.empty_like(theta)
        G = state["G"][name] = np.array(state["G"][name])
        for i in np.ndindex(theta.shape):
            g = grads[name][i] + weight_decay * theta[i]
            G[i] = G[i] + g**2
            new[name][i] = theta[i] - lr_t * g / (np.sqrt(G[i]) + eps)
    return new


def step_tuned(
    params,
    grads,
    state,
    *,
    lr=1e-2,
    lr_decay=0.0,
    weight_decay=0.0,
    initial_accumulator_value=0.0,
    eps=1e-10,
    out=None,
):
    """The same, one chunk after the other, each pass into an array that is there already.

    Faster since a chunk stays in the cache from pass to pass, and nothing is allocated but the result. `state` cannot
    be shared with `step`. out: arrays to write the result to, which must be C-contiguous; `params` itself makes a step
    in place, as torch does.
    """
    t = state["t"] = state.get("t", 0) + 1
    lr_t = lr / (1 + (t - 1) * lr_decay)
    new = results(params, out)
    pieces = in_chunks(params, grads, new, state, kept=1, weight_decay=weight_decay, fill=initial_accumulator_value)
    for theta, g, result, work, G in pieces:
        G += np.multiply(g, g, out=work)
        np.sqrt(G, out=work)
        work += eps
        np.divide(g, work, out=work)
        work *= lr_t
        np.subtract(theta, work, out=result)
    return new


def full_like(params, value):
    """An array for each parameter, of its shape and dtype, filled with `value`."""
    return {name: np.full_like(theta, value) for name, theta in params.items()}
