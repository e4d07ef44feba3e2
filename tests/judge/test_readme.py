"""The README shows what is really printed."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
pytestmark = pytest.mark.skipif(sys.version_info < (3, 11), reason="older Pythons do not tell which part of a line ran")


@pytest.fixture
def failures(plain_pytest, monkeypatch):
    """A function that runs pytest in a folder: what is printed of each failure, down to where it was raised."""

    def run(folder, *arguments):
        monkeypatch.chdir(folder)
        quiet = ("-W", "ignore::pytest.PytestAssertRewriteWarning")  # of what this process has imported before
        result = plain_pytest.runpytest_inprocess("-p", "no:cacheprovider", *quiet, *arguments)
        lines = [line.rstrip() for line in result.outlines]
        starts = [i for i, line in enumerate(lines) if line.startswith("____")]
        ends = [i for i, line in enumerate(lines) if line.endswith(": GradientMismatch")]
        assert len(starts) == len(ends) > 0, lines + result.errlines
        return [lines[start : end + 1] for start, end in zip(starts, ends, strict=True)]

    return run


def blocks(kind):
    return [text.rstrip("\n").split("\n") for text in re.findall(rf"```{kind}\n(.*?)```", README, re.DOTALL)]


def test_the_first_example(failures):
    assert "pytest --mistake mlp/extra_derivative -x" in README
    assert [blocks("text")[0]] == failures(ROOT, "-x", "--mistake", "mlp/extra_derivative")


def test_the_readers_own_code(failures, tmp_path):
    """With a reference in torch, and without."""
    for name, code in zip(("test_ow1.py", "test_ow2.py"), blocks("python"), strict=False):
        (tmp_path / name).write_text("\n".join(code) + "\n", encoding="utf-8")
    printed = failures(tmp_path, "-p", "gradproof.plugin", "test_ow1.py", "test_ow2.py")
    for shown, lines in zip(blocks("text")[1:3], printed, strict=True):
        told = [re.sub(r"test_ow[12]\.py", "test_own.py", line) for line in lines if line.startswith("E")]
        assert shown == told
