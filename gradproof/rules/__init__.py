"""torch's update rules in NumPy, each written once, with its mistakes as switches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gradproof.rules.adadelta import ADADELTA
from gradproof.rules.adagrad import ADAGRAD
from gradproof.rules.adam import ADAM
from gradproof.rules.adamax import ADAMAX
from gradproof.rules.base import Hyper, Mistake, Now, Rule
from gradproof.rules.formulas import as_written, variants
from gradproof.rules.nadam import NADAM
from gradproof.rules.others import mistakes as other_rules
from gradproof.rules.radam import RADAM
from gradproof.rules.rmsprop import RMSPROP
from gradproof.rules.sgd import SGD

__all__ = ["RULES", "Hyper", "Mistake", "Now", "Rule", "as_written", "other_rules", "read_rule", "variants"]

# By the name of the torch.optim class.
RULES = {
    "SGD": SGD,
    "Adagrad": ADAGRAD,
    "RMSprop": RMSPROP,
    "Adadelta": ADADELTA,
    "Adam": ADAM,
    "AdamW": ADAM,
    "NAdam": NADAM,
    "RAdam": RADAM,
    "Adamax": ADAMAX,
}

_FLAGS = ("maximize", "nesterov", "amsgrad", "centered", "decoupled")
_NUMBERS = (
    "lr",
    "weight_decay",
    "momentum",
    "dampening",
    "alpha",
    "rho",
    "eps",
    "lr_decay",
    "initial_accumulator_value",
    "momentum_decay",
    "beta1",
    "beta2",
)


def read_rule(optimizer: Any, group: Mapping[str, Any]) -> tuple[Rule, dict[str, Any]] | None:
    """The rule of a torch optimizer and its hyperparameters for one parameter group; None where it is no known one."""
    names = [one.__name__ for one in type(optimizer).__mro__]
    name = next((one for one in names if one in RULES), None)
    if name is None:
        return None
    given = dict(group)
    if "betas" in given:
        given["beta1"], given["beta2"] = given["betas"]
    given["decoupled"] = name == "AdamW" or given.get("decoupled_weight_decay", False)
    hyper: dict[str, Any] = {flag: bool(given.get(flag, False)) for flag in _FLAGS}
    absent = {"weight_decay": 0.0, "decoupled_decay": 0.0, "start_of_v": 0.0}
    numbers = absent | {number: float(given[number]) for number in _NUMBERS if number in given}
    # NumPy's floats divide by zero without raising.
    return RULES[name], hyper | {number: np.float64(value) for number, value in numbers.items()}
