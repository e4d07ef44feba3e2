"""A small change of a statement, with the name of the mistake that it undoes."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from gradproof.own_code.statements import Way, at, put
from gradproof.own_code.vocabulary import LIKELY


@dataclass(frozen=True, eq=False)
class Edit:
    """One change of one statement: what was put in whose place, and the mistake that it undoes.

    Or a line that belongs elsewhere: which one, and the statement beside which it does.
    """

    code: str
    old: ast.AST
    new: ast.AST | None
    make: Callable[[], Any]
    path: Way
    rank: float = LIKELY
    least: bool = False  # whether what else mends the line does so by what this does: no line, an array of its own
    moved: str = ""  # where the line belongs

    @cached_property
    def made(self) -> Any:
        """The new statement, or what a loop or a branch begins with; None where it is left out."""
        return self.make()


def together(code: str, statement: ast.stmt | ast.expr, new: Sequence[tuple[Way, ast.expr]], rank: float) -> Edit:
    """Several changes of one statement, told by the smallest expression that has all of them in it."""
    make, around = partial(put_at_all, statement, new), shared([path for path, _ in new])
    around = around[:-1] if around[-1:] == (("slice", None),) else around  # of an index, what it is taken of as well
    return Edit(code, at(statement, around), at(make(), around), make, (), rank)


def put_at_all(statement: ast.stmt | ast.expr, new: Sequence[tuple[Way, ast.expr]]) -> Any:
    """A copy of a statement with other expressions in several places."""
    for path, one in new:
        statement = put(statement, path, one)
    return statement


def shared(paths: Sequence[Way]) -> Way:
    """The way to the smallest expression that has all of some places in it."""
    steps = itertools.takewhile(lambda step: len(set(step)) == 1, zip(*paths, strict=False))
    return tuple(step[0] for step in steps)
