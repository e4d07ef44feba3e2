"""AdamW: against torch.optim.AdamW."""

from functools import partial

import numpy as np
import pytest
import torch

from gradproof import compare_updates
from tests.optimizers.rule_tests import RuleTests, problem


def compare(impl, reference, **hyper):
    hyper = {"lr": 0.01, "weight_decay": 0.1, **hyper}
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
    torchs = torch.optim.AdamW
    options = [{}, {"eps": 0.1}, {"beta1": 0.5, "beta2": 0.6}, {"weight_decay": 0.3}, {"amsgrad": True, "beta2": 0.5}]
    long_runs = [{}, {"lr": 0.1, "eps": 0.1}, {"weight_decay": 0.3, "amsgrad": True}]


def test_all_weights_decay_alike(rule):
    """With gradients of zero only the decay is left: the same factor for every entry, at every step."""
    params, _ = problem()
    zero, state, after = {name: np.zeros_like(value) for name, value in params.items()}, {}, params
    for _ in range(3):
        after = rule("step", lr=0.1, weight_decay=0.5)(after, zero, state)
    for name, value in params.items():
        np.testing.assert_allclose(after[name], 0.95**3 * value, rtol=1e-14)
