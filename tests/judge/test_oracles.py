"""The two oracles: torch's autograd, and numerical derivatives of the candidate's own loss."""

import numpy as np
import pytest
import torch

from gradproof import compare_gradients, oracles
from tests.judge.network import candidate, problem, reference

PARAMS, X, Y = problem()


def numerical(loss, params=PARAMS):
    return oracles.numerical_gradients(loss, params, np.random.default_rng(0))


def assert_near(actual, desired, rtol):
    assert actual.keys() == desired.keys()
    for name, value in desired.items():
        np.testing.assert_allclose(actual[name], value, rtol=0, atol=rtol * np.max(np.abs(value)), err_msg=name)


# Autograd


def test_autograd_gives_torchs_numbers():
    truth = oracles.autograd(reference, PARAMS, (X, Y))
    tensors = {name: torch.tensor(value, requires_grad=True) for name, value in PARAMS.items()}
    loss = reference(tensors, torch.tensor(X), torch.tensor(Y))
    loss.backward()
    assert truth.loss == loss.item()
    assert_near(truth.gradients, {name: tensor.grad.numpy() for name, tensor in tensors.items()}, 0.0)
    assert {name: value.shape for name, value in truth.gradients.items()} == {k: v.shape for k, v in PARAMS.items()}


def test_autograd_term_by_term():
    def by(params, x, y):
        return {"data": reference(params, x, y), "penalty": 0.1 * (params["W1"] ** 2).sum()}

    truth = oracles.autograd(by, PARAMS, (X, Y))
    assert truth.loss == pytest.approx(sum(truth.terms.values()), rel=1e-15)
    assert_near({"W1": truth.term_gradients["penalty"]["W1"]}, {"W1": 0.2 * PARAMS["W1"]}, 1e-15)
    assert not np.any(truth.term_gradients["penalty"]["b1"])
    assert_near(truth.term_gradients["data"], oracles.autograd(reference, PARAMS, (X, Y)).gradients, 0.0)
    total = {k: truth.term_gradients["data"][k] + truth.term_gradients["penalty"][k] for k in PARAMS}
    assert_near(truth.gradients, total, 0.0)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_gradients_have_the_dtype_of_their_parameters(dtype):
    params, x, y = problem(dtype)
    truth = oracles.autograd(reference, params, (x, y))
    assert {value.dtype for value in truth.gradients.values()} == {np.dtype(dtype)}


def test_tensors_have_a_memory_of_their_own():
    array = np.arange(3.0)
    oracles.as_tensor(array).mul_(2)
    oracles.as_tensor({"a": [array]})["a"][0].mul_(2)
    np.testing.assert_array_equal(array, [0.0, 1.0, 2.0])


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (np.int8, torch.int64),
        (np.uint8, torch.int64),
        (np.uint64, torch.int64),
        (bool, torch.bool),
        (np.float32, torch.float32),
        (np.float64, torch.float64),
        (np.complex128, torch.complex128),
    ],
)
def test_dtypes_of_tensors(dtype, expected):
    assert oracles.as_tensor(np.ones(2, dtype=dtype)).dtype == expected


@pytest.mark.parametrize(
    "value", [None, "mean", 3, np.array(["a"]), np.array([None]), np.array(["2020-01-01"], dtype="M8[D]")]
)
def test_what_holds_no_numbers_stays_as_it_is(value):
    assert oracles.as_tensor(value) is value


# Numerical derivatives


def test_the_complex_step_is_exact():
    derivative = numerical(lambda params: candidate(params, X, Y)[0])
    assert derivative.method == "complex step"
    assert (derivative.checked, derivative.entries) == (25, 25)
    assert_near(derivative.gradients, oracles.autograd(reference, PARAMS, (X, Y)).gradients, 1e-13)


def absolute(params):
    return np.sum(np.abs(params["w"]) ** 3)


def real(params):
    return np.sum(np.real(params["w"]) ** 3)


def cast(params):
    return np.sum(params["w"].astype(np.float64) ** 3)


def compared(params):
    return sum(float(value) ** 3 for value in params["w"])


def half_real(params):
    """One part of it loses the imaginary part in silence."""
    return np.sum(params["w"] ** 3) + np.sum(np.abs(params["w"]) ** 2)


W = {"w": np.array([0.7, -1.2, 2.0])}


@pytest.mark.parametrize("loss", [absolute, real, cast, compared, half_real])
def test_code_that_is_not_written_for_complex_numbers_is_differenced(loss):
    derivative = numerical(loss, W)
    assert derivative.method == "central differences"
    slopes = {absolute: 3 * W["w"] * np.abs(W["w"]), half_real: 3 * W["w"] ** 2 + 2 * W["w"]}
    assert_near(derivative.gradients, {"w": slopes.get(loss, 3 * W["w"] ** 2)}, 1e-9)


def test_differences_over_a_kink_are_not_trusted():
    params = {"w": np.array([1e-5, 0.5, -0.5, 0.0])}
    derivative = numerical(lambda params: np.sum(np.maximum(np.real(params["w"]), 0.0)), params)
    np.testing.assert_allclose(derivative.gradients["w"], [np.nan, 1.0, 0.0, np.nan], atol=1e-9)


def test_a_kink_does_not_disturb_the_complex_step():
    params = {"w": np.array([1e-5, 0.5, -0.5])}
    derivative = numerical(lambda params: np.sum(np.maximum(params["w"], 0.0) * 2), params)
    assert derivative.method == "complex step"
    np.testing.assert_allclose(derivative.gradients["w"], [2.0, 2.0, 0.0])


def test_of_many_entries_some_are_drawn():
    params = {"w": np.linspace(0.1, 1.0, 9000), "v": np.array([2.0])}
    derivative = numerical(lambda params: np.sum(params["w"] ** 2) * params["v"][0], params)
    assert (derivative.checked, derivative.entries) == (2001, 9001)
    taken = np.isfinite(derivative.gradients["w"])
    assert taken.sum() == 2000
    np.testing.assert_allclose(derivative.gradients["w"][taken], 4 * params["w"][taken], rtol=1e-12)


def test_the_callers_parameters_are_not_moved():
    kept = {name: value.copy() for name, value in PARAMS.items()}
    numerical(lambda params: candidate(params, X, Y)[0])
    numerical(lambda params: np.real(candidate(params, X, Y)[0]))
    np.testing.assert_equal(PARAMS, kept)


def relu_net(params, x):
    z = x @ params["W"]
    return np.real(np.sum(np.maximum(z, 0.0))), {"W": x.T @ (z > 0)}


def test_what_was_left_out_is_said():
    """Only some entries are at a kink: the others are judged."""
    params = {"W": np.array([[1.0, 0.0], [0.5, 0.0], [-0.5, 0.0]])}
    report = compare_gradients(relu_net, None, params, X)
    assert report.ok, str(report)
    assert report.notes == (
        "compared with the derivative of your own loss, taken by central differences at 3 of 6 entries",
    )
    wrong = compare_gradients(lambda p, x: (relu_net(p, x)[0], {"W": -relu_net(p, x)[1]}), None, params, X)
    assert not wrong.ok


def test_where_nothing_could_be_checked_nothing_passes():
    def rough(params, x, y):
        rough_params = {name: np.float32(np.real(value)) for name, value in params.items()}
        loss, _ = candidate(rough_params, x.astype(np.float32), y.astype(np.float32))
        return np.float32(loss), candidate(params, x, y)[1]

    with pytest.raises(ValueError, match="^your loss is too rough for a numerical derivative: .* Compare with a ref"):
        compare_gradients(rough, None, PARAMS, X, Y)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_right_gradient_passes_beside_either_method(dtype):
    given = problem(dtype)
    assert compare_gradients(candidate, None, *given).judged_by == "complex step"

    def by_differences(params, x, y):
        loss, grads = candidate(params, x, y)
        return float(np.real(loss)), grads

    report = compare_gradients(by_differences, None, *given)
    assert report.ok, str(report)
    assert report.judged_by == "central differences"


def test_a_wrong_gradient_fails_beside_either_method():
    def wrong(params, x, y):
        loss, grads = candidate(params, x, y)
        return loss, {**grads, "b1": grads["b1"] * (1 + 1e-5)}

    def by_differences(params, x, y):
        loss, grads = wrong(params, x, y)
        return float(np.real(loss)), grads

    for function in (wrong, by_differences):
        report = compare_gradients(function, None, PARAMS, X, Y, diagnose=False)
        assert [one.name for one in report.comparisons.values() if not one.ok] == ["b1"]


# What rounding alone may do


def test_nudged_by_one_unit_in_the_last_place():
    value = np.random.default_rng(0).normal(size=1000)
    moved = oracles.nudged(value, np.random.default_rng(1))
    assert moved.dtype == value.dtype
    assert 0 < np.max(np.abs(moved - value) / np.abs(value)) <= 2 * np.finfo(float).eps
    labels = np.array([0.0, 1.0, -3.0])
    assert np.array_equal(oracles.nudged((labels, np.arange(3), "x"), np.random.default_rng(0))[0], labels)


@pytest.mark.parametrize("factor", [1e-30, 1e-9, 1.0, 1e12])
def test_kinks_are_seen_at_any_size_of_the_loss(factor):
    params = {"w": np.array([0.0, 0.5, -0.5])}
    derivative = numerical(lambda params: factor * (1 + np.sum(np.maximum(np.real(params["w"]), 0.0))), params)
    np.testing.assert_allclose(derivative.gradients["w"] / factor, [np.nan, 1.0, 0.0], atol=1e-9)
