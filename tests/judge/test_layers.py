"""Layers as candidates: the output first, then the gradients under a random output gradient."""

import inspect
import linecache

import numpy as np
import pytest
import torch

from gradproof import assert_layer_matches, compare_layers

pytestmark = pytest.mark.usefixtures("no_own_lines")


def problem(dtype=np.float64):
    """A table of six rows, of which each of five tokens picks one, times W."""
    rng = np.random.default_rng(0)
    arrays = {"table": rng.normal(size=(6, 3)), "W": rng.normal(size=(3, 2)), "b": rng.normal(size=2)}
    return {**{name: value.astype(dtype) for name, value in arrays.items()}, "tokens": np.array([4, 0, 4, 1, 5])}


def reference(inputs):
    return torch.tanh(inputs["table"][inputs["tokens"]] @ inputs["W"] + inputs["b"])


def forward(inputs):
    x = inputs["table"][inputs["tokens"]]
    output = np.tanh(x @ inputs["W"] + inputs["b"])
    return output, (inputs, x, output)


def backward(output_grad, cache):
    inputs, x, output = cache
    dz = output_grad * (1 - output**2)
    dtable = np.zeros_like(inputs["table"])
    np.add.at(dtable, inputs["tokens"], dz @ inputs["W"].T)
    return {"table": dtable, "W": x.T @ dz, "b": dz.sum(axis=0)}


def compare(forward=forward, backward=backward, dtype=np.float64, **options):
    return compare_layers(forward, backward, reference, problem(dtype), **options)


def codes_of(report):
    return [finding.code for finding in report.findings]


def returning(change):
    return lambda output_grad, cache: change(backward(output_grad, cache))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_right(dtype):
    report = compare(dtype=dtype)
    assert report.ok, str(report)
    assert set(report.comparisons) == {"table", "W", "b"}
    assert report.output.ok
    assert report.loss is None
    assert str(report).startswith("right: output, table, W, b agree with torch")


def test_a_gradient_of_an_integer_input_is_looked_over():
    assert compare(backward=returning(lambda grads: {**grads, "tokens": None})).ok


def test_a_list_of_two_and_any_cache():
    assert compare(forward=lambda inputs: list(forward(inputs))).ok


def test_the_output_gradient_is_random_and_the_same_each_time():
    seen = []

    def looking(output_grad, cache):
        seen.append(output_grad.copy())
        return backward(output_grad, cache)

    compare(backward=looking)
    compare(backward=looking)
    assert seen[0].shape == (5, 2)
    assert len(np.unique(seen[0])) == 10
    assert all(np.array_equal(one, seen[0]) for one in seen)


def test_under_a_sum_this_mistake_would_pass():
    """A softmax's gradient is zero where all output gradients are equal."""
    given = {"z": np.random.default_rng(0).normal(size=(4, 3))}

    def softmax(inputs):
        e = np.exp(inputs["z"])
        p = e / e.sum(axis=1, keepdims=True)
        return p, p

    report = compare_layers(
        softmax, lambda dp, p: {"z": np.zeros_like(p)}, lambda inputs: torch.softmax(inputs["z"], 1), given
    )
    assert not report.ok


def test_a_wrong_output_is_told_first():
    report = compare(forward=lambda inputs: (-forward(inputs)[0], forward(inputs)[1]))
    assert [(one.code, one.parameters) for one in report.findings] == [("wrong-sign", ("output",))]
    assert report.headline() == "output: not torch's output (wrong-sign)"
    assert all(comparison.ok for comparison in report.comparisons.values())
    with pytest.raises(AssertionError, match="output: not torch's output"):
        report.assert_matches("output")
    report.assert_matches("W")


def test_a_wrong_output_and_a_wrong_gradient():
    minus = returning(lambda grads: {**grads, "b": -grads["b"]})
    report = compare(lambda inputs: (2 * forward(inputs)[0], forward(inputs)[1]), minus)
    found = [(one.code, one.parameters) for one in report.findings]
    assert found == [("wrong-scale", ("output",)), ("wrong-sign", ("b",))]


OUTPUTS = {
    "None": (lambda inputs: None, "wrong-type", "forward must return (output, cache); it returned None"),
    "the output alone": (lambda inputs: forward(inputs)[0], "wrong-type", "it returned an array of shape (5, 2)"),
    "three": (lambda inputs: (*forward(inputs), 1), "wrong-type", "it returned a tuple of 3"),
    "no output": (lambda inputs: (None, forward(inputs)[1]), "missing-gradient", "the output is None"),
    "a list": (lambda inputs: (forward(inputs)[0].tolist(), 0), "wrong-type", "the output is a list of 5"),
    "a tensor": (
        lambda inputs: (torch.tensor(forward(inputs)[0]), forward(inputs)[1]),
        "wrong-type",
        "the output is a torch.Tensor, not a NumPy array",
    ),
    "transposed": (
        lambda inputs: (forward(inputs)[0].T, forward(inputs)[1]),
        "wrong-shape",
        "the output has shape (2, 5), torch's has (5, 2): transposed, its numbers are right",
    ),
    "float32": (
        lambda inputs: (forward(inputs)[0].astype(np.float32), forward(inputs)[1]),
        "wrong-dtype",
        "the output is of dtype float32, torch's of float64",
    ),
    "NaN": (
        lambda inputs: (forward(inputs)[0] * np.nan, forward(inputs)[1]),
        "not-finite",
        "the output is nan at output[0, 0] (10 of 10 entries)",
    ),
}


@pytest.mark.parametrize(("wrong", "code", "said"), OUTPUTS.values(), ids=OUTPUTS)
def test_outputs_amiss(wrong, code, said):
    report = compare(wrong, lambda output_grad, _: backward(output_grad, forward(problem())[1]))
    assert codes_of(report) == [code]
    assert said in report.findings[0].message


GRADIENTS = {
    "None": (lambda grads: None, "wrong-type", "backward must return grads, a dict of arrays by input; it returned N"),
    "a tuple": (lambda grads: tuple(grads.values()), "wrong-type", "it returned a tuple of 3"),
    "one missing": (lambda grads: {"W": grads["W"], "b": grads["b"]}, "missing-gradient", "grads has no key 'table'"),
    "one too many": (lambda grads: {**grads, "x": grads["W"]}, "unexpected-gradient", "grads has a key 'x'"),
    "a list": (lambda grads: {**grads, "b": grads["b"].tolist()}, "wrong-type", "grads['b'] is a list of 2"),
    "wrong shape": (lambda grads: {**grads, "b": grads["b"][:1]}, "wrong-shape", "grads['b'] has shape (1,)"),
    "minus": (lambda grads: {**grads, "b": -grads["b"]}, "wrong-sign", "minus the right one"),
}


@pytest.mark.parametrize(("change", "code", "said"), GRADIENTS.values(), ids=GRADIENTS)
def test_gradients_amiss(change, code, said):
    report = compare(backward=returning(change))
    assert codes_of(report) == [code]
    assert said in report.findings[0].message
    assert report.output.ok


def failing(*given):
    raise KeyError("h")


def test_raising():
    finding = compare(forward=failing).findings[0]
    assert finding.code == "raised"
    assert finding.message.startswith("in forward it raised KeyError: 'h'\nat ")
    finding = compare(backward=failing).findings[0]
    assert finding.code == "raised"
    assert finding.message.startswith("it raised KeyError: 'h'\nat ")


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("table", "forward"),
        ("tokens", "forward"),
        ("table", "backward"),
        ("tokens", "backward"),
        ("output_grad", "backward"),
    ],
)
def test_inputs_changed(name, where):
    def changing_forward(inputs):
        answer = forward({key: value.copy() for key, value in inputs.items()})
        inputs[name][0] += 1
        return answer

    def changing_backward(output_grad, cache):
        grads = backward(output_grad, (cache[0], cache[1], cache[2]))
        (output_grad if name == "output_grad" else cache[0][name])[0] += 1
        return grads

    report = compare(**{where: changing_forward if where == "forward" else changing_backward})
    assert [(one.code, one.parameters) for one in report.findings] == [("input-modified", (name,))]


def test_a_layer_with_a_memory():
    rng = np.random.default_rng(0)

    def dropping(inputs):
        output, cache = forward(inputs)
        mask = rng.random(output.shape) < 0.5
        return output * mask * 2, cache

    report = compare(forward=dropping)
    assert [(one.code, one.parameters) for one in report.findings] == [("not-repeatable", ("output",))]


def test_what_forward_returns_is_not_watched_after_it():
    """The output may be part of the cache, and backward may write into what it was given in there."""

    def overwriting(output_grad, cache):
        inputs, x, output = cache
        output *= -output
        output += 1
        return backward(output_grad, (inputs, x, np.sqrt(1 - output)))

    assert compare(backward=overwriting).ok


def test_batch_axis():
    assert compare(batch_axis=None).ok
    assert compare(batch_axis=1).ok
    with pytest.raises(ValueError, match=r"batch_axis=2 is no axis of any data array \(output_grad \(5, 2\), tokens "):
        compare(batch_axis=2)


def test_assert_form():
    assert_layer_matches(forward, backward, reference, problem())
    with pytest.raises(AssertionError, match="b: not torch's gradient"):
        assert_layer_matches(forward, returning(lambda g: {**g, "b": -g["b"]}), reference, problem())


def test_tolerances_of_the_caller():
    nearly = returning(lambda grads: {**grads, "b": grads["b"] * (1 + 1e-8)})
    assert not compare(backward=nearly, diagnose=False).ok
    assert compare(backward=nearly, rtol=1e-7).ok
    assert compare(backward=nearly, atol=1e-6).ok


# A mistake in the forward pass alone: what of the report is about the output is the one mistake, not `unexplained`.
FORWARD = {
    "another function": ((("np.tanh", "np.sin"),), "different-function", ("output", "table", "W", "b"), "sin stands"),
    "in both passes": (
        (("np.tanh", "np.sin"), ("1 - output**2", "np.cos(x @ inputs['W'] + inputs['b'])")),
        "different-function",
        ("output", "table", "W", "b"),
        "Your output and your gradient belong together, but to this function.",
    ),
    "no bias": (((' + inputs["b"])', ")"),), "different-function", ("output", "table", "W", "b"), "b is left out"),
    "half": ((("    return output, (", "    return output / 2, ("),), "wrong-scale", ("output",), "your output is the"),
    "a square": (
        (("    return output, (", "    return output**2, ("),),
        "different-function",
        ("output",),
        "The gradient is right, the output is not: in your code, `output ** 2` should be `output`",
    ),
}


@pytest.mark.parametrize(("changes", "code", "parameters", "said"), FORWARD.values(), ids=FORWARD)
def test_a_mistake_in_the_forward_pass_is_one(changes, code, parameters, said):
    text = inspect.getsource(forward) + inspect.getsource(backward)
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    space = {"np": np}
    lines = text.splitlines(keepends=True)
    name = f"a_layer_{code}_{len(text)}.py"
    linecache.cache[name] = (len(text), None, lines, name)
    exec(compile(text, name, "exec"), space)
    (finding,) = compare(space["forward"], space["backward"]).findings
    assert (finding.code, finding.parameters) == (code, parameters)
    assert said in finding.message


def test_an_output_that_nothing_explains():
    report = compare(lambda inputs: (np.sort(forward(inputs)[0], axis=0)[:, ::-1], forward(inputs)[1]))
    (finding,) = report.findings
    assert (finding.code, finding.parameters) == ("unexplained", ("output",))
    assert "gradient" not in finding.message
    assert "loss" not in finding.message


def test_attention_in_one_call_has_its_softmax():
    """torch's fused attention is looked at as a person writes it."""
    rng = np.random.default_rng(0)
    inputs = {name: rng.normal(size=(2, 4, 3)) for name in "qkv"}

    def attend(inputs):
        scores = np.exp(inputs["q"] @ inputs["k"].swapaxes(1, 2) / np.sqrt(3))
        weights = scores / scores.sum(axis=2, keepdims=True)
        return weights @ inputs["v"], (inputs, weights)

    def back(output_grad, cache):
        inputs, weights = cache
        dscores = weights * (1 - weights) * (output_grad @ inputs["v"].swapaxes(1, 2)) / np.sqrt(3)
        return {
            "q": dscores @ inputs["k"],
            "k": dscores.swapaxes(1, 2) @ inputs["q"],
            "v": weights.swapaxes(1, 2) @ output_grad,
        }

    def fused(inputs):
        return torch.nn.functional.scaled_dot_product_attention(inputs["q"], inputs["k"], inputs["v"])

    (finding,) = compare_layers(attend, back, fused, inputs).findings
    assert finding.code == "diagonal-jacobian"
    assert "`_softmax`" in finding.message


def test_what_weighs_the_output_is_no_place_of_the_references():
    """The judge's own product with the output gradient: no mistake lies there."""
    rng = np.random.default_rng(0)
    inputs = {"x": rng.normal(size=(4, 5)), "mask": rng.random((4, 5)) < 0.6}
    report = compare_layers(
        lambda inputs: (inputs["x"] * inputs["mask"] / 0.6, None),
        lambda output_grad, _: {"x": output_grad / 0.6},
        lambda inputs: inputs["x"] * inputs["mask"] / 0.6,
        inputs,
    )
    (finding,) = report.findings
    assert finding.code == "missing-derivative"
    assert "test_layers.py" in finding.site


def test_a_factor_that_the_output_lacks_is_told_once_with_the_gradient_made_of_it():
    def forward(inputs):
        a, b = inputs["x"] @ inputs["A"], inputs["x"] @ inputs["B"]
        s = 1 / (1 + np.exp(-a))
        h = s * b
        return h @ inputs["C"], (a, b, s, h, inputs)

    def backward(dy, cache):
        a, b, s, h, inputs = cache
        dh = dy @ inputs["C"].T
        da, db = dh * b * (s + a * s * (1 - s)), dh * a * s
        x = inputs["x"]
        dx = da @ inputs["A"].T + db @ inputs["B"].T
        return {"x": dx, "A": x.T @ da, "B": x.T @ db, "C": h.T @ dy}

    def reference(inputs):
        x = inputs["x"]
        return (torch.nn.functional.silu(x @ inputs["A"]) * (x @ inputs["B"])) @ inputs["C"]

    rng = np.random.default_rng(0)
    inputs = {"x": rng.normal(size=(5, 3)), **{name: rng.normal(size=(3, 3)) for name in "ABC"}}
    (finding,) = compare_layers(forward, backward, reference, inputs).findings
    assert finding.parameters == ("output", "C")
    assert "in your code, `s * b` should be" in finding.message


def test_the_mend_of_entries_that_lie_in_another_order():
    def forward(inputs):
        return np.tanh(inputs["x"]), inputs["x"]

    def backward(dy, x):
        return {"x": (dy * (1 - np.tanh(x) ** 2)).transpose(1, 2, 0).reshape(x.shape)}

    x = np.random.default_rng(0).normal(size=(4, 3, 2))
    (finding,) = compare_layers(forward, backward, lambda inputs: torch.tanh(inputs["x"]), {"x": x}).findings
    assert finding.code == "transposed"
    names = {"dx": backward(np.ones_like(x), x)["x"]}
    exec(finding.mend, names)
    np.testing.assert_allclose(names["dx"], 1 - np.tanh(x) ** 2, rtol=1e-12)
