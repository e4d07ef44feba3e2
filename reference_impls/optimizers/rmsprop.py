"""RMSprop, by torch itself: the class that the hand-written rule equals (torch.optim.RMSprop)."""

import torch


def optimizer(tensors, *, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False):
    """A torch.optim.RMSprop over `tensors`, in its for-loop form (the other forms give the same numbers)."""
    return torch.optim.RMSprop(
        tensors,
        lr=lr,
        alpha=alpha,
        eps=eps,
        weight_decay=weight_decay,
        momentum=momentum,
        centered=centered,
        foreach=False,
    )
