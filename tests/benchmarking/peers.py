"""Other ways to the same gradients, made from a benchmark's torch form; the table shows them when asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.benchmarking.contest import TOLERANCE, Contest, assert_equal
from tests.benchmarking.in_jax import jax_form


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


def loss_call(contest: Contest, axis: str, size: int, dtype: str) -> tuple[Callable[..., Any], dict, tuple]:
    """(loss, params, data), as the torch form calls its reference: loss(params, *data) is one tensor, terms added up.

    Raises LookupError where the torch form takes no `loss` of its reference.
    """
    listener = Listener(contest.reference)
    replace(contest, reference=listener).contestants(axis, size, dtype)["torch"]()
    if listener.heard is None:
        raise LookupError("the torch form does not call the reference's loss")
    tensors, data, hyper = listener.heard

    def loss(params: dict, *data: Any) -> Any:
        value = contest.reference.loss(params, *data, **hyper)
        return sum(value.values()) if isinstance(value, dict) else value

    return loss, {name: tensor.detach() for name, tensor in tensors.items()}, data


def vmap_grad(contest: Contest, axis: str, size: int, dtype: str) -> Callable[[], Any]:
    """The mean over samples of torch.func.vmap(grad) of the loss of one sample, samples on axis 0 of all data.

    It is for the caller to assert that this mean is the gradient: it is not where the loss is no mean over samples.
    """
    import torch

    loss, params, data = loss_call(contest, axis, size, dtype)

    def loss_of_one(params: dict, *sample: Any) -> Any:
        return loss(params, *(entry[None] for entry in sample))

    each = torch.func.vmap(torch.func.grad_and_value(loss_of_one), in_dims=(None, *(0 for _ in data)))

    def call() -> tuple[Any, dict]:
        grads, losses = each(params, *data)
        return losses.mean(), {name: grad.mean(dim=0) for name, grad in grads.items()}

    return call


def jax(contest: Contest, axis: str, size: int, dtype: str) -> Callable[[], Any]:
    """jit(value_and_grad) of the reference's loss in JAX, on as many threads as torch has now."""
    import torch

    return jax_form(*loss_call(contest, axis, size, dtype), torch.get_num_threads())


PEERS = {"torch.compile": compiled, "vmap(grad)": vmap_grad, "jax": jax}


def checked_peer(name: str, contest: Contest, axis: str, size: int, dtype: str) -> Callable[[], Any]:
    """The peer of that name, called once. Raises AssertionError where its results are not those of the torch form."""
    peer = PEERS[name](contest, axis, size, dtype)
    results = {"torch": contest.contestants(axis, size, dtype)["torch"](), name: peer()}
    assert_equal(results, TOLERANCE[dtype], f"{contest.subject}, {size:,} {axis}, {dtype}")
    return peer
