"""Functions of one array that may stand in each other's place, and their derivatives."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F

from gradproof.tape import Tape, Tensor


def _huber(z: Tensor, delta: float) -> Tensor:
    return F.huber_loss(z, torch.zeros_like(z), reduction="none", delta=delta)


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda z: z.clone(),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "leaky_relu, slope 0.01": lambda z: F.leaky_relu(z, 0.01),
    "leaky_relu, slope 0.1": lambda z: F.leaky_relu(z, 0.1),
    "leaky_relu, slope 0.2": lambda z: F.leaky_relu(z, 0.2),
    "elu": F.elu,
    "selu": F.selu,
    "softplus": F.softplus,
    "gelu": F.gelu,
    "gelu (tanh)": lambda z: F.gelu(z, approximate="tanh"),
    "silu": F.silu,
    "mish": F.mish,
    "hardtanh": F.hardtanh,
    "relu6": F.relu6,
    "softsign": F.softsign,
    "sin": torch.sin,
    "cos": torch.cos,
    "exp": torch.exp,
    "exp2": torch.exp2,
    "abs": torch.abs,
    "square": torch.square,
    "log": torch.log,
    "log2": torch.log2,
    "log10": torch.log10,
    "log1p": torch.log1p,
    "log2(1 + z)": lambda z: torch.log2(1 + z),
    "log10(1 + z)": lambda z: torch.log10(1 + z),
    "sqrt": torch.sqrt,
    "logsigmoid": F.logsigmoid,
}
# Losses of an error, of which one is cut off where another is not.
ROBUST: dict[str, Callable[[Tensor], Tensor]] = {
    "half of the square": lambda z: 0.5 * z * z,
    **{f"Huber's loss, delta {d:g}": partial(_huber, delta=d) for d in (0.5, 1.0, 1.345, 1.5, 2.0)},
}
# Those whose derivatives are known by heart, and so come to mind in place of another's.
COMMON = ("sigmoid", "tanh", "relu", "leaky_relu, slope 0.01", "softplus", "exp", "sin", "cos", "abs", "square")
# Those of straight pieces: where a function is written out as branches, one of these is no coincidence.
KINKED = ("relu", "leaky_relu, slope 0.01", "abs")
# What may be taken of a result besides: everything that may stand in a function's place, and two more.
MORE: dict[str, Callable[[Tensor], Tensor]] = {"one minus": lambda z: 1 - z, "minus": torch.neg}

# Losses of a margin or of an error, links and kernels, which are taken for one another.
LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "the hinge loss max(0, 1 - z)": lambda z: torch.relu(1 - z),
    "the squared hinge loss max(0, 1 - z)^2": lambda z: torch.relu(1 - z) ** 2,
    "the logistic loss log(1 + exp(-z))": lambda z: F.softplus(-z),
    "exp(-z)": lambda z: torch.exp(-z),
    "log(cosh(z))": lambda z: torch.log(torch.cosh(z)),
    "sqrt(1 + z^2)": lambda z: torch.sqrt(1 + z * z),
    "log(1 + z^2)": lambda z: torch.log1p(z * z),
    "exp(-z^2 / 2)": lambda z: torch.exp(-z * z / 2),
    "1 / (1 + z)": lambda z: 1 / (1 + z),
    "1 / (1 + z^2)": lambda z: 1 / (1 + z * z),
    "the complementary log-log link 1 - exp(-exp(z))": lambda z: -torch.expm1(-torch.exp(z)),
    "the log-log link exp(-exp(-z))": lambda z: torch.exp(-torch.exp(-z)),
    "the normal distribution function (probit)": torch.special.ndtr,
}

# f' written in terms of y = f(z), as it is often remembered.
BY_OUTPUT: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": lambda y: y * (1 - y),
    "tanh": lambda y: 1 - y * y,
    "exp": lambda y: y,
    "sqrt": lambda y: 0.5 / y,
    "rsqrt": lambda y: -0.5 * y**3,
    "reciprocal": lambda y: -y * y,
    "softplus": lambda y: 1 - torch.exp(-y),
}


def derivative(tape: Tape, function: Callable[[Tensor], Tensor], value: int) -> Tensor:
    """The derivative of an elementwise function at each entry of a value."""
    return tape.remembered((function, value), lambda: _derivative(function, tape.values[value]))


def _derivative(function: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    x = z.detach().requires_grad_()
    with torch.enable_grad():
        total = function(x).sum()
    (found,) = torch.autograd.grad(total, [x])
    return found
