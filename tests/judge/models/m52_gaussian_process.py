"""A Gaussian process with a linear mean: the marginal likelihood of a squared-exponential kernel, a length each."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong

BATCH_AXIS = None  # the kernel couples all samples


def reference(params, x, y):
    scaled = x / params["log_length"].exp()
    square = (scaled.unsqueeze(1) - scaled.unsqueeze(0)).square().sum(dim=2)
    smooth = params["log_signal"].exp() * torch.exp(-square / 2)
    kernel = smooth + params["log_noise"].exp() * torch.eye(len(x), dtype=x.dtype)
    residual = y - x @ params["mean"]
    low = torch.linalg.cholesky(kernel)
    alpha = torch.cholesky_solve(residual.unsqueeze(1), low).squeeze(1)
    return 0.5 * residual @ alpha + low.diagonal().log().sum()


def candidate(params, x, y):
    length, noise = np.exp(params["log_length"]), np.exp(params["log_noise"])
    distance = x[:, None, :] - x[None, :, :]
    square = (distance / length) ** 2
    smooth = np.exp(params["log_signal"] - 0.5 * square.sum(axis=-1))
    kernel = smooth + noise * np.eye(len(x))
    residual = y - x @ params["mean"]
    inverse = np.linalg.inv(kernel)
    alpha = inverse @ residual
    loss = 0.5 * residual @ alpha + 0.5 * np.linalg.slogdet(kernel)[1]

    d_kernel = 0.5 * (inverse - np.outer(alpha, alpha))
    d_signal = np.sum(d_kernel * smooth)
    d_noise = np.trace(d_kernel) * noise
    d_square = -0.5 * d_kernel * smooth
    d_length = -2 * np.einsum("ij,ijk->k", d_square, square)
    d_mean = -x.T @ alpha
    return loss, {"log_length": d_length, "log_signal": d_signal, "log_noise": d_noise, "mean": d_mean}


def problem(rng):
    params = {
        "log_length": np.array([0.3, -0.2, 0.6]),
        "log_signal": np.array(0.5),
        "log_noise": np.array(-1.1),
        "mean": rng.normal(size=3),
    }
    return params, (rng.normal(size=(8, 3)), rng.normal(size=8) * 1.5)


WRONG = [
    wrong(
        "determinant_forgotten",
        "missing-path",
        "0.5 * (inverse - np.outer(alpha, alpha))",
        "-0.5 * np.outer(alpha, alpha)",
    ),
    wrong("fit_forgotten", "missing-path", "0.5 * (inverse - np.outer(alpha, alpha))", "0.5 * inverse"),
    wrong("sign_of_the_fit", "wrong-sign", "inverse - np.outer(alpha, alpha)", "inverse + np.outer(alpha, alpha)"),
    wrong("half_forgotten", "wrong-scale", "d_kernel = 0.5 * (inverse", "d_kernel = (inverse"),
    wrong(
        "determinant_not_halved",
        "wrong-scale",
        "0.5 * (inverse - np.outer",
        "0.5 * (2 * inverse - np.outer",
    ),
    wrong("kernel_for_its_inverse", "wrong-operand", "0.5 * (inverse - np.outer", "0.5 * (kernel - np.outer"),
    wrong(
        "noise_in_the_signal",
        "wrong-operand",
        "d_signal = np.sum(d_kernel * smooth)",
        "d_signal = np.sum(d_kernel * kernel)",
    ),
    wrong(
        "noise_everywhere", "missing-derivative|wrong-operand", "np.trace(d_kernel) * noise", "np.sum(d_kernel) * noise"
    ),
    wrong("noise_not_through_its_logarithm", "missing-derivative", "np.trace(d_kernel) * noise", "np.trace(d_kernel)"),
    wrong(
        "noise_averaged",
        "wrong-scale|wrong-reduction",
        "np.trace(d_kernel) * noise",
        "np.diag(d_kernel).mean() * noise",
    ),
    wrong(
        "exponential_forgotten",
        "missing-derivative",
        "d_square = -0.5 * d_kernel * smooth",
        "d_square = -0.5 * d_kernel",
    ),
    wrong("length_exponent_forgotten", "wrong-scale", "d_length = -2 *", "d_length = -1 *"),
    wrong(
        "length_not_through_its_logarithm",
        "missing-derivative",
        '"ij,ijk->k", d_square, square)',
        '"ij,ijk->k", d_square, square) / length',
    ),
    wrong("length_sign", "wrong-sign", "d_length = -2 *", "d_length = 2 *"),
    wrong("lengths_in_reverse_order", "flipped", '"log_length": d_length', '"log_length": d_length[::-1]'),
    wrong(
        "mean_from_the_targets", "wrong-operand|missing-path", "d_mean = -x.T @ alpha", "d_mean = -x.T @ (inverse @ y)"
    ),
    wrong(
        "inverse_forgotten_in_the_mean",
        "wrong-operand|missing-derivative",
        "d_mean = -x.T @ alpha",
        "d_mean = -x.T @ residual",
    ),
    wrong("mean_sign", "wrong-sign", "d_mean = -x.T @ alpha", "d_mean = x.T @ alpha"),
    wrong(
        "rational_kernel_in_both",
        "different-function",
        'smooth = np.exp(params["log_signal"] - 0.5 * square.sum(axis=-1))',
        'base = 1 / (1 + 0.5 * square.sum(axis=-1))\n    smooth = np.exp(params["log_signal"]) * base',
        "d_square = -0.5 * d_kernel * smooth",
        "d_square = -0.5 * d_kernel * smooth * base",
    ),
    wrong(
        "noise_as_deviation_in_both",
        "different-function",
        "kernel = smooth + noise * np.eye(len(x))",
        "kernel = smooth + noise**2 * np.eye(len(x))",
        "np.trace(d_kernel) * noise",
        "np.trace(d_kernel) * 2 * noise**2",
    ),
    wrong("determinant_whole_in_cost", "wrong-loss", "+ 0.5 * np.linalg.slogdet", "+ np.linalg.slogdet"),
    wrong("samples_for_features", "raised", "d_mean = -x.T @ alpha", "d_mean = -x @ alpha"),
    wrong(
        "jitter_drawn_anew",
        "not-repeatable",
        "noise * np.eye(len(x))",
        "noise * np.diag(np.random.default_rng().uniform(0.9, 1.1, len(x)))",
    ),
]

TOGETHER = [
    ("determinant_not_halved", "mean_sign"),
    ("noise_not_through_its_logarithm", "length_exponent_forgotten"),
    ("sign_of_the_fit", "noise_in_the_signal"),
    ("lengths_in_reverse_order", "mean_from_the_targets"),
    ("fit_forgotten", "length_sign", "noise_averaged"),
]

RIGHT = [
    right(
        "by_the_cholesky_factor",
        "    inverse = np.linalg.inv(kernel)\n    alpha = inverse @ residual\n",
        "    low = np.linalg.cholesky(kernel)\n    half = np.linalg.solve(low, np.eye(len(x)))\n"
        "    inverse = half.T @ half\n    alpha = half.T @ (half @ residual)\n",
        "0.5 * np.linalg.slogdet(kernel)[1]",
        "np.log(np.diag(low)).sum()",
    ),
    right(
        "length_by_length",
        '    d_length = -2 * np.einsum("ij,ijk->k", d_square, square)\n',
        "    d_length = np.array([np.sum(d_kernel * smooth * square[..., k]) for k in range(x.shape[1])])\n",
    ),
    right("trace_of_products", "d_signal = np.sum(d_kernel * smooth)", "d_signal = np.trace(d_kernel @ smooth)"),
]
