"""Small changes of a whole statement: added up for assigned and the reverse, an array of its own, no line at all."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from functools import partial

from gradproof.own_code.edit import Edit
from gradproof.own_code.operations import SLIPS, is_scaled, turned
from gradproof.own_code.statements import Way, put, with_fields
from gradproof.own_code.vocabulary import LIKELIEST, LIKELY, POSSIBLE, Vocabulary

AT: dict[type[ast.operator], str] = {ast.Add: "add", ast.Sub: "subtract"}  # NumPy's functions that do it in place


def of_statement(statement: ast.stmt | ast.expr, words: Vocabulary) -> Iterator[Edit]:
    """Added up for assigned and the reverse, and the whole left out."""
    if isinstance(statement, ast.AugAssign):
        assigned = ast.copy_location(ast.Assign([statement.target], statement.value), statement)
        yield _whole("wrong-operand", statement, assigned, POSSIBLE)
        for other, code in SLIPS.get(type(statement.op), ()):
            made = ast.AugAssign(statement.target, other(), statement.value)
            yield _whole(code, statement, made)
    elif isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target = statement.targets[0]
        if isinstance(target, ast.Tuple):
            taken_apart = isinstance(statement.value, (ast.Name, ast.Subscript))  # what was put together elsewhere
            for one in turned(target):
                made = with_fields(statement, targets=[one])
                yield _whole("wrong-operand", statement, made, POSSIBLE if taken_apart else LIKELY)
        if isinstance(target, (ast.Name, ast.Subscript, ast.Attribute)):
            for op in (ast.Add(), ast.Sub()):
                added = ast.AugAssign(target, op, statement.value)
                code = "missing-path" if statement in words.assigned_anew else "overwritten"
                yield _whole(code, statement, added)
        if isinstance(target, ast.Subscript):
            yield _whole("overwritten", statement, ast.AugAssign(target, ast.Mult(), statement.value))
        if isinstance(statement.value, (ast.Name, ast.Subscript)) and words.shape(statement.value):
            yield _copied(statement)
    elif isinstance(statement, ast.Assign) and all(isinstance(one, ast.Name) for one in statement.targets):
        values: list[ast.expr] = [statement.value] * len(statement.targets)
        apart = ast.Assign([ast.Tuple(list(statement.targets), ast.Store())], ast.Tuple(values, ast.Load()))
        yield _whole("overwritten", statement, ast.copy_location(apart, statement))
    yield from (_whole("overwritten", statement, one) for one in _added_one_by_one(statement, words))
    yield from (_whole("wrong-operand", statement, one) for one in _kept(statement, words))
    if isinstance(statement, (ast.Continue, ast.Break)):
        yield _whole("missing-path", statement, None, LIKELIEST)
        yield _whole("missing-path", statement, ast.Break() if isinstance(statement, ast.Continue) else ast.Continue())
    if isinstance(statement, (ast.AugAssign, ast.Expr, ast.Assign)):
        rank = LIKELY if isinstance(statement, ast.Expr) else POSSIBLE
        yield _whole(_superfluous(statement, words), statement, None, rank)


def _added_one_by_one(statement: ast.stmt | ast.expr, words: Vocabulary) -> Iterator[ast.Expr]:
    """`np.add.at` where positions that stand in an array more than once are assigned to, or added to once."""
    if not isinstance(statement, (ast.Assign, ast.AugAssign)):
        return
    target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
    name = "add" if isinstance(statement, ast.Assign) else AT.get(type(statement.op))
    if name is None or not isinstance(target, ast.Subscript):
        return
    entries = target.slice.elts if isinstance(target.slice, ast.Tuple) else [target.slice]
    if not any(words.shape(one) for one in entries):
        return
    function, index = words.of_numpy(f"{name}.at"), words.of_numpy("s_")
    if function is not None and index is not None:
        whole = target.slice
        if any(isinstance(one, ast.Slice) for one in entries):
            whole = ast.Subscript(index, target.slice, ast.Load())
        yield ast.Expr(ast.Call(function, [with_fields(target.value, ctx=ast.Load()), whole, statement.value], []))


def _kept(statement: ast.stmt | ast.expr, words: Vocabulary) -> Iterator[ast.Assign]:
    """What a call returns, kept under the names of what it was given, where it is lost: `h, c = step(h, c)`."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    given = call.args if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) else []
    for start, end in itertools.combinations(range(len(given) + 1), 2):
        names = [ast.Name(one.id, ast.Store()) for one in given[start:end] if isinstance(one, ast.Name)]
        if call is not None and len(names) == end - start and all(words.shape(one) for one in given[start:end]):
            target: ast.expr = names[0] if len(names) == 1 else ast.Tuple(list(names), ast.Store())
            yield ast.copy_location(ast.Assign([target], call), statement)


def _copied(statement: ast.Assign) -> Edit:
    """An array of its own for another name of one that is changed in place later."""
    path: Way = (("value", None),)
    new = ast.Call(ast.Attribute(statement.value, "copy", ast.Load()), [], [])
    return Edit("wrong-operand", statement.value, new, partial(put, statement, path, new), path, least=True)


def _whole(code: str, statement: ast.AST, made: ast.stmt | None, rank: float = LIKELY) -> Edit:
    """Another statement, or none."""
    return Edit(code, statement, made, lambda: made, (), rank, least=made is None)


def _superfluous(statement: ast.stmt, words: Vocabulary) -> str:
    if _is_step(statement, words):
        return "wrong-operand"
    if isinstance(statement, ast.AugAssign) and isinstance(statement.op, (ast.Mult, ast.Div)):
        return "extra-derivative"
    return "different-function"


def _is_step(statement: ast.stmt, words: Vocabulary) -> bool:
    """Whether a line makes a step of gradient descent: whatever comes after it uses the array of after the step."""
    if isinstance(statement, ast.AugAssign):
        return isinstance(statement.op, ast.Sub) and is_scaled(statement.value, words)
    if not isinstance(statement, ast.Assign) or not isinstance(statement.value, ast.BinOp):
        return False
    before, op, step = statement.value.left, statement.value.op, statement.value.right
    from_itself = words.text(statement.targets[0]) == words.text(before)
    return from_itself and isinstance(op, ast.Sub) and is_scaled(step, words)
