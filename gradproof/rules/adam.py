"""Adam, its AMSGrad form, and AdamW (whose decay is decoupled)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

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
    correction,
    counted,
    counter_mistakes,
    decay_mistakes,
    decayed,
    epsilon_mistakes,
    fading,
    fed,
    mean_mistakes,
    moved,
    quotient,
    root,
    root_mistakes,
    sign_mistakes,
    square_mistakes,
    squared,
)

M = "m = beta1 * m + (1 - beta1) * g"
V = "v = beta2 * v + (1 - beta2) * g**2"
HATS = "m_hat = m / (1 - beta1**t)\nv_hat = v / (1 - beta2**t)"
LARGEST_HATS = HATS.replace("= v /", "= v_max /")  # of AMSGrad
COUNTED = f"{HATS}, with t = 1 at the first step"
STEP = "theta = theta - lr * m_hat / (sqrt(v_hat) + eps)"

# Which beta stands in m, in v, in m's correction and in v's.
BETAS = {
    None: (1, 2, 1, 2),
    "exchanged": (2, 1, 2, 1),
    "exchanged in the means": (2, 1, 1, 2),
    "exchanged in the corrections": (1, 2, 2, 1),
    "both the first": (1, 1, 1, 1),
    "both the second": (2, 2, 2, 2),
    "both means the first": (1, 1, 1, 2),
    "both means the second": (2, 2, 1, 2),
    "both corrections the first": (1, 2, 1, 1),
    "both corrections the second": (1, 2, 2, 2),
}


def betas(h: Hyper, s: Switches) -> tuple[float, ...]:
    beta = (0.0, h["beta1"], h["beta2"])
    return tuple(beta[i] for i in BETAS[s.get("betas")])


def moments(now: Now, kept: Kept, h: Hyper, s: Switches) -> tuple[Array, Array, Array, Array]:
    """The parameter after a decoupled decay, the gradient after a coupled one, and both means (uncorrected)."""
    theta, g, sized = decayed(now, h, s)
    first, second, _, _ = betas(h, s)
    m = fading(kept, "m", g, first, now, s)
    v = fading(kept, "v", squared(sized, now, s, m), second, now, s)
    return theta, g, m, fed(v, h["eps"], "v", kept, s)


def corrections(now: Now, h: Hyper, s: Switches) -> tuple[float, float]:
    """What m and v are divided by."""
    form = s.get("correction")
    t1, t2 = counted(now, s)
    _, _, first, second = betas(h, s)
    c1 = 1.0 if form in ("none", "second only") else correction(first, t1)
    c2 = 1.0 if form in ("none", "first only") else correction(second, t2)
    if form == "multiplied":
        c1, c2 = 1 / c1, 1 / c2
    return c1, c2


def step(now: Now, kept: Kept, h: Hyper, s: Switches) -> Array:
    theta, g, m, v = moments(now, kept, h, s)
    c1, c2 = corrections(now, h, s)
    if h["amsgrad"]:
        if s.get("largest") == "anew":
            kept.pop("largest", None)
        if s.get("largest") == "of the corrected":
            v, c2 = v / c2, 1.0
        v = kept["largest"] = np.maximum(kept.get("largest", v), v)
    m_hat = m / c1
    stored = s.get("stored")
    if stored is not None:
        kept["m"] = m_hat if stored != "v" else m
        kept["v"] = v / c2 if stored != "m" else v
    above = s.get("above")
    if above == "sign of the mean":
        return moved(theta, h["lr"] * np.sign(m), h, s)
    if above == "root of the mean below":
        below = np.sqrt(np.abs(m_hat)) + h["eps"]
        return moved(theta, h["lr"] * v / c2 / below, h, s)
    if above == "mean for the square":
        return moved(theta, h["lr"] * m_hat / (np.sqrt(np.abs(m_hat)) + h["eps"]), h, s)
    return moved(theta, h["lr"] * quotient(m_hat, root(v, c2, h["eps"], kept, s), h["eps"], s), h, s)


def correction_mistakes(right: str) -> Iterator[Mistake]:
    code = "missing-bias-correction"
    none = "m and v are used as they are, without the corrections for their start at zero"
    yield Mistake(code, none, right, {"correction": "none"})
    second = "m is used as it is, without the correction for its start at zero; v is corrected"
    yield Mistake(code, second, right, {"correction": "second only"})
    first = "v is used as it is, without the correction for its start at zero; m is corrected"
    yield Mistake(code, first, right, {"correction": "first only"})
    wrong_way = "m and v are multiplied by 1 - beta**t, which they should be divided by"
    yield Mistake(code, wrong_way, right, {"correction": "multiplied"}, rank=1.1)


def beta_mistakes(corrected: bool = True, key: str = "v", second: str = V) -> Iterator[Mistake]:
    code = "moments-mixed-up"
    right = f"{M}\n{second}" + (f"\n{HATS}" if corrected else "")
    message = f"beta1 and beta2 are exchanged: m fades with beta2, {key} with beta1"
    yield Mistake(code, message, right, {"betas": "exchanged"})
    message = f"{key} fades with beta1, as m does: beta2 is not used"
    yield Mistake(code, message, right, {"betas": "both the first"})
    message = f"m fades with beta2, as {key} does: beta1 is not used"
    yield Mistake(code, message, right, {"betas": "both the second"})
    if not corrected:
        return
    message = "beta1 and beta2 are exchanged in the means (m fades with beta2, v with beta1), not in the corrections"
    yield Mistake(code, message, right, {"betas": "exchanged in the means"})
    message = "beta1 and beta2 are exchanged in the corrections: m is divided by 1 - beta2**t, v by 1 - beta1**t"
    yield Mistake(code, message, right, {"betas": "exchanged in the corrections"})
    message = "v fades with beta1, as m does; its correction has beta2"
    yield Mistake(code, message, right, {"betas": "both means the first"}, rank=1.1)
    message = "m fades with beta2, as v does; its correction has beta1"
    yield Mistake(code, message, right, {"betas": "both means the second"}, rank=1.1)
    message = "v is corrected by 1 - beta1**t, as m is"
    yield Mistake(code, message, right, {"betas": "both corrections the first"}, rank=1.1)
    message = "m is corrected by 1 - beta2**t, as v is"
    yield Mistake(code, message, right, {"betas": "both corrections the second"}, rank=1.1)


def anew_mistakes(first: str, second: str) -> Iterator[Mistake]:
    """Everything that should be kept, or both means, thrown away at each step."""
    message = "nothing is kept from step to step: both means and the counter start anew at every step"
    right = f"{first}\n{second}, with m, v and t kept from step to step"
    yield Mistake("state-not-kept", message, right, {"m": "anew", "v": "anew", "counter": "stays"})
    message = "both means start from zero at every step, while the counter goes on"
    yield Mistake("state-not-kept", message, right, {"m": "anew", "v": "anew"})


def mistakes(h: Hyper) -> Iterator[Mistake]:
    for one in _mistakes(h):
        yield replace(one, right=one.right.replace(HATS, LARGEST_HATS)) if h["amsgrad"] else one


def _mistakes(h: Hyper) -> Iterator[Mistake]:
    yield from sign_mistakes(h)
    for one in anew_mistakes(M, V):
        yield replace(one, switches={**one.switches, "largest": "anew"}) if h["amsgrad"] else one
    yield from decay_mistakes(h, adaptive=True)
    yield from correction_mistakes(HATS)
    yield from counter_mistakes(COUNTED)
    yield from epsilon_mistakes("v_hat", STEP, corrected=True)
    yield from square_mistakes(V, mean=True)
    yield from root_mistakes("v_hat", STEP, corrected=True)
    yield from beta_mistakes()
    yield from mean_mistakes("m", "g", "beta1", M)
    yield from mean_mistakes("v", "g**2", "beta2", V)
    for which, names in (("both", "m_hat and v_hat"), ("m", "m_hat"), ("v", "v_hat")):
        message = f"what is kept for the next step is {names}, corrected already: the correction acts again and again"
        right = f"{HATS}\nm and v are kept, not m_hat and v_hat"
        yield Mistake("state-not-kept", message, right, {"stored": which}, rank=1.1)
    message = "the step is divided by the root of |m_hat|, the wrong mean"
    yield Mistake("moments-mixed-up", message, STEP, {"above": "mean for the square"}, rank=1.1)
    message = "the two means are exchanged in the step: v_hat stands above, the root of |m_hat| below"
    yield Mistake("moments-mixed-up", message, STEP, {"above": "root of the mean below"}, rank=1.1)
    message = "only the sign of m is used: every entry moves by lr"
    yield Mistake("different-function", message, STEP, {"above": "sign of the mean"}, rank=1.2)
    if h["amsgrad"]:
        message = "the largest v so far is taken of the corrected v_hat, not of v"
        right = "v_max = max(v_max, v)\nv_hat = v_max / (1 - beta2**t)"
        yield Mistake("different-function", message, right, {"largest": "of the corrected"})


def formula(h: Hyper) -> str:
    if h["amsgrad"]:
        return f"{beginning(h)}{M}\n{V}\nv_max = max(v_max, v)\n{LARGEST_HATS}\n{STEP}"
    return f"{beginning(h)}{M}\n{V}\n{HATS}\n{STEP}"


SOLVED = {"beta1": "unit", "beta2": "unit", "eps": "positive", "weight_decay": "positive"}
ACTS = {"beta1": f"{M}\nm_hat = m / (1 - beta1**t)", "beta2": f"{V}\nv_hat = v / (1 - beta2**t)"}
LARGEST_ACTS = ACTS | {"beta2": f"{V}\nv_max = max(v_max, v)\nv_hat = v_max / (1 - beta2**t)"}


def _where(h: Hyper) -> dict[str, str]:
    return (LARGEST_ACTS if h["amsgrad"] else ACTS) | {"eps": STEP, "lr": STEP}


ADAM = Rule("Adam", step, formula, mistakes, SOLVED, ("amsgrad",), _where)
