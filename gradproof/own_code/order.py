"""Lines in another order: before or behind another line, behind the loop that they stand in, in the loop above."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from gradproof.own_code.edit import Edit
from gradproof.own_code.statements import is_assigned
from gradproof.own_code.switches import SIMPLE
from gradproof.own_code.vocabulary import LIKELY, POSSIBLE, Vocabulary


def moves(tree: ast.FunctionDef, words: Vocabulary) -> Iterator[tuple[ast.stmt, Edit]]:
    """What belongs elsewhere: the line beside which it does, and the change."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            yield from _past_another_line(body, words)
            yield from _out_of_a_loop(body)
            yield from _into_a_loop(body)


def _past_another_line(body: Sequence[ast.stmt], words: Vocabulary) -> Iterator[tuple[ast.stmt, Edit]]:
    """What makes a name stand for something else, before or behind a line that speaks of it."""
    for k, line in enumerate(body):
        name = _changed(line, words)
        for i, other in enumerate(body):
            if i != k and name and name in _read(other) and isinstance(other, (ast.Assign, ast.AugAssign, ast.Expr)):
                yield other, _beside("wrong-operand", line, other, "before" if i < k else "behind", LIKELY)


def _out_of_a_loop(body: Sequence[ast.stmt]) -> Iterator[tuple[ast.stmt, Edit]]:
    for loop, after in zip(body, body[1:], strict=False):
        if isinstance(loop, (ast.For, ast.While)) and isinstance(after, SIMPLE):
            for line in loop.body:
                if isinstance(line, ast.AugAssign):
                    yield after, _beside("wrong-scale", line, after, "behind the loop, before", POSSIBLE)


def _into_a_loop(body: Sequence[ast.stmt]) -> Iterator[tuple[ast.stmt, Edit]]:
    for loop, line in zip(body, body[1:], strict=False):
        if isinstance(loop, (ast.For, ast.While)) and isinstance(line, ast.AugAssign):
            last = loop.body[-1]
            if isinstance(last, SIMPLE):
                yield last, _beside("last-step-only", line, last, "in the loop, behind", POSSIBLE)


def _beside(code: str, line: ast.stmt, other: ast.stmt, where: str, rank: float) -> Edit:
    pair: list[ast.stmt] = [other, line] if where.endswith("behind") else [line, other]
    return Edit(code, line, other, lambda: ast.If(ast.Constant(True), pair, []), (), rank, moved=where)


def _changed(line: ast.stmt, words: Vocabulary) -> str:
    """The name that stands for something else after a line; empty where no name does that stood for anything before."""
    if isinstance(line, ast.AugAssign):
        return _name(line.target)
    if isinstance(line, ast.Assign) and len(line.targets) == 1:
        name = _name(line.targets[0])
        return name if line in words.assigned_anew or name in _read(line) else ""
    return ""


def _name(target: ast.expr) -> str:
    return target.id if isinstance(target, ast.Name) else ""


def _read(line: ast.stmt) -> set[str]:
    """The names whose values a line uses."""
    names = {node.id for node in ast.walk(line) if isinstance(node, ast.Name) and not is_assigned(node)}
    return names | {_name(line.target)} if isinstance(line, ast.AugAssign) else names
