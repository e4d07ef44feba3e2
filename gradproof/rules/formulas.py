"""The formula of a rule with one slip in it: what no switch foresees.

A rule's formula is text that can be run. Each sign in it is turned, each factor, term and function left out, each
quantity put in another's place, and each two neighbouring lines exchanged, one at a time.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from types import CodeType
from typing import Any, NamedTuple

import numpy as np

from gradproof.rules.base import Array, Hyper, Kept, Mistake, Now, Rule, Switches

FUNCTIONS: dict[str, Any] = {"sqrt": np.sqrt, "max": np.maximum, "min": np.minimum, "abs": np.abs, "__builtins__": {}}
GIVEN = {"theta", "g", "t"}
SIGNS: dict[type, tuple[type[ast.operator], str]] = {
    ast.Add: (ast.Sub, "a minus stands where a plus belongs"),
    ast.Sub: (ast.Add, "a plus stands where a minus belongs"),
}
POWERS: dict[type, tuple[type[ast.operator], str]] = {
    ast.Mult: (ast.Div, "a division stands where a product belongs"),
    ast.Div: (ast.Mult, "a product stands where a division belongs"),
}
MIXED = ({"m", "v"}, {"m_hat", "v_hat"}, {"beta1", "beta2"})  # taking one for the other has a name of its own


Program = tuple[CodeType, ...]  # a line each


class Slip(NamedTuple):
    """One slip: its code, what it is in words, the line as it stands with it, and as it should."""

    code: str
    told: str
    line: str
    right: str
    program: Program


def variants(rule: Rule, h: Hyper) -> Iterator[Mistake]:
    """Each formula that is one slip away from the rule's, as a mistake."""
    numbers = tuple(sorted(name for name, value in h.items() if not isinstance(value, bool)))
    for text in (rule.formula(h), *rule.also(h)):
        kept = _kept(text)
        for slip in _slips(text, numbers):
            message = f"{slip.told}: your numbers are those of `{slip.line}`"
            exchanged = "min(" in slip.line  # one function for another is likelier than what comes to the same
            rank = (1.4 if exchanged else 1.5) + len(slip.line) / 1000  # of several readings, the shortest
            yield Mistake(slip.code, message, slip.right, rank=rank, rule=_run_by(rule, slip.program, kept))


def as_written(rule: Rule, h: Hyper) -> Rule:
    """The rule, run by its formula."""
    text = rule.formula(h)
    return _run_by(rule, tuple(_compiled(line) for line in text.splitlines()), _kept(text))


def _compiled(line: str | ast.stmt) -> CodeType:
    tree = ast.parse(line) if isinstance(line, str) else ast.Module([ast.fix_missing_locations(line)], [])
    return compile(tree, "<formula>", "exec")


def _run_by(rule: Rule, program: Program, kept_names: tuple[str, ...]) -> Rule:
    def step(now: Now, kept: Kept, h: Hyper, s: Switches) -> Array:
        space: dict[str, Any] = {**FUNCTIONS, **h, "theta": now.theta, "g": now.g, "t": now.t}
        for name in kept_names:
            start = rule.starts.get(name, 0.0)
            space[name] = kept.get(name, h[start] if isinstance(start, str) else start)
        try:
            for line in program:
                exec(line, space)
        except (NameError, ArithmeticError, ValueError):  # a slip that no code would survive
            return np.full_like(now.theta, np.nan)
        for name in kept_names:
            kept[name] = space[name]
        return np.asarray(space["theta"])

    return replace(rule, step=step)


def _kept(text: str) -> tuple[str, ...]:
    """What the lines use before they have made it, beside what is given: it comes from the step before."""
    used: list[str] = []
    made: set[str] = set()
    for line in ast.parse(text).body:
        used += [name for name in _names(line) if name not in made | GIVEN]
        made.add(_target(line))
    return tuple(name for name in dict.fromkeys(used) if name in made)


def _target(line: ast.stmt) -> str:
    assert isinstance(line, ast.Assign)
    assert isinstance(line.targets[0], ast.Name)
    return line.targets[0].id


def _names(node: ast.AST) -> list[str]:
    loads = [one for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load)]
    return [one.id for one in loads if one.id not in FUNCTIONS]


@lru_cache(maxsize=64)
def _slips(text: str, numbers: tuple[str, ...]) -> tuple[Slip, ...]:
    """All slips in a formula whose hyperparameters are `numbers`."""
    tree, source = ast.parse(text), text.splitlines()
    right = tuple(_compiled(line) for line in source)
    arrays = {name for line in tree.body for name in [*_names(line), _target(line)]} - set(numbers) - {"t"}
    hyper = {name for line in tree.body for name in _names(line)} & set(numbers)
    slips = []
    for number, line in enumerate(tree.body):
        for position, node in enumerate(ast.walk(line)):
            for code, told, changed in _changes(node, arrays, hyper):
                broken = copy.deepcopy(line)
                _replace(broken, position, changed)
                shown = ast.unparse(broken).replace(" ** ", "**")
                program = (*right[:number], _compiled(broken), *right[number + 1 :])
                slips.append(Slip(code, told, shown, source[number], program))
    for number in range(len(tree.body) - 1):
        first, second = tree.body[number : number + 2]
        if _target(first) in _names(second):
            told = f"{_target(first)} is made after {_target(second)}, which uses it as it was one step before"
            shown, in_order = f"{source[number + 1]}; {source[number]}", f"{source[number]}\n{source[number + 1]}"
            program = (*right[:number], right[number + 1], right[number], *right[number + 2 :])
            slips.append(Slip("wrong-operand", told, shown, in_order, program))
    return tuple(slips)


def _changes(node: ast.AST, arrays: set[str], hyper: set[str]) -> Iterator[tuple[str, str, ast.AST]]:
    """What a node of a formula may have become."""
    if isinstance(node, ast.BinOp):
        yield from _operations(node, arrays)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        told = f"`{node.func.id}` is left out"
        for argument in node.args:
            yield "different-function", told, argument
        if node.func.id == "max":
            smaller = ast.Call(ast.Name("min", ast.Load()), node.args, [])
            yield "different-function", "the smaller of the two is taken, not the larger", smaller
    elif isinstance(node, ast.UnaryOp):
        yield "wrong-sign", "a minus is left out", node.operand
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        if node.id == "t":
            for other, told in (("t + 1", "one too high"), ("t - 1", "one too low")):
                yield "step-off-by-one", f"the step's number is {told}", ast.parse(other, mode="eval").body
        for group in (arrays, hyper):
            for other in sorted(group - {node.id}) if node.id in group else ():
                code = "wrong-operand" if group is arrays else "wrong-hyperparameter"
                mixed = {node.id, other} in MIXED
                told = f"{other} stands where {node.id} belongs"
                yield "moments-mixed-up" if mixed else code, told, ast.Name(other, ast.Load())


def _operations(node: ast.BinOp, arrays: set[str]) -> Iterator[tuple[str, str, ast.AST]]:
    kind = type(node.op)
    for table, code in ((SIGNS, "wrong-sign"), (POWERS, "different-function")):
        if kind in table:
            operator, told = table[kind]
            yield code, told, ast.BinOp(node.left, operator(), node.right)
    for rest, gone, last in ((node.left, node.right, True), (node.right, node.left, False)):
        shown = ast.unparse(gone).replace(" ** ", "**")
        code = "different-function"
        if kind is ast.Pow:
            if not last:
                continue
            code = "missing-bias-correction" if "t" in _names(gone) else "gradient-not-squared"
            code = code if "t" in _names(gone) or "g" in _names(rest) else "different-function"
            shown = f"**{shown}"
        elif shown == "eps":
            code = "epsilon-misplaced"
        elif kind in POWERS and not set(_names(gone)) & arrays:
            code = "wrong-scale"
        elif kind is ast.Sub and not last:
            yield code, f"`{shown} -` is left out", rest
            rest = ast.UnaryOp(ast.USub(), rest)
        yield code, f"`{shown}` is left out", rest


def _replace(line: ast.stmt, position: int, changed: ast.AST) -> None:
    """Put another node in the place of the one that `ast.walk` comes to at `position`."""
    wanted = list(ast.walk(line))[position]
    for parent in ast.walk(line):
        for name, value in ast.iter_fields(parent):
            if value is wanted:
                setattr(parent, name, changed)
                return
            if isinstance(value, list) and any(one is wanted for one in value):
                value[[one is wanted for one in value].index(True)] = changed
                return
