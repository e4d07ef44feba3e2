"""Style transfer: against torch, on two real photographs, and why a picture that looks right proves nothing."""

import functools

import numpy as np
import pytest
import torch
from PIL import Image

from gradproof import assert_gradients_match, compare_gradients, compare_updates
from numpy_impls.mistakes.style_transfer import relu_derivative_forgotten, std_scaled_step
from numpy_impls.optimizers import adam
from tests.models import draw_style_transfer as draw

FORMS = ("loss_and_grads", "loss_and_grads_per_sample")
WEIGHTS = {"content_weight": 2.0, "style_weight": 5.0, "variation_weight": 0.7, "content_scale": 1}


def problem(dtype=np.float64):
    """An image of 13 by 17 pixels, two scales of 8 filters of 4 by 7, and targets that it has not reached."""
    rng = np.random.default_rng(0)
    params = {"image": rng.uniform(-0.5, 0.5, (13, 17, 3)).astype(dtype)}
    W, b = rng.normal(size=(2, 4, 7, 3, 8)), rng.normal(size=(2, 8))
    P, F = rng.uniform(size=(6, 5, 8)), rng.uniform(size=(2, 40, 8))  # the coarse scale has 6 by 5 positions
    A = F.transpose(0, 2, 1) @ F / 40
    return params, *(value.astype(dtype) for value in (W, b, P, A))


def weighted(function, **weights):
    """`function` with the weights that this file compares at, or others."""
    return functools.partial(function, **(WEIGHTS | weights))


def compare(impl, reference):
    return compare_gradients(weighted(impl.loss_and_grads), weighted(reference.loss), *problem(), batch_axis=None)


def compare_steps(impl, reference):
    """Five steps of the loop, on gradients of several sizes."""
    rng = np.random.default_rng(0)
    params = {"image": rng.uniform(-0.5, 0.5, (4, 5, 3))}
    gradients = [{"image": size * rng.normal(size=(4, 5, 3))} for size in (1e-3, 1.0, 1e-5, 1e-2, 1e3)]
    step = functools.partial(impl.step, lr=0.02)
    return compare_updates(step, lambda tensors: torch.optim.Adam(tensors, lr=0.02), params, gradients)


def assert_same(actual, desired, rtol=1e-12):
    """Raise AssertionError unless two arrays agree, relative to the norm of the second."""
    np.testing.assert_allclose(actual, desired, rtol=0, atol=rtol * np.linalg.norm(desired))


def test_reference_is_torch_nn(reference):
    """The same network as modules, with torch's own Gram matrix and mean squared error, channels first."""
    params, *data = problem()
    image = torch.from_numpy(params["image"]).requires_grad_()
    W, b, P, A = map(torch.from_numpy, data)
    x, style = image.permute(2, 0, 1)[None], 0
    for s in range(2):
        x = torch.nn.AvgPool2d(4, stride=2)(x) if s else x
        layer = torch.nn.Conv2d(3, 8, (4, 7), padding=2, dtype=torch.float64)
        layer.load_state_dict({"weight": W[s].permute(3, 2, 0, 1), "bias": b[s]})
        F = torch.nn.ReLU()(layer(x))[0]
        G = torch.einsum("nij,mij->nm", F, F) / F[0].numel()
        style = style + torch.nn.MSELoss()(G, A[s]) / 4
    content = torch.nn.MSELoss()(F, P.permute(2, 0, 1)) / 2
    variation = (image.diff(dim=0).pow(2).sum() + image.diff(dim=1).pow(2).sum()) / (13 * 17)
    expected = {"content": 2.0 * content, "style": 5.0 * style, "total_variation": 0.7 * variation}

    terms = weighted(reference.loss)({"image": image}, W, b, P, A)
    for name, value in expected.items():
        np.testing.assert_allclose(terms[name].item(), value.item(), rtol=1e-12)
    (gradient,) = torch.autograd.grad(sum(terms.values()), image, retain_graph=True)
    assert_same(gradient, torch.autograd.grad(sum(expected.values()), image)[0])


def test_loss(report):
    report.assert_matches("loss")


def test_gradient(report):
    report.assert_matches("image")


def test_steps_are_those_of_adam(impl, reference):
    compare_steps(impl, reference).assert_matches("image")


@pytest.mark.parametrize("alone", ["content_weight", "style_weight", "variation_weight"])
@pytest.mark.parametrize("form", FORMS)
def test_each_term_alone(impl, reference, form, alone):
    """A term a thousand times smaller than the others would hide behind them."""
    weights = {name: float(name == alone) for name in WEIGHTS if name != "content_scale"}
    candidate, torch_loss = weighted(getattr(impl, form), **weights), weighted(reference.loss, **weights)
    assert_gradients_match(candidate, torch_loss, *problem(), batch_axis=None)


@pytest.mark.parametrize("form", FORMS)
def test_content_at_the_finest_scale(impl, reference, form):
    params, W, b, _, A = problem()
    P = np.random.default_rng(1).uniform(size=(14, 15, 8))
    candidate = weighted(getattr(impl, form), content_scale=0)
    torch_loss = weighted(reference.loss, content_scale=0)
    assert_gradients_match(candidate, torch_loss, params, W, b, P, A, batch_axis=None)


@pytest.mark.parametrize("form", FORMS)
def test_relu_at_zero(impl, reference, form):
    """A black image without biases gives z = 0 everywhere, where torch takes ReLU's derivative as 0."""
    params, W, b, P, A = problem()
    params["image"], b = np.zeros((13, 17, 3)), np.zeros_like(b)
    _, grads = weighted(getattr(impl, form))(params, W, b, P, A)
    np.testing.assert_array_equal(grads["image"], 0)
    assert_gradients_match(weighted(getattr(impl, form)), weighted(reference.loss), params, W, b, P, A, batch_axis=None)


def test_numerical_derivative(impl):
    assert_gradients_match(weighted(impl.loss_and_grads), None, *problem(), batch_axis=None)


def test_same_as_vectorised(impl):
    loss, grads = weighted(impl.loss_and_grads_per_sample)(*problem())
    expected_loss, expected = weighted(impl.loss_and_grads)(*problem())
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-12)
    assert_same(grads["image"], expected["image"])


@pytest.mark.parametrize("form", FORMS)
def test_float32(impl, reference, form):
    given, function = problem(np.float32), weighted(getattr(impl, form))
    assert_gradients_match(function, weighted(reference.loss), *given, batch_axis=None)
    assert function(*given)[1]["image"].dtype == np.float32


# Two real photographs.


@pytest.fixture(scope="module")
def scene():
    """A temple of 64 by 96 pixels, a blossom, and the data that turn one into the other's style."""
    return draw.scene(64, 96, scales=3, size=5, filters=12)


def transfer_in_torch(reference, image, data, steps, lr=0.02):
    """The loop of the question with torch's autograd and torch's Adam."""
    image, data = torch.from_numpy(image).clone().requires_grad_(), [torch.from_numpy(value) for value in data]
    optimizer = torch.optim.Adam([image], lr=lr)
    for _ in range(steps):
        loss = sum(reference.loss({"image": image}, *data, **draw.WEIGHTS).values())
        (image.grad,) = torch.autograd.grad(loss, image)
        optimizer.step()
        with torch.no_grad():
            image.clamp_(-0.5, 0.5)
    return image.detach().numpy()


def transfer(loss_and_grads, image, data, steps, lr=0.02, step=adam.step, factor=1.0):
    """The same loop with hand-written gradients, all multiplied by `factor`, and a hand-written step."""
    params, state, losses = {"image": image}, {}, []
    for _ in range(steps):
        loss, grads = loss_and_grads(params, *data, **draw.WEIGHTS)
        params = step(params, {"image": factor * grads["image"]}, state, lr=lr)
        params = {"image": params["image"].clip(-0.5, 0.5)}
        losses.append(loss)
    return params["image"], losses


@pytest.fixture(scope="module")
def transferred(impl, scene):
    content, _, data = scene
    return transfer(impl.loss_and_grads, content, data, steps=100)


def test_the_same_image_after_100_steps(reference, scene, transferred):
    content, _, data = scene
    assert_same(transferred[0], transfer_in_torch(reference, content, data, steps=100), rtol=1e-12)  # measured: 3e-16


def test_transfer_is_this_loop(impl, scene):
    content, _, data = scene
    before = content.copy()
    expected, expected_losses = transfer(impl.loss_and_grads, content, data, steps=10)
    image, losses = impl.transfer(content, data, steps=10, **draw.WEIGHTS)
    np.testing.assert_array_equal(content, before)
    np.testing.assert_array_equal(image, expected)
    np.testing.assert_array_equal(losses, expected_losses)
    assert np.abs(image).max() == 0.5  # some colours have met the end of their range


def mean_distances(reference, scene, image):
    """The content and the style term of an image, unweighted."""
    data = [torch.from_numpy(value) for value in scene[2]]
    ones = {name: 1.0 for name in draw.WEIGHTS} | {"content_scale": draw.WEIGHTS["content_scale"]}
    terms = reference.loss({"image": torch.from_numpy(image)}, *data, **ones)
    return terms["content"].item(), terms["style"].item()


def test_it_is_a_style_transfer(reference, scene, transferred):
    """The style's distance is a small part of what it was; the content is nearer to the temple than the blossom is."""
    content, style, _ = scene
    (_, far), (blossom, near) = mean_distances(reference, scene, content), mean_distances(reference, scene, style)
    kept, left = mean_distances(reference, scene, transferred[0])
    assert near < 1e-25  # the blossom's own Gram matrices
    assert left < far / 25
    assert kept < blossom / 3


def test_the_picture_is_written(scene, transferred, tmp_path):
    content, style, _ = scene
    draw.save(tmp_path / "out.png", content, style, transferred[0])
    with Image.open(tmp_path / "out.png") as picture:
        assert (picture.width, picture.height) == (2 * (3 * 96 + 2 * 4), 2 * 64)
        pixels = np.asarray(picture)[::2, ::2]
    for k, image in enumerate((content, style, transferred[0])):
        shown = pixels[:, k * 100 : k * 100 + 96] / 255 - 0.5
        np.testing.assert_allclose(shown, image, rtol=0, atol=0.5 / 255 + 1e-12)


def test_filters_respond_alike_at_every_scale(impl):
    """Each filter's response to the style has mean square 1 before the bias, or coarse scales drown the fine."""
    style = draw.photograph("flower.jpg", 40, 56)
    W, b = impl.random_filters(np.random.default_rng(0), style, scales=3, size=5, filters=7)
    assert W.shape == (3, 5, 5, 3, 7)
    assert b.shape == (3, 7)
    assert 0.3 < np.abs(b).max() < 0.5
    for z, _, _ in impl.look(style, W, np.zeros_like(b)):
        np.testing.assert_allclose((z**2).mean(axis=(0, 1)), 1, rtol=1e-12)


# The question: Adam in the loop, and what a look at the picture does not show.


def test_adam_hides_a_wrong_scale(impl, scene):
    """Adam divides by the gradient's own size: a thousand times the gradient gives nearly the same picture."""
    content, _, data = scene
    image, _ = transfer(impl.loss_and_grads, content, data, steps=20, factor=1000.0)
    expected, _ = transfer(impl.loss_and_grads, content, data, steps=20)
    assert np.abs(image - expected).mean() < 1 / 255


def test_a_falling_loss_proves_nothing(scene, transferred):
    """Without ReLU's derivative the loss falls nearly as far, and the picture is a style transfer, but another one."""
    content, _, data = scene
    image, losses = transfer(relu_derivative_forgotten.loss_and_grads, content, data, steps=50)
    assert losses[-1] < 0.2 * losses[0]
    assert losses[-1] < 1.25 * transferred[1][49]
    assert np.abs(image - transferred[0]).mean() > 20 / 255


def test_the_std_scaled_step_swings(impl, scene, transferred):
    content, _, data = scene
    _, losses = transfer(impl.loss_and_grads, content, data, steps=40, step=std_scaled_step.step)
    assert np.count_nonzero(np.diff(losses) > 0) > 10
    assert np.all(np.diff(transferred[1]) < 0)


def test_the_std_scaled_step_is_not_adam(impl, scene):
    """The tutorial's step has one length for the whole image; Adam's first step is lr at every pixel."""
    content, _, data = scene
    inside = content.clip(-0.4, 0.4)
    grads = impl.loss_and_grads({"image": inside}, *data, **draw.WEIGHTS)[1]
    moved = inside - adam.step({"image": inside}, grads, {}, lr=0.02)["image"]
    scaled = inside - std_scaled_step.step({"image": inside}, grads, {}, lr=0.02)["image"]
    np.testing.assert_allclose(np.percentile(np.abs(moved), [5, 95]), 0.02, rtol=0.01)
    low, high = np.percentile(np.abs(scaled), [5, 95])
    assert high > 10 * low
