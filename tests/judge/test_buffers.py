"""References that fill an array piece by piece are looked at as those that keep the pieces."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gradproof import compare_gradients, oracles
from gradproof.tape import record

RNG = np.random.default_rng(0)
PARAMS = {"W": RNG.normal(size=(3, 3)), "U": RNG.normal(size=(2, 3)), "h0": RNG.normal(size=(4, 3))}
X = RNG.normal(size=(5, 4, 2))


def in_a_list(p, x):
    h, states = p["h0"], []
    for x_t in x:
        h = torch.tanh(x_t @ p["U"] + h @ p["W"])
        states.append(h)
    return (torch.stack(states) ** 2).mean()


def in_an_array(p, x):
    h = torch.zeros(5, 4, 3, dtype=x.dtype)
    for t in range(5):
        h[t] = torch.tanh(x[t] @ p["U"] + (h[t - 1].clone() if t else p["h0"]) @ p["W"])
    return (h**2).mean()


def samples_first(p, x):
    h = torch.zeros(4, 6, 3, dtype=x.dtype)
    h[:, 0] = p["h0"]
    for t in range(5):
        h[:, t + 1] = torch.tanh(x[t] @ p["U"] + h[:, t].clone() @ p["W"])
    return (h[:, 1:] ** 2).mean()


def from_the_end(p, x):
    h = torch.zeros(6, 4, 3, dtype=x.dtype)
    for t in range(5):
        before = p["h0"] if t == 0 else h[t - 1].clone()
        h[t] = torch.tanh(x[t] @ p["U"] + before @ p["W"])
    return (h[:-1] ** 2).mean() + 0 * h[-1].sum()


def names_of(reference, params=PARAMS, x=X):
    tape = record(reference, params, (x,), oracles.autograd(reference, params, (x,)))
    return sorted(node.name for node in tape.nodes)


@pytest.mark.parametrize("reference", [in_an_array, samples_first, from_the_end])
def test_states_in_an_array_are_states(reference):
    names = names_of(reference)
    assert "select_scatter" not in names
    assert names.count("stack") == 1
    assert names.count("mm") == names_of(in_a_list).count("mm")


def overwritten(p, x):
    h = torch.zeros(2, 4, 3, dtype=x.dtype)
    for x_t in x:
        h[0] = torch.tanh(x_t @ p["U"] + h[0].clone() @ p["W"])
    return (h[0] ** 2).mean() + (p["h0"] * h.sum(0)).sum()


def read_between(p, x):
    h = torch.zeros(5, 4, 3, dtype=x.dtype)
    total = torch.zeros((), dtype=x.dtype)
    for t in range(5):
        h[t] = torch.tanh(x[t] @ p["U"] + h[:t].clone().sum(0) @ p["W"])
        total = total + (h.clone() * p["h0"]).mean()
    return total


def in_slices(p, x):
    gates = torch.zeros(4, 6, dtype=x.dtype)
    gates[:, :3] = torch.sigmoid(x[0] @ p["U"])
    gates[:, 3:] = torch.tanh(x[1] @ p["U"]) @ p["W"]
    gates[:, 2:4] = gates[:, 2:4] * 2
    return (gates[:, :3] * gates[:, 3:] * p["h0"]).sum()


def part_of_a_parameter(p, x):
    h = p["h0"].clone()
    h[1] = torch.tanh(x[0, 0] @ p["U"])
    h[2] = h[1].clone() * h[0].clone()
    return (h @ p["W"]).pow(2).sum() + h[3, 0]


def under_no_grad(p, x):
    h = p["h0"] * 1.0
    with torch.no_grad():
        h[0] = 1.0
    return (h[0] * h[1]).sum() + (x[0] @ p["U"] @ p["W"]).sum()


def terms_of_an_array(p, x):
    losses = torch.zeros(2, dtype=x.dtype)
    losses[0] = (x[0] @ p["U"]).pow(2).sum()
    losses[1] = (p["h0"] @ p["W"]).sum()
    return {"data": losses[0], "penalty": losses[1]}


@pytest.mark.parametrize(
    "reference", [overwritten, read_between, in_slices, part_of_a_parameter, under_no_grad, terms_of_an_array]
)
def test_whatever_is_written_where_the_gradients_are_torchs(reference):
    truth = oracles.autograd(reference, PARAMS, (X,))
    tape = record(reference, PARAMS, (X,), truth)
    assert tape is not None
    for name, right in truth.gradients.items():
        np.testing.assert_allclose(tape.clean.arrays()[name], right, rtol=1e-12, atol=1e-14)
    assert tape.loss() == pytest.approx(truth.loss, rel=1e-12)


def never_taken_back(p, x):
    """Every step is given what the last one was."""
    before, h = [], p["h0"]
    for x_t in x:
        before.append(h)
        h = np.tanh(x_t @ p["U"] + h @ p["W"])
    dh, g = 2 * h, {name: np.zeros_like(value) for name, value in p.items()}
    for x_t, last in zip(x[::-1], before[::-1], strict=True):
        dz = dh * (1 - np.tanh(x_t @ p["U"] + last @ p["W"]) ** 2)
        g["U"] += x_t.T @ dz
        g["W"] += last.T @ dz
        g["h0"] = dz @ p["W"].T
    return np.sum(h**2), g


def last_state(p, x):
    h = torch.zeros(5, 4, 3, dtype=x.dtype)
    for t in range(5):
        h[t] = torch.tanh(x[t] @ p["U"] + (h[t - 1].clone() if t else p["h0"]) @ p["W"])
    return (h[4] ** 2).sum()


def test_a_state_that_is_never_taken_back_through_a_step():
    report = compare_gradients(never_taken_back, last_state, PARAMS, X, batch_axis=1)
    (finding,) = report.findings
    assert finding.code == "missing-derivative"
    assert "handed to the step before as it is" in finding.message
    assert "h[t] = torch.tanh" in finding.site
