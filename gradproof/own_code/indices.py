"""Small changes of what an expression takes out of an array: another position, one further, without a bound."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from gradproof.own_code.statements import with_fields
from gradproof.own_code.vocabulary import LIKELY, POSSIBLE, Made, Vocabulary

JOINING = ("c_", "r_", "s_")  # what NumPy writes as an index and is none


def of_index(node: ast.Subscript, parent: Any, words: Vocabulary) -> Iterator[Made]:
    if isinstance(node.value, ast.Attribute) and node.value.attr in JOINING:
        return
    if isinstance(node.value, ast.Attribute) and node.value.attr == "shape":
        yield from (("wrong-axis", one, LIKELY) for one in _lengths_of_other_axes(node, words))
        return
    entries = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    for i, entry in enumerate(entries):
        shifted = words.shifts(node.value, i, entry)
        for code, other in (*_other_indices(entry, shifted), *_other_positions(entry, words), *_blocks(entry, words)):
            changed = [*entries[:i], other, *entries[i + 1 :]]
            index = ast.Tuple(changed, ast.Load()) if isinstance(node.slice, ast.Tuple) else other
            yield code, ast.Subscript(node.value, index, node.ctx), LIKELY
    if not isinstance(node.slice, ast.Constant):
        for other in words.others(node.slice, words.indices.get(words.shape(node.value) or (), [])):
            yield "wrong-operand", ast.Subscript(node.value, other, node.ctx), POSSIBLE
    yield from _one_by_one(node, entries, words)
    if len(entries) == 2:
        swapped = ast.Subscript(node.value, ast.Tuple(entries[::-1], ast.Load()), node.ctx)
        parts = any(isinstance(one, ast.Slice) and (one.lower or one.upper) for one in entries)
        yield "wrong-operand" if parts else "wrong-axis", swapped, LIKELY
    if isinstance(node.ctx, ast.Load) and words.shape(node) is not None:
        whole = all(isinstance(one, (ast.Constant, ast.UnaryOp, ast.Slice)) for one in entries)
        yield "one-sample-only" if whole else "wrong-operand", node.value, POSSIBLE
        if len(entries) == 1 and isinstance(entries[0], (ast.Constant, ast.UnaryOp)):
            summed = ast.Call(ast.Attribute(node.value, "sum", ast.Load()), [], [ast.keyword("axis", ast.Constant(0))])
            yield "last-step-only" if isinstance(entries[0], ast.UnaryOp) else "one-sample-only", summed, LIKELY


def _one_by_one(node: ast.Subscript, entries: list[ast.expr], words: Vocabulary) -> Iterator[Made]:
    """One entry of each row, where all rows were taken at each of some columns: `a[np.arange(len(a)), y]`."""
    looked_up = [one for one in entries if words.shape(one)]
    whole = [i for i, one in enumerate(entries) if isinstance(one, ast.Slice) and not (one.lower or one.upper)]
    if len(looked_up) != 1 or len(whole) != 1 or len(entries) != 2:
        return
    arange = words.of_numpy("arange")
    if arange is None:
        return
    count = ast.Call(ast.Name("len", ast.Load()), looked_up, [])
    each = ast.Call(arange, [count], [])
    index = ast.Tuple([each if i in whole else one for i, one in enumerate(entries)], ast.Load())
    yield "wrong-operand", ast.Subscript(node.value, index, node.ctx), LIKELY


def _lengths_of_other_axes(node: ast.Subscript, words: Vocabulary) -> Iterator[ast.expr]:
    """The lengths of the same array along its other axes, of a length along one."""
    assert isinstance(node.value, ast.Attribute)
    if whole_number(node.slice) is None:
        return
    axes = len(words.shape(node.value.value) or ())
    for axis in range(axes):
        if (whole_number(node.slice) or 0) % axes != axis:
            yield ast.Subscript(node.value, ast.Constant(axis), ast.Load())


def _other_indices(entry: ast.expr, shifted: str) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(entry, ast.Slice):
        for name in ("lower", "upper"):
            bound = getattr(entry, name)
            for other in moved(bound, 1 if name == "lower" else -1):
                yield shifted if other is not None else _cut(entry, name), with_fields(entry, **{name: other})
        if entry.step is not None:
            yield "flipped", with_fields(entry, step=None)
        if isinstance(entry.lower, ast.Constant) and entry.upper is None:
            yield shifted, ast.Slice(None, ast.UnaryOp(ast.USub(), entry.lower), entry.step)
        if isinstance(entry.upper, ast.UnaryOp) and entry.lower is None:
            yield shifted, ast.Slice(entry.upper.operand, None, entry.step)
    elif not isinstance(entry, ast.Constant) or whole_number(entry) is not None:
        yield from ((shifted, other) for other in moved(entry, 1) if other is not None)
        if (whole_number(entry) or 0) < -1:
            yield shifted, ast.Constant(0)


def _cut(entry: ast.Slice, name: str) -> str:
    """What it is that a slice has a bound."""
    last = name == "lower" and entry.lower is not None and whole_number(entry.lower) == -1 and entry.upper is None
    return "last-step-only" if last else "missing-path"


def _other_positions(entry: ast.expr, words: Vocabulary) -> Iterator[tuple[str, ast.expr]]:
    """A position that has a name, for one that is a number."""
    if whole_number(entry) is not None:
        yield from (("wrong-operand", one) for one in words.positions)


def _blocks(entry: ast.expr, words: Vocabulary) -> Iterator[tuple[str, ast.expr]]:
    """The block that belongs to a loop's passage, where each takes the first: `k * d:(k + 1) * d` for `:d`."""
    if isinstance(entry, ast.Slice) and entry.lower is None and entry.upper is not None and entry.step is None:
        for k in words.counters:
            low = ast.BinOp(k, ast.Mult(), entry.upper)
            high = ast.BinOp(ast.BinOp(k, ast.Add(), ast.Constant(1)), ast.Mult(), entry.upper)
            yield "wrong-operand", ast.Slice(low, high, None)


def moved(bound: ast.expr | None, towards: int) -> Iterator[ast.expr | None]:
    """A position one further, one before, and none."""
    if bound is None:
        yield constant(towards)
        return
    yield None
    number = whole_number(bound)
    if number is not None:
        yield from (constant(number + step) for step in (1, -1))
        return
    shifted = bound if isinstance(bound, ast.BinOp) and isinstance(bound.op, (ast.Add, ast.Sub)) else None
    for op in (ast.Add(), ast.Sub()):
        back = shifted is not None and whole_number(shifted.right) == 1 and not isinstance(shifted.op, type(op))
        if not back:  # i - 1 + 1 is i
            yield ast.BinOp(bound, op, ast.Constant(1))
    if shifted is not None:
        yield shifted.left
        yield ast.BinOp(shifted.left, ast.Sub() if isinstance(shifted.op, ast.Add) else ast.Add(), shifted.right)


def whole_number(node: ast.expr) -> int | None:
    """The number that an expression is, with its sign."""
    minus = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
    inner = node.operand if isinstance(node, ast.UnaryOp) and minus else node
    value = inner.value if isinstance(inner, ast.Constant) else None
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return -value if minus else value


def constant(value: float) -> ast.expr:
    return ast.UnaryOp(ast.USub(), ast.Constant(-value)) if value < 0 else ast.Constant(value)
