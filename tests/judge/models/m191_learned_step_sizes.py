"""A quantised classifier: learned steps of weights and activations, an offset, swish, straight-through rounding."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x, labels):
    def straight(v):
        return v + (torch.round(v) - v).detach()

    def damped(step, factor):
        return step * factor + (step - step * factor).detach()

    def weight(W, step, low=4, high=3):
        step = damped(step, 1 / (W.numel() * high) ** 0.5)
        return straight(torch.clamp(W / step, -low, high)) * step

    h = F.silu(x @ weight(params["W1"], params["step1"]) + params["b1"])
    step = damped(params["step_a"], 1 / (h.shape[1] * 7) ** 0.5)
    h = straight(torch.clamp((h - params["offset"]) / step, 0, 7)) * step + params["offset"]
    logits = h @ weight(params["W2"], params["step2"]) + params["b2"]
    return F.cross_entropy(logits, labels)


def quantise(a, step, low, high):
    v = a / step
    return np.round(np.clip(v, low, high)) * step


def quantise_backward(dq, a, step, low, high, count):
    """Of the values and of their step; rounding passes the gradient straight through."""
    v = a / step
    below, above = v < low, v > high
    inside = ~(below | above)
    da = dq * inside
    slope = np.where(inside, np.round(v) - v, 0.0) + below * low + above * high
    factor = 1.0 / np.sqrt(count * high)
    dstep = np.sum(dq * slope) * factor
    return da, np.array([dstep])


def candidate(params, x, labels):
    W1, b1, W2, b2 = params["W1"], params["b1"], params["W2"], params["b2"]
    step1, step2, step_a, offset = (params[name] for name in ("step1", "step2", "step_a", "offset"))
    n = len(x)
    W1_q, W2_q = quantise(W1, step1, -4, 3), quantise(W2, step2, -4, 3)
    z = x @ W1_q + b1
    gate = 1 / (1 + np.exp(-z))
    h = z * gate
    h_q = quantise(h - offset, step_a, 0, 7) + offset
    logits = h_q @ W2_q + b2
    logits = logits - logits.max(axis=1, keepdims=True)
    p = np.exp(logits)
    p /= p.sum(axis=1, keepdims=True)
    loss = -np.mean(np.log(p[np.arange(n), labels]))

    dlogits = p.copy()
    dlogits[np.arange(n), labels] -= 1
    dlogits /= n
    dW2_q = h_q.T @ dlogits
    db2 = dlogits.sum(axis=0)
    dW2, dstep2 = quantise_backward(dW2_q, W2, step2, -4, 3, W2.size)
    dh_q = dlogits @ W2_q.T
    dh, dstep_a = quantise_backward(dh_q, h - offset, step_a, 0, 7, h.shape[1])
    doffset = np.array([np.sum(dh_q - dh)])
    dz = dh * (gate + z * gate * (1 - gate))
    dW1_q = x.T @ dz
    db1 = dz.sum(axis=0)
    dW1, dstep1 = quantise_backward(dW1_q, W1, step1, -4, 3, W1.size)
    grads = {"W1": dW1, "b1": db1, "W2": dW2, "b2": db2}
    grads.update(step1=dstep1, step2=dstep2, step_a=dstep_a, offset=doffset)
    return loss, grads


def problem(rng):
    features, hidden, classes, n = 3, 7, 4, 6
    params = {
        "W1": rng.normal(size=(features, hidden)),
        "step1": np.array([0.34]),
        "b1": rng.normal(size=hidden) * 0.5,
        "step_a": np.array([0.17]),
        "offset": np.array([-0.21]),
        "W2": rng.normal(size=(hidden, classes)) * 0.9,
        "step2": np.array([0.31]),
        "b2": rng.normal(size=classes) * 0.5,
    }
    return params, (rng.normal(size=(n, features)), rng.integers(0, classes, size=n))


WRONG = [
    wrong("clipped_values_get_a_gradient_too", "missing-derivative", "da = dq * inside", "da = dq"),
    wrong(
        "step_from_the_clipped_gradient",
        "missing-path|wrong-operand",
        "dstep = np.sum(dq * slope) * factor",
        "dstep = np.sum(da * slope) * factor",
    ),
    wrong(
        "step_learns_from_clipped_values_only",
        "missing-path",
        "slope = np.where(inside, np.round(v) - v, 0.0) + below * low + above * high",
        "slope = below * low + above * high",
    ),
    wrong(
        "step_without_the_value_inside_the_rounding",
        "missing-path",
        "np.where(inside, np.round(v) - v, 0.0)",
        "np.where(inside, np.round(v), 0.0)",
    ),
    wrong(
        "damping_of_the_steps_forgotten",
        "wrong-scale|missing-derivative",
        "dstep = np.sum(dq * slope) * factor",
        "dstep = np.sum(dq * slope)",
    ),
    wrong(
        "step_damped_by_the_whole_batch",
        "wrong-scale",
        "0, 7, h.shape[1])",
        "0, 7, h.size)",
    ),
    wrong(
        "divided_by_the_step_but_not_multiplied_again",
        "wrong-scale|missing-derivative|extra-derivative",
        "da = dq * inside",
        "da = dq * inside / step",
    ),
    wrong(
        "unquantised_activations_for_the_weights",
        "wrong-operand",
        "dW2_q = h_q.T @ dlogits",
        "dW2_q = h.T @ dlogits",
    ),
    wrong(
        "back_through_the_full_precision_weights",
        "wrong-operand",
        "dh_q = dlogits @ W2_q.T",
        "dh_q = dlogits @ W2.T",
    ),
    wrong(
        "offset_as_if_nothing_came_off_inside",
        "missing-path",
        "doffset = np.array([np.sum(dh_q - dh)])",
        "doffset = np.array([np.sum(dh_q)])",
    ),
    wrong(
        "lower_limit_without_its_sign",
        "wrong-sign",
        "+ below * low + above * high",
        "+ below * np.abs(low) + above * high",
    ),
    wrong(
        "swish_with_its_gate_held_constant",
        "missing-path",
        "dz = dh * (gate + z * gate * (1 - gate))",
        "dz = dh * gate",
    ),
]

TOGETHER = [
    ("clipped_values_get_a_gradient_too", "damping_of_the_steps_forgotten"),
    ("step_learns_from_clipped_values_only", "back_through_the_full_precision_weights"),
    ("swish_with_its_gate_held_constant", "unquantised_activations_for_the_weights"),
    ("divided_by_the_step_but_not_multiplied_again", "offset_as_if_nothing_came_off_inside"),
]

RIGHT = [
    right(
        "slope_from_the_quantised_value",
        "    slope = np.where(inside, np.round(v) - v, 0.0) + below * low + above * high\n",
        "    slope = np.round(np.clip(v, low, high)) - v * inside\n",
        "dz = dh * (gate + z * gate * (1 - gate))",
        "dz = dh * (h + gate * (1 - h))",
    ),
]
