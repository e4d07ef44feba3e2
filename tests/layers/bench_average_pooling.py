"""Speed of average pooling, forward and backward: images of 32 by 48 pixels and 8 channels, windows of 4 by 4."""

import numpy as np
import torch

SIZES = (1, 8, 32)
UNIT = "images"
FORMS = ("loop", "vectorised", "torch")
LOOP_UP_TO = 8  # images: it takes about 40 ms for each
SETTING = {"size": 4, "stride": 2}


def contestants(impl, reference, size, dtype=np.float64):
    rng = np.random.default_rng(0)
    inputs = {"x": rng.normal(size=(size, 32, 48, 8)).astype(dtype)}
    dy = rng.normal(size=(size, 15, 23, 8)).astype(dtype)

    def by_hand(form):
        def call():
            y, cache = getattr(impl, "forward" + form)(inputs, **SETTING)
            return y, getattr(impl, "backward" + form)(dy, cache)

        return call

    # torch in the layout that it is made for: (batch, channels, height, width)
    x, dy_torch = (torch.from_numpy(array).permute(0, 3, 1, 2).contiguous() for array in (inputs["x"], dy))
    x.requires_grad_()

    def in_torch():
        y = torch.nn.functional.avg_pool2d(x, **{"kernel_size": SETTING["size"], "stride": SETTING["stride"]})
        (dx,) = torch.autograd.grad(y, [x], dy_torch)
        return y.permute(0, 2, 3, 1), {"x": dx.permute(0, 2, 3, 1)}

    found = {"vectorised": by_hand(""), "torch": in_torch}
    return found | ({"loop": by_hand("_per_sample")} if size <= LOOP_UP_TO else {})


def test_speed(race):
    race(contestants)
