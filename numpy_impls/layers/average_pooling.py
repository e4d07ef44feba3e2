"""Average pooling: an image becomes smaller, each new pixel the mean of a window of old ones, channels last.

    y[n, r, c] = 1/size^2 sum_ij x[n, stride r + i, stride c + j]       i, j = 0 ... size - 1
    dx[n, stride r + i, stride c + j] += dy[n, r, c] / size^2           every pixel of a window gets an equal share

Conventions: no padding; windows overlap where `stride` is smaller than `size`, and a pixel then adds up its shares.
Rows and columns at the end that fill no window are left out, and their gradient is zero.
Source: torch.nn.AvgPool2d, https://docs.pytorch.org/docs/stable/generated/torch.nn.AvgPool2d.html
"""

import numpy as np


def how_many(x, size, stride):
    """How many rows and columns of windows the images `x` hold. Raises ValueError where not even one fits."""
    height, width = x.shape[1:3]
    if min(height, width) < size:
        raise ValueError(f"a window of {size} by {size} does not fit into an image of {height} by {width}")
    return (height - size) // stride + 1, (width - size) // stride + 1


def forward(inputs, *, size=2, stride=2):
    """Average over windows of `size` by `size` pixels, `stride` pixels apart.

    inputs: "x" (batch, height, width, channels).
    Returns the means (batch, rows, columns, channels) and a cache for `backward`.
    Raises ValueError where a window is larger than the image.
    """
    x = inputs["x"]
    rows, columns = how_many(x, size, stride)
    down = sum(x[:, i : i + stride * rows : stride] for i in range(size))  # (batch, rows, width, channels)
    y = sum(down[:, :, j : j + stride * columns : stride] for j in range(size))  # (batch, rows, columns, channels)
    return y / size**2, (x.shape, size, stride)


def backward(dy, cache):
    """The gradient of `x`; dy: (batch, rows, columns, channels)."""
    shape, size, stride = cache
    rows, columns = dy.shape[1:3]
    dx, ddown = np.zeros(shape, dy.dtype), np.zeros((len(dy), rows, *shape[2:]), dy.dtype)
    share = dy / size**2  # (batch, rows, columns, channels)
    for j in range(size):
        ddown[:, :, j : j + stride * columns : stride] += share
    for i in range(size):
        dx[:, i : i + stride * rows : stride] += ddown
    return {"x": dx}


def forward_per_sample(inputs, *, size=2, stride=2):
    """The same, one window at a time."""
    x = inputs["x"]
    rows, columns = how_many(x, size, stride)
    y = np.zeros((len(x), rows, columns, x.shape[3]), x.dtype)
    for n, r, c, channel in np.ndindex(y.shape):
        window = x[n, r * stride : r * stride + size, c * stride : c * stride + size, channel]  # (size, size)
        y[n, r, c, channel] = window.sum() / size**2
    return y, (x.shape, size, stride)


def backward_per_sample(dy, cache):
    """The same, one window at a time."""
    shape, size, stride = cache
    dx = np.zeros(shape, dy.dtype)
    for n, r, c, channel in np.ndindex(dy.shape):
        window = dx[n, r * stride : r * stride + size, c * stride : c * stride + size, channel]  # a view into dx
        window += dy[n, r, c, channel] / size**2
    return {"x": dx}
