"""The plugin in somebody's project: a folder with two subjects, one mistake, and their tests."""

import os
import re
import shlex
import subprocess
import sys
import xml.etree.ElementTree
from pathlib import Path

import pytest

import gradproof
from gradproof import candidate as candidates
from gradproof.plugin import subject_of

FILES = {
    "conftest.py": """
        import pytest

        pytest_plugins = ["gradproof.plugin"]

        @pytest.fixture(scope="module")
        def report(request, impl, reference):
            return request.module.compare(impl, reference)
        """,
    "numpy_impls/curves/straight_line.py": '''
        """A straight line through points, by its mean squared error: the least that there is to differentiate."""

        import numpy as np


        def loss_and_grads(params, x, y):
            e = params["w"] * x + params["b"] - y
            return np.mean(e**2), {"w": np.array(2 * np.mean(e * x)), "b": np.array(2 * np.mean(e))}


        def loss_and_grads_per_sample(params, x, y):
            parts = [loss_and_grads(params, x[i : i + 1], y[i : i + 1]) for i in range(len(x))]
            grads = {name: np.array(np.mean([grads[name] for _, grads in parts])) for name in params}
            return np.mean([loss for loss, _ in parts]), grads
        ''',
    "reference_impls/curves/straight_line.py": '''
        """The same in torch."""


        def loss(params, x, y):
            return ((params["w"] * x + params["b"] - y) ** 2).mean()
        ''',
    "numpy_impls/mistakes/straight_line/sign_turned.py": '''
        """The slope's gradient has the wrong sign.

        Symptom: the slope runs away.
        """

        from numpy_impls.curves.straight_line import loss_and_grads as right


        def loss_and_grads(params, x, y):
            loss, grads = right(params, x, y)
            grads["w"] = -grads["w"]
            return loss, grads
        ''',
    "tests/curves/test_straight_line.py": """
        import numpy as np
        import pytest

        from gradproof import assert_gradients_match, compare_gradients

        def problem():
            rng = np.random.default_rng(0)
            return {"w": np.array(0.5), "b": np.array(-1.5)}, rng.normal(size=5), rng.normal(size=5)

        def compare(impl, reference):
            return compare_gradients(impl.loss_and_grads, reference.loss, *problem())

        @pytest.mark.parametrize("name", ["loss", "w", "b"])
        def test_quantity(report, name):
            report.assert_matches(name)

        class TestAll:
            def test_at_once(self, impl, reference):
                assert_gradients_match(impl.loss_and_grads, reference.loss, *problem())

        def test_per_sample(impl, reference):
            assert_gradients_match(impl.loss_and_grads_per_sample, reference.loss, *problem())
        """,
    "numpy_impls/rules/halving.py": '''
        """Every parameter is halved."""


        def step(params, grads, state):
            return {name: value / 2 for name, value in params.items()}
        ''',
    "tests/rules/test_halving.py": """
        import numpy as np

        def test_step(impl):
            assert impl.step({"w": np.array(3.0)}, {}, {}) == {"w": 1.5}
        """,
}
LESSON = """
E       GradientMismatch: w: not torch's gradient (wrong-sign)
E         w: yours 0.4072, torch -0.4072
E           relative error 2, allowed 1e-12
E         right already: loss, b
E
E       Your numbers are exactly those of one mistake:
E         wrong-sign (w)
E           your gradient is minus the right one
E           in your code, at
E           numpy_impls/mistakes/straight_line/sign_turned.py:11
E             grads["w"] = -grads["w"]
E           right: grads['w'] = grads['w']
E         read more: pytest --explain wrong-sign
E         again:
E           pytest --mistake straight_line/sign_turned -k "test_quantity[w]"
"""
RIGHT = FILES["numpy_impls/curves/straight_line.py"]
COMPOSED = "from numpy_impls.curves.straight_line import loss_and_grads"
ONLY_REQUIRED = RIGHT.partition("        def loss_and_grads_per_sample")[0]


@pytest.fixture
def project(plain_pytest):
    """The folder, in which `run(project, *arguments)` runs pytest inside this process."""
    plain_pytest.makeini("[pytest]\naddopts = --import-mode=importlib -p no:cacheprovider\npythonpath = .")
    for name, text in FILES.items():
        write(plain_pytest.path / name, text)
    return plain_pytest


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = text.strip("\n").splitlines()
    margin = len(lines[0]) - len(lines[0].lstrip())
    path.write_text("\n".join(line[margin:] for line in lines).rstrip() + "\n", encoding="utf-8")


def run(project, *arguments):
    return project.runpytest_inprocess(*arguments)


def lines_of_failure(result, test):
    """What stands below the title of one failing test."""
    text = "\n".join(line.rstrip() for line in result.outlines)
    return re.split(rf"\n_+ {re.escape(test)} _+\n", text)[1].split("\n____")[0]


def shown(result):
    return "\n".join([*result.outlines, *result.errlines])


# Another file in a subject's place


def test_the_projects_own_files_pass(project):
    run(project).assert_outcomes(passed=6)


def test_a_mistake_fails_and_its_failure_is_the_lesson(project):
    result = run(project, "--mistake", "straight_line/sign_turned")
    result.assert_outcomes(passed=2, failed=2, skipped=1)  # and the other subject's tests do not run
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert LESSON.strip() in lines_of_failure(result, "test_quantity[w]")
    assert "gradproof: straight_line is numpy_impls/mistakes/straight_line/sign_turned.py" in result.outlines


HINTS = {
    1: """
E         wrong-sign (w)
E         read more: pytest --explain wrong-sign
""",
    2: """
E         wrong-sign (w)
E           your gradient is minus the right one
E           in your code, at
E           numpy_impls/mistakes/straight_line/sign_turned.py:11
E             grads["w"] = -grads["w"]
E         read more: pytest --explain wrong-sign
""",
    3: """
E         wrong-sign (w)
E           your gradient is minus the right one
E           in your code, at
E           numpy_impls/mistakes/straight_line/sign_turned.py:11
E             grads["w"] = -grads["w"]
E           right: grads['w'] = grads['w']
E         read more: pytest --explain wrong-sign
""",
}


@pytest.mark.parametrize("options", [(), ("-q",), ("--tb=short",), ("-q", "--tb=short", "-l")], ids=" ".join)
@pytest.mark.parametrize("hints", HINTS)
def test_hints(project, hints, options):
    result = run(project, *MISTAKE, f"--hints={hints}", *options)
    result.assert_outcomes(passed=2, failed=2, skipped=1)
    text = re.sub(r"^E  +", "E ", "\n".join(result.outlines), flags=re.MULTILINE)
    assert re.sub(r"^E  +", "E ", HINTS[hints].strip(), flags=re.MULTILINE) in text
    assert ("minus the right one" in text, "right: grads" in text) == (hints > 1, hints > 2)


def test_hints_are_asked_for_again(project):
    """What a learner is told to run does not tell more than the teacher wants."""
    result = run(project, *MISTAKE, "--hints=1")
    assert all("--hints=1" in command for command in commands_in(result))
    again = run(project, *shlex.split(commands_in(result)[0].replace("\\\n", "")))
    again.assert_outcomes(failed=1, deselected=4)
    assert "minus the right one" not in shown(again)


@pytest.mark.filterwarnings("ignore:A plugin raised an exception during an old-style hookwrapper")  # of pytest 7.4
@pytest.mark.parametrize("hints", ["0", "4", "all"])
def test_hints_that_there_are_not(project, hints):
    result = run(project, f"--hints={hints}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "--hints: invalid" in shown(result)


def test_a_mistake_is_told_once(project):
    result = run(project, "--mistake", "straight_line/sign_turned")
    again = lines_of_failure(result, "TestAll.test_at_once")
    assert "the same mistake as in test_quantity[w], explained there" in again
    assert 'again: pytest --mistake straight_line/sign_turned -k test_at_once' in again
    assert "minus the right one" not in again


def test_your_own_file(project):
    write(project.path / "mine.py", RIGHT)
    run(project, "--impl", "straight_line=mine.py").assert_outcomes(passed=5)


def test_your_own_file_wherever_it_is(project, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write(elsewhere / "mine.py", RIGHT.replace("import numpy as np", "import numpy as np\n        import beside_mine"))
    write(elsewhere / "beside_mine.py", "x = 1")
    result = run(project, "--impl", f"straight_line={elsewhere / 'mine.py'}")
    result.assert_outcomes(passed=5)
    assert f"gradproof: straight_line is {elsewhere / 'mine.py'}" in result.outlines


def test_a_file_named_like_a_library_is_the_file(project):
    write(project.path / "json.py", RIGHT.replace('"w": np.array(2', '"w": np.array(3'))
    run(project, "--impl", "straight_line=json.py").assert_outcomes(passed=2, failed=3)


def test_a_subject_may_import_what_it_consists_of(project):
    write(project.path / "numpy_impls" / "curves" / "line.py", COMPOSED)
    write(project.path / "tests" / "curves" / "test_line.py", "def test_it(impl):\n    assert impl.loss_and_grads")
    write(project.path / "mine.py", ONLY_REQUIRED)
    run(project, "--impl", "line=mine.py").assert_outcomes(passed=1)


def test_several_files_at_once(project):
    write(project.path / "mine.py", RIGHT)
    write(project.path / "rule.py", FILES["numpy_impls/rules/halving.py"].replace("/ 2", "/ 4"))
    result = run(project, "--impl", "straight_line=mine.py", "--impl", "halving=rule.py")
    result.assert_outcomes(passed=5, failed=1)
    result = run(project, "--mistake", "straight_line/sign_turned", "--impl", "halving=rule.py")
    result.assert_outcomes(passed=2, failed=3, skipped=1)


def test_without_an_optional_function_its_tests_are_skipped(project):
    write(project.path / "mine.py", ONLY_REQUIRED)
    result = run(project, "--impl", "straight_line=mine.py", "-rs")
    result.assert_outcomes(passed=4, skipped=1)
    assert "mine.py has no loss_and_grads_per_sample, which this test is about" in " ".join(shown(result).split())


def test_what_a_file_does_on_being_imported_is_put_back(project):
    meddling = RIGHT.replace("import numpy as np", "import numpy as np\n        np.seterr(all='raise')")
    write(project.path / "mine.py", meddling)
    write(
        project.path / "tests" / "curves" / "test_straight_line.py",
        FILES["tests/curves/test_straight_line.py"]
        + "\n        def test_state(impl):\n            assert np.geterr()['under'] == 'ignore'",
    )
    run(project, "--impl", "straight_line=mine.py").assert_outcomes(passed=6)


def test_a_file_is_run_once(project):
    write(project.path / "mine.py", RIGHT + "\n        print('imported')")
    result = run(project, "--impl", "straight_line=mine.py", "-s")
    assert shown(result).count("imported") == 1


# What cannot be done is said


NO_FUNCTION = "def train(x):\n    return x\n\n\ndef loss_and_grad(params, x, y):\n    return 0.0, {}"
USAGE = {
    "no file": (
        ["--impl", "straight_line=missing.py"],
        r"--impl straight_line=missing.py: there is no file .*missing.py",
    ),
    "no equals": (["--impl", "mine.py"], r"--impl mine.py: give SUBJECT=FILE, for example --impl mlp=my_mlp.py"),
    "no subject": (["--impl", "=mine.py"], r"--impl =mine.py: give SUBJECT=FILE"),
    "a folder": (["--impl", "straight_line=tests"], r"there is no file .*tests"),
    "unknown subject": (
        ["--impl", "strait_line=empty.py"],
        r"no subject named 'strait_line'; did you mean straight_line\?",
    ),
    "nothing like it": (["--impl", "xyz=empty.py"], r"no subject named 'xyz'; there are: straight_line, halving"),
    "syntax": (["--impl", "straight_line=syntax.py"], r"--impl straight_line=syntax.py: syntax.py:2: .*\n  return \("),
    "raises": (
        ["--impl", "straight_line=raises.py"],
        r"does not load: it raised NameError: name 'nump' is not defined\nat raises.py:2\n  x = nump.ones\(3\)",
    ),
    "exits": (["--impl", "straight_line=exits.py"], r"exits.py does not load: it raised SystemExit"),
    "no Python": (["--impl", "straight_line=notes.txt"], r"it raised ImportError: notes.txt is no Python file"),
    "no such function": (
        ["--impl", "straight_line=no_function.py"],
        r"no_function.py has no function loss_and_grads, which a model needs; it has loss_and_grad, train$",
    ),
    "no function at all": (["--impl", "straight_line=empty.py"], r"which a model needs; it has no function at all$"),
    "a rule without step": (["--impl", "halving=empty.py"], r"has no function step, which a update rule needs"),
    "a helper's file": (
        ["--impl", "helper=rule.py"],
        r"helper.py holds no subject; one defines loss_and_grads \(a model\), forward and backward \(a layer\), step",
    ),
    "twice": (
        ["--impl", "halving=rule.py", "--impl", "halving=rule.py"],
        r"only one file can take the place of halving: --impl or --mistake, and once",
    ),
    "unknown mistake": (
        ["--mistake", "straight_line/sign_turn"],
        r"no mistake named 'straight_line/sign_turn'; did you mean straight_line/sign_turned\?",
    ),
    "a subject alone": (["--mistake", "straight_line"], r"no mistake named 'straight_line'; did you mean"),
    "unknown subject of a mistake": (["--mistake", "line/sign_turned"], r"no subject named 'line'; there are:"),
    "a subject without mistakes": (["--mistake", "halving/x"], r"no mistake named 'halving/x'; there are: none"),
    "unknown code": (
        ["--explain", "wrong-scal"],
        r"no finding code named 'wrong-scal'; did you mean wrong-scale, wrong-shape or wrong-sign\?",
    ),
    "empty code": (["--explain", ""], r"no finding code named ''; there are: raised, missing-gradient, "),
}


@pytest.mark.parametrize(("arguments", "said"), USAGE.values(), ids=USAGE)
def test_what_cannot_be_done(project, arguments, said):
    write(project.path / "syntax.py", "def loss_and_grads(params):\n    return (")
    write(project.path / "raises.py", "import numpy\nx = nump.ones(3)")
    write(project.path / "exits.py", "raise SystemExit")
    write(project.path / "notes.txt", "x")
    write(project.path / "no_function.py", NO_FUNCTION)
    write(project.path / "empty.py", "x = 1")
    if "helper=rule.py" in arguments:
        write(project.path / "numpy_impls" / "curves" / "helper.py", "x = 1")
    write(project.path / "rule.py", FILES["numpy_impls/rules/halving.py"])
    result = run(project, *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert re.search(f"ERROR: .*{said}", "\n".join(result.errlines).rstrip(), re.DOTALL)
    assert "Traceback" not in shown(result)
    assert result.outlines == []


@pytest.mark.skipif(not hasattr(candidates.signal, "setitimer"), reason="this platform has no alarm to set")
def test_a_file_that_does_not_end_on_being_imported(project, monkeypatch):
    monkeypatch.setattr(candidates, "TIME_LIMIT", 0.05)
    write(project.path / "mine.py", "while True:\n    pass")
    result = run(project, "--impl", "straight_line=mine.py")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "mine.py does not load: it did not finish within 0.05 s" in "\n".join(result.errlines)


# Lists and explanations


def test_subjects_are_listed(project):
    result = run(project, "--list-subjects")
    assert result.ret == 0
    assert result.outlines == [
        "halving",
        "    Every parameter is halved.",
        "straight_line",
        "    A straight line through points, by its mean squared error: the least that",
        "    there is to differentiate.",
        "",
        "your own file in a subject's place: pytest --impl SUBJECT=FILE",
    ]


def test_mistakes_are_listed(project):
    result = run(project, "--list-mistakes")
    assert result.ret == 0
    assert result.outlines == [
        "straight_line/sign_turned",
        "    The slope's gradient has the wrong sign.",
        "",
        "see one fail: pytest --mistake SUBJECT/NAME",
    ]


def test_where_there_is_nothing_to_list(pytester):
    pytester.makeconftest('pytest_plugins = ["gradproof.plugin"]')
    for option, what in (("subjects", "numpy_impls"), ("mistakes", "numpy_impls/mistakes")):
        result = pytester.runpytest_inprocess(f"--list-{option}")
        assert result.ret == 0
        assert result.outlines == [
            f"no {option} here: there is no {what} folder with files in {pytester.path}"
        ]


def test_a_code_is_explained(project):
    result = run(project, "--explain", "wrong-scale")
    assert result.ret == 0
    text = (Path(gradproof.__file__).parent / "explanations" / "wrong-scale.md").read_text(encoding="utf-8")
    assert "\n".join(result.outlines) == text.rstrip()


def test_listing_and_explaining_load_neither_torch_nor_numpy(project):
    code = (
        "import sys, pytest\n"
        "codes = [pytest.main(one.split()) for one in ('--list-subjects', '--list-mistakes', '--explain raised')]\n"
        "print([int(code) for code in codes], [name for name in ('numpy', 'torch') if name in sys.modules])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project.path,
        env={**os.environ, "PYTHONPATH": str(Path(gradproof.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.splitlines()[-1] == "[0, 0, 0] []"


# How a failure looks


MISTAKE = ("--mistake", "straight_line/sign_turned")


def test_no_line_is_wider_than_the_screen(project):
    lines = [line for line in run(project, *MISTAKE).outlines if not line.startswith("rootdir: ")]
    assert [line for line in lines if len(line) > 80] == []


@pytest.mark.parametrize("style", ["auto", "long", "short", "line", "native", "no"])
def test_every_style_of_traceback_is_free_of_ours(project, style):
    result = run(project, *MISTAKE, f"--tb={style}")
    result.assert_outcomes(passed=2, failed=2, skipped=1)
    text = shown(result)
    assert not re.search(r"(checking|report|plugin|candidate|oracles)\.py", text) or style == "native"
    assert ("w: not torch's gradient (wrong-sign)" in text) is (style != "no")
    if style != "line":  # some versions of pytest show the whole message there, some its first line
        assert ("your gradient is minus the right one" in text) is (style != "no")


def test_quiet(project):
    result = run(project, *MISTAKE, "-q")
    assert LESSON.strip() in lines_of_failure(result, "test_quantity[w]")


def test_the_summary_of_a_ci_log_is_one_line_for_each_test(project, monkeypatch):
    monkeypatch.setenv("CI", "true")
    result = run(project, *MISTAKE)
    start = next(i for i, line in enumerate(result.outlines) if "short test summary info" in line)
    assert result.outlines[start + 1 : -1] == [
        "FAILED tests/curves/test_straight_line.py::test_quantity[w] - GradientMismatch: w: not torch's gradient"
        " (wrong-sign)",
        "FAILED tests/curves/test_straight_line.py::TestAll::test_at_once - GradientMismatch: w: not torch's gradient"
        " (wrong-sign)",
    ]


def test_in_xml(project):
    run(project, *MISTAKE, "--junitxml=out.xml")
    text = (project.path / "out.xml").read_text(encoding="utf-8")
    failures = [one.find("failure") for one in xml.etree.ElementTree.fromstring(text).iter("testcase")]
    failures = [one for one in failures if one is not None]
    assert [one.get("message") for one in failures] == [
        "GradientMismatch: w: not torch's gradient (wrong-sign)"
    ] * 2
    assert "your gradient is minus the right one" in failures[0].text
    assert "\x1b" not in text


def test_no_colour_of_our_own(project):
    text = "\n".join(run(project, *MISTAKE, "--color=yes").outlines)
    plain = re.sub(r"\x1b\[[\d;]*m", "", text)
    assert "    your gradient is minus the right one" in plain
    assert "\x1b" not in str(gradproof.compare_gradients(lambda w: None, lambda w: w["w"] ** 2, {"w": 3.0}))


@pytest.mark.parametrize(("hints", "told"), [((), (True, True)), (("--hints=1",), (False, False))])
def test_in_parallel(project, monkeypatch, hints, told):
    """Reports travel between processes; torch, which takes long to load, is not needed for it."""
    pytest.importorskip("xdist")
    write(
        project.path / "tests" / "rules" / "test_halving.py",
        """
        import numpy as np
        import pytest
        from gradproof.report import Comparison, Finding, Report

        @pytest.mark.parametrize("name", ["w", "b"])
        def test_step(impl, name):
            wrong = Comparison(name, np.array([1.0, 2.0]), np.array([2.0, 4.0]), 0.5, 1e-12, 1e-12, False)
            finding = Finding("wrong-scale", (name,), "half of it", mend=f"d{name} = 2 * d{name}")
            Report((finding,), {name: wrong}).assert_matches(name)
        """,
    )
    write(project.path / "rule.py", FILES["numpy_impls/rules/halving.py"])
    monkeypatch.setenv("PYTHONPATH", str(Path(gradproof.__file__).parents[1]))
    result = project.runpytest_subprocess("-p", "xdist", "-n", "1", "--impl", "halving=rule.py", "tests/rules", *hints)
    result.assert_outcomes(failed=2)
    text = shown(result)
    assert (" half of it" in text, "dw = 2 * dw" in text) == told
    assert f'again: pytest --impl halving=rule.py {"".join(hints)} -k "test_step[w]"'.replace("  ", " ") in text
    assert "INTERNALERROR" not in text


def commands_in(result):
    """The commands that the failures of a run give to run one test again."""
    text = "\n".join(line[1:].strip() if line.startswith("E") else "" for line in result.outlines)
    return re.findall(r"again:\s+pytest ((?:.*\\\n)*.*)", text)


NAMES = """
        @pytest.mark.parametrize("what", ["plain", "with space", "(1, 2)", "a/b", "x" * 60, "not"])
        def test_named(impl, reference, what):
            assert_gradients_match(impl.loss_and_grads, reference.loss, *problem())

        class TestLong:
            def test_of_a_name_that_is_longer_than_most_and_leaves_no_room_on_the_line(self, impl, reference):
                assert_gradients_match(impl.loss_and_grads, reference.loss, *problem())
        """


@pytest.mark.parametrize("options", [MISTAKE, ("--impl", "straight_line=wrong/mine.py"), ()])
@pytest.mark.parametrize("folder", ["", "tests"])
def test_again_runs_that_one_test(project, options, folder):
    """Also from a folder below, and where the command needs more than a line."""
    wrong, tests = FILES["numpy_impls/mistakes/straight_line/sign_turned.py"], "tests/curves/test_straight_line.py"
    write(project.path / tests, FILES[tests] + NAMES)
    write(project.path / folder / "wrong" / "mine.py", wrong)
    if not options:
        turned = RIGHT.replace('"w": np.array(2', '"w": np.array(-2')
        write(project.path / "numpy_impls" / "curves" / "straight_line.py", turned)
    os.chdir(project.path / folder)  # pytester goes back; monkeypatch would do so after it, to a folder of this test
    result = run(project, *options)
    commands = commands_in(result)
    assert len(commands) == result.parseoutcomes()["failed"] >= 9
    for command in commands[:: 1 if options == MISTAKE and not folder else 4]:
        assert all(len(line) <= 72 for line in command.split("\n") if not re.search(r"\S{50}", line))
        again = run(project, *shlex.split(command.replace("\\\n", "")))
        assert again.parseoutcomes().get("failed") == 1, command
        assert again.parseoutcomes().get("passed") is None, command


def test_values_that_say_nothing_new_are_left_out(project):
    write(
        project.path / "tests" / "curves" / "test_straight_line.py",
        FILES["tests/curves/test_straight_line.py"]
        + """
        @pytest.fixture
        def seed():
            return 1234

        def test_seeded(impl, reference, report, seed):
            assert_gradients_match(impl.loss_and_grads, reference.loss, *problem())

        def test_other(impl):
            assert impl is None
        """,
    )
    result = run(project, *MISTAKE)
    assert lines_of_failure(result, "test_quantity[w]").startswith('\nreport = ') is False
    assert lines_of_failure(result, "test_seeded").lstrip("\n").startswith("seed = 1234\n")
    assert "impl = <the functions of sign_turned.py>" in lines_of_failure(result, "test_other")


def test_other_failures_are_left_alone(project):
    write(
        project.path / "tests" / "rules" / "test_halving.py",
        "def test_step(impl):\n    raise ValueError('first\\nsecond')",
    )
    text = lines_of_failure(run(project, "tests/rules"), "test_step")
    assert "E   ValueError: first\nE   second" in text.replace("E       ", "E   ")
    assert "again:" not in text


def test_python_may_ask_an_implementation_for_anything(project):
    write(
        project.path / "tests" / "rules" / "test_halving.py",
        "import copy, inspect\n\ndef test_step(impl):\n    assert not hasattr(impl, '__wrapped__')\n"
        "    assert inspect.unwrap(impl) is impl\n    assert impl.__doc__",
    )
    run(project, "tests/rules").assert_outcomes(passed=1)


def test_a_subject_without_a_test_file_is_an_error_that_says_so(project):
    write(project.path / "tests" / "rules" / "test_doubling.py", "def test_step(impl):\n    pass")
    result = run(project, "tests/rules")
    result.assert_outcomes(passed=1, errors=1)
    assert "no subject named 'doubling'" in shown(result)


@pytest.mark.parametrize(
    ("module", "subject"),
    [("test_mlp", "mlp"), ("tests.models.test_mlp", "mlp"), ("bench_mlp", "mlp"), ("test_test_bench", "test_bench")],
)
def test_the_subject_of_a_test_module(module, subject):
    assert subject_of(module) == subject
