"""REINFORCE on some episodes: layers in lists (tanh, logistic, softmax), discounted returns less their mean."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, states, actions, rewards):
    steps = rewards.shape[1]
    lag = torch.arange(steps).unsqueeze(1) - torch.arange(steps)
    weights = torch.where(lag >= 0, 0.8 ** lag.clamp(min=0).to(rewards.dtype), 0.0)
    returns = rewards @ weights
    advantages = returns - returns.mean(dim=1, keepdim=True)
    h = torch.tanh(F.linear(states, params["W0"], params["b0"]))
    h = torch.sigmoid(F.linear(h, params["W1"], params["b1"]))
    policy = torch.distributions.Categorical(logits=F.linear(h, params["W2"], params["b2"]))
    return -(policy.log_prob(actions) * advantages).sum(dim=1).mean()


def feedforward(params, kinds, state):
    """The activations of all layers, the state first."""
    activations = [state]
    for layer, kind in enumerate(kinds):
        z = params[f"W{layer}"] @ activations[-1] + params[f"b{layer}"]
        if kind == "tanh":
            a = np.tanh(z)
        elif kind == "sigmoid":
            a = 1 / (1 + np.exp(-z))
        else:
            a = np.exp(z - z.max())
            a = a / a.sum()
        activations.append(a)
    return activations


def slope(kind, a):
    return 1 - a**2 if kind == "tanh" else a * (1 - a)


def backpropagation(params, kinds, activations, error, grads):
    """Adds the gradients of one step, given that of the last activations."""
    probs = activations[-1]
    delta = probs * error - probs * np.dot(probs, error)
    for layer in reversed(range(len(kinds))):
        grads[f"W{layer}"] += np.outer(delta, activations[layer])
        grads[f"b{layer}"] += delta
        if layer > 0:
            back = np.dot(params[f"W{layer}"].T, delta)
            delta = back * slope(kinds[layer - 1], activations[layer])


def discounted(rewards, gamma=0.8):
    returns = np.zeros(len(rewards))
    for i in range(len(rewards)):
        returns[i] = sum(gamma**k * r for k, r in enumerate(rewards[i:]))
    return returns


def candidate(params, states, actions, rewards):
    kinds = ["tanh", "sigmoid", "softmax"]
    episodes = len(states)
    grads = {name: np.zeros_like(value) for name, value in params.items()}
    loss = 0.0
    for episode in range(episodes):
        returns = discounted(rewards[episode])
        advantages = returns - returns.mean()
        for t, action in enumerate(actions[episode]):
            activations = feedforward(params, kinds, states[episode, t])
            probs = activations[-1]
            loss -= advantages[t] * np.log(probs[action]) / episodes
            error = np.zeros_like(probs)
            error[action] = -advantages[t] / probs[action]
            backpropagation(params, kinds, activations, error / episodes, grads)
    return loss, grads


def problem(rng):
    episodes, steps, sizes = 5, 7, (4, 5, 6, 3)
    params = {}
    for layer in range(3):
        params[f"W{layer}"] = rng.normal(size=(sizes[layer + 1], sizes[layer])) * 0.8
        params[f"b{layer}"] = rng.normal(size=sizes[layer + 1]) * 0.4
    states = rng.normal(size=(episodes, steps, sizes[0]))
    actions = rng.integers(0, sizes[-1], size=(episodes, steps))
    return params, (states, actions, rng.normal(size=(episodes, steps)) + 0.5)


WRONG = [
    wrong(
        "all_probabilities_times_the_return_as_error",
        "different-function|wrong-operand",
        "            error = np.zeros_like(probs)\n            error[action] = -advantages[t] / probs[action]\n",
        "            error = -advantages[t] * probs\n",
    ),
    wrong(
        "slope_of_the_probability_not_of_its_logarithm",
        "missing-derivative|different-function",
        "error[action] = -advantages[t] / probs[action]",
        "error[action] = -advantages[t]",
    ),
    wrong(
        "returns_of_the_first_rewards_in_both",
        "wrong-operand|different-function",
        "sum(gamma**k * r for k, r in enumerate(rewards[i:]))",
        "sum(gamma**k * rewards[k] for k in range(len(rewards[i:])))",
    ),
    wrong(
        "pushed_by_the_reward_of_the_step_itself",
        "wrong-operand",
        "error[action] = -advantages[t] / probs[action]",
        "error[action] = -rewards[episode, t] / probs[action]",
    ),
    wrong(
        "mean_return_not_taken_off_backwards",
        "wrong-operand|missing-path",
        "error[action] = -advantages[t] / probs[action]",
        "error[action] = -returns[t] / probs[action]",
    ),
    wrong(
        "direction_of_ascent_given_back",
        "wrong-sign",
        "error[action] = -advantages[t] / probs[action]",
        "error[action] = advantages[t] / probs[action]",
    ),
    wrong(
        "softmax_slope_of_each_output_alone",
        "diagonal-jacobian",
        "delta = probs * error - probs * np.dot(probs, error)",
        "delta = probs * (1 - probs) * error",
    ),
    wrong(
        "softmax_slope_skipped",
        "missing-derivative",
        "delta = probs * error - probs * np.dot(probs, error)",
        "delta = error",
    ),
    wrong(
        "logistic_slope_in_every_layer",
        "different-function",
        "return 1 - a**2 if kind",
        "return a * (1 - a) if kind",
    ),
    wrong(
        "slopes_of_the_hidden_layers_forgotten",
        "missing-derivative",
        "delta = back * slope(kinds[layer - 1], activations[layer])",
        "delta = back",
    ),
    wrong(
        "averaged_over_the_steps_too",
        "wrong-scale|wrong-reduction",
        "error / episodes, grads)",
        "error / actions.size, grads)",
    ),
    wrong(
        "state_of_the_step_after",
        "shifted-in-time",
        "            backpropagation(params, kinds, activations,",
        "            activations[0] = states[episode, min(t + 1, len(returns) - 1)]\n"
        "            backpropagation(params, kinds, activations,",
    ),
]

TOGETHER = [
    ("softmax_slope_of_each_output_alone", "averaged_over_the_steps_too"),
    ("slope_of_the_probability_not_of_its_logarithm", "logistic_slope_in_every_layer"),
    ("direction_of_ascent_given_back", "state_of_the_step_after"),
    ("returns_of_the_first_rewards_in_both", "softmax_slope_skipped"),
]

RIGHT = [
    right(
        "error_of_the_logits_at_once",
        "    probs = activations[-1]\n    delta = probs * error - probs * np.dot(probs, error)\n",
        "    delta = error\n",
        "            error = np.zeros_like(probs)\n            error[action] = -advantages[t] / probs[action]\n",
        "            error = advantages[t] * probs\n            error[action] -= advantages[t]\n",
    ),
]
