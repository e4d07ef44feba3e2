"""What an array is to another one, by the lines that make it: the same times a factor, the same and something more."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gradproof.own_code.edit import Edit
from gradproof.own_code.statements import at, is_moved
from gradproof.own_code.vocabulary import Vocabulary


def instead_of(wrong: ast.expr, right: ast.expr, lines: Sequence[ast.AST], words: Vocabulary) -> str | None:
    """The name of the mistake to take one array for another that some lines make of it; None where they do not."""
    text = words.text(right)
    values = [one.value for one in lines if isinstance(one, ast.Assign) and words.text(one.targets[0]) == text]
    codes = [_made_of(one, wrong, words) for one in values]
    if any(words.text(one) == words.text(wrong) for one in values):  # and is then changed in place
        codes += [_changed_to(one, text, words) for one in lines]
    return next((code for code in codes if code is not None), None)


def is_another_step(pairs: Sequence[Sequence[Any]]) -> bool:
    """Whether the first of two, as they stood in step after step, is mostly the second of a step before or after.

    Not everywhere: where one sequence is over, the next one begins.
    """
    for earlier, later in ((0, 1), (1, 0)):
        same = [np.array_equal(a[earlier], b[later]) for a, b in itertools.pairwise(pairs)]
        if 2 * sum(same) >= max(len(same), 3):
            return True
    return False


def moved_in(wrong: ast.expr, right: ast.expr, words: Vocabulary) -> str | None:
    """The name of the mistake where all that differs is the position in one sequence or array; None where it is not."""
    for one, other in itertools.product(_entries(wrong), _entries(right)):
        same = words.text(one.value) == words.text(other.value)
        if same and words.text(wrong).replace(words.text(one), words.text(other)) == words.text(right):
            return words.shifts(one.value, 0, one.slice)
    return None


def moved_by_one(edit: Edit, statement: ast.AST, words: Vocabulary) -> str | None:
    """The name of the mistake where a change, somewhere in an index, is one more or one less; None where it is not."""
    old, new = edit.old, edit.new
    if not (_is_one_beside(old, new, words) or _is_one_beside(new, old, words)):
        return None
    for end in range(len(edit.path) - 1, 0, -1):
        node = at(statement, edit.path[:end])
        if isinstance(node, ast.Subscript) and edit.path[end][0] == "slice" and words.shape(node.value):
            inside = edit.path[end + 1 :]
            axis = inside[0][1] if isinstance(node.slice, ast.Tuple) and inside else 0
            return words.shifts(node.value, axis or 0, node.slice)
    return None


def _is_one_beside(one: ast.AST | None, other: ast.AST | None, words: Vocabulary) -> bool:
    """Whether this is the other plus or minus one."""
    return is_moved(one) and isinstance(other, ast.expr) and words.text(one.left) == words.text(other)


def _entries(node: ast.expr) -> list[ast.Subscript]:
    """What takes one position of something."""
    return [one for one in ast.walk(node) if isinstance(one, ast.Subscript) and not isinstance(one.slice, ast.Tuple)]


def _changed_to(line: ast.AST, text: str, words: Vocabulary) -> str | None:
    """What is missing where a line that changes an array in place is forgotten."""
    if isinstance(line, ast.AugAssign) and words.text(line.target) == text:
        return _code_of(line.op, [line.value], words)
    target = line.targets[0] if isinstance(line, ast.Assign) else None
    if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Compare) and words.text(target.value) == text:
        return "missing-derivative"
    return None


def _made_of(made: ast.expr, part: ast.expr, words: Vocabulary) -> str | None:
    """What is missing where a part stands for what is made of it."""
    if words.text(made) == words.text(ast.UnaryOp(ast.USub(), part)):
        return "wrong-sign"
    for kind in ((ast.Mult, ast.Div), (ast.Add, ast.Sub)):
        parts = list(_operands(made, kind))
        others = [one for one in parts if words.text(one) != words.text(part)]
        if len(parts) > 1 and len(others) == len(parts) - 1:
            return _code_of(kind[0](), others, words)
    return None


def _operands(node: ast.expr, kind: tuple[type[ast.operator], ...]) -> Iterator[ast.expr]:
    """The factors of a product, or the terms of a sum."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, kind):
        yield from _operands(node.left, kind)
        yield from _operands(node.right, kind)
    else:
        yield node


def _code_of(op: ast.operator, others: Sequence[ast.expr], words: Vocabulary) -> str | None:
    if isinstance(op, (ast.Add, ast.Sub)):
        return "missing-path"
    if isinstance(op, (ast.Mult, ast.Div)):
        return "wrong-scale" if all(words.is_constant(one) for one in others) else "missing-derivative"
    return None
