"""The first state has no gradient.

Symptom: KeyError in an optimizer that wants a gradient for each parameter; with one that skips what has none, training
    works, and the first state stays where it began.
Why: h_0 is an input of the first step like any other. What is left in dh_next after the loop is its gradient; it is
    computed and then not returned. Where an encoder makes h_0, as in translation, the encoder would learn nothing.
Fix: return grads | {"h_0": dh_next}
"""

import numpy as np

from numpy_impls.recurrent.elman_rnn import ACTIVATIONS, forward, outputs, targets_by_step

CODES = ("missing-gradient",)


def backward(params, x, h, dh_out, activation):
    grads = {name: np.zeros_like(params[name]) for name in ("W_xh", "W_hh", "b_h")}
    _, f_prime = ACTIVATIONS[activation]
    dh_next = 0
    for t in reversed(range(x.shape[1])):
        dz = (dh_out[t] + dh_next) * f_prime(h[t + 1])
        grads["W_xh"] += x[:, t].T @ dz
        grads["W_hh"] += h[t].T @ dz
        grads["b_h"] += dz.sum(axis=0)
        dh_next = dz @ params["W_hh"].T
    return grads


def loss_and_grads(
    params, x, target, *, activation="tanh", readout="linear", loss_at="last", output_loss="squared_error"
):
    target, first = targets_by_step(params, x, target, loss_at)
    h = forward(params, x, activation)
    loss, dh_out, grads = outputs(params, h, target, first, readout, output_loss)
    return loss, grads | backward(params, x, h, dh_out, activation)
