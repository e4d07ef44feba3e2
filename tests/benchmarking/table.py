"""Measured times as text: the Markdown table of the README, and the summary that ends a run of the benchmarks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import threadpoolctl

from tests.benchmarking.measure import clock_name, exponent, ratio

HAND_WRITTEN = ("loop", "vectorised", "tuned")
MAIN = (*HAND_WRITTEN, "torch")


class Timed(NamedTuple):
    """The smallest time of one form, in one test of a benchmark run."""

    subject: str
    unit: str
    threads: int
    size: int
    form: str
    seconds: float


@dataclass(frozen=True)
class Row:
    """All rounds of all forms at one size: `times[form]` are seconds per call, of shape (rounds,)."""

    subject: str
    axis: str
    size: int
    times: Mapping[str, np.ndarray]

    @property
    def hand_written(self) -> str:
        """The form that all others are compared with: at small sizes the tuned one may cost more than it saves."""
        forms = [form for form in ("vectorised", "tuned") if form in self.times]
        return min(forms, key=lambda form: float(np.median(self.times[form])))


def duration(seconds: float) -> str:
    """Seconds to three figures, in the unit that suits them: 0.000_012_3 is 12.3 us."""
    for factor, unit in ((1e6, "us"), (1e3, "ms")):
        if seconds * factor < 999.5:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"


def figure(ratio: float) -> str:
    """A ratio to two figures: 0.71, 4.0, 74; from 100 on as a whole number."""
    decimals = 2 if ratio < 0.995 else 1 if ratio < 9.95 else 0
    return f"{ratio:,.{decimals}f}"


def growth(p: float | None) -> str:
    """How a time grows: n^p; a dash where one size alone was measured."""
    return "-" if p is None else f"n^{p:.2f}"


def in_order(names: Iterable[str]) -> list[str]:
    """Each name once: the hand-written forms first, then torch, then its other forms as they came."""
    seen = dict.fromkeys(names)
    return [name for name in MAIN if name in seen] + [name for name in seen if name not in MAIN]


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table; the first column to the left, all others to the right, padded."""
    cells = [list(header), *map(list, rows)]
    widths = [max(3, *(len(row[column]) for row in cells)) for column in range(len(header))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]

    def line(row: Sequence[str]) -> str:
        first, *others = (
            f"{cell:<{width}}" if column == 0 else f"{cell:>{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "| " + " | ".join([first, *others]) + " |"

    return [line(cells[0]), line(rule), *map(line, cells[1:])]


def ratio_table(rows: Sequence[Row]) -> list[str]:
    """One line per subject and size: each form's time, divided by the best hand-written form's of the same round."""
    forms = main_forms(rows)
    lines = []
    for row in rows:
        cells = [f"{row.subject}, {row.size:,} {row.axis}", duration(np.min(row.times[row.hand_written]))]
        cells += [ratio_cell(row, form) for form in forms]
        others = [f"{form} {ratio_cell(row, form)}" for form in row.times if form not in MAIN]
        lines.append([*cells, ", ".join(others)])
    return markdown(["", "hand-written", *forms, "others"], lines)


def ratio_cell(row: Row, form: str) -> str:
    """A form's ratio at one size: empty where it did not race, with the smallest in brackets where it is a peer."""
    if form not in row.times:
        return ""
    if form == row.hand_written:
        return "**1**"
    median, least = ratio(row.times, form, row.hand_written)
    return figure(median) if form in HAND_WRITTEN else f"{figure(median)} ({figure(least)})"


def growth_table(rows: Sequence[Row]) -> list[str]:
    """One line per subject and axis: the exponent of each form's smallest times, over all sizes and the last two."""
    forms = main_forms(rows)
    lines = []
    for subject, axis in dict.fromkeys((row.subject, row.axis) for row in rows):
        group = [row for row in rows if (row.subject, row.axis) == (subject, axis)]
        cells = [f"{subject}: {axis} {' '.join(f'{row.size:,}' for row in group)}"]
        for form in forms:
            points = [(row.size, float(np.min(row.times[form]))) for row in group if form in row.times]
            p, last = (exponent(*zip(*part, strict=True)) if part else None for part in (points, points[-2:]))
            cells.append("" if p is None or last is None else f"{p:.2f} ({last:.2f})")
        lines.append(cells)
    return markdown(["", *forms], lines)


def main_forms(rows: Sequence[Row]) -> list[str]:
    """The columns of the tables: the hand-written forms and torch, as far as any of them raced."""
    return [form for form in in_order(form for row in rows for form in row.times) if form in MAIN]


def summary(timed: Sequence[Timed]) -> list[str]:
    """The end of a benchmark run: per subject and number of threads, a line for each size and one for the growth."""
    lines = []
    for subject, unit, threads in dict.fromkeys(entry[:3] for entry in timed):
        group = [entry for entry in timed if entry[:3] == (subject, unit, threads)]
        forms = in_order(entry.form for entry in group)
        seconds = {(entry.size, entry.form): entry.seconds for entry in group}
        lines += ["", f"{subject}, {threads} thread{'s' * (threads > 1)} ({clock_name(threads)})"]
        lines.append(f"{unit:>12}" + "".join(f"{form:>12}" for form in forms) + f"{'torch/hand-written':>20}")
        for size in dict.fromkeys(entry.size for entry in group):
            row = [seconds.get((size, form)) for form in forms]
            mine = min((seconds[size, form] for form in ("vectorised", "tuned") if (size, form) in seconds), default=0)
            torch = seconds.get((size, "torch"))
            lines.append(
                f"{size:>12,}"
                + "".join(f"{'' if value is None else duration(value):>12}" for value in row)
                + f"{figure(torch / mine) if torch and mine else '':>20}"
            )
        slopes = []
        for form in forms:
            points = [(size, value) for (size, name), value in seconds.items() if name == form]
            slopes.append(growth(exponent(*zip(*points, strict=True))))
        lines.append(f"{'growth':>12}" + "".join(f"{slope:>12}" for slope in slopes))
    return lines


def machine() -> str:
    """NumPy's BLAS and its kernel, torch's own, and the number of cores: without them a ratio cannot be read."""
    import torch

    libraries = [entry for entry in threadpoolctl.threadpool_info() if entry["user_api"] == "blas"]
    mine = [entry for entry in libraries if "numpy" in entry["filepath"]] or libraries
    blas = " and ".join(
        f"{entry['internal_api']} {entry['version']}, {entry.get('architecture', 'unknown')} kernel" for entry in mine
    )
    return (
        f"NumPy {np.__version__} ({blas or 'a BLAS that threadpoolctl does not know'}), torch {torch.__version__}"
        f" (MKL {'in use' if torch.backends.mkl.is_available() else 'not in use'},"
        f" {torch.backends.cpu.get_cpu_capability()} kernels)"
    )
