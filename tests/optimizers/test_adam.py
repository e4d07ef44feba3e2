"""Adam: against torch.optim.Adam, and the story of a step counted from 0."""

import inspect
from functools import partial

import numpy as np
import pytest
import torch

from gradproof import assert_updates_match, compare_updates
from numpy_impls.mistakes.adam import betas_of_zero, std_scaled_step, step_counted_from_zero

FORMS = ("step", "step_per_element", "step_tuned")
OPTIONS = [{}, {"eps": 0.1}, {"beta1": 0.5, "beta2": 0.6}, {"weight_decay": 0.3}, {"amsgrad": True, "beta2": 0.5}]
LONG_RUNS = [{}, {"lr": 0.1, "eps": 0.1}, {"weight_decay": 0.3, "amsgrad": True}]


def problem(dtype=np.float64, steps=6):
    """Where to start, and gradients from 1e-3 to 1e2 that change their sign and, from step to step, their size."""
    rng = np.random.default_rng(2)
    params = {"W": rng.normal(size=(3, 4)).astype(dtype), "b": rng.normal(size=4).astype(dtype)}
    sizes = 10.0 ** rng.uniform(-3, 2, size=(steps, 4))
    gradients = [{k: (rng.normal(size=v.shape) * size).astype(dtype) for k, v in params.items()} for size in sizes]
    return params, gradients


def compare(impl, reference, **hyper):
    hyper = {"lr": 0.01, **hyper}
    return compare_updates(partial(impl.step, **hyper), partial(reference.optimizer, **hyper), *problem())


def compare_large_eps(impl, reference):
    """Where eps is as large as many gradients, its place shows."""
    return compare(impl, reference, eps=0.1)


@pytest.mark.parametrize("form", FORMS)
def test_reference_is_torch_optim(impl, reference, form):
    tensor = torch.zeros(2, requires_grad=True)
    optimizer = reference.optimizer([tensor])
    assert type(optimizer) is torch.optim.Adam
    assert optimizer.defaults == torch.optim.Adam([tensor], foreach=False).defaults
    torchs = {**optimizer.defaults, "beta1": 0.9, "beta2": 0.999}
    for name, parameter in inspect.signature(getattr(impl, form)).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY and name != "out":
            assert parameter.default == torchs[name], name


@pytest.mark.parametrize("name", ["W", "b"])
def test_update(report, name):
    report.assert_matches(name)


@pytest.mark.parametrize("name", ["W", "b"])
@pytest.mark.parametrize("other", [compare_large_eps])
def test_other_updates(impl, reference, other, name):
    other(impl, reference).assert_matches(name)


@pytest.mark.parametrize("hyper", OPTIONS, ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_options(rule, reference, form, hyper):
    assert_updates_match(rule(form, **hyper), partial(reference.optimizer, **hyper), *problem())


@pytest.mark.parametrize("hyper", LONG_RUNS, ids=str)
def test_thousand_steps(assert_thousand_steps_equal, hyper):
    assert_thousand_steps_equal(**hyper)


@pytest.mark.parametrize("hyper", OPTIONS, ids=str)
def test_per_element_shares_state(rule, hyper):
    """Every other step by the loop: the same trajectory as without it."""
    params, gradients = problem()
    mixed, expected, mixed_state, state = params, params, {}, {}
    for count, grads in enumerate(gradients):
        mixed = rule(FORMS[count % 2], **hyper)(mixed, grads, mixed_state)
        expected = rule("step", **hyper)(expected, grads, state)
        for name, value in expected.items():
            np.testing.assert_allclose(mixed[name], value, rtol=1e-13)


@pytest.mark.parametrize("form", FORMS)
def test_float32(rule, reference, form):
    params, gradients = problem(np.float32)
    assert_updates_match(rule(form), reference.optimizer, params, gradients)
    assert {value.dtype for value in rule(form)(params, gradients[0], {}).values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("hyper", OPTIONS, ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_gradients_in_one_array(rule, form, hyper):
    """Gradients written into the same array at every step: nothing that is kept may look into it."""
    params, gradients = problem()
    reused = {name: np.empty_like(value) for name, value in params.items()}
    ours, expected, state, expected_state = params, params, {}, {}
    for grads in gradients:
        for name, value in grads.items():
            reused[name][...] = value
        ours = rule(form, **hyper)(ours, reused, state)
        expected = rule(form, **hyper)(expected, grads, expected_state)
    for name, value in expected.items():
        np.testing.assert_array_equal(ours[name], value)


@pytest.mark.parametrize("form", FORMS)
def test_a_number_for_a_parameter(rule, reference, form):
    """An array without axes, as an intercept is."""
    gradients = [{"b": np.array(g)} for g in (0.5, -2.0, 1.0)]
    assert_updates_match(rule(form), reference.optimizer, {"b": np.array(0.3)}, gradients)


@pytest.mark.parametrize("form", FORMS)
def test_missing_gradient(rule, form):
    params, gradients = problem()
    with pytest.raises(KeyError, match="b"):
        rule(form)(params, {"W": gradients[0]["W"]}, {})


@pytest.mark.parametrize("hyper", [{}, {"weight_decay": 0.3, "amsgrad": True}], ids=str)
def test_thousand_tuned_steps(assert_thousand_steps_equal, hyper):
    assert_thousand_steps_equal("step_tuned", **hyper)


# The tuned form, where an array takes several chunks, lies otherwise in memory, or is written to.


def test_several_chunks(impl, rng):
    params, state, tuned_state = {"theta": rng.normal(size=(7, 2 * impl.CHUNK // 7 + 5))}, {}, {}
    ours = params
    for _ in range(3):
        grads = {"theta": rng.normal(size=params["theta"].shape)}
        params, ours = impl.step(params, grads, state), impl.step_tuned(ours, grads, tuned_state)
        np.testing.assert_allclose(ours["theta"], params["theta"], rtol=0, atol=1e-14)


def test_any_order_in_memory(impl):
    params, (grads, *_) = problem()
    turned = {name: np.asfortranarray(value) for name, value in params.items()}
    strided = {name: np.repeat(value, 2, axis=-1)[..., ::2] for name, value in grads.items()}
    ours, expected = impl.step_tuned(turned, strided, {}), impl.step_tuned(params, grads, {})
    for name, value in expected.items():
        np.testing.assert_array_equal(ours[name], value)


def test_step_in_place(impl):
    params, gradients = problem()
    ours, expected, state, expected_state = {k: v.copy() for k, v in params.items()}, params, {}, {}
    for grads in gradients:
        assert impl.step_tuned(ours, grads, state, out=ours)["W"] is ours["W"]
        expected = impl.step_tuned(expected, grads, expected_state)
    for name, value in expected.items():
        np.testing.assert_array_equal(ours[name], value)


def test_result_must_be_contiguous(impl):
    params, (grads, *_) = problem()
    with pytest.raises(ValueError, match="C-contiguous"):
        impl.step_tuned(params, grads, {}, out={"W": np.empty((4, 3)).T, "b": np.empty(4)})


# The story: Adam for the tutorial's step in a style transfer, its counter from `range`, its betas created as 0.


def test_first_step_is_lr_long(rule):
    """What the corrections are for: whatever the gradient's size, the first step is lr."""
    params, (grads, *_) = problem()
    after = rule("step", lr=0.01, eps=0)(params, grads, {})
    for name, value in params.items():
        np.testing.assert_allclose(after[name] - value, -0.01 * np.sign(grads[name]), rtol=1e-12)


def test_counted_from_zero_all_is_nan():
    params, (grads, *_) = problem()
    after = step_counted_from_zero.step(params, grads, {})
    assert all(np.isnan(value).all() for value in after.values())


def test_betas_of_zero_are_sign_descent():
    params, gradients = problem()
    state = {}
    for grads in gradients:
        after = betas_of_zero.step(params, grads, state, lr=0.01, eps=0)
        for name, value in params.items():
            np.testing.assert_allclose(after[name] - value, -0.01 * np.sign(grads[name]), rtol=1e-11)
        params = after


def test_tutorials_step_is_gradient_descent():
    """One rate for all entries: it keeps the gradient's direction, which Adam does not."""
    params, (grads, *_) = problem()
    after = std_scaled_step.step(params, grads, {}, lr=0.01)
    for name, g in grads.items():
        np.testing.assert_allclose(params[name] - after[name], 0.01 / (np.std(g) + 1e-8) * g, rtol=0, atol=1e-15)
