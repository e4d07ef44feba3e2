"""What one call has kept for its way back, used on the way back through another one: the wrong cache handed in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations

from gradproof.diagnosis.contributions import parameter_of
from gradproof.diagnosis.fault import Fault
from gradproof.diagnosis.places import period, plain
from gradproof.diagnosis.survey import Survey
from gradproof.tape import Gradients, Node, NodeHook, Tape, Tensor, Totals

MOST = 6  # calls of one function, of which each two are tried
SHORTEST = 3  # operations: what a single one keeps is looked for in other ways


def faults(survey: Survey) -> Iterator[Fault]:
    """For each two calls of one function, or of one fused operation, on arrays of the same shapes."""
    tape = survey.tape
    for calls in _alike(tape):
        for one, other in permutations(calls[:MOST], 2):
            if _same_shapes(tape, one, other):
                where = f"{_where(other)} has kept is used on the way back through that of {_where(one)}"
                hooks: dict[int, NodeHook] = {a.index: _kept_by(b) for a, b in zip(one, other, strict=True)}
                message = f"what the call of {where}"
                yield Fault("wrong-operand", message, one[-1].site, 1.24, hooks)
        yield from _one_for_all(tape, calls)


def _one_for_all(tape: Tape, calls: Sequence[Sequence[Node]]) -> Iterator[Fault]:
    """Of calls that belong together, as the stages of a step do: what one has kept, used for each of them."""
    ordered = sorted(calls, key=lambda call: call[0].index)
    count = period([call[-1].site.callers for call in ordered])
    if len(calls) % count or count < 3:
        return
    groups = [ordered[start : start + count] for start in range(0, len(ordered), count)]
    for which, position in (("first", 0), ("last", -1)):
        hooks = {}
        for group in groups:
            kept = group[position]
            for call in group:
                if call is not kept and _same_shapes(tape, call, kept):
                    hooks.update({a.index: _kept_by(b) for a, b in zip(call, kept, strict=True)})
        message = f"what the {which} of {count} calls has kept is used on the way back through each of them, the last"
        message += f" being {_where(ordered[-1])}"
        if hooks:
            yield Fault("wrong-operand", message, ordered[-1][-1].site, 1.24, hooks)


def _alike(tape: Tape) -> list[list[list[Node]]]:
    """Calls that do the same operations in the same order, together; each as its operations."""
    calls: dict[object, list[list[Node]]] = {}
    last: dict[object, int] = {}
    for node in tape.nodes:
        key = _call(node)
        if key is None:
            continue
        group = calls.setdefault(key, [])
        begins = node.part is not None and node.part[1] == 0
        if not group or begins or (node.part is None and last[key] != node.index - 1):
            group.append([])
        group[-1].append(node)
        last[key] = node.index
    by_names: dict[tuple[str, ...], list[list[Node]]] = {}
    for group in calls.values():
        for call in group:
            if len(call) >= SHORTEST:
                by_names.setdefault(tuple(node.name for node in call), []).append(call)
    return [group for group in by_names.values() if len(group) > 1]


def _call(node: Node) -> object:
    """What tells one call from another: the fused operation and its line, or the line that calls a function."""
    if node.part is not None:
        return node.part[0], node.site, node.site.callers
    inner = node.site.callers[:-1] if len(node.site.callers) > 1 else node.site.callers[:1]
    return inner or None


def _where(call: Sequence[Node]) -> str:
    part, site = call[-1].part, call[-1].site
    called = f"called from line {site.callers[0][1]}" if site.callers else f"on line {site.line}"
    return f"`{plain(part[0])}` {called}" if part is not None else f"the function {called}"


def _same_shapes(tape: Tape, one: Sequence[Node], other: Sequence[Node]) -> bool:
    def shapes(call: Sequence[Node]) -> list[tuple[int, ...]]:
        return [tuple(tape.values[value].shape) for node in call for value in (*node.inputs, *node.outputs)]

    return shapes(one) == shapes(other)


def _kept_by(other: Node) -> NodeHook:
    """The operation's rule at what another one was given; its parameters stay."""

    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        pairs = enumerate(zip(node.inputs, other.inputs, strict=True))
        at = {i: tape.values[b] for i, (a, b) in pairs if a != b and parameter_of(tape, a) is None}
        return tape.vjp(node, grads, at=at) if at else tape.vjp(node, grads)

    return hook
