"""Gradient descent, with momentum and Nesterov's look ahead."""

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
    decay_mistakes,
    decayed,
    is_zero,
    moved,
    sign_mistakes,
)


def step(now: Now, kept: Kept, h: Hyper, s: Switches) -> Array:
    theta, g, _ = decayed(now, h, s)
    momentum = h["momentum"]
    if is_zero(momentum):
        return moved(theta, h["lr"] * g, h, s)
    old, form = kept.get("buf"), s.get("buf")
    share = 1 - h["dampening"]
    if form == "average":
        buf = (1 - momentum) * g if old is None else momentum * old + (1 - momentum) * g
    elif form == "dampened at once":
        buf = share * g if old is None else momentum * old + share * g
    elif form == "weights exchanged":
        buf = momentum * g if old is None else (1 - momentum) * old + momentum * g
    else:
        buf = g if old is None or form == "anew" else momentum * old + share * g
    kept["buf"] = buf
    if form == "before":
        buf = np.zeros_like(g) if old is None else old
    if h["nesterov"]:
        buf = g + momentum * buf
        if form == "look ahead kept":
            kept["buf"] = buf
    return moved(theta, h["lr"] * buf, h, s)


def mistakes(h: Hyper) -> Iterator[Mistake]:
    yield from sign_mistakes(h)
    yield from decay_mistakes(h, adaptive=False)
    if not h["momentum"]:
        return
    buf = velocity(h)
    anew = "the velocity starts anew at every step: what is left is plain gradient descent"
    if h["nesterov"]:
        anew = "the velocity starts anew at every step: what is left is the gradient times 1 + momentum"
    yield Mistake("state-not-kept", anew, f"{buf}, kept from step to step", {"buf": "anew"})
    average = "the velocity is an average: (1 - momentum) * g comes in, as if dampening were momentum"
    expected = f"dampening = {h['momentum']:g}, expected {h['dampening']:g}"
    yield Mistake("wrong-hyperparameter", f"{expected}: {average}", buf, {"buf": "average"})
    if h["dampening"]:
        once = "the first step is dampened as well: the dampening acts one step too early"
        yield Mistake("step-off-by-one", once, buf, {"buf": "dampened at once"})
    exchanged = "the weights of the velocity are exchanged: 1 - momentum on what is kept, momentum on the new g"
    yield Mistake("wrong-hyperparameter", exchanged, buf, {"buf": "weights exchanged"}, rank=1.2)
    before = "the step uses the velocity as it was before this step's gradient came in"
    yield Mistake("wrong-operand", before, f"{buf} first, then the step", {"buf": "before"}, rank=1.1)
    if h["nesterov"]:
        kept = "what is kept for the next step is g + momentum * buf, which looks ahead, and not buf"
        yield Mistake("state-not-kept", kept, formula(h), {"buf": "look ahead kept"}, rank=1.1)


def velocity(h: Hyper) -> str:
    later = "buf = momentum * buf + (1 - dampening) * g"
    return f"{later} if t > 1 else g" if h["dampening"] else "buf = momentum * buf + g"


def last(h: Hyper) -> str:
    if not h["momentum"]:
        return "theta = theta - lr * g"
    return f"theta = theta - lr * {'(g + momentum * buf)' if h['nesterov'] else 'buf'}"


def formula(h: Hyper) -> str:
    return beginning(h) + (f"{velocity(h)}\n{last(h)}" if h["momentum"] else last(h))


def also(h: Hyper) -> tuple[str, ...]:
    """With the first step as a case of its own, as torch has it."""
    if not h["momentum"] or h["dampening"]:
        return ()
    return (formula(h).replace(velocity(h), f"{velocity(h)} if t > 1 else g"),)


def acts(h: Hyper) -> dict[str, str]:
    buf = velocity(h) if h["momentum"] else last(h)
    return {"momentum": buf, "dampening": buf, "lr": last(h)}


SOLVED = {"momentum": "unit", "dampening": "unit", "weight_decay": "positive"}
SGD = Rule("SGD", step, formula, mistakes, SOLVED, ("nesterov",), acts, {}, also)
