"""Mistakes made by machine: every small change of a candidate's source that still runs and gives other numbers.

A mutation's code is expected only where the mutation determines it; `any` otherwise (then it is measured whether the
judge catches the mutant and how often it explains it, and not how it names it).
"""

from __future__ import annotations

import ast
import contextlib
import copy
import signal
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.judge.corpus import ANY, Model, Variant

LIMIT = 2.0  # seconds that a mutant may take
SCALE = "wrong-scale|wrong-reduction|wrong-term-weight"
SLOPE = "missing-derivative"
SHIFT = "shifted-in-time|wrong-operand"
TERM = "missing-path|overwritten|wrong-term-weight|truncated-in-time|wrong-part-penalised|diagonal-jacobian"
SUBTRACTED = TERM + "|different-function|wrong-operand"  # of p - y, the target
LOST = "overwritten|last-step-only|one-sample-only|missing-path|truncated-in-time"


def mutants(model: Model) -> list[Variant]:
    """All mutants of a model's candidate that run, keep all shapes, and give numbers that no other one gives."""
    tree = ast.parse(model.source)
    truth = _numbers(model, model.source, "right")
    assert truth is not None
    seen, found = [truth], []
    for number, (what, codes, mutated) in enumerate(_mutations(tree)):
        source = ast.unparse(ast.fix_missing_locations(mutated)) + "\n"
        name = f"{number:03d}_{what}"
        given = _numbers(model, source, name)
        if given is None or not _same_shapes(given, truth) or any(_equal(given, one) for one in seen):
            continue
        seen.append(given)
        if all(_close(given[key], truth[key]) for key in truth if key != "loss"):
            codes = "wrong-loss"
        found.append(Variant(model, name, "machine", (codes,), source))
    return found


def sample(variants: list[Variant], size: int) -> list[Variant]:
    """`size` of them: of each expected code in turn, so that the frequent ones do not crowd out the others."""
    waiting: dict[tuple[str, ...], list[Variant]] = {}
    for variant in variants:
        waiting.setdefault(variant.codes, []).append(variant)
    chosen: list[Variant] = []
    while len(chosen) < min(size, len(variants)):
        for codes in list(waiting):
            if waiting[codes] and len(chosen) < size:
                chosen.append(waiting[codes].pop(len(waiting[codes]) // 2))
    return chosen


def _numbers(model: Model, source: str, name: str) -> dict[str, np.ndarray[Any, Any]] | None:
    """The loss and the gradients that a source gives, or None where it raises, gives NaN or does not come back."""
    params, data = model.problem()
    given = {key: value.copy() for key, value in params.items()}, [value.copy() for value in data]
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"), _limited():
            warnings.simplefilter("ignore")
            loss, grads = model.built(source, name)(given[0], *given[1])
        answer = {"loss": np.asarray(loss), **{key: np.asarray(value) for key, value in grads.items()}}
    except Exception:
        return None
    changed = any(not np.array_equal(given[0][key], params[key]) for key in params)
    changed = changed or any(not np.array_equal(one, other) for one, other in zip(given[1], data, strict=True))
    return None if changed or not all(np.all(np.isfinite(value)) for value in answer.values()) else answer


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    """A loop whose end has been mutated away is broken off."""

    def stop(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _same_shapes(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(one[key].shape == other[key].shape for key in one)


def _close(one: Any, other: Any) -> bool:
    return bool(np.max(np.abs(one - other), initial=0.0) <= 1e-9 * np.max(np.abs(other), initial=0.0))


def _equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(_close(one[key], other[key]) for key in one)


def _mutations(tree: ast.Module) -> Iterator[tuple[str, str, ast.Module]]:
    """What was changed, the codes to expect, and the changed tree; one for every place and kind of change."""
    backward = _backward_line(tree)
    for index, node in enumerate(ast.walk(tree)):
        line = getattr(node, "lineno", 0)
        for what, codes, change in _changes(node):
            other = copy.deepcopy(tree)
            target = next(one for i, one in enumerate(ast.walk(other)) if i == index)
            parent, place, position = _holder(other, target)
            _put(parent, place, position, change(target))
            yield f"line{line}_{what}", codes if line > backward else ANY, other


def _backward_line(tree: ast.Module) -> int:
    """The last line of the forward pass of `candidate`: the one that makes `loss`."""
    function = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "candidate")
    last = 0
    for node in ast.walk(function):
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AugAssign) else []
        )
        if any(isinstance(one, ast.Name) and one.id == "loss" for one in targets):
            last = max(last, node.end_lineno or 0)
    return last


def _holder(tree: ast.AST, target: ast.AST) -> tuple[ast.AST, str, int | None]:
    for parent in ast.walk(tree):
        for place, value in ast.iter_fields(parent):
            if value is target:
                return parent, place, None
            if isinstance(value, list):
                for i, one in enumerate(value):
                    if one is target:
                        return parent, place, i
    raise AssertionError("a node without a parent")


def _put(parent: ast.AST, place: str, position: int | None, new: ast.AST | None) -> None:
    if position is None:
        setattr(parent, place, new)
    elif new is None:
        getattr(parent, place)[position] = ast.Pass()
    else:
        getattr(parent, place)[position] = new


def _changes(node: ast.AST) -> Iterator[tuple[str, str, Any]]:
    if isinstance(node, ast.BinOp):
        yield from _of_operations(node)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and not isinstance(node.operand, ast.Constant):
        yield "minus_dropped", "wrong-sign", lambda one: one.operand
    elif isinstance(node, ast.Attribute) and node.attr == "T":
        yield "transpose_dropped", "not-transposed|transposed", lambda one: one.value
    elif isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add):
        yield "assigned", LOST, lambda one: ast.Assign([one.target], one.value)
        yield "statement_dropped", TERM, lambda one: None
    elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
        yield from _of_indices(node)
    elif isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.Gt, ast.Lt)):
        yield "comparison_turned", ANY, _turned
    elif isinstance(node, ast.keyword) and node.arg == "axis" and isinstance(node.value, ast.Constant):
        yield (
            "axis_changed",
            "wrong-axis|wrong-reduction",
            lambda one: ast.keyword("axis", ast.Constant(1 - one.value.value)),
        )


def _of_operations(node: ast.BinOp) -> Iterator[tuple[str, str, Any]]:
    if isinstance(node.op, ast.Mult):
        yield "left_factor_dropped", _meaning(node.left), lambda one: one.right
        yield "right_factor_dropped", _meaning(node.right), lambda one: one.left
        if _is_slope(node.right):
            yield "factor_twice", "extra-derivative", lambda one: ast.BinOp(one, ast.Mult(), one.right)
    elif isinstance(node.op, ast.Div):
        yield "divisor_dropped", _meaning(node.right), lambda one: one.left
    elif isinstance(node.op, ast.Add):
        yield "left_term_dropped", _of_term(node), lambda one: one.right
        yield "right_term_dropped", _of_term(node), lambda one: one.left
        shifted = "|" + SHIFT if _is_position(node) else ""
        sign = "wrong-sign|wrong-term-weight" + shifted
        yield "subtracted", sign, lambda one: ast.BinOp(one.left, ast.Sub(), one.right)
    elif isinstance(node.op, ast.Sub):
        if _is_slope(node) and isinstance(node.right, ast.BinOp):
            yield "other_slope", "different-function", _sigmoid_slope
        if not isinstance(node.left, ast.Constant):
            yield "right_term_dropped", SUBTRACTED, lambda one: one.left
        yield "turned_round", "wrong-sign", lambda one: ast.BinOp(one.right, ast.Sub(), one.left)
        yield "added", ANY, lambda one: ast.BinOp(one.left, ast.Add(), one.right)


def _meaning(dropped: ast.expr) -> str:
    """The code of leaving out a factor: a number or a count is a scale, a slope is a derivative; else it is open."""
    text = ast.unparse(dropped)
    if isinstance(dropped, ast.Constant) or text in {"n", "steps", "len(x)", "len(y)", "length", "out.size"}:
        return SCALE
    return SLOPE if _is_slope(dropped) else ANY


def _of_term(node: ast.BinOp) -> str:
    """The codes of leaving out a term: where a number is added, it is one of a function's formula."""
    return TERM + "|different-function" if ast.Constant in (type(node.left), type(node.right)) else TERM


def _is_position(node: ast.BinOp) -> bool:
    """`t + 1`, a step's neighbour."""
    return isinstance(node.left, ast.Name) and node.left.id == "t" and isinstance(node.right, ast.Constant)


def _is_slope(node: ast.expr) -> bool:
    """`1 - h ** 2`, `z > 0` and calls of a helper named d_...: a whole local derivative."""
    if isinstance(node, ast.Compare):
        return True
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id.startswith("d_")
    text = ast.unparse(node)
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub) and text.startswith("1 - ") and "** 2" in text


def _sigmoid_slope(node: ast.BinOp) -> ast.expr:
    """h * (1 - h) where 1 - h ** 2 stood."""
    assert isinstance(node.right, ast.BinOp)
    h = node.right.left
    return ast.BinOp(h, ast.Mult(), ast.BinOp(ast.Constant(1), ast.Sub(), copy.deepcopy(h)))


def _turned(node: ast.Compare) -> ast.Compare:
    return ast.Compare(node.left, [ast.Lt() if isinstance(node.ops[0], ast.Gt) else ast.Gt()], node.comparators)


def _of_indices(node: ast.Subscript) -> Iterator[tuple[str, str, Any]]:
    """`h[t]` to `h[t + 1]` and `h[t - 1]`, `x[:, t]` likewise."""
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    for i, part in enumerate(parts):
        if "t" not in {one.id for one in ast.walk(part) if isinstance(one, ast.Name)} or isinstance(part, ast.Slice):
            continue
        for what, op in (("next_index", ast.Add()), ("index_before", ast.Sub())):

            def shifted(one: ast.Subscript, i: int = i, op: ast.operator = op) -> ast.Subscript:
                inner = one.slice.elts if isinstance(one.slice, ast.Tuple) else [one.slice]
                elements = [ast.BinOp(e, op, ast.Constant(1)) if k == i else e for k, e in enumerate(inner)]
                index = ast.Tuple(elements, ast.Load()) if isinstance(one.slice, ast.Tuple) else elements[0]
                return ast.Subscript(one.value, index, one.ctx)

            wraps = what == "index_before" and isinstance(
                part, ast.Name
            )  # the first step meets the last: nobody's mistake
            yield what, ANY if wraps else SHIFT, shifted
