"""Small changes of an expression: another operator, sign, bracket, number, operand."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gradproof.own_code.calls import of_call, wrong_array
from gradproof.own_code.indices import constant, of_index, whole_number
from gradproof.own_code.reductions import of_what_is_reduced
from gradproof.own_code.running import Shape
from gradproof.own_code.statements import exchanged, is_assigned, is_factor, with_fields, without_slope
from gradproof.own_code.vocabulary import (
    LESS_LIKELY,
    LIKELIEST,
    LIKELY,
    NEARLY,
    POSSIBLE,
    SIZES,
    UNLIKELY,
    Made,
    Vocabulary,
    broadcasts,
    divisor,
    is_inverse,
)

SLIPS: dict[type[ast.operator], tuple[tuple[type[ast.operator], str], ...]] = {  # other operators, and what was wrong
    ast.Add: ((ast.Sub, "wrong-sign"), (ast.Mult, "different-function")),
    ast.Sub: ((ast.Add, "wrong-sign"),),
    ast.Mult: ((ast.Div, "different-function"), (ast.Add, "different-function"), (ast.MatMult, "different-function")),
    ast.Div: ((ast.Mult, "different-function"),),
    ast.MatMult: ((ast.Mult, "different-function"),),
    ast.Pow: ((ast.Mult, "different-function"),),
}
COMPARISONS: tuple[type[ast.cmpop], ...] = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
SUMS, PRODUCTS = (ast.Add, ast.Sub), (ast.Mult, ast.Div)
MULTIPLYING = frozenset("cross dot inner outer einsum matmul tensordot".split())  # functions
EQUALITIES: tuple[type[ast.cmpop], ...] = (ast.Eq, ast.NotEq)


def of_expression(node: ast.expr, parent: Any, words: Vocabulary) -> Iterator[Made]:
    """What may belong in an expression's place, by the kind of expression that it is."""
    for kind, rule in RULES.items():
        if isinstance(node, kind):
            yield from rule(node, parent, words)
    if not is_assigned(node):
        yield from _another_of_its_kind(node, parent, words)
    if node in words.loops and (words.text(node) in {*words.lists, *words.function.mixed} or words.shape(node)):
        yield "flipped", ast.Call(ast.Name("reversed", ast.Load()), [node], []), LIKELY


def _of_operation(node: ast.BinOp, parent: Any, words: Vocabulary) -> Iterator[Made]:
    left, op, right = node.left, node.op, node.right
    if isinstance(op, ast.Mult):
        yield _extra(right, words), left, LIKELY
        yield _extra(left, words), right, LIKELY
        sloping = without_slope(node)
        if sloping is not None:
            yield "extra-derivative", sloping, LIKELY
    elif isinstance(op, ast.Div):
        yield _extra(right, words), left, LIKELY
    elif isinstance(op, (ast.Add, ast.Sub)):
        minus = isinstance(op, ast.Sub)
        stepped = minus and isinstance(left, (ast.Name, ast.Subscript)) and is_scaled(right, words)
        if stepped:
            yield "wrong-operand", left, LIKELIEST
        else:
            yield "different-function", left, LIKELY if isinstance(right, ast.Constant) else POSSIBLE
        yield "different-function", ast.UnaryOp(ast.USub(), right) if minus else right, POSSIBLE
        if minus:
            yield "wrong-sign", ast.BinOp(right, op, left), LIKELY
    elif isinstance(op, ast.MatMult):
        matrices = not any(len(words.shape(one) or ()) == 1 for one in (left, right))
        yield "wrong-operand" if matrices else "not-transposed", ast.BinOp(right, op, left), LIKELY
        yield from (("wrong-operand", one, POSSIBLE) for one in (left, right))
        solve, sides = words.of_numpy("linalg.solve"), words.shape(left) or ()
        if solve is not None and len(sides) == 2 and sides[0] == sides[1]:
            yield "different-function", ast.Call(solve, [left, right], []), POSSIBLE
        rows = len(words.shape(left) or ()) == len(words.shape(right) or ()) == 1
        outer = words.of_numpy("outer") if rows else None
        if outer is not None:
            yield "wrong-operand", ast.Call(outer, [left, right], []), POSSIBLE
    elif isinstance(op, ast.Pow):
        yield "different-function", left, LIKELY
    shape = words.shape(node)
    if isinstance(op, ast.Mult) and words.shape(left) == () == words.shape(right):
        yield "different-function", ast.BinOp(left, ast.Pow(), right), POSSIBLE
    if shape and isinstance(op, (ast.Mult, ast.Div)):
        for factor, rank in words.fitting(shape):
            if isinstance(op, ast.Div) or not is_inverse(factor):
                alike, by = isinstance(op, ast.Div) == is_inverse(factor), divisor(factor)
                code = "wrong-scale" if words.is_constant(right) and words.shape(by) == () else "wrong-operand"
                yield code, ast.BinOp(left, op, by), rank if alike else UNLIKELY
                if isinstance(op, ast.Mult) and isinstance(left, ast.Call):
                    yield "wrong-operand", ast.BinOp(factor, op, right), rank
    for other, code in SLIPS.get(type(op), ()):
        yield code, ast.BinOp(left, other(), right), LIKELY if code == "wrong-sign" else POSSIBLE
    if isinstance(op, ast.Mult) and isinstance(left, ast.BinOp) and isinstance(left.op, ast.Mult):
        yield "different-function", ast.BinOp(left.left, ast.Div(), ast.BinOp(left.right, op, right)), POSSIBLE
        products = ast.BinOp(left.left, ast.MatMult(), left.right)
        yield "different-function", ast.BinOp(products, ast.MatMult(), right), POSSIBLE
    yield from _bracketed(node, words)
    yield from _bracketed_further(node, words)
    yield from _within_a_function(node)
    yield from _within_a_divisor(node)
    yield from of_what_is_reduced(node)


def _extra(factor: ast.expr, words: Vocabulary) -> str:
    """What it is to multiply by this where it does not belong; a condition lets some entries through, 0 none."""
    if isinstance(factor, ast.Compare) or words.numbers.get(words.text(factor)) == 0:
        return "missing-path"
    return "wrong-scale" if words.is_constant(factor) else "extra-derivative"


def is_scaled(node: ast.expr | None, words: Vocabulary) -> bool:
    """Whether an expression is an array times a number: a gradient times the learning rate."""
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult) and words.shape(node.left) == ()


def _bracketed(node: ast.BinOp, words: Vocabulary) -> Iterator[Made]:
    """The same operations with brackets elsewhere."""
    left, right = node.left, node.right
    if isinstance(left, ast.BinOp):
        turned = ast.BinOp(left.left, left.op, _without_one(ast.BinOp(left.right, node.op, right)))
        yield _by_brackets(node.op, left.op, left.left, right, words), turned, POSSIBLE
    if isinstance(right, ast.BinOp):
        turned = ast.BinOp(_without_one(ast.BinOp(left, node.op, right.left)), right.op, right.right)
        yield _by_brackets(node.op, right.op, right.right, left, words), turned, POSSIBLE
    if isinstance(left, ast.BinOp) and isinstance(left.op, SUMS) and isinstance(node.op, PRODUCTS):  # of the first term
        turned = ast.BinOp(ast.BinOp(left.left, node.op, right), left.op, left.right)
        yield _by_brackets(node.op, left.op, left.right, right, words), turned, POSSIBLE
    if isinstance(right, ast.BinOp) and isinstance(right.op, SUMS) and isinstance(node.op, ast.Mult):  # of the last
        turned = ast.BinOp(right.left, right.op, ast.BinOp(left, node.op, right.right))
        yield _by_brackets(node.op, right.op, right.left, left, words), turned, POSSIBLE


def _within_a_function(node: ast.BinOp) -> Iterator[Made]:
    """What is added to a function's result, added to what it is taken of: `sqrt(v + eps)` for `sqrt(v) + eps`."""
    call, more = node.left, node.right
    if isinstance(node.op, (ast.Add, ast.Sub)) and isinstance(call, ast.Call) and len(call.args) <= 2:
        for i, argument in enumerate(call.args):
            inner = [*call.args[:i], ast.BinOp(argument, node.op, more), *call.args[i + 1 :]]
            yield "different-function", with_fields(call, args=inner), POSSIBLE


def _within_a_divisor(node: ast.BinOp) -> Iterator[Made]:
    """What is added at the end, added to what the term before is divided by: `a - b / (c + d)` for `a - b / c + d`."""
    terms = _terms(node)
    if len(terms) > 2:
        (sign, before), (op, more) = terms[-2:]
        if isinstance(before, ast.BinOp) and isinstance(before.op, ast.Div):
            quotient = ast.BinOp(before.left, ast.Div(), ast.BinOp(before.right, op, more))
            yield "different-function", _summed([*terms[:-2], (sign, quotient)]), POSSIBLE


def _without_one(node: ast.BinOp) -> ast.expr:
    """What a product with 1 is."""
    ones = [isinstance(one, ast.Constant) and one.value == 1 for one in (node.left, node.right)]
    if isinstance(node.op, ast.Mult) and any(ones):
        return node.right if ones[0] else node.left
    return node


def _bracketed_further(node: ast.BinOp, words: Vocabulary) -> Iterator[Made]:
    """A factor of all the terms to the end for one of the first only: `a * (b - c + d)` for `a * b - c + d`."""
    terms = _terms(node)
    for i, (op, first) in enumerate(terms[:-2]):
        if isinstance(first, ast.BinOp) and isinstance(first.op, ast.Mult):
            within = _summed([(ast.Add(), first.right), *terms[i + 1 :]])
            turned = _summed([*terms[:i], (op, ast.BinOp(first.left, first.op, within))])
            yield "wrong-scale" if words.is_constant(first.left) else "missing-derivative", turned, POSSIBLE


def _terms(node: ast.expr) -> list[tuple[ast.operator, ast.expr]]:
    """The terms of a sum, each with the operator before it."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
        return [*_terms(node.left), (node.op, node.right)]
    return [(ast.Add(), node)]


def _summed(terms: Sequence[tuple[ast.operator, ast.expr]]) -> ast.expr:
    made = terms[0][1]
    for op, one in terms[1:]:
        made = ast.BinOp(made, op, one)
    return made


def _by_brackets(outer: ast.operator, inner: ast.operator, own: ast.expr, other: ast.expr, words: Vocabulary) -> str:
    """What it is to set brackets otherwise: a factor too few where a sum stands around a product, or one too many."""
    if isinstance(outer, SUMS) and isinstance(inner, PRODUCTS):
        return "wrong-scale" if words.is_constant(own) else "missing-derivative"
    if isinstance(outer, PRODUCTS) and isinstance(inner, SUMS):
        return _extra(other, words)
    return "different-function"


def _of_sign(node: ast.UnaryOp, parent: Any, words: Vocabulary) -> Iterator[Made]:
    number = whole_number(node)
    if number is not None and isinstance(parent, ast.Call):  # an argument
        yield _another_argument(parent), node.operand, LIKELY
        return
    minus = isinstance(node.op, ast.USub)
    yield "wrong-sign" if minus else "different-function", node.operand, LIKELY
    shape = words.shape(node.operand)
    for one in words.others(node.operand, words.arrays.get(shape, ())) if minus and shape else ():
        yield "missing-path", ast.BinOp(one, ast.Sub(), node.operand), UNLIKELY
    if number is not None:
        yield from _of_number(number, parent, words)


def _another_argument(call: ast.Call) -> str:
    return "shifted-in-time" if getattr(call.func, "attr", "") == "roll" else "different-function"


def _of_attribute(node: ast.Attribute, parent: Any, words: Vocabulary) -> Iterator[Made]:
    if node.attr == "T":
        yield "not-transposed", node.value, LIKELY


def _of_comparison(node: ast.Compare, parent: Any, words: Vocabulary) -> Iterator[Made]:
    if len(node.ops) != 1:
        return
    for kinds in (COMPARISONS, EQUALITIES):
        if isinstance(node.ops[0], kinds):
            for kind in kinds:
                if not isinstance(node.ops[0], kind):
                    code = "missing-path" if node in words.before_sums else "different-function"
                    code = "missing-derivative" if node in words.before_products else code
                    yield code, ast.Compare(node.left, [kind()], node.comparators), LIKELY
    if isinstance(node.ops[0], COMPARISONS) and not isinstance(node.comparators[0], ast.Constant):
        yield "derivative-at-wrong-point", ast.Compare(node.left, node.ops, [ast.Constant(0)]), POSSIBLE
        for factor in words.factors.get(words.shape(node.left) or (), ()):
            both = (ast.BinOp(one, ast.Mult(), factor) for one in (node.left, node.comparators[0]))
            yield "different-function", ast.Compare(next(both), node.ops, [next(both)]), LESS_LIKELY


def _of_constant(node: ast.Constant, parent: Any, words: Vocabulary) -> Iterator[Made]:
    value = node.value
    if isinstance(value, str):
        modes = sorted(words.modes - {value}) if isinstance(parent, (ast.Call, ast.keyword)) else []
        yield from (("different-function", ast.Constant(one), LIKELY) for one in modes)
    elif isinstance(value, bool):
        yield "different-function", ast.Constant(not value), LIKELY
    elif isinstance(parent, ast.keyword) and parent.arg == "axis":
        return  # of which the call has others
    elif isinstance(value, (int, float)) and not isinstance(parent, (ast.Subscript, ast.Slice)):
        if not isinstance(parent, ast.UnaryOp):
            yield from _of_number(value, parent, words)
        yield from (("wrong-operand", one, LESS_LIKELY) for one in words.scalars)
        yield from (("wrong-operand", one, LESS_LIKELY) for one in _arrays_beside(parent, words))


def _arrays_beside(parent: Any, words: Vocabulary) -> Iterator[ast.expr]:
    """What a number may stand for beside an array: another of its shape, or one with a number for each row."""
    summed = isinstance(parent, (ast.BinOp, ast.AugAssign)) and isinstance(parent.op, (ast.Add, ast.Sub))
    shape = words.shape(parent.target if isinstance(parent, ast.AugAssign) else parent) if summed else None
    if shape:
        yield from words.arrays.get(shape, ())
        yield from words.columns(shape)


def _of_number(value: float, parent: Any, words: Vocabulary) -> Iterator[Made]:
    in_product = is_factor(parent)
    code = "wrong-scale" if in_product else "different-function"
    code = _another_argument(parent) if isinstance(parent, ast.Call) else code
    others = [value + 1, value - 1, 2 * value, value / 2, -value, 0, 1, 1 - value]
    others += [10 * value, value / 10] if value % 1 or abs(value) >= 10 else []  # of no small whole number
    op = parent.op if isinstance(parent, ast.BinOp) else None
    neutral: dict[float, bool] = {1: isinstance(op, ast.Mult), 0: in_product or isinstance(op, (ast.Add, ast.Sub))}
    for other in dict.fromkeys(others):
        if other != value and not neutral.get(other):  # the other factor, or term, is looked at
            new = constant(int(other) if isinstance(value, int) and other == int(other) else other)
            yield "wrong-sign" if other == -value else code, new, NEARLY if isinstance(parent, ast.Call) else LIKELY
    yield from ((code, constant(other), POSSIBLE) for other in words.constants if other not in (value, *others))


def _of_row(node: ast.Tuple | ast.List, parent: Any, words: Vocabulary) -> Iterator[Made]:
    if not isinstance(parent, ast.Subscript):  # of an index, that is another axis
        yield from (("wrong-operand", one, POSSIBLE) for one in turned(node))


def turned(node: ast.Tuple | ast.List) -> Iterator[ast.Tuple | ast.List]:
    """A row with two neighbours exchanged, unless one of them is a number."""
    for elements, pair in exchanged(node.elts):
        if not any(isinstance(one, ast.Constant) for one in pair):
            yield type(node)(elements, node.ctx)


def _of_choice(node: ast.BoolOp, parent: Any, words: Vocabulary) -> Iterator[Made]:
    other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    yield "different-function", ast.BoolOp(other, node.values), LIKELY
    if len(node.values) == 2:
        yield from (("different-function", one, LIKELY) for one in node.values)


RULES: dict[type[ast.expr], Callable[..., Iterator[Made]]] = {
    ast.BinOp: _of_operation,
    ast.UnaryOp: _of_sign,
    ast.Attribute: _of_attribute,
    ast.Subscript: of_index,
    ast.Compare: _of_comparison,
    ast.Call: of_call,
    ast.Constant: _of_constant,
    ast.BoolOp: _of_choice,
    ast.Tuple: _of_row,
    ast.List: _of_row,
}


def _another_of_its_kind(node: ast.expr, parent: Any, words: Vocabulary) -> Iterator[Made]:
    """What else the function speaks of, in the place of what this speaks of."""
    text, shape = words.text(node), words.shape(node)
    if not isinstance(node, (ast.Name, ast.Subscript, ast.Attribute)):
        yield from _instead_of_an_expression(node, parent, words)
        return
    if shape is not None:
        for function in words.functions:
            rank = POSSIBLE if isinstance(parent, ast.Compare) else LESS_LIKELY
            yield wrong_array(parent), ast.Call(function, [node], []), rank
    for one in words.others(node, words.made_of.get(text, ())):
        yield "different-function", one, POSSIBLE
    if text in words.numbers:
        yield from _another_number(node, parent, words)
    if text in words.function.complex:
        conjugate = ast.Attribute(node, "conj", ast.Load())
        yield "wrong-operand", ast.Call(conjugate, [], []), LIKELY
    if text in words.lists:
        same = (one for one in words.names if words.lists.get(one) == words.lists[text] and one != text)
        yield from (("wrong-operand", ast.Name(one, ast.Load()), LIKELY) for one in sorted(same))
    if shape and not (isinstance(parent, ast.Attribute) and parent.attr in SIZES):
        yield from _another_array(node, shape, parent, words)


def _instead_of_an_expression(node: ast.expr, parent: Any, words: Vocabulary) -> Iterator[Made]:
    """An array of its shape; the same less one, and one less it; another length."""
    shape = words.shape(node)
    for one in words.arrays.get(shape, ()) if shape and not isinstance(node, ast.Constant) else ():
        yield "wrong-operand", one, POSSIBLE
    if isinstance(node, ast.Call) and is_factor(parent) and not words.is_constant(node):
        yield "missing-path", ast.BinOp(node, ast.Sub(), ast.Constant(1)), POSSIBLE
        yield "different-function", ast.BinOp(ast.Constant(1), ast.Sub(), node), POSSIBLE
    if isinstance(node, ast.BinOp) and words.numbers.get(words.text(node), 0) > 1:
        yield from (("wrong-scale", one, LESS_LIKELY) for one in words.others(node, words.lengths))


def _another_number(node: ast.expr, parent: Any, words: Vocabulary) -> Iterator[Made]:
    """Another number, one more or less than it, one less it; an array, where a product has one."""
    number = words.numbers[words.text(node)]
    for one in words.other_numbers(node, parent):
        scales = is_factor(parent) and words.is_constant(node) and words.is_constant(one)
        yield "wrong-scale" if scales else "wrong-operand", one, POSSIBLE
    if isinstance(node, ast.Name) and not isinstance(parent, ast.Subscript):
        is_exponent = isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Pow)
        counts = number == round(number)
        if not counts:
            yield "different-function", ast.BinOp(ast.Constant(1), ast.Sub(), node), POSSIBLE
        for sign in (ast.Add(), ast.Sub()):
            code = "different-function" if is_exponent else "wrong-operand" if counts else "missing-path"
            yield code, ast.BinOp(node, sign, ast.Constant(1)), POSSIBLE
    made = words.shape(parent) if is_factor(parent) else None
    yield from (("wrong-operand", one, LESS_LIKELY) for one in (words.arrays.get(made, ()) if made else ()))


def _another_array(node: ast.expr, shape: Shape, parent: Any, words: Vocabulary) -> Iterator[Made]:
    """Another array, the same transposed, one minus it, its square, a term more."""
    if len(shape) == 1:
        for rest in ([ast.Slice(), ast.Constant(None)], [ast.Constant(None), ast.Slice()]):
            yield "wrong-axis", ast.Subscript(node, ast.Tuple(rest, ast.Load()), ast.Load()), POSSIBLE
    for one in words.others(node, words.arrays.get(shape, ())):
        turned = words.text(one) == f"{words.text(node)}.T" or words.text(node) == f"{words.text(one)}.T"
        yield "not-transposed" if turned else wrong_array(parent), one, LIKELY
    yield from ((wrong_array(parent), one, POSSIBLE) for one in _of_other_shapes(node, shape, parent, words))
    squares = (ast.BinOp(one, ast.Pow(), ast.Constant(2)) for one in words.others(node, words.arrays.get(shape, ())))
    yield from (("wrong-operand", one, UNLIKELY) for one in squares)
    if len(shape) == 2:
        yield "not-transposed", ast.Attribute(node, "T", ast.Load()), LIKELY
        if shape[0] == shape[1]:  # of what is used on both sides
            yield "missing-path", ast.BinOp(node, ast.Add(), ast.Attribute(node, "T", ast.Load())), POSSIBLE
    elif len(shape) > 2:
        yield "not-transposed", _with_last_axes_exchanged(node), POSSIBLE
    yield "different-function", ast.BinOp(ast.Constant(1), ast.Sub(), node), POSSIBLE
    yield "different-function", ast.BinOp(node, ast.Pow(), ast.Constant(2)), POSSIBLE
    if _takes_products(parent):
        for one in (*words.arrays.get(shape, ()), *words.columns(shape)):
            yield from (("missing-path", ast.BinOp(node, op, one), UNLIKELY) for op in (ast.Sub(), ast.Add()))


def _takes_products(node: Any) -> bool:
    """Whether this multiplies by what stands in it, turned or not: of what it lacks, each term counts there."""
    product = isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mult, ast.MatMult))
    call = isinstance(node, ast.Call) and getattr(node.func, "attr", "") in MULTIPLYING
    return product or call or (isinstance(node, ast.Attribute) and node.attr == "T")


def _of_other_shapes(node: ast.expr, shape: Shape, parent: Any, words: Vocabulary) -> Iterator[ast.expr]:
    """The arrays of another shape that fit into an operation entry by entry, or that it would fit."""
    if not isinstance(parent, ast.BinOp) or isinstance(parent.op, ast.MatMult):
        return
    made = words.shape(parent) or shape
    beside = words.shape(parent.right if node is parent.left else parent.left)
    for other, found in words.arrays.items():
        fits = broadcasts(other, made) or broadcasts(shape, other) or (beside and broadcasts(beside, other))
        if other not in ((), shape) and fits:
            yield from found
    if is_factor(parent) and shape:
        yield from words.scalars


def _with_last_axes_exchanged(node: ast.expr) -> ast.expr:
    return ast.Call(ast.Attribute(node, "swapaxes", ast.Load()), [constant(-1), constant(-2)], [])
