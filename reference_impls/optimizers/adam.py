"""Adam, by torch itself: the class that the hand-written rule equals (torch.optim.Adam)."""

import torch


def optimizer(tensors, *, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, amsgrad=False):
    """A torch.optim.Adam over `tensors`, in its for-loop form (the other forms give the same numbers)."""
    return torch.optim.Adam(
        tensors, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay, amsgrad=amsgrad, foreach=False
    )
