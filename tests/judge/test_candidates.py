"""Candidates are other people's code: whatever one does, a report with the right code comes back; no false alarm."""

import contextlib
import io
import signal
import sys
import threading
import time
import warnings
from collections import OrderedDict, namedtuple
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from gradproof import assert_gradients_match, compare_gradients, gradients_of_update
from gradproof import candidate as candidates
from tests.judge.network import candidate, problem, reference, returning, with_gradient

pytestmark = pytest.mark.usefixtures("no_own_lines")

LossAndGrads = namedtuple("LossAndGrads", ["loss", "grads"])


def report_on(function, dtype=np.float64, **options):
    return compare_gradients(function, reference, *problem(dtype), **options)


def codes_of(report):
    return [finding.code for finding in report.findings]


def only_finding(report):
    assert len(report.findings) == 1, str(report)
    return report.findings[0]


# What is right passes


class Labelled(np.ndarray):
    pass


def overlapping(loss, grads):
    """All gradients as views into one buffer, one after the other."""
    flat = np.concatenate([np.ravel(one) for one in grads.values()])
    views, start = {}, 0
    for name, one in grads.items():
        views[name] = flat[start : start + np.size(one)].reshape(np.shape(one))
        start += np.size(one)
    return loss, views


def read_only(array):
    array = np.array(array)
    array.flags.writeable = False
    return array


RIGHT = {
    "as it is": candidate,
    "a list of two": returning(lambda loss, grads: [loss, grads]),
    "a named tuple": returning(LossAndGrads),
    "an ordered dict": returning(lambda loss, grads: (loss, OrderedDict(sorted(grads.items())))),
    "no loss": returning(lambda loss, grads: (None, grads)),
    "loss a float": returning(lambda loss, grads: (float(loss), grads)),
    "loss an array without axes": returning(lambda loss, grads: (np.array(loss), grads)),
    "loss an array of one entry": returning(lambda loss, grads: (np.array([loss]), grads)),
    "scalar gradient a float": with_gradient("s", float),
    "scalar gradient an array": with_gradient("s", np.asarray),
    "read-only": with_gradient("W1", read_only),
    "Fortran order": with_gradient("W1", np.asfortranarray),
    "negative strides": with_gradient("W1", lambda dW: dW[::-1].copy()[::-1]),
    "overlapping views": returning(overlapping),
    "the other byte order": with_gradient("W1", lambda dW: dW.astype(dW.dtype.newbyteorder())),
    "a matrix": with_gradient("W1", lambda dW: dW.view(np.matrix)),
    "a subclass": with_gradient("W1", lambda dW: dW.view(Labelled)),
    "a masked array with nothing masked": with_gradient("W1", np.ma.asarray),
    "a wider float": with_gradient("W1", lambda dW: dW.astype(np.longdouble)),
}


@pytest.mark.parametrize("function", RIGHT.values(), ids=RIGHT)
def test_right_in_any_form(function):
    report = report_on(function)
    assert report.ok, str(report)
    assert all(comparison.ok for comparison in report.comparisons.values())


@pytest.mark.parametrize("function", RIGHT.values(), ids=RIGHT)
def test_right_in_float32(function):
    assert report_on(function, np.float32).ok


@pytest.mark.parametrize("function", [one for name, one in RIGHT.items() if name != "no loss"])
def test_right_beside_its_own_numerical_derivative(function):
    assert compare_gradients(function, None, *problem()).ok


def printing(params, x, y):
    print("in the candidate")
    print("and on stderr", file=sys.stderr)
    return candidate(params, x, y)


def raising_on_rounding(params, x, y):
    np.seterr(all="raise")
    return candidate(params, x, y)


def warning_of_nothing(params, x, y):
    warnings.simplefilter("ignore")
    warnings.warn("never mind", stacklevel=1)
    return candidate(params, x, y)


def with_threads(params, x, y):
    with ThreadPoolExecutor(2) as pool:
        return pool.submit(candidate, params, x, y).result()


def leaving_a_thread_behind(params, x, y):
    threading.Thread(target=time.sleep, args=(0.01,)).start()
    return candidate(params, x, y)


def seeding_itself(params, x, y):
    np.random.seed(0)  # noqa: NPY002
    np.random.random()  # noqa: NPY002
    return candidate(params, x, y)


def moving_its_inputs_and_back(params, x, y):
    """As a numerical derivative does."""
    kept = params["W1"].copy()
    params["W1"][0, 0] += 1e-4
    params["W1"][...] = kept
    return candidate(params, x, y)


def catching_its_own_errors(params, x, y):
    with contextlib.suppress(ValueError):
        raise ValueError
    return candidate(params, x, y)


def returning_its_inputs(params, x, y):
    """A gradient that is a parameter (as a penalty's would be), handed over and then scribbled on."""
    loss, grads = candidate(params, x, y)
    params_before = {name: value.copy() for name, value in params.items()}
    for name, value in grads.items():
        params[name][...] = value
    returned = {name: params[name].copy() for name in params}
    for name, value in params_before.items():
        params[name][...] = value
    return loss, returned


BEHAVIOURS = [
    printing,
    raising_on_rounding,
    warning_of_nothing,
    with_threads,
    leaving_a_thread_behind,
    seeding_itself,
    moving_its_inputs_and_back,
    catching_its_own_errors,
    returning_its_inputs,
]


@pytest.mark.parametrize("function", BEHAVIOURS)
def test_right_whatever_it_does_besides(function):
    report = report_on(function)
    assert report.ok, str(report)
    assert compare_gradients(function, None, *problem()).ok


def counting():
    calls = []

    def counted(params, x, y):
        calls.append(1)
        return candidate(params, x, y)

    return counted


def caching_by_identity():
    seen = {}

    def cached(params, x, y):
        if id(x) not in seen:
            seen[id(x)] = x.T.copy()
        loss, grads = candidate(params, x, y)
        return loss, {**grads, "W1": seen[id(x)] @ np.linalg.pinv(x.T) @ grads["W1"]}

    return cached


def reusing_its_buffers():
    """The same arrays are handed out at each call, with new numbers: a copy must be taken of them at once."""
    buffers = {name: np.empty_like(value) for name, value in problem()[0].items()}

    def reused(params, x, y):
        loss, grads = candidate(params, x, y)
        for name, value in grads.items():
            buffers[name][...] = value
        return loss, buffers

    return reused


@pytest.mark.parametrize("made", [counting, reusing_its_buffers])
def test_right_with_a_memory(made):
    assert report_on(made()).ok
    assert compare_gradients(made(), None, *problem()).ok


def test_a_parameter_without_axes_comes_as_an_array():
    kinds = []

    def looking(params, x, y):
        kinds.append((type(params["s"]), params["s"].shape))
        return candidate(params, x, y)

    params, x, y = problem()
    assert compare_gradients(looking, reference, {**params, "s": np.float64(0.7)}, x, y).ok
    assert set(kinds) == {(np.ndarray, ())}


# What a candidate leaves around itself


def test_what_it_prints_is_seen_once(capsys):
    assert report_on(printing).ok
    assert capsys.readouterr() == ("in the candidate\n", "and on stderr\n")


def test_numpys_error_state_is_put_back():
    before = np.geterr()
    assert report_on(raising_on_rounding).ok
    assert np.geterr() == before


@pytest.mark.parametrize("wrong", [False, True])
def test_an_error_state_that_raises_at_everything_disturbs_nobody(wrong):
    """As a candidate's file leaves it that calls np.seterr(all="raise") where it is imported."""
    function = with_gradient("W1", lambda dW: -dW * 1e-300) if wrong else candidate
    with np.errstate(all="raise"):
        report = report_on(function, diagnose=False)
        assert np.geterr() == dict.fromkeys(("divide", "over", "under", "invalid"), "raise")
    assert codes_of(report) == ["unexplained"] * wrong


def test_the_candidate_has_the_callers_error_state():
    def overflowing(params, x, y):
        np.exp(np.array(1000.0))
        return candidate(params, x, y)

    with np.errstate(over="ignore"):
        assert report_on(overflowing).ok
    with np.errstate(over="raise"):
        finding = only_finding(report_on(overflowing))
    assert finding.code == "raised"
    assert "it raised FloatingPointError: overflow" in finding.message


def test_warning_filters_are_put_back():
    before = warnings.filters[:]
    assert report_on(warning_of_nothing).ok
    assert warnings.filters == before


def test_a_warning_is_an_error_only_where_the_caller_made_it_one():
    def warning(params, x, y):
        warnings.warn("deprecated", DeprecationWarning, stacklevel=1)
        return candidate(params, x, y)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert report_on(warning).ok
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        finding = only_finding(report_on(warning))
    assert finding.code == "raised"
    said = "it raised DeprecationWarning: deprecated (a warning, which the filters in force turn into an error)"
    assert finding.message.startswith(said)


def test_our_own_arithmetic_never_warns():
    """NaN, infinity and enormous numbers are looked at without a RuntimeWarning (an error in these tests)."""
    for change in (lambda g: g * np.inf, lambda g: g * np.nan, lambda g: np.full_like(g, 1e308)):
        assert not report_on(with_gradient("W1", change), diagnose=False).ok


def test_the_callers_arrays_are_never_touched():
    given, kept = problem(), problem()

    def destroying(params, x, y):
        for array in (*params.values(), x, y):
            array[...] = np.nan
        params.clear()
        return candidate(*problem())

    compare_gradients(destroying, reference, *given)
    np.testing.assert_equal(given, kept)


def test_read_only_and_fortran_ordered_inputs():
    params, x, y = problem()
    params = {name: read_only(np.array(value, order="F")) for name, value in params.items()}
    assert compare_gradients(candidate, reference, params, read_only(x), y[::-1][::-1]).ok


def test_inputs_that_are_views_of_one_another():
    flat = np.random.default_rng(0).normal(size=25)
    params = {"W1": flat[:12].reshape(3, 4), "b1": flat[8:12], "W2": flat[4:12].reshape(4, 2), "s": flat[0]}
    assert compare_gradients(candidate, reference, params, *problem()[1:]).ok


def test_inputs_in_the_other_byte_order():
    params, x, y = problem()
    params = {name: value.astype(value.dtype.newbyteorder()) for name, value in params.items()}
    assert compare_gradients(candidate, reference, params, x.astype(x.dtype.newbyteorder()), y).ok


# What it hands back


NOT_ASKED_FOR = {
    "None": (lambda loss, grads: None, "it returned None (is a return statement missing?)"),
    "the gradients alone": (lambda loss, grads: grads, "it returned a dict of 4; return (None, grads) where"),
    "the loss alone": (lambda loss, grads: float(loss), "it returned a float"),
    "three things": (lambda loss, grads: (loss, grads, 1), "it returned a tuple of 3"),
    "a list of gradients": (lambda loss, grads: (loss, list(grads.values())), "its second part is a list of 4"),
    "a generator": (lambda loss, grads: (one for one in (loss, grads)), "it returned a generator"),
    "a string": (lambda loss, grads: "ab", "it returned a str"),
    "the two exchanged": (lambda loss, grads: (grads, loss), "its second part is a numpy.float64"),
    "an array": (lambda loss, grads: grads["W1"], "it returned an array of shape (3, 4)"),
    "no gradients": (lambda loss, grads: (loss, None), "its second part is None"),
}


@pytest.mark.parametrize(("change", "said"), NOT_ASKED_FOR.values(), ids=NOT_ASKED_FOR)
def test_not_what_was_asked_for(change, said):
    report = report_on(returning(change))
    finding = only_finding(report)
    assert (finding.code, finding.parameters) == ("wrong-type", ())
    assert finding.message.startswith("your code must return (loss, grads), grads a dict of arrays by parameter")
    assert said in finding.message
    assert report.headline() == "not the return value asked for (wrong-type)"
    assert all(not comparison.ok for comparison in report.comparisons.values())


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError


class Odd:
    """Something that cannot even be looked at."""

    def __array__(self, *args, **kwargs):
        raise RuntimeError

    def detach(self):
        raise RuntimeError


# (what the gradient of W1 is changed to, the code, what the message says, whether its numbers are compared and right)
AMISS = {
    "None": (lambda dW: None, "missing-gradient", "grads['W1'] is None", False),
    "a list": (np.ndarray.tolist, "wrong-type", "a list of 3, not a NumPy array", True),
    "a ragged list": (lambda dW: [[1.0], [2.0, 3.0]], "wrong-type", "is a list of 2, not a NumPy array", False),
    "a tensor": (
        torch.tensor,
        "wrong-type",
        "is a torch.Tensor, not a NumPy array",
        True,
    ),
    "a tensor with a graph": (
        lambda dW: torch.tensor(dW, requires_grad=True) * 1,
        "wrong-type",
        "is a torch.Tensor, not a NumPy array",
        True,
    ),
    "a float": (lambda dW: 0.5, "wrong-type", "is a float, not a NumPy array", False),
    "a number of NumPy's": (np.sum, "wrong-shape", "W1 has (3, 4): 2 axes too few (were they summed", False),
    "a generator": (iter, "wrong-type", "not a NumPy array", False),
    "a string": (str, "wrong-type", "is a str, not a NumPy array", False),
    "a function": (lambda dW: print, "wrong-type", "not a NumPy array", False),
    "something odd": (lambda dW: Odd(), "wrong-type", "not a NumPy array", False),
    "masked entries": (
        lambda dW: np.ma.masked_less(dW, 0),
        "wrong-type",
        "is a masked array without numbers at 3 of 12 entries",
        False,
    ),
    "transposed": (np.transpose, "wrong-shape", "(4, 3), W1 has (3, 4): transposed, its numbers are right", False),
    "flat": (np.ravel, "wrong-shape", "has shape (12,), W1 has (3, 4): reshaped, its numbers are right", False),
    "shuffled": (lambda dW: dW[::-1].reshape(4, 3), "wrong-shape", "as many entries, in another arrangement", False),
    "summed": (lambda dW: dW.sum(axis=0), "wrong-shape", "an axis too few", False),
    "not summed": (
        lambda dW: np.stack([dW / 2, dW / 2]),
        "wrong-shape",
        "has shape (2, 3, 4), W1 has (3, 4): summed over axis 0, its numbers are right",
        False,
    ),
    "spread over two axes": (
        lambda dW: np.stack([np.stack([dW, dW], axis=1) / 6] * 3),
        "wrong-shape",
        "has shape (3, 3, 2, 4), W1 has (3, 4): summed over axes 0 and 2, its numbers are right",
        False,
    ),
    "an axis too many": (lambda dW: np.stack([dW, dW]), "wrong-shape", "W1 has (3, 4): 1 axis too many", False),
    "with a border": (
        lambda dW: np.pad(dW, ((1, 1), (2, 2)), constant_values=9.0),
        "wrong-shape",
        "has shape (5, 8), W1 has (3, 4): without 1 at both ends of axis 0 and 2 at both ends of axis 1, its numbers",
        False,
    ),
    "larger": (lambda dW: np.ones((5, 4)), "wrong-shape", "has shape (5, 4), W1 has (3, 4)", False),
    "empty": (lambda dW: np.empty((0, 4)), "wrong-shape", "has shape (0, 4), W1 has (3, 4)", False),
    "float32": (np.float32, "wrong-dtype", "is of dtype float32, W1 of float64", True),
    "float16": (np.float16, "wrong-dtype", "is of dtype float16, W1 of float64", True),
    "complex": (lambda dW: dW + 0j, "wrong-dtype", "is of dtype complex128, W1 of float64", True),
    "integers": (lambda dW: dW.astype(int), "wrong-dtype", "whatever stood behind the decimal point is lost", False),
    "unsigned": (lambda dW: np.abs(dW).astype(np.uint8), "wrong-dtype", "is of dtype uint8, W1 of float64", False),
    "booleans": (lambda dW: dW > 0, "wrong-dtype", "is of dtype bool, W1 of float64", False),
    "objects": (lambda dW: dW.astype(object), "wrong-dtype", "it holds Python objects in place of numbers", False),
    "strings": (lambda dW: dW.astype(str), "wrong-dtype", "W1 of float64", False),
    "NaN": (lambda dW: dW * np.nan, "not-finite", "grads['W1'] is nan at W1[0, 0] (12 of 12 entries)", False),
    "one infinity": (
        lambda dW: np.where(np.arange(12).reshape(3, 4) == 5, -np.inf, dW),
        "not-finite",
        "grads['W1'] is -inf at W1[1, 1] (1 of 12 entries); the right one is finite everywhere",
        False,
    ),
}


@pytest.mark.parametrize(("change", "code", "said", "right"), AMISS.values(), ids=AMISS)
def test_one_gradient_amiss(change, code, said, right):
    report = report_on(with_gradient("W1", change))
    finding = only_finding(report)
    assert (finding.code, finding.parameters, finding.site, finding.exact) == (code, ("W1",), None, True)
    assert said in finding.message
    assert report.comparisons["W1"].ok is right
    assert ("The numbers in it are right." in str(report)) is right
    assert all(report.comparisons[name].ok for name in ("b1", "W2", "s"))
    assert report.loss.ok


@pytest.mark.parametrize(("change", "code", "said", "right"), AMISS.values(), ids=AMISS)
def test_one_gradient_amiss_beside_the_numerical_derivative(change, code, said, right):
    finding = only_finding(compare_gradients(with_gradient("W1", change), None, *problem()))
    assert finding.code == code
    assert said in finding.message


@pytest.mark.parametrize("change", [torch.tensor, np.ndarray.tolist])
def test_wrong_numbers_of_a_wrong_type_are_told_as_well(change):
    report = report_on(with_gradient("W1", lambda dW: change(-dW)))
    assert codes_of(report) == ["wrong-type", "wrong-sign"]
    assert "The numbers in it are right." not in str(report)


def test_a_scalar_gradient_amiss():
    assert only_finding(report_on(with_gradient("s", lambda ds: ds * np.nan))).message == (
        "grads['s'] is nan; the right one is finite everywhere"
    )
    assert only_finding(report_on(with_gradient("s", lambda ds: np.array([ds])))).code == "wrong-shape"
    assert only_finding(report_on(with_gradient("s", lambda ds: complex(ds)))).code == "wrong-type"
    assert only_finding(report_on(with_gradient("s", lambda ds: True))).code == "wrong-type"


def without(name):
    return lambda loss, grads: (loss, {key: value for key, value in grads.items() if key != name})


def renamed(old, new):
    return lambda loss, grads: (loss, {new if key == old else key: value for key, value in grads.items()})


def test_a_gradient_is_missing():
    finding = only_finding(report_on(returning(without("b1"))))
    assert (finding.code, finding.parameters, finding.message) == (
        "missing-gradient",
        ("b1",),
        "grads has no key 'b1'",
    )


@pytest.mark.parametrize("key", ["momentum", 3, None, ("W", 1)])
def test_a_key_that_is_no_parameter(key):
    finding = only_finding(report_on(returning(lambda loss, grads: (loss, {**grads, key: np.ones(2)}))))
    assert (finding.code, finding.parameters) == ("unexpected-gradient", (str(key),))
    assert finding.message == f"grads has a key {key!r}, and there is no such parameter"


@pytest.mark.parametrize("key", ["dW1", "w1", "W_1", "grad_W1", "theta"])
def test_a_key_by_another_name(key):
    """It is seen by its letters or by its shape."""
    report = report_on(returning(renamed("W1", key)))
    assert codes_of(report) == ["missing-gradient", "unexpected-gradient"]
    assert report.findings[0].message == (
        f"grads has no key 'W1' (is {key!r} meant for it? a gradient has its parameter's own name)"
    )


def test_no_gradients_at_all():
    report = report_on(returning(lambda loss, grads: (loss, {})))
    assert codes_of(report) == ["missing-gradient"] * 4
    assert "right already: loss" in str(report)


LOSSES = {
    "NaN": (lambda loss: float("nan"), "not-finite", "the loss is nan; torch's is 1.87218"),
    "infinity": (lambda loss: np.inf, "not-finite", "the loss is inf; torch's is 1.87218"),
    "one for each sample": (lambda loss: np.full(7, loss), "wrong-shape", "has shape (7,); it must be one number"),
    "a string": (str, "wrong-type", "the loss is a str, not a number"),
    "a list": (lambda loss: [loss], "wrong-type", "the loss is a list of 1, not a number"),
    "a complex number": (lambda loss: loss + 1j, "wrong-type", "not a number"),
    "a tensor": (torch.tensor, "wrong-type", "the loss is a tensor of torch, not a number"),
    "a function": (lambda loss: print, "wrong-type", "not a number"),
}


@pytest.mark.parametrize(("change", "code", "said"), LOSSES.values(), ids=LOSSES)
def test_the_loss_amiss(change, code, said):
    report = report_on(returning(lambda loss, grads: (change(loss), grads)))
    finding = only_finding(report)
    assert (finding.code, finding.parameters) == (code, ("loss",))
    assert said in finding.message


@pytest.mark.parametrize(("change", "code", "said"), LOSSES.values(), ids=LOSSES)
def test_the_loss_amiss_without_a_reference(change, code, said):
    report = compare_gradients(returning(lambda loss, grads: (change(loss), grads)), None, *problem())
    finding = only_finding(report)
    assert (finding.code, finding.parameters) == (code, ("loss",))
    assert "torch's" not in finding.message


def test_without_loss_and_reference_there_is_nothing_to_differentiate():
    finding = only_finding(compare_gradients(returning(lambda loss, grads: (None, grads)), None, *problem()))
    assert (finding.code, finding.parameters) == ("wrong-type", ("loss",))
    assert finding.message == (
        "the loss is None, and without a reference there is nothing else to differentiate: return the loss"
    )


# What it raises


def failing_forward(params, x, y):
    h = x @ params["W2"]
    return h


def failing_backward(params, x, y):
    loss, grads = candidate(params, x, y)
    grads["b1"] = (
        x.T
        @ grads["W2"]  # on several lines
    )
    return loss, grads


def failing_in_a_library(params, x, y):
    return np.linalg.inv(params["W1"]), {}


def failing_in_a_loop(params, x, y):
    for row in x + params["b1"]:
        print(row)
    return candidate(params, x, y)


def recursive(params, x, y):
    return recursive(params, x, y)


def test_the_line_and_its_shapes():
    report = report_on(failing_forward)
    finding = only_finding(report)
    assert (finding.code, finding.parameters) == ("raised", ())
    lines = finding.message.split("\n")
    assert lines[0].startswith("it raised ValueError: matmul: Input operand 1 has a mismatch")
    assert lines[1].endswith(f"test_candidates.py:{failing_forward.__code__.co_firstlineno + 1}")
    assert lines[2:] == ["  h = x @ params['W2']", "where x has shape (7, 3); params['W2'] has shape (4, 2)"]
    assert report.headline() == "your code raised ValueError (raised)"


def test_a_statement_on_several_lines_is_shown_on_one():
    lines = only_finding(report_on(failing_backward)).message.split("\n")
    assert lines[2:] == [
        "  grads['b1'] = x.T @ grads['W2']",
        "where grads['b1'] has shape (4,); x has shape (7, 3); grads['W2'] has shape (4, 2)",
    ]


def test_an_error_inside_a_library_is_shown_at_the_line_that_called_it():
    lines = only_finding(report_on(failing_in_a_library)).message.split("\n")
    assert lines[0].startswith("it raised LinAlgError")
    assert lines[2:] == ["  return (np.linalg.inv(params['W1']), {})", "where params['W1'] has shape (3, 4)"]


def test_of_a_loop_only_its_head_is_shown():
    lines = only_finding(report_on(failing_in_a_loop)).message.split("\n")
    assert lines[2:] == [
        "  for row in x + params[\"b1\"]:",
        "where x has shape (7, 3); params['b1'] has shape (4,)",
    ]


def test_attributes_are_looked_up_without_running_code():
    class Model:
        def __init__(self):
            self.W = np.ones((5, 6))

        @property
        def trap(self):
            raise SystemError

        def __call__(self, params, x, y):
            return x @ self.W, self.trap

    assert only_finding(report_on(Model())).message.split("\n")[-1] == (
        "where x has shape (7, 3); self.W has shape (5, 6)"
    )


def test_a_recursion_without_end():
    finding = only_finding(report_on(recursive))
    assert finding.message.startswith("it raised RecursionError: maximum recursion depth exceeded")
    assert "  return recursive(params, x, y)" in finding.message


def raiser(error):
    def raising(params, x, y):
        raise error

    return raising


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("two\nlines"), "it raised ValueError: two lines\n"),
        (SystemExit(3), "it raised SystemExit: 3 (exit ends the whole program: leave it out)\n"),
        (GeneratorExit(), "it raised GeneratorExit\n"),
        (MemoryError(), "it raised MemoryError\n"),
        (StopIteration(), "it raised StopIteration\n"),
        (AssertionError("no"), "it raised AssertionError: no\n"),
        (Unprintable(), "it raised Unprintable\n"),
        (ValueError("long " * 200), " ...\n"),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, BaseException) else "",
)
def test_whatever_it_raises(error, said):
    report = report_on(raiser(error))
    finding = only_finding(report)
    assert finding.code == "raised"
    assert said in finding.message
    assert report.headline() == f"your code raised {type(error).__name__} (raised)"


def test_ctrl_c_stops_the_judge_as_well():
    with pytest.raises(KeyboardInterrupt):
        report_on(raiser(KeyboardInterrupt()))


def test_a_skip_is_a_skip():
    def skipping(params, x, y):
        pytest.skip("has no such function")

    with pytest.raises(pytest.skip.Exception):
        report_on(skipping)


def test_called_with_other_arguments_than_it_takes():
    finding = only_finding(report_on(lambda params, x: None))
    assert "takes 2 positional arguments but 3 were given" in finding.message
    assert finding.message.split("\n")[1] == "it was called with 3 arguments: params, x, y"


def test_code_without_a_source_file():
    namespace = {}
    exec("def nowhere(params, x, y):\n    return x @ y", namespace)
    message = only_finding(report_on(namespace["nowhere"])).message
    assert message.split("\n")[1:] == ["at <string>:2"]


def test_raising_only_while_it_is_differentiated():
    def fragile(params, x, y):
        if params["b1"][1] != problem()[0]["b1"][1]:
            raise ArithmeticError("moved")
        return candidate(params, x, y)

    finding = only_finding(compare_gradients(fragile, None, *problem()))
    assert finding.code == "raised"
    assert finding.message.startswith(
        "at parameters moved a little, for a numerical derivative, it raised ArithmeticError: moved"
    )


# What it changes


def in_forward(params, x, y):
    x -= x.mean(axis=0)
    return candidate(*problem())


def in_backward(params, x, y):
    answer = candidate(params, x, y)
    params["W1"] -= 0.1 * answer[1]["W1"]
    return answer


def by_rebinding(params, x, y):
    answer = candidate(params, x, y)
    params["W1"] = params["W1"] - 0.1 * answer[1]["W1"]
    return answer


def by_adding_a_key(params, x, y):
    params["h"] = np.tanh(x)
    return candidate({key: params[key] for key in problem()[0]}, x, y)


def by_removing_a_key(params, x, y):
    answer = candidate(params, x, y)
    del params["b1"]
    return answer


def by_reshaping(params, x, y):
    answer = candidate(params, x, y)
    y.shape = (2, 7)
    return answer


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (in_forward, ("x",)),
        (in_backward, ("W1",)),
        (by_rebinding, ("W1",)),
        (by_adding_a_key, ("h",)),
        (by_removing_a_key, ("b1",)),
        (by_reshaping, ("y",)),
    ],
)
@pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning")
def test_inputs_changed(function, names):
    report = report_on(function)
    finding = only_finding(report)
    assert (finding.code, finding.parameters) == ("input-modified", names)
    assert finding.message.startswith(f"the call changed {names[0]}: ")
    assert all(comparison.ok for comparison in report.comparisons.values())


def test_inputs_changed_before_it_raised():
    def both(params, x, y):
        x *= 2
        raise ValueError

    assert codes_of(report_on(both)) == ["raised"]


def test_nested_data_is_watched_too():
    params, x, y = problem()

    def changing(params, data):
        data["x"][0, 0] = 1.0
        return candidate(params, *problem()[1:])

    def judge(params, data):
        return reference(params, data["x"], data["y"])

    report = compare_gradients(changing, judge, params, {"x": x, "y": y})
    assert only_finding(report).parameters == ("data['x']",)


# What it keeps


def accumulating():
    kept = {name: np.zeros_like(value) for name, value in problem()[0].items()}

    def added_up(params, x, y):
        loss, grads = candidate(params, x, y)
        for name, value in grads.items():
            kept[name] += value
        return loss, kept

    return added_up


def accumulating_in_torch():
    kept = torch.zeros(3, 4, dtype=torch.float64)

    def added_up(params, x, y):
        loss, grads = candidate(params, x, y)
        kept.add_(torch.from_numpy(grads["W1"]))
        return loss, {**grads, "W1": kept}

    return added_up


def drawing():
    rng = np.random.default_rng(0)
    return with_gradient("b1", lambda db: db + 1e-6 * rng.normal(size=4) * (rng.random() < 2))


def drawing_the_loss():
    losses = iter(range(1, 10**6))
    return returning(lambda loss, grads: (loss + next(losses), grads))


def test_gradients_that_add_up_over_calls():
    finding = only_finding(report_on(accumulating()))
    assert (finding.code, finding.parameters) == ("not-repeatable", ("W1", "b1", "W2", "s"))
    assert finding.message == (
        "two calls with equal inputs gave different numbers for W1, b1, W2, s: something is kept between the calls, or"
        " drawn at random"
    )


def test_lists_that_add_up_over_calls():
    kept = []

    def growing(params, x, y):
        loss, grads = candidate(params, x, y)
        kept[:] = [2 * one for one in kept] or grads["b1"].tolist()
        return loss, {**grads, "b1": kept}

    assert codes_of(report_on(growing)) == ["wrong-type", "not-repeatable"]


def test_tensors_that_add_up_over_calls():
    assert codes_of(report_on(accumulating_in_torch())) == ["wrong-type", "not-repeatable"]


def test_random_numbers():
    report = report_on(drawing())
    finding = only_finding(report)
    assert (finding.code, finding.parameters) == ("not-repeatable", ("b1",))


def test_a_loss_that_changes():
    finding = only_finding(report_on(drawing_the_loss()))
    assert (finding.code, finding.parameters) == ("not-repeatable", ("loss",))


def test_only_the_first_call_answers():
    calls = []

    def once(params, x, y):
        calls.append(1)
        if len(calls) > 1:
            raise RuntimeError("used up")
        return candidate(params, x, y)

    finding = only_finding(report_on(once))
    assert (finding.code, finding.parameters) == ("not-repeatable", ())
    assert finding.message.startswith(
        "a second call with equal inputs gave no answer as the first one did: it raised RuntimeError: used up"
    )


# How long it takes


def forever(params, x, y):
    while True:
        time.sleep(0.001)


def forever_unless_stopped(params, x, y):
    end = time.monotonic() + 1.0
    try:
        while time.monotonic() < end:
            time.sleep(0.001)
    except BaseException:
        pass
    return candidate(params, x, y)


def forever_and_deaf(params, x, y):
    total = 0
    while True:
        try:
            total += sum(range(100))
        except BaseException:
            continue


def forever_behind_except_exception(params, x, y):
    while True:
        with contextlib.suppress(Exception):
            time.sleep(0.001)


pytestmark_time = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this platform has no alarm to set")


@pytestmark_time
@pytest.mark.parametrize(
    "function", [forever, forever_unless_stopped, forever_and_deaf, forever_behind_except_exception]
)
@pytest.mark.parametrize("judge", [reference, None])
def test_a_candidate_that_does_not_come_back(function, judge, monkeypatch):
    monkeypatch.setattr(candidates, "TIME_LIMIT", 0.05)
    report = compare_gradients(function, judge, *problem())
    finding = only_finding(report)
    assert finding.code == "raised"
    assert finding.message.startswith(
        "it did not finish within 0.05 s (GRADPROOF_TIME_LIMIT=600 would allow ten minutes)"
    )
    assert report.headline() == "your code did not finish (raised)"


@pytestmark_time
def test_no_alarm_is_left_behind(monkeypatch):
    before = signal.getsignal(signal.SIGALRM)
    monkeypatch.setattr(candidates, "TIME_LIMIT", 0.03)
    report_on(forever)
    assert report_on(candidate).ok
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) is before


class TidiedUp:
    """Something whose end takes a while: of what is raised there, Python only warns."""

    def __del__(self):
        until = time.perf_counter() + 0.03
        while time.perf_counter() < until:
            pass


@pytestmark_time
def test_the_alarm_waits_while_python_tidies_up():
    def forever_once_tidied_up():
        TidiedUp()
        while True:
            pass

    with pytest.raises(candidates.TookTooLong), candidates.Alarm(0.01):
        forever_once_tidied_up()


@pytestmark_time
def test_somebody_elses_alarm_stays(monkeypatch):
    """As pytest-timeout sets one."""
    rung = []
    previous = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05, 60.0)
        monkeypatch.setattr(candidates, "TIME_LIMIT", 0.01)
        assert report_on(lambda *given: (time.sleep(0.1), candidate(*given))[1]).ok
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, previous)
    assert rung == [1]


@pytestmark_time
def test_waiting_is_announced(monkeypatch):
    said = io.StringIO()
    monkeypatch.setattr(sys, "__stderr__", said)
    monkeypatch.setattr(candidates, "NOTICE", 0.02)
    assert report_on(lambda *given: (time.sleep(0.05), candidate(*given))[1]).ok
    assert said.getvalue().splitlines() == ["gradproof: waiting for the code under test (up to 60 s)"] * 2


@pytestmark_time
def test_no_limit_at_all(monkeypatch):
    monkeypatch.setattr(candidates, "TIME_LIMIT", 0.0)
    assert report_on(candidate).ok


def test_judged_from_another_thread():
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(report_on, candidate).result().ok
        assert codes_of(pool.submit(report_on, failing_forward).result()) == ["raised"]


# Updates that take the step themselves


def step(params, x, y):
    _, grads = candidate(params, x, y)
    return {name: value - 0.05 * grads[name] for name, value in params.items()}


def step_in_place(params, x, y):
    _, grads = candidate(params, x, y)
    for name, value in grads.items():
        params[name] -= 0.05 * value
    return params


def report_on_update(update, rate=0.05):
    return compare_gradients(gradients_of_update(update, rate), reference, *problem())


def test_an_update_as_a_candidate():
    report = report_on_update(step)
    assert report.ok, str(report)
    assert report.loss is None


def test_an_update_in_place():
    report = report_on_update(step_in_place)
    assert codes_of(report) == ["input-modified"]
    assert report.findings[0].parameters == ("W1", "b1", "W2", "s")


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (lambda new: None, "wrong-type", "the update must return the new parameters as a dict; it returned None"),
        (lambda new: (None, new), "wrong-type", "it returned a tuple of 2"),
        (lambda new: {**new, "W1": new["W1"].tolist()}, "wrong-type", "grads['W1'] is a list of 3"),
        (lambda new: {**new, "W1": torch.tensor(new["W1"])}, "wrong-type", "grads['W1'] is a torch.Tensor"),
        (lambda new: {**new, "W1": new["W1"][0]}, "wrong-shape", "grads['W1'] has shape (4,)"),
        (lambda new: {**new, "W1": None}, "missing-gradient", "grads['W1'] is None"),
        (lambda new: {**new, "velocity": 0.0}, "unexpected-gradient", "grads has a key 'velocity'"),
        (lambda new: {**new, "b1": new["b1"] * np.nan}, "not-finite", "grads['b1'] is nan"),
    ],
)
def test_an_update_that_hands_back_something_else(change, code, said):
    finding = only_finding(report_on_update(lambda *given: change(step(*given))))
    assert finding.code == code
    assert said in finding.message


@pytest.mark.parametrize("rate", [0, 0.0, float("nan"), float("inf"), "0.1", None])
def test_a_learning_rate_that_is_none(rate):
    with pytest.raises(ValueError, match="learning_rate must be a finite number other than 0; it is"):
        gradients_of_update(step, rate)


def test_assert_form():
    assert_gradients_match(candidate, reference, *problem())
    with pytest.raises(AssertionError, match=r"^your code raised ValueError \(raised\)") as caught:
        assert_gradients_match(failing_forward, reference, *problem())
    assert [one.code for one in caught.value.report.findings] == ["raised"]
