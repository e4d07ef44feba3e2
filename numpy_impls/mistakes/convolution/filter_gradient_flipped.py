"""The gradient of the filters comes out turned by 180 degrees.

Symptom: `W` fails while `x` and `b` pass; the right numbers are all there, in the opposite order along both axes.
Why: the layer is a cross-correlation, in which the tap W[i, j] meets the pixel (r + i, c + j). The formula of a
    convolution in the mathematical sense, where it meets (r - i, c - j), turns the filter round.
Fix: return dW as it is
"""

import numpy as np

from numpy_impls.layers.convolution import forward, input_gradient, windows

__all__ = ["CODES", "backward", "forward"]

CODES = ("flipped",)


def backward(dy, cache):
    x, W, stride, _ = cache
    dW = np.tensordot(windows(x, W, stride), dy, axes=((0, 1, 2), (0, 1, 2)))
    return {"x": input_gradient(dy, cache), "W": dW[::-1, ::-1], "b": dy.sum(axis=(0, 1, 2))}
