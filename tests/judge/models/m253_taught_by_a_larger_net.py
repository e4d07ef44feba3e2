"""A pupil of two gated experts on a bilinear layer, taught by a frozen teacher and by smoothed labels."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tests.judge.corpus import right, wrong


def teacher_weights():
    return 1.4 * np.cos(1.7 * np.arange(15.0)).reshape(5, 3), 0.5 * np.sin(np.arange(5.0))


class Pupil(nn.Module):
    def __init__(self):
        super().__init__()
        self.meet = nn.Bilinear(3, 4, 6)
        self.norm = nn.GroupNorm(2, 6)
        self.gate = nn.Linear(3, 2)
        self.experts = nn.ModuleList(nn.Linear(6, 5) for _ in range(2))

    def forward(self, left, right, gumbel):
        h = F.silu(self.norm(self.meet(left, right)))
        share = F.softmax((self.gate(left) + gumbel) / 0.6, dim=1)
        answers = torch.stack([expert(h) for expert in self.experts], dim=2)
        return torch.einsum("nck,nk->nc", answers, share)


class Teacher(nn.Module):
    def __init__(self):
        super().__init__()
        weight, bias = teacher_weights()
        self.weight, self.bias = nn.Parameter(torch.tensor(weight)), nn.Parameter(torch.tensor(bias))

    def forward(self, left):
        return F.linear(left, self.weight.to(left.dtype), self.bias.to(left.dtype))


teacher = Teacher()


def reference(params, left, right, gumbel, y):
    logits = torch.func.functional_call(Pupil(), params, (left, right, gumbel))
    soft = F.softmax(teacher(left) / 2.5, dim=1).detach()
    return {
        "hard": 0.3 * F.cross_entropy(logits, y, label_smoothing=0.1),
        "soft": 0.7 * 2.5**2 * F.kl_div(F.log_softmax(logits / 2.5, dim=1), soft, reduction="batchmean"),
    }


def log_softmax(a):
    a = a - a.max(axis=1, keepdims=True)
    return a - np.log(np.exp(a).sum(axis=1, keepdims=True))


def group_norm(a, weight, bias):
    n, channels = a.shape
    groups = a.reshape(n, 2, channels // 2)
    centred = groups - groups.mean(axis=2, keepdims=True)
    rstd = 1 / np.sqrt((centred**2).mean(axis=2, keepdims=True) + 1e-5)
    hat = centred * rstd
    return hat.reshape(n, channels) * weight + bias, hat, rstd


def group_norm_backward(dout, hat, rstd, weight):
    dhat = (dout * weight).reshape(hat.shape)
    mean1 = dhat.mean(axis=2, keepdims=True)
    mean2 = (dhat * hat).mean(axis=2, keepdims=True)
    return ((dhat - mean1 - hat * mean2) * rstd).reshape(dout.shape)


def candidate(params, left, right, gumbel, y):
    B, b = params["meet.weight"], params["meet.bias"]
    gain, shift = params["norm.weight"], params["norm.bias"]
    G, g = params["gate.weight"], params["gate.bias"]
    W = [params["experts.0.weight"], params["experts.1.weight"]]
    c = [params["experts.0.bias"], params["experts.1.bias"]]
    T, tau, alpha, smoothing = 2.5, 0.6, 0.7, 0.1
    n, classes = len(left), len(c[0])
    # pupil
    pairs = np.einsum("ni,oij,nj->no", left, B, right) + b
    a, hat, rstd = group_norm(pairs, gain, shift)
    sig = 1 / (1 + np.exp(-a))
    h = a * sig
    share = np.exp(log_softmax((left @ G.T + g + gumbel) / tau))
    answers = [h @ W[k].T + c[k] for k in range(2)]
    logits = share[:, :1] * answers[0] + share[:, 1:] * answers[1]
    # teacher
    teacher_w, teacher_b = teacher_weights()
    log_q = log_softmax((left @ teacher_w.T + teacher_b) / T)
    q = np.exp(log_q)
    # losses
    goal = (1 - smoothing) * np.eye(classes)[y] + smoothing / classes
    logp, logp_soft = log_softmax(logits), log_softmax(logits / T)
    hard = -np.sum(goal * logp) / n
    soft = T**2 * np.sum(q * (log_q - logp_soft)) / n
    loss = (1 - alpha) * hard + alpha * soft

    grads = {}
    dhard = (np.exp(logp) - goal) / n
    dsoft = T**2 * (np.exp(logp_soft) - q) / T / n
    dlogits = (1 - alpha) * dhard + alpha * dsoft
    dh = np.zeros_like(h)
    dshare = np.zeros_like(share)
    for k in range(2):
        danswer = dlogits * share[:, k : k + 1]
        grads[f"experts.{k}.weight"] = danswer.T @ h
        grads[f"experts.{k}.bias"] = danswer.sum(axis=0)
        dh += danswer @ W[k]
        dshare[:, k] = np.sum(dlogits * answers[k], axis=1)
    dgate = share * (dshare - np.sum(dshare * share, axis=1, keepdims=True)) / tau
    grads["gate.weight"] = dgate.T @ left
    grads["gate.bias"] = dgate.sum(axis=0)
    da = dh * (sig + a * sig * (1 - sig))
    grads["norm.weight"] = np.sum(da * hat.reshape(n, -1), axis=0)
    grads["norm.bias"] = da.sum(axis=0)
    dpairs = group_norm_backward(da, hat, rstd, gain)
    grads["meet.weight"] = np.einsum("no,ni,nj->oij", dpairs, left, right)
    grads["meet.bias"] = dpairs.sum(axis=0)
    return loss, grads


def problem(rng):
    params = {
        "meet.weight": rng.normal(size=(6, 3, 4)) * 0.5,
        "meet.bias": rng.normal(size=6) * 0.4,
        "norm.weight": 1 + rng.normal(size=6) * 0.3,
        "norm.bias": rng.normal(size=6) * 0.3,
        "gate.weight": rng.normal(size=(2, 3)) * 0.5,
        "gate.bias": rng.normal(size=2) * 0.3,
    }
    for k in range(2):
        params[f"experts.{k}.weight"] = rng.normal(size=(5, 6)) * 0.6
        params[f"experts.{k}.bias"] = rng.normal(size=5) * 0.3
    gumbel = -np.log(-np.log(rng.uniform(0.05, 0.95, size=(7, 2))))
    return params, (rng.normal(size=(7, 3)), rng.normal(size=(7, 4)), gumbel, rng.integers(0, 5, size=7))


WRONG = [
    wrong(
        "square_of_the_temperature_forgotten_backwards",
        "wrong-term-weight",
        "dsoft = T**2 * (np.exp(logp_soft) - q) / T / n",
        "dsoft = (np.exp(logp_soft) - q) / T / n",
    ),
    wrong(
        "logits_not_divided_by_the_temperature_backwards",
        "wrong-term-weight|missing-derivative",
        "dsoft = T**2 * (np.exp(logp_soft) - q) / T / n",
        "dsoft = T**2 * (np.exp(logp_soft) - q) / n",
    ),
    wrong(
        "teacher_minus_pupil",
        "wrong-sign",
        "dsoft = T**2 * (np.exp(logp_soft) - q) / T / n",
        "dsoft = T**2 * (q - np.exp(logp_soft)) / T / n",
    ),
    wrong(
        "divergence_averaged_over_classes_backwards",
        "wrong-term-weight|wrong-reduction",
        "dsoft = T**2 * (np.exp(logp_soft) - q) / T / n",
        "dsoft = T**2 * (np.exp(logp_soft) - q) / T / q.size",
    ),
    wrong(
        "sharp_pupil_against_the_soft_teacher",
        "wrong-operand",
        "dsoft = T**2 * (np.exp(logp_soft) - q) / T / n",
        "dsoft = T**2 * (np.exp(logp) - q) / T / n",
    ),
    wrong(
        "labels_not_smoothed_backwards",
        "wrong-operand|different-function",
        "dhard = (np.exp(logp) - goal) / n",
        "dhard = (np.exp(logp) - np.eye(classes)[y]) / n",
    ),
    wrong(
        "gate_temperature_forgotten_backwards",
        "wrong-scale|missing-derivative",
        "keepdims=True)) / tau\n",
        "keepdims=True))\n",
    ),
    wrong(
        "gate_softmax_by_its_diagonal",
        "diagonal-jacobian",
        "dgate = share * (dshare - np.sum(dshare * share, axis=1, keepdims=True)) / tau",
        "dgate = dshare * share * (1 - share) / tau",
    ),
    wrong(
        "experts_learn_as_if_alone",
        "missing-derivative",
        "danswer = dlogits * share[:, k : k + 1]",
        "danswer = dlogits",
    ),
    wrong(
        "only_the_last_expert_reaches_the_layer_below",
        "overwritten|missing-path",
        "dh += danswer @ W[k]",
        "dh = danswer @ W[k]",
    ),
    wrong(
        "silu_slope_without_its_second_part",
        "missing-path|missing-derivative",
        "da = dh * (sig + a * sig * (1 - sig))",
        "da = dh * sig",
    ),
    wrong(
        "groups_averaged_together_backwards",
        "wrong-axis",
        "    mean1 = dhat.mean(axis=2, keepdims=True)\n    mean2 = (dhat * hat).mean(axis=2, keepdims=True)\n",
        "    mean1 = dhat.mean(axis=(1, 2), keepdims=True)\n"
        "    mean2 = (dhat * hat).mean(axis=(1, 2), keepdims=True)\n",
    ),
]

TOGETHER = [
    ("square_of_the_temperature_forgotten_backwards", "gate_softmax_by_its_diagonal"),
    ("teacher_minus_pupil", "silu_slope_without_its_second_part"),
    ("labels_not_smoothed_backwards", "experts_learn_as_if_alone"),
    ("sharp_pupil_against_the_soft_teacher", "only_the_last_expert_reaches_the_layer_below"),
]

RIGHT = [
    right(
        "two_shares_as_one_logistic_unit",
        "dgate = share * (dshare - np.sum(dshare * share, axis=1, keepdims=True)) / tau",
        "dfirst = share[:, :1] * share[:, 1:] * (dshare[:, :1] - dshare[:, 1:]) / tau\n"
        "    dgate = np.hstack([dfirst, -dfirst])",
        '    grads["meet.weight"] = np.einsum("no,ni,nj->oij", dpairs, left, right)\n',
        '    grads["meet.weight"] = np.zeros_like(B)\n'
        "    for o in range(len(B)):\n"
        '        grads["meet.weight"][o] = (left * dpairs[:, o : o + 1]).T @ right\n',
    ),
]
