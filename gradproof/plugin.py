"""The pytest plugin: another file in a subject's place, the catalogue of mistakes, and what each finding code means."""

from __future__ import annotations

import os
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gradproof import subjects
from gradproof.codes import CODES

_PLAYED = pytest.StashKey[dict[str, Path]]()
_TOLD = pytest.StashKey[dict[tuple[frozenset[str], frozenset[tuple[str, str]]], pytest.Item]]()
COLUMNS = 80
_FIXTURES = ("self", "impl", "reference", "report")  # their values would fill the screen above the message


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gradproof", "hand-written gradients against torch")
    group.addoption(
        "--impl",
        action="append",
        default=[],
        metavar="SUBJECT=FILE",
        help="run SUBJECT's tests on your own file (repeatable), for example --impl mlp=my_mlp.py",
    )
    group.addoption(
        "--mistake",
        action="append",
        default=[],
        metavar="SUBJECT/NAME",
        help="run SUBJECT's tests on a file that is wrong on purpose: how they fail is the lesson",
    )
    group.addoption(
        "--hints",
        type=int,
        choices=(1, 2, 3),
        default=3,
        help="how much a failure tells: 1 the numbers and the mistake's name, 2 what it is and where as well,"
        " 3 (the default) the mended formula too",
    )
    group.addoption("--list-subjects", action="store_true", help="list the subjects that --impl can replace, and exit")
    group.addoption("--list-mistakes", action="store_true", help="list the mistakes that --mistake can show, and exit")
    group.addoption("--explain", metavar="CODE", help="explain a finding code, for example wrong-scale, and exit")


def pytest_cmdline_main(config: pytest.Config) -> int | None:
    try:
        if config.option.explain is not None:
            print(explanation(config.option.explain))
        elif config.option.list_subjects:
            print("\n".join(_subject_lines(config.rootpath)))
        elif config.option.list_mistakes:
            print("\n".join(_mistake_lines(config.rootpath)))
        else:
            return None
    except subjects.UnknownName as error:
        raise pytest.UsageError(str(error)) from None
    return 0


def explanation(code: str) -> str:
    """The text on a finding code. Raises UnknownName, with the near codes, where there is none."""
    if code not in CODES:
        raise subjects.UnknownName("finding code", code, list(CODES))
    return (Path(__file__).parent / "explanations" / f"{code}.md").read_text(encoding="utf-8").rstrip()


def _subject_lines(root: Path) -> list[str]:
    found = subjects.find_subjects(root)
    if not found:
        return [f"no subjects here: there is no numpy_impls folder with files in {root}"]
    lines = []
    for name, subject in sorted(found.items()):
        lines += [name, *_below(subjects.first_line(subject.path))]
    return [*lines, "", "your own file in a subject's place: pytest --impl SUBJECT=FILE"]


def _mistake_lines(root: Path) -> list[str]:
    lines = []
    for subject in sorted(subjects.find_subjects(root).values(), key=lambda one: one.name):
        for name, path in subject.mistakes.items():
            lines += [f"{subject.name}/{name}", *_below(subjects.first_line(path))]
    if not lines:
        return [f"no mistakes here: there is no numpy_impls/mistakes folder with files in {root}"]
    return [*lines, "", "see one fail: pytest --mistake SUBJECT/NAME"]


def _below(text: str) -> list[str]:
    return textwrap.wrap(text, COLUMNS, initial_indent="    ", subsequent_indent="    ")


def pytest_configure(config: pytest.Config) -> None:
    played: dict[str, Path] = {}
    try:
        for name, path in [*_own_files(config), *_mistakes(config)]:
            if name in played:
                raise pytest.UsageError(f"only one file can take the place of {name}: --impl or --mistake, and once")
            played[name] = path
    except subjects.UnknownName as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[_PLAYED] = played


def _own_files(config: pytest.Config) -> Iterator[tuple[str, Path]]:
    for option in config.option.impl:
        name, equals, file = option.partition("=")
        if not name or not equals or not file:
            raise pytest.UsageError(f"--impl {option}: give SUBJECT=FILE, for example --impl mlp=my_mlp.py")
        subject = subjects.pick_subject(config.rootpath, name)
        path = (config.invocation_params.dir / Path(file).expanduser()).resolve()
        if not path.is_file():
            raise pytest.UsageError(f"--impl {option}: there is no file {path}")
        _check_functions(subject, path, option)
        yield name, path


def _check_functions(subject: subjects.Subject, path: Path, option: str) -> None:
    """Stop, before any test runs, where a file does not load or lacks what its subject cannot do without."""
    try:
        kind, required = subjects.kind_of(subject.path)
    except LookupError as error:
        raise pytest.UsageError(f"--impl {option}: {error}") from None
    module = _loaded(path, option)
    missing = [name for name in required if not callable(getattr(module, name, None))]
    if missing:
        near = [name for name in dir(module) if not name.startswith("_") and callable(getattr(module, name))]
        raise pytest.UsageError(
            f"--impl {option}: {path.name} has no function {' and no function '.join(missing)}, which a {kind} needs;"
            f" it has {', '.join(near) or 'no function at all'}"
        )


def _loaded(path: Path, option: str) -> ModuleType:
    """Somebody's file as a module. What it changes around itself on being imported is put back."""
    from gradproof.candidate import guarded, what_was_raised  # with NumPy, which listing does without

    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # for the files beside it that it imports
    try:
        with guarded():
            return subjects.load_module(path)
    except KeyboardInterrupt:
        raise
    except SyntaxError as error:
        where = f"{Path(error.filename or path).name}:{error.lineno}"
        source = f"\n  {error.text.strip()}" if error.text else ""
        raise pytest.UsageError(f"--impl {option}: {where}: {error.msg}{source}") from None
    except BaseException as error:
        raise pytest.UsageError(f"--impl {option}: {path.name} does not load: {what_was_raised(error)}") from None


def _mistakes(config: pytest.Config) -> Iterator[tuple[str, Path]]:
    for option in config.option.mistake:
        subject, path = subjects.pick_mistake(config.rootpath, option)
        yield subject.name, path


def pytest_report_header(config: pytest.Config) -> list[str]:
    root = config.rootpath
    return [
        f"gradproof: {name} is {path.relative_to(root) if path.is_relative_to(root) else path}"
        for name, path in config.stash[_PLAYED].items()
    ]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With another file in a subject's place, only that subject's tests run."""
    played = config.stash[_PLAYED]
    if played and collection_path.suffix == ".py" and subject_of(collection_path.stem) not in played:
        return True
    return None


def subject_of(module_name: str) -> str:
    """The subject that a test module is about: test_mlp and bench_mlp are about mlp."""
    stem = module_name.rpartition(".")[2]
    return stem.removeprefix("test_").removeprefix("bench_")


class Implementation:
    """A subject's functions, from whichever file plays it. A test that needs one which is not there is skipped."""

    def __init__(self, module: ModuleType, path: Path) -> None:
        self._module = module
        self._path = path

    def __getattr__(self, name: str) -> Any:
        if hasattr(self._module, name):
            return getattr(self._module, name)
        if name.startswith("__"):  # Python itself is asking
            raise AttributeError(name)
        pytest.skip(f"{self._path.name} has no {name}, which this test is about")

    def __repr__(self) -> str:
        return f"<the functions of {self._path.name}>"


@pytest.fixture(scope="module")
def impl(request: pytest.FixtureRequest) -> Implementation:
    """The hand-written implementation under test: the repository's own, or the file given by --impl or --mistake."""
    root = request.config.rootpath
    name = subject_of(request.module.__name__)
    path = request.config.stash[_PLAYED].get(name)
    if path is None:
        path = subjects.pick_subject(root, name).path
    theirs = any(one.startswith(f"{name}=") for one in request.config.option.impl)
    return Implementation(subjects.load_module(path, None if theirs else root), path)


@pytest.fixture(scope="module")
def reference(request: pytest.FixtureRequest) -> ModuleType:
    """The torch side of the subject under test."""
    root = request.config.rootpath
    subject = subjects.pick_subject(root, subject_of(request.module.__name__))
    return subjects.load_module(subject.reference_path, root)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Tell each mistake once, and how to run that one check again; leave out what only pytest would want to know."""
    error = call.excinfo.value if call.excinfo is not None else None
    ours = _is_mismatch(error)
    if ours:
        _tell(error, item)
    outcome = yield
    if ours:
        longrepr = outcome.get_result().longrepr  # type: ignore[attr-defined]
        crash = getattr(longrepr, "reprcrash", None)
        if crash is not None:
            crash.message = crash.message.split("\n")[0]  # a CI log shows all of it in its summary
        for entry in getattr(getattr(longrepr, "reprtraceback", None), "reprentries", []):
            arguments = getattr(entry, "reprfuncargs", None)
            if arguments is not None:
                arguments.args = [one for one in arguments.args if not _known_already(item, one[0])]


def _is_mismatch(error: BaseException | None) -> bool:
    report = sys.modules.get("gradproof.report")  # not imported here: listing and explaining do without NumPy
    return report is not None and isinstance(error, report.GradientMismatch)


def _known_already(item: pytest.Item, name: str) -> bool:
    """Whether an argument's value says nothing new: our own fixtures', and what the test's id spells out."""
    params = getattr(getattr(item, "callspec", None), "params", {})
    return name in _FIXTURES or (name in params and str(params[name]) in item.name)


def _tell(error: Any, item: pytest.Item) -> None:
    told = item.config.stash.setdefault(_TOLD, {})
    of_what = frozenset(error.report.comparisons)  # the same words may be said of other code
    first = told.setdefault((of_what, error.report.mistakes(error.name)), item)
    told_by = None if first is item else first.name if first.path == item.path else first.nodeid
    error.retell(item.config.option.hints, told_by)
    error.__notes__.append(_indented("again: ", _again(item)))


def _again(item: pytest.Item) -> str:
    """The command that runs this one test. With another file in its subject's place, the name finds it."""
    options = [f"--impl {one}" for one in item.config.option.impl]
    options += [f"--mistake {one}" for one in item.config.option.mistake]
    hints = [f"--hints={item.config.option.hints}"] if item.config.option.hints < 3 else []
    path = os.path.relpath(item.path, item.config.invocation_params.dir)
    if options and re.fullmatch(r"[\w\[\].-]+", item.name):
        name = f'"{item.name}"' if "[" in item.name else item.name
        return " ".join(["pytest", *options, *hints, f"-k {name}"])
    place = f"{path}::{item.nodeid.partition('::')[2]}"
    place = place if re.fullmatch(r"[\w./:-]+", place) else f'"{place}"'
    return " ".join(["pytest", *options, *hints, place])


def _indented(label: str, command: str) -> str:
    """A command behind its label, or below it where the line would be too long; broken where a shell allows it."""
    width = COLUMNS - 8  # pytest's "E       " stands before it
    if len(command) <= width - 2 - len(label):
        return f"  {label}{command}"
    lines = textwrap.wrap(command.replace("-k ", "-k\0"), width - 8, break_long_words=False, break_on_hyphens=False)
    return f"  {label.rstrip()}\n    " + " \\\n      ".join(lines).replace("\0", " ")
