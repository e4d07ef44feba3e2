"""The expressions of a statement: the way to each, and a copy of the statement with another one in its place."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator, Sequence
from typing import Any, TypeGuard

Way = tuple[tuple[str, int | None], ...]  # from a statement to an expression in it: fields, with positions in lists
REDUCTIONS = frozenset("sum mean max min prod std var cumsum argmax argmin any all".split())
LINEAR = REDUCTIONS | frozenset("dot matmul einsum outer reshape transpose swapaxes tensordot inner at".split())


def expressions(root: ast.AST, path: Way = (), parent: ast.AST | None = None) -> Iterator[tuple[Way, ast.expr, Any]]:
    """All expressions whose values a statement uses, with the way to each and what it is a part of.

    And the entries that it assigns to.
    """
    if isinstance(root, ast.Subscript) or (isinstance(root, ast.expr) and not is_assigned(root)):
        yield path, root, parent
    for name, value in ast.iter_fields(root):
        if isinstance(value, ast.AST):
            yield from expressions(value, (*path, (name, None)), root)
        elif isinstance(value, list):
            for i, one in enumerate(value):
                if isinstance(one, ast.AST):
                    yield from expressions(one, (*path, (name, i)), root)


def is_assigned(node: ast.expr) -> bool:
    return isinstance(getattr(node, "ctx", None), ast.Store)


def points(root: ast.stmt | ast.expr) -> Iterator[tuple[Way, bool]]:
    """Where a statement's value, and what it is made of, may lack a factor or a term; and whether a number may be one.

    A number that is missing at an operand of a product is missing at the product as well.
    """
    if isinstance(root, (ast.Assign, ast.AugAssign, ast.Return, ast.AnnAssign)) and root.value is not None:
        yield from _points(root.value, (("value", None),), True)
    elif isinstance(root, ast.Expr):  # nobody uses its value
        yield from _points_within(root.value, (("value", None),))


def _points(node: ast.expr, path: Way, numbers: bool) -> Iterator[tuple[Way, bool]]:
    if isinstance(node, ast.Starred):  # several values
        return
    if isinstance(node, (ast.Tuple, ast.List, ast.Dict)):
        name = "values" if isinstance(node, ast.Dict) else "elts"
        for i, one in enumerate(getattr(node, name)):
            yield from _points(one, (*path, (name, i)), True)
        return
    yield path, numbers
    yield from _points_within(node, path)


def _points_within(node: ast.expr, path: Way) -> Iterator[tuple[Way, bool]]:
    if isinstance(node, ast.BinOp):
        sides = [((*path, ("left", None)), node.left), ((*path, ("right", None)), node.right)]
        for inner, side in sides:
            if isinstance(node.op, (ast.Add, ast.Sub, ast.MatMult)):
                yield from _points(side, inner, not isinstance(node.op, ast.MatMult))
            else:  # a factor of one side is one of both
                yield from _points_within(side, inner)
    elif isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if isinstance(node.func, ast.Attribute) and not is_module(node.func.value):
            yield from _points(node.func.value, (*path, ("func", None), ("value", None)), False)
        for i, one in enumerate(node.args):
            if not isinstance(one, ast.Starred) and not is_number(one):
                yield from _points(one, (*path, ("args", i)), name not in LINEAR)
    elif isinstance(node, ast.Attribute) and node.attr == "T":
        yield from _points_within(node.value, (*path, ("value", None)))
    elif isinstance(node, ast.UnaryOp):
        yield from _points_within(node.operand, (*path, ("operand", None)))


def is_moved(node: Any) -> TypeGuard[ast.BinOp]:
    """Whether an expression is something plus or minus 1, as in `h[t - 1]`."""
    one = isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)) and node.right
    return isinstance(one, ast.Constant) and one.value == 1


def without_slope(node: ast.AST) -> ast.expr | None:
    """x of `x * h * (1 - h)`, which is x times the slope of a sigmoid; None of anything else."""
    if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult)):
        return None
    product, last = node.left, node.right
    if not (isinstance(product, ast.BinOp) and isinstance(product.op, ast.Mult) and isinstance(last, ast.BinOp)):
        return None
    one = isinstance(last.op, ast.Sub) and isinstance(last.left, ast.Constant) and last.left.value == 1
    return product.left if one and ast.dump(last.right) == ast.dump(product.right) else None


def is_factor(around: Any) -> bool:
    """Whether an operation multiplies or divides what is in it, or divides by it."""
    return isinstance(around, ast.BinOp) and isinstance(around.op, (ast.Mult, ast.Div))


def is_number(node: ast.expr) -> bool:
    return isinstance(node.operand if isinstance(node, ast.UnaryOp) else node, ast.Constant)


def is_module(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("np", "numpy", "math", "scipy", "special")


def at(root: Any, path: Way) -> Any:
    for name, position in path:
        root = getattr(root, name) if position is None else getattr(root, name)[position]
    return root


def put(root: Any, path: Way, new: ast.expr) -> Any:
    """A copy of a statement with another expression in one place; what is beside the way there is shared."""
    if not path:
        return new
    (name, position), rest = path[0], path[1:]
    value = getattr(root, name)
    if position is None:
        return with_fields(root, **{name: put(value, rest, new)})
    return with_fields(root, **{name: [*value[:position], put(value[position], rest, new), *value[position + 1 :]]})


def with_fields(node: Any, **changes: Any) -> Any:
    """A copy of a node with other fields."""
    made = copy.copy(node)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def exchanged(row: Sequence[ast.expr]) -> Iterator[tuple[list[ast.expr], list[ast.expr]]]:
    """A row with two neighbours exchanged, and these two."""
    for i in range(len(row) - 1):
        pair = [row[i + 1], row[i]]
        yield [*row[:i], *pair, *row[i + 2 :]], pair
