"""The last step, in which the carry comes out, is left out of the loss.

Symptom: the loss is too small, and every gradient is off, by 45 to 470 percent; training still ends with a network
    that adds, since the step that it learns for one digit serves the next one too.
Why: the sum of two numbers of n bits has n + 1 bits, so that there are n + 1 terms in the loss. Without the last one,
    the network is trained on the sum modulo 2^n.
Fix: all n_bits + 1 steps of `examples`
"""

from numpy_impls.models.binary_addition import OPTIONS, examples
from numpy_impls.recurrent import elman_rnn

CODES = ("wrong-term-weight",)


def loss_and_grads(params, a, b, n_bits=8):
    x, target = examples(a, b, n_bits, params["W_hh"].dtype)
    return elman_rnn.loss_and_grads(params, x[:, :n_bits], target[:, :n_bits], **OPTIONS)
