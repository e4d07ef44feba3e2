"""An actor-critic update on one episode: discounted returns, a shared trunk of two layers, an entropy bonus."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong

BATCH_AXIS = None  # the returns couple the steps of the episode


def reference(params, states, actions, rewards):
    running, returns = 0.0, []
    for r in rewards.flip(0):
        running = r + 0.9 * running
        returns.append(running)
    returns = torch.stack(returns).flip(0)
    h = F.leaky_relu(F.linear(states, params["W1"], params["b1"]), 0.01)
    h = torch.tanh(F.linear(h, params["W2"], params["b2"]))
    logits = F.linear(h, params["Wp"], params["bp"])
    value = h @ params["wv"] + params["bv"]
    advantage = (returns - value).detach()
    policy = torch.distributions.Categorical(logits=logits)
    return {
        "actor": -(policy.log_prob(actions) * advantage).mean(),
        "critic": 0.5 * F.smooth_l1_loss(value, returns),
        "entropy": -0.05 * policy.entropy().mean(),
    }


def discounted(rewards, gamma=0.9):
    R = np.zeros(len(rewards))
    running = 0.0
    for t in reversed(range(len(rewards))):
        running = rewards[t] + gamma * running
        R[t] = running
    return R


def candidate(params, states, actions, rewards, value_coef=0.5, entropy_coef=0.05):
    W1, b1, W2, b2 = params["W1"], params["b1"], params["W2"], params["b2"]
    Wp, bp, wv, bv = params["Wp"], params["bp"], params["wv"], params["bv"]
    T = len(states)
    R = discounted(rewards)

    buffer = []
    actor_loss = critic_loss = entropy_sum = 0.0
    for t in range(T):
        a1 = W1 @ states[t] + b1
        h1 = np.where(a1 > 0, a1, 0.01 * a1)
        h2 = np.tanh(W2 @ h1 + b2)
        logits = Wp @ h2 + bp
        e = np.exp(logits - logits.max())
        pi = e / e.sum()
        V = wv @ h2 + bv
        adv = R[t] - V
        H = -np.sum(pi * np.log(pi))
        actor_loss -= np.log(pi[actions[t]]) * adv
        critic_loss += 0.5 * adv**2 if abs(adv) < 1 else abs(adv) - 0.5
        entropy_sum += H
        buffer.append((a1, h1, h2, pi, adv, H))
    loss = (actor_loss + value_coef * critic_loss - entropy_coef * entropy_sum) / T

    gW1, gb1 = np.zeros_like(W1), np.zeros_like(b1)
    gW2, gb2 = np.zeros_like(W2), np.zeros_like(b2)
    gWp, gbp = np.zeros_like(Wp), np.zeros_like(bp)
    gwv, gbv = np.zeros_like(wv), 0.0
    for t in range(T):
        a1, h1, h2, pi, adv, H = buffer[t]

        # policy head
        onehot = np.zeros_like(pi)
        onehot[actions[t]] = 1
        dlogits = (pi - onehot) * adv
        dlogits += entropy_coef * pi * (np.log(pi) + H)
        gWp += np.outer(dlogits, h2)
        gbp += dlogits

        # value head
        dV = -value_coef * np.clip(adv, -1, 1)
        gwv += dV * h2
        gbv += dV

        # trunk
        dh2 = Wp.T @ dlogits + wv * dV
        da2 = dh2 * (1 - h2**2)
        gW2 += np.outer(da2, h1)
        gb2 += da2
        dh1 = W2.T @ da2
        da1 = dh1 * np.where(a1 > 0, 1, 0.01)
        gW1 += np.outer(da1, states[t])
        gb1 += da1

    grads = {"Wp": gWp, "bp": gbp, "wv": gwv, "bv": np.array(gbv), "W1": gW1, "b1": gb1, "W2": gW2, "b2": gb2}
    for name in grads:
        grads[name] = np.asarray(grads[name] / T)
    return loss, grads


def problem(rng):
    steps, inputs, first, second, moves = 6, 4, 5, 7, 3
    params = {
        "W1": rng.normal(size=(first, inputs)) * 0.7,
        "b1": rng.normal(size=first) * 0.3,
        "W2": rng.normal(size=(second, first)) * 0.6,
        "b2": rng.normal(size=second) * 0.3,
        "Wp": rng.normal(size=(moves, second)) * 0.8,
        "bp": rng.normal(size=moves) * 0.3,
        "wv": rng.normal(size=second) * 0.5,
        "bv": np.array(0.2),
    }
    rewards = rng.normal(size=steps) * 0.8 + 0.2
    return params, (rng.normal(size=(steps, inputs)), rng.integers(0, moves, size=steps), rewards)


WRONG = [
    wrong(
        "entropy_gradient_without_the_entropy_itself",
        "missing-path|diagonal-jacobian",
        "pi * (np.log(pi) + H)",
        "pi * (np.log(pi) + 1)",
    ),
    wrong(
        "entropy_punished_and_not_rewarded_backwards",
        "wrong-sign|wrong-term-weight",
        "dlogits += entropy_coef",
        "dlogits -= entropy_coef",
    ),
    wrong(
        "entropy_bonus_forgotten_backwards",
        "missing-path|wrong-term-weight",
        "        dlogits += entropy_coef * pi * (np.log(pi) + H)\n",
        "",
    ),
    wrong(
        "policy_gradient_replaced_by_the_entropys",
        "overwritten|missing-path|wrong-term-weight",
        "dlogits += entropy_coef",
        "dlogits = entropy_coef",
    ),
    wrong(
        "policy_weighted_with_the_return",
        "wrong-operand|different-function",
        "dlogits = (pi - onehot) * adv",
        "dlogits = (pi - onehot) * R[t]",
    ),
    wrong(
        "policy_weighted_with_the_reward",
        "wrong-operand|different-function",
        "dlogits = (pi - onehot) * adv",
        "dlogits = (pi - onehot) * rewards[t]",
    ),
    wrong(
        "actor_pushed_the_wrong_way",
        "wrong-sign|wrong-term-weight",
        "dlogits = (pi - onehot) * adv",
        "dlogits = (onehot - pi) * adv",
    ),
    wrong(
        "critic_learns_from_the_actors_loss_too",
        "different-function",
        "dV = -value_coef * np.clip(adv, -1, 1)",
        "dV = -value_coef * np.clip(adv, -1, 1) + np.log(pi[actions[t]])",
    ),
    wrong(
        "squared_error_for_huber_backwards",
        "different-function|missing-derivative",
        "dV = -value_coef * np.clip(adv, -1, 1)",
        "dV = -value_coef * adv",
    ),
    wrong(
        "value_coefficient_forgotten_backwards",
        "wrong-term-weight",
        "dV = -value_coef * np.clip(adv, -1, 1)",
        "dV = -np.clip(adv, -1, 1)",
    ),
    wrong(
        "critic_does_not_reach_the_trunk",
        "missing-path",
        "dh2 = Wp.T @ dlogits + wv * dV",
        "dh2 = Wp.T @ dlogits",
    ),
    wrong(
        "leaky_slope_forgotten_backwards",
        "different-function",
        "np.where(a1 > 0, 1, 0.01)",
        "np.where(a1 > 0, 1, 0)",
    ),
    wrong(
        "tanh_slope_at_its_input",
        "derivative-at-wrong-point",
        "da2 = dh2 * (1 - h2**2)",
        "da2 = dh2 * (1 - (W2 @ h1 + b2) ** 2)",
    ),
    wrong(
        "trunk_bias_of_the_last_step",
        "overwritten|last-step-only|one-sample-only",
        "gb2 += da2",
        "gb2 = da2",
    ),
    wrong(
        "value_bias_gradient_not_averaged",
        "wrong-reduction|wrong-scale",
        '"bv": np.array(gbv)',
        '"bv": np.array(gbv * T)',
    ),
    wrong(
        "rewards_discounted_forwards_in_both",
        "different-function|wrong-operand|flipped",
        "for t in reversed(range(len(rewards))):",
        "for t in range(len(rewards)):",
    ),
]

TOGETHER = [
    ("entropy_gradient_without_the_entropy_itself", "leaky_slope_forgotten_backwards"),
    ("entropy_bonus_forgotten_backwards", "critic_does_not_reach_the_trunk"),
    ("policy_weighted_with_the_return", "trunk_bias_of_the_last_step"),
    ("squared_error_for_huber_backwards", "entropy_punished_and_not_rewarded_backwards"),
    ("critic_learns_from_the_actors_loss_too", "tanh_slope_at_its_input"),
    ("value_coefficient_forgotten_backwards", "leaky_slope_forgotten_backwards", "trunk_bias_of_the_last_step"),
    ("actor_pushed_the_wrong_way", "value_bias_gradient_not_averaged"),
]

RIGHT = [
    right(
        "entropy_through_the_probabilities",
        "        dlogits += entropy_coef * pi * (np.log(pi) + H)\n",
        "        dpi = entropy_coef * (np.log(pi) + 1)\n        dlogits += pi * (dpi - pi @ dpi)\n",
        "-value_coef * np.clip(adv, -1, 1)",
        "value_coef * (-adv if abs(adv) < 1 else -np.sign(adv))",
    ),
]
