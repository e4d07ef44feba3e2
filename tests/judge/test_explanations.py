"""The texts behind `pytest --explain CODE`: one for each finding code, whole, and fit for a plain terminal."""

import ast
import re
import textwrap
from pathlib import Path

import pytest

import gradproof
from gradproof.codes import CODES

FOLDER = Path(gradproof.__file__).parent / "explanations"
SECTIONS = (
    "What it is",
    "How it arises",
    "Example",
    "How the numbers betray it",
    "How to mend it",
    "Read more",
)
COLUMNS = 80
LINES = range(25, 56)

every_code = pytest.mark.parametrize("code", CODES)


def text_of(code):
    return (FOLDER / f"{code}.md").read_text(encoding="utf-8")


def sections_of(text):
    """Pairs of a title (a line underlined with dashes of its own length) and what stands below it, in order."""
    lines = text.splitlines()
    starts = [i for i in range(len(lines) - 1) if lines[i] and lines[i + 1] == "-" * len(lines[i])]
    ends = [*starts[1:], len(lines)]
    return [(lines[i], "\n".join(lines[i + 2 : end]).strip("\n")) for i, end in zip(starts, ends, strict=True)]


def example_of(text):
    """The wrong and the right code of the example, without their indentation."""
    block = r"((?:    .+\n)+)"
    pattern = rf"(?:.+\n)+\nwrong:\n\n{block}\nright:\n\n{block}"
    match = re.fullmatch(pattern, dict(sections_of(text))["Example"] + "\n")
    assert match, "an example is an introduction, then an indented block under `wrong:` and one under `right:`"
    return textwrap.dedent(match[1]), textwrap.dedent(match[2])


def test_every_code_has_a_text_and_every_text_a_code():
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(f"{code}.md" for code in CODES)


@every_code
def test_the_first_line_says_what_the_numbers_are(code):
    first, underline = text_of(code).splitlines()[:2]
    assert re.fullmatch(rf"{code}: \S.+[^.]", first)
    assert underline == "=" * len(first)


@every_code
def test_all_sections_are_there_in_order_and_none_is_empty(code):
    sections = sections_of(text_of(code))
    assert tuple(title for title, _ in sections) == SECTIONS
    assert [title for title, body in sections if not body.strip()] == []


@every_code
def test_it_can_be_read_in_a_plain_terminal(code):
    text = text_of(code)
    assert [line for line in text.splitlines() if len(line) > COLUMNS or line != line.rstrip()] == []
    assert re.findall(r"[^\n -~\u00a1-\u024f]", text) == []  # ASCII or plain Latin: no tab, no escape code
    assert re.findall(r"</?[A-Za-z]+>|```", text) == []  # no HTML, no fences
    assert len(text.splitlines()) in LINES
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


@every_code
def test_the_example_is_python_and_its_two_sides_differ(code):
    wrong, right = example_of(text_of(code))
    assert len(wrong.splitlines()) in range(1, 5)
    assert len(right.splitlines()) in range(1, 5)
    assert ast.parse(wrong).body
    assert ast.parse(right).body
    assert ast.dump(ast.parse(wrong)) != ast.dump(ast.parse(right))


@every_code
def test_the_reader_is_sent_somewhere(code):
    entries = dict(sections_of(text_of(code)))["Read more"].splitlines()
    assert [line for line in entries if not line.startswith(("- ", "  "))] == []
    assert [line for line in entries if re.search(r"\((19|20)\d\d\)|Nielsen, Neural Networks", line)], "a paper or book"


@every_code
def test_codes_that_a_text_refers_to_exist(code):
    referred = re.findall(r"`([a-z]+(?:-[a-z]+)+)`", text_of(code))
    assert [one for one in referred if one not in CODES] == []
