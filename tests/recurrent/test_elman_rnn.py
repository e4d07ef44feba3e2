"""The Elman network beside torch: state, output, and backpropagation through time."""

from functools import partial
from itertools import product

import numpy as np
import pytest
import torch

from gradproof import assert_gradients_match, compare_gradients

NAMES = ("W_xh", "W_hh", "b_h", "W_hy", "b_y", "h_0")
OPTIONS = [
    {"activation": activation, "readout": readout, "loss_at": loss_at, "output_loss": output_loss}
    for activation, readout, loss_at, output_loss in product(
        ("tanh", "sigmoid", "linear"), ("linear", "sigmoid"), ("last", "every"), ("squared_error", "cross_entropy")
    )
]
SHARED_STATE = {"activation": "sigmoid", "loss_at": "last", "output_loss": "cross_entropy"}


def problem(rng, n=4, steps=3, inputs=2, hidden=5, outputs=6, loss_at="every", shared_state=False, dtype=np.float64):
    """Parameters, inputs and targets, all sizes distinct; the first state is not zero."""
    shapes = {
        "W_xh": (inputs, hidden),
        "W_hh": (hidden, hidden),
        "b_h": (hidden,),
        "W_hy": (hidden, outputs),
        "b_y": (outputs,),
        "h_0": (hidden,) if shared_state else (n, hidden),
    }
    params = {name: (0.8 * rng.standard_normal(shape)).astype(dtype) for name, shape in shapes.items()}
    x = rng.standard_normal((n, steps, inputs)).astype(dtype)
    target = rng.random((n, outputs) if loss_at == "last" else (n, steps, outputs)).astype(dtype)
    return params, x, target


def compare(impl, reference):
    """A tanh state with the loss at every step; torch's loss names its steps."""
    options = {"loss_at": "every"}
    candidate, loss = partial(impl.loss_and_grads, **options), partial(reference.loss, **options)
    return compare_gradients(candidate, loss, *problem(np.random.default_rng(0)))


def compare_shared_first_state(impl, reference):
    """A sigmoid state with the loss at the last step, and one first state for all samples."""
    candidate, loss = partial(impl.loss_and_grads, **SHARED_STATE), partial(reference.loss, **SHARED_STATE)
    return compare_gradients(candidate, loss, *problem(np.random.default_rng(1), loss_at="last", shared_state=True))


def as_tensors(params, requires_grad=True):
    return {name: torch.tensor(value, requires_grad=requires_grad) for name, value in params.items()}


def torch_rnn(params):
    """torch.nn.RNN with these weights: its are transposed, and it has a second bias, here zero."""
    rnn = torch.nn.RNN(*params["W_xh"].shape, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        rnn.weight_ih_l0.copy_(torch.tensor(params["W_xh"].T))
        rnn.weight_hh_l0.copy_(torch.tensor(params["W_hh"].T))
        rnn.bias_ih_l0.copy_(torch.tensor(params["b_h"]))
        rnn.bias_hh_l0.zero_()
    return rnn


def assert_same(actual, desired, tolerance):
    """Equal losses and equal gradients, to `tolerance` of the largest entry of each."""
    (loss, grads), (right_loss, right) = actual, desired
    assert grads.keys() == right.keys()
    np.testing.assert_allclose(loss, right_loss, rtol=tolerance)
    for name, value in right.items():
        assert grads[name].dtype == value.dtype
        np.testing.assert_allclose(grads[name], value, rtol=0, atol=tolerance * np.abs(value).max(), err_msg=name)


def test_reference_is_torch_rnn(reference, rng):
    """torch.nn.RNN with a linear layer and half of MSELoss: the same loss, the same gradients."""
    params, x, target = problem(rng)
    tensors, rnn = as_tensors(params), torch_rnn(params)
    h, _ = rnn(torch.tensor(x), tensors["h_0"][None])
    y = torch.sigmoid(h @ tensors["W_hy"] + tensors["b_y"])
    expected = torch.nn.MSELoss(reduction="sum")(y, torch.tensor(target)) / (2 * len(x))
    wanted = torch.autograd.grad(expected, [*rnn.parameters(), tensors["W_hy"], tensors["b_y"], tensors["h_0"]])
    W_ih, W_hh, b_ih, _, *others = (value.numpy() for value in wanted)

    loss = sum(reference.loss(tensors, torch.tensor(x), torch.tensor(target), loss_at="every").values())
    found = torch.autograd.grad(loss, list(tensors.values()))
    assert_same(
        (loss.item(), {name: value.numpy() for name, value in zip(tensors, found, strict=True)}),
        (expected.item(), dict(zip(NAMES, (W_ih.T, W_hh.T, b_ih, *others), strict=True))),
        1e-14,
    )


def test_states_are_those_of_torch_rnn(impl, rng):
    params, x, _ = problem(rng)
    expected, _ = torch_rnn(params)(torch.tensor(x), torch.tensor(params["h_0"])[None])
    h = np.stack(impl.forward(params, x)[1:], axis=1)  # (batch, steps, hidden)
    np.testing.assert_allclose(h, expected.detach().numpy(), rtol=0, atol=1e-14)


def test_loss(report):
    report.assert_matches("loss")


@pytest.mark.parametrize("name", NAMES)
def test_gradient(report, name):
    report.assert_matches(name)


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options.values()))
@pytest.mark.parametrize("shared_state", [False, True], ids=["own state", "shared state"])
def test_every_option(impl, reference, rng, options, shared_state):
    arrays = problem(rng, loss_at=options["loss_at"], shared_state=shared_state)
    assert_gradients_match(partial(impl.loss_and_grads, **options), partial(reference.loss, **options), *arrays)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "linear"])
@pytest.mark.parametrize("output_loss", ["squared_error", "cross_entropy"])
def test_numerical_derivative(impl, rng, activation, output_loss):
    options = {"activation": activation, "output_loss": output_loss, "loss_at": "every"}
    assert_gradients_match(partial(impl.loss_and_grads, **options), None, *problem(rng))


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options.values()))
@pytest.mark.parametrize("shared_state", [False, True], ids=["own state", "shared state"])
def test_per_sample_and_tuned_equal_vectorised(impl, rng, options, shared_state):
    arrays = problem(rng, loss_at=options["loss_at"], shared_state=shared_state)
    vectorised = impl.loss_and_grads(*arrays, **options)
    assert_same(impl.loss_and_grads_per_sample(*arrays, **options), vectorised, 1e-13)
    assert_same(impl.loss_and_grads_tuned(*arrays, **options), vectorised, 1e-13)


@pytest.mark.parametrize("n", [16, 17], ids=["in blocks of 8 rows", "no whole number of blocks"])
def test_tuned_equals_vectorised_where_the_products_are_large(impl, rng, n):
    arrays = problem(rng, n=n, hidden=256, loss_at="last")
    assert_same(impl.loss_and_grads_tuned(*arrays), impl.loss_and_grads(*arrays), 1e-13)


@pytest.mark.parametrize("form", ["loss_and_grads", "loss_and_grads_per_sample", "loss_and_grads_tuned"])
def test_float32(impl, reference, rng, form):
    candidate, loss = partial(getattr(impl, form), loss_at="every"), partial(reference.loss, loss_at="every")
    report = compare_gradients(candidate, loss, *problem(rng, dtype=np.float32))
    assert report.ok, str(report)
    assert {one.candidate.dtype for one in report.comparisons.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("form", ["loss_and_grads", "loss_and_grads_per_sample", "loss_and_grads_tuned"])
def test_cross_entropy_where_the_sigmoid_is_0_or_1(impl, reference, rng, form):
    """At o = +-1000 the logarithm of the rounded sigmoid is lost; the loss and its gradient are still torch's."""
    params, x, target = problem(rng, loss_at="last")
    params["b_y"] = np.array([1000.0, -1000, 1000, -1000, 0, 30])
    options = {"output_loss": "cross_entropy"}
    assert_gradients_match(
        partial(getattr(impl, form), **options), partial(reference.loss, **options), params, x, target
    )


@pytest.mark.parametrize("form", ["loss_and_grads", "loss_and_grads_per_sample", "loss_and_grads_tuned"])
def test_shapes_that_do_not_fit(impl, rng, form):
    """One output: a target without its last axis would broadcast (n,) against (n, 1) and give (n, n)."""
    loss_and_grads = getattr(impl, form)
    params, x, target = problem(rng, outputs=1)
    with pytest.raises(ValueError, match=r"target has shape \(4, 3\).*must be \(4, 3, 1\)"):
        loss_and_grads(params, x, target[..., 0], loss_at="every")
    with pytest.raises(ValueError, match=r"target has shape \(4, 3, 1\).*must be \(4, 1\)"):
        loss_and_grads(params, x, target)
    with pytest.raises(ValueError, match="first states of 1 samples, the batch has 4"):
        loss_and_grads(params | {"h_0": params["h_0"][:1]}, x, target, loss_at="every")


# The question: its answer gives formulas for two steps, a linear state, and a sigmoid before the output.


def question(rng, n=1):
    """The answer's sizes: 8 inputs, 16 hidden, 8 outputs, two steps; no biases, and small weights and first states."""
    params, x, target = problem(rng, n, steps=2, inputs=8, hidden=16, outputs=8, loss_at="last")
    return {name: value * (0 if name in ("b_h", "b_y") else 0.015) for name, value in params.items()}, x, target


def answers_gradients(params, x, target, state):
    """The answer as it was posted: d3 without the state's own derivative, outer products by `*`."""
    s, W_ih, W_hh, W_ho = state_of("sigmoid"), params["W_xh"], params["W_hh"], params["W_hy"]
    h_0, x_1, x_2 = params["h_0"], x[:, 0], x[:, 1]
    h_1 = state_of(state)(x_1 @ W_ih + h_0 @ W_hh)
    g = s(x_2 @ W_ih + h_1 @ W_hh)
    y = s(g @ W_ho)
    d1 = -(target - y) * y * (1 - y)
    d2 = d1 @ W_ho.T * g * (1 - g)
    d3 = d2 @ W_hh.T
    return {"W_hy": g.T * d1, "W_hh": h_1.T * d2 + h_0.T * d3, "W_xh": x_2.T * d2 + x_1.T * d3}


def state_of(activation):
    return {"sigmoid": lambda z: 1 / (1 + np.exp(-z)), "linear": lambda z: z}[activation]


def relative_differences(actual, desired):
    norm = np.linalg.norm
    return {name: norm(value - desired[name]) / norm(desired[name]) for name, value in actual.items()}


def test_answer_is_right_for_one_sample_and_a_linear_state(impl, rng):
    params, x, target = question(rng)
    _, grads = impl.loss_and_grads(params, x, target, activation="linear", readout="sigmoid")
    errors = relative_differences(answers_gradients(params, x, target, "linear"), grads)
    assert max(errors.values()) < 1e-14


def test_answer_raises_with_five_samples(impl, rng):
    """`*` of (16, 5) and (5, 8) is no outer product; `@` is, and adds up the samples."""
    params, x, target = question(rng, n=5)
    with pytest.raises(ValueError, match="could not be broadcast"):
        answers_gradients(params, x, target, "linear")
    impl.loss_and_grads(params, x, target, activation="linear", readout="sigmoid")


def test_answer_is_wrong_for_a_sigmoid_state(impl, rng):
    """d3 lacks s'(z_1): W_xh is off by 4.3 percent, W_hh, which d3 reaches by a small h_0 alone, by 0.08."""
    params, x, target = question(rng)
    _, grads = impl.loss_and_grads(params, x, target, activation="sigmoid")
    errors = relative_differences(answers_gradients(params, x, target, "sigmoid"), grads)
    assert errors["W_hy"] < 1e-14
    assert 0.01 < errors["W_xh"] < 0.1
    assert 1e-4 < errors["W_hh"] < 1e-3
