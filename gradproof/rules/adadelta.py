"""Adadelta."""

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
    fading,
    mean_mistakes,
    moved,
    sign_mistakes,
    square_mistakes,
    squared,
)

V = "v = rho * v + (1 - rho) * g**2"
U = "u = rho * u + (1 - rho) * d**2"
D = "d = g * sqrt(u + eps) / sqrt(v + eps)"


def step(now: Now, kept: Kept, h: Hyper, s: Switches) -> Array:
    theta, g, sized = decayed(now, h, s)
    rho, eps, place = h["rho"], h["eps"], s.get("eps")
    v = fading(kept, "v", squared(sized, now, s), rho, now, s)
    u = kept.get("u", np.zeros_like(g))
    above = np.sqrt(u) + eps if place in ("outside", "outside above") else np.sqrt(u + eps)
    below = np.sqrt(v) + eps if place in ("outside", "outside below") else np.sqrt(v + eps)
    if place == "left out below":
        below = np.sqrt(v)
    form = s.get("quotient")
    if form == "roots missing":
        above, below = u + eps, v + eps
    elif form == "root missing below":
        below = v + eps
    elif form == "exchanged":
        above, below = below, above
    elif form == "without u":
        above = np.ones_like(g)
    d = g * above / below
    fed = {"with the rate": h["lr"] * d, "gradient": g}.get(s.get("moved", ""), d)
    size = np.abs(fed) if s.get("moved") == "absolute" else fed * fed
    fading(kept, "u", size, rho, now, s)
    if s.get("u") == "before use":
        d = g * np.sqrt(kept["u"] + eps) / below
    return moved(theta, h["lr"] * d, h, s)


def mistakes(h: Hyper) -> Iterator[Mistake]:
    yield from sign_mistakes(h)
    yield from decay_mistakes(h, adaptive=True)
    code = "epsilon-misplaced"
    yield Mistake(code, "eps is added outside both roots: (sqrt(u) + eps) / (sqrt(v) + eps)", D, {"eps": "outside"})
    message = "eps is added outside the root of u, sqrt(u) + eps"
    yield Mistake(code, message, D, {"eps": "outside above"})
    message = "eps is added outside the root of v, sqrt(v) + eps"
    yield Mistake(code, message, D, {"eps": "outside below"})
    yield Mistake(code, "eps is left out beside v", D, {"eps": "left out below"})
    yield from square_mistakes(V, mean=False)
    yield from mean_mistakes("v", "g**2", "rho", V)
    yield from (one for one in mean_mistakes("u", "d**2", "rho", U) if one.switches["u"] != "before")
    both = "u and v start from zero at every step: nothing is kept of them"
    yield Mistake("state-not-kept", both, f"{V}\n{U}, kept from step to step", {"u": "anew", "v": "anew"})
    message = "the roots are missing: d = g * (u + eps) / (v + eps)"
    yield Mistake("different-function", message, D, {"quotient": "roots missing"})
    message = "the root of v is missing: the step is divided by v + eps"
    yield Mistake("different-function", message, D, {"quotient": "root missing below"})
    message = "u and v are exchanged: d = g * sqrt(v + eps) / sqrt(u + eps)"
    yield Mistake("moments-mixed-up", message, D, {"quotient": "exchanged"})
    message = "the root of u, the mean square of the steps, is left out: d = g / sqrt(v + eps), as in RMSprop"
    yield Mistake("different-function", message, D, {"quotient": "without u"})
    message = "u is fed with lr * d, the change of the parameter, not with d"
    yield Mistake("wrong-operand", message, U, {"moved": "with the rate"})
    message = "u is fed with g**2, not with d**2"
    yield Mistake("moments-mixed-up", message, U, {"moved": "gradient"})
    yield Mistake("gradient-not-squared", "u is fed with |d|, which is not squared", U, {"moved": "absolute"})


def formula(h: Hyper) -> str:
    return f"{beginning(h)}{V}\n{D}\n{U}\ntheta = theta - lr * d"


SOLVED = {"rho": "unit", "eps": "positive", "weight_decay": "positive"}
ACTS = {"rho": f"{V}\n{U}", "eps": D, "lr": "theta = theta - lr * d"}
ADADELTA = Rule("Adadelta", step, formula, mistakes, SOLVED, (), lambda h: ACTS)
