"""The same change wherever a statement says the same, and all of its names with another ending."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any

from gradproof.own_code.edit import Edit, put_at_all, shared, together
from gradproof.own_code.statements import LINEAR, Way, at, expressions, is_assigned, is_moved, with_fields
from gradproof.own_code.vocabulary import LIKELY, POSSIBLE, Vocabulary, called, in_parts

MOST_EXCHANGED = 8  # names of a statement that are exchanged at once


def of_all_names(statement: ast.stmt | ast.expr, words: Vocabulary) -> Iterator[Edit]:
    """The same change wherever a statement says the same: `h * (1 - h)`, `a[0] + b[0]`, `W1 @ x + b1`."""
    places: dict[str, list[Way]] = {}
    for path, node, _ in expressions(statement):
        said = isinstance(node, (ast.Name, ast.Subscript, ast.Attribute, ast.Constant)) or is_moved(node)
        if said and not is_assigned(node):
            places.setdefault(words.text(node), []).append(path)
    for paths in places.values():
        if len(paths) > 1:
            for code, one in _instead_of(at(statement, paths[0]), at(statement, paths[0][:-1]), words):
                make = partial(put_at_all, statement, [(path, one) for path in paths])
                old = at(statement, paths[0])
                if words.shape(old) and _multiplied(statement, paths):
                    code = "derivative-at-wrong-point"
                yield Edit(code, old, one, make, ())
    yield from _of_another_number(statement, words)
    yield from _exchanged(statement, words)
    yield from _strided(statement, words)


def _strided(statement: ast.stmt | ast.expr, words: Vocabulary) -> Iterator[Edit]:
    """Windows that begin a stride apart: `x[i * s : i * s + k]` for `x[i : i + k]`, along all axes at once."""
    slices = [node for node in ast.walk(statement) if isinstance(node, ast.Slice)]
    starts = {one.lower.id for one in slices if isinstance(one.lower, ast.Name)}
    places = [path for path, node, _ in expressions(statement) if isinstance(node, ast.Name) and node.id in starts
              and any(isinstance(at(statement, path[:end]), ast.Slice) for end in range(len(path)))]
    row = statement.value if isinstance(statement, ast.Assign) else None
    if isinstance(row, ast.Tuple) and all(isinstance(one, ast.Name) and one.id in words.numbers for one in row.elts):
        places = [(("value", None), ("elts", i)) for i in range(len(row.elts))]
    for stride in words.scalars if places else ():
        if words.is_constant(stride) and words.text(stride) not in starts:
            new = [(path, ast.BinOp(at(statement, path), ast.Mult(), stride)) for path in places]
            yield together("wrong-operand", statement, new, POSSIBLE)


def _exchanged(statement: ast.stmt | ast.expr, words: Vocabulary) -> Iterator[Edit]:
    """Two names that a statement, or an expression of it, has in each other's place: `i == y[j]` for `j == y[i]`."""
    seen = set()
    for path, node, _ in [((), statement, None), *expressions(statement)]:
        names: dict[str, list[Way]] = {}
        for inner, one, _ in expressions(node):
            if isinstance(one, ast.Name) and not is_assigned(one) and one.id in words.shapes | words.numbers:
                names.setdefault(one.id, []).append((*path, *inner))
        for first, second in itertools.combinations(names, 2):
            new = [(way, ast.Name(other, ast.Load())) for own, other in ((first, second), (second, first))
                   for way in names[own]]
            places = frozenset(way for way, _ in new)
            if words.shape(ast.Name(first, ast.Load())) == words.shape(ast.Name(second, ast.Load())):
                if places not in seen and len(places) < MOST_EXCHANGED:
                    seen.add(places)
                    yield together("wrong-operand", statement, new, POSSIBLE)


def _instead_of(node: ast.expr, parent: Any, words: Vocabulary) -> Iterator[tuple[str, ast.expr]]:
    """What may belong wherever something is said: another array, another position."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, int) and isinstance(parent, (ast.Subscript, ast.Tuple)):
            yield from (("wrong-operand", one) for one in words.positions)
    elif words.text(node) in words.numbers:
        if is_moved(node):
            in_index = isinstance(parent, (ast.Subscript, ast.Slice, ast.Tuple))
            yield "shifted-in-time" if in_index else "different-function", node.left
        yield from (("wrong-operand", one) for one in words.other_numbers(node, parent))
        for op in (ast.Add(), ast.Sub()) if not is_moved(node) and not is_moved(parent) else ():
            yield _moves(node, parent, op), ast.BinOp(node, op, ast.Constant(1))
    elif words.shape(node):
        same = words.arrays.get(words.shapes[words.text(node)], ())
        yield from (("wrong-operand", one) for one in words.others(node, same))


def _moves(node: ast.expr, parent: Any, op: ast.operator) -> str:
    """What it is that a position should be one further or one before: of a slice's bound, that an end is left out."""
    wider = isinstance(parent, ast.Slice) and (node is parent.upper) == isinstance(op, ast.Add)
    return "missing-path" if wider else "shifted-in-time"


def _of_another_number(statement: ast.stmt | ast.expr, words: Vocabulary) -> Iterator[Edit]:
    """All names that end in one number or letter with another: `W1 @ x + b1` for `W2 @ x + b2`."""
    for names in kin(statement, words):
        yield together("wrong-operand", statement, names, LIKELY)


def kin(root: ast.stmt | ast.expr, words: Vocabulary) -> Iterator[list[tuple[Way, ast.expr]]]:
    """For each number or letter that several names end in: the same names with another, where there are all of them.

    And for two of them: the names with these exchanged, `x1, y0` for `x0, y1`.
    """
    found: dict[str, list[tuple[Way, str]]] = {}
    for path, node, _ in expressions(root):
        stem, ending = in_parts(called(node))
        if ending:
            found.setdefault(ending, []).append((path, stem))
    for ending, places in found.items():
        for other in sorted(words.endings - {ending}) if len(places) > 1 else ():
            if all(stem + other in words.names for _, stem in places):
                yield [(path, _with_name(at(root, path), stem + other)) for path, stem in places]
    for one, other in itertools.combinations(sorted(found), 2):
        turned = [(path, stem + new) for old, new in ((one, other), (other, one)) for path, stem in found[old]]
        if all(name in words.names for _, name in turned):
            yield [(path, _with_name(at(root, path), name)) for path, name in turned]


def _with_name(node: ast.expr, name: str) -> ast.expr:
    made: ast.expr = with_fields(node, **{"id" if isinstance(node, ast.Name) else "value": name})
    return made


def _multiplied(statement: ast.stmt | ast.expr, paths: list[Way]) -> bool:
    """Whether the first of some places stand in one product entry by entry, such as `h * (1 - h)`, or in one call."""
    around = shared(paths[:2])
    node = at(statement, around)
    if isinstance(node, ast.Call):
        return getattr(node.func, "attr", "") not in LINEAR
    if not isinstance(node, ast.BinOp):
        return True
    inner = [at(statement, path[:end]) for path in paths[:2] for end in range(len(around), len(path))]
    entry_by_entry = all(isinstance(one, (ast.BinOp, ast.UnaryOp)) for one in inner)
    return entry_by_entry and not isinstance(node.op, (ast.Add, ast.Sub, ast.MatMult))
