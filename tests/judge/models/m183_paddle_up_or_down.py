"""A policy gradient for a ball game: one logistic unit on ReLU units, returns that start anew at every point."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong

BATCH_AXIS = None  # the returns join the frames


def reference(params, frames, actions, rewards):
    returns, running = [], 0.0
    for r in rewards.flip(0):
        running = r if r != 0 else 0.95 * running
        returns.append(torch.as_tensor(running, dtype=rewards.dtype))
    returns = torch.stack(returns).flip(0)
    advantage = (returns - returns.mean()) / returns.std(correction=0)
    logits = F.relu(F.linear(frames, params["W1"])) @ params["W2"]
    up = (actions == 2).to(rewards.dtype)
    return F.binary_cross_entropy_with_logits(logits, up, weight=advantage, reduction="sum")


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def policy_forward(params, x):
    h = params["W1"] @ x
    h[h < 0] = 0
    return sigmoid(params["W2"] @ h), h


def discount_rewards(r, gamma=0.95):
    discounted = np.zeros_like(r)
    running_add = 0.0
    for t in reversed(range(len(r))):
        if r[t] != 0:
            running_add = 0.0  # somebody scored: a new rally
        running_add = running_add * gamma + r[t]
        discounted[t] = running_add
    return discounted


def policy_backward(params, epx, eph, epdlogp):
    dW1, dW2 = np.zeros_like(params["W1"]), np.zeros_like(params["W2"])
    for x, h, dlogp in zip(epx, eph, epdlogp, strict=True):
        dW2 += dlogp * h
        dh = dlogp * params["W2"]
        dh[h <= 0] = 0
        dW1 += np.outer(dh, x)
    return {"W1": dW1, "W2": dW2}


def candidate(params, frames, actions, rewards):
    xs, hs, ps, ys = [], [], [], []
    for x, action in zip(frames, actions, strict=True):
        aprob, h = policy_forward(params, x)
        xs.append(x)
        hs.append(h)
        ps.append(aprob)
        # action 2 is up, action 3 is down
        ys.append(1.0 if action == 2 else 0.0)
    epx, eph = np.vstack(xs), np.vstack(hs)
    p, y = np.array(ps), np.array(ys)
    discounted = discount_rewards(rewards)
    centred = discounted - np.mean(discounted)
    advantage = centred / np.std(discounted)
    loss = -np.sum(advantage * (y * np.log(p) + (1 - y) * np.log(1 - p)))

    # minus the direction that makes the actions taken likelier
    epdlogp = p - y
    epdlogp = epdlogp * advantage
    grads = policy_backward(params, epx, eph, epdlogp)
    return loss, grads


def problem(rng):
    steps, pixels, hidden = 7, 5, 3
    params = {"W1": rng.normal(size=(hidden, pixels)) * 0.8, "W2": rng.normal(size=hidden) * 1.2}
    rewards = np.array([0.0, 0.0, 1.0, 0.0, -1.0, 0.0, 1.0])
    return params, (rng.normal(size=(steps, pixels)), np.array([2, 3, 2, 2, 3, 3, 2]), rewards)


WRONG = [
    wrong(
        "direction_of_ascent",
        "wrong-sign",
        "epdlogp = p - y\n",
        "epdlogp = y - p\n",
    ),
    wrong(
        "advantage_forgotten_in_gradient",
        "missing-derivative|wrong-operand",
        "epdlogp = epdlogp * advantage",
        "epdlogp = epdlogp * 1.0",
    ),
    wrong(
        "raw_return_for_the_advantage_in_gradient",
        "wrong-operand",
        "epdlogp = epdlogp * advantage",
        "epdlogp = epdlogp * discounted",
    ),
    wrong(
        "points_run_into_each_other_in_both",
        "different-function",
        "        if r[t] != 0:\n            running_add = 0.0  # somebody scored: a new rally\n",
        "",
    ),
    wrong(
        "rewards_discounted_from_the_start_in_both",
        "different-function",
        "discounted[t] = running_add",
        "discounted[t] = r[t] * gamma**t",
    ),
    wrong(
        "returns_divided_but_not_centred_in_both",
        "different-function|wrong-operand",
        "advantage = centred / np.std(discounted)",
        "advantage = discounted / np.std(centred)",
    ),
    wrong(
        "probability_itself_sent_back",
        "wrong-operand|missing-path",
        "epdlogp = p - y\n",
        "epdlogp = p\n",
    ),
    wrong(
        "sigmoid_slope_once_more",
        "extra-derivative",
        "epdlogp = p - y\n",
        "epdlogp = (p - y) * p * (1 - p)\n",
    ),
    wrong(
        "relu_slope_forgotten",
        "missing-derivative",
        "        dh[h <= 0] = 0\n",
        "",
    ),
    wrong(
        "relu_asked_of_the_gradient",
        "wrong-operand|derivative-at-wrong-point",
        "dh[h <= 0] = 0",
        "dh[dh <= 0] = 0",
    ),
    wrong(
        "output_weights_of_the_last_frame",
        "one-sample-only|overwritten|last-step-only",
        "dW2 += dlogp * h",
        "dW2 = dlogp * h",
    ),
    wrong(
        "averaged_over_the_frames",
        "wrong-scale|wrong-reduction",
        "epdlogp = epdlogp * advantage",
        "epdlogp = epdlogp * advantage / len(y)",
    ),
]

TOGETHER = [
    ("direction_of_ascent", "relu_slope_forgotten"),
    ("probability_itself_sent_back", "rewards_discounted_from_the_start_in_both"),
    ("points_run_into_each_other_in_both", "relu_asked_of_the_gradient"),
    ("advantage_forgotten_in_gradient", "output_weights_of_the_last_frame"),
]

RIGHT = [
    right(
        "stacked_episode",
        '    dW1, dW2 = np.zeros_like(params["W1"]), np.zeros_like(params["W2"])\n'
        "    for x, h, dlogp in zip(epx, eph, epdlogp, strict=True):\n"
        "        dW2 += dlogp * h\n"
        '        dh = dlogp * params["W2"]\n'
        "        dh[h <= 0] = 0\n"
        "        dW1 += np.outer(dh, x)\n"
        '    return {"W1": dW1, "W2": dW2}',
        '    dh = np.outer(epdlogp, params["W2"]) * (eph > 0)\n    return {"W1": dh.T @ epx, "W2": eph.T @ epdlogp}',
    ),
]
