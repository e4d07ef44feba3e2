"""Running an update rule with something switched, from where the candidate stood before each step.

The gradients are given, so a rule needs only the parameter at which each step begins. It is taken from the candidate's
own trajectory: then every step can be judged for itself, a factor on all steps is a straight-line fit, and most
hypotheses are dropped after the first step. Update rules work entry by entry, so some entries of each parameter are
enough for the search; what it finds has to hold on all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from gradproof.oracles import Array, Arrays
from gradproof.rules import Hyper, Now, Rule
from gradproof.tolerances import largest

SAMPLED = 24  # entries of each parameter, twice: those that differ most, and some of all
LONGEST = 12  # steps that a search looks at, unless the trajectories differ later only


@dataclass(frozen=True)
class Runs:
    """All of a comparison: where it started, the gradients of each step, and a trajectory for each parameter."""

    params: Arrays
    gradients: Sequence[Arrays]
    paths: Arrays  # (steps, ...) by name
    tolerance: Mapping[str, float]

    def allowed(self, name: str) -> float:
        """What a trajectory may differ by: rounding, beside the distance that it goes and the parameter's size."""
        path, start = self.paths[name], self.params[name]
        rounding = 4 * float(np.finfo(start.dtype).eps) * largest(path) * len(path) ** 0.5
        return float(self.tolerance[name] * largest(path - start) + rounding)


@dataclass(eq=False)
class Flat:
    """Some entries of some parameters, side by side: arrays of shape (steps, entries)."""

    runs: Runs
    owner: Array  # (entries,): the position of the parameter, among all of them
    g: Array
    before: Array
    after: Array
    allowed: Array  # (entries,)
    numbers: list[Any]  # each step's number
    nth: list[Any]  # each step's number where every parameter is counted
    nows: list[Now] = field(default_factory=list)
    _wholes: dict[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for k, number in enumerate(self.numbers):
            whole = partial(self._whole, k)
            self.nows.append(Now(self.before[k], self.g[k], number, self.nth[k], whole))
        self.moves = self.after - self.before

    def _whole(self, k: int, kind: str) -> Array:
        if kind not in self._wholes:
            names = list(self.runs.params)
            steps = self.runs.gradients[: len(self.g)]
            table = [[statistic(kind, grads[name], grads) for name in names] for grads in steps]
            self._wholes[kind] = np.array(table)
        return np.asarray(self._wholes[kind][k][self.owner])


def statistic(kind: str, g: Array, grads: Arrays) -> float:
    """One number of a whole gradient."""
    if kind == "norm of all":
        return float(np.sqrt(sum(float(np.sum(np.square(one, dtype=float))) for one in grads.values())))
    g = np.asarray(g, dtype=float)
    if kind == "sample std":
        return float(np.std(g, ddof=1)) if g.size > 1 else float("nan")
    if kind == "std":
        return float(np.std(g))
    if kind == "norm":
        return float(np.linalg.norm(g))
    if kind == "largest":
        return largest(g)
    if kind == "mean absolute":
        return float(np.mean(np.abs(g)))
    if kind == "sum of squares":
        return float(np.sum(g * g))
    mean = float(np.mean(g * g))
    return mean if kind == "mean square" else float(mean**0.5)


def flatten(runs: Runs, names: Sequence[str], chosen: Mapping[str, Array] | None = None, steps: int = 0) -> Flat:
    """The entries `chosen` of each parameter (all of them where None) over the first `steps` steps (all where 0)."""
    count = steps or len(runs.gradients)
    order = list(runs.params)
    g, after, start, owner, allowed = [], [], [], [], []
    for name in names:
        size = runs.params[name].size
        pick = slice(None) if chosen is None else chosen[name]
        g.append(np.stack([runs.gradients[k][name].reshape(-1)[pick] for k in range(count)]).astype(float))
        after.append(runs.paths[name][:count].reshape(count, size)[:, pick].astype(float))
        start.append(runs.params[name].reshape(-1)[pick].astype(float))
        owner.append(np.full(g[-1].shape[1], order.index(name)))
        allowed.append(np.full(g[-1].shape[1], runs.allowed(name)))
    path = np.concatenate(after, axis=1)
    before = np.concatenate([np.concatenate(start)[None], path[:-1]])
    owners = np.concatenate(owner)
    numbers = list(range(1, count + 1))
    nth = [k * len(order) + owners + 1 for k in range(count)]
    return Flat(runs, owners, np.concatenate(g, axis=1), before, path, np.concatenate(allowed), numbers, nth)


def interleaved(runs: Runs, counted_each: bool) -> Flat | None:
    """The parameters' updates one after the other, as if all of them had one state. None where shapes differ."""
    shapes = {value.shape for value in runs.params.values()}
    if len(shapes) != 1 or len(runs.params) < 2:
        return None
    names, size, count = list(runs.params), next(iter(runs.params.values())).size, len(runs.gradients)
    g = np.stack([grads[name].reshape(-1) for grads in runs.gradients for name in names]).astype(float)
    paths = [runs.paths[name].reshape(count, size) for name in names]
    after = np.stack(paths, axis=1).reshape(-1, size).astype(float)
    start = np.stack([runs.params[name].reshape(-1) for name in names])
    before = np.concatenate([start, after[: -len(names)]])
    numbers = [k + 1 if counted_each else k // len(names) + 1 for k in range(len(g))]
    allowed = np.full(size, max(runs.allowed(name) for name in names))
    return Flat(runs, np.zeros(size, int), g, before, after, allowed, numbers, list(numbers))


def chosen_entries(runs: Runs, names: Sequence[str], right: Arrays) -> dict[str, Array]:
    """For each parameter the entries that differ most from torch's, and as many others."""
    rng = np.random.default_rng(0)
    chosen = {}
    for name in names:
        size = runs.params[name].size
        if size <= 2 * SAMPLED:
            chosen[name] = np.arange(size)
            continue
        difference = np.abs(runs.paths[name] - right[name]).max(axis=0).reshape(-1)
        most = np.argpartition(difference, -SAMPLED)[-SAMPLED:]
        chosen[name] = np.union1d(most, rng.choice(size, SAMPLED, replace=False))
    return chosen


def screen(flat: Flat, rule: Rule, h: Hyper, s: Mapping[str, str]) -> float | None:
    """The factor by which every step of the candidate is this rule's; None where there is none."""
    kept: dict[str, Any] = {}
    factor: float | None = None
    above = below = 0.0
    for now, ours in zip(flat.nows, flat.moves, strict=True):
        step = rule.step(now, kept, h, s) - now.theta
        if factor is None or factor == 1.0:
            ratio = (np.abs(step - ours) / flat.allowed).max()
            if ratio <= 2:
                if factor is None and (np.abs(ours) > flat.allowed).any():
                    factor = 1.0
                continue
            if factor == 1.0 or not ratio < np.inf:
                return None
        scaled = step / flat.allowed
        above += float(np.dot(scaled, ours / flat.allowed))
        below += float(np.dot(scaled, scaled))
        if not 0 < below < np.inf or above == 0:
            return None
        factor = above / below
        if not np.all(np.abs(factor * step - ours) <= 2 * (1 + abs(factor)) * flat.allowed):
            return None
    return factor


def distance(flat: Flat, rule: Rule, h: Hyper, s: Mapping[str, str], factor: float = 1.0) -> float:
    """How far the rule's trajectory is from the candidate's, as a share of what is allowed; infinity beyond that."""
    kept: dict[str, Any] = {}
    h = {**h, "lr": h["lr"] * factor}
    off: Any = 0.0
    farthest = 0.0
    for now, after in zip(flat.nows, flat.after, strict=True):
        off = off + (rule.step(now, kept, h, s) - after)
        share = float((np.abs(off) / flat.allowed).max())
        if not share <= 1:
            return float("inf")
        farthest = max(farthest, share)
    return farthest


def holds(flat: Flat, rule: Rule, h: Hyper, s: Mapping[str, str], factor: float = 1.0) -> bool:
    """Whether the rule's whole trajectory is the candidate's, to rounding."""
    return distance(flat, rule, h, s, factor) <= 1


def residuals(flat: Flat, rule: Rule, h: Hyper, s: Mapping[str, str], free_factor: bool) -> Array | None:
    """For each row of `h`'s columns: all steps' differences, in units of what is allowed. (rows, numbers).

    None where already the first step lies outside of what any of the rows gives.
    """
    kept: dict[str, Any] = {}
    steps = []
    for k, (now, ours) in enumerate(zip(flat.nows, flat.moves, strict=True)):
        step = rule.step(now, kept, h, s) - now.theta
        if k == 0 and not free_factor and len(step) > 8 and _outside(step, ours, flat.allowed):
            return None
        steps.append(np.broadcast_to(step, (_rows(h), len(ours))) / flat.allowed)
    model = np.stack(steps, axis=1).reshape(_rows(h), -1)
    target = (flat.moves / flat.allowed).reshape(-1)
    model = np.nan_to_num(model, nan=1e30, posinf=1e30, neginf=-1e30)
    if free_factor:
        size = np.max(np.abs(model), axis=1, keepdims=True)
        unit = model / np.where(size > 0, size, 1)
        share = unit @ target / np.maximum(np.einsum("ij,ij->i", unit, unit), 1e-300)
        return np.asarray(unit * share[:, None] - target)
    return np.asarray(model - target)


def _rows(h: Hyper) -> int:
    return max((len(value) for value in h.values() if isinstance(value, np.ndarray)), default=1)


def _outside(step: Array, ours: Array, allowed: Array) -> bool:
    low, high = np.fmin.reduce(step, axis=0), np.fmax.reduce(step, axis=0)  # of those that are no NaN
    slack = 0.1 * (high - low) + 4 * allowed
    return not bool(np.all((ours >= low - slack) & (ours <= high + slack)))
