"""The corpus that the judge is measured on: models that it has never seen, written right, and written wrong.

Each file in `models/` holds a `reference` in torch, a right `candidate` in NumPy with its helper functions, and a
`problem(rng) -> (params, data)`. The wrong candidates are made by replacing text of the right one, so that a mistake is
exactly as large as it looks in the list. In a candidate the line `loss = ...` comes before the gradients.

A file's number decides which part it belongs to. Those of `HELD_OUT` are held out: nobody looks at how the judge does
on them while building it, so that their figures say what it does on code that nobody tuned it to. The others are open:
the judge may be improved on all of them.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import linecache
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from tests.judge.innocents import STYLES, float32, rounded

ALL_STYLES = {**STYLES, "float32": float32}
MODELS = Path(__file__).parent / "models"
NOT_THE_CANDIDATES = {"reference", "problem", "nudge"}
HELD_OUT = frozenset((*range(85, 92, 2), *range(101, 126, 2), *range(142, 146)))
ANY = "any"  # a code that the mistake does not determine: whether it is caught is measured, not how it is named

Change = tuple[str, str]


@dataclass(frozen=True)
class Edit:
    """A name, the texts to replace in the right candidate, and the codes of each mistake that this makes.

    One mistake is one string of `codes`, in which names that are equally right are separated by `|`.
    """

    name: str
    codes: tuple[str, ...]
    changes: tuple[Change, ...]


def wrong(name: str, codes: str | tuple[str, ...], *texts: str) -> Edit:
    """A wrong candidate: `texts` are old and new in turn. Several codes (a tuple) are several mistakes at once."""
    return Edit(name, (codes,) if isinstance(codes, str) else codes, _pairs(texts))


def right(name: str, *texts: str) -> Edit:
    """A right candidate in another style."""
    return Edit(name, (), _pairs(texts))


def _pairs(texts: tuple[str, ...]) -> tuple[Change, ...]:
    return tuple(zip(texts[::2], texts[1::2], strict=True))


@dataclass(frozen=True)
class Variant:
    """One candidate of the corpus."""

    model: Model
    name: str
    origin: str  # hand, machine or right
    codes: tuple[str, ...]
    source: str
    style: str = ""  # one of innocents.STYLES, or float32

    def __str__(self) -> str:
        return f"{self.model.name}:{self.name}"

    @cached_property
    def candidate(self) -> Callable[..., Any]:
        plain = self.model.built(self.source, self.name)
        return ALL_STYLES[self.style](plain) if self.style else plain

    def problem(self) -> tuple[dict[str, np.ndarray], tuple[np.ndarray, ...]]:
        params, data = self.model.problem()
        if self.style != "float32":
            return params, data
        return {name: rounded(value) for name, value in params.items()}, tuple(rounded(value) for value in data)


@dataclass(frozen=True)
class Model:
    """One file of `models/`."""

    name: str

    @cached_property
    def module(self) -> ModuleType:
        return importlib.import_module(f"tests.judge.models.{self.name}")

    @property
    def number(self) -> int:
        return _number(self.name)

    @property
    def part(self) -> str:
        return "held out" if self.number in HELD_OUT else "open"

    @property
    def reference(self) -> Callable[..., Any]:
        reference: Callable[..., Any] = self.module.reference
        return reference

    @property
    def batch_axis(self) -> int | None:
        axis: int | None = getattr(self.module, "BATCH_AXIS", 0)
        return axis

    def problem(self, seed: int = 0) -> tuple[dict[str, np.ndarray], tuple[np.ndarray, ...]]:
        params, data = self.module.problem(np.random.default_rng(seed))
        return params, data

    @cached_property
    def source(self) -> str:
        """The candidate and its helpers: every function of the file that is not torch's or the problem's."""
        text = Path(str(self.module.__file__)).read_text(encoding="utf-8")
        lines = text.split("\n")
        functions = [
            "\n".join(lines[node.lineno - 1 : node.end_lineno])
            for node in ast.parse(text).body
            if isinstance(node, ast.FunctionDef) and node.name not in NOT_THE_CANDIDATES
        ]
        return "\n\n\n".join(functions) + "\n"

    def built(self, source: str, name: str) -> Callable[..., Any]:
        """The function `candidate` of a source text, whose lines a traceback can show."""
        digest = hashlib.sha1(source.encode()).hexdigest()[:8]
        file = f"{self.name}-{name}-{digest}.py"
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        namespace: dict[str, Any] = {"np": np, "math": math}
        exec(compile(source, file, "exec"), namespace)
        function: Callable[..., Any] = namespace["candidate"]
        return function

    def edited(self, edit: Edit, origin: str) -> Variant:
        return Variant(self, edit.name, origin, edit.codes, self._replaced(edit.name, edit.changes))

    def _replaced(self, name: str, changes: Iterable[Change]) -> str:
        source = self.source
        for old, new in changes:
            if source.count(old) != 1:
                raise ValueError(
                    f"{self.name}:{name}: the text to replace stands there {source.count(old)} times: {old}"
                )
            source = source.replace(old, new)
        return source

    @property
    def singles(self) -> list[Edit]:
        edits: list[Edit] = self.module.WRONG
        return edits

    @property
    def hand_written(self) -> list[Variant]:
        """The wrong candidates of the list, and those of `TOGETHER`: two or three of them in one candidate."""
        named = {edit.name: edit for edit in self.singles}
        combined = [_together([named[one] for one in names]) for names in getattr(self.module, "TOGETHER", [])]
        return [self.edited(edit, "hand") for edit in [*self.singles, *combined]]

    @property
    def right(self) -> list[Variant]:
        """The candidate as it stands, the other forms of the file, and the candidate in every style of `innocents`."""
        edits: list[Edit] = [Edit("as_it_stands", (), ()), *getattr(self.module, "RIGHT", [])]
        plain = [self.edited(edit, "right") for edit in edits]
        return plain + [Variant(self, style, "right", (), self.source, style) for style in ALL_STYLES]


def _together(edits: list[Edit]) -> Edit:
    codes = tuple(code for edit in edits for code in edit.codes)
    return Edit("+".join(edit.name for edit in edits), codes, tuple(one for edit in edits for one in edit.changes))


def _number(name: str) -> int:
    """12 of m12_conv_maxpool."""
    return int(name.partition("_")[0].removeprefix("m"))


def models(only: str | None = None) -> list[Model]:
    """All models, or those whose name contains `only`; in the order of their numbers."""
    names = sorted((path.stem for path in MODELS.glob("m[0-9]*_*.py")), key=_number)
    chosen = [name for name in names if only is None or only in name]
    return [Model(name) for name in chosen]
