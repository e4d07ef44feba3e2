"""AdamW, by torch itself: the class that the hand-written rule equals (torch.optim.AdamW)."""

import torch


def optimizer(tensors, *, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=1e-2, amsgrad=False):
    """A torch.optim.AdamW over `tensors`, in its for-loop form (the other forms give the same numbers)."""
    return torch.optim.AdamW(
        tensors, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay, amsgrad=amsgrad, foreach=False
    )
