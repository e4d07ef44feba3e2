"""What the update rules are made of: their parts, each with the ways in which it gets written wrong.

A rule is one function, `step(now, kept, h, s) -> theta`, written once for right and wrong alike. `h` holds the
hyperparameters by torch's names; `s` says which part is switched to another form, and is empty for torch's own rule.
Everything is elementwise, so that a rule can be run on some entries of all parameters in one flat array, and on many
values of a hyperparameter at once (a column of them, which broadcasts).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Hyper = Mapping[str, Any]
Switches = Mapping[str, str]
Kept = dict[str, Any]  # what goes from one step to the next


@dataclass(frozen=True)
class Now:
    """What one step is given: the parameter, its gradient, the step's number from 1, and statistics of whole arrays."""

    theta: Array
    g: Array
    t: Any
    nth: Any  # the number that this update has where every parameter is counted
    whole: Callable[[str], Array]  # a statistic of the whole gradient that an entry belongs to ("std", "norm" ...)


@dataclass(frozen=True)
class Mistake:
    """One thing written wrong: what it is called, how it is told, the right formula, and how to run the rule like that.

    `rank` says how far-fetched it is: of mistakes that give the same numbers, the one of the lowest rank is told first.
    """

    code: str
    message: str
    right: str
    switches: Switches = field(default_factory=dict)
    values: Hyper = field(default_factory=dict)
    rank: float = 1.0
    rule: Rule | None = None  # another rule, which stands in the reference's place


@dataclass(frozen=True)
class Rule:
    """An update rule, as a function and as the text of its formula, a line each, which can be run as well.

    `solved` names the hyperparameters that can have any value, and what kind of number each is. What a line uses before
    any line has made it is kept from step to step; it starts at 0, or at what `starts` says (a number, or the name of a
    hyperparameter). `also` gives other ways to write the formula, in which other slips can be made.

    `acts` gives the part of the formula in which a hyperparameter acts, by its name ("lr" for the step itself).
    """

    name: str
    step: Callable[[Now, Kept, Hyper, Switches], Array]
    formula: Callable[[Hyper], str]
    mistakes: Callable[[Hyper], Iterable[Mistake]]
    solved: Mapping[str, str]  # "unit": between 0 and 1; "positive": above 0, of any magnitude
    flags: tuple[str, ...] = ()  # options that are on or off
    acts: Callable[[Hyper], Mapping[str, str]] = field(default=lambda h: {})
    starts: Mapping[str, float | str] = field(default_factory=dict)
    also: Callable[[Hyper], tuple[str, ...]] = field(default=lambda h: ())

    def where(self, name: str, h: Hyper) -> str:
        """The part of the formula in which a hyperparameter acts; the whole formula where that is not one part."""
        if name == "weight_decay":
            return "theta = theta - lr * weight_decay * theta" if h["decoupled"] else "g = g + weight_decay * theta"
        return self.acts(h).get(name, self.formula(h))


# The parts, as a step uses them.


def is_zero(value: Any) -> bool:
    return not isinstance(value, np.ndarray) and value == 0


def decayed(now: Now, h: Hyper, s: Switches) -> tuple[Array, Array, Array]:
    """The parameter, and the gradient that gives the direction and the size, with the weight decay where it acts."""
    theta, g = now.theta, now.g
    if bool(h["maximize"]) != (s.get("sign") == "turned"):
        g = -g
    decay, extra = h["weight_decay"], h.get("decoupled_decay", 0.0)
    if not is_zero(extra):
        theta = theta * (1 - h["lr"] * extra)
    place = s.get("decay") or ("parameter" if h["decoupled"] else "gradient")
    if is_zero(decay) or place.startswith("after"):
        return theta, g, g
    if place == "parameter":
        return theta - h["lr"] * decay * now.theta, g, g
    if place == "without rate":
        return theta - decay * now.theta, g, g
    pushed = g + decay * (np.sign(now.theta) if place == "sign" else now.theta)
    if place == "both":
        return theta - h["lr"] * decay * now.theta, pushed, pushed
    return theta, g if place == "size" else pushed, g if place == "direction" else pushed


def moved(theta: Array, step: Array, h: Hyper, s: Switches) -> Array:
    """The parameter after the step, and after a decay that comes last."""
    after = theta - step
    if s.get("decay") == "after":
        after = after - h["lr"] * h["weight_decay"] * after
    elif s.get("decay") == "after without rate":
        after = after - h["weight_decay"] * after
    return np.asarray(after)


def counted(now: Now, s: Switches) -> tuple[Any, Any]:
    """The step's number, for the correction of the first and of the second moment."""
    counter = s.get("counter")
    if counter is None:
        return now.t, now.t
    if counter == "each parameter":
        return now.nth, now.nth
    if counter == "stays":
        return 1, 1
    if counter == "twice":
        return 2 * now.t, 2 * now.t
    shift = {"two": 1, "zero": -1}[counter.split()[0]]
    return (
        now.t if counter.endswith("second") else now.t + shift,
        now.t if counter.endswith("first") else now.t + shift,
    )


def correction(beta: Any, t: Any) -> Any:
    """1 - beta^t, and 1 for a step numbered 0, which a careful writer leaves uncorrected."""
    return 1.0 if isinstance(t, int) and t == 0 else 1 - beta**t


def fading(kept: Kept, key: str, new: Array, beta: Any, now: Now, s: Switches) -> Array:
    """The fading mean called `key`, with one array more; kept for the next step."""
    form = s.get(key)
    old = 0.0 if form == "anew" else kept.get(key, 0.0)
    if form is None or form in ("anew", "before"):
        mean = beta * old + (1 - beta) * new
    elif form == "sum":
        mean = beta * old + new
    elif form == "weights exchanged":
        mean = (1 - beta) * old + beta * new
    elif form == "never fades":
        mean = old + (1 - beta) * new
    elif form == "added up":
        mean = old + new
    elif form == "starts with the first":
        mean = new if now.t == 1 else beta * old + (1 - beta) * new
    else:
        raise ValueError(form)
    kept[key] = mean
    return np.asarray(old if form == "before" else mean)


def squared(g: Array, now: Now, s: Switches, m: Array | None = None) -> Array:
    """What the mean of squares is fed with."""
    form = s.get("square")
    if form is None:
        return g * g
    if form == "absolute":
        return np.abs(g)
    if form == "plain":
        return g
    if form == "of the mean" and m is not None:
        return m * m
    if form == "distance from the mean" and m is not None:
        return (g - m) ** 2
    return np.broadcast_to(now.whole(form), g.shape)


def root(v: Array, corrected: Any, eps: Any, kept: Kept, s: Switches) -> Array:
    """sqrt(v / corrected) + eps: what the step is divided by."""
    place = s.get("eps")
    if s.get("root") == "missing":
        v_hat = v / corrected
        return np.asarray(v_hat if place == "left out" else v_hat + eps)
    if s.get("root") == "correction outside":
        return np.asarray(np.sqrt(v) / corrected + eps)
    if place in (None, "kept too"):
        return np.asarray(np.sqrt(v / corrected) + eps)
    if place == "inside":
        return np.asarray(np.sqrt(v / corrected + eps))
    if place == "before the correction":
        return np.asarray((np.sqrt(v) + eps) / np.sqrt(corrected))
    if place == "inside before the correction":
        return np.asarray(np.sqrt((v + eps) / corrected))
    if place == "square inside":
        return np.asarray(np.sqrt(v / corrected + eps * eps))
    if place == "inside and outside":
        return np.asarray(np.sqrt(v / corrected + eps) + eps)
    if place == "largest":
        return np.asarray(np.maximum(np.sqrt(v / corrected), eps))
    return np.asarray(np.sqrt(v / corrected))  # left out here; "on the step" and "kept" act elsewhere


def fed(v: Array, eps: Any, key: str, kept: Kept, s: Switches) -> Array:
    """v itself, or with eps added to it for good."""
    if s.get("eps") in ("kept", "kept too"):
        kept[key] = v = v + eps
    return v


def quotient(m: Array, below: Array, eps: Any, s: Switches) -> Array:
    return m / below + eps if s.get("eps") == "on the step" else m / below


def beginning(h: Hyper) -> str:
    """The lines with which a formula begins: the sign, and the weight decay."""
    lines = "g = -g\n" if h["maximize"] else ""
    if not is_zero(h["weight_decay"]):
        lines += "theta = theta - lr * weight_decay * theta\n" if h["decoupled"] else "g = g + weight_decay * theta\n"
    return lines


# The ways to write each part wrong.


def decay_mistakes(h: Hyper, adaptive: bool) -> Iterator[Mistake]:
    """Weight decay at another place. Without any there is nothing to misplace."""
    if is_zero(h["weight_decay"]):
        return
    if h["decoupled"]:
        right = "theta = theta - lr * weight_decay * theta, before the step, with no decay in g"
        in_gradient = "the weight decay is added to the gradient, as in Adam, and goes through the means and the root"
        yield Mistake("decay-misplaced", in_gradient, right, {"decay": "gradient"})
    else:
        right = "g = g + weight_decay * theta, before g enters anything else"
        shrinks = "the weight decay shrinks the parameter itself (as in AdamW) and stays out of the gradient"
        yield Mistake("decay-misplaced", f"{shrinks}: what is kept does not see it", right, {"decay": "parameter"})
        without = "the weight decay shrinks the parameter itself, and is not multiplied by the learning rate"
        yield Mistake("decay-misplaced", without, right, {"decay": "without rate"}, rank=1.1)
    if adaptive:
        both = "the weight decay acts twice: it is added to the gradient, and shrinks the parameter itself as well"
        yield Mistake("decay-misplaced", both, right, {"decay": "both"}, rank=1.1)
        alone = "the weight decay is in the gradient that gives the direction, but not in the one that is squared"
        yield Mistake("decay-misplaced", alone, right, {"decay": "direction"}, rank=1.1)
        size = "the weight decay is in the gradient that is squared, but not in the one that gives the direction"
        yield Mistake("decay-misplaced", size, right, {"decay": "size"}, rank=1.25)
    after = "the weight decay is taken of the parameter after the step"
    yield Mistake("decay-misplaced", after, right, {"decay": "after"}, rank=1.1)
    without = f"{after}, and is not multiplied by the learning rate"
    yield Mistake("decay-misplaced", without, right, {"decay": "after without rate"}, rank=1.2)
    if not h["decoupled"]:
        sign = "the weight decay is that of |theta| (L1): weight_decay * sign(theta)"
        yield Mistake("different-function", sign, right, {"decay": "sign"}, rank=1.2)


def sign_mistakes(h: Hyper) -> Iterator[Mistake]:
    """The gradient's sign turned before the weight decay joins it: without decay it is the step's sign."""
    if h["maximize"]:
        message, right = "the gradient is followed downhill, though maximize=True asks for uphill", "g = -g at first"
    else:
        message, right = "the gradient's sign is turned: the loss is climbed", "g as it is, and theta = theta - step"
    yield Mistake("wrong-sign", message, right, {"sign": "turned"}, rank=0.9)


def counter_mistakes(right: str, apart: bool = True) -> Iterator[Mistake]:
    """The step's number, one off or standing still."""
    code = "step-off-by-one"
    yield Mistake(code, "the first step is counted as step 2", right, {"counter": "two"})
    zero = "the first step is counted as step 0"
    yield Mistake(code, f"{zero} (and left uncorrected, where that would divide by 0)", right, {"counter": "zero"})
    yield Mistake(
        code, "the counter is raised for every parameter, not once a step", right, {"counter": "each parameter"}
    )
    twice = "the counter is raised twice a step: the steps are 2, 4, 6 ..."
    yield Mistake(code, twice, right, {"counter": "twice"}, rank=1.1)
    stays = Mistake("state-not-kept", "the counter is 1 at every step", right, {"counter": "stays"})
    yield stays if apart else replace(stays, rank=1.25)  # without it a rate that decays does not decay at all
    if apart:
        for which, what in (("first", "m"), ("second", "v")):
            message = f"in the correction of {what} the first step is counted as step 2"
            yield Mistake(code, message, right, {"counter": f"two {which}"}, rank=1.1)
            message = f"in the correction of {what} the first step is counted as step 0"
            yield Mistake(code, message, right, {"counter": f"zero {which}"}, rank=1.1)


def epsilon_mistakes(v: str, right: str, corrected: bool, torchs_before: bool = False) -> Iterator[Mistake]:
    """eps at another place beside the root of `v`."""
    code = "epsilon-misplaced"
    yield Mistake(code, f"eps is added under the root, sqrt({v} + eps)", right, {"eps": "inside"})
    if corrected:
        if not torchs_before:
            before = "eps is added to the root before v is corrected: (sqrt(v) + eps) / sqrt(1 - beta2**t)"
            yield Mistake(code, before, right, {"eps": "before the correction"})
        before = "eps is added under the root before v is corrected: sqrt((v + eps) / (1 - beta2**t))"
        yield Mistake(code, before, right, {"eps": "inside before the correction"}, rank=1.1)
    yield Mistake(code, "eps is left out", right, {"eps": "left out"})
    yield Mistake(
        code, f"eps is squared under the root, sqrt({v} + eps**2)", right, {"eps": "square inside"}, rank=1.1
    )
    kept = f"eps is added to {v[0]} itself and kept with it"
    yield Mistake(code, kept, right, {"eps": "kept"}, rank=1.1)
    yield Mistake(code, f"{kept}, and to the root as well", right, {"eps": "kept too"}, rank=1.1)
    yield Mistake(
        code,
        f"eps is a lower bound, max(sqrt({v}), eps), and is not added",
        right,
        {"eps": "largest"},
        rank=1.1,
    )
    both = f"eps is added twice, under the root and outside: sqrt({v} + eps) + eps"
    yield Mistake(code, both, right, {"eps": "inside and outside"}, rank=1.2)
    yield Mistake(code, "eps is added to the quotient, not to the root", right, {"eps": "on the step"}, rank=1.2)


def square_mistakes(right: str, mean: bool, key: str = "v") -> Iterator[Mistake]:
    """What is fed to the mean of squares."""
    code = "gradient-not-squared"
    yield Mistake(code, f"{key} is fed with |g|, which is not squared", right, {"square": "absolute"})
    yield Mistake(code, f"{key} is fed with g, which is not squared", right, {"square": "plain"})
    for form, words in (
        ("mean square", "the mean of g**2 over all entries of the parameter"),
        ("sum of squares", "the sum of g**2 over all entries of the parameter"),
    ):
        message = f"{key} is fed with {words}: one number, where each entry has its own"
        yield Mistake(code, message, right, {"square": form}, rank=1.1)
    if mean:
        message = f"{key} is fed with the square of the mean m, not with that of the gradient"
        yield Mistake(code, message, right, {"square": "of the mean"}, rank=1.1)
        message = f"{key} is fed with (g - m)**2, as in AdaBelief: a variance, not a mean of squares"
        yield Mistake("different-function", message, right, {"square": "distance from the mean"}, rank=1.2)


def root_mistakes(v: str, right: str, corrected: bool) -> Iterator[Mistake]:
    message = f"the root is missing: the step is divided by {v} itself"
    yield Mistake("different-function", message, right, {"root": "missing"})
    if corrected:
        message = "v is corrected outside its root, sqrt(v) / (1 - beta2**t)"
        yield Mistake("missing-bias-correction", message, right, {"root": "correction outside"}, rank=1.1)


def mean_mistakes(key: str, new: str, beta: str, right: str) -> Iterator[Mistake]:
    """A fading mean that forgets, or that is weighted otherwise."""
    anew = f"{key} starts from zero at every step: nothing is kept of it"
    yield Mistake("state-not-kept", anew, right, {key: "anew"})
    total = f"{key} = {beta} * {key} + {new}: the factor 1 - {beta} on the new {new} is left out"
    yield Mistake("wrong-scale", total, right, {key: "sum"}, rank=1.1)
    exchanged = f"the weights of {key} are exchanged: 1 - {beta} on what is kept, {beta} on the new {new}"
    yield Mistake("wrong-hyperparameter", exchanged, right, {key: "weights exchanged"}, rank=1.1)
    old = f"the step uses {key} as it was before this step's gradient came in"
    yield Mistake("wrong-operand", old, right, {key: "before"}, rank=1.1)
    never = f"{key} does not fade: {key} = {key} + (1 - {beta}) * {new}"
    yield Mistake("different-function", never, right, {key: "never fades"}, rank=1.2)
    added = f"{key} does not fade: {key} = {key} + {new}"
    yield Mistake("different-function", added, right, {key: "added up"}, rank=1.2)
    first = f"{key} starts with the first {new}, not with zero"
    yield Mistake("different-function", first, right, {key: "starts with the first"}, rank=1.2)
