"""Loops: over the layers of a network, each of another size, and over time, where mistakes act on each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gradproof import compare_gradients

pytestmark = pytest.mark.usefixtures("no_own_lines")


def layers_problem():
    rng = np.random.default_rng(0)
    sizes = (4, 6, 5, 3)
    params = {}
    for i, (rows, columns) in enumerate(zip(sizes, sizes[1:], strict=False), 1):
        params |= {f"W{i}": rng.normal(size=(rows, columns)) * 0.7, f"b{i}": rng.normal(size=columns)}
    return params, (rng.normal(size=(7, 4)), rng.normal(size=(7, 3)))


def layers(params, x, y, slope=0.3):
    h = x
    for i in (1, 2, 3):
        h = F.leaky_relu(torch.tanh(h @ params[f"W{i}"] + params[f"b{i}"]), slope)
    return F.mse_loss(h, y)


def layers_by_hand(params, x, y, slope=0.3, slope_back=0.3):
    given, h = [], x
    for i in (1, 2, 3):
        z = h @ params[f"W{i}"] + params[f"b{i}"]
        a = np.tanh(z)
        given.append((h, a))
        h = np.where(a > 0, a, slope * a)
    loss, dh, grads = np.mean((h - y) ** 2), 2 * (h - y) / y.size, {}
    for i in (3, 2, 1):
        h, a = given[i - 1]
        dz = dh * np.where(a > 0, 1, slope_back) * (1 - a**2)
        grads[f"W{i}"], grads[f"b{i}"] = h.T @ dz, dz.sum(axis=0)
        dh = dz @ params[f"W{i}"].T
    return loss, grads


def only_finding(candidate, reference, params, data):
    (finding,) = compare_gradients(candidate, reference, params, *data).findings
    return finding


def told_of_layers(**mistake):
    params, data = layers_problem()
    return only_finding(lambda p, *d: layers_by_hand(p, *d, **mistake), layers, params, data)


def test_another_array_in_every_layer_of_its_own_size():
    rng = np.random.default_rng(1)
    masks = [rng.normal(size=(7, size)) for size in (6, 5, 3)]

    def gated(params, x, y, *masks):
        h = x
        for i, mask in enumerate(masks, 1):
            h = F.softplus(h @ params[f"W{i}"] + params[f"b{i}"]) * mask
        return F.mse_loss(h, y)

    def by_hand(params, x, y, *masks):
        given, h = [], x
        for i, mask in enumerate(masks, 1):
            given.append(h)
            h = np.logaddexp(0, h @ params[f"W{i}"] + params[f"b{i}"]) * mask
        given.append(h)
        loss, dh, grads = np.mean((h - y) ** 2), 2 * (h - y) / y.size, {}
        for i, mask in reversed(list(enumerate(masks, 1))):
            dz = dh * mask / (1 + np.exp(-mask))  # the slope at the mask
            grads[f"W{i}"], grads[f"b{i}"] = given[i - 1].T @ dz, dz.sum(axis=0)
            dh = dz @ params[f"W{i}"].T
        return loss, grads

    params, data = layers_problem()
    finding = only_finding(by_hand, gated, params, (*data, *masks))
    assert finding.code == "wrong-operand"
    assert "is taken at another array" in finding.message


@pytest.mark.parametrize("slope", [0.07, 0.55])
@pytest.mark.usefixtures("no_changes_of_code")
def test_any_slope_on_the_way_back_is_found(slope):
    finding = told_of_layers(slope_back=slope)
    assert finding.code == "different-function"
    assert f"is taken with {slope} where its constant is 0.3" in finding.message


def test_any_constant_is_found_where_the_loss_tells_it():
    finding = told_of_layers(slope=0.123, slope_back=0.123)
    assert finding.code == "different-function"
    assert "is 0.123 instead of 0.3" in finding.message


def text_problem():
    rng = np.random.default_rng(0)
    params = {
        "E": rng.normal(size=(5, 3)),
        "W": rng.normal(size=(7, 4)) * 0.6,
        "b": rng.normal(size=4) * 0.5,
        "V": rng.normal(size=(4, 2)),
    }
    words = rng.integers(0, 5, size=(6, 5))
    words[1, 0] = words[0, 0]  # twice at one step
    lengths = np.array([5, 3, 4, 2, 5, 3])
    return params, (words, lengths, rng.normal(size=(6, 4)), rng.normal(size=(6, 5, 2)))


def text(params, words, lengths, h0, y):
    """A recurrent network on [h, x], squared errors over the words that count."""
    x, h, losses = F.embedding(words, params["E"]), h0, []
    for t in range(words.shape[1]):
        h = torch.tanh(torch.cat([h, x[:, t]], 1) @ params["W"] + params["b"])
        error = torch.sigmoid(h @ params["V"]) - y[:, t]
        losses.append((error**2).sum(1) * (t < lengths))
    return torch.stack(losses).sum() / torch.clamp(lengths, max=words.shape[1]).sum()


def text_by_hand(params, words, lengths, h0, y, mistakes=()):
    n, T = words.shape
    H, x, h = h0.shape[1], params["E"][words], [h0]
    mask = np.arange(T) < lengths[:, None]
    weight = mask / mask.sum()
    if "each alone" in mistakes:
        weight = mask / mask.sum(axis=1, keepdims=True) / n
    for t in range(T):
        h.append(np.tanh(np.hstack([h[t], x[:, t]]) @ params["W"] + params["b"]))
    out = 1 / (1 + np.exp(-(np.stack(h[1:], axis=1) @ params["V"])))
    loss = np.sum(weight[..., None] * (out - y) ** 2)
    grads = {name: np.zeros_like(value) for name, value in params.items()}
    dh_next = np.zeros_like(h0)
    for t in reversed(range(T)):
        do = 2 * weight[:, t, None] * (out[:, t] - y[:, t])
        do = do * out[:, t] * (1 - out[:, t])
        grads["V"] += h[t + 1].T @ do
        dh = do @ params["V"].T + ("carry" not in mistakes) * dh_next
        dz = dh * (1 - h[t + 1] ** 2)
        dz = dz if "tanh'" not in mistakes else dh
        grads["W"] += np.hstack([h[t], x[:, t]]).T @ dz
        grads["b"] += dz.sum(axis=0)
        dj = dz @ params["W"].T
        dh_next, dx = dj[:, :H], dj[:, H:]
        if "cut" in mistakes:
            dx, dh_next = dj[:, : dx.shape[1]], dj[:, dx.shape[1] :]
        if "overwritten" in mistakes:
            grads["E"][words[:, t]] += dx
        else:
            np.add.at(grads["E"], words[:, t], dx)
    return loss, grads


def test_text_by_hand_is_right():
    params, data = text_problem()
    assert compare_gradients(text_by_hand, text, params, *data).ok


@pytest.mark.parametrize(
    ("mistakes", "codes", "words"),
    [
        (("cut",), {"wrong-operand"}, "stood in each other's place"),
        (("overwritten",), {"overwritten"}, "slices along axis 1 of the indices"),
        (("each alone",), {"wrong-reduction"}, "worked out by itself, and these are averaged"),
        (("carry", "tanh'"), {"truncated-in-time", "missing-derivative"}, ""),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, tuple) else "",
)
@pytest.mark.usefixtures("no_changes_of_code")
def test_what_is_told_of_a_loop_over_time(mistakes, codes, words):
    params, data = text_problem()
    report = compare_gradients(lambda p, *d: text_by_hand(p, *d, mistakes), text, params, *data)
    assert {finding.code for finding in report.findings} == codes
    assert words in report.findings[0].message


# Of matrices that are stacked


def stacked(params, x):
    a, b, c = (torch.cat([params[name] for name in "ABC"]) @ x).chunk(3)
    return (torch.sigmoid(a) * torch.tanh(b) * torch.cos(c)).square().mean()


def stacked_by_hand(params, x):
    a, b, c = (params[name] @ x for name in "ABC")
    s, t, u = 1 / (1 + np.exp(-a)), np.tanh(b), np.cos(c)
    y = s * t * u
    dy = 2 * y / y.size
    da = dy * t * u  # without s * (1 - s)
    db = dy * s * u * (1 - b**2)  # at b, not at t
    dc = -dy * s * t * np.sin(c)
    return None, {"A": da @ x.T, "B": db @ x.T, "C": dc @ x.T}


@pytest.mark.usefixtures("no_changes_of_code")
def test_two_parts_of_a_stacked_matrix_beside_one_that_is_right():
    rng = np.random.default_rng(3)
    params = {name: rng.normal(size=(3, 4)) for name in "ABC"}
    findings = compare_gradients(stacked_by_hand, stacked, params, rng.normal(size=(4, 6))).findings
    assert {finding.code for finding in findings} == {"missing-derivative", "derivative-at-wrong-point"}


def two_layers(params, x, y):
    """Two layers in a loop, at each step of a sequence."""
    states = [torch.zeros(len(x), 3, dtype=x.dtype), torch.zeros(len(x), 3, dtype=x.dtype)]
    for t in range(x.shape[1]):
        given = x[:, t]
        for k in (0, 1):
            states[k] = given = torch.tanh(given @ params[f"W{k}"] + states[k] @ params[f"U{k}"])
    return F.mse_loss(states[1] @ params["v"], y)


def two_layers_by_hand(params, x, y, turned=lambda U: U.T, step_after=False):
    steps, states, seen = x.shape[1], [np.zeros((len(x), 3)), np.zeros((len(x), 3))], []
    for t in range(steps):
        given = x[:, t]
        for k in (0, 1):
            seen.append((given, states[k]))
            states[k] = given = np.tanh(given @ params[f"W{k}"] + states[k] @ params[f"U{k}"])
            seen[-1] += (given,)
    e = states[1] @ params["v"] - y
    grads = {name: np.zeros_like(value) for name, value in params.items()}
    grads["v"] = 2 * states[1].T @ e / len(e)
    dh = [np.zeros((len(x), 3)), np.outer(2 * e / len(e), params["v"])]
    for t in reversed(range(steps)):
        for k in (1, 0):
            given, before, h = seen[2 * t + k]
            dz = dh[k] * (1 - h**2)
            grads[f"W{k}"] += given.T @ dz
            grads[f"U{k}"] += (h if step_after else before).T @ dz
            dh[k] = dz @ (turned(params["U1"]) if k else params["U0"].T)
            if k:
                dh[0] += dz @ params["W1"].T
    return np.mean(e**2), grads


def two_layers_problem():
    rng = np.random.default_rng(3)
    shapes = {"W0": (4, 3), "U0": (3, 3), "W1": (3, 3), "U1": (3, 3), "v": (3,)}
    params = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    return params, (rng.normal(size=(5, 4, 4)), rng.normal(size=5))


@pytest.mark.usefixtures("no_changes_of_code")
def test_one_layer_of_two_at_each_step():
    params, data = two_layers_problem()
    assert compare_gradients(two_layers_by_hand, two_layers, params, *data).ok
    finding = only_finding(lambda p, *d: two_layers_by_hand(p, *d, turned=lambda U: U), two_layers, params, data)
    assert finding.code == "not-transposed"
    assert "U1 is used as it stands where its transpose belongs" in finding.message


@pytest.mark.usefixtures("no_changes_of_code")
def test_the_state_of_the_step_after_in_each_layer():
    params, data = two_layers_problem()
    finding = only_finding(lambda p, *d: two_layers_by_hand(p, *d, step_after=True), two_layers, params, data)
    assert finding.code == "shifted-in-time"
    assert "of the step after its own" in " ".join(finding.message.split())


def remembered(params, words, lengths):
    """States from a first one that is learned; each sample counts by its own length."""
    h, total = params["h0"].expand(len(words), -1), 0.0
    for t in range(words.shape[1]):
        h = torch.tanh(h @ params["U"] + params["E"][words[:, t]])
        total = total + torch.where(t < lengths, (h**2).sum(dim=1) / lengths, 0.0)
    return total.mean()


def remembered_by_hand(params, words, lengths, last_only=False, step_after=False):
    loss, grads = 0.0, {name: np.zeros_like(value) for name, value in params.items()}
    for row, length in zip(words, lengths, strict=True):
        h = [params["h0"]]
        for word in row:
            h.append(np.tanh(h[-1] @ params["U"] + params["E"][word]))
        size = length * len(words)
        loss += sum(one @ one for one in h[1 : int(length) + 1]) / size
        own = {name: np.zeros_like(value) for name, value in params.items()}
        dh = np.zeros_like(params["h0"])
        for t in reversed(range(len(row))):
            dh = dh + 2 * h[t + 1] / size if t < length else dh
            after, dz = dh, dh * (1 - h[t + 1] ** 2)
            own["U"] += np.outer(h[t], dz)
            own["E"][row[t]] += dz
            dh = params["U"] @ dz
        own["h0"] += after if step_after else dh
        grads = own if last_only else {name: grads[name] + own[name] for name in own}
    return loss, grads


def told_of_what_is_remembered(**mistake):
    rng = np.random.default_rng(4)
    params = {"h0": rng.normal(size=3), "U": rng.normal(size=(3, 3)), "E": rng.normal(size=(6, 3))}
    data = (rng.integers(0, 6, size=(5, 4)), rng.integers(1, 5, size=5).astype(float))
    assert compare_gradients(remembered_by_hand, remembered, params, *data).ok
    return only_finding(lambda p, *d: remembered_by_hand(p, *d, **mistake), remembered, params, data)


@pytest.mark.usefixtures("no_changes_of_code")
def test_the_part_that_one_sample_has_in_a_mean():
    finding = told_of_what_is_remembered(last_only=True)
    assert finding.code == "one-sample-only"
    assert finding.message == "the gradient is the contribution of the last sample alone, not the sum over all 5"


@pytest.mark.usefixtures("no_changes_of_code")
def test_a_first_state_that_is_given_the_first_steps_gradient():
    assert told_of_what_is_remembered(step_after=True).code == "shifted-in-time"


def test_which_of_the_times_that_a_line_runs_is_left():
    def reference(params, y, aims):
        loss = 0.0
        for aim in aims:
            y = y + 0.3 * params["a"] @ torch.tanh(y + 0.1 * params["a"] @ y)
            loss = loss + ((y - aim) ** 2).sum()
        return loss

    def by_hand(params, y, aims):
        a, ys, dy = params["a"], [y], np.zeros_like(y)
        for _ in aims:
            ys.append(ys[-1] + 0.3 * a @ np.tanh(ys[-1] + 0.1 * a @ ys[-1]))
        loss, da = np.sum((np.array(ys[1:]) - aims) ** 2), np.zeros_like(a)
        for t in range(len(aims) - 1, -1, -1):
            dy = dy + 2 * (ys[t + 1] - aims[t])
            h = np.tanh(ys[t] + 0.1 * a @ ys[t])
            dz = (0.3 * a.T @ dy) * (1 - h**2)
            da += 0.3 * np.outer(dy, h)
            da = 0.1 * np.outer(dz, ys[t])  # what the other line and the later steps have sent is lost
            dy = dy + dz + 0.1 * a.T @ dz
        return loss, {"a": da}

    rng = np.random.default_rng(5)
    data = rng.normal(size=3), rng.normal(size=(4, 3))
    (finding,) = compare_gradients(by_hand, reference, {"a": rng.normal(size=(3, 3))}, *data).findings
    assert finding.code == "overwritten"
    assert "the first of the 4 times that it runs" in finding.message
