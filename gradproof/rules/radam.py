"""RAdam: Adam that waits until v has seen enough, and then rectifies its step."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradproof.rules import adam
from gradproof.rules.adam import M, V
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
    epsilon_mistakes,
    mean_mistakes,
    moved,
    quotient,
    root,
    root_mistakes,
    sign_mistakes,
    square_mistakes,
)

RHO = "rho_inf = 2 / (1 - beta2) - 1\nrho = rho_inf - 2 * t * beta2**t / (1 - beta2**t)"
RECT = "r = sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))"
HATS = "m_hat = m / (1 - beta1**t)\nl = sqrt(1 - beta2**t) / (sqrt(v) + eps)"
STEP = "theta = theta - lr * m_hat * (r * l if rho > 5 else 1)"


def step(now: Now, kept: Kept, h: Hyper, s: Switches) -> Array:
    theta, _, m, v = adam.moments(now, kept, h, s)
    c1, c2 = adam.corrections(now, h, s)
    _, t = counted(now, s)
    _, _, _, beta2 = adam.betas(h, s)
    rho_inf = 2 / (1 - beta2) - 1
    rho = rho_inf - 2 * t * beta2**t / (1 - beta2**t)
    rect = np.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
    form = s.get("rectified")
    if form == "root missing":
        rect = rect * rect
    elif form == "left out":
        rect = 1.0
    m_hat = m / c1
    if s.get("eps") is None and "root" not in s:
        below = (np.sqrt(v) + h["eps"]) / np.sqrt(c2)  # torch's own: eps before the correction
    else:
        below = root(v, c2, h["eps"], kept, {} if s.get("eps") == "outside" else s)
    ready = rho > {"four": 4.0, None: 5.0}.get(s.get("threshold"), 5.0)
    if form == "always":
        ready = np.asarray(True)
    early = np.zeros_like(m) if form == "waits" else (m if form == "uncorrected before" else m_hat)
    step = np.where(ready, rect * quotient(m_hat, below, h["eps"], s), early)
    return moved(theta, h["lr"] * step, h, s)


def mistakes(h: Hyper) -> Iterator[Mistake]:
    yield from sign_mistakes(h)
    yield from adam.anew_mistakes(M, V)
    yield from decay_mistakes(h, adaptive=True)
    yield from adam.correction_mistakes(HATS)
    yield from counter_mistakes(f"{HATS}\n{RHO}, with t = 1 at the first step")
    yield from epsilon_mistakes("v_hat", HATS, corrected=True, torchs_before=True)
    outside = "eps is added to the root after v is corrected; torch's RAdam adds it before"
    yield Mistake("epsilon-misplaced", outside, HATS, {"eps": "outside"})
    yield from square_mistakes(V, mean=True)
    yield from root_mistakes("v_hat", HATS, corrected=True)
    yield from adam.beta_mistakes()
    yield from mean_mistakes("m", "g", "beta1", M)
    yield from mean_mistakes("v", "g**2", "beta2", V)
    left_out = "the rectification r is left out; the first steps wait as they should"
    yield Mistake("different-function", left_out, STEP, {"rectified": "left out"})
    message = "the root in the rectification r is missing"
    yield Mistake("different-function", message, RECT, {"rectified": "root missing"})
    message = "the parameter does not move until rho is above 5; it should move by lr * m_hat"
    yield Mistake("different-function", message, STEP, {"rectified": "waits"})
    message = "until rho is above 5 the step is lr * m, without the correction of m"
    yield Mistake("missing-bias-correction", message, STEP, {"rectified": "uncorrected before"})
    message = "the threshold of rho is 4 (the paper's), expected 5"
    yield Mistake("wrong-hyperparameter", message, STEP, {"threshold": "four"})


def formula(h: Hyper) -> str:
    return f"{beginning(h)}{M}\n{V}\n{HATS}\n{RHO}\n{RECT}\n{STEP}"


ACTS = {"beta1": f"{M}\nm_hat = m / (1 - beta1**t)", "beta2": f"{V}\n{HATS}\n{RHO}", "eps": HATS, "lr": STEP}
RADAM = Rule("RAdam", step, formula, mistakes, adam.SOLVED, (), lambda h: ACTS)
