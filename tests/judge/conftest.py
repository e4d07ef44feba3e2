"""What several of the judge's tests ask for."""

import importlib
import inspect
import logging

import numpy as np
import pytest

from gradproof import compare_gradients
from gradproof.diagnosis import changed_code
from gradproof.subjects import load_module
from tests.judge.network import problem, reference, with_gradient


@pytest.fixture(autouse=True)
def no_part_of_a_search_breaks_off(caplog):
    """A defect in one family leaves the others to name the mistake: no report would show it."""
    caplog.set_level(logging.DEBUG, "gradproof")
    yield
    assert not [record.exc_info for record in caplog.get_records("call") if record.exc_info]


@pytest.fixture
def no_changes_of_code(monkeypatch):
    """For candidates that have a mistake's numbers, not its code: a change of it would turn their switches."""
    monkeypatch.setattr(changed_code, "own_code", lambda *_: None)


@pytest.fixture
def no_own_lines(monkeypatch):
    """For tests of what is told, not of where it is in the candidate's code: that takes as long again."""
    monkeypatch.setattr(importlib.import_module("gradproof.diagnosis.search"), "LINES_SHARE", 0.0)


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


@pytest.fixture
def rewritten(tmp_path):
    """Makes a function with other text in it, which has a file of its own."""

    def make(function, *texts):
        source = inspect.getsource(function)
        for old, new in zip(texts[::2], texts[1::2], strict=True):
            assert old in source
            source = source.replace(old, new)
        file = tmp_path / "written.py"
        file.write_text("import numpy as np\n\n\n" + source)
        return getattr(load_module(file), function.__name__)

    return make


@pytest.fixture(scope="session")
def everything_loaded():
    """A run inside this process forgets what it has imported, and torch cannot be imported twice."""
    assert not compare_gradients(with_gradient("W1", np.negative), reference, *problem()).ok


@pytest.fixture
def plain_pytest(pytester, monkeypatch, everything_loaded):
    """For runs of pytest inside this process, 80 columns wide, by default without anybody's plugins or settings."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # they take a second to load
    for variable in ("CI", "BUILD_NUMBER", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER"):
        monkeypatch.delenv(variable, raising=False)
    return pytester
