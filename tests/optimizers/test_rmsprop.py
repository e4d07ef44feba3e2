"""RMSprop: against torch.optim.RMSprop."""

import inspect
from functools import partial

import numpy as np
import pytest
import torch

from gradproof import assert_updates_match, compare_updates

FORMS = ("step", "step_per_element")
OPTIONS = [
    {},
    {"eps": 0.1},
    {"alpha": 0.7},
    {"weight_decay": 0.3},
    {"momentum": 0.9},
    {"centered": True, "momentum": 0.5},
]
# Weight decay with momentum has no long run here: where the gradients are 1e-6 the parameter swings about zero without
# rest, and trajectories part. So do two of torch's own whose starts differ in the last digit, by 3e-7.
LONG_RUNS = [{}, {"lr": 0.1, "eps": 0.1, "weight_decay": 0.3}, {"momentum": 0.9}, {"centered": True, "momentum": 0.5}]


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


def compare_centered(impl, reference):
    """With the variance in the mean square's place."""
    return compare(impl, reference, centered=True, alpha=0.9)


@pytest.mark.parametrize("form", FORMS)
def test_reference_is_torch_optim(impl, reference, form):
    tensor = torch.zeros(2, requires_grad=True)
    optimizer = reference.optimizer([tensor])
    assert type(optimizer) is torch.optim.RMSprop
    assert optimizer.defaults == torch.optim.RMSprop([tensor], foreach=False).defaults
    torchs = optimizer.defaults
    for name, parameter in inspect.signature(getattr(impl, form)).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            assert parameter.default == torchs[name], name


@pytest.mark.parametrize("name", ["W", "b"])
def test_update(report, name):
    report.assert_matches(name)


@pytest.mark.parametrize("name", ["W", "b"])
@pytest.mark.parametrize("other", [compare_large_eps, compare_centered])
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


def test_first_step_is_not_corrected(rule):
    """v starts at zero and is left so: the first step is 1 / sqrt(1 - alpha) times as long as lr."""
    after = rule("step", lr=0.01, alpha=0.75, eps=0)({"theta": np.zeros(2)}, {"theta": np.array([1e-4, -1e3])}, {})
    np.testing.assert_allclose(after["theta"], [-0.02, 0.02], rtol=1e-14)
