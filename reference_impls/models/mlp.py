"""A fully connected network, sigmoid in every layer, with the cross-entropy of independent yes-or-no outputs, in torch.

The loss takes the last layer's input z and holds that layer's sigmoid itself, as torch.nn.BCEWithLogitsLoss does.
"""

import torch
import torch.nn.functional as F


def logits(params, x):
    """The last layer's input z (n, outputs), for the inputs x (n, inputs)."""
    z = affine(params, 1, x)
    for k in range(2, sum(name.startswith("W") for name in params) + 1):
        a = torch.sigmoid(z)  # (n, in)
        z = affine(params, k, a)
    return z


def affine(params, k, a):
    """Layer k's input z (n, out), from the activations a (n, in) of the layer before."""
    z = a @ params[f"W{k}"]
    return z + params[f"b{k}"] if f"b{k}" in params else z


def loss(params, x, y):
    """Cross-entropy with the targets y (n, outputs): mean over samples, sum over outputs."""
    return F.binary_cross_entropy_with_logits(logits(params, x), y, reduction="sum") / len(x)
