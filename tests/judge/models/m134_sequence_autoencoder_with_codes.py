"""A sequence autoencoder: a leaky tanh encoder with learnt rates, a code of unit length, a decoder without inputs."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, x):
    n, steps, _ = x.shape
    rate = torch.sigmoid(params["rate"])
    h = x.new_zeros(n, len(rate))
    states = []
    for x_t in x.unbind(1):
        proposal = torch.tanh(F.linear(x_t, params["Wx"], params["bh"]) + F.linear(h, params["Wh"]))
        h = torch.lerp(h, proposal, rate.expand_as(h))
        states.append(h)
    s = F.normalize(h, dim=1)
    outputs = []
    for _ in range(steps):
        s = torch.tanh(F.linear(s, params["Ws"], params["bs"]))
        outputs.append(F.linear(s, params["Wy"], params["by"]))
    # the sequence is rebuilt from its end
    errors = F.huber_loss(torch.stack(outputs, dim=1), x.flip(1), reduction="none", delta=0.8)
    weight = 0.85 ** torch.arange(steps, dtype=x.dtype)
    return {
        "reconstruction": torch.einsum("ntd,t->", errors, weight) / errors[:, 0].numel(),
        "activity": 0.7 * torch.stack(states).abs().mean(),
    }


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def huber(r, delta):
    size = np.abs(r)
    return np.where(size <= delta, 0.5 * r**2, delta * (size - 0.5 * delta))


def encode(params, x):
    a = sigmoid(params["rate"])
    h = [np.zeros((len(x), len(a)))]
    k = []
    for t in range(x.shape[1]):
        k.append(np.tanh(x[:, t] @ params["Wx"].T + h[-1] @ params["Wh"].T + params["bh"]))
        h.append((1 - a) * h[-1] + a * k[-1])
    return a, h, k


def decode(params, code, steps):
    s = [code]
    for _ in range(steps):
        s.append(np.tanh(s[-1] @ params["Ws"].T + params["bs"]))
    return s


def candidate(params, x, gamma=0.85, delta=0.8, strength=0.7):
    n, steps, width = x.shape
    a, h, k = encode(params, x)
    length = np.sqrt(np.sum(h[-1] ** 2, axis=1, keepdims=True))
    code = h[-1] / length
    s = decode(params, code, steps)
    out = np.stack([state @ params["Wy"].T + params["by"] for state in s[1:]], axis=1)
    target = x[:, ::-1]
    r = out - target
    weight = gamma ** np.arange(steps)
    per_step = huber(r, delta).mean(axis=(0, 2))
    states = np.stack(h[1:])
    loss = np.sum(weight * per_step) + strength * np.mean(np.abs(states))

    grads = {name: np.zeros_like(value) for name, value in params.items()}
    dout = np.clip(r, -delta, delta) / (n * width)
    dout = dout * weight[:, None]
    # through the decoder, from its last step to the code
    ds = np.zeros_like(code)
    for t in reversed(range(steps)):
        grads["Wy"] += dout[:, t].T @ s[t + 1]
        grads["by"] += dout[:, t].sum(axis=0)
        ds = ds + dout[:, t] @ params["Wy"]
        du = ds * (1 - s[t + 1] ** 2)
        grads["Ws"] += du.T @ s[t]
        grads["bs"] += du.sum(axis=0)
        ds = du @ params["Ws"]
    # the code is the last state on the unit sphere
    dh = (ds - code * np.sum(code * ds, axis=1, keepdims=True)) / length
    # through the encoder
    da = np.zeros_like(a)
    for t in reversed(range(steps)):
        dh = dh + strength * np.sign(h[t + 1]) / states.size
        da += np.sum(dh * (k[t] - h[t]), axis=0)
        dpre = dh * a * (1 - k[t] ** 2)
        grads["Wx"] += dpre.T @ x[:, t]
        grads["Wh"] += dpre.T @ h[t]
        grads["bh"] += dpre.sum(axis=0)
        dh = dh * (1 - a) + dpre @ params["Wh"]
    grads["rate"] = da * a * (1 - a)
    return loss, grads


def problem(rng):
    params = {
        "rate": rng.normal(size=4) * 0.8,
        "Wx": rng.normal(size=(4, 3)) * 0.7,
        "Wh": rng.normal(size=(4, 4)) * 0.5,
        "bh": rng.normal(size=4) * 0.4,
        "Ws": rng.normal(size=(4, 4)) * 0.8,
        "bs": rng.normal(size=4) * 0.4,
        "Wy": rng.normal(size=(3, 4)) * 0.8,
        "by": rng.normal(size=3) * 0.4,
    }
    return params, (rng.normal(size=(7, 5, 3)),)


WRONG = [
    wrong(
        "leaky_route_back_forgotten",
        "missing-path",
        "dh = dh * (1 - a) + dpre @ params",
        "dh = dpre @ params",
    ),
    wrong(
        "proposal_not_scaled_by_the_rate",
        "missing-derivative",
        "dpre = dh * a * (1 - k[t] ** 2)",
        "dpre = dh * (1 - k[t] ** 2)",
    ),
    wrong(
        "tanh_slope_at_the_leaky_state",
        "derivative-at-wrong-point|wrong-operand|shifted-in-time",
        "dh * a * (1 - k[t] ** 2)",
        "dh * a * (1 - h[t + 1] ** 2)",
    ),
    wrong("rate_without_its_sigmoid", "missing-derivative", "da * a * (1 - a)", "da"),
    wrong(
        "rate_against_the_new_state",
        "shifted-in-time|wrong-operand",
        "(k[t] - h[t]), axis=0)",
        "(k[t] - h[t + 1]), axis=0)",
    ),
    wrong(
        "length_held_constant",
        "missing-path|diagonal-jacobian",
        "dh = (ds - code * np.sum(code * ds, axis=1, keepdims=True)) / length",
        "dh = ds / length",
    ),
    wrong(
        "one_length_for_the_batch_in_both",
        "wrong-axis|wrong-reduction|different-function",
        "np.sqrt(np.sum(h[-1] ** 2, axis=1, keepdims=True))",
        "np.sqrt(np.sum(h[-1] ** 2))",
        "np.sum(code * ds, axis=1, keepdims=True)",
        "np.sum(code * ds)",
    ),
    wrong(
        "errors_clipped_at_one",
        "different-function|derivative-at-wrong-point",
        "np.clip(r, -delta, delta)",
        "np.clip(r, -1, 1)",
    ),
    wrong(
        "step_weights_not_in_the_gradient",
        "missing-derivative|wrong-operand|wrong-term-weight",
        "    dout = dout * weight[:, None]\n",
        "",
    ),
    wrong(
        "sequence_not_reversed_in_both",
        "flipped|wrong-operand|different-function",
        "target = x[:, ::-1]",
        "target = x",
    ),
    wrong(
        "activity_pushed_into_the_last_state_only",
        "last-step-only|missing-path",
        "    for t in reversed(range(steps)):\n        dh = dh + strength * np.sign(h[t + 1]) / states.size\n",
        "    dh = dh + strength * np.sign(h[-1]) / states.size\n    for t in reversed(range(steps)):\n",
    ),
    wrong(
        "output_weights_meet_the_state_before",
        "shifted-in-time|wrong-operand",
        "dout[:, t].T @ s[t + 1]",
        "dout[:, t].T @ s[t]",
    ),
    wrong(
        "decoder_forgets_the_later_steps",
        "overwritten|missing-path|truncated-in-time",
        "ds = ds + dout[:, t] @",
        "ds = dout[:, t] @",
    ),
    wrong(
        "recurrent_matrix_not_transposed",
        "not-transposed",
        'dpre @ params["Wh"]',
        'dpre @ params["Wh"].T',
    ),
    wrong(
        "input_weights_of_one_step",
        "overwritten|last-step-only",
        'grads["Wx"] += dpre.T',
        'grads["Wx"] = dpre.T',
    ),
    wrong(
        "weights_averaged_in_cost",
        "wrong-loss",
        "loss = np.sum(weight * per_step)",
        "loss = np.mean(weight * per_step)",
    ),
]

TOGETHER = [
    ("leaky_route_back_forgotten", "rate_without_its_sigmoid"),
    ("tanh_slope_at_the_leaky_state", "input_weights_of_one_step"),
    ("sequence_not_reversed_in_both", "rate_against_the_new_state"),
    ("output_weights_meet_the_state_before", "proposal_not_scaled_by_the_rate"),
    ("errors_clipped_at_one", "step_weights_not_in_the_gradient"),
    ("length_held_constant", "activity_pushed_into_the_last_state_only"),
    ("decoder_forgets_the_later_steps", "recurrent_matrix_not_transposed", "rate_without_its_sigmoid"),
    ("output_weights_meet_the_state_before", "length_held_constant", "input_weights_of_one_step"),
]

RIGHT = [
    right(
        "weights_after_the_loops",
        "    da = np.zeros_like(a)\n    for t in reversed(range(steps)):\n",
        "    da = np.zeros_like(a)\n    pushes = []\n    for t in reversed(range(steps)):\n",
        '        grads["Wx"] += dpre.T @ x[:, t]\n'
        '        grads["Wh"] += dpre.T @ h[t]\n'
        '        grads["bh"] += dpre.sum(axis=0)\n',
        "        pushes.insert(0, dpre)\n",
        '    grads["rate"] = da * a * (1 - a)\n',
        '    pushes = np.stack(pushes, axis=1)\n    grads["Wx"] = np.einsum("nth,ntd->hd", pushes, x)\n'
        '    grads["Wh"] = np.einsum("nth,tng->hg", pushes, np.stack(h[:-1]))\n'
        '    grads["bh"] = pushes.sum(axis=(0, 1))\n'
        '    grads["rate"] = da * a * sigmoid(-params["rate"])\n',
    ),
    right(
        "sample_by_sample_on_the_sphere",
        "    dh = (ds - code * np.sum(code * ds, axis=1, keepdims=True)) / length\n",
        "    dh = np.zeros_like(ds)\n    for i in range(n):\n"
        "        jacobian = (np.eye(len(a)) - np.outer(code[i], code[i])) / length[i]\n"
        "        dh[i] = jacobian @ ds[i]\n",
        "    dout = np.clip(r, -delta, delta) / (n * width)\n",
        "    dout = np.where(np.abs(r) <= delta, r, delta * np.sign(r)) / (n * width)\n",
        "        da += np.sum(dh * (k[t] - h[t]), axis=0)\n",
        "        da += np.sum(dh * (h[t + 1] - h[t]) / a, axis=0)\n",
    ),
    right(
        "outputs_at_once_and_in_place",
        "    ds = np.zeros_like(code)\n",
        "    late = np.stack(s[1:], axis=1).reshape(n * steps, -1)\n"
        '    grads["Wy"] += dout.reshape(n * steps, width).T @ late\n'
        '    grads["by"] += dout.sum(axis=(0, 1))\n'
        '    dstates = dout @ params["Wy"]\n'
        "    ds = np.zeros_like(code)\n",
        '        grads["Wy"] += dout[:, t].T @ s[t + 1]\n        grads["by"] += dout[:, t].sum(axis=0)\n',
        "",
        '        ds = ds + dout[:, t] @ params["Wy"]\n        du = ds * (1 - s[t + 1] ** 2)\n',
        "        ds += dstates[:, t]\n        du = ds - ds * s[t + 1] * s[t + 1]\n",
        "        dh = dh + strength * np.sign(h[t + 1]) / states.size\n",
        "        dh[h[t + 1] > 0] += strength / states.size\n        dh[h[t + 1] < 0] -= strength / states.size\n",
    ),
]
