"""The corpus itself: right candidates pass, wrong ones do not, and a sample of the mistakes is named."""

from __future__ import annotations

import contextlib
import io

import pytest

from gradproof import compare_gradients
from tests.judge.corpus import HELD_OUT, Variant, models
from tests.judge.innocents import innocents
from tests.judge.measure import outcome
from tests.judge.mutate import mutants

pytestmark = pytest.mark.usefixtures("no_own_lines")

MODELS = models()
SOME = MODELS[::12]
EACH = pytest.mark.parametrize("model", SOME, ids=[model.name for model in SOME])

# One mistake for each code that the open models have; the whole corpus is for `python -m tests.judge.measure`.
SAMPLE = {
    "broadcast": "m32_decay_curve:targets_as_row",
    "derivative-at-wrong-point": "m22_poisson_network:sigmoid_derivative_at_activation",
    "diagonal-jacobian": "m08_causal_attention:softmax_diagonal",
    "different-function": "m14_tied_autoencoder:relu_slope_for_softplus",
    "extra-derivative": "m24_factorisation_machine:sigmoid_derivative_not_cancelled",
    "flipped": "m12_conv_maxpool:kernel_gradient_turned_round",
    "input-modified": "m00_softmax_regression:step_taken_in_place",
    "last-step-only": "m08_causal_attention:last_position_only",
    "missing-derivative": "m22_poisson_network:sigmoid_derivative_forgotten",
    "missing-gradient": "m00_softmax_regression:bias_absent",
    "missing-path": "m16_gaussian_nll:variance_head_forgotten",
    "not-finite": "m10_embedding_mean:divided_by_zero",
    "not-transposed": "m22_poisson_network:W2_not_transposed",
    "one-sample-only": "m24_factorisation_machine:intercept_of_last_sample",
    "overwritten": "m10_embedding_mean:repeated_words_overwritten",
    "transposed": "m22_poisson_network:W2_gradient_transposed",
    "wrong-loss": "m24_factorisation_machine:pairs_forgotten_in_cost",
    "wrong-part-penalised": "m00_softmax_regression:bias_penalised_in_gradient",
    "wrong-scale": "m02_residual_mlp:two_forgotten",
    "wrong-shape": "m00_softmax_regression:bias_as_row",
    "wrong-sign": "m22_poisson_network:counts_less_rate",
    "wrong-term-weight": "m20_multiclass_hinge:penalty_doubled",
}


def compared(variant: Variant, diagnose: bool = False):
    params, data = variant.problem()
    with contextlib.redirect_stdout(io.StringIO()):
        return compare_gradients(
            variant.candidate,
            variant.model.reference,
            params,
            *data,
            batch_axis=variant.model.batch_axis,
            diagnose=diagnose,
        )


def named(name: str) -> Variant:
    model, _, mistake = name.partition(":")
    (found,) = (one for one in models(model)[0].hand_written if one.name == mistake)
    return found


@EACH
def test_right_candidates_pass(model):
    """Every form of each twelfth file, and a tenth of the styles: python -m tests.judge.measure has them all."""
    forms = [variant for variant in model.right if not variant.style]
    styles = [variant for variant in model.right if variant.style][model.number % 10 :: 10]
    accused = {variant.name: str(report) for variant in forms + styles if not (report := compared(variant)).ok}
    assert not accused, "\n\n".join(accused.values())


@EACH
def test_wrong_candidates_are_caught(model):
    """One in twenty-five of each twelfth file, to be quick: python -m tests.judge.measure has them all."""
    missed = [variant.name for variant in model.hand_written[::25] if compared(variant).ok]
    assert not missed


@pytest.mark.parametrize("case", innocents(), ids=lambda case: case.name)
def test_innocents_pass(case):
    report = compare_gradients(case.candidate, case.reference, case.params, *case.data, batch_axis=case.batch_axis)
    assert report.ok, str(report)


@pytest.mark.parametrize(("code", "case"), SAMPLE.items(), ids=SAMPLE.keys())
def test_mistake_is_named(code, case):
    variant = named(case)
    report = compared(variant, diagnose=True)
    found = tuple(finding.code for finding in report.findings)
    said = " ".join(finding.message for finding in report.findings)
    assert outcome(variant.codes, found, said, report.ok) in {"named", "tie"}, str(report)
    assert code in found or code in said


def test_machine_made_mistakes_differ_from_the_right_candidate():
    made = mutants(models("m24")[0])
    assert len(made) >= 20
    assert not [variant.name for variant in made if compared(variant).ok]


def test_the_corpus_is_as_large_as_it_says():
    wrong = [len(variant.codes) for model in MODELS for variant in model.hand_written]
    assert len(MODELS) >= 20
    assert len(wrong) >= 150
    assert wrong.count(2) >= 40
    assert wrong.count(3) >= 10
    assert sum(len(model.right) for model in MODELS) + len(innocents()) >= 50


def test_twenty_one_models_are_held_out():
    held_out = {model.number for model in MODELS if model.part == "held out"}
    assert held_out == HELD_OUT
    assert len(held_out) == 21


@pytest.mark.parametrize(
    ("expected", "found", "result"),
    [
        (("a",), ("a",), "named"),
        (("a|b",), ("b",), "named"),
        (("a",), ("a", "a"), "named"),  # told for each parameter
        (("a",), ("b",), "misnamed"),
        (("a",), ("a", "b"), "misnamed"),
        (("a", "b"), ("b", "a"), "named"),
        (("a", "b"), ("a",), "misnamed"),
        (("a", "a"), ("a",), "misnamed"),
        (("a", "b"), ("a", "unexplained"), "unexplained"),
        (("any",), ("a",), "explained"),
    ],
)
def test_outcome(expected, found, result):
    assert outcome(expected, found, "", ok=False) == result


def test_outcome_of_a_candidate_that_passes():
    assert outcome(("a",), (), "", ok=True) == "missed"
    assert outcome((), (), "", ok=True) == "passed"
    assert outcome((), ("a",), "", ok=False) == "false alarm"


def test_outcome_of_a_name_told_as_equally_good():
    said = "The same numbers come of: missing-path, nothing flows back"
    assert outcome(("missing-path",), ("overwritten",), said, ok=False) == "tie"
