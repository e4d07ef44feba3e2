"""Consistent, but another function: the loss and its gradient belong together, and something in both is wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gradproof import compare_gradients
from tests.judge.test_small_models import STATES, X, Y, by_torch, told

pytestmark = pytest.mark.usefixtures("no_own_lines")

RNG = np.random.default_rng(2)
WORDS = RNG.integers(0, 5, size=(6, 4))
LABELS = np.array([2, 0, 1, 2, 2, 0])
TABLES = {"V": RNG.normal(size=(5, 4)), "U": RNG.normal(size=(5, 4)), "W": RNG.normal(size=(4, 3))}
WEIGHTS = {"A": RNG.normal(size=(4, 4)), "W": RNG.normal(size=(4, 3))}


def pooled(params, states, y, entry=lambda h: h[:, 0]):
    return F.mse_loss(entry(torch.tanh(states @ params["A"])) @ params["W"], y)


def clipped(params, x, y, smaller=torch.min):
    e = (torch.tanh(x @ params["A"]) @ params["W"] - y).square()
    return smaller(e, 0.5 * e.sqrt() + 0.1).mean()


def causal(params, states, y, pad=lambda h: F.pad(h, (2, 0))):
    h = pad(torch.tanh(states @ params["A"]).transpose(1, 2))
    return F.mse_loss((h[:, :, :-2] + h[:, :, 1:-1] * 2)[:, :, 1] @ params["W"], y)


def looked_up(params, words, y, table="V", hidden=lambda w: w != 0):
    kept = hidden(words).to(y.dtype)[:, :, None]
    found = (F.embedding(words, params[table]) * kept).sum(1) / (kept.sum(1) + 1)
    both = (params["U"] + params["V"]).sum()
    return F.mse_loss(found @ params["W"], y) + 0 * both


def one_hot(params, x, labels, moved=0):
    target = F.one_hot((labels + moved) % 3 if moved else labels, 3).to(x.dtype)
    return (torch.sigmoid(torch.tanh(x @ params["A"]) @ params["W"]) - target).square().sum()


def flattened(params, words, y, order=(0, 1, 2)):
    first = F.embedding(words, params["V"]).permute(order).reshape(len(words), -1)
    second = F.embedding(words[:, :2], params["U"]).permute(order).reshape(len(words), -1)
    return F.mse_loss(torch.tanh(first @ params["P"]) + torch.tanh(second @ params["Q"]), y)


def gated(params, states, y, step=lambda h, f, c: (1 - f) * h + f * c):
    h = torch.zeros(len(states), 4, dtype=states.dtype) + 0.3
    for t in range(states.shape[1]):
        f = torch.sigmoid(states[:, t] @ params["A"])
        h = step(h, f, torch.tanh(h @ params["A"].T + states[:, t]))
    return F.mse_loss(h @ params["W"], y)


def divergence(params, x, y, swapped=False):
    p, q = F.softmax(y, dim=1), F.softmax(torch.tanh(x @ params["A"]) @ params["W"], dim=1)
    p, q = (q, p) if swapped else (p, q)
    return (p * (p.log() - q.log())).sum() / len(x)


def kl_div(params, x, y, swapped=False):
    p, log_q = F.softmax(y, dim=1), F.log_softmax(torch.tanh(x @ params["A"]) @ params["W"], dim=1)
    if swapped:
        return (log_q.exp() * (log_q - p.log())).sum() / len(x)
    return F.kl_div(log_q, p, reduction="batchmean")


def returns(params, states, y, alive=lambda done: 1 - done):
    """Written into slices of an array that holds no parameter."""
    rewards, running = torch.zeros(5, dtype=y.dtype), 0.0
    for t in reversed(range(5)):
        running = states[0, t, 0] + 0.9 * alive((states[2, t, 0] > 0).to(y)) * running
        rewards[t] = running
    return (torch.tanh(states[0] @ params["A"])[:, 0] - rewards).square().sum() + params["W"].square().sum()


def smoothed(params, x, labels, others_alone=False):
    scores = torch.tanh(x @ params["A"]) @ params["W"]
    if not others_alone:
        return F.cross_entropy(scores, labels, label_smoothing=0.2)
    hot = F.one_hot(labels, 3).to(x.dtype)
    return -((0.8 * hot + 0.1 * (1 - hot)) * F.log_softmax(scores, dim=1)).sum() / len(x)


def margins(params, x, y, loss=lambda m: F.softplus(-m)):
    return loss(torch.tanh(x @ params["A"]) @ params["W"] * y.sign()).mean()


def errors(params, x, y, loss=lambda e: torch.sqrt(e**2 + 0.04)):
    weight = x[:, :1] ** 2
    return (weight * loss(torch.tanh(x @ params["A"]) @ params["W"] - y)).sum() / weight.sum()


def grouped(params, states, y, groups=2):
    h = F.group_norm(torch.tanh(states @ params["A"]).transpose(1, 2), groups, eps=1e-3)
    return F.mse_loss(h[:, :, 0] @ params["W"], y)


def read_back(params, states, y, joined=lambda read: torch.stack(read[::-1], dim=1)):
    h, read = torch.zeros(len(states), 4, dtype=states.dtype), []
    for t in reversed(range(states.shape[1])):
        h = torch.tanh(states[:, t] @ params["A"] + 0.5 * h)
        read.append(h)
    return F.mse_loss((joined(read) * torch.arange(1, 6)[:, None]).sum(1) @ params["W"], y)


def densities(params, x, y, over=torch.sum):
    e = torch.tanh(x @ params["A"]) @ params["W"] - y
    log_p = over(-0.5 * e**2, dim=1)
    log_p = log_p - over(F.softplus(e), dim=1)
    return (x @ params["A"]).square().mean() - log_p.mean()


def from_a_state(params, states, first, y, seen=lambda first: first):
    h = seen(first)
    for t in range(states.shape[1]):
        h = torch.tanh(states[:, t] @ params["A"] + h)
    return F.mse_loss(h @ params["W"], y)


def best(params, x, y, chosen=lambda h: torch.topk(h, 2, dim=1)):
    largest, _ = chosen(torch.tanh(x @ params["A"]))
    return F.mse_loss(largest @ params["W"][:2], y)


CASES = {
    "smallest": (best, {"chosen": lambda h: torch.topk(h, 2, dim=1, largest=False)}, WEIGHTS, (X, Y),
                 "different-function", "has the smallest first"),
    "no first state": (from_a_state, {"seen": torch.zeros_like}, WEIGHTS, (STATES, RNG.normal(size=(6, 4)), Y),
                       "wrong-operand", "first is not looked at: it is taken to be 0 everywhere"),
    "hinge for logistic": (margins, {"loss": lambda m: torch.relu(1 - m)}, WEIGHTS, (X, Y), "different-function",
                           "the hinge loss max(0, 1 - z) stands where"),
    "half a square": (errors, {"loss": lambda e: 0.5 * e**2}, WEIGHTS, (X, Y), "different-function",
                      "0.5 times square stands where the reference has `"),
    "one group": (grouped, {"groups": 1}, WEIGHTS, (STATES, Y), "wrong-axis", "makes 1 group along axis 1, where"),
    "never turned round": (read_back, {"joined": lambda read: torch.stack(read, dim=1)}, WEIGHTS, (STATES, Y),
                           "flipped", "joined in reversed order"),
    "means for both sums": (densities, {"over": torch.mean}, WEIGHTS, (X, Y), "wrong-reduction",
                            "means over 3 entries stand wherever the reference takes a sum"),
    "mean for the first": (pooled, {"entry": lambda h: h.mean(1)}, WEIGHTS, (STATES, Y), "different-function",
                           "the mean of all 5 along axis 1 stands for `"),
    "last for the first": (pooled, {"entry": lambda h: h[:, -1]}, WEIGHTS, (STATES, Y), "wrong-operand",
                           "takes entry 4 along axis 1, not 0"),
    "larger for smaller": (clipped, {"smaller": torch.max}, WEIGHTS, (X, Y), "different-function",
                           "takes the larger of the two, not the smaller"),
    "wraps around": (causal, {"pad": lambda h: F.pad(h, (2, 0), mode="circular")}, WEIGHTS, (STATES, Y),
                     "different-function", "at one end comes in again at the other"),
    "another table": (looked_up, {"table": "U"}, TABLES, (WORDS, Y), "wrong-operand", "in U, not in V"),
    "nothing is hidden": (looked_up, {"hidden": lambda w: w >= 0}, TABLES, (WORDS, Y), "wrong-operand",
                          "what it leaves out counts too"),
    "counted from one": (one_hot, {"moved": -1}, WEIGHTS, (X, LABELS), "wrong-operand", "those one before labels"),
    "axes in another order": (flattened, {"order": (0, 2, 1)},
                              {"V": TABLES["V"], "U": TABLES["U"], "P": RNG.normal(size=(16, 3)) * 0.3,
                               "Q": RNG.normal(size=(8, 3)) * 0.3}, (WORDS, Y), "wrong-axis", "in the order (0, 2, 1)"),
    "old and new": (gated, {"step": lambda h, f, c: f * h + (1 - f) * c}, WEIGHTS, (STATES, Y), "wrong-operand",
                    "are exchanged between"),
    "divergence": (divergence, {"swapped": True}, WEIGHTS, (X, Y), "wrong-operand", "stand in each other's place"),
    "fused divergence": (kl_div, {"swapped": True}, WEIGHTS, (X, Y), "different-function",
                         "is the divergence the other way round"),
    "the end is ignored": (returns, {"alive": lambda done: 1.0}, WEIGHTS, (STATES, Y), "different-function",
                           "what is multiplied by it is left out"),
    "among the others": (smoothed, {"others_alone": True}, WEIGHTS, (X, LABELS), "different-function",
                         "goes to the 2 other classes alone, not to all 3"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_told(name):
    reference, change, params, data, code, words = CASES[name]
    found, message = told(by_torch(lambda p, *d: reference(p, *d, **change)), reference, params, *data)
    assert found == code
    assert words in message
    assert "Your loss and your gradient belong together, but to this function." in message


@pytest.mark.usefixtures("no_changes_of_code")
def test_another_function_and_a_mistake_on_its_way_back():
    def model(params, x, y, activation=torch.tanh, back=lambda right, wrong: right):
        u = activation(x @ params["A"]) @ params["W"]
        return F.mse_loss(back(F.softplus(u), u), y)

    def as_if(right, wrong):
        return right.detach() + wrong - wrong.detach()

    wrong = by_torch(lambda *given: model(*given, activation=torch.sigmoid, back=as_if))
    found = compare_gradients(wrong, model, WEIGHTS, X, Y).findings
    assert [one.code for one in found] == ["different-function", "missing-derivative"]
    assert "sigmoid" in found[0].message
    assert "is left out of the chain rule" in found[1].message
