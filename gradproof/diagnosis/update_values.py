"""Hyperparameters of any value: solved for, and then told as the plain number that they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from gradproof.diagnosis.update_trials import Flat, holds, residuals
from gradproof.oracles import Array
from gradproof.report import number
from gradproof.rules import Hyper, Rule

STEPS = np.array([1.0, 0.5, 0.2, 0.05, 1.5])[:, None]  # along the way that the straight-line model points


def solve(
    flat: Flat, rule: Rule, h: Hyper, s: Mapping[str, str], names: Sequence[str], free_factor: bool = False
) -> Iterator[dict[str, float]]:
    """Values of the hyperparameters `names` at which the rule gives the candidate's steps, to rounding."""
    kinds = [kind_of(rule, name) for name in names]
    axes = [_grid(kind, 32 if len(names) == 1 else 12) for kind in kinds]
    points = np.array(list(product(*axes)))  # (rows, names), in the coordinates of _value
    off = _off(flat, rule, h, s, names, kinds, points, free_factor)
    if off is None:
        return
    costs = np.einsum("ij,ij->i", off, off)
    for start in _starts(costs, [len(axis) for axis in axes]):
        found = _descend(flat, rule, h, s, names, kinds, points[start], costs[start], free_factor)
        if found is not None:
            yield {name: _value(kind, x) for name, kind, x in zip(names, kinds, found, strict=True)}


def kind_of(rule: Rule, name: str) -> str:
    return "positive" if name == "decoupled_decay" else rule.solved[name]


def _grid(kind: str, count: int) -> Array:
    return np.linspace(-9.0, 14.0, count) if kind == "unit" else np.linspace(-37.0, 9.0, count)


def _value(kind: str, x: Any) -> Any:
    return 1 / (1 + np.exp(-x)) if kind == "unit" else np.exp(np.minimum(x, 700.0))


def _off(
    flat: Flat,
    rule: Rule,
    h: Hyper,
    s: Mapping[str, str],
    names: Sequence[str],
    kinds: Sequence[str],
    points: Array,
    free_factor: bool,
) -> Array | None:
    columns = {
        name: _value(kind, points[:, i])[:, None] for i, (name, kind) in enumerate(zip(names, kinds, strict=True))
    }
    return residuals(flat, rule, {**h, **columns}, s, free_factor)


def _starts(costs: Array, shape: list[int]) -> list[int]:
    """The lowest points of the grid that have no lower neighbour, at most three."""
    table = costs.reshape(shape)
    lowest = np.ones(shape, bool)
    for axis in range(len(shape)):
        padded = np.pad(table, [(1, 1) if i == axis else (0, 0) for i in range(len(shape))], constant_values=np.inf)
        lowest &= table <= np.take(padded, range(0, shape[axis]), axis)
        lowest &= table <= np.take(padded, range(2, shape[axis] + 2), axis)
    found = np.flatnonzero(lowest.reshape(-1))
    return [int(i) for i in found[np.argsort(costs[found])][:3]]


def _descend(
    flat: Flat,
    rule: Rule,
    h: Hyper,
    s: Mapping[str, str],
    names: Sequence[str],
    kinds: Sequence[str],
    point: Array,
    cost: float,
    free_factor: bool,
) -> Array | None:
    """Gauss and Newton's way down from a point of the grid; None where it does not lead to zero."""
    for _ in range(14):
        apart = 1e-2 if cost < 1e10 else 1e-4  # where differences are small, rounding hides those of a short step
        nearby = point + np.vstack([np.zeros(len(point)), apart * np.eye(len(point))])
        off = _off(flat, rule, h, s, names, kinds, nearby, free_factor)
        if off is None:
            return None
        slope = (off[1:] - off[0]).T / apart  # (numbers, names)
        if not np.all(np.isfinite(slope)) or not np.any(slope):
            return None
        way = np.clip(np.linalg.lstsq(slope, -off[0], rcond=1e-14)[0], -4.0, 4.0)
        tried = point + STEPS * way
        off = _off(flat, rule, h, s, names, kinds, tried, free_factor)
        if off is None:
            return None
        costs = np.einsum("ij,ij->i", off, off)
        best = int(np.argmin(costs))
        farthest = np.max(np.abs(off[best]))
        # No nearer: at the bottom, which is either where it should be or is not.
        if not costs[best] < cost * (0.5 if len(names) == 1 else 0.9):
            return np.asarray(tried[best]) if farthest <= 2 else None
        if farthest <= 0.02:
            return np.asarray(tried[best])
        point, cost = tried[best], float(costs[best])
    return None


def plain(
    flat: Flat, rule: Rule, h: Hyper, s: Mapping[str, str], found: Mapping[str, float]
) -> dict[str, float] | None:
    """The same values as the shortest numbers that still give the candidate's steps; None where none does."""
    values = dict(found)
    for name, value in found.items():
        for tried in map(np.float64, _shorter(name, value, h, kind_of(rule, name))):
            if holds(flat, rule, {**h, **values, name: tried}, s):
                values[name] = tried
                break
    return values if holds(flat, rule, {**h, **values}, s) else None


def _shorter(name: str, value: float, h: Hyper, kind: str) -> Iterator[float]:
    for known, _ in related(name, h):
        if abs(known - value) <= 1e-4 * abs(value):
            yield known
    for digits in range(1, 10):
        yield float(f"{value:.{digits}g}")
        if kind == "unit":
            yield 1 - float(f"{1 - value:.{digits}g}")


def related(name: str, h: Hyper) -> Iterator[tuple[float, str]]:
    """Values that a hyperparameter takes by a slip, and the slip."""
    own = h[name]
    if name in ("weight_decay", "decoupled_decay") and own:
        without = "it is not multiplied by lr" if h["decoupled"] else "it is divided by lr"
        yield own / h["lr"], without
        yield own * h["lr"], "it is multiplied by lr once too often"
        yield own * h["lr"] ** 2, "it is multiplied by lr twice too often"
        yield 2 * own, "it acts twice: the derivative of weight_decay * theta**2 without its 1/2"
        yield own / 2, "half of it"
    elif name == "eps" and own:
        yield own**0.5, "the root of eps"
        yield own**2, "eps squared"
    elif own:
        yield 1 - own, f"that is 1 - {name}"
    for other in ("beta1", "beta2", "momentum", "dampening", "alpha", "rho"):
        if other != name and h.get(other):
            yield h[other], f"that is {other}"
            yield 1 - h[other], f"that is 1 - {other}"


def told(name: str, value: float, h: Hyper) -> str:
    """`beta2 = 0.99, expected 0.999`, and the slip that makes it, where it is known."""
    shown = {"start_of_v": "v at the start", "decoupled_decay": "decoupled weight_decay"}.get(name, name)
    text = f"{shown} = {digits(value, h[name])}, expected {digits(h[name], value)}"
    for known, words in related(name, h):
        if abs(known - value) <= 1e-9 * abs(value):
            return f"{text}: {words}"
    return text


def digits(value: float, other: float) -> str:
    """A number short, but never so short that two different ones look alike."""
    short = number(value)
    if abs(float(short) - value) <= 1e-12 * abs(value):
        return short
    return next((text for count in (6, 9, 12) if (text := f"{value:.{count}g}") != f"{other:.{count}g}"), repr(value))


def factor_words(factor: float, h: Hyper, sizes: Mapping[int, str]) -> str | None:
    """A factor on every step in words; None where it is no constant that code could have got wrong."""
    named: list[tuple[float, str]] = []
    rate = abs(h["lr"])
    if rate:
        named += [(rate, "lr, applied twice"), (1 / rate, "1/lr: the learning rate is left out")]
    for name in ("momentum", "dampening", "beta1", "beta2", "alpha", "rho"):
        value = h.get(name)
        if value and 0 < value < 1:
            named += [(1 - value, f"1 - {name}"), (1 / (1 - value), f"1/(1 - {name})")]
            named += [(value, name), (1 / value, f"1/{name}")]
            named += [((1 - value) ** 0.5, f"sqrt(1 - {name})"), ((1 - value) ** -0.5, f"1/sqrt(1 - {name})")]
    named += [(1.0 * size, words) for size, words in sizes.items()]
    named += [(1 / size, f"one over {words}") for size, words in sizes.items()]
    named += [(size**0.5, f"the root of {words}") for size, words in sizes.items()]
    named += [(size**-0.5, f"one over the root of {words}") for size, words in sizes.items()]
    if h.get("beta1") and h.get("beta2"):
        named.append(((1 - h["beta2"]) / (1 - h["beta1"]), "(1 - beta2)/(1 - beta1)"))
    known = [words for value, words in named if abs(factor - value) <= 1e-9 * abs(value)]
    if known:
        return f"{digits(factor, 1.0)}, which is {' or '.join(known[:3])}"
    for round_number in (float(f"{factor:.2g}"), float(f"{factor * rate:.2g}") / rate if rate else 0.0):
        if abs(factor - round_number) <= 1e-9 * factor and 1e-6 <= factor <= 1e6:
            return digits(round_number, 1.0)
    return None


def exact_factor(factor: float, h: Hyper) -> Iterator[float]:
    """The plain numbers that a measured factor may be, and the factor itself."""
    rate = abs(h["lr"])
    for count in range(1, 7):
        yield float(f"{factor:.{count}g}")
        if rate:
            yield float(f"{factor * rate:.{count}g}") / rate
    yield factor
