"""What a line may be changed to, and the name of the mistake that this undoes."""

import ast

import numpy as np
import pytest

from gradproof.case import Problem
from gradproof.own_code.edits import edits
from gradproof.own_code.running import own_code
from gradproof.own_code.switches import places
from gradproof.own_code.vocabulary import Vocabulary

RNG = np.random.default_rng(0)
PARAMS = {"W1": RNG.normal(size=(4, 5)), "b1": RNG.normal(size=5), "W2": RNG.normal(size=(5, 5))}
PARAMS["b2"] = RNG.normal(size=5)


def by_hand(p, x, words, targets):
    """No gradient of anything, but lines as they are written in one."""
    words, targets = list(words), list(targets)
    first, second = np.split(x, 2, axis=1)
    h = np.tanh(x @ p["W1"] + p["b1"])
    z = h @ p["W2"] + p["b2"]
    rate, names = 0.5, ["tanh", "relu"]
    kept, dz = [h[:, 0], h[:, 0]], z - h
    for t in range(len(words)):
        dz[words[t]] -= 1
        dz[t, targets[t]] *= rate
        if names[t % 2] == "tanh":
            dz = dz * (1 - h**2)
    last = x[-1:].sum(axis=0)
    dh = z * dz + h * z
    dx = dz @ p["W1"].T
    dx = dh @ p["W1"].T
    b2 = dx[0] * first[0, 0]
    return np.sum(last), {"W1": x.T @ dz, "b1": dz[0] + kept[0].sum(), "W2": dx.T @ dx[:, :1], "b2": b2}


@pytest.fixture(scope="module")
def possible():
    """The changes of each line: by the line, what it may become and the name of that mistake."""
    data = (RNG.normal(size=(6, 4)), np.arange(5), np.arange(5)[::-1])
    code = own_code(lambda *given: with_all_shapes(*given), Problem(PARAMS, data, None))
    assert code is not None
    (function,) = (one for one in code.functions if one.tree.name == "by_hand")
    words = Vocabulary(function)
    return {
        ast.unparse(place): {ast.unparse(one.made): one.code for one in edits(place, words) if one.made is not None}
        for place in places(function.tree)
    }


def with_all_shapes(p, *data):
    loss, grads = by_hand(p, *data)
    return loss, {name: np.zeros_like(value) + np.sum(grads[name]) for name, value in p.items()}


@pytest.mark.parametrize(
    ("line", "right", "code"),
    [
        ("first, second = np.split(x, 2, axis=1)", "second, first = np.split(x, 2, axis=1)", "wrong-operand"),
        ("h = np.tanh(x @ p['W1'] + p['b1'])", "h = np.tanh(x @ p['W2'] + p['b2'])", "wrong-operand"),
        ("dz[words[t]] -= 1", "dz[targets[t]] -= 1", "wrong-operand"),
        ("dz[words[t]] -= 1", "dz[words[t]] += 1", "wrong-sign"),
        ("kept, dz = ([h[:, 0], h[:, 0]], z - h)", "kept, dz = ([h[:, t], h[:, t]], z - h)", "wrong-operand"),
        ("names[t % 2] == 'tanh'", "names[t % 2] != 'tanh'", "missing-derivative"),
        ("names[t % 2] == 'tanh'", "names[t % 2 - 1] == 'tanh'", "wrong-operand"),
        ("last = x[-1:].sum(axis=0)", "last = x[:].sum(axis=0)", "last-step-only"),
        ("last = x[-1:].sum(axis=0)", "last = x[0:].sum(axis=0)", "shifted-in-time"),
        ("dz = dz * (1 - h ** 2)", "dz = dz * (1 - z ** 2)", "derivative-at-wrong-point"),
        ("dh = z * dz + h * z", "dh = h * dz + h * h", "wrong-operand"),
        ("dx = dh @ p['W1'].T", "dx += dh @ p['W1'].T", "missing-path"),
        ("dz[t, targets[t]] *= rate", "dz[targets[t], t] *= rate", "wrong-axis"),
    ],
)
def test_what_a_line_may_become(possible, line, right, code):
    assert possible[as_written(line)].get(as_written(right)) == code


def as_written(line):
    """A line as this Python writes it: older ones put brackets around a row of names."""
    return ast.unparse(ast.parse(line).body[0])
