"""How the cost grows, as a picture: time against size, both axes logarithmic, so that a power is a straight line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.benchmarking.table import Row, in_order

STYLE = {
    "loop": ("tab:gray", "s"),
    "vectorised": ("tab:blue", "o"),
    "tuned": ("tab:green", "D"),
    "torch": ("tab:red", "^"),
}
OTHERS = ("tab:orange", "tab:purple", "tab:brown", "tab:pink")


def draw(rows: Sequence[Row], path: Path) -> None:
    """Write a PNG with one panel per subject and axis, one line per form through its smallest times."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    groups = list(dict.fromkeys((row.subject, row.axis) for row in rows))
    forms = in_order(form for row in rows for form in row.times)
    extra = [form for form in forms if form not in STYLE]
    style = {**STYLE, **{form: (OTHERS[i % len(OTHERS)], "v") for i, form in enumerate(extra)}}
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
                colour, marker = style[form]
                panel.loglog(*zip(*points, strict=True), color=colour, marker=marker, markersize=4, label=form)
        panel.set(title=subject, xlabel=axis, ylabel="seconds per call")
        panel.set_xticks([row.size for row in group], [f"{row.size:,}" for row in group])
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    for panel in axes.flat[len(groups) :]:
        panel.set_axis_off()
    handles = {}
    for panel in axes.flat:
        handles |= {label: handle for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    figure.legend([handles[form] for form in forms], forms, loc="outside lower center", ncols=len(forms), frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)
