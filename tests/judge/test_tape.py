"""The reference as a program gives torch's own numbers: its parts, its local rules, and what a broken rule reaches."""

from __future__ import annotations

import gc
import itertools
import weakref
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gradproof import oracles
from gradproof.case import Problem
from gradproof.diagnosis.families import FAMILIES
from gradproof.diagnosis.fault import Fault, Model, hooks_of, run
from gradproof.diagnosis.places import find_places
from gradproof.diagnosis.survey import Survey
from gradproof.lanes import Lanes
from gradproof.tape import record
from tests.judge.corpus import models
from tests.judge.test_formulas import CASES, DEEP, IMAGE, ROW, A, B, array

LABELS = torch.tensor([2, 0, -100, 1])
WEIGHTS = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)


def fused():
    """Operations that torch does in one call, and that a tape holds as their parts."""
    yield F.mse_loss, (A, B)
    yield F.l1_loss, (A, B)
    yield F.smooth_l1_loss, (A, B)
    yield lambda a, b: F.huber_loss(a, b, delta=0.7, reduction="sum"), (A, B)
    yield lambda a: F.binary_cross_entropy(torch.sigmoid(a), torch.ones_like(a) * 0.3), (A,)
    yield lambda a: F.binary_cross_entropy_with_logits(a, torch.ones_like(a) * 0.3, pos_weight=WEIGHTS), (A,)
    yield lambda a: F.cross_entropy(a, LABELS.clamp(min=0)), (A,)
    yield lambda a: F.cross_entropy(a, LABELS), (A,)
    yield lambda a: F.cross_entropy(a, LABELS, weight=WEIGHTS), (A,)
    yield lambda a: F.cross_entropy(a, LABELS, weight=WEIGHTS, reduction="sum"), (A,)
    yield lambda a: F.cross_entropy(a, LABELS.clamp(min=0), label_smoothing=0.1), (A,)
    yield F.logsigmoid, (A,)
    yield lambda a: F.glu(a, 0), (A,)
    yield lambda a, b: F.prelu(a, b), (A, ROW)
    yield lambda a, b: torch.lerp(a, b, 0.3), (A, B)
    yield lambda a, b: torch.addcmul(a, a, b, value=0.5), (A, B)
    yield lambda a, b: torch.addmm(a, a, b, beta=0.5, alpha=2), (array(4, 3), array(3, 3))
    yield lambda a: a.repeat(2, 1), (ROW,)
    yield lambda a: a.var(dim=0) + a.std(dim=0, correction=0), (A,)
    yield lambda a: torch.linalg.vector_norm(a, dim=1), (A,)
    yield lambda a, b, c: F.bilinear(a, b, c), (A, B, array(2, 3, 3))
    yield lambda a, b, c: F.layer_norm(a, (3,), b, c), (A, ROW, array(3))
    yield lambda a, b, c: F.batch_norm(a, None, None, b, c, training=True), (A, ROW, array(3))
    yield lambda a, b, c: F.group_norm(a, 1, b, c), (IMAGE, array(3), array(3))
    words, begins = torch.tensor([[2, 0, 1], [0, 0, 2]]), torch.tensor([0, 1])
    yield lambda a: F.embedding_bag(words, a, mode="mean"), (array(3, 2),)
    yield lambda a, b: F.embedding_bag(words, a, mode="sum", per_sample_weights=b), (array(3, 2), array(2, 3))
    yield lambda a: F.embedding_bag(words.flatten(), a, begins, mode="mean"), (array(3, 2),)
    yield lambda a, b: F.embedding_bag(words[0], a, begins, mode="sum", per_sample_weights=b), (array(3, 2), array(3))
    padded, flat = torch.tensor([[2, 0, 1], [0, 1, 0]]), torch.tensor([2, 0, 1, 1, 0])
    yield lambda a: F.embedding_bag(padded, a, mode="mean", padding_idx=0), (array(3, 2),)
    yield lambda a: F.embedding_bag(flat, a, torch.tensor([0, 3]), mode="mean", padding_idx=0), (array(3, 2),)
    for corners, padding in itertools.product((True, False), ("zeros", "border")):
        options = {"padding_mode": padding, "align_corners": corners}
        yield partial(F.grid_sample, **options), (array(2, 3, 4, 5), 1.3 * array(2, 6, 7, 2))
    yield lambda a, b: F.scaled_dot_product_attention(a, b, b), (DEEP, array(2, 5, 3))
    yield lambda a, b: F.scaled_dot_product_attention(a, b, b, is_causal=True), (DEEP, array(2, 4, 3))
    yield F.gaussian_nll_loss, (A, B, np.abs(B) + 0.1)  # it clamps the variance where autograd does not see it
    modules = nn.LSTM(3, 2, num_layers=2, batch_first=True), nn.GRU(3, 2, batch_first=True), nn.RNN(3, 2)
    for module in (one.double() for one in modules):  # with weights of their own
        yield lambda a, module=module: module(a)[0], (DEEP,)
    yield lambda a: torch.stft(a.flatten(), 8, window=torch.hann_window(8), return_complex=True).abs(), (DEEP,)
    yield lambda a: torch.stack(a.split([1, 2, 1])[:1] + a.chunk(4)[1:]), (A,)


def summed(function):
    """A loss in which another number flows back into each entry of what the function gives."""

    def reference(params):
        value = function(*params.values())
        return (value * torch.linspace(-1, 2, value.numel(), dtype=value.dtype).reshape(value.shape)).sum()

    return reference


@pytest.mark.parametrize("case", list(fused()))
def test_fused_operations_are_their_parts(case):
    function, arrays = case
    params = {f"p{i}": one for i, one in enumerate(arrays)}
    truth = oracles.autograd(summed(function), params, ())
    tape = record(summed(function), params, (), truth)
    assert tape is not None
    np.testing.assert_allclose(tape.loss(), truth.loss, rtol=1e-12)


def test_the_logits_of_a_distribution_are_as_by_hand():
    """It takes their log-softmax apart, its softmax of that again, and cuts off what is below the lowest number."""

    def reference(params, actions):
        policy = torch.distributions.Categorical(logits=params["z"])
        return -policy.log_prob(actions).sum() - 0.1 * policy.entropy().sum()

    params, data = {"z": array(4, 3)}, (np.array([0, 2, 1, 2]),)
    tape = record(reference, params, data, oracles.autograd(reference, params, data))
    of_logits = {one.name for one in tape.nodes if tape.parameters["z"] in one.inputs}
    assert of_logits == {"logsumexp", "_log_softmax", "_softmax"}
    assert "clamp" not in {one.name for one in tape.nodes}


@pytest.mark.parametrize(("entry", "function", "params"), CASES, ids=[f"{i} {one[0]}" for i, one in enumerate(CASES)])
def test_local_rules_are_torchs(entry, function, params):
    truth = oracles.autograd(summed(function), params, ())
    for name, ours in record(summed(function), params, ()).clean.arrays().items():
        np.testing.assert_allclose(ours, truth.gradients[name], rtol=1e-12, atol=1e-13, err_msg=entry)


@pytest.mark.parametrize("function", [F.mish, torch.atan, torch.erf], ids=["mish", "atan", "erf"])
def test_local_rules_without_a_formula(function):
    truth = oracles.autograd(summed(function), {"a": A}, ())
    ours = record(summed(function), {"a": A}, ()).clean.arrays()
    np.testing.assert_allclose(ours["a"], truth.gradients["a"], rtol=1e-12, atol=1e-13)


def recurrent(params, x):
    gru = nn.GRU(2, 3, batch_first=True).to(x.dtype)
    weights = dict(zip(("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"), params.values(), strict=True))
    return torch.func.functional_call(gru, weights, (x,))[1].square().sum()


PARAMS = {"W": array(9, 2), "U": array(9, 3), "b": array(9), "c": array(9)}


def test_steps_of_a_fused_module_are_one_place():
    tape = record(recurrent, PARAMS, (array(4, 5, 2),))
    passages = {place.name: len(place.nodes) for place in find_places(tape) if place.name in ("tanh", "sigmoid")}
    assert passages == {"tanh": 5, "sigmoid": 5}


def test_steps_of_both_directions_and_all_layers_are_one_place_too():
    lstm = nn.LSTM(2, 3, num_layers=2, batch_first=True, bidirectional=True).double()
    tape = record(lambda params: lstm(params["x"])[0].square().sum(), {"x": array(4, 5, 2)}, ())
    passages = {len(place.nodes) for place in find_places(tape) if place.name == "sigmoid" and not place.everywhere}
    assert 2 * 2 * 5 in passages


def test_a_repeated_pair_of_operations_is_no_loop():
    def reference(params):
        x = params["x"]
        return F.layer_norm(x, (3,), params["g"], params["b"]).square().sum()

    tape = record(reference, {"x": A, "g": ROW, "b": array(3)}, ())
    assert {len(place.nodes) for place in find_places(tape)} == {1}


def test_what_is_multiplied_by_a_number_at_some_steps_is_a_place_of_its_own():
    """By hand, samples beyond a bound may have a weight of 1 that is no array."""

    def reference(params):
        weights = (params["a"], 1.0, params["b"], 2.0)
        return sum((weight * params["x"]).square().sum() for weight in weights)

    tape = record(reference, {"a": A, "b": B, "x": A + B}, ())
    products = [place for place in find_places(tape) if place.name == "mul"]
    assert [{len(node.inputs) for node in place.nodes} for place in products] == [{1}, {2}]


def towards_own_values(params, x):
    """Values that are drawn towards those one step later, which are held constant and written entry by entry."""
    values = torch.tanh(x @ params["W"])
    with torch.no_grad():
        targets = torch.zeros_like(values)
        for t in range(values.shape[1] - 1):
            targets[:, t] = 0.9 * values[:, t + 1] + x[:, t, 0]
    return (values - targets).square().sum()


def test_a_vector_times_a_matrix():
    """torch makes a row of the vector, and takes the row's axis from the product in place."""

    def reference(params):
        return torch.stack([torch.tanh(row @ params["W"]) for row in params["x"]]).square().sum()

    params = {"x": np.random.default_rng(0).normal(size=(3, 4)), "W": np.random.default_rng(1).normal(size=(4, 2))}
    assert record(reference, params, (), oracles.autograd(reference, params, ())) is not None


def test_what_is_done_without_gradients_is_cut_off():
    params, data = {"W": array(2)}, (array(4, 5, 2),)
    truth = oracles.autograd(towards_own_values, params, data)
    tape = record(towards_own_values, params, data, truth)
    np.testing.assert_allclose(tape.clean.arrays()["W"], truth.gradients["W"], rtol=1e-12)
    assert any(node.cut for node in tape.nodes)
    assert not tape.torn


def gate(z):
    return torch.sigmoid(z)


def gated(params):
    return (gate(params["a"]) * gate(params["b"]).flip(0)).sum()


def test_a_helper_is_a_place_for_each_call_and_one_for_all():
    tape = record(gated, {"a": A, "b": B}, ())
    assert sorted(len(place.nodes) for place in find_places(tape) if place.name == "sigmoid") == [1, 1, 2]


def test_only_what_a_broken_rule_reaches_is_done_again():
    tape = record(recurrent, PARAMS, (array(4, 5, 2),))
    (tanh,) = (place for place in find_places(tape) if place.name == "tanh")
    assert tape.clean.gradients.keys() == PARAMS.keys()
    counted = []
    vjp = tape.vjp
    tape.vjp = lambda node, *rest, **more: counted.append(node.index) or vjp(node, *rest, **more)
    tape.backward({tanh.nodes[0].index: lambda tape, node, grads, totals: [grads[0]]})
    assert counted
    assert max(counted) < tanh.nodes[0].index


def test_two_broken_rules_at_one_value_both_act():
    def reference(params):
        x = params["x"]
        return (torch.tanh(x) + torch.sigmoid(x)).sum()

    tape = record(reference, {"x": A}, ())
    x = tape.parameters["x"]
    users = tape.consumers[x]

    def without(user):
        def hook(tape, arriving, totals):
            return sum(grad for index, grad in arriving if index != user)

        return Fault("", "", values={x: hook})

    model = Model(reference, Problem({"x": A}, (), None), tape)
    gradients, _ = run(model, [without(users[0]), without(users[1])])
    np.testing.assert_allclose(gradients["x"], 0, atol=1e-15)


@pytest.mark.parametrize(
    "model", ["m10_embedding_mean", "m12_conv_maxpool", "m41_multi_head_einsum", "m48_bidirectional_rnn"]
)
@pytest.mark.parametrize("underneath", [0, 1])
def test_lanes_are_runs_of_their_own(model, underneath):
    """Many broken rules in one pass give what each gives alone, also on top of another one."""
    found = next(one for one in models() if one.name == model)
    params, data = found.problem()
    tape = record(found.reference, params, data)
    problem = Problem(params, data, found.batch_axis)
    survey = Survey(tape, problem)
    faults = [one for family in FAMILIES for one in family(survey) if one.local]
    base = tuple(one for one in faults if one.code == "wrong-sign")[:underneath]
    below = tape.backward(*hooks_of(base)) if base else tape.clean
    chosen = faults[:: len(faults) // 40]
    lanes = Lanes(tape, below, [hooks_of((*base, one)) for one in chosen])
    names, told = list(params), 0
    for lane, fault in enumerate(chosen):
        alone = run(Model(found.reference, problem, tape), (*base, fault))
        assert (alone is None) == (lane in lanes.failed)
        for name in names if alone is not None else ():
            in_lane = lanes.gradients[name][lane] if name in lanes.gradients else below.gradients[name]
            np.testing.assert_allclose(in_lane.numpy(), alone[0][name], rtol=1e-9, atol=1e-12)
            told += 1
    assert told > 60


def test_passes_are_gone_with_their_last_user():
    """A search makes thousands: they may not wait until garbage is collected."""
    tape = record(gated, {"a": A, "b": B}, ())
    other = tape.replay({tape.nodes[0].index: lambda node, inputs, values: [inputs[0].cos()]})
    backward = other.backward()
    other.forget()
    alive = weakref.ref(other), weakref.ref(backward)
    gc.disable()
    try:
        del other, backward
        assert [one() for one in alive] == [None, None]
    finally:
        gc.enable()
