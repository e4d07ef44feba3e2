"""What the reference holds constant (`detach`, `no_grad`): a gradient that flows through it all the same."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace

import torch

from gradproof.diagnosis.fault import Fault, Model
from gradproof.diagnosis.survey import Survey
from gradproof.oracles import Arrays
from gradproof.tape import Node, Site

MOST = 6  # places that are let through one by one


def faults(survey: Survey) -> Iterator[Fault]:
    """All that is held constant let through, and each line of it by itself."""
    lines: dict[Site, set[int]] = {}
    for node in survey.tape.nodes:
        if node.cut or node.name == "detach":
            lines.setdefault(node.site, set()).add(node.index)
    if lines:
        message = "the gradient flows through what the reference holds constant"
        yield _let_through(message, next(iter(lines)), set().union(*lines.values()))
    for site, indices in lines.items() if 1 < len(lines) <= MOST else ():
        what = f"`{site.expression}`" if site.expression else f"line {site.line}"
        message = f"the gradient flows through {what}, which the reference holds constant"
        yield _let_through(message, site, indices)


def _let_through(message: str, site: Site, indices: Collection[int]) -> Fault:
    return Fault("different-function", message, site, 1.25, custom=_run(frozenset(indices)))


def _run(indices: frozenset[int]) -> Callable[[Model], tuple[Arrays, float] | None]:
    def custom(model: Model) -> tuple[Arrays, float] | None:
        nodes = [_open(node) if node.index in indices else node for node in model.tape.nodes]
        tape = model.tape.with_nodes(nodes)
        return tape.clean.arrays(), tape.loss()

    return custom


def _open(node: Node) -> Node:
    """The operation, done where gradients are asked for."""
    return replace(node, cut=False, func=torch.ops.aten.clone.default if node.name == "detach" else node.func)
