"""What a time step passes back to the step before it is thrown away.

Symptom: W_xh is off by 100 percent, W_hh by 50, while W_hy and b_y are right. Adding 8-bit numbers is learned all the
    same, to between 99.6 and 100 percent of all pairs, so that nothing looks broken.
Why: the state h_t reaches the loss by two routes, its own output and the next state. Without the second, a step learns
    only what helps its own output, never to keep something for later. (torch: `h.detach()` in every step.)
Fix: dz = (dh_out[t] + dh_next) * f_prime(h[t + 1]), with dh_next = dz @ W_hh.T from the step after
"""

import numpy as np

from numpy_impls.recurrent.elman_rnn import ACTIVATIONS, forward, outputs, targets_by_step

CODES = ("truncated-in-time",)


def backward(params, x, h, dh_out, activation):
    grads = {name: np.zeros_like(params[name]) for name in ("W_xh", "W_hh", "b_h")}
    _, f_prime = ACTIVATIONS[activation]
    for t in reversed(range(x.shape[1])):
        dz = dh_out[t] * f_prime(h[t + 1])
        grads["W_xh"] += x[:, t].T @ dz
        grads["W_hh"] += h[t].T @ dz
        grads["b_h"] += dz.sum(axis=0)
        dh_next = dz @ params["W_hh"].T
    return grads | {"h_0": dh_next if params["h_0"].ndim == 2 else dh_next.sum(axis=0)}


def loss_and_grads(
    params, x, target, *, activation="tanh", readout="linear", loss_at="last", output_loss="squared_error"
):
    target, first = targets_by_step(params, x, target, loss_at)
    h = forward(params, x, activation)
    loss, dh_out, grads = outputs(params, h, target, first, readout, output_loss)
    return loss, grads | backward(params, x, h, dh_out, activation)
