"""Families of faults, each in the smallest model that has its mistake."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gradproof import compare_gradients

pytestmark = pytest.mark.usefixtures("no_own_lines")

RNG = np.random.default_rng(0)
X, Y, STATES = RNG.normal(size=(6, 4)), RNG.normal(size=(6, 3)), RNG.normal(size=(6, 5, 4))
MASK = np.array([[1, 1, 0, 1, 1], [1, 1, 1, 0, 0], [1, 0, 1, 1, 1], [0, 1, 1, 1, 1], [1, 1, 1, 1, 0], [1, 1, 0, 0, 1]])
LENGTHS = np.array([5, 2, 4, 3, 5, 2])
IMAGES = RNG.normal(size=(6, 2, 3, 4))


def by_torch(reference):
    """A candidate with the numbers of another reference: what somebody would get who made that function by hand."""

    def candidate(params, *data):
        tensors = {name: torch.tensor(value, requires_grad=True) for name, value in params.items()}
        loss = reference(tensors, *(torch.tensor(one) for one in data))
        found = torch.autograd.grad(loss, list(tensors.values()))
        return loss.item(), {name: one.numpy().copy() for name, one in zip(tensors, found, strict=True)}

    return candidate


def told(candidate, reference, params, *data):
    (finding,) = compare_gradients(candidate, reference, params, *data).findings
    return finding.code, finding.message


def masked(params, states, mask, y):
    pooled = (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
    return F.mse_loss(torch.tanh(pooled @ params["W"]), y)


def masked_by_length(params, states, lengths, y):
    steps = torch.arange(states.shape[1])
    return masked(params, states, (steps < lengths[:, None]).to(states.dtype), y)


@pytest.mark.parametrize(
    ("reference", "change", "data", "code", "words"),
    [
        (masked, lambda s, m, y: (s, 1 - m, y), (STATES, MASK, Y), "wrong-operand", "1 for 0, and 0 for 1"),
        (masked, lambda s, m, y: (s, 0 * m + 1, y), (STATES, MASK, Y), "wrong-operand", "taken to be 1 everywhere"),
        (masked, lambda s, m, y: (s.flip(1), m, y), (STATES, MASK, Y), "flipped", "in reversed order along axis 1"),
        (masked, lambda s, m, y: (s.roll(1, 1), m, y), (STATES, MASK, Y), "shifted-in-time", "is the one before it"),
        (
            masked_by_length,
            lambda s, n, y: (s, torch.full_like(n, 5), y),
            (STATES, LENGTHS, Y),
            "wrong-operand",
            "what lies beyond an end counts too",
        ),
    ],
    ids=["inverted", "forgotten", "reversed", "moved", "lengths"],
)
def test_other_inputs(reference, change, data, code, words):
    params = {"W": RNG.normal(size=(4, 3))}
    wrong = by_torch(lambda p, *d: reference(p, *change(*d)))
    found, message = told(wrong, reference, params, *data)
    assert found == code
    assert words in message


def test_a_parameter_that_is_used_transposed():
    def reference(params, x, y):
        return F.mse_loss(torch.tanh(torch.tanh(x @ params["A"]) @ params["A"]) @ params["B"], y)

    params = {"A": RNG.normal(size=(4, 4)), "B": RNG.normal(size=(4, 3))}
    wrong = by_torch(lambda p, *d: reference({**p, "A": p["A"].T}, *d))
    assert told(wrong, reference, params, X, Y) == (
        "not-transposed",
        "A is used transposed wherever it stands\nYour loss and your gradient belong together, but to this function.",
    )


def last_states(params, states, lengths, y):
    h = torch.tanh(states @ params["U"])
    return F.mse_loss(h[torch.arange(len(h)), lengths - 1] @ params["W"], y)


def last_states_by_hand(params, states, lengths, y, shift=0):
    h, rows = np.tanh(states @ params["U"]), np.arange(len(states))
    picked = h[rows, lengths - 1]
    e = picked @ params["W"] - y
    dh = np.zeros_like(h)
    dh[rows, lengths - 1 + shift if shift is not None else -1] = 2 * e / e.size @ params["W"].T
    dz = dh * (1 - h**2)
    return np.mean(e**2), {"U": np.einsum("nti,ntj->ij", states, dz), "W": picked.T @ (2 * e / e.size)}


@pytest.mark.parametrize(
    ("shift", "code", "words"),
    [(None, "wrong-operand", "to the last for all"), (-1, "shifted-in-time", "to those one before")],
)
def test_rows_that_the_gradient_goes_to(shift, code, words):
    params = {"U": RNG.normal(size=(4, 4)), "W": RNG.normal(size=(4, 3))}
    assert compare_gradients(last_states_by_hand, last_states, params, STATES, LENGTHS, Y).ok
    wrong = told(lambda p, *d: last_states_by_hand(p, *d, shift=shift), last_states, params, STATES, LENGTHS, Y)
    assert wrong[0] == code
    assert words in wrong[1]


def convolution(params, images, y):
    h = F.silu(F.conv2d(images, params["K"])).flatten(1)
    return F.mse_loss(h @ params["W"], y)


def convolution_by_hand(params, images, y, mistake=""):
    K, (n, _, rows, columns) = params["K"], images.shape
    height, width = rows - K.shape[2] + 1, columns - K.shape[3] + 1
    z = np.zeros((n, len(K), height, width))
    for i in range(height):
        for j in range(width):
            z[:, :, i, j] = np.tensordot(
                images[:, :, i : i + K.shape[2], j : j + K.shape[3]], K, ([1, 2, 3], [1, 2, 3])
            )
    s = 1 / (1 + np.exp(-z))
    h = z * s
    e = h.reshape(n, -1) @ params["W"] - y
    de = 2 * e / e.size
    dh = (de @ params["W"].T).reshape(h.shape)
    if mistake == "channels last":
        dh = (de @ params["W"].T).reshape(n, height, width, -1).transpose(0, 3, 1, 2)
    dz = dh * s * (1 + (h if mistake == "output" else z) * (1 - s))
    dK = np.zeros_like(K)
    for i in range(height):
        for j in range(width):
            window = images[:, :, i : i + K.shape[2], j : j + K.shape[3]]
            one = np.tensordot(dz[:, :, i, j], window, (0, 0))
            dK = one if mistake == "last window" else dK + one
    return np.mean(e**2), {"K": dK, "W": h.reshape(n, -1).T @ de}


@pytest.mark.parametrize(
    ("mistake", "code", "words"),
    [
        ("channels last", "wrong-axis", "as if the axes of that were in the order (0, 2, 3, 1)"),
        ("output", "derivative-at-wrong-point", "its output stands for `input`"),
        ("last window", "overwritten", "what the last window contributes alone"),
    ],
)
def test_convolution(mistake, code, words):
    params = {"K": RNG.normal(size=(3, 2, 2, 2)), "W": RNG.normal(size=(18, 3)) * 0.3}
    assert compare_gradients(convolution_by_hand, convolution, params, IMAGES, Y).ok
    found, message = told(lambda p, *d: convolution_by_hand(p, *d, mistake=mistake), convolution, params, IMAGES, Y)
    assert found == code
    assert words in message


def test_dropout_left_out_on_the_way_back_is_one_mistake():
    keep = (RNG.random((6, 4)) < 0.7).astype(float)

    def reference(params, x, keep, y):
        return F.mse_loss(torch.tanh(torch.tanh(x @ params["U"]) * keep / 0.7) @ params["W"], y)

    def by_hand(params, x, keep, y):
        a = np.tanh(x @ params["U"])
        h = np.tanh(a * keep / 0.7)
        e = h @ params["W"] - y
        de = 2 * e / e.size
        da = de @ params["W"].T * (1 - h**2) * (1 - a**2)
        return np.mean(e**2), {"U": x.T @ da, "W": h.T @ de}

    params = {"U": RNG.normal(size=(4, 4)), "W": RNG.normal(size=(4, 3))}
    found, message = told(by_hand, reference, params, X, keep, Y)
    assert found == "missing-derivative"
    assert message.startswith("all factors of ")
    assert "are left out on the way back" in message


def test_a_number_added_to_what_goes_into_an_activation():
    def reference(params, x, y):
        return F.mse_loss(torch.sigmoid(x @ params["U"]) @ params["W"], y)

    def opened(params, x, y):
        return F.mse_loss(torch.sigmoid(x @ params["U"] + 1.5) @ params["W"], y)

    params = {"U": RNG.normal(size=(4, 4)), "W": RNG.normal(size=(4, 3))}
    found, message = told(by_torch(opened), reference, params, X, Y)
    assert found == "different-function"
    assert "is made larger by 1.5" in message


def centred(params, x, y):
    h = x @ params["U"]
    return F.mse_loss(torch.tanh(h - h.mean(1, keepdim=True)) @ params["W"], y)


def centred_by_hand(params, x, y, axis=1):
    h = x @ params["U"]
    a = np.tanh(h - h.mean(1, keepdims=True))
    e = a @ params["W"] - y
    de = 2 * e / e.size
    dc = de @ params["W"].T * (1 - a**2)
    return np.mean(e**2), {"U": x.T @ (dc - dc.mean(axis, keepdims=True)), "W": a.T @ de}


def test_a_mean_along_another_axis_on_the_way_back():
    params = {"U": RNG.normal(size=(4, 5)), "W": RNG.normal(size=(5, 3))}
    assert compare_gradients(centred_by_hand, centred, params, X, Y).ok
    found, message = told(lambda p, *d: centred_by_hand(p, *d, axis=0), centred, params, X, Y)
    assert found == "wrong-axis"
    assert "what arrives is summed along axis 0, not along axis 1" in message


def normalised(params, x, y):
    h = F.layer_norm(x @ params["U"], (5,), eps=0.01)
    h = F.layer_norm(torch.tanh(h) @ params["V"], (5,), eps=0.01)
    return F.mse_loss(h @ params["W"], y)


def spelled_out(x):
    centre = x - x.mean(1, keepdim=True)
    return centre / torch.sqrt((centre**2).mean(1, keepdim=True) + 0.01)


def normalised_in_full(params, x, y):
    h = spelled_out(torch.tanh(spelled_out(x @ params["U"])) @ params["V"])
    return F.mse_loss(h @ params["W"], y)


def norm(x):
    centre = x - x.mean(1, keepdims=True)
    std = np.sqrt((centre**2).mean(1, keepdims=True) + 0.01)
    return centre / std, (centre / std, std)


def norm_back(g, cache, mistake=""):
    y, std = cache
    first = g.mean(0 if mistake == "axis" else 1, keepdims=True)
    return (g - first - y * (g * y).mean(1, keepdims=True)) / std


def normalised_by_hand(params, x, y, mistake=""):
    first, cache1 = norm(x @ params["U"])
    a = np.tanh(first)
    h, cache2 = norm(a @ params["V"])
    e = h @ params["W"] - y
    de = 2 * e / e.size
    db = norm_back(de @ params["W"].T, cache1 if mistake == "cache" else cache2, mistake)
    da = db @ params["V"].T
    dz = norm_back(da * (1 - a**2), cache1, mistake)
    return np.mean(e**2), {"U": x.T @ dz, "V": a.T @ db, "W": h.T @ de}


@pytest.mark.parametrize(
    ("reference", "mistake", "code", "words"),
    [
        (normalised, "axis", "wrong-axis", "mean(g) goes along axis 0"),
        (normalised_in_full, "axis", "wrong-axis", "mean(g) goes along axis 0"),
        (normalised, "cache", "wrong-operand", "has kept is used on the way back through that of `layer_norm`"),
        (normalised_in_full, "cache", "wrong-operand", "has kept is used on the way back through that of the function"),
    ],
)
def test_normalisations(reference, mistake, code, words):
    params = {"U": RNG.normal(size=(4, 5)), "V": RNG.normal(size=(5, 5)), "W": RNG.normal(size=(5, 3))}
    assert compare_gradients(normalised_by_hand, reference, params, X, Y).ok
    wrong = told(lambda p, *d: normalised_by_hand(p, *d, mistake=mistake), reference, params, X, Y)
    assert wrong[0] == code
    assert words in wrong[1]


def test_a_normalisation_with_gain_that_is_passed_by():
    def reference(params, x, y):
        h = F.layer_norm(x @ params["U"], (5,), params["gain"], params["shift"], eps=0.01)
        return F.mse_loss(h @ params["W"], y)

    def by_hand(params, x, y):
        n, _ = norm(x @ params["U"])
        h = params["gain"] * n + params["shift"]
        e = h @ params["W"] - y
        de = 2 * e / e.size
        dh = de @ params["W"].T
        grads = {"gain": (dh * n).sum(axis=0), "shift": dh.sum(axis=0), "W": h.T @ de}
        return np.mean(e**2), {"U": x.T @ dh, **grads}

    params = {"U": RNG.normal(size=(4, 5)), "W": RNG.normal(size=(5, 3))}
    params |= {"gain": RNG.uniform(0.5, 2.0, size=5), "shift": RNG.normal(size=5)}
    found, message = told(by_hand, reference, params, X, Y)
    assert found == "missing-derivative"
    assert "what arrives is passed on as it is" in message


def labelled(params, x, labels):
    return F.cross_entropy(x @ params["W"], labels, ignore_index=-1, label_smoothing=0.2)


def labelled_by_hand(params, x, labels, masked=True):
    z = x @ params["W"]
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    kept, classes = labels != -1, z.shape[1]
    goal = 0.8 * np.eye(classes)[labels] + 0.2 / classes
    loss = -np.sum((goal * np.log(p))[kept]) / kept.sum()
    dz = (p - goal) * (kept[:, None] if masked else 1) / kept.sum()
    return loss, {"W": x.T @ dz}


def test_ignored_rows_in_the_gradient():
    params, labels = {"W": RNG.normal(size=(4, 5))}, np.array([2, -1, 0, 4, -1, 1])
    assert compare_gradients(labelled_by_hand, labelled, params, X, labels).ok
    found, message = told(lambda p, *d: labelled_by_hand(p, *d, masked=False), labelled, params, X, labels)
    assert found == "missing-derivative"
    assert "is not applied on the way back: what it leaves out counts too" in message


def test_another_forward_pass_with_the_right_way_back():
    """A mistake on the way forward alone: the rules of the way back are right, and taken at other values."""

    def reference(params, x, y):
        return F.mse_loss(torch.tanh(x @ params["U"]) @ params["W"], y)

    def by_hand(params, x, y):
        a = np.sin(x @ params["U"])
        e = a @ params["W"] - y
        de = 2 * e / e.size
        return np.mean(e**2), {"U": x.T @ (de @ params["W"].T * (1 - a**2)), "W": a.T @ de}

    params = {"U": RNG.normal(size=(4, 5)) * 0.5, "W": RNG.normal(size=(5, 3))}
    found, message = told(by_hand, reference, params, X, Y)
    assert found == "different-function"
    assert message.startswith("sin stands where the reference has `")
    assert message.endswith("Your loss is this function's; on the way back, your rules are those of the right one.")


def test_routes_that_part_and_meet_again_and_again_take_no_longer_each_time():
    """A simulation on one line a step: the ways through thirty of its steps are more than anybody could count."""

    def logistic(params, x):
        for _ in range(30):
            x = x + 0.1 * params["r"] * x * (1 - x)
        return x.sum()

    def by_hand(params, x):
        dx, states = np.ones_like(x), [x]
        for _ in range(30):
            states.append(states[-1] + 0.1 * params["r"] * states[-1] * (1 - states[-1]))
        dr = np.zeros_like(params["r"])
        for before in states[-2::-1]:
            dr += 0.1 * dx * before * (1 - before)
            dx = dx * (1 + 0.1 * params["r"] * (1 - before))
        return states[-1].sum(), {"r": dr}

    params = {"r": RNG.uniform(0.5, 1.5, size=4)}
    code, message = told(by_hand, logistic, params, RNG.uniform(0.2, 0.8, size=4))
    assert code == "missing-path"
    assert "each of the 30 times that it runs" in message


def test_a_modulus_that_is_left_out_is_no_loss():
    def spectrum(params, target):
        return torch.log(torch.fft.rfft(params["x"] * 2).abs() + 0.1).sub(target).square().sum()

    def by_hand(params, target):
        y = np.fft.rfft(params["x"] * 2)
        e = np.log10(np.abs(y) + 0.1) - target
        dy = 2 * e / (np.abs(y) + 0.1) * y / np.abs(y) / np.log(10)
        half = np.r_[dy[0], dy[1:-1] / 2, dy[-1]]
        return np.sum(e**2), {"x": 2 * 8 * np.fft.irfft(half, 8)}

    code, message = told(by_hand, spectrum, {"x": RNG.normal(size=8)}, RNG.normal(size=5))
    assert code == "different-function"
    assert "log10" in message


def test_a_part_of_what_one_call_does_is_not_told_as_its_result():
    def reference(params, x):
        return (F.normalize(x @ params["W"], dim=1) ** 3).sum()

    def by_hand(params, x):
        f = x @ params["W"]
        norm = np.sqrt((f**2).sum(axis=1, keepdims=True))
        u = f / norm
        du = 3 * u**2
        df = (du - u * (u * du).sum(axis=1, keepdims=True)) / norm**2
        return (u**3).sum(), {"W": x.T @ df}

    code, message = told(by_hand, reference, {"W": RNG.normal(size=(4, 3))}, X)
    assert code == "extra-derivative"
    factor = message.split("twice the factor ")[1]
    assert factor.startswith("1 / the result of ")
    assert "`clamp_min`" in factor
