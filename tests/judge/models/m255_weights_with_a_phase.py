"""A classifier of complex signals: complex weights, a threshold on the modulus, moduli of the outputs as scores."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x_re, x_im, labels):
    x = torch.complex(x_re, x_im)
    W1 = torch.complex(params["W1_re"], params["W1_im"])
    z = x @ W1 + torch.complex(params["c1_re"], params["c1_im"])
    size = z.abs()
    h = F.relu(size + params["threshold"]) * z / size
    W2 = torch.complex(params["W2_re"], params["W2_im"])
    o = h @ W2
    return F.cross_entropy(params["gain"] * o.abs(), labels)


def mod_relu(z, threshold):
    r = np.abs(z)
    unit = z / r
    f = np.maximum(r + threshold, 0.0)
    return f * unit, (r, unit, f)


def mod_relu_backward(g, cache):
    """Gradients are written as complex numbers: d/d(real part) + i d/d(imaginary part)."""
    r, unit, f = cache
    turned = np.conj(unit) * g
    radial = (f > 0) * turned.real
    around = turned.imag * f / r
    return unit * (radial + 1j * around), radial.sum(axis=0)


def candidate(params, x_re, x_im, labels):
    n = len(labels)
    x = x_re + 1j * x_im
    W1 = params["W1_re"] + 1j * params["W1_im"]
    c1 = params["c1_re"] + 1j * params["c1_im"]
    W2 = params["W2_re"] + 1j * params["W2_im"]
    gain = params["gain"]

    z = np.dot(x, W1) + c1
    h, cache = mod_relu(z, params["threshold"])
    o = np.dot(h, W2)
    m = np.abs(o)
    s = gain * m
    e = np.exp(s - s.max(axis=1, keepdims=True))
    prob = e / e.sum(axis=1, keepdims=True)
    loss = -np.mean(np.log(prob[np.arange(n), labels]))

    ds = prob.copy()
    ds[np.arange(n), labels] -= 1
    ds /= n
    dgain = np.sum(ds * m, axis=0)
    dm = ds * gain
    do = dm * o / m
    dW2 = np.dot(np.conj(h).T, do)
    dh = np.dot(do, np.conj(W2).T)
    dz, dthreshold = mod_relu_backward(dh, cache)
    dW1 = np.dot(np.conj(x).T, dz)
    dc1 = dz.sum(axis=0)
    return loss, {
        "W1_re": dW1.real,
        "W1_im": dW1.imag,
        "c1_re": dc1.real,
        "c1_im": dc1.imag,
        "threshold": dthreshold,
        "W2_re": dW2.real,
        "W2_im": dW2.imag,
        "gain": dgain,
    }


def problem(rng):
    n, inputs, hidden, classes = 7, 3, 5, 4
    params = {
        "W1_re": rng.normal(size=(inputs, hidden)) * 0.6,
        "W1_im": rng.normal(size=(inputs, hidden)) * 0.6,
        "c1_re": rng.normal(size=hidden) * 0.3,
        "c1_im": rng.normal(size=hidden) * 0.3,
        "threshold": -rng.uniform(0.2, 0.9, size=hidden),
        "W2_re": rng.normal(size=(hidden, classes)) * 0.7,
        "W2_im": rng.normal(size=(hidden, classes)) * 0.7,
        "gain": rng.uniform(0.6, 1.5, size=classes),
    }
    labels = rng.integers(0, classes, size=n)
    return params, (rng.normal(size=(n, inputs)), rng.normal(size=(n, inputs)), labels)


WRONG = [
    wrong(
        "input_transposed_but_not_conjugated",
        "wrong-operand|wrong-sign",
        "dW1 = np.dot(np.conj(x).T, dz)",
        "dW1 = np.dot(x.T, dz)",
    ),
    wrong(
        "second_weights_not_conjugated",
        "wrong-operand|wrong-sign",
        "dh = np.dot(do, np.conj(W2).T)",
        "dh = np.dot(do, W2.T)",
    ),
    wrong(
        "hidden_signal_not_conjugated",
        "wrong-operand|wrong-sign",
        "dW2 = np.dot(np.conj(h).T, do)",
        "dW2 = np.dot(h.T, do)",
    ),
    wrong(
        "phase_taken_for_constant",
        "missing-path",
        "    around = turned.imag * f / r\n    return unit * (radial + 1j * around), radial.sum(axis=0)",
        "    return unit * radial, radial.sum(axis=0)",
    ),
    wrong(
        "passed_through_like_a_real_rectifier",
        "missing-derivative|missing-path|different-function",
        "around = turned.imag * f / r",
        "around = turned.imag * (f > 0)",
    ),
    wrong(
        "below_the_threshold_still_learns",
        "missing-derivative",
        "radial = (f > 0) * turned.real",
        "radial = turned.real",
    ),
    wrong(
        "threshold_from_the_unturned_gradient",
        "wrong-operand|missing-derivative",
        "return unit * (radial + 1j * around), radial.sum(axis=0)",
        "return unit * (radial + 1j * around), ((f > 0) * g.real).sum(axis=0)",
    ),
    wrong(
        "score_of_the_squared_modulus_backwards",
        "missing-derivative|different-function|wrong-operand",
        "do = dm * o / m",
        "do = 2 * dm * o",
    ),
    wrong("half_for_the_conjugate_derivative", "wrong-scale", "do = dm * o / m", "do = dm * o / (2 * m)"),
    wrong(
        "outputs_conjugated_too",
        "wrong-operand|wrong-sign",
        "do = dm * o / m",
        "do = dm * np.conj(o) / m",
    ),
    wrong("gain_forgotten_backwards", "missing-derivative", "dm = ds * gain", "dm = ds"),
    wrong(
        "offset_with_the_other_sign_of_i",
        "wrong-sign",
        '"c1_im": dc1.imag,',
        '"c1_im": -dc1.imag,',
    ),
]

TOGETHER = [
    ("input_transposed_but_not_conjugated", "half_for_the_conjugate_derivative"),
    ("second_weights_not_conjugated", "phase_taken_for_constant"),
    ("hidden_signal_not_conjugated", "gain_forgotten_backwards"),
    ("below_the_threshold_still_learns", "score_of_the_squared_modulus_backwards"),
]

RIGHT = [
    right(
        "real_and_imaginary_parts_apart",
        "    turned = np.conj(unit) * g\n"
        "    radial = (f > 0) * turned.real\n"
        "    around = turned.imag * f / r\n"
        "    return unit * (radial + 1j * around), radial.sum(axis=0)",
        "    active = f > 0\n"
        "    c, s = unit.real, unit.imag\n"
        "    radial = active * (c * g.real + s * g.imag)\n"
        "    scale = f / r\n"
        "    along = c * g.real + s * g.imag\n"
        "    dx = scale * (g.real - c * along) + c * radial\n"
        "    dy = scale * (g.imag - s * along) + s * radial\n"
        "    return dx + 1j * dy, radial.sum(axis=0)",
    )
]
