"""Linear regression: loss and gradients of a straight line, by the number of samples."""

import numpy as np
import torch

SIZES = (100, 10_000, 100_000)
UNIT = "samples"
FORMS = ("loop", "vectorised", "tuned", "torch")


def problem(size, dtype):
    """The arrays on which all forms work."""
    rng = np.random.default_rng(0)
    params = {"w": rng.normal(size=1).astype(dtype), "b": np.array(0.3, dtype)}
    return params, rng.normal(size=(size, 1)).astype(dtype), rng.normal(size=size).astype(dtype)


def by_autograd(loss, params, X, y):
    """A function that gives the loss and its gradients by autograd, on tensors made here, once."""
    tensors = {name: torch.tensor(value, requires_grad=True) for name, value in params.items()}
    X, y = torch.tensor(X), torch.tensor(y)

    def call():
        value = loss(tensors, X, y)
        return value, dict(zip(tensors, torch.autograd.grad(value, list(tensors.values())), strict=True))

    return call


def contestants(impl, reference, size, dtype=np.float64):
    params, X, y = problem(size, dtype)
    found = {
        "loop": lambda: impl.loss_and_grads_per_sample(params, X, y),
        "vectorised": lambda: impl.loss_and_grads(params, X, y),
        "tuned": lambda: impl.loss_and_grads_tuned(params, X, y),
        "torch": by_autograd(reference.loss, params, X, y),
    }
    if size > 10_000:
        del found["loop"]
    return found


def extra_contestants(impl, reference, size, dtype=np.float64):
    """torch's own mean squared error, one call where the reference has three: the fastest way of torch eager."""

    def loss(params, X, y):
        return torch.nn.functional.mse_loss(X @ params["w"] + params["b"], y)

    return {"torch mse_loss": by_autograd(loss, *problem(size, dtype))}


def test_speed(race):
    race(contestants)
