"""Adam: against torch.optim.Adam, and the story of a step counted from 0."""

from functools import partial

import numpy as np
import pytest
import torch

from gradproof import compare_updates
from numpy_impls.mistakes.adam import betas_of_zero, std_scaled_step, step_counted_from_zero
from tests.optimizers.rule_tests import RuleTests, problem


def compare(impl, reference, **hyper):
    hyper = {"lr": 0.01, **hyper}
    return compare_updates(partial(impl.step, **hyper), partial(reference.optimizer, **hyper), *problem())


def compare_large_eps(impl, reference):
    """Where eps is as large as many gradients, its place shows."""
    return compare(impl, reference, eps=0.1)


@pytest.mark.parametrize("name", ["W", "b"])
def test_update(report, name):
    report.assert_matches(name)


@pytest.mark.parametrize("name", ["W", "b"])
@pytest.mark.parametrize("other", [compare_large_eps])
def test_other_updates(impl, reference, other, name):
    other(impl, reference).assert_matches(name)


class TestRule(RuleTests):
    torchs = torch.optim.Adam
    options = [{}, {"eps": 0.1}, {"beta1": 0.5, "beta2": 0.6}, {"weight_decay": 0.3}, {"amsgrad": True, "beta2": 0.5}]
    long_runs = [{}, {"lr": 0.1, "eps": 0.1}, {"weight_decay": 0.3, "amsgrad": True}]


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
