"""Gradient descent with momentum: against torch.optim.SGD."""

import inspect
from functools import partial

import numpy as np
import pytest
import torch

from gradproof import assert_updates_match, compare_updates

FORMS = ("step", "step_per_element")
OPTIONS = [
    {},
    {"weight_decay": 0.3},
    {"dampening": 0.4},
    {"momentum": 0.9},
    {"momentum": 0.9, "dampening": 0.4},
    {"momentum": 0.8, "nesterov": True, "weight_decay": 0.3},
]
LONG_RUNS = [
    {},
    {"momentum": 0.9, "weight_decay": 0.01},
    {"momentum": 0.9, "nesterov": True},
    {"momentum": 0.5, "dampening": 0.3},
]


def problem(dtype=np.float64, steps=6):
    """Where to start, and gradients from 1e-3 to 1e2 that change their sign and, from step to step, their size."""
    rng = np.random.default_rng(2)
    params = {"W": rng.normal(size=(3, 4)).astype(dtype), "b": rng.normal(size=4).astype(dtype)}
    sizes = 10.0 ** rng.uniform(-3, 2, size=(steps, 4))
    gradients = [{k: (rng.normal(size=v.shape) * size).astype(dtype) for k, v in params.items()} for size in sizes]
    return params, gradients


def compare(impl, reference, **hyper):
    hyper = {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.1, **hyper}
    return compare_updates(partial(impl.step, **hyper), partial(reference.optimizer, **hyper), *problem())


def compare_nesterov(impl, reference):
    """With momentum that looks one step ahead."""
    return compare(impl, reference, nesterov=True)


@pytest.mark.parametrize("form", FORMS)
def test_reference_is_torch_optim(impl, reference, form):
    tensor = torch.zeros(2, requires_grad=True)
    optimizer = reference.optimizer([tensor])
    assert type(optimizer) is torch.optim.SGD
    assert optimizer.defaults == torch.optim.SGD([tensor], foreach=False).defaults
    torchs = optimizer.defaults
    for name, parameter in inspect.signature(getattr(impl, form)).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            assert parameter.default == torchs[name], name


@pytest.mark.parametrize("name", ["W", "b"])
def test_update(report, name):
    report.assert_matches(name)


@pytest.mark.parametrize("name", ["W", "b"])
@pytest.mark.parametrize("other", [compare_nesterov])
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


@pytest.mark.parametrize("hyper", [{"nesterov": True}, {"nesterov": True, "momentum": 0.9, "dampening": 0.1}], ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_nesterov_needs_momentum_alone(rule, reference, form, hyper):
    params, (grads, *_) = problem()
    with pytest.raises(ValueError, match="momentum"):
        reference.optimizer([torch.zeros(2)], **hyper)
    with pytest.raises(ValueError, match="momentum"):
        rule(form, **hyper)(params, grads, {})


@pytest.mark.parametrize("form", FORMS)
def test_momentum_from_the_third_step(rule, reference, form):
    """The velocity begins with the first gradient that meets a momentum, as torch's does."""
    params, gradients = problem()
    tensor, state, ours = torch.tensor(params["W"]), {}, {"W": params["W"]}
    optimizer = reference.optimizer([tensor])
    for count, grads in enumerate(gradients):
        momentum = optimizer.param_groups[0]["momentum"] = 0.9 if count >= 2 else 0.0
        ours = rule(form, momentum=momentum)(ours, {"W": grads["W"]}, state)
        tensor.grad = torch.tensor(grads["W"])
        optimizer.step()
    np.testing.assert_allclose(ours["W"], tensor, rtol=1e-13)
