"""Q-learning on remembered moves: one ReLU layer, one move after the other, a fixed target, the error clipped at 1."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, states, actions, rewards, next_states, done):
    def q_values(s):
        return F.linear(torch.relu(F.linear(s, params["W1"], params["b1"])), params["W2"], params["b2"])

    with torch.no_grad():
        goal = rewards + 0.9 * (1 - done) * q_values(next_states).amax(dim=1)
    chosen = torch.gather(q_values(states), 1, actions[:, None])[:, 0]
    return F.huber_loss(chosen, goal)


def forward(model, s):
    z = np.dot(model["W1"], s) + model["b1"]
    h = z.copy()
    h[h < 0] = 0
    q = np.dot(model["W2"], h) + model["b2"]
    return q, h, z


def candidate(params, states, actions, rewards, next_states, done):
    model = params
    gamma = 0.9
    batch_size = len(states)
    loss = 0.0
    moves = []
    for i in range(batch_size):
        q, h, z = forward(model, states[i])
        q_next, _, _ = forward(model, next_states[i])
        target = rewards[i]
        if not done[i]:
            target = rewards[i] + gamma * np.max(q_next)
        td_error = q[actions[i]] - target
        if abs(td_error) <= 1:
            loss += 0.5 * td_error**2
        else:
            loss += abs(td_error) - 0.5
        moves.append((q, h, z, td_error))
    loss /= batch_size

    dW1, db1 = np.zeros_like(model["W1"]), np.zeros_like(model["b1"])
    dW2, db2 = np.zeros_like(model["W2"]), np.zeros_like(model["b2"])
    for i in range(batch_size):
        q, h, z, td_error = moves[i]
        dq = np.zeros(len(q))
        dq[actions[i]] = np.clip(td_error, -1, 1)
        dW2 += np.outer(dq, h)
        db2 += dq
        dh = np.dot(model["W2"].T, dq)
        dh[z <= 0] = 0
        dW1 += np.outer(dh, states[i])
        db1 += dh
    for grad in (dW1, db1, dW2, db2):
        grad /= batch_size
    return loss, {"W1": dW1, "b1": db1, "W2": dW2, "b2": db2}


def problem(rng):
    params = {
        "W1": rng.normal(size=(6, 4)) * 0.8,
        "b1": rng.normal(size=6) * 0.4,
        "W2": rng.normal(size=(3, 6)) * 0.7,
        "b2": rng.normal(size=3) * 0.4,
    }
    states, next_states = rng.normal(size=(7, 4)), rng.normal(size=(7, 4))
    actions = np.array([0, 2, 1, 1, 0, 2, 1])
    done = np.array([0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0])
    return params, (states, actions, rng.normal(size=7), next_states, done)


WRONG = [
    wrong(
        "error_not_clipped",
        "different-function|missing-derivative",
        "np.clip(td_error, -1, 1)",
        "td_error",
    ),
    wrong(
        "only_the_direction_of_the_error",
        "different-function",
        "np.clip(td_error, -1, 1)",
        "np.sign(td_error)",
    ),
    wrong(
        "error_on_the_best_action",
        "wrong-operand",
        "dq[actions[i]] = np.clip",
        "dq[np.argmax(q)] = np.clip",
    ),
    wrong(
        "error_on_every_action",
        "wrong-operand|missing-derivative",
        "dq[actions[i]] = np.clip",
        "dq[:] = np.clip",
    ),
    wrong(
        "target_minus_value",
        "wrong-sign",
        "np.clip(td_error, -1, 1)",
        "np.clip(-td_error, -1, 1)",
    ),
    wrong(
        "relu_slope_sees_only_clipped_units",
        "missing-derivative",
        "dh[z <= 0] = 0",
        "dh[h < 0] = 0",
    ),
    wrong(
        "relu_on_the_gradient_itself",
        "different-function|derivative-at-wrong-point",
        "dh[z <= 0] = 0",
        "dh[dh <= 0] = 0",
    ),
    wrong(
        "first_layer_with_the_next_state",
        "wrong-operand",
        "dW1 += np.outer(dh, states[i])",
        "dW1 += np.outer(dh, next_states[i])",
    ),
    wrong(
        "last_move_only",
        "overwritten|one-sample-only",
        "dW1 += np.outer(dh, states[i])",
        "dW1 = np.outer(dh, states[i])",
    ),
    wrong(
        "averaged_over_the_actions_too",
        "wrong-scale",
        "grad /= batch_size",
        "grad /= batch_size * len(q)",
    ),
    wrong(
        "biases_not_averaged",
        "wrong-scale|wrong-reduction",
        "for grad in (dW1, db1, dW2, db2):",
        "for grad in (dW1, dW2):",
    ),
    wrong(
        "end_of_the_game_ignored_in_both",
        "different-function|wrong-operand",
        "        if not done[i]:\n            target = rewards[i] + gamma * np.max(q_next)\n",
        "        target = rewards[i] + gamma * np.max(q_next)\n",
    ),
]

TOGETHER = [
    ("error_not_clipped", "biases_not_averaged"),
    ("error_on_the_best_action", "relu_slope_sees_only_clipped_units"),
    ("target_minus_value", "last_move_only"),
    ("end_of_the_game_ignored_in_both", "averaged_over_the_actions_too"),
]

RIGHT = [
    right(
        "masks_by_products",
        "        dh[z <= 0] = 0\n",
        "        dh = dh * (h > 0)\n",
        "        if not done[i]:\n            target = rewards[i] + gamma * np.max(q_next)\n",
        "        target += gamma * (1 - done[i]) * np.max(q_next)\n",
        "np.clip(td_error, -1, 1)",
        "max(-1.0, min(1.0, td_error))",
    ),
]
