"""RMSprop, plain, centered, and with momentum."""

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
    correction,
    decay_mistakes,
    decayed,
    epsilon_mistakes,
    fading,
    fed,
    is_zero,
    mean_mistakes,
    moved,
    quotient,
    root,
    root_mistakes,
    sign_mistakes,
    square_mistakes,
    squared,
)

V = "v = alpha * v + (1 - alpha) * g**2"
M = "m = alpha * m + (1 - alpha) * g"
BUF = "buf = momentum * buf + d"


def step(now: Now, kept: Kept, h: Hyper, s: Switches) -> Array:
    theta, g, sized = decayed(now, h, s)
    eps, alpha = h["eps"], h["alpha"]
    kept.setdefault("v", h["start_of_v"] + np.zeros_like(g))
    v = fed(fading(kept, "v", squared(sized, now, s), alpha, now, s), eps, "v", kept, s)
    corrected = correction(alpha, now.t) if s.get("correction") == "extra" else 1.0
    if h["centered"]:
        form = s.get("centre")
        m = fading(kept, "m", g, alpha, now, s)
        if form == "not squared":
            v = v - m
        elif form == "added":
            v = v + m * m
        elif form == "of the gradient":
            v = v - g * g
        else:
            v = v - m * m
    below = root(v, corrected, eps, kept, s)
    if s.get("buf") == "before scaling":
        g = kept["buf"] = h["momentum"] * kept.get("buf", np.zeros_like(g)) + g
        return moved(theta, h["lr"] * quotient(g, below, eps, s), h, s)
    d = quotient(g, below, eps, s)
    if not is_zero(h["momentum"]):
        d = velocity(d, kept, h["momentum"], s)
    return moved(theta, h["lr"] * d, h, s)


def velocity(d: Array, kept: Kept, momentum: float, s: Switches) -> Array:
    form, old = s.get("buf"), kept.get("buf", np.zeros_like(d))
    if form == "average":
        d = (1 - momentum) * d
    buf = kept["buf"] = d if form == "anew" else momentum * old + d
    if form == "before":
        return np.asarray(old)
    return d + momentum * buf if form == "nesterov" else buf


def mistakes(h: Hyper) -> Iterator[Mistake]:
    step_ = steps(h)
    yield from sign_mistakes(h)
    yield from decay_mistakes(h, adaptive=True)
    inside = "v - m**2" if h["centered"] else "v"
    yield from epsilon_mistakes(inside, step_, corrected=False)
    yield from square_mistakes(V, mean=False)
    yield from root_mistakes(inside, step_, corrected=False)
    yield from mean_mistakes("v", "g**2", "alpha", V)
    extra = "v is corrected for its start at zero, v / (1 - alpha**t), as in Adam; RMSprop does not do so"
    yield Mistake("different-function", extra, step_, {"correction": "extra"})
    if h["centered"]:
        yield from mean_mistakes("m", "g", "alpha", M)
        both = "m and v start from zero at every step: nothing is kept of them"
        yield Mistake("state-not-kept", both, f"{V}\n{M}, kept from step to step", {"m": "anew", "v": "anew"})
        exchanged = {"m": "weights exchanged", "v": "weights exchanged"}
        message = "the weights of m and v are exchanged: 1 - alpha on what is kept, alpha on what is new"
        yield Mistake("wrong-hyperparameter", message, f"{V}\n{M}", exchanged, rank=1.3)
        squares = "the mean's square is subtracted from v: v - m**2"
        message = "m itself is subtracted from v, not its square"
        yield Mistake("different-function", message, squares, {"centre": "not squared"})
        yield Mistake("wrong-sign", "the square of m is added to v, not subtracted", squares, {"centre": "added"})
        message = "the square of this step's gradient is subtracted from v, not that of the mean m"
        yield Mistake("moments-mixed-up", message, squares, {"centre": "of the gradient"}, rank=1.1)
    if h["momentum"]:
        buf = f"{BUF}\ntheta = theta - lr * buf"
        anew = "the velocity starts anew at every step: momentum has no effect"
        yield Mistake("state-not-kept", anew, f"{BUF}, kept from step to step", {"buf": "anew"})
        average = "the velocity is an average: (1 - momentum) * d comes in, as if there were dampening"
        yield Mistake("wrong-hyperparameter", average, buf, {"buf": "average"})
        before = "the step uses the velocity as it was before this step's gradient came in"
        yield Mistake("wrong-operand", before, f"{BUF} first, then the step", {"buf": "before"}, rank=1.1)
        scaling = "the velocity gathers gradients, and is divided by the root afterwards"
        right = "d = g / (root + eps)\n" + BUF
        yield Mistake("wrong-operand", scaling, right, {"buf": "before scaling"})
        yield Mistake("different-function", "the velocity looks ahead, as Nesterov's", buf, {"buf": "nesterov"})


def steps(h: Hyper) -> str:
    below = "(sqrt(v - m**2) + eps)" if h["centered"] else "(sqrt(v) + eps)"
    if h["momentum"]:
        return f"d = g / {below}\n{BUF}\ntheta = theta - lr * buf"
    return f"theta = theta - lr * g / {below}"


def formula(h: Hyper) -> str:
    return f"{beginning(h)}{means(h)}\n{steps(h)}"


def means(h: Hyper) -> str:
    return f"{V}\n{M}" if h["centered"] else V


def acts(h: Hyper) -> dict[str, str]:
    momentum = f"{BUF}\ntheta = theta - lr * buf" if h["momentum"] else steps(h)
    start = f"v = 0 at the start\n{V}"
    return {"alpha": means(h), "start_of_v": start, "eps": steps(h), "momentum": momentum, "lr": momentum}


SOLVED = {
    "alpha": "unit",
    "eps": "positive",
    "momentum": "unit",
    "weight_decay": "positive",
    "start_of_v": "positive",
}
RMSPROP = Rule("RMSprop", step, formula, mistakes, SOLVED, ("centered",), acts)
