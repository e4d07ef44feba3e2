"""Other ways of torch to the same gradients, made from a benchmark's torch form; the table shows them when asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.benchmarking.contest import TOLERANCE, Contest, assert_equal


def compiled(contest: Contest, axis: str, size: int, dtype: str) -> Callable[[], Any]:
    """The torch form through torch.compile, for this size and no other. Needs a C++ compiler, and up to a minute."""
    import torch

    torch._dynamo.reset()
    return torch.compile(contest.contestants(axis, size, dtype)["torch"], dynamic=False)


class Listener:
    """A reference whose `loss` remembers what it was called with."""

    def __init__(self, reference: Any) -> None:
        self._reference = reference
        self.heard: tuple[dict, tuple, dict] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reference, name)

    def loss(self, params: dict, *data: Any, **hyper: Any) -> Any:
        self.heard = params, data, hyper
        return self._reference.loss(params, *data, **hyper)


def vmap_grad(contest: Contest, axis: str, size: int, dtype: str) -> Callable[[], Any]:
    """The mean over samples of torch.func.vmap(grad) of the loss of one sample, samples on axis 0 of all data.

    Raises LookupError where the torch form takes no `loss` of its reference. It is for the caller to assert that this
    mean is the gradient: it is not where the loss is no mean over samples.
    """
    import torch

    listener = Listener(contest.reference)
    replace(contest, reference=listener).contestants(axis, size, dtype)["torch"]()
    if listener.heard is None:
        raise LookupError("the torch form does not call the reference's loss")
    tensors, data, hyper = listener.heard
    params = {name: tensor.detach() for name, tensor in tensors.items()}

    def loss_of_one(params: dict, *sample: Any) -> Any:
        loss = contest.reference.loss(params, *(entry[None] for entry in sample), **hyper)
        return sum(loss.values()) if isinstance(loss, dict) else loss

    each = torch.func.vmap(torch.func.grad_and_value(loss_of_one), in_dims=(None, *(0 for _ in data)))

    def call() -> tuple[Any, dict]:
        grads, losses = each(params, *data)
        return losses.mean(), {name: grad.mean(dim=0) for name, grad in grads.items()}

    return call


PEERS = {"torch.compile": compiled, "vmap(grad)": vmap_grad}


def checked_peer(name: str, contest: Contest, axis: str, size: int, dtype: str) -> Callable[[], Any]:
    """The peer of that name, called once. Raises AssertionError where its results are not those of the torch form."""
    peer = PEERS[name](contest, axis, size, dtype)
    results = {"torch": contest.contestants(axis, size, dtype)["torch"](), name: peer()}
    assert_equal(results, TOLERANCE[dtype], f"{contest.subject}, {size:,} {axis}, {dtype}")
    return peer
