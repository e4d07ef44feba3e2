"""The function that computes the gradient takes a step with it as well, in the caller's own array.

Symptom: the content photograph changes along with the picture, so that content and result are the same image at last.
Why: `-=` on an array changes the array, and that is the one which the caller goes on with: here, the photograph from
    which the descent starts.
Fix: leave `params` alone, and return the gradient; the optimizer makes a new array
"""

from numpy_impls.models import style_transfer
from numpy_impls.models.style_transfer import step

__all__ = ["CODES", "loss_and_grads", "step"]

CODES = ("input-modified",)


def loss_and_grads(params, *data, **weights):
    loss, grads = style_transfer.loss_and_grads(params, *data, **weights)
    params["image"] -= 0.02 * grads["image"]
    return loss, grads
