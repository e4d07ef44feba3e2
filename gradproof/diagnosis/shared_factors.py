"""Products that share a factor: another array in its place in all of them, or none of them with its transpose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gradproof.diagnosis.edges import origin
from gradproof.diagnosis.fault import Fault
from gradproof.diagnosis.places import Place, bare, views_before
from gradproof.diagnosis.products import untransposed, with_operand
from gradproof.diagnosis.survey import Survey
from gradproof.tape import Gradients, Node, NodeHook, Tape, Tensor, Totals

MATRIX = ("mm", "bmm")


def faults(survey: Survey) -> Iterator[Fault]:
    """For each array that several products take, and each line that multiplies by one matrix several times."""
    yield from _of_sandwiches(survey.tape, survey.places)
    yield from _wherever_used(survey)


def _wherever_used(survey: Survey) -> Iterator[Fault]:
    """An array that several products take: another one in its place in all of them, on the way back."""
    tape = survey.tape
    uses: dict[tuple[int, ...], list[tuple[Place, int]]] = {}
    for place in survey.places:
        binary = place.name in ("mul", *MATRIX) and all(len(node.inputs) == 2 for node in place.nodes)
        for position in (0, 1) if binary and not place.everywhere and place.copies == 1 else ():
            if place.model.inputs[position] in tape.differentiable:
                uses.setdefault(tuple(node.inputs[1 - position] for node in place.nodes), []).append((place, position))
    for own, found in uses.items():
        if 1 < len(found) == len({place.model.index for place, _ in found}):
            place, position = found[0]
            factor = origin(tape, place.model, 1 - position)
            for row in survey.pool.fitting(place, own):
                if not row.transposed:
                    message = f"on the way back, {row.words} stands for {factor} in each of the {len(found)} products"
                    hooks = {
                        node.index: with_operand(at, value, transposed=False)
                        for one, at in found
                        for node, value in zip(one.nodes, row.values, strict=True)
                    }
                    yield Fault(row.code, f"{message} with it", place.site, 1.62, hooks)


def _of_sandwiches(tape: Tape, places: Sequence[Place]) -> Iterator[Fault]:
    """A line that multiplies by one matrix several times (`A @ P @ A.T`): each time without its transpose."""
    by_line: dict[tuple[object, ...], list[tuple[Place, int]]] = {}
    for place in places:
        if place.everywhere or place.name not in MATRIX:
            continue
        for position in (0, 1):
            matrix = bare(tape, place.model.inputs[1 - position])
            if place.model.inputs[position] in tape.differentiable:
                by_line.setdefault((*place.line, len(place.nodes), matrix), []).append((place, position))
    for found in by_line.values():
        if len({place.model.index for place, _ in found}) != len(found) or len(found) < 2:
            continue
        place, position = found[-1]
        factor = origin(tape, place.model, 1 - position)
        message = f"on the way back through this line, {factor} stands as it is wherever its transpose belongs,"
        message += " and transposed where it belongs as it is"
        hooks = {node.index: untransposed(at) for one, at in found for node in one.nodes}
        yield Fault("not-transposed", message, place.site, 1.12, hooks)
        (outer, outer_at), (inner, inner_at) = found[0], found[-1]
        chains = [_views_between(tape, b, a.outputs[0]) for a, b in zip(inner.nodes, outer.nodes, strict=True)]
        if len(found) == 2 and None not in chains:
            target = origin(tape, inner.model, inner_at)
            hooks = {
                a.index: _untransposed_twice(inner_at, outer_at, b, chain or [])
                for a, b, chain in zip(inner.nodes, outer.nodes, chains, strict=True)
            }
            message += f"; but only in what flows on to {target}"
            yield Fault("not-transposed", message, place.site, 1.14, hooks)


def _views_between(tape: Tape, later: Node, value: int) -> list[Node] | None:
    """The views by which an operation takes a value, the last one first; None where it is no such."""
    return next((views_before(tape, one)[::-1] for one in later.inputs if bare(tape, one) == value), None)


def _untransposed_twice(inner_at: int, outer_at: int, outer: Node, views: Sequence[Node]) -> NodeHook:
    """What flows through two products on to a factor of the inner one, in both without the transpose."""

    def hook(tape: Tape, node: Node, grads: list[Tensor | None], totals: Totals) -> Gradients:
        found = list(tape.vjp(node, grads))
        arrived = untransposed(outer_at)(tape, outer, [totals.get(outer.outputs[0])], totals)[outer_at]
        for view in views:
            arrived = tape.vjp(view, [arrived])[0]
        found[inner_at] = untransposed(inner_at)(tape, node, [arrived], totals)[inner_at]
        return found

    return hook
