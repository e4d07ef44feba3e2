"""Adamax: Adam with the largest gradient so far, fading, in the place of the root of the mean square."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradproof.rules import adam
from gradproof.rules.adam import M
from gradproof.rules.base import (
    Array,
    Hyper,
    Kept,
    Mistake,
    Now,
    Rule,
    Switches,
    beginning,
    counter_mistakes,
    decay_mistakes,
    decayed,
    fading,
    mean_mistakes,
    moved,
    sign_mistakes,
)

U = "u = max(beta2 * u, abs(g) + eps)"
M_HAT = "m_hat = m / (1 - beta1**t)"
STEP = "theta = theta - lr * m_hat / u"


def step(now: Now, kept: Kept, h: Hyper, s: Switches) -> Array:
    theta, g, sized = decayed(now, h, s)
    first, second, _, _ = adam.betas(h, s)
    m = fading(kept, "m", g, first, now, s)
    old = np.zeros_like(g) if s.get("u") == "anew" else kept.get("u", np.zeros_like(g))
    eps, place, form = h["eps"], s.get("eps"), s.get("u")
    size = {"plain": sized, "squared": sized * sized}.get(form or "", np.abs(sized))
    added = eps if place in (None, "root") else 0.0
    if form == "sum":
        u = second * old + size + added
    elif form == "mean":
        u = second * old + (1 - second) * size + added
    elif form == "does not fade":
        u = np.maximum(old, size + added)
    elif form == "fades afterwards":
        u = second * np.maximum(old, size + added)
    else:
        u = np.maximum(second * old, size + added)
    kept["u"] = u
    if form == "before":
        u = old
    if place == "outside":
        u = u + eps
    elif place == "largest":
        u = np.maximum(u, eps)
    c1, c2 = adam.corrections(now, h, s)
    c2 = c2 if s.get("u corrected") else 1.0
    return moved(theta, h["lr"] * (m / c1) / (u / c2), h, s)


def mistakes(h: Hyper) -> Iterator[Mistake]:
    yield from sign_mistakes(h)
    yield from decay_mistakes(h, adaptive=True)
    missing = "m is used as it is, without the correction for its start at zero"
    yield Mistake("missing-bias-correction", missing, M_HAT, {"correction": "none"})
    yield from counter_mistakes(f"{M_HAT}, with t = 1 at the first step", apart=False)
    yield Mistake("epsilon-misplaced", "eps is added to u after the maximum: u + eps", U, {"eps": "outside"})
    yield Mistake("epsilon-misplaced", "eps is left out", U, {"eps": "left out"})
    yield Mistake("epsilon-misplaced", "eps is a lower bound of u, and is not added", U, {"eps": "largest"}, rank=1.1)
    yield from adam.beta_mistakes(corrected=False, key="u", second=U)
    yield from mean_mistakes("m", "g", "beta1", M)
    nothing = "nothing is kept from step to step: m, u and the counter start anew at every step"
    keep = f"{M}\n{U}, with m, u and t kept from step to step"
    yield Mistake("state-not-kept", nothing, keep, {"m": "anew", "u": "anew", "counter": "stays"})
    both = "m and u start from zero at every step, while the counter goes on"
    yield Mistake("state-not-kept", both, keep, {"m": "anew", "u": "anew"})
    yield Mistake("state-not-kept", "u starts from zero at every step: nothing is kept of it", U, {"u": "anew"})
    code = "different-function"
    yield Mistake("gradient-not-squared", "u is fed with g, whose sign is left in, and not with |g|", U, {"u": "plain"})
    yield Mistake(code, "u is fed with g**2, not with |g|", U, {"u": "squared"})
    yield Mistake(code, "u adds |g| up where it should take the larger of the two", U, {"u": "sum"})
    yield Mistake(code, "u is a fading mean of |g| where it should take the larger of the two", U, {"u": "mean"})
    yield Mistake("wrong-hyperparameter", "u does not fade: beta2 is not used", U, {"u": "does not fade"})
    message = "beta2 fades the new |g| as well: u = beta2 * max(u, |g|)"
    yield Mistake(code, message, U, {"u": "fades afterwards"})
    before = "the step uses u as it was before this step's gradient came in"
    yield Mistake("wrong-operand", before, U, {"u": "before"}, rank=1.1)
    corrected = "u is corrected for its start at zero, u / (1 - beta2**t): a maximum needs no correction"
    yield Mistake(code, corrected, STEP, {"u corrected": "yes"}, rank=1.1)


def formula(h: Hyper) -> str:
    return f"{beginning(h)}{M}\n{U}\n{M_HAT}\n{STEP}"


ACTS = {"beta1": f"{M}\n{M_HAT}", "beta2": U, "eps": U, "lr": STEP}
ADAMAX = Rule("Adamax", step, formula, mistakes, adam.SOLVED, (), lambda h: ACTS)
