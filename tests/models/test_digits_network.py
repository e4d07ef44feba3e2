"""The digits network: against torch, trained on real digits, and the story of a cost curve that looks wrong."""

from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from gradproof import assert_gradients_match, compare_gradients
from numpy_impls.mistakes.digits_network import cost_after_step, m_from_classes, penalty_times_m, posted_code

FORMS = ("loss_and_grads", "loss_and_grads_per_sample", "loss_and_grads_tuned")
LAM = 0.6
HIDDEN, CLASSES = 25, 10
STEPS, LEARNING_RATE = 300, 2.0


def problem(dtype=np.float64, m=7, inputs=4, hidden=5, classes=3):
    """Parameters with biases that are not zero, m inputs, and m rows of targets of 0 and 1, at random."""
    rng = np.random.default_rng(0)
    params = {"theta1": rng.normal(size=(1 + inputs, hidden)), "theta2": rng.normal(size=(1 + hidden, classes))}
    X, Y = rng.normal(size=(m, inputs)), rng.integers(0, 2, size=(m, classes))
    return {name: theta.astype(dtype) for name, theta in params.items()}, X.astype(dtype), Y.astype(dtype)


def compare(impl, reference):
    return compare_gradients(partial(impl.loss_and_grads, lam=LAM), partial(reference.loss, lam=LAM), *problem())


def compare_training(impl, reference):
    """One step of training: the cost that it records, and the gradient that it has followed."""

    def step(params, X, Y):
        after, costs = impl.train(params, X, Y, lam=LAM, learning_rate=LEARNING_RATE, steps=1)
        return costs[0], {name: (theta - after[name]) / LEARNING_RATE for name, theta in params.items()}

    return compare_gradients(step, partial(reference.loss, lam=LAM), *problem())


def as_tensors(*arrays):
    """Each array, or dict of arrays, as a tensor, or a dict of tensors."""
    return tuple(
        {name: torch.tensor(value) for name, value in one.items()} if isinstance(one, dict) else torch.tensor(one)
        for one in arrays
    )


def test_reference_is_torch_nn(reference):
    params, X, Y = as_tensors(*problem())
    first, second = torch.nn.Linear(4, 5, dtype=torch.float64), torch.nn.Linear(5, 3, dtype=torch.float64)
    for linear, theta in ((first, params["theta1"]), (second, params["theta2"])):
        linear.load_state_dict({"weight": theta[1:].T, "bias": theta[0]})
        theta.requires_grad_()
    terms = reference.loss(params, X, Y, lam=LAM)
    sum(terms.values()).backward()
    each = torch.nn.BCEWithLogitsLoss(reduction="none")(second(torch.sigmoid(first(X))), Y)
    each.sum(dim=1).mean().backward()

    np.testing.assert_allclose(terms["data"].item(), each.sum(dim=1).mean().item(), rtol=1e-12)
    for linear, theta in ((first, params["theta1"]), (second, params["theta2"])):
        decayed = linear.weight.grad + LAM / len(X) * linear.weight  # the weight decay of torch.optim.SGD
        np.testing.assert_allclose(theta.grad[1:], decayed.detach().T, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(theta.grad[0], linear.bias.grad, rtol=1e-12, atol=1e-15)


def test_loss(report):
    report.assert_matches("loss")


@pytest.mark.parametrize("name", ["theta1", "theta2"])
def test_gradient(report, name):
    report.assert_matches(name)


@pytest.mark.parametrize("name", ["loss", "theta1", "theta2"])
def test_step_of_training(impl, reference, name):
    compare_training(impl, reference).assert_matches(name)


@pytest.mark.parametrize("lam", [0.0, 0.01, 1.0, 100.0])
def test_numerical_derivative(impl, lam):
    """Cost and gradient belong to each other, whatever lambda is."""
    assert_gradients_match(partial(impl.loss_and_grads, lam=lam), None, *problem())


@pytest.mark.parametrize("form", FORMS[1:])
def test_same_as_vectorised(impl, form):
    assert_same(getattr(impl, form), impl.loss_and_grads, *problem())


def test_tuned_in_several_blocks(impl):
    """The last of them smaller than the others, as it is wherever the number of samples is no multiple."""
    assert_same(impl.loss_and_grads_tuned, impl.loss_and_grads, *problem(m=2 * impl.BLOCK + 7))


def assert_same(function, expected, *arrays):
    J, grads = function(*arrays, lam=LAM)
    expected_J, expected_grads = expected(*arrays, lam=LAM)
    np.testing.assert_allclose(J, expected_J, rtol=1e-12)
    assert grads.keys() == expected_grads.keys()
    for name, dtheta in expected_grads.items():
        np.testing.assert_allclose(grads[name], dtheta, rtol=0, atol=1e-12 * np.linalg.norm(dtheta), err_msg=name)


@pytest.mark.parametrize("form", FORMS)
def test_float32(impl, reference, form):
    function = partial(getattr(impl, form), lam=LAM)
    assert_gradients_match(function, partial(reference.loss, lam=LAM), *problem(np.float32))
    J, grads = function(*problem(np.float32))
    assert {np.asarray(J).dtype, *(dtheta.dtype for dtheta in grads.values())} == {np.dtype(np.float32)}


def test_train_leaves_its_start_alone(impl):
    params, X, Y = problem()
    impl.train(params, X, Y, lam=LAM, learning_rate=LEARNING_RATE, steps=3)
    for name, theta in problem()[0].items():
        np.testing.assert_array_equal(params[name], theta)


# Real digits: 1,797 images of 8 x 8 pixels, shipped with scikit-learn.


@pytest.fixture(scope="module")
def digits():
    """A start; the images, pixels from 0 to 1 (1797, 64); the targets, a one in the column of each digit (1797, 10)."""
    from sklearn.datasets import load_digits  # takes a second: paid where it is used

    images, labels = load_digits(return_X_y=True)
    assert images.shape == (1797, 64)
    rng = np.random.default_rng(0)
    params = {
        "theta1": rng.normal(scale=0.3, size=(1 + 64, HIDDEN)),
        "theta2": rng.normal(scale=0.3, size=(1 + HIDDEN, CLASSES)),
    }
    return params, images / 16, np.eye(CLASSES)[labels]


@pytest.fixture(scope="module")
def trained(impl, reference, digits):
    """300 steps of both, in six stretches: for each side, the parameters after each stretch, and all 300 costs."""
    ours, theirs = digits[0], as_tensors(digits[0])[0]
    stretches, costs, torch_costs = [], [], []
    for _ in range(6):
        ours, more = impl.train(ours, *digits[1:], lam=1.0, learning_rate=LEARNING_RATE, steps=STEPS // 6)
        theirs, torch_more = reference.train(
            theirs, *as_tensors(*digits[1:]), lam=1.0, learning_rate=LEARNING_RATE, steps=STEPS // 6
        )
        stretches.append((ours, {name: theta.numpy() for name, theta in theirs.items()}))
        costs, torch_costs = costs + list(more), torch_costs + torch_more
    return stretches, np.array(costs), np.array(torch_costs)


def accuracy(reference, params, images, targets):
    Z = reference.logits(*as_tensors(params, images)).numpy()
    return np.mean(Z.argmax(axis=1) == targets.argmax(axis=1))


def test_same_trajectory_as_torch(trained):
    stretches, costs, torch_costs = trained
    assert costs.shape == (STEPS,)
    np.testing.assert_allclose(costs, torch_costs, rtol=1e-11)
    for ours, theirs in stretches:
        for name, theta in theirs.items():
            np.testing.assert_allclose(ours[name], theta, rtol=0, atol=1e-11 * np.linalg.norm(theta), err_msg=name)


def test_accuracy(trained, reference, digits):
    assert accuracy(reference, digits[0], *digits[1:]) < 0.2
    for params in trained[0][-1]:
        assert accuracy(reference, params, *digits[1:]) >= 0.97


def test_predict(impl, trained, reference, digits):
    params = trained[0][-1][0]
    predicted = impl.predict(params, digits[1])
    assert predicted.shape == (1797,)
    assert np.mean(predicted == digits[2].argmax(axis=1)) == accuracy(reference, params, *digits[1:])


def curvature_bound(images, lam, largest_theta2):
    """A bound on J's second derivative along directions of length 1, while |theta2[1:]| is at most `largest_theta2`.

    One sample's cost is a function of z = theta2' [1 h], h = s(theta1' [1 x]). Its gradient by z is r = s(z) - y, its
    second derivative by z is s'(z) <= 1/4. Along a direction (D1, D2), with v and w the first and second derivative of
    z, the cost's second derivative is therefore at most |v|^2 / 4 + r' w. With c = |theta2[1:]| (the spectral norm) and
    q = |[1 x]|, and since |s'| <= 1/4, |s''| <= 1 / (6 sqrt 3), |h|^2 <= hidden and |r|^2 <= classes,

        |v|  <= sqrt(1 + hidden) |D2| + c q / 4 |D1|
        r' w <= 2 |r| q / 4 |D1| |D2| + c |r| q^2 / (6 sqrt 3) |D1|^2

    This is a quadratic form in |D1| and |D2|; the bound is the largest eigenvalue of its mean over the samples, and
    lam / m from the penalty.
    """
    q = np.sqrt(1 + np.sum(images**2, axis=1))  # (m,)
    c, r = largest_theta2, np.sqrt(CLASSES)
    on_theta1 = np.mean((c * q / 4) ** 2 / 4 + c * r * q**2 / (6 * np.sqrt(3)))
    on_theta2 = (1 + HIDDEN) / 4
    mixed = np.mean(np.sqrt(1 + HIDDEN) * c * q / 4 / 4 + r * q / 4)
    return np.linalg.eigvalsh([[on_theta1, mixed], [mixed, on_theta2]])[-1] + lam / len(images)


def spectral_norm(params):
    return np.linalg.norm(params["theta2"][1:], 2)


@pytest.mark.parametrize("scale", [0.1, 0.3, 1.0])
def test_curvature_bound_holds(reference, digits, rng, scale):
    """The second derivative, along directions that come nearer and nearer to its largest, stays below the bound."""
    images, targets = (one[:100] for one in digits[1:])
    params = {name: scale * rng.normal(size=theta.shape) for name, theta in digits[0].items()}
    bound = curvature_bound(images, 1.0, spectral_norm(params))
    tensors, X, Y = as_tensors(params, images, targets)

    def J(theta1, theta2):
        return sum(reference.loss({"theta1": theta1, "theta2": theta2}, X, Y, lam=1.0).values())

    at = tuple(tensors.values())
    direction = tuple(torch.from_numpy(rng.normal(size=theta.shape)) for theta in at)
    for _ in range(10):  # power iteration
        size = torch.sqrt(sum((one**2).sum() for one in direction))
        direction = tuple(one / size for one in direction)
        _, product = torch.autograd.functional.hvp(J, at, direction)
        curvature = sum((one * other).sum() for one, other in zip(direction, product, strict=True))
        assert curvature <= bound
        direction = product
    assert curvature > bound / 50  # a bound, but not an empty one


def test_cost_never_rises_where_theory_says_so(impl, digits):
    """With the step 1 / L, L a bound on the curvature, each step lowers J by at least |gradient|^2 / (2 L).

    The descent lemma (Nesterov 2004, "Introductory lectures on convex optimization", lemma 1.2.3) wants the bound all
    along each step. It holds wherever |theta2[1:]| <= 3, a convex set: with both ends the whole step lies in it.
    """
    params, images, targets = digits
    L = curvature_bound(images, 1.0, largest_theta2=3.0)
    costs, promised = [], []
    for _ in range(STEPS):
        assert spectral_norm(params) <= 3.0
        after, (J,) = impl.train(params, images, targets, lam=1.0, learning_rate=1 / L, steps=1)
        costs.append(J)
        promised.append(L / 2 * sum(np.sum((after[name] - theta) ** 2) for name, theta in params.items()))
        params = after
    assert spectral_norm(params) <= 3.0
    falls = -np.diff(costs)
    assert np.all(falls >= np.array(promised[:-1]) * (1 - 1e-9))
    assert np.all(falls > 0)
    assert costs[-1] < costs[0] / 2


def test_cost_rises_at_a_step_far_beyond(impl, digits):
    _, costs = impl.train(*digits, lam=1.0, learning_rate=5.0, steps=60)
    assert np.any(np.diff(costs) > 0)


def plot_costs(costs, path):
    """Write the curve of J against the iteration as a picture."""
    import matplotlib  # takes half a second

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4), dpi=100)
    axes.plot(np.arange(len(costs)), costs, color="tab:blue")
    axes.set(xlabel="iteration", ylabel="J", ylim=(0, None), title="64-25-10 network on 1,797 handwritten digits")
    figure.savefig(path)
    pyplot.close(figure)


def test_picture_of_the_cost(trained, tmp_path):
    """The picture is one, and the curve in it falls from the top left to the bottom right as J does."""
    _, costs, _ = trained
    assert np.all(np.diff(costs) < 0)
    plot_costs(costs, tmp_path / "cost.png")
    with Image.open(tmp_path / "cost.png") as picture:
        assert picture.format == "PNG"
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert pixels.shape == (400, 600, 3)
    blue = np.abs(pixels - np.array([31, 119, 180])).sum(axis=2) < 60  # tab:blue
    columns = np.flatnonzero(blue.any(axis=0))
    heights = np.array([np.flatnonzero(blue[:, column]).mean() for column in columns])  # counted from the top
    assert len(columns) > 300
    assert np.all(np.diff(heights) > -1)
    assert heights[-1] - heights[0] > 150


# The question: `lam / 2 * m`, a penalty's gradient without 1/m, biases in the cost; and the answer's advice on m.


def test_the_posted_penalty_is_m_squared_times_too_heavy(impl):
    params, X, Y = problem(m=50)
    without = impl.loss_and_grads(params, X, Y, lam=0.0)[0]
    right = impl.loss_and_grads(params, X, Y, lam=1.0)[0] - without
    np.testing.assert_allclose(penalty_times_m.loss_and_grads(params, X, Y, lam=1.0)[0] - without, 2500 * right)
    assert posted_code.loss_and_grads(params, X, Y, lam=1.0)[0] - without > 2500 * right  # and the biases


def test_the_posted_code_is_right_without_a_penalty(impl, reference, digits):
    """Hence the 90 %: with lam = 0 cost and gradient agree with torch, and training works."""
    function = partial(posted_code.loss_and_grads, lam=0.0)
    assert_gradients_match(function, partial(reference.loss, lam=0.0), *problem())
    params, _ = posted_code.train(*digits, lam=0.0, learning_rate=LEARNING_RATE, steps=50)
    assert accuracy(reference, params, *digits[1:]) > 0.9


@pytest.mark.parametrize("lam", [0.0, 1.0])
def test_the_advice_scales_the_gradient_by_samples_over_classes(impl, lam):
    params, X, Y = problem(m=50, classes=10)
    right, advised = impl.loss_and_grads(params, X, Y, lam=lam), m_from_classes.loss_and_grads(params, X, Y, lam=lam)
    np.testing.assert_allclose(advised[0], 5 * right[0])
    for name, dtheta in right[1].items():
        np.testing.assert_allclose(advised[1][name], 5 * dtheta, err_msg=name)


def test_the_recorded_cost_belongs_to_no_parameters(impl):
    params, X, Y = problem()
    after, (recorded,) = cost_after_step.train(params, X, Y, lam=1.0, learning_rate=LEARNING_RATE, steps=1)
    for one in (params, after):
        assert abs(impl.loss_and_grads(one, X, Y, lam=1.0)[0] - recorded) > 1e-3
