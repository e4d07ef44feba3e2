"""Ptychography: a complex probe laid over an object at several places, moduli of the Fourier transform compared."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, corner, measured):
    probe = torch.complex(params["probe_re"], params["probe_im"])
    thing = torch.polar(torch.exp(-params["absorb"]), params["phase"])
    rows, columns = probe.shape
    cost = 0.0
    for (top, left), seen in zip(corner.tolist(), measured, strict=True):
        far = torch.fft.fft2(probe * thing[top : top + rows, left : left + columns])
        modulus = torch.sqrt(far.real**2 + far.imag**2 + 0.05)
        cost = cost + ((modulus - seen) ** 2).sum()
    return cost / measured.numel() + 0.02 * (params["absorb"] ** 2).sum()


def propagate(wave):
    return np.fft.fft2(wave)


def propagate_back(far):
    """The adjoint of `propagate`, which is not its inverse."""
    return np.fft.ifft2(far) * (far.shape[-1] * far.shape[-2])


def candidate(params, corner, measured, eps=0.05, decay=0.02):
    probe = params["probe_re"] + 1j * params["probe_im"]
    thing = np.exp(-params["absorb"] + 1j * params["phase"])
    rows, columns = probe.shape

    fars, moduli = [], []
    total = 0.0
    for (top, left), seen in zip(corner, measured, strict=True):
        patch = thing[top : top + rows, left : left + columns]
        far = propagate(probe * patch)
        modulus = np.sqrt(np.abs(far) ** 2 + eps)
        total += np.sum((modulus - seen) ** 2)
        fars.append(far)
        moduli.append(modulus)
    loss = total / measured.size + decay * np.sum(params["absorb"] ** 2)

    # dL/dRe + i dL/dIm of every complex quantity
    dthing = np.zeros_like(thing)
    dprobe = np.zeros_like(probe)
    for m, (top, left) in enumerate(corner):
        here = slice(top, top + rows), slice(left, left + columns)
        dmodulus = 2 * (moduli[m] - measured[m]) / measured.size
        dfar = dmodulus * fars[m] / moduli[m]
        dexit = propagate_back(dfar)
        dthing[here] += np.conj(probe) * dexit
        dprobe += np.conj(thing[here]) * dexit
    along = np.conj(thing) * dthing
    grads = {
        "probe_re": dprobe.real,
        "probe_im": dprobe.imag,
        "absorb": -along.real + 2 * decay * params["absorb"],
        "phase": along.imag,
    }
    return loss, grads


def problem(rng):
    params = {
        "probe_re": rng.normal(size=(3, 4)),
        "probe_im": rng.normal(size=(3, 4)),
        "absorb": rng.uniform(0.05, 0.9, size=(6, 7)),
        "phase": rng.normal(size=(6, 7)),
    }
    corner = np.array([[0, 0], [0, 2], [2, 1], [3, 3], [1, 3]])
    return params, (corner, rng.uniform(0.5, 5.0, size=(5, 3, 4)))


WRONG = [
    wrong(
        "inverse_transform_for_the_adjoint",
        "wrong-scale",
        "return np.fft.ifft2(far) * (far.shape[-1] * far.shape[-2])",
        "return np.fft.ifft2(far)",
    ),
    wrong(
        "transformed_forwards_once_more",
        "flipped|different-function",
        "return np.fft.ifft2(far) * (far.shape[-1] * far.shape[-2])",
        "return np.fft.fft2(far)",
    ),
    wrong(
        "one_side_counted_in_the_scale_of_the_adjoint",
        "wrong-scale",
        "* (far.shape[-1] * far.shape[-2])",
        "* far.shape[-1]",
    ),
    wrong(
        "probe_not_conjugated",
        "wrong-operand|wrong-sign",
        "dthing[here] += np.conj(probe) * dexit",
        "dthing[here] += probe * dexit",
    ),
    wrong(
        "object_not_conjugated",
        "wrong-operand|wrong-sign",
        "dprobe += np.conj(thing[here]) * dexit",
        "dprobe += thing[here] * dexit",
    ),
    wrong(
        "overlapping_patches_overwrite",
        "overwritten",
        "dthing[here] += np.conj(probe)",
        "dthing[here] = np.conj(probe)",
    ),
    wrong(
        "factor_of_the_wirtinger_derivative",
        "wrong-scale",
        "dmodulus = 2 * (moduli[m] - measured[m]) / measured.size",
        "dmodulus = (moduli[m] - measured[m]) / measured.size",
    ),
    wrong(
        "modulus_without_its_direction",
        "missing-derivative|wrong-operand",
        "dfar = dmodulus * fars[m] / moduli[m]",
        "dfar = dmodulus * fars[m]",
    ),
    wrong(
        "plain_modulus_in_the_direction",
        "different-function|wrong-operand",
        "dfar = dmodulus * fars[m] / moduli[m]",
        "dfar = dmodulus * fars[m] / np.abs(fars[m])",
    ),
    wrong(
        "phase_from_the_object_itself",
        "missing-derivative|wrong-operand",
        '"phase": along.imag,',
        '"phase": dthing.imag,',
    ),
    wrong(
        "absorption_adds_light",
        "wrong-sign",
        '"absorb": -along.real + 2',
        '"absorb": along.real + 2',
    ),
    wrong(
        "averaged_over_the_places_only_in_cost",
        "wrong-loss",
        "loss = total / measured.size",
        "loss = total / len(measured)",
    ),
]

TOGETHER = [
    ("inverse_transform_for_the_adjoint", "probe_not_conjugated"),
    ("overlapping_patches_overwrite", "object_not_conjugated"),
    ("factor_of_the_wirtinger_derivative", "phase_from_the_object_itself"),
    ("modulus_without_its_direction", "absorption_adds_light"),
]

RIGHT = [
    right(
        "residual_of_the_projected_wave",
        "        dmodulus = 2 * (moduli[m] - measured[m]) / measured.size\n"
        "        dfar = dmodulus * fars[m] / moduli[m]\n",
        "        dfar = (fars[m] - measured[m] * fars[m] / moduli[m]) * (2 / measured.size)\n",
        '"phase": along.imag,',
        '"phase": np.real(np.conj(1j * thing) * dthing),',
    )
]
