"""The search: which mistakes, in which rule, make exactly the candidate's steps. One, then two, the simplest first."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from gradproof.diagnosis.update_trials import Flat, Runs, holds, interleaved, screen
from gradproof.diagnosis.update_values import exact_factor, factor_words, plain, solve, told
from gradproof.report import number
from gradproof.rules import Hyper, Mistake, Rule, other_rules, variants

BUDGET = 4.0  # seconds
MOST = 8  # explanations of equal simplicity that are verified


@dataclass(frozen=True)
class Explanation:
    """The rule with these mistakes, all of its steps times `factor`, is the candidate's."""

    mistakes: tuple[Mistake, ...]
    factor: float = 1.0
    words: str = ""  # of the factor, where it has a name
    given: bool = False  # shown by other means than running the rule on the entries

    @property
    def rank(self) -> float:
        scaled = 1.4 if abs(self.factor) != 1.0 else 0.0
        return sum(one.rank for one in self.mistakes) + scaled + (0.8 if self.factor < 0 else 0.0)


@dataclass
class Search:
    """One search: for the entries of some parameters that share their hyperparameters."""

    runs: Runs
    sample: Flat
    rule: Rule
    h: Hyper
    sizes: Mapping[int, str]
    information: int  # how many numbers that are no repetitions of each other there are to be explained
    tried: int = 0
    cut: bool = False
    _ends: float = field(default_factory=lambda: time.monotonic() + BUDGET)
    _scaled: list[Explanation] = field(default_factory=list)  # what fits with a factor: one mistake more

    def explanations(self, pairs: bool = True) -> list[Explanation]:
        """The simplest that hold on the sample, the least far-fetched first; empty where none does."""
        one = (self._alone, self._by_formula)
        two = (self._in_pairs, self._two_values, self._with_any_value)
        levels = (*one, *two, self._scaled_pairs) if pairs else one
        with np.errstate(all="ignore"):
            for level in levels:
                found = list(level())
                if found:
                    return sorted(found, key=lambda one: one.rank)[:MOST]
                if self.cut:
                    break
        return []

    # One mistake.

    def _alone(self) -> Iterator[Explanation]:
        factor = self._try(())
        if factor is not None and factor != 1.0:
            for one in self._by_factor((), factor, unnamed=True):
                if one.factor == -1.0 or one.factor > 0:
                    yield one
                else:  # a sign and a scale are two mistakes
                    self._scaled.append(one)
        self.single = [*self.rule.mistakes(self.h), *values(self.rule, self.h), *flags(self.rule, self.h)]
        self.others = list(other_rules(self.rule, self.h))
        for mistake in (*self.single, *self.others):
            yield from self._judged((mistake,))
        yield from self._one_state()
        for names in self._names(1):
            yield from self._with_values((), names)

    def _one_state(self) -> Iterator[Explanation]:
        """All parameters with one entry of the state between them."""
        for each, words in ((True, ", the counter too"), (False, "")):
            flat = interleaved(self.runs, each)
            if flat is not None and holds(flat, self.rule, self.h, {}):
                message = f"all parameters share one entry of the state{words}: each overwrites what another has kept"
                right = "one entry of the state for each parameter"
                yield Explanation((Mistake("state-not-kept", message, right),), given=True)

    def _by_formula(self) -> Iterator[Explanation]:
        """One slip in the formula, of a kind that has no name."""
        for mistake in variants(self.rule, self.h):
            yield from self._judged((mistake,))

    # Two mistakes.

    def _in_pairs(self) -> Iterator[Explanation]:
        yield from self._scaled
        self._scaled = []
        for one, other in combinations(self.single, 2):
            if self._late():
                return
            if not _clash(one, other):
                yield from self._judged((one, other))
        for one in self.others:
            assert one.rule is not None
            for other in one.rule.mistakes({**self.h, **one.values}):
                if not self._late() and not _clash(one, other):
                    yield from self._judged((one, other))

    def _two_values(self) -> Iterator[Explanation]:
        """Two numbers that have to be solved for: hyperparameters, or one and a factor on all steps."""
        if self.information < 4:
            return
        for names in self._names(1):
            yield from self._with_values((), names, free_factor=True)
        for names in self._names(2):
            if not self._late():
                yield from self._with_values((), names)

    def _with_any_value(self) -> Iterator[Explanation]:
        """A mistake, and a hyperparameter that has to be solved for."""
        for mistake in self.single:
            for names in self._names(1):
                if not self._late() and not set(names) & set(mistake.values):
                    yield from self._with_values((mistake,), names)

    def _scaled_pairs(self) -> Iterator[Explanation]:
        yield from self._scaled

    # How one hypothesis is judged.

    def _late(self) -> bool:
        self.cut = self.cut or time.monotonic() > self._ends
        return self.cut

    def _try(self, mistakes: tuple[Mistake, ...]) -> float | None:
        self.tried += 1
        rule, h, s = switched(self.rule, self.h, mistakes)
        return screen(self.sample, rule, h, s)

    def _judged(self, mistakes: tuple[Mistake, ...]) -> Iterator[Explanation]:
        factor = self._try(mistakes)
        if factor == 1.0:
            if holds(self.sample, *switched(self.rule, self.h, mistakes)):
                yield Explanation(mistakes)
        elif factor is not None:
            self._scaled += self._by_factor(mistakes, factor)

    def _by_factor(
        self, mistakes: tuple[Mistake, ...], factor: float, unnamed: bool = False
    ) -> Iterator[Explanation]:
        """An explanation with a factor; without a name only where nothing else is amiss."""
        rule, h, s = switched(self.rule, self.h, mistakes)
        for tried in exact_factor(abs(factor), h):
            if holds(self.sample, rule, h, s, float(np.copysign(tried, factor))):
                break
        else:
            return
        if tried == 1.0:
            turned = Explanation(mistakes, -1.0)
            yield turned
            return
        words = factor_words(abs(factor), self.h, self.sizes)
        if words is not None or (unnamed and self.information >= 3):
            yield Explanation(mistakes, float(np.copysign(tried, factor)), words or "")

    def _names(self, count: int) -> Iterable[tuple[str, ...]]:
        names = [name for name in self.rule.solved if not (name == "dampening" and not self.h["momentum"])]
        if not self.h["weight_decay"] and not self.h["decoupled"] and self.rule.name != "SGD":
            names.append("decoupled_decay")
        return combinations(names, count)

    def _with_values(
        self, mistakes: tuple[Mistake, ...], names: tuple[str, ...], free_factor: bool = False
    ) -> Iterator[Explanation]:
        """The rule with some hyperparameters left free: whether there are values that give the steps."""
        rule, h, s = switched(self.rule, self.h, mistakes)
        self.tried += 1
        for found in solve(self.sample, rule, h, s, names, free_factor):
            if free_factor:
                factor = screen(self.sample, rule, {**h, **found}, s)
                if factor is None or factor == 1.0:
                    continue
                ends = {**h, "lr": h["lr"] * factor}
                settled = plain(self.sample, rule, ends, s, found)
            else:
                settled, factor = plain(self.sample, rule, h, s, found), 1.0
            if settled is None or any(_same(settled[name], self.h[name]) for name in names):
                continue
            wrong = tuple(wrong_value(rule, name, value, self.h) for name, value in settled.items())
            if free_factor:
                yield from self._by_factor((*mistakes, *wrong), factor)
            else:
                yield Explanation((*mistakes, *wrong))
            return


def switched(rule: Rule, h: Hyper, mistakes: tuple[Mistake, ...]) -> tuple[Rule, Hyper, dict[str, str]]:
    """The rule, the hyperparameters and the switches with these mistakes."""
    changed: dict[str, Any] = dict(h)
    switches: dict[str, str] = {}
    for mistake in mistakes:
        rule = mistake.rule or rule
        changed.update(mistake.values)
        switches.update(mistake.switches)
        for name, value in mistake.values.items():
            if type(value) is float:
                changed[name] = np.float64(value)  # which divides by zero without raising
    return rule, changed, switches


def _same(value: float, expected: float) -> bool:
    """Whether two values are the same but for what rounding leaves open."""
    return abs(value - expected) <= 1e-9 * abs(expected)


def _clash(one: Mistake, other: Mistake) -> bool:
    return bool(one.switches.keys() & other.switches.keys() or one.values.keys() & other.values.keys())


def wrong_value(rule: Rule, name: str, value: float, h: Hyper) -> Mistake:
    """A hyperparameter of another value, as a mistake."""
    right = rule.where(name, h)
    if name not in ("start_of_v", "decoupled_decay"):
        right = f"{name} = {number(h[name])}\n{right}"
    rank = 1.3 if name in ("decoupled_decay", "start_of_v") else 1.2
    if value == -h[name]:
        what = "weight decay" if name == "weight_decay" else name
        return Mistake("wrong-sign", f"the {what} has the wrong sign: {told(name, value, h)}", right, {}, {name: value})
    message = told(name, value, h)
    if not value:
        message += ": it is left out"
    return Mistake("wrong-hyperparameter", message, right, {}, {name: value}, rank)


def values(rule: Rule, h: Hyper) -> Iterator[Mistake]:
    """Values at the ends of what can be solved for: none at all, and the opposite."""
    for name in rule.solved:
        if h[name] and name != "eps":
            yield wrong_value(rule, name, 0.0, h)
        if name in ("momentum", "dampening") and h["momentum"]:
            yield wrong_value(rule, name, 1.0, h)
        if h[name] and name in ("weight_decay", "momentum"):
            yield wrong_value(rule, name, -h[name], h)
    if h.get("beta1") and h.get("beta2"):
        both = {"beta1": 0.0, "beta2": 0.0}
        message = " and ".join(told(name, value, h) for name, value in both.items())
        yield Mistake("wrong-hyperparameter", message, rule.formula(h), {}, both, 1.4)


FLAGS = {
    "nesterov": "the step looks ahead, g + momentum * buf, as Nesterov's; the reference's is plain momentum",
    "amsgrad": "the largest v so far is taken, as in AMSGrad; the reference takes v itself",
    "centered": "the variance v - m**2 is taken, as in centered RMSprop; the reference takes v itself",
}


def flags(rule: Rule, h: Hyper) -> Iterator[Mistake]:
    """Options left out, and options that the reference does not have."""
    for name in rule.flags:
        turned = {name: not h[name]}
        if h[name]:
            message = f"{name} = False, expected True: the step is that without it"
            yield Mistake("wrong-hyperparameter", message, rule.formula(h), {}, turned)
        else:
            yield Mistake("different-function", FLAGS[name], rule.formula(h), {}, turned, 1.1)
