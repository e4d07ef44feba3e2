"""Speed of one training step's loss and gradient: sums of 8-bit numbers, 9 steps, 16 hidden units."""

import numpy as np
import torch

SIZES = (1, 32, 1024)
UNIT = "pairs"
FORMS = ("loop", "vectorised", "tuned", "torch")


def contestants(impl, reference, size, dtype=np.float64):
    """All forms on the same arrays."""
    rng = np.random.default_rng(0)
    params = {name: value.astype(dtype) for name, value in impl.initial_params(rng).items()}
    a, b = rng.integers(256, size=(2, size))
    tensors = {name: torch.tensor(value, requires_grad=True) for name, value in params.items()}
    torch_a, torch_b = torch.tensor(a), torch.tensor(b)

    def by_torch():
        loss = sum(reference.loss(tensors, torch_a, torch_b).values())
        return loss.detach(), dict(zip(tensors, torch.autograd.grad(loss, list(tensors.values())), strict=True))

    return {
        "loop": lambda: impl.loss_and_grads_per_sample(params, a, b),
        "vectorised": lambda: impl.loss_and_grads(params, a, b),
        "tuned": lambda: impl.loss_and_grads_tuned(params, a, b),
        "torch": by_torch,
    }


def test_speed(race):
    race(contestants)
