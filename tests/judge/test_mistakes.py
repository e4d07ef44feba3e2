"""Every mistake of the catalogue fails, is named by the judge, is confused with no other, and teaches."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import numpy as np
import pytest

from gradproof.codes import CODES
from gradproof.subjects import find_subjects, load_module

pytestmark = pytest.mark.usefixtures("no_own_lines")

ROOT = Path(__file__).parents[2]
SUBJECTS = find_subjects(ROOT)
MISTAKES = [f"{subject.name}/{mistake}" for subject in SUBJECTS.values() for mistake in subject.mistakes]


def reports_of(name):
    """The reports of all comparisons that a subject's tests define, with the mistake in the subject's place."""
    subject = SUBJECTS[name.split("/")[0]]
    mistake = load_module(subject.mistakes[name.split("/")[1]], ROOT)
    reference = load_module(subject.reference_path, ROOT)
    tests = load_module(ROOT / "tests" / subject.topic / f"test_{subject.name}.py", ROOT)
    found = [getattr(tests, name) for name in dir(tests) if name.startswith("compare")]
    own = [compare for compare in found if compare.__module__ == tests.__name__]
    return mistake, [compare(mistake, reference) for compare in own]


@pytest.mark.parametrize("name", MISTAKES)
def test_named_by_the_judge(name):
    mistake, reports = reports_of(name)
    found = {finding.code for report in reports for finding in report.findings}
    assert found, f"{name} passes: nothing in tests/ sees it"
    assert found == set(mistake.CODES)


@pytest.mark.parametrize("subject", SUBJECTS.values(), ids=lambda subject: subject.name)
def test_confused_with_no_other(subject, monkeypatch):
    monkeypatch.setattr(importlib.import_module("gradproof.checking"), "explain", lambda case, searching: [])
    seen = {}
    for name in (f"{subject.name}/{mistake}" for mistake in subject.mistakes):
        numbers = tuple(numbers_of(report) for report in reports_of(name)[1])
        assert numbers not in seen, f"{name} gives the numbers of {seen[numbers]}: the two are one mistake"
        seen[numbers] = name


def numbers_of(report):
    """The candidate's numbers, to nine digits, as something that can be compared; what it raised where it has none."""
    quantities = [*report.comparisons.values(), report.loss, report.output]
    arrays = [one.candidate for one in quantities if one is not None and one.candidate is not None]
    rounded = tuple(tuple(float(f"{value:.9g}") for value in np.ravel(array)) for array in arrays)
    return rounded, tuple((finding.code, finding.message) for finding in report.findings if not arrays)


@pytest.mark.parametrize("name", MISTAKES)
def test_teaches(name):
    subject, mistake = name.split("/")
    docstring = ast.get_docstring(ast.parse(SUBJECTS[subject].mistakes[mistake].read_text(encoding="utf-8")))
    assert docstring, "a mistake's file starts with a docstring"
    summary, *rest = docstring.split("\n\n")
    assert summary.endswith("."), "the first line is a sentence"
    text = "\n".join(rest)
    for section, following in (("Symptom:", "Why:"), ("Why:", "Fix:"), ("Fix:", None)):
        assert section in text
        content = text.split(section)[1].split(following)[0] if following else text.split(section)[1]
        assert len(content.split()) >= 3, f"{section} says too little"


@pytest.mark.parametrize("name", MISTAKES)
def test_names_known_codes(name):
    codes = load_module(SUBJECTS[name.split("/")[0]].mistakes[name.split("/")[1]], ROOT).CODES
    assert codes
    assert set(codes) <= set(CODES)


def test_catalogue_is_there():
    assert len(MISTAKES) >= 25


def test_a_dropped_carry_is_told_where_a_step_takes_the_state():
    _, reports = reports_of("elman_rnn/carry_dropped")
    sites = [finding.site for report in reports for finding in report.findings]
    assert sites
    assert all("h = f(x[:, t]" in site for site in sites), sites
