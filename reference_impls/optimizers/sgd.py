"""Gradient descent with momentum, by torch itself: the class that the hand-written rule equals (torch.optim.SGD)."""

import torch


def optimizer(tensors, *, lr=1e-3, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False):
    """A torch.optim.SGD over `tensors`, in its for-loop form (the other forms give the same numbers)."""
    return torch.optim.SGD(
        tensors,
        lr=lr,
        momentum=momentum,
        dampening=dampening,
        weight_decay=weight_decay,
        nesterov=nesterov,
        foreach=False,
    )
