"""Small changes of a call: a function like it, another axis, its arguments exchanged, without it."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from gradproof.own_code.indices import constant, moved
from gradproof.own_code.reductions import OF_ENTRIES, of_reduction, of_what_is_reduced
from gradproof.own_code.statements import REDUCTIONS, exchanged, is_factor, is_module, with_fields
from gradproof.own_code.vocabulary import LIKELIEST, LIKELY, NEARLY, POSSIBLE, Made, Vocabulary, slopes

OPPOSITE = ("maximum minimum".split(), "argmax argmin".split())
ALIKE = (  # functions of which one may be taken for another
    "sum mean max min prod std var".split(),
    OF_ENTRIES,
    *OPPOSITE,
    "floor ceil round rint".split(),
    "cumsum cumprod".split(),
    "any all".split(),
    "zeros_like ones_like".split(),
    "zeros ones".split(),
    "tril triu".split(),
    *(["fft" + axes, "ifft" + axes] for axes in ("", "2", "n")),
    "rfft irfft".split(),
)
NORMS = ("forward", "ortho")  # of Fourier transforms: the adjoint of one is its inverse times the number of entries
BOUNDS = ("max", "min")  # of numbers
AXES = (0, 1, 2, -1, -2, None)
KEPT = ast.keyword("keepdims", ast.Constant(True))
MOST_AXES = 4  # of an array, that are tried in every order


def of_call(node: ast.Call, parent: Any, words: Vocabulary) -> Iterator[Made]:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    yield from _another_function(node, name, words)
    yield from _of_keywords(node, name)
    if name in REDUCTIONS and isinstance(node.func, ast.Attribute):
        yield from _along_another_axis(node, words, is_method=not is_module(node.func.value))
        yield from of_reduction(node, words)
    yield from of_what_is_reduced(node)
    if name in BOUNDS and isinstance(node.func, ast.Name) and len(node.args) == 2:
        in_time = "truncated-in-time" if parent in words.of_time else "missing-path"
        code = in_time if _is_range(parent) else "different-function"
        yield from ((code, one, LIKELY) for one in node.args)
    if name == "where" and len(node.args) == 3:  # a function for its slope, or nothing for it
        for i, ends in itertools.product((1, 2), (0, 1)):
            if words.shape(node.args[i]):
                args = [*node.args[:i], ast.Constant(ends), *node.args[i + 1 :]]
                yield "different-function", with_fields(node, args=args), LIKELY
    if name in ("minimum", "maximum", "clip"):
        yield from (("different-function", one, POSSIBLE) for one in _within_both_bounds(node, words))
    yield from _of_layout(node, name, words)
    for one in _as_elsewhere(node, words):
        another_axis = axis_of(one) != axis_of(node)
        yield "wrong-axis" if another_axis else "different-function", one, POSSIBLE
    if name in ("dot", "matmul") and len(node.args) == 2:
        yield from (("wrong-operand", one, POSSIBLE) for one in node.args)
    for args, _ in exchanged(node.args):  # of a product, a transpose is likelier
        yield "wrong-operand", with_fields(node, args=args), NEARLY if name in ("dot", "matmul") else LIKELY
    if name == "solve" and len(node.args) == 2:
        yield "different-function", ast.BinOp(node.args[0], ast.MatMult(), node.args[1]), POSSIBLE
    if name == "range":
        yield from _of_range(node, "truncated-in-time" if node in words.of_time else "missing-path")
    elif name == "reversed":
        yield "flipped", node.args[0], LIKELY
    else:
        yield from _of_its_argument(node, name, parent, words)
    if name == "range" and not isinstance(parent, ast.Call):
        yield "flipped", ast.Call(ast.Name("reversed", ast.Load()), [node], []), LIKELY


def _another_function(node: ast.Call, name: str, words: Vocabulary) -> Iterator[Made]:
    """One that is taken for it, or another one of the author's own."""
    for group in ALIKE:
        if name in group and isinstance(node.func, ast.Attribute):
            for other in group:
                if other != name:
                    code = "wrong-reduction" if {name, other} <= {"sum", "mean"} else "different-function"
                    rank = LIKELIEST if group in OPPOSITE else NEARLY
                    yield code, with_fields(node, func=ast.Attribute(node.func.value, other, ast.Load())), rank
    for other, count in words.helpers if isinstance(node.func, ast.Name) and not node.keywords else ():
        if other != name and count == len(node.args):
            yield "different-function", with_fields(node, func=ast.Name(other, ast.Load())), POSSIBLE


def _of_keywords(node: ast.Call, name: str) -> Iterator[Made]:
    """Without one of them, another axis, another norm."""
    for i, keyword in enumerate(node.keywords):
        others = [*node.keywords[:i], *node.keywords[i + 1 :]]
        code = "wrong-axis" if keyword.arg == "axis" else "different-function"
        yield code, with_fields(node, keywords=others), POSSIBLE
        for axis in AXES if keyword.arg == "axis" else ():
            changed = [*node.keywords[:i], ast.keyword("axis", _axis(axis)), *node.keywords[i + 1 :]]
            yield "wrong-axis", with_fields(node, keywords=changed), LIKELY
            if not any(one.arg == "keepdims" for one in others):
                yield "wrong-axis", with_fields(node, keywords=[*changed, KEPT]), POSSIBLE
    for norm in NORMS if "fft" in name else ():  # what takes none raises
        others = [one for one in node.keywords if one.arg != "norm"]
        new = with_fields(node, keywords=[*others, ast.keyword("norm", ast.Constant(norm))])
        yield "wrong-scale", new, POSSIBLE


def _within_both_bounds(node: ast.Call, words: Vocabulary) -> Iterator[ast.expr]:
    """As far from zero as a bound says, on both sides."""
    clip = words.of_numpy("clip")
    if clip is None or len(node.args) < 2 or node.keywords:
        return
    whose, *bounds = node.args
    for bound in bounds if all(words.shape(one) == () for one in bounds) else ():
        size = bound.operand if isinstance(bound, ast.UnaryOp) else bound
        both = ast.Call(clip, [whose, ast.UnaryOp(ast.USub(), size), size], [])
        if words.numbers.get(words.text(size)) != 0 and words.text(both) != words.text(node):
            yield both


def _of_layout(node: ast.Call, name: str, words: Vocabulary) -> Iterator[Made]:
    """Axes and entries in another order."""
    inner = node.func.value if isinstance(node.func, ast.Attribute) else None
    if name in ("transpose", "swapaxes") and inner is not None:
        yield "not-transposed", node.args[0] if is_module(inner) and node.args else inner, LIKELY
    if name in ("cumsum", "cumprod") and "[::-1]" in words.text(node):
        back = ast.Slice(None, None, ast.UnaryOp(ast.USub(), ast.Constant(1)))
        yield "flipped", ast.Subscript(node, back, ast.Load()), LIKELY
    if name == "reshape" and inner is not None:
        yield from _turned_before(node, inner, words)
        yield from (("wrong-axis", one, POSSIBLE) for one in _laid_out_otherwise(node, range(len(node.args))))
    if name == "einsum" and node.args:
        yield from _of_subscripts(node)
    if name == "transpose":
        yield from (("wrong-axis", with_fields(node, args=one), LIKELY) for one in _in_another_order(node.args))
        order = [one.value for one in node.args if isinstance(one, ast.Constant)]
        yield from (("wrong-axis", one, POSSIBLE) for one in _laid_out_otherwise(inner, order))


def _of_its_argument(node: ast.Call, name: str, parent: Any, words: Vocabulary) -> Iterator[Made]:
    """What a function is taken of without it, or its derivative there; what is added to that, added behind it."""
    code = "missing-derivative" if name == "ones_like" and is_factor(parent) else "different-function"
    if node.args and words.shape(node) is not None and words.shape(node) == words.shape(node.args[0]):
        yield wrong_array(parent) if name in OF_ENTRIES else code, node.args[0], LIKELY
    elif len(node.args) == 1 and isinstance(node.func, ast.Name) and isinstance(node.args[0], ast.Call):
        again = words.text(node.args[0].func) == name
        yield "derivative-at-wrong-point" if again else "different-function", node.args[0], POSSIBLE
    if len(node.args) != 1:
        return
    (inner,) = node.args
    if words.shape(inner) and isinstance(getattr(parent, "op", None), ast.Mult):
        for whose in (inner, node):  # a function for its derivative
            yield from ((code, one, POSSIBLE) for one in slopes(whose))
    if isinstance(inner, ast.BinOp) and isinstance(inner.op, (ast.Add, ast.Sub)) and name in OF_ENTRIES:
        outside = ast.BinOp(with_fields(node, args=[inner.left]), inner.op, inner.right)
        yield "different-function", outside, POSSIBLE


def axis_of(call: ast.Call) -> str:
    """The axis that a call says by keyword."""
    return next((ast.unparse(one.value) for one in call.keywords if one.arg == "axis"), "")


def _as_elsewhere(node: ast.Call, words: Vocabulary) -> Iterator[ast.Call]:
    """The call with the flags that other calls of the same function have."""
    for other in words.flags.get(words.text(node.func), ()):
        more = other.args[len(node.args) :]
        if all(isinstance(one, ast.Constant) for one in more):
            new = with_fields(node, args=[*node.args, *more], keywords=other.keywords)
            if words.text(new) != words.text(node):
                yield new


def _of_another_array(node: ast.Call, words: Vocabulary) -> Iterator[Made]:
    """A reduction to one number, of another array: all have one."""
    if len(node.args) == 1 and words.shape(node) == ():
        for shape, found in words.arrays.items():
            if shape and shape != words.shape(node.args[0]):
                yield from (("wrong-operand", with_fields(node, args=[one]), POSSIBLE) for one in found)


def _turned_before(node: ast.Call, inner: ast.expr, words: Vocabulary) -> Iterator[Made]:
    """An array with its axes in another order, of one whose entries are taken as they come."""
    module = is_module(inner)
    whose = node.args[0] if module and node.args else inner
    axes = len(words.shape(whose) or ())
    if 1 < axes <= MOST_AXES:
        for order in itertools.islice(itertools.permutations(range(axes)), 1, None):
            turned = ast.Attribute(whose, "T", ast.Load()) if axes == 2 else _transposed(whose, order)
            new = with_fields(node, args=[turned, *node.args[1:]]) if module else None
            yield "wrong-axis", new or with_fields(node, func=with_fields(node.func, value=turned)), POSSIBLE


def _transposed(array: ast.expr, order: Sequence[int]) -> ast.Call:
    return ast.Call(ast.Attribute(array, "transpose", ast.Load()), [ast.Constant(one) for one in order], [])


def _along_another_axis(node: ast.Call, words: Vocabulary, is_method: bool) -> Iterator[Made]:
    """A reduction along another axis, where its axis is the last of its arguments, or where it has none."""
    if len(node.args) > (0 if is_method else 1):
        for axis in AXES:
            yield "wrong-axis", with_fields(node, args=[*node.args[:-1], _axis(axis)]), LIKELY
    elif not any(one.arg == "axis" for one in node.keywords):
        yield from _of_another_array(node, words)
        others = [one for one in node.keywords if one.arg != "keepdims"]
        for axis in AXES[:-1]:
            for kept in ([], [KEPT]):
                new = ast.keyword("axis", _axis(axis))
                yield "wrong-axis", with_fields(node, keywords=[*others, new, *kept]), POSSIBLE


def _axis(axis: int | None) -> ast.expr:
    return ast.Constant(None) if axis is None else constant(axis)


def _of_subscripts(node: ast.Call) -> Iterator[Made]:
    """An einsum with two letters of one of its operands exchanged."""
    text = node.args[0].value if isinstance(node.args[0], ast.Constant) else None
    if not isinstance(text, str):
        return
    inputs, arrow, result = text.partition("->")
    operands = inputs.split(",")
    for k, letters in enumerate(operands):
        for i, j in itertools.combinations(range(len(letters)), 2):
            swapped = [*letters]
            swapped[i], swapped[j] = letters[j], letters[i]
            others = [*operands[:k], "".join(swapped), *operands[k + 1 :]]
            subscripts = ast.Constant(",".join(others) + arrow + result)
            yield "not-transposed", with_fields(node, args=[subscripts, *node.args[1:]]), LIKELY


def _is_range(node: Any) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range"


def _of_range(node: ast.Call, code: str) -> Iterator[Made]:
    bounds = list(node.args) if len(node.args) > 1 else [ast.Constant(0), *node.args]
    for i, bound in enumerate(bounds[:2]):
        for other in moved(bound, 1):
            if other is not None:
                args = [other if k == i else one for k, one in enumerate(bounds)]
                args = args[-1:] if i and len(node.args) == 1 else args
                yield code, with_fields(node, args=args), LIKELY


def _in_another_order(arguments: Sequence[ast.expr]) -> Iterator[list[ast.expr]]:
    """The axes of a transpose in other orders, whether they are arguments or a tuple: of many, with one elsewhere."""
    last = arguments[-1] if arguments else None
    axes = list(last.elts) if isinstance(last, (ast.Tuple, ast.List)) else list(arguments)
    if len(axes) < 3 or not all(isinstance(one, ast.Constant) for one in axes):
        return
    for others in list(itertools.permutations(axes))[1:] if len(axes) <= MOST_AXES else _with_one_elsewhere(axes):
        tuple_of_them: list[ast.expr] = [ast.Tuple(list(others), ast.Load())]
        yield [*arguments[:-1], *tuple_of_them] if axes != arguments else list(others)


def _laid_out_otherwise(inner: ast.expr | None, order: Sequence[Any]) -> Iterator[ast.Call]:
    """What `inner`, a reshape, makes with its axes in another order, and then brought into the one that is meant."""
    if not isinstance(inner, ast.Call) or getattr(inner.func, "attr", "") != "reshape":
        return
    lengths = inner.args
    if not 2 < len(lengths) == len(order) <= MOST_AXES or sorted(order, key=repr) != list(range(len(order))):
        return
    for laid in itertools.islice(itertools.permutations(range(len(lengths))), 1, None):
        apart = with_fields(inner, args=[lengths[i] for i in laid])
        yield _transposed(apart, [laid.index(axis) for axis in order])


def _with_one_elsewhere(row: Sequence[ast.expr]) -> Iterator[list[ast.expr]]:
    for i, one in enumerate(row):
        rest = [*row[:i], *row[i + 1 :]]
        yield from ([*rest[:k], one, *rest[k:]] for k in range(len(row)) if k != i)


def wrong_array(parent: Any) -> str:
    """What it is to take another array here: within a function of it, a derivative at another point."""
    curved = isinstance(parent, ast.Compare) or (isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Pow))
    function = isinstance(parent, ast.Call) and getattr(parent.func, "attr", "") in OF_ENTRIES
    own = isinstance(parent, ast.Call) and isinstance(parent.func, ast.Name) and len(parent.args) == 1
    return "derivative-at-wrong-point" if curved or function or own else "wrong-operand"
