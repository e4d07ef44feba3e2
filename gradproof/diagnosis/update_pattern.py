"""What can be said of updates that no known mistake gives: where they begin to differ, and what is right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradproof.diagnosis.update_trials import Runs
from gradproof.oracles import Array, Arrays
from gradproof.report import Finding, number


def unexplained(runs: Runs, right: Arrays, wrong: Sequence[str], tried: str) -> Finding:
    """The finding that says plainly that the mistake is not known, with all that the numbers do say."""
    fine = [name for name in runs.params if name not in wrong and not _differs(runs, right, name).any()]
    lines = []
    by_text: dict[str, list[str]] = {}
    for name in wrong:
        by_text.setdefault(_line(runs, right, name), []).append(name)
    lines += [f"{', '.join(names)}: {text}" for text, names in by_text.items()]
    if fine:
        verb = "is right" if len(fine) == 1 else "are right"
        lines.append(f"{', '.join(fine)} {verb}: look at what the code does otherwise for {', '.join(wrong)}")
    if tried:
        lines.append(tried[0].upper() + tried[1:])
    return Finding("unexplained", tuple(wrong), "\n".join(lines), exact=False)


def first_difference(runs: Runs, right: Arrays, name: str) -> int:
    """The number of the first step after which a parameter is wrong."""
    off = _differs(runs, right, name)
    return int(np.flatnonzero(off)[0]) + 1 if off.any() else len(off)


def _differs(runs: Runs, right: Arrays, name: str) -> Array:
    """For each step, whether a parameter is wrong after it."""
    apart = np.abs(runs.paths[name] - right[name])
    far: Array = np.any(~(apart <= runs.allowed(name)).reshape(len(apart), -1), axis=1)
    return far


def _line(runs: Runs, right: Arrays, name: str) -> str:
    first, allowed = first_difference(runs, right, name), runs.allowed(name)
    ours, theirs = (_moves(runs, paths, name) for paths in (runs.paths, right))
    if not np.any(ours):
        return "nothing moves at any step"
    factors = _factors(ours, theirs, allowed)
    if factors is not None:
        return _ratios(factors)
    if first == 2:
        return "the first step is right, the second is not: look at what is kept from step to step"
    if first > 2:
        return f"the first {first - 1} steps are right, step {first} is not: look at what is kept from step to step"
    differs = np.abs(ours[0] - theirs[0]) > allowed
    text = f"the first step is wrong already, {_direction(ours[0], theirs[0])}"
    share = "" if differs.all() else f"; {int(differs.sum())} of {differs.size} entries differ"
    return text + share + _sizes(runs.gradients[0][name].reshape(-1), differs)


def _ratios(factors: Array) -> str:
    """Steps that are torch's but for their length."""
    if np.ptp(factors) <= 1e-6 * abs(factors[0]):
        return f"every step is the right one times {number(factors[0])}"
    shown = ", ".join(map(number, factors[:4])) + (" ..." if len(factors) > 4 else "")
    t = np.arange(1, len(factors) + 1)
    for words, fall in (("1/t", 1 / t), ("1/sqrt(t)", t**-0.5)):
        if np.allclose(factors, fall, rtol=1e-6, atol=0.0):
            return f"each step is the right one times {words}, {shown}: the learning rate falls, and torch's does not"
    return (
        f"each step is the right one times a constant of its own, {shown}: look at what depends on the step's "
        "number, such as a correction or a rate that falls"
    )


def _moves(runs: Runs, paths: Arrays, name: str) -> Array:
    start = runs.params[name][None].astype(float)
    path = np.concatenate([start, paths[name].astype(float)])
    return np.diff(path, axis=0).reshape(len(path) - 1, -1)


def _factors(ours: Array, theirs: Array, allowed: float) -> Array | None:
    """Each step's ratio to torch's, where it is one for all entries; None where it is not, or one entry is all."""
    if ours.shape[1] < 2:
        return None
    factors = []
    for mine, right in zip(ours, theirs, strict=True):
        size = float(np.dot(right, right))
        if not size:
            return None
        factor = float(np.dot(mine, right)) / size
        if not np.all(np.abs(mine - factor * right) <= 2 * (1 + abs(factor)) * allowed):
            return None
        factors.append(factor)
    return np.array(factors)


def _direction(mine: Array, right: Array) -> str:
    moving = (mine != 0) & (right != 0)
    if not np.any(mine):
        return "nothing moves"
    if not moving.any():
        return "and moves other entries than torch's"
    same = int(np.sum(np.sign(mine[moving]) == np.sign(right[moving])))
    count = int(moving.sum())
    if same == count:
        return "though every entry moves the right way: its length is wrong"
    if same == 0:
        return "and every entry moves the wrong way"
    return f"and {count - same} of {count} entries move the wrong way"


def _sizes(g: Array, differs: Array) -> str:
    """Whether the entries that differ are those of the smallest gradients, or of the largest."""
    size = np.abs(g)
    if differs.all() or not differs.any():
        return ""
    if size[differs].max() < size[~differs].min():
        return ", those with the smallest gradients: look at eps"
    return ", those with the largest gradients" if size[differs].min() > size[~differs].max() else ""
