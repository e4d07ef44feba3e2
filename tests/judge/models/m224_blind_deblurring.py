"""Blind deblurring: one picture and one small kernel behind several shots, periodic, by FFT; smoothed variation."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong

BATCH_AXIS = None  # a gain for every shot


def reference(params, shots, weights):
    u, k = params["picture"], params["kernel"]
    padded = torch.zeros_like(u)
    padded[: k.shape[0], : k.shape[1]] = k
    padded = torch.roll(padded, (-1, -1), (0, 1))
    blurred = torch.fft.ifft2(torch.fft.fft2(u) * torch.fft.fft2(padded)).real
    down = torch.roll(u, -1, 0) - u
    across = torch.roll(u, -1, 1) - u
    bright = params["gain"][:, None, None] * blurred
    return {
        "data": 0.5 * (weights * (bright - shots) ** 2).sum() / len(shots),
        "variation": 0.12 * torch.sqrt(down**2 + across**2 + 1e-2).sum(),
        "mass": 0.5 * (k.sum() - 1) ** 2,
    }


def embed(kernel, shape):
    """The kernel on the picture's grid, its entry (1, 1) at the origin."""
    full = np.zeros(shape)
    full[: kernel.shape[0], : kernel.shape[1]] = kernel
    return np.roll(full, (-1, -1), axis=(0, 1))


def crop(full, shape):
    return np.roll(full, (1, 1), axis=(0, 1))[: shape[0], : shape[1]]


def variation(u, eps):
    down = np.roll(u, -1, axis=0) - u
    across = np.roll(u, -1, axis=1) - u
    length = np.sqrt(down**2 + across**2 + eps)
    return length.sum(), (down, across, length)


def variation_gradient(cache):
    down, across, length = cache
    p, q = down / length, across / length
    return np.roll(p, 1, axis=0) - p + np.roll(q, 1, axis=1) - q


def candidate(params, shots, weights, lam=0.12, eps=1e-2):
    u, kernel, gain = params["picture"], params["kernel"], params["gain"]
    n = len(shots)
    fu = np.fft.fft2(u)
    fk = np.fft.fft2(embed(kernel, u.shape))
    blurred = np.real(np.fft.ifft2(fk * fu))
    residual = gain[:, None, None] * blurred - shots
    tv, cache = variation(u, eps)
    excess = kernel.sum() - 1
    loss = 0.5 * np.sum(weights * residual**2) / n + lam * tv + 0.5 * excess**2

    dbright = weights * residual / n
    dgain = np.sum(dbright * blurred, axis=(1, 2))
    dblurred = np.tensordot(gain, dbright, axes=1)
    spectrum = np.fft.fft2(dblurred)
    dpicture = np.real(np.fft.ifft2(np.conj(fk) * spectrum))
    dpicture += lam * variation_gradient(cache)
    dfull = np.real(np.fft.ifft2(np.conj(fu) * spectrum))
    dkernel = crop(dfull, kernel.shape) + excess
    return loss, {"picture": dpicture, "kernel": dkernel, "gain": dgain}


def problem(rng):
    params = {
        "picture": rng.normal(size=(5, 7)),
        "kernel": rng.normal(size=(3, 2)) * 0.3 + 0.2,
        "gain": rng.uniform(0.6, 1.4, size=4),
    }
    weights = rng.uniform(0.2, 1.0, size=(4, 5, 7)) * (rng.random(size=(4, 5, 7)) < 0.8)
    return params, (rng.normal(size=(4, 5, 7)), weights)


WRONG = [
    wrong(
        "kernel_spectrum_not_conjugated",
        "flipped|not-transposed|wrong-operand",
        "np.conj(fk) * spectrum",
        "fk * spectrum",
    ),
    wrong(
        "picture_spectrum_not_conjugated",
        "flipped|not-transposed|wrong-operand",
        "np.conj(fu) * spectrum",
        "fu * spectrum",
    ),
    wrong(
        "kernel_gradient_not_rolled_back",
        "wrong-operand|shifted-in-time",
        "return np.roll(full, (1, 1), axis=(0, 1))[: shape[0], : shape[1]]",
        "return full[: shape[0], : shape[1]]",
    ),
    wrong(
        "variation_rolled_the_wrong_way",
        "wrong-operand|shifted-in-time",
        "return np.roll(p, 1, axis=0) - p + np.roll(q, 1, axis=1) - q",
        "return np.roll(p, -1, axis=0) - p + np.roll(q, -1, axis=1) - q",
    ),
    wrong(
        "neighbours_before_not_felt",
        "missing-path",
        "return np.roll(p, 1, axis=0) - p + np.roll(q, 1, axis=1) - q",
        "return -p - q",
    ),
    wrong(
        "length_of_the_pixel_itself_for_its_neighbours",
        "wrong-operand",
        "return np.roll(p, 1, axis=0) - p + np.roll(q, 1, axis=1) - q",
        "return np.roll(down, 1, axis=0) / length - p + np.roll(across, 1, axis=1) / length - q",
    ),
    wrong(
        "smoothing_added_outside_the_root",
        "different-function",
        "p, q = down / length, across / length",
        "length = np.sqrt(down**2 + across**2) + 1e-2\n    p, q = down / length, across / length",
    ),
    wrong(
        "weights_of_the_pixels_forgotten",
        "missing-derivative|wrong-operand",
        "dbright = weights * residual / n",
        "dbright = residual / n",
    ),
    wrong(
        "gain_forgotten_backwards",
        "missing-derivative|missing-path",
        "dblurred = np.tensordot(gain, dbright, axes=1)",
        "dblurred = dbright.sum(axis=0)",
    ),
    wrong(
        "mass_of_the_kernel_forgotten",
        "missing-path|wrong-term-weight",
        "dkernel = crop(dfull, kernel.shape) + excess",
        "dkernel = crop(dfull, kernel.shape)",
    ),
    wrong(
        "one_over_the_shots_forgotten",
        "wrong-scale|wrong-reduction",
        "dbright = weights * residual / n",
        "dbright = weights * residual",
    ),
    wrong(
        "variation_flows_uphill",
        "wrong-sign",
        "dpicture += lam * variation_gradient(cache)",
        "dpicture -= lam * variation_gradient(cache)",
    ),
]

TOGETHER = [
    ("kernel_spectrum_not_conjugated", "kernel_gradient_not_rolled_back"),
    ("neighbours_before_not_felt", "gain_forgotten_backwards"),
    ("variation_flows_uphill", "picture_spectrum_not_conjugated"),
    ("length_of_the_pixel_itself_for_its_neighbours", "mass_of_the_kernel_forgotten"),
]

RIGHT = [
    right(
        "sums_of_rolled_pictures",
        "    dpicture = np.real(np.fft.ifft2(np.conj(fk) * spectrum))\n",
        "    dpicture = np.zeros_like(u)\n"
        "    correlated = np.zeros_like(kernel)\n"
        "    for i in range(kernel.shape[0]):\n"
        "        for j in range(kernel.shape[1]):\n"
        "            dpicture += kernel[i, j] * np.roll(dblurred, (1 - i, 1 - j), axis=(0, 1))\n"
        "            correlated[i, j] = np.sum(dblurred * np.roll(u, (i - 1, j - 1), axis=(0, 1)))\n",
        "    dfull = np.real(np.fft.ifft2(np.conj(fu) * spectrum))\n    dkernel = crop(dfull, kernel.shape) + excess\n",
        "    dkernel = correlated + excess\n",
        "    spectrum = np.fft.fft2(dblurred)\n",
        "",
    ),
]
