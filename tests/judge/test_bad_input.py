"""What a caller may get wrong: each comes back as an error that says what to do, without a frame of ours."""

import re
import traceback

import numpy as np
import pytest
import torch

from gradproof import assert_gradients_match, compare_gradients, compare_layers, compare_updates
from tests.judge.network import candidate, problem, reference

PARAMS, X, Y = problem()


def judged(params=PARAMS, x=X, y=Y, by=reference, **options):
    return compare_gradients(candidate, by, params, x, y, **options)


PARAMETERS = {
    "None": (None, TypeError, "params must be a dict of arrays by name, with at least one; it is None"),
    "a list": ([X], TypeError, "params must be a dict of arrays by name, with at least one; it is a list of 1"),
    "an array": (X, TypeError, "params must be a dict of arrays by name, with at least one; it is an array of shape"),
    "empty": ({}, TypeError, "params must be a dict of arrays by name, with at least one; it is empty"),
    "integers": (
        {"W1": np.arange(6)},
        TypeError,
        "params['W1'] must be a floating-point array; its dtype is int64 (np.asarray(..., dtype=float) makes it one)",
    ),
    "booleans": ({"W1": X > 0}, TypeError, "params['W1'] must be an array of numbers; it is an array of shape (7, 3)"),
    "complex": ({"W1": X + 1j}, TypeError, "params['W1'] must be a floating-point array; its dtype is complex128"),
    "strings": ({"W1": "abc"}, TypeError, "params['W1'] must be an array of numbers; it is a str"),
    "objects": ({"W1": [[1.0], [2.0, 3.0]]}, TypeError, "params['W1'] must be an array of numbers; it is a list of 2"),
    "a dict in it": ({"W1": {"a": X}}, TypeError, "params['W1'] must be an array of numbers; it is a dict of 1"),
    "no entries": ({"W1": np.ones((0, 3))}, ValueError, "params['W1'] has no entries (shape (0, 3))"),
    "a key that is no name": ({0: X}, TypeError, "the keys of params must be names, such as 'W1'; one is 0"),
    "an empty key": ({"": X}, TypeError, "the keys of params must be names, such as 'W1'; one is ''"),
    "more precise than torch": (
        {"W1": X.astype(np.longdouble)},
        TypeError,
        f"params['W1'] is of dtype {np.dtype(np.longdouble)}, which torch does not have; use float64",
    ),
}


@pytest.mark.parametrize(("params", "error", "said"), PARAMETERS.values(), ids=PARAMETERS)
def test_parameters(params, error, said):
    with pytest.raises(error, match=f"^{re.escape(said)}"):
        judged(params)


def test_parameters_that_can_be_made_arrays():
    params = {name: value.tolist() for name, value in PARAMS.items()}
    assert judged(params).ok
    assert judged({name: torch.tensor(value, requires_grad=True) for name, value in PARAMS.items()}).ok


@pytest.mark.parametrize("kind", [np.ndarray.tolist, torch.tensor, np.asfortranarray])
def test_data_that_can_be_made_arrays(kind):
    assert judged(x=kind(X), y=kind(Y)).ok


@pytest.mark.parametrize(
    "extra", [None, "mean", 3, 0.5, True, np.int32(3), [[1, 2], [3]], {"a": X}, np.array(["a", "b"])]
)
def test_data_of_any_other_kind_reaches_both_sides(extra):
    seen = []

    def looking(params, x, y, extra):
        seen.append(extra)
        return candidate(params, x, y)

    def by(params, x, y, extra):
        seen.append(extra)
        return reference(params, x, y)

    assert compare_gradients(looking, by, PARAMS, X, Y, extra).ok
    if isinstance(extra, (float, int, np.generic)):
        assert all(one.shape == () and one == extra for one in seen)
    elif isinstance(extra, dict):
        assert all(np.array_equal(one["a"], X) for one in seen)
        assert {type(one["a"]) for one in seen} == {np.ndarray, torch.Tensor}
    else:
        assert all(np.array_equal(one, extra) if isinstance(extra, np.ndarray) else one == extra for one in seen)


def test_integers_come_as_int64_and_booleans_as_they_are():
    kinds = []

    def by(params, x, y, labels, mask):
        kinds.append((labels.dtype, mask.dtype))
        return reference(params, x, y)

    labels = np.zeros(7, dtype=np.uint8)
    assert compare_gradients(lambda p, x, y, *_: candidate(p, x, y), by, PARAMS, X, Y, labels, labels > 0).ok
    assert set(kinds) == {(torch.int64, torch.bool)}


@pytest.mark.parametrize("function", [None, 3, {"W1": X}, candidate(PARAMS, X, Y)])
def test_a_candidate_that_is_no_function(function):
    with pytest.raises(TypeError, match=r"candidate must be a function; it is .* \(give the function itself, not its"):
        compare_gradients(function, reference, PARAMS, X, Y)


@pytest.mark.parametrize("function", [3, "torch", torch.zeros(())])
def test_a_reference_that_is_no_function(function):
    with pytest.raises(TypeError, match="reference must be a function; it is a"):
        judged(by=function)


@pytest.mark.parametrize("axis", [2, -3, 7])
def test_a_batch_axis_that_no_array_has(axis):
    said = f"batch_axis={axis} is no axis of any data array (x (7, 3), y (7, 2)); None says that there is none"
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        judged(batch_axis=axis)


@pytest.mark.parametrize("axis", ["0", 0.0, True, (0, 1)])
def test_a_batch_axis_that_is_no_axis(axis):
    with pytest.raises(TypeError, match="batch_axis must be an axis of the data arrays, or None where there is none"):
        judged(batch_axis=axis)


@pytest.mark.parametrize("axis", [0, 1, -1, -2, None, np.int64(0)])
def test_any_batch_axis_that_there_is(axis):
    assert judged(batch_axis=axis).ok


def test_without_data_there_is_no_batch_axis_to_miss():
    assert compare_gradients(lambda p: (p["w"].sum(), {"w": np.ones(3)}), lambda p: p["w"].sum(), {"w": np.ones(3)}).ok


@pytest.mark.parametrize("name", ["rtol", "atol"])
@pytest.mark.parametrize("value", [-1e-9, float("nan"), float("inf"), "1e-6"])
def test_a_tolerance_that_is_none(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be a number of at least 0, or None for the table's; it is "):
        judged(**{name: value})


def test_tolerances_that_the_caller_sets():
    def coarse(params, x, y):
        loss, grads = candidate(params, x, y)
        return loss, {name: value * (1 + 1e-7) for name, value in grads.items()}

    assert not compare_gradients(coarse, reference, PARAMS, X, Y, diagnose=False).ok
    assert not compare_gradients(coarse, reference, PARAMS, X, Y, diagnose=False, rtol=1e-8).ok
    report = compare_gradients(coarse, reference, PARAMS, X, Y, rtol=1e-6)
    assert report.ok
    assert report.comparisons["W1"].tolerance == 1e-6
    assert compare_gradients(coarse, reference, PARAMS, X, Y, atol=1e-5).ok


# References


REFERENCES = {
    "None": (lambda p, x, y: None, TypeError, "its result is None (is a return missing?)"),
    "a float": (
        lambda p, x, y: reference(p, x, y).item(),
        TypeError,
        "the reference must return a scalar tensor, so that torch can differentiate it; its result is a float (leave"
        " out .item(), float() and NumPy functions)",
    ),
    "a vector": (
        lambda p, x, y: ((x @ p["W1"]) ** 2).mean(dim=0),
        ValueError,
        "the reference must return a scalar tensor; its result has shape (4,): sum or average it",
    ),
    "an integer": (
        lambda p, x, y: (x @ p["W1"]).argmax(),
        TypeError,
        "the reference must return a floating-point tensor; its result is of dtype torch.int64",
    ),
    "an empty dict": (
        lambda p, x, y: {},
        ValueError,
        "the reference returned an empty dict: it must return the terms of its loss by name",
    ),
    "a term that is no tensor": (
        lambda p, x, y: {"data": reference(p, x, y), "penalty": 0.1},
        TypeError,
        "its term 'penalty' is a float",
    ),
    "a term that is a vector": (
        lambda p, x, y: {"data": reference(p, x, y), "penalty": p["b1"]},
        ValueError,
        "its term 'penalty' has shape (4,): sum or average it",
    ),
    "a tuple": (lambda p, x, y: (reference(p, x, y), 1), TypeError, "its result is a tuple"),
    "detached": (
        lambda p, x, y: reference(p, x, y).detach(),
        ValueError,
        "the reference's loss does not depend on params: compute it with torch functions from the tensors that it is"
        " given (.detach(), .numpy() and torch.tensor(...) cut the connection)",
    ),
    "in float32": (
        lambda p, x, y: reference({k: v.float() for k, v in p.items()}, x.float(), y.float()),
        ValueError,
        "the reference computes in float32, params are float64: its 'loss' would be too coarse to compare with (is"
        " there a .float(), or a tensor made without dtype=?)",
    ),
    "NaN": (
        lambda p, x, y: reference(p, x, y) * float("nan"),
        ValueError,
        "the reference's 'loss' is nan here: choose inputs at which it is finite",
    ),
    "an infinite gradient": (
        lambda p, x, y: reference(p, x, y) + (p["b1"] - p["b1"].detach()).abs().sqrt().sum(),
        ValueError,
        "torch's gradient of b1 is not finite here: choose inputs at which it is",
    ),
}


@pytest.mark.parametrize(("by", "error", "said"), REFERENCES.values(), ids=REFERENCES)
def test_references(by, error, said):
    with pytest.raises(error, match=re.escape(said)):
        judged(by=by)


def test_a_reference_that_raises():
    def wrong(params, x, y):
        return x @ params["W2"]

    with pytest.raises(RuntimeError, match="mat1 and mat2 shapes cannot be multiplied") as caught:
        judged(by=wrong)
    assert caught.value.__notes__ == [
        "gradproof: raised by the reference, which was given W1 (3, 4) float64, b1 (4,) float64, W2 (4, 2) float64,"
        " s () float64; (7, 3) float64, (7, 2) float64"
    ]


def test_dtypes_that_torch_does_not_mix_are_told():
    with pytest.raises(RuntimeError, match="same dtype") as caught:
        judged(x=X.astype(np.float32))
    assert caught.value.__notes__[0].endswith("(7, 3) float32, (7, 2) float64")


def test_a_reference_that_changes_its_inputs_harms_nobody():
    def changing(params, x, y):
        y += 1
        loss = reference(params, x, y - 1)
        params.clear()
        return loss

    given = problem()
    assert compare_gradients(candidate, changing, *given).ok
    np.testing.assert_equal(given, problem())


def test_a_reference_that_torch_cannot_differentiate():
    def overwriting(params, x, y):
        loss = reference(params, x, y)
        x *= 0
        return loss

    with pytest.raises(RuntimeError, match="modified by an inplace operation") as caught:
        judged(by=overwriting)
    assert caught.value.__notes__[0].startswith("gradproof: raised by the reference, which was given W1 (3, 4) ")


def test_a_reference_that_draws_random_numbers():
    def dropping(params, x, y):
        return reference(params, torch.nn.functional.dropout(x, 0.5), y)

    with pytest.raises(ValueError, match="the reference gives other numbers when it is called again: it must not draw"):
        judged(by=dropping)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_caller_that_has_switched_gradients_off(mode):
    with mode():
        assert judged().ok


def test_a_parameter_that_the_reference_does_not_use():
    params = {**PARAMS, "b2": np.array([1.0, 2.0])}

    def zero(params, x, y):
        loss, grads = candidate(params, x, y)
        return loss, {**grads, "b2": np.zeros(2)}

    report = compare_gradients(zero, reference, params, X, Y)
    assert report.ok
    assert report.warnings == ("torch's gradient of b2 is zero: any mistake that keeps it zero goes unseen",)


def test_a_term_without_parameters_is_a_constant():
    def by(params, x, y):
        return {"data": reference(params, x, y), "constant": torch.tensor(3.0, dtype=torch.float64)}

    def shifted(params, x, y):
        loss, grads = candidate(params, x, y)
        return loss + 3.0, grads

    assert compare_gradients(shifted, by, PARAMS, X, Y).ok


# Layers and update rules


def forward(inputs):
    return inputs["x"] @ inputs["W"], inputs


def backward(output_grad, cache):
    return {"x": output_grad @ cache["W"].T, "W": cache["x"].T @ output_grad}


def layer(inputs):
    return inputs["x"] @ inputs["W"]


INPUTS = {"x": X, "W": PARAMS["W1"]}


@pytest.mark.parametrize(
    ("inputs", "by", "error", "said"),
    [
        (X, layer, TypeError, "inputs must be a dict of arrays by name; it is an array of shape (7, 3)"),
        ({}, layer, TypeError, "inputs must be a dict of arrays by name, with at least one; it is empty"),
        ({"x": np.arange(3)}, layer, TypeError, "inputs must be a dict of floating-point arrays"),
        (INPUTS, lambda inputs: None, TypeError, "must return the layer's output, a tensor; it returned None (is a"),
        (INPUTS, lambda inputs: (layer(inputs), 1), TypeError, "a tensor; it returned a tuple"),
        (INPUTS, lambda inputs: layer(inputs).argmax(1), TypeError, "must be of floating point; it is of dtype int64"),
        (INPUTS, lambda inputs: layer(inputs) / 0, ValueError, "the reference's output is not finite here: choose"),
        (INPUTS, lambda inputs: inputs["x"] @ inputs["x"], RuntimeError, "mat1 and mat2 shapes cannot be multiplied"),
        (INPUTS, lambda inputs: layer(inputs).detach(), ValueError, "the reference's loss does not depend on params"),
        (INPUTS, 3, TypeError, "reference must be a function; it is a int"),
    ],
)
def test_layers(inputs, by, error, said):
    with pytest.raises(error, match=re.escape(said)):
        compare_layers(forward, backward, by, inputs)


@pytest.mark.parametrize(("one", "other"), [(None, backward), (forward, None)])
def test_layers_that_are_no_functions(one, other):
    with pytest.raises(TypeError, match="(forward|backward) must be a function; it is None"):
        compare_layers(one, other, layer, INPUTS)


def step(params, grads, state):
    return {name: value - 0.1 * grads[name] for name, value in params.items()}


def sgd(tensors):
    return torch.optim.SGD(tensors, lr=0.1)


GRADIENTS = [{name: np.ones_like(value) * k for name, value in PARAMS.items()} for k in (1.0, -3.0, 0.5)]


@pytest.mark.parametrize(
    ("params", "gradients", "by", "error", "said"),
    [
        ([X], GRADIENTS, sgd, TypeError, "params must be a dict of arrays by name"),
        (PARAMS, [], sgd, ValueError, "gradients is empty: give one dict of arrays for each step"),
        (PARAMS, GRADIENTS[0], sgd, TypeError, "must be a list of dicts of arrays, one for each step; it is a dict"),
        (PARAMS, None, sgd, TypeError, "gradients must be a list of dicts of arrays, one for each step; it is None"),
        (PARAMS, [X], sgd, TypeError, "gradients of step 1 must be a dict of arrays; it is an array of shape (7, 3)"),
        (
            PARAMS,
            [GRADIENTS[0], {"W1": X}],
            sgd,
            ValueError,
            "gradients of step 2 have other keys (W1) than params (W1, b1, W2, s)",
        ),
        (
            PARAMS,
            [{**GRADIENTS[0], "b1": X}],
            sgd,
            ValueError,
            "step 1: the gradient of b1 has shape (7, 3), not (4,)",
        ),
        (PARAMS, GRADIENTS, lambda ps: None, TypeError, "the reference must make a torch.optim.Optimizer; it made"),
        (PARAMS, GRADIENTS, lambda ps: torch.optim.SGD(ps, lr=-1), ValueError, "Invalid learning rate: -1"),
        (PARAMS, GRADIENTS, None, TypeError, "reference must be a function; it is None"),
    ],
)
def test_updates(params, gradients, by, error, said):
    with pytest.raises(error, match=re.escape(said)):
        compare_updates(step, by, params, gradients)


@pytest.mark.parametrize("name", ["rtol", "atol"])
def test_tolerances_everywhere(name):
    for call in (
        lambda **options: compare_layers(forward, backward, layer, INPUTS, **options),
        lambda **options: compare_updates(step, sgd, PARAMS, GRADIENTS, **options),
    ):
        with pytest.raises(ValueError, match=f"^{name} must be a number of at least 0"):
            call(**{name: -1.0})


def test_gradients_from_a_generator():
    assert compare_updates(step, sgd, PARAMS, iter(GRADIENTS)).ok


# Tracebacks


@pytest.mark.parametrize(
    "call",
    [
        lambda: judged(None),
        lambda: judged(by=lambda p, x, y: x @ p["W2"]),
        lambda: judged(by=lambda p, x, y: None),
        lambda: assert_gradients_match(lambda p, x, y: None, reference, PARAMS, X, Y),
        lambda: compare_layers(forward, backward, lambda inputs: None, INPUTS),
        lambda: compare_updates(step, lambda ps: None, PARAMS, GRADIENTS),
    ],
)
def test_every_frame_of_ours_is_hidden(call):
    """pytest leaves out the frames that say so, and what remains is the caller's and the reference's."""
    with pytest.raises((TypeError, RuntimeError, AssertionError)) as caught:
        call()
    shown = [str(entry.path) for entry in caught.traceback if not entry.ishidden(caught)]
    assert len(traceback.extract_tb(caught.tb)) > len(shown)
    assert all(path == __file__ or "/torch/" in path for path in shown), shown
