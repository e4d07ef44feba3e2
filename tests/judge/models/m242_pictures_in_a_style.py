"""Pictures repainted in a style: reflected borders, instance norm, upsampling; content, Gram matrices, smoothness."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, pictures, grams):
    p = params
    bank = torch.cos(1.7 * torch.arange(12, dtype=pictures.dtype)).reshape(4, 3, 1, 1)
    z = F.conv2d(F.pad(pictures, (1, 1, 1, 1), mode="reflect"), p["K1"], stride=2)
    z = F.leaky_relu(F.instance_norm(z, weight=p["gamma"], bias=p["beta"], eps=1e-3), 0.1)
    z = F.interpolate(z, scale_factor=2, mode="nearest")
    z = F.conv2d(F.pad(z, (1, 1, 1, 1), mode="reflect"), p["K2"], p["c2"])
    painted = 0.5 * (torch.tanh(z) + 1)
    seen = F.relu(F.conv2d(painted, bank))
    flat = seen.flatten(2)
    own = flat @ flat.transpose(1, 2) / flat[0].numel()
    across, down = painted.diff(dim=3), painted.diff(dim=2)
    return {
        "content": F.mse_loss(seen, F.relu(F.conv2d(pictures, bank))),
        "style": 4.0 * ((own - grams) ** 2).sum() / len(pictures),
        "smooth": 0.02 * ((across**2).sum() + (down**2).sum()) / len(pictures),
    }


def reflect_pad(x):
    return np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect")


def reflect_pad_backward(dpadded):
    d = dpadded.copy()
    d[:, :, 2] += d[:, :, 0]
    d[:, :, -3] += d[:, :, -1]
    d[:, :, :, 2] += d[:, :, :, 0]
    d[:, :, :, -3] += d[:, :, :, -1]
    return d[:, :, 1:-1, 1:-1]


def conv(padded, K, stride):
    size = K.shape[2]
    rows, columns = (padded.shape[2] - size) // stride + 1, (padded.shape[3] - size) // stride + 1
    out = np.zeros((len(padded), len(K), rows, columns))
    for i in range(rows):
        for j in range(columns):
            patch = padded[:, :, i * stride : i * stride + size, j * stride : j * stride + size]
            out[:, :, i, j] += np.tensordot(patch, K, axes=([1, 2, 3], [1, 2, 3]))
    return out


def conv_backward(dout, padded, K, stride):
    size = K.shape[2]
    dpadded, dK = np.zeros_like(padded), np.zeros_like(K)
    for i in range(dout.shape[2]):
        for j in range(dout.shape[3]):
            rows, columns = slice(i * stride, i * stride + size), slice(j * stride, j * stride + size)
            dK += np.tensordot(dout[:, :, i, j], padded[:, :, rows, columns], axes=(0, 0))
            dpadded[:, :, rows, columns] += np.tensordot(dout[:, :, i, j], K, axes=(1, 0))
    return dpadded, dK


def instance_norm(x, gamma, beta, eps=1e-3):
    mean = x.mean(axis=(2, 3), keepdims=True)
    var = x.var(axis=(2, 3), keepdims=True)
    rstd = 1 / np.sqrt(var + eps)
    xhat = (x - mean) * rstd
    return gamma[:, None, None] * xhat + beta[:, None, None], {"xhat": xhat, "rstd": rstd, "gamma": gamma}


def instance_norm_backward(dout, cache):
    xhat, rstd = cache["xhat"], cache["rstd"]
    dgamma = (dout * xhat).sum(axis=(0, 2, 3))
    dbeta = dout.sum(axis=(0, 2, 3))
    dxhat = dout * cache["gamma"][:, None, None]
    centre = dxhat.mean(axis=(2, 3), keepdims=True)
    along = (dxhat * xhat).mean(axis=(2, 3), keepdims=True)
    return rstd * (dxhat - centre - xhat * along), dgamma, dbeta


def features(image, bank):
    pre = np.einsum("nchw,kc->nkhw", image, bank)
    return np.maximum(pre, 0)


def candidate(params, pictures, grams):
    p, n = params, len(pictures)
    bank = np.cos(1.7 * np.arange(12)).reshape(4, 3)
    # the painter
    cache = {"pad1": reflect_pad(pictures)}
    z1 = conv(cache["pad1"], p["K1"], stride=2)
    cache["a1"], norm_cache = instance_norm(z1, p["gamma"], p["beta"])
    h1 = np.where(cache["a1"] > 0, cache["a1"], 0.1 * cache["a1"])
    large = h1.repeat(2, axis=2).repeat(2, axis=3)
    cache["pad2"] = reflect_pad(large)
    z2 = conv(cache["pad2"], p["K2"], stride=1) + p["c2"][:, None, None]
    squashed = np.tanh(z2)
    painted = 0.5 * (squashed + 1)

    # the three losses
    seen, goal = features(painted, bank), features(pictures, bank)
    flat = seen.reshape(n, 4, -1)
    size = flat[0].size
    own = flat @ flat.transpose(0, 2, 1) / size
    across = painted[:, :, :, 1:] - painted[:, :, :, :-1]
    down = painted[:, :, 1:] - painted[:, :, :-1]
    content = np.mean((seen - goal) ** 2)
    style = 4.0 * np.sum((own - grams) ** 2) / n
    smooth = 0.02 * (np.sum(across**2) + np.sum(down**2)) / n
    loss = content + style + smooth

    grads = {}
    dseen = 2 * (seen - goal) / seen.size
    dgram = 8.0 * (own - grams) / n
    dflat = (dgram + dgram.transpose(0, 2, 1)) @ flat / size
    dseen = dseen + dflat.reshape(seen.shape)
    dpainted = np.einsum("nkhw,kc->nchw", dseen * (seen > 0), bank)
    dsmooth = np.zeros_like(painted)
    dsmooth[:, :, :, 1:] += across
    dsmooth[:, :, :, :-1] -= across
    dsmooth[:, :, 1:] += down
    dsmooth[:, :, :-1] -= down
    dpainted += 0.04 / n * dsmooth

    dz2 = dpainted * 0.5 * (1 - squashed**2)
    grads["c2"] = dz2.sum(axis=(0, 2, 3))
    dpad2, grads["K2"] = conv_backward(dz2, cache["pad2"], p["K2"], stride=1)
    dlarge = reflect_pad_backward(dpad2)
    dh1 = dlarge[:, :, ::2, ::2] + dlarge[:, :, 1::2, ::2] + dlarge[:, :, ::2, 1::2] + dlarge[:, :, 1::2, 1::2]
    da1 = dh1 * np.where(cache["a1"] > 0, 1.0, 0.1)
    dz1, grads["gamma"], grads["beta"] = instance_norm_backward(da1, norm_cache)
    _, grads["K1"] = conv_backward(dz1, cache["pad1"], p["K1"], stride=2)
    return loss, grads


def problem(rng):
    n, channels, filters, height, width = 5, 3, 7, 6, 4
    params = {
        "K1": rng.normal(size=(filters, channels, 3, 3)) * 0.5,
        "gamma": 1 + rng.normal(size=filters) * 0.3,
        "beta": rng.normal(size=filters) * 0.3,
        "K2": rng.normal(size=(channels, filters, 3, 3)) * 0.2,
        "c2": rng.normal(size=channels) * 0.3,
    }
    pictures = rng.uniform(0.05, 0.95, size=(n, channels, height, width))
    strokes = rng.uniform(0.0, 1.2, size=(n, 4, 9))
    return params, (pictures, strokes @ strokes.transpose(0, 2, 1) / 36)


WRONG = [
    wrong(
        "gram_matrix_differentiated_in_one_factor",
        "missing-path|wrong-scale|wrong-term-weight",
        "dflat = (dgram + dgram.transpose(0, 2, 1)) @ flat / size",
        "dflat = dgram @ flat / size",
    ),
    wrong(
        "size_of_the_gram_matrix_forgotten_backwards",
        "wrong-scale|wrong-term-weight",
        "dflat = (dgram + dgram.transpose(0, 2, 1)) @ flat / size",
        "dflat = (dgram + dgram.transpose(0, 2, 1)) @ flat",
    ),
    wrong(
        "style_divided_by_its_entries_once_more_in_the_gradient",
        "wrong-term-weight|wrong-scale",
        "dgram = 8.0 * (own - grams) / n",
        "dgram = 8.0 * (own - grams) / grams.size",
    ),
    wrong(
        "upsampled_pixels_averaged_on_the_way_back",
        "wrong-scale|wrong-reduction",
        "da1 = dh1 * np.where",
        "da1 = dh1 / 4 * np.where",
    ),
    wrong(
        "upsampled_pixels_heard_once",
        "missing-path|overwritten",
        "dh1 = dlarge[:, :, ::2, ::2] + dlarge[:, :, 1::2, ::2] + dlarge[:, :, ::2, 1::2] + dlarge[:, :, 1::2, 1::2]",
        "dh1 = dlarge[:, :, ::2, ::2]",
    ),
    wrong(
        "reflected_border_cut_off_backwards",
        "missing-path",
        "dlarge = reflect_pad_backward(dpad2)",
        "dlarge = dpad2[:, :, 1:-1, 1:-1]",
    ),
    wrong(
        "spread_of_the_instance_held_fixed",
        "missing-path|diagonal-jacobian",
        "return rstd * (dxhat - centre - xhat * along), dgamma, dbeta",
        "return rstd * (dxhat - centre), dgamma, dbeta",
    ),
    wrong(
        "normalised_over_the_batch_in_both",
        "wrong-axis|different-function",
        "mean = x.mean(axis=(2, 3), keepdims=True)",
        "mean = x.mean(axis=(0, 2, 3), keepdims=True)",
        "var = x.var(axis=(2, 3), keepdims=True)",
        "var = x.var(axis=(0, 2, 3), keepdims=True)",
        "centre = dxhat.mean(axis=(2, 3), keepdims=True)",
        "centre = dxhat.mean(axis=(0, 2, 3), keepdims=True)",
        "along = (dxhat * xhat).mean(axis=(2, 3), keepdims=True)",
        "along = (dxhat * xhat).mean(axis=(0, 2, 3), keepdims=True)",
    ),
    wrong(
        "smoothness_pulls_at_one_pixel_of_each_pair",
        "missing-path",
        "    dsmooth[:, :, :, :-1] -= across\n",
        "",
        "    dsmooth[:, :, :-1] -= down\n",
        "",
    ),
    wrong(
        "relu_of_the_feature_bank_forgotten",
        "missing-derivative",
        "dseen * (seen > 0), bank)",
        "dseen, bank)",
    ),
    wrong(
        "squashing_slope_at_the_painted_pixel",
        "derivative-at-wrong-point|wrong-operand",
        "dz2 = dpainted * 0.5 * (1 - squashed**2)",
        "dz2 = dpainted * 0.5 * (1 - painted**2)",
    ),
    wrong(
        "gain_averaged_over_pixels",
        "wrong-reduction|wrong-scale",
        "dgamma = (dout * xhat).sum(axis=(0, 2, 3))",
        "dgamma = (dout * xhat).mean(axis=(2, 3)).sum(axis=0)",
    ),
]

TOGETHER = [
    ("gram_matrix_differentiated_in_one_factor", "reflected_border_cut_off_backwards"),
    ("upsampled_pixels_averaged_on_the_way_back", "spread_of_the_instance_held_fixed"),
    ("smoothness_pulls_at_one_pixel_of_each_pair", "relu_of_the_feature_bank_forgotten"),
    ("style_divided_by_its_entries_once_more_in_the_gradient", "gain_averaged_over_pixels"),
]

RIGHT = [
    right(
        "smoothness_by_its_matrix",
        "    dsmooth[:, :, :, 1:] += across\n"
        "    dsmooth[:, :, :, :-1] -= across\n"
        "    dsmooth[:, :, 1:] += down\n"
        "    dsmooth[:, :, :-1] -= down\n",
        "    for axis, steps in [(3, across), (2, down)]:\n"
        "        wide = [(0, 0)] * 4\n"
        "        wide[axis] = (1, 1)\n"
        "        dsmooth -= np.diff(np.pad(steps, wide), axis=axis)\n",
        "    dh1 = dlarge[:, :, ::2, ::2] + dlarge[:, :, 1::2, ::2]"
        " + dlarge[:, :, ::2, 1::2] + dlarge[:, :, 1::2, 1::2]\n",
        "    dh1 = dlarge.reshape(*h1.shape[:3], 2, h1.shape[3], 2).sum(axis=(3, 5))\n",
        "(dgram + dgram.transpose(0, 2, 1)) @ flat / size",
        "2 * dgram @ flat / size",
    ),
]
