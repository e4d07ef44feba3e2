"""Calling other people's code: whatever it does, something that can be reported comes back."""

from __future__ import annotations

import ast
import contextlib
import io
import linecache
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import numpy as np

TIME_LIMIT = float(os.environ.get("GRADPROOF_TIME_LIMIT", "60"))  # seconds that one call of a candidate may take
PUT_OFF, MOST_PUT_OFF = 1e-3, 100  # seconds by which a ring is put off while Python tidies up, and how often
CALLED_BY_WEAK_REFERENCES = ("weakref.py", "_weakrefset.py", "weak.py")  # of Python, and of torch
NOTICE = 2.0  # seconds after which a reader is told what there is to wait for
_HERE = __file__
_OURS = str(Path(__file__).parent) + os.sep
_STANDARD = os.path.dirname(os.__file__) + os.sep
__tracebackhide__ = True  # a traceback shows the caller's code and the reference's, not ours

_theirs: ContextVar[dict[str, Any] | None] = ContextVar("_theirs", default=None)


class TookTooLong(BaseException):
    """A candidate did not answer within the time limit. No Exception, so that `except Exception` lets it through."""


@dataclass
class Outcome:
    """What one call came to: its value, or the text of what it raised; and which of its inputs it changed."""

    value: Any = None
    raised: str | None = None
    modified: tuple[str, ...] = ()
    given: dict[str, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = field(default_factory=dict)  # and as it was

    def modified_since(self) -> tuple[str, ...]:
        """Which of its inputs are changed by now: what a call keeps without a copy, a later call may write into."""
        return tuple(name for name, (array, copy) in self.given.items() if not _same(array, copy))


@contextlib.contextmanager
def judging() -> Iterator[None]:
    """NumPy's error state for our own arithmetic: silent. Candidates run under the one that the caller had."""
    token = _theirs.set(dict(np.geterr()))
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        _theirs.reset(token)


def copied(value: Any) -> Any:
    """A deep copy of nested dicts, lists, tuples, arrays and tensors; anything else as it is."""
    if isinstance(value, dict):
        return {key: copied(one) for key, one in value.items()}
    if isinstance(value, tuple):
        entries = [copied(one) for one in value]
        return type(value)(*entries) if hasattr(value, "_fields") else tuple(entries)
    if isinstance(value, list):
        return [copied(one) for one in value]
    if isinstance(value, np.ndarray):
        return value.copy(order="K")
    if type(value).__module__.partition(".")[0] == "torch" and hasattr(value, "detach"):
        return value.detach().clone()
    return value


def _handed(value: Any) -> Any:
    """A copy to hand over: NumPy's scalars as arrays, so that a parameter without axes is one in every call."""
    if isinstance(value, dict):
        return {key: _handed(one) for key, one in value.items()}
    return np.array(value) if isinstance(value, np.generic) else copied(value)


def call(function: Callable[..., Any], labels: Sequence[str], *arguments: Any, quiet: bool = False) -> Outcome:
    """Call `function` on copies of `arguments`, whose names for a report are `labels`.

    The entries of a dict with the label "" are called by their keys alone. NumPy's error state, the warning filters and
    the output streams are as before afterwards, also where the function changes them. `quiet` drops what it prints (a
    second call should not print everything twice).
    """
    given = [_handed(one) for one in arguments]
    before = {name: (array, array.copy()) for name, array in _named(labels, given)}
    outcome = Outcome()
    try:
        with guarded(quiet):
            value = function(*given)
        outcome.value = copied(value)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if _is_for_pytest(error):
            raise
        names = ", ".join(label or "params" for label in labels)
        outcome.raised = what_was_raised(error, f"{len(given)} argument{'s' * (len(given) > 1)}: {names}")
    after = dict(_named(labels, given))
    changed = [
        name
        for name, (array, copy) in before.items()
        if after.pop(name, None) is not array or not _same(array, copy)
    ]
    outcome.modified, outcome.given = (*changed, *after), before
    return outcome


def _is_for_pytest(error: BaseException) -> bool:
    """Whether it is a skip, or a stop of the whole run."""
    outcomes = sys.modules.get("_pytest.outcomes")
    return outcomes is not None and isinstance(error, (outcomes.OutcomeException, outcomes.Exit))


def _named(labels: Sequence[str], arguments: Sequence[Any]) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """All arrays in nested arguments, by name."""
    for label, value in zip(labels, arguments, strict=True):
        if isinstance(value, np.ndarray):
            yield label, value
        elif isinstance(value, dict):
            yield from _named([f"{label}[{key!r}]" if label else str(key) for key in value], list(value.values()))
        elif isinstance(value, (list, tuple)):
            yield from _named([f"{label}[{i}]" for i in range(len(value))], value)


def _same(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype and one.tobytes() == other.tobytes()


@contextlib.contextmanager
def guarded(quiet: bool = False) -> Iterator[None]:
    """Run other people's code inside: what it changes around itself is put back, and it is stopped at the time limit.

    Raises TookTooLong where the limit was passed, also where the code has caught that.
    """
    in_force: Any = warnings.filters
    filters = in_force[:]
    nowhere = io.StringIO()
    with contextlib.ExitStack() as stack:
        stack.enter_context(np.errstate(**(_theirs.get() or np.geterr())))
        stack.callback(in_force.__setitem__, slice(None), filters)
        if quiet:
            stack.enter_context(contextlib.redirect_stdout(nowhere))
            stack.enter_context(contextlib.redirect_stderr(nowhere))
        with Alarm(TIME_LIMIT):
            yield


class Alarm:
    """Interrupts after a number of seconds (0: never), where the platform can, and only ever the code inside.

    Raises TookTooLong.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.rings = 0
        self.rings_put_off = 0
        self.done = False
        self.previous: Any = None
        usable = limit > 0 and hasattr(signal, "setitimer")
        usable = usable and threading.current_thread() is threading.main_thread()
        self.usable = usable and signal.getitimer(signal.ITIMER_REAL)[0] == 0.0  # somebody else's alarm goes first

    def __enter__(self) -> None:
        if self.usable:
            self.previous = signal.signal(signal.SIGALRM, self.ring)
            self.told = self.limit <= NOTICE
            signal.setitimer(signal.ITIMER_REAL, self.limit if self.told else NOTICE)

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        self.done = True  # a ring that is already on its way must not set the timer again
        if self.usable:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, self.previous)
        if self.rings and kind is None:
            raise TookTooLong(self.limit)

    def ring(self, signum: int, frame: FrameType | None) -> None:
        if self.done:
            return
        if not self.told:
            self.told = True
            print(f"gradproof: waiting for the code under test (up to {self.limit:g} s)", file=sys.__stderr__)
            signal.setitimer(signal.ITIMER_REAL, self.limit - NOTICE)
            return
        if self.rings_put_off < MOST_PUT_OFF and _lets_nothing_out(frame):
            self.rings_put_off += 1
            signal.setitimer(signal.ITIMER_REAL, PUT_OFF)
            return
        self.rings += 1
        # Code that catches everything is given time to clean up, and then no peace until it lets go.
        signal.setitimer(signal.ITIMER_REAL, min(self.limit, 1.0) if self.rings == 1 else 1e-4)
        if frame is not None and frame.f_code.co_filename not in (_HERE, contextlib.__file__):
            raise TookTooLong(self.limit)


def _lets_nothing_out(frame: FrameType | None) -> bool:
    """Whether Python is tidying up, and would only warn of what is raised there."""
    while frame is not None:
        code = frame.f_code
        if code.co_name == "__del__" or os.path.basename(code.co_filename) in CALLED_BY_WEAK_REFERENCES:
            return True
        frame = frame.f_back
    return False


def what_was_raised(error: BaseException, called_with: str = "") -> str:
    """The text of an exception, the line of its author's that it came from, and the shape of every array on it."""
    frame, line_number = _last_frame_of_theirs(error.__traceback__)
    text = _in_words(error)
    if frame is None:
        return f"{text}\nit was called with {called_with}" if called_with and isinstance(error, TypeError) else text
    file = frame.f_code.co_filename
    source, shapes = _statement(file, line_number, frame)
    text += f"\nat {_short(file)}:{line_number}" + (f"\n  {source}" if source else "")
    return text + (f"\nwhere {'; '.join(shapes)}" if shapes else "")


def _in_words(error: BaseException) -> str:
    if isinstance(error, TookTooLong):
        return f"it did not finish within {error.args[0]:g} s (GRADPROOF_TIME_LIMIT=600 would allow ten minutes)"
    name = type(error).__name__
    try:
        said = " ".join(str(error).split())
    except Exception:
        said = ""
    text = f"it raised {name}" + (f": {said[:500]}{' ...' * (len(said) > 500)}" if said else "")
    if isinstance(error, Warning):
        text += " (a warning, which the filters in force turn into an error)"
    if isinstance(error, SystemExit):
        text += " (exit ends the whole program: leave it out)"
    return text


def is_theirs(file: str) -> bool:
    """Whether a file is neither ours nor a library's: its author can change it."""
    library = "site-packages" in file or "dist-packages" in file or file.startswith(("<__array", "<frozen"))
    return not library and not file.startswith((_OURS, _STANDARD))


def _last_frame_of_theirs(traceback: TracebackType | None) -> tuple[FrameType | None, int]:
    """The deepest frame that is neither ours nor a library's: the line that its author can change."""
    found: FrameType | None = None
    line = 0
    while traceback is not None:
        if is_theirs(traceback.tb_frame.f_code.co_filename):
            found, line = traceback.tb_frame, traceback.tb_lineno
        traceback = traceback.tb_next
    return found, line


def _short(file: str) -> str:
    with contextlib.suppress(ValueError, OSError):
        return str(Path(file).relative_to(Path.cwd()))
    return file


def _statement(file: str, line: int, frame: FrameType) -> tuple[str, list[str]]:
    """The statement at a line, on one line, and the shape of every array that it names."""
    text = linecache.getline(file, line).strip()
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError):
        return text, []
    statement = _innermost(tree, line)
    if statement is None:
        return text, []
    compound = hasattr(statement, "body")  # of `for`, `if` and the like only the first line is meant
    if not compound:
        text = " ".join(ast.unparse(statement).split())
    shapes = {}
    names = [node for node in ast.walk(statement) if isinstance(node, (ast.Name, ast.Subscript, ast.Attribute))]
    for node in sorted(names, key=lambda node: (node.lineno, node.col_offset)):
        if not compound or node.lineno == line:
            value = _look_up(node, frame)
            if isinstance(value, np.ndarray) or type(value).__module__.partition(".")[0] == "torch":
                with contextlib.suppress(Exception):
                    shapes[ast.unparse(node)] = f"{ast.unparse(node)} has shape {tuple(value.shape)}"
    return text, list(shapes.values())


def _innermost(node: ast.AST, line: int) -> ast.stmt | None:
    """The innermost statement that a line belongs to."""
    found = None
    for child in ast.iter_child_nodes(node):
        first = getattr(child, "lineno", None)  # some nodes are nowhere: a case, a list of arguments
        if first is None or first <= line <= (getattr(child, "end_lineno", None) or first):
            found = _innermost(child, line) or (child if isinstance(child, ast.stmt) else found)
    return found


def _look_up(node: ast.expr, frame: FrameType) -> Any:
    """The value of a name, of an entry under a constant or a name, or of an attribute; None where it is another."""
    if isinstance(node, ast.Name):
        return frame.f_locals.get(node.id, frame.f_globals.get(node.id))
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Attribute):
        return getattr(_look_up(node.value, frame), "__dict__", {}).get(node.attr)
    if isinstance(node, ast.Subscript):
        holder, key = _look_up(node.value, frame), _look_up(node.slice, frame)
        if isinstance(holder, (dict, list, tuple)) and isinstance(key, (str, int)):
            with contextlib.suppress(LookupError, TypeError):
                return holder[key]  # type: ignore[index]
    return None
