"""Where the candidate's own code has a mistake that a broken rule of the reference tells, and what mends it there."""

import re

import numpy as np
import pytest
import torch

from gradproof import compare_gradients
from gradproof.diagnosis.search import search


def by_hand(p, x, y):
    n = len(y)
    h = np.tanh(x @ p["A"] + p["a"])
    out = h @ p["B"]
    e = out - y
    loss = np.sum(e**2) / n + 0.1 * np.sum(p["B"] ** 2)
    dout = 2 * e / n
    dB = h.T @ dout + 0.2 * p["B"]
    dh = dout @ p["B"].T
    dz = dh * (1 - h**2)
    return loss, {"A": x.T @ dz, "a": dz.sum(axis=0), "B": dB}


def reference(p, x, y):
    e = torch.tanh(x @ p["A"] + p["a"]) @ p["B"] - y
    return (e**2).sum() / len(y) + 0.1 * (p["B"] ** 2).sum()


@pytest.fixture
def findings(rewritten):
    """What is found of the candidate with other text in it."""
    rng = np.random.default_rng(3)
    params = {"A": rng.normal(size=(3, 4)), "a": rng.normal(size=4), "B": rng.normal(size=(4, 4))}
    x, y = rng.normal(size=(5, 3)), rng.normal(size=(5, 4))

    def of(*texts, of=reference):
        return compare_gradients(rewritten(by_hand, *texts), of, params, x, y).findings

    return of


def line_of(finding):
    """The line of the candidate's code that a finding tells."""
    found = re.fullmatch(r".*written\.py:(\d+)  (.*)", finding.own_site)
    assert found, finding
    return found[2]


SLOPE = ("dz = dh * (1 - h**2)", "dz = dh")
TURNED = ("dh = dout @ p[\"B\"].T", "dh = dout @ p[\"B\"]")
DECAY = ("h.T @ dout + 0.2 * p[\"B\"]", "h.T @ dout + 0.1 * p[\"B\"]")


@pytest.mark.parametrize(
    ("change", "code", "mend"),
    [
        (SLOPE, "missing-derivative", "dz = dh * (1 - h ** 2)"),
        (TURNED, "not-transposed", "dh = dout @ p['B'].T"),
        (DECAY, "wrong-scale", "dB = h.T @ dout + 0.2 * p['B']"),
        (("h.T @ dout +", "-h.T @ dout +"), "wrong-sign", "dB = h.T @ dout + 0.2 * p['B']"),
    ],
)
def test_the_line_of_one_mistake_and_what_mends_it(findings, change, code, mend):
    (finding,) = findings(*change)
    assert finding.code == code
    assert line_of(finding) == change[1] if "=" in change[1] else change[1] in line_of(finding)
    assert finding.own_mend == mend


def test_each_of_two_mistakes_has_a_line_of_its_own(findings):
    both = findings(*SLOPE, *DECAY)
    assert {finding.code: finding.own_mend for finding in both} == {
        "missing-derivative": "dz = dh * (1 - h ** 2)",
        "wrong-scale": "dB = h.T @ dout + 0.2 * p['B']",
    }


def test_so_has_each_of_two_of_which_one_lies_behind_the_other(findings):
    both = findings(*SLOPE, *TURNED)
    mends = {finding.own_mend for finding in both}
    assert mends == {"dz = dh * (1 - h ** 2)", "dh = dout @ p['B'].T"}


def test_what_no_small_change_mends_has_none(findings):
    (finding,) = findings(SLOPE[0], "dz = dh / np.cosh(h) ** 2")
    assert (finding.code, finding.own_site, finding.own_mend) == ("derivative-at-wrong-point", "", "")


def test_a_line_that_is_too_much(findings):
    (finding,) = findings("    dz = dh * (1 - h**2)\n", "    dz = dh * (1 - h**2)\n    dz *= 1 - h**2\n")
    assert finding.code == "extra-derivative"
    assert (line_of(finding), finding.own_mend) == ("dz *= 1 - h**2", "(without this line)")


def test_without_a_reference(findings):
    (finding,) = findings(*SLOPE, of=None)
    assert finding.own_mend == "dz = dh * (1 - h ** 2)"


def test_a_wrong_term_is_told_by_what_belongs_in_its_place(findings):
    (finding,) = findings('0.2 * p["B"]', '0.7 * e[:4] * h[:4]')
    assert finding.code == "wrong-term-weight"
    assert "In its place, your code has `0.7 * e[:4] * h[:4]` (line 11)." in finding.message


def test_a_reference_is_not_heard_while_the_line_is_looked_for(case_of, capsys):
    def aloud(p, x):
        print("heard")
        return (x @ p["w"]).square().sum()

    def turned(p, x):
        return np.sum((x @ p["w"]) ** 2), {"w": -2 * x.T @ (x @ p["w"])}

    x = np.random.default_rng(5).normal(size=(6, 3))
    case = case_of(turned, aloud, {"w": x[0]}, x)
    capsys.readouterr()
    assert search(case).lines
    assert "heard" not in capsys.readouterr().out
