"""What a candidate makes on its way, and what of it is right."""

import ast

import numpy as np
import pytest
import torch

from gradproof import compare_gradients
from gradproof.own_code.notes import NOTE, Notes, names, noting, sums

pytestmark = pytest.mark.usefixtures("no_own_lines")


def of(*arrays):
    return set(names(sums([one.ravel() for one in arrays])))


def test_an_array_has_the_same_name_in_any_layout_and_another_if_an_entry_differs():
    one = np.random.default_rng(0).normal(size=(3, 4))
    other = one.copy()
    other[1, 2] += 1e-4
    assert of(one) == of(one.T) == of(one[::-1]) == of(np.pad(one, 1)) != set()
    assert of(one).isdisjoint(of(other))


def test_two_arrays_share_a_name_if_one_is_a_multiple_of_the_other():
    one = np.random.default_rng(0).normal(size=(3, 4))
    assert len(of(one) & of(-2.5 * one)) == 1
    assert len(of(one)) == 2


def test_masks_constants_and_what_is_infinite_have_no_name():
    mask = np.array([0.0, 1.0, 1.0, 0.0, 1.0])
    assert not of(mask, -0.3 * mask, np.zeros(4), np.full(3, 7.0), np.array([1.0, np.inf]), np.array([np.nan, 2.0]))


def on_the_sphere(p, x, y):
    h = torch.tanh(x @ p["W"])
    n = h / h.norm(dim=1, keepdim=True)
    return ((n @ y) ** 2).sum()


def two_slips_in_a_row(p, x, y):
    h = np.tanh(x @ p["W"])
    r = np.sqrt((h**2).sum(axis=1, keepdims=True))
    n = h / r
    out = n @ y
    dn = 2 * out[:, None] * y
    along = (n * dn**3).sum(axis=1, keepdims=True)
    dh = (dn - n * along) / r
    dz = np.tanh(dh * (1 - h**2))
    return (out**2).sum(), {"W": x.T @ dz}


def test_two_slips_on_the_way_to_the_only_gradient_are_told_by_what_comes_right_between_them():
    rng = np.random.default_rng(0)
    report = compare_gradients(
        two_slips_in_a_row, on_the_sphere, {"W": rng.normal(size=(4, 5))}, rng.normal(size=(7, 4)), rng.normal(size=5)
    )
    first, second = report.findings
    assert "`dn ** 3` should be `dn`" in first.message
    assert "`np.tanh(dh * (1 - h ** 2))` should be `dh * (1 - h ** 2)`" in " ".join(second.message.split())


@pytest.mark.parametrize(
    ("line", "made"),
    [
        ("a = 2 * x", [[2.0, 4.0]]),
        ("s[0] += x[1]", [[7.0], [7.0, 6.0]]),
        ("a, b = x", [[1.0], [2.0]]),
        ("(a, b), c = x, x", [[1.0], [2.0], [1.0, 2.0]]),
        ("a, *b = x", [[1.0], [2.0]]),
        ("x.mean()", []),
    ],
)
def test_what_a_line_gives_to_names_and_entries_is_noted(line, made):
    statement, notes = ast.parse(line).body[0], Notes()
    module = ast.fix_missing_locations(ast.Module([statement, *noting(statement)], []))
    exec(compile(module, "", "exec"), {"x": np.array([1.0, 2.0]), "s": np.array([5.0, 6.0]), NOTE: notes})
    assert [one.tolist() for known in notes.made.values() for one in known] == made
