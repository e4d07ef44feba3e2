"""Adding binary numbers with an Elman network, beside torch; and trained, on all pairs of 8-bit numbers."""

from functools import partial

import numpy as np
import pytest
import torch

from gradproof import assert_gradients_match, compare_gradients

NAMES = ("W_xh", "W_hh", "b_h", "W_hy", "b_y", "h_0")


def problem(rng, n=7, n_bits=3, hidden=5, dtype=np.float64):
    """Parameters with a first state that is not zero, and n pairs of numbers of n_bits bits: n_bits + 1 steps."""
    shapes = {
        "W_xh": (2, hidden),
        "W_hh": (hidden, hidden),
        "b_h": (hidden,),
        "W_hy": (hidden, 1),
        "b_y": (1,),
        "h_0": (hidden,),
    }
    params = {name: (0.8 * rng.standard_normal(shape)).astype(dtype) for name, shape in shapes.items()}
    return params, *rng.integers(2**n_bits, size=(2, n))


def compare(impl, reference):
    """Sums of 2-bit numbers, three steps."""
    candidate, loss = partial(impl.loss_and_grads, n_bits=2), partial(reference.loss, n_bits=2)
    return compare_gradients(candidate, loss, *problem(np.random.default_rng(0), n_bits=2))


def all_pairs(n_bits=8):
    return np.divmod(np.arange(4**n_bits), 2**n_bits)


@pytest.fixture(scope="module")
def trained(impl):
    """The trained parameters, and the loss before each step."""
    return impl.train(np.random.default_rng(0))


def test_reference_is_torch_rnn(reference, rng):
    """torch.nn.RNN with a linear layer and BCEWithLogitsLoss, on bits written out with Python's own format."""
    params, a, b = problem(rng)
    tensors = {name: torch.tensor(value, requires_grad=True) for name, value in params.items()}
    bits_of = {number: [float(bit) for bit in reversed(f"{number:04b}")] for number in range(16)}
    x = torch.tensor([[bits_of[p], bits_of[q]] for p, q in zip(a, b, strict=True)]).transpose(1, 2).double()
    target = torch.tensor([bits_of[p + q] for p, q in zip(a, b, strict=True)]).double()
    rnn = torch.nn.RNN(2, 5, batch_first=True, dtype=torch.float64)
    weights = (params["W_xh"].T, params["W_hh"].T, params["b_h"], np.zeros(5))
    with torch.no_grad():
        for own, value in zip(rnn.parameters(), weights, strict=True):
            own.copy_(torch.tensor(value))
    h, _ = rnn(x, tensors["h_0"].expand(1, len(a), 5).contiguous())
    o = (h @ tensors["W_hy"] + tensors["b_y"])[:, :, 0]
    expected = torch.nn.BCEWithLogitsLoss(reduction="sum")(o, target) / len(a)
    loss = sum(reference.loss(tensors, torch.tensor(a), torch.tensor(b), n_bits=3).values())
    np.testing.assert_allclose(loss.item(), expected.item(), rtol=1e-14)
    found = torch.autograd.grad(loss, list(tensors.values()))
    leaves = [*list(rnn.parameters())[:3], tensors["W_hy"], tensors["b_y"], tensors["h_0"]]
    W_ih, W_hh, *others = torch.autograd.grad(expected, leaves)
    for name, mine, theirs in zip(NAMES, found, (W_ih.T, W_hh.T, *others), strict=True):
        np.testing.assert_allclose(
            mine.numpy(), theirs.numpy(), rtol=0, atol=1e-13 * float(theirs.abs().max()), err_msg=name
        )


def test_loss(report):
    report.assert_matches("loss")


@pytest.mark.parametrize("name", NAMES)
def test_gradient(report, name):
    report.assert_matches(name)


def test_eight_bits(impl, reference, rng):
    """Eight bits are what it adds unless told otherwise."""
    assert_gradients_match(impl.loss_and_grads, reference.loss, *problem(rng, n_bits=8, hidden=16))


def test_numerical_derivative(impl, rng):
    assert_gradients_match(partial(impl.loss_and_grads, n_bits=3), None, *problem(rng))


@pytest.mark.parametrize("form", ["loss_and_grads_per_sample", "loss_and_grads_tuned"])
def test_forms_equal_vectorised(impl, rng, form):
    arrays = problem(rng, n_bits=8)
    (loss, grads), (right_loss, right) = getattr(impl, form)(*arrays), impl.loss_and_grads(*arrays)
    np.testing.assert_allclose(loss, right_loss, rtol=1e-14)
    assert grads.keys() == right.keys()
    for name, value in right.items():
        np.testing.assert_allclose(grads[name], value, rtol=0, atol=1e-13 * np.abs(value).max(), err_msg=name)


@pytest.mark.parametrize("form", ["loss_and_grads", "loss_and_grads_per_sample", "loss_and_grads_tuned"])
def test_float32(impl, reference, rng, form):
    report = compare_gradients(getattr(impl, form), reference.loss, *problem(rng, n_bits=8, dtype=np.float32))
    assert report.ok, str(report)
    assert {one.candidate.dtype for one in report.comparisons.values()} == {np.dtype(np.float32)}


# The numbers and their bits, and the task itself.


def test_bits_come_least_significant_first(impl):
    np.testing.assert_array_equal(impl.to_bits(np.array([6, 1]), 4), [[0, 1, 1, 0], [1, 0, 0, 0]])


def test_examples(impl):
    """3 + 1 = 4, with two bits: the last step has no bits left to read, only the carry to give."""
    x, target = impl.examples(np.array([3]), np.array([1]), 2)
    np.testing.assert_array_equal(x, [[[1, 1], [1, 0], [0, 0]]])
    np.testing.assert_array_equal(target, [[[0], [0], [1]]])


def test_numbers_come_back_from_their_bits(impl):
    numbers = np.arange(512)
    np.testing.assert_array_equal(impl.from_bits(impl.to_bits(numbers, 9)), numbers)


@pytest.mark.parametrize(("a", "b"), [(256, 1), (1, 256), (-1, 0), (0, -1)])
def test_numbers_that_do_not_fit(impl, rng, a, b):
    """A number of nine bits would lose its highest in silence."""
    params, _, _ = problem(rng)
    with pytest.raises(ValueError, match=r"must lie in 0 \.\.\. 255"):
        impl.loss_and_grads(params, np.array([3, a]), np.array([3, b]))


@pytest.mark.parametrize(("b_y", "total"), [(0.1, 0b111111111), (0.0, 0), (-0.1, 0)])
def test_a_bit_is_1_where_its_sigmoid_is_above_a_half(impl, b_y, total):
    """All weights zero, so that every bit follows the output's bias: nine ones, or nine zeros."""
    params = {name: np.zeros_like(value) for name, value in impl.initial_params(np.random.default_rng(0)).items()}
    one = np.array([1])
    np.testing.assert_array_equal(impl.add(params | {"b_y": np.array([b_y])}, one, one), [total])


def test_initial_params(impl, rng):
    """Each unit's weights are as large as keeps the sum of its inputs at size 1, however many inputs it has."""
    params = impl.initial_params(rng, n_hidden=400)
    for name, n_inputs in {"W_xh": 2, "W_hh": 400, "W_hy": 400}.items():
        np.testing.assert_allclose(params[name].std(), n_inputs**-0.5, rtol=0.1, err_msg=name)
        assert abs(params[name].mean()) < 0.1 * n_inputs**-0.5
    assert {name: (params[name].shape, np.any(params[name])) for name in ("b_h", "b_y", "h_0")} == {
        "b_h": ((400,), False),
        "b_y": ((1,), False),
        "h_0": ((400,), False),
    }


def test_untrained_network_cannot_add(impl):
    a, b = all_pairs(n_bits=5)
    assert np.mean(impl.add(impl.initial_params(np.random.default_rng(0)), a, b) == a + b) < 0.05


def test_trained_network_adds_all_pairs(impl, trained):
    """All 65,536 sums, of which training has seen fewer than half."""
    a, b = all_pairs()
    assert len(a) == 65_536
    np.testing.assert_array_equal(impl.add(trained[0], a, b), a + b)


def test_trained_network_adds_longer_numbers(impl, trained):
    """The same step serves every digit, so that numbers of 40 bits are added by what was learned on eight."""
    a, b = np.random.default_rng(1).integers(2**40, size=(2, 500))
    np.testing.assert_array_equal(impl.add(trained[0], a, b, n_bits=40), a + b)


def test_training_history(trained):
    """It starts from guessing nine bits, 9 log 2, and ends where the bits are all but certain."""
    _, history = trained
    assert len(history) == 1000
    np.testing.assert_allclose(history[0], 9 * np.log(2), rtol=0.2)
    assert max(history[-100:]) < 0.05


def test_training_repeats_itself(impl):
    """The same generator, the same network; another one, another network."""
    runs = [impl.train(np.random.default_rng(seed), n_steps=3) for seed in (0, 0, 1)]
    for name in NAMES:
        np.testing.assert_array_equal(runs[0][0][name], runs[1][0][name])
    assert runs[0][1] == runs[1][1] != runs[2][1]


def test_first_training_step_is_adams(impl, reference):
    """Adam's first step moves every weight by lr against the sign of torch's gradient, for the numbers drawn first."""
    start, rng = impl.initial_params(np.random.default_rng(0)), np.random.default_rng(0)
    impl.initial_params(rng)
    a, b = rng.integers(256, size=(2, 32))
    tensors = {name: torch.tensor(value, requires_grad=True) for name, value in start.items()}
    loss = sum(reference.loss(tensors, torch.tensor(a), torch.tensor(b)).values())
    gradients = dict(zip(tensors, torch.autograd.grad(loss, list(tensors.values())), strict=True))
    params, history = impl.train(np.random.default_rng(0), n_steps=1, lr=0.01)
    np.testing.assert_allclose(history, [loss.item()], rtol=1e-13)
    for name, value in gradients.items():
        np.testing.assert_allclose(params[name], start[name] - 0.01 * np.sign(value.numpy()), rtol=0, atol=1e-6)
