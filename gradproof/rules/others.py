"""Other rules that get written in a rule's place: the rest of the family, and steps scaled by one number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from gradproof.rules.adadelta import ADADELTA
from gradproof.rules.adagrad import ADAGRAD
from gradproof.rules.adam import ADAM
from gradproof.rules.adamax import ADAMAX
from gradproof.rules.base import Array, Hyper, Kept, Mistake, Now, Rule, Switches, decayed, is_zero, moved
from gradproof.rules.nadam import NADAM
from gradproof.rules.radam import RADAM
from gradproof.rules.rmsprop import RMSPROP
from gradproof.rules.sgd import SGD

# What the whole gradient is divided by, in words.
SCALES = {
    "std": "its standard deviation",
    "sample std": "its standard deviation (with n - 1)",
    "norm": "its norm",
    "norm of all": "the norm of all parameters' gradients together",
    "largest": "its largest entry",
    "mean absolute": "the mean of its absolute values",
    "root mean square": "its root mean square",
}


def _scaled_step(now: Now, kept: Kept, h: Hyper, s: Switches) -> Array:
    theta, g, _ = decayed(now, h, s)
    if h["by"] == "sign":
        return moved(theta, h["lr"] * np.sign(g), h, s)
    return moved(theta, h["lr"] * g / (now.whole(h["by"]) + h["eps"]), h, s)


def _no_mistakes(h: Hyper) -> Iterator[Mistake]:
    yield from ()


SCALED = Rule("scaled", _scaled_step, lambda h: "", _no_mistakes, {})


def mistakes(rule: Rule, h: Hyper) -> Iterator[Mistake]:
    """Each other rule as a mistake, with the reference's own constants where it has such ones."""
    common = {name: h[name] for name in ("lr", "weight_decay", "maximize", "decoupled", "decoupled_decay")}
    momentum = h.get("beta1") or h.get("momentum") or 0.9
    eps = h.get("eps", 1e-8)
    fade = h.get("beta2") or h.get("alpha") or h.get("rho")

    def other(stands: Rule, words: str, **values: object) -> Mistake:
        message = f"the step is that of another rule, {words}; the reference is {rule.name}"
        return Mistake("different-function", message, rule.formula(h), {}, {**common, **values}, 1.3, stands)

    options = {"nesterov": False, "dampening": 0.0, "amsgrad": False, "centered": False, "start_of_v": 0.0}
    options |= {"lr_decay": 0.0, "initial_accumulator_value": 0.0, "momentum_decay": 0.004, "momentum": 0.0}
    if rule is not SGD or h["momentum"]:
        plain = other(SGD, "plain gradient descent: lr * g", **options)
        yield plain if rule is SGD else replace(plain, rank=1.05)
    if rule is not SGD or is_zero(h["momentum"]):
        given = options | {"momentum": momentum}
        yield other(SGD, f"gradient descent with momentum {momentum:g}", **given)
        average = given | {"dampening": momentum}
        yield other(SGD, f"gradient descent with momentum {momentum:g} and as much dampening", **average)
        yield other(SGD, f"gradient descent with Nesterov's momentum {momentum:g}", **given | {"nesterov": True})
    if rule is not ADAGRAD:
        yield other(ADAGRAD, "Adagrad: the squares are added up and do not fade", **options, eps=eps)
    for alpha in dict.fromkeys([fade or 0.99, 0.99, 0.9]):
        given = options | {"alpha": alpha, "eps": eps}
        if rule is not RMSPROP:
            yield other(RMSPROP, f"RMSprop with alpha = {alpha:g}", **given)
            with_momentum = given | {"momentum": momentum}
            yield other(RMSPROP, f"RMSprop with alpha = {alpha:g} and momentum {momentum:g}", **with_momentum)
            yield other(RMSPROP, f"centered RMSprop with alpha = {alpha:g}", **given | {"centered": True})
    if rule is not ADADELTA:
        for rho in dict.fromkeys([fade or 0.9, 0.9]):
            yield other(ADADELTA, f"Adadelta with rho = {rho:g}", **options, rho=rho, eps=eps)
    given = options | {"beta1": h.get("beta1", 0.9), "beta2": h.get("beta2", fade or 0.999), "eps": eps}
    betas = f"(betas {given['beta1']:g} and {given['beta2']:g})"
    for stands in (ADAM, NADAM, RADAM, ADAMAX):
        if stands is not rule:
            yield other(stands, f"{stands.name} {betas}", **given)
    if rule is not ADAM and not is_zero(h["weight_decay"]):
        turned = given | {"decoupled": not h["decoupled"]}
        yield other(ADAM, f"{'Adam' if h['decoupled'] else 'AdamW'} {betas}", **turned)
    yield other(SCALED, "sign descent: every entry moves by lr, up or down", by="sign")
    for by, words in SCALES.items():
        for small, told in ((eps, " + eps"), (0.0, "")) if eps else ((0.0, ""),):
            message = f"the whole gradient divided by one number, {words}{told}"
            yield other(SCALED, message, by=by, eps=small)
