"""The candidate's own code with small changes in it: which one would make its numbers right?

The functions that a call runs are taken apart into statements. All changes that are to be tried are compiled into these
functions at once, each behind a switch (mutant schemata: Untch, Offutt and Harrold 1993), and the functions' code is
exchanged for as long as the trying takes; whatever stands around a function (a class, a closure, functools.partial)
stays as it is. Nothing is tried in code that reaches beyond numbers, such as files or other processes.
"""

from __future__ import annotations
import __future__

import ast
import contextlib
import gc
import io
import linecache
import sys
import time
import types
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from gradproof import candidate as candidates
from gradproof.case import Problem
from gradproof.oracles import Array, Arrays
from gradproof.own_code.notes import NOTE, Notes

SWITCH = "_gradproof_switch"  # the name under which the functions find which changes are on
CHANGED = "_gradproof_changed"  # the name of a changed function while it is made
NUMERICAL = frozenset("numpy scipy math cmath itertools functools collections operator typing copy torch".split())
BEYOND = frozenset(
    "open exec eval compile input breakpoint exit quit __import__ globals setattr delattr write writelines save savez"
    " savez_compressed savetxt tofile dump dumps load memmap fromfile system remove unlink send seed".split()
)
COUNTING = frozenset("len abs min max sum float int range".split())  # functions that only look
LOOKING = frozenset(
    "sum mean max min prod std var argmax argmin any all copy astype reshape transpose swapaxes squeeze ravel flatten"
    " cumsum dot repeat clip conj round item".split()
)
CHANGING = frozenset("append extend insert update setdefault pop popitem clear remove discard".split())
WRITING = frozenset("at put place copyto putmask fill_diagonal shuffle".split())  # of NumPy's functions
NESTED = (ast.Lambda, ast.ListComp, ast.DictComp, ast.SetComp, ast.GeneratorExp, ast.NamedExpr)
FUTURE = __future__.annotations.compiler_flag
SLOWEST = 0.25  # seconds that a call may take for its changes to be tried
SHORTEST, LONGEST = 0.02, 1.0  # seconds that a changed call is given at least and at most
PATIENCE = 10.0  # times as long as usual, after which a changed call is given up
MOST_ENTRIES = 40  # of a list or a dict, that are looked at
Shape = tuple[int, ...]


@dataclass
class OwnFunction:
    """One function of the candidate's: its tree, and what its expressions were at the end of a call."""

    function: types.FunctionType
    tree: ast.FunctionDef
    shapes: dict[str, Shape] = field(default_factory=dict)  # of every array, by the expression's text
    numbers: dict[str, float] = field(default_factory=dict)  # every plain number likewise
    whole: set[str] = field(default_factory=set)  # the numbers that count something, or tell a position
    lists: dict[str, int] = field(default_factory=dict)  # the length of each list or dict of numbers, or of arrays
    mixed: set[str] = field(default_factory=set)  # the lists of names, or of arrays of several shapes
    complex: set[str] = field(default_factory=set)  # the arrays of complex numbers
    single: set[str] = field(default_factory=set)  # the arrays without axes, which are numbers as well
    zeros: set[str] = field(default_factory=set)  # the arrays of nothing but zeros
    names: dict[str, Any] = field(default_factory=dict)  # what its names stood for at that time

    @property
    def file(self) -> str:
        return self.function.__code__.co_filename


@dataclass
class OwnCode:
    """The functions of a candidate, and how to call it."""

    candidate: Callable[..., Any]
    functions: list[OwnFunction]
    seconds: float  # that a call takes
    on: dict[int, int] = field(default_factory=dict)  # for each statement that is changed, which of its alternatives
    notes: Notes = field(default_factory=Notes)  # of what the lines have made, where they are changed to note it

    def answer(self, problem: Problem) -> tuple[float | None, Arrays] | None:
        """The loss and the gradients with the changes that are on; None where they are not all there."""
        params, data = candidates.copied((problem.params, problem.data))
        patience = min(max(SHORTEST, PATIENCE * self.seconds), LONGEST)
        try:
            with candidates.Alarm(patience):
                loss, gradients = self.candidate(params, *data)
            made = {name: np.asarray(gradients[name]) for name in problem.params}
            number = None if loss is None else float(np.asarray(loss).reshape(()))
        except (Exception, candidates.TookTooLong):
            return None
        usable = all(_usable(made[name], right) for name, right in problem.params.items())
        return (number, candidates.copied(made)) if usable and len(gradients) == len(made) else None

    def seen(self, function: OwnFunction, line: int, texts: Sequence[str], problem: Problem) -> list[list[Any]]:
        """What expressions stood for each time that a call reached a line; nothing where one of them stood for nothing.

        A line that goes on over others is reached more than once: what was there already is not noted again.
        """
        found: list[list[Any]] = []

        def of_line(frame: types.FrameType, event: str, arg: Any) -> Any:
            if event == "line" and frame.f_lineno == line:
                with contextlib.suppress(Exception):
                    there = [eval(text, frame.f_globals, frame.f_locals) for text in texts]
                    if not found or not all(map(np.array_equal, there, found[-1])):
                        found.append(candidates.copied(there))
            return of_line

        usual, before = function.function.__code__, sys.gettrace()
        sys.settrace(lambda frame, event, arg: of_line if frame.f_code is usual else None)
        try:
            self.answer(problem)
        finally:
            sys.settrace(before)
        return found

    @contextlib.contextmanager
    def exchanged(self, changed: Sequence[ast.FunctionDef]) -> Iterator[None]:
        """Within it, the functions do as these trees say. Raises NotOurs where one of them cannot be exchanged."""
        usual = [one.function.__code__ for one in self.functions]
        trees = zip(self.functions, changed, usual, strict=True)
        made = [code if tree is one.tree else _compiled(one.function, tree) for one, tree, code in trees]
        spaces = [one.function.__globals__ for one in self.functions]
        nowhere = io.StringIO()
        try:
            for space in spaces:
                space[SWITCH], space[NOTE] = self.on, self.notes
            for one, code in zip(self.functions, made, strict=True):
                one.function.__code__ = code
            with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
                with warnings.catch_warnings(), np.errstate(all="ignore"):
                    warnings.simplefilter("ignore")
                    yield
        finally:
            for one, before in zip(self.functions, usual, strict=True):
                one.function.__code__ = before
            for space in spaces:
                space.pop(SWITCH, None)
                space.pop(NOTE, None)


def _usable(made: Array, right: Array) -> bool:
    return made.shape == right.shape and made.dtype.kind == "f" and bool(np.all(np.isfinite(made)))


class NotOurs(Exception):
    """Code that is not to be changed, or cannot be."""


def own_code(candidate: Callable[..., Any], problem: Problem) -> OwnCode | None:
    """What a candidate's call runs; None where changes of it cannot be tried, or should not be."""
    watch = _Watch()
    code = OwnCode(candidate, [], SLOWEST)
    started = time.perf_counter()
    first = code.answer(problem)
    code.seconds = time.perf_counter() - started
    if first is None or code.seconds > SLOWEST:
        return None
    before = sys.gettrace()  # a profiler is left alone: cProfile's cannot be put back from here
    sys.settrace(watch)
    try:
        code.answer(problem)
    finally:
        sys.settrace(before)
    try:
        inner = {one for each in watch.found for one in each.co_consts if isinstance(one, types.CodeType)}
        code.functions = [_taken_apart(one, watch.names(one)) for one in watch.found if one not in inner]
    except NotOurs:
        return None
    return code if code.functions else None


class _Watch:
    """Which of the author's functions are called, and the names in each at the end of the first call that had most."""

    def __init__(self) -> None:
        self.found: dict[types.CodeType, dict[str, Any]] = {}
        self._counts: dict[types.CodeType, int] = {}

    def __call__(self, frame: types.FrameType, event: str, arg: Any) -> Callable[..., Any] | None:
        code = frame.f_code
        if not candidates.is_theirs(code.co_filename) or code.co_name.startswith("<"):
            return None
        frame.f_trace_lines = False
        return self._at_return

    def names(self, code: types.CodeType) -> dict[str, Any]:
        """What the names of a function stood for, and those of the functions that are defined within it."""
        inner = [one for one in _within(code) if one in self.found]
        return {**{name: value for one in inner for name, value in self.found[one].items()}, **self.found[code]}

    def _at_return(self, frame: types.FrameType, event: str, arg: Any) -> Callable[..., Any]:
        code, own = frame.f_code, frame.f_locals
        if event == "return" and (code not in self.found or len(own) > self._counts[code]):
            self.found[code], self._counts[code] = {**frame.f_globals, **own}, len(own)
        return self._at_return


def _within(code: types.CodeType) -> Iterator[types.CodeType]:
    for one in code.co_consts:
        if isinstance(one, types.CodeType):
            yield one
            yield from _within(one)


def _taken_apart(code: types.CodeType, names: dict[str, Any]) -> OwnFunction:
    function = next((one for one in _likely_functions(code, names) if _is_function_of(one, code)), None)
    tree = _tree(code)
    if function is None or tree is None:
        raise NotOurs(code.co_name)
    _check_that_it_is_numerical(tree, names)
    one = OwnFunction(function, tree, names=names)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _look_at(one, names)
    return one


def _likely_functions(code: types.CodeType, names: dict[str, Any]) -> Iterator[Any]:
    """What a code may be of: the function or method of that name, and what the slow search for its users finds."""
    yield names.get(code.co_name)
    yield getattr(type(names.get("self")), code.co_name, None)
    yield from gc.get_referrers(code)


def _is_function_of(one: Any, code: types.CodeType) -> bool:
    return isinstance(one, types.FunctionType) and one.__code__ is code


def _tree(code: types.CodeType) -> ast.FunctionDef | None:
    """The definition that a code was made of, as it stands in its file now."""
    try:
        file = ast.parse("".join(linecache.getlines(code.co_filename)))
    except (SyntaxError, ValueError):
        return None
    for node in ast.walk(file):
        if isinstance(node, ast.FunctionDef) and node.name == code.co_name:
            if code.co_firstlineno in (node.lineno, *(one.lineno for one in node.decorator_list)):
                return node
    return None


def _check_that_it_is_numerical(tree: ast.FunctionDef, names: dict[str, Any]) -> None:
    """Raise NotOurs unless a function keeps to numbers: it is going to be run with changes in it."""
    own = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    own |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    for node in ast.walk(tree):
        if _changes(node) and _root(node) not in own and not _is_module(_root(node), names):
            raise NotOurs("it changes what is not its own")
        if isinstance(node, (ast.Global, ast.Nonlocal, ast.Await)):
            raise NotOurs("it is more than a function of its arguments")
        modules = [one.name for one in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if isinstance(node, ast.Name) and _is_module(node.id, names):
            modules.append(names[node.id].__name__)
        called = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
        if called in BEYOND or any(one.partition(".")[0] not in NUMERICAL for one in modules):
            raise NotOurs(called or modules[0])


def _is_module(name: str, names: dict[str, Any]) -> bool:
    return isinstance(names.get(name), types.ModuleType)


def _changes(node: ast.AST) -> bool:
    """Whether an expression changes a part of something, such as a list or a dict."""
    if isinstance(node, (ast.Subscript, ast.Attribute)):
        return not isinstance(node.ctx, ast.Load) or (isinstance(node, ast.Attribute) and node.attr in CHANGING)
    return False


def _root(node: ast.AST) -> str:
    """The name of what an expression is a part of; empty where it has none."""
    while isinstance(node, (ast.Subscript, ast.Attribute)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _look_at(one: OwnFunction, names: dict[str, Any]) -> None:
    """Note what the expressions of a function were, those of which looking changes nothing."""
    plain = [node for node in ast.walk(one.tree) if isinstance(node, ast.expr) and only_looks(node, names)]
    arguments = [node.arg for node in ast.walk(one.tree) if isinstance(node, ast.arg)]  # some may be used nowhere
    for text in dict.fromkeys([*map(ast.unparse, plain), *arguments, *_entries(one.tree, names)]):
        try:
            value = eval(text, dict(names))
        except Exception:
            continue
        if isinstance(value, torch.Tensor) and value.layout is torch.strided:
            value = value.detach().numpy()
        if isinstance(value, (int, float, np.number)) and not isinstance(value, bool):
            one.numbers[text] = float(value)
            if isinstance(value, (int, np.integer)):
                one.whole.add(text)
        elif isinstance(value, np.ndarray) and value.dtype.kind == "f" and not value.ndim:
            one.numbers[text] = float(value)
            one.single.add(text)
        elif isinstance(value, np.ndarray) and value.dtype.kind in "fciub":
            one.shapes[text] = value.shape
            if not value.any():
                one.zeros.add(text)
            if value.dtype.kind == "c":
                one.complex.add(text)
        elif _is_mixed(value):
            one.mixed.add(text)
        elif isinstance(value, (list, tuple, dict)):
            one.lists[text] = len(value)


def _is_mixed(value: Any) -> bool:
    """Whether a list's entries are no steps of the same."""
    if not isinstance(value, (list, tuple)) or len(value) < 2:
        return False
    return len({np.shape(one) if isinstance(one, np.ndarray) else None for one in value}) > 1 or all(
        isinstance(one, str) for one in value
    )


def _entries(tree: ast.FunctionDef, names: dict[str, Any]) -> Iterator[str]:
    """The entries of a function's dicts, and of its lists at the positions that it speaks of."""
    known = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    indices = [node.slice for node in ast.walk(tree) if isinstance(node, ast.Subscript)]
    positions = {ast.unparse(one) for one in indices if not isinstance(one, (ast.Slice, ast.Tuple, ast.Constant))}
    targets = [one.target for one in ast.walk(tree) if isinstance(one, ast.For)]
    positions |= {one.id for one in targets if isinstance(one, ast.Name)}
    for name in sorted(known & names.keys()):
        value = names[name]
        if isinstance(value, dict):
            yield from (f"{name}[{key!r}]" for key in list(value)[:MOST_ENTRIES] if isinstance(key, str))
        elif isinstance(value, list):
            yield from (f"{name}[{position}]" for position in sorted(positions))


def only_looks(expression: ast.expr, names: dict[str, Any]) -> bool:
    """Whether an expression calls nothing but NumPy's functions and methods that make new arrays."""
    for node in ast.walk(expression):
        if isinstance(node, NESTED):
            return False
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Attribute):
                root = function.value
                module = isinstance(root, ast.Name) and _is_module(root.id, names)
                if not (module and function.attr not in WRITING) and function.attr not in LOOKING:
                    return False
            elif not isinstance(function, ast.Name) or function.id not in COUNTING:
                return False
    return True


def _compiled(function: types.FunctionType, tree: ast.FunctionDef) -> types.CodeType:
    """A tree as code that a function can be given. Raises NotOurs where it closes over other names."""
    usual = function.__code__
    # Under another name: its own one is what it calls itself by, and is known where it was defined.
    plain = ast.FunctionDef(**{**vars(tree), "name": CHANGED, "decorator_list": []})
    arguments = [ast.arg(name) for name in usual.co_freevars]
    around = ast.FunctionDef(
        name="around", args=ast.arguments([], arguments, None, [], [], None, []), body=[plain], decorator_list=[]
    )
    if sys.version_info >= (3, 12):
        around.type_params = []
    module = ast.fix_missing_locations(ast.Module([around], []))
    flags = usual.co_flags & FUTURE
    outer = compile(module, usual.co_filename, "exec", flags=flags, dont_inherit=True).co_consts
    within = (found for one in outer if isinstance(one, types.CodeType) for found in one.co_consts)
    made = next((found for found in within if isinstance(found, types.CodeType)), None)
    if made is None or made.co_freevars != usual.co_freevars:
        raise NotOurs(usual.co_name)
    return made.replace(co_name=usual.co_name)
