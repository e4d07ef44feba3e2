"""How the cost grows, as a picture: time against size, both axes logarithmic, so that a power is a straight line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.benchmarking.table import Row, main_forms

STYLE = {
    "loop": ("tab:gray", "s"),
    "vectorised": ("tab:blue", "o"),
    "tuned": ("tab:green", "D"),
    "torch": ("tab:red", "^"),
}


def short(size: int) -> str:
    """A size as a label on an axis: 32, 1,024, 100k, 10M."""
    for factor, letter in ((1_000_000, "M"), (1_000, "k")):
        if size % factor == 0:
            return f"{size // factor:,}{letter}"
    return f"{size:,}"


def draw(rows: Sequence[Row], path: Path) -> None:
    """Write a PNG with one panel per subject and axis: the smallest times of the hand-written forms and of torch."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    groups = list(dict.fromkeys((row.subject, row.axis) for row in rows))
    forms = main_forms(rows)
    columns = min(3, len(groups))
    lines = -(-len(groups) // columns)
    figure, axes = plt.subplots(
        lines, columns, figsize=(4.2 * columns, 3.2 * lines + 0.5), squeeze=False, layout="constrained"
    )
    for panel, (subject, axis) in zip(axes.flat, groups, strict=False):
        group = [row for row in rows if (row.subject, row.axis) == (subject, axis)]
        for form in forms:
            points = [(row.size, np.min(row.times[form])) for row in group if form in row.times]
            if points:
                colour, marker = STYLE[form]
                panel.loglog(*zip(*points, strict=True), color=colour, marker=marker, markersize=4, label=form)
        panel.set(title=subject, xlabel=axis, ylabel="seconds per call")
        panel.set_xticks([row.size for row in group], [short(row.size) for row in group])
        panel.xaxis.minorticks_off()
        panel.grid(alpha=0.3)
    for panel in axes.flat[len(groups) :]:
        panel.set_axis_off()
    handles = {}
    for panel in axes.flat:
        handles |= {label: handle for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    figure.legend([handles[form] for form in forms], forms, loc="outside lower center", ncols=len(forms), frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)
