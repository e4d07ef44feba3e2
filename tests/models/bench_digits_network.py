"""The question's 400-25-10 network with a penalty: cost and gradients, by the number of images."""

import numpy as np
import torch

SIZES = (50, 500, 5000)
UNIT = "samples"
FORMS = ("loop", "vectorised", "tuned", "torch")
LAM = 1.0


def contestants(impl, reference, size, dtype=np.float64):
    """Cost and gradients on the same arrays, which are made here, once."""
    rng = np.random.default_rng(0)
    params = {
        "theta1": rng.normal(scale=0.1, size=(401, 25)).astype(dtype),
        "theta2": rng.normal(scale=0.1, size=(26, 10)).astype(dtype),
    }
    X = rng.random(size=(size, 400)).astype(dtype)
    Y = np.eye(10, dtype=dtype)[rng.integers(0, 10, size=size)]
    tensors = {name: torch.tensor(theta, requires_grad=True) for name, theta in params.items()}
    X_torch, Y_torch = torch.tensor(X), torch.tensor(Y)

    def by_autograd():
        J = sum(reference.loss(tensors, X_torch, Y_torch, lam=LAM).values())
        return J, dict(zip(tensors, torch.autograd.grad(J, list(tensors.values())), strict=True))

    return {
        "loop": lambda: impl.loss_and_grads_per_sample(params, X, Y, lam=LAM),
        "vectorised": lambda: impl.loss_and_grads(params, X, Y, lam=LAM),
        "tuned": lambda: impl.loss_and_grads_tuned(params, X, Y, lam=LAM),
        "torch": by_autograd,
    }


def test_speed(race):
    race(contestants)
