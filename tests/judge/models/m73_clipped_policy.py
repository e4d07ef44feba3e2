"""Proximal policy optimisation of continuous actions: clipped ratios and values, generalised advantages, entropy."""

import numpy as np
import torch
from torch.distributions import Normal

from tests.judge.corpus import right, wrong

BATCH_AXIS = None  # the advantages couple all steps


def reference(params, states, actions, old_log_prob, old_values, rewards, done):
    advantages = torch.zeros_like(rewards)
    running = 0.0
    for t in reversed(range(len(rewards))):
        alive = 1 - done[t]
        delta = rewards[t] + 0.95 * alive * old_values[t + 1] - old_values[t]
        running = delta + 0.95 * 0.8 * alive * running
        advantages[t] = running
    old_values = old_values[:-1]
    returns = advantages + old_values
    advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)

    h = torch.tanh(states @ params["W1"] + params["b1"])
    h = torch.tanh(h @ params["W2"] + params["b2"])
    policy = Normal(2 * torch.tanh(h @ params["M"] + params["m"]), params["log_std"].exp())
    value = h @ params["v"] + params["v0"]

    ratio = (policy.log_prob(actions).sum(dim=-1) - old_log_prob).exp()
    surrogate = torch.min(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages)
    clipped_value = old_values + (value - old_values).clamp(-0.3, 0.3)
    value_loss = torch.max((value - returns).square(), (clipped_value - returns).square())
    return {
        "policy": -surrogate.mean(),
        "value": 0.5 * value_loss.mean(),
        "entropy": -0.15 * policy.entropy().sum(dim=-1).mean(),
    }


def generalised_advantages(rewards, values, done, gamma=0.95, lam=0.8):
    """One more value than rewards: that of the state after the last step."""
    steps = len(rewards)
    advantages = np.zeros(steps)
    running = 0.0
    for t in range(steps - 1, -1, -1):
        alive = 1.0 - done[t]
        delta = rewards[t] + gamma * values[t + 1] * alive - values[t]
        running = delta + gamma * lam * alive * running
        advantages[t] = running
    return advantages


def candidate(params, states, actions, old_log_prob, old_values, rewards, done):
    W1, W2, M, v, log_std = (params[name] for name in ("W1", "W2", "M", "v", "log_std"))
    clip, value_clip, value_weight, entropy_weight = 0.2, 0.3, 0.5, 0.15
    n = len(states)
    raw = generalised_advantages(rewards, old_values, done)
    old = old_values[:-1]
    returns = raw + old
    advantage = (raw - raw.mean()) / (raw.std(ddof=1) + 1e-8)

    # network with two heads
    a1 = states @ W1 + params["b1"]
    h1 = np.tanh(a1)
    a2 = h1 @ W2 + params["b2"]
    h2 = np.tanh(a2)
    squashed = np.tanh(h2 @ M + params["m"])
    mean = 2 * squashed
    std = np.exp(log_std)
    value = h2 @ v + params["v0"]

    # the three terms
    score = (actions - mean) / std
    log_prob = np.sum(-0.5 * score**2 - log_std - 0.5 * np.log(2 * np.pi), axis=1)
    ratio = np.exp(log_prob - old_log_prob)
    plain = ratio * advantage
    limited = np.clip(ratio, 1 - clip, 1 + clip) * advantage
    policy_loss = -np.mean(np.minimum(plain, limited))
    error = value - returns
    limited_error = old + np.clip(value - old, -value_clip, value_clip) - returns
    value_loss = np.mean(np.maximum(error**2, limited_error**2))
    entropy = np.sum(log_std + 0.5 * np.log(2 * np.pi * np.e))
    loss = policy_loss + value_weight * value_loss - entropy_weight * entropy

    # gradients
    active = plain <= limited
    dlog_prob = -active.astype(float) * advantage * ratio / n
    near = np.abs(value - old) <= value_clip
    pulls = near | (error**2 > limited_error**2)
    dvalue = value_weight * 2 * error * pulls / n

    dmean = dlog_prob[:, None] * score / std
    dlog_std = np.sum(dlog_prob[:, None] * (score**2 - 1), axis=0)
    dlog_std -= entropy_weight
    dpre = dmean * 2 * (1 - squashed**2)
    dM = h2.T @ dpre
    dm = dpre.sum(axis=0)
    dv = h2.T @ dvalue
    dv0 = np.array([dvalue.sum()])
    dh2 = dpre @ M.T
    dh2 += np.outer(dvalue, v)
    da2 = dh2 * (1 - h2**2)
    dW2 = h1.T @ da2
    db2 = da2.sum(axis=0)
    da1 = (da2 @ W2.T) * (1 - h1**2)
    dW1 = states.T @ da1
    db1 = da1.sum(axis=0)
    return loss, {
        "W1": dW1,
        "b1": db1,
        "W2": dW2,
        "b2": db2,
        "M": dM,
        "m": dm,
        "log_std": dlog_std,
        "v": dv,
        "v0": dv0,
    }


def problem(rng):
    n, features, hidden, dims = 14, 4, 6, 2
    params = {
        "W1": rng.normal(size=(features, hidden)) * 0.6,
        "b1": rng.normal(size=hidden) * 0.4,
        "W2": rng.normal(size=(hidden, hidden)) * 0.5,
        "b2": rng.normal(size=hidden) * 0.4,
        "M": rng.normal(size=(hidden, dims)) * 0.5,
        "m": rng.normal(size=dims) * 0.3,
        "log_std": np.array([-0.5, 0.3]) + rng.normal(size=dims) * 0.1,
        "v": rng.normal(size=hidden) * 0.7,
        "v0": rng.normal(size=1) * 0.3,
    }
    states = rng.normal(size=(n, features))
    h = np.tanh(np.tanh(states @ params["W1"] + params["b1"]) @ params["W2"] + params["b2"])
    noise = rng.normal(size=(n, dims))
    actions = 2 * np.tanh(h @ params["M"] + params["m"]) + noise * np.exp(params["log_std"])
    log_prob = np.sum(-0.5 * noise**2 - params["log_std"] - 0.5 * np.log(2 * np.pi), axis=1)
    old_log_prob = log_prob + rng.permutation(np.linspace(-0.55, 0.5, n))
    value = h @ params["v"] + params["v0"]
    old_values = np.append(value + rng.permutation(np.linspace(-0.7, 0.75, n)), rng.normal())
    done = np.zeros(n)
    done[[4, 9]] = 1.0
    return params, (states, actions, old_log_prob, old_values, rng.normal(size=n) + 0.4, done)


WRONG = [
    wrong(
        "ratio_forgotten",
        "missing-derivative",
        "dlog_prob = -active.astype(float) * advantage * ratio / n",
        "dlog_prob = -active.astype(float) * advantage / n",
    ),
    wrong(
        "clipped_steps_still_move_the_policy",
        "missing-derivative|different-function",
        "dlog_prob = -active.astype(float) * advantage",
        "dlog_prob = -advantage",
    ),
    wrong(
        "stopped_on_both_sides_of_the_clip",
        "different-function|wrong-operand",
        "active = plain <= limited",
        "active = np.abs(ratio - 1) <= clip",
    ),
    wrong(
        "policy_of_the_wrong_sign",
        "wrong-sign|wrong-term-weight",
        "dlog_prob = -active.astype(float)",
        "dlog_prob = active.astype(float)",
    ),
    wrong(
        "advantages_not_standardised",
        "wrong-operand|missing-derivative",
        "active.astype(float) * advantage * ratio",
        "active.astype(float) * raw * ratio",
    ),
    wrong(
        "clipped_values_still_pull",
        "missing-derivative|different-function",
        "dvalue = value_weight * 2 * error * pulls / n",
        "dvalue = value_weight * 2 * error / n",
    ),
    wrong(
        "weight_of_the_value_forgotten",
        "wrong-term-weight|wrong-scale",
        "dvalue = value_weight * 2 * error",
        "dvalue = 2 * error",
    ),
    wrong(
        "entropy_of_the_wrong_sign",
        "wrong-sign|wrong-term-weight",
        "dlog_std -= entropy_weight",
        "dlog_std += entropy_weight",
    ),
    wrong(
        "entropy_averaged_over_the_steps_again",
        "wrong-term-weight|wrong-scale|wrong-reduction",
        "dlog_std -= entropy_weight",
        "dlog_std -= entropy_weight / n",
    ),
    wrong(
        "normalising_constant_without_gradient",
        "missing-path",
        "dlog_prob[:, None] * (score**2 - 1)",
        "dlog_prob[:, None] * score**2",
    ),
    wrong(
        "divided_by_the_deviation_once",
        "missing-derivative|wrong-operand",
        "dmean = dlog_prob[:, None] * score / std",
        "dmean = dlog_prob[:, None] * score",
    ),
    wrong(
        "squashing_slope_at_the_mean",
        "derivative-at-wrong-point|wrong-operand",
        "dmean * 2 * (1 - squashed**2)",
        "dmean * 2 * (1 - mean**2)",
    ),
    wrong(
        "value_head_does_not_reach_the_trunk",
        "missing-path",
        "    dh2 += np.outer(dvalue, v)\n",
        "",
    ),
    wrong("second_tanh_slope_forgotten", "missing-derivative", "da2 = dh2 * (1 - h2**2)", "da2 = dh2"),
    wrong(
        "hidden_matrix_not_transposed",
        "not-transposed",
        "(da2 @ W2.T)",
        "(da2 @ W2)",
    ),
    wrong(
        "population_deviation_in_both",
        "different-function|wrong-term-weight|wrong-scale",
        "raw.std(ddof=1)",
        "raw.std()",
    ),
    wrong(
        "advantages_run_on_over_the_ends_in_both",
        "different-function|missing-path|wrong-operand",
        "running = delta + gamma * lam * alive * running",
        "running = delta + gamma * lam * running",
    ),
    wrong(
        "value_of_the_same_state_in_both",
        "shifted-in-time|wrong-operand",
        "gamma * values[t + 1] * alive",
        "gamma * values[t] * alive",
    ),
    wrong(
        "smaller_of_the_value_errors_in_both",
        "different-function",
        "np.mean(np.maximum(error**2, limited_error**2))",
        "np.mean(np.minimum(error**2, limited_error**2))",
        "pulls = near | (error**2 > limited_error**2)",
        "pulls = near | (error**2 < limited_error**2)",
    ),
    wrong("entropy_as_a_cost_in_cost", "wrong-loss", "- entropy_weight * entropy", "+ entropy_weight * entropy"),
]

TOGETHER = [
    ("ratio_forgotten", "value_head_does_not_reach_the_trunk"),
    ("entropy_of_the_wrong_sign", "second_tanh_slope_forgotten"),
    ("stopped_on_both_sides_of_the_clip", "normalising_constant_without_gradient"),
    ("clipped_values_still_pull", "divided_by_the_deviation_once"),
    ("policy_of_the_wrong_sign", "hidden_matrix_not_transposed"),
    ("advantages_not_standardised", "weight_of_the_value_forgotten", "squashing_slope_at_the_mean"),
]

RIGHT = [
    right(
        "step_by_step",
        "    active = plain <= limited\n    dlog_prob = -active.astype(float) * advantage * ratio / n\n"
        "    near = np.abs(value - old) <= value_clip\n"
        "    pulls = near | (error**2 > limited_error**2)\n"
        "    dvalue = value_weight * 2 * error * pulls / n\n",
        "    dlog_prob, dvalue = np.zeros(n), np.zeros(n)\n"
        "    for t in range(n):\n"
        "        too_high = advantage[t] > 0 and ratio[t] > 1 + clip\n"
        "        too_low = advantage[t] < 0 and ratio[t] < 1 - clip\n"
        "        if not (too_high or too_low):\n"
        "            dlog_prob[t] = -ratio[t] * advantage[t] / n\n"
        "        moved = value[t] - old[t]\n"
        "        if abs(moved) <= value_clip or abs(error[t]) > abs(limited_error[t]):\n"
        "            dvalue[t] = (value[t] - returns[t]) / n * 2 * value_weight\n",
    ),
    right(
        "both_heads_as_one_matrix",
        "    dM = h2.T @ dpre\n    dm = dpre.sum(axis=0)\n    dv = h2.T @ dvalue\n"
        "    dv0 = np.array([dvalue.sum()])\n    dh2 = dpre @ M.T\n    dh2 += np.outer(dvalue, v)\n",
        "    dheads = np.column_stack([dpre, dvalue])\n"
        "    dheads_matrix = h2.T @ dheads\n"
        "    dM, dv = dheads_matrix[:, :-1], dheads_matrix[:, -1]\n"
        "    dheads_bias = np.ones(n) @ dheads\n"
        "    dm, dv0 = dheads_bias[:-1], dheads_bias[-1:]\n"
        "    dh2 = dheads @ np.column_stack([M, v]).T\n",
    ),
    right(
        "through_variance_and_logarithm",
        "    dmean = dlog_prob[:, None] * score / std\n"
        "    dlog_std = np.sum(dlog_prob[:, None] * (score**2 - 1), axis=0)\n"
        "    dlog_std -= entropy_weight\n",
        "    variance = np.exp(2 * log_std)\n"
        "    away = actions - mean\n"
        '    dmean = np.einsum("n,nd->nd", dlog_prob, away) / variance\n'
        "    dvariance = 0.5 * dlog_prob @ (away**2 / variance**2 - 1 / variance)\n"
        "    dlog_std = 2 * variance * dvariance - np.full(len(std), entropy_weight)\n",
        "    for t in range(steps - 1, -1, -1):\n"
        "        alive = 1.0 - done[t]\n"
        "        delta = rewards[t] + gamma * values[t + 1] * alive - values[t]\n"
        "        running = delta + gamma * lam * alive * running\n"
        "        advantages[t] = running\n",
        "    alive = 1.0 - done\n"
        "    deltas = rewards + gamma * values[1:] * alive - values[:-1]\n"
        "    for t in reversed(range(steps)):\n"
        "        running *= gamma * lam * alive[t]\n"
        "        running += deltas[t]\n"
        "        advantages[t] = running\n",
    ),
]
