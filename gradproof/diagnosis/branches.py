"""A slip in a local rule that only one branch has seen: of the expression behind it, or of what uses its result.

Whoever writes the gradient of each operand of an expression as a formula of its own can mistype what they share in
one of them; and whoever goes back along each use of a result by itself can apply its rule to some of them only.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gradproof.diagnosis.edges import origin
from gradproof.diagnosis.fault import Fault, OneInput
from gradproof.diagnosis.places import Place
from gradproof.diagnosis.survey import Survey
from gradproof.tape import Gradients, Node, NodeHook, Tape, Tensor, Totals, joined

BUNDLES = ("expand", "view", "_unsafe_view", "unsqueeze", "transpose", "t", "stack", "cat", "mm", "bmm", "mv")
DEEPEST = 6  # operations between the slip and the branch
MOST_USES = 4  # lines that use a result
Step = tuple[int, int]  # an operation, and which of its inputs


@dataclass(frozen=True)
class Branch:
    """A way into the expression that an input of a place is: for each passage, the steps from there, the last of which
    takes `target`."""

    target: str
    paths: tuple[tuple[Step, ...], ...]


def branches(tape: Tape, place: Place, position: int) -> list[Branch]:
    """The branches of the expression that one input of a place is, where all passages have them."""
    found = []
    for path in _branches(tape, place.model.inputs[position], DEEPEST):
        shifts = [node.index - place.model.index for node in place.nodes]
        paths = tuple(tuple((index + shift, at) for index, at in path) for shift in shifts)
        if all(_same(tape, path, one) for one in paths):
            last, where = path[-1]
            found.append(Branch(origin(tape, tape.nodes[last], where), paths))
    return found


def restricted(
    place: Place, position: int, slips: dict[int, NodeHook], fault: Fault, known: list[Branch]
) -> Iterator[Fault]:
    """The fault of a place's rule for one input, for each branch of the expression that this input is."""
    changes = [_Change(node, position, slips[node.index]) for node in place.nodes]
    for branch in known:
        pairs = zip(changes, branch.paths, strict=True)
        hooks = {path[-1][0]: _on_branch(change, path) for change, path in pairs}
        if len(hooks) == len(place.nodes):
            message = f"{fault.message}; but only in what flows on to {branch.target}"
            rank, about = fault.rank + 0.45, tuple(node.index for node in place.nodes)
            yield Fault(fault.code, message, fault.site, rank, hooks, about=about)


def of_some_uses(survey: Survey, place: Place, slips: dict[int, NodeHook], fault: Fault) -> Iterator[Fault]:
    """The fault of a place's rule, in what arrives there from one of the lines that use its result, or from one use.

    What uses the result may be several operations further on: the carry of a cell's state, or the cell's own output.
    """
    tape = survey.tape
    forks = {index: _fork(tape, tape.nodes[index]) for index in slips}
    users = {index: tape.consumers.get(value, []) for index, (value, _) in forks.items()}
    lines: dict[str, set[int]] = {}
    for group in users.values():
        for user in group:
            site = tape.nodes[user].site
            lines.setdefault(f"line {site.line}", set()).add(user)
    if len(lines) == 1:
        (group,) = users.values() if len(users) == 1 else ([],)
        lines = {f"`{tape.nodes[user].name}` (line {tape.nodes[user].site.line})": {user} for user in group}
    for words, chosen in lines.items() if 1 < len(lines) <= MOST_USES else ():
        hooks = {
            index: _of_part(slip, chosen, *forks[index]) for index, slip in slips.items() if chosen & set(users[index])
        }
        message = f"{fault.message}; but only for what comes from {words}"
        yield Fault(fault.code, message, fault.site, fault.rank + 0.1, hooks, about=tuple(slips))


def on_branches(tape: Tape, value: int, users: Sequence[int], fault: Fault) -> Iterator[Fault]:
    """The fault that what some operations send to a value is lost, for each branch of the expression that made it."""
    for path in _branches(tape, value, DEEPEST):
        last, at = path[-1]
        message = f"{fault.message}; but only in what flows on to {origin(tape, tape.nodes[last], at)}"
        hook = _lost_on_branch(value, frozenset(users), path)
        yield Fault(fault.code, message, fault.site, fault.rank + 0.3, {last: hook})


def _lost_on_branch(value: int, users: frozenset[int], path: Sequence[Step]) -> NodeHook:
    last, at = path[-1]

    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found = list(tape.vjp(node, grads))
        lost = joined([one for one in totals.arriving(value) if one[0] in users])
        lost, own = _brought(tape, path, lost), found[at]
        found[at] = own if lost is None or own is None else own - lost
        return found

    return OneInput(at, hook)


def _brought(tape: Tape, steps: Sequence[Step], grad: Tensor | None) -> Tensor | None:
    """What a gradient is after some steps on the way back."""
    for index, at in steps:
        grad = None if grad is None else tape.vjp(tape.nodes[index], [grad])[at]
    return grad


def _fork(tape: Tape, node: Node) -> tuple[int, list[Step]]:
    """The first value from a node on that is used several times, and the elementwise steps that lead there."""
    value, steps = node.outputs[0], []
    for _ in range(DEEPEST):
        users = [tape.nodes[index] for index in tape.consumers.get(value, ())]
        if len(users) != 1 or not users[0].pointwise or users[0].inputs.count(value) != 1:
            break
        steps.append((users[0].index, users[0].inputs.index(value)))
        value = users[0].outputs[0]
    return value, steps


def _of_part(slip: NodeHook, users: set[int], fork: int, steps: Sequence[Step]) -> NodeHook:
    """A hook that breaks the rule for what some operations send, and keeps it for the rest."""

    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found = list(tape.vjp(node, grads))
        arrived = totals.arriving(fork)
        part = joined(arrived, without=[index for index, _ in arrived if index not in users])
        part = _brought(tape, steps[::-1], part)
        if part is None:
            return found
        wrong, right = slip(tape, node, [part], totals), tape.vjp(node, [part])
        for i, (new, old) in enumerate(zip(wrong, right, strict=True)):
            own = found[i]
            if own is not None and old is not None:
                found[i] = own - old if new is None else own + (new - old)
        return found

    return hook


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


def _same(tape: Tape, path: Sequence[Step], other: Sequence[Step]) -> bool:
    return all(
        0 <= there < len(tape.nodes)
        and tape.nodes[there].name == tape.nodes[index].name
        and position < len(tape.nodes[there].inputs)
        for (index, position), (there, _) in zip(path, other, strict=True)
    )


class _Change:
    """What a slip changes of what flows back, and what becomes of that on the ways from there.

    It is kept for as long as the same arrives: the branches of an expression have most of their steps in common.
    """

    def __init__(self, broken: Node, position: int, slip: NodeHook) -> None:
        self._broken, self._position, self._slip = broken, position, slip
        self._arrived: list[Tensor | None] = []
        self._known: dict[tuple[Step, ...], Tensor | None] = {}

    def brought(self, tape: Tape, path: tuple[Step, ...], totals: Totals) -> Tensor | None:
        """The change after some steps; None where there is none."""
        arrived = [totals.get(value) for value in self._broken.outputs]
        if len(arrived) != len(self._arrived) or not all(map(operator.is_, arrived, self._arrived)):
            self._arrived, self._known = arrived, {(): self._made(tape, arrived, totals)}
        for end in range(1, len(path) + 1):
            if path[:end] not in self._known:
                self._known[path[:end]] = _brought(tape, path[end - 1 : end], self._known[path[: end - 1]])
        return self._known[path]

    def _made(self, tape: Tape, arrived: list[Tensor | None], totals: Totals) -> Tensor | None:
        if all(one is None for one in arrived):
            return None
        wrong = self._slip(tape, self._broken, arrived, totals)[self._position]
        right = tape.vjp(self._broken, arrived)[self._position]
        return None if wrong is None or right is None else wrong - right


def _on_branch(change: _Change, path: tuple[Step, ...]) -> NodeHook:
    """A hook at the end of a path: what the slip changes, brought there on this path alone."""

    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found, last = list(tape.vjp(node, grads)), path[-1][1]
        brought, own = change.brought(tape, path, totals), found[last]
        found[last] = own if brought is None else brought if own is None else own + brought
        return found

    return OneInput(path[-1][1], hook)
