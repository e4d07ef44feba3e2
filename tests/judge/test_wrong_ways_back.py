"""Mistakes on the way back alone, each in the smallest model that has it: the loss is right, the gradient is not."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gradproof import compare_gradients
from gradproof.diagnosis import resampling
from gradproof.diagnosis.survey import Survey
from tests.judge.test_other_functions import read_back
from tests.judge.test_small_models import STATES, X, Y, by_torch, told

LABELS = np.array([2, 0, 1, 2, 2, 0])
COLUMNS = np.random.default_rng(1).integers(0, 3, size=(6, 4))


pytestmark = pytest.mark.usefixtures("no_changes_of_code")


def numbers(*shape):
    """Normal numbers, the same for the same shape: no test depends on those before it."""
    return np.random.default_rng(shape).normal(size=shape)


SQUARE = numbers(4, 4) * 0.6


def as_if(value, wrong):
    """A value whose gradient is that of a wrong one."""
    return value.detach() + wrong - wrong.detach()


def named(right, wrong, params, *data):
    """The one finding about a candidate with the numbers of `wrong`; that of `right` itself is none."""
    assert compare_gradients(by_torch(right), right, params, *data).ok
    return told(by_torch(wrong), right, params, *data)


def squares(params, x, y, product=lambda x, w: x @ w):
    z = product(x, params["A"])
    return F.mse_loss(torch.tanh(z) @ params["B"], y) + 0.1 * params["A"].square().sum()


def test_a_transposed_product_beside_a_penalty():
    def turned(x, w):
        return as_if(x @ w.detach(), x.detach() @ w.T)

    params = {"A": SQUARE, "B": numbers(4, 3)}
    found = named(squares, lambda p, x, y: squares(p, x, y, turned), params, X, Y)
    assert found[0] == "transposed"
    assert "to A is transposed" in found[1]


def covariance(params, y, times=lambda a, p: a @ p @ a.T):
    p = torch.diag(torch.exp(params["s"]))
    for _ in range(4):
        p = times(params["A"], p) + torch.eye(4).to(p)
    return F.mse_loss(p[:3], y[:3].T @ y[:3, :3] @ params["C"])


def test_a_matrix_on_both_sides_without_its_transpose():
    def untransposed(a, p):
        own = a.detach()
        return as_if(a @ p.detach() @ a.T, a @ p.detach() @ a.T + own.T @ p @ own - own.T @ p.detach() @ own)

    params = {"A": SQUARE, "s": numbers(4), "C": numbers(3, 4)}
    found = named(covariance, lambda p, y: covariance(p, y, untransposed), params, Y)
    assert found[0] == "not-transposed"
    assert "A stands as it is wherever its transpose belongs" in found[1]


def gated(params, states, y, step=lambda h, f, c: (1 - f) * h + f * c):
    h = params["h"].expand(len(states), -1)
    for t in range(states.shape[1]):
        f = torch.sigmoid(states[:, t] @ params["F"])
        h = step(h, f, torch.tanh((f * h) @ params["U"]))
    return F.mse_loss(h @ params["W"], y)


@pytest.mark.parametrize(
    ("step", "code", "words"),
    [
        (lambda h, f, c: as_if((1 - f) * h + f * c, (1 - (2 * f.detach() - f)) * h + (2 * f.detach() - f) * c),
         "wrong-sign", "has the wrong sign"),
        (lambda h, f, c: as_if((1 - f) * h + f * c, f.detach() * c + (1 - f.detach()) * h), "missing-path",
         "nothing of the gradient flows back"),
    ],
    ids=["sign", "dropped"],
)
def test_what_a_line_sends_back_to_a_gate(step, code, words):
    params = {"h": numbers(4), "F": SQUARE, "U": SQUARE.T, "W": numbers(4, 3)}
    found = named(gated, lambda p, *d: gated(p, *d, step), params, STATES, Y)
    assert found[0] == code
    assert words in found[1]


def filtered(params, x, back=lambda t, y: y):
    """A recursion over two steps, whose coefficients are made of parameters."""
    a, b = torch.tanh(params["a"][0]), torch.tanh(params["a"][1])
    before = older = torch.zeros_like(x[:, 0])
    total = 0.0
    for t in range(x.shape[1]):
        y = x[:, t] * params["gain"] + a * back(t, before) + b * back(t - 1, older)
        before, older = y, before
        total = total + (y - 1).square().mean()
    return total


def test_a_recursion_over_two_steps_that_stops_early():
    params = {"a": np.array([0.6, -0.4]), "gain": np.array(0.8)}
    x = numbers(5, 8)
    found = named(filtered, lambda p, x: filtered(p, x, lambda t, y: y.detach() if t <= 3 else y), params, x)
    assert found[0] == "truncated-in-time"
    assert "dropped beyond step 3" in found[1]


def layers(params, x, y):
    a = x
    for k in (1, 2, 3):
        a = torch.sigmoid(a @ params[f"W{k}"] + params[f"b{k}"])
    return F.mse_loss(a, y)


@pytest.mark.parametrize("samples", [1, 6], ids=["over all", "over each sample"])
def test_biases_of_two_maps_averaged(samples):
    """Each is a fraction of the right one, and each another: one mistake all the same."""

    def network(params, images, y, bias=lambda b, entries: b):
        h = torch.tanh(F.conv2d(images, params["A"], bias(params["a"], 4 * 3)))
        h = torch.tanh(F.conv2d(h, params["B"], bias(params["b"], 3 * 2)))
        return F.mse_loss(h.flatten(1) @ params["W"], y)

    def averaged(b, entries):
        return as_if(b, b / (entries * 6 / samples))

    params = {"A": numbers(3, 2, 2, 2), "a": numbers(3), "B": numbers(2, 3, 2, 2), "b": numbers(2), "W": numbers(12, 3)}
    found = named(network, lambda p, *d: network(p, *d, averaged), params, numbers(6, 2, 5, 4), Y)
    assert found[0] == "wrong-reduction"
    assert "but for a mean over entries that should be a sum" in found[1]


def pooled(params, images, y, pool=lambda z: F.avg_pool2d(z, 2)):
    h = pool(torch.tanh(F.conv2d(images, params["A"], params["a"], padding=1)))
    return F.mse_loss(h.flatten(1) @ params["W"], y)


def test_an_average_over_windows_that_is_not_divided_on_the_way_back(case_of):
    def undivided(z):
        return as_if(F.avg_pool2d(z, 2), 4 * F.avg_pool2d(z, 2))

    params = {"A": numbers(3, 2, 3, 3), "a": numbers(3), "W": numbers(18, 3)}
    case = case_of(by_torch(lambda p, *d: pooled(p, *d, undivided)), pooled, params, numbers(6, 2, 6, 4), Y)
    told = {fault.message: fault.code for fault in resampling.faults(Survey(case.tape, case.problem))}
    assert [code for message, code in told.items() if message.endswith("every entry of its window, undivided")] == [
        "wrong-reduction"
    ]


def read_out(params, x, y, weighted=lambda h, v: h @ v):
    return (weighted(torch.tanh(x @ params["A"]), params["v"]) - y[:, :1]).square().mean()


def test_a_weighting_that_is_left_out():
    def plain(h, v):
        return as_if(h @ v, h.sum(1, keepdim=True) + h.detach() @ v)

    params = {"A": numbers(4, 5), "v": numbers(5, 1)}
    found = named(read_out, lambda p, *d: read_out(p, *d, plain), params, numbers(6, 4), Y)
    assert found[0] == "missing-derivative"
    assert "the weighting by v is left out" in found[1]


def past_a_norm(params, x, y, skip=lambda h, normed: h):
    h = torch.tanh(x @ params["A"])
    normed = F.layer_norm(h, (4,))
    return F.mse_loss((skip(h, normed) + torch.tanh(normed @ params["B"])) @ params["C"], y)


def test_a_skip_connection_whose_gradient_is_sent_through_what_it_skips():
    params = {"A": numbers(4, 4), "B": SQUARE, "C": numbers(4, 3)}
    found = named(past_a_norm, lambda p, *d: past_a_norm(p, *d, as_if), params, numbers(6, 4), Y)
    assert found[0] == "missing-path"
    assert "it is added before the way back through that, and belongs behind it" in found[1]


def shared_heads(params, states, y, laid_out=lambda k: k.repeat_interleave(3, dim=1)):
    k = laid_out(torch.tanh(states @ params["A"]).unflatten(2, (2, 2)).transpose(1, 2))
    return F.mse_loss((k * params["q"][:, None]).sum((1, 2, 3))[:, None] * params["v"], y)


@pytest.mark.parametrize(
    ("laid_out", "code", "words"),
    [
        (lambda k: torch.stack([k.detach(), k.detach(), k], 2).flatten(1, 2), "overwritten", "the last of its 3"),
        (lambda k: torch.stack([k, k.detach(), k.detach()], 2).flatten(1, 2), "overwritten", "the first of its 3"),
        (
            lambda k: as_if(k.detach().repeat_interleave(3, dim=1), torch.cat([k, k, k], dim=1)),
            "wrong-axis",
            "are taken to lie in another order",
        ),
    ],
    ids=["last", "first", "another order"],
)
def test_copies_of_an_array(laid_out, code, words):
    params = {"A": SQUARE, "q": numbers(6, 2), "v": numbers(3)}
    found = named(shared_heads, lambda p, *d: shared_heads(p, *d, laid_out), params, STATES, Y)
    assert found[0] == code
    assert words in found[1]


def overlap(params, x, y, smooth=1.0):
    p = torch.sigmoid(x @ params["A"])
    return 1 - ((2 * (p[:, :3] * y**2).sum(0) + smooth) / ((p**2).sum() + (y**2).sum(0) + smooth)).mean()


def test_a_constant_that_is_added_twice_and_left_out_on_the_way_back():
    def smoothed_forward_only(params, x, y):
        return as_if(overlap(params, x, y), overlap(params, x, y, 0.0))

    found = named(overlap, smoothed_forward_only, {"A": SQUARE}, X, Y)
    assert found[0] == "different-function"
    assert "the constant 1 is left out in all 2 places of a line that adds it" in found[1]


def test_half_a_penalty_is_not_one_that_is_missing():
    def ridge(params, x, y, gradient=lambda w: w):
        fit = F.mse_loss(x @ params["A"] @ params["B"], y)
        return {"fit": fit, "ridge": 0.05 * (gradient(params["A"]).square().sum() + params["B"].square().sum())}

    def halved(params, x, y):
        return sum(ridge(params, x, y, lambda w: as_if(w, w / 2)).values())

    params = {"A": SQUARE, "B": numbers(4, 3)}
    assert compare_gradients(by_torch(lambda *given: sum(ridge(*given).values())), ridge, params, X, Y).ok
    code, message = told(by_torch(halved), ridge, params, X, Y)
    assert code == "wrong-scale"
    assert "the penalty on A has 0.5 times its weight" in message


def test_what_is_zero_lets_nothing_through():
    """A quotient that is differentiated in its numerator only, but for one parameter of its denominator."""

    def dispersed(params, x, y, below=lambda mu: mu):
        mu, strength = torch.exp(x @ params["beta"]), torch.exp(params["lnalpha"])
        a1 = 1 + strength * mu**0.5
        a2 = mu + strength * mu**0.5 * y
        if below(mu) is not mu:
            return (y * torch.log(a1) + a2 / (1 + strength * below(mu) ** 0.5)).mean()
        return (y * torch.log(a1) + a2 / a1).mean()

    params = {"beta": 0.3 * numbers(4), "lnalpha": np.array(-0.7)}
    y = np.abs(numbers(6))
    code, message = named(dispersed, lambda *d: dispersed(*d, lambda mu: mu.detach()), params, X, y)
    assert code == "missing-path"
    assert "nothing of the gradient comes through" in message


def test_a_penalty_that_is_subtracted_is_none_that_is_missing():
    """Of a parameter that is used in parts besides."""

    def ridge(params, x, y, sign=lambda w: w):
        z = x @ params["A"][:-1] + params["A"][-1]
        return F.mse_loss(torch.tanh(z), y) + 0.05 * sign(params["A"]).square().sum()

    code, message = named(ridge, lambda *d: ridge(*d, lambda w: as_if(w, -w)), {"A": numbers(5, 3)}, X, Y)
    assert code == "wrong-sign"
    assert "has the wrong sign" in message


def test_the_slope_of_a_function_within_another_in_terms_of_the_whole():
    def capped(params, x, y, slope=None):
        z = x @ params["A"]
        scores = 1.5 * torch.tanh(z / 1.5) - 0.2
        scores = scores if slope is None else as_if(scores, z * (1 - scores.detach() ** 2))
        return F.mse_loss(torch.softmax(scores, 1) @ params["B"], y)

    params = {"A": numbers(4, 4), "B": numbers(4, 3)}
    code, message = named(capped, lambda *d: capped(*d, slope="of the whole"), params, X, Y)
    assert code == "derivative-at-wrong-point"
    assert "the derivative of the `tanh` in " in message
    assert "is given the output of the whole" in message


@pytest.mark.parametrize("mode", ["reflect", "replicate"])
def test_what_flows_back_from_a_border_is_dropped(mode):
    def bordered(params, x, border=lambda h: F.pad(h, (1, 1, 1, 1), mode=mode)):
        h = torch.tanh(F.conv2d(x, params["K"], padding=1))
        return F.conv2d(border(h), params["L"]).square().mean()

    def inside_only(h):
        return as_if(F.pad(h, (1, 1, 1, 1), mode=mode), F.pad(h, (1, 1, 1, 1)))

    params = {"K": numbers(2, 2, 3, 3), "L": numbers(3, 2, 3, 3)}
    code, message = named(bordered, lambda p, x: bordered(p, x, inside_only), params, numbers(4, 2, 5, 6))
    assert code == "missing-path"
    assert "is dropped: only what comes from inside it is kept" in message


def test_one_term_of_a_factor_is_a_path_that_is_missing():
    """z * (c - h), of which the gradient of z takes c alone."""

    def blended(params, x, y, gate=lambda z, c, h: h + z * (c - h)):
        h = torch.tanh(x @ params["A"])
        z, c = torch.sigmoid(x @ params["F"]), torch.tanh(h @ params["U"])
        return F.mse_loss(gate(z, c, h) @ params["W"], y)

    def one_term(z, c, h):
        right = h + z.detach() * (c - h)
        return right + (z - z.detach()) * c.detach()

    params = {"A": SQUARE, "F": SQUARE.T, "U": SQUARE, "W": numbers(4, 3)}
    found = named(blended, lambda p, *d: blended(p, *d, one_term), params, X, Y)
    assert found[0] == "missing-path"
    assert "of which it is a part" in found[1]


class SlopeOfTanh(torch.autograd.Function):
    """tanh, with its slope alone as the gradient, whatever arrives."""

    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return torch.tanh(z)

    @staticmethod
    def backward(ctx, grad):
        return 1 - torch.tanh(ctx.saved_tensors[0]) ** 2


def test_a_slope_in_the_place_of_what_flows_back():
    def network(params, x, y, activation=torch.tanh):
        return F.mse_loss(activation(x @ params["A"]) @ params["B"], y)

    params = {"A": numbers(4, 5), "B": numbers(5, 3)}
    found = named(network, lambda p, x, y: network(p, x, y, SlopeOfTanh.apply), params, X, Y)
    assert found[0] == "wrong-operand"
    assert "flows back: it is not multiplied by what arrives from the loss" in found[1]


def of_the_last_sample(params, x, y):
    """Weights of the last sample alone, in every layer: `dW = a.T @ dz` without the sum over samples."""
    a = x
    for k in (1, 2, 3):
        w, first = params[f"W{k}"], len(x) - 1
        z = torch.cat([a[:first] @ w.detach(), a[first:].detach() @ w + (a[first:] - a[first:].detach()) @ w.detach()])
        a = torch.sigmoid(z + params[f"b{k}"])
    return F.mse_loss(a, y)


def test_the_same_mistake_in_each_layer_of_a_loop():
    sizes = (4, 5, 6, 3)
    params = {f"W{k}": numbers(*sizes[k - 1 : k + 1]) for k in (1, 2, 3)}
    params |= {f"b{k}": numbers(sizes[k]) for k in (1, 2, 3)}
    report = compare_gradients(by_torch(of_the_last_sample), layers, params, X, Y)
    assert {finding.code for finding in report.findings} == {"one-sample-only"}
    assert {name for finding in report.findings for name in finding.parameters} == {"W1", "W2", "W3"}


def smoothed(params, x, labels):
    return F.cross_entropy(x @ params["W"], labels, label_smoothing=0.2)


def test_labels_that_are_smoothed_in_the_loss_alone():
    def wrong(params, x, labels):
        return as_if(smoothed(params, x, labels), F.cross_entropy(x @ params["W"], labels))

    found = named(smoothed, wrong, {"W": numbers(4, 3)}, X, LABELS)
    assert found[0] == "different-function"
    assert "as if labels were not smoothed; but only on the way back" in found[1]


def surrogate(params, x, y, chosen=torch.min):
    ratio = torch.exp(torch.tanh(x @ params["A"]) @ params["w"])
    return -chosen(ratio * y[:, 0], ratio.clamp(0.8, 1.2) * y[:, 0]).mean()


@pytest.mark.parametrize(
    ("wrong", "code", "words"),
    [
        (lambda one, other: other, "different-function", "is taken for the smaller everywhere"),
        (lambda one, other: one + other, "missing-derivative", "goes to both arrays"),
        (torch.max, "different-function", "goes to the larger of the two"),
    ],
    ids=["one side", "both sides", "the other"],
)
def test_the_smaller_of_two(wrong, code, words):
    def by_another(params, x, y):
        return surrogate(params, x, y, lambda one, other: as_if(torch.min(one, other), wrong(one, other)))

    found = named(surrogate, by_another, {"A": SQUARE, "w": numbers(4)}, X, Y)
    assert found[0] == code
    assert words in found[1]


def weighted(params, x, y):
    raw = x[:, :1]
    own = (raw - raw.mean()) / raw.std()
    first, second = torch.tanh(x @ params["A"]) * own, torch.sigmoid(x @ params["C"]) * own
    return F.mse_loss(first @ params["B"] + torch.sin(second) @ params["B"], y)


def test_another_array_wherever_one_is_used():
    def wrong(params, x, y):
        raw = x[:, :1]
        own = (raw - raw.mean()) / raw.std()
        u, v = torch.tanh(x @ params["A"]), torch.sigmoid(x @ params["C"])
        first, second = as_if(u * own, u * raw), as_if(v * own, v * raw)
        return F.mse_loss(first @ params["B"] + torch.sin(second) @ params["B"], y)

    params = {"A": SQUARE, "C": SQUARE.T.copy(), "B": numbers(4, 3)}
    found = named(weighted, wrong, params, X, Y)
    assert found[0] == "wrong-operand"
    assert "in each of the 2 products with it" in found[1]


def votes(params, x, y):
    u = torch.tanh(x @ params["P"]).unflatten(1, (3, 2))
    made = torch.einsum("ide,nie->nid", params["V"], u)
    return F.mse_loss(torch.tanh(made).sum(2), y)


def test_another_array_in_an_einsum():
    def wrong(params, x, y):
        raw = x @ params["P"]
        u, other = torch.tanh(raw).unflatten(1, (3, 2)), raw.detach().unflatten(1, (3, 2))
        right = torch.einsum("ide,nie->nid", params["V"].detach(), u)
        made = as_if(torch.einsum("ide,nie->nid", params["V"], u),
                     right + torch.einsum("ide,nie->nid", params["V"], other))
        return F.mse_loss(torch.tanh(made).sum(2), y)

    params = {"P": numbers(4, 6), "V": numbers(3, 4, 2)}
    found = named(votes, wrong, params, X, Y)
    assert found[0] == "wrong-operand"
    assert "in the gradient of V" in found[1]


def differences(params, states, y):
    position = torch.tanh(states @ params["W"])
    before = torch.cat([torch.zeros_like(position[:, :1]), position[:, :-1]], dim=1)
    return (position - before).abs().sum() + F.mse_loss(position[:, 0] @ params["V"], y)


def test_a_moved_array_is_moved_back():
    def wrong(params, states, y):
        position = torch.tanh(states @ params["W"])
        before = torch.cat([torch.zeros_like(position[:, :1]), position[:, :-1]], dim=1)
        ahead = torch.cat([position[:, 1:], torch.zeros_like(position[:, :1])], dim=1)
        return (position - as_if(before, ahead)).abs().sum() + F.mse_loss(position[:, 0] @ params["V"], y)

    params = {"W": SQUARE, "V": numbers(4, 3)}
    found = named(differences, wrong, params, STATES, Y)
    assert found[0] == "shifted-in-time"
    assert "is moved the same way again, not back" in found[1]


def groups(params, x, y, labels):
    score = torch.exp(torch.tanh(x @ params["A"]))
    total = torch.zeros(3, score.shape[1], dtype=score.dtype).index_add(0, labels, score)
    return F.mse_loss((score / total[labels]) @ params["B"], y)


def test_a_softmax_within_groups_has_no_diagonal_jacobian():
    def diagonal(params, x, y, labels):
        score = torch.exp(torch.tanh(x @ params["A"]))
        total = torch.zeros(3, score.shape[1], dtype=score.dtype).index_add(0, labels, score)
        others = (total[labels] - score).detach()
        return F.mse_loss(as_if(score / total[labels], score / (others + score)) @ params["B"], y)

    params = {"A": SQUARE, "B": numbers(4, 3)}
    found = named(groups, diagonal, params, X, Y, LABELS)
    assert found[0] == "diagonal-jacobian"
    assert "entries of a group act on each other" in found[1]


def test_samples_with_equal_labels_overwrite_each_other():
    def reference(params, x, labels):
        hot = F.one_hot(labels, 3).to(x.dtype)
        return (torch.tanh(x @ params["A"]) * (hot @ params["U"])).square().mean()

    def wrong(params, x, labels):
        hot = F.one_hot(labels, 3).to(x.dtype)
        last = torch.tensor([labels.tolist()[i + 1 :].count(label) == 0 for i, label in enumerate(labels.tolist())])
        made = as_if(hot @ params["U"], torch.where(last[:, None], hot @ params["U"], 0.0))
        return (torch.tanh(x @ params["A"]) * made).square().mean()

    found = named(reference, wrong, {"A": SQUARE, "U": numbers(3, 4)}, X, LABELS)
    assert found[0] == "overwritten"
    assert "samples with equal labels overwrite each other" in found[1]


def test_labels_of_another_array():
    def reference(params, x, labels, columns):
        return F.cross_entropy(torch.tanh(x @ params["A"]) @ params["B"], labels) + 0 * columns.sum()

    def wrong(params, x, labels, columns):
        scores = torch.tanh(x @ params["A"]) @ params["B"]
        return as_if(reference(params, x, labels, columns), F.cross_entropy(scores, columns[:, 0]))

    found = named(reference, wrong, {"A": SQUARE, "B": numbers(4, 3)}, X, LABELS, COLUMNS)
    assert found[0] == "wrong-operand"
    assert "those in the first column of" in found[1]


def test_two_functions_of_one_parameter():
    def reference(params, x, y, slope=torch.tanh):
        p = params["p"]
        return F.mse_loss(torch.tanh(x[:, 0] * slope(p[0]) + x[:, 1] * slope(p[1])), y[:, 0])

    def wrong(params, x, y):
        return reference(params, x, y, lambda one: as_if(torch.tanh(one), one))

    found = named(reference, wrong, {"p": np.array([0.7, -0.4])}, X, Y)
    assert found[0] == "missing-derivative"
    assert "every `tanh` (of p)" in found[1]


def test_each_factor_multiplied_by_itself():
    def reference(params, x, y):
        return F.mse_loss((torch.sigmoid(x @ params["A"]) * torch.tanh(x @ params["C"])) @ params["B"], y)

    def wrong(params, x, y):
        s, t = torch.sigmoid(x @ params["A"]), torch.tanh(x @ params["C"])
        made = as_if(s * t, s * s.detach() + t * t.detach())
        return F.mse_loss(made @ params["B"], y)

    params = {"A": SQUARE, "C": SQUARE.T.copy(), "B": numbers(4, 3)}
    found = named(reference, wrong, params, X, Y)
    assert found[0] == "wrong-operand"
    assert "each factor is multiplied by itself" in found[1]


def attended(params, x, y, wrong=lambda z, share: share):
    z = x @ params["A"]
    e = torch.exp(z - z.amax(1, keepdim=True))
    share = e / e.sum(1, keepdim=True)
    return F.mse_loss(wrong(z, share) @ params["B"], y)


@pytest.mark.parametrize(
    ("slope", "code", "words"),
    [
        (lambda z, y: y * z - y * (y * z).sum(0, keepdim=True), "wrong-axis", "sum(g * y) goes along axis 0"),
        (lambda z, y: y * z + y * (y * z).sum(1, keepdim=True), "wrong-sign", "there is a plus for the minus"),
        (lambda z, y: y * z - y * y * z, "diagonal-jacobian", "each entry is taken to act on itself alone"),
    ],
    ids=["axis", "sign", "diagonal"],
)
def test_a_softmax_in_full(slope, code, words):
    def by_formula(params, x, y):
        return attended(params, x, y, lambda z, share: as_if(share, slope(z, share.detach())))

    found = named(attended, by_formula, {"A": SQUARE, "B": numbers(4, 3)}, X, Y)
    assert found[0] == code
    assert words in found[1] or code == "diagonal-jacobian"


def weighted_mean(params, x, y):
    return (y[:, 0].abs() * (torch.tanh(x @ params["A"]) @ params["w"] - y[:, 1]).square()).mean() + params["w"].sum()


def test_a_mean_that_is_divided_by_the_sum_of_the_weights():
    def by_the_sum(params, x, y):
        weights = y[:, 0].abs()
        right = weighted_mean(params, x, y) - params["w"].sum()
        return as_if(right, right * len(x) / weights.sum()) + params["w"].sum()

    found = named(weighted_mean, by_the_sum, {"A": SQUARE, "w": numbers(4)}, X, Y)
    assert found[0] == "wrong-reduction"
    assert "where it is divided by their number; but only on the way back" in found[1]


def normalised(params, images, y):
    h = F.batch_norm(F.conv2d(images, params["K"]), None, None, training=True)
    return F.mse_loss(torch.tanh(h).mean((2, 3)) @ params["B"], y)


def test_statistics_that_are_divided_by_the_images_alone():
    images = numbers(6, 2, 4, 3)

    def by_hand(params, images, y):
        """In each of the two means on the way back, a sum over images and places is divided by the images alone."""
        h = F.conv2d(images, params["K"])
        count, axes = h.shape[2] * h.shape[3], (0, 2, 3)
        mean = h.mean(axes, keepdim=True)
        centred = h - as_if(mean, count * mean)
        variance = centred.square().mean(axes, keepdim=True)
        n = centred / torch.sqrt(as_if(variance, count * variance) + 1e-5)
        return F.mse_loss(torch.tanh(n).mean((2, 3)) @ params["B"], y)

    found = named(normalised, by_hand, {"K": numbers(4, 2, 2, 2), "B": numbers(4, 3)}, images, Y)
    assert found[0] == "wrong-reduction"
    assert "in the gradient of each mean of this line, the sum is divided by 6" in found[1]


def test_states_that_were_turned_round_are_not_turned_back():
    def not_turned_back(read):
        right = torch.stack([h.detach() for h in read[::-1]], dim=1)
        return as_if(right, torch.stack(read, dim=1))

    params = {"A": SQUARE, "W": numbers(4, 3)}
    code, message = named(read_back, lambda p, x, y: read_back(p, x, y, not_turned_back), params, STATES, Y)
    assert code == "flipped"
    assert "goes to the 5 arrays that it joins in reversed order" in message


def classified(params, x, labels):
    return F.cross_entropy(torch.tanh(x @ params["A"]) @ params["B"], labels)


def test_only_the_predictions_are_divided_by_the_number_of_samples():
    def wrong(params, x, labels):
        z = torch.tanh(x @ params["A"]) @ params["B"]
        dz = torch.softmax(z, dim=1) / len(x) - F.one_hot(labels, 3)
        return as_if(F.cross_entropy(z, labels), (z * dz.detach()).sum())

    code, message = named(classified, wrong, {"A": SQUARE, "B": numbers(4, 3)}, X, LABELS)
    assert code == "wrong-scale"
    assert "the term `d_output` of `d_output - (exp(output) * sum(d_output))` is 6 times the right one" in message


def towards_targets(params, states, y, held=lambda target: target.detach()):
    """Temporal differences: each value is drawn towards the next one, which is held constant."""
    values = torch.tanh(states @ params["A"]) @ params["v"]
    return (values[:, :-1] - held(0.9 * values[:, 1:] + y[:, :1])).square().mean()


def without_gradients(params, states, y):
    values = torch.tanh(states @ params["A"]) @ params["v"]
    with torch.no_grad():
        target = 0.9 * values[:, 1:] + y[:, :1]
    return (values[:, :-1] - target).square().mean()


@pytest.mark.parametrize("reference", [towards_targets, without_gradients], ids=["detach", "no_grad"])
def test_a_gradient_through_what_is_held_constant(reference):
    def let_through(params, states, y):
        return towards_targets(params, states, y, lambda target: target)

    code, message = named(reference, let_through, {"A": SQUARE, "v": numbers(4)}, STATES, Y)
    assert code == "different-function"
    assert "the gradient flows through what the reference holds constant" in message


def test_a_bias_is_summed_over_its_own_units_too():
    def layer(params, x, y):
        return F.mse_loss(torch.tanh(x @ params["A"] + params["b"]) @ params["B"], y)

    def summed(params, x, y):
        b = params["b"]
        return layer(params | {"b": as_if(b, b.sum().expand(len(b)))}, x, y)

    params = {"A": SQUARE, "b": numbers(4), "B": numbers(4, 3)}
    code, message = named(layer, summed, params, X, Y)
    assert code == "wrong-reduction"
    assert "the right one, summed over axis 0 as well" in message


def cell(params, states, y):
    c, read = torch.zeros(len(states), 4, dtype=states.dtype), 0
    for t in range(states.shape[1]):
        c = 0.7 * c + params["i"] * torch.tanh(states[:, t] @ params["A"])
        read = read + (t + 1) * torch.tanh(c)
    return F.mse_loss(read @ params["W"], y)


def test_a_bracket_that_is_closed_before_the_derivative():
    """`carried * i + own * i * (1 - g**2)`: the derivative is in one of the two ways that lead on from a cell."""

    def wrong(params, states, y):
        c, read = torch.zeros(len(states), 4, dtype=states.dtype), 0
        for t in range(states.shape[1]):
            z = states[:, t] @ params["A"]
            g = torch.tanh(z)
            read = read + (t + 1) * torch.tanh(0.7 * c + params["i"] * g)
            c = 0.7 * c + params["i"] * as_if(g, z)
        return F.mse_loss(read @ params["W"], y)

    code, message = named(cell, wrong, {"A": SQUARE, "i": numbers(4), "W": numbers(4, 3)}, STATES, Y)
    assert code == "missing-derivative"
    assert "is left out; but only for what comes from line" in message


def in_two_steps(params, x, labels, sigmoid=torch.sigmoid):
    """What a reference with `binary_cross_entropy_with_logits` leaves out: the sigmoid, then the cross-entropy."""
    p = sigmoid(torch.tanh(x @ params["A"]) @ params["B"])
    return F.binary_cross_entropy(p, labels)


def in_one_step(params, x, labels):
    return F.binary_cross_entropy_with_logits(torch.tanh(x @ params["A"]) @ params["B"], labels)


def at_its_output(z):
    p = torch.sigmoid(z)
    return as_if(p, (torch.sigmoid(p) * (1 - torch.sigmoid(p))).detach() * z)


def one_factor(z):
    p = torch.sigmoid(z)
    return as_if(p, (1 - p).detach() * z)


@pytest.mark.parametrize(
    ("sigmoid", "code", "words"),
    [
        (at_its_output, "derivative-at-wrong-point", "is taken at its output instead of its input"),
        (one_factor, "missing-derivative", "the factor `output` of `output * (1 - output)` is left out"),
    ],
    ids=["point", "factor"],
)
def test_a_fused_loss_is_gone_back_through_in_two_steps(sigmoid, code, words):
    params, labels = {"A": SQUARE, "B": numbers(4, 3)}, (Y > 0).astype(float)
    found = named(in_one_step, lambda p, *d: in_two_steps(p, *d, sigmoid), params, X, labels)
    assert found[0] == code
    assert words in found[1]
    assert "`sigmoid` of `binary_cross_entropy_with_logits`" in found[1]


def by_entry(p):
    """`p * (1 - p)`, entry by entry, for the derivative of a softmax."""
    return lambda z: as_if(p(z), z * (p(z) * (1 - p(z))).detach())


def without_division(p):
    """The softmax's whole derivative, behind a `-1` where `-1 / p` belongs."""
    return lambda z: as_if(p(z), p(z) * p(z).detach())


@pytest.mark.parametrize(
    ("slip", "code", "words"),
    [
        (by_entry, "diagonal-jacobian", "softmax"),
        (without_division, "missing-derivative", "`log` of `log_softmax`"),
    ],
    ids=["jacobian", "division"],
)
def test_a_softmax_and_its_loss_are_gone_back_through_one_after_the_other(slip, code, words):
    def reference(params, x, labels):
        return F.cross_entropy(torch.tanh(x @ params["A"]) @ params["B"], labels)

    def wrong(params, x, labels):
        softmax = slip(lambda z: torch.softmax(z, 1))
        return F.nll_loss(softmax(torch.tanh(x @ params["A"]) @ params["B"]).log(), labels)

    found = named(reference, wrong, {"A": SQUARE, "B": numbers(4, 3)}, X, LABELS)
    assert found[0] == code
    assert words in found[1]


def two_stages(params, x, y, rates=lambda k, t: (k, k)):
    """Heun's method: each step takes the rates twice."""
    k, c = torch.exp(params["k"]), x
    for t in range(4):
        first, second = rates(k, t)
        slope = -first * c
        c = c + 0.1 * (slope - second * torch.tanh(c + 0.2 * slope))
    return F.mse_loss(c @ params["W"], y)


def test_a_step_alone_that_uses_a_value_in_several_places():
    def of_the_first_step(k, t):
        return (k, k) if t == 0 else (k.detach(), k.detach())

    def wrong(params, x, y):
        return two_stages(params, x, y, of_the_first_step)

    code, message = named(two_stages, wrong, {"k": numbers(4) * 0.3, "W": numbers(4, 3)}, X, Y)
    assert code == "last-step-only"
    assert "is the contribution of the first step alone, not the sum over all 4" in message


def test_the_gradient_of_a_maximum_overwrites_that_of_the_mean():
    def pooled(h):
        return torch.cat([h.mean(1), 0.5 * h.amax(1)], 1)

    def assigned(h):
        at_most = (h == h.amax(1, keepdim=True)).detach()
        return torch.cat([torch.where(at_most, h.detach(), h).mean(1), 0.5 * h.amax(1)], 1)

    def model(params, states, y, pool=pooled):
        return F.mse_loss(pool(torch.tanh(states @ params["A"])) @ params["B"], y)

    def wrong(params, states, y):
        return model(params, states, y, assigned)

    code, message = named(model, wrong, {"A": SQUARE, "B": numbers(8, 3)}, STATES, Y)
    assert code == "overwritten"
    assert "overwrites the rest where it arrives" in message


def test_a_mask_left_out_is_no_other_function():
    mask = torch.tensor((numbers(6, 4) > 0) / 0.6)

    def dropped(params, x, y):
        return F.mse_loss((torch.relu(x @ params["A"]) * mask) @ params["B"], y)

    def wrong(params, x, y):
        h = torch.relu(x @ params["A"])
        return F.mse_loss(as_if(h * mask, h) @ params["B"], y)

    params = {"A": SQUARE, "B": numbers(4, 3)}
    assert named(dropped, wrong, params, X, Y)[0] == "missing-derivative"


def four_uses(params, x, y, back=lambda h, k: h):
    """A state that each step uses in four places, `back` of which pass a gradient on."""
    h = torch.tanh(x @ params["A"])
    for _ in range(3):
        one = torch.sin(back(h, 1))
        two = torch.tanh(back(h, 2) + 0.5 * one)
        three = back(h, 3) * two
        h = h + 0.3 * (one + two + three)
    return F.mse_loss(h @ params["B"], y)


def test_one_of_four_uses_passes_a_gradient_on_besides_the_state_itself():
    def wrong(params, x, y):
        return four_uses(params, x, y, lambda h, k: h if k == 1 else h.detach())

    code, message = named(four_uses, wrong, {"A": SQUARE, "B": numbers(4, 3)}, X, Y)
    assert code == "missing-path"
    assert "each of the 3 times" in message


def midpoints(params, x, y, kept=lambda c, start: c):
    """Three stages a step by one function, which on its way back needs what each of them was given."""

    def rate(c, start):
        A, given = params["A"], kept(c, start).detach()
        slope = torch.cos(given @ A).detach()
        return as_if(torch.sin(c @ A) - c, (given @ A + c @ A.detach()) * slope - c)

    c = x
    for _ in range(3):
        start = c.detach()
        first = rate(c, start)
        second = rate(c + 0.3 * first, start)
        third = rate(c + 0.5 * second, start)
        c = c + 0.2 * (first + second + third)
    return F.mse_loss(c @ params["B"], y)


def test_what_the_first_stage_was_given_is_kept_for_all_of_them():
    def reference(params, x, y):
        def rate(c):
            return torch.sin(c @ params["A"]) - c

        c = x
        for _ in range(3):
            first = rate(c)
            second = rate(c + 0.3 * first)
            third = rate(c + 0.5 * second)
            c = c + 0.2 * (first + second + third)
        return F.mse_loss(c @ params["B"], y)

    def wrong(params, x, y):
        return midpoints(params, x, y, lambda c, start: start)

    params = {"A": SQUARE, "B": numbers(4, 3)}
    assert compare_gradients(by_torch(midpoints), reference, params, X, Y).ok
    code, message = told(by_torch(wrong), reference, params, X, Y)
    assert code == "wrong-operand"
    assert "what the first of 3 calls has kept is used on the way back through each of them" in message


def test_another_delta_of_hubers_loss():
    def reference(params, x, y):
        return F.huber_loss(2 * torch.tanh(x @ params["A"]) @ params["B"], y, delta=0.8)

    def wrong(params, x, y):
        error = 2 * torch.tanh(x @ params["A"]) @ params["B"] - y
        right = F.huber_loss(error, torch.zeros_like(error), reduction="none", delta=0.8)
        return as_if(right, error.detach().clamp(-1, 1) * error).mean()

    code, message = named(reference, wrong, {"A": SQUARE, "B": numbers(4, 3)}, X, Y)
    assert code == "different-function"
    assert "is that of another loss, Huber's loss, delta 1" in message


def test_a_transpose_is_gone_back_through_by_a_reshape():
    def mixed(params, states, y, turned=lambda h: h.transpose(1, 2)):
        h = torch.tanh(states @ params["A"])
        return F.mse_loss(torch.sin(turned(h) @ params["T"]).mean(1) @ params["B"], y)

    def wrong(params, states, y):
        return mixed(params, states, y, lambda h: as_if(h.transpose(1, 2), h.reshape(len(h), 4, -1)))

    params = {"A": SQUARE, "T": numbers(STATES.shape[1], 4), "B": numbers(4, 3)}
    code, message = named(mixed, wrong, params, STATES, Y)
    assert code == "not-transposed"
    assert "is given the old shape, and not turned back" in message


def test_a_penalty_that_does_not_reach_one_of_the_parameters_behind_it():
    def model(params, x, y):
        theta = F.softplus(params["u"] + y @ params["V"])
        penalty = (theta**2 - 0.7 * torch.log(theta)).mean()
        return ((theta * x).sum(1) - y[:, 0]).square().mean() + penalty

    def wrong(params, x, y):
        theta = F.softplus(params["u"] + y @ params["V"])
        alone = F.softplus(params["u"] + (y @ params["V"]).detach())
        return ((theta * x).sum(1) - y[:, 0]).square().mean() + (alone**2 - 0.7 * torch.log(alone)).mean()

    code, message = named(model, wrong, {"u": numbers(4), "V": numbers(3, 4)}, X, Y)
    assert code == "missing-path"
    assert "where it is used 2 times; but only in what flows on to" in message


def test_beside_a_number_that_the_reference_makes_itself():
    """A route that is dropped, in a loss that is divided by a tensor of one number."""

    def model(params, x, y, other=lambda h: h):
        h = torch.tanh(x @ params["A"])
        return F.mse_loss(h @ params["B"], y) + (other(h) ** 2 / torch.tensor(3.0, dtype=h.dtype)).sum()

    params = {"A": SQUARE, "B": numbers(4, 3)}
    code, message = named(model, lambda p, x, y: model(p, x, y, torch.detach), params, X, Y)
    assert code == "missing-path"
    assert "back through" in message


@pytest.mark.parametrize(("times", "code"), [(0.0, "wrong-part-penalised"), (2.0, "wrong-term-weight")])
def test_the_penalty_on_one_parameter_of_several(times, code):
    def model(params, x, y, of_A=lambda penalty: penalty):
        penalty = of_A(params["A"].abs().sum()) + params["B"].abs().sum()
        return F.mse_loss(torch.tanh(x @ params["A"]) @ params["B"], y) + 0.1 * penalty

    params = {"A": SQUARE, "B": numbers(4, 3)}
    found = named(model, lambda p, x, y: model(p, x, y, lambda one: as_if(one, times * one)), params, X, Y)
    assert found[0] == code
    assert "the penalty" in found[1]
    assert "on A" in found[1]


def test_a_penalty_on_the_entries_that_each_sample_looks_up():
    def model(params, x, y, rows, of_a=lambda penalty: penalty):
        size = of_a(params["a"][rows] ** 2) + (params["A"][rows] ** 2).sum(1)
        return F.mse_loss((torch.tanh(x @ params["A"]) + params["a"][rows, None]) @ params["B"], y) + 0.1 * size.mean()

    params = {"A": SQUARE, "B": numbers(4, 3), "a": numbers(4)}
    rows = np.minimum(np.arange(len(X)), 2)
    code, message = named(model, lambda *given: model(*given, torch.detach), params, X, Y, rows)
    assert code == "wrong-part-penalised"
    assert message.startswith("the penalty is missing on a")


def test_another_activation_where_one_layer_does_not_show_it():
    """The last layer's ReLU is open everywhere: there, any slope of the other side gives the same."""

    def model(params, x, y, slope=0.1):
        h = x
        for name in ("A", "B", "C"):
            h = F.linear(h, params[name], params["b"] * (name == "C"))
            h = as_if(F.leaky_relu(h, 0.1), F.leaky_relu(h, slope))
        return F.mse_loss(h[:, :3], y)

    params = {"A": SQUARE, "B": SQUARE.T + 0.1, "C": SQUARE - 0.2, "b": np.full(4, 20.0)}
    code, message = named(model, lambda p, x, y: model(p, x, y, 0.0), params, X, Y)
    assert code == "different-function"
    assert "is that of another function, `relu`" in message


def test_a_sample_alone_is_not_told_where_it_contributes_nothing():
    def model(params, x, y, other=lambda a: a):
        def embedded(a, x):
            return torch.tanh(F.linear(x, a, params["b"]))

        one, two, three = embedded(params["A"], x), embedded(params["A"], x + 1), embedded(other(params["A"]), x - 1)
        gap = (one - two).square().sum(1) - (one - three).square().sum(1)
        return (gap * torch.arange(5.0, -1.0, -1.0, dtype=x.dtype)).mean() + one.mean()

    params = {"A": SQUARE, "b": numbers(4)}
    code, message = named(model, lambda p, x, y: model(p, x, y, torch.detach), params, X, Y)
    assert code == "missing-path"


def test_a_relu_that_is_left_out_is_no_scale():
    """Its slope is one number where it is not zero, and yet nothing is scaled."""

    def model(params, x, y, bent=lambda z: F.relu(z + 0.3)):
        return F.mse_loss(bent(x @ params["A"]) @ params["B"], y)

    def wrong(params, x, y):
        return model(params, x, y, lambda z: as_if(F.relu(z + 0.3), z))

    code, message = named(model, wrong, {"A": SQUARE, "B": numbers(4, 3)}, X, Y)
    assert code == "missing-derivative"
    assert "is left out of the chain rule" in message


def test_the_same_function_at_another_point():
    def margins(params, x, y):
        return torch.relu((x @ params["A"]) - (y @ params["B"]) + 0.5).mean()

    def wrong(params, x, y):
        apart = (x @ params["A"]) - (y @ params["B"])
        return as_if(torch.relu(apart + 0.5), torch.relu(apart)).mean()

    found = named(margins, wrong, {"A": numbers(4, 3), "B": numbers(3, 3)}, X, Y)
    assert found[0] == "derivative-at-wrong-point"
    assert "the derivative of the `relu` in" in found[1]


def test_every_gradient_zero():
    def network(params, x, y):
        return F.mse_loss(torch.tanh(x @ params["A"]) @ params["B"], y)

    def wrong(params, x, y):
        return network(params, x, y).detach() + 0 * sum(one.sum() for one in params.values())

    found = named(network, wrong, {"A": SQUARE, "B": numbers(4, 3)}, X, Y)
    assert found[0] == "missing-path"
    assert found[1].startswith("every gradient is zero")


def test_two_mistakes_have_the_parameters_that_each_of_them_is_in():
    def network(params, x, y):
        return F.mse_loss(torch.tanh(x @ params["A"] + params["a"]) @ params["B"], y)

    def by_hand(p, x, y):
        h = np.tanh(x @ p["A"] + p["a"])
        e = h @ p["B"] - y
        g = 2 * e / e.size
        dz = g @ p["B"].T
        return np.mean(e**2), {"A": x.T @ dz, "a": dz.sum(0), "B": -(h.T @ g)}

    params = {"A": SQUARE, "a": numbers(4), "B": numbers(4, 3)}
    found = compare_gradients(by_hand, network, params, X, Y).findings
    assert {one.code: one.parameters for one in found} == {"missing-derivative": ("A", "a"), "wrong-sign": ("B",)}


def test_a_term_that_one_gradient_lacks():
    def terms(params, x, y, kept=lambda a: a):
        a = kept(params["A"])
        return {
            "data": F.mse_loss(torch.tanh(x @ params["A"]) @ params["B"] + x @ params["A"][:, :3], y),
            "spread": torch.exp(2 * a).mean() + (params["B"] ** 2).mean() - 3 * a.mean(),
        }

    def wrong(params, x, y):
        return sum(terms(params, x, y, torch.detach).values())

    found = told(by_torch(wrong), terms, {"A": SQUARE, "B": numbers(4, 3)}, X, Y)
    assert found[0] == "wrong-term-weight"
    assert found[1].startswith("the gradient of A has nothing of the loss's term 'spread'")


def test_one_mistake_that_two_gradients_have_is_told_as_one():
    def network(params, x, y):
        return F.mse_loss(torch.tanh(x @ params["A"] + params["a"]) @ params["B"], y, reduction="sum")

    def by_hand(p, x, y):
        loss, g = 0.0, {"a": np.zeros_like(p["a"])}
        for x_i, y_i in zip(x, y, strict=True):
            h = np.tanh(x_i @ p["A"] + p["a"])
            e = h @ p["B"] - y_i
            dz = 2 * e @ p["B"].T * (1 - h**2)
            loss += np.sum(e**2)
            g["A"], g["B"] = np.outer(x_i, dz), np.outer(h, 2 * e)
            g["a"] += dz
        return loss, g

    report = compare_gradients(by_hand, network, {"A": SQUARE, "a": numbers(4), "B": numbers(4, 3)}, X, Y)
    assert {one.code for one in report.findings} == {"one-sample-only"}
    assert "exactly those of the same mistake in 2 places" in str(report)


@pytest.mark.parametrize("diagonal", [True, False])
def test_the_slope_of_a_softmax_once_more_where_samples_are_columns(diagonal):
    def model(params, x, labels, hook=None):
        scores = params["B"] @ torch.tanh(params["A"] @ x)
        if hook is not None:
            y = torch.softmax(scores, 0).detach()
            scores.register_hook(lambda grad: hook(y, grad))
        return F.cross_entropy(scores.T, labels)

    def again(y, grad):
        return grad * y * (1 - y) if diagonal else y * (grad - (grad * y).sum(0, keepdim=True))

    params = {"A": SQUARE, "B": numbers(3, 4)}
    code, message = named(model, lambda *given: model(*given, again), params, X.T, LABELS)
    assert code == "extra-derivative"
    assert "softmax of each column" in message


class Strided(torch.autograd.Function):
    """A convolution whose input gradient is put together as if its windows lay one entry apart."""

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return F.conv2d(x, w, stride=2, padding=1)

    @staticmethod
    def backward(ctx, dy):
        x, w = ctx.saved_tensors
        padded = F.pad(torch.zeros_like(x), (1, 1, 1, 1))
        for i, j in np.ndindex(dy.shape[2:]):
            padded[:, :, i : i + w.shape[2], j : j + w.shape[3]] += torch.einsum("no,ocij->ncij", dy[:, :, i, j], w)
        dw = torch.nn.grad.conv2d_weight(x, w.shape, dy, stride=2, padding=1)
        return padded[:, :, 1:-1, 1:-1], dw


def test_a_stride_that_is_left_out_where_windows_are_put_back():
    def model(params, x, conv=lambda x, w: F.conv2d(x, w, stride=2, padding=1)):
        h = conv(F.conv2d(x, params["K"], padding=1), params["L"])
        return h.square().mean()

    params = {"K": numbers(2, 1, 3, 3), "L": numbers(3, 2, 3, 3)}
    code, message = named(model, lambda p, x: model(p, x, Strided.apply), params, numbers(4, 1, 6, 7))
    assert code == "wrong-operand"
    assert "windows one entry apart: the stride is left out" in message


def bells(params, x):
    return torch.exp(-math.log(2) * ((x - params["m"]) / params["s"]) ** 2).sum()


def test_a_negative_constant_is_left_out_and_its_sign_is_kept():
    def wrong(params, x):
        exponent = -math.log(2) * ((x - params["m"]) / params["s"]) ** 2
        return torch.exp(as_if(exponent, exponent / math.log(2))).sum()

    found = named(bells, wrong, {"m": numbers(5), "s": 1 + numbers(5) ** 2}, numbers(4, 5))
    assert found[0] == "wrong-scale"
    assert "is left out, but for its sign" in found[1]


def softly(params, x, y):
    return F.mse_loss(F.softsign(x @ params["W"] + params["b"]) @ params["V"], y)


def test_a_function_that_torch_spells_out_is_told_by_its_name():
    def wrong(params, x, y):
        z = x @ params["W"] + params["b"]
        h = F.softsign(z)
        return F.mse_loss(as_if(h, z * (1 - h**2).detach()) @ params["V"], y)

    found = named(softly, wrong, {"W": SQUARE, "b": numbers(4), "V": numbers(4, 3)}, X, Y)
    assert found[0] == "different-function"
    if sys.version_info >= (3, 11):  # which know the source text of a call
        assert "the derivative of `softsign` is that of another function, `tanh`" in found[1]


def bent(params, x, y):
    return F.mse_loss(F.elu(x @ params["W"], alpha=0.6) @ params["V"], y)


def test_the_same_function_with_its_usual_constant_is_told_as_such():
    def wrong(params, x, y):
        z = x @ params["W"]
        return F.mse_loss(as_if(F.elu(z, alpha=0.6), F.elu(z)) @ params["V"], y)

    found = named(bent, wrong, {"W": SQUARE, "V": numbers(4, 3)}, X, Y)
    assert found[0] == "different-function"
    assert "is that of `elu` with its usual constant" in found[1]
