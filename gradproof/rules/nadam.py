"""NAdam: Adam that looks ahead, with a momentum that rises from step to step."""

from __future__ import annotations

from collections.abc import Iterator

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

MU = (
    "mu = beta1 * (1 - 0.5 * 0.96**(t * momentum_decay))\n"
    "mu_next = beta1 * (1 - 0.5 * 0.96**((t + 1) * momentum_decay))"
)
MEAN = "product = product * mu\nm_hat = mu_next * m / (1 - product * mu_next) + (1 - mu) * g / (1 - product)"
V_HAT = "v_hat = v / (1 - beta2**t)"
STEP = "theta = theta - lr * m_hat / (sqrt(v_hat) + eps)"


def step(now: Now, kept: Kept, h: Hyper, s: Switches) -> Array:
    theta, g, m, v = adam.moments(now, kept, h, s)
    _, c2 = adam.corrections(now, h, s)
    t, _ = counted(now, s)
    form = s.get("mu")
    _, _, beta, _ = adam.betas(h, s)
    mu, following = (beta * (1 - 0.5 * 0.96 ** (n * h["momentum_decay"])) for n in (t, t + 1))
    if form == "constant":
        mu = following = beta
    elif form == "same twice":
        following = mu
    product = (1.0 if form == "product not kept" else kept.get("product", 1.0)) * mu
    kept["product"] = product
    c_g, c_m = 1 - product, 1 - product * following
    if form == "m corrected as g":
        c_m = c_g
    elif form == "corrected as Adam":
        c_g = c_m = adam.corrections(now, h, s)[0]
    if s.get("correction") in ("none", "second only"):
        c_g = c_m = 1.0
    weight = mu if form == "weighted with this" else following
    m_hat = weight * m / c_m + (1 - mu) * g / c_g
    return moved(theta, h["lr"] * quotient(m_hat, root(v, c2, h["eps"], kept, s), h["eps"], s), h, s)


def mistakes(h: Hyper) -> Iterator[Mistake]:
    yield from sign_mistakes(h)
    yield from adam.anew_mistakes(M, V)
    yield from decay_mistakes(h, adaptive=True)
    yield from adam.correction_mistakes(f"{MEAN}\n{V_HAT}")
    yield from counter_mistakes(f"{MU}\n{V_HAT}, with t = 1 at the first step")
    yield from epsilon_mistakes("v_hat", STEP, corrected=True)
    yield from square_mistakes(V, mean=True)
    yield from root_mistakes("v_hat", STEP, corrected=True)
    yield from adam.beta_mistakes()
    yield from mean_mistakes("m", "g", "beta1", M)
    yield from mean_mistakes("v", "g**2", "beta2", V)
    constant = "the momentum is beta1 at every step, without the schedule of mu"
    yield Mistake("different-function", constant, MU, {"mu": "constant"})
    message = "m is weighted with mu, where mu_next belongs"
    yield Mistake("step-off-by-one", message, MEAN, {"mu": "weighted with this"})
    message = "mu stands in the place of mu_next, in the weight of m and in its correction"
    yield Mistake("step-off-by-one", message, MEAN, {"mu": "same twice"})
    message = "the product of all mu is not kept: each step has its own mu alone"
    yield Mistake("state-not-kept", message, MEAN, {"mu": "product not kept"})
    message = "m is corrected by the product up to mu, where the one up to mu_next belongs"
    yield Mistake("step-off-by-one", message, MEAN, {"mu": "m corrected as g"}, rank=1.1)
    message = "m and g are corrected by 1 - beta1**t, as in Adam, not by the product of all mu"
    yield Mistake("different-function", message, MEAN, {"mu": "corrected as Adam"}, rank=1.1)


def formula(h: Hyper) -> str:
    return f"{beginning(h)}{MU}\n{M}\n{V}\n{MEAN}\n{V_HAT}\n{STEP}"


SOLVED = {**adam.SOLVED, "momentum_decay": "positive"}
ACTS = {"beta1": f"{MU}\n{M}\n{MEAN}", "beta2": f"{V}\n{V_HAT}", "momentum_decay": MU, "eps": STEP, "lr": STEP}
NADAM = Rule("NAdam", step, formula, mistakes, SOLVED, (), lambda h: ACTS, {"product": 1.0})
