"""What somebody else gets from `pip install`: gradproof and its pytest plugin, and none of the implementations."""

from __future__ import annotations

import configparser
import importlib.metadata
import json
import os
import sys

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it along on 3.10


@pytest.fixture(scope="module")
def project(pytestconfig):
    return tomllib.loads((pytestconfig.rootpath / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def installed():
    """The distribution in this environment, where it was installed from a wheel (as tox does)."""
    try:
        found = importlib.metadata.distribution("gradproof")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("gradproof runs from its source tree here; tox installs the wheel that this test is about")
    if json.loads(found.read_text("direct_url.json") or "{}").get("dir_info", {}).get("editable"):
        pytest.skip("gradproof is installed in editable mode; tox installs the wheel that this test is about")
    return found


def test_the_wheel_is_asked_for_gradproof_alone(project):
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"] == {"packages": ["gradproof"]}


def test_installing_needs_numpy_torch_and_pytest_alone(project):
    assert [line.split(">=")[0] for line in project["project"]["dependencies"]] == ["numpy", "torch", "pytest"]


def test_what_is_installed_is_gradproof_alone(installed):
    folders = {path.parts[0] for path in installed.files} - {f"gradproof-{installed.version}.dist-info"}
    assert folders == {"gradproof"}


def test_all_of_gradproof_is_installed(installed, pytestconfig):
    """Tests import the source tree, which lies nearer: that what is installed is complete has to be looked at."""
    root = pytestconfig.rootpath
    files = {path.relative_to(root).as_posix() for path in (root / "gradproof").rglob("*.*") if path.suffix != ".pyc"}
    assert {path.as_posix() for path in installed.files if path.suffix != ".pyc"} >= files
    assert "gradproof/explanations/wrong-scale.md" in files


def test_the_plugin_is_announced_under_its_module_path(project):
    """Under any other name pytest would take the entry point and conftest's list for two plugins, and stop."""
    assert project["project"]["entry-points"] == {"pytest11": {"gradproof.plugin": "gradproof.plugin"}}


def test_tox_runs_every_python_that_is_declared(project, pytestconfig):
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(pytestconfig.rootpath / "tox.ini", encoding="utf-8")
    environments = [name.strip() for name in tox["tox"]["env_list"].split(",")]
    declared = [line.rpartition(" :: ")[2] for line in project["project"]["classifiers"] if "Python :: 3." in line]
    assert environments == ["lint", *(f"py{version.replace('.', '')}" for version in declared)]
    assert project["project"]["requires-python"] == f">={declared[0]}"


def test_a_missing_interpreter_is_no_success(pytestconfig):
    assert "\nskip_missing_interpreters = false\n" in (pytestconfig.rootpath / "tox.ini").read_text(encoding="utf-8")


def test_ci_runs_tox(pytestconfig):
    script = pytestconfig.rootpath / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text(encoding="utf-8").rstrip().splitlines()[-1].startswith(".venv/bin/tox")
