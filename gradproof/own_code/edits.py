"""Small changes of a statement, such as undo the slips of writing code: each with the name of the mistake it undoes."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from gradproof.own_code.calls import of_call, wrong_array
from gradproof.own_code.indices import constant, of_index, whole_number
from gradproof.own_code.running import Shape
from gradproof.own_code.statements import (
    LINEAR,
    Way,
    at,
    exchanged,
    expressions,
    is_assigned,
    is_factor,
    points,
    put,
    with_fields,
)
from gradproof.own_code.vocabulary import (
    LESS_LIKELY,
    LIKELIEST,
    LIKELY,
    POSSIBLE,
    SIZES,
    UNLIKELY,
    Made,
    Vocabulary,
    broadcasts,
    called,
    divisor,
    in_parts,
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
AT: dict[type[ast.operator], str] = {ast.Add: "add", ast.Sub: "subtract"}  # NumPy's functions that do it in place
SAID_AGAIN = (ast.Constant, ast.UnaryOp, ast.Call)  # what is looked at wherever it stands
COMPARISONS: tuple[type[ast.cmpop], ...] = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
EQUALITIES: tuple[type[ast.cmpop], ...] = (ast.Eq, ast.NotEq)


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


def edits(statement: ast.stmt | ast.expr, words: Vocabulary) -> Iterator[Edit]:
    """All changes of a statement, or of what a loop or a branch begins with."""
    at_one_place = list(_at_one_place(statement, words))
    yield from at_one_place
    yield from _again(statement, at_one_place, words)
    yield from _of_all_names(statement, words)
    yield from _of_statement(statement, words)


def _at_one_place(statement: ast.stmt | ast.expr, words: Vocabulary) -> Iterator[Edit]:
    for path, node, parent in expressions(statement):
        for code, new, rank in _of_expression(node, parent, words):
            if not _is_idle(node, new, parent, words):
                code = "broadcast" if _keeps_apart(node, new, parent, words) else code
                yield Edit(code, node, new, partial(put, statement, path, new), path, rank)
    for path, numbers in points(statement):
        node = at(statement, path)
        for code, new, rank in _with_more(node, words, numbers):
            yield Edit(code, node, new, partial(put, statement, path, new), path, rank)


def _again(statement: ast.stmt | ast.expr, changes: Sequence[Edit], words: Vocabulary) -> Iterator[Edit]:
    """The same change of the same number or call wherever the statement has it, or wherever one of its rows does."""
    texts = [words.text(node) for _, node, _ in expressions(statement) if isinstance(node, SAID_AGAIN)]
    alike: dict[tuple[Way | str, ...], list[tuple[Way, ast.expr]]] = {}
    for one in changes:
        if isinstance(one.old, SAID_AGAIN) and isinstance(one.new, ast.expr) and texts.count(words.text(one.old)) > 1:
            for row in {(), _row(statement, one.path)}:
                key = (row, one.code, words.text(one.old), words.text(one.new))
                alike.setdefault(key, []).append((one.path, one.new))
    for (_, code, *_), found in alike.items():
        if len(found) > 1:
            yield _together(str(code), statement, found, POSSIBLE)


def _row(statement: ast.stmt | ast.expr, path: Way) -> Way:
    """The way to the innermost row that an expression stands in; to the statement where it stands in none."""
    ends = (end for end in range(len(path), 0, -1) if isinstance(at(statement, path[:end]), (ast.List, ast.Tuple)))
    return path[: next(ends, 0)]


def _together(code: str, statement: ast.stmt | ast.expr, new: Sequence[tuple[Way, ast.expr]], rank: float) -> Edit:
    """Several changes of one statement, told by the smallest expression that has all of them in it."""
    make, around = partial(_put_at_all, statement, new), _shared([path for path, _ in new])
    return Edit(code, at(statement, around), at(make(), around), make, (), rank)


def _is_idle(node: ast.expr, new: ast.expr, parent: Any, words: Vocabulary) -> bool:
    """Whether a change makes x / x or x - x, which nobody means."""
    around = [new if one is node else one for one in _taken_apart(parent)]
    return any(len(pair) == 2 and words.text(pair[0]) == words.text(pair[1]) for pair in (around, _taken_apart(new)))


def _taken_apart(node: Any) -> list[ast.expr]:
    """What is divided and by what, or subtracted and from what."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Div, ast.Sub)):
        return [node.left, node.right]
    return node.args if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("divide", "subtract") else []


def _keeps_apart(node: ast.expr, new: ast.expr, parent: Any, words: Vocabulary) -> bool:
    """Whether a row met a column, so that every entry met every other, and the change makes them meet one by one."""
    if not isinstance(parent, ast.BinOp) or isinstance(parent.op, ast.MatMult):
        return False
    other, own = words.shape(parent.right if node is parent.left else parent.left), words.shape(node)
    if not other or not own or words.shape(parent) in (None, other, own):
        return False
    now = words.shape_of_new(new)
    return now is not None and now != () and (broadcasts(now, other) or broadcasts(other, now))


def _with_more(node: ast.expr, words: Vocabulary, numbers: bool) -> Iterator[Made]:
    """A factor more, a term more, or the other sign."""
    shape = words.shape(node)
    if shape is None and not isinstance(node, ast.Call):
        return
    if numbers:
        yield "wrong-sign", ast.UnaryOp(ast.USub(), node), LIKELY
        code = "different-function" if isinstance(node, ast.Constant) else "wrong-scale"
        for count in (ast.Constant(2), *words.counts.values()):
            yield code, ast.BinOp(node, ast.Div(), count), POSSIBLE
            yield code, ast.BinOp(node, ast.Mult(), count), POSSIBLE
    if shape is None:
        return
    text = words.text(node)
    for factor, rank in words.fitting(shape):
        by = divisor(factor)
        if words.text(by) != text and (numbers or words.shape(by) != ()):
            code = "wrong-scale" if words.is_constant(by) else "missing-derivative"
            code = "different-function" if isinstance(node, ast.Constant) else code
            yield code, ast.BinOp(node, ast.Div() if is_inverse(factor) else ast.Mult(), by), rank
    for one in _at_the_same_position(node, words):
        yield "missing-derivative", ast.BinOp(node, ast.Mult(), one), POSSIBLE
    for names in _kin(node, words):
        if len({called(at(node, path)) for path, _ in names}) > 1:
            yield "missing-path", ast.BinOp(node, ast.Add(), _put_at_all(node, names)), POSSIBLE
    yield from (("missing-derivative", one, LESS_LIKELY) for one in _with_a_matrix(node, shape, words))
    if shape:
        known = {text}
        for one in (*words.terms.get(shape, ()), *words.arrays.get(shape, ())):
            if words.text(one) not in known:
                known.add(words.text(one))
                yield from (("missing-path", made, UNLIKELY) for made in _sums(node, one))
        for one in words.scalars:
            if not words.is_constant(one):
                yield from (("missing-path", made, UNLIKELY) for made in _sums(node, one))


def _sums(one: ast.expr, other: ast.expr) -> Iterator[ast.expr]:
    return (ast.BinOp(one, op, other) for op in (ast.Add(), ast.Sub()))


def _at_the_same_position(node: ast.expr, words: Vocabulary) -> Iterator[ast.expr]:
    """The same part of other arrays, of which the function may speak nowhere else: `W[i]` beside `P[i]`."""
    if isinstance(node, ast.Subscript) and words.shape(node.value):
        for one in words.others(node.value, words.arrays.get(words.shapes[words.text(node.value)], ())):
            yield ast.Subscript(one, node.slice, ast.Load())


def _with_a_matrix(node: ast.expr, shape: Shape, words: Vocabulary) -> Iterator[ast.expr]:
    """Times a square matrix, from the right or from the left."""
    if len(shape) == 2:
        yield from (ast.BinOp(node, ast.MatMult(), one) for one in words.arrays.get(shape[-1:] * 2, ()))
    if len(shape) in (1, 2):
        yield from (ast.BinOp(one, ast.MatMult(), node) for one in words.arrays.get(shape[:1] * 2, ()))


def _of_expression(node: ast.expr, parent: Any, words: Vocabulary) -> Iterator[Made]:
    for kind, rule in RULES.items():
        if isinstance(node, kind):
            yield from rule(node, parent, words)
    if not is_assigned(node):
        yield from _another_of_its_kind(node, parent, words)


def _of_operation(node: ast.BinOp, parent: Any, words: Vocabulary) -> Iterator[Made]:
    left, op, right = node.left, node.op, node.right
    if isinstance(op, ast.Mult):
        yield _extra(right, words), left, LIKELY
        yield _extra(left, words), right, LIKELY
    elif isinstance(op, ast.Div):
        yield _extra(right, words), left, LIKELY
    elif isinstance(op, (ast.Add, ast.Sub)):
        minus = isinstance(op, ast.Sub)
        stepped = minus and isinstance(left, (ast.Name, ast.Subscript)) and _is_scaled(right, words)
        if stepped:
            yield "wrong-operand", left, LIKELIEST
        else:
            yield "different-function", left, POSSIBLE
        yield "different-function", ast.UnaryOp(ast.USub(), right) if minus else right, POSSIBLE
        if minus:
            yield "wrong-sign", ast.BinOp(right, op, left), LIKELY
    elif isinstance(op, ast.MatMult):
        yield "not-transposed", ast.BinOp(right, op, left), LIKELY
        yield from (("wrong-operand", one, POSSIBLE) for one in (left, right))
    elif isinstance(op, ast.Pow):
        yield "different-function", left, LIKELY
    shape = words.shape(node)
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
        products = ast.BinOp(left.left, ast.MatMult(), left.right)
        yield "different-function", ast.BinOp(products, ast.MatMult(), right), POSSIBLE
    yield from _bracketed(node, words)
    yield from _bracketed_further(node, words)


def _extra(factor: ast.expr, words: Vocabulary) -> str:
    """What it is to multiply by this where it does not belong."""
    return "wrong-scale" if words.is_constant(factor) else "extra-derivative"


def _bracketed(node: ast.BinOp, words: Vocabulary) -> Iterator[Made]:
    """The same operations with brackets elsewhere."""
    left, right = node.left, node.right
    if isinstance(left, ast.BinOp):
        turned = ast.BinOp(left.left, left.op, ast.BinOp(left.right, node.op, right))
        yield _by_brackets(node.op, left.op, left.left, right, words), turned, POSSIBLE
    if isinstance(right, ast.BinOp):
        turned = ast.BinOp(ast.BinOp(left, node.op, right.left), right.op, right.right)
        yield _by_brackets(node.op, right.op, right.right, left, words), turned, POSSIBLE


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
    sums, products = (ast.Add, ast.Sub), (ast.Mult, ast.Div)
    if isinstance(outer, sums) and isinstance(inner, products):
        return "wrong-scale" if words.is_constant(own) else "missing-derivative"
    if isinstance(outer, products) and isinstance(inner, sums):
        return _extra(other, words)
    return "different-function"


def _of_sign(node: ast.UnaryOp, parent: Any, words: Vocabulary) -> Iterator[Made]:
    number = whole_number(node)
    if number is not None and isinstance(parent, ast.Call):  # an argument
        yield _another_argument(parent), node.operand, LIKELY
        return
    yield "wrong-sign" if isinstance(node.op, ast.USub) else "different-function", node.operand, LIKELY
    if number is not None:
        yield from _of_number(number, parent)


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


def _of_constant(node: ast.Constant, parent: Any, words: Vocabulary) -> Iterator[Made]:
    value = node.value
    if isinstance(value, str):
        modes = sorted(words.modes - {value}) if isinstance(parent, (ast.Call, ast.keyword)) else []
        yield from (("different-function", ast.Constant(one), LIKELY) for one in modes)
    elif isinstance(value, bool):
        yield "different-function", ast.Constant(not value), LIKELY
    elif isinstance(value, (int, float)) and not isinstance(parent, (ast.Subscript, ast.Slice)):
        if not isinstance(parent, ast.UnaryOp):
            yield from _of_number(value, parent)
        yield from (("wrong-operand", one, LESS_LIKELY) for one in words.scalars)


def _of_number(value: float, parent: Any) -> Iterator[Made]:
    in_product = is_factor(parent)
    code = "wrong-scale" if in_product else "different-function"
    code = _another_argument(parent) if isinstance(parent, ast.Call) else code
    others = [value + 1, value - 1, 2 * value, value / 2, -value, 0, 1, 1 - value, 10 * value, value / 10]
    for other in dict.fromkeys(others):
        if other != value and (other > 0 or not (in_product and other == 0)):
            yield code, constant(int(other) if isinstance(value, int) and other == int(other) else other), LIKELY


def _of_row(node: ast.Tuple | ast.List, parent: Any, words: Vocabulary) -> Iterator[Made]:
    if not isinstance(parent, ast.Subscript):  # of an index, that is another axis
        yield from (("wrong-operand", one, POSSIBLE) for one in _turned(node))


def _turned(node: ast.Tuple | ast.List) -> Iterator[ast.Tuple | ast.List]:
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
    """Another array of the same shape, the same transposed, one minus it, its square; another number."""
    text = words.text(node)
    shape = words.shape(node)
    if not isinstance(node, (ast.Name, ast.Subscript, ast.Attribute)):
        for one in words.arrays.get(shape, ()) if shape and not isinstance(node, ast.Constant) else ():
            yield "wrong-operand", one, POSSIBLE
        if isinstance(node, ast.BinOp) and words.numbers.get(text, 0) > 1:
            yield from (("wrong-scale", one, LESS_LIKELY) for one in words.others(node, words.lengths))
        return
    if words.shape(node) is not None:
        for function in words.functions:
            yield wrong_array(parent), ast.Call(function, [node], []), LESS_LIKELY
    if text in words.numbers:
        for one in words.others(node, words.scalars):
            scales = is_factor(parent) and words.is_constant(node) and words.is_constant(one)
            yield "wrong-scale" if scales else "wrong-operand", one, POSSIBLE
        if isinstance(node, ast.Name) and not isinstance(parent, ast.Subscript):
            is_exponent = isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Pow)
            for sign in (ast.Add(), ast.Sub()):
                code = "different-function" if is_exponent else "wrong-operand"
                yield code, ast.BinOp(node, sign, ast.Constant(1)), POSSIBLE
    if text in words.function.complex:
        conjugate = ast.Attribute(node, "conj", ast.Load())
        yield "wrong-operand", ast.Call(conjugate, [], []), LIKELY
    if text in words.lists:
        same = (one for one in words.names if words.lists.get(one) == words.lists[text] and one != text)
        yield from (("wrong-operand", ast.Name(one, ast.Load()), LIKELY) for one in sorted(same))
    if len(shape or ()) == 1:
        for rest in ([ast.Slice(), ast.Constant(None)], [ast.Constant(None), ast.Slice()]):
            yield "wrong-axis", ast.Subscript(node, ast.Tuple(rest, ast.Load()), ast.Load()), POSSIBLE
    if not shape or (isinstance(parent, ast.Attribute) and parent.attr in SIZES):
        return
    yield from ((wrong_array(parent), one, LIKELY) for one in words.others(node, words.arrays.get(shape, ())))
    yield from ((wrong_array(parent), one, POSSIBLE) for one in _of_other_shapes(shape, parent, words))
    squares = (ast.BinOp(one, ast.Pow(), ast.Constant(2)) for one in words.others(node, words.arrays.get(shape, ())))
    yield from (("wrong-operand", one, UNLIKELY) for one in squares)
    if len(shape) > 1:
        turned = ast.Attribute(node, "T", ast.Load())
        yield "not-transposed", turned if len(shape) == 2 else _with_last_axes_exchanged(node), LIKELY
    yield "different-function", ast.BinOp(ast.Constant(1), ast.Sub(), node), POSSIBLE
    yield "different-function", ast.BinOp(node, ast.Pow(), ast.Constant(2)), POSSIBLE
    if isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Mult):
        for one in words.arrays.get(shape, ()):
            yield from (("missing-path", ast.BinOp(node, op, one), UNLIKELY) for op in (ast.Sub(), ast.Add()))


def _of_other_shapes(shape: Shape, parent: Any, words: Vocabulary) -> Iterator[ast.expr]:
    """The arrays of another shape that fit into an operation entry by entry, or that it would fit."""
    if not isinstance(parent, ast.BinOp) or isinstance(parent.op, ast.MatMult):
        return
    made = words.shape(parent) or shape
    for other, found in words.arrays.items():
        if other not in ((), shape) and (broadcasts(other, made) or broadcasts(shape, other)):
            yield from found


def _with_last_axes_exchanged(node: ast.expr) -> ast.expr:
    return ast.Call(ast.Attribute(node, "swapaxes", ast.Load()), [constant(-1), constant(-2)], [])


def _of_all_names(statement: ast.stmt | ast.expr, words: Vocabulary) -> Iterator[Edit]:
    """The same change wherever a statement says the same: `h * (1 - h)`, `a[0] + b[0]`, `W1 @ x + b1`."""
    places: dict[str, list[Way]] = {}
    for path, node, _ in expressions(statement):
        if isinstance(node, (ast.Name, ast.Subscript, ast.Attribute, ast.Constant)) and not is_assigned(node):
            places.setdefault(words.text(node), []).append(path)
    for paths in places.values():
        if len(paths) > 1:
            for code, one in _instead_of(at(statement, paths[0]), at(statement, paths[0][:-1]), words):
                make = partial(_put_at_all, statement, [(path, one) for path in paths])
                old = at(statement, paths[0])
                if words.shape(old) and _multiplied(statement, paths):
                    code = "derivative-at-wrong-point"
                yield Edit(code, old, one, make, ())
    yield from _of_another_number(statement, words)


def _instead_of(node: ast.expr, parent: Any, words: Vocabulary) -> Iterator[tuple[str, ast.expr]]:
    """What may belong wherever something is said: another array, another position."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, int) and isinstance(parent, (ast.Subscript, ast.Tuple)):
            yield from (("wrong-operand", one) for one in words.scalars)
    elif words.text(node) in words.numbers:
        yield from (("wrong-operand", one) for one in words.others(node, words.scalars))
        for op in (ast.Add(), ast.Sub()):
            yield _moves(node, parent, op), ast.BinOp(node, op, ast.Constant(1))
    elif words.shape(node):
        same = words.arrays.get(words.shapes[words.text(node)], ())
        yield from (("wrong-operand", one) for one in words.others(node, same))


def _moves(node: ast.expr, parent: Any, op: ast.operator) -> str:
    """What it is that a position should be one further or one before: of a slice's bound, that an end is left out."""
    wider = isinstance(parent, ast.Slice) and (node is parent.upper) == isinstance(op, ast.Add)
    return "missing-path" if wider else "shifted-in-time"


def _of_another_number(statement: ast.stmt | ast.expr, words: Vocabulary) -> Iterator[Edit]:
    """All names that end in one number or letter with another: `W1 @ x + b1` for `W2 @ x + b2`."""
    for names in _kin(statement, words):
        yield _together("wrong-operand", statement, names, LIKELY)


def _shared(paths: Sequence[Way]) -> Way:
    """The way to the smallest expression that has all of some places in it."""
    steps = itertools.takewhile(lambda step: len(set(step)) == 1, zip(*paths, strict=False))
    return tuple(step[0] for step in steps)


def _kin(root: ast.stmt | ast.expr, words: Vocabulary) -> Iterator[list[tuple[Way, ast.expr]]]:
    """For each number or letter that several names end in: the same names with another, where there are all of them.

    And for two of them: the names with these exchanged, `x1, y0` for `x0, y1`.
    """
    found: dict[str, list[tuple[Way, str]]] = {}
    for path, node, _ in expressions(root):
        stem, ending = in_parts(called(node))
        if ending:
            found.setdefault(ending, []).append((path, stem))
    for ending, places in found.items():
        for other in sorted(words.endings - {ending}) if len(places) > 1 else ():
            if all(stem + other in words.names for _, stem in places):
                yield [(path, _with_name(at(root, path), stem + other)) for path, stem in places]
    for one, other in itertools.combinations(sorted(found), 2):
        turned = [(path, stem + new) for old, new in ((one, other), (other, one)) for path, stem in found[old]]
        if all(name in words.names for _, name in turned):
            yield [(path, _with_name(at(root, path), name)) for path, name in turned]


def _with_name(node: ast.expr, name: str) -> ast.expr:
    made: ast.expr = with_fields(node, **{"id" if isinstance(node, ast.Name) else "value": name})
    return made


def _multiplied(statement: ast.stmt | ast.expr, paths: list[Way]) -> bool:
    """Whether the first of some places stand in one product entry by entry, such as `h * (1 - h)`, or in one call."""
    shared = _shared(paths[:2])
    node = at(statement, shared)
    if isinstance(node, ast.Call):
        return getattr(node.func, "attr", "") not in LINEAR
    if not isinstance(node, ast.BinOp):
        return True
    inner = [at(statement, path[:end]) for path in paths[:2] for end in range(len(shared), len(path))]
    entry_by_entry = all(isinstance(one, (ast.BinOp, ast.UnaryOp)) for one in inner)
    return entry_by_entry and not isinstance(node.op, (ast.Add, ast.Sub, ast.MatMult))


def _put_at_all(statement: ast.stmt | ast.expr, new: Sequence[tuple[Way, ast.expr]]) -> Any:
    for path, one in new:
        statement = put(statement, path, one)
    return statement


def _of_statement(statement: ast.stmt | ast.expr, words: Vocabulary) -> Iterator[Edit]:
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
            for one in _turned(target):
                yield _whole("wrong-operand", statement, with_fields(statement, targets=[one]))
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
        yield _whole(_superfluous(statement, words), statement, None, POSSIBLE)


def _added_one_by_one(statement: ast.stmt | ast.expr, words: Vocabulary) -> Iterator[ast.Expr]:
    """`np.add.at` where positions that stand in an array more than once are assigned to, or added to once."""
    numpy = next((name for name, value in words.function.names.items() if value is np), None)
    if numpy is None or not isinstance(statement, (ast.Assign, ast.AugAssign)):
        return
    target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
    name = "add" if isinstance(statement, ast.Assign) else AT.get(type(statement.op))
    if name is None or not isinstance(target, ast.Subscript):
        return
    entries = target.slice.elts if isinstance(target.slice, ast.Tuple) else [target.slice]
    if any(words.shape(one) for one in entries):
        module = ast.Name(numpy, ast.Load())
        index = ast.Subscript(ast.Attribute(module, "s_", ast.Load()), target.slice, ast.Load())
        whole = index if any(isinstance(one, ast.Slice) for one in entries) else target.slice
        function = ast.Attribute(ast.Attribute(module, name, ast.Load()), "at", ast.Load())
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
        return isinstance(statement.op, ast.Sub) and _is_scaled(statement.value, words)
    if not isinstance(statement, ast.Assign) or not isinstance(statement.value, ast.BinOp):
        return False
    before, op, step = statement.value.left, statement.value.op, statement.value.right
    from_itself = words.text(statement.targets[0]) == words.text(before)
    return from_itself and isinstance(op, ast.Sub) and _is_scaled(step, words)


def _is_scaled(node: ast.expr | None, words: Vocabulary) -> bool:
    """Whether an expression is an array times a number: a gradient times the learning rate."""
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult) and words.shape(node.left) == ()
