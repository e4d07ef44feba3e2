"""Where entries go: axes in another order, another row or column, running sums from the wrong end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import torch

from gradproof.diagnosis.arrays import orders_after_the_first, read_in_order
from gradproof.diagnosis.branches import branches, restricted
from gradproof.diagnosis.fault import Fault, OneInput, Replacement, replaced
from gradproof.diagnosis.places import Place
from gradproof.diagnosis.survey import Survey
from gradproof.tape import VIEWS, Gradients, Node, NodeHook, Tape, Tensor, Totals

MOST_GROUPS = 8
JOINED = ("stack", "cat")
RESHAPED = ("view", "_unsafe_view", "reshape", "flatten")


TURNED = ("permute", "transpose", "t")


def faults(survey: Survey) -> Iterator[Fault]:
    """For each array that is given another shape, each row or column that is taken, and each running sum."""
    tape = survey.tape
    yield from _in_another_order(tape, [place for place in survey.places if place.name in RESHAPED])
    for place in survey.places:
        if place.name == "mm":
            yield from _of_flattened(tape, place)
        elif place.name == "select":
            yield from _of_selection(tape, place)
        elif place.name in RESHAPED:
            yield from _of_view(tape, place)
            yield from _other_groups(tape, place)
        elif place.name in TURNED:
            message = f"what flows back through {place} is given the old shape, and not turned back"
            hooks: dict[int, NodeHook] = {node.index: _reshaped_back for node in place.nodes}
            yield Fault("not-transposed", message, place.site, 1.2, hooks)
        elif place.name in JOINED:
            yield from _in_reverse(tape, place)
        elif place.name == "slice":
            yield from _of_shift(tape, place)
        elif place.name == "roll":
            message = f"what flows back through {place} is moved the same way again, not back"
            hooks = {node.index: _rolled_again for node in place.nodes}
            yield Fault("shifted-in-time", message, place.site, 1.2, hooks)
        elif place.name == "cumsum":
            for fault in _of_running_sum(place):
                yield fault
                yield from restricted(place, 0, dict(fault.nodes), fault, branches(tape, place, 0))


def _in_another_order(tape: Tape, places: list[Place]) -> Iterator[Fault]:
    """Arrays that are given another shape with their axes read in another order, in the loss as well.

    Each place by itself, and all of a kind together: one helper may serve them.
    """
    alike: dict[tuple[int, int], list[Place]] = {}
    for place in places:
        before, after = _shapes(tape, place.model)
        if len(before) != len(after) and not place.passage:
            alike.setdefault((len(before), len(after)), []).append(place)
    for (before_dims, after_dims), group in alike.items():
        for order in _orders(max(before_dims, after_dims)):
            fitting = [place for place in group if _moves_something(tape, place, order)]
            for place in fitting:
                message = f"{place} takes the axes of the longer shape in the order {order}"
                yield replaced("wrong-axis", message, place, 1.4, _ordered(order))
            if len(fitting) > 1:
                forward = {node.index: _ordered(order) for place in fitting for node in place.nodes}
                lines = ", ".join(str(line) for line in sorted({place.site.line for place in fitting}))
                message = f"arrays are given another shape (lines {lines}) with the axes of the longer one in the order"
                yield Fault("wrong-axis", f"{message} {order}", fitting[0].site, 1.42, forward=forward)


def _shapes(tape: Tape, node: Node) -> tuple[torch.Size, torch.Size]:
    return tape.values[node.inputs[0]].shape, tape.values[node.outputs[0]].shape


def _moves_something(tape: Tape, place: Place, order: tuple[int, ...]) -> bool:
    longer = max(_shapes(tape, place.model), key=len)
    return sum(longer[i] > 1 for i in _changed(order)) > 1


def _ordered(order: tuple[int, ...]) -> Replacement:
    def replacement(node: Node, inputs: list[Tensor], values: Sequence[Tensor]) -> Sequence[Tensor]:
        (x,) = inputs
        made = node.run([x])[0]
        if made.dim() > x.dim():
            return [read_in_order(x, order, made.shape).clone()]
        return [x.permute(order).reshape(made.shape).clone()]

    return replacement


def _of_flattened(tape: Tape, place: Place) -> Iterator[Fault]:
    """A product with an array that was flattened: its axes in another order before that."""
    flat = place.model.inputs[0]
    producer = tape.producer.get(flat)
    if len(place.nodes) > 1 or producer is None or tape.nodes[producer].name not in VIEWS:
        return
    base = tape.values[tape.nodes[producer].inputs[0]]
    if not 3 <= base.dim() <= 4 or base.shape[0] != tape.values[flat].shape[0]:
        return
    for order in orders_after_the_first(base.dim()):
        message = f"in the gradient of the weights of {place}, the input's axes are flattened in the order {order[1:]}"
        yield Fault("wrong-axis", message, place.site, 1.5, {place.model.index: _in_order(order)})


def _in_order(order: tuple[int, ...]) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        flat = node.inputs[0]
        base = tape.values[tape.nodes[tape.producer[flat]].inputs[0]]
        other = base.permute(order).reshape(tape.values[flat].shape)
        found = list(tape.vjp(node, grads))
        found[1] = tape.vjp(node, grads, at={0: other})[1]
        return found

    return OneInput(1, hook)


def _of_shift(tape: Tape, place: Place) -> Iterator[Fault]:
    """A slice that is joined with something in front or behind is the array, moved: back it is moved the other way."""
    moves = [_move(tape, node) for node in place.nodes]
    if any(move is None for move in moves):
        return
    for words, again in (("the same way again, not back", -1), ("not at all", 0)):
        message = f"what flows back to {place} is moved {words}"
        hooks = {node.index: _moved(*move, again) for node, move in zip(place.nodes, moves, strict=True) if move}
        yield Fault("shifted-in-time", message, place.site, 1.2, hooks)


def _move(tape: Tape, node: Node) -> tuple[int, int, int] | None:
    """The array that a slice becomes a part of, the axis, and by how much it has moved; None if it has not."""
    users = [tape.nodes[index] for index in tape.consumers.get(node.outputs[0], ())]
    before, part = tape.values[node.inputs[0]], tape.values[node.outputs[0]]
    if len(users) != 1 or users[0].name != "cat" or tape.values[users[0].outputs[0]].shape != before.shape:
        return None
    axis = next((i for i in range(before.dim()) if before.shape[i] != part.shape[i]), None)
    whole = tape.values[users[0].outputs[0]]
    if axis is None or whole.shape != before.shape:
        return None
    starts = range(whole.shape[axis] - part.shape[axis] + 1)
    there = [i for i in starts if whole.narrow(axis, i, part.shape[axis]).equal(part)]
    here = [i for i in starts if before.narrow(axis, i, part.shape[axis]).equal(part)]
    return (users[0].outputs[0], axis, there[0] - here[0]) if there and here and there[0] != here[0] else None


def _moved(whole: int, axis: int, move: int, again: int) -> NodeHook:
    """What arrives at the whole array, moved by `again` times the move where it is moved back."""

    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        arrived = totals.get(whole)
        if arrived is None:
            return [None]
        by = -again * move
        kept = arrived.narrow(axis, max(0, -by), arrived.shape[axis] - abs(by))
        found = torch.zeros_like(arrived)
        found.narrow(axis, max(0, by), kept.shape[axis]).copy_(kept)
        return [found]

    return hook


def _rolled_again(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
    return [None if grads[0] is None else node.run([grads[0]])[0]]


def _of_running_sum(place: Place) -> Iterator[Fault]:
    """An entry acts on all sums after it: those before it taken, or its own sum alone."""
    message = f"on the way back through {place}, what arrives is summed from the first entry on, not from the last"
    yield Fault("not-transposed", message, place.site, 1.15, {node.index: _summed_forwards for node in place.nodes})
    message = f"{place} is gone back through as if each entry were in one of its sums only"
    yield Fault("missing-path", message, place.site, 1.15, {node.index: _as_it_arrives for node in place.nodes})


def _summed_forwards(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
    return [None if grads[0] is None else grads[0].cumsum(node.constants[0])]


def _as_it_arrives(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
    return [grads[0]]


def _of_selection(tape: Tape, place: Place) -> Iterator[Fault]:
    """One row or column of an array: what flows back goes to another one."""
    node = place.model
    dim, index = int(node.arguments[1]), int(node.arguments[2])
    length = tape.values[node.inputs[0]].shape[dim]
    for other in range(length) if len(place.nodes) == 1 and 1 < length <= 8 else ():
        if other != index % length:
            message = f"what flows back through {place} goes to index {other} of axis {dim}, not to index {index}"
            yield Fault("wrong-operand", message, place.site, 1.4, {node.index: _to_index(dim, other)})


def _to_index(dim: int, index: int) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found = torch.zeros_like(tape.values[node.inputs[0]])
        if grads[0] is not None:
            found.select(dim, index).copy_(grads[0])
        return [found]

    return hook


def _of_view(tape: Tape, place: Place) -> Iterator[Fault]:
    """An array given another shape: its axes in another order before or after that, on the way back.

    So it is with channels that are taken to come last: (n, c, h, w) flattened as (n, h, w, c), and the reverse.
    """
    before, after = (tape.values[value].shape for value in (place.model.inputs[0], place.model.outputs[0]))
    for order in _orders(len(after)):
        if any(after[i] > 1 for i in _changed(order)):
            message = f"what flows back through {place} has its axes in the order {order} before it is reshaped"
            hooks = {node.index: _permuted_first(order) for node in place.nodes}
            yield Fault("wrong-axis", message, place.site, 1.45, hooks)
    for order in _orders(len(before)) if len(after) < len(before) else ():
        if any(before[i] > 1 for i in _changed(order)):
            message = f"what flows back through {place} is given its old shape as if the axes of that were in the order"
            hooks = {node.index: _permuted_after(order) for node in place.nodes}
            yield Fault("wrong-axis", f"{message} {order}", place.site, 1.45, hooks)


def _other_groups(tape: Tape, place: Place) -> Iterator[Fault]:
    """An axis that is divided into groups: into more of them, or fewer."""
    before, after = _shapes(tape, place.model)
    for axis in range(1, len(after) - 1):
        if axis < len(before) and after[axis] == before[axis]:
            continue
        length = after[axis] * after[axis + 1]
        for count in range(1, min(length, MOST_GROUPS) + 1):
            if length % count == 0 and count != after[axis]:
                groups = f"{count} group{'s' * (count > 1)}"
                message = f"{place} makes {groups} along axis {axis}, where the reference makes {after[axis]}"
                yield replaced("wrong-axis", message, place, 1.4, _in_groups(axis, count))


def _in_groups(axis: int, count: int) -> Replacement:
    def replacement(node: Node, inputs: list[Tensor], values: Sequence[Tensor]) -> Sequence[Tensor]:
        made = node.run(inputs)[0]
        return [made.reshape((*made.shape[:axis], count, -1, *made.shape[axis + 2 :])).clone()]

    return replacement


def _in_reverse(tape: Tape, place: Place) -> Iterator[Fault]:
    """Arrays that are joined: the last one first, in both passes or on the way back alone."""
    inputs = place.model.inputs
    if len(inputs) < 3 or len({tape.values[value].shape for value in inputs}) > 1:
        return
    message = f"the {len(inputs)} arrays that {place} joins are joined in reversed order"
    rewired = {node.index: dict(enumerate(reversed(node.inputs))) for node in place.nodes}
    yield Fault("flipped", message, place.site, 1.35, rewired=rewired)
    message = f"what flows back through {place} goes to the {len(inputs)} arrays that it joins in reversed order"
    yield Fault("flipped", message, place.site, 1.25, {node.index: _to_the_reverse for node in place.nodes})


def _to_the_reverse(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
    return list(reversed(tape.vjp(node, grads)))


def _orders(dims: int) -> Iterator[tuple[int, ...]]:
    """Other orders of axes: each two exchanged, and all those that leave the first where it is."""
    if not 2 <= dims <= 4:
        return
    exchanged = [_exchanged(dims, i, j) for i, j in combinations(range(dims), 2)]
    yield from dict.fromkeys((*exchanged, *orders_after_the_first(dims)))


def _exchanged(dims: int, i: int, j: int) -> tuple[int, ...]:
    order = list(range(dims))
    order[i], order[j] = j, i
    return tuple(order)


def _changed(order: tuple[int, ...]) -> list[int]:
    return [i for i, axis in enumerate(order) if i != axis]


def _reshaped_back(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
    return [None if grads[0] is None else grads[0].reshape(tape.values[node.inputs[0]].shape)]


def _permuted_first(order: tuple[int, ...]) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        like = tape.values[node.inputs[0]]
        return [None if grads[0] is None else grads[0].permute(order).reshape(like.shape)]

    return hook


def _permuted_after(order: tuple[int, ...]) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        shape = tape.values[node.inputs[0]].shape
        return [None if grads[0] is None else read_in_order(grads[0], order, shape)]

    return hook
