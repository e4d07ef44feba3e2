"""The one table, and what it is relative to."""

import itertools

import numpy as np
import pytest
import torch

from gradproof import compare_gradients
from gradproof.tolerances import TOLERANCES, largest, relative_error, relative_tolerance
from tests.judge.network import candidate, problem, reference, with_gradient


@pytest.mark.parametrize(
    ("oracle", "dtype", "expected"),
    [
        ("autograd", "float64", 1e-12),
        ("autograd", "float32", 1e-5),
        ("complex step", "float64", 1e-11),
        ("complex step", "float32", 1e-5),
        ("central differences", "float64", 1e-6),
        ("central differences", "float32", 1e-5),
        ("optimizer", "float64", 1e-12),
        ("anything else", "float64", 1e-12),
    ],
)
def test_the_coarser_of_oracle_and_dtype(oracle, dtype, expected):
    assert relative_tolerance(oracle, dtype) == expected
    assert relative_tolerance(oracle, np.dtype(dtype)) == expected


def test_every_row_is_well_above_rounding_and_well_below_a_mistake():
    for (_, dtype), tolerance in TOLERANCES.items():
        assert 8 * np.finfo(dtype).eps < tolerance <= 1e-2


def scaled(factor):
    def by(params, x, y):
        return factor * reference(params, x, y)

    def function(params, x, y):
        loss, grads = candidate(params, x, y)
        return factor * loss, {name: factor * value for name, value in grads.items()}

    return function, by


@pytest.mark.parametrize("factor", [1e-200, 1e-9, 1.0, 1e3, 1e200])
def test_a_tiny_gradient_is_held_as_strictly_as_a_large_one(factor):
    function, by = scaled(factor)
    assert compare_gradients(function, by, *problem()).ok

    for relative, ok in ((1e-13, True), (1e-10, False)):

        def off(params, x, y, relative=relative):
            loss, grads = function(params, x, y)
            return loss, {**grads, "W1": grads["W1"] + np.max(np.abs(grads["W1"])) * relative}

        assert compare_gradients(off, by, *problem(), diagnose=False).ok is ok


def test_an_entry_is_held_to_the_size_of_its_array():
    """Beside entries of 1, an error of 1e-14 in an entry of 1e-20 is rounding."""
    params = {"w": np.ones(2)}
    weights = np.array([1.0, 1e-20])

    for error, ok in ((1e-14, True), (1e-11, False)):

        def function(params, x, error=error):
            return params["w"] @ x, {"w": x + np.array([0.0, error])}

        report = compare_gradients(function, lambda p, x: p["w"] @ x, params, weights, diagnose=False)
        assert report.ok is ok


def test_a_small_array_beside_a_large_one_is_held_to_its_own_size():
    wrong = with_gradient("s", lambda ds: ds * (1 + 1e-9))
    report = compare_gradients(wrong, reference, *problem(), diagnose=False)
    assert [name for name, one in report.comparisons.items() if not one.ok] == ["s"]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_another_order_of_summation_passes(dtype):
    """One thousand terms, added forwards, backwards and in pairs."""
    x = np.random.default_rng(0).uniform(0.5, 1.0, size=(1000, 3)).astype(dtype)
    orders = {
        "forwards": lambda: np.array(list(itertools.accumulate(x))[-1]),
        "backwards": lambda: np.array(list(itertools.accumulate(x[::-1]))[-1]),
        "pairs": lambda: x.sum(axis=0),
    }
    for name, added in orders.items():
        if dtype == np.float16 and name != "pairs":
            continue  # a thousand roundings of 1e-3 are no rounding any more

        def function(params, x, added=added):
            return None, {"w": added().astype(dtype)}

        params = {"w": np.ones(3, dtype=dtype)}
        report = compare_gradients(function, lambda p, x: (x @ p["w"]).sum(), params, x)
        assert report.ok, f"{name}: {report}"


def spread():
    """Numbers around 3e4 whose variance is about 1, computed as the mean square less the squared mean."""
    x = 3e4 + np.random.default_rng(0).normal(size=9)
    return {"w": np.array(1.1)}, x


def cancelling(params, x):
    z = params["w"] * x
    return (z**2).mean() - z.mean() ** 2


def centred(params, x, factor=1.0):
    """The same without cancellation."""
    variance = np.mean((x - x.mean()) ** 2)
    return params["w"] ** 2 * variance, {"w": np.asarray(2 * params["w"] * variance * factor)}


def test_where_the_mathematics_cancels_rounding_is_allowed_for():
    """Nine digits are lost in the reference: no other way of computing it agrees any better, and none is wrong."""
    report = compare_gradients(centred, cancelling, *spread())
    assert report.ok, str(report)
    assert report.comparisons["w"].relative_error > 1e-10
    for factor in (1.01, 0.5, -1.0):
        wrong = compare_gradients(lambda p, x, f=factor: centred(p, x, f), cancelling, *spread(), diagnose=False)
        assert not wrong.ok


def test_rounding_is_no_excuse_where_the_caller_sets_the_tolerance():
    assert not compare_gradients(centred, cancelling, *spread(), rtol=1e-12, diagnose=False).ok
    assert compare_gradients(centred, cancelling, *spread(), rtol=1e-4, diagnose=False).ok


def test_a_zero_gradient_allows_nothing_but_zero():
    params, x = {"w": np.array([1.0, 2.0, 3.0])}, np.array([4.0, 5.0, 6.0])
    for error, ok in ((0.0, True), (-0.0, True), (1e-30, False)):

        def function(params, x, error=error):
            return np.zeros(()), {"w": np.full(3, error)}

        report = compare_gradients(function, lambda p, x: (p["w"] * 0 @ x), params, x, diagnose=False)
        assert report.ok is ok


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_both_sides_of_the_table(dtype):
    """Half of what is allowed passes, twice as much fails."""
    tolerance = relative_tolerance("autograd", np.dtype(dtype))

    def off(factor):
        def change(dW):
            moved = dW.copy()
            moved[0, 0] += dtype(factor * tolerance * np.max(np.abs(dW)))
            return moved

        return with_gradient("W1", change)

    assert compare_gradients(off(0.5), reference, *problem(dtype), diagnose=False).ok
    assert not compare_gradients(off(2.5), reference, *problem(dtype), diagnose=False, rtol=tolerance).ok


def test_helpers():
    assert largest(np.array([])) == 0.0
    assert largest([1, -3]) == 3.0
    assert np.isnan(largest([np.nan, 1]))
    assert relative_error([0.0], [0.0]) == 0.0
    assert relative_error([1.0], [0.0]) == float("inf")
    assert relative_error([1.0, 5.0], [1.0, 4.0]) == 0.25


def test_the_loss_is_held_to_the_table_too():
    for relative, ok in ((1e-13, True), (1e-10, False)):

        def function(params, x, y, relative=relative):
            loss, grads = candidate(params, x, y)
            return loss * (1 + relative), grads

        assert compare_gradients(function, reference, *problem(), diagnose=False).ok is ok


def test_torchs_default_dtype_changes_nothing():
    before = torch.get_default_dtype()
    for dtype in (torch.float32, torch.float64):
        torch.set_default_dtype(dtype)
        try:
            assert compare_gradients(candidate, reference, *problem()).ok
        finally:
            torch.set_default_dtype(before)
