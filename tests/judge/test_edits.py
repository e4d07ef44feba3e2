"""What a line may be changed to, and the name of the mistake that this undoes."""

import ast
import functools

import numpy as np
import pytest

from gradproof.case import Problem
from gradproof.own_code.edits import edits
from gradproof.own_code.order import moves
from gradproof.own_code.relations import instead_of, moved_by_one
from gradproof.own_code.running import own_code
from gradproof.own_code.switches import places, switched
from gradproof.own_code.vocabulary import Vocabulary

RNG = np.random.default_rng(0)
PARAMS = {"W1": RNG.normal(size=(4, 5)), "b1": RNG.normal(size=5), "W2": RNG.normal(size=(5, 5))}
PARAMS["b2"] = RNG.normal(size=5)


def squashed(z, slope=False):
    return 1 - z**2 if slope else np.tanh(z)


def stepped(dh, slope, words):
    dx = dh
    return dx, words


def also_by_hand(x, h, z, t):
    """More of them."""
    dz = z - h
    order = np.argsort(z[:, 0])
    dz[order, :2] += h[:, :2]
    dz[order, :2] -= z[:, :2]
    dz[order] = h
    stepped(h, z, t)
    held = np.pad(h, 1, "edge")
    held = np.pad(h, 1, "wrap")
    dh = z**t
    h1, h2, z1, z2 = h, z, z, h
    dh = z1 * h2
    dh = h1 * z2 + z
    last = held[0]
    last = h[3]
    last = np.c_[np.ones(6), h]
    last = h[:, 1:]
    last = h[t - 1]
    dh = np.outer(h[0], h[0])
    dz = h - 0.1 * z
    waves = np.fft.ifft(h)
    dh = waves
    last, counts = x[:, :1], np.arange(2, 5)
    share = last[0, 0] / 6
    dz[0, 0] += counts[1] * share
    return dh, dz, further_by_hand(x, h, z, t), once_more_by_hand(x, h, z, t), summed_by_hand(x, h, z, t)


def once_more_by_hand(x, h, z, t):
    share, width = np.abs(h).mean(), x.shape[1]
    stride = 2
    rows, columns = t, width
    last = np.max(h)
    dh = squashed(h) * z
    dh = h * share
    dz = np.sqrt(h**2) + 1
    dz = np.sqrt(z**2 + 1)
    dz = h * (1 - z)
    dz = z * 2 * h
    dz[:, np.arange(5)] -= 1
    last = x.reshape(3, 2, 4).transpose(1, 0, 2)
    last = x.reshape(3, 2, 4)
    last = z.reshape(5, -1)
    last = (h == z[t]) * 1.0
    dh = h[t : t + 2, 1:] - 1
    dh = h - t * z / np.sqrt(z**2) + 0.01
    dh = np.maximum(z, h) + 0.01
    dh = h - 2
    dz = (z > h) * -width
    dh = np.outer(h[0], z[0] @ z[0])
    dh = 0 * z
    dx = dh @ z.T
    last = h[min(t + 1, 5), : t + 1]
    square = h.T @ z
    last = square + square.T
    dh = -h / 6
    last = h @ square
    dh = 2 * z * h * (1 - h) / 6
    share = (last[0, 0] - h[0, 0]) / 6
    last = h[t - 1] * z[t - 1]
    dh = h / (width - 1) + z / (width - 1)
    dx = dh.T @ x
    dx = np.outer(z[0], h[0])
    x1 = np.clip(h, -1, 1, out=h.copy())
    np.clip(z, -1, 1, out=h.copy())
    mask = h > share
    for step in range(len(x) - 1):
        last = x1 * mask * rows * columns * step * stride
    return dh, dz, dx, last


def summed_by_hand(x, h, z, t):
    one, other, means = h[0, 0], z[0, 0], h.mean(axis=1)
    total = np.sum(h) * np.sum(z)
    total = np.sum(h * z)
    total = np.abs(h.mean())
    total = np.sum(h) ** 2
    dh = z + h.sum(axis=0)
    dx = (h.T @ z)[:, None] ** 2
    dz = np.minimum(h, 0.7)
    dz = np.clip(h, 0, 0.7)
    dz = h * np.where(z > 0, z, 0.1)
    dh = 0.3 * (h + z)
    dh = (h - z) * 0.3
    share = one * 0.3
    dh = h * z
    square = h.T @ z
    last = np.linalg.solve(square, h[0])
    last = square @ h[0]
    return dh, dz, dx, total, other, means, share, last


def further_by_hand(x, h, z, t):
    total, dz = h.sum(), np.zeros_like(h)
    dz = z * h - dz + h
    dz = np.roll(z, -1, axis=0) - z + np.roll(h, -1, axis=0)
    last = np.array([[0, -2 * t, -2 * t], [2, 0, 0]])
    dh = np.tanh(h) * z
    dh = h / len(x)
    dh = z * np.ones_like(h)
    dh = squashed(squashed(h))
    last = x.reshape(1, 2, 3, 1, 2, 2).transpose(0, 3, 5, 1, 2, 4)
    count = len(x) * 2 // 3
    dh /= count
    dz = dh = np.zeros((6, 5))
    for step in range(max(1, t - 2), -1, -1):
        if step > 4:
            continue
        last = h[:, step]
        dz /= 6
        dh = z * dz
        dh = dh * h
        dz = dh + z
    dh *= total
    return dh, dz, last


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
        dz[:t] += h[:t]
        if t > 1:
            dz += 1
    last = x[-1:].sum(axis=0)
    dh = z * dz + h * z
    dx = dz @ p["W1"].T
    dx = dh @ p["W1"].T
    b2 = dx[0] * first[0, 0]
    held = h.copy()
    state = held
    state[h <= 0] = 0.1
    last = x.sum(1, keepdims=True)
    last = x.reshape(6, 2, 2).transpose(1, 0, 2)
    last = np.mean(h, 1, keepdims=True)
    last = np.max(h, keepdims=True)
    dz = dz - rate * (h + 2)
    dh = z * (z - h * np.dot(h[0], h[0]))
    dh = z * (h * (1 - h))
    to_f, to_i, back_f, back_i = z, h, h, z
    dh = to_i * back_i
    dh = to_f * back_f
    dh = np.dot(x, p["W1"])
    dh = dz * squashed(h, slope=True)
    dh = dz * squashed(z)
    dh = z * h * z
    dh = h / z
    last = x[:, :1] - x[:, 0]
    also_by_hand(x, h, z, t)
    grads = {"b2": b2}
    grads["b2"] = grads["b2"] + b2
    return np.sum(last), {"W1": x.T @ dz, "b1": dz[0] + kept[0].sum(), "W2": dx.T @ dx[:, :1], "b2": b2}


@pytest.fixture(scope="module")
def own():
    data = (RNG.normal(size=(6, 4)), np.arange(5), np.arange(5)[::-1])
    found = own_code(lambda *given: with_all_shapes(*given), Problem(PARAMS, data, None))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def possible(own):
    """The changes of a line: what it may become, and the name of that mistake."""
    lines = {}
    for function in (one for one in own.functions if one.tree.name.endswith("by_hand")):
        words = Vocabulary(function, () if function.tree.name == "by_hand" else {5}, {7.5})
        for place in places(function.tree):
            lines.setdefault(ast.unparse(place), []).append((place, words))

    @functools.cache
    def of_line(line):
        found = {}
        for place, words in lines[line]:
            for one in sorted(edits(place, words), key=lambda one: one.rank):
                found.setdefault("" if one.made is None else ast.unparse(one.made), one.code)
        return found

    return of_line


def with_all_shapes(p, *data):
    loss, grads = by_hand(p, *data)
    return loss, {name: np.zeros_like(value) + np.sum(grads[name]) for name, value in p.items()}


ROLLED = "dz = np.roll(z, -1, axis=0) - z + np.roll(h, -1, axis=0)"
ROWS = "last = np.array([[0, -2 * t, -2 * t], [2, 0, 0]])"
SIX_AXES = "x.reshape(1, 2, 3, 1, 2, 2).transpose"
TURNED = "x.reshape(6, 2, 2).transpose"


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
        ("state = held", "state = held.copy()", "wrong-operand"),
        ("total = np.sum(h) * np.sum(z)", "total = np.sum(h * z)", "wrong-reduction"),
        ("total = np.sum(h * z)", "total = np.sum(h) * np.sum(z)", "wrong-reduction"),
        ("total = np.abs(h.mean())", "total = np.abs(h).mean()", "wrong-reduction"),
        ("total = np.sum(h) ** 2", "total = np.sum(h ** 2)", "wrong-reduction"),
        ("dh = z + h.sum(axis=0)", "dh = z + h", "wrong-reduction"),
        ("dh = z + h.sum(axis=0)", "dh = z + h.cumsum(axis=0)", "wrong-reduction"),
        ("dx = (h.T @ z)[:, None] ** 2", "dx = (h.T ** 2 @ z)[:, None]", "wrong-reduction"),
        ("dz = np.minimum(h, 0.7)", "dz = np.clip(h, -0.7, 0.7)", "different-function"),
        ("dz = np.clip(h, 0, 0.7)", "dz = np.clip(h, -0.7, 0.7)", "different-function"),
        ("dz = h * np.where(z > 0, z, 0.1)", "dz = h * np.where(z > 0, 1, 0.1)", "different-function"),
        ("dh = 0.3 * (h + z)", "dh = h + 0.3 * z", "wrong-scale"),
        ("dh = (h - z) * 0.3", "dh = h * 0.3 - z", "wrong-scale"),
        ("share = one * 0.3", "share = one * 0.3 + other", "missing-path"),
        ("share = one * 0.3", "share = one * 7.5", "wrong-scale"),
        ("dh = h * z", "dh = h * (z + means[:, None])", "missing-path"),
        ("last = np.linalg.solve(square, h[0])", "last = square @ h[0]", "different-function"),
        ("last = square @ h[0]", "last = np.linalg.solve(square, h[0])", "different-function"),
        ("state[h <= 0] = 0.1", "state[h <= 0] *= 0.1", "overwritten"),
        (f"last = {TURNED}(1, 0, 2)", f"last = {TURNED}(2, 0, 1)", "wrong-axis"),
        ("dz = dz - rate * (h + 2)", "dz = dz - rate * (h + rate)", "wrong-operand"),
        ("last = x.sum(1, keepdims=True)", "last = x.sum(0, keepdims=True)", "wrong-axis"),
        ("last = np.mean(h, 1, keepdims=True)", "last = np.mean(h, 0, keepdims=True)", "wrong-axis"),
        ("last = np.max(h, keepdims=True)", "last = np.max(h, axis=0, keepdims=True)", "wrong-axis"),
        ("dh = z * (z - h * np.dot(h[0], h[0]))", "dh = z * (z - z * np.dot(z[0], z[0]))", "wrong-operand"),
        ("dh = z * (h * (1 - h))", "dh = z * (z * (1 - z))", "derivative-at-wrong-point"),
        ("dz[:t] += h[:t]", "dz[:t + 1] += h[:t + 1]", "missing-path"),
        ("dz[:t] += h[:t]", "dz[:t] += h[t * t:(t + 1) * t]", "wrong-operand"),
        ("t > 1", "t >= 1", "missing-path"),
        ("dh = to_f * back_f", "dh = to_f * back_f + to_i * back_i", "missing-path"),
        ("dh = to_f * back_f", "dh = to_i * back_i", "wrong-operand"),
        ("dh = np.dot(x, p['W1'])", "dh = x", "wrong-operand"),
        ("dh = dz * squashed(z)", "dh = dz * squashed(z, slope=True)", "different-function"),
        ("dh = z * h * z", "dh = z @ h @ z", "different-function"),
        ("dh = z * h * z", "dh = z * z ** 2 * z", "wrong-operand"),
        ("dh = z * dz + h * z", "dh = z * p['b1'] + h * z", "wrong-operand"),
        ("held = h.copy()", "held = h.copy() @ p['W2']", "missing-derivative"),
        ("held = h.copy()", "held = h.copy() / h[:, 0][:, None]", "missing-derivative"),
        ("last = x[-1:].sum(axis=0)", "last = x[-1:].sum(axis=1, keepdims=True)", "wrong-axis"),
        ("dz[order, :2] += h[:, :2]", "np.add.at(dz, np.s_[order, :2], h[:, :2])", "overwritten"),
        ("dz[order, :2] -= z[:, :2]", "np.subtract.at(dz, np.s_[order, :2], z[:, :2])", "overwritten"),
        ("dz[order] = h", "np.add.at(dz, order, h)", "overwritten"),
        ("stepped(h, z, t)", "h, z = stepped(h, z, t)", "wrong-operand"),
        ("stepped(h, z, t)", "z = stepped(h, z, t)", "wrong-operand"),
        ("held = np.pad(h, 1, 'edge')", "held = np.pad(h, 1, 'wrap')", "different-function"),
        ("dh = dz * squashed(z)", "dh = dz * (1 - z ** 2)", "different-function"),
        ("dh = z ** t", "dh = z ** (t - 1)", "different-function"),
        ("dh = z1 * h2", "dh = z2 * h1", "wrong-operand"),
        ("dh = np.outer(h[0], h[0])", "dh = np.outer(z[0], z[0])", "wrong-operand"),
        ("dz = h - 0.1 * z", "dz = h", "wrong-operand"),
        ("dh = waves", "dh = waves.conj()", "wrong-operand"),
        ("waves = np.fft.ifft(h)", "waves = np.fft.ifft(h, norm='forward')", "wrong-scale"),
        ("waves = np.fft.ifft(h)", "waves = np.fft.fft(h)", "different-function"),
        ("share = last[0, 0] / 6", "share = last[0, 0] / counts[1]", "wrong-operand"),
        ("dh = z * dz + h * z", "dh = (z * dz + h) * z", "missing-derivative"),
        ("dz = dz - rate * (h + 2)", "dz = dz - (rate * h + 2)", "wrong-scale"),
        ("dh = z * (z - h * np.dot(h[0], h[0]))", "dh = z * z - h * np.dot(h[0], h[0])", "extra-derivative"),
        ("last = h[3]", "last = h[3] * dz[3]", "missing-derivative"),
        ("last = np.c_[np.ones(6), h]", "last = np.c_[np.zeros(6), h]", "different-function"),
        ("last = h[:, 1:]", "last = h[:, :-1]", "wrong-operand"),
        ("last = x[:, :1] - x[:, 0]", "last = x[:, :1] - x[:, 0][:, None]", "broadcast"),
        ("dz = z * h - dz + h", "dz = z * (h - dz + h)", "missing-derivative"),
        ("dz = z * h - dz + h", "dz = z * h - dz + (h + total)", "missing-path"),
        (ROLLED, ROLLED.replace("-1", "1"), "shifted-in-time"),
        (ROWS, ROWS.replace("-2", "-4"), "wrong-scale"),
        ("dh = np.tanh(h) * z", "dh = h * (1 - h) * z", "different-function"),
        ("dh = h / len(x)", "dh = h / total", "wrong-scale"),
        ("dh = z * np.ones_like(h)", "dh = z * h", "missing-derivative"),
        ("dh = z * np.ones_like(h)", "dh = z * (h > 0)", "missing-derivative"),
        ("dz = dh = np.zeros((6, 5))", "dz, dh = (np.zeros((6, 5)), np.zeros((6, 5)))", "overwritten"),
        ("range(max(1, t - 2), -1, -1)", "range(t - 2, -1, -1)", "truncated-in-time"),
        ("last = h[:, step]", "last = h[:, step - 1]", "shifted-in-time"),
        ("dh = squashed(squashed(h))", "dh = squashed(h)", "derivative-at-wrong-point"),
        (f"last = {SIX_AXES}(0, 3, 5, 1, 2, 4)", f"last = {SIX_AXES}(0, 1, 3, 5, 2, 4)", "wrong-axis"),
        ("count = len(x) * 2 // 3", "count = h.shape[1]", "wrong-scale"),
        ("share, width = (np.abs(h).mean(), x.shape[1])",
         "share, width = (np.abs(h).mean(), x.shape[0])", "wrong-axis"),
        ("rows, columns = (t, width)", "rows, columns = (t * stride, width * stride)", "wrong-operand"),
        ("last = np.max(h)", "last = np.max(x)", "wrong-operand"),
        ("last = np.max(h)", "last = h", "wrong-reduction"),
        ("dh = squashed(h) * z", "dh = (squashed(h) - 1) * z", "missing-path"),
        ("dh = h * share", "dh = h * (1 - share)", "different-function"),
        ("dz = np.sqrt(h ** 2) + 1", "dz = np.sqrt(h ** 2 + 1)", "different-function"),
        ("dz = np.sqrt(z ** 2 + 1)", "dz = np.sqrt(z ** 2) + 1", "different-function"),
        ("dz = h * (1 - z)", "dz = h - z", "extra-derivative"),
        ("dz = z * 2 * h", "dz = z / (2 * h)", "different-function"),
        ("dz[order, :2] -= z[:, :2]", "dz[order, :2] -= z[order, :2]", "wrong-operand"),
        ("dz[:, np.arange(5)] -= 1", "dz[np.arange(len(np.arange(5))), np.arange(5)] -= 1", "wrong-operand"),
        ("dz[:, np.arange(5)] -= 1", "dz[:, np.arange(5)] -= -1", "wrong-sign"),
        ("last = x.reshape(3, 2, 4).transpose(1, 0, 2)", "last = x.reshape(2, 4, 3).transpose(0, 2, 1)", "wrong-axis"),
        ("last = x.reshape(3, 2, 4)", "last = x.reshape(2, 4, 3).transpose(2, 0, 1)", "wrong-axis"),
        ("last = z.reshape(5, -1)", "last = z.T.reshape(5, -1)", "not-transposed"),
        ("last = (h == z[t]) * 1.0", "last = (z == h[t]) * 1.0", "wrong-operand"),
        ("dh = h[t:t + 2, 1:] - 1", "dh = h[t * stride:t * stride + 2, 1:] - 1", "wrong-operand"),
        ("dh = h - t * z / np.sqrt(z ** 2) + 0.01", "dh = h - t * z / (np.sqrt(z ** 2) + 0.01)", "different-function"),
        ("dh = np.maximum(z, h) + 0.01", "dh = np.maximum(z, h + 0.01)", "different-function"),
        ("dh = h - 2", "dh = h - z", "wrong-operand"),
        ("dz = (z > h) * -width", "dz = (z * z > h * z) * -width", "different-function"),
        ("dh = np.outer(h[0], z[0] @ z[0])", "dh = np.outer(h[0], np.outer(z[0], z[0]))", "wrong-operand"),
        ("dz = z * 2 * h", "dz = z * 2 * h * width", "missing-derivative"),
        ("np.clip(z, -1, 1, out=h.copy())", "", "different-function"),
        ("mask = h > share", "mask = h > 0", "derivative-at-wrong-point"),
        ("range(len(x) - 1)", "range(len(x))", "missing-path"),
        ("dh = 0 * z", "dh = z", "missing-path"),
        ("dh = 0 * z", "dh = 1 * z", None),
        ("dx = dh @ z.T", "dx = z.T @ dh", "wrong-operand"),
        ("last = square + square.T", "last = square.T + square.T", "not-transposed"),
        ("last = square + square.T", "last = square + square", "not-transposed"),
        ("dh = 2 * z * h * (1 - h) / 6", "dh = 2 * z / 6", "extra-derivative"),
        ("share = (last[0, 0] - h[0, 0]) / 6", "share = (last[0, 0] - h[0, 0]) / 6 / h[0, 0]", "missing-derivative"),
        ("last = h[t - 1] * z[t - 1]", "last = h[t] * z[t]", "shifted-in-time"),
        ("last = h[t - 1] * z[t - 1]", "last = h[t - 1 - 1] * z[t - 1 - 1]", None),
        ("dh = h / (width - 1) + z / (width - 1)", "dh = h / width + z / width", "different-function"),
        ("last = h[t - 1] * z[t - 1]", "last = h[stride - 1] * z[stride - 1]", "wrong-operand"),
        ("last = h[t - 1] * z[t - 1]", "last = h[share - 1] * z[share - 1]", None),
        ("last = h @ square", "last = h @ (square + square.T)", "missing-path"),
        ("dh = -h / 6", "dh = (z - h) / 6", "missing-path"),
        ("last = h @ square", "last = (h - z) @ square", "missing-path"),
        ("dx = dh.T @ x", "dx = (dh - z).T @ x", "missing-path"),
        ("dx = np.outer(z[0], h[0])", "dx = np.outer(z[0] - h[0], h[0])", "missing-path"),
        ("continue", "break", "missing-path"),
        ("continue", "", "missing-path"),
    ],
)
def test_what_a_line_may_become(possible, line, right, code):
    assert possible(as_written(line)).get(right and as_written(right)) == code


@pytest.mark.parametrize(
    ("line", "where", "other", "code"),
    [
        ("dh = dh * h", "behind", "dz = dh + z", "wrong-operand"),
        ("dh = dh * h", "before", "dh = z * dz", None),
        ("dz = dh + z", "before", "dh = z * dz", None),
        ("dz /= 6", "behind", "dh = z * dz", "wrong-operand"),
        ("dz /= 6", "behind the loop, before", "dh *= total", "wrong-scale"),
        ("dh *= total", "in the loop, behind", "dz = dh + z", "last-step-only"),
    ],
)
def test_where_a_line_may_belong(own, line, where, other, code):
    (function,) = (one for one in own.functions if one.tree.name == "further_by_hand")
    found = {}
    for beside, edit in moves(function.tree, Vocabulary(function)):
        found[ast.unparse(edit.old), edit.moved, ast.unparse(beside)] = edit.code
        assert {ast.unparse(one) for one in edit.made.body} == {ast.unparse(one) for one in (edit.old, beside)}
    assert found.get((line, where, other)) == code


def test_an_argument_that_is_used_nowhere_may_be_what_is_missing(own):
    (function,) = (one for one in own.functions if one.tree.name == "stepped")
    line, _ = places(function.tree)
    made = {ast.unparse(one.made): one.code for one in edits(line, Vocabulary(function)) if one.made is not None}
    assert made["dx = dh * slope"] == "missing-derivative"


def test_a_position_is_not_moved_there_and_back(possible):
    made = possible("last = h[t - 1]")
    assert made["last = h[t]"] == "shifted-in-time"
    assert "last = h[t - 1 + 1]" not in made


def test_what_numpy_writes_as_an_index_is_none(possible):
    assert "shifted-in-time" not in possible("last = np.c_[np.ones(6), h]").values()


def test_nothing_is_divided_by_itself(possible):
    assert not {"dh = h / h", "dh = z / z"} & possible("dh = h / z").keys()


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ("dz = dh * (1 - h ** 2)", "missing-derivative"),
        ("dz = 0.5 * dh", "wrong-scale"),
        ("dz = dx + dh", "missing-path"),
        ("dz = -dh", "wrong-sign"),
        ("dz = dh\ndz[h > 0] = 0", "missing-derivative"),
        ("dz = dh\ndz -= dx", "missing-path"),
        ("dz = dx\ndz -= dh", None),
        ("dz = dh @ W1", None),
        ("dx = dh * h", None),
    ],
)
def test_what_an_array_lacks_that_stands_for_another(own, lines, code):
    words = Vocabulary(next(one for one in own.functions if one.tree.name == "by_hand"))
    wrong, right = (ast.parse(name, mode="eval").body for name in ("dh", "dz"))
    assert instead_of(wrong, right, ast.parse(lines).body, words) == code


@pytest.mark.parametrize(
    ("new", "code"), [("h[min(t, 5), :t + 1]", "shifted-in-time"), ("h[min(t + 1, 4), :t + 1]", None)]
)
def test_one_less_within_an_index_is_another_step(own, new, code):
    (function,) = (one for one in own.functions if one.tree.name == "once_more_by_hand")
    (line,) = (one for one in places(function.tree) if "min(" in ast.unparse(one))
    words = Vocabulary(function, {5})
    made = {ast.unparse(one.made): one for one in edits(line, words) if one.made is not None}
    assert moved_by_one(made[f"last = {new}"], line, words) == code


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("dz = dz - rate * (h + 2)", "wrong-operand"),
        ("dz = dz * (1 - h ** 2)", "different-function"),
        ("dz[t, targets[t]] *= rate", "extra-derivative"),
    ],
)
def test_what_it_is_that_a_line_is_too_much(possible, line, code):
    assert possible(as_written(line)).get("") == code


def test_changes_are_code(own):
    """One that is none would keep all the others from being tried. Looked at here: every third."""
    changed = []
    for function in own.functions:
        words = Vocabulary(function)
        made = {id(place): [one.made for one in list(edits(place, words))[::3]] for place in places(function.tree)}
        changed.append(switched(function.tree, {key: (k, found) for k, (key, found) in enumerate(made.items())}))
    with own.exchanged(changed):
        pass


def as_written(line):
    """A line as this Python writes it: older ones put brackets around a row of names."""
    return ast.unparse(ast.parse(line).body[0])


def test_a_line_that_only_gives_names_is_rarely_what_is_wrong(own):
    words = Vocabulary(next(one for one in own.functions if one.tree.name == "also_by_hand"))

    def least(line):
        return min(one.rank for one in edits(ast.parse(line).body[0], words) if one.code == "wrong-operand")

    assert least("first, second = z, h") > least("first, second = z + h, h")
    assert least("first = z.copy()") > least("first = z.sum()")
    assert least("first, second = (h for h in (z, h))") > least("first, second = (h * 2 for h in (z, h))")


def test_a_small_whole_number_is_not_taken_for_its_tenfold(possible):
    assert "dz = h - 0.01 * z" in possible("dz = h - 0.1 * z")
    made = possible(as_written("last, counts = x[:, :1], np.arange(2, 5)"))
    assert as_written("last, counts = x[:, :1], np.arange(2, 6)") in made
    assert as_written("last, counts = x[:, :1], np.arange(2, 50)") not in made
