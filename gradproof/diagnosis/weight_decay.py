"""A penalty of one parameter alone (its squares, its absolute values): taken of others as well, or not of a part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from gradproof.diagnosis.contributions import only_adds_up, shares
from gradproof.diagnosis.fault import Fault
from gradproof.diagnosis.survey import Survey
from gradproof.tape import VIEWS, Node, Tape, Tensor, Totals, ValueHook, joined, reached

PARTS = ("slice", "select", "index", "index_select", "narrow")


@dataclass(frozen=True)
class _Penalty:
    """A single number that is made of one parameter alone, and the operations that make it."""

    start: int
    end: int
    nodes: tuple[Node, ...]
    of_part: bool  # whether some of its operations take a part of the parameter

    def of(self, tape: Tape, array: Tensor) -> Tensor:
        """The same function of another array, of all its entries. Raises RuntimeError where it takes no such shape."""
        made = {self.start: array}
        for node in self.nodes:
            inputs = [made.get(value, tape.values[value]) for value in node.inputs]
            part = node.name in (*PARTS, *VIEWS) or (node.name == "mul" and _is_mask(tape, node))
            moving = next(one for one, value in zip(inputs, node.inputs, strict=True) if value in made)
            made[node.outputs[0]] = moving if part else node.run(inputs)[0]
        return made[self.end]


def faults(survey: Survey) -> Iterator[Fault]:
    """For each penalty: one more parameter penalised, all vectors, all parameters; or all of its own, not a part."""
    tape = survey.tape
    penalties = {name: list(penalties_of(tape, value)) for name, value in tape.parameters.items()}
    for name, found in penalties.items():
        free = [other for other in tape.parameters if not penalties[other]]
        vectors = [other for other in free if tape.values[tape.parameters[other]].dim() < 2]
        groups = [[other] for other in free] + [one for one in (vectors, free) if len(one) > 1]
        for penalty in found:
            if penalty.of_part:
                yield _penalised(tape, penalty, name, [name])
            for group in groups[:-1] if len(vectors) == len(free) > 1 else groups:
                yield _penalised(tape, penalty, name, group)
    for line, added in survey.penalties.items():
        yield from _left_out(tape, line, added)


def _left_out(tape: Tape, penalty: frozenset[int], added: dict[str, Tensor]) -> Iterator[Fault]:
    """A row, a column or the diagonal that a penalty spares as if it were a bias: of one parameter, or of all."""
    for words, part_of in SPARED.items():
        parts = {name: part_of(one) for name, one in added.items() if one.dim() == 2 and min(one.shape) > 1}
        names = [name for name, one in parts.items() if bool(one.any()) and not torch.equal(one, added[name])]
        for group in [[name] for name in names] + ([names] if len(names) > 1 else []):
            values = {tape.parameters[name]: _without(penalty, name, words) for name in group}
            message = f"the penalty is missing on the {words} of {' and '.join(group)}"
            yield Fault("wrong-part-penalised", message, rank=1.15, values=values)


def _without(penalty: frozenset[int], name: str, words: str) -> ValueHook:
    """What arrives at a parameter, without what a penalty adds to a part of it."""

    def hook(tape: Tape, arriving: list[tuple[int, Tensor]], totals: Totals) -> Tensor | None:
        total = joined(arriving)
        part = tape.remembered((penalty, name, words), lambda: SPARED[words](shares(tape, penalty)[name]))
        return None if total is None else total - part

    return hook


def _only(*where: slice) -> Callable[[Tensor], Tensor]:
    """A function that keeps a part of a matrix, and has zeros elsewhere."""

    def kept(matrix: Tensor) -> Tensor:
        part = torch.zeros_like(matrix)
        part[where] = matrix[where]
        return part

    return kept


ALL, FIRST, LAST = slice(None), slice(1), slice(-1, None)
SPARED: dict[str, Callable[[Tensor], Tensor]] = {
    "first row": _only(FIRST),
    "last row": _only(LAST),
    "first column": _only(ALL, FIRST),
    "last column": _only(ALL, LAST),
    "diagonal": lambda matrix: matrix.tril().triu(),
}


def penalties_of(tape: Tape, value: int) -> Iterator[_Penalty]:
    """The single numbers on the way to the loss that are made of this parameter and of no other: each sum, and all."""
    if tape.values[value].numel() == 1:
        return
    alone = {value}
    nodes: list[Node] = []
    ends: list[int] = []
    # What is weighted by the data is no penalty.
    of_data = reached(tape.nodes, tape.data.values(), but_for=tape.differentiable)
    for node in tape.nodes:
        moving = [one for one in node.inputs if one in tape.differentiable]
        if len(node.outputs) == 1 and alone & set(moving) and alone.issuperset(moving):
            alone.update(node.outputs)
            nodes.append(node)
            if tape.values[node.outputs[0]].numel() == 1 and node.outputs[0] in tape.clean.totals:
                ends.append(node.outputs[0])
    sums = [node.outputs[0] for node in nodes if any(tape.values[one].numel() > 1 for one in node.inputs)]
    ends = [one for one in ends if only_adds_up(tape, one)]
    chosen = [one for one in ends if one in sums]
    for end in [*chosen, *(ends[-1:] if len(chosen) > 1 else ())]:
        needed = {end}
        kept: list[Node] = []
        for node in reversed(nodes):
            if needed & set(node.outputs):
                needed |= set(node.inputs)
                kept.append(node)
        kept.reverse()
        of_part = any(node.name in PARTS or (node.name == "mul" and _is_mask(tape, node)) for node in kept)
        if not any(of_data.intersection(node.inputs) for node in kept if not _is_mask(tape, node)):
            yield _Penalty(value, end, tuple(kept), of_part)


def _is_mask(tape: Tape, node: Node) -> bool:
    constants = [tape.values[value] for value in node.inputs if value not in tape.differentiable]
    return len(node.inputs) == 2 and any(one.numel() > 1 and bool(((one == 0) | (one == 1)).all()) for one in constants)


def _penalised(tape: Tape, penalty: _Penalty, name: str, group: Sequence[str]) -> Fault:
    if group == [name]:
        message = f"all of {name} is penalised, where the reference penalises a part of it"
    else:
        message = f"{' and '.join(group)} {'is' if len(group) == 1 else 'are'} penalised as {name} is, where the"
        message += " reference has no such penalty"
    values: dict[int, ValueHook] = {tape.parameters[one]: _with_penalty(penalty, tape.parameters[one]) for one in group}
    site = penalty.nodes[-1].site

    def loss(other: Tape) -> float | None:
        return other.loss() + sum(_more(other, penalty, one, one == name) for one in group)

    return Fault("wrong-part-penalised", message, site, 1.15, values=values, other_loss=loss)


def _more(tape: Tape, penalty: _Penalty, name: str, own: bool) -> float:
    """What a parameter's penalty adds to the loss, beyond what the reference has of it."""
    weight = float(tape.clean.totals[penalty.end].reshape(()))
    whole = float(penalty.of(tape, tape.values[tape.parameters[name]]).reshape(()))
    return weight * (whole - (float(tape.values[penalty.end].reshape(())) if own else 0.0))


def _with_penalty(penalty: _Penalty, value: int) -> ValueHook:
    """At a parameter: what its penalty sends back is added; at the penalised one itself it replaces what was sent."""
    own = {node.index for node in penalty.nodes if value == penalty.start and value in node.inputs}

    def hook(tape: Tape, arriving: list[tuple[int, Tensor]], totals: Totals) -> Tensor | None:
        total, weight = joined(arriving, without=own), totals.get(penalty.end)
        if weight is None:
            return total
        array = tape.values[value].detach().requires_grad_()
        with torch.enable_grad():
            made = penalty.of(tape, array).reshape(())
        slope = weight.reshape(()) * torch.autograd.grad(made, [array])[0]
        return slope if total is None else total + slope

    return hook
