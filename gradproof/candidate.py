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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import numpy as np

TIME_LIMIT = float(os.environ.get("GRADPROOF_TIME_LIMIT", "60"))  # seconds that one call of a candidate may take
_OURS = str(Path(__file__).parent)


class TookTooLong(Exception):
    """A candidate did not answer within the time limit."""


@dataclass
class Outcome:
    """What one call came to: its value, or the text of what it raised; and which of its inputs it changed."""

    value: Any = None
    raised: str | None = None
    modified: tuple[str, ...] = ()
    arrays: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)


def copied(value: Any) -> Any:
    """A deep copy of nested dicts, lists, tuples and arrays; anything else as it is."""
    if isinstance(value, dict):
        return {key: copied(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)(copied(one) for one in value)
    if isinstance(value, np.ndarray):
        return value.copy(order="K")
    return value


def call(function: Callable[..., Any], named: dict[str, Any], *arguments: Any, quiet: bool = False) -> Outcome:
    """Call `function` on copies of `arguments`; `named` are the same arguments' arrays, by the names to report.

    NumPy's error state, the warning filters and the standard output are as before afterwards, also where the function
    changes them. `quiet` drops what it prints (a second call should not print everything twice).
    """
    given = copied(arguments)
    watched = dict(zip(named, _flatten(given), strict=True))
    before = {name: value.copy() for name, value in watched.items()}
    printed: contextlib.AbstractContextManager[Any] = (
        contextlib.redirect_stdout(io.StringIO()) if quiet else contextlib.nullcontext()
    )
    outcome = Outcome()
    try:
        with np.errstate(), _kept_filters(), printed, _time_limit(TIME_LIMIT):
            outcome.value = copied(function(*given))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        outcome.raised = _what_was_raised(error)
    outcome.modified = tuple(name for name, value in watched.items() if not _same(value, before[name]))
    return outcome


def _flatten(value: Any) -> Iterator[np.ndarray[Any, Any]]:
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, (list, tuple)):
        for one in value:
            yield from _flatten(one)
    elif isinstance(value, np.ndarray):
        yield value


def arrays_in(arguments: tuple[Any, ...]) -> list[np.ndarray[Any, Any]]:
    """All arrays in nested arguments, in the order in which `call` watches them."""
    return list(_flatten(arguments))


def _same(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype and one.tobytes() == other.tobytes()


@contextlib.contextmanager
def _kept_filters() -> Iterator[None]:
    kept = warnings.filters[:]
    try:
        yield
    finally:
        warnings.filters[:] = kept  # type: ignore[index]


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Interrupt after `seconds`, where the platform can; say after two seconds that there is something to wait for."""
    notice = threading.Timer(2.0, _say, [f"gradproof: the candidate has been running for 2 s (limit {seconds:g} s)"])
    notice.daemon = True
    notice.start()
    usable = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    usable = usable and signal.getitimer(signal.ITIMER_REAL)[0] == 0.0  # somebody else's alarm goes first
    previous = signal.signal(signal.SIGALRM, _stop) if usable else None
    if usable:
        signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        notice.cancel()
        if usable:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, previous)


def _say(line: str) -> None:
    print(line, file=sys.__stderr__, flush=True)


def _stop(signum: int, frame: FrameType | None) -> None:
    raise TookTooLong(f"no answer within {TIME_LIMIT:g} s (GRADPROOF_TIME_LIMIT=600 allows ten minutes)")


def _what_was_raised(error: BaseException) -> str:
    frame, line_number = _last_frame_of_theirs(error.__traceback__)
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if frame is None:
        return f"it raised {what}"
    file = frame.f_code.co_filename
    source, shapes = _statement(file, line_number, frame)
    text = f"it raised {what}\nat {_short(file)}:{line_number}: {source}"
    return text + (f"\nwhere {'; '.join(shapes)}" if shapes else "")


def _last_frame_of_theirs(traceback: TracebackType | None) -> tuple[FrameType | None, int]:
    """The deepest frame that is neither ours nor a library's: the line that its author can change."""
    found: FrameType | None = None
    line = 0
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        library = "site-packages" in file or "dist-packages" in file or file.startswith(("<__array", _OURS))
        standard = file.startswith(os.path.dirname(os.__file__)) and not library
        if not library and not standard:
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
    except SyntaxError:
        return text, []
    around = [node for node in ast.walk(tree) if isinstance(node, ast.stmt) and _covers(node, line)]
    if not around:
        return text, []
    statement = max(around, key=lambda node: node.lineno)
    if not hasattr(statement, "body"):
        text = " ".join(ast.unparse(statement).split())
    shapes = {}
    for node in ast.walk(statement):
        if isinstance(node, (ast.Name, ast.Subscript, ast.Attribute)):
            name = ast.unparse(node)
            value = _look_up(node, frame)
            if isinstance(value, np.ndarray) or type(value).__module__.startswith("torch"):
                shapes[name] = f"{name} has shape {tuple(value.shape)}"
    return text, list(shapes.values())


def _covers(node: ast.stmt, line: int) -> bool:
    return node.lineno <= line <= (node.end_lineno or node.lineno)


def _look_up(node: ast.expr, frame: FrameType) -> Any:
    """The value of a name, or of an entry under a constant or a name; None where it is anything else."""
    if isinstance(node, ast.Name):
        return frame.f_locals.get(node.id, frame.f_globals.get(node.id))
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Subscript):
        holder, key = _look_up(node.value, frame), _look_up(node.slice, frame)
        if isinstance(holder, (dict, list, tuple)) and isinstance(key, (str, int)):
            with contextlib.suppress(LookupError, TypeError):
                return holder[key]  # type: ignore[index]
    return None
