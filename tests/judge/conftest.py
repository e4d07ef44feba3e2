"""What several of the judge's tests ask for."""

import importlib

import pytest

from gradproof import compare_gradients
from gradproof.diagnosis import repairs


@pytest.fixture
def no_changes_of_code(monkeypatch):
    """For candidates that have a mistake's numbers, not its code: a change of it would turn their switches."""
    monkeypatch.setattr(repairs, "own_code", lambda *_: None)


@pytest.fixture
def case_of(monkeypatch):
    """A function that makes the comparison as the search for the mistake sees it."""

    def case(candidate, reference, params, *data):
        seen = []
        with monkeypatch.context() as patch:
            checking = importlib.import_module("gradproof.checking")
            patch.setattr(checking, "explain", lambda case, searching: seen.append(case) or [])
            compare_gradients(candidate, reference, params, *data)
        (found,) = seen
        return found

    return case
