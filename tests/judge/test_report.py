"""The text that a reader sees, line by line."""

import importlib
import pickle
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from gradproof import compare_gradients
from gradproof.report import HEADLINE, WIDTH, Comparison, Finding, GradientMismatch, Report, along
from tests.judge.network import candidate, problem, reference, returning, with_gradient

W = np.arange(1.0, 7.0).reshape(2, 3)


def compared(name, ours, right=W, tolerance=1e-12):
    ours, right = np.asarray(ours, dtype=float), np.asarray(right, dtype=float)
    difference, size = np.max(np.abs(ours - right)), np.max(np.abs(right))
    error = difference / size if size else float("inf")
    return Comparison(name, ours, right, error, tolerance, tolerance * size, difference <= tolerance * size)


def report_of(*findings, loss=0.7, **options):
    """A report on W1, b1 and W2, which are wrong, and b2, which is right."""
    wrong = compared("W1", W / 4), compared("b1", W[0] / 2, W[0]), compared("W2", -W)
    comparisons = [*wrong, compared("b2", W[1], W[1])]
    named = {one.name: one for one in comparisons}
    return Report(findings, named, loss=compared("loss", loss, 0.7), **options)


def assert_says(text, expected):
    assert text.split("\n") == textwrap.dedent(expected).strip("\n").split("\n")


EXTRA = Finding(
    "extra-derivative",
    ("W1", "b1"),
    "the derivative of sigmoid is applied at `a2 @ params['W3']`, where the reference has none\nThe same numbers come"
    " of: different-function, what is propagated back is that of another loss",
    'nets/mlp.py:22  return z + params[f"b{k}"] if f"b{k}" in params else z + torch.zeros(params[f"W{k}"].shape[1])',
)
SIGN = Finding("wrong-sign", ("W2",), "your gradient is minus the right one")
PRODUCT = Finding(
    "not-transposed",
    ("W1",),
    "in the gradient of h, W is used as it stands where its transpose belongs",
    "nets/mlp.py:7  z = h @ W",
    mend="dh = dz @ W.T, dW = h.T @ dz",
)
WINDOWS = Finding(
    "overwritten",
    ("W2",),
    "where windows overlap, only one of them is kept",
    mend="rows, cols = dy.shape[2:]\nfor i, j in np.ndindex(2, 2):\n"
    "    dx[:, :, i : i + rows, j : j + cols] += np.einsum('nohw,oc->nchw', dy, w[:, :, i, j])\n"
    "where y is the convolution of x with w",
)
UNKNOWN = Finding("unexplained", ("W1", "b1", "W2"), "W1: all entries differ\nTried: much.", exact=False)


# What is told


def test_two_mistakes():
    assert_says(
        str(report_of(EXTRA, SIGN)),
        """
        W1, b1, W2: not torch's gradient (2 mistakes)
          worst at W1[1, 2]: yours 1.5, torch 6
            relative error 0.75, allowed 1e-12; 6 of 6 entries differ
          b1[2]: yours 1.5, torch 3; 3 of 3 differ
          W2[1, 2]: yours -6, torch 6; 6 of 6 differ
          right already: loss, b2

        Your numbers are exactly those of two mistakes together:
          extra-derivative (W1, b1)
            the derivative of sigmoid is applied at `a2 @ params['W3']`, where
            the reference has none
            The same numbers come of: different-function, what is propagated
            back is that of another loss
            at nets/mlp.py:22
              return z + params[f"b{k}"] if f"b{k}" in params else z +
                  torch.zeros(params[f"W{k}"].shape[1])
          wrong-sign (W2)
            your gradient is minus the right one
          read more: pytest --explain extra-derivative
          read more: pytest --explain wrong-sign
        """,
    )


def test_one_quantity_of_several():
    """What concerns another one is named in a line."""
    with pytest.raises(GradientMismatch) as caught:
        report_of(EXTRA, SIGN).assert_matches("W2")
    assert str(caught.value) == "W2: not torch's gradient (wrong-sign)"
    assert caught.value.__notes__[0].split("\n") == [
        "  worst at W2[1, 2]: yours -6, torch 6",
        "    relative error 2, allowed 1e-12; 6 of 6 entries differ",
        "  right already: loss, b2",
        "",
        "Your numbers are exactly those of one mistake:",
        "  wrong-sign (W2)",
        "    your gradient is minus the right one",
        "  elsewhere: extra-derivative (W1, b1)",
        "  read more: pytest --explain wrong-sign",
    ]


def test_what_another_test_has_told_is_not_told_again():
    with pytest.raises(GradientMismatch) as caught:
        report_of(EXTRA, SIGN).assert_matches("b1")
    caught.value.retell(3, "test_gradient[W1]")
    assert caught.value.__notes__[0].split("\n") == [
        "  worst at b1[2]: yours 1.5, torch 3",
        "    relative error 0.5, allowed 1e-12; 3 of 3 entries differ",
        "  right already: loss, b2",
        "  the same mistake as in test_gradient[W1], explained there",
    ]


# How much is told


def told(*findings, **options):
    """What stands below the numbers."""
    lines = report_of(*findings).details(**options)
    return "\n".join(lines[lines.index("") + 1 :])


def test_the_mended_formula_is_the_last_of_a_finding():
    assert_says(
        told(PRODUCT, SIGN),
        """
        Your numbers are exactly those of two mistakes together:
          not-transposed (W1)
            in the gradient of h, W is used as it stands where its transpose
            belongs
            at nets/mlp.py:7
              z = h @ W
            right: dh = dz @ W.T, dW = h.T @ dz
          wrong-sign (W2)
            your gradient is minus the right one
          read more: pytest --explain not-transposed
          read more: pytest --explain wrong-sign
        """,
    )


def test_a_formula_of_several_lines():
    assert_says(
        told(WINDOWS),
        """
        Your numbers are exactly those of one mistake:
          overwritten (W2)
            where windows overlap, only one of them is kept
            right:
              rows, cols = dy.shape[2:]
              for i, j in np.ndindex(2, 2):
                  dx[:, :, i : i + rows, j : j + cols] +=
                      np.einsum('nohw,oc->nchw', dy, w[:, :, i, j])
              where y is the convolution of x with w
          read more: pytest --explain overwritten
        """,
    )


def test_two_hints_leave_the_formula_out():
    assert_says(
        told(PRODUCT, hints=2),
        """
        Your numbers are exactly those of one mistake:
          not-transposed (W1)
            in the gradient of h, W is used as it stands where its transpose
            belongs
            at nets/mlp.py:7
              z = h @ W
          read more: pytest --explain not-transposed
        """,
    )


def test_one_hint_is_the_name():
    wrong = Finding("wrong-loss", ("loss",), "yours 1.4, torch's 0.7. It is the right loss times 2.")
    assert_says(
        told(PRODUCT, SIGN, wrong, hints=1),
        """
        Your numbers are exactly those of two mistakes together:
          not-transposed (W1)
          wrong-sign (W2)

        And the loss:
          wrong-loss (loss)
          read more: pytest --explain not-transposed
          read more: pytest --explain wrong-sign
          read more: pytest --explain wrong-loss
        """,
    )


def test_one_hint_keeps_the_numbers():
    lines = report_of(PRODUCT, SIGN).details(hints=1)
    assert lines[: lines.index("")] == report_of(PRODUCT, SIGN).numbers()


def test_one_hint_where_no_mistake_is_known():
    assert_says(
        told(UNKNOWN, hints=1),
        """
        No known mistake gives these numbers:
          unexplained (W1, b1, W2)
          read more: pytest --explain unexplained
        """,
    )


def test_what_has_to_be_put_right_first_is_told_with_one_hint_too():
    """Without it there are no numbers to think about; how it is mended is left out."""
    amiss = Finding("wrong-type", ("W1",), "grads['W1'] is a list of 3", mend="grads['W1'] = np.asarray(grads['W1'])")
    expected = """
        To put right:
          wrong-type (W1)
            grads['W1'] is a list of 3
          read more: pytest --explain wrong-type
        """
    assert_says(told(amiss, hints=1), expected)
    assert_says(told(amiss, hints=2), expected)
    assert "    right: grads['W1'] = np.asarray(grads['W1'])" in told(amiss).split("\n")


@pytest.mark.parametrize("hints", [1, 2, 3])
def test_an_exception_can_be_told_to_say_less(hints):
    error = GradientMismatch(report_of(PRODUCT), "W1")
    assert error.__notes__ == ["\n".join(report_of(PRODUCT).details("W1"))]  # all of it, where nobody says otherwise
    error.retell(hints)
    assert error.__notes__ == ["\n".join(report_of(PRODUCT).details("W1", hints=hints))]
    assert ("right: dh" in error.__notes__[0], "transpose belongs" in " ".join(error.__notes__[0].split())) == (
        hints > 2,
        hints > 1,
    )


def test_a_wrong_loss_beside_a_wrong_gradient():
    wrong = Finding("wrong-loss", ("loss",), "yours 1.4, torch's 0.7. It is the right loss times 2.")
    assert str(report_of(SIGN, wrong, loss=1.4)).split("\n")[7:] == [
        "",
        "Your numbers are exactly those of one mistake:",
        "  wrong-sign (W2)",
        "    your gradient is minus the right one",
        "",
        "And the loss:",
        "  wrong-loss (loss)",
        "    yours 1.4, torch's 0.7. It is the right loss times 2.",
        "  read more: pytest --explain wrong-sign",
        "  read more: pytest --explain wrong-loss",
    ]


def test_a_wrong_loss_alone():
    report = compare_gradients(returning(lambda loss, grads: (2 * loss, grads)), reference, *problem())
    assert str(report).split("\n")[:7] == [
        "loss: not torch's loss (wrong-loss)",
        "  loss: yours 3.744, torch 1.872",
        "    relative error 1, allowed 1e-12",
        "  right already: W1, b1, W2, s",
        "",
        "The loss:",
        "  wrong-loss (loss)",
    ]


def test_no_known_mistake():
    assert_says(
        str(report_of(UNKNOWN)),
        """
        W1, b1, W2: not torch's gradient (unexplained)
          worst at W1[1, 2]: yours 1.5, torch 6
            relative error 0.75, allowed 1e-12; 6 of 6 entries differ
          b1[2]: yours 1.5, torch 3; 3 of 3 differ
          W2[1, 2]: yours -6, torch 6; 6 of 6 differ
          right already: loss, b2

        No known mistake gives these numbers:
          unexplained (W1, b1, W2)
            W1: all entries differ
            Tried: much.
          read more: pytest --explain unexplained
        """,
    )


def test_a_resemblance_is_not_called_exact():
    report = report_of(Finding("wrong-scale", ("W1",), "about a quarter", exact=False))
    assert "What was found:" in str(report)
    assert "exactly" not in str(report)


def test_beside_a_numerical_derivative(monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])
    monkeypatch.setattr(importlib.import_module("gradproof.diagnosis.search"), "SEARCH_SECONDS", 0.2)
    function = with_gradient("b1", lambda db: db + 1.0)
    assert_says(
        re.sub(r"Tried: \d+ ", "Tried: 2000 ", str(compare_gradients(function, None, *problem()))),
        """
        b1: not the derivative of your loss (unexplained)
          worst at b1[1]: yours 0.608, complex step -0.392
            relative error 2.6, allowed 1e-11; 4 of 4 entries differ
          right already: loss, W1, W2, s

        No known mistake gives these numbers:
          unexplained (b1)
            b1: all entries differ; it points the opposite way (cosine -0.582)
            W2 and s are right and b1 is not: look between them, from
            tests/judge/network.py:22  h = np.tanh(x @ params["W1"] +
            params["b1"])  # (n, hidden) on
            Tried: 2000 single broken rules of your own forward pass, pairs of
            them, factors, signs and transposes; the time for searching ran out
            before all were tried.
          compared with the derivative of your own loss, taken by complex step
          read more: pytest --explain unexplained
        """,
    )


def test_things_to_put_right_first():
    def hasty(loss, grads):
        return loss, {"W1": grads["W1"].tolist(), "db1": grads["b1"], "W2": -grads["W2"], "s": grads["s"]}

    assert_says(
        str(compare_gradients(returning(hasty), reference, *problem())),
        """
        W1, b1, W2, db1: not torch's gradient (4 mistakes)
          worst at W2[2, 1]: yours -0.7986, torch 0.7986
            relative error 2, allowed 1e-12; 8 of 8 entries differ
          right already: loss, s

        To put right first:
          missing-gradient (b1)
            grads has no key 'b1' (is 'db1' meant for it? a gradient has its
            parameter's own name)
          unexpected-gradient (db1)
            grads has a key 'db1', and there is no such parameter
          wrong-type (W1)
            grads['W1'] is a list of 3, not a NumPy array
            The numbers in it are right.
            right: grads['W1'] = np.asarray(grads['W1'])

        Your numbers are exactly those of one mistake:
          wrong-sign (W2)
            your gradient is minus the right one
            right: dW2 = -dW2
          read more: pytest --explain missing-gradient
          read more: pytest --explain unexpected-gradient
          read more: pytest --explain wrong-type
          read more: pytest --explain wrong-sign
        """,
    )


def test_many_of_one_kind_are_told_together():
    as_lists = returning(lambda loss, grads: (loss, {name: np.ravel(one).tolist() for name, one in grads.items()}))
    assert_says(
        str(compare_gradients(as_lists, reference, *problem())),
        """
        W1, b1, W2, s: not an array (wrong-type)
          right already: loss

        To put right:
          wrong-type (W1, b1, W2, s)
            grads['W1'] is a list of 12, not a NumPy array
            grads['b1'] is a list of 4, not a NumPy array
            grads['W2'] is a list of 8, not a NumPy array
            grads['s'] is a list of 1, not a NumPy array
            right: grads['b1'] = np.asarray(grads['b1'])
          read more: pytest --explain wrong-type
        """,
    )


def test_more_of_one_kind_than_are_shown():
    findings = [Finding("not-finite", (name,), f"{name} is nan") for name in "abcdef"]
    report = Report(tuple(findings), {name: compared(name, W[0] * np.nan, W[1]) for name in "abcdef"})
    assert_says(
        str(report),
        """
        a, b, c, d, e, f: NaN or infinity (not-finite)

        To put right:
          not-finite (a, b, c, d, e, f)
            a is nan
            b is nan
            c is nan
            d is nan
            and 2 more like these
          read more: pytest --explain not-finite
        """,
    )


def failing(params, x, y):
    return x @ params["W2"]


def test_code_that_raised():
    place = f"{Path(__file__).relative_to(Path.cwd())}:{failing.__code__.co_firstlineno + 1}"
    assert_says(
        str(compare_gradients(failing, reference, *problem())),
        f"""
        your code raised ValueError (raised)

        To put right:
          raised
            it raised ValueError: matmul: Input operand 1 has a mismatch in its
            core dimension 0, with gufunc signature (n?,k),(k,m?)->(n?,m?) (size
            4 is different from 3)
            at {place}
              return x @ params['W2']
            where x has shape (7, 3); params['W2'] has shape (4, 2)
          read more: pytest --explain raised
        """,
    )


def test_nothing_was_returned():
    assert_says(
        str(compare_gradients(lambda params, x, y: None, reference, *problem())),
        """
        not the return value asked for (wrong-type)

        To put right:
          wrong-type
            your code must return (loss, grads), grads a dict of arrays by
            parameter; it returned None (is a return statement missing?)
          read more: pytest --explain wrong-type
        """,
    )


def test_how_several_of_one_kind_are_put_right():
    amiss = {name: f"{name} = np.asarray({name})" for name in "ab"}
    findings = [Finding("wrong-type", (name,), f"{name} is a list", mend=mend) for name, mend in amiss.items()]
    assert_says(
        str(Report(tuple(findings), {name: compared(name, W) for name in "ab"})),
        """
        a, b: not an array (wrong-type)

        To put right:
          wrong-type (a, b)
            a is a list
            b is a list
            The numbers in them are right.
            right:
              a = np.asarray(a)
              b = np.asarray(b)
          read more: pytest --explain wrong-type
        """,
    )


# What is right


def test_all_is_right():
    report = Report((), {"W": compared("W", W)}, loss=compared("loss", 0.5, 0.5))
    assert str(report) == "right: loss, W agree with torch (relative error 0)"


def test_warnings_of_a_passing_comparison():
    report = Report((), {"W": compared("W", W)}, warnings=("the batch has one sample: sums and means look alike" * 2,))
    assert str(report).split("\n") == [
        "right: W agree with torch (relative error 0)",
        "  take care: the batch has one sample: sums and means look alikethe",
        "             batch has one sample: sums and means look alike",
    ]


def test_right_beside_a_numerical_derivative():
    lines = str(compare_gradients(candidate, None, *problem())).split("\n")
    assert lines[0].startswith("right: loss, W1, b1, W2, s agree with the complex step (relative error ")
    assert lines[1:] == ["  compared with the derivative of your own loss, taken by complex step"]


# The line above it


@pytest.mark.parametrize(
    ("codes", "parameters", "headline"),
    [
        (["wrong-sign"], ["W1"], "W1: not torch's gradient (wrong-sign)"),
        (["wrong-sign", "wrong-scale"], ["W1"], "W1: not torch's gradient (wrong-sign, wrong-scale)"),
        (["derivative-at-wrong-point"], ["W1"], "W1: not torch's gradient (derivative-at-wrong-point)"),
        (["derivative-at-wrong-point", "wrong-sign"], ["W1"], "W1: not torch's gradient (2 mistakes)"),
        (["derivative-at-wrong-point", "wrong-sign", "wrong-sign"], ["W1"], "W1: not torch's gradient (3 mistakes)"),
        (["wrong-sign"], ["W1", "b1", "W2", "b2"], "W1, b1, W2, b2: not torch's gradient (wrong-sign)"),
        (["extra-derivative"], ["W1", "b1", "W2", "b2"], "W1 and 3 more: not torch's gradient (extra-derivative)"),
        (["truncated-in-time"], ["W_hh", "W_xh", "b_h"], "W_hh, W_xh, b_h: not torch's (truncated-in-time)"),
        (["derivative-at-wrong-point"], ["W_h", "W_x", "b_hh"],
            "3 quantities: not torch's (derivative-at-wrong-point)"),
        (["missing-gradient"], ["W1"], "W1: no gradient returned (missing-gradient)"),
        (["unexpected-gradient"], ["dW"], "dW: no parameter of that name (unexpected-gradient)"),
        (["wrong-type"], ["W1"], "W1: not an array (wrong-type)"),
        (["wrong-type"], ["loss"], "loss: not a number (wrong-type)"),
        (["wrong-type"], [], "not the return value asked for (wrong-type)"),
        (["wrong-shape"], ["W1"], "W1: not the parameter's shape (wrong-shape)"),
        (["wrong-dtype"], ["W1"], "W1: not the parameter's dtype (wrong-dtype)"),
        (["not-finite"], ["W1"], "W1: NaN or infinity (not-finite)"),
        (["input-modified"], ["x"], "x: changed by your code (input-modified)"),
        (["not-repeatable"], ["W1"], "W1: not the same twice (not-repeatable)"),
        (["not-repeatable"], [], "your code gave two answers (not-repeatable)"),
        (["wrong-type", "wrong-sign"], ["W1"], "W1: not torch's gradient (wrong-type, wrong-sign)"),
        (["wrong-loss"], ["loss"], "loss: not torch's loss (wrong-loss)"),
        (["wrong-sign"], ["loss", "W1"], "loss, W1: not torch's numbers (wrong-sign)"),
    ],
)
def test_headline(codes, parameters, headline):
    report = report_of(*(Finding(code, tuple(parameters), "") for code in codes))
    assert report.headline() == headline
    assert len(headline) <= HEADLINE


@pytest.mark.parametrize(
    ("subject", "name", "headline"),
    [
        ("update", "W1", "W1: not torch's update (wrong-scale)"),
        ("layer", "W1", "W1: not torch's gradient (wrong-scale)"),
        ("layer", "output", "output: not torch's output (wrong-scale)"),
    ],
)
def test_headline_of_other_subjects(subject, name, headline):
    report = report_of(Finding("wrong-scale", (name,), ""), subject=subject, output=compared("output", -W))
    assert report.headline() == headline


# Numbers


def first_lines(ours, right, **options):
    report = Report((SIGN,), {"W": compared("W", ours, right, **options)})
    return str(report).split("\n")[1:3]


def test_a_quantity_without_axes_has_no_worst_entry():
    assert first_lines(2.0, 1.0) == ["  W: yours 2, torch 1", "    relative error 1, allowed 1e-12"]


def test_a_gradient_that_should_be_zero():
    assert first_lines([1.0, 0.0], [0.0, 0.0])[1] == "    torch's are all zero; 1 of 2 entries differ"
    assert first_lines(1.0, 0.0)[1] == "    torch's is zero"


def test_digits_are_shown_where_they_differ():
    assert first_lines([1.0 + 1e-9, 3.0], [1.0, 3.0])[0] == "  worst at W[0]: yours 1.0000000010000001, torch 1"


@pytest.mark.parametrize("ours", [W.T, W * np.nan, np.full(W.shape, np.inf), W.astype(object), np.empty((0, 3))])
def test_what_cannot_be_compared_is_left_to_its_finding(ours):
    comparison = Comparison("W", ours, W, float("inf"), 1e-12, 1e-12, False)
    report = Report((Finding("wrong-shape", ("W",), "it is"),), {"W": comparison})
    assert str(report).split("\n")[1:4] == ["", "To put right:", "  wrong-shape (W)"]


def test_many_quantities_are_counted():
    names = [f"W{k}" for k in range(1, 8)]
    report = Report((Finding("wrong-sign", tuple(names), "minus"),), {name: compared(name, -W) for name in names})
    lines = str(report).split("\n")
    assert lines[0] == "W1, W2 and 5 more: not torch's gradient (wrong-sign)"
    assert lines[5:7] == ["  W4[1, 2]: yours -6, torch 6; 6 of 6 differ", "  and 3 more: W5, W6, W7"]


# Quantity by quantity


def test_a_quantity_that_is_right_passes():
    report = report_of(EXTRA, SIGN)
    report.assert_matches("b2")
    report.assert_matches("loss")


@pytest.mark.parametrize(
    "finding",
    [
        Finding("raised", (), "it raised ValueError"),
        Finding("input-modified", ("x",), "the call changed x"),
        Finding("unexpected-gradient", ("dW",), "no such parameter"),
    ],
)
def test_what_concerns_no_one_quantity_fails_all(finding):
    report = report_of(finding)
    for name in ("loss", "W1", "b2"):
        with pytest.raises(GradientMismatch, match=finding.code):
            report.assert_matches(name)


def test_a_quantity_that_was_not_compared_is_no_success():
    with pytest.raises(LookupError, match=r"^'W9' was not compared: there are loss, W1, b1, W2, b2$"):
        report_of().assert_matches("W9")
    without = compare_gradients(returning(lambda loss, grads: (None, grads)), reference, *problem())
    with pytest.raises(LookupError, match=r"^'loss' was not compared: your code returned None for it; there are W1, "):
        without.assert_matches("loss")


def test_a_finding_is_told_although_the_numbers_are_right():
    report = compare_gradients(with_gradient("W1", np.ndarray.tolist), reference, *problem())
    report.assert_matches("b1")
    with pytest.raises(GradientMismatch, match=r"^W1: not an array \(wrong-type\)"):
        report.assert_matches("W1")


# Where it is read


def test_no_line_is_too_wide():
    """Whatever the names, places and messages are, but for words that cannot be broken."""
    names = tuple(f"weights_of_layer_{k}" for k in range(12))
    findings = [
        Finding(code, names, "a word " * 40 + "\n" + "`x + y`" * 3, "some/where.py:1  " + "x = y + 1; " * 20, mend=mend)
        for code in ("derivative-at-wrong-point", "raised", "wrong-loss", "unexplained")
        for mend in ("dx = dy * x, " * 12, "for i in range(9):\n    dx += " + "dy * x + " * 12)
    ]
    for shown in (findings, findings[:2], findings[2:4], findings[6:]):
        report = Report(
            tuple(shown),
            {name: compared(name, -W) for name in names},
            warnings=("take heed " * 20,),
            notes=("note well " * 20,),
        )
        lines = str(report).split("\n")
        assert [line for line in lines[1:] if len(line) > WIDTH] == []
        assert len(lines[0]) <= HEADLINE + len(names[0]) + len("and 11 more")


def test_a_place_is_not_broken_between_lines():
    for length, shown in ((20, "    at nets/"), (54, "    at nets/"), (60, "    nets/")):
        place = f"nets/{'x' * length}.py:9"
        lines = str(report_of(Finding("wrong-sign", ("W2",), f"at {place}", f"{place}  y = x"))).split("\n")
        assert [line for line in lines if "x" * length in line] == [shown + place.removeprefix("nets/")] * 2
        assert "      y = x" in lines


def test_code_is_not_broken_between_lines_where_it_is_short():
    message = "the sum over the samples is missing at the place `dz @ params['W_out'].T` in the last layer"
    report = report_of(Finding("wrong-reduction", ("W1",), message))
    assert "    `dz @ params['W_out'].T` in the last layer" in str(report).split("\n")


def test_plain_text():
    text = str(report_of(EXTRA, SIGN, UNKNOWN))
    assert text.isascii()
    assert "\x1b" not in text


def test_short_when_it_is_one_value_among_others():
    assert repr(report_of(SIGN)) == "<Report: W2: not torch's gradient (wrong-sign)>"


def test_the_exception_survives_a_journey():
    error = GradientMismatch(report_of(EXTRA, SIGN), "W2")
    other = pickle.loads(pickle.dumps(error))
    assert type(other) is GradientMismatch
    assert str(other) == str(error)
    assert [one.code for one in other.report.findings] == ["extra-derivative", "wrong-sign"]
    assert isinstance(other, AssertionError)


def test_without_pytest_all_of_it_is_shown_too():
    """Also by a Python that knows no notes."""
    code = (
        "import numpy as np\n"
        "from gradproof.report import *\n"  # without torch, which takes long to load
        "wrong = Comparison('W2', np.ones(2), -np.ones(2), 2.0, 1e-12, 1e-12, False)\n"
        "raise GradientMismatch(Report((Finding('wrong-sign', ('W2',), 'minus it'),), {'W2': wrong}))"
    )
    root = Path(__file__).parents[2]  # gradproof itself may be installed elsewhere
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    lines = result.stderr.rstrip().split("\n")
    assert "GradientMismatch: W2: not torch's gradient (wrong-sign)" in lines
    assert lines[-1] == "  read more: pytest --explain wrong-sign"


@pytest.mark.parametrize(
    ("axis", "axes", "indices", "said"),
    [
        (0, 1, [4], "entry 4"),
        (0, 1, [0, 2], "entries 0, 2"),
        (0, 2, [3], "row 3"),
        (1, 2, list(range(9)), "columns 0, 1, 2, 3, 4, 5 ..."),
        (2, 4, [1], "slice 1 of axis 2"),
    ],
)
def test_parts_of_an_array(axis, axes, indices, said):
    assert along(axis, axes, indices) == said


def test_a_passing_report_is_one_line_of_eighty_columns():
    numbers = {f"a_long_name_{i}": np.arange(3.0) for i in range(9)}
    report = compare_gradients(
        lambda p: (sum(np.sum(v**2) for v in p.values()), {k: 2 * v for k, v in p.items()}),
        lambda p: sum((v**2).sum() for v in p.values()),
        numbers,
        batch_axis=None,
    )
    first = str(report).splitlines()[0]
    assert first.startswith("right: loss, a_long_name_0")
    assert len(first) <= 80


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([1], "only row 1 (of 5) differs; the rest is right"),
        ([0, 1, 2, 4], "only row 3 (of 5) is right; the rest differs"),
    ],
)
def test_the_smaller_part_of_what_is_right_and_what_differs_is_told(rows, told):
    rng = np.random.default_rng(4)
    w, x, y = rng.normal(size=(5, 2)), rng.normal(size=(6, 5)), rng.normal(size=(6, 2))

    def candidate(p, x, y):
        grad = 2 * x.T @ (x @ p["W"] - y)
        grad[rows] += np.cos(grad[rows])
        return np.sum((x @ p["W"] - y) ** 2), {"W": grad}

    report = compare_gradients(candidate, lambda p, x, y: ((x @ p["W"] - y) ** 2).sum(), {"W": w}, x, y, diagnose=False)
    assert told in report.findings[0].message
