"""A hidden Markov model with Gaussian emissions: several sequences of different lengths, by their summed-out states."""

import numpy as np
import torch
import torch.nn.functional as F
from torch.distributions import Normal

from tests.judge.corpus import right, wrong


def reference(params, y, lengths):
    log_start = F.log_softmax(params["start"], dim=0)
    log_move = F.log_softmax(params["move"], dim=1)
    emission = Normal(params["means"], params["log_scales"].exp())
    log_density = emission.log_prob(y.unsqueeze(2)).sum(dim=-1)
    log_alpha = log_start + log_density[:, 0]
    for t in range(1, y.shape[1]):
        ahead = torch.logsumexp(log_alpha.unsqueeze(2) + log_move, dim=1)
        running = (t < lengths).unsqueeze(1)
        log_alpha = torch.where(running, ahead + log_density[:, t], log_alpha)
    return -torch.logsumexp(log_alpha, dim=1).mean()


def softmax(a, axis):
    e = np.exp(a - a.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def emission_density(seq, means, scales):
    standard = (seq[:, None, :] - means) / scales
    log_density = -0.5 * standard**2 - np.log(scales) - 0.5 * np.log(2 * np.pi)
    return np.exp(log_density.sum(axis=-1))


def forward(start, move, density):
    """The states' probabilities given what was seen so far, and the probability of each observation."""
    alpha = np.zeros_like(density)
    norm = np.zeros(len(density))
    ahead = start
    for t in range(len(density)):
        joint = ahead * density[t]
        norm[t] = joint.sum()
        alpha[t] = joint / norm[t]
        ahead = alpha[t] @ move
    return alpha, norm


def backward(move, density, norm):
    beta = np.ones_like(density)
    for t in range(len(density) - 2, -1, -1):
        beta[t] = move @ (density[t + 1] * beta[t + 1]) / norm[t + 1]
    return beta


def candidate(params, y, lengths):
    means, scales = params["means"], np.exp(params["log_scales"])
    start = softmax(params["start"], axis=0)
    move = softmax(params["move"], axis=1)
    n = len(y)

    log_likelihood, cache = 0.0, []
    for i in range(n):
        seq = y[i, : lengths[i]]
        density = emission_density(seq, means, scales)
        alpha, norm = forward(start, move, density)
        log_likelihood += np.log(norm).sum()
        cache.append((seq, density, alpha, norm))
    loss = -log_likelihood / n

    # expected counts of the states and of their moves, less what the softmax expects
    dstart, dmove = np.zeros_like(start), np.zeros_like(move)
    dmeans, dlog_scales = np.zeros_like(means), np.zeros_like(scales)
    for seq, density, alpha, norm in cache:
        beta = backward(move, density, norm)
        gamma = alpha * beta
        counts = np.zeros_like(move)
        for t in range(len(seq) - 1):
            counts += move * np.outer(alpha[t], density[t + 1] * beta[t + 1]) / norm[t + 1]
        dstart -= gamma[0] - start
        occupied = gamma[:-1].sum(axis=0)
        dmove -= counts - occupied[:, None] * move
        standard = (seq[:, None, :] - means) / scales
        dmeans -= np.sum(gamma[:, :, None] * standard / scales, axis=0)
        dlog_scales -= np.sum(gamma[:, :, None] * (standard**2 - 1), axis=0)
    return loss, {"start": dstart / n, "move": dmove / n, "means": dmeans / n, "log_scales": dlog_scales / n}


def problem(rng):
    params = {
        "start": rng.normal(size=4) * 0.9,
        "move": rng.normal(size=(4, 4)) * 1.1,
        "means": rng.normal(size=(4, 3)) * 0.8,
        "log_scales": rng.normal(size=(4, 3)) * 0.3 + 0.1,
    }
    lengths = np.array([7, 5, 6, 4, 7, 5])
    y = rng.normal(size=(6, 7, 3)) + 0.4
    y[np.arange(7) >= lengths[:, None]] = 0.0
    return params, (y, lengths)


WRONG = [
    wrong(
        "states_filtered_instead_of_smoothed",
        "missing-path|truncated-in-time|wrong-operand",
        "gamma = alpha * beta",
        "gamma = alpha",
    ),
    wrong(
        "moves_not_divided_by_the_observation",
        "any",
        "density[t + 1] * beta[t + 1]) / norm[t + 1]\n        dstart",
        "density[t + 1] * beta[t + 1])\n        dstart",
    ),
    wrong(
        "density_of_the_step_itself_on_the_way_back",
        "shifted-in-time|wrong-operand",
        "beta[t] = move @ (density[t + 1] * beta[t + 1])",
        "beta[t] = move @ (density[t] * beta[t + 1])",
    ),
    wrong(
        "moves_not_transposed_on_the_way_back",
        "not-transposed|transposed",
        "beta[t] = move @ (density[t + 1] * beta[t + 1])",
        "beta[t] = (density[t + 1] * beta[t + 1]) @ move",
    ),
    wrong(
        "move_from_the_state_that_follows",
        "shifted-in-time|wrong-operand",
        "np.outer(alpha[t], density",
        "np.outer(alpha[t + 1], density",
    ),
    wrong(
        "moves_assigned_at_each_step",
        "overwritten|last-step-only",
        "counts += move",
        "counts = move",
    ),
    wrong(
        "softmax_of_the_start_by_its_own_entry_only",
        "missing-path|diagonal-jacobian|missing-derivative",
        "dstart -= gamma[0] - start",
        "dstart -= gamma[0]",
    ),
    wrong(
        "states_counted_where_they_arrive",
        "shifted-in-time|wrong-operand",
        "occupied = gamma[:-1].sum(axis=0)",
        "occupied = gamma[1:].sum(axis=0)",
    ),
    wrong(
        "normaliser_of_the_density_forgotten",
        "missing-path",
        "(standard**2 - 1), axis=0)",
        "standard**2, axis=0)",
    ),
    wrong(
        "slope_of_the_scale_for_its_logarithm",
        "missing-derivative",
        "(standard**2 - 1), axis=0)",
        "(standard**2 - 1) / scales, axis=0)",
    ),
    wrong(
        "means_divided_by_the_scale_once",
        "missing-derivative",
        "gamma[:, :, None] * standard / scales, axis=0)",
        "gamma[:, :, None] * standard, axis=0)",
    ),
    wrong(
        "means_of_the_last_sequence",
        "overwritten|one-sample-only",
        "dmeans -= np.sum(",
        "dmeans = -np.sum(",
    ),
    wrong(
        "start_summed_over_the_sequences",
        "wrong-scale|wrong-reduction",
        '"start": dstart / n',
        '"start": dstart',
    ),
    wrong(
        "moves_normalised_over_their_origins_in_both",
        "wrong-axis",
        'softmax(params["move"], axis=1)',
        'softmax(params["move"], axis=0)',
        "dmove -= counts - occupied[:, None] * move",
        "dmove -= counts - counts.sum(axis=0) * move",
    ),
    wrong(
        "padding_observed_too_in_both",
        "different-function|wrong-operand",
        "seq = y[i, : lengths[i]]",
        "seq = y[i]",
    ),
    wrong("two_pi_left_out_in_cost", "wrong-loss", " - 0.5 * np.log(2 * np.pi)", ""),
]

TOGETHER = [
    ("states_filtered_instead_of_smoothed", "move_from_the_state_that_follows"),
    ("density_of_the_step_itself_on_the_way_back", "slope_of_the_scale_for_its_logarithm"),
    ("softmax_of_the_start_by_its_own_entry_only", "means_divided_by_the_scale_once"),
    ("moves_assigned_at_each_step", "states_counted_where_they_arrive"),
    ("means_of_the_last_sequence", "normaliser_of_the_density_forgotten"),
    ("padding_observed_too_in_both", "start_summed_over_the_sequences"),
    ("moves_not_transposed_on_the_way_back", "means_divided_by_the_scale_once", "start_summed_over_the_sequences"),
    ("move_from_the_state_that_follows", "means_of_the_last_sequence", "slope_of_the_scale_for_its_logarithm"),
]

COUNTS = """\
    for seq, density, alpha, norm in cache:
        beta = backward(move, density, norm)
        gamma = alpha * beta
        counts = np.zeros_like(move)
        for t in range(len(seq) - 1):
            counts += move * np.outer(alpha[t], density[t + 1] * beta[t + 1]) / norm[t + 1]
        dstart -= gamma[0] - start
        occupied = gamma[:-1].sum(axis=0)
        dmove -= counts - occupied[:, None] * move
        standard = (seq[:, None, :] - means) / scales
        dmeans -= np.sum(gamma[:, :, None] * standard / scales, axis=0)
        dlog_scales -= np.sum(gamma[:, :, None] * (standard**2 - 1), axis=0)
"""

# the recursion itself run backwards, first to the probabilities and then through the two softmaxes
RECURSION = """\
    to_start, to_move = np.zeros_like(start), np.zeros_like(move)
    for seq, density, alpha, norm in cache:
        dalpha = np.zeros_like(start)
        for t in reversed(range(len(seq))):
            ahead = start if t == 0 else alpha[t - 1] @ move
            djoint = (dalpha - dalpha @ alpha[t] - 1) / norm[t]
            ddensity = djoint * ahead
            dahead = djoint * density[t]
            if t == 0:
                to_start += dahead
            else:
                to_move += np.outer(alpha[t - 1], dahead)
                dalpha = move @ dahead
            dlog_density = (ddensity * density[t])[:, None]
            away = (seq[t] - means) / scales
            dmeans += dlog_density * away / scales
            dlog_scales += dlog_density * (away**2 - 1)
    dstart += start * (to_start - to_start @ start)
    dmove += move * (to_move - np.sum(to_move * move, axis=1, keepdims=True))
"""

PADDED = """\
    steps = y.shape[1]
    inside = np.arange(steps) < lengths[:, None]
    dens, alphas = np.ones((n, steps, len(start))), np.zeros((n, steps, len(start)))
    norms = np.ones((n, steps))
    for i, (seq, density, alpha, norm) in enumerate(cache):
        dens[i, : len(seq)], alphas[i, : len(seq)], norms[i, : len(seq)] = density, alpha, norm
    betas = np.ones_like(alphas)
    for t in reversed(range(steps - 1)):
        back = (dens[:, t + 1] * betas[:, t + 1]) @ move.T / norms[:, t + 1, None]
        betas[:, t] = np.where(inside[:, t + 1, None], back, 1.0)
    gammas = alphas * betas
    arriving = dens * betas * (inside / norms)[:, :, None]
    counts = move * np.einsum("nti,ntj->ij", alphas[:, :-1], arriving[:, 1:])
    dstart = n * start - gammas[:, 0].sum(axis=0)
    dmove = counts.sum(axis=1, keepdims=True) * move - counts
    mass = gammas.sum(axis=(0, 1))[:, None]
    first = np.einsum("nts,ntd->sd", gammas, y)
    second = np.einsum("nts,ntd->sd", gammas, y**2)
    dmeans = (mass * means - first) / scales**2
    dlog_scales = mass - (second - 2 * means * first + mass * means**2) / scales**2
"""

RIGHT = [
    right("recursion_run_backwards", COUNTS, RECURSION),
    right("all_sequences_padded_and_by_their_moments", COUNTS, PADDED),
    right(
        "in_logarithms",
        "    for t in range(len(density)):\n"
        "        joint = ahead * density[t]\n"
        "        norm[t] = joint.sum()\n"
        "        alpha[t] = joint / norm[t]\n"
        "        ahead = alpha[t] @ move\n"
        "    return alpha, norm\n",
        "    reached, before = np.log(ahead), 0.0\n"
        "    for t in range(len(density)):\n"
        "        joint = reached + np.log(density[t])\n"
        "        total = np.logaddexp.reduce(joint)\n"
        "        alpha[t], norm[t] = np.exp(joint - total), np.exp(total - before)\n"
        "        reached = np.logaddexp.reduce(joint[:, None] + np.log(move), axis=0)\n"
        "        before = total\n"
        "    return alpha, norm\n",
        "    beta = np.ones_like(density)\n"
        "    for t in range(len(density) - 2, -1, -1):\n"
        "        beta[t] = move @ (density[t + 1] * beta[t + 1]) / norm[t + 1]\n"
        "    return beta\n",
        "    beta = np.zeros_like(density)\n"
        "    for t in range(len(density) - 2, -1, -1):\n"
        "        arriving = np.log(density[t + 1]) + beta[t + 1] - np.log(norm[t + 1])\n"
        "        beta[t] = np.logaddexp.reduce(np.log(move) + arriving, axis=1)\n"
        "    return np.exp(beta)\n",
    ),
]
