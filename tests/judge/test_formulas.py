"""The table of right rules cannot lie: every formula is run as NumPy and held against autograd."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gradproof.formulas import TABLE, _key, _whole, summed, written
from gradproof.tape import record

RNG = np.random.default_rng(0)
ERF = np.vectorize(math.erf, otypes=[float])


def array(*shape):
    return RNG.normal(size=shape) + 0.1


A, B, ROW, ONE, DEEP, IMAGE = array(4, 3), array(4, 3), array(3), array(4, 1), array(2, 4, 3), array(2, 3, 7, 6)
INDEX = torch.tensor([2, 0, 2, 2])
EACH = torch.tensor([[0, 2], [1, 1], [2, 2], [0, 1]])


def turned(x):
    return torch.complex(x, x.sin())


def cases():
    """By entry of the table: references on parameters a (and b), such that the entry is among their operations."""
    for name in (
        "sigmoid tanh relu exp exp2 expm1 abs neg sin cos tan sinh cosh atan erf".split()
    ):
        yield name, getattr(torch, name), {"a": A}
    for name in ("log", "log2", "log10", "log1p", "sqrt", "rsqrt", "reciprocal"):
        yield name, getattr(torch, name), {"a": np.abs(A) + 0.2}
    for name in ("asin", "acos"):
        yield name, getattr(torch, name), {"a": np.tanh(A)}
    for name in ("elu", "silu", "gelu", "hardtanh"):
        yield name, getattr(F, name), {"a": A}
    yield "elu", lambda a: F.elu(a, 0.3), {"a": A}
    yield "leaky_relu", lambda a: F.leaky_relu(a, 0.2), {"a": A}
    yield "softplus", F.softplus, {"a": A}
    yield "clamp", lambda a: a.clamp(-0.5, 0.5), {"a": A}
    yield "clamp", lambda a: a.clamp(-0.5, 0.25), {"a": A}
    yield "clamp_min", lambda a: torch.ops.aten.clamp_min(a, -0.25), {"a": A}
    yield "clamp_min", lambda a: a.clamp(min=-0.25), {"a": A}
    yield "clamp_max", lambda a: a.clamp(max=0.25), {"a": A}
    yield "pow", lambda a, b: a**b, {"a": np.abs(A) + 0.2, "b": ROW}
    yield "pow, number", lambda a: a**3, {"a": A}
    yield "pow, number", lambda a: a**-1.5, {"a": np.abs(A) + 0.2}
    yield "pow, square", lambda a: a**2, {"a": A}
    yield "pow, base", lambda a: 3**a, {"a": A}
    for shape in (B, ROW, ONE, np.array(0.7), array(1, 3)):
        yield "add", lambda a, b: a + b, {"a": A, "b": shape}
        yield "sub", lambda a, b: b - a, {"a": A, "b": shape}
        yield "mul", lambda a, b: a * b, {"a": A, "b": shape}
        yield "div", lambda a, b: a / b, {"a": DEEP, "b": shape}
        yield "div", lambda a, b: b / a, {"a": DEEP, "b": shape}
        yield "maximum", torch.maximum, {"a": A, "b": shape}
        yield "minimum", torch.minimum, {"a": A, "b": shape}
        yield "where", lambda a, b: torch.where(a > 0, a, b), {"a": A, "b": shape}
    for shape in (B, ROW):
        yield "mul, complex", lambda a, b: (turned(a) * turned(b)).imag, {"a": A, "b": shape}
    yield "mm, complex", lambda a, b: (turned(a) @ turned(b)).real, {"a": A, "b": B.T}
    yield "maximum", lambda a, b: torch.max(a, b), {"a": np.round(A), "b": np.round(B)}
    yield "add, number", lambda a: a + 0.5, {"a": A}
    yield "sub, number", lambda a: a - 0.5, {"a": A}
    yield "rsub, number", lambda a: 1 - a, {"a": A}
    yield "mul, number", lambda a: -0.1 * a, {"a": A}
    yield "div, number", lambda a: a / 3, {"a": A}
    yield "masked_fill", lambda a: a.masked_fill(a > 0, 0.5), {"a": A}
    yield "mm", lambda a, b: a @ b, {"a": A, "b": array(3, 5)}
    yield "mm", lambda a, b: a @ b.T, {"a": A, "b": array(5, 3)}
    yield "mm, stacked", lambda a, b: a @ b, {"a": DEEP, "b": array(3, 5)}
    yield "mm, stacked", lambda a, b: a @ b, {"a": array(2, 2, 4, 3), "b": array(3, 5)}
    yield "bmm", torch.bmm, {"a": DEEP, "b": array(2, 3, 5)}
    yield "bmm", lambda a, b: a @ b.transpose(-1, -2), {"a": array(2, 3, 4, 5), "b": array(2, 3, 6, 5)}
    yield "bmm", lambda a, b: a @ b, {"a": array(2, 3, 4, 5), "b": array(3, 5, 6)}
    yield "bmm", lambda a, b: a @ b, {"a": A, "b": array(2, 3, 5)}
    yield "bmm", lambda a, b: torch.einsum("nij,njk->nki", a, b), {"a": DEEP, "b": array(2, 3, 5)}
    yield "mv", lambda a, b: a @ b, {"a": A, "b": ROW}
    yield "dot", lambda a, b: a @ b, {"a": ROW, "b": array(3)}
    for dim, keep in (((0,), False), ((1,), False), ((1,), True), ((0, 2), False), ((1, 2), True), ((0, 1, 2), False)):
        yield "sum", lambda a, dim=dim, keep=keep: a.sum(dim, keep), {"a": DEEP}
        yield "mean", lambda a, dim=dim, keep=keep: a.mean(dim, keep), {"a": DEEP}
        yield "amax", lambda a, dim=dim, keep=keep: a.amax(dim, keep), {"a": DEEP}
        yield "amin", lambda a, dim=dim, keep=keep: a.amin(dim, keep), {"a": np.round(DEEP)}
        yield "logsumexp", lambda a, dim=dim, keep=keep: a.logsumexp(dim, keep), {"a": DEEP}
    yield "sum", lambda a: a.sum(), {"a": A}
    yield "mean", lambda a: a.mean(), {"a": A}
    yield "amax", lambda a: a.max(), {"a": np.round(A)}
    yield "prod", lambda a: a.prod(), {"a": A}
    yield "prod", lambda a: a.prod(1), {"a": A}
    yield "max, first", lambda a: a.max(1).values, {"a": np.round(A)}
    yield "max, first", lambda a: a.max(-2, keepdim=True).values, {"a": DEEP}
    for dim in (0, -1):
        yield "cumsum", lambda a, dim=dim: a.cumsum(dim), {"a": DEEP}
        yield "_softmax", lambda a, dim=dim: a.softmax(dim), {"a": DEEP}
        yield "_log_softmax", lambda a, dim=dim: a.log_softmax(dim), {"a": DEEP}
        yield "cat", lambda a, b, dim=dim: torch.cat([a, b], dim), {"a": A, "b": B}
        yield "stack", lambda a, b, dim=dim: torch.stack([a, b], dim), {"a": A, "b": B}
        yield "unsqueeze", lambda a, dim=dim: a.unsqueeze(dim), {"a": A}
        yield "select", lambda a, dim=dim: a.select(dim, 1), {"a": A}
        yield "slice", lambda a, dim=dim: a.narrow(dim, 1, 2), {"a": A}
        yield "index_select", lambda a, dim=dim: a.index_select(dim, INDEX), {"a": A}
        each = EACH if dim else EACH.repeat(1, 2)[:2, :3]
        yield "gather", lambda a, dim=dim, each=each: a.gather(dim, each), {"a": A}
    yield "t", lambda a: a.t(), {"a": A}
    yield "transpose", lambda a: a.transpose(0, -1), {"a": DEEP}
    yield "permute", lambda a: a.permute(2, 0, 1), {"a": DEEP}
    yield "view", lambda a: a.reshape(3, 4), {"a": A}
    yield "squeeze", lambda a: a.squeeze(1), {"a": ONE}
    yield "expand", lambda a: a.expand(2, 4, 3), {"a": ONE}
    yield "flip", lambda a: a.flip(0, 2), {"a": DEEP}
    yield "roll", lambda a: a.roll(2, 1), {"a": DEEP}
    yield "tril", lambda a: a.tril(-1), {"a": A}
    yield "triu", torch.triu, {"a": A}
    yield "slice", lambda a: a[:, ::2], {"a": A}
    yield "constant_pad_nd", lambda a: F.pad(a, (1, 2)), {"a": A}
    yield "constant_pad_nd", lambda a: F.pad(a, (0, 1, 2, 0)), {"a": DEEP}
    yield "index", lambda a: a[INDEX], {"a": A}
    yield "index", lambda a: a[:, INDEX], {"a": A}
    yield "index", lambda a: a[torch.arange(4), INDEX], {"a": A}
    yield "embedding", lambda a: F.embedding(INDEX, a), {"a": A}
    for stride in (1, 2):
        for padding in (0, 1):
            yield "convolution", lambda a, b, c, stride=stride, padding=padding: F.conv2d(
                a, b, c, stride, padding
            ), {"a": IMAGE, "b": array(4, 3, 3, 2), "c": array(4)}
        yield "avg_pool2d", lambda a, stride=stride: F.avg_pool2d(a, (3, 2), stride), {"a": IMAGE}
        yield "max_pool2d_with_indices", lambda a, stride=stride: F.max_pool2d(a, (3, 2), stride), {"a": IMAGE}


CASES = list(cases())


def recorded(function, params):
    """A run in which random numbers flow back into what the function gives."""

    def reference(p):
        value = function(*p.values())
        factor = torch.linspace(-1, 2, value.numel(), dtype=value.dtype).reshape(value.shape)
        return (value * factor).sum()

    return record(reference, params, ())


def numbers(tape, value):
    return tape.values[value].numpy()


def checked(tape, node, rule):
    """Run a rule's own lines; its results stand beside autograd's. Returns how many gradients it gave."""
    arrays = {name: numbers(tape, value) for name, value in zip(rule.operands, rule.values, strict=False)}
    space = {"np": np, "erf": ERF, **arrays}
    padded = "padded" in rule.forward
    if padded:
        space[rule.operands[0]] = np.pad(space[rule.operands[0]], ((0, 0), (0, 0), (1, 1), (1, 1)))
    if rule.operands == ("xs",):
        space["xs"] = [numbers(tape, value) for value in rule.values]
    if " = " in rule.forward:
        exec(rule.forward, space)
        np.testing.assert_allclose(space[rule.result], numbers(tape, rule.output), rtol=1e-12, atol=1e-14)
    space[rule.result] = numbers(tape, rule.output)
    space[f"d{rule.result}"] = tape.clean.totals[rule.output].numpy()
    for name in rule.operands:
        space[f"d{name}"] = np.zeros_like(space[name]) if name != "xs" else None
    exec("\n".join(rule.steps), space)
    right = [autograd(tape, rule.output, value) for value in rule.values]
    found = space["dxs"] if rule.operands == ("xs",) else [space.get(f"d{name}") for name in rule.operands]
    count = 0
    for name, ours, theirs in zip(rule.operands * len(right), found, right, strict=False):
        if theirs is not None and (name == "xs" or any(f"d{name}" in step for step in rule.steps)):
            ours = ours[:, :, 1:-1, 1:-1] if padded and ours.ndim == 4 and ours.shape != theirs.shape else ours
            assert np.shape(ours) == theirs.shape
            np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-13)
            count += 1
    return count


def autograd(tape, output, value):
    """What flows from a value's result back to the value along the operations between the two alone."""
    if value not in tape.differentiable:
        return None
    between = [node for node in tape.nodes if tape.depends(output, node)]
    leaf = tape.values[value].detach().clone().requires_grad_()
    values = {value: leaf}
    for node in between:
        if set(node.inputs) & set(values) and value not in node.outputs:
            made = node.run([values.get(one, tape.values[one]) for one in node.inputs])
            values.update(zip(node.outputs, made, strict=True))
    return torch.autograd.grad(values[output], leaf, tape.clean.totals[output])[0].numpy()


@pytest.mark.parametrize(("entry", "function", "params"), CASES, ids=[f"{i} {one[0]}" for i, one in enumerate(CASES)])
def test_formula_is_true(entry, function, params):
    tape = recorded(function, params)
    rules = {node.index: written(tape, node) for node in tape.nodes}
    told = [entry_of(tape, node) for node in tape.nodes if rules[node.index]]
    assert entry in told
    for node in tape.nodes:
        if rules[node.index] is not None and node.outputs[0] in tape.clean.totals:
            assert checked(tape, node, rules[node.index])


def test_what_has_other_uses_collects_what_comes_back():
    tape = recorded(lambda p, q: torch.sin(p) + p * q, {"p": A, "q": B})
    sine, product = (written(tape, node) for node in tape.nodes[:2])
    assert [" += " in step for step in (*sine.steps, *product.steps)] == [True, True, False]


def entry_of(tape, node):
    return _key(tape, node, _whole(tape, node)[0])


def test_every_entry_is_checked():
    assert {entry for entry, _, _ in CASES} == set(TABLE)


@pytest.mark.parametrize(
    ("shape", "whole", "text"),
    [
        ((3, 4), (3, 4), "dc * b"),
        ((4,), (3, 4), "(dc * b).sum(axis=0)"),
        ((3, 1), (3, 4), "(dc * b).sum(axis=1, keepdims=True)"),
        ((1,), (3, 4), "(dc * b).sum(axis=0).sum(axis=0, keepdims=True)"),
        ((), (3, 4), "(dc * b).sum()"),
        ((2, 4), (3, 4), "dc * b"),
    ],
)
def test_what_was_broadcast_is_summed_and_what_was_not_has_no_brackets(shape, whole, text):
    assert summed("dc * b", shape, whole) == text
