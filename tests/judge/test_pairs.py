"""Two broken rules at once are found among many, and any array that stands where a derivative belongs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gradproof import oracles
from gradproof.case import Case, Problem, recorded
from gradproof.diagnosis.factors import Factors
from gradproof.diagnosis.families import FAMILIES
from gradproof.diagnosis.fault import Model, run
from gradproof.diagnosis.pairs import Pairs
from gradproof.diagnosis.shadows import cast
from gradproof.diagnosis.survey import Survey
from tests.judge.corpus import models

pytestmark = pytest.mark.usefixtures("no_own_lines")

OTHERS = 150  # rules among which the two are


@pytest.fixture(scope="module")
def judged():
    """For a model: its survey, its local faults, and the case of a candidate that has these gradients."""
    known = {}

    def of(name):
        if name not in known:
            (model,) = models(name)
            params, data = model.problem()
            problem = Problem(params, data, model.batch_axis)
            truth = oracles.autograd(model.reference, params, data)
            tape = recorded(model.reference, problem, truth)
            survey = Survey(tape, problem)
            faults = [one for family in FAMILIES for one in family(survey) if one.local]
            case = Case(problem, model.reference, lambda _: None, truth, truth.loss, truth.gradients)
            known[name] = survey, sorted(faults, key=lambda one: one.rank), case, Model(model.reference, problem, tape)
        return known[name]

    return of


def pairs_of(case, survey, faults, below=()):
    shadows = cast(case, survey.tape).after(below)
    found = Pairs(shadows, survey.problem, lambda: False).found(faults)
    return [(pair.one, pair.other, pair.fitted) for pair in found]


@pytest.mark.parametrize("name", ["m02_residual", "m08_causal", "m56_conv"])
def test_two_rules_are_found_among_many(judged, name):
    """Whichever of the two is nearer to the loss."""
    survey, faults, case, model = judged(name)
    rng, clean, tried = np.random.default_rng(0), case.truth.gradients, 0
    codes = ("missing-path", "missing-derivative", "wrong-sign", "not-transposed", "diagonal-jacobian")
    likely = [one for one in faults if one.rank <= 1.2 and one.code in codes]
    while tried < 3:
        one, other = (likely[i] for i in rng.choice(len(likely), 2, replace=False))
        alone, both = [run(model, (fault,)) for fault in (one, other)], run(model, (one, other))
        if None in (*alone, both) or any(_same(both[0], found) for found in (alone[0][0], alone[1][0], clean)):
            continue
        shadows = cast(replace(case, gradients=both[0]), survey.tape)
        if any(shadows.of_none(fault) for fault in (one, other)):
            continue  # a loop breaks it at every step
        tried += 1
        among = [one, other, *faults[: 16 * OTHERS : 16]]
        found = pairs_of(replace(case, gradients=both[0]), survey, among)
        assert any(_same(run(model, (a, b))[0], both[0]) for a, b, fitted in found if not fitted), (one, other)


def test_a_rule_in_a_loop_and_one_nearer_to_the_loss(judged):
    """What every step of a loop breaks is told by a full pass: what arrives at it may be another one's as well."""
    survey, faults, case, model = judged("m29_rnn")
    shadows = cast(case, survey.tape)
    likely = [one for one in faults if one.rank <= 1.2 and one.code in ("missing-derivative", "missing-path")]
    loops = [one for one in likely if len(one.nodes) > 2 and shadows.of_none(one)][::5]
    for loop in loops[:2]:
        after = [one for one in likely if one.nodes and min(one.nodes) > max(loop.nodes)][:3]
        for other in after:
            both = run(model, (loop, other))[0]
            found = pairs_of(replace(case, gradients=both), survey, [loop, other, *faults[: 16 * OTHERS : 16]])
            assert any(_same(run(model, (a, b))[0], both) for a, b, fitted in found if not fitted), (loop, other)
    assert loops
    assert after


def _same(one, other):
    return all(np.allclose(one[name], other[name], rtol=1e-9, atol=1e-12) for name in one)


def test_the_right_gradient_is_no_pair(judged):
    survey, faults, case, model = judged("m02_residual")
    effects = [fault for fault in faults[:OTHERS] if (found := run(model, (fault,))) and not _same(
        found[0], case.truth.gradients
    )]
    found = [(a, b) for a, b, fitted in pairs_of(case, survey, effects) if not fitted]
    # One that takes the place of the other, or cuts off what it is given, is left to the run of both.
    apart = [(a, b) for a, b in found if not (a.nodes.keys() & b.nodes.keys()) and "nothing of" not in b.message]
    assert all(_same(run(model, pair)[0], case.truth.gradients) for pair in apart)


def test_a_factor_is_found_beside_a_rule(judged):
    """A route that carries some constant, on top of a derivative that is left out."""
    survey, faults, case, model = judged("m02_residual")
    cut = next(one for one in faults if one.code == "missing-path" and one.ends is not None)
    other = next(one for one in faults if one.code == "missing-derivative" and not one.nodes.keys() & cut.nodes.keys())
    halved = cut.scaled(0.5)
    both = run(model, (halved, other))[0]
    found = pairs_of(replace(case, gradients=both), survey, [*faults[:OTHERS], cut, other])
    assert any({id(a), id(b)} == {id(cut), id(other)} for a, b, fitted in found if fitted)


def test_right_gradients_ask_for_no_other_array(judged):
    survey, _, case, _ = judged("m17_mixture")
    shadows = cast(case, survey.tape)
    assert list(Factors(survey).fitting(shadows, list(case.gradients))) == []
