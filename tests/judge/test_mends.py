"""The mended formula of a finding: in the caller's names, only what was broken, and true."""

import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gradproof import compare_gradients
from gradproof.diagnosis import mends
from gradproof.diagnosis.families import FAMILIES, OF_THE_FORWARD_PASS
from gradproof.diagnosis.fault import Model, run
from gradproof.diagnosis.survey import Survey
from gradproof.source_names import names_at, target_at
from gradproof.tape import Site
from tests.judge.network import candidate, problem, reference, returning

pytestmark = pytest.mark.usefixtures("no_own_lines")

RNG = np.random.default_rng(0)
X, LABELS = RNG.normal(size=(7, 3)), np.array([0, 3, 1, 1, 2, 0, 3])
YES_NO = RNG.integers(0, 2, size=(7, 4)).astype(float)
with_parts = pytest.mark.skipif(sys.version_info < (3, 11), reason="older Pythons do not tell which part of a line ran")
V = {"V": RNG.normal(size=(3, 4))}


def mended(function, reference, *given):
    report = compare_gradients(function, reference, *given)
    return [finding.mend for finding in report.findings if finding.mend]


# At an operation


def by_hand(step=lambda da, a, z: da * (1 - a**2), back=lambda du, V: du @ V.T, add=np.add):
    """The gradient of `squares`, with one of its rules handed in."""

    def function(params, x):
        V = params["V"]
        z = x @ V
        a = np.tanh(z)
        u = a @ V.T
        du = 2 * u
        da = back(du, V.T)
        dV = (a.T @ du).T
        dz = step(da, a, z)
        return np.sum(u**2), {"V": add(dV, x.T @ dz)}

    return function


def squares(params, x):
    z = x @ params["V"]
    a = torch.tanh(z)
    u = a @ params["V"].T
    return (u**2).sum()


def test_the_right_candidate_needs_none():
    assert compare_gradients(by_hand(), squares, V, X).ok


@with_parts
@pytest.mark.parametrize(
    ("changed", "mend"),
    [
        ({"step": lambda da, a, z: da}, "dz = da * (1 - a**2)"),
        ({"step": lambda da, a, z: da * (1 - z**2)}, "dz = da * (1 - a**2)"),
        ({"back": lambda du, V: -du @ V.T}, "da = du @ B.T, where u = a @ B"),
        ({"add": lambda one, other: other}, "dB = a.T @ du, where u = a @ B"),
    ],
    ids=["left out", "at the wrong point", "sign of a product", "one of two uses"],
)
def test_the_rule_of_the_operation_that_was_broken(changed, mend):
    assert mended(by_hand(**changed), squares, V, X) == [mend]


@with_parts
def test_softmax_written_out():
    """It is known by its numbers, whatever stands behind it."""

    def reference(params, x):
        e = torch.exp(x @ params["V"])
        p = e / e.sum(1, keepdim=True)
        return (p**3).sum()

    def function(params, x):
        e = np.exp(x @ params["V"])
        p = e / e.sum(axis=1, keepdims=True)
        return np.sum(p**3), {"V": x.T @ (3 * p**2 * p * (1 - p))}

    assert mended(function, reference, V, X) == [
        "dz = p * (dp - (dp * p).sum(axis=-1, keepdims=True))\n"
        "where p = np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)"
    ]


@with_parts
def test_sigmoid_written_out():
    def reference(params, x):
        z = x @ params["V"]
        a = 1 / (1 + torch.exp(-z))
        return (a @ params["V"].T).pow(2).sum()

    def function(params, x):
        V = params["V"]
        a = 1 / (1 + np.exp(-x @ V))
        u = a @ V.T
        return np.sum(u**2), {"V": 2 * u.T @ a + x.T @ (2 * u @ V)}

    assert mended(function, reference, V, X) == ["dz = da * a * (1 - a)"]


# At an output whose derivative the loss has cancelled


def extra(activation, target):
    def function(params, x, y):
        z = x @ params["V"]
        a = activation(z)
        loss = np.sum(np.logaddexp(0, z) - y * z) / len(x) if target is None else None
        return loss, {"V": x.T @ ((a - (y if target is None else target)) * a * (1 - a)) / len(x)}

    return function


@with_parts
def test_yes_or_no():
    def reference(params, x, y):
        z = x @ params["V"]
        return F.binary_cross_entropy_with_logits(z, y, reduction="sum") / len(x)

    found = mended(extra(lambda z: 1 / (1 + np.exp(-z)), None), reference, V, X, YES_NO)
    assert found == ["dz = (a - y) / len(y), where a = 1 / (1 + np.exp(-z))"]


def test_one_of_several_classes():
    def reference(params, x, y):
        return F.cross_entropy(x @ params["V"], y)

    def softmax(z):
        return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)

    assert mended(extra(softmax, np.eye(4)[LABELS]), reference, V, X, LABELS) == [
        "dz = (a - np.eye(4)[y]) / len(np.eye(4)[y])\n"
        "where a = np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True) and z is this line's result"
    ]


# Of whole gradients


@pytest.mark.parametrize(
    ("change", "mend"),
    [
        (lambda dV: -dV, "dV = -dV"),
        (lambda dV: 7 * dV, "dV = dV / 7"),
        (lambda dV: dV / 2, "dV = 2 * dV"),
        (lambda dV: dV * 3 / 7, "dV = 7 * dV / 3"),
        (lambda dV: dV[::-1], "dV = np.flip(dV, axis=0)"),
        (lambda dV: dV[::-1, ::-1], "dV = np.flip(dV, axis=(0, 1))"),
        (lambda dV: dV[..., ::-1], "dV = np.flip(dV, axis=1)"),
    ],
)
def test_whole_gradients(change, mend):
    def function(params, x):
        loss, grads = by_hand()(params, x)
        return loss, {"V": change(grads["V"])}

    assert mended(function, squares, V, X) == [mend]
    space = {"np": np, "dV": function(V, X)[1]["V"]}
    exec(mend, space)
    np.testing.assert_allclose(space["dV"], by_hand()(V, X)[1]["V"])


SQUARE = {"V": RNG.normal(size=(3, 3))}
CUBE = {"V": RNG.normal(size=(3, 3, 3))}


@pytest.mark.parametrize(
    ("params", "change", "mend"),
    [
        (SQUARE, lambda d: d.T, "dV = dV.swapaxes(-1, -2)"),
        (CUBE, lambda d: d.swapaxes(1, 2), "dV = dV.swapaxes(-1, -2)"),
        (CUBE, lambda d: d.T, "dV = dV.T"),
        (CUBE, lambda d: d.swapaxes(0, 2), "dV = dV.T"),
        (CUBE, lambda d: d.swapaxes(0, 1), "dV = dV.swapaxes(0, 1)"),
    ],
)
def test_transposed(params, change, mend):
    right = np.cos(params["V"])
    found = mended(lambda p: (None, {"V": change(np.cos(p["V"]))}), lambda p: torch.sin(p["V"]).sum(), params)
    assert found in ([mend], ["dV = dV.swapaxes(0, 2)"])
    space = {"dV": change(right)}
    exec(found[0], space)
    np.testing.assert_array_equal(space["dV"], right)


def test_of_several_parameters_some_are_shown():
    found = mended(returning(lambda loss, grads: (loss, {k: 2 * d for k, d in grads.items()})), reference, *problem())
    assert found == ["dW1 = dW1 / 2, db1 = db1 / 2, and so on"]


def test_a_constant_that_is_no_fraction_is_not_taken_back():
    function = returning(lambda loss, grads: (loss, {name: 7**0.5 * one for name, one in grads.items()}))
    report = compare_gradients(function, reference, *problem())
    assert [(finding.code, finding.mend) for finding in report.findings] == [("wrong-scale", "")]


# Of a loss's terms


def terms(params, x):
    return {"data": (x @ params["V"]).sum(), "L2 penalty": (params["V"] ** 2).sum()}


@pytest.mark.parametrize(
    ("weight", "mend"),
    [
        (4, "d_L2_penalty = d_L2_penalty / 4"),
        (0, "the gradient is d_data + d_L2_penalty, the sum of all terms'"),
        (-1, "d_L2_penalty = -d_L2_penalty"),
    ],
)
def test_terms(weight, mend):
    def function(params, x):
        V = params["V"]
        return None, {"V": x.sum(0)[:, None] * np.ones_like(V) + weight * 2 * V}

    assert mended(function, terms, V, X) == [mend]


def test_many_terms():
    steps = {f"step {t}": t for t in range(1, 7)}
    found = mended(
        lambda p: (None, {"V": 6 * p["V"] ** 5}),
        lambda p: {name: (p["V"] ** t).sum() for name, t in steps.items()},
        V,
    )
    assert found == ["the gradient is d_step_1 + ... + d_step_6, the sum of all terms'"]


# Of inputs, and of what was handed back


def test_an_axis_too_few():
    def function(params, x, y):
        e = x @ params["w"] - y  # (n, n)
        return np.mean(e**2), {"w": 2 * np.mean(e, axis=1)[:, None].T @ x / 1}

    def reference(params, x, y):
        return ((x @ params["w"])[:, 0] - y).pow(2).mean()

    def careless(params, x, y):
        e = x @ params["w"] - y
        return np.mean(e**2), {"w": x.T @ e.mean(axis=1, keepdims=True) * 2 / len(x)}

    params = {"w": RNG.normal(size=(3, 1))}
    assert mended(careless, reference, params, X, RNG.normal(size=7)) == ["y = y[:, None]"]


@pytest.mark.parametrize(
    ("change", "mend"),
    [
        (np.ndarray.tolist, "grads['W1'] = np.asarray(grads['W1'])"),
        (torch.tensor, "grads['W1'] = grads['W1'].detach().numpy()"),
        (np.transpose, "grads['W1'] = grads['W1'].T"),
        (np.ravel, "grads['W1'] = grads['W1'].reshape((3, 4))"),
        (lambda d: np.stack([d / 2, d / 2]), "grads['W1'] = grads['W1'].sum(axis=0)"),
        (lambda d: np.pad(d, ((0, 0), (1, 1))), "grads['W1'] = grads['W1'][:, 1:5]"),
    ],
)
def test_what_was_handed_back(change, mend):
    function = returning(lambda loss, grads: (loss, {**grads, "W1": change(grads["W1"])}))
    assert mended(function, reference, *problem()) == [mend]
    space = {"np": np, "grads": function(*problem())[1]}
    exec(mend, space)
    np.testing.assert_array_equal(space["grads"]["W1"], candidate(*problem())[1]["W1"])


# Whatever breaks


@pytest.mark.parametrize("given", [(squares, (V, X)), (reference, problem()), (terms, (V, X))])
def test_no_fault_is_too_odd(given, case_of):
    function, (params, *data) = given
    case = case_of(lambda p, *d: (None, {k: np.ones_like(v) for k, v in p.items()}), function, params, *data)
    model = Model(function, case.problem, case.tape)
    survey = Survey(case.tape, case.problem)
    faults = [fault for family in (*FAMILIES, *OF_THE_FORWARD_PASS) for fault in family(survey)]
    found = [mends.of_fault(case, fault) for fault in faults[::5] if run(model, [fault]) is not None]
    assert len([one for one in found if one]) > len(found) / 10


# The caller's names


@pytest.mark.parametrize(
    ("line", "expression", "operation", "names"),
    [
        ("h = torch.tanh(a)", "torch.tanh(a)", "tanh", ("h", "a")),
        ("h = torch.tanh(a)", "", "tanh", ("h", "a")),  # older Pythons do not tell the expression
        ("h = a.tanh()", "a.tanh()", "tanh", ("h", "a")),
        ("return torch.tanh(a)", "torch.tanh(a)", "tanh", (None, "a")),
        ("h = torch.tanh(x @ W)", "torch.tanh(x @ W)", "tanh", ("h", None)),
        ("h = torch.tanh(x @ W)", "x @ W", "mm", (None, "x", "W")),
        ("h = torch.tanh(x @ W)", "", "tanh", (None, None)),
        ("z = x @ params['W']", "x @ params['W']", "mm", ("z", "x", "W")),
        ("z = x @ self.W", "x @ self.W", "mm", ("z", "x", "W")),
        ("z = x @ W.T", "x @ W.T", "mm", ("z", "x", None)),
        ("z = params[f'W{k}'] @ x", "params[f'W{k}'] @ x", "mm", ("z", None, "x")),
        ("x = x ** 2", "x ** 2", "pow", (None, "x")),
        ("h = f(a)", "f(a)", "tanh", (None, None)),
        ("y = lam * w", "lam * w", "mul", (None, None)),
        ("y = 2 * w", "2 * w", "mul", ("y", "w")),
        ("y = E[i]", "E[i]", "index", ("y", "E", "i")),
        ("y = F.embedding(i, E)", "F.embedding(i, E)", "embedding", ("y", "E", "i")),
        ("y = torch.gather(x, dim, i)", "torch.gather(x, dim, i)", "gather", (None, None, None)),
        ("p = z.softmax(axis)", "z.softmax(axis)", "_softmax", ("p", "z")),
        ("y = F.conv2d(x, w, b, stride)", "F.conv2d(x, w, b, stride)", "convolution", ("y", "x", "w", "b")),
        ("if x:", "", "tanh", (None, None)),
        ("a, b = torch.tanh(x), 1", "torch.tanh(x)", "tanh", (None, "x")),
    ],
)
def test_names(tmp_path, line, expression, operation, names):
    (tmp_path / "net.py").write_text(f"    {line}\n")
    site = Site(str(tmp_path / "net.py"), 1, 0, expression)
    result, operands = names_at(site, operation, len(names) - 1)
    assert (result, *operands) == names
    if expression and result is not None:
        assert target_at(site) == result
