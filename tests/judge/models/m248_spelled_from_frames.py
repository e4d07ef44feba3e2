"""Letters read from frames without alignment: torch's GRU module, a linear layer, connectionist temporal classes."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tests.judge.corpus import right, wrong


class Speller(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(2, 5, batch_first=True)
        self.fc = nn.Linear(5, 4)

    def forward(self, frames):
        states, _ = self.gru(frames)
        return F.log_softmax(self.fc(states), dim=2)


speller = Speller()


def reference(params, frames, letters, frame_counts, letter_counts):
    logp = torch.func.functional_call(speller, params, (frames,))
    return F.ctc_loss(logp.transpose(0, 1), letters, frame_counts, letter_counts, blank=0, reduction="mean")


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def gru_forward(frames, W, U, b, c):
    n, steps, _ = frames.shape
    k = U.shape[1]
    h = np.zeros((n, k))
    states, tape = [], []
    for t in range(steps):
        xw = frames[:, t] @ W.T + b
        hu = h @ U.T + c
        r = sigmoid(xw[:, :k] + hu[:, :k])
        z = sigmoid(xw[:, k : 2 * k] + hu[:, k : 2 * k])
        kept = hu[:, 2 * k :]
        fresh = np.tanh(xw[:, 2 * k :] + r * kept)
        h_before = h
        h = (1 - z) * fresh + z * h_before
        states.append(h)
        tape.append((r, z, kept, fresh, h_before))
    return np.stack(states, axis=1), tape


def gru_backward(dstates, frames, tape, W, U):
    dW, dU = np.zeros_like(W), np.zeros_like(U)
    db, dc = np.zeros(len(W)), np.zeros(len(U))
    dh_later = np.zeros_like(tape[0][0])
    for t in range(len(tape) - 1, -1, -1):
        r, z, kept, fresh, h_before = tape[t]
        dh = dstates[:, t] + dh_later
        dz = dh * (h_before - fresh) * z * (1 - z)
        da = dh * (1 - z) * (1 - fresh**2)
        dr = da * kept * r * (1 - r)
        dxw = np.hstack([dr, dz, da])
        dhu = np.hstack([dr, dz, da * r])
        dW += dxw.T @ frames[:, t]
        db += dxw.sum(axis=0)
        dU += dhu.T @ h_before
        dc += dhu.sum(axis=0)
        dh_later = dh * z + dhu @ U
    return dW, dU, db, dc


def ctc(probs, word):
    """Minus the log likelihood of one word, and the chance of being at each letter in each frame."""
    steps, places = len(probs), 2 * len(word) + 1
    path = np.zeros(places, dtype=int)
    path[1::2] = word
    skips = np.array([s > 1 and path[s] != 0 and path[s] != path[s - 2] for s in range(places)])
    alpha, beta = np.zeros((steps, places)), np.zeros((steps, places))
    alpha[0, :2] = probs[0, path[:2]]
    for t in range(1, steps):
        for s in range(places):
            before = alpha[t - 1, s]
            if s > 0:
                before += alpha[t - 1, s - 1]
            if skips[s]:
                before += alpha[t - 1, s - 2]
            alpha[t, s] = before * probs[t, path[s]]
    beta[-1, -2:] = 1
    for t in range(steps - 2, -1, -1):
        for s in range(places):
            ahead = beta[t + 1, s] * probs[t + 1, path[s]]
            if s + 1 < places:
                ahead += beta[t + 1, s + 1] * probs[t + 1, path[s + 1]]
            if s + 2 < places and skips[s + 2]:
                ahead += beta[t + 1, s + 2] * probs[t + 1, path[s + 2]]
            beta[t, s] = ahead
    likelihood = alpha[-1, -1] + alpha[-1, -2]
    at_place = alpha * beta / likelihood
    occupancy = np.zeros_like(probs)
    for s in range(places):
        occupancy[:, path[s]] += at_place[:, s]
    return -np.log(likelihood), occupancy


def candidate(params, frames, letters, frame_counts, letter_counts):
    W, U = params["gru.weight_ih_l0"], params["gru.weight_hh_l0"]
    b, c = params["gru.bias_ih_l0"], params["gru.bias_hh_l0"]
    V, d = params["fc.weight"], params["fc.bias"]
    n = len(frames)
    states, tape = gru_forward(frames, W, U, b, c)
    logits = states @ V.T + d
    e = np.exp(logits - logits.max(axis=2, keepdims=True))
    probs = e / e.sum(axis=2, keepdims=True)
    total, dlogits = 0.0, np.zeros_like(logits)
    for i in range(n):
        steps, size = frame_counts[i], letter_counts[i]
        cost, occupancy = ctc(probs[i, :steps], letters[i, :size])
        total += cost / size
        dlogits[i, :steps] = (probs[i, :steps] - occupancy) / size
    loss = total / n

    grads = {}
    dlogits = dlogits / n
    grads["fc.weight"] = np.tensordot(dlogits, states, axes=([0, 1], [0, 1]))
    grads["fc.bias"] = dlogits.sum(axis=(0, 1))
    dstates = dlogits @ V
    dW, dU, db, dc = gru_backward(dstates, frames, tape, W, U)
    grads["gru.weight_ih_l0"], grads["gru.weight_hh_l0"] = dW, dU
    grads["gru.bias_ih_l0"], grads["gru.bias_hh_l0"] = db, dc
    return loss, grads


def problem(rng):
    params = {
        "gru.weight_ih_l0": rng.normal(size=(15, 2)) * 0.8,
        "gru.weight_hh_l0": rng.normal(size=(15, 5)) * 0.7,
        "gru.bias_ih_l0": rng.normal(size=15) * 0.4,
        "gru.bias_hh_l0": rng.normal(size=15) * 0.4,
        "fc.weight": rng.normal(size=(4, 5)) * 0.8,
        "fc.bias": rng.normal(size=4) * 0.4,
    }
    letters = np.array([[1, 2, 3], [3, 3, 0], [2, 0, 0], [1, 1, 2], [2, 3, 2], [3, 1, 0]])
    letter_counts = np.array([3, 2, 1, 3, 3, 2])
    frame_counts = np.array([7, 6, 4, 7, 5, 7])
    return params, (rng.normal(size=(6, 7, 2)), letters, frame_counts, letter_counts)


WRONG = [
    wrong(
        "cost_per_letter_gradient_per_word",
        "wrong-scale|missing-derivative",
        "(probs[i, :steps] - occupancy) / size",
        "probs[i, :steps] - occupancy",
    ),
    wrong("batch_size_forgotten_backwards", "wrong-scale", "    dlogits = dlogits / n\n", ""),
    wrong(
        "gradient_of_the_log_chances_taken_for_the_scores",
        "missing-path|missing-derivative",
        "(probs[i, :steps] - occupancy) / size",
        "-occupancy / size",
    ),
    wrong(
        "repeated_letters_overwrite_their_chance",
        "overwritten",
        "occupancy[:, path[s]] += at_place[:, s]",
        "occupancy[:, path[s]] = at_place[:, s]",
    ),
    wrong(
        "backward_chances_without_skipped_blanks",
        "missing-path",
        "            if s + 2 < places and skips[s + 2]:\n"
        "                ahead += beta[t + 1, s + 2] * probs[t + 1, path[s + 2]]\n",
        "",
    ),
    wrong(
        "backward_chances_end_in_the_last_blank_only",
        "missing-path",
        "beta[-1, -2:] = 1",
        "beta[-1, -1] = 1",
    ),
    wrong("letters_not_counted_in_the_cost", "wrong-loss", "total += cost / size", "total += cost"),
    wrong(
        "reset_before_the_product_in_the_gradient",
        "wrong-operand|different-function",
        "dr = da * kept * r * (1 - r)",
        "dr = (da @ U[2 * r.shape[1] :]) * h_before * r * (1 - r)",
    ),
    wrong(
        "reset_forgotten_in_the_recurrent_gradient",
        "missing-derivative|wrong-operand",
        "[dr, dz, da * r]",
        "[dr, dz, da]",
    ),
    wrong(
        "update_gate_the_other_way_round",
        "wrong-sign",
        "dz = dh * (h_before - fresh) * z",
        "dz = dh * (fresh - h_before) * z",
    ),
    wrong("carried_state_forgotten", "missing-path", "dh_later = dh * z + dhu @ U", "dh_later = dhu @ U"),
    wrong("candidate_slope_forgotten", "missing-derivative", "da = dh * (1 - z) * (1 - fresh**2)", "da = dh * (1 - z)"),
]

TOGETHER = [
    ("cost_per_letter_gradient_per_word", "carried_state_forgotten"),
    ("repeated_letters_overwrite_their_chance", "reset_forgotten_in_the_recurrent_gradient"),
    ("batch_size_forgotten_backwards", "update_gate_the_other_way_round"),
    ("backward_chances_end_in_the_last_blank_only", "candidate_slope_forgotten"),
]

RIGHT = [
    right(
        "summed_over_letters_by_a_matrix",
        "    for s in range(places):\n        occupancy[:, path[s]] += at_place[:, s]\n",
        "    occupancy += at_place @ np.eye(probs.shape[1])[path]\n",
        "h = (1 - z) * fresh + z * h_before",
        "h = fresh + z * (h_before - fresh)",
        'grads["fc.weight"] = np.tensordot(dlogits, states, axes=([0, 1], [0, 1]))',
        'grads["fc.weight"] = sum(dlogits[i].T @ states[i] for i in range(n))',
    ),
]
