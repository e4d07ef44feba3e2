"""Gradient descent with momentum: the parameter moves by a velocity, which the gradients push.

With the gradient g, the velocity buf (torch's name: momentum buffer) and the momentum mu (everything elementwise):

    buf = g                               at the first step
    buf = mu buf + (1 - dampening) g      afterwards
    theta = theta - lr buf                heavy ball
    theta = theta - lr (g + mu buf)       Nesterov: the gradient, and where the velocity will carry it at the next step

Without momentum buf is g, and this is plain gradient descent. Conventions, all of them torch's: lr stands outside the
velocity, so that a change of lr acts at once; the first step is not dampened; weight decay is added to the gradient.
Source: Polyak 1964, "Some methods of speeding up the convergence of iteration methods", equation 9; Sutskever, Martens,
Dahl and Hinton 2013, "On the importance of initialization and momentum in deep learning", section 2; torch.optim.SGD.
"""

import numpy as np

from numpy_impls.optimizers._chunks import in_chunks, results


def step(params, grads, state, *, lr=1e-3, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False):
    """Return the parameters after one step; `params` and `grads` are left as they are.

    params, grads: dicts of arrays with the same keys and shapes. state: a dict, empty before the first step; it keeps
    "buf", the velocity of each parameter. Raises ValueError for Nesterov without momentum or with dampening, KeyError
    for a parameter without a gradient.
    """
    check(momentum, dampening, nesterov)
    velocities = state.setdefault("buf", {})
    new = {}
    for name, theta in params.items():
        g = grads[name]
        if weight_decay:
            g = g + weight_decay * theta
        if momentum:
            buf = momentum * velocities[name] + (1 - dampening) * g if name in velocities else np.array(g)
            velocities[name] = buf
            g = g + momentum * buf if nesterov else buf
        new[name] = theta - lr * g
    return new


def step_per_element(params, grads, state, *, lr=1e-3, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False):
    """The same by a loop over the elements, none of which knows of another; `state` can be shared with `step`."""
    check(momentum, dampening, nesterov)
    velocities = state.setdefault("buf", {})
    new = {}
    for name, theta in params.items():
        new[name] = np.empty_like(theta)
        first = name not in velocities
        buf = np.array(grads[name] if first else velocities[name])
        for i in np.ndindex(theta.shape):
            g = grads[name][i] + weight_decay * theta[i]
            if momentum:
                buf[i] = g if first else momentum * buf[i] + (1 - dampening) * g
                g = g + momentum * buf[i] if nesterov else buf[i]
            new[name][i] = theta[i] - lr * g
        if momentum:
            velocities[name] = buf
    return new


def step_tuned(
    params, grads, state, *, lr=1e-3, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False, out=None
):
    """The same, one chunk after the other, each pass into an array that is there already.

    Faster since a chunk stays in the cache from pass to pass, and nothing is allocated but the result. `state` cannot
    be shared with `step`. out: arrays to write the result to, which must be C-contiguous; `params` itself makes a step
    in place, as torch does.
    """
    check(momentum, dampening, nesterov)
    new = results(params, out)
    added = 1 - dampening if state.get("moving") else 1  # the first step is not dampened; buf is still zero there
    for theta, g, result, work, buf in in_chunks(params, grads, new, state, kept=1, weight_decay=weight_decay):
        if momentum:
            buf *= momentum
            buf += g if added == 1 else np.multiply(g, added, out=work)
            g = np.add(np.multiply(buf, momentum, out=work), g, out=work) if nesterov else buf
        np.multiply(g, lr, out=work)
        np.subtract(theta, work, out=result)
    state["moving"] = momentum != 0 or state.get("moving", False)
    return new


def check(momentum, dampening, nesterov):
    """Raise ValueError where Nesterov's step is asked for without the velocity that it looks ahead by."""
    if nesterov and (momentum <= 0 or dampening != 0):
        raise ValueError("nesterov needs a momentum above 0 and no dampening")
