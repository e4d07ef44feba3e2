"""Small changes of what is summed or averaged: before or after a product or a function of it, or not at all."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from gradproof.own_code.statements import REDUCTIONS, is_module, with_fields
from gradproof.own_code.vocabulary import LIKELY, POSSIBLE, Made, Vocabulary

OF_NUMBERS = REDUCTIONS - frozenset("argmax argmin any all".split())
OF_ENTRIES = "exp log log1p expm1 log2 log10 sqrt square abs tanh sign sin cos sinh cosh arctan".split()


def of_reduction(node: ast.Call, words: Vocabulary) -> Iterator[Made]:
    """What is reduced, as it is; a product, a power or a function of it, made of what was reduced before."""
    inner = _reduced(node)
    if inner is None:
        return
    if words.shape(inner) and words.shape(inner) != words.shape(node):
        yield "wrong-reduction", inner, POSSIBLE
        if _name(node) == "sum":  # which arrays have as a method as well
            yield "wrong-reduction", ast.Call(ast.Attribute(inner, "cumsum", ast.Load()), [], node.keywords), POSSIBLE
    if isinstance(inner, ast.BinOp) and isinstance(inner.op, ast.Mult):
        each = [_of(node, one) if words.shape(one) else one for one in (inner.left, inner.right)]
        yield "wrong-reduction", ast.BinOp(each[0], inner.op, each[1]), POSSIBLE
    for taken, whose in _taken(inner):
        yield "wrong-reduction", taken(_of(node, whose)), POSSIBLE


def of_what_is_reduced(node: ast.BinOp | ast.Call) -> Iterator[Made]:
    """A product, a power or a function of what was reduced, reduced afterwards; the same of a matrix product."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        left, right = _reduced(node.left), _reduced(node.right)
        if left is not None and right is not None and _way(node.left) == _way(node.right):
            yield "wrong-reduction", _of(node.left, ast.BinOp(left, node.op, right)), LIKELY
    for taken, whose in _taken(node):
        inner = _reduced(whose)
        shown, whose = _as_shown(whose)
        if inner is not None:
            yield "wrong-reduction", _of(whose, taken(inner)), LIKELY
        elif isinstance(whose, ast.BinOp) and isinstance(whose.op, ast.MatMult):
            left, right = whose.left, whose.right
            for pair in ((taken(left), right), (left, taken(right)), (taken(left), taken(right))):
                yield "wrong-reduction", shown(ast.BinOp(pair[0], whose.op, pair[1])), POSSIBLE


def _as_shown(node: ast.expr) -> tuple[Any, ast.expr]:
    """What has another axis or a part taken of it: how that is done to something else, and what it is."""
    if isinstance(node, ast.Subscript):
        return (lambda other: with_fields(node, value=other)), node.value
    return (lambda other: other), node


def _taken(node: ast.expr) -> Iterator[tuple[Any, ast.expr]]:
    """A power or a function entry by entry: how it is taken of something else, and what it is taken of."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        yield (lambda other: with_fields(node, left=other)), node.left
    elif isinstance(node, ast.Call) and _name(node) in OF_ENTRIES and len(node.args) == 1:
        yield (lambda other: with_fields(node, args=[other])), node.args[0]


def _name(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else ""


def _reduced(node: ast.expr) -> ast.expr | None:
    """What a reduction is of; None of anything else."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr not in OF_NUMBERS:
        return None
    whose = node.func.value
    return whose if not is_module(whose) else node.args[0] if node.args else None


def _way(node: Any) -> tuple[Any, ...]:
    """How a reduction is made, whatever it is of."""
    rest = node.args[1:] if is_module(node.func.value) else node.args
    return _name(node), *map(ast.dump, rest), *map(ast.dump, node.keywords)


def _of(node: Any, other: ast.expr) -> Any:
    """The same reduction of something else."""
    if is_module(node.func.value):
        return with_fields(node, args=[other, *node.args[1:]])
    return with_fields(node, func=with_fields(node.func, value=other))
