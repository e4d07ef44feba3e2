"""In the loop over time the gradient of W_hh is assigned, not added up.

Symptom: W_hh alone is off, by 70 percent. Adding 8-bit numbers is learned to between 99.8 and 100 percent of all pairs.
Why: one W_hh serves every step, so that its gradient is the sum over the steps. `=` leaves the contribution of the step
    that the loop comes to last; it runs backwards, so that this is the first step, which sees only h_0.
Fix: grads["W_hh"] += h[t].T @ dz
"""

import numpy as np

from numpy_impls.recurrent.elman_rnn import ACTIVATIONS, forward, outputs, targets_by_step

CODES = ("last-step-only",)


def backward(params, x, h, dh_out, activation):
    grads = {name: np.zeros_like(params[name]) for name in ("W_xh", "W_hh", "b_h")}
    _, f_prime = ACTIVATIONS[activation]
    dh_next = 0
    for t in reversed(range(x.shape[1])):
        dz = (dh_out[t] + dh_next) * f_prime(h[t + 1])
        grads["W_xh"] += x[:, t].T @ dz
        grads["W_hh"] = h[t].T @ dz
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
