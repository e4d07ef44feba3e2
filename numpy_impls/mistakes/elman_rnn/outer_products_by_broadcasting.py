"""A weight's gradient is written as a column times a row with `*`, which holds for one sample alone.

Symptom: the posted answer's `x.T * d` is right to 1e-16 with one sample; with five it raises, since (8, 5) and
    (5, 16) do not broadcast.
Why: for one sample, (k, 1) * (1, l) broadcasts to the outer product (k, l). For more, the outer products have to be
    added up over the samples, which is what the matrix product (k, n) @ (n, l) does.
Fix: grads["W_xh"] += x[:, t].T @ dz, and the same for W_hh
"""

import numpy as np

from numpy_impls.recurrent.elman_rnn import ACTIVATIONS, forward, outputs, targets_by_step

CODES = ("raised",)


def backward(params, x, h, dh_out, activation):
    grads = {name: np.zeros_like(params[name]) for name in ("W_xh", "W_hh", "b_h")}
    _, f_prime = ACTIVATIONS[activation]
    dh_next = 0
    for t in reversed(range(x.shape[1])):
        dz = (dh_out[t] + dh_next) * f_prime(h[t + 1])
        grads["W_xh"] += x[:, t].T * dz
        grads["W_hh"] += h[t].T * dz
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
