"""Policy gradient with a learned baseline: an advantage that is held fixed, a value loss and an entropy bonus."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, states, actions, returns):
    h = torch.tanh(states @ params["W"] + params["b"])
    log_pi = torch.log_softmax(h @ params["P"], dim=-1)
    value = h @ params["v"]
    advantage = (returns - value).detach()
    chosen = log_pi[torch.arange(len(actions)), actions]
    entropy = -(log_pi.exp() * log_pi).sum(dim=-1)
    return {
        "policy": -(chosen * advantage).mean(),
        "value": 0.5 * ((value - returns) ** 2).mean(),
        "entropy": -0.3 * entropy.mean(),
    }


def candidate(params, states, actions, returns):
    W, b, P, v = params["W"], params["b"], params["P"], params["v"]
    episodes = range(len(states))
    h = np.tanh(states @ W + b)
    logits = h @ P
    log_pi = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    pi = np.exp(log_pi)
    value = h @ v
    advantage = returns - value
    entropy = -np.sum(pi * log_pi, axis=-1)
    policy_cost = -np.mean([log_pi[k, actions[k]] * advantage[k] for k in episodes])
    loss = policy_cost + 0.5 * np.mean(advantage**2) - 0.3 * np.mean(entropy)

    g = {"W": np.zeros_like(W), "b": np.zeros_like(b), "P": np.zeros_like(P), "v": np.zeros_like(v)}
    for k in episodes:
        bonus = 0.3 * pi[k] * (log_pi[k] + entropy[k])
        step = pi[k].copy()
        step[actions[k]] -= 1
        delta = (step * advantage[k] + bonus) / len(states)
        residual = (value[k] - returns[k]) / len(states)
        g["P"] += np.outer(h[k], delta)
        g["v"] += residual * h[k]
        back = (P @ delta + v * residual) * (1 - h[k] ** 2)
        g["W"] += np.outer(states[k], back)
        g["b"] += back
    return loss, g


def problem(rng):
    params = {
        "W": rng.normal(size=(3, 4)),
        "b": rng.normal(size=4) * 0.5,
        "P": rng.normal(size=(4, 4)) * 0.8,
        "v": rng.normal(size=4),
    }
    return params, (rng.normal(size=(7, 3)), rng.integers(0, 4, size=7), rng.normal(size=7) + 0.8)


WRONG = [
    wrong("entropy_sign", "wrong-sign|wrong-term-weight", "bonus = 0.3 * pi", "bonus = -0.3 * pi"),
    wrong("entropy_jacobian_diagonal", "diagonal-jacobian|missing-path", "(log_pi[k] + entropy[k])", "(log_pi[k] + 1)"),
    wrong("bonus_forgotten", "wrong-term-weight|missing-path", "step * advantage[k] + bonus", "step * advantage[k]"),
    wrong("bonus_too_small", "wrong-term-weight", "bonus = 0.3 *", "bonus = 0.03 *"),
    wrong("value_loss_not_halved", "wrong-term-weight|wrong-scale", "residual = (value[k]", "residual = 2 * (value[k]"),
    wrong(
        "value_loss_the_other_way", "wrong-sign|wrong-term-weight", "(value[k] - returns[k])", "(returns[k] - value[k])"
    ),
    wrong("baseline_forgotten", "wrong-operand", "step * advantage[k]", "step * returns[k]"),
    wrong("advantage_left_out", "missing-derivative", "(step * advantage[k] + bonus)", "(step + bonus)"),
    wrong("action_forgotten", "missing-path", "        step[actions[k]] -= 1\n", ""),
    wrong(
        "likelihood_for_its_logarithm",
        "different-function|missing-derivative",
        "step * advantage[k]",
        "pi[k, actions[k]] * step * advantage[k]",
    ),
    wrong("value_not_in_the_hidden_layer", "missing-path", "(P @ delta + v * residual)", "(P @ delta)"),
    wrong("P_not_transposed", "not-transposed", "(P @ delta + v", "(delta @ P + v"),
    wrong(
        "tanh_slope_on_one_route_only",
        "missing-derivative",
        "(P @ delta + v * residual) * (1 - h[k] ** 2)",
        "P @ delta * (1 - h[k] ** 2) + v * residual",
    ),
    wrong(
        "weights_of_last_episode",
        "overwritten|one-sample-only",
        'g["W"] += np.outer(states[k], back)',
        'g["W"] = np.outer(states[k], back)',
    ),
    wrong("values_of_last_episode", "overwritten|one-sample-only", 'g["v"] += residual', 'g["v"] = residual'),
    wrong(
        "policy_summed",
        "wrong-term-weight|wrong-reduction",
        "delta = (step * advantage[k] + bonus)",
        "delta = (len(states) * step * advantage[k] + bonus)",
    ),
    wrong(
        "absolute_value_error_in_both",
        "different-function",
        "0.5 * np.mean(advantage**2)",
        "np.mean(np.abs(advantage))",
        "residual = (value[k] - returns[k])",
        "residual = np.sign(value[k] - returns[k])",
    ),
    wrong("entropy_in_bits_in_cost", "wrong-loss", "0.3 * np.mean(entropy)", "0.3 * np.mean(entropy) / np.log(2)"),
    wrong(
        "value_updated_before_its_use",
        "wrong-operand",
        '        g["v"] += residual * h[k]\n',
        '        g["v"] += residual * h[k]\n        v = v - 0.5 * residual * h[k]\n',
    ),
]

TOGETHER = [
    ("bonus_too_small", "P_not_transposed"),
    ("value_loss_not_halved", "entropy_jacobian_diagonal"),
    ("baseline_forgotten", "value_not_in_the_hidden_layer"),
    ("action_forgotten", "values_of_last_episode"),
    ("entropy_sign", "tanh_slope_on_one_route_only", "values_of_last_episode"),
]

RIGHT = [
    right(
        "entropy_by_the_full_jacobian",
        "bonus = 0.3 * pi[k] * (log_pi[k] + entropy[k])",
        "bonus = 0.3 * (np.diag(pi[k]) - np.outer(pi[k], pi[k])) @ (log_pi[k] + 1)",
    ),
    right(
        "all_episodes_at_once",
        '        g["P"] += np.outer(h[k], delta)\n',
        "        deltas.append(delta)\n",
        "    for k in episodes:\n",
        "    deltas = []\n    for k in episodes:\n",
        "    return loss, g",
        '    g["P"] = h.T @ np.array(deltas)\n    return loss, g',
    ),
]
