"""A function's tree with alternatives for its statements, each behind a switch that is read when it runs."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from gradproof.own_code.notes import noting
from gradproof.own_code.running import SWITCH
from gradproof.own_code.statements import with_fields

T = TypeVar("T")
Place = ast.stmt | ast.expr  # a statement, or what a loop or a branch begins with
Alternatives = Mapping[int, tuple[int, Sequence[Any]]]
SIMPLE = (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Return, ast.Expr, ast.Continue, ast.Break)
BODIES = ("body", "orelse", "finalbody")


def places(tree: ast.FunctionDef) -> Iterator[Place]:
    """All statements that do something, and what loops and branches begin with; in their order."""
    yield from _places(tree.body)


def _places(body: Sequence[ast.stmt]) -> Iterator[Place]:
    for one in body:
        header = _header(one)
        if isinstance(one, SIMPLE) and not _is_text(one):
            yield one
        elif header:
            yield getattr(one, header)
        for name in BODIES:
            yield from _places(getattr(one, name, ()))


def _header(one: ast.AST) -> str:
    """The name of the expression that a loop or a branch begins with; empty where there is none to be changed."""
    return "iter" if isinstance(one, ast.For) else "test" if isinstance(one, ast.If) else ""


def first_line(tree: ast.FunctionDef, header: ast.AST, instead: ast.expr) -> str:
    """The line that a loop or a branch begins with, with another expression in place of its header."""
    whole = next(one for one in ast.walk(tree) if _header(one) and getattr(one, _header(one)) is header)
    return ast.unparse(with_fields(whole, **{_header(whole): instead}, body=[], orelse=[])).strip()


def _is_text(one: ast.stmt) -> bool:
    return isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant)


def switched(tree: ast.FunctionDef, alternatives: Alternatives, noted: bool = False) -> ast.FunctionDef:
    """The tree with a switch at each place (by its identity: its number there, and what may be done in its stead).

    If it is to be, with a note of what each statement has made behind it.
    """
    made = copy.copy(tree)
    made.body = _switched_body(tree.body, alternatives, noted)
    return made


def _switched_body(body: Sequence[ast.stmt], alternatives: Alternatives, noted: bool) -> list[ast.stmt]:
    after = noting if noted else lambda _: []
    return [made for one in body for made in (_switched(one, alternatives, noted), *after(one))]


def _switched(one: ast.stmt, alternatives: Alternatives, noted: bool) -> ast.stmt:
    if id(one) in alternatives:
        number, others = alternatives[id(one)]
        chosen = [_chosen(number, [other or ast.Pass() for other in others], _either)] if others else []
        return ast.If(_is_on(number), chosen, [one]) if chosen else one
    made = copy.copy(one)
    header = _header(one)
    if header and id(getattr(one, header)) in alternatives:
        number, others = alternatives[id(getattr(one, header))]
        if others:
            setattr(made, header, ast.IfExp(_is_on(number), _chosen(number, others, ast.IfExp), getattr(one, header)))
    for name in BODIES:
        if getattr(one, name, None):
            setattr(made, name, _switched_body(getattr(one, name), alternatives, noted))
    return made


def _chosen(number: int, others: Sequence[T], either: Callable[[ast.expr, T, T], T], first: int = 0) -> T:
    """The alternative that is on, found by halves: a line in a loop has hundreds of them."""
    if len(others) == 1:
        return others[0]
    half = len(others) // 2
    is_below = ast.Compare(_state(number), [ast.Lt()], [ast.Constant(first + half)])
    below = _chosen(number, others[:half], either, first)
    return either(is_below, below, _chosen(number, others[half:], either, first + half))


def _either(test: ast.expr, one: ast.stmt, other: ast.stmt) -> ast.stmt:
    return ast.If(test, [one], [other])


def _is_on(number: int) -> ast.expr:
    return ast.Compare(ast.Constant(number), [ast.In()], [ast.Name(SWITCH, ast.Load())])


def _state(number: int) -> ast.expr:
    """Which alternative is on, where one is."""
    return ast.Subscript(ast.Name(SWITCH, ast.Load()), ast.Constant(number), ast.Load())
