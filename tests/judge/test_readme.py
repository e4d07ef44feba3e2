"""The README shows what is really printed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
pytestmark = pytest.mark.skipif(sys.version_info < (3, 11), reason="older Pythons do not tell which part of a line ran")


def failure(folder, *arguments):
    """What pytest prints of a first failure, down to the place where it was raised."""
    given = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST") and key != "CI"}
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", *arguments]
    environment = {**given, "COLUMNS": "80", "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    lines = [line.rstrip() for line in result.stdout.split("\n")]
    assert "GradientMismatch" in result.stdout, result.stdout + result.stderr
    start = next(i for i, line in enumerate(lines) if line.startswith("____"))
    end = next(i for i, line in enumerate(lines) if line.endswith(": GradientMismatch"))
    return lines[start : end + 1]


def blocks(kind):
    return [text.rstrip("\n").split("\n") for text in re.findall(rf"```{kind}\n(.*?)```", README, re.DOTALL)]


def test_the_first_example():
    assert "pytest --mistake mlp/extra_derivative -x" in README
    assert blocks("text")[0] == failure(ROOT, "--mistake", "mlp/extra_derivative")


@pytest.mark.parametrize("which", [0, 1], ids=["reference", "no_reference"])
def test_the_readers_own_code(tmp_path, which):
    (tmp_path / "test_own.py").write_text("\n".join(blocks("python")[which]) + "\n", encoding="utf-8")
    printed = failure(tmp_path, "-p", "gradproof.plugin", "test_own.py")
    assert blocks("text")[1 + which] == [line for line in printed if line.startswith("E")]
