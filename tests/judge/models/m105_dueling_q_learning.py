"""Q-learning from replayed transitions: dueling heads, a double-Q target with a frozen network, weighted Huber loss."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong

BATCH_AXIS = None


def reference(params, s, a, r, s_next, done, weight, W1, b1, Wv, bv, v, Wa, ba, A):
    frozen = {"W1": W1, "b1": b1, "Wv": Wv, "bv": bv, "v": v, "Wa": Wa, "ba": ba, "A": A}

    def q_values(net, state):
        features = F.relu(F.linear(state, net["W1"], net["b1"]))
        value = F.relu(F.linear(features, net["Wv"], net["bv"])) @ net["v"]
        advantage = F.linear(F.relu(F.linear(features, net["Wa"], net["ba"])), net["A"])
        return value.unsqueeze(1) + advantage - advantage.mean(dim=1, keepdim=True)

    with torch.no_grad():
        best = q_values(params, s_next).argmax(dim=1, keepdim=True)
        target = r + 0.9 * (1 - done) * q_values(frozen, s_next).gather(1, best).squeeze(1)
    chosen = q_values(params, s).gather(1, a.unsqueeze(1)).squeeze(1)
    return (weight * F.huber_loss(chosen, target, reduction="none", delta=1.2)).mean()


def relu(z):
    return np.maximum(z, 0)


def forward(net, states):
    z1 = states @ net["W1"].T + net["b1"]
    h = relu(z1)
    zv = h @ net["Wv"].T + net["bv"]
    za = h @ net["Wa"].T + net["ba"]
    value = relu(zv) @ net["v"]
    adv = relu(za) @ net["A"].T
    q = value[:, None] + adv - adv.mean(axis=1, keepdims=True)
    return q, (z1, h, zv, za)


def td_target(params, frozen, rewards, next_states, done, gamma):
    online, _ = forward(params, next_states)
    later, _ = forward(frozen, next_states)
    best = np.argmax(online, axis=1)
    return rewards + gamma * (1 - done) * later[np.arange(len(best)), best]


def candidate(params, states, actions, rewards, next_states, done, weights, W1, b1, Wv, bv, v, Wa, ba, A):
    gamma, delta = 0.9, 1.2
    frozen = dict(W1=W1, b1=b1, Wv=Wv, bv=bv, v=v, Wa=Wa, ba=ba, A=A)
    n = len(states)
    rows = np.arange(n)
    y = td_target(params, frozen, rewards, next_states, done, gamma)
    q, (z1, h, zv, za) = forward(params, states)
    td = q[rows, actions] - y
    size = np.abs(td)
    huber = np.where(size <= delta, 0.5 * td**2, delta * (size - 0.5 * delta))
    loss = np.mean(weights * huber)

    dtd = weights * np.clip(td, -delta, delta) / n
    dq = np.zeros_like(q)
    dq[rows, actions] = dtd
    # the two heads
    dvalue = dq.sum(axis=1)
    dadv = dq - dq.mean(axis=1, keepdims=True)
    grads = {}
    grads["v"] = dvalue @ relu(zv)
    dzv = np.outer(dvalue, params["v"]) * (zv > 0)
    grads["Wv"] = dzv.T @ h
    grads["bv"] = dzv.sum(axis=0)
    grads["A"] = dadv.T @ relu(za)
    dza = dadv @ params["A"] * (za > 0)
    grads["Wa"] = dza.T @ h
    grads["ba"] = dza.sum(axis=0)
    # what they share
    dh = dzv @ params["Wv"] + dza @ params["Wa"]
    dz1 = dh * (z1 > 0)
    grads["W1"] = dz1.T @ states
    grads["b1"] = dz1.sum(axis=0)
    return loss, grads


def problem(rng):
    states, next_states = rng.normal(size=(8, 6)), rng.normal(size=(8, 6))

    def network():
        return {
            "W1": rng.normal(size=(9, 6)) * 0.6,
            "b1": rng.normal(size=9) * 0.2,
            "Wv": rng.normal(size=(5, 9)) * 0.4,
            "bv": rng.normal(size=5) * 0.2,
            "v": rng.normal(size=5) * 0.4,
            "Wa": rng.normal(size=(7, 9)) * 0.4,
            "ba": rng.normal(size=7) * 0.2,
            "A": rng.normal(size=(4, 7)) * 0.6,
        }

    params = network()
    frozen = {name: value + 0.3 * rng.normal(size=value.shape) for name, value in params.items()}
    actions = rng.permutation(np.array([0, 1, 2, 3, 0, 1, 2, 2]))
    done = np.array([0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    data = (states, actions, rng.normal(size=8) * 0.7, next_states, done, rng.uniform(0.3, 1.0, size=8))
    return params, (*data, *frozen.values())


WRONG = [
    wrong(
        "goes_on_after_the_end_in_both",
        "any",
        "gamma * (1 - done) * later",
        "gamma * later",
    ),
    wrong(
        "best_action_by_the_frozen_network_in_both",
        "wrong-operand|different-function",
        "best = np.argmax(online, axis=1)",
        "best = np.argmax(later, axis=1)",
    ),
    wrong(
        "best_action_valued_by_the_online_network_in_both",
        "wrong-operand",
        "later, _ = forward(frozen, next_states)",
        "later, _ = forward(params, next_states)",
    ),
    wrong(
        "advantages_centred_over_the_whole_batch_in_both",
        "wrong-axis|wrong-reduction|wrong-operand",
        "adv.mean(axis=1, keepdims=True)",
        "adv.mean()",
        "dq.mean(axis=1, keepdims=True)",
        "dq.mean()",
    ),
    wrong(
        "advantages_below_the_largest_in_both",
        "different-function",
        "adv.mean(axis=1, keepdims=True)",
        "adv.max(axis=1, keepdims=True)",
        "    dadv = dq - dq.mean(axis=1, keepdims=True)\n",
        "    dadv = dq.copy()\n    dadv[rows, q.argmax(axis=1)] -= dvalue\n",
    ),
    wrong(
        "centring_forgotten_backwards",
        "missing-path",
        "dadv = dq - dq.mean(axis=1, keepdims=True)",
        "dadv = dq",
    ),
    wrong(
        "value_gradient_averaged_over_actions",
        "wrong-reduction|wrong-scale",
        "dvalue = dq.sum(axis=1)",
        "dvalue = dq.mean(axis=1)",
    ),
    wrong(
        "importance_weights_forgotten",
        "missing-derivative|wrong-operand|different-function",
        "dtd = weights * np.clip(td, -delta, delta) / n",
        "dtd = np.clip(td, -delta, delta) / n",
    ),
    wrong(
        "large_errors_without_gradient",
        "different-function|missing-path",
        "np.clip(td, -delta, delta)",
        "np.where(size <= delta, td, 0)",
    ),
    wrong(
        "divided_by_the_sum_of_the_weights",
        "wrong-scale",
        "np.clip(td, -delta, delta) / n",
        "np.clip(td, -delta, delta) / weights.sum()",
    ),
    wrong(
        "gradient_to_the_greedy_action",
        "wrong-operand",
        "dq[rows, actions] = dtd",
        "dq[rows, q.argmax(axis=1)] = dtd",
    ),
    wrong(
        "value_weights_with_the_layer_before_its_relu",
        "wrong-operand|missing-derivative|different-function",
        'grads["v"] = dvalue @ relu(zv)',
        'grads["v"] = dvalue @ zv',
    ),
    wrong(
        "relu_slope_forgotten_in_the_advantage_stream",
        "missing-derivative",
        'dza = dadv @ params["A"] * (za > 0)',
        'dza = dadv @ params["A"]',
    ),
    wrong(
        "trunk_by_the_advantage_stream_only",
        "missing-path",
        'dh = dzv @ params["Wv"] + dza @ params["Wa"]',
        'dh = dza @ params["Wa"]',
    ),
    wrong(
        "next_states_into_the_first_layer",
        "wrong-operand|shifted-in-time",
        "dz1.T @ states",
        "dz1.T @ next_states",
    ),
    wrong(
        "linear_part_without_its_offset_in_cost",
        "wrong-loss",
        "delta * (size - 0.5 * delta)",
        "delta * size",
    ),
]

TOGETHER = [
    ("centring_forgotten_backwards", "trunk_by_the_advantage_stream_only"),
    ("value_gradient_averaged_over_actions", "next_states_into_the_first_layer"),
    ("best_action_valued_by_the_online_network_in_both", "relu_slope_forgotten_in_the_advantage_stream"),
    ("large_errors_without_gradient", "value_weights_with_the_layer_before_its_relu"),
    ("importance_weights_forgotten", "centring_forgotten_backwards"),
    ("goes_on_after_the_end_in_both", "next_states_into_the_first_layer"),
    (
        "gradient_to_the_greedy_action",
        "relu_slope_forgotten_in_the_advantage_stream",
        "value_weights_with_the_layer_before_its_relu",
    ),
    (
        "divided_by_the_sum_of_the_weights",
        "centring_forgotten_backwards",
        "next_states_into_the_first_layer",
    ),
]

RIGHT = [
    right(
        "one_hot_actions_and_a_centring_matrix",
        "    td = q[rows, actions] - y\n",
        "    taken = (actions[:, None] == np.arange(q.shape[1])).astype(float)\n    td = (q * taken).sum(axis=1) - y\n",
        "    dq = np.zeros_like(q)\n    dq[rows, actions] = dtd\n",
        "    dq = taken * dtd[:, None]\n",
        "    dvalue = dq.sum(axis=1)\n    dadv = dq - dq.mean(axis=1, keepdims=True)\n",
        "    actions_count = q.shape[1]\n"
        "    dvalue = dtd\n"
        "    dadv = dq @ (np.eye(actions_count) - 1 / actions_count)\n",
        "    rows = np.arange(n)\n",
        "",
    ),
    right(
        "one_transition_after_the_other",
        "    grads = {}\n"
        '    grads["v"] = dvalue @ relu(zv)\n'
        '    dzv = np.outer(dvalue, params["v"]) * (zv > 0)\n'
        '    grads["Wv"] = dzv.T @ h\n'
        '    grads["bv"] = dzv.sum(axis=0)\n'
        '    grads["A"] = dadv.T @ relu(za)\n'
        '    dza = dadv @ params["A"] * (za > 0)\n'
        '    grads["Wa"] = dza.T @ h\n'
        '    grads["ba"] = dza.sum(axis=0)\n'
        "    # what they share\n"
        '    dh = dzv @ params["Wv"] + dza @ params["Wa"]\n'
        "    dz1 = dh * (z1 > 0)\n"
        '    grads["W1"] = dz1.T @ states\n'
        '    grads["b1"] = dz1.sum(axis=0)\n',
        "    grads = {name: np.zeros(value.shape) for name, value in params.items()}\n"
        "    for i in range(n):\n"
        '        grads["v"] += dvalue[i] * relu(zv[i])\n'
        '        dzv = dvalue[i] * params["v"] * (zv[i] > 0)\n'
        '        grads["Wv"] += np.outer(dzv, h[i])\n'
        '        grads["bv"] += dzv\n'
        '        grads["A"] += np.outer(dadv[i], relu(za[i]))\n'
        '        dza = params["A"].T @ dadv[i] * (za[i] > 0)\n'
        '        grads["Wa"] += np.outer(dza, h[i])\n'
        '        grads["ba"] += dza\n'
        '        dz1 = (params["Wv"].T @ dzv + params["Wa"].T @ dza) * (z1[i] > 0)\n'
        '        grads["W1"] += np.outer(dz1, states[i])\n'
        '        grads["b1"] += dz1\n',
    ),
    right(
        "clipped_errors_and_masks_in_place",
        "    huber = np.where(size <= delta, 0.5 * td**2, delta * (size - 0.5 * delta))\n",
        "    small = np.minimum(size, delta)\n    huber = small * (size - 0.5 * small)\n",
        "    dtd = weights * np.clip(td, -delta, delta) / n\n",
        "    dtd = np.sign(td) * small\n    dtd *= weights\n    dtd /= n\n",
        "    dz1 = dh * (z1 > 0)\n",
        "    dz1 = dh\n    dz1[z1 <= 0] = 0\n",
        "    best = np.argmax(online, axis=1)\n"
        "    return rewards + gamma * (1 - done) * later[np.arange(len(best)), best]\n",
        "    best = online == online.max(axis=1, keepdims=True)\n"
        "    return np.where(done > 0, rewards, rewards + gamma * later[best])\n",
    ),
]
