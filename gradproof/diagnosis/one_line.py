"""A changed line and a broken rule that are one wrong line: the line goes back through what the rule is about.

A wrong local derivative can often be made into some other one by a small change: the rule that the reference would
need for that is no second mistake. Then the changed line is given what arrives at the rule's operation, and makes what
the broken rule sends back.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gradproof.diagnosis.changes import Slip
from gradproof.diagnosis.elementwise import RegionHook
from gradproof.diagnosis.fault import Fault, OneInput
from gradproof.own_code.running import only_looks
from gradproof.own_code.statements import at
from gradproof.tape import Backward

SAME = 1e-9  # relative to the largest entry


def are_one(slip: Slip, fault: Fault, broken: Backward) -> bool:
    """Whether a changed line goes back through the operation whose rule is broken, and does as the broken rule.

    Or whether it only hands on what it is given, and the rule says what is missing there.
    """
    arriving, sent = _arrays(fault, broken)
    names = slip.function.names
    for expression, inside in _around(slip):
        made = _value(expression, names)
        if made is None:
            continue
        given = [one for part in _apart(expression, inside) if (one := _value(part, names)) is not None]
        if fault.code.startswith("missing") and _is_among(made, given):
            return True
        if _is_among(made, sent) and any(_is_among(one, arriving) for one in given):
            return True
    return False


def _is_among(one: np.ndarray, others: Sequence[np.ndarray]) -> bool:
    return any(_same(one, other) for other in others)


def _arrays(fault: Fault, broken: Backward) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """What arrives at the operations of a broken rule, and what comes back from them."""
    arriving, sent = [], []
    for index, hook in fault.nodes.items():
        node = broken.tape.nodes[index]
        arriving += node.outputs
        sent += [node.inputs[hook.position]] if isinstance(hook, OneInput) else node.inputs
    for start, join in fault.values.items():
        if isinstance(join, RegionHook):
            arriving.append(join.region.end)
            sent.append(start)
    return _totals(arriving, broken), _totals(sent, broken)


def _totals(values: Sequence[int], broken: Backward) -> list[np.ndarray]:
    found = (broken.totals.get(value) for value in values)
    return [one.numpy() for one in found if one is not None and one.numel() > 1]


def _around(slip: Slip) -> Iterator[tuple[ast.expr, ast.expr]]:
    """The expressions of the changed line that contain the change, and of each the part in which it is."""
    made, path = slip.edit.made, slip.edit.path
    for end in range(len(path) - 1, 0, -1):
        outer, inner = at(made, path[:end]), at(made, path[: end + 1])
        if isinstance(outer, ast.expr) and isinstance(inner, ast.expr):
            yield outer, inner


def _apart(expression: ast.expr, inside: ast.expr) -> Iterator[ast.expr]:
    """The parts of an expression, but for those of one of its operands."""
    within = {expression, *ast.walk(inside)}
    return (one for one in ast.walk(expression) if isinstance(one, ast.expr) and one not in within)


def _value(expression: ast.expr, names: dict[str, Any]) -> np.ndarray | None:
    """What an expression is at the end of its function's first call; None where looking may change something."""
    if not only_looks(expression, names):
        return None
    try:
        with np.errstate(all="ignore"):
            found = eval(ast.unparse(expression), dict(names))
    except Exception:
        return None
    return found if isinstance(found, np.ndarray) and found.dtype.kind == "f" and found.size > 1 else None


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two arrays have the same entries, in whatever order."""
    if one.size != other.size:
        return False
    one, other = np.sort(one, axis=None), np.sort(other, axis=None)
    return bool(np.max(np.abs(one - other)) <= SAME * np.max(np.abs(other)))
