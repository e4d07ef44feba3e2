"""Adagrad, by torch itself: the class that the hand-written rule equals (torch.optim.Adagrad)."""

import torch


def optimizer(tensors, *, lr=1e-2, lr_decay=0.0, weight_decay=0.0, initial_accumulator_value=0.0, eps=1e-10):
    """A torch.optim.Adagrad over `tensors`, in its for-loop form (the other forms give the same numbers)."""
    return torch.optim.Adagrad(
        tensors,
        lr=lr,
        lr_decay=lr_decay,
        weight_decay=weight_decay,
        initial_accumulator_value=initial_accumulator_value,
        eps=eps,
        foreach=False,
    )
