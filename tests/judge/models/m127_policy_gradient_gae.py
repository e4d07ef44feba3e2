"""An actor-critic on given trajectories: advantages by GAE held constant, a value loss and an entropy bonus."""

import numpy as np
import torch
import torch.nn.functional as F
from torch.distributions import Categorical

from tests.judge.corpus import right, wrong


def reference(params, states, actions, rewards, dones):
    hidden = torch.tanh(F.linear(states, params["W"].T, params["b"]))
    policy = Categorical(logits=hidden[:, :-1] @ params["Wpi"] + params["bpi"])
    values = hidden @ params["wv"] + params["bv"]
    with torch.no_grad():
        gamma, lam = 0.9, 0.8
        advantages = torch.zeros_like(rewards)
        gae = torch.zeros_like(rewards[:, 0])
        for t in range(rewards.shape[1] - 1, -1, -1):
            alive = 1 - dones[:, t]
            td = rewards[:, t] + gamma * values[:, t + 1] * alive - values[:, t]
            gae = td + gamma * lam * alive * gae
            advantages[:, t] = gae
        returns = advantages + values[:, :-1]
    return {
        "policy": -(policy.log_prob(actions) * advantages).mean(),
        "value": 0.5 * F.mse_loss(values[:, :-1], returns),
        "entropy": -0.2 * policy.entropy().mean(),
    }


def log_softmax(z):
    z = z - z.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def gae_advantages(rewards, values, dones, gamma, lam):
    n, steps = rewards.shape
    advantages = np.zeros((n, steps))
    for i in range(n):
        running = 0.0
        for t in reversed(range(steps)):
            alive = 1.0 - dones[i, t]
            next_value = values[i, t + 1]
            delta = rewards[i, t] + gamma * next_value * alive - values[i, t]
            running = delta + gamma * lam * alive * running
            advantages[i, t] = running
    return advantages


def candidate(params, states, actions, rewards, dones, gamma=0.9, lam=0.8, c_value=0.5, c_entropy=0.2):
    n, steps = rewards.shape
    pre = states @ params["W"] + params["b"]
    hidden = np.tanh(pre)
    logp = log_softmax(hidden[:, :-1] @ params["Wpi"] + params["bpi"])
    probs = np.exp(logp)
    values = hidden @ params["wv"] + params["bv"]
    advantages = gae_advantages(rewards, values, dones, gamma, lam)
    returns = advantages + values[:, :-1]
    rows = np.arange(n)
    chosen = np.take_along_axis(logp, actions[:, :, None], axis=2)[:, :, 0]
    entropy = -np.sum(probs * logp, axis=2)
    errors = values[:, :-1] - returns
    policy_loss, value_loss = -np.mean(chosen * advantages), np.mean(errors**2)
    loss = policy_loss + c_value * value_loss - c_entropy * np.mean(entropy)

    count = n * steps
    grads = {name: np.zeros_like(value) for name, value in params.items()}
    for t in range(steps - 1, -1, -1):
        h, p = hidden[:, t], probs[:, t]
        taken = np.zeros_like(p)
        taken[rows, actions[:, t]] = 1
        dlogits = (p - taken) * advantages[:, t, None] / count
        # the more even the policy, the less the loss
        dlogits += c_entropy * p * (logp[:, t] + entropy[:, t, None]) / count
        dvalue = c_value * 2 * errors[:, t] / count
        grads["Wpi"] += h.T @ dlogits
        grads["bpi"] += dlogits.sum(axis=0)
        grads["wv"] += h.T @ dvalue
        grads["bv"] += dvalue.sum()
        dh = dlogits @ params["Wpi"].T + np.outer(dvalue, params["wv"])
        dpre = dh * (1 - h**2)
        grads["W"] += states[:, t].T @ dpre
        grads["b"] += dpre.sum(axis=0)
    return loss, grads


def problem(rng):
    n, steps, size, hidden, choices = 8, 5, 4, 7, 3
    params = {
        "W": rng.normal(size=(size, hidden)) * 0.6,
        "b": rng.normal(size=hidden) * 0.4,
        "Wpi": rng.normal(size=(hidden, choices)) * 0.7,
        "bpi": rng.normal(size=choices) * 0.4,
        "wv": rng.normal(size=hidden) * 0.6,
        "bv": np.array(rng.normal() * 0.3 + 0.4),
    }
    dones = np.zeros((n, steps))
    dones[[0, 2, 3, 5, 6], [1, 3, 4, 2, 0]] = 1
    states = rng.normal(size=(n, steps + 1, size))
    return params, (states, rng.integers(0, choices, size=(n, steps)), rng.normal(size=(n, steps)) + 0.5, dones)


WRONG = [
    wrong(
        "policy_ascends",
        "wrong-sign|wrong-term-weight",
        "dlogits = (p - taken) * advantages[:, t, None] / count",
        "dlogits = (taken - p) * advantages[:, t, None] / count",
    ),
    wrong(
        "returns_for_advantages",
        "wrong-operand",
        "(p - taken) * advantages[:, t, None]",
        "(p - taken) * returns[:, t, None]",
    ),
    wrong(
        "policy_summed_over_the_steps",
        "wrong-reduction|wrong-scale|wrong-term-weight",
        "advantages[:, t, None] / count",
        "advantages[:, t, None] / n",
    ),
    wrong(
        "action_of_the_step_before",
        "shifted-in-time|wrong-operand",
        "taken[rows, actions[:, t]] = 1",
        "taken[rows, actions[:, t - 1]] = 1",
    ),
    wrong(
        "entropy_penalised",
        "wrong-sign|wrong-term-weight",
        "dlogits += c_entropy * p",
        "dlogits -= c_entropy * p",
    ),
    wrong(
        "entropy_not_through_the_normalisation",
        "missing-path|diagonal-jacobian|missing-derivative|different-function|wrong-operand",
        "(logp[:, t] + entropy[:, t, None])",
        "(logp[:, t] + 1)",
    ),
    wrong(
        "value_half_twice_the_error",
        "wrong-scale|wrong-term-weight",
        "dvalue = c_value * 2 * errors[:, t] / count",
        "dvalue = 2 * errors[:, t] / count",
    ),
    wrong(
        "critic_not_into_the_shared_layer",
        "missing-path",
        'dh = dlogits @ params["Wpi"].T + np.outer(dvalue, params["wv"])',
        'dh = dlogits @ params["Wpi"].T',
    ),
    wrong(
        "tanh_slope_at_its_input",
        "derivative-at-wrong-point",
        "dpre = dh * (1 - h**2)",
        "dpre = dh * (1 - pre[:, t] ** 2)",
    ),
    wrong(
        "states_after_the_action",
        "shifted-in-time|wrong-operand",
        "states[:, t].T @ dpre",
        "states[:, t + 1].T @ dpre",
    ),
    wrong(
        "value_offset_of_the_first_step_only",
        "last-step-only|overwritten",
        'grads["bv"] += dvalue.sum()',
        'grads["bv"] = dvalue.sum()',
    ),
    wrong(
        "advantages_run_across_episodes_in_both",
        "different-function|wrong-operand|missing-path|missing-derivative",
        "gamma * lam * alive * running",
        "gamma * lam * running",
    ),
    wrong(
        "ends_read_one_step_late_in_both",
        "shifted-in-time|wrong-operand|different-function",
        "alive = 1.0 - dones[i, t]",
        "alive = 1.0 - dones[i, min(t + 1, steps - 1)]",
    ),
    wrong(
        "no_value_after_the_last_step_in_both",
        "different-function|wrong-operand|missing-path|truncated-in-time",
        "next_value = values[i, t + 1]",
        "next_value = values[i, t + 1] if t < steps - 1 else 0.0",
    ),
    wrong(
        "one_step_targets_for_the_critic_in_both",
        "wrong-operand|different-function|truncated-in-time",
        "returns = advantages + values[:, :-1]",
        "returns = rewards + gamma * (1 - dones) * values[:, 1:]",
    ),
    wrong(
        "entropy_sign_in_cost",
        "wrong-loss",
        "value_loss - c_entropy * np.mean(entropy)",
        "value_loss + c_entropy * np.mean(entropy)",
    ),
]

TOGETHER = [
    ("policy_summed_over_the_steps", "value_half_twice_the_error"),
    ("entropy_penalised", "states_after_the_action"),
    ("policy_ascends", "critic_not_into_the_shared_layer"),
    ("action_of_the_step_before", "value_offset_of_the_first_step_only"),
    ("advantages_run_across_episodes_in_both", "entropy_not_through_the_normalisation"),
    ("tanh_slope_at_its_input", "states_after_the_action"),
    ("returns_for_advantages", "value_half_twice_the_error", "tanh_slope_at_its_input"),
    ("no_value_after_the_last_step_in_both", "policy_ascends", "value_offset_of_the_first_step_only"),
]

RIGHT = [
    right(
        "all_steps_at_once",
        "    for t in range(steps - 1, -1, -1):\n"
        "        h, p = hidden[:, t], probs[:, t]\n"
        "        taken = np.zeros_like(p)\n"
        "        taken[rows, actions[:, t]] = 1\n"
        "        dlogits = (p - taken) * advantages[:, t, None] / count\n"
        "        # the more even the policy, the less the loss\n"
        "        dlogits += c_entropy * p * (logp[:, t] + entropy[:, t, None]) / count\n"
        "        dvalue = c_value * 2 * errors[:, t] / count\n"
        '        grads["Wpi"] += h.T @ dlogits\n'
        '        grads["bpi"] += dlogits.sum(axis=0)\n'
        '        grads["wv"] += h.T @ dvalue\n'
        '        grads["bv"] += dvalue.sum()\n'
        '        dh = dlogits @ params["Wpi"].T + np.outer(dvalue, params["wv"])\n'
        "        dpre = dh * (1 - h**2)\n"
        '        grads["W"] += states[:, t].T @ dpre\n'
        '        grads["b"] += dpre.sum(axis=0)\n',
        "    h = hidden[:, :-1].reshape(count, -1)\n"
        "    p, lp = probs.reshape(count, -1), logp.reshape(count, -1)\n"
        "    gain = advantages.reshape(count, 1)\n"
        "    dlogits = gain * (p - np.eye(p.shape[1])[actions.ravel()])\n"
        "    dlogits += c_entropy * p * (lp + entropy.reshape(count, 1))\n"
        "    dlogits /= count\n"
        "    dvalue = -2 * c_value * advantages.ravel() / count\n"
        '    grads["Wpi"], grads["bpi"] = h.T @ dlogits, dlogits.sum(axis=0)\n'
        '    grads["wv"], grads["bv"] = dvalue @ h, np.array(dvalue.sum())\n'
        '    dpre = (dlogits @ params["Wpi"].T + dvalue[:, None] * params["wv"]) * (1 - h) * (1 + h)\n'
        '    grads["W"] = states[:, :-1].reshape(count, -1).T @ dpre\n'
        '    grads["b"] = dpre.sum(axis=0)\n',
        "    rows = np.arange(n)\n",
        "",
    ),
    right(
        "advantages_as_sums_of_later_errors",
        "    for i in range(n):\n"
        "        running = 0.0\n"
        "        for t in reversed(range(steps)):\n"
        "            alive = 1.0 - dones[i, t]\n"
        "            next_value = values[i, t + 1]\n"
        "            delta = rewards[i, t] + gamma * next_value * alive - values[i, t]\n"
        "            running = delta + gamma * lam * alive * running\n"
        "            advantages[i, t] = running\n",
        "    alive = 1.0 - dones\n"
        "    delta = rewards + gamma * alive * values[:, 1:] - values[:, :-1]\n"
        "    for t in range(steps):\n"
        "        weight = np.ones(n)\n"
        "        for later in range(t, steps):\n"
        "            advantages[:, t] += weight * delta[:, later]\n"
        "            weight = weight * gamma * lam * alive[:, later]\n",
    ),
    right(
        "entropy_through_its_jacobian",
        "        dlogits += c_entropy * p * (logp[:, t] + entropy[:, t, None]) / count\n",
        "        for i in range(n):\n"
        "            jacobian = np.diag(p[i]) - np.outer(p[i], p[i])\n"
        "            dlogits[i] += c_entropy * jacobian @ (1 + logp[i, t]) / count\n",
        "for t in range(steps - 1, -1, -1):",
        "for t in range(steps):",
        "        dpre = dh * (1 - h**2)\n",
        "        dpre = dh\n        dpre *= 1 - np.square(h)\n",
    ),
]
