"""The gradient of the bias is summed over the images, and not over the positions in them.

Symptom: the bias has shape (out,), its gradient (rows, columns, out), and the next step turns the bias into an image.
Why: one bias serves every position of every image, so that all of them add to its gradient.
Fix: db = dy.sum(axis=(0, 1, 2))
"""

from numpy_impls.layers import convolution as right
from numpy_impls.layers.convolution import forward

__all__ = ["CODES", "backward", "forward"]

CODES = ("wrong-shape",)


def backward(dy, cache):
    return {**right.backward(dy, cache), "b": dy.sum(axis=0)}
