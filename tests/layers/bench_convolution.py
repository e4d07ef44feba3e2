"""Speed of a convolution, forward and backward: images of 32 by 32 pixels and 16 channels, 32 filters of 3 by 3."""

import numpy as np
import torch

SIZES = (1, 8, 32)
UNIT = "images"
FORMS = ("loop", "vectorised", "tuned", "torch")
AXES = {"filters": (8, 32, 128)}
LOOP_UP_TO = 1  # images: it takes about a second for each


def contestants(impl, reference, size, dtype=np.float64, filters=32):
    rng = np.random.default_rng(0)
    shapes = {"x": (size, 32, 32, 16), "W": (3, 3, 16, filters), "b": (filters,)}
    inputs = {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}
    dy = rng.normal(size=(size, 32, 32, filters)).astype(dtype)

    def by_hand(form):
        def call():
            y, cache = getattr(impl, "forward" + form)(inputs, padding=1)
            return y, getattr(impl, "backward" + form)(dy, cache)

        return call

    # torch in the layout that it is made for: (batch, channels, height, width) and (out, in, tall, wide)
    x, dy_torch = (torch.from_numpy(array).permute(0, 3, 1, 2).contiguous() for array in (inputs["x"], dy))
    W, b = torch.from_numpy(inputs["W"]).permute(3, 2, 0, 1).contiguous(), torch.from_numpy(inputs["b"])
    leaves = [tensor.requires_grad_() for tensor in (x, W, b)]

    def in_torch():
        y = torch.nn.functional.conv2d(x, W, b, padding=1)
        dx, dW, db = torch.autograd.grad(y, leaves, dy_torch)
        return y.permute(0, 2, 3, 1), {"x": dx.permute(0, 2, 3, 1), "W": dW.permute(2, 3, 1, 0), "b": db}

    found = {"vectorised": by_hand(""), "tuned": by_hand("_tuned"), "torch": in_torch}
    return found | ({"loop": by_hand("_per_sample")} if size <= LOOP_UP_TO and filters <= 32 else {})


def test_speed(race):
    race(contestants)
