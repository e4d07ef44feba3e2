"""Backpropagation with many sets of broken rules at once: one pass, in which each set has a lane of its own.

A small operation costs as much to call for one gradient as for sixty. What no lane changes is taken from a pass that
was made before; what some lane changes is held for all lanes, along a first axis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from gradproof.local_rules import in_kind, unbroadcast
from gradproof.tape import (
    PARTS,
    Backward,
    Gradients,
    Node,
    NodeHook,
    Tape,
    Tensor,
    Totals,
    ValueHook,
    put_together,
)

Hooks = tuple[Mapping[int, NodeHook], Mapping[int, ValueHook]]
Contributions = list[tuple[int, Tensor, bool]]
UNRUNNABLE = (RuntimeError, IndexError, ValueError, TypeError, NotImplementedError, KeyError)


class Lanes:
    """The gradients of each lane: `gradients[name]` is (lanes, *shape), or lacks the name where no lane changes it.

    `hooks` are those of each lane, those of `base` among them. `failed` holds the lanes whose rules could not be run.
    """

    def __init__(self, tape: Tape, base: Backward, hooks: Sequence[Hooks]) -> None:
        self.tape, self.base, self.count = tape, base, len(hooks)
        self.failed: set[int] = set()
        self._local: dict[int, list[Tensor | None]] = {}
        self._totals: dict[int, Tensor | None] = {}
        self._joining: set[tuple[int, int]] = set()  # values and lanes where that is being done
        self._waiting: dict[int, dict[int, ValueHook]] = {}  # by value and lane: the rules that are still to join there
        self._at_nodes = _by_place([nodes for nodes, _ in hooks])
        self._at_values = _by_place([values for _, values in hooks])
        self._changed = {
            value
            for value, own in self._at_values.items()
            if any(hook is not base.value_hooks.get(value) for _, hook in own)
        }
        self._done = len(tape.nodes)
        for node in reversed(tape.nodes):
            self._back_through(node)
            self._done = node.index
        names = [name for name, value in tape.parameters.items() if value in self._changed]
        totals = {name: self.total(tape.parameters[name]) for name in names}
        self.gradients = {
            name: self._zeros(tape.parameters[name]) if one is None else one for name, one in totals.items()
        }

    def _back_through(self, node: Node) -> None:
        reached = not self._changed.isdisjoint(node.outputs)
        usual = self.base.node_hooks.get(node.index)
        own = [(lane, hook) for lane, hook in self._at_nodes.get(node.index, ()) if reached or hook is not usual]
        if not reached and not own:
            return
        grads = [self.total(value) for value in node.outputs]
        if not reached:
            made = [None if one is None else self._for_all(one) for one in self._of_base(node)]
        elif len(own) == self.count or all(one is None for one in grads):
            made = [None] * len(node.inputs)
        else:
            made = self._rule(node, grads)
            made = [None if one is None else one.clone() for one in made] if own else made  # it may be an operand
        for lane, hook in own:
            self._in_one_lane(node, lane, hook, grads, made)
        self._local[node.index] = made
        self._changed.update(value for value in node.inputs if value in self.tape.differentiable)

    def _in_one_lane(
        self, node: Node, lane: int, hook: NodeHook, grads: list[Tensor | None], made: list[Tensor | None]
    ) -> None:
        own = [self._lane_of(one, value, lane) for one, value in zip(grads, node.outputs, strict=True)]
        try:
            found = hook(self.tape, node, own, _LaneSeen(self, lane))
            for i, (value, one) in enumerate(zip(node.inputs, found, strict=True)):
                if value in self.tape.differentiable:
                    if made[i] is None and one is not None:
                        made[i] = self._zeros(value)
                    if (into := made[i]) is not None:
                        into[lane] = 0.0 if one is None else one
        except UNRUNNABLE:
            self.failed.add(lane)

    def _of_base(self, node: Node) -> Gradients:
        return self.base.local.get(node.index, [None] * len(node.inputs))

    def _for_all(self, one: Tensor) -> Tensor:
        return one.expand(self.count, *one.shape).clone()

    def _zeros(self, value: int) -> Tensor:
        return self._for_all(torch.zeros_like(self.tape.values[value]))

    def _lane_of(self, one: Tensor | None, value: int, lane: int) -> Tensor | None:
        return one[lane] if one is not None and value in self._changed else one

    def arriving(self, value: int) -> Contributions:
        """What arrives at a value, with the operations that it comes from, and whether it differs between lanes."""
        ones = torch.ones_like(self.tape.values[value])
        found = [(-1, ones, False) for one in self.tape.terms.values() if one == value]
        for index in reversed(self.tape.consumers.get(value, ())):
            in_lanes = index in self._local
            sent = self._local[index] if in_lanes else self.base.local.get(index)
            if sent is not None and value in self.tape.differentiable:
                inputs = self.tape.nodes[index].inputs
                pairs = zip(inputs, sent, strict=True)
                found += [(index, one, in_lanes) for v, one in pairs if v == value and one is not None]
        return found

    def total(self, value: int) -> Tensor | None:
        """What arrives at a value in all: for every lane where some lane changes it, else that of the base."""
        if value not in self._changed:
            return self.base.totals.get(value)
        if value not in self._totals:
            self._join(value)
        return self._totals[value]

    def _join(self, value: int) -> None:
        contributions = self.arriving(value)
        parts = [one for _, one, _ in contributions]
        total = sum(parts[1:], parts[0]) if parts else None
        if total is not None and not any(in_lanes for _, _, in_lanes in contributions):
            total = self._for_all(total)
        hooks = dict(self._at_values.get(value, ()))
        if hooks:
            total = self._zeros(value) if total is None else total.clone()  # it may be an operation's own
        self._totals[value], self._waiting[value] = total, hooks
        for lane in list(hooks):
            self._join_in_lane(value, lane, contributions)

    def _join_in_lane(self, value: int, lane: int, contributions: Contributions) -> None:
        """Join what arrives in one lane by its own rule; before its turn, where that lane asks for it elsewhere."""
        hook, total = self._waiting[value].pop(lane, None), self._totals[value]
        if hook is None or total is None:
            return
        own = [(index, one[lane] if in_lanes else one) for index, one, in_lanes in contributions]
        self._joining.add((value, lane))
        try:
            found = hook(self.tape, own, _LaneSeen(self, lane))
            total[lane] = 0.0 if found is None else found
        except UNRUNNABLE:
            self.failed.add(lane)
        self._joining.discard((value, lane))

    def differs(self, value: int) -> bool:
        """Whether some lane may change what arrives at a value."""
        return value in self._changed

    def known(self, value: int) -> bool:
        """Whether all operations that take a value have been gone back through."""
        consumers = self.tape.consumers.get(value)
        return consumers is None or consumers[0] >= self._done

    def seen(self, value: int, lane: int) -> Tensor:
        """What has arrived at a value in one lane. Raises KeyError where it is not known yet."""
        total = self.total(value) if self.known(value) else None
        if total is None:
            raise KeyError(value)
        if lane in self._waiting.get(value, ()):
            self._join_in_lane(value, lane, self.arriving(value))
        if (value, lane) in self._joining:
            raise KeyError(value)
        return total[lane] if value in self._changed else total

    def _rule(self, node: Node, grads: list[Tensor | None]) -> list[Tensor | None]:
        """A local rule in all lanes."""
        batched = [
            None if one is None else one if value in self._changed else self._for_all(one)
            for one, value in zip(grads, node.outputs, strict=True)
        ]
        many = _many(self.tape, node, batched)
        many = _by_jacobian(self.tape, node, batched) if many is None else many
        if many is None:
            lanes = [
                self.tape.vjp(node, [None if one is None else one[lane] for one in batched])
                for lane in range(self.count)
            ]
            many = [None if one[0] is None else torch.stack(one) for one in zip(*lanes, strict=True)]
        pairs = zip(many, node.inputs, strict=True)
        return [one if value in self.tape.differentiable else None for one, value in pairs]


class _LaneSeen(Totals):
    """What arrives in one lane at the values nearer to the loss, as far as it is known by now."""

    def __init__(self, lanes: Lanes, lane: int) -> None:
        self.lanes, self.lane = lanes, lane

    def __getitem__(self, value: int) -> Tensor:
        return self.lanes.seen(value, self.lane)

    def arriving(self, value: int) -> list[tuple[int, Tensor]]:
        if not self.lanes.known(value):
            raise KeyError(value)
        return [(index, one[self.lane] if own else one) for index, one, own in self.lanes.arriving(value)]

    def __iter__(self) -> Iterator[int]:
        return iter(self.lanes.base.totals)

    def __len__(self) -> int:
        return len(self.lanes.base.totals)


def _by_place(hooks: Sequence[Mapping[int, Any]]) -> dict[int, list[tuple[int, Any]]]:
    found: dict[int, list[tuple[int, Any]]] = {}
    for lane, own in enumerate(hooks):
        for place, hook in own.items():
            found.setdefault(place, []).append((lane, hook))
    return found


def _many(tape: Tape, node: Node, grads: Sequence[Tensor | None]) -> list[Tensor | None] | None:
    """A local rule for gradients with a first axis more; None for an operation that has no such form here."""
    if type(node) is Node and node.name in (*PARTS, "unbind"):
        return _of_parts(tape, node, grads)
    if type(node) is not Node or len(node.outputs) != 1 or grads[0] is None:
        return None
    grad, x, y = grads[0], [tape.values[value] for value in node.inputs], tape.values[node.outputs[0]]
    form = None if node.keywords and node.name != "clone" else _FORMS.get(node.name)
    if form is not None:
        return form(x, y, grad, node.arguments)
    written = tape.written(node) if node.pointwise else None
    if written is None:
        return None
    like = [_padded(one, y).expand(len(grad), *[-1] * y.dim()) for one in x]
    made = written(like, y.expand(grad.shape), grad, node.arguments)
    made = [in_kind(g, one) for g, one in zip(made, x, strict=True)]
    return [None if g is None else g.reshape(len(grad), *one.shape) for g, one in zip(made, x, strict=True)]


def _of_parts(tape: Tape, node: Node, grads: Sequence[Tensor | None]) -> list[Tensor | None] | None:
    """The rule of an operation that takes an array apart; None where nothing arrives at any part."""
    lanes = next((len(one) for one in grads if one is not None), 0)
    shapes = [tape.values[value].shape for value in node.outputs]
    parts = [
        torch.zeros(lanes, *shape, dtype=torch.float64) if one is None else one
        for one, shape in zip(grads, shapes, strict=True)
    ]
    if not lanes or any(part.dtype != parts[0].dtype for part in parts):
        return None
    return [put_together(node, parts, tape.values[node.inputs[0]].dim())]


LARGEST = 300_000  # numbers of a Jacobian that is kept
MOST_RESULTS = 600  # entries of a result, each of which takes a backward pass for it


def _by_jacobian(tape: Tape, node: Node, grads: Sequence[Tensor | None]) -> list[Tensor | None] | None:
    """A local rule by products with its Jacobian, which is kept; None where that is too large."""
    grad = grads[0]
    if type(node) is not Node or len(node.outputs) != 1 or grad is None or node.index in tape.of_complex:
        return None
    y = tape.values[node.outputs[0]]
    entries = sum(tape.values[value].numel() for value in node.inputs if value in tape.differentiable)
    if y.numel() > MOST_RESULTS or y.numel() * entries > LARGEST:
        return None
    if node.index not in tape.jacobians:
        rows = [tape.vjp(node, [one.reshape(y.shape)]) for one in torch.eye(y.numel(), dtype=y.dtype)]
        tape.jacobians[node.index] = [
            None if of_input[0] is None else torch.stack([one.reshape(-1) for one in of_input])
            for of_input in zip(*rows, strict=True)
        ]
    flat = grad.reshape(len(grad), -1)
    return [
        None if jacobian is None else (flat @ jacobian).reshape(len(grad), *tape.values[value].shape)
        for jacobian, value in zip(tape.jacobians[node.index], node.inputs, strict=True)
    ]


def _padded(x: Tensor, y: Tensor) -> Tensor:
    """An array with as many axes as another one."""
    return x.reshape((1,) * (y.dim() - x.dim()) + tuple(x.shape))


Form = Callable[[Sequence[Tensor], Tensor, Tensor, Sequence[Any]], "list[Tensor | None]"]


def _reshaped(x: Sequence[Tensor], y: Tensor, g: Tensor, _: Sequence[Any]) -> list[Tensor | None]:
    return [g.reshape(len(g), *x[0].shape)]


def _axes(dims: Any, count: int) -> list[int]:
    """Axes counted from the last, which a first axis more does not change."""
    dims = [dims] if isinstance(dims, int) else list(dims or range(count))
    return [dim % count - count for dim in dims]


def spread_back(x: Tensor, g: Tensor, args: Sequence[Any]) -> Tensor:
    """What arrives at the result of a reduction of `x`, (lanes, *shape), for each entry that it was made of."""
    if not (len(args) > 2 and args[2]):
        for dim in sorted(dim % x.dim() for dim in _axes(args[1] if len(args) > 1 else None, x.dim())):
            g = g.unsqueeze(dim + 1)
    return g.expand(len(g), *x.shape)


def _sum(x: Sequence[Tensor], y: Tensor, g: Tensor, args: Sequence[Any]) -> list[Tensor | None]:
    return [spread_back(x[0], g, args)]


def _mean(x: Sequence[Tensor], y: Tensor, g: Tensor, args: Sequence[Any]) -> list[Tensor | None]:
    return [spread_back(x[0], g, args) / (x[0].numel() // max(y.numel(), 1))]


def _expand(x: Sequence[Tensor], y: Tensor, g: Tensor, args: Sequence[Any]) -> list[Tensor | None]:
    like = _padded(x[0], y).expand(len(g), *[-1] * y.dim())
    return [unbroadcast(g, like).reshape(len(g), *x[0].shape)]


def _into(part: Callable[[Tensor, Sequence[Any]], Tensor]) -> Form:
    """The form of an operation that takes a part of an array."""

    def form(x: Sequence[Tensor], y: Tensor, g: Tensor, args: Sequence[Any]) -> list[Tensor | None]:
        whole = torch.zeros(len(g), *x[0].shape, dtype=g.dtype)
        part(whole, [x[0], _axes(args[1] if len(args) > 1 else 0, x[0].dim())[0], *args[2:]]).copy_(g)
        return [whole]

    return form


def _cat(x: Sequence[Tensor], y: Tensor, g: Tensor, args: Sequence[Any]) -> list[Tensor | None]:
    dim = _axes(args[1] if len(args) > 1 else 0, y.dim())[0]
    return list(torch.split(g, [one.shape[dim] for one in x], dim))


def _stack(x: Sequence[Tensor], y: Tensor, g: Tensor, args: Sequence[Any]) -> list[Tensor | None]:
    return list(g.unbind(_axes(args[1] if len(args) > 1 else 0, y.dim())[0]))


def _permute(x: Sequence[Tensor], y: Tensor, g: Tensor, args: Sequence[Any]) -> list[Tensor | None]:
    dims = [dim % y.dim() for dim in args[1]]
    return [g.permute([0, *(1 + dims.index(i) for i in range(y.dim()))])]


def _along_axis(rule_of: Callable[[Tensor, Tensor, int], Tensor]) -> Form:
    return lambda x, y, g, args: [rule_of(y, g, _axes(args[1], y.dim())[0])]


_FORMS: dict[str, Form] = {
    **dict.fromkeys(("view", "_unsafe_view", "unsqueeze", "squeeze", "reshape", "flatten"), _reshaped),
    "clone": lambda x, y, g, _: [g],
    "t": lambda x, y, g, _: [g.mT if x[0].dim() == 2 else g],
    "permute": _permute,
    "transpose": lambda x, y, g, args: [g.transpose(*(dim % y.dim() - y.dim() for dim in args[1:3]))],
    "mm": lambda x, y, g, _: [g @ x[1].mH, x[0].mH @ g],
    "mv": lambda x, y, g, _: [g[:, :, None] * x[1].conj(), g @ x[0].conj()],
    "bmm": lambda x, y, g, _: [g @ x[1].mH, x[0].mH @ g],
    "select": _into(lambda x, args: x.select(*args[1:3])),
    "slice": _into(lambda x, args: torch.ops.aten.slice(x, *args[1:])),
    "cat": _cat,
    "stack": _stack,
    "sum": _sum,
    "mean": _mean,
    "expand": _expand,
    "_softmax": _along_axis(lambda y, g, dim: y * (g - (g * y).sum(dim, keepdim=True))),
    "_log_softmax": _along_axis(lambda y, g, dim: g - torch.exp(y) * g.sum(dim, keepdim=True)),
}
