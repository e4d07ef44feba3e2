"""What the update rules' tests share: long runs of both sides, on gradients of very different sizes."""

import inspect
from functools import partial

import numpy as np
import pytest
import torch

pytest.register_assert_rewrite("tests.optimizers.rule_tests")


def pytest_generate_tests(metafunc):
    """The tests of `RuleTests` run once for each form, choice of options and long run that their class names."""
    for argument, choices in (("form", "forms"), ("hyper", "options"), ("long_run", "long_runs")):
        if argument in metafunc.fixturenames and hasattr(metafunc.cls, choices):
            metafunc.parametrize(argument, getattr(metafunc.cls, choices), ids=str)


@pytest.fixture
def assert_thousand_steps_equal(impl, reference):
    """Raise AssertionError unless hand-written rule and torch agree to 1e-12 through 1,000 steps.

    The rows of the parameter have gradients of 1e-6, 1e-5, ... 1e6, and each row is held to its own size. In the last
    row they are of any of these sizes, another at each step.
    """

    def check(form="step", **hyper):
        rng = np.random.default_rng(7)
        sizes = np.tile(10.0 ** np.arange(-6, 8)[:, None], (1000, 1, 1))  # (steps, rows, 1)
        sizes[:, -1, 0] = 10.0 ** rng.uniform(-6, 6, size=1000)
        gradients = rng.normal(size=(1000, 14, 3)) * sizes
        theta = rng.normal(size=(14, 3))
        tensor, state = torch.tensor(theta), {}
        optimizer = reference.optimizer([tensor], **hyper)
        step, ours, torchs = bound(impl, form, **hyper), [], []
        params = {"theta": theta}
        for g in gradients:
            params = step(params, {"theta": g}, state)
            tensor.grad = torch.from_numpy(g)
            optimizer.step()
            ours.append(params["theta"])
            torchs.append(tensor.numpy().copy())
        ours, torchs = np.array(ours), np.array(torchs)
        row_sizes = np.abs(torchs).max(axis=(0, 2), keepdims=True)
        np.testing.assert_allclose(ours / row_sizes, torchs / row_sizes, rtol=0, atol=1e-12)

    return check


def bound(impl, form, **hyper):
    """One form of the rule with its hyperparameters fixed. Skips the test where the form takes no such one."""
    function = getattr(impl, form)
    missing = hyper.keys() - inspect.signature(function).parameters
    if missing:
        pytest.skip(f"{form} takes no {', '.join(sorted(missing))}")
    return partial(function, **hyper)


@pytest.fixture
def rule(impl):
    """`rule(form, **hyper)`: one form of the rule under test, with its hyperparameters fixed."""
    return partial(bound, impl)
