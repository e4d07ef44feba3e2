"""What every update rule is held to, whichever it is: each test file has a class that inherits these tests."""

import inspect
from functools import partial

import numpy as np
import pytest
import torch

from gradproof import assert_updates_match
from numpy_impls.optimizers._chunks import CHUNK


def problem(dtype=np.float64, steps=6):
    """Where to start, and gradients from 1e-3 to 1e2 that change their sign and, from step to step, their size."""
    rng = np.random.default_rng(2)
    params = {"W": rng.normal(size=(3, 4)).astype(dtype), "b": rng.normal(size=4).astype(dtype)}
    sizes = 10.0 ** rng.uniform(-3, 2, size=(steps, 4))
    gradients = [{k: (rng.normal(size=v.shape) * size).astype(dtype) for k, v in params.items()} for size in sizes]
    return params, gradients


class RuleTests:
    """`torchs` is the class of torch.optim; `hyper` runs through `options`, `long_run` through `long_runs`."""

    torchs: type
    options: list
    long_runs: list
    forms = ("step", "step_per_element", "step_tuned")

    def test_reference_is_torch_optim(self, impl, reference, form):
        tensor = torch.zeros(2, requires_grad=True)
        optimizer = reference.optimizer([tensor])
        assert type(optimizer) is self.torchs
        assert optimizer.defaults == self.torchs([tensor], foreach=False).defaults
        defaults = dict(optimizer.defaults)
        if "betas" in defaults:
            defaults["beta1"], defaults["beta2"] = defaults["betas"]
        for name, parameter in inspect.signature(getattr(impl, form)).parameters.items():
            if parameter.kind is parameter.KEYWORD_ONLY and name != "out":
                assert parameter.default == defaults[name], name

    def test_options(self, rule, reference, form, hyper):
        assert_updates_match(rule(form, **hyper), partial(reference.optimizer, **hyper), *problem())

    @pytest.mark.parametrize("fast_form", ["step", "step_tuned"])
    def test_thousand_steps(self, assert_thousand_steps_equal, fast_form, long_run):
        assert_thousand_steps_equal(fast_form, **long_run)

    def test_per_element_shares_state(self, rule, hyper):
        """Every other step by the loop: the same trajectory as without it."""
        params, gradients = problem()
        mixed, expected, mixed_state, state = params, params, {}, {}
        for count, grads in enumerate(gradients):
            mixed = rule(self.forms[count % 2], **hyper)(mixed, grads, mixed_state)
            expected = rule("step", **hyper)(expected, grads, state)
            for name, value in expected.items():
                np.testing.assert_allclose(mixed[name], value, rtol=1e-13)

    def test_float32(self, rule, reference, form):
        params, gradients = problem(np.float32)
        assert_updates_match(rule(form), reference.optimizer, params, gradients)
        assert {value.dtype for value in rule(form)(params, gradients[0], {}).values()} == {np.dtype(np.float32)}

    def test_gradients_in_one_array(self, rule, form, hyper):
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

    def test_a_number_for_a_parameter(self, rule, reference, form):
        """An array without axes, as an intercept is."""
        gradients = [{"b": np.array(g)} for g in (0.5, -2.0, 1.0)]
        assert_updates_match(rule(form), reference.optimizer, {"b": np.array(0.3)}, gradients)

    def test_missing_gradient(self, rule, form):
        params, gradients = problem()
        with pytest.raises(KeyError, match="b"):
            rule(form)(params, {"W": gradients[0]["W"]}, {})

    # The tuned form, where an array takes several chunks, lies otherwise in memory, or is written to.

    def test_several_chunks(self, rule, rng, hyper):
        params, state, tuned_state = {"theta": rng.normal(size=(7, 2 * CHUNK // 7 + 5))}, {}, {}
        ours = params
        for _ in range(3):
            grads = {"theta": rng.normal(size=params["theta"].shape)}
            params = rule("step", **hyper)(params, grads, state)
            ours = rule("step_tuned", **hyper)(ours, grads, tuned_state)
            np.testing.assert_allclose(ours["theta"], params["theta"], rtol=0, atol=1e-14)

    def test_any_order_in_memory(self, rule, hyper):
        params, (grads, *_) = problem()
        turned = {name: np.asfortranarray(value) for name, value in params.items()}
        strided = {name: np.repeat(value, 2, axis=-1)[..., ::2] for name, value in grads.items()}
        ours = rule("step_tuned", **hyper)(turned, strided, {})
        for name, value in rule("step_tuned", **hyper)(params, grads, {}).items():
            np.testing.assert_array_equal(ours[name], value)

    def test_step_in_place(self, rule, hyper):
        params, gradients = problem()
        ours, expected, state, expected_state = {k: v.copy() for k, v in params.items()}, params, {}, {}
        for grads in gradients:
            assert rule("step_tuned", **hyper)(ours, grads, state, out=ours)["W"] is ours["W"]
            expected = rule("step_tuned", **hyper)(expected, grads, expected_state)
        for name, value in expected.items():
            np.testing.assert_array_equal(ours[name], value)

    def test_result_must_be_contiguous(self, rule):
        params, (grads, *_) = problem()
        with pytest.raises(ValueError, match="C-contiguous"):
            rule("step_tuned")(params, grads, {}, out={"W": np.empty((4, 3)).T, "b": np.empty(4)})
