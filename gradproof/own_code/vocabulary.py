"""What a function speaks of: what may belong where it says something else."""

from __future__ import annotations

import ast
import re
import types
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from gradproof.candidate import is_theirs
from gradproof.own_code.running import OwnFunction, Shape, only_looks
from gradproof.own_code.statements import is_moved, with_fields

LIKELIEST, LIKELY, NEARLY, POSSIBLE, LESS_LIKELY, UNLIKELY = 0.8, 1.0, 1.15, 1.3, 1.5, 1.8
LARGEST_COUNT = 1e6
SIZES = ("shape", "size", "ndim")
COLUMN = ast.Tuple([ast.Slice(), ast.Constant(None)], ast.Load())
Made = tuple[str, ast.expr, float]  # the mistake's code, what belongs in an expression's place, and how far-fetched
ENDING = re.compile(r"(.*?\D)(\d+)|(.+)([A-Za-z])")  # a stem, and the number or the letter that tells its kin apart


class Vocabulary:
    """What a function speaks of: its arrays and numbers, and what it multiplies by, divides by and adds elsewhere."""

    def __init__(
        self, function: OwnFunction, sizes: Collection[int] = (), constants: Collection[float] = ()
    ) -> None:
        """`sizes` are the lengths of the parameters' axes, `constants` the numbers that the reference speaks of."""
        self.sizes, self.constants = sizes, constants
        self.function, self.shapes, self.numbers = function, function.shapes, function.numbers
        self.arrays: dict[Shape, list[ast.expr]] = {}
        self.terms: dict[Shape, list[ast.expr]] = {}
        self.factors: dict[Shape, list[ast.expr]] = {}
        self.slopes: dict[Shape, list[ast.expr]] = {}
        self.counts: dict[float, ast.expr] = {}
        self.scalars: list[ast.expr] = []
        self.lengths = [
            ast.parse(f"{name}.shape[{axis}]", mode="eval").body
            for name, shape in function.shapes.items()
            for axis, length in enumerate(shape)
            if name.isidentifier() and length > 1
        ]
        calls = [one for one in ast.walk(function.tree) if isinstance(one, ast.Call)]
        given = (one for call in calls for one in (*call.args, *(keyword.value for keyword in call.keywords)))
        self.modes = {one.value for one in given if isinstance(one, ast.Constant) and isinstance(one.value, str)}
        self.functions: list[ast.expr] = []  # those that it applies to an array, entry by entry
        self.lists = function.lists
        self.names = {called(node) for node in ast.walk(function.tree)} - {""}
        self.endings = {ending for _, ending in map(in_parts, self.names) if ending}
        branches = [one for one in ast.walk(function.tree) if isinstance(one, ast.If)]
        self.before_products = {one.test for one in branches if _scales(one)}
        self.before_sums = {one.test for one in branches if _adds(one)}
        self.varying = _varying(function)
        loops = [one for one in ast.walk(function.tree) if isinstance(one, ast.For) and _is_backwards(one.iter)]
        self.backwards = {node.id for one in loops for node in ast.walk(one.target) if isinstance(node, ast.Name)}
        self.made_of: dict[str, list[ast.expr]] = {}  # for each name, the sums and powers of it and a number
        self.helpers = list(_helpers(function.names))  # the author's own functions, each with how much it takes
        self.loops = {one.iter for one in ast.walk(function.tree) if isinstance(one, ast.For)}
        self.counters = [ast.Name(name, ast.Load()) for name in sorted(set(_counters(function.tree)))]
        self.of_time = set(_of_time(function.tree))  # what loops over time run through
        self._numpy = next((name for name, value in function.names.items() if value is np), None)
        self.indices: dict[Shape, list[ast.expr]] = {}  # what entries of arrays of a shape are taken by
        self.flags: dict[str, list[ast.Call]] = {}  # the calls of each function that say more than an array
        self.assigned_anew = set(_assigned_anew(function.tree))
        self._texts: dict[ast.AST, str] = {}
        self._constant: dict[str, bool] = {}
        seen: set[str] = set()
        unused = (text for text in function.shapes if text.endswith("]") or text.isidentifier())
        entries = [ast.parse(text, mode="eval").body for text in unused]
        for node in [*ast.walk(function.tree), *entries]:
            self._note_what_it_is_made_of(node)
            self._note_an_index(node)
            for kind, one in self._said_by(_read(node)):
                text = kind + self.text(one)
                if text not in seen:
                    seen.add(text)
                    self._learn(kind, one)

    def _note_what_it_is_made_of(self, node: ast.AST) -> None:
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub, ast.Pow)):
            if isinstance(node.right, ast.Constant) and isinstance(node.left, (ast.Name, ast.Subscript, ast.Attribute)):
                known = self.made_of.setdefault(self.text(node.left), [])
                if self.text(node) not in map(self.text, known):
                    known.append(node)

    def _note_an_index(self, node: ast.AST) -> None:
        shape = self.shape(node.value) if isinstance(node, ast.Subscript) else None
        if isinstance(node, ast.Subscript) and shape:
            known = self.indices.setdefault(shape, [])
            if self.text(node.slice) not in map(self.text, known):
                known.append(node.slice)

    def _said_by(self, node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
        if isinstance(node, (ast.Name, ast.Subscript, ast.Attribute)):
            yield "array", node
        if isinstance(node, ast.expr):
            yield "number", node
        if isinstance(node, ast.BinOp):
            if isinstance(node.op, ast.Mult):
                for one in (node.left, node.right):
                    yield "factor", one
                    if isinstance(one, ast.UnaryOp) and isinstance(one.op, ast.USub):
                        yield "factor", one.operand
            elif isinstance(node.op, (ast.Add, ast.Sub)):
                yield from (("term", one) for one in (node.left, node.right))
            elif isinstance(node.op, ast.Div):
                yield "factor", _inverse(node.right)
        if isinstance(node, ast.Call) and len(node.args) == 1 and not node.keywords:
            if self.shape(node.args[0]) and self.shape(node) == self.shape(node.args[0]):
                yield "function", node.func
        if isinstance(node, ast.Call) and _has_flags(node):
            yield "flagged", node
        if isinstance(node, (ast.Assign, ast.AugAssign)):
            yield "term", node.value
            if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Mult):
                yield "factor", node.value

    def _learn(self, kind: str, one: ast.expr) -> None:
        if kind == "function":
            self.functions.append(one)
            return
        if isinstance(one, ast.Call) and kind == "flagged":
            self.flags.setdefault(self.text(one.func), []).append(one)
            return
        text = self.text(divisor(one) if kind == "factor" else one)
        shape, number = self.shapes.get(text), self.numbers.get(text)
        if text in self.function.zeros and isinstance(one, ast.Subscript) and isinstance(one.slice, ast.Constant):
            return  # the first state: as a term it is none, and as a factor it hides what it multiplies
        if kind == "number":
            if number is not None and 1 < number < LARGEST_COUNT and number == round(number):
                known = self.counts.get(number)
                if known is None or len(text) < len(self.text(known)):
                    self.counts[number] = one
            return
        if number is not None:
            counts = isinstance(one, ast.Subscript) and isinstance(one.value, ast.Name) and number == round(number)
            if kind == "array" and (isinstance(one, ast.Name) or counts):
                self.scalars.append(one)
            shape = ()
        if shape is None:
            return
        lists = {"array": self.arrays, "term": self.terms, "factor": self.factors}[kind]
        lists.setdefault(shape, []).append(one)
        if kind == "array" and shape:
            self.slopes.setdefault(shape, []).extend(slopes(one))

    def text(self, node: ast.AST) -> str:
        """An expression as it reads."""
        if node not in self._texts:
            self._texts[node] = ast.unparse(node)
        return self._texts[node]

    def shape(self, node: ast.expr) -> Shape | None:
        text = self.text(node)
        return () if text in self.numbers else self.shapes.get(text)

    def of_numpy(self, function: str) -> ast.expr | None:
        """A function of NumPy's, by the name that the module has here; None where it has none."""
        return None if self._numpy is None else ast.parse(f"{self._numpy}.{function}", mode="eval").body

    def shape_of_new(self, node: ast.expr) -> Shape | None:
        """The shape of an expression that the function does not have; None where that cannot be told."""
        if not only_looks(node, self.function.names):
            return None
        try:
            return tuple(np.shape(eval(self.text(node), dict(self.function.names))))
        except Exception:
            return None

    def others(self, node: ast.expr, known: Sequence[ast.expr]) -> Iterator[ast.expr]:
        """Those of some expressions that read otherwise."""
        return (one for one in known if self.text(one) != self.text(node))

    def shifts(self, node: ast.expr, axis: int, position: ast.expr) -> str:
        """What it is to take another position of something: of what is no sequence of equals, another one.

        An axis as long as one of a parameter has units along it, not steps; but for what a loop runs through backwards.
        """
        shape = self.shape(node) or ()
        in_time = any(isinstance(one, ast.Name) and one.id in self.backwards for one in ast.walk(position))
        of_units = axis < len(shape) and shape[axis] in self.sizes and not in_time
        return "wrong-operand" if of_units or self.text(node) in self.function.mixed else "shifted-in-time"

    def entries_in(self, node: ast.expr) -> list[ast.expr]:
        """The single entries of arrays in an expression."""
        found = {self.text(one): one for one in ast.walk(node) if isinstance(one, ast.Subscript) and one is not node}
        return [one for one in found.values() if self.shape(one) == () and self.shape(one.value)]

    @cached_property
    def positions(self) -> list[ast.expr]:
        """The numbers that may stand in an index."""
        return [one for one in self.scalars if self.text(one) in self.function.whole]

    def other_numbers(self, node: ast.expr, parent: Any) -> Iterator[ast.expr]:
        """The numbers that may stand in another one's place: in an index, those that tell a position."""
        in_index = isinstance(parent, (ast.Subscript, ast.Slice, ast.Tuple)) or is_moved(parent)
        whole = in_index and self.text(node) in self.function.whole
        return self.others(node, self.positions if whole else self.scalars)

    def is_constant(self, node: ast.expr) -> bool:
        """Whether an expression is a number that does not depend on the arrays, and none of an array's entries."""
        text = self.text(node)
        if text not in self._constant:
            self._constant[text] = self._is_constant(node)
        return self._constant[text]

    def _is_constant(self, node: ast.expr) -> bool:
        inner = (one for one in ast.walk(node) if isinstance(one, ast.Subscript))
        varies = any(name in self.varying for name in _read_entries(node))
        return self.shape(node) == () and not varies and not any(self.shape(one.value) for one in inner)

    def columns(self, shape: Shape) -> list[ast.expr]:
        """The arrays that have a number for each row of a matrix, as columns."""
        rows = self.arrays.get(shape[:1], ()) if len(shape) == 2 else ()
        return [ast.Subscript(one, COLUMN, ast.Load()) for one in rows]

    def fitting(self, shape: Shape) -> Iterator[tuple[ast.expr, float]]:
        """The factors that an array of a shape may have, and how far-fetched each is: first those used elsewhere."""
        for table, rank in ((self.factors, POSSIBLE), (self.slopes, LESS_LIKELY)):
            for other, found in table.items():
                if broadcasts(other, shape):
                    yield from ((one, rank) for one in found)
        for other, found in self.arrays.items():
            if other and broadcasts(other, shape):
                if other == shape:
                    yield from ((one, LESS_LIKELY) for one in found)
                yield from ((_inverse(one), UNLIKELY) for one in found)
        yield from ((one, LESS_LIKELY) for column in self.columns(shape) for one in (column, _inverse(column)))


def _helpers(names: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """The names of functions that are no module's of others, each with how many arguments it takes."""
    for name, value in names.items():
        if isinstance(value, types.FunctionType) and is_theirs(value.__code__.co_filename):
            yield name, value.__code__.co_argcount


def _of_time(tree: ast.FunctionDef) -> Iterator[ast.expr]:
    """What a loop runs through from the last to the first, or with an eye on the step before: `h[t - 1]`."""
    for loop in ast.walk(tree):
        if isinstance(loop, ast.For):
            indices = [one.slice for one in ast.walk(loop) if isinstance(one, ast.Subscript)]
            beside = [one for index in indices for one in ast.walk(index) if isinstance(one, ast.BinOp)]
            name = getattr(loop.target, "id", "")
            if _is_backwards(loop.iter) or any(ast.unparse(one) in (f"{name} - 1", f"{name} + 1") for one in beside):
                yield from (one for one in ast.walk(loop.iter) if isinstance(one, ast.Call))


def _counters(tree: ast.FunctionDef) -> Iterator[str]:
    """The names that count the passages of loops."""
    for loop in ast.walk(tree):
        if isinstance(loop, ast.For) and isinstance(loop.target, ast.Name) and "range(" in ast.unparse(loop.iter):
            yield loop.target.id


def _is_backwards(steps: ast.expr) -> bool:
    """Whether a loop runs through its steps from the last to the first."""
    if isinstance(steps, ast.Call) and len(steps.args) == 3:
        return ast.unparse(steps.args[2]).startswith("-")
    return "reversed(" in ast.unparse(steps) or "[::-1]" in ast.unparse(steps)


def _scales(branch: ast.If) -> bool:
    """Whether all that a branch does is to multiply something by something."""
    one = branch.body[0]
    value = one.value if isinstance(one, ast.Assign) else None
    in_place = isinstance(one, ast.AugAssign) and isinstance(one.op, ast.Mult)
    return len(branch.body) == 1 and (in_place or (isinstance(value, ast.BinOp) and isinstance(value.op, ast.Mult)))


def _adds(branch: ast.If) -> bool:
    """Whether all that a branch does is to add something to something."""
    return all(isinstance(one, ast.AugAssign) and isinstance(one.op, (ast.Add, ast.Sub)) for one in branch.body)


def _has_flags(call: ast.Call) -> bool:
    """Whether a call says something in words or numbers besides what it is given first."""
    return bool(call.keywords) or any(isinstance(one, ast.Constant) for one in call.args[1:])


def _varying(function: OwnFunction) -> set[str]:
    """The names that depend on entries of arrays."""
    found = {text for text, shape in function.shapes.items() if shape} | function.single
    made = [(one.value, one) for one in ast.walk(function.tree) if isinstance(one, (ast.Assign, ast.AugAssign))]
    loops = [(one.iter, one) for one in ast.walk(function.tree) if isinstance(one, ast.For)]
    size = -1
    while len(found) > size:
        size = len(found)
        for value, one in (*made, *loops):
            if any(name in found for name in _read_entries(value)):
                targets = one.targets if isinstance(one, ast.Assign) else [one.target]
                names = (node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name))
                found.update(names)
    return found


def _read_entries(node: ast.AST) -> Iterator[str]:
    """The names in an expression of which more than the size is asked."""
    if isinstance(node, ast.Name):
        yield node.id
    elif not (isinstance(node, ast.Attribute) and node.attr in SIZES) and not _is_length(node):
        for one in ast.iter_child_nodes(node):
            yield from _read_entries(one)


def _is_length(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("len", "range")


def _assigned_anew(tree: ast.AST) -> Iterator[ast.stmt]:
    """The assignments to what has been assigned to before, in the same passage of the same lines."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        seen: set[str] = set()
        for one in body if isinstance(body, list) else ():
            if isinstance(one, ast.Assign):
                targets = {ast.unparse(target) for target in one.targets}
                if targets <= seen:
                    yield one
                seen |= targets


def _read(node: ast.AST) -> Any:
    """What is assigned to, as it is used."""
    if not isinstance(node, (ast.Name, ast.Subscript, ast.Attribute)) or isinstance(node.ctx, ast.Load):
        return node
    return with_fields(node, ctx=ast.Load())


def divisor(one: ast.expr) -> ast.expr:
    """x of 1 / x; anything else as it is."""
    return one.right if isinstance(one, ast.BinOp) and is_inverse(one) else one


def _inverse(one: ast.expr) -> ast.expr:
    return ast.BinOp(ast.Constant(1.0), ast.Div(), one)


def is_inverse(one: ast.expr) -> bool:
    return isinstance(one, ast.BinOp) and isinstance(one.op, ast.Div) and isinstance(one.left, ast.Constant)


def slopes(a: ast.expr) -> Iterator[ast.expr]:
    """The derivatives of tanh, of a sigmoid and of a ReLU from what they give, and parts of these."""
    one = ast.Constant(1)
    yield ast.BinOp(one, ast.Sub(), ast.BinOp(a, ast.Pow(), ast.Constant(2)))
    yield ast.BinOp(a, ast.Mult(), ast.BinOp(one, ast.Sub(), a))
    yield ast.Compare(a, [ast.Gt()], [ast.Constant(0)])
    yield ast.BinOp(one, ast.Sub(), a)
    yield a


def broadcasts(shape: Shape, to: Shape) -> bool:
    try:
        return np.broadcast_shapes(shape, to) == to
    except ValueError:
        return False


def called(node: ast.AST) -> str:
    """The name or the key that an expression is."""
    name = node.id if isinstance(node, ast.Name) else node.value if isinstance(node, ast.Constant) else ""
    return name if isinstance(name, str) else ""


def in_parts(name: str) -> tuple[str, str]:
    """A name's stem and its ending; both empty where it has none."""
    parts = ENDING.fullmatch(name)
    return (parts[1] or parts[3], parts[2] or parts[4]) if parts else ("", "")
