"""The local rules of the commonest operations, as somebody writes them by hand.

They are ten times quicker than asking autograd for each; and, being programs, they can be run with one slip in them.
A tape is only used after its gradients were found equal to autograd's, so an error in here cannot pass for a finding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

Tensor = torch.Tensor
# Inputs, output, what arrived at the output, and the arguments with None where a tensor stands.
Rule = Callable[[Sequence[Tensor], Tensor, Tensor, Sequence[Any]], Sequence["Tensor | None"]]
# Operations whose results do not move with what they are given.
CONSTANT = frozenset("detach zeros_like ones_like full_like empty_like new_zeros new_ones new_full new_empty".split())


def unbroadcast(grad: Tensor, like: Tensor) -> Tensor:
    """Sum a gradient over the axes along which its array was broadcast."""
    if grad.shape == like.shape:
        return grad
    extra = grad.dim() - like.dim()
    if extra:
        grad = grad.sum(tuple(range(extra)))
    kept = tuple(i for i, length in enumerate(like.shape) if length == 1 and grad.shape[i] != 1)
    return grad.sum(kept, keepdim=True) if kept else grad


def _add(x: Sequence[Tensor], y: Tensor, g: Tensor, _: Sequence[Any]) -> Sequence[Tensor]:
    return [unbroadcast(g, one) for one in x]


def _sub(x: Sequence[Tensor], y: Tensor, g: Tensor, _: Sequence[Any]) -> Sequence[Tensor]:
    return [unbroadcast(g, x[0]), *(unbroadcast(-g, one) for one in x[1:])]


def _mul(x: Sequence[Tensor], y: Tensor, g: Tensor, args: Sequence[Any]) -> Sequence[Tensor]:
    if len(x) == 1:
        return [g * args[1]]
    return [unbroadcast(g * x[1].conj(), x[0]), unbroadcast(g * x[0].conj(), x[1])]


def _div(x: Sequence[Tensor], y: Tensor, g: Tensor, args: Sequence[Any]) -> Sequence[Tensor]:
    if len(x) == 1:
        return [g / args[1]]
    return [unbroadcast(g / x[1], x[0]), unbroadcast(-(g * x[0]) / (x[1] * x[1]), x[1])]


def _pow(x: Sequence[Tensor], y: Tensor, g: Tensor, args: Sequence[Any]) -> Sequence[Tensor]:
    power = args[1]
    return [g * (2 * x[0])] if power == 2 else [g * (power * x[0] ** (power - 1))]


def _where(x: Sequence[Tensor], y: Tensor, g: Tensor, _: Sequence[Any]) -> Sequence[Tensor | None]:
    return [None, unbroadcast(g * x[0], x[1]), unbroadcast(g * ~x[0], x[2])]


def _mv(x: Sequence[Tensor], y: Tensor, g: Tensor, _: Sequence[Any]) -> Sequence[Tensor]:
    return [g[:, None] * x[1].conj(), x[0].mH @ g]


def _gelu(x: Sequence[Tensor], y: Tensor, g: Tensor, _: Sequence[Any]) -> Sequence[Tensor]:
    z = x[0]
    below = 0.5 * (1 + torch.erf(z / math.sqrt(2)))
    return [g * (below + z * (torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)))]


def _gelu_by_tanh(x: Sequence[Tensor], y: Tensor, g: Tensor, _: Sequence[Any]) -> Sequence[Tensor]:
    (z,) = x
    t = torch.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3))
    slope = (1 - t * t) * (math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * z**2))
    return [g * (0.5 * (1 + t) + 0.5 * z * slope)]


def _silu(x: Sequence[Tensor], y: Tensor, g: Tensor, _: Sequence[Any]) -> Sequence[Tensor]:
    s = torch.sigmoid(x[0])
    return [g * (s + x[0] * (s * (1 - s)))]


def _mish(x: Sequence[Tensor], y: Tensor, g: Tensor, _: Sequence[Any]) -> Sequence[Tensor]:
    t = torch.tanh(torch.nn.functional.softplus(x[0]))
    return [g * (t + x[0] * (1 - t * t) * torch.sigmoid(x[0]))]


def _elu(x: Sequence[Tensor], y: Tensor, g: Tensor, args: Sequence[Any]) -> Sequence[Tensor]:
    alpha = args[1] if len(args) > 1 else 1.0
    return [g * torch.where(x[0] > 0, torch.ones_like(y), y + alpha)]


def _leaky_relu(x: Sequence[Tensor], y: Tensor, g: Tensor, args: Sequence[Any]) -> Sequence[Tensor]:
    slope = args[1] if len(args) > 1 else 0.01
    return [torch.where(x[0] > 0, g, slope * g)]


def _softmax(x: Sequence[Tensor], y: Tensor, g: Tensor, args: Sequence[Any]) -> Sequence[Tensor]:
    return [y * (g - (g * y).sum(args[1], keepdim=True))]


def _log_softmax(x: Sequence[Tensor], y: Tensor, g: Tensor, args: Sequence[Any]) -> Sequence[Tensor]:
    return [g - torch.exp(y) * g.sum(args[1], keepdim=True)]


def _spread(g: Tensor, x: Tensor, dims: Any, keep: bool) -> Tensor:
    """What arrived at a sum, over the entries that it was taken of."""
    if not keep:
        for dim in sorted(dim % x.dim() for dim in dims):
            g = g.unsqueeze(dim)
    return g.expand(x.shape)


def _reduced(args: Sequence[Any], x: Tensor) -> tuple[Any, bool]:
    dims = args[1] if len(args) > 1 else None
    dims = [dims] if isinstance(dims, int) else dims
    return dims or list(range(x.dim())), bool(args[2]) if len(args) > 2 else False


def _sum(x: Sequence[Tensor], y: Tensor, g: Tensor, args: Sequence[Any]) -> Sequence[Tensor]:
    return [_spread(g, x[0], *_reduced(args, x[0]))]


def _mean(x: Sequence[Tensor], y: Tensor, g: Tensor, args: Sequence[Any]) -> Sequence[Tensor]:
    return [_spread(g, x[0], *_reduced(args, x[0])) / (x[0].numel() // max(y.numel(), 1))]


def _logsumexp(x: Sequence[Tensor], y: Tensor, g: Tensor, args: Sequence[Any]) -> Sequence[Tensor]:
    dims, keep = _reduced(args, x[0])
    return [_spread(g, x[0], dims, keep) * torch.exp(x[0] - _spread(y, x[0], dims, keep))]


def _transpose(x: Sequence[Tensor], y: Tensor, g: Tensor, args: Sequence[Any]) -> Sequence[Tensor]:
    return [g.transpose(args[1], args[2])]


def _permute(x: Sequence[Tensor], y: Tensor, g: Tensor, args: Sequence[Any]) -> Sequence[Tensor]:
    dims = [dim % g.dim() for dim in args[1]]
    return [g.permute([dims.index(i) for i in range(g.dim())])]


def _select(x: Sequence[Tensor], y: Tensor, g: Tensor, args: Sequence[Any]) -> Sequence[Tensor]:
    found = torch.zeros_like(x[0])
    found.select(args[1], args[2]).copy_(g)
    return [found]


def _written_into(part: Callable[[Tensor, Sequence[Any]], Tensor]) -> Rule:
    """The rule of writing a second array into a part of a first one."""

    def found(x: Sequence[Tensor], y: Tensor, g: Tensor, args: Sequence[Any]) -> Sequence[Tensor]:
        rest = g.clone()
        part(rest, args).zero_()
        return [rest, part(g, args)]

    return found


def _reshaped(x: Sequence[Tensor], y: Tensor, g: Tensor, _: Sequence[Any]) -> Sequence[Tensor]:
    return [g.reshape(x[0].shape)]


def _clamp(x: Sequence[Tensor], y: Tensor, g: Tensor, args: Sequence[Any]) -> Sequence[Tensor]:
    inside = torch.ones_like(x[0], dtype=torch.bool)
    if len(args) > 1 and args[1] is not None:
        inside = x[0] >= args[1]
    if len(args) > 2 and args[2] is not None:
        inside = inside & (x[0] <= args[2])
    return [g * inside]


RULES: dict[str, Rule] = {
    "add.Tensor": _add,
    "sub.Tensor": _sub,
    "rsub.Scalar": lambda x, y, g, _: [-g],
    "mul.Tensor": _mul,
    "div.Tensor": _div,
    "add.Scalar": _add,
    "sub.Scalar": _sub,
    "mul.Scalar": _mul,
    "div.Scalar": _div,
    "pow.Tensor_Scalar": _pow,
    "where.self": _where,
    "mm.default": lambda x, y, g, _: [g @ x[1].mH, x[0].mH @ g],
    "bmm.default": lambda x, y, g, _: [g @ x[1].mH, x[0].mH @ g],
    "mv.default": _mv,
    "dot.default": lambda x, y, g, _: [g * x[1], g * x[0]],
    "t.default": lambda x, y, g, _: [g.mT if g.dim() > 1 else g],
    "transpose.int": _transpose,
    "permute.default": _permute,
    "select.int": _select,
    "slice_scatter.default": _written_into(lambda g, args: torch.ops.aten.slice(g, *args[2:])),
    "select_scatter.default": _written_into(lambda g, args: g.select(*args[2:4])),
    "copy.default": lambda x, y, g, _: [torch.zeros_like(x[0]), unbroadcast(g, x[1])],
    "view.default": _reshaped,
    "_unsafe_view.default": _reshaped,
    "unsqueeze.default": _reshaped,
    "squeeze.dim": _reshaped,
    "expand.default": lambda x, y, g, _: [unbroadcast(g, x[0])],
    "clone.default": lambda x, y, g, _: [g],
    "neg.default": lambda x, y, g, _: [-g],
    "sigmoid.default": lambda x, y, g, _: [g * (y * (1 - y))],
    "tanh.default": lambda x, y, g, _: [g * (1 - y * y)],
    "relu.default": lambda x, y, g, _: [g * (x[0] > 0)],
    "exp.default": lambda x, y, g, _: [g * y.conj()],
    "log.default": lambda x, y, g, _: [g / x[0]],
    "log1p.default": lambda x, y, g, _: [g / (1 + x[0])],
    "sqrt.default": lambda x, y, g, _: [g / (2 * y)],
    "rsqrt.default": lambda x, y, g, _: [-0.5 * g * (y * y * y)],
    "reciprocal.default": lambda x, y, g, _: [-g * (y * y)],
    "abs.default": lambda x, y, g, _: [g * torch.sign(x[0])],
    "sin.default": lambda x, y, g, _: [g * torch.cos(x[0])],
    "cos.default": lambda x, y, g, _: [-g * torch.sin(x[0])],
    "softplus.default": lambda x, y, g, _: [g * torch.sigmoid(x[0])],
    "gelu.default": _gelu,
    "silu.default": _silu,
    "mish.default": _mish,
    "atan.default": lambda x, y, g, _: [g / (1 + x[0] * x[0])],
    "erf.default": lambda x, y, g, _: [g * (2 / math.sqrt(math.pi) * torch.exp(-(x[0] * x[0])))],
    "elu.default": _elu,
    "leaky_relu.default": _leaky_relu,
    "clamp.default": _clamp,
    "clamp_min.default": _clamp,
    "_softmax.default": _softmax,
    "_log_softmax.default": _log_softmax,
    "sum.default": _sum,
    "sum.dim_IntList": _sum,
    "mean.default": _mean,
    "mean.dim": _mean,
    "logsumexp.default": _logsumexp,
}
# Those that hold for complex numbers too.
OF_COMPLEX = frozenset(
    (
        "add sub mul neg exp mm bmm mv sum mean t transpose permute view _unsafe_view unsqueeze squeeze expand clone "
        "select copy slice_scatter select_scatter"
    ).split()
)
_BARE = {"softplus", "gelu", "add", "sub", "rsub"}  # whose rule here holds for the usual options alone


def in_kind(gradient: Tensor | None, of: Tensor) -> Tensor | None:
    """What arrives at an array: its real part where the array has no other, as torch has it."""
    return gradient.real if gradient is not None and gradient.is_complex() and not of.is_complex() else gradient


def rule(func: Any, args: Sequence[Any], kwargs: Any) -> Rule | None:
    """The written-out rule of a core operation; None where there is none, or where it has options (`alpha=2`)."""
    name = func.overloadpacket.__name__
    if name == "gelu" and kwargs == {"approximate": "tanh"}:
        return _gelu_by_tanh
    if kwargs or (name == "elu" and len(args) > 2) or (name in _BARE and sum(one is not None for one in args) > 1):
        return None
    return RULES.get(f"{name}.{func._overloadname}")
