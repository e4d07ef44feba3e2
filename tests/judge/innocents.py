"""Right candidates that a careless judge accuses: odd styles, gradients that vanish or cancel, extreme sizes, kinks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

Candidate = Callable[..., Any]


# --- styles in which any candidate may be written: each takes the right candidate and gives another one


def fortran_ordered(candidate: Candidate) -> Candidate:
    def other(params, *data):
        loss, grads = candidate(params, *data)
        return loss, {name: np.array(value, order="F") for name, value in grads.items()}

    return other


def without_loss(candidate: Candidate) -> Candidate:
    def other(params, *data):
        return None, candidate(params, *data)[1]

    return other


def views_of_one_vector(candidate: Candidate) -> Candidate:
    """All gradients in one flat vector, handed out as read-only views of it, in another order of the keys."""

    def other(params, *data):
        loss, grads = candidate(params, *data)
        names = sorted(grads, reverse=True)
        flat = np.concatenate([np.ravel(grads[name]) for name in names])
        flat.flags.writeable = False
        ends = np.cumsum([np.size(grads[name]) for name in names])
        parts = np.split(flat, ends[:-1])
        return np.asarray(loss), {
            name: part.reshape(params[name].shape) for name, part in zip(names, parts, strict=True)
        }

    return other


def on_own_copies(candidate: Candidate) -> Candidate:
    """Works in place, but on copies."""

    def other(params, *data):
        params, data = {name: value.copy() for name, value in params.items()}, [value.copy() for value in data]
        answer = candidate(params, *data)
        for value in params.values():
            value *= 0
        for value in data:
            value[...] = 0
        return answer

    return other


def strict_about_numbers(candidate: Candidate) -> Candidate:
    """Changes NumPy's error state, and prints."""

    def other(params, *data):
        np.seterr(divide="raise", over="raise")
        loss, grads = candidate(params, *data)
        print(f"loss {loss:.3f}")
        return float(loss), grads

    return other


STYLES: dict[str, Callable[[Candidate], Candidate]] = {
    one.__name__: one
    for one in (fortran_ordered, without_loss, views_of_one_vector, on_own_copies, strict_about_numbers)
}


def float32(candidate: Candidate) -> Candidate:
    """Rounds its results to the dtype of the parameters."""

    def other(params, *data):
        loss, grads = candidate(params, *data)
        return loss, {name: np.asarray(value, dtype=params[name].dtype) for name, value in grads.items()}

    return other


def rounded(value: np.ndarray) -> np.ndarray:
    """An array in float32, where it is one of floats."""
    return value.astype(np.float32) if value.dtype == np.float64 else value


# --- cases of their own


@dataclass(frozen=True)
class Innocent:
    """A right candidate with a problem of its own."""

    name: str
    candidate: Candidate
    reference: Callable[..., Any]
    params: dict[str, np.ndarray]
    data: tuple[np.ndarray, ...]
    batch_axis: int | None = 0


def innocents() -> list[Innocent]:
    """All of them, made anew."""
    return [make(np.random.default_rng(3)) for make in CASES]


def line_reference(params, x, y):
    return ((x @ params["w"] + params["b"] - y) ** 2).mean()


def line(params, x, y):
    e = x @ params["w"] + params["b"] - y
    return np.mean(e**2), {"w": 2 * x.T @ e / len(y), "b": np.array(2 * e.sum() / len(y))}


def line_loop(params, x, y):
    n, dtype = len(y), params["w"].dtype
    loss, dw, db = 0.0, np.zeros_like(params["w"]), np.zeros((), dtype)
    for i in range(n):
        e = params["w"] @ x[i] + params["b"] - y[i]
        loss += e * e / n
        dw += 2 * e * x[i] / n
        db += dtype.type(2 * e / n)
    return loss, {"w": dw, "b": db}


def at_the_least_squares_solution(rng):
    x, y = rng.normal(size=(20, 3)), rng.normal(size=20)
    w = np.linalg.lstsq(np.column_stack([x, np.ones(20)]), y, rcond=None)[0]
    return Innocent("at_the_least_squares_solution", line, line_reference, {"w": w[:3], "b": w[3]}, (x, y))


def at_the_solution_by_a_loop(rng):
    x, y = rng.normal(size=(20, 3)) * 100, rng.normal(size=20)
    w = np.linalg.lstsq(np.column_stack([x, np.ones(20)]), y, rcond=None)[0]
    return Innocent("at_the_solution_by_a_loop", line_loop, line_reference, {"w": w[:3], "b": w[3]}, (x, y))


def perfect_fit(rng):
    x, w = rng.normal(size=(9, 2)), np.array([0.5, -2.0])
    return Innocent("perfect_fit", line_loop, line_reference, {"w": w, "b": np.array(0.25)}, (x, x @ w + 0.25))


def tiny_gradients(rng):
    x, y = rng.normal(size=(8, 3)) * 1e-5, rng.normal(size=8) * 1e-5
    params = {"w": rng.normal(size=3) * 1e-4, "b": np.array(1e-6)}
    return Innocent("tiny_gradients", line_loop, line_reference, params, (x, y))


def huge_gradients(rng):
    params = {"w": rng.normal(size=3) * 1e3, "b": np.array(50.0)}
    return Innocent(
        "huge_gradients", line_loop, line_reference, params, (rng.normal(size=(8, 3)) * 1e3, rng.normal(size=8))
    )


def columns_of_very_different_size(rng):
    x = rng.normal(size=(8, 3)) * np.array([1e-6, 1.0, 1e6])
    params = {"w": np.array([2.0, 3.0, 4e-6]), "b": np.array(0.5)}
    return Innocent("columns_of_very_different_size", line_loop, line_reference, params, (x, rng.normal(size=8)))


def large_offset_that_cancels(rng):
    x, w = rng.normal(size=(11, 2)), np.array([1.0, -1.0])
    params = {"w": w, "b": np.array(1e8)}
    return Innocent(
        "large_offset_that_cancels", line_loop, line_reference, params, (x, x @ w + 1e8 + rng.normal(size=11))
    )


def many_samples_one_by_one(rng):
    x, y = rng.normal(size=(4000, 3)), rng.normal(size=4000)
    return Innocent(
        "many_samples_one_by_one", line_loop, line_reference, {"w": rng.normal(size=3), "b": np.array(0.1)}, (x, y)
    )


def float32_one_by_one(rng):
    x, y = rng.normal(size=(300, 3)).astype(np.float32), rng.normal(size=300).astype(np.float32)
    params = {"w": rng.normal(size=3).astype(np.float32), "b": np.array(0.1, dtype=np.float32)}
    return Innocent("float32_one_by_one", line_loop, line_reference, params, (x, y))


def one_sample(rng):
    return Innocent(
        "one_sample",
        line_loop,
        line_reference,
        {"w": rng.normal(size=3), "b": np.array(0.1)},
        (rng.normal(size=(1, 3)), rng.normal(size=1)),
    )


def relu_net_reference(params, x, y):
    h = torch.relu(x @ params["W"])
    return (h @ params["v"] - y).abs().sum()


def relu_net(params, x, y):
    h = np.maximum(x @ params["W"], 0)
    e = h @ params["v"] - y
    s = np.sign(e)
    return np.abs(e).sum(), {"W": x.T @ (np.outer(s, params["v"]) * (h > 0)), "v": h.T @ s}


def dead_units(rng):
    params = {"W": -rng.uniform(0.1, 1, size=(3, 4)), "v": rng.normal(size=4)}
    return Innocent(
        "dead_units", relu_net, relu_net_reference, params, (rng.uniform(0.1, 1, size=(6, 3)), rng.normal(size=6))
    )


def at_the_kink_of_relu(rng):
    params = {"W": np.array([[1.0, 2.0], [1.0, -1.0]]), "v": rng.normal(size=2)}
    x = np.array([[1.0, -1.0], [0.0, 0.0], [1.0, 2.0], [2.0, 1.0]])
    return Innocent("at_the_kink_of_relu", relu_net, relu_net_reference, params, (x, rng.normal(size=4)))


def at_the_kink_of_the_absolute_value(rng):
    params = {"W": np.array([[1.0, 2.0], [3.0, 1.0]]), "v": np.array([2.0, 1.0])}
    x = np.array([[1.0, 1.0], [0.5, 2.0], [1.0, 0.0]])
    y = np.maximum(x @ params["W"], 0) @ params["v"] + np.array([0.0, 0.0, 1.0])
    return Innocent("at_the_kink_of_the_absolute_value", relu_net, relu_net_reference, params, (x, y))


def logistic_reference(params, x, y):
    return F.binary_cross_entropy_with_logits(x @ params["w"], y, reduction="sum")


def logistic(params, x, y):
    z = x @ params["w"]
    a = 0.5 * (1 + np.tanh(z / 2))
    return np.sum(np.logaddexp(0, (1 - 2 * y) * z)), {"w": x.T @ (a - y)}


def saturated_sigmoid(rng):
    x = rng.normal(size=(7, 3)) * 400
    return Innocent(
        "saturated_sigmoid",
        logistic,
        logistic_reference,
        {"w": rng.normal(size=3)},
        (x, rng.integers(0, 2, 7).astype(float)),
    )


def gradients_that_nearly_underflow(rng):
    x = np.abs(rng.normal(size=(5, 2))) + 1
    return Innocent(
        "gradients_that_nearly_underflow",
        logistic,
        logistic_reference,
        {"w": np.array([20.0, 9.0])},
        (x, np.ones(5) - 0.0),
    )


def softmax_reference(params, x, y):
    return F.cross_entropy(x @ params["W"], y)


def softmax(params, x, y):
    z = x @ params["W"]
    z = z - z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    d = (np.exp(log_p) - np.eye(z.shape[1])[y]) / len(y)
    return -log_p[range(len(y)), y].mean(), {"W": np.einsum("ni,nk->ik", x, d)}


def large_logits(rng):
    params = {"W": rng.normal(size=(4, 3)) * 300}
    return Innocent(
        "large_logits", softmax, softmax_reference, params, (rng.normal(size=(6, 4)), rng.integers(0, 3, 6))
    )


def classes_in_balance(rng):
    x = np.ones((6, 2))
    return Innocent(
        "classes_in_balance", softmax, softmax_reference, {"W": np.zeros((2, 3))}, (x, np.array([0, 1, 2, 0, 1, 2]))
    )


def standardised_reference(params, x, y):
    z = x @ params["w"]
    z = (z - z.mean()) / z.std(unbiased=False)
    return ((z - y) ** 2).mean() + z.sum()


def standardised(params, x, y):
    z = x @ params["w"]
    s = z.std()
    u = (z - z.mean()) / s
    du = 2 * (u - y) / len(y) + 1
    dz = (du - du.mean() - u * np.mean(u * du)) / s
    return np.mean((u - y) ** 2) + u.sum(), {"w": x.T @ dz}


def coupled_batch(rng):
    params = {"w": rng.normal(size=3)}
    return Innocent(
        "coupled_batch",
        standardised,
        standardised_reference,
        params,
        (rng.normal(size=(9, 3)), rng.normal(size=9)),
        None,
    )


def sum_of_softmax_reference(params, x):
    return torch.softmax(x @ params["W"], dim=1).sum()


def sum_of_softmax(params, x):
    z = x @ params["W"]
    p = np.exp(z)
    p /= p.sum(axis=1, keepdims=True)
    d = p * (1 - p.sum(axis=1, keepdims=True))
    return p.sum(), {"W": x.T @ d}


def gradient_zero_by_mathematics(rng):
    return Innocent(
        "gradient_zero_by_mathematics",
        sum_of_softmax,
        sum_of_softmax_reference,
        {"W": rng.normal(size=(3, 4))},
        (rng.normal(size=(5, 3)),),
    )


def penalised_reference(params, x, y):
    return {
        "data": ((x @ params["w"] - y) ** 2).sum(),
        "penalty": 0.0 * params["w"].abs().sum(),
        "unused": 0.5 * params["u"] @ params["u"],
    }


def penalised(params, x, y):
    e = x @ params["w"] - y
    return e @ e + params["u"] @ params["u"] / 2, {"w": 2 * e @ x, "u": params["u"]}


def term_of_weight_zero(rng):
    params = {"w": rng.normal(size=3), "u": rng.normal(size=2)}
    return Innocent(
        "term_of_weight_zero", penalised, penalised_reference, params, (rng.normal(size=(5, 3)), rng.normal(size=5))
    )


def the_parameter_itself_as_gradient(rng):
    params = {"w": np.zeros(3), "u": np.zeros(2)}
    return Innocent(
        "the_parameter_itself_as_gradient",
        penalised,
        penalised_reference,
        params,
        (rng.normal(size=(5, 3)), rng.normal(size=5)),
    )


def deep_reference(params, x):
    h = x
    for _ in range(30):
        h = torch.tanh(h @ params["W"])
    return (h**2).sum()


def deep(params, x):
    W, h = params["W"], [x]
    for _ in range(30):
        h.append(np.tanh(h[-1] @ W))
    dW, dh = np.zeros_like(W), 2 * h[-1]
    for below, above in zip(h[-2::-1], h[:0:-1], strict=True):
        da = dh * (1 - above**2)
        dW, dh = dW + below.T @ da, da @ W.T
    return np.sum(h[-1] ** 2), {"W": dW}


def vanishing_gradients(rng):
    return Innocent(
        "vanishing_gradients", deep, deep_reference, {"W": rng.normal(size=(3, 3)) * 0.1}, (rng.normal(size=(4, 3)),)
    )


def chaotic_gradients(rng):
    return Innocent(
        "chaotic_gradients", deep, deep_reference, {"W": rng.normal(size=(3, 3)) * 2.2}, (rng.normal(size=(4, 3)),)
    )


def log_sum_exp_reference(params, x):
    return torch.logsumexp(x @ params["w"], dim=0) - 1000.0


def log_sum_exp(params, x):
    z = x @ params["w"]
    top = z.max()
    e = np.exp(z - top)
    return np.log(e.sum()) + top - 1000.0, {"w": (e / e.sum()) @ x}


def loss_that_cancels(rng):
    x = rng.normal(size=(6, 2))
    x[0] = [1000.0, 0.0]
    return Innocent("loss_that_cancels", log_sum_exp, log_sum_exp_reference, {"w": np.array([1.0, 0.3])}, (x,), None)


def masked_reference(params, x, keep):
    logs = torch.log(torch.where(keep, x, torch.ones_like(x)))
    return (torch.where(keep, logs, torch.zeros_like(logs)) * params["w"]).sum()


def masked(params, x, keep):
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(keep, np.log(x), 0)
    return np.sum(logs * params["w"]), {"w": np.sum(logs, axis=0)}


def masked_logarithm_of_zero(rng):
    keep = rng.uniform(size=(6, 4)) < 0.6
    return Innocent(
        "masked_logarithm_of_zero",
        masked,
        masked_reference,
        {"w": rng.normal(size=4)},
        (np.where(keep, rng.uniform(1, 2, (6, 4)), 0), keep),
    )


CASES = (
    at_the_least_squares_solution,
    at_the_solution_by_a_loop,
    perfect_fit,
    tiny_gradients,
    huge_gradients,
    columns_of_very_different_size,
    large_offset_that_cancels,
    many_samples_one_by_one,
    float32_one_by_one,
    one_sample,
    dead_units,
    at_the_kink_of_relu,
    at_the_kink_of_the_absolute_value,
    saturated_sigmoid,
    gradients_that_nearly_underflow,
    large_logits,
    classes_in_balance,
    coupled_batch,
    gradient_zero_by_mathematics,
    term_of_weight_zero,
    the_parameter_itself_as_gradient,
    vanishing_gradients,
    chaotic_gradients,
    loss_that_cancels,
    masked_logarithm_of_zero,
)
