"""Cases of an epidemic in several towns, day by day in loops: contacts by measures and season, rates from softplus."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.judge.corpus import right, wrong


def reference(params, cases, measures, start, people):
    sigma, gamma = F.softplus(params["theta"][0]), F.softplus(params["theta"][1])
    rho = torch.sigmoid(params["theta"][2])
    exposed, infectious = start[:, 0], start[:, 1]
    susceptible = 1 - exposed - infectious
    nll = 0
    for t in range(cases.shape[1]):
        phase = torch.tensor(0.8 * t, dtype=cases.dtype)
        season = params["season"][0] * torch.sin(phase) + params["season"][1] * torch.cos(phase)
        infected = torch.exp(measures[:, t] @ params["w"] + season) * susceptible * infectious
        mu = rho * people * sigma * exposed + 0.5
        nll = nll + mu - cases[:, t] * torch.log(mu)
        susceptible, exposed, infectious = (
            susceptible - infected,
            exposed + infected - sigma * exposed,
            infectious + sigma * exposed - gamma * infectious,
        )
    theta0 = torch.tensor([-0.5, -1.0, 0.4], dtype=cases.dtype)
    prior = ((params["theta"] - theta0) ** 2).sum() / (2 * 0.6**2)
    prior = prior + (params["w"] ** 2).sum() / (2 * 0.4**2) + (params["season"] ** 2).sum() / (2 * 0.3**2)
    return {"cases": nll.mean(), "prior": prior}


def candidate(params, cases, measures, start, people):
    theta = params["theta"]
    w = params["w"]
    season = params["season"]
    nr, nt = cases.shape
    nk = len(w)
    theta0 = [-0.5, -1.0, 0.4]
    sdt, sdw, sds = 0.6, 0.4, 0.3
    omega = 0.8
    sig = np.log(1.0 + np.exp(theta[0]))
    gam = np.log(1.0 + np.exp(theta[1]))
    rho = 1.0 / (1.0 + np.exp(-theta[2]))

    s = np.zeros((nr, nt + 1))
    e = np.zeros((nr, nt + 1))
    inf = np.zeros((nr, nt + 1))
    beta = np.zeros((nr, nt))
    mu = np.zeros((nr, nt))
    total = 0.0
    for r in range(nr):
        e[r, 0] = start[r, 0]
        inf[r, 0] = start[r, 1]
        s[r, 0] = 1.0 - e[r, 0] - inf[r, 0]
        for t in range(nt):
            lb = season[0] * np.sin(omega * t) + season[1] * np.cos(omega * t)
            for k in range(nk):
                lb = lb + w[k] * measures[r, t, k]
            beta[r, t] = np.exp(lb)
            new = beta[r, t] * s[r, t] * inf[r, t]
            s[r, t + 1] = s[r, t] - new
            e[r, t + 1] = e[r, t] + new - sig * e[r, t]
            inf[r, t + 1] = inf[r, t] + sig * e[r, t] - gam * inf[r, t]
            mu[r, t] = rho * people[r] * sig * e[r, t] + 0.5
            total = total + mu[r, t] - cases[r, t] * np.log(mu[r, t])
    prior = 0.0
    for k in range(3):
        prior = prior + (theta[k] - theta0[k]) ** 2 / (2.0 * sdt**2)
    for k in range(nk):
        prior = prior + w[k] ** 2 / (2.0 * sdw**2)
    for k in range(2):
        prior = prior + season[k] ** 2 / (2.0 * sds**2)
    loss = total / nr + prior

    gtheta = np.zeros(3)
    gw = np.zeros(nk)
    gseason = np.zeros(2)
    dsig = 0.0
    dgam = 0.0
    drho = 0.0
    for r in range(nr):
        gs = 0.0
        ge = 0.0
        gi = 0.0
        for t in range(nt - 1, -1, -1):
            dmu = (1.0 - cases[r, t] / mu[r, t]) / nr
            drho = drho + dmu * people[r] * sig * e[r, t]
            dsig = dsig + dmu * people[r] * rho * e[r, t]
            dnew = ge - gs
            dsig = dsig + (gi - ge) * e[r, t]
            dgam = dgam - gi * inf[r, t]
            dbeta = dnew * s[r, t] * inf[r, t]
            dlb = dbeta * beta[r, t]
            for k in range(nk):
                gw[k] = gw[k] + dlb * measures[r, t, k]
            gseason[0] = gseason[0] + dlb * np.sin(omega * t)
            gseason[1] = gseason[1] + dlb * np.cos(omega * t)
            gs = gs + dnew * beta[r, t] * inf[r, t]
            ge = ge * (1.0 - sig) + gi * sig + dmu * people[r] * rho * sig
            gi = gi * (1.0 - gam) + dnew * beta[r, t] * s[r, t]
    gtheta[0] = dsig / (1.0 + np.exp(-theta[0]))
    gtheta[1] = dgam / (1.0 + np.exp(-theta[1]))
    gtheta[2] = drho * rho * (1.0 - rho)
    for k in range(3):
        gtheta[k] = gtheta[k] + (theta[k] - theta0[k]) / sdt**2
    for k in range(nk):
        gw[k] = gw[k] + w[k] / sdw**2
    for k in range(2):
        gseason[k] = gseason[k] + season[k] / sds**2
    return loss, {"theta": gtheta, "w": gw, "season": gseason}


def problem(rng):
    towns, days, kinds = 5, 7, 4
    params = {
        "theta": np.array([-0.2, -0.7, 0.1]),
        "w": rng.normal(size=kinds) * 0.4 + 0.2,
        "season": np.array([0.35, -0.25]),
    }
    measures = rng.uniform(0.1, 1.2, size=(towns, days, kinds))
    start = rng.uniform(0.05, 0.2, size=(towns, 2))
    people = rng.uniform(40, 90, size=towns)
    cases = rng.poisson(4, size=(towns, days)) * 1.0
    return params, (cases, measures, start, people)


WRONG = [
    wrong(
        "exponential_of_the_contacts_not_differentiated",
        "missing-derivative",
        "dlb = dbeta * beta[r, t]",
        "dlb = dbeta",
    ),
    wrong(
        "softplus_slope_at_the_rate",
        "derivative-at-wrong-point",
        "gtheta[0] = dsig / (1.0 + np.exp(-theta[0]))",
        "gtheta[0] = dsig / (1.0 + np.exp(-sig))",
    ),
    wrong(
        "softplus_with_the_slope_of_exp",
        "different-function",
        "gtheta[1] = dgam / (1.0 + np.exp(-theta[1]))",
        "gtheta[1] = dgam * gam",
    ),
    wrong(
        "susceptibles_do_not_feel_the_infections",
        "missing-path|truncated-in-time",
        "            gs = gs + dnew * beta[r, t] * inf[r, t]\n",
        "",
    ),
    wrong(
        "infections_added_to_the_susceptibles_backwards",
        "wrong-sign",
        "dnew = ge - gs",
        "dnew = ge + gs",
    ),
    wrong(
        "contacts_told_tomorrows_state",
        "shifted-in-time|wrong-operand",
        "dbeta = dnew * s[r, t] * inf[r, t]",
        "dbeta = dnew * s[r, t + 1] * inf[r, t + 1]",
    ),
    wrong(
        "infectious_updated_too_early",
        "wrong-operand|shifted-in-time",
        "            ge = ge * (1.0 - sig) + gi * sig + dmu * people[r] * rho * sig\n"
        "            gi = gi * (1.0 - gam) + dnew * beta[r, t] * s[r, t]\n",
        "            gi = gi * (1.0 - gam) + dnew * beta[r, t] * s[r, t]\n"
        "            ge = ge * (1.0 - sig) + gi * sig + dmu * people[r] * rho * sig\n",
    ),
    wrong(
        "rate_not_felt_through_the_reports",
        "missing-path",
        "            dsig = dsig + dmu * people[r] * rho * e[r, t]\n",
        "",
    ),
    wrong(
        "slope_of_a_log_link",
        "different-function|extra-derivative|missing-derivative|wrong-operand",
        "(1.0 - cases[r, t] / mu[r, t]) / nr",
        "(mu[r, t] - cases[r, t]) / nr",
    ),
    wrong(
        "first_day_left_out",
        "truncated-in-time|missing-path",
        "range(nt - 1, -1, -1)",
        "range(nt - 1, 0, -1)",
    ),
    wrong(
        "prior_of_the_rates_around_zero_backwards",
        "different-function|missing-path|wrong-operand",
        "gtheta[k] + (theta[k] - theta0[k]) / sdt**2",
        "gtheta[k] + theta[k] / sdt**2",
    ),
    wrong(
        "spread_of_the_measures_not_squared_backwards",
        "wrong-scale|wrong-term-weight|different-function",
        "gw[k] + w[k] / sdw**2",
        "gw[k] + w[k] / sdw",
    ),
    wrong(
        "sine_differentiated_for_its_height",
        "different-function|wrong-operand|extra-derivative",
        "gseason[0] + dlb * np.sin(omega * t)",
        "gseason[0] + dlb * np.cos(omega * t)",
    ),
    wrong(
        "prior_left_out_of_the_cost",
        "wrong-loss|wrong-term-weight",
        "loss = total / nr + prior",
        "loss = total / nr",
    ),
]

TOGETHER = [
    ("exponential_of_the_contacts_not_differentiated", "softplus_slope_at_the_rate"),
    ("softplus_with_the_slope_of_exp", "sine_differentiated_for_its_height"),
    ("susceptibles_do_not_feel_the_infections", "prior_of_the_rates_around_zero_backwards"),
    ("infections_added_to_the_susceptibles_backwards", "spread_of_the_measures_not_squared_backwards"),
    ("contacts_told_tomorrows_state", "softplus_slope_at_the_rate"),
    ("softplus_slope_at_the_rate", "softplus_with_the_slope_of_exp"),
    ("slope_of_a_log_link", "sine_differentiated_for_its_height"),
    ("prior_left_out_of_the_cost", "infectious_updated_too_early"),
    (
        "softplus_with_the_slope_of_exp",
        "exponential_of_the_contacts_not_differentiated",
        "rate_not_felt_through_the_reports",
    ),
    (
        "first_day_left_out",
        "spread_of_the_measures_not_squared_backwards",
        "softplus_with_the_slope_of_exp",
    ),
]

RIGHT = [
    right(
        "old_adjoints_kept_aside",
        "            gs = gs + dnew * beta[r, t] * inf[r, t]\n",
        "            olds, olde, oldi = gs, ge, gi\n            gs = olds + (olde - olds) * beta[r, t] * inf[r, t]\n",
        "ge = ge * (1.0 - sig) + gi * sig",
        "ge = olde + (oldi - olde) * sig",
        "gi = gi * (1.0 - gam) + dnew * beta[r, t] * s[r, t]",
        "gi = oldi - oldi * gam + dnew * beta[r, t] * s[r, t]",
    ),
    right(
        "inner_loops_as_vectors",
        "            for k in range(nk):\n                gw[k] = gw[k] + dlb * measures[r, t, k]\n",
        "            gw += dlb * measures[r, t]\n",
        "    for k in range(nk):\n        gw[k] = gw[k] + w[k] / sdw**2\n",
        "    gw = gw + w / sdw**2\n",
        "    gtheta[1] = dgam / (1.0 + np.exp(-theta[1]))\n",
        "    gtheta[1] = dgam * (1.0 - np.exp(-gam))\n",
    ),
]
