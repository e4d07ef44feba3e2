"""The output's delta is multiplied by the sigmoid's derivative, which the cross-entropy has cancelled already.

Symptom: every gradient is 73 to 76 percent too small at the start. Adding is still learned, since Adam divides by the
    gradients' size; the longer it trains, the less a wrong bit counts.
Why: the cross-entropy's derivative by y is (y - target) / (y (1 - y)), the sigmoid's is y (1 - y): their product is
    y - target. With half the squared error in the cross-entropy's place, y (1 - y) would belong there.
Fix: do = y - target
"""

import numpy as np

from numpy_impls.models.binary_addition import OPTIONS, examples
from numpy_impls.models.mlp import sigmoid
from numpy_impls.recurrent import elman_rnn

CODES = ("extra-derivative",)


def cross_entropy(o, target):
    y = sigmoid(o)
    loss, do = elman_rnn.cross_entropy(o, target)
    return loss, do * y * (1 - y)


def loss_and_grads(params, a, b, n_bits=8):
    x, target = examples(a, b, n_bits, params["W_hh"].dtype)
    h = elman_rnn.forward(params, x, OPTIONS["activation"])
    loss, grads, dh_out = 0, {name: np.zeros_like(params[name]) for name in ("W_hy", "b_y")}, []
    for t in range(n_bits + 1):
        loss_t, do = cross_entropy(h[t + 1] @ params["W_hy"] + params["b_y"], target[:, t])
        loss, do = loss + loss_t / len(a), do / len(a)
        grads["W_hy"] += h[t + 1].T @ do
        grads["b_y"] += do.sum(axis=0)
        dh_out.append(do @ params["W_hy"].T)
    return loss, grads | elman_rnn.backward(params, x, h, dh_out, OPTIONS["activation"])
