"""The gradient is carried back through W_hh as it stands, not through its transpose.

Symptom: W_xh is off by 65 percent, W_hh by 28. The shapes fit, since W_hh is square; of the sums of 8-bit numbers
    between 63 and 100 percent are learned, depending on the start.
Why: forwards, unit j of h_t gets W_hh[i, j] times unit i of h_{t-1}; backwards unit i gets it from unit j.
Fix: dh_next = dz @ params["W_hh"].T
"""

import numpy as np

from numpy_impls.recurrent.elman_rnn import ACTIVATIONS, forward, outputs, targets_by_step

CODES = ("not-transposed",)


def backward(params, x, h, dh_out, activation):
    grads = {name: np.zeros_like(params[name]) for name in ("W_xh", "W_hh", "b_h")}
    _, f_prime = ACTIVATIONS[activation]
    dh_next = 0
    for t in reversed(range(x.shape[1])):
        dz = (dh_out[t] + dh_next) * f_prime(h[t + 1])
        grads["W_xh"] += x[:, t].T @ dz
        grads["W_hh"] += h[t].T @ dz
        grads["b_h"] += dz.sum(axis=0)
        dh_next = dz @ params["W_hh"]
    return grads | {"h_0": dh_next if params["h_0"].ndim == 2 else dh_next.sum(axis=0)}


def loss_and_grads(
    params, x, target, *, activation="tanh", readout="linear", loss_at="last", output_loss="squared_error"
):
    target, first = targets_by_step(params, x, target, loss_at)
    h = forward(params, x, activation)
    loss, dh_out, grads = outputs(params, h, target, first, readout, output_loss)
    return loss, grads | backward(params, x, h, dh_out, activation)
