"""What makes a passing comparison worth little is said, and nothing else is."""

import numpy as np
import pytest
import torch

from gradproof import compare_gradients, compare_layers, compare_updates
from tests.judge.network import candidate, problem, reference


def warnings_of(*given, function=candidate, by=reference, **options):
    report = compare_gradients(function, by, *given, **options)
    assert report.ok, str(report)
    assert all(warning in " ".join(str(report).split()) for warning in report.warnings)
    return report.warnings


def test_a_good_problem_has_none():
    assert warnings_of(*problem()) == ()


def test_one_sample():
    params, x, y = problem()
    said = "the batch has one sample: sums, means and mixed-up samples all look alike"
    assert warnings_of(params, x[:1], y[:1]) == (said,)
    assert warnings_of(params, x[:1], y[:1], batch_axis=None) == ()


def sequence(steps):
    return {"w": np.array([0.3, 0.7])}, np.random.default_rng(0).normal(size=(4, steps, 2))


def recurrent(params, x):
    return torch.tanh(x @ params["w"]).sum()


def recurrent_by_hand(params, x):
    h = np.tanh(x @ params["w"])
    return h.sum(), {"w": np.einsum("bt,bti->i", 1 - h**2, x)}


def test_one_step():
    said = "axis 1 of x has length 1: a sequence of one step hides what happens between steps"
    assert warnings_of(*sequence(1), function=recurrent_by_hand, by=recurrent) == (said,)
    assert warnings_of(*sequence(3), function=recurrent_by_hand, by=recurrent) == ()


def test_equal_entries():
    params, x, y = problem()
    assert warnings_of(params, x, np.ones_like(y)) == ("all entries of y are 1: mistakes that mix them up go unseen",)
    equal = {**params, "b1": np.zeros(4)}
    assert warnings_of(equal, x, y) == ("all entries of b1 are 0: mistakes that mix them up go unseen",)


def test_symmetric_matrices():
    rng = np.random.default_rng(0)
    square = rng.normal(size=(3, 3))

    def by(params, x):
        return torch.tanh(x @ params["W"]).sum()

    def function(params, x):
        h = np.tanh(x @ params["W"])
        return h.sum(), {"W": x.T @ (1 - h**2)}

    x = rng.normal(size=(5, 3))
    said = "W is symmetric: a forgotten transpose goes unseen"
    assert warnings_of({"W": square + square.T}, x, function=function, by=by) == (said,)
    assert warnings_of({"W": square}, x, function=function, by=by) == ()


def test_float32():
    assert warnings_of(*problem(np.float32)) == (
        "float32: only mistakes larger than about 1e-5 of the gradient are seen; run float64 as well",
    )


def with_another(size):
    """A further parameter v whose gradient is `size` times that of a part of W1."""

    def by(params, x, y):
        return reference(params, x, y) + size * (params["v"] ** 2).sum()

    def function(params, x, y):
        loss, grads = candidate(params, x, y)
        return loss + size * (params["v"] ** 2).sum(), {**grads, "v": 2 * size * params["v"]}

    params, x, y = problem()
    return warnings_of({**params, "v": np.array([0.5, 0.25])}, x, y, function=function, by=by)


def test_gradients_that_are_nothing():
    assert with_another(0.0) == ("torch's gradient of v is zero: any mistake that keeps it zero goes unseen",)
    assert with_another(1e-12) == ("torch's gradient of v is nearly zero (1e-12 beside 2): little is proved",)
    assert with_another(1e-6) == ()


def test_beside_a_numerical_derivative_torch_is_not_spoken_of():
    params, x, y = problem()

    def function(params, x, y):
        loss, grads = candidate({k: v for k, v in params.items() if k != "v"}, x, y)
        return loss, {**grads, "v": np.zeros(2)}

    said = "the gradient of v is zero: any mistake that keeps it zero goes unseen"
    assert warnings_of({**params, "v": np.array([0.5, 0.25])}, x, y, function=function, by=None) == (said,)


def test_layers():
    x = np.random.default_rng(0).normal(size=(1, 3))
    report = compare_layers(
        lambda inputs: (np.tanh(inputs["x"]), np.tanh(inputs["x"])),
        lambda dy, y: {"x": dy * (1 - y**2)},
        lambda inputs: torch.tanh(inputs["x"]),
        {"x": x},
    )
    assert report.ok
    assert report.warnings == ("the batch has one sample: sums, means and mixed-up samples all look alike",)


@pytest.mark.parametrize(
    ("steps", "size", "dtype", "said"),
    [
        (5, 1.0, np.float64, ()),
        (1, 1.0, np.float64, ("one step: what is kept from step to step needs at least three to show",)),
        (2, 1.0, np.float64, ("2 steps: what is kept from step to step needs at least three to show",)),
        (5, 0.0, np.float64, ("all gradients of w are zero: any rule that keeps it where it is passes",)),
        (5, 1.0, np.float32, ("float32: only mistakes larger than about 1e-5 of the movement are seen; run float64",)),
    ],
)
def test_updates(steps, size, dtype, said):
    rng = np.random.default_rng(0)
    report = compare_updates(
        lambda params, grads, state: {"w": params["w"] - dtype(0.1) * grads["w"]},
        lambda tensors: torch.optim.SGD(tensors, lr=0.1),
        {"w": np.ones(3, dtype=dtype)},
        [{"w": (size * rng.normal(size=3)).astype(dtype)} for _ in range(steps)],
    )
    assert report.ok, str(report)
    assert [one[: len(two)] for one, two in zip(report.warnings, said, strict=True)] == list(said)


def test_a_failing_comparison_says_them_too():
    params, x, y = problem()
    report = compare_gradients(lambda *given: None, reference, params, x[:1], y[:1])
    assert "  take care: the batch has one sample: sums, means and mixed-up samples" in str(report).split("\n")
