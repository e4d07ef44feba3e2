"""Adding two binary numbers with an Elman network, trained by backpropagation through time and Adam.

Step t = 0, 1, ... takes the bits of value 2^t of both numbers and gives the bit of value 2^t of their sum, least
significant first: what is carried in the head, the state has to carry. One step more than the numbers have bits lets
the last carry out, so that the whole sum is given, not the sum modulo 2^bits.

    h_t = tanh(x_t W_xh + h_{t-1} W_hh + b_h),  y_t = s(h_t W_hy + b_y),  x_t two bits, y_t one
    loss = 1/n sum over samples and steps of the cross-entropy between y_t and the sum's bit

`params` is that of `elman_rnn`, with 2 inputs, 1 output, and a first state h_0 of shape (hidden,), learned as well.
Source: Elman 1990, "Finding structure in time" (Cognitive Science 14), whose first task is exclusive-or over time.
"""

import numpy as np

from numpy_impls.optimizers import adam
from numpy_impls.recurrent import elman_rnn

OPTIONS = {"activation": "tanh", "loss_at": "every", "output_loss": "cross_entropy"}


def to_bits(numbers, n_bits):
    """The bits of whole numbers (n,) as integers (n, n_bits), least significant first."""
    return (numbers[:, None] >> np.arange(n_bits)) & 1


def from_bits(bits):
    """The whole numbers (n,) that have these bits (n, n_bits), least significant first."""
    return bits @ (1 << np.arange(bits.shape[1]))


def examples(a, b, n_bits, dtype=np.float64):
    """Return the inputs (n, n_bits + 1, 2) and targets (n, n_bits + 1, 1) for the sums of a and b, integers (n,).

    Raises ValueError where a number does not fit into n_bits bits.
    """
    if min(a.min(), b.min()) < 0 or max(a.max(), b.max()) >= 2**n_bits:
        raise ValueError(f"the numbers must lie in 0 ... {2**n_bits - 1}")
    x = np.stack([to_bits(a, n_bits + 1), to_bits(b, n_bits + 1)], axis=2)
    return x.astype(dtype), to_bits(a + b, n_bits + 1)[:, :, None].astype(dtype)


def loss_and_grads(params, a, b, n_bits=8):
    """Return the loss of the sums of a and b, integers (n,), and the gradient of each parameter."""
    return elman_rnn.loss_and_grads(params, *examples(a, b, n_bits, params["W_hh"].dtype), **OPTIONS)


def loss_and_grads_per_sample(params, a, b, n_bits=8):
    """The same, one sample after the other."""
    return elman_rnn.loss_and_grads_per_sample(params, *examples(a, b, n_bits, params["W_hh"].dtype), **OPTIONS)


def loss_and_grads_tuned(params, a, b, n_bits=8):
    """The same, with one matrix product for the inputs, outputs and weight gradients of all steps."""
    return elman_rnn.loss_and_grads_tuned(params, *examples(a, b, n_bits, params["W_hh"].dtype), **OPTIONS)


def add(params, a, b, n_bits=8):
    """The sums of a and b, integers (n,), as the network has them: a bit is 1 where its sigmoid is above a half."""
    x, _ = examples(a, b, n_bits, params["W_hh"].dtype)
    h = elman_rnn.forward(params, x, OPTIONS["activation"])
    o = np.stack([state @ params["W_hy"] + params["b_y"] for state in h[1:]], axis=1)  # (n, n_bits + 1, 1)
    return from_bits((o[:, :, 0] > 0).astype(int))


def initial_params(rng, n_hidden=16):
    """Weights drawn with standard deviation 1 / sqrt(number of inputs of the unit); biases and first state zero."""
    shapes = {"W_xh": (2, n_hidden), "W_hh": (n_hidden, n_hidden), "W_hy": (n_hidden, 1)}
    params = {name: rng.standard_normal(shape) / np.sqrt(shape[0]) for name, shape in shapes.items()}
    return params | {"b_h": np.zeros(n_hidden), "b_y": np.zeros(1), "h_0": np.zeros(n_hidden)}


def train(rng, *, n_bits=8, n_hidden=16, n_steps=1000, batch=32, lr=0.01):
    """Return the trained parameters, and the loss before each step, for sums of numbers drawn anew for every step."""
    params, state, history = initial_params(rng, n_hidden), {}, []
    for _ in range(n_steps):
        a, b = rng.integers(2**n_bits, size=(2, batch))
        loss, grads = loss_and_grads_tuned(params, a, b, n_bits)
        params = adam.step(params, grads, state, lr=lr)
        history.append(loss)
    return params, history
