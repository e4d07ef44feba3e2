"""The way back slides the filters over the output gradient as the way there slides them over the image.

Symptom: `x` fails while `W` and `b` pass, and everything passes with symmetric filters, such as those of ones.
Why: y[r, c] reads the pixel (r + i, c + j) through the tap W[i, j], so that dy[r, c] goes back to that pixel through
    the same tap. Seen from the pixel, the filter lies upside down and mirrored.
Fix: dy @ W[i, j].T, in place of W[-1 - i, -1 - j]
"""

import numpy as np

from numpy_impls.layers.convolution import forward, windows

__all__ = ["CODES", "backward", "forward"]

CODES = ("flipped",)


def input_gradient(dy, cache):
    x, W, stride, padding = cache
    _, rows, columns, _ = dy.shape
    dx = np.zeros(x.shape, dy.dtype)
    for i in range(W.shape[0]):
        for j in range(W.shape[1]):
            dx[:, i : i + stride * rows : stride, j : j + stride * columns : stride] += dy @ W[-1 - i, -1 - j].T
    return dx[:, padding : x.shape[1] - padding, padding : x.shape[2] - padding]


def backward(dy, cache):
    x, W, stride, _ = cache
    dW = np.tensordot(windows(x, W, stride), dy, axes=((0, 1, 2), (0, 1, 2)))
    return {"x": input_gradient(dy, cache), "W": dW, "b": dy.sum(axis=(0, 1, 2))}
