"""Adagrad."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradproof.rules.base import (
    Array,
    Hyper,
    Kept,
    Mistake,
    Now,
    Rule,
    Switches,
    beginning,
    counted,
    counter_mistakes,
    decay_mistakes,
    decayed,
    epsilon_mistakes,
    fed,
    moved,
    quotient,
    root,
    root_mistakes,
    sign_mistakes,
    square_mistakes,
    squared,
)

G = "G = G + g**2"
RATE = "lr_t = lr / (1 + (t - 1) * lr_decay), with t = 1 at the first step"
STEP = "theta = theta - lr_t * g / (sqrt(G) + eps)"


def step(now: Now, kept: Kept, h: Hyper, s: Switches) -> Array:
    theta, g, sized = decayed(now, h, s)
    t, _ = counted(now, s)
    rate = h["lr"] / (1 + (t - 1) * h["lr_decay"])
    form = s.get("G")
    old = kept.get("G", h["initial_accumulator_value"] + np.zeros_like(g))
    if form == "start anew":
        old = h["initial_accumulator_value"] + np.zeros_like(g)
    new = squared(sized, now, s)
    total = new + np.zeros_like(g) if form == "anew" else old + new
    if form == "mean":
        kept["G"] = total
        total = total / now.t
    else:
        kept["G"] = total
    total = fed(total, h["eps"], "G", kept, s)
    if form == "before":
        total = old
    return moved(theta, rate * quotient(g, root(total, 1.0, h["eps"], kept, s), h["eps"], s), h, s)


def mistakes(h: Hyper) -> Iterator[Mistake]:
    yield from sign_mistakes(h)
    assigned = "the squares of the gradients are assigned to G, not added up"
    yield Mistake("state-not-kept", assigned, f"{G}, kept from step to step", {"G": "anew"})
    if h["initial_accumulator_value"]:
        start = "G starts from initial_accumulator_value at every step"
        yield Mistake("state-not-kept", start, f"{G}, kept from step to step", {"G": "start anew"})
    yield from decay_mistakes(h, adaptive=True)
    if h["lr_decay"]:
        yield from counter_mistakes(RATE, apart=False)
    yield from epsilon_mistakes("G", last(h), corrected=False)
    yield from square_mistakes(G, mean=False, key="G")
    yield from root_mistakes("G", last(h), corrected=False)
    before = "the step uses G as it was before this step's gradient came in"
    yield Mistake("wrong-operand", before, f"{G} first, then the step", {"G": "before"}, rank=1.1)
    mean = "G is divided by the number of steps: a mean of the squares, not their sum"
    yield Mistake("wrong-reduction", mean, G, {"G": "mean"}, rank=1.1)


def formula(h: Hyper) -> str:
    rate = "lr_t = lr / (1 + (t - 1) * lr_decay)\n" if h["lr_decay"] else ""
    return f"{beginning(h)}{rate}{G}\n{last(h)}"


def last(h: Hyper) -> str:
    return STEP if h["lr_decay"] else STEP.replace("lr_t", "lr")


def acts(h: Hyper) -> dict[str, str]:
    start = f"G = initial_accumulator_value at the start\n{G}"
    return {"lr_decay": RATE, "initial_accumulator_value": start, "eps": last(h), "lr": last(h)}


SOLVED = {
    "lr_decay": "positive",
    "initial_accumulator_value": "positive",
    "eps": "positive",
    "weight_decay": "positive",
}
ADAGRAD = Rule("Adagrad", step, formula, mistakes, SOLVED, (), acts, {"G": "initial_accumulator_value"})
