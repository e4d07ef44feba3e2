"""The first state has no gradient.

Symptom: KeyError in an optimizer that wants a gradient for each parameter; with one that skips what has none, training
    works, and the first state stays where it began.
Why: h_0 is an input of the first step like any other, and what is left in dh_next after the loop is its gradient; it is
    computed and then not returned. Where an encoder makes h_0, as in translation, the encoder would learn nothing.
Fix: return loss, grads, with h_0 among them
"""

from numpy_impls.recurrent import elman_rnn

CODES = ("missing-gradient",)


def loss_and_grads(params, x, target, **options):
    loss, grads = elman_rnn.loss_and_grads(params, x, target, **options)
    return loss, {name: value for name, value in grads.items() if name != "h_0"}
