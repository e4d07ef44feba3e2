"""A benchmark file as the harness sees it, and the assert that all its forms compute the same.

A benchmark file `tests/<topic>/bench_<subject>.py` defines

    SIZES, UNIT      three or more sizes, and what they count: (4, 64, 1024), "samples"
    FORMS            the forms that race: ("loop", "vectorised", "tuned", "torch")
    contestants(impl, reference, size, dtype=np.float64)
                     {form: function without arguments}, all on the same arrays, each returning (loss, grads)
    test_speed(race) which calls race(contestants)

and may define

    AXES             further quantities whose growth is measured: {"steps": (5, 20, 80)}. `contestants` takes each as a
                     keyword, and has a default for it
    extra_contestants(impl, reference, size, dtype=np.float64)
                     other libraries, which only the table asks for: {"torch.nn": function}. It takes each of AXES
                     as a keyword too
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from gradproof.subjects import Subject, find_subjects, load_module

Contestants = dict[str, Callable[[], Any]]

# Between two forms that sum in another order, relative to the norm of each array.
TOLERANCE = {"float64": 1e-10, "float32": 1e-4}


@dataclass(frozen=True)
class Contest:
    """One subject's benchmark file beside the two modules that race in it."""

    subject: str
    module: ModuleType
    impl: Any
    reference: Any
    make: Callable[..., Contestants]

    @property
    def unit(self) -> str:
        return self.module.UNIT

    @property
    def axes(self) -> dict[str, tuple[int, ...]]:
        """All quantities along which the cost is measured; the first is the one that SIZES counts."""
        return {self.unit: tuple(self.module.SIZES), **getattr(self.module, "AXES", {})}

    @property
    def forms(self) -> tuple[str, ...]:
        return tuple(self.module.FORMS)

    @property
    def hand_written(self) -> str:
        """The form that races at every size: the tuned one where there is one, else the vectorised."""
        return "tuned" if "tuned" in self.forms else "vectorised"

    def contestants(self, axis: str, value: int, dtype: str = "float64", extra: bool = False) -> Contestants:
        """The functions that race where `axis` has this value, in the order of FORMS. Too slow ones may be missing."""
        size, others = (value, {}) if axis == self.unit else (self._middle, {axis: value})
        found = self.make(self.impl, self.reference, size, np.dtype(dtype), **others)
        unknown = set(found) - set(self.forms)
        if unknown or self.hand_written not in found:
            raise ValueError(
                f"{self.module.__name__}: contestants() gave {', '.join(found)}; FORMS says {', '.join(self.forms)}"
            )
        ordered = {form: found[form] for form in self.forms if form in found}
        if extra and hasattr(self.module, "extra_contestants"):
            ordered |= self.module.extra_contestants(self.impl, self.reference, size, np.dtype(dtype), **others)
        return ordered

    @property
    def _middle(self) -> int:
        return self.module.SIZES[len(self.module.SIZES) // 2]

    def check(self, axis: str, value: int, dtype: str = "float64", extra: bool = False) -> None:
        """Call every form once, on arrays of its own. Raises AssertionError where two of them differ."""
        __tracebackhide__ = True
        results = {name: call() for name, call in self.contestants(axis, value, dtype, extra).items()}
        assert_equal(results, TOLERANCE[dtype], f"{self.subject}, {value:,} {axis}, {dtype}")


def find_contests(root: Path) -> Iterator[tuple[Subject, Path]]:
    """Every subject that has a benchmark file, with that file."""
    for subject in find_subjects(root).values():
        path = root / "tests" / subject.topic / f"bench_{subject.name}.py"
        if path.is_file():
            yield subject, path


def load_contest(subject: Subject, path: Path) -> Contest:
    """Import a benchmark file and the pair that it is about."""
    root = subject.root
    module, impl, reference = (load_module(file, root) for file in (path, subject.path, subject.reference_path))
    return Contest(subject.name, module, impl, reference, module.contestants)


def leaves(result: Any, path: str = "result") -> Iterator[tuple[str, np.ndarray]]:
    """All arrays in a nest of mappings and sequences, each with the path to it; torch tensors as NumPy arrays."""
    if isinstance(result, Mapping):
        for key in sorted(result):
            yield from leaves(result[key], f"{path}[{key!r}]")
    elif isinstance(result, (tuple, list)):
        for index, entry in enumerate(result):
            yield from leaves(entry, f"{path}[{index}]")
    else:
        yield path, np.asarray(result.detach() if hasattr(result, "detach") else result, dtype=float)


def assert_equal(results: Mapping[str, Any], rtol: float, where: str) -> None:
    """Raise AssertionError where results differ by more than `rtol` of an array's norm, or are not finite."""
    __tracebackhide__ = True
    first, *others = results
    expected = dict(leaves(results[first]))
    for name, value in expected.items():
        if not np.isfinite(value).all():
            raise AssertionError(f"{where}: {first} gives a {name} that is not finite")
    for other in others:
        actual = dict(leaves(results[other]))
        if actual.keys() != expected.keys():
            odd = ", ".join(sorted(actual.keys() ^ expected.keys()))
            raise AssertionError(f"{where}: {first} and {other} do not give the same quantities: {odd} in one alone")
        for name, value in actual.items():
            if value.shape != expected[name].shape:
                raise AssertionError(
                    f"{where}: {name} has shape {expected[name].shape} from {first}, {value.shape} from {other}"
                )
            error = relative_error(value, expected[name])
            if not error <= rtol:  # written so that NaN fails as well
                raise AssertionError(
                    f"{where}: {first} and {other} differ in {name}, by {error:.1e} of its norm; allowed is {rtol:.0e}"
                )


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    """The norm of the difference, divided by the norm of `expected`; infinite where that alone is zero."""
    scale = np.max(np.abs(expected), initial=0)
    if scale == 0:
        return 0.0 if not np.any(actual) else np.inf
    return float(np.linalg.norm(actual / scale - expected / scale) / np.linalg.norm(expected / scale))
