"""The question's 2-2-1 network without biases: loss and gradients, by the number of samples."""

import numpy as np
import torch

SIZES = (4, 64, 1024)
UNIT = "samples"
FORMS = ("loop", "vectorised", "tuned", "torch")


def contestants(impl, reference, size, dtype=np.float64):
    """Loss and gradients on the same arrays, which are made here, once."""
    rng = np.random.default_rng(0)
    params = {"W1": rng.normal(size=(2, 2)).astype(dtype), "W2": rng.normal(size=(2, 1)).astype(dtype)}
    x = rng.normal(size=(size, 2)).astype(dtype)
    y = rng.integers(0, 2, size=(size, 1)).astype(dtype)
    tensors = {name: torch.tensor(value, requires_grad=True) for name, value in params.items()}
    x_torch, y_torch = torch.tensor(x), torch.tensor(y)

    def by_autograd():
        loss = reference.loss(tensors, x_torch, y_torch)
        return loss, dict(zip(tensors, torch.autograd.grad(loss, list(tensors.values())), strict=True))

    return {
        "loop": lambda: impl.loss_and_grads_per_sample(params, x, y),
        "vectorised": lambda: impl.loss_and_grads(params, x, y),
        "tuned": lambda: impl.loss_and_grads_tuned(params, x, y),
        "torch": by_autograd,
    }


def test_speed(race):
    race(contestants)
