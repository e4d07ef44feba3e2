"""The caller's own names for what an operation takes and gives, read from the line that does it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from gradproof.tape import Site

# What an operation is called where it is called by name, and which operator does it, where that is not its own name.
ALIASES: dict[str, tuple[str, ...]] = {
    "mm": ("matmul", "mm"),
    "bmm": ("matmul", "bmm"),
    "mv": ("matmul", "mv"),
    "dot": ("matmul", "dot", "inner"),
    "sub": ("sub", "subtract"),
    "rsub": ("sub",),
    "mul": ("mul", "multiply"),
    "div": ("div", "divide", "true_divide"),
    "neg": ("neg", "negative"),
    "_softmax": ("softmax",),
    "_log_softmax": ("log_softmax",),
    "log_sigmoid_forward": ("logsigmoid",),
    "max": ("max",),
    "clamp": ("clamp", "clip"),
    "index": ("index",),
    "convolution": ("conv1d", "conv2d"),
    "max_pool2d_with_indices": ("max_pool2d",),
}
OPERATORS = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.Div: "div",
    ast.Pow: "pow",
    ast.MatMult: "matmul",
    ast.USub: "neg",
}
Names = tuple["str | None", tuple["str | None", ...]]  # of a result, and of the operands
_MODULES = ("torch", "F", "functional", "nn", "special")
_NO_NAMES = ("T", "mT", "H", "mH", "real", "imag")  # attributes that are another array than the one before the dot


def names_at(site: Site, operation: str, count: int) -> Names:
    """The names of the result and of the `count` operands; None for each that has no plain name on the line."""
    unknown: Names = (None, (None,) * count)
    line = _parsed(site.source)
    target, value = _assigned(line)
    done = _expression(site.expression) if site.expression else _if_simple(value)
    if done is None or not _does(done, operation):
        return unknown
    operands = [one for one in _operands(done) if not _is_constant(one)]
    if len(operands) < count:
        return unknown
    told_apart = operation == "convolution" or (count == 1 and isinstance(done, ast.Call))
    if len(operands) > count and not told_apart:  # some are numbers, and which cannot be seen
        return unknown
    if operation == "embedding":
        operands.reverse()
    names = tuple(_plain(one) for one in operands[:count])
    whole = value is not None and ast.dump(value) == ast.dump(done)
    return (target if whole and target not in names else None), names


def target_at(site: Site) -> str | None:
    """The one name that is given what an operation gives; None where its line does more with it."""
    target, value = _assigned(_parsed(site.source))
    done = _expression(site.expression)
    return target if value is not None and done is not None and ast.dump(value) == ast.dump(done) else None


def called_at(site: Site) -> str:
    """The function of torch's that an operation's own source text calls, `softsign`; empty where it is none."""
    call = _expression(site.expression)
    function = call.func if isinstance(call, ast.Call) else None
    return function.attr if isinstance(function, ast.Attribute) and _root(function) in _MODULES else ""


def identifiers(source: str) -> set[str]:
    """All names that a line uses."""
    line = _parsed(source)
    return {one.id for one in ast.walk(line) if isinstance(one, ast.Name)} if line is not None else set()


def _parsed(source: str) -> ast.stmt | None:
    try:
        return ast.parse(source).body[0]
    except (SyntaxError, ValueError, IndexError):  # a line of a longer statement
        return None


def _expression(text: str) -> ast.expr | None:
    line = _parsed(text)
    return line.value if isinstance(line, ast.Expr) else None


def _assigned(line: ast.stmt | None) -> tuple[str | None, ast.expr | None]:
    """The one name that a line assigns to, and the expression that it assigns or returns."""
    if isinstance(line, ast.Return):
        return None, line.value
    if isinstance(line, ast.Assign) and len(line.targets) == 1 and isinstance(line.targets[0], ast.Name):
        return line.targets[0].id, line.value
    return None, None


def _if_simple(value: ast.expr | None) -> ast.expr | None:
    """An expression that is one operation on plain names: older Pythons do not tell which part of a line is meant."""
    if value is None or not isinstance(value, (ast.Call, ast.BinOp, ast.UnaryOp, ast.Subscript)):
        return None
    return value if all(_plain(one) or _is_constant(one) for one in _operands(value)) else None


def _does(expression: ast.expr, operation: str) -> bool:
    """Whether an expression is this operation, and not one that has it as a part (a loss, a whole layer)."""
    called = ALIASES.get(operation, (operation,))
    if isinstance(expression, (ast.BinOp, ast.UnaryOp)):
        return OPERATORS.get(type(expression.op), "") in called
    if isinstance(expression, ast.Subscript):
        return operation == "index"
    if not isinstance(expression, ast.Call):
        return False
    function = expression.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in called


def _operands(expression: ast.expr) -> Iterator[ast.expr]:
    if isinstance(expression, ast.BinOp):
        yield from (expression.left, expression.right)
    elif isinstance(expression, ast.UnaryOp):
        yield expression.operand
    elif isinstance(expression, ast.Subscript):
        yield expression.value
        yield from _all_of(expression.slice)
    elif isinstance(expression, ast.Call):
        function = expression.func
        if isinstance(function, ast.Attribute) and _root(function) not in _MODULES:
            yield function.value
        for argument in expression.args:
            yield from _all_of(argument)


def _all_of(argument: ast.expr) -> Sequence[ast.expr]:
    return argument.elts if isinstance(argument, (ast.Tuple, ast.List)) else [argument]


def _root(function: ast.Attribute) -> str:
    value: ast.expr = function
    while isinstance(value, ast.Attribute):
        value = value.value
    return value.id if isinstance(value, ast.Name) else ""


def _is_constant(expression: ast.expr) -> bool:
    if isinstance(expression, ast.UnaryOp):
        return _is_constant(expression.operand)
    return isinstance(expression, (ast.Constant, ast.Slice))


def _plain(expression: ast.expr) -> str | None:
    """`W` for each of W, self.W and params["W"]; None for anything that is no plain name."""
    if isinstance(expression, ast.Name):
        return expression.id
    if isinstance(expression, ast.Attribute) and isinstance(expression.value, ast.Name):
        return None if expression.attr in _NO_NAMES else expression.attr
    if isinstance(expression, ast.Subscript) and isinstance(expression.value, ast.Name):
        key = getattr(expression.slice, "value", None)
        return key if isinstance(key, str) and key.isidentifier() else None
    return None
