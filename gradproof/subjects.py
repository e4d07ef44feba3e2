"""Finding subjects and mistakes by the names of their files. Needs no torch: listing them is instant."""

from __future__ import annotations

import ast
import difflib
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

KINDS = {
    "model": ("loss_and_grads",),
    "layer": ("forward", "backward"),
    "update rule": ("step",),
}


class UnknownName(LookupError):
    """A subject, mistake or code that does not exist; the message names the near ones."""

    def __init__(self, what: str, name: str, known: list[str]) -> None:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
        hint = f"did you mean {_either(near)}?" if near else f"there are: {', '.join(known) or 'none'}"
        super().__init__(f"no {what} named {name!r}; {hint}")


def _either(names: list[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


@dataclass(frozen=True)
class Subject:
    """One hand-written implementation and the torch file beside it, which has the same topic and name."""

    name: str
    topic: str
    root: Path

    @property
    def path(self) -> Path:
        return self.root / "numpy_impls" / self.topic / f"{self.name}.py"

    @property
    def reference_path(self) -> Path:
        return self.root / "reference_impls" / self.topic / f"{self.name}.py"

    @property
    def mistakes(self) -> dict[str, Path]:
        folder = self.root / "numpy_impls" / "mistakes" / self.name
        return {path.stem: path for path in sorted(folder.glob("*.py")) if not path.name.startswith("_")}


def find_subjects(root: Path) -> dict[str, Subject]:
    """All subjects below `root`, by name: every `numpy_impls/<topic>/<subject>.py` outside `mistakes`."""
    found = {}
    for path in sorted((root / "numpy_impls").glob("*/*.py")):
        topic = path.parent.name
        if topic != "mistakes" and not path.name.startswith("_"):
            found[path.stem] = Subject(path.stem, topic, root)
    return found


def pick_subject(root: Path, name: str) -> Subject:
    """The subject called `name`. Raises UnknownName, with the near names, where there is none."""
    subjects = find_subjects(root)
    if name not in subjects:
        raise UnknownName("subject", name, list(subjects))
    return subjects[name]


def pick_mistake(root: Path, name: str) -> tuple[Subject, Path]:
    """The file of the mistake `SUBJECT/NAME`. Raises UnknownName, with the near names, where there is none."""
    subject_name, _, mistake = name.partition("/")
    subject = pick_subject(root, subject_name)
    if mistake not in subject.mistakes:
        raise UnknownName("mistake", name, [f"{subject_name}/{known}" for known in subject.mistakes])
    return subject, subject.mistakes[mistake]


def load_module(path: Path, root: Path | None = None) -> ModuleType:
    """Import the file at `path`, once: under its dotted name where it lies below `root`, else under one of its own."""
    name = f"gradproof_candidate_{path.stem}_{abs(hash(path))}"
    if root is not None and path.is_relative_to(root):
        name = ".".join(path.relative_to(root).with_suffix("").parts)
    loaded = sys.modules.get(name)
    if loaded is not None and Path(loaded.__file__ or "") == path:
        return loaded
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path.name} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def functions_in(path: Path) -> set[str]:
    """The names that a file defines or imports at its top level, read without running it."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
        elif isinstance(node, ast.Assign):
            names.update(target.id for target in node.targets if isinstance(target, ast.Name))
    return names


def kind_of(path: Path) -> tuple[str, tuple[str, ...]]:
    """What kind of subject a file holds, and the functions that this kind must have."""
    names = functions_in(path)
    for kind, required in KINDS.items():
        if set(required) <= names:
            return kind, required
    kinds = ", ".join(f"{' and '.join(required)} (a {kind})" for kind, required in KINDS.items())
    raise LookupError(f"{path.name} holds no subject; one defines {kinds}")


def first_line(path: Path) -> str:
    """The first line of a file's docstring, read without running it ('' where there is none)."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.split("\n")[0]
