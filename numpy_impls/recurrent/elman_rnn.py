"""An Elman network: a state carried from step to step, trained by backpropagation through time.

For the steps t = 1 ... T, from the first state h_0:

    z_t = x_t W_xh + h_{t-1} W_hh + b_h,  h_t = f(z_t)    f is tanh, sigmoid or linear
    o_t = g(h_t) W_hy + b_y,              y_t = s(o_t)    g is linear, unless `readout` says otherwise
    loss = 1/n sum over samples, outputs and steps of  (y_t - target_t)^2 / 2, or of the cross-entropy

    dh_t = do_t W_hy' * g'(h_t) + dz_{t+1} W_hh'          two routes: this step's output, and the next step's state
    dz_t = dh_t * f'(z_t)
    dW_xh = sum of x_t' dz_t,  dW_hh = sum of h_{t-1}' dz_t,  db_h = sum of dz_t,  dh_0 = dz_1 W_hh'

Conventions: mean over samples, sum over outputs and steps; the loss is taken at the last step or at every step.
`params`: W_xh (inputs, hidden), W_hh (hidden, hidden), b_h (hidden,), W_hy (hidden, outputs), b_y (outputs,), and the
first state h_0: (batch, hidden), one for each sample, or (hidden,), shared by all.
Source: Elman 1990, "Finding structure in time" (Cognitive Science 14); Werbos 1990, "Backpropagation through time: what
it does and how to do it" (Proceedings of the IEEE 78); torch.nn.RNN has the same state, with W_xh' and W_hh'.
"""

import numpy as np

from numpy_impls.models.mlp import sigmoid

# By name: the function, and its derivative as a function of its value.
ACTIVATIONS = {
    "tanh": (np.tanh, lambda h: 1 - h * h),
    "sigmoid": (sigmoid, lambda h: h * (1 - h)),
    "linear": (lambda z: z, np.ones_like),
}


def squared_error(o, target):
    """Half the squared error of y = sigmoid(o), summed over all entries, and its gradient, of the shape of `o`."""
    y = sigmoid(o)
    e = y - target
    return np.sum(e * e) / 2, e * y * (1 - y)


def cross_entropy(o, target):
    """The cross-entropy of sigmoid(o), summed over all entries, and its gradient, in which s' has cancelled."""
    return np.sum(np.maximum(o, 0) - o * target + np.log1p(np.exp(np.minimum(o, -o)))), sigmoid(o) - target


LOSSES = {"squared_error": squared_error, "cross_entropy": cross_entropy}


def targets_by_step(params, x, target, loss_at):
    """Return the target as (batch, steps with a loss, outputs), and the index of the first step that has a loss.

    Raises ValueError where the target's shape is not that of the outputs (NumPy would make (n, n) of (n,) and (n, 1)),
    and where h_0 has the first states of another number of samples.
    """
    n, steps, outputs = *x.shape[:2], params["W_hy"].shape[1]
    if params["h_0"].ndim == 2 and len(params["h_0"]) != n:
        raise ValueError(f"h_0 holds the first states of {len(params['h_0'])} samples, the batch has {n}")
    first, shape = {"last": (steps - 1, (n, outputs)), "every": (0, (n, steps, outputs))}[loss_at]
    if target.shape != shape:
        raise ValueError(f"the target has shape {target.shape}; with loss_at={loss_at!r} it must be {shape}")
    return target.reshape(n, steps - first, outputs), first


def forward(params, x, activation="tanh"):
    """Return the states, a list: h[0] is the first, h[t + 1] (batch, hidden) the one after step t, for x[:, t]."""
    f, _ = ACTIVATIONS[activation]
    h = [np.broadcast_to(params["h_0"], (len(x), len(params["W_hh"])))]
    for t in range(x.shape[1]):
        h.append(f(x[:, t] @ params["W_xh"] + h[t] @ params["W_hh"] + params["b_h"]))  # (batch, hidden)
    return h


def outputs(params, h, target, first, readout, output_loss):
    """Return the loss, dh_out by step (what reaches each state from its own output), and the gradients of W_hy, b_y."""
    (g, g_prime), n = ACTIVATIONS[readout], len(target)
    loss, dh_out = 0, [np.zeros_like(state) for state in h[1:]]
    grads = {name: np.zeros_like(params[name]) for name in ("W_hy", "b_y")}
    for t in range(first, len(dh_out)):
        r = g(h[t + 1])  # (batch, hidden)
        loss_t, do = LOSSES[output_loss](r @ params["W_hy"] + params["b_y"], target[:, t - first])
        loss, do = loss + loss_t / n, do / n  # do: (batch, outputs)
        grads["W_hy"] += r.T @ do
        grads["b_y"] += do.sum(axis=0)
        dh_out[t] = do @ params["W_hy"].T * g_prime(r)
    return loss, dh_out, grads


def backward(params, x, h, dh_out, activation):
    """Return the gradients of W_xh, W_hh, b_h and h_0, from the states h and what reaches each from its own output."""
    grads = {name: np.zeros_like(params[name]) for name in ("W_xh", "W_hh", "b_h")}
    _, f_prime = ACTIVATIONS[activation]
    dh_next = 0  # nothing comes from beyond the last step
    for t in reversed(range(x.shape[1])):
        dz = (dh_out[t] + dh_next) * f_prime(h[t + 1])  # (batch, hidden)
        grads["W_xh"] += x[:, t].T @ dz
        grads["W_hh"] += h[t].T @ dz  # h[t] went into step t, h[t + 1] came out
        grads["b_h"] += dz.sum(axis=0)
        dh_next = dz @ params["W_hh"].T
    return grads | {"h_0": dh_next if params["h_0"].ndim == 2 else dh_next.sum(axis=0)}


def loss_and_grads(
    params, x, target, *, activation="tanh", readout="linear", loss_at="last", output_loss="squared_error"
):
    """Return the loss and the gradient of each parameter.

    x: (batch, steps, inputs). target: (batch, outputs) for loss_at="last", (batch, steps, outputs) for "every".
    Raises ValueError where shapes do not fit, KeyError for an option of another name.
    """
    target, first = targets_by_step(params, x, target, loss_at)
    h = forward(params, x, activation)
    loss, dh_out, grads = outputs(params, h, target, first, readout, output_loss)
    return loss, grads | backward(params, x, h, dh_out, activation)


def loss_and_grads_per_sample(
    params, x, target, *, activation="tanh", readout="linear", loss_at="last", output_loss="squared_error"
):
    """The same, one sample after the other: a weight's gradient is the outer product of what comes in and dz."""
    target, first = targets_by_step(params, x, target, loss_at)
    (f, f_prime), (g, g_prime), n = ACTIVATIONS[activation], ACTIVATIONS[readout], len(x)
    loss, grads = 0, {name: np.zeros_like(value) for name, value in params.items()}
    for i in range(n):
        h = [params["h_0"][i] if params["h_0"].ndim == 2 else params["h_0"]]
        for x_t in x[i]:
            h.append(f(x_t @ params["W_xh"] + h[-1] @ params["W_hh"] + params["b_h"]))  # (hidden,)
        dh = np.zeros_like(h[0])
        for t in reversed(range(len(x[i]))):
            if t >= first:
                r = g(h[t + 1])
                loss_t, do = LOSSES[output_loss](r @ params["W_hy"] + params["b_y"], target[i, t - first])
                loss, do = loss + loss_t / n, do / n  # do: (outputs,)
                grads["W_hy"] += np.outer(r, do)
                grads["b_y"] += do
                dh += params["W_hy"] @ do * g_prime(r)
            dz = dh * f_prime(h[t + 1])
            grads["W_xh"] += np.outer(x[i, t], dz)
            grads["W_hh"] += np.outer(h[t], dz)
            grads["b_h"] += dz
            dh = params["W_hh"] @ dz  # (hidden,)
        if params["h_0"].ndim == 2:
            grads["h_0"][i] = dh
        else:
            grads["h_0"] += dh
    return loss, grads


def loss_and_grads_tuned(
    params, x, target, *, activation="tanh", readout="linear", loss_at="last", output_loss="squared_error"
):
    """The same, with nothing in the two loops over time but what must be there: the products with W_hh, and f.

    Faster since all steps' inputs, outputs, slopes and weight gradients are one call each, over (steps * batch) rows,
    instead of one a step. Time comes first, so that the rows of one step lie together. States and deltas share one
    allocation: two of half the size are given back to the system at every call, and fetched anew page by page. `dot`
    costs a third of `@` to call, up to a third less where both operands lie row by row (hence the copy of W_hh'), and
    ones.dot(dz) is the sum over rows by the fast library routine. Large products go in blocks, see `step_product`.
    """
    target, first = targets_by_step(params, x, target, loss_at)
    (f, f_prime), (g, g_prime) = ACTIVATIONS[activation], ACTIVATIONS[readout]
    (n, steps, _), hidden, W_hh, W_hy = x.shape, len(params["W_hh"]), params["W_hh"], params["W_hy"]
    rows = (steps * n, hidden)
    h, dz = np.empty((2, steps + 1, n, hidden), W_hh.dtype)
    h[0], dz = params["h_0"], dz[1:]

    x = x.transpose(1, 0, 2).reshape(steps * n, -1)
    z = np.matmul(x, params["W_xh"], out=h[1:].reshape(rows))  # in the place of the states that are made of it
    z += params["b_h"]
    for h_before, h_t in zip(h[:-1], h[1:], strict=True):
        h_t += step_product(h_before, W_hh)
        h_t[:] = f(h_t)

    r = g(h[first + 1 :]).reshape(-1, hidden)  # (steps with a loss * batch, hidden)
    o = r @ W_hy + params["b_y"]
    loss, do = LOSSES[output_loss](o, target.transpose(1, 0, 2).reshape(o.shape))
    do /= n
    dh = np.matmul(do, W_hy.T, out=dz[first:].reshape(r.shape))
    if readout != "linear":
        dh *= g_prime(r)
    dz[:first] = 0

    dh_next, W_hh_transposed = 0, W_hh.T.copy()
    for dz_t, slope in zip(dz[::-1], f_prime(h[1:])[::-1], strict=True):
        dz_t += dh_next
        dz_t *= slope
        dh_next = step_product(dz_t, W_hh_transposed)
    dz = dz.reshape(rows)
    return loss / n, {
        "W_xh": x.T @ dz,
        "W_hh": h[:-1].reshape(rows).T @ dz,
        "b_h": np.ones(len(dz), dz.dtype).dot(dz),
        "W_hy": r.T @ do,
        "b_y": do.sum(axis=0),
        "h_0": dh_next if params["h_0"].ndim == 2 else dh_next.sum(axis=0),
    }


def step_product(rows, W):
    """rows @ W, for the (batch, hidden) rows of one step.

    OpenBLAS copies W into a layout of its own first, at every step anew, unless a product has less than about a million
    multiplications: a large one is a fifth faster in blocks of 8 rows.
    """
    if len(rows) % 8 or len(rows) * W.size < 1_000_000:
        return rows.dot(W)
    return np.matmul(rows.reshape(-1, 8, len(W)), W).reshape(rows.shape)
