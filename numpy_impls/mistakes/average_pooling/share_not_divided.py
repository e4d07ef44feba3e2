"""Every pixel of a window gets the whole gradient of its mean, not its share.

Symptom: what lies before the pooling learns size^2 times too fast, four times at each usual layer.
Why: the mean of size^2 pixels changes by 1 / size^2 of what one of them changes by.
Fix: share = dy / size**2, and each pixel of the window gets it
"""

import numpy as np

from numpy_impls.layers.average_pooling import forward

__all__ = ["CODES", "backward", "forward"]

CODES = ("wrong-scale",)


def backward(dy, cache):
    shape, size, stride = cache
    rows, columns = dy.shape[1:3]
    dx, ddown = np.zeros(shape, dy.dtype), np.zeros((len(dy), rows, *shape[2:]), dy.dtype)
    for j in range(size):
        ddown[:, :, j : j + stride * columns : stride] += dy
    for i in range(size):
        dx[:, i : i + stride * rows : stride] += ddown
    return {"x": dx}
