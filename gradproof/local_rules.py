"""The local rules of the commonest operations, written out: ten times quicker than asking autograd for each.

A tape is only used after its gradients were found equal to autograd's, so a slip in here cannot pass for a finding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

Tensor = torch.Tensor
Rule = Callable[[Sequence[Tensor], Tensor, Tensor, Sequence[Any]], Sequence[Tensor]]  # inputs, output, grad, constants


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


def _mul(x: Sequence[Tensor], y: Tensor, g: Tensor, constants: Sequence[Any]) -> Sequence[Tensor]:
    if len(x) == 1:
        return [g * constants[0]]
    return [unbroadcast(g * x[1], x[0]), unbroadcast(g * x[0], x[1])]


def _mm(x: Sequence[Tensor], y: Tensor, g: Tensor, _: Sequence[Any]) -> Sequence[Tensor]:
    return [g @ x[1].T, x[0].T @ g]


RULES: dict[str, Rule] = {
    "add.Tensor": _add,
    "sub.Tensor": _sub,
    "mul.Tensor": _mul,
    "mm.default": _mm,
    "t.default": lambda x, y, g, _: [g.T],
    "view.default": lambda x, y, g, _: [g.reshape(x[0].shape)],
    "_unsafe_view.default": lambda x, y, g, _: [g.reshape(x[0].shape)],
    "neg.default": lambda x, y, g, _: [-g],
    "sigmoid.default": lambda x, y, g, _: [g * y * (1 - y)],
    "tanh.default": lambda x, y, g, _: [g * (1 - y * y)],
    "relu.default": lambda x, y, g, _: [g * (x[0] > 0)],
    "exp.default": lambda x, y, g, _: [g * y],
    "sum.default": lambda x, y, g, _: [g.expand(x[0].shape)],
    "mean.default": lambda x, y, g, _: [g.expand(x[0].shape) / x[0].numel()],
}


def rule(func: Any, constants: Sequence[Any]) -> Rule | None:
    """The written-out rule of a core operation; None where there is none, or where it has options (`alpha=2`)."""
    if len(constants) > 1 or (constants and func.overloadpacket.__name__ not in ("mul", "view", "_unsafe_view")):
        return None
    return RULES.get(f"{func.overloadpacket.__name__}.{func._overloadname}")
