"""The candidate's own forward pass: followed through NumPy, and searched where the reference goes another way."""

from __future__ import annotations

import copy
import math
import re
import threading

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gradproof import compare_gradients, compare_layers, own_forward
from gradproof.oracles import Truth, autograd, numerical_gradients
from gradproof.tape import record
from tests.judge.test_candidates import only_finding
from tests.judge.test_wrong_ways_back import numbers

pytestmark = pytest.mark.usefixtures("no_own_lines")

LABELS = np.array([2, 0, 1, 2, 2, 0])
X, A, B = numbers(6, 4), numbers(6, 4), 1.5 + 0.2 * numbers(4, 3)


def buffers(a, b):
    out = np.zeros((6, 3))
    for i in range(6):
        out[i] = a[i] @ b
    out[:, 1] *= 2.0
    return (np.tanh(out) ** 2).sum()


def in_place(a, b):
    z = a @ b
    z -= z.max(axis=1, keepdims=True)
    e = np.exp(z)
    e /= e.sum(axis=1, keepdims=True)
    return -np.log(e[np.arange(6), LABELS]).mean()


def added_at(a, b):
    sums = np.zeros(3)
    np.add.at(sums, LABELS, a[:, 0])
    return (sums * b[0]).sum() + np.eye(3)[LABELS].ravel() @ np.outer(a[:, 1], b[1]).ravel()


def one_number_at_a_time(a, b):
    total = 0.0
    for i in range(6):
        total += math.sqrt(1 + a[i, 0] ** 2) * math.exp(-b[i % 4, 1]) + math.lgamma(b[i % 4, 2])
    return float(total)


def with_windows(a, b):
    windows = np.lib.stride_tricks.sliding_window_view(a, (2, 3), axis=(0, 1))
    return np.einsum("ijkl,kl->ij", windows, b[:2]).clip(-1, 1).mean()


def of_lists(a, b):
    rows = [np.maximum(0, row) @ b for row in a]
    return np.mean([row[0] for row in rows]) + np.stack(rows).std() + np.sum(np.array(rows)[:, 1])


def reduced(a, b):
    spread = np.subtract.outer(a[:, 0], b[:, 0])
    return np.logaddexp.reduce(spread, axis=1).sum() + np.add.reduce(a.T @ spread, axis=0).prod() * 1e-3


def chosen(a, b):
    where = np.where(a > 0, a, 0.3 * a)
    best = np.take_along_axis(where, where.argmax(axis=1)[:, None], axis=1)
    return (best * (1 - (a > 0.5))).sum() + np.linalg.solve(b.T @ b, b[0]).sum() + np.cumsum(a, axis=0)[-2] @ b[:, 0]


def vectorized(a, b):
    return np.vectorize(math.erf)(a @ b).sum() + np.log1p(np.exp(a)).mean() / np.sqrt(np.square(b).sum())


def with_ones(a, b):
    both = np.c_[np.ones((6, 1)), a] @ np.r_[b[:1], b] + np.insert(a, 0, 1, axis=1) @ np.vstack([b, b[1:2]])
    return np.tanh(both).sum() if isinstance(both, np.ndarray) else 0.0


def entry_by_entry(a, b):
    kept = copy.deepcopy({"a": a, "b": b})
    kept["a"][0] = 0.0
    bent = np.vectorize(lambda z: z * z if z > 0 else 0.1 * z)(a @ kept["b"])
    return bent.sum() + kept["a"].std() + np.full_like(a, 0.5).sum()


ALL = (buffers, in_place, added_at, one_number_at_a_time, with_windows, of_lists, reduced, chosen, vectorized)
ALL += (with_ones, entry_by_entry)


@pytest.mark.parametrize("loss", ALL, ids=lambda loss: loss.__name__)
def test_what_is_followed_has_its_own_derivative(loss):
    params = {"a": A, "b": B}
    own = numerical_gradients(lambda p: float(loss(p["a"], p["b"])), params, np.random.default_rng(0)).gradients
    value = float(loss(A, B))
    truth = Truth(value, {"loss": value}, own, {"loss": own}, "central differences")
    tape = record(own_forward.as_reference(lambda p: loss(p["a"], p["b"])), params, (), truth)
    assert tape is not None  # it gives these derivatives
    assert tape.loss() == pytest.approx(value, rel=1e-12)


def endless(p):
    while True:
        p["a"] = p["a"] * 0.9


@pytest.mark.parametrize(
    "loss",
    [lambda p: np.array(p["a"].tolist()).sum(), lambda p: np.ma.masked_less(p["a"], 0).sum(), lambda p: 1.0, endless],
    ids=["list", "masked", "number", "endless"],
)
def test_what_cannot_be_followed_raises_and_leaves_numpy_as_it_was(loss):
    before = {name: getattr(np, name) for name in dir(np)}
    with pytest.raises(own_forward.NotFollowed):
        own_forward.as_reference(loss)({"a": torch.ones(2, 2)})
    assert all(getattr(np, name) is value for name, value in before.items())
    assert math.exp.__module__ == "math"


def test_other_threads_have_numpy_as_it_is():
    made = []

    def loss(p):
        thread = threading.Thread(target=lambda: made.append(np.zeros(2)))
        thread.start()
        thread.join()
        return p["a"].sum()

    autograd(own_forward.as_reference(loss), {"a": A}, ())
    assert type(made[0]) is np.ndarray


def mixture(params, x, q):
    """By logarithms alone: a gate chooses between a learnt probability and a given one."""
    z, u = x @ params["W"], x @ params["V"]
    return -torch.logaddexp(F.logsigmoid(z) + F.logsigmoid(u), F.logsigmoid(-z) + q.log()).mean()


def mixture_by_hand(params, x, q, of_gate=lambda t: t, of_choice=lambda s: s):
    """By probabilities, which the reference never computes."""
    s = 1 / (1 + np.exp(-x @ params["W"]))
    t = 1 / (1 + np.exp(-x @ params["V"]))
    likelihood = s * t + (1 - s) * q
    loss = -np.mean(np.log(likelihood))

    d = -1 / (len(x) * likelihood)
    ds, dt = d * (of_gate(t) - q), d * of_choice(s)
    return float(loss), {"W": x.T @ (ds * s * (1 - s)), "V": x.T @ (dt * t * (1 - t))}


MIXTURE = ({"W": numbers(4), "V": numbers(4) * 0.7}, numbers(6, 4), np.linspace(0.1, 0.6, 6))


def test_a_mistake_on_a_route_that_the_reference_does_not_take():
    assert compare_gradients(mixture_by_hand, mixture, *MIXTURE).ok

    def without_its_partner(params, x, q):
        return mixture_by_hand(params, x, q, of_gate=lambda t: 1)

    finding = only_finding(compare_gradients(without_its_partner, mixture, *MIXTURE))
    assert finding.code == "missing-derivative"
    assert "The line is one of your own forward pass: the way back through it" in finding.message
    assert finding.site.endswith("likelihood = s * t + (1 - s) * q")
    assert re.fullmatch(r"d\w \+= d\w \* \w, where \w = \w \* \w", finding.mend)  # names are known from Python 3.11 on


def test_two_mistakes_on_such_a_route():
    def wrong(params, x, q):
        return mixture_by_hand(params, x, q, of_gate=lambda t: 1, of_choice=lambda s: -s)

    report = compare_gradients(wrong, mixture, *MIXTURE)
    assert {finding.code for finding in report.findings} == {"missing-derivative", "wrong-sign"}


def by_inverse_distance(params, x, y, kernel=lambda d: torch.exp(-d), times=lambda k, a: k @ a):
    d = (x[:, None] - params["C"]).square().sum(-1)
    k = kernel(d) / (1 + kernel(d).sum(1, keepdim=True))
    return (times(k, params["a"]) - y).square().mean()


def inverse_distance_by_hand(params, x, y, of_amplitudes=lambda g: g):
    """Another kernel than the reference's, in both passes: no known function times a constant."""
    C, a = params["C"], params["a"]
    apart = x[:, None] - C
    d = np.sum(apart**2, axis=-1)
    r = 1 / (1 + d) ** 1.3
    total = 1 + r.sum(axis=1, keepdims=True)
    k = r / total
    e = k @ a - y
    g = 2 * e / len(e)
    dk = np.outer(g, a)
    dr = dk / total - np.sum(dk * k, axis=1, keepdims=True) / total
    dd = dr * -1.3 * r / (1 + d)
    return np.mean(e**2), {"C": np.sum(-2 * dd[:, :, None] * apart, axis=0), "a": of_amplitudes(k.T @ g)}


KERNELS = ({"C": numbers(3, 4), "a": numbers(3)}, numbers(6, 4), numbers(6))


def test_where_another_forward_pass_parts_with_the_reference():
    finding = only_finding(compare_gradients(inverse_distance_by_hand, by_inverse_distance, *KERNELS))
    assert finding.code == "different-function"
    assert re.search(r"your forward pass parts with the reference at .*\(test_own_forward\.py:\d+\)", finding.message)
    assert "with that, the rest of your forward pass is right" in finding.message
    assert "Your loss and your gradient belong together, but to this function." in finding.message
    assert finding.site.endswith("k = kernel(d) / (1 + kernel(d).sum(1, keepdim=True))") or "exp" in finding.site


def test_another_forward_pass_and_a_mistake_on_its_way_back():
    def wrong(params, x, y):
        return inverse_distance_by_hand(params, x, y, of_amplitudes=lambda g: -g)

    report = compare_gradients(wrong, by_inverse_distance, *KERNELS)
    assert [finding.code for finding in report.findings] == ["wrong-sign", "different-function"]
    assert "Your loss is that of this other function." in report.findings[1].message


def test_a_mistake_on_the_way_back_of_a_function_that_nothing_tells():
    """Two places at which the forward passes part: the way back is told, and that the loss is another function's."""

    def wrong(params, x, y):
        h = np.cos(1.3 * x @ params["W"]) ** 3
        e = h @ params["v"] - y
        g = e / np.sqrt(0.2 + e**2) / len(e)
        dz = np.outer(g, params["v"]) * 3 * np.cos(1.3 * x @ params["W"]) ** 2 * np.sin(1.3 * x @ params["W"])  # - dz
        loss = np.mean(np.sqrt(0.2 + e**2)) + np.sum(np.cos(params["v"]))
        return loss, {"W": 1.3 * x.T @ dz, "v": h.T @ g - np.sin(params["v"])}

    def reference(params, x, y):
        return (torch.tanh(x @ params["W"]) @ params["v"] - y).square().mean()

    report = compare_gradients(wrong, reference, {"W": numbers(4, 3), "v": numbers(3)}, numbers(6, 4), numbers(6))
    assert [finding.code for finding in report.findings] == ["wrong-sign", "unexplained"]
    assert "Where your forward pass parts with the reference was not found." in report.findings[1].message


def test_a_gradient_of_another_function_that_is_not_known_is_not_told_to_be_right():
    def of_another(params, x, y):
        e = np.tanh(x @ params["W"]) - y[:, None]
        loss, de = np.sum(np.cos(3 * e) * e), np.cos(3 * e) - 3 * e * np.sin(3 * e)
        return loss, {"W": x.T @ (de * (1 - (e + y[:, None]) ** 2))}

    def reference(params, x, y):
        return (torch.tanh(x @ params["W"]) - y[:, None]).square().sum()

    data = ({"W": numbers(4, 3)}, numbers(6, 4), numbers(6))
    of_gradient, of_loss = compare_gradients(of_another, reference, *data, diagnose=False).findings
    assert (of_gradient.code, of_loss.code) == ("unexplained", "unexplained")
    assert "the two belong together, but to another function" in of_gradient.message
    assert of_loss.message.startswith("The loss is another function's: yours")


def test_where_a_wrong_loss_beside_the_right_gradient_parts_with_the_reference():
    def softened(params, x, y):
        e = np.tanh(x @ params["W"]) @ params["v"] - y
        z = np.tanh(x @ params["W"])
        g = 2 * e / len(e)
        loss = np.mean(np.sqrt(0.2 + e**2))
        return loss, {"W": x.T @ (np.outer(g, params["v"]) * (1 - z**2)), "v": z.T @ g}

    def reference(params, x, y):
        return (torch.tanh(x @ params["W"]) @ params["v"] - y).square().mean()

    report = compare_gradients(softened, reference, {"W": numbers(4, 3), "v": numbers(3)}, numbers(6, 4), numbers(6))
    finding = only_finding(report)
    assert finding.code == "wrong-loss"
    assert "torch's 11.19: your forward pass parts with the reference at" in finding.message


def test_without_a_reference_the_mistake_is_named_all_the_same():
    def by_hand(params, x, labels):
        h = np.tanh(x @ params["W"])
        e = np.exp(h @ params["V"])
        p = e / e.sum(axis=1, keepdims=True)
        loss = -np.log(p[np.arange(len(x)), labels]).mean()
        dz = (p - np.eye(3)[labels]) / len(x)
        dh = dz @ params["V"].T
        return loss, {"V": h.T @ dz, "W": x.T @ (dh * (1 - h))}

    finding = only_finding(compare_gradients(by_hand, None, {"W": numbers(4, 5), "V": numbers(5, 3)}, X, LABELS))
    assert finding.code == "different-function"
    assert "is not squared" in finding.message
    assert "h = np.tanh(x @ params[" in finding.site
    assert re.fullmatch(r"dz = d\w \* \(1 - \w\*\*2\), where \w = np.tanh\(z\)", finding.mend)


@pytest.mark.usefixtures("no_changes_of_code")
def test_a_layer_that_goes_its_own_way():
    """The variance as the mean of squares less the square of the mean, and the latter forgotten on the way back."""

    def forward(inputs):
        x = inputs["x"]
        mean = x.mean(axis=1, keepdims=True)
        variance = (x * x).mean(axis=1, keepdims=True) - mean * mean
        rate = 1 / np.sqrt(variance + 1e-3)
        return (x - mean) * rate * inputs["gain"], (x, mean, rate, inputs["gain"])

    def backward(output_grad, cache):
        x, mean, rate, gain = cache
        n = x.shape[1]
        dnormal = output_grad * gain
        dvariance = np.sum(dnormal * (x - mean), axis=1, keepdims=True) * -0.5 * rate**3
        dx = dnormal * rate - np.sum(dnormal * rate, axis=1, keepdims=True) / n + dvariance * 2 * x / n
        return {"x": dx, "gain": np.sum(output_grad * (x - mean) * rate, axis=0)}

    def reference(inputs):
        return F.layer_norm(inputs["x"], (4,), inputs["gain"], eps=1e-3)

    report = compare_layers(forward, backward, reference, {"x": numbers(6, 4) + 0.7, "gain": numbers(4)})
    finding = only_finding(report)
    assert finding.code == "missing-path"
    assert "mean * mean" in finding.site


def test_what_both_sides_hold_constant_is_no_mistake_of_another_forward_pass():
    frozen = numbers(4, 3)

    def wrong(params, x, y):
        h = x @ (params["F"] + params["W"])
        e = (h**2).sum(1) * 3.0 - y
        g = 2 * e[:, None] * 2 * h * 3.0 / len(e)
        return np.mean(e**2) + 0.7, {"F": np.zeros_like(params["F"]), "W": x.T @ g}

    def reference(params, x, y):
        h = x @ (params["F"].detach() + params["W"])
        return ((h**2).sum(1) - y).square().mean() + 0 * params["F"].sum()

    report = compare_gradients(wrong, reference, {"F": frozen, "W": numbers(4, 3)}, numbers(6, 4), numbers(6))
    assert "W" in {name for finding in report.findings for name in finding.parameters}
    assert "F" not in {name for finding in report.findings for name in finding.parameters}
    assert not any("to F" in finding.message for finding in report.findings)


def bells(params, x, y, width=0.6):
    return ((torch.exp(-width * (x @ params["W"]) ** 2) @ params["V"] - y) ** 2).mean()


@pytest.mark.usefixtures("no_changes_of_code")
def test_another_constant_that_the_loss_tells_and_a_mistake_on_its_way_back():
    def wrong(params, x, y):
        z = np.array((x @ params["W"]).tolist())  # which nobody follows on tensors
        h = np.exp(-0.85 * z**2)
        e = h @ params["V"] - y
        dh = 2 * e @ params["V"].T / e.size
        return np.mean(e**2), {"W": x.T @ (dh * -0.85 * 2 * z * h), "V": h.T @ e / e.size}  # 2 forgotten

    params = {"W": numbers(4, 3), "V": numbers(3, 2)}
    found = compare_gradients(wrong, bells, params, numbers(6, 4), numbers(6, 2)).findings
    assert sorted(finding.code for finding in found) == ["different-function", "wrong-scale"]
    assert any("is -0.85 instead of -0.6" in finding.message for finding in found)


def weighed_by_hand(params, s, action, r):
    n = len(r)
    p = np.exp(s @ params["W"])
    p = p / p.sum(axis=1, keepdims=True)
    ahead = r - s @ params["v"]
    weight = ahead / (ahead.std() + 1.0)
    d = p.copy()
    d[np.arange(n), action] -= 1
    loss = -np.mean(np.log(p[np.arange(n), action]) * weight) + 0.5 * np.mean(ahead**2)
    return loss, {"W": s.T @ (d * weight[:, None] / n), "v": -s.T @ ahead / n}


def test_what_the_reference_holds_constant_the_candidate_may_hold_in_another_forward_pass():
    def reference(params, s, action, r):
        told = torch.log_softmax(s @ params["W"], 1)[torch.arange(len(r)), action]
        ahead = r - s @ params["v"]
        with torch.no_grad():
            weight = ahead / (ahead.abs().mean() + 1.0)
        return -(told * weight).mean() + 0.5 * (ahead**2).mean()

    params, action = {"W": numbers(3, 4), "v": 0.1 * numbers(3)}, np.array([0, 3, 1, 2, 2, 0])
    aims = np.array([1.4, -0.6, 0.9, -1.7, 0.2, -0.8])
    (finding,) = compare_gradients(weighed_by_hand, reference, params, numbers(6, 3), action, aims).findings
    assert finding.code == "different-function"
    assert "your forward pass parts with the reference at" in finding.message
    assert "sqrt" in finding.message
