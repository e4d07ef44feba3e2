"""The convolution layer, against torch; and where its windows overlap."""

import numpy as np
import pytest
import torch

from gradproof import assert_layer_matches, compare_layers

FORMS = ("", "_per_sample", "_tuned")
SETTINGS = [(1, 0), (1, 2), (2, 0), (2, 1), (3, 1), (6, 0)]  # (stride, padding); at stride 6 no windows overlap


def problem(dtype=np.float64):
    """Three images of 11 by 8 pixels and 2 channels, and 6 filters of 4 by 5."""
    rng = np.random.default_rng(0)
    shapes = {"x": (3, 11, 8, 2), "W": (4, 5, 2, 6), "b": (6,)}
    return {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}


def with_settings(stride, padding):
    """A function that calls another with this stride and padding."""
    return lambda forward: lambda inputs: forward(inputs, stride=stride, padding=padding)


def compare(impl, reference):
    setting = with_settings(stride=1, padding=2)
    return compare_layers(setting(impl.forward), impl.backward, setting(reference.forward), problem())


def compare_strided(impl, reference):
    setting = with_settings(stride=2, padding=1)
    return compare_layers(setting(impl.forward), impl.backward, setting(reference.forward), problem())


def assert_same(actual, desired, rtol=1e-12):
    """Raise AssertionError unless two dicts of arrays agree, each array relative to its own norm."""
    assert actual.keys() == desired.keys()
    for name, value in desired.items():
        np.testing.assert_allclose(actual[name], value, rtol=0, atol=rtol * np.linalg.norm(value), err_msg=name)


def run(impl, form, inputs, stride, padding):
    """The output of one form and its gradients, under an output gradient at random."""
    output, cache = getattr(impl, "forward" + form)(inputs, stride=stride, padding=padding)
    output_grad = np.random.default_rng(1).normal(size=output.shape).astype(output.dtype)
    return {"output": output, **getattr(impl, "backward" + form)(output_grad, cache)}


@pytest.mark.parametrize(("stride", "padding"), SETTINGS)
def test_reference_is_torch_nn(reference, stride, padding):
    inputs = {name: torch.from_numpy(value) for name, value in problem().items()}
    module = torch.nn.Conv2d(2, 6, (4, 5), stride=stride, padding=padding, dtype=torch.float64)
    module.load_state_dict({"weight": inputs["W"].permute(3, 2, 0, 1), "bias": inputs["b"]})
    expected = module(inputs["x"].permute(0, 3, 1, 2)).permute(0, 2, 3, 1).detach()
    output = reference.forward(inputs, stride=stride, padding=padding)
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-13 * np.linalg.norm(expected))


@pytest.mark.parametrize("name", ["output", "x", "W", "b"])
def test_quantity(report, name):
    report.assert_matches(name)


@pytest.mark.parametrize("name", ["output", "x", "W", "b"])
def test_quantity_strided(impl, reference, name):
    compare_strided(impl, reference).assert_matches(name)


@pytest.mark.parametrize(("stride", "padding"), SETTINGS)
@pytest.mark.parametrize("form", FORMS)
def test_stride_and_padding(impl, reference, form, stride, padding):
    setting = with_settings(stride, padding)
    forward, backward = getattr(impl, "forward" + form), getattr(impl, "backward" + form)
    assert_layer_matches(setting(forward), backward, setting(reference.forward), problem())


@pytest.mark.parametrize(("stride", "padding"), [(1, 2), (2, 1)])
def test_numerical_derivative(impl, stride, padding):
    """The layer is linear in each input alone, so that a difference quotient is right to rounding."""
    inputs, rng = problem(), np.random.default_rng(1)
    output, cache = impl.forward(inputs, stride=stride, padding=padding)
    direction = rng.normal(size=output.shape)
    grads = impl.backward(direction, cache)
    for name, value in inputs.items():
        change = rng.normal(size=value.shape)
        changed, _ = impl.forward({**inputs, name: value + change}, stride=stride, padding=padding)
        np.testing.assert_allclose((grads[name] * change).sum(), ((changed - output) * direction).sum(), rtol=1e-11)


@pytest.mark.parametrize(("stride", "padding"), SETTINGS)
@pytest.mark.parametrize("form", FORMS[1:])
def test_same_as_vectorised(impl, form, stride, padding):
    assert_same(run(impl, form, problem(), stride, padding), run(impl, "", problem(), stride, padding))


@pytest.mark.parametrize("form", FORMS)
def test_float32(impl, reference, form):
    setting, inputs = with_settings(2, 1), problem(np.float32)
    forward, backward = getattr(impl, "forward" + form), getattr(impl, "backward" + form)
    assert_layer_matches(setting(forward), backward, setting(reference.forward), inputs)
    assert {value.dtype for value in run(impl, form, inputs, 2, 1).values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("form", ["", "_tuned"])
def test_input_gradient_alone(impl, form):
    _, cache = impl.forward(problem(), stride=2, padding=1)
    dy = np.random.default_rng(1).normal(size=(3, 5, 3, 6))
    alone = getattr(impl, "input_gradient" + form)(dy, cache)
    np.testing.assert_allclose(alone, impl.backward(dy, cache)["x"], rtol=0, atol=1e-12 * np.linalg.norm(alone))


def test_blocks_that_do_not_divide_the_rows(impl, monkeypatch):
    """At the size of the tests everything is one block: cut finer, into two rows and one, nothing changes."""
    inputs = problem()
    whole = run(impl, "_tuned", inputs, 1, 0)
    monkeypatch.setattr(impl._module, "BLOCK", 2 * whole["output"].shape[2] * inputs["W"][..., 0].size, raising=False)
    assert_same(run(impl, "_tuned", inputs, 1, 0), whole)


@pytest.mark.parametrize("form", FORMS)
def test_every_window_and_no_padding_are_the_default(impl, reference, form):
    forward, backward = getattr(impl, "forward" + form), getattr(impl, "backward" + form)
    assert_layer_matches(forward, backward, reference.forward, problem())
    assert forward(problem())[0].shape == (3, 8, 4, 6)


@pytest.mark.parametrize("form", FORMS)
def test_a_filter_larger_than_the_image(impl, form):
    inputs = problem() | {"W": np.ones((4, 9, 2, 6))}
    with pytest.raises(ValueError, match="filter|window|negative"):
        getattr(impl, "forward" + form)(inputs)


# What an output gradient of ones shows, and what it hides.


def test_a_pixel_counts_once_for_each_of_its_windows(impl):
    """With filters of ones the gradient counts windows: 1 at a corner, 4 * 5 where all windows fit."""
    inputs = {"x": np.zeros((1, 11, 9, 1)), "W": np.ones((4, 5, 1, 1)), "b": np.zeros(1)}
    output, cache = impl.forward(inputs)
    counts = impl.backward(np.ones_like(output), cache)["x"][0, :, :, 0]
    np.testing.assert_array_equal(counts, np.outer([1, 2, 3, 4, 4, 4, 4, 4, 3, 2, 1], [1, 2, 3, 4, 5, 4, 3, 2, 1]))
