"""Look-ups by index at other indices: those of another array, of the neighbour, of the first or the last for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from gradproof.diagnosis.edges import origin, result_of
from gradproof.diagnosis.fault import Fault, Replacement
from gradproof.diagnosis.places import Place
from gradproof.diagnosis.survey import Survey
from gradproof.tape import Gradients, Node, NodeHook, Tape, Tensor, Totals

LOOK_UPS = ("embedding", "index", "index_select", "gather")
GATHERED = ("index_add", "scatter_add")
MARKED = ("index_select", "gather", "scatter", *GATHERED)  # operations that say along which axis
Indices = Callable[[Node, Sequence[Tensor]], Tensor]  # those to be taken at a passage, from all values


def faults(survey: Survey) -> Iterator[Fault]:
    """For each look-up that a gradient passes: on the way back alone, and on both ways."""
    for place in survey.all_places:
        if place.name == "scatter" and place.model.outputs[0] not in survey.tape.differentiable:
            yield from _of_marks(survey, place)
    for place in survey.places:
        if place.name in LOOK_UPS:
            for position in range(1, min(len(node.inputs) for node in place.nodes)):
                yield from _of_place(survey, place, position)
        elif place.name in GATHERED:
            yield from _of_sum(survey, place)
        if place.name == "_log_softmax" and survey.tape.values[place.model.outputs[0]].dim() == 2:
            message = f"of the labels behind {place}, every row is given those of all rows: `[:, labels] -= 1` where"
            message += " each row has one of its own, `[np.arange(n), labels] -= 1`"
            hooks = {node.index: _labels_of_all_rows for node in place.nodes}
            yield Fault("broadcast", message, place.site, 1.25, hooks)


def _of_marks(survey: Survey, place: Place) -> Iterator[Fault]:
    """What is put where an index says, as ones are in `one_hot`: where another says."""
    for code, words, indices in _others(survey, place, 1):
        forward = {node.index: _taken_at(1, indices) for node in place.nodes}
        yield Fault(code, f"{place} is done at {words}", place.site, 1.45, forward=forward)


def _labels_of_all_rows(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
    """Raises ValueError where not each row has one label."""
    grad, y = grads[0], tape.values[node.outputs[0]]
    if grad is None or bool(((grad != 0).sum(1) != 1).any()):
        raise ValueError("not each row has one label")
    own = grad.sum(1, keepdim=True)
    columns = torch.zeros_like(y)
    columns[:, grad.abs().argmax(1)] = 1.0
    return [columns * own - torch.exp(y) * own]


def _of_place(survey: Survey, place: Place, position: int) -> Iterator[Fault]:
    tape = survey.tape
    target, name = origin(tape, place.nodes[-1], 0), origin(tape, place.model, position)
    for code, words, indices in _others(survey, place, position):
        back = f"what flows back through {place} goes to other rows of {target}: to {words}"
        hooks = {node.index: _sent_to(position, indices) for node in place.nodes}
        yield Fault(code, back, place.site, 1.4, hooks)
        both = f"{place} looks up {words}, in place of {name}"
        forward = {node.index: _taken_at(position, indices) for node in place.nodes}
        yield Fault(code, both, place.site, 1.45, forward=forward)
    own = tape.values[place.model.inputs[0]].shape
    for other, value in tape.parameters.items():
        if tape.values[value].shape == own and all(node.inputs[0] != value for node in place.nodes):
            rewired = {node.index: {0: value} for node in place.nodes}
            yield Fault("wrong-operand", f"{place} looks up {name} in {other}, not in {target}", place.site, 1.4,
                        rewired=rewired)


def _of_sum(survey: Survey, place: Place) -> Iterator[Fault]:
    """Entries that are added up where an index says."""
    target = origin(survey.tape, place.nodes[-1], 2)
    for code, words, indices in _others(survey, place, 1):
        message = f"what flows back through {place} to {target} comes from other rows: from {words}"
        hooks = {node.index: _sent_to(1, indices) for node in place.nodes}
        yield Fault(code, message, place.site, 1.4, hooks)
        both = f"{place} adds up in other rows: in {words}"
        forward = {node.index: _taken_at(1, indices) for node in place.nodes}
        yield Fault(code, both, place.site, 1.45, forward=forward)


def _others(survey: Survey, place: Place, position: int) -> Iterator[tuple[str, str, Indices]]:
    """Other indices: the code, what they are in words, and how to have them at each passage."""
    tape = survey.tape
    own = [node.inputs[position] for node in place.nodes]
    for row, words in _rows(survey, place, own).items():
        if row != tuple(own) and all(_is_index(tape, v, like) for v, like in zip(row, own, strict=True)):
            moved = all(_is_moved(survey, v, like) for v, like in zip(row, own, strict=True))
            at = dict(zip((node.index for node in place.nodes), row, strict=True))
            yield "shifted-in-time" if moved else "wrong-operand", f"those {words}", _of_values(at)
    yield from _parts_of_data(tape, own) if len(own) == 1 else ()
    lengths = [_length(tape, node, position) for node in place.nodes]
    if None in lengths or None in place.model.constants:
        return
    name = origin(tape, place.model, position)
    last = {node.index: length for node, length in zip(place.nodes, lengths, strict=True) if length is not None}
    neighbour = "wrong-operand" if place.name in ("gather", "scatter") else "shifted-in-time"  # labels have no time
    changed: dict[str, tuple[str, Callable[[Tensor, int], Tensor]]] = {
        "the last for all": ("wrong-operand", lambda index, length: torch.full_like(index, length - 1)),
        "the first for all": ("wrong-operand", lambda index, length: torch.zeros_like(index)),
        f"{name} + 1, the last counted as the first": ("wrong-operand", lambda index, length: (index + 1) % length),
        f"those one after {name}": (neighbour, lambda index, length: index + 1),
        f"those one before {name}": (neighbour, lambda index, length: (index - 1) % length),
    }
    for words, (code, change) in changed.items():
        if all(int(change(tape.values[v], last[n.index]).max()) < last[n.index] for v, n in _pairs(place, own)):
            yield code, words, _changed_by(position, change, last)


def _pairs(place: Place, own: Sequence[int]) -> list[tuple[int, Node]]:
    return [(value, node) for value, node in zip(own, place.nodes, strict=True)]


def _rows(survey: Survey, place: Place, own: Sequence[int]) -> dict[tuple[int, ...], str]:
    """Other arrays of indices, one for each passage: of the neighbouring steps, of the data, of the same look-ups."""
    tape = survey.tape
    rows: dict[tuple[int, ...], str] = {}
    if len(set(own)) > 1:
        rows[(*own[1:], own[-1])], rows[(own[0], *own[:-1])] = "of the step after", "of the step before"
    used: dict[tuple[int, str], list[int]] = {}
    for node in tape.nodes:
        for value in node.inputs:
            used.setdefault((node.site.line, node.name), []).append(value)
    for name, value in tape.data.items():
        rows.setdefault((value,) * len(own), f"of {name}")
    for (line, name), values in used.items():
        steps = [one for one in values if _is_index(tape, one, own[-1])]
        if len(steps) == len(own):
            rows.setdefault(tuple(steps), f"that `{name}` (line {line}) takes")
    for value in tape.producer if len(own) == 1 else ():
        rows.setdefault((value,), f"of {result_of(tape, value)}")
    return rows


def _parts_of_data(tape: Tape, own: Sequence[int]) -> Iterator[tuple[str, str, Indices]]:
    """Parts of the data's tables and lists of indices: a column, all columns but one, the first entries."""
    like = tape.values[own[0]]
    for name, value in tape.data.items():
        data = tape.values[value]
        for code, words, part in _parts(data, like.numel()) if data.dtype == like.dtype else ():
            if not part(data).reshape(-1).equal(like.reshape(-1)):
                yield code, f"{words} of {name}", _taken_from(value, part, like.shape)


def _parts(data: Tensor, count: int) -> Iterator[tuple[str, str, Callable[[Tensor], Tensor]]]:
    """The parts of an array that have so many entries."""
    if data.dim() == 1 and len(data) > count > 1:
        yield "wrong-operand", f"the first {count}", lambda x: x[:count]
    elif data.dim() == 2 and len(data) == count:
        yield "wrong-operand", "those in the first column", lambda x: x[:, 0]
        yield "wrong-operand", "those in the second column", lambda x: x[:, min(1, x.shape[1] - 1)]
        yield "wrong-operand", "those in the last column", lambda x: x[:, -1]
    elif data.dim() == 2 and data[:, 1:].numel() == count:
        yield "shifted-in-time", "those in all columns but the last", lambda x: x[:, :-1]
        yield "shifted-in-time", "those in all columns but the first", lambda x: x[:, 1:]


def _taken_from(value: int, part: Callable[[Tensor], Tensor], shape: torch.Size) -> Indices:
    return lambda node, values: part(values[value]).reshape(shape)


def _is_index(tape: Tape, value: int, like: int) -> bool:
    one, other = tape.values[value], tape.values[like]
    return not one.dtype.is_floating_point and one.dtype == other.dtype and one.shape == other.shape


def _is_moved(survey: Survey, value: int, like: int) -> bool:
    """Whether indices are the right ones moved by one along an axis that does not count samples."""
    one, other = survey.tape.values[value], survey.tape.values[like]
    return any(
        one.narrow(axis, lag, length - 1).equal(other.narrow(axis, 1 - lag, length - 1))
        for axis, length in enumerate(other.shape)
        for lag in (0, 1)
        if length > 1 and axis != survey.problem.batch_axis
    )


def _length(tape: Tape, node: Node, position: int) -> int | None:
    """How many entries the looked-up axis has; None for a mask."""
    if tape.values[node.inputs[position]].dtype == torch.bool:
        return None
    numbers: list[Any] = [one for one in node.constants if isinstance(one, int) and not isinstance(one, bool)]
    axis = position - 1 if node.name == "index" else numbers[0] if node.name in MARKED else 0
    return int(tape.values[node.inputs[0]].shape[axis])


def _of_values(at: dict[int, int]) -> Indices:
    return lambda node, values: values[at[node.index]]


def _changed_by(position: int, change: Callable[[Tensor, int], Tensor], last: dict[int, int]) -> Indices:
    return lambda node, values: change(values[node.inputs[position]], last[node.index])


def _sent_to(position: int, indices: Indices) -> NodeHook:
    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        return tape.vjp(node, grads, at={position: indices(node, tape.values)})

    return hook


def _taken_at(position: int, indices: Indices) -> Replacement:
    def replacement(node: Node, inputs: list[Tensor], values: Sequence[Tensor]) -> Sequence[Tensor]:
        return node.run([indices(node, values) if i == position else one for i, one in enumerate(inputs)])

    return replacement
