"""The reference as a program: every operation it did, each with its local rule, to be run again with one rule broken.

The reference is run once under a dispatch mode that sees torch's core operations (fused ones are decomposed first),
with mutations turned into new values. Backpropagation over this record gives autograd's numbers; a hook at an
operation, or at a value, changes one rule of it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import linecache
import os
import sys
import warnings
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import CodeType
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_unflatten

from gradproof import oracles
from gradproof.buffers import read_through
from gradproof.decompositions import OF_PROBABILITIES, ByHand, decomposition
from gradproof.local_rules import CONSTANT, OF_COMPLEX, Rule, in_kind, rule
from gradproof.oracles import Arrays
from gradproof.tolerances import largest, relative_tolerance

Tensor = torch.Tensor
_POINTWISE = ("leaky_relu", "elu", "softplus", "hardtanh")  # torch 2.6 does not say so of them
MOST_REMEMBERED = 10_000_000  # numbers (80 MB)
# Operations after which it is still the same array.
VIEWS = tuple("t transpose permute view _unsafe_view expand unsqueeze squeeze reshape flatten clone to".split())
PARTS = ("split", "unsafe_split", "split_with_sizes", "chunk")
_HERE = str(Path(__file__).parent)
_SKIPPED_FOLDERS = (os.path.dirname(torch.__file__), os.path.join(os.path.dirname(np.__file__), ""), _HERE)


@dataclass(frozen=True)
class Site:
    """Where in the reference an operation was done. Two operations of one line differ in their instruction."""

    file: str
    line: int
    instruction: int = -1
    expression: str = field(default="", compare=False)  # the part of the line that did it, where Python can tell
    callers: tuple[tuple[str, int, int], ...] = field(default=(), compare=False)  # file, line, instruction, outwards

    @property
    def source(self) -> str:
        return linecache.getline(self.file, self.line).strip()

    def __str__(self) -> str:
        shown = self.file
        with contextlib.suppress(ValueError, OSError):
            shown = str(Path(self.file).relative_to(Path.cwd()))
        return f"{shown}:{self.line}" + (f"  {self.source}" if self.source else "")


NOWHERE = Site("", 0)


@dataclass
class Node:
    """One operation: its inputs and outputs as numbers of values, and how to do it again."""

    index: int
    func: Any
    flat: list[Any]  # the arguments, flattened; tensors stand at `positions`
    spec: Any
    positions: list[int]
    inputs: list[int]
    outputs: list[int]
    site: Site
    part: tuple[str, int] | None = None  # of a fused operation: its name, and which of its operations this is
    cut: bool = False  # whether it was done under no_grad
    inner: bool = False  # whether its source text does more with its result, as a loss with what it takes the log of

    @functools.cached_property
    def name(self) -> str:
        """The operation's name as torch spells it, such as `sigmoid` or `mm`."""
        return str(self.func.overloadpacket.__name__)

    def run(self, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Do the operation on other tensors. Returns its tensor outputs."""
        args, kwargs = self._given(tensors)
        return _tensors(self.func(*args, **kwargs))

    def _given(self, tensors: Sequence[Tensor]) -> tuple[Sequence[Any], dict[str, Any]]:
        """The arguments with other tensors in their places."""
        arguments, keywords = self._arguments
        if self._places is None:  # in lists, or given by keyword
            flat = list(self.flat)
            for position, tensor in zip(self.positions, tensors, strict=True):
                flat[position] = tensor
            args, kwargs = tree_unflatten(flat, self.spec)
            return args, kwargs
        args = list(arguments)
        for place, tensor in zip(self._places, tensors, strict=True):
            args[place] = tensor
        return args, keywords

    @functools.cached_property
    def _arguments(self) -> tuple[Sequence[Any], dict[str, Any]]:
        """The arguments as they were given, with None where a tensor stands."""
        args, kwargs = tree_unflatten(self.flat, self.spec)
        return args, kwargs

    @functools.cached_property
    def _places(self) -> list[int] | None:
        """Where the tensors stand among the arguments; None where one stands in a list, or has a keyword."""
        marked = list(self.flat)
        for position in self.positions:
            marked[position] = _TENSOR
        found = [i for i, one in enumerate(tree_unflatten(marked, self.spec)[0]) if one is _TENSOR]
        return found if len(found) == len(self.positions) else None

    def fields(self) -> dict[str, Any]:
        """The fields of a node, without what is derived from them."""
        return {one.name: getattr(self, one.name) for one in dataclasses.fields(Node)}

    @functools.cached_property
    def arguments(self) -> list[Any]:
        """All positional arguments, with None where a tensor stands."""
        return list(self._arguments[0])

    @property
    def keywords(self) -> dict[str, Any]:
        """The arguments that were given by keyword."""
        return self._arguments[1]

    @functools.cached_property
    def pointwise(self) -> bool:
        """Whether each entry of the result is made of the entries in its place."""
        return torch.Tag.pointwise in self.func.tags or self.name in _POINTWISE

    @functools.cached_property
    def rule(self) -> Rule | None:
        """The local rule, where it is written out."""
        return rule(self.func, *self._arguments)

    @functools.cached_property
    def constants(self) -> list[Any]:
        """The arguments that are no tensors, in order."""
        return [one for i, one in enumerate(self.flat) if i not in self.positions]


_TENSOR = object()  # stands for a tensor


def _tensors(result: Any) -> tuple[Tensor, ...]:
    """The tensors among what an operation gives back."""
    if isinstance(result, Tensor):
        return (result,)
    return tuple(one for one in tree_flatten(result)[0] if isinstance(one, Tensor))


Gradients = list["Tensor | None"]


class Totals(Mapping[int, Tensor]):
    """What arrived at each value that has been passed, joined."""

    def arriving(self, value: int) -> list[tuple[int, Tensor]]:
        """What arrived at a value, with the operations that it comes from; KeyError where it is not known yet."""
        raise NotImplementedError


NodeHook = Callable[["Tape", Node, list[Tensor | None], Totals], Gradients]
# Joins what arrives at a value; it is also given what arrived at the values nearer to the loss.
ValueHook = Callable[["Tape", list[tuple[int, Tensor]], Totals], "Tensor | None"]


@dataclass(frozen=True)
class Recording:
    """How a reference is recorded: writing into slices turned into new values; what is detached cut off.

    With `probabilities`, functions of logits have their sigmoid or softmax as a part of their own.
    """

    functionalize: bool = False
    cut: bool = False
    probabilities: bool = False


# The quickest first; the others start slower, or are needed by few.
RECORDINGS = (Recording(), Recording(cut=True), Recording(functionalize=True), Recording(True, True))


@dataclass
class Tape:
    """A run of the reference. `values` are all tensors in it; `parameters` and `terms` say which of them are which."""

    nodes: list[Node]
    values: list[Tensor]
    parameters: dict[str, int]
    terms: dict[str, int]
    data: dict[str, int]
    how: Recording
    torn: bool = False  # whether it writes into a slice, and does not know what becomes of the whole array
    _graphs: dict[int, tuple[list[Tensor], list[Tensor]]] = field(default_factory=dict)
    jacobians: dict[int, list[Tensor | None]] = field(default_factory=dict)  # of operations that are asked for often
    _remembered: dict[Hashable, Tensor] = field(default_factory=dict)

    @property
    def holds_something(self) -> bool:
        """Whether the reference holds something constant that is made of parameters: detached, or under `no_grad`."""
        return bool(self.how.cut) or any(node.cut for node in self.nodes)

    @cached_property
    def consumers(self) -> dict[int, list[int]]:
        """For each value, the operations that take it, in order."""
        found: dict[int, list[int]] = {}
        for node in self.nodes:
            for value in dict.fromkeys(node.inputs):
                found.setdefault(value, []).append(node.index)
        return found

    @cached_property
    def producer(self) -> dict[int, int]:
        """For each value that was computed, the operation that made it."""
        return {value: node.index for node in self.nodes for value in node.outputs}

    @cached_property
    def ancestors(self) -> dict[int, int]:
        """For each value, the operations it depends on, as the bits of a number."""
        found: dict[int, int] = {}
        for node in self.nodes:
            mask = 1 << node.index
            for value in node.inputs:
                mask |= found.get(value, 0)
            for value in node.outputs:
                found[value] = mask
        return found

    @cached_property
    def made_of(self) -> dict[int, frozenset[str]]:
        """For each value that is made of parameters, which ones."""
        found = {value: frozenset([name]) for name, value in self.parameters.items()}
        for node in self.nodes:
            names = frozenset().union(*(found.get(value, frozenset()) for value in node.inputs))
            found.update((value, names) for value in node.outputs if value in self.differentiable)
        return found

    def depends(self, value: int, node: Node) -> bool:
        """Whether a value was computed from an operation's result."""
        return bool(self.ancestors.get(value, 0) >> node.index & 1)

    def maker(self, value: int) -> Node | None:
        """The operation that made a value; None of a parameter, of data and of a constant."""
        index = self.producer.get(value)
        return None if index is None else self.nodes[index]

    def name_of(self, value: int) -> str | None:
        """A parameter's or data array's name; None for anything that was computed."""
        for names in (self.parameters, self.data):
            for name, number in names.items():
                if number == value:
                    return name
        return None

    @cached_property
    def differentiable(self) -> frozenset[int]:
        """The values that depend on a parameter, through floating-point operations."""
        found = set(self.parameters.values())
        for node in self.nodes:
            cut = node.cut and type(node) is Node
            if found & set(node.inputs) and node.name not in CONSTANT and not cut:
                found.update(value for value in node.outputs if _moves(self.values[value]))
        return frozenset(found)

    @cached_property
    def of_complex(self) -> frozenset[int]:
        """The operations that take or make complex numbers."""
        return frozenset(
            node.index
            for node in self.nodes
            if any(self.values[value].is_complex() for value in (*node.inputs, *node.outputs))
        )

    def written(self, node: Node) -> Rule | None:
        """The written-out rule of an operation; None where there is none, or none for such numbers."""
        holds = type(node) is Node and (node.index not in self.of_complex or node.name in OF_COMPLEX)
        return node.rule if holds else None

    def remembered(self, key: Hashable, make: Callable[[], Tensor]) -> Tensor:
        """What many rules ask for in turn, made once where there is room for it."""
        found = self._remembered.get(key)
        if found is None:
            found = make()
            if found.numel() * (1 + len(self._remembered)) < MOST_REMEMBERED:
                self._remembered[key] = found
        return found

    def vjp(self, node: Node, grads: Sequence[Tensor | None], at: Mapping[int, Tensor] | None = None) -> Gradients:
        """The local rule: gradients of a node's inputs from those of its outputs.

        `at` gives other tensors for some inputs (by position among them) at which the rule is taken instead.
        """
        if node.name in PARTS and type(node) is Node:
            return self._joined(node, grads)
        written = self.written(node)
        if written is not None:
            if grads[0] is None:
                return [None] * len(node.inputs)
            x = [self.values[value] for value in node.inputs]
            y = self.values[node.outputs[0]]
            if at:
                x = [at.get(i, one) for i, one in enumerate(x)]
                y = node.run(x)[0]
            made = written(x, y, grads[0], node.arguments)
            if node.index in self.of_complex:
                made = [in_kind(g, one) for g, one in zip(made, x, strict=True)]
            return [g if v in self.differentiable else None for v, g in zip(node.inputs, made, strict=True)]
        wanted = [i for i, value in enumerate(node.inputs) if value in self.differentiable]
        leaves, outputs = self._graph(node) if at is None else self._trace(node, at)
        given = zip(outputs, grads, strict=True)
        pairs = [(out, grad) for out, grad in given if grad is not None and out.requires_grad]
        result: Gradients = [None] * len(node.inputs)
        if not pairs:
            return result
        found = pulled_back(pairs, [leaves[i] for i in wanted])
        for i, grad in zip(wanted, found, strict=True):
            result[i] = grad
        return result

    def _joined(self, node: Node, grads: Sequence[Tensor | None]) -> Gradients:
        """The rule of a split: its parts put together again."""
        if all(grad is None for grad in grads):
            return [None]
        parts = [
            torch.zeros_like(self.values[value]) if grad is None else grad
            for value, grad in zip(node.outputs, grads, strict=True)
        ]
        return [put_together(node, parts, self.values[node.inputs[0]].dim())]

    def _graph(self, node: Node) -> tuple[list[Tensor], list[Tensor]]:
        if node.index not in self._graphs:
            self._graphs[node.index] = self._trace(node, {})
        return self._graphs[node.index]

    def _trace(self, node: Node, at: Mapping[int, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        leaves = []
        for i, value in enumerate(node.inputs):
            tensor = at.get(i, self.values[value]).detach()
            leaves.append(tensor.requires_grad_() if value in self.differentiable else tensor)
        with torch.enable_grad():
            return leaves, list(node.run(leaves))

    def backward(
        self,
        node_hooks: Mapping[int, NodeHook] | None = None,
        value_hooks: Mapping[int, ValueHook] | None = None,
    ) -> Backward:
        """Backpropagate from the terms. Hooks replace an operation's rule, or how contributions are joined.

        What no broken rule can reach is taken from the clean pass.
        """
        return Backward(self, self.clean, node_hooks or {}, value_hooks or {})

    @cached_property
    def clean(self) -> Backward:
        """Backpropagation with no rule broken."""
        return Backward(self, None, {}, {})

    def replay(
        self,
        changed: Mapping[int, Callable[..., Sequence[Tensor]]],
        rewired: Mapping[int, Mapping[int, int]] | None = None,
        forward_only: Collection[int] = (),
    ) -> Tape | None:
        """The tape of the same program with some operations replaced; None where the shapes then no longer fit.

        None as well where the loss is no longer a number: nobody's numbers come of it. So with coordinates: torch's own
        backward pass through a look-up where there is nothing (`grid_sample`) ends the process.

        `rewired` gives operations other values as inputs, by position. What is replaced `forward_only` keeps its own
        rule on the way back, at the values that there are now.
        """
        rewired = rewired or {}
        values = list(self.values)
        dirty: set[int] = set()
        first = min((*changed, *rewired), default=0)
        nodes = self.nodes[:first]
        with torch.no_grad():
            for node in self.nodes[first:]:
                own = node
                if node.index in rewired:
                    others = rewired[node.index]
                    node = dataclasses.replace(node, inputs=[others.get(i, v) for i, v in enumerate(node.inputs)])
                if node.index in changed or node.index in rewired or not dirty.isdisjoint(node.inputs):
                    inputs = [values[value] for value in node.inputs]
                    try:
                        replace = changed.get(node.index)
                        outputs = replace(node, inputs, values) if replace is not None else node.run(inputs)
                    except (RuntimeError, IndexError, ValueError, TypeError):
                        return None
                    if len(outputs) != len(node.outputs):
                        return None
                    if node.name.startswith("grid_sampler") and any(_has_nan(one) for one in inputs):
                        return None
                    for value, tensor in zip(node.outputs, outputs, strict=True):
                        values[value] = tensor
                        dirty.add(value)
                    if replace is not None:
                        node = Replaced(**node.fields(), replacement=replace, original=node, others=values)
                nodes.append(own if own.index in forward_only else node)
        if not all(map(_is_a_loss, map(values.__getitem__, self.terms.values()))):
            return None
        graphs = {i: one for i, one in self._graphs.items() if not dirty & {*nodes[i].inputs, *nodes[i].outputs}}
        return Tape(nodes, values, self.parameters, self.terms, self.data, self.how, self.torn, graphs)

    def with_nodes(self, nodes: list[Node]) -> Tape:
        """The same values made by other operations, which give the same."""
        return Tape(nodes, self.values, self.parameters, self.terms, self.data, self.how, self.torn)

    @cached_property
    def of_probabilities(self) -> frozenset[int]:
        """The operations that are functions of logits, or that were taken apart from one of these."""
        fused = OF_PROBABILITIES
        return frozenset(
            one.index for one in self.nodes if one.name in fused or (one.part is not None and one.part[0] in fused)
        )

    def forget(self) -> None:
        """Let go of the clean pass, which holds the tape in turn, so that both are gone with their last user."""
        self.__dict__.pop("clean", None)

    def loss(self) -> float:
        return sum(float(self.values[value].reshape(())) for value in self.terms.values())


@dataclass
class Replaced(Node):
    """An operation in whose place another one stands."""

    replacement: Any = None
    original: Any = None
    others: list[Tensor] = field(default_factory=list)

    def run(self, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return tuple(self.replacement(self.original, list(tensors), self.others))


class Unseen(Node):
    """What was written into an array under `no_grad`: autograd goes on as if nothing had been."""

    def run(self, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        (made,) = super().run(tensors)
        return (made.detach() + (tensors[0] - tensors[0].detach()),)


class Backward:
    """What backpropagation comes to, and for every value what arrives there and from which operation.

    `totals` is what arrives at a value in all, `local` what an operation sends to each of its inputs; `seen` is both as
    hooks are given it.
    """

    def __init__(
        self,
        tape: Tape,
        clean: Backward | None,
        node_hooks: Mapping[int, NodeHook],
        value_hooks: Mapping[int, ValueHook],
    ) -> None:
        self.tape, self.clean, self.node_hooks, self.value_hooks = tape, clean, node_hooks, value_hooks
        self.changed: set[int] = set(value_hooks)  # the values at which something else arrives than in the clean pass
        self.totals: dict[int, Tensor] = dict(clean.totals) if clean is not None else {}
        self.local: dict[int, Gradients] = dict(clean.local) if clean is not None else {}
        self._done = len(tape.nodes)  # all operations from this one on have been gone back through
        self._joining = -1  # the value at which what arrives is being joined: in all, it is not known yet
        for node in reversed(tape.nodes):
            hook = node_hooks.get(node.index)
            if clean is not None and hook is None and self.changed.isdisjoint(node.outputs):
                self._done = node.index
                continue
            grads = [self._join(value) for value in node.outputs]
            if hook is not None:
                self._send(node, hook(tape, node, grads, self.seen))
            elif any(grad is not None for grad in grads):
                self._send(node, tape.vjp(node, grads))
            elif node.index in self.local:
                self._send(node, [None] * len(node.inputs))
            self._done = node.index
        # A broken rule at one parameter may ask for what has arrived at another: those without one come first.
        order = sorted(tape.parameters.values(), key=value_hooks.__contains__)
        joined_at = {value: self._join(value) for value in order}
        self.gradients: dict[str, Tensor] = {}
        for name, value in tape.parameters.items():
            total = joined_at[value]
            self.gradients[name] = total if total is not None else torch.zeros_like(tape.values[value])

    @property
    def seen(self) -> Totals:
        """What hooks are given: made anew each time; kept, it would keep all of this until garbage is collected."""
        return _Seen(self)

    def _send(self, node: Node, in_grads: Gradients) -> None:
        self.local[node.index] = in_grads
        self.changed.update(value for value in node.inputs if value in self.tape.differentiable)

    def arriving(self, value: int) -> list[tuple[int, Tensor]]:
        """What arrives at a value, with the operations that it comes from; -1 for the loss itself."""
        found = [(-1, torch.ones_like(self.tape.values[value])) for one in self.tape.terms.values() if one == value]
        for index in reversed(self.tape.consumers.get(value, ())):
            sent = self.local.get(index)
            if sent is not None and value in self.tape.differentiable:
                inputs = self.tape.nodes[index].inputs
                found += [(index, g) for v, g in zip(inputs, sent, strict=True) if v == value and g is not None]
        return found

    def _join(self, value: int) -> Tensor | None:
        """What arrives at a value in all, once all operations that take it have been gone back through."""
        if self.clean is not None and value not in self.changed:
            return self.totals.get(value)
        contributions = self.arriving(value)
        hook = self.value_hooks.get(value)
        self._joining = value
        total = joined(contributions) if hook is None else hook(self.tape, contributions, self.seen)
        self._joining = -1
        if total is None:
            self.totals.pop(value, None)
        else:
            self.totals[value] = total
        return total

    def known(self, value: int) -> bool:
        """Whether all operations that take a value have been gone back through."""
        consumers = self.tape.consumers.get(value)
        return value != self._joining and (consumers is None or consumers[0] >= self._done)

    def arrays(self) -> Arrays:
        return {name: grad.detach().numpy() for name, grad in self.gradients.items()}


class _Seen(Totals):
    """What arrives at the values nearer to the loss, as far as it is known by now."""

    def __init__(self, backward: Backward) -> None:
        self.backward = backward

    def __getitem__(self, value: int) -> Tensor:
        if not self.backward.known(value):
            raise KeyError(value)
        return self.backward.totals[value]

    def arriving(self, value: int) -> list[tuple[int, Tensor]]:
        if not self.backward.known(value):
            raise KeyError(value)
        return self.backward.arriving(value)

    def __iter__(self) -> Iterator[int]:
        return iter(self.backward.totals)

    def __len__(self) -> int:
        return len(self.backward.totals)


def reached(nodes: Sequence[Node], values: Iterable[int], but_for: Collection[int] = ()) -> frozenset[int]:
    """Some values, and those in which they have a part; not by way of the operations that make some others."""
    found = set(values)
    for node in nodes:
        if not found.isdisjoint(node.inputs) and not any(value in but_for for value in node.outputs):
            found.update(node.outputs)
    return frozenset(found)


def _is_a_loss(one: Tensor) -> bool:
    """Whether a value is one real number: without `abs`, what was a size is complex."""
    return one.numel() == 1 and not one.is_complex() and not _has_nan(one)


def _has_nan(tensor: Tensor) -> bool:
    total = float(tensor.sum())  # quicker than to look at each entry; infinities may cancel to NaN
    return total != total and bool(tensor.isnan().any())


def joined(contributions: Sequence[tuple[int, Tensor]], without: Collection[int] = ()) -> Tensor | None:
    """The sum of what arrives at a value, but for what some operations send; None where nothing is left."""
    parts = [one for index, one in contributions if index not in without]
    return sum(parts[1:], parts[0]) if parts else None


def added(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    """What arrives in two ways together, either of which may bring nothing."""
    return other if one is None else one if other is None else one + other


def put_together(node: Node, parts: Sequence[Tensor], dims: int) -> Tensor:
    """The array of so many axes that a node took apart, of its parts; these may all have more axes in front."""
    position = 1 if node.name == "unbind" else 2
    dim = int(node.arguments[position]) if len(node.arguments) > position else 0
    join = torch.stack if node.name == "unbind" else torch.cat
    return join(list(parts), dim % dims - dims)


def pulled_back(pairs: Sequence[tuple[Tensor, Tensor]], leaves: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
    """The gradients of the leaves, from results and what arrives at each.

    Through a sum of products: asked for vector-Jacobian products, torch first loads a computer algebra system (0.7 s).
    """
    with torch.enable_grad():
        total = torch.stack([_product(out, grad) for out, grad in pairs]).sum()
    again = any(grad.requires_grad for _, grad in pairs)  # to be differentiated by what arrived
    return torch.autograd.grad(total, leaves, retain_graph=True, create_graph=again, allow_unused=True)


def _product(out: Tensor, grad: Tensor) -> Tensor:
    """The inner product of a result and what arrives at it, of complex numbers that of R^2."""
    return (out * grad.conj()).real.sum() if out.is_complex() else (out * grad).sum()


def flat(one: Tensor, lanes: bool = False) -> Tensor:
    """An array as one row of real numbers, of complex ones both parts; with `lanes`, a row for each of its first."""
    real = torch.view_as_real(one.resolve_conj()) if one.is_complex() else one
    return real.reshape(len(one), -1) if lanes else real.reshape(-1)


def _moves(value: Tensor) -> bool:
    return value.dtype.is_floating_point or value.dtype.is_complex


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # otherwise torch loads its compiler (1.5 s) to keep it away from this mode

    def __init__(self, how: Recording | None = None, sites: bool = True) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.sites = sites
        how = how or Recording()
        self.probabilities = how.probabilities
        self.aliases = _ALIASES if how.cut else (*_ALIASES, "detach")
        self.fused, self.parts = "", 0  # the operation that is being taken apart, and how many parts it has by now
        self.nodes: list[Node] = []
        self.values: list[Tensor] = []
        self.numbers: dict[int, int] = {}
        self.torn = False  # whether a slice was written into
        self.kept: list[Tensor] = []  # a tensor that is kept alive keeps its id its own

    def number(self, tensor: Tensor) -> int:
        """The number of a tensor among the values; a tensor that was not seen before is a constant."""
        key = id(tensor)
        if key not in self.numbers:
            self.numbers[key] = len(self.values)
            self.values.append(tensor.detach())  # autograd follows the weights of the reference's own modules
            self.kept.append(tensor)
        return self.numbers[key]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        parts = decomposition(func, self.probabilities)
        if parts is not None:
            outermost = not self.fused
            if outermost:
                self.fused, self.parts = str(func.overloadpacket.__name__), 0
            with self:
                found = parts(*args, **kwargs)
            if outermost:
                self.fused = ""
            if found is not NotImplemented:
                return found
        flat, spec = tree_flatten((args, kwargs))
        positions = [i for i, one in enumerate(flat) if isinstance(one, Tensor)]
        inputs = [self.number(flat[i]) for i in positions]
        functional = _functional(func)
        if functional is not func:
            self.torn = self.torn or bool(flat[positions[0]]._is_view())
            self.values[inputs[0]] = flat[positions[0]].detach().clone()  # what it was before it is overwritten
        result = func(*args, **kwargs)
        outputs = _tensors(result)
        if not positions or not outputs:
            return result
        if functional is func and len(outputs) == 1 and any(outputs[0] is flat[i] for i in positions):
            return result  # it made nothing: a copy to where the tensor is already
        alias = functional.overloadpacket.__name__ in self.aliases
        if alias or (functional is func and _is_the_same_view(func, flat[positions[0]], outputs)):
            self.numbers[id(outputs[0])] = inputs[0]
            self.kept.append(outputs[0])
            return result
        for one in outputs:
            self.numbers.pop(id(one), None)
        rest = [None if i in positions else one for i, one in enumerate(flat)]
        made = [self.number(one) for one in outputs]
        site = _site() if self.sites else NOWHERE
        part = (self.fused, self.parts) if self.fused else None
        self.parts += 1
        cut = not torch.is_grad_enabled()
        kind = Unseen if cut and functional is not func else Node
        self.nodes.append(kind(len(self.nodes), functional, rest, spec, positions, inputs, made, site, part, cut))
        return result


_ALIASES = ("alias", "lift_fresh")


def _is_the_same_view(func: Any, given: Tensor, outputs: Sequence[Tensor]) -> bool:
    """Whether an operation only looks at a tensor again, in the shape that it has: a product of three axes does.

    So does a slice of all of an axis, which older versions of torch make for `x[:, 1:]`.
    """
    name, same = func.overloadpacket.__name__, outputs[0].shape == given.shape
    return same and name in ("view", "_unsafe_view", "expand", "reshape", "unsqueeze", "squeeze", "slice")


def _functional(func: Any) -> Any:
    """The operation that makes a new value, for one that writes into its first argument (`add` for `add_`)."""
    name, overload = func.overloadpacket.__name__, func._overloadname
    if not name.endswith("_") or name.startswith("_"):
        return func
    packet = getattr(torch.ops.aten, name[:-1], None)
    if packet is None or hasattr(packet, overload):
        return getattr(packet, overload, func)
    taken = [str(one.type) for one in func._schema.arguments]  # `transpose_.default` is `transpose.int`
    others = [getattr(packet, one) for one in packet.overloads()]
    return next((one for one in others if [str(a.type) for a in one._schema.arguments] == taken), func)


def _site() -> Site:
    """The line outside torch and this package that is being run; no line where that is not the reference's."""
    frame = sys._getframe(2)
    while frame.f_code.co_filename.startswith(_SKIPPED_FOLDERS) and frame.f_back is not None:
        if frame.f_code is _record.__code__:
            return NOWHERE
        frame = frame.f_back
    callers = []
    outer = frame.f_back
    while outer is not None and not outer.f_code.co_filename.startswith(_HERE):
        if not outer.f_code.co_filename.startswith(_SKIPPED_FOLDERS):
            callers.append((outer.f_code.co_filename, outer.f_lineno, outer.f_lasti))
        outer = outer.f_back
    expression = _expression(frame.f_code, frame.f_lasti)
    return Site(frame.f_code.co_filename, frame.f_lineno, frame.f_lasti, expression, tuple(callers))


@functools.lru_cache(maxsize=4096)
def _expression(code: CodeType, instruction: int) -> str:
    """The source text of one instruction of a line (Python 3.11 and newer know it)."""
    if not hasattr(code, "co_positions"):
        return ""
    first, last, start, end = next(itertools.islice(code.co_positions(), instruction // 2, None), (None,) * 4)
    if first is None or first != last or start is None or end is None:
        return ""
    line = linecache.getline(code.co_filename, first).encode()  # columns count bytes
    return line[start:end].decode(errors="replace").strip()


def record(
    reference: Callable[..., Any],
    params: Arrays,
    data: tuple[Any, ...],
    truth: oracles.Truth | None = None,
    how: Recording | None = None,
) -> Tape | None:
    """Run the reference once and keep every operation.

    With `truth`, what comes back is known to give autograd's numbers; None where that cannot be had in any way, or not
    as `how` says. Without it, the reference is recorded as `how` says, and whatever it raises is raised.
    """
    if truth is None:
        return _record(reference, params, data, how or Recording())
    found = None
    for one in RECORDINGS if how is None else (how,):
        try:
            tape = _record(reference, params, data, one)
        except Exception:  # what autograd runs, torch may not run with new values for mutations
            continue
        if gives(tape, truth):
            if not tape.torn:
                return tape
            found = found or tape  # its gradients are right, but another forward pass cannot be told from it
    return found


def gives(tape: Tape, truth: oracles.Truth) -> bool:
    """Whether a tape has autograd's numbers; one with sparse arrays is none, since they have no rows."""
    if any(value.layout != torch.strided for value in tape.values):
        return False
    try:
        ours = tape.clean.arrays()
    except Exception:  # some operation that torch cannot differentiate by itself
        return False
    top = max(largest(value) for value in truth.gradients.values())
    return all(
        largest(ours[name] - right) <= relative_tolerance(truth.oracle, right.dtype) * max(largest(right), 1e-3 * top)
        for name, right in truth.gradients.items()
    )


def _record(reference: Callable[..., Any], params: Arrays, data: tuple[Any, ...], how: Recording) -> Tape:
    recorder = Recorder(how)
    tensors = {name: oracles.as_tensor(value) for name, value in params.items()}
    others = tuple(oracles.as_tensor(value) for value in data)
    names: list[str] = []

    def run(*flat: Tensor) -> tuple[Tensor, ...]:
        given = iter(flat)
        filled = {name: next(given) for name in tensors}
        rest = tuple(next(given) if _may_be_written(one) else one for one in others)
        terms = oracles.reference_terms(reference, filled, rest)
        names.extend(terms)
        return tuple(terms.values())

    flat = [*tensors.values(), *(one for one in others if _may_be_written(one))]
    for tensor in [*tensors.values(), *(one for one in others if isinstance(one, Tensor))]:
        recorder.number(tensor)
    with torch.enable_grad(), _unfused(), ByHand(), recorder:  # none of the tensors asks for a gradient
        results = (torch.func.functionalize(run) if how.functionalize else run)(*flat)
    terms = {name: recorder.number(result) for name, result in zip(names, results, strict=True)}
    parameters = {name: recorder.number(tensor) for name, tensor in tensors.items()}
    positions = [i for i, one in enumerate(others) if isinstance(one, Tensor)]
    inputs = {f"data[{i}]": recorder.number(others[i]) for i in positions}
    done, given = _until(terms.values(), recorder.nodes), {*parameters.values(), *inputs.values()}
    nodes, results = read_through(done, recorder.values, given, list(terms.values()))
    terms = dict(zip(terms, results, strict=True))
    _mark_inner(nodes)
    return Tape(nodes, recorder.values, parameters, terms, inputs, how, recorder.torn)


def _mark_inner(nodes: Sequence[Node]) -> None:
    """Mark the operations whose results are used on by others of the same expression, done in one go with them."""
    for _, run in itertools.groupby(nodes, lambda node: node.site):
        used: set[int] = set()
        for node in reversed(list(run)):
            node.inner = node.site != NOWHERE and not used.isdisjoint(node.outputs)
            if node.name not in VIEWS or node.inner:
                used.update(node.inputs)


def _until(values: Collection[int], nodes: Sequence[Node]) -> list[Node]:
    """The operations up to the last that makes one of some values: a candidate goes on to its way back."""
    last = max((node.index for node in nodes if not set(values).isdisjoint(node.outputs)), default=-1)
    return list(nodes[: last + 1])


def _may_be_written(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype.is_floating_point


@contextlib.contextmanager
def _unfused() -> Iterator[None]:
    """Keep torch from choosing kernels that do a whole module in one call."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of its own switches
        with torch.backends.mkldnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH):
            yield
