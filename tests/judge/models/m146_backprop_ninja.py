"""Makemore's name model differentiated op by op: characters, a matrix, batch norm with Bessel's correction, tanh."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, Xb, Yb):
    embcat = F.embedding(Xb, params["C"]).flatten(1)
    hprebn = embcat @ params["W1"]
    centred = hprebn - hprebn.mean(0, keepdim=True)
    bnraw = centred / torch.sqrt(hprebn.var(0, keepdim=True, unbiased=True) + 1e-3)
    h = torch.tanh(params["bngain"] * bnraw + params["bnbias"])
    return F.cross_entropy(h @ params["W2"] + params["b2"], Yb)


def candidate(params, Xb, Yb):
    C, W1 = params["C"], params["W1"]
    bngain, bnbias = params["bngain"], params["bnbias"]
    W2, b2 = params["W2"], params["b2"]
    n = Xb.shape[0]

    # forward pass, in chunks that are easy to backward one at a time
    emb = C[Xb]
    embcat = emb.reshape(n, -1)
    # linear layer 1
    hprebn = embcat @ W1
    # batch norm
    bnmeani = 1 / n * hprebn.sum(0, keepdims=True)
    bndiff = hprebn - bnmeani
    bndiff2 = bndiff**2
    bnvar = 1 / (n - 1) * bndiff2.sum(0, keepdims=True)  # note: Bessel's correction (n - 1, not n)
    bnvar_inv = (bnvar + 1e-3) ** -0.5
    bnraw = bndiff * bnvar_inv
    hpreact = bngain * bnraw + bnbias
    # non-linearity
    h = np.tanh(hpreact)
    # linear layer 2
    logits = h @ W2 + b2
    # cross entropy
    logit_maxes = logits.max(1, keepdims=True)
    norm_logits = logits - logit_maxes
    counts = np.exp(norm_logits)
    counts_sum = counts.sum(1, keepdims=True)
    counts_sum_inv = counts_sum**-1
    probs = counts * counts_sum_inv
    logprobs = np.log(probs)
    loss = -logprobs[range(n), Yb].mean()

    # backward pass
    dlogprobs = np.zeros_like(logprobs)
    dlogprobs[range(n), Yb] = -1.0 / n
    dprobs = (1.0 / probs) * dlogprobs
    dcounts_sum_inv = (counts * dprobs).sum(1, keepdims=True)
    dcounts = counts_sum_inv * dprobs
    dcounts_sum = -(counts_sum**-2) * dcounts_sum_inv
    dcounts += np.ones_like(counts) * dcounts_sum
    dnorm_logits = counts * dcounts
    dlogits = dnorm_logits.copy()
    dlogit_maxes = -dnorm_logits.sum(1, keepdims=True)
    dlogits += np.eye(logits.shape[1])[logits.argmax(1)] * dlogit_maxes
    dh = dlogits @ W2.T
    dW2 = h.T @ dlogits
    db2 = dlogits.sum(0)
    dhpreact = (1.0 - h**2) * dh
    dbngain = (bnraw * dhpreact).sum(0, keepdims=True)
    dbnraw = bngain * dhpreact
    dbnbias = dhpreact.sum(0, keepdims=True)
    dbndiff = bnvar_inv * dbnraw
    dbnvar_inv = (bndiff * dbnraw).sum(0, keepdims=True)
    dbnvar = (-0.5 * (bnvar + 1e-3) ** -1.5) * dbnvar_inv
    dbndiff2 = (1.0 / (n - 1)) * np.ones_like(bndiff2) * dbnvar
    dbndiff += (2 * bndiff) * dbndiff2
    dhprebn = dbndiff.copy()
    dbnmeani = (-dbndiff).sum(0)
    dhprebn += 1.0 / n * (np.ones_like(hprebn) * dbnmeani)
    dembcat = dhprebn @ W1.T
    dW1 = embcat.T @ dhprebn
    demb = dembcat.reshape(emb.shape)
    dC = np.zeros_like(C)
    for k in range(Xb.shape[0]):
        for j in range(Xb.shape[1]):
            ix = Xb[k, j]
            dC[ix] += demb[k, j]
    return loss, {"C": dC, "W1": dW1, "W2": dW2, "b2": db2, "bngain": dbngain, "bnbias": dbnbias}


def problem(rng):
    vocab, n_embd, block, n_hidden, n = 7, 2, 3, 5, 4
    params = {
        "C": rng.normal(size=(vocab, n_embd)),
        "W1": rng.normal(size=(n_embd * block, n_hidden)) * 0.8,
        "W2": rng.normal(size=(n_hidden, vocab)) * 0.7,
        "b2": rng.normal(size=vocab) * 0.3,
        "bngain": rng.normal(size=(1, n_hidden)) * 0.2 + 1.0,
        "bnbias": rng.normal(size=(1, n_hidden)) * 0.3,
    }
    return params, (rng.integers(0, vocab, size=(n, block)), rng.integers(0, vocab, size=n))


WRONG = [
    wrong(
        "counts_reach_the_loss_only_directly",
        "missing-path",
        "    dcounts += np.ones_like(counts) * dcounts_sum\n",
        "",
    ),
    wrong(
        "second_use_of_counts_replaces_the_first",
        "overwritten|missing-path",
        "dcounts += np.ones_like(counts) * dcounts_sum",
        "dcounts = np.ones_like(counts) * dcounts_sum",
    ),
    wrong(
        "minus_of_the_reciprocal_lost",
        "wrong-sign",
        "dcounts_sum = -(counts_sum**-2) * dcounts_sum_inv",
        "dcounts_sum = counts_sum**-2 * dcounts_sum_inv",
    ),
    wrong(
        "batch_size_forgotten_in_logprobs",
        "wrong-scale|wrong-reduction",
        "dlogprobs[range(n), Yb] = -1.0 / n",
        "dlogprobs[range(n), Yb] = -1.0",
    ),
    wrong(
        "pre_activation_multiplied_into_W2",
        "wrong-operand",
        "dW2 = h.T @ dlogits",
        "dW2 = hpreact.T @ dlogits",
    ),
    wrong(
        "tanh_slope_from_the_pre_activation",
        "derivative-at-wrong-point",
        "dhpreact = (1.0 - h**2) * dh",
        "dhpreact = (1.0 - hpreact**2) * dh",
    ),
    wrong(
        "gain_against_the_unscaled_difference",
        "wrong-operand|missing-derivative",
        "dbngain = (bnraw * dhpreact)",
        "dbngain = (bndiff * dhpreact)",
    ),
    wrong(
        "gain_missing_on_the_way_down",
        "missing-derivative",
        "dbnraw = bngain * dhpreact",
        "dbnraw = dhpreact",
    ),
    wrong(
        "power_not_lowered_in_dbnvar",
        "different-function|derivative-at-wrong-point|missing-derivative",
        "(-0.5 * (bnvar + 1e-3) ** -1.5)",
        "(-0.5 * (bnvar + 1e-3) ** -0.5)",
    ),
    wrong(
        "variance_backward_divided_by_n",
        "wrong-scale",
        "dbndiff2 = (1.0 / (n - 1))",
        "dbndiff2 = (1.0 / n)",
    ),
    wrong(
        "variance_branch_assigned_to_dbndiff",
        "overwritten|missing-path",
        "dbndiff += (2 * bndiff) * dbndiff2",
        "dbndiff = (2 * bndiff) * dbndiff2",
    ),
    wrong(
        "mean_branch_left_out",
        "missing-path",
        "    dhprebn += 1.0 / n * (np.ones_like(hprebn) * dbnmeani)\n",
        "",
    ),
    wrong(
        "two_of_the_square_lost",
        "wrong-scale",
        "dbndiff += (2 * bndiff) * dbndiff2",
        "dbndiff += bndiff * dbndiff2",
    ),
    wrong("character_rows_assigned", "overwritten", "dC[ix] += demb[k, j]", "dC[ix] = demb[k, j]"),
    wrong(
        "population_variance_in_both",
        "different-function|wrong-scale",
        "bnvar = 1 / (n - 1) * bndiff2",
        "bnvar = 1 / n * bndiff2",
        "dbndiff2 = (1.0 / (n - 1))",
        "dbndiff2 = (1.0 / n)",
    ),
    wrong("cost_summed", "wrong-loss", "loss = -logprobs[range(n), Yb].mean()", "loss = -logprobs[range(n), Yb].sum()"),
]

TOGETHER = [
    ("counts_reach_the_loss_only_directly", "mean_branch_left_out"),
    ("variance_backward_divided_by_n", "character_rows_assigned"),
    ("tanh_slope_from_the_pre_activation", "pre_activation_multiplied_into_W2"),
    ("batch_size_forgotten_in_logprobs", "variance_branch_assigned_to_dbndiff"),
    ("gain_against_the_unscaled_difference", "power_not_lowered_in_dbnvar"),
    ("minus_of_the_reciprocal_lost", "gain_missing_on_the_way_down", "character_rows_assigned"),
]

RIGHT = [
    right(
        "exercises_two_and_three",
        "    dlogits = dnorm_logits.copy()\n",
        "    dlogits = probs.copy()\n    dlogits[range(n), Yb] -= 1\n    dlogits /= n\n",
        "    dlogits += np.eye(logits.shape[1])[logits.argmax(1)] * dlogit_maxes\n",
        "",
        "    dhprebn += 1.0 / n * (np.ones_like(hprebn) * dbnmeani)\n",
        "    dhprebn = n * dhpreact - dhpreact.sum(0) - n / (n - 1) * bnraw * (dhpreact * bnraw).sum(0)\n"
        "    dhprebn *= bngain * bnvar_inv / n\n",
    ),
]
