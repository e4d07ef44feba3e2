"""A Kalman filter with two-number states and gaps in the observations: the likelihood by a recursion over time."""

import numpy as np
import torch
from torch.distributions import Normal

from tests.judge.corpus import right, wrong


def reference(params, y, u, seen):
    n, steps = y.shape
    A, B, C = params["A"], params["B"], params["C"]
    Q = torch.diag(torch.exp(params["log_q"]))
    mean = params["mean0"].expand(n, 2)
    cov = torch.diag(torch.exp(params["log_p0"])).expand(n, 2, 2)
    log_likelihood = 0.0
    for t in range(steps):
        mean = mean @ A.T + u[:, t, None] * B
        cov = A @ cov @ A.T + Q
        expected = mean @ C + params["offset"]
        cross = cov @ C
        variance = cross @ C + torch.exp(params["log_r"])
        log_likelihood = log_likelihood + (seen[:, t] * Normal(expected, variance.sqrt()).log_prob(y[:, t])).sum()
        gain = seen[:, t, None] * cross / variance[:, None]
        mean = mean + gain * (y[:, t] - expected)[:, None]
        cov = cov - gain.unsqueeze(2) * cross.unsqueeze(1)
    prior = (A - torch.eye(2, dtype=A.dtype)).pow(2).sum()
    return {"fit": -log_likelihood / seen.sum(), "prior": 0.15 * prior}


def outer(a, b):
    return a[:, :, None] * b[:, None, :]


def times(matrices, vectors):
    return np.einsum("nij,nj->ni", matrices, vectors)


def candidate(params, y, u, seen):
    A, B, C = params["A"], params["B"], params["C"]
    q, r = np.exp(params["log_q"]), np.exp(params["log_r"])
    p0 = np.exp(params["log_p0"])
    n, steps = y.shape

    mean = np.tile(params["mean0"], (n, 1))
    cov = np.tile(np.diag(p0), (n, 1, 1))
    cache, total = [], 0.0
    for t in range(steps):
        mean_before, cov_before = mean, cov
        mean_ahead = mean_before @ A.T + u[:, t, None] * B
        cov_ahead = A @ cov_before @ A.T + np.diag(q)
        error = y[:, t] - mean_ahead @ C - params["offset"]
        cross = cov_ahead @ C
        variance = cross @ C + r
        total += np.sum(seen[:, t] * 0.5 * (np.log(2 * np.pi * variance) + error**2 / variance))
        gain = (seen[:, t] / variance)[:, None] * cross
        mean = mean_ahead + gain * error[:, None]
        cov = cov_ahead - outer(gain, cross)
        cache.append((mean_before, cov_before, mean_ahead, cov_ahead, error, cross, variance, gain))
    away = A - np.eye(2)
    loss = total / seen.sum() + 0.15 * np.sum(away**2)

    dA, dB, dC, doffset = np.zeros((2, 2)), np.zeros(2), np.zeros(2), np.zeros(1)
    dq, dr = np.zeros(2), np.zeros(1)
    dmean, dcov = np.zeros((n, 2)), np.zeros((n, 2, 2))
    for t in reversed(range(steps)):
        mean_before, cov_before, mean_ahead, cov_ahead, error, cross, variance, gain = cache[t]
        share = seen[:, t] / seen.sum()
        # the step of correction
        derror = share * error / variance
        dvariance = 0.5 * share * (1 / variance - error**2 / variance**2)
        derror += np.sum(dmean * gain, axis=1)
        dgain = dmean * error[:, None]
        dgain -= times(dcov, cross)
        dcross = -times(dcov.transpose(0, 2, 1), gain)
        dcross += (seen[:, t] / variance)[:, None] * dgain
        dvariance -= np.sum(dgain * gain, axis=1) / variance
        dr += dvariance.sum()
        dC += dvariance @ cross
        dcross += dvariance[:, None] * C
        dC += np.einsum("nij,ni->j", cov_ahead, dcross)
        dcov = dcov + dcross[:, :, None] * C
        dC -= derror @ mean_ahead
        doffset -= derror.sum()
        dmean = dmean - derror[:, None] * C
        # the step of prediction
        dA += dmean.T @ mean_before
        dB += u[:, t] @ dmean
        dA += np.sum(dcov @ A @ cov_before, axis=0)
        dA += np.sum(dcov.transpose(0, 2, 1) @ A @ cov_before, axis=0)
        dq += np.einsum("nii->i", dcov)
        dmean = dmean @ A
        dcov = A.T @ dcov @ A
    dp0 = np.einsum("nii->i", dcov)
    return loss, {
        "A": dA + 2 * 0.15 * away,
        "B": dB,
        "C": dC,
        "offset": doffset,
        "log_q": dq * q,
        "log_r": dr * r,
        "mean0": dmean.sum(axis=0),
        "log_p0": dp0 * p0,
    }


def problem(rng):
    params = {
        "A": np.array([[0.9, 0.5], [-0.4, 0.8]]) + rng.normal(size=(2, 2)) * 0.05,
        "B": rng.normal(size=2) * 0.7 + 0.5,
        "C": np.array([1.1, -0.6]) + rng.normal(size=2) * 0.1,
        "offset": rng.normal(size=1) * 0.3 + 0.4,
        "log_q": np.array([-1.2, -0.5]) + rng.normal(size=2) * 0.1,
        "log_r": np.array([-0.7]) + rng.normal(size=1) * 0.1,
        "mean0": rng.normal(size=2),
        "log_p0": np.array([0.4, -0.3]),
    }
    seen = np.ones((5, 8))
    seen[[0, 1, 1, 2, 3, 4, 4, 4], [3, 0, 5, 6, 2, 1, 2, 4]] = 0.0
    return params, (rng.normal(size=(5, 8)).cumsum(axis=1) * 0.8 + 0.6, rng.normal(size=(5, 8)), seen)


WRONG = [
    wrong("noise_not_through_its_logarithm", "missing-derivative", '"log_r": dr * r,', '"log_r": dr,'),
    wrong(
        "gain_as_a_constant_in_the_mean",
        "missing-path",
        "        dgain = dmean * error[:, None]\n",
        "        dgain = np.zeros_like(dmean)\n",
    ),
    wrong(
        "one_side_of_the_transition_forgotten",
        "missing-path",
        "        dA += np.sum(dcov.transpose(0, 2, 1) @ A @ cov_before, axis=0)\n",
        "",
    ),
    wrong(
        "covariance_carried_back_by_the_transition_itself",
        "not-transposed",
        "dcov = A.T @ dcov @ A\n",
        "dcov = A @ dcov @ A.T\n",
    ),
    wrong(
        "half_forgotten_at_the_variance",
        "wrong-scale",
        "dvariance = 0.5 * share * (1 / variance",
        "dvariance = share * (1 / variance",
    ),
    wrong(
        "error_divided_by_the_variance_once",
        "missing-derivative|wrong-operand|different-function",
        "(1 / variance - error**2 / variance**2)",
        "(1 / variance - error**2 / variance)",
    ),
    wrong(
        "error_to_the_mean_of_the_wrong_sign",
        "wrong-sign",
        "dmean = dmean - derror[:, None] * C",
        "dmean = dmean + derror[:, None] * C",
    ),
    wrong(
        "observation_by_the_variance_forgotten",
        "missing-path",
        '        dC += np.einsum("nij,ni->j", cov_ahead, dcross)\n',
        "",
    ),
    wrong(
        "mean_after_the_transition",
        "shifted-in-time|wrong-operand",
        "dA += dmean.T @ mean_before",
        "dA += dmean.T @ mean_ahead",
    ),
    wrong(
        "covariance_after_the_transition",
        "shifted-in-time|wrong-operand",
        "dA += np.sum(dcov @ A @ cov_before, axis=0)",
        "dA += np.sum(dcov @ A @ cov_ahead, axis=0)",
    ),
    wrong(
        "gain_through_the_gaps",
        "missing-derivative",
        "dcross += (seen[:, t] / variance)[:, None] * dgain",
        "dcross += dgain / variance[:, None]",
    ),
    wrong(
        "averaged_over_the_gaps_too",
        "wrong-term-weight|wrong-scale|wrong-reduction",
        "share = seen[:, t] / seen.sum()",
        "share = seen[:, t] / seen.size",
    ),
    wrong(
        "state_noise_assigned",
        "overwritten|last-step-only",
        'dq += np.einsum("nii->i", dcov)',
        'dq = np.einsum("nii->i", dcov)',
    ),
    wrong("start_of_one_series", "one-sample-only", '"mean0": dmean.sum(axis=0)', '"mean0": dmean[0]'),
    wrong("input_of_the_step_before", "shifted-in-time", "dB += u[:, t] @ dmean", "dB += u[:, t - 1] @ dmean"),
    wrong(
        "covariance_not_carried_back",
        "truncated-in-time|missing-path",
        "        dcov = A.T @ dcov @ A\n    dp0 = np.einsum",
        "        dcov_before = A.T @ dcov @ A\n        dcov = np.zeros_like(dcov)\n    dcov = dcov_before\n"
        "    dp0 = np.einsum",
    ),
    wrong(
        "noise_as_a_deviation_in_both",
        "different-function",
        'np.exp(params["log_q"]), np.exp(params["log_r"])',
        'np.exp(params["log_q"]), np.exp(params["log_r"]) ** 2',
        '"log_r": dr * r,',
        '"log_r": 2 * dr * r,',
    ),
    wrong(
        "noise_before_the_transition_in_both",
        "different-function|wrong-operand",
        "        mean_before, cov_before = mean, cov\n",
        "        mean_before, cov_before = mean, cov + np.diag(q)\n",
        "A @ cov_before @ A.T + np.diag(q)",
        "A @ cov_before @ A.T",
        'dq += np.einsum("nii->i", dcov)',
        'dq += np.einsum("nii->i", A.T @ dcov @ A)',
    ),
    wrong(
        "transition_transposed_in_both",
        "transposed|not-transposed",
        "mean_before @ A.T + u",
        "mean_before @ A + u",
        "A @ cov_before @ A.T",
        "A.T @ cov_before @ A",
        "dA += dmean.T @ mean_before",
        "dA += mean_before.T @ dmean",
        "np.sum(dcov @ A @ cov_before, axis=0)",
        "np.sum(cov_before @ A @ dcov, axis=0)",
        "np.sum(dcov.transpose(0, 2, 1) @ A @ cov_before, axis=0)",
        "np.sum(cov_before @ A @ dcov.transpose(0, 2, 1), axis=0)",
        "dmean = dmean @ A\n",
        "dmean = dmean @ A.T\n",
        "dcov = A.T @ dcov @ A\n",
        "dcov = A @ dcov @ A.T\n",
    ),
    wrong("two_pi_left_out_in_cost", "wrong-loss", "np.log(2 * np.pi * variance)", "np.log(variance)"),
]

TOGETHER = [
    ("noise_not_through_its_logarithm", "mean_after_the_transition"),
    ("gain_as_a_constant_in_the_mean", "start_of_one_series"),
    ("half_forgotten_at_the_variance", "input_of_the_step_before"),
    ("one_side_of_the_transition_forgotten", "averaged_over_the_gaps_too"),
    ("observation_by_the_variance_forgotten", "state_noise_assigned"),
    ("error_to_the_mean_of_the_wrong_sign", "covariance_after_the_transition", "noise_not_through_its_logarithm"),
    ("covariance_carried_back_by_the_transition_itself", "input_of_the_step_before", "start_of_one_series"),
]

BACKWARDS = """\
    for t in reversed(range(steps)):
        mean_before, cov_before, mean_ahead, cov_ahead, error, cross, variance, gain = cache[t]
        share = seen[:, t] / seen.sum()
        # the step of correction
        derror = share * error / variance
        dvariance = 0.5 * share * (1 / variance - error**2 / variance**2)
        derror += np.sum(dmean * gain, axis=1)
        dgain = dmean * error[:, None]
        dgain -= times(dcov, cross)
        dcross = -times(dcov.transpose(0, 2, 1), gain)
        dcross += (seen[:, t] / variance)[:, None] * dgain
        dvariance -= np.sum(dgain * gain, axis=1) / variance
        dr += dvariance.sum()
        dC += dvariance @ cross
        dcross += dvariance[:, None] * C
        dC += np.einsum("nij,ni->j", cov_ahead, dcross)
        dcov = dcov + dcross[:, :, None] * C
        dC -= derror @ mean_ahead
        doffset -= derror.sum()
        dmean = dmean - derror[:, None] * C
        # the step of prediction
        dA += dmean.T @ mean_before
        dB += u[:, t] @ dmean
        dA += np.sum(dcov @ A @ cov_before, axis=0)
        dA += np.sum(dcov.transpose(0, 2, 1) @ A @ cov_before, axis=0)
        dq += np.einsum("nii->i", dcov)
        dmean = dmean @ A
        dcov = A.T @ dcov @ A
    dp0 = np.einsum("nii->i", dcov)
    return loss, {
        "A": dA + 2 * 0.15 * away,
        "B": dB,
        "C": dC,
        "offset": doffset,
        "log_q": dq * q,
        "log_r": dr * r,
        "mean0": dmean.sum(axis=0),
        "log_p0": dp0 * p0,
    }
"""

# every entry of every parameter by its own derivative of the recursion, from the first step to the last
FORWARDS = """\
    grads = {}
    for name, value in params.items():
        grads[name] = np.zeros_like(value)
        for entry in np.ndindex(value.shape):
            d = {other: np.zeros_like(params[other]) for other in params}
            d[name][entry] = 1.0
            dA, dC = d["A"], d["C"]
            dmean = np.tile(d["mean0"], (n, 1))
            dcov = np.tile(np.diag(p0 * d["log_p0"]), (n, 1, 1))
            slope = 0.0
            for t in range(steps):
                mean_before, cov_before, mean_ahead, cov_ahead, error, cross, variance, gain = cache[t]
                dmean = dmean @ A.T + mean_before @ dA.T + u[:, t, None] * d["B"]
                dcov = dA @ cov_before @ A.T + A @ dcov @ A.T + A @ cov_before @ dA.T + np.diag(q * d["log_q"])
                derror = -dmean @ C - mean_ahead @ dC - d["offset"]
                dcross = dcov @ C + cov_ahead @ dC
                dvariance = dcross @ C + cross @ dC + r * d["log_r"]
                ratio = error / variance
                slope += seen[:, t] @ (0.5 * dvariance / variance + ratio * derror - 0.5 * ratio**2 * dvariance)
                dgain = (seen[:, t] / variance)[:, None] * dcross - gain * (dvariance / variance)[:, None]
                dmean = dmean + dgain * error[:, None] + gain * derror[:, None]
                dcov = dcov - outer(dgain, cross) - outer(gain, dcross)
            grads[name][entry] = slope / seen.sum() + 0.3 * np.sum(away * dA)
    return loss, grads
"""

SERIES_BY_SERIES = """\
    dp0, dmean0 = np.zeros(2), np.zeros(2)
    count = seen.sum()
    for i in range(n):
        to_mean, to_cov = np.zeros(2), np.zeros((2, 2))
        for t in range(steps - 1, -1, -1):
            m_old, P_old, m, P, e, PC, S, K = (value[i] for value in cache[t])
            if seen[i, t]:
                to_K = to_mean * e - to_cov @ PC
                to_e = to_mean @ K + e / S / count
                to_S = (1 - e * e / S) / (2 * S * count) - to_K @ PC / S**2
                to_PC = to_K / S - to_cov.T @ K + to_S * C
                dr += to_S
                dC += to_S * PC + P.T @ to_PC - to_e * m
                doffset -= to_e
                to_cov = to_cov + np.outer(to_PC, C)
                to_mean = to_mean - to_e * C
            dA += np.outer(to_mean, m_old) + (to_cov + to_cov.T) @ A @ P_old
            dB += u[i, t] * to_mean
            dq += np.diag(to_cov)
            to_mean, to_cov = A.T @ to_mean, A.T @ to_cov @ A
        dmean0 += to_mean
        dp0 += np.diag(to_cov)
    log_q, log_r, log_p0 = dq * q, dr * r, dp0 * p0
    grads = {"A": dA + 0.3 * away, "B": dB, "C": dC, "offset": doffset}
    return loss, {**grads, "log_q": log_q, "log_r": log_r, "mean0": dmean0, "log_p0": log_p0}
"""

RIGHT = [
    right("forwards_entry_by_entry", BACKWARDS, FORWARDS),
    right("series_by_series", BACKWARDS, SERIES_BY_SERIES),
    right(
        "symmetric_covariance_gradients",
        "        dcov = dcov + dcross[:, :, None] * C\n",
        "        half = 0.5 * dcross[:, :, None] * C\n        dcov = dcov + half + half.transpose(0, 2, 1)\n",
        "        dcross = -times(dcov.transpose(0, 2, 1), gain)\n",
        "        dcross = -times(dcov, gain)\n",
        "        dA += np.sum(dcov @ A @ cov_before, axis=0)\n"
        "        dA += np.sum(dcov.transpose(0, 2, 1) @ A @ cov_before, axis=0)\n"
        '        dq += np.einsum("nii->i", dcov)\n',
        "        dA += 2 * (dcov @ A @ cov_before).sum(axis=0)\n        dq += np.diag(dcov.sum(axis=0))\n",
    ),
]
