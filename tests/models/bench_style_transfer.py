"""Speed of one gradient of the image: three scales of 16 filters of 5 by 5, images two by three in proportion."""

import numpy as np
import torch

SIZES = (384, 1536, 6144)  # 16 by 24, 32 by 48, 64 by 96
UNIT = "pixels"
FORMS = ("loop", "vectorised", "torch")
AXES = {"filters": (4, 16, 64)}
LOOP_UP_TO = 384  # pixels: it takes about a quarter of a second
WEIGHTS = {"content_weight": 0.3, "style_weight": 30.0, "variation_weight": 0.3, "content_scale": 0}


def contestants(impl, reference, size, dtype=np.float64, filters=16):
    rng = np.random.default_rng(0)
    height = round((size / 1.5) ** 0.5)
    image, content, style = rng.uniform(-0.5, 0.5, (3, height, size // height, 3)).astype(dtype)
    W, b = impl.random_filters(rng, style, 3, 5, filters)
    data = (W, b, *impl.targets(content, style, W, b, WEIGHTS["content_scale"]))

    tensors = [torch.from_numpy(array) for array in data]
    tensor = torch.from_numpy(image).requires_grad_()

    def in_torch():
        loss = sum(reference.loss({"image": tensor}, *tensors, **WEIGHTS).values())
        return loss, dict(zip(["image"], torch.autograd.grad(loss, [tensor]), strict=True))

    found = {"vectorised": lambda: impl.loss_and_grads({"image": image}, *data, **WEIGHTS), "torch": in_torch}
    if size <= LOOP_UP_TO and filters <= 16:
        found["loop"] = lambda: impl.loss_and_grads_per_sample({"image": image}, *data, **WEIGHTS)
    return found


def test_speed(race):
    race(contestants)
