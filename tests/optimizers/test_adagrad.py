"""Adagrad: against torch.optim.Adagrad."""

from functools import partial

import numpy as np
import pytest
import torch

from gradproof import compare_updates
from tests.optimizers.rule_tests import RuleTests, problem


def compare(impl, reference, **hyper):
    hyper = {"lr": 0.1, "lr_decay": 0.1, **hyper}
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
    torchs = torch.optim.Adagrad
    options = [{}, {"eps": 0.1}, {"lr_decay": 0.2}, {"weight_decay": 0.3}, {"initial_accumulator_value": 2.0}]
    long_runs = [{}, {"lr": 0.1, "eps": 0.1}, {"lr_decay": 0.01, "weight_decay": 0.3, "initial_accumulator_value": 0.1}]


def test_rates_fall_as_the_root_of_the_steps(rule):
    """Under a constant gradient step t is lr / sqrt(t) long, whatever the gradient."""
    theta, state, lengths = {"theta": np.zeros(2)}, {}, []
    for _ in range(9):
        after = rule("step", lr=0.3, eps=0)(theta, {"theta": np.array([1e-4, -1e3])}, state)
        lengths.append(after["theta"] - theta["theta"])
        theta = after
    expected = 0.3 / np.sqrt(np.arange(1, 10))
    np.testing.assert_allclose(lengths, np.column_stack([-expected, expected]), rtol=1e-13)
