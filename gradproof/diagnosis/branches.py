"""A slip in a local rule that only one of the branches of the expression behind it has seen.

Whoever writes the gradient of each operand of an expression as a formula of its own can mistype what they share in
one of them.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradproof.diagnosis.edges import origin
from gradproof.diagnosis.fault import Fault
from gradproof.diagnosis.places import Place
from gradproof.diagnosis.survey import Survey
from gradproof.tape import Gradients, Node, NodeHook, Tape, Tensor, Totals

BUNDLES = ("expand", "view", "_unsafe_view", "unsqueeze", "transpose", "t", "stack", "cat", "mm", "bmm", "mv")
DEEPEST = 6  # operations between the slip and the branch
Step = tuple[int, int]  # an operation, and which of its inputs


def restricted(
    survey: Survey, place: Place, position: int, slips: dict[int, NodeHook], fault: Fault
) -> Iterator[Fault]:
    """The fault of a place's rule for one input, for each branch of the expression that this input is."""
    tape = survey.tape
    for path in _branches(tape, place.model.inputs[position], DEEPEST):
        last, where = path[-1]
        target = origin(tape, tape.nodes[last], where)
        hooks = {}
        for node in place.nodes:
            shifted = [(index + node.index - place.model.index, at) for index, at in path]
            if _same(tape, path, shifted):
                hooks[shifted[-1][0]] = _on_branch(node, position, slips[node.index], shifted)
        if len(hooks) == len(place.nodes):
            message = f"{fault.message}; but only in what flows on to {target}"
            rank, about = fault.rank + 0.45, tuple(node.index for node in place.nodes)
            yield Fault(fault.code, message, fault.site, rank, hooks, about=about)


def _branches(tape: Tape, value: int, depth: int) -> Iterator[list[Step]]:
    """The ways into an elementwise expression of several arrays."""
    producer = tape.producer.get(value)
    if producer is None or depth == 0:
        return
    node = tape.nodes[producer]
    moving = [i for i, one in enumerate(node.inputs) if one in tape.differentiable]
    if not node.pointwise and node.name not in BUNDLES:
        return
    for position in moving:
        if len(moving) > 1:
            yield [(producer, position)]
        for rest in _branches(tape, node.inputs[position], depth - 1):
            yield [(producer, position), *rest]


def _same(tape: Tape, path: list[Step], other: list[Step]) -> bool:
    return all(
        0 <= there < len(tape.nodes)
        and tape.nodes[there].name == tape.nodes[index].name
        and position < len(tape.nodes[there].inputs)
        for (index, position), (there, _) in zip(path, other, strict=True)
    )


def _on_branch(broken: Node, position: int, slip: NodeHook, path: list[Step]) -> NodeHook:
    """A hook at the end of a path: what the slip changes, brought there on this path alone."""

    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found = list(tape.vjp(node, grads))
        arrived = [totals.get(value) for value in broken.outputs]
        if all(one is None for one in arrived):
            return found
        wrong, right = slip(tape, broken, arrived, totals)[position], tape.vjp(broken, arrived)[position]
        if wrong is None or right is None:
            return found
        change: Tensor | None = wrong - right
        for index, at in path:
            change = None if change is None else tape.vjp(tape.nodes[index], [change])[at]
        own, last = found[path[-1][1]], path[-1][1]
        found[last] = own if change is None else change if own is None else own + change
        return found

    return hook
