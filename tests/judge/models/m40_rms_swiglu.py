"""A block of a language model: root-mean-square norm, SwiGLU network, residual stream; mean squared error per token."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, tokens, target):
    stream = F.linear(tokens, params["embed"])
    rms = torch.sqrt(stream.pow(2).mean(dim=-1, keepdim=True) + 1e-3)
    normed = stream / rms * params["scale"]
    gate = F.silu(normed @ params["gate"])
    up = normed @ params["up"]
    out = stream + (gate * up) @ params["down"]
    return F.mse_loss(out, target)


def silu(a):
    return a / (1 + np.exp(-a))


def d_silu(a):
    s = 1 / (1 + np.exp(-a))
    return s + a * s * (1 - s)


def rms_norm_backward(grad, stream, rms, scale):
    grad_hat = grad * scale
    width = stream.shape[-1]
    through_rms = np.sum(grad_hat * stream, axis=-1, keepdims=True)
    return grad_hat / rms - stream * through_rms / (width * rms**3)


def candidate(params, tokens, target):
    flat = tokens.reshape(-1, tokens.shape[-1])
    goal = target.reshape(-1, target.shape[-1])
    stream = flat @ params["embed"].T
    rms = np.sqrt(np.mean(stream**2, axis=-1, keepdims=True) + 1e-3)
    unit = stream / rms
    normed = unit * params["scale"]
    gate_in = normed @ params["gate"]
    gate, up = silu(gate_in), normed @ params["up"]
    mixed = gate * up
    out = stream + mixed @ params["down"]
    miss = out - goal
    loss = np.mean(miss**2)
    grads = {}
    grad_out = 2 * miss / miss.size
    grads["down"] = mixed.T @ grad_out
    grad_mixed = grad_out @ params["down"].T
    grad_up = grad_mixed * gate
    grad_gate = grad_mixed * up
    grad_gate_in = grad_gate * d_silu(gate_in)
    grads["up"] = normed.T @ grad_up
    grads["gate"] = normed.T @ grad_gate_in
    grad_normed = grad_gate_in @ params["gate"].T + grad_up @ params["up"].T
    grads["scale"] = np.sum(grad_normed * unit, axis=0)
    grad_stream = grad_out + rms_norm_backward(grad_normed, stream, rms, params["scale"])
    grads["embed"] = grad_stream.T @ flat
    return loss, grads


def problem(rng):
    params = {
        "embed": rng.normal(size=(4, 3)),
        "scale": rng.uniform(0.5, 1.8, size=4),
        "gate": rng.normal(size=(4, 7)) * 0.9,
        "up": rng.normal(size=(4, 7)) * 0.9,
        "down": rng.normal(size=(7, 4)) * 0.8,
    }
    return params, (rng.normal(size=(6, 5, 3)), rng.normal(size=(6, 5, 4)))


WRONG = [
    wrong(
        "norm_taken_as_constant",
        "missing-path|diagonal-jacobian",
        "grad_hat / rms - stream * through_rms / (width * rms**3)",
        "grad_hat / rms",
    ),
    wrong(
        "norm_jacobian_diagonal",
        "diagonal-jacobian",
        "through_rms = np.sum(grad_hat * stream, axis=-1, keepdims=True)",
        "through_rms = grad_hat * stream",
    ),
    wrong("width_forgotten_in_the_norm", "wrong-reduction|wrong-scale", "(width * rms**3)", "rms**3"),
    wrong("scale_forgotten_backwards", "missing-derivative", "grad_hat = grad * scale", "grad_hat = grad"),
    wrong(
        "residual_forgotten",
        "missing-path",
        "grad_stream = grad_out + rms_norm_backward(",
        "grad_stream = rms_norm_backward(",
    ),
    wrong(
        "gate_branch_forgotten",
        "missing-path",
        'grad_normed = grad_gate_in @ params["gate"].T + grad_up',
        "grad_normed = grad_up",
    ),
    wrong(
        "silu_slope_of_the_gate",
        "derivative-at-wrong-point",
        "grad_gate * d_silu(gate_in)",
        "grad_gate * d_silu(gate)",
    ),
    wrong(
        "sigmoid_for_the_silu_slope",
        "different-function|missing-path|missing-derivative",
        "return s + a * s * (1 - s)",
        "return s",
    ),
    wrong("silu_slope_forgotten", "missing-derivative", "grad_gate * d_silu(gate_in)", "grad_gate * 1.0"),
    wrong(
        "branches_swapped",
        "wrong-operand",
        "grad_up = grad_mixed * gate\n    grad_gate = grad_mixed * up",
        "grad_up = grad_mixed * up\n    grad_gate = grad_mixed * gate",
    ),
    wrong("up_of_the_stream", "wrong-operand", 'grads["up"] = normed.T', 'grads["up"] = stream.T'),
    wrong("scale_of_the_scaled", "wrong-operand", "np.sum(grad_normed * unit", "np.sum(grad_normed * normed"),
    wrong(
        "averaged_per_token_only",
        "wrong-scale|wrong-reduction",
        "grad_out = 2 * miss / miss.size",
        "grad_out = 2 * miss / len(miss)",
    ),
    wrong(
        "relu_gate_in_both",
        "different-function",
        "return a / (1 + np.exp(-a))",
        "return np.maximum(a, 0)",
        "return s + a * s * (1 - s)",
        "return (a > 0) * 1.0",
    ),
    wrong(
        "sum_of_squares_in_both",
        "wrong-reduction",
        "np.sqrt(np.mean(stream**2, axis=-1, keepdims=True) + 1e-3)",
        "np.sqrt(np.sum(stream**2, axis=-1, keepdims=True) + 1e-3)",
        "(width * rms**3)",
        "rms**3",
    ),
    wrong("scale_with_batch_axis", "wrong-shape", "unit, axis=0)", "unit, axis=0, keepdims=True)"),
    wrong(
        "down_updated_before_its_use",
        "wrong-operand",
        'grad_mixed = grad_out @ params["down"].T',
        'grad_mixed = grad_out @ (params["down"] - 0.1 * grads["down"]).T',
    ),
]

TOGETHER = [
    ("norm_taken_as_constant", "silu_slope_forgotten"),
    ("residual_forgotten", "silu_slope_of_the_gate"),
    ("averaged_per_token_only", "gate_branch_forgotten"),
    ("scale_forgotten_backwards", "up_of_the_stream"),
    ("silu_slope_forgotten", "scale_of_the_scaled", "residual_forgotten"),
]

RIGHT = [
    right(
        "three_axes_kept",
        "flat = tokens.reshape(-1, tokens.shape[-1])",
        "flat = np.vstack(list(tokens))",
        'grads["embed"] = grad_stream.T @ flat',
        'grads["embed"] = np.tensordot(grad_stream, flat, axes=(0, 0))',
    ),
    right(
        "norm_by_its_unit_vectors",
        "grad_hat / rms - stream * through_rms / (width * rms**3)",
        "(grad_hat - stream / rms * np.mean(grad_hat * stream / rms, axis=-1, keepdims=True)) / rms",
    ),
    right("silu_slope_by_itself", "return s + a * s * (1 - s)", "return silu(a) + s * (1 - silu(a))"),
]
