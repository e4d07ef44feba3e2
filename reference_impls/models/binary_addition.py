"""Adding two binary numbers with an Elman network, in torch: a tanh state, cross-entropy at every step."""

import torch

from reference_impls.recurrent import elman_rnn


def to_bits(numbers, n_bits):
    """The bits of whole numbers (n,) as integers (n, n_bits), least significant first."""
    return (numbers[:, None] >> torch.arange(n_bits)) & 1


def loss(params, a, b, n_bits=8):
    """The losses of the n_bits + 1 steps by name, for the sums of a and b, integer tensors (n,)."""
    dtype = params["W_hh"].dtype
    x = torch.stack([to_bits(a, n_bits + 1), to_bits(b, n_bits + 1)], dim=2).to(dtype)  # (n, n_bits + 1, 2)
    target = to_bits(a + b, n_bits + 1)[:, :, None].to(dtype)  # (n, n_bits + 1, 1)
    return elman_rnn.loss(params, x, target, loss_at="every", output_loss="cross_entropy")
