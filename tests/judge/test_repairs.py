"""Small changes of the candidate's own code that make its numbers right."""

import ast
import cProfile
import importlib
import itertools
import re

import numpy as np
import pytest
import torch

from gradproof import compare_gradients
from gradproof.case import Problem
from gradproof.diagnosis import divergence, proposals, shorter
from gradproof.diagnosis.changes import Slip, Trial, different
from gradproof.diagnosis.clock import Clock
from gradproof.diagnosis.confirmation import Confirmation
from gradproof.diagnosis.fault import Fault, Model, run
from gradproof.diagnosis.repairs import Repairs
from gradproof.diagnosis.survey import Survey
from gradproof.own_code.edit import Edit
from gradproof.own_code.running import SWITCH, own_code
from gradproof.own_code.switches import first_line, places

pytestmark = pytest.mark.usefixtures("no_own_lines")

search = importlib.import_module("gradproof.diagnosis.search")


def arrays(seed=0):
    rng = np.random.default_rng(seed)
    params = {"W": rng.normal(size=(4, 5)), "v": rng.normal(size=5), "u": rng.normal(size=3)}
    return params, rng.normal(size=(7, 4)), rng.normal(size=7)


def smoothed(p, x, y):
    """A kernel of three taps over the units, then squared errors."""
    h = torch.tanh(x @ p["W"])
    k = torch.softmax(p["u"], 0)
    s = sum(k[i] * h[:, i : i + 3] for i in range(3))
    return torch.mean((s @ p["v"][:3] - y) ** 2) + 0.1 * (p["v"] ** 2).sum()


def by_hand(p, x, y):
    h = np.tanh(x @ p["W"])
    e = np.exp(p["u"] - p["u"].max())
    k = e / e.sum()
    s = np.zeros((len(x), 3))
    for i in range(3):
        s += k[i] * h[:, i : i + 3]
    error = s @ p["v"][:3] - y
    loss = np.mean(error**2) + 0.1 * np.sum(p["v"] ** 2)
    de = 2 * error / len(y)
    dv = 0.2 * p["v"]
    dv[:3] += s.T @ de
    ds = np.outer(de, p["v"][:3])
    dh, dk = np.zeros_like(h), np.zeros(3)
    for i in range(3):
        dh[:, i : i + 3] += k[i] * ds
        dk[i] = np.sum(h[:, i : i + 3] * ds)
    du = k * (dk - np.sum(k * dk))
    dW = x.T @ (dh * (1 - h**2))
    return loss, {"W": dW, "v": dv, "u": du}


@pytest.fixture
def written(rewritten):
    """Makes the candidate with other text in it."""
    return lambda *texts: rewritten(by_hand, *texts)


def test_right_code_passes():
    params, x, y = arrays()
    assert compare_gradients(by_hand, smoothed, params, x, y).ok


ANOTHER_ARRAY = ("dk[i] = np.sum(h[:, i : i + 3] * ds)", "dk[i] = np.sum(h[:, i : i + 3] * s)")


def findings_of(candidate):
    params, x, y = arrays()
    return compare_gradients(candidate, smoothed, params, x, y).findings


def test_a_slip_is_told_at_the_line_of_the_candidate_with_what_belongs_there(written):
    (finding,) = findings_of(written(*ANOTHER_ARRAY))
    assert finding.parameters == ("u",)
    assert "written.py" in (finding.site or "")
    assert finding.mend == "dk[i] = np.sum(h[:, i:i + 3] * ds)"
    assert "in your code, `s` should be `ds`" in finding.message


def handing_on(p, x, y):
    def forward():
        h = np.tanh(x @ p["W"])
        return (h + h * h) @ p["v"], (h, h + h * h)

    out, (h, kept) = forward()
    de = 2 * (out - y) / len(y)
    dh = np.outer(de, p["v"]) * (1 + 2 * h)
    return np.mean((out - y) ** 2), {"W": x.T @ (dh * (1 - h**2)), "v": kept.T @ de}


def test_what_is_handed_on_to_the_way_back_with_a_term_less_is_another_operand(rewritten, case_of):
    def squared(p, x, y):
        h = torch.tanh(x @ p["W"])
        return (((h + h * h) @ p["v"] - y) ** 2).mean()

    params, x, y = arrays()
    params = {"W": params["W"], "v": params["v"]}
    assert compare_gradients(handing_on, squared, params, x, y).ok
    case = case_of(rewritten(handing_on, "(h, h + h * h)", "(h, h)"), squared, params, x, y)
    repairs = Repairs(case, Clock(10), Confirmation(case))
    mends = {one.fault.mend: one for one in repairs.own.slips(lambda _: True)}
    slip = mends["return ((h + h * h) @ p['v'], (h, h + h * h))"]
    assert slip.fault.code == "missing-path"
    assert repairs._fault(slip).code == "wrong-operand"


def test_a_slip_is_told_under_a_profiler_too(written):
    with cProfile.Profile():
        (finding,) = findings_of(written(*ANOTHER_ARRAY))
    assert "in your code, `s` should be `ds`" in finding.message


def test_a_slip_beside_a_broken_rule(written):
    findings = findings_of(written(*ANOTHER_ARRAY, "dh * (1 - h**2)", "dh"))
    assert {finding.code for finding in findings} == {"wrong-operand", "missing-derivative"}
    assert "in your code, `s` should be `ds`" in {finding.message for finding in findings}


def test_a_slip_beside_two_broken_rules(written, case_of):
    """Of which each acts on other parameters: what the rules leave wrong is what the slip is about."""
    texts = ("dh * (1 - h**2)", "dh", 'dv = 0.2 * p["v"]', 'dv = 0.6 * p["v"]')
    params, x, y = arrays()
    case = case_of(written(*ANOTHER_ARRAY, *texts), smoothed, params, x, y)
    searched = search._Search.of(case, Clock(10), Confirmation(case))
    searched._partial, _ = searched._by_one_rule(searched.proposals.near)
    assert searched._outwards(search.REPEATED) == []
    found = searched.repairs.beside(searched._stuck, searched.model)[0]
    assert [fault.code for fault in found.faults] == ["wrong-operand", "wrong-term-weight", "missing-derivative"]


def test_what_a_function_within_another_speaks_of_is_known():
    def candidate(p, x, y):
        def backward(h):
            m = len(h)
            dh = h * y[:, None]
            return dh / m

        return None, {"W": x.T @ backward(x @ p["W"])}

    params, x, y = arrays()
    (function,) = own_code(candidate, Problem({"W": params["W"]}, (x, y), None)).functions
    assert function.shapes["dh"] == (7, 5)
    assert function.numbers["m"] == 7


def test_a_penalty_that_does_not_belong_there(written):
    (finding,) = findings_of(written("dW = x.T @ (dh * (1 - h**2))", "dW = x.T @ (dh * (1 - h**2)) + np.tanh(p['W'])"))
    assert finding.code == "wrong-part-penalised"
    assert finding.mend == "dW = x.T @ (dh * (1 - h ** 2))"


def test_the_change_that_makes_a_loss_right_is_told_where_the_gradient_belongs_to_it(written, monkeypatch):
    monkeypatch.setattr(divergence, "faults", lambda *_: iter(()))  # which would find the place by its arrays
    (finding,) = findings_of(written("range(3)", "range(2)"))
    assert "in your code, `range(2)` should be `range(3)`" in finding.message
    assert "but to another function: mend both" in finding.message


def test_what_no_change_mends_is_told_by_the_lines_that_it_may_be_in(written, monkeypatch):
    monkeypatch.setattr(search, "SEARCH_SECONDS", 0.1)  # there is nothing to find
    (finding,) = findings_of(written(ANOTHER_ARRAY[0], "dk[i] = np.sum(h[:, i : i + 3] * ds**3) / 1.7 - dk[i - 1]"))
    assert finding.code == "unexplained"
    assert "lead to what is wrong and to nothing that is right: written.py:20-21." in finding.message


def test_what_is_alike_in_several_gradients_is_said_once(written, monkeypatch):
    monkeypatch.setattr(search, "SEARCH_SECONDS", 0.1)  # there is nothing to find
    (finding,) = findings_of(written("de = 2 * error / len(y)", "de = 2 * error**3 / (1.7 + error**2)"))
    assert finding.message.startswith("W, u: all entries differ; they point nearly the right way")
    assert re.search(r"\(cosines 0\.9\d* to 0\.9\d*\)\nv: ", finding.message)


def test_the_code_is_as_it_was_afterwards(written):
    candidate = written(*ANOTHER_ARRAY)
    before = candidate.__code__
    assert findings_of(candidate)
    assert candidate.__code__ is before
    assert SWITCH not in candidate.__globals__


def reaching_out(p, x, y):
    np.savetxt("/dev/null", x)
    return by_hand(p, x, y)


def counting(p, x, y):
    global _calls
    _calls = 1
    return by_hand(p, x, y)


KEPT = {"x": []}


def remembering(p, x, y):
    KEPT["W"] = p["W"]
    return by_hand(p, x, y)


def listing(p, x, y):
    KEPT["x"].append(x)
    return by_hand(p, x, y)


@pytest.mark.parametrize("candidate", [reaching_out, counting, remembering, listing])
def test_code_that_reaches_beyond_numbers_is_never_changed(candidate):
    params, x, y = arrays()
    assert own_code(candidate, Problem(params, (x, y), 0)) is None


def with_lists(p, x, y):
    kept = {}
    kept["x"] = np.append(x, x, axis=0)[: len(x)]
    return by_hand(p, kept.pop("x"), y)


def test_code_may_change_what_is_its_own():
    params, x, y = arrays()
    assert own_code(with_lists, Problem(params, (x, y), 0)) is not None


def test_all_functions_that_a_call_runs_are_the_candidates_code():
    params, x, y = arrays()

    def outer(p, x, y):
        return by_hand(p, x, y)

    code = own_code(outer, Problem(params, (x, y), 0))
    assert code is not None
    assert {one.tree.name for one in code.functions} == {"outer", "by_hand"}


# Two changes in a loop


def carried(p, x):
    h = torch.zeros(len(x), 3, dtype=x.dtype)
    for t in range(x.shape[1]):
        h = torch.tanh(x[:, t] @ p["W"] + h @ p["U"]) * torch.sigmoid(x[:, t] @ p["V"])
    return (h**2).sum() / len(x)


def carried_by_hand(p, x):
    W, U, V = p["W"], p["U"], p["V"]
    hs, zs, gs = [np.zeros((len(x), 3))], [], []
    for t in range(x.shape[1]):
        zs.append(np.tanh(x[:, t] @ W + hs[-1] @ U))
        gs.append(1 / (1 + np.exp(-(x[:, t] @ V))))
        hs.append(zs[-1] * gs[-1])
    loss = (hs[-1] ** 2).sum() / len(x)
    dh = 2 * hs[-1] / len(x)
    dW, dU, dV = np.zeros_like(W), np.zeros_like(U), np.zeros_like(V)
    for t in reversed(range(x.shape[1])):
        dz = dh * gs[t] * (1 - hs[t] ** 2)  # at the state, not at z
        dg = dh * zs[t] * zs[t] * (1 - gs[t])  # z for g
        dW += x[:, t].T @ dz
        dV += x[:, t].T @ dg
        dU += hs[t].T @ dz
        dh = dz @ U.T
    return loss, {"W": dW, "U": dU, "V": dV}


def test_two_changes_in_a_loop_are_found_over_fewer_steps(case_of):
    rng = np.random.default_rng(2)
    params = {"W": rng.normal(size=(2, 3)), "U": rng.normal(size=(3, 3)), "V": rng.normal(size=(2, 3))}
    case = case_of(carried_by_hand, carried, params, rng.normal(size=(4, 5, 2)))
    repairs = Repairs(case, Clock(10.0), Confirmation(case))
    *_, two_steps = shorter.cases(case, lambda: False)
    (found,) = repairs.over_fewer_steps(two_steps, None, None)
    mends = {fault.mend for fault in found.faults}
    assert mends == {"dz = dh * gs[t] * (1 - zs[t] ** 2)", "dg = dh * gs[t] * zs[t] * (1 - gs[t])"}


def test_a_change_and_a_broken_rule_in_a_loop(rewritten, monkeypatch):
    """Each step's rule acts on what the steps after it have got wrong: over all steps, no rule is told by itself."""
    monkeypatch.setattr(search._Search, "_between_steps", lambda self: [])  # where there is nothing to find
    rng = np.random.default_rng(2)
    params = {"W": rng.normal(size=(2, 3)), "U": rng.normal(size=(3, 3)), "V": rng.normal(size=(2, 3))}
    candidate = rewritten(carried_by_hand, "dg = dh * zs[t] * zs[t] * (1 - gs[t])", "dg = dh * zs[t]")
    findings = compare_gradients(candidate, carried, params, rng.normal(size=(4, 4, 2))).findings
    assert {finding.code for finding in findings} == {"derivative-at-wrong-point", "missing-derivative"}


def normed(p, x):
    z = x @ p["W"]
    c = z - z.mean(1, keepdim=True)
    return ((c / torch.sqrt((c**2).mean(1, keepdim=True) + 0.1)) ** 3).sum()


def normed_by_hand(p, x):
    z = x @ p["W"]
    N, D = z.shape
    c = z - np.sum(z, axis=1, keepdims=True) / D
    s = np.sqrt(np.sum(c**2, axis=1, keepdims=True) / D + 0.1)
    dh = 3 * (c / s) ** 2
    dv = -np.sum(dh * c, axis=1, keepdims=True) / (2 * s**3)
    dc = dh / s + 2 * c * dv / D
    dz = dc - np.sum(dc, axis=1, keepdims=True) / D
    return np.sum((c / s) ** 3), {"W": x.T @ dz}


def test_the_same_slip_in_two_lines(rewritten):
    """Neither line alone makes anything right."""
    rng = np.random.default_rng(0)
    params, x = {"W": rng.normal(size=(3, 5))}, rng.normal(size=(4, 3))
    assert compare_gradients(normed_by_hand, normed, params, x).ok
    twice = ("2 * c * dv / D", "2 * c * dv / N", "keepdims=True) / D\n    return", "keepdims=True) / N\n    return")
    report = compare_gradients(rewritten(normed_by_hand, *twice), normed, params, x)
    assert {finding.code for finding in report.findings} == {"wrong-scale"}
    assert str(report).count("`N` should be `D`") == 2


def test_two_slips_that_see_nothing_of_each_other(case_of, written):
    """Both act on one gradient, which either of them leaves wrong."""
    candidate = written("dv = 0.2 * p[\"v\"]", "dv = 0.2 / p[\"v\"]", "+= s.T @ de", "+= h[:, :3].T @ de")
    params, x, y = arrays()
    case = case_of(candidate, smoothed, params, x, y)
    (found,) = Repairs(case, Clock(10.0), Confirmation(case)).several()
    assert {fault.mend for fault in found.faults} == {"dv = 0.2 * p['v']", "dv[:3] += s.T @ de"}


def test_changes_are_alike_where_all_numbers_are():
    one, other = (Trial((), (None, {"W": np.array(row)}), frozenset(), False) for row in ([1.0, -1.0], [2.0, -2.0]))
    assert different([one, other, one]) == [one, other]


def nested(p, x):
    """A tree of numbers, in which each node squashes what its branches come to."""

    def value(node):
        return torch.tanh(p["a"] * value(node[0]) + p["b"] * value(node[1])) if isinstance(node, tuple) else x[node]

    return value(((0, 1), (2, (3, 0))))


def back_through(p, x, node, grads, up=None):
    if not isinstance(node, tuple):
        return x[node]
    left, right = back_through(p, x, node[0], grads), back_through(p, x, node[1], grads)
    here = np.tanh(p["a"] * left + p["b"] * right)
    if up is not None:
        slope = up * (1 - here**2)
        grads["a"] += slope * left
        grads["b"] += slope * right
        back_through(p, x, node[0], grads, slope * p["a"])
        back_through(p, x, node[1], grads, slope * p["b"])
    return here


def nested_by_hand(p, x):
    grads = {name: np.zeros_like(value) for name, value in p.items()}
    return back_through(p, x, ((0, 1), (2, (3, 0))), grads, 1.0), grads


def test_a_slip_in_a_function_that_calls_itself(rewritten, case_of, monkeypatch):
    params, x = {"a": np.array(0.7), "b": np.array(-0.4)}, np.array([0.5, -1.3, 2.0, 0.9])
    assert compare_gradients(nested_by_hand, nested, params, x).ok
    changed = rewritten(back_through, "slope * p[\"a\"])", "up * p[\"a\"])")
    monkeypatch.setitem(nested_by_hand.__globals__, "back_through", changed)
    case = case_of(nested_by_hand, nested, params, x)
    found = Repairs(case, Clock(10.0), Confirmation(case)).likely()
    assert "in your code, `up` should be `slope`" in {one.faults[0].message for one in found}


def listed_by_hand(p, x):
    """Two layers in a list, whose gradients are collected in a loop."""
    layers = [p["A"], p["B"]]
    h = np.tanh(x @ layers[0])
    out = h @ layers[1]
    found = [x.T @ (2 * out @ layers[1].T), h.T @ (2 * out)]  # without the slope of tanh
    total = [0.1 * one for one in layers]
    for k in range(2):
        total[k] = total[k] + found[k]
    return np.sum(out**2) + 0.05 * sum(np.sum(one**2) for one in layers), {"A": total[0], "B": total[1]}


def listed(p, x):
    return ((torch.tanh(x @ p["A"]) @ p["B"]) ** 2).sum() + 0.05 * sum((one**2).sum() for one in p.values())


def test_what_cuts_off_most_of_a_gradient_mends_nothing(case_of):
    """Nothing but its penalty would be left of it, as of many a wrong gradient."""
    rng = np.random.default_rng(0)
    params = {"A": rng.normal(size=(3, 4)), "B": rng.normal(size=(4, 2))}
    case = case_of(listed_by_hand, listed, params, rng.normal(size=(5, 3)))
    repairs = Repairs(case, Clock(10.0), Confirmation(case))
    made = {ast.unparse(one.slips[0].edit.made): one for one in repairs._alone if one.slips[0].edit.made is not None}
    assert repairs.own.cuts_off(made["range(1, 2)"])
    assert not repairs.own.cuts_off(made["found = [x.T @ (3 * out @ layers[1].T), h.T @ (2 * out)]"])


def test_what_is_proposed_keeps_to_the_time(case_of, monkeypatch):
    monkeypatch.setattr(proposals, "FAMILIES", (lambda survey: itertools.repeat(None),))
    monkeypatch.setattr(proposals.Proposals, "_sorted", lambda self, faults: faults)
    params, x, y = arrays()
    case = case_of(lambda *given: (0.0, by_hand(*given)[1]), smoothed, params, x, y)
    clock, asked = Clock(60.0), itertools.count(1)
    monkeypatch.setattr(clock, "over", lambda: next(asked) > 9)
    assert len(proposals.Proposals(case, Survey(case.tape, case.problem), clock, None)._of_rules) == 9


def carried_away(p, x):
    """What is left over after each step, as the light behind one pane after another."""
    left, total = torch.ones(len(x), dtype=x.dtype), 0
    for k in range(3):
        share = torch.sigmoid(x * p["a"][k])
        total = total + (left * share * p["c"][k]).sum()
        left = left * (1 - share)
    return total + (left**2).sum()


def carried_away_by_hand(p, x):
    a, c = p["a"], p["c"]
    left, total = np.ones(len(x)), 0.0
    for k in range(3):
        share = 1 / (1 + np.exp(-x * a[k]))
        total += np.sum(left * share * c[k])
        left = left * (1 - share)
    total += np.sum(left**2)
    back = 2 * left
    da, dc = np.zeros_like(a), np.zeros_like(c)
    for k in reversed(range(3)):
        share = 1 / (1 + np.exp(-x * a[k]))
        left = left / (1 - share)
        dc[k] = np.sum(left * share)
        dshare = left * c[k] - left * back
        if dc[k] == 0:
            continue
        back = back * (1 - share) + share * c[k]
        da[k] = np.sum(dshare * share * (1 - share) * x)
    return total, {"a": da, "c": dc}


@pytest.mark.parametrize(
    ("change", "message", "mend"),
    [
        (
            ("        left = left / (1 - share)\n        dc[k] = np.sum(left * share)\n",
             "        dc[k] = np.sum(left * share)\n        left = left / (1 - share)\n"),
            "in your code, `left = left / (1 - share)` belongs before `dc[k] = np.sum(left * share)`",
            "left = left / (1 - share)\ndc[k] = np.sum(left * share)",
        ),
        (("if dc[k] == 0:", "if k == 1:"), "in your code, `continue` is too much", ""),
    ],
)  # fmt: skip
def test_lines_that_are_out_of_their_place(rewritten, change, message, mend):
    params, x = {"a": np.array([0.3, -0.8, 0.5]), "c": np.array([1.2, 0.4, -0.7])}, np.array([0.5, -1.3, 2.0, 0.9])
    assert compare_gradients(carried_away_by_hand, carried_away, params, x).ok
    (finding,) = compare_gradients(rewritten(carried_away_by_hand, *change), carried_away, params, x).findings
    assert message in finding.message
    assert finding.mend == mend


class StraightThrough(torch.autograd.Function):
    """Rounds; on the way back it is taken for the identity."""

    @staticmethod
    def forward(ctx, z):
        return z.round()

    @staticmethod
    def backward(ctx, grad):
        return grad


def quantised(p, x):
    return (StraightThrough.apply(x @ p["W"] * p["s"]) ** 2).sum()


def quantised_by_hand(p, x):
    z = x @ p["W"]
    q = np.round(z * p["s"])
    dy = 2 * q
    return np.sum(q**2), {"W": x.T @ (dy * p["s"]), "s": np.sum(dy * z, axis=0)}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (("dy = 2 * q", "dy = 2 * z"), "wrong-operand"),
        (('(dy * p["s"])', "dy"), "missing-derivative"),
        (("dy * z", "dy * q"), "wrong-operand"),
    ],
)
def test_a_reference_whose_way_back_is_its_own(rewritten, change, code):
    """It is not taken apart into its rules, but changes of the candidate's code are tried all the same."""
    rng = np.random.default_rng(0)
    params, x = {"W": rng.normal(size=(5, 3)), "s": rng.normal(size=3)}, rng.normal(size=(4, 5))
    assert compare_gradients(quantised_by_hand, quantised, params, x).ok
    findings = compare_gradients(rewritten(quantised_by_hand, *change), quantised, params, x).findings
    assert {finding.code for finding in findings} == {code}


def unpacked_by_hand(p, x):
    h, steps = np.zeros((len(x), 3)), []
    for t in range(x.shape[1]):
        z, g = np.tanh(x[:, t] @ p["W"] + h @ p["U"]), 1 / (1 + np.exp(-(x[:, t] @ p["V"])))
        steps.append((x[:, t], h, z, g))
        h = z * g
    loss, dh = (h**2).sum() / len(x), 2 * h / len(x)
    grads, after = {name: np.zeros_like(value) for name, value in p.items()}, h
    for own, before, z, g in reversed(steps):
        dz, dg = dh * g * (1 - z**2), dh * z * g * (1 - g)
        grads["W"] += own.T @ dz
        grads["V"] += own.T @ dg
        grads["U"] += after.T @ dz  # before
        dh, after = dz @ p["U"].T, before
    return loss, grads


def test_a_name_that_stands_for_another_ones_value_of_the_step_after(case_of):
    rng = np.random.default_rng(2)
    params = {"W": rng.normal(size=(2, 3)), "U": rng.normal(size=(3, 3)), "V": rng.normal(size=(2, 3))}
    case = case_of(unpacked_by_hand, carried, params, rng.normal(size=(4, 5, 2)))
    (found,) = Repairs(case, Clock(10.0), Confirmation(case)).likely()
    assert [fault.code for fault in found.faults] == ["shifted-in-time"]
    assert found.faults[0].message == "in your code, `after` should be `before`"


def states_by_hand(p, x):
    h = [np.zeros((len(x), 3))]
    for t in range(x.shape[1]):
        h.append(np.tanh(x[:, t] @ p["W"] + h[t] @ p["U"] + h[t] @ p["V"]))
    grads, dh = {name: np.zeros_like(value) for name, value in p.items()}, 2 * h[-1] / len(x)
    for t in range(x.shape[1], 0, -1):
        dz = dh * (1 - h[t] ** 2)
        grads["W"] += x[:, t - 1].T @ dz
        grads["U"] += h[t - 1].T @ dz
        grads["V"] += h[t - 1].T @ dz
        dh = dz @ (p["U"] + p["V"]).T
    return (h[-1] ** 2).sum() / len(x), grads


def test_a_state_out_of_a_list_that_is_another_steps(case_of, rewritten):
    def reference(p, x):
        h = torch.zeros(len(x), 3, dtype=x.dtype)
        for t in range(x.shape[1]):
            h = torch.tanh(x[:, t] @ p["W"] + h @ p["U"] + h @ p["V"])
        return (h**2).sum() / len(x)

    rng = np.random.default_rng(2)
    params = {name: rng.normal(size=(rows, 3)) for name, rows in (("W", 2), ("U", 3), ("V", 3))}
    wrong = rewritten(states_by_hand, 'grads["U"] += h[t - 1].T', 'grads["U"] += h[t].T')
    case = case_of(wrong, reference, params, rng.normal(size=(4, 5, 2)))
    (found,) = Repairs(case, Clock(10.0), Confirmation(case)).likely()
    assert [(fault.code, fault.message) for fault in found.faults] == [
        ("shifted-in-time", "in your code, `h[t].T` should be `h[t - 1].T`")
    ]


def added_up_by_hand(p, x):
    """The last entry of `x` is zero: of what is assigned where it should be added, nothing is left."""
    grad, loss = np.zeros_like(p["w"]), 0.0
    for row in x:
        z = np.tanh(row @ p["w"])
        loss += z**2
        grad += 2 * z * (1 - z**2) * row
    return loss, {"w": grad}


def test_a_gradient_of_zero_says_little_where_a_change_of_code_tells_more(rewritten):
    def reference(p, x):
        return (torch.tanh(x @ p["w"]) ** 2).sum()

    rng = np.random.default_rng(3)
    params, x = {"w": rng.normal(size=3)}, rng.normal(size=(5, 3))
    x[-1] = 0
    (finding,) = compare_gradients(rewritten(added_up_by_hand, "grad +=", "grad ="), reference, params, x).findings
    assert finding.code == "overwritten"
    assert "should be `grad +=" in " ".join(finding.message.split())


def test_so_it_is_where_a_penalty_alone_is_left(rewritten):
    def reference(p, x):
        return (torch.tanh(x @ p["w"]) ** 2).sum() + 0.3 * (p["w"] ** 2).sum()

    def with_penalty(p, x):
        loss, grads = added_up_by_hand(p, x)
        return loss + 0.3 * (p["w"] ** 2).sum(), {"w": grads["w"] + 0.6 * p["w"]}

    rng = np.random.default_rng(3)
    params, x = {"w": rng.normal(size=3)}, rng.normal(size=(5, 3))
    x[-1] = 0
    assert compare_gradients(with_penalty, reference, params, x).ok
    with_penalty.__globals__["added_up_by_hand"] = rewritten(added_up_by_hand, "grad +=", "grad =")
    (finding,) = compare_gradients(with_penalty, reference, params, x).findings
    assert finding.code == "overwritten"


def test_a_slow_candidate_is_first_tried_with_few_samples(case_of, written, monkeypatch):
    monkeypatch.setattr("gradproof.diagnosis.changed_code.SLOW", 0.0)
    params, x, y = arrays()
    case = case_of(written(*ANOTHER_ARRAY), smoothed, params, x, y)
    repairs = Repairs(case, Clock(10.0), Confirmation(case))
    asked = []
    answer = repairs.own.code.answer
    monkeypatch.setattr(repairs.own.code, "answer", lambda problem: asked.append(problem.samples) or answer(problem))
    (found,) = repairs.likely()
    assert found.faults[0].mend == ANOTHER_ARRAY[0].replace("i : i + 3", "i:i + 3")
    assert asked.count(2) > 20 * asked.count(7) > 0


HALVED = ("    dW = x.T", "    dh = dh - 0.5 * s[:, :1]\n    dW = x.T")


def test_a_line_that_is_too_much_is_not_told_by_a_zero_in_it(written):
    (finding,) = findings_of(written(*HALVED))
    assert "in your code, `dh = dh - 0.5 * s[:, :1]` is too much" in finding.message


def test_a_line_that_is_too_much_beside_a_broken_rule(written):
    findings = findings_of(written(*HALVED, "du = k * (dk - np.sum(k * dk))", "du = k * dk"))
    assert {finding.code for finding in findings} == {"wrong-operand", "diagonal-jacobian"}
    assert "in your code, `dh = dh - 0.5 * s[:, :1]` is too much" in {finding.message for finding in findings}


def aliased(p, x, y):
    h = np.tanh(x @ p["W"])
    e = h @ p["v"] - y
    g = 2 * e / len(y)
    kept = g
    kept *= np.cos(e)
    dh = np.outer(g, p["v"]) * (1 - h**2)
    return np.mean(e**2), {"W": x.T @ dh, "v": h.T @ (2 * e / len(y)), "u": np.full(3, np.sum(kept * 0))}


def test_another_name_for_an_array_that_is_changed_in_place():
    def reference(p, x, y):
        return torch.mean((torch.tanh(x @ p["W"]) @ p["v"] - y) ** 2) + 0 * p["u"].sum()

    params, x, y = arrays()
    (finding,) = compare_gradients(aliased, reference, params, x, y).findings
    assert "in your code, `g` should be `g.copy()`" in finding.message
    assert finding.mend == "kept = g.copy()"


@pytest.mark.parametrize("factor", ["np.cos(3 * h) ** 3", "(0.3 + h)"])
def test_a_wrong_derivative_is_not_told_as_a_slip_and_another_wrong_derivative(written, factor):
    """Each of them is near some other derivative: cos near a sign, 0.3 + h near h, that of exp."""
    (finding,) = findings_of(written("dh * (1 - h**2)", f"dh * {factor}"))
    assert finding.code == "wrong-operand"
    assert finding.mend == "dW = x.T @ (dh * (1 - h ** 2))"


def two_relus(p, x, y):
    h = torch.relu(x @ p["W"])
    return ((torch.relu(h @ p["V"]) - y) ** 2).sum()


def stepped_too_early(p, x, y):
    V = p["V"]
    s = x @ p["W"]
    h = np.maximum(s, 0)
    z = h @ V
    out = np.maximum(z, 0)
    dz = 2 * (out - y)
    dV = h.T @ dz
    V = V - 0.1 * dV
    dW = x.T @ (dz @ V.T * (s > 0))
    return ((out - y) ** 2).sum(), {"W": dW, "V": dV}


def test_a_line_too_much_is_told_beside_what_is_missing_elsewhere():
    """The rule tells V by itself; and reading another array in place of V would do the same, but cut the line off."""
    rng = np.random.default_rng(1)
    params = {"W": rng.normal(size=(3, 4)), "V": rng.normal(size=(4, 2))}
    findings = compare_gradients(stepped_too_early, two_relus, params, rng.normal(size=(6, 3)), rng.normal(size=(6, 2)))
    messages = {finding.code: finding.message for finding in findings.findings}
    assert messages.keys() == {"wrong-operand", "missing-derivative"}
    assert "`V = V - 0.1 * dV` is too much" in messages["wrong-operand"]


def test_a_whole_term_is_one_slip_beside_another_one(written):
    slip = ("k * (dk - np.sum(k * dk))", "k * (dk - np.sum(k * np.cos(dk)))")
    findings = findings_of(written(*slip, "s.T @ de", "s.T @ de + 0.1 * p['v'][:3]"))
    told = " ".join(finding.message for finding in findings)
    assert len(findings) == 2
    assert "`np.cos(dk)` should be `dk`" in told
    assert "`s.T @ de + 0.1 * p['v'][:3]` should be `s.T @ de`" in told


def mixed(p, x, y):
    """Log-likelihood of a mixture of two lines, less the entropy of the mixture's shares."""
    share = torch.softmax(x @ p["W"], 1)
    away = (y[:, None] - x @ p["V"]) ** 2 / 2
    return -torch.log((share * torch.exp(-away)).sum(1)).mean() + (share * torch.log(share)).sum(1).mean()


def mixed_by_hand(p, x, y):
    z, off = x @ p["W"], y[:, None] - x @ p["V"]
    pi = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    joint = pi * np.exp(-(off**2) / 2)
    gamma, n = joint / joint.sum(axis=1, keepdims=True), len(y)
    logpi = np.log(pi)
    ent = -(pi * logpi).sum(axis=1)
    dz = (pi - gamma) / n
    dz = dz + pi * (logpi + ent[:, None]) / n
    dmean = -gamma * off / n
    loss = -np.log(joint.sum(axis=1)).mean() - ent.mean()
    return loss, {"W": x.T @ dz, "V": x.T @ dmean}


@pytest.mark.parametrize(("right", "wrong"), [("pi - gamma", "pi - 1"), ("logpi + ent[:, None]", "logpi + 1")])
def test_a_number_that_stands_for_an_array_is_one_slip(rewritten, right, wrong):
    rng = np.random.default_rng(3)
    params = {"W": rng.normal(size=(3, 4)), "V": rng.normal(size=(3, 4))}
    data = rng.normal(size=(5, 3)), rng.normal(size=5)
    assert compare_gradients(mixed_by_hand, mixed, params, *data).ok
    (finding,) = compare_gradients(rewritten(mixed_by_hand, right, wrong), mixed, params, *data).findings
    assert f"in your code, `{wrong}` should be `{right}`" in finding.message


def rolled(p, x):
    h, total = torch.zeros_like(x), 0
    for _ in range(3):
        h = torch.tanh(x + h * p["u"])
        total = total + (h**3).sum()
    return total


def rolled_by_hand(p, x):
    def steps():
        h = np.zeros_like(x)
        for _ in range(3):
            before, h = h, np.tanh(x + h * p["u"])
            yield before, h

    tape = list(steps())
    du, carry = np.zeros_like(p["u"]), np.zeros_like(x)
    for before, h in reversed(tape):
        dz = (carry + 3 * h**2) * (1 - h**2)
        du += (before * dz).sum(axis=0)
        carry = dz * p["u"]
    return sum((h**3).sum() for _, h in tape), {"u": du}


def test_a_list_that_is_gone_through_the_wrong_way_in_code_with_a_generator(rewritten):
    rng = np.random.default_rng(3)
    params, x = {"u": rng.normal(size=4)}, rng.normal(size=(5, 4))
    assert compare_gradients(rolled_by_hand, rolled, params, x).ok
    wrong = rewritten(rolled_by_hand, "in reversed(tape)", "in tape")
    (finding,) = compare_gradients(wrong, rolled, params, x).findings
    assert finding.message == "in your code, `tape` should be `reversed(tape)`"


def two_heads(p, x, y):
    h = torch.tanh(x @ p["W"])
    return torch.mean((h @ p["A"] - y) ** 2) + 0.3 * torch.mean(torch.cos(h @ p["B"]))


def from_one_head(p, x, y):
    h = np.tanh(x @ p["W"])
    error, angle = h @ p["A"] - y, h @ p["B"]
    da, db = 2 * error / error.size, -0.3 * np.sin(angle) / angle.size
    dh = da @ p["A"].T
    dW = x.T @ (dh * (1 - np.tanh(h) ** 2))
    loss = np.mean(error**2) + 0.3 * np.mean(np.cos(angle))
    return loss, {"W": dW, "A": h.T @ da, "B": h.T @ db}


def test_a_function_too_much_is_left_out_and_not_exchanged_beside_what_is_missing(monkeypatch):
    """In place of `h`, `np.abs(h)` gives the same numbers: its square is as large. So do two rules."""
    monkeypatch.setattr(search, "LIKELY_PAIRED", 0)
    rng = np.random.default_rng(0)
    params = {"W": rng.normal(size=(4, 5)), "A": rng.normal(size=(5, 2)), "B": rng.normal(size=(5, 3))}
    report = compare_gradients(from_one_head, two_heads, params, rng.normal(size=(7, 4)), rng.normal(size=(7, 2)))
    messages = {finding.code: finding.message for finding in report.findings}
    assert messages["derivative-at-wrong-point"] == "in your code, `np.tanh(h)` should be `h`"
    assert messages.keys() == {"derivative-at-wrong-point", "missing-path"}


@pytest.mark.parametrize(
    ("line", "left"), [("a * b", True), ("np.dot(a, b)", True), ("np.tanh(a)", False), ("max(a, t - 2)", False)]
)
def test_what_is_left_out_is_no_function_and_no_bound(line, left):
    old = ast.parse(line, mode="eval").body
    new = old.left if isinstance(old, ast.BinOp) else old.args[0]
    slip = Slip(Edit("different-function", old, new, lambda: new, ()), None, old, False)
    assert slip.leaves_out == left


def test_the_mended_first_line_of_a_loop_and_of_a_branch():
    tree = ast.parse("def f(n):\n    for i in range(n):\n        if i > 1:\n            n += i").body[0]
    loop, branch, *_ = places(tree)
    assert first_line(tree, loop, ast.Name("n")) == "for i in n:"
    assert first_line(tree, branch, ast.Name("n")) == "if n:"


def test_a_rule_that_looks_for_what_another_program_lacks_is_none_of_its_rules(case_of):
    rng = np.random.default_rng(3)
    case = case_of(lambda p, x: (None, {"w": x.sum(0)}), lambda p, x: (x @ p["w"]).sum() ** 2,
                   {"w": rng.normal(size=3)}, rng.normal(size=(5, 3)))
    assert case.tape is not None

    def hook(tape, arriving, totals):
        raise KeyError("a penalty")

    fault = Fault("wrong-part-penalised", "", values={case.tape.parameters["w"]: hook})
    assert run(Model(case.program, case.problem, case.tape), (fault,)) is None


def test_another_entry_is_no_other_function():
    (place,) = ast.parse("d[v + u] += e").body
    old = place.target.slice
    edit = Edit("different-function", old, old.right, lambda: place, (("target", None), ("slice", None)))
    function = own_code(by_hand, Problem(arrays()[0], arrays()[1:], 0)).functions[0]
    assert Slip(edit, function, place).fault.code == "wrong-operand"
    assert Slip(edit, function, place, of_loss=True).fault.code == "different-function"


@pytest.mark.parametrize(
    ("line", "new", "added"),
    [
        ("d[u] = e * q + 0.1 * p", "d[u] = e * q + d[u]", True),
        ("d[u] = e * q + 0.1 * p", "d[u] = e * q + 0.1 * d[u]", False),
        ("d[u] = d[i] + e * q", "d[u] = d[u] + e * q", False),
        ("d = e * q", "d = d * q", False),
    ],
)
def test_what_adds_to_what_was_there_before(line, new, added):
    (place,), (made,) = ast.parse(line).body, ast.parse(new).body
    slip = Slip(Edit("missing-path", place, made, lambda: made, ()), None, place)
    assert slip.adds_what_was_there == added
