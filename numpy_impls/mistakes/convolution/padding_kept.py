"""The gradient of the image still has the padding around it.

Symptom: the gradient has more rows and columns than the image; without padding everything passes.
Why: the backward pass works on the padded image, but the zeros around it are constants: what arrives there is nobody's.
Fix: dx[:, padding : -padding, padding : -padding], with care where the padding is 0
"""

from numpy_impls.layers import convolution as right
from numpy_impls.layers.convolution import forward

__all__ = ["CODES", "backward", "forward"]

CODES = ("wrong-shape",)


def backward(dy, cache):
    x, W, stride, _ = cache
    return right.backward(dy, (x, W, stride, 0))
