"""Average pooling, against torch; with windows that overlap and windows that do not."""

import numpy as np
import pytest
import torch

from gradproof import assert_layer_matches, compare_layers

FORMS = ("", "_per_sample")
SETTINGS = [(2, 2), (4, 2), (3, 1), (2, 3), (8, 3)]  # (size, stride); 8 is the width of the image


def problem(dtype=np.float64):
    """Three images of 11 by 8 pixels and 2 channels."""
    return {"x": np.random.default_rng(0).normal(size=(3, 11, 8, 2)).astype(dtype)}


def with_settings(size, stride):
    """A function that calls another with this size and stride."""
    return lambda forward: lambda inputs: forward(inputs, size=size, stride=stride)


def compare(impl, reference):
    setting = with_settings(size=4, stride=2)
    return compare_layers(setting(impl.forward), impl.backward, setting(reference.forward), problem())


def run(impl, form, inputs, size, stride):
    """The output of one form and its gradient, under an output gradient at random."""
    output, cache = getattr(impl, "forward" + form)(inputs, size=size, stride=stride)
    output_grad = np.random.default_rng(1).normal(size=output.shape).astype(output.dtype)
    return output, getattr(impl, "backward" + form)(output_grad, cache)["x"]


@pytest.mark.parametrize(("size", "stride"), SETTINGS)
def test_reference_is_torch_nn(reference, size, stride):
    x = torch.from_numpy(problem()["x"])
    expected = torch.nn.AvgPool2d(size, stride)(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    output = reference.forward({"x": x}, size=size, stride=stride)
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-15 * np.linalg.norm(expected))


@pytest.mark.parametrize("name", ["output", "x"])
def test_quantity(report, name):
    report.assert_matches(name)


@pytest.mark.parametrize(("size", "stride"), SETTINGS)
@pytest.mark.parametrize("form", FORMS)
def test_size_and_stride(impl, reference, form, size, stride):
    setting = with_settings(size, stride)
    forward, backward = getattr(impl, "forward" + form), getattr(impl, "backward" + form)
    assert_layer_matches(setting(forward), backward, setting(reference.forward), problem())


@pytest.mark.parametrize("form", FORMS)
def test_windows_of_two_by_two_side_by_side_are_the_default(impl, reference, form):
    forward, backward = getattr(impl, "forward" + form), getattr(impl, "backward" + form)
    assert_layer_matches(forward, backward, reference.forward, problem())
    assert forward(problem())[0].shape == (3, 5, 4, 2)


def test_numerical_derivative(impl):
    """The layer is linear, so that a difference quotient is right to rounding."""
    inputs, rng = problem(), np.random.default_rng(1)
    output, cache = impl.forward(inputs, size=4, stride=2)
    direction, change = rng.normal(size=output.shape), rng.normal(size=inputs["x"].shape)
    changed, _ = impl.forward({"x": inputs["x"] + change}, size=4, stride=2)
    slope = (impl.backward(direction, cache)["x"] * change).sum()
    np.testing.assert_allclose(slope, ((changed - output) * direction).sum(), rtol=1e-11)


@pytest.mark.parametrize(("size", "stride"), SETTINGS)
def test_same_as_vectorised(impl, size, stride):
    loops, arrays = run(impl, "_per_sample", problem(), size, stride), run(impl, "", problem(), size, stride)
    for actual, desired in zip(loops, arrays, strict=True):
        np.testing.assert_allclose(actual, desired, rtol=0, atol=1e-12 * np.linalg.norm(desired))


@pytest.mark.parametrize("form", FORMS)
def test_float32(impl, reference, form):
    setting, inputs = with_settings(4, 2), problem(np.float32)
    forward, backward = getattr(impl, "forward" + form), getattr(impl, "backward" + form)
    assert_layer_matches(setting(forward), backward, setting(reference.forward), inputs)
    assert [value.dtype for value in run(impl, form, inputs, 4, 2)] == [np.float32, np.float32]


@pytest.mark.parametrize("form", FORMS)
def test_a_window_larger_than_the_image(impl, form):
    with pytest.raises(ValueError, match="9 by 9 does not fit into an image of 11 by 8"):
        getattr(impl, "forward" + form)(problem(), size=9, stride=2)


def test_pixels_that_no_window_reaches_have_no_gradient(impl):
    output, cache = impl.forward({"x": np.ones((1, 7, 5, 1))}, size=2, stride=2)
    dx = impl.backward(np.ones_like(output), cache)["x"][0, :, :, 0]
    np.testing.assert_array_equal(dx, np.outer([1, 1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 0]) / 4)
