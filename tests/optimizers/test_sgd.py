"""Gradient descent with momentum: against torch.optim.SGD."""

from functools import partial

import numpy as np
import pytest
import torch

from gradproof import compare_updates
from tests.optimizers.rule_tests import RuleTests, problem


def compare(impl, reference, **hyper):
    hyper = {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.1, **hyper}
    return compare_updates(partial(impl.step, **hyper), partial(reference.optimizer, **hyper), *problem())


def compare_nesterov(impl, reference):
    """With momentum that looks one step ahead."""
    return compare(impl, reference, nesterov=True)


@pytest.mark.parametrize("name", ["W", "b"])
def test_update(report, name):
    report.assert_matches(name)


@pytest.mark.parametrize("name", ["W", "b"])
@pytest.mark.parametrize("other", [compare_nesterov])
def test_other_updates(impl, reference, other, name):
    other(impl, reference).assert_matches(name)


class TestRule(RuleTests):
    torchs = torch.optim.SGD
    options = [
        {},
        {"weight_decay": 0.3},
        {"dampening": 0.4},
        {"momentum": 0.9},
        {"momentum": 0.9, "dampening": 0.4},
        {"momentum": 0.8, "nesterov": True, "weight_decay": 0.3},
    ]
    long_runs = [
        {},
        {"momentum": 0.9, "weight_decay": 0.01},
        {"momentum": 0.9, "nesterov": True},
        {"momentum": 0.5, "dampening": 0.3},
    ]


@pytest.mark.parametrize("hyper", [{"nesterov": True}, {"nesterov": True, "momentum": 0.9, "dampening": 0.1}], ids=str)
@pytest.mark.parametrize("form", RuleTests.forms)
def test_nesterov_needs_momentum_alone(rule, reference, form, hyper):
    params, (grads, *_) = problem()
    with pytest.raises(ValueError, match="momentum"):
        reference.optimizer([torch.zeros(2)], **hyper)
    with pytest.raises(ValueError, match="momentum"):
        rule(form, **hyper)(params, grads, {})


@pytest.mark.parametrize("dampening", [0.0, 0.4])
@pytest.mark.parametrize("form", RuleTests.forms)
def test_momentum_from_the_third_step(rule, reference, form, dampening):
    """The velocity begins with the first gradient that meets a momentum, undampened, as torch's does."""
    params, gradients = problem()
    tensor, state, ours = torch.tensor(params["W"]), {}, {"W": params["W"]}
    optimizer = reference.optimizer([tensor], dampening=dampening)
    for count, grads in enumerate(gradients):
        momentum = optimizer.param_groups[0]["momentum"] = 0.9 if count >= 2 else 0.0
        ours = rule(form, momentum=momentum, dampening=dampening)(ours, {"W": grads["W"]}, state)
        tensor.grad = torch.tensor(grads["W"])
        optimizer.step()
    np.testing.assert_allclose(ours["W"], tensor, rtol=1e-13)
