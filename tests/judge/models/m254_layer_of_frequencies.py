"""A layer of an operator network: low frequencies of a signal mixed by complex weights, beside a plain route."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, u, target):
    v = u @ params["lift"] + params["lift_b"]
    steps, modes = u.shape[1], params["R_re"].shape[0]
    spectrum = torch.fft.rfft(v, dim=1)
    mixed = torch.zeros_like(spectrum)
    R = torch.complex(params["R_re"], params["R_im"])
    mixed[:, :modes] = torch.einsum("nki,kio->nko", spectrum[:, :modes], R)
    s = torch.fft.irfft(mixed, n=steps, dim=1)
    h = F.silu(s + v @ params["W"] + params["b"])
    y = h @ params["project"] + params["project_b"]
    return (torch.linalg.vector_norm(y - target, dim=(1, 2)) / torch.linalg.vector_norm(target, dim=(1, 2))).mean()


def sigmoid(a):
    return 1.0 / (1.0 + np.exp(-a))


def spectral_forward(v, R):
    steps, modes = v.shape[1], R.shape[0]
    spectrum = np.fft.rfft(v, axis=1)
    mixed = np.zeros(spectrum.shape, dtype=complex)
    for k in range(modes):
        mixed[:, k] = spectrum[:, k] @ R[k]
    return np.fft.irfft(mixed, n=steps, axis=1), spectrum


def spectral_backward(ds, spectrum, R):
    steps, modes = ds.shape[1], R.shape[0]
    # every frequency but the constant one stands for two, itself and its mirror image
    dmixed = np.fft.rfft(ds, axis=1) / steps
    dmixed[:, 1:] *= 2
    dR = np.zeros_like(R)
    dspectrum = np.zeros_like(spectrum)
    for k in range(modes):
        dR[k] = spectrum[:, k].conj().T @ dmixed[:, k]
        dspectrum[:, k] = dmixed[:, k] @ R[k].conj().T
    dspectrum[:, 1:] /= 2
    dv = steps * np.fft.irfft(dspectrum, n=steps, axis=1)
    return dv, dR


def candidate(params, u, target):
    n = u.shape[0]
    W, project = params["W"], params["project"]
    R = params["R_re"] + 1j * params["R_im"]

    v = u @ params["lift"] + params["lift_b"]
    s, spectrum = spectral_forward(v, R)
    a = s + v @ W + params["b"]
    gate = sigmoid(a)
    h = a * gate
    y = h @ project + params["project_b"]
    miss = np.sqrt(np.sum((y - target) ** 2, axis=(1, 2)))
    size = np.sqrt(np.sum(target**2, axis=(1, 2)))
    loss = np.mean(miss / size)

    dy = (y - target) / (n * miss * size)[:, None, None]
    dproject = np.einsum("nth,nto->ho", h, dy)
    dproject_b = dy.sum(axis=(0, 1))
    dh = dy @ project.T
    da = dh * (gate + a * gate * (1 - gate))
    dW = np.einsum("nti,nto->io", v, da)
    db = da.sum(axis=(0, 1))
    dv, dR = spectral_backward(da, spectrum, R)
    dv += da @ W.T
    dlift = np.einsum("ntc,nth->ch", u, dv)
    dlift_b = dv.sum(axis=(0, 1))
    return loss, {
        "lift": dlift,
        "lift_b": dlift_b,
        "R_re": dR.real,
        "R_im": dR.imag,
        "W": dW,
        "b": db,
        "project": dproject,
        "project_b": dproject_b,
    }


def problem(rng):
    n, steps, channels, width, modes, out = 5, 7, 2, 4, 3, 6
    params = {
        "lift": rng.normal(size=(channels, width)) * 0.7,
        "lift_b": rng.normal(size=width) * 0.3,
        "R_re": rng.normal(size=(modes, width, width)) * 0.4,
        "R_im": rng.normal(size=(modes, width, width)) * 0.4,
        "W": rng.normal(size=(width, width)) * 0.5,
        "b": rng.normal(size=width) * 0.3,
        "project": rng.normal(size=(width, out)) * 0.6,
        "project_b": rng.normal(size=out) * 0.3,
    }
    return params, (rng.normal(size=(n, steps, channels)), rng.normal(size=(n, steps, out)))


WRONG = [
    wrong(
        "spectrum_not_conjugated_for_its_weights",
        "wrong-operand|wrong-sign",
        "dR[k] = spectrum[:, k].conj().T @ dmixed[:, k]",
        "dR[k] = spectrum[:, k].T @ dmixed[:, k]",
    ),
    wrong(
        "weights_transposed_but_not_conjugated",
        "wrong-operand|wrong-sign",
        "dspectrum[:, k] = dmixed[:, k] @ R[k].conj().T",
        "dspectrum[:, k] = dmixed[:, k] @ R[k].T",
    ),
    wrong(
        "weights_conjugated_but_not_transposed",
        "not-transposed",
        "dspectrum[:, k] = dmixed[:, k] @ R[k].conj().T",
        "dspectrum[:, k] = dmixed[:, k] @ R[k].conj()",
    ),
    wrong(
        "mirror_frequencies_forgotten",
        "wrong-scale|missing-path",
        "    dmixed[:, 1:] *= 2\n",
        "",
    ),
    wrong(
        "half_spectrum_not_halved_on_the_way_to_the_input",
        "wrong-scale",
        "    dspectrum[:, 1:] /= 2\n",
        "",
    ),
    wrong(
        "inverse_transform_taken_for_the_adjoint",
        "wrong-scale",
        "dv = steps * np.fft.irfft(dspectrum, n=steps, axis=1)",
        "dv = np.fft.irfft(dspectrum, n=steps, axis=1)",
    ),
    wrong(
        "all_frequencies_counted_twice",
        "wrong-scale",
        "    dmixed[:, 1:] *= 2\n",
        "    dmixed *= 2\n",
    ),
    wrong("plain_route_forgotten_backwards", "missing-path", "    dv += da @ W.T\n", ""),
    wrong("spectral_route_overwritten_by_the_plain_one", "missing-path|overwritten", "dv += da @ W.T", "dv = da @ W.T"),
    wrong(
        "gradient_of_swish_without_its_second_term",
        "missing-derivative|missing-path|different-function",
        "da = dh * (gate + a * gate * (1 - gate))",
        "da = dh * gate",
    ),
    wrong(
        "error_not_divided_by_its_length",
        "missing-derivative|different-function|wrong-operand",
        "dy = (y - target) / (n * miss * size)[:, None, None]",
        "dy = (y - target) / (n * size)[:, None, None]",
    ),
    wrong(
        "imaginary_weights_downhill",
        "wrong-sign",
        '"R_im": dR.imag,',
        '"R_im": -dR.imag,',
    ),
]

TOGETHER = [
    ("spectrum_not_conjugated_for_its_weights", "mirror_frequencies_forgotten"),
    ("weights_transposed_but_not_conjugated", "gradient_of_swish_without_its_second_term"),
    ("inverse_transform_taken_for_the_adjoint", "error_not_divided_by_its_length"),
    ("half_spectrum_not_halved_on_the_way_to_the_input", "imaginary_weights_downhill"),
]

RIGHT = [
    right(
        "transforms_by_their_matrix",
        "    dspectrum[:, 1:] /= 2\n    dv = steps * np.fft.irfft(dspectrum, n=steps, axis=1)\n",
        "    k, t = np.arange(spectrum.shape[1]), np.arange(steps)\n"
        "    waves = np.exp(2j * np.pi * np.outer(t, k) / steps)\n"
        '    dv = np.einsum("tk,nki->nti", waves, dspectrum).real\n',
        "da = dh * (gate + a * gate * (1 - gate))",
        "da = dh * (h + gate * (1 - h))",
    )
]
