"""JAX as a peer: the reference's loss, operation by operation in jax.numpy, under jit(value_and_grad).

The loss is traced once into the list of torch's basic operations that it consists of (loops over time lie there step
after step), and each of these has one line here. So no subject is written a third time, and JAX compiles exactly the
mathematics that torch runs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any


def load_jax(threads: int) -> Any:
    """The module jax, with float64. The number of threads is read when it first computes, and stands from then on."""
    os.environ.setdefault("NPROC", str(threads))
    if threads == 1:
        os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
    import jax

    jax.config.update("jax_enable_x64", True)
    return jax


def operations(jax: Any) -> dict[str, Callable[..., Any]]:
    """What stands for each of torch's basic operations, by torch's name for it."""
    jnp = jax.numpy

    def along(x: Any, axis: int, index: Any) -> Any:
        return x[(slice(None),) * (axis % x.ndim) + (index,)]

    def expand(x: Any, shape: list[int]) -> Any:
        old = (*(1,) * (len(shape) - x.ndim), *x.shape)
        return jnp.broadcast_to(x, [m if n == -1 else n for m, n in zip(old, shape, strict=True)])

    return {
        "abs": jnp.abs,
        "add": jnp.add,
        "div": jnp.divide,
        "exp": jnp.exp,
        "expand": expand,
        "log1p": jnp.log1p,
        "mean": jnp.mean,
        "minimum": jnp.minimum,
        "mm": jnp.matmul,
        "mul": jnp.multiply,
        "mv": jnp.matmul,
        "neg": jnp.negative,
        "new_zeros": lambda x, shape, **_: jnp.zeros(shape, x.dtype),
        "pow": jnp.power,
        "rsub": lambda x, y: y - x,
        "select": along,
        "sigmoid": jax.nn.sigmoid,
        "slice": lambda x, axis=0, start=None, stop=None, step=1: along(x, axis, slice(start, stop, step)),
        "sub": jnp.subtract,
        "sum": lambda x, axes=(): jnp.sum(x, axis=tuple(axes) or None),
        "tanh": jnp.tanh,
    }


def traced(loss: Callable[..., Any], *tensors: Any) -> Any:
    """The basic operations that `loss` makes of these tensors, in their order: a torch.fx graph."""
    import torch
    from torch.fx.experimental.proxy_tensor import make_fx

    fused = [torch.ops.aten.binary_cross_entropy_with_logits, torch.ops.aten.log_sigmoid_forward]
    return make_fx(loss, decomposition_table=torch._decomp.get_decompositions(fused))(*tensors).graph


def replayed(graph: Any, jax: Any) -> Callable[..., Any]:
    """The function that runs a graph in JAX. Raises LookupError where an operation has no line in `operations`."""
    from torch.fx import map_arg

    known, nodes = operations(jax), [node for node in graph.nodes if node.op == "call_function"]
    names = [node.target._schema.name.removeprefix("aten::") for node in nodes]
    if missing := sorted(set(names) - known.keys()):
        raise LookupError(f"in_jax.operations has no line for {', '.join(missing)}")
    inputs, result = graph.find_nodes(op="placeholder"), graph.output_node().args[0]

    def run(*arrays: Any) -> Any:
        values = dict(zip(inputs, arrays, strict=True))
        for name, node in zip(names, nodes, strict=True):
            args, kwargs = map_arg((node.args, node.kwargs), values.__getitem__)
            values[node] = known[name](*args, **kwargs)
        return values[result]

    return run


def jax_form(loss: Callable[..., Any], params: dict, data: tuple, threads: int) -> Callable[[], Any]:
    """A function without arguments: the value and the gradients of loss(params, *data), by jit(value_and_grad).

    It returns once they are computed. Raises ImportError where JAX is not installed.
    """
    jax = load_jax(threads)
    names = list(params)  # JAX sorts the keys of a dict

    def of_flat(*flat: Any) -> Any:
        return loss(dict(zip(names, flat, strict=False)), *flat[len(names) :])

    run = replayed(traced(of_flat, *params.values(), *data), jax)
    compute = jax.jit(jax.value_and_grad(lambda params, *data: run(*(params[name] for name in names), *data)))
    params = {name: jax.numpy.asarray(tensor.numpy()) for name, tensor in params.items()}
    data = [jax.numpy.asarray(tensor.numpy()) for tensor in data]
    return lambda: jax.block_until_ready(compute(params, *data))
