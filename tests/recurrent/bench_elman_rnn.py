"""Speed of the Elman network: 2 inputs, 16 hidden, 1 output, 8 steps; tanh state, loss at every step."""

import numpy as np
import torch

SIZES = (1, 32, 256)
UNIT = "samples"
FORMS = ("loop", "vectorised", "tuned", "torch")
AXES = {"steps": (8, 32, 128), "hidden": (16, 64, 256)}  # each at 32 samples


def problem(samples, steps, hidden, inputs, outputs, dtype):
    rng = np.random.default_rng(0)
    shapes = {"W_xh": (inputs, hidden), "W_hh": (hidden, hidden), "W_hy": (hidden, outputs)}
    params = {name: rng.standard_normal(shape) / np.sqrt(shape[0]) for name, shape in shapes.items()}
    params |= {"b_h": np.zeros(hidden), "b_y": np.zeros(outputs), "h_0": rng.standard_normal((samples, hidden))}
    x = rng.standard_normal((samples, steps, inputs)).astype(dtype)
    target = rng.random((samples, steps, outputs)).astype(dtype)
    return {name: value.astype(dtype) for name, value in params.items()}, x, target


def contestants(impl, reference, size, dtype=np.float64, steps=8, hidden=16):
    """All forms on the same arrays."""
    params, x, target = problem(size, steps, hidden, 2, 1, dtype)
    tensors = {name: torch.tensor(value, requires_grad=True) for name, value in params.items()}
    torch_x, torch_target = torch.tensor(x), torch.tensor(target)

    def by_torch():
        loss = sum(reference.loss(tensors, torch_x, torch_target, loss_at="every").values())
        return loss.detach(), dict(zip(tensors, torch.autograd.grad(loss, list(tensors.values())), strict=True))

    return {
        "loop": lambda: impl.loss_and_grads_per_sample(params, x, target, loss_at="every"),
        "vectorised": lambda: impl.loss_and_grads(params, x, target, loss_at="every"),
        "tuned": lambda: impl.loss_and_grads_tuned(params, x, target, loss_at="every"),
        "torch": by_torch,
    }


def extra_contestants(impl, reference, size, dtype=np.float64, steps=8, hidden=16):
    """torch.nn.RNN, which runs all steps in one call; the same loss, on the same arrays."""
    params, x, target = problem(size, steps, hidden, 2, 1, dtype)
    return {"torch.nn": by_torch_nn(params, x, target)}


def by_torch_nn(params, x, target):
    rnn = torch.nn.RNN(*params["W_xh"].shape, batch_first=True, dtype=torch.from_numpy(x).dtype)
    with torch.no_grad():
        for own, value in zip(rnn.parameters(), (params["W_xh"].T, params["W_hh"].T, params["b_h"]), strict=False):
            own.copy_(torch.tensor(value))
        rnn.bias_hh_l0.zero_()
    W_hy, b_y, h_0 = (torch.tensor(params[name], requires_grad=True) for name in ("W_hy", "b_y", "h_0"))
    leaves = [rnn.weight_ih_l0, rnn.weight_hh_l0, rnn.bias_ih_l0, W_hy, b_y, h_0]
    x, target = torch.tensor(x), torch.tensor(target)

    def call():
        h, _ = rnn(x, h_0[None])
        y = torch.sigmoid(h @ W_hy + b_y)
        loss = ((y - target) ** 2).sum() / (2 * len(x))
        dW_ih, dW_hh, db_h, dW_hy, db_y, dh_0 = torch.autograd.grad(loss, leaves)
        return loss.detach(), {"W_xh": dW_ih.T, "W_hh": dW_hh.T, "b_h": db_h, "W_hy": dW_hy, "b_y": db_y, "h_0": dh_0}

    return call


def test_speed(race):
    race(contestants)
