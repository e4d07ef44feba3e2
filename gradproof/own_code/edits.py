"""Small changes of a statement, such as undo the slips of writing code: each with the name of the mistake it undoes."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from gradproof.own_code.edit import Edit, put_at_all, together
from gradproof.own_code.names import kin, of_all_names
from gradproof.own_code.operations import of_expression
from gradproof.own_code.running import Shape
from gradproof.own_code.statements import Way, at, expressions, points, put
from gradproof.own_code.vocabulary import (
    LESS_LIKELY,
    LIKELY,
    POSSIBLE,
    UNLIKELY,
    Made,
    Vocabulary,
    broadcasts,
    called,
    divisor,
    is_inverse,
)
from gradproof.own_code.whole_lines import of_statement

NAMING = 0.2  # how much more far-fetched a change is where a line only gives names
SAID_AGAIN = (ast.Constant, ast.UnaryOp, ast.Call)  # what is looked at wherever it stands


def edits(statement: ast.stmt | ast.expr, words: Vocabulary) -> Iterator[Edit]:
    """All changes of a statement, or of what a loop or a branch begins with.

    A line that only gives names is rarely wrong: what is mended there may be mended where the names are used.
    """
    further = NAMING if _only_names(statement) else 0.0
    yield from (replace(one, rank=one.rank + further) if further else one for one in _edits(statement, words))


def _edits(statement: ast.stmt | ast.expr, words: Vocabulary) -> Iterator[Edit]:
    at_one_place = list(_at_one_place(statement, words))
    yield from at_one_place
    yield from _again(statement, at_one_place, words)
    yield from of_all_names(statement, words)
    yield from of_statement(statement, words)


def _only_names(statement: ast.stmt | ast.expr) -> bool:
    """Whether a line unpacks what it is given, or gives it another name."""
    if not isinstance(statement, ast.Assign):
        return False
    value = _copied(statement.value) or statement.value
    each = value.elt if isinstance(value, (ast.GeneratorExp, ast.ListComp)) else value
    values = value.elts if isinstance(value, ast.Tuple) else [each]
    unpacked = isinstance(statement.targets[0], (ast.Name, ast.Tuple))
    return unpacked and all(isinstance(one, (ast.Name, ast.Attribute, ast.Subscript)) for one in values)


def _copied(node: ast.expr) -> ast.expr | None:
    """a of `a.copy()`."""
    called = node.func if isinstance(node, ast.Call) and not node.args else None
    return called.value if isinstance(called, ast.Attribute) and called.attr == "copy" else None


def _at_one_place(statement: ast.stmt | ast.expr, words: Vocabulary) -> Iterator[Edit]:
    for path, node, parent in expressions(statement):
        for code, new, rank in of_expression(node, parent, words):
            if not _is_idle(node, new, parent, words):
                code = "broadcast" if _keeps_apart(node, new, parent, words) else code
                yield Edit(code, node, new, partial(put, statement, path, new), path, rank)
    for path, numbers in points(statement):
        node = at(statement, path)
        for code, new, rank in _with_more(node, words, numbers):
            yield Edit(code, node, new, partial(put, statement, path, new), path, rank)


def _again(statement: ast.stmt | ast.expr, changes: Sequence[Edit], words: Vocabulary) -> Iterator[Edit]:
    """The same change of the same number or call wherever the statement has it, or wherever one of its rows does."""
    texts = [words.text(node) for _, node, _ in expressions(statement) if isinstance(node, SAID_AGAIN)]
    alike: dict[tuple[Way | str, ...], list[tuple[Way, ast.expr]]] = {}
    for one in changes:
        if isinstance(one.old, SAID_AGAIN) and isinstance(one.new, ast.expr) and texts.count(words.text(one.old)) > 1:
            for row in {(), _row(statement, one.path)}:
                key = (row, one.code, words.text(one.old), words.text(one.new))
                alike.setdefault(key, []).append((one.path, one.new))
    for (_, code, *_), found in alike.items():
        if len(found) > 1:
            yield together(str(code), statement, found, POSSIBLE)


def _row(statement: ast.stmt | ast.expr, path: Way) -> Way:
    """The way to the innermost row that an expression stands in; to the statement where it stands in none."""
    ends = (end for end in range(len(path), 0, -1) if isinstance(at(statement, path[:end]), (ast.List, ast.Tuple)))
    return path[: next(ends, 0)]


def _is_idle(node: ast.expr, new: ast.expr, parent: Any, words: Vocabulary) -> bool:
    """Whether a change makes x / x or x - x, which nobody means."""
    around = [new if one is node else one for one in _taken_apart(parent)]
    return any(len(pair) == 2 and words.text(pair[0]) == words.text(pair[1]) for pair in (around, _taken_apart(new)))


def _taken_apart(node: Any) -> list[ast.expr]:
    """What is divided and by what, or subtracted and from what."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Div, ast.Sub)):
        return [node.left, node.right]
    return node.args if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("divide", "subtract") else []


def _keeps_apart(node: ast.expr, new: ast.expr, parent: Any, words: Vocabulary) -> bool:
    """Whether a row met a column, so that every entry met every other, and the change makes them meet one by one."""
    if not isinstance(parent, ast.BinOp) or isinstance(parent.op, ast.MatMult):
        return False
    other, own = words.shape(parent.right if node is parent.left else parent.left), words.shape(node)
    if not other or not own or words.shape(parent) in (None, other, own):
        return False
    now = words.shape_of_new(new)
    return now is not None and now != () and (broadcasts(now, other) or broadcasts(other, now))


def _with_more(node: ast.expr, words: Vocabulary, numbers: bool) -> Iterator[Made]:
    """A factor more, a term more, or the other sign."""
    shape = words.shape(node)
    if shape is None and not isinstance(node, ast.Call):
        return
    if numbers:
        yield "wrong-sign", ast.UnaryOp(ast.USub(), node), LIKELY
        code = "different-function" if isinstance(node, ast.Constant) else "wrong-scale"
        for count in (ast.Constant(2), *words.counts.values()):
            yield code, ast.BinOp(node, ast.Div(), count), POSSIBLE
            yield code, ast.BinOp(node, ast.Mult(), count), POSSIBLE
    if shape is None or not words.is_constant(node):
        yield "missing-path", ast.BinOp(node, ast.Sub(), ast.Constant(1)), LESS_LIKELY
        if not shape:
            yield "different-function", ast.BinOp(ast.Constant(1), ast.Sub(), node), LESS_LIKELY
    if shape is None:
        return
    text = words.text(node)
    for factor, rank in words.fitting(shape):
        by = divisor(factor)
        if words.text(by) != text and (numbers or words.shape(by) != ()):
            code = "wrong-scale" if words.is_constant(by) else "missing-derivative"
            code = "different-function" if isinstance(node, ast.Constant) else code
            yield code, ast.BinOp(node, ast.Div() if is_inverse(factor) else ast.Mult(), by), rank
    for one in _at_the_same_position(node, words):
        yield "missing-derivative", ast.BinOp(node, ast.Mult(), one), POSSIBLE
    for one in words.entries_in(node) if shape == () else ():
        yield "missing-derivative", ast.BinOp(node, ast.Mult(), one), POSSIBLE
        yield "missing-derivative", ast.BinOp(node, ast.Div(), one), POSSIBLE
    for names in kin(node, words):
        if len({called(at(node, path)) for path, _ in names}) > 1:
            yield "missing-path", ast.BinOp(node, ast.Add(), put_at_all(node, names)), POSSIBLE
    yield from (("missing-derivative", one, LESS_LIKELY) for one in _with_a_matrix(node, shape, words))
    if shape or numbers:
        known = {text}
        for one in (*words.terms.get(shape, ()), *words.arrays.get(shape, ()), *_spread(shape, words)):
            if words.text(one) not in known:
                known.add(words.text(one))
                yield from (("missing-path", made, UNLIKELY) for made in _sums(node, one))


def _spread(shape: Shape, words: Vocabulary) -> Iterator[ast.expr]:
    """What one number, or a number for each row, may be added to an array of a shape."""
    yield from (one for one in words.scalars if not words.is_constant(one))
    yield from words.columns(shape)


def _sums(one: ast.expr, other: ast.expr) -> Iterator[ast.expr]:
    return (ast.BinOp(one, op, other) for op in (ast.Add(), ast.Sub()))


def _at_the_same_position(node: ast.expr, words: Vocabulary) -> Iterator[ast.expr]:
    """The same part of other arrays, of which the function may speak nowhere else: `W[i]` beside `P[i]`."""
    if isinstance(node, ast.Subscript) and words.shape(node.value):
        for one in words.others(node.value, words.arrays.get(words.shapes[words.text(node.value)], ())):
            yield ast.Subscript(one, node.slice, ast.Load())


def _with_a_matrix(node: ast.expr, shape: Shape, words: Vocabulary) -> Iterator[ast.expr]:
    """Times a square matrix, from the right or from the left."""
    if len(shape) == 2:
        yield from (ast.BinOp(node, ast.MatMult(), one) for one in words.arrays.get(shape[-1:] * 2, ()))
    if len(shape) in (1, 2):
        yield from (ast.BinOp(one, ast.MatMult(), node) for one in words.arrays.get(shape[:1] * 2, ()))
